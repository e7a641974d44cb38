//! Properties of MQTT 5.0 in their encoded form: the identifiers, the repeated ones as iterators, and what a server
//! forwards of a message.
//!
//! Knows the wire format of a properties section and no packet around it. Invariant: the bytes inside
//! [`UserProperties`] and [`SubscriptionIds`] were validated when they were read or written, so iterating never fails.

use std::fmt;

use crate::decode::reader::Reader;
use crate::encode::{EncodeError, put_binary, put_string};
use crate::packet::{PublishProperties, SubscriptionIds, UserProperties};
use crate::varint;

/// The property identifiers of section 2.2.2.2.
pub(crate) mod id {
    pub(crate) const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
    pub(crate) const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
    pub(crate) const CONTENT_TYPE: u8 = 0x03;
    pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
    pub(crate) const CORRELATION_DATA: u8 = 0x09;
    pub(crate) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
    pub(crate) const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
    pub(crate) const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
    pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(crate) const AUTHENTICATION_METHOD: u8 = 0x15;
    pub(crate) const AUTHENTICATION_DATA: u8 = 0x16;
    pub(crate) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub(crate) const WILL_DELAY_INTERVAL: u8 = 0x18;
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
    pub(crate) const WILDCARD_SUBSCRIPTION_AVAILABLE: u8 = 0x28;
    pub(crate) const SUBSCRIPTION_IDENTIFIERS_AVAILABLE: u8 = 0x29;
    pub(crate) const SHARED_SUBSCRIPTION_AVAILABLE: u8 = 0x2A;
}

/// Steps over the value of a PUBLISH property that stands between two wanted ones.
///
/// Only PUBLISH, CONNECT, CONNACK and the like mix user properties with others, so all identifiers are known here.
fn skip(values: &mut Reader<'_>, identifier: u8) -> Option<()> {
    match identifier {
        id::PAYLOAD_FORMAT_INDICATOR
        | id::REQUEST_PROBLEM_INFORMATION
        | id::REQUEST_RESPONSE_INFORMATION
        | id::MAXIMUM_QOS
        | id::RETAIN_AVAILABLE
        | id::WILDCARD_SUBSCRIPTION_AVAILABLE
        | id::SUBSCRIPTION_IDENTIFIERS_AVAILABLE
        | id::SHARED_SUBSCRIPTION_AVAILABLE => values.take(1).ok()?,
        id::SERVER_KEEP_ALIVE | id::RECEIVE_MAXIMUM | id::TOPIC_ALIAS_MAXIMUM | id::TOPIC_ALIAS => {
            values.take(2).ok()?
        }
        id::MESSAGE_EXPIRY_INTERVAL
        | id::SESSION_EXPIRY_INTERVAL
        | id::WILL_DELAY_INTERVAL
        | id::MAXIMUM_PACKET_SIZE => values.take(4).ok()?,
        id::SUBSCRIPTION_IDENTIFIER => {
            values.varint().ok()?;
            &[]
        }
        id::USER_PROPERTY => {
            values.binary().ok()?;
            values.binary().ok()?
        }
        _ => values.binary().ok()?,
    };
    Some(())
}

/// Iterates over the user properties of a packet: names and values in order.
#[derive(Debug, Clone)]
pub struct UserPropertiesIter<'a> {
    values: Reader<'a>,
}

impl<'a> Iterator for UserPropertiesIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let identifier = self.values.u8().ok()?;
            if identifier == id::USER_PROPERTY {
                return Some((self.values.text().ok()?, self.values.text().ok()?));
            }
            skip(&mut self.values, identifier)?;
        }
    }
}

impl<'a> UserProperties<'a> {
    /// Names and values in the order of the packet.
    pub fn iter(&self) -> UserPropertiesIter<'a> {
        UserPropertiesIter { values: Reader::new(self.section) }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.section.is_empty()
    }

    /// The value of the first user property called `name`.
    pub fn first(&self, name: &str) -> Option<&'a str> {
        self.iter().find_map(|(key, value)| (key == name).then_some(value))
    }
}

impl<'a> IntoIterator for UserProperties<'a> {
    type Item = (&'a str, &'a str);
    type IntoIter = UserPropertiesIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.section == other.section || self.iter().eq(other.iter())
    }
}

/// Shows the names; values may be passwords or what people say.
impl fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// Iterates over the subscription identifiers of a PUBLISH in order.
#[derive(Debug, Clone)]
pub struct SubscriptionIdsIter<'a> {
    values: Reader<'a>,
}

impl Iterator for SubscriptionIdsIter<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        loop {
            let identifier = self.values.u8().ok()?;
            if identifier == id::SUBSCRIPTION_IDENTIFIER {
                return self.values.varint().ok();
            }
            skip(&mut self.values, identifier)?;
        }
    }
}

impl<'a> SubscriptionIds<'a> {
    /// The identifiers in the order of the packet; none is zero.
    pub fn iter(&self) -> SubscriptionIdsIter<'a> {
        SubscriptionIdsIter { values: Reader::new(self.section) }
    }

    /// Whether there is none; a server closes on any from a client `[MQTT-3.3.4-6]`.
    pub fn is_empty(&self) -> bool {
        self.section.is_empty()
    }
}

impl<'a> IntoIterator for SubscriptionIds<'a> {
    type Item = u32;
    type IntoIter = SubscriptionIdsIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for SubscriptionIds<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for SubscriptionIds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// User properties that are being collected for a packet to send, in their encoded form.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserPropertiesBuf {
    bytes: Vec<u8>,
}

impl UserPropertiesBuf {
    /// None yet.
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Appends one; fails when a part is longer than 65,535 bytes or holds U+0000 `[MQTT-1.5.4-2]`.
    pub fn push(&mut self, name: &str, value: &str) -> Result<(), EncodeError> {
        put_user_property(&mut self.bytes, name, value)
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets what was collected and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// What was collected, as a packet holds it.
    pub fn borrowed(&self) -> UserProperties<'_> {
        UserProperties { section: &self.bytes }
    }

    /// The encoded properties, each with its identifier: what [`forwardable`] writes can be continued with them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for UserPropertiesBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrowed().fmt(f)
    }
}

/// Appends one encoded user property, and nothing when it fails: a part is longer than 65,535 bytes or holds U+0000.
pub fn put_user_property(out: &mut Vec<u8>, name: &str, value: &str) -> Result<(), EncodeError> {
    let start = out.len();
    out.push(id::USER_PROPERTY);
    let written = put_string(out, name).and_then(|()| put_string(out, value));
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Appends the properties that a server passes on with a message, in their encoded form.
///
/// Those are payload format `[MQTT-3.3.2-4]`, content type `[MQTT-3.3.2-20]`, response topic `[MQTT-3.3.2-15]`,
/// correlation data `[MQTT-3.3.2-16]` and the user properties in order `[MQTT-3.3.2-17]`, `[MQTT-3.3.2-18]`. Expiry,
/// topic alias and subscription identifiers are left out: they differ from one receiver to the next. Fails, with
/// nothing written, only on values that no packet can have held.
pub fn forwardable(properties: &PublishProperties<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    let written = put_forwardable(properties, out);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn put_forwardable(properties: &PublishProperties<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if let Some(is_utf8) = properties.payload_is_utf8 {
        out.extend_from_slice(&[id::PAYLOAD_FORMAT_INDICATOR, is_utf8.into()]);
    }
    if let Some(content_type) = properties.content_type {
        out.push(id::CONTENT_TYPE);
        put_string(out, content_type)?;
    }
    if let Some(response_topic) = properties.response_topic {
        out.push(id::RESPONSE_TOPIC);
        put_string(out, response_topic)?;
    }
    if let Some(correlation_data) = properties.correlation_data {
        out.push(id::CORRELATION_DATA);
        put_binary(out, correlation_data)?;
    }
    put_user_properties(out, properties.user_properties)
}

pub(crate) fn put_user_properties(out: &mut Vec<u8>, users: UserProperties<'_>) -> Result<(), EncodeError> {
    for (name, value) in users {
        put_user_property(out, name, value)?;
    }
    Ok(())
}

pub(crate) fn put_subscription_id(out: &mut Vec<u8>, subscription_id: u32) -> Result<(), EncodeError> {
    if subscription_id == 0 || subscription_id > varint::MAX {
        return Err(EncodeError::OutOfRange);
    }
    out.push(id::SUBSCRIPTION_IDENTIFIER);
    varint::put(out, subscription_id);
    Ok(())
}
