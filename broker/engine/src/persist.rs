//! What the engine keeps in the store, and in which form. Numbers and layouts on disk are never reordered: a new layout
//! gets a new format number.

use crate::{
    crossing::Mark,
    deliver::Grant,
    io::{Now, ShardId},
    message::{Message, Reader, Shared, push_text},
    session::{Ids, Origin, Sent, Session, Subscription},
    will::Will,
};
use bytes::Bytes;
use katydid_chat::{
    permission::UserKind,
    topic::{self, Topic},
};
use katydid_mqtt::packet::{PacketId, QoS, RetainHandling, SubscribeOptions};
use katydid_store::{Entry, LogId, Op, Space};
use std::{borrow::Cow, sync::Arc};

/// Session identifier to session record.
pub const SESSIONS: Space = Space(1);
/// Topic to retained message.
pub const RETAINED: Space = Space(2);
/// Place to log and leased number.
pub const PLACES: Space = Space(3);
/// Session identifier and place to the number that the session gets next.
pub const POSITIONS: Space = Space(4);
/// Session identifier and packet identifier of an inbound QoS 2 message that is not released.
pub const INBOUND: Space = Space(5);
/// Session identifier and packet identifier to an outbound message in flight, or its release.
pub const OUTBOUND: Space = Space(6);

/// Session identifier and place, or none for the session's queue, to the number below which every QoS 2 message has
/// been given a packet identifier: a restart gives it no other.
pub const SENT: Space = Space(7);

/// Session identifier, packet identifier and shard to the digest of an inbound QoS 2 message of which the shard has stored
/// its part, while it is not known whether all have.
pub const ARRIVED: Space = Space(8);

/// Session identifier to the will of its connection, or one that waits for its delay; with a byte behind it, to one that
/// is on its way to where it is published.
pub const WILLS: Space = Space(9);

/// What follows the session in the key of a will that is being published.
const FIRED: &[u8] = &[1];

/// Session identifier and filter to the options of a subscription.
pub const SUBSCRIPTIONS: Space = Space(10);

/// What the directory of people and places keeps, by its own keys.
pub const CHAT: Space = Space(11);

/// Place, a zero byte, and user to the read marker of the user there.
pub const MARKERS: Space = Space(12);

/// Logs of places have the highest bit clear, queues of sessions have it set.
const QUEUE_BIT: u64 = 1 << 63;

pub(crate) fn queue_log(session: u64) -> LogId {
    session | QUEUE_BIT
}

/// The session whose queue a log is.
pub(crate) fn session_of(log: LogId) -> Option<u64> {
    (log & QUEUE_BIT != 0).then_some(log & !QUEUE_BIT)
}

fn put(space: Space, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Op {
    Op::Put { space, key: key.into(), value: value.into() }
}

fn delete(space: Space, key: impl Into<Bytes>) -> Op {
    Op::Delete { space, key: key.into() }
}

fn session_key(session: u64, rest: &[u8]) -> Vec<u8> {
    [&session.to_be_bytes()[..], rest].concat()
}

fn flags_of(qos: QoS, retain: bool) -> u8 {
    qos as u8 | u8::from(retain) << 2
}

fn qos_of(flags: u8) -> Option<QoS> {
    match flags & 3 {
        0 => Some(QoS::AtMostOnce),
        1 => Some(QoS::AtLeastOnce),
        2 => Some(QoS::ExactlyOnce),
        _ => None,
    }
}

fn push_ids(out: &mut Vec<u8>, ids: &[u32]) {
    out.extend_from_slice(&(ids.len() as u16).to_be_bytes());
    ids.iter().for_each(|id| out.extend_from_slice(&id.to_be_bytes()));
}

fn read_ids(reader: &mut Reader<'_>) -> Option<Ids> {
    let count = reader.u16()?;
    let ids: Option<Vec<u32>> = (0..count).map(|_| reader.u32()).collect();
    ids.map(|ids| Ids::from_slice(&ids))
}

/// An entry of a session's queue: how it was granted, then the message.
pub(crate) fn append_queued(session: u64, seq: u64, message: &Message, qos: QoS, grant: Grant<'_>) -> Op {
    let mut bytes = vec![flags_of(qos, grant.retain)];
    push_ids(&mut bytes, grant.ids);
    bytes.extend_from_slice(&message.to_disk());
    Op::Append { log: queue_log(session), entry: Entry { seq, time_ms: 0, bytes: bytes.into() } }
}

/// The reverse of [`append_queued`].
pub(crate) fn read_queued(entry: &Entry) -> Option<crate::queue::Queued> {
    let mut reader = Reader(&entry.bytes);
    let flags = reader.byte()?;
    let ids = read_ids(&mut reader)?;
    let message = Message::from_disk(&entry.bytes.slice(entry.bytes.len() - reader.0.len()..))?;
    let qos = qos_of(flags)?;
    Some(crate::queue::Queued {
        message: Arc::new(message),
        qos,
        retain: flags & 4 != 0,
        ids,
        seq: entry.seq,
    })
}

pub(crate) fn trim_queue(session: u64, below: u64) -> Op {
    Op::Trim { log: queue_log(session), below }
}

pub(crate) fn put_retained(message: &Message) -> Op {
    put(RETAINED, message.topic().to_owned(), message.to_disk())
}

pub(crate) fn delete_retained(topic: &str) -> Op {
    delete(RETAINED, topic.to_owned())
}

pub(crate) fn put_place(name: &str, log: LogId, leased: u64) -> Op {
    put(PLACES, name.to_owned(), [log.to_be_bytes(), leased.to_be_bytes()].concat())
}

/// A place is gone with its name.
pub(crate) fn delete_place(name: &str) -> Op {
    delete(PLACES, name.to_owned())
}

/// The log and the leased number of a place.
pub(crate) fn read_place(value: &[u8]) -> Option<(LogId, u64)> {
    let mut reader = Reader(value);
    Some((reader.u64()?, reader.u64()?))
}

pub(crate) fn put_position(session: u64, place: &str, position: u64) -> Op {
    put(POSITIONS, session_key(session, place.as_bytes()), position.to_be_bytes().to_vec())
}

pub(crate) fn delete_position(session: u64, place: &str) -> Op {
    delete(POSITIONS, session_key(session, place.as_bytes()))
}

/// A number on its own, as positions and the like are written.
pub(crate) fn read_number(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}

/// A record of the directory.
pub(crate) fn put_chat(key: Vec<u8>, value: Vec<u8>) -> Op {
    put(CHAT, key, value)
}

pub(crate) fn delete_chat(key: Vec<u8>) -> Op {
    delete(CHAT, key)
}

fn marker_key(place: &str, user: &str) -> Vec<u8> {
    [place.as_bytes(), &[0], user.as_bytes()].concat()
}

pub(crate) fn put_marker(place: &str, user: &str, seq: u64) -> Op {
    put(MARKERS, marker_key(place, user), seq.to_be_bytes().to_vec())
}

pub(crate) fn delete_marker(place: &str, user: &str) -> Op {
    delete(MARKERS, marker_key(place, user))
}

/// The place, the user and the number of a read marker.
pub(crate) fn read_marker<'a>(key: &'a [u8], value: &[u8]) -> Option<(&'a str, &'a str, u64)> {
    let (place, user) = std::str::from_utf8(key).ok()?.split_once('\0')?;
    Some((place, user, Reader(value).u64()?))
}

/// A QoS 2 message is sent: from the session's queue, or from a place.
pub(crate) fn put_sent(session: u64, sent: &Sent) -> Option<Op> {
    let (place, seq) = match sent.origin {
        Origin::Queue(0) => return None,
        Origin::Queue(seq) => (Cow::Borrowed(""), seq),
        Origin::Place(_, seq) => match topic::classify(sent.message.topic()) {
            Topic::Said(said) => (said.place(), seq),
            _ => return None,
        },
    };
    Some(put(SENT, session_key(session, place.as_bytes()), (seq + 1).to_be_bytes().to_vec()))
}

/// A session starts anew in a place, or leaves it; without a place, its queue goes.
pub(crate) fn delete_sent(session: u64, place: &str) -> Op {
    delete(SENT, session_key(session, place.as_bytes()))
}

/// The message is taken in: its identifier is received, or the will is no more.
pub(crate) fn settle_mark(mark: Mark) -> Op {
    if mark.is_will() {
        return delete(WILLS, session_key(mark.session, FIRED));
    }
    put(INBOUND, session_key(mark.session, &mark.packet_id.to_be_bytes()), Bytes::new())
}

fn arrived_key(mark: Mark, shard: ShardId) -> Vec<u8> {
    session_key(mark.session, &[mark.packet_id.to_be_bytes(), shard.0.to_be_bytes()].concat())
}

pub(crate) fn put_arrived(mark: Mark, shard: ShardId, digest: u64) -> Op {
    put(ARRIVED, arrived_key(mark, shard), digest.to_be_bytes().to_vec())
}

pub(crate) fn delete_arrived(mark: Mark, shard: ShardId) -> Op {
    delete(ARRIVED, arrived_key(mark, shard))
}

/// The reverse of [`put_arrived`].
pub(crate) fn read_arrived(key: &[u8], value: &[u8]) -> Option<(Mark, ShardId, u64)> {
    let mut reader = Reader(key);
    let mark = Mark { session: reader.u64()?, packet_id: reader.u16()? };
    Some((mark, ShardId(reader.u16()?), Reader(value).u64()?))
}

/// The message that an inbound identifier stands for.
pub(crate) fn read_inbound(key: &[u8]) -> Option<Mark> {
    let mut reader = Reader(key);
    Some(Mark { session: reader.u64()?, packet_id: reader.u16()? })
}

pub(crate) fn delete_inbound(session: u64, packet_id: PacketId) -> Op {
    delete(INBOUND, session_key(session, &packet_id.get().to_be_bytes()))
}

/// A message in flight, or, without one, its release.
pub(crate) fn put_outbound_at(session: u64, packet_id: PacketId, qos: QoS, sent: Option<&Sent>) -> Op {
    let mut value = Vec::new();
    if let Some(sent) = sent {
        value.push(flags_of(qos, sent.retain));
        push_ids(&mut value, sent.ids.as_slice());
        let (kind, log, seq) = match sent.origin {
            Origin::Queue(seq) => (0, 0, seq),
            Origin::Place(log, seq) => (1, log, seq),
        };
        value.push(kind);
        value.extend_from_slice(&log.to_be_bytes());
        value.extend_from_slice(&seq.to_be_bytes());
        value.extend_from_slice(&sent.message.to_disk());
    }
    put(OUTBOUND, session_key(session, &packet_id.get().to_be_bytes()), value)
}

pub(crate) fn put_outbound(session: &Session, packet_id: PacketId, sent: Option<&Sent>) -> Op {
    put_outbound_at(session.id, packet_id, QoS::ExactlyOnce, sent)
}

/// The reverse of [`put_outbound_at`]: `Some(None)` is a release.
pub(crate) fn read_outbound(value: &Bytes) -> Option<Option<(QoS, Sent)>> {
    if value.is_empty() {
        return Some(None);
    }
    let mut reader = Reader(value);
    let flags = reader.byte()?;
    let ids = read_ids(&mut reader)?;
    let kind = reader.byte()?;
    let (log, seq) = (reader.u64()?, reader.u64()?);
    let message = Message::from_disk(&value.slice(value.len() - reader.0.len()..))?;
    let origin = if kind == 0 { Origin::Queue(seq) } else { Origin::Place(log, seq) };
    Some(Some((qos_of(flags)?, Sent { message: Arc::new(message), retain: flags & 4 != 0, ids, origin })))
}

pub(crate) fn delete_outbound(session: u64, packet_id: PacketId) -> Op {
    delete(OUTBOUND, session_key(session, &packet_id.get().to_be_bytes()))
}

/// Format 1 was that of a will that waits until a time, without what follows the expiry.
const WILL_FORMAT: u8 = 2;

/// What becomes of a will next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its connection lives. After a restart that has ended.
    Armed,
    /// It is published at a time, in milliseconds since the Unix epoch, if its session does not go on before.
    Until(u64),
    /// It is being published since a time.
    Fired(u64),
}

/// A will on disk.
#[derive(Debug)]
pub(crate) struct WillRecord {
    pub(crate) session: u64,
    pub(crate) will: Will,
    pub(crate) fate: Fate,
    pub(crate) kind: UserKind,
}

pub(crate) fn put_will(session: &Session, will: &Will, fate: Fate) -> Op {
    let at_unix_ms = match fate {
        Fate::Until(at_unix_ms) | Fate::Fired(at_unix_ms) => at_unix_ms,
        Fate::Armed => 0,
    };
    let mut value = vec![WILL_FORMAT, u8::from(will.expiry_secs.is_some())];
    value.extend_from_slice(&at_unix_ms.to_be_bytes());
    value.extend_from_slice(&will.expiry_secs.unwrap_or(0).to_be_bytes());
    value.extend_from_slice(&will.delay_secs.to_be_bytes());
    value.push(session.kind as u8);
    value.extend_from_slice(&will.message.to_disk());
    let rest = if matches!(fate, Fate::Fired(_)) { FIRED } else { &[] };
    put(WILLS, session_key(session.id, rest), value)
}

pub(crate) fn delete_will(session: u64) -> Op {
    delete(WILLS, session_key(session, &[]))
}

/// The reverse of [`put_will`].
pub(crate) fn read_will(key: &[u8], value: &Bytes) -> Option<WillRecord> {
    let (session, rest) = split_session_key(key)?;
    let mut reader = Reader(value);
    let format = reader.byte()?;
    let has_expiry = reader.byte()? != 0;
    let at_unix_ms = reader.u64()?;
    let expiry_secs = Some(reader.u32()?).filter(|_| has_expiry);
    let (delay_secs, kind) = match format {
        1 => (0, UserKind::Guest),
        WILL_FORMAT => (reader.u32()?, read_kind(reader.byte()?)?),
        _ => return None,
    };
    let message = Message::from_disk(&value.slice(value.len() - reader.0.len()..))?;
    let fate = match (rest, at_unix_ms) {
        (FIRED, at_unix_ms) => Fate::Fired(at_unix_ms),
        (_, 0) => Fate::Armed,
        (_, at_unix_ms) => Fate::Until(at_unix_ms),
    };
    let will = Will { message: Arc::new(message), expiry_secs, delay_secs, is_on_disk: true };
    Some(WillRecord { session, will, fate, kind })
}

/// Whether the key of a will says that it is being published.
pub(crate) fn is_fired(key: &[u8]) -> bool {
    split_session_key(key).is_some_and(|(_, rest)| rest == FIRED)
}

fn read_kind(byte: u8) -> Option<UserKind> {
    match byte {
        0 => Some(UserKind::Guest),
        1 => Some(UserKind::Anonymous),
        2 => Some(UserKind::Registered),
        _ => None,
    }
}

/// What is known of a session without its messages and subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionRecord {
    pub(crate) account: Option<Arc<str>>,
    pub(crate) kind: UserKind,
    pub(crate) client_id: Arc<str>,
    pub(crate) expiry_secs: u32,
    /// When it expires if it does not come back, in milliseconds since the Unix epoch; 0 while connected.
    pub(crate) ends_at_unix_ms: u64,
}

/// Format 1 had the subscriptions in it, and never left development.
const SESSION_FORMAT: u8 = 2;

pub(crate) fn put_session(session: &Session, now: Now) -> Op {
    let mut value = vec![SESSION_FORMAT, u8::from(session.account.is_some()), session.kind as u8];
    push_text(&mut value, session.account.as_deref().unwrap_or_default());
    push_text(&mut value, &session.client_id);
    value.extend_from_slice(&session.expiry_secs.to_be_bytes());
    let ends_at = match session.ends_at_ms {
        0 => 0,
        ends_at_ms => now.unix_ms + ends_at_ms.saturating_sub(now.mono_ms),
    };
    value.extend_from_slice(&ends_at.to_be_bytes());
    put(SESSIONS, session.id.to_be_bytes().to_vec(), value)
}

fn options_byte(options: SubscribeOptions) -> u8 {
    let flags = u8::from(options.no_local) << 2 | u8::from(options.retain_as_published) << 3;
    options.qos as u8 | flags | (options.retain_handling as u8) << 4
}

pub(crate) fn read_session(value: &[u8]) -> Option<SessionRecord> {
    let mut reader = Reader(value);
    if reader.byte()? != SESSION_FORMAT {
        return None;
    }
    let has_account = reader.byte()? != 0;
    let kind = read_kind(reader.byte()?)?;
    let account = reader.text()?;
    let account = has_account.then(|| Arc::from(account));
    let client_id = reader.text()?.into();
    let expiry_secs = reader.u32()?;
    let ends_at_unix_ms = reader.u64()?;
    Some(SessionRecord { account, kind, client_id, expiry_secs, ends_at_unix_ms })
}

/// A record of its own, so that a subscription costs the same however many there are.
pub(crate) fn put_subscription(session: u64, subscription: &Subscription) -> Op {
    let mut value = subscription.id.to_be_bytes().to_vec();
    value.push(options_byte(subscription.options) | u8::from(subscription.is_dormant) << 7);
    put(SUBSCRIPTIONS, session_key(session, subscription.filter.as_bytes()), value)
}

pub(crate) fn delete_subscription(session: u64, filter: &str) -> Op {
    delete(SUBSCRIPTIONS, session_key(session, filter.as_bytes()))
}

/// The reverse of [`put_subscription`], with the session's identifier.
pub(crate) fn read_subscription(key: &[u8], value: &[u8]) -> Option<(u64, Subscription)> {
    let (session, filter) = split_session_key(key)?;
    let mut reader = Reader(value);
    let (id, options) = (reader.u32()?, reader.byte()?);
    let is_dormant = options & 0x80 != 0;
    let options = SubscribeOptions {
        qos: qos_of(options)?,
        no_local: options & 4 != 0,
        retain_as_published: options & 8 != 0,
        retain_handling: RetainHandling::Send,
    };
    let filter = std::str::from_utf8(filter).ok()?.into();
    Some((session, Subscription { filter, options, id, is_dormant }))
}

/// Forgets everything about a session but what others share.
pub(crate) fn forget_session(session: &Session) -> Vec<Op> {
    let mut ops = vec![
        delete(SESSIONS, session.id.to_be_bytes().to_vec()),
        Op::DropLog { log: queue_log(session.id) },
        delete_sent(session.id, ""),
    ];
    ops.extend(session.inbound.ids().map(|id| delete_inbound(session.id, id)));
    ops.extend(session.outbound.iter().map(|resend| match resend {
        katydid_mqtt::session::Resend::Publish { id, .. } | katydid_mqtt::session::Resend::PubRel { id } => {
            delete_outbound(session.id, id)
        }
    }));
    ops
}

/// A key that begins with a session's identifier, taken apart.
pub(crate) fn split_session_key(key: &[u8]) -> Option<(u64, &[u8])> {
    let (session, rest) = key.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*session), rest))
}

/// A shared message from its bytes on disk.
pub(crate) fn read_retained(value: &Bytes) -> Option<Shared> {
    Message::from_disk(value).map(Arc::new)
}
