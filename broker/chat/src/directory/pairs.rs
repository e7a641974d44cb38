//! Pairs: the private messages of two users, and what is told to a user, which goes the same way.

use super::people::{BROKER_UID, Uid};
use super::records::{self, LinkRecord};
use super::{Directory, Effect, Place};
use crate::code::Code;
use crate::event::{self, Happening};
use crate::permission::{PlaceRules, Role, Standing, UserKind, Visibility};
use std::sync::Arc;

/// What two users have in common.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) place: Place,
    pub(super) is_told: bool,
}

/// The rules of every pair.
pub(super) fn pair_rules() -> Arc<PlaceRules> {
    Arc::new(PlaceRules {
        visibility: Visibility::Secret,
        is_group: true,
        is_pair: true,
        registered_only: false,
        read_only: false,
        history_messages: 0,
        history_ms: 0,
        history_bytes: 0,
    })
}

pub(super) fn ordered(a: Uid, b: Uid) -> (Uid, Uid) {
    (a.min(b), a.max(b))
}

impl Directory {
    /// The pair of two users who exist: made where there is none, and known to its home.
    pub(super) fn ensure_pair(&mut self, a: Uid, b: Uid) -> Place {
        let ids = ordered(a, b);
        if !self.pairs.contains_key(&ids) {
            self.add_pair(a, b);
            self.keep_pair(ids);
            let place = self.pairs.get(&ids).map(|pair| pair.place.clone()).unwrap_or_else(|| "".into());
            self.tell_pair(ids);
            for uid in [a, b].into_iter().take(if a == b { 1 } else { 2 }) {
                let Some(user) = self.people.all.get(&uid) else { continue };
                for &session in &user.sessions {
                    if self.sessions.get(&session).is_some_and(|known| known.every[2]) {
                        self.out.push(Effect::Admit { session, place: place.clone(), from_start: true });
                    }
                }
            }
            return place;
        }
        self.tell_pair(ids);
        self.pairs.get(&ids).map(|pair| pair.place.clone()).unwrap_or_else(|| "".into())
    }

    /// Adds a pair that is not there; also when records are read.
    pub(super) fn add_pair(&mut self, a: Uid, b: Uid) {
        let (one, other) = (self.name_of(a), self.name_of(b));
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        let pair = Pair { place: format!("user/{low}/{high}").into(), is_told: false };
        self.pairs.insert(ordered(a, b), pair);
        for (uid, other) in [(a, b), (b, a)] {
            if let Some(user) = self.people.all.get_mut(&uid) {
                user.pairs.insert(other);
            }
        }
    }

    pub(super) fn pair_record(&self, (a, b): (Uid, Uid)) -> Option<(Vec<u8>, Vec<u8>)> {
        let (one, other) = (self.user(a)?, self.user(b)?);
        if !one.is_kept() || !other.is_kept() {
            return None;
        }
        let (low, high) = if one.key <= other.key { (one, other) } else { (other, one) };
        let record = LinkRecord { v: records::VERSION, since_ms: 0 };
        let key = records::key_of_two(records::PAIR, &low.key, high.key.as_bytes());
        Some((key, records::value(&record)))
    }

    fn keep_pair(&mut self, ids: (Uid, Uid)) {
        if let Some((key, value)) = self.pair_record(ids) {
            self.out.push(Effect::Put { key, value });
        }
    }

    fn tell_pair(&mut self, ids: (Uid, Uid)) {
        let Some(pair) = self.pairs.get_mut(&ids) else { return };
        if std::mem::replace(&mut pair.is_told, true) {
            return;
        }
        let place = pair.place.clone();
        self.out.push(Effect::Rules { place: place.clone(), rules: Some(pair_rules()) });
        let standing = Some(Standing { role: Some(Role::Member), ..Standing::default() });
        for uid in [ids.0, ids.1].into_iter().take(if ids.0 == ids.1 { 1 } else { 2 }) {
            let user = self.name_of(uid);
            self.out.push(Effect::Stands { place: place.clone(), user, standing });
        }
    }

    pub(super) fn drop_pair(&mut self, a: Uid, b: Uid) {
        let ids = ordered(a, b);
        if let Some((key, _)) = self.pair_record(ids) {
            self.out.push(Effect::Delete { key });
        }
        let Some(pair) = self.pairs.remove(&ids) else { return };
        for (uid, other) in [(a, b), (b, a)] {
            if let Some(user) = self.people.all.get_mut(&uid) {
                user.pairs.remove(&other);
            }
        }
        let ticket = self.next_ticket();
        self.out.push(Effect::Rules { place: pair.place.clone(), rules: None });
        self.out.push(Effect::Evict { ticket, place: pair.place.clone(), user: None });
        self.out.push(Effect::Drop { place: pair.place });
    }

    /// The place of a pair that is there.
    pub(super) fn pair_place(&self, a: Uid, b: Uid) -> Option<Place> {
        self.pairs.get(&ordered(a, b)).map(|pair| pair.place.clone())
    }

    /// The two users of `{a}/{b}`, if both exist and are in this order.
    pub(super) fn two_of_pair(&self, names: &str) -> Option<(Uid, Uid)> {
        let (a, b) = names.split_once('/')?;
        let found = (self.people.speaker(a)?, self.people.speaker(b)?);
        (a <= b).then_some(found)
    }

    /// Somebody subscribes to a pair by name: only its own.
    pub(super) fn enter_pair(&mut self, uid: Uid, names: &str) -> Result<(), Code> {
        let (a, b) = self.two_of_pair(names).ok_or(Code::UserNotFound)?;
        if uid != a && uid != b {
            return Err(Code::UserNotFound);
        }
        self.ensure_pair(a, b);
        Ok(())
    }

    /// The home of a place asks for its rules, because somebody speaks there. It may have forgotten what it was told.
    pub(super) fn open(&mut self, place: &str, name: &str, _kind: UserKind) {
        let Some((root, rest)) = place.split_once('/') else { return };
        let is_known = if root == "user" {
            match self.two_of_pair(rest) {
                Some((a, b)) if [a, b].contains(&self.people.speaker(name).unwrap_or(Uid::MAX)) => {
                    if let Some(pair) = self.pairs.get_mut(&ordered(a, b)) {
                        pair.is_told = false;
                    }
                    self.ensure_pair(a, b);
                    true
                }
                _ => false,
            }
        } else {
            self.open_place(root, rest, name)
        };
        if !is_known {
            self.out.push(Effect::Rules { place: place.into(), rules: None });
        }
    }

    fn open_place(&mut self, root: &str, rest: &str, name: &str) -> bool {
        let Some(root) = super::places::Root::parse(root) else { return false };
        let pid = match self.find(root, rest) {
            Ok(pid) => {
                if let Some(place) = self.places.all.get_mut(&pid) {
                    place.is_told = false;
                }
                pid
            }
            Err(Code::RoomNotFound) => {
                let Some(uid) = self.people.by_name(name) else { return false };
                let Ok(pid) = self.make_by_use(rest, uid) else { return false };
                pid
            }
            Err(_) => return false,
        };
        self.ensure_told(pid);
        true
    }

    /// Tells a user that something happened to it, unless it does not hear who did it.
    pub(super) fn tell(&mut self, to: Uid, from: Uid, happening: &Happening) {
        if to == from || to == BROKER_UID {
            return;
        }
        let (Some(user), Some(doer)) = (self.user(to), self.user(from)) else { return };
        if user.ignored.contains_key(&doer.key) {
            return;
        }
        self.ensure_pair(to, from);
        let (to, from) = (self.name_of(to), self.name_of(from));
        self.out.push(Effect::Tell { to, from, payload: event::json(happening) });
    }
}
