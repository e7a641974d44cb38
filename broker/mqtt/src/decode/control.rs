//! PINGREQ, PINGRESP, DISCONNECT and AUTH, sections 3.12 to 3.15 of MQTT 5.0.

use super::DecodeError;
use super::reader::Reader;
use super::section::{Section, not_allowed, once};
use crate::packet::{Auth, Disconnect, PacketType, Secret, UserProperties, Version};
use crate::properties::id;
use crate::reason::ReasonCode;

/// A PINGREQ or PINGRESP with a body.
pub(super) const NOT_EMPTY: DecodeError = DecodeError::malformed("packet longer than its content");

fn reason(body: &mut Reader<'_>, packet_type: PacketType) -> Result<ReasonCode, DecodeError> {
    ReasonCode::from_byte(body.u8()?)
        .filter(|reason| reason.is_for(packet_type))
        .ok_or(DecodeError::protocol("reason code not allowed in this packet"))
}

/// Reads a DISCONNECT. An empty body is a normal disconnection, one of a single byte a reason without properties.
pub(super) fn disconnect(body: &[u8], version: Version) -> Result<Disconnect<'_>, DecodeError> {
    let mut body = Reader::new(body);
    let mut found = Disconnect {
        reason: ReasonCode::Success,
        session_expiry_secs: None,
        reason_string: None,
        user_properties: UserProperties::default(),
        server_reference: None,
    };
    if version == Version::V4 {
        body.end()?;
    }
    if body.is_empty() {
        return Ok(found);
    }
    found.reason = reason(&mut body, PacketType::Disconnect)?;
    if body.is_empty() {
        return Ok(found);
    }
    let mut section = Section::read(&mut body)?;
    while let Some(identifier) = section.next_id() {
        let values = &mut section.values;
        match identifier {
            id::SESSION_EXPIRY_INTERVAL => once(&mut found.session_expiry_secs, values.u32()?)?,
            id::REASON_STRING => once(&mut found.reason_string, values.text()?)?,
            id::SERVER_REFERENCE => once(&mut found.server_reference, values.text()?)?,
            id::USER_PROPERTY => section.user_property()?,
            _ => return not_allowed(),
        }
    }
    found.user_properties = section.user_properties();
    body.end()?;
    Ok(found)
}

/// Reads an AUTH. An empty body says success; any other has a reason, properties and a method in them.
pub(super) fn auth(body: &[u8], version: Version) -> Result<Auth<'_>, DecodeError> {
    if version == Version::V4 {
        return Err(DecodeError::malformed("packet type 15 is reserved in 3.1.1"));
    }
    let mut body = Reader::new(body);
    let mut found = Auth {
        reason: ReasonCode::Success,
        method: None,
        data: None,
        reason_string: None,
        user_properties: UserProperties::default(),
    };
    if body.is_empty() {
        return Ok(found);
    }
    found.reason = reason(&mut body, PacketType::Auth)?;
    let mut section = Section::read(&mut body)?;
    while let Some(identifier) = section.next_id() {
        let values = &mut section.values;
        match identifier {
            id::AUTHENTICATION_METHOD => once(&mut found.method, values.text()?)?,
            id::AUTHENTICATION_DATA => once(&mut found.data, Secret(values.binary()?))?,
            id::REASON_STRING => once(&mut found.reason_string, values.text()?)?,
            id::USER_PROPERTY => section.user_property()?,
            _ => return not_allowed(),
        }
    }
    found.user_properties = section.user_properties();
    body.end()?;
    if found.method.is_none() {
        return Err(DecodeError::protocol("AUTH without an authentication method"));
    }
    Ok(found)
}
