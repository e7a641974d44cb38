//! Requests about rooms and groups: making, changing, joining, leaving, listing and deleting them.

use super::members::Key;
use super::people::Uid;
use super::places::{Pid, Root};
use super::requests::Asker;
use super::sign_in::{name_code, shared};
use super::{Directory, Pending};
use crate::code::Code;
use crate::event::{Happening, Notice, Why};
use crate::name;
use crate::permission::{Deed, Visibility};
use crate::request::{
    Create, Delete, Done, Info, Join, LIST_ENTRIES_USUAL, Leave, List, MemberList, Members, PlaceInfo,
    Places, Settings,
};
use std::ops::Bound;
use std::sync::Arc;

/// Names of banned and of invited users in an answer at most.
const NAMES: usize = 100;

impl Directory {
    pub(super) fn place_create(
        &mut self,
        asker: &Asker,
        root: Root,
        ask: Create,
    ) -> Result<Option<PlaceInfo>, Code> {
        asker.named()?;
        if !self.rules.creates_by_request && !asker.is_operator() {
            return Err(Code::CreationRefused);
        }
        self.check_create(asker, root, &ask)?;
        match ask.password.clone() {
            Some(password) => {
                self.may_hash(asker)?;
                let pending = Pending::Create { asker: asker.clone(), root, ask: Box::new(ask) };
                self.hash(password, pending);
                Ok(None)
            }
            None => self.create_now(asker, root, ask, None).map(Some),
        }
    }

    /// The key of the name and the members, if all may be as asked.
    fn check_create(&self, asker: &Asker, root: Root, ask: &Create) -> Result<Vec<Uid>, Code> {
        if root == Root::Room && !ask.members.is_empty() {
            return Err(Code::BadField);
        }
        if let Some(name) = &ask.name {
            let key = name::room_key(name).map_err(name_code)?;
            self.may_make(root, &key, asker.uid, asker.is_operator())?;
        }
        let limit = ask.limit.filter(|&limit| limit > 0).unwrap_or(u64::MAX);
        if limit <= ask.members.len() as u64 {
            return Err(Code::Full);
        }
        let mut members = Vec::new();
        for name in &ask.members {
            let uid = self.people.by_name(name).ok_or(Code::UserNotFound)?;
            self.may_be_added(uid, ask.registered_only)?;
            members.push(uid);
        }
        Ok(members)
    }

    fn may_be_added(&self, uid: Uid, registered_only: bool) -> Result<(), Code> {
        let user = self.user(uid).ok_or(Code::UserNotFound)?;
        if user.is_guest || (registered_only && user.account.is_none()) {
            return Err(Code::RegisteredOnly);
        }
        Ok(())
    }

    pub(super) fn create_hashed(&mut self, asker: &Asker, root: Root, ask: Create, hash: &str) {
        let outcome = match (self.user(asker.uid), shared(hash)) {
            (None, _) => Err(Code::UserNotFound),
            (_, None) => Err(Code::Failed),
            (_, hash) => self.create_now(asker, root, ask, hash).map(Some),
        };
        self.conclude(&asker.reply, outcome);
    }

    fn create_now(
        &mut self,
        asker: &Asker,
        root: Root,
        ask: Create,
        hash: Option<Arc<str>>,
    ) -> Result<PlaceInfo, Code> {
        let members = self.check_create(asker, root, &ask)?;
        let usual = if ask.name.is_some() { Visibility::Public } else { Visibility::Secret };
        let name = ask.name.unwrap_or_else(|| self.chance.hex(16));
        let key = name::room_key(&name).map_err(name_code)?;
        self.may_make(root, &key, asker.uid, asker.is_operator())?;
        let mut settings = self.usual_settings(root);
        settings.visibility = match ask.visibility.map_or(usual, Into::into) {
            Visibility::Public if hash.is_some() => Visibility::Private,
            visibility => visibility,
        };
        settings.hash = hash;
        settings.subject = ask.subject.filter(|subject| !subject.is_empty());
        settings.registered_only = ask.registered_only;
        settings.read_only = ask.read_only;
        settings.limit = ask.limit.unwrap_or(0);
        settings.history = ask.history.unwrap_or(settings.history);
        settings.expiry_secs = ask.expiry_secs.unwrap_or(settings.expiry_secs);
        let pid = self.make_place(root, &name, key, asker.uid, settings, false);
        for uid in members.into_iter().filter(|&uid| uid != asker.uid) {
            self.add_member(pid, uid, asker.uid, true);
        }
        self.info_for(asker, pid).ok_or(Code::Failed)
    }

    /// Brings somebody into a group; whoever ignores the one who does it stays out.
    pub(super) fn add_member(&mut self, pid: Pid, uid: Uid, by: Uid, created: bool) {
        let by_key = self.key_of(by).to_owned();
        if self.user(uid).is_some_and(|user| user.ignored.contains_key(&by_key)) {
            return;
        }
        self.join(pid, uid);
        let Some(place) = self.place(pid).map(|place| place.place.to_string()) else { return };
        let by_name = self.name_of(by).to_string();
        self.tell(uid, by, &Happening::Added { place, by: by_name, created });
    }

    pub(super) fn place_delete(
        &mut self,
        asker: &Asker,
        root: Root,
        ask: Delete,
    ) -> Result<Option<Done>, Code> {
        let pid = self.find(root, &ask.name)?;
        self.may(asker, pid, Deed::Own)?;
        let place = self.place(pid).ok_or(root.not_found())?;
        if place.is_home() {
            return Err(Code::Permanent);
        }
        let others = place.count_in - u64::from(self.is_in(pid, asker.uid));
        if ask.if_empty && others > 0 {
            return Err(Code::NotEmpty);
        }
        let ticket = self.drop_place(pid, Why::Deleted, Some(asker.uid));
        self.answer_when_out(ticket, asker);
        Ok(None)
    }

    pub(super) fn answer_when_out(&mut self, ticket: super::Ticket, asker: &Asker) {
        self.pending.insert(ticket, Pending::Evicted { reply: asker.reply.clone() });
    }

    pub(super) fn place_join(
        &mut self,
        asker: &Asker,
        root: Root,
        ask: Join,
    ) -> Result<Option<PlaceInfo>, Code> {
        if asker.is_operator() {
            return Err(Code::BadField);
        }
        let pid = self.find(root, &ask.name)?;
        match self.unlock(pid, asker.uid, ask.password.as_deref(), asker.address)? {
            Key::Wait(check) => {
                self.pending.insert(check, Pending::Join { asker: asker.clone(), pid });
                Ok(None)
            }
            key => self.join_now(asker, pid, matches!(key, Key::Fits)).map(Some),
        }
    }

    pub(super) fn join_now(
        &mut self,
        asker: &Asker,
        pid: Pid,
        with_password: bool,
    ) -> Result<PlaceInfo, Code> {
        self.may_come_in(pid, asker.uid, with_password)?;
        self.join(pid, asker.uid);
        self.info_for(asker, pid).ok_or(Code::RoomNotFound)
    }

    pub(super) fn place_leave(
        &mut self,
        asker: &Asker,
        root: Root,
        ask: Leave,
    ) -> Result<Option<Done>, Code> {
        let pid = self.find(root, &ask.name)?;
        self.may(asker, pid, Deed::Find)?;
        if !self.is_in(pid, asker.uid) {
            return Err(Code::NotMember);
        }
        let is_owner = self.place(pid).is_some_and(|place| place.owner == asker.uid);
        if root == Root::Group && is_owner {
            return Err(Code::OwnerStays);
        }
        let ticket = self.put_out(pid, asker.uid, root == Root::Room);
        self.answer_when_out(ticket, asker);
        Ok(None)
    }

    pub(super) fn place_list(
        &mut self,
        asker: &Asker,
        root: Root,
        ask: List,
    ) -> Result<Option<Places>, Code> {
        let after = ask.after.map(|after| name::room_key(&after).unwrap_or(after));
        self.may_page(asker)?;
        let from = match after {
            Some(after) => Bound::Excluded((root, after)),
            None => Bound::Included((root, String::new())),
        };
        let count = ask.count.unwrap_or(LIST_ENTRIES_USUAL) as usize;
        let of_root = self.places.by_key.range((from, Bound::Unbounded));
        let pids = of_root.take_while(|((at, _), _)| *at == root).map(|(_, &pid)| pid);
        let mut pids = pids
            .filter(|&pid| if ask.mine { self.is_in(pid, asker.uid) } else { self.is_listed(asker, pid) });
        let places = pids.by_ref().take(count).filter_map(|pid| self.info_for(asker, pid)).collect();
        let more = pids.next().is_some();
        Ok(Some(Places { places, more }))
    }

    pub(super) fn place_info(
        &mut self,
        asker: &Asker,
        root: Root,
        ask: Info,
    ) -> Result<Option<PlaceInfo>, Code> {
        let pid = match (ask.name, ask.number) {
            (Some(name), _) => self.find(root, &name)?,
            (None, number) => number.unwrap_or(0),
        };
        self.place(pid).filter(|place| place.root == root).ok_or(root.not_found())?;
        self.may(asker, pid, Deed::Find)?;
        self.info_for(asker, pid).map(Some).ok_or(root.not_found())
    }

    pub(super) fn place_members(
        &mut self,
        asker: &Asker,
        root: Root,
        ask: Members,
    ) -> Result<Option<MemberList>, Code> {
        let pid = self.find(root, &ask.name)?;
        let people = self.people_in(asker, pid)?;
        self.may_page(asker)?;
        let place = self.place(pid).ok_or(root.not_found())?;
        let page = self.page_of_people(people, ask.after, ask.count, Some(place));
        let mut list = MemberList { users: page.users, more: page.more, ..MemberList::default() };
        if asker.is_operator() || place.role(asker.uid).is_some() {
            list.banned = place.bans.values().take(NAMES).map(|name| name.to_string()).collect();
            let invited = place.members.iter().filter(|(_, member)| member.is_invited).take(NAMES);
            list.invited = invited.map(|(&uid, _)| self.name_of(uid).to_string()).collect();
        }
        Ok(Some(list))
    }

    pub(super) fn place_settings(
        &mut self,
        asker: &Asker,
        root: Root,
        ask: Settings,
    ) -> Result<Option<PlaceInfo>, Code> {
        let pid = self.find(root, &ask.name)?;
        self.check_settings(asker, pid, &ask)?;
        match ask.password.clone().flatten() {
            Some(password) => {
                self.may_hash(asker)?;
                let pending = Pending::Settings { asker: asker.clone(), pid, ask: Box::new(ask) };
                self.hash(password, pending);
                Ok(None)
            }
            None => self.set_now(asker, pid, ask, None).map(Some),
        }
    }

    /// The new owner, if all may be as asked.
    fn check_settings(&self, asker: &Asker, pid: Pid, ask: &Settings) -> Result<Option<Uid>, Code> {
        let only_subject =
            Settings { name: ask.name.clone(), subject: ask.subject.clone(), ..Settings::default() };
        let deed = if *ask == only_subject { Deed::Describe } else { Deed::Own };
        self.may(asker, pid, deed)?;
        let Some(owner) = &ask.owner else { return Ok(None) };
        if self.place(pid).is_some_and(|place| place.is_home()) {
            return Err(Code::Permanent);
        }
        let uid = self.people.by_name(owner).ok_or(Code::NoSuchMember)?;
        if !self.is_in(pid, uid) {
            return Err(Code::NoSuchMember);
        }
        Ok(Some(uid))
    }

    pub(super) fn settings_hashed(&mut self, asker: &Asker, pid: Pid, ask: Settings, hash: &str) {
        let outcome = match shared(hash) {
            None => Err(Code::Failed),
            hash => self.set_now(asker, pid, ask, hash).map(Some),
        };
        self.conclude(&asker.reply, outcome);
    }

    fn set_now(
        &mut self,
        asker: &Asker,
        pid: Pid,
        ask: Settings,
        hash: Option<Arc<str>>,
    ) -> Result<PlaceInfo, Code> {
        let owner = self.check_settings(asker, pid, &ask)?;
        let place = self.places.all.get_mut(&pid).ok_or(Code::RoomNotFound)?;
        let settings = &mut place.settings;
        if ask.password.is_some() {
            settings.hash = hash;
            place.memo = None;
        }
        settings.visibility = match ask.visibility.map_or(settings.visibility, Into::into) {
            Visibility::Public if settings.hash.is_some() => Visibility::Private,
            visibility => visibility,
        };
        if let Some(subject) = &ask.subject {
            settings.subject = Some(subject.clone()).filter(|subject| !subject.is_empty());
        }
        settings.registered_only = ask.registered_only.unwrap_or(settings.registered_only);
        settings.read_only = ask.read_only.unwrap_or(settings.read_only);
        settings.limit = ask.limit.unwrap_or(settings.limit);
        settings.history = ask.history.unwrap_or(settings.history);
        settings.expiry_secs = ask.expiry_secs.unwrap_or(settings.expiry_secs);
        place.is_silent = false;
        let visibility = settings.visibility;
        self.keep_place(pid);
        self.tell_rules(pid);
        self.schedule_expiry(pid);
        self.mark_place(pid);
        let notice = Notice::Settings {
            by: self.name_of(asker.uid).to_string(),
            subject: ask.subject,
            visibility: (ask.visibility.is_some() || ask.password.is_some()).then(|| visibility.into()),
            registered_only: ask.registered_only,
            read_only: ask.read_only,
            limit: ask.limit,
            history: ask.history,
            expiry_secs: ask.expiry_secs,
        };
        self.say(pid, &notice);
        if let Some(owner) = owner {
            self.new_owner(pid, owner, Some(asker.uid));
        }
        self.info_for(asker, pid).ok_or(Code::RoomNotFound)
    }
}
