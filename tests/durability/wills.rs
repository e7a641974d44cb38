//! Wills of clients that were connected when the broker was killed: their connections ended with it.

use std::time::Duration;

use crate::harness::{Broker, Connect, Publish, RawClient, Read, Settings, V3, V5, Version, property};

const TOPIC: &str = "wills/ann";

/// Ann with a session that lasts and a will; what she has is on disk when she is here.
fn ann(broker: &Broker, version: Version, delay_secs: u32) -> RawClient {
    let mut will = Publish::new(TOPIC, "gone").will_qos(1).retained();
    if delay_secs > 0 {
        will.properties.push(property::will_delay_secs(delay_secs));
    }
    let mut ann = broker.connect(&Connect::lasting(version, "ann").will(will));
    // SUBACK comes after the sync.
    ann.subscribe("other", 1);
    ann
}

/// Somebody who is told of wills, now or when she is back.
fn watcher(broker: &Broker, name: &str) -> RawClient {
    let mut watcher = broker.connect(&Connect::lasting(V5, name));
    watcher.subscribe("wills/+", 1);
    watcher
}

fn back(broker: &Broker, name: &str) -> RawClient {
    let (client, ack) = broker.connect_with_ack(&Connect::lasting(V5, name));
    assert!(ack.session_present, "{name}");
    client
}

/// Waits until everything that was said before is on disk.
fn sync(broker: &Broker) {
    broker.client(V5, "clock").retain("clock", "tick", 1);
}

/// A broker whose shards are all asked, and which has no figures to publish.
fn start() -> Broker {
    Broker::with(Settings { arguments: &["--threads.shards", "4"], ..Settings::default() })
}

#[test]
fn the_will_of_a_client_that_was_connected_at_a_kill_is_published_once() {
    for version in [V3, V5] {
        let mut broker = start();
        // On several shards.
        let names = ["eve", "fay", "gus", "hal"];
        names.iter().for_each(|name| drop(watcher(&broker, name)));
        let _ann = ann(&broker, version, 0);
        broker.kill();
        broker.restart();
        for name in names {
            let mut watcher = back(&broker, name);
            watcher.expect_and_acknowledge("gone");
            watcher.expect_quiet();
        }
        sync(&broker);
        broker.kill();
        broker.restart();
        let mut late = broker.client(V5, "late");
        late.subscribe(TOPIC, 0);
        assert!(late.expect_message("gone").retain, "it is kept");
        // What is due after a restart comes within a second.
        let mut watcher = back(&broker, names[0]);
        assert_eq!(watcher.read_within(Duration::from_millis(1500)), Read::Silence);
    }
}

#[test]
fn a_will_waits_for_its_delay_after_a_kill_too() {
    let mut broker = start();
    drop(watcher(&broker, "eve"));
    let _ann = ann(&broker, V5, 2);
    broker.kill();
    broker.restart();
    // Who is back in time has not gone; her next connection has no will.
    back(&broker, "ann").disconnect();
    let mut eve = back(&broker, "eve");
    assert_eq!(eve.read_within(Duration::from_secs(3)), Read::Silence);
    let _ann = ann(&broker, V5, 1);
    broker.kill();
    broker.restart();
    let mut eve = back(&broker, "eve");
    eve.expect_and_acknowledge("gone");
    eve.expect_quiet();
}

#[test]
fn who_said_goodbye_before_a_kill_has_no_will() {
    let mut broker = start();
    drop(watcher(&broker, "eve"));
    ann(&broker, V5, 0).disconnect();
    sync(&broker);
    broker.kill();
    broker.restart();
    let mut eve = back(&broker, "eve");
    assert_eq!(eve.read_within(Duration::from_millis(1500)), Read::Silence);
}

#[test]
fn a_will_of_a_killed_broker_comes_before_what_its_client_says_next() {
    let mut broker = start();
    let _ann = ann(&broker, V5, 0);
    broker.kill();
    broker.restart();
    let mut ann = back(&broker, "ann");
    ann.retain(TOPIC, "here", 1);
    let mut late = broker.client(V5, "late");
    late.subscribe(TOPIC, 0);
    late.expect_message("here");
    assert_eq!(late.read_within(Duration::from_millis(1500)), Read::Silence);
}
