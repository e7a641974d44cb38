//! Requests of the operator, over the control socket.

use super::fields::{check_count, check_optional, check_password, is_false};
use super::{Ask, Done, LIST_ENTRIES, Registered};
use crate::code::Code;
use serde::{Deserialize, Serialize};
use std::fmt;

/// `user/add`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserAdd {
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
}

impl fmt::Debug for UserAdd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserAdd").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Ask for UserAdd {
    const VERB: &'static str = "user/add";
    type Answer = Registered;

    fn check(&self) -> Result<(), Code> {
        check_password(&self.password)?;
        check_optional(self.email.as_deref(), 254)?;
        check_optional(self.display.as_deref(), 128)
    }
}

/// `user/passwd`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserPasswd {
    /// The name.
    pub name: String,
    /// The new password.
    pub password: String,
}

impl fmt::Debug for UserPasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserPasswd").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Ask for UserPasswd {
    const VERB: &'static str = "user/passwd";
    type Answer = Done;

    fn check(&self) -> Result<(), Code> {
        check_password(&self.password)
    }
}

macro_rules! about_account {
    ($($(#[$doc:meta])* $name:ident = $verb:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// The name.
            pub name: String,
        }

        impl Ask for $name {
            const VERB: &'static str = $verb;
            type Answer = Done;
        }
    )+};
}

about_account! {
    /// `user/remove`.
    UserRemove = "user/remove";
    /// `user/erase`.
    UserErase = "user/erase";
    /// `user/block`.
    UserBlock = "user/block";
    /// `user/unblock`.
    UserUnblock = "user/unblock";
}

/// `user/erasing`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserErasing {
    /// The name.
    pub name: String,
}

/// How far an erasure is: the answer to [`UserErasing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasing {
    /// Whether it goes on.
    pub erasing: bool,
}

impl Ask for UserErasing {
    const VERB: &'static str = "user/erasing";
    type Answer = Erasing;
}

/// `user/list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserList {
    /// The last name of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// An account, as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountInfo {
    /// The name.
    pub user: String,
    /// The number.
    pub number: u64,
    /// E-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Name for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
    /// Time of registration.
    pub created: String,
    /// Last time a connection ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// Where the last connection came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether it is kept out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub blocked: bool,
}

/// Accounts: the answer to [`UserList`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// By name.
    pub users: Vec<AccountInfo>,
    /// Whether there is another page.
    pub more: bool,
}

impl Ask for UserList {
    const VERB: &'static str = "user/list";
    type Answer = Accounts;

    fn check(&self) -> Result<(), Code> {
        check_optional(self.after.as_deref(), 256)?;
        check_count(self.count, LIST_ENTRIES)
    }
}
