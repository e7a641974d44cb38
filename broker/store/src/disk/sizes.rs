//! How large a value may be, derived from sled's segment size.
//!
//! sled writes a page whole when it has collected ten changes, and a page holds up to 16 items, 20 for a moment after
//! two pages merged. A page above a quarter of a segment goes to a file of its own under `blobs/`, which sled never
//! syncs: such a page would be lost in a power cut. Invariant: 25 of our largest items fit into that quarter, so that
//! no page ever becomes a blob.
//!
//! The same page writes bound how much one change can put into sled's log ([`Sizes::change`]), which is what
//! [`super::barrier`] counts.

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

    /// What one change of `length` bytes can make sled write, in a tree whose items are as large as `item`: the change,
    /// and its leaf, whole.
    pub(super) fn change(length: usize, item: usize) -> usize {
        length + 17 * (item.max(length) + 16)
    }

    /// The same for each of many changes to neighbouring keys, where a leaf is written whole once in ten changes. The
    /// first of them may meet two leaves: it counts as two of [`Sizes::change`].
    pub(super) fn one_of_a_run(length: usize) -> usize {
        3 * (length + 16)
    }
}
