//! What the directory keeps on disk: one small record for each account, anonymous name, place, membership, ban, post,
//! friend, ignored user, pair, token and erasure.
//!
//! A key is a letter, which is also the order of reading, and names parted by a zero byte, which no name holds. A value is
//! JSON with its version, so that an operator can read it. Letters and meanings of versions are never used anew.

use crate::request::{Kept, Visible};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(super) const ACCOUNT: u8 = b'a';
pub(super) const ANONYMOUS: u8 = b'b';
pub(super) const NUMBERS: u8 = b'c';
pub(super) const PLACE: u8 = b'd';
pub(super) const MEMBER: u8 = b'e';
pub(super) const BAN: u8 = b'f';
pub(super) const POST: u8 = b'g';
pub(super) const FRIEND: u8 = b'h';
pub(super) const IGNORED: u8 = b'i';
pub(super) const PAIR: u8 = b'j';
pub(super) const TOKEN: u8 = b'k';
pub(super) const SECRET: u8 = b'l';
pub(super) const ERASURE: u8 = b'm';

/// The version that is written, and the only one there has been.
pub(super) const VERSION: u8 = 1;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// An account, by the key of its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct AccountRecord {
    pub(super) v: u8,
    pub(super) name: String,
    pub(super) number: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) hash: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) scram: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) identity: Option<String>,
    pub(super) created_ms: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) seen_ms: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) address: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) blocked: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) display: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) email: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) fields: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) delete_on_delivery: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) text: Option<String>,
}

/// An anonymous name while it is taken, by its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct AnonymousRecord {
    pub(super) v: u8,
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) address: Option<String>,
}

/// The numbers that were given out, and the counters up to which were leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct NumbersRecord {
    pub(super) v: u8,
    pub(super) account: u64,
    pub(super) place: u64,
    pub(super) rooms: u64,
    pub(super) occupancy: u64,
    pub(super) members: u64,
    pub(super) groups: u64,
    pub(super) posts: u64,
}

/// A room or a group, by `room/{key}` or `group/{key}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PlaceRecord {
    pub(super) v: u8,
    pub(super) name: String,
    pub(super) number: u64,
    /// The key of the owner's name.
    pub(super) owner: String,
    pub(super) created_ms: u64,
    pub(super) visibility: Visible,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) hash: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) subject: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) registered_only: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) read_only: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) limit: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) history: Kept,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) expiry_secs: u64,
    /// Unused since; absent while it is used.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) idle_ms: Option<u64>,
    /// Made by somebody who entered or spoke, and nothing has been said in it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) silent: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) posts: u64,
}

/// How somebody stands in a place for as long as nothing changes it, by the place and the key of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MemberRecord {
    pub(super) v: u8,
    pub(super) since_ms: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) joined: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) moderator: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) invited: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) muted: bool,
}

/// A name: of somebody who is banned, by the place and the key; who is ignored, by both keys; or whose messages are being
/// erased, by the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NameRecord {
    pub(super) v: u8,
    pub(super) name: String,
}

/// A post, by the place and the number in eight bytes, big-endian.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PostRecord {
    pub(super) v: u8,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) parent: u64,
    pub(super) title: String,
    pub(super) text: String,
    pub(super) from: String,
    pub(super) time_ms: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) expires_ms: u64,
}

/// That two belong together: a friend, the two of a pair; by both keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LinkRecord {
    pub(super) v: u8,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) since_ms: u64,
}

/// A token, by the digest of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TokenRecord {
    pub(super) v: u8,
    /// The key of the account's name.
    pub(super) user: String,
    pub(super) key: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) label: Option<String>,
    pub(super) created_ms: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) expires_ms: u64,
}

/// What the directory keeps to itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SecretRecord {
    pub(super) v: u8,
    pub(super) seed: String,
}

/// The key of a record about one thing.
pub(super) fn key(letter: u8, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(letter);
    key.extend_from_slice(name);
    key
}

/// The key of a record about two things.
pub(super) fn key_of_two(letter: u8, name: &str, other: &[u8]) -> Vec<u8> {
    let mut key = key(letter, name.as_bytes());
    key.push(0);
    key.extend_from_slice(other);
    key
}

/// The two things that a key is about, without its letter. The second may hold zero bytes.
pub(super) fn two_of(key: &[u8]) -> Option<(&str, &[u8])> {
    let at = key.iter().position(|&byte| byte == 0)?;
    Some((std::str::from_utf8(&key[..at]).ok()?, &key[at + 1..]))
}

/// A record's value. These types have string keys only and cannot fail.
pub(super) fn value<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

/// A record from its value, if it is of a version that is known.
pub(super) fn parse<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Option<T> {
    #[derive(Deserialize)]
    struct Version {
        v: u8,
    }
    let version: Version = serde_json::from_slice(value).ok()?;
    if version.v != VERSION {
        return None;
    }
    serde_json::from_slice(value).ok()
}
