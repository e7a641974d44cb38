//! UNSUBSCRIBE and UNSUBACK (chapters 3.10, 3.11).

use crate::harness::packet::{self, PUBCOMP, PUBREC, PUBREL};
use crate::harness::{Broker, V3, V5};

/// [MQTT-3.10.4-4], [MQTT-3.10.4-5], [MQTT-3.10.4-6], [MQTT-3.11.3-1], [MQTT-3.11.3-2], [MQTT-2.2.1-6]; 3.1.1
/// [MQTT-3.10.4-4], [MQTT-3.10.4-5], [MQTT-3.10.4-6], [MQTT-2.3.1-7]: one UNSUBACK of the same identifier; in 5.0 with a
/// code for each filter in order, 0x11 where there was no such subscription.
#[test]
fn unsuback_answers_every_filter_in_order() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "leaving");
        client.subscribe("a", 0);
        client.subscribe("b/#", 1);
        let codes = client.unsubscribe(&["none", "a", "b/+", "b/#", "a"]);
        let expected: &[u8] = if version == V5 { &[0x11, 0, 0x11, 0, 0x11] } else { &[] };
        assert_eq!(codes, expected);
    }
}

/// [MQTT-3.10.4-1]; 3.1.1 [MQTT-3.10.4-1]: filters are compared character by character, wildcards too.
#[test]
fn filters_are_compared_character_by_character() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "exact");
        client.subscribe("char/+", 0);
        client.unsubscribe(&["char/a", "char/#", "Char/+", "char/+/", "#"]);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish("char/a", "still", 0);
        client.expect_message("still");
        client.unsubscribe(&["char/+"]);
        publisher.publish("char/a", "no more", 0);
        client.expect_quiet();
    }
}

/// [MQTT-3.10.4-2]; 3.1.1 [MQTT-3.10.4-2]: after UNSUBACK no new message comes by that filter; others go on.
#[test]
fn nothing_new_comes_after_unsuback() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "leaving");
        client.subscribe("gone", 1);
        client.subscribe("stays", 1);
        client.unsubscribe(&["gone"]);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish("gone", "x", 1);
        publisher.publish("stays", "y", 1);
        client.expect_and_acknowledge("y");
        client.expect_quiet();
    }
}

/// [MQTT-3.10.4-3]; 3.1.1 [MQTT-3.10.4-3]: deliveries that have begun are completed.
#[test]
fn begun_deliveries_are_completed_after_unsubscribe() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "leaving");
        client.subscribe("begun", 2);
        broker.client(version, "publisher").publish("begun", "x", 2);
        let id = client.expect_message("x").id.expect("a packet identifier");
        client.unsubscribe(&["begun"]);
        client.send(&packet::ack(PUBREC, id));
        client.expect_ack(PUBREL, id);
        client.send(&packet::ack(PUBCOMP, id));
        client.expect_quiet();
    }
}

/// [MQTT-3.10.3-2]; 3.1.1 [MQTT-3.10.3-2]: an UNSUBSCRIBE without a filter is against the protocol.
#[test]
fn unsubscribe_without_a_filter_closes() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "empty");
        client.send(&packet::unsubscribe(version, 1, &[]));
        client.expect_broken();
    }
}
