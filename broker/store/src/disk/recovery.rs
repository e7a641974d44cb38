//! Opening a database: its directory, its format, and what a crash left behind.
//!
//! The directory holds sled's files (`db`, `conf`, `blobs/`, `snap.*`), `lock`, `format`, which says what version of
//! this crate can read it, and, where it is encrypted, `wrapped-key`. `creating` is there while a database is made: what an interrupted making left is removed,
//! nothing else ever is. What an interrupted change of the key left is brought to its end before ([`super::rekey`]). Invariant: when `open` returns, memory is the state after the last commit that is on disk, and
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
use super::rekey;
use super::sizes::Sizes;
use super::state::State;
use super::sweep::Schedule;
use super::values::{Scratch, Values};
use super::{Options, SledStore, SyncHook, Tally, Writer};
use crate::block::Seal;
use crate::cipher::{self, Cipher, DataKey, StorageKey};
use crate::{KeyProblem, Op, StoreError};

/// The format that this version writes, and the newest it reads.
const FORMAT: u32 = 2;

/// The file that says so.
pub(super) const FORMAT_FILE: &str = "format";

/// The file with the database's own key, encrypted with the operator's.
pub(super) const KEY_FILE: &str = "wrapped-key";

/// Where the checkpoint's mark is, in the tree `meta`.
pub(super) const MARK: &str = "mark";

pub(super) fn open(path: &Path, options: Options) -> Result<SledStore, StoreError> {
    fs::create_dir_all(path)?;
    let lock = lock(path)?;
    open_locked(path, options, lock)
}

/// Opens the database in a directory whose lock is ours.
pub(super) fn open_locked(path: &Path, options: Options, lock: File) -> Result<SledStore, StoreError> {
    wait_for_threads(&path.join("db"))?;
    let sync = options.sync.clone();
    rekey::finish(path, &*sync)?;
    let key = unlocked(path, options.key.as_ref())?;
    let is_new = prepare(path, &*sync)?;
    let seal = match (key, &options.key) {
        (Some(key), _) => Seal::encrypting(Cipher::new(&key)?),
        (None, Some(operator)) if is_new => {
            Seal::encrypting(Cipher::new(&make_key(path, operator, &*sync)?)?)
        }
        _ => Seal::default(),
    };
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
        history: History::open(&db, sizes, &seal)?,
        records: Records::open(&db, sizes, &seal)?,
        heads: Values::open(&db, "heads", sizes, &seal)?,
        sizes,
    };
    let meta = db.open_tree("meta")?;
    let mark = mark(&meta)?;
    let (journal, commits) = Journal::open(&db, mark, &seal)?;
    let tally = Arc::new(Tally::default());
    let mut barrier = Barrier::new(db, path, options.sync.clone(), sizes, tally.clone())?;
    barrier.sync()?;
    if is_new {
        finish_making(path, &*sync)?;
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

/// The key of the database that is there: `None` where it is in clear or still to be made. Changes nothing.
pub(super) fn unlocked(path: &Path, operator: Option<&StorageKey>) -> Result<Option<DataKey>, StoreError> {
    let Some(format) = read_if_there(&path.join(FORMAT_FILE))? else { return Ok(None) };
    check_format(&format)?;
    match (read_if_there(&path.join(KEY_FILE))?, operator) {
        (Some(wrapped), Some(operator)) => cipher::unwrap(&wrapped, operator).map(Some),
        (Some(_), None) => Err(StoreError::Key(KeyProblem::Missing)),
        (None, Some(_)) => Err(StoreError::Key(KeyProblem::Unused)),
        (None, None) => Ok(None),
    }
}

/// Gives a database that is being made a key of its own.
fn make_key(path: &Path, operator: &StorageKey, sync: &dyn SyncHook) -> Result<DataKey, StoreError> {
    let key = cipher::random_key()?;
    write_whole(path, KEY_FILE, &cipher::wrap(&key, operator)?, sync)?;
    Ok(key)
}

fn mark(meta: &sled::Tree) -> Result<CommitNo, StoreError> {
    let Some(found) = meta.get(MARK)? else { return Ok(0) };
    let bytes = found.as_ref().try_into().map_err(|_| StoreError::Corrupt("the checkpoint's mark".into()))?;
    Ok(CommitNo::from_be_bytes(bytes))
}

pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let file = File::options().create(true).truncate(false).write(true).open(path.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Busy(path.to_path_buf())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Waits for what threads of sled may still do to the file after a store of this process was dropped. They hold sled's
/// own lock meanwhile; another process cannot, because `lock` is ours.
pub(super) fn wait_for_threads(database: &Path) -> Result<(), StoreError> {
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
fn prepare(path: &Path, sync: &dyn SyncHook) -> Result<bool, StoreError> {
    let creating = path.join("creating");
    if let Some(text) = read_if_there(&path.join(FORMAT_FILE))? {
        if check_format(&text)? < FORMAT {
            // What is written from now on, an earlier version would take for damage.
            write_whole(path, FORMAT_FILE, &format!("{FORMAT}\n"), sync)?;
        }
        remove_if_there(&creating)?;
        // sled takes a snapshot that it was still writing for a finished one, and refuses it.
        remove_files(path, |name| name.starts_with("snap.") && name.ends_with(".generating"))?;
        // After a kill, what the kernel still holds is read as if it were on disk: make it so, before sled builds on it.
        sync.sync_path(&path.join("db"))?;
        sync.sync_path(path)?;
        return Ok(false);
    }
    if creating.exists() {
        remove_files(path, |name| [KEY_FILE, "db", "conf"].contains(&name) || name.starts_with("snap."))?;
    } else if path.join("db").exists() {
        return Err(StoreError::Corrupt(format!(
            "{} holds a database that is not Katydid's",
            path.display()
        )));
    }
    File::create(&creating)?;
    sync.sync_path(&creating)?;
    sync.sync_path(path)?;
    Ok(true)
}

fn check_format(text: &str) -> Result<u32, StoreError> {
    match text.trim().parse() {
        Ok(found) if found > FORMAT => Err(StoreError::Newer { found, known: FORMAT }),
        Ok(found) => Ok(found),
        Err(_) => Err(StoreError::Corrupt("the file `format` does not say a number".into())),
    }
}

/// Makes the new database's files durable, and only then says that it is one.
fn finish_making(path: &Path, sync: &dyn SyncHook) -> Result<(), StoreError> {
    sync.sync_path(&path.join("conf"))?;
    sync.sync_path(&path.join("blobs"))?;
    write_whole(path, FORMAT_FILE, &format!("{FORMAT}\n"), sync)?;
    if let Some(parent) = path.canonicalize()?.parent() {
        sync.sync_path(parent)?;
    }
    remove_if_there(&path.join("creating"))
}

/// Makes or replaces a small file in one step, synced.
pub(super) fn write_whole(
    path: &Path,
    name: &str,
    text: &str,
    sync: &dyn SyncHook,
) -> Result<(), StoreError> {
    let unnamed = path.join(format!("{name}.new"));
    fs::write(&unnamed, text)?;
    sync.sync_path(&unnamed)?;
    sync.sync_path(path)?;
    fs::rename(&unnamed, path.join(name))?;
    Ok(sync.sync_path(path)?)
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
