//! Requests: PUBLISH to `$chat/...`, and the answers to them.

use super::{Asked, Asker};
use crate::{
    Engine,
    acks::Outcome,
    crossing::AnswerTo,
    deliver::Grant,
    message::{Message, Shared},
};
use katydid_chat::{
    code::Code,
    directory::Command,
    topic::{self, Filter as ChatFilter},
};
use katydid_mqtt::{
    packet::{Publish, QoS},
    topic::matches,
};
use std::sync::Arc;

/// An answer's payload in bytes at most, where the client does not say.
pub(super) const ANSWER_BYTES: usize = 256 << 10;
/// What a PUBLISH with an answer has beside topic, Correlation Data and payload, at most.
const FRAME_BYTES: usize = 64;
/// The longest body of a request that the directory is shown: it refuses one that is over its limit by itself.
const BODY_BYTES: usize = (64 << 10) + 1;

impl Engine {
    /// Takes a request: what the acknowledgement says of it.
    pub(crate) fn request(&mut self, index: u32, slot: u32, verb: &str, publish: &Publish<'_>) -> Outcome {
        self.introduce(index);
        let Some(session) = self.sessions.peek(index) else { return Outcome::SUCCESS };
        let Some(me) = session.name.clone() else { return Outcome::SUCCESS };
        let id = session.id;
        let topic: Arc<str> = match publish.properties.response_topic {
            Some(topic) if !topic::is_reply_of(topic, &me) => return Outcome::denied(Code::ResponseTopic),
            Some(topic) => topic.into(),
            None => format!("user/{me}/reply").into(),
        };
        let data = publish.properties.correlation_data;
        let correlation = data.map(Box::from);
        let taken = topic.len() + data.map_or(0, <[u8]>::len) + FRAME_BYTES;
        let packet_bytes = self.links.by_slot(slot).map_or(u32::MAX, |link| link.packet_bytes) as usize;
        let bytes = packet_bytes.saturating_sub(taken).min(ANSWER_BYTES);
        let to = AnswerTo { shard: self.shard, index, session: id, topic, correlation };
        let body = publish.payload.get(..BODY_BYTES).unwrap_or(publish.payload).into();
        self.ask(Asked::Request { verb: verb.into(), body, to, bytes });
        Outcome::SUCCESS
    }

    /// The operator asks for something.
    pub(crate) fn operate(&mut self, ticket: u64, verb: &str, body: &[u8]) {
        let Some(desk) = self.desk.as_deref_mut() else { return };
        let ticket = desk.askers.insert(Asker::Operate { ticket }) as u64;
        self.command(Command::Operate { ticket, verb, body });
    }

    /// An answer for a session of this shard: it gets it where one of its subscriptions is for answers.
    pub(crate) fn deliver_answer(&mut self, to: &AnswerTo, payload: &str) {
        let Some(session) = self.sessions.peek(to.index).filter(|session| session.id == to.session) else {
            return;
        };
        let me = session.name.as_deref();
        let mut qos = None;
        let mut ids = Vec::new();
        for subscription in session.subscriptions.within("user/") {
            if let ChatFilter::Own { filter } = topic::classify_filter(&subscription.filter, me)
                && matches(&filter, &to.topic)
            {
                qos = qos.max(Some(subscription.options.qos));
                ids.extend((subscription.id != 0).then_some(subscription.id));
            }
        }
        let Some(qos) = qos else { return };
        let message: Shared =
            Arc::new(Message::answer(&to.topic, payload.as_bytes(), to.correlation.as_deref()));
        let (_, mut delivering) = self.delivering();
        delivering.templates.reset();
        delivering.offer(
            to.index,
            &message,
            Grant { qos: qos.min(QoS::AtLeastOnce), retain: false, ids: &ids },
        );
    }
}
