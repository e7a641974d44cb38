//! What is one's own: the account, presence and profile, and what only the broker says.

use serde_json::json;

use super::people::{Person, VERSIONS};
use crate::harness::packet::Packet;
use crate::harness::{Broker, Connect, Publish, V3, V5, property};

#[test]
fn an_account_that_ends_is_told_so_before_its_connections_close() {
    let broker = Broker::start();
    for version in VERSIONS {
        Person::connect(&broker, version, "ann")
            .must("register", &json!({ "name": "ann", "password": "secret" }));
        let connect = Connect::lasting(version, "phone").user("ann").password(b"secret");
        let mut other = broker.connect(&connect);
        let connect = Connect::lasting(version, "laptop").user("ann").password(b"secret");
        let mut ann = Person::enter(&broker, &connect, "ann");
        let den = format!("den-{version:?}");
        ann.must("room/create", &json!({ "name": den }));
        assert_eq!(ann.subscribe(&format!("room/{den}/#"), &[]), 1);
        assert_eq!(ann.subscribe("user/+/msg/+", &[]), 1);
        ann.must("unregister", &json!({ "id": 1 }));
        if version == V5 {
            assert!(matches!(other.expect_packet(), Packet::Disconnect { reason: 0x98, .. }));
        }
        other.expect_end();
        ann.client.expect_end();
        // The name is free.
        let (mut again, ack) = broker.connect_with_ack(&Connect::lasting(version, "laptop").user("ann"));
        assert!(!ack.session_present);
        again.ping();
        again.disconnect();
    }
}

#[test]
fn a_password_for_a_name_that_nobody_registered_is_refused() {
    let broker = Broker::start();
    for round in 0..2 {
        for (version, code) in [(V3, 4), (V5, 0x86)] {
            let mut ann = broker.open(version);
            ann.send(&Connect::new(version, "ann").user("ann").password(b"secret").bytes());
            let ack = ann.expect_connack_refusal(code);
            let reason = property::find(&ack.properties, property::REASON_STRING);
            let text = property::Value::Text("login.unknown-name".into());
            assert_eq!(reason, (version == V5).then_some(&text), "round {round}");
            // An empty password is none: some clients cannot leave it out.
            broker.connect(&Connect::new(version, "ann").user("ann").password(b"")).ping();
        }
        // It is the same whether others are registered or not.
        Person::connect(&broker, V5, "bob")
            .ask("register", &json!({ "name": format!("bob{round}"), "password": "x" }));
    }
}

#[test]
fn what_everybody_sees_of_oneself_comes_with_ones_own_topics() {
    for filter in ["user/ann/#", "user/#", "user/+/+"] {
        let mut broker = Broker::start();
        Person::connect(&broker, V5, "ann").must("register", &json!({ "name": "ann", "password": "secret" }));
        let connect = Connect::lasting(V5, "laptop").user("ann").password(b"secret");
        let mut ann = Person::enter(&broker, &connect, "ann");
        let mut bob = Person::connect(&broker, V5, "bob");
        assert_eq!(ann.subscribe(filter, &[]), 1);
        ann.must("profile/set", &json!({ "display": "Ann" }));
        bob.must("profile/set", &json!({ "display": "Bob" }));
        bob.must("presence/set", &json!({ "text": "here" }));
        for round in 0..2 {
            if round == 1 {
                assert!(broker.terminate().success());
                broker.restart();
                ann = Person::enter(&broker, &connect, "ann");
                bob = Person::connect(&broker, V5, "bob");
                ann.must("profile/set", &json!({ "display": "Ann" }));
            }
            ann.must("presence/set", &json!({ "text": format!("round {round}") }));
            let (mut presence, mut profile) = (false, false);
            while !(presence && profile) {
                let heard = ann.hear();
                match heard.topic.as_str() {
                    "user/ann/presence" => presence |= heard.text().contains(&format!("round {round}")),
                    "user/ann/profile" => profile |= heard.text().contains("Ann"),
                    other => panic!("{filter}: {other} is not ann's"),
                }
            }
        }
        bob.must("whoami", &json!({}));
        assert_eq!(ann.client.unsubscribe(&[filter]), [0]);
        ann.must("profile/set", &json!({ "display": "Nobody" }));
        ann.hears_nothing();
    }
}

#[test]
fn only_the_broker_puts_posts_on_a_board() {
    let broker = Broker::start();
    let mut ann = Person::connect(&broker, V5, "ann");
    ann.must("group/create", &json!({ "name": "crew" }));
    assert_eq!(ann.subscribe("group/crew/post/+", &[]), 1);
    let posted = json!({ "group": "crew", "title": "Rules", "text": "Be kind." });
    assert_eq!(ann.must("board/post", &posted)["number"], json!(1));
    assert_eq!(ann.happens().0, "group/crew/post/ann");
    let forged = r#"{"type":"post","number":7,"parent":0,"title":"x","expires_in_secs":0}"#;
    assert_eq!(ann.say("group/crew/post/ann", forged), (0x87, Some("message.reserved".into())));
    let will = Publish::new("group/crew/post/bob", forged);
    let mut bob = Person::enter(&broker, &Connect::new(V5, "bob").user("bob").will(will), "bob");
    ann.must("group/invite", &json!({ "name": "crew", "user": "bob", "add": true }));
    assert_eq!(bob.say("group/crew/msg/bob", "I am in").0, 0);
    bob.client.vanish();
    ann.hears_nothing();
}

#[test]
fn a_forged_sender_is_told_in_both_versions() {
    let broker = Broker::start();
    for (topic, code) in [
        ("room/Home/msg/bob", "message.not-sender"),
        ("user/bob/profile", "message.not-sender"),
        ("room/Home/info", "message.reserved"),
        ("user/ann/presence", "message.reserved"),
    ] {
        let mut ann = Person::connect(&broker, V5, "ann");
        assert_eq!(ann.say(topic, "forged"), (0x87, Some(code.into())), "{topic}");
        let mut ann = Person::connect(&broker, V3, "ann");
        assert_eq!(ann.subscribe("user/ann/event/katydid", &[]), 1);
        assert_eq!(ann.say(topic, "forged"), (0, None));
        let told = loop {
            let (_, event) = ann.happens();
            if event["topic"] == json!(topic) {
                break event;
            }
        };
        assert_eq!((&told["type"], &told["code"]), (&json!("refused"), &json!(code)), "{topic}");
    }
}
