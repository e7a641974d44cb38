//! Queues of plain topics: what waits is bounded by number and by size, and the policy says what happens then.

use super::statistics::{OFTEN, value};
use crate::harness::{Broker, Connect, RawClient, Settings, V3, V5, Version, packet, property};

fn broker(arguments: &'static [&'static str]) -> Broker {
    Broker::with(Settings { config: OFTEN.into(), arguments, ..Settings::default() })
}

/// A text of 1,000 bytes that begins with its number.
fn text(number: usize) -> String {
    format!("{number:0>4} {}", "x".repeat(995))
}

fn publish(broker: &Broker, count: usize) {
    let mut publisher = broker.client(V5, "publisher");
    for number in 0..count {
        publisher.publish("x", &text(number), 1);
    }
}

fn sleeper(broker: &Broker, version: Version) -> RawClient {
    broker.connect(&Connect::lasting(version, "sleeper"))
}

#[test]
fn a_sleeping_session_keeps_the_newest() {
    for (arguments, most) in [
        (&["--limits.queue-messages", "20"][..], 20),
        // About 1,000 bytes of each message are its payload.
        (&["--limits.queue-size", "20KiB"], 20),
    ] {
        let mut broker = broker(arguments);
        let mut client = sleeper(&broker, V5);
        client.subscribe("x", 1);
        client.disconnect();
        publish(&broker, 100);
        // A crash does not bring back what was dropped.
        broker.kill();
        broker.restart();
        let mut observer = broker.client(V3, "observer");
        let queued = value(&mut observer, "$SYS/broker/katydid/queued_now", |queued| queued > 0);
        let mut client = sleeper(&broker, V5);
        let first = client.expect_publish();
        client.acknowledge(&first);
        let first: usize = first.text()[..4].parse().expect("a number");
        let kept = 100 - first;
        assert!((15..=most).contains(&kept), "{arguments:?}: {kept} are kept");
        for number in first + 1..100 {
            client.expect_and_acknowledge(&text(number));
        }
        client.expect_quiet();
        assert_eq!(queued, kept as u64);
    }
}

#[test]
fn a_queue_that_is_longer_than_memory_keeps_the_newest_too() {
    let broker = broker(&["--limits.queue-messages", "2000"]);
    let mut client = sleeper(&broker, V5);
    client.subscribe("x", 1);
    client.disconnect();
    // Twice what waits in memory, and as much again that takes the place of the oldest.
    publish(&broker, 4000);
    let mut observer = broker.client(V3, "observer");
    value(&mut observer, "$SYS/broker/katydid/dropped_queue_full", |dropped| dropped == 2000);
    value(&mut observer, "$SYS/broker/katydid/queued_now", |queued| queued == 2000);
    let mut client = sleeper(&broker, V5);
    for number in 2000..4000 {
        client.expect_and_acknowledge(&text(number));
    }
    client.expect_quiet();
    value(&mut observer, "$SYS/broker/katydid/queued_bytes_now", |bytes| bytes == 0);
}

#[test]
fn a_client_that_acknowledges_nothing_loses_the_oldest_or_its_connection() {
    for (version, policy, arguments) in [
        (V3, "drop-oldest", &["--limits.queue-messages", "20", "--limits.inflight", "5"][..]),
        (V5, "drop-oldest", &["--limits.queue-messages", "20"]),
        (V5, "disconnect", &["--limits.queue-messages", "20", "--limits.queue-policy", "disconnect"]),
        (
            V3,
            "disconnect",
            &[
                "--limits.queue-messages",
                "20",
                "--limits.inflight",
                "5",
                "--limits.queue-policy",
                "disconnect",
            ],
        ),
    ] {
        let broker = broker(arguments);
        let mut connect = Connect::lasting(version, "slow");
        if version == V5 {
            connect = connect.property(property::receive_maximum(5));
        }
        let mut slow = broker.connect(&connect);
        slow.subscribe("x", 1);
        publish(&broker, 100);
        let early: Vec<_> = (0..5).map(|number| slow.expect_message(&text(number))).collect();
        if policy == "disconnect" {
            slow.expect_refused(0x97);
            // Away, it keeps the newest.
            slow = broker.connect(&connect);
            let again: Vec<_> = (0..5).map(|number| slow.expect_message(&text(number))).collect();
            assert!(again.iter().all(|publish| publish.dup), "in flight before");
            again.iter().for_each(|publish| slow.acknowledge(publish));
        } else {
            slow.expect_quiet();
            early.iter().for_each(|publish| slow.acknowledge(publish));
        }
        for number in 80..100 {
            slow.expect_and_acknowledge(&text(number));
        }
        slow.expect_quiet();
        let mut observer = broker.client(V3, "observer");
        value(&mut observer, "$SYS/broker/katydid/dropped_queue_full", |dropped| dropped == 75);
    }
}

#[test]
fn what_waits_in_a_room_is_in_no_queue() {
    let broker = broker(&["--limits.queue-messages", "1", "--limits.queue-size", "1KiB"]);
    let mut client = sleeper(&broker, V5);
    client.subscribe("room/x/msg/+", 1);
    client.disconnect();
    let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
    for number in 0..50 {
        ann.publish("room/x/msg/ann", &text(number), 1);
    }
    let mut client = sleeper(&broker, V5);
    for number in 0..50 {
        client.expect_and_acknowledge(&text(number));
    }
    value(&mut ann, "$SYS/broker/katydid/dropped_queue_full", |dropped| dropped == 0);
}

#[test]
fn more_in_flight_than_was_announced_ends_the_connection() {
    let broker = broker(&["--limits.receive-maximum", "3", "--store.sync-delay", "500ms"]);
    let mut client = broker.connect(&Connect::new(V5, "client").user("ann"));
    let all: Vec<u8> = (1..=5)
        .flat_map(|id| crate::harness::Publish::new("room/x/msg/ann", "said").qos1(id).bytes(V5))
        .collect();
    client.send(&all);
    client.expect_refused(0x93);
    // 3.1.1 has no such limit: it is read more slowly, and everything is acknowledged.
    let mut old = broker.connect(&Connect::new(V3, "old").user("ann"));
    let all: Vec<u8> = (1..=50)
        .flat_map(|id| crate::harness::Publish::new("room/x/msg/ann", "said").qos1(id).bytes(V3))
        .collect();
    old.send(&all);
    for id in 1..=50 {
        old.expect_ack(packet::PUBACK, id);
    }
}
