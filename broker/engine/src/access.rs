//! Who may publish and subscribe to plain topics: mosquitto's access list, parsed and decided without I/O.
//!
//! It owns the rules and nothing else: chat topics have rights of their own and are never asked here. Its invariant:
//! what no rule permits is refused, unless there is no list at all ([`AccessList::allow_all`]).
//!
//! # The file
//! ```text
//! # Before any user: for clients without user name.
//! topic read news/#
//!
//! user ann
//! topic readwrite home/ann/#
//! topic deny home/ann/secret
//! # Without access: readwrite.
//! topic door
//!
//! # For everybody, wherever it stands; %u is the user name, %c the client identifier.
//! pattern write sensors/%u/+
//! ```
//! The rest of a line behind the access is the filter, spaces included; so comments stand on lines of their own.
//!
//! Among the rules of a client, those that deny go first; then its own rules permit; then patterns deny; then patterns
//! permit. A client with a user name but no section has patterns only. So far this is mosquitto 2.
//!
//! mosquitto lets every SUBSCRIBE through and decides at delivery. Here delivery decides too, and a SUBSCRIBE is
//! refused when it could never deliver anything: a filter is permitted when some rule that reads shares a topic with
//! it, and no rule that denies, of the same section or before it, covers all of it.

mod overlap;
#[cfg(test)]
mod tests;

use foldhash::fast::RandomState;
use katydid_mqtt::topic::{TopicFilter, matches};
use overlap::{covers, overlaps};
use std::{borrow::Cow, collections::HashMap, fmt};

/// What a client wants to do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Publish to a topic name.
    Write,
    /// Receive a message of a topic name.
    Read,
    /// Subscribe to a filter.
    Subscribe,
}

/// A parsed access list.
#[derive(Debug, Clone)]
pub struct AccessList {
    /// There is no list: everything is permitted.
    open: bool,
    anonymous: Rules,
    users: HashMap<Box<str>, Rules, RandomState>,
    patterns: Rules,
}

/// The rules of one section.
#[derive(Debug, Clone, Default)]
struct Rules {
    denied: Vec<Box<str>>,
    permitted: Vec<Permit>,
}

#[derive(Debug, Clone)]
struct Permit {
    read: bool,
    write: bool,
    filter: Box<str>,
}

/// A line of an access list that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: AccessFault,
}

/// What can be wrong with a line of an access list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessFault {
    /// It begins with another word than `user`, `topic` or `pattern`.
    UnknownKeyword(String),
    /// `user` without a name.
    MissingUser,
    /// `topic` or `pattern` without a filter.
    MissingTopic,
    /// Another access than `read`, `write`, `readwrite` or `deny`.
    UnknownAccess(String),
    /// Not a topic filter.
    InvalidFilter(String),
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.reason {
            AccessFault::UnknownKeyword(word) => write!(f, "`{word}` is not one of user, topic, pattern"),
            AccessFault::MissingUser => f.write_str("a name is missing after `user`"),
            AccessFault::MissingTopic => f.write_str("a topic filter is missing"),
            AccessFault::UnknownAccess(word) => {
                write!(
                    f,
                    "`{word}` is not one of read, write, readwrite, deny (a topic with spaces needs one of them)"
                )
            }
            AccessFault::InvalidFilter(filter) => write!(f, "`{filter}` is not a topic filter"),
        }
    }
}

impl std::error::Error for AccessError {}

/// The client that asks.
#[derive(Clone, Copy)]
struct Client<'a> {
    user: Option<&'a str>,
    client_id: &'a str,
}

impl AccessList {
    /// Everything is permitted: what holds without a file.
    pub fn allow_all() -> Self {
        Self { open: true, ..Self::deny_all() }
    }

    fn deny_all() -> Self {
        Self {
            open: false,
            anonymous: Rules::default(),
            users: HashMap::default(),
            patterns: Rules::default(),
        }
    }

    /// Reads a file's text; an empty one permits nothing.
    pub fn parse(text: &str) -> Result<Self, AccessError> {
        let mut list = Self::deny_all();
        let mut user: Option<&str> = None;
        for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (keyword, rest) = split_word(line);
            let fault = |reason| AccessError { line: number, reason };
            let rules = match keyword {
                "user" if rest.is_empty() => return Err(fault(AccessFault::MissingUser)),
                "user" => {
                    user = Some(rest);
                    continue;
                }
                "topic" => match user {
                    Some(user) => list.users.entry(user.into()).or_default(),
                    None => &mut list.anonymous,
                },
                "pattern" => &mut list.patterns,
                _ => return Err(fault(AccessFault::UnknownKeyword(keyword.into()))),
            };
            rules.add(rest).map_err(fault)?;
        }
        Ok(list)
    }

    /// Whether everything is permitted, so that nothing need be asked.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether a client may do something with a topic, or with a filter for [`Action::Subscribe`] (without the
    /// `$share/.../` before it).
    #[inline]
    pub fn permits(
        &self,
        user: Option<&str>,
        client_id: &str,
        action: Action,
        topic_or_filter: &str,
    ) -> bool {
        self.open || self.decide(Client { user, client_id }, action, topic_or_filter)
    }

    fn decide(&self, client: Client<'_>, action: Action, topic: &str) -> bool {
        let own = match client.user {
            Some(user) => self.users.get(user),
            None => Some(&self.anonymous),
        };
        if let Some(verdict) = own.and_then(|rules| rules.decide(None, action, topic)) {
            return verdict;
        }
        // A name with a wildcard in it would turn a pattern into another one, and might slip past one that denies.
        if [client.user.unwrap_or_default(), client.client_id].iter().any(|name| name.contains(['+', '#'])) {
            return false;
        }
        self.patterns.decide(Some(client), action, topic).unwrap_or(false)
    }
}

impl Rules {
    /// Adds what follows `topic` or `pattern` on a line.
    fn add(&mut self, text: &str) -> Result<(), AccessFault> {
        let (access, filter) = match split_word(text) {
            ("", _) => return Err(AccessFault::MissingTopic),
            (filter, "") => ("readwrite", filter),
            both => both,
        };
        let (read, write) = match access {
            "read" => (true, false),
            "write" => (false, true),
            "readwrite" => (true, true),
            "deny" => (false, false),
            _ => return Err(AccessFault::UnknownAccess(access.into())),
        };
        if TopicFilter::parse(filter).is_err() {
            return Err(AccessFault::InvalidFilter(filter.into()));
        }
        if read || write {
            self.permitted.push(Permit { read, write, filter: filter.into() });
        } else {
            self.denied.push(filter.into());
        }
        Ok(())
    }

    /// What these rules say, if anything; for patterns, with the names of `client` filled in.
    fn decide(&self, client: Option<Client<'_>>, action: Action, topic: &str) -> Option<bool> {
        let denies = |filter: &str| match action {
            Action::Subscribe => covers(filter, topic),
            Action::Read | Action::Write => matches(filter, topic),
        };
        if self.denied.iter().filter_map(|filter| fill(filter, client)).any(|filter| denies(&filter)) {
            return Some(false);
        }
        let permits = |permit: &Permit| {
            let wanted = if action == Action::Write { permit.write } else { permit.read };
            if !wanted || client.is_some_and(|client| !is_safe(&permit.filter, client)) {
                return false;
            }
            fill(&permit.filter, client).is_some_and(|filter| match action {
                Action::Subscribe => overlaps(&filter, topic),
                Action::Read | Action::Write => matches(&filter, topic),
            })
        };
        self.permitted.iter().any(permits).then_some(true)
    }
}

/// Fills a client's names into a pattern; a pattern for user names says nothing about clients without one. Without a
/// client it is no pattern, and stays as it is.
fn fill<'a>(pattern: &'a str, client: Option<Client<'_>>) -> Option<Cow<'a, str>> {
    let Some(client) = client.filter(|_| pattern.contains('%')) else { return Some(Cow::Borrowed(pattern)) };
    let mut filled = String::with_capacity(pattern.len() + 32);
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        filled.push_str(&rest[..at]);
        let name = match rest.as_bytes().get(at + 1) {
            Some(b'u') => Some(client.user?),
            Some(b'c') => Some(client.client_id),
            _ => None,
        };
        filled.push_str(name.unwrap_or("%"));
        rest = &rest[at + if name.is_some() { 2 } else { 1 }..];
    }
    filled.push_str(rest);
    Some(Cow::Owned(filled))
}

/// Whether a pattern, filled with a client's names, still means what its author wrote: a name with `/` would move the
/// levels behind it, and one with `$` at the beginning would lead out of the plain topics.
fn is_safe(pattern: &str, client: Client<'_>) -> bool {
    let safe = |placeholder: &str, name: &str| {
        !(pattern.contains(placeholder) && name.contains('/')
            || pattern.starts_with(placeholder) && name.starts_with('$'))
    };
    safe("%u", client.user.unwrap_or_default()) && safe("%c", client.client_id)
}

/// The first word of a text, and the rest behind the spaces that follow it.
fn split_word(text: &str) -> (&str, &str) {
    match text.split_once([' ', '\t']) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (text, ""),
    }
}
