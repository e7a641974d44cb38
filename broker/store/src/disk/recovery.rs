//! Opening a database: its directory, its format, and what a crash left behind.
//!
//! The directory holds sled's files (`db`, `conf`, `blobs/`, `snap.*`), `lock`, and `format`, which says what version of
//! this crate can read it. `creating` is there while a database is made: what an interrupted making left is removed,
//! nothing else ever is. Invariant: when `open` returns, memory is the state after the last commit that is on disk, and
//! everything that a power cut must not take is synced, directories included.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::barrier::Barrier;
use super::checkpoint::{Trees, load_heads};
use super::history::History;
use super::journal::codec::Written;
use super::journal::{Amended, CommitNo, Found, Journal};
use super::records::Records;
use super::sizes::Sizes;
use super::state::State;
use super::sweep::Schedule;
use super::values::{Scratch, Values};
use super::{Options, SledStore, Tally, Writer};
use crate::{Op, StoreError};

/// The format that this version writes, and the newest it reads.
const FORMAT: u32 = 1;

/// Where the checkpoint's mark is, in the tree `meta`.
pub(super) const MARK: &str = "mark";

pub(super) fn open(path: &Path, options: Options) -> Result<SledStore, StoreError> {
    fs::create_dir_all(path)?;
    let lock = lock(path)?;
    wait_for_threads(&path.join("db"))?;
    let is_new = prepare(path)?;
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(options.cache_bytes)
        .segment_size(options.segment_bytes)
        // Its thread would write and reuse segments between our syncs; see `barrier`.
        .flush_every_ms(None);
    // Where sled finds its file damaged, it may panic instead of saying so.
    let db = std::panic::catch_unwind(AssertUnwindSafe(|| config.open()))
        .map_err(|_| StoreError::Corrupt("sled cannot recover its file".into()))??;
    let sizes = Sizes::for_segment(options.segment_bytes);
    let trees = Trees {
        history: History::open(&db, sizes)?,
        records: Records::open(&db, sizes)?,
        heads: Values::open(&db, "heads", sizes)?,
        sizes,
    };
    let meta = db.open_tree("meta")?;
    let mark = mark(&meta)?;
    let (journal, commits) = Journal::open(&db, mark)?;
    let tally = Arc::new(Tally::default());
    let mut barrier = Barrier::new(db, path, options.sync.clone(), sizes, tally.clone())?;
    barrier.sync()?;
    if is_new {
        finish_making(path)?;
    }
    let mut state = State::default();
    load_heads(&trees.heads, &mut state)?;
    let last_commit = commits.last().map_or(mark, |(commit, _)| *commit);
    let writer = Writer {
        journal,
        meta,
        last_commit,
        checkpoint: None,
        sweeps: Schedule::default(),
        options,
        scratch: Scratch::new(barrier),
        ops: Vec::new(),
        marks: Vec::new(),
        next_of: Default::default(),
    };
    let store = SledStore {
        writer: Mutex::new(writer),
        trees,
        state: RwLock::new(state),
        tally,
        is_failed: AtomicBool::new(false),
        _lock: lock,
    };
    store.recover(commits)?;
    Ok(store)
}

impl SledStore {
    /// Applies the commits that were found in the journal, and does the erasing that a crash may have cut short.
    fn recover(&self, commits: Vec<Found>) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut amended = Amended::new();
        for (commit, written) in commits {
            amended.extend(written.amended().map(|entry| (entry, commit)));
            self.replay(commit, written, &mut writer.scratch)?;
        }
        if amended.is_empty() { Ok(()) } else { self.erase(&mut writer, &amended) }
    }

    /// A checkpoint that a crash interrupted may have written chunks of the commit's logs, behind what their heads say.
    fn replay(&self, commit: CommitNo, written: Written, scratch: &mut Scratch) -> Result<(), StoreError> {
        for op in &written.ops {
            if let Op::Append { log, .. }
            | Op::Trim { log, .. }
            | Op::DropLog { log }
            | Op::Amend { log, .. } = op
            {
                super::exclusive(&self.state).expect_leftovers(*log);
            }
        }
        self.amend_history(commit, &written.ops, scratch)?;
        let cuts = self.cuts(&written)?;
        self.apply(commit, written.ops, cuts)
    }
}

fn mark(meta: &sled::Tree) -> Result<CommitNo, StoreError> {
    let Some(found) = meta.get(MARK)? else { return Ok(0) };
    let bytes = found.as_ref().try_into().map_err(|_| StoreError::Corrupt("the checkpoint's mark".into()))?;
    Ok(CommitNo::from_be_bytes(bytes))
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let file = File::options().create(true).truncate(false).write(true).open(path.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Busy(path.to_path_buf())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Waits for what threads of sled may still do to the file after a store of this process was dropped. They hold sled's
/// own lock meanwhile; another process cannot, because `lock` is ours.
fn wait_for_threads(database: &Path) -> Result<(), StoreError> {
    let Ok(file) = File::open(database) else { return Ok(()) };
    for _ in 0..5_000 {
        match file.try_lock() {
            Ok(()) => return Ok(file.unlock()?),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    Err(StoreError::Busy(database.to_path_buf()))
}

/// Leaves the directory so that sled can open it; says whether the database is still to be made.
fn prepare(path: &Path) -> Result<bool, StoreError> {
    let creating = path.join("creating");
    if let Some(text) = read_if_there(&path.join("format"))? {
        check_format(&text)?;
        remove_if_there(&creating)?;
        // sled takes a snapshot that it was still writing for a finished one, and refuses it.
        remove_files(path, |name| name.starts_with("snap.") && name.ends_with(".generating"))?;
        // After a kill, what the kernel still holds is read as if it were on disk: make it so, before sled builds on it.
        File::open(path.join("db"))?.sync_all()?;
        sync_directory(path)?;
        return Ok(false);
    }
    if creating.exists() {
        remove_files(path, |name| name == "db" || name == "conf" || name.starts_with("snap."))?;
    } else if path.join("db").exists() {
        return Err(StoreError::Corrupt(format!(
            "{} holds a database that is not Katydid's",
            path.display()
        )));
    }
    File::create(&creating)?.sync_all()?;
    sync_directory(path)?;
    Ok(true)
}

fn check_format(text: &str) -> Result<(), StoreError> {
    match text.trim().parse() {
        Ok(found) if found > FORMAT => Err(StoreError::Newer { found, known: FORMAT }),
        Ok(_) => Ok(()),
        Err(_) => Err(StoreError::Corrupt("the file `format` does not say a number".into())),
    }
}

/// Makes the new database's files durable, and only then says that it is one.
fn finish_making(path: &Path) -> Result<(), StoreError> {
    File::open(path.join("conf"))?.sync_all()?;
    sync_directory(&path.join("blobs"))?;
    let unnamed = path.join("format.new");
    fs::write(&unnamed, format!("{FORMAT}\n"))?;
    File::open(&unnamed)?.sync_all()?;
    sync_directory(path)?;
    fs::rename(&unnamed, path.join("format"))?;
    sync_directory(path)?;
    if let Some(parent) = path.canonicalize()?.parent() {
        sync_directory(parent)?;
    }
    remove_if_there(&path.join("creating"))
}

fn sync_directory(path: &Path) -> Result<(), StoreError> {
    Ok(File::open(path)?.sync_all()?)
}

fn read_if_there(path: &Path) -> Result<Option<String>, StoreError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn remove_files(path: &Path, is_meant: impl Fn(&str) -> bool) -> Result<(), StoreError> {
    for item in fs::read_dir(path)? {
        let item = item?;
        if item.file_name().to_str().is_some_and(&is_meant) && item.file_type()?.is_file() {
            fs::remove_file(item.path())?;
        }
    }
    Ok(())
}
