//! Packets as tests write and read them, independent of the broker's codec.
//!
//! Owns the byte layout of both versions as far as tests need it. Knows nothing of sockets or of the broker's crates.
//! Invariant: what it writes through the builders is well formed (a test that wants it otherwise changes the bytes),
//! and what it reads is checked strictly; a malformed packet from the broker panics. Driven by `client` and by tests.

use super::property::{self, Property};

/// The protocol version of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V3,
    /// MQTT 5.0.
    V5,
}

impl Version {
    /// The byte of the protocol level.
    pub(crate) fn level(self) -> u8 {
        match self {
            Version::V3 => 4,
            Version::V5 => 5,
        }
    }
}

pub(crate) const CONNECT: u8 = 0x10;
pub(crate) const CONNACK: u8 = 0x20;
pub(crate) const PUBLISH: u8 = 0x30;
pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x62;
pub(crate) const PUBCOMP: u8 = 0x70;
pub(crate) const SUBSCRIBE: u8 = 0x82;
pub(crate) const SUBACK: u8 = 0x90;
pub(crate) const UNSUBSCRIBE: u8 = 0xA2;
pub(crate) const UNSUBACK: u8 = 0xB0;
pub(crate) const PINGREQ: u8 = 0xC0;
pub(crate) const PINGRESP: u8 = 0xD0;
pub(crate) const DISCONNECT: u8 = 0xE0;
pub(crate) const AUTH: u8 = 0xF0;

/// Subscription option: do not send back what this client publishes.
pub(crate) const NO_LOCAL: u8 = 0x04;
/// Subscription option: forward RETAIN as it was published.
pub(crate) const RETAIN_AS_PUBLISHED: u8 = 0x08;
/// Subscription option: retained messages only for a subscription that is new.
pub(crate) const RETAIN_IF_NEW: u8 = 0x10;
/// Subscription option: no retained messages.
pub(crate) const RETAIN_NEVER: u8 = 0x20;

/// Appends a variable byte integer in its shortest form.
pub(crate) fn put_variable(out: &mut Vec<u8>, mut value: u32) {
    loop {
        let byte = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

/// Appends bytes with their length in two bytes in front.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u16).to_be_bytes());
    out.extend(bytes);
}

/// The bytes with their length in two bytes in front.
pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, bytes);
    out
}

/// A packet of a first byte and a body, with the true length between them.
pub(crate) fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    put_variable(&mut out, body.len() as u32);
    out.extend(body);
    out
}

/// A CONNECT under construction.
#[derive(Debug, Clone)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    pub(crate) clean: bool,
    pub(crate) keep_alive_secs: u16,
    pub(crate) client_id: String,
    pub(crate) properties: Vec<Property>,
    pub(crate) will: Option<Publish>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
}

impl Connect {
    /// A clean start without keep alive.
    pub(crate) fn new(version: Version, client_id: &str) -> Self {
        Connect {
            version,
            clean: true,
            keep_alive_secs: 0,
            client_id: client_id.into(),
            properties: Vec::new(),
            will: None,
            user: None,
            password: None,
        }
    }

    /// Resumes or creates a session that outlives its connection: clean session 0, or an expiry of an hour.
    pub(crate) fn lasting(version: Version, client_id: &str) -> Self {
        let connect = Connect::new(version, client_id).resume();
        match version {
            Version::V3 => connect,
            Version::V5 => connect.property(property::session_expiry_secs(3600)),
        }
    }

    pub(crate) fn resume(mut self) -> Self {
        self.clean = false;
        self
    }

    pub(crate) fn keep_alive_secs(mut self, secs: u16) -> Self {
        self.keep_alive_secs = secs;
        self
    }

    pub(crate) fn property(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    pub(crate) fn will(mut self, will: Publish) -> Self {
        self.will = Some(will);
        self
    }

    pub(crate) fn user(mut self, name: &str) -> Self {
        self.user = Some(name.into());
        self
    }

    pub(crate) fn password(mut self, password: &[u8]) -> Self {
        self.password = Some(password.into());
        self
    }

    /// The connect flags, section 3.1.2.3.
    pub(crate) fn flags(&self) -> u8 {
        let will =
            self.will.as_ref().map_or(0, |will| 0x04 | will.qos << 3 | if will.retain { 0x20 } else { 0 });
        let user = if self.user.is_some() { 0x80 } else { 0 };
        let password = if self.password.is_some() { 0x40 } else { 0 };
        will | user | password | if self.clean { 0x02 } else { 0 }
    }

    /// The packet's body, with other flags than those that belong to the payload.
    pub(crate) fn body_with_flags(&self, flags: u8) -> Vec<u8> {
        let mut body = string(b"MQTT");
        body.extend([self.version.level(), flags]);
        body.extend(self.keep_alive_secs.to_be_bytes());
        if self.version == Version::V5 {
            body.extend(property::encode(&self.properties));
        }
        put_bytes(&mut body, self.client_id.as_bytes());
        if let Some(will) = &self.will {
            if self.version == Version::V5 {
                body.extend(property::encode(&will.properties));
            }
            put_bytes(&mut body, will.topic.as_bytes());
            put_bytes(&mut body, &will.payload);
        }
        if let Some(user) = &self.user {
            put_bytes(&mut body, user.as_bytes());
        }
        if let Some(password) = &self.password {
            put_bytes(&mut body, password);
        }
        body
    }

    /// The packet's body.
    pub(crate) fn body(&self) -> Vec<u8> {
        self.body_with_flags(self.flags())
    }

    /// The whole packet.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        frame(CONNECT, &self.body())
    }
}

/// A PUBLISH, to send or received; also the shape of a will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) dup: bool,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) topic: String,
    pub(crate) id: Option<u16>,
    pub(crate) properties: Vec<Property>,
    pub(crate) payload: Vec<u8>,
}

impl Publish {
    /// A message of QoS 0.
    pub(crate) fn new(topic: &str, payload: impl AsRef<[u8]>) -> Self {
        Publish {
            dup: false,
            qos: 0,
            retain: false,
            topic: topic.into(),
            id: None,
            properties: Vec::new(),
            payload: payload.as_ref().to_vec(),
        }
    }

    /// QoS 1 with this packet identifier.
    pub(crate) fn qos1(mut self, id: u16) -> Self {
        (self.qos, self.id) = (1, Some(id));
        self
    }

    /// QoS 2 with this packet identifier.
    pub(crate) fn qos2(mut self, id: u16) -> Self {
        (self.qos, self.id) = (2, Some(id));
        self
    }

    /// A QoS without a packet identifier, as a will has it.
    pub(crate) fn will_qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    pub(crate) fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    pub(crate) fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    pub(crate) fn property(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    /// The whole packet in that version.
    pub(crate) fn bytes(&self, version: Version) -> Vec<u8> {
        let mut body = string(self.topic.as_bytes());
        if let Some(id) = self.id {
            body.extend(id.to_be_bytes());
        }
        if version == Version::V5 {
            body.extend(property::encode(&self.properties));
        }
        body.extend(&self.payload);
        let first = PUBLISH | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain);
        frame(first, &body)
    }

    /// The payload as text, for messages of assertions.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

/// A PUBACK, PUBREC, PUBREL or PUBCOMP without a reason code, which is a success.
pub(crate) fn ack(kind: u8, id: u16) -> Vec<u8> {
    frame(kind, &id.to_be_bytes())
}

/// The same with a reason code; version 5.0 only.
pub(crate) fn ack_with_reason(kind: u8, id: u16, reason: u8) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    frame(kind, &[high, low, reason])
}

/// A SUBSCRIBE with filters and their options.
pub(crate) fn subscribe(
    version: Version,
    id: u16,
    filters: &[(&str, u8)],
    properties: &[Property],
) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.extend(property::encode(properties));
    }
    for (filter, options) in filters {
        put_bytes(&mut body, filter.as_bytes());
        body.push(*options);
    }
    frame(SUBSCRIBE, &body)
}

/// An UNSUBSCRIBE.
pub(crate) fn unsubscribe(version: Version, id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    for filter in filters {
        put_bytes(&mut body, filter.as_bytes());
    }
    frame(UNSUBSCRIBE, &body)
}

/// A DISCONNECT with a reason code and properties; version 5.0 only.
pub(crate) fn disconnect_with(reason: u8, properties: &[Property]) -> Vec<u8> {
    let mut body = vec![reason];
    body.extend(property::encode(properties));
    frame(DISCONNECT, &body)
}

/// A CONNACK that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnAck {
    pub(crate) session_present: bool,
    pub(crate) code: u8,
    pub(crate) properties: Vec<Property>,
}

/// An acknowledgement that was received: PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) kind: u8,
    pub(crate) id: u16,
    pub(crate) reason: u8,
    pub(crate) properties: Vec<Property>,
}

/// A packet from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packet {
    ConnAck(ConnAck),
    Publish(Publish),
    Ack(Ack),
    SubAck { id: u16, codes: Vec<u8>, properties: Vec<Property> },
    UnsubAck { id: u16, codes: Vec<u8>, properties: Vec<Property> },
    PingResp,
    Disconnect { reason: u8, properties: Vec<Property> },
    Auth { reason: u8, properties: Vec<Property> },
}

impl Packet {
    /// Reads a packet from its first byte and its body; panics when a server must not send it so.
    pub(crate) fn parse(version: Version, first: u8, body: &[u8]) -> Packet {
        let mut reader = Reader(body);
        let packet = match first & 0xF0 {
            PUBLISH => Packet::Publish(parse_publish(version, first, &mut reader)),
            kind => {
                // [MQTT-2.1.3-1]: the reserved flags have fixed values.
                let flags = if kind == PUBREL & 0xF0 { 2 } else { 0 };
                assert_eq!(first & 0x0F, flags, "flags of packet type {kind:#04x} from the broker");
                parse_other(version, kind, &mut reader)
            }
        };
        assert!(reader.0.is_empty(), "bytes left after {packet:?}: {:?}", reader.0);
        packet
    }
}

fn parse_publish(version: Version, first: u8, reader: &mut Reader<'_>) -> Publish {
    let (dup, qos, retain) = (first & 8 != 0, first >> 1 & 3, first & 1 != 0);
    assert_ne!(qos, 3, "[MQTT-3.3.1-4] QoS 3 from the broker");
    assert!(qos > 0 || !dup, "[MQTT-3.3.1-2] DUP with QoS 0 from the broker");
    let topic = reader.text();
    assert!(!topic.contains(['+', '#', '\0']), "[MQTT-3.3.2-2] a topic name from the broker: {topic}");
    let id = (qos > 0).then(|| reader.two());
    assert_ne!(id, Some(0), "[MQTT-2.2.1-4] packet identifier 0 from the broker");
    let properties = match version {
        Version::V3 => Vec::new(),
        Version::V5 => property::decode(reader, "PUBLISH"),
    };
    let payload = reader.take(reader.0.len()).to_vec();
    Publish { dup, qos, retain, topic, id, properties, payload }
}

fn parse_other(version: Version, kind: u8, reader: &mut Reader<'_>) -> Packet {
    let v5 = version == Version::V5;
    match kind {
        CONNACK => {
            let flags = reader.byte();
            assert!(flags <= 1, "[MQTT-3.2.2-1] connect acknowledge flags {flags:#04x}");
            let code = reader.byte();
            let properties = if v5 { property::decode(reader, "CONNACK") } else { Vec::new() };
            // [MQTT-3.2.2-6], 3.1.1 [MQTT-3.2.2-4].
            assert!(code == 0 || flags == 0, "session present with code {code:#04x}");
            assert!(v5 || code <= 5, "3.1.1 has no return code {code:#04x}");
            Packet::ConnAck(ConnAck { session_present: flags == 1, code, properties })
        }
        PUBACK | PUBREC | 0x60 | PUBCOMP => {
            let id = reader.two();
            assert_ne!(id, 0, "packet identifier 0 in an acknowledgement");
            let reason = if v5 && !reader.0.is_empty() { reader.byte() } else { 0 };
            let properties =
                if v5 && !reader.0.is_empty() { property::decode(reader, "ACK") } else { Vec::new() };
            assert!(ack_reasons(kind).contains(&reason), "reason {reason:#04x} in {kind:#04x}");
            Packet::Ack(Ack { kind: if kind == 0x60 { PUBREL } else { kind }, id, reason, properties })
        }
        SUBACK => {
            let id = reader.two();
            let properties = if v5 { property::decode(reader, "SUBACK") } else { Vec::new() };
            let codes = reader.take(reader.0.len()).to_vec();
            for code in &codes {
                let known = match version {
                    Version::V3 => matches!(code, 0..=2 | 0x80),
                    Version::V5 => {
                        matches!(code, 0..=2 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2)
                    }
                };
                assert!(known, "[MQTT-3.9.3-2] code {code:#04x} in SUBACK");
            }
            Packet::SubAck { id, codes, properties }
        }
        UNSUBACK => {
            let id = reader.two();
            let properties = if v5 { property::decode(reader, "UNSUBACK") } else { Vec::new() };
            let codes = if v5 { reader.take(reader.0.len()).to_vec() } else { Vec::new() };
            for code in &codes {
                let known = matches!(code, 0 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91);
                assert!(known, "[MQTT-3.11.3-2] code {code:#04x} in UNSUBACK");
            }
            Packet::UnsubAck { id, codes, properties }
        }
        PINGRESP => Packet::PingResp,
        DISCONNECT => {
            assert!(v5, "a DISCONNECT to a 3.1.1 client");
            let reason = if reader.0.is_empty() { 0 } else { reader.byte() };
            let properties =
                if reader.0.is_empty() { Vec::new() } else { property::decode(reader, "DISCONNECT") };
            let known = matches!(reason, 0 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B | 0x8D..=0x90 | 0x93..=0xA2);
            assert!(known, "[MQTT-3.14.2-1] reason {reason:#04x} in DISCONNECT from the broker");
            Packet::Disconnect { reason, properties }
        }
        AUTH => {
            assert!(v5, "an AUTH to a 3.1.1 client");
            let reason = if reader.0.is_empty() { 0 } else { reader.byte() };
            let properties = if reader.0.is_empty() { Vec::new() } else { property::decode(reader, "AUTH") };
            Packet::Auth { reason, properties }
        }
        other => panic!("the broker sent a packet of type {other:#04x}, which only clients send"),
    }
}

/// The reason codes that an acknowledgement may carry, sections 3.4.2.1, 3.5.2.1, 3.6.2.1 and 3.7.2.1.
fn ack_reasons(kind: u8) -> &'static [u8] {
    match kind {
        PUBACK | PUBREC => &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
        _ => &[0x00, 0x92],
    }
}

/// What is left of a packet's bytes.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> &'a [u8] {
        assert!(len <= self.0.len(), "a packet from the broker ends too early");
        let (head, tail) = self.0.split_at(len);
        self.0 = tail;
        head
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    pub(super) fn two(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().expect("two bytes were taken"))
    }

    pub(super) fn four(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().expect("four bytes were taken"))
    }

    pub(super) fn bytes(&mut self) -> &'a [u8] {
        let len = self.two();
        self.take(len as usize)
    }

    pub(super) fn text(&mut self) -> String {
        // [MQTT-1.5.4-1], 3.1.1 [MQTT-1.4.0-1].
        String::from_utf8(self.bytes().to_vec()).expect("strings from the broker are UTF-8")
    }

    pub(super) fn variable(&mut self) -> u32 {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte();
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                assert!(shift == 0 || byte != 0, "[MQTT-1.5.5-1] a length in too many bytes");
                return value;
            }
        }
        panic!("[MQTT-1.5.5-1] a length of five bytes from the broker");
    }
}
