//! What anybody may receive, in a few lines that share nothing with the broker: places, how people stand there, whom they do
//! not hear, and what each session is subscribed to.
//!
//! It must never be asked what should arrive, only what may.

use std::collections::{BTreeMap, BTreeSet};

/// The owner of every place.
pub(crate) const OWNER: &str = "ann";

/// A kind of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Public,
    Private,
    Secret,
    ReadOnly,
    Group,
}

/// The places of every run.
pub(crate) const PLACES: [(&str, Kind); 5] = [
    ("room/pub", Kind::Public),
    ("room/priv", Kind::Private),
    ("room/sec", Kind::Secret),
    ("room/news", Kind::ReadOnly),
    ("group/crew", Kind::Group),
];

#[derive(Debug, Clone, Default)]
struct Place {
    joined: BTreeSet<String>,
    invited: BTreeSet<String>,
    banned: BTreeSet<String>,
    muted: BTreeSet<String>,
}

/// A subscription of a session, as it was written without a prefix.
#[derive(Debug, Clone)]
struct Subscription {
    filter: String,
    is_dormant: bool,
}

/// A session.
#[derive(Debug, Clone, Default)]
struct Session {
    user: String,
    subscriptions: Vec<Subscription>,
}

/// What was said: where, and by whom it claims to be.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) topic: String,
    /// The user whose connection it came from.
    pub(crate) by: String,
}

/// The state that decides.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    places: BTreeMap<&'static str, Place>,
    ignored: BTreeMap<String, BTreeSet<String>>,
    sessions: Vec<Session>,
}

fn kind(place: &str) -> Kind {
    PLACES.iter().find(|(name, _)| *name == place).map_or(Kind::Secret, |(_, kind)| *kind)
}

/// `room/pub` of `room/pub/msg/ann`, and the last level.
fn parts(topic: &str) -> Option<(&str, &str)> {
    let levels: Vec<&str> = topic.split('/').collect();
    let [root, name, _, from] = levels[..] else { return None };
    Some((&topic[..root.len() + 1 + name.len()], from))
}

/// Whether a filter matches a topic; one that begins with a wildcard matches no chat.
fn matches(filter: &str, topic: &str) -> bool {
    let mut topic = topic.split('/');
    for (at, level) in filter.split('/').enumerate() {
        match (level, topic.next()) {
            ("#", _) => return at > 0,
            ("+", Some(_)) if at > 0 => {}
            (level, Some(of)) if level == of => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

impl Model {
    pub(crate) fn new(users: &[&str]) -> Self {
        let sessions = users.iter().map(|user| Session { user: (*user).into(), subscriptions: Vec::new() });
        Self {
            places: PLACES.iter().map(|(name, _)| (*name, Place::default())).collect(),
            ignored: BTreeMap::new(),
            sessions: sessions.collect(),
        }
    }

    pub(crate) fn user_of(&self, session: usize) -> String {
        self.sessions[session].user.clone()
    }

    fn place(&self, place: &str) -> &Place {
        &self.places[place]
    }

    fn place_mut(&mut self, place: &str) -> &mut Place {
        self.places.get_mut(place).expect("one of PLACES")
    }

    pub(crate) fn is_in(&self, user: &str, place: &str) -> bool {
        let names = |known: &Subscription| {
            !known.is_dormant && known.filter.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'))
        };
        let entered = self.sessions.iter().any(|it| it.user == user && it.subscriptions.iter().any(names));
        user == OWNER || self.place(place).joined.contains(user) || (kind(place) != Kind::Group && entered)
    }

    pub(crate) fn may_enter(&self, user: &str, place: &str, with_password: bool) -> bool {
        let of = self.place(place);
        let is_open = matches!(kind(place), Kind::Public | Kind::ReadOnly | Kind::Group);
        let fits = with_password && kind(place) == Kind::Private;
        !of.banned.contains(user) && (is_open || fits || of.invited.contains(user) || self.is_in(user, place))
    }

    pub(crate) fn may_read(&self, user: &str, place: &str) -> bool {
        let is_open = matches!(kind(place), Kind::Public | Kind::ReadOnly);
        !self.place(place).banned.contains(user) && (is_open || self.is_in(user, place))
    }

    /// Whether something may be said at all.
    pub(crate) fn may_say(&self, said: &Said) -> bool {
        let Some((place, from)) = parts(&said.topic) else { return false };
        if from != said.by {
            return false;
        }
        match self.places.get(place) {
            None => place.starts_with("user/"),
            Some(of) => {
                let is_open = kind(place) != Kind::ReadOnly || from == OWNER;
                self.may_read(from, place) && is_open && !of.muted.contains(from)
            }
        }
    }

    pub(crate) fn hears(&self, user: &str, from: &str) -> bool {
        !self.ignored.get(user).is_some_and(|ignored| ignored.contains(from))
    }

    /// Whether a session may receive something now.
    pub(crate) fn may_receive(&self, session: usize, said: &Said) -> bool {
        let Session { user, subscriptions } = &self.sessions[session];
        let Some((place, from)) = parts(&said.topic) else { return false };
        let live = subscriptions.iter().filter(|known| !known.is_dormant);
        if let Some(to) = place.strip_prefix("user/") {
            let own = |filter: &str| filter.replacen("user/+/", &format!("user/{user}/"), 1);
            let mut live = live;
            let is_asked = live.any(|known| {
                matches(&known.filter, &said.topic) || matches(&own(&known.filter), &said.topic)
            });
            return (user == to || user == from) && is_asked && self.hears(user, from);
        }
        let mut asked = live.filter(|known| matches(&known.filter, &said.topic));
        let is_named = |filter: &str| filter.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'));
        let is_covered = asked.any(|known| is_named(&known.filter) || self.is_in(user, place));
        is_covered && self.may_read(user, place) && self.hears(user, from)
    }

    pub(crate) fn subscribed(&mut self, session: usize, filter: &str) {
        let of = &mut self.sessions[session];
        of.subscriptions.retain(|known| known.filter != filter);
        of.subscriptions.push(Subscription { filter: filter.into(), is_dormant: false });
        let user = of.user.clone();
        if let Some((root, rest)) = filter.split_once('/')
            && let Some((name, _)) = rest.split_once('/')
            && root == "group"
            && name != "+"
        {
            self.place_mut("group/crew").joined.insert(user);
        }
    }

    pub(crate) fn unsubscribed(&mut self, session: usize, filter: &str) {
        self.sessions[session].subscriptions.retain(|known| known.filter != filter);
    }

    pub(crate) fn ended(&mut self, session: usize) {
        self.sessions[session].subscriptions.clear();
    }

    pub(crate) fn joined(&mut self, user: &str, place: &str) {
        self.place_mut(place).joined.insert(user.into());
    }

    /// Somebody is out of a place: by leaving, a kick or a ban.
    pub(crate) fn put_out(&mut self, user: &str, place: &str) {
        let of = self.place_mut(place);
        of.joined.remove(user);
        of.invited.remove(user);
        for session in self.sessions.iter_mut().filter(|session| session.user == user) {
            let named = session.subscriptions.iter_mut().filter(|known| known.filter.starts_with(place));
            named.for_each(|known| known.is_dormant = true);
        }
    }

    pub(crate) fn set_banned(&mut self, user: &str, place: &str, is_banned: bool) {
        if is_banned {
            self.put_out(user, place);
            self.place_mut(place).banned.insert(user.into());
        } else {
            self.place_mut(place).banned.remove(user);
        }
    }

    pub(crate) fn set_muted(&mut self, user: &str, place: &str, is_muted: bool) {
        let muted = &mut self.place_mut(place).muted;
        if is_muted {
            muted.insert(user.into())
        } else {
            muted.remove(user)
        };
    }

    pub(crate) fn invited(&mut self, user: &str, place: &str) {
        self.place_mut(place).invited.insert(user.into());
    }

    pub(crate) fn set_ignored(&mut self, user: &str, whom: &str, is_ignored: bool) {
        let ignored = self.ignored.entry(user.into()).or_default();
        if is_ignored {
            ignored.insert(whom.into())
        } else {
            ignored.remove(whom)
        };
    }
}
