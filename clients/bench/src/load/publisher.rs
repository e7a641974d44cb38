//! One publisher: what it has sent and what is not acknowledged yet.
//!
//! Owns: sequence numbers, packet identifiers and the in-flight window of one connection. Never knows why
//! a message is sent. Invariant: a packet identifier in flight is not used again [MQTT-2.2.1-3]. Driven by
//! a load: [`Publisher::publish`], and [`Publisher::acknowledge`] from its handler.

use crate::connection::Network;
use crate::wire::{PublishTemplate, Stamp};
use std::collections::VecDeque;

/// Packet identifiers, used in turn: 1 to 65,535.
const PACKET_IDS: u32 = 65_535;
/// Messages in flight at most, whatever the broker takes: those in flight are looked through.
const IN_FLIGHT: usize = 10_000;
/// Bytes that may wait for the socket before nothing more is appended.
const UNSENT_BYTES: usize = 1 << 20;

/// One publisher on its connection.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// The connection's number.
    pub(crate) connection: usize,
    /// Whether the connection is there.
    pub(crate) alive: bool,
    run: u32,
    number: u32,
    template: PublishTemplate,
    qos: u8,
    sequence: u32,
    /// Sequence numbers in flight with the time when each was sent, oldest first.
    in_flight: VecDeque<(u32, u64)>,
    in_flight_limit: usize,
}

impl Publisher {
    /// Publisher `number` of a run, which keeps at most `window` messages in flight, fewer if the broker
    /// asked for fewer.
    pub(crate) fn new(
        network: &Network,
        connection: usize,
        run: u32,
        number: u32,
        template: PublishTemplate,
        qos: u8,
        window: usize,
    ) -> Self {
        let in_flight_limit = window.min(usize::from(network.receive_maximum(connection))).min(IN_FLIGHT);
        Self {
            connection,
            alive: true,
            run,
            number,
            template,
            qos,
            sequence: 0,
            in_flight: VecDeque::new(),
            in_flight_limit,
        }
    }

    /// Messages sent so far.
    pub(crate) fn sent(&self) -> u32 {
        self.sequence
    }

    /// Messages not acknowledged yet.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether a message may be sent now.
    #[inline]
    pub(crate) fn can_publish(&self, network: &Network) -> bool {
        let oldest = self.in_flight.front().map_or(self.sequence, |&(oldest, _)| oldest);
        self.alive
            && (self.qos == 0 || self.in_flight.len() < self.in_flight_limit)
            && self.sequence - oldest < PACKET_IDS
            && network.unsent_bytes(self.connection) < UNSENT_BYTES
    }

    /// Appends the next message to the connection's output.
    #[inline]
    pub(crate) fn publish(&mut self, network: &mut Network, due_ns: u64, now_ns: u64) {
        if self.qos > 0 {
            self.in_flight.push_back((self.sequence, now_ns));
        }
        let stamp = Stamp { run: self.run, publisher: self.number, sequence: self.sequence, due_ns };
        self.template.write(packet_id(self.sequence), stamp, network.outgoing(self.connection));
        self.sequence += 1;
    }

    /// A message is done. Returns when it was sent; none when nothing of that identifier was in flight.
    #[inline]
    pub(crate) fn acknowledge(&mut self, packet_id: u16) -> Option<u64> {
        let at = self.in_flight.iter().position(|&(sequence, _)| self::packet_id(sequence) == packet_id)?;
        self.in_flight.remove(at).map(|(_, sent_ns)| sent_ns)
    }

    /// The connection is gone.
    pub(crate) fn lose(&mut self) {
        self.alive = false;
        self.in_flight.clear();
    }
}

/// The packet identifier of a message.
#[inline]
fn packet_id(sequence: u32) -> u16 {
    (sequence % PACKET_IDS + 1) as u16
}
