//! Mentions: who is told that a message names them.

use serde_json::{Value, json};

use super::people::Person;
use crate::harness::{Broker, Publish, V3, V5, property};

/// The next mention that somebody is told of.
fn mention(person: &mut Person) -> (String, Value) {
    let (topic, event) = person.happens();
    assert_eq!(event["type"], json!("mention"), "{topic} {event}");
    (topic, event)
}

#[test]
fn who_is_named_is_told_once_in_a_while() {
    let broker = Broker::start();
    let mut bob = Person::connect(&broker, V3, "bob");
    assert_eq!(bob.subscribe("user/+/event/+", &[]), 1);
    let mut carl = Person::connect(&broker, V5, "carl");
    for text in ["@bob: come here", "you, (@Bob)!", "@bob @bob @carl @nobody"] {
        assert_eq!(carl.say("room/Home/msg/carl", text).0, 0);
    }
    let mut count = 0;
    while count < 3 {
        let (topic, event) = mention(&mut bob);
        assert_eq!(topic, "user/bob/event/carl");
        assert_eq!((&event["place"], &event["by"]), (&json!("room/Home"), &json!("carl")));
        count += event["count"].as_u64().expect("a count");
        assert_eq!(event["seq"].as_u64(), Some(count), "the newest of them");
    }
    assert_eq!(count, 3, "a message that names somebody twice is one");
    let named = Publish::new("room/Home/msg/carl", "\u{1F44B}").property(property::user("mention", "bob"));
    assert_eq!(carl.send(named).0, 0);
    assert_eq!(mention(&mut bob).1["seq"], json!(4));
    assert_eq!(carl.say("room/Home/msg/carl", "mail bob@bob.example").0, 0);
    assert_eq!(carl.say("room/Home/msg/carl", "@bob: last").0, 0);
    assert_eq!(mention(&mut bob).1["seq"], json!(6), "an address is no mention");
    bob.hears_nothing();
}

#[test]
fn who_may_not_read_or_does_not_hear_is_not_told() {
    let broker = Broker::start();
    let mut ann = Person::connect(&broker, V5, "ann");
    let mut bob = Person::connect(&broker, V5, "bob");
    let mut carl = Person::connect(&broker, V5, "carl");
    assert_eq!(bob.subscribe("user/+/event/+", &[]), 1);
    bob.must("ignore/add", &json!({ "user": "carl" }));
    ann.must("room/create", &json!({ "name": "den", "visibility": "secret" }));
    ann.must("group/create", &json!({ "name": "crew" }));
    for (person, place) in [(&mut ann, "room/den"), (&mut carl, "room/Home")] {
        let topic = format!("{place}/msg/{}", person.name);
        assert_eq!(person.say(&topic, "@bob, do you read this?").0, 0);
    }
    assert_eq!(ann.say("group/crew/msg/ann", "@bob").0, 0);
    assert_eq!(ann.say("room/Home/msg/ann", "@bob").0, 0);
    let (topic, event) = mention(&mut bob);
    assert_eq!((topic.as_str(), &event["place"]), ("user/bob/event/ann", &json!("room/Home")));
    bob.hears_nothing();
    ann.must("room/invite", &json!({ "name": "den", "user": "bob" }));
    assert_eq!(bob.happens().1["type"], json!("invitation"));
    bob.must("room/join", &json!({ "name": "den" }));
    assert_eq!(ann.say("room/den/msg/ann", "@bob").0, 0);
    assert_eq!(mention(&mut bob).1["place"], json!("room/den"));
}
