//! Shared subscriptions whose members are on several shards.

use crate::rig::{Got, Link, Rig};
use katydid_engine::{Settings, home_shard};
use katydid_mqtt::packet::{QoS, Version};

const SHARDS: usize = 4;
const FILTER: &str = "$share/group/work/+";

/// One member on each shard; they subscribe in the order of their shards.
fn members(rig: &mut Rig) -> Vec<Link> {
    let id = |shard: usize| {
        let mut ids = (0..).map(|number| format!("member-{number}"));
        ids.find(|id| usize::from(home_shard(id, SHARDS).0) == shard)
            .expect("every shard is the home of some")
    };
    let members: Vec<Link> = (0..SHARDS).map(|shard| rig.connect(Version::V5, &id(shard), true, 0)).collect();
    for member in &members {
        rig.settle();
        rig.subscribe(*member, 1, FILTER, QoS::AtMostOnce);
    }
    rig.settle();
    members
}

/// Publishes to topics at home everywhere, and tells how many messages each member got.
fn share_out(rig: &mut Rig, members: &[Link]) -> Vec<usize> {
    let publisher = rig.connect(Version::V5, "publisher", true, 0);
    rig.settle();
    members.iter().for_each(|member| drop(rig.got(*member)));
    for number in 0..64 {
        // Topics and client identifiers find their homes in the same way.
        let mut topics = (0..).map(|name| format!("work/{name}"));
        let topic = topics.find(|topic| usize::from(home_shard(topic, SHARDS).0) == number % SHARDS);
        rig.publish(publisher, 1 + number as u16, &topic.expect("every shard is a home"), false);
        rig.settle();
    }
    let is_message = |got: &Got| matches!(got, Got::Publish { .. });
    members.iter().map(|member| rig.got(*member).into_iter().filter(is_message).count()).collect()
}

/// Every member gets its share from every home, whichever shard it is on and whoever came first.
#[test]
fn the_first_member_is_not_forgotten() {
    let mut rig = Rig::new(SHARDS, Settings::default());
    let members = members(&mut rig);
    assert_eq!(share_out(&mut rig, &members), [16; SHARDS]);
}
