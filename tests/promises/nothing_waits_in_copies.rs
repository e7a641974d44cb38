//! Nothing waits in copies: what waits for a sleeping member is a position in the room's log. It gets all that it missed,
//! in order, after a restart and a crash too, and it costs the store nothing while it sleeps.

use std::time::{Duration, Instant};

use super::talk::{New, Old, number, take, texts};
use crate::harness::{Broker, Connect, RawClient, Settings, V3, V5, Version};

fn say(broker: &Broker, range: std::ops::Range<usize>) {
    let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
    for index in range {
        ann.publish("room/x/msg/ann", &index.to_string(), (index % 3) as u8);
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|index| index.to_string()).collect()
}

/// Somebody who entered the room with that QoS and went to sleep.
fn sleeper(broker: &Broker, version: Version, name: &str, qos: u8) {
    let mut sleeper = broker.connect(&Connect::lasting(version, name));
    sleeper.subscribe("room/x/msg/+", qos);
    sleeper.disconnect();
}

fn wake(broker: &Broker, version: Version, name: &str) -> RawClient {
    let (client, ack) = broker.connect_with_ack(&Connect::lasting(version, name));
    assert!(ack.session_present);
    client
}

/// The value of a statistic, once it is `is_it`.
fn statistic(broker: &Broker, name: &str, is_it: impl Fn(u64) -> bool) -> u64 {
    let mut watcher = broker.client(V5, "watcher");
    watcher.subscribe(&format!("$SYS/broker/katydid/{name}"), 0);
    loop {
        let value = watcher.expect_publish().text().parse().expect("a number");
        if is_it(value) {
            return value;
        }
    }
}

#[test]
fn a_sleeping_session_gets_all_that_it_missed() {
    for version in [V3, V5] {
        for qos in 0..=2 {
            let mut broker =
                Broker::with(Settings { arguments: &["--threads.shards", "3"], ..Settings::default() });
            sleeper(&broker, version, "sleeper", qos);
            say(&broker, 0..100);
            let mut awake = wake(&broker, version, "sleeper");
            let missed = take(&mut awake, 100);
            assert_eq!(texts(&missed), numbers(0..100), "QoS {qos} {version:?}");
            assert!(missed.iter().all(|message| !message.retain), "it is new to the session");
            awake.disconnect();
            say(&broker, 100..150);
            assert!(broker.terminate().success());
            broker.restart();
            say(&broker, 150..200);
            let mut awake = wake(&broker, version, "sleeper");
            let missed = take(&mut awake, 100);
            assert_eq!(texts(&missed), numbers(100..200), "QoS {qos} {version:?}");
            assert!(missed.iter().all(|message| !message.retain), "it is new to the session");
            awake.expect_quiet();
        }
    }
}

#[test]
fn a_crash_takes_nothing_from_a_sleeping_session() {
    let mut broker = Broker::start();
    for qos in 0..=2 {
        sleeper(&broker, V5, &format!("sleeper{qos}"), qos);
    }
    let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
    for index in 0..100 {
        ann.publish("room/x/msg/ann", &index.to_string(), 1);
    }
    broker.kill();
    broker.restart();
    for qos in 0..=2 {
        let mut awake = wake(&broker, V5, &format!("sleeper{qos}"));
        assert_eq!(texts(&take(&mut awake, 100)), numbers(0..100), "QoS {qos}");
        awake.expect_quiet();
    }
}

#[test]
fn a_hundred_sleepers_cost_what_one_costs() {
    const SLEEPERS: usize = 100;
    const MESSAGES: u64 = 300;
    let broker = Broker::with(Settings { arguments: &["--sys.interval", "100ms"], ..Settings::default() });
    for index in 0..SLEEPERS {
        sleeper(&broker, V3, &format!("sleeper{index}"), 1);
    }
    let before = statistic(&broker, "store/messages", |_| true);
    say(&broker, 0..MESSAGES as usize);
    let stored = statistic(&broker, "store/messages", |value| value >= before + MESSAGES) - before;
    assert_eq!(stored, MESSAGES, "one entry a message, however many sleep");
    assert_eq!(statistic(&broker, "queued_now", |_| true), 0);
    for index in [0, SLEEPERS - 1] {
        let mut awake = wake(&broker, V3, &format!("sleeper{index}"));
        assert_eq!(texts(&take(&mut awake, MESSAGES as usize)), numbers(0..MESSAGES as usize));
    }
}

#[test]
fn what_was_not_acknowledged_comes_again_and_nothing_else() {
    let broker = Broker::start();
    let mut reader = broker.connect(&Connect::lasting(V5, "reader"));
    reader.subscribe("room/x/msg/+", 1);
    let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
    for index in 0..10 {
        ann.publish("room/x/msg/ann", &index.to_string(), 1);
    }
    let first = take(&mut reader, 6);
    let open: Vec<_> = (0..4).map(|_| reader.expect_publish()).collect();
    // The answer shows that the acknowledgements have been read.
    reader.ping();
    reader.vanish();
    let mut reader = wake(&broker, V5, "reader");
    for was in &open {
        let again = reader.expect_publish();
        assert!(again.dup, "{again:?}");
        assert_eq!((again.id, again.text(), number(&again)), (was.id, was.text(), number(was)));
        reader.acknowledge(&again);
    }
    reader.expect_quiet();
    assert_eq!(texts(&first), numbers(0..6));
}

#[test]
fn a_crash_does_not_bring_back_what_a_listening_session_heard_long_ago() {
    let mut broker = Broker::with(Settings { arguments: &["--threads.shards", "3"], ..Settings::default() });
    let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
    let mut listeners: Vec<RawClient> = (0..=2)
        .map(|qos| {
            let mut listener = broker.connect(&Connect::lasting(V5, &format!("listener{qos}")));
            listener.subscribe("room/x/msg/+", qos);
            listener
        })
        .collect();
    let (begun, mut said, mut long_ago) = (Instant::now(), 0, 0);
    // Positions are written every second: what was said in the first half second is on disk when this ends.
    while begun.elapsed() < Duration::from_millis(2_600) {
        ann.publish("room/x/msg/ann", &said.to_string(), 1);
        listeners.iter_mut().for_each(|listener| drop(listener.expect_and_acknowledge(&said.to_string())));
        said += 1;
        if begun.elapsed() < Duration::from_millis(500) {
            long_ago = said;
        }
    }
    broker.kill();
    broker.restart();
    let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
    ann.publish("room/x/msg/ann", "next", 1);
    for qos in 0..=2 {
        let mut listener = wake(&broker, V5, &format!("listener{qos}"));
        let first = take(&mut listener, 1).remove(0).text();
        let is_new = first == "next" || first.parse::<usize>().expect("a number") >= long_ago;
        assert!(is_new, "QoS {qos}: {first} again, of {said}; {long_ago} were said long ago");
    }
}

#[test]
fn ordinary_clients_sleep_and_hear_all_later() {
    let mut broker = Broker::start();
    let mut old = Old::connect(&broker, "bob", false);
    old.subscribe("room/x/msg/+", 2);
    old.leave();
    let mut new = New::connect(&broker, "carl", false);
    new.subscribe("room/x/#", 1);
    new.leave();
    say(&broker, 0..90);
    assert!(broker.terminate().success());
    broker.restart();
    say(&broker, 90..120);
    assert_eq!(Old::connect(&broker, "bob", false).hear_texts(120), numbers(0..120));
    assert_eq!(New::connect(&broker, "carl", false).hear_texts(120), numbers(0..120));
}
