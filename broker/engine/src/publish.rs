//! A client's PUBLISH: checked, permitted, and routed; its acknowledgement leaves in its turn.

use crate::{
    Engine,
    acks::{AckToken, Outcome},
    crossing::{By, Crossing, Mark, Reply},
    io::{ConnId, Output, ShardMessage},
    link::Pause,
    message::Message,
    receive::Fault,
    session::Arriving,
    timers::Timer,
};
use katydid_chat::{code::Code, topic::Topic};
use katydid_mqtt::{
    encode,
    packet::{Ack, PacketType, Publish, PublishProperties, QoS, UserProperties, Version},
    properties::UserPropertiesBuf,
    reason::ReasonCode,
    session::Receipt,
};
use std::sync::Arc;

/// How many acknowledgements a client may be owed before it is not read any more, in times of its Receive Maximum.
const OWED_MAX: usize = 4;

impl Engine {
    pub(crate) fn on_publish(
        &mut self,
        conn: ConnId,
        index: u32,
        publish: &Publish<'_>,
    ) -> Result<(), Fault> {
        self.links.counters.publishes_received += 1;
        self.links.counters.publish_bytes_received += publish.payload.len() as u64;
        if !publish.properties.subscription_ids.is_empty() {
            return Err(Fault(
                ReasonCode::ProtocolError,
                "a subscription identifier from a client [MQTT-3.3.4-6]",
            ));
        }
        self.hold_rate(conn);
        let maximum = self.settings.limits.topic_aliases;
        let Some(link) = self.links.by_conn(conn) else { return Ok(()) };
        let version = link.version;
        let topic = match publish.topic_alias {
            None => std::borrow::Cow::Borrowed(publish.topic),
            Some(alias) => {
                let resolved = link.aliases.resolve(Some(alias), publish.topic, maximum);
                let topic = resolved.map_err(|reason| Fault(reason, "topic alias [MQTT-3.3.2-8]"))?;
                std::borrow::Cow::Owned(topic.to_owned())
            }
        };
        if publish.qos == QoS::AtMostOnce && !is_as_stated(&publish.properties, publish.payload) {
            self.links.counters.refused_payloads += 1;
            // No acknowledgement could say it, section 3.3.2.3.2.
            return Err(Fault(ReasonCode::PayloadFormatInvalid, "a payload that is not the UTF-8 it says"));
        }
        let Some(token) = self.register(conn, index, version, publish)? else { return Ok(()) };
        let Some(session) = self.sessions.peek(index) else { return Ok(()) };
        let refused = self.refuses_publish(session, publish, &topic);
        if let Some(reason) = refused {
            if let (Version::V5, Some(id), Some(session)) =
                (version, publish.packet_id, self.sessions.by_index(index))
                && publish.qos == QoS::ExactlyOnce
            {
                // It is not taken in: sent again, it is refused again.
                session.inbound.acknowledged(QoS::ExactlyOnce, id);
            }
            match self.publish_code(&topic).filter(|_| reason == ReasonCode::NotAuthorized) {
                Some(code) => self.deny_publish(conn, index, (publish, &topic), token, code),
                None => self.refuse_publish(token, reason),
            }
            return Ok(());
        }
        let needs_mark = publish.qos == QoS::ExactlyOnce && session.is_on_disk && self.journal.is_on();
        let mark = publish
            .packet_id
            .filter(|_| needs_mark)
            .map(|id| Mark { session: session.id, packet_id: id.get() });
        let message = Message::from_publish(publish, &topic, session.id, self.now);
        let by = By::User { kind: session.kind, is_deaf: version == Version::V4 };
        let is_stranger = session.name.is_none();
        match self.classify(&topic) {
            Topic::Request { verb } => {
                let outcome = self.request(index, conn.slot, verb, publish);
                match (outcome.code, token.0) {
                    (Some(code), _) => self.deny_publish(conn, index, (publish, &topic), token, code),
                    (None, Some(token)) => self.settle_ack(token, outcome),
                    (None, None) => {}
                }
            }
            meaning => {
                if is_stranger && matches!(meaning, Topic::Said(_) | Topic::Profile { .. }) {
                    self.introduce(index);
                }
                self.route(Arc::new(message), token.0, mark, by);
            }
        }
        Ok(())
    }

    /// Takes a QoS 1 or 2 message in: `None` when it is one that was taken in before.
    fn register(
        &mut self,
        conn: ConnId,
        index: u32,
        version: Version,
        publish: &Publish<'_>,
    ) -> Result<Option<Registered>, Fault> {
        let Some(packet_id) = publish.packet_id else { return Ok(Some(Registered(None))) };
        let Some(session) = self.sessions.by_index(index) else { return Ok(None) };
        // 3.1.1 has no Receive Maximum: its clients are held back by not being read.
        let maximum = if version == Version::V5 { self.settings.limits.receive_maximum } else { u16::MAX };
        let receipt = session
            .inbound
            .receive(publish.qos, packet_id, maximum)
            .map_err(|_| Fault(ReasonCode::ReceiveMaximumExceeded, "more than Receive Maximum in flight"))?;
        let Some(link) = self.links.by_conn(conn) else { return Ok(None) };
        let is_rec = publish.qos == QoS::ExactlyOnce;
        if receipt == Receipt::Duplicate {
            if !link.acks.owes_rec(packet_id) {
                let token = link.acks.open(conn, index, packet_id, true);
                // As long as the first one is not safe, neither is this one.
                match session.arriving.iter_mut().find(|arriving| arriving.packet_id == packet_id) {
                    Some(arriving) => arriving.again = Some(token),
                    None => link.acks.settle(token, Outcome::SUCCESS),
                }
                self.send_acks(conn);
            }
            return Ok(None);
        }
        let token = link.acks.open(conn, index, packet_id, is_rec);
        if is_rec {
            session.arriving.push(Arriving { packet_id, first: token, again: None });
        }
        if link.acks.len() > usize::from(self.settings.limits.receive_maximum) * OWED_MAX {
            self.links.pause(conn.slot, Pause::Owed);
        }
        Ok(Some(Registered(Some(token))))
    }

    fn refuses_publish(
        &self,
        session: &crate::session::Session,
        publish: &Publish<'_>,
        topic: &str,
    ) -> Option<ReasonCode> {
        let limits = &self.settings.limits;
        if topic.len() > limits.topic_bytes
            || topic.bytes().filter(|byte| *byte == b'/').count() >= limits.topic_levels
        {
            return Some(ReasonCode::TopicNameInvalid);
        }
        if let Err(reason) = self.permits_publish(session, topic) {
            return Some(reason);
        }
        if !is_as_stated(&publish.properties, publish.payload) {
            return Some(ReasonCode::PayloadFormatInvalid);
        }
        // Number and time are the place's to give.
        let is_said = matches!(self.classify(topic), Topic::Said(_));
        let forges = |(name, _): (&str, &str)| matches!(name, "seq" | "time");
        (is_said && publish.properties.user_properties.iter().any(forges))
            .then_some(ReasonCode::PayloadFormatInvalid)
    }

    /// Over its rate a client is not read until the second is over.
    fn hold_rate(&mut self, conn: ConnId) {
        let rate = self.settings.limits.publish_rate;
        let is_congested = self.journal.is_congested();
        if rate == 0 && !is_congested {
            return;
        }
        let now_ms = self.now.mono_ms;
        let Some(link) = self.links.by_conn(conn) else { return };
        if is_congested {
            self.links.pause(conn.slot, Pause::Congestion);
            self.congested.push(conn);
            return;
        }
        if now_ms >= link.rate_until_ms {
            link.rate_until_ms = now_ms + 1000;
            link.rate_left = rate;
        }
        link.rate_left = link.rate_left.saturating_sub(1);
        if link.rate_left == 0 {
            let (until_ms, old_ms) = (link.rate_until_ms, link.deadline_ms);
            if old_ms == 0 || until_ms < old_ms {
                self.timers.cancel(old_ms, Timer::Link(conn.slot));
                link.deadline_ms = until_ms;
                self.timers.set(until_ms, Timer::Link(conn.slot));
            }
            self.links.counters.paused_rate += 1;
            self.links.pause(conn.slot, Pause::Rate);
        }
    }

    /// Chat refuses a publish before it is on its way.
    fn deny_publish(
        &mut self,
        conn: ConnId,
        index: u32,
        (publish, topic): (&Publish<'_>, &str),
        token: Registered,
        code: Code,
    ) {
        let version = self.links.by_conn(conn).map_or(Version::V4, |link| link.version);
        let session = self.sessions.by_index(index);
        if let (Version::V5, Some(id), Some(session)) = (version, publish.packet_id, session)
            && publish.qos == QoS::ExactlyOnce
        {
            session.inbound.acknowledged(QoS::ExactlyOnce, id);
        }
        let counters = &mut self.links.counters;
        counters.publishes_dropped += 1;
        counters.refused_not_authorized += 1;
        if let Some(token) = token.0 {
            self.settle_ack(token, Outcome::denied(code));
        }
        if version == Version::V4 {
            let name = self.sessions.peek(index).and_then(|session| session.name.clone());
            name.into_iter().for_each(|name| self.notify_refusal(&name, topic, code));
        }
    }

    /// A refusal: 5.0 is told in the acknowledgement, 3.1.1 is acknowledged and the message dropped.
    fn refuse_publish(&mut self, token: Registered, reason: ReasonCode) {
        let counters = &mut self.links.counters;
        counters.publishes_dropped += 1;
        match reason {
            ReasonCode::NotAuthorized => counters.refused_not_authorized += 1,
            ReasonCode::PayloadFormatInvalid => counters.refused_payloads += 1,
            _ => counters.refused_topics += 1,
        }
        let Some(token) = token.0 else { return };
        self.settle_ack(token, Outcome::refused(reason));
    }

    /// A publish ended: its publisher is told, here or on its shard.
    pub(crate) fn reply(&mut self, reply: Reply, outcome: Outcome) {
        if reply.shard == self.shard {
            self.settle_ack(reply.token, outcome);
        } else {
            let message = ShardMessage(Crossing::Published { token: reply.token, outcome });
            self.outputs.push_back(Output::ToShard { shard: reply.shard, message });
        }
    }

    pub(crate) fn settle_ack(&mut self, token: AckToken, outcome: Outcome) {
        let mut tokens = [Some(token), None];
        if let Some(session) = self.sessions.by_index(token.session)
            && let Some(at) = session.arriving.iter().position(|arriving| arriving.first == token)
        {
            tokens[1] = session.arriving.swap_remove(at).again;
        }
        for token in tokens.into_iter().flatten() {
            if let Some(link) = self.links.by_conn(token.conn) {
                link.acks.settle(token, outcome);
                self.send_acks(token.conn);
            }
        }
    }

    /// Sends the acknowledgements whose turn it is.
    pub(crate) fn send_acks(&mut self, conn: ConnId) {
        loop {
            let Some(link) = self.links.by_conn(conn) else { return };
            let crate::link::Phase::Open(index) = link.phase else { return };
            let Some(ack) = link.acks.pop_ready() else { return };
            let (version, is_informed) = (link.version, link.problem_information);
            let owes_few = link.acks.len() < usize::from(self.settings.limits.receive_maximum);
            if owes_few && link.is_paused_for(Pause::Owed) {
                self.links.resume(conn.slot, Pause::Owed);
            }
            let reason = match (version, ack.outcome.reason) {
                (Version::V4, _) => ReasonCode::Success,
                (Version::V5, reason) => reason,
            };
            if let Some(session) = self.sessions.by_index(index) {
                if !ack.is_rec {
                    session.inbound.acknowledged(QoS::AtLeastOnce, ack.packet_id);
                } else if reason.is_error() {
                    session.inbound.acknowledged(QoS::ExactlyOnce, ack.packet_id);
                }
            }
            let kind = if ack.is_rec { PacketType::PubRec } else { PacketType::PubAck };
            let mut numbers = UserPropertiesBuf::default();
            if let (Some((seq, time_ms)), Version::V5, true) = (ack.outcome.numbered, version, is_informed) {
                let _ = numbers.push("seq", &seq.to_string());
                let _ = numbers.push("time", &crate::message::format_time(time_ms));
            }
            let user_properties: UserProperties<'_> = numbers.borrowed();
            let reason_string = ack.outcome.code.filter(|_| is_informed).map(Code::as_str);
            let packet = Ack { packet_id: ack.packet_id, reason, reason_string, user_properties };
            let limit = self.links.by_conn(conn).map_or(u32::MAX, |link| link.packet_bytes) as usize;
            self.links.send(conn.slot, |out| {
                let start = out.len();
                let written = encode::ack_with(out, version, kind, &packet);
                if written.is_err() || out.len() - start > limit {
                    out.truncate(start);
                    encode::ack(out, version, kind, packet.packet_id, reason);
                }
            });
        }
    }
}

/// Whether a payload that is stated to be UTF-8 is; subscribers rely on the statement, which is forwarded to them.
pub(crate) fn is_as_stated(properties: &PublishProperties<'_>, payload: &[u8]) -> bool {
    properties.payload_is_utf8 != Some(true) || std::str::from_utf8(payload).is_ok()
}

/// The acknowledgement that a publish is owed, where it is owed one.
#[derive(Debug, Clone, Copy)]
struct Registered(Option<AckToken>);
