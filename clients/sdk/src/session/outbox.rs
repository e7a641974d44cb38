//! Publishes that wait to be sent or to be acknowledged, in the order in which they were asked for.
//!
//! Invariant: what was sent on this connection comes first and has a packet id, what was not follows. After a lost
//! connection everything that may be sent again is unsent again, in the same order.

use super::command::{Done, Permit, Publication};
use crate::{Ack, Refusal};
use std::collections::VecDeque;

/// How often a message is sent on connections that the broker then closes for breaking its rules.
const ATTEMPTS_MAX: u8 = 3;

#[derive(Debug)]
pub(super) enum Item {
    /// A message.
    Message(Box<Publication>, Done<Ack>),
    /// The request with this number.
    Call(u64),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) item: Item,
    packet_id: u16,
    attempts: u8,
    _permit: Permit,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    entries: VecDeque<Entry>,
    sent: usize,
}

impl Outbox {
    pub(super) fn push(&mut self, item: Item, permit: Permit) {
        self.entries.push_back(Entry { item, packet_id: 0, attempts: 0, _permit: permit });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The next that is to be sent.
    pub(super) fn next(&self) -> Option<&Item> {
        self.entries.get(self.sent).map(|entry| &entry.item)
    }

    /// The next was sent under this packet id.
    pub(super) fn sent(&mut self, packet_id: u16) {
        if let Some(entry) = self.entries.get_mut(self.sent) {
            entry.packet_id = packet_id;
            entry.attempts = entry.attempts.saturating_add(1);
            self.sent += 1;
        }
    }

    /// Takes out the next, which is not to be sent.
    pub(super) fn take_next(&mut self) -> Option<Item> {
        self.entries.remove(self.sent).map(|entry| entry.item)
    }

    /// Takes out what was acknowledged.
    pub(super) fn acknowledged(&mut self, packet_id: u16) -> Option<Item> {
        let at = self.entries.iter().take(self.sent).position(|entry| entry.packet_id == packet_id)?;
        self.sent -= 1;
        self.entries.remove(at).map(|entry| entry.item)
    }

    /// The connection is lost: messages will be sent again, requests may have been carried out and are taken out.
    /// A message that the broker closes the connection over again and again is refused.
    pub(super) fn lost(&mut self, is_our_fault: bool) {
        let sent = std::mem::take(&mut self.sent);
        let rest = self.entries.split_off(sent);
        let again = std::mem::take(&mut self.entries);
        for mut entry in again {
            entry.packet_id = 0;
            let Item::Message(..) = entry.item else { continue };
            if is_our_fault && entry.attempts >= ATTEMPTS_MAX {
                if let Item::Message(_, done) = entry.item {
                    let reason = "the broker closed the connection each time this was sent";
                    let _ = done.send(Err(Refusal::new(Refusal::INTERRUPTED, reason)));
                }
            } else {
                self.entries.push_back(entry);
            }
        }
        self.entries.extend(rest);
    }

    /// Refuses everything.
    pub(super) fn close(&mut self, refusal: &Refusal) {
        for entry in self.entries.drain(..) {
            if let Item::Message(_, done) = entry.item {
                let _ = done.send(Err(refusal.clone()));
            }
        }
        self.sent = 0;
    }
}
