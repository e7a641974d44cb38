//! Following a log: what was said since comes into the index; what was taken away, edited or trimmed leaves it.
//!
//! Each step is one commit and bounded in memory: the segment that grows, and a few others that edits reach. A crash
//! between two steps leaves the cursor before what is not in the index.

use crate::segment::{About, Draft, key};
use crate::{CURSORS, Cursor, Index, Open, SEGMENTS, What, bucket};
use bytes::Bytes;
use katydid_chat::search::Words;
use katydid_store::{Entry, Limit, LogId, Op, Seq, Store, StoreError};
use std::collections::HashSet;

/// What a segment is filled up to.
const SEGMENT_ENTRIES: u64 = if cfg!(test) { 8 } else { 4_096 };
const SEGMENT_BYTES: u64 = 1 << 20;
/// What is read at once.
const PAGE: Limit = Limit { entries: if cfg!(test) { 5 } else { 4_096 }, bytes: 1 << 20 };
/// Segments that one step may hold in memory, about.
const SEGMENTS_HELD: usize = 8;
/// Segments that go in one commit at most.
const SEGMENTS_GONE: u32 = 256;

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    /// Entries that it took in.
    pub entries: u64,
    /// Whether the log holds more.
    pub has_more: bool,
}

impl Index {
    /// Takes in some of what a log holds behind the cursor, and lets go what it holds no more at its beginning.
    ///
    /// # Errors
    /// One of the stores failed.
    pub fn follow(&self, source: &dyn Store, open: Open, log: LogId) -> Result<Followed, StoreError> {
        let Some(stats) = source.stats(log)? else {
            self.retire(log)?;
            return Ok(Followed { entries: 0, has_more: false });
        };
        if self.cursor(log).next > stats.next {
            // The log is an older one: it was put back from a copy.
            self.retire(log)?;
        }
        let mut draft = Draft::new(self, log);
        self.release(&mut draft, log, stats.first)?;
        if draft.cursor.next >= stats.next {
            draft.commit_if_changed()?;
            return Ok(Followed { entries: 0, has_more: false });
        }
        let from = draft.cursor.next.max(stats.first);
        let mut entries = source.read(log, from, PAGE)?;
        draft.take_in(&mut entries, open, stats.next)?;
        let has_more = draft.cursor.next < stats.next;
        draft.commit()?;
        Ok(Followed { entries: entries.len() as u64, has_more })
    }

    /// Lets go what lies below the first number that a log keeps.
    fn release(&self, draft: &mut Draft<'_>, log: LogId, first: Seq) -> Result<(), StoreError> {
        let mut steps = 0;
        while draft.cursor.low < draft.cursor.top && steps < SEGMENTS_GONE {
            let low = draft.cursor.low;
            match self.about(log, low)? {
                Some(about) if about.last >= first => break,
                _ => draft.remove(low),
            }
            draft.cursor.low += 1;
            steps += 1;
        }
        let low = draft.cursor.low;
        let Some(about) = self.about(log, low)? else { return Ok(()) };
        if about.first < first && about.entries > 0 {
            draft.strip(low, |seq| seq < first)?;
            let about = draft.about(low)?;
            about.first = first.min(about.last);
            about.edits = about.edits.split_off(&first);
        }
        Ok(())
    }

    /// Takes the words of entries out whose text was taken away, and those of their edits.
    ///
    /// # Errors
    /// The index's store failed.
    pub fn forget(&self, log: LogId, seqs: &[Seq]) -> Result<(), StoreError> {
        let mut rest = seqs.iter().copied().peekable();
        while rest.peek().is_some() {
            let mut draft = Draft::new(self, log);
            let (mut gone, mut segments) = (HashSet::new(), HashSet::new());
            while let Some(seq) = rest.next_if(|_| segments.len() < SEGMENTS_HELD) {
                let is_there = seq < draft.cursor.next;
                let Some(segment) = draft.segment_of(seq)?.filter(|_| is_there) else { continue };
                gone.insert(seq);
                segments.insert(segment);
                if let Some(by) = draft.about(segment)?.edits.remove(&seq) {
                    gone.insert(by);
                    segments.extend(draft.segment_of(by)?);
                }
            }
            for segment in segments {
                draft.strip(segment, |seq| gone.contains(&seq))?;
            }
            draft.commit_if_changed()?;
        }
        Ok(())
    }

    /// Lets go of a log that is no more.
    ///
    /// # Errors
    /// The index's store failed.
    pub fn retire(&self, log: LogId) -> Result<(), StoreError> {
        // The cursor goes last: a crash before leaves it to be done again.
        loop {
            let cursor = self.cursor(log);
            if cursor == Cursor::default() {
                return Ok(());
            }
            let until = cursor.top.saturating_add(1).min(cursor.low.saturating_add(SEGMENTS_GONE));
            let of_segments = (cursor.low..until).flat_map(|segment| {
                let buckets = (0..bucket::BUCKETS).chain([crate::segment::ABOUT]);
                buckets.map(move |bucket| Bytes::copy_from_slice(&key(log, segment, bucket)))
            });
            let mut ops: Vec<Op> = of_segments.map(|key| Op::Delete { space: SEGMENTS, key }).collect();
            let is_last = until > cursor.top;
            let of_log = Bytes::copy_from_slice(&log.to_be_bytes());
            let rest = Cursor { low: until, ..cursor };
            ops.push(if is_last {
                Op::Delete { space: CURSORS, key: of_log }
            } else {
                Op::Put { space: CURSORS, key: of_log, value: rest.to_bytes() }
            });
            self.store.commit(ops)?;
            if is_last {
                self.cursors().remove(&log);
            } else {
                self.cursors().insert(log, rest);
            }
        }
    }
}

impl Draft<'_> {
    /// Takes entries in, as many as one step may; those that it takes are left in `entries`.
    fn take_in(&mut self, entries: &mut Vec<Entry>, open: Open, end: Seq) -> Result<(), StoreError> {
        let mut outdated = HashSet::new();
        let mut taken = 0;
        for entry in &*entries {
            let top = self.open_segment(entry)?;
            if let Some(said) = open(entry) {
                match &said.what {
                    What::Text(text) => self.take_text(top, entry.seq, said.from(), text)?,
                    What::Edit { of, text } => {
                        if let Some(segment) = self.segment_of(*of)? {
                            outdated.insert(*of);
                            outdated.extend(self.about(segment)?.edits.insert(*of, entry.seq));
                            self.take_text(top, entry.seq, said.from(), text)?;
                        }
                    }
                    What::Delete { of } => {
                        outdated.insert(*of);
                        if let Some(segment) = self.segment_of(*of)? {
                            outdated.extend(self.about(segment)?.edits.remove(of));
                        }
                    }
                    What::Nothing => {}
                }
            }
            taken += 1;
            self.cursor.next = entry.seq + 1;
            if self.held() >= SEGMENTS_HELD {
                break;
            }
        }
        if taken == 0 {
            // Numbers that nothing has.
            self.cursor.next = end;
        }
        entries.truncate(taken);
        self.strip_all(&outdated)
    }

    /// The segment that an entry comes into, which counts it.
    fn open_segment(&mut self, entry: &Entry) -> Result<u32, StoreError> {
        let top = self.cursor.top;
        let about = self.about(top)?;
        if about.entries >= SEGMENT_ENTRIES || about.bytes >= SEGMENT_BYTES {
            self.cursor.top += 1;
        }
        let top = self.cursor.top;
        let about = self.about(top)?;
        if about.entries == 0 {
            *about = About { first: entry.seq, first_ms: entry.time_ms, ..About::default() };
        }
        (about.last, about.last_ms) = (entry.seq, entry.time_ms);
        about.entries += 1;
        about.bytes += entry.bytes.len() as u64;
        Ok(top)
    }

    fn take_text(&mut self, segment: u32, seq: Seq, from: &str, text: &str) -> Result<(), StoreError> {
        let mut is_empty = true;
        for word in Words::new(text) {
            self.add(segment, &word, seq)?;
            is_empty = false;
        }
        if !is_empty {
            self.add(segment, &bucket::sender(from), seq)?;
        }
        Ok(())
    }

    fn commit_if_changed(self) -> Result<(), StoreError> {
        if self.is_changed() { self.commit() } else { Ok(()) }
    }
}
