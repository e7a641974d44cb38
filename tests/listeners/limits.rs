//! Limits of connections, rates, subscriptions, topics and retained messages: each is reached, answered as it should
//! be, counted, and nobody else notices.

use std::time::{Duration, Instant};

use super::local::{UNIX, on_unix};
use super::statistics::{OFTEN, value};
use crate::harness::{Broker, Connect, Publish, RawClient, Read, Settings, V3, V5, packet};

const DOOR: &str = "\
[[listener]]
name = \"door\"
bind = \"127.0.0.1:0\"
";

/// A broker with a door to try and a Unix socket to look at the counters.
fn broker(arguments: &'static [&'static str], door: &str) -> Broker {
    let config = format!("{OFTEN}{UNIX}{DOOR}{door}");
    Broker::with(Settings { config, arguments, ..Settings::default() })
}

/// Waits until one of our own counters has this value.
fn count(observer: &mut RawClient, name: &str, expected: u64) {
    value(observer, &format!("$SYS/broker/katydid/{name}"), |value| value == expected);
}

/// The reason code of the acknowledgement of a message of QoS 1.
fn reason(client: &mut RawClient, publish: Publish) -> u8 {
    let id = client.fresh_id();
    client.send_publish(&Publish { qos: 1, id: Some(id), ..publish });
    client.expect_ack(packet::PUBACK, id).reason
}

#[test]
fn connections_of_an_address_and_of_a_listener_and_in_all() {
    for (arguments, door, open) in [
        (&["--limits.connections-per-address", "3"][..], "", 3),
        (&[], "max-connections = 2\n", 2),
        (&["--limits.connections", "4"], "", 3),
    ] {
        let broker = broker(arguments, door);
        let mut observer = on_unix(&broker, V5, "observer");
        let mut clients: Vec<_> =
            (0..open).map(|index| broker.client(V5, &format!("client {index}"))).collect();
        for _ in 0..3 {
            broker.open(V5).expect_closed();
        }
        count(&mut observer, "connections_refused", 3);
        assert!(broker.log().contains("connections refused"), "{arguments:?}");
        clients.iter_mut().for_each(RawClient::ping);
        clients.pop().expect("a client").disconnect();
        count(&mut observer, "connections_now", open);
        broker.client(V5, "next").ping();
    }
}

#[test]
fn connections_over_the_rate_wait() {
    let broker = broker(&["--limits.connect-rate", "5"], "");
    let begun = Instant::now();
    // The first five may still fall into a second that began before, the next five have one of their own.
    let mut clients: Vec<_> = (0..12).map(|index| broker.client(V5, &format!("client {index}"))).collect();
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(1), "12 connections in {took:?}");
    clients.iter_mut().for_each(RawClient::ping);
    let mut observer = on_unix(&broker, V5, "observer");
    value(&mut observer, "$SYS/broker/katydid/connections_delayed", |value| value > 0);
    count(&mut observer, "connections_refused", 0);
}

#[test]
fn a_client_over_its_publish_rate_is_not_read_for_a_while() {
    let broker = broker(&["--limits.publish-rate", "10"], "");
    let mut observer = on_unix(&broker, V5, "observer");
    observer.subscribe("calm", 0);
    for version in [V3, V5] {
        let mut listener = broker.client(version, "listener");
        listener.subscribe("x", 0);
        let mut fast = broker.client(version, "fast");
        let begun = Instant::now();
        let all: Vec<u8> =
            (1..=25).flat_map(|id| Publish::new("x", id.to_string()).qos1(id).bytes(version)).collect();
        fast.send(&all);
        // Others go on meanwhile.
        let mut other = broker.client(version, "other");
        other.publish("calm", "said", 1);
        observer.expect_message("said");
        assert!(begun.elapsed() < Duration::from_secs(2), "others waited");
        for id in 1..=25 {
            listener.expect_message(&id.to_string());
            fast.expect_ack(packet::PUBACK, id);
        }
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(1900), "25 messages in {took:?}");
        fast.ping();
    }
    count(&mut observer, "paused_rate", 4);
}

#[test]
fn subscriptions_of_a_session() {
    let broker = broker(&["--limits.subscriptions", "3"], "");
    let mut observer = on_unix(&broker, V5, "observer");
    for (version, refused) in [(V3, 0x80), (V5, 0x97)] {
        let mut client = broker.client(version, "client");
        let filters = [("a", 1), ("room/x/msg/+", 1), ("c/#", 2), ("d", 1), ("room/y/#", 0)];
        assert_eq!(client.subscribe_with(&filters, &[]), [1, 1, 2, refused, refused]);
        // One that is there already is replaced.
        client.subscribe("a", 2);
        client.unsubscribe(&["c/#"]);
        client.subscribe("d", 1);
        client.disconnect();
    }
    count(&mut observer, "refused_subscriptions", 4);
}

#[test]
fn length_and_levels_of_topics() {
    let broker = broker(&["--limits.topic-length", "40", "--limits.topic-levels", "4"], "");
    let mut observer = on_unix(&broker, V5, "observer");
    let (long, deep) = ("x".repeat(41), "a/b/c/d/e");
    let mut client = broker.client(V5, "client");
    for topic in [&long, deep] {
        assert_eq!(reason(&mut client, Publish::new(topic, "said")), 0x90);
        assert_eq!(client.subscribe_with(&[(topic, 0)], &[]), [0x8F]);
        let mut greedy = broker.open(V5);
        greedy.send(&Connect::new(V5, "greedy").will(Publish::new(topic, "gone")).bytes());
        greedy.expect_connack_refusal(0x90);
    }
    count(&mut observer, "refused_topics", 6);
    client.subscribe(&"x".repeat(40), 0);
    client.subscribe("a/b/c/d", 0);
    client.publish("a/b/c/d", "said", 1);
    client.expect_message("said");
}

#[test]
fn sessions_and_retained_messages() {
    let broker =
        broker(&["--threads.shards", "1", "--limits.sessions", "3", "--limits.retained-size", "64KiB"], "");
    let mut observer = on_unix(&broker, V5, "observer");
    broker.connect(&Connect::lasting(V5, "sleeper")).disconnect();
    let mut client = broker.client(V5, "client");
    for (version, code) in [(V3, 3), (V5, 0x97)] {
        let mut refused = broker.open(version);
        refused.send(&Connect::new(version, "one too many").bytes());
        refused.expect_connack_refusal(code);
    }
    count(&mut observer, "refused_sessions", 2);
    client.subscribe("large", 1);
    client.retain("large", &"x".repeat(100_000), 1);
    let live = client.expect_publish();
    assert_eq!(live.payload.len(), 100_000, "it is forwarded");
    client.acknowledge(&live);
    client.unsubscribe(&["large"]);
    client.subscribe("large", 1);
    client.expect_quiet();
    count(&mut observer, "refused_retained", 1);
}

#[test]
fn retained_messages_by_their_number() {
    let broker = Broker::with(Settings {
        config: "[sys]\ninterval = \"never\"\n".into(),
        arguments: &["--threads.shards", "1", "--limits.retained-messages", "2"],
        ..Settings::default()
    });
    let mut client = broker.client(V5, "client");
    for topic in ["kept/1", "kept/2", "kept/3"] {
        client.retain(topic, topic, 1);
    }
    // One that is there is replaced, and one that goes makes room.
    client.retain("kept/1", "new", 1);
    client.retain("kept/2", "", 1);
    client.retain("kept/4", "kept/4", 1);
    client.subscribe("kept/+", 1);
    let mut found = [client.expect_publish(), client.expect_publish()].map(|publish| publish.text());
    found.sort_unstable();
    assert_eq!(found, ["kept/4", "new"]);
}

#[test]
fn a_connection_that_says_nothing_is_counted_and_told_once() {
    let broker = broker(&["--limits.connect-timeout", "300ms"], "");
    let mut observer = on_unix(&broker, V5, "observer");
    let mut silent = broker.open(V5);
    let mut half = broker.open(V5);
    half.send(&Connect::new(V5, "half").bytes()[..10]);
    silent.expect_closed();
    half.expect_closed();
    count(&mut observer, "keep_alive_timeouts", 2);
    assert_eq!(broker.await_log("no CONNECT in time", 2).len(), 2);
}

#[test]
fn those_whose_password_is_verified_delay_nobody_else() {
    let config = format!("{OFTEN}{DOOR}");
    let broker = Broker::with(Settings {
        config,
        account: Some(("ann", "secret")),
        arguments: &["--threads.verify", "1"],
        ..Settings::default()
    });
    let mut connect = Connect::new(V5, "ann").user("ann");
    connect.password = Some(b"wrong".to_vec());
    // More than are verified while they come.
    let mut clients: Vec<RawClient> = (0..40)
        .map(|index| {
            let mut client = broker.open(V5);
            client.send(&Connect { client_id: format!("client {index}"), ..connect.clone() }.bytes());
            client
        })
        .collect();
    // Who needs no password is let in at once.
    broker.client(V5, "other").ping();
    let last = clients.last_mut().expect("a client");
    assert_eq!(last.read_within(Duration::ZERO), Read::Silence, "it still waits");
    let mut codes: Vec<u8> = Vec::new();
    for client in &mut clients {
        match client.read_within(Duration::from_secs(60)) {
            Read::Packet(packet::Packet::ConnAck(ack)) => codes.push(ack.code),
            other => panic!("expected CONNACK, got {other:?}"),
        }
    }
    // They came all at once, and yet no more than the limit of failures a name learn that they were wrong.
    let wrong = codes.iter().filter(|code| **code == 0x86).count();
    assert!((10..20).contains(&wrong), "{wrong}");
    assert!(codes.iter().all(|code| matches!(code, 0x86 | 0x9F)), "{codes:?}");
}
