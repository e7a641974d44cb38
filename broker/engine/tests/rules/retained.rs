//! More retained messages than a subscriber can take at once.

use crate::rig::{Got, Link, Rig};
use katydid_engine::{
    Settings,
    settings::{Limits, QueuePolicy},
};
use katydid_mqtt::packet::{QoS, Version};
use std::collections::BTreeMap;

const TOPICS: u16 = 3_000;

/// A rig with small limits and many retained messages, half of them on each shard, more or less.
fn filled() -> (Rig, Link) {
    let limits = Limits {
        ring_bytes: 16 << 10,
        queue_messages: 200,
        queue_policy: QueuePolicy::Disconnect,
        ..Limits::default()
    };
    let mut rig = Rig::new(2, Settings { limits, ..Settings::default() });
    let publisher = rig.connect(Version::V5, "publisher", true, 0);
    rig.settle();
    for number in 1..=TOPICS {
        rig.publish(publisher, number, &format!("kept/{number}"), true);
        if number % 500 == 0 {
            rig.settle();
        }
    }
    rig.got(publisher);
    (rig, publisher)
}

/// Acknowledges what needs it and counts what came, by topic: retained, and live.
fn take(rig: &mut Rig, link: Link, found: &mut BTreeMap<String, (u32, u32)>) -> usize {
    let got = rig.got(link);
    for got in &got {
        match got {
            Got::Publish { topic, retain, packet_id, .. } => {
                let count = found.entry(topic.clone()).or_default();
                *(if *retain { &mut count.0 } else { &mut count.1 }) += 1;
                packet_id.iter().for_each(|id| rig.acknowledge(link, *id));
            }
            Got::SubAck(_) => {}
            other => panic!("{other:?}"),
        }
    }
    got.len()
}

fn queued(rig: &Rig) -> u64 {
    rig.engines.iter().map(|engine| engine.counters().dropped_queue_full).sum()
}

/// Every one comes once, whatever the ring and the queue hold, and what is said meanwhile comes once, as what it is.
#[test]
fn more_retained_messages_than_the_ring_and_the_queue_hold_all_come_once() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let (mut rig, publisher) = filled();
        let subscriber = rig.connect(Version::V5, "subscriber", false, 1000);
        rig.settle();
        rig.got(subscriber);
        rig.takes_bytes = false;
        rig.subscribe(subscriber, 1, "#", qos);
        rig.settle();
        let waiting = rig.waiting_bytes(subscriber);
        assert!(waiting < 64 << 10, "{waiting} bytes wait for a subscriber who does not read");
        rig.publish(publisher, 1, "kept/77", true);
        rig.publish(publisher, 2, "said/meanwhile", false);
        rig.settle();
        let mut found = BTreeMap::new();
        loop {
            rig.drain();
            rig.settle();
            if take(&mut rig, subscriber, &mut found) == 0 {
                break;
            }
        }
        assert_eq!(queued(&rig), 0);
        for number in 1..=TOPICS {
            let (retained, live) = found.remove(&format!("kept/{number}")).unwrap_or_default();
            let wanted = if number == 77 { [(1, 1), (0, 1)] } else { [(1, 0); 2] };
            assert!(
                wanted.contains(&(retained, live)),
                "{number}: {retained} retained, {live} live, {qos:?}"
            );
        }
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("said/meanwhile".into(), (0, 1))]);
    }
}

/// A subscription that is taken back gets no more; one that is made again begins anew.
#[test]
fn a_walk_ends_with_its_subscription_and_begins_again_with_the_next() {
    let (mut rig, _) = filled();
    let subscriber = rig.connect(Version::V5, "subscriber", false, 1000);
    rig.settle();
    rig.got(subscriber);
    rig.takes_bytes = false;
    rig.subscribe(subscriber, 1, "#", QoS::AtMostOnce);
    rig.settle();
    rig.unsubscribe(subscriber, 2, "#");
    rig.settle();
    rig.drain();
    rig.settle();
    let before = rig.got(subscriber).len();
    assert!(before < usize::from(TOPICS) / 2, "{before} came before UNSUBACK, or after it");
    rig.subscribe(subscriber, 3, "#", QoS::AtMostOnce);
    let mut found = BTreeMap::new();
    loop {
        rig.drain();
        rig.settle();
        if take(&mut rig, subscriber, &mut found) == 0 {
            break;
        }
    }
    assert_eq!(found.len(), usize::from(TOPICS));
    assert!(found.values().all(|count| *count == (1, 0)));
}
