//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK, sections 3.8 to 3.11 of MQTT 5.0.

use super::DecodeError;
use super::reader::Reader;
use super::section::{Section, not_allowed, once};
use crate::packet::{
    PacketType, SubAck, Subscribe, SubscribeFilters, SubscribeOptions, Unsubscribe, UnsubscribeFilters,
    UserProperties, Version,
};
use crate::properties::id;
use crate::reason::ReasonCode;

pub(super) fn subscribe(body: &[u8], version: Version) -> Result<Subscribe<'_>, DecodeError> {
    let mut body = Reader::new(body);
    let packet_id = body.packet_id()?;
    let mut subscription_id = None;
    let mut user_properties = UserProperties::default();
    if version == Version::V5 {
        let mut section = Section::read(&mut body)?;
        while let Some(identifier) = section.next_id() {
            match identifier {
                id::SUBSCRIPTION_IDENTIFIER => {
                    let value = section.values.varint()?;
                    if value == 0 {
                        return Err(DecodeError::protocol("subscription identifier 0"));
                    }
                    once(&mut subscription_id, value)?;
                }
                id::USER_PROPERTY => section.user_property()?,
                _ => return not_allowed(),
            }
        }
        user_properties = section.user_properties();
    }
    if body.is_empty() {
        return Err(DecodeError::protocol("SUBSCRIBE without a filter [MQTT-3.8.3-2]"));
    }
    let filters = SubscribeFilters { bytes: body.rest(), version };
    while !body.is_empty() {
        filter(&mut body)?;
        check_options(body.u8()?, version)?;
    }
    Ok(Subscribe { packet_id, subscription_id, user_properties, filters })
}

/// Reads a filter, which is not empty `[MQTT-4.7.3-1]`; where its wildcards stand is for the caller to say, who can
/// answer for each filter.
fn filter(body: &mut Reader<'_>) -> Result<(), DecodeError> {
    if body.name()?.is_empty() {
        return Err(DecodeError::malformed("empty topic filter [MQTT-4.7.3-1]"));
    }
    Ok(())
}

fn check_options(byte: u8, version: Version) -> Result<(), DecodeError> {
    if SubscribeOptions::from_byte(byte, version).is_some() {
        return Ok(());
    }
    // QoS 3 and retain handling 3 are protocol errors in 5.0, a reserved bit makes the packet malformed.
    if version == Version::V5 && byte & 0b1100_0000 == 0 {
        return Err(DecodeError::protocol("subscription options with QoS 3 or retain handling 3"));
    }
    Err(DecodeError::malformed("reserved bits in subscription options [MQTT-3.8.3-5]"))
}

pub(super) fn unsubscribe(body: &[u8], version: Version) -> Result<Unsubscribe<'_>, DecodeError> {
    let mut body = Reader::new(body);
    let packet_id = body.packet_id()?;
    let mut user_properties = UserProperties::default();
    if version == Version::V5 {
        let mut section = Section::read(&mut body)?;
        while let Some(identifier) = section.next_id() {
            match identifier {
                id::USER_PROPERTY => section.user_property()?,
                _ => return not_allowed(),
            }
        }
        user_properties = section.user_properties();
    }
    if body.is_empty() {
        return Err(DecodeError::protocol("UNSUBSCRIBE without a filter [MQTT-3.10.3-2]"));
    }
    let filters = UnsubscribeFilters { bytes: body.rest() };
    while !body.is_empty() {
        filter(&mut body)?;
    }
    Ok(Unsubscribe { packet_id, user_properties, filters })
}

pub(super) fn suback(body: &[u8], version: Version) -> Result<SubAck<'_>, DecodeError> {
    let found = with_codes(body, version)?;
    let allowed = |code: u8| match version {
        Version::V4 => matches!(code, 0..=2 | 0x80),
        Version::V5 => ReasonCode::from_byte(code).is_some_and(|reason| reason.is_for(PacketType::SubAck)),
    };
    check_codes(found.codes, allowed)?;
    Ok(found)
}

pub(super) fn unsuback(body: &[u8], version: Version) -> Result<SubAck<'_>, DecodeError> {
    if version == Version::V4 {
        let mut body = Reader::new(body);
        let packet_id = body.packet_id()?;
        body.end()?;
        return Ok(SubAck {
            packet_id,
            codes: &[],
            reason_string: None,
            user_properties: UserProperties::default(),
        });
    }
    let found = with_codes(body, version)?;
    check_codes(found.codes, |code| {
        ReasonCode::from_byte(code).is_some_and(|reason| reason.is_for(PacketType::UnsubAck))
    })?;
    Ok(found)
}

fn with_codes(body: &[u8], version: Version) -> Result<SubAck<'_>, DecodeError> {
    let mut body = Reader::new(body);
    let packet_id = body.packet_id()?;
    let mut reason_string = None;
    let mut user_properties = UserProperties::default();
    if version == Version::V5 {
        let mut section = Section::read(&mut body)?;
        while let Some(identifier) = section.next_id() {
            match identifier {
                id::REASON_STRING => once(&mut reason_string, section.values.text()?)?,
                id::USER_PROPERTY => section.user_property()?,
                _ => return not_allowed(),
            }
        }
        user_properties = section.user_properties();
    }
    Ok(SubAck { packet_id, codes: body.rest(), reason_string, user_properties })
}

fn check_codes(codes: &[u8], allowed: impl Fn(u8) -> bool) -> Result<(), DecodeError> {
    if codes.is_empty() {
        return Err(DecodeError::protocol("acknowledgement without a code"));
    }
    if !codes.iter().all(|&code| allowed(code)) {
        return Err(DecodeError::protocol("reason code not allowed in this packet"));
    }
    Ok(())
}
