//! PINGREQ, PINGRESP, DISCONNECT and AUTH.

use super::{EncodeError, framed, property, with_length};
use crate::packet::{Auth, Disconnect, PacketType, Version};
use crate::properties::{id, put_user_properties};
use crate::reason::ReasonCode;

/// Appends a PINGREQ; returns its length in bytes, 2.
pub fn pingreq(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[PacketType::PingReq.first_byte(), 0]);
    2
}

/// Appends a PINGRESP; returns its length in bytes, 2.
pub fn pingresp(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[PacketType::PingResp.first_byte(), 0]);
    2
}

/// Appends a DISCONNECT without properties, 2 or 3 bytes; returns its length in bytes.
///
/// The reason is left out when it says normal disconnection, and always in 3.1.1, where only clients send DISCONNECT.
pub fn disconnect(out: &mut Vec<u8>, version: Version, reason: ReasonCode) -> usize {
    if version == Version::V4 || reason == ReasonCode::Success {
        out.extend_from_slice(&[PacketType::Disconnect.first_byte(), 0]);
        2
    } else {
        out.extend_from_slice(&[PacketType::Disconnect.first_byte(), 1, reason as u8]);
        3
    }
}

/// Appends a DISCONNECT with its properties, which 3.1.1 leaves out.
pub fn disconnect_with(
    out: &mut Vec<u8>,
    version: Version,
    packet: &Disconnect<'_>,
) -> Result<usize, EncodeError> {
    let has_properties = packet.session_expiry_secs.is_some()
        || packet.reason_string.is_some()
        || packet.server_reference.is_some()
        || !packet.user_properties.is_empty();
    if version == Version::V4 || !has_properties {
        return Ok(disconnect(out, version, packet.reason));
    }
    framed(out, PacketType::Disconnect.first_byte(), |out| {
        out.push(packet.reason as u8);
        with_length(out, |out| {
            property::u32(out, id::SESSION_EXPIRY_INTERVAL, packet.session_expiry_secs);
            property::string(out, id::REASON_STRING, packet.reason_string)?;
            property::string(out, id::SERVER_REFERENCE, packet.server_reference)?;
            put_user_properties(out, packet.user_properties)
        })
    })
}

/// Appends an AUTH; 3.1.1 has none.
pub fn auth(out: &mut Vec<u8>, version: Version, packet: &Auth<'_>) -> Result<usize, EncodeError> {
    if version == Version::V4 {
        return Err(EncodeError::NotInVersion);
    }
    framed(out, PacketType::Auth.first_byte(), |out| {
        let is_bare = packet.method.is_none()
            && packet.data.is_none()
            && packet.reason_string.is_none()
            && packet.user_properties.is_empty();
        if is_bare && packet.reason == ReasonCode::Success {
            return Ok(());
        }
        out.push(packet.reason as u8);
        with_length(out, |out| {
            property::string(out, id::AUTHENTICATION_METHOD, packet.method)?;
            property::binary(out, id::AUTHENTICATION_DATA, packet.data.map(|data| data.0))?;
            property::string(out, id::REASON_STRING, packet.reason_string)?;
            put_user_properties(out, packet.user_properties)
        })
    })
}
