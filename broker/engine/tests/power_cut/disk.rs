//! The disk: a copy of the database file at each sync, and what a power cut between two syncs can leave of it.
//!
//! Between two syncs the disk may have any part of what changed. Invariant: an image holds every sector as the last
//! sync left it or as the next one would have, and what was in both is untouched. Driven by the test.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use katydid_store::{Options, SyncHook};

use super::Chance;

const SECTOR: usize = 512;

/// How a power cut leaves the sectors that were written and not synced.
pub(super) const WAYS: [&str; 5] = ["none", "all", "first half", "second half", "random"];

/// Keeps a copy of the database at each sync.
#[derive(Default)]
pub(super) struct Recorder {
    copies: Mutex<Vec<Vec<u8>>>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorder")
    }
}

impl Recorder {
    /// The copies since the last call.
    pub(super) fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.copies.lock().expect("no panic while held"))
    }
}

impl SyncHook for Recorder {
    fn sync(&self, file: &File) -> io::Result<()> {
        // sled shortens the file from a thread of its own: read as much as there is.
        let mut copy = vec![0; file.metadata()?.len() as usize];
        let mut end = 0;
        while let length @ 1.. = file.read_at(&mut copy[end..], end as u64)? {
            end += length;
        }
        copy.truncate(end);
        self.copies.lock().expect("no panic while held").push(copy);
        Ok(())
    }
}

/// Small sizes, so that checkpoints happen all the time.
pub(super) fn options(sync: Arc<dyn SyncHook>) -> Options {
    Options { segment_bytes: 64 << 10, journal_bytes: 16_000, journal_blocks: 60, sync, ..Options::default() }
}

/// A folder in memory where there is one: these tests make hundreds of databases, and sync none for real.
pub(super) fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder")
}

/// The database after a power cut, from what was certainly on disk and what was being written.
pub(super) fn torn(before: &[u8], after: &[u8], way: &str, chance: &mut Chance) -> Vec<u8> {
    let sector = |file: &[u8], index: usize| {
        let mut content = [0; SECTOR];
        let from = file.len().min(index * SECTOR);
        let part = &file[from..file.len().min(from + SECTOR)];
        content[..part.len()].copy_from_slice(part);
        content
    };
    let sectors = before.len().max(after.len()).div_ceil(SECTOR);
    let changed: Vec<usize> = (0..sectors).filter(|at| sector(before, *at) != sector(after, *at)).collect();
    let mut image = before.to_vec();
    if way == "all" || (way != "none" && chance.below(3) > 0) {
        image.resize(after.len().max(before.len()), 0);
    }
    for (order, index) in changed.iter().enumerate() {
        let is_kept = match way {
            "none" => false,
            "all" => true,
            "first half" => order < changed.len() / 2,
            "second half" => order >= changed.len() / 2,
            _ => chance.below(2) == 0,
        };
        let from = index * SECTOR;
        let to = image.len().min(from + SECTOR);
        if is_kept && from < to {
            image[from..to].copy_from_slice(&sector(after, *index)[..to - from]);
        }
    }
    image
}

/// The other files of an open database: they do not change.
pub(super) fn other_files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(path).expect("a folder").map(|item| item.expect("an item").path());
    files
        .filter(|file| file.is_file() && !file.ends_with("db") && !file.ends_with("lock"))
        .map(|file| (PathBuf::from(file.file_name().expect("a name")), fs::read(&file).expect("a file")))
        .collect()
}

/// Writes a database as a power cut left it.
pub(super) fn rebuild(path: &Path, database: &[u8], others: &[(PathBuf, Vec<u8>)]) {
    fs::create_dir_all(path.join("blobs")).expect("a folder");
    fs::write(path.join("db"), database).expect("a file");
    for (name, content) in others {
        fs::write(path.join(name), content).expect("a file");
    }
}
