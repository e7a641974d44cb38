//! What shards say to each other, and where a topic or a place is at home.

use crate::{
    acks::AckToken,
    acks::Outcome,
    desk::Asked,
    io::ConnId,
    io::ShardId,
    message::Shared,
    retained::{Page, Rest},
};
use katydid_chat::{
    code::Code,
    directory::{SignIn, Window},
    permission::{PlaceRules, Standing, UserKind},
};
use std::sync::Arc;

/// Who is told how a publish ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) shard: ShardId,
    pub(crate) token: AckToken,
}

/// What is stored together with a message, so that it is taken in once: the packet identifier of an inbound QoS 2 message
/// of a session that outlives its connection, or, with an identifier that no packet has, that a will is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    pub(crate) session: u64,
    pub(crate) packet_id: u16,
}

impl Mark {
    /// The will of a session.
    pub(crate) fn of_will(session: u64) -> Self {
        Self { session, packet_id: 0 }
    }

    pub(crate) fn is_will(self) -> bool {
        self.packet_id == 0
    }
}

/// Where a subscription to a place starts, as its home understands it.
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

/// Who publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The broker itself, which may everything.
    Broker,
    /// The user that the topic names.
    User {
        kind: UserKind,
        /// It speaks 3.1.1: an acknowledgement cannot tell it of a refusal.
        is_deaf: bool,
    },
}

/// A session that the directory lets into a place.
#[derive(Debug, Clone)]
pub(crate) struct Entrant {
    pub(crate) shard: ShardId,
    pub(crate) user: Arc<str>,
    pub(crate) why: Entry,
}

/// Why a session enters a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It subscribes by name, and waits under this key.
    Named(u64),
    /// Its wildcard subscriptions reach the place.
    Admitted {
        index: u32,
        session: u64,
        /// The SUBSCRIBE that waits for it, if one does.
        joining: Option<u64>,
        /// What it gets first is new to it: no RETAIN on it.
        is_new: bool,
        /// Its subscription says where it starts, so that it starts there again.
        moves: bool,
    },
}

/// What a place's home says to the shard of a session that enters.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) place: Arc<str>,
    pub(crate) why: Entry,
    pub(crate) log: u64,
    /// The member's first number.
    pub(crate) start: u64,
    /// The number that comes next.
    pub(crate) next: u64,
    /// How many answers the shard has had from this home.
    pub(crate) answers: u64,
    /// Last values below the place.
    pub(crate) kept: Vec<Shared>,
}

/// Who gets the answer to a request, and where.
#[derive(Debug, Clone)]
pub(crate) struct AnswerTo {
    pub(crate) shard: ShardId,
    pub(crate) index: u32,
    pub(crate) session: u64,
    pub(crate) topic: Arc<str>,
    pub(crate) correlation: Option<Box<[u8]>>,
}

/// A request for entries of a place's log.
#[derive(Debug, Clone)]
pub(crate) struct HistoryOf {
    pub(crate) place: Arc<str>,
    pub(crate) window: Window,
    pub(crate) without: Arc<[Arc<str>]>,
    pub(crate) id: Option<String>,
    /// Bytes of the answer at most.
    pub(crate) bytes: usize,
    pub(crate) ticket: u64,
}

/// A message between shards.
#[derive(Debug)]
pub(crate) enum Crossing {
    /// To the home of a topic or a place: publish this.
    Publish { message: Shared, reply: Option<AckToken>, mark: Option<Mark>, by: By },
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
    /// To the directory's shard: tell it, or ask it.
    Ask(Box<Asked>),
    /// To the shard of a connection: how its sign-in goes on.
    SignedIn { conn: ConnId, outcome: SignIn },
    /// From the directory to a place's home: this session may be a member, and starts there.
    Enter { place: Arc<str>, start: Start, entrant: Entrant },
    /// The home's answer to the session's shard.
    Entered(Box<Entered>),
    /// To a session's shard: it may not enter, or not any more.
    NotEntered { why: Entry, code: Code },
    /// To a session's shard: its wildcard subscription reaches so many places, which tell themselves.
    EnteredAll { ticket: u64, places: u32 },
    /// To the shard of an UNSUBSCRIBE: its user has left the place.
    LeftPlace { pending: u64 },
    /// To a place's home: this shard has no member any more, since it was answered so many times.
    Leave { place: Arc<str>, answers: u64 },
    /// From the directory to a place's home: its rules, or that there is no such place.
    Rules { place: Arc<str>, rules: Option<Arc<PlaceRules>> },
    /// The same: all that goes with the rules has been said.
    Ruled { place: Arc<str> },
    /// From the directory to a place's home: how a user stands there.
    Stands { place: Arc<str>, user: Arc<str>, standing: Option<Standing> },
    /// From the directory to a place's home, and from there to the shards with members: a user, or everybody, is out.
    Evict { place: Arc<str>, user: Option<Arc<str>>, ticket: u64 },
    /// From the directory to a place's home: the place is gone, with all that was said there.
    Drop { place: Arc<str> },
    /// From the directory to a place's home: the last value below it is this.
    Keep { place: Arc<str>, within: String, payload: String },
    /// From the directory to a place's home: answer a request with entries of its log.
    History(Box<HistoryOf>),
    /// To the directory's shard: the answer.
    HistoryPage { ticket: u64, payload: String },
    /// From the directory to every shard: end a user's sessions, or, when all have, take what the user wrote off the logs.
    Erase { user: Arc<str>, sweeps: bool },
    /// To a session's shard: whom its user does not hear.
    Ignore { index: u32, session: u64, ignored: Arc<[Arc<str>]> },
    /// To a session's shard: whether private messages to its user are forgotten once they are delivered.
    Forgets { index: u32, session: u64, forgets: bool },
    /// To a session's shard: up to which number it has acknowledged a pair.
    HowFar { ticket: u64, index: u32, session: u64, place: Arc<str> },
    /// From the directory's shard to a pair's home: what was said to a user below a number is delivered, and forgotten.
    Forget { place: Arc<str>, user: Arc<str>, below: u64 },
    /// To a session's shard: close its connection, and end it where that is asked for.
    Dismiss { index: u32, session: u64, ends: bool },
    /// To the shard of a session that asked: the answer.
    Answer { to: AnswerTo, payload: String },
    /// From a place's home to the shards with members: the content of an entry is another one from here on.
    Amended { place: Arc<str>, entry: Shared },
    /// To the shards with members: new entries of a place, in order.
    Entries { place: Arc<str>, entries: Arc<[Shared]> },
    /// To the shards with members: something said that is not kept.
    Signal { place: Arc<str>, message: Shared },
    /// To a place's home: entries from a number on, for a member who is behind.
    Read { place: Arc<str>, from: u64, ticket: u64 },
    /// The answer; empty when there is nothing between `from` and `next`. Below `first` nothing is kept.
    Page { ticket: u64, entries: Vec<Shared>, next: u64, first: u64 },
}

/// The home of a topic, a place or a client identifier among `shards`. Stable across restarts, so that what was stored
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
