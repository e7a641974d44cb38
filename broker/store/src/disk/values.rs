//! Values of any size in sled: what is too large for one item continues in a second tree.
//!
//! Knows keys and bodies as bytes; each key ends with [`KEY`], and what ends otherwise is not seen. A stored value is sealed; its body is the number of further pieces and the first
//! piece. Piece `n` has the key of the value, `n` as four bytes and [`KEY`] behind it, which no two values share, whatever their
//! keys are. Invariant: an item is never larger than [`Sizes`] allows. Pieces are written before the value that needs
//! them and removed after it, so that a prefix of the writes never shows a value with missing pieces, but for a value
//! that replaces another of several pieces: whoever writes such a one must be able to write it again after a crash.

use std::ops::RangeBounds;

use bytes::Bytes;

use super::barrier::Barrier;
use super::sizes::Sizes;
use crate::StoreError;
use crate::block::{self, Reader, put_varint};

/// The last byte of every key.
pub(super) const KEY: u8 = 0;

/// The last byte of a key that is put beside another for a moment, by [`super::sweep`]. A crash may leave it there.
pub(super) const BESIDE: u8 = 1;

/// A tree of values and the tree of their further pieces.
#[derive(Debug, Clone)]
pub(super) struct Values {
    tree: sled::Tree,
    pieces: sled::Tree,
    piece_bytes: usize,
}

/// What a range of sled gives.
pub(super) type Item = Result<(sled::IVec, sled::IVec), sled::Error>;

/// What writing needs at hand, kept so that a write allocates nothing but what sled keeps.
#[derive(Debug)]
pub(super) struct Scratch {
    sealed: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) barrier: Barrier,
}

impl Scratch {
    pub(super) fn new(barrier: Barrier) -> Self {
        Self { sealed: Vec::new(), body: Vec::new(), barrier }
    }
}

impl Values {
    pub(super) fn open(db: &sled::Db, name: &str, sizes: Sizes) -> Result<Self, StoreError> {
        let pieces = db.open_tree(format!("{name}.pieces"))?;
        Ok(Self { tree: db.open_tree(name)?, pieces, piece_bytes: sizes.value - block::SEAL_BYTES - 10 })
    }

    /// The values whose keys are in `range`, with those keys.
    pub(super) fn range<K: AsRef<[u8]>, R: RangeBounds<K>>(
        &self,
        range: R,
    ) -> impl DoubleEndedIterator<Item = Item> + use<K, R> {
        self.tree.range(range).filter(is_seen)
    }

    /// The values whose keys begin with `prefix`, with those keys.
    pub(super) fn with_prefix(&self, prefix: &[u8]) -> impl DoubleEndedIterator<Item = Item> + use<> {
        self.tree.scan_prefix(prefix).filter(is_seen)
    }

    /// Both trees, for a sweep.
    pub(super) fn trees(&self) -> [&sled::Tree; 2] {
        [&self.tree, &self.pieces]
    }

    /// Writes `scratch.body` under `key`; the items in this tree are as large as `item`. Returns the bytes written.
    pub(super) fn put(&self, key: &[u8], item: usize, scratch: &mut Scratch) -> Result<usize, StoreError> {
        let first = scratch.body.len().min(self.piece_bytes);
        let further = (scratch.body.len() - first).div_ceil(self.piece_bytes);
        if further > 0 {
            scratch.barrier.room_for(2 * Sizes::change(self.piece_bytes, self.piece_bytes))?;
        }
        for (index, piece) in scratch.body[first..].chunks(self.piece_bytes).enumerate() {
            scratch.barrier.room_for(Sizes::one_of_a_run(self.piece_bytes))?;
            block::begin(&mut scratch.sealed);
            scratch.sealed.extend_from_slice(piece);
            block::seal(&mut scratch.sealed);
            self.pieces.insert(piece_key(key, index as u32), scratch.sealed.as_slice())?;
        }
        block::begin(&mut scratch.sealed);
        put_varint(&mut scratch.sealed, further as u64);
        scratch.sealed.extend_from_slice(&scratch.body[..first]);
        block::seal(&mut scratch.sealed);
        scratch.barrier.room_for(Sizes::change(key.len() + scratch.sealed.len(), item))?;
        if let Some(old) = self.tree.insert(key, scratch.sealed.as_slice())? {
            self.remove_pieces(key, further as u64, old, scratch)?;
        }
        Ok(key.len() + scratch.body.len())
    }

    /// Removes the value of `key`, if there is one.
    pub(super) fn remove(&self, key: &[u8], item: usize, scratch: &mut Scratch) -> Result<(), StoreError> {
        // A leaf that has become small is merged with its neighbour.
        scratch.barrier.room_for(2 * Sizes::change(key.len(), item))?;
        if let Some(old) = self.tree.remove(key)? {
            self.remove_pieces(key, 0, old, scratch)?;
        }
        Ok(())
    }

    fn remove_pieces(
        &self,
        key: &[u8],
        from: u64,
        old: sled::IVec,
        scratch: &mut Scratch,
    ) -> Result<(), StoreError> {
        let further = Reader::new(block::open(&block::shared(old))?).varint()?;
        for index in from..further {
            // Leaves that shrink are merged, which writes them once more.
            scratch.barrier.room_for(2 * Sizes::one_of_a_run(self.piece_bytes))?;
            self.pieces.remove(piece_key(key, index as u32))?;
        }
        Ok(())
    }

    /// The body of the value of `key`.
    pub(super) fn body(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.tree.get(key)?.map(|value| self.joined(key, value)).transpose()
    }

    /// The body of a value that was found under `key`; shared where it is one piece.
    pub(super) fn joined(&self, key: &[u8], value: sled::IVec) -> Result<Bytes, StoreError> {
        let mut reader = Reader::new(block::open(&block::shared(value))?);
        let further = reader.varint()?;
        let first = reader.rest();
        if further == 0 {
            return Ok(first);
        }
        let mut body = first.to_vec();
        for index in 0..further {
            let piece = self.pieces.get(piece_key(key, index as u32))?;
            let piece = piece.ok_or_else(|| StoreError::Corrupt("a piece of a value is missing".into()))?;
            body.extend_from_slice(&block::open(&block::shared(piece))?);
        }
        Ok(body.into())
    }
}

fn is_seen(item: &Item) -> bool {
    item.as_ref().map_or(true, |(key, _)| key.last() == Some(&KEY))
}

fn piece_key(key: &[u8], index: u32) -> Vec<u8> {
    [key, &index.to_be_bytes(), &[KEY]].concat()
}
