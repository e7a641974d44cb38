//! The vocabulary between a legacy protocol and the chat broker: calls go out, events come in.
//!
//! It knows neither MQTT nor any legacy protocol, and does no I/O: whoever drives a session turns a [`Call`] into
//! packets and packets into an [`Event`]. Invariant: every call is answered by exactly one [`Event::Answered`] with its
//! tag, unless its user is signed out first; calls of one user are carried out in their order.

use bytes::Bytes;
use serde_json::Value;
use std::{fmt, sync::Arc};

/// Comes back with the answer to a call; chosen by the session, unique among its unanswered ones.
pub type Tag = u64;

/// One of the chat users behind a connection. Most connections have one, [`Voice::FIRST`]; a server of a legacy network
/// speaks with many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Voice(pub u32);

impl Voice {
    /// The user of a connection that has one.
    pub const FIRST: Self = Self(0);
}

/// A room or a group, by its name in the broker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// `room/{name}`: one is in it while one is there.
    Room(Arc<str>),
    /// `group/{name}`: one is in it until one leaves.
    Group(Arc<str>),
}

impl Place {
    /// A room.
    pub fn room(name: &str) -> Self {
        Self::Room(name.into())
    }

    /// A group.
    pub fn group(name: &str) -> Self {
        Self::Group(name.into())
    }

    /// A place as protocols say it that know groups and nothing else: `room/x` is a room, and anything else a group, as no name
    /// of a group has a slash.
    pub fn of_id(id: &str) -> Self {
        id.strip_prefix("room/").map_or_else(|| Self::group(id), Self::room)
    }

    /// What [`Place::of_id`] makes this of.
    pub fn id(&self) -> String {
        match self {
            Self::Room(_) => self.to_string(),
            Self::Group(name) => name.to_string(),
        }
    }

    /// The name without what kind of place it is.
    pub fn name(&self) -> &str {
        match self {
            Self::Room(name) | Self::Group(name) => name,
        }
    }

    /// `room` or `group`.
    pub fn root(&self) -> &'static str {
        match self {
            Self::Room(_) => "room",
            Self::Group(_) => "group",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.root(), self.name())
    }
}

/// A password or a token: never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text from being shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for who must send it on.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// What a session wants of the broker.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Connects a user of its own to the broker; nothing else can be asked before. The answer is
    /// `{"user": name, "kind": "registered" | "anonymous" | "guest"}`.
    SignIn {
        /// The name that is asked for; `None` is a guest.
        user: Option<String>,
        /// A registered user's password or token.
        password: Option<Secret>,
        /// Refuse the name if anybody has it, also at the same address.
        exclusive: bool,
    },
    /// Leaves everything and disconnects. Not answered.
    SignOut,
    /// Enters a place and hears what is said there from here on.
    Join {
        /// The place.
        place: Place,
        /// What a private one asks for.
        password: Option<Secret>,
        /// How many of its last messages come first; they are marked as replayed.
        last: u32,
    },
    /// Hears no more of a place; a room is left with it, the membership of a group stays.
    Leave {
        /// The place.
        place: Place,
    },
    /// Says something in a place; answered when it is on disk.
    Say {
        /// The place.
        place: Place,
        /// Any bytes; plain UTF-8 for people.
        text: Bytes,
        /// The display name of a guest, if it has one.
        name: Option<String>,
    },
    /// Says something to one user; answered when it is on disk.
    Tell {
        /// The other's name in the broker.
        user: String,
        /// Any bytes.
        text: Bytes,
        /// The display name of a guest, if it has one.
        name: Option<String>,
    },
    /// Asks the broker (`$chat/{verb}`).
    Request {
        /// Such as `room/create`.
        verb: &'static str,
        /// Its fields, without `id`.
        json: Value,
    },
}

/// Why a call was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A stable code of `topics.md`, or one of those below.
    pub code: String,
    /// For people.
    pub reason: String,
}

impl Refusal {
    /// The connection to the broker broke and whether the call was carried out is unknown.
    pub const LOST: &'static str = "bridge.lost";
    /// Too much waits for the broker.
    pub const FULL: &'static str = "bridge.full";
    /// Asked before signing in.
    pub const NOT_SIGNED_IN: &'static str = "bridge.not-signed-in";

    /// A refusal without more words than its code.
    pub fn new(code: impl Into<String>) -> Self {
        let code = code.into();
        Self { reason: code.clone(), code }
    }
}

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who said it, by the name in the broker.
    pub from: Arc<str>,
    /// A guest's display name; never trusted for anything but showing.
    pub name: Option<String>,
    /// Any bytes.
    pub text: Bytes,
    /// Its number in its place; 0 where the broker said none.
    pub seq: u64,
    /// From before one entered.
    pub is_replayed: bool,
}

/// What a session is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A call was carried out or refused.
    Answered {
        /// As asked.
        tag: Tag,
        /// The answer's fields, `Null` where there are none; or why not.
        outcome: Result<Value, Refusal>,
    },
    /// Somebody said something in a place that one is in, oneself included.
    Said {
        /// The place.
        place: Place,
        /// What.
        message: Message,
    },
    /// Somebody said something to this user alone.
    Told {
        /// What.
        message: Message,
    },
    /// Something happened to what was said in a place: an edit, a deletion, a reaction, a pin. JSON with a field `type`.
    Noted {
        /// The place.
        place: Place,
        /// Who did it.
        from: Arc<str>,
        /// What.
        json: Value,
    },
    /// The broker or another user lets this user know of something: JSON with a field `type`.
    Signalled {
        /// Who.
        from: Arc<str>,
        /// What.
        json: Value,
    },
    /// Somebody is in a place from here on, or was when one entered.
    Entered {
        /// The place.
        place: Place,
        /// Who.
        user: Arc<str>,
    },
    /// Somebody is in a place no longer.
    Left {
        /// The place.
        place: Place,
        /// Who.
        user: Arc<str>,
    },
    /// This user was put out of a place, or the place is gone.
    Removed {
        /// The place.
        place: Place,
        /// For people.
        reason: String,
    },
    /// The broker is away; calls wait for it as far as there is room.
    Gone,
    /// The broker is back, and what was said meanwhile follows.
    Back {
        /// This user's name, which is another one for a guest whom the broker has forgotten.
        user: Arc<str>,
    },
    /// This user's connection to the broker is over for good.
    Ended {
        /// For people.
        reason: String,
    },
}
