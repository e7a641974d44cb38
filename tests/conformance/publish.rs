//! PUBLISH: flags, topic names, forwarding and order (chapters 3.3, 4.6).

use crate::harness::packet::{self, PUBACK, PUBREC, frame, string};
use crate::harness::{Broker, Publish, Settings, V3, V5, property};

/// [MQTT-3.3.1-2], [MQTT-4.3.1-1]; 3.1.1 [MQTT-3.3.1-2]: DUP with QoS 0 is against the protocol.
#[test]
fn dup_with_qos_0_closes() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "dup0");
        client.send_publish(&Publish::new("a", "x").dup());
        client.expect_broken();
    }
}

/// [MQTT-3.3.1-4]; 3.1.1 [MQTT-3.3.1-4]: QoS 3 is malformed.
#[test]
fn qos_3_closes() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for first in [0x36, 0x37, 0x3E] {
            let mut client = broker.client(version, "qos3");
            let mut bytes = Publish::new("a", "x").qos2(1).bytes(version);
            bytes[0] = first;
            client.send(&bytes);
            client.expect_refused(0x81);
        }
    }
}

/// [MQTT-3.3.1-3], [MQTT-4.3.2-2], [MQTT-4.3.3-2], [MQTT-4.3.1-1]; 3.1.1 [MQTT-3.3.1-3], [MQTT-4.3.1-1],
/// [MQTT-4.3.2-1], [MQTT-4.3.3-1]: a publisher's DUP goes no further.
#[test]
fn dup_of_the_publisher_is_not_forwarded() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("dup", 2);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish_whole(Publish::new("dup", "one").will_qos(1).dup());
        publisher.publish_whole(Publish::new("dup", "two").will_qos(2).dup());
        for payload in ["one", "two"] {
            assert!(!subscriber.expect_and_acknowledge(payload).dup);
        }
    }
}

/// [MQTT-3.3.2-1], [MQTT-1.5.4-1], [MQTT-1.5.4-2], [MQTT-4.7.3-2]; 3.1.1 [MQTT-3.3.2-1], [MQTT-1.4.0-1],
/// [MQTT-1.4.0-2], [MQTT-4.7.3-2]: a topic name is UTF-8 without U+0000.
#[test]
fn ill_formed_topic_names_close() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for topic in [&b"\xff"[..], b"a\xed\xa0\x80b", b"a\0b", b"\xc0\x80", b"cut\xe2\x82"] {
            let mut body = string(topic);
            if version == V5 {
                body.push(0);
            }
            let mut client = broker.client(version, "ill");
            client.send(&frame(packet::PUBLISH, &body));
            client.expect_broken();
        }
    }
}

/// [MQTT-3.3.2-2], [MQTT-4.7.0-1]; 3.1.1 [MQTT-3.3.2-2], [MQTT-4.7.1-1]: no wildcards in a topic name.
#[test]
fn wildcards_in_topic_names_close() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for topic in ["#", "+", "a/#", "a/+/b", "a+b", "a#"] {
            let mut client = broker.client(version, "wild");
            client.send_publish(&Publish::new(topic, "x"));
            match version {
                V3 => client.expect_closed(),
                V5 => match client.expect_packet() {
                    packet::Packet::Disconnect { reason, .. } => {
                        assert!([0x81, 0x82, 0x90].contains(&reason), "{topic}: {reason:#04x}");
                        client.expect_closed();
                    }
                    other => panic!("expected DISCONNECT, got {other:?}"),
                },
            }
        }
    }
}

/// [MQTT-3.3.2-3]; 3.1.1 [MQTT-3.3.2-3]: what a subscriber gets has a topic that its filter matches, unchanged.
#[test]
fn topic_is_forwarded_unchanged() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("exact/+/#", 0);
        let mut publisher = broker.client(version, "publisher");
        for topic in ["exact/a", "exact//", "exact/ä ö/x/\u{feff}y", "exact/A/$b"] {
            publisher.publish(topic, "x", 0);
            assert_eq!(subscriber.expect_message("x").topic, topic);
        }
    }
}

/// [MQTT-2.2.1-2]; 3.1.1 [MQTT-2.3.1-5]: QoS 0 has no packet identifier, coming or going.
#[test]
fn qos_0_has_no_packet_identifier() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("plain", 2);
        // With an identifier the two bytes would be read as something else.
        broker.client(version, "publisher").publish("plain", "\0\u{1}", 0);
        let message = subscriber.expect_message("\0\u{1}");
        assert_eq!((message.qos, message.id), (0, None));
    }
}

/// [MQTT-3.3.4-1], [MQTT-2.2.1-5]; 3.1.1 [MQTT-3.3.4-1], [MQTT-2.3.1-6]: nothing, PUBACK or PUBREC, by the QoS.
#[test]
fn answer_is_that_of_the_qos() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "asker");
        client.send_publish(&Publish::new("answer", "x"));
        client.ping();
        for id in [1, 0x1234, u16::MAX] {
            client.send_publish(&Publish::new("answer", "x").qos1(id));
            assert!(client.expect_ack(PUBACK, id).reason < 0x80);
            client.send_publish(&Publish::new("answer", "x").qos2(id));
            assert!(client.expect_ack(PUBREC, id).reason < 0x80);
            client.send(&packet::ack(packet::PUBREL, id));
            assert_eq!(client.expect_ack(packet::PUBCOMP, id).reason, 0);
        }
    }
}

/// Sections 3.4.2.1 and 3.5.2.1: 0x10 where nobody subscribed, or 0x00; never an error.
#[test]
fn message_without_subscriber_is_acknowledged() {
    let broker = Broker::start();
    let mut client = broker.client(V5, "lonely");
    client.send_publish(&Publish::new("nobody", "x").qos1(1));
    assert!([0x00, 0x10].contains(&client.expect_ack(PUBACK, 1).reason));
}

/// [MQTT-4.6.0-5], [MQTT-4.6.0-6]; 3.1.1 [MQTT-4.6.0-5], [MQTT-4.6.0-6]: messages of a publisher on a topic keep their
/// order for each QoS.
#[test]
fn order_of_a_publisher_is_kept() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for qos in [0, 1, 2] {
            let mut subscriber = broker.client(version, "subscriber");
            subscriber.subscribe("order", qos);
            let mut publisher = broker.client(version, "publisher");
            for number in 0..50 {
                publisher.publish("order", &number.to_string(), qos);
            }
            for number in 0..50 {
                subscriber.expect_and_acknowledge(&number.to_string());
            }
        }
    }
}

/// 3.1.1 [MQTT-4.6.0-2], [MQTT-4.6.0-3]; [MQTT-4.6.0-2]: acknowledgements come in the order of the messages.
#[test]
fn acknowledgements_come_in_order() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "ordered");
        let mut bytes = Vec::new();
        for id in 1..=15 {
            let topic = format!("spread/{id}");
            let publish = Publish::new(&topic, "x");
            bytes.extend(if id % 3 == 0 { publish.qos2(id) } else { publish.qos1(id) }.bytes(version));
        }
        client.send(&bytes);
        for id in 1..=15 {
            client.expect_ack(if id % 3 == 0 { PUBREC } else { PUBACK }, id);
        }
    }
}

/// [MQTT-3.3.4-6]: a client's PUBLISH has no subscription identifier.
#[test]
fn subscription_identifier_from_a_client_closes() {
    let broker = Broker::start();
    let mut client = broker.client(V5, "identifying");
    client.send_publish(&Publish::new("a", "x").property(property::subscription_identifier(1)));
    client.expect_broken();
}

/// [MQTT-2.2.1-3]; 3.1.1 [MQTT-2.3.1-1]: packet identifier 0 is against the protocol.
#[test]
fn packet_identifier_0_closes() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for publish in [Publish::new("a", "x").qos1(0), Publish::new("a", "x").qos2(0)] {
            let mut client = broker.client(version, "zero");
            client.send_publish(&publish);
            client.expect_broken();
        }
    }
}

/// Sections 3.4.2.1 and 3.5.2.1; 3.1.1 [MQTT-3.3.5-2]: a publish that the access list denies is acknowledged, with
/// 0x87 in 5.0, goes nowhere, and the connection goes on.
#[test]
fn denied_publish_is_acknowledged_and_dropped() {
    let list = "topic read #\ntopic readwrite open/#\n";
    let broker = Broker::with(Settings { access_list: Some(list), ..Settings::default() });
    for version in [V3, V5] {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("#", 2);
        let mut client = broker.client(version, "denied");
        let reason = if version == V5 { 0x87 } else { 0 };
        client.send_publish(&Publish::new("closed/0", "secret"));
        client.send_publish(&Publish::new("closed/1", "secret").qos1(1));
        assert_eq!(client.expect_ack(PUBACK, 1).reason, reason);
        client.send_publish(&Publish::new("closed/2", "secret").qos2(2));
        assert_eq!(client.expect_ack(PUBREC, 2).reason, reason);
        if version == V3 {
            client.send(&packet::ack(packet::PUBREL, 2));
            client.expect_ack(packet::PUBCOMP, 2);
        }
        client.publish("open/1", "public", 1);
        subscriber.expect_message("public");
    }
}

/// [MQTT-4.3.3-9]: after a PUBREC of 0x80 and above, the packet identifier is free for a new message.
#[test]
fn packet_identifier_is_free_after_a_refusing_pubrec() {
    let list = "topic read #\ntopic readwrite open/#\n";
    let broker = Broker::with(Settings { access_list: Some(list), ..Settings::default() });
    let mut subscriber = broker.client(V5, "subscriber");
    subscriber.subscribe("open/#", 2);
    let mut client = broker.client(V5, "publisher");
    client.send_publish(&Publish::new("closed", "x").qos2(5));
    assert_eq!(client.expect_ack(PUBREC, 5).reason, 0x87);
    client.send_publish(&Publish::new("open/now", "new").qos2(5));
    assert!(client.expect_ack(PUBREC, 5).reason < 0x80);
    client.send(&packet::ack(packet::PUBREL, 5));
    client.expect_ack(packet::PUBCOMP, 5);
    subscriber.expect_message("new");
}
