//! Packets of a client: found in its bytes, checked against the state of the connection, and handed to what they are
//! about. What breaks the format or the protocol ends the connection with the reason that answers it
//! `[MQTT-4.13.1-1]`.

use crate::{
    Engine,
    io::ConnId,
    journal::Waiter,
    link::{Pause, Phase},
    persist,
};
use katydid_mqtt::{
    decode::{self, DecodeError, ErrorKind, Frame, Refusal},
    encode,
    packet::{Ack, Disconnect, Packet, PacketId, PacketType, Version},
    reason::ReasonCode,
    session::{AckError, RecOutcome},
};

/// A packet that ends its connection: the reason code, and what a log says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault(pub(crate) ReasonCode, pub(crate) &'static str);

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self(error.reason, error.detail)
    }
}

impl Engine {
    /// Takes packets off the front of `bytes`; returns how many bytes were used.
    pub(crate) fn take_packets(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        let now_ms = self.now.mono_ms;
        let Some(link) = self.links.by_conn(conn) else { return bytes.len() };
        let listener = usize::from(link.peer.listener);
        let listener_bytes = self.settings.listeners.get(listener).map_or(u32::MAX, |it| it.packet_bytes);
        let packet_bytes = self.settings.limits.packet_bytes.min(listener_bytes);
        let mut used = 0;
        loop {
            let Some(link) = self.links.by_conn(conn) else { return bytes.len() };
            match &link.phase {
                Phase::Closing => return bytes.len(),
                Phase::Verifying(_) => return used,
                Phase::Greeting | Phase::Authenticating(_) | Phase::Open(_) => {}
            }
            if link.paused != 0 {
                return used;
            }
            let is_greeting = matches!(link.phase, Phase::Greeting);
            let rest = &bytes[used..];
            let outcome = match decode::frame(rest, packet_bytes) {
                // The first packet is a CONNECT, or nothing of it is waited for [MQTT-3.1.0-1].
                _ if is_greeting && rest.first().is_some_and(|first| first >> 4 != 1) => {
                    Err(Fault(ReasonCode::ProtocolError, "the first packet is not CONNECT"))
                }
                // Nor is the rest of what no client sends, whatever is in it [MQTT-4.13.1-1].
                _ if rest.first().is_some_and(|first| is_of_a_server(*first)) => {
                    Err(Fault(ReasonCode::ProtocolError, "a packet that only a server sends"))
                }
                Err(error) if is_greeting => return self.refuse_greeting(conn, error, rest, bytes.len()),
                Err(error) => Err(error.into()),
                Ok(None) => {
                    self.note_half(conn, !rest.is_empty());
                    return used;
                }
                // A SUBSCRIBE is answered before the next one is looked at, so that they take effect in order.
                // One of an earlier connection counts too: its effect may be on the way.
                Ok(Some(frame)) if is_subscription(frame.packet_type) && self.is_subscribing(conn) => {
                    self.links.pause(conn.slot, Pause::Subscribing);
                    return used;
                }
                Ok(Some(frame)) => {
                    // A whole packet is a sign of life, a part of one is not [MQTT-3.1.2-22].
                    if let Some(link) = self.links.by_conn(conn) {
                        link.last_received_ms = now_ms;
                        link.half_since_ms = 0;
                    }
                    used += frame.len;
                    self.links.counters.packets_received += 1;
                    match self.on_frame(conn, frame) {
                        Err(Error::Greeting(error)) => {
                            return self.refuse_greeting(conn, error, rest, bytes.len());
                        }
                        Err(Error::Fault(fault)) => Err(fault),
                        Ok(()) => Ok(()),
                    }
                }
            };
            if let Err(fault) = outcome {
                self.fault(conn, fault);
                return bytes.len();
            }
        }
    }

    /// A CONNECT that cannot be read: 5.0 is told why, 3.1.1 only of an unknown version.
    fn refuse_greeting(&mut self, conn: ConnId, error: DecodeError, packet: &[u8], bytes: usize) -> usize {
        self.count_fault(conn, Fault(error.reason, error.detail));
        let version = match error.kind {
            ErrorKind::Unsupported(Refusal::V4) => Some(Version::V4),
            ErrorKind::Unsupported(Refusal::Silent) => None,
            ErrorKind::Unsupported(Refusal::V5) => Some(Version::V5),
            ErrorKind::Malformed | ErrorKind::Protocol | ErrorKind::TooLarge => stated_version(packet),
        };
        match (version, self.links.by_conn(conn)) {
            (Some(version), Some(link))
                if version == Version::V5 || error.kind == ErrorKind::Unsupported(Refusal::V4) =>
            {
                link.version = version;
                self.refuse_connect(conn.slot, error.reason);
            }
            _ => {
                self.links.counters.connects_refused += 1;
                self.links.close(conn.slot, true);
            }
        }
        bytes
    }

    /// Ends a connection that broke the format or the protocol.
    pub(crate) fn fault(&mut self, conn: ConnId, fault: Fault) {
        self.count_fault(conn, fault);
        // Before CONNACK nobody is sent DISCONNECT [MQTT-3.14.0-1].
        let is_entering =
            self.links.by_conn(conn).is_some_and(|link| matches!(link.phase, Phase::Authenticating(_)));
        if is_entering {
            self.refuse_connect(conn.slot, fault.0)
        } else {
            self.disconnect(conn.slot, fault.0)
        }
    }

    fn count_fault(&mut self, conn: ConnId, fault: Fault) {
        if fault.0 == ReasonCode::MalformedPacket {
            self.links.counters.malformed_packets += 1;
        } else {
            self.links.counters.protocol_errors += 1;
        }
        self.warn(conn, fault);
    }

    /// Says what a peer did wrong, once a connection.
    pub(crate) fn warn(&mut self, conn: ConnId, fault: Fault) {
        if let Some(link) = self.links.by_conn(conn)
            && !link.has_warned
        {
            link.has_warned = true;
            let peer = link.peer.clone();
            self.warnings.push(crate::Warning { peer, reason: fault.0, detail: fault.1 });
        }
    }

    fn on_frame(&mut self, conn: ConnId, frame: Frame<'_>) -> Result<(), Error> {
        let Some(link) = self.links.by_conn(conn) else { return Ok(()) };
        let version = link.version;
        if matches!(link.phase, Phase::Authenticating(_)) {
            let packet = decode::packet(frame, version).map_err(|error| Error::Fault(error.into()))?;
            return self.on_packet_before_connack(conn, &packet).map_err(Error::Fault);
        }
        let Phase::Open(index) = link.phase else {
            return match decode::packet(frame, version).map_err(Error::Greeting)? {
                Packet::Connect(connect) => {
                    self.on_connect(conn, &connect);
                    Ok(())
                }
                _ => Err(Error::Fault(Fault(ReasonCode::ProtocolError, "the first packet is not CONNECT"))),
            };
        };
        let outcome = match frame.packet_type {
            PacketType::Publish => decode::publish(frame, version)
                .map_err(Fault::from)
                .and_then(|it| self.on_publish(conn, index, &it)),
            PacketType::PubAck => {
                decode::ack(frame, version).map_err(Fault::from).and_then(|it| self.on_puback(index, &it))
            }
            _ => decode::packet(frame, version)
                .map_err(Fault::from)
                .and_then(|it| self.on_packet(conn, index, &it)),
        };
        outcome.map_err(Error::Fault)
    }

    /// Between CONNECT and CONNACK a client sends AUTH and DISCONNECT only `[MQTT-3.1.2-30]`.
    fn on_packet_before_connack(&mut self, conn: ConnId, packet: &Packet<'_>) -> Result<(), Fault> {
        match packet {
            Packet::Auth(auth) => self.on_auth(conn, auth),
            Packet::Disconnect(_) => {
                self.links.close(conn.slot, false);
                Ok(())
            }
            _ => Err(Fault(ReasonCode::ProtocolError, "neither AUTH nor DISCONNECT before CONNACK")),
        }
    }

    fn on_packet(&mut self, conn: ConnId, index: u32, packet: &Packet<'_>) -> Result<(), Fault> {
        match packet {
            Packet::PubRec(ack) => self.on_pubrec(conn, index, ack),
            Packet::PubRel(ack) => self.on_pubrel(conn, index, ack),
            Packet::PubComp(ack) => self.on_pubcomp(index, ack),
            Packet::Subscribe(subscribe) => self.on_subscribe(conn, index, subscribe),
            Packet::Unsubscribe(unsubscribe) => self.on_unsubscribe(conn, index, unsubscribe),
            Packet::PingReq => {
                self.links.send(conn.slot, |out| {
                    encode::pingresp(out);
                });
                Ok(())
            }
            Packet::Disconnect(disconnect) => self.on_disconnect(conn, index, disconnect),
            Packet::Connect(_) => Err(Fault(ReasonCode::ProtocolError, "a second CONNECT [MQTT-3.1.0-2]")),
            Packet::Auth(auth) => self.on_auth(conn, auth),
            // These never get here.
            Packet::Publish(_)
            | Packet::PubAck(_)
            | Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp => Err(Fault(ReasonCode::ProtocolError, "unexpected packet")),
        }
    }

    fn on_puback(&mut self, index: u32, ack: &Ack<'_>) -> Result<(), Fault> {
        let Some(session) = self.sessions.by_index(index) else { return Ok(()) };
        match session.outbound.puback(ack.packet_id) {
            Ok(sent) => {
                session.has_moved = true;
                let forgets = session.forgets;
                let resumed = session.resumed.iter_mut();
                let mut open = resumed.filter(|it| it.packet_id == ack.packet_id && !it.is_acknowledged);
                if let Some(resumed) = open.next() {
                    resumed.is_acknowledged = true;
                    self.journal.push(persist::delete_outbound(session.id, ack.packet_id));
                }
                self.sessions.mark_ready(index);
                if forgets {
                    self.tell_delivered(index, &sent);
                }
                Ok(())
            }
            Err(AckError::Unknown) => Ok(()),
            Err(AckError::WrongKind) => Err(Fault(ReasonCode::ProtocolError, "PUBACK for a QoS 2 message")),
        }
    }

    fn on_pubrec(&mut self, conn: ConnId, index: u32, ack: &Ack<'_>) -> Result<(), Fault> {
        let Some(session) = self.sessions.by_index(index) else { return Ok(()) };
        let is_kept = session.is_persistent() && self.journal.is_on();
        let id = ack.packet_id;
        match session.outbound.pubrec(id, ack.reason.is_error()) {
            Ok(RecOutcome::Release(sent)) => {
                session.has_moved = true;
                let forgets = session.forgets;
                if is_kept {
                    // PUBREL leaves when its state is on disk, so that a crash cannot send the message again.
                    self.journal.push(persist::put_outbound(session, id, None));
                    self.journal.wait(Waiter::Release(index, conn, id));
                } else {
                    self.links.send_release(conn.slot, id);
                }
                if forgets {
                    self.tell_delivered(index, &sent);
                }
            }
            Ok(RecOutcome::Again) => self.links.send_release(conn.slot, id),
            Ok(RecOutcome::Ended(_)) => {
                session.has_moved = true;
                if is_kept {
                    self.journal.push(persist::delete_outbound(session.id, id));
                }
                self.sessions.mark_ready(index);
            }
            Err(AckError::Unknown) => {
                let version = self.links.by_conn(conn).map_or(Version::V4, |link| link.version);
                let reason = ReasonCode::PacketIdentifierNotFound;
                self.links.send(conn.slot, |out| {
                    encode::ack(out, version, PacketType::PubRel, id, reason);
                });
            }
            Err(AckError::WrongKind) => {
                return Err(Fault(ReasonCode::ProtocolError, "PUBREC for a QoS 1 message"));
            }
        }
        Ok(())
    }

    fn on_pubcomp(&mut self, index: u32, ack: &Ack<'_>) -> Result<(), Fault> {
        let Some(session) = self.sessions.by_index(index) else { return Ok(()) };
        match session.outbound.pubcomp(ack.packet_id) {
            Ok(()) => {
                if session.is_on_disk {
                    self.journal.push(persist::delete_outbound(session.id, ack.packet_id));
                }
                self.sessions.mark_ready(index);
                Ok(())
            }
            Err(AckError::Unknown) => Ok(()),
            Err(AckError::WrongKind) => {
                Err(Fault(ReasonCode::ProtocolError, "PUBCOMP for a message not released"))
            }
        }
    }

    fn on_pubrel(&mut self, conn: ConnId, index: u32, ack: &Ack<'_>) -> Result<(), Fault> {
        let Some(session) = self.sessions.by_index(index) else { return Ok(()) };
        let id = ack.packet_id;
        let is_known = session.inbound.release(id);
        let reason = if is_known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
        if session.is_on_disk && self.journal.is_on() {
            if is_known {
                self.journal.push(persist::delete_inbound(session.id, id));
            }
            // A client that has its PUBCOMP uses the identifier anew: the old one has to be off the disk by then, also
            // where PUBREL came twice.
            if self.journal.wait(Waiter::Complete(conn, id, reason)) {
                return Ok(());
            }
        }
        self.send_pubcomp(conn, id, reason);
        Ok(())
    }

    pub(crate) fn send_pubcomp(&mut self, conn: ConnId, id: PacketId, reason: ReasonCode) {
        let Some(version) = self.links.by_conn(conn).map(|link| link.version) else { return };
        self.links.send(conn.slot, |out| {
            encode::ack(out, version, PacketType::PubComp, id, reason);
        });
    }

    fn on_disconnect(&mut self, conn: ConnId, index: u32, disconnect: &Disconnect<'_>) -> Result<(), Fault> {
        if disconnect.server_reference.is_some() || !disconnect.reason.is_for_disconnect_by_client() {
            // Section 3.14.2: only a server moves its clients, and says why it ends them.
            return Err(Fault(ReasonCode::ProtocolError, "a DISCONNECT that only a server sends"));
        }
        let longest = self.settings.limits.session_expiry_secs;
        let Some(session) = self.sessions.by_index(index) else { return Ok(()) };
        if let Some(secs) = disconnect.session_expiry_secs {
            if session.expiry_secs == 0 && secs > 0 {
                return Err(Fault(
                    ReasonCode::ProtocolError,
                    "session expiry set by DISCONNECT was 0 in CONNECT",
                ));
            }
            session.expiry_secs = secs.min(longest);
        }
        // Only a normal DISCONNECT takes the will away [MQTT-3.14.4-3].
        let publish_will = disconnect.reason != ReasonCode::Success;
        self.detach(conn.slot, publish_will);
        self.links.close(conn.slot, false);
        Ok(())
    }
}

/// The version that a CONNECT states, although it cannot be read whole.
fn stated_version(packet: &[u8]) -> Option<Version> {
    let header = decode::header(packet).ok()??;
    match packet.get(header.len..)?.strip_prefix(b"\0\x04MQTT")?.first()? {
        4 => Some(Version::V4),
        5 => Some(Version::V5),
        _ => None,
    }
}

/// Whether a packet that begins so is CONNACK, SUBACK, UNSUBACK or PINGRESP.
fn is_of_a_server(first_byte: u8) -> bool {
    matches!(first_byte >> 4, 2 | 9 | 11 | 13)
}

fn is_subscription(packet_type: PacketType) -> bool {
    matches!(packet_type, PacketType::Subscribe | PacketType::Unsubscribe)
}

/// What a packet can lead to besides success.
enum Error {
    /// A CONNECT that cannot be read.
    Greeting(DecodeError),
    /// Anything else.
    Fault(Fault),
}
