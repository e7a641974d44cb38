//! Bad input: a coded error, nothing changed, nobody else told. Clocks that jump are in the tests of the engine, which
//! is handed its time.

use serde_json::{Value, json};

use super::people::{Person, VERSIONS};
use crate::harness::{Broker, Connect, Publish, V3, V5, Version, property};

/// A broker with a witness, who sees whatever anybody is told.
struct Scene {
    broker: Broker,
    witness: Person,
    before: Vec<Value>,
}

impl Scene {
    fn new() -> Scene {
        let broker = Broker::start();
        let mut witness = Person::connect(&broker, V5, "witness");
        for filter in ["room/Home/#", "group/crew/#", "user/+/msg/+", "user/+/event/+", "plain/#"] {
            if filter == "group/crew/#" {
                witness.must("group/create", &json!({ "name": "crew" }));
            }
            assert_eq!(witness.subscribe(filter, &[]), 1);
        }
        assert_eq!(witness.say("room/Home/msg/witness", "one").0, 0);
        witness.hears("one");
        let before = state(&mut witness);
        Scene { broker, witness, before }
    }

    fn person(&self, version: Version, name: &str) -> Person {
        Person::connect(&self.broker, version, name)
    }

    /// Nothing changed, and the witness was told nothing.
    fn is_as_it_was(&mut self) {
        assert_eq!(state(&mut self.witness), self.before);
        self.witness.hears_nothing();
    }
}

/// What there is: accounts, places, what was said, boards.
fn state(witness: &mut Person) -> Vec<Value> {
    let asks = [
        ("users", json!({ "all": true })),
        ("room/list", json!({})),
        ("group/list", json!({})),
        ("history", json!({ "place": "room/Home", "after": 0 })),
        ("history", json!({ "place": "group/crew", "after": 0 })),
        ("board/list", json!({ "group": "crew" })),
        ("ignore/list", json!({})),
    ];
    let mut answers: Vec<Value> = asks.iter().map(|(verb, ask)| witness.must(verb, ask)).collect();
    // Who is connected is no change.
    answers[0]["users"].as_array_mut().expect("users").retain(|user| user["kind"] == json!("registered"));
    for places in &mut answers[1..3] {
        for place in places["places"].as_array_mut().expect("places") {
            let place = place.as_object_mut().expect("an object");
            place.retain(|key, _| !matches!(key.as_str(), "members" | "present"));
        }
    }
    answers
}

#[test]
fn names_that_break_the_rules_are_refused() {
    let mut scene = Scene::new();
    let long_user = "u".repeat(65);
    let long_place = "r".repeat(257);
    let bad = ["", " ", "a b", "a/b", "a+b", "#", "a\u{7}", "a\u{a0}b", "\u{200b}\n"];
    for version in VERSIONS {
        let mut ann = scene.person(version, "ann");
        for name in bad {
            for verb in ["register", "room/create", "group/create"] {
                let request = match verb {
                    "register" => json!({ "name": name, "password": "secret" }),
                    _ => json!({ "name": name }),
                };
                assert_eq!(ann.refused(verb, &request), "name.invalid", "{verb} {name:?}");
            }
        }
        let request = json!({ "name": long_user, "password": "secret" });
        assert_eq!(ann.refused("register", &request), "name.too-long");
        assert_eq!(ann.refused("room/create", &json!({ "name": long_place })), "name.too-long");
        assert_eq!(ann.refused("room/join", &json!({ "name": "home" })), "name.spelling");
        assert_eq!(ann.refused("room/create", &json!({ "name": "HOME" })), "room.exists");
        let request = json!({ "name": "katydid", "password": "secret" });
        assert_eq!(ann.refused("register", &request), "name.reserved");
        for name in ["a b", "a\u{a0}b", long_place.as_str()] {
            let codes = ann.client.subscribe_with(&[(&format!("room/{name}/msg/+"), 1)], &[]);
            assert!(codes[0] >= 0x80, "{name:?}");
            let (code, reason) = ann.say(&format!("room/{name}/msg/ann"), "x");
            let expected = (version == V5).then_some("message.reserved");
            assert_eq!((code >= 0x80, reason.as_deref()), (version == V5, expected), "{name:?}");
        }
    }
    for name in ["a b", "a/b", "guest-1", "katydid", "KATYDID", long_user.as_str()] {
        let mut client = scene.broker.open(V5);
        client.send(&Connect::new(V5, "client").user(name).bytes());
        let ack = client.expect_connack();
        let reason = match property::find(&ack.properties, property::REASON_STRING) {
            Some(property::Value::Text(reason)) => reason.clone(),
            other => panic!("{name:?}: {other:?}"),
        };
        assert!(ack.code >= 0x80 && reason.starts_with("name."), "{name:?}: {ack:?}");
    }
    scene.is_as_it_was();
}

#[test]
fn forged_senders_reach_nobody() {
    let mut scene = Scene::new();
    let edit = r#"{"type":"edit","seq":1,"text":"forged"}"#;
    let topics = [
        ("room/Home/msg/witness", "forged"),
        ("room/Home/msg/WITNESS", "forged"),
        ("room/Home/event/witness", edit),
        ("room/Home/typing/witness", "."),
        ("room/Home/read/witness", "1"),
        ("room/Home/presence/witness", "{}"),
        ("room/Home/event/katydid", edit),
        ("group/crew/msg/witness", "forged"),
        ("group/crew/post/witness", "{}"),
        ("user/witness/msg/witness", "forged"),
        ("user/witness/msg/katydid", "forged"),
        ("user/witness/event/katydid", r#"{"type":"banned"}"#),
        ("user/witness/reply", "{}"),
        ("user/witness/profile", "{}"),
        ("user/witness/presence", "{}"),
    ];
    for version in VERSIONS {
        for qos in 0..3 {
            let mut ann = scene.person(version, "ann");
            for (topic, payload) in topics {
                let publish = Publish::new(topic, payload).will_qos(qos);
                let id = (qos > 0).then(|| ann.client.fresh_id());
                ann.client.send_publish(&Publish { id, ..publish });
            }
            drop(ann);
        }
        for (topic, payload) in topics {
            let connect = Connect::new(version, "bob").user("bob").will(Publish::new(topic, payload));
            scene.broker.connect(&connect).vanish();
        }
        // A connection without a name is nobody's.
        let mut nobody = scene.broker.client(version, "nobody");
        nobody.send_publish(&Publish::new("room/Home/msg/witness", "forged"));
        nobody.ping();
    }
    scene.is_as_it_was();
}

#[test]
fn an_answer_goes_nowhere_but_to_the_asker() {
    let mut scene = Scene::new();
    assert_eq!(scene.witness.subscribe("user/witness/reply/#", &[]), 1);
    let mut ann = scene.person(V5, "ann");
    for topic in [
        "user/witness/reply",
        "user/witness/reply/1",
        "user/ann/replyx",
        "user/ann",
        "user/witness/msg/ann",
        "room/Home/msg/ann",
        "plain/x",
        "$SYS/x",
        "$chat/whoami",
    ] {
        let create = Publish::new("$chat/room/create", r#"{"name":"den"}"#);
        let forged = create.property(property::response_topic(topic));
        assert_eq!(ann.send(forged), (0x87, Some("request.response-topic".into())), "{topic}");
    }
    ann.hears_nothing();
    scene.is_as_it_was();
}

#[test]
fn json_that_is_none_or_not_the_verbs_changes_nothing() {
    let mut scene = Scene::new();
    let deep =
        |open: &str, close: &str| format!(r#"{{"name":{}1{}}}"#, open.repeat(10_000), close.repeat(10_000));
    let long = format!(r#"{{"name":"den","subject":"{}"}}"#, "x".repeat(1 << 20));
    let cases = [
        ("room/info", "", "request.bad-field"),
        ("room/join", "{}", "request.bad-field"),
        ("room/create", "{", "request.malformed"),
        ("room/create", "null", "request.malformed"),
        ("room/create", r#"["den"]"#, "request.malformed"),
        ("room/create", r#"{"name":"den"} {}"#, "request.malformed"),
        ("room/create", "{\"name\":\"den\u{0}\"}", "request.malformed"),
        ("room/create", r#"{"name":"den","nmae":1}"#, "request.unknown-field"),
        ("room/create", r#"{"name":7}"#, "request.bad-field"),
        ("room/create", r#"{"name":null,"limit":-1}"#, "request.bad-field"),
        ("room/create", r#"{"name":"den","limit":1e300}"#, "request.bad-field"),
        ("room/create", r#"{"name":"den","limit":9007199254740993}"#, "request.bad-field"),
        ("room/create", r#"{"name":"den","visibility":"open"}"#, "request.bad-field"),
        ("room/create", &deep("[", "]"), "request.too-deep"),
        ("room/create", &deep(r#"{"a":"#, "}"), "request.too-deep"),
        ("room/create", &"[".repeat(10_000), "request.too-deep"),
        ("room/create", &long, "request.too-long"),
        ("board/post", r#"{"group":"crew","text":"x"}"#, "request.bad-field"),
        ("ignore/add", r#"{"user":["witness"]}"#, "request.bad-field"),
        ("history", r#"{"place":"Home"}"#, "request.bad-field"),
        ("history", r#"{"place":"room/Home","count":0}"#, "request.bad-field"),
        ("history", r#"{"place":"room/Home","count":201}"#, "request.bad-field"),
        ("history", r#"{"place":"room/Home","from":"yesterday"}"#, "request.bad-field"),
        ("room/nothing", r#"{"name":"den"}"#, "request.unknown-verb"),
        ("room", r#"{"name":"den"}"#, "request.unknown-verb"),
        ("user/add", r#"{"name":"den","password":"x"}"#, "request.not-permitted"),
    ];
    for version in VERSIONS {
        let mut ann = scene.person(version, "ann");
        for (verb, body, code) in cases {
            ann.client.publish(&format!("$chat/{verb}"), body, 1);
            let (topic, answer) = ann.happens();
            let shown: String = body.chars().take(60).collect();
            assert_eq!((topic.as_str(), &answer["code"]), ("user/ann/reply", &json!(code)), "{verb} {shown}");
            assert_eq!(answer["ok"], json!(false));
        }
        // Bytes that are no UTF-8.
        let id = ann.client.fresh_id();
        let raw = Publish { payload: vec![b'{', 0xff, b'}'], ..Publish::new("$chat/room/create", "") };
        ann.client.send_publish(&Publish { qos: 1, id: Some(id), ..raw });
        loop {
            let heard = ann.client.expect_packet();
            if let crate::harness::packet::Packet::Publish(answer) = heard {
                ann.client.acknowledge(&answer);
                assert!(answer.text().contains("request.malformed"), "{answer:?}");
                break;
            }
        }
    }
    scene.is_as_it_was();
}

#[test]
fn numbers_from_the_future_name_nothing() {
    let mut scene = Scene::new();
    for version in VERSIONS {
        let mut ann = scene.person(version, "ann");
        for seq in ["2", "99999", "9007199254740991", "18446744073709551615", "0"] {
            for kind in ["edit", "delete", "reaction", "pin"] {
                let event = format!(r#"{{"type":"{kind}","seq":{seq},"text":"x"}}"#);
                let (code, reason) = ann.say("room/Home/event/ann", &event);
                let expected = (version == V5).then(|| "message.not-found".to_owned());
                let reason_code = if version == V5 { 0x99 } else { 0 };
                assert_eq!((code, reason), (reason_code, expected), "{event}");
            }
        }
        for seq in ["-1", "1.5", "\"1\"", "18446744073709551616", "null"] {
            let event = format!(r#"{{"type":"reaction","seq":{seq},"text":"x"}}"#);
            let (code, reason) = ann.say("room/Home/event/ann", &event);
            let expected = (version == V5).then(|| "message.bad-event".to_owned());
            assert_eq!((code >= 0x80, reason), (version == V5, expected), "{event}");
        }
        for marker in ["2", "18446744073709551615", "-1", "next"] {
            let (code, _) = ann.say("room/Home/read/ann", marker);
            assert_eq!(code, if version == V5 { 0x99 } else { 0 }, "{marker}");
        }
        let page = ann.must("history", &json!({ "place": "room/Home", "after": 1u64 << 52 }));
        assert_eq!((&page["entries"], &page["end"]), (&json!([]), &json!(true)));
        let page = ann.must("history", &json!({ "place": "room/Home", "around": 1u64 << 52 }));
        assert_eq!(page["entries"].as_array().map(Vec::len), Some(1));
        assert_eq!(ann.subscribe("$since/99999/room/Home/msg/+", &[]), 1);
        ann.hears_nothing();
        let codes = ann.client.subscribe_with(&[("$since/18446744073709551616/room/Home/msg/+", 1)], &[]);
        assert!(codes[0] >= 0x80);
    }
    let ask = json!({ "group": "crew", "title": "t", "text": "x", "parent": 7 });
    assert_eq!(scene.witness.refused("board/post", &ask), "board.not-found");
    scene.is_as_it_was();
    let mut ann = scene.person(V3, "ann");
    assert_eq!(ann.subscribe("$since/99999/room/Home/msg/+", &[]), 1);
    assert_eq!(scene.witness.say("room/Home/msg/witness", "two").0, 0);
    ann.hears("two");
}
