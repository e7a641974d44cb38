//! What a session sends: acknowledgements first, then subscriptions, then messages and requests in their order.
//!
//! Invariant: never more packets with an id on their way than the window, and none larger than the broker takes.

use super::{Lost, Session, command::Publication, outbox::Item, subscribe::Op};
use crate::{Refusal, link::OUT_BYTES};
use bytes::{Bytes, BytesMut};
use rumqttc::v5::{
    Request,
    mqttbytes::{
        QoS,
        v5::{Packet, PingReq, PubAck, Publish, PublishProperties},
    },
};
use std::time::Instant;

/// How many signals and subscriptions may wait for the socket before a signal is dropped.
const OPS_MAX: usize = 64;

impl Session {
    /// Puts what there is to send into the buffer, as far as it has room and the broker lets us.
    pub(crate) fn fill(&mut self, out: &mut BytesMut, now: Instant) {
        while let Some(packet_id) = self.acks.pop_front() {
            let _ = Packet::PubAck(PubAck::new(packet_id, None)).write(out, None);
        }
        while out.len() < OUT_BYTES && self.has_window() {
            if let Some(op) = self.ops.pop_front() {
                self.send_op(op, out, now);
                continue;
            }
            match self.outbox.next() {
                // A guest's name comes with the first answer.
                Some(Item::Message(..)) if self.user.is_empty() && !self.is_ready => break,
                Some(Item::Message(publication, _)) => {
                    let publish = self.publish(publication, QoS::AtLeastOnce);
                    self.send_message(publish, out);
                }
                // The answer finds its way only when the subscription for it stands.
                Some(Item::Call(number)) if self.is_ready => self.send_call(*number, out),
                Some(Item::Call(_)) | None => break,
            }
        }
    }

    /// A signal, if there is a connection that has room for it.
    pub(super) fn send_signal(&mut self, publication: &Publication) {
        if !self.is_linked || self.ops.len() >= OPS_MAX {
            return;
        }
        if let Ok(publish) = self.publish(publication, QoS::AtMostOnce) {
            self.ops.push_back(Op::signal(publish));
        }
    }

    /// The packet for a publication, under the name that this client has now.
    fn publish(&self, publication: &Publication, qos: QoS) -> Result<Publish, Refusal> {
        if self.user.is_empty() {
            return Err(Refusal::new("login.needed", "this client has no name to speak under"));
        }
        let topic = publication.place.topic(publication.channel, &self.user);
        Ok(Publish::new(topic, qos, publication.payload.clone(), publication.properties.clone()))
    }

    fn send_message(&mut self, publish: Result<Publish, Refusal>, out: &mut BytesMut) {
        match publish.and_then(|publish| self.encode(publish, out)) {
            Ok(packet_id) => self.outbox.sent(packet_id),
            Err(refusal) => {
                if let Some(Item::Message(_, done)) = self.outbox.take_next() {
                    let _ = done.send(Err(refusal));
                }
            }
        }
    }

    fn send_call(&mut self, number: u64, out: &mut BytesMut) {
        let Some((topic, body)) = self.calls.send(number) else {
            self.outbox.take_next();
            return;
        };
        let outcome = if self.has_replies {
            let response_topic = (!self.user.is_empty()).then(|| format!("user/{}/reply", self.user));
            let properties = PublishProperties {
                response_topic,
                correlation_data: Some(Bytes::copy_from_slice(&number.to_be_bytes())),
                ..Default::default()
            };
            self.encode(Publish::new(topic, QoS::AtLeastOnce, body, Some(properties)), out)
        } else {
            Err(Refusal::new(Refusal::UNSUPPORTED, "the broker answers no requests to this session"))
        };
        match outcome {
            Ok(packet_id) => self.outbox.sent(packet_id),
            Err(refusal) => {
                self.outbox.take_next();
                self.calls.refuse(number, refusal);
            }
        }
    }

    /// Whether a packet with an id may be sent. Ids go round in the window, so that the oldest that is on its way must
    /// be younger than one round, or its id would be used twice `[MQTT-2.2.1-3]`.
    fn has_window(&self) -> bool {
        self.is_linked
            && self.on_their_way.front().is_none_or(|(number, _)| self.issued - number + 1 < self.window)
    }

    fn encode(&mut self, publish: Publish, out: &mut BytesMut) -> Result<u16, Refusal> {
        if publish.size() > self.packet_bytes_max {
            let reason = format!("more than the {} bytes that the broker takes", self.packet_bytes_max);
            return Err(Refusal::new(Refusal::TOO_LARGE, reason));
        }
        self.number(Request::Publish(publish), out)
    }

    /// Gives a packet its id (none at QoS 0) and writes it.
    pub(super) fn number(&mut self, request: Request, out: &mut BytesMut) -> Result<u16, Refusal> {
        let packet = self.state.handle_outgoing_packet(request);
        self.state.events.clear();
        let failed = |error: &dyn std::fmt::Display| Refusal::argument(format!("it cannot be sent: {error}"));
        let packet = packet.map_err(|error| failed(&error))?;
        let packet = packet.ok_or_else(|| failed(&"its packet id is in use"))?;
        let packet_id = match &packet {
            Packet::Publish(publish) => publish.pkid,
            Packet::Subscribe(subscribe) => subscribe.pkid,
            Packet::Unsubscribe(unsubscribe) => unsubscribe.pkid,
            _ => 0,
        };
        packet.write(out, None).map_err(|error| failed(&error))?;
        if packet_id != 0 {
            self.issued += 1;
            self.on_their_way.push_back((self.issued, packet_id));
        }
        Ok(packet_id)
    }

    /// A packet with this id was answered.
    pub(super) fn arrived(&mut self, packet_id: u16) {
        if let Some(at) = self.on_their_way.iter().position(|(_, known)| *known == packet_id) {
            self.on_their_way.remove(at);
        }
    }

    /// The keep alive has passed: asks whether the broker is there.
    ///
    /// # Errors
    /// The last question was not answered.
    pub(crate) fn ping(&mut self, out: &mut BytesMut) -> Result<(), Lost> {
        let packet = self.state.handle_outgoing_packet(Request::PingReq);
        self.state.events.clear();
        match packet {
            Ok(_) => {
                let _ = Packet::PingReq(PingReq).write(out, None);
                Ok(())
            }
            Err(_) => Err(Lost::link("the broker does not answer")),
        }
    }
}
