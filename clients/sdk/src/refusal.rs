//! Why something was not done: one type for the broker's refusals and for what went wrong on this side.
//!
//! Invariant: the code is stable and is what programs look at; the reason is for people and may change.

use std::{borrow::Cow, fmt};

/// Why something was not done.
///
/// Codes of the broker are those of `topics.md`, such as `room.banned`. Codes that begin with `client.` were given on this
/// side; they are the constants of this type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: Cow<'static, str>,
    /// For people; may be empty.
    pub reason: String,
}

impl Refusal {
    /// The client was closed, by its user or for good by the broker.
    pub const CLOSED: &'static str = "client.closed";
    /// The connection was lost after a request was sent and before its answer came: it may have been carried out.
    pub const INTERRUPTED: &'static str = "client.interrupted";
    /// No answer within the time limit: it may have been carried out.
    pub const TIMED_OUT: &'static str = "client.timed-out";
    /// The broker cannot be reached, or does not speak MQTT 5.
    pub const UNREACHABLE: &'static str = "client.unreachable";
    /// A name or an argument that can't be sent.
    pub const ARGUMENT: &'static str = "client.argument";
    /// Larger than the broker takes.
    pub const TOO_LARGE: &'static str = "client.too-large";
    /// An answer that this version does not understand.
    pub const ANSWER: &'static str = "client.answer";
    /// Too many requests wait for answers.
    pub const BUSY: &'static str = "client.busy";
    /// The broker serves no requests or no private messages to this session.
    pub const UNSUPPORTED: &'static str = "client.unsupported";

    /// A refusal.
    pub fn new(code: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self { code: code.into(), reason: reason.into() }
    }

    /// Whether this side gave it, and not the broker.
    pub fn is_local(&self) -> bool {
        self.code.starts_with("client.")
    }

    /// Whether it cannot be known if the broker carried it out.
    pub fn is_uncertain(&self) -> bool {
        matches!(&*self.code, Self::INTERRUPTED | Self::TIMED_OUT)
    }

    pub(crate) fn closed() -> Self {
        Self::new(Self::CLOSED, "the client is closed")
    }

    pub(crate) fn argument(reason: impl Into<String>) -> Self {
        Self::new(Self::ARGUMENT, reason)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason.is_empty() {
            f.write_str(&self.code)
        } else {
            write!(f, "{} ({})", self.reason, self.code)
        }
    }
}

impl std::error::Error for Refusal {}
