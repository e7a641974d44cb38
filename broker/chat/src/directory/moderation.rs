//! Requests of those who look after a place: inviting, kicking, banning, muting, and who else may.

use super::people::Uid;
use super::places::{Pid, Root};
use super::requests::Asker;
use super::{Directory, Effect};
use crate::code::Code;
use crate::event::{Happening, Notice};
use crate::name;
use crate::permission::{Deed, Standing};
use crate::request::{
    Ban, Done, Invite, Kick, ModeratorList, Moderators, Mute, Standing as StandingJson, Unban, Unmute,
};

/// Bans of one place at most.
const BANS: usize = 10_000;

/// What is done to somebody, for those who are told.
struct Doing {
    place: String,
    user: String,
    by: String,
}

impl Directory {
    fn doing(&self, asker: &Asker, pid: Pid, uid: Uid) -> Doing {
        Doing {
            place: self.place(pid).map(|place| place.place.to_string()).unwrap_or_default(),
            user: self.name_of(uid).to_string(),
            by: self.name_of(asker.uid).to_string(),
        }
    }

    /// The place and the user of a request against somebody, if the asker may.
    fn against(&self, asker: &Asker, root: Root, place: &str, user: &str) -> Result<(Pid, Uid), Code> {
        let pid = self.find(root, place)?;
        self.may(asker, pid, Deed::Find)?;
        self.may(asker, pid, Deed::Remove { other: None })?;
        let uid = self.people.by_name(user).ok_or(Code::UserNotFound)?;
        let other = self.place(pid).and_then(|place| place.role(uid));
        self.may(asker, pid, Deed::Remove { other })?;
        if other == Some(crate::permission::Role::Owner) {
            return Err(Code::NotOwner);
        }
        Ok((pid, uid))
    }

    pub(super) fn place_invite(
        &mut self,
        asker: &Asker,
        root: Root,
        ask: Invite,
    ) -> Result<Option<Done>, Code> {
        if ask.add && root == Root::Room {
            return Err(Code::BadField);
        }
        let pid = self.find(root, &ask.name)?;
        self.may(asker, pid, Deed::Invite)?;
        let uid = self.people.by_name(&ask.user).ok_or(Code::UserNotFound)?;
        let (place, user) =
            (self.place(pid).ok_or(root.not_found())?, self.user(uid).ok_or(Code::UserNotFound)?);
        if place.bans.contains_key(&user.key) {
            return Err(Code::Banned);
        }
        if self.is_in(pid, uid) {
            return Err(Code::AlreadyMember);
        }
        if place.settings.registered_only && user.account.is_none() || user.is_guest && root == Root::Group {
            return Err(Code::RegisteredOnly);
        }
        let (limit, subject) = (place.settings.limit, place.settings.subject.clone());
        if ask.add {
            if limit > 0 && place.count_in >= limit {
                return Err(Code::Full);
            }
            self.add_member(pid, uid, asker.uid, false);
            return Ok(Some(Done {}));
        }
        self.change(pid, uid, |member| member.is_invited = true);
        let Doing { place, by, .. } = self.doing(asker, pid, uid);
        self.tell(uid, asker.uid, &Happening::Invitation { place, by, subject });
        Ok(Some(Done {}))
    }

    pub(super) fn place_kick(&mut self, asker: &Asker, root: Root, ask: Kick) -> Result<Option<Done>, Code> {
        let (pid, uid) = self.against(asker, root, &ask.name, &ask.user)?;
        if !self.is_in(pid, uid) {
            return Err(Code::NoSuchMember);
        }
        if ask.ban {
            return self.ban(asker, pid, uid);
        }
        let Doing { place, user, by } = self.doing(asker, pid, uid);
        self.say(pid, &Notice::Kicked { user, by: by.clone() });
        let ticket = self.put_out(pid, uid, false);
        self.tell(uid, asker.uid, &Happening::Kicked { place, by });
        self.answer_when_out(ticket, asker);
        Ok(None)
    }

    pub(super) fn place_ban(&mut self, asker: &Asker, root: Root, ask: Ban) -> Result<Option<Done>, Code> {
        let (pid, uid) = self.against(asker, root, &ask.name, &ask.user)?;
        self.ban(asker, pid, uid)
    }

    fn ban(&mut self, asker: &Asker, pid: Pid, uid: Uid) -> Result<Option<Done>, Code> {
        let (key, name) = (self.key_of(uid).to_owned(), self.name_of(uid));
        let Some(place) = self.places.all.get_mut(&pid) else { return Err(Code::RoomNotFound) };
        if place.bans.len() >= BANS {
            return Err(Code::Limit);
        }
        let Doing { place, user, by } = self.doing(asker, pid, uid);
        self.say(pid, &Notice::Banned { user, by: by.clone() });
        if let Some(place) = self.places.all.get_mut(&pid) {
            place.bans.insert(key.clone(), name.clone());
            let (key, value) = Self::ban_record(place, &key, &name);
            self.out.push(Effect::Put { key, value });
        }
        let ticket = self.put_out(pid, uid, false);
        self.tell(uid, asker.uid, &Happening::Banned { place, by });
        self.answer_when_out(ticket, asker);
        Ok(None)
    }

    pub(super) fn place_unban(
        &mut self,
        asker: &Asker,
        root: Root,
        ask: Unban,
    ) -> Result<Option<Done>, Code> {
        let pid = self.find(root, &ask.name)?;
        self.may(asker, pid, Deed::Find)?;
        self.may(asker, pid, Deed::Remove { other: None })?;
        // Who is banned may be gone.
        let key = name::user_key(&ask.user).map_err(|_| Code::NotFound)?;
        let place = self.places.all.get_mut(&pid).ok_or(root.not_found())?;
        let name = place.bans.remove(&key).ok_or(Code::NotFound)?;
        let (record, _) = Self::ban_record(place, &key, &name);
        let at = place.place.clone();
        self.out.push(Effect::Delete { key: record });
        match self.people.by_key.get(&key).copied() {
            Some(uid) => {
                self.tell_standing(pid, uid);
                let by = self.name_of(asker.uid).to_string();
                self.tell(uid, asker.uid, &Happening::Unbanned { place: at.to_string(), by });
            }
            None => {
                self.ensure_told(pid);
                self.out.push(Effect::Stands { place: at, user: name, standing: None::<Standing> });
            }
        }
        Ok(Some(Done {}))
    }

    pub(super) fn place_mute(&mut self, asker: &Asker, root: Root, ask: Mute) -> Result<Option<Done>, Code> {
        let (pid, uid) = self.against(asker, root, &ask.name, &ask.user)?;
        self.change(pid, uid, |member| member.is_muted = true);
        let Doing { place, user, by } = self.doing(asker, pid, uid);
        self.say(pid, &Notice::Muted { user, by: by.clone() });
        self.tell(uid, asker.uid, &Happening::Muted { place, by });
        Ok(Some(Done {}))
    }

    pub(super) fn place_unmute(
        &mut self,
        asker: &Asker,
        root: Root,
        ask: Unmute,
    ) -> Result<Option<Done>, Code> {
        let (pid, uid) = self.against(asker, root, &ask.name, &ask.user)?;
        let member = self.place(pid).and_then(|place| place.members.get(&uid));
        if !member.is_some_and(|member| member.is_muted) {
            return Err(Code::NotFound);
        }
        self.change(pid, uid, |member| member.is_muted = false);
        let Doing { place, user, by } = self.doing(asker, pid, uid);
        self.say(pid, &Notice::Unmuted { user, by: by.clone() });
        self.tell(uid, asker.uid, &Happening::Unmuted { place, by });
        Ok(Some(Done {}))
    }

    pub(super) fn place_moderators(
        &mut self,
        asker: &Asker,
        root: Root,
        ask: Moderators,
    ) -> Result<Option<ModeratorList>, Code> {
        let pid = self.find(root, &ask.name)?;
        self.may(asker, pid, Deed::Own)?;
        let owner = self.place(pid).map(|place| place.owner);
        let mut changes = Vec::new();
        for (names, is_moderator) in [(&ask.add, true), (&ask.remove, false)] {
            for name in names {
                let uid = self.people.by_name(name).ok_or(Code::UserNotFound)?;
                if is_moderator && !self.is_in(pid, uid) {
                    return Err(Code::NoSuchMember);
                }
                changes.push((uid, is_moderator));
            }
        }
        for (uid, is_moderator) in changes {
            let member = self.place(pid).and_then(|place| place.members.get(&uid));
            let is_one = member.is_some_and(|member| member.is_moderator);
            if Some(uid) == owner || is_one == is_moderator {
                continue;
            }
            self.change(pid, uid, |member| member.is_moderator = is_moderator);
            let role = if is_moderator { StandingJson::Moderator } else { StandingJson::Member };
            self.tell_role(pid, uid, asker.uid, role);
        }
        let place = self.place(pid).ok_or(root.not_found())?;
        let moderators = place.members.iter().filter(|(_, member)| member.is_moderator);
        let mut moderators: Vec<String> = moderators.map(|(&uid, _)| self.name_of(uid).to_string()).collect();
        moderators.sort_unstable();
        Ok(Some(ModeratorList { moderators }))
    }
}
