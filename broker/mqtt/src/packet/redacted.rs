//! `Debug` of what carries people's words: lengths stand in place of payloads and correlation data.

use std::fmt;

use super::{Publish, PublishProperties, Will};

/// Bytes of which only their number shows.
struct Bytes(usize);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

impl fmt::Debug for Publish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("dup", &self.dup)
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("topic", &self.topic)
            .field("packet_id", &self.packet_id)
            .field("topic_alias", &self.topic_alias)
            .field("properties", &self.properties)
            .field("payload", &Bytes(self.payload.len()))
            .finish()
    }
}

impl fmt::Debug for Will<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Will")
            .field("topic", &self.topic)
            .field("payload", &Bytes(self.payload.len()))
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("delay_secs", &self.delay_secs)
            .field("properties", &self.properties)
            .finish()
    }
}

impl fmt::Debug for PublishProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishProperties")
            .field("payload_is_utf8", &self.payload_is_utf8)
            .field("message_expiry_secs", &self.message_expiry_secs)
            .field("content_type", &self.content_type)
            .field("response_topic", &self.response_topic)
            .field("correlation_data", &self.correlation_data.map(|data| Bytes(data.len())))
            .field("user_properties", &self.user_properties)
            .field("subscription_ids", &self.subscription_ids)
            .finish()
    }
}
