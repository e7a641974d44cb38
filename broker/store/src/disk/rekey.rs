//! A new key for a database, or the first, or none.
//!
//! From key to key only the wrapped key is replaced, in one step. Everything else writes the database anew, in a directory
//! within its own, and then puts that in its place:
//!
//! ```text
//!   rekey.making  --all synced, renamed-->  rekey.made  --the old files removed, renamed-->  rekey.moving
//!   (removed by the next opening)           (from here on the new database counts)           (its files move out)
//! ```
//!
//! Each arrow is one rename that is synced, and opening a database goes on from whichever directory is there ([`finish`]).
//! Invariant: at any moment the directory holds the whole old database or the whole new one.

use std::fs;
use std::io;
use std::path::Path;

use super::recovery::{self, FORMAT_FILE, KEY_FILE};
use super::{Options, SledStore, SyncHook};
use crate::cipher::{self, StorageKey};
use crate::{Entries, Entry, LogId, LogStats, Op, Records, Space, Store, StoreError};

const MAKING: &str = "rekey.making";
const MADE: &str = "rekey.made";
const MOVING: &str = "rekey.moving";

/// Operations and bytes of one commit of a copy, about.
const COMMIT_OPS: usize = 2_000;
const COMMIT_BYTES: usize = 1 << 20;

/// How the key of a database is to change.
#[derive(Debug, Clone, Default)]
pub struct Rekey {
    /// The key that it has; none where it is in clear.
    pub old: Option<StorageKey>,
    /// The key that it gets; none to have it in clear.
    pub new: Option<StorageKey>,
    /// Whether to write everything anew even where that is not needed: with a key that the database did not have before,
    /// and without anything that was deleted.
    pub is_rewritten: bool,
}

/// What changing a key came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rekeyed {
    /// There was no key, and there is none.
    Unchanged,
    /// The database's own key was wrapped anew.
    Wrapped,
    /// Everything was written anew.
    Rewritten {
        /// Logs in it.
        logs: u64,
        /// Entries in them.
        entries: u64,
        /// Records in it.
        records: u64,
    },
}

/// Whether there is a database in `path`, also one whose change of the key was interrupted.
pub fn is_database(path: &Path) -> bool {
    [FORMAT_FILE, MADE, MOVING].iter().any(|name| path.join(name).exists())
}

/// Changes the key of the database in `path`, which nobody may have open. It needs as much room again as the database
/// takes where it writes it anew. When it is interrupted, the database has the old key or the new one.
///
/// # Errors
/// [`StoreError::Busy`] where a broker has it open, [`StoreError::Key`] where `old` is not its key, [`StoreError::Io`] of
/// kind `NotFound` where there is no database. The database is as it was, unless the error says that it could not be
/// moved into its place; then opening it goes on with that.
pub fn rekey(path: &Path, change: &Rekey, options: &Options) -> Result<Rekeyed, StoreError> {
    if !is_database(path) {
        let text = format!("there is no database in {}", path.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, text).into());
    }
    let lock = recovery::lock(path)?;
    recovery::wait_for_threads(&path.join("db"))?;
    let sync = &*options.sync;
    finish(path, sync)?;
    match (recovery::unlocked(path, change.old.as_ref())?, &change.new) {
        (None, None) if !change.is_rewritten => return Ok(Rekeyed::Unchanged),
        (Some(key), Some(new)) if !change.is_rewritten => {
            recovery::write_whole(path, KEY_FILE, &cipher::wrap(&key, new)?, sync)?;
            return Ok(Rekeyed::Wrapped);
        }
        _ => {}
    }
    let old = Options { key: change.old.clone(), ..options.clone() };
    let old = recovery::open_locked(path, old, lock.try_clone()?)?;
    let making = path.join(MAKING);
    let new = SledStore::open(&making, Options { key: change.new.clone(), ..options.clone() })?;
    let rewritten = copy(&old, &new)?;
    drop((old, new));
    for database in [path, &making] {
        recovery::wait_for_threads(&database.join("db"))?;
    }
    fs::remove_file(making.join("lock"))?;
    for item in fs::read_dir(&making)? {
        let item = item?.path();
        if item.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(&item)?;
        } else {
            sync.sync_path(&item)?;
        }
    }
    sync.sync_path(&making)?;
    fs::rename(&making, path.join(MADE))?;
    sync.sync_path(path)?;
    finish(path, sync)?;
    Ok(rewritten)
}

/// Goes on with what an interrupted change of the key left. The directory's lock must be held.
pub(super) fn finish(path: &Path, sync: &dyn SyncHook) -> Result<(), StoreError> {
    let [making, made, moving] = [MAKING, MADE, MOVING].map(|name| path.join(name));
    if making.exists() {
        fs::remove_dir_all(&making)?;
    }
    if made.exists() {
        for item in fs::read_dir(path)? {
            let item = item?;
            let name = item.file_name();
            if item.file_type()?.is_dir() && name == "blobs" {
                fs::remove_dir_all(item.path())?;
            } else if name.to_str().is_some_and(is_of_database) {
                fs::remove_file(item.path())?;
            }
        }
        sync.sync_path(path)?;
        fs::rename(&made, &moving)?;
        sync.sync_path(path)?;
    }
    if moving.exists() {
        for item in fs::read_dir(&moving)? {
            let item = item?;
            let place = path.join(item.file_name());
            if place.is_dir() {
                // A power cut can leave an empty directory in both places.
                fs::remove_dir_all(&place)?;
            }
            fs::rename(item.path(), place)?;
        }
        sync.sync_path(path)?;
        fs::remove_dir(&moving)?;
        sync.sync_path(path)?;
    }
    Ok(())
}

/// Whether a file is a part of the database, and not the lock, which is held, or somebody else's.
fn is_of_database(name: &str) -> bool {
    ["db", "conf", FORMAT_FILE, KEY_FILE].contains(&name) || name.starts_with("snap.")
}

/// Copies everything into a store that is empty.
fn copy(from: &SledStore, to: &SledStore) -> Result<Rekeyed, StoreError> {
    let mut batch = Batch { to, ops: Vec::new(), bytes: 0 };
    let (mut logs, mut entries, mut records) = (0, 0, 0);
    for (log, stats) in from.logs()? {
        logs += 1;
        entries += stats.entries;
        copy_log(from, log, stats, &mut batch)?;
    }
    for space in (0..=u8::MAX).map(Space) {
        for record in Records::new(from, space) {
            let (key, value) = record?;
            records += 1;
            let length = key.len() + value.len();
            batch.push(Op::Put { space, key, value }, length)?;
        }
    }
    batch.commit()?;
    for (log, stats) in from.logs()? {
        if to.stats(log)? != Some(stats) {
            return Err(StoreError::Backend(format!("the copy of log {log} is not what the log is")));
        }
    }
    Ok(Rekeyed::Rewritten { logs, entries, records })
}

fn copy_log(from: &SledStore, log: LogId, stats: LogStats, batch: &mut Batch<'_>) -> Result<(), StoreError> {
    for entry in Entries::new(from, log, 0) {
        let entry = entry?;
        let length = entry.bytes.len();
        batch.push(Op::Append { log, entry }, length)?;
    }
    if stats.entries == 0 {
        // Its numbers go on from where they were.
        let seq = stats.next.saturating_sub(1);
        let entry = Entry { seq, time_ms: stats.last_time_ms, bytes: bytes::Bytes::new() };
        batch.push(Op::Append { log, entry }, 0)?;
        batch.push(Op::Trim { log, below: stats.next }, 0)?;
    }
    Ok(())
}

/// Operations that become one commit.
struct Batch<'a> {
    to: &'a SledStore,
    ops: Vec<Op>,
    bytes: usize,
}

impl Batch<'_> {
    fn push(&mut self, op: Op, length: usize) -> Result<(), StoreError> {
        self.ops.push(op);
        self.bytes += length;
        if self.ops.len() >= COMMIT_OPS || self.bytes >= COMMIT_BYTES { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.bytes = 0;
        self.to.commit(std::mem::take(&mut self.ops))
    }
}
