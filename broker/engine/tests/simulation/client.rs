//! A client: what it remembers of its session, and what it sends. It follows the standard to the letter: what is not
//! acknowledged is sent again on the next connection of the session, in order and with DUP.
//!
//! What it receives is in [`crate::received`].

use crate::model::{Expected, Fate, MessageId, Model, Said, Will};
use crate::random::Random;
use katydid_mqtt::{
    encode,
    packet::{
        Connect, ConnectProperties, PacketId, PacketType, Publish, PublishProperties, QoS, RetainHandling,
        SubscribeOptions, UserProperties, Version,
    },
    properties::UserPropertiesBuf,
    reason::ReasonCode,
    topic::matches,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How a client treats its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It comes back to its session.
    Keeps,
    /// Its session ends with each connection.
    Leaves,
    /// It decides anew at each CONNECT.
    Fickle,
}

/// Where a client stands with its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Offline,
    /// CONNECT is sent on this connection.
    Connecting(usize),
    Online(usize),
    /// DISCONNECT is sent; the broker closes.
    Leaving(usize),
}

/// Whether the broker has a session for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    None,
    Maybe,
    Lives,
}

/// A message on its way to the broker.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    pub(crate) packet_id: u16,
    pub(crate) message: MessageId,
    /// PUBREC came: only PUBREL is sent.
    pub(crate) is_released: bool,
}

/// A subscription as the client sees it.
#[derive(Debug, Clone)]
pub(crate) struct Sub {
    pub(crate) serial: u32,
    pub(crate) qos: u8,
    /// The lowest QoS that it ever had.
    pub(crate) lowest: u8,
    /// SUBACK came, and nothing was asked since.
    pub(crate) is_certain: bool,
}

/// A SUBSCRIBE or UNSUBSCRIBE that is not answered.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) filter: String,
    pub(crate) qos: u8,
    pub(crate) is_unsubscribe: bool,
    /// Where a room is to start from; `None` when the broker decides.
    pub(crate) since: Option<u64>,
    /// Whether a room is replayed.
    pub(crate) replays: bool,
}

/// One thing that happened in a room, as a member saw it.
#[derive(Debug, Clone)]
pub(crate) enum Seen {
    /// A SUBACK after which everything may come again, from this number on, and at which step.
    Start {
        since: Option<u64>,
        step: u64,
        life: u32,
    },
    /// From here on nothing can be said until the next start.
    Unsure,
    /// A new connection of the same session, in this life of the broker.
    Connected {
        life: u32,
    },
    Message {
        message: MessageId,
        seq: Option<u64>,
        qos: u8,
        is_again: bool,
    },
}

/// How often a message came.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Got {
    /// It came as a retained message.
    pub(crate) as_retained: bool,
    pub(crate) ever: u32,
    /// How often at QoS 2.
    pub(crate) exactly: u32,
    pub(crate) connection: u32,
    pub(crate) on_connection: u32,
}

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) number: usize,
    pub(crate) id: String,
    pub(crate) account: &'static str,
    pub(crate) version: Version,
    pub(crate) kind: Kind,
    pub(crate) phase: Phase,
    pub(crate) receive_maximum: u16,
    /// Bytes to send that have not reached the pipe.
    pub(crate) outbox: Vec<u8>,
    pub(crate) inbox: Vec<u8>,
    /// The whole of what one connection has told it.
    pub(crate) connection: u32,
    pub(crate) life: Life,
    /// The session, as the client counts them.
    pub(crate) epoch: u32,
    pub(crate) expiry_secs: u32,
    pub(crate) is_clean: bool,
    /// Step in which the session ended for certain.
    pub(crate) ended_step: u64,
    pub(crate) connect_ms: u64,
    pub(crate) connect_step: u64,
    pub(crate) out: Vec<Out>,
    /// QoS 2 messages that came and are not released.
    pub(crate) unreleased: BTreeMap<u16, MessageId>,
    /// Messages that count against the Receive Maximum.
    pub(crate) open: BTreeMap<u16, QoS>,
    /// Acknowledgements that the client still owes.
    pub(crate) owed: Vec<(PacketType, u16)>,
    pub(crate) subs: BTreeMap<String, Sub>,
    /// Every filter that the session ever asked for.
    pub(crate) ever: BTreeSet<String>,
    pub(crate) asked: BTreeMap<u16, Asked>,
    pub(crate) window: usize,
    pub(crate) rooms: BTreeMap<String, Vec<Seen>>,
    pub(crate) got: HashMap<(u32, MessageId), Got>,
    pub(crate) order: HashMap<(usize, String, u8, u8), MessageId>,
    pub(crate) will: Option<MessageId>,
    /// It reads nothing for a while.
    pub(crate) is_slow: bool,
    /// Since when it may not read `secret/#`.
    pub(crate) denied_step: Option<u64>,
    pub(crate) has_forgotten: bool,
    next_id: u16,
}

impl Client {
    pub(crate) fn new(number: usize, account: &'static str, version: Version, kind: Kind) -> Self {
        Self {
            number,
            id: format!("client-{number}"),
            account,
            version,
            kind,
            phase: Phase::Offline,
            receive_maximum: u16::MAX,
            outbox: Vec::new(),
            inbox: Vec::new(),
            connection: 0,
            life: Life::None,
            epoch: 0,
            expiry_secs: 0,
            is_clean: false,
            ended_step: 0,
            connect_ms: 0,
            connect_step: 0,
            out: Vec::new(),
            unreleased: BTreeMap::new(),
            open: BTreeMap::new(),
            owed: Vec::new(),
            subs: BTreeMap::new(),
            ever: BTreeSet::new(),
            asked: BTreeMap::new(),
            window: 10,
            rooms: BTreeMap::new(),
            got: HashMap::new(),
            order: HashMap::new(),
            will: None,
            is_slow: false,
            denied_step: None,
            has_forgotten: false,
            next_id: 1,
        }
    }

    /// Whether the session outlives its connection, and is certain to be there.
    pub(crate) fn is_kept(&self) -> bool {
        self.expiry_secs > 0 && self.life == Life::Lives
    }

    pub(crate) fn is_online(&self) -> bool {
        matches!(self.phase, Phase::Online(_))
    }

    /// A packet identifier that is not in use.
    fn free_id(&mut self) -> PacketId {
        loop {
            let id = self.next_id;
            // A small range, so that identifiers are used again.
            self.next_id = if id >= 24 { 1 } else { id + 1 };
            let is_used = self.out.iter().any(|out| out.packet_id == id) || self.asked.contains_key(&id);
            if !is_used {
                return PacketId::new(id).expect("it starts at 1");
            }
        }
    }

    /// Sends CONNECT on a new connection.
    pub(crate) fn connect(&mut self, pipe: usize, random: &mut Random, model: &mut Model) {
        self.phase = Phase::Connecting(pipe);
        self.connection += 1;
        self.inbox.clear();
        self.outbox.clear();
        (self.connect_ms, self.connect_step) = (model.now_ms, model.step);
        let keeps = match self.kind {
            Kind::Keeps => true,
            Kind::Leaves => false,
            Kind::Fickle => random.chance(60),
        };
        self.is_clean = if keeps { random.chance(4) && self.kind == Kind::Fickle } else { random.chance(70) };
        if self.version == Version::V4 {
            self.is_clean = !keeps;
        }
        // A client that has forgotten its session asks for a new one, unless there is none for certain.
        self.is_clean |= self.has_forgotten && self.life == Life::Maybe;
        if self.is_clean {
            self.forget(model);
        }
        // A clean session of 3.1.1 ends with its connection.
        let keeps = keeps && !(self.is_clean && self.version == Version::V4);
        self.expiry_secs = if keeps { 3600 } else { 0 };
        self.receive_maximum = match self.version {
            Version::V5 => random.pick(&[1, 2, 5, 30, u16::MAX]),
            Version::V4 => u16::MAX,
        };
        let payload;
        let topic = format!("w/{}", self.number);
        let mut will = None;
        if random.chance(50) && self.number != 0 {
            let delay_secs = if self.version == Version::V5 { random.pick(&[0, 1, 3]) } else { 0 };
            let id = self.say(model, &topic, 1, false, false);
            payload = Model::payload(id, 0);
            model.wills.push(Will { message: id, delay_secs, fate: Fate::Either });
            will = Some(katydid_mqtt::packet::Will {
                topic: &topic,
                payload: &payload,
                qos: QoS::AtLeastOnce,
                retain: false,
                delay_secs,
                properties: PublishProperties::default(),
            });
            self.will = Some(id);
        } else {
            self.will = None;
        }
        let packet = Connect {
            version: self.version,
            clean_start: self.is_clean,
            keep_alive_secs: 0,
            client_id: &self.id,
            will,
            user_name: Some(self.account),
            password: None,
            properties: ConnectProperties {
                session_expiry_secs: (self.expiry_secs > 0).then_some(self.expiry_secs),
                receive_maximum: (self.receive_maximum != u16::MAX).then_some(self.receive_maximum),
                ..ConnectProperties::default()
            },
        };
        encode::connect(&mut self.outbox, &packet).expect("a CONNECT");
        let (clean, expiry, number, will) = (self.is_clean, self.expiry_secs, self.number, self.will);
        model.note(|| format!("client {number} connects, clean {clean}, expiry {expiry}, will {will:?}"));
    }

    /// Makes a new message; it is not sent yet.
    fn say(&mut self, model: &mut Model, topic: &str, qos: u8, retain: bool, is_empty: bool) -> MessageId {
        let id = model.said.len() as MessageId;
        model.said.push(Said {
            by: self.number,
            topic: topic.to_owned(),
            qos,
            retain,
            is_forged: Model::room_of(topic).is_some() && topic.rsplit('/').next() != Some(self.account),
            is_empty,
            filler: 0,
            transmissions: 1,
            sent_step: model.step,
            is_acked: false,
            expected: Vec::new(),
        });
        id
    }

    /// Publishes something new. The caller has found out who has to get it.
    pub(crate) fn publish(
        &mut self,
        model: &mut Model,
        topic: &str,
        qos: u8,
        retain: bool,
        expected: Vec<Expected>,
        filler: Option<usize>,
    ) {
        let id = self.say(model, topic, qos, retain, filler.is_none());
        model.said[id as usize].expected = expected;
        model.said[id as usize].filler = filler.unwrap_or(0);
        let packet_id = (qos > 0).then(|| self.free_id());
        if let Some(packet_id) = packet_id {
            self.out.push(Out { packet_id: packet_id.get(), message: id, is_released: false });
        }
        let payload = filler.map_or(Vec::new(), |filler| Model::payload(id, filler));
        self.write_publish(model, id, packet_id, false, &payload);
        let number = self.number;
        model.note(|| format!("client {number} publishes message {id} to {topic}, QoS {qos}, retain {retain}, packet {packet_id:?}"));
    }

    fn write_publish(
        &mut self,
        model: &Model,
        id: MessageId,
        packet_id: Option<PacketId>,
        dup: bool,
        payload: &[u8],
    ) {
        let said = &model.said[id as usize];
        // What is done in a room is JSON.
        let is_event = said.topic.contains("/event/") && !payload.is_empty();
        let event = [&b"{\"type\":\"dance\",\"how\":\""[..], payload, b"\"}"].concat();
        let payload = if is_event { &event } else { payload };
        let packet = Publish {
            dup,
            qos: QoS::from_bits(said.qos).expect("0 to 2"),
            retain: said.retain,
            topic: &said.topic,
            packet_id,
            topic_alias: None,
            properties: PublishProperties::default(),
            payload,
        };
        encode::publish(&mut self.outbox, self.version, &packet).expect("a PUBLISH");
    }

    /// Sends everything again that the broker has not finished.
    pub(crate) fn resend(&mut self, model: &mut Model) {
        for out in self.out.clone() {
            let packet_id = PacketId::new(out.packet_id);
            if out.is_released {
                self.write_ack(PacketType::PubRel, out.packet_id);
                continue;
            }
            model.said[out.message as usize].transmissions += 1;
            let said = &model.said[out.message as usize];
            let payload = if said.is_empty { Vec::new() } else { Model::payload(out.message, said.filler) };
            self.write_publish(model, out.message, packet_id, true, &payload);
            let number = self.number;
            model.note(|| format!("client {number} sends message {} again", out.message));
        }
    }

    pub(crate) fn write_ack(&mut self, kind: PacketType, packet_id: u16) {
        let packet_id = PacketId::new(packet_id).expect("not 0");
        encode::ack(&mut self.outbox, self.version, kind, packet_id, ReasonCode::Success);
    }

    /// Sends an acknowledgement that it owes.
    pub(crate) fn pay(&mut self, at: usize) {
        let (kind, packet_id) = self.owed.remove(at);
        if matches!(kind, PacketType::PubAck | PacketType::PubComp) {
            self.open.remove(&packet_id);
        }
        self.write_ack(kind, packet_id);
    }

    /// Asks for a filter; `replay` is what follows `$since/` or `$last/`.
    pub(crate) fn subscribe(
        &mut self,
        model: &mut Model,
        filter: &str,
        qos: u8,
        replay: Option<(&str, u64)>,
    ) {
        let packet_id = self.free_id();
        let may_be_known = self.subs.contains_key(filter);
        let is_known = self.subs.get(filter).is_some_and(|sub| sub.is_certain);
        let serial = model.serial();
        let sub =
            self.subs.entry(filter.to_owned()).or_insert(Sub { serial, qos, lowest: qos, is_certain: false });
        sub.qos = sub.qos.min(qos);
        sub.lowest = sub.lowest.min(qos);
        self.ever.insert(filter.to_owned());
        let since = replay.and_then(|(word, from)| (word == "since").then_some(from));
        // Where nobody is sure that the subscription is new, nobody is sure that there is a replay.
        let replays = replay.is_some() || !may_be_known;
        if let (Some(room), true) = (Model::room_of(filter), replays || !is_known) {
            self.rooms.entry(room.to_owned()).or_default().push(Seen::Unsure);
        }
        let asked = Asked { filter: filter.to_owned(), qos, is_unsubscribe: false, since, replays };
        self.asked.insert(packet_id.get(), asked);
        let mut users = UserPropertiesBuf::default();
        let mut written = filter.to_owned();
        if let Some((word, from)) = replay {
            match self.version {
                Version::V5 => users.push(word, &from.to_string()).expect("short"),
                Version::V4 => written = format!("${word}/{from}/{filter}"),
            }
        }
        let options = SubscribeOptions {
            qos: QoS::from_bits(qos).expect("0 to 2"),
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        };
        let filters = [(written.as_str(), options)];
        encode::subscribe(&mut self.outbox, self.version, packet_id, None, users.borrowed(), filters)
            .expect("a SUBSCRIBE");
        let number = self.number;
        model.note(|| format!("client {number} subscribes to {written}, QoS {qos}, {replay:?}"));
    }

    /// Asks for no more of a filter.
    pub(crate) fn unsubscribe(&mut self, model: &mut Model, filter: &str) {
        let packet_id = self.free_id();
        if let Some(sub) = self.subs.get_mut(filter) {
            sub.is_certain = false;
        }
        if let Some(room) = Model::room_of(filter) {
            self.rooms.entry(room.to_owned()).or_default().push(Seen::Unsure);
        }
        let asked =
            Asked { filter: filter.to_owned(), qos: 0, is_unsubscribe: true, since: None, replays: false };
        self.asked.insert(packet_id.get(), asked);
        encode::unsubscribe(&mut self.outbox, self.version, packet_id, UserProperties::default(), [filter])
            .expect("an UNSUBSCRIBE");
        let number = self.number;
        model.note(|| format!("client {number} unsubscribes from {filter}"));
    }

    /// Says goodbye, so that there is no will.
    pub(crate) fn leave(&mut self, pipe: usize, model: &mut Model) {
        encode::disconnect(&mut self.outbox, self.version, ReasonCode::Success);
        if let Some(will) = self.will.take().and_then(|id| model.will_mut(id)) {
            will.fate = Fate::MustNot;
        }
        self.lost(model);
        self.phase = Phase::Leaving(pipe);
        let number = self.number;
        model.note(|| format!("client {number} says goodbye"));
    }

    /// Its connection is gone.
    pub(crate) fn lost(&mut self, model: &mut Model) {
        let was_online = self.is_online();
        let was_connecting = matches!(self.phase, Phase::Connecting(_));
        self.phase = Phase::Offline;
        self.owed.clear();
        self.open.clear();
        self.inbox.clear();
        for (_, asked) in std::mem::take(&mut self.asked) {
            // Nobody knows whether it was taken in; a repeated plain SUBSCRIBE changes nothing that matters here.
            if let (true, Some(sub)) = (asked.is_unsubscribe, self.subs.get_mut(&asked.filter)) {
                sub.is_certain = false;
            }
        }
        if let Some(will) = self.will.take().and_then(|id| model.will_mut(id)) {
            let at_once = will.delay_secs == 0 || self.expiry_secs == 0;
            will.fate = match (was_online, at_once) {
                (false, _) => Fate::Either,
                (true, true) => Fate::Must,
                (true, false) => Fate::Delayed(None),
            };
        }
        if was_connecting {
            // Nobody knows whether the CONNECT was taken in.
            let said = &model.said;
            for will in &mut model.wills {
                let is_own = said[will.message as usize].by == self.number;
                if is_own && matches!(will.fate, Fate::Delayed(_)) {
                    will.fate = Fate::Either;
                }
            }
            let stays = self.life == Life::Lives && self.expiry_secs > 0 && !self.is_clean;
            if !stays && (self.expiry_secs > 0 || self.life != Life::None) {
                self.life = Life::Maybe;
            }
            if self.expiry_secs == 0 {
                self.forget(model);
            }
        } else if self.expiry_secs == 0 {
            self.life = Life::None;
            self.ended_step = model.step;
            self.forget(model);
        }
    }

    /// Nothing of the session is left on this side.
    pub(crate) fn forget(&mut self, model: &mut Model) {
        self.has_forgotten = true;
        if self.number == 0 {
            model.observed_step = None;
        }
        self.epoch = model.serial();
        self.out.clear();
        self.unreleased.clear();
        self.subs.clear();
        self.ever.clear();
        self.rooms.clear();
    }

    /// The broker crashed. `settled_step` is the last step in which nothing waited for anything.
    pub(crate) fn crashed(&mut self, model: &mut Model, settled_step: u64) {
        if self.phase != Phase::Offline {
            self.lost(model);
        }
        if self.life == Life::None && self.ended_step >= settled_step && self.epoch > 0 {
            self.life = Life::Maybe;
        }
        if self.life == Life::Maybe {
            // There may be this session, none, or the one before it, whose end was not on disk.
            self.forget(model);
        }
    }

    /// Whether some filter of its own matches a topic now, for certain; which one, with the best QoS.
    pub(crate) fn certain_match(&self, topic: &str) -> Option<(&String, &Sub)> {
        let own = self
            .subs
            .iter()
            .filter(|(filter, sub)| sub.is_certain && !filter.starts_with('$') && matches(filter, topic));
        own.max_by_key(|(_, sub)| sub.qos)
    }
}
