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
mod cipher;
#[cfg(feature = "sled")]
mod disk;
mod memory;
mod walk;

use bytes::Bytes;

#[cfg(feature = "sled")]
pub use cipher::StorageKey;
#[cfg(feature = "sled")]
pub use disk::{
    Counters, DelayedSync, FileSync, Options, Rekey, Rekeyed, SledStore, SyncHook, is_database, rekey,
};
pub use memory::MemoryStore;
pub use walk::{Entries, Records};

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

/// What a log may hold, for [`Store::excess`]. By default everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Number of entries at most.
    pub entries: u64,
    /// Sum of their bytes at most.
    pub bytes: u64,
    /// No entry older than this, in milliseconds since the Unix epoch.
    pub since_ms: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Self { entries: u64::MAX, bytes: u64::MAX, since_ms: 0 }
    }
}

impl Keep {
    /// Whether the first of `entries` entries with `bytes` bytes must go, when it is of this time.
    pub(crate) fn is_exceeded(&self, entries: u64, bytes: u64, time_ms: u64) -> bool {
        entries > 0 && (entries > self.entries || bytes > self.bytes || time_ms < self.since_ms)
    }
}

/// Some of a space's records, and where to go on; see [`Store::page`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and values.
    pub records: Vec<(Bytes, Bytes)>,
    /// What gives the next page; `None` after the last.
    pub next: Option<Cursor>,
}

/// A place in a walk over the records of a space. The default is the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    part: u8,
    after: Option<Bytes>,
    commits: Option<u64>,
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
    /// The key does not fit the database. Nothing was changed.
    Key(KeyProblem),
    /// The caller broke the contract: a number that was not greater than the last one of its log.
    Misuse(String),
    /// An earlier commit failed, or the store has stopped halfway through one.
    Failed,
    /// The backend failed.
    Backend(String),
}

/// What is wrong with the key of an encrypted database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyProblem {
    /// The database is encrypted, and there is no key.
    Missing,
    /// The database is encrypted with another key.
    Wrong,
    /// There is a key, and the database is not encrypted.
    Unused,
    /// A key is 64 hexadecimal digits, and this is not.
    Malformed,
}

impl std::fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "the database is encrypted, and there is no key",
            Self::Wrong => "the database is encrypted with another key",
            Self::Unused => "there is a key, and the database is not encrypted",
            Self::Malformed => {
                "a key is 64 hexadecimal digits, as `openssl rand -hex 32` makes them, and this is none"
            }
        })
    }
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

    /// The value of a record. Sees what was committed before the call, and holds up no commit.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Every record of `space`, in the order of the keys.
    fn scan(&self, space: Space) -> Result<Vec<(Bytes, Bytes)>, StoreError>;

    /// The number below which a [`Op::Trim`] must forget entries of `log`, so that it holds no more than `keep` says;
    /// `None` where nothing has to go, which costs no look at the disk. Otherwise it reads what would go, a chunk at a
    /// time, and nothing behind it.
    fn excess(&self, log: LogId, keep: Keep) -> Result<Option<Seq>, StoreError>;

    /// Some of the records of `space`, in no order: a page of about `limit`, so that a walk over all of them needs little
    /// memory. A record that is there all the time comes once at least, and exactly once where nothing is committed
    /// before the walk's end; its value is that of the moment. Holds up commits while it reads.
    fn page(&self, space: Space, cursor: &Cursor, limit: Limit) -> Result<Page, StoreError>;
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
            Self::Key(problem) => write!(f, "storage: {problem}"),
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
