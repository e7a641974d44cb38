//! Permission to publish and subscribe, decided in one place for every path: packets, wills, deliveries.

use crate::{Engine, access::Action, mutant::Mutant};
use katydid_chat::topic::{self, Filter, Topic};
use katydid_mqtt::reason::ReasonCode;

impl Engine {
    /// What a topic means here: everything is plain where rooms are off, except `$` topics.
    pub(crate) fn classify<'a>(&self, topic: &'a str) -> Topic<'a> {
        if self.settings.rooms.enabled || topic.starts_with('$') {
            topic::classify(topic)
        } else {
            Topic::Plain
        }
    }

    /// What a filter means here.
    pub(crate) fn classify_filter<'a>(&self, filter: &'a str) -> Filter<'a> {
        if self.settings.rooms.enabled { topic::classify_filter(filter) } else { Filter::Plain }
    }

    /// Whether a client may publish to a topic now.
    pub(crate) fn permits_publish(
        &self,
        account: Option<&str>,
        client_id: &str,
        topic: &str,
    ) -> Result<(), ReasonCode> {
        match self.classify(topic) {
            Topic::Plain if self.settings.access.permits(account, client_id, Action::Write, topic) => Ok(()),
            // The sender is true: the topic names its publisher.
            Topic::Room(said) if account == Some(said.from) || Mutant::ForgedSender.is_on() => Ok(()),
            _ => Err(ReasonCode::NotAuthorized),
        }
    }

    /// Whether a client may subscribe to a filter now.
    pub(crate) fn permits_subscribe(
        &self,
        account: Option<&str>,
        client_id: &str,
        filter: &str,
    ) -> Result<(), ReasonCode> {
        match self.classify_filter(filter) {
            Filter::Plain if self.settings.access.permits(account, client_id, Action::Subscribe, filter) => {
                Ok(())
            }
            Filter::Room { .. } | Filter::EveryRoom { .. } => Ok(()),
            _ => Err(ReasonCode::NotAuthorized),
        }
    }
}
