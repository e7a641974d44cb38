//! SUBSCRIBE and UNSUBSCRIBE. A filter asks the homes of its topics first; SUBACK leaves when all have answered and,
//! for a session that outlives its connection, when the subscription is on disk. Deliveries wait behind SUBACK.

use crate::{
    Engine,
    crossing::{Crossing, home},
    io::{ConnId, ShardId},
    journal::Waiter,
    link::Pause,
    persist,
    plain::{Subscriber, wants_retained},
    receive::Fault,
    retained::Page,
    room::Cause,
    session::{Session, Subscription},
    subscriptions::Subscriptions,
};
use katydid_chat::topic::{self, Filter as ChatFilter, Replay};
use katydid_mqtt::{
    encode,
    packet::{
        PacketId, QoS, RetainHandling, SubAck, Subscribe, SubscribeOptions, Unsubscribe, UserProperties,
        Version,
    },
    reason::ReasonCode,
    topic::{Filter, TopicFilter},
};
use std::sync::Arc;

/// A SUBSCRIBE or UNSUBSCRIBE that is not answered yet.
#[derive(Debug)]
pub(crate) struct Pending {
    conn: ConnId,
    /// The session's index and identifier.
    session: (u32, u64),
    packet_id: PacketId,
    codes: Vec<u8>,
    /// Filters that have not been answered.
    remaining: u32,
    is_unsubscribe: bool,
}

/// A filter that waits for the homes of its topics.
#[derive(Debug)]
pub(crate) struct Watching {
    /// The packet it came in; `None` after a restart.
    pending: Option<u64>,
    index: u32,
    session: u64,
    subscription: Subscription,
    filter: Arc<str>,
    group: Option<Arc<str>>,
    homes: u32,
    is_placed: bool,
}

/// A filter to subscribe to, after every check.
pub(crate) struct Wanted<'a> {
    pub(crate) written: &'a str,
    pub(crate) options: SubscribeOptions,
    pub(crate) id: u32,
    pub(crate) replay: Option<Replay>,
}

impl Engine {
    pub(crate) fn on_subscribe(
        &mut self,
        conn: ConnId,
        index: u32,
        packet: &Subscribe<'_>,
    ) -> Result<(), Fault> {
        let shared_no_local =
            packet.filters.iter().any(|(filter, options)| options.no_local && filter.starts_with("$share/"));
        if shared_no_local {
            return Err(Fault(ReasonCode::ProtocolError, "No Local on a shared subscription [MQTT-3.8.3-4]"));
        }
        let replay = replay_property(packet.user_properties);
        let pending = self.open_pending(conn, index, packet.packet_id, false);
        for (written, options) in packet.filters {
            if let Some(entry) = self.subscribing.get_mut(pending as usize) {
                entry.remaining += 1;
            }
            let wanted = Wanted {
                written,
                options,
                id: packet.subscription_id.unwrap_or(0),
                replay: replay.unwrap_or(None),
            };
            let outcome = match replay {
                Ok(_) => self.subscribe(pending, index, wanted),
                Err(topic::BadReplay) => Err(ReasonCode::ImplementationSpecificError),
            };
            let code = match outcome {
                Ok(()) => options.qos as u8,
                Err(reason) => reason as u8,
            };
            if let Some(entry) = self.subscribing.get_mut(pending as usize) {
                entry.codes.push(code);
                entry.remaining -= u32::from(outcome.is_err());
            }
        }
        self.filter_answered(pending);
        Ok(())
    }

    /// Opens a pending answer: it counts one for the packet itself, and one for each filter to come.
    fn open_pending(&mut self, conn: ConnId, index: u32, packet_id: PacketId, is_unsubscribe: bool) -> u64 {
        if let Some(link) = self.links.by_conn(conn) {
            link.subscribing += 1;
        }
        let mut session = (index, 0);
        if let Some(subscriber) = self.sessions.by_index(index) {
            subscriber.subscribing += 1;
            session.1 = subscriber.id;
        }
        let codes = Vec::new();
        let pending = Pending { conn, session, packet_id, codes, remaining: 1, is_unsubscribe };
        self.subscribing.insert(pending) as u64
    }

    /// Whether a SUBSCRIBE or UNSUBSCRIBE of a connection's session is not done.
    pub(crate) fn is_subscribing(&mut self, conn: ConnId) -> bool {
        let phase = self.links.by_conn(conn).map(|link| &link.phase);
        let Some(crate::link::Phase::Open(index)) = phase else { return false };
        self.sessions.peek(*index).is_some_and(|session| session.subscribing > 0)
    }

    /// One is done: the connection that the session has now may go on.
    fn done_subscribing(&mut self, (index, id): (u32, u64)) {
        let Some(session) = self.sessions.by_index(index).filter(|session| session.id == id) else { return };
        session.subscribing -= 1;
        if let (0, Some(slot)) = (session.subscribing, session.link) {
            self.links.resume(slot, Pause::Subscribing);
        }
    }

    /// Starts one subscription: it is answered through the pending packet, or refused with a reason.
    fn subscribe(&mut self, pending: u64, index: u32, wanted: Wanted<'_>) -> Result<(), ReasonCode> {
        let (replay, written) =
            topic::split_replay(wanted.written).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        let parsed = Filter::parse(written).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        let limits = &self.settings.limits;
        let filter = parsed.topic_filter();
        if written.len() > limits.topic_bytes || filter.levels().count() > limits.topic_levels {
            self.links.counters.refused_topics += 1;
            return Err(ReasonCode::TopicFilterInvalid);
        }
        let Some(session) = self.sessions.peek(index) else { return Err(ReasonCode::UnspecifiedError) };
        let is_new = !session.subscriptions.contains(written);
        let is_full = session.subscriptions.count() >= limits.subscriptions
            || crowd(&session.subscriptions, self.classify_filter(filter.as_str())) >= CROWD_MAX;
        if is_new && is_full {
            self.links.counters.refused_subscriptions += 1;
            return Err(ReasonCode::QuotaExceeded);
        }
        if let Err(reason) =
            self.permits_subscribe(session.account.as_deref(), &session.client_id, filter.as_str())
        {
            self.links.counters.refused_not_authorized += 1;
            return Err(if self.settings.conceal_refusals { ReasonCode::UnspecifiedError } else { reason });
        }
        let subscription = Subscription { filter: written.into(), options: wanted.options, id: wanted.id };
        let replay = replay.or(wanted.replay);
        match (self.classify_filter(filter.as_str()), parsed) {
            (ChatFilter::Plain, _) if replay.is_some() => Err(ReasonCode::TopicFilterInvalid),
            (ChatFilter::Plain, _) => {
                let retained = matches!(parsed, Filter::Own(_))
                    && wants_retained(wanted.options.retain_handling, is_new);
                self.ask(index, written, is_new);
                self.watch(Some(pending), index, subscription, retained);
                Ok(())
            }
            (_, Filter::Shared(_)) => Err(ReasonCode::SharedSubscriptionsNotSupported),
            (ChatFilter::Room { room, .. }, _) => {
                let replay = match (replay, wanted.options.retain_handling, is_new) {
                    (_, RetainHandling::DoNotSend, _) | (_, RetainHandling::SendIfNew, false) => None,
                    (Some(replay), ..) => Some(replay),
                    (None, _, true) => Some(Replay::Last(self.settings.rooms.replay)),
                    (None, _, false) => None,
                };
                self.ask(index, written, is_new);
                self.enter_room(Cause::Subscribe(pending), index, room, subscription, replay);
                Ok(())
            }
            _ => {
                self.keep_subscription(index, subscription);
                self.refresh_members(index);
                self.filter_answered(pending);
                Ok(())
            }
        }
    }

    /// A new filter counts from here on.
    fn ask(&mut self, index: u32, filter: &str, is_new: bool) {
        if let (true, Some(session)) = (is_new, self.sessions.by_index(index)) {
            session.subscriptions.ask(filter);
        }
    }

    /// Asks the homes of a filter's topics to tell this shard of them.
    pub(crate) fn watch(
        &mut self,
        pending: Option<u64>,
        index: u32,
        subscription: Subscription,
        retained: bool,
    ) {
        let Ok(parsed) = Filter::parse(&subscription.filter) else { return };
        let filter: Arc<str> = parsed.topic_filter().as_str().into();
        let group = matches!(parsed, Filter::Shared(_)).then(|| Arc::from(&*subscription.filter));
        let homes = self.homes(parsed.topic_filter());
        if group.is_none() {
            self.plain.begin(&filter);
        }
        let Some(session) = self.sessions.peek(index).map(|session| session.id) else { return };
        let ticket = self.watching.insert(Watching {
            pending,
            index,
            session,
            subscription,
            filter: filter.clone(),
            group: group.clone(),
            homes: homes.len() as u32,
            is_placed: false,
        }) as u64;
        for shard in homes {
            if shard == self.shard {
                let page = self.watched_from(shard, &filter, group.as_ref(), retained);
                self.on_watched(shard, ticket, page);
            } else {
                let (filter, group) = (filter.clone(), group.clone());
                self.send_to(shard, Crossing::Watch { filter, group, ticket, retained });
            }
        }
    }

    /// Answers, as a home, a shard that asks for a filter: from here on it is told, and these are the first retained.
    pub(crate) fn watched_from(
        &mut self,
        shard: ShardId,
        filter: &str,
        group: Option<&Arc<str>>,
        retained: bool,
    ) -> Option<Page> {
        self.plain.watch(filter, group, shard);
        retained.then(|| self.first_page(filter))
    }

    /// One home has answered: from the first answer on the subscription counts, so that nothing falls between.
    pub(crate) fn on_watched(&mut self, home: ShardId, ticket: u64, page: Option<Page>) {
        let Some(watching) = self.watching.get_mut(ticket as usize) else { return };
        watching.homes -= 1;
        let is_last = watching.homes == 0;
        let is_first = !std::mem::replace(&mut watching.is_placed, true);
        let (index, id, pending) = (watching.index, watching.session, watching.pending);
        let subscription = watching.subscription.clone();
        let (filter, group) = (watching.filter.clone(), watching.group.clone());
        let lives = self.sessions.peek(index).is_some_and(|session| session.id == id);
        if is_first {
            let is_new = match pending {
                _ if !lives => false,
                Some(_) => self.keep_subscription(index, subscription.clone()),
                None => self.restore_subscription(index, subscription.clone()),
            };
            self.place((index, lives, is_new), &subscription, &filter, group.as_ref());
        }
        if let (true, Some(page)) = (lives, page) {
            self.begin_walk(index, home, &subscription, page);
        }
        if is_last {
            self.watching.remove(ticket as usize);
            if let Some(pending) = pending {
                self.filter_answered(pending);
            }
        }
    }

    fn place(
        &mut self,
        (index, lives, is_new): (u32, bool, bool),
        subscription: &Subscription,
        filter: &str,
        group: Option<&Arc<str>>,
    ) {
        let subscriber = lives.then(|| Subscriber::new(index, subscription.id, subscription.options));
        if lives && !is_new {
            self.regrant_walks(index, subscription);
        }
        match (group, subscriber) {
            (None, subscriber) => {
                if self.plain.complete(filter, subscriber, is_new) {
                    self.unwatch(filter, None);
                }
            }
            (Some(group), Some(subscriber)) => {
                self.plain.join_group(group, subscriber);
                self.tell_present(group);
                if !is_new {
                    // The homes counted a seat that this session has already.
                    self.unwatch(filter, Some(group));
                }
            }
            (Some(group), None) => self.unwatch(filter, Some(group)),
        }
    }

    /// Adds a subscription to its session, or replaces the one with its filter `[MQTT-3.8.4-3]`, in the store too; `true`
    /// when it is new.
    pub(crate) fn keep_subscription(&mut self, index: u32, subscription: Subscription) -> bool {
        if let Some(session) = self.sessions.peek(index).filter(|session| session.is_on_disk) {
            self.journal.push(persist::put_subscription(session.id, &subscription));
        }
        self.restore_subscription(index, subscription)
    }

    /// The same for one that came from the store.
    pub(crate) fn restore_subscription(&mut self, index: u32, subscription: Subscription) -> bool {
        let Some(session) = self.sessions.by_index(index) else { return false };
        let is_shared = subscription.filter.starts_with("$share/");
        let is_new = session.subscriptions.put(subscription);
        if is_new {
            self.links.counters.subscriptions_now += 1;
            self.links.counters.shared_subscriptions_now += u64::from(is_shared);
        }
        is_new
    }

    fn unwatch(&mut self, filter: &str, group: Option<&Arc<str>>) {
        let Ok(parsed) = TopicFilter::parse(filter) else { return };
        for shard in self.homes(parsed) {
            if shard == self.shard {
                self.plain.unwatch(filter, group, shard);
            } else {
                self.send_to(shard, Crossing::Unwatch { filter: filter.into(), group: group.cloned() });
            }
        }
    }

    /// Tells the homes of a shared group how many of its members are connected here, so that those get its messages.
    fn tell_present(&mut self, group: &Arc<str>) {
        let Ok(parsed) = Filter::parse(group) else { return };
        let filter = parsed.topic_filter();
        let count = self.plain.present(group, &self.sessions);
        for shard in self.homes(filter) {
            if shard == self.shard {
                self.plain.set_present(filter.as_str(), group, shard, count);
            } else {
                let (filter, group) = (filter.as_str().into(), group.clone());
                self.send_to(shard, Crossing::Present { filter, group, count });
            }
        }
    }

    /// A session has come or gone: its shared groups learn it.
    pub(crate) fn tell_groups(&mut self, index: u32) {
        let Some(session) = self.sessions.peek(index) else { return };
        let shared = session.subscriptions.within("$share/");
        let groups: Vec<Arc<str>> = shared.map(|known| Arc::from(&*known.filter)).collect();
        for group in groups {
            self.tell_present(&group);
        }
    }

    /// The shards whose topics a filter can match: every shard for one with wildcards.
    fn homes(&self, filter: TopicFilter<'_>) -> Vec<ShardId> {
        if filter.is_wildcard() {
            (0..self.shards as u16).map(ShardId).collect()
        } else {
            vec![home(filter.as_str(), self.shards)]
        }
    }

    /// One filter of a packet, or the packet itself, is done; with the last the answer leaves.
    pub(crate) fn filter_answered(&mut self, pending: u64) {
        let Some(entry) = self.subscribing.get_mut(pending as usize) else { return };
        entry.remaining -= 1;
        if entry.remaining > 0 {
            return;
        }
        // What was refused changed nothing; granted QoS and a taken out subscription did.
        let has_changed = entry.codes.iter().any(|code| *code <= QoS::ExactlyOnce as u8);
        let (index, id) = entry.session;
        let lives = self.sessions.peek(index).is_some_and(|session| session.id == id);
        if lives && has_changed {
            let is_kept = self.sessions.peek(index).is_some_and(Session::is_persistent);
            if is_kept && self.journal.wait(Waiter::Subscribe(pending)) {
                return;
            }
        }
        self.answer_subscribe(pending);
    }

    /// Sends SUBACK or UNSUBACK, and lets deliveries go on.
    pub(crate) fn answer_subscribe(&mut self, pending: u64) {
        let Some(entry) = self.subscribing.try_remove(pending as usize) else { return };
        self.done_subscribing(entry.session);
        let Some(link) = self.links.by_conn(entry.conn) else { return };
        link.subscribing -= 1;
        let version = link.version;
        let phase_index = match link.phase {
            crate::link::Phase::Open(index) => Some(index),
            _ => None,
        };
        let codes: Vec<u8> = match version {
            Version::V5 => entry.codes,
            Version::V4 => entry.codes.iter().map(|code| if *code >= 0x80 { 0x80 } else { *code }).collect(),
        };
        let (packet_id, slot) = (entry.packet_id, entry.conn.slot);
        let packet = SubAck {
            packet_id,
            codes: &codes,
            reason_string: None,
            user_properties: UserProperties::default(),
        };
        self.links.send(slot, |out| {
            let _ = if entry.is_unsubscribe {
                encode::unsuback(out, version, &packet)
            } else {
                encode::suback(out, version, &packet)
            };
        });
        if let Some(index) = phase_index {
            self.sessions.mark_ready(index);
        }
    }

    pub(crate) fn on_unsubscribe(
        &mut self,
        conn: ConnId,
        index: u32,
        packet: &Unsubscribe<'_>,
    ) -> Result<(), Fault> {
        let pending = self.open_pending(conn, index, packet.packet_id, true);
        for written in packet.filters {
            let code = match topic::split_replay(written) {
                Ok((_, filter)) if Filter::parse(filter).is_err() => ReasonCode::TopicFilterInvalid,
                Err(_) => ReasonCode::TopicFilterInvalid,
                Ok((_, filter)) if self.unsubscribe(index, filter) => ReasonCode::Success,
                Ok(_) => ReasonCode::NoSubscriptionExisted,
            };
            if let Some(entry) = self.subscribing.get_mut(pending as usize) {
                entry.codes.push(code as u8);
            }
        }
        self.filter_answered(pending);
        Ok(())
    }

    fn unsubscribe(&mut self, index: u32, filter: &str) -> bool {
        let Some(session) = self.sessions.by_index(index) else { return false };
        let Some(subscription) = session.subscriptions.remove(filter) else { return false };
        self.withdraw(index, &subscription);
        true
    }

    /// Takes out every subscription of a session that ends.
    pub(crate) fn drop_subscriptions(&mut self, index: u32) {
        let Some(session) = self.sessions.by_index(index) else { return };
        for subscription in session.subscriptions.take() {
            self.withdraw(index, &subscription);
        }
        self.leave_rooms(index);
    }

    fn withdraw(&mut self, index: u32, subscription: &Subscription) {
        self.links.counters.subscriptions_now -= 1;
        if let Some(session) = self.sessions.peek(index).filter(|session| session.is_on_disk) {
            self.journal.push(persist::delete_subscription(session.id, &subscription.filter));
        }
        self.end_walks(index, subscription);
        let Ok(parsed) = Filter::parse(&subscription.filter) else { return };
        let filter = parsed.topic_filter().as_str();
        match (self.classify_filter(filter), parsed) {
            (ChatFilter::Plain, Filter::Own(_)) => {
                if self.plain.remove(filter, index) {
                    self.unwatch(filter, None);
                }
            }
            (ChatFilter::Plain, Filter::Shared(_)) => {
                self.links.counters.shared_subscriptions_now -= 1;
                self.plain.leave_group(&subscription.filter, index);
                let group = Arc::from(&*subscription.filter);
                self.tell_present(&group);
                self.unwatch(filter, Some(&group));
            }
            (ChatFilter::Room { room, .. }, _) => self.refresh_member(index, room),
            _ => self.refresh_members(index),
        }
    }
}

/// Filters of one session for one room, and for every room, at most: each is looked at for every message.
const CROWD_MAX: usize = 64;

/// How many subscriptions of a session are looked at wherever a filter is: those for its room, or for every room.
fn crowd(subscriptions: &Subscriptions, filter: ChatFilter<'_>) -> usize {
    match filter {
        ChatFilter::Room { room, .. } => subscriptions.count_within(&format!("room/{room}/")),
        ChatFilter::EveryRoom { .. } => subscriptions.count_within("room/+/"),
        ChatFilter::Plain | ChatFilter::Reserved => 0,
    }
}

/// Where subscriptions of a packet start, by its user properties `last` and `since`.
fn replay_property(properties: UserProperties<'_>) -> Result<Option<Replay>, topic::BadReplay> {
    if let Some(count) = properties.first("last") {
        return Replay::last(count).map(Some);
    }
    properties.first("since").map(Replay::since).transpose()
}
