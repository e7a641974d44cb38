//! A place as one shard sees it: the recent entries and the members here, and the delivery to them.
//!
//! Invariant: a member's cursor is the number of the next entry that it has not been sent. A member is up to date when
//! its cursor is `next`; otherwise it is resting (its session is away), blocked (its connection takes no more: the pump
//! comes back when it does), or reading a page of history.

use super::{
    lagging::list,
    run::{Kind, Packet, Run},
};
use crate::{
    Engine,
    crossing::Crossing,
    deliver::Delivering,
    message::Shared,
    session::{Ids, Origin, Seat, Sent, Session},
};
use katydid_mqtt::{
    packet::{PacketId, QoS, SubscribeOptions},
    topic,
};
use slab::Slab;
use std::{collections::VecDeque, sync::Arc};

/// A filter of a member, below the place; of a pair, for whole topics.
#[derive(Debug, Clone)]
pub(crate) struct Within {
    pub(crate) within: Box<str>,
    pub(crate) options: SubscribeOptions,
    pub(crate) id: u32,
}

/// No position of a member is on disk.
pub(super) const UNSAVED: u64 = u64::MAX;

/// A session in a place.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) session: u32,
    pub(crate) cursor: u64,
    /// Entries below this are replay, and bear RETAIN.
    pub(crate) replay_below: u64,
    pub(crate) filters: Vec<Within>,
    /// What a run needs to know, where one filter wants everything or every message.
    pub(crate) simple: Option<(QoS, bool)>,
    /// It is there by its user's membership, so that filters for all such places reach it.
    pub(crate) is_admitted: bool,
    /// Its session is away.
    pub(crate) is_resting: bool,
    /// A page has been asked for.
    pub(crate) is_reading: bool,
    pub(crate) page: VecDeque<Shared>,
    /// Last values of the place that it is yet to be sent, before anything else.
    pub(crate) kept: VecDeque<(Shared, Ids)>,
    /// Number after the page.
    pub(crate) page_next: u64,
    /// QoS 2 messages below this were sent before a restart.
    pub(crate) sent_below: u64,
    /// Whether its session knows that it has something to be sent.
    pub(super) is_listed: bool,
    /// Its position on disk, or [`UNSAVED`].
    pub(super) saved: u64,
}

/// A page that was asked for: for a member of a view, by the identifier of its session.
#[derive(Debug)]
pub(crate) struct Reading {
    view: u32,
    member: u32,
    session: u64,
    /// Where the member was.
    from: u64,
}

/// A place on a shard.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) name: Arc<str>,
    /// Where, in its topics, that begins which filters are matched against.
    within_at: usize,
    pub(crate) log: u64,
    /// The number that comes next.
    pub(crate) next: u64,
    /// Recent entries, without gaps up to `next`; each with whether it is something else than a message.
    tail: VecDeque<(Shared, bool)>,
    tail_bytes: usize,
    pub(crate) members: Slab<Member>,
    /// Enters that the home has not answered.
    pub(crate) pending: u32,
    /// Answers that the home has given.
    pub(crate) answers: u64,
    is_dirty: bool,
    /// Entries at the end of the tail that nobody has been sent.
    fresh: usize,
}

impl View {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            within_at: super::within_at(&name),
            name,
            log: 0,
            next: 0,
            tail: VecDeque::new(),
            tail_bytes: 0,
            members: Slab::new(),
            pending: 0,
            answers: 0,
            is_dirty: false,
            fresh: 0,
        }
    }

    fn tail_first(&self) -> u64 {
        self.tail.front().map_or(self.next, |(entry, _)| entry.seq)
    }

    /// The next entry for a member: from its page, or from the tail.
    fn entry(&self, member: &Member) -> Option<Shared> {
        if let Some(entry) = member.page.front() {
            return Some(entry.clone());
        }
        let at = self.tail.partition_point(|(entry, _)| entry.seq < member.cursor);
        self.tail.get(at).map(|(entry, _)| entry.clone())
    }

    /// Whether the next entry is neither in the member's page nor in the tail.
    fn is_behind(&self, member: &Member) -> bool {
        member.page.is_empty() && member.cursor < self.tail_first()
    }

    /// The home says which number comes next. Where entries are missing before it, the shard was not told of them: what
    /// it has is left over from a time before it left the place, and nobody here has to get it.
    pub(crate) fn continue_at(&mut self, next: u64) {
        if self.next < next {
            self.next = next;
            self.tail = VecDeque::new();
            self.tail_bytes = 0;
            self.fresh = 0;
        }
    }

    /// Gives back the recent entries that everybody here has been sent; who is behind reads them from the home.
    pub(crate) fn forget_tail(&mut self) {
        if self.fresh == 0 {
            self.tail = VecDeque::new();
            self.tail_bytes = 0;
        }
    }

    /// Puts another content in the place of an entry.
    pub(crate) fn replace(&mut self, entry: &Shared) {
        if let Ok(at) = self.tail.binary_search_by_key(&entry.seq, |(known, _)| known.seq) {
            self.tail_bytes = self.tail_bytes + entry.weight() - self.tail[at].0.weight();
            self.tail[at].0 = entry.clone();
        }
        for (_, member) in &mut self.members {
            if let Some(known) = member.page.iter_mut().find(|known| known.seq == entry.seq) {
                *known = entry.clone();
            }
        }
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.members.is_empty() && self.pending == 0
    }
}

/// What stopped a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// There is nothing for it now.
    UpToDate,
    /// Its connection takes no more, or its window is full.
    Blocked,
    /// It needs a page.
    Behind,
}

impl Engine {
    /// New entries of a place, from its home.
    pub(crate) fn entries_here(&mut self, place: &str, entries: &[Shared]) {
        let Some(&index) = self.view_names.get(place) else { return };
        let view = &mut self.views[index as usize];
        for entry in entries {
            view.next = entry.seq + 1;
            view.tail_bytes += entry.weight();
            view.tail.push_back((entry.clone(), super::is_other(entry.topic())));
        }
        view.fresh += entries.len();
        if !std::mem::replace(&mut view.is_dirty, true) {
            self.dirty_views.push(index);
        }
    }

    /// Delivers the new entries of a place to its members.
    pub(crate) fn settle_view(&mut self, index: u32) {
        let Some(mut view) =
            self.views.get_mut(index as usize).map(|view| std::mem::replace(view, View::new("".into())))
        else {
            return;
        };
        view.is_dirty = false;
        let batch: Vec<(Shared, bool)> =
            view.tail.iter().skip(view.tail.len() - view.fresh).cloned().collect();
        view.fresh = 0;
        let from = batch.first().map_or(view.next, |(entry, _)| entry.seq);
        let (next, log) = (view.next, view.log);
        let mut runs = Runs { runs: Vec::new(), batch: &batch, from, next, log, moved: Vec::new() };
        let mut behind = Vec::new();
        let mut members = std::mem::take(&mut view.members);
        for (key, member) in &mut members {
            if member.is_resting || member.is_reading || member.cursor >= view.next {
                continue;
            }
            let (_, mut delivering) = self.delivering();
            if runs.deliver(&mut delivering, member) {
                continue;
            }
            let seat = Seat { view: index, member: key as u32 };
            match advance(&view, member, &mut delivering) {
                Stop::UpToDate => {}
                Stop::Behind => behind.push(seat.member),
                Stop::Blocked => {
                    if let Some(session) = delivering.sessions.by_index(member.session) {
                        list(session, member, seat);
                    }
                }
            }
            if delivering.sessions.peek(member.session).is_some_and(Session::wants_listing) {
                runs.moved.push(member.session);
            }
        }
        let moved = runs.moved;
        view.members = members;
        let tail_bytes = self.settings.rooms.tail_bytes;
        while view.tail_bytes > tail_bytes {
            let Some((entry, _)) = view.tail.pop_front() else { break };
            view.tail_bytes -= entry.weight();
        }
        self.views[index as usize] = view;
        for session in moved {
            self.list_moved(session);
        }
        for member in behind {
            self.read_page(index, member);
        }
    }

    /// Delivers what is new in a place to its members, at once.
    pub(super) fn settle_view_of(&mut self, place: &str) {
        if let Some(&index) = self.view_names.get(place) {
            self.settle_view(index);
        }
    }

    /// Moves a member on as far as its connection takes it.
    pub(super) fn advance_member(&mut self, index: u32, key: u32) -> Stop {
        let Some(view) = self.views.get_mut(index as usize) else { return Stop::UpToDate };
        let Some(mut member) =
            view.members.get_mut(key as usize).map(|member| std::mem::replace(member, vacant()))
        else {
            return Stop::UpToDate;
        };
        let view = std::mem::replace(view, View::new("".into()));
        let (_, mut delivering) = self.delivering();
        let cursor = member.cursor;
        let stop = if member.is_resting || member.is_reading {
            Stop::UpToDate
        } else {
            advance(&view, &mut member, &mut delivering)
        };
        self.views[index as usize] = view;
        let (session, has_moved) = (member.session, member.cursor != cursor);
        self.views[index as usize].members[key as usize] = member;
        if has_moved {
            self.list_moved(session);
        }
        if stop == Stop::Behind {
            self.read_page(index, key);
        }
        stop
    }

    fn read_page(&mut self, index: u32, key: u32) {
        let view = &mut self.views[index as usize];
        let Some(member) = view.members.get_mut(key as usize) else { return };
        member.is_reading = true;
        let (place, from, session) = (view.name.clone(), member.cursor, member.session);
        let id = self.sessions.peek(session).map_or(0, |session| session.id);
        let ticket = self.reads.insert(Reading { view: index, member: key, session: id, from }) as u64;
        let home = crate::crossing::home(&place, self.shards);
        if home == self.shard {
            self.read_at_home(home, &place, from, ticket);
        } else {
            self.send_to(home, Crossing::Read { place, from, ticket });
        }
    }

    /// A page of history for a member who is behind.
    pub(crate) fn on_page(&mut self, ticket: u64, entries: Vec<Shared>, next: u64, first: u64) {
        let Some(reading) = self.reads.try_remove(ticket as usize) else { return };
        let Some(view) = self.views.get_mut(reading.view as usize) else { return };
        let Some(member) = view.members.get_mut(reading.member as usize) else { return };
        let session = member.session;
        if self.sessions.peek(session).is_none_or(|session| session.id != reading.session) {
            return;
        }
        member.is_reading = false;
        // A member that was moved meanwhile needs another page: between its cursor and this one there may be entries.
        if member.cursor == reading.from {
            // Retention goes before cursors: what it had not been sent, and was not asking for as history, is lost.
            let lost = reading.from.max(member.replay_below)..first;
            member.page = entries.into_iter().filter(|entry| entry.seq >= reading.from).collect();
            member.page_next = next;
            if member.page.is_empty() {
                member.cursor = member.cursor.max(next);
            }
            if !lost.is_empty() {
                let place = view.name.clone();
                self.notify_gap(session, &place, lost);
            }
        }
        self.stir_member(reading.view, reading.member);
    }

    /// Something said in a place that is not kept: to the members who are here.
    pub(crate) fn signal_here(&mut self, place: &str, message: &Shared) {
        let Some(&index) = self.view_names.get(place) else { return };
        let within_at = self.views[index as usize].within_at;
        for (_, member) in &mut self.views[index as usize].members {
            // What was kept before is not sent after what is kept now.
            member.kept.retain(|(kept, _)| kept.topic() != message.topic());
        }
        let members: Vec<(u32, Vec<Within>)> = self.views[index as usize]
            .members
            .iter()
            .filter(|(_, member)| !member.is_resting)
            .map(|(_, member)| (member.session, member.filters.clone()))
            .collect();
        for (session, filters) in members {
            let (_, mut delivering) = self.delivering();
            if let Some((_, ids)) = grant(&delivering, session, (&filters, within_at), message) {
                delivering.templates.reset();
                let grant =
                    crate::deliver::Grant { qos: QoS::AtMostOnce, retain: false, ids: ids.as_slice() };
                delivering.offer(session, message, grant);
            }
        }
    }
}

fn vacant() -> Member {
    Member {
        session: u32::MAX,
        cursor: 0,
        replay_below: 0,
        filters: Vec::new(),
        simple: None,
        is_admitted: false,
        is_resting: true,
        is_reading: false,
        page: VecDeque::new(),
        kept: VecDeque::new(),
        page_next: 0,
        sent_below: 0,
        is_listed: false,
        saved: UNSAVED,
    }
}

/// What a member's filters grant to an entry: the highest QoS and every identifier; `None` where none matches.
pub(super) fn grant(
    delivering: &Delivering<'_>,
    session: u32,
    (filters, within_at): (&[Within], usize),
    entry: &Shared,
) -> Option<(QoS, Ids)> {
    let within = entry.topic().get(within_at..)?;
    let ignored = delivering.sessions.peek(session)?.ignored.as_deref();
    if entry.is_deleted || ignored.is_some_and(|ignored| is_ignored(entry, ignored)) {
        return None;
    }
    let is_own = delivering.published(session, entry);
    let mut ids = Vec::new();
    let mut qos = None;
    for filter in filters {
        if topic::matches(&filter.within, within) && !(filter.options.no_local && is_own) {
            qos = qos.max(Some(filter.options.qos));
            if filter.id != 0 {
                ids.push(filter.id);
            }
        }
    }
    qos.map(|qos| (qos, Ids::from_slice(&ids)))
}

/// Sends a member the last values of its place; `false` when its connection takes no more.
fn send_kept(view: &View, member: &mut Member, delivering: &mut Delivering<'_>) -> bool {
    while let Some((message, ids)) = member.kept.front() {
        let Some(slot) = delivering.sessions.peek(member.session).and_then(|session| session.link) else {
            return false;
        };
        if !delivering.takes_more(slot) {
            return false;
        }
        let origin = Origin::Place(view.log, 0);
        let sent = Sent { message: message.clone(), retain: true, ids: ids.clone(), origin };
        if !delivering.send_entry(member.session, slot, QoS::AtMostOnce, sent) {
            return false;
        }
        member.kept.pop_front();
    }
    member.kept = VecDeque::new();
    true
}

/// Whether an entry was said by somebody whom a user does not hear.
fn is_ignored(entry: &Shared, ignored: &[Arc<str>]) -> bool {
    let from = entry.topic().rsplit('/').next().unwrap_or_default();
    ignored.iter().any(|name| **name == *from)
}

/// Sends a member entry after entry, until it is up to date, its connection takes no more, or it needs a page.
fn advance(view: &View, member: &mut Member, delivering: &mut Delivering<'_>) -> Stop {
    if !member.kept.is_empty() && !send_kept(view, member, delivering) {
        return Stop::Blocked;
    }
    while member.cursor < view.next {
        if view.is_behind(member) {
            return Stop::Behind;
        }
        let Some(slot) = delivering.sessions.peek(member.session).and_then(|session| session.link) else {
            return Stop::Blocked;
        };
        if !delivering.takes_more(slot) {
            return Stop::Blocked;
        }
        let Some(entry) = view.entry(member) else { return Stop::UpToDate };
        let granted = if entry.is_expired(delivering.now) {
            None
        } else {
            grant(delivering, member.session, (&member.filters, view.within_at), &entry)
        };
        if let Some((granted, ids)) = granted {
            let retain = entry.seq < member.replay_below;
            let qos = granted.min(entry.qos);
            let was_sent = qos == QoS::ExactlyOnce && entry.seq < member.sent_below;
            let origin = Origin::Place(view.log, entry.seq);
            let session = delivering.sessions.peek(member.session);
            let was_sent = was_sent || session.is_some_and(|session| session.has_resumed(origin));
            if !was_sent
                && !delivering.send_entry(
                    member.session,
                    slot,
                    qos,
                    Sent { message: entry.clone(), retain, ids, origin },
                )
            {
                return Stop::Blocked;
            }
            if retain {
                delivering.links.counters.room_replayed += 1;
            }
        }
        member.cursor = entry.seq + 1;
        if member.page.pop_front().is_some() && member.page.is_empty() {
            member.page = VecDeque::new();
            member.cursor = member.cursor.max(member.page_next);
        }
    }
    Stop::UpToDate
}

/// The runs of one batch, made as kinds of members turn up.
struct Runs<'a> {
    runs: Vec<Result<Run, Kind>>,
    batch: &'a [(Shared, bool)],
    from: u64,
    next: u64,
    log: u64,
    /// Sessions whose positions are to be written.
    moved: Vec<u32>,
}

impl Runs<'_> {
    /// Gives a member the whole batch with one copy; `false` when it needs to be moved entry by entry.
    fn deliver(&mut self, delivering: &mut Delivering<'_>, member: &mut Member) -> bool {
        let Some((qos, events)) = member.simple else { return false };
        if member.cursor != self.from || member.replay_below > self.from || !member.page.is_empty() {
            return false;
        }
        if !member.kept.is_empty() {
            return false;
        }
        let Some(session) = delivering.sessions.by_index(member.session) else { return false };
        let Some(slot) = session.link else { return false };
        let keeps_exactly_once = qos == QoS::ExactlyOnce && session.is_persistent();
        if keeps_exactly_once || session.ignored.is_some() || session.held > 0 {
            return false;
        }
        let Some(link) = delivering.links.by_slot(slot) else { return false };
        if link.own_aliases.is_some() {
            return false;
        }
        let kind = Kind { version: link.version, qos, events };
        let (packet_bytes, waiting, is_open) = (link.packet_bytes as usize, link.ring.len(), link.is_open());
        let known =
            self.runs.iter().position(|run| run.as_ref().map_or_else(|kind| *kind, |run| run.kind) == kind);
        let at = known.unwrap_or_else(|| {
            let run = Run::encode(kind, self.batch, delivering.now);
            self.runs.push(run.ok_or(kind));
            self.runs.len() - 1
        });
        let Ok(run) = &self.runs[at] else { return false };
        let fits = is_open
            && run.longest <= packet_bytes
            && waiting + run.bytes.len() <= delivering.settings.limits.ring_bytes
            && session.outbound.spare() >= run.tracked
            && !session.outbound.is_resuming();
        if !fits {
            return false;
        }
        member.cursor = self.next;
        if session.wants_listing() {
            self.moved.push(member.session);
        }
        let (batch, log) = (self.batch, self.log);
        let outbound = &mut session.outbound;
        let track = |packet: &Packet| -> PacketId {
            let message = batch[packet.entry as usize].0.clone();
            let origin = Origin::Place(log, message.seq);
            outbound.send(packet.qos, Sent { message, retain: false, ids: Ids::None, origin })
        };
        delivering.links.publish_encoded(slot, &run.bytes, |bytes| {
            let mut track = track;
            for packet in run.packets.iter().filter(|packet| packet.qos != QoS::AtMostOnce) {
                let at = packet.id_at as usize;
                bytes[at..at + 2].copy_from_slice(&track(packet).get().to_be_bytes());
            }
        });
        delivering.links.count_publish(run.packets.len() as u64, run.payload_bytes);
        true
    }
}
