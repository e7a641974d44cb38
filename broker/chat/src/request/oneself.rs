//! Requests about oneself: who one is, one's account, profile, tokens and presence.

use super::fields::{check_number, check_optional, check_password, check_text, is_false};
use super::{Ask, Done};
use crate::code::Code;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// What kind of user, in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Named by the broker.
    Guest,
    /// Without a password.
    Anonymous,
    /// With an account.
    Registered,
}

/// How present a user is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A session is connected and not away.
    Online,
    /// All sessions that are connected are away.
    Away,
    /// Sessions wait, and none is connected.
    Asleep,
    /// No session.
    #[default]
    Offline,
}

/// `whoami`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhoAmI {}

/// The answer to [`WhoAmI`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Myself {
    /// One's name.
    pub user: String,
    /// What kind of user.
    pub kind: Kind,
    /// The number of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// How present.
    pub state: State,
    /// Status text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How many rooms one is in.
    pub rooms: u64,
    /// How many groups.
    pub groups: u64,
}

impl Ask for WhoAmI {
    const VERB: &'static str = "whoami";
    type Answer = Myself;
}

/// `register`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
    /// E-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Name for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
    /// What the operator gave out, where registering takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The answer to [`Register`] and to [`super::UserAdd`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The name in its spelling.
    pub user: String,
    /// The number of the account.
    pub number: u64,
}

impl Ask for Register {
    const VERB: &'static str = "register";
    type Answer = Registered;

    fn check(&self) -> Result<(), Code> {
        check_password(&self.password)?;
        check_optional(self.email.as_deref(), 254)?;
        check_optional(self.display.as_deref(), 128)?;
        check_optional(self.token.as_deref(), 256)
    }
}

/// `unregister`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unregister {}

impl Ask for Unregister {
    const VERB: &'static str = "unregister";
    type Answer = Done;
}

/// `password`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Password {
    /// The old one.
    pub old: String,
    /// The new one.
    pub new: String,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password { .. }")
    }
}

impl Ask for Password {
    const VERB: &'static str = "password";
    type Answer = Done;

    fn check(&self) -> Result<(), Code> {
        check_password(&self.old)?;
        check_password(&self.new)
    }
}

/// `token/create`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenCreate {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Seconds after which it is worth nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry_secs: Option<u64>,
}

/// The answer to [`TokenCreate`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCreated {
    /// In place of the password.
    pub token: String,
    /// Its name.
    pub key: String,
}

impl fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCreated").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Ask for TokenCreate {
    const VERB: &'static str = "token/create";
    type Answer = TokenCreated;

    fn check(&self) -> Result<(), Code> {
        check_number(self.expiry_secs)?;
        check_optional(self.label.as_deref(), 64)
    }
}

/// `token/list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenList {}

/// The answer to [`TokenList`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// All there are.
    pub tokens: Vec<TokenInfo>,
}

/// A token, without itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenInfo {
    /// Its name.
    pub key: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Time it was made at.
    pub created: String,
    /// Time from which it is worth nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl Ask for TokenList {
    const VERB: &'static str = "token/list";
    type Answer = Tokens;
}

/// `token/revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRevoke {
    /// Its name.
    pub key: String,
}

impl Ask for TokenRevoke {
    const VERB: &'static str = "token/revoke";
    type Answer = Done;
}

/// `profile/get`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileGet {
    /// Whose, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whose, by the number of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

/// A profile: the answer to [`ProfileGet`] and [`ProfileSet`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The name.
    pub user: String,
    /// What kind of user.
    pub kind: Kind,
    /// The number of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Name for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
    /// For the user and the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whatever else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// Time of registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Last time a connection ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// How present.
    pub state: State,
    /// Status text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// For the user and the operator: private messages go once they are delivered.
    #[serde(default, skip_serializing_if = "is_false")]
    pub delete_on_delivery: bool,
}

impl Ask for ProfileGet {
    const VERB: &'static str = "profile/get";
    type Answer = Profile;

    fn check(&self) -> Result<(), Code> {
        if self.user.is_some() && self.number.is_some() { Err(Code::BadField) } else { Ok(()) }
    }
}

/// `profile/set`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileSet {
    /// Name for display; empty takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
    /// E-mail address; empty takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Fields to change; `None` takes one away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Option<String>>,
    /// Private messages go once they are delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_on_delivery: Option<bool>,
}

/// Fields of a profile at most.
pub const PROFILE_FIELDS: usize = 16;

impl Ask for ProfileSet {
    const VERB: &'static str = "profile/set";
    type Answer = Profile;

    fn check(&self) -> Result<(), Code> {
        check_optional(self.display.as_deref(), 128)?;
        check_optional(self.email.as_deref(), 254)?;
        for (key, value) in &self.fields {
            check_text(key, 32)?;
            check_optional(value.as_deref(), 512)?;
        }
        Ok(())
    }
}

/// `presence/set`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresenceSet {
    /// `online` or `away`, of this session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Status text of the user; empty takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The answer to [`PresenceSet`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// How present the user is now, over all sessions.
    pub state: State,
    /// Status text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Ask for PresenceSet {
    const VERB: &'static str = "presence/set";
    type Answer = Present;

    fn check(&self) -> Result<(), Code> {
        if matches!(self.state, Some(State::Asleep | State::Offline)) {
            return Err(Code::BadField);
        }
        check_optional(self.text.as_deref(), 256)
    }
}
