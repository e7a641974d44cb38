//! CONNECT and CONNACK: what a connection begins with, take-over and keep alive (chapters 3.1, 3.2).

use std::time::{Duration, Instant};

use crate::harness::packet::{self, PINGREQ, Packet, frame, string};
use crate::harness::{Broker, Connect, Publish, Read, Settings, V3, V5, property};

/// [MQTT-3.1.0-1], [MQTT-3.14.0-1]; 3.1.1 [MQTT-3.1.0-1]: anything before CONNECT is closed without a word.
#[test]
fn first_packet_that_is_not_connect_closes() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let packets = [
            frame(PINGREQ, &[]),
            Publish::new("a", "early").bytes(version),
            packet::subscribe(version, 1, &[("a", 0)], &[]),
            frame(packet::DISCONNECT, &[]),
            frame(packet::CONNACK, &[0, 0]),
            frame(0x00, &[]),
        ];
        for bytes in packets {
            let mut client = broker.open(version);
            client.send(&bytes);
            client.expect_closed();
        }
    }
}

/// [MQTT-3.1.0-1]: a first packet of another type is refused at its first byte; its body is not awaited.
#[test]
fn large_packet_before_connect_is_refused_before_its_body() {
    let broker = Broker::start();
    let mut client = broker.open(V5);
    // PUBLISH of 100 MB, of which only the first bytes are ever sent.
    client.send(&[0x30, 0x80, 0xC2, 0xD7, 0x2F, 0, 1, b'a']);
    client.expect_closed();
}

/// [MQTT-3.1.0-2]; 3.1.1 [MQTT-3.1.0-2]: a second CONNECT is a protocol error.
#[test]
fn second_connect_closes() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let connect = Connect::new(version, "twice");
        let mut client = broker.connect(&connect);
        client.send(&connect.bytes());
        client.expect_refused(0x82);
    }
}

/// [MQTT-3.1.2-1]; 3.1.1 [MQTT-3.1.2-1]: another protocol name is not served.
#[test]
fn wrong_protocol_name_closes() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for name in ["mqtt", "MQTX", "MQT", ""] {
            let mut body = Connect::new(version, "name").body();
            body.splice(..6, string(name.as_bytes()));
            let mut client = broker.open(version);
            client.send(&frame(packet::CONNECT, &body));
            client.expect_end();
        }
    }
}

/// [MQTT-3.1.2-2], [MQTT-3.2.2-7]: a protocol version above 5 is answered with 0x84, then closed.
#[test]
fn unknown_newer_protocol_version_is_answered_0x84() {
    let broker = Broker::start();
    let mut body = Connect::new(V5, "level").body();
    body[6] = 6;
    let mut client = broker.open(V5);
    client.send(&frame(packet::CONNECT, &body));
    client.expect_connack_refusal(0x84);
}

/// 3.1.1 [MQTT-3.1.2-2], [MQTT-3.2.2-4], [MQTT-3.2.2-5]: an older protocol level is answered with code 1, then closed.
#[test]
fn unknown_older_protocol_level_is_answered_1() {
    let broker = Broker::start();
    let mut body = Connect::new(V3, "level").body();
    body[6] = 3;
    let mut client = broker.open(V3);
    client.send(&frame(packet::CONNECT, &body));
    let ack = client.expect_connack_refusal(1);
    assert!(!ack.session_present);
}

/// [MQTT-3.1.4-5], [MQTT-3.2.0-1], [MQTT-3.2.0-2], [MQTT-3.2.2-1]; 3.1.1 [MQTT-3.1.4-4], [MQTT-3.2.0-1]: an accepted
/// CONNECT gives one CONNACK with code 0, before anything else.
#[test]
fn accepted_connect_gives_one_connack_first() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.open(version);
        let mut bytes = Connect::new(version, "eager").bytes();
        // Sent without waiting, so that the broker has other things to answer too.
        bytes.extend(packet::subscribe(version, 1, &[("eager", 1)], &[]));
        bytes.extend(Publish::new("eager", "at once").bytes(version));
        client.send(&bytes);
        let ack = client.expect_connack();
        assert_eq!((ack.code, ack.session_present), (0, false));
        assert_eq!(client.expect_suback(1), [1]);
        client.expect_message("at once");
        client.expect_quiet();
    }
}

/// [MQTT-3.1.4-6]; 3.1.1 [MQTT-3.1.4-5]: what follows a refused CONNECT has no effect.
#[test]
fn data_after_a_refused_connect_is_not_processed() {
    let account = Some(("ann", "secret"));
    let broker = Broker::with(Settings { account, ..Settings::default() });
    for version in [V3, V5] {
        let connect = Connect::new(version, "refused");
        let malformed = frame(packet::CONNECT, &connect.body_with_flags(connect.flags() | 1));
        // This one is refused later, when its password has been looked at.
        let wrong = connect.user("ann").password(b"wrong").bytes();
        for mut bytes in [malformed, wrong] {
            bytes.extend(Publish::new("after/refusal", "stored").retained().bytes(version));
            let mut client = broker.open(version);
            client.send(&bytes);
            client.expect_end();
        }
        let mut witness = broker.client(version, "witness");
        witness.subscribe("after/refusal", 0);
        witness.expect_quiet();
    }
}

/// [MQTT-3.1.4-3], [MQTT-3.1.3-2]: the older connection of a client identifier is told 0x8E and closed.
#[test]
fn take_over_disconnects_the_older_v5_connection_with_0x8e() {
    let broker = Broker::start();
    let mut older = broker.client(V5, "same");
    let mut newer = broker.client(V5, "same");
    older.expect_disconnect(0x8E);
    newer.expect_quiet();
}

/// 3.1.1 [MQTT-3.1.4-2], [MQTT-3.1.3-2]: the older connection of a client identifier is closed.
#[test]
fn take_over_closes_the_older_v3_connection() {
    let broker = Broker::start();
    let mut older = broker.client(V3, "same");
    let mut newer = broker.client(V5, "same");
    older.expect_closed();
    let mut newest = broker.client(V3, "same");
    newer.expect_disconnect(0x8E);
    newest.expect_quiet();
}

/// [MQTT-3.1.2-22], [MQTT-3.2.2-22]; 3.1.1 [MQTT-3.1.2-24]: silence ends a connection at one and a half times the keep
/// alive that the client gave, neither earlier nor at a later tick; 5.0 clients learn why, and the will is sent.
#[test]
fn keep_alive_closes_at_one_and_a_half_times_and_sends_the_will() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut witness = broker.client(version, "witness");
        witness.subscribe("late/will", 0);
        let connect =
            Connect::new(version, "silent").keep_alive_secs(1).will(Publish::new("late/will", "gone"));
        let begin = Instant::now();
        let mut client = broker.connect(&connect);
        client.expect_refused(0x8D);
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(1450), "closed after {took:?}");
        assert!(took < Duration::from_millis(2500), "closed after {took:?}");
        witness.expect_message("gone");
    }
}

/// [MQTT-3.1.2-22]; 3.1.1 [MQTT-3.1.2-24]: any packet counts as a sign of life.
#[test]
fn any_packet_keeps_a_connection_alive() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.connect(&Connect::new(version, "lively").keep_alive_secs(1));
        for round in 0..3 {
            assert_eq!(client.read_within(Duration::from_secs(1)), Read::Silence, "round {round}");
            client.publish("sign/of/life", "x", 1);
        }
        client.ping();
    }
}

/// [MQTT-3.1.2-22]: half a packet is no sign of life, however often a byte of it comes.
#[test]
fn bytes_of_an_unfinished_packet_do_not_keep_alive() {
    let broker = Broker::start();
    let begin = Instant::now();
    let mut client = broker.connect(&Connect::new(V5, "dripping").keep_alive_secs(1));
    client.send(&[0x30, 0x40]);
    loop {
        match client.read_within(Duration::from_millis(300)) {
            Read::Silence => assert!(begin.elapsed() < Duration::from_secs(6), "still open"),
            Read::Packet(Packet::Disconnect { reason, .. }) => assert_eq!(reason, 0x8D),
            Read::Closed => break,
            Read::Packet(other) => panic!("expected DISCONNECT, got {other:?}"),
        }
        // The broker may have closed since.
        let _ = client.try_send(b"x");
    }
}

/// [MQTT-3.2.2-21], [MQTT-3.1.2-21]: a server keep alive is announced, and is what the server goes by.
#[test]
fn server_keep_alive_is_announced_and_used() {
    let broker = Broker::with(Settings { keep_alive_maximum_secs: Some(1), ..Settings::default() });
    let (mut client, ack) = broker.connect_with_ack(&Connect::new(V5, "slow").keep_alive_secs(600));
    let announced = property::find(&ack.properties, property::SERVER_KEEP_ALIVE);
    assert_eq!(announced, Some(&property::Value::Two(1)));
    let begin = Instant::now();
    client.expect_disconnect(0x8D);
    assert!(begin.elapsed() < Duration::from_secs(4), "closed after {:?}", begin.elapsed());
    // A keep alive below the maximum stays as it is [MQTT-3.2.2-22].
    let broker = Broker::with(Settings { keep_alive_maximum_secs: Some(60), ..Settings::default() });
    let (_, ack) = broker.connect_with_ack(&Connect::new(V5, "quick").keep_alive_secs(10));
    assert_eq!(property::find(&ack.properties, property::SERVER_KEEP_ALIVE), None);
}

/// [MQTT-3.1.2-28]: response information comes to those who ask only.
#[test]
fn response_information_is_not_sent_unasked() {
    let broker = Broker::start();
    let not_asked = [Vec::new(), vec![(property::REQUEST_RESPONSE_INFORMATION, property::Value::Byte(0))]];
    for properties in not_asked {
        let mut connect = Connect::new(V5, "unasking");
        connect.properties = properties;
        let (_, ack) = broker.connect_with_ack(&connect);
        assert_eq!(property::find(&ack.properties, property::RESPONSE_INFORMATION), None);
    }
}

/// [MQTT-3.2.2-9], [MQTT-3.2.2-12], [MQTT-3.2.2-13]: the broker does all QoS and retains, so that it announces no less.
#[test]
fn connack_announces_no_missing_feature() {
    let broker = Broker::start();
    let will = Publish::new("will", "kept").will_qos(2).retained();
    let (_, ack) = broker.connect_with_ack(&Connect::new(V5, "all").will(will));
    assert_eq!(property::find(&ack.properties, property::MAXIMUM_QOS), None);
    for id in [
        property::RETAIN_AVAILABLE,
        property::WILDCARD_AVAILABLE,
        property::SUBSCRIPTION_IDENTIFIERS_AVAILABLE,
        property::SHARED_AVAILABLE,
    ] {
        let value = property::find(&ack.properties, id);
        assert!(matches!(value, None | Some(property::Value::Byte(1))), "{id:#04x} is {value:?}");
    }
}

/// [MQTT-3.2.2-19], [MQTT-3.2.2-20]: a CONNACK fits the client's Maximum Packet Size, or is not sent at all.
#[test]
fn connack_fits_the_maximum_packet_size() {
    let broker = Broker::start();
    for size in [4, 8, 16, 24, 32, 64] {
        let mut client = broker.open(V5);
        client.send(&Connect::new(V5, "small").property(property::maximum_packet_size(size)).bytes());
        match client.read_within(Duration::from_secs(10)) {
            Read::Packet(Packet::ConnAck(ack)) => {
                let bytes = 2 + 2 + property::encode(&ack.properties).len();
                assert!(bytes as u32 <= size, "a CONNACK of {bytes} bytes to one who takes {size}");
            }
            Read::Closed => {}
            other => panic!("expected CONNACK or the end, got {other:?}"),
        }
    }
}

/// [MQTT-3.1.4-2], [MQTT-3.2.2-6], [MQTT-3.2.2-7]; 3.1.1 [MQTT-3.2.2-4], [MQTT-3.2.2-5]: a wrong password is refused,
/// and the connection closed; the right one is let in.
#[test]
fn wrong_password_is_refused() {
    let account = Some(("ann", "right"));
    let broker = Broker::with(Settings { account, ..Settings::default() });
    for version in [V3, V5] {
        let login = |user: &str| Connect::new(version, "client").user(user);
        broker.connect(&login("ann").password(b"right")).ping();
        let refused = [
            login("ann").password(b"wrong"),
            login("ann").password(b""),
            login("ann"),
            login("nobody").password(b"right"),
        ];
        for connect in refused {
            let mut client = broker.open(version);
            client.send(&connect.bytes());
            let ack = client.expect_connack();
            let codes: &[u8] = if version == V5 { &[0x86, 0x87] } else { &[4, 5] };
            assert!(codes.contains(&ack.code) && !ack.session_present, "{connect:?}: {ack:?}");
            client.expect_closed();
        }
    }
}
