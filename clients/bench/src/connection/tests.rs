//! Against a scripted peer: packets in pieces, what is answered, and how connections end.

use super::*;
use crate::load::publisher::Publisher;
use crate::wire::{PublishTemplate, Stamp};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
const SUBACK: [u8; 5] = [0x90, 3, 0, 1, 0];

/// What a handler was told.
#[derive(Default)]
struct Told {
    ready: usize,
    sequences: Vec<u32>,
    done: Vec<(u16, u8)>,
    gone: Vec<Gone>,
}

impl Handler for Told {
    fn handle_ready(&mut self, _id: usize, _now_ns: u64) {
        self.ready += 1;
    }
    fn handle_message(&mut self, _id: usize, message: &Message, _now_ns: u64) {
        self.sequences.extend(message.stamp.map(|stamp| stamp.sequence));
    }
    fn handle_done(&mut self, _id: usize, packet_id: u16, reason: u8, _now_ns: u64) {
        self.done.push((packet_id, reason));
    }
    fn handle_gone(&mut self, _id: usize, why: &Gone, _now_ns: u64) {
        self.gone.push(why.clone());
    }
}

/// A network with one connection to a peer that plays `script` on another thread.
fn connected<T: Send + 'static>(
    subscribes: bool,
    script: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (Network, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let server = listener.local_addr().expect("a listener has an address");
    let peer = thread::spawn(move || script(listener.accept().expect("someone connects").0));
    let mut network = Network::new(server, Version::V3).expect("the system has a poller");
    let login = Login {
        client_id: "c".into(),
        user: "u".into(),
        password: String::new(),
        clean: true,
        keep_alive_secs: 60,
    };
    let subscription = subscribes.then(|| Subscription { filter: "t".into(), qos: 1, since: None });
    network.open(login, subscription).expect("a socket is to be had");
    (network, peer)
}

fn poll_until(network: &mut Network, told: &mut Told, done: impl Fn(&Told) -> bool) {
    let begun = Instant::now();
    while !done(told) {
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing more comes");
        network.poll(Duration::from_millis(20), told).expect("the poller works");
    }
}

/// Reads one packet.
fn packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        if let Split::Packet(_, _, taken) = wire::split(&bytes) {
            assert_eq!(taken, bytes.len());
            return bytes;
        }
        let mut next = [0];
        stream.read_exact(&mut next).expect("a packet comes whole");
        bytes.push(next[0]);
    }
}

fn publish(qos: u8, sequence: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let stamp = Stamp { run: 1, publisher: 0, sequence, due_ns: 0 };
    PublishTemplate::new(Version::V3, "t", qos, 200).write(sequence as u16, stamp, &mut out);
    out
}

#[test]
fn packets_in_pieces_are_whole_messages_and_acknowledged() {
    let (mut network, peer) = connected(true, |mut stream| {
        stream.set_nodelay(true).expect("an option of every socket");
        assert_eq!(packet(&mut stream)[0], 0x10);
        stream.write_all(&CONNACK).expect("the client is there");
        assert_eq!(packet(&mut stream)[0], 0x82);
        let bytes = [&SUBACK[..], &publish(1, 1), &publish(0, 2), &publish(2, 3)].concat();
        for byte in bytes {
            stream.write_all(&[byte]).expect("the client is there");
        }
        let puback = packet(&mut stream);
        let pubrec = packet(&mut stream);
        stream.write_all(&[0x62, 2, 0, 3]).expect("the client is there");
        (puback, pubrec, packet(&mut stream))
    });
    let mut told = Told::default();
    poll_until(&mut network, &mut told, |told| !told.gone.is_empty());
    assert_eq!((told.ready, told.sequences), (1, vec![1, 2, 3]));
    assert_eq!(told.gone, [Gone::ByBroker]);
    let answers = peer.join().expect("the script ran");
    assert_eq!(answers, (vec![0x40, 2, 0, 1], vec![0x50, 2, 0, 3], vec![0x70, 2, 0, 3]));
}

#[test]
fn what_is_published_is_done_when_its_last_acknowledgement_comes() {
    let (mut network, peer) = connected(false, |mut stream| {
        packet(&mut stream);
        stream.write_all(&CONNACK).expect("the client is there");
        let published = packet(&mut stream);
        stream.write_all(&[0x50, 2, 0, 1]).expect("the client is there");
        let pubrel = packet(&mut stream);
        stream.write_all(&[0x70, 2, 0, 1]).expect("the client is there");
        (published[0], pubrel, packet(&mut stream))
    });
    let mut told = Told::default();
    poll_until(&mut network, &mut told, |told| told.ready == 1);
    let template = PublishTemplate::new(Version::V3, "t", 2, 50);
    let mut publisher = Publisher::new(&network, 0, 1, 0, template, 2, 1);
    assert!(publisher.can_publish(&network));
    publisher.publish(&mut network, 0, 5);
    assert!(!publisher.can_publish(&network), "the window of one is full");
    network.flush(0, &mut told);
    poll_until(&mut network, &mut told, |told| !told.done.is_empty());
    assert_eq!(told.done, [(1, 0)]);
    assert_eq!((publisher.acknowledge(2), publisher.acknowledge(1)), (None, Some(5)));
    assert!(publisher.can_publish(&network));
    network.leave(0, &mut told);
    poll_until(&mut network, &mut told, |told| !told.gone.is_empty());
    assert_eq!(told.gone, [Gone::Left]);
    assert_eq!(peer.join().expect("the script ran"), (0x34, vec![0x62, 2, 0, 1], vec![0xe0, 0]));
}

#[test]
fn no_packet_identifier_in_flight_is_used_again() {
    let (mut network, _peer) = connected(false, |stream| stream);
    let template = PublishTemplate::new(Version::V3, "t", 1, 24);
    let mut publisher = Publisher::new(&network, 0, 1, 0, template, 1, 100);
    for sequence in 0..65_535u32 {
        assert!(publisher.can_publish(&network), "{sequence}");
        publisher.publish(&mut network, 0, 1);
        network.outgoing(0).clear();
        // The very first stays in flight.
        assert!(sequence == 0 || publisher.acknowledge((sequence + 1) as u16).is_some());
    }
    assert!(!publisher.can_publish(&network), "identifier 1 would be next");
    publisher.acknowledge(1);
    assert!(publisher.can_publish(&network));
}

#[test]
fn refusals_are_named() {
    let refused = |subscribes: bool, answers: &'static [&'static [u8]]| {
        let (mut network, peer) = connected(subscribes, move |mut stream| {
            for answer in answers {
                packet(&mut stream);
                stream.write_all(answer).expect("the client is there");
            }
            stream
        });
        let mut told = Told::default();
        poll_until(&mut network, &mut told, |told| !told.gone.is_empty());
        drop(peer.join().expect("the script ran"));
        told.gone
    };
    assert_eq!(refused(false, &[&[0x20, 2, 0, 5]]), [Gone::Refused(5)]);
    assert_eq!(refused(true, &[&CONNACK, &[0x90, 3, 0, 1, 0x80]]), [Gone::NotSubscribed(0x80)]);
    assert_eq!(refused(false, &[&[0x20, 0xff, 0xff, 0xff, 0xff, 0xff]]), [Gone::Malformed]);
    assert_eq!(refused(false, &[&[0x20, 1, 0]]), [Gone::Malformed]);
}
