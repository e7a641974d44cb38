//! The directory's desk: the shard that has the directory hands it what the shards ask, and has its answers carried out.
//!
//! Every engine has the side that asks ([`Engine::ask`]); only shard 0 has the directory. What is asked waits until the
//! shard is done with what led to it, so that a decision never changes a session under the hands of who works on it.
//! Invariant: what the directory decides is carried out in its order, and each home, and each shard, hears of it in that
//! order. It must never decide anything itself.

mod carry;
mod delivered;
mod requests;
mod sign_in;

use crate::{
    Engine,
    crossing::{AnswerTo, Crossing, Start, home},
    io::{ConnId, Output, ShardId},
    journal::Waiter,
    persist,
};
use foldhash::fast::FixedState;
use katydid_chat::{
    code::Code,
    directory::{Command, Directory, Effect, Proof},
    permission::UserKind,
    search::Findings,
};
use slab::Slab;
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    net::IpAddr,
    sync::Arc,
};

/// A password on its way; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What somebody who signs in shows; see [`Proof`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    None { exclusive: bool },
    Password(Secret),
    Checked(Option<Box<str>>),
    Failed,
    Rejected(Code),
    Certificate,
    Scram,
    Proven,
    Token,
    Vouched(Arc<str>),
}

impl Shown {
    fn proof(&self) -> Proof<'_> {
        match self {
            Self::None { exclusive } => Proof::None { exclusive: *exclusive },
            Self::Password(password) => Proof::Password(&password.0),
            Self::Checked(scram) => Proof::Checked { scram: scram.as_deref() },
            Self::Failed => Proof::Failed,
            Self::Rejected(code) => Proof::Rejected(*code),
            Self::Certificate => Proof::Certificate,
            Self::Scram => Proof::Scram,
            Self::Proven => Proof::Proven,
            Self::Token => Proof::Token,
            Self::Vouched(identity) => Proof::Vouched { identity },
        }
    }
}

/// What the directory is told or asked, by a shard.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Somebody wants to connect under a name.
    SignIn { conn: ConnId, name: Arc<str>, shown: Shown, address: Option<IpAddr> },
    /// A session has a name from here on.
    Opened { session: u64, index: u32, user: Arc<str>, kind: UserKind },
    /// It has a connection.
    Connected { session: u64, address: Option<IpAddr> },
    /// It has none.
    Disconnected { session: u64 },
    /// It is over.
    Ended { session: u64 },
    /// It subscribes to a place by name.
    Enter {
        ticket: u64,
        session: u64,
        place: Arc<str>,
        password: Option<Box<str>>,
        restored: bool,
        start: Start,
    },
    /// It subscribes to all places of a kind that it is in.
    EnterAll {
        ticket: Option<u64>,
        session: u64,
        root: &'static str,
        /// The place that the start is said of, where it is not all.
        only: Option<Arc<str>>,
        start: Option<Start>,
        moves: bool,
    },
    /// Its last subscription that names the place is gone.
    Left { pending: u64, session: u64, place: Arc<str> },
    /// A place's home does not know its rules.
    Open { place: Arc<str>, user: Arc<str>, kind: UserKind },
    /// Something was numbered in a place.
    Said { place: Arc<str>, seq: u64 },
    /// A message in a place names people.
    Mentioned { place: Arc<str>, seq: u64, from: Arc<str>, names: Vec<Box<str>> },
    /// A session has acknowledged something that was said to its user in a pair, and that is to be forgotten.
    Delivered { place: Arc<str>, user: Arc<str> },
    /// Up to which number a session has acknowledged a pair; `None` where it does not listen to it.
    Reached { ticket: u64, below: Option<u64> },
    /// A request.
    Request { verb: Box<str>, body: Box<[u8]>, to: AnswerTo, bytes: usize },
    /// A shard has put out everybody whom an eviction names.
    Evicted { ticket: u64 },
    /// A shard is done with a part of erasing a user.
    Erased { user: Arc<str> },
    /// A place's home has told so many shards of an eviction.
    Evicting { ticket: u64, shards: u32 },
}

/// Who waits for an answer of the directory.
#[derive(Debug)]
enum Asker {
    SignIn { shard: ShardId, conn: ConnId },
    Enter { shard: ShardId, ticket: u64, session: u64, place: Arc<str>, start: Start },
    Request { to: AnswerTo, bytes: usize },
    Operate { ticket: u64 },
}

/// Where a session is.
#[derive(Debug, Clone)]
struct Whereabouts {
    shard: ShardId,
    index: u32,
    user: Arc<str>,
}

/// An eviction that is not done everywhere.
#[derive(Debug, Default)]
struct Evicting {
    /// Shards that were told; `None` until the home has said.
    told: Option<u32>,
    done: u32,
    /// An UNSUBSCRIBE that waits for it: its shard and its key there.
    left: Option<(ShardId, u64)>,
}

/// A SUBSCRIBE for all places of a kind that is being carried out.
#[derive(Debug, Clone)]
struct Joining {
    session: u64,
    only: Option<Arc<str>>,
    ticket: Option<u64>,
    start: Option<Start>,
    moves: bool,
    /// Places that it reaches.
    places: u32,
}

/// The directory and what its answers need.
#[derive(Debug)]
pub(crate) struct Desk {
    directory: Directory,
    askers: Slab<Asker>,
    sessions: HashMap<u64, Whereabouts, FixedState>,
    users: HashMap<Arc<str>, Vec<u64>, FixedState>,
    ignores: HashMap<Arc<str>, Arc<[Arc<str>]>, FixedState>,
    evicting: HashMap<u64, Evicting, FixedState>,
    joining: Option<Joining>,
    /// Pairs of which it is asked how far a user is.
    rounds: Slab<delivered::Round>,
    /// Users who are being erased: how many shards are done, and whether with the sweep.
    erasing: HashMap<Arc<str>, (usize, bool), FixedState>,
    effects: Vec<Effect>,
    /// Evictions that the command at hand has led to.
    issued: Vec<u64>,
    /// Answers that wait for the disk.
    answers: Slab<Finished>,
}

/// An answer that waits for the disk, or what must not overtake one.
#[derive(Debug)]
enum Finished {
    Session(AnswerTo, String),
    Operator(u64, String),
    /// Connections that close, of sessions that end or not: who asked for it has its answer first.
    Dismissed(Vec<(u64, Whereabouts)>, bool),
}

impl Desk {
    pub(crate) fn new(directory: Directory) -> Self {
        Self {
            directory,
            askers: Slab::new(),
            sessions: HashMap::default(),
            users: HashMap::default(),
            ignores: HashMap::default(),
            evicting: HashMap::default(),
            joining: None,
            rounds: Slab::new(),
            erasing: HashMap::default(),
            effects: Vec::new(),
            issued: Vec::new(),
            answers: Slab::new(),
        }
    }

    fn sessions_of(&self, user: &str) -> Vec<(u64, Whereabouts)> {
        let ids = self.users.get(user).map_or(&[][..], Vec::as_slice);
        ids.iter().filter_map(|id| self.sessions.get(id).map(|at| (*id, at.clone()))).collect()
    }
}

/// What is asked of the directory, on the way to it.
pub(crate) type Asks = VecDeque<(ShardId, Asked)>;

impl Engine {
    /// Makes the directory of what the store held.
    pub(crate) fn open_desk(&mut self, restored: &crate::Restored, seed: [u8; 32]) {
        let of_chat = restored.records.iter().filter(|(space, ..)| *space == persist::CHAT);
        let records = of_chat.map(|(_, key, value)| (&key[..], &value[..]));
        match Directory::restore(self.settings.chat_rules(), seed, records) {
            Ok(directory) => self.desk = Some(Box::new(Desk::new(directory))),
            Err(key) => self.damaged = Some(key),
        }
    }

    /// Tells the directory something, or asks it.
    pub(crate) fn ask(&mut self, asked: Asked) {
        if self.shard.0 == 0 {
            self.asks.push_back((self.shard, asked));
        } else {
            self.send_to(ShardId(0), Crossing::Ask(Box::new(asked)));
        }
    }

    /// Says something to a shard, which may be this one.
    pub(crate) fn tell(&mut self, shard: ShardId, crossing: Crossing) {
        if shard == self.shard {
            self.on_crossing(shard, crossing);
        } else {
            self.send_to(shard, crossing);
        }
    }

    /// Hands the directory what it was asked meanwhile, and carries out what follows.
    pub(crate) fn serve(&mut self) {
        while let Some((from, asked)) = self.asks.pop_front() {
            self.on_asked(from, asked);
        }
    }

    /// Gives the directory one command, and carries out what follows.
    fn command(&mut self, command: Command<'_>) {
        let now_ms = self.now.unix_ms;
        let Some(desk) = self.desk.as_deref_mut() else { return };
        let mut effects = std::mem::take(&mut desk.effects);
        desk.directory.handle(now_ms, command, &mut effects);
        let mut ruled: Vec<Arc<str>> = Vec::new();
        for effect in effects.drain(..) {
            if let Effect::Rules { place, .. } = &effect {
                ruled.push(place.clone());
            }
            self.carry_out(effect);
        }
        // What waits there for its rules is judged by all that was said with them.
        for place in ruled {
            self.tell(home(&place, self.shards), Crossing::Ruled { place });
        }
        if let Some(desk) = self.desk.as_deref_mut() {
            desk.effects = effects;
        }
    }

    fn on_asked(&mut self, from: ShardId, asked: Asked) {
        let Some(desk) = self.desk.as_deref_mut() else { return };
        match asked {
            Asked::SignIn { conn, name, shown, address } => {
                let ticket = desk.askers.insert(Asker::SignIn { shard: from, conn }) as u64;
                self.command(Command::SignIn { ticket, name: &name, proof: shown.proof(), address });
            }
            Asked::Opened { session, index, user, kind } => {
                desk.sessions.insert(session, Whereabouts { shard: from, index, user: user.clone() });
                desk.users.entry(user.clone()).or_default().push(session);
                let ignored = desk.ignores.get(&user).cloned();
                self.command(Command::SessionOpened { session, user: &user, kind });
                if let Some(ignored) = ignored {
                    self.tell(from, Crossing::Ignore { index, session, ignored });
                }
            }
            Asked::Connected { session, address } => self.command(Command::Connected { session, address }),
            Asked::Disconnected { session } => self.command(Command::Disconnected { session }),
            Asked::Ended { session } => {
                self.command(Command::SessionEnded { session });
                self.forget_session(session);
            }
            Asked::Enter { ticket, session, place, password, restored, start } => {
                let asker = Asker::Enter { shard: from, ticket, session, place: place.clone(), start };
                let ticket = desk.askers.insert(asker) as u64;
                let (place, password) = (&*place, password.as_deref());
                self.command(Command::Enter { ticket, session, place, password, restored });
            }
            Asked::EnterAll { ticket, session, root, only, start, moves } => {
                desk.joining = Some(Joining { session, only, ticket, start, moves, places: 0 });
                self.command(Command::EnterAll { session, root });
                let joining = self.desk.as_deref_mut().and_then(|desk| desk.joining.take());
                if let Some(Joining { ticket: Some(ticket), places, .. }) = joining {
                    self.tell(from, Crossing::EnteredAll { ticket, places });
                }
            }
            Asked::Left { pending, session, place } => {
                desk.issued.clear();
                self.command(Command::Left { session, place: &place });
                let issued = self.desk.as_deref_mut().and_then(|desk| desk.issued.pop());
                match (issued, self.desk.as_deref_mut()) {
                    // Its wildcards may have reached the place too, and must not any more.
                    (Some(ticket), Some(desk)) => {
                        desk.evicting.entry(ticket).or_default().left = Some((from, pending));
                    }
                    _ => self.tell(from, Crossing::LeftPlace { pending }),
                }
            }
            Asked::Open { place, user, kind } => {
                self.command(Command::Open { place: &place, user: &user, kind });
            }
            Asked::Said { place, seq } => self.command(Command::Said { place: &place, seq }),
            Asked::Mentioned { place, seq, from, names } => {
                self.command(Command::Mentioned { place: &place, seq, from: &from, names: &names });
            }
            Asked::Delivered { place, user } => self.forget_delivered(place, user),
            Asked::Reached { ticket, below } => self.reached(ticket, below),
            Asked::Request { verb, body, to, bytes } => {
                let session = to.session;
                let ticket = desk.askers.insert(Asker::Request { to, bytes }) as u64;
                self.command(Command::Request { ticket, session, verb: &verb, body: &body });
            }
            Asked::Erased { user } => self.erased_by_shard(&user),
            Asked::Evicted { ticket } => self.evicted(ticket, None),
            Asked::Evicting { ticket, shards } => self.evicted(ticket, Some(shards)),
        }
    }

    fn forget_session(&mut self, session: u64) {
        let Some(desk) = self.desk.as_deref_mut() else { return };
        let Some(Whereabouts { user, .. }) = desk.sessions.remove(&session) else { return };
        if let Some(of_user) = desk.users.get_mut(&user) {
            of_user.retain(|known| *known != session);
            if of_user.is_empty() {
                desk.users.remove(&user);
            }
        }
    }

    /// One more shard is done with an eviction, or the home has said how many there are.
    fn evicted(&mut self, ticket: u64, shards: Option<u32>) {
        let Some(desk) = self.desk.as_deref_mut() else { return };
        let evicting = desk.evicting.entry(ticket).or_default();
        match shards {
            Some(shards) => evicting.told = Some(shards),
            None => evicting.done += 1,
        }
        if evicting.told == Some(evicting.done) {
            let left = desk.evicting.remove(&ticket).and_then(|evicting| evicting.left);
            if let Some((shard, pending)) = left {
                self.tell(shard, Crossing::LeftPlace { pending });
            }
            self.command(Command::Evicted { ticket });
        }
    }

    /// When the directory wants to be woken, on the monotonic clock.
    pub(crate) fn desk_deadline(&self) -> Option<u64> {
        let at_ms = self.desk.as_deref()?.directory.next_deadline()?;
        // Never at once: a deadline that does not go away must not keep the shard from sleeping.
        Some(self.now.mono_ms + at_ms.saturating_sub(self.now.unix_ms).max(1))
    }

    /// Wakes the directory where it is due.
    pub(crate) fn wake_desk(&mut self) {
        let due = self.desk.as_deref().and_then(|desk| desk.directory.next_deadline());
        if due.is_some_and(|at_ms| at_ms <= self.now.unix_ms) {
            self.command(Command::Tick);
        }
    }

    /// The driver has hashed a password.
    pub(crate) fn on_hashed(&mut self, ticket: u64, phc: &str, scram: Option<&str>) {
        self.command(Command::Hashed { ticket, phc, scram });
    }

    /// The driver has checked a password.
    pub(crate) fn on_verified_for(&mut self, ticket: u64, good: bool) {
        self.command(Command::Verified { ticket, good });
    }

    /// The driver has looked for words.
    pub(crate) fn on_found(&mut self, ticket: u64, findings: &Result<Findings, Code>) {
        let bytes = self.answer_bytes(ticket);
        self.command(Command::Found { ticket, findings, bytes });
    }

    /// The settings have changed.
    pub(crate) fn reload_desk(&mut self) {
        let rules = self.settings.chat_rules();
        if let Some(desk) = self.desk.as_deref_mut() {
            desk.directory.set_rules(rules);
        }
    }

    /// A place's home has read what a request wants.
    pub(crate) fn history_answered(&mut self, ticket: u64, payload: String) {
        match self.take_asker(ticket) {
            Some(Asker::Request { to, .. }) => self.answer(Finished::Session(to, payload)),
            Some(Asker::Operate { ticket }) => self.answer(Finished::Operator(ticket, payload)),
            _ => {}
        }
    }

    /// What an answer says is on disk.
    pub(crate) fn answer_durable(&mut self, key: u64) {
        let Some(desk) = self.desk.as_deref_mut() else { return };
        match desk.answers.try_remove(key as usize) {
            Some(Finished::Session(to, payload)) => self.tell(to.shard, Crossing::Answer { to, payload }),
            Some(Finished::Operator(ticket, payload)) => {
                self.outputs.push_back(Output::Operated { ticket, payload });
            }
            Some(Finished::Dismissed(sessions, ends)) => {
                for (session, at) in sessions {
                    self.tell(at.shard, Crossing::Dismiss { index: at.index, session, ends });
                }
            }
            None => {}
        }
    }

    fn answer(&mut self, finished: Finished) {
        let Some(desk) = self.desk.as_deref_mut() else { return };
        let key = desk.answers.insert(finished) as u64;
        if !self.journal.wait(Waiter::Answer(key)) {
            self.answer_durable(key);
        }
    }
}
