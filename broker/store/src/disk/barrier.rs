//! The barrier between what is synced and what is not, and the rule that little is ever beyond it.
//!
//! sled gives a segment free for reuse once the pages that lived in it were rewritten and *flushed*, not synced, one to
//! two segments of writing later. If more than a segment were written between two syncs, a power cut could keep the new
//! content of a reused segment and drop the rewritten pages: acknowledged data would be gone, and sled may not even open.
//! And recovery looks for the torn end of sled's log in its last segments only. So every change is counted here, with
//! what it can make sled write besides. Invariant: before a change that could bring the count above half a segment, there
//! is a sync. Driven by the thread that commits, which calls [`Barrier::room_for`] before each change it makes to sled.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::sizes::Sizes;
use super::{SyncHook, Tally};
use crate::StoreError;

/// Syncs the database and counts what was written since.
#[derive(Debug)]
pub(super) struct Barrier {
    db: sled::Db,
    file: File,
    hook: Arc<dyn SyncHook>,
    tally: Arc<Tally>,
    limit: usize,
    unsynced: usize,
}

impl Barrier {
    pub(super) fn new(
        db: sled::Db,
        directory: &Path,
        hook: Arc<dyn SyncHook>,
        sizes: Sizes,
        tally: Arc<Tally>,
    ) -> Result<Self, StoreError> {
        let file = File::open(directory.join("db"))?;
        Ok(Self { db, file, hook, tally, limit: sizes.unsynced, unsynced: 0 })
    }

    /// Makes everything written so far survive a power cut.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        self.db.flush()?;
        let begin = Instant::now();
        self.hook.sync(&self.file)?;
        self.tally.syncs.fetch_add(1, Ordering::Relaxed);
        self.tally.sync_nanos.fetch_add(begin.elapsed().as_nanos() as u64, Ordering::Relaxed);
        self.unsynced = 0;
        Ok(())
    }

    /// Counts a change that makes sled write `bytes` at most, and syncs what is before it where that would be too much.
    pub(super) fn room_for(&mut self, bytes: usize) -> Result<(), StoreError> {
        if self.unsynced > 0 && self.unsynced + bytes > self.limit {
            self.sync()?;
        }
        self.unsynced += bytes;
        Ok(())
    }

    /// The size of the database file.
    pub(super) fn file_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.file.metadata()?.len())
    }
}
