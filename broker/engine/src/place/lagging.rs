//! Members who are behind, by session: an acknowledgement costs what it moves, and no look at places that cannot move.
//!
//! Invariant: a member who has something to be sent is in a list of its session, unless it is resting (it is listed when
//! its session wakes), is reading a page (when the page is here), or its place has entries that nobody was sent (when
//! they are handed out). An entry of a list may be stale; then nothing follows from it.

use super::view::{Member, Stop};
use crate::{
    Engine,
    session::{Seat, Session},
};
use std::collections::VecDeque;

/// The places in which a session is behind.
#[derive(Debug, Default)]
pub(crate) struct Lagging {
    /// Those that may move as soon as the connection takes more.
    ready: VecDeque<Seat>,
    /// Those whose next entry needs a packet identifier, when all are in use.
    windowed: VecDeque<Seat>,
}

impl Lagging {
    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.windowed.is_empty()
    }
}

/// Lists a member who has something to be sent.
pub(super) fn list(session: &mut Session, member: &mut Member, seat: Seat) {
    if !std::mem::replace(&mut member.is_listed, true) {
        session.lagging.get_or_insert_default().ready.push_back(seat);
    }
}

impl Engine {
    /// A member has something to be sent: it is looked at when the tick ends.
    pub(super) fn stir_member(&mut self, view: u32, key: u32) {
        let members = self.views.get_mut(view as usize).map(|view| &mut view.members);
        let Some(member) = members.and_then(|members| members.get_mut(key as usize)) else { return };
        let index = member.session;
        // One that waits for the window may not need it any more, so it is looked at in any case.
        member.is_listed = false;
        if let (false, Some(session)) = (member.is_resting, self.sessions.by_index(index)) {
            list(session, member, Seat { view, member: key });
        }
        self.sessions.mark_ready(index);
    }

    /// Moves the members of a session who are behind as far as its connection and its window take it.
    pub(crate) fn advance_places(&mut self, index: u32) {
        let Some(mut lagging) = self.sessions.by_index(index).and_then(|session| session.lagging.take())
        else {
            return;
        };
        let mut takes_more = true;
        for _ in 0..lagging.ready.len() {
            if !takes_more {
                break;
            }
            let Some(seat) = lagging.ready.pop_front() else { break };
            takes_more = self.advance_listed(index, seat, &mut lagging);
        }
        while takes_more && self.sessions.peek(index).is_some_and(|session| session.outbound.has_room()) {
            let Some(seat) = lagging.windowed.pop_front() else { break };
            takes_more = self.advance_listed(index, seat, &mut lagging);
        }
        let Some(session) = self.sessions.by_index(index) else { return };
        // A page may have been at hand, and lists its member again.
        if let Some(meanwhile) = session.lagging.take() {
            lagging.ready.extend(meanwhile.ready);
        }
        if !lagging.is_empty() {
            session.lagging = Some(lagging);
        }
    }

    /// Moves one of them on, and lists it again where something is left; `false` when the connection takes no more.
    fn advance_listed(&mut self, index: u32, seat: Seat, lagging: &mut Box<Lagging>) -> bool {
        let members = self.views.get_mut(seat.view as usize).map(|view| &mut view.members);
        let member = members.and_then(|members| members.get_mut(seat.member as usize));
        let Some(member) = member.filter(|member| member.session == index && member.is_listed) else {
            return true;
        };
        member.is_listed = false;
        if self.advance_member(seat.view, seat.member) != Stop::Blocked {
            return true;
        }
        if let Some(member) = self.views[seat.view as usize].members.get_mut(seat.member as usize) {
            member.is_listed = true;
        }
        let has_window = self
            .sessions
            .peek(index)
            .is_some_and(|session| session.outbound.has_room() || session.outbound.is_resuming());
        if has_window {
            // Its turn comes after that of the others.
            lagging.ready.push_back(seat);
        } else {
            lagging.windowed.push_back(seat);
        }
        let slot = self.sessions.peek(index).and_then(|session| session.link);
        let (_, mut delivering) = self.delivering();
        slot.is_some_and(|slot| delivering.takes_more(slot))
    }
}
