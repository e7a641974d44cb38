//! The properties of PUBLISH on their way through the broker (chapter 3.3.2.3).

use std::time::Duration;

use crate::harness::packet::{self, Packet, frame, put_bytes, string};
use crate::harness::property::Value;
use crate::harness::{Broker, Connect, Publish, Read, Settings, V3, V5, property};

/// [MQTT-3.3.2-4], [MQTT-3.3.2-15], [MQTT-3.3.2-16], [MQTT-3.3.2-17], [MQTT-3.3.2-18], [MQTT-3.3.2-20]: what a publisher
/// says about a message reaches subscribers unaltered, user properties in order; nothing is invented.
#[test]
fn properties_are_forwarded_unaltered() {
    let broker = Broker::start();
    let mut subscriber = broker.client(V5, "subscriber");
    subscriber.subscribe("properties", 2);
    let mut publisher = broker.client(V5, "publisher");
    for qos in [0, 1, 2] {
        for retain in [false, true] {
            let mut publish = Publish::new("properties", "{}").will_qos(qos);
            publish.retain = retain;
            publish.properties = vec![
                property::payload_format(1),
                property::content_type("application/json"),
                property::response_topic("answers/here"),
                property::correlation_data(b"\0\x01\xff"),
                property::user("z", "last"),
                property::user("a", ""),
                property::user("z", "first"),
            ];
            let mut sent = publish.properties.clone();
            publisher.publish_whole(publish);
            let message = subscriber.expect_and_acknowledge("{}");
            let users = |list: &[_]| -> Vec<Value> {
                property::all(list, property::USER_PROPERTY).into_iter().cloned().collect()
            };
            assert_eq!(users(&message.properties), users(&sent));
            let mut got = message.properties;
            got.sort_by_key(|(id, _)| *id);
            sent.sort_by_key(|(id, _)| *id);
            assert_eq!(got, sent, "QoS {qos}, retain {retain}");
        }
    }
    let mut late = broker.client(V5, "late");
    late.subscribe("properties", 0);
    assert_eq!(late.expect_message("{}").properties.len(), 7, "the retained copy keeps its properties");
}

/// [MQTT-3.3.2-4]: a payload format of 0 is said too when it was said.
#[test]
fn payload_format_0_is_forwarded() {
    let broker = Broker::start();
    let mut subscriber = broker.client(V5, "subscriber");
    subscriber.subscribe("format", 0);
    let mut publisher = broker.client(V5, "publisher");
    publisher.publish_whole(Publish::new("format", "said").property(property::payload_format(0)));
    publisher.publish("format", "unsaid", 0);
    assert_eq!(subscriber.expect_message("said").properties, [property::payload_format(0)]);
    assert_eq!(subscriber.expect_message("unsaid").properties, []);
}

/// Section 3.3.2.3.2, [MQTT-4.13.1-1]: a payload format other than 0 and 1 is a protocol error.
#[test]
fn unknown_payload_format_closes_with_0x82() {
    let broker = Broker::start();
    for value in [2, 255] {
        let mut client = broker.client(V5, "formatting");
        client.send_publish(&Publish::new("a", "x").property(property::payload_format(value)));
        client.expect_disconnect(0x82);
    }
}

/// A 3.1.1 subscriber gets the payload alone, and a 5.0 one no properties of a 3.1.1 publisher.
#[test]
fn properties_do_not_leak_between_versions() {
    let broker = Broker::start();
    let mut old = broker.client(V3, "old");
    old.subscribe("mixed", 1);
    let mut new = broker.client(V5, "new");
    new.subscribe("mixed", 1);
    let message = Publish::new("mixed", "payload").will_qos(1).property(property::user("a", "b"));
    broker.client(V5, "five").publish_whole(message.property(property::message_expiry_secs(60)));
    assert_eq!(old.expect_and_acknowledge("payload").payload, b"payload");
    assert_eq!(new.expect_and_acknowledge("payload").properties.len(), 2);
    broker.client(V3, "three").publish("mixed", "bare", 1);
    assert_eq!(old.expect_and_acknowledge("bare").payload, b"bare");
    assert_eq!(new.expect_and_acknowledge("bare").properties, []);
}

/// [MQTT-3.3.2-5], [MQTT-4.3.3-13]: what has expired is not delivered, and its publisher's handshake still completes.
#[test]
fn expired_messages_are_not_delivered() {
    let broker = Broker::start();
    let lasting = Connect::lasting(V5, "late");
    let mut client = broker.connect(&lasting);
    client.subscribe("expiry/#", 2);
    client.disconnect();
    let mut publisher = broker.client(V5, "publisher");
    let expiring = |payload, qos, secs| {
        Publish::new("expiry/queued", payload).will_qos(qos).property(property::message_expiry_secs(secs))
    };
    publisher.publish_whole(expiring("short 1", 1, 1));
    publisher.publish_whole(expiring("short 2", 2, 1));
    publisher.publish_whole(expiring("long", 1, 60));
    let half = Publish::new("expiry/queued", "half").qos2(900).property(property::message_expiry_secs(1));
    publisher.send_publish(&half);
    publisher.expect_ack(packet::PUBREC, 900);
    let retained = Publish::new("expiry/retained", "kept").retained();
    publisher.publish_whole(retained.property(property::message_expiry_secs(1)));
    assert_eq!(publisher.read_within(Duration::from_millis(2100)), Read::Silence);
    publisher.send(&packet::ack(packet::PUBREL, 900));
    assert_eq!(publisher.expect_ack(packet::PUBCOMP, 900).reason, 0);
    let mut client = broker.connect(&lasting);
    client.expect_and_acknowledge("long");
    client.expect_quiet();
    let mut newcomer = broker.client(V5, "newcomer");
    newcomer.subscribe("expiry/#", 0);
    newcomer.expect_quiet();
}

/// [MQTT-3.3.2-6]: the expiry counts down while a message waits; without one, none is invented.
#[test]
fn message_expiry_counts_down() {
    let broker = Broker::start();
    let lasting = Connect::lasting(V5, "late");
    let mut client = broker.connect(&lasting);
    client.subscribe("countdown", 1);
    client.disconnect();
    let mut publisher = broker.client(V5, "publisher");
    let timed = Publish::new("countdown", "timed").property(property::message_expiry_secs(100)).retained();
    publisher.publish_whole(timed.will_qos(1));
    publisher.publish("countdown", "timeless", 1);
    assert_eq!(publisher.read_within(Duration::from_millis(2100)), Read::Silence);
    let mut client = broker.connect(&lasting);
    let left = |message: &Publish| match property::find(&message.properties, property::MESSAGE_EXPIRY) {
        Some(Value::Four(left)) => *left,
        other => panic!("expected a message expiry, got {other:?}"),
    };
    assert!((97..=98).contains(&left(&client.expect_and_acknowledge("timed"))));
    let message = client.expect_and_acknowledge("timeless");
    assert_eq!(property::find(&message.properties, property::MESSAGE_EXPIRY), None);
    let mut newcomer = broker.client(V5, "newcomer");
    newcomer.subscribe("countdown", 0);
    assert!((97..=98).contains(&left(&newcomer.expect_message("timed"))), "the retained copy");
}

/// [MQTT-4.3.3-7]: a message whose delivery has begun does not expire.
#[test]
fn message_in_flight_does_not_expire() {
    let broker = Broker::start();
    let lasting = Connect::lasting(V5, "holding");
    let mut client = broker.connect(&lasting);
    client.subscribe("flight", 2);
    let message = Publish::new("flight", "begun").will_qos(2).property(property::message_expiry_secs(1));
    broker.client(V5, "publisher").publish_whole(message);
    let first = client.expect_message("begun");
    assert_eq!(client.read_within(Duration::from_millis(1500)), Read::Silence);
    client.vanish();
    let mut client = broker.connect(&lasting);
    let again = client.expect_message("begun");
    assert_eq!((again.id, again.dup), (first.id, true));
    client.acknowledge(&again);
    client.expect_quiet();
}

/// [MQTT-3.3.2-14], [MQTT-3.3.2-13]: a response topic is a topic name: no wildcards, not empty, UTF-8.
#[test]
fn bad_response_topics_close() {
    let broker = Broker::start();
    for topic in ["a/#", "+/b", "#", ""] {
        let mut client = broker.client(V5, "asking");
        client.send_publish(&Publish::new("a", "x").property(property::response_topic(topic)));
        match client.expect_packet() {
            Packet::Disconnect { reason, .. } => {
                assert!([0x81, 0x82, 0x90].contains(&reason), "{topic:?}: {reason:#04x}");
                client.expect_closed();
            }
            other => panic!("expected DISCONNECT, got {other:?}"),
        }
    }
}

/// [MQTT-3.3.2-13], [MQTT-3.3.2-19], [MQTT-1.5.7-1], [MQTT-1.5.4-1], [MQTT-1.5.4-2]: the strings among the properties
/// are UTF-8 without U+0000.
#[test]
fn ill_formed_strings_in_properties_close() {
    let broker = Broker::start();
    for text in [&b"\xff"[..], b"a\0", b"\xed\xa0\x80"] {
        let mut lists = Vec::new();
        for id in [property::RESPONSE_TOPIC, property::CONTENT_TYPE] {
            let mut list = vec![id];
            put_bytes(&mut list, text);
            lists.push(list);
        }
        for (name, value) in [(text, &b"v"[..]), (b"n", text)] {
            let mut list = vec![property::USER_PROPERTY];
            put_bytes(&mut list, name);
            put_bytes(&mut list, value);
            lists.push(list);
        }
        for list in lists {
            let mut body = string(b"topic");
            body.push(list.len() as u8);
            body.extend(list);
            let mut client = broker.client(V5, "ill");
            client.send(&frame(packet::PUBLISH, &body));
            client.expect_broken();
        }
    }
}

/// Section 3.3.2.3, [MQTT-4.13.1-1]: a property twice is a protocol error, one that PUBLISH does not have is malformed.
#[test]
fn repeated_and_foreign_properties_close() {
    let broker = Broker::start();
    let repeated = [
        property::payload_format(1),
        property::message_expiry_secs(1),
        property::topic_alias(1),
        property::response_topic("r"),
        property::correlation_data(b"c"),
        property::content_type("t"),
    ];
    for each in repeated {
        let mut client = broker.client(V5, "repeating");
        client.send_publish(&Publish::new("a", "x").property(each.clone()).property(each));
        client.expect_disconnect(0x82);
    }
    let foreign = [
        property::session_expiry_secs(1),
        property::reason_string("why"),
        property::will_delay_secs(1),
        (0x7F, Value::Byte(0)),
    ];
    for each in foreign {
        let mut client = broker.client(V5, "foreign");
        client.send_publish(&Publish::new("a", "x").property(each));
        client.expect_broken();
    }
}

/// [MQTT-3.3.2-12], [MQTT-3.3.2-10]: every alias up to the announced maximum is taken, and renamed at will.
#[test]
fn topic_aliases_up_to_the_maximum_are_accepted() {
    let broker = Broker::with(Settings { topic_alias_maximum: Some(10), ..Settings::default() });
    let mut subscriber = broker.client(V5, "subscriber");
    subscriber.subscribe("alias/#", 0);
    let (mut publisher, ack) = broker.connect_with_ack(&Connect::new(V5, "publisher"));
    let maximum = property::find(&ack.properties, property::TOPIC_ALIAS_MAXIMUM);
    assert_eq!(maximum, Some(&Value::Two(10)));
    for round in 0..2 {
        for alias in 1..=10 {
            let topic = format!("alias/{round}/{alias}");
            publisher.send_publish(&Publish::new(&topic, "set").property(property::topic_alias(alias)));
            publisher.send_publish(&Publish::new("", "used").property(property::topic_alias(alias)));
            for payload in ["set", "used"] {
                let message = subscriber.expect_message(payload);
                assert_eq!(message.topic, topic);
                // [MQTT-3.1.2-27]: the alias was the publisher's.
                assert_eq!(message.properties, []);
            }
        }
    }
}

/// [MQTT-3.3.2-8], [MQTT-3.3.2-9]: alias 0, and one above the maximum, is 0x94.
#[test]
fn topic_alias_0_or_above_the_maximum_closes_with_0x94() {
    let broker = Broker::with(Settings { topic_alias_maximum: Some(10), ..Settings::default() });
    for alias in [0, 11, u16::MAX] {
        let mut client = broker.client(V5, "aliasing");
        client.send_publish(&Publish::new("a", "x").property(property::topic_alias(alias)));
        client.expect_disconnect(0x94);
    }
}

/// [MQTT-3.3.2-7], section 3.3.2.1: an alias belongs to its connection; unknown ones, and an empty topic without an
/// alias, are protocol errors.
#[test]
fn topic_alias_ends_with_its_connection() {
    let broker = Broker::with(Settings { topic_alias_maximum: Some(10), ..Settings::default() });
    let lasting = Connect::lasting(V5, "aliasing");
    let mut client = broker.connect(&lasting);
    client.publish_whole(Publish::new("a", "x").property(property::topic_alias(1)).will_qos(1));
    client.vanish();
    let mut client = broker.connect(&lasting);
    client.send_publish(&Publish::new("", "x").property(property::topic_alias(1)));
    client.expect_disconnect(0x82);
    let mut client = broker.client(V5, "empty");
    client.send_publish(&Publish::new("", "x"));
    client.expect_broken();
}

/// [MQTT-3.1.2-26], [MQTT-3.1.2-27], [MQTT-3.3.2-11]: the broker uses no alias towards a client that takes none, and none
/// above what it takes; a topic without its name has an alias that was set before.
#[test]
fn outgoing_topic_aliases_respect_the_client() {
    let broker = Broker::start();
    let mut publisher = broker.client(V5, "publisher");
    for maximum in [None, Some(0), Some(1), Some(2)] {
        let mut connect = Connect::new(V5, "subscriber");
        connect.properties.extend(maximum.map(property::topic_alias_maximum));
        let mut subscriber = broker.connect(&connect);
        subscriber.subscribe("out/#", 0);
        let mut known: [Option<String>; 2] = [None, None];
        for round in 0..3 {
            for topic in ["out/1", "out/2", "out/3"] {
                publisher.publish(topic, &format!("{round}"), 0);
                let message = subscriber.expect_publish();
                let name = match property::find(&message.properties, property::TOPIC_ALIAS) {
                    None => message.topic,
                    Some(Value::Two(alias)) => {
                        assert!(*alias > 0 && *alias <= maximum.unwrap_or(0), "alias {alias} of {maximum:?}");
                        let slot = &mut known[usize::from(*alias) - 1];
                        if !message.topic.is_empty() {
                            *slot = Some(message.topic);
                        }
                        slot.clone().expect("an alias is set before it is used")
                    }
                    other => panic!("a topic alias is two bytes: {other:?}"),
                };
                assert_eq!(name, topic, "maximum {maximum:?}");
            }
        }
        subscriber.disconnect();
    }
}

/// [MQTT-3.1.2-27]: an alias is taken out before a message is retained or queued.
#[test]
fn topic_alias_is_not_kept_with_the_message() {
    let broker = Broker::with(Settings { topic_alias_maximum: Some(10), ..Settings::default() });
    let lasting = Connect::lasting(V5, "away");
    let mut away = broker.connect(&lasting);
    away.subscribe("kept/alias", 1);
    away.disconnect();
    let message = Publish::new("kept/alias", "x").retained().property(property::topic_alias(3));
    broker.client(V5, "publisher").publish_whole(message.will_qos(1));
    let mut client = broker.connect(&lasting);
    let queued = client.expect_and_acknowledge("x");
    assert_eq!((queued.topic.as_str(), queued.properties.len()), ("kept/alias", 0));
    let mut newcomer = broker.client(V5, "newcomer");
    newcomer.subscribe("kept/alias", 0);
    assert_eq!(newcomer.expect_message("x").properties, []);
}

/// Section 3.3.2.3.2: a payload that is not the UTF-8 it says is refused with 0x99, in the acknowledgement where there is
/// one; nobody gets it.
#[test]
fn payload_that_is_not_the_utf_8_it_says_is_refused_with_0x99() {
    let broker = Broker::start();
    let mut subscriber = broker.client(V5, "subscriber");
    subscriber.subscribe("format", 2);
    let mut publisher = broker.client(V5, "publisher");
    let wrong = || Publish::new("format", b"\xff\xfe").property(property::payload_format(1));
    publisher.send_publish(&wrong().qos1(1));
    assert_eq!(publisher.expect_ack(packet::PUBACK, 1).reason, 0x99);
    publisher.send_publish(&wrong().qos2(2));
    assert_eq!(publisher.expect_ack(packet::PUBREC, 2).reason, 0x99);
    // Unspecified bytes may be anything, and true UTF-8 goes through.
    publisher.publish_whole(Publish::new("format", b"\xff").property(property::payload_format(0)).qos1(3));
    publisher.publish_whole(Publish::new("format", "schön").property(property::payload_format(1)).qos1(4));
    assert_eq!(subscriber.expect_publish().payload, b"\xff");
    subscriber.expect_message("schön");
    publisher.send_publish(&wrong());
    publisher.expect_disconnect(0x99);
    subscriber.expect_quiet();
}
