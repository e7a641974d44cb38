//! Who is in a place: entering through a subscription, leaving with the last one, resting while away, and where each
//! member stands on disk.

use super::view::{Member, View, Within};
use crate::{
    Engine,
    crossing::{Crossing, Start, home},
    io::ShardId,
    mutant::Mutant,
    persist,
    session::{Origin, Seat, Sent, Session, Subscription},
};
use katydid_chat::topic::{self, Filter as ChatFilter, Replay, Root};
use katydid_mqtt::{packet::QoS, session::Resend};
use std::{collections::VecDeque, sync::Arc};

/// Why a session enters a place.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cause {
    /// A filter of the SUBSCRIBE that waits under this key.
    Subscribe(u64),
    /// It was there when the broker stopped, and had been sent the QoS 2 messages below a number.
    Restart { sent_below: u64 },
}

/// An enter that the place's home has not answered.
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

impl Engine {
    /// A subscription to a place: its session is a member from the answer of the place's home on.
    pub(crate) fn enter_place(
        &mut self,
        cause: Cause,
        index: u32,
        place: &str,
        subscription: Subscription,
        replay: Option<Replay>,
    ) {
        let start = match replay {
            None => Start::Live,
            Some(Replay::Last(count)) => Start::Last(count),
            Some(Replay::Since(after)) => Start::Since(after),
            Some(Replay::SinceTime(time_ms)) => Start::SinceTime(time_ms),
            Some(Replay::SinceAgo(ago_ms)) => Start::SinceTime(self.now.unix_ms.saturating_sub(ago_ms)),
        };
        let view = match self.view_names.get(place) {
            Some(view) => *view,
            None => {
                let name: Arc<str> = place.into();
                let view = self.views.insert(View::new(name.clone())) as u32;
                self.view_names.insert(name, view);
                view
            }
        };
        self.views[view as usize].pending += 1;
        let place = self.views[view as usize].name.clone();
        let session = self.sessions.peek(index).map_or(0, |session| session.id);
        let moves = replay.is_some();
        let ticket =
            self.entering.insert(Entering { cause, view, index, session, subscription, moves }) as u64;
        let home = home(&place, self.shards);
        if home == self.shard {
            self.enter_at_home(home, &place, start, ticket);
        } else {
            self.send_to(home, Crossing::Enter { place, start, ticket });
        }
    }

    /// The place's home has answered.
    pub(crate) fn on_entered(&mut self, ticket: u64, log: u64, start: u64, next: u64) {
        let Some(entering) = self.entering.try_remove(ticket as usize) else { return };
        let Entering { cause, view: view_index, index, session, subscription, moves } = entering;
        let view = &mut self.views[view_index as usize];
        view.pending -= 1;
        view.log = log;
        view.continue_at(next);
        let start = if Mutant::GapAtEnter.is_on() && start == next { start + 1 } else { start };
        if self.sessions.peek(index).is_some_and(|known| known.id == session) {
            self.keep_subscription(index, subscription);
            self.join(view_index, index, start, next, moves);
            self.start_exactly_once(view_index, index, cause, moves);
            self.refresh_member_in(index, view_index);
            self.save_position(index, view_index);
            self.sessions.mark_ready(index);
        } else {
            self.drop_view_if_unused(view_index);
        }
        if let Cause::Subscribe(pending) = cause {
            self.filter_answered(pending);
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
            Cause::Subscribe(_) if moves => {
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
            Cause::Subscribe(_) => {}
        }
    }

    fn join(&mut self, view_index: u32, index: u32, start: u64, next: u64, moves: bool) {
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
            return;
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
            page_next: 0,
            sent_below: 0,
        }) as u32;
        session.seats.push(Seat { view: view_index, member });
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
            filters_of(session, &view.name, view.members[seat.member as usize].is_admitted);
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
        let place = view.name.clone();
        self.views.remove(index as usize);
        self.view_names.remove(&place);
        let home: ShardId = home(&place, self.shards);
        if home == self.shard {
            self.leave_at_home(home, &place);
        } else {
            self.send_to(home, Crossing::Leave { place });
        }
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
        let Some(session) = self.sessions.peek(index) else { return };
        for seat in &session.seats {
            let view = &mut self.views[seat.view as usize];
            let next = view.next;
            let member = &mut view.members[seat.member as usize];
            member.is_resting = is_resting;
            if is_resting {
                member.page = VecDeque::new();
            } else {
                // What was said meanwhile is new to it: no RETAIN on it.
                member.replay_below = member.replay_below.min(next);
            }
        }
    }

    /// Writes where a session stands in each of its places.
    pub(crate) fn save_positions(&mut self, index: u32) {
        let Some(session) = self.sessions.peek(index) else { return };
        for seat in session.seats.clone() {
            self.save_seat(index, seat);
        }
    }

    fn save_position(&mut self, index: u32, view_index: u32) {
        let Some(session) = self.sessions.peek(index) else { return };
        if let Some(seat) = session.seats.iter().find(|seat| seat.view == view_index).copied() {
            self.save_seat(index, seat);
        }
    }

    fn save_seat(&mut self, index: u32, seat: Seat) {
        let Some(session) = self.sessions.peek(index) else { return };
        if !session.is_persistent() || !self.journal.is_on() {
            return;
        }
        let view = &self.views[seat.view as usize];
        let member = &view.members[seat.member as usize];
        let in_flight = session.outbound.iter().filter_map(|resend| match resend {
            Resend::Publish {
                qos: QoS::AtLeastOnce,
                message: Sent { origin: Origin::Place(log, seq), .. },
                ..
            } if *log == view.log && !Mutant::PositionTooFar.is_on() => Some(*seq),
            _ => None,
        });
        let position = in_flight.min().map_or(member.cursor, |seq| seq.min(member.cursor));
        self.journal.push(persist::put_position(session.id, &view.name, position));
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
fn filters_of(session: &Session, place: &str, is_admitted: bool) -> (Vec<Within>, bool) {
    let root = topic::root_of(place);
    let me = session.account.as_deref();
    let (named, all) = match root {
        Root::Pair => ("user/".to_owned(), ["user/#/".to_owned(), "user/#/".to_owned()]),
        root => (format!("{place}/"), [format!("{}/+/", root.as_str()), format!("{}/#", root.as_str())]),
    };
    let mut is_in = false;
    let mut filters = Vec::new();
    let subscriptions = &session.subscriptions;
    let of_all = all.iter().flat_map(|prefix| subscriptions.within(prefix));
    for subscription in subscriptions.within(&named).chain(of_all) {
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
