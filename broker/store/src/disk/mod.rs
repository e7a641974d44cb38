//! The store on disk: sled beneath, a journal in front.
//!
//! A key for every message would be too dear, so a commit is one value of the journal ([`journal`]), durable with one
//! sync. Its entries wait in memory, in their log's tail ([`state`]), until a checkpoint ([`checkpoint`]) packs them into
//! chunks of their log's history ([`history`], [`chunk`]), and its records go to their tree ([`records`]). When the file holds much that is dead, it is swept ([`sweep`]). Opening reads
//! the logs' heads and replays the journal ([`recovery`]). Values of every size fit ([`values`]), within what sled
//! keeps safe ([`sizes`], [`barrier`]).
//!
//! One thread commits at a time, and holds the lock that readers take only while it applies what is already durable.
//! Readers take what they need from memory under that lock, and read sled without it. Nothing here knows what entries
//! and records mean. Invariant: an `Ok` from `commit` means synced; after an `Err` nothing is accepted any more.
//!
//! ```text
//!   commit: operations -> journal block -> share of a checkpoint -> flush, sync -> memory
//!   open:   heads + records + history, then the journal's commits above the mark -> memory
//! ```

mod amend;
mod barrier;
mod checkpoint;
mod chunk;
mod history;
mod journal;
mod pages;
mod records;
mod recovery;
mod rekey;
mod sizes;
mod state;
mod sweep;
mod sync;
mod values;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use crate::cipher::StorageKey;
use crate::{
    Allowance, Cursor, Entry, Keep, Limit, LogId, LogStats, Op, Page, Seq, Space, Store, StoreError,
    number_after,
};
use checkpoint::{Checkpoint, Progress, Trees};
use history::{Cut, Span};
use journal::codec::{self, Mark, Written};
use journal::{Amended, CommitNo, Journal};
pub use rekey::{Rekey, Rekeyed, is_database, rekey};
use sizes::Sizes;
use state::{Excess, State};
use sweep::Schedule;
pub use sync::{DelayedSync, FileSync, SyncHook};
use values::Scratch;

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of pages that sled keeps in memory. Default 64 MiB.
    pub cache_bytes: u64,
    /// A checkpoint begins when the journal holds more bytes than this. Up to about twice as much lies in memory and is
    /// read by a restart. Default 8 MiB.
    pub journal_bytes: usize,
    /// A checkpoint also begins when the journal holds more blocks than this: small commits cost a restart more than
    /// their bytes say. Default 65,536.
    pub journal_blocks: usize,
    /// Size of sled's segments: a power of two from 32 KiB to 16 MiB, fixed when the database is made. Default 4 MiB.
    pub segment_bytes: usize,
    /// The key of an encrypted database; a new one is made encrypted when there is one. Default none.
    pub key: Option<StorageKey>,
    /// What makes a commit durable. Default [`FileSync`].
    pub sync: Arc<dyn SyncHook>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            journal_bytes: 8 << 20,
            journal_blocks: 1 << 16,
            segment_bytes: 4 << 20,
            key: None,
            sync: Arc::new(FileSync),
        }
    }
}

/// What the store has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Commits that succeeded.
    pub commits: u64,
    /// Operations in them.
    pub operations: u64,
    /// Syncs of the database file; more than one in a commit only where it was very large.
    pub syncs: u64,
    /// Nanoseconds spent in those syncs.
    pub sync_nanos: u64,
    /// Checkpoints that ended.
    pub checkpoints: u64,
    /// Times that what is kept was written anew, so that the file does not grow for ever.
    pub sweeps: u64,
    /// Bytes that the journal holds now.
    pub journal_bytes: u64,
}

#[derive(Debug, Default)]
struct Tally {
    commits: AtomicU64,
    operations: AtomicU64,
    syncs: AtomicU64,
    sync_nanos: AtomicU64,
    checkpoints: AtomicU64,
    sweeps: AtomicU64,
    journal_bytes: AtomicU64,
}

/// The memory that commits write and readers read.
type Held = RwLock<State>;

fn shared(state: &Held) -> RwLockReadGuard<'_, State> {
    state.read().unwrap_or_else(PoisonError::into_inner)
}

fn exclusive(state: &Held) -> RwLockWriteGuard<'_, State> {
    state.write().unwrap_or_else(PoisonError::into_inner)
}

/// Logs and records in a directory.
///
/// # What encryption hides
/// With a key, every value and every record's key is encrypted, and a value opens only in the place where it was put. What
/// can still be read without the key: how many logs there are, their numbers, the first number of each chunk and its size;
/// how many records each space has and how large they are; when and how much is written. Who can write to the files can
/// still put an old version of them back.
///
/// # What is left of an amended entry
/// When a commit with [`Op::Amend`] returns, the content that was replaced is in no value of the database and not in
/// memory: the chunk of history that had it, the journal's commits, and the journal's slots that wait to be used again
/// are written anew, in a second sync. A power cut before that sync is made good when the database is opened. What is
/// left is sled's own past: it appends to its file, and the segments that held the old pages keep them until they are
/// free and used again, which takes as long as it takes to write that much anew; the file system and the disk keep what
/// they keep. A database with a key has only ciphertext there; one that is written anew (`katydid rekey --rewrite`) has
/// none of it in its files. A checkpoint that a crash interrupted may have left a copy in a chunk that nobody reads; it
/// is removed with the first amendment of that log, and else with the log's next checkpoint.
#[derive(Debug)]
pub struct SledStore {
    writer: Mutex<Writer>,
    trees: Trees,
    state: Held,
    tally: Arc<Tally>,
    /// Set while a commit is under way and left set when it does not succeed, be it by an error or a panic.
    is_failed: AtomicBool,
    /// Held open: the lock on the directory goes with it. Last, so that sled has closed its files before.
    _lock: File,
}

/// What only the thread that commits needs.
#[derive(Debug)]
struct Writer {
    journal: Journal,
    meta: sled::Tree,
    last_commit: CommitNo,
    checkpoint: Option<Checkpoint>,
    sweeps: Schedule,
    options: Options,
    scratch: Scratch,
    /// Kept from commit to commit, so that none allocates them: the operations as bytes, where contents are in them, and
    /// the logs' next numbers.
    ops: Vec<u8>,
    marks: Vec<(usize, Mark)>,
    next_of: NextOf,
}

type NextOf = HashMap<LogId, Seq, foldhash::fast::RandomState>;

impl SledStore {
    /// Opens the database in the directory `path`, and makes it where there is none.
    ///
    /// # Errors
    /// [`StoreError::Key`] where the key does not fit, [`StoreError::Busy`] where another process has it open, [`StoreError::Newer`] where a later version wrote it,
    /// [`StoreError::Corrupt`] where it cannot be read or is not Katydid's, and [`StoreError::Io`].
    pub fn open(path: &Path, options: Options) -> Result<Self, StoreError> {
        recovery::open(path, options)
    }

    /// What the store has done so far.
    pub fn counters(&self) -> Counters {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            commits: value(&self.tally.commits),
            operations: value(&self.tally.operations),
            syncs: value(&self.tally.syncs),
            sync_nanos: value(&self.tally.sync_nanos),
            checkpoints: value(&self.tally.checkpoints),
            sweeps: value(&self.tally.sweeps),
            journal_bytes: value(&self.tally.journal_bytes),
        }
    }

    fn commit_with(&self, writer: &mut Writer, ops: Vec<Op>) -> Result<(), StoreError> {
        self.check(&ops, &mut writer.next_of)?;
        let count = ops.len() as u64;
        let written = self.resolved(ops)?;
        if !written.ops.is_empty() {
            self.write_and_apply(writer, written)?;
        }
        self.tally.commits.fetch_add(1, Ordering::Relaxed);
        self.tally.operations.fetch_add(count, Ordering::Relaxed);
        self.tally.journal_bytes.store(writer.journal.live_bytes() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn write_and_apply(&self, writer: &mut Writer, written: Written) -> Result<(), StoreError> {
        let commit = writer.last_commit + 1;
        let added = writer.write_journal(commit, &written, self.trees.sizes)?;
        let mark = writer.advance_checkpoint(added, &self.trees, &self.state)?;
        writer.sweep(added, &self.trees, &self.tally)?;
        writer.scratch.barrier.sync()?;
        if let Some(mark) = mark {
            writer.journal.release(mark);
            self.tally.checkpoints.fetch_add(1, Ordering::Relaxed);
            let live = shared(&self.state).live_bytes();
            writer.sweeps.consider(writer.scratch.barrier.file_bytes()?, live, writer.options.segment_bytes);
        }
        let amended: Amended = written.amended().map(|entry| (entry, commit)).collect();
        if !amended.is_empty() {
            self.amend_history(commit, &written.ops, &mut writer.scratch)?;
        }
        let cuts = self.cuts(&written)?;
        self.apply(commit, written.ops, cuts)?;
        writer.last_commit = commit;
        if !amended.is_empty() {
            self.erase(writer, &amended)?;
        }
        Ok(())
    }

    /// Refuses a commit that breaks the contract before any of it is written: a replay would meet it again.
    fn check(&self, ops: &[Op], next_of: &mut NextOf) -> Result<(), StoreError> {
        next_of.clear();
        let state = shared(&self.state);
        for op in ops {
            match op {
                Op::Append { log, entry } => {
                    let known = || state.alive(*log).map_or(0, |state| state.stats.next);
                    let next = next_of.entry(*log).or_insert_with(known);
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

    fn apply(&self, commit: CommitNo, ops: Vec<Op>, mut cuts: HashMap<usize, Cut>) -> Result<(), StoreError> {
        let mut state = exclusive(&self.state);
        for (index, op) in ops.into_iter().enumerate() {
            let cut = if cuts.is_empty() { None } else { cuts.remove(&index) };
            state.apply(commit, op, cut)?;
        }
        Ok(())
    }

    /// What trims and amendments take from the history, read before the lock is taken. Of trims, only those that leave a
    /// part of a log's history need it. The amendments are in the history already.
    fn cuts(&self, written: &Written) -> Result<HashMap<usize, Cut>, StoreError> {
        let mut cuts = HashMap::new();
        let mut replaced = written.replaced.iter();
        let mut spans: HashMap<LogId, Span> = HashMap::new();
        for (index, op) in written.ops.iter().enumerate() {
            match *op {
                Op::Trim { log, below } => {
                    let known = || shared(&self.state).alive(log).map(|state| state.span(log));
                    let Some(span) = spans.get(&log).copied().or_else(known) else { continue };
                    if span.from < below && below < span.to {
                        let cut = self.trees.history.cut(span, below)?;
                        let from = cut.first_kept.map_or(span.to, |(first, _)| first);
                        spans.insert(log, Span { from, ..span });
                        cuts.insert(index, cut);
                    } else if span.from < below {
                        spans.insert(log, Span { from: span.to, ..span });
                    }
                }
                Op::DropLog { log } => {
                    spans.insert(log, Span { log, from: 0, to: 0 });
                }
                Op::Amend { .. } => {
                    let bytes = replaced.next().copied().unwrap_or_default();
                    cuts.insert(index, Cut { bytes, ..Cut::default() });
                }
                Op::Append { .. } | Op::Put { .. } | Op::Delete { .. } => {}
            }
        }
        Ok(cuts)
    }

    /// Reads under the lock what memory knows, then the history without it, and again where the history lost entries
    /// in between.
    fn consistent<M, T>(
        &self,
        log: LogId,
        from_memory: impl Fn(&state::LogState) -> M,
        with_history: impl Fn(M) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        loop {
            let taken = shared(&self.state).alive(log).map(|state| (state.generation, from_memory(state)));
            let Some((generation, memory)) = taken else { return Ok(None) };
            // An error too may come of what has changed since.
            let found = with_history(memory);
            if shared(&self.state).logs.get(&log).is_none_or(|state| state.generation == generation) {
                return found.map(Some);
            }
        }
    }
}

impl Writer {
    /// Returns the bytes that the commit adds to the journal.
    fn write_journal(
        &mut self,
        commit: CommitNo,
        written: &Written,
        sizes: Sizes,
    ) -> Result<usize, StoreError> {
        self.ops.clear();
        self.marks.clear();
        codec::encode_ops(written, &mut self.ops, &mut self.marks);
        self.journal.append(commit, &self.ops, &self.marks, sizes, &mut self.scratch.barrier)?;
        let added = self.ops.len();
        // One giant commit must not keep its memory for ever.
        self.ops.shrink_to(1 << 20);
        self.marks.shrink_to(1 << 16);
        Ok(added)
    }

    /// Begins a checkpoint where one is due, and does this commit's share of it. Returns the mark when the checkpoint is
    /// complete, to be used once it is synced.
    fn advance_checkpoint(
        &mut self,
        added: usize,
        trees: &Trees,
        state: &Held,
    ) -> Result<Option<CommitNo>, StoreError> {
        let Options { journal_bytes, journal_blocks, .. } = self.options;
        let blocks = self.journal.live_blocks();
        let is_due = self.journal.live_bytes() > journal_bytes || blocks > journal_blocks;
        if self.checkpoint.is_none() && is_due {
            let live = self.journal.live_bytes();
            self.checkpoint = Some(Checkpoint::begin(self.last_commit, live, &mut exclusive(state)));
        }
        let Some(mut checkpoint) = self.checkpoint.take() else { return Ok(None) };
        // A block counts as the bytes it may have, so that either limit is met with half of itself to spare.
        checkpoint.owe(added.max(journal_bytes / journal_blocks.max(1)), journal_bytes / 2);
        match checkpoint.step(trees, state, self.last_commit, &mut self.scratch)? {
            Progress::More => {
                self.checkpoint = Some(checkpoint);
                Ok(None)
            }
            Progress::Done => {
                self.meta.insert(recovery::MARK, &checkpoint.mark.to_be_bytes())?;
                Ok(Some(checkpoint.mark))
            }
        }
    }

    fn sweep(&mut self, added: usize, trees: &Trees, tally: &Tally) -> Result<(), StoreError> {
        if self.sweeps.is_idle() {
            return Ok(());
        }
        if self.sweeps.step(added, &trees.all(), &mut self.scratch)? {
            tally.sweeps.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Store for SledStore {
    fn commit(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_failed.swap(true, Ordering::SeqCst) {
            return Err(StoreError::Failed);
        }
        if !ops.is_empty() {
            self.commit_with(&mut writer, ops)?;
        }
        self.is_failed.store(false, Ordering::SeqCst);
        Ok(())
    }

    fn read(&self, log: LogId, from: Seq, limit: Limit) -> Result<Vec<Entry>, StoreError> {
        let from_memory = |state: &state::LogState| {
            let span = state.span(log);
            let span = Span { from: span.from.max(from), ..span };
            let start = state.tail.partition_point(|entry| entry.seq < from);
            let mut allowance = Allowance::new(limit);
            let tail = state.tail.range(start..).take_while(|entry| allowance.take(entry.bytes.len()));
            (span, tail.cloned().collect::<Vec<Entry>>())
        };
        let with_history = |(span, tail): (Span, Vec<Entry>)| {
            if span.from >= span.to {
                return Ok(tail);
            }
            let mut allowance = Allowance::new(limit);
            let mut found = Vec::new();
            self.trees.history.read(span, &mut allowance, &mut found)?;
            found.extend(tail.into_iter().take_while(|entry| allowance.take(entry.bytes.len())));
            Ok(found)
        };
        Ok(self.consistent(log, from_memory, with_history)?.unwrap_or_default())
    }

    fn read_back(&self, log: LogId, before: Seq, limit: Limit) -> Result<Vec<Entry>, StoreError> {
        let from_memory = |state: &state::LogState| {
            let span = state.span(log);
            let end = state.tail.partition_point(|entry| entry.seq < before);
            let mut allowance = Allowance::new(limit);
            let newest_first = state.tail.range(..end).rev();
            let found: Vec<Entry> =
                newest_first.take_while(|entry| allowance.take(entry.bytes.len())).cloned().collect();
            // Where the tail alone used the allowance up, the history must not add what lies before a gap.
            let span = Span { to: if found.len() < end { span.from } else { span.to.min(before) }, ..span };
            (span, allowance, found)
        };
        let with_history = |(span, mut allowance, mut found): (Span, Allowance, Vec<Entry>)| {
            if !allowance.is_spent() {
                self.trees.history.read_back(span, &mut allowance, &mut found)?;
            }
            found.reverse();
            Ok(found)
        };
        Ok(self.consistent(log, from_memory, with_history)?.unwrap_or_default())
    }

    fn seek_time(&self, log: LogId, time_ms: u64) -> Result<Option<Seq>, StoreError> {
        let from_memory = |state: &state::LogState| {
            let index = state.tail.partition_point(|entry| entry.time_ms < time_ms);
            (state.span(log), index == 0, state.tail.get(index).map(|entry| entry.seq))
        };
        let with_history = |(span, may_be_older, in_tail): (Span, bool, Option<Seq>)| {
            if !may_be_older || span.from >= span.to {
                return Ok(in_tail);
            }
            Ok(self.trees.history.seek_time(span, time_ms)?.or(in_tail))
        };
        Ok(self.consistent(log, from_memory, with_history)?.flatten())
    }

    fn stats(&self, log: LogId) -> Result<Option<LogStats>, StoreError> {
        Ok(shared(&self.state).alive(log).map(|state| state.stats))
    }

    fn logs(&self) -> Result<Vec<(LogId, LogStats)>, StoreError> {
        let state = shared(&self.state);
        Ok(state.logs.iter().filter(|(_, log)| log.is_alive).map(|(id, log)| (*id, log.stats)).collect())
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let name = (space, Bytes::copy_from_slice(key));
        {
            let state = shared(&self.state);
            if let Some(value) = state.changes.get(&name).or_else(|| state.leaving.get(&name)) {
                return Ok(value.clone());
            }
        }
        // What is not in memory is in the tree, and what a checkpoint puts there meanwhile is newer.
        self.trees.records.read(space, key)
    }

    /// Meant for a restart: it holds up commits while it reads.
    fn scan(&self, space: Space) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let _no_checkpoint_writes_meanwhile = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = BTreeMap::new();
        self.trees.records.scan(space, &mut found)?;
        let state = shared(&self.state);
        checkpoint::overlay(space, &state.leaving, &state.changes, &mut found);
        Ok(found.into_iter().collect())
    }

    fn excess(&self, log: LogId, keep: Keep) -> Result<Option<Seq>, StoreError> {
        let from_memory = |state: &state::LogState| (state.span(log), state.excess(keep));
        let with_history = |(span, excess): (Span, Excess)| match excess {
            Excess::None => Ok(None),
            Excess::Below(below) => Ok(Some(below)),
            Excess::InHistory { stats, tail } => {
                let first = self.trees.history.excess(span, keep, stats.entries, stats.bytes)?;
                Ok(Some(first.unwrap_or(tail)))
            }
        };
        Ok(self.consistent(log, from_memory, with_history)?.flatten())
    }

    fn page(&self, space: Space, cursor: &Cursor, limit: Limit) -> Result<Page, StoreError> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let state = shared(&self.state);
        pages::page(&self.trees.records, &state, writer.last_commit, space, cursor, limit)
    }
}

#[cfg(test)]
mod tests;
