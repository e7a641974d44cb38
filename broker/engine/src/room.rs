//! Rooms: a log with one order, and members who read it, each at a position of its own.
//!
//! [`home`] is the room's home shard: it numbers what is said, gives it to the journal, and sends it once to every shard
//! that has members. [`view`] is the room as one shard sees it: the recent entries and the members here. Live delivery,
//! replay, a slow reader and a session that was away are all the same thing: a cursor that moves.

pub(crate) mod home;
mod members;
mod run;
pub(crate) mod view;

pub(crate) use members::{Cause, Entering};
pub(crate) use view::Reading;

use katydid_chat::topic::Channel;

/// Whether an entry's topic is an event; only messages and events are entries.
pub(crate) fn is_event(topic: &str) -> bool {
    matches!(katydid_chat::topic::classify(topic), katydid_chat::topic::Topic::Room(said) if said.channel == Channel::Event)
}
