//! The history: chunks of every log in one tree, in the order of log and number.
//!
//! A chunk's key is the log and the number of the chunk's first entry, each as eight bytes, big endian, and the byte that
//! ends keys. It knows nothing
//! of tails, of what a log keeps or of commits: whoever asks says from which number to which ([`Span`]), because a
//! crashed checkpoint leaves entries that are not part of the history yet, and trimmed ones stay until their chunk goes.
//! Invariant: nothing outside the span is ever returned. Driven by the thread that commits, for writes, and by any
//! thread, for reads; sled's trees need no lock.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::chunk::{ChunkReader, Place, Summary, encode};
use super::sizes::Sizes;
use super::values::{self, Item, Scratch, Values};
use crate::block::Seal;
use crate::{Allowance, Entry, Keep, LogId, Seq, StoreError};

/// The entries of a log from `from` on and below `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) log: LogId,
    pub(super) from: Seq,
    pub(super) to: Seq,
}

/// What a trim or an amendment takes away from a history, and what is first after a trim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    /// Number and time of the first entry behind the cut, if it is in the history.
    pub(super) first_kept: Option<(Seq, u64)>,
}

/// The chunks of all logs.
#[derive(Debug)]
pub(super) struct History {
    values: Values,
    sizes: Sizes,
}

type Key = [u8; 17];

fn key(log: LogId, first: Seq) -> Key {
    let mut key = [values::KEY; 17];
    key[..8].copy_from_slice(&log.to_be_bytes());
    key[8..16].copy_from_slice(&first.to_be_bytes());
    key
}

fn first_seq_of(key: &[u8]) -> Result<Seq, StoreError> {
    let bytes = key.get(8..16).and_then(<[u8]>::first_chunk);
    bytes.map(|bytes| Seq::from_be_bytes(*bytes)).ok_or_else(|| StoreError::Corrupt("a chunk's key".into()))
}

impl History {
    /// Its trees, for a sweep.
    pub(super) fn trees(&self) -> [&sled::Tree; 2] {
        self.values.trees()
    }

    pub(super) fn open(db: &sled::Db, sizes: Sizes, seal: &Seal) -> Result<Self, StoreError> {
        Ok(Self { values: Values::open(db, "history", sizes, seal)?, sizes })
    }

    /// Writes `entries` as one chunk, in place of one that begins with the same entry. There must be one at least.
    pub(super) fn write<'a>(
        &self,
        log: LogId,
        entries: impl Iterator<Item = &'a Entry> + Clone,
        scratch: &mut Scratch,
    ) -> Result<Option<(Summary, usize)>, StoreError> {
        scratch.body.clear();
        let Some(summary) = encode(entries, &mut scratch.body) else { return Ok(None) };
        let length = self.values.put(&key(log, summary.first_seq), self.sizes.chunk, scratch)?;
        Ok(Some((summary, length)))
    }

    /// The chunk that begins with `first`, all of it.
    pub(super) fn chunk(&self, log: LogId, first: Seq) -> Result<Option<ChunkReader>, StoreError> {
        self.values.body(&key(log, first))?.map(ChunkReader::new).transpose()
    }

    /// How long an entry of `span` is.
    pub(super) fn length(&self, span: Span, seq: Seq) -> Result<Option<u64>, StoreError> {
        if !(span.from..span.to).contains(&seq) {
            return Ok(None);
        }
        let Some(begin) = self.chunk_at_or_before(span.log, seq)? else { return Ok(None) };
        let Some(mut chunk) = self.chunk(span.log, begin)? else { return Ok(None) };
        while let Some(place) = chunk.next()? {
            if place.seq == seq {
                return Ok(Some(place.length() as u64));
            }
        }
        Ok(None)
    }

    /// Gives entries of `span` new content, and leaves nothing of the old: each chunk is replaced in one step. It may be
    /// done again after a crash. Chunks keep the entries that were trimmed, because a replay counts them.
    pub(super) fn amend(
        &self,
        span: Span,
        contents: &BTreeMap<Seq, Bytes>,
        scratch: &mut Scratch,
    ) -> Result<(), StoreError> {
        let Span { log, mut from, to } = span;
        while let Some((seq, _)) = contents.range(from..to.max(from)).next() {
            from = seq.saturating_add(1);
            let Some(begin) = self.chunk_at_or_before(log, *seq)? else { continue };
            let Some(mut chunk) = self.chunk(log, begin)? else { continue };
            from = from.max(chunk.summary.last_seq.saturating_add(1));
            let mut entries = Vec::new();
            while let Some(place) = chunk.next()? {
                // What lies behind the span was left by an interrupted checkpoint.
                if place.seq < to {
                    let mut entry = chunk.entry(place);
                    if span.from <= entry.seq
                        && let Some(bytes) = contents.get(&entry.seq)
                    {
                        entry.bytes = bytes.clone();
                    }
                    entries.push(entry);
                }
            }
            self.write(log, entries.iter(), scratch)?;
            self.values.purge(&key(log, begin), scratch)?;
        }
        Ok(())
    }

    /// The chunks that can hold entries of `span`, ascending.
    fn chunks(
        &self,
        span: Span,
    ) -> Result<impl Iterator<Item = Result<ChunkReader, StoreError>> + '_, StoreError> {
        let start = self.chunk_at_or_before(span.log, span.from)?.unwrap_or(span.from);
        let range = if span.from < span.to {
            self.values.range(key(span.log, start)..key(span.log, span.to))
        } else {
            self.values.range(key(span.log, 0)..key(span.log, 0))
        };
        Ok(range.map(|item| self.reader(item)))
    }

    fn reader(&self, item: Item) -> Result<ChunkReader, StoreError> {
        let (key, value) = item?;
        ChunkReader::new(self.values.joined(&key, value)?)
    }

    /// First number of the last chunk that begins at or before `seq`.
    fn chunk_at_or_before(&self, log: LogId, seq: Seq) -> Result<Option<Seq>, StoreError> {
        let found = self.values.range(key(log, 0)..=key(log, seq)).next_back().transpose()?;
        found.map(|(key, _)| first_seq_of(&key)).transpose()
    }

    /// Appends entries of `span`, ascending, until the allowance is used up.
    pub(super) fn read(
        &self,
        span: Span,
        allowance: &mut Allowance,
        out: &mut Vec<Entry>,
    ) -> Result<(), StoreError> {
        for chunk in self.chunks(span)? {
            let mut chunk = chunk?;
            while let Some(place) = chunk.next()? {
                if place.seq >= span.to {
                    return Ok(());
                }
                if place.seq >= span.from {
                    if !allowance.take(place.length()) {
                        return Ok(());
                    }
                    out.push(chunk.entry(place));
                }
            }
            if allowance.is_spent() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Appends entries of `span`, descending, until the allowance is used up.
    pub(super) fn read_back(
        &self,
        span: Span,
        allowance: &mut Allowance,
        out: &mut Vec<Entry>,
    ) -> Result<(), StoreError> {
        if span.from >= span.to {
            return Ok(());
        }
        let range = self.values.range(key(span.log, 0)..key(span.log, span.to));
        let mut places: Vec<Place> = Vec::new();
        for item in range.rev() {
            let mut chunk = self.reader(item)?;
            while let Some(place) = chunk.next()? {
                if (span.from..span.to).contains(&place.seq) {
                    places.push(place);
                }
            }
            for place in places.drain(..).rev() {
                if !allowance.take(place.length()) {
                    return Ok(());
                }
                out.push(chunk.entry(place));
            }
            if allowance.is_spent() || chunk.summary.first_seq <= span.from {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Number of the first entry of `span` whose time is at least `time_ms`. Reads a number of chunks that grows with
    /// the logarithm of the span.
    pub(super) fn seek_time(&self, span: Span, time_ms: u64) -> Result<Option<Seq>, StoreError> {
        let (mut low, mut high) = (span.from, span.to);
        let mut new_enough = None;
        // What begins below `low` is older than wanted; `new_enough` begins at `high`, and is not.
        while low < high {
            let middle = low + (high - low) / 2;
            let begin = self.chunk_at_or_before(span.log, middle)?;
            let chunk = match begin {
                Some(begin) => self.chunk(span.log, begin)?.map(|chunk| (begin, chunk.summary)),
                None => None,
            };
            match chunk {
                Some((begin, summary)) if summary.last_time_ms >= time_ms => {
                    new_enough = Some(begin);
                    high = begin;
                }
                Some((_, summary)) => low = middle.max(summary.last_seq).saturating_add(1),
                None => low = middle + 1,
            }
        }
        let Some(begin) = new_enough else { return Ok(None) };
        for chunk in self.chunks(Span { from: begin.max(span.from), ..span })? {
            let mut chunk = chunk?;
            while let Some(place) = chunk.next()? {
                if (span.from..span.to).contains(&place.seq) && place.time_ms >= time_ms {
                    return Ok(Some(place.seq));
                }
            }
        }
        Ok(None)
    }

    /// What a trim below `below` takes from `span`.
    pub(super) fn cut(&self, span: Span, below: Seq) -> Result<Cut, StoreError> {
        let mut cut = Cut::default();
        for chunk in self.chunks(span)? {
            let mut chunk = chunk?;
            let Summary { entries, bytes, first_seq, last_seq, .. } = chunk.summary;
            if first_seq >= span.from && last_seq < below.min(span.to) {
                (cut.entries, cut.bytes) = (cut.entries + entries, cut.bytes + bytes);
                continue;
            }
            while let Some(place) = chunk.next()? {
                if place.seq < span.from {
                    continue;
                }
                if place.seq >= span.to {
                    return Ok(cut);
                }
                if place.seq >= below {
                    cut.first_kept = Some((place.seq, place.time_ms));
                    return Ok(cut);
                }
                (cut.entries, cut.bytes) = (cut.entries + 1, cut.bytes + place.length() as u64);
            }
        }
        Ok(cut)
    }

    /// The first entry of `span` that may stay, where the first of `entries` entries with `bytes` bytes is that of `span`;
    /// `None` where all of `span` must go.
    pub(super) fn excess(
        &self,
        span: Span,
        keep: Keep,
        mut entries: u64,
        mut bytes: u64,
    ) -> Result<Option<Seq>, StoreError> {
        for chunk in self.chunks(span)? {
            let mut chunk = chunk?;
            let Summary {
                entries: in_chunk, bytes: bytes_in_chunk, first_seq, last_seq, last_time_ms, ..
            } = chunk.summary;
            let (behind, bytes_behind) =
                (entries.saturating_sub(in_chunk), bytes.saturating_sub(bytes_in_chunk));
            let is_all_gone =
                behind >= keep.entries || bytes_behind > keep.bytes || last_time_ms < keep.since_ms;
            if is_all_gone && first_seq >= span.from && last_seq < span.to {
                (entries, bytes) = (behind, bytes_behind);
                continue;
            }
            while let Some(place) = chunk.next()? {
                if !(span.from..span.to).contains(&place.seq) {
                    continue;
                }
                if !keep.is_exceeded(entries, bytes, place.time_ms) {
                    return Ok(Some(place.seq));
                }
                (entries, bytes) = (entries.saturating_sub(1), bytes.saturating_sub(place.length() as u64));
            }
        }
        Ok(None)
    }

    /// Removes at most `limit` chunks that begin at or behind `from`; says whether there may be more.
    pub(super) fn remove_from(
        &self,
        log: LogId,
        from: Seq,
        limit: usize,
        scratch: &mut Scratch,
    ) -> Result<bool, StoreError> {
        for item in self.values.range(key(log, from)..=key(log, Seq::MAX)).take(limit) {
            self.values.remove(&item?.0, self.sizes.chunk, scratch)?;
        }
        Ok(self.values.range(key(log, from)..=key(log, Seq::MAX)).next().transpose()?.is_some())
    }

    /// Removes at most `limit` chunks whose entries are all below `below`; `oldest` is where the first chunk begins.
    /// Returns where the first chunk that stays begins, and whether there may be more to remove.
    pub(super) fn remove_below(
        &self,
        span: Span,
        limit: usize,
        scratch: &mut Scratch,
    ) -> Result<(Option<Seq>, bool), StoreError> {
        let Span { log, from: oldest, to: below } = span;
        for (removed, item) in self.values.range(key(log, oldest)..=key(log, Seq::MAX)).enumerate() {
            let (key, value) = item?;
            let first = first_seq_of(&key)?;
            // The next chunk begins behind this one's last entry, so only the last chunk below needs to be opened.
            if first >= below || ChunkReader::new(self.values.joined(&key, value)?)?.summary.last_seq >= below
            {
                return Ok((Some(first), false));
            }
            if removed >= limit {
                return Ok((Some(first), true));
            }
            self.values.remove(&key, self.sizes.chunk, scratch)?;
        }
        Ok((None, false))
    }
}
