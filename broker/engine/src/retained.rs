//! Retained messages: kept at the home of their topic, and handed to a new subscription in pages.
//!
//! The first page comes with the home's answer to a SUBSCRIBE. The rest is asked for page by page, when the subscriber's
//! ring and queue have room, so that a filter that matches everything neither holds a shard up nor fills its memory.
//! Where a walk through the topics stands is in memory only: a broker that crashes in the middle of a long walk does not
//! go on with it. Invariant: a walk gives what was retained before the subscription counted; what was retained after it
//! came as it was published, so nothing comes twice and nothing older comes after something newer.

use crate::{
    Engine,
    crossing::Crossing,
    deliver::Grant,
    io::{Now, ShardId},
    message::Shared,
    mutant::Mutant,
    persist,
    session::Subscription,
    settings::Limits,
    topic_map::TopicMap,
};
use std::{collections::VecDeque, ops::ControlFlow};

/// Messages and bytes of a page, and topics that are looked at for it, at most.
const PAGE_MESSAGES: usize = 256;
const PAGE_BYTES: usize = 64 << 10;
const PAGE_STEPS: usize = 4096;

/// The retained messages of the topics that are at home on a shard.
#[derive(Debug)]
pub(crate) struct Retained {
    topics: TopicMap<Kept>,
    /// Messages that were ever retained since the start.
    stamp: u64,
}

#[derive(Debug)]
struct Kept {
    message: Shared,
    stamp: u64,
}

/// Part of what is retained for a filter, and where the next part begins, unless this is all.
#[derive(Debug)]
pub(crate) struct Page {
    messages: Vec<Shared>,
    rest: Option<Rest>,
    until: u64,
}

/// Where a walk goes on.
#[derive(Debug, Clone)]
pub(crate) struct Rest {
    /// Behind this topic; at the first one without it.
    after: Option<Box<str>>,
    /// What was retained later is not in it.
    until: u64,
}

/// How large a page may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageLimit {
    messages: usize,
    bytes: usize,
}

impl PageLimit {
    /// A page fits into what a connection and a session may hold.
    fn of(limits: &Limits) -> Self {
        Self {
            messages: PAGE_MESSAGES.min(limits.queue_messages / 2),
            bytes: PAGE_BYTES.min(limits.ring_bytes / 2).min(limits.queue_bytes / 2),
        }
    }
}

/// What a subscription has still to be given by one home.
#[derive(Debug)]
pub(crate) struct Walk {
    ticket: u64,
    home: ShardId,
    subscription: Subscription,
    rest: Rest,
    is_asked: bool,
}

/// The walks of a session, one after the other.
pub(crate) type Walks = Option<Box<VecDeque<Walk>>>;

impl Retained {
    pub(crate) fn new(protected: &'static [&'static str]) -> Self {
        Self { topics: TopicMap::new(protected), stamp: 0 }
    }

    /// The message of a topic.
    pub(crate) fn get(&self, topic: &str) -> Option<&Shared> {
        self.topics.get(topic).map(|kept| &kept.message)
    }

    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    pub(crate) fn insert(&mut self, message: &Shared) {
        self.stamp += 1;
        let kept = Kept { message: message.clone(), stamp: self.stamp };
        self.topics.insert(message.topic(), kept);
    }

    pub(crate) fn remove(&mut self, topic: &str) -> Option<Shared> {
        self.topics.remove(topic).map(|kept| kept.message)
    }

    /// Where the walk of a new subscription begins.
    pub(crate) fn start(&self) -> Rest {
        Rest { after: None, until: self.stamp }
    }

    /// The page of a filter that begins at `rest`.
    pub(crate) fn page(&self, filter: &str, rest: &Rest, limit: PageLimit, now: Now) -> Page {
        let mut page = Page { messages: Vec::new(), rest: None, until: rest.until };
        let mut bytes = 0;
        let stopped = self.topics.walk_part(filter, rest.after.as_deref(), PAGE_STEPS, |_, kept| {
            if kept.stamp > rest.until || kept.message.is_expired(now) {
                return ControlFlow::Continue(());
            }
            bytes += kept.message.weight();
            page.messages.push(kept.message.clone());
            let is_full = page.messages.len() >= limit.messages || bytes >= limit.bytes;
            if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        page.rest = stopped.map(|topic| Rest { after: Some(topic.into()), until: rest.until });
        page
    }
}

impl Engine {
    /// Keeps a message for later subscribers, or takes the one of its topic away.
    pub(crate) fn set_retained(&mut self, message: &Shared) {
        let counters = &mut self.links.counters;
        let is_system = message.topic().starts_with('$');
        if message.payload().is_empty() {
            if let Some(old) = self.plain.retained.remove(message.topic()) {
                counters.retained_bytes_now -= old.weight() as u64;
                self.journal.push(persist::delete_retained(message.topic()));
            }
            counters.retained_now = self.plain.retained.len() as u64;
            return;
        }
        let limits = &self.settings.limits;
        let old = self.plain.retained.get(message.topic()).map_or(0, |old| old.weight());
        let count = self.plain.retained.len() + usize::from(old == 0);
        let bytes = counters.retained_bytes_now as usize - old + message.weight();
        if !is_system && (count > limits.retained_messages || bytes > limits.retained_bytes) {
            counters.refused_retained += 1;
            return;
        }
        if !is_system && !Mutant::RetainedNotStored.is_on() {
            self.journal.push(persist::put_retained(message));
        }
        self.plain.retained.insert(message);
        counters.retained_now = count as u64;
        counters.retained_bytes_now = bytes as u64;
    }

    /// Answers, as a home, with the first page of a filter's retained messages.
    pub(crate) fn first_page(&self, filter: &str) -> Page {
        self.next_page(filter, &self.plain.retained.start())
    }

    fn next_page(&self, filter: &str, rest: &Rest) -> Page {
        self.plain.retained.page(filter, rest, PageLimit::of(&self.settings.limits), self.now)
    }

    /// The first page of a home is here. One that finds much waiting already is fetched again when there is room.
    pub(crate) fn begin_walk(&mut self, index: u32, home: ShardId, subscription: &Subscription, page: Page) {
        let most = PageLimit::of(&self.settings.limits).messages;
        let Some(session) = self.sessions.by_index(index) else { return };
        if let Some(walks) = session.walks.as_mut() {
            // The filter was subscribed to again: it begins anew.
            walks.retain(|walk| walk.home != home || walk.subscription.filter != subscription.filter);
        }
        let Page { messages, mut rest, until } = page;
        if messages.is_empty() && rest.is_none() {
            return;
        }
        let is_full = session.queue.as_ref().is_some_and(|queue| queue.len() >= most.max(1));
        let has_walks = session.walks.as_ref().is_some_and(|walks| !walks.is_empty());
        if is_full || has_walks {
            rest = Some(Rest { after: None, until });
        } else {
            self.offer_page(index, subscription, &messages);
        }
        let Some(rest) = rest else { return };
        let ticket = self.random();
        let Some(session) = self.sessions.by_index(index) else { return };
        let walk = Walk { ticket, home, subscription: subscription.clone(), rest, is_asked: false };
        session.walks.get_or_insert_default().push_back(walk);
        self.sessions.mark_ready(index);
    }

    fn offer_page(&mut self, index: u32, subscription: &Subscription, messages: &[Shared]) {
        let ids = [subscription.id];
        let ids = if subscription.id == 0 { &[][..] } else { &ids };
        for message in messages {
            let (_, mut delivering) = self.delivering();
            delivering.templates.reset();
            let grant = Grant { qos: subscription.options.qos, retain: true, ids };
            delivering.offer_retained(index, message, grant);
        }
    }

    /// A session can take more: the next page of its first walk is asked for.
    pub(crate) fn walk_on(&mut self, index: u32) {
        let Some(session) = self.sessions.by_index(index) else { return };
        if session.has_queued() {
            return;
        }
        let id = session.id;
        let Some(walk) = session.walks.as_mut().and_then(|walks| walks.front_mut()) else { return };
        if std::mem::replace(&mut walk.is_asked, true) {
            return;
        }
        let (home, ticket) = (walk.home, walk.ticket);
        let (filter, rest) = (walk.subscription.filter.clone(), walk.rest.clone());
        if home == self.shard {
            let page = self.next_page(&filter, &rest);
            self.on_retained((index, id), ticket, page);
        } else {
            self.send_to(home, Crossing::Walk { session: (index, id), ticket, filter, rest });
        }
    }

    /// Answers, as a home, a session that goes on with its walk.
    pub(crate) fn walk_at_home(
        &mut self,
        shard: ShardId,
        session: (u32, u64),
        ticket: u64,
        filter: &str,
        rest: &Rest,
    ) {
        let page = self.next_page(filter, rest);
        self.send_to(shard, Crossing::Retained { session, ticket, page });
    }

    /// A page is here, for a walk that may have been given up since.
    pub(crate) fn on_retained(&mut self, (index, id): (u32, u64), ticket: u64, page: Page) {
        let Some(session) = self.sessions.by_index(index).filter(|session| session.id == id) else { return };
        let Some(walks) = session.walks.as_mut() else { return };
        let Some(walk) = walks.front_mut().filter(|walk| walk.ticket == ticket) else { return };
        let subscription = walk.subscription.clone();
        match page.rest {
            Some(rest) => {
                walk.rest = rest;
                walk.is_asked = false;
            }
            None => {
                walks.pop_front();
                if walks.is_empty() {
                    session.walks = None;
                }
            }
        }
        self.offer_page(index, &subscription, &page.messages);
        // Others have their turn before the next page.
        self.sessions.mark_ready(index);
    }

    /// A session is not subscribed to a filter any more.
    pub(crate) fn end_walks(&mut self, index: u32, subscription: &Subscription) {
        let Some(session) = self.sessions.by_index(index) else { return };
        if let Some(walks) = session.walks.as_mut() {
            walks.retain(|walk| walk.subscription.filter != subscription.filter);
        }
    }

    /// The quality of service that the walks of a filter go on with.
    pub(crate) fn regrant_walks(&mut self, index: u32, subscription: &Subscription) {
        let Some(walks) = self.sessions.by_index(index).and_then(|session| session.walks.as_mut()) else {
            return;
        };
        for walk in walks.iter_mut().filter(|walk| walk.subscription.filter == subscription.filter) {
            walk.subscription = subscription.clone();
        }
    }
}
