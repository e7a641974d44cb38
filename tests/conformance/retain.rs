//! Retained messages (chapters 3.3.1.3, 3.8.3.1).

use crate::harness::packet::{RETAIN_AS_PUBLISHED, RETAIN_IF_NEW, RETAIN_NEVER};
use crate::harness::{Broker, Connect, Publish, V3, V5};

/// [MQTT-3.3.1-5], [MQTT-3.3.1-9]; 3.1.1 [MQTT-3.3.1-5], [MQTT-3.3.1-6], [MQTT-3.3.1-7], [MQTT-3.3.1-8]: the last
/// retained message of each topic goes to a new subscription, with RETAIN 1.
#[test]
fn last_retained_message_is_sent_to_new_subscriptions() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut publisher = broker.client(version, "publisher");
        publisher.retain("kept/a", "old", 1);
        publisher.retain("kept/a", "new", 0);
        publisher.retain("kept/b", "two", 2);
        for _ in 0..2 {
            let mut client = broker.client(version, "newcomer");
            client.subscribe("kept/+", 2);
            let mut got = [client.expect_publish(), client.expect_publish()];
            got.iter().for_each(|message| client.acknowledge(message));
            got.sort_by(|left, right| left.topic.cmp(&right.topic));
            assert_eq!((got[0].text().as_str(), got[0].qos, got[0].retain), ("new", 0, true));
            assert_eq!((got[1].text().as_str(), got[1].qos, got[1].retain), ("two", 2, true));
            client.expect_quiet();
        }
    }
}

/// [MQTT-3.8.4-8]; 3.1.1 [MQTT-3.8.4-6]: a retained message is sent at the lesser of its QoS and the granted one.
#[test]
fn retained_messages_are_sent_at_the_lesser_qos() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut publisher = broker.client(version, "publisher");
        for published in 0..3 {
            publisher.retain("grade", "x", published);
            for granted in 0..3 {
                let mut client = broker.client(version, "newcomer");
                client.subscribe("grade", granted);
                assert_eq!(client.expect_and_acknowledge("x").qos, published.min(granted));
            }
        }
    }
}

/// [MQTT-3.3.1-6], [MQTT-3.3.1-7]; 3.1.1 [MQTT-3.3.1-10], [MQTT-3.3.1-11]: an empty payload is delivered, removes the
/// retained message and is not retained itself.
#[test]
fn empty_payload_removes_the_retained_message() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for qos in 0..3 {
            let mut publisher = broker.client(version, "publisher");
            publisher.retain("removed", "x", 1);
            let mut watching = broker.client(version, "watching");
            watching.subscribe("removed", 0);
            watching.expect_message("x");
            publisher.retain("removed", "", qos);
            assert!(!watching.expect_message("").retain);
            let mut client = broker.client(version, "newcomer");
            client.subscribe("removed", 0);
            client.expect_quiet();
        }
    }
}

/// [MQTT-3.3.1-8]; 3.1.1 [MQTT-3.3.1-12]: without RETAIN nothing is stored, replaced or removed.
#[test]
fn message_without_retain_leaves_the_retained_one() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut publisher = broker.client(version, "publisher");
        publisher.publish("plain", "not stored", 1);
        publisher.retain("stays", "stored", 1);
        publisher.publish("stays", "passing", 1);
        publisher.publish("stays", "", 1);
        let mut client = broker.client(version, "newcomer");
        client.subscribe("plain", 0);
        client.expect_quiet();
        client.subscribe("stays", 0);
        client.expect_message("stored");
        client.expect_quiet();
    }
}

/// [MQTT-3.3.1-12]; 3.1.1 [MQTT-3.3.1-9]: RETAIN is 0 to an established subscription without retain as published.
#[test]
fn retain_is_0_for_established_subscriptions() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "established");
        let topic = format!("flag/{version:?}");
        client.subscribe(&topic, 1);
        let mut publisher = broker.client(version, "publisher");
        publisher.retain(&topic, "x", 1);
        assert!(!client.expect_and_acknowledge("x").retain);
    }
}

/// [MQTT-3.3.1-13]: with retain as published, RETAIN is forwarded as it came.
#[test]
fn retain_as_published_forwards_the_flag() {
    let broker = Broker::start();
    let mut client = broker.client(V5, "bridge");
    client.subscribe_with(&[("asis", RETAIN_AS_PUBLISHED)], &[]);
    let mut publisher = broker.client(V5, "publisher");
    publisher.retain("asis", "retained", 0);
    publisher.publish("asis", "plain", 0);
    assert!(client.expect_message("retained").retain);
    assert!(!client.expect_message("plain").retain);
    // What comes because of a subscription has RETAIN 1 whatever the option says.
    let mut late = broker.client(V5, "late");
    late.subscribe("asis", 0);
    assert!(late.expect_message("retained").retain);
}

/// [MQTT-3.3.1-9], [MQTT-3.8.4-4]; 3.1.1 [MQTT-3.3.1-6], [MQTT-3.8.4-3]: retain handling 0, and 3.1.1, sends retained
/// messages on every SUBSCRIBE.
#[test]
fn retain_handling_0_sends_on_every_subscribe() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "asking");
        client.retain("handling/0", "x", 0);
        for _ in 0..3 {
            client.subscribe("handling/0", 0);
            assert!(client.expect_message("x").retain);
        }
        client.expect_quiet();
    }
}

/// [MQTT-3.3.1-10]: retain handling 1 sends them for a subscription that did not exist, and only then.
#[test]
fn retain_handling_1_sends_for_a_new_subscription_only() {
    let broker = Broker::start();
    let lasting = Connect::lasting(V5, "asking");
    let mut client = broker.connect(&lasting);
    client.retain("handling/1", "x", 0);
    client.subscribe_with(&[("handling/1", RETAIN_IF_NEW)], &[]);
    client.expect_message("x");
    client.subscribe_with(&[("handling/1", RETAIN_IF_NEW)], &[]);
    client.expect_quiet();
    client.vanish();
    let mut client = broker.connect(&lasting);
    client.subscribe_with(&[("handling/1", RETAIN_IF_NEW)], &[]);
    client.expect_quiet();
    client.unsubscribe(&["handling/1"]);
    client.subscribe_with(&[("handling/1", RETAIN_IF_NEW)], &[]);
    client.expect_message("x");
}

/// [MQTT-3.3.1-11]: retain handling 2 never sends them.
#[test]
fn retain_handling_2_sends_none() {
    let broker = Broker::start();
    let mut client = broker.client(V5, "asking");
    client.retain("handling/2", "x", 0);
    client.subscribe_with(&[("handling/2", RETAIN_NEVER)], &[]);
    client.subscribe_with(&[("handling/2", RETAIN_NEVER)], &[]);
    client.expect_quiet();
}

/// 3.1.1 [MQTT-3.1.2-7]; 5.0 section 4.1: retained messages belong to no session.
#[test]
fn retained_messages_outlive_the_session_of_their_publisher() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut publisher = broker.client(version, "publisher");
        publisher.retain("outlives", "x", 1);
        publisher.disconnect();
        broker.client(version, "publisher").disconnect();
        let mut client = broker.client(version, "newcomer");
        client.subscribe("outlives", 0);
        client.expect_message("x");
    }
}

/// [MQTT-3.3.1-5]: a retained message that was acknowledged outlives a kill of the broker.
#[test]
fn retained_messages_survive_a_kill() {
    let mut broker = Broker::start();
    let mut publisher = broker.client(V5, "publisher");
    publisher.retain("survivor", "before", 1);
    publisher.retain("removed", "before", 1);
    publisher.retain("survivor", "x", 1);
    publisher.retain("removed", "", 1);
    broker.kill();
    broker.restart();
    let mut client = broker.client(V3, "newcomer");
    client.subscribe("+", 1);
    assert!(client.expect_and_acknowledge("x").retain);
    client.expect_quiet();
}

/// [MQTT-4.7.2-1]: retained messages under `$` do not come to a wildcard in the first level.
#[test]
fn retained_dollar_topics_are_hidden_from_leading_wildcards() {
    let broker = Broker::start();
    let mut client = broker.client(V5, "reader");
    client.publish_whole(Publish::new("plain/topic", "x").retained());
    client.subscribe("$SYS/broker/version", 0);
    client.expect_publish();
    client.subscribe("$SYS/broker/version", 0);
    assert!(client.expect_publish().retain, "the broker's statistics are retained");
    client.unsubscribe(&["$SYS/broker/version"]);
    client.subscribe("#", 0);
    assert_eq!(client.expect_message("x").topic, "plain/topic");
    client.expect_quiet();
}
