//! Bytes to packets, both versions, strictly.
//!
//! [`header`] and [`frame`] find a packet in a receive buffer and refuse what can be refused before its body is
//! there; [`packet`], [`publish()`] and [`ack()`] read a whole one, borrowed from that buffer. Knows no state of a
//! connection or a session: what depends on it (aliases in range, who may send what, when) is checked by them.
//! Invariant: no input panics, nothing is allocated by a length that a peer claims, and every byte of a packet is
//! accounted for.

mod ack;
mod connect;
mod control;
mod error;
mod publish;
pub(crate) mod reader;
mod section;
mod subscribe;
#[cfg(test)]
mod tests;

pub use ack::ack;
pub use error::{DecodeError, ErrorKind, Refusal};
pub use publish::{forwarded_properties, publish};

use crate::packet::{Packet, PacketType, Version};
use crate::reason::ReasonCode;
use crate::varint;

/// The fixed header of a packet, section 2.1 of MQTT 5.0, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Packet type and flags.
    pub first_byte: u8,
    /// What kind of packet follows.
    pub packet_type: PacketType,
    /// Bytes that follow the header.
    pub remaining: usize,
    /// Bytes of the header itself, 2 to 5.
    pub len: usize,
}

impl Header {
    /// Bytes of the whole packet, the header included.
    #[inline]
    pub fn packet_len(&self) -> usize {
        self.len + self.remaining
    }
}

/// One whole packet in a buffer; its body is not looked at yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Packet type and flags.
    pub first_byte: u8,
    /// What kind of packet it is.
    pub packet_type: PacketType,
    /// What follows the fixed header.
    pub body: &'a [u8],
    /// Bytes of the whole packet, to take off the buffer.
    pub len: usize,
}

/// Reads the fixed header at the start of `bytes`, or `None` when more bytes are needed.
///
/// Fails with 0x82 on the reserved type and with 0x81 on flags that MQTT reserves `[MQTT-2.1.3-1]`, as soon as the
/// first byte is there; and with 0x81 on a length that is not a minimal variable byte integer of at most four bytes
/// `[MQTT-1.5.5-1]`, or that gives a PINGREQ or PINGRESP a body.
#[inline]
pub fn header(bytes: &[u8]) -> Result<Option<Header>, DecodeError> {
    let Some((&first_byte, rest)) = bytes.split_first() else { return Ok(None) };
    let packet_type = packet_type(first_byte)?;
    let Some((remaining, length_len)) = varint::read(rest)? else { return Ok(None) };
    if remaining > 0 && matches!(packet_type, PacketType::PingReq | PacketType::PingResp) {
        return Err(control::NOT_EMPTY);
    }
    Ok(Some(Header { first_byte, packet_type, remaining: remaining as usize, len: 1 + length_len }))
}

/// Finds the packet at the start of `bytes`, or `None` when more bytes are needed.
///
/// Fails as [`header`] does, and with 0x95 when the packet, its fixed header included, is longer than
/// `max_packet_size` bytes: then without waiting for the body.
#[inline]
pub fn frame(bytes: &[u8], max_packet_size: u32) -> Result<Option<Frame<'_>>, DecodeError> {
    let Some(header) = header(bytes)? else { return Ok(None) };
    let len = header.packet_len();
    if len > max_packet_size as usize {
        return Err(DecodeError {
            kind: ErrorKind::TooLarge,
            reason: ReasonCode::PacketTooLarge,
            detail: "packet larger than the maximum packet size",
        });
    }
    Ok(bytes.get(header.len..len).map(|body| Frame {
        first_byte: header.first_byte,
        packet_type: header.packet_type,
        body,
        len,
    }))
}

/// Reads a packet that came in a connection of `version`; a CONNECT states its own.
///
/// Packets that only a server sends are read too, for clients: a server refuses them by their type, as it does an
/// answer to what it never sent. Fails with 0x81, 0x82 or a more exact code as section 4.13 says.
pub fn packet<'a>(frame: Frame<'a>, version: Version) -> Result<Packet<'a>, DecodeError> {
    match frame.packet_type {
        PacketType::Connect => connect::connect(frame.body).map(|connect| Packet::Connect(Box::new(connect))),
        PacketType::ConnAck => connect::connack(frame.body, version).map(Packet::ConnAck),
        PacketType::Publish => publish(frame, version).map(Packet::Publish),
        PacketType::PubAck => ack(frame, version).map(Packet::PubAck),
        PacketType::PubRec => ack(frame, version).map(Packet::PubRec),
        PacketType::PubRel => ack(frame, version).map(Packet::PubRel),
        PacketType::PubComp => ack(frame, version).map(Packet::PubComp),
        PacketType::Subscribe => subscribe::subscribe(frame.body, version).map(Packet::Subscribe),
        PacketType::SubAck => subscribe::suback(frame.body, version).map(Packet::SubAck),
        PacketType::Unsubscribe => subscribe::unsubscribe(frame.body, version).map(Packet::Unsubscribe),
        PacketType::UnsubAck => subscribe::unsuback(frame.body, version).map(Packet::UnsubAck),
        PacketType::PingReq | PacketType::PingResp if !frame.body.is_empty() => Err(control::NOT_EMPTY),
        PacketType::PingReq => Ok(Packet::PingReq),
        PacketType::PingResp => Ok(Packet::PingResp),
        PacketType::Disconnect => control::disconnect(frame.body, version).map(Packet::Disconnect),
        PacketType::Auth => control::auth(frame.body, version).map(Packet::Auth),
    }
}

/// The packet type of a first byte, with its flags checked `[MQTT-2.1.3-1]`, `[3.1.1 MQTT-2.2.2-2]`.
#[inline]
fn packet_type(first_byte: u8) -> Result<PacketType, DecodeError> {
    let packet_type =
        PacketType::of(first_byte).ok_or(DecodeError::protocol("packet type 0 is reserved [MQTT-2.1.2]"))?;
    let flags = first_byte & 0x0F;
    match packet_type {
        PacketType::Publish => {
            if flags & 0b0110 == 0b0110 {
                return Err(DecodeError::malformed("PUBLISH with QoS 3 [MQTT-3.3.1-4]"));
            }
            if flags & 0b1110 == 0b1000 {
                return Err(DecodeError::malformed("DUP on a QoS 0 PUBLISH [MQTT-3.3.1-2]"));
            }
        }
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe if flags == 0b0010 => {}
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => {
            return Err(DecodeError::malformed("reserved flags other than 0010 [MQTT-2.1.3-1]"));
        }
        _ if flags != 0 => return Err(DecodeError::malformed("reserved flags set [MQTT-2.1.3-1]")),
        _ => {}
    }
    Ok(packet_type)
}
