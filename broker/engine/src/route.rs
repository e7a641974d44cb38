//! Plain topics: from the publisher's shard to the topic's home, from there to each shard that has subscribers, and to
//! their sessions. The home gives retained messages one order and counts what has to be stored before the publisher
//! is acknowledged.

use crate::{
    Engine,
    acks::{AckToken, Outcome},
    crossing::{By, Crossing, Mark, Reply, home},
    deliver::{Delivering, Grant},
    io::{Output, ShardId, ShardMessage},
    journal::Waiter,
    message::Shared,
    persist,
    place::Arrival,
    plain::Subscriber,
};
use katydid_chat::topic::Topic;
use katydid_mqtt::{packet::QoS, reason::ReasonCode};
use std::sync::Arc;

/// A publish whose parts are stored by several shards.
#[derive(Debug)]
pub(crate) struct Parts {
    reply: Option<Reply>,
    /// Stored when all parts are: a crash in between makes the publisher send the message again, not lose it.
    mark: Option<Mark>,
    /// The shards that store parts, a bit each.
    shards: u64,
    outcome: Outcome,
    remaining: u32,
}

impl Engine {
    /// Splits off what a delivery touches, beside the subscriptions.
    pub(crate) fn delivering(&mut self) -> (&mut crate::plain::Plain, Delivering<'_>) {
        let delivering = Delivering {
            sessions: &mut self.sessions,
            links: &mut self.links,
            journal: &mut self.journal,
            templates: &mut self.templates,
            settings: &self.settings,
            now: self.now,
        };
        (&mut self.plain, delivering)
    }

    pub(crate) fn send_to(&mut self, shard: ShardId, crossing: Crossing) {
        self.outputs.push_back(Output::ToShard { shard, message: ShardMessage(crossing) });
    }

    /// Sends a permitted message on its way: to its place's or topic's home.
    pub(crate) fn route(&mut self, message: Shared, reply: Option<AckToken>, mark: Option<Mark>, by: By) {
        let home = self.home_of(message.topic());
        if home == self.shard {
            let shard = self.shard;
            self.publish_at_home(message, reply.map(|token| Reply { shard, token }), mark, by);
        } else {
            self.send_to(home, Crossing::Publish { message, reply, mark, by });
        }
    }

    /// Where a message is published: at home of its place or topic.
    pub(crate) fn home_of(&self, topic: &str) -> ShardId {
        match self.classify(topic) {
            Topic::Said(said) => home(&said.place(), self.shards),
            _ => home(topic, self.shards),
        }
    }

    /// Publishes a message whose home is this shard.
    pub(crate) fn publish_at_home(
        &mut self,
        message: Shared,
        reply: Option<Reply>,
        mark: Option<Mark>,
        by: By,
    ) {
        if !self.unpublished.is_empty() {
            self.publish_unpublished(|topic| topic == message.topic());
        }
        match self.classify(message.topic()) {
            Topic::Said(_) => self.publish_to_place(Arrival { message, by, reply, mark }),
            _ => self.publish_plain(&message, reply, mark),
        }
    }

    fn publish_plain(&mut self, message: &Shared, reply: Option<Reply>, mark: Option<Mark>) {
        let stored_before = self.journal.pushed();
        if message.retain {
            self.set_retained(message);
        }
        let mut targets = std::mem::take(&mut self.targets);
        self.plain.targets(message.topic(), self.shard, &mut targets);
        let reason = if targets.is_empty() { ReasonCode::NoMatchingSubscribers } else { ReasonCode::Success };
        let outcome = Outcome { reason, ..Outcome::SUCCESS };
        let is_awaited = reply.is_some() || mark.is_some();
        let part = (is_awaited && !targets.remote.is_empty()).then(|| {
            let remaining = targets.remote.len() as u32 + 1;
            let here = 1 << self.shard.0;
            let shards = targets.remote.iter().fold(here, |shards, (shard, ..)| shards | 1 << shard.0);
            self.parts.insert(Parts { reply, mark, shards, outcome, remaining }) as u64
        });
        for (shard, plain, groups) in targets.remote.drain(..) {
            let (message, mark) = (message.clone(), mark.filter(|_| part.is_some()));
            self.send_to(shard, Crossing::Deliver { message, plain, groups, part, mark });
        }
        self.deliver_part(message, (targets.local, &targets.local_groups), mark, part.is_some());
        if let (None, Some(mark)) = (part, mark) {
            self.journal.push(persist::settle_mark(mark));
            if self.arrived.contains_key(&mark) {
                self.forget_arrived(mark);
            }
        }
        targets.clear();
        self.targets = targets;
        let waiter = match (part, reply) {
            (Some(part), _) => Waiter::Part(self.shard, part),
            (None, Some(reply)) => Waiter::Publish(reply, outcome),
            (None, None) => return,
        };
        if self.journal.pushed() == stored_before || !self.journal.wait(waiter) {
            self.finish(waiter);
        }
    }

    /// Delivers a message that another shard's home sent here.
    pub(crate) fn deliver_for(
        &mut self,
        from: ShardId,
        message: &Shared,
        to: (bool, &[Arc<str>]),
        part: Option<u64>,
        mark: Option<Mark>,
    ) {
        let stored_before = self.journal.pushed();
        self.deliver_part(message, to, mark, true);
        let Some(part) = part else { return };
        let waiter = Waiter::Part(from, part);
        if self.journal.pushed() == stored_before || !self.journal.wait(waiter) {
            self.finish(waiter);
        }
    }

    /// Delivers this shard's part of a message. One of QoS 2 that several shards store is marked as received only when
    /// all have; until then each remembers its part, so that a message that is sent again after a crash is not
    /// delivered again where it was.
    fn deliver_part(
        &mut self,
        message: &Shared,
        to: (bool, &[Arc<str>]),
        mark: Option<Mark>,
        is_split: bool,
    ) {
        let is_known =
            mark.and_then(|mark| self.arrived.get(&mark)).is_some_and(|digest| *digest == message.digest());
        if is_known {
            return;
        }
        let stored_before = self.journal.pushed();
        self.deliver_here(message, to.0, to.1);
        let has_stored = self.journal.pushed() != stored_before;
        if let (Some(mark), true) = (mark, is_split && has_stored) {
            self.journal.push(persist::put_arrived(mark, self.shard, message.digest()));
        }
    }

    /// A message of several parts is marked as received, on disk.
    pub(crate) fn tell_marked(&mut self, mark: Mark, shards: u64) {
        for shard in (0..self.shards as u16).filter(|shard| shards >> shard & 1 != 0).map(ShardId) {
            if shard == self.shard {
                self.forget_arrived(mark);
            } else {
                self.send_to(shard, Crossing::Marked { mark });
            }
        }
    }

    /// The message cannot come again.
    pub(crate) fn forget_arrived(&mut self, mark: Mark) {
        self.arrived.remove(&mark);
        self.journal.push(persist::delete_arrived(mark, self.shard));
    }

    /// Delivers to this shard's subscribers: one copy a session, however many filters match `[MQTT-3.3.4-2]`.
    fn deliver_here(&mut self, message: &Shared, plain: bool, groups: &[Arc<str>]) {
        let (subscriptions, mut delivering) = self.delivering();
        delivering.templates.reset();
        if plain {
            fan_out(subscriptions, &mut delivering, message);
        }
        for group in groups {
            if let Some(member) = subscriptions.next_member(group, delivering.sessions) {
                deliver_one(&mut delivering, message, &member);
            }
        }
    }

    /// One part of a publish is stored, or had nothing to store.
    pub(crate) fn part_done(&mut self, part: u64) {
        let Some(parts) = self.parts.get_mut(part as usize) else { return };
        parts.remaining -= 1;
        if parts.remaining == 0 {
            let parts = self.parts.remove(part as usize);
            let waiter = parts.reply.map(|reply| Waiter::Publish(reply, parts.outcome));
            let Some(mark) = parts.mark else {
                return waiter.map_or((), |waiter| self.finish(waiter));
            };
            self.journal.push(persist::settle_mark(mark));
            for waiter in [Some(Waiter::Marked(mark, parts.shards)), waiter].into_iter().flatten() {
                if !self.journal.wait(waiter) {
                    self.finish(waiter);
                }
            }
        }
    }
}

/// Offers a message to every session with a matching subscription, once.
fn fan_out(plain: &mut crate::plain::Plain, delivering: &mut Delivering<'_>, message: &Shared) {
    let mut lists: [&[Subscriber]; 8] = [&[]; 8];
    let mut more: Vec<&[Subscriber]> = Vec::new();
    let mut count = 0;
    plain.index.for_matches(message.topic(), |subscribers| {
        if subscribers.plain.is_empty() {
        } else if count < lists.len() {
            lists[count] = &subscribers.plain;
            count += 1;
        } else {
            more.push(&subscribers.plain);
        }
    });
    if count <= 1 {
        for subscriber in lists[0] {
            deliver_one(delivering, message, subscriber);
        }
        return;
    }
    more.extend_from_slice(&lists[..count]);
    deliver_merged(delivering, message, &more);
}

fn deliver_one(delivering: &mut Delivering<'_>, message: &Shared, subscriber: &Subscriber) {
    if subscriber.no_local() && delivering.published(subscriber.session, message) {
        return;
    }
    let ids = [subscriber.id];
    let ids = if subscriber.id == 0 { &[][..] } else { &ids };
    let grant = Grant { qos: subscriber.qos(), retain: subscriber.retain(message), ids };
    delivering.offer(subscriber.session, message, grant);
}

struct Merged {
    session: u32,
    qos: QoS,
    retain: bool,
    ids: Vec<u32>,
}

/// Overlapping subscriptions of one session: the highest QoS and all identifiers `[MQTT-3.3.4-2]`, `[MQTT-3.3.4-3]`.
fn deliver_merged(delivering: &mut Delivering<'_>, message: &Shared, lists: &[&[Subscriber]]) {
    let stamp = delivering.sessions.next_stamp();
    let mut merged: Vec<Merged> = Vec::new();
    for subscriber in lists.iter().copied().flatten() {
        if subscriber.no_local() && delivering.published(subscriber.session, message) {
            continue;
        }
        let Some(session) = delivering.sessions.by_index(subscriber.session) else { continue };
        if session.stamp != stamp {
            session.stamp = stamp;
            session.merged = merged.len() as u32;
            let (session, qos, retain) = (subscriber.session, subscriber.qos(), subscriber.retain(message));
            merged.push(Merged { session, qos, retain, ids: Vec::new() });
        }
        let entry = &mut merged[session_merged(delivering, subscriber.session)];
        entry.qos = entry.qos.max(subscriber.qos());
        entry.retain |= subscriber.retain(message);
        if subscriber.id != 0 {
            entry.ids.push(subscriber.id);
        }
    }
    for entry in &merged {
        let grant = Grant { qos: entry.qos, retain: entry.retain, ids: &entry.ids };
        delivering.offer(entry.session, message, grant);
    }
}

fn session_merged(delivering: &Delivering<'_>, index: u32) -> usize {
    delivering.sessions.peek(index).map_or(0, |session| session.merged as usize)
}
