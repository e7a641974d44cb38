//! CONNECT and CONNACK, sections 3.1 and 3.2 of MQTT 5.0 and of 3.1.1.

use super::publish::message_property;
use super::reader::Reader;
use super::section::{Section, not_allowed, once};
use super::{DecodeError, Refusal};
use crate::packet::{
    ConnAck, ConnAckProperties, Connect, ConnectProperties, PacketType, PublishProperties, QoS, Secret,
    Version, Will,
};
use crate::properties::id;
use crate::reason::ReasonCode;

/// The connect flags, section 3.1.2.3, checked.
struct Flags {
    clean_start: bool,
    will: Option<(QoS, bool)>,
    password: bool,
    user_name: bool,
}

pub(super) fn connect(body: &[u8]) -> Result<Connect<'_>, DecodeError> {
    let mut body = Reader::new(body);
    let name = body.binary()?;
    let level = body.u8()?;
    match (name, level) {
        (b"MQTT", 4) => of_version(body, Version::V4),
        (b"MQTT", 5) => of_version(body, Version::V5),
        // A sender of another level is answered in the form of the version that the rest of its CONNECT has.
        (b"MQTT", _) if of_version(body, Version::V5).is_ok() => Err(DecodeError::unsupported(Refusal::V5)),
        (b"MQTT" | b"MQIsdp", _) => Err(DecodeError::unsupported(Refusal::V4)),
        _ => Err(DecodeError::unsupported(Refusal::Silent)),
    }
}

/// Reads what follows the protocol name and level.
fn of_version(mut body: Reader<'_>, version: Version) -> Result<Connect<'_>, DecodeError> {
    let flags = flags(body.u8()?, version)?;
    let keep_alive_secs = body.u16()?;
    let properties = match version {
        Version::V4 => ConnectProperties::default(),
        Version::V5 => connect_properties(Section::read(&mut body)?)?,
    };
    let client_id = body.name()?;
    let will = match flags.will {
        Some((qos, retain)) => Some(will(&mut body, version, qos, retain)?),
        None => None,
    };
    let user_name = if flags.user_name { Some(body.name()?) } else { None };
    let password = if flags.password { Some(Secret(body.binary()?)) } else { None };
    body.end()?;
    Ok(Connect {
        version,
        clean_start: flags.clean_start,
        keep_alive_secs,
        client_id,
        will,
        user_name,
        password,
        properties,
    })
}

fn flags(byte: u8, version: Version) -> Result<Flags, DecodeError> {
    if byte & 0b0000_0001 != 0 {
        return Err(DecodeError::malformed("reserved connect flag set [MQTT-3.1.2-3]"));
    }
    let qos =
        QoS::from_bits(byte >> 3 & 0b11).ok_or(DecodeError::malformed("will with QoS 3 [MQTT-3.1.2-12]"))?;
    let retain = byte & 0b0010_0000 != 0;
    let has_will = byte & 0b0000_0100 != 0;
    if !has_will && (retain || qos != QoS::AtMostOnce) {
        return Err(DecodeError::malformed("will flags without a will [MQTT-3.1.2-11] [MQTT-3.1.2-13]"));
    }
    let user_name = byte & 0b1000_0000 != 0;
    let password = byte & 0b0100_0000 != 0;
    if version == Version::V4 && password && !user_name {
        return Err(DecodeError::malformed("password without a user name [3.1.1 MQTT-3.1.2-22]"));
    }
    Ok(Flags {
        clean_start: byte & 0b0000_0010 != 0,
        will: has_will.then_some((qos, retain)),
        password,
        user_name,
    })
}

fn connect_properties(mut section: Section<'_>) -> Result<ConnectProperties<'_>, DecodeError> {
    let mut found = ConnectProperties::default();
    while let Some(identifier) = section.next_id() {
        let values = &mut section.values;
        match identifier {
            id::SESSION_EXPIRY_INTERVAL => once(&mut found.session_expiry_secs, values.u32()?)?,
            id::RECEIVE_MAXIMUM => once(&mut found.receive_maximum, receive_maximum(values)?)?,
            id::MAXIMUM_PACKET_SIZE => once(&mut found.maximum_packet_size, maximum_packet_size(values)?)?,
            id::TOPIC_ALIAS_MAXIMUM => once(&mut found.topic_alias_maximum, values.u16()?)?,
            id::REQUEST_RESPONSE_INFORMATION => {
                once(&mut found.request_response_information, values.flag()?)?;
            }
            id::REQUEST_PROBLEM_INFORMATION => {
                once(&mut found.request_problem_information, values.flag()?)?;
            }
            id::AUTHENTICATION_METHOD => once(&mut found.authentication_method, values.text()?)?,
            id::AUTHENTICATION_DATA => once(&mut found.authentication_data, Secret(values.binary()?))?,
            id::USER_PROPERTY => section.user_property()?,
            _ => return not_allowed(),
        }
    }
    found.user_properties = section.user_properties();
    if found.authentication_data.is_some() && found.authentication_method.is_none() {
        return Err(DecodeError::protocol("authentication data without a method"));
    }
    Ok(found)
}

fn receive_maximum(values: &mut Reader<'_>) -> Result<u16, DecodeError> {
    match values.u16()? {
        0 => Err(DecodeError::protocol("receive maximum 0")),
        maximum => Ok(maximum),
    }
}

fn maximum_packet_size(values: &mut Reader<'_>) -> Result<u32, DecodeError> {
    match values.u32()? {
        0 => Err(DecodeError::protocol("maximum packet size 0")),
        maximum => Ok(maximum),
    }
}

fn will<'a>(
    body: &mut Reader<'a>,
    version: Version,
    qos: QoS,
    retain: bool,
) -> Result<Will<'a>, DecodeError> {
    let mut properties = PublishProperties::default();
    let mut delay_secs = None;
    if version == Version::V5 {
        let mut section = Section::read(body)?;
        while let Some(identifier) = section.next_id() {
            match identifier {
                id::WILL_DELAY_INTERVAL => once(&mut delay_secs, section.values.u32()?)?,
                other => message_property(&mut section, &mut properties, other)?,
            }
        }
        properties.user_properties = section.user_properties();
    }
    let topic = body.topic()?;
    if topic.is_empty() {
        return Err(DecodeError::malformed("empty will topic [MQTT-4.7.3-1]"));
    }
    let payload = body.binary()?;
    Ok(Will { topic, payload, qos, retain, delay_secs: delay_secs.unwrap_or(0), properties })
}

/// Reads a CONNACK, as a client of `version` does; return codes of 3.1.1 become their reason codes.
pub(super) fn connack(body: &[u8], version: Version) -> Result<ConnAck<'_>, DecodeError> {
    let mut body = Reader::new(body);
    let flags = body.u8()?;
    if flags & 0b1111_1110 != 0 {
        return Err(DecodeError::malformed("reserved connect acknowledge flag set [MQTT-3.2.2-1]"));
    }
    let session_present = flags == 1;
    let code = body.u8()?;
    let reason = match version {
        Version::V4 => ReasonCode::from_connack_return_code(code),
        Version::V5 => ReasonCode::from_byte(code).filter(|reason| reason.is_for(PacketType::ConnAck)),
    }
    .ok_or(DecodeError::protocol("reason code not allowed in this packet"))?;
    if session_present && reason != ReasonCode::Success {
        return Err(DecodeError::protocol("session present in a refusal [MQTT-3.2.2-6]"));
    }
    let properties = match version {
        Version::V4 => ConnAckProperties::default(),
        Version::V5 => connack_properties(Section::read(&mut body)?)?,
    };
    body.end()?;
    Ok(ConnAck { session_present, reason, properties })
}

fn connack_properties(mut section: Section<'_>) -> Result<ConnAckProperties<'_>, DecodeError> {
    let mut found = ConnAckProperties::default();
    while let Some(identifier) = section.next_id() {
        let values = &mut section.values;
        match identifier {
            id::SESSION_EXPIRY_INTERVAL => once(&mut found.session_expiry_secs, values.u32()?)?,
            id::RECEIVE_MAXIMUM => once(&mut found.receive_maximum, receive_maximum(values)?)?,
            id::MAXIMUM_QOS => {
                let qos = if values.flag()? { QoS::AtLeastOnce } else { QoS::AtMostOnce };
                once(&mut found.maximum_qos, qos)?;
            }
            id::RETAIN_AVAILABLE => once(&mut found.retain_available, values.flag()?)?,
            id::MAXIMUM_PACKET_SIZE => once(&mut found.maximum_packet_size, maximum_packet_size(values)?)?,
            id::ASSIGNED_CLIENT_IDENTIFIER => once(&mut found.assigned_client_id, values.text()?)?,
            id::TOPIC_ALIAS_MAXIMUM => once(&mut found.topic_alias_maximum, values.u16()?)?,
            id::REASON_STRING => once(&mut found.reason_string, values.text()?)?,
            id::WILDCARD_SUBSCRIPTION_AVAILABLE => {
                once(&mut found.wildcard_subscription_available, values.flag()?)?;
            }
            id::SUBSCRIPTION_IDENTIFIERS_AVAILABLE => {
                once(&mut found.subscription_ids_available, values.flag()?)?;
            }
            id::SHARED_SUBSCRIPTION_AVAILABLE => {
                once(&mut found.shared_subscription_available, values.flag()?)?;
            }
            id::SERVER_KEEP_ALIVE => once(&mut found.server_keep_alive_secs, values.u16()?)?,
            id::RESPONSE_INFORMATION => once(&mut found.response_information, values.text()?)?,
            id::SERVER_REFERENCE => once(&mut found.server_reference, values.text()?)?,
            id::AUTHENTICATION_METHOD => once(&mut found.authentication_method, values.text()?)?,
            id::AUTHENTICATION_DATA => once(&mut found.authentication_data, Secret(values.binary()?))?,
            id::USER_PROPERTY => section.user_property()?,
            _ => return not_allowed(),
        }
    }
    found.user_properties = section.user_properties();
    Ok(found)
}
