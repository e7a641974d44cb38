//! A publisher that outlives the broker: it knows what was acknowledged, and sends the rest again.

use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::kill::{Chance, connect};
use crate::harness::packet::{self, Ack, Packet};
use crate::harness::{Connect, Publish, RawClient, Read, V5};

/// Messages in flight at most.
const WINDOW: usize = 8;
const LIMIT: Duration = Duration::from_secs(30);

/// A message that was said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) topic: String,
    pub(super) qos: u8,
    /// PUBACK or PUBREC came.
    pub(super) is_acknowledged: bool,
    /// The number that it said, for a room.
    pub(super) seq: Option<u64>,
}

/// A publisher with a session that lasts.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) index: usize,
    pub(super) said: Vec<Said>,
    /// What is in flight in the order it was said: number of the message, packet identifier, whether PUBREC came.
    pub(super) open: Vec<(usize, u16, bool)>,
    next_id: u16,
    chance: Chance,
}

impl Publisher {
    pub(super) fn new(index: usize, chance: Chance) -> Publisher {
        Publisher { index, said: Vec::new(), open: Vec::new(), next_id: 0, chance }
    }

    /// Speaks until the broker is gone, and says each acknowledgement to `told`.
    pub(super) fn speak(&mut self, address: SocketAddr, told: &Sender<()>) {
        let Some(mut client) = self.resume(address) else { return };
        loop {
            while self.open.len() < WINDOW {
                let publish = self.say();
                if client.try_send(&publish.bytes(V5)).is_err() {
                    return;
                }
            }
            if !self.take_ack(&mut client) {
                return;
            }
            // Nobody counts any more when the broker is being killed.
            let _ = told.send(());
        }
    }

    /// Completes what is open.
    pub(super) fn finish(&mut self, address: SocketAddr) {
        let mut client = self.resume(address).expect("the broker runs");
        while !self.open.is_empty() {
            assert!(self.take_ack(&mut client), "the broker runs");
        }
    }

    /// Connects and sends again what is open, in order.
    fn resume(&self, address: SocketAddr) -> Option<RawClient> {
        let name = format!("publisher{}", self.index);
        let (mut client, is_present) =
            connect(address, &Connect::lasting(V5, &name).user(&format!("user{}", self.index)))?;
        let was_told = self.said.iter().any(|said| said.is_acknowledged && said.qos == 2);
        assert!(is_present || !was_told, "the session of {name} is lost");
        for &(number, id, is_received) in &self.open {
            let bytes = if is_received {
                packet::ack(packet::PUBREL, id)
            } else {
                self.packet(number, id).dup().bytes(V5)
            };
            client.try_send(&bytes).ok()?;
        }
        Some(client)
    }

    fn packet(&self, number: usize, id: u16) -> Publish {
        let Said { topic, qos, .. } = &self.said[number];
        let publish = Publish::new(topic, format!("{}:{number}", self.index)).will_qos(*qos);
        let retain = topic.starts_with("kept/");
        Publish { id: Some(id), retain, ..publish }
    }

    fn say(&mut self) -> Publish {
        let number = self.said.len();
        let index = self.index;
        let topic = match self.chance.below(10) {
            0 => format!("kept/{index}"),
            1..=3 => format!("plain/{index}"),
            4..=6 => format!("room/x/msg/user{index}"),
            _ => format!("room/y/msg/user{index}"),
        };
        let qos = 1 + self.chance.below(2) as u8;
        // A QoS 1 message that is sent again replaces a QoS 2 message that was said after it.
        let qos = if topic.starts_with("kept/") { 1 + index as u8 % 2 } else { qos };
        self.said.push(Said { topic, qos, is_acknowledged: false, seq: None });
        self.next_id = self.next_id % u16::MAX + 1;
        self.open.push((number, self.next_id, false));
        self.packet(number, self.next_id)
    }

    /// Takes the next acknowledgement; `false` when the broker is gone.
    fn take_ack(&mut self, client: &mut RawClient) -> bool {
        let ack = match client.read_within(LIMIT) {
            Read::Packet(Packet::Ack(ack)) => ack,
            Read::Closed => return false,
            other => panic!("publisher {} expected an acknowledgement, got {other:?}", self.index),
        };
        let Ack { kind, id, reason, properties } = ack;
        let Some(at) = self.open.iter().position(|(_, open, _)| *open == id) else {
            panic!("publisher {}: {kind:#04x} for {id}, which is not in flight", self.index);
        };
        // A release that the broker does not know any more was completed before.
        assert!(reason < 0x80 || (kind == packet::PUBCOMP && reason == 0x92), "reason {reason:#04x}");
        if kind != packet::PUBCOMP {
            let said = &mut self.said[self.open[at].0];
            assert_eq!(kind, if said.qos == 1 { packet::PUBACK } else { packet::PUBREC });
            said.is_acknowledged = true;
            said.seq = super::number(&properties);
        }
        if kind == packet::PUBREC {
            self.open[at].2 = true;
            return client.try_send(&packet::ack(packet::PUBREL, id)).is_ok();
        }
        self.open.remove(at);
        true
    }
}
