//! What the operator decided about people and places: the directory's configuration, already proved.

use crate::name;
use std::{collections::BTreeMap, sync::Arc};

/// Who may register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// Everybody.
    Open,
    /// Who knows this.
    Token(String),
    /// Nobody but the operator.
    Operator,
}

/// What the operator decided about people and places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Who may register.
    pub registration: Registration,
    /// Whether names come without password.
    pub anonymous: bool,
    /// How long an anonymous name stays taken while nobody is connected under it, in milliseconds; its sessions end then.
    pub anonymous_hold_ms: u64,
    /// Rooms are made by the first who enters or speaks.
    pub creates_rooms: bool,
    /// Users make rooms and groups by request.
    pub creates_by_request: bool,
    /// Rooms and groups that one user may own.
    pub places_per_user: usize,
    /// Rooms and groups in all. Each costs about 1 KiB of memory, and 200 bytes a member.
    pub places: usize,
    /// Rooms and groups that one user may be in or have a standing in.
    pub memberships_per_user: usize,
    /// Names of rooms and groups that only the operator makes; `*` stands for anything. Compared in lower case.
    pub reserved_places: Vec<String>,
    /// Whether access tokens of an OpenID Connect provider let people in.
    pub openid: bool,
    /// Names that nobody takes without the operator, in the same form.
    pub reserved_users: Vec<String>,
    /// Seconds unused after which a room deletes itself, unless its owner says otherwise; 0 is never.
    pub room_expiry_secs: u64,
    /// The same for groups.
    pub group_expiry_secs: u64,
    /// Messages that a place keeps unless its owner says otherwise; 0 is all.
    pub history_messages: u64,
    /// Milliseconds that it keeps them.
    pub history_ms: u64,
    /// Bytes of them that it keeps.
    pub history_bytes: u64,
    /// Members above which a place tells no presence of single users.
    pub presence_members: usize,
    /// Presence and infos are told at most once in so many milliseconds.
    pub presence_interval_ms: u64,
    /// Failed sign-ins a minute, for a name from one address, and the burst of them.
    pub sign_in_failures_per_name: u32,
    /// The same from one address (IPv6: /64), for all names.
    pub sign_in_failures_per_address: u32,
    /// Passwords a minute that are hashed or checked for one address, other than at sign-in: of places, of new accounts.
    pub hashes_per_address: u32,
    /// Requests a second of one user; ten times as many at once.
    pub requests_per_sec: u32,
    /// Pages of history, and searches and lists, a second of one user; ten times as many at once.
    pub pages_per_sec: u32,
    /// Bytes of all posts of all boards; they are held in memory.
    pub board_bytes: usize,
    /// Posts on one board.
    pub posts_per_group: usize,
    /// Friends, ignored users and tokens, each, of one user.
    pub contacts_per_user: usize,
    /// The operator's password file: names and PHC strings. [`Rules::with_accounts`] fills it.
    pub accounts: Arc<BTreeMap<String, FileAccount>>,
}

/// An account of the operator's password file.
#[derive(Clone, PartialEq, Eq)]
pub struct FileAccount {
    /// The name in its spelling.
    pub name: Arc<str>,
    /// The PHC string.
    pub hash: Arc<str>,
    /// The verifier for SCRAM (text of [`crate::scram::Verifier`]).
    pub scram: Option<Arc<str>>,
}

impl std::fmt::Debug for FileAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FileAccount").field(&self.name).finish()
    }
}

impl Rules {
    /// These rules with the accounts of a password file: name, PHC string, and verifier for SCRAM. Names that are
    /// none are left out.
    #[must_use]
    pub fn with_accounts<'a>(
        mut self,
        accounts: impl IntoIterator<Item = (&'a str, &'a str, Option<&'a str>)>,
    ) -> Self {
        let keyed = accounts.into_iter().filter_map(|(name, hash, scram)| {
            let scram = scram.map(Into::into);
            let account = FileAccount { name: name.into(), hash: hash.into(), scram };
            name::user_key(name).ok().map(|key| (key, account))
        });
        self.accounts = Arc::new(keyed.collect());
        self
    }

    pub(super) fn reserves_place(&self, key: &str) -> bool {
        self.reserved_places.iter().any(|pattern| fits(&pattern.to_lowercase(), key))
    }

    pub(super) fn reserves_user(&self, key: &str) -> bool {
        self.reserved_users.iter().any(|pattern| fits(&pattern.to_lowercase(), key))
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            registration: Registration::Open,
            anonymous: true,
            anonymous_hold_ms: 60 * 60 * 1000,
            creates_rooms: true,
            creates_by_request: true,
            places_per_user: 1000,
            places: 200_000,
            memberships_per_user: 10_000,
            openid: false,
            reserved_places: Vec::new(),
            reserved_users: Vec::new(),
            room_expiry_secs: 30 * 24 * 60 * 60,
            group_expiry_secs: 0,
            history_messages: 0,
            history_ms: 0,
            history_bytes: 0,
            presence_members: 100,
            presence_interval_ms: 1000,
            sign_in_failures_per_name: 10,
            sign_in_failures_per_address: 100,
            hashes_per_address: 600,
            requests_per_sec: 50,
            pages_per_sec: 20,
            board_bytes: 256 << 20,
            posts_per_group: 10_000,
            contacts_per_user: 1000,
            accounts: Arc::default(),
        }
    }
}

/// Whether a name fits a pattern in which `*` stands for anything: greedy, in linear steps back.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut in_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, in_name));
            at += 1;
        } else if pattern.get(at) == Some(&name[in_name]) {
            (at, in_name) = (at + 1, in_name + 1);
        } else if let Some((star_at, tried)) = star {
            star = Some((star_at, tried + 1));
            (at, in_name) = (star_at + 1, tried + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names() {
        for (pattern, name, expected) in [
            ("admin*", "admins", true),
            ("admin*", "xadmin", false),
            ("*", "", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2b3", false),
            ("", "", true),
            ("x", "", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
