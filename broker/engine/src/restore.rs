//! From what the store held to a running shard: places, retained messages, sessions with what waits for them.

use crate::{
    Engine, Restored,
    crossing::{Mark, home},
    io::ReadQuery,
    journal::Waiter,
    mutant::Mutant,
    own::shown_of,
    persist,
    place::{
        Cause,
        home::{Fetch, Home},
    },
    queue::{Queue, Queued},
    session::{Origin, Resumed, Session, Stood, Subscription},
    subscribe::root_of_all,
    subscriptions::Subscriptions,
    timers::Timer,
};
use katydid_chat::topic::Replay;
use katydid_mqtt::{
    packet::{PacketId, QoS},
    session::{InFlight, Inbound, Outbound},
};
use katydid_store::{LogId, LogStats, Op};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Entries and bytes of one page of a session's queue.
const PAGE_ENTRIES: usize = 2048;
const PAGE_BYTES: usize = 512 << 10;

impl Engine {
    /// Takes what is this shard's out of what the store held.
    pub(crate) fn restore(&mut self, restored: &Restored) {
        let logs: HashMap<LogId, LogStats> = restored.logs.iter().copied().collect();
        let of = |space| restored.records.iter().filter(move |(it, ..)| *it == space);
        for (_, key, value) in of(persist::PLACES) {
            self.restore_place(key, value, &logs);
        }
        for (_, _, value) in of(persist::RETAINED) {
            if let Some(message) = persist::read_retained(value)
                && home(message.topic(), self.shards) == self.shard
            {
                self.links.counters.retained_now += 1;
                self.links.counters.retained_bytes_now += message.weight() as u64;
                self.plain.retained.insert(&message);
            }
        }
        let mut known = BTreeMap::new();
        for (_, key, value) in of(persist::SESSIONS) {
            if let Some((id, index)) = self.restore_session(key, value, &logs) {
                known.insert(id, index);
            }
        }
        for (_, key, value) in of(persist::POSITIONS) {
            if let (Some(stood), Some(position)) = (self.stood_mut(&known, key), persist::read_number(value))
            {
                stood.position = Some(position);
            }
        }
        for (_, key, value) in of(persist::SENT) {
            let Some(below) = persist::read_number(value) else { continue };
            match persist::split_session_key(key) {
                Some((id, [])) => {
                    if let Some(queue) = known.get(&id).and_then(|index| self.queue_of(*index)) {
                        queue.sent_below = below;
                    }
                }
                _ => {
                    if let Some(stood) = self.stood_mut(&known, key) {
                        stood.sent_below = below;
                    }
                }
            }
        }
        for (_, key, value) in of(persist::MARKERS) {
            if let Some((place, user, seq)) = persist::read_marker(key, value) {
                self.restore_marker(place, user, seq);
            }
        }
        let subscribed: Vec<(u64, Subscription)> = of(persist::SUBSCRIPTIONS)
            .filter_map(|(_, key, value)| persist::read_subscription(key, value))
            .filter(|(id, _)| known.contains_key(id))
            .collect();
        if self.shard.0 == 0 {
            self.clear_remains(restored);
        }
        self.restore_arrived(restored);
        self.restore_in_flight(restored, &known);
        for record in of(persist::WILLS).filter_map(|(_, key, value)| persist::read_will(key, value)) {
            self.restore_will(known.get(&record.session).copied(), record);
        }
        let mut by_session: BTreeMap<u64, Vec<Subscription>> = BTreeMap::new();
        for (id, subscription) in subscribed {
            by_session.entry(id).or_default().push(subscription);
        }
        for (id, index) in known {
            self.restore_subscriptions(index, by_session.remove(&id).unwrap_or_default());
        }
    }

    fn restore_place(&mut self, key: &[u8], value: &[u8], logs: &HashMap<LogId, LogStats>) {
        let (Ok(name), Some((log, leased))) = (std::str::from_utf8(key), persist::read_place(value)) else {
            return;
        };
        if home(name, self.shards) != self.shard {
            return;
        }
        let stats = logs.get(&log);
        let leased = if Mutant::NumberReused.is_on() { 1 } else { leased };
        let next = leased.max(stats.map_or(1, |stats| stats.next));
        let first = stats.map_or(next, |stats| stats.first);
        let place =
            Home::new(name.into(), log, next, first).at_time(stats.map_or(0, |stats| stats.last_time_ms));
        self.homes.insert(place.name.clone(), Box::new(place));
        self.links.counters.rooms_now += 1;
    }

    fn restore_session(
        &mut self,
        key: &[u8],
        value: &[u8],
        logs: &HashMap<LogId, LogStats>,
    ) -> Option<(u64, u32)> {
        let id = u64::from_be_bytes(key.try_into().ok()?);
        let record = persist::read_session(value)?;
        if record.expiry_secs == 0 {
            // It ended with its connection.
            return None;
        }
        if crate::home_shard(&record.client_id, self.shards) != self.shard {
            return None;
        }
        let queue = logs
            .get(&persist::queue_log(id))
            .map(|stats| Box::new(Queue::restored(stats.first, stats.next, stats.bytes as usize)));
        // Nobody knows when a session that was connected at a crash lost its connection: its whole expiry is before it,
        // so that none ends early. One that was away goes on from when it went away.
        let left_ms = match (record.ends_at_unix_ms, record.expiry_secs) {
            (_, u32::MAX) => None,
            (0, secs) => Some(u64::from(secs) * 1000),
            (ends_at, _) => Some(ends_at.saturating_sub(self.now.unix_ms)),
        };
        let ends_at_ms = left_ms.map_or(0, |left_ms| self.now.mono_ms + left_ms);
        self.links.counters.sessions_now += 1;
        let index = self.sessions.insert(Session {
            id,
            account: record.account,
            client_id: record.client_id,
            name: None,
            kind: record.kind,
            ignored: None,
            forgets: false,
            stood: HashMap::default(),
            link: None,
            expiry_secs: record.expiry_secs,
            ends_at_ms,
            outbound: Outbound::new(self.settings.limits.inflight),
            inbound: Inbound::new(),
            arriving: Vec::new(),
            subscriptions: Subscriptions::default(),
            queue,
            seats: Vec::new(),
            lagging: None,
            will: None,
            stamp: 0,
            merged: 0,
            is_ready: false,
            resumed: Vec::new(),
            is_on_disk: true,
            has_moved: false,
            is_listed: false,
            subscribing: 0,
            walks: None,
            held: 0,
        });
        if ends_at_ms != 0 {
            self.timers.set(ends_at_ms, Timer::Expiry(index));
        }
        Some((id, index))
    }

    /// Takes off the disk what belongs to no session: its end and its last publish, on another shard, can cross, and a
    /// session that was to end with its connection may have been cut short. One shard does it for all.
    fn clear_remains(&mut self, restored: &Restored) {
        let lives = |value: &[u8]| persist::read_session(value).is_some_and(|record| record.expiry_secs > 0);
        let of_sessions = restored.records.iter().filter(|(space, ..)| *space == persist::SESSIONS);
        let living: HashSet<u64> = of_sessions
            .filter(|(.., value)| lives(value))
            .filter_map(|(_, key, _)| persist::split_session_key(key).map(|(id, _)| id))
            .collect();
        // A will that is being published needs no session.
        let fired = fired_wills(restored);
        let is_of_will = |space, key: &[u8]| match space {
            persist::WILLS => persist::is_fired(key),
            persist::ARRIVED => {
                persist::read_inbound(key).is_some_and(|mark| mark.is_will() && fired.contains(&mark.session))
            }
            _ => false,
        };
        let by_session = [
            persist::SESSIONS,
            persist::POSITIONS,
            persist::INBOUND,
            persist::OUTBOUND,
            persist::SENT,
            persist::ARRIVED,
            persist::WILLS,
            persist::SUBSCRIPTIONS,
        ];
        for (space, key, _) in restored.records.iter().filter(|(space, ..)| by_session.contains(space)) {
            if !is_of_will(*space, key)
                && persist::split_session_key(key).is_none_or(|(id, _)| !living.contains(&id))
            {
                self.journal.push(Op::Delete { space: *space, key: key.clone() });
            }
        }
        for (log, _) in &restored.logs {
            if persist::session_of(*log).is_some_and(|id| !living.contains(&id)) {
                self.journal.push(Op::DropLog { log: *log });
            }
        }
    }

    /// Parts of messages that may come again; those of a message that is marked cannot.
    fn restore_arrived(&mut self, restored: &Restored) {
        let of = |space| restored.records.iter().filter(move |(it, ..)| *it == space);
        let marked: HashSet<Mark> =
            of(persist::INBOUND).filter_map(|(_, key, _)| persist::read_inbound(key)).collect();
        let fired = fired_wills(restored);
        let is_marked = |mark: Mark| {
            if mark.is_will() { !fired.contains(&mark.session) } else { marked.contains(&mark) }
        };
        for (mark, shard, digest) in
            of(persist::ARRIVED).filter_map(|(_, key, value)| persist::read_arrived(key, value))
        {
            if shard == self.shard && is_marked(mark) {
                self.forget_arrived(mark);
            } else if shard == self.shard {
                self.arrived.insert(mark, digest);
            }
        }
    }

    fn restore_in_flight(&mut self, restored: &Restored, known: &BTreeMap<u64, u32>) {
        for (space, key, value) in &restored.records {
            let Some((id, rest)) = persist::split_session_key(key) else { continue };
            if *space != persist::INBOUND && *space != persist::OUTBOUND {
                continue;
            }
            let session = known.get(&id).and_then(|index| self.sessions.by_index(*index));
            let packet_id = rest.try_into().ok().map(u16::from_be_bytes).and_then(PacketId::new);
            let (Some(session), Some(packet_id)) = (session, packet_id) else { continue };
            if *space == persist::INBOUND {
                session.inbound.restore(packet_id);
            } else if let Some(kept) = persist::read_outbound(value) {
                let state = match kept {
                    None => InFlight::Released,
                    Some((qos, message)) => {
                        if qos == QoS::AtLeastOnce {
                            let origin = Some(message.origin);
                            session.resumed.push(Resumed { packet_id, origin, is_acknowledged: false });
                        }
                        InFlight::Publish { qos, message }
                    }
                };
                session.outbound.restore(packet_id, state);
            }
        }
    }

    fn stood_mut(&mut self, known: &BTreeMap<u64, u32>, key: &[u8]) -> Option<&mut Stood> {
        let (id, place) = persist::split_session_key(key)?;
        let session = self.sessions.by_index(*known.get(&id)?)?;
        Some(session.stood.entry(std::str::from_utf8(place).ok()?.into()).or_default())
    }

    fn queue_of(&mut self, index: u32) -> Option<&mut Queue> {
        self.sessions.by_index(index)?.queue.as_deref_mut()
    }

    fn restore_subscriptions(&mut self, index: u32, subscriptions: Vec<Subscription>) {
        use katydid_chat::topic::Filter as ChatFilter;
        let is_chat =
            |it: &Subscription| !matches!(self.classify_filter(&it.filter, None), ChatFilter::Plain);
        let has_name = self.sessions.peek(index).is_some_and(|session| session.account.is_some());
        if has_name || subscriptions.iter().any(is_chat) {
            self.introduce(index);
        }
        let me = self.sessions.peek(index).and_then(|session| session.name.clone());
        let mut roots = Vec::new();
        for subscription in subscriptions {
            let filter = subscription.filter.clone();
            match self.classify_filter(&filter, me.as_deref()) {
                ChatFilter::Plain | ChatFilter::Users => self.watch(None, index, subscription, false),
                ChatFilter::Place { place, .. } if !subscription.is_dormant => {
                    let session = self.sessions.by_index(index);
                    let stood =
                        session.and_then(|session| session.stood.get(place).copied()).unwrap_or_default();
                    let replay = stood.position.map(|position| Replay::Since(position.saturating_sub(1)));
                    let cause = Cause::Restart { sent_below: stood.sent_below };
                    self.enter_place(cause, index, place, subscription, (replay, None));
                }
                meaning => {
                    roots.extend(root_of_all(&meaning));
                    let shown = shown_of(&meaning, me.as_deref());
                    self.restore_subscription(index, subscription.clone());
                    if let Some(shown) = shown {
                        self.watch_shown(None, index, subscription, shown, false);
                    }
                }
            }
        }
        roots.sort_unstable_by_key(|root| root.as_str());
        roots.dedup();
        for root in roots {
            self.enter_all(None, index, (root, None), (None, false));
        }
    }

    /// Pages in what is on disk only of a session's queue.
    pub(crate) fn read_queue(&mut self, index: u32, from: u64) {
        let Some(session) = self.sessions.by_index(index) else { return };
        let id = session.id;
        session.queue_mut().is_reading = true;
        // What has been appended is read when it is on disk, and not taken for the end of the queue before.
        if !self.journal.wait(Waiter::Page(index, id, from)) {
            self.fetch_queue(index, id, from);
        }
    }

    /// Everything that was in the queue when its page was asked for is on disk.
    pub(crate) fn fetch_queue(&mut self, index: u32, id: u64, from: u64) {
        let query = ReadQuery::From { seq: from, entries: PAGE_ENTRIES, bytes: PAGE_BYTES };
        self.fetch(persist::queue_log(id), query, Fetch::Queue { index, session: id });
    }

    /// A page of a session's queue is here.
    pub(crate) fn page_queue(&mut self, index: u32, id: u64, entries: &[katydid_store::Entry]) {
        let Some(session) = self.sessions.by_index(index).filter(|session| session.id == id) else { return };
        let sent_below = session.queue_mut().sent_below;
        let mut page: Vec<Queued> = entries.iter().filter_map(persist::read_queued).collect();
        // What has an identifier already is in flight, or done.
        page.retain(|queued| {
            let was_sent = queued.qos == QoS::ExactlyOnce && queued.seq < sent_below;
            !was_sent && !session.has_resumed(Origin::Queue(queued.seq))
        });
        session.queue_mut().page_in(page, entries.last().map(|entry| entry.seq));
        self.sessions.mark_ready(index);
    }
}

/// The sessions whose wills were being published.
fn fired_wills(restored: &Restored) -> HashSet<u64> {
    let records = restored.records.iter();
    records
        .filter(|(space, key, _)| *space == persist::WILLS && persist::is_fired(key))
        .filter_map(|(_, key, _)| persist::split_session_key(key).map(|(id, _)| id))
        .collect()
}
