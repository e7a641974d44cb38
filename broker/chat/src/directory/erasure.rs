//! Erasing somebody: the account and all that the directory knows, at once; what was written, by the driver, which takes
//! its time.
//!
//! A record says that it goes on, so that it does after a crash; while it is there, nobody has the name. Invariant: the
//! record goes when the driver has said that nothing is left.

use super::people::BROKER_UID;
use super::records::{self, NameRecord};
use super::requests::Asker;
use super::{Directory, Effect};
use crate::code::Code;
use crate::name;
use crate::request::{Done, Erasing, UserErase, UserErasing};
use std::sync::Arc;

/// The record of an erasure that goes on.
pub(super) fn record(key: &str, name: &str) -> (Vec<u8>, Vec<u8>) {
    let record = NameRecord { v: records::VERSION, name: name.to_owned() };
    (records::key(records::ERASURE, key.as_bytes()), records::value(&record))
}

impl Directory {
    pub(super) fn user_erase(&mut self, asker: &Asker, ask: UserErase) -> Result<Option<Done>, Code> {
        asker.operator()?;
        // Whoever wrote it may be gone: any name that can be one will do.
        let key = name::user_key(&ask.name).map_err(|_| Code::UserNotFound)?;
        if self.rules.accounts.contains_key(&key) {
            return Err(Code::LoginOperatorsAccount);
        }
        if self.erasing.contains_key(&key) {
            return Ok(Some(Done {}));
        }
        let uid = self.people.by_key.get(&key).copied();
        let is_somebody =
            uid.and_then(|uid| self.user(uid)).map(|user| *user.name == *ask.name && !user.is_guest);
        match (is_somebody, uid) {
            (Some(false), _) => return Err(Code::NameSpelling),
            (Some(true), Some(BROKER_UID)) => return Err(Code::UserNotFound),
            (Some(true), Some(uid)) => self.remove_user(uid),
            _ => {}
        }
        let user: Arc<str> = ask.name.into();
        let (record_key, value) = record(&key, &user);
        self.erasing.insert(key.clone(), user.clone());
        self.out.push(Effect::Put { key: record_key, value });
        self.erase_posts(&user);
        self.forget_bans(&key);
        self.forget_ignored(&key);
        // Whoever has the name next hears everybody.
        self.out.push(Effect::Ignores { user: user.clone(), ignored: [].into() });
        self.out.push(Effect::Erase { user });
        Ok(Some(Done {}))
    }

    pub(super) fn user_erasing(&mut self, asker: &Asker, ask: UserErasing) -> Result<Option<Erasing>, Code> {
        asker.operator()?;
        let key = name::user_key(&ask.name).map_err(|_| Code::UserNotFound)?;
        Ok(Some(Erasing { erasing: self.erasing.contains_key(&key) }))
    }

    /// With a start: what was not done before goes on.
    pub(super) fn erase_again(&mut self) {
        let erasing: Vec<Arc<str>> = self.erasing.values().cloned().collect();
        self.out.extend(erasing.into_iter().map(|user| Effect::Erase { user }));
    }

    /// Nothing that the user wrote is left.
    pub(super) fn erased(&mut self, user: &str) {
        let Ok(key) = name::user_key(user) else { return };
        if self.erasing.remove(&key).is_some() {
            self.out.push(Effect::Delete { key: record(&key, user).0 });
        }
    }

    /// Whoever has the name next is not banned.
    fn forget_bans(&mut self, key: &str) {
        let pids: Vec<_> = self.places.all.keys().copied().collect();
        for pid in pids {
            let Some(place) = self.places.all.get_mut(&pid) else { continue };
            let Some(name) = place.bans.remove(key) else { continue };
            let (record, _) = Self::ban_record(place, key, &name);
            let at = place.place.clone();
            self.out.push(Effect::Delete { key: record });
            self.ensure_told(pid);
            self.out.push(Effect::Stands { place: at, user: name, standing: None });
        }
    }

    /// Nobody ignores whoever has the name next.
    fn forget_ignored(&mut self, key: &str) {
        let uids: Vec<_> = self.people.all.keys().copied().collect();
        for uid in uids {
            let Some(user) = self.people.all.get_mut(&uid) else { continue };
            let Some(name) = user.ignored.remove(key) else { continue };
            let (record, _) = super::contacts::ignored_record(user, key, &name);
            self.out.push(Effect::Delete { key: record });
            self.tell_ignored(uid, true);
        }
    }
}
