//! Wills: when they are published, when not, and as what (chapters 3.1.2.5, 3.1.3.2, 3.14.4).

use std::time::{Duration, Instant};

use crate::harness::{Broker, Connect, Publish, RawClient, Read, V3, V5, Version, packet, property};

/// A subscriber to the topic of the wills.
fn witness(broker: &Broker, version: Version) -> RawClient {
    let mut witness = broker.client(version, "witness");
    witness.subscribe("will/#", 2);
    witness
}

fn will() -> Publish {
    Publish::new("will/topic", "farewell")
}

/// [MQTT-3.1.2-7], [MQTT-3.1.2-8]; 3.1.1 [MQTT-3.1.2-8]: a connection that ends without DISCONNECT publishes its will.
#[test]
fn will_is_published_when_the_connection_breaks() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut witness = witness(&broker, version);
        broker.connect(&Connect::new(version, "broken").will(will())).vanish();
        let message = witness.expect_message("farewell");
        assert_eq!((message.topic.as_str(), message.qos, message.retain), ("will/topic", 0, false));
    }
}

/// [MQTT-3.1.2-8]; 3.1.1 [MQTT-3.1.2-8]: a connection that the broker closes for an error publishes its will.
#[test]
fn will_is_published_when_the_broker_closes_for_an_error() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut witness = witness(&broker, version);
        let mut client = broker.connect(&Connect::new(version, "faulty").will(will()));
        client.send(&[0x00, 0x00]);
        client.expect_broken();
        witness.expect_message("farewell");
    }
}

/// [MQTT-3.1.2-8]; 3.1.1 [MQTT-3.1.2-8]: a connection that is taken over publishes its will.
#[test]
fn will_is_published_when_the_session_is_taken_over_by_a_clean_start() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut witness = witness(&broker, version);
        let mut older = broker.connect(&Connect::new(version, "taken").will(will()));
        let _newer = broker.connect(&Connect::new(version, "taken"));
        older.expect_refused(0x8E);
        witness.expect_message("farewell");
    }
}

/// [MQTT-3.1.2-10], [MQTT-3.14.4-3]; 3.1.1 [MQTT-3.1.2-10], [MQTT-3.14.4-3]: DISCONNECT deletes the will.
#[test]
fn disconnect_deletes_the_will() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut witness = witness(&broker, version);
        broker.connect(&Connect::new(version, "orderly").will(will())).disconnect();
        witness.expect_quiet();
    }
}

/// [MQTT-3.14.4-3], section 3.14.2.1: DISCONNECT with 0x04, or with an error, publishes the will; 0x00 deletes it.
#[test]
fn disconnect_with_0x04_publishes_the_will() {
    let broker = Broker::start();
    let mut witness = witness(&broker, V5);
    for (reason, published) in [(0x04, true), (0x00, false), (0x80, true)] {
        let mut client = broker.connect(&Connect::new(V5, "leaving").will(will()));
        client.send(&packet::disconnect_with(reason, &[]));
        client.expect_closed();
        if published {
            witness.expect_message("farewell");
        }
        witness.expect_quiet();
    }
}

/// [MQTT-3.1.2-10]; 3.1.1 [MQTT-3.1.2-10], [MQTT-3.1.2-12]: a will is published once; the next connection of the
/// session without a will has none.
#[test]
fn will_is_published_once() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut witness = witness(&broker, version);
        broker.connect(&Connect::lasting(version, "once").will(will())).vanish();
        witness.expect_message("farewell");
        broker.connect(&Connect::lasting(version, "once")).vanish();
        witness.expect_quiet();
        broker.connect(&Connect::new(version, "once")).disconnect();
    }
}

/// 3.1.1 [MQTT-3.1.2-12]; 5.0 section 3.1.2.5: no will flag, no will.
#[test]
fn no_will_flag_no_will() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut witness = witness(&broker, version);
        broker.connect(&Connect::new(version, "willless")).vanish();
        witness.expect_quiet();
    }
}

/// [MQTT-3.1.2-14], [MQTT-3.1.2-15]; 3.1.1 [MQTT-3.1.2-16], [MQTT-3.1.2-17]: will retain says whether it is retained.
#[test]
fn will_retain_decides_whether_the_will_is_retained() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for retain in [false, true] {
            let mut watching = witness(&broker, version);
            let mut will = will();
            will.retain = retain;
            broker.connect(&Connect::new(version, "keeper").will(will)).vanish();
            assert!(!watching.expect_message("farewell").retain, "to an old subscription");
            let mut late = broker.client(version, "late");
            late.subscribe("will/#", 2);
            if retain {
                assert!(late.expect_message("farewell").retain);
                late.retain("will/topic", "", 0);
                late.expect_message("");
            }
            late.expect_quiet();
        }
    }
}

/// [MQTT-3.1.2-9], [MQTT-3.1.2-12]; 3.1.1 [MQTT-3.1.2-9], [MQTT-3.1.2-14]: the will goes out with its own QoS.
#[test]
fn will_is_published_with_its_qos() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut witness = witness(&broker, version);
        for qos in [0, 1, 2] {
            let will = will().will_qos(qos);
            broker.connect(&Connect::new(version, "graded").will(will)).vanish();
            assert_eq!(witness.expect_and_acknowledge("farewell").qos, qos);
        }
    }
}

/// [MQTT-3.1.3-10], [MQTT-3.3.2-4], [MQTT-3.3.2-17]: the will's properties go out with it, user properties in order.
#[test]
fn will_properties_are_forwarded_in_order() {
    let broker = Broker::start();
    let mut witness = witness(&broker, V5);
    for format in [0, 1] {
        let sent = vec![
            property::payload_format(format),
            property::content_type("text/plain"),
            property::response_topic("will/answer"),
            property::correlation_data(&[0, 255]),
            property::user("b", "1"),
            property::user("a", "2"),
            property::user("b", "3"),
        ];
        let mut will = will();
        will.properties = sent.clone();
        broker.connect(&Connect::new(V5, "rich").will(will)).vanish();
        let message = witness.expect_message("farewell");
        for (id, value) in &sent {
            assert!(
                message.properties.contains(&(*id, value.clone())),
                "{id:#04x} in {:?}",
                message.properties
            );
        }
        let users = property::all(&sent, property::USER_PROPERTY);
        assert_eq!(property::all(&message.properties, property::USER_PROPERTY), users);
        assert_eq!(property::find(&message.properties, property::WILL_DELAY), None);
    }
}

/// Section 3.1.3.2.4, [MQTT-3.3.2-6]: a will's message expiry counts from when it is published.
#[test]
fn will_message_expiry_is_forwarded() {
    let broker = Broker::start();
    let mut witness = witness(&broker, V5);
    let will = will().property(property::message_expiry_secs(100));
    broker.connect(&Connect::new(V5, "ageing").will(will)).vanish();
    let message = witness.expect_message("farewell");
    let expiry = property::find(&message.properties, property::MESSAGE_EXPIRY);
    assert!(matches!(expiry, Some(property::Value::Four(99..=100))), "{expiry:?}");
}

/// [MQTT-4.7.3-1]; 3.1.1 [MQTT-4.7.3-1]; [MQTT-3.3.2-2]: a will topic is a topic name: not empty, without wildcards.
#[test]
fn bad_will_topics_are_refused() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for topic in ["", "#", "a/+/b", "a/#"] {
            let mut client = broker.open(version);
            client.send(&Connect::new(version, "bad-will").will(Publish::new(topic, "x")).bytes());
            match version {
                V3 => client.expect_closed(),
                V5 => match client.expect_packet() {
                    packet::Packet::ConnAck(ack) => {
                        assert!([0x81, 0x82, 0x90].contains(&ack.code), "{topic:?}: {ack:?}");
                        client.expect_closed();
                    }
                    other => panic!("expected CONNACK, got {other:?}"),
                },
            }
        }
    }
}

/// [MQTT-3.1.2-8]: a will with a delay comes when it has passed: not early, and to the second.
#[test]
fn will_delay_is_kept_to_the_second() {
    let broker = Broker::start();
    let mut witness = witness(&broker, V5);
    let will = will().property(property::will_delay_secs(2));
    let client = broker.connect(&Connect::lasting(V5, "delayed").will(will));
    let begin = Instant::now();
    client.vanish();
    witness.expect_message("farewell");
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(1950) && took < Duration::from_millis(3000), "after {took:?}");
}

/// [MQTT-3.1.2-8]: the end of the session sends the will before its delay has passed: expiry 0 at once.
#[test]
fn will_delay_ends_with_the_session() {
    let broker = Broker::start();
    let mut witness = witness(&broker, V5);
    for (expiry, least, most) in [(0, 0, 1000), (1, 950, 2000)] {
        let will = will().property(property::will_delay_secs(60));
        let connect = Connect::new(V5, "short").property(property::session_expiry_secs(expiry)).will(will);
        let client = broker.connect(&connect);
        let begin = Instant::now();
        client.vanish();
        witness.expect_message("farewell");
        let took = begin.elapsed();
        let right = Duration::from_millis(least)..Duration::from_millis(most);
        assert!(right.contains(&took), "expiry {expiry}: after {took:?}");
    }
}

/// [MQTT-3.1.2-8], [MQTT-3.1.2-4]: a clean start within the delay ends the session, and with it the wait.
#[test]
fn clean_start_within_the_will_delay_publishes_at_once() {
    let broker = Broker::start();
    let mut witness = witness(&broker, V5);
    let will = will().property(property::will_delay_secs(60));
    broker.connect(&Connect::lasting(V5, "renewed").will(will)).vanish();
    witness.expect_quiet();
    let _client = broker.client(V5, "renewed");
    witness.expect_message("farewell");
}

/// [MQTT-3.1.3-9]: a session that is resumed within the delay sends no will.
#[test]
fn resuming_within_the_will_delay_cancels_the_will() {
    let broker = Broker::start();
    let mut witness = witness(&broker, V5);
    let will = will().property(property::will_delay_secs(1));
    broker.connect(&Connect::lasting(V5, "back").will(will)).vanish();
    let _client = broker.connect(&Connect::lasting(V5, "back"));
    assert_eq!(witness.read_within(Duration::from_millis(1800)), Read::Silence);
}

/// [MQTT-3.1.3-9]: a take-over that resumes the session cancels a delayed will, and sends one without a delay.
#[test]
fn take_over_with_resumption_cancels_only_a_delayed_will() {
    let broker = Broker::start();
    let mut witness = witness(&broker, V5);
    let delayed = will().property(property::will_delay_secs(1));
    let mut older = broker.connect(&Connect::lasting(V5, "moving").will(delayed));
    let mut middle = broker.connect(&Connect::lasting(V5, "moving").will(will()));
    older.expect_disconnect(0x8E);
    assert_eq!(witness.read_within(Duration::from_millis(1500)), Read::Silence);
    let _newer = broker.connect(&Connect::lasting(V5, "moving"));
    middle.expect_disconnect(0x8E);
    witness.expect_message("farewell");
}

/// [MQTT-3.1.2-8], section 3.1.3.2.2: a delayed will outlives a restart of the broker.
#[test]
fn delayed_will_survives_a_restart() {
    let mut broker = Broker::start();
    let will = will().property(property::will_delay_secs(3));
    broker.connect(&Connect::lasting(V5, "waiting").will(will)).vanish();
    // Another exchange, so that the broker has seen the close.
    broker.client(V5, "other").expect_quiet();
    broker.terminate();
    broker.restart();
    let mut witness = witness(&broker, V5);
    witness.expect_message("farewell");
}

/// [MQTT-3.1.2-8]; 3.1.1 [MQTT-3.1.2-8]: a broker that ends closes connections, whose wills it publishes.
#[test]
fn shutdown_publishes_wills() {
    for version in [V3, V5] {
        let mut broker = Broker::start();
        let mut client = broker.connect(&Connect::new(version, "outlived").will(will().retained()));
        client.ping();
        broker.terminate();
        broker.restart();
        let mut witness = witness(&broker, version);
        assert!(witness.expect_message("farewell").retain);
    }
}

/// [MQTT-3.1.2-8], section 3.1.3.2.2: nor does a crash take a will that waits for its delay.
#[test]
fn delayed_will_survives_a_crash() {
    let mut broker = Broker::start();
    let will = will().property(property::will_delay_secs(2)).property(property::message_expiry_secs(600));
    let mut client = broker.connect(&Connect::lasting(V5, "waiting").will(will));
    client.send(&packet::disconnect_with(4, &[]));
    client.expect_closed();
    // What is acknowledged is on disk, and what came before it too.
    broker.client(V5, "other").retain("other", "stored", 1);
    broker.kill();
    broker.restart();
    let mut witness = witness(&broker, V5);
    let message = witness.expect_message("farewell");
    assert!(property::find(&message.properties, property::MESSAGE_EXPIRY).is_some());
}

/// Section 3.1.3.2.3: a will that is not the UTF-8 it says is refused with 0x99.
#[test]
fn will_that_is_not_the_utf_8_it_says_is_refused_with_0x99() {
    let broker = Broker::start();
    let will = Publish::new("will/topic", b"\xff").property(property::payload_format(1));
    let mut client = broker.open(V5);
    client.send(&Connect::new(V5, "wrong").will(will).bytes());
    client.expect_connack_refusal(0x99);
}
