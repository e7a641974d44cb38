//! Every verb once, and every event, against the schema: what a client author reads is what the broker says.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use super::people::Person;
use super::schema;
use crate::harness::{Broker, Connect, Settings, V3, V5};

/// The operator, at the control socket.
struct Operator(BufReader<UnixStream>);

impl Operator {
    fn of(broker: &Broker) -> Operator {
        let socket = broker.data_folder().join("control.sock");
        Operator(BufReader::new(UnixStream::connect(socket).expect("the control socket")))
    }

    fn ask(&mut self, verb: &str, request: &Value) -> Value {
        let mut line = request.clone();
        line["verb"] = json!(verb);
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).expect("the operator is read");
        let mut answer = String::new();
        self.0.read_line(&mut answer).expect("an answer");
        let answer = serde_json::from_str(&answer).expect("an answer is JSON");
        schema::is_answer(verb, &answer);
        answer
    }
}

fn account(broker: &Broker, name: &str) -> Person {
    let mut person = Person::connect(broker, V5, name);
    person.must("register", &json!({ "name": name, "password": "secret", "email": "x@y.z", "display": "X" }));
    let connect = Connect::lasting(V5, name).user(name).password(b"secret");
    Person::enter(broker, &connect, name)
}

#[test]
fn every_verb_answers_as_the_schema_says() {
    let broker = Broker::start();
    let mut seen = BTreeSet::new();
    let (mut ann, mut bob) = (account(&broker, "ann"), account(&broker, "bob"));
    let mut carl = Person::connect(&broker, V3, "carl");
    let mut must = |person: &mut Person, verb: &str, request: Value| {
        seen.insert(verb.to_owned());
        person.must(verb, &request)
    };
    must(&mut carl, "register", json!({ "name": "carla", "password": "secret", "id": "text" }));
    must(&mut ann, "whoami", json!({ "id": 7.5 }));
    must(&mut ann, "password", json!({ "old": "secret", "new": "secret" }));
    must(&mut ann, "token/create", json!({ "label": "phone", "expiry_secs": 60 }));
    let tokens = must(&mut ann, "token/list", json!({}));
    must(&mut ann, "token/revoke", json!({ "key": tokens["tokens"][0]["key"] }));
    let fields = json!({ "town": "Ulm" });
    must(&mut ann, "profile/set", json!({ "display": "Ann", "fields": fields, "delete_on_delivery": true }));
    must(&mut bob, "profile/get", json!({ "user": "ann" }));
    must(&mut ann, "presence/set", json!({ "state": "away", "text": "lunch" }));
    must(&mut ann, "users", json!({ "all": true }));
    must(&mut ann, "friend/add", json!({ "user": "bob" }));
    must(&mut ann, "friend/list", json!({}));
    must(&mut ann, "friend/remove", json!({ "user": "bob" }));
    must(&mut ann, "ignore/add", json!({ "user": "carl" }));
    must(&mut ann, "ignore/list", json!({}));
    must(&mut ann, "ignore/remove", json!({ "user": "carl" }));
    must(&mut ann, "offer", json!({ "to": "bob", "kind": "file", "data": { "name": "x", "size": 1 } }));
    for root in ["room", "group"] {
        let mut there = |person: &mut Person, verb: &str, request: Value| {
            must(person, &format!("{root}/{verb}"), request)
        };
        there(
            &mut ann,
            "create",
            json!({ "name": "den", "subject": "plans", "limit": 9, "expiry_secs": 60 }),
        );
        there(&mut bob, "join", json!({ "name": "den" }));
        there(&mut bob, "info", json!({ "name": "den" }));
        there(&mut bob, "list", json!({}));
        there(&mut ann, "invite", json!({ "name": "den", "user": "carl" }));
        there(&mut ann, "mute", json!({ "name": "den", "user": "bob" }));
        there(&mut ann, "members", json!({ "name": "den" }));
        there(&mut ann, "unmute", json!({ "name": "den", "user": "bob" }));
        there(&mut ann, "moderators", json!({ "name": "den", "add": ["bob"] }));
        there(
            &mut ann,
            "settings",
            json!({ "name": "den", "read_only": true, "history": { "messages": 9 } }),
        );
        there(&mut ann, "kick", json!({ "name": "den", "user": "bob" }));
        there(&mut ann, "ban", json!({ "name": "den", "user": "bob" }));
        there(&mut ann, "members", json!({ "name": "den" }));
        there(&mut ann, "unban", json!({ "name": "den", "user": "bob" }));
        there(&mut bob, "join", json!({ "name": "den" }));
        there(&mut bob, "leave", json!({ "name": "den" }));
    }
    must(&mut ann, "search", json!({ "text": "n" }));
    assert_eq!(ann.say("room/den/msg/ann", "hello").0, 0);
    must(&mut ann, "history", json!({ "place": "room/den" }));
    must(&mut ann, "history/search", json!({ "query": "hello", "place": "room/den" }));
    must(&mut ann, "board/post", json!({ "group": "den", "title": "One", "text": "...", "expiry_secs": 60 }));
    must(&mut ann, "board/post", json!({ "group": "den", "title": "Two", "text": "...", "parent": 1 }));
    must(&mut ann, "board/list", json!({ "group": "den" }));
    must(&mut ann, "board/get", json!({ "group": "den", "number": 2 }));
    must(&mut ann, "board/delete", json!({ "group": "den", "number": 1 }));
    must(&mut ann, "counters", json!({ "place": "group/den" }));
    for root in ["room", "group"] {
        must(&mut ann, &format!("{root}/delete"), json!({ "name": "den" }));
    }
    must(&mut bob, "unregister", json!({}));
    let mut operator = Operator::of(&broker);
    for (verb, request) in [
        ("user/add", json!({ "name": "dora", "password": "secret", "id": 1 })),
        ("user/passwd", json!({ "name": "dora", "password": "other" })),
        ("user/block", json!({ "name": "dora" })),
        ("user/list", json!({})),
        ("user/unblock", json!({ "name": "dora" })),
        ("user/erase", json!({ "name": "carla" })),
        ("user/remove", json!({ "name": "dora" })),
    ] {
        assert_eq!(operator.ask(verb, &request)["ok"], json!(true), "{verb}");
        seen.insert(verb.to_owned());
    }
    assert_eq!(operator.ask("user/remove", &json!({ "name": "dora" }))["code"], json!("user.not-found"));
    let unseen: Vec<String> = schema::verbs().into_iter().filter(|verb| !seen.contains(verb)).collect();
    // Those have tests of their own, beside what they ask for.
    let elsewhere = |verb: &String| matches!(verb.as_str(), "history/search" | "user/erasing");
    assert!(unseen.iter().all(elsewhere), "never answered here: {unseen:?}");
}

/// Hears until each of these was told, on a topic that ends so, and gives them.
fn hears_all(person: &mut Person, mut expected: Vec<(&str, &str)>) {
    while !expected.is_empty() {
        let heard = person.hear();
        println!("{}: {}; not heard yet: {expected:?}", heard.topic, heard.text());
        let Ok(event) = serde_json::from_str::<Value>(&heard.text()) else { continue };
        expected.retain(|(end, kind)| !(heard.topic.ends_with(end) && event["type"] == json!(kind)));
    }
}

#[test]
fn everything_that_is_told_is_as_the_schema_says() {
    let arguments = &["--rooms.history-messages", "10", "--rooms.tail-size", "1KiB"];
    let broker = Broker::with(Settings { arguments, ..Settings::default() });
    let (mut ann, mut bob) = (account(&broker, "ann"), account(&broker, "bob"));
    bob.client.hears_places = true;
    assert_eq!(bob.subscribe("user/bob/#", &[]), 1);
    assert_eq!(bob.subscribe("user/+/presence", &[]), 1);
    ann.must("room/create", &json!({ "name": "den" }));
    assert_eq!(bob.subscribe("room/den/#", &[]), 1);
    // A friend who was never here comes later.
    let carl = json!({ "name": "carl", "password": "secret" });
    assert_eq!(Operator::of(&broker).ask("user/add", &carl)["ok"], json!(true));
    bob.must("friend/add", &json!({ "user": "carl" }));
    ann.must("group/create", &json!({ "name": "crew", "members": ["bob"] }));
    assert_eq!(bob.subscribe("group/crew/#", &[]), 1);
    ann.must("group/create", &json!({ "name": "club", "subject": "s" }));
    ann.must("group/invite", &json!({ "name": "club", "user": "bob" }));
    ann.must("offer", &json!({ "to": "bob", "kind": "peer", "data": { "port": 1 } }));
    for verb in ["mute", "unmute", "ban", "unban"] {
        ann.must(&format!("group/{verb}"), &json!({ "name": "club", "user": "bob" }));
    }
    assert_eq!(ann.say("room/lobby/msg/ann", "@bob").0, 0);
    assert_eq!(ann.say("room/den/msg/ann", "one").0, 0);
    for act in [
        r#"{"type":"reaction","seq":1,"text":"+"}"#,
        r#"{"type":"pin","seq":1}"#,
        r#"{"type":"unpin","seq":1}"#,
        r#"{"type":"edit","seq":1,"text":"two"}"#,
        r#"{"type":"delete","seq":1}"#,
    ] {
        let seq = newest_message(&mut ann);
        let act = act.replace("\"seq\":1", &format!("\"seq\":{seq}"));
        assert_eq!(ann.say("room/den/event/ann", &act).0, 0, "{act}");
    }
    ann.must("board/post", &json!({ "group": "crew", "title": "t", "text": "x" }));
    ann.must("board/delete", &json!({ "group": "crew", "number": 1 }));
    let history = json!({ "age_secs": 99 });
    let settings =
        json!({ "name": "crew", "subject": "s", "limit": 9, "history": history, "expiry_secs": 0 });
    ann.must("group/settings", &settings);
    ann.must("group/moderators", &json!({ "name": "crew", "add": ["bob"] }));
    ann.must("group/settings", &json!({ "name": "crew", "owner": "bob" }));
    ann.must("room/kick", &json!({ "name": "den", "user": "bob" }));
    // Without a past that may still be on its way when the room goes.
    assert_eq!(bob.subscribe("$last/0/room/den/#", &[]), 1);
    ann.must("room/delete", &json!({ "name": "den" }));
    bob.must("group/delete", &json!({ "name": "crew" }));
    let connect = Connect::lasting(V3, "carl").user("carl").password(b"secret");
    let _carl = Person::enter(&broker, &connect, "carl");
    hears_all(
        &mut bob,
        vec![
            ("user/bob/event/ann", "added"),
            ("user/bob/event/ann", "invitation"),
            ("user/bob/event/ann", "offer"),
            ("user/bob/event/ann", "muted"),
            ("user/bob/event/ann", "unmuted"),
            ("user/bob/event/ann", "banned"),
            ("user/bob/event/ann", "unbanned"),
            ("user/bob/event/ann", "mention"),
            ("user/bob/event/carl", "friend"),
            ("user/bob/event/ann", "role"),
            ("user/bob/event/ann", "kicked"),
            ("room/den/event/ann", "reaction"),
            ("room/den/event/ann", "pin"),
            ("room/den/event/ann", "unpin"),
            ("room/den/event/katydid", "gone"),
            ("group/crew/post/ann", "post"),
            ("group/crew/event/katydid", "post-gone"),
            ("group/crew/event/katydid", "settings"),
            ("group/crew/event/katydid", "owner"),
            ("group/crew/event/katydid", "gone"),
        ],
    );
    // What a sleeper lost to retention.
    assert_eq!(bob.subscribe("room/Home/msg/+", &[]), 1);
    drop(bob);
    for index in 0..200 {
        assert_eq!(ann.say("room/Home/msg/ann", &format!("message {index}")).0, 0);
    }
    let mut bob = broker.connect(&Connect::lasting(V5, "bob").user("bob").password(b"secret"));
    let (mut first, mut gap) = (None, None);
    while first.is_none() || gap.is_none() {
        let heard = bob.expect_publish();
        bob.acknowledge(&heard);
        schema::is_told(&heard.topic, &heard.text());
        let event: Value = serde_json::from_str(&heard.text()).unwrap_or_default();
        match heard.topic.as_str() {
            "room/Home/msg/ann" => first = first.or(Some(heard.text())),
            "user/bob/event/katydid" if event["type"] == json!("gap") => gap = Some(event),
            _ => {}
        }
    }
    let gap = gap.expect("a gap");
    let lost = gap["lost"].as_u64().expect("a number");
    assert_eq!(
        (&gap["place"], &gap["after"], &gap["before"]),
        (&json!("room/Home"), &json!(0), &json!(lost + 1))
    );
    assert_eq!(first, Some(format!("message {lost}")), "what follows the gap is the first that is there");
}

/// The number of the newest message in the den.
fn newest_message(person: &mut Person) -> u64 {
    let page = person.must("history", &json!({ "place": "room/den" }));
    let entries = page["entries"].as_array().expect("entries");
    let message = entries.iter().rev().find(|entry| entry["topic"] == json!("room/den/msg/ann"));
    message.and_then(|entry| entry["seq"].as_u64()).expect("a number")
}
