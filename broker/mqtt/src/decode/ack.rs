//! PUBACK, PUBREC, PUBREL and PUBCOMP, sections 3.4 to 3.7 of MQTT 5.0.

use super::reader::Reader;
use super::section::{Section, not_allowed, once};
use super::{DecodeError, Frame};
use crate::packet::{Ack, PacketId, PacketType, UserProperties, Version};
use crate::properties::id;
use crate::reason::ReasonCode;

/// Reads a PUBACK, PUBREC, PUBREL or PUBCOMP that came in a connection of `version`; fails when `frame` is another
/// packet.
///
/// A body of two bytes says success; one of three has a reason code and no properties.
#[inline]
pub fn ack<'a>(frame: Frame<'a>, version: Version) -> Result<Ack<'a>, DecodeError> {
    if !matches!(
        frame.packet_type,
        PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp
    ) {
        return Err(DecodeError::protocol("not an acknowledgement of a PUBLISH"));
    }
    let mut body = Reader::new(frame.body);
    let packet_id = body.packet_id()?;
    if body.is_empty() {
        return Ok(bare(packet_id));
    }
    match version {
        Version::V4 => Err(DecodeError::malformed("packet longer than its content")),
        Version::V5 => with_reason(packet_id, body, frame.packet_type),
    }
}

#[inline]
fn bare<'a>(packet_id: PacketId) -> Ack<'a> {
    Ack {
        packet_id,
        reason: ReasonCode::Success,
        reason_string: None,
        user_properties: UserProperties::default(),
    }
}

fn with_reason(
    packet_id: PacketId,
    mut body: Reader<'_>,
    packet_type: PacketType,
) -> Result<Ack<'_>, DecodeError> {
    let mut found = bare(packet_id);
    found.reason = ReasonCode::from_byte(body.u8()?)
        .filter(|reason| reason.is_for(packet_type))
        .ok_or(DecodeError::protocol("reason code not allowed in this packet"))?;
    if body.is_empty() {
        return Ok(found);
    }
    let mut section = Section::read(&mut body)?;
    while let Some(identifier) = section.next_id() {
        match identifier {
            id::REASON_STRING => once(&mut found.reason_string, section.values.text()?)?,
            id::USER_PROPERTY => section.user_property()?,
            _ => return not_allowed(),
        }
    }
    found.user_properties = section.user_properties();
    body.end()?;
    Ok(found)
}
