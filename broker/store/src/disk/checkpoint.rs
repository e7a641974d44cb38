//! Checkpoints: what the journal holds is put where it belongs, a little with each commit, and the journal starts over.
//!
//! A checkpoint begins when the journal has grown past its limit. It takes the list of what changed, and every commit
//! then does a share of the list that is in proportion to what it adds to the journal, before its own sync: so it costs
//! no sync and no thread of its own, no commit waits for a whole checkpoint, and the journal stays under about twice its
//! limit. At the end it writes the mark: the commits up to it are not needed any more.
//!
//! A log is settled by writing its whole tail into chunks, and then its head, which names the last commit it includes; a
//! replay skips the log's operations up to there. Records need no such number: their last operation wins. What was
//! appended and trimmed since the last checkpoint is in no tail, and so never reaches the history. Invariant: at any
//! moment, what is on disk outside the journal, with all commits above the mark replayed over it, is the state.

use std::collections::VecDeque;

use super::chunk::{self, ChunkReader};
use super::history::{History, Span};
use super::journal::CommitNo;
use super::records::Records;
use super::sizes::Sizes;
use super::state::{Changes, LogState, State};
use super::values::{self, Scratch, Values};
use super::{Held, exclusive, shared};
use crate::block::{Reader, put_varint};
use crate::{Entry, LogId, LogStats, Seq, StoreError};

/// Chunks removed in one step, so that no commit waits for a log of millions to be dropped.
const REMOVED_AT_ONCE: usize = 32;

/// What settling a log costs besides its entries, in bytes of work.
const LOG_COST: usize = 256;

/// What a record costs besides its bytes.
const RECORD_COST: usize = 64;

/// About what a head's item takes.
const HEAD_ITEM: usize = 80;

/// The trees that a checkpoint writes.
#[derive(Debug)]
pub(super) struct Trees {
    pub(super) history: History,
    pub(super) records: Records,
    pub(super) heads: Values,
    pub(super) sizes: Sizes,
}

/// A checkpoint that has begun.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// The last commit that it covers.
    pub(super) mark: CommitNo,
    logs: VecDeque<LogId>,
    work: usize,
    credit: usize,
}

/// Why a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// This commit's share is done, the checkpoint is not.
    More,
    /// Everything is written.
    Done,
}

impl Trees {
    /// Every tree that grows with what is kept, for a sweep.
    pub(super) fn all(&self) -> Vec<&sled::Tree> {
        [self.history.trees(), self.records.trees(), self.heads.trees()].concat()
    }
}

impl Checkpoint {
    /// Takes the list of what changed up to and including commit `mark`, the last one applied.
    pub(super) fn begin(mark: CommitNo, journal_bytes: usize, state: &mut State) -> Self {
        let logs = VecDeque::from(std::mem::take(&mut state.dirty));
        debug_assert!(state.leaving.is_empty(), "the last checkpoint has written its records");
        state.leaving = std::mem::take(&mut state.changes);
        let work = journal_bytes + logs.len() * LOG_COST + state.leaving.len() * RECORD_COST;
        Self { mark, logs, work, credit: 0 }
    }

    /// Adds a commit's share of the work to what is to be done: `part` of `whole`, which is half the journal's limit.
    pub(super) fn owe(&mut self, part: usize, whole: usize) {
        let share = self.work as u128 * part as u128 / whole.max(1) as u128;
        self.credit = self.credit.saturating_add(share as usize + 1);
    }

    /// Does what is owed.
    pub(super) fn step(
        &mut self,
        trees: &Trees,
        state: &Held,
        last_commit: CommitNo,
        scratch: &mut Scratch,
    ) -> Result<Progress, StoreError> {
        while self.credit > 0 {
            let cost = if let Some(log) = self.logs.pop_front() {
                let (progress, cost) = settle(log, trees, state, last_commit, scratch)?;
                if progress == Progress::More {
                    self.logs.push_front(log);
                }
                cost
            } else if let Some(cost) = write_record(trees, state, scratch)? {
                cost
            } else {
                return Ok(Progress::Done);
            };
            self.credit = self.credit.saturating_sub(cost);
        }
        Ok(Progress::More)
    }
}

/// Writes one of the records that are leaving memory; `None` where there is none left. The record stays visible in
/// memory until it is in its tree.
fn write_record(trees: &Trees, state: &Held, scratch: &mut Scratch) -> Result<Option<usize>, StoreError> {
    let first = shared(state).leaving.first_key_value().map(|(key, value)| (key.clone(), value.clone()));
    let Some(((space, key), value)) = first else { return Ok(None) };
    let written = trees.records.write(space, &key, value.as_deref(), scratch)?;
    exclusive(state).leaving.remove(&(space, key));
    Ok(Some(written + RECORD_COST))
}

/// What is known of a log while it is settled, taken so that no lock is held while sled works.
struct Settling {
    stats: LogStats,
    tail: Vec<Entry>,
    stored: Seq,
    oldest_chunk: Option<Seq>,
    open_chunk: Option<(Seq, usize)>,
    stale_from: Option<Seq>,
    is_alive: bool,
    is_on_disk: bool,
}

impl Settling {
    fn of(log: &LogState) -> Self {
        Self {
            stats: log.stats,
            tail: if log.stale_from.is_none() { log.tail.iter().cloned().collect() } else { Vec::new() },
            stored: log.stored,
            oldest_chunk: log.oldest_chunk,
            open_chunk: log.open_chunk,
            stale_from: log.stale_from,
            is_alive: log.is_alive,
            is_on_disk: log.is_on_disk,
        }
    }
}

/// Brings what is on disk of one log up to date, or a part of the way. Returns the work that it was.
pub(super) fn settle(
    log: LogId,
    trees: &Trees,
    state: &Held,
    last_commit: CommitNo,
    scratch: &mut Scratch,
) -> Result<(Progress, usize), StoreError> {
    let Some(mut found) = shared(state).logs.get(&log).map(Settling::of) else {
        return Ok((Progress::Done, RECORD_COST));
    };
    if let Some(from) = found.stale_from {
        let is_more = trees.history.remove_from(log, from, REMOVED_AT_ONCE, scratch)?;
        if !is_more && let Some(log) = exclusive(state).logs.get_mut(&log) {
            log.stale_from = None;
        }
        // The tail was not taken along: come again for it.
        return Ok((Progress::More, LOG_COST));
    }
    if !found.is_alive {
        if found.is_on_disk {
            trees.heads.remove(&head_key(log), HEAD_ITEM, scratch)?;
        }
        exclusive(state).logs.remove(&log);
        return Ok((Progress::Done, LOG_COST));
    }
    if found.stats.first >= found.stored {
        // What the history has of it is trimmed: nothing to merge with.
        found.open_chunk = None;
    }
    let written = write_tail(log, &mut found, trees, scratch)?;
    let head = Head {
        stats: found.stats,
        oldest_chunk: found.oldest_chunk,
        open_chunk: found.open_chunk,
        as_of: last_commit,
    };
    head.write(log, &trees.heads, scratch)?;
    // Only behind the head: a replay counts what a trim takes by the chunks that are there.
    let mut is_more = false;
    if let Some(oldest) = found.oldest_chunk.filter(|oldest| *oldest < found.stats.first) {
        let gone = Span { log, from: oldest, to: found.stats.first };
        (found.oldest_chunk, is_more) = trees.history.remove_below(gone, REMOVED_AT_ONCE, scratch)?;
    }
    if let Some(log) = exclusive(state).logs.get_mut(&log) {
        log.leave_tail(found.stats.next);
        (log.oldest_chunk, log.open_chunk) = (found.oldest_chunk, found.open_chunk);
        log.as_of = last_commit;
        log.is_on_disk = true;
        log.is_dirty = is_more;
    }
    Ok((if is_more { Progress::More } else { Progress::Done }, written + LOG_COST))
}

/// Writes the tail behind the last chunk: together with it, where that one is small.
fn write_tail(
    log: LogId,
    found: &mut Settling,
    trees: &Trees,
    scratch: &mut Scratch,
) -> Result<usize, StoreError> {
    if found.tail.is_empty() {
        return Ok(0);
    }
    let limit = trees.sizes.chunk;
    let mut entries = std::mem::take(&mut found.tail);
    if let Some((begin, bytes)) = found.open_chunk
        && bytes <= limit / 4
        && let Some(chunk) = trees.history.chunk(log, begin)?
    {
        entries = merged(chunk, found.stored, entries)?;
    }
    let mut written = 0;
    let mut rest = entries.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|entry| {
            bytes += chunk::packed_bytes(entry);
            bytes <= limit
        });
        let (now, later) = rest.split_at(fits.count().max(1));
        if let Some((summary, length)) = trees.history.write(log, now.iter(), scratch)? {
            found.open_chunk = Some((summary.first_seq, length));
            found.oldest_chunk.get_or_insert(summary.first_seq);
            written += length;
        }
        rest = later;
    }
    Ok(written)
}

/// The entries of a chunk that are part of the history, and the tail behind them.
fn merged(mut chunk: ChunkReader, stored: Seq, tail: Vec<Entry>) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::with_capacity(tail.len() + 64);
    while let Some(place) = chunk.next()? {
        if place.seq < stored {
            entries.push(chunk.entry(place));
        }
    }
    entries.extend(tail);
    Ok(entries)
}

/// What is on disk of a log besides its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    stats: LogStats,
    oldest_chunk: Option<Seq>,
    open_chunk: Option<(Seq, usize)>,
    as_of: CommitNo,
}

impl Head {
    fn write(&self, log: LogId, heads: &Values, scratch: &mut Scratch) -> Result<(), StoreError> {
        let out = &mut scratch.body;
        out.clear();
        let LogStats { first, next, entries, bytes, first_time_ms, last_time_ms } = self.stats;
        for number in [self.as_of, first, next, entries, bytes, first_time_ms, last_time_ms] {
            put_varint(out, number);
        }
        // One more than the number, so that 0 says that there is none.
        put_varint(out, self.oldest_chunk.map_or(0, |seq| seq + 1));
        let (begin, length) = self.open_chunk.map_or((0, 0), |(begin, length)| (begin + 1, length));
        put_varint(out, begin);
        put_varint(out, length as u64);
        heads.put(&head_key(log), HEAD_ITEM, scratch)?;
        Ok(())
    }

    fn read(body: bytes::Bytes) -> Result<Self, StoreError> {
        let mut reader = Reader::new(body);
        let mut number = || reader.varint();
        let as_of = number()?;
        let stats = LogStats {
            first: number()?,
            next: number()?,
            entries: number()?,
            bytes: number()?,
            first_time_ms: number()?,
            last_time_ms: number()?,
        };
        let oldest_chunk = number()?.checked_sub(1);
        let (begin, length) = (number()?.checked_sub(1), number()? as usize);
        Ok(Self { stats, oldest_chunk, open_chunk: begin.map(|begin| (begin, length)), as_of })
    }
}

fn head_key(log: LogId) -> [u8; 9] {
    let mut key = [values::KEY; 9];
    key[..8].copy_from_slice(&log.to_be_bytes());
    key
}

/// Every log that has a head on disk, as the last checkpoint left it.
pub(super) fn load_heads(heads: &Values, state: &mut State) -> Result<(), StoreError> {
    for item in heads.with_prefix(&[]) {
        let (key, value) = item?;
        let log = key.first_chunk().map(|bytes| LogId::from_be_bytes(*bytes));
        let log = log.ok_or_else(|| StoreError::Corrupt("a log's head has a wrong key".into()))?;
        let Head { stats, oldest_chunk, open_chunk, as_of } = Head::read(heads.joined(&key, value)?)?;
        let found = LogState {
            stats,
            stored: stats.next,
            oldest_chunk,
            open_chunk,
            as_of,
            is_alive: true,
            is_on_disk: true,
            ..LogState::default()
        };
        state.logs.insert(log, found);
    }
    Ok(())
}

/// Puts what `scan` must see over what is in the tree: first what is leaving memory, then what is newer.
pub(super) fn overlay(
    space: crate::Space,
    leaving: &Changes,
    changes: &Changes,
    found: &mut std::collections::BTreeMap<bytes::Bytes, bytes::Bytes>,
) {
    for layer in [leaving, changes] {
        let of_space =
            layer.range((space, bytes::Bytes::new())..).take_while(|((in_space, _), _)| *in_space == space);
        for ((_, key), value) in of_space {
            match value {
                Some(value) => found.insert(key.clone(), value.clone()),
                None => found.remove(key),
            };
        }
    }
}
