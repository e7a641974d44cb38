//! How a place is entered: what is wanted of it, and from where on.

use crate::Secret;
use std::time::{Duration, SystemTime};

/// Where what is said in a place starts for who joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replay {
    /// As the broker is configured: its last 20 messages unless it says otherwise; for who is in already, nothing again.
    #[default]
    Default,
    /// What is said from now on.
    Live,
    /// The last so many.
    Last(u32),
    /// All after a number; 0 is everything.
    Since(u64),
    /// All at or after a time.
    SinceTime(SystemTime),
    /// All of so long.
    SinceAgo(Duration),
}

/// What of a place is wanted. Each thing that is not wanted is not sent by the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// Who types.
    pub typing: bool,
    /// Read markers.
    pub read: bool,
    /// Who is here.
    pub presence: bool,
    /// What the place is: owner, subject, members.
    pub info: bool,
    /// Posts on the board of a group.
    pub posts: bool,
}

impl Interest {
    /// Messages and changes of them, and nothing else.
    pub const TALK: Self = Self { typing: false, read: false, presence: false, info: false, posts: false };
    /// Everything.
    pub const ALL: Self = Self { typing: true, read: true, presence: true, info: true, posts: true };
}

/// How a place is joined.
#[derive(Debug, Clone)]
pub struct Join {
    /// From where on.
    pub replay: Replay,
    /// What is wanted.
    pub interest: Interest,
    /// Whether what this session says comes back to it as an event, in its place among the others.
    pub echo: bool,
    /// The password of a private room.
    pub password: Option<Secret>,
}

impl Join {
    /// Everything, with what oneself says.
    pub fn new(replay: Replay) -> Self {
        Self { replay, interest: Interest::ALL, echo: true, password: None }
    }

    /// Messages and changes of them only.
    #[must_use]
    pub fn talk_only(mut self) -> Self {
        self.interest = Interest::TALK;
        self
    }

    /// Without what this session says itself.
    #[must_use]
    pub fn without_echo(mut self) -> Self {
        self.echo = false;
        self
    }

    /// With the password of a private room.
    #[must_use]
    pub fn password(mut self, password: Secret) -> Self {
        self.password = Some(password);
        self
    }
}
