//! Places, where something is said: rooms, groups, and the private messages of a pair. Each is a log with one order, and
//! members who read it, each at a position of its own.
//!
//! [`home`] is the place's home shard: it numbers what is said, gives it to the journal, and sends it once to every shard
//! that has members. [`view`] is the place as one shard sees it: the recent entries and the members here. Live delivery,
//! replay, a slow reader and a session that was away are all the same thing: a cursor that moves.
//!
//! A place is named by its key (`room/{name}`, `group/{name}`, `user/{a}/{b}`), which is also the key of its records.

mod delivered;
pub(crate) mod erasing;
pub(crate) mod history;
pub(crate) mod home;
mod ids;
mod lagging;
mod members;
mod mentions;
mod rules;
mod run;
mod saying;
pub(crate) mod view;

pub(crate) use home::Arrival;
pub(crate) use lagging::Lagging;
pub(crate) use members::{Cause, Entering, EnteringAll, start_of};
pub(crate) use view::Reading;

use katydid_chat::topic::{self, Channel, Root, Topic};

/// Whether an entry is something else than a message: an event, or a post on a board.
pub(crate) fn is_other(topic: &str) -> bool {
    matches!(topic::classify(topic), Topic::Said(said) if said.channel != Channel::Message)
}

/// Where, in the topics of a place, that begins which its members' filters are matched against. The two topics of a pair
/// differ in their second level, so there it is the whole topic.
pub(crate) fn within_at(place: &str) -> usize {
    if topic::root_of(place) == Root::Pair { 0 } else { place.len() + 1 }
}
