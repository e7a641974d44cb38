//! A broker as lines of text: [`export`] writes what a store holds of people, places and what was said, [`Import`] puts it
//! into another store. The format is in the README ("The export format").
//!
//! It reads and writes a store, and knows no engine that runs on it. Invariants: memory is bounded by a page of the store
//! and the spellings of names, for an import by the people and places that the broker holds in memory anyway; an import changes
//! nothing before every line is proved, and everything that it makes visible is one commit.

mod entry;
mod import;
mod sorted;

use crate::{message::Message, persist};
use entry::MessageLine;
pub use import::{Import, Imported};
pub use katydid_chat::directory::portable::Scope;
use katydid_chat::{
    directory::portable::{Names, to_line},
    topic::{self, Root, Topic},
};
use katydid_store::{Entries, Store, StoreError};
use serde::{Deserialize, Serialize};
use sorted::Sorted;
use std::{fmt, io};

/// The version of the format that is written, and the highest that is read.
pub const VERSION: u32 = 1;

/// Why an export or an import ended.
#[derive(Debug)]
pub enum TransferError {
    /// The store failed.
    Store(StoreError),
    /// What is read or written failed.
    Io(io::Error),
    /// A record of the store does not parse.
    Damaged(String),
    /// The room, group or user that is to be exported is not there.
    NotThere(String),
    /// A line of the import, by its number from 1, and what is wrong with it. Nothing was changed.
    Line(u64, String),
    /// The lines are good, and do not fit what is there. Nothing was changed.
    Misfit(String),
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Damaged(what) => write!(f, "storage is damaged: {what}"),
            Self::NotThere(what) => write!(f, "there is no {what}"),
            Self::Line(number, what) => write!(f, "line {number}: {what}; nothing was changed"),
            Self::Misfit(what) => write!(f, "{what}; nothing was changed"),
        }
    }
}

impl std::error::Error for TransferError {}

impl From<StoreError> for TransferError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for TransferError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Lines that are no records of the directory.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line {
    /// The first.
    Export {
        format: String,
        version: u32,
        /// `all`, or the place, or `user/{name}`.
        scope: String,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        secrets: bool,
    },
    Marker {
        place: String,
        user: String,
        seq: u64,
    },
    Retained(MessageLine),
    /// The log of a place; its entries follow.
    Log {
        place: String,
        next: u64,
    },
    Entry(MessageLine),
    /// The last.
    End {
        lines: u64,
    },
}

/// What stands in the first line.
const FORMAT: &str = "katydid-export";

/// Counts the lines that it writes.
struct Lines<'a> {
    out: &'a mut dyn io::Write,
    count: u64,
}

impl Lines<'_> {
    fn text(&mut self, text: &str) -> io::Result<()> {
        self.count += 1;
        self.out.write_all(text.as_bytes())?;
        self.out.write_all(b"\n")
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        // These types have string keys only and cannot fail.
        self.text(&serde_json::to_string(line).unwrap_or_default())
    }
}

/// Writes what is in the scope, and returns the number of lines. The store may be in use: then a record is as it was when
/// it was read, and a log as when its line was written; what was acknowledged before is in it.
///
/// # Errors
/// The store or `out` failed, or what is wanted is not there. The lines that were written then have no end.
pub fn export(store: &dyn Store, scope: &Scope, out: &mut dyn io::Write) -> Result<u64, TransferError> {
    let names = learn(store, scope)?;
    let mut lines = Lines { out, count: 0 };
    let scope_text = match scope {
        Scope::All { .. } => "all".to_owned(),
        Scope::Place(place) => place.clone(),
        Scope::User(user) => format!("user/{user}"),
    };
    let secrets = matches!(scope, Scope::All { secrets: true });
    lines.line(&Line::Export { format: FORMAT.into(), version: VERSION, scope: scope_text, secrets })?;
    for record in Sorted::new(store, persist::CHAT) {
        let (key, value) = record?;
        if let Some(line) = to_line(&names, scope, &key, &value).map_err(TransferError::Damaged)? {
            lines.text(&line)?;
        }
    }
    for record in Sorted::new(store, persist::MARKERS) {
        let (key, value) = record?;
        let Some((place, user, seq)) = persist::read_marker(&key, &value) else { return Err(damaged(&key)) };
        let is_wanted = match scope {
            Scope::All { .. } => true,
            Scope::Place(wanted) => wanted == place,
            Scope::User(wanted) => wanted == user || is_of_pair(place, wanted),
        };
        if is_wanted {
            lines.line(&Line::Marker { place: place.into(), user: user.into(), seq })?;
        }
    }
    if matches!(scope, Scope::All { .. }) {
        export_retained(store, &mut lines)?;
    }
    for record in Sorted::new(store, persist::PLACES) {
        let (key, value) = record?;
        let place = std::str::from_utf8(&key).map_err(|_| damaged(&key))?;
        let (log, leased) = persist::read_place(&value).ok_or_else(|| damaged(&key))?;
        export_log(store, scope, place, (log, leased), &mut lines)?;
    }
    let count = lines.count + 1;
    lines.line(&Line::End { lines: count })?;
    lines.out.flush()?;
    Ok(count)
}

fn learn(store: &dyn Store, scope: &Scope) -> Result<Names, TransferError> {
    let mut names = Names::default();
    for record in Sorted::new(store, persist::CHAT) {
        let (key, value) = record?;
        names.learn(scope, &key, &value);
    }
    match scope {
        Scope::Place(place) if !names.is_found => Err(TransferError::NotThere(place.clone())),
        // Somebody may have written and be gone.
        Scope::User(_) | Scope::Place(_) | Scope::All { .. } => Ok(names),
    }
}

fn is_of_pair(place: &str, user: &str) -> bool {
    topic::users_of(place).is_some_and(|(one, other)| one == user || other == user)
}

fn export_retained(store: &dyn Store, lines: &mut Lines<'_>) -> Result<(), TransferError> {
    for record in Sorted::new(store, persist::RETAINED) {
        let (key, value) = record?;
        let message = Message::from_disk(&value).ok_or_else(|| damaged(&key))?;
        // What the broker itself keeps it says again by itself.
        if message.publisher != 0 {
            lines.line(&Line::Retained(MessageLine::of(&message)))?;
        }
    }
    Ok(())
}

fn export_log(
    store: &dyn Store,
    scope: &Scope,
    place: &str,
    (log, leased): (u64, u64),
    lines: &mut Lines<'_>,
) -> Result<(), TransferError> {
    let only_from = match scope {
        Scope::All { .. } => None,
        Scope::Place(wanted) if wanted == place => None,
        Scope::Place(_) => return Ok(()),
        Scope::User(user) if topic::root_of(place) == Root::Pair => {
            if !is_of_pair(place, user) {
                return Ok(());
            }
            None
        }
        Scope::User(user) => Some(user.as_str()),
    };
    // What is said from here on is not in it, so that it ends however busy the place is.
    let stats = store.stats(log)?.unwrap_or_default();
    let next = leased.max(stats.next);
    let mut is_begun = only_from.is_none();
    if is_begun {
        lines.line(&Line::Log { place: place.into(), next })?;
    }
    for entry in Entries::new(store, log, 0) {
        let entry = entry?;
        if entry.seq >= stats.next {
            break;
        }
        let damaged = || TransferError::Damaged(format!("the entry {} of {place} does not parse", entry.seq));
        let message = Message::from_disk(&entry.bytes).ok_or_else(damaged)?;
        let is_from =
            |user| matches!(topic::classify(message.topic()), Topic::Said(said) if said.from == user);
        if only_from.is_some_and(|user| !is_from(user)) {
            continue;
        }
        if !std::mem::replace(&mut is_begun, true) {
            lines.line(&Line::Log { place: place.into(), next })?;
        }
        lines.line(&Line::Entry(MessageLine::of(&message)))?;
    }
    Ok(())
}

fn damaged(key: &[u8]) -> TransferError {
    TransferError::Damaged(format!("the record {:?} does not parse", String::from_utf8_lossy(key)))
}

#[cfg(test)]
mod tests;
