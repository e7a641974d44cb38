//! The clients: publishers that send again what was not acknowledged, members that take QoS 2 once, and a watcher who
//! sees numbers before they are on disk. They are values: a copy of them is what they knew at that moment.

use std::collections::HashSet;

use super::packet::{self, Ack, Connect, Packet, Publish, Version::V5};
use super::property::{self, Value};
use super::{Chance, world::World};

/// Messages in flight of a publisher at most.
const WINDOW: usize = 6;

/// The number of a room's message.
pub(super) fn number(properties: &[property::Property]) -> Option<u64> {
    property::all(properties, property::USER_PROPERTY).into_iter().find_map(|pair| match pair {
        Value::Pair(name, value) if name == "seq" => value.parse().ok(),
        _ => None,
    })
}

/// A message that was said.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) topic: String,
    pub(super) qos: u8,
    pub(super) is_acknowledged: bool,
    pub(super) seq: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Publisher {
    pub(super) index: usize,
    pub(super) said: Vec<Said>,
    /// What is in flight: number of the message, packet identifier, whether PUBREC came.
    pub(super) open: Vec<(usize, u16, bool)>,
    next_id: u16,
}

impl Publisher {
    pub(super) fn new(index: usize) -> Publisher {
        Publisher { index, said: Vec::new(), open: Vec::new(), next_id: 0 }
    }

    fn packet(&self, number: usize, id: u16) -> Publish {
        let Said { topic, qos, .. } = &self.said[number];
        let publish = Publish::new(topic, format!("{}:{number}", self.index)).will_qos(*qos);
        Publish { id: Some(id), retain: topic.starts_with("kept/"), ..publish }
    }

    /// The next message, when the window has room.
    pub(super) fn say(&mut self, chance: &mut Chance) -> Option<Vec<u8>> {
        if self.open.len() >= WINDOW {
            return None;
        }
        let index = self.index;
        let qos = 1 + chance.below(2) as u8;
        let (topic, qos) = match chance.below(10) {
            // A QoS 1 message that is sent again replaces a QoS 2 message that was said after it.
            0 => (format!("kept/{index}"), 1 + index as u8 % 2),
            1..=3 => (format!("plain/{index}"), qos),
            4..=6 => (format!("room/x/msg/user{index}"), qos),
            _ => (format!("room/y/msg/user{index}"), qos),
        };
        self.said.push(Said { topic, qos, is_acknowledged: false, seq: None });
        self.next_id += 1;
        self.open.push((self.said.len() - 1, self.next_id, false));
        Some(self.packet(self.said.len() - 1, self.next_id).bytes(V5))
    }

    /// What is sent again on a new connection.
    fn again(&self) -> Vec<u8> {
        let packets = self.open.iter().map(|&(number, id, is_received)| match is_received {
            true => packet::ack(packet::PUBREL, id),
            false => self.packet(number, id).dup().bytes(V5),
        });
        packets.collect::<Vec<_>>().concat()
    }

    fn take(&mut self, packet: Packet) -> Vec<u8> {
        let Packet::Ack(Ack { kind, id, reason, properties }) = packet else {
            panic!("publisher {} got {packet:?}", self.index);
        };
        let at = self.open.iter().position(|(_, open, _)| *open == id).expect("it is in flight");
        assert!(reason < 0x80 || (kind == packet::PUBCOMP && reason == 0x92), "reason {reason:#04x}");
        if kind != packet::PUBCOMP {
            let said = &mut self.said[self.open[at].0];
            said.is_acknowledged = true;
            said.seq = number(&properties);
        }
        if kind == packet::PUBREC {
            self.open[at].2 = true;
            return packet::ack(packet::PUBREL, id);
        }
        self.open.remove(at);
        Vec::new()
    }
}

/// Somebody who listens.
#[derive(Debug, Clone)]
pub(super) struct Listener {
    pub(super) name: &'static str,
    pub(super) taken: Vec<Publish>,
    unreleased: HashSet<u16>,
}

impl Listener {
    pub(super) fn new(name: &'static str) -> Listener {
        Listener { name, taken: Vec::new(), unreleased: HashSet::new() }
    }

    fn take(&mut self, packet: Packet) -> Vec<u8> {
        match packet {
            Packet::Publish(publish) => {
                let (qos, id) = (publish.qos, publish.id.unwrap_or(0));
                if qos < 2 || self.unreleased.insert(id) {
                    self.taken.push(publish);
                } else {
                    assert!(publish.dup, "{}: identifier {id} is in use: {publish:?}", self.name);
                }
                match qos {
                    0 => Vec::new(),
                    1 => packet::ack(packet::PUBACK, id),
                    _ => packet::ack(packet::PUBREC, id),
                }
            }
            Packet::Ack(Ack { kind: packet::PUBREL, id, .. }) => {
                self.unreleased.remove(&id);
                packet::ack(packet::PUBCOMP, id)
            }
            Packet::SubAck { codes, .. } => {
                assert!(codes.iter().all(|code| *code < 0x80), "{codes:?}");
                Vec::new()
            }
            other => panic!("{} got {other:?}", self.name),
        }
    }
}

/// Everybody, with the connections that they have now.
#[derive(Debug, Clone)]
pub(super) struct People {
    pub(super) publishers: Vec<Publisher>,
    /// A member who is connected, one who sleeps, and a watcher whose session does not last.
    pub(super) listeners: Vec<Listener>,
    wires: Vec<Option<usize>>,
}

impl People {
    pub(super) fn new(publishers: usize) -> People {
        let listeners = ["member", "sleeper", "watcher"].map(Listener::new).to_vec();
        let wires = vec![None; publishers + listeners.len()];
        People { publishers: (0..publishers).map(Publisher::new).collect(), listeners, wires }
    }

    /// Connects a publisher, which sends again what is open.
    pub(super) fn connect_publisher(&mut self, world: &mut World, index: usize) {
        let name = format!("publisher{index}");
        let connect = Connect::lasting(V5, &name).user(&format!("user{index}"));
        let wire = world.open(&name);
        world.send(wire, &connect.bytes());
        world.send(wire, &self.publishers[index].again());
        self.wires[index] = Some(wire);
    }

    /// Connects a listener, which subscribes to these filters.
    pub(super) fn connect_listener(&mut self, world: &mut World, at: usize, filters: &[(&str, u8)]) {
        let name = self.listeners[at].name;
        let connect = match name {
            "member" | "sleeper" => Connect::lasting(V5, name),
            _ => Connect::new(V5, name),
        };
        let wire = world.open(name);
        world.send(wire, &connect.bytes());
        if !filters.is_empty() {
            world.send(wire, &packet::subscribe(V5, 60_000, filters, &[]));
        }
        let place = self.publishers.len() + at;
        self.wires[place] = Some(wire);
    }

    /// A listener leaves.
    pub(super) fn disconnect_listener(&mut self, world: &mut World, at: usize) {
        let place = self.publishers.len() + at;
        if let Some(wire) = self.wires[place].take() {
            world.send(wire, &packet::frame(packet::DISCONNECT, &[]));
        }
    }

    /// Adds somebody who listens.
    pub(super) fn add_listener(&mut self, name: &'static str) -> usize {
        self.listeners.push(Listener::new(name));
        self.wires.push(None);
        self.listeners.len() - 1
    }

    /// Everybody takes what came and answers. `is_present` must hold for those whose session lasts, after a restart.
    pub(super) fn take(&mut self, world: &mut World, must_be_present: bool) {
        for place in 0..self.wires.len() {
            let Some(wire) = self.wires[place] else { continue };
            while let Some(packet) = next_packet(&mut world.wires[wire].received) {
                let answer = match packet {
                    Packet::ConnAck(ack) => {
                        assert_eq!(ack.code, 0);
                        assert!(ack.session_present || !must_be_present || self.is_new(place), "{place}");
                        Vec::new()
                    }
                    packet if place < self.publishers.len() => self.publishers[place].take(packet),
                    packet => self.listeners[place - self.publishers.len()].take(packet),
                };
                world.send(wire, &answer);
            }
            assert!(!world.wires[wire].is_closed, "the broker closed the connection of {place}");
        }
    }

    /// Whether nobody expects a session to be there.
    fn is_new(&self, place: usize) -> bool {
        match place.checked_sub(self.publishers.len()) {
            Some(listener) => listener > 1,
            None => !self.publishers[place].said.iter().any(|said| said.is_acknowledged && said.qos == 2),
        }
    }

    /// Publishers say something new now and then.
    pub(super) fn say(&mut self, world: &mut World, chance: &mut Chance) {
        for (publisher, wire) in self.publishers.iter_mut().zip(&self.wires) {
            if let (Some(wire), 0) = (wire, chance.below(2))
                && let Some(bytes) = publisher.say(chance)
            {
                world.send(*wire, &bytes);
            }
        }
    }

    /// Who is connected is not any more: the power is gone.
    pub(super) fn lose_connections(&mut self) {
        self.wires.fill(None);
    }
}

/// Takes the next whole packet out of what was received.
fn next_packet(received: &mut Vec<u8>) -> Option<Packet> {
    let mut len = 0usize;
    let mut at = 1;
    loop {
        let byte = *received.get(at)?;
        len |= usize::from(byte & 0x7F) << (7 * (at - 1));
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    if received.len() < at + len {
        return None;
    }
    let packet = Packet::parse(V5, received[0], &received[at..at + len]);
    received.drain(..at + len);
    Some(packet)
}
