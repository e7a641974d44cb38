//! The codes of refusals (`topics.md`): stable, and rich enough for every error of every legacy protocol.

/// Why something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// `room.not-found`: there is no such room, or it is none of the asker's business.
    RoomNotFound,
    /// `group.not-found`: the same for a group.
    GroupNotFound,
    /// `room.wrong-password`: a private place, and neither password nor invitation.
    WrongPassword,
    /// `room.banned`.
    Banned,
    /// `room.muted`.
    Muted,
    /// `room.read-only`.
    ReadOnly,
    /// `room.registered-only`.
    RegisteredOnly,
    /// `room.not-member`.
    NotMember,
    /// `room.not-moderator`.
    NotModerator,
    /// `room.not-owner`.
    NotOwner,
    /// `message.not-yours`.
    NotYours,
}

impl Code {
    /// The code of a place that is not there.
    pub fn not_found(is_group: bool) -> Self {
        if is_group { Self::GroupNotFound } else { Self::RoomNotFound }
    }

    /// As it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoomNotFound => "room.not-found",
            Self::GroupNotFound => "group.not-found",
            Self::WrongPassword => "room.wrong-password",
            Self::Banned => "room.banned",
            Self::Muted => "room.muted",
            Self::ReadOnly => "room.read-only",
            Self::RegisteredOnly => "room.registered-only",
            Self::NotMember => "room.not-member",
            Self::NotModerator => "room.not-moderator",
            Self::NotOwner => "room.not-owner",
            Self::NotYours => "message.not-yours",
        }
    }
}
