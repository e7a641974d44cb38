//! Topic names, filters and how they match (chapter 4.7).

use std::time::Duration;

use crate::harness::packet::{self, Packet};
use crate::harness::{Broker, Publish, Read, V3, V5};

const LIMIT: Duration = Duration::from_secs(10);

/// [MQTT-4.7.1-1], [MQTT-4.7.1-2]; 3.1.1 [MQTT-4.7.1-2], [MQTT-4.7.1-3]: wildcards take whole levels, `#` the last.
#[test]
fn misplaced_wildcards_are_refused() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for filter in ["a#", "a/#/b", "#/", "a/b#", "+a", "a+/b", "a/+b", "++", "##", "a/#+"] {
            let mut client = broker.client(version, "wild");
            client.send(&packet::subscribe(version, 1, &[(filter, 0)], &[]));
            match (version, client.read_within(LIMIT)) {
                (_, Read::Closed) if version == V3 => {}
                (_, Read::Packet(Packet::SubAck { codes, .. })) => {
                    assert_eq!(codes, [if version == V3 { 0x80 } else { 0x8F }], "{filter}");
                }
                (_, Read::Packet(Packet::Disconnect { reason, .. })) => {
                    assert!([0x81, 0x82, 0x8F].contains(&reason), "{filter}: {reason:#04x}");
                }
                other => panic!("{filter}: expected a refusal, got {other:?}"),
            }
        }
    }
}

/// [MQTT-4.7.3-1]; 3.1.1 [MQTT-4.7.3-1]: filters and topic names are not empty.
#[test]
fn empty_filters_and_names_are_refused() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "empty");
        client.send(&packet::subscribe(version, 1, &[("", 0)], &[]));
        match client.read_within(LIMIT) {
            Read::Closed if version == V3 => {}
            Read::Packet(Packet::SubAck { codes, .. }) => assert!(codes[0] >= 0x80),
            Read::Packet(Packet::Disconnect { .. }) => {}
            other => panic!("expected a refusal, got {other:?}"),
        }
        let mut client = broker.client(version, "empty");
        client.send_publish(&Publish::new("", "x"));
        client.expect_broken();
    }
}

/// Sections 4.7.1 and 4.7.2; 3.1.1 too: which filters match which names.
#[test]
fn filters_match_as_the_standard_says() {
    let broker = Broker::start();
    let table: &[(&str, &[&str], &[&str])] = &[
        ("s/t/#", &["s/t", "s/t/", "s/t/a", "s/t/a/b"], &["s", "s/tx", "x/s/t"]),
        ("#", &["a", "/", "/a", "a/b/c"], &["$a/b"]),
        ("+", &["a"], &["/a", "a/b", "$a"]),
        ("/+", &["/a", "/"], &["a", "/a/b"]),
        ("+/+", &["/a", "a/b", "/"], &["a", "a/b/c", "$a/b"]),
        ("s/+/t", &["s/a/t", "s//t"], &["s/t", "s/a/b/t"]),
        ("s/+", &["s/", "s/a"], &["s", "s/a/b"]),
        ("+/#", &["a", "a/b", "/a"], &["$a/b"]),
        ("s", &["s"], &["S", "s/", "/s"]),
        ("ä/+", &["ä/b"], &["a\u{308}/b"]),
    ];
    for version in [V3, V5] {
        let mut publisher = broker.client(version, "publisher");
        for (filter, matching, others) in table {
            let mut client = broker.client(version, "subscriber");
            client.subscribe(filter, 0);
            for topic in others.iter().chain(*matching) {
                publisher.publish(topic, "x", 0);
            }
            // Topics differ, so that their messages may come in any order.
            let mut got: Vec<String> = matching.iter().map(|_| client.expect_message("x").topic).collect();
            got.sort();
            let mut expected = matching.to_vec();
            expected.sort_unstable();
            assert_eq!(got, expected, "{filter}");
            client.expect_quiet();
        }
    }
}

/// [MQTT-4.7.2-1]; 3.1.1 [MQTT-4.7.2-1]: a leading wildcard does not reach topics that begin with `$`, neither the
/// broker's own nor what a client publishes there; a filter that names the first level does.
#[test]
fn leading_wildcards_do_not_match_dollar_topics() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut wild = broker.client(version, "wild");
        wild.subscribe_with(&[("#", 0), ("+/broker/#", 0), ("+/dollar", 0), ("+/#", 0)], &[]);
        let mut named = broker.client(version, "named");
        named.subscribe("$SYS/broker/version", 0);
        assert_eq!(named.expect_publish().topic, "$SYS/broker/version");
        let mut publisher = broker.client(version, "publisher");
        // Whether it is taken is the broker's choice; that it is answered is not.
        publisher.send_publish(&Publish::new("$test/dollar", "x").qos1(1));
        publisher.expect_ack(packet::PUBACK, 1);
        wild.expect_quiet();
    }
}

/// [MQTT-4.7.3-4], [MQTT-1.5.4-3]; 3.1.1 [MQTT-4.7.3-4], [MQTT-1.4.0-3]: names are compared byte for byte; U+FEFF is a
/// character like others.
#[test]
fn names_are_not_normalised() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "subscriber");
        for filter in ["caf\u{e9}", "\u{feff}bom", "a b", "a//b"] {
            client.subscribe(filter, 0);
        }
        let mut publisher = broker.client(version, "publisher");
        for topic in ["cafe\u{301}", "bom", "ab", "a/b", "CAF\u{c9}"] {
            publisher.publish(topic, "no", 0);
        }
        for topic in ["caf\u{e9}", "\u{feff}bom", "a b", "a//b"] {
            publisher.publish(topic, topic, 0);
            assert_eq!(client.expect_message(topic).topic, topic);
        }
        client.expect_quiet();
    }
}

/// [MQTT-4.7.3-3]; 3.1.1 [MQTT-4.7.3-3]: a topic of 65,535 bytes, the longest there can be, is served or refused in
/// good order, and hurts nobody.
#[test]
fn topic_of_65535_bytes_is_handled() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut other = broker.client(version, "other");
        for long in ["x".repeat(65_535), "/".repeat(65_535), "x/".repeat(32_767)] {
            let mut client = broker.client(version, "long");
            client.send_publish(&Publish::new(&long, "x").qos1(1));
            match client.read_within(LIMIT) {
                Read::Packet(Packet::Ack(ack)) => assert_eq!(ack.id, 1),
                Read::Packet(Packet::Disconnect { .. }) => {}
                Read::Closed if version == V3 => {}
                other => panic!("expected PUBACK or a refusal, got {other:?}"),
            }
            let mut client = broker.client(version, "long");
            client.send(&packet::subscribe(version, 1, &[(&long, 0)], &[]));
            match client.read_within(LIMIT) {
                Read::Packet(Packet::SubAck { codes, .. }) => assert_eq!(codes.len(), 1),
                Read::Packet(Packet::Disconnect { .. }) => {}
                Read::Closed if version == V3 => {}
                other => panic!("expected SUBACK or a refusal, got {other:?}"),
            }
        }
        other.ping();
    }
}
