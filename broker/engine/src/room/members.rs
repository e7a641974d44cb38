//! Who is in a room: entering through a subscription, leaving with the last one, resting while away, and where each
//! member stands on disk.

use super::view::{Member, View, Within};
use crate::{
    Engine,
    crossing::{Crossing, Start, home},
    io::ShardId,
    mutant::Mutant,
    persist,
    session::{Origin, Place, Sent, Session, Subscription},
};
use katydid_chat::topic::{self, Filter as ChatFilter, Replay};
use katydid_mqtt::{packet::QoS, session::Resend};
use std::{collections::VecDeque, sync::Arc};

/// Why a session enters a room.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cause {
    /// A filter of the SUBSCRIBE that waits under this key.
    Subscribe(u64),
    /// It was there when the broker stopped, and had been sent the QoS 2 messages below a number.
    Restart { sent_below: u64 },
}

/// An enter that the room's home has not answered.
#[derive(Debug)]
pub(crate) struct Entering {
    cause: Cause,
    view: u32,
    index: u32,
    session: u64,
    subscription: Subscription,
    /// Whether the member's cursor moves, although it is in the room already.
    moves: bool,
}

impl Engine {
    /// A subscription to a room: its session is a member from the answer of the room's home on.
    pub(crate) fn enter_room(
        &mut self,
        cause: Cause,
        index: u32,
        room: &str,
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
        let view = match self.view_names.get(room) {
            Some(view) => *view,
            None => {
                let name: Arc<str> = room.into();
                let view = self.views.insert(View::new(name.clone())) as u32;
                self.view_names.insert(name, view);
                view
            }
        };
        self.views[view as usize].pending += 1;
        let room = self.views[view as usize].name.clone();
        let session = self.sessions.peek(index).map_or(0, |session| session.id);
        let moves = replay.is_some();
        let ticket =
            self.entering.insert(Entering { cause, view, index, session, subscription, moves }) as u64;
        let home = home(&room, self.shards);
        if home == self.shard {
            self.enter_at_home(home, &room, start, ticket);
        } else {
            self.send_to(home, Crossing::Enter { room, start, ticket });
        }
    }

    /// The room's home has answered.
    pub(crate) fn on_entered(&mut self, ticket: u64, log: u64, start: u64, next: u64) {
        let Some(entering) = self.entering.try_remove(ticket as usize) else { return };
        let Entering { cause, view: view_index, index, session, subscription, moves } = entering;
        let view = &mut self.views[view_index as usize];
        view.pending -= 1;
        view.log = log;
        view.continue_at(next);
        let start = if Mutant::GapAtEnter.is_on() && start == next { start + 1 } else { start };
        if self.sessions.peek(index).is_some_and(|known| known.id == session) {
            match cause {
                Cause::Subscribe(_) => self.keep_subscription(index, subscription),
                Cause::Restart { .. } => self.restore_subscription(index, subscription),
            };
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
        let place = session.rooms.iter().find(|place| place.view == view_index);
        let Some(member) = place.and_then(|place| view.members.get_mut(place.member as usize)) else {
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
                let of_room = |origin: &Origin| matches!(origin, Origin::Room(of, _) if *of == log);
                for resumed in &mut session.resumed {
                    resumed.origin = resumed.origin.filter(|origin| !of_room(origin));
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
        let known = session.rooms.iter().find(|place| place.view == view_index).copied();
        if let Some(member) = known.and_then(|place| view.members.get_mut(place.member as usize)) {
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
            is_resting,
            is_reading: false,
            page: VecDeque::new(),
            page_next: 0,
            sent_below: 0,
        }) as u32;
        session.rooms.push(Place { view: view_index, member });
    }

    /// Brings the members of a session in line with its subscriptions: the filters of each, and which rooms it is in.
    pub(crate) fn refresh_members(&mut self, index: u32) {
        let Some(session) = self.sessions.peek(index) else { return };
        for place in session.rooms.clone() {
            self.refresh_place(index, place);
        }
    }

    /// The same for one room, where only a filter for it has changed.
    pub(crate) fn refresh_member(&mut self, index: u32, room: &str) {
        if let Some(view) = self.view_names.get(room).copied() {
            self.refresh_member_in(index, view);
        }
    }

    fn refresh_member_in(&mut self, index: u32, view: u32) {
        let Some(session) = self.sessions.peek(index) else { return };
        if let Some(place) = session.rooms.iter().find(|place| place.view == view).copied() {
            self.refresh_place(index, place);
        }
    }

    fn refresh_place(&mut self, index: u32, place: Place) {
        let Some(session) = self.sessions.peek(index) else { return };
        let Some(view) = self.views.get_mut(place.view as usize) else { return };
        let (filters, is_in) = filters_of(session, &view.name);
        if is_in {
            let member = &mut view.members[place.member as usize];
            member.simple = simple(&filters);
            member.filters = filters;
        } else {
            self.leave(index, place);
        }
    }

    fn leave(&mut self, index: u32, place: Place) {
        if let Some(session) = self.sessions.by_index(index) {
            session.rooms.retain(|known| known.view != place.view);
            if session.is_on_disk {
                let room = &self.views[place.view as usize].name;
                self.journal.push(persist::delete_position(session.id, room));
                self.journal.push(persist::delete_sent(session.id, room));
            }
        }
        self.views[place.view as usize].members.try_remove(place.member as usize);
        self.drop_view_if_unused(place.view);
    }

    /// A session ends: it leaves every room.
    pub(crate) fn leave_rooms(&mut self, index: u32) {
        let Some(session) = self.sessions.peek(index) else { return };
        for place in session.rooms.clone() {
            self.leave(index, place);
        }
    }

    fn drop_view_if_unused(&mut self, index: u32) {
        let Some(view) = self.views.get(index as usize) else { return };
        if !view.is_unused() {
            return;
        }
        let room = view.name.clone();
        self.views.remove(index as usize);
        self.view_names.remove(&room);
        let home: ShardId = home(&room, self.shards);
        if home == self.shard {
            self.leave_at_home(home, &room);
        } else {
            self.send_to(home, Crossing::Leave { room });
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
        for place in &session.rooms {
            let view = &mut self.views[place.view as usize];
            let next = view.next;
            let member = &mut view.members[place.member as usize];
            member.is_resting = is_resting;
            if is_resting {
                member.page = VecDeque::new();
            } else {
                // What was said meanwhile is new to it: no RETAIN on it.
                member.replay_below = member.replay_below.min(next);
            }
        }
    }

    /// Writes where a session stands in each of its rooms.
    pub(crate) fn save_positions(&mut self, index: u32) {
        let Some(session) = self.sessions.peek(index) else { return };
        for place in session.rooms.clone() {
            self.save_place(index, place);
        }
    }

    fn save_position(&mut self, index: u32, view_index: u32) {
        let Some(session) = self.sessions.peek(index) else { return };
        if let Some(place) = session.rooms.iter().find(|place| place.view == view_index).copied() {
            self.save_place(index, place);
        }
    }

    fn save_place(&mut self, index: u32, place: Place) {
        let Some(session) = self.sessions.peek(index) else { return };
        if !session.is_persistent() || !self.journal.is_on() {
            return;
        }
        let view = &self.views[place.view as usize];
        let member = &view.members[place.member as usize];
        let in_flight = session.outbound.iter().filter_map(|resend| match resend {
            Resend::Publish {
                qos: QoS::AtLeastOnce,
                message: Sent { origin: Origin::Room(log, seq), .. },
                ..
            } if *log == view.log && !Mutant::PositionTooFar.is_on() => Some(*seq),
            _ => None,
        });
        let position = in_flight.min().map_or(member.cursor, |seq| seq.min(member.cursor));
        self.journal.push(persist::put_position(session.id, &view.name, position));
    }

    /// Rooms whose view nobody needs recent entries of give them back.
    pub(crate) fn rest_views(&mut self) {
        for (_, view) in &mut self.views {
            view.forget_tail();
        }
    }
}

/// A session's filters for a room, and whether one of them is a subscription to this room.
fn filters_of(session: &Session, room: &str) -> (Vec<Within>, bool) {
    let own = format!("room/{room}/");
    let mut is_in = false;
    let mut filters = Vec::new();
    let subscriptions = &session.subscriptions;
    let own = subscriptions.within(&own);
    for subscription in own.chain(subscriptions.within("room/+/")).chain(subscriptions.within("room/#")) {
        let within = match topic::classify_filter(&subscription.filter) {
            ChatFilter::Room { room: entered, within } if entered == room => {
                is_in = true;
                within
            }
            ChatFilter::EveryRoom { within } => within,
            _ => continue,
        };
        filters.push(Within { within: within.into(), options: subscription.options, id: subscription.id });
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
