//! What the directory is told and what it asks for: the whole surface between the chat domain and whoever drives it.
//!
//! The driver hands [`Command`]s in, one at a time, and carries the [`Effect`]s out in their order. Every decision is
//! made before `handle` returns; nothing waits inside the directory but what it names by a ticket.
//!
//! Tickets of commands are the driver's and come back in `SignIn`, `Enter`, `Answer` and `Read`; tickets of `Hash`, `Verify` and
//! `Evict` are the directory's own and come back in `Hashed`, `Verified` and `Evicted`. The two never meet.

use crate::permission::{PlaceRules, Standing, UserKind};
use std::{net::IpAddr, sync::Arc};

/// A place where something is said: `room/{name}`, `group/{name}`, or `user/{a}/{b}` for the private messages of a pair,
/// the two names in ascending order of their bytes. It is the key of the place's log and of its home.
pub type Place = Arc<str>;

/// A session of the broker, unique for ever.
pub type SessionId = u64;

/// Comes back with the answer to a command.
pub type Ticket = u64;

/// What somebody who signs in shows for the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof<'a> {
    /// Nothing: an anonymous user. `exclusive` refuses a name that anybody has, also at the same address.
    None {
        /// Whether the name must be free.
        exclusive: bool,
    },
    /// A password, or a token in its place. Never kept, never shown.
    Password(&'a [u8]),
    /// A password that was checked against the hash of [`SignIn::Check`], and fits.
    Checked {
        /// Its verifier for SCRAM (text of [`crate::scram::Verifier`]), where it was asked for.
        scram: Option<&'a str>,
    },
    /// A password or a proof that was checked and does not fit.
    Failed,
    /// The same of something else, for which this is the answer.
    Rejected(crate::code::Code),
    /// It wants to prove by SCRAM that it knows the password.
    Scram,
    /// It has, against the verifier of [`SignIn::Challenge`].
    Proven,
    /// An access token of the provider that has not been looked at; the name may be empty.
    Token,
    /// An access token that is good, for this name.
    Vouched {
        /// Whom the provider knows: its name and the subject.
        identity: &'a str,
    },
    /// A client certificate, checked by the listener.
    Certificate,
}

/// What the directory is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Command<'a> {
    /// Somebody wants to connect under a name: answered by [`Effect::SignIn`].
    SignIn {
        /// Comes back with the answer.
        ticket: Ticket,
        /// The name as the client wrote it.
        name: &'a str,
        /// What it shows for it.
        proof: Proof<'a>,
        /// Where it comes from; limits count by it.
        address: Option<IpAddr>,
    },
    /// A session exists from here on: a new one, or one that the store held at the start. Its name is taken while it
    /// lives. Guests' sessions are told of with their first chat command.
    SessionOpened {
        /// The session.
        session: SessionId,
        /// Its user, in the registered spelling.
        user: &'a str,
        /// What kind of user.
        kind: UserKind,
    },
    /// A session has a connection.
    Connected {
        /// The session.
        session: SessionId,
        /// Where it comes from.
        address: Option<IpAddr>,
    },
    /// A session has no connection any more, and may come back.
    Disconnected {
        /// The session.
        session: SessionId,
    },
    /// A session is over.
    SessionEnded {
        /// The session.
        session: SessionId,
    },
    /// A session subscribes to a place by name, or did before a restart: answered by [`Effect::Enter`].
    Enter {
        /// Comes back with the answer.
        ticket: Ticket,
        /// The session.
        session: SessionId,
        /// The place.
        place: &'a str,
        /// The user property `password` of the SUBSCRIBE.
        password: Option<&'a str>,
        /// Whether it was there when the broker stopped: nothing is made, joined or told anew.
        restored: bool,
    },
    /// A session subscribes with a wildcard for the place (`room/+/...`, `group/+/...`, `user/{me}/msg/+`): answered by
    /// one [`Effect::Admit`] for each place of that root that its user is in. Later places are admitted as they come.
    EnterAll {
        /// The session.
        session: SessionId,
        /// `room`, `group` or `user`.
        root: &'a str,
    },
    /// A session's last subscription to the place is gone.
    Left {
        /// The session.
        session: SessionId,
        /// The place.
        place: &'a str,
    },
    /// Somebody publishes into a place whose home does not know its rules yet: answered by [`Effect::Rules`].
    Open {
        /// The place.
        place: &'a str,
        /// The user who publishes.
        user: &'a str,
        /// What kind of user.
        kind: UserKind,
    },
    /// A message was numbered in a place: for counters, expiry when unused. Told at most once a tick and place.
    Said {
        /// The place.
        place: &'a str,
        /// The newest number.
        seq: u64,
    },
    /// A message in a room or group names people (see [`crate::mention`]): who may read it there is told, once in a while.
    Mentioned {
        /// The place.
        place: &'a str,
        /// The number of the message.
        seq: u64,
        /// Who said it.
        from: &'a str,
        /// Words that may be names, with punctuation after them.
        names: &'a [Box<str>],
    },
    /// A request (`topics.md`): answered by [`Effect::Answer`], at once or later.
    Request {
        /// Comes back with the answer.
        ticket: Ticket,
        /// The session that asks.
        session: SessionId,
        /// What comes after `$chat/`, such as `room/create`.
        verb: &'a str,
        /// The JSON, as it came: any bytes.
        body: &'a [u8],
    },
    /// A request of the operator, by `katydid user ...` or another command: no session, every right.
    Operate {
        /// Comes back with the answer.
        ticket: Ticket,
        /// As in [`Command::Request`].
        verb: &'a str,
        /// The JSON.
        body: &'a [u8],
    },
    /// The answer to [`Effect::Hash`]: a PHC string, or empty where hashing failed.
    Hashed {
        /// As asked.
        ticket: Ticket,
        /// The hash.
        phc: &'a str,
        /// The verifier for SCRAM (text of [`crate::scram::Verifier`]), where it was asked for.
        scram: Option<&'a str>,
    },
    /// The answer to [`Effect::Verify`].
    Verified {
        /// As asked.
        ticket: Ticket,
        /// Whether the password fits.
        good: bool,
    },
    /// Everybody whom an [`Effect::Evict`] named is out, and that is on disk.
    Evicted {
        /// As asked.
        ticket: Ticket,
    },
    /// The answer to [`Effect::Search`].
    Found {
        /// As asked.
        ticket: Ticket,
        /// What was found, in the order of the spots; or why nobody looked.
        findings: &'a Result<crate::search::Findings, crate::code::Code>,
        /// How long the answer may be.
        bytes: usize,
    },
    /// What an [`Effect::Erase`] asked for is done, and on disk.
    Erased {
        /// As asked.
        user: &'a str,
    },
    /// A deadline has passed (see `next_deadline`).
    Tick,
}

/// How a sign-in ends, or goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignIn {
    /// Let in, under this name in its registered spelling.
    Enter {
        /// The name.
        user: Arc<str>,
        /// What kind of user.
        kind: UserKind,
    },
    /// The password must fit this PHC string; then comes [`Proof::Checked`] or [`Proof::Failed`].
    Check {
        /// The hash.
        hash: Arc<str>,
        /// Whether a password that fits is to be told with its verifier for SCRAM.
        wants_scram: bool,
    },
    /// The client is to answer a challenge of SCRAM; then comes [`Proof::Proven`] or [`Proof::Failed`].
    Challenge {
        /// What the answer is checked against; nobody's, where there is no such account.
        verifier: Box<crate::scram::Verifier>,
        /// The server's part of the nonce.
        nonce: String,
    },
    /// The access token is to be checked; then comes [`Proof::Vouched`] or [`Proof::Rejected`].
    CheckToken,
    /// Refused, with a code such as `login.wrong-password`.
    Refused(crate::code::Code),
}

/// Which entries of a place's log a request wants: at most `count` of those that lie inside all four bounds. The answer is
/// in ascending order whatever the side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Exclusive lower bound of the number; 0 for none.
    pub after_seq: u64,
    /// Exclusive upper bound of the number; `u64::MAX` for none.
    pub before_seq: u64,
    /// Inclusive lower bound of the time, in milliseconds since the Unix epoch; 0 for none.
    pub from_ms: u64,
    /// Exclusive upper bound of the time; `u64::MAX` for none.
    pub until_ms: u64,
    /// At most so many entries.
    pub count: u32,
    /// Which of them, where there are more.
    pub side: Side,
}

/// Which entries of a [`Window`] are taken where it holds more than wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Those with the lowest numbers.
    Oldest,
    /// Those with the highest numbers.
    Newest,
    /// Half of them at or below the number, the rest above it.
    Around(u64),
}

/// What the directory asks its driver to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// The answer to [`Command::SignIn`].
    SignIn {
        /// As asked.
        ticket: Ticket,
        /// How it ends.
        outcome: SignIn,
    },
    /// The answer to [`Command::Enter`]: on success the session becomes a member of the place's log.
    Enter {
        /// As asked.
        ticket: Ticket,
        /// Refused with a code, or let in.
        outcome: Result<(), crate::code::Code>,
    },
    /// A session's wildcard subscriptions reach this place from here on.
    Admit {
        /// The session.
        session: SessionId,
        /// The place.
        place: Place,
        /// Whether it starts at the place's first entry, and not at the last ones.
        from_start: bool,
    },
    /// A user's wildcard subscriptions and subscriptions by name to a place are dormant until a fresh SUBSCRIBE, for every
    /// session, live or asleep; nothing that is numbered later reaches them. Told back by [`Command::Evicted`] when it
    /// is on disk.
    Evict {
        /// Comes back when it is done.
        ticket: Ticket,
        /// The place.
        place: Place,
        /// The user; `None` is everybody.
        user: Option<Arc<str>>,
    },
    /// The rules of a place are these, at its home, before anything that follows; `None`: there is no such place, and
    /// what is published there is refused with [`crate::code::Code::no_place`]. A home must not remember a `None`: with
    /// the next message it asks again, since somebody may have registered or made the place meanwhile.
    ///
    /// Rules after a [`Command::Open`] come with the standing of everybody who has one: what the home held of the place's
    /// standings before is replaced.
    Rules {
        /// The place.
        place: Place,
        /// The rules.
        rules: Option<Arc<PlaceRules>>,
    },
    /// How a user stands in a place, at its home; `None`: like everybody.
    Stands {
        /// The place.
        place: Place,
        /// The user.
        user: Arc<str>,
        /// The standing.
        standing: Option<Standing>,
    },
    /// A place is gone for ever: its log is dropped, its numbers are not used again when the name is made anew.
    Drop {
        /// The place.
        place: Place,
    },
    /// The broker says something into a place's log, such as a subject that changed: `room/{room}/event/{from}`.
    Say {
        /// The place.
        place: Place,
        /// Topic below the place: `event/{from}`.
        within: String,
        /// JSON.
        payload: String,
    },
    /// The broker keeps a last value below a place, such as `info` or `presence/{user}`; empty takes it away.
    Keep {
        /// The place.
        place: Place,
        /// Topic below the place.
        within: String,
        /// JSON, or empty.
        payload: String,
    },
    /// The broker keeps a retained value under a topic, such as `user/{user}/presence`; empty takes it away.
    Retain {
        /// The topic.
        topic: String,
        /// JSON, or empty.
        payload: String,
    },
    /// Something happened to a user: said to the log of the pair of `to` and `from`, as `user/{to}/event/{from}`.
    Tell {
        /// Who is told.
        to: Arc<str>,
        /// Who did it; the broker itself is [`crate::name::BROKER`].
        from: Arc<str>,
        /// JSON.
        payload: String,
    },
    /// The answer to a request; it leaves when everything before it is on disk.
    Answer {
        /// As asked.
        ticket: Ticket,
        /// JSON.
        payload: String,
    },
    /// Read a place's log and answer the request with it (`crate::history::answer` makes the JSON).
    Read {
        /// As asked.
        ticket: Ticket,
        /// The place.
        place: Place,
        /// Which entries.
        window: Window,
        /// Senders whose messages are left out: those whom the asker ignores.
        without: Arc<[Arc<str>]>,
        /// The field `id` of the request, as JSON; comes back in the answer. Where the read fails the answer is
        /// [`crate::request::refusal`] with [`crate::code::Code::Failed`].
        id: Option<String>,
    },
    /// Look for words in the logs of places, on another thread, and say [`Command::Found`].
    Search {
        /// Of the request; comes back with what was found.
        ticket: Ticket,
        /// What, and where.
        quest: Box<crate::search::Quest>,
    },
    /// Whom a user does not hear, from here on, in every session.
    Ignores {
        /// The user.
        user: Arc<str>,
        /// Those who are not heard.
        ignored: Arc<[Arc<str>]>,
    },
    /// Whether private messages to a user are forgotten once they are delivered, from here on, in every session.
    Forgets {
        /// The user.
        user: Arc<str>,
        /// Whether they are.
        forgets: bool,
    },
    /// Take what was said to a user in a pair off the disk, as far as every session of the user that listens to it has
    /// acknowledged it.
    Forget {
        /// The place.
        place: Place,
        /// The user.
        user: Arc<str>,
    },
    /// Hash a password with Argon2id on another thread, and say [`Command::Hashed`].
    Hash {
        /// Comes back with the answer.
        ticket: Ticket,
        /// Whether it is an account's, for which a verifier for SCRAM is made too.
        wants_scram: bool,
        /// The password, wiped after use.
        password: Vec<u8>,
    },
    /// Check a password on another thread, and say [`Command::Verified`].
    Verify {
        /// Comes back with the answer.
        ticket: Ticket,
        /// The PHC string.
        hash: Arc<str>,
        /// The password, wiped after use.
        password: Vec<u8>,
    },
    /// Close every connection of a user, or of one session of it: the account is gone, or a token was revoked.
    Disconnect {
        /// The user.
        user: Arc<str>,
        /// Whether its sessions end too.
        ends: bool,
    },
    /// Close one session's connection and end it.
    End {
        /// The session.
        session: SessionId,
    },
    /// End every session of a user without its will, then take what the user wrote off every log, with what else names
    /// the user there, and leave the numbers and times (`user/erase`). Told back by [`Command::Erased`]; until then it is
    /// asked for again with every start.
    Erase {
        /// The user.
        user: Arc<str>,
    },
    /// Keep a record of the directory; the driver hands all records back at the next start, in the order of their keys.
    Put {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
    /// Forget a record.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
}
