//! Peers that break the rules: each costs one line at `warn`, with nothing of what it sent, and a counter; others go on.

use std::time::Duration;

use super::local::{UNIX, on_unix};
use super::statistics::{OFTEN, value};
use crate::harness::packet::Packet;
use crate::harness::{Broker, Connect, Publish, Read, Settings, V3, V5, Version, packet};

const DOOR: &str = "\
[[listener]]
name = \"door\"
bind = \"127.0.0.1:0\"
";

/// What must never be in a log: it stands in payloads, topics, names and passwords.
const SECRET: &str = "x5ecret";

fn send(broker: &Broker, version: Version, bytes: &[u8]) {
    let mut client = broker.open(version);
    // It may be closed before all is sent.
    let _ = client.try_send(bytes);
    client.expect_end();
}

fn connect(version: Version) -> Vec<u8> {
    let user = format!("user-{SECRET}");
    Connect::new(version, &format!("id-{SECRET}")).user(&user).password(SECRET.as_bytes()).bytes()
}

/// Bytes behind a good CONNECT, and the counter that grows.
fn broken(version: Version) -> Vec<(&'static str, Vec<u8>)> {
    let publish = Publish::new(SECRET, SECRET);
    let mut topic = publish.bytes(version);
    // The topic is not UTF-8.
    topic[4] = 0xFF;
    let mut long = publish.bytes(version);
    // A topic that is longer than its packet.
    long[2] = 0xFF;
    let mut cut = packet::frame(packet::SUBSCRIBE, &[0]);
    cut.extend(SECRET.as_bytes());
    let mut many = vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F];
    many.extend(SECRET.as_bytes());
    vec![
        ("malformed_packets", topic),
        ("malformed_packets", long),
        ("malformed_packets", cut),
        ("malformed_packets", many),
        ("protocol_errors", connect(version)),
        ("protocol_errors", packet::frame(packet::PINGRESP, &[])),
        ("malformed_packets", vec![packet::PINGREQ | 1, 0]),
    ]
}

#[test]
fn one_line_each_with_nothing_of_what_was_sent() {
    let config = format!("{OFTEN}{UNIX}{DOOR}");
    // Who gives a password has to be somebody.
    let account = Some(("user-x5ecret", SECRET));
    let broker = Broker::with(Settings { config, account, ..Settings::default() });
    let mut observer = on_unix(&broker, V5, "observer");
    let (mut malformed, mut protocol, mut lines) = (0, 0, 0);
    for version in [V3, V5] {
        for (counter, bytes) in broken(version) {
            // Several mistakes of one connection are one line.
            send(&broker, version, &[connect(version), bytes.repeat(3)].concat());
            observer.ping();
            lines += 1;
            malformed += u64::from(counter == "malformed_packets");
            protocol += u64::from(counter == "protocol_errors");
        }
    }
    // What comes instead of CONNECT.
    for bytes in [&b"GET /x5ecret HTTP/1.1\r\n\r\n"[..], &Publish::new(SECRET, SECRET).bytes(V5)] {
        send(&broker, V5, bytes);
        lines += 1;
    }
    let told = broker.await_log("WARN", lines);
    assert_eq!(told.len(), lines, "{told:#?}");
    for line in &told {
        assert!(line.contains("door") && line.contains("127.0.0.1"), "{line}");
    }
    value(&mut observer, "$SYS/broker/katydid/connections_now", |open| open == 1);
    value(&mut observer, "$SYS/broker/katydid/malformed_packets", |count| count == malformed);
    value(&mut observer, "$SYS/broker/katydid/protocol_errors", |count| count == protocol + 2);
    assert!(!broker.log().contains(SECRET), "{}", broker.log());
}

#[test]
fn no_payload_and_no_password_is_logged_at_any_level() {
    let config = format!("{OFTEN}{DOOR}");
    let settings = Settings {
        config,
        arguments: &["-vv"],
        account: Some(("ann", "x5ecret-word")),
        ..Settings::default()
    };
    let broker = Broker::with(settings);
    let mut ann = Connect::new(V5, "ann").user("ann").will(Publish::new("will", SECRET));
    ann.password = Some(b"x5ecret-word".to_vec());
    let mut client = broker.connect(&ann);
    client.subscribe("#", 2);
    for qos in 0..=2 {
        client.publish("plain", SECRET, qos);
        client.expect_and_acknowledge(SECRET);
        client.publish("room/x/msg/ann", SECRET, qos);
    }
    ann.password = Some(b"x5ecret-wrong".to_vec());
    let mut wrong = broker.open(V5);
    wrong.send(&ann.bytes());
    wrong.expect_connack_refusal(0x86);
    send(&broker, V5, &[connect(V5), vec![0xFF; 10]].concat());
    client.vanish();
    let log = broker.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "{log}");
    assert!(!log.contains(SECRET), "{log}");
}

#[test]
fn a_filter_that_is_none_is_refused_or_ends_the_connection() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "client");
        let codes = client.subscribe_with(&[("a/#/b", 0), ("good", 1), ("a+", 0)], &[]);
        let refused = if version == V5 { 0x8F } else { 0x80 };
        assert_eq!(codes, [refused, 1, refused]);
        client.ping();
    }
}

#[test]
fn packets_are_logged_where_that_is_asked_for() {
    let config = format!("{OFTEN}{UNIX}{DOOR}");
    for (arguments, times) in [(&["-v"][..], 1), (&[], 0)] {
        let broker = Broker::with(Settings { config: config.clone(), arguments, ..Settings::default() });
        let mut client = broker.client(V5, "client");
        client.subscribe("plain", 0);
        client.send_publish(&Publish::new("plain", SECRET).will_qos(2).retained().qos2(513));
        client.expect_message(SECRET);
        client.expect_ack(packet::PUBREC, 513);
        client.disconnect();
        broker.await_log("connection closed", times);
        let log = broker.log();
        for (direction, packet) in [
            ("received", "\"CONNECT\""),
            ("sent", "\"CONNACK\""),
            ("received", "\"PUBLISH\" id=513 qos=2 dup=false retain=true"),
            ("sent", "\"PUBLISH\" qos=0 dup=false retain=false"),
            ("sent", "\"PUBREC\" id=513"),
            ("received", "\"DISCONNECT\""),
        ] {
            let is_it = |line: &&str| line.contains(&format!(": {direction} ")) && line.contains(packet);
            assert_eq!(log.lines().filter(is_it).count(), times, "{direction} {packet}:\n{log}");
        }
        assert!(!log.contains(SECRET), "{log}");
    }
}

/// A part of a packet is no sign of life, however slowly it goes on.
#[test]
fn half_a_packet_for_ever_is_closed_counted_and_told_once() {
    let config = format!("{OFTEN}{UNIX}{DOOR}");
    let broker = Broker::with(Settings { config, ..Settings::default() });
    let mut observer = on_unix(&broker, V5, "observer");
    for version in [V3, V5] {
        let mut client = broker.connect(&Connect::new(version, "half").keep_alive_secs(1));
        client.send(&[packet::PUBLISH, 100, 0, 3]);
        let answer = loop {
            // It may be closed at any moment.
            let _ = client.try_send(b"x");
            match client.read_within(Duration::from_millis(100)) {
                Read::Silence => {}
                answer => break answer,
            }
        };
        match (version, answer) {
            (V3, Read::Closed) => {}
            (V5, Read::Packet(Packet::Disconnect { reason: 0x8D, .. })) => client.expect_closed(),
            (_, answer) => panic!("{answer:?}"),
        }
    }
    value(&mut observer, "$SYS/broker/katydid/keep_alive_timeouts", |count| count == 2);
    let told = broker.await_log("WARN", 2);
    assert!(told.len() == 2 && told.iter().all(|line| line.contains("the rest of a packet")), "{told:#?}");
    observer.ping();
}
