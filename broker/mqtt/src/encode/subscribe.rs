//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK.

use super::{EncodeError, framed, property, put_string, with_length};
use crate::packet::{PacketId, PacketType, SubAck, SubscribeOptions, UserProperties, Version};
use crate::properties::{id, put_subscription_id, put_user_properties};

/// Appends a SUBSCRIBE; 3.1.1 keeps of the options the quality of service only, and leaves out the properties.
pub fn subscribe<'f>(
    out: &mut Vec<u8>,
    version: Version,
    packet_id: PacketId,
    subscription_id: Option<u32>,
    user_properties: UserProperties<'_>,
    filters: impl IntoIterator<Item = (&'f str, SubscribeOptions)>,
) -> Result<usize, EncodeError> {
    framed(out, PacketType::Subscribe.first_byte(), |out| {
        out.extend_from_slice(&packet_id.get().to_be_bytes());
        if version == Version::V5 {
            with_length(out, |out| {
                if let Some(subscription_id) = subscription_id {
                    put_subscription_id(out, subscription_id)?;
                }
                put_user_properties(out, user_properties)
            })?;
        }
        for (filter, options) in filters {
            put_string(out, filter)?;
            out.push(options.to_byte(version));
        }
        Ok(())
    })
}

/// Appends an UNSUBSCRIBE.
pub fn unsubscribe<'f>(
    out: &mut Vec<u8>,
    version: Version,
    packet_id: PacketId,
    user_properties: UserProperties<'_>,
    filters: impl IntoIterator<Item = &'f str>,
) -> Result<usize, EncodeError> {
    framed(out, PacketType::Unsubscribe.first_byte(), |out| {
        out.extend_from_slice(&packet_id.get().to_be_bytes());
        if version == Version::V5 {
            with_length(out, |out| put_user_properties(out, user_properties))?;
        }
        for filter in filters {
            put_string(out, filter)?;
        }
        Ok(())
    })
}

/// Appends a SUBACK; in 3.1.1 every code that says failure is 0x80 `[3.1.1 MQTT-3.9.3-2]`.
pub fn suback(out: &mut Vec<u8>, version: Version, packet: &SubAck<'_>) -> Result<usize, EncodeError> {
    framed(out, PacketType::SubAck.first_byte(), |out| {
        out.extend_from_slice(&packet.packet_id.get().to_be_bytes());
        match version {
            Version::V4 => out.extend(packet.codes.iter().map(|&code| code.min(0x80))),
            Version::V5 => {
                ack_properties(out, packet)?;
                out.extend_from_slice(packet.codes);
            }
        }
        Ok(())
    })
}

/// Appends an UNSUBACK; in 3.1.1 it holds the packet identifier only.
pub fn unsuback(out: &mut Vec<u8>, version: Version, packet: &SubAck<'_>) -> Result<usize, EncodeError> {
    framed(out, PacketType::UnsubAck.first_byte(), |out| {
        out.extend_from_slice(&packet.packet_id.get().to_be_bytes());
        if version == Version::V5 {
            ack_properties(out, packet)?;
            out.extend_from_slice(packet.codes);
        }
        Ok(())
    })
}

fn ack_properties(out: &mut Vec<u8>, packet: &SubAck<'_>) -> Result<(), EncodeError> {
    with_length(out, |out| {
        property::string(out, id::REASON_STRING, packet.reason_string)?;
        put_user_properties(out, packet.user_properties)
    })
}
