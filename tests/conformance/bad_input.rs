//! Peers that speak no MQTT, stop in the middle, lie about lengths or never read: they end, and nobody else notices.

use std::time::{Duration, Instant};

use crate::harness::packet::{self, frame};
use crate::harness::{Broker, Connect, Publish, Read, Settings, V3, V5};

/// [MQTT-3.1.4-1], section 3.1.4: half a CONNECT for ever, or nothing at all, ends at the connect timeout.
#[test]
fn half_a_connect_for_ever_is_closed() {
    let broker = Broker::with(Settings { connect_timeout_secs: Some(1), ..Settings::default() });
    let connect = Connect::new(V5, "half").bytes();
    for len in [0, 1, 2, 10, connect.len() - 1] {
        let begin = Instant::now();
        let mut client = broker.open(V5);
        client.send(&connect[..len]);
        client.expect_closed();
        let took = begin.elapsed();
        assert!(took > Duration::from_millis(900) && took < Duration::from_secs(4), "{len}: after {took:?}");
    }
    // One who has connected is left alone by it.
    let mut client = broker.client(V5, "whole");
    assert_eq!(client.read_within(Duration::from_millis(1500)), Read::Silence);
    client.ping();
}

/// The connect timeout counts from the start, however slowly bytes drip in.
#[test]
fn dripping_connect_is_closed() {
    let broker = Broker::with(Settings { connect_timeout_secs: Some(1), ..Settings::default() });
    let connect = Connect::new(V5, &"x".repeat(200)).bytes();
    let mut client = broker.open(V5);
    let begin = Instant::now();
    for byte in connect {
        if client.try_send(&[byte]).is_err() {
            break;
        }
        match client.read_within(Duration::from_millis(50)) {
            Read::Silence => assert!(begin.elapsed() < Duration::from_secs(5), "still open"),
            Read::Closed => break,
            Read::Packet(other) => panic!("expected the end, got {other:?}"),
        }
    }
    client.expect_closed();
}

/// What is not MQTT at all is closed without a word.
#[test]
fn other_protocols_are_closed() {
    let broker = Broker::with(Settings { connect_timeout_secs: Some(2), ..Settings::default() });
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\0\0\0\0\0\0\0\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        // CONNECT types whose lengths lie.
        b"\x10\x00",
        b"\x10\x02\x00\x04",
        b"\x10\xff\xff\xff\xff\x7f",
        b"\x10\xff\xff\xff\x7f\x00\x04MQTT\x05",
    ] {
        let mut client = broker.open(V5);
        client.send(bytes);
        client.expect_end();
    }
    broker.client(V5, "well").ping();
}

/// A CONNECT that claims the largest length is refused before its body has come.
#[test]
fn connect_above_the_packet_size_is_refused_at_its_header() {
    let settings = Settings { maximum_packet_size_bytes: Some(10_000), ..Settings::default() };
    let broker = Broker::with(settings);
    let begin = Instant::now();
    let mut client = broker.open(V5);
    client.send(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]);
    client.expect_end();
    assert!(begin.elapsed() < Duration::from_secs(4), "it waited for the body");
}

/// A client that never reads delays nobody: others get every message meanwhile.
#[test]
fn client_that_never_reads_does_not_delay_others() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for qos in [0, 1] {
            let mut deaf = broker.client(version, "deaf");
            deaf.subscribe("flood", qos);
            let mut reader = broker.client(version, "reader");
            reader.subscribe("flood", qos);
            let mut publisher = broker.client(version, "publisher");
            let payload = "x".repeat(100_000);
            // 30 MB are more than any socket's buffers take.
            for number in 0..300 {
                publisher.publish("flood", &payload, qos);
                let message = reader.expect_publish();
                assert_eq!(message.payload.len(), 100_000, "message {number}");
                reader.acknowledge(&message);
            }
            publisher.publish("flood", "last", qos);
            reader.expect_and_acknowledge("last");
        }
    }
}

/// A client that sends and never reads its acknowledgements delays nobody.
#[test]
fn client_that_never_reads_its_acknowledgements_does_not_delay_others() {
    let broker = Broker::start();
    let mut deaf = broker.client(V5, "deaf");
    deaf.stream().set_write_timeout(Some(Duration::from_millis(300))).expect("a socket option");
    let pings = frame(packet::PINGREQ, &[]).repeat(32 * 1024);
    for _ in 0..100 {
        // It fills up, is slowed down or closed.
        if deaf.try_send(&pings).is_err() {
            break;
        }
    }
    let mut other = broker.client(V5, "other");
    other.subscribe("calm", 1);
    other.ping();
    broker.client(V5, "publisher").publish("calm", "x", 1);
    other.expect_and_acknowledge("x");
}

/// A hundred thousand subscriptions of one client: as many as the limit says are granted, the others refused with 0x97 and
/// counted; others go on, and all of it goes away with the client.
#[test]
fn hundred_thousand_subscriptions_are_limited_and_counted() {
    let arguments = &["--sys.interval", "100ms"];
    let broker = Broker::with(Settings { arguments, ..Settings::default() });
    let mut client = broker.client(V5, "greedy");
    let filters: Vec<String> = (0..100_000).map(|number| format!("many/{number}/+")).collect();
    let mut granted = 0;
    for (id, chunk) in (1..).zip(filters.chunks(20_000)) {
        let list: Vec<(&str, u8)> = chunk.iter().map(|filter| (filter.as_str(), 0)).collect();
        client.send(&packet::subscribe(V5, id, &list, &[]));
        let codes = client.expect_suback(id);
        assert_eq!(codes.len(), chunk.len());
        assert!(codes.iter().all(|code| matches!(code, 0 | 0x97)), "granted or over quota");
        granted += codes.iter().filter(|code| **code == 0).count();
    }
    assert_eq!(granted, 10_000, "the limit");
    let mut publisher = broker.client(V5, "publisher");
    publisher.publish("many/0/x", "first", 0);
    client.expect_message("first");
    publisher.publish("many/99999/x", "last", 1);
    client.expect_quiet();
    publisher.subscribe("$SYS/broker/katydid/refused_subscriptions", 0);
    while publisher.expect_publish().text() != "90000" {}
    client.disconnect();
    publisher.ping();
}

/// A topic of 65,535 bytes, in every packet that has one, is refused or ends its sender, and nobody else notices.
#[test]
fn topics_of_65_535_bytes_are_refused() {
    let broker = Broker::start();
    let longest = "x".repeat(65_535);
    let deepest = "/".repeat(65_535);
    let mut witness = broker.client(V5, "witness");
    witness.subscribe("#", 0);
    for topic in [longest.as_str(), deepest.as_str()] {
        let mut client = broker.client(V5, "long");
        client.send_publish(&Publish::new(topic, "x").qos1(1));
        assert_eq!(client.expect_ack(packet::PUBACK, 1).reason, 0x90);
        client.send_publish(&Publish::new(topic, "x").qos2(2));
        assert_eq!(client.expect_ack(packet::PUBREC, 2).reason, 0x90);
        client.send(&packet::subscribe(V5, 3, &[(topic, 1), ("short", 1)], &[]));
        assert_eq!(client.expect_suback(3), [0x8F, 1]);
        assert_eq!(client.unsubscribe(&[topic, "short"])[1], 0);
        client.send_publish(&Publish::new(topic, "x"));
        client.ping();
        let mut client = broker.open(V5);
        client.send(&Connect::new(V5, "will").will(Publish::new(topic, "x")).bytes());
        client.expect_connack_refusal(0x90);
        let mut client = broker.client(V3, "long");
        client.send_publish(&Publish::new(topic, "x").qos1(1));
        client.expect_ack(packet::PUBACK, 1);
        client.send(&packet::subscribe(V3, 2, &[(topic, 1)], &[]));
        assert_eq!(client.expect_suback(2), [0x80]);
    }
    let mut client = broker.open(V5);
    client.send(&Connect::new(V5, &longest).bytes());
    client.expect_connack_refusal(0x85);
    witness.expect_quiet();
}

/// Packets split at any byte, and many packets in one write, are the same to the broker.
#[test]
fn packets_may_be_split_and_joined_anywhere() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut bytes = Connect::new(version, "split").bytes();
        bytes.extend(packet::subscribe(version, 1, &[("split", 0)], &[]));
        bytes.extend(Publish::new("split", "x".repeat(200)).bytes(version));
        bytes.extend(Publish::new("split", "y").bytes(version));
        let mut client = broker.open(version);
        for byte in &bytes {
            client.send(&[*byte]);
        }
        assert_eq!(client.expect_connack().code, 0);
        client.expect_suback(1);
        client.expect_message(&"x".repeat(200));
        client.expect_message("y");
        client.disconnect();
    }
}
