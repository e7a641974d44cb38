//! What a client receives, and what of it can be judged at once: who said it, that it was asked for, that nothing comes
//! twice, and that an acknowledged message is on disk.

use crate::client::{Client, Life, Phase, Seen, Sub};
use crate::model::{Fate, MessageId, Model};
use katydid_mqtt::{
    decode,
    packet::{Ack, ConnAck, Packet, PacketType, Publish, QoS, SubAck},
    reason::ReasonCode,
    topic::matches,
};

/// What the rest of the world has to know of what a client received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A message was acknowledged.
    Acknowledged(MessageId),
}

impl Client {
    /// Takes bytes from the broker.
    pub(crate) fn receive(&mut self, bytes: &[u8], model: &mut Model) -> Vec<Heard> {
        self.inbox.extend_from_slice(bytes);
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut used = 0;
        let mut heard = Vec::new();
        while model.violation.is_none() {
            let frame = match decode::frame(&inbox[used..], u32::MAX) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    model.violated(format!("client {} cannot read what it gets: {error:?}", self.number));
                    break;
                }
            };
            used += frame.len;
            match decode::packet(frame, self.version) {
                Ok(packet) => self.on_packet(&packet, model, &mut heard),
                Err(error) => {
                    model.violated(format!("client {} cannot read a packet: {error:?}", self.number));
                }
            }
        }
        inbox.drain(..used);
        self.inbox = inbox;
        heard
    }

    fn on_packet(&mut self, packet: &Packet<'_>, model: &mut Model, heard: &mut Vec<Heard>) {
        match packet {
            Packet::ConnAck(connack) => self.on_connack(connack, model),
            Packet::Publish(publish) => self.on_publish(publish, model),
            Packet::PubAck(ack) => self.on_ack(ack, false, model, heard),
            Packet::PubRec(ack) => self.on_ack(ack, true, model, heard),
            Packet::PubRel(ack) => {
                self.unreleased.remove(&ack.packet_id.get());
                self.owed.push((PacketType::PubComp, ack.packet_id.get()));
            }
            Packet::PubComp(ack) => {
                self.out.retain(|out| !(out.is_released && out.packet_id == ack.packet_id.get()));
            }
            Packet::SubAck(suback) => self.on_suback(suback, model),
            Packet::UnsubAck(unsuback) => {
                if let Some(asked) = self.asked.remove(&unsuback.packet_id.get()) {
                    self.subs.remove(&asked.filter);
                }
            }
            Packet::PingResp => {}
            Packet::Disconnect(disconnect) => {
                let (number, reason) = (self.number, disconnect.reason);
                model.note(|| format!("client {number} is told to go: {reason:?}"));
                let is_expected = match reason {
                    ReasonCode::SessionTakenOver | ReasonCode::ServerShuttingDown => true,
                    ReasonCode::QuotaExceeded => model.may_overflow,
                    _ => false,
                };
                if !is_expected {
                    model.violated(format!("client {number} is disconnected with {reason:?}"));
                }
            }
            other => model.violated(format!("client {} got {other:?}", self.number)),
        }
    }

    fn on_connack(&mut self, connack: &ConnAck<'_>, model: &mut Model) {
        let Phase::Connecting(pipe) = self.phase else { return };
        let (number, present) = (self.number, connack.session_present);
        model.note(|| format!("client {number} is connected, session present {present}"));
        if connack.reason.is_error() {
            return model.violated(format!("client {number} is refused: {:?}", connack.reason));
        }
        self.phase = Phase::Online(pipe);
        self.window = connack.properties.receive_maximum.map_or(10, usize::from).min(10);
        if present && self.is_clean {
            model.violated(format!("client {number} asked for a clean start and got its old session"));
        } else if present && self.life == Life::None {
            model.violated(format!("client {number} got a session that had ended"));
        } else if !present && !self.is_clean && self.life == Life::Lives {
            model.violated(format!("client {number} has lost its session"));
        }
        self.judge_delayed_wills(present, model);
        if !present {
            self.forget(model);
            self.life = Life::Maybe;
        }
        self.has_forgotten = false;
        let keeps = self.expiry_secs > 0;
        self.life = match (keeps, self.life, present) {
            (true, Life::Lives, true) => Life::Lives,
            _ => Life::Maybe,
        };
        self.order.clear();
        for seen in self.rooms.values_mut() {
            seen.push(Seen::Connected { life: model.life });
        }
        if let Some(will) = self.will.and_then(|id| model.will_mut(id)) {
            will.fate = Fate::Armed;
        }
        self.resend(model);
    }

    /// A will that waited for its delay is taken back by a session that goes on, and published by one that ends.
    fn judge_delayed_wills(&mut self, present: bool, model: &mut Model) {
        let (number, connect_ms, now_ms) = (self.number, self.connect_ms, model.now_ms);
        let said = &model.said;
        for will in &mut model.wills {
            let Fate::Delayed(noticed_ms) = will.fate else { continue };
            if said[will.message as usize].by != number {
                continue;
            }
            let delay_ms = u64::from(will.delay_secs) * 1000;
            will.fate = match noticed_ms {
                _ if !present => Fate::Must,
                None => Fate::MustNot,
                Some(noticed_ms) if now_ms < noticed_ms + delay_ms => Fate::MustNot,
                Some(noticed_ms) if connect_ms > noticed_ms + delay_ms + 1000 => Fate::Must,
                Some(_) => Fate::Either,
            };
        }
    }

    fn on_ack(&mut self, ack: &Ack<'_>, is_rec: bool, model: &mut Model, heard: &mut Vec<Heard>) {
        let id = ack.packet_id.get();
        let number = self.number;
        let Some(at) = self.out.iter().position(|out| out.packet_id == id) else {
            return model.violated(format!(
                "client {number} got an acknowledgement of packet {id}, which it never sent"
            ));
        };
        let message = self.out[at].message;
        let said = model.said[message as usize].clone();
        let fits = (said.qos == 2) == is_rec;
        if !fits {
            return model
                .violated(format!("client {number}: message {message} got the wrong acknowledgement"));
        }
        let is_refused = ack.reason.is_error();
        let is_v5 = self.version == katydid_mqtt::packet::Version::V5;
        let may_be_denied = said.topic.starts_with("secret/");
        if is_refused != (said.is_forged && is_v5) && !may_be_denied {
            return model.violated(format!(
                "client {number}: message {message} to {} was answered with {:?}",
                said.topic, ack.reason
            ));
        }
        model.note(|| format!("client {number}: message {message} is acknowledged"));
        if let (Some(seq), Some(room)) = (ack.user_properties.first("seq"), Model::room_of(&said.topic)) {
            let room = room.to_owned();
            model.numbered(&room, seq.parse().unwrap_or(0), message);
        }
        if !is_refused && !self.out[at].is_released {
            heard.push(Heard::Acknowledged(message));
        }
        if is_rec && !is_refused {
            self.out[at].is_released = true;
            self.write_ack(PacketType::PubRel, id);
        } else {
            self.out.remove(at);
        }
    }

    fn on_suback(&mut self, suback: &SubAck<'_>, model: &mut Model) {
        let number = self.number;
        let Some(asked) = self.asked.remove(&suback.packet_id.get()) else {
            return model.violated(format!("client {number} got a SUBACK that it never asked for"));
        };
        let is_denied = asked.filter.starts_with("secret") && suback.codes[0] >= 0x80;
        if is_denied {
            self.subs.remove(&asked.filter);
            return;
        }
        if suback.codes != [asked.qos] {
            return model
                .violated(format!("client {number}: {} was answered with {:?}", asked.filter, suback.codes));
        }
        model.note(|| format!("client {number} is subscribed to {}", asked.filter));
        let serial = model.serial();
        let new = Sub { serial, qos: asked.qos, lowest: asked.qos, is_certain: true };
        let sub = self.subs.entry(asked.filter.clone()).or_insert(new.clone());
        if !sub.is_certain {
            *sub = Sub { lowest: sub.lowest, ..new };
        }
        sub.qos = asked.qos;
        if self.expiry_secs > 0 {
            self.life = Life::Lives;
        }
        if number == 0 {
            model.observed_step.get_or_insert(model.step);
        }
        if let (Some(room), true) = (Model::room_of(&asked.filter), asked.replays) {
            let seen = self.rooms.entry(room.to_owned()).or_default();
            seen.push(Seen::Start { since: asked.since, step: model.step, life: model.life });
        }
    }

    fn on_publish(&mut self, publish: &Publish<'_>, model: &mut Model) {
        let number = self.number;
        if publish.payload.is_empty() && publish.topic.starts_with("r/") {
            // A retained message is cleared; nothing in it says which message it is.
            let packet_id = publish.packet_id.map_or(0, u16::from);
            self.take_in(MessageId::MAX, packet_id, publish.qos, model);
            return;
        }
        if Model::is_brokers(publish.topic) {
            let packet_id = publish.packet_id.map_or(0, u16::from);
            self.take_in(MessageId::MAX, packet_id, publish.qos, model);
            return;
        }
        let Some(id) = Model::message_of(publish.payload) else {
            return model.violated(format!("client {number} got a message that nobody said"));
        };
        let Some(said) = model.said.get(id as usize).cloned() else {
            return model.violated(format!("client {number} got message {id}, which nobody said"));
        };
        let packet_id = publish.packet_id.map_or(0, u16::from);
        let (qos, dup, retain) = (publish.qos as u8, publish.dup, publish.retain);
        let seq: Option<u64> =
            publish.properties.user_properties.first("seq").and_then(|seq| seq.parse().ok());
        model.note(|| {
            format!("client {number} gets message {id} of {}, QoS {qos}, dup {dup}, retain {retain}, packet {packet_id}, seq {seq:?}", publish.topic)
        });
        let is_denied =
            self.denied_step.is_some_and(|step| said.sent_step > step || self.connect_step > step);
        if is_denied && !dup && publish.topic.starts_with("secret/") {
            model.violated(format!(
                "rights hold at delivery: client {number} got message {id} of {}",
                publish.topic
            ));
        }
        if said.is_forged {
            model.violated(format!("the sender is true: client {number} got message {id}, which is forged"));
        }
        if publish.topic != said.topic || qos > said.qos {
            model.violated(format!("client {number} got message {id} changed"));
        }
        if !self.ever.iter().any(|filter| matches(without_share(filter), publish.topic)) {
            model.violated(format!(
                "client {number} got message {id} of {}, which it never asked for",
                publish.topic
            ));
        }
        let is_again = self.take_in(id, packet_id, publish.qos, model);
        if let Some(room) = Model::room_of(publish.topic).filter(|_| Model::is_logged(publish.topic)) {
            if let Some(seq) = seq {
                model.numbered(room, seq, id);
            }
            let seen = self.rooms.entry(room.to_owned()).or_default();
            seen.push(Seen::Message { message: id, seq, qos, is_again: is_again || dup });
        } else {
            self.count(id, qos, dup, retain, is_again, model);
        }
    }

    /// Answers by the rules of its QoS; whether it is a QoS 2 message that came before.
    fn take_in(&mut self, id: MessageId, packet_id: u16, qos: QoS, model: &mut Model) -> bool {
        let number = self.number;
        if qos == QoS::AtMostOnce {
            return false;
        }
        if self.open.insert(packet_id, qos).is_some() {
            model.violated(format!("client {number}: packet {packet_id} is used for a second message"));
        }
        if self.open.len() > usize::from(self.receive_maximum) {
            model.violated(format!("client {number} got more than its Receive Maximum"));
        }
        if qos == QoS::AtLeastOnce {
            self.owed.push((PacketType::PubAck, packet_id));
            return false;
        }
        self.owed.push((PacketType::PubRec, packet_id));
        match self.unreleased.insert(packet_id, id) {
            Some(known) if known != id => {
                model
                    .violated(format!("client {number}: packet {packet_id} was message {known} and is {id}"));
                true
            }
            known => known.is_some(),
        }
    }

    /// Plain messages: nothing comes twice, and what one client says to one topic comes in order.
    fn count(&mut self, id: MessageId, qos: u8, dup: bool, retain: bool, is_again: bool, model: &mut Model) {
        let (number, connection) = (self.number, self.connection);
        let said = model.said[id as usize].clone();
        let got = self.got.entry((self.epoch, id)).or_default();
        if is_again {
            return;
        }
        if retain {
            // What is retained comes at every SUBSCRIBE.
            got.as_retained = true;
            return;
        }
        if got.connection != connection {
            (got.connection, got.on_connection) = (connection, 0);
        }
        got.ever += 1;
        got.exactly += u32::from(qos == 2);
        got.on_connection += 1;
        let matching = self.ever.iter().filter(|filter| matches(without_share(filter), &said.topic));
        let shared = matching.clone().filter(|filter| filter.starts_with('$')).count();
        let ways = (shared + usize::from(matching.count() > shared)) as u32;
        if got.on_connection > ways * said.transmissions {
            model.violated(format!("client {number} got message {id} twice on a connection"));
        }
        if got.exactly > ways && shared == 0 {
            model.violated(format!("exactly once: client {number} got message {id} of QoS 2 twice"));
        }
        if dup || said.transmissions > 1 || shared > 0 {
            return;
        }
        let last = self.order.entry((said.by, said.topic.clone(), said.qos, qos)).or_insert(id);
        if *last > id {
            model.violated(format!("order: client {number} got message {id} of {} after {last}", said.topic));
        }
        *last = id;
    }
}

/// A filter without `$share/{name}/`.
pub(crate) fn without_share(filter: &str) -> &str {
    filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/')).map_or(filter, |(_, filter)| filter)
}
