//! Rooms and groups: how they are made, found and told to their homes.
//!
//! Its invariants: no two places of a root have one key; `Home` is there; every place has an owner who exists.

use super::boards::Board;
use super::people::Uid;
use super::records::{self, MemberRecord, NameRecord, PlaceRecord};
use super::{Directory, Effect};
use crate::code::Code;
use crate::event::{self, Notice};
use crate::name;
use crate::permission::{PlaceRules, Role, Standing, Visibility};
use crate::request::{Kept, PlaceInfo};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A place within the directory: its number, unique for ever over rooms and groups.
pub(super) type Pid = u64;
/// The room that is always there.
pub(super) const HOME: &str = "Home";

/// Rooms or groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Root {
    Room,
    Group,
}

impl Root {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "room" => Some(Self::Room),
            "group" => Some(Self::Group),
            _ => None,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Group => "group",
        }
    }

    pub(super) fn not_found(self) -> Code {
        Code::not_found(self == Self::Group)
    }

    pub(super) fn exists(self) -> Code {
        if self == Self::Group { Code::GroupExists } else { Code::RoomExists }
    }
}

#[derive(Debug, Clone)]
pub(super) struct SettingsState {
    pub(super) visibility: Visibility,
    pub(super) hash: Option<Arc<str>>,
    pub(super) subject: Option<String>,
    pub(super) registered_only: bool,
    pub(super) read_only: bool,
    pub(super) limit: u64,
    pub(super) history: Kept,
    pub(super) expiry_secs: u64,
}

#[derive(Debug)]
pub(super) struct PlaceState {
    pub(super) root: Root,
    pub(super) name: Arc<str>,
    pub(super) key: String,
    /// The key of its log.
    pub(super) place: Arc<str>,
    pub(super) owner: Uid,
    pub(super) created_ms: u64,
    pub(super) settings: SettingsState,
    pub(super) rules: Arc<PlaceRules>,
    /// Unused since, in time of the wall clock.
    pub(super) idle_ms: Option<u64>,
    /// When it may expire, in steady time.
    pub(super) expires: Option<u64>,
    pub(super) is_silent: bool,
    pub(super) members: BTreeMap<Uid, Member>,
    /// How many of them are in it, and how many of those are connected.
    pub(super) count_in: u64,
    pub(super) count_present: u64,
    /// Names by keys.
    pub(super) bans: BTreeMap<String, Arc<str>>,
    pub(super) board: Board,
    pub(super) members_changed: u64,
    /// The digest of the password that fitted last.
    pub(super) memo: Option<[u8; 32]>,
    /// Whether its home knows it.
    pub(super) is_told: bool,
    pub(super) is_crowded: bool,
    /// Whose presence was told last and not taken back.
    pub(super) told_presence: BTreeSet<Uid>,
    pub(super) dirty_members: BTreeSet<Uid>,
}

/// How somebody stands in a place; who neither is in it nor has any standing has no entry.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Member {
    pub(super) since_ms: u64,
    /// In it until leaving.
    pub(super) joined: bool,
    /// How many sessions are in it by subscribing.
    pub(super) sessions: u32,
    pub(super) is_moderator: bool,
    pub(super) is_invited: bool,
    pub(super) is_muted: bool,
    /// Whether there is a record of it.
    pub(super) is_kept: bool,
}

impl Member {
    pub(super) fn is_in(&self) -> bool {
        self.joined || self.sessions > 0
    }

    pub(super) fn is_worth_keeping(&self) -> bool {
        self.joined || self.is_moderator || self.is_invited || self.is_muted
    }

    pub(super) fn record(&self) -> MemberRecord {
        MemberRecord {
            v: records::VERSION,
            since_ms: self.since_ms,
            joined: self.joined,
            moderator: self.is_moderator,
            invited: self.is_invited,
            muted: self.is_muted,
        }
    }
}

/// All rooms and groups, by every way of finding them.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) all: BTreeMap<Pid, PlaceState>,
    pub(super) by_key: BTreeMap<(Root, String), Pid>,
}

pub(super) fn rules_of(root: Root, settings: &SettingsState) -> Arc<PlaceRules> {
    Arc::new(PlaceRules {
        visibility: settings.visibility,
        is_group: root == Root::Group,
        is_pair: false,
        registered_only: settings.registered_only,
        read_only: settings.read_only,
        history_messages: settings.history.messages,
        history_ms: settings.history.age_secs.saturating_mul(1000),
        history_bytes: settings.history.bytes,
    })
}

impl PlaceState {
    pub(super) fn new(root: Root, name: &str, key: String, owner: Uid, settings: SettingsState) -> Self {
        Self {
            root,
            name: name.into(),
            key,
            place: format!("{}/{name}", root.as_str()).into(),
            owner,
            created_ms: 0,
            rules: rules_of(root, &settings),
            settings,
            idle_ms: None,
            expires: None,
            is_silent: false,
            members: BTreeMap::new(),
            count_in: 0,
            count_present: 0,
            bans: BTreeMap::new(),
            board: Board::default(),
            members_changed: 0,
            memo: None,
            is_told: false,
            is_crowded: false,
            told_presence: BTreeSet::new(),
            dirty_members: BTreeSet::new(),
        }
    }

    pub(super) fn record_name(&self) -> String {
        format!("{}/{}", self.root.as_str(), self.key)
    }

    pub(super) fn is_home(&self) -> bool {
        self.root == Root::Room && &*self.name == HOME
    }

    pub(super) fn role(&self, uid: Uid) -> Option<Role> {
        if uid == self.owner {
            return Some(Role::Owner);
        }
        let member = self.members.get(&uid)?;
        match () {
            () if member.is_moderator => Some(Role::Moderator),
            () if member.is_in() => Some(Role::Member),
            () => None,
        }
    }

    /// How a user of a key stands; `None` is like everybody.
    pub(super) fn standing(&self, uid: Uid, key: &str) -> Option<Standing> {
        let member = self.members.get(&uid).copied().unwrap_or_default();
        let standing = Standing {
            role: self.role(uid),
            is_banned: self.bans.contains_key(key),
            is_muted: member.is_muted,
            is_invited: member.is_invited,
        };
        (standing != Standing::default()).then_some(standing)
    }

    pub(super) fn record(&self, number: Pid, owner: &str) -> (Vec<u8>, Vec<u8>) {
        let settings = &self.settings;
        let record = PlaceRecord {
            v: records::VERSION,
            name: self.name.to_string(),
            number,
            owner: owner.to_owned(),
            created_ms: self.created_ms,
            visibility: settings.visibility.into(),
            hash: settings.hash.as_deref().map(str::to_owned),
            subject: settings.subject.clone(),
            registered_only: settings.registered_only,
            read_only: settings.read_only,
            limit: settings.limit,
            history: settings.history,
            expiry_secs: settings.expiry_secs,
            idle_ms: self.idle_ms,
            silent: self.is_silent,
            posts: self.board.last,
        };
        (records::key(records::PLACE, self.record_name().as_bytes()), records::value(&record))
    }
}

impl Directory {
    pub(super) fn usual_settings(&self, root: Root) -> SettingsState {
        let rules = &self.rules;
        SettingsState {
            visibility: Visibility::Public,
            hash: None,
            subject: None,
            registered_only: false,
            read_only: false,
            limit: 0,
            history: Kept {
                messages: rules.history_messages,
                age_secs: rules.history_ms.div_ceil(1000),
                bytes: rules.history_bytes,
            },
            expiry_secs: match root {
                Root::Room => rules.room_expiry_secs,
                Root::Group => rules.group_expiry_secs,
            },
        }
    }

    /// The place of a name, which must be of the registered spelling.
    pub(super) fn find(&self, root: Root, name: &str) -> Result<Pid, Code> {
        let key = name::room_key(name).map_err(|_| root.not_found())?;
        let pid = *self.places.by_key.get(&(root, key)).ok_or(root.not_found())?;
        match self.places.all.get(&pid) {
            Some(place) if *place.name == *name => Ok(pid),
            // Who may not know of it is not told its spelling, either.
            Some(place) if place.settings.visibility == Visibility::Secret => Err(root.not_found()),
            Some(_) => Err(Code::NameSpelling),
            None => Err(root.not_found()),
        }
    }

    pub(super) fn place(&self, pid: Pid) -> Option<&PlaceState> {
        self.places.all.get(&pid)
    }

    pub(super) fn keep_place(&mut self, pid: Pid) {
        let Some(place) = self.places.all.get(&pid) else { return };
        let (key, value) = place.record(pid, self.kept_key_of(place.owner));
        self.out.push(Effect::Put { key, value });
    }

    /// Makes a place, whose name is free, for an owner who exists.
    pub(super) fn make_place(
        &mut self,
        root: Root,
        name: &str,
        key: String,
        owner: Uid,
        settings: SettingsState,
        is_silent: bool,
    ) -> Pid {
        self.numbers.place += 1;
        let pid = self.numbers.place;
        let mut place = PlaceState::new(root, name, key.clone(), owner, settings);
        place.created_ms = self.clock.wall;
        place.is_silent = is_silent;
        self.places.by_key.insert((root, key), pid);
        self.places.all.insert(pid, place);
        self.keep_numbers();
        self.own(pid, owner);
        match root {
            Root::Room => self.count(|counters| &mut counters.rooms),
            Root::Group => self.count(|counters| &mut counters.groups),
        };
        self.ensure_told(pid);
        if root == Root::Group {
            self.join(pid, owner);
        }
        self.check_use(pid);
        pid
    }

    /// Whether a user may make a place of this name.
    pub(super) fn may_make(&self, root: Root, key: &str, owner: Uid, is_operator: bool) -> Result<(), Code> {
        if self.places.by_key.contains_key(&(root, key.to_owned())) {
            return Err(root.exists());
        }
        if is_operator {
            return Ok(());
        }
        if self.rules.reserves_place(key) {
            return Err(Code::NameReserved);
        }
        let owns = self.user(owner).map_or(0, |user| user.owned.len());
        if owns >= self.rules.places_per_user || self.places.all.len() >= self.rules.places {
            return Err(Code::TooMany);
        }
        Ok(())
    }

    /// Makes a room because somebody enters it or speaks there.
    pub(super) fn make_by_use(&mut self, name: &str, owner: Uid) -> Result<Pid, Code> {
        if !self.rules.creates_rooms {
            return Err(Code::RoomNotFound);
        }
        let key = name::room_key(name).map_err(super::sign_in::name_code)?;
        self.may_make(Root::Room, &key, owner, false)?;
        let settings = self.usual_settings(Root::Room);
        Ok(self.make_place(Root::Room, name, key, owner, settings, true))
    }

    /// Makes somebody the owner, whoever was it before.
    pub(super) fn own(&mut self, pid: Pid, owner: Uid) {
        let Some(place) = self.places.all.get_mut(&pid) else { return };
        let before = std::mem::replace(&mut place.owner, owner);
        if let Some(user) = self.people.all.get_mut(&before) {
            user.owned.remove(&pid);
        }
        if let Some(user) = self.people.all.get_mut(&owner) {
            user.owned.insert(pid);
        }
        self.keep_place(pid);
        self.mark_place(pid);
    }

    /// Tells the home of a place all about it, once.
    pub(super) fn ensure_told(&mut self, pid: Pid) {
        let Some(place) = self.places.all.get_mut(&pid) else { return };
        if std::mem::replace(&mut place.is_told, true) {
            return;
        }
        place.dirty_members.extend(place.members.keys());
        let (at, rules) = (place.place.clone(), place.rules.clone());
        self.out.push(Effect::Rules { place: at.clone(), rules: Some(rules) });
        let Some(place) = self.places.all.get(&pid) else { return };
        let mut standings = Vec::new();
        let absent_owner = (!place.members.contains_key(&place.owner)).then_some(&place.owner);
        for &uid in place.members.keys().chain(absent_owner) {
            let Some(user) = self.people.all.get(&uid) else { continue };
            let standing = place.standing(uid, &user.key);
            if standing.is_some() {
                standings.push((user.name.clone(), standing));
            }
        }
        for name in place.bans.values() {
            let standing = Standing { is_banned: true, ..Standing::default() };
            standings.push((name.clone(), Some(standing)));
        }
        for (user, standing) in standings {
            self.out.push(Effect::Stands { place: at.clone(), user, standing });
        }
        let payload = event::json(&self.info(pid));
        self.out.push(Effect::Keep { place: at, within: "info".to_owned(), payload });
        self.mark_place(pid);
    }

    /// Tells the home how somebody stands now.
    pub(super) fn tell_standing(&mut self, pid: Pid, uid: Uid) {
        let is_told = self.place(pid).is_some_and(|place| place.is_told);
        if !is_told {
            return self.ensure_told(pid);
        }
        let (Some(place), Some(user)) = (self.places.all.get(&pid), self.people.all.get(&uid)) else {
            return;
        };
        let standing = place.standing(uid, &user.key);
        self.out.push(Effect::Stands { place: place.place.clone(), user: user.name.clone(), standing });
    }

    pub(super) fn tell_rules(&mut self, pid: Pid) {
        let Some(place) = self.places.all.get_mut(&pid) else { return };
        place.rules = rules_of(place.root, &place.settings);
        if !place.is_told {
            return self.ensure_told(pid);
        }
        self.out.push(Effect::Rules { place: place.place.clone(), rules: Some(place.rules.clone()) });
    }

    /// Says something into the place in the broker's name.
    pub(super) fn say(&mut self, pid: Pid, notice: &Notice) {
        let within = format!("event/{}", name::BROKER);
        self.say_as(pid, within, event::json(notice));
    }

    pub(super) fn say_as(&mut self, pid: Pid, within: String, payload: String) {
        self.ensure_told(pid);
        let Some(place) = self.places.all.get(&pid) else { return };
        self.out.push(Effect::Say { place: place.place.clone(), within, payload });
    }

    /// The record of a place, as whoever may find it sees it.
    pub(super) fn info(&self, pid: Pid) -> Option<PlaceInfo> {
        let place = self.places.all.get(&pid)?;
        let settings = &place.settings;
        Some(PlaceInfo {
            place: place.place.to_string(),
            name: place.name.to_string(),
            number: pid,
            owner: self.name_of(place.owner).to_string(),
            subject: settings.subject.clone(),
            visibility: settings.visibility.into(),
            has_password: settings.hash.is_some(),
            registered_only: settings.registered_only,
            read_only: settings.read_only,
            members: place.count_in,
            present: place.count_present,
            posts: place.board.posts.len() as u64,
            limit: settings.limit,
            history: settings.history,
            expiry_secs: settings.expiry_secs,
            expires_in_secs: self.seconds_left(place),
            created: crate::time::format(place.created_ms),
            role: None,
            invited: false,
        })
    }

    pub(super) fn ban_record(place: &PlaceState, key: &str, name: &str) -> (Vec<u8>, Vec<u8>) {
        let record = NameRecord { v: records::VERSION, name: name.to_owned() };
        let key = records::key_of_two(records::BAN, &place.record_name(), key.as_bytes());
        (key, records::value(&record))
    }
}
