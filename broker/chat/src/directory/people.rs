//! Who there is: users with their accounts and sessions, how they are found by name and number, and how they go.
//!
//! A user exists while there is an account or a session, and an anonymous name a little longer. Its invariant: no two
//! users have one key.

use super::records::{self, AccountRecord, AnonymousRecord};
use super::{Directory, Due, Effect, SessionId, clock::Bucket};
use crate::name;
use crate::permission::UserKind;
use crate::request::{Kind, State};
use std::collections::{BTreeMap, BTreeSet};
use std::{net::IpAddr, sync::Arc};

/// A user within the directory; never given twice.
pub(super) type Uid = u64;
/// The broker itself: it owns what nobody else owns.
pub(super) const BROKER_UID: Uid = 0;
/// What the names of guests begin with.
pub(super) const GUEST: &str = "guest-";
/// How long a name is kept for who was let in and has not opened a session, in milliseconds.
const ARRIVAL_MS: u64 = 60_000;

#[derive(Debug)]
pub(super) struct User {
    pub(super) name: Arc<str>,
    pub(super) key: String,
    pub(super) account: Option<Account>,
    pub(super) is_guest: bool,
    /// Where an anonymous name is taken from.
    pub(super) address: Option<IpAddr>,
    pub(super) sessions: BTreeSet<SessionId>,
    pub(super) connected: usize,
    pub(super) away: usize,
    pub(super) profile: ProfileState,
    pub(super) since_ms: u64,
    /// What was told last, and told at all.
    pub(super) told: Option<State>,
    /// Places where this user is or has a standing.
    pub(super) places: BTreeSet<u64>,
    pub(super) owned: BTreeSet<u64>,
    /// The other user of each pair.
    pub(super) pairs: BTreeSet<Uid>,
    pub(super) friends: BTreeMap<Uid, u64>,
    pub(super) friend_of: BTreeSet<Uid>,
    /// Names by keys: they stay ignored when they go and come back.
    pub(super) ignored: BTreeMap<String, Arc<str>>,
    pub(super) requests: Bucket,
    pub(super) pages: Bucket,
    pub(super) guesses: Bucket,
    pub(super) mentions: Bucket,
    /// When the anonymous name is looked at again, in steady time.
    pub(super) hold: Option<u64>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct ProfileState {
    pub(super) display: Option<String>,
    pub(super) email: Option<String>,
    pub(super) fields: BTreeMap<String, String>,
    pub(super) delete_on_delivery: bool,
    /// Status text.
    pub(super) text: Option<String>,
}

pub(super) struct Account {
    pub(super) number: u64,
    pub(super) hash: Option<Arc<str>>,
    /// The verifier of the same password for SCRAM.
    pub(super) scram: Option<Arc<str>>,
    /// Whose it is at the provider that vouched for it.
    pub(super) identity: Option<Arc<str>>,
    pub(super) created_ms: u64,
    pub(super) seen_ms: u64,
    pub(super) address: Option<String>,
    pub(super) is_blocked: bool,
    /// Digests of tokens by their keys.
    pub(super) tokens: BTreeMap<String, [u8; 32]>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("number", &self.number).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) uid: Uid,
    pub(super) is_connected: bool,
    pub(super) is_away: bool,
    pub(super) address: Option<IpAddr>,
    /// Places that it is in by subscribing.
    pub(super) entered: BTreeSet<u64>,
    /// Which roots it watches by wildcard: rooms, groups, pairs.
    pub(super) every: [bool; 3],
}

impl User {
    pub(super) fn new(name: &str, key: String) -> Self {
        Self {
            name: name.into(),
            key,
            account: None,
            is_guest: false,
            address: None,
            sessions: BTreeSet::new(),
            connected: 0,
            away: 0,
            profile: ProfileState::default(),
            since_ms: 0,
            told: None,
            places: BTreeSet::new(),
            owned: BTreeSet::new(),
            pairs: BTreeSet::new(),
            friends: BTreeMap::new(),
            friend_of: BTreeSet::new(),
            ignored: BTreeMap::new(),
            requests: Bucket::default(),
            pages: Bucket::default(),
            guesses: Bucket::default(),
            mentions: Bucket::default(),
            hold: None,
        }
    }

    pub(super) fn kind(&self) -> UserKind {
        match self.account {
            Some(_) => UserKind::Registered,
            None if self.is_guest => UserKind::Guest,
            None => UserKind::Anonymous,
        }
    }

    pub(super) fn kind_json(&self) -> Kind {
        match self.kind() {
            UserKind::Registered => Kind::Registered,
            UserKind::Anonymous => Kind::Anonymous,
            UserKind::Guest => Kind::Guest,
        }
    }

    pub(super) fn state(&self) -> State {
        match (self.connected, self.sessions.len()) {
            (0, 0) => State::Offline,
            (0, _) => State::Asleep,
            (connected, _) if connected > self.away => State::Online,
            _ => State::Away,
        }
    }

    /// Whether anything about this user is worth a record. Guests go with their session.
    pub(super) fn is_kept(&self) -> bool {
        !self.is_guest
    }

    pub(super) fn record(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        match &self.account {
            _ if self.is_guest => None,
            Some(account) => {
                let record = AccountRecord {
                    v: records::VERSION,
                    name: self.name.to_string(),
                    number: account.number,
                    hash: account.hash.as_deref().map(str::to_owned),
                    scram: account.scram.as_deref().map(str::to_owned),
                    identity: account.identity.as_deref().map(str::to_owned),
                    created_ms: account.created_ms,
                    seen_ms: account.seen_ms,
                    address: account.address.clone(),
                    blocked: account.is_blocked,
                    display: self.profile.display.clone(),
                    email: self.profile.email.clone(),
                    fields: self.profile.fields.clone(),
                    delete_on_delivery: self.profile.delete_on_delivery,
                    text: self.profile.text.clone(),
                };
                Some((records::key(records::ACCOUNT, self.key.as_bytes()), records::value(&record)))
            }
            None => {
                let record = AnonymousRecord {
                    v: records::VERSION,
                    name: self.name.to_string(),
                    address: self.address.map(|address| address.to_string()),
                };
                Some((records::key(records::ANONYMOUS, self.key.as_bytes()), records::value(&record)))
            }
        }
    }
}

/// All users, by every way of finding them.
#[derive(Debug, Default)]
pub(super) struct People {
    pub(super) all: BTreeMap<Uid, User>,
    pub(super) by_key: BTreeMap<String, Uid>,
    pub(super) by_number: BTreeMap<u64, Uid>,
    next: Uid,
}

impl People {
    pub(super) fn add(&mut self, user: User) -> Uid {
        let uid = self.next;
        self.next += 1;
        self.by_key.insert(user.key.clone(), uid);
        if let Some(account) = &user.account {
            self.by_number.insert(account.number, uid);
        }
        self.all.insert(uid, user);
        uid
    }

    /// The user of exactly this spelling; the broker is none.
    pub(super) fn by_name(&self, name: &str) -> Option<Uid> {
        self.speaker(name).filter(|&uid| uid != BROKER_UID)
    }

    /// The user of exactly this spelling, or the broker.
    pub(super) fn speaker(&self, name: &str) -> Option<Uid> {
        let key = name::user_key(name).ok()?;
        let uid = *self.by_key.get(&key)?;
        (&*self.all.get(&uid)?.name == name).then_some(uid)
    }
}

impl Directory {
    pub(super) fn user(&self, uid: Uid) -> Option<&User> {
        self.people.all.get(&uid)
    }

    pub(super) fn user_mut(&mut self, uid: Uid) -> Option<&mut User> {
        self.people.all.get_mut(&uid)
    }

    pub(super) fn name_of(&self, uid: Uid) -> Arc<str> {
        self.user(uid).map_or_else(|| name::BROKER.into(), |user| user.name.clone())
    }

    pub(super) fn key_of(&self, uid: Uid) -> &str {
        self.user(uid).map_or("", |user| &user.key)
    }

    /// The key that stands in records for who owns something: a guest is gone after a restart, and leaves it to the broker.
    pub(super) fn kept_key_of(&self, uid: Uid) -> &str {
        match self.user(uid) {
            Some(user) if user.is_kept() => &user.key,
            _ => name::BROKER,
        }
    }

    pub(super) fn is_connected(&self, uid: Uid) -> bool {
        self.user(uid).is_some_and(|user| user.connected > 0)
    }

    pub(super) fn keep_user(&mut self, uid: Uid) {
        if let Some((key, value)) = self.user(uid).and_then(User::record) {
            self.out.push(Effect::Put { key, value });
        }
    }

    /// An anonymous user or a guest, who is let in and opens a session soon.
    pub(super) fn add_nameless(&mut self, name: &str, key: String, address: Option<IpAddr>) -> Uid {
        let mut user = User::new(name, key);
        user.is_guest = user.key.starts_with(GUEST);
        user.address = address;
        user.since_ms = self.clock.wall;
        let uid = self.people.add(user);
        self.keep_user(uid);
        self.hold_name(uid, ARRIVAL_MS);
        uid
    }

    /// Gives a user an account, or makes one for a new name.
    pub(super) fn add_account(&mut self, name: &str, key: String, hash: Option<Arc<str>>) -> Uid {
        self.numbers.account += 1;
        let account = Account {
            number: self.numbers.account,
            hash,
            scram: None,
            identity: None,
            created_ms: self.clock.wall,
            seen_ms: 0,
            address: None,
            is_blocked: false,
            tokens: BTreeMap::new(),
        };
        let number = account.number;
        let uid = match self.people.by_key.get(&key).copied() {
            Some(uid) => {
                self.out.push(Effect::Delete { key: records::key(records::ANONYMOUS, key.as_bytes()) });
                self.release_hold(uid);
                uid
            }
            None => self.people.add(User::new(name, key)),
        };
        self.people.by_number.insert(number, uid);
        if let Some(user) = self.people.all.get_mut(&uid) {
            user.account = Some(account);
        }
        self.keep_numbers();
        self.keep_user(uid);
        self.mark_user(uid);
        uid
    }

    pub(super) fn open_session(&mut self, session: SessionId, name: &str, kind: UserKind) {
        if self.sessions.contains_key(&session) {
            return;
        }
        let Ok(key) = name::user_key(name) else { return };
        let uid = match self.people.by_key.get(&key).copied() {
            Some(uid) => uid,
            // Its account went while it slept.
            None if kind == UserKind::Registered || self.erasing.contains_key(&key) => {
                return self.out.push(Effect::End { session });
            }
            None => self.add_nameless(name, key, None),
        };
        let opened = Session {
            uid,
            is_connected: false,
            is_away: false,
            address: None,
            entered: BTreeSet::new(),
            every: [false; 3],
        };
        self.sessions.insert(session, opened);
        let hold_ms = self.rules.anonymous_hold_ms;
        let Some(user) = self.people.all.get_mut(&uid) else { return };
        user.sessions.insert(session);
        if user.account.is_none() && user.connected == 0 {
            self.hold_name(uid, hold_ms);
        }
        self.tell_ignored(uid, false);
        self.tell_forgets(uid, false);
        self.changed_state(uid);
    }

    pub(super) fn connect_session(&mut self, session: SessionId, address: Option<IpAddr>) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        known.address = address;
        if std::mem::replace(&mut known.is_connected, true) {
            return;
        }
        known.is_away = false;
        let uid = known.uid;
        self.release_hold(uid);
        let Some(user) = self.people.all.get_mut(&uid) else { return };
        user.connected += 1;
        if user.account.is_none() && user.address.is_none() && address.is_some() {
            user.address = address;
            self.keep_user(uid);
        } else if let Some(account) = &mut user.account {
            let address = address.map(|address| address.to_string());
            if account.address != address {
                account.address = address;
                self.keep_user(uid);
            }
        }
        if self.user(uid).is_some_and(|user| user.connected == 1) {
            self.came_or_went(uid, true);
        }
        self.forget_delivered(uid);
        self.changed_state(uid);
    }

    pub(super) fn disconnect_session(&mut self, session: SessionId) {
        let wall = self.clock.wall;
        let Some(known) = self.sessions.get_mut(&session) else { return };
        if !std::mem::replace(&mut known.is_connected, false) {
            return;
        }
        let (uid, was_away) = (known.uid, std::mem::replace(&mut known.is_away, false));
        let Some(user) = self.people.all.get_mut(&uid) else { return };
        user.connected = user.connected.saturating_sub(1);
        user.away -= usize::from(was_away);
        let is_last = user.connected == 0;
        if let Some(account) = &mut user.account {
            account.seen_ms = wall;
            self.keep_user(uid);
        } else if is_last {
            self.hold_name(uid, self.rules.anonymous_hold_ms);
        }
        if is_last {
            self.came_or_went(uid, false);
        }
        self.changed_state(uid);
    }

    pub(super) fn end_session(&mut self, session: SessionId) {
        self.disconnect_session(session);
        let Some(ended) = self.sessions.remove(&session) else { return };
        if let Some(user) = self.people.all.get_mut(&ended.uid) {
            user.sessions.remove(&session);
        }
        for place in ended.entered {
            self.leave_by_session(place, ended.uid);
        }
        let Some(user) = self.user(ended.uid) else { return };
        if user.account.is_none() && user.sessions.is_empty() {
            self.remove_user(ended.uid);
        } else {
            self.forget_delivered(ended.uid);
            self.changed_state(ended.uid);
        }
    }

    /// Ends a user: what it owns passes on, its memberships, links, pairs and sessions go.
    pub(super) fn remove_user(&mut self, uid: Uid) {
        if uid == BROKER_UID {
            return;
        }
        let Some(user) = self.user(uid) else { return };
        let places: BTreeSet<u64> = user.places.union(&user.owned).copied().collect();
        let (sessions, pairs) = (user.sessions.clone(), user.pairs.clone());
        for session in sessions {
            self.disconnect_session(session);
            self.sessions.remove(&session);
            if let Some(user) = self.people.all.get_mut(&uid) {
                user.sessions.remove(&session);
            }
        }
        for place in places {
            self.forget_in_place(place, uid);
        }
        for other in pairs {
            self.drop_pair(uid, other);
        }
        self.drop_links(uid);
        self.release_hold(uid);
        let Some(user) = self.people.all.remove(&uid) else { return };
        self.people.by_key.remove(&user.key);
        self.dirty_users.remove(&uid);
        if let Some((key, _)) = user.record() {
            self.out.push(Effect::Delete { key });
        }
        if let Some(account) = user.account {
            self.people.by_number.remove(&account.number);
            for digest in account.tokens.into_values() {
                self.forget_token(digest);
            }
        }
        if !user.is_guest {
            for topic in ["presence", "profile"] {
                let topic = format!("user/{}/{topic}", user.name);
                self.out.push(Effect::Retain { topic, payload: String::new() });
            }
        }
    }

    fn hold_name(&mut self, uid: Uid, hold_ms: u64) {
        self.release_hold(uid);
        let at = self.clock.steady.saturating_add(hold_ms);
        if let Some(user) = self.people.all.get_mut(&uid) {
            user.hold = Some(at);
            self.due.insert((at, Due::Name(uid)));
        }
    }

    pub(super) fn release_hold(&mut self, uid: Uid) {
        let held = self.people.all.get_mut(&uid).and_then(|user| user.hold.take());
        if let Some(at) = held {
            self.due.remove(&(at, Due::Name(uid)));
        }
    }

    /// The time of an anonymous name that nobody is connected under is over.
    pub(super) fn name_is_due(&mut self, uid: Uid) {
        let Some(user) = self.people.all.get_mut(&uid) else { return };
        user.hold = None;
        if user.account.is_some() || user.connected > 0 {
            return;
        }
        for session in user.sessions.clone() {
            self.out.push(Effect::End { session });
        }
        self.remove_user(uid);
    }

    /// After the start: names whose sessions do not come back are free after a while.
    pub(super) fn hold_restored_names(&mut self) {
        let is_held = |user: &User| user.account.is_none() && user.connected == 0;
        let held: Vec<Uid> =
            self.people.all.iter().filter(|(_, user)| is_held(user)).map(|(&uid, _)| uid).collect();
        for uid in held {
            self.hold_name(uid, ARRIVAL_MS);
        }
    }
}
