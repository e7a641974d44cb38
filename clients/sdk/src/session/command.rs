//! What the handles ask of a session, and what waits in it to be sent.

use crate::{Ack, Join, Json, Place, Refusal, Secret};
use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Tells a caller how it went. Nobody may be there any more.
pub(crate) type Done<T> = oneshot::Sender<Result<T, Refusal>>;

/// Counts against what may wait at once; given back when it is dropped.
pub(crate) type Permit = OwnedSemaphorePermit;

/// What a handle asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Publish with QoS 1 and say when it is acknowledged.
    Publish(Box<Publication>, Done<Ack>, Permit),
    /// Publish with QoS 0, if there is a connection.
    Signal(Box<Publication>),
    /// Ask, and wait for the answer.
    Call(Box<Question>, Permit),
    /// Enter a place.
    Join(Place, Box<Join>, Done<()>, Permit),
    /// Hear a filter.
    Watch(String, Done<()>, Permit),
    /// Stop hearing a place.
    Leave(Place, Done<()>, Permit),
    /// Stop hearing a filter.
    Unwatch(String, Done<()>, Permit),
    /// Sign in with this from now on.
    Token(Secret),
    /// Take nothing more of what the broker wants acknowledged: what a session that stays has not got comes next time.
    Deafen,
    /// End, after what waits is acknowledged or the time has passed.
    Close(Duration, oneshot::Sender<()>),
}

/// Something to publish. The sender's name in its topic is put in when it is sent, since a guest's can change.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) place: Place,
    /// `msg`, `event`, `typing` or `read`.
    pub(crate) channel: &'static str,
    pub(crate) payload: Bytes,
    pub(crate) properties: Option<PublishProperties>,
}

/// A request to the broker.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) verb: String,
    /// A JSON object.
    pub(crate) body: Json,
    pub(crate) done: Done<Json>,
}
