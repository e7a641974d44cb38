//! The plain topics of a shard: who of its own sessions subscribes to what, which shards are interested in the topics
//! whose home it is, and the retained messages of those topics.
//!
//! Invariant: a home knows of a filter on a shard from before that shard's SUBACK until no session there wants it.

use crate::{filter_map::FilterMap, io::ShardId, message::Message, retained::Retained, session::Sessions};
use foldhash::fast::FixedState;
use katydid_mqtt::packet::{QoS, RetainHandling, SubscribeOptions};
use std::{collections::HashMap, sync::Arc};

/// One subscription of a session of this shard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscriber {
    pub(crate) session: u32,
    /// Subscription identifier; 0 is none.
    pub(crate) id: u32,
    options: u8,
}

const NO_LOCAL: u8 = 4;
const RETAIN_AS_PUBLISHED: u8 = 8;

impl Subscriber {
    pub(crate) fn new(session: u32, id: u32, options: SubscribeOptions) -> Self {
        let no_local = if options.no_local { NO_LOCAL } else { 0 };
        let as_published = if options.retain_as_published { RETAIN_AS_PUBLISHED } else { 0 };
        Self { session, id, options: options.qos as u8 | no_local | as_published }
    }

    pub(crate) fn qos(&self) -> QoS {
        match self.options & 3 {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        }
    }

    pub(crate) fn no_local(&self) -> bool {
        self.options & NO_LOCAL != 0
    }

    /// The RETAIN flag of a live delivery `[MQTT-3.3.1-12]`, `[MQTT-3.3.1-13]`.
    pub(crate) fn retain(&self, message: &Message) -> bool {
        message.retain && self.options & RETAIN_AS_PUBLISHED != 0
    }
}

/// The subscriptions to one filter.
#[derive(Debug, Default)]
pub(crate) struct Subscribers {
    pub(crate) plain: Vec<Subscriber>,
    /// SUBSCRIBE packets that have asked the homes and wait for their answers.
    pub(crate) pending: u32,
}

/// The members of one shared subscription on this shard.
#[derive(Debug, Default)]
struct Group {
    members: Vec<Subscriber>,
    next: usize,
}

/// What a home knows about one filter.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    /// A bit a shard.
    shards: u64,
    groups: Vec<GroupInterest>,
}

#[derive(Debug)]
struct GroupInterest {
    /// The whole filter, `$share/...`.
    name: Arc<str>,
    /// One entry a member, the shard it is on.
    seats: Vec<ShardId>,
    /// How many members of a shard are connected, where there are any.
    present: Vec<(ShardId, u32)>,
    next: usize,
}

impl GroupInterest {
    /// The shard whose turn it is: that of a connected member where there is one.
    fn turn(&mut self) -> Option<ShardId> {
        let turn = self.next;
        self.next = turn.wrapping_add(1);
        let connected: usize = self.present.iter().map(|(_, count)| *count as usize).sum();
        if connected == 0 {
            return self.seats.get(turn % self.seats.len().max(1)).copied();
        }
        let mut members = self.present.iter().flat_map(|(shard, count)| (0..*count).map(|_| *shard));
        members.nth(turn % connected)
    }
}

/// Shards that a message goes to. Kept between publishes, so that its buffers are reused.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    pub(crate) local: bool,
    pub(crate) local_groups: Vec<Arc<str>>,
    pub(crate) remote: Vec<(ShardId, bool, Vec<Arc<str>>)>,
}

impl Targets {
    pub(crate) fn is_empty(&self) -> bool {
        !self.local && self.local_groups.is_empty() && self.remote.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.local = false;
        self.local_groups.clear();
        self.remote.clear();
    }

    fn remote(&mut self, shard: ShardId) -> &mut (ShardId, bool, Vec<Arc<str>>) {
        let known = self.remote.iter().position(|(target, ..)| *target == shard);
        let at = known.unwrap_or_else(|| {
            self.remote.push((shard, false, Vec::new()));
            self.remote.len() - 1
        });
        &mut self.remote[at]
    }
}

/// The plain topics of a shard.
#[derive(Debug)]
pub(crate) struct Plain {
    pub(crate) index: FilterMap<Subscribers>,
    groups: HashMap<Arc<str>, Group, FixedState>,
    interest: FilterMap<Interest>,
    pub(crate) retained: Retained,
}

impl Plain {
    /// `protected` are first levels that a filter beginning with a wildcard never reaches.
    pub(crate) fn new(protected: &'static [&'static str]) -> Self {
        Self {
            index: FilterMap::new(protected),
            groups: HashMap::default(),
            interest: FilterMap::new(protected),
            retained: Retained::new(protected),
        }
    }

    /// Which shards a message of a topic goes to.
    pub(crate) fn targets(&mut self, topic: &str, here: ShardId, targets: &mut Targets) {
        let mut mask = 0;
        self.interest.for_matches_mut(topic, |interest| {
            mask |= interest.shards;
            for group in &mut interest.groups {
                let Some(shard) = group.turn() else { continue };
                if shard == here {
                    targets.local_groups.push(group.name.clone());
                } else {
                    targets.remote(shard).2.push(group.name.clone());
                }
            }
        });
        while mask != 0 {
            let shard = ShardId(mask.trailing_zeros() as u16);
            mask &= mask - 1;
            if shard == here {
                targets.local = true;
            } else {
                targets.remote(shard).1 = true;
            }
        }
    }

    /// Notes, as a home, that a shard wants messages of a filter.
    pub(crate) fn watch(&mut self, filter: &str, group: Option<&Arc<str>>, shard: ShardId) {
        let interest = self.interest.entry(filter);
        let Some(name) = group else {
            interest.shards |= 1 << shard.0;
            return;
        };
        match interest.groups.iter_mut().find(|group| group.name == *name) {
            Some(group) => group.seats.push(shard),
            None => {
                let (name, seats) = (name.clone(), vec![shard]);
                interest.groups.push(GroupInterest { name, seats, present: Vec::new(), next: 0 });
            }
        }
    }

    /// Notes, as a home, how many members of a group are connected to a shard.
    pub(crate) fn set_present(&mut self, filter: &str, name: &Arc<str>, shard: ShardId, count: u32) {
        let Some(interest) = self.interest.get_mut(filter) else { return };
        let Some(group) = interest.groups.iter_mut().find(|group| group.name == *name) else { return };
        group.present.retain(|(known, _)| *known != shard);
        if count > 0 {
            group.present.push((shard, count));
        }
    }

    /// How many members of a group are connected here.
    pub(crate) fn present(&self, name: &str, sessions: &Sessions) -> u32 {
        let is_here = |member: &&Subscriber| {
            sessions.peek(member.session).is_some_and(|session| session.link.is_some())
        };
        self.groups.get(name).map_or(0, |group| group.members.iter().filter(is_here).count() as u32)
    }

    /// Notes, as a home, that a shard wants them no more.
    pub(crate) fn unwatch(&mut self, filter: &str, group: Option<&Arc<str>>, shard: ShardId) {
        let Some(interest) = self.interest.get_mut(filter) else { return };
        match group {
            None => interest.shards &= !(1 << shard.0),
            Some(name) => {
                if let Some(at) = interest.groups.iter().position(|group| group.name == *name) {
                    let seats = &mut interest.groups[at].seats;
                    if let Some(seat) = seats.iter().position(|seat| *seat == shard) {
                        seats.remove(seat);
                    }
                    if seats.is_empty() {
                        interest.groups.remove(at);
                    }
                }
            }
        }
        if interest.shards == 0 && interest.groups.is_empty() {
            self.interest.remove(filter);
        }
    }

    /// A session asks for a filter; its answers are on the way.
    pub(crate) fn begin(&mut self, filter: &str) {
        self.index.entry(filter).pending += 1;
    }

    /// The answers are here: the subscription counts, unless its session is gone.
    pub(crate) fn complete(&mut self, filter: &str, subscriber: Option<Subscriber>, is_new: bool) -> bool {
        let entry = self.index.entry(filter);
        entry.pending -= 1;
        if let Some(subscriber) = subscriber {
            put(&mut entry.plain, subscriber, is_new);
        }
        self.drop_unused(filter)
    }

    /// Takes a subscription out; `true` when nobody here wants the filter any more.
    pub(crate) fn remove(&mut self, filter: &str, session: u32) -> bool {
        let Some(entry) = self.index.get_mut(filter) else { return false };
        if let Some(at) = entry.plain.iter().position(|subscriber| subscriber.session == session) {
            entry.plain.swap_remove(at);
        }
        self.drop_unused(filter)
    }

    fn drop_unused(&mut self, filter: &str) -> bool {
        let unused = self.index.get(filter).is_some_and(|entry| entry.plain.is_empty() && entry.pending == 0);
        if unused {
            self.index.remove(filter);
        }
        unused
    }

    pub(crate) fn join_group(&mut self, name: &Arc<str>, subscriber: Subscriber) {
        put(&mut self.groups.entry(name.clone()).or_default().members, subscriber, false);
    }

    pub(crate) fn leave_group(&mut self, name: &str, session: u32) {
        let Some(group) = self.groups.get_mut(name) else { return };
        group.members.retain(|member| member.session != session);
        if group.members.is_empty() {
            self.groups.remove(name);
        }
    }

    /// The member of a shared subscription whose turn it is: a connected one where there is one.
    pub(crate) fn next_member(&mut self, name: &str, sessions: &Sessions) -> Option<Subscriber> {
        let group = self.groups.get_mut(name)?;
        let count = group.members.len();
        let start = group.next;
        group.next = group.next.wrapping_add(1);
        let turn = |step: usize| group.members[start.wrapping_add(step) % count];
        let connected = (0..count)
            .map(turn)
            .find(|member| sessions.peek(member.session).is_some_and(|session| session.link.is_some()));
        connected.or_else(|| (count > 0).then(|| turn(0)))
    }
}

/// Adds a subscription, or replaces the session's own; `is_new` spares the search.
fn put(subscribers: &mut Vec<Subscriber>, subscriber: Subscriber, is_new: bool) {
    match subscribers.iter_mut().find(|known| !is_new && known.session == subscriber.session) {
        Some(known) => *known = subscriber,
        None => subscribers.push(subscriber),
    }
}

/// Whether a new or repeated subscription gets retained messages `[MQTT-3.3.1-9]` to `[MQTT-3.3.1-11]`.
pub(crate) fn wants_retained(handling: RetainHandling, is_new: bool) -> bool {
    match handling {
        RetainHandling::Send => true,
        RetainHandling::SendIfNew => is_new,
        RetainHandling::DoNotSend => false,
    }
}
