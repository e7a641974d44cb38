//! A chunk: a run of one log's entries, packed into one value.
//!
//! Knows the bytes of a chunk and nothing of where it is kept. A chunk is a summary, then each entry as the difference of
//! its number and time to the one before, its length and its bytes. Invariant: entries lie in the order of their numbers,
//! and there is at least one.

use bytes::Bytes;

use crate::block::{Reader, put_bytes, put_delta, put_varint};
use crate::{Entry, Seq, StoreError};

/// What a chunk holds, readable without its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) first_seq: Seq,
    pub(super) last_seq: Seq,
    pub(super) first_time_ms: u64,
    pub(super) last_time_ms: u64,
}

/// About what an entry takes in a chunk.
pub(super) fn packed_bytes(entry: &Entry) -> usize {
    entry.bytes.len() + 6
}

/// Appends `entries` as a chunk. Returns `None`, and appends nothing, when there are none.
pub(super) fn encode<'a>(
    entries: impl Iterator<Item = &'a Entry> + Clone,
    out: &mut Vec<u8>,
) -> Option<Summary> {
    let first = entries.clone().next()?;
    let (mut count, mut bytes, mut last) = (0, 0, first);
    for entry in entries.clone() {
        (count, bytes, last) = (count + 1, bytes + entry.bytes.len() as u64, entry);
    }
    put_varint(out, count);
    put_varint(out, bytes);
    put_varint(out, first.seq);
    put_delta(out, first.seq, last.seq);
    put_varint(out, first.time_ms);
    put_delta(out, first.time_ms, last.time_ms);
    let (mut seq, mut time_ms) = (first.seq, first.time_ms);
    for entry in entries {
        put_varint(out, entry.seq - seq);
        put_delta(out, time_ms, entry.time_ms);
        put_bytes(out, &entry.bytes);
        (seq, time_ms) = (entry.seq, entry.time_ms);
    }
    Some(Summary {
        entries: count,
        bytes,
        first_seq: first.seq,
        last_seq: last.seq,
        first_time_ms: first.time_ms,
        last_time_ms: last.time_ms,
    })
}

/// Reads a chunk from its beginning, without touching what is stepped over.
#[derive(Debug)]
pub(super) struct ChunkReader {
    pub(super) summary: Summary,
    reader: Reader,
    left: u64,
    seq: Seq,
    time_ms: u64,
}

/// Where an entry is within its chunk.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) seq: Seq,
    pub(super) time_ms: u64,
    range: std::ops::Range<usize>,
}

impl Place {
    pub(super) fn length(&self) -> usize {
        self.range.len()
    }
}

impl ChunkReader {
    pub(super) fn new(body: Bytes) -> Result<Self, StoreError> {
        let mut reader = Reader::new(body);
        let (entries, bytes) = (reader.varint()?, reader.varint()?);
        let first_seq = reader.varint()?;
        let last_seq = reader.delta(first_seq)?;
        let first_time_ms = reader.varint()?;
        let last_time_ms = reader.delta(first_time_ms)?;
        let summary = Summary { entries, bytes, first_seq, last_seq, first_time_ms, last_time_ms };
        Ok(Self { summary, reader, left: entries, seq: first_seq, time_ms: first_time_ms })
    }

    /// The place of the next entry; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Place>, StoreError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.seq = self.seq.wrapping_add(self.reader.varint()?);
        self.time_ms = self.reader.delta(self.time_ms)?;
        let length = self.reader.varint()?;
        let range = self.reader.skip(length)?;
        Ok(Some(Place { seq: self.seq, time_ms: self.time_ms, range }))
    }

    /// The entry at a place that [`ChunkReader::next`] gave.
    pub(super) fn entry(&self, place: Place) -> Entry {
        Entry { seq: place.seq, time_ms: place.time_ms, bytes: self.reader.slice(place.range) }
    }
}
