//! Rooms are apart from other topics: filters that begin with a wildcard never see them, `room/+/...` means the rooms
//! that a session is in, and where rooms are off their topics are plain.

use super::talk::{Old, take, texts};
use crate::harness::{Broker, Connect, RawClient, Settings, V3, V5};

/// What is done in a room is JSON.
const AN_EVENT: &str = r#"{"type":"wave"}"#;

fn user(broker: &Broker, name: &str) -> RawClient {
    broker.connect(&Connect::new(V5, name).user(name))
}

#[test]
fn a_filter_that_begins_with_a_wildcard_never_sees_a_room() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut spy = broker.client(version, "spy");
        for filter in ["#", "+/x/msg/+", "+/#", "+/+/msg/ann"] {
            spy.subscribe(filter, 1);
        }
        assert!(spy.subscribe_with(&[("$share/g/room/x/msg/+", 1)], &[])[0] >= 0x80, "a shared subscription");
        let mut ann = user(&broker, "ann");
        ann.publish("room/x/msg/ann", "secret", 1);
        ann.publish("plain/x/msg/ann", "open", 1);
        spy.expect_and_acknowledge("open");
        spy.expect_quiet();
        spy.disconnect();
    }
}

#[test]
fn every_room_means_the_rooms_that_a_session_is_in() {
    for filter in ["room/+/msg/+", "room/#"] {
        let broker = Broker::start();
        let mut bob = broker.client(V5, "bob");
        bob.subscribe(filter, 1);
        bob.subscribe("room/in/typing/+", 1);
        let mut ann = user(&broker, "ann");
        ann.publish("room/out/msg/ann", "not for bob", 1);
        ann.publish("room/in/msg/ann", "for bob", 1);
        bob.expect_and_acknowledge("for bob");
        bob.expect_quiet();
        bob.subscribe("room/out/msg/+", 1);
        assert_eq!(texts(&take(&mut bob, 1)), ["not for bob"], "now he is in, and sees what was said");
        ann.publish("room/out/msg/ann", "for both", 1);
        bob.expect_and_acknowledge("for both");
        bob.unsubscribe(&["room/in/typing/+"]);
        ann.publish("room/in/msg/ann", "he left", 1);
        ann.publish("room/out/msg/ann", "still in", 1);
        bob.expect_and_acknowledge("still in");
        bob.expect_quiet();
    }
}

#[test]
fn overlapping_filters_give_one_copy() {
    let broker = Broker::start();
    let mut bob = broker.client(V5, "bob");
    for (filter, qos) in [("room/x/msg/+", 0), ("room/x/#", 1), ("room/+/msg/ann", 0), ("room/x/msg/ann", 0)]
    {
        bob.subscribe(filter, qos);
    }
    user(&broker, "ann").publish("room/x/msg/ann", "once", 1);
    assert_eq!(bob.expect_and_acknowledge("once").qos, 1, "the highest QoS");
    bob.expect_quiet();
}

#[test]
fn what_is_not_kept_reaches_who_is_there_and_no_history() {
    let broker = Broker::start();
    let mut bob = broker.client(V5, "bob");
    bob.subscribe("room/x/#", 1);
    let mut ann = user(&broker, "ann");
    ann.publish("room/x/typing/ann", "...", 0);
    bob.expect_and_acknowledge("...");
    ann.publish("room/x/msg/ann", "said", 1);
    bob.expect_and_acknowledge("said");
    let mut late = broker.client(V5, "late");
    late.subscribe("$since/0/room/x/#", 1);
    assert_eq!(texts(&take(&mut late, 1)), ["said"]);
    late.expect_quiet();
}

#[test]
fn only_what_matches_is_delivered() {
    let broker = Broker::start();
    let mut ann = user(&broker, "ann");
    let mut carl = user(&broker, "carl");
    let mut bob = broker.client(V5, "bob");
    bob.subscribe("room/x/msg/carl", 1);
    ann.publish("room/x/msg/ann", "from ann", 1);
    carl.publish("room/x/event/carl", AN_EVENT, 1);
    carl.publish("room/y/msg/carl", "elsewhere", 1);
    carl.publish("room/x/msg/carl", "from carl", 1);
    bob.expect_and_acknowledge("from carl");
    bob.expect_quiet();
}

#[test]
fn rooms_can_be_off() {
    let mut broker =
        Broker::with(Settings { arguments: &["--rooms.enabled", "false"], ..Settings::default() });
    let mut spy = Old::connect(&broker, "spy", true);
    spy.subscribe("#", 1);
    let mut bob = broker.client(V5, "bob");
    bob.subscribe("room/x/msg/+", 1);
    let mut ann = user(&broker, "ann");
    ann.retain("room/x/msg/somebody", "plain", 1);
    ann.publish("room", "plain too", 1);
    assert_eq!(spy.hear_texts(2), ["plain", "plain too"]);
    let heard = bob.expect_and_acknowledge("plain");
    assert_eq!(super::talk::seq_of(&heard.properties), None, "no number");
    broker.kill();
    broker.restart();
    let mut late = broker.client(V5, "late");
    late.subscribe("room/x/msg/+", 1);
    assert!(late.expect_and_acknowledge("plain").retain);
}
