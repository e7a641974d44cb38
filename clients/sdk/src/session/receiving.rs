//! What a session receives: acknowledgements go to who waits for them, what is said goes out once and in order.

use super::{
    Lost, Session, incoming,
    incoming::Incoming,
    outbox::Item,
    places::{self, Course},
    reasons,
};
use crate::{Ack, Event, Gap, Place, Refusal, contract, outlet::Pushed};
use katydid_chat::name::check_user;
use rumqttc::v5::mqttbytes::v5::{Disconnect, Packet, PubAck, Publish};
use std::{str::FromStr, time::Instant};

impl Session {
    /// Takes a packet of the broker.
    pub(crate) fn on_packet(&mut self, packet: Packet, now: Instant) -> Result<(), Lost> {
        self.last_heard = now;
        match packet {
            Packet::Publish(publish) => {
                self.on_publish(&publish);
                Ok(())
            }
            Packet::Disconnect(packet) => {
                let (refusal, is_final) = reasons::of_disconnect(&packet);
                Err(Lost { refusal, is_final, is_our_fault: is_our_fault(&packet) })
            }
            packet => {
                // rumqttc checks that an acknowledgement was owed, and that a ping was answered.
                let checked = self.state.handle_incoming_packet(packet.clone());
                self.state.events.clear();
                checked.map_err(|error| Lost::link(format!("the broker broke the protocol: {error}")))?;
                match packet {
                    Packet::PubAck(ack) => self.on_puback(&ack),
                    Packet::SubAck(ack) => self.on_suback(&ack, now),
                    Packet::UnsubAck(ack) => self.on_unsuback(ack.pkid),
                    _ => {}
                }
                Ok(())
            }
        }
    }

    fn on_puback(&mut self, ack: &PubAck) {
        self.arrived(ack.pkid);
        let refusal = reasons::of_puback(ack);
        match (self.outbox.acknowledged(ack.pkid), refusal) {
            (Some(Item::Message(_, done)), Some(refusal)) => {
                let _ = done.send(Err(refusal));
            }
            (Some(Item::Message(_, done)), None) => {
                let _ = done.send(Ok(numbers(ack)));
            }
            (Some(Item::Call(number)), Some(refusal)) => self.calls.refuse(number, refusal),
            // The question for a guest's name was refused: it has none.
            (None, Some(_)) if self.user.is_empty() => self.set_ready(),
            (Some(Item::Call(_)) | None, _) => {}
        }
    }

    fn on_publish(&mut self, publish: &Publish) {
        let packet_id = publish.pkid;
        let pushed = match incoming::read(publish, &self.user) {
            Incoming::Numbered(place, seq, event) => self.on_numbered(publish, place, seq, event),
            Incoming::Signal(event) => self.outlet.push_signal(event, packet_id),
            Incoming::Answer => {
                self.learn_name(publish);
                let properties = publish.properties.as_ref();
                let correlation = properties.and_then(|properties| properties.correlation_data.as_deref());
                self.calls.answered(correlation, &publish.payload);
                Pushed::Out
            }
            Incoming::Nothing => Pushed::Out,
        };
        if packet_id != 0 && pushed != Pushed::Waits {
            self.acks.push_back(packet_id);
        }
    }

    /// The topic of an answer says whose it is: so a guest learns its name.
    fn learn_name(&mut self, publish: &Publish) {
        if !self.user.is_empty() {
            return;
        }
        let name = std::str::from_utf8(&publish.topic).ok().and_then(|topic| topic.split('/').nth(1));
        if let Some(name) = name.filter(|name| check_user(name).is_ok()) {
            self.user = name.into();
            self.set_ready();
        }
    }

    fn on_numbered(&mut self, publish: &Publish, place: Place, seq: u64, event: Event) -> Pushed {
        if seq == 0 {
            return self.outlet.push(event, publish.pkid);
        }
        if self.places.course(&place) != Course::Following {
            return Pushed::Out;
        }
        if seq <= self.places.floor(&place) {
            let is_again = publish.dup || publish.retain || self.was_resumed();
            if is_again {
                return Pushed::Out;
            }
            // On a session of its own nothing live comes twice: the broker numbers anew, its history is gone.
            self.outlet.tell(Event::Gap(Gap { place: Some(place.clone()), messages: None, signals: 0 }));
            self.places.set_floor(&place, 0);
        }
        let mut name = None;
        if let Event::Message(message) = &event {
            if self.places.has_heard(message) {
                self.places.set_floor(&place, seq);
                return Pushed::Out;
            }
            name = places::name(message);
        }
        let closed = self.heed(&event);
        let pushed = self.outlet.push(event, publish.pkid);
        match pushed {
            Pushed::Dropped => self.fell_behind(place),
            _ => {
                self.places.set_floor(&place, seq);
                self.places.remember(&place, name);
            }
        }
        if let Some(refused) = closed {
            self.outlet.tell(refused);
        }
        pushed
    }

    /// A place that closes itself to the user is not asked for again after a lost connection.
    fn heed(&mut self, event: &Event) -> Option<Event> {
        let (place, code) = match event {
            Event::User(event) if !event.replay => {
                let code = match &*event.kind {
                    "kicked" => "room.not-member",
                    "banned" => "room.banned",
                    "gone" => "room.not-found",
                    _ => return None,
                };
                (Place::from_str(event.body["place"].as_str()?).ok()?, code)
            }
            Event::Change(change) if !change.replay && change.kind == "gone" => {
                (change.place.clone(), "room.not-found")
            }
            _ => return None,
        };
        self.places.joined.remove(&place)?;
        let refusal = Refusal::new(code, "the place is closed to this user");
        Some(Event::Refused { place, refusal })
    }

    /// Whether what comes may have come on an earlier connection.
    fn was_resumed(&self) -> bool {
        self.is_resumed || self.options.resume
    }

    /// Something numbered found no place. A joined place can be asked for it later; of others it is lost.
    fn fell_behind(&mut self, place: Place) {
        match self.places.joined.get_mut(&place) {
            Some(joined) => joined.course = Course::Behind,
            None => self.outlet.tell(Event::Gap(Gap { place: Some(place), messages: None, signals: 0 })),
        }
    }

    /// There may be room for events again: places that fell behind are asked for what was dropped.
    pub(crate) fn on_room(&mut self, acks: Vec<u16>) {
        self.acks.extend(acks);
        if !self.outlet.is_waiting() {
            self.return_to_places();
        }
    }

    /// Nobody takes events any more.
    pub(crate) fn on_events_closed(&mut self) {
        let acks = self.outlet.on_closed();
        self.on_room(acks);
    }
}

/// Whether the broker closed the connection over something that this side sent.
fn is_our_fault(packet: &Disconnect) -> bool {
    matches!(packet.reason_code as u8, 0x81 | 0x82 | 0x90..=0x95 | 0x99..=0x9B)
}

/// The number and the time that came with an acknowledgement.
fn numbers(ack: &PubAck) -> Ack {
    let properties = ack.properties.as_ref().map_or(&[][..], |properties| &properties.user_properties);
    let seq = contract::property(properties, contract::SEQ).and_then(|seq| seq.parse().ok()).unwrap_or(0);
    let time_ms = contract::property(properties, contract::TIME).map_or(0, contract::time_ms);
    Ack { seq, time_ms }
}
