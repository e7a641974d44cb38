//! An application message as the broker holds it: one allocation, laid out so that a delivery is two copies.
//!
//! The buffer holds `topic length ‖ topic ‖ property length ‖ properties ‖ payload`. A QoS 0 PUBLISH of MQTT 5 is a
//! fixed header and that buffer; other deliveries put a packet identifier in between, and only those with a
//! subscription identifier or an expiry rebuild the property length. The properties are those that a server forwards,
//! in their order, without expiry, alias and subscription identifiers; a room's message ends them with `seq` and
//! `time`.

use crate::io::Now;
use bytes::Bytes;
use katydid_mqtt::packet::{Publish, QoS, Version};
use katydid_mqtt::properties;
use std::sync::Arc;

/// A message, shared by everything that waits to deliver it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    buffer: Bytes,
    topic_end: u32,
    properties_start: u32,
    payload_start: u32,
    /// Quality of service it was published with.
    pub(crate) qos: QoS,
    /// The RETAIN flag it was published with.
    pub(crate) retain: bool,
    /// Identifier of the session that published it; 0 is the broker.
    pub(crate) publisher: u64,
    /// When it expires, in milliseconds since the Unix epoch.
    pub(crate) expires_at_ms: Option<u64>,
    /// Its number in its room; 0 outside rooms.
    pub(crate) seq: u64,
    /// When its room numbered it, in milliseconds since the Unix epoch; 0 outside rooms.
    pub(crate) time_ms: u64,
    /// What was said was taken away: only topic, number and time are left, and nobody is sent it.
    pub(crate) is_deleted: bool,
}

/// How one delivery differs from another of the same message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery<'a> {
    pub(crate) version: Version,
    pub(crate) qos: QoS,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    /// Zero for QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) subscription_ids: &'a [u32],
}

/// How a delivery names its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alias {
    /// In full.
    None,
    /// In full, and from now on by this number too.
    Set(u16),
    /// By this number.
    Use(u16),
}

/// Payloads from this size on are shared with the ring instead of being copied into it.
const SHARED_PAYLOAD_BYTES: usize = 4096;

impl Message {
    /// A message as it was published. `topic` is the full name, an alias resolved.
    pub(crate) fn from_publish(publish: &Publish<'_>, topic: &str, publisher: u64, now: Now) -> Self {
        let mut forwarded = Vec::new();
        // What was decoded is short enough to be encoded again.
        let _ = properties::forwardable(&publish.properties, &mut forwarded);
        let expiry = publish.properties.message_expiry_secs;
        Self::build(
            topic,
            &forwarded,
            publish.payload,
            Meta { qos: publish.qos, retain: publish.retain, publisher },
        )
        .expiring(expiry.map(|secs| now.unix_ms + u64::from(secs) * 1000))
    }

    /// A message of the broker's own.
    pub(crate) fn from_broker(topic: &str, payload: &[u8], retain: bool) -> Self {
        Self::build(topic, &[], payload, Meta { qos: QoS::AtMostOnce, retain, publisher: 0 })
    }

    /// The answer to a request, with the Correlation Data that came with it.
    pub(crate) fn answer(topic: &str, payload: &[u8], correlation: Option<&[u8]>) -> Self {
        let mut forwarded = vec![0x01, 1];
        if let Some(data) = correlation {
            forwarded.push(0x09);
            forwarded.extend_from_slice(&u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
            forwarded.extend_from_slice(data);
        }
        Self::build(topic, &forwarded, payload, Meta { qos: QoS::AtLeastOnce, retain: false, publisher: 0 })
    }

    fn build(topic: &str, forwarded: &[u8], payload: &[u8], meta: Meta) -> Self {
        let mut buffer = Vec::with_capacity(topic.len() + forwarded.len() + payload.len() + 6);
        let topic_bytes = u16::try_from(topic.len()).expect("a decoded topic is at most 65,535 bytes");
        buffer.extend_from_slice(&topic_bytes.to_be_bytes());
        buffer.extend_from_slice(topic.as_bytes());
        let topic_end = buffer.len() as u32;
        push_varint(&mut buffer, forwarded.len());
        let properties_start = buffer.len() as u32;
        buffer.extend_from_slice(forwarded);
        let payload_start = buffer.len() as u32;
        buffer.extend_from_slice(payload);
        Self {
            buffer: buffer.into(),
            topic_end,
            properties_start,
            payload_start,
            qos: meta.qos,
            retain: meta.retain,
            publisher: meta.publisher,
            expires_at_ms: None,
            seq: 0,
            time_ms: 0,
            is_deleted: false,
        }
    }

    pub(crate) fn expiring(mut self, at_ms: Option<u64>) -> Self {
        self.expires_at_ms = at_ms;
        self
    }

    /// The same message with its number and time in a room, which MQTT 5 subscribers see as user properties.
    pub(crate) fn numbered(&self, seq: u64, time_ms: u64) -> Self {
        let mut forwarded = self.properties().to_vec();
        push_user_property(&mut forwarded, "seq", &seq.to_string());
        push_user_property(&mut forwarded, "time", &format_time(time_ms));
        let meta = Meta { qos: self.qos, retain: self.retain, publisher: self.publisher };
        let built = Self::build(self.topic(), &forwarded, self.payload(), meta);
        Self { expires_at_ms: self.expires_at_ms, seq, time_ms, ..built }
    }

    /// What is left of an entry whose content was taken away.
    pub(crate) fn deleted(&self) -> Self {
        self.deleted_from(self.topic())
    }

    /// The same under another topic, which names somebody else.
    pub(crate) fn deleted_from(&self, topic: &str) -> Self {
        let meta = Meta { qos: self.qos, retain: false, publisher: self.publisher };
        let built = Self::build(topic, &[], &[], meta);
        Self { seq: self.seq, time_ms: self.time_ms, is_deleted: true, ..built }
    }

    /// The value of the first user property of a name.
    pub(crate) fn user_property(&self, name: &str) -> Option<&str> {
        Self::next_user_property(&mut Reader(self.properties()), name)
    }

    /// The values of all user properties of a name.
    pub(crate) fn user_properties<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let mut reader = Reader(self.properties());
        std::iter::from_fn(move || Self::next_user_property(&mut reader, name))
    }

    fn next_user_property<'a>(reader: &mut Reader<'a>, name: &str) -> Option<&'a str> {
        while let Some(kind) = reader.byte() {
            match kind {
                0x26 => {
                    let (found, value) = (reader.text()?, reader.text()?);
                    if found == name {
                        return Some(value);
                    }
                }
                // Payload Format Indicator, Content Type, Response Topic, Correlation Data: all that is forwarded.
                0x01 => drop(reader.byte()?),
                0x03 | 0x08 | 0x09 => {
                    let length = reader.u16()?;
                    reader.take(usize::from(length))?;
                }
                _ => return None,
            }
        }
        None
    }

    /// The topic name.
    pub(crate) fn topic(&self) -> &str {
        std::str::from_utf8(&self.buffer[2..self.topic_end as usize]).unwrap_or_default()
    }

    /// The forwarded properties, encoded.
    pub(crate) fn properties(&self) -> &[u8] {
        &self.buffer[self.properties_start as usize..self.payload_start as usize]
    }

    /// The payload.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.buffer[self.payload_start as usize..]
    }

    /// A digest of its content (FNV-1a), to tell a message that is sent again from another one.
    pub(crate) fn digest(&self) -> u64 {
        self.buffer.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// What it weighs in limits, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.buffer.len() + 64
    }

    /// Whether it has expired `[MQTT-3.3.2-5]`.
    pub(crate) fn is_expired(&self, now: Now) -> bool {
        self.expires_at_ms.is_some_and(|at| at <= now.unix_ms)
    }

    /// What is left of its expiry in whole seconds, at least one `[MQTT-3.3.2-6]`.
    fn expiry_left_secs(&self, now: Now) -> Option<u32> {
        let left = self.expires_at_ms?.saturating_sub(now.unix_ms).div_ceil(1000);
        Some(u32::try_from(left).unwrap_or(u32::MAX).max(1))
    }

    /// Appends the PUBLISH packet of one delivery to `out`; a large payload is left out and returned, to be shared.
    pub(crate) fn encode(&self, delivery: Delivery<'_>, now: Now, out: &mut Vec<u8>) -> Option<Bytes> {
        self.encode_aliased(delivery, Alias::None, now, out)
    }

    /// The same, with a topic alias that the client takes; 5.0 only.
    pub(crate) fn encode_aliased(
        &self,
        delivery: Delivery<'_>,
        alias: Alias,
        now: Now,
        out: &mut Vec<u8>,
    ) -> Option<Bytes> {
        let mut head = Vec::new();
        let rest_start = match delivery.version {
            Version::V4 => self.payload_start,
            Version::V5 if self.is_plain(delivery, alias) => self.topic_end,
            Version::V5 => {
                self.property_head(delivery, alias, now, &mut head);
                self.properties_start
            }
        };
        let topic = match alias {
            Alias::Use(_) => &[0, 0][..],
            Alias::None | Alias::Set(_) => &self.buffer[..self.topic_end as usize],
        };
        let has_id = delivery.qos != QoS::AtMostOnce;
        let rest = &self.buffer[rest_start as usize..];
        let flags = u8::from(delivery.dup) << 3 | (delivery.qos as u8) << 1 | u8::from(delivery.retain);
        out.push(0x30 | flags);
        push_varint(out, topic.len() + usize::from(has_id) * 2 + head.len() + rest.len());
        out.extend_from_slice(topic);
        if has_id {
            out.extend_from_slice(&delivery.packet_id.to_be_bytes());
        }
        out.extend_from_slice(&head);
        if self.payload().len() < SHARED_PAYLOAD_BYTES {
            out.extend_from_slice(rest);
            return None;
        }
        out.extend_from_slice(&self.buffer[rest_start as usize..self.payload_start as usize]);
        Some(self.buffer.slice(self.payload_start as usize..))
    }

    /// Whether a 5.0 delivery has the properties as they lie in the buffer.
    fn is_plain(&self, delivery: Delivery<'_>, alias: Alias) -> bool {
        self.expires_at_ms.is_none() && delivery.subscription_ids.is_empty() && alias == Alias::None
    }

    /// Writes the property length and the properties that are a delivery's own.
    fn property_head(&self, delivery: Delivery<'_>, alias: Alias, now: Now, head: &mut Vec<u8>) {
        let mut own = Vec::new();
        if let Some(secs) = self.expiry_left_secs(now) {
            own.push(0x02);
            own.extend_from_slice(&secs.to_be_bytes());
        }
        if let Alias::Set(number) | Alias::Use(number) = alias {
            own.push(0x23);
            own.extend_from_slice(&number.to_be_bytes());
        }
        for id in delivery.subscription_ids {
            own.push(0x0B);
            push_varint(&mut own, *id as usize);
        }
        push_varint(head, own.len() + self.properties().len());
        head.extend_from_slice(&own);
    }

    /// An upper bound of what [`Message::encode`] writes, in bytes.
    pub(crate) fn encoded_bound(&self, subscription_ids: &[u32]) -> usize {
        self.buffer.len() + 5 + 2 + 5 + 3 + 4 + subscription_ids.len() * 5
    }

    /// The exact length of the packet that [`Message::encode`] makes, in bytes.
    pub(crate) fn encoded_len(&self, delivery: Delivery<'_>, now: Now) -> usize {
        let mut out = Vec::new();
        let shared = self.encode(delivery, now, &mut out);
        out.len() + shared.map_or(0, |payload| payload.len())
    }

    /// The message as bytes on disk; `None` from [`Message::from_disk`] says that they are damaged.
    pub(crate) fn to_disk(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.buffer.len() + 48);
        out.push(DISK_FORMAT);
        let flags = self.qos as u8
            | u8::from(self.retain) << 2
            | u8::from(self.expires_at_ms.is_some()) << 3
            | u8::from(self.is_deleted) << 4;
        out.push(flags);
        out.extend_from_slice(&self.publisher.to_be_bytes());
        if let Some(at) = self.expires_at_ms {
            out.extend_from_slice(&at.to_be_bytes());
        }
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.time_ms.to_be_bytes());
        out.extend_from_slice(&self.topic_end.to_be_bytes());
        out.extend_from_slice(&self.properties_start.to_be_bytes());
        out.extend_from_slice(&self.payload_start.to_be_bytes());
        out.extend_from_slice(&self.buffer);
        out.into()
    }

    /// The reverse of [`Message::to_disk`], sharing `bytes`.
    pub(crate) fn from_disk(bytes: &Bytes) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.byte()? != DISK_FORMAT {
            return None;
        }
        let flags = reader.byte()?;
        let qos = match flags & 3 {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            2 => QoS::ExactlyOnce,
            _ => return None,
        };
        let publisher = reader.u64()?;
        let expires_at_ms = if flags & 8 != 0 { Some(reader.u64()?) } else { None };
        let (seq, time_ms) = (reader.u64()?, reader.u64()?);
        let (topic_end, properties_start, payload_start) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let buffer = bytes.slice(bytes.len() - reader.0.len()..);
        let ordered = 2 <= topic_end
            && topic_end < properties_start
            && properties_start <= payload_start
            && payload_start as usize <= buffer.len();
        if !ordered || std::str::from_utf8(&buffer[2..topic_end as usize]).is_err() {
            return None;
        }
        let retain = flags & 4 != 0;
        Some(Self {
            buffer,
            topic_end,
            properties_start,
            payload_start,
            qos,
            retain,
            publisher,
            expires_at_ms,
            seq,
            time_ms,
            is_deleted: flags & 16 != 0,
        })
    }
}

struct Meta {
    qos: QoS,
    retain: bool,
    publisher: u64,
}

/// The layout of [`Message::to_disk`]; a changed layout gets the next number.
const DISK_FORMAT: u8 = 1;

/// Reads big-endian fields off the front of a slice; `None` past its end.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// A string with its length in two bytes before it.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = self.u16()?;
        std::str::from_utf8(self.take(usize::from(length))?).ok()
    }
}

/// The reverse of [`Reader::text`]; what does not fit 65,535 bytes never got past the decoder.
pub(crate) fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn push_user_property(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0x26);
    push_text(out, name);
    push_text(out, value);
}

fn push_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A time as RFC 3339 with milliseconds, such as `2026-01-02T03:04:05.678Z`.
pub(crate) fn format_time(time_ms: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(time_ms);
    humantime::format_rfc3339_millis(time).to_string()
}

/// A shared message.
pub(crate) type Shared = Arc<Message>;
