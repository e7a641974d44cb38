//! The request for what was said, by its words.

use super::Ask;
use super::fields::{check_count, check_number, check_optional, is_false};
use crate::code::Code;
use crate::search::{Query, Spot};
use serde::{Deserialize, Serialize};

/// Hits of an answer at most.
pub const FIND_HITS: u32 = 100;
/// Hits of an answer unless asked otherwise.
pub const FIND_HITS_USUAL: u32 = 50;

/// A number of an entry, or a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Edge {
    /// A number; with a place only.
    Seq(u64),
    /// RFC 3339.
    Time(String),
}

/// `history/search`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Find {
    /// Words that all must occur; see [`Query::parse`].
    pub query: String,
    /// `room/{room}`, `group/{group}` or `user/{other}`; every place that one is in without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Only what this user said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Upper bound, exclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Edge>,
    /// Lower bound: of the number exclusive, of the time inclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Edge>,
    /// At most so many hits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Goes on where the answer before ended: its `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The answer to [`Find`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hits {
    /// The newest first.
    pub hits: Vec<FoundEntry>,
    /// Whether there are no more.
    pub end: bool,
    /// Where to go on, unless this is the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A hit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundEntry {
    /// The place; a pair as `user/{a}/{b}`.
    pub place: String,
    /// The number.
    pub seq: u64,
    /// The time.
    pub time: String,
    /// The whole topic.
    pub topic: String,
    /// Who said it.
    pub from: String,
    /// The user property `id` of its publisher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What was said, in its newest wording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The number of the event with the newest wording, where it was edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<u64>,
    /// Whether the text is left out because an answer could not hold it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub too_long: bool,
}

impl Ask for Find {
    const VERB: &'static str = "history/search";
    type Answer = Hits;

    fn check(&self) -> Result<(), Code> {
        for edge in [&self.before, &self.after].into_iter().flatten() {
            match edge {
                Edge::Seq(seq) if self.place.is_some() => check_number(Some(*seq))?,
                Edge::Seq(_) => return Err(Code::BadField),
                Edge::Time(time) => drop(crate::time::parse(time).ok_or(Code::BadField)?),
            }
        }
        check_optional(self.from.as_deref(), 64)?;
        check_count(self.limit, FIND_HITS)?;
        if self.next.as_ref().is_some_and(|next| Spot::parse(next).is_none()) {
            return Err(Code::BadField);
        }
        Query::parse(&self.query).map(drop)
    }
}
