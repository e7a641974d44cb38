//! What a client is told: everything that happens, in order, from one bounded queue.

use crate::{Json, Place, Refusal};
use bytes::Bytes;
use std::{borrow::Cow, sync::Arc};
use tokio::sync::mpsc;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The connection stands, at first or again.
    Connected {
        /// The name under which the broker knows this client.
        user: Arc<str>,
        /// Whether the broker had the session still.
        resumed: bool,
    },
    /// The connection is lost; the sdk connects again by itself.
    Disconnected(Refusal),
    /// The client has ended for good: nothing follows. The refusal says why; [`Refusal::CLOSED`] when its user closed it.
    Closed(Refusal),
    /// Something was said.
    Message(Message),
    /// Something that was said before changed, or a board got a post: an edit, a deletion, a reaction, a pin, ...
    Change(Change),
    /// Something happened to the user: an invitation, a kick, an offer, ...
    User(UserEvent),
    /// Somebody types.
    Typing {
        /// Where.
        place: Place,
        /// Who.
        user: String,
        /// What was published, mostly empty.
        payload: Bytes,
    },
    /// Somebody has read up to a number.
    Read {
        /// Where.
        place: Place,
        /// Who.
        user: String,
        /// Up to and with.
        seq: u64,
    },
    /// How somebody is here: in a place, or at all. Empty JSON (`null`) means gone.
    Presence {
        /// The room or group; `None` is the user's own presence.
        place: Option<Place>,
        /// Who.
        user: String,
        /// JSON of `topics.md`.
        body: Json,
    },
    /// What a place is. `null` means gone.
    Info {
        /// Which.
        place: Place,
        /// JSON of `topics.md`.
        body: Json,
    },
    /// A user's profile. `null` means none.
    Profile {
        /// Whose.
        user: String,
        /// JSON of `topics.md`.
        body: Json,
    },
    /// Something was not delivered.
    Gap(Gap),
    /// A place that the client was in is closed to it: after a reconnect, or by a kick, a ban or a deletion.
    Refused {
        /// Which.
        place: Place,
        /// Why.
        refusal: Refusal,
    },
    /// Something on another topic that was subscribed to.
    Other {
        /// The topic.
        topic: String,
        /// What was published.
        payload: Bytes,
    },
}

/// Something said in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where.
    pub place: Place,
    /// Who said it; true, since nobody else can publish there.
    pub from: String,
    /// Its number in the place; ascending, with gaps.
    pub seq: u64,
    /// When the broker took it, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The id that its sender gave it.
    pub id: Option<String>,
    /// What was said: any bytes.
    pub payload: Bytes,
    /// The number of the message that it answers.
    pub reply_to: Option<u64>,
    /// MIME type, where given.
    pub content_type: Option<String>,
    /// Further user properties.
    pub properties: Vec<(String, String)>,
    /// Whether it is from the past: replayed on joining or after a lost connection.
    pub replay: bool,
}

impl Message {
    /// The payload as text; what is not UTF-8 is replaced. It may hold control characters: escape them for terminals.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.payload)
    }
}

/// A change of what was said: JSON with a `type` of `topics.md`, such as `edit`, and the `seq` that it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Where.
    pub place: Place,
    /// Who did it.
    pub from: String,
    /// The number of the change itself, in the place's numbering.
    pub seq: u64,
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// `edit`, `delete`, `reaction`, `pin`, `post`, ...: the JSON's `type`; empty for JSON without one.
    pub kind: String,
    /// The JSON; what is no JSON, as a string.
    pub body: Json,
    /// Whether it is from the past.
    pub replay: bool,
}

/// Something that happened to the user: JSON with a `type` of `topics.md`, such as `invite`.
#[derive(Debug, Clone, PartialEq)]
pub struct UserEvent {
    /// Who did it; [`katydid_chat::name::BROKER`] is the broker.
    pub from: String,
    /// Its number among the private messages with that user; 0 when it is not numbered.
    pub seq: u64,
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// `invite`, `kick`, ...; empty for JSON without a type.
    pub kind: String,
    /// The JSON.
    pub body: Json,
    /// Whether it is from the past.
    pub replay: bool,
}

/// Something was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Where; `None` when it is not one place's.
    pub place: Option<Place>,
    /// How many messages are lost for good; `None` when that is not known.
    pub messages: Option<u64>,
    /// How many signals (typing, presence, info, read markers) were dropped because events were not taken in time.
    pub signals: u64,
}

/// The events of a client. Dropping it leaves the client able to speak and to ask; what comes is acknowledged and dropped.
#[derive(Debug)]
pub struct Events {
    pub(crate) queue: mpsc::Receiver<Event>,
}

impl Events {
    /// The next event; `None` after [`Event::Closed`]. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.queue.recv().await
    }

    /// An event that is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.queue.try_recv().ok()
    }
}
