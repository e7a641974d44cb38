//! A member with a session that lasts: it takes each message as MQTT has it, QoS 2 once.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::kill::connect;
use crate::harness::packet::{self, Ack, Packet};
use crate::harness::{Broker, Connect, Publish, RawClient, Read, V5};

const LIMIT: Duration = Duration::from_secs(30);

/// A member of the rooms, and a subscriber of the plain topic.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: &'static str,
    /// Everything that was given to it, QoS 1 messages perhaps more than once.
    pub(super) taken: Vec<Publish>,
    /// QoS 2 messages that were not released.
    unreleased: HashSet<u16>,
}

impl Member {
    /// Subscribes and leaves.
    pub(super) fn enter(broker: &Broker, name: &'static str) -> Member {
        let mut client = broker.connect(&Connect::lasting(V5, name));
        for filter in ["room/x/msg/+", "room/y/#", "plain/#"] {
            client.subscribe(filter, 2);
        }
        client.disconnect();
        Member { name, taken: Vec::new(), unreleased: HashSet::new() }
    }

    /// Takes what comes until the broker is gone.
    pub(super) fn listen(&mut self, address: SocketAddr) {
        let Some(mut client) = self.resume(address) else { return };
        while self.take(&mut client).is_some() {}
    }

    /// Takes what comes until the last message of each room and of the plain topic is there.
    pub(super) fn listen_to_the_end(&mut self, address: SocketAddr, last: &str) {
        let mut client = self.resume(address).expect("the broker runs");
        let is_last = |publish: &&Publish| publish.text() == last || publish.topic == "plain/checker";
        while self.taken.iter().rev().filter(is_last).count() < 3 {
            self.take(&mut client).expect("the broker runs");
        }
        // Handshakes that are not complete go on; no message may come.
        let count = self.taken.len();
        client.send(&packet::frame(packet::PINGREQ, &[]));
        while let Some(bytes) = self.take_packet(&mut client) {
            client.send(&bytes);
        }
        assert_eq!(self.taken.len(), count, "{}: {:?} after the end", self.name, &self.taken[count..]);
    }

    fn resume(&mut self, address: SocketAddr) -> Option<RawClient> {
        let (client, is_present) = connect(address, &Connect::lasting(V5, self.name))?;
        assert!(is_present, "the session of {} is lost", self.name);
        Some(client)
    }

    /// Takes one packet; `None` when the broker is gone.
    fn take(&mut self, client: &mut RawClient) -> Option<()> {
        match self.take_packet(client) {
            Some(bytes) => client.try_send(&bytes).ok(),
            None => None,
        }
    }

    /// Takes one packet and gives its answer; `None` when the broker is gone, or has answered a ping.
    fn take_packet(&mut self, client: &mut RawClient) -> Option<Vec<u8>> {
        let bytes = match client.read_within(LIMIT) {
            Read::Packet(Packet::Publish(publish)) => self.take_message(publish),
            Read::Packet(Packet::Ack(Ack { kind: packet::PUBREL, id, .. })) => {
                self.unreleased.remove(&id);
                packet::ack(packet::PUBCOMP, id)
            }
            Read::Closed | Read::Packet(Packet::PingResp) => return None,
            other => panic!("{} expected a message, got {other:?}", self.name),
        };
        Some(bytes)
    }

    /// The answer to a message.
    fn take_message(&mut self, publish: Publish) -> Vec<u8> {
        let id = publish.id.expect("QoS 1 or 2");
        if publish.qos == 1 {
            self.taken.push(publish);
            return packet::ack(packet::PUBACK, id);
        }
        if self.unreleased.insert(id) {
            self.taken.push(publish);
        } else {
            assert!(publish.dup, "{}: identifier {id} is in use: {publish:?}", self.name);
        }
        packet::ack(packet::PUBREC, id)
    }
}
