//! The sender is true: the topic of a message names its sender, and only that user can publish there.

use super::talk::{Old, number, take, texts};
use crate::harness::{Broker, Connect, Publish, RawClient, V3, V5, Version, packet, property};

fn connect(broker: &Broker, version: Version, user: &str) -> RawClient {
    broker.connect(&Connect::new(version, &format!("client-{user}")).user(user))
}

/// What a client is told about a message of QoS 1.
fn reason(client: &mut RawClient, publish: Publish) -> u8 {
    let id = client.fresh_id();
    client.send_publish(&Publish { qos: 1, id: Some(id), ..publish });
    client.expect_ack(packet::PUBACK, id).reason
}

#[test]
fn nobody_publishes_under_anothers_name() {
    let broker = Broker::start();
    let mut listener = connect(&broker, V5, "lis");
    listener.subscribe("room/x/#", 1);
    let mut mallory = connect(&broker, V5, "mallory");
    for topic in ["room/x/msg/ann", "room/x/event/ann", "room/x/typing/ann", "room/x/msg/Mallory"] {
        assert_eq!(reason(&mut mallory, Publish::new(topic, "forged")), 0x87, "{topic}");
    }
    assert_eq!(reason(&mut mallory, Publish::new("room/x/msg/mallory", "true")), 0);
    let heard = listener.expect_and_acknowledge("true");
    assert_eq!(heard.topic, "room/x/msg/mallory");
    listener.expect_quiet();
}

#[test]
fn who_has_no_name_says_nothing() {
    let broker = Broker::start();
    let mut nameless = broker.client(V5, "nameless");
    for topic in ["room/x/msg/nameless", "room/x/msg/", "room/x/msg/ann"] {
        assert!(reason(&mut nameless, Publish::new(topic, "forged")) >= 0x80, "{topic}");
    }
    nameless.subscribe("$since/0/room/x/#", 0);
    nameless.expect_quiet();
}

#[test]
fn a_refused_message_of_a_3_1_1_client_is_acknowledged_and_dropped() {
    let broker = Broker::start();
    let mut listener = connect(&broker, V5, "lis");
    listener.subscribe("room/x/msg/+", 1);
    let mut mallory = connect(&broker, V3, "mallory");
    for qos in 0..=2 {
        mallory.publish("room/x/msg/ann", "forged", qos);
    }
    mallory.publish("room/x/msg/mallory", "true", 2);
    listener.expect_and_acknowledge("true");
    let mut late = Old::connect(&broker, "late", true);
    late.subscribe("$since/0/room/x/msg/+", 1);
    assert_eq!(late.hear_texts(1), ["true"], "nothing forged is in the history");
}

#[test]
fn a_will_is_bound_to_its_name_too() {
    let broker = Broker::start();
    let mut listener = connect(&broker, V5, "lis");
    listener.subscribe("room/x/msg/+", 1);
    let forged = Publish::new("room/x/msg/ann", "forged").will_qos(1);
    broker.connect(&Connect::new(V5, "m").user("mallory").will(forged)).vanish();
    let own = Publish::new("room/x/msg/carl", "gone").will_qos(1);
    broker.connect(&Connect::new(V5, "c").user("carl").will(own)).vanish();
    assert_eq!(listener.expect_and_acknowledge("gone").topic, "room/x/msg/carl");
    listener.expect_quiet();
}

#[test]
fn number_and_time_are_not_the_publishers_to_set() {
    let broker = Broker::start();
    let mut listener = connect(&broker, V5, "lis");
    listener.subscribe("room/x/msg/+", 1);
    let mut ann = connect(&broker, V5, "ann");
    for name in ["seq", "time"] {
        let forged = Publish::new("room/x/msg/ann", "forged").property(property::user(name, "999"));
        assert!(reason(&mut ann, forged) >= 0x80, "{name}");
    }
    let said = Publish::new("room/x/msg/ann", "true").property(property::user("color", "red"));
    assert_eq!(reason(&mut ann, said), 0);
    let heard = take(&mut listener, 1);
    assert_eq!(texts(&heard), ["true"]);
    assert_ne!(number(&heard[0]), 999);
    assert_eq!(
        super::talk::user_property(&heard[0].properties, "color"),
        Some("red"),
        "others' are forwarded"
    );
}
