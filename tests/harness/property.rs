//! The properties of MQTT 5.0, section 2.2.2, written and read for tests.
//!
//! Owns the table of identifiers, their shapes and the packets that may carry them. Knows nothing of sockets.
//! Invariant: a property read from the broker stands in a packet where the standard allows it, and once unless it may
//! repeat; anything else panics with the packet's name. Driven by `packet`.

use super::packet::{Reader, put_bytes, put_variable};

/// One property: identifier and value.
pub(crate) type Property = (u8, Value);

/// The value of a property, in the seven shapes of section 2.2.2.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Byte(u8),
    Two(u16),
    Four(u32),
    Variable(u32),
    Binary(Vec<u8>),
    Text(String),
    Pair(String, String),
}

pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
pub(crate) const CONTENT_TYPE: u8 = 0x03;
pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
pub(crate) const CORRELATION_DATA: u8 = 0x09;
pub(crate) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
pub(crate) const SESSION_EXPIRY: u8 = 0x11;
pub(crate) const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
pub(crate) const AUTHENTICATION_METHOD: u8 = 0x15;
pub(crate) const AUTHENTICATION_DATA: u8 = 0x16;
pub(crate) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
pub(crate) const WILL_DELAY: u8 = 0x18;
pub(crate) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
pub(crate) const RESPONSE_INFORMATION: u8 = 0x1A;
pub(crate) const SERVER_REFERENCE: u8 = 0x1C;
pub(crate) const REASON_STRING: u8 = 0x1F;
pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(crate) const TOPIC_ALIAS: u8 = 0x23;
pub(crate) const MAXIMUM_QOS: u8 = 0x24;
pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
pub(crate) const USER_PROPERTY: u8 = 0x26;
pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
pub(crate) const WILDCARD_AVAILABLE: u8 = 0x28;
pub(crate) const SUBSCRIPTION_IDENTIFIERS_AVAILABLE: u8 = 0x29;
pub(crate) const SHARED_AVAILABLE: u8 = 0x2A;

pub(crate) fn payload_format(value: u8) -> Property {
    (PAYLOAD_FORMAT, Value::Byte(value))
}
pub(crate) fn message_expiry_secs(value: u32) -> Property {
    (MESSAGE_EXPIRY, Value::Four(value))
}
pub(crate) fn content_type(value: &str) -> Property {
    (CONTENT_TYPE, Value::Text(value.into()))
}
pub(crate) fn response_topic(value: &str) -> Property {
    (RESPONSE_TOPIC, Value::Text(value.into()))
}
pub(crate) fn correlation_data(value: &[u8]) -> Property {
    (CORRELATION_DATA, Value::Binary(value.into()))
}
pub(crate) fn subscription_identifier(value: u32) -> Property {
    (SUBSCRIPTION_IDENTIFIER, Value::Variable(value))
}
pub(crate) fn session_expiry_secs(value: u32) -> Property {
    (SESSION_EXPIRY, Value::Four(value))
}
pub(crate) fn authentication_method(value: &str) -> Property {
    (AUTHENTICATION_METHOD, Value::Text(value.into()))
}
pub(crate) fn authentication_data(value: &[u8]) -> Property {
    (AUTHENTICATION_DATA, Value::Binary(value.into()))
}
pub(crate) fn request_problem_information(value: u8) -> Property {
    (REQUEST_PROBLEM_INFORMATION, Value::Byte(value))
}
pub(crate) fn will_delay_secs(value: u32) -> Property {
    (WILL_DELAY, Value::Four(value))
}
pub(crate) fn receive_maximum(value: u16) -> Property {
    (RECEIVE_MAXIMUM, Value::Two(value))
}
pub(crate) fn topic_alias_maximum(value: u16) -> Property {
    (TOPIC_ALIAS_MAXIMUM, Value::Two(value))
}
pub(crate) fn topic_alias(value: u16) -> Property {
    (TOPIC_ALIAS, Value::Two(value))
}
pub(crate) fn maximum_packet_size(value: u32) -> Property {
    (MAXIMUM_PACKET_SIZE, Value::Four(value))
}
pub(crate) fn reason_string(value: &str) -> Property {
    (REASON_STRING, Value::Text(value.into()))
}
pub(crate) fn user(name: &str, value: &str) -> Property {
    (USER_PROPERTY, Value::Pair(name.into(), value.into()))
}

/// The value of the first property with that identifier.
pub(crate) fn find(list: &[Property], id: u8) -> Option<&Value> {
    list.iter().find(|(each, _)| *each == id).map(|(_, value)| value)
}

/// The values of all properties with that identifier, in order.
pub(crate) fn all(list: &[Property], id: u8) -> Vec<&Value> {
    list.iter().filter(|(each, _)| *each == id).map(|(_, value)| value).collect()
}

/// The bytes of a property list with its length in front.
pub(crate) fn encode(list: &[Property]) -> Vec<u8> {
    let mut body = Vec::new();
    for (id, value) in list {
        body.push(*id);
        match value {
            Value::Byte(value) => body.push(*value),
            Value::Two(value) => body.extend(value.to_be_bytes()),
            Value::Four(value) => body.extend(value.to_be_bytes()),
            Value::Variable(value) => put_variable(&mut body, *value),
            Value::Binary(value) => put_bytes(&mut body, value),
            Value::Text(value) => put_bytes(&mut body, value.as_bytes()),
            Value::Pair(name, value) => {
                put_bytes(&mut body, name.as_bytes());
                put_bytes(&mut body, value.as_bytes());
            }
        }
    }
    let mut out = Vec::new();
    put_variable(&mut out, body.len() as u32);
    out.extend(body);
    out
}

/// Reads a property list of a packet from the broker and checks that each property may stand there.
pub(super) fn decode(reader: &mut Reader<'_>, packet: &str) -> Vec<Property> {
    let len = reader.variable() as usize;
    let mut reader = Reader(reader.take(len));
    let mut list: Vec<Property> = Vec::new();
    while !reader.0.is_empty() {
        let id = reader.byte();
        assert!(allowed(id, packet), "{packet} from the broker carries property {id:#04x}");
        let repeatable = id == USER_PROPERTY || (id == SUBSCRIPTION_IDENTIFIER && packet == "PUBLISH");
        assert!(repeatable || find(&list, id).is_none(), "{packet} carries property {id:#04x} twice");
        let value = match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => Value::Byte(reader.byte()),
            0x13 | 0x21 | 0x22 | 0x23 => Value::Two(reader.two()),
            0x02 | 0x11 | 0x18 | 0x27 => Value::Four(reader.four()),
            0x0B => Value::Variable(reader.variable()),
            0x09 | 0x16 => Value::Binary(reader.bytes().to_vec()),
            0x03 | 0x08 | 0x12 | 0x15 | 0x1A | 0x1C | 0x1F => Value::Text(reader.text()),
            0x26 => Value::Pair(reader.text(), reader.text()),
            _ => panic!("{packet} carries the unknown property {id:#04x}"),
        };
        list.push((id, value));
    }
    list
}

/// Table 2-4, the packets that a server sends.
fn allowed(id: u8, packet: &str) -> bool {
    let packets: &[&str] = match id {
        0x01 | 0x02 | 0x03 | 0x08 | 0x09 | 0x0B | 0x23 => &["PUBLISH"],
        // [MQTT-3.14.2-2]: the session expiry is not for a server's DISCONNECT.
        0x11..=0x13 | 0x1A | 0x21 | 0x22 | 0x24 | 0x25 | 0x27 | 0x28 | 0x29 | 0x2A => &["CONNACK"],
        0x15 | 0x16 => &["CONNACK", "AUTH"],
        0x1C => &["CONNACK", "DISCONNECT"],
        0x1F => &["CONNACK", "ACK", "SUBACK", "UNSUBACK", "DISCONNECT", "AUTH"],
        0x26 => &["CONNACK", "PUBLISH", "ACK", "SUBACK", "UNSUBACK", "DISCONNECT", "AUTH"],
        _ => &[],
    };
    packets.contains(&packet)
}
