//! A room at its home shard: numbers, the log, the recent entries, and the shards that have members.
//!
//! Invariants: numbers grow by one and none is given out before the lease that covers it is on disk, so that a crash
//! skips numbers and never repeats one; the tail holds every entry that is not yet on disk.

use crate::{
    Engine,
    acks::Outcome,
    crossing::{Crossing, Mark, Reply, Start},
    io::{Output, ReadQuery, ShardId},
    journal::Waiter,
    message::{Message, Shared},
    mutant::Mutant,
    persist,
};
use katydid_chat::topic::Topic;
use katydid_mqtt::reason::ReasonCode;
use katydid_store::Entry;
use std::{collections::VecDeque, sync::Arc};

/// A room at home.
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
    first: u64,
    last_time_ms: u64,
    tail: VecDeque<(Shared, u64)>,
    tail_bytes: usize,
    shards: Vec<ShardId>,
    /// Entries of this tick that have not been sent to the shards.
    fresh: Vec<Shared>,
    is_dirty: bool,
    /// What was said while no number could be given.
    held: VecDeque<(Shared, Option<Reply>, Option<Mark>)>,
    last_used_ms: u64,
}

/// Numbers leased at once.
const LEASE: u64 = 4096;
/// Entries and bytes of one page of history.
const PAGE_ENTRIES: usize = 1024;
const PAGE_BYTES: usize = 128 << 10;

/// A read of history that has been asked for.
#[derive(Debug)]
pub(crate) enum Fetch {
    /// Where a member starts; the number to take when the log has nothing.
    Start { room: Arc<str>, shard: ShardId, ticket: u64, otherwise: u64 },
    /// A page for a member who is behind.
    Page { shard: ShardId, ticket: u64, otherwise: u64 },
    /// A page of a session's queue: the session's index and identifier.
    Queue { index: u32, session: u64 },
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
        }
    }

    pub(crate) fn at_time(mut self, last_time_ms: u64) -> Self {
        self.last_time_ms = last_time_ms;
        self
    }

    fn tail_first(&self) -> u64 {
        self.tail.front().map_or(self.next, |(entry, _)| entry.seq)
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
    /// The room at home; it is made when it is not there.
    fn home_mut(&mut self, room: &str) -> &mut Home {
        if !self.homes.contains_key(room) {
            let name: Arc<str> = room.into();
            let log = self.random() >> 1;
            let home = Home::new(name.clone(), log, 1, 1);
            self.homes.insert(name.clone(), Box::new(home));
            self.links.counters.rooms_now += 1;
            self.extend_lease(room);
        }
        self.homes.get_mut(room).expect("it was just inserted")
    }

    /// Asks for the next block of numbers.
    fn extend_lease(&mut self, room: &str) {
        let is_on = self.journal.is_on();
        let Some(home) = self.homes.get_mut(room) else { return };
        home.asked = home.next.max(home.asked) + LEASE;
        if !is_on {
            home.leased = home.asked;
            return;
        }
        let (name, asked) = (home.name.clone(), home.asked);
        self.journal.push(persist::put_room(&name, home.log, asked));
        self.leases.push_back((name, asked));
        self.journal.wait(Waiter::Lease);
    }

    /// A lease is on disk: numbers up to it can be given.
    pub(crate) fn lease_durable(&mut self) {
        let Some((room, leased)) = self.leases.pop_front() else { return };
        let Some(home) = self.homes.get_mut(&room) else { return };
        home.leased = home.leased.max(leased);
        let held = std::mem::take(&mut home.held);
        for (message, reply, mark) in held {
            self.publish_to_room(&message, reply, mark);
        }
    }

    /// Numbers a message, keeps it, and lets it out; what is not kept is only let out.
    pub(crate) fn publish_to_room(&mut self, message: &Shared, reply: Option<Reply>, mark: Option<Mark>) {
        let Topic::Room(said) = self.classify(message.topic()) else { return };
        let room = said.room;
        let is_logged = said.channel.is_logged();
        let now = self.now;
        let tail_bytes = self.settings.rooms.tail_bytes;
        let durable = self.journal.durable();
        let home = self.home_mut(room);
        home.last_used_ms = now.mono_ms;
        if !is_logged {
            let (name, shards) = (home.name.clone(), home.shards.clone());
            for shard in shards {
                self.signal_to(shard, &name, message);
            }
            if let Some(reply) = reply {
                self.reply(reply, Outcome::SUCCESS);
            }
            return;
        }
        if home.next >= home.leased {
            home.held.push_back((message.clone(), reply, mark));
            if home.asked <= home.next {
                self.extend_lease(room);
            }
            return;
        }
        let (seq, time_ms) = (home.next, now.unix_ms.max(home.last_time_ms));
        home.next += 1;
        home.last_time_ms = time_ms;
        let entry = Arc::new(message.numbered(seq, time_ms));
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
        if let Some(mark) = mark.filter(|_| !Mutant::UnmarkedInbound.is_on()) {
            self.journal.push(persist::put_inbound(mark));
        }
        let commit = self.journal.pending_number();
        if let Some(home) = self.homes.get_mut(room) {
            home.tail.push_back((entry, commit));
        }
        self.trim_history(room);
        if needs_lease {
            self.extend_lease(room);
        }
        let Some(reply) = reply else { return };
        let outcome = Outcome { reason: ReasonCode::Success, numbered: Some((seq, time_ms)) };
        let waiter = Waiter::Publish(reply, outcome);
        if !self.journal.wait(waiter) {
            self.finish(waiter);
        }
    }

    fn trim_history(&mut self, room: &str) {
        let keep = self.settings.rooms.history_messages;
        let Some(home) = self.homes.get_mut(room) else { return };
        if keep > 0 && home.next > home.first + keep + keep / 8 + 16 {
            home.first = home.next - keep;
            let (log, below) = (home.log, home.first);
            self.journal.push(katydid_store::Op::Trim { log, below });
        }
    }

    /// Sends the entries of this tick to the shards that have members.
    pub(crate) fn distribute(&mut self, room: &str) {
        let Some(home) = self.homes.get_mut(room) else { return };
        home.is_dirty = false;
        if home.fresh.is_empty() {
            return;
        }
        let entries: Arc<[Shared]> = std::mem::take(&mut home.fresh).into();
        let (name, shards) = (home.name.clone(), home.shards.clone());
        for shard in shards {
            if shard == self.shard {
                self.entries_here(&name, &entries);
            } else {
                self.send_to(shard, Crossing::Entries { room: name.clone(), entries: entries.clone() });
            }
        }
    }

    fn signal_to(&mut self, shard: ShardId, room: &Arc<str>, message: &Shared) {
        if shard == self.shard {
            self.signal_here(room, message);
        } else {
            self.send_to(shard, Crossing::Signal { room: room.clone(), message: message.clone() });
        }
    }

    /// A shard has a new member: finds where it starts, and from there on sends the shard what is said.
    pub(crate) fn enter_at_home(&mut self, shard: ShardId, room: &Arc<str>, start: Start, ticket: u64) {
        self.distribute(room);
        let home = self.home_mut(room);
        if let Some(start) = home.start_in_tail(start) {
            return self.entered_at_home(shard, room, ticket, start);
        }
        let otherwise = home.tail_first();
        let (log, before) = (home.log, otherwise);
        let query = match start {
            Start::Last(count) => {
                let entries = (count as usize).saturating_sub(home.tail.len());
                ReadQuery::Back { before, entries, bytes: usize::MAX }
            }
            Start::SinceTime(time_ms) => ReadQuery::Since { time_ms, entries: 1, bytes: 1 },
            Start::Since(_) | Start::Live => return self.entered_at_home(shard, room, ticket, before),
        };
        self.fetch(log, query, Fetch::Start { room: room.clone(), shard, ticket, otherwise });
    }

    fn entered_at_home(&mut self, shard: ShardId, room: &Arc<str>, ticket: u64, start: u64) {
        // What was said before the answer is history for the shard, what comes after it is live.
        self.distribute(room);
        let home = self.home_mut(room);
        if !home.shards.contains(&shard) {
            home.shards.push(shard);
        }
        let (log, next) = (home.log, home.next);
        if shard == self.shard {
            self.on_entered(ticket, log, start, next);
        } else {
            self.send_to(shard, Crossing::Entered { ticket, log, start, next });
        }
    }

    pub(crate) fn leave_at_home(&mut self, shard: ShardId, room: &str) {
        if let Some(home) = self.homes.get_mut(room) {
            home.shards.retain(|known| *known != shard);
        }
    }

    /// Gives a shard entries for a member who is behind, from the tail or from the store.
    pub(crate) fn read_at_home(&mut self, shard: ShardId, room: &str, from: u64, ticket: u64) {
        let home = self.home_mut(room);
        let tail_first = home.tail_first();
        if from < tail_first && home.first < tail_first {
            let query = ReadQuery::From { seq: from, entries: PAGE_ENTRIES, bytes: PAGE_BYTES };
            let log = home.log;
            return self.fetch(log, query, Fetch::Page { shard, ticket, otherwise: tail_first });
        }
        let at = home.tail.partition_point(|(entry, _)| entry.seq < from);
        let page: Vec<Shared> =
            home.tail.iter().skip(at).take(PAGE_ENTRIES).map(|(entry, _)| entry.clone()).collect();
        let next = page.last().map_or(home.next, |last| last.seq + 1);
        self.page_to(shard, ticket, page, next);
    }

    fn page_to(&mut self, shard: ShardId, ticket: u64, entries: Vec<Shared>, next: u64) {
        if shard == self.shard {
            self.on_page(ticket, entries, next);
        } else {
            self.send_to(shard, Crossing::Page { ticket, entries, next });
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
            Fetch::Start { room, shard, ticket, otherwise } => {
                let start = entries.first().map_or(otherwise, |entry| entry.seq.min(otherwise));
                self.entered_at_home(shard, &room, ticket, start);
            }
            Fetch::Page { shard, ticket, otherwise } => {
                let page: Vec<Shared> = entries
                    .iter()
                    .filter_map(|entry| Message::from_disk(&entry.bytes))
                    .map(Arc::new)
                    .collect();
                let next = entries.last().map_or(otherwise, |last| last.seq + 1);
                self.page_to(shard, ticket, page, next);
            }
            Fetch::Queue { index, session } => self.page_queue(index, session, entries),
        }
    }

    /// Gives back the memory of rooms that nobody used for a while, as far as their entries are on disk.
    pub(crate) fn rest_homes(&mut self, unused_ms: u64) {
        let (now_ms, durable) = (self.now.mono_ms, self.journal.durable());
        for home in self.homes.values_mut() {
            if home.last_used_ms + unused_ms <= now_ms && self.settings.persistence {
                home.trim_tail(0, durable);
                if home.tail.is_empty() {
                    home.tail = VecDeque::new();
                }
            }
        }
    }

    /// Makes the last lease exact, so that a planned restart skips no number.
    pub(crate) fn settle_leases(&mut self) {
        for home in self.homes.values() {
            self.journal.push(persist::put_room(&home.name, home.log, home.next));
        }
    }
}
