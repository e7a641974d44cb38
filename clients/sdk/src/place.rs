//! Places where something is said, as users name them, and the topics below them.
//!
//! Invariant: a place holds names that the broker's rules for names allow, so that each is one topic level.

use crate::Refusal;
use katydid_chat::name::{NameError, check_room, check_user};
use std::{fmt, str::FromStr, sync::Arc};

/// A room, a group, or the private messages with a user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// `room/{name}`.
    Room(Arc<str>),
    /// `group/{name}`.
    Group(Arc<str>),
    /// The private messages with this user.
    User(Arc<str>),
}

impl Place {
    /// A room.
    ///
    /// # Errors
    /// [`Refusal::ARGUMENT`] when it is no name.
    pub fn room(name: &str) -> Result<Self, Refusal> {
        check_room(name).map_err(|error| bad_name(name, error))?;
        Ok(Self::Room(name.into()))
    }

    /// A group.
    ///
    /// # Errors
    /// [`Refusal::ARGUMENT`] when it is no name.
    pub fn group(name: &str) -> Result<Self, Refusal> {
        check_room(name).map_err(|error| bad_name(name, error))?;
        Ok(Self::Group(name.into()))
    }

    /// The private messages with a user.
    ///
    /// # Errors
    /// [`Refusal::ARGUMENT`] when it is no name.
    pub fn user(name: &str) -> Result<Self, Refusal> {
        check_user(name).map_err(|error| bad_name(name, error))?;
        Ok(Self::User(name.into()))
    }

    /// The name of the room, the group or the user.
    pub fn name(&self) -> &str {
        match self {
            Self::Room(name) | Self::Group(name) | Self::User(name) => name,
        }
    }

    /// `room`, `group` or `user`: the first level of its topics.
    pub fn root(&self) -> &'static str {
        match self {
            Self::Room(_) => "room",
            Self::Group(_) => "group",
            Self::User(_) => "user",
        }
    }

    /// The topic on which `me` publishes to a channel of the place, such as `msg` or `event`.
    pub fn topic(&self, channel: &str, me: &str) -> String {
        format!("{}/{}/{channel}/{me}", self.root(), self.name())
    }
}

/// `room/Home`, `group/x`, `user/bob`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.root(), self.name())
    }
}

/// Reads what [`Place`] displays; a name without a root is a room.
impl FromStr for Place {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        match text.split_once('/') {
            None => Self::room(text),
            Some(("room", name)) => Self::room(name),
            Some(("group", name)) => Self::group(name),
            Some(("user", name)) => Self::user(name),
            Some(_) => Err(Refusal::argument(format!("{text:?} is not room/NAME, group/NAME or user/NAME"))),
        }
    }
}

fn bad_name(name: &str, error: NameError) -> Refusal {
    let what = match error {
        NameError::Empty => "is empty",
        NameError::TooLong => "is too long",
        _ => "has a character that names can't have",
    };
    Refusal::argument(format!("the name {name:?} {what}"))
}
