//! A place at its home shard: numbers, the log, the recent entries, and the shards that have members.
//!
//! Invariants: numbers grow by one and none is given out before the lease that covers it is on disk, so that a crash
//! skips numbers and never repeats one; the tail holds every entry that is not yet on disk.

use super::{ids::RecentIds, saying::LookUp};
use crate::{
    Engine,
    acks::Outcome,
    crossing::{By, Crossing, Entered, Entrant, Mark, Reply, Start},
    desk::Asked,
    io::{Output, ReadQuery, ShardId},
    journal::Waiter,
    message::{Message, Shared},
    mutant::Mutant,
    persist,
};
use foldhash::fast::FixedState;
use katydid_chat::{
    code::Code,
    permission::{PlaceRules, Standing},
};
use katydid_store::Entry;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

/// A place at home.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) name: Arc<str>,
    pub(crate) log: u64,
    /// The number that comes next.
    pub(crate) next: u64,
    /// Numbers below this are covered by a lease on disk.
    leased: u64,
    /// Numbers below this are covered by a lease that was asked for.
    asked: u64,
    /// Number of the first entry that is kept.
    pub(super) first: u64,
    last_time_ms: u64,
    pub(super) tail: VecDeque<(Shared, u64)>,
    tail_bytes: usize,
    /// Shards with members, and how many answers each has had.
    pub(super) shards: Vec<(ShardId, u64)>,
    /// Entries of this tick that have not been sent to the shards.
    pub(super) fresh: Vec<Shared>,
    is_dirty: bool,
    /// What was said and cannot be numbered yet, in order.
    pub(super) held: VecDeque<Arrival>,
    pub(super) last_used_ms: u64,
    /// What the directory said of it.
    pub(super) rules: Known,
    /// How users stand who are not like everybody.
    pub(super) standings: HashMap<Arc<str>, Standing, FixedState>,
    /// Last values below it, by the topic below it.
    pub(super) kept: BTreeMap<Box<str>, Shared>,
    /// Read markers.
    pub(super) markers: HashMap<Arc<str>, u64, FixedState>,
    /// What the front of `held` waits for, from the store.
    pub(super) looked_up: LookUp,
    /// The `id`s of what was said lately.
    pub(super) ids: Option<Box<RecentIds>>,
    /// Numbers below which what was said to a user is forgotten, since the broker started.
    pub(super) forgotten: HashMap<Arc<str>, u64, FixedState>,
    /// The newest number that the directory was told of, and when.
    told: (u64, u64),
}

/// What a home knows of its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing.
    Nothing,
    /// It has asked.
    Asked,
    /// There is no such place.
    Nowhere,
    /// These.
    Rules(Arc<PlaceRules>),
}

/// Something that is published in a place, at its home.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) message: Shared,
    pub(crate) by: By,
    pub(crate) reply: Option<Reply>,
    pub(crate) mark: Option<Mark>,
}

/// Numbers leased at once.
const LEASE: u64 = 4096;
/// Entries and bytes of one page of history.
const PAGE_ENTRIES: usize = 1024;
const PAGE_BYTES: usize = 128 << 10;
/// How often the directory is told of the newest number of a place.
const TOLD_MS: u64 = 1_000;

/// A read of history that has been asked for.
#[derive(Debug)]
pub(crate) enum Fetch {
    /// Where a member starts; the number to take when the log has nothing.
    Start { place: Arc<str>, entrant: Entrant, otherwise: u64, is_evicted: bool },
    /// A page for a member who is behind.
    Page { place: Arc<str>, shard: ShardId, ticket: u64, otherwise: u64 },
    /// A page of a session's queue: the session's index and identifier.
    Queue { index: u32, session: u64 },
    /// The entry that an event names.
    Named { place: Arc<str>, seq: u64 },
    /// The newest entries of a place, for their `id`s.
    Ids { place: Arc<str> },
    /// What a place holds beyond what its rules let it keep.
    Excess { place: Arc<str> },
    /// A page of a pair's log, from which what was delivered to a user is forgotten.
    Forget { place: Arc<str>, user: Arc<str>, below: u64 },
    /// A page of the log from which a user is erased.
    Erase { place: Arc<str> },
    /// Entries for the answer to a request.
    History(Box<super::history::Gathering>),
}

impl Home {
    pub(crate) fn new(name: Arc<str>, log: u64, next: u64, first: u64) -> Self {
        Self {
            name,
            log,
            next,
            leased: next,
            asked: next,
            first,
            last_time_ms: 0,
            tail: VecDeque::new(),
            tail_bytes: 0,
            shards: Vec::new(),
            fresh: Vec::new(),
            is_dirty: false,
            held: VecDeque::new(),
            last_used_ms: 0,
            rules: Known::Nothing,
            standings: HashMap::default(),
            kept: BTreeMap::new(),
            markers: HashMap::default(),
            looked_up: LookUp::Nothing,
            ids: None,
            forgotten: HashMap::default(),
            told: (0, 0),
        }
    }

    pub(crate) fn at_time(mut self, last_time_ms: u64) -> Self {
        self.last_time_ms = last_time_ms;
        self
    }

    pub(super) fn tail_first(&self) -> u64 {
        self.tail.front().map_or(self.next, |(entry, _)| entry.seq)
    }

    /// An entry that is in the tail.
    pub(super) fn in_tail(&self, seq: u64) -> Option<&Shared> {
        let at = self.tail.binary_search_by_key(&seq, |(entry, _)| entry.seq).ok()?;
        self.tail.get(at).map(|(entry, _)| entry)
    }

    /// Puts another content in the place of an entry.
    pub(super) fn replace(&mut self, entry: &Shared) {
        if let Ok(at) = self.tail.binary_search_by_key(&entry.seq, |(entry, _)| entry.seq) {
            self.tail_bytes = self.tail_bytes + entry.weight() - self.tail[at].0.weight();
            self.tail[at].0 = entry.clone();
        }
        if let Some(fresh) = self.fresh.iter_mut().find(|fresh| fresh.seq == entry.seq) {
            *fresh = entry.clone();
        }
    }

    /// Whether nothing but memory is lost when it is forgotten.
    pub(super) fn is_blank(&self) -> bool {
        self.asked == 1 && self.shards.is_empty() && self.kept.is_empty() && self.held.is_empty()
    }

    /// Starts on another log, with the numbers that follow.
    pub(super) fn start_anew(&mut self, log: u64) {
        self.log = log;
        self.first = self.next;
        self.tail = VecDeque::new();
        self.tail_bytes = 0;
        self.fresh = Vec::new();
        self.kept = BTreeMap::new();
        self.standings = HashMap::default();
        self.ids = None;
        self.forgotten = HashMap::default();
        self.looked_up = LookUp::Nothing;
    }

    /// Drops recent entries that are on disk until the tail fits.
    fn trim_tail(&mut self, tail_bytes: usize, durable: u64) {
        while self.tail_bytes > tail_bytes {
            let Some((entry, _)) = self.tail.pop_front_if(|(_, commit)| *commit <= durable) else { return };
            self.tail_bytes -= entry.weight();
        }
    }

    /// The start of a subscription, where the tail alone can say.
    fn start_in_tail(&self, start: Start) -> Option<u64> {
        let all_here = self.tail_first() <= self.first;
        match start {
            Start::Live => Some(self.next),
            Start::Since(after) => Some(after.saturating_add(1).min(self.next)),
            Start::Last(count) => {
                let count = count as usize;
                let from_end = self.tail.len().checked_sub(count);
                match from_end {
                    Some(at) => Some(self.tail.get(at).map_or(self.next, |(entry, _)| entry.seq)),
                    None => all_here.then(|| self.tail_first()),
                }
            }
            Start::SinceTime(time_ms) => {
                let covers = all_here || self.tail.front().is_some_and(|(entry, _)| entry.time_ms < time_ms);
                let at = self.tail.partition_point(|(entry, _)| entry.time_ms < time_ms);
                covers.then(|| self.tail.get(at).map_or(self.next, |(entry, _)| entry.seq))
            }
        }
    }
}

impl Engine {
    /// The place at home; it is made when it is not there.
    pub(super) fn home_mut(&mut self, place: &str) -> &mut Home {
        if !self.homes.contains_key(place) {
            let name: Arc<str> = place.into();
            let log = self.random() >> 1;
            let home = Home::new(name.clone(), log, 1, 1);
            self.homes.insert(name, Box::new(home));
            self.links.counters.rooms_now += 1;
        }
        self.homes.get_mut(place).expect("it was just inserted")
    }

    /// Asks for the next block of numbers.
    fn extend_lease(&mut self, place: &str) {
        let is_on = self.journal.is_on();
        let Some(home) = self.homes.get_mut(place) else { return };
        home.asked = home.next.max(home.asked) + LEASE;
        if !is_on {
            home.leased = home.asked;
            return;
        }
        let (name, asked) = (home.name.clone(), home.asked);
        self.journal.push(persist::put_place(&name, home.log, asked));
        self.leases.push_back((name, asked));
        if !self.journal.wait(Waiter::Lease) {
            self.lease_durable();
        }
    }

    /// Writes the record of a place that starts on another log.
    pub(super) fn renew_lease(&mut self, place: &str) {
        if let Some(home) = self.homes.get(place) {
            self.journal.push(persist::put_place(&home.name, home.log, home.asked));
        }
    }

    /// A lease is on disk: numbers up to it can be given.
    pub(crate) fn lease_durable(&mut self) {
        let Some((place, leased)) = self.leases.pop_front() else { return };
        let Some(home) = self.homes.get_mut(&place) else { return };
        home.leased = home.leased.max(leased);
        self.release_held(&place);
    }

    /// Whether a number can be given now; where not, more are asked for.
    pub(super) fn has_number(&mut self, place: &str) -> bool {
        let Some(home) = self.homes.get(place) else { return false };
        if home.next < home.leased {
            return true;
        }
        if home.asked <= home.next {
            self.extend_lease(place);
        }
        self.homes.get(place).is_some_and(|home| home.next < home.leased)
    }

    /// Numbers what may be said, keeps it, and lets it out. There has to be a number.
    pub(super) fn number(&mut self, place: &str, arrival: &Arrival) {
        let now = self.now;
        let tail_bytes = self.settings.rooms.tail_bytes;
        let durable = self.journal.durable();
        let Some(home) = self.homes.get_mut(place) else { return };
        let (seq, time_ms) = (home.next, now.unix_ms.max(home.last_time_ms));
        home.next += 1;
        home.last_time_ms = time_ms;
        let entry = Arc::new(arrival.message.numbered(seq, time_ms));
        home.fresh.push(entry.clone());
        home.tail_bytes += entry.weight();
        let (log, name, needs_lease) = (home.log, home.name.clone(), home.next + LEASE / 2 > home.asked);
        let was_dirty = std::mem::replace(&mut home.is_dirty, true);
        home.trim_tail(tail_bytes, durable);
        if !was_dirty {
            self.dirty_homes.push(name);
        }
        self.links.counters.room_messages += 1;
        let keep = Entry { seq, time_ms, bytes: entry.to_disk() };
        self.journal.push(katydid_store::Op::Append { log, entry: keep });
        if let Some(mark) = arrival.mark.filter(|_| !Mutant::UnmarkedInbound.is_on()) {
            self.journal.push(persist::settle_mark(mark));
        }
        let commit = self.journal.pending_number();
        if let Some(home) = self.homes.get_mut(place) {
            home.tail.push_back((entry, commit));
        }
        self.trim_history(place);
        if needs_lease {
            self.extend_lease(place);
        }
        self.acknowledge(arrival, (seq, time_ms));
    }

    /// Tells the publisher under which number its message is kept, when it is.
    pub(super) fn acknowledge(&mut self, arrival: &Arrival, numbered: (u64, u64)) {
        let Some(reply) = arrival.reply else { return };
        let outcome = Outcome { numbered: Some(numbered), ..Outcome::SUCCESS };
        let waiter = Waiter::Publish(reply, outcome);
        if !self.journal.wait(waiter) {
            self.finish(waiter);
        }
    }

    fn trim_history(&mut self, place: &str) {
        let configured = self.settings.rooms.history_messages;
        let Some(home) = self.homes.get_mut(place) else { return };
        let keep = match &home.rules {
            Known::Rules(rules) if rules.history_messages > 0 => rules.history_messages,
            _ => configured,
        };
        if keep > 0 && home.next > home.first + keep + keep / 8 + 16 {
            home.first = home.next - keep;
            let (log, below) = (home.log, home.first);
            self.journal.push(katydid_store::Op::Trim { log, below });
        }
    }

    /// Sends the entries of this tick to the shards that have members.
    pub(crate) fn distribute(&mut self, place: &str) {
        let now_ms = self.now.mono_ms;
        let Some(home) = self.homes.get_mut(place) else { return };
        home.is_dirty = false;
        if home.fresh.is_empty() {
            return;
        }
        let entries: Arc<[Shared]> = std::mem::take(&mut home.fresh).into();
        let (name, shards) = (home.name.clone(), home.shards.clone());
        let is_told = home.told.1 != 0 && now_ms < home.told.1 + TOLD_MS;
        if !is_told {
            self.tell_said(&name);
        }
        for (shard, _) in shards {
            if shard == self.shard {
                self.entries_here(&name, &entries);
            } else {
                self.send_to(shard, Crossing::Entries { place: name.clone(), entries: entries.clone() });
            }
        }
    }

    /// Tells the directory of the newest number of a place.
    fn tell_said(&mut self, place: &Arc<str>) {
        let now_ms = self.now.mono_ms;
        let Some(home) = self.homes.get_mut(place) else { return };
        let seq = home.next - 1;
        if home.told.0 < seq {
            home.told = (seq, now_ms);
            self.ask(Asked::Said { place: place.clone(), seq });
        }
    }

    /// Says something that is not numbered to the shards that have members.
    pub(super) fn signal(&mut self, place: &str, message: &Shared) {
        let Some(home) = self.homes.get(place) else { return };
        let (name, shards) = (home.name.clone(), home.shards.clone());
        for (shard, _) in shards {
            self.tell(shard, Crossing::Signal { place: name.clone(), message: message.clone() });
        }
    }

    /// The directory lets a session in: finds where it starts, and from there on sends its shard what is said.
    pub(crate) fn enter_at_home(&mut self, place: &Arc<str>, start: Start, entrant: Entrant) {
        self.distribute(place);
        let home = self.home_mut(place);
        if let Some(start) = home.start_in_tail(start) {
            return self.entered_at_home(place, entrant, start);
        }
        let otherwise = home.tail_first();
        let (log, before) = (home.log, otherwise);
        let query = match start {
            Start::Last(count) => {
                let entries = (count as usize).saturating_sub(home.tail.len());
                ReadQuery::Back { before, entries, bytes: usize::MAX }
            }
            Start::SinceTime(time_ms) => ReadQuery::Since { time_ms, entries: 1, bytes: 1 },
            Start::Since(_) | Start::Live => return self.entered_at_home(place, entrant, before),
        };
        self.fetch(log, query, Fetch::Start { place: place.clone(), entrant, otherwise, is_evicted: false });
    }

    fn entered_at_home(&mut self, place: &Arc<str>, entrant: Entrant, start: u64) {
        // What was said before the answer is history for the shard, what comes after it is live.
        self.distribute(place);
        let home = self.home_mut(place);
        let at = home.shards.iter().position(|(shard, _)| *shard == entrant.shard);
        let at = at.unwrap_or_else(|| {
            home.shards.push((entrant.shard, 0));
            home.shards.len() - 1
        });
        home.shards[at].1 += 1;
        let answers = home.shards[at].1;
        let kept = home.kept.values().cloned().collect();
        let (log, next, needs_lease) = (home.log, home.next, home.asked <= home.next);
        if needs_lease {
            self.extend_lease(place);
        }
        let place = place.clone();
        let entered = Entered { place, why: entrant.why, log, start, next, answers, kept };
        self.tell(entrant.shard, Crossing::Entered(Box::new(entered)));
    }

    /// A shard has no member any more, unless it was let in again meanwhile.
    pub(crate) fn leave_at_home(&mut self, shard: ShardId, place: &str, answers: u64) {
        if let Some(home) = self.homes.get_mut(place) {
            home.shards.retain(|known| *known != (shard, answers));
        }
    }

    /// Gives a shard entries for a member who is behind, from the tail or from the store.
    pub(crate) fn read_at_home(&mut self, shard: ShardId, place: &str, from: u64, ticket: u64) {
        let home = self.home_mut(place);
        let tail_first = home.tail_first();
        if from < tail_first && home.first < tail_first {
            let query = ReadQuery::From { seq: from, entries: PAGE_ENTRIES, bytes: PAGE_BYTES };
            let log = home.log;
            let place = home.name.clone();
            return self.fetch(log, query, Fetch::Page { place, shard, ticket, otherwise: tail_first });
        }
        let at = home.tail.partition_point(|(entry, _)| entry.seq < from);
        let page: Vec<Shared> =
            home.tail.iter().skip(at).take(PAGE_ENTRIES).map(|(entry, _)| entry.clone()).collect();
        let next = page.last().map_or(home.next, |last| last.seq + 1);
        let first = home.first;
        self.page_to(shard, ticket, page, (next, first));
    }

    fn page_to(&mut self, shard: ShardId, ticket: u64, entries: Vec<Shared>, (next, first): (u64, u64)) {
        if shard == self.shard {
            self.on_page(ticket, entries, next, first);
        } else {
            self.send_to(shard, Crossing::Page { ticket, entries, next, first });
        }
    }

    pub(crate) fn fetch(&mut self, log: u64, query: ReadQuery, fetch: Fetch) {
        let ticket = self.fetches.insert(fetch) as u64;
        self.outputs.push_back(Output::Read { ticket, log, query });
    }

    /// The store has answered a read.
    pub(crate) fn on_fetched(&mut self, ticket: u64, entries: &[Entry]) {
        let Some(fetch) = self.fetches.try_remove(ticket as usize) else { return };
        match fetch {
            Fetch::Start { place, entrant, otherwise, is_evicted } => {
                if is_evicted {
                    let (why, code) = (entrant.why, Code::NotMember);
                    return self.tell(entrant.shard, Crossing::NotEntered { why, code });
                }
                let start = entries.first().map_or(otherwise, |entry| entry.seq.min(otherwise));
                self.entered_at_home(&place, entrant, start);
            }
            Fetch::Page { place, shard, ticket, otherwise } => {
                let page: Vec<Shared> = entries
                    .iter()
                    .filter_map(|entry| Message::from_disk(&entry.bytes))
                    .map(Arc::new)
                    .collect();
                let next = entries.last().map_or(otherwise, |last| last.seq + 1);
                let first = self.homes.get(&place).map_or(0, |home| home.first);
                self.page_to(shard, ticket, page, (next, first));
            }
            Fetch::Queue { index, session } => self.page_queue(index, session, entries),
            Fetch::Named { place, seq } => self.on_named(&place, seq, entries),
            Fetch::Ids { place } => self.on_ids(&place, entries),
            Fetch::Excess { place } => {
                if let Some(first) = entries.first() {
                    self.forget_below(&place, first.seq);
                }
            }
            Fetch::Forget { place, user, below } => self.on_forget(&place, &user, below, entries),
            Fetch::Erase { place } => self.on_erase(place, entries),
            Fetch::History(gathering) => self.on_history(*gathering, entries),
        }
    }

    /// Gives back the memory of places that nobody used for a while, as far as their entries are on disk.
    pub(crate) fn rest_homes(&mut self, unused_ms: u64) {
        let (now_ms, durable) = (self.now.mono_ms, self.journal.durable());
        let mut untold = Vec::new();
        for home in self.homes.values_mut() {
            if home.told.0 + 1 < home.next && home.told.1 != 0 {
                untold.push(home.name.clone());
            }
            if home.last_used_ms + unused_ms <= now_ms && self.settings.persistence {
                home.trim_tail(0, durable);
                if home.tail.is_empty() {
                    home.tail = VecDeque::new();
                }
            }
        }
        for place in untold {
            self.tell_said(&place);
        }
        self.look_for_excess();
    }

    /// Asks the store what places hold that is too old, or too much.
    fn look_for_excess(&mut self) {
        let now_ms = self.now.unix_ms;
        let mut asked = Vec::new();
        for home in self.homes.values().filter(|home| home.first < home.next) {
            let Known::Rules(rules) = &home.rules else { continue };
            if rules.history_ms == 0 && rules.history_bytes == 0 {
                continue;
            }
            let most_bytes = if rules.history_bytes == 0 { u64::MAX } else { rules.history_bytes };
            let since_ms = if rules.history_ms == 0 { 0 } else { now_ms.saturating_sub(rules.history_ms) };
            asked.push((home.log, ReadQuery::Excess { most_bytes, since_ms }, home.name.clone()));
        }
        for (log, query, place) in asked {
            self.fetch(log, query, Fetch::Excess { place });
        }
    }

    fn forget_below(&mut self, place: &str, below: u64) {
        let Some(home) = self.homes.get_mut(place) else { return };
        if below <= home.first {
            return;
        }
        home.first = below.min(home.next);
        while let Some((entry, _)) = home.tail.pop_front_if(|(entry, _)| entry.seq < below) {
            home.tail_bytes -= entry.weight();
        }
        let (log, below) = (home.log, home.first);
        self.journal.push(katydid_store::Op::Trim { log, below });
    }

    /// Makes the last lease exact, so that a planned restart skips no number.
    pub(crate) fn settle_leases(&mut self) {
        for home in self.homes.values().filter(|home| home.asked > 1) {
            self.journal.push(persist::put_place(&home.name, home.log, home.next));
        }
    }
}
