//! PUBACK, PUBREC, PUBREL and PUBCOMP.

use super::{EncodeError, framed, property, with_length};
use crate::packet::{Ack, PacketId, PacketType, Version};
use crate::properties::{id, put_user_properties};
use crate::reason::ReasonCode;

/// Appends a PUBACK, PUBREC, PUBREL or PUBCOMP without properties, 4 or 5 bytes; returns its length in bytes.
///
/// The reason is left out when it says success, and always in 3.1.1. `kind` is one of the four types.
#[inline]
pub fn ack(
    out: &mut Vec<u8>,
    version: Version,
    kind: PacketType,
    packet_id: PacketId,
    reason: ReasonCode,
) -> usize {
    let [high, low] = packet_id.get().to_be_bytes();
    if version == Version::V4 || reason == ReasonCode::Success {
        out.extend_from_slice(&[kind.first_byte(), 2, high, low]);
        4
    } else {
        out.extend_from_slice(&[kind.first_byte(), 3, high, low, reason as u8]);
        5
    }
}

/// Appends a PUBACK, PUBREC, PUBREL or PUBCOMP with its properties, which 3.1.1 leaves out.
pub fn ack_with(
    out: &mut Vec<u8>,
    version: Version,
    kind: PacketType,
    packet: &Ack<'_>,
) -> Result<usize, EncodeError> {
    if version == Version::V4 || (packet.reason_string.is_none() && packet.user_properties.is_empty()) {
        return Ok(ack(out, version, kind, packet.packet_id, packet.reason));
    }
    framed(out, kind.first_byte(), |out| {
        out.extend_from_slice(&packet.packet_id.get().to_be_bytes());
        out.push(packet.reason as u8);
        with_length(out, |out| {
            property::string(out, id::REASON_STRING, packet.reason_string)?;
            put_user_properties(out, packet.user_properties)
        })
    })
}
