//! What goes into an engine and what comes out of it.

use crate::settings::Settings;
use katydid_chat::{
    code::Code,
    search::{Findings, Quest},
};
use katydid_store::{Entry, LogId, Op};
use std::{net::IpAddr, sync::Arc};

/// The time of an input, as its driver read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back, from an arbitrary start.
    pub mono_ms: u64,
    /// Milliseconds since the Unix epoch; may jump.
    pub unix_ms: u64,
}

/// A shard, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// A connection of one shard. The driver chooses it: a slot that is dense and reused, and a generation that makes it
/// unique for the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// Index of the connection in the driver's table and in the engine's.
    pub slot: u32,
    /// Grows whenever the slot is reused.
    pub generation: u32,
}

/// What the driver knows about the other end of a connection.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// Its address, from the PROXY header where the listener takes one; absent on a Unix socket.
    pub address: Option<IpAddr>,
    /// Index into [`Settings::listeners`].
    pub listener: u16,
    /// The name in its client certificate, where the listener asks for one and uses it as user name.
    pub certificate_name: Option<Arc<str>>,
}

/// An input other than bytes.
#[derive(Debug)]
pub enum Input {
    /// A connection was accepted and handed to this shard.
    Open {
        /// The connection.
        conn: ConnId,
        /// Its other end.
        peer: Peer,
    },
    /// The connection is gone (closed by the peer, by an error, or after [`Output::Close`]). The slot is free after it.
    Closed {
        /// The connection.
        conn: ConnId,
    },
    /// A message from another shard; messages of one shard arrive in the order they were sent.
    Shard {
        /// The sender.
        from: ShardId,
        /// The message.
        message: ShardMessage,
    },
    /// Every commit up to this number is on disk.
    Durable {
        /// Number of the newest such commit.
        number: u64,
    },
    /// The answer to [`Output::Read`].
    Fetched {
        /// As asked.
        ticket: u64,
        /// The entries, ascending.
        entries: Vec<Entry>,
    },
    /// The answer to [`Output::Verify`].
    Verified {
        /// As asked.
        conn: ConnId,
        /// What became of it.
        verdict: Verdict,
        /// Its verifier for SCRAM, where it fits and that was asked for.
        scram: Option<Box<str>>,
    },
    /// The answer to [`Output::VerifyToken`].
    Vouched {
        /// As asked.
        conn: ConnId,
        /// What became of it.
        vouching: Vouching,
    },
    /// The answer to [`Output::Hash`].
    Hashed {
        /// As asked.
        ticket: u64,
        /// The PHC string; empty where hashing failed.
        phc: String,
        /// The verifier for SCRAM, where it was asked for.
        scram: Option<Box<str>>,
    },
    /// The answer to [`Output::VerifyFor`].
    VerifiedFor {
        /// As asked.
        ticket: u64,
        /// Whether the password fits.
        good: bool,
    },
    /// The answer to [`Output::Search`].
    Found {
        /// As asked.
        ticket: u64,
        /// What was found, or why nobody looked.
        findings: Result<Findings, Code>,
    },
    /// The operator asks for something, of the first shard; answered by [`Output::Operated`].
    Operate {
        /// Comes back with the answer.
        ticket: u64,
        /// Such as `user/add`.
        verb: String,
        /// The JSON.
        body: Vec<u8>,
    },
    /// A deadline has passed.
    Tick,
    /// New settings, from the next packet on; connections stay.
    Reload(Arc<Settings>),
    /// Publishes broker statistics: `(topic, payload)`, retained, only this way under `$SYS/`.
    System(Vec<(String, String)>),
    /// The broker goes down: 5.0 clients get DISCONNECT 0x8B, all connections are closed, everything is committed.
    Shutdown,
}

/// What the driver carries out.
#[derive(Debug)]
pub enum Output {
    /// Write what the connection's ring still holds (for a second at most), then close it, and say [`Input::Closed`].
    Close {
        /// The connection.
        conn: ConnId,
        /// The peer does not expect it, and may still be sending: it is to see what was written last, not a reset.
        has_last_word: bool,
    },
    /// Hand a message to another shard.
    ToShard {
        /// The receiver.
        shard: ShardId,
        /// The message.
        message: ShardMessage,
    },
    /// Commit to the store, in the order of the numbers, and say [`Input::Durable`]. A commit is before those that other
    /// shards make because of messages that were handed out with it.
    Commit {
        /// Number of the commit, growing by one.
        number: u64,
        /// What to commit, atomically.
        ops: Vec<Op>,
        /// Whether somebody waits for it; otherwise it may be delayed for up to 100 ms to join others.
        urgent: bool,
    },
    /// Read from the store, on another thread, and say [`Input::Fetched`].
    Read {
        /// Comes back with the answer.
        ticket: u64,
        /// The log.
        log: LogId,
        /// Which entries.
        query: ReadQuery,
    },
    /// Check a password, on another thread, and say [`Input::Verified`].
    Verify {
        /// The connection that waits.
        conn: ConnId,
        /// The PHC string to check against.
        hash: Arc<str>,
        /// Whether a verifier for SCRAM (text of [`katydid_chat::scram::Verifier`]) is to be made of one that fits.
        wants_scram: bool,
        /// The password; the driver wipes it after use.
        password: Vec<u8>,
    },
    /// Check an access token of the provider, on another thread, and say [`Input::Vouched`].
    VerifyToken {
        /// The connection that shows it.
        conn: ConnId,
        /// The token; the driver wipes it after use.
        token: Vec<u8>,
    },
    /// Hash a password with Argon2id, on another thread, and say [`Input::Hashed`].
    Hash {
        /// Comes back with the answer.
        ticket: u64,
        /// Whether a verifier for SCRAM is to be made of it too.
        wants_scram: bool,
        /// The password; the driver wipes it after use.
        password: Vec<u8>,
    },
    /// Check a password for the directory, on another thread, and say [`Input::VerifiedFor`].
    VerifyFor {
        /// Comes back with the answer.
        ticket: u64,
        /// The PHC string to check against.
        hash: Arc<str>,
        /// The password; the driver wipes it after use.
        password: Vec<u8>,
    },
    /// Look for words in the logs of places, on another thread, and say [`Input::Found`].
    Search {
        /// Comes back with the answer.
        ticket: u64,
        /// What, and where.
        quest: Box<Quest>,
    },
    /// The answer to [`Input::Operate`]; everything that it says is on disk.
    Operated {
        /// As asked.
        ticket: u64,
        /// JSON.
        payload: String,
    },
    /// Stop reading from the connection.
    Pause {
        /// The connection.
        conn: ConnId,
    },
    /// Read from the connection again, first what was left unused.
    Resume {
        /// The connection.
        conn: ConnId,
    },
    /// Everything that [`Input::Shutdown`] asked for is handed out; the driver ends when it is written and durable.
    Down,
}

/// What became of a password that was to be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It fits.
    Good,
    /// It does not fit.
    Bad,
    /// Nobody looked at it: too many wait.
    Unchecked,
}

/// What became of an access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vouching {
    /// The provider vouches for somebody.
    Good {
        /// The name, by the claim that is configured.
        user: Arc<str>,
        /// Whom the provider knows: its name and the subject.
        identity: Arc<str>,
        /// When that is over, in milliseconds since the Unix epoch.
        until_unix_ms: u64,
    },
    /// It is not good.
    Bad(katydid_chat::code::Code),
    /// It may be good: the provider's keys cannot be had.
    NoKeys,
    /// Nobody looked at it: too many wait.
    Unchecked,
}

/// A peer that broke the rules and was closed.
#[derive(Debug, Clone)]
pub struct Warning {
    /// Its address and listener.
    pub peer: Peer,
    /// The reason code that answered it.
    pub reason: katydid_mqtt::reason::ReasonCode,
    /// What was wrong; holds nothing that the peer sent.
    pub detail: &'static str,
}

/// Which entries of a log are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadQuery {
    /// From a number on.
    From {
        /// First number.
        seq: u64,
        /// How much at most.
        entries: usize,
        /// How much at most.
        bytes: usize,
    },
    /// The last ones below a number.
    Back {
        /// First number that is not wanted.
        before: u64,
        /// How much at most.
        entries: usize,
        /// How much at most.
        bytes: usize,
    },
    /// The first number that a log keeps which holds no more than this: as one entry without content, or none where
    /// nothing has to go.
    Excess {
        /// Sum of the entries' bytes at most.
        most_bytes: u64,
        /// No entry older than this, in milliseconds since the Unix epoch.
        since_ms: u64,
    },
    /// From the first entry at or after a time on.
    Since {
        /// Milliseconds since the Unix epoch.
        time_ms: u64,
        /// How much at most.
        entries: usize,
        /// How much at most.
        bytes: usize,
    },
}

/// How far [`crate::Engine::transmit`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transmit {
    /// The ring is empty.
    Drained,
    /// The socket takes no more: call again when it is writable.
    Blocked,
    /// The write failed: close the connection.
    Failed,
}

/// What shards say to each other. Opaque to the driver.
#[derive(Debug)]
pub struct ShardMessage(pub(crate) crate::crossing::Crossing);
