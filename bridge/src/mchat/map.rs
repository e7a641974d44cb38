//! mChat's names for rooms and people, and the broker's.
//!
//! mChat has rooms of any characters but space and line feed; the broker's names are one topic level. What can't stand
//! there is escaped as `%` and two hexadecimal digits a byte, and `%` itself only where it would be taken for an escape,
//! so that ordinary names are the same on both sides.

use super::wire::{LONGEST_NICK, LONGEST_ROOM};
use crate::{
    chat::Secret,
    names::{Alphabet, is_plain},
};
use katydid_chat::name::{BROKER, ROOM_NAME_BYTES, check_room};

/// A room's name in the broker; `None` where it would be too long there.
pub fn room_to_broker(name: &str) -> Option<String> {
    let mut mapped = String::with_capacity(name.len());
    for (at, character) in name.char_indices() {
        let is_escape = character == '%' && escaped(&name.as_bytes()[at..]).is_some();
        if !is_escape && is_plain(character) && !matches!(character, '/' | '+' | '#') {
            mapped.push(character);
        } else {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                mapped.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    (mapped.len() <= ROOM_NAME_BYTES && check_room(&mapped).is_ok()).then_some(mapped)
}

/// The name that [`room_to_broker`] made this of; `None` for one that mChat can't say.
pub fn room_from_broker(mapped: &str) -> Option<String> {
    let mut name = Vec::with_capacity(mapped.len());
    let mut rest = mapped.as_bytes();
    while let Some((&byte, others)) = rest.split_first() {
        match escaped(rest) {
            Some(byte) => {
                name.push(byte);
                rest = &rest[3..];
            }
            None => {
                name.push(byte);
                rest = others;
            }
        }
    }
    let name = String::from_utf8(name).ok()?;
    let is_said = name.chars().count() <= LONGEST_ROOM && !name.contains([' ', '\n']);
    (is_said && room_to_broker(&name).as_deref() == Some(mapped)).then_some(name)
}

/// The byte of an escape that stands at the beginning.
fn escaped(bytes: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match bytes {
        [b'%', high, low, ..] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

/// The password of a room that mChat's clients hold for private (section 5, Client): its name is a SHA-1 that nobody
/// guesses, so the name itself is what lets in, once nobody sees it in a listing.
pub(super) fn password_of(room: &str) -> Option<Secret> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (room.len() == 40 && room.bytes().all(is_digit)).then(|| Secret::new(room))
}

/// People of elsewhere, as one word of a line.
///
/// Nobody of elsewhere is called `SYSTEM`: the known client shows what such a nick says as it shows the lines of the server.
pub(super) const NICKS: Alphabet = Alphabet {
    longest: LONGEST_NICK,
    counts: |_| 1,
    allows: is_plain,
    instead: '_',
    mark: '~',
    reserved: &["SYSTEM"],
};

/// How the broker calls guests.
const GUEST: &str = "guest-";

/// A nick as it is shown elsewhere: with a mark where it is somebody's user name, or the broker's own.
pub(super) fn shown_elsewhere(nick: &str, is_somebodys: bool) -> String {
    let is_brokers = nick.eq_ignore_ascii_case(BROKER)
        || nick.get(..GUEST.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(GUEST));
    if is_somebodys || is_brokers { format!("{nick}~") } else { nick.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rooms_are_mapped_so_that_ordinary_ones_stay() {
        for (name, mapped) in [
            ("Home", "Home"),
            ("x/#", "x%2F%23"),
            ("+y", "%2By"),
            ("$SYS/z", "$SYS%2Fz"),
            ("/z", "%2Fz"),
            ("50%", "50%"),
            ("%2F", "%252F"),
            ("a\u{3000}b", "a%E3%80%80b"),
            ("日本", "日本"),
        ] {
            assert_eq!(room_to_broker(name).as_deref(), Some(mapped));
            assert_eq!(room_from_broker(mapped).as_deref(), Some(name));
        }
        assert_eq!(room_to_broker(&"\u{3000}".repeat(64)), None);
        assert_eq!(room_from_broker("%41"), None);
        assert_eq!(room_from_broker("%20"), None);
    }

    #[test]
    fn a_nick_that_is_a_name_of_the_broker_has_a_mark_elsewhere() {
        for (nick, is_somebodys, shown) in [
            ("ann", false, "ann"),
            ("ann", true, "ann~"),
            ("Katydid", false, "Katydid~"),
            ("guest-1", false, "guest-1~"),
            ("guest", false, "guest"),
        ] {
            assert_eq!(shown_elsewhere(nick, is_somebodys), shown);
        }
    }

    proptest! {
        #[test]
        fn what_is_mapped_is_taken_back(name in "[^ \n]{1,64}") {
            if let Some(mapped) = room_to_broker(&name) {
                prop_assert_eq!(room_from_broker(&mapped), Some(name));
            }
        }
    }
}
