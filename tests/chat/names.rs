//! Signing in: who has which name.

use serde_json::json;

use super::people::{Person, VERSIONS};
use crate::harness::{Broker, Connect, Settings, V3, V5, Version, property};

#[test]
fn an_anonymous_name_serves_several_connections_of_one_address() {
    let broker = Broker::start();
    let connect = |(number, version): (usize, Version)| {
        broker.connect(&Connect::new(version, &format!("ann-{number}")).user("ann"))
    };
    let _connected: Vec<_> = VERSIONS.into_iter().chain(VERSIONS).enumerate().map(connect).collect();
    let mut third = broker.open(V5);
    third.send(&Connect::new(V5, "three").user("ann").property(property::user("exclusive", "1")).bytes());
    let ack = third.expect_connack_refusal(0x87);
    let reason = property::find(&ack.properties, property::REASON_STRING);
    assert_eq!(reason, Some(&property::Value::Text("login.name-used".into())));
    let mut other = broker.open(V5);
    other.send(&Connect::new(V5, "four").user("ANN").bytes());
    assert!(other.expect_connack().code >= 0x80, "names are one without regard to case");
}

#[test]
fn who_registers_needs_the_password_from_then_on() {
    let mut broker = Broker::start();
    let mut ann = Person::connect(&broker, V5, "ann");
    assert_eq!(ann.must("whoami", &json!({ "id": 7 }))["kind"], "anonymous");
    let answer = ann.must("register", &json!({ "id": "x", "name": "ann", "password": "secret" }));
    assert_eq!((&answer["id"], &answer["user"]), (&json!("x"), &json!("ann")));
    drop(ann);
    for round in 0..2 {
        let mut nobody = broker.open(V3);
        nobody.send(&Connect::new(V3, "nobody").user("ann").bytes());
        nobody.expect_connack_refusal(4);
        let mut wrong = broker.open(V5);
        wrong.send(&Connect::new(V5, "wrong").user("ann").password(b"guess").bytes());
        wrong.expect_connack_refusal(0x86);
        let connect = Connect::new(V3, "ann").user("ann").password(b"secret");
        let mut ann = Person::enter(&broker, &connect, "ann");
        assert_eq!(ann.must("whoami", &json!({}))["kind"], "registered", "round {round}");
        drop(ann);
        broker.kill();
        broker.restart();
    }
}

#[test]
fn users_of_the_password_file_are_registered() {
    let broker = Broker::with(Settings { account: Some(("carl", "secret")), ..Settings::default() });
    let connect = Connect::new(V5, "carl").user("carl").password(b"secret");
    let mut carl = Person::enter(&broker, &connect, "carl");
    assert_eq!(carl.must("whoami", &json!({}))["kind"], "registered");
    let request = json!({ "old": "secret", "new": "other" });
    assert_eq!(carl.refused("password", &request), "login.operators-account");
}

#[test]
fn a_guest_has_a_name_and_speaks_under_it() {
    let broker = Broker::start();
    let mut ann = Person::connect(&broker, V5, "ann");
    assert_eq!(ann.subscribe("room/Home/msg/+", &[]), 1);
    let mut guest = Person::guest(&broker);
    assert!(guest.name.starts_with("guest-"), "{}", guest.name);
    let topic = format!("room/Home/msg/{}", guest.name);
    assert_eq!(guest.say(&topic, "hello").0, 0);
    assert_eq!(ann.hears("hello").topic, topic);
    assert_eq!(guest.say("room/Home/msg/guest-1", "forged").0, 0x87);
    ann.hears_nothing();
}
