//! Groups: with a disk that takes its time, many publishers share each sync, so that 200 with one message each in
//! flight are acknowledged more than 100 times as often as one.
//!
//! These tests count and measure no time. The rates: start `katydid --store.sync-delay 5ms`, then compare
//! `katydid-bench acked --room bench --window 1 -P 1` with the same and `-P 200`. On two cores shared by broker and load
//! it was 188 and 26,000 acknowledgements a second, 140 times as many.

use crate::harness::packet::PUBACK;
use crate::harness::{Broker, Connect, Publish, RawClient, Settings, V5};

/// Longer than a busy machine needs to read and answer 200 acknowledgements.
const ARGUMENTS: &[&str] = &["--store.sync-delay", "50ms", "--sys.interval", "100ms"];
/// Messages that each publisher sends, one after the acknowledgement of the other.
const ROUNDS: usize = 20;

/// A statistic about the store, as it was published last.
fn statistic(broker: &Broker, name: &str) -> u64 {
    let mut reader = broker.client(V5, "statistic");
    reader.subscribe(&format!("$SYS/broker/katydid/store/{name}"), 0);
    reader.expect_publish().text().parse().expect("a number")
}

/// Messages and commits of the store so far, once it has had so many messages.
fn settled(broker: &Broker, messages: u64) -> (u64, u64) {
    let mut watcher = broker.client(V5, "watcher");
    watcher.subscribe("$SYS/broker/katydid/store/messages", 0);
    while watcher.expect_publish().text().parse::<u64>().expect("a number") < messages {}
    // When the clock of the statistics has gone on, all of them are from after that.
    let mut clock = broker.client(V5, "clock");
    clock.subscribe("$SYS/broker/uptime", 0);
    for _ in 0..3 {
        clock.expect_publish();
    }
    (statistic(broker, "messages"), statistic(broker, "commits"))
}

/// Messages and commits of so many publishers with one room message of QoS 1 each in flight.
fn publish(publishers: usize) -> (u64, u64) {
    let broker = Broker::with(Settings { arguments: ARGUMENTS, ..Settings::default() });
    let mut clients: Vec<RawClient> = (0..publishers)
        .map(|index| {
            broker.connect(&Connect::new(V5, &format!("client{index}")).user(&format!("user{index}")))
        })
        .collect();
    // The room is made first.
    clients[0].publish("room/x/msg/user0", "first", 1);
    let (messages, commits) = settled(&broker, 1);
    let message = |index: usize| Publish::new(&format!("room/x/msg/user{index}"), "said").qos1(9);
    for (index, client) in clients.iter_mut().enumerate() {
        client.send_publish(&message(index));
    }
    for round in 1..=ROUNDS {
        for (index, client) in clients.iter_mut().enumerate() {
            client.expect_ack(PUBACK, 9);
            if round < ROUNDS {
                client.send_publish(&message(index));
            }
        }
    }
    let all = (publishers * ROUNDS) as u64;
    let (messages_now, commits_now) = settled(&broker, messages + all);
    assert_eq!(messages_now - messages, all);
    (all, commits_now - commits)
}

#[test]
fn two_hundred_publishers_share_each_sync() {
    let (messages, commits) = publish(200);
    println!("{messages} messages in {commits} commits");
    assert!(messages >= 100 * commits, "{messages} messages took {commits} commits");
}

#[test]
fn one_publisher_has_a_sync_for_each_message() {
    let (messages, commits) = publish(1);
    assert!(commits >= messages, "{messages} messages were acknowledged after {commits} commits");
}
