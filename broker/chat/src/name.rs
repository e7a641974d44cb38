//! Names of users and rooms: each is one topic level. Two that differ in nothing but case, width or composition are the
//! same name, and have the same key.
//!
//! Invariant: a checked name holds no `/`, `+`, `#`, white space or control character, so that it can stand in a topic
//! and in a filter as one level, and on a line of any text protocol.

use precis_profiles::precis_core::profile::PrecisFastInvocation;
use precis_profiles::{Nickname, UsernameCaseMapped, UsernameCasePreserved};

/// Longest user name in bytes.
pub const USER_NAME_BYTES: usize = 64;
/// Longest room or group name in bytes.
pub const ROOM_NAME_BYTES: usize = 256;

/// The name that the broker itself speaks under; nobody else can have it.
pub const BROKER: &str = "katydid";

/// What stands for somebody whose messages were erased: nobody can have it, and no guest is given it.
pub const ERASED: &str = "guest-erased";

/// Why a name is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// Nothing there.
    Empty,
    /// More than [`USER_NAME_BYTES`] or [`ROOM_NAME_BYTES`].
    TooLong,
    /// A separator, a wildcard, white space or a control character.
    Character,
}

/// Checks a user name.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_user(name: &str) -> Result<(), NameError> {
    check(name, USER_NAME_BYTES)
}

/// Checks the name of a room or a group.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_room(name: &str) -> Result<(), NameError> {
    check(name, ROOM_NAME_BYTES)
}

/// What a user name is compared by: RFC 8265, UsernameCaseMapped. A name that is not in the form that
/// UsernameCasePreserved gives it is no name: it would have two spellings on the wire.
///
/// # Errors
/// Says what is wrong with the name.
pub fn user_key(name: &str) -> Result<String, NameError> {
    check_user(name)?;
    if name.is_ascii() {
        return Ok(name.to_ascii_lowercase());
    }
    match UsernameCasePreserved::enforce(name) {
        Ok(enforced) if enforced == name => {}
        _ => return Err(NameError::Character),
    }
    UsernameCaseMapped::enforce(name).map(|key| key.into_owned()).map_err(|_| NameError::Character)
}

/// What the name of a room or a group is compared by: RFC 8266, and lower case where that does not know a character.
///
/// # Errors
/// Says what is wrong with the name.
pub fn room_key(name: &str) -> Result<String, NameError> {
    check_room(name)?;
    if name.is_ascii() {
        return Ok(name.to_ascii_lowercase());
    }
    match Nickname::enforce(name) {
        Ok(key) => Ok(key.to_lowercase()),
        Err(_) => Ok(name.to_lowercase()),
    }
}

fn check(name: &str, longest: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > longest {
        return Err(NameError::TooLong);
    }
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'+' | b'#');
    if name.bytes().all(plain) {
        return Ok(());
    }
    let bad = |c: char| matches!(c, '/' | '+' | '#') || c.is_whitespace() || c.is_control();
    if name.chars().any(bad) { Err(NameError::Character) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_the_same_have_one_key() {
        assert_eq!(user_key("Ann"), Ok("ann".to_owned()));
        assert_eq!(user_key("ÜNÏ"), user_key("ünï"));
        assert_eq!(user_key("u\u{308}ni"), Err(NameError::Character), "not composed");
        assert_eq!(user_key("ａnn"), Err(NameError::Character), "full width");
        assert_eq!(user_key("♥"), Err(NameError::Character), "a symbol is no identifier");
        assert_eq!(room_key("♥Jazz"), Ok("♥jazz".to_owned()));
        assert_eq!(room_key("u\u{308}ni"), room_key("Üni"));
        assert_eq!(room_key("a b"), Err(NameError::Character));
    }

    #[test]
    fn names_are_one_topic_level_without_space() {
        for good in ["ann", "Ünï", "日本", "$dollar", "a.b-c_d"] {
            assert_eq!(check_user(good), Ok(()), "{good}");
        }
        for bad in ["a/b", "+", "a#", "a b", "a\tb", "a\u{0}b", "a\u{a0}b", "a\u{85}b"] {
            assert_eq!(check_room(bad), Err(NameError::Character), "{bad:?}");
        }
        assert_eq!(check_user(""), Err(NameError::Empty));
        assert_eq!(check_user(&"x".repeat(65)), Err(NameError::TooLong));
        assert_eq!(check_room(&"x".repeat(256)), Ok(()));
    }
}
