//! The store without a disk: ordered maps behind one lock.
//!
//! It is the model of what [`crate::SledStore`] does, and the disk of simulated crashes: what is committed is there for
//! whoever holds the same `Arc` after the crash, and nothing else is. Invariant: after each commit the maps are what the
//! operations say one by one; a failed commit changes nothing and is the last one.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::{
    Allowance, Cursor, Entry, Keep, Limit, LogId, LogStats, Op, Page, Seq, Space, Store, StoreError,
    number_after,
};

/// Logs and records in memory; lost with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    maps: Mutex<Maps>,
}

#[derive(Debug, Default)]
struct Maps {
    logs: BTreeMap<LogId, Log>,
    records: BTreeMap<(Space, Bytes), Bytes>,
    is_failed: bool,
}

#[derive(Debug, Default)]
struct Log {
    entries: VecDeque<Entry>,
    bytes: u64,
    next: Seq,
    last_time_ms: u64,
}

impl Log {
    fn stats(&self) -> LogStats {
        let first = self.entries.front();
        LogStats {
            first: first.map_or(self.next, |entry| entry.seq),
            next: self.next,
            entries: self.entries.len() as u64,
            bytes: self.bytes,
            first_time_ms: first.map_or(self.last_time_ms, |entry| entry.time_ms),
            last_time_ms: self.last_time_ms,
        }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn maps(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maps {
    /// Refuses the whole commit before any of it is applied.
    fn check(&self, ops: &[Op]) -> Result<(), StoreError> {
        let mut next_of = BTreeMap::new();
        for op in ops {
            match op {
                Op::Append { log, entry } => {
                    let known = self.logs.get(log).map_or(0, |known| known.next);
                    let next = next_of.entry(*log).or_insert(known);
                    *next = number_after(*log, *next, entry.seq)?;
                }
                Op::DropLog { log } => {
                    next_of.insert(*log, 0);
                }
                Op::Trim { .. } | Op::Amend { .. } | Op::Put { .. } | Op::Delete { .. } => {}
            }
        }
        Ok(())
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Append { log, entry } => {
                let log = self.logs.entry(log).or_default();
                log.next = entry.seq + 1;
                log.last_time_ms = entry.time_ms;
                log.bytes += entry.bytes.len() as u64;
                log.entries.push_back(entry);
            }
            Op::Trim { log, below } => {
                if let Some(log) = self.logs.get_mut(&log) {
                    let kept_from = log.entries.partition_point(|entry| entry.seq < below);
                    let forgotten = log.entries.drain(..kept_from);
                    log.bytes -= forgotten.map(|entry| entry.bytes.len() as u64).sum::<u64>();
                }
            }
            Op::DropLog { log } => {
                self.logs.remove(&log);
            }
            Op::Amend { log, seq, bytes } => {
                let Some(log) = self.logs.get_mut(&log) else { return };
                let Ok(index) = log.entries.binary_search_by_key(&seq, |entry| entry.seq) else { return };
                let content = &mut log.entries[index].bytes;
                log.bytes = log.bytes - content.len() as u64 + bytes.len() as u64;
                *content = bytes;
            }
            Op::Put { space, key, value } => {
                self.records.insert((space, key), value);
            }
            Op::Delete { space, key } => {
                self.records.remove(&(space, key));
            }
        }
    }
}

impl Store for MemoryStore {
    fn commit(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        let mut maps = self.maps();
        if maps.is_failed {
            return Err(StoreError::Failed);
        }
        if let Err(error) = maps.check(&ops) {
            maps.is_failed = true;
            return Err(error);
        }
        for op in ops {
            maps.apply(op);
        }
        Ok(())
    }

    fn read(&self, log: LogId, from: Seq, limit: Limit) -> Result<Vec<Entry>, StoreError> {
        let maps = self.maps();
        let Some(log) = maps.logs.get(&log) else { return Ok(Vec::new()) };
        let start = log.entries.partition_point(|entry| entry.seq < from);
        let mut allowance = Allowance::new(limit);
        Ok(log
            .entries
            .range(start..)
            .take_while(|entry| allowance.take(entry.bytes.len()))
            .cloned()
            .collect())
    }

    fn read_back(&self, log: LogId, before: Seq, limit: Limit) -> Result<Vec<Entry>, StoreError> {
        let maps = self.maps();
        let Some(log) = maps.logs.get(&log) else { return Ok(Vec::new()) };
        let end = log.entries.partition_point(|entry| entry.seq < before);
        let mut allowance = Allowance::new(limit);
        let newest_first = log.entries.range(..end).rev();
        let mut found: Vec<Entry> =
            newest_first.take_while(|entry| allowance.take(entry.bytes.len())).cloned().collect();
        found.reverse();
        Ok(found)
    }

    fn seek_time(&self, log: LogId, time_ms: u64) -> Result<Option<Seq>, StoreError> {
        let maps = self.maps();
        let Some(log) = maps.logs.get(&log) else { return Ok(None) };
        let index = log.entries.partition_point(|entry| entry.time_ms < time_ms);
        Ok(log.entries.get(index).map(|entry| entry.seq))
    }

    fn stats(&self, log: LogId) -> Result<Option<LogStats>, StoreError> {
        Ok(self.maps().logs.get(&log).map(Log::stats))
    }

    fn logs(&self) -> Result<Vec<(LogId, LogStats)>, StoreError> {
        Ok(self.maps().logs.iter().map(|(id, log)| (*id, log.stats())).collect())
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.maps().records.get(&(space, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan(&self, space: Space) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let maps = self.maps();
        let of_space =
            maps.records.range((space, Bytes::new())..).take_while(|((found, _), _)| *found == space);
        Ok(of_space.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn excess(&self, log: LogId, keep: Keep) -> Result<Option<Seq>, StoreError> {
        let maps = self.maps();
        let Some(log) = maps.logs.get(&log) else { return Ok(None) };
        let (mut entries, mut bytes) = (log.entries.len() as u64, log.bytes);
        let mut below = None;
        for (index, entry) in log.entries.iter().enumerate() {
            if !keep.is_exceeded(entries, bytes, entry.time_ms) {
                break;
            }
            (entries, bytes) = (entries - 1, bytes - entry.bytes.len() as u64);
            below = Some(log.entries.get(index + 1).map_or(log.next, |entry| entry.seq));
        }
        Ok(below)
    }

    fn page(&self, space: Space, cursor: &Cursor, limit: Limit) -> Result<Page, StoreError> {
        let maps = self.maps();
        let from = match &cursor.after {
            Some(key) => Bound::Excluded((space, key.clone())),
            None => Bound::Included((space, Bytes::new())),
        };
        let mut of_space = maps
            .records
            .range((from, Bound::Unbounded))
            .take_while(|((found, _), _)| *found == space)
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .peekable();
        let mut allowance = Allowance::new(limit);
        let mut page = Page::default();
        while let Some(record) = of_space.next_if(|(key, value)| allowance.take(key.len() + value.len())) {
            page.records.push(record);
        }
        if of_space.peek().is_some() {
            let after = page.records.last().map(|(key, _)| key.clone());
            page.next = Some(Cursor { after, ..Cursor::default() });
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests;
