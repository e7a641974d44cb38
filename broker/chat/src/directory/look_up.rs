//! Requests that only look: people, search, history and counters.

use super::people::Uid;
use super::places::{Member, Pid, PlaceState, Root};
use super::requests::Asker;
use super::{Directory, Effect, Side, Window};
use crate::code::Code;
use crate::name;
use crate::permission::{Deed, Visibility};
use crate::request::{
    Counters, Counts, Found, History, LIST_ENTRIES_USUAL, Order, PAGE_ENTRIES_USUAL, Page, People, Person,
    PlaceInfo, Search, Sought, Users,
};
use std::ops::Bound;

impl Directory {
    pub(super) fn person(&self, uid: Uid, at: Option<&PlaceState>) -> Option<Person> {
        let user = self.user(uid)?;
        let member = at.and_then(|place| place.members.get(&uid));
        Some(Person {
            user: user.name.to_string(),
            kind: user.kind_json(),
            number: user.account.as_ref().map(|account| account.number),
            display: user.profile.display.clone(),
            state: user.state(),
            text: user.profile.text.clone(),
            role: at.and_then(|place| place.role(uid)).map(Into::into),
            muted: member.is_some_and(|member| member.is_muted),
        })
    }

    /// A page of people, by the keys of their names.
    pub(super) fn page_of_people(
        &self,
        mut people: Vec<(String, Uid)>,
        after: Option<String>,
        count: Option<u32>,
        at: Option<&PlaceState>,
    ) -> People {
        if let Some(after) = after.map(|after| name::user_key(&after).unwrap_or(after)) {
            people.retain(|(key, _)| *key > after);
        }
        people.sort_unstable();
        let count = count.unwrap_or(LIST_ENTRIES_USUAL) as usize;
        let more = people.len() > count;
        let users = people.into_iter().take(count).filter_map(|(_, uid)| self.person(uid, at)).collect();
        People { users, more }
    }

    /// Those who are in a place, if the asker may know.
    pub(super) fn people_in(&self, asker: &Asker, pid: Pid) -> Result<Vec<(String, Uid)>, Code> {
        self.may(asker, pid, Deed::Find)?;
        let place = self.place(pid).ok_or(Code::RoomNotFound)?;
        let is_open = place.settings.visibility == Visibility::Public;
        if !is_open && !asker.is_operator() && place.role(asker.uid).is_none() {
            return Err(Code::NotMember);
        }
        let there = place.members.iter().filter(|(_, member)| member.is_in());
        Ok(there.filter_map(|(&uid, _)| Some((self.user(uid)?.key.clone(), uid))).collect())
    }

    pub(super) fn users(&mut self, asker: &Asker, ask: Users) -> Result<Option<People>, Code> {
        self.may_page(asker)?;
        if let Some(place) = &ask.place {
            let (root, name) = place.split_once('/').ok_or(Code::RoomNotFound)?;
            let pid = self.find(Root::parse(root).ok_or(Code::RoomNotFound)?, name)?;
            let people = self.people_in(asker, pid)?;
            return Ok(Some(self.page_of_people(people, ask.after, ask.count, self.place(pid))));
        }
        let after = ask.after.map(|after| name::user_key(&after).unwrap_or(after));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let is_wanted = |uid: Uid| {
            let user = self.user(uid);
            uid != super::people::BROKER_UID && user.is_some_and(|user| ask.all || user.connected > 0)
        };
        let mut uids = self.people.by_key.range((from, Bound::Unbounded)).map(|(_, &uid)| uid);
        let count = ask.count.unwrap_or(LIST_ENTRIES_USUAL) as usize;
        let wanted = uids.by_ref().filter(|&uid| is_wanted(uid)).take(count);
        let users = wanted.filter_map(|uid| self.person(uid, None)).collect();
        let more = uids.any(is_wanted);
        Ok(Some(People { users, more }))
    }

    /// Whether somebody is shown a place in lists.
    pub(super) fn is_listed(&self, asker: &Asker, pid: Pid) -> bool {
        let Some(place) = self.place(pid) else { return false };
        place.settings.visibility != Visibility::Secret || self.may(asker, pid, Deed::Find).is_ok()
    }

    /// What a place is to somebody who may find it.
    pub(super) fn info_for(&self, asker: &Asker, pid: Pid) -> Option<PlaceInfo> {
        let place = self.place(pid)?;
        let invited = place.members.get(&asker.uid).is_some_and(|member| member.is_invited);
        Some(PlaceInfo { role: place.role(asker.uid).map(Into::into), invited, ..self.info(pid)? })
    }

    pub(super) fn search(&mut self, asker: &Asker, ask: Search) -> Result<Option<Found>, Code> {
        self.may_page(asker)?;
        let text = ask.text.to_lowercase();
        let count = ask.count.unwrap_or(LIST_ENTRIES_USUAL) as usize;
        let mut found = Found::default();
        if ask.kind.is_none_or(|kind| kind == Sought::User) {
            let fits = |(key, uid): &(&String, &Uid)| {
                key.contains(&text)
                    && **uid != super::people::BROKER_UID
                    && self.user(**uid).is_some_and(|user| !user.is_guest)
            };
            let mut people = self.people.by_key.iter().filter(fits);
            found.users =
                people.by_ref().take(count).filter_map(|(_, &uid)| self.person(uid, None)).collect();
            found.more |= people.next().is_some();
        }
        for (sought, root) in [(Sought::Room, Root::Room), (Sought::Group, Root::Group)] {
            if ask.kind.is_some_and(|kind| kind != sought) {
                continue;
            }
            let places = self.places.by_key.range((root, String::new())..);
            let places = places.take_while(|((at, _), _)| *at == root);
            let fits =
                |(key, pid): &(&(Root, String), &Pid)| key.1.contains(&text) && self.is_listed(asker, **pid);
            let mut places = places.filter(fits);
            found
                .places
                .extend(places.by_ref().take(count).filter_map(|(_, &pid)| self.info_for(asker, pid)));
            found.more |= places.next().is_some();
        }
        Ok(Some(found))
    }

    pub(super) fn history(&mut self, asker: &Asker, ask: History) -> Result<Option<Page>, Code> {
        let place = match ask.place.split_once('/').ok_or(Code::BadField)? {
            ("user", other) => {
                let other = self.people.speaker(other).ok_or(Code::UserNotFound)?;
                if !self.user(asker.uid).is_some_and(|user| user.pairs.contains(&other)) {
                    return Ok(Some(Page { place: ask.place, end: true, ..Page::default() }));
                }
                self.ensure_pair(asker.uid, other)
            }
            (root, name) => {
                let pid = self.find(Root::parse(root).ok_or(Code::BadField)?, name)?;
                self.may(asker, pid, Deed::Read)?;
                self.ensure_told(pid);
                self.place(pid).ok_or(Code::RoomNotFound)?.place.clone()
            }
        };
        self.may_page(asker)?;
        let window = window(&ask)?;
        let effect = Effect::Read {
            ticket: asker.reply.ticket,
            place,
            window,
            without: self.ignored_by(asker.uid),
            id: asker.reply.id.clone(),
        };
        self.out.push(effect);
        Ok(None)
    }

    /// Whether a user may have one more page: of history, or of what takes looking through many.
    pub(super) fn may_page(&mut self, asker: &Asker) -> Result<(), Code> {
        let (now, per_sec) = (self.clock.steady, u64::from(self.rules.pages_per_sec));
        let mut user = self.user_mut(asker.uid);
        let mut take = || user.as_mut().is_some_and(|user| user.pages.take(now, per_sec * 60, per_sec * 10));
        if asker.is_operator() || take() { Ok(()) } else { Err(Code::RateHistory) }
    }

    pub(super) fn counters(&mut self, asker: &Asker, ask: Counters) -> Result<Option<Counts>, Code> {
        let mut counts = Counts {
            rooms: self.counters.rooms,
            occupancy: self.counters.occupancy,
            groups: self.counters.groups,
            ..Counts::default()
        };
        if let Some(place) = &ask.place {
            let (root, name) = place.split_once('/').ok_or(Code::BadField)?;
            let pid = self.find(Root::parse(root).ok_or(Code::BadField)?, name)?;
            self.may(asker, pid, Deed::Find)?;
            let place = self.place(pid).ok_or(Code::RoomNotFound)?;
            counts.members = Some(place.members_changed);
            counts.posts = Some(place.board.changed);
        }
        Ok(Some(counts))
    }

    pub(super) fn is_in(&self, pid: Pid, uid: Uid) -> bool {
        self.place(pid).is_some_and(|place| place.members.get(&uid).is_some_and(Member::is_in))
    }
}

/// The window that a request means.
fn window(ask: &History) -> Result<Window, Code> {
    let time = |text: &Option<String>| match text {
        Some(text) => crate::time::parse(text).map(Some).ok_or(Code::BadField),
        None => Ok(None),
    };
    let (from, until) = (time(&ask.from)?, time(&ask.until)?);
    let goes_on = (ask.after.is_some() || from.is_some()) && ask.before.is_none() && until.is_none();
    let side = match (ask.around, ask.order) {
        (Some(seq), _) => Side::Around(seq),
        (None, Some(Order::Oldest)) => Side::Oldest,
        (None, None) if goes_on => Side::Oldest,
        (None, Some(Order::Newest) | None) => Side::Newest,
    };
    Ok(Window {
        after_seq: ask.after.unwrap_or(0),
        before_seq: ask.before.unwrap_or(u64::MAX),
        from_ms: from.unwrap_or(0),
        until_ms: until.unwrap_or(u64::MAX),
        count: ask.count.unwrap_or(PAGE_ENTRIES_USUAL),
        side,
    })
}
