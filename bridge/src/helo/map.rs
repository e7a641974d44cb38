//! The `HELO` protocol's names and answers for what the broker says.

use crate::{chat::Refusal, flow, names::Alphabet};

/// Longest login in bytes: the broker's.
const LONGEST_NAME: usize = 64;

/// Widest text of one line in bytes; a longer one becomes several lines.
const WIDEST: usize = 4096;

/// Users as this protocol can say them (`[A-Za-z0-9_]+`).
pub(super) const NAMES: Alphabet = Alphabet {
    longest: LONGEST_NAME,
    counts: char::len_utf8,
    allows: |character| character.is_ascii_alphanumeric() || character == '_',
    instead: '_',
    mark: '_',
    reserved: &[],
};

/// Whether a login is one ("only characters, numbers and underscores are allowed").
pub(super) fn is_login(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(NAMES.allows)
}

pub(super) const BAD_LOGIN: &str =
    "-ERR username has an invalid format (only characters, numbers and underscores are allowed)";
pub(super) const LOGIN_USED: &str = "-ERR user already logged in";
pub(super) const NO_SUCH_USER: &str = "-SOFT_ERR no such user!";
pub(super) const NO_SUCH_GROUP: &str = "-SOFT_ERR no such group!";

/// Why a login was refused; the connection ends with it.
pub(super) fn login_refused(refusal: &Refusal) -> String {
    match refusal.code.as_str() {
        "name.invalid" | "name.too-long" => BAD_LOGIN.into(),
        code if code.starts_with("login.") || code.starts_with("name.") => LOGIN_USED.into(),
        _ => format!("-ERR {}", reason(refusal)),
    }
}

/// The answer to a private message, a request for a key or a file that could not be passed on.
pub(super) fn user_refused(refusal: &Refusal) -> String {
    match refusal.code.as_str() {
        "user.not-found" | "user.offline" | "name.invalid" | "name.too-long" | "name.spelling" => {
            NO_SUCH_USER.into()
        }
        _ => soft(refusal),
    }
}

/// The answer to a command about a group that could not be carried out.
pub(super) fn group_refused(refusal: &Refusal) -> String {
    let words = match refusal.code.as_str() {
        "group.not-found" | "room.not-found" | "name.spelling" => return NO_SUCH_GROUP.into(),
        "group.exists" | "room.exists" => "a group with that name already exists!",
        "room.already-member" => "you are already a member of that group!",
        "room.banned" => "you are banned from that group!",
        "room.not-member" => "you are not a member of that group!",
        "room.owner-stays" => "you are an admin, you can't leave the group!",
        "room.not-moderator" | "room.not-owner" => "you are not allowed to kick members out that group!",
        _ => return soft(refusal),
    };
    format!("-SOFT_ERR {words}")
}

/// An answer to whatever the document has none for.
pub(super) fn soft(refusal: &Refusal) -> String {
    format!("-SOFT_ERR {}", reason(refusal))
}

fn reason(refusal: &Refusal) -> String {
    match refusal.code.as_str() {
        Refusal::LOST => "the server is away, please try again".into(),
        Refusal::FULL => "too much waits for the server, please try again".into(),
        _ => flow::line(&refusal.reason),
    }
}

/// A text behind the beginning of a line, as many lines as it takes.
pub(super) fn lines(head: &str, text: &[u8]) -> Vec<Vec<u8>> {
    let line = |text: Vec<u8>| [head.as_bytes(), &text, b"\n"].concat();
    texts(text).into_iter().map(line).collect()
}

/// A text cut to what one line may hold.
pub(super) fn texts(text: &[u8]) -> Vec<Vec<u8>> {
    flow::lines(text, WIDEST, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_characters_numbers_and_underscores() {
        assert!(is_login("Ann_7") && is_login(&"x".repeat(64)));
        for wrong in ["", "a b", "a-b", "\u{e4}", "a\r", &"x".repeat(65)] {
            assert!(!is_login(wrong), "{wrong}");
        }
    }

    #[test]
    fn no_text_begins_another_line_of_the_protocol() {
        assert_eq!(lines("BCST [ann] ", b"hi\r\n-ERR x"), [&b"BCST [ann] hi\n"[..], b"BCST [ann] -ERR x\n"]);
    }
}
