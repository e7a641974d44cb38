//! The index of the words of what was said: kept in a [`Store`] of its own, behind the logs that it follows.
//!
//! It knows logs as bytes that [`Open`] takes apart, and what a word and a query are from `katydid_chat::search`; it knows
//! neither threads nor rights. One caller changes the index ([`Index::follow`], [`Index::forget`], [`Index::retire`]); any
//! number search ([`Searcher`]). The index is derived: where it is lost or does not fit its logs it is made anew of them.
//!
//! ```text
//!   log:     first ........................ cursor .......... next
//!            |------- segments, by words -------||-- read as it is --|
//!   segment: about (numbers, times, edits), and 16 buckets: word -> numbers
//! ```
//!
//! A search looks words up in the segments and reads what stands behind the cursor. Invariants: a number is in the index
//! only below the cursor of its log, which changes in the same commit; a search gives nothing that it has not read in the log
//! at that moment, so that a word which is still in the index and no longer in the log is found by nobody.
#![forbid(unsafe_code)]

mod bucket;
mod follow;
mod search;
mod segment;

use katydid_store::{Entry, LogId, Seq, Space, Store, StoreError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use follow::Followed;
pub use search::{SPENT_BYTES_MAX, Searcher};

/// Log to [`Cursor`].
const CURSORS: Space = Space(1);
/// Log, segment and bucket to the words of it, or, at [`segment::ABOUT`], what the segment is.
const SEGMENTS: Space = Space(2);

/// What an entry of a log says, for who looks for words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its whole topic; the last level is the sender.
    pub topic: String,
    /// The user property `id`.
    pub id: Option<String>,
    /// When it expires, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
    /// What it is.
    pub what: What,
}

impl Said {
    /// Who said it.
    pub fn from(&self) -> &str {
        self.topic.rsplit('/').next().unwrap_or_default()
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A text for people.
    Text(String),
    /// Another text for an earlier one.
    Edit {
        /// The number of that.
        of: Seq,
        /// The text from here on.
        text: String,
    },
    /// An earlier text is taken away.
    Delete {
        /// The number of that.
        of: Seq,
    },
    /// Nothing that has words: deleted, another event, no text.
    Nothing,
}

/// Takes an entry apart; `None` where it cannot be read.
pub type Open = fn(&Entry) -> Option<Said>;

/// How far a log is in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Cursor {
    /// The lowest segment that there is.
    low: u32,
    /// The segment that grows.
    top: u32,
    /// The first number that is not in the index.
    next: Seq,
}

impl Cursor {
    fn to_bytes(self) -> bytes::Bytes {
        let mut out = vec![FORMAT];
        [u64::from(self.low), u64::from(self.top), self.next].iter().for_each(|&n| bucket::put(&mut out, n));
        out.into()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = bucket::Reader(bytes.strip_prefix(&[FORMAT])?);
        let (low, top) = (reader.number()?.try_into().ok()?, reader.number()?.try_into().ok()?);
        Some(Self { low, top, next: reader.number()? })
    }
}

/// The layout of everything here; an index with another is made anew.
const FORMAT: u8 = 1;

/// The index.
#[derive(Debug)]
pub struct Index {
    store: Arc<dyn StoreOfIndex>,
    cursors: Mutex<HashMap<LogId, Cursor>>,
}

/// A store that can be shown in `Debug`.
trait StoreOfIndex: Store + std::fmt::Debug {}

impl<S: Store + std::fmt::Debug> StoreOfIndex for S {}

impl Index {
    /// Opens what `store` holds; nothing else may be in it.
    ///
    /// # Errors
    /// The store cannot be read, or holds no index of this layout: then it has to be made anew.
    pub fn open<S: Store + std::fmt::Debug>(store: Arc<S>) -> Result<Self, StoreError> {
        let mut cursors = HashMap::new();
        for (key, value) in store.scan(CURSORS)? {
            let log = key.as_ref().try_into().map(u64::from_be_bytes).ok();
            let (Some(log), Some(cursor)) = (log, Cursor::from_bytes(&value)) else {
                return Err(StoreError::Corrupt("a cursor of the index".into()));
            };
            cursors.insert(log, cursor);
        }
        Ok(Self { store, cursors: Mutex::new(cursors) })
    }

    /// The logs that it holds something of, each with the first number that it does not.
    pub fn logs(&self) -> Vec<(LogId, Seq)> {
        self.cursors().iter().map(|(log, cursor)| (*log, cursor.next)).collect()
    }

    /// The first number of a log that is not in it.
    pub fn reached(&self, log: LogId) -> Seq {
        self.cursor(log).next
    }

    fn cursor(&self, log: LogId) -> Cursor {
        self.cursors().get(&log).copied().unwrap_or_default()
    }

    fn cursors(&self) -> MutexGuard<'_, HashMap<LogId, Cursor>> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
