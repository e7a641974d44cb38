//! Random histories: a broker in a few lines, which numbers, keeps, replays and knows ids, and connections that are cut
//! at any point. Whatever happens, the user hears everything once and in order, and what the user says is said once.

use super::{Play, options, property, room};
use crate::{Event, Join, Options, Replay, contract};
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{
        ConnAck, ConnectReturnCode, Packet, PubAck, PubAckReason, Publish, PublishProperties, SubAck,
        Subscribe, SubscribeReasonCode, UnsubAck, UnsubAckReason,
    },
};
use std::collections::VecDeque;

/// As many QoS 1 messages as the client lets be on their way.
const RECEIVE_MAXIMUM: usize = 32;

/// xorshift64*: small, and the same on every machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }
}

struct Entry {
    text: String,
    id: String,
    qos: QoS,
}

/// The broker, as far as one client and one room need it.
#[derive(Default)]
struct Broker {
    log: Vec<Entry>,
    /// The session's place in the log while it is in the room: how many entries were sent.
    position: Option<usize>,
    /// Where a replay ends and what is live begins.
    live: usize,
    /// Sent and not acknowledged: packet id and entry.
    flight: VecDeque<(u16, usize)>,
    last_id: u16,
    to_client: VecDeque<Packet>,
    from_client: VecDeque<Packet>,
    /// How many entries there were when the client first came in.
    entered_at: Option<usize>,
}

impl Broker {
    fn say(&mut self, text: String, id: String, qos: QoS) {
        if !self.log.iter().any(|entry| entry.id == id) {
            self.log.push(Entry { text, id, qos });
        }
    }

    /// Takes a packet of the client.
    fn step(&mut self) {
        match self.from_client.pop_front() {
            Some(Packet::Subscribe(subscribe)) => self.subscribe(&subscribe),
            Some(Packet::Publish(publish)) => {
                let properties =
                    publish.properties.map_or(Vec::new(), |properties| properties.user_properties);
                let id = contract::property(&properties, "id").unwrap_or_default().to_owned();
                let text = String::from_utf8(publish.payload.to_vec()).unwrap();
                self.say(text, id, QoS::AtLeastOnce);
                let ack = PubAck { pkid: publish.pkid, reason: PubAckReason::Success, properties: None };
                self.to_client.push_back(Packet::PubAck(ack));
            }
            Some(Packet::PubAck(ack)) => self.flight.retain(|(id, _)| *id != ack.pkid),
            Some(Packet::Unsubscribe(unsubscribe)) => {
                let reasons = vec![UnsubAckReason::Success; unsubscribe.filters.len()];
                let ack = UnsubAck { pkid: unsubscribe.pkid, reasons, properties: None };
                self.to_client.push_back(Packet::UnsubAck(ack));
            }
            _ => {}
        }
    }

    fn subscribe(&mut self, subscribe: &Subscribe) {
        if subscribe.filters[0].path.starts_with("room/") {
            let entered_at = *self.entered_at.get_or_insert(self.log.len());
            let since = property(subscribe, "since");
            self.position = Some(match since.map(str::parse) {
                Some(Ok(seq)) => seq,
                // A duration: since it came in.
                Some(Err(_)) => entered_at,
                None => self.log.len(),
            });
            self.live = self.log.len();
            // What is on its way under a packet id stays the session's.
        }
        let return_codes = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce); subscribe.filters.len()];
        self.to_client.push_back(Packet::SubAck(SubAck {
            pkid: subscribe.pkid,
            return_codes,
            properties: None,
        }));
    }

    /// Sends the next entry that there is, if the client takes one.
    fn deliver(&mut self) {
        let Some(position) = self.position else { return };
        let Some(entry) = self.log.get(position) else { return };
        let mut packet_id = 0;
        if entry.qos == QoS::AtLeastOnce {
            if self.flight.len() >= RECEIVE_MAXIMUM {
                return;
            }
            loop {
                self.last_id = self.last_id % 100 + 1;
                if !self.flight.iter().any(|(id, _)| *id == self.last_id) {
                    break;
                }
            }
            packet_id = self.last_id;
            self.flight.push_back((packet_id, position));
        }
        self.to_client.push_back(Packet::Publish(self.publish(position, packet_id, false)));
        self.position = Some(position + 1);
    }

    fn publish(&self, position: usize, packet_id: u16, dup: bool) -> Publish {
        let entry = &self.log[position];
        let user_properties =
            vec![("id".into(), entry.id.clone()), ("seq".into(), (position + 1).to_string())];
        let properties = PublishProperties { user_properties, ..Default::default() };
        let mut publish = Publish::new("room/r/msg/x", entry.qos, entry.text.clone(), Some(properties));
        (publish.pkid, publish.dup, publish.retain) = (packet_id, dup, position < self.live);
        publish
    }

    /// The connection is cut: what was under way is lost. `keeps`: whether the session is there when the client is back.
    fn cut(&mut self, keeps: bool) {
        // QoS 0 that was sent and not read comes from the log again, as it does for a client that was slow.
        let unread = self.to_client.iter().find_map(|packet| match packet {
            Packet::Publish(publish) if publish.qos == QoS::AtMostOnce => {
                let properties = &publish.properties.as_ref()?.user_properties;
                contract::property(properties, "seq")?.parse::<usize>().ok()
            }
            _ => None,
        });
        self.to_client.clear();
        self.from_client.clear();
        if !keeps {
            self.position = None;
            self.flight.clear();
            return;
        }
        if let Some(seq) = unread {
            self.position = self.position.map(|position| position.min(seq - 1));
            self.flight.retain(|(_, entry)| *entry < seq - 1);
        }
        let again: Vec<_> = self.flight.iter().map(|(id, entry)| self.publish(*entry, *id, true)).collect();
        self.to_client.extend(again.into_iter().map(Packet::Publish));
    }
}

struct World {
    play: Play,
    broker: Broker,
    heard: Vec<u64>,
    said: u64,
    others: u64,
    /// How seldom the user takes events.
    laziness: u64,
}

impl World {
    fn new(laziness: u64) -> Self {
        let options = Options { events: 3, ..options() };
        let mut play = Play::with(options);
        play.link(false);
        let mut world =
            Self { play, broker: Broker::default(), heard: Vec::new(), said: 0, others: 0, laziness };
        world.broker.say("before".into(), "b".into(), QoS::AtLeastOnce);
        let mut joined = world.play.join(room(), Join::new(Replay::Live));
        while joined.try_recv().is_err() {
            world.exchange();
        }
        world
    }

    fn exchange(&mut self) {
        let sent = self.play.sent();
        self.broker.from_client.extend(sent);
        self.broker.step();
        self.broker.deliver();
        self.receive();
    }

    fn receive(&mut self) {
        if let Some(packet) = self.broker.to_client.pop_front() {
            self.play.take(packet);
        }
    }

    fn listen(&mut self) {
        while let Ok(event) = self.play.events.try_recv() {
            if let Event::Message(message) = event {
                self.heard.push(message.seq);
            }
        }
        let queue = self.play.session.outlet.queue();
        if self.play.session.outlet.is_waiting()
            && let Ok(room) = queue.try_reserve()
        {
            let acks = self.play.session.outlet.on_room(room);
            self.play.session.on_room(acks);
        }
    }

    fn cut(&mut self, keeps: bool) {
        self.play.cut();
        self.broker.cut(keeps);
        let code = ConnectReturnCode::Success;
        let connack = ConnAck { session_present: keeps, code, properties: None };
        self.play.session.on_linked(connack, self.play.now);
    }

    fn step(&mut self, chance: &mut Chance, keeps: bool) {
        match chance.below(32) {
            0..4 if self.said < 60 => {
                self.said += 1;
                // The handle gives each message its id; here it is the text.
                drop(self.play.say_as(&format!("mine {}", self.said)));
            }
            4..10 if self.others < 300 => {
                self.others += 1;
                let qos = if chance.below(3) == 0 { QoS::AtLeastOnce } else { QoS::AtMostOnce };
                self.broker.say("theirs".into(), format!("o{}", self.others), qos);
            }
            10..14 => {
                let sent = self.play.sent();
                self.broker.from_client.extend(sent);
            }
            14..18 => self.broker.step(),
            18..24 => self.broker.deliver(),
            24..28 => self.receive(),
            28 if chance.below(4) == 0 => self.cut(keeps),
            29 if chance.below(self.laziness) == 0 => self.listen(),
            _ => {}
        }
    }
}

fn history(seed: u64, keeps: bool) {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut world = World::new([1, 10, 60][seed as usize % 3]);
    for _ in 0..3000 {
        world.step(&mut chance, keeps);
    }
    for _ in 0..3000 {
        world.exchange();
        world.listen();
    }
    let all: Vec<u64> = (2..=world.broker.log.len() as u64).collect();
    assert_eq!(world.heard, all, "seed {seed}, keeps {keeps}");
    let mine: Vec<&str> = world
        .broker
        .log
        .iter()
        .filter(|entry| entry.text.starts_with("mine"))
        .map(|entry| entry.text.as_str())
        .collect();
    let expected: Vec<String> = (1..=world.said).map(|number| format!("mine {number}")).collect();
    assert_eq!(mine, expected, "seed {seed}, keeps {keeps}");
}

#[test]
fn everything_is_heard_once_and_said_once_when_sessions_are_kept() {
    (0..200).for_each(|seed| history(seed, true));
}

#[test]
fn everything_is_heard_once_and_said_once_when_each_connection_is_a_new_session() {
    (0..200).for_each(|seed| history(seed, false));
}
