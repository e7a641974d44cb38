//! What several requests check and carry in the same way.

use crate::{code::Code, permission::Visibility};
use serde::{Deserialize, Deserializer, Serialize};

/// Checks a text field: at most so many bytes, no control characters other than line feed and tab.
///
/// # Errors
/// [`Code::BadField`].
pub fn check_text(text: &str, bytes_max: usize) -> Result<(), Code> {
    let bad = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.len() > bytes_max || text.chars().any(bad) { Err(Code::BadField) } else { Ok(()) }
}

pub(super) fn check_optional(text: Option<&str>, bytes_max: usize) -> Result<(), Code> {
    text.map_or(Ok(()), |text| check_text(text, bytes_max))
}

pub(super) fn check_password(password: &str) -> Result<(), Code> {
    if password.is_empty() || password.len() > super::PASSWORD_BYTES {
        Err(Code::LoginBadPassword)
    } else {
        Ok(())
    }
}

pub(super) fn check_number(number: Option<u64>) -> Result<(), Code> {
    if number.is_some_and(|number| number > super::NUMBER_MAX) { Err(Code::BadField) } else { Ok(()) }
}

pub(super) fn check_count(count: Option<u32>, most: u32) -> Result<(), Code> {
    if count.is_some_and(|count| count == 0 || count > most) { Err(Code::BadField) } else { Ok(()) }
}

/// A field that may be absent, `null` or there: `None`, `Some(None)`, `Some(Some(_))`.
pub(super) fn nullable<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(from).map(Some)
}

pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}

/// [`Visibility`] as it stands in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visible {
    /// Listed and open.
    Public,
    /// Listed; a password or an invitation is needed.
    Private,
    /// Not listed.
    Secret,
}

impl From<Visible> for Visibility {
    fn from(visible: Visible) -> Self {
        match visible {
            Visible::Public => Self::Public,
            Visible::Private => Self::Private,
            Visible::Secret => Self::Secret,
        }
    }
}

impl From<Visibility> for Visible {
    fn from(visibility: Visibility) -> Self {
        match visibility {
            Visibility::Public => Self::Public,
            Visibility::Private => Self::Private,
            Visibility::Secret => Self::Secret,
        }
    }
}
