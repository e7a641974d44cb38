//! Requests about other people: friends, ignored users and offers; and the links that they leave.

use super::people::{Uid, User};
use super::records::{self, LinkRecord, NameRecord};
use super::requests::Asker;
use super::{Directory, Effect};
use crate::code::Code;
use crate::event::Happening;
use crate::name;
use crate::request::{
    Done, FriendAdd, FriendList, FriendRemove, IgnoreAdd, IgnoreList, IgnoreRemove, Kind, LIST_ENTRIES_USUAL,
    Offer, People, Person, State,
};
use std::sync::Arc;

impl Directory {
    /// Somebody else, by name.
    fn other(&self, asker: &Asker, name: &str) -> Result<Uid, Code> {
        match self.people.by_name(name) {
            Some(uid) if uid == asker.uid => Err(Code::UserYourself),
            Some(uid) => Ok(uid),
            None => Err(Code::UserNotFound),
        }
    }

    pub(super) fn friend_add(&mut self, asker: &Asker, ask: FriendAdd) -> Result<Option<Done>, Code> {
        asker.registered()?;
        let other = self.other(asker, &ask.user)?;
        let (wall, most) = (self.clock.wall, self.rules.contacts_per_user);
        let other_user = self.user(other).ok_or(Code::UserNotFound)?;
        if !other_user.is_kept() {
            return Err(Code::UserNotFound);
        }
        let user = self.people.all.get_mut(&asker.uid).ok_or(Code::UserNotFound)?;
        if user.friends.contains_key(&other) {
            return Ok(Some(Done {}));
        }
        if user.friends.len() >= most {
            return Err(Code::Limit);
        }
        user.friends.insert(other, wall);
        if let Some(other) = self.people.all.get_mut(&other) {
            other.friend_of.insert(asker.uid);
        }
        if let Some((key, value)) = self.friend_record(asker.uid, other) {
            self.out.push(Effect::Put { key, value });
        }
        Ok(Some(Done {}))
    }

    pub(super) fn friend_record(&self, uid: Uid, other: Uid) -> Option<(Vec<u8>, Vec<u8>)> {
        let (user, other_user) = (self.user(uid)?, self.user(other)?);
        let since_ms = user.friends.get(&other).copied().unwrap_or(0);
        let key = records::key_of_two(records::FRIEND, &user.key, other_user.key.as_bytes());
        Some((key, records::value(&LinkRecord { v: records::VERSION, since_ms })))
    }

    pub(super) fn friend_remove(&mut self, asker: &Asker, ask: FriendRemove) -> Result<Option<Done>, Code> {
        asker.registered()?;
        let other = self.people.by_name(&ask.user).ok_or(Code::NotFound)?;
        if !self.user(asker.uid).is_some_and(|user| user.friends.contains_key(&other)) {
            return Err(Code::NotFound);
        }
        self.unfriend(asker.uid, other);
        Ok(Some(Done {}))
    }

    fn unfriend(&mut self, uid: Uid, other: Uid) {
        if let Some((key, _)) = self.friend_record(uid, other) {
            self.out.push(Effect::Delete { key });
        }
        if let Some(user) = self.people.all.get_mut(&uid) {
            user.friends.remove(&other);
        }
        if let Some(other) = self.people.all.get_mut(&other) {
            other.friend_of.remove(&uid);
        }
    }

    pub(super) fn friend_list(&mut self, asker: &Asker, ask: FriendList) -> Result<Option<People>, Code> {
        asker.registered()?;
        let user = self.user(asker.uid).ok_or(Code::UserNotFound)?;
        let friends = user.friends.keys().filter_map(|&uid| Some((self.user(uid)?.key.clone(), uid)));
        Ok(Some(self.page_of_people(friends.collect(), ask.after, ask.count, None)))
    }

    pub(super) fn ignore_add(&mut self, asker: &Asker, ask: IgnoreAdd) -> Result<Option<Done>, Code> {
        asker.named()?;
        let other = self.other(asker, &ask.user)?;
        let (key, name) = (self.key_of(other).to_owned(), self.name_of(other));
        let most = self.rules.contacts_per_user;
        let user = self.people.all.get_mut(&asker.uid).ok_or(Code::UserNotFound)?;
        if !user.ignored.contains_key(&key) && user.ignored.len() >= most {
            return Err(Code::Limit);
        }
        user.ignored.insert(key.clone(), name.clone());
        let (key, value) = ignored_record(user, &key, &name);
        self.out.push(Effect::Put { key, value });
        self.tell_ignored(asker.uid, true);
        Ok(Some(Done {}))
    }

    pub(super) fn ignore_remove(&mut self, asker: &Asker, ask: IgnoreRemove) -> Result<Option<Done>, Code> {
        asker.named()?;
        let key = name::user_key(&ask.user).map_err(|_| Code::NotFound)?;
        let user = self.people.all.get_mut(&asker.uid).ok_or(Code::UserNotFound)?;
        let name = user.ignored.remove(&key).ok_or(Code::NotFound)?;
        let (key, _) = ignored_record(user, &key, &name);
        self.out.push(Effect::Delete { key });
        self.tell_ignored(asker.uid, true);
        Ok(Some(Done {}))
    }

    pub(super) fn ignore_list(&mut self, asker: &Asker, ask: IgnoreList) -> Result<Option<People>, Code> {
        asker.named()?;
        let user = self.user(asker.uid).ok_or(Code::UserNotFound)?;
        let count = ask.count.unwrap_or(LIST_ENTRIES_USUAL) as usize;
        let after = ask.after.map(|after| name::user_key(&after).unwrap_or(after));
        let mut ignored =
            user.ignored.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
        let gone = |name: &str| Person {
            user: name.to_owned(),
            kind: Kind::Anonymous,
            number: None,
            display: None,
            state: State::Offline,
            text: None,
            role: None,
            muted: false,
        };
        let users = ignored.by_ref().take(count).map(|(key, name)| {
            let uid = self.people.by_key.get(key);
            uid.and_then(|&uid| self.person(uid, None)).unwrap_or_else(|| gone(name))
        });
        let users = users.collect();
        Ok(Some(People { users, more: ignored.next().is_some() }))
    }

    /// Tells the sessions of a user whom they do not hear.
    pub(super) fn tell_ignored(&mut self, uid: Uid, also_nobody: bool) {
        let Some(user) = self.user(uid) else { return };
        if user.ignored.is_empty() && !also_nobody {
            return;
        }
        let (user, ignored) = (user.name.clone(), self.ignored_by(uid));
        self.out.push(Effect::Ignores { user, ignored });
    }

    pub(super) fn ignored_by(&self, uid: Uid) -> Arc<[Arc<str>]> {
        self.user(uid).map(|user| user.ignored.values().cloned().collect()).unwrap_or_default()
    }

    /// A user goes: so do its friends and its ignored users, and it from others' friends.
    pub(super) fn drop_links(&mut self, uid: Uid) {
        let Some(user) = self.user(uid) else { return };
        let (friends, friend_of) = (user.friends.clone(), user.friend_of.clone());
        let ignored: Vec<Vec<u8>> =
            user.ignored.iter().map(|(key, name)| ignored_record(user, key, name).0).collect();
        for other in friends.into_keys() {
            self.unfriend(uid, other);
        }
        for follower in friend_of {
            self.unfriend(follower, uid);
        }
        self.out.extend(ignored.into_iter().map(|key| Effect::Delete { key }));
    }

    pub(super) fn offer(&mut self, asker: &Asker, ask: Offer) -> Result<Option<Done>, Code> {
        asker.named()?;
        let other = self.other(asker, &ask.to)?;
        if !self.is_connected(other) {
            return Err(Code::UserOffline);
        }
        let by = self.name_of(asker.uid).to_string();
        self.tell(other, asker.uid, &Happening::Offer { by, kind: ask.kind, data: ask.data });
        Ok(Some(Done {}))
    }
}

pub(super) fn ignored_record(user: &User, key: &str, name: &str) -> (Vec<u8>, Vec<u8>) {
    let record = NameRecord { v: records::VERSION, name: name.to_owned() };
    (records::key_of_two(records::IGNORED, &user.key, key.as_bytes()), records::value(&record))
}
