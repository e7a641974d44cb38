//! The handle of a client: what one can say and ask. Cheap to clone; every clone means the same session.

use crate::{Ack, Draft, Events, History, Join, Json, Options, Place, Refusal, Replay, Secret, Window, json};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};

/// The answer to a request: the whole JSON object, whose `ok` is `true`.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer(pub Json);

/// A chat client: one session at the broker.
///
/// Every call may be made while the connection is down: it waits until it stands again. Dropping a call's future does
/// not take back what it asked for. When the last clone is dropped, the connection is closed.
#[derive(Debug, Clone)]
pub struct Client {
    _handle: Arc<()>,
}

impl Client {
    /// Connects and signs in. The client connects again by itself after a lost connection, until it is closed, or the
    /// broker refuses it for good.
    ///
    /// # Errors
    /// `login.*` of `topics.md`; [`Refusal::UNREACHABLE`].
    pub async fn connect(options: Options) -> Result<(Self, Events), Refusal> {
        let _ = options;
        Err(Refusal::closed())
    }

    /// The name under which the broker knows this client.
    pub fn user(&self) -> Arc<str> {
        "".into()
    }

    /// Whether the connection stands.
    pub fn is_connected(&self) -> bool {
        false
    }

    /// The token that stands for the password, where [`Options::use_token`] got one.
    pub fn token(&self) -> Option<Secret> {
        None
    }

    /// Enters a place and hears everything in it. For a private conversation nothing needs to be joined.
    ///
    /// # Errors
    /// `room.*` and `group.*` of `topics.md`.
    pub async fn join(&self, place: &Place, replay: Replay) -> Result<(), Refusal> {
        self.join_with(place, Join::new(replay)).await
    }

    /// Enters a place. Who is in already changes what is wanted of it, and hears again what the replay says.
    ///
    /// # Errors
    /// As [`Client::join`].
    pub async fn join_with(&self, place: &Place, join: Join) -> Result<(), Refusal> {
        let _ = (place, join);
        Err(Refusal::closed())
    }

    /// Stops listening to a place. A room is left with that; a group only by [`Client::request`]`("group/leave", ..)`.
    ///
    /// # Errors
    /// [`Refusal::CLOSED`].
    pub async fn leave(&self, place: &Place) -> Result<(), Refusal> {
        let _ = place;
        Err(Refusal::closed())
    }

    /// Says something; resolves when it is on the broker's disk. `id` names the message, so that saying it again does not
    /// double it; without, a unique one is made, which serves for reconnects.
    ///
    /// # Errors
    /// `room.*`, `group.*`, `message.*` of `topics.md`; [`Refusal::TOO_LARGE`].
    pub async fn say(&self, place: &Place, text: impl Into<Bytes>, id: Option<&str>) -> Result<Ack, Refusal> {
        let mut draft = Draft::new(text);
        draft.id = id.map(Into::into);
        self.send(place, draft).await
    }

    /// Says something with all that can be said about it.
    ///
    /// # Errors
    /// As [`Client::say`].
    pub async fn send(&self, place: &Place, draft: Draft) -> Result<Ack, Refusal> {
        let _ = (place, draft);
        Err(Refusal::closed())
    }

    /// Says something to a user: [`Client::say`] at [`Place::user`].
    ///
    /// # Errors
    /// As [`Client::say`].
    pub async fn tell(&self, user: &str, text: impl Into<Bytes>, id: Option<&str>) -> Result<Ack, Refusal> {
        self.say(&Place::user(user)?, text, id).await
    }

    /// Publishes an event: JSON of `topics.md` such as `{"type":"edit","seq":7,"text":"..."}`.
    ///
    /// # Errors
    /// As [`Client::say`], and `message.not-yours`.
    pub async fn event(&self, place: &Place, body: &Json) -> Result<Ack, Refusal> {
        let _ = (place, body);
        Err(Refusal::closed())
    }

    /// Tells a place that one types. Not kept, not acknowledged, dropped while there is no connection.
    ///
    /// # Errors
    /// [`Refusal::CLOSED`].
    pub async fn typing(&self, place: &Place) -> Result<(), Refusal> {
        let _ = place;
        Err(Refusal::closed())
    }

    /// Sets the read marker of a place; it never goes back.
    ///
    /// # Errors
    /// As [`Client::say`].
    pub async fn mark_read(&self, place: &Place, seq: u64) -> Result<(), Refusal> {
        let _ = (place, seq);
        Err(Refusal::closed())
    }

    /// Asks the broker: publishes `body`, a JSON object, to `$chat/{verb}` and waits for the answer.
    ///
    /// # Errors
    /// The code and reason of an answer that is not `ok`; [`Refusal::TIMED_OUT`] after [`Options::request_timeout`];
    /// [`Refusal::INTERRUPTED`] when the connection is lost in between.
    pub async fn request(&self, verb: &str, body: Json) -> Result<Answer, Refusal> {
        let _ = (verb, body);
        Err(Refusal::closed())
    }

    /// As [`Client::request`], with a time limit of its own.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn request_within(&self, verb: &str, body: Json, limit: Duration) -> Result<Answer, Refusal> {
        let _ = limit;
        self.request(verb, body).await
    }

    /// Who one is to the broker.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn whoami(&self) -> Result<Answer, Refusal> {
        self.request("whoami", json!({})).await
    }

    /// The past of a place, page by page.
    pub fn history(&self, place: &Place, window: Window) -> History {
        History { client: self.clone(), place: place.clone(), window, page_entries: 100, is_done: false }
    }

    /// Hears one more topic filter that is none of a place, such as `user/bob/presence`; it comes as an event.
    ///
    /// # Errors
    /// A code for the broker's reason.
    pub async fn watch(&self, filter: &str) -> Result<(), Refusal> {
        let _ = filter;
        Err(Refusal::closed())
    }

    /// Stops hearing a filter of [`Client::watch`].
    ///
    /// # Errors
    /// [`Refusal::CLOSED`].
    pub async fn unwatch(&self, filter: &str) -> Result<(), Refusal> {
        let _ = filter;
        Err(Refusal::closed())
    }

    /// Closes the connection in good order, after what was said is acknowledged or `limit` has passed. The session ends
    /// too, unless it is kept ([`Options::session_expiry`]).
    pub async fn close(&self, limit: Duration) {
        let _ = limit;
    }
}
