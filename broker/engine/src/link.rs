//! The connections of a shard: their phase, what the client announced, and their outgoing rings.
//!
//! Knows packets and rings; knows nothing of topics, rooms or storage. A link without anything to send holds no buffer.

use crate::{
    acks::AckQueue,
    counters::Counters,
    io::{ConnId, Now, Output, Peer},
    message::{Alias, Delivery, Message},
    ring::{BufferPool, Ring},
};
use katydid_mqtt::{
    connection::TopicAliases,
    encode,
    packet::{PacketId, PacketType, Version},
    reason::ReasonCode,
};
use std::collections::{HashMap, VecDeque};

/// Where a connection stands.
///
/// ```text
/// Greeting --CONNECT--> Verifying --good--> Open --DISCONNECT, error, takeover--> Closing
///   |  \__________________|__^________________^                                     ^
///   |   \_________________|__|____ no password to check ___ refused ________________/
///   \---with a method--> Authenticating
/// ```
#[derive(Debug)]
pub(crate) enum Phase {
    /// Waits for CONNECT.
    Greeting,
    /// CONNECT is here; its password is being checked, or what it ended is being taken off the disk.
    Verifying(Box<crate::handshake::Request>),
    /// CONNECT named an authentication method; the client's next AUTH is waited for.
    Authenticating(Box<crate::handshake::Request>),
    /// Connected; the session's index.
    Open(u32),
    /// Being closed; nothing is read any more.
    Closing,
}

/// Why a connection is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Pause {
    /// Its CONNECT waits for a password check or the disk.
    Entering = 1,
    /// It has used up its publish rate for this second.
    Rate = 2,
    /// Too much waits for the disk, on the whole shard.
    Congestion = 4,
    /// It is owed too many acknowledgements.
    Owed = 8,
    /// Its SUBSCRIBE or UNSUBSCRIBE waits for the one before.
    Subscribing = 16,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) conn: ConnId,
    pub(crate) phase: Phase,
    pub(crate) version: Version,
    pub(crate) peer: Peer,
    /// One and a half times the keep alive; 0 is off.
    pub(crate) silence_ms: u64,
    pub(crate) last_received_ms: u64,
    /// When the last bytes of a packet came that is not whole yet; 0 while none is.
    pub(crate) half_since_ms: u64,
    /// When its timer is set; 0 is not at all.
    pub(crate) deadline_ms: u64,
    /// The longest packet that the client takes.
    pub(crate) packet_bytes: u32,
    /// Whether reason strings and user properties may go on acknowledgements.
    pub(crate) problem_information: bool,
    pub(crate) aliases: TopicAliases,
    /// Topic aliases that the client takes, where it takes any.
    pub(crate) own_aliases: Option<Box<OwnAliases>>,
    /// How it was let in, where it may have to show it again.
    pub(crate) auth: Option<Box<crate::exchange::Auth>>,
    pub(crate) acks: AckQueue,
    pub(crate) ring: Ring,
    pub(crate) will: Option<Box<crate::will::Will>>,
    /// SUBSCRIBE packets that wait for other shards or the disk; deliveries wait behind them.
    pub(crate) subscribing: u16,
    /// What was in flight before waits until it is on disk; deliveries wait behind it.
    pub(crate) is_resuming: bool,
    pub(crate) is_dirty: bool,
    /// Why it is not read, a bit for each [`Pause`]; read when there is no reason.
    pub(crate) paused: u8,
    /// It is disconnected when the tick ends.
    pub(crate) is_doomed: bool,
    /// Something waits until the ring has been written.
    pub(crate) is_behind: bool,
    /// Publishes that may still be read in this second, and when the second ends.
    pub(crate) rate_left: u32,
    pub(crate) rate_until_ms: u64,
    /// Whether a warning about this connection has been logged.
    pub(crate) has_warned: bool,
}

/// The topics that this server has given a client numbers for: the first ones it sent, as many as the client takes.
#[derive(Debug)]
pub(crate) struct OwnAliases {
    maximum: u16,
    numbers: HashMap<Box<str>, u16>,
}

/// Aliases that a client is given at most, whatever it takes: each costs the length of its topic.
const OWN_ALIASES_MAX: u16 = 64;

impl OwnAliases {
    pub(crate) fn new(maximum: u16) -> Option<Box<Self>> {
        let maximum = maximum.min(OWN_ALIASES_MAX);
        (maximum > 0).then(|| Box::new(Self { maximum, numbers: HashMap::new() }))
    }

    fn alias(&mut self, topic: &str, may_set: bool) -> Alias {
        if let Some(number) = self.numbers.get(topic) {
            return Alias::Use(*number);
        }
        let number = self.numbers.len() as u16 + 1;
        if number > self.maximum || !may_set {
            return Alias::None;
        }
        self.numbers.insert(topic.into(), number);
        Alias::Set(number)
    }
}

impl Link {
    /// Whether it is not read for a reason.
    pub(crate) fn is_paused_for(&self, reason: Pause) -> bool {
        self.paused & reason as u8 != 0
    }

    /// Whether deliveries may be written; who finds that they may not is woken when they may.
    pub(crate) fn is_open(&self) -> bool {
        self.subscribing == 0 && !self.is_resuming
    }
}

/// The connections of a shard.
#[derive(Debug)]
pub(crate) struct Links {
    table: Vec<Option<Box<Link>>>,
    pub(crate) pool: BufferPool,
    dirty: VecDeque<ConnId>,
    /// Closes, pauses and resumes, to be handed out after what was written before them.
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) counters: Counters,
    /// Connections to be disconnected at the end of the tick.
    pub(crate) doomed: Vec<(ConnId, ReasonCode)>,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self {
            table: Vec::new(),
            pool: BufferPool::new(4 << 20),
            dirty: VecDeque::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            doomed: Vec::new(),
        }
    }

    pub(crate) fn open(&mut self, conn: ConnId, peer: Peer, now: Now) {
        let slot = conn.slot as usize;
        if self.table.len() <= slot {
            self.table.resize_with(slot + 1, || None);
        }
        self.counters.connections_now += 1;
        self.counters.connections_total += 1;
        self.table[slot] = Some(Box::new(Link {
            conn,
            phase: Phase::Greeting,
            version: Version::V4,
            peer,
            silence_ms: 0,
            last_received_ms: now.mono_ms,
            half_since_ms: 0,
            deadline_ms: 0,
            packet_bytes: u32::MAX,
            problem_information: true,
            aliases: TopicAliases::default(),
            own_aliases: None,
            auth: None,
            acks: AckQueue::default(),
            ring: Ring::default(),
            will: None,
            subscribing: 0,
            is_resuming: false,
            is_dirty: false,
            paused: 0,
            is_doomed: false,
            is_behind: false,
            rate_left: 0,
            rate_until_ms: 0,
            has_warned: false,
        }));
    }

    pub(crate) fn remove(&mut self, conn: ConnId) -> Option<Box<Link>> {
        self.by_conn(conn)?;
        let mut link = self.table[conn.slot as usize].take()?;
        link.ring.clear(&mut self.pool);
        self.counters.connections_now -= 1;
        Some(link)
    }

    /// The link of a connection, unless it is gone.
    pub(crate) fn by_conn(&mut self, conn: ConnId) -> Option<&mut Link> {
        self.by_slot(conn.slot).filter(|link| link.conn == conn)
    }

    pub(crate) fn by_slot(&mut self, slot: u32) -> Option<&mut Link> {
        self.table.get_mut(slot as usize)?.as_deref_mut()
    }

    /// What writing a ring touches.
    pub(crate) fn for_writing(
        &mut self,
        conn: ConnId,
    ) -> Option<(&mut Link, &mut BufferPool, &mut Counters)> {
        let link = self.table.get_mut(conn.slot as usize)?.as_deref_mut()?;
        (link.conn == conn).then_some((link, &mut self.pool, &mut self.counters))
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> {
        self.table.iter().enumerate().filter(|(_, link)| link.is_some()).map(|(slot, _)| slot as u32)
    }

    /// Appends one encoded packet to a link's ring. A client that does not take a packet of that length is not sent it
    /// `[MQTT-3.1.2-24]`, and since it waits for it, it is closed.
    pub(crate) fn send(&mut self, slot: u32, encode: impl FnOnce(&mut Vec<u8>)) {
        let Some(link) = self.table.get_mut(slot as usize).and_then(Option::as_deref_mut) else { return };
        if matches!(link.phase, Phase::Closing) {
            return;
        }
        let limit = link.packet_bytes as usize;
        let mut fits = true;
        link.ring.append_with(&mut self.pool, 64, |out| {
            let start = out.len();
            encode(out);
            fits = out.len() - start <= limit;
            if !fits {
                out.truncate(start);
            }
        });
        if !fits {
            self.counters.dropped_too_large += 1;
            return self.doom(slot, ReasonCode::PacketTooLarge);
        }
        self.counters.packets_sent += 1;
        self.mark_dirty(slot);
    }

    /// Appends one PUBLISH to a link's ring.
    pub(crate) fn publish(&mut self, slot: u32, message: &Message, delivery: Delivery<'_>, now: Now) {
        let Some(link) = self.table.get_mut(slot as usize).and_then(Option::as_deref_mut) else { return };
        let reserve = message.encoded_bound(delivery.subscription_ids);
        // An alias makes the packet that sets it longer, and must not make it too long.
        let may_set = reserve <= link.packet_bytes as usize;
        let alias = link.own_aliases.as_mut().map_or(Alias::None, |own| own.alias(message.topic(), may_set));
        let tail = link.ring.tail(&mut self.pool, reserve.min(8 << 10));
        if let Some(shared) = message.encode_aliased(delivery, alias, now, tail) {
            link.ring.append_shared(&mut self.pool, shared);
        }
        self.count_publish(1, message.payload().len());
        self.mark_dirty(slot);
    }

    /// Appends bytes that already are whole PUBLISH packets, and lets `patch` set their packet identifiers.
    pub(crate) fn publish_encoded(&mut self, slot: u32, bytes: &[u8], patch: impl FnOnce(&mut [u8])) {
        let Some(link) = self.table.get_mut(slot as usize).and_then(Option::as_deref_mut) else { return };
        let tail = link.ring.tail(&mut self.pool, bytes.len());
        let start = tail.len();
        tail.extend_from_slice(bytes);
        patch(&mut tail[start..]);
        self.mark_dirty(slot);
    }

    /// Appends a payload that is shared with its message.
    pub(crate) fn append_shared(&mut self, slot: u32, bytes: bytes::Bytes) {
        if let Some(link) = self.table.get_mut(slot as usize).and_then(Option::as_deref_mut) {
            link.ring.append_shared(&mut self.pool, bytes);
        }
    }

    /// Sends PUBREL.
    pub(crate) fn send_release(&mut self, slot: u32, packet_id: PacketId) {
        let Some(version) = self.by_slot(slot).map(|link| link.version) else { return };
        self.send(slot, |out| {
            encode::ack(out, version, PacketType::PubRel, packet_id, ReasonCode::Success);
        });
    }

    /// Has a connection disconnected for a reason when the tick ends.
    pub(crate) fn doom(&mut self, slot: u32, reason: ReasonCode) {
        if let Some(link) = self.table.get_mut(slot as usize).and_then(Option::as_deref_mut)
            && !std::mem::replace(&mut link.is_doomed, true)
        {
            self.doomed.push((link.conn, reason));
        }
    }

    pub(crate) fn count_publish(&mut self, packets: u64, payload_bytes: usize) {
        self.counters.packets_sent += packets;
        self.counters.publishes_sent += packets;
        self.counters.publish_bytes_sent += payload_bytes as u64;
    }

    pub(crate) fn mark_dirty(&mut self, slot: u32) {
        if let Some(link) = self.table.get_mut(slot as usize).and_then(Option::as_deref_mut)
            && !link.is_dirty
        {
            link.is_dirty = true;
            self.dirty.push_back(link.conn);
        }
    }

    pub(crate) fn next_dirty(&mut self) -> Option<ConnId> {
        while let Some(conn) = self.dirty.pop_front() {
            if let Some(link) = self.by_conn(conn) {
                link.is_dirty = false;
                if !link.ring.is_empty() {
                    return Some(conn);
                }
            }
        }
        None
    }

    /// Stops reading from a link, for one reason more.
    pub(crate) fn pause(&mut self, slot: u32, reason: Pause) {
        if let Some(link) = self.by_slot(slot) {
            let was_read = link.paused == 0;
            link.paused |= reason as u8;
            let conn = link.conn;
            if was_read {
                self.outputs.push_back(Output::Pause { conn });
            }
        }
    }

    /// A reason is over: reads from the link again if it was the last.
    pub(crate) fn resume(&mut self, slot: u32, reason: Pause) {
        if let Some(link) = self.by_slot(slot)
            && link.paused & reason as u8 != 0
        {
            link.paused &= !(reason as u8);
            let conn = link.conn;
            if link.paused == 0 {
                self.outputs.push_back(Output::Resume { conn });
            }
        }
    }

    /// Hands out the close; what the ring holds is still written. `has_last_word` says that the peer does not expect it.
    pub(crate) fn close(&mut self, slot: u32, has_last_word: bool) {
        if let Some(link) = self.by_slot(slot)
            && !matches!(link.phase, Phase::Closing)
        {
            link.phase = Phase::Closing;
            let conn = link.conn;
            self.outputs.push_back(Output::Close { conn, has_last_word });
        }
    }
}
