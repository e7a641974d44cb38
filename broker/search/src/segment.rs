//! Segments: some thousand entries of a log each, and how one that changes is held in memory until it is written.
//!
//! Invariant: what is written is all that was changed, in one commit of the caller.

use crate::bucket::{self, BUCKETS, Reader, Words, put};
use crate::{CURSORS, Cursor, FORMAT, Index, SEGMENTS};
use bytes::Bytes;
use katydid_store::{LogId, Op, Seq, StoreError};
use std::collections::{BTreeMap, HashSet};

/// Where a segment says what it is.
pub(crate) const ABOUT: u8 = u8::MAX;

/// What a segment is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct About {
    /// The first number that it covers.
    pub(crate) first: Seq,
    /// The last.
    pub(crate) last: Seq,
    /// Times of those two.
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    /// Entries in it.
    pub(crate) entries: u64,
    /// Bytes of their texts.
    pub(crate) bytes: u64,
    /// The number of the newest edit of each entry that was edited.
    pub(crate) edits: BTreeMap<Seq, Seq>,
}

impl About {
    fn to_bytes(&self) -> Bytes {
        let mut out = vec![FORMAT];
        for number in [self.first, self.last, self.first_ms, self.last_ms, self.entries, self.bytes] {
            put(&mut out, number);
        }
        self.edits.iter().flat_map(|(of, by)| [*of, *by]).for_each(|number| put(&mut out, number));
        out.into()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes.strip_prefix(&[FORMAT])?);
        let mut about = Self {
            first: reader.number()?,
            last: reader.number()?,
            first_ms: reader.number()?,
            last_ms: reader.number()?,
            entries: reader.number()?,
            bytes: reader.number()?,
            edits: BTreeMap::new(),
        };
        while let Some(of) = reader.number() {
            about.edits.insert(of, reader.number()?);
        }
        Some(about)
    }
}

/// The key of a bucket.
pub(crate) fn key(log: LogId, segment: u32, bucket: u8) -> [u8; 13] {
    let mut key = [bucket; 13];
    key[..8].copy_from_slice(&log.to_be_bytes());
    key[8..12].copy_from_slice(&segment.to_be_bytes());
    key
}

impl Index {
    pub(crate) fn bucket(&self, log: LogId, segment: u32, bucket: u8) -> Result<Bytes, StoreError> {
        Ok(self.store.get(SEGMENTS, &key(log, segment, bucket))?.unwrap_or_default())
    }

    pub(crate) fn about(&self, log: LogId, segment: u32) -> Result<Option<About>, StoreError> {
        let Some(bytes) = self.store.get(SEGMENTS, &key(log, segment, ABOUT))? else { return Ok(None) };
        let about = About::from_bytes(&bytes);
        about.map(Some).ok_or_else(|| StoreError::Corrupt("a segment of the index".into()))
    }

    /// The segment that covers a number below the cursor.
    pub(crate) fn segment_of(&self, log: LogId, cursor: Cursor, seq: Seq) -> Result<Option<u32>, StoreError> {
        let (mut low, mut high) = (cursor.low, cursor.top.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            match self.about(log, middle)? {
                Some(about) if seq < about.first => high = middle,
                Some(about) if seq <= about.last => return Ok(Some(middle)),
                _ => low = middle + 1,
            }
        }
        Ok(None)
    }
}

/// Segments of one log that change, in memory.
pub(crate) struct Draft<'a> {
    index: &'a Index,
    log: LogId,
    pub(crate) cursor: Cursor,
    abouts: BTreeMap<u32, About>,
    buckets: BTreeMap<(u32, u8), Words>,
    /// Segments that go.
    gone: Vec<u32>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(index: &'a Index, log: LogId) -> Self {
        let (abouts, buckets) = (BTreeMap::new(), BTreeMap::new());
        Self { index, log, cursor: index.cursor(log), abouts, buckets, gone: Vec::new() }
    }

    /// How many segments are held.
    pub(crate) fn held(&self) -> usize {
        self.abouts.len()
    }

    /// What a segment is; an empty one where there is none.
    pub(crate) fn about(&mut self, segment: u32) -> Result<&mut About, StoreError> {
        if !self.abouts.contains_key(&segment) {
            let about = self.index.about(self.log, segment)?.unwrap_or_default();
            self.abouts.insert(segment, about);
        }
        Ok(self.abouts.entry(segment).or_default())
    }

    fn words(&mut self, segment: u32, bucket: u8) -> Result<&mut Words, StoreError> {
        if !self.buckets.contains_key(&(segment, bucket)) {
            let words = bucket::decode(&self.index.bucket(self.log, segment, bucket)?);
            self.buckets.insert((segment, bucket), words);
        }
        Ok(self.buckets.entry((segment, bucket)).or_default())
    }

    /// Puts a word of an entry in; entries come in the order of their numbers.
    pub(crate) fn add(&mut self, segment: u32, word: &str, seq: Seq) -> Result<(), StoreError> {
        let word = bucket::indexed(word);
        let Some(bucket) = bucket::bucket_of(word, false) else { return Ok(()) };
        let words = self.words(segment, bucket)?;
        match words.get_mut(word) {
            Some(seqs) if seqs.last() == Some(&seq) => {}
            Some(seqs) => seqs.push(seq),
            None => drop(words.insert(word.into(), vec![seq])),
        }
        Ok(())
    }

    /// Takes every word of some entries out.
    pub(crate) fn strip(&mut self, segment: u32, is_gone: impl Fn(Seq) -> bool) -> Result<(), StoreError> {
        self.about(segment)?;
        for bucket in 0..BUCKETS {
            let words = self.words(segment, bucket)?;
            words.values_mut().for_each(|seqs| seqs.retain(|seq| !is_gone(*seq)));
            words.retain(|_, seqs| !seqs.is_empty());
        }
        Ok(())
    }

    /// Takes every word of these entries out, wherever they are.
    pub(crate) fn strip_all(&mut self, seqs: &HashSet<Seq>) -> Result<(), StoreError> {
        let mut segments = HashSet::new();
        for &seq in seqs {
            segments.extend(self.segment_of(seq)?);
        }
        for segment in segments {
            self.strip(segment, |seq| seqs.contains(&seq))?;
        }
        Ok(())
    }

    /// The segment of an entry that is in the index, or in this draft.
    pub(crate) fn segment_of(&self, seq: Seq) -> Result<Option<u32>, StoreError> {
        let covers = |about: &About| about.entries > 0 && about.first <= seq && seq <= about.last;
        if let Some((&segment, _)) = self.abouts.iter().find(|(_, about)| covers(about)) {
            return Ok(Some(segment));
        }
        self.index.segment_of(self.log, self.cursor, seq)
    }

    /// A segment goes whole.
    pub(crate) fn remove(&mut self, segment: u32) {
        self.abouts.remove(&segment);
        self.buckets.retain(|(of, _), _| *of != segment);
        self.gone.push(segment);
    }

    /// Whether there is something to write.
    pub(crate) fn is_changed(&self) -> bool {
        !self.abouts.is_empty() || !self.gone.is_empty() || self.cursor != self.index.cursor(self.log)
    }

    /// Writes all of it, in one commit.
    pub(crate) fn commit(self) -> Result<(), StoreError> {
        let Self { index, log, cursor, abouts, buckets, gone } = self;
        let mut ops = Vec::new();
        let mut put = |key: [u8; 13], value: Bytes| {
            let key = Bytes::copy_from_slice(&key);
            ops.push(if value.is_empty() {
                Op::Delete { space: SEGMENTS, key }
            } else {
                Op::Put { space: SEGMENTS, key, value }
            });
        };
        for segment in gone {
            (0..BUCKETS).chain([ABOUT]).for_each(|bucket| put(key(log, segment, bucket), Bytes::new()));
        }
        for (segment, about) in abouts {
            put(key(log, segment, ABOUT), about.to_bytes());
        }
        for ((segment, bucket), words) in buckets {
            put(key(log, segment, bucket), bucket::encode(&words).into());
        }
        let of_log = Bytes::copy_from_slice(&log.to_be_bytes());
        ops.push(Op::Put { space: CURSORS, key: of_log, value: cursor.to_bytes() });
        index.store.commit(ops)?;
        index.cursors().insert(log, cursor);
        Ok(())
    }
}
