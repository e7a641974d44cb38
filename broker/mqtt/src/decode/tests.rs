//! Good and bad bytes of each packet, with the reason code that answers the bad ones.
//!
//! Bodies are written in a small notation: `<abc>` is a string or binary value with its length in front, `'abc'` is
//! bare text, `{ ... }` is a properties section with its length in front, anything else is hexadecimal.

mod acks;
mod connect;
mod control;
mod fixed_header;
mod publish;
mod subscribe;

use super::{DecodeError, frame, packet};
use crate::packet::{Packet, Version};
use crate::reason::ReasonCode;

/// The bytes of the notation above.
pub(super) fn bytes(notation: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut section_at = 0;
    for token in notation.split_whitespace() {
        if token == "{" {
            section_at = out.len();
        } else if token == "}" {
            let section = out.split_off(section_at);
            crate::varint::put(&mut out, u32::try_from(section.len()).unwrap());
            out.extend(section);
        } else if let Some(text) = token.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
            out.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        } else if let Some(text) = token.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
            out.extend_from_slice(text.as_bytes());
        } else {
            assert!(token.len().is_multiple_of(2), "odd hexadecimal {token}");
            for at in (0..token.len()).step_by(2) {
                out.push(u8::from_str_radix(&token[at..at + 2], 16).unwrap());
            }
        }
    }
    out
}

/// A packet of this first byte and body, with the right length between them.
pub(super) fn whole(first_byte: u8, body: &str) -> Vec<u8> {
    let body = bytes(body);
    let mut out = vec![first_byte];
    crate::varint::put(&mut out, u32::try_from(body.len()).unwrap());
    out.extend(body);
    out
}

fn decode(whole: &[u8], version: Version) -> Result<Packet<'_>, DecodeError> {
    let found = frame(whole, u32::MAX)?.expect("the whole packet is there");
    assert_eq!(found.len, whole.len());
    packet(found, version)
}

/// The reason code that answers a packet, or success.
#[track_caller]
fn answer(first_byte: u8, body: &str, version: Version) -> ReasonCode {
    match decode(&whole(first_byte, body), version) {
        Ok(_) => ReasonCode::Success,
        Err(error) => error.reason,
    }
}

/// Checks a table of bodies against the codes that answer them in 5.0.
#[track_caller]
fn answers_v5(first_byte: u8, table: &[(&str, ReasonCode, &str)]) {
    for (body, expected, why) in table {
        assert_eq!(answer(first_byte, body, Version::V5), *expected, "{why}: {body}");
    }
}

/// Checks that 3.1.1 refuses each body of a table.
#[track_caller]
fn refused_v4(first_byte: u8, table: &[(&str, &str)]) {
    for (body, why) in table {
        assert_ne!(answer(first_byte, body, Version::V4), ReasonCode::Success, "{why}: {body}");
    }
}
