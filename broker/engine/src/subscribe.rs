//! SUBSCRIBE and UNSUBSCRIBE. A filter asks the homes of its topics first; SUBACK leaves when all have answered and,
//! for a session that outlives its connection, when the subscription is on disk. Deliveries wait behind SUBACK.

use crate::{
    Engine,
    acks::reason_of,
    crossing::{Crossing, Start, home},
    desk::Asked,
    io::{ConnId, ShardId},
    journal::Waiter,
    link::Pause,
    own::{one_pair, shown_of},
    persist,
    place::{Cause, start_of},
    plain::{Subscriber, wants_retained},
    receive::Fault,
    retained::Page,
    session::{Session, Subscription},
    subscriptions::Subscriptions,
};
use katydid_chat::{
    code::Code,
    topic::{self, Filter as ChatFilter, Replay, Root},
};
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
    /// Why chat refused one of them.
    refused: Option<Code>,
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
    /// It is a part of a subscription that the session has already: the presence and profile of its user.
    is_part: bool,
}

/// A filter to subscribe to, after every check.
pub(crate) struct Wanted<'a> {
    pub(crate) written: &'a str,
    pub(crate) options: SubscribeOptions,
    pub(crate) id: u32,
    pub(crate) replay: Option<Replay>,
    pub(crate) password: Option<&'a str>,
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
                password: packet.user_properties.first("password"),
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
        let pending =
            Pending { conn, session, packet_id, codes, refused: None, remaining: 1, is_unsubscribe };
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
        if !matches!(self.classify_filter(filter.as_str(), None), ChatFilter::Plain) {
            self.introduce(index);
        }
        let limits = &self.settings.limits;
        let Some(session) = self.sessions.peek(index) else { return Err(ReasonCode::UnspecifiedError) };
        let me = session.name.clone();
        let is_asked = session.subscriptions.contains(written);
        let is_new = !is_asked || session.subscriptions.is_dormant(written);
        let is_full = session.subscriptions.count() >= limits.subscriptions
            || crowd(&session.subscriptions, &self.classify_filter(filter.as_str(), me.as_deref()))
                >= CROWD_MAX;
        if !is_asked && is_full {
            self.links.counters.refused_subscriptions += 1;
            return Err(ReasonCode::QuotaExceeded);
        }
        if let Err(reason) = self.permits_subscribe(session, filter.as_str()) {
            self.links.counters.refused_not_authorized += 1;
            return Err(if self.settings.conceal_refusals { ReasonCode::UnspecifiedError } else { reason });
        }
        let (filter_text, options) = (written.into(), wanted.options);
        let subscription = Subscription { filter: filter_text, options, id: wanted.id, is_dormant: false };
        let replay = replay.or(wanted.replay);
        match (self.classify_filter(filter.as_str(), me.as_deref()), parsed) {
            (ChatFilter::Plain | ChatFilter::Users, _) if replay.is_some() => {
                Err(ReasonCode::TopicFilterInvalid)
            }
            (ChatFilter::Users, Filter::Shared(_)) => Err(ReasonCode::SharedSubscriptionsNotSupported),
            (ChatFilter::Plain | ChatFilter::Users, _) => {
                let retained = matches!(parsed, Filter::Own(_))
                    && wants_retained(wanted.options.retain_handling, is_new);
                self.note_asked(index, written, is_new);
                self.watch(Some(pending), index, subscription, retained);
                Ok(())
            }
            (_, Filter::Shared(_)) => Err(ReasonCode::SharedSubscriptionsNotSupported),
            (ChatFilter::Place { place, .. }, _) => {
                let replay = match (replay, wanted.options.retain_handling, is_new) {
                    (_, RetainHandling::DoNotSend, _) | (_, RetainHandling::SendIfNew, false) => None,
                    (Some(replay), ..) => Some(replay),
                    (None, _, true) => Some(Replay::Last(self.settings.rooms.replay)),
                    (None, _, false) => None,
                };
                self.note_asked(index, written, is_new);
                let at = self.subscribing.get(pending as usize).map_or(0, |entry| entry.codes.len());
                let cause = Cause::Subscribe { pending, at };
                self.enter_place(cause, index, place, subscription, (replay, wanted.password));
                Ok(())
            }
            (meaning, _) => {
                let root = root_of_all(&meaning);
                let only = one_pair(&meaning);
                let shown = shown_of(&meaning, me.as_deref());
                self.keep_subscription(index, subscription.clone());
                self.refresh_members(index);
                let start = replay.map(|replay| start_of(replay, self.now.unix_ms));
                let start = match (start, wanted.options.retain_handling) {
                    (_, RetainHandling::DoNotSend) => (Some(Start::Live), false),
                    (Some(_), RetainHandling::SendIfNew) if !is_new => (None, false),
                    (start, _) => (start, start.is_some()),
                };
                if let Some(shown) = shown {
                    if let Some(entry) = self.subscribing.get_mut(pending as usize) {
                        entry.remaining += 1;
                    }
                    let retained = wants_retained(wanted.options.retain_handling, is_new);
                    self.watch_shown(Some(pending), index, subscription, shown, retained);
                }
                match root {
                    Some(root) => self.enter_all(Some(pending), index, (root, only), start),
                    None => self.filter_answered(pending),
                }
                Ok(())
            }
        }
    }

    /// A new filter counts from here on.
    fn note_asked(&mut self, index: u32, filter: &str, is_new: bool) {
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
        self.watch_as(pending, index, subscription, false, retained);
    }

    /// The same for what everybody may see of a user, as a part of the user's own `user/{me}/#`, under the filter that
    /// means this user alone.
    pub(crate) fn watch_shown(
        &mut self,
        pending: Option<u64>,
        index: u32,
        subscription: Subscription,
        shown: Box<str>,
        retained: bool,
    ) {
        self.watch_as(pending, index, Subscription { filter: shown, ..subscription }, true, retained);
    }

    fn watch_as(
        &mut self,
        pending: Option<u64>,
        index: u32,
        subscription: Subscription,
        is_part: bool,
        retained: bool,
    ) {
        let Ok(parsed) = Filter::parse(&subscription.filter) else { return };
        let filter: Arc<str> = parsed.topic_filter().as_str().into();
        let group = matches!(parsed, Filter::Shared(_)).then(|| Arc::from(&*subscription.filter));
        let mut homes = self.homes(parsed.topic_filter());
        // This shard answers at once, and what follows from that must not overtake the questions to the others.
        homes.sort_by_key(|home| *home == self.shard);
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
            is_part,
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
        let is_part = watching.is_part;
        let subscription = watching.subscription.clone();
        let (filter, group) = (watching.filter.clone(), watching.group.clone());
        let lives = self.sessions.peek(index).is_some_and(|session| session.id == id);
        if is_first {
            let is_new = match pending {
                _ if !lives || is_part => false,
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

    /// Chat refuses a filter of a packet.
    pub(crate) fn refuse_filter(&mut self, pending: u64, at: usize, code: Code) {
        let conceals = self.settings.conceal_refusals;
        let Some(entry) = self.subscribing.get_mut(pending as usize) else { return };
        let reason = match reason_of(code) {
            _ if conceals => ReasonCode::UnspecifiedError,
            ReasonCode::QuotaExceeded => ReasonCode::QuotaExceeded,
            _ => ReasonCode::NotAuthorized,
        };
        if let Some(code) = entry.codes.get_mut(at) {
            *code = reason as u8;
        }
        entry.refused = Some(code).filter(|_| !conceals);
    }

    /// Sends SUBACK or UNSUBACK, and lets deliveries go on.
    pub(crate) fn answer_subscribe(&mut self, pending: u64) {
        let Some(entry) = self.subscribing.try_remove(pending as usize) else { return };
        self.done_subscribing(entry.session);
        let Some(link) = self.links.by_conn(entry.conn) else { return };
        link.subscribing -= 1;
        let (version, is_informed) = (link.version, link.problem_information);
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
            reason_string: entry.refused.filter(|_| is_informed).map(Code::as_str),
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
                Ok((_, filter)) if self.unsubscribe(pending, index, filter) => ReasonCode::Success,
                Ok(_) => ReasonCode::NoSubscriptionExisted,
            };
            if let Some(entry) = self.subscribing.get_mut(pending as usize) {
                entry.codes.push(code as u8);
            }
        }
        self.filter_answered(pending);
        Ok(())
    }

    fn unsubscribe(&mut self, pending: u64, index: u32, filter: &str) -> bool {
        let Some(session) = self.sessions.by_index(index) else { return false };
        let Some(subscription) = session.subscriptions.remove(filter) else { return false };
        self.withdraw(index, &subscription);
        if !subscription.is_dormant {
            self.tell_left(pending, index, &subscription.filter);
        }
        true
    }

    /// Takes out every subscription of a session that ends.
    pub(crate) fn drop_subscriptions(&mut self, index: u32) {
        let Some(session) = self.sessions.by_index(index) else { return };
        for subscription in session.subscriptions.take() {
            self.withdraw(index, &subscription);
        }
        self.leave_places(index);
    }

    /// Where no other subscription of the session names the place that a filter named, its user has left it there.
    fn tell_left(&mut self, pending: u64, index: u32, filter: &str) {
        let Some(session) = self.sessions.peek(index) else { return };
        let me = session.name.as_deref();
        let ChatFilter::Place { place, .. } = self.classify_filter(filter, me) else { return };
        let stays = session.subscriptions.within(&format!("{place}/")).any(|known| !known.is_dormant);
        if !stays {
            let (session, place) = (session.id, place.into());
            if let Some(entry) = self.subscribing.get_mut(pending as usize) {
                entry.remaining += 1;
            }
            self.ask(Asked::Left { pending, session, place });
        }
    }

    fn withdraw(&mut self, index: u32, subscription: &Subscription) {
        self.links.counters.subscriptions_now -= 1;
        let me = self.sessions.peek(index).and_then(|session| session.name.clone());
        if let Some(session) = self.sessions.peek(index).filter(|session| session.is_on_disk) {
            self.journal.push(persist::delete_subscription(session.id, &subscription.filter));
        }
        self.end_walks(index, subscription);
        let Ok(parsed) = Filter::parse(&subscription.filter) else { return };
        let filter = parsed.topic_filter().as_str();
        match (self.classify_filter(filter, me.as_deref()), parsed) {
            (ChatFilter::Plain | ChatFilter::Users, Filter::Own(_)) => {
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
            (ChatFilter::Place { place, .. }, _) => self.refresh_member(index, place),
            (meaning @ ChatFilter::Own { .. }, _) => {
                if let Some(shown) = shown_of(&meaning, me.as_deref())
                    && !self.shows(index, &shown, me.as_deref())
                    && self.plain.remove(&shown, index)
                {
                    self.unwatch(&shown, None);
                }
                self.refresh_members(index);
            }
            _ => self.refresh_members(index),
        }
    }
}

/// Filters of one session for one place, and for every such place, at most: each is looked at for every message.
const CROWD_MAX: usize = 64;

/// How many subscriptions of a session are looked at wherever a filter is: those for its place, or for every such place.
fn crowd(subscriptions: &Subscriptions, filter: &ChatFilter<'_>) -> usize {
    match filter {
        ChatFilter::Place { place, .. } => subscriptions.count_within(&format!("{place}/")),
        ChatFilter::Every { root, .. } => subscriptions.count_within(&format!("{}/+/", root.as_str())),
        ChatFilter::Own { .. } => subscriptions.count_within("user/"),
        ChatFilter::Plain | ChatFilter::Users | ChatFilter::Reserved => 0,
    }
}

/// The places that a wildcard filter reaches; none where it is for answers only.
pub(crate) fn root_of_all(filter: &ChatFilter<'_>) -> Option<Root> {
    match filter {
        ChatFilter::Every { root, .. } => Some(*root),
        ChatFilter::Own { filter } if filter.split('/').nth(2) != Some("reply") => Some(Root::Pair),
        _ => None,
    }
}

/// Where subscriptions of a packet start, by its user properties `last` and `since`.
fn replay_property(properties: UserProperties<'_>) -> Result<Option<Replay>, topic::BadReplay> {
    if let Some(count) = properties.first("last") {
        return Replay::last(count).map(Some);
    }
    properties.first("since").map(Replay::since).transpose()
}
