//! What the store holds in memory: each log's figures and tail, and the records that a checkpoint has not written yet.
//!
//! It knows no disk. A log's entries below `stored` are in the history, the others in its tail. Driven by the thread that
//! commits: [`State::apply`] after the commit's sync, so that readers see what is durable and nothing else. Invariant: the
//! figures are those of the kept entries in history and tail together, and replaying the journal from any checkpoint, a
//! half-done one included, leads to the same state.
//!
//! ```text
//!            Append                 DropLog                    checkpoint
//!  unknown ---------> alive ----------------------> dropped --------------> unknown
//!                       ^  |   (never on disk: unknown)  |
//!                       |  +-- Append, Trim, Amend       | Append
//!                       +--------------------------------+
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;

use super::history::{Cut, Span};
use super::journal::CommitNo;
use crate::{Entry, Keep, LogId, LogStats, Op, Seq, Space, StoreError, number_after};

/// A record's name.
pub(super) type RecordKey = (Space, Bytes);

/// Records that were put (`Some`) or deleted (`None`).
pub(super) type Changes = BTreeMap<RecordKey, Option<Bytes>>;

/// What a trim has to forget so that a log keeps no more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// Nothing.
    None,
    /// Everything below.
    Below(Seq),
    /// A part of the history, or all of it: then everything below `tail`.
    InHistory {
        /// The log's figures.
        stats: LogStats,
        /// What follows the history.
        tail: Seq,
    },
}

/// Everything that a commit changes and a read asks.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) logs: HashMap<LogId, LogState, foldhash::fast::RandomState>,
    /// Logs that changed since the running or the last checkpoint took its list.
    pub(super) dirty: Vec<LogId>,
    /// Records that changed since then.
    pub(super) changes: Changes,
    /// Records that the running checkpoint has yet to write; `changes` goes before them.
    pub(super) leaving: Changes,
}

/// One log.
#[derive(Debug, Default)]
pub(super) struct LogState {
    pub(super) stats: LogStats,
    /// Entries from `stored` on that are kept.
    pub(super) tail: VecDeque<Entry>,
    pub(super) tail_bytes: u64,
    /// Entries below it are in the history.
    pub(super) stored: Seq,
    /// Where the first chunk begins that may have to be removed when the log is trimmed; `None` without chunks.
    pub(super) oldest_chunk: Option<Seq>,
    /// Where the last chunk begins, and how many bytes it has: a small one is written again with what follows.
    pub(super) open_chunk: Option<(Seq, usize)>,
    /// Chunks that begin here or behind are left over from a crash or from before the log was dropped.
    pub(super) stale_from: Option<Seq>,
    /// The last commit that the log's head on disk includes.
    pub(super) as_of: CommitNo,
    pub(super) is_alive: bool,
    /// Whether something of it is on disk outside the journal.
    pub(super) is_on_disk: bool,
    pub(super) is_dirty: bool,
    /// Changes when entries vanish from the history or change there, so that a reader notices.
    pub(super) generation: u64,
}

impl LogState {
    /// The kept entries that are in the history.
    pub(super) fn span(&self, log: LogId) -> Span {
        Span { log, from: self.stats.first, to: self.stored }
    }

    /// Where a trim to `keep` ends, as far as memory knows.
    pub(super) fn excess(&self, keep: Keep) -> Excess {
        let LogStats { entries, bytes, first_time_ms, next, .. } = self.stats;
        if !keep.is_exceeded(entries, bytes, first_time_ms) {
            return Excess::None;
        }
        let (mut entries, mut bytes) = (self.tail.len() as u64, self.tail_bytes);
        let mut below = self.tail.front().map_or(next, |first| first.seq);
        for (index, entry) in self.tail.iter().enumerate() {
            if !keep.is_exceeded(entries, bytes, entry.time_ms) {
                break;
            }
            (entries, bytes) = (entries - 1, bytes - entry.bytes.len() as u64);
            below = self.tail.get(index + 1).map_or(next, |entry| entry.seq);
        }
        if entries < self.tail.len() as u64 || self.stats.entries == entries {
            return Excess::Below(below);
        }
        Excess::InHistory { stats: self.stats, tail: below }
    }

    fn append(&mut self, log: LogId, entry: Entry) -> Result<(), StoreError> {
        self.stats.next = number_after(log, self.stats.next, entry.seq)?;
        if self.stats.entries == 0 {
            (self.stats.first, self.stats.first_time_ms) = (entry.seq, entry.time_ms);
        }
        let bytes = entry.bytes.len() as u64;
        self.stats.entries += 1;
        self.stats.bytes += bytes;
        self.stats.last_time_ms = entry.time_ms;
        self.tail_bytes += bytes;
        self.tail.push_back(entry);
        Ok(())
    }

    /// Forgets the entries below `below`; `cut` is what that takes from the history, where it takes a part of it.
    fn trim(&mut self, below: Seq, cut: Option<Cut>) {
        if below <= self.stats.first {
            return;
        }
        let stored_entries = self.stats.entries - self.tail.len() as u64;
        if stored_entries > 0 {
            let all =
                Cut { entries: stored_entries, bytes: self.stats.bytes - self.tail_bytes, first_kept: None };
            let cut = cut.unwrap_or(all);
            self.stats.entries -= cut.entries;
            self.stats.bytes -= cut.bytes;
            self.generation += 1;
            if let Some((first, time_ms)) = cut.first_kept {
                (self.stats.first, self.stats.first_time_ms) = (first, time_ms);
                return;
            }
        }
        while let Some(entry) = self.tail.front().filter(|entry| entry.seq < below) {
            let bytes = entry.bytes.len() as u64;
            self.stats.entries -= 1;
            self.stats.bytes -= bytes;
            self.tail_bytes -= bytes;
            self.tail.pop_front();
        }
        let first = self.tail.front().map(|entry| (entry.seq, entry.time_ms));
        (self.stats.first, self.stats.first_time_ms) =
            first.unwrap_or((self.stats.next, self.stats.last_time_ms));
    }

    /// Replaces the content of an entry; `old_bytes` is how long it was, where the entry is in the history, which has the
    /// new content already.
    fn amend(&mut self, seq: Seq, bytes: Bytes, old_bytes: u64) {
        if seq < self.stats.first {
            return;
        }
        let new_bytes = bytes.len() as u64;
        if seq < self.stored {
            self.stats.bytes = (self.stats.bytes + new_bytes).saturating_sub(old_bytes);
            self.generation += 1;
        } else if let Ok(index) = self.tail.binary_search_by_key(&seq, |entry| entry.seq) {
            let content = &mut self.tail[index].bytes;
            let old_bytes = content.len() as u64;
            self.stats.bytes = self.stats.bytes - old_bytes + new_bytes;
            self.tail_bytes = self.tail_bytes - old_bytes + new_bytes;
            *content = bytes;
        }
    }

    fn drop_entries(&mut self) {
        let generation = self.generation + 1;
        let (is_on_disk, is_dirty) = (self.is_on_disk, self.is_dirty);
        let stale_from = is_on_disk.then_some(0);
        *self = Self { generation, is_on_disk, is_dirty, stale_from, ..Self::default() };
    }

    /// Takes the entries below `stored` off the tail: they are in the history now.
    pub(super) fn leave_tail(&mut self, stored: Seq) {
        while let Some(entry) = self.tail.front().filter(|entry| entry.seq < stored) {
            self.tail_bytes -= entry.bytes.len() as u64;
            self.tail.pop_front();
        }
        if self.tail.capacity() > 4 * self.tail.len() {
            self.tail.shrink_to_fit();
        }
        self.stored = stored;
    }
}

impl State {
    /// The log, where it is known to callers.
    pub(super) fn alive(&self, log: LogId) -> Option<&LogState> {
        self.logs.get(&log).filter(|state| state.is_alive)
    }

    /// About what the logs take on disk at least.
    pub(super) fn live_bytes(&self) -> u64 {
        self.logs.values().map(|log| log.stats.bytes + 8 * log.stats.entries + 128).sum()
    }

    /// Applies one operation of commit `commit`; `cut` is what a trim or an amendment takes from the history.
    pub(super) fn apply(&mut self, commit: CommitNo, op: Op, cut: Option<Cut>) -> Result<(), StoreError> {
        let log = match op {
            Op::Append { log, entry } => {
                let state = self.logs.entry(log).or_default();
                if commit <= state.as_of {
                    return Ok(());
                }
                state.is_alive = true;
                state.append(log, entry)?;
                log
            }
            Op::Trim { log, below } => {
                let Some(state) =
                    self.logs.get_mut(&log).filter(|state| state.is_alive && commit > state.as_of)
                else {
                    return Ok(());
                };
                state.trim(below, cut);
                log
            }
            Op::DropLog { log } => {
                let Some(state) =
                    self.logs.get_mut(&log).filter(|state| state.is_alive && commit > state.as_of)
                else {
                    return Ok(());
                };
                state.drop_entries();
                if !state.is_on_disk && !state.is_dirty {
                    self.logs.remove(&log);
                    return Ok(());
                }
                log
            }
            Op::Amend { log, seq, bytes } => {
                let Some(state) =
                    self.logs.get_mut(&log).filter(|state| state.is_alive && commit > state.as_of)
                else {
                    return Ok(());
                };
                state.amend(seq, bytes, cut.map_or(0, |cut| cut.bytes));
                log
            }
            Op::Put { space, key, value } => {
                self.changes.insert((space, key), Some(value));
                return Ok(());
            }
            Op::Delete { space, key } => {
                self.changes.insert((space, key), None);
                return Ok(());
            }
        };
        self.note_change(log);
        Ok(())
    }

    /// Has the next checkpoint remove what an interrupted one may have written of `log` behind its head.
    pub(super) fn expect_leftovers(&mut self, log: LogId) {
        let state = self.logs.entry(log).or_default();
        if state.stale_from.is_none() {
            state.stale_from = Some(state.stored);
            state.is_on_disk = true;
            self.note_change(log);
        }
    }

    fn note_change(&mut self, log: LogId) {
        if let Some(state) = self.logs.get_mut(&log).filter(|state| !state.is_dirty) {
            state.is_dirty = true;
            self.dirty.push(log);
        }
    }
}
