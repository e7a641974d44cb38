//! Reading the records of an earlier directory back, and saying again what it would have said.

use super::boards::PostState;
use super::people::{Account, BROKER_UID, Uid, User};
use super::places::{HOME, Member, Pid, PlaceState, Root, SettingsState};
use super::records::{
    self, AccountRecord, AnonymousRecord, LinkRecord, MemberRecord, NameRecord, NumbersRecord, PlaceRecord,
    PostRecord, SecretRecord, TokenRecord,
};
use super::sign_in::Token;
use super::{Directory, Effect};
use crate::name;
use std::collections::BTreeMap;

impl Directory {
    /// Takes one record in. `None` where it does not parse, or names what is not there.
    pub(super) fn read(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (&letter, rest) = key.split_first()?;
        match letter {
            records::ACCOUNT => self.read_account(std::str::from_utf8(rest).ok()?, records::parse(value)?),
            records::ANONYMOUS => {
                let record: AnonymousRecord = records::parse(value)?;
                let mut user = User::new(&record.name, std::str::from_utf8(rest).ok()?.to_owned());
                user.address = record.address.and_then(|address| address.parse().ok());
                self.add_new(user)
            }
            records::NUMBERS => {
                let record: NumbersRecord = records::parse(value)?;
                self.numbers = record;
                let counters = &mut self.counters;
                counters.rooms = record.rooms;
                counters.occupancy = record.occupancy;
                counters.members = record.members;
                counters.groups = record.groups;
                counters.posts = record.posts;
                Some(())
            }
            records::PLACE => self.read_place(std::str::from_utf8(rest).ok()?, records::parse(value)?),
            records::MEMBER => {
                let (place, user) = records::two_of(rest)?;
                self.read_member(place, std::str::from_utf8(user).ok()?, records::parse(value)?)
            }
            records::BAN => {
                let (place, user) = records::two_of(rest)?;
                let record: NameRecord = records::parse(value)?;
                let pid = self.pid_of(place)?;
                let user = std::str::from_utf8(user).ok()?.to_owned();
                self.places.all.get_mut(&pid)?.bans.insert(user, record.name.into());
                Some(())
            }
            records::POST => {
                let (place, number) = records::two_of(rest)?;
                self.read_post(place, u64::from_be_bytes(number.try_into().ok()?), records::parse(value)?)
            }
            records::FRIEND => {
                let (user, other) = self.read_two(rest)?;
                let record: LinkRecord = records::parse(value)?;
                self.people.all.get_mut(&user)?.friends.insert(other, record.since_ms);
                self.people.all.get_mut(&other)?.friend_of.insert(user);
                Some(())
            }
            records::IGNORED => {
                let (user, key) = records::two_of(rest)?;
                let uid = *self.people.by_key.get(user)?;
                let key = std::str::from_utf8(key).ok()?.to_owned();
                let record: NameRecord = records::parse(value)?;
                self.people.all.get_mut(&uid)?.ignored.insert(key, record.name.into());
                Some(())
            }
            records::PAIR => {
                let (one, other) = self.read_two(rest)?;
                records::parse::<LinkRecord>(value)?;
                self.add_pair(one, other);
                Some(())
            }
            records::SECRET => {
                let record: SecretRecord = records::parse(value)?;
                self.chance.kept = Some(record.seed);
                Some(())
            }
            records::TOKEN => self.read_token(rest.try_into().ok()?, records::parse(value)?),
            records::ERASURE => {
                let record: NameRecord = records::parse(value)?;
                self.erasing.insert(std::str::from_utf8(rest).ok()?.to_owned(), record.name.into());
                Some(())
            }
            _ => None,
        }
    }

    fn add_new(&mut self, user: User) -> Option<()> {
        if self.people.by_key.contains_key(&user.key) {
            return None;
        }
        self.people.add(user);
        Some(())
    }

    fn read_two(&self, rest: &[u8]) -> Option<(Uid, Uid)> {
        let (one, other) = records::two_of(rest)?;
        let other = std::str::from_utf8(other).ok()?;
        Some((*self.people.by_key.get(one)?, *self.people.by_key.get(other)?))
    }

    fn pid_of(&self, place: &str) -> Option<Pid> {
        let (root, key) = place.split_once('/')?;
        self.places.by_key.get(&(Root::parse(root)?, key.to_owned())).copied()
    }

    fn read_account(&mut self, key: &str, record: AccountRecord) -> Option<()> {
        let mut user = User::new(&record.name, key.to_owned());
        user.profile.display = record.display;
        user.profile.email = record.email;
        user.profile.fields = record.fields;
        user.profile.delete_on_delivery = record.delete_on_delivery;
        user.profile.text = record.text;
        user.account = Some(Account {
            number: record.number,
            hash: record.hash.map(Into::into),
            scram: record.scram.map(Into::into),
            identity: record.identity.map(Into::into),
            created_ms: record.created_ms,
            seen_ms: record.seen_ms,
            address: record.address,
            is_blocked: record.blocked,
            tokens: BTreeMap::new(),
        });
        self.add_new(user)
    }

    fn read_place(&mut self, at: &str, record: PlaceRecord) -> Option<()> {
        let (root, key) = at.split_once('/')?;
        let root = Root::parse(root)?;
        let owner = *self.people.by_key.get(&record.owner)?;
        let settings = SettingsState {
            visibility: record.visibility.into(),
            hash: record.hash.map(Into::into),
            subject: record.subject,
            registered_only: record.registered_only,
            read_only: record.read_only,
            limit: record.limit,
            history: record.history,
            expiry_secs: record.expiry_secs,
        };
        let mut place = PlaceState::new(root, &record.name, key.to_owned(), owner, settings);
        place.created_ms = record.created_ms;
        place.idle_ms = record.idle_ms;
        place.is_silent = record.silent;
        place.board.last = record.posts;
        place.board.changed = self.counters.posts;
        place.members_changed = self.counters.members;
        let is_new = self.places.by_key.insert((root, key.to_owned()), record.number).is_none();
        let is_new = self.places.all.insert(record.number, place).is_none() && is_new;
        self.people.all.get_mut(&owner)?.owned.insert(record.number);
        is_new.then_some(())
    }

    fn read_member(&mut self, place: &str, user: &str, record: MemberRecord) -> Option<()> {
        let (pid, uid) = (self.pid_of(place)?, *self.people.by_key.get(user)?);
        let place = self.places.all.get_mut(&pid)?;
        let member = Member {
            since_ms: record.since_ms,
            joined: record.joined,
            sessions: 0,
            is_moderator: record.moderator,
            is_invited: record.invited,
            is_muted: record.muted,
            is_kept: true,
        };
        place.count_in += u64::from(member.is_in());
        place.members.insert(uid, member);
        self.people.all.get_mut(&uid)?.places.insert(pid);
        Some(())
    }

    fn read_post(&mut self, place: &str, number: u64, record: PostRecord) -> Option<()> {
        let pid = self.pid_of(place)?;
        let board = &mut self.places.all.get_mut(&pid)?.board;
        if record.parent != 0 && !board.posts.contains_key(&record.parent) {
            return None;
        }
        let post = PostState {
            parent: record.parent,
            title: record.title,
            text: record.text,
            from: record.from.into(),
            time_ms: record.time_ms,
            expires_ms: record.expires_ms,
            expires: None,
        };
        self.board_bytes += post.bytes();
        board.insert(number, post);
        Some(())
    }

    fn read_token(&mut self, digest: [u8; 32], record: TokenRecord) -> Option<()> {
        let uid = *self.people.by_key.get(&record.user)?;
        let account = self.people.all.get_mut(&uid)?.account.as_mut()?;
        account.tokens.insert(record.key.clone(), digest);
        let token = Token {
            uid,
            key: record.key,
            label: record.label,
            created_ms: record.created_ms,
            expires_ms: record.expires_ms,
        };
        self.tokens.insert(digest, token);
        Some(())
    }

    /// With the first time that is told: what is always there, and what becomes due.
    pub(super) fn start(&mut self) {
        if self.chance.kept.is_none() {
            self.chance.kept = Some(self.chance.hex(32));
            self.out.extend(self.secret_record().map(|(key, value)| Effect::Put { key, value }));
        }
        let key = name::room_key(HOME).unwrap_or_default();
        if !self.places.by_key.contains_key(&(Root::Room, key.clone())) {
            let settings = SettingsState { expiry_secs: 0, ..self.usual_settings(Root::Room) };
            self.make_place(Root::Room, HOME, key, BROKER_UID, settings, false);
        }
        for pid in self.places.all.keys().copied().collect::<Vec<_>>() {
            self.check_use(pid);
            let posts = self.place(pid).map(|place| place.board.posts.keys().copied().collect::<Vec<_>>());
            for number in posts.unwrap_or_default() {
                self.schedule_post(pid, number);
            }
        }
        self.hold_restored_names();
        self.erase_again();
        // After a crash nobody is online who has not come back.
        for uid in self.people.all.keys().copied().collect::<Vec<_>>() {
            self.mark_user(uid);
            let profile = self.user(uid).map(|user| &user.profile);
            if profile.is_some_and(|profile| profile.display.is_some() || !profile.fields.is_empty()) {
                self.retain_profile(uid);
            }
        }
    }

    fn secret_record(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let record = SecretRecord { v: records::VERSION, seed: self.chance.kept.clone()? };
        Some((records::key(records::SECRET, b""), records::value(&record)))
    }

    /// Every record as it must be on disk now.
    #[cfg(test)]
    pub(super) fn records(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut all: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        all.extend([self.numbers_record()]);
        all.extend(self.secret_record());
        for (&uid, user) in self.people.all.iter().filter(|(uid, _)| **uid != BROKER_UID) {
            all.extend(user.record());
            all.extend(user.friends.keys().filter_map(|&other| self.friend_record(uid, other)));
            let ignored = user.ignored.iter();
            all.extend(ignored.map(|(key, name)| super::contacts::ignored_record(user, key, name)));
        }
        for (&pid, place) in &self.places.all {
            all.extend([place.record(pid, self.kept_key_of(place.owner))]);
            for (&uid, member) in &place.members {
                let is_kept = self.user(uid).is_some_and(User::is_kept) && member.is_worth_keeping();
                assert_eq!(member.is_kept, is_kept, "{} in {}", self.name_of(uid), place.place);
                if is_kept {
                    let key = self.key_of(uid).as_bytes();
                    let key = records::key_of_two(records::MEMBER, &place.record_name(), key);
                    all.insert(key, records::value(&member.record()));
                }
            }
            all.extend(place.bans.iter().map(|(key, name)| Self::ban_record(place, key, name)));
            for (number, post) in &place.board.posts {
                let key = records::key_of_two(records::POST, &place.record_name(), &number.to_be_bytes());
                all.insert(key, records::value(&post.record()));
            }
        }
        all.extend(self.pairs.keys().filter_map(|&ids| self.pair_record(ids)));
        all.extend(self.tokens.keys().filter_map(|digest| self.token_record(digest)));
        all.extend(self.erasing.iter().map(|(key, name)| super::erasure::record(key, name)));
        all
    }

    pub(super) fn bare(mut self) -> Self {
        let mut broker = User::new(name::BROKER, name::BROKER.to_owned());
        broker.account = Some(Account {
            number: 0,
            hash: None,
            scram: None,
            identity: None,
            created_ms: 0,
            seen_ms: 0,
            address: None,
            is_blocked: true,
            tokens: BTreeMap::new(),
        });
        self.people.add(broker);
        self.people.by_number.clear();
        self.out = Vec::<Effect>::new();
        self
    }
}
