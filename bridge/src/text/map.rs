//! The `#` protocol's numbers and names for what the broker says: status numbers for codes, names of at most 30 bytes,
//! rows of listings.

use crate::{
    names::{Alphabet, is_plain},
    requests::{Kind, Listed, Post},
    text::wire,
};

/// Longest name in bytes (Notes: "limited to 30 chars").
pub(super) const LONGEST_NAME: usize = 30;

/// A number of `error_def.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(pub i32);

impl Status {
    /// `NO_ERROR`
    pub(super) const OK: Self = Self(0);
    /// `UNKNOWN_ERROR`
    pub(super) const UNKNOWN: Self = Self(-1);
    /// `NOMEMORY_ERROR`: more than the server takes.
    pub(super) const NO_MEMORY: Self = Self(-2);
    /// `NOTFOUND_ERROR`
    pub(super) const NOT_FOUND: Self = Self(-3);
    /// `INVALIDNAME_ERROR`
    pub(super) const INVALID_NAME: Self = Self(-4);
    /// `NOTEMPTY_ERROR`
    pub(super) const NOT_EMPTY: Self = Self(-5);
    /// `ACCESS_NO_LOGIN`
    pub(super) const NO_LOGIN: Self = Self(3500);
    /// `ACCESS_NO_ANON`
    pub(super) const NO_ANON: Self = Self(3501);
    /// `ACCESS_WRONGCMD`
    pub(super) const WRONG_COMMAND: Self = Self(3502);
    /// `ACCESS_DELETIONSET`
    pub(super) const DELETION_SET: Self = Self(3503);
    /// `MESSAGE_NO_GROUP`
    pub(super) const NO_GROUP: Self = Self(3200);
    /// `MESSAGE_WRONGPASSWD`
    pub(super) const GROUP_WRONG_PASSWORD: Self = Self(3201);
    /// `ROOM_WRONGNAME`
    pub(super) const ROOM_WRONG_NAME: Self = Self(3100);
    /// `ROOM_WRONGPASSWD`
    pub(super) const ROOM_WRONG_PASSWORD: Self = Self(3101);
    /// `ROOM_NAME_USED`
    pub(super) const ROOM_NAME_USED: Self = Self(3102);
    /// `ROOM_NOTOWNER`
    pub(super) const ROOM_NOT_OWNER: Self = Self(3103);
    /// `LOGIN_NO_USER_TYPE`
    pub(super) const NO_USER_TYPE: Self = Self(3000);
    /// `LOGIN_REGD_WRONGNAME`
    pub(super) const REGD_WRONG_NAME: Self = Self(3001);
    /// `LOGIN_REGD_WRONGPASSWD`
    pub(super) const REGD_WRONG_PASSWORD: Self = Self(3002);
    /// `LOGIN_ANON_USED`
    pub(super) const ANON_USED: Self = Self(3003);
    /// `LOGIN_REGD_USED`
    pub(super) const REGD_USED: Self = Self(3004);
}

/// What a refused command was about: the same code has another number for a room than for a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// Signing in, and one's own account.
    Login,
    /// An account that is to be made.
    Account,
    /// A room by name.
    Room,
    /// A message group by name.
    Group,
    /// The room that one is in.
    ThisRoom,
    /// The group that one is in, or a message in it.
    ThisGroup,
    /// Another user.
    User,
}

/// The status for a code of the broker.
pub(super) fn status(code: &str, about: About) -> Status {
    match (about, code) {
        (_, "name.invalid" | "name.too-long" | "name.spelling" | "name.reserved") => Status::INVALID_NAME,
        (_, "room.registered-only" | "login.needed" | "login.anonymous-refused") => Status::NO_ANON,
        (_, "room.not-empty") => Status::NOT_EMPTY,
        (_, "room.too-many" | "room.full" | "board.full" | "message.too-long" | "request.too-long") => {
            Status::NO_MEMORY
        }
        (About::Login, "login.unknown-name") => Status::REGD_WRONG_NAME,
        (_, "login.wrong-password") => Status::REGD_WRONG_PASSWORD,
        (About::Account, "name.used" | "login.name-used") => Status::REGD_USED,
        (_, "login.registered-name") => Status::REGD_USED,
        (_, "login.name-used" | "name.used") => Status::ANON_USED,
        (About::Room, "room.not-found") => Status::ROOM_WRONG_NAME,
        (About::Room, "room.wrong-password") => Status::ROOM_WRONG_PASSWORD,
        (About::Group, "room.wrong-password") => Status::GROUP_WRONG_PASSWORD,
        (_, "room.exists" | "group.exists") => Status::ROOM_NAME_USED,
        (_, "room.not-owner" | "room.not-moderator" | "room.permanent") => Status::ROOM_NOT_OWNER,
        (About::ThisGroup, "room.not-member") => Status::NO_GROUP,
        // One is in it still, and it is going.
        (About::ThisRoom, "room.not-found") | (About::ThisGroup, "group.not-found") => Status::DELETION_SET,
        (About::User, "user.offline") => Status::NOT_FOUND,
        _ if code.ends_with(".not-found") => Status::NOT_FOUND,
        _ => Status::UNKNOWN,
    }
}

/// Users, rooms and groups as lines can hold them: one word that begins no frame and needs no quotes.
pub(super) const NAMES: Alphabet = Alphabet {
    longest: LONGEST_NAME,
    counts: char::len_utf8,
    allows: |character| is_plain(character) && !matches!(character, '"' | '\\' | '@' | '#'),
    instead: '_',
    mark: '~',
    reserved: &[],
};

/// `anon` or `regd`.
pub(super) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Registered => "regd",
        Kind::Anonymous | Kind::Guest => "anon",
    }
}

/// `<pub/priv> <anon/regd>` of a room or a group.
pub(super) fn access(place: &Listed) -> &'static str {
    match (place.is_private, place.is_registered_only) {
        (false, false) => "pub anon",
        (false, true) => "pub regd",
        (true, false) => "priv anon",
        (true, true) => "priv regd",
    }
}

/// `<message name> <owner> <id> <parent id> <no of replies> <terminate time>`.
pub(super) fn message_row(post: &Post, owner: &str) -> Vec<u8> {
    let mut row = title(&post.title);
    let Post { number, parent, replies, expires_secs, .. } = post;
    row.extend_from_slice(format!(" {owner} {number} {parent} {replies} {expires_secs}").as_bytes());
    row
}

/// The name of a message: a word, or in quotes where it is none or could be taken for the beginning of a frame.
pub(super) fn title(title: &str) -> Vec<u8> {
    let title = crate::flow::line(title);
    let is_word = |character: char| !character.is_whitespace() && !matches!(character, '"' | '\\');
    if !title.is_empty() && !title.starts_with(['@', '#']) && title.chars().all(is_word) {
        title.into_bytes()
    } else {
        wire::quote(title.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_the_number_of_what_it_is_about() {
        for (code, about, number) in [
            ("login.wrong-password", About::Login, 3002),
            ("room.wrong-password", About::Room, 3101),
            ("room.wrong-password", About::Group, 3201),
            ("room.not-found", About::Room, 3100),
            ("group.not-found", About::Group, -3),
            ("group.not-found", About::ThisGroup, 3503),
            ("room.not-found", About::ThisRoom, 3503),
            ("room.not-member", About::ThisGroup, 3200),
            ("board.not-found", About::ThisGroup, -3),
            ("user.not-found", About::User, -3),
            ("room.not-owner", About::Room, 3103),
            ("room.registered-only", About::Group, 3501),
            ("login.name-used", About::Login, 3003),
            ("name.used", About::Account, 3004),
            ("login.registered-name", About::Login, 3004),
            ("bridge.lost", About::User, -1),
        ] {
            assert_eq!(status(code, about), Status(number), "{code}");
        }
    }

    #[test]
    fn a_title_that_is_no_word_stands_in_quotes() {
        for (given, row) in [
            ("hello", "hello"),
            ("hello all", "\"hello all\""),
            ("a\"b", "\"a\\\"b\""),
            ("", "\"\""),
            ("@mess", "\"@mess\""),
            ("x\r\n@mess", "\"x  @mess\""),
        ] {
            assert_eq!(title(given), row.as_bytes());
        }
    }
}
