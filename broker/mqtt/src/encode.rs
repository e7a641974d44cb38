//! Packets to bytes, both versions.
//!
//! Each function appends one packet to a buffer and returns how many bytes it took, so that a caller can take back
//! what a client's maximum packet size forbids `[MQTT-3.1.2-24]`; when it fails, the buffer is as before. Knows no
//! state: what may be sent, and when, is decided by connections and sessions. Invariant: what is written decodes to
//! what was given, except for what the version of the connection cannot carry.

mod ack;
mod connect;
mod control;
mod publish;
mod subscribe;
#[cfg(test)]
mod tests;

pub use ack::{ack, ack_with};
pub use connect::{connack, connect};
pub use control::{auth, disconnect, disconnect_with, pingreq, pingresp};
pub use publish::{PublishLayout, PublishParts, publish, publish_first_byte};
pub use subscribe::{suback, subscribe, unsuback, unsubscribe};

use std::fmt;

use crate::packet::{Packet, PacketType, Version};
use crate::varint;

/// What cannot be written as a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeError {
    /// A string or binary value is longer than 65,535 bytes, or the packet than 268,435,455.
    TooLong,
    /// A string holds U+0000 `[MQTT-1.5.4-2]`.
    Nul,
    /// A number is outside what its property allows, such as a subscription identifier of 0.
    OutOfRange,
    /// A packet identifier on a QoS 0 PUBLISH, or none on another `[MQTT-2.2.1-2]`.
    PacketId,
    /// The version of the connection has no such packet.
    NotInVersion,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "a value or the packet is too long for MQTT",
            Self::Nul => "a string holds U+0000",
            Self::OutOfRange => "a number is outside what its property allows",
            Self::PacketId => "the packet identifier does not go with the quality of service",
            Self::NotInVersion => "the protocol version has no such packet",
        })
    }
}

impl std::error::Error for EncodeError {}

/// Appends any packet in the form of `version`, which a CONNECT overrides with its own; returns its length in bytes.
pub fn packet(out: &mut Vec<u8>, version: Version, packet: &Packet<'_>) -> Result<usize, EncodeError> {
    match packet {
        Packet::Connect(packet) => connect(out, packet),
        Packet::ConnAck(packet) => connack(out, version, packet),
        Packet::Publish(packet) => publish(out, version, packet),
        Packet::PubAck(packet) => ack_with(out, version, PacketType::PubAck, packet),
        Packet::PubRec(packet) => ack_with(out, version, PacketType::PubRec, packet),
        Packet::PubRel(packet) => ack_with(out, version, PacketType::PubRel, packet),
        Packet::PubComp(packet) => ack_with(out, version, PacketType::PubComp, packet),
        Packet::Subscribe(packet) => {
            let filters = packet.filters;
            subscribe(out, version, packet.packet_id, packet.subscription_id, packet.user_properties, filters)
        }
        Packet::SubAck(packet) => suback(out, version, packet),
        Packet::Unsubscribe(packet) => {
            unsubscribe(out, version, packet.packet_id, packet.user_properties, packet.filters)
        }
        Packet::UnsubAck(packet) => unsuback(out, version, packet),
        Packet::PingReq => Ok(pingreq(out)),
        Packet::PingResp => Ok(pingresp(out)),
        Packet::Disconnect(packet) => disconnect_with(out, version, packet),
        Packet::Auth(packet) => auth(out, version, packet),
    }
}

/// Writes a first byte, what `body` writes, and between them its length; takes everything back when `body` fails.
fn framed(
    out: &mut Vec<u8>,
    first_byte: u8,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<usize, EncodeError> {
    let start = out.len();
    out.push(first_byte);
    match with_length(out, body) {
        Ok(()) => Ok(out.len() - start),
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// Writes what `body` writes behind its length as a variable byte integer.
fn with_length(
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let length_at = out.len();
    out.push(0);
    body(out)?;
    let end = out.len();
    let body_at = length_at + 1;
    let length = u32::try_from(end - body_at).map_err(|_| EncodeError::TooLong)?;
    if length > varint::MAX {
        return Err(EncodeError::TooLong);
    }
    // One byte was kept for the length, which most packets need; longer ones move to make room.
    let length_len = varint::len(length);
    out.resize(end + length_len - 1, 0);
    out.copy_within(body_at..end, length_at + length_len);
    out[length_at..length_at + length_len].copy_from_slice(&varint::bytes(length)[..length_len]);
    Ok(())
}

/// Appends a UTF-8 string behind its length.
#[inline]
pub(crate) fn put_string(out: &mut Vec<u8>, string: &str) -> Result<(), EncodeError> {
    if string.as_bytes().contains(&0) {
        return Err(EncodeError::Nul);
    }
    put_binary(out, string.as_bytes())
}

/// Appends binary data behind its length.
#[inline]
pub(crate) fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError> {
    let length = u16::try_from(bytes.len()).map_err(|_| EncodeError::TooLong)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// The property writers that the packets share: each writes nothing for a value that is absent.
mod property {
    use super::{EncodeError, put_binary, put_string};

    pub(super) fn byte(out: &mut Vec<u8>, identifier: u8, value: Option<u8>) {
        if let Some(value) = value {
            out.extend_from_slice(&[identifier, value]);
        }
    }

    pub(super) fn flag(out: &mut Vec<u8>, identifier: u8, value: Option<bool>) {
        byte(out, identifier, value.map(u8::from));
    }

    pub(super) fn u16(out: &mut Vec<u8>, identifier: u8, value: Option<u16>) {
        if let Some(value) = value {
            out.push(identifier);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }

    pub(super) fn u32(out: &mut Vec<u8>, identifier: u8, value: Option<u32>) {
        if let Some(value) = value {
            out.push(identifier);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }

    pub(super) fn string(out: &mut Vec<u8>, identifier: u8, value: Option<&str>) -> Result<(), EncodeError> {
        let Some(value) = value else { return Ok(()) };
        out.push(identifier);
        put_string(out, value)
    }

    pub(super) fn binary(out: &mut Vec<u8>, identifier: u8, value: Option<&[u8]>) -> Result<(), EncodeError> {
        let Some(value) = value else { return Ok(()) };
        out.push(identifier);
        put_binary(out, value)
    }
}
