//! Members who are behind in many rooms at once.

use crate::rig::{Got, Link, Rig};
use katydid_engine::{
    Settings, Verdict,
    access::AccessList,
    settings::{Credentials, Limits},
};
use katydid_mqtt::packet::{QoS, Version};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

const ROOMS: usize = 300;
const MESSAGES: usize = 4;

fn room(number: usize) -> String {
    format!("room/{number}/msg/ann")
}

/// Ann, who has a password and may speak.
fn enter(rig: &mut Rig) -> Link {
    let ann = rig.connect_as(Some("ann"), Version::V5, "ann", true, 0);
    rig.settle();
    rig.judge(Verdict::Good);
    ann
}

fn settings(inflight: u16) -> Settings {
    let credentials = Credentials { hash: "hash".into(), scram: None };
    let accounts = HashMap::from([("ann".into(), credentials)]);
    let limits = Limits { inflight, ..Limits::default() };
    Settings { accounts: Arc::new(accounts), limits, ..Settings::default() }
}

/// Takes what the client got, acknowledges it, and notes it by topic. Tells how much there was.
fn take(rig: &mut Rig, link: Link, heard: &mut BTreeMap<String, Vec<String>>) -> usize {
    let mut count = 0;
    for got in rig.got(link) {
        if let Got::Publish { topic, payload, packet_id, .. } = got {
            heard.entry(topic).or_default().push(String::from_utf8(payload).expect("text"));
            packet_id.into_iter().for_each(|id| rig.acknowledge(link, id));
            count += 1;
        }
    }
    count
}

/// Says everything in every room, one message a room after another.
fn say_all(rig: &mut Rig, ann: Link) {
    for number in 0..MESSAGES {
        for at in 0..ROOMS {
            rig.publish_text(ann, 1 + at as u16, &room(at), &number.to_string(), false);
        }
        rig.settle();
        rig.got(ann);
    }
}

/// With a window of three, what waits in hundreds of rooms is all sent, in each room in order and once, over a
/// connection that ends in the middle; and what has QoS 0 does not wait for it.
#[test]
fn a_small_window_serves_many_rooms() {
    let mut rig = Rig::new(2, settings(3));
    let ann = enter(&mut rig);
    let mut slow = rig.connect(Version::V5, "slow", false, 1000);
    rig.settle();
    let filters: Vec<String> = (0..ROOMS).map(|number| format!("room/{number}/msg/+")).collect();
    for (id, filters) in (1..).zip(filters.chunks(100)) {
        rig.subscribe_many(slow, id, filters, QoS::AtLeastOnce);
        rig.settle();
    }
    // The last room is heard with QoS 0.
    rig.subscribe(slow, 9, &filters[ROOMS - 1], QoS::AtMostOnce);
    rig.settle();
    rig.got(slow);
    say_all(&mut rig, ann);
    let mut heard = BTreeMap::new();
    let at_once = take(&mut rig, slow, &mut heard);
    assert_eq!(at_once, 3 + MESSAGES, "the window, and what needs none");
    assert_eq!(heard[&room(ROOMS - 1)].len(), MESSAGES);
    rig.settle();
    while heard.values().map(Vec::len).sum::<usize>() < ROOMS * MESSAGES / 2 {
        assert!(take(&mut rig, slow, &mut heard) > 0, "it goes on with each acknowledgement");
        rig.settle();
    }
    // What was in flight comes again, which is for the client to tell from its packet identifier.
    take(&mut rig, slow, &mut heard);
    rig.cut(slow);
    rig.settle();
    slow = rig.connect(Version::V5, "slow", false, 1000);
    rig.settle();
    while take(&mut rig, slow, &mut heard) > 0 {
        rig.settle();
    }
    let said: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
    for number in 0..ROOMS {
        assert_eq!(heard.get(&room(number)), Some(&said), "room {number}");
    }
}

/// An access list is for topics outside the rooms.
#[test]
fn an_access_list_does_not_concern_rooms() {
    let access = AccessList::parse("topic read nothing").expect("a list");
    let mut rig = Rig::new(2, Settings { access: Arc::new(access), ..settings(100) });
    let ann = enter(&mut rig);
    let reader = rig.connect(Version::V4, "reader", true, 0);
    rig.settle();
    rig.subscribe(reader, 1, "room/0/msg/+", QoS::AtLeastOnce);
    rig.settle();
    rig.publish(ann, 1, &room(0), false);
    rig.publish(ann, 2, "plain", false);
    rig.settle();
    let mut heard = BTreeMap::new();
    assert_eq!(take(&mut rig, reader, &mut heard), 1);
    assert_eq!(heard[&room(0)], ["payload"]);
}
