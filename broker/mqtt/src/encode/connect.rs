//! CONNECT and CONNACK.

use super::{EncodeError, framed, property, put_binary, put_string, with_length};
use crate::packet::{ConnAck, ConnAckProperties, Connect, ConnectProperties, PacketType, Version, Will};
use crate::properties::{forwardable, id, put_user_properties};

/// Appends a CONNECT of the version that it states.
pub fn connect(out: &mut Vec<u8>, packet: &Connect<'_>) -> Result<usize, EncodeError> {
    framed(out, PacketType::Connect.first_byte(), |out| {
        put_string(out, "MQTT")?;
        out.push(packet.version as u8);
        out.push(flags(packet));
        out.extend_from_slice(&packet.keep_alive_secs.to_be_bytes());
        if packet.version == Version::V5 {
            with_length(out, |out| connect_properties(out, &packet.properties))?;
        }
        put_string(out, packet.client_id)?;
        if let Some(will) = &packet.will {
            if packet.version == Version::V5 {
                with_length(out, |out| will_properties(out, will))?;
            }
            put_string(out, will.topic)?;
            put_binary(out, will.payload)?;
        }
        if let Some(user_name) = packet.user_name {
            put_string(out, user_name)?;
        }
        if let Some(password) = packet.password {
            put_binary(out, password.0)?;
        }
        Ok(())
    })
}

fn flags(packet: &Connect<'_>) -> u8 {
    let will = packet
        .will
        .as_ref()
        .map_or(0, |will| 0b0000_0100 | (will.qos as u8) << 3 | u8::from(will.retain) << 5);
    u8::from(packet.clean_start) << 1
        | will
        | u8::from(packet.password.is_some()) << 6
        | u8::from(packet.user_name.is_some()) << 7
}

fn connect_properties(out: &mut Vec<u8>, properties: &ConnectProperties<'_>) -> Result<(), EncodeError> {
    property::u32(out, id::SESSION_EXPIRY_INTERVAL, properties.session_expiry_secs);
    property::u16(out, id::RECEIVE_MAXIMUM, properties.receive_maximum);
    property::u32(out, id::MAXIMUM_PACKET_SIZE, properties.maximum_packet_size);
    property::u16(out, id::TOPIC_ALIAS_MAXIMUM, properties.topic_alias_maximum);
    property::flag(out, id::REQUEST_RESPONSE_INFORMATION, properties.request_response_information);
    property::flag(out, id::REQUEST_PROBLEM_INFORMATION, properties.request_problem_information);
    property::string(out, id::AUTHENTICATION_METHOD, properties.authentication_method)?;
    property::binary(out, id::AUTHENTICATION_DATA, properties.authentication_data.map(|data| data.0))?;
    put_user_properties(out, properties.user_properties)
}

fn will_properties(out: &mut Vec<u8>, will: &Will<'_>) -> Result<(), EncodeError> {
    property::u32(out, id::WILL_DELAY_INTERVAL, (will.delay_secs != 0).then_some(will.delay_secs));
    property::u32(out, id::MESSAGE_EXPIRY_INTERVAL, will.properties.message_expiry_secs);
    forwardable(&will.properties, out)
}

/// Appends a CONNACK.
///
/// In 3.1.1 the reason becomes its return code, 3 (server unavailable) where there is none; properties are left out.
pub fn connack(out: &mut Vec<u8>, version: Version, packet: &ConnAck<'_>) -> Result<usize, EncodeError> {
    framed(out, PacketType::ConnAck.first_byte(), |out| {
        out.push(packet.session_present.into());
        match version {
            Version::V4 => {
                out.push(packet.reason.connack_return_code().unwrap_or(3));
                Ok(())
            }
            Version::V5 => {
                out.push(packet.reason as u8);
                with_length(out, |out| connack_properties(out, &packet.properties))
            }
        }
    })
}

fn connack_properties(out: &mut Vec<u8>, properties: &ConnAckProperties<'_>) -> Result<(), EncodeError> {
    property::u32(out, id::SESSION_EXPIRY_INTERVAL, properties.session_expiry_secs);
    property::u16(out, id::RECEIVE_MAXIMUM, properties.receive_maximum);
    // QoS 2 is the default, and only 0 and 1 may be sent.
    let maximum_qos = properties.maximum_qos.map(|qos| qos as u8).filter(|&qos| qos < 2);
    property::byte(out, id::MAXIMUM_QOS, maximum_qos);
    property::flag(out, id::RETAIN_AVAILABLE, properties.retain_available);
    property::u32(out, id::MAXIMUM_PACKET_SIZE, properties.maximum_packet_size);
    property::string(out, id::ASSIGNED_CLIENT_IDENTIFIER, properties.assigned_client_id)?;
    property::u16(out, id::TOPIC_ALIAS_MAXIMUM, properties.topic_alias_maximum);
    property::string(out, id::REASON_STRING, properties.reason_string)?;
    put_user_properties(out, properties.user_properties)?;
    property::flag(out, id::WILDCARD_SUBSCRIPTION_AVAILABLE, properties.wildcard_subscription_available);
    property::flag(out, id::SUBSCRIPTION_IDENTIFIERS_AVAILABLE, properties.subscription_ids_available);
    property::flag(out, id::SHARED_SUBSCRIPTION_AVAILABLE, properties.shared_subscription_available);
    property::u16(out, id::SERVER_KEEP_ALIVE, properties.server_keep_alive_secs);
    property::string(out, id::RESPONSE_INFORMATION, properties.response_information)?;
    property::string(out, id::SERVER_REFERENCE, properties.server_reference)?;
    property::string(out, id::AUTHENTICATION_METHOD, properties.authentication_method)?;
    property::binary(out, id::AUTHENTICATION_DATA, properties.authentication_data.map(|data| data.0))
}
