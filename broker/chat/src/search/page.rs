//! What a search is asked for, what it finds, and the JSON of its answer.

use super::Query;
use crate::directory::Place;
use crate::history::PAGE_BYTES;
use crate::request::{self, FoundEntry, Hits};
use std::cmp::Reverse;
use std::sync::Arc;

/// Where something that was said stands among all hits: the newest first, and at the same time by place and number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// Milliseconds since the Unix epoch.
    pub time_ms: Reverse<u64>,
    /// The place; of a continuation between two times, the empty one, which is before all.
    pub place: Place,
    /// The number.
    pub seq: Reverse<u64>,
}

impl Spot {
    /// Before everything of a time.
    pub fn at(time_ms: u64) -> Self {
        Self { time_ms: Reverse(time_ms), place: "".into(), seq: Reverse(u64::MAX) }
    }

    /// As it goes to the client and comes back.
    pub fn token(&self) -> String {
        format!("{}:{}:{}", self.time_ms.0, self.seq.0, self.place)
    }

    /// The reverse of [`Spot::token`].
    pub fn parse(token: &str) -> Option<Self> {
        let (time_ms, rest) = token.split_once(':')?;
        let (seq, place) = rest.split_once(':')?;
        let (time_ms, seq) = (time_ms.parse().ok()?, seq.parse().ok()?);
        Some(Self { time_ms: Reverse(time_ms), place: place.into(), seq: Reverse(seq) })
    }
}

/// What is looked for, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quest {
    /// Places that may be read.
    pub places: Vec<Place>,
    /// What must occur.
    pub query: Query,
    /// Only what this user said.
    pub from: Option<String>,
    /// Senders to leave out.
    pub without: Arc<[Arc<str>]>,
    /// Exclusive lower bound of the number.
    pub after_seq: u64,
    /// Exclusive upper bound of the number; `u64::MAX` for none.
    pub before_seq: u64,
    /// Inclusive lower bound of the time in milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// Exclusive upper bound of the time; `u64::MAX` for none.
    pub until_ms: u64,
    /// Only what stands behind this.
    pub behind: Option<Spot>,
    /// Hits at most.
    pub count: usize,
}

/// A hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Where it stands: for a message that was edited, where its newest text was said.
    pub spot: Spot,
    /// Number of the message.
    pub seq: u64,
    /// Its time.
    pub time_ms: u64,
    /// Its whole topic.
    pub topic: String,
    /// The user property `id`.
    pub id: Option<String>,
    /// Its text as it is now.
    pub text: String,
}

impl Hit {
    /// Who said it.
    pub fn from(&self) -> &str {
        self.topic.rsplit('/').next().unwrap_or_default()
    }
}

/// What a search has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// In the order of their spots.
    pub hits: Vec<Hit>,
    /// Where to go on; `None` at the end.
    pub next: Option<Spot>,
}

/// The JSON of the answer: as many hits as fit in `bytes_max`. `id` is the request's, as JSON.
pub fn answer(findings: Findings, id: Option<&str>, bytes_max: usize) -> String {
    let Findings { hits, mut next } = findings;
    // Room for the frame, and for the continuation, whose place is at most 256 bytes that JSON may make longer.
    let mut room = bytes_max.min(PAGE_BYTES).saturating_sub(128 + 6 * 256 + id.map_or(0, str::len));
    let mut answer = Hits { hits: Vec::with_capacity(hits.len()), ..Hits::default() };
    let mut last = None;
    for hit in hits {
        let spot = hit.spot.clone();
        let mut entry = entry(hit);
        let mut length = crate::event::json(&entry).len() + 1;
        if length > room && answer.hits.is_empty() {
            entry = FoundEntry { text: None, id: None, too_long: true, ..entry };
            length = crate::event::json(&entry).len() + 1;
        }
        if length > room && !answer.hits.is_empty() {
            next = last;
            break;
        }
        room = room.saturating_sub(length);
        answer.hits.push(entry);
        last = Some(spot);
    }
    answer.end = next.is_none();
    answer.next = next.map(|next| next.token());
    request::answer(id, &answer)
}

fn entry(hit: Hit) -> FoundEntry {
    FoundEntry {
        place: hit.spot.place.to_string(),
        seq: hit.seq,
        time: crate::time::format(hit.time_ms),
        from: hit.from().to_owned(),
        edited: (hit.spot.seq.0 != hit.seq).then_some(hit.spot.seq.0),
        topic: hit.topic,
        id: hit.id,
        text: Some(hit.text),
        too_long: false,
    }
}
