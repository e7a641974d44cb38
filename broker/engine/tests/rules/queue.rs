//! Queues that are full.

use crate::rig::{Got, Rig};
use katydid_engine::{
    Settings,
    settings::{Limits, QueuePolicy},
};
use katydid_mqtt::packet::{QoS, Version};

/// Whose queue filled up while it was away is not thrown out for it when it comes back; who does not take what it is sent
/// is.
#[test]
fn a_client_that_comes_back_to_a_full_queue_may_stay() {
    let limits = Limits {
        inflight: 1,
        queue_messages: 10,
        queue_policy: QueuePolicy::Disconnect,
        ..Limits::default()
    };
    let mut rig = Rig::new(2, Settings { limits, ..Settings::default() });
    let publisher = rig.connect(Version::V5, "publisher", true, 0);
    let away = rig.connect(Version::V5, "ann", false, 1000);
    rig.subscribe(away, 1, "said/#", QoS::AtLeastOnce);
    rig.settle();
    rig.cut(away);
    for number in 1..=20 {
        rig.publish(publisher, number, "said/then", false);
    }
    rig.settle();
    let back = rig.connect(Version::V5, "ann", false, 1000);
    rig.settle();
    for number in 21..=25 {
        rig.publish(publisher, number, "said/now", false);
        rig.settle();
    }
    assert!(!rig.is_closed(back), "{:?}", rig.got(back));
    // It takes everything, and then nothing any more.
    for _ in 0..50 {
        for got in rig.got(back) {
            if let Got::Publish { packet_id: Some(id), .. } = got {
                rig.acknowledge(back, id);
            }
        }
        rig.settle();
    }
    for number in 31..=50 {
        rig.publish(publisher, number, "said/later", false);
    }
    rig.settle();
    assert_eq!(rig.got(back).last(), Some(&Got::Disconnect(0x97)));
    assert!(rig.is_closed(back));
}
