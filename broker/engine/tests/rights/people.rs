//! One run: people who do things by chance, and what they receive, held against the model.
//!
//! A step takes a few actions at once and lets everything settle. What is received in it must be permitted in one of the
//! states that the actions, each done or not yet, can lead to; what is granted too, whatever the others did.

use crate::{
    model::{Model, OWNER, PLACES, Said},
    random::Random,
    rig::Rig,
};
use katydid_engine::{Settings, settings::Credentials};
use katydid_mqtt::{
    decode, encode,
    packet::{
        Connect, ConnectProperties, Packet, PacketId, PacketType, Publish, PublishProperties, QoS,
        RetainHandling, Secret, SubscribeOptions, Version, Will,
    },
    properties::UserPropertiesBuf,
    reason::ReasonCode,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

const USERS: [&str; 4] = ["ann", "bob", "cat", "dan"];
/// Steps of a run.
const STEPS: usize = 60;

/// A way in which a broker could forget what it was told: the test does not tell it, and the model believes it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    BanSkipped,
    KickSkipped,
    MuteSkipped,
    IgnoreSkipped,
    LeaveSkipped,
}

#[derive(Debug, Clone)]
enum Act {
    Subscribe { written: String, filter: String, with_password: bool },
    Unsubscribe { filter: String },
    Publish { payload: String },
    Ask { verb: String, place: &'static str, whom: &'static str, with_password: bool },
    Sleep { will: Option<String> },
    Wake { is_clean: bool },
}

#[derive(Debug, Clone)]
struct Action {
    session: usize,
    act: Act,
    /// Whether the broker did it; `None` where nobody is told.
    outcome: Option<bool>,
}

struct Client {
    user: &'static str,
    id: String,
    version: Version,
    slot: Option<u32>,
    next_id: u16,
    /// Packet identifiers and requests of this step, to the action that they are of.
    waiting: BTreeMap<u16, usize>,
    asked: BTreeMap<u64, usize>,
    /// Written filters that it has, as far as it knows.
    filters: Vec<String>,
    will: Option<String>,
}

/// A run and what came of it.
pub(crate) struct Run {
    rig: Rig,
    model: Model,
    random: Random,
    bug: Bug,
    clients: Vec<Client>,
    /// What was said under which payload, and whether it was permitted then.
    said: BTreeMap<String, (Said, bool)>,
    actions: Vec<Action>,
    heard: Vec<(usize, String, Vec<u8>)>,
    asked: u64,
    pub(crate) received: u64,
    pub(crate) granted: u64,
    pub(crate) violation: Option<String>,
    pub(crate) trace: Vec<String>,
}

impl Run {
    /// The run of a seed.
    pub(crate) fn of(seed: u64, bug: Bug) -> Self {
        let mut random = Random::new(seed);
        let accounts = USERS
            .iter()
            .map(|user| (Box::from(*user), Credentials { hash: "hash".into(), scram: None }))
            .collect();
        let settings = Settings { accounts: Arc::new(accounts), ..Settings::default() };
        let rig = Rig::new(random.between(1, 3), settings, seed);
        let owners = [0, 0, 1, 1, 2, 3, 3].map(|user| USERS[user]);
        let client = |(at, user): (usize, &&'static str)| Client {
            user,
            id: format!("client-{at}"),
            version: if at == 4 { Version::V4 } else { Version::V5 },
            slot: None,
            next_id: 0,
            waiting: BTreeMap::new(),
            asked: BTreeMap::new(),
            filters: Vec::new(),
            will: None,
        };
        let mut run = Self {
            rig,
            model: Model::new(&owners),
            random,
            bug,
            clients: owners.iter().enumerate().map(client).collect(),
            said: BTreeMap::new(),
            actions: Vec::new(),
            heard: Vec::new(),
            asked: 0,
            received: 0,
            granted: 0,
            violation: None,
            trace: Vec::new(),
        };
        run.set_up();
        for _ in 0..STEPS {
            if run.violation.is_none() {
                run.step();
            }
        }
        run
    }

    fn set_up(&mut self) {
        for session in 0..self.clients.len() {
            self.act(session, Act::Wake { is_clean: true });
        }
        self.conclude();
        for (place, body) in [
            ("room/pub", json!({})),
            ("room/priv", json!({ "password": "pw" })),
            ("room/sec", json!({ "visibility": "secret" })),
            ("room/news", json!({ "read_only": true })),
            ("group/crew", json!({})),
        ] {
            let (root, name) = place.split_once('/').expect("a place");
            let mut body = body;
            body["name"] = json!(name);
            self.request(0, &format!("{root}/create"), &body, None);
            self.rig.settle();
        }
        self.take_all();
        self.heard.clear();
    }

    fn step(&mut self) {
        if self.random.chance(20) {
            self.rig.pass(1_500);
        }
        for _ in 0..self.random.between(1, 3) {
            let session = self.random.below(self.clients.len());
            let act = self.choose(session);
            // One action of a session a step: the order of two is certain, and the states would say otherwise.
            if self.actions.iter().all(|action| action.session != session) {
                self.act(session, act);
            }
        }
        self.conclude();
    }

    fn choose(&mut self, session: usize) -> Act {
        let me = self.clients[session].user;
        if self.clients[session].slot.is_none() {
            return Act::Wake { is_clean: self.random.chance(15) };
        }
        let place = self.random.pick(&PLACES).0;
        let whom = self.random.pick(&USERS);
        match self.random.below(100) {
            0..25 => {
                let (written, filter) = self.filter(me, place);
                Act::Subscribe { written, filter, with_password: self.random.chance(40) }
            }
            25..32 => match self.clients[session].filters.clone() {
                filters if filters.is_empty() => Act::Publish { payload: String::new() },
                filters => Act::Unsubscribe { filter: filters[self.random.below(filters.len())].clone() },
            },
            32..38 => Act::Sleep { will: self.clients[session].will.clone() },
            38..70 => Act::Publish { payload: String::new() },
            _ => {
                let verbs: &[&str] = if me == OWNER || self.random.chance(10) {
                    &["kick", "kick", "ban", "ban", "unban", "mute", "unmute", "invite", "history"]
                } else {
                    &["join", "join", "leave", "ignore/add", "ignore/remove", "history", "history", "invite"]
                };
                let verb = self.random.pick(verbs).to_owned();
                Act::Ask { verb, place, whom, with_password: self.random.chance(50) }
            }
        }
    }

    /// A filter as it is written, and without its prefix.
    fn filter(&mut self, me: &str, place: &str) -> (String, String) {
        let bare = match self.random.below(16) {
            0..4 => format!("{place}/msg/+"),
            4..6 => format!("{place}/#"),
            6 => format!("{place}/+/bob"),
            7 => "room/+/msg/+".into(),
            8 => "room/#".into(),
            9 => "group/+/#".into(),
            10 => format!("user/{me}/msg/+"),
            11 => format!("user/+/msg/{me}"),
            12 => "user/+/+/+".into(),
            13 => format!("user/{}/msg/+", self.random.pick(&USERS)),
            14 => self.random.pick(&["#", "+/pub/msg/+", "+/+/+/+"]).into(),
            _ => format!("$share/g/{place}/msg/+"),
        };
        let is_prefixed = !bare.starts_with('$') && !bare.starts_with('+') && bare != "#";
        let prefix = match self.random.below(6) {
            0 if is_prefixed => "$since/0/",
            1 if is_prefixed => "$last/3/",
            _ => "",
        };
        (format!("{prefix}{bare}"), bare)
    }

    fn act(&mut self, session: usize, act: Act) {
        let at = self.actions.len();
        let mut action = Action { session, act, outcome: None };
        match action.act.clone() {
            Act::Subscribe { written, with_password, .. } => {
                self.subscribe(session, &written, with_password, at)
            }
            Act::Unsubscribe { filter } => {
                let id = self.packet_id(session, at);
                let mut out = Vec::new();
                let version = self.clients[session].version;
                encode::unsubscribe(&mut out, version, id, Default::default(), [&*filter])
                    .expect("it is short");
                self.send(session, &out);
                self.clients[session].filters.retain(|known| *known != filter);
            }
            Act::Publish { .. } => action.act = Act::Publish { payload: self.publish(session, at) },
            Act::Ask { verb, place, whom, with_password } => {
                self.ask(session, (&verb, place, whom, with_password), at, &mut action.outcome);
            }
            Act::Sleep { will } => {
                self.clients[session].will = None;
                if let Some(slot) = self.clients[session].slot.take() {
                    self.rig.cut(slot);
                }
                if let Some(will) = will {
                    self.said.entry(will).and_modify(|said| said.1 = true);
                }
                action.outcome = Some(true);
            }
            Act::Wake { is_clean } => {
                self.wake(session, is_clean);
                action.outcome = Some(true);
            }
        }
        self.actions.push(action);
    }

    fn packet_id(&mut self, session: usize, at: usize) -> PacketId {
        let client = &mut self.clients[session];
        client.next_id += 1;
        client.waiting.insert(client.next_id, at);
        PacketId::new(client.next_id).expect("it counts from one")
    }

    fn send(&mut self, session: usize, bytes: &[u8]) {
        if let Some(slot) = self.clients[session].slot {
            self.rig.send(slot, bytes);
        }
    }

    fn subscribe(&mut self, session: usize, written: &str, with_password: bool, at: usize) {
        let id = self.packet_id(session, at);
        let version = self.clients[session].version;
        let mut properties = UserPropertiesBuf::default();
        if with_password && version == Version::V5 {
            properties.push("password", "pw").expect("it is short");
        }
        let options = SubscribeOptions {
            qos: self.random.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce]),
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        };
        let mut out = Vec::new();
        encode::subscribe(&mut out, version, id, None, properties.borrowed(), [(written, options)])
            .expect("it is short");
        self.send(session, &out);
    }

    /// What somebody says: where one may, or may not, and now and then in another's name.
    fn publish(&mut self, session: usize, at: usize) -> String {
        let me = self.clients[session].user;
        let from = if self.random.chance(10) { self.random.pick(&USERS) } else { me };
        let topic = match self.random.below(10) {
            0..7 => format!("{}/msg/{from}", self.random.pick(&PLACES).0),
            7 => format!("{}/typing/{from}", self.random.pick(&PLACES).0),
            _ => format!("user/{}/msg/{from}", self.random.pick(&USERS)),
        };
        let payload = format!("message {}", self.said.len());
        self.said.insert(payload.clone(), (Said { topic: topic.clone(), by: me.into() }, true));
        let is_told = self.random.chance(80);
        let publish = Publish {
            dup: false,
            qos: if is_told { QoS::AtLeastOnce } else { QoS::AtMostOnce },
            retain: self.random.chance(20),
            topic: &topic,
            packet_id: is_told.then(|| self.packet_id(session, at)),
            topic_alias: None,
            properties: PublishProperties::default(),
            payload: payload.as_bytes(),
        };
        let mut out = Vec::new();
        encode::publish(&mut out, self.clients[session].version, &publish).expect("it is short");
        self.send(session, &out);
        payload
    }

    fn ask(
        &mut self,
        session: usize,
        (verb, place, whom, with_password): (&str, &str, &str, bool),
        at: usize,
        outcome: &mut Option<bool>,
    ) {
        let me = self.clients[session].user;
        let is_owners = me == OWNER && whom != OWNER;
        let skips = match self.bug {
            Bug::BanSkipped => verb == "ban" && is_owners,
            Bug::KickSkipped => verb == "kick" && is_owners && self.model.is_in(whom, place),
            Bug::MuteSkipped => verb == "mute" && is_owners,
            Bug::IgnoreSkipped => verb == "ignore/add" && me != whom,
            Bug::LeaveSkipped => verb == "leave" && me != OWNER,
            Bug::None => false,
        };
        if skips {
            *outcome = Some(true);
            return;
        }
        let (root, name) = place.split_once('/').expect("a place");
        let (verb, body) = match verb {
            "history" => (verb.to_owned(), json!({ "place": place, "after": 0 })),
            "ignore/add" | "ignore/remove" => (verb.to_owned(), json!({ "user": whom })),
            "join" if with_password => (format!("{root}/join"), json!({ "name": name, "password": "pw" })),
            "join" | "leave" => (format!("{root}/{verb}"), json!({ "name": name })),
            _ => (format!("{root}/{verb}"), json!({ "name": name, "user": whom })),
        };
        self.request(session, &verb, &body, Some(at));
    }

    fn request(&mut self, session: usize, verb: &str, body: &Value, at: Option<usize>) {
        self.asked += 1;
        let mut body = body.clone();
        body["id"] = json!(self.asked);
        if let Some(at) = at {
            self.clients[session].asked.insert(self.asked, at);
        }
        let (topic, payload) = (format!("$chat/{verb}"), body.to_string());
        let publish = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: &topic,
            packet_id: None,
            topic_alias: None,
            properties: PublishProperties::default(),
            payload: payload.as_bytes(),
        };
        let mut out = Vec::new();
        encode::publish(&mut out, self.clients[session].version, &publish).expect("it is short");
        self.send(session, &out);
    }

    fn wake(&mut self, session: usize, is_clean: bool) {
        // A clean session of 3.1.1 ends with its connection, and this one is to sleep.
        if is_clean && self.clients[session].version == Version::V4 {
            self.connect(session, true, false);
            self.rig.settle();
            self.take_all();
            if let Some(slot) = self.clients[session].slot.take() {
                self.rig.cut(slot);
            }
            self.rig.settle();
            self.connect(session, false, true);
        } else {
            self.connect(session, is_clean, true);
        }
        let reply = format!("user/{}/reply", self.clients[session].user);
        self.subscribe(session, &reply, false, usize::MAX);
    }

    fn connect(&mut self, session: usize, is_clean: bool, has_will: bool) {
        let slot = self.rig.open(&self.clients[session].id);
        let client = &mut self.clients[session];
        client.slot = Some(slot);
        client.waiting.clear();
        client.asked.clear();
        if is_clean {
            client.filters.clear();
        }
        let (me, version, id) = (client.user, client.version, client.id.clone());
        let will = (has_will && self.random.chance(30)).then(|| {
            let from = if self.random.chance(30) { self.random.pick(&USERS) } else { me };
            let topic = format!("{}/msg/{from}", self.random.pick(&PLACES).0);
            let payload = format!("message {}", self.said.len());
            // It is said when the connection breaks.
            self.said.insert(payload.clone(), (Said { topic: topic.clone(), by: me.into() }, false));
            (topic, payload)
        });
        self.clients[session].will = will.as_ref().map(|(_, payload)| payload.clone());
        let properties =
            ConnectProperties { session_expiry_secs: Some(100_000), ..ConnectProperties::default() };
        let connect = Connect {
            version,
            clean_start: is_clean,
            keep_alive_secs: 0,
            client_id: &id,
            will: will.as_ref().map(|(topic, payload)| Will {
                topic,
                payload: payload.as_bytes(),
                qos: QoS::AtLeastOnce,
                retain: false,
                delay_secs: 0,
                properties: PublishProperties::default(),
            }),
            user_name: Some(me),
            password: Some(Secret(b"secret")),
            properties: if version == Version::V5 { properties } else { ConnectProperties::default() },
        };
        let mut out = Vec::new();
        encode::connect(&mut out, &connect).expect("it is short");
        self.send(session, &out);
    }

    /// Lets everything settle, and holds what came of it against the model.
    fn conclude(&mut self) {
        loop {
            self.rig.settle();
            if !self.take_all() {
                break;
            }
        }
        let actions = std::mem::take(&mut self.actions);
        for action in &actions {
            let Action { session, act, outcome } = action;
            self.trace.push(format!("{} ({session}) {act:?}: {outcome:?}", self.clients[*session].user));
        }
        let states = states(&self.model, &actions, None);
        for (at, action) in actions.iter().enumerate() {
            self.judge_action(action, &states_without(&self.model, &actions, at));
        }
        for (session, topic, payload) in std::mem::take(&mut self.heard) {
            let shown: String = String::from_utf8_lossy(&payload).chars().take(120).collect();
            self.trace.push(format!("    {} ({session}) hears {topic}: {shown}", self.clients[session].user));
            self.judge_heard(session, &topic, &payload, &states);
        }
        for action in &actions {
            apply(&mut self.model, action);
            if let (Act::Subscribe { filter, .. }, Some(true)) = (&action.act, action.outcome) {
                self.clients[action.session].filters.push(filter.clone());
            }
        }
        for client in &mut self.clients {
            client.waiting.clear();
            if client.slot.is_some_and(|slot| self.rig.is_closed(slot)) {
                client.slot = None;
                self.violation.get_or_insert("the broker closed a connection".into());
            }
        }
    }

    /// Reads what everybody was sent, and acknowledges it; whether there was anything.
    fn take_all(&mut self) -> bool {
        let mut has_any = false;
        for session in 0..self.clients.len() {
            let Some(slot) = self.clients[session].slot else { continue };
            let bytes = self.rig.take_written(slot);
            has_any |= !bytes.is_empty();
            let mut rest = &bytes[..];
            while let Some(frame) = decode::frame(rest, u32::MAX).expect("an engine writes packets") {
                rest = &rest[frame.len..];
                let version = self.clients[session].version;
                let packet = decode::packet(frame, version).expect("an engine writes packets");
                self.take(session, &packet);
            }
        }
        has_any
    }

    fn take(&mut self, session: usize, packet: &Packet<'_>) {
        match packet {
            Packet::Publish(publish) => {
                if let Some(id) = publish.packet_id {
                    let mut out = Vec::new();
                    let version = self.clients[session].version;
                    encode::ack(&mut out, version, PacketType::PubAck, id, ReasonCode::Success);
                    self.send(session, &out);
                }
                self.heard.push((session, publish.topic.to_owned(), publish.payload.to_vec()));
                if publish.topic.ends_with("/reply") {
                    let answer: Value = serde_json::from_slice(publish.payload).expect("JSON");
                    let id = answer["id"].as_u64().unwrap_or(0);
                    if let Some(at) = self.clients[session].asked.remove(&id)
                        && let Some(action) = self.actions.get_mut(at)
                    {
                        action.outcome = Some(answer["ok"] == json!(true));
                    }
                }
            }
            Packet::SubAck(ack) => self.answered(session, ack.packet_id, ack.codes[0] < 0x80),
            Packet::UnsubAck(ack) => self.answered(session, ack.packet_id, true),
            // 3.1.1 cannot say that it was refused.
            Packet::PubAck(ack) if self.clients[session].version == Version::V5 => {
                self.answered(session, ack.packet_id, !ack.reason.is_error());
            }
            _ => {}
        }
    }

    fn answered(&mut self, session: usize, id: PacketId, is_good: bool) {
        let at = self.clients[session].waiting.remove(&id.get());
        if let Some(action) = at.and_then(|at| self.actions.get_mut(at)) {
            action.outcome = Some(is_good);
        }
    }

    /// What the broker did must have been permitted, whatever the others did.
    fn judge_action(&mut self, action: &Action, states: &[Model]) {
        let me = self.clients[action.session].user;
        if let (Act::Publish { payload } | Act::Sleep { will: Some(payload) }, Some((said, permitted))) =
            (&action.act, payload_of(&action.act).and_then(|payload| self.said.get_mut(payload)))
        {
            *permitted = states.iter().any(|state| state.may_say(said));
            if action.outcome == Some(true) && !*permitted && matches!(action.act, Act::Publish { .. }) {
                let violation = format!("{payload} on {} was taken from {}", said.topic, said.by);
                self.violation.get_or_insert(violation);
            }
        }
        if action.outcome != Some(true) {
            return;
        }
        self.granted += 1;
        let may = |permits: &dyn Fn(&Model) -> bool| states.iter().any(permits);
        let is_permitted = match &action.act {
            Act::Subscribe { filter, with_password, .. } => {
                may(&|state| may_subscribe(state, me, filter, *with_password))
            }
            Act::Ask { verb, place, whom, with_password } => match verb.as_str() {
                "join" => may(&|state| state.may_enter(me, place, *with_password)),
                "history" => may(&|state| state.may_read(me, place)),
                "invite" => may(&|state| state.is_in(me, place)),
                "leave" | "ignore/add" | "ignore/remove" => true,
                _ => me == OWNER && *whom != OWNER,
            },
            _ => true,
        };
        if !is_permitted {
            self.violation.get_or_insert(format!("granted to {me}: {:?}", action.act));
        }
    }

    fn judge_heard(&mut self, session: usize, topic: &str, payload: &[u8], states: &[Model]) {
        let me = self.clients[session].user;
        let text = String::from_utf8_lossy(payload).into_owned();
        let levels: Vec<&str> = topic.split('/').collect();
        let is_permitted = match levels[..] {
            ["user", to, "reply"] => to == me && self.judge_answer(me, &text, states),
            ["user", to, "presence" | "profile"] => to == me,
            ["room" | "group", _, "info"] => {
                let place = topic.trim_end_matches("/info");
                // What it is may be known to who may enter a private one.
                place == "room/priv" || states.iter().any(|state| state.may_read(me, place))
            }
            _ => match self.said.get(&text) {
                Some((said, permitted)) => {
                    *permitted
                        && said.topic == topic
                        && states.iter().any(|state| state.may_receive(session, said))
                }
                None => {
                    let said = Said { topic: topic.into(), by: levels.last().copied().unwrap_or("").into() };
                    states.iter().any(|state| state.may_receive(session, &said))
                }
            },
        };
        self.received += 1;
        if !is_permitted {
            self.violation.get_or_insert(format!("{me} ({session}) received {text} on {topic}"));
        }
    }

    /// A page of history holds nothing that its asker may not read.
    fn judge_answer(&self, me: &str, text: &str, states: &[Model]) -> bool {
        let answer: Value = serde_json::from_str(text).expect("JSON");
        let Some(entries) = answer["entries"].as_array() else { return true };
        let place = answer["place"].as_str().unwrap_or_default();
        entries.iter().all(|entry| {
            let (from, text) = (entry["from"].as_str().unwrap_or(""), entry["text"].as_str().unwrap_or(""));
            let was_permitted = self.said.get(text).is_none_or(|(_, permitted)| *permitted);
            was_permitted && states.iter().any(|state| state.may_read(me, place) && state.hears(me, from))
        })
    }
}

fn payload_of(act: &Act) -> Option<&str> {
    match act {
        Act::Publish { payload } | Act::Sleep { will: Some(payload) } => Some(payload),
        _ => None,
    }
}

fn may_subscribe(state: &Model, me: &str, filter: &str, with_password: bool) -> bool {
    let levels: Vec<&str> = filter.split('/').collect();
    match levels[..] {
        ["room" | "group", "+" | "#", ..] => true,
        [root @ ("room" | "group"), name, ..] => {
            state.may_enter(me, &format!("{root}/{name}"), with_password)
        }
        ["user", to, _, from] => to == "+" || to == me || from == me,
        ["user", to, _] => to == me,
        ["$share", _, "room" | "group", ..] => false,
        _ => true,
    }
}

/// What an action that was done changes.
fn apply(model: &mut Model, action: &Action) {
    if action.outcome != Some(true) {
        return;
    }
    let session = action.session;
    match &action.act {
        Act::Subscribe { filter, .. } => model.subscribed(session, filter),
        Act::Unsubscribe { filter } => model.unsubscribed(session, filter),
        Act::Wake { is_clean: true } => model.ended(session),
        Act::Ask { verb, place, whom, .. } => {
            let me = model.user_of(session);
            match verb.as_str() {
                "join" => model.joined(&me, place),
                "leave" => model.put_out(&me, place),
                "kick" => model.put_out(whom, place),
                "ban" => model.set_banned(whom, place, true),
                "unban" => model.set_banned(whom, place, false),
                "mute" => model.set_muted(whom, place, true),
                "unmute" => model.set_muted(whom, place, false),
                "invite" => model.invited(whom, place),
                "ignore/add" => model.set_ignored(&me, whom, true),
                "ignore/remove" => model.set_ignored(&me, whom, false),
                _ => {}
            }
        }
        _ => {}
    }
}

/// Every state that some of the actions lead to, in their order, all but one that is left out.
fn states(model: &Model, actions: &[Action], without: Option<usize>) -> Vec<Model> {
    let subsets = 0..1usize << actions.len();
    let subsets = subsets.filter(|subset| without.is_none_or(|without| subset & (1 << without) == 0));
    let state = |subset: usize| {
        let mut state = model.clone();
        for (at, action) in actions.iter().enumerate() {
            if subset & (1 << at) != 0 {
                apply(&mut state, action);
            }
        }
        state
    };
    subsets.map(state).collect()
}

fn states_without(model: &Model, actions: &[Action], at: usize) -> Vec<Model> {
    states(model, actions, Some(at))
}
