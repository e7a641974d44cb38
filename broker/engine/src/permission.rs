//! Permission to publish and subscribe, decided in one place for every path: packets, wills, deliveries.

use crate::{Engine, access::Action, mutant::Mutant, session::Session};
use katydid_chat::{
    code::Code,
    topic::{self, Channel, Filter, ROOTS, Topic},
};
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

    /// What a filter means here to a user.
    pub(crate) fn classify_filter<'a>(&self, filter: &'a str, me: Option<&str>) -> Filter<'a> {
        if self.settings.rooms.enabled { topic::classify_filter(filter, me) } else { Filter::Plain }
    }

    /// Whether a client may publish to a topic now.
    pub(crate) fn permits_publish(&self, session: &Session, topic: &str) -> Result<(), ReasonCode> {
        let (account, client_id) = (session.account.as_deref(), &*session.client_id);
        match self.classify(topic) {
            Topic::Plain if self.settings.access.permits(account, client_id, Action::Write, topic) => Ok(()),
            // The sender is true: the topic names its publisher.
            Topic::Said(said)
                if said.channel != Channel::Post
                    && (session.is_called(said.from) || Mutant::ForgedSender.is_on()) =>
            {
                Ok(())
            }
            Topic::Profile { user } if account == Some(user) => Ok(()),
            Topic::Request { .. } if self.settings.rooms.enabled => Ok(()),
            _ => Err(ReasonCode::NotAuthorized),
        }
    }

    /// Why a client may not publish to a topic, where that is chat's to say.
    pub(crate) fn publish_code(&self, topic: &str) -> Option<Code> {
        match self.classify(topic) {
            // Posts go on a board by request, where its rules are; the broker tells of them.
            Topic::Said(said) if said.channel == Channel::Post => Some(Code::Reserved),
            Topic::Said(_) | Topic::Profile { .. } => Some(Code::NotSender),
            Topic::Reserved if ROOTS.contains(&topic.split('/').next().unwrap_or_default()) => {
                Some(Code::Reserved)
            }
            _ => None,
        }
    }

    /// Whether a client may subscribe to a filter now.
    pub(crate) fn permits_subscribe(&self, session: &Session, filter: &str) -> Result<(), ReasonCode> {
        let (account, client_id) = (session.account.as_deref(), &*session.client_id);
        match self.classify_filter(filter, session.name.as_deref()) {
            Filter::Plain if self.settings.access.permits(account, client_id, Action::Subscribe, filter) => {
                Ok(())
            }
            Filter::Place { .. } | Filter::Every { .. } | Filter::Own { .. } | Filter::Users => Ok(()),
            _ => Err(ReasonCode::NotAuthorized),
        }
    }
}
