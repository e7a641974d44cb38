//! The rules of one connection that outlive a packet: topic aliases and keep alive.
//!
//! [`TopicAliases`] owns the names that the client gave to topics; [`KeepAlive`] knows when the client has been silent
//! for too long. Neither knows the network or the clock: the caller brings packets and times. Invariant: nothing here
//! survives the connection `[MQTT-3.3.2-7]`, and a connection that uses no alias holds no memory for them.

#[cfg(test)]
mod tests;

use crate::reason::ReasonCode;

/// The topics that a client gave short numbers to; MQTT 5.0, section 3.3.2.3.4.
#[derive(Debug, Clone, Default)]
pub struct TopicAliases {
    /// Ascending by number; as long as the aliases that were set, whatever numbers they have.
    topics: Vec<(u16, Box<str>)>,
}

impl TopicAliases {
    /// No alias set.
    pub const fn new() -> Self {
        Self { topics: Vec::new() }
    }

    /// The topic of a PUBLISH with this `topic` and `alias`; `maximum` is the Topic Alias Maximum that the client was
    /// told, 0 where it was told none.
    ///
    /// A topic with an alias sets the alias `[MQTT-3.3.2-12]`; an alias alone stands for the topic it was set to.
    ///
    /// # Errors
    /// 0x94 for alias 0 `[MQTT-3.3.2-8]` and one above the maximum `[MQTT-3.3.2-9]`; 0x82 for an alias that was not set
    /// and for no topic at all.
    pub fn resolve<'a>(
        &'a mut self,
        alias: Option<u16>,
        topic: &'a str,
        maximum: u16,
    ) -> Result<&'a str, ReasonCode> {
        let Some(alias) = alias else {
            return if topic.is_empty() { Err(ReasonCode::ProtocolError) } else { Ok(topic) };
        };
        if alias == 0 || alias > maximum {
            return Err(ReasonCode::TopicAliasInvalid);
        }
        match self.topics.binary_search_by_key(&alias, |(number, _)| *number) {
            Ok(at) if topic.is_empty() => Ok(&self.topics[at].1),
            Err(_) if topic.is_empty() => Err(ReasonCode::ProtocolError),
            Ok(at) => {
                if *self.topics[at].1 != *topic {
                    self.topics[at].1 = topic.into();
                }
                Ok(topic)
            }
            Err(at) => {
                self.topics.insert(at, (alias, topic.into()));
                Ok(topic)
            }
        }
    }

    /// Aliases that are set.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }
}

/// How long a client may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeepAlive {
    interval_secs: u16,
}

impl KeepAlive {
    /// The keep alive of a CONNECT, or the Server Keep Alive that answered it `[MQTT-3.1.2-21]`; 0 turns it off.
    pub const fn new(interval_secs: u16) -> Self {
        Self { interval_secs }
    }

    /// When a connection that last received a packet at `last_received_ms` is closed, as if the network had failed:
    /// one and a half times the interval later `[MQTT-3.1.2-22]`. Never where keep alive is off.
    pub fn deadline(self, last_received_ms: u64) -> Option<u64> {
        let allowed_ms = u64::from(self.interval_secs) * 1500;
        (allowed_ms > 0).then(|| last_received_ms.saturating_add(allowed_ms))
    }
}
