//! What an operator can set and the engine obeys, already proved: the driver parses files and builds these values.

use crate::access::AccessList;
use std::{collections::HashMap, sync::Arc};

/// Everything the engine is told from outside. Replaced as a whole on reload.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limits.
    pub limits: Limits,
    /// One entry a listener; [`crate::Peer::listener`] indexes it.
    pub listeners: Vec<ListenerSettings>,
    /// Registered users of the operator's file, by name.
    pub accounts: Arc<HashMap<Box<str>, Credentials>>,
    /// Who may read and write which plain topic.
    pub access: Arc<AccessList>,
    /// Whether a refused subscription is answered with 0x80 instead of 0x87, so that the answer does not tell that there
    /// is something to be authorized for.
    pub conceal_refusals: bool,
    /// How rooms behave.
    pub rooms: RoomSettings,
    /// What the operator decided about people and places.
    pub chat: katydid_chat::directory::Rules,
    /// Whether sessions, queues, retained messages and rooms are kept in the store.
    pub persistence: bool,
}

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The PHC string (Argon2id).
    pub hash: Arc<str>,
    /// The verifier for SCRAM: text of [`katydid_chat::scram::Verifier`].
    pub scram: Option<Arc<str>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

/// Settings of one listener that concern the protocol.
#[derive(Debug, Clone)]
pub struct ListenerSettings {
    /// Whether a connection without password is let in.
    pub allow_anonymous: bool,
    /// The longest packet taken on this listener, in bytes; at most `Limits::packet_bytes`.
    pub packet_bytes: u32,
}

/// How rooms behave.
#[derive(Debug, Clone)]
pub struct RoomSettings {
    /// Whether topics under `room/` are rooms; otherwise they are plain topics.
    pub enabled: bool,
    /// How many old messages a new subscription gets when it does not say.
    pub replay: u32,
    /// Bytes of recent messages that each room keeps in memory a shard.
    pub tail_bytes: usize,
    /// Messages that a room keeps at most; 0 keeps all.
    pub history_messages: u64,
}

/// Limits; each has a counter in [`crate::Counters`] that grows when it is hit.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest packet, in bytes; announced as Maximum Packet Size. Costs at most this per connection that is in
    /// the middle of sending a packet.
    pub packet_bytes: u32,
    /// QoS 1 and 2 messages that a client may send before they are acknowledged; announced as Receive Maximum.
    pub receive_maximum: u16,
    /// QoS 1 and 2 messages in flight to a client at most, whatever it takes.
    pub inflight: u16,
    /// Topic aliases that a client may set; each costs the length of its topic.
    pub topic_aliases: u16,
    /// Longest keep alive in seconds; a longer one, or none, is answered with Server Keep Alive; 0 leaves it alone.
    pub keep_alive_secs: u16,
    /// How long a connection may take until its CONNECT is complete, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Bytes that wait in a connection's outgoing ring at most.
    pub ring_bytes: usize,
    /// QoS 1 and 2 messages of plain topics that wait for a session at most.
    pub queue_messages: usize,
    /// Bytes of those messages at most.
    pub queue_bytes: usize,
    /// What happens when a session's queue is full.
    pub queue_policy: QueuePolicy,
    /// Sessions a shard at most, connected or not.
    pub sessions: usize,
    /// Longest session expiry in seconds; `u32::MAX` is for ever. 3.1.1 sessions that are not clean get this.
    pub session_expiry_secs: u32,
    /// Subscriptions a session at most.
    pub subscriptions: usize,
    /// Longest topic name or filter, in bytes.
    pub topic_bytes: usize,
    /// Levels of a topic name or filter at most.
    pub topic_levels: usize,
    /// Retained messages a shard at most.
    pub retained_messages: usize,
    /// Bytes of retained messages a shard at most.
    pub retained_bytes: usize,
    /// PUBLISH packets a second that are read from one client; 0 is no limit. Over it, reading pauses.
    pub publish_rate: u32,
}

/// What happens to a session whose queue of plain QoS 1 and 2 messages is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueuePolicy {
    /// The oldest message that is not in flight is dropped and counted.
    DropOldest,
    /// A connected client is disconnected with 0x97; for a session that is away, or back and not yet through with what
    /// waited, the oldest is dropped.
    Disconnect,
}

impl Settings {
    /// What the directory is told of these settings.
    pub(crate) fn chat_rules(&self) -> katydid_chat::directory::Rules {
        let accounts = self.accounts.iter().map(|(name, it)| (&**name, &*it.hash, it.scram.as_deref()));
        self.chat.clone().with_accounts(accounts)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_bytes: 2 << 20,
            receive_maximum: 1024,
            inflight: 1024,
            topic_aliases: 64,
            keep_alive_secs: 0,
            connect_timeout_ms: 10_000,
            ring_bytes: 1 << 20,
            queue_messages: 100_000,
            queue_bytes: 64 << 20,
            queue_policy: QueuePolicy::DropOldest,
            sessions: 1_000_000,
            session_expiry_secs: 7 * 24 * 3600,
            subscriptions: 10_000,
            topic_bytes: 4096,
            topic_levels: 64,
            retained_messages: 1_000_000,
            retained_bytes: 1 << 30,
            publish_rate: 0,
        }
    }
}

impl Default for ListenerSettings {
    fn default() -> Self {
        Self { allow_anonymous: true, packet_bytes: u32::MAX }
    }
}

impl Default for RoomSettings {
    fn default() -> Self {
        Self { enabled: true, replay: 20, tail_bytes: 256 << 10, history_messages: 0 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            listeners: vec![ListenerSettings::default()],
            accounts: Arc::default(),
            access: Arc::new(AccessList::allow_all()),
            conceal_refusals: false,
            rooms: RoomSettings::default(),
            chat: katydid_chat::directory::Rules::default(),
            persistence: true,
        }
    }
}
