//! Durable storage: append-only logs and small keyed records, committed together.
//!
//! The store knows nothing of MQTT or chat: an entry and a record are bytes. Everything in one [`Store::commit`] is
//! one atomic step, and when it returns, that step survives a power cut. [`SledStore`] keeps that promise on disk,
//! [`MemoryStore`] is the same behaviour without a disk: for tests, for the simulation of crashes, and as the model
//! that the disk is compared with.
#![forbid(unsafe_code)]

#[cfg(feature = "sled")]
mod block;
#[cfg(feature = "sled")]
mod disk;
mod memory;

use bytes::Bytes;

#[cfg(feature = "sled")]
pub use disk::{Counters, DelayedSync, FileSync, Options, SledStore, SyncHook};
pub use memory::MemoryStore;

/// Names one append-only log: a room's history or a session's queue.
pub type LogId = u64;

/// The number of an entry within its log; grows, may skip, never repeats.
pub type Seq = u64;

/// A namespace of keyed records. Numbers on disk are never reordered or reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Space(pub u8);

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub seq: Seq,
    /// Milliseconds since the Unix epoch; never falls within a log.
    pub time_ms: u64,
    /// Its content. A store keeps a reference to it until the entry is in the history on disk: give it bytes that do
    /// not hold a much larger buffer alive.
    pub bytes: Bytes,
}

/// One step of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Appends an entry; its `seq` is greater than that of every entry the log ever had.
    Append {
        /// The log.
        log: LogId,
        /// The entry.
        entry: Entry,
    },
    /// Forgets the entries below `below`. A log that has none left is still known and keeps its `next`; a log that
    /// is not known stays unknown.
    Trim {
        /// The log.
        log: LogId,
        /// The first number that stays.
        below: Seq,
    },
    /// Forgets the log with all its entries, and the numbers it had.
    DropLog {
        /// The log.
        log: LogId,
    },
    /// Replaces the content of an entry that is kept; its number and its time stay. Nothing happens where no such entry
    /// is kept. When the commit returns, what was there before is in nothing that the store reads: see [`SledStore`]
    /// for what a disk may still hold of it.
    Amend {
        /// The log.
        log: LogId,
        /// Number of the entry.
        seq: Seq,
        /// Its content from now on.
        bytes: Bytes,
    },
    /// Writes a record.
    Put {
        /// Namespace of the key.
        space: Space,
        /// Key.
        key: Bytes,
        /// Value.
        value: Bytes,
    },
    /// Removes a record.
    Delete {
        /// Namespace of the key.
        space: Space,
        /// Key.
        key: Bytes,
    },
}

/// How much a read returns at most; at least one entry is returned where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Number of entries.
    pub entries: usize,
    /// Sum of their bytes.
    pub bytes: usize,
}

/// What a log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogStats {
    /// Number of the first entry that is kept; equals `next` when there is none.
    pub first: Seq,
    /// One more than the highest number ever appended.
    pub next: Seq,
    /// Entries kept.
    pub entries: u64,
    /// Bytes of those entries.
    pub bytes: u64,
    /// Time of the first entry that is kept; equals `last_time_ms` when there is none.
    pub first_time_ms: u64,
    /// Time of the last entry ever appended.
    pub last_time_ms: u64,
}

/// A store that failed. A failed commit is final: nothing may be acknowledged any more.
#[derive(Debug)]
pub enum StoreError {
    /// The disk or the file system refused.
    Io(std::io::Error),
    /// What is on disk cannot be read.
    Corrupt(String),
    /// Another process has the database open.
    Busy(std::path::PathBuf),
    /// The database was written by a version of Katydid that came later.
    Newer {
        /// The format of the database.
        found: u32,
        /// The newest format that this program reads.
        known: u32,
    },
    /// The caller broke the contract: a number that was not greater than the last one of its log.
    Misuse(String),
    /// An earlier commit failed, or the store has stopped halfway through one.
    Failed,
    /// The backend failed.
    Backend(String),
}

/// Logs and records on stable storage. One thread commits; any thread reads.
pub trait Store: Send + Sync + 'static {
    /// Applies all of `ops`, in order, or none. When it returns `Ok`, they survive a power cut; when it returns
    /// `Err`, the store refuses every later commit.
    fn commit(&self, ops: Vec<Op>) -> Result<(), StoreError>;

    /// The entries of `log` from `from` on, ascending. Sees what was committed before the call.
    fn read(&self, log: LogId, from: Seq, limit: Limit) -> Result<Vec<Entry>, StoreError>;

    /// The last `limit` entries of `log` below `before`, ascending.
    fn read_back(&self, log: LogId, before: Seq, limit: Limit) -> Result<Vec<Entry>, StoreError>;

    /// Number of the first kept entry whose time is at least `time_ms`; `None` where all are older.
    fn seek_time(&self, log: LogId, time_ms: u64) -> Result<Option<Seq>, StoreError>;

    /// What `log` holds; `None` where it was never written or was dropped.
    fn stats(&self, log: LogId) -> Result<Option<LogStats>, StoreError>;

    /// Every log, in no order.
    fn logs(&self) -> Result<Vec<(LogId, LogStats)>, StoreError>;

    /// Every record of `space`, in the order of the keys.
    fn scan(&self, space: Space) -> Result<Vec<(Bytes, Bytes)>, StoreError>;
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "storage: {error}"),
            Self::Corrupt(what) => write!(f, "storage is damaged: {what}"),
            Self::Busy(path) => {
                write!(f, "storage: another process has the database {} open", path.display())
            }
            Self::Newer { found, known } => write!(
                f,
                "storage: the database has format {found}, and this program reads up to {known}: it was written by a \
                 later version"
            ),
            Self::Misuse(what) => write!(f, "storage: {what}"),
            Self::Failed => write!(f, "storage: an earlier commit failed, and none is accepted after it"),
            Self::Backend(what) => write!(f, "storage: {what}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(feature = "sled")]
impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => Self::Io(error),
            sled::Error::Corruption { .. } => Self::Corrupt("sled finds its file inconsistent".into()),
            other => Self::Backend(other.to_string()),
        }
    }
}

/// How much of a [`Limit`] is left.
#[derive(Debug)]
pub(crate) struct Allowance {
    entries: usize,
    bytes: usize,
    is_untouched: bool,
}

impl Allowance {
    pub(crate) fn new(limit: Limit) -> Self {
        Self { entries: limit.entries, bytes: limit.bytes, is_untouched: true }
    }

    /// Whether an entry of this length may still be returned; it is then counted. The first always may.
    pub(crate) fn take(&mut self, length: usize) -> bool {
        let admitted = self.is_untouched || (self.entries > 0 && length <= self.bytes);
        if admitted {
            self.is_untouched = false;
            self.entries = self.entries.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(length);
        } else {
            // What follows must not slip in behind a gap.
            self.entries = 0;
        }
        admitted
    }

    #[cfg(feature = "sled")]
    /// Whether nothing more can be taken, so that a caller need not look for more.
    pub(crate) fn is_spent(&self) -> bool {
        !self.is_untouched && self.entries == 0
    }
}

/// The number after `seq`, for an entry that may be appended to a log whose next number is `next`.
pub(crate) fn number_after(log: LogId, next: Seq, seq: Seq) -> Result<Seq, StoreError> {
    if seq < next {
        return Err(StoreError::Misuse(format!("log {log} has reached {next} and was given {seq}")));
    }
    seq.checked_add(1).ok_or_else(|| StoreError::Misuse(format!("log {log} has no number after {seq}")))
}
