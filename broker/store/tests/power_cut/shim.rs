//! What the power cut tests stand on: a disk whose every sync is recorded, what a cut between two syncs can leave, and
//! chance that is the same each time.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use katydid_store::SyncHook;

const SECTOR: usize = 512;

/// What the disk certainly has after a sync, and how many commits were acknowledged when that sync began.
pub(crate) struct Synced {
    pub(crate) acknowledged: usize,
    pub(crate) database: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) acknowledged: AtomicUsize,
    pub(crate) syncs: Mutex<Vec<Synced>>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorder")
    }
}

impl SyncHook for Recorder {
    fn sync(&self, file: &File) -> io::Result<()> {
        // sled shortens the file from a thread of its own: read as much as there is.
        let mut database = vec![0; file.metadata()?.len() as usize];
        let mut end = 0;
        while let length @ 1.. = file.read_at(&mut database[end..], end as u64)? {
            end += length;
        }
        database.truncate(end);
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        self.syncs.lock().expect("no panic while held").push(Synced { acknowledged, database });
        Ok(())
    }
}

/// A generator that gives the same load and the same tears each time.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A folder in memory where there is one: these tests make thousands of databases, and sync none for real.
pub(crate) fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder")
}

/// How a power cut leaves the sectors that were written and not synced.
pub(crate) const WAYS: [&str; 8] =
    ["none", "all", "first half", "second half", "random", "random pages", "all but one", "only one"];

/// The database file after a power cut, from what was certainly on disk and what was being written.
pub(crate) fn torn(before: &[u8], after: &[u8], way: &str, chance: &mut Chance) -> Vec<u8> {
    let sector = |file: &[u8], index: usize| -> [u8; SECTOR] {
        let mut content = [0; SECTOR];
        let from = file.len().min(index * SECTOR);
        let part = &file[from..file.len().min(from + SECTOR)];
        content[..part.len()].copy_from_slice(part);
        content
    };
    let sectors = before.len().max(after.len()).div_ceil(SECTOR);
    let changed: Vec<usize> =
        (0..sectors).filter(|index| sector(before, *index) != sector(after, *index)).collect();
    let one = chance.below(changed.len().max(1) as u64) as usize;
    let mut pages = std::collections::HashMap::new();
    let mut result = before.to_vec();
    let is_grown = way == "all" || (way != "none" && chance.below(3) > 0);
    if is_grown {
        result.resize(after.len().max(before.len()), 0);
    }
    for (order, index) in changed.iter().enumerate() {
        let is_kept = match way {
            "none" => false,
            "all" => true,
            "first half" => order < changed.len() / 2,
            "second half" => order >= changed.len() / 2,
            "random" => chance.below(2) == 0,
            "random pages" => *pages.entry(index / 8).or_insert_with(|| chance.below(2) == 0),
            "all but one" => order != one,
            _ => order == one,
        };
        if is_kept {
            let from = index * SECTOR;
            let to = result.len().min(from + SECTOR);
            if from < to {
                result[from..to].copy_from_slice(&sector(after, *index)[..to - from]);
            }
        }
    }
    result
}

/// The other files of a database that was closed or killed: they do not change while it is open.
pub(crate) fn other_files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(path).expect("a folder").map(|item| item.expect("an item").path());
    let files = files.filter(|file| file.is_file() && !file.ends_with("db") && !file.ends_with("lock"));
    files
        .map(|file| (PathBuf::from(file.file_name().expect("a name")), fs::read(&file).expect("a file")))
        .collect()
}

/// For what is not to be cut.
#[derive(Debug)]
pub(crate) struct Unsynced;

impl SyncHook for Unsynced {
    fn sync(&self, _: &File) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn rebuild(path: &Path, database: &[u8], others: &[(PathBuf, Vec<u8>)]) {
    fs::create_dir_all(path.join("blobs")).expect("a folder");
    fs::write(path.join("db"), database).expect("a file");
    for (name, content) in others {
        fs::write(path.join(name), content).expect("a file");
    }
}

pub(crate) fn seeds(first: u64) -> std::ops::Range<u64> {
    let count = std::env::var("POWER_CUT_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(1);
    first..first + count
}
