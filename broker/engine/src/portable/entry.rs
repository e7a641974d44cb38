//! A message as a line of an export, and back.
//!
//! Invariant: a message of a line is one that could have been published: its topic and its properties fit a packet.

use crate::message::{Message, Reader};
use katydid_chat::base64;
use katydid_mqtt::{
    packet::{Publish, PublishProperties, QoS},
    properties::UserPropertiesBuf,
};
use serde::{Deserialize, Serialize};

/// The last millisecond that RFC 3339 can say.
const LAST_MS: u64 = 253_402_300_799_999;

/// Bytes of a payload at most: what a PUBLISH can hold.
const PAYLOAD_BYTES: usize = 268_435_455;

/// Who published what comes from an export: no session of this broker.
const PUBLISHER: u64 = u64::MAX;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A message; `seq` and `time_ms` are 0 outside places.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct MessageLine {
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) seq: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) time_ms: u64,
    pub(super) topic: String,
    #[serde(default, skip_serializing_if = "is_default")]
    qos: u8,
    #[serde(default, skip_serializing_if = "is_default")]
    retain: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    expires_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    payload_is_utf8: Option<bool>,
    #[serde(default, skip_serializing_if = "is_default")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    response_topic: Option<String>,
    /// Base64.
    #[serde(default, skip_serializing_if = "is_default")]
    correlation: Option<String>,
    /// User properties, without `seq` and `time`.
    #[serde(default, skip_serializing_if = "is_default")]
    properties: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "is_default")]
    text: Option<String>,
    /// The payload where it is not UTF-8.
    #[serde(default, skip_serializing_if = "is_default")]
    base64: Option<String>,
    /// What was said was taken away.
    #[serde(default, skip_serializing_if = "is_default")]
    deleted: bool,
}

impl MessageLine {
    /// The line of a message.
    pub(super) fn of(message: &Message) -> Self {
        let mut line = Self {
            seq: message.seq,
            time_ms: message.time_ms,
            topic: message.topic().to_owned(),
            qos: message.qos as u8,
            retain: message.retain,
            expires_ms: message.expires_at_ms,
            deleted: message.is_deleted,
            ..Self::default()
        };
        if message.is_deleted {
            return line;
        }
        line.read_properties(message.properties());
        if message.seq != 0 {
            // They are made anew from the number and the time.
            line.properties.truncate(line.properties.len().saturating_sub(2));
        }
        match std::str::from_utf8(message.payload()) {
            Ok(text) => line.text = Some(text.to_owned()),
            Err(_) => line.base64 = Some(base64::encode(message.payload())),
        }
        line
    }

    fn read_properties(&mut self, properties: &[u8]) -> Option<()> {
        let mut reader = Reader(properties);
        while let Some(kind) = reader.byte() {
            match kind {
                0x01 => self.payload_is_utf8 = Some(reader.byte()? != 0),
                0x03 => self.content_type = Some(reader.text()?.to_owned()),
                0x08 => self.response_topic = Some(reader.text()?.to_owned()),
                0x09 => {
                    let length = reader.u16()?;
                    self.correlation = Some(base64::encode(reader.take(usize::from(length))?));
                }
                0x26 => self.properties.push((reader.text()?.to_owned(), reader.text()?.to_owned())),
                _ => return None,
            }
        }
        Some(())
    }

    /// The message of a line.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn message(&self) -> Result<Message, String> {
        let qos = match self.qos {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            2 => QoS::ExactlyOnce,
            _ => return Err("a QoS above 2".into()),
        };
        let is_topic = katydid_mqtt::topic::TopicName::parse(&self.topic).is_ok();
        if !is_topic {
            return Err("topic: none that a message can have".into());
        }
        if self.time_ms > LAST_MS || self.expires_ms.is_some_and(|at| at > LAST_MS) {
            return Err("a time after the year 9999".into());
        }
        let payload = match (&self.text, &self.base64, self.deleted) {
            (Some(text), None, false) => text.as_bytes().to_vec(),
            (None, Some(text), false) => {
                let bytes = base64::decode(text).ok_or("base64: it is none")?;
                if std::str::from_utf8(&bytes).is_ok() {
                    return Err("base64: UTF-8 is written as text".into());
                }
                bytes
            }
            (None, None, true) => Vec::new(),
            _ => return Err("one of text, base64 and deleted is needed".into()),
        };
        if payload.len() > PAYLOAD_BYTES {
            return Err("a payload that is too long".into());
        }
        let correlation = self.correlation.as_deref();
        let correlation = correlation.map(|text| base64::decode(text).ok_or("correlation: no base64"));
        let correlation = correlation.transpose()?;
        let mut users = UserPropertiesBuf::new();
        for (name, value) in &self.properties {
            users.push(name, value).map_err(|_| "properties: too long, or with U+0000")?;
        }
        let properties = PublishProperties {
            payload_is_utf8: self.payload_is_utf8,
            content_type: self.content_type.as_deref(),
            response_topic: self.response_topic.as_deref(),
            correlation_data: correlation.as_deref(),
            user_properties: users.borrowed(),
            ..PublishProperties::default()
        };
        let mut forwarded = Vec::new();
        katydid_mqtt::properties::forwardable(&properties, &mut forwarded)
            .map_err(|_| "a property that is too long, or with U+0000")?;
        let publish = Publish {
            dup: false,
            qos,
            retain: self.retain,
            topic: &self.topic,
            packet_id: None,
            topic_alias: None,
            properties,
            payload: &payload,
        };
        let now = crate::io::Now { mono_ms: 0, unix_ms: 0 };
        let message = Message::from_publish(&publish, &self.topic, PUBLISHER, now).expiring(self.expires_ms);
        if self.seq == 0 {
            return Ok(message);
        }
        let numbered = message.numbered(self.seq, self.time_ms);
        Ok(if self.deleted { numbered.deleted() } else { numbered })
    }
}
