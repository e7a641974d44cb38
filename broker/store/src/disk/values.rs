//! Values of any size in sled: what is too large for one item continues in a second tree.
//!
//! Knows keys and bodies as bytes; each key ends with [`KEY`], and what ends otherwise is not seen. A stored value is
//! sealed; its body says which further pieces there are ([`Pieces`]), and the first piece follows. Piece `n` has the key
//! of the value, `n` as four bytes and [`KEY`] behind it, which no two values share, whatever their keys are. Invariant:
//! an item is never larger than [`Sizes`] allows. Pieces are written before the value that needs them, under numbers that
//! the value it replaces does not use, and removed after it: so a prefix of the writes always shows the old value or the
//! new one, to a crash and to a reader. What a crash leaves is not seen, and [`Values::purge`] removes it.

use std::ops::RangeBounds;

use bytes::Bytes;

use super::barrier::Barrier;
use super::sizes::Sizes;
use crate::StoreError;
use crate::block::{self, Place, Reader, Seal, put_varint};

/// The last byte of every key.
pub(super) const KEY: u8 = 0;

/// The last byte of a key that is put beside another for a moment, by [`super::sweep`]. A crash may leave it there.
pub(super) const BESIDE: u8 = 1;

/// A tree of values and the tree of their further pieces.
#[derive(Debug, Clone)]
pub(super) struct Values {
    name: &'static str,
    tree: sled::Tree,
    pieces: sled::Tree,
    piece_bytes: usize,
    seal: Seal,
}

/// The numbers of a value's further pieces: `count` of them, from `first` on. On disk it is one number, `first` in its
/// upper half.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pieces {
    first: u32,
    count: u32,
}

impl Pieces {
    fn read(reader: &mut Reader) -> Result<Self, StoreError> {
        let coded = reader.varint()?;
        Ok(Self { first: (coded >> 32) as u32, count: coded as u32 })
    }

    fn coded(self) -> u64 {
        u64::from(self.first) << 32 | u64::from(self.count)
    }

    fn end(self) -> u32 {
        self.first.saturating_add(self.count)
    }

    /// Numbers for `count` pieces that `self` does not use.
    fn others(self, count: u32) -> Self {
        let first = if self.count == 0 || count <= self.first { 0 } else { self.end() };
        Self { first, count }
    }

    fn numbers(self) -> std::ops::Range<u32> {
        self.first..self.end()
    }
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
    pub(super) fn open(
        db: &sled::Db,
        name: &'static str,
        sizes: Sizes,
        seal: &Seal,
    ) -> Result<Self, StoreError> {
        let pieces = db.open_tree(format!("{name}.pieces"))?;
        let piece_bytes = sizes.value - seal.bytes() - 10;
        Ok(Self { name, tree: db.open_tree(name)?, pieces, piece_bytes, seal: seal.clone() })
    }

    /// Opens what was found under `key`; the keys of pieces are longer than those of their values, so one name does for
    /// both trees.
    fn opened(&self, key: &[u8], sealed: sled::IVec) -> Result<Bytes, StoreError> {
        self.seal.open(Place { tree: self.name, key }, &block::shared(sealed))
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
        let count = (scratch.body.len() - first).div_ceil(self.piece_bytes) as u32;
        let mut pieces = Pieces::default();
        if count > 0 {
            pieces = self.pieces_of(key)?.others(count);
            scratch.barrier.room_for(2 * Sizes::change(self.piece_bytes, self.piece_bytes))?;
        }
        for (index, piece) in pieces.numbers().zip(scratch.body[first..].chunks(self.piece_bytes)) {
            scratch.barrier.room_for(Sizes::one_of_a_run(self.piece_bytes))?;
            let key = piece_key(key, index);
            self.seal.begin(&mut scratch.sealed);
            scratch.sealed.extend_from_slice(piece);
            self.seal.seal(Place { tree: self.name, key: &key }, &mut scratch.sealed);
            self.pieces.insert(key, scratch.sealed.as_slice())?;
        }
        self.seal.begin(&mut scratch.sealed);
        put_varint(&mut scratch.sealed, pieces.coded());
        scratch.sealed.extend_from_slice(&scratch.body[..first]);
        self.seal.seal(Place { tree: self.name, key }, &mut scratch.sealed);
        scratch.barrier.room_for(Sizes::change(key.len() + scratch.sealed.len(), item))?;
        if let Some(old) = self.tree.insert(key, scratch.sealed.as_slice())? {
            self.remove_pieces(key, old, scratch)?;
        }
        Ok(key.len() + scratch.body.len())
    }

    /// Removes the value of `key`, if there is one.
    pub(super) fn remove(&self, key: &[u8], item: usize, scratch: &mut Scratch) -> Result<(), StoreError> {
        // A leaf that has become small is merged with its neighbour.
        scratch.barrier.room_for(2 * Sizes::change(key.len(), item))?;
        if let Some(old) = self.tree.remove(key)? {
            self.remove_pieces(key, old, scratch)?;
        }
        Ok(())
    }

    /// Removes the pieces of `old`, which no value needs any more.
    fn remove_pieces(&self, key: &[u8], old: sled::IVec, scratch: &mut Scratch) -> Result<(), StoreError> {
        let pieces = Pieces::read(&mut Reader::new(self.opened(key, old)?))?;
        for index in pieces.numbers() {
            self.remove_piece(&piece_key(key, index), scratch)?;
        }
        Ok(())
    }

    fn remove_piece(&self, key: &[u8], scratch: &mut Scratch) -> Result<(), StoreError> {
        // Leaves that shrink are merged, which writes them once more.
        scratch.barrier.room_for(2 * Sizes::one_of_a_run(self.piece_bytes))?;
        self.pieces.remove(key)?;
        Ok(())
    }

    /// Removes pieces under `key` that its value does not need: a crash left them.
    pub(super) fn purge(&self, key: &[u8], scratch: &mut Scratch) -> Result<(), StoreError> {
        let needed = self.pieces_of(key)?;
        for item in self.pieces.range(piece_key(key, 0)..=piece_key(key, u32::MAX)) {
            let (found, _) = item?;
            // Between them may be those of values with longer keys.
            let number = found.strip_prefix(key).and_then(|rest| rest.strip_suffix(&[KEY]));
            let number = number.and_then(|number| number.try_into().ok()).map(u32::from_be_bytes);
            if number.is_some_and(|number| !needed.numbers().contains(&number)) {
                self.remove_piece(&found, scratch)?;
            }
        }
        Ok(())
    }

    fn pieces_of(&self, key: &[u8]) -> Result<Pieces, StoreError> {
        let Some(value) = self.tree.get(key)? else { return Ok(Pieces::default()) };
        Pieces::read(&mut Reader::new(self.opened(key, value)?))
    }

    /// The body of the value of `key`.
    pub(super) fn body(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.tree.get(key)?.map(|value| self.joined(key, value)).transpose()
    }

    /// The body of a value that was found under `key`; shared where it is one piece. Where it has been replaced since
    /// by another of several pieces, that one's body.
    pub(super) fn joined(&self, key: &[u8], mut value: sled::IVec) -> Result<Bytes, StoreError> {
        loop {
            let mut reader = Reader::new(self.opened(key, value.clone())?);
            let pieces = Pieces::read(&mut reader)?;
            let first = reader.rest();
            if pieces.count == 0 {
                return Ok(first);
            }
            let mut body = first.to_vec();
            let mut is_whole = true;
            for index in pieces.numbers() {
                let key = piece_key(key, index);
                match self.pieces.get(&key)? {
                    Some(piece) => body.extend_from_slice(&self.opened(&key, piece)?),
                    None => is_whole = false,
                }
            }
            match self.tree.get(key)? {
                Some(now) if now != value => value = now,
                _ if is_whole => return Ok(body.into()),
                _ => return Err(StoreError::Corrupt("a piece of a value is missing".into())),
            }
        }
    }
}

fn is_seen(item: &Item) -> bool {
    item.as_ref().map_or(true, |(key, _)| key.last() == Some(&KEY))
}

fn piece_key(key: &[u8], index: u32) -> Vec<u8> {
    [key, &index.to_be_bytes(), &[KEY]].concat()
}
