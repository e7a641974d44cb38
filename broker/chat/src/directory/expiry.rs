//! How places end: unused for their time, or deleted.
//!
//! A place that is used has no time; when nobody uses it any more its time begins to run, over restarts too.

use super::people::{BROKER_UID, Uid};
use super::places::{Member, Pid, PlaceState, Root};
use super::{Directory, Due, Effect, records};
use crate::event::{Happening, Notice, Why};

/// How long a room stays that was made by entering or speaking, and in which nothing was said, in seconds.
const SILENT_SECS: u64 = 60 * 60;

impl Directory {
    pub(super) fn seconds_left(&self, place: &PlaceState) -> u64 {
        match place.expires {
            Some(at) => at.saturating_sub(self.clock.steady).div_ceil(1000).max(1),
            None => 0,
        }
    }

    /// Whether a place is used may have changed: when nobody uses it, its time begins to run.
    pub(super) fn check_use(&mut self, pid: Pid) {
        let wall = self.clock.wall;
        let Some(place) = self.places.all.get(&pid) else { return };
        let owner_there = self.is_connected(place.owner);
        let is_used = match place.root {
            Root::Room => place.count_present > 0,
            Root::Group => {
                let owner_in = place.members.get(&place.owner).is_some_and(Member::is_in);
                owner_there || place.count_in > u64::from(owner_in)
            }
        };
        let Some(place) = self.places.all.get_mut(&pid) else { return };
        if is_used == place.idle_ms.is_none() {
            return self.schedule_expiry(pid);
        }
        place.idle_ms = (!is_used).then_some(wall);
        self.keep_place(pid);
        self.schedule_expiry(pid);
    }

    pub(super) fn schedule_expiry(&mut self, pid: Pid) {
        let clock = self.clock;
        let Some(place) = self.places.all.get_mut(&pid) else { return };
        let secs = match (place.settings.expiry_secs, place.is_silent) {
            (0, true) => SILENT_SECS,
            (secs, true) => secs.min(SILENT_SECS),
            (secs, false) => secs,
        };
        let at = match place.idle_ms {
            // A time that the clock has not reached yet is now.
            Some(idle) if secs > 0 && !place.is_home() => {
                Some(clock.steady_at(idle.min(clock.wall)).saturating_add(secs.saturating_mul(1000)))
            }
            _ => None,
        };
        if place.expires != at {
            if let Some(before) = std::mem::replace(&mut place.expires, at) {
                self.due.remove(&(before, Due::Place(pid)));
            }
            self.due.extend(at.map(|at| (at, Due::Place(pid))));
        }
    }

    /// Something was said in a place.
    pub(super) fn said(&mut self, place: &str) {
        let Some((root, name)) = place.split_once('/') else { return };
        let Some(pid) = Root::parse(root).and_then(|root| self.find(root, name).ok()) else { return };
        let wall = self.clock.wall;
        let Some(place) = self.places.all.get_mut(&pid) else { return };
        let was_silent = std::mem::replace(&mut place.is_silent, false);
        // To the minute is enough for what runs for days, and spares the disk.
        let moves = place.idle_ms.is_some_and(|idle| wall.saturating_sub(idle) > 60_000);
        if moves {
            place.idle_ms = Some(wall);
        }
        if was_silent || moves {
            self.keep_place(pid);
            self.schedule_expiry(pid);
        }
    }

    pub(super) fn place_is_due(&mut self, pid: Pid) {
        let steady = self.clock.steady;
        let Some(place) = self.places.all.get_mut(&pid) else { return };
        if place.expires.is_none_or(|at| at > steady) {
            return;
        }
        place.expires = None;
        self.drop_place(pid, Why::Expired, None);
    }

    /// Deletes a place; the ticket comes back by [`super::Command::Evicted`].
    pub(super) fn drop_place(&mut self, pid: Pid, why: Why, by: Option<Uid>) -> super::Ticket {
        let by = by.map(|uid| self.name_of(uid).to_string());
        self.say(pid, &Notice::Gone { why, by: by.clone() });
        let ticket = self.next_ticket();
        let Some(place) = self.places.all.remove(&pid) else { return ticket };
        self.places.by_key.remove(&(place.root, place.key.clone()));
        if let Some(at) = place.expires {
            self.due.remove(&(at, Due::Place(pid)));
        }
        for within in ["info".to_owned()]
            .into_iter()
            .chain(place.told_presence.iter().map(|&uid| format!("presence/{}", self.name_of(uid))))
            .collect::<Vec<_>>()
        {
            let payload = String::new();
            self.out.push(Effect::Keep { place: place.place.clone(), within, payload });
        }
        self.out.push(Effect::Rules { place: place.place.clone(), rules: None });
        self.out.push(Effect::Evict { ticket, place: place.place.clone(), user: None });
        self.out.push(Effect::Drop { place: place.place.clone() });
        self.forget_place(pid, &place);
        match place.root {
            Root::Room => self.count(|counters| &mut counters.rooms),
            Root::Group => self.count(|counters| &mut counters.groups),
        };
        if place.root == Root::Group {
            let gone = Happening::Gone { place: place.place.to_string(), why, by };
            for (&uid, _) in place.members.iter().filter(|(_, member)| member.is_in()) {
                self.tell(uid, BROKER_UID, &gone);
            }
        }
        ticket
    }

    fn forget_place(&mut self, pid: Pid, place: &PlaceState) {
        let record_name = place.record_name();
        self.dirty_places.remove(&pid);
        for (&uid, member) in &place.members {
            let Some(user) = self.people.all.get_mut(&uid) else { continue };
            user.places.remove(&pid);
            for session in &user.sessions {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.entered.remove(&pid);
                }
            }
            if member.is_kept {
                let key = records::key_of_two(records::MEMBER, &record_name, user.key.as_bytes());
                self.out.push(Effect::Delete { key });
            }
        }
        if let Some(user) = self.people.all.get_mut(&place.owner) {
            user.owned.remove(&pid);
        }
        for key in place.bans.keys() {
            let key = records::key_of_two(records::BAN, &record_name, key.as_bytes());
            self.out.push(Effect::Delete { key });
        }
        for (&number, post) in &place.board.posts {
            let key = records::key_of_two(records::POST, &record_name, &number.to_be_bytes());
            self.out.push(Effect::Delete { key });
            self.board_bytes -= post.bytes();
            if let Some(at) = post.expires {
                self.due.remove(&(at, Due::Post(pid, number)));
            }
        }
        let key = records::key(records::PLACE, record_name.as_bytes());
        self.out.push(Effect::Delete { key });
    }
}
