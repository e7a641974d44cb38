//! A message before it is said, and the broker's word for it afterwards.

use bytes::Bytes;

/// A message to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Any bytes; UTF-8 text for people.
    pub payload: Bytes,
    /// Names the message, so that saying it again does not double it; `None` takes one that is unique.
    pub id: Option<String>,
    /// The number of the message that this one answers.
    pub reply_to: Option<u64>,
    /// MIME type; `None` is plain text.
    pub content_type: Option<String>,
    /// Further user properties, which others see. Not `seq`, `time` or `id`, which belong to the broker and the sdk.
    pub properties: Vec<(String, String)>,
}

impl Draft {
    /// Text, or any bytes.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), id: None, reply_to: None, content_type: None, properties: Vec::new() }
    }

    /// With an id.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// As an answer to a message.
    #[must_use]
    pub fn reply_to(mut self, seq: u64) -> Self {
        self.reply_to = Some(seq);
        self
    }
}

/// A message is on the broker's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Its number in the place; 0 where the broker does not number what was published.
    pub seq: u64,
    /// When the broker took it, in milliseconds since the Unix epoch; 0 where it does not say.
    pub time_ms: u64,
}
