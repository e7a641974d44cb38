//! What happens in a run: how the broker is set, who the clients are, and one thing after another, chosen by chance.

use crate::client::{Client, Kind, Life, Phase};
use crate::model::{Expected, Model};
use crate::random::Random;
use crate::world::{SHARDS, World};
use katydid_engine::{
    Input, Settings,
    access::AccessList,
    settings::{Limits, QueuePolicy, RoomSettings},
};
use katydid_mqtt::{packet::Version, topic::matches};
use std::sync::Arc;

const ROOMS: [&str; 2] = ["Home", "Den"];
const ACCOUNTS: [&str; 3] = ["ann", "bob", "cat"];
const TOPICS: [&str; 5] = ["a/1", "a/2", "b/1", "b/2", "secret/1"];
const FILTERS: [&str; 8] = ["a/1", "a/+", "#", "+/1", "b/#", "secret/+", "r/+", "$share/g/a/+"];

/// What distinguishes one run from another.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) steps: usize,
    /// Limits are so small that messages are dropped: only what must never happen is checked.
    pub(crate) is_tiny: bool,
    crashes_permille: usize,
    /// How often the disk gets to write when it could.
    disk_percent: usize,
    /// How much moves between two events.
    pace: usize,
    /// Clients come to rooms and leave them all the time.
    is_moody: bool,
    /// Commits of different shards overtake each other, and messages between shards.
    pub(crate) is_racy: bool,
    /// The disk does nothing for a while.
    is_stalled: bool,
    /// How many of a hundred messages are said in rooms.
    rooms_percent: usize,
    ring_bytes: usize,
    tail_bytes: usize,
    inflight: u16,
    replay: u32,
    /// Whether there is an access list that changes.
    has_access: bool,
    /// The account that may not read `secret/#` now.
    pub(crate) denied: Option<&'static str>,
    jumps: bool,
    /// How keen clients are to break off.
    restless: usize,
    queue_policy: QueuePolicy,
}

impl Plan {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            steps: random.between(300, 1_500),
            is_tiny: random.chance(12),
            crashes_permille: random.pick(&[0, 1, 3, 8, 15]),
            disk_percent: random.pick(&[4, 20, 100, 100]),
            pace: random.pick(&[1, 1, 3, 10]),
            is_moody: random.chance(25),
            is_racy: random.chance(30),
            is_stalled: false,
            rooms_percent: random.pick(&[0, 60, 60, 100]),
            ring_bytes: random.pick(&[300, 2_000, 60_000]),
            tail_bytes: random.pick(&[0, 300, 2_000, 100_000]),
            inflight: random.pick(&[1, 3, 20, 1_000]),
            replay: random.pick(&[0, 3, 20]),
            has_access: random.chance(30),
            denied: None,
            jumps: random.chance(20),
            restless: random.pick(&[1, 4, 10]),
            queue_policy: random.pick(&[QueuePolicy::DropOldest, QueuePolicy::Disconnect]),
        }
    }

    /// The settings of the broker as they are now.
    pub(crate) fn settings(&self) -> Settings {
        let access = match (self.has_access, self.denied) {
            (false, _) => AccessList::allow_all(),
            (true, None) => AccessList::parse("pattern readwrite #").expect("a list"),
            (true, Some(name)) => {
                let list = format!("pattern readwrite #\nuser {name}\ntopic deny secret/#\n");
                AccessList::parse(&list).expect("a list")
            }
        };
        Settings {
            limits: Limits {
                receive_maximum: 10,
                inflight: self.inflight,
                ring_bytes: self.ring_bytes,
                queue_messages: if self.is_tiny { 3 } else { 100_000 },
                queue_policy: self.queue_policy,
                ..Limits::default()
            },
            access: Arc::new(access),
            rooms: RoomSettings {
                replay: self.replay,
                tail_bytes: self.tail_bytes,
                ..RoomSettings::default()
            },
            ..Settings::default()
        }
    }

    /// The clients. The first one watches the wills.
    pub(crate) fn clients(&self, random: &mut Random) -> Vec<Client> {
        let mut clients = vec![Client::new(0, "observer", Version::V5, Kind::Keeps)];
        for number in 1..=random.between(3, 7) {
            let version = random.pick(&[Version::V4, Version::V5]);
            let kind = match random.below(10) {
                0..6 => Kind::Keeps,
                6..8 => Kind::Leaves,
                _ if version == Version::V5 => Kind::Fickle,
                _ => Kind::Keeps,
            };
            clients.push(Client::new(number, random.pick(&ACCOUNTS), version, kind));
        }
        clients
    }
}

/// The one filter that a client uses for a room.
fn room_filter(client: usize, room: &str) -> String {
    let within = if client.is_multiple_of(2) { "#" } else { "msg/+" };
    format!("room/{room}/{within}")
}

impl World {
    /// Lets one thing happen.
    pub(crate) fn step(&mut self) {
        self.model.step += 1;
        if self.is_settled() {
            self.settled_step = self.model.step;
        }
        if self.random.below(1_000) < self.plan.crashes_permille {
            return if self.random.chance(80) { self.crash() } else { self.restart() };
        }
        match self.random.below(100) {
            0..35 => (0..self.plan.pace).for_each(|_| self.move_bytes()),
            35..52 => {
                for _ in 0..self.plan.pace * self.random.between(1, 3) {
                    let (to, from) = (self.random.below(SHARDS), self.random.below(SHARDS));
                    self.pass(to, from);
                }
            }
            52..60 if self.plan.is_stalled || !self.random.chance(self.plan.disk_percent) => {}
            52..60 => {
                let shard = self.random.below(SHARDS);
                self.disk.take(shard);
                for _ in 0..self.random.between(1, 6) {
                    self.sync();
                }
            }
            60..66 => {
                self.tell_durable();
            }
            66..70 => {
                self.answer_read();
            }
            70..73 => {
                let ms = self.random.pick(&[1, 5, 20, 200, 1_100, 3_500]);
                self.pass_time(ms);
            }
            73 => self.plan.is_stalled = self.random.chance(30),
            74 => {
                for shard in 0..SHARDS {
                    self.fire_due(shard);
                }
            }
            75 => {
                // A connection that was cut is noticed.
                let cut = self.pipes.iter().find(|(_, pipe)| pipe.is_cut).map(|(pipe, _)| *pipe);
                if let Some(pipe) = cut {
                    self.close(pipe);
                }
            }
            76 => self.change_rights(),
            77 if self.plan.jumps => {
                let jump = self.random.below(20_000) as u64;
                self.now.unix_ms = self.now.unix_ms + jump - 10_000;
            }
            77 => self.change_rights(),
            _ => {
                let client = self.random.below(self.clients.len());
                self.act(client);
            }
        }
        if self.random.chance(30) {
            let shard = self.random.below(SHARDS);
            if self.shards[shard].is_unsettled {
                self.settle(shard);
            }
        }
    }

    /// Brings some bytes from a client to the broker, or back.
    fn move_bytes(&mut self) {
        let pipes: Vec<usize> = self.pipes.keys().copied().collect();
        if pipes.is_empty() {
            return;
        }
        let pipe = self.random.pick(&pipes);
        let most = self.random.pick(&[1, 3, 20, 300, 100_000]);
        if self.random.chance(50) {
            self.bring_up(pipe, most);
        } else if !self.clients[self.pipes[&pipe].client].is_slow {
            self.bring_down(pipe, most);
        }
    }

    /// Changes who may read `secret/#`, on all shards at once.
    fn change_rights(&mut self) {
        if !self.plan.has_access {
            return;
        }
        self.plan.denied = match self.plan.denied {
            Some(_) => None,
            None => Some(self.random.pick(&ACCOUNTS)),
        };
        let denied = self.plan.denied;
        self.model.note(|| format!("{denied:?} may not read secret/#"));
        self.settings = Arc::new(self.plan.settings());
        for client in &mut self.clients {
            client.denied_step = (denied == Some(client.account)).then_some(self.model.step);
        }
        for shard in &mut self.shards {
            shard.engine.handle(self.now, Input::Reload(self.settings.clone()));
        }
    }

    /// A client does something.
    fn act(&mut self, client: usize) {
        match self.clients[client].phase {
            Phase::Offline if self.random.chance(30) => self.connect(client),
            Phase::Offline | Phase::Leaving(_) => {}
            Phase::Connecting(_) if self.random.chance(self.plan.restless) => self.cut(client),
            Phase::Connecting(_) => {}
            Phase::Online(pipe) => {
                match self.random.below(100) {
                    0..20 if self.plan.is_moody => self.subscribe_somewhere(client),
                    20..34 if self.plan.is_moody => self.unsubscribe_somewhere(client),
                    0..38 => self.say_something(client),
                    38..50 => self.subscribe_somewhere(client),
                    50..54 => self.unsubscribe_somewhere(client),
                    54..86 => self.pay_some(client),
                    86..90 => self.clients[client].is_slow ^= true,
                    _ if self.random.chance(100 - 10 * self.plan.restless.min(9)) => {}
                    90..95 => self.cut(client),
                    95..97 if client != 0 => {
                        let it = &mut self.clients[client];
                        it.leave(pipe, &mut self.model);
                        // It is not offline until the broker has seen it.
                        self.send(client);
                    }
                    _ => {
                        self.clients[client].lost(&mut self.model);
                        self.connect(client);
                    }
                }
                self.send(client);
            }
        }
    }

    fn say_something(&mut self, client: usize) {
        let it = &self.clients[client];
        let qos = self.random.below(3) as u8;
        if client == 0 || (qos > 0 && it.out.len() >= it.window) {
            return;
        }
        let account = it.account;
        let random = &mut self.random;
        let filler = if random.chance(4) { random.between(4_000, 6_000) } else { random.below(60) };
        let in_room = random.chance(self.plan.rooms_percent);
        let kind = if in_room { random.below(12) } else { random.between(12, 19) };
        let (topic, retain, is_empty) = match kind {
            0..8 => (format!("room/{}/msg/{account}", random.pick(&ROOMS)), random.chance(5), false),
            8 | 9 => (format!("room/{}/event/{account}", random.pick(&ROOMS)), false, false),
            10 => (format!("room/{}/typing/{account}", random.pick(&ROOMS)), false, false),
            11 => (format!("room/{}/msg/{}", random.pick(&ROOMS), random.pick(&ACCOUNTS)), false, false),
            12 | 13 => (format!("r/{client}"), true, random.chance(20)),
            14 if self.plan.has_access => ("secret/1".to_owned(), false, false),
            15 if self.plan.has_access => ("secret/2".to_owned(), false, false),
            _ => (random.pick(&TOPICS).to_owned(), false, false),
        };
        let expected = if qos == 0 || is_empty { Vec::new() } else { self.who_expects(client, &topic) };
        let filler = (!is_empty).then_some(filler);
        self.clients[client].publish(&mut self.model, &topic, qos, retain, expected, filler);
    }

    /// The sessions that have to get a plain message that is said now.
    fn who_expects(&self, _publisher: usize, topic: &str) -> Vec<Expected> {
        if topic.starts_with("room/") || (self.plan.has_access && topic.starts_with("secret/")) {
            return Vec::new();
        }
        let mut expected = Vec::new();
        for client in &self.clients {
            let is_there = client.is_kept() || client.is_online();
            let Some((filter, sub)) = client.certain_match(topic).filter(|_| is_there) else { continue };
            if sub.qos > 0 && client.life != Life::None {
                expected.push(Expected {
                    client: client.number,
                    epoch: client.epoch,
                    filter: filter.clone(),
                    serial: sub.serial,
                    is_kept: client.is_kept(),
                });
            }
        }
        expected
    }

    /// Whether a session still wants what it wanted when the message was said.
    pub(crate) fn still_wants(&self, expected: &Expected) -> bool {
        let client = &self.clients[expected.client];
        let has_sub = client
            .subs
            .get(&expected.filter)
            .is_some_and(|sub| sub.serial == expected.serial && sub.is_certain && sub.qos > 0);
        client.epoch == expected.epoch
            && client.life != Life::None
            && has_sub
            && (client.is_kept() || client.is_online())
    }

    fn subscribe_somewhere(&mut self, client: usize) {
        let qos = self.random.below(3) as u8;
        if self.clients[client].asked.len() > 3 {
            return;
        }
        if client == 0 {
            if !self.clients[0].subs.contains_key("w/+") {
                self.clients[0].subscribe(&mut self.model, "w/+", 1, None);
            }
            return;
        }
        let (filter, replay) = if self.random.chance(self.plan.rooms_percent) {
            let room = self.random.pick(&ROOMS);
            let replay = match self.random.below(4) {
                0 => Some(("last", self.random.below(8) as u64)),
                1 => Some(("since", self.random.below(30) as u64)),
                _ => None,
            };
            (room_filter(client, room), replay)
        } else {
            let denied = self.clients[client].denied_step.is_some();
            let secret = self.plan.has_access && self.random.chance(40);
            let filter = if secret { "secret/+" } else { self.random.pick(&FILTERS) };
            if denied && filter.starts_with("secret") {
                return;
            }
            (filter.to_owned(), None)
        };
        let is_asked = self.clients[client].asked.values().any(|asked| asked.filter == filter);
        if !is_asked {
            self.clients[client].subscribe(&mut self.model, &filter, qos, replay);
        }
    }

    fn unsubscribe_somewhere(&mut self, client: usize) {
        let it = &mut self.clients[client];
        let filters: Vec<String> = it.subs.keys().cloned().collect();
        if client == 0 || filters.is_empty() || !it.asked.is_empty() {
            return;
        }
        let filter = &filters[self.random.below(filters.len())];
        it.unsubscribe(&mut self.model, filter);
    }

    fn pay_some(&mut self, client: usize) {
        for _ in 0..self.random.between(1, 5) {
            if self.clients[client].owed.is_empty() {
                return;
            }
            // Mostly in order, as the standard asks; never a PUBCOMP before what it answers.
            self.clients[client].pay(0);
        }
    }

    /// Subscribes to every room again whose subscription nobody is sure of.
    pub(crate) fn make_sure(&mut self) {
        for client in 1..self.clients.len() {
            let unsure: Vec<(String, u8)> = self.clients[client]
                .subs
                .iter()
                .filter(|(filter, sub)| !sub.is_certain && Model::room_of(filter).is_some())
                .map(|(filter, sub)| (filter.clone(), sub.qos))
                .collect();
            for (filter, qos) in unsure {
                self.clients[client].subscribe(&mut self.model, &filter, qos, Some(("since", 0)));
            }
            self.send(client);
        }
    }
}

/// Whether a client's filter for a room takes a topic.
pub(crate) fn takes(client: usize, room: &str, topic: &str) -> bool {
    matches(&room_filter(client, room), topic)
}
