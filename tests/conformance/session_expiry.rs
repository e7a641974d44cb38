//! When sessions end (chapters 3.1.2.11.2, 3.14.2.2.2, 4.1).

use std::time::Duration;

use crate::harness::{Broker, Connect, Read, V5, packet, property};

/// Connects with that expiry in seconds, subscribes and gives the client back.
fn session(broker: &Broker, client_id: &str, expiry_secs: Option<u32>) -> crate::harness::RawClient {
    let mut connect = Connect::new(V5, client_id);
    connect.properties.extend(expiry_secs.map(property::session_expiry_secs));
    let mut client = broker.connect(&connect);
    client.subscribe("expiry", 1);
    client
}

/// Whether the session is there; connecting with expiry 0 ends it.
fn present(broker: &Broker, client_id: &str) -> bool {
    broker.connect_with_ack(&Connect::new(V5, client_id).resume()).1.session_present
}

/// Lets time pass on a connection on which nothing comes.
fn pass(broker: &Broker, millis: u64) {
    let mut idle = broker.client(V5, "idle");
    assert_eq!(idle.read_within(Duration::from_millis(millis)), Read::Silence);
}

/// [MQTT-4.1.0-2], [MQTT-3.1.2-23]: an expiry of 0, or none, ends the session with its connection.
#[test]
fn expiry_0_or_absent_ends_the_session_at_close() {
    let broker = Broker::start();
    for expiry in [None, Some(0)] {
        session(&broker, "short", expiry).disconnect();
        assert!(!present(&broker, "short"), "{expiry:?}");
        session(&broker, "short", expiry).vanish();
        // The close is seen once the broker lets the same identifier in.
        assert!(!present(&broker, "short"), "{expiry:?} without DISCONNECT");
    }
}

/// [MQTT-4.1.0-2], [MQTT-3.1.2-23]: a session is kept until its expiry and not a second longer.
#[test]
fn expiry_is_kept_to_the_second() {
    let broker = Broker::start();
    session(&broker, "kept", Some(3)).disconnect();
    session(&broker, "gone", Some(1)).disconnect();
    pass(&broker, 2000);
    assert!(present(&broker, "kept"), "2 of 3 seconds have passed");
    assert!(!present(&broker, "gone"), "2 seconds after close, of 1");
}

/// [MQTT-4.1.0-2]: the interval begins at the close, not at CONNECT.
#[test]
fn expiry_counts_from_the_close() {
    let broker = Broker::start();
    let mut client = session(&broker, "counting", Some(2));
    assert_eq!(client.read_within(Duration::from_millis(2500)), Read::Silence);
    client.disconnect();
    pass(&broker, 500);
    assert!(present(&broker, "counting"));
}

/// Section 3.14.2.2.2: DISCONNECT changes the expiry: longer, shorter, and to 0.
#[test]
fn disconnect_changes_the_expiry() {
    let broker = Broker::start();
    for (client_id, before, after, kept) in
        [("longer", 1, 60, true), ("shorter", 60, 1, false), ("at-once", 60, 0, false)]
    {
        let mut client = session(&broker, client_id, Some(before));
        client.send(&packet::disconnect_with(0, &[property::session_expiry_secs(after)]));
        client.expect_closed();
        pass(&broker, 2000);
        assert_eq!(present(&broker, client_id), kept, "{client_id}");
    }
}

/// Section 3.14.2.2.2, [MQTT-4.13.1-1]: a session that had no expiry cannot get one by DISCONNECT.
#[test]
fn disconnect_cannot_give_an_expiry_to_a_session_without_one() {
    let broker = Broker::start();
    for expiry in [None, Some(0)] {
        let mut client = session(&broker, "none", expiry);
        client.send(&packet::disconnect_with(0, &[property::session_expiry_secs(5)]));
        client.expect_disconnect(0x82);
        assert!(!present(&broker, "none"));
    }
}

/// Section 3.1.2.11.2: 0xFFFFFFFF never ends, also not by a restart of the broker.
#[test]
fn expiry_of_all_ones_does_not_end() {
    let mut broker = Broker::start();
    session(&broker, "eternal", Some(u32::MAX)).disconnect();
    pass(&broker, 1500);
    broker.terminate();
    broker.restart();
    assert!(present(&broker, "eternal"));
}

/// [MQTT-4.1.0-2]: time goes on while the broker is down.
#[test]
fn expiry_passes_while_the_broker_is_down() {
    let mut broker = Broker::start();
    let other = Broker::start();
    session(&broker, "sleeping", Some(1)).disconnect();
    broker.terminate();
    pass(&other, 2000);
    broker.restart();
    assert!(!present(&broker, "sleeping"));
}
