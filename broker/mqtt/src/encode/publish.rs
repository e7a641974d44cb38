//! PUBLISH: from a decoded packet, and from the parts that a broker keeps of one.

use super::{EncodeError, framed, property, put_string, with_length};
use crate::packet::{PacketId, PacketType, Publish, PublishProperties, QoS, Version};
use crate::properties::{forwardable, id, put_subscription_id};
use crate::varint;

/// The first byte of a PUBLISH.
#[inline]
pub const fn publish_first_byte(dup: bool, qos: QoS, retain: bool) -> u8 {
    (PacketType::Publish as u8) << 4 | (dup as u8) << 3 | (qos as u8) << 1 | retain as u8
}

/// Appends a PUBLISH; 3.1.1 leaves out topic alias and properties.
pub fn publish(out: &mut Vec<u8>, version: Version, packet: &Publish<'_>) -> Result<usize, EncodeError> {
    if packet.packet_id.is_some() != (packet.qos != QoS::AtMostOnce) {
        return Err(EncodeError::PacketId);
    }
    framed(out, publish_first_byte(packet.dup, packet.qos, packet.retain), |out| {
        put_string(out, packet.topic)?;
        if let Some(packet_id) = packet.packet_id {
            out.extend_from_slice(&packet_id.get().to_be_bytes());
        }
        if version == Version::V5 {
            with_length(out, |out| publish_properties(out, packet.topic_alias, &packet.properties))?;
        }
        out.extend_from_slice(packet.payload);
        Ok(())
    })
}

fn publish_properties(
    out: &mut Vec<u8>,
    topic_alias: Option<u16>,
    properties: &PublishProperties<'_>,
) -> Result<(), EncodeError> {
    property::u32(out, id::MESSAGE_EXPIRY_INTERVAL, properties.message_expiry_secs);
    property::u16(out, id::TOPIC_ALIAS, topic_alias);
    for subscription_id in properties.subscription_ids {
        put_subscription_id(out, subscription_id)?;
    }
    forwardable(properties, out)
}

/// A PUBLISH to one receiver, from the parts that a broker keeps of a message.
///
/// The parts are taken as they are: they were validated when the message came in. Everything that differs between
/// receivers is a field of its own, so that the rest is shared by all of them.
#[derive(Clone, Copy)]
pub struct PublishParts<'a> {
    /// Type and flags, from [`publish_first_byte`].
    pub first_byte: u8,
    /// Topic name; empty only together with a topic alias.
    pub topic: &'a [u8],
    /// Present exactly when the first byte says QoS 1 or 2; a placeholder will do where it is patched in later.
    pub packet_id: Option<PacketId>,
    /// Topic alias; 5.0 only.
    pub topic_alias: Option<u16>,
    /// What is left of the message expiry interval, in seconds; 5.0 only.
    pub expiry_secs: Option<u32>,
    /// Identifiers of the subscriptions that match, each 1 to 268,435,455; 5.0 only.
    pub subscription_ids: &'a [u32],
    /// The properties that are passed on, as [`forwardable`] writes them; 5.0 only.
    pub forwarded: &'a [u8],
    /// Payload.
    pub payload: &'a [u8],
}

/// Where things are in an encoded PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishLayout {
    /// Bytes of the whole packet, its payload included whether it was written or not.
    pub len: usize,
    /// Offset of the two bytes of the packet identifier from the packet's first byte; QoS 1 and 2 only.
    pub packet_id_at: Option<usize>,
}

impl PublishParts<'_> {
    /// Bytes of the whole packet, to compare with the receiver's maximum packet size `[MQTT-3.1.2-24]`; `None` when
    /// it is too long for MQTT.
    #[inline]
    pub fn encoded_len(&self, version: Version) -> Option<usize> {
        let remaining = self.remaining_len(version)?;
        Some(1 + varint::len(remaining) + remaining as usize)
    }

    /// Appends the whole packet.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>, version: Version) -> Result<PublishLayout, EncodeError> {
        let len = self.encoded_len(version).ok_or(EncodeError::TooLong)?;
        out.reserve(len);
        let layout = self.encode_head(out, version)?;
        out.extend_from_slice(self.payload);
        Ok(layout)
    }

    /// Appends everything but the payload, for a caller that sends the payload from where it is.
    #[inline]
    pub fn encode_head(&self, out: &mut Vec<u8>, version: Version) -> Result<PublishLayout, EncodeError> {
        if self.packet_id.is_some() != (self.first_byte & 0b0110 != 0) {
            return Err(EncodeError::PacketId);
        }
        if self.subscription_ids.iter().any(|&value| value == 0 || value > varint::MAX) {
            return Err(EncodeError::OutOfRange);
        }
        let remaining = self.remaining_len(version).ok_or(EncodeError::TooLong)?;
        let topic_len = u16::try_from(self.topic.len()).map_err(|_| EncodeError::TooLong)?;
        let start = out.len();
        out.push(self.first_byte);
        varint::put(out, remaining);
        out.extend_from_slice(&topic_len.to_be_bytes());
        out.extend_from_slice(self.topic);
        let packet_id_at = self.packet_id.map(|packet_id| {
            let at = out.len() - start;
            out.extend_from_slice(&packet_id.get().to_be_bytes());
            at
        });
        if version == Version::V5 {
            self.put_properties(out)?;
        }
        Ok(PublishLayout { len: 1 + varint::len(remaining) + remaining as usize, packet_id_at })
    }

    #[inline]
    fn put_properties(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let length = u32::try_from(self.properties_len()).map_err(|_| EncodeError::TooLong)?;
        varint::put(out, length);
        property::u32(out, id::MESSAGE_EXPIRY_INTERVAL, self.expiry_secs);
        property::u16(out, id::TOPIC_ALIAS, self.topic_alias);
        for &subscription_id in self.subscription_ids {
            put_subscription_id(out, subscription_id)?;
        }
        out.extend_from_slice(self.forwarded);
        Ok(())
    }

    #[inline]
    fn properties_len(&self) -> usize {
        let expiry = if self.expiry_secs.is_some() { 5 } else { 0 };
        let alias = if self.topic_alias.is_some() { 3 } else { 0 };
        let ids: usize = self.subscription_ids.iter().map(|&value| 1 + varint::len(value)).sum();
        expiry + alias + ids + self.forwarded.len()
    }

    #[inline]
    fn remaining_len(&self, version: Version) -> Option<u32> {
        let mut len =
            2 + self.topic.len() + if self.packet_id.is_some() { 2 } else { 0 } + self.payload.len();
        if version == Version::V5 {
            let properties = u32::try_from(self.properties_len()).ok().filter(|&len| len <= varint::MAX)?;
            len += varint::len(properties) + properties as usize;
        }
        u32::try_from(len).ok().filter(|&len| len <= varint::MAX)
    }
}
