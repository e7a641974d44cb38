//! How large a value may be, derived from sled's segment size.
//!
//! sled writes a page whole when it has collected ten changes, and a page holds up to 16 items, 20 for a moment after
//! two pages merged. A page above a quarter of a segment goes to a file of its own under `blobs/`, which sled never
//! syncs: such a page would be lost in a power cut. Invariant: 25 of our largest items fit into that quarter, so that
//! no page ever becomes a blob.
//!
//! The same page writes bound how much one change can put into sled's log ([`Sizes::leaf_bytes`]), and with it how much
//! may be written between two syncs: see [`Unsynced`].

/// Items in the largest leaf, with room for what sled adds to each.
const LEAF_ITEMS: usize = 25;

/// Limits that hold for one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// The longest key.
    pub(super) key: usize,
    /// The longest value, sealed.
    pub(super) value: usize,
    /// What a chunk of history is filled up to.
    pub(super) chunk: usize,
    /// What may be written to sled's log between two syncs.
    pub(super) unsynced: usize,
}

impl Sizes {
    pub(super) fn for_segment(segment_bytes: usize) -> Self {
        let item = segment_bytes / 4 / LEAF_ITEMS;
        let key = (item / 4).min(512);
        let value = item - key - 32;
        Self { key, value, chunk: value.min(16 * 1024), unsynced: segment_bytes / 2 }
    }

    /// What one change can make sled write besides the change: its leaf, whole, of items as large as `item`.
    pub(super) fn leaf_bytes(item: usize) -> usize {
        17 * (item + 16)
    }
}

/// Counts what may have been written since the last sync.
///
/// sled gives a segment free for reuse once the pages that lived in it were rewritten and *flushed*, not synced, one to
/// two segments later. If more than a segment were written between two syncs, a power cut could keep the new content of
/// a reused segment and drop the rewritten pages: acknowledged data would be gone. And recovery looks for the torn end of
/// the log in the last segments only. So the store syncs in between whenever half a segment may have been written.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    bytes: usize,
}

impl Unsynced {
    /// Counts one change of `length` bytes in a tree whose items are as large as `item`.
    pub(super) fn add(&mut self, length: usize, item: usize) {
        self.bytes += length + Sizes::leaf_bytes(item);
    }

    /// Counts `changes` of neighbouring keys: a leaf is written whole once in ten changes, and two leaves are met.
    pub(super) fn add_run(&mut self, changes: usize, length: usize, item: usize) {
        self.bytes += length + (2 + changes / 10) * Sizes::leaf_bytes(item);
    }

    /// Counts bytes that are written as they are.
    pub(super) fn add_known(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Whether to sync before anything more is written.
    pub(super) fn is_full(&self, sizes: Sizes) -> bool {
        self.bytes > sizes.unsynced
    }

    /// Whether so much is unsynced that work which can wait should wait for the next sync.
    pub(super) fn is_crowded(&self, sizes: Sizes) -> bool {
        self.bytes > sizes.unsynced / 2
    }

    pub(super) fn clear(&mut self) {
        self.bytes = 0;
    }
}
