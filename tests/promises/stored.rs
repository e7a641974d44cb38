//! Acknowledged means stored: what was acknowledged is there after the broker was killed, and no acknowledgement leaves
//! before its sync.

use std::time::{Duration, Instant};

use super::talk::{New, Old, take, texts};
use crate::harness::{Broker, Connect, Publish, Settings, V3, V5, packet};

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let mut broker = Broker::start();
    let mut sleeper = broker.connect(&Connect::lasting(V5, "sleeper"));
    sleeper.subscribe("plain/#", 2);
    sleeper.disconnect();
    let mut ann = broker.connect(&Connect::new(V3, "ann").user("ann"));
    for qos in [1, 2] {
        ann.publish("room/x/msg/ann", &format!("room {qos}"), qos);
        ann.publish("plain/a", &format!("plain {qos}"), qos);
        ann.retain(&format!("kept/{qos}"), &format!("kept {qos}"), qos);
    }
    broker.kill();
    broker.restart();
    let mut late = broker.client(V5, "late");
    late.subscribe("room/x/msg/+", 2);
    assert_eq!(texts(&take(&mut late, 2)), ["room 1", "room 2"]);
    late.subscribe("kept/+", 2);
    let mut kept = texts(&take(&mut late, 2));
    kept.sort_unstable();
    assert_eq!(kept, ["kept 1", "kept 2"]);
    late.expect_quiet();
    let (mut sleeper, ack) = broker.connect_with_ack(&Connect::lasting(V5, "sleeper"));
    assert!(ack.session_present);
    assert_eq!(texts(&take(&mut sleeper, 2)), ["plain 1", "plain 2"]);
    sleeper.expect_quiet();
}

#[test]
fn members_hear_at_once_and_the_publisher_is_acknowledged_after_the_sync() {
    const DELAY: Duration = Duration::from_millis(400);
    let broker =
        Broker::with(Settings { arguments: &["--store.sync-delay", "400ms"], ..Settings::default() });
    let mut listener = broker.connect(&Connect::new(V5, "listener").user("lis"));
    listener.subscribe("room/x/msg/+", 1);
    let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
    // The first message waits for the room itself.
    ann.publish("room/x/msg/ann", "first", 1);
    listener.expect_and_acknowledge("first");
    for (qos, kind) in [(1, packet::PUBACK), (2, packet::PUBREC)] {
        let begun = Instant::now();
        let id = ann.fresh_id();
        let said = Publish::new("room/x/msg/ann", "said").will_qos(qos);
        ann.send_publish(&Publish { id: Some(id), ..said });
        listener.expect_and_acknowledge("said");
        let heard = begun.elapsed();
        ann.expect_ack(kind, id);
        let acknowledged = begun.elapsed();
        assert!(
            acknowledged >= DELAY,
            "QoS {qos}: acknowledged after {acknowledged:?}, before a sync could end"
        );
        assert!(heard < acknowledged, "QoS {qos}: heard after {heard:?}");
    }
}

#[test]
fn what_nobody_keeps_is_acknowledged_without_a_sync() {
    const DELAY: Duration = Duration::from_secs(3);
    let broker = Broker::with(Settings { arguments: &["--store.sync-delay", "3s"], ..Settings::default() });
    let begun = Instant::now();
    let mut ann = broker.client(V5, "ann");
    ann.publish("plain/a", "to nobody", 1);
    assert!(begun.elapsed() < DELAY, "it was waited for a sync");
}

#[test]
fn ordinary_clients_find_everything_after_a_kill() {
    let mut broker = Broker::start();
    let mut old = Old::connect(&broker, "old", true);
    let mut new = New::connect(&broker, "new", true);
    let mut numbers = Vec::new();
    for round in 0..20 {
        old.say("room/x/msg/old", &format!("old {round}"), 1 + round % 2);
        numbers.push(new.say("room/x/msg/new", &format!("new {round}")));
    }
    broker.kill();
    broker.restart();
    let mut late = New::connect(&broker, "late", true);
    late.subscribe("$since/0/room/x/msg/+", 1);
    for round in 0..20 {
        assert_eq!(late.hear().text, format!("old {round}"));
        let heard = late.hear();
        assert_eq!(heard.text, format!("new {round}"));
        assert_eq!(heard.seq, Some(numbers[round as usize]), "the number that PUBACK said");
    }
}
