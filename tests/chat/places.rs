//! Rooms and groups: who gets in, who speaks, who is put out.

use serde_json::json;

use super::people::{Person, VERSIONS};
use crate::harness::{Broker, Connect, Settings, V3, V5, property};

fn registered(broker: &Broker, name: &str) -> Person {
    Person::connect(broker, V5, name).must("register", &json!({ "name": name, "password": "secret" }));
    again(broker, name)
}

fn again(broker: &Broker, name: &str) -> Person {
    let connect = Connect::lasting(V5, name).user(name).password(b"secret");
    Person::enter(broker, &connect, name)
}

#[test]
fn a_private_room_wants_its_password() {
    let broker = Broker::start();
    let mut ann = Person::connect(&broker, V5, "ann");
    ann.must("room/create", &json!({ "name": "den", "password": "sesame" }));
    assert_eq!(ann.subscribe("room/den/msg/+", &[]), 1);
    let mut bob = Person::connect(&broker, V5, "bob");
    assert_eq!(bob.subscribe("room/den/msg/+", &[]), 0x87);
    assert_eq!(bob.subscribe("room/den/msg/+", &[property::user("password", "guess")]), 0x87);
    let (code, reason) = bob.say("room/den/msg/bob", "let me in");
    assert_eq!((code, reason.as_deref()), (0x87, Some("room.not-member")));
    assert_eq!(bob.subscribe("room/den/msg/+", &[property::user("password", "sesame")]), 1);
    assert_eq!(bob.say("room/den/msg/bob", "hi").0, 0);
    ann.hears("hi");
    let mut carl = Person::connect(&broker, V3, "carl");
    assert_eq!(carl.refused("room/join", &json!({ "name": "den" })), "room.wrong-password");
    carl.must("room/join", &json!({ "name": "den", "password": "sesame" }));
    assert_eq!(carl.subscribe("room/den/msg/+", &[]), 1, "who has joined needs no password");
    carl.hears("hi");
}

#[test]
fn who_is_banned_hears_and_says_nothing_more() {
    let mut broker = Broker::start();
    let mut ann = registered(&broker, "ann");
    ann.must("room/create", &json!({ "name": "den" }));
    let mut bob = registered(&broker, "bob");
    assert_eq!(bob.subscribe("room/den/msg/+", &[]), 1);
    assert_eq!(bob.subscribe("room/+/#", &[]), 1);
    assert_eq!(ann.say("room/den/msg/ann", "before").0, 0);
    bob.hears("before");
    ann.must("room/ban", &json!({ "name": "den", "user": "bob" }));
    assert_eq!(ann.say("room/den/msg/ann", "after").0, 0);
    let (code, reason) = bob.say("room/den/msg/bob", "why?");
    assert_eq!((code, reason.as_deref()), (0x87, Some("room.banned")));
    assert_eq!(bob.subscribe("room/den/#", &[]), 0x87);
    bob.hears_nothing();
    drop(bob);
    for round in 0..2 {
        broker.kill();
        broker.restart();
        let mut bob = again(&broker, "bob");
        let mut ann = again(&broker, "ann");
        assert_eq!(ann.say("room/den/msg/ann", "still").0, 0, "round {round}");
        assert_eq!(bob.say("room/den/msg/bob", "please").0, 0x87);
        bob.hears_nothing();
    }
    let mut ann = again(&broker, "ann");
    ann.must("room/unban", &json!({ "name": "den", "user": "bob" }));
    let mut bob = again(&broker, "bob");
    bob.hears_nothing();
    assert_eq!(ann.say("room/den/msg/ann", "dormant").0, 0);
    bob.hears_nothing();
    assert_eq!(bob.subscribe("$last/1/room/den/msg/+", &[]), 1);
    bob.hears("dormant");
}

#[test]
fn a_kick_stops_the_next_message_to_sleeping_sessions_too() {
    let broker = Broker::start();
    let mut ann = registered(&broker, "ann");
    ann.must("room/create", &json!({ "name": "den" }));
    let mut bob = registered(&broker, "bob");
    assert_eq!(bob.subscribe("room/den/msg/+", &[]), 1);
    drop(bob);
    ann.must("room/kick", &json!({ "name": "den", "user": "bob" }));
    assert_eq!(ann.say("room/den/msg/ann", "he is gone").0, 0);
    let mut bob = again(&broker, "bob");
    bob.hears_nothing();
    assert_eq!(bob.subscribe("room/den/msg/+", &[]), 1, "a kick is no ban");
    bob.hears("he is gone");
}

#[test]
fn what_a_3_1_1_client_may_not_say_is_told_by_an_event() {
    let broker = Broker::start();
    let mut ann = Person::connect(&broker, V5, "ann");
    ann.must("room/create", &json!({ "name": "news", "read_only": true }));
    for version in VERSIONS {
        let mut bob = Person::connect(&broker, version, "bob");
        assert_eq!(bob.subscribe("user/bob/event/+", &[]), 1);
        let (code, reason) = bob.say("room/news/msg/bob", "may I?");
        if version == V5 {
            assert_eq!((code, reason.as_deref()), (0x87, Some("room.read-only")));
            continue;
        }
        assert_eq!((code, reason), (0, None));
        let (topic, event) = bob.happens();
        assert_eq!(topic, "user/bob/event/katydid");
        assert_eq!((&event["type"], &event["code"]), (&json!("refused"), &json!("room.read-only")));
    }
}

#[test]
fn a_group_is_a_membership() {
    let mut broker = Broker::start();
    let mut ann = registered(&broker, "ann");
    ann.must("group/create", &json!({ "name": "crew" }));
    let mut bob = registered(&broker, "bob");
    assert_eq!(bob.subscribe("group/+/msg/+", &[]), 1);
    assert_eq!(bob.subscribe("user/+/event/+", &[]), 1);
    assert_eq!(bob.say("group/crew/msg/bob", "hello?").0, 0x87, "not in it");
    ann.must("group/invite", &json!({ "name": "crew", "user": "bob", "add": true }));
    let (topic, event) = bob.happens();
    assert_eq!((topic.as_str(), &event["type"]), ("user/bob/event/ann", &json!("added")));
    assert_eq!(ann.say("group/crew/msg/ann", "one").0, 0);
    bob.hears("one");
    drop(bob);
    assert_eq!(ann.say("group/crew/msg/ann", "two").0, 0);
    assert!(broker.terminate().success());
    broker.restart();
    let mut ann = again(&broker, "ann");
    assert_eq!(ann.say("group/crew/msg/ann", "three").0, 0);
    let mut bob = again(&broker, "bob");
    bob.hears("two");
    bob.hears("three");
    bob.must("group/leave", &json!({ "name": "crew" }));
    assert_eq!(ann.say("group/crew/msg/ann", "four").0, 0);
    bob.hears_nothing();
}

#[test]
fn a_room_that_is_deleted_is_gone_with_its_history() {
    let broker = Broker::start();
    let mut ann = registered(&broker, "ann");
    ann.must("room/create", &json!({ "name": "den" }));
    assert_eq!(ann.say("room/den/msg/ann", "secret").0, 0);
    let mut bob = registered(&broker, "bob");
    assert_eq!(bob.subscribe("room/den/msg/+", &[]), 1);
    let seq = property::all(&bob.hears("secret").properties, property::USER_PROPERTY).len();
    assert_eq!(seq, 2, "number and time");
    ann.must("room/delete", &json!({ "name": "den" }));
    ann.must("room/create", &json!({ "name": "den" }));
    assert_eq!(ann.say("room/den/msg/ann", "anew").0, 0);
    bob.hears_nothing();
    assert_eq!(bob.subscribe("$since/0/room/den/msg/+", &[]), 1);
    bob.hears("anew");
    bob.hears_nothing();
}

#[test]
fn rooms_are_made_by_who_may() {
    let broker = Broker::with(Settings { arguments: &["--rooms.create", "false"], ..Settings::default() });
    let mut ann = Person::connect(&broker, V5, "ann");
    assert_eq!(ann.subscribe("room/new/msg/+", &[]), 0x87);
    let (code, reason) = ann.say("room/new/msg/ann", "hello");
    assert_eq!((code, reason.as_deref()), (0x87, Some("room.not-found")));
    assert_eq!(ann.subscribe("room/Home/msg/+", &[]), 1, "Home is always there");
    ann.must("room/create", &json!({ "name": "new" }));
    assert_eq!(ann.say("room/new/msg/ann", "hello").0, 0);
}

#[test]
fn who_comes_in_is_told_what_is_kept_of_a_place() {
    let broker = Broker::start();
    let mut ann = Person::connect(&broker, V5, "ann");
    ann.must("room/create", &json!({ "name": "den", "subject": "plans" }));
    assert_eq!(ann.say("room/den/msg/ann", "first").0, 0);
    assert_eq!(ann.subscribe("room/den/msg/+", &[]), 1);
    ann.hears("first");
    assert_eq!(ann.say("room/den/read/ann", "1").0, 0);
    assert_eq!(ann.say("room/den/read/ann", "9").0, 0x99, "from the future");
    let mut bob = Person::connect(&broker, V5, "bob");
    bob.client.hears_places = true;
    assert_eq!(bob.subscribe("room/den/info", &[]), 1);
    let info = bob.hear();
    assert!(info.retain);
    assert!(info.text().contains("plans"), "{}", info.text());
    assert_eq!(bob.subscribe("room/den/read/+", &[]), 1);
    loop {
        let heard = bob.hear();
        if heard.topic == "room/den/read/ann" {
            assert_eq!((heard.text().as_str(), heard.retain), ("1", true));
            break;
        }
    }
}
