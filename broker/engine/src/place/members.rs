//! Who is in a place: entering through a subscription, leaving with the last one, resting while away, and where each
//! member stands on disk.

use super::{
    lagging::list,
    view::{Member, UNSAVED, View, Within, grant},
};
use crate::{
    Engine,
    crossing::{Crossing, Entered, Entry, Start, home},
    desk::Asked,
    message::Shared,
    mutant::Mutant,
    persist,
    session::{Origin, Seat, Sent, Session, Subscription},
};
use foldhash::fast::FixedState;
use katydid_chat::{
    code::Code,
    topic::{self, Filter as ChatFilter, Replay, Root},
};
use katydid_mqtt::{
    packet::{QoS, RetainHandling},
    session::Resend,
};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Why a session enters a place.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cause {
    /// A filter of the SUBSCRIBE that waits under this key: where its code stands.
    Subscribe { pending: u64, at: usize },
    /// It was there when the broker stopped, and had been sent the QoS 2 messages below a number.
    Restart { sent_below: u64 },
}

/// An enter by name that the place's home has not answered.
#[derive(Debug)]
pub(crate) struct Entering {
    cause: Cause,
    view: u32,
    index: u32,
    session: u64,
    subscription: Subscription,
    /// Whether the member's cursor moves, although it is there already.
    moves: bool,
}

/// A wildcard subscription whose places have not all answered.
#[derive(Debug)]
pub(crate) struct EnteringAll {
    pending: u64,
    /// Places that there are, once the directory has said, and those that have answered.
    places: Option<u32>,
    answered: u32,
}

/// Where a replay starts, as a home understands it.
pub(crate) fn start_of(replay: Replay, now_unix_ms: u64) -> Start {
    match replay {
        Replay::Last(count) => Start::Last(count),
        Replay::Since(after) => Start::Since(after),
        Replay::SinceTime(time_ms) => Start::SinceTime(time_ms),
        Replay::SinceAgo(ago_ms) => Start::SinceTime(now_unix_ms.saturating_sub(ago_ms)),
    }
}

impl Engine {
    /// A subscription that names a place: its session is a member from the answer of the place's home on, where the
    /// directory lets it in.
    pub(crate) fn enter_place(
        &mut self,
        cause: Cause,
        index: u32,
        place: &str,
        subscription: Subscription,
        (replay, password): (Option<Replay>, Option<&str>),
    ) {
        let start = replay.map_or(Start::Live, |replay| start_of(replay, self.now.unix_ms));
        let view = self.view_of(place);
        self.views[view as usize].pending += 1;
        let place = self.views[view as usize].name.clone();
        let session = self.sessions.peek(index).map_or(0, |session| session.id);
        let moves = replay.is_some();
        let ticket =
            self.entering.insert(Entering { cause, view, index, session, subscription, moves }) as u64;
        let restored = matches!(cause, Cause::Restart { .. });
        let password = password.map(Box::from);
        self.ask(Asked::Enter { ticket, session, place, password, restored, start });
    }

    /// A wildcard subscription: its session is a member of every such place that its user is in. Where it starts is said of
    /// `only` one place, or of all.
    pub(crate) fn enter_all(
        &mut self,
        pending: Option<u64>,
        index: u32,
        (root, only): (Root, Option<Arc<str>>),
        (start, moves): (Option<Start>, bool),
    ) {
        let Some(session) = self.sessions.peek(index).map(|session| session.id) else { return };
        let entering = |pending| EnteringAll { pending, places: None, answered: 0 };
        let ticket = pending.map(|pending| self.entering_all.insert(entering(pending)) as u64);
        self.ask(Asked::EnterAll { ticket, session, root: root.as_str(), only, start, moves });
    }

    /// The view of a place; it is made when it is not there.
    fn view_of(&mut self, place: &str) -> u32 {
        if let Some(view) = self.view_names.get(place) {
            return *view;
        }
        let name: Arc<str> = place.into();
        let view = self.views.insert(View::new(name.clone())) as u32;
        self.view_names.insert(name, view);
        view
    }

    /// The place's home has answered.
    pub(crate) fn on_entered(&mut self, entered: Entered) {
        let view_index = self.view_of(&entered.place);
        let view = &mut self.views[view_index as usize];
        view.log = entered.log;
        view.answers = entered.answers;
        view.continue_at(entered.next);
        match entered.why {
            Entry::Named(ticket) => self.on_entered_by_name(view_index, ticket, &entered),
            Entry::Admitted { .. } => self.on_admitted(view_index, &entered),
        }
    }

    fn on_entered_by_name(&mut self, view_index: u32, ticket: u64, entered: &Entered) {
        let Some(entering) = self.entering.try_remove(ticket as usize) else { return };
        let Entering { cause, index, session, subscription, moves, .. } = entering;
        self.views[view_index as usize].pending -= 1;
        let (start, next) = (entered.start, entered.next);
        let start = if Mutant::GapAtEnter.is_on() && start == next { start + 1 } else { start };
        if self.sessions.peek(index).is_some_and(|known| known.id == session) {
            let handling = subscription.options.retain_handling;
            let wants_kept = match cause {
                Cause::Subscribe { .. } => handling != RetainHandling::DoNotSend,
                Cause::Restart { .. } => false,
            };
            let filter = subscription.filter.clone();
            self.keep_subscription(index, subscription);
            self.join(view_index, index, (start, next), moves);
            self.start_exactly_once(view_index, index, cause, moves);
            self.refresh_member_in(index, view_index);
            self.save_position(index, view_index);
            if wants_kept {
                self.deliver_kept(view_index, index, Some(&filter), &entered.kept);
            }
            self.sessions.mark_ready(index);
        } else {
            self.drop_view_if_unused(view_index);
        }
        if let Cause::Subscribe { pending, .. } = cause {
            self.filter_answered(pending);
        }
    }

    fn on_admitted(&mut self, view_index: u32, entered: &Entered) {
        let Entry::Admitted { index, session: id, joining, is_new, moves } = entered.why else { return };
        let session = self.sessions.by_index(index).filter(|session| session.id == id);
        if let Some(session) = session {
            let known = session.seats.iter().any(|seat| seat.view == view_index);
            let stood = session.stood.remove(&*entered.place);
            let position = stood.and_then(|stood| stood.position).filter(|_| !moves);
            let start = position.unwrap_or(entered.start).min(entered.next);
            self.join(view_index, index, (start, entered.next), moves);
            if let Some(member) = self.member_mut(view_index, index) {
                member.is_admitted = true;
                if (is_new || position.is_some()) && !known {
                    member.replay_below = 0;
                }
            }
            if let Some(stood) = stood.filter(|_| !moves) {
                self.start_exactly_once(
                    view_index,
                    index,
                    Cause::Restart { sent_below: stood.sent_below },
                    false,
                );
            }
            self.refresh_members(index);
            if self.member_mut(view_index, index).is_some() {
                self.save_position(index, view_index);
                if !known && position.is_none() {
                    self.deliver_kept(view_index, index, None, &entered.kept);
                }
            }
            self.sessions.mark_ready(index);
        }
        self.drop_view_if_unused(view_index);
        if let Some(ticket) = joining {
            self.on_entered_all(ticket, None);
        }
    }

    /// The directory, or a place's home, does not let a session in.
    pub(crate) fn on_not_entered(&mut self, why: Entry, code: Code) {
        let ticket = match why {
            Entry::Named(ticket) => ticket,
            Entry::Admitted { joining, .. } => {
                joining.into_iter().for_each(|ticket| self.on_entered_all(ticket, None));
                return;
            }
        };
        let Some(entering) = self.entering.try_remove(ticket as usize) else { return };
        let Entering { cause, view, index, session, mut subscription, .. } = entering;
        if let Some(session) = self.sessions.by_index(index).filter(|known| known.id == session) {
            session.subscriptions.give_up(&subscription.filter);
        }
        self.views[view as usize].pending -= 1;
        self.drop_view_if_unused(view);
        match cause {
            Cause::Subscribe { pending, at } => {
                self.links.counters.refused_not_authorized += 1;
                self.refuse_filter(pending, at, code);
                self.filter_answered(pending);
            }
            Cause::Restart { .. } => {
                if self.sessions.peek(index).is_some_and(|known| known.id == session) {
                    subscription.is_dormant = true;
                    self.keep_subscription(index, subscription);
                }
            }
        }
    }

    /// A place that a wildcard subscription reaches has answered, or the directory has said how many there are.
    pub(crate) fn on_entered_all(&mut self, ticket: u64, places: Option<u32>) {
        let Some(entering) = self.entering_all.get_mut(ticket as usize) else { return };
        match places {
            Some(places) => entering.places = Some(places),
            None => entering.answered += 1,
        }
        if entering.places == Some(entering.answered) {
            let pending = self.entering_all.remove(ticket as usize).pending;
            self.filter_answered(pending);
        }
    }

    fn member_mut(&mut self, view_index: u32, index: u32) -> Option<&mut Member> {
        let session = self.sessions.peek(index)?;
        let seat = session.seats.iter().find(|seat| seat.view == view_index)?;
        self.views[view_index as usize].members.get_mut(seat.member as usize)
    }

    /// Last values of a place, for a session that has come in: those that its filter, or one of its filters, matches.
    fn deliver_kept(&mut self, view_index: u32, index: u32, filter: Option<&str>, kept: &[Shared]) {
        if kept.is_empty() {
            return;
        }
        if let Some(member) = self.member_mut(view_index, index) {
            member.kept.clear();
        }
        let Some(session) = self.sessions.peek(index) else { return };
        let view = &self.views[view_index as usize];
        let (filters, _) = filters_of(session, &view.name, true, filter);
        let within_at = super::within_at(&view.name);
        for message in kept {
            let (_, delivering) = self.delivering();
            if let Some((_, ids)) = grant(&delivering, index, (&filters, within_at), message)
                && let Some(member) = self.member_mut(view_index, index)
            {
                member.kept.push_back((message.clone(), ids));
            }
        }
    }

    /// From which number on QoS 2 messages have to be sent: after a restart not those that had been, but all of them
    /// where the client asked for them anew.
    fn start_exactly_once(&mut self, view_index: u32, index: u32, cause: Cause, moves: bool) {
        let Some(session) = self.sessions.by_index(index) else { return };
        let view = &mut self.views[view_index as usize];
        let seat = session.seats.iter().find(|seat| seat.view == view_index);
        let Some(member) = seat.and_then(|seat| view.members.get_mut(seat.member as usize)) else {
            return;
        };
        match cause {
            Cause::Restart { sent_below } => {
                member.sent_below = member.sent_below.max(sent_below);
                // What it has not been sent is new to it, as if the broker had been up: no RETAIN on it.
                member.replay_below = 0;
            }
            Cause::Subscribe { .. } if moves => {
                member.sent_below = 0;
                let log = view.log;
                let of_place = |origin: &Origin| matches!(origin, Origin::Place(of, _) if *of == log);
                for resumed in &mut session.resumed {
                    resumed.origin = resumed.origin.filter(|origin| !of_place(origin));
                }
                if session.is_on_disk {
                    self.journal.push(persist::delete_sent(session.id, &view.name));
                }
            }
            Cause::Subscribe { .. } => {}
        }
    }

    fn join(&mut self, view_index: u32, index: u32, (start, next): (u64, u64), moves: bool) {
        let Some(session) = self.sessions.by_index(index) else { return };
        let is_resting = session.link.is_none();
        let view = &mut self.views[view_index as usize];
        let known = session.seats.iter().find(|seat| seat.view == view_index).copied();
        if let Some(member) = known.and_then(|seat| view.members.get_mut(seat.member as usize)) {
            if moves {
                member.cursor = start;
                member.replay_below = next;
                member.page = VecDeque::new();
            }
            return known.map_or((), |seat| self.stir_member(view_index, seat.member));
        }
        let member = view.members.insert(Member {
            session: index,
            cursor: start,
            replay_below: next,
            filters: Vec::new(),
            simple: None,
            is_admitted: false,
            is_resting,
            is_reading: false,
            page: VecDeque::new(),
            kept: VecDeque::new(),
            page_next: 0,
            sent_below: 0,
            is_listed: false,
            saved: UNSAVED,
        }) as u32;
        session.seats.push(Seat { view: view_index, member });
        self.stir_member(view_index, member);
    }

    /// Brings the members of a session in line with its subscriptions: the filters of each, and which places it is in.
    pub(crate) fn refresh_members(&mut self, index: u32) {
        let Some(session) = self.sessions.peek(index) else { return };
        for seat in session.seats.clone() {
            self.refresh_seat(index, seat);
        }
    }

    /// The same for one place, where only a filter for it has changed.
    pub(crate) fn refresh_member(&mut self, index: u32, place: &str) {
        if let Some(view) = self.view_names.get(place).copied() {
            self.refresh_member_in(index, view);
        }
    }

    fn refresh_member_in(&mut self, index: u32, view: u32) {
        let Some(session) = self.sessions.peek(index) else { return };
        if let Some(seat) = session.seats.iter().find(|seat| seat.view == view).copied() {
            self.refresh_seat(index, seat);
        }
    }

    fn refresh_seat(&mut self, index: u32, seat: Seat) {
        let Some(session) = self.sessions.peek(index) else { return };
        let Some(view) = self.views.get_mut(seat.view as usize) else { return };
        let (filters, is_in) =
            filters_of(session, &view.name, view.members[seat.member as usize].is_admitted, None);
        if is_in {
            let member = &mut view.members[seat.member as usize];
            member.simple = simple(&filters);
            member.filters = filters;
        } else {
            self.leave(index, seat);
        }
    }

    fn leave(&mut self, index: u32, seat: Seat) {
        if let Some(session) = self.sessions.by_index(index) {
            session.seats.retain(|known| known.view != seat.view);
            if session.is_on_disk {
                let place = &self.views[seat.view as usize].name;
                self.journal.push(persist::delete_position(session.id, place));
                self.journal.push(persist::delete_sent(session.id, place));
            }
        }
        self.views[seat.view as usize].members.try_remove(seat.member as usize);
        self.drop_view_if_unused(seat.view);
    }

    /// Takes a session out of a place.
    pub(super) fn unseat(&mut self, index: u32, place: &str) {
        let Some(&view) = self.view_names.get(place) else { return };
        let seat = self
            .sessions
            .peek(index)
            .and_then(|session| session.seats.iter().find(|seat| seat.view == view).copied());
        if let Some(seat) = seat {
            self.leave(index, seat);
        }
    }

    /// A session ends: it leaves every place.
    pub(crate) fn leave_places(&mut self, index: u32) {
        let Some(session) = self.sessions.peek(index) else { return };
        for seat in session.seats.clone() {
            self.leave(index, seat);
        }
    }

    fn drop_view_if_unused(&mut self, index: u32) {
        let Some(view) = self.views.get(index as usize) else { return };
        if !view.is_unused() {
            return;
        }
        let (place, answers) = (view.name.clone(), view.answers);
        self.views.remove(index as usize);
        self.view_names.remove(&place);
        self.tell(home(&place, self.shards), Crossing::Leave { place, answers });
    }

    /// The session is away: its members rest where they are.
    pub(crate) fn rest_places(&mut self, index: u32) {
        self.set_resting(index, true);
    }

    /// The session is back.
    pub(crate) fn wake_places(&mut self, index: u32) {
        self.set_resting(index, false);
    }

    fn set_resting(&mut self, index: u32, is_resting: bool) {
        let Some(session) = self.sessions.by_index(index) else { return };
        session.lagging = None;
        for at in 0..session.seats.len() {
            let seat = session.seats[at];
            let view = &mut self.views[seat.view as usize];
            let next = view.next;
            let member = &mut view.members[seat.member as usize];
            member.is_resting = is_resting;
            member.is_listed = false;
            if is_resting {
                member.page = VecDeque::new();
            } else {
                // What was said meanwhile is new to it: no RETAIN on it.
                member.replay_below = member.replay_below.min(next);
                if member.cursor < next || !member.kept.is_empty() {
                    list(session, member, seat);
                }
            }
        }
    }

    /// Writes where a session stands in each of its places, where that is not what is written.
    pub(crate) fn save_positions(&mut self, index: u32) {
        let seats = self.sessions.peek(index).map_or(Vec::new(), |session| session.seats.clone());
        self.save_seats(index, &seats);
    }

    fn save_position(&mut self, index: u32, view_index: u32) {
        let Some(session) = self.sessions.peek(index) else { return };
        if let Some(seat) = session.seats.iter().find(|seat| seat.view == view_index).copied() {
            self.save_seats(index, &[seat]);
        }
    }

    fn save_seats(&mut self, index: u32, seats: &[Seat]) {
        let Some(session) = self.sessions.peek(index) else { return };
        if !session.is_persistent() || !self.journal.is_on() {
            return;
        }
        // The first number in flight, by log.
        let mut in_flight: HashMap<u64, u64, FixedState> = HashMap::default();
        for resend in session.outbound.iter() {
            if let Resend::Publish {
                qos: QoS::AtLeastOnce,
                message: Sent { origin: Origin::Place(log, seq), .. },
                ..
            } = resend
                && !Mutant::PositionTooFar.is_on()
            {
                let first = in_flight.entry(*log).or_insert(*seq);
                *first = (*first).min(*seq);
            }
        }
        for seat in seats {
            let view = &mut self.views[seat.view as usize];
            let member = &mut view.members[seat.member as usize];
            let position = in_flight.get(&view.log).map_or(member.cursor, |seq| *seq.min(&member.cursor));
            if std::mem::replace(&mut member.saved, position) != position {
                self.journal.push(persist::put_position(session.id, &view.name, position));
            }
        }
    }

    /// Places whose view nobody needs recent entries of give them back.
    pub(crate) fn rest_views(&mut self) {
        for (_, view) in &mut self.views {
            view.forget_tail();
        }
    }
}

/// A session's filters for a place, and whether it is there: by a subscription that names the place, or by one for all
/// such places once it was admitted.
pub(super) fn filters_of(
    session: &Session,
    place: &str,
    is_admitted: bool,
    only: Option<&str>,
) -> (Vec<Within>, bool) {
    let root = topic::root_of(place);
    let me = session.name.as_deref();
    let (named, all) = match root {
        Root::Pair => ("user/".to_owned(), ["user/#/".to_owned(), "user/#/".to_owned()]),
        root => (format!("{place}/"), [format!("{}/+/", root.as_str()), format!("{}/#", root.as_str())]),
    };
    let mut is_in = false;
    let mut filters = Vec::new();
    let subscriptions = &session.subscriptions;
    let of_all = all.iter().flat_map(|prefix| subscriptions.within(prefix));
    let wanted = |it: &&Subscription| !it.is_dormant && only.is_none_or(|only| *it.filter == *only);
    for subscription in subscriptions.within(&named).chain(of_all).filter(wanted) {
        let within: Box<str> = match topic::classify_filter(&subscription.filter, me) {
            ChatFilter::Place { place: entered, within } if entered == place => {
                is_in = true;
                within.into()
            }
            ChatFilter::Every { root: of, within } if of == root => {
                is_in |= is_admitted;
                within.into()
            }
            ChatFilter::Own { filter } if root == Root::Pair => {
                is_in |= is_admitted;
                filter.into()
            }
            _ => continue,
        };
        filters.push(Within { within, options: subscription.options, id: subscription.id });
    }
    (filters, is_in)
}

/// QoS and whether events are wanted, of a member with one filter that takes every message as it is.
fn simple(filters: &[Within]) -> Option<(QoS, bool)> {
    let [filter] = filters else { return None };
    if filter.id != 0 || filter.options.no_local {
        return None;
    }
    match &*filter.within {
        "msg/+" | "msg/#" => Some((filter.options.qos, false)),
        "#" | "+/+" | "+/#" => Some((filter.options.qos, true)),
        _ => None,
    }
}
