//! Requests for what was said, and the counters that say that something changed.

use super::Ask;
use super::fields::{check_count, check_number, is_false};
use crate::code::Code;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Entries of a page of history at most.
pub const PAGE_ENTRIES: u32 = 200;
/// Entries of a page of history unless asked otherwise.
pub const PAGE_ENTRIES_USUAL: u32 = 50;

/// Which entries are taken first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Those with the highest numbers.
    Newest,
    /// Those with the lowest numbers.
    Oldest,
}

/// `history`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct History {
    /// `room/{room}`, `group/{group}` or `user/{other}`.
    pub place: String,
    /// Exclusive upper bound of the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Exclusive lower bound of the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// A number to have entries on both sides of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub around: Option<u64>,
    /// Inclusive lower bound of the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Exclusive upper bound of the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// At most so many entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Which are taken first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

/// The answer to [`History`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// As asked; a pair as `user/{a}/{b}`.
    pub place: String,
    /// Ascending.
    pub entries: Vec<Entry>,
    /// Whether nothing more lies within the bounds.
    pub end: bool,
    /// Where to go on, when it is none of the entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// An entry of a page.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The number.
    pub seq: u64,
    /// The time.
    pub time: String,
    /// The whole topic.
    pub topic: String,
    /// Who said it: the last level of the topic.
    pub from: String,
    /// The user property `id` of its publisher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What was said, where that is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What was said, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Whether it was taken away.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleted: bool,
    /// Whether it is left out because a page could not hold it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub too_long: bool,
}

impl Ask for History {
    const VERB: &'static str = "history";
    type Answer = Page;

    fn check(&self) -> Result<(), Code> {
        for number in [self.before, self.after, self.around] {
            check_number(number)?;
        }
        for time in [&self.from, &self.until].into_iter().flatten() {
            crate::time::parse(time).ok_or(Code::BadField)?;
        }
        if self.around.is_some() && self.order.is_some() {
            return Err(Code::BadField);
        }
        check_count(self.count, PAGE_ENTRIES)
    }
}

/// `counters`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Counters {
    /// `room/{room}` or `group/{group}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// The answer to [`Counters`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Changes with each room made or deleted.
    pub rooms: u64,
    /// Changes with each who goes in or out of any room.
    pub occupancy: u64,
    /// Changes with each group made or deleted.
    pub groups: u64,
    /// Changes with each who goes in or out of the place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<u64>,
    /// Changes with each change of the place's board.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posts: Option<u64>,
}

impl Ask for Counters {
    const VERB: &'static str = "counters";
    type Answer = Counts;
}

/// The JSON of an event that a user says on `{place}/event/{me}` about a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Act {
    /// Another text for an own message.
    Edit {
        /// Which one.
        seq: u64,
        /// The new text.
        text: String,
    },
    /// Take the message away; its number and time stay.
    Delete {
        /// Which one.
        seq: u64,
    },
    /// A reaction.
    Reaction {
        /// To which one.
        seq: u64,
        /// Such as an emoji.
        text: String,
        /// Whether it takes the same reaction back.
        #[serde(default, skip_serializing_if = "is_false")]
        remove: bool,
    },
    /// Pin it.
    Pin {
        /// Which one.
        seq: u64,
    },
    /// Pin it no more.
    Unpin {
        /// Which one.
        seq: u64,
    },
}

impl Act {
    /// The message it is about.
    pub fn seq(&self) -> u64 {
        match *self {
            Self::Edit { seq, .. }
            | Self::Delete { seq }
            | Self::Reaction { seq, .. }
            | Self::Pin { seq }
            | Self::Unpin { seq } => seq,
        }
    }

    /// Reads the payload of an event. `None`: an event of another type, which the broker passes on as it is.
    ///
    /// # Errors
    /// [`Code::BadEvent`] where it is of a known type and its fields are not.
    pub fn read(payload: &[u8]) -> Result<Option<Self>, Code> {
        if payload.len() > super::REQUEST_BYTES || super::depth(payload) > super::REQUEST_DEPTH {
            return Err(Code::BadEvent);
        }
        let Ok(value) = serde_json::from_slice::<Value>(payload) else { return Err(Code::BadEvent) };
        match value.get("type").and_then(Value::as_str) {
            Some("edit" | "delete" | "reaction" | "pin" | "unpin") => {
                serde_json::from_value(value).map(Some).map_err(|_| Code::BadEvent)
            }
            Some(_) => Ok(None),
            None => Err(Code::BadEvent),
        }
    }
}
