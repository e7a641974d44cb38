//! The packets a load needs, in both versions of MQTT.
//!
//! Owns: writing CONNECT, SUBSCRIBE, PUBLISH and acknowledgements; reading what a broker sends; the stamp
//! that each payload carries. Never knows about sockets, time or what a load wants to measure.
//! Invariant: reading allocates nothing and looks only at headers and the stamp, so that the meter costs
//! less than what it measures. MQTT 3.1.1 is written with `mqttbytes`, 5.0 by hand, because mqttbytes
//! cannot carry all of it. Driven by [`crate::connection`]: [`split`] takes one packet off the front of
//! what was read, [`read`] says what it is.

use bytes::BytesMut;
use mqttbytes::{QoS, v4};

/// Bytes of a [`Stamp`], the least size of a payload.
pub(crate) const STAMP_BYTES: usize = 24;
/// The first bytes of every stamp.
const MAGIC: u32 = 0x6b64_6264;
/// What a peer may have in flight when it doesn't say [MQTT-3.1.2-26].
const RECEIVE_MAXIMUM_DEFAULT: u16 = 65_535;

/// The version of MQTT that the connections speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// MQTT 3.1.1
    V3,
    /// MQTT 5.0
    V5,
}

/// What a connection says of itself in CONNECT.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    /// The client identifier, not empty.
    pub(crate) client_id: String,
    /// The user name; none when empty.
    pub(crate) user: String,
    /// The password; none when empty.
    pub(crate) password: String,
    /// Clean session, or clean start with a session that ends with the connection.
    pub(crate) clean: bool,
    /// Keep alive in seconds. Loads choose it longer than they last, so that nothing pings.
    pub(crate) keep_alive_secs: u16,
}

/// One filter to subscribe.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    /// The topic filter as sent.
    pub(crate) filter: String,
    /// The highest QoS wanted, 0 to 2.
    pub(crate) qos: u8,
    /// Where history is to start: the user property `since` (5.0 only).
    pub(crate) since: Option<String>,
}

/// What the payload of each message says of it; the rest of a payload is filler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The run of the program, so that leftovers of other runs are told apart.
    pub(crate) run: u32,
    /// The publisher's number.
    pub(crate) publisher: u32,
    /// The publisher's count of messages, from 0.
    pub(crate) sequence: u32,
    /// When the message was due, in nanoseconds of the run's clock.
    pub(crate) due_ns: u64,
}

impl Stamp {
    fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.run.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.publisher.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.due_ns.to_be_bytes());
        bytes
    }

    /// The stamp at the start of a payload; none when it isn't one of ours.
    fn from_payload(payload: &[u8]) -> Option<Self> {
        let (magic, rest) = payload.get(..STAMP_BYTES)?.split_first_chunk::<4>()?;
        let (run, rest) = rest.split_first_chunk::<4>()?;
        let (publisher, rest) = rest.split_first_chunk::<4>()?;
        let (sequence, rest) = rest.split_first_chunk::<4>()?;
        let (due_ns, _) = rest.split_first_chunk::<8>()?;
        (u32::from_be_bytes(*magic) == MAGIC).then_some(Self {
            run: u32::from_be_bytes(*run),
            publisher: u32::from_be_bytes(*publisher),
            sequence: u32::from_be_bytes(*sequence),
            due_ns: u64::from_be_bytes(*due_ns),
        })
    }
}

/// A PUBLISH encoded once; each message patches its packet identifier and its stamp into a copy.
#[derive(Debug)]
pub(crate) struct PublishTemplate {
    packet: Vec<u8>,
    packet_id_at: Option<usize>,
    payload_at: usize,
}

impl PublishTemplate {
    /// A template for messages of `size` bytes (at least [`STAMP_BYTES`]) to `topic`.
    pub(crate) fn new(version: Version, topic: &str, qos: u8, size: usize) -> Self {
        let payload: Vec<u8> = (b'a'..=b'z').cycle().take(size.max(STAMP_BYTES)).collect();
        Self::of(version, topic, qos, payload)
    }

    /// A template for messages that all say the same, for [`PublishTemplate::write_unstamped`].
    pub(crate) fn of(version: Version, topic: &str, qos: u8, payload: Vec<u8>) -> Self {
        let payload_bytes = payload.len();
        let packet = match version {
            Version::V3 => {
                let mut publish = v4::Publish::new(topic, quality(qos), payload);
                publish.pkid = u16::from(qos > 0);
                written(|out| publish.write(out))
            }
            Version::V5 => {
                let mut body = Vec::new();
                put_text(&mut body, topic);
                if qos > 0 {
                    body.extend_from_slice(&1u16.to_be_bytes());
                }
                body.push(0);
                body.extend_from_slice(&payload);
                framed(0x30 | qos << 1, &body)
            }
        };
        let payload_at = packet.len() - payload_bytes;
        let properties_bytes = usize::from(version == Version::V5);
        Self { packet_id_at: (qos > 0).then(|| payload_at - properties_bytes - 2), packet, payload_at }
    }

    /// Appends one message as it is. `packet_id` counts only with QoS 1 and 2.
    pub(crate) fn write_unstamped(&self, packet_id: u16, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.packet);
        if let Some(at) = self.packet_id_at {
            out[start + at..start + at + 2].copy_from_slice(&packet_id.to_be_bytes());
        }
    }

    /// Appends one message. `packet_id` counts only with QoS 1 and 2.
    pub(crate) fn write(&self, packet_id: u16, stamp: Stamp, out: &mut Vec<u8>) {
        let start = out.len();
        self.write_unstamped(packet_id, out);
        let at = start + self.payload_at;
        out[at..at + STAMP_BYTES].copy_from_slice(&stamp.to_bytes());
    }
}

/// The acknowledgements of QoS 1 and 2, by their first byte.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Acknowledgement {
    /// PUBACK
    Puback = 0x40,
    /// PUBREC
    Pubrec = 0x50,
    /// PUBREL
    Pubrel = 0x62,
    /// PUBCOMP
    Pubcomp = 0x70,
}

/// Appends an acknowledgement, of the same bytes in both versions.
pub(crate) fn write_acknowledgement(kind: Acknowledgement, packet_id: u16, out: &mut Vec<u8>) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[kind as u8, 2, high, low]);
}

/// Appends a CONNECT. A 5.0 session that isn't clean outlives its connection by an hour.
pub(crate) fn write_connect(version: Version, login: &Login, out: &mut Vec<u8>) {
    match version {
        Version::V3 => {
            let mut connect = v4::Connect::new(login.client_id.as_str());
            connect.clean_session = login.clean;
            connect.keep_alive = login.keep_alive_secs;
            if !login.user.is_empty() {
                connect.set_login(login.user.as_str(), login.password.as_str());
            }
            out.extend_from_slice(&written(|to| connect.write(to)));
        }
        Version::V5 => {
            let mut body = Vec::new();
            put_text(&mut body, "MQTT");
            let has_user = !login.user.is_empty();
            let has_password = !login.password.is_empty();
            body.push(5);
            body.push(u8::from(has_user) << 7 | u8::from(has_password) << 6 | u8::from(login.clean) << 1);
            body.extend_from_slice(&login.keep_alive_secs.to_be_bytes());
            if login.clean {
                body.push(0);
            } else {
                body.extend_from_slice(&[5, 0x11]);
                body.extend_from_slice(&3600u32.to_be_bytes());
            }
            put_text(&mut body, &login.client_id);
            if has_user {
                put_text(&mut body, &login.user);
            }
            if has_password {
                put_text(&mut body, &login.password);
            }
            out.extend_from_slice(&framed(0x10, &body));
        }
    }
}

/// Appends a SUBSCRIBE of one filter with packet identifier 1, which no PUBLISH has used before.
pub(crate) fn write_subscribe(version: Version, wanted: &Subscription, out: &mut Vec<u8>) {
    match version {
        Version::V3 => {
            let mut subscribe = v4::Subscribe::new(wanted.filter.as_str(), quality(wanted.qos));
            subscribe.pkid = 1;
            out.extend_from_slice(&written(|to| subscribe.write(to)));
        }
        Version::V5 => {
            let mut properties = Vec::new();
            if let Some(since) = &wanted.since {
                properties.push(0x26);
                put_text(&mut properties, "since");
                put_text(&mut properties, since);
            }
            let mut body = 1u16.to_be_bytes().to_vec();
            put_length(&mut body, properties.len());
            body.extend_from_slice(&properties);
            put_text(&mut body, &wanted.filter);
            body.push(wanted.qos);
            out.extend_from_slice(&framed(0x82, &body));
        }
    }
}

/// Appends a DISCONNECT without a reason, of the same bytes in both versions.
pub(crate) fn write_disconnect(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xe0, 0]);
}

/// What stands at the front of the bytes that were read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Split<'a> {
    /// A whole packet: its first byte, its body, and the bytes it takes in all.
    Packet(u8, &'a [u8], usize),
    /// More must be read.
    Incomplete,
    /// A remaining length of more than four bytes: not MQTT.
    Malformed,
}

/// Takes one packet off the front of `bytes`.
#[inline]
pub(crate) fn split(bytes: &[u8]) -> Split<'_> {
    let mut length = 0usize;
    for index in 0..4 {
        let Some(&byte) = bytes.get(1 + index) else { return Split::Incomplete };
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let start = 2 + index;
            let end = start + length;
            return match bytes.get(start..end) {
                Some(body) => Split::Packet(bytes[0], body, end),
                None => Split::Incomplete,
            };
        }
    }
    Split::Malformed
}

/// A message as a subscriber sees it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// The delivered QoS.
    pub(crate) qos: u8,
    /// The packet identifier, 0 with QoS 0.
    pub(crate) packet_id: u16,
    /// The stamp, if the payload has one.
    pub(crate) stamp: Option<Stamp>,
}

/// What a broker sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// CONNACK; a reason other than 0 is a refusal.
    Connected { reason: u8, session_present: bool, receive_maximum: u16 },
    /// SUBACK; a reason from 0x80 is a refusal.
    Subscribed { reason: u8 },
    /// PUBLISH
    Message(Message),
    /// PUBACK, PUBCOMP, or a PUBREC that refuses: this message is done.
    Done { packet_id: u16, reason: u8 },
    /// PUBREC: PUBREL is to follow.
    Received { packet_id: u16 },
    /// PUBREL: PUBCOMP is to follow.
    Released { packet_id: u16 },
    /// DISCONNECT (5.0)
    Disconnected { reason: u8 },
    /// A packet that matters to no load.
    Other,
}

/// Says what a packet is; none when its body is too short for its kind.
#[inline]
pub(crate) fn read(version: Version, first: u8, body: &[u8]) -> Option<Incoming> {
    Some(match first >> 4 {
        3 => Incoming::Message(read_publish(version, first, body)?),
        4 | 7 => Incoming::Done { packet_id: read_u16(body, 0)?, reason: reason_at(body, 2) },
        5 => match (read_u16(body, 0)?, reason_at(body, 2)) {
            (packet_id, reason @ 0x80..) => Incoming::Done { packet_id, reason },
            (packet_id, _) => Incoming::Received { packet_id },
        },
        6 => Incoming::Released { packet_id: read_u16(body, 0)? },
        2 => Incoming::Connected {
            reason: *body.get(1)?,
            session_present: body.first()? & 1 == 1,
            receive_maximum: match version {
                Version::V3 => RECEIVE_MAXIMUM_DEFAULT,
                Version::V5 => receive_maximum(body.get(2..)?),
            },
        },
        9 => Incoming::Subscribed { reason: *body.last()? },
        14 => Incoming::Disconnected { reason: reason_at(body, 0) },
        _ => Incoming::Other,
    })
}

#[inline]
fn read_publish(version: Version, first: u8, body: &[u8]) -> Option<Message> {
    let qos = first >> 1 & 3;
    let mut at = 2 + usize::from(read_u16(body, 0)?);
    let packet_id = if qos == 0 { 0 } else { read_u16(body, at)? };
    if qos > 0 {
        at += 2;
    }
    if version == Version::V5 {
        let (length, taken) = read_length(body.get(at..)?)?;
        at += taken + length;
    }
    Some(Message { qos, packet_id, stamp: Stamp::from_payload(body.get(at..)?) })
}

/// The reason code at `at`, which 5.0 leaves out when it is 0 and 3.1.1 doesn't have.
#[inline]
fn reason_at(body: &[u8], at: usize) -> u8 {
    body.get(at).copied().unwrap_or(0)
}

#[inline]
fn read_u16(body: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]))
}

/// A variable byte integer and the bytes it takes.
#[inline]
fn read_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for index in 0..4 {
        let byte = *bytes.get(index)?;
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((length, index + 1));
        }
    }
    None
}

/// The Receive Maximum among the properties of a CONNACK, which start with their length.
fn receive_maximum(bytes: &[u8]) -> u16 {
    let found = || -> Option<u16> {
        let (length, taken) = read_length(bytes)?;
        let mut rest = bytes.get(taken..taken + length)?;
        loop {
            let (&identifier, value) = rest.split_first()?;
            let value_bytes = match identifier {
                0x21 => return read_u16(value, 0),
                0x24 | 0x25 | 0x28..=0x2a => 1,
                0x13 | 0x22 => 2,
                0x11 | 0x27 => 4,
                0x26 => {
                    let name_bytes = 2 + usize::from(read_u16(value, 0)?);
                    name_bytes + 2 + usize::from(read_u16(value, name_bytes)?)
                }
                _ => 2 + usize::from(read_u16(value, 0)?),
            };
            rest = value.get(value_bytes..)?;
        }
    };
    found().unwrap_or(RECEIVE_MAXIMUM_DEFAULT)
}

/// What `write` puts into a buffer. mqttbytes fails only on packets above 256 MiB, which no option allows.
fn written<T, E: std::fmt::Debug>(write: impl FnOnce(&mut BytesMut) -> Result<T, E>) -> Vec<u8> {
    let mut out = BytesMut::new();
    write(&mut out).expect("options keep packets below the format's limit");
    out.to_vec()
}

fn quality(qos: u8) -> QoS {
    match qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    put_length(&mut packet, body.len());
    packet.extend_from_slice(body);
    packet
}

fn put_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = (length & 0x7f) as u8;
        length >>= 7;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return;
        }
    }
}

/// Appends a string with its length; options keep it below 65,536 bytes.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("options keep strings below the format's limit");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests;
