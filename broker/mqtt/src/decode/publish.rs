//! PUBLISH: the packet that a broker reads most, in one pass and without allocation.

use super::reader::Reader;
use super::section::{Section, not_allowed, once};
use super::{DecodeError, Frame};
use crate::packet::{PacketType, Publish, PublishProperties, QoS, SubscriptionIds, Version};
use crate::properties::id;
use crate::reason::ReasonCode;

/// Reads a PUBLISH that came in a connection of `version`.
///
/// Subscription identifiers are read, for clients; a server refuses them `[MQTT-3.3.4-6]`. A topic alias is not zero
/// `[MQTT-3.3.2-8]`; whether it is in range is for the connection to say. Fails when `frame` is another packet.
#[inline]
pub fn publish<'a>(frame: Frame<'a>, version: Version) -> Result<Publish<'a>, DecodeError> {
    if frame.packet_type != PacketType::Publish {
        return Err(DecodeError::protocol("not a PUBLISH"));
    }
    let mut body = Reader::new(frame.body);
    let qos = QoS::from_bits(frame.first_byte >> 1 & 0b11)
        .ok_or(DecodeError::malformed("PUBLISH with QoS 3 [MQTT-3.3.1-4]"))?;
    let topic = body.topic()?;
    let packet_id = if qos == QoS::AtMostOnce { None } else { Some(body.packet_id()?) };
    let (properties, topic_alias) = match version {
        Version::V4 => (PublishProperties::default(), None),
        Version::V5 => publish_properties(&mut body)?,
    };
    if topic.is_empty() && topic_alias.is_none() {
        return Err(DecodeError::protocol("empty topic name without a topic alias [MQTT-4.7.3-1]"));
    }
    Ok(Publish {
        dup: frame.first_byte & 0b1000 != 0,
        qos,
        retain: frame.first_byte & 0b0001 != 0,
        topic,
        packet_id,
        topic_alias,
        properties,
        payload: body.rest(),
    })
}

/// Reads the bytes that [`crate::properties::forwardable`] wrote, from a log or another shard.
///
/// A message expiry interval and subscription identifiers are read too; a topic alias is malformed here.
pub fn forwarded_properties(section: &[u8]) -> Result<PublishProperties<'_>, DecodeError> {
    match message_properties(Section::of(section))? {
        (properties, None) => Ok(properties),
        (_, Some(_)) => not_allowed(),
    }
}

#[inline]
fn publish_properties<'a>(
    body: &mut Reader<'a>,
) -> Result<(PublishProperties<'a>, Option<u16>), DecodeError> {
    let section = Section::read(body)?;
    if section.values.is_empty() {
        return Ok((PublishProperties::default(), None));
    }
    message_properties(section)
}

fn message_properties(mut section: Section<'_>) -> Result<(PublishProperties<'_>, Option<u16>), DecodeError> {
    let mut found = PublishProperties::default();
    let mut topic_alias = None;
    let mut has_subscription_id = false;
    while let Some(identifier) = section.next_id() {
        match identifier {
            id::TOPIC_ALIAS => {
                let alias = section.values.u16()?;
                if alias == 0 {
                    return Err(DecodeError::protocol_as(
                        ReasonCode::TopicAliasInvalid,
                        "topic alias 0 [MQTT-3.3.2-8]",
                    ));
                }
                once(&mut topic_alias, alias)?;
            }
            id::SUBSCRIPTION_IDENTIFIER => {
                if section.values.varint()? == 0 {
                    return Err(DecodeError::protocol("subscription identifier 0"));
                }
                has_subscription_id = true;
            }
            other => message_property(&mut section, &mut found, other)?,
        }
    }
    found.user_properties = section.user_properties();
    if has_subscription_id {
        found.subscription_ids = SubscriptionIds { section: section.all() };
    }
    Ok((found, topic_alias))
}

/// Reads one property that a PUBLISH and a will have in common; fails on any other.
pub(super) fn message_property<'a>(
    section: &mut Section<'a>,
    found: &mut PublishProperties<'a>,
    identifier: u8,
) -> Result<(), DecodeError> {
    let values = &mut section.values;
    match identifier {
        id::PAYLOAD_FORMAT_INDICATOR => once(&mut found.payload_is_utf8, values.flag()?),
        id::MESSAGE_EXPIRY_INTERVAL => once(&mut found.message_expiry_secs, values.u32()?),
        id::CONTENT_TYPE => once(&mut found.content_type, values.text()?),
        id::RESPONSE_TOPIC => {
            let topic = values.response_topic()?;
            once(&mut found.response_topic, topic)
        }
        id::CORRELATION_DATA => once(&mut found.correlation_data, values.binary()?),
        id::USER_PROPERTY => section.user_property(),
        _ => not_allowed(),
    }
}
