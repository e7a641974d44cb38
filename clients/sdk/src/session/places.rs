//! The places that a client is in, and how far it has heard each.
//!
//! Invariant: a floor only rises, unless somebody asks for the past again: what is at or below it was delivered.

use crate::{Interest, Join, Message, Place, Replay, contract};
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{Filter, SubscribeProperties},
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant, UNIX_EPOCH},
};

/// How many places' floors are remembered besides those of joined places.
const FLOORS_MAX: usize = 1024;

/// How many messages of a place are remembered by their ids: more than a few senders have on their way at once.
const RECENT_MAX: usize = 64;

/// Added to how long ago something was, for the time that packets take.
const MARGIN: Duration = Duration::from_secs(2);

/// How a joined place stands.
///
/// ```text
/// Following --an event did not fit--> Behind --SUBSCRIBE sent--> Returning --SUBACK--> Following
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// What comes is delivered.
    Following,
    /// Something was dropped: nothing is delivered until it can be asked for again.
    Behind,
    /// It has been asked for; what comes before the answer is still dropped.
    Returning,
}

#[derive(Debug)]
pub(super) struct Joined {
    pub(super) join: Join,
    pub(super) course: Course,
    since: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) joined: BTreeMap<Place, Joined>,
    heard: HashMap<Place, Heard>,
    clock: u64,
}

/// What was heard in a place.
#[derive(Debug, Default)]
struct Heard {
    floor: u64,
    stamp: u64,
    /// Hashes of sender and id of the last messages. A broker that crashes may have told a message before it was on disk; said
    /// again by its sender, it has another number, and is the same message.
    recent: VecDeque<u64>,
}

impl Places {
    /// The highest number that was delivered.
    pub(super) fn floor(&self, place: &Place) -> u64 {
        self.heard.get(place).map_or(0, |heard| heard.floor)
    }

    pub(super) fn course(&self, place: &Place) -> Course {
        self.joined.get(place).map_or(Course::Following, |joined| joined.course)
    }

    pub(super) fn set_floor(&mut self, place: &Place, floor: u64) {
        self.clock += 1;
        if let Some(heard) = self.heard.get_mut(place) {
            if floor < heard.floor {
                // The past is wanted again.
                heard.recent.clear();
            }
            (heard.floor, heard.stamp) = (floor, self.clock);
            return;
        }
        if self.heard.len() >= FLOORS_MAX + self.joined.len() {
            let free = self.heard.iter().filter(|(place, _)| !self.joined.contains_key(place));
            if let Some(oldest) = free.min_by_key(|(_, heard)| heard.stamp).map(|(place, _)| place.clone()) {
                self.heard.remove(&oldest);
            }
        }
        let heard = Heard { floor, stamp: self.clock, recent: VecDeque::new() };
        self.heard.insert(place.clone(), heard);
    }

    /// Whether a message was heard lately, under whatever number.
    pub(super) fn has_heard(&self, message: &Message) -> bool {
        let Some(heard) = self.heard.get(&message.place) else { return false };
        name(message).is_some_and(|name| heard.recent.contains(&name))
    }

    /// A message was handed on; its place has a floor.
    pub(super) fn remember(&mut self, place: &Place, name: Option<u64>) {
        if let (Some(heard), Some(name)) = (self.heard.get_mut(place), name) {
            if heard.recent.len() >= RECENT_MAX {
                heard.recent.pop_front();
            }
            heard.recent.push_back(name);
        }
    }

    /// The broker let the client in: from here on its numbers count from where the replay starts.
    pub(super) fn entered(&mut self, place: &Place, join: Join, now: Instant) {
        let was_in = self.joined.get(place).map(|joined| joined.since);
        match join.replay {
            Replay::Default | Replay::Live if was_in.is_some() => {}
            Replay::Since(seq) => self.set_floor(place, seq),
            _ => self.set_floor(place, 0),
        }
        let since = match join.replay {
            Replay::Default | Replay::Live => was_in.unwrap_or(now),
            _ => now,
        };
        self.joined.insert(place.clone(), Joined { join, course: Course::Following, since });
    }

    /// What is asked for, to go on where the client has stopped hearing.
    pub(super) fn catch_up(&self, place: &Place, joined: &Joined, now: Instant) -> Replay {
        match (self.floor(place), joined.join.replay) {
            (0, Replay::SinceAgo(ago)) => Replay::SinceAgo(ago + now.duration_since(joined.since)),
            (0, explicit @ (Replay::Since(_) | Replay::SinceTime(_))) => explicit,
            // Nothing was said since it entered; how long ago that is, the broker can tell by its own clock.
            (0, _) => Replay::SinceAgo(now.duration_since(joined.since) + MARGIN),
            (floor, _) => Replay::Since(floor),
        }
    }
}

/// What tells a message from others whatever its number is: who said it and under which id.
pub(super) fn name(message: &Message) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    message.id.as_ref()?.hash(&mut hasher);
    message.from.hash(&mut hasher);
    Some(hasher.finish())
}

/// The filters by which a place is heard.
pub(super) fn filters(place: &Place, me: &str, interest: Interest, echo: bool) -> Vec<Filter> {
    let base = match place {
        Place::User(name) => {
            // Of a pair there are only messages and events; both ends are named.
            let paths = [format!("user/{me}/msg/{name}"), format!("user/{me}/event/{name}")];
            return paths.into_iter().map(|path| Filter::new(path, QoS::AtLeastOnce)).collect();
        }
        place => place.to_string(),
    };
    let within: &[(&str, bool)] = if interest == Interest::ALL {
        &[("#", true)]
    } else {
        &[
            ("msg/+", true),
            ("event/+", true),
            ("post/+", interest.posts && matches!(place, Place::Group(_))),
            ("typing/+", interest.typing),
            ("read/+", interest.read),
            ("presence/+", interest.presence),
            ("info", interest.info),
        ]
    };
    let wanted = within.iter().filter(|(_, is_wanted)| *is_wanted);
    wanted
        .map(|(within, _)| {
            let mut filter = Filter::new(format!("{base}/{within}"), QoS::AtLeastOnce);
            filter.nolocal = !echo;
            filter
        })
        .collect()
}

/// The properties of a SUBSCRIBE that starts there.
pub(super) fn properties(replay: Replay, password: Option<&str>) -> Option<SubscribeProperties> {
    let mut user_properties = Vec::new();
    match replay {
        Replay::Default => {}
        Replay::Live => user_properties.push((contract::LAST.into(), "0".into())),
        Replay::Last(count) => user_properties.push((contract::LAST.into(), count.to_string())),
        Replay::Since(seq) => user_properties.push((contract::SINCE.into(), seq.to_string())),
        Replay::SinceTime(time) => {
            let time = time.max(UNIX_EPOCH);
            let text = humantime::format_rfc3339_millis(time).to_string();
            user_properties.push((contract::SINCE.into(), text));
        }
        Replay::SinceAgo(ago) => {
            // Whole seconds, upwards: what humantime writes it reads.
            let ago = Duration::from_secs(ago.as_secs().saturating_add(u64::from(ago.subsec_nanos() > 0)));
            user_properties.push((contract::SINCE.into(), format!("{}s", ago.as_secs())));
        }
    }
    if let Some(password) = password {
        user_properties.push((contract::PASSWORD.into(), password.into()));
    }
    (!user_properties.is_empty()).then_some(SubscribeProperties { id: None, user_properties })
}
