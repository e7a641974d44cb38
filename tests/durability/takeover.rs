//! Many connections that fight for one session: each takes it over from another one, as fast as they can.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::kill::connect;
use crate::harness::packet::{self, PUBACK, Packet};
use crate::harness::{Broker, Connect, Publish, RawClient, Read, Settings, V5};

const LIMIT: Duration = Duration::from_secs(20);
const RIVALS: usize = 8;
const MESSAGES: usize = 300;

fn session() -> Connect {
    Connect::lasting(V5, "one")
}

fn start() -> Broker {
    let broker = Broker::with(Settings { arguments: &["--threads.shards", "4"], ..Settings::default() });
    let mut first = broker.connect(&session());
    first.subscribe("plain/+", 1);
    first.subscribe("room/x/msg/+", 1);
    broker
}

/// What a connection hears before another one takes the session, the broker is gone, or, where it is the last, until it
/// has heard enough. Each topic is in order.
fn listen(client: &mut RawClient, heard: &mut BTreeSet<String>, enough: Option<usize>) -> bool {
    let mut last = [None, None];
    while enough.is_none_or(|enough| heard.len() < enough) {
        match client.read_within(LIMIT) {
            Read::Packet(Packet::Publish(publish)) => {
                let text = publish.text();
                let last = &mut last[usize::from(publish.topic.starts_with("room/"))];
                let number: usize = text.split(' ').nth(1).expect("a number").parse().expect("a number");
                assert!(*last < Some(number), "{publish:?} after {last:?}");
                *last = Some(number);
                heard.insert(text);
                let id = publish.id.expect("QoS 1");
                if client.try_send(&packet::ack(PUBACK, id)).is_err() {
                    return false;
                }
            }
            Read::Packet(Packet::Disconnect { reason, .. }) => {
                assert_eq!(reason, 0x8E, "session taken over");
                return true;
            }
            Read::Closed => return false,
            other => panic!("{other:?}"),
        }
    }
    false
}

/// One of the rivals; what it heard, and how often it was thrown out.
fn fight(address: SocketAddr, is_over: &AtomicBool) -> (BTreeSet<String>, usize) {
    let (mut heard, mut lost) = (BTreeSet::new(), 0);
    while !is_over.load(Ordering::Relaxed) {
        // One that is overtaken before it was let in is closed without CONNACK.
        if let Some((mut client, is_present)) = connect(address, &session()) {
            assert!(is_present, "the session is lost");
            lost += usize::from(listen(&mut client, &mut heard, None));
        }
    }
    (heard, lost)
}

/// Says what everybody fights for; everything is acknowledged.
fn say(ann: &mut RawClient, messages: usize) -> BTreeSet<String> {
    let mut said = BTreeSet::new();
    for number in 0..messages {
        for topic in ["plain/ann", "room/x/msg/ann"] {
            let text = format!("{topic} {number}");
            ann.publish(topic, &text, 1);
            said.insert(text);
        }
    }
    said
}

#[test]
fn one_session_that_many_fight_for_loses_nothing() {
    let broker = start();
    let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
    let (address, is_over) = (broker.address(), AtomicBool::new(false));
    thread::scope(|scope| {
        let rivals: Vec<_> = (0..RIVALS).map(|_| scope.spawn(|| fight(address, &is_over))).collect();
        let said = say(&mut ann, MESSAGES);
        is_over.store(true, Ordering::Relaxed);
        // Each rival goes when it is thrown out.
        while !rivals.iter().all(|rival| rival.is_finished()) {
            broker.connect(&session());
        }
        let (mut heard, mut lost) = (BTreeSet::new(), 0);
        for rival in rivals {
            let (its, times) = rival.join().expect("a rival");
            heard.extend(its);
            lost += times;
        }
        assert!(lost > RIVALS, "{lost} takeovers are no storm");
        listen(&mut broker.connect(&session()), &mut heard, Some(said.len()));
        assert_eq!(heard, said);
    });
}

#[test]
fn a_kill_while_many_fight_for_a_session_loses_nothing_acknowledged() {
    for round in 1..=5 {
        let mut broker = start();
        let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
        let (address, is_over) = (broker.address(), AtomicBool::new(false));
        let (said, mut heard) = thread::scope(|scope| {
            let rivals: Vec<_> = (0..RIVALS).map(|_| scope.spawn(|| fight(address, &is_over))).collect();
            let said = say(&mut ann, 20 * round);
            // In the middle of the next one.
            ann.send_publish(&Publish::new("plain/ann", "plain/ann 999999").qos1(1));
            is_over.store(true, Ordering::Relaxed);
            broker.kill();
            let heard: BTreeSet<String> =
                rivals.into_iter().flat_map(|rival| rival.join().expect("a rival").0).collect();
            (said, heard)
        });
        broker.restart();
        let (mut last, ack) = broker.connect_with_ack(&session());
        assert!(ack.session_present, "round {round}");
        // What was heard may come again; what was acknowledged and not heard has to come.
        let missing = said.difference(&heard).count();
        println!("round {round}: {} of {} are missing", missing, said.len());
        while !said.is_subset(&heard) {
            let enough = heard.len() + 1;
            assert!(!listen(&mut last, &mut heard, Some(enough)));
        }
    }
}
