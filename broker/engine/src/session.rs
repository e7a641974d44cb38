//! Sessions: what a client's identifier stands for across connections, and the table of a shard's sessions.
//!
//! Invariant: a session is in the table exactly as long as it is connected or has not expired, and its index is not
//! reused before every index that names it (subscriptions, rooms, timers) has been taken out.

use crate::{
    acks::AckToken, message::Shared, place::Lagging, queue::Queue, retained::Walks,
    subscriptions::Subscriptions, will::DelayedWill,
};
use foldhash::fast::FixedState;
use katydid_chat::permission::UserKind;
use katydid_mqtt::{
    packet::{PacketId, SubscribeOptions},
    session::{Inbound, Outbound},
};
use slab::Slab;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Subscription identifiers of one delivery; nearly always none or one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Ids {
    #[default]
    None,
    One([u32; 1]),
    Many(Box<[u32]>),
}

impl Ids {
    pub(crate) fn from_slice(ids: &[u32]) -> Self {
        match ids {
            [] => Self::None,
            [id] => Self::One([*id]),
            _ => Self::Many(ids.into()),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(id) => id,
            Self::Many(ids) => ids,
        }
    }
}

/// Where a message in flight came from, so that its acknowledgement moves the right position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The session's queue; 0 where the message was never stored.
    Queue(u64),
    /// A place, by its log, and the message's number.
    Place(u64, u64),
}

/// A QoS 1 or 2 message in flight to a client.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) message: Shared,
    pub(crate) retain: bool,
    pub(crate) ids: Ids,
    pub(crate) origin: Origin,
}

/// One subscription, by the filter as the client wrote it, without a replay prefix.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) filter: Box<str>,
    pub(crate) options: SubscribeOptions,
    /// 0 is none.
    pub(crate) id: u32,
    /// It names a place that its user was put out of: it means nothing until it is asked for anew.
    pub(crate) is_dormant: bool,
}

/// Where a session stood in a place before a restart.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stood {
    /// The number that it gets next.
    pub(crate) position: Option<u64>,
    /// QoS 2 messages below this were sent.
    pub(crate) sent_below: u64,
}

/// A QoS 2 message from the client whose outcome is not known yet; it may be sent again meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arriving {
    pub(crate) packet_id: PacketId,
    /// The acknowledgement that its first PUBLISH is owed.
    pub(crate) first: AckToken,
    /// The one that its last PUBLISH is owed, on a later connection.
    pub(crate) again: Option<AckToken>,
}

/// A QoS 1 message that was in flight when the broker was shut down, and is again under its old identifier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resumed {
    pub(crate) packet_id: PacketId,
    /// Where it must not be sent from a second time; `None` where the client asked for it anew.
    pub(crate) origin: Option<Origin>,
    pub(crate) is_acknowledged: bool,
}

/// A session's seat in a place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    /// The place's view on this shard.
    pub(crate) view: u32,
    /// The member in that view.
    pub(crate) member: u32,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    /// Unique for ever; 0 is the broker.
    pub(crate) id: u64,
    pub(crate) account: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    /// Its user's name in chat: the account, or a guest's name once it has one.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) kind: UserKind,
    /// Whom its user does not hear.
    pub(crate) ignored: Option<Arc<[Arc<str>]>>,
    /// Whether private messages to its user are forgotten once they are delivered.
    pub(crate) forgets: bool,
    /// Where it stood, in places that it has not entered again since the broker started.
    pub(crate) stood: HashMap<Box<str>, Stood, FixedState>,
    /// Slot of its connection.
    pub(crate) link: Option<u32>,
    /// Session expiry interval; 0 ends it with its connection.
    pub(crate) expiry_secs: u32,
    /// When it expires, in monotonic milliseconds; 0 while connected, or never.
    pub(crate) ends_at_ms: u64,
    pub(crate) outbound: Outbound<Sent>,
    pub(crate) inbound: Inbound,
    pub(crate) arriving: Vec<Arriving>,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) queue: Option<Box<Queue>>,
    pub(crate) seats: Vec<Seat>,
    /// Those of them that have something to be sent.
    pub(crate) lagging: Option<Box<Lagging>>,
    pub(crate) will: Option<Box<DelayedWill>>,
    /// Which publish looked at it last, and where its merged subscriptions are.
    pub(crate) stamp: u32,
    pub(crate) merged: u32,
    pub(crate) is_ready: bool,
    /// What was in flight at QoS 1 before a restart.
    pub(crate) resumed: Vec<Resumed>,
    /// Whether the store has a record of it: then it is forgotten there when it ends, however it ends.
    pub(crate) is_on_disk: bool,
    /// Whether its queue or its positions moved since they were written.
    pub(crate) has_moved: bool,
    /// Whether its positions are to be written soon.
    pub(crate) is_listed: bool,
    /// SUBSCRIBE and UNSUBSCRIBE packets, of this connection and of earlier ones, that are not done; the next one waits.
    pub(crate) subscribing: u32,
    /// Retained messages that it has still to be given.
    pub(crate) walks: Walks,
    /// QoS 2 messages to this connection that wait until their identifiers are on disk.
    pub(crate) held: u32,
}

impl Session {
    /// The name that a guest has in chat.
    pub(crate) fn guest_name(id: u64) -> String {
        format!("guest-{id:x}")
    }

    /// Whether a user name is this session's.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        match &self.account {
            Some(account) => **account == *name,
            None => name.strip_prefix("guest-").is_some_and(|_| Self::guest_name(self.id) == name),
        }
    }

    /// Whether it outlives its connection, so that what waits for it is kept on disk.
    pub(crate) fn is_persistent(&self) -> bool {
        self.expiry_secs > 0
    }

    /// Whether a message is in flight, or was, under an identifier from before a restart.
    pub(crate) fn has_resumed(&self, origin: Origin) -> bool {
        self.resumed.iter().any(|resumed| resumed.origin == Some(origin))
    }

    /// Whether its positions are kept and nobody has noted yet that they move.
    pub(crate) fn wants_listing(&self) -> bool {
        self.is_persistent() && !self.is_listed
    }

    pub(crate) fn queue_mut(&mut self) -> &mut Queue {
        self.queue.get_or_insert_default()
    }

    pub(crate) fn has_once_queued(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.has_once())
    }

    pub(crate) fn has_queued(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| !queue.is_empty())
    }
}

/// Account and client identifier: nobody takes another's session by its client identifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) account: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
}

/// The sessions of a shard.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    table: Slab<Box<Session>>,
    by_key: HashMap<Key, u32, FixedState>,
    /// Sessions that may have something to send.
    ready: VecDeque<u32>,
    stamp: u32,
}

impl Sessions {
    pub(crate) fn find(&self, key: &Key) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn insert(&mut self, session: Session) -> u32 {
        let key = Key { account: session.account.clone(), client_id: session.client_id.clone() };
        let index = self.table.insert(Box::new(session)) as u32;
        self.by_key.insert(key, index);
        index
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<Box<Session>> {
        let session = self.table.try_remove(index as usize)?;
        let key = Key { account: session.account.clone(), client_id: session.client_id.clone() };
        self.by_key.remove(&key);
        Some(session)
    }

    pub(crate) fn by_index(&mut self, index: u32) -> Option<&mut Session> {
        self.table.get_mut(index as usize).map(Box::as_mut)
    }

    pub(crate) fn peek(&self, index: u32) -> Option<&Session> {
        self.table.get(index as usize).map(Box::as_ref)
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn indices(&self) -> Vec<u32> {
        self.table.iter().map(|(index, _)| index as u32).collect()
    }

    /// The queues of those who have one.
    pub(crate) fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.table.iter().filter_map(|(_, session)| session.queue.as_deref())
    }

    /// Lets a session be looked at when the tick settles.
    pub(crate) fn mark_ready(&mut self, index: u32) {
        if let Some(session) = self.table.get_mut(index as usize)
            && !session.is_ready
        {
            session.is_ready = true;
            self.ready.push_back(index);
        }
    }

    pub(crate) fn pop_ready(&mut self) -> Option<u32> {
        let index = self.ready.pop_front()?;
        if let Some(session) = self.by_index(index) {
            session.is_ready = false;
        }
        Some(index)
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(crate) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// A stamp that no session bears.
    pub(crate) fn next_stamp(&mut self) -> u32 {
        self.stamp = self.stamp.wrapping_add(1);
        if self.stamp == 0 {
            self.table.iter_mut().for_each(|(_, session)| session.stamp = 0);
            self.stamp = 1;
        }
        self.stamp
    }
}
