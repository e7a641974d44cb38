//! The end of a run: everything comes to rest, and then it is judged whether what was promised was kept.

use crate::client::{Client, Kind, Phase, Seen};
use crate::model::{Fate, MessageId, Model};
use crate::plan::takes;
use crate::world::{SHARDS, World};
use katydid_engine::persist;
use katydid_mqtt::packet::Version;
use std::collections::{BTreeMap, BTreeSet};

/// Rounds that it may take until everything rests.
const ROUNDS_MAX: usize = 3_000;

impl World {
    /// Runs the whole plan and judges it.
    pub(crate) fn run(&mut self) {
        for _ in 0..self.plan.steps {
            self.step();
            if self.model.violation.is_some() {
                return;
            }
        }
        self.model.note(|| "everybody comes back".into());
        self.rest();
        self.come_back();
        self.make_sure();
        self.rest();
        self.look_back();
        self.rest();
        if self.model.violation.is_none() {
            self.judge();
        }
    }

    fn come_back(&mut self) {
        for _ in 0..4 {
            for client in 0..self.clients.len() {
                self.clients[client].is_slow = false;
                if self.clients[client].phase == Phase::Offline {
                    if self.clients[client].kind == Kind::Fickle {
                        self.clients[client].kind = Kind::Keeps;
                    }
                    self.connect(client);
                }
            }
            self.rest();
        }
    }

    /// Lets everything happen that can, and then time pass, until nothing happens any more.
    fn rest(&mut self) {
        let mut idle = 0;
        for _ in 0..ROUNDS_MAX {
            if self.model.violation.is_some() {
                return;
            }
            self.model.step += 1;
            if self.round() {
                idle = 0;
                continue;
            }
            idle += 1;
            if idle > 5 {
                return;
            }
            self.pass_time(1_500);
        }
        self.model.violated("the broker does not come to rest".into());
    }

    fn round(&mut self) -> bool {
        let mut moved = false;
        let cut: Vec<usize> =
            self.pipes.iter().filter(|(_, pipe)| pipe.is_cut).map(|(pipe, _)| *pipe).collect();
        cut.into_iter().for_each(|pipe| self.close(pipe));
        for client in 0..self.clients.len() {
            while !self.clients[client].owed.is_empty() {
                self.clients[client].pay(0);
            }
            self.send(client);
        }
        for pipe in self.pipes.keys().copied().collect::<Vec<_>>() {
            moved |= self.bring_up(pipe, usize::MAX);
            moved |= self.bring_down(pipe, usize::MAX);
        }
        for to in 0..SHARDS {
            for from in 0..SHARDS {
                while self.pass(to, from) {
                    moved = true;
                }
            }
            if self.shards[to].is_unsettled {
                self.settle(to);
                moved = true;
            }
            moved |= self.fire_due(to);
        }
        for shard in 0..SHARDS {
            while self.disk.take(shard) {
                moved = true;
            }
        }
        while self.sync() {
            moved = true;
        }
        while self.tell_durable() {
            moved = true;
        }
        while self.answer_read() {
            moved = true;
        }
        moved
    }

    /// A newcomer asks for the whole history and everything retained.
    fn look_back(&mut self) {
        let number = self.clients.len();
        let mut historian = Client::new(number, "historian", Version::V5, Kind::Leaves);
        historian.epoch = self.model.serial();
        self.clients.push(historian);
        self.connect(number);
        self.rest();
        for room in ["Home", "Den"] {
            self.clients[number].subscribe(&mut self.model, &format!("room/{room}/#"), 0, Some(("since", 0)));
        }
        if !self.plan.is_tiny {
            self.clients[number].subscribe(&mut self.model, "r/+", 1, None);
        }
        self.send(number);
        self.rest();
        for (room, seen) in self.clients[number].rooms.clone() {
            let mut history = BTreeMap::new();
            for it in seen {
                if let Seen::Message { message, seq: Some(seq), .. } = it {
                    history.insert(seq, message);
                }
            }
            self.model.history.insert(room, history);
        }
    }

    fn judge(&mut self) {
        self.judge_rest();
        self.judge_history();
        self.judge_plain();
        self.judge_retained();
        self.judge_wills();
        for client in 1..self.clients.len() {
            for room in ["Home", "Den"] {
                let seen = self.clients[client].rooms.get(room).cloned().unwrap_or_default();
                self.judge_member(client, room, &seen);
            }
        }
    }

    /// Nothing waits any more, on either side.
    fn judge_rest(&mut self) {
        for client in &self.clients {
            if !client.is_online() && self.plan.is_tiny {
                // It was disconnected for what it could not take.
                continue;
            } else if !client.is_online() {
                self.model.violated(format!("client {} is not let in", client.number));
            } else if !client.out.is_empty() || !client.asked.is_empty() {
                let (out, asked) = (&client.out, &client.asked);
                self.model.violated(format!("client {} waits for ever: {out:?} {asked:?}", client.number));
            }
        }
        for (space, what) in [(persist::INBOUND, "inbound"), (persist::OUTBOUND, "outbound")] {
            // Who was disconnected may have left something unfinished.
            if self.disk.records_of_sessions(space) > 0 && !self.plan.is_tiny {
                self.model.violated(format!("{what} QoS 2 state stays on disk for ever"));
            }
        }
    }

    /// Everything acknowledged is in the history, once where it is QoS 2, and each publisher's in its order.
    fn judge_history(&mut self) {
        let history = self.model.history.clone();
        let mut found: BTreeMap<MessageId, Vec<u64>> = BTreeMap::new();
        for (room, entries) in &history {
            let mut last: BTreeMap<(usize, u8), MessageId> = BTreeMap::new();
            for (seq, message) in entries {
                found.entry(*message).or_default().push(*seq);
                let said = self.model.said[*message as usize].clone();
                if said.transmissions > 1 {
                    continue;
                }
                let before = last.insert((said.by, said.qos), *message);
                if before.is_some_and(|before| before > *message) {
                    self.model.violated(format!("order: message {message} is in {room} after {before:?}"));
                }
            }
        }
        for (id, said) in self.model.said.clone().into_iter().enumerate() {
            let id = id as MessageId;
            let times = found.get(&id).map_or(0, Vec::len);
            if !Model::is_logged(&said.topic) || said.is_forged {
                continue;
            }
            if said.is_acked && times == 0 {
                self.model
                    .violated(format!("acknowledged means stored: message {id} to {} is gone", said.topic));
            } else if times > said.transmissions as usize || (said.qos == 2 && times > 1) {
                self.model
                    .violated(format!("message {id} of QoS {} is in the history {times} times", said.qos));
            }
        }
    }

    /// Plain messages reached everybody who was to get them.
    fn judge_plain(&mut self) {
        if self.plan.is_tiny {
            return;
        }
        for (id, said) in self.model.said.clone().into_iter().enumerate() {
            for expected in &said.expected {
                if !said.is_acked || !self.still_wants(expected) {
                    continue;
                }
                let client = &self.clients[expected.client];
                if client
                    .got
                    .get(&(client.epoch, id as MessageId))
                    .is_none_or(|got| got.ever == 0 && !got.as_retained)
                {
                    self.model.violated(format!(
                        "client {} never got message {id} to {}, which was acknowledged",
                        expected.client, said.topic
                    ));
                }
            }
        }
    }

    /// Who subscribes now gets the last retained message that was acknowledged, or one that was said after it.
    fn judge_retained(&mut self) {
        if self.plan.is_tiny {
            return;
        }
        let newcomer = self.clients.last().expect("the historian");
        for client in 1..self.clients.len() - 1 {
            let topic = format!("r/{client}");
            let said: Vec<(MessageId, bool, bool)> = (0..)
                .zip(&self.model.said)
                .filter(|(_, said)| said.topic == topic)
                .map(|(id, said)| (id, said.is_acked, said.is_empty))
                .collect();
            let last = said.iter().rposition(|(_, is_acked, _)| *is_acked);
            // A QoS 1 message that was sent again may have come after what followed it.
            let mut may_be = said[last.unwrap_or(0)..].to_vec();
            let again = said.iter().filter(|(id, ..)| {
                let said = &self.model.said[*id as usize];
                said.qos == 1 && said.transmissions > 1
            });
            may_be.extend(again);
            let may_be_none = last.is_none() || may_be.iter().any(|(_, _, is_empty)| *is_empty);
            let got: Vec<MessageId> = said
                .iter()
                .map(|(id, ..)| *id)
                .filter(|id| newcomer.got.contains_key(&(newcomer.epoch, *id)))
                .collect();
            let is_right = match got[..] {
                [] => may_be_none,
                [id] => may_be.iter().any(|(known, ..)| *known == id),
                _ => false,
            };
            if !is_right {
                self.model.violated(format!("{topic} is retained as {got:?}, and {may_be:?} was said last"));
                return;
            }
        }
    }

    fn judge_wills(&mut self) {
        let observer = &self.clients[0];
        let watched_from = self.model.observed_step;
        for will in self.model.wills.clone() {
            let said = self.model.said[will.message as usize].clone();
            if watched_from.is_none_or(|from| said.sent_step < from) || self.plan.is_tiny {
                continue;
            }
            let times = observer.got.get(&(observer.epoch, will.message)).map_or(0, |got| got.ever);
            let is_wrong = match will.fate {
                Fate::Must => times == 0,
                Fate::MustNot | Fate::Armed => times != 0,
                Fate::Either | Fate::Delayed(_) => false,
            };
            if is_wrong {
                self.model.violated(format!("will {} was seen {times} times: {:?}", will.message, will.fate));
                return;
            }
        }
    }

    /// One member of one room: the same order as everybody, no gap, nothing twice.
    fn judge_member(&mut self, client: usize, room: &str, seen: &[Seen]) {
        let mut known = self.model.numbers.get(room).cloned().unwrap_or_default();
        known.extend(self.model.history.get(room).cloned().unwrap_or_default());
        known.retain(|_, message| takes(client, room, &self.model.said[*message as usize].topic));
        let mut numbers: BTreeMap<MessageId, Vec<u64>> = BTreeMap::new();
        known.iter().for_each(|(seq, message)| numbers.entry(*message).or_default().push(*seq));
        let history = self.model.history.get(room).cloned().unwrap_or_default();
        let of_room =
            self.model.seen_in.iter().filter(|((of, seq), _)| of == room && !history.contains_key(seq));
        let lost: BTreeMap<u64, u32> = of_room.map(|((_, seq), life)| (*seq, *life)).collect();
        let again = (0..).zip(&self.model.said).filter(|(_, said)| said.transmissions > 1);
        let again: BTreeSet<MessageId> = again.map(|(id, _)| id).collect();
        let mut member = Member::default();
        for it in seen {
            let problem = member.sees(it, &known, &numbers, &lost, &again);
            if let Some(problem) = problem {
                return self.model.violated(format!("client {client} in {room}: {problem}"));
            }
        }
        let it = &self.clients[client];
        let of_room = |filter: &str| Model::room_of(filter) == Some(room);
        let is_in =
            it.subs.iter().find(|(filter, sub)| sub.is_certain && of_room(filter)).map(|(_, sub)| sub.lowest);
        let Some((since, step)) = member.start.filter(|_| is_in.is_some() && it.is_online()) else { return };
        let first = since.or(member.first);
        for (seq, message) in history {
            let said = &self.model.said[message as usize];
            // What is sent once and lost with its connection is lost.
            let may_be_lost = member.connections > 0 && (said.qos == 0 || is_in == Some(0));
            let is_wanted = (first.is_some_and(|first| seq > first) || said.sent_step > step) && !may_be_lost;
            if is_wanted && takes(client, room, &said.topic) && !member.seen.contains(&seq) {
                return self.model.violated(format!(
                    "client {client} in {room} never got number {seq}, message {message}"
                ));
            }
        }
    }
}

/// What a member has seen since its last start.
#[derive(Default)]
struct Member {
    start: Option<(Option<u64>, u64)>,
    seen: BTreeSet<u64>,
    exactly_once: BTreeSet<u64>,
    /// What was seen before the start; it may still be in flight.
    stale: BTreeSet<u64>,
    /// The first number that came for certain.
    first: Option<u64>,
    /// Connections since the start, but for the first.
    connections: u32,
    /// The last number on this connection.
    last: Option<u64>,
    life: u32,
}

impl Member {
    fn begin(&mut self, life: u32) {
        let mut stale = std::mem::take(&mut self.stale);
        stale.append(&mut self.seen);
        *self = Self { life, stale, ..Self::default() };
    }

    fn sees(
        &mut self,
        it: &Seen,
        known: &BTreeMap<u64, MessageId>,
        numbers: &BTreeMap<MessageId, Vec<u64>>,
        lost: &BTreeMap<u64, u32>,
        again: &BTreeSet<MessageId>,
    ) -> Option<String> {
        match it {
            Seen::Start { since, step, life } => {
                self.begin(*life);
                self.start = Some((*since, *step));
            }
            Seen::Unsure => self.begin(self.life),
            Seen::Connected { life } => {
                self.life = *life;
                self.last = None;
                self.connections += 1;
            }
            Seen::Message { seq, .. } if self.start.is_none() => self.stale.extend(*seq),
            Seen::Message { message, seq, qos, is_again } => {
                let all = numbers.get(message).map_or(&[][..], Vec::as_slice);
                let only = (all.len() == 1 && !again.contains(message)).then(|| all[0]);
                let Some(seq) = seq.or(only) else {
                    // 3.1.1 clients see no numbers, and it may have several.
                    self.seen.extend(all);
                    self.last = None;
                    return None;
                };
                self.seen.insert(seq);
                if *is_again {
                    // Until something came after the start, what comes again may be from before it.
                    let may_be_old = self.first.is_none() || self.stale.contains(&seq);
                    if self.connections > 0 && !may_be_old {
                        self.exactly_once.insert(seq);
                    }
                    return None;
                }
                self.first.get_or_insert(seq);
                if *qos == 2 && !self.exactly_once.insert(seq) {
                    return Some(format!("exactly once: number {seq}, message {message}, came twice"));
                }
                if let Some(last) = self.last {
                    if seq <= last {
                        return Some(format!("one order: number {seq} came after {last}"));
                    }
                    // A number that nobody finds in the history was lost in the crash that ended its life.
                    let was_there = |missed: &u64| lost.get(missed).is_none_or(|life| *life == self.life);
                    let missing = known
                        .range(last + 1..seq)
                        .find(|(missed, _)| !self.seen.contains(missed) && was_there(missed));
                    if let Some((missed, message)) = missing {
                        return Some(format!(
                            "no gap: {seq} came after {last}, without {missed}, message {message}"
                        ));
                    }
                }
                self.last = Some(seq);
            }
        }
        None
    }
}
