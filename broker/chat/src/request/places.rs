//! Requests about rooms and groups. Each verb stands below `room/` and below `group/`.

use super::fields::{Visible, check_count, check_number, check_optional, is_false, nullable};
use super::{Ask, Done, LIST_ENTRIES, People, Person};
use crate::{code::Code, permission::Role};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What somebody is in a place, in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// In it.
    Member,
    /// A moderator.
    Moderator,
    /// The owner.
    Owner,
}

impl From<Role> for Standing {
    fn from(role: Role) -> Self {
        match role {
            Role::Member => Self::Member,
            Role::Moderator => Self::Moderator,
            Role::Owner => Self::Owner,
        }
    }
}

/// What of the log is kept; 0 is all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kept {
    /// Messages at most.
    pub messages: u64,
    /// Seconds at most.
    pub age_secs: u64,
    /// Bytes at most.
    pub bytes: u64,
}

/// A room or a group, as whoever may find it sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceInfo {
    /// `room/{name}` or `group/{name}`.
    pub place: String,
    /// The name.
    pub name: String,
    /// Unique for ever.
    pub number: u64,
    /// Who owns it.
    pub owner: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Who finds it and gets in.
    pub visibility: Visible,
    /// Whether it has a password.
    pub has_password: bool,
    /// Neither guests nor anonymous users.
    pub registered_only: bool,
    /// Only moderators and the owner speak.
    pub read_only: bool,
    /// How many are in it.
    pub members: u64,
    /// How many of them are connected.
    pub present: u64,
    /// Posts on its board.
    pub posts: u64,
    /// Members at most; 0 is no limit.
    pub limit: u64,
    /// What is kept.
    pub history: Kept,
    /// Seconds unused after which it deletes itself; 0 is never.
    pub expiry_secs: u64,
    /// Seconds that are left; 0 in use and for ever.
    pub expires_in_secs: u64,
    /// Time it was made at.
    pub created: String,
    /// What the asker is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Standing>,
    /// Whether the asker is invited.
    #[serde(default, skip_serializing_if = "is_false")]
    pub invited: bool,
}

/// Places: the answer to [`List`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// By name.
    pub places: Vec<PlaceInfo>,
    /// Whether there is another page.
    pub more: bool,
}

/// `{root}/create`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Create {
    /// The name; without it the broker makes one that nobody guesses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who finds it and gets in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visible>,
    /// The password of a private or secret place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Neither guests nor anonymous users.
    #[serde(skip_serializing_if = "is_false")]
    pub registered_only: bool,
    /// Only moderators and the owner speak.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// Members at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Kept>,
    /// Seconds unused after which it deletes itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_secs: Option<u64>,
    /// Who is in it from the start, beside the owner (groups).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
}

impl fmt::Debug for Create {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Create").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Longest expiry in seconds: a hundred years.
pub const EXPIRY_SECS: u64 = 100 * 365 * 24 * 60 * 60;
/// Longest subject in bytes.
pub const SUBJECT_BYTES: usize = 1024;
/// Users named in one request at most.
pub const NAMED_USERS: usize = 100;

fn check_settings(
    password: Option<&str>,
    subject: Option<&str>,
    limit: Option<u64>,
    history: Option<Kept>,
    expiry_secs: Option<u64>,
) -> Result<(), Code> {
    if password.is_some_and(|password| password.is_empty() || password.len() > super::PASSWORD_BYTES) {
        return Err(Code::BadField);
    }
    check_optional(subject, SUBJECT_BYTES)?;
    let kept = history.unwrap_or_default();
    for number in [limit, Some(kept.messages), Some(kept.bytes)] {
        check_number(number)?;
    }
    if kept.age_secs > EXPIRY_SECS || expiry_secs.is_some_and(|secs| secs > EXPIRY_SECS) {
        return Err(Code::BadField);
    }
    Ok(())
}

impl Ask for Create {
    const VERB: &'static str = "create";
    type Answer = PlaceInfo;

    fn check(&self) -> Result<(), Code> {
        if self.members.len() > NAMED_USERS {
            return Err(Code::BadField);
        }
        let (password, subject) = (self.password.as_deref(), self.subject.as_deref());
        check_settings(password, subject, self.limit, self.history, self.expiry_secs)
    }
}

/// `{root}/delete`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delete {
    /// Which one.
    pub name: String,
    /// Only where nobody else is in it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub if_empty: bool,
}

impl Ask for Delete {
    const VERB: &'static str = "delete";
    type Answer = Done;
}

/// `{root}/join`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// Which one.
    pub name: String,
    /// Its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl fmt::Debug for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Ask for Join {
    const VERB: &'static str = "join";
    type Answer = PlaceInfo;

    fn check(&self) -> Result<(), Code> {
        if self.password.as_ref().is_some_and(|password| password.len() > super::PASSWORD_BYTES) {
            return Err(Code::BadField);
        }
        Ok(())
    }
}

/// `{root}/leave`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leave {
    /// Which one.
    pub name: String,
}

impl Ask for Leave {
    const VERB: &'static str = "leave";
    type Answer = Done;
}

/// `{root}/list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    /// Only those that one is in.
    #[serde(skip_serializing_if = "is_false")]
    pub mine: bool,
    /// The last name of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

impl Ask for List {
    const VERB: &'static str = "list";
    type Answer = Places;

    fn check(&self) -> Result<(), Code> {
        check_optional(self.after.as_deref(), 256)?;
        check_count(self.count, LIST_ENTRIES)
    }
}

/// `{root}/info`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Info {
    /// Which one, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which one, by number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

impl Ask for Info {
    const VERB: &'static str = "info";
    type Answer = PlaceInfo;

    fn check(&self) -> Result<(), Code> {
        if self.name.is_some() == self.number.is_some() { Err(Code::BadField) } else { Ok(()) }
    }
}

/// `{root}/members`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Members {
    /// Which one.
    pub name: String,
    /// The last name of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// The answer to [`Members`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberList {
    /// By name.
    pub users: Vec<Person>,
    /// Whether there is another page.
    pub more: bool,
    /// Who is banned, for who is in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub banned: Vec<String>,
    /// Who is invited, for who is in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invited: Vec<String>,
}

impl From<MemberList> for People {
    fn from(list: MemberList) -> Self {
        Self { users: list.users, more: list.more }
    }
}

impl Ask for Members {
    const VERB: &'static str = "members";
    type Answer = MemberList;

    fn check(&self) -> Result<(), Code> {
        check_optional(self.after.as_deref(), 256)?;
        check_count(self.count, LIST_ENTRIES)
    }
}

/// `{root}/invite`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// Which one.
    pub name: String,
    /// Whom.
    pub user: String,
    /// In at once (groups).
    #[serde(default, skip_serializing_if = "is_false")]
    pub add: bool,
}

impl Ask for Invite {
    const VERB: &'static str = "invite";
    type Answer = Done;
}

/// `{root}/kick`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kick {
    /// Which one.
    pub name: String,
    /// Whom.
    pub user: String,
    /// And banned.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ban: bool,
}

impl Ask for Kick {
    const VERB: &'static str = "kick";
    type Answer = Done;
}

macro_rules! about_somebody_there {
    ($($(#[$doc:meta])* $name:ident = $verb:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Which one.
            pub name: String,
            /// Whom.
            pub user: String,
        }

        impl Ask for $name {
            const VERB: &'static str = $verb;
            type Answer = Done;
        }
    )+};
}

about_somebody_there! {
    /// `{root}/ban`.
    Ban = "ban";
    /// `{root}/unban`.
    Unban = "unban";
    /// `{root}/mute`.
    Mute = "mute";
    /// `{root}/unmute`.
    Unmute = "unmute";
}

/// `{root}/moderators`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moderators {
    /// Which one.
    pub name: String,
    /// Who becomes one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<String>,
    /// Who is none any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// The answer to [`Moderators`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeratorList {
    /// All there are now, without the owner.
    pub moderators: Vec<String>,
}

impl Ask for Moderators {
    const VERB: &'static str = "moderators";
    type Answer = ModeratorList;

    fn check(&self) -> Result<(), Code> {
        if self.add.len() > NAMED_USERS || self.remove.len() > NAMED_USERS {
            return Err(Code::BadField);
        }
        Ok(())
    }
}

/// `{root}/settings`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Which one.
    pub name: String,
    /// Who finds it and gets in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visible>,
    /// The password; `Some(None)` takes it away.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub password: Option<Option<String>>,
    /// What it is about; empty takes it away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Neither guests nor anonymous users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered_only: Option<bool>,
    /// Only moderators and the owner speak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// Members at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Kept>,
    /// Seconds unused after which it deletes itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_secs: Option<u64>,
    /// Who owns it from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Ask for Settings {
    const VERB: &'static str = "settings";
    type Answer = PlaceInfo;

    fn check(&self) -> Result<(), Code> {
        let password = self.password.as_ref().and_then(|password| password.as_deref());
        check_settings(password, self.subject.as_deref(), self.limit, self.history, self.expiry_secs)
    }
}
