//! What one shard asks of the store: the operations of a tick gathered into one commit, and those who wait for it.
//!
//! Invariant: a waiter is let go only when [`Journal::durable`] has reached the commit that holds its operations.

use crate::{
    acks::Outcome,
    crossing::{Mark, Reply},
    io::{ConnId, Output, ShardId},
    mutant::Mutant,
};
use katydid_mqtt::{packet::PacketId, reason::ReasonCode};
use katydid_store::Op;
use std::collections::VecDeque;

/// Who is told when a commit is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A publisher.
    Publish(Reply, Outcome),
    /// A part of a publish, at its home.
    Part(ShardId, u64),
    /// A SUBSCRIBE or UNSUBSCRIBE.
    Subscribe(u64),
    /// The oldest lease that was asked for.
    Lease,
    /// A QoS 2 message to a session on a connection: it may be sent.
    Outbound(u32, ConnId, PacketId),
    /// The same message was received: it may be released.
    Release(u32, ConnId, PacketId),
    /// What was in flight to a session that is back on this connection: it may be sent again.
    Resume(u32, ConnId),
    /// A page of a session's queue: the session's index and identifier, and its first number.
    Page(u32, u64, u64),
    /// A QoS 2 message that several shards stored, by a bit a shard, is marked as received.
    Marked(Mark, u64),
    /// A CONNECT that took something off the disk: it may be answered.
    Enter(ConnId),
    /// The answer of the directory under this key.
    Answer(u64),
    /// Everybody on this shard whom an eviction names is out.
    Evicted(u64),
    /// What an erasure has done so far.
    Swept,
    /// An inbound QoS 2 message: its PUBCOMP may be sent.
    Complete(ConnId, PacketId, ReasonCode),
}

/// The gathered operations and the waiters.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    ops: Vec<Op>,
    pushed: u64,
    bytes: usize,
    /// Number of the last commit handed out.
    handed: u64,
    durable: u64,
    waiters: VecDeque<(u64, Waiter)>,
    /// Bytes of each commit handed out and not yet durable.
    in_flight: VecDeque<(u64, usize)>,
    in_flight_bytes: usize,
    urgent: bool,
    /// Nothing is ever stored.
    off: bool,
}

impl Journal {
    pub(crate) fn new(persistence: bool) -> Self {
        Self { off: !persistence, ..Self::default() }
    }

    /// How many operations there ever were: unchanged when something had nothing to store.
    pub(crate) fn pushed(&self) -> u64 {
        self.pushed
    }

    pub(crate) fn is_on(&self) -> bool {
        !self.off
    }

    /// Adds an operation to the commit of this tick.
    pub(crate) fn push(&mut self, op: Op) {
        if self.off {
            return;
        }
        self.bytes += match &op {
            Op::Append { entry, .. } => entry.bytes.len() + 32,
            Op::Put { key, value, .. } => key.len() + value.len() + 16,
            Op::Amend { bytes, .. } => bytes.len() + 32,
            Op::Trim { .. } | Op::DropLog { .. } | Op::Delete { .. } => 32,
        };
        self.pushed += 1;
        self.ops.push(op);
    }

    /// Registers a waiter for everything pushed so far; `false` when there is nothing to wait for.
    pub(crate) fn wait(&mut self, waiter: Waiter) -> bool {
        let is_early = match waiter {
            Waiter::Publish(..) => Mutant::AckBeforeSync.is_on(),
            Waiter::Subscribe(_) => Mutant::SubscribeBeforeSync.is_on(),
            _ => false,
        };
        if self.off || is_early {
            return false;
        }
        let number = if self.ops.is_empty() { self.handed } else { self.handed + 1 };
        if number <= self.durable {
            return false;
        }
        self.urgent = true;
        self.waiters.push_back((number, waiter));
        true
    }

    /// Number that the operations pushed now will be committed under.
    pub(crate) fn pending_number(&self) -> u64 {
        self.handed + 1
    }

    pub(crate) fn durable(&self) -> u64 {
        if self.off { u64::MAX } else { self.durable }
    }

    /// Whether so much waits for the disk that publishers have to wait.
    pub(crate) fn is_congested(&self) -> bool {
        self.in_flight_bytes + self.bytes > CONGESTED_BYTES
    }

    /// The commit of this tick, if there is anything in it.
    pub(crate) fn take_commit(&mut self) -> Option<Output> {
        if self.ops.is_empty() {
            return None;
        }
        self.handed += 1;
        self.in_flight.push_back((self.handed, self.bytes));
        self.in_flight_bytes += self.bytes;
        self.bytes = 0;
        let urgent = std::mem::take(&mut self.urgent);
        Some(Output::Commit { number: self.handed, ops: std::mem::take(&mut self.ops), urgent })
    }

    /// Notes that every commit up to `number` is on disk.
    pub(crate) fn set_durable(&mut self, number: u64) {
        self.durable = self.durable.max(number);
        while let Some((_, bytes)) = self.in_flight.pop_front_if(|(committed, _)| *committed <= number) {
            self.in_flight_bytes -= bytes;
        }
    }

    /// The next waiter whose commit is on disk, in the order they came.
    pub(crate) fn next_ready(&mut self) -> Option<Waiter> {
        let durable = self.durable;
        self.waiters.pop_front_if(|(number, _)| *number <= durable).map(|(_, waiter)| waiter)
    }
}

/// How much may wait for the disk before publishers are held back, a shard.
const CONGESTED_BYTES: usize = 64 << 20;
