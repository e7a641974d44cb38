//! The delivery protocols of QoS 1 and 2 (chapters 3.4 to 3.7, 4.3).

use crate::harness::packet::{self, PUBACK, PUBCOMP, PUBREC, PUBREL};
use crate::harness::{Broker, Connect, Publish, V3, V5, property};

/// [MQTT-4.3.2-5]; 3.1.1 [MQTT-4.3.2-2]: after PUBACK, the same packet identifier is a new message, DUP or not.
#[test]
fn packet_identifier_is_free_after_puback() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("reuse", 1);
        let mut publisher = broker.client(version, "publisher");
        publisher.send_publish(&Publish::new("reuse", "one").qos1(9));
        publisher.expect_ack(PUBACK, 9);
        publisher.send_publish(&Publish::new("reuse", "two").qos1(9).dup());
        publisher.expect_ack(PUBACK, 9);
        subscriber.expect_and_acknowledge("one");
        subscriber.expect_and_acknowledge("two");
    }
}

/// [MQTT-4.3.3-10], [MQTT-4.3.3-8]; 3.1.1 [MQTT-4.3.3-2]: until PUBREL, the same packet identifier is the same message:
/// PUBREC again, delivered once.
#[test]
fn repeated_qos_2_publish_is_delivered_once() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("once", 2);
        let mut publisher = broker.client(version, "publisher");
        let message = Publish::new("once", "x").qos2(3);
        publisher.send_publish(&message);
        publisher.expect_ack(PUBREC, 3);
        for _ in 0..3 {
            publisher.send_publish(&message.clone().dup());
            assert!(publisher.expect_ack(PUBREC, 3).reason < 0x80);
        }
        publisher.send(&packet::ack(PUBREL, 3));
        assert_eq!(publisher.expect_ack(PUBCOMP, 3).reason, 0);
        subscriber.expect_and_acknowledge("x");
        subscriber.expect_quiet();
    }
}

/// [MQTT-4.3.3-12], [MQTT-4.3.3-11]; 3.1.1 [MQTT-4.3.3-2]: after PUBCOMP, the packet identifier is free.
#[test]
fn packet_identifier_is_free_after_pubcomp() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("again", 2);
        let mut publisher = broker.client(version, "publisher");
        for payload in ["one", "two", "three"] {
            publisher.send_publish(&Publish::new("again", payload).qos2(4));
            publisher.expect_ack(PUBREC, 4);
            publisher.send(&packet::ack(PUBREL, 4));
            assert_eq!(publisher.expect_ack(PUBCOMP, 4).reason, 0);
            subscriber.expect_and_acknowledge(payload);
        }
    }
}

/// [MQTT-3.7.2-1], [MQTT-4.3.3-11]; 3.1.1 [MQTT-4.3.3-2]: PUBREL for an unknown packet identifier is answered with
/// PUBCOMP, 0x92 in 5.0, and the connection goes on.
#[test]
fn pubrel_for_an_unknown_packet_is_answered() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "releasing");
        client.send(&packet::ack(PUBREL, 77));
        let reason = client.expect_ack(PUBCOMP, 77).reason;
        assert_eq!(reason, if version == V5 { 0x92 } else { 0 });
        client.ping();
    }
}

/// [MQTT-3.6.2-1], section 3.6.2.1: PUBREC for an unknown packet identifier is answered with PUBREL, 0x92 in 5.0.
#[test]
fn pubrec_for_an_unknown_packet_is_answered() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "confused");
        client.send(&packet::ack(PUBREC, 78));
        let reason = client.expect_ack(PUBREL, 78).reason;
        assert_eq!(reason, if version == V5 { 0x92 } else { 0 });
        client.ping();
    }
}

/// Section 4.13.2: PUBACK and PUBCOMP for unknown packet identifiers change nothing.
#[test]
fn unsolicited_puback_and_pubcomp_are_ignored() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "confused");
        client.send(&packet::ack(PUBACK, 79));
        client.send(&packet::ack(PUBCOMP, 80));
        client.expect_quiet();
    }
}

/// [MQTT-4.13.1-1], [MQTT-3.3.4-1]; 3.1.1 [MQTT-4.8.0-1]: an acknowledgement of the wrong QoS is against the protocol.
#[test]
fn acknowledgement_of_the_wrong_qos_closes() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for (qos, kind) in [(1, PUBREC), (1, PUBCOMP), (2, PUBACK), (2, PUBCOMP)] {
            let mut client = broker.client(version, "mistaken");
            client.subscribe("wrong", qos);
            broker.client(version, "publisher").publish("wrong", "x", qos);
            let id = client.expect_message("x").id.expect("a packet identifier");
            client.send(&packet::ack(kind, id));
            client.expect_refused(0x82);
        }
    }
}

/// [MQTT-2.2.1-4], [MQTT-4.3.2-1], [MQTT-4.3.3-1]; 3.1.1 [MQTT-2.3.1-4], [MQTT-2.3.1-1], [MQTT-4.3.2-1],
/// [MQTT-4.3.3-1]: the broker's packet identifiers are not 0 and not in use.
#[test]
fn outgoing_packet_identifiers_are_unused() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "collecting");
        client.subscribe("unused", 2);
        let mut publisher = broker.client(version, "publisher");
        let mut in_use = Vec::new();
        for number in 0..20 {
            publisher.publish("unused", &number.to_string(), 1 + number % 2);
            let message = client.expect_message(&number.to_string());
            let id = message.id.expect("a packet identifier");
            assert!(!in_use.contains(&id), "{id} is in use: {in_use:?}");
            if number % 3 == 0 {
                client.acknowledge(&message);
            } else {
                in_use.push(id);
            }
        }
    }
}

/// [MQTT-2.2.1-5], [MQTT-4.3.3-4], [MQTT-3.6.2-1]; 3.1.1 [MQTT-2.3.1-6], [MQTT-4.3.3-1]: PUBREC is answered with a PUBREL
/// of the same packet identifier, again when it comes again.
#[test]
fn pubrec_is_answered_with_pubrel() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "receiving");
        client.subscribe("release", 2);
        broker.client(version, "publisher").publish("release", "x", 2);
        let id = client.expect_message("x").id.expect("a packet identifier");
        for _ in 0..2 {
            client.send(&packet::ack(PUBREC, id));
            assert_eq!(client.expect_ack(PUBREL, id).reason, 0);
        }
        client.send(&packet::ack(PUBCOMP, id));
        client.expect_quiet();
    }
}

/// [MQTT-4.3.2-3], [MQTT-4.4.0-1]: without PUBACK nothing is sent again on the same connection.
#[test]
fn nothing_is_resent_on_the_same_connection() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "silent");
        client.subscribe("patience", 2);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish("patience", "one", 1);
        publisher.publish("patience", "two", 2);
        client.expect_message("one");
        client.expect_message("two");
        let silence = client.read_within(std::time::Duration::from_secs(2));
        assert_eq!(silence, crate::harness::Read::Silence);
    }
}

/// [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1]: reason codes that an acknowledgement does not have.
#[test]
fn unknown_reason_codes_in_acknowledgements_close() {
    let broker = Broker::start();
    for kind in [PUBACK, PUBREC, PUBREL, PUBCOMP] {
        for reason in [0x01, 0x7F, 0x8E, 0xFF] {
            let mut client = broker.client(V5, "reasoning");
            client.send(&packet::ack_with_reason(kind, 1, reason));
            client.expect_broken();
        }
    }
}

/// Section 3.4.2.2.1: an acknowledgement may have a reason and properties, solicited or not.
#[test]
fn acknowledgements_with_properties_are_taken() {
    let broker = Broker::start();
    let mut client = broker.client(V5, "wordy");
    client.subscribe("wordy", 2);
    let mut publisher = broker.client(V5, "publisher");
    let properties = property::encode(&[property::reason_string("because"), property::user("a", "b")]);
    let wordy = |kind, id: u16| {
        let mut body = id.to_be_bytes().to_vec();
        body.push(0);
        body.extend(&properties);
        packet::frame(kind, &body)
    };
    publisher.publish("wordy", "one", 1);
    let id = client.expect_message("one").id.expect("a packet identifier");
    client.send(&wordy(PUBACK, id));
    publisher.publish("wordy", "two", 2);
    let id = client.expect_message("two").id.expect("a packet identifier");
    client.send(&wordy(PUBREC, id));
    client.expect_ack(PUBREL, id);
    client.send(&wordy(PUBCOMP, id));
    client.expect_quiet();
}

/// [MQTT-4.5.0-2] binds clients; the broker lets a session wait for them: both QoS complete out of order.
#[test]
fn acknowledgements_out_of_order_complete() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let lasting = Connect::lasting(version, "backwards");
        let mut client = broker.connect(&lasting);
        client.subscribe("backwards", 1);
        let mut publisher = broker.client(version, "publisher");
        for payload in ["a", "b", "c"] {
            publisher.publish("backwards", payload, 1);
        }
        let messages = ["a", "b", "c"].map(|payload| client.expect_message(payload));
        client.acknowledge(&messages[2]);
        client.acknowledge(&messages[0]);
        client.ping();
        client.vanish();
        let mut client = broker.connect(&lasting);
        client.expect_message("b");
        client.expect_quiet();
        broker.connect(&Connect::new(version, "backwards")).disconnect();
    }
}

/// [MQTT-4.6.0-4]; 3.1.1 [MQTT-4.6.0-4]: PUBRELs come in the order of the PUBRECs.
#[test]
fn pubrels_come_in_the_order_of_the_pubrecs() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "ordered");
        client.subscribe("ordered", 2);
        let mut publisher = broker.client(version, "publisher");
        for payload in ["a", "b", "c", "d"] {
            publisher.publish("ordered", payload, 2);
        }
        let ids =
            ["a", "b", "c", "d"].map(|payload| client.expect_message(payload).id.expect("an identifier"));
        let answered = [ids[2], ids[0], ids[3], ids[1]];
        client.send(&answered.map(|id| packet::ack(PUBREC, id)).concat());
        for id in answered {
            client.expect_ack(PUBREL, id);
        }
    }
}

/// [MQTT-3.6.2-2], [MQTT-3.6.2-3], [MQTT-3.7.2-2], [MQTT-3.7.2-3]: an error in PUBREL or PUBCOMP fits a client that takes
/// small packets only.
#[test]
fn pubrec_for_an_unknown_packet_fits_a_small_client() {
    let broker = Broker::start();
    // Enough for a CONNACK with what the broker announces.
    let connect = Connect::new(V5, "small").property(property::maximum_packet_size(32));
    let mut client = broker.connect(&connect);
    for (asked, answer) in [(PUBREC, PUBREL), (PUBREL, PUBCOMP)] {
        client.send(&packet::ack(asked, 9));
        let ack = client.expect_ack(answer, 9);
        assert_eq!(ack.reason, 0x92);
        assert!(5 + property::encode(&ack.properties).len() <= 32);
    }
}
