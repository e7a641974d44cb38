//! Records on disk: one tree for every space.
//!
//! Knows keys and values as bytes. The key on disk is the space, a mark, the record's key, and the byte that ends keys; a
//! record's key that is longer than sled should have to carry is cut, and a hash of the whole stands in for the rest:
//! records that fall together so share one value, which lists each with its full key. In an encrypted database, something
//! that says nothing stands for the whole key, which is in the value, too. Invariant: `scan` gives what was put and not deleted.
//! A put or delete that a crash cut short is written again by whoever drives this, from the journal.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::sizes::Sizes;
use super::values::{self, Scratch, Values};
use crate::block::{self, Reader, Seal, put_bytes};
use crate::{Space, StoreError};

/// The record's key is all there.
const WHOLE: u8 = 0;
/// The record's key is cut; the value is a list of keys and values.
const CUT: u8 = 1;

/// The database is encrypted: the value is a list of the one key and its value.
const HIDDEN: u8 = 2;

/// How the key on disk stands for a record's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// It is the key; the value is the record's.
    Plain,
    /// Records may share it; the value lists them.
    Shared,
    /// It is that of one record; the value lists it.
    Hidden,
}

/// The tree of records.
#[derive(Debug)]
pub(super) struct Records {
    values: Values,
    sizes: Sizes,
    largest: AtomicUsize,
    seal: Seal,
}

impl Records {
    pub(super) fn open(db: &sled::Db, sizes: Sizes, seal: &Seal) -> Result<Self, StoreError> {
        let largest = sizes.value.min(1024).into();
        let values = Values::open(db, "records", sizes, seal)?;
        Ok(Self { values, sizes, largest, seal: seal.clone() })
    }

    /// Its trees, for a sweep.
    pub(super) fn trees(&self) -> [&sled::Tree; 2] {
        self.values.trees()
    }

    /// Writes a record, or removes it where `value` is `None`. Returns about how many bytes were written.
    pub(super) fn write(
        &self,
        space: Space,
        key: &[u8],
        value: Option<&[u8]>,
        scratch: &mut Scratch,
    ) -> Result<usize, StoreError> {
        let (stored, form) = self.stored_key(space, key);
        scratch.body.clear();
        if form == Form::Shared {
            let others = self.values.body(&stored)?.map(listed).transpose()?.unwrap_or_default();
            for (other, value) in others.iter().filter(|(other, _)| other != key) {
                put_bytes(&mut scratch.body, other);
                put_bytes(&mut scratch.body, value);
            }
        }
        let is_removed = value.is_none() && scratch.body.is_empty();
        match value {
            Some(value) if form == Form::Plain => scratch.body.extend_from_slice(value),
            Some(value) => {
                put_bytes(&mut scratch.body, key);
                put_bytes(&mut scratch.body, value);
            }
            None => {}
        }
        let length = scratch.body.len().min(self.sizes.value);
        let item = self.largest.fetch_max(length, Ordering::Relaxed).max(length);
        if is_removed {
            self.values.remove(&stored, item, scratch)?;
            return Ok(stored.len());
        }
        self.values.put(&stored, item, scratch)
    }

    /// The value of a record.
    pub(super) fn read(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let (stored, form) = self.stored_key(space, key);
        let Some(body) = self.values.body(&stored)? else { return Ok(None) };
        if form == Form::Plain {
            return Ok(Some(body));
        }
        Ok(listed(body)?.into_iter().find(|(found, _)| found == key).map(|(_, value)| value))
    }

    /// Adds every record of `space` to `found`.
    pub(super) fn scan(&self, space: Space, found: &mut BTreeMap<Bytes, Bytes>) -> Result<(), StoreError> {
        for item in self.items(space, None) {
            found.extend(item?.1);
        }
        Ok(())
    }

    /// What is on disk of `space`, behind the item whose stored key is `after`: stored keys, each with the records that
    /// are in its item.
    pub(super) fn items(
        &self,
        space: Space,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = Result<(Bytes, Vec<(Bytes, Bytes)>), StoreError>> + '_ {
        let from = match after {
            Some(after) => Bound::Excluded(after.to_vec()),
            None => Bound::Included(vec![space.0]),
        };
        let to = space.0.checked_add(1).map_or(Bound::Unbounded, |next| Bound::Excluded(vec![next]));
        self.values.range((from, to)).map(|item| {
            let (stored, value) = item?;
            let body = self.values.joined(&stored, value)?;
            let records = match stored.get(1) {
                Some(&WHOLE) => vec![(Bytes::copy_from_slice(&stored[2..stored.len() - 1]), body)],
                Some(&CUT | &HIDDEN) => listed(body)?,
                _ => return Err(StoreError::Corrupt("a record's key".into())),
            };
            Ok((block::shared(stored), records))
        })
    }

    fn stored_key(&self, space: Space, key: &[u8]) -> (Vec<u8>, Form) {
        if let Some(name) = self.seal.name(space.0, key) {
            return ([&[space.0, HIDDEN], &name[..], &[values::KEY]].concat(), Form::Hidden);
        }
        let room = self.sizes.key - 3;
        if key.len() <= room {
            return ([&[space.0, WHOLE], key, &[values::KEY]].concat(), Form::Plain);
        }
        // FNV-1a: it is on disk, so it must never change; keys that collide only share a list.
        let hash = key.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        let stored = [&[space.0, CUT], &key[..room - 8], &hash.to_be_bytes()[..], &[values::KEY]].concat();
        (stored, Form::Shared)
    }
}

fn listed(body: Bytes) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
    let mut reader = Reader::new(body);
    let mut found = Vec::new();
    while !reader.is_empty() {
        found.push((reader.bytes()?, reader.bytes()?));
    }
    Ok(found)
}
