//! Erasing what a user wrote: each shard ends the user's sessions, and then sweeps the places whose homes are here, one
//! after the other and a page at a time.
//!
//! It decides nothing: the directory says whom, and is told when nothing is left. Invariants: a tick looks at a bounded
//! number of places and entries; the next page is read when what the last one led to is on disk; a sweep that ends has
//! left nothing of the user here that is on disk.

use super::home::Fetch;
use crate::{
    Engine,
    crossing::Crossing,
    desk::Asked,
    io::ReadQuery,
    journal::Waiter,
    message::{Message, Shared},
    persist,
    session::Sent,
    timers::Timer,
};
use katydid_chat::{
    code::Code,
    name::{BROKER, ERASED},
    topic::{self, Topic},
};
use katydid_mqtt::session::{InFlight, Resend};
use katydid_store::Op;
use std::{collections::VecDeque, sync::Arc};

/// Entries and bytes of one page.
const PAGE_ENTRIES: usize = 256;
const PAGE_BYTES: usize = 256 << 10;
/// Places that one tick looks at.
const PLACES: usize = 64;
/// Sessions that one tick looks at.
const SESSIONS: usize = 1024;

/// What one shard still has to look at for one user.
#[derive(Debug)]
pub(crate) struct Sweep {
    user: Arc<str>,
    sessions: Vec<u32>,
    places: VecDeque<Arc<str>>,
    /// The place whose log is being read, and the number that comes next.
    at: Option<(Arc<str>, u64)>,
}

impl Engine {
    /// Ends every session of a user here, without a will: what it would say would be erased.
    pub(crate) fn end_sessions_of(&mut self, user: &Arc<str>) {
        for index in self.sessions.indices() {
            let Some(session) = self.sessions.peek(index) else { continue };
            if session.name.as_ref().or(session.account.as_ref()) != Some(user) {
                continue;
            }
            let (id, link) = (session.id, session.link);
            self.drop_wills(index, link);
            self.dismiss(index, id, true);
        }
        self.ask(Asked::Erased { user: user.clone() });
    }

    /// Begins to take what a user wrote off every log whose home is here, after those who are being erased already.
    pub(crate) fn sweep(&mut self, user: Arc<str>) {
        let places = self.homes.keys().cloned().collect();
        let sessions = self.sessions.indices();
        self.sweeps.push_back(Sweep { user, sessions, places, at: None });
        if self.sweeps.len() == 1 {
            self.sweep_on();
        }
    }

    /// Goes on with the sweep, as far as a tick may.
    pub(crate) fn sweep_on(&mut self) {
        let Some(sweep) = self.sweeps.front_mut() else { return };
        let user = sweep.user.clone();
        if let Some((place, from)) = sweep.at.clone() {
            return self.read_erased(&place, from);
        }
        if !sweep.sessions.is_empty() {
            let from = sweep.sessions.len().saturating_sub(SESSIONS);
            for index in sweep.sessions.split_off(from) {
                self.erase_in_flight(index, &user);
            }
            return self.timers.set(self.now.mono_ms + 1, Timer::Sweep);
        }
        for _ in 0..PLACES {
            let Some(place) = self.sweeps.front_mut().and_then(|sweep| sweep.places.pop_front()) else {
                return self.sweep_after_disk();
            };
            if let Some(from) = self.erase_in_place(&place, &user) {
                if let Some(sweep) = self.sweeps.front_mut() {
                    sweep.at = Some((place, from));
                }
                return self.sweep_after_disk();
            }
        }
        self.timers.set(self.now.mono_ms + 1, Timer::Sweep);
    }

    fn sweep_after_disk(&mut self) {
        if !self.journal.wait(Waiter::Swept) {
            self.swept_so_far();
        }
    }

    /// What the sweep led to is on disk.
    pub(crate) fn swept_so_far(&mut self) {
        let is_over = self.sweeps.front().is_some_and(|sweep| sweep.at.is_none() && sweep.places.is_empty());
        if !is_over {
            return self.sweep_on();
        }
        if let Some(Sweep { user, .. }) = self.sweeps.pop_front() {
            self.ask(Asked::Erased { user });
        }
        if !self.sweeps.is_empty() {
            // The next one begins with a tick of its own.
            self.timers.set(self.now.mono_ms + 1, Timer::Sweep);
        }
    }

    /// Erases what of a place is in memory; gives the number from which on the store has to be read.
    fn erase_in_place(&mut self, place: &Arc<str>, user: &Arc<str>) -> Option<u64> {
        if topic::users_of(place).is_some_and(|(one, other)| one == &**user || other == &**user) {
            self.forget_pair(place);
            return None;
        }
        self.deny_held(place, user);
        let home = self.homes.get_mut(place)?;
        home.ids = None;
        let has_marker = home.markers.remove(user).is_some();
        let of_user: Vec<Shared> =
            home.tail.iter().filter_map(|(entry, _)| erased(entry, user)).map(Arc::new).collect();
        let (first, tail_first) = (home.first, home.tail_first());
        if has_marker {
            self.journal.push(persist::delete_marker(place, user));
            self.keep_at_home(place, &format!("read/{user}"), "");
        }
        for stub in of_user {
            self.amend(place, stub);
        }
        (first < tail_first).then_some(first)
    }

    /// What the user said and nobody has numbered is not said.
    fn deny_held(&mut self, place: &Arc<str>, user: &str) {
        let Some(home) = self.homes.get_mut(place) else { return };
        let (theirs, others) = std::mem::take(&mut home.held)
            .into_iter()
            .partition::<VecDeque<_>, _>(|arrival| is_by(&arrival.message, user));
        home.held = others;
        for arrival in theirs {
            if let Topic::Said(said) = topic::classify(arrival.message.topic()) {
                self.deny(&said, &arrival, Code::UserNotFound);
            }
        }
    }

    /// A pair with the user is gone already, with its log; what is left is its name, and the number that would come next.
    fn forget_pair(&mut self, place: &Arc<str>) {
        self.drop_place(place);
        if self.homes.remove(place).is_some() {
            self.links.counters.rooms_now -= 1;
        }
        // A lease that is not on disk yet must not count for whoever has the name next.
        for (leased, _) in self.leases.iter_mut().filter(|(leased, _)| leased == place) {
            *leased = "".into();
        }
        self.journal.push(persist::delete_place(place));
    }

    fn read_erased(&mut self, place: &Arc<str>, from: u64) {
        let Some(home) = self.homes.get(place) else { return self.place_swept() };
        let (log, from) = (home.log, from.max(home.first));
        let query = ReadQuery::From { seq: from, entries: PAGE_ENTRIES, bytes: PAGE_BYTES };
        self.fetch(log, query, Fetch::Erase { place: place.clone() });
    }

    /// A page of the log from which a user is erased.
    pub(super) fn on_erase(&mut self, place: Arc<str>, entries: &[katydid_store::Entry]) {
        let user = match self.sweeps.front() {
            Some(Sweep { user, at: Some((at, _)), .. }) if *at == place => user.clone(),
            _ => return,
        };
        for entry in entries.iter().filter_map(|entry| Message::from_disk(&entry.bytes)) {
            if let Some(stub) = erased(&entry, &user) {
                self.amend(&place, Arc::new(stub));
            }
        }
        // What the tail held was looked at before, and what came into it later is not the user's.
        let end = self.homes.get(&place).map_or(0, |home| home.tail_first());
        let next = entries.last().map(|last| last.seq + 1).filter(|next| *next < end);
        match (next, self.sweeps.front_mut()) {
            (Some(next), Some(sweep)) => sweep.at = Some((place, next)),
            _ => return self.place_swept(),
        }
        self.sweep_after_disk();
    }

    fn place_swept(&mut self) {
        if let Some(sweep) = self.sweeps.front_mut() {
            sweep.at = None;
        }
        self.sweep_after_disk();
    }

    /// Copies of what the user said that are on their way to somebody.
    fn erase_in_flight(&mut self, index: u32, user: &str) {
        let Some(session) = self.sessions.by_index(index) else { return };
        let theirs: Vec<_> = session
            .outbound
            .iter()
            .filter_map(|resend| match resend {
                Resend::Publish { id, qos, message } => Some((id, qos, message)),
                Resend::PubRel { .. } => None,
            })
            .filter_map(|(id, qos, sent)| Some((id, qos, erased(&sent.message, user)?, sent)))
            .map(|(id, qos, stub, sent)| (id, qos, Sent { message: Arc::new(stub), ..sent.clone() }))
            .collect();
        let mut ops = Vec::new();
        for (id, qos, sent) in theirs {
            if session.is_on_disk {
                ops.push(persist::put_outbound_at(session.id, id, qos, Some(&sent)));
            }
            session.outbound.replace(id, InFlight::Publish { qos, message: sent });
        }
        for op in ops {
            self.journal.push(op);
        }
    }

    /// Puts another content in the place of an entry, on disk and wherever it waits to be sent.
    pub(super) fn amend(&mut self, place: &str, stub: Shared) {
        let Some(home) = self.homes.get_mut(place) else { return };
        home.replace(&stub);
        let (log, name) = (home.log, home.name.clone());
        let shards = home.shards.clone();
        let (seq, bytes) = (stub.seq, stub.to_disk());
        self.journal.push(Op::Amend { log, seq, bytes });
        for (shard, _) in shards {
            self.tell(shard, Crossing::Amended { place: name.clone(), entry: stub.clone() });
        }
    }
}

/// What is left of an entry when a user is erased; `None` where it stays as it is.
fn erased(entry: &Message, user: &str) -> Option<Message> {
    let topic = entry.topic();
    if is_by(entry, user) {
        let head = topic.strip_suffix(user)?;
        return Some(entry.deleted_from(&format!("{head}{ERASED}")));
    }
    let quotes = !entry.is_deleted && is_by(entry, BROKER) && quotes(entry.payload(), user);
    quotes.then(|| entry.deleted())
}

/// Whether an entry was said by a user.
fn is_by(entry: &Message, user: &str) -> bool {
    matches!(topic::classify(entry.topic()), Topic::Said(said) if said.from == user)
}

/// Whether an event of the broker is about a user.
fn quotes(payload: &[u8], user: &str) -> bool {
    let event: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
    ["user", "by"].iter().any(|field| event[*field].as_str() == Some(user))
}
