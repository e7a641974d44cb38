//! Requests and answers, history, events, and retries without doubles.

use std::process::Command;

use serde_json::{Value, json};

use super::people::{Person, VERSIONS};
use crate::harness::packet::Packet;
use crate::harness::{Broker, Connect, Publish, Settings, V5, property};

fn texts(page: &Value) -> Vec<&str> {
    let entries = page["entries"].as_array().expect("entries");
    entries.iter().filter_map(|entry| entry["text"].as_str()).collect()
}

#[test]
fn an_answer_goes_to_the_response_topic_with_its_correlation_data() {
    let broker = Broker::start();
    let mut ann = Person::connect(&broker, V5, "ann");
    let mut other = broker.connect(&Connect::new(V5, "other").user("ann"));
    other.subscribe("user/ann/reply/#", 1);
    assert_eq!(ann.subscribe("user/ann/reply/7", &[]), 1);
    let request = Publish::new("$chat/whoami", r#"{"id":[1]}"#);
    assert_eq!(ann.send(request).0, 0);
    assert!(ann.hear().text().contains("request.bad-field"), "an id is a number or a text");
    let request = Publish::new("$chat/whoami", "")
        .property(property::response_topic("user/ann/reply/7"))
        .property(property::correlation_data(b"seven"));
    assert_eq!(ann.send(request).0, 0);
    let answer = ann.hear();
    assert_eq!(answer.topic, "user/ann/reply/7");
    assert_eq!(
        property::find(&answer.properties, property::CORRELATION_DATA),
        Some(&property::Value::Binary(b"seven".to_vec()))
    );
    let forged = Publish::new("$chat/whoami", "{}").property(property::response_topic("user/bob/reply"));
    assert_eq!(ann.send(forged).1.as_deref(), Some("request.response-topic"));
    other.expect_quiet();
}

#[test]
fn bad_requests_are_answered_with_codes() {
    let broker = Broker::start();
    for version in VERSIONS {
        let mut ann = Person::connect(&broker, version, "ann");
        let deep = "[".repeat(10_000);
        for (verb, body, code) in [
            ("whoami", "not json", "request.malformed"),
            ("whoami", "[]", "request.malformed"),
            ("whoami", r#"{"x":1}"#, "request.unknown-field"),
            ("nothing", "{}", "request.unknown-verb"),
            ("room/create", r#"{"name":7}"#, "request.bad-field"),
            ("whoami", deep.as_str(), "request.too-deep"),
            ("whoami", &" ".repeat(70_000), "request.too-long"),
            ("user/list", "{}", "request.not-permitted"),
        ] {
            ann.client.publish(&format!("$chat/{verb}"), body, 1);
            let (_, answer) = ann.happens();
            assert_eq!((&answer["ok"], &answer["code"]), (&json!(false), &json!(code)), "{verb} {answer}");
        }
    }
}

#[test]
fn history_comes_in_pages() {
    let settings = Settings { arguments: &["--rooms.tail-size", "1KiB"], ..Settings::default() };
    let mut broker = Broker::with(settings);
    for is_restarted in [false, true] {
        let mut ann = Person::connect(&broker, V5, "ann");
        if !is_restarted {
            for index in 1..=50 {
                assert_eq!(ann.say("room/Home/msg/ann", &format!("text {index}")).0, 0);
            }
        }
        let mut ask = |fields: Value| {
            let mut request = json!({ "place": "room/Home", "count": 10 });
            request
                .as_object_mut()
                .expect("an object")
                .extend(fields.as_object().expect("an object").clone());
            ann.must("history", &request)
        };
        let newest = ask(json!({}));
        let expected: Vec<String> = (41..=50).map(|index| format!("text {index}")).collect();
        assert_eq!(
            (texts(&newest), &newest["end"]),
            (expected.iter().map(String::as_str).collect(), &json!(false))
        );
        let first = newest["entries"][0]["seq"].as_u64().expect("a number");
        let before = ask(json!({ "before": first }));
        assert_eq!(texts(&before).last(), Some(&"text 40"));
        let oldest = ask(json!({ "after": 0 }));
        assert_eq!((texts(&oldest)[0], texts(&oldest).len()), ("text 1", 10));
        let last = oldest["entries"][9]["seq"].as_u64().expect("a number");
        assert_eq!(texts(&ask(json!({ "after": last })))[0], "text 11");
        let all = ask(json!({ "after": 0, "count": 200 }));
        assert_eq!((texts(&all).len(), &all["end"]), (50, &json!(true)));
        let around = ask(json!({ "around": first }));
        assert!(texts(&around).contains(&"text 40") && texts(&around).contains(&"text 42"), "{around}");
        broker.kill();
        broker.restart();
    }
}

#[test]
fn events_name_what_is_there_and_ones_own() {
    let broker = Broker::start();
    let mut ann = Person::connect(&broker, V5, "ann");
    let mut bob = Person::connect(&broker, V5, "bob");
    ann.must("room/create", &json!({ "name": "den" }));
    assert_eq!(bob.say("room/den/msg/bob", "a typo").0, 0);
    let mut carl = Person::connect(&broker, V5, "carl");
    for (event, expected) in [
        (r#"{"type":"edit","seq":1,"text":"mine"}"#, Some("message.not-yours")),
        (r#"{"type":"delete","seq":1}"#, Some("room.not-moderator")),
        (r#"{"type":"reaction","seq":99,"text":"+"}"#, Some("message.not-found")),
        (r#"{"type":"reaction"}"#, Some("message.bad-event")),
        ("no event", Some("message.bad-event")),
        (r#"{"type":"reaction","seq":1,"text":"+"}"#, None),
    ] {
        assert_eq!(carl.say("room/den/event/carl", event).1.as_deref(), expected, "{event}");
    }
    assert_eq!(bob.say("room/den/event/bob", r#"{"type":"edit","seq":1,"text":"no typo"}"#).0, 0);
    assert_eq!(ann.say("room/den/event/ann", r#"{"type":"delete","seq":1}"#).0, 0, "she owns the room");
    let page = carl.must("history", &json!({ "place": "room/den", "after": 0 }));
    let first = &page["entries"][0];
    assert_eq!((&first["seq"], &first["deleted"], first.get("text")), (&json!(1), &json!(true), None));
    assert_eq!(carl.subscribe("$since/0/room/den/msg/+", &[]), 1);
    carl.hears_nothing();
}

#[test]
fn a_message_that_is_sent_again_under_its_id_is_the_same_message() {
    let mut broker = Broker::start();
    let mut first = None;
    for round in 0..3 {
        let mut ann = Person::connect(&broker, V5, "ann");
        let said = Publish::new("room/Home/msg/ann", "once").property(property::user("id", "x1"));
        let ack = ann.acknowledged(said);
        assert_eq!(ack.reason, 0);
        let number = property::all(&ack.properties, property::USER_PROPERTY)
            .into_iter()
            .find_map(|value| match value {
                property::Value::Pair(key, value) if key == "seq" => Some(value.clone()),
                _ => None,
            })
            .expect("a number");
        assert_eq!(*first.get_or_insert(number.clone()), number, "round {round}");
        if round == 1 {
            broker.kill();
            broker.restart();
        }
    }
    let mut bob = Person::connect(&broker, V5, "bob");
    let said = Publish::new("room/Home/msg/bob", "his own").property(property::user("id", "x1"));
    assert_eq!(bob.send(said).0, 0);
    let page = bob.must("history", &json!({ "place": "room/Home", "after": 0 }));
    assert_eq!(texts(&page), ["once", "his own"]);
}

#[test]
fn the_operator_registers_users_while_the_broker_runs() {
    let broker = Broker::start();
    let katydid = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_katydid"));
        command.arg("user").arg("--data-dir").arg(broker.data_folder()).args(arguments);
        let output = command.output().expect("it starts");
        (output.status.success(), String::from_utf8(output.stdout).expect("text").trim().to_owned())
    };
    assert_eq!(katydid(&["add", "dora", "-b", "secret"]), (true, "dora is registered".into()));
    assert!(!katydid(&["add", "dora", "-b", "secret"]).0, "she is there");
    assert_eq!(katydid(&["list"]), (true, "dora".into()));
    assert!(katydid(&["passwd", "dora", "-b", "other"]).0);
    let mut old = broker.open(V5);
    old.send(&Connect::new(V5, "dora").user("dora").password(b"secret").bytes());
    old.expect_connack_refusal(0x86);
    let connect = Connect::new(V5, "dora").user("dora").password(b"other");
    let mut dora = broker.connect(&connect);
    assert!(katydid(&["remove", "dora"]).0);
    assert!(matches!(dora.expect_packet(), Packet::Disconnect { .. }));
    assert_eq!(katydid(&["list"]), (true, String::new()));
}
