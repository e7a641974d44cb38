//! Names of users and rooms: each is one topic level.
//!
//! Invariant: a checked name holds no `/`, `+`, `#`, white space or control character, so that it can stand in a topic
//! and in a filter as one level, and on a line of any text protocol.

/// Longest user name in bytes.
pub const USER_NAME_BYTES: usize = 64;
/// Longest room or group name in bytes.
pub const ROOM_NAME_BYTES: usize = 256;

/// The name that the broker itself speaks under; nobody else can have it.
pub const BROKER: &str = "katydid";

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
