//! Who is in which place: entering by subscribing, joining by request, leaving, being put out.
//!
//! Somebody is in a place by sessions that subscribe to it and by an explicit join, and out with the last of them. Every
//! change of one membership goes through [`Directory::change`], which keeps counts, records, home and wildcards right.

use super::people::Uid;
use super::places::{Member, Pid, PlaceState, Root};
use super::presence::Counter;
use super::{Directory, Effect, Pending, SessionId, Ticket, records};
use crate::code::Code;
use crate::event::{Happening, Notice};
use crate::permission::{Deed, Role, UserKind, permits};
use crate::request::Standing as StandingJson;
use std::net::IpAddr;

/// Wrong guesses at passwords of places, a minute, of one user.
const GUESSES_PER_MINUTE: u64 = 10;

/// What a password turned out to be, before anybody is let in.
pub(super) enum Key {
    /// None was given, or it is not needed.
    None,
    /// It fits.
    Fits,
    /// It must be checked on another thread, under this ticket.
    Wait(Ticket),
}

impl Directory {
    /// A session subscribes to a place by name. The answer may have to wait for a password.
    pub(super) fn enter(
        &mut self,
        ticket: Ticket,
        session: SessionId,
        place: &str,
        password: Option<&str>,
        restored: bool,
    ) {
        let outcome = self.try_enter(ticket, session, place, password, restored);
        if let Some(outcome) = outcome.transpose() {
            self.out.push(Effect::Enter { ticket, outcome });
        }
    }

    /// `Ok(None)` where the answer comes later.
    fn try_enter(
        &mut self,
        ticket: Ticket,
        session: SessionId,
        place: &str,
        password: Option<&str>,
        restored: bool,
    ) -> Result<Option<()>, Code> {
        let uid = self.sessions.get(&session).ok_or(Code::LoginNeeded)?.uid;
        let (root, name) = place.split_once('/').ok_or(Code::RoomNotFound)?;
        if root == "user" {
            return self.enter_pair(uid, name).map(Some);
        }
        let root = Root::parse(root).ok_or(Code::RoomNotFound)?;
        let pid = match self.find(root, name) {
            Ok(pid) => pid,
            // A secret room in another spelling is as if it were not there.
            Err(Code::RoomNotFound) if !restored => {
                self.make_by_use(name, uid).map_err(|code| match code {
                    Code::RoomExists => Code::RoomNotFound,
                    code => code,
                })?
            }
            Err(code) => return Err(code),
        };
        if restored {
            return self.enter_again(session, pid, uid).map(Some);
        }
        let address = self.sessions.get(&session).and_then(|known| known.address);
        match self.unlock(pid, uid, password, address)? {
            Key::Wait(check) => {
                self.pending.insert(check, Pending::Enter { ticket, session, pid });
                Ok(None)
            }
            key => self.enter_place(session, pid, matches!(key, Key::Fits)).map(Some),
        }
    }

    /// After a restart a session is where it was, unless that is not permitted any more. It gave its password then.
    fn enter_again(&mut self, session: SessionId, pid: Pid, uid: Uid) -> Result<(), Code> {
        let place = self.place(pid).ok_or(Code::RoomNotFound)?;
        if place.root == Root::Group && !place.members.get(&uid).is_some_and(Member::is_in) {
            return Err(Code::NotMember);
        }
        self.may_enter(pid, uid, true)?;
        self.enter_by_session(session, pid);
        Ok(())
    }

    fn may_enter(&self, pid: Pid, uid: Uid, with_password: bool) -> Result<(), Code> {
        let (Some(place), Some(user)) = (self.place(pid), self.user(uid)) else {
            return Err(Code::RoomNotFound);
        };
        let standing = place.standing(uid, &user.key);
        permits(Deed::Enter { with_password }, &place.rules, standing, user.kind())
    }

    /// Whether a password opens a place to somebody. It is hashed with Argon2id like any other and so checked on another
    /// thread, in no order with what comes meanwhile; but one that fitted is remembered by a digest while the process lives,
    /// so that a thousand who enter with it cost one check and are let in at once.
    pub(super) fn unlock(
        &mut self,
        pid: Pid,
        uid: Uid,
        password: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<Key, Code> {
        let refusal = match self.may_enter(pid, uid, false) {
            Ok(()) => return Ok(Key::None),
            Err(code) => code,
        };
        let root = self.place(pid).map_or(Root::Room, |place| place.root);
        if refusal != Code::WrongPassword && refusal != root.not_found() {
            return Err(refusal);
        }
        let Some(password) = password else { return Err(refusal) };
        let memo = self.chance.memo(pid, password.as_bytes());
        let Some(place) = self.place(pid) else { return Err(refusal) };
        let Some(hash) = place.settings.hash.clone() else { return Err(refusal) };
        // Digests with a secret in them: how long comparing takes tells nobody anything.
        if place.memo == Some(memo) {
            return Ok(Key::Fits);
        }
        let now = self.clock.steady;
        let may = self
            .user_mut(uid)
            .is_some_and(|user| user.guesses.take(now, GUESSES_PER_MINUTE, GUESSES_PER_MINUTE));
        if !may || !self.may_spend(address) {
            return Err(Code::RatePassword);
        }
        let ticket = self.next_ticket();
        self.memos.insert(ticket, (pid, memo, hash.clone()));
        self.out.push(Effect::Verify { ticket, hash, password: password.as_bytes().to_vec() });
        Ok(Key::Wait(ticket))
    }

    /// A password was checked: whether it opens the place now. The place or its password may have changed meanwhile.
    pub(super) fn unlocked(&mut self, check: Ticket, good: bool) -> bool {
        let Some((pid, memo, hash)) = self.memos.remove(&check) else { return false };
        let Some(place) = self.places.all.get_mut(&pid) else { return false };
        let fits = good && place.settings.hash.as_ref() == Some(&hash);
        if fits {
            place.memo = Some(memo);
        }
        fits
    }

    /// The code for who gave a wrong password, or none.
    pub(super) fn locked(&self, pid: Pid) -> Code {
        match self.place(pid) {
            Some(place) if place.settings.visibility == crate::permission::Visibility::Secret => {
                place.root.not_found()
            }
            Some(_) => Code::WrongPassword,
            None => Code::RoomNotFound,
        }
    }

    /// Lets a session in, if that is permitted.
    pub(super) fn enter_place(
        &mut self,
        session: SessionId,
        pid: Pid,
        with_password: bool,
    ) -> Result<(), Code> {
        let uid = self.sessions.get(&session).ok_or(Code::LoginNeeded)?.uid;
        self.may_come_in(pid, uid, with_password)?;
        if self.place(pid).is_some_and(|place| place.root == Root::Group) {
            self.join(pid, uid);
        }
        self.enter_by_session(session, pid);
        Ok(())
    }

    /// Whether somebody may become a member: permission, kind of user and limit.
    pub(super) fn may_come_in(&self, pid: Pid, uid: Uid, with_password: bool) -> Result<(), Code> {
        self.may_enter(pid, uid, with_password)?;
        let (Some(place), Some(user)) = (self.place(pid), self.user(uid)) else {
            return Err(Code::RoomNotFound);
        };
        if place.root == Root::Group && user.kind() == UserKind::Guest {
            return Err(Code::LoginNeeded);
        }
        if !place.members.contains_key(&uid) && user.places.len() >= self.rules.memberships_per_user {
            return Err(Code::TooMany);
        }
        let is_in = place.members.get(&uid).is_some_and(Member::is_in);
        let is_above = place.role(uid) >= Some(Role::Moderator);
        let limit = place.settings.limit;
        if !is_in && !is_above && limit > 0 && place.count_in >= limit {
            return Err(Code::Full);
        }
        Ok(())
    }

    fn enter_by_session(&mut self, session: SessionId, pid: Pid) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let uid = known.uid;
        if known.entered.insert(pid) {
            self.change(pid, uid, |member| member.sessions += 1);
        } else {
            self.ensure_told(pid);
        }
    }

    /// A session's last subscription to a place is gone.
    pub(super) fn left(&mut self, session: SessionId, place: &str) {
        let Some((root, name)) = place.split_once('/') else { return };
        let Some(pid) = Root::parse(root).and_then(|root| self.find(root, name).ok()) else { return };
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let uid = known.uid;
        if known.entered.remove(&pid) {
            self.leave_by_session(pid, uid);
        }
    }

    pub(super) fn leave_by_session(&mut self, pid: Pid, uid: Uid) {
        let is_out = self.change(pid, uid, |member| member.sessions = member.sessions.saturating_sub(1));
        if is_out {
            self.evict_wildcards(pid, uid);
        }
    }

    /// Makes somebody a member until leaving.
    pub(super) fn join(&mut self, pid: Pid, uid: Uid) {
        self.change(pid, uid, |member| {
            member.joined = true;
            member.is_invited = false;
        });
    }

    /// Takes somebody out of a place, by every session; the ticket comes back by [`super::Command::Evicted`].
    pub(super) fn put_out(&mut self, pid: Pid, uid: Uid, keeps_rank: bool) -> Ticket {
        self.forget_sessions_in(pid, uid);
        self.change(pid, uid, |member| {
            member.joined = false;
            member.sessions = 0;
            member.is_invited = false;
            member.is_moderator &= keeps_rank;
        });
        self.evict(pid, uid)
    }

    fn forget_sessions_in(&mut self, pid: Pid, uid: Uid) {
        let Some(user) = self.people.all.get(&uid) else { return };
        for session in &user.sessions {
            if let Some(session) = self.sessions.get_mut(session) {
                session.entered.remove(&pid);
            }
        }
    }

    fn evict(&mut self, pid: Pid, uid: Uid) -> Ticket {
        let ticket = self.next_ticket();
        let user = Some(self.name_of(uid));
        if let Some(place) = self.place(pid) {
            let place = place.place.clone();
            self.out.push(Effect::Evict { ticket, place, user });
        }
        ticket
    }

    /// Who is out of a place must not reach it by wildcards, either.
    fn evict_wildcards(&mut self, pid: Pid, uid: Uid) {
        let (Some(user), Some(place)) = (self.user(uid), self.place(pid)) else { return };
        let index = place.root as usize;
        let watches = |id: &SessionId| self.sessions.get(id).is_some_and(|session| session.every[index]);
        if user.sessions.iter().any(watches) {
            self.evict(pid, uid);
        }
    }

    /// A user is no more: nothing of it stays in a place but a ban.
    pub(super) fn forget_in_place(&mut self, pid: Pid, uid: Uid) {
        self.put_out(pid, uid, false);
        self.change(pid, uid, |member| member.is_muted = false);
        let name = self.name_of(uid);
        if let Some(place) = self.places.all.get_mut(&pid) {
            place.dirty_members.remove(&uid);
            if place.told_presence.remove(&uid) {
                let (place, within) = (place.place.clone(), format!("presence/{name}"));
                self.out.push(Effect::Keep { place, within, payload: String::new() });
            }
        }
        if self.place(pid).is_some_and(|place| place.owner == uid) {
            self.pass_on(pid, uid);
        }
    }

    /// Finds an owner for a place whose owner is no more.
    fn pass_on(&mut self, pid: Pid, from: Uid) {
        let Some(place) = self.place(pid) else { return };
        let others = || place.members.iter().filter(|&(&uid, _)| uid != from);
        let longest = |of: &dyn Fn(&Member) -> bool| {
            others().filter(|(_, member)| of(member)).min_by_key(|&(&uid, member)| (member.since_ms, uid))
        };
        let heir = longest(&|member| member.is_moderator).or_else(|| longest(&|member| member.joined));
        let heir = heir.map_or(super::people::BROKER_UID, |(&uid, _)| uid);
        self.new_owner(pid, heir, None);
        self.change(pid, from, |_| {});
    }

    /// Makes somebody else the owner, and tells it.
    pub(super) fn new_owner(&mut self, pid: Pid, uid: Uid, by: Option<Uid>) {
        let before = self.place(pid).map(|place| place.owner);
        self.own(pid, uid);
        let is_group = self.place(pid).is_some_and(|place| place.root == Root::Group);
        if uid == super::people::BROKER_UID {
            self.tell_standing(pid, uid);
        } else {
            self.change(pid, uid, |member| {
                member.is_moderator = false;
                member.joined |= is_group;
            });
        }
        if let Some(before) = before {
            self.tell_standing(pid, before);
        }
        let user = self.name_of(uid).to_string();
        let by_name = by.map(|by| self.name_of(by).to_string());
        self.say(pid, &Notice::Owner { user, by: by_name });
        self.tell_role(pid, uid, by.unwrap_or(super::people::BROKER_UID), StandingJson::Owner);
        self.check_use(pid);
    }

    pub(super) fn tell_role(&mut self, pid: Pid, uid: Uid, by: Uid, role: StandingJson) {
        if uid == by {
            return;
        }
        let Some(place) = self.place(pid).map(|place| place.place.to_string()) else { return };
        let by_name = self.name_of(by).to_string();
        self.tell(uid, by, &Happening::Role { place, by: by_name, role });
    }

    /// Changes how somebody stands in a place. Says whether that user was in it and is out now.
    pub(super) fn change(&mut self, pid: Pid, uid: Uid, how: impl FnOnce(&mut Member)) -> bool {
        let wall = self.clock.wall;
        let (Some(place), Some(user)) = (self.places.all.get_mut(&pid), self.people.all.get_mut(&uid)) else {
            return false;
        };
        let before = place.members.get(&uid).copied();
        let mut member = before.unwrap_or(Member { since_ms: wall, ..Member::default() });
        let was_in = before.is_some_and(|before| before.is_in());
        how(&mut member);
        let is_in = member.is_in();
        if is_in && !was_in {
            member.since_ms = wall;
        }
        let key = || records::key_of_two(records::MEMBER, &place.record_name(), user.key.as_bytes());
        if user.is_kept() && member.is_worth_keeping() {
            if !member.is_kept || before.is_some_and(|before| before.record() != member.record()) {
                member.is_kept = true;
                self.out.push(Effect::Put { key: key(), value: records::value(&member.record()) });
            }
        } else if std::mem::replace(&mut member.is_kept, false) {
            self.out.push(Effect::Delete { key: key() });
        }
        if is_in || member.is_worth_keeping() {
            place.members.insert(uid, member);
            user.places.insert(pid);
        } else {
            place.members.remove(&uid);
            user.places.remove(&pid);
        }
        if was_in == is_in {
            self.tell_standing(pid, uid);
            return false;
        }
        let present = u64::from(user.connected > 0);
        if is_in {
            place.count_in += 1;
            place.count_present += present;
        } else {
            place.count_in -= 1;
            place.count_present -= present;
        }
        place.dirty_members.insert(uid);
        let root = place.root;
        if root == Root::Room {
            self.count(Counter::occupancy);
        }
        let changed = self.count(Counter::members);
        if let Some(place) = self.places.all.get_mut(&pid) {
            place.members_changed = changed;
        }
        self.mark_place(pid);
        self.tell_standing(pid, uid);
        if is_in {
            self.admit(pid, uid);
        }
        self.check_use(pid);
        was_in && !is_in
    }

    /// A place that somebody comes into is reached by the wildcards of all of that user's sessions.
    fn admit(&mut self, pid: Pid, uid: Uid) {
        let (Some(user), Some(place)) = (self.people.all.get(&uid), self.places.all.get(&pid)) else {
            return;
        };
        for &session in &user.sessions {
            if self.sessions.get(&session).is_some_and(|known| known.every[place.root as usize]) {
                let place = place.place.clone();
                self.out.push(Effect::Admit { session, place, from_start: false });
            }
        }
    }

    /// A session watches by wildcard from here on.
    pub(super) fn enter_all(&mut self, session: SessionId, root: &str) {
        let index = match root {
            "user" => 2,
            _ => match Root::parse(root) {
                Some(root) => root as usize,
                None => return,
            },
        };
        let Some(known) = self.sessions.get_mut(&session) else { return };
        known.every[index] = true;
        let uid = known.uid;
        let Some(user) = self.people.all.get(&uid) else { return };
        if index == 2 {
            for other in user.pairs.clone() {
                let place = self.ensure_pair(uid, other);
                self.out.push(Effect::Admit { session, place, from_start: false });
            }
            return;
        }
        for pid in user.places.clone() {
            let is_in = |place: &PlaceState| place.members.get(&uid).is_some_and(Member::is_in);
            let Some(place) = self.place(pid) else { continue };
            if place.root as usize == index && is_in(place) {
                let place = place.place.clone();
                self.ensure_told(pid);
                self.out.push(Effect::Admit { session, place, from_start: false });
            }
        }
    }

    /// The first connection of a user is there, or the last one gone.
    pub(super) fn came_or_went(&mut self, uid: Uid, came: bool) {
        let Some(user) = self.people.all.get(&uid) else { return };
        let owned = user.owned.iter().filter(|pid| !user.places.contains(pid)).copied();
        for pid in user.places.iter().copied().chain(owned).collect::<Vec<_>>() {
            let Some(place) = self.places.all.get_mut(&pid) else { continue };
            if place.members.get(&uid).is_some_and(Member::is_in) {
                if came {
                    place.count_present += 1;
                } else {
                    place.count_present -= 1;
                }
                self.mark_place(pid);
            }
            self.check_use(pid);
        }
    }
}
