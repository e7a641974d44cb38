//! SUBSCRIBE and SUBACK: options, identifiers, replacement and overlap (chapters 3.8, 3.9, 3.3.4).

use crate::harness::packet::{self, NO_LOCAL, Packet, RETAIN_NEVER, frame, put_bytes};
use crate::harness::property::Value;
use crate::harness::{Broker, Connect, Publish, Settings, V3, V5, property};

/// [MQTT-3.8.4-1], [MQTT-3.8.4-2], [MQTT-2.2.1-6], [MQTT-3.8.4-5], [MQTT-3.8.4-6], [MQTT-3.8.4-7], [MQTT-3.9.3-1],
/// [MQTT-3.9.3-2]; 3.1.1 [MQTT-3.8.4-1], [MQTT-3.8.4-2], [MQTT-2.3.1-7], [MQTT-3.8.4-4], [MQTT-3.8.4-5],
/// [MQTT-3.9.3-1], [MQTT-3.9.3-2]: one SUBACK of the same identifier, with a code for each filter in order.
#[test]
fn suback_has_a_code_for_each_filter_in_order() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "many");
        for id in [1, 0xABCD, u16::MAX] {
            let filters = [("a/1", 2), ("a/2", 0), ("a/+", 1), ("a/3", 2)];
            client.send(&packet::subscribe(version, id, &filters, &[]));
            assert_eq!(client.expect_suback(id), [2, 0, 1, 2]);
        }
        client.expect_quiet();
    }
}

/// [MQTT-3.8.4-7], [MQTT-3.9.3-2]; 3.1.1 [MQTT-3.8.4-5], [MQTT-3.9.3-2]: a filter that the access list denies fails
/// alone: 0x80, or 0x87 in 5.0.
#[test]
fn denied_filter_fails_alone() {
    let list = "topic readwrite #\ntopic deny closed/#\n";
    let broker = Broker::with(Settings { access_list: Some(list), ..Settings::default() });
    for version in [V3, V5] {
        let mut client = broker.client(version, "denied");
        let codes = client.subscribe_with(&[("open", 1), ("closed/room", 1), ("open/2", 2)], &[]);
        assert_eq!((codes.len(), codes[0], codes[2]), (3, 1, 2));
        assert!(codes[1] == 0x80 || (version == V5 && codes[1] == 0x87), "{codes:02x?}");
        let mut publisher = broker.client(version, "publisher");
        publisher.publish("open", "x", 1);
        client.expect_and_acknowledge("x");
    }
}

/// [MQTT-3.8.4-8]; 3.1.1 [MQTT-3.8.4-6]: a message comes with the lesser of its QoS and the granted one.
#[test]
fn messages_come_at_the_lesser_qos() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for granted in 0..3 {
            let mut client = broker.client(version, "subscriber");
            client.subscribe("grade", granted);
            let mut publisher = broker.client(version, "publisher");
            for published in 0..3 {
                publisher.publish("grade", "x", published);
                assert_eq!(client.expect_and_acknowledge("x").qos, granted.min(published));
            }
        }
    }
}

/// [MQTT-3.8.4-3], [MQTT-3.8.4-4]; 3.1.1 [MQTT-3.8.4-3]: the same filter again replaces the subscription: its QoS, and
/// one copy of each message.
#[test]
fn same_filter_replaces_the_subscription() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "subscriber");
        let mut publisher = broker.client(version, "publisher");
        for qos in [2, 0, 1] {
            client.subscribe("replaced", qos);
            publisher.publish("replaced", "x", 2);
            assert_eq!(client.expect_and_acknowledge("x").qos, qos);
        }
        client.expect_quiet();
        client.unsubscribe(&["replaced"]);
        publisher.publish("replaced", "x", 2);
        client.expect_quiet();
    }
}

/// [MQTT-3.8.4-3]: a replaced subscription has the new options and the new identifier, or none.
#[test]
fn replacing_replaces_options_and_identifier() {
    let broker = Broker::start();
    let mut client = broker.client(V5, "subscriber");
    client.subscribe_with(&[("replaced", NO_LOCAL)], &[property::subscription_identifier(1)]);
    client.send_publish(&Publish::new("replaced", "own"));
    client.expect_quiet();
    client.subscribe_with(&[("replaced", 0)], &[property::subscription_identifier(2)]);
    client.send_publish(&Publish::new("replaced", "own"));
    assert_eq!(client.expect_message("own").properties, [property::subscription_identifier(2)]);
    client.subscribe_with(&[("replaced", 0)], &[]);
    client.send_publish(&Publish::new("replaced", "own"));
    assert_eq!(client.expect_message("own").properties, []);
}

/// [MQTT-3.3.4-2]; 3.1.1 [MQTT-3.3.5-1]: overlapping subscriptions deliver with the highest QoS of them.
#[test]
fn overlapping_subscriptions_deliver_at_the_highest_qos() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "overlapping");
        client.subscribe_with(&[("over/#", 1), ("over/+", 0), ("over/lap", 2), ("+/lap", 1)], &[]);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish("over/lap", "x", 2);
        assert_eq!(client.expect_and_acknowledge("x").qos, 2);
        // One copy is what the broker chooses.
        client.expect_quiet();
    }
}

/// [MQTT-3.3.4-3], [MQTT-3.3.4-4], [MQTT-3.3.4-5]: the message carries the identifiers of all matching subscriptions.
#[test]
fn all_matching_subscription_identifiers_are_sent() {
    let broker = Broker::start();
    let mut client = broker.client(V5, "identified");
    for (filter, id) in [("si/#", 1), ("si/+", 268_435_455), ("si/a", 300), ("si/b", 4)] {
        client.subscribe_with(&[(filter, 1)], &[property::subscription_identifier(id)]);
    }
    client.subscribe_with(&[("+/a", 0)], &[]);
    let mut publisher = broker.client(V5, "publisher");
    publisher.publish("si/a", "x", 1);
    let message = client.expect_and_acknowledge("x");
    let mut ids = property::all(&message.properties, property::SUBSCRIPTION_IDENTIFIER);
    ids.sort_by_key(|value| if let Value::Variable(id) = value { *id } else { 0 });
    assert_eq!(ids, [&Value::Variable(1), &Value::Variable(300), &Value::Variable(268_435_455)]);
    client.expect_quiet();
}

/// [MQTT-3.3.4-3]: identifiers come with retained messages and with what waited for the session too.
#[test]
fn subscription_identifiers_come_with_retained_and_queued_messages() {
    let broker = Broker::start();
    let lasting = Connect::lasting(V5, "identified");
    let mut client = broker.connect(&lasting);
    let mut publisher = broker.client(V5, "publisher");
    publisher.retain("kept/id", "retained", 1);
    client.subscribe_with(&[("kept/id", 1)], &[property::subscription_identifier(7)]);
    let identifiers = |message: &Publish| message.properties.clone();
    let message = client.expect_and_acknowledge("retained");
    assert_eq!(identifiers(&message), [property::subscription_identifier(7)]);
    client.disconnect();
    publisher.publish("kept/id", "queued", 1);
    let mut client = broker.connect(&lasting);
    let message = client.expect_and_acknowledge("queued");
    assert_eq!(identifiers(&message), [property::subscription_identifier(7)]);
}

/// Section 3.8.2.1.2, [MQTT-4.13.1-1]: subscription identifier 0, and two of them, are protocol errors.
#[test]
fn bad_subscription_identifiers_close_with_0x82() {
    let broker = Broker::start();
    let one = property::subscription_identifier(1);
    for properties in [vec![property::subscription_identifier(0)], vec![one.clone(), one]] {
        let mut client = broker.client(V5, "identifying");
        client.send(&packet::subscribe(V5, 1, &[("a", 0)], &properties));
        client.expect_disconnect(0x82);
    }
}

/// [MQTT-3.8.3-3]: no local keeps a client's own messages from it, and nobody else's.
#[test]
fn no_local_keeps_own_messages_away() {
    let broker = Broker::start();
    let mut client = broker.client(V5, "talker");
    client.subscribe_with(&[("local", NO_LOCAL | 1)], &[]);
    client.publish("local", "own", 1);
    broker.client(V5, "other").publish("local", "others", 1);
    client.expect_and_acknowledge("others");
    client.expect_quiet();
    // Another filter without the option takes them all the same.
    client.subscribe_with(&[("#", RETAIN_NEVER)], &[]);
    client.send_publish(&Publish::new("local", "own"));
    client.expect_message("own");
}

/// [MQTT-3.8.3-4]: no local on a shared subscription is a protocol error.
#[test]
fn no_local_on_a_shared_subscription_closes_with_0x82() {
    let broker = Broker::start();
    let mut client = broker.client(V5, "sharing");
    client.send(&packet::subscribe(V5, 1, &[("$share/group/a", NO_LOCAL)], &[]));
    client.expect_disconnect(0x82);
}

/// [MQTT-3.8.3-5]; 3.1.1 [MQTT-3.8.3-4]: reserved option bits and QoS 3 are malformed.
#[test]
fn reserved_subscription_options_close() {
    let broker = Broker::start();
    for options in [0x03, 0x40, 0x80, 0xC1] {
        let mut client = broker.client(V5, "reserved");
        client.send(&packet::subscribe(V5, 1, &[("a", options)], &[]));
        client.expect_broken();
    }
    for options in [0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80] {
        let mut client = broker.client(V3, "reserved");
        client.send(&packet::subscribe(V3, 1, &[("a", options)], &[]));
        client.expect_closed();
    }
}

/// Section 3.8.3.1, [MQTT-4.13.1-1]: retain handling 3 is a protocol error.
#[test]
fn retain_handling_3_closes() {
    let broker = Broker::start();
    let mut client = broker.client(V5, "handling");
    client.send(&packet::subscribe(V5, 1, &[("a", 0x30)], &[]));
    client.expect_broken();
}

/// [MQTT-3.8.3-2]; 3.1.1 [MQTT-3.8.3-3]: a SUBSCRIBE without a filter is against the protocol.
#[test]
fn subscribe_without_a_filter_closes() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "empty");
        client.send(&packet::subscribe(version, 1, &[], &[]));
        client.expect_broken();
    }
}

/// [MQTT-2.2.1-3]; 3.1.1 [MQTT-2.3.1-1]: SUBSCRIBE and UNSUBSCRIBE have packet identifiers other than 0.
#[test]
fn packet_identifier_0_closes() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "zero");
        client.send(&packet::subscribe(version, 0, &[("a", 0)], &[]));
        client.expect_broken();
        let mut client = broker.client(version, "zero");
        client.send(&packet::unsubscribe(version, 0, &["a"]));
        client.expect_broken();
    }
}

/// [MQTT-3.8.3-1], [MQTT-3.10.3-1], [MQTT-1.5.4-1], [MQTT-1.5.4-2], [MQTT-4.7.3-2]; 3.1.1 [MQTT-3.8.3-1],
/// [MQTT-3.10.3-1], [MQTT-4.7.3-2]: filters are UTF-8 without U+0000.
#[test]
fn ill_formed_filters_close() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for filter in [&b"\xff"[..], b"a/\xed\xa0\x80", b"a\0"] {
            for first in [packet::SUBSCRIBE, packet::UNSUBSCRIBE] {
                let mut body = vec![0, 1];
                if version == V5 {
                    body.push(0);
                }
                put_bytes(&mut body, filter);
                if first == packet::SUBSCRIBE {
                    body.push(0);
                }
                let mut client = broker.client(version, "ill");
                client.send(&frame(first, &body));
                client.expect_broken();
            }
        }
    }
}

/// [MQTT-3.8.1-1], [MQTT-3.10.1-1]; 3.1.1 [MQTT-3.8.1-1], [MQTT-3.10.1-1]: the flags of SUBSCRIBE and UNSUBSCRIBE are 2.
#[test]
fn wrong_flags_of_subscribe_and_unsubscribe_close() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for flags in (0..16).filter(|flags| *flags != 2) {
            let mut client = broker.client(version, "flags");
            let mut bytes = packet::subscribe(version, 1, &[("a", 0)], &[]);
            bytes[0] = 0x80 | flags;
            client.send(&bytes);
            client.expect_refused(0x81);
            let mut client = broker.client(version, "flags");
            let mut bytes = packet::unsubscribe(version, 1, &["a"]);
            bytes[0] = 0xA0 | flags;
            client.send(&bytes);
            client.expect_refused(0x81);
        }
    }
}

/// [MQTT-3.1.2-29], [MQTT-3.9.2-1], [MQTT-3.9.2-2], [MQTT-3.4.2-2], [MQTT-3.4.2-3], [MQTT-3.11.2-1], [MQTT-3.11.2-2]:
/// without request problem information, acknowledgements carry no reason string and no user property; and they never
/// make a packet exceed the client's maximum.
#[test]
fn reasons_are_left_out_when_unwanted_or_too_long() {
    let list = "topic readwrite open/#\n";
    let broker = Broker::with(Settings { access_list: Some(list), ..Settings::default() });
    let quiet = Connect::new(V5, "quiet").property(property::request_problem_information(0));
    let small = Connect::new(V5, "small").property(property::maximum_packet_size(32));
    // What is said here is not empty talk: who takes it gets the number of a message and why an event is refused.
    let open = Connect::new(V5, "open");
    for connect in [open, quiet, small] {
        let limited = connect.client_id == "small";
        let name = connect.client_id.clone();
        let mut client = broker.open(V5);
        client.send(&connect.user(&name).bytes());
        assert_eq!(client.expect_connack().code, 0);
        for (channel, reason) in [("msg", 0), ("event", 0x99)] {
            let topic = format!("room/x/{channel}/{name}");
            client.send_publish(&Publish::new(&topic, "no event").qos1(1));
            let ack = client.expect_ack(packet::PUBACK, 1);
            assert_eq!(ack.reason, reason, "{ack:?}");
            match &*name {
                "open" => assert!(!ack.properties.is_empty(), "{ack:?}"),
                "quiet" => assert_eq!(ack.properties, []),
                _ => assert!(6 + property::encode(&ack.properties).len() <= 32, "{ack:?}"),
            }
        }
        if name == "open" {
            continue;
        }
        client.send_publish(&Publish::new("closed", "x").qos1(1));
        client.send_publish(&Publish::new("closed", "x").qos2(2));
        client.send(&packet::subscribe(V5, 3, &[("closed", 0)], &[]));
        client.send(&packet::unsubscribe(V5, 4, &["closed"]));
        for _ in 0..4 {
            let (head, properties) = match client.expect_packet() {
                Packet::Ack(ack) => (5, ack.properties),
                Packet::SubAck { properties, .. } | Packet::UnsubAck { properties, .. } => (5, properties),
                other => panic!("expected an acknowledgement, got {other:?}"),
            };
            if limited {
                assert!(head + property::encode(&properties).len() <= 32, "{properties:?}");
            } else {
                assert_eq!(properties, []);
            }
        }
    }
}
