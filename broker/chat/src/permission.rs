//! Who may do what in a place: the one function that every path asks, packets, wills, requests, replay and search alike.
//!
//! Everything here is a pure function of a place's rules, of how somebody stands there, and of what kind of user it is.

use crate::code::Code;

/// What kind of user somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UserKind {
    /// Without a name of its own choice: named by the broker, as long as its session lives.
    Guest,
    /// Under a name that was free, without a password.
    Anonymous,
    /// With an account.
    Registered,
}

/// Who finds a place, and who gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Listed, and open to everybody.
    Public,
    /// Listed, and open to who knows the password or is invited.
    Private,
    /// Not listed, and to who may not see it the same as one that does not exist.
    Secret,
}

/// What holds for everybody in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceRules {
    /// Who finds it and gets in.
    pub visibility: Visibility,
    /// A membership that lasts until one leaves (a group, or the two of a pair), and not only as long as one is there.
    pub is_group: bool,
    /// The private messages of two users.
    pub is_pair: bool,
    /// Neither guests nor anonymous users.
    pub registered_only: bool,
    /// Only moderators and the owner speak.
    pub read_only: bool,
    /// Messages kept at most; 0 is all.
    pub history_messages: u64,
    /// How long messages are kept, in milliseconds; 0 is for ever.
    pub history_ms: u64,
    /// Bytes of messages kept at most; 0 is all.
    pub history_bytes: u64,
}

/// What somebody is in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// In it.
    Member,
    /// May mute, kick, ban, invite, pin and delete.
    Moderator,
    /// May everything.
    Owner,
}

/// How somebody stands in a place. Nobody special has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// What somebody is; `None` for who is not in.
    pub role: Option<Role>,
    /// Kept out.
    pub is_banned: bool,
    /// May read and not speak.
    pub is_muted: bool,
    /// May enter without a password.
    pub is_invited: bool,
}

/// What somebody wants to do in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deed {
    /// Know that it exists, and read what is told of it: its info and members.
    Find,
    /// Become a member; whether the right password was given.
    Enter {
        /// Whether it was.
        with_password: bool,
    },
    /// Read its messages: live, replayed, searched, or by request.
    Read,
    /// Say something: a message, an event on an own message, a reaction, typing.
    Say,
    /// Set one's own read marker.
    Mark,
    /// Post on its board.
    Post,
    /// Edit somebody's message; whether it is one's own.
    Edit {
        /// Whether it is.
        own: bool,
    },
    /// Delete somebody's message or post; whether it is one's own.
    Delete {
        /// Whether it is.
        own: bool,
    },
    /// Pin or unpin a message.
    Pin,
    /// Invite somebody.
    Invite,
    /// Remove, mute or ban somebody who stands there like this.
    Remove {
        /// The other's role.
        other: Option<Role>,
    },
    /// Change the subject.
    Describe,
    /// Change its settings, its moderators or its owner, or delete the place.
    Own,
}

/// Whether somebody may do something in a place.
///
/// # Errors
/// The code that says why not. Who may not find a secret place gets the code of one that does not exist.
pub fn permits(
    deed: Deed,
    rules: &PlaceRules,
    standing: Option<Standing>,
    kind: UserKind,
) -> Result<(), Code> {
    let standing = standing.unwrap_or_default();
    let role = standing.role;
    let is_in = role.is_some();
    let is_open = rules.visibility == Visibility::Public && !rules.is_pair;
    if !is_in && !standing.is_invited && (rules.visibility == Visibility::Secret || rules.is_pair) {
        let enters = matches!(deed, Deed::Enter { with_password: true }) && !rules.is_pair;
        if !enters {
            let missing = if rules.is_pair { Code::UserNotFound } else { Code::not_found(rules.is_group) };
            return Err(missing);
        }
    }
    if deed == Deed::Find {
        return Ok(());
    }
    if standing.is_banned {
        return Err(Code::Banned);
    }
    if rules.registered_only && kind != UserKind::Registered {
        return Err(Code::RegisteredOnly);
    }
    match deed {
        Deed::Find => Ok(()),
        Deed::Enter { with_password } => match rules.visibility {
            _ if is_in || is_open || with_password || standing.is_invited => Ok(()),
            _ => Err(Code::WrongPassword),
        },
        // A place that is open can be read and spoken in without being entered first; a group has members.
        Deed::Read | Deed::Mark if is_in || (is_open && !rules.is_group) => Ok(()),
        Deed::Say | Deed::Post if is_in || (is_open && !rules.is_group) => match role {
            _ if standing.is_muted => Err(Code::Muted),
            Some(Role::Moderator | Role::Owner) => Ok(()),
            _ if rules.read_only => Err(Code::ReadOnly),
            _ => Ok(()),
        },
        Deed::Edit { own: true } | Deed::Delete { own: true } if is_in || (is_open && !rules.is_group) => {
            if standing.is_muted {
                Err(Code::Muted)
            } else {
                Ok(())
            }
        }
        // A pair has no moderators: each of the two may.
        Deed::Pin if rules.is_pair && is_in => Ok(()),
        Deed::Delete { own: false } | Deed::Pin | Deed::Describe => at_least(role, Role::Moderator),
        // Whoever is in a group may bring somebody along; a room that is open needs no invitation.
        Deed::Invite if is_in => Ok(()),
        Deed::Remove { other } => match role {
            Some(Role::Owner) if other != Some(Role::Owner) => Ok(()),
            Some(Role::Moderator) if other < Some(Role::Moderator) => Ok(()),
            _ => Err(Code::NotModerator),
        },
        Deed::Own if role == Some(Role::Owner) => Ok(()),
        Deed::Own => Err(Code::NotOwner),
        Deed::Edit { own: false } => Err(Code::NotYours),
        _ => Err(Code::NotMember),
    }
}

fn at_least(role: Option<Role>, least: Role) -> Result<(), Code> {
    if role >= Some(least) { Ok(()) } else { Err(Code::NotModerator) }
}

#[cfg(test)]
mod tests;
