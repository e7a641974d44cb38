//! What shards say to each other, and where a topic or a room is at home.

use crate::{
    acks::AckToken,
    acks::Outcome,
    io::ShardId,
    message::Shared,
    retained::{Page, Rest},
};
use std::sync::Arc;

/// Who is told how a publish ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) shard: ShardId,
    pub(crate) token: AckToken,
}

/// The packet identifier of an inbound QoS 2 message of a session that outlives its connection: stored with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    pub(crate) session: u64,
    pub(crate) packet_id: u16,
}

/// Where a subscription to a room starts, as its home understands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the last entries, this many.
    Last(u32),
    /// At a number.
    Since(u64),
    /// At the first entry of a time, in milliseconds since the Unix epoch.
    SinceTime(u64),
    /// After everything that is there.
    Live,
}

/// A message between shards.
#[derive(Debug)]
pub(crate) enum Crossing {
    /// To the home of a topic or a room: publish this.
    Publish { message: Shared, reply: Option<AckToken>, mark: Option<Mark> },
    /// To the shard of a publisher: how it ended.
    Published { token: AckToken, outcome: Outcome },
    /// To a shard with subscribers: deliver this to them, and to one member of each of these shared groups.
    Deliver { message: Shared, plain: bool, groups: Vec<Arc<str>>, part: Option<u64>, mark: Option<Mark> },
    /// To the same shards: the message is marked as received, so that it cannot come again.
    Marked { mark: Mark },
    /// To the home of a topic: what had to be stored of a delivery is on disk.
    Delivered { part: u64 },
    /// To the homes that a filter can match: tell this shard of such messages, and send the first of the retained ones.
    Watch { filter: Arc<str>, group: Option<Arc<str>>, ticket: u64, retained: bool },
    /// The answer.
    Watched { ticket: u64, page: Option<Page> },
    /// To one of these homes: the next page of the retained ones.
    Walk { session: (u32, u64), ticket: u64, filter: Box<str>, rest: Rest },
    /// The answer, to a session's index and identifier.
    Retained { session: (u32, u64), ticket: u64, page: Page },
    /// To the same homes: so many members of the shared group are connected here.
    Present { filter: Arc<str>, group: Arc<str>, count: u32 },
    /// To the same homes: no more.
    Unwatch { filter: Arc<str>, group: Option<Arc<str>> },
    /// To a room's home: this shard has a member who starts there.
    Enter { room: Arc<str>, start: Start, ticket: u64 },
    /// The answer: the member's first number, and the number that comes next.
    Entered { ticket: u64, log: u64, start: u64, next: u64 },
    /// To a room's home: this shard has no member any more.
    Leave { room: Arc<str> },
    /// To the shards with members: new entries of a room, in order.
    Entries { room: Arc<str>, entries: Arc<[Shared]> },
    /// To the shards with members: something said that is not kept.
    Signal { room: Arc<str>, message: Shared },
    /// To a room's home: entries from a number on, for a member who is behind.
    Read { room: Arc<str>, from: u64, ticket: u64 },
    /// The answer; empty when there is nothing between `from` and `next`.
    Page { ticket: u64, entries: Vec<Shared>, next: u64 },
}

/// The home of a topic, a room or a client identifier among `shards`. Stable across restarts, so that what was stored
/// finds its shard again.
pub(crate) fn home(name: &str, shards: usize) -> ShardId {
    // FNV-1a.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // On its own FNV leaves the last three characters out of the high bits, and names that are counted up would all
    // have one home.
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    ShardId(((mixed >> 32) % shards as u64) as u16)
}

#[cfg(test)]
mod tests {
    use super::home;

    #[test]
    fn names_that_are_counted_up_are_spread() {
        for shards in [2, 3, 8, 64] {
            for prefix in ["r", "u", "client-", "20391-", "5f3a1b2c-"] {
                let mut homes = vec![0; shards];
                for number in 0..100 * shards {
                    homes[usize::from(home(&format!("{prefix}{number}"), shards).0)] += 1;
                }
                let (least, most) = (homes.iter().min(), homes.iter().max());
                assert!(least > Some(&60) && most < Some(&140), "{prefix} {shards}: {least:?} to {most:?}");
            }
        }
    }
}
