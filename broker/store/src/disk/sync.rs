//! The calls that make changes durable, as a trait, so that a test can stand before and after it.
//!
//! sled's `flush` hands its buffers to the kernel and waits for the device with `sync_file_range`, which neither empties
//! the device's cache nor writes the file's metadata; only `sync_data` on the database file is a barrier for a power
//! cut. Invariant: whatever a hook does besides, when it returns `Ok` the file is on stable storage.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Makes what was written to the database file survive a power cut.
pub trait SyncHook: std::fmt::Debug + Send + Sync {
    /// Called by the thread that commits, with no lock held that a reader takes. An error is final for the store.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Makes a file beside the database file, or the entries of a directory, survive a power cut.
    fn sync_path(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// The file's own `sync_data`.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileSync;

impl SyncHook for FileSync {
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// A disk that takes its time: [`FileSync`] after a wait. For tests and for measuring how well groups form.
#[derive(Debug, Clone, Copy)]
pub struct DelayedSync(
    /// How long each sync waits.
    pub Duration,
);

impl SyncHook for DelayedSync {
    fn sync(&self, file: &File) -> io::Result<()> {
        std::thread::sleep(self.0);
        file.sync_data()
    }
}
