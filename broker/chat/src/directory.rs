//! Everybody and every place: who is registered, who is here, which rooms and groups there are, who is in them and how
//! they stand. One directory serves a whole broker.
//!
//! It is a state machine without I/O: [`Directory::handle`] takes a [`Command`] and the time, and says in [`Effect`]s
//! what follows from it. It never sees an MQTT packet, a socket or a disk. What it must not forget it says as small records;
//! [`Directory::restore`] makes the same directory of them. Sessions are not among them: the driver tells of those that it
//! still has.

mod accounts;
mod boards;
mod boundary;
mod chance;
mod clock;
mod contacts;
mod delivered;
mod erasure;
mod expiry;
mod find;
mod look_up;
mod members;
mod mentions;
mod moderation;
mod operation;
mod pairs;
mod people;
mod place_requests;
mod places;
pub mod portable;
mod presence;
mod records;
mod requests;
mod restore;
mod rules;
mod sign_in;

pub use boundary::{Command, Effect, Place, Proof, SessionId, Side, SignIn, Ticket, Window};
pub use rules::{FileAccount, Registration, Rules};

use accounts::NewAccount;
use chance::Chance;
use clock::Clock;
use pairs::Pair;
use people::{People, Session, Uid};
use places::{Pid, Places, Root};
use presence::Counter;
use records::NumbersRecord;
use requests::{Asker, Reply};
use sign_in::{Attempts, Tokens};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What becomes due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Flush,
    End(SessionId),
    Name(Uid),
    Post(Pid, u64),
    Place(Pid),
}

/// What waits for a hash, a check or an eviction.
#[derive(Debug)]
enum Pending {
    Register { reply: Reply, account: NewAccount },
    OldPassword { asker: Asker, new: String },
    Password { reply: Reply, uid: Uid },
    Create { asker: Asker, root: Root, ask: Box<crate::request::Create> },
    Settings { asker: Asker, pid: Pid, ask: Box<crate::request::Settings> },
    Enter { ticket: Ticket, session: SessionId, pid: Pid },
    Join { asker: Asker, pid: Pid },
    Evicted { reply: Reply },
}

/// The directory.
#[derive(Debug)]
pub struct Directory {
    rules: Rules,
    clock: Clock,
    has_started: bool,
    chance: Chance,
    people: People,
    sessions: HashMap<SessionId, Session>,
    places: Places,
    pairs: BTreeMap<(Uid, Uid), Pair>,
    tokens: Tokens,
    /// Names of those whose messages are being erased, by their keys: nobody has them meanwhile.
    erasing: BTreeMap<String, Arc<str>>,
    attempts: Attempts,
    numbers: NumbersRecord,
    counters: Counter,
    /// Of all posts.
    board_bytes: usize,
    /// By steady time.
    due: BTreeSet<(u64, Due)>,
    flush: Option<u64>,
    dirty_users: BTreeSet<Uid>,
    dirty_places: BTreeSet<Pid>,
    /// Mentions that are to be told: of whom, by whom, where.
    mentions: BTreeMap<(Uid, Uid, Pid), mentions::Named>,
    tickets: Ticket,
    pending: HashMap<Ticket, Pending>,
    /// Searches that run, by the tickets of the driver.
    finding: HashMap<Ticket, find::Finding>,
    /// What a password that is being checked is remembered by, with the hash it is checked against.
    memos: HashMap<Ticket, (Pid, [u8; 32], Arc<str>)>,
    /// What follows from the command at hand.
    out: Vec<Effect>,
    /// What follows after the answer.
    after: Vec<Effect>,
}

impl Directory {
    /// An empty directory. `seed` is entropy: tokens, and the names that nobody guesses, come from it.
    pub fn new(rules: Rules, seed: [u8; 32]) -> Self {
        let empty = Self {
            rules,
            clock: Clock::default(),
            has_started: false,
            chance: Chance::new(seed),
            people: People::default(),
            sessions: HashMap::new(),
            places: Places::default(),
            pairs: BTreeMap::new(),
            tokens: Tokens::new(),
            erasing: BTreeMap::new(),
            attempts: Attempts::default(),
            numbers: NumbersRecord { v: records::VERSION, ..NumbersRecord::default() },
            counters: Counter::default(),
            board_bytes: 0,
            due: BTreeSet::new(),
            flush: None,
            dirty_users: BTreeSet::new(),
            dirty_places: BTreeSet::new(),
            mentions: BTreeMap::new(),
            tickets: 0,
            pending: HashMap::new(),
            finding: HashMap::new(),
            memos: HashMap::new(),
            out: Vec::new(),
            after: Vec::new(),
        };
        empty.bare()
    }

    /// A directory with the records of an earlier one, as [`Effect::Put`] said them, in the order of their keys.
    /// A record that does not parse is an error: it names the record, and nothing starts on half of what there was.
    ///
    /// # Errors
    /// The key of a record that does not parse, or that names what no record before it made.
    pub fn restore<'a>(
        rules: Rules,
        seed: [u8; 32],
        records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Self, Vec<u8>> {
        let mut directory = Self::new(rules, seed);
        for (key, value) in records {
            directory.read(key, value).ok_or_else(|| key.to_vec())?;
        }
        Ok(directory)
    }

    /// Takes a command at a time in milliseconds since the Unix epoch (it may jump), and appends what follows. What became due
    /// by then happens before it.
    pub fn handle(&mut self, now_ms: u64, command: Command<'_>, effects: &mut Vec<Effect>) {
        self.clock.advance(now_ms);
        if !std::mem::replace(&mut self.has_started, true) {
            self.start();
        }
        self.pass_time();
        match command {
            Command::SignIn { ticket, name, proof, address } => {
                let outcome = self.sign_in(name, proof, address);
                self.out.push(Effect::SignIn { ticket, outcome });
            }
            Command::SessionOpened { session, user, kind } => self.open_session(session, user, kind),
            Command::Connected { session, address } => self.connect_session(session, address),
            Command::Disconnected { session } => self.disconnect_session(session),
            Command::SessionEnded { session } => self.end_session(session),
            Command::Enter { ticket, session, place, password, restored } => {
                self.enter(ticket, session, place, password, restored);
            }
            Command::EnterAll { session, root } => self.enter_all(session, root),
            Command::Left { session, place } => self.left(session, place),
            Command::Open { place, user, kind } => self.open(place, user, kind),
            Command::Said { place, .. } => self.said(place),
            Command::Mentioned { place, seq, from, names } => self.mentioned(place, seq, from, names),
            Command::Request { ticket, session, verb, body } => self.request(ticket, session, verb, body),
            Command::Operate { ticket, verb, body } => self.operate(ticket, verb, body),
            Command::Hashed { ticket, phc, scram } => self.hashed(ticket, phc, scram),
            Command::Verified { ticket, good } => self.verified(ticket, good),
            Command::Evicted { ticket } => self.evicted(ticket),
            Command::Found { ticket, findings, bytes } => self.found(ticket, findings, bytes),
            Command::Erased { user } => self.erased(user),
            Command::Tick => {}
        }
        effects.append(&mut self.out);
    }

    /// New rules from the operator: they hold for what comes.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// When [`Command::Tick`] is due, in milliseconds since the Unix epoch; at once for a directory that was told nothing yet.
    pub fn next_deadline(&self) -> Option<u64> {
        if !self.has_started {
            return Some(0);
        }
        self.due.first().map(|&(at, _)| self.clock.wall_at(at))
    }

    fn pass_time(&mut self) {
        while let Some(&(at, due)) = self.due.first() {
            if at > self.clock.steady {
                break;
            }
            self.due.pop_first();
            match due {
                Due::Flush => self.flush(),
                Due::End(session) => self.out.push(Effect::End { session }),
                Due::Name(uid) => self.name_is_due(uid),
                Due::Post(pid, number) => self.post_is_due(pid, number),
                Due::Place(pid) => self.place_is_due(pid),
            }
        }
    }

    fn next_ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    fn hashed(&mut self, ticket: Ticket, phc: &str, scram: Option<&str>) {
        match self.pending.remove(&ticket) {
            Some(Pending::Register { reply, account }) => {
                let outcome = self.registered_with(account, phc, scram).map(Some);
                self.conclude(&reply, outcome);
            }
            Some(Pending::Password { reply, uid }) => self.new_password(&reply, uid, phc, scram),
            Some(Pending::Create { asker, root, ask }) => self.create_hashed(&asker, root, *ask, phc),
            Some(Pending::Settings { asker, pid, ask }) => self.settings_hashed(&asker, pid, *ask, phc),
            other => self.put_back(ticket, other),
        }
    }

    fn verified(&mut self, ticket: Ticket, good: bool) {
        match self.pending.remove(&ticket) {
            Some(Pending::OldPassword { asker, new }) => self.old_password_checked(asker, new, good),
            Some(Pending::Enter { ticket: entering, session, pid }) => {
                let outcome = if self.unlocked(ticket, good) {
                    self.enter_place(session, pid, true)
                } else {
                    Err(self.locked(pid))
                };
                self.out.push(Effect::Enter { ticket: entering, outcome });
            }
            Some(Pending::Join { asker, pid }) => {
                let outcome = if self.unlocked(ticket, good) {
                    self.join_now(&asker, pid, true).map(Some)
                } else {
                    Err(self.locked(pid))
                };
                self.conclude(&asker.reply, outcome);
            }
            other => self.put_back(ticket, other),
        }
    }

    fn evicted(&mut self, ticket: Ticket) {
        match self.pending.remove(&ticket) {
            Some(Pending::Evicted { reply }) => self.out.push(reply.answer(&crate::request::Done {})),
            other => self.put_back(ticket, other),
        }
    }

    /// A driver that answers with the wrong command changes nothing.
    fn put_back(&mut self, ticket: Ticket, pending: Option<Pending>) {
        if let Some(pending) = pending {
            self.pending.insert(ticket, pending);
        }
    }
}

#[cfg(test)]
mod tests;
