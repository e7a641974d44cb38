//! Pages of history for requests: the entries of a window, from the tail and the store, as the JSON that answers.
//!
//! A page is gathered downwards from its upper end, upwards from its lower end, or, around a number, both ways. Each
//! way takes one entry more than is wanted, so that it is known whether there are more.

use super::home::Fetch;
use crate::{
    Engine,
    crossing::{Crossing, HistoryOf},
    io::{ReadQuery, ShardId},
    message::{Message, Shared},
};
use katydid_chat::{
    directory::{Side, Window},
    history::{self, Logged, Reading},
};
use std::{collections::VecDeque, sync::Arc};

/// Bytes that are read from the store at once.
const READ_BYTES: usize = 1 << 20;

/// A page that is being gathered.
#[derive(Debug)]
pub(crate) struct Gathering {
    of: HistoryOf,
    /// Entries below this are wanted, the highest first; 0 when there are no more.
    before: u64,
    /// Entries from this on are wanted, the lowest first; `u64::MAX` when there are no more.
    from: u64,
    /// What was found below, ascending.
    below: VecDeque<Shared>,
    /// What was found above, ascending.
    above: Vec<Shared>,
    /// The store is being read downwards.
    is_down: bool,
}

impl Gathering {
    fn new(of: HistoryOf) -> Self {
        let Window { after_seq, before_seq, side, .. } = of.window;
        let lowest = after_seq.saturating_add(1);
        let (before, from) = match side {
            Side::Oldest => (0, lowest),
            Side::Newest => (before_seq, u64::MAX),
            Side::Around(seq) => {
                let above = seq.saturating_add(1);
                (before_seq.min(above), lowest.max(above))
            }
        };
        Self { of, before, from, below: VecDeque::new(), above: Vec::new(), is_down: true }
    }

    fn wants(&self, entry: &Message) -> bool {
        let window = &self.of.window;
        let numbers = window.after_seq < entry.seq && entry.seq < window.before_seq;
        numbers && window.from_ms <= entry.time_ms && entry.time_ms < window.until_ms
    }

    fn add_below(&mut self, entry: &Shared) {
        if self.below.len() <= self.of.window.count as usize && entry.seq < self.before && self.wants(entry) {
            self.below.push_front(entry.clone());
        }
    }

    fn add_above(&mut self, entry: &Shared) {
        if self.above.len() <= self.of.window.count as usize && entry.seq >= self.from && self.wants(entry) {
            self.above.push(entry.clone());
        }
    }

    /// The page, and whether the window holds no more.
    fn page(self) -> (HistoryOf, Vec<Shared>, bool) {
        let count = self.of.window.count as usize;
        let (below, above) = (self.below.len(), self.above.len());
        let (take_below, take_above) = match self.of.window.side {
            Side::Oldest => (0, above.min(count)),
            Side::Newest => (below.min(count), 0),
            Side::Around(_) => {
                let half = count.div_ceil(2);
                let take_below = below.min(half.max(count.saturating_sub(above)));
                (take_below, above.min(count - take_below))
            }
        };
        let mut page: Vec<Shared> = self.below.into_iter().skip(below - take_below).collect();
        page.extend(self.above.into_iter().take(take_above));
        (self.of, page, take_below == below && take_above == above)
    }
}

impl Engine {
    /// Answers a request for entries of a log.
    pub(crate) fn history_at_home(&mut self, of: HistoryOf) {
        self.gather(Gathering::new(of));
    }

    fn gather(&mut self, mut gathering: Gathering) {
        let window = gathering.of.window;
        let entries = window.count as usize + 1;
        let Some(home) = self.homes.get(&gathering.of.place) else { return self.answer_history(gathering) };
        let (log, tail_first) = (home.log, home.tail_first());
        let lowest = home.first.max(window.after_seq.saturating_add(1));
        if gathering.before > tail_first {
            for (entry, _) in home.tail.iter().rev() {
                gathering.add_below(entry);
            }
            gathering.before = tail_first;
        }
        if gathering.before > lowest && gathering.below.len() < entries {
            gathering.is_down = true;
            let query = ReadQuery::Back { before: gathering.before, entries, bytes: READ_BYTES };
            return self.fetch(log, query, Fetch::History(Box::new(gathering)));
        }
        let wants_above = gathering.above.len() < entries;
        let from = gathering.from.max(home.first);
        if wants_above && from < tail_first && from < window.before_seq {
            gathering.is_down = false;
            let is_first = gathering.above.is_empty() && from <= lowest;
            let query = match window.from_ms {
                time_ms if time_ms > 0 && is_first => {
                    ReadQuery::Since { time_ms, entries, bytes: READ_BYTES }
                }
                _ => ReadQuery::From { seq: from, entries, bytes: READ_BYTES },
            };
            return self.fetch(log, query, Fetch::History(Box::new(gathering)));
        }
        for (entry, _) in &home.tail {
            gathering.add_above(entry);
        }
        self.answer_history(gathering);
    }

    /// The store has answered.
    pub(super) fn on_history(&mut self, mut gathering: Gathering, entries: &[katydid_store::Entry]) {
        let window = gathering.of.window;
        let read = || entries.iter().filter_map(|entry| Message::from_disk(&entry.bytes)).map(Arc::new);
        if gathering.is_down {
            let entries: Vec<Shared> = read().collect();
            entries.iter().rev().for_each(|entry| gathering.add_below(entry));
            // Times never fall within a log.
            let has_more = entries.first().filter(|first| first.time_ms >= window.from_ms);
            gathering.before = has_more.map_or(0, |first| first.seq);
        } else {
            read().for_each(|entry| gathering.add_above(&entry));
            let tail_first = self.homes.get(&gathering.of.place).map_or(u64::MAX, |home| home.tail_first());
            gathering.from = match entries.last() {
                Some(last) if last.time_ms >= window.until_ms => u64::MAX,
                Some(last) => gathering.from.max(last.seq + 1),
                None => gathering.from.max(tail_first),
            };
        }
        self.gather(gathering);
    }

    fn answer_history(&mut self, gathering: Gathering) {
        let (of, entries, is_end) = gathering.page();
        let logged: Vec<Logged<'_>> = entries
            .iter()
            .map(|entry| Logged {
                seq: entry.seq,
                time_ms: entry.time_ms,
                topic: entry.topic(),
                payload: (!entry.is_deleted && !entry.is_expired(self.now)).then(|| entry.payload()),
                id: entry.user_property("id"),
            })
            .collect();
        let reading = Reading { place: &of.place, window: of.window, entries: &logged, is_end };
        let payload = history::answer(&reading, &of.without, of.id.as_deref(), of.bytes);
        self.tell(ShardId(0), Crossing::HistoryPage { ticket: of.ticket, payload });
    }
}
