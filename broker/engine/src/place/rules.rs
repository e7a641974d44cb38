//! What the directory says to a place's home: rules, standings, who is put out, last values, and the end of a place; and
//! what of it concerns the shards with members.

use super::home::{Fetch, Known};
use crate::{
    Engine,
    crossing::Crossing,
    desk::Asked,
    journal::Waiter,
    message::{Message, Shared},
    mutant::Mutant,
    persist,
};
use katydid_chat::{
    permission::{PlaceRules, Standing},
    topic,
};
use std::sync::Arc;

impl Engine {
    /// The rules of a place, or that there is none. What waits for them waits until [`Engine::place_ruled`].
    pub(crate) fn set_place_rules(&mut self, place: &Arc<str>, rules: Option<Arc<PlaceRules>>) {
        if rules.is_none() && !self.homes.contains_key(place) {
            return;
        }
        let home = self.home_mut(place);
        if home.rules == Known::Asked {
            // The answer to that comes with the standing of everybody who has one.
            home.standings.clear();
        }
        home.rules = rules.map_or(Known::Nowhere, Known::Rules);
    }

    /// Everything that goes with the rules of a place is known.
    pub(crate) fn place_ruled(&mut self, place: &Arc<str>) {
        self.release_held(place);
        let Some(home) = self.homes.get_mut(place) else { return };
        if home.rules == Known::Nowhere {
            // It may be made at any time.
            home.rules = Known::Nothing;
            if home.is_blank() {
                self.homes.remove(place);
                self.links.counters.rooms_now -= 1;
            }
        }
    }

    /// How a user stands in a place.
    pub(crate) fn set_standing(&mut self, place: &Arc<str>, user: Arc<str>, standing: Option<Standing>) {
        let home = self.home_mut(place);
        match standing {
            Some(standing) => {
                home.standings.insert(user, standing);
            }
            None => {
                home.standings.remove(&user);
            }
        }
    }

    /// Puts a user, or everybody, out of a place: what was numbered before still reaches them, nothing after it does.
    pub(crate) fn evict_at_home(&mut self, place: &Arc<str>, user: Option<&Arc<str>>, ticket: u64) {
        self.distribute(place);
        for (_, fetch) in &mut self.fetches {
            if let Fetch::Start { place: of, entrant, is_evicted, .. } = fetch
                && of == place
                && user.is_none_or(|user| *user == entrant.user)
            {
                *is_evicted = true;
            }
        }
        let shards = self.homes.get(place).map(|home| home.shards.clone()).unwrap_or_default();
        self.ask(Asked::Evicting { ticket, shards: shards.len() as u32 });
        for (shard, _) in shards {
            if shard == self.shard {
                self.evict_here(place, user, ticket);
            } else {
                let (place, user) = (place.clone(), user.cloned());
                self.send_to(shard, Crossing::Evict { place, user, ticket });
            }
        }
    }

    /// Puts a user's sessions here out of a place, live and asleep.
    pub(crate) fn evict_here(&mut self, place: &Arc<str>, user: Option<&Arc<str>>, ticket: u64) {
        self.settle_view_of(place);
        let members = match self.view_names.get(place) {
            Some(view) => {
                self.views[*view as usize].members.iter().map(|(_, member)| member.session).collect()
            }
            None => Vec::new(),
        };
        for index in members {
            let Some(session) = self.sessions.by_index(index) else { continue };
            if Mutant::EvictionSkipped.is_on() || user.is_some_and(|user| session.name.as_ref() != Some(user))
            {
                continue;
            }
            let id = session.id;
            let is_kept = session.is_on_disk;
            let laid_down = session.subscriptions.lay_down(place);
            for subscription in laid_down.iter().filter(|_| is_kept) {
                self.journal.push(persist::put_subscription(id, subscription));
            }
            self.unseat(index, place);
        }
        if !self.journal.wait(Waiter::Evicted(ticket)) {
            self.ask(Asked::Evicted { ticket });
        }
    }

    /// A place is gone for ever, with its log. Its name may be used again, and its numbers go on.
    pub(crate) fn drop_place(&mut self, place: &Arc<str>) {
        let Some(home) = self.homes.get_mut(place) else { return };
        let old = home.log;
        let is_on_disk = home.next > 1 || !home.is_blank();
        let markers: Vec<Arc<str>> = home.markers.drain().map(|(user, _)| user).collect();
        for user in markers {
            self.journal.push(persist::delete_marker(place, &user));
        }
        let log = self.random() >> 1;
        let Some(home) = self.homes.get_mut(place) else { return };
        home.start_anew(log);
        home.rules = Known::Nowhere;
        if is_on_disk {
            self.journal.push(katydid_store::Op::DropLog { log: old });
            self.renew_lease(place);
        }
        self.place_ruled(place);
    }

    /// Keeps a last value below a place, and tells who is there.
    pub(crate) fn keep_at_home(&mut self, place: &Arc<str>, within: &str, payload: &str) {
        if payload.is_empty() && !self.homes.contains_key(place) {
            return;
        }
        let topic = format!("{place}/{within}");
        let message = Arc::new(Message::from_broker(&topic, payload.as_bytes(), true));
        let home = self.home_mut(place);
        if payload.is_empty() {
            home.kept.remove(within);
        } else {
            home.kept.insert(within.into(), message.clone());
        }
        self.signal(place, &message);
    }

    /// A read marker from before a restart.
    pub(crate) fn restore_marker(&mut self, place: &str, user: &str, seq: u64) {
        let Some(home) = self.homes.get_mut(place) else { return };
        let topic = match topic::users_of(place) {
            None => format!("{place}/read/{user}"),
            Some((one, other)) => format!("user/{}/read/{user}", if one == user { other } else { one }),
        };
        let message = Arc::new(Message::from_broker(&topic, seq.to_string().as_bytes(), true));
        home.markers.insert(user.into(), seq);
        home.kept.insert(topic[super::within_at(place)..].into(), message);
    }

    /// The content of an entry is another one from here on, also for who has not been sent it.
    pub(crate) fn amend_here(&mut self, place: &str, entry: &Shared) {
        let Some(&index) = self.view_names.get(place) else { return };
        self.views[index as usize].replace(entry);
    }
}
