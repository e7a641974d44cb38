//! SUBSCRIBE and UNSUBSCRIBE whose answers are slow.

use crate::rig::{Got, Rig};
use katydid_engine::Settings;
use katydid_mqtt::packet::{QoS, Version};

/// A topic that is at home on another of two shards than the client identifier.
fn topic_elsewhere(client_id: &str) -> String {
    let here = katydid_engine::home_shard(client_id, 2);
    let topics = (0..).map(|number| format!("topic/{number}"));
    // Topics and client identifiers find their homes in the same way.
    topics.into_iter().find(|topic| katydid_engine::home_shard(topic, 2) != here).expect("one of two is")
}

/// What was asked on an earlier connection of the session takes effect before what is asked on a later one.
#[test]
fn unsubscribe_on_a_new_connection_undoes_a_subscribe_that_was_not_answered() {
    let mut rig = Rig::new(2, Settings::default());
    let topic = topic_elsewhere("ann");
    let before = rig.connect(Version::V5, "ann", false, 1000);
    rig.settle();
    rig.subscribe(before, 1, &topic, QoS::AtLeastOnce);
    rig.tick();
    let after = rig.connect(Version::V5, "ann", false, 1000);
    rig.unsubscribe(after, 1, &topic);
    rig.tick();
    assert_eq!(rig.got(after), [Got::ConnAck { session_present: true }]);
    rig.settle();
    assert_eq!(rig.got(after), [Got::UnsubAck(vec![0])]);
    rig.publish(after, 2, &topic, false);
    rig.settle();
    assert_eq!(rig.got(after), [Got::PubAck], "no subscription is left");
}

/// The session has a subscription whose connection went before SUBACK; the next connection finds it.
#[test]
fn subscribe_takes_effect_although_its_connection_is_gone() {
    let mut rig = Rig::new(2, Settings::default());
    let topic = topic_elsewhere("ann");
    let before = rig.connect(Version::V5, "ann", false, 1000);
    rig.settle();
    rig.subscribe(before, 1, &topic, QoS::AtLeastOnce);
    rig.tick();
    rig.cut(before);
    rig.settle();
    let after = rig.connect(Version::V5, "ann", false, 1000);
    rig.unsubscribe(after, 1, &topic);
    rig.settle();
    assert_eq!(rig.got(after), [Got::ConnAck { session_present: true }, Got::UnsubAck(vec![0])]);
}
