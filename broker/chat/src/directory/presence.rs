//! What changes often and is told seldom: presence, the infos of places, and the counters.
//!
//! Changes mark a user or a place; one flush tells the last state of all that is marked, at most once in the interval that the
//! rules give.

use super::people::{BROKER_UID, Uid};
use super::places::{Member, Pid};
use super::records::{self, NumbersRecord};
use super::{Directory, Due, Effect};
use crate::event::{self, Happening, Presence};
use crate::request::State;

/// Followers who are told by an event that a friend came online; the others see its presence.
const FOLLOWERS: usize = 256;
/// Counters are leased in blocks of so many, so that a change of one costs no record.
const LEASE: u64 = 1000;

/// Counters that say that something changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counter {
    pub(super) rooms: u64,
    pub(super) occupancy: u64,
    pub(super) members: u64,
    pub(super) groups: u64,
    pub(super) posts: u64,
}

impl Counter {
    pub(super) fn occupancy(&mut self) -> &mut u64 {
        &mut self.occupancy
    }

    pub(super) fn members(&mut self) -> &mut u64 {
        &mut self.members
    }
}

impl Directory {
    /// Counts a change, and says the new value.
    pub(super) fn count(&mut self, which: impl FnOnce(&mut Counter) -> &mut u64) -> u64 {
        let counter = which(&mut self.counters);
        *counter += 1;
        let value = *counter;
        let (now, leased) = (self.counters, &mut self.numbers);
        let pairs = [
            (now.rooms, &mut leased.rooms),
            (now.occupancy, &mut leased.occupancy),
            (now.members, &mut leased.members),
            (now.groups, &mut leased.groups),
            (now.posts, &mut leased.posts),
        ];
        let mut is_over = false;
        for (now, leased) in pairs {
            if now > *leased {
                *leased = now + LEASE;
                is_over = true;
            }
        }
        if is_over {
            self.keep_numbers();
        }
        value
    }

    pub(super) fn keep_numbers(&mut self) {
        let (key, value) = self.numbers_record();
        self.out.push(Effect::Put { key, value });
    }

    pub(super) fn numbers_record(&self) -> (Vec<u8>, Vec<u8>) {
        let record = NumbersRecord { v: records::VERSION, ..self.numbers };
        (records::key(records::NUMBERS, b""), records::value(&record))
    }

    pub(super) fn mark_user(&mut self, uid: Uid) {
        if uid != BROKER_UID {
            self.dirty_users.insert(uid);
            self.schedule_flush();
        }
    }

    pub(super) fn mark_place(&mut self, pid: Pid) {
        self.dirty_places.insert(pid);
        self.schedule_flush();
    }

    pub(super) fn schedule_flush(&mut self) {
        if self.flush.is_none() {
            let at = self.clock.steady.saturating_add(self.rules.presence_interval_ms);
            self.flush = Some(at);
            self.due.insert((at, Due::Flush));
        }
    }

    /// A user's state may be another.
    pub(super) fn changed_state(&mut self, uid: Uid) {
        let wall = self.clock.wall;
        if let Some(user) = self.people.all.get_mut(&uid) {
            user.since_ms = wall;
            self.mark_user(uid);
        }
    }

    pub(super) fn flush(&mut self) {
        self.flush = None;
        for uid in std::mem::take(&mut self.dirty_users) {
            self.tell_presence(uid);
        }
        for pid in std::mem::take(&mut self.dirty_places) {
            self.tell_place(pid);
        }
        self.tell_mentions();
    }

    pub(super) fn presence(&self, uid: Uid) -> Option<Presence> {
        let user = self.user(uid)?;
        let since = match (&user.account, user.state()) {
            (Some(account), State::Offline) => account.seen_ms.max(account.created_ms),
            _ => user.since_ms,
        };
        Some(Presence {
            user: user.name.to_string(),
            state: user.state(),
            text: user.profile.text.clone(),
            since: crate::time::format(since),
        })
    }

    fn tell_presence(&mut self, uid: Uid) {
        let Some(presence) = self.presence(uid) else { return };
        let Some(user) = self.people.all.get_mut(&uid) else { return };
        let before = user.told.replace(presence.state);
        let Some(user) = self.people.all.get(&uid) else { return };
        let (is_guest, name) = (user.is_guest, user.name.clone());
        let is_there = |state: State| matches!(state, State::Online | State::Away);
        let came = is_there(presence.state) && !before.is_some_and(is_there);
        let there = user.friend_of.iter().copied().filter(|&follower| self.is_connected(follower));
        let followers: Vec<Uid> = there.take(if came { FOLLOWERS } else { 0 }).collect();
        for pid in self.user(uid).map(|user| user.places.clone()).unwrap_or_default() {
            if let Some(place) = self.places.all.get_mut(&pid)
                && place.members.get(&uid).is_some_and(Member::is_in)
            {
                place.dirty_members.insert(uid);
                self.dirty_places.insert(pid);
            }
        }
        if !is_guest {
            let topic = format!("user/{name}/presence");
            self.out.push(Effect::Retain { topic, payload: event::json(&presence) });
        }
        for follower in followers {
            let happening = Happening::Friend { user: name.to_string(), state: presence.state };
            self.tell(follower, uid, &happening);
        }
    }

    fn tell_place(&mut self, pid: Pid) {
        let most = self.rules.presence_members as u64;
        let Some(place) = self.places.all.get_mut(&pid) else { return };
        // A home that was told nothing is told everything when it asks.
        if !place.is_told {
            return place.dirty_members.clear();
        }
        let at = place.place.clone();
        let is_crowded =
            if place.is_crowded { place.count_in >= most - most / 4 } else { place.count_in > most };
        let was_crowded = std::mem::replace(&mut place.is_crowded, is_crowded);
        let mut dirty = std::mem::take(&mut place.dirty_members);
        if is_crowded {
            dirty = std::mem::take(&mut place.told_presence);
        } else if was_crowded {
            dirty = place.members.keys().copied().collect();
        }
        for uid in dirty {
            self.tell_member(pid, uid, is_crowded);
        }
        if let Some(info) = self.info(pid) {
            let payload = event::json(&info);
            self.out.push(Effect::Keep { place: at, within: "info".to_owned(), payload });
        }
    }

    fn tell_member(&mut self, pid: Pid, uid: Uid, is_crowded: bool) {
        let presence = self.presence(uid);
        let name = self.name_of(uid);
        let Some(place) = self.places.all.get_mut(&pid) else { return };
        let is_in = place.members.get(&uid).is_some_and(Member::is_in);
        let payload = match presence {
            Some(presence) if is_in && !is_crowded => {
                place.told_presence.insert(uid);
                event::json(&presence)
            }
            // What was never told need not be taken back; above, what was told is here.
            _ if !place.told_presence.remove(&uid) && !is_crowded => return,
            _ => String::new(),
        };
        let (place, within) = (place.place.clone(), format!("presence/{name}"));
        self.out.push(Effect::Keep { place, within, payload });
    }
}
