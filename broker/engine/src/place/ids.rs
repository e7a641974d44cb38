//! Retry without doubles: the user property `id` makes a message that is sent again the same message.
//!
//! A home remembers who said what under which `id`: the newest 10,000 of the last day. After a restart, or when nobody
//! used one for a while, it reads them back from the log before it takes the next message that has one.

use super::home::Fetch;
use crate::{Engine, io::ReadQuery, message::Message};
use foldhash::fast::FixedState;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// How many `id`s a place remembers at most.
const IDS: usize = 10_000;
/// And for how long, in milliseconds.
const AGE_MS: u64 = 24 * 3600 * 1000;
/// Bytes of the log that are read for them at most.
const READ_BYTES: usize = 8 << 20;

/// Who said what under which `id`.
#[derive(Debug, Default)]
pub(crate) struct RecentIds {
    /// The log has been read.
    is_read: bool,
    /// By a digest of sender and `id`, with number and time.
    known: HashMap<u128, (u64, u64), FixedState>,
    order: VecDeque<(u128, u64)>,
}

impl RecentIds {
    fn insert(&mut self, key: u128, numbered: (u64, u64)) {
        if self.known.insert(key, numbered).is_none() {
            self.order.push_back((key, numbered.1));
        }
        let oldest_ms = numbered.1.saturating_sub(AGE_MS);
        while self.order.len() > IDS || self.order.front().is_some_and(|(_, time_ms)| *time_ms < oldest_ms) {
            if let Some((key, _)) = self.order.pop_front() {
                self.known.remove(&key);
            }
        }
    }
}

/// A digest of a sender and its `id`: two of FNV-1a, so that two that are the same by chance are never met.
fn key_of(from: &str, id: &str) -> u128 {
    let digest = |seed: u64| {
        let bytes = from.bytes().chain([0]).chain(id.bytes());
        bytes.fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    u128::from(digest(0xcbf2_9ce4_8422_2325)) << 64 | u128::from(digest(0x9e37_79b9_7f4a_7c15))
}

impl Engine {
    /// The number and time that a message has already, where it was said before under its `id`; `None` when that is
    /// not known yet.
    pub(super) fn is_repeated(
        &mut self,
        place: &str,
        from: &str,
        message: &Message,
    ) -> Option<Option<(u64, u64)>> {
        let Some(id) = message.user_property("id") else { return Some(None) };
        let key = key_of(from, id);
        let home = self.homes.get_mut(place)?;
        let has_history = home.first < home.next;
        match &mut home.ids {
            Some(ids) if ids.is_read => {
                let known = ids.known.get(&key).copied();
                if let Some(numbered) = known {
                    return Some(Some(numbered));
                }
                Some(None)
            }
            Some(_) => None,
            ids if !has_history => {
                *ids = Some(Box::new(RecentIds { is_read: true, ..RecentIds::default() }));
                Some(None)
            }
            ids => {
                *ids = Some(Box::default());
                let (log, name) = (home.log, home.name.clone());
                let query = ReadQuery::Back { before: u64::MAX, entries: IDS, bytes: READ_BYTES };
                self.fetch(log, query, Fetch::Ids { place: name });
                None
            }
        }
    }

    /// Remembers under which `id` the newest entry was said.
    pub(super) fn remember_id(&mut self, place: &str, from: &str, message: &Message) {
        let Some(id) = message.user_property("id") else { return };
        let Some(home) = self.homes.get_mut(place) else { return };
        let numbered = home.tail.back().map(|(entry, _)| (entry.seq, entry.time_ms));
        if let (Some(ids), Some(numbered)) = (&mut home.ids, numbered) {
            ids.insert(key_of(from, id), numbered);
        }
    }

    /// The newest entries of a place are here.
    pub(super) fn on_ids(&mut self, place: &Arc<str>, entries: &[katydid_store::Entry]) {
        let Some(home) = self.homes.get_mut(place) else { return };
        let mut ids = RecentIds { is_read: true, ..RecentIds::default() };
        let stored = entries.iter().filter_map(|entry| Message::from_disk(&entry.bytes));
        let recent = home.tail.iter().map(|(entry, _)| Message::clone(entry));
        for entry in stored.chain(recent) {
            let from = entry.topic().rsplit('/').next().unwrap_or_default();
            if let Some(id) = entry.user_property("id") {
                ids.insert(key_of(from, id), (entry.seq, entry.time_ms));
            }
        }
        home.ids = Some(Box::new(ids));
        self.release_held(place);
    }
}
