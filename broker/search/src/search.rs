//! Searching: places are looked through backwards in time, the one whose rest is newest always first, until there are
//! enough hits that nothing unread can stand before.
//!
//! What it reads of a place comes in small steps: a page of what stands behind the cursor, a segment's candidates, some of
//! those. Each step is paid from [`SPENT_BYTES_MAX`]; when that is spent the answer ends where everything newer was looked
//! through, and says where to go on. Invariant: memory is bounded by the hits of one answer, and for each place by the
//! numbers of one segment and a few entries.

use crate::bucket::{self, BUCKETS};
use crate::segment::About;
use crate::{Cursor, Index, Open, Said, What};
use katydid_chat::history::PAGE_BYTES;
use katydid_chat::search::{Findings, Hit, Quest, Spot};
use katydid_store::{Entry, Limit, LogId, Seq, Store, StoreError};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

/// What one search may read, in bytes of entries and of the index.
pub const SPENT_BYTES_MAX: usize = if cfg!(test) { 64 << 10 } else { 16 << 20 };

/// What a read costs beside its bytes.
const READ_BYTES: usize = 4 << 10;
/// What an entry costs beside its bytes.
const ENTRY_BYTES: usize = 128;
/// A page of what is not in the index.
const PAGE: Limit = Limit { entries: if cfg!(test) { 4 } else { 256 }, bytes: 128 << 10 };
/// Entries that are read around a candidate: others may be among them.
const NEAR: Limit = Limit { entries: 16, bytes: 16 << 10 };
/// Candidates that are looked at in one step.
const STEP: usize = if cfg!(test) { 2 } else { 64 };
/// Logs and edits whose newest are remembered between searches, at most.
const TAILS: usize = 4_096;
const TAIL_EDITS: usize = 1 << 16;

/// Searches in an index and in the logs that it follows.
#[derive(Debug)]
pub struct Searcher {
    index: Arc<Index>,
    open: Open,
    /// Edits that are not in the index yet: found by reading, which need not be done twice.
    tails: HashMap<LogId, Tail>,
}

/// The edits of a log from one number up to another.
#[derive(Debug, Clone, Default)]
struct Tail {
    from: Seq,
    to: Seq,
    newest: HashMap<Seq, Seq>,
}

/// A place that is being looked through.
#[derive(Debug)]
struct Scan {
    place: Arc<str>,
    log: LogId,
    cursor: Cursor,
    /// Nothing from this number on is wanted.
    before: Seq,
    /// What is left of it is not newer than this.
    newest_ms: u64,
    stage: Stage,
    /// Candidates of the segment at hand, ascending.
    candidates: Vec<Seq>,
    about: About,
    /// Entries that were read and may be wanted again.
    near: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// What is behind the cursor, below this number.
    Tail(Seq),
    /// The segment with this number comes next.
    Segments(u32),
    Over,
}

/// One search.
struct Run<'a> {
    source: &'a dyn Store,
    quest: &'a Quest,
    now_ms: u64,
    spent: usize,
    hits: BTreeMap<Spot, Hit>,
    hit_bytes: usize,
    /// Hits from here on were dropped.
    dropped: Option<Spot>,
}

impl Searcher {
    /// A searcher that takes entries apart with `open`.
    pub fn new(index: Arc<Index>, open: Open) -> Self {
        Self { index, open, tails: HashMap::new() }
    }

    /// Looks for what `quest` says in these logs of places, which its `places` are not asked for. `now_ms` is the time in
    /// milliseconds since the Unix epoch: what has expired is left out.
    ///
    /// # Errors
    /// One of the stores failed.
    pub fn search(
        &mut self,
        source: &dyn Store,
        logs: &[(Arc<str>, LogId)],
        quest: &Quest,
        now_ms: u64,
    ) -> Result<Findings, StoreError> {
        let (hits, dropped) = (BTreeMap::new(), None);
        let mut run = Run { source, quest, now_ms, spent: 0, hits, hit_bytes: 0, dropped };
        if self.tails.len() > TAILS
            || self.tails.values().map(|tail| tail.newest.len()).sum::<usize>() > TAIL_EDITS
        {
            self.tails.clear();
        }
        let mut scans = Vec::with_capacity(logs.len());
        let mut heap = BinaryHeap::with_capacity(logs.len());
        for (place, log) in logs {
            if let Some(scan) = self.begin(&mut run, place, *log)? {
                heap.push((scan.newest_ms, scans.len()));
                scans.push(scan);
            }
        }
        let mut is_cut = false;
        while let Some(&(newest_ms, at)) = heap.peek() {
            if run.is_enough(newest_ms) {
                break;
            }
            if run.spent >= SPENT_BYTES_MAX {
                is_cut = true;
                break;
            }
            heap.pop();
            let scan = &mut scans[at];
            self.step(&mut run, scan)?;
            scan.newest_ms = scan.newest_ms.min(newest_ms);
            if scan.stage != Stage::Over || !scan.candidates.is_empty() {
                heap.push((scan.newest_ms, at));
            }
        }
        Ok(run.findings(heap.peek().map(|(newest_ms, _)| *newest_ms), is_cut))
    }

    /// Where a place begins; `None` where nothing in it can be wanted.
    fn begin(&mut self, run: &mut Run<'_>, place: &Arc<str>, log: LogId) -> Result<Option<Scan>, StoreError> {
        run.spent += ENTRY_BYTES;
        // Before the log is looked at: what comes into the index meanwhile is found behind the cursor.
        let cursor = self.index.cursor(log);
        let Some(stats) = run.source.stats(log)? else { return Ok(None) };
        let mut before = stats.next.min(run.quest.before_seq);
        let until_ms = run.until_ms();
        if stats.last_time_ms >= until_ms {
            before = before.min(run.source.seek_time(log, until_ms)?.unwrap_or(Seq::MAX));
        }
        if stats.entries == 0 || before <= stats.first.max(run.quest.after_seq.saturating_add(1)) {
            return Ok(None);
        }
        Ok(Some(Scan {
            place: place.clone(),
            log,
            cursor,
            before,
            newest_ms: stats.last_time_ms.min(until_ms.saturating_sub(1)),
            stage: Stage::Tail(before),
            candidates: Vec::new(),
            about: About::default(),
            near: Vec::new(),
        }))
    }

    fn step(&mut self, run: &mut Run<'_>, scan: &mut Scan) -> Result<(), StoreError> {
        if !scan.candidates.is_empty() {
            return self.step_candidates(run, scan);
        }
        match scan.stage {
            Stage::Tail(before) => self.step_tail(run, scan, before),
            Stage::Segments(segment) => self.step_segment(run, scan, segment),
            Stage::Over => Ok(()),
        }
    }

    /// A page of what is not in the index.
    fn step_tail(&mut self, run: &mut Run<'_>, scan: &mut Scan, before: Seq) -> Result<(), StoreError> {
        if !self.read_tail(run, scan)? {
            return Ok(());
        }
        let lowest = scan.cursor.next.max(run.quest.after_seq.saturating_add(1));
        let page = if before > lowest { run.source.read_back(scan.log, before, PAGE)? } else { Vec::new() };
        run.pay(&page);
        let page = &page[page.partition_point(|entry| entry.seq < lowest)..];
        for entry in page {
            self.consider(run, scan, entry)?;
        }
        let oldest = page.first();
        scan.newest_ms = oldest.map_or(scan.newest_ms, |oldest| oldest.time_ms);
        scan.stage = match oldest {
            Some(oldest) if oldest.time_ms < run.quest.from_ms => Stage::Over,
            Some(oldest) if oldest.seq > lowest => Stage::Tail(oldest.seq),
            _ if scan.cursor.next == 0 || lowest > scan.cursor.next => Stage::Over,
            _ => Stage::Segments(scan.cursor.top),
        };
        Ok(())
    }

    /// Notes the edits that are not in the index; false when there was not enough left to read all.
    fn read_tail(&mut self, run: &mut Run<'_>, scan: &Scan) -> Result<bool, StoreError> {
        let (from, open) = (scan.cursor.next, self.open);
        let tail = self.tails.entry(scan.log).or_default();
        if tail.to < from || tail.from > from {
            *tail = Tail { from, to: from, newest: HashMap::new() };
        }
        loop {
            if run.spent >= SPENT_BYTES_MAX {
                return Ok(false);
            }
            let page = run.source.read(scan.log, tail.to, PAGE)?;
            let Some(last) = page.last() else { return Ok(true) };
            run.pay(&page);
            tail.to = last.seq + 1;
            for entry in &page {
                if let Some(Said { what: What::Edit { of, .. }, .. }) = open(entry) {
                    tail.newest.insert(of, entry.seq);
                }
            }
        }
    }

    /// The candidates of a segment.
    fn step_segment(&mut self, run: &mut Run<'_>, scan: &mut Scan, segment: u32) -> Result<(), StoreError> {
        let below = segment.checked_sub(1).filter(|below| *below >= scan.cursor.low);
        scan.stage = below.map_or(Stage::Over, Stage::Segments);
        run.spent += ENTRY_BYTES;
        let Some(about) = self.index.about(scan.log, segment)? else { return Ok(()) };
        let quest = run.quest;
        scan.newest_ms = about.first_ms;
        if about.last <= quest.after_seq || about.last_ms < quest.from_ms {
            scan.stage = Stage::Over;
            return Ok(());
        }
        if about.first >= scan.before {
            return Ok(());
        }
        scan.newest_ms = about.last_ms;
        let mut all: Option<Vec<Seq>> = None;
        let sender = quest.from.as_deref().map(bucket::sender);
        let terms = quest.query.terms();
        let words = terms.iter().map(|term| {
            let word = bucket::indexed(term.word);
            // Of a word that was cut, the index knows the beginning.
            (word, term.is_open && word.len() == term.word.len())
        });
        for (word, is_open) in
            sender.as_deref().map(|sender| (bucket::indexed(sender), false)).into_iter().chain(words)
        {
            let mut found = Vec::new();
            let buckets = bucket::bucket_of(word, is_open).map_or(0..BUCKETS, |bucket| bucket..bucket + 1);
            for bucket in buckets {
                let bytes = self.index.bucket(scan.log, segment, bucket)?;
                run.spent += bytes.len() + ENTRY_BYTES;
                bucket::look_up(&bytes, word, is_open, &mut found);
            }
            found.sort_unstable();
            found.dedup();
            if let Some(all) = &all {
                found.retain(|seq| all.binary_search(seq).is_ok());
            }
            all = Some(found);
        }
        let is_wanted = |seq: &Seq| quest.after_seq < *seq && *seq < scan.before.min(scan.cursor.next);
        scan.candidates = all.unwrap_or_default();
        scan.candidates.retain(is_wanted);
        if scan.candidates.is_empty() {
            scan.newest_ms = about.first_ms;
        }
        scan.about = about;
        Ok(())
    }

    fn step_candidates(&mut self, run: &mut Run<'_>, scan: &mut Scan) -> Result<(), StoreError> {
        for _ in 0..STEP {
            let Some(seq) = scan.candidates.pop() else { break };
            if let Some(entry) = near(run, scan, seq)? {
                scan.newest_ms = entry.time_ms;
                if entry.time_ms < run.quest.from_ms {
                    (scan.stage, scan.candidates) = (Stage::Over, Vec::new());
                    return Ok(());
                }
                self.consider(run, scan, &entry)?;
            }
            if run.spent >= SPENT_BYTES_MAX || run.is_enough(scan.newest_ms) {
                break;
            }
        }
        if scan.candidates.is_empty() {
            scan.newest_ms = scan.newest_ms.min(scan.about.first_ms);
        }
        Ok(())
    }

    /// Looks at an entry itself, and takes it where it is a hit.
    fn consider(&self, run: &mut Run<'_>, scan: &Scan, entry: &Entry) -> Result<(), StoreError> {
        let quest = run.quest;
        let time_ms = Reverse(entry.time_ms);
        let spot = Spot { time_ms, place: scan.place.clone(), seq: Reverse(entry.seq) };
        let is_inside = quest.after_seq < entry.seq
            && entry.seq < quest.before_seq
            && quest.from_ms <= entry.time_ms
            && entry.time_ms < quest.until_ms
            && quest.behind.as_ref().is_none_or(|behind| *behind < spot);
        let Some(said) = (self.open)(entry).filter(|_| is_inside) else { return Ok(()) };
        let (of, said, text) = match said.what {
            What::Text(ref text) if quest.query.fits(text) => {
                let text = text.clone();
                (entry.clone(), said, text)
            }
            What::Edit { of, text } if quest.query.fits(&text) => {
                if self.newest_edit(scan, of)? != Some(entry.seq) {
                    return Ok(());
                }
                let found = run.source.read(scan.log, of, Limit { entries: 1, bytes: 1 })?;
                run.pay(&found);
                let Some(first) = found.into_iter().find(|first| first.seq == of) else { return Ok(()) };
                let Some(said) = (self.open)(&first) else { return Ok(()) };
                if !matches!(said.what, What::Text(_)) {
                    return Ok(());
                }
                (first, said, text)
            }
            _ => return Ok(()),
        };
        let is_hidden = said.expires_at_ms.is_some_and(|at| at <= run.now_ms)
            || quest.from.as_deref().is_some_and(|from| from != said.from())
            || quest.without.iter().any(|name| **name == *said.from());
        if is_hidden || (of.seq == entry.seq && self.newest_edit(scan, entry.seq)?.is_some()) {
            return Ok(());
        }
        let (seq, time_ms) = (of.seq, of.time_ms);
        run.take(Hit { spot, seq, time_ms, topic: said.topic, id: said.id, text });
        Ok(())
    }

    /// The newest edit of an entry.
    fn newest_edit(&self, scan: &Scan, of: Seq) -> Result<Option<Seq>, StoreError> {
        if let Some(by) = self.tails.get(&scan.log).and_then(|tail| tail.newest.get(&of)) {
            return Ok(Some(*by));
        }
        if of >= scan.cursor.next {
            return Ok(None);
        }
        if scan.about.first <= of && of <= scan.about.last {
            return Ok(scan.about.edits.get(&of).copied());
        }
        let Some(segment) = self.index.segment_of(scan.log, scan.cursor, of)? else { return Ok(None) };
        Ok(self.index.about(scan.log, segment)?.and_then(|about| about.edits.get(&of).copied()))
    }
}

/// An entry by its number, read with those before it, which are wanted next.
fn near(run: &mut Run<'_>, scan: &mut Scan, seq: Seq) -> Result<Option<Entry>, StoreError> {
    let found =
        |near: &[Entry]| near.binary_search_by_key(&seq, |entry| entry.seq).ok().map(|at| near[at].clone());
    if let Some(entry) = found(&scan.near) {
        return Ok(Some(entry));
    }
    scan.near = run.source.read_back(scan.log, seq + 1, NEAR)?;
    run.pay(&scan.near);
    Ok(found(&scan.near))
}

impl Run<'_> {
    fn pay(&mut self, entries: &[Entry]) {
        self.spent += READ_BYTES + entries.iter().map(|entry| entry.bytes.len() + ENTRY_BYTES).sum::<usize>();
    }

    /// Exclusive upper bound of the time.
    fn until_ms(&self) -> u64 {
        let behind = self.quest.behind.as_ref().map_or(u64::MAX, |spot| spot.time_ms.0.saturating_add(1));
        self.quest.until_ms.min(behind)
    }

    /// Keeps a hit; where there are more than an answer holds, the last goes.
    fn take(&mut self, hit: Hit) {
        if self.dropped.as_ref().is_some_and(|dropped| *dropped <= hit.spot) {
            return;
        }
        self.hit_bytes += hit.text.len();
        if let Some(before) = self.hits.insert(hit.spot.clone(), hit) {
            self.hit_bytes -= before.text.len();
        }
        while self.hits.len() > self.quest.count || (self.hits.len() > 1 && self.hit_bytes > PAGE_BYTES) {
            let Some((spot, hit)) = self.hits.pop_last() else { return };
            self.hit_bytes -= hit.text.len();
            self.dropped = Some(spot);
        }
    }

    /// Whether nothing that is not newer than this can be in the answer.
    fn is_enough(&self, newest_ms: u64) -> bool {
        // What was dropped ends the answer; what stands behind it need not be known.
        self.dropped.as_ref().is_some_and(|dropped| dropped.time_ms.0 > newest_ms)
    }

    /// The answer, where everything newer than `rest_ms` was looked through.
    fn findings(mut self, rest_ms: Option<u64>, is_cut: bool) -> Findings {
        let mut next = None;
        if let Some(rest_ms) = rest_ms.filter(|_| is_cut) {
            let cut = Spot::at(rest_ms);
            self.hits.split_off(&cut);
            next = Some(cut);
        }
        if let (Some(dropped), Some((last, _))) = (&self.dropped, self.hits.last_key_value())
            && next.as_ref().is_none_or(|next| dropped < next)
        {
            next = Some(last.clone());
        }
        Findings { hits: self.hits.into_values().collect(), next }
    }
}
