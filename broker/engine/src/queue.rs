//! What waits for one session: messages of plain topics that its client could not take yet.
//!
//! The front of the queue is in memory. A persistent session's queue is also a log in the store; when the part in
//! memory has grown to its budget, what follows stays on disk only and is paged in later. Numbers of the log grow by
//! one a message, so everything below the first number still needed can be trimmed.

use crate::{message::Shared, session::Ids};
use katydid_mqtt::packet::QoS;
use std::collections::VecDeque;

/// One waiting message.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub(crate) message: Shared,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) ids: Ids,
    /// Its number in the session's log; 0 where it is in memory only.
    pub(crate) seq: u64,
}

/// The queue of a session.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: VecDeque<Queued>,
    bytes: usize,
    /// Messages of QoS 0 among those in memory.
    once: usize,
    /// Number of the next message that is stored.
    pub(crate) next_seq: u64,
    /// First number that is on disk only, where the disk is ahead of memory.
    disk_from: Option<u64>,
    /// Bytes and messages that are on disk only.
    disk_bytes: usize,
    /// Whether a page has been asked for.
    pub(crate) is_reading: bool,
    /// What waits was there when the client connected: until half of the budget is free again, it is not to blame for a
    /// full queue.
    pub(crate) catches_up: bool,
    /// QoS 2 messages below this were given packet identifiers before a restart.
    pub(crate) sent_below: u64,
    /// The log has been trimmed below this.
    pub(crate) trimmed: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            once: 0,
            next_seq: 1,
            disk_from: None,
            disk_bytes: 0,
            is_reading: false,
            catches_up: false,
            sent_below: 0,
            trimmed: 1,
        }
    }
}

/// Bytes of a persistent session's queue that stay in memory.
pub(crate) const MEMORY_BYTES: usize = 1 << 20;

impl Queue {
    /// The queue of a session whose log holds the numbers from `first` to below `next`.
    pub(crate) fn restored(first: u64, next: u64, bytes: usize) -> Self {
        let disk_from = (first < next).then_some(first);
        Self { next_seq: next, disk_from, disk_bytes: bytes, trimmed: first, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.disk_from.is_none()
    }

    /// Messages that wait, on disk or in memory.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.disk_from.map_or(0, |from| (self.next_seq - from) as usize)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.disk_bytes
    }

    /// Adds a message at the end. One that is stored stays on disk only when memory is full.
    pub(crate) fn push(&mut self, queued: Queued) {
        let weight = queued.message.weight();
        if queued.seq > 0 && (self.disk_from.is_some() || self.bytes + weight > MEMORY_BYTES) {
            self.disk_from.get_or_insert(queued.seq);
            self.disk_bytes += weight;
            return;
        }
        self.bytes += weight;
        self.once += usize::from(queued.qos == QoS::AtMostOnce);
        self.waiting.push_back(queued);
    }

    /// Whether a message of QoS 0 waits, which the next one must not overtake `[MQTT-4.6.0-6]`.
    pub(crate) fn has_once(&self) -> bool {
        self.once > 0
    }

    pub(crate) fn front(&self) -> Option<&Queued> {
        self.waiting.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Queued> {
        let queued = self.waiting.pop_front()?;
        self.bytes -= queued.message.weight();
        self.once -= usize::from(queued.qos == QoS::AtMostOnce);
        if self.waiting.is_empty() && self.waiting.capacity() > 64 {
            self.waiting = VecDeque::new();
        }
        Some(queued)
    }

    /// The first number to page in, when memory has run empty.
    pub(crate) fn wants_page(&self) -> Option<u64> {
        if self.waiting.len() > 64 || self.is_reading { None } else { self.disk_from }
    }

    /// Takes what of a page still has to be sent, and the last number that was read; without one nothing is left on
    /// disk.
    pub(crate) fn page_in(&mut self, page: Vec<Queued>, last: Option<u64>) {
        self.is_reading = false;
        let Some(last) = last else {
            self.disk_from = None;
            self.disk_bytes = 0;
            return;
        };
        for queued in page {
            let weight = queued.message.weight();
            self.disk_bytes = self.disk_bytes.saturating_sub(weight);
            self.bytes += weight;
            self.waiting.push_back(queued);
        }
        self.disk_from = (last + 1 < self.next_seq).then_some(last + 1);
        if self.disk_from.is_none() {
            self.disk_bytes = 0;
        }
    }

    /// Drops the oldest message that waits; `false` when there is none, or it is being read.
    pub(crate) fn drop_oldest(&mut self) -> bool {
        if self.pop().is_some() {
            return true;
        }
        let Some(from) = self.disk_from.filter(|_| !self.is_reading) else { return false };
        // Nobody has read what it weighs, so the average stands for it.
        let left = (self.next_seq - from) as usize - 1;
        self.disk_bytes -= self.disk_bytes / (left + 1);
        self.disk_from = (left > 0).then_some(from + 1);
        true
    }

    /// The first number that is still needed by what waits.
    pub(crate) fn first_needed(&self) -> u64 {
        let waiting = self.waiting.iter().find(|queued| queued.seq > 0).map(|queued| queued.seq);
        waiting.or(self.disk_from).unwrap_or(self.next_seq)
    }
}
