//! A client over any stream, which sends what it is told, right or wrong.
//!
//! Owns a stream and the bytes read from it. Must never hide what the broker does: it acknowledges nothing by
//! itself. Invariant: each `expect_` returns the next packet or panics with what came instead, within a limit.
//! Driven by tests.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use super::packet::{
    self, Ack, ConnAck, PINGREQ, PUBACK, PUBCOMP, PUBREC, PUBREL, Packet, Publish, Version, frame,
};
use super::property::Property;
use super::stream::Stream;

/// How long an expected packet may take: far longer than it does, for a busy machine.
const LIMIT: Duration = Duration::from_secs(10);
/// How long nothing may come for a test to believe that nothing comes, once a PINGRESP has come.
const QUIET: Duration = Duration::from_millis(150);

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// A whole packet.
    Packet(Packet),
    /// The broker closed the connection.
    Closed,
    /// Nothing came within the time.
    Silence,
}

/// A connection of a test.
pub(crate) struct RawClient {
    pub(crate) version: Version,
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    /// Messages that came while an answer was awaited; they are next to be read.
    early: VecDeque<Publish>,
    next_id: u16,
    /// Whether it is given what the broker itself says in a room or group, and what it keeps there: `info` and the like.
    pub(crate) hears_places: bool,
}

/// Whether the broker itself speaks on a topic of a room or group.
pub(crate) fn is_of_place(topic: &str) -> bool {
    let mut levels = topic.split('/');
    let is_place = matches!(levels.next(), Some("room" | "group"));
    let rest: Vec<&str> = levels.skip(1).collect();
    is_place && matches!(rest[..], ["info"] | ["presence", _] | ["event", "katydid"])
}

impl RawClient {
    pub(crate) fn new(stream: impl Stream + 'static, version: Version) -> RawClient {
        stream.hurry();
        // A broker that does not read must fail the test instead of blocking it.
        stream.set_write_timeout(Some(LIMIT)).expect("a socket option");
        let stream = Box::new(stream);
        RawClient {
            version,
            stream,
            received: Vec::new(),
            early: VecDeque::new(),
            next_id: 0,
            hears_places: false,
        }
    }

    /// The stream itself.
    pub(crate) fn stream(&self) -> &dyn Stream {
        &*self.stream
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the broker takes what a client sends");
    }

    /// Sends bytes to a broker that may close meanwhile.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Sends a message as it is.
    pub(crate) fn send_publish(&mut self, publish: &Publish) {
        self.send(&publish.bytes(self.version));
    }

    /// A packet identifier that was not used here before.
    pub(crate) fn fresh_id(&mut self) -> u16 {
        self.next_id += 1;
        self.next_id
    }

    /// Publishes and completes the handshake of its QoS, whose every step must be a success.
    pub(crate) fn publish(&mut self, topic: &str, payload: &str, qos: u8) {
        self.publish_whole(Publish::new(topic, payload).will_qos(qos));
    }

    /// Publishes a retained message and completes the handshake.
    pub(crate) fn retain(&mut self, topic: &str, payload: &str, qos: u8) {
        self.publish_whole(Publish::new(topic, payload).will_qos(qos).retained());
    }

    /// Publishes with a fresh packet identifier and completes the handshake.
    pub(crate) fn publish_whole(&mut self, mut publish: Publish) {
        if publish.qos > 0 {
            publish.id = Some(self.fresh_id());
        }
        self.send_publish(&publish);
        match (publish.qos, publish.id) {
            (1, Some(id)) => assert!(self.await_ack(PUBACK, id).reason < 0x80, "refused: {publish:?}"),
            (2, Some(id)) => {
                assert!(self.await_ack(PUBREC, id).reason < 0x80, "refused: {publish:?}");
                self.send(&packet::ack(PUBREL, id));
                assert_eq!(self.await_ack(PUBCOMP, id).reason, 0, "PUBCOMP of {publish:?}");
            }
            _ => {
                // A PINGRESP shows that what was sent before the PINGREQ has been taken.
                self.send(&frame(PINGREQ, &[]));
                match self.await_answer() {
                    Packet::PingResp => {}
                    other => panic!("expected PINGRESP, got {other:?}"),
                }
            }
        }
    }

    /// Subscribes to one filter, which must be granted that QoS.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) {
        assert_eq!(self.subscribe_with(&[(filter, qos)], &[]), [qos], "SUBACK for {filter}");
    }

    /// Subscribes and returns the codes of the SUBACK.
    pub(crate) fn subscribe_with(&mut self, filters: &[(&str, u8)], properties: &[Property]) -> Vec<u8> {
        let id = self.fresh_id();
        self.send(&packet::subscribe(self.version, id, filters, properties));
        self.expect_suback(id)
    }

    /// Unsubscribes and returns the codes of the UNSUBACK, none for 3.1.1.
    pub(crate) fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let id = self.fresh_id();
        self.send(&packet::unsubscribe(self.version, id, filters));
        match self.expect_packet() {
            Packet::UnsubAck { id: got, codes, .. } if got == id => codes,
            other => panic!("expected UNSUBACK {id}, got {other:?}"),
        }
    }

    /// Sends PINGREQ; the next packet must be PINGRESP.
    pub(crate) fn ping(&mut self) {
        self.send(&frame(PINGREQ, &[]));
        match self.expect_packet() {
            Packet::PingResp => {}
            other => panic!("expected PINGRESP, got {other:?}"),
        }
    }

    /// Sends a plain DISCONNECT and closes.
    pub(crate) fn disconnect(mut self) {
        self.send(&frame(packet::DISCONNECT, &[]));
        self.expect_closed();
    }

    /// Closes the socket without DISCONNECT.
    pub(crate) fn vanish(self) {
        self.stream.cut();
    }

    /// The next packet, the end of the connection, or silence for that long.
    pub(crate) fn read_within(&mut self, time: Duration) -> Read {
        if let Some(publish) = self.early.pop_front() {
            return Read::Packet(Packet::Publish(publish));
        }
        let limit = Instant::now() + time;
        loop {
            match self.take_packet() {
                Some(Packet::Publish(publish)) if !self.hears_places && is_of_place(&publish.topic) => {
                    continue;
                }
                Some(packet) => return Read::Packet(packet),
                None => {}
            }
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Read::Silence;
            }
            self.stream.set_read_timeout(Some(left)).expect("a socket option");
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Read::Closed,
                Ok(len) => self.received.extend(&chunk[..len]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The broker closed with bytes of ours unread.
                Err(_) => return Read::Closed,
            }
        }
    }

    /// The next packet; panics when the broker closes or is silent.
    pub(crate) fn expect_packet(&mut self) -> Packet {
        match self.read_within(LIMIT) {
            Read::Packet(packet) => packet,
            Read::Closed => panic!("expected a packet, the broker closed"),
            Read::Silence => panic!("expected a packet, nothing came in {LIMIT:?}"),
        }
    }

    pub(crate) fn expect_connack(&mut self) -> ConnAck {
        match self.expect_packet() {
            Packet::ConnAck(ack) => ack,
            other => panic!("expected CONNACK, got {other:?}"),
        }
    }

    /// A CONNACK with that code and the end of the connection.
    pub(crate) fn expect_connack_refusal(&mut self, code: u8) -> ConnAck {
        let ack = self.expect_connack();
        assert_eq!(ack.code, code, "code of CONNACK is {:#04x}, expected {code:#04x}", ack.code);
        self.expect_closed();
        ack
    }

    pub(crate) fn expect_publish(&mut self) -> Publish {
        match self.expect_packet() {
            Packet::Publish(publish) => publish,
            other => panic!("expected PUBLISH, got {other:?}"),
        }
    }

    /// A PUBLISH with that payload.
    pub(crate) fn expect_message(&mut self, payload: &str) -> Publish {
        let publish = self.expect_publish();
        assert_eq!(publish.text(), payload, "payload of {publish:?}");
        publish
    }

    /// A PUBLISH with that payload, whose handshake is completed.
    pub(crate) fn expect_and_acknowledge(&mut self, payload: &str) -> Publish {
        let publish = self.expect_message(payload);
        self.acknowledge(&publish);
        publish
    }

    /// Completes the handshake of a message that was received.
    pub(crate) fn acknowledge(&mut self, publish: &Publish) {
        match (publish.qos, publish.id) {
            (1, Some(id)) => self.send(&packet::ack(PUBACK, id)),
            (2, Some(id)) => {
                self.send(&packet::ack(PUBREC, id));
                self.await_ack(PUBREL, id);
                self.send(&packet::ack(PUBCOMP, id));
            }
            _ => {}
        }
    }

    /// The next packet that is not a message; messages before it are kept for later.
    fn await_answer(&mut self) -> Packet {
        let mut early = std::mem::take(&mut self.early);
        let answer = loop {
            match self.expect_packet() {
                Packet::Publish(publish) => early.push_back(publish),
                answer => break answer,
            }
        };
        self.early = early;
        answer
    }

    /// An acknowledgement of that kind for that packet, before or after messages that are kept for later.
    fn await_ack(&mut self, kind: u8, id: u16) -> Ack {
        match self.await_answer() {
            Packet::Ack(ack) if ack.kind == kind && ack.id == id => ack,
            other => panic!("expected {kind:#04x} for packet {id}, got {other:?}"),
        }
    }

    /// An acknowledgement of that kind for that packet.
    pub(crate) fn expect_ack(&mut self, kind: u8, id: u16) -> Ack {
        match self.expect_packet() {
            Packet::Ack(ack) if ack.kind == kind && ack.id == id => ack,
            other => panic!("expected {kind:#04x} for packet {id}, got {other:?}"),
        }
    }

    /// The codes of the SUBACK for that packet.
    pub(crate) fn expect_suback(&mut self, id: u16) -> Vec<u8> {
        match self.expect_packet() {
            Packet::SubAck { id: got, codes, .. } if got == id => codes,
            other => panic!("expected SUBACK {id}, got {other:?}"),
        }
    }

    /// The end of the connection, with nothing before it.
    pub(crate) fn expect_closed(&mut self) {
        match self.read_within(LIMIT) {
            Read::Closed => {}
            other => panic!("expected the broker to close, got {other:?}"),
        }
    }

    /// A DISCONNECT with that reason and then the end of the connection [MQTT-3.14.4-2].
    pub(crate) fn expect_disconnect(&mut self, reason: u8) -> Vec<Property> {
        match self.expect_packet() {
            Packet::Disconnect { reason: got, properties } => {
                assert_eq!(got, reason, "reason of DISCONNECT is {got:#04x}, expected {reason:#04x}");
                self.expect_closed();
                properties
            }
            other => panic!("expected DISCONNECT {reason:#04x}, got {other:?}"),
        }
    }

    /// What a version does to a client that breaks a rule: 5.0 DISCONNECT with that reason and close, 3.1.1 close.
    pub(crate) fn expect_refused(&mut self, reason: u8) {
        match self.version {
            Version::V3 => self.expect_closed(),
            Version::V5 => {
                self.expect_disconnect(reason);
            }
        }
    }

    /// The same to a client whose CONNECT breaks a rule: 5.0 CONNACK with that reason and close, 3.1.1 close.
    pub(crate) fn expect_connect_refused(&mut self, reason: u8) {
        match self.version {
            Version::V3 => self.expect_closed(),
            Version::V5 => {
                self.expect_connack_refusal(reason);
            }
        }
    }

    /// What breaking a rule leads to where the standard leaves open whether the packet is malformed (0x81) or against
    /// the protocol (0x82): 5.0 DISCONNECT with either and close, 3.1.1 close.
    pub(crate) fn expect_broken(&mut self) {
        if self.version == Version::V3 {
            return self.expect_closed();
        }
        match self.expect_packet() {
            Packet::Disconnect { reason: 0x81 | 0x82, .. } => self.expect_closed(),
            other => panic!("expected DISCONNECT 0x81 or 0x82, got {other:?}"),
        }
    }

    /// The same for a CONNECT: 5.0 CONNACK 0x81 or 0x82 and close, 3.1.1 close without CONNACK.
    pub(crate) fn expect_connect_broken(&mut self) {
        if self.version == Version::V3 {
            return self.expect_closed();
        }
        match self.expect_packet() {
            Packet::ConnAck(ConnAck { code: 0x81 | 0x82, .. }) => self.expect_closed(),
            other => panic!("expected CONNACK 0x81 or 0x82, got {other:?}"),
        }
    }

    /// The end of the connection, whatever the broker may send before it.
    pub(crate) fn expect_end(&mut self) {
        loop {
            match self.read_within(LIMIT) {
                Read::Closed => return,
                Read::Packet(_) => {}
                Read::Silence => panic!("expected the broker to close, nothing came in {LIMIT:?}"),
            }
        }
    }

    /// Nothing but a PINGRESP comes, and the connection lives.
    pub(crate) fn expect_quiet(&mut self) {
        self.ping();
        match self.read_within(QUIET) {
            Read::Silence => {}
            other => panic!("expected nothing, got {other:?}"),
        }
    }

    /// Takes the next whole packet from what has been received.
    fn take_packet(&mut self) -> Option<Packet> {
        let mut len = 0usize;
        let mut at = 1;
        loop {
            let byte = *self.received.get(at)?;
            assert!(at <= 4, "[MQTT-1.5.5-1] a remaining length of five bytes from the broker");
            len |= usize::from(byte & 0x7F) << (7 * (at - 1));
            at += 1;
            if byte & 0x80 == 0 {
                assert!(at == 2 || byte != 0, "[MQTT-1.5.5-1] a remaining length in too many bytes");
                break;
            }
        }
        if self.received.len() < at + len {
            return None;
        }
        let packet = Packet::parse(self.version, self.received[0], &self.received[at..at + len]);
        self.received.drain(..at + len);
        Some(packet)
    }
}
