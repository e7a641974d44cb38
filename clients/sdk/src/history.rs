//! The past of a place, page by page, by request.

use crate::{Client, Place, Refusal, request};
use bytes::Bytes;
use katydid_chat::{base64, time};

/// Which part of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The newest before a number (exclusive); pages go back in time. `None` starts at the end.
    Before(Option<u64>),
    /// The oldest after a number (exclusive); pages go forward. 0 starts at the beginning.
    After(u64),
    /// Around a number: one page.
    Around(u64),
    /// Between two numbers, both exclusive; pages go forward.
    Between(u64, u64),
    /// At or after a time in milliseconds since the Unix epoch; pages go forward.
    SinceTime(u64),
    /// Before a time in milliseconds since the Unix epoch; pages go back.
    BeforeTime(u64),
}

/// One thing in the past of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Its number.
    pub seq: u64,
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Who.
    pub from: String,
    /// `msg`, `event` or `post`.
    pub channel: String,
    /// What was said; `None` when it was deleted, or is too long for a page.
    pub payload: Option<Bytes>,
    /// The id that its sender gave it.
    pub id: Option<String>,
    /// Whether it was deleted.
    pub is_deleted: bool,
}

/// A page: always ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The entries. Seldom none although it is not the last: the messages of people whom one ignores are left out.
    pub entries: Vec<HistoryEntry>,
    /// Whether this page reaches the end of what was asked for.
    pub is_last: bool,
}

/// The pages of a window, asked for one at a time.
#[derive(Debug)]
pub struct History {
    client: Client,
    ask: request::History,
    course: Course,
    is_done: bool,
}

/// Where the next page lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Back,
    Forward,
    OnePage,
}

impl History {
    pub(crate) fn new(client: Client, place: &Place, window: Window) -> Self {
        let mut ask = request::History { place: place.to_string(), ..Default::default() };
        let course = match window {
            Window::Before(before) => {
                ask.before = before;
                Course::Back
            }
            Window::After(after) => {
                ask.after = Some(after);
                Course::Forward
            }
            Window::Around(around) => {
                ask.around = Some(around);
                Course::OnePage
            }
            Window::Between(after, before) => {
                (ask.after, ask.before) = (Some(after), Some(before));
                Course::Forward
            }
            Window::SinceTime(time_ms) => {
                ask.from = Some(time::format(time_ms));
                Course::Forward
            }
            Window::BeforeTime(time_ms) => {
                ask.until = Some(time::format(time_ms));
                Course::Back
            }
        };
        ask.order = match course {
            Course::Back => Some(request::Order::Newest),
            Course::Forward => Some(request::Order::Oldest),
            Course::OnePage => None,
        };
        Self { client, ask, course, is_done: false }
    }

    /// At most so many entries a page, up to [`request::PAGE_ENTRIES`]; the broker may give fewer.
    #[must_use]
    pub fn page_entries(mut self, entries: u32) -> Self {
        self.ask.count = Some(entries.clamp(1, request::PAGE_ENTRIES));
        self
    }

    /// The next page; `None` after the last, and after an error. Not cancel safe: a page that was asked for and not waited
    /// for is asked for again.
    ///
    /// # Errors
    /// As [`Client::request`], with the codes of the verb `history`.
    pub async fn next(&mut self) -> Option<Result<Page, Refusal>> {
        if self.is_done {
            return None;
        }
        let page = match self.client.ask(&self.ask).await {
            Ok(page) => page,
            Err(refusal) => {
                self.is_done = true;
                return Some(Err(refusal));
            }
        };
        self.is_done = page.end || !self.advance(&page);
        let entries = page.entries.into_iter().map(HistoryEntry::from).collect();
        Some(Ok(Page { entries, is_last: self.is_done }))
    }

    /// Moves the bounds on; `false` when there is nowhere to go.
    fn advance(&mut self, page: &request::Page) -> bool {
        match self.course {
            Course::Back => {
                let next = page.entries.first().map(|entry| entry.seq).or(page.next);
                // A bound that does not move would ask for the same page for ever.
                let moves = next.is_some_and(|next| self.ask.before.is_none_or(|before| next < before));
                self.ask.before = next;
                moves
            }
            Course::Forward => {
                let next = page.entries.last().map(|entry| entry.seq).or(page.next);
                let moves = next.is_some_and(|next| self.ask.after.is_none_or(|after| next > after));
                self.ask.after = next;
                moves
            }
            Course::OnePage => false,
        }
    }
}

impl From<request::Entry> for HistoryEntry {
    fn from(entry: request::Entry) -> Self {
        let channel = entry.topic.rsplit('/').nth(1).unwrap_or_default().to_owned();
        let payload = match (entry.text, entry.base64) {
            (Some(text), _) => Some(text.into()),
            (None, Some(text)) => base64::decode(&text).map(Into::into),
            (None, None) => None,
        };
        Self {
            seq: entry.seq,
            time_ms: time::parse(&entry.time).unwrap_or(0),
            from: entry.from,
            channel,
            payload,
            id: entry.id,
            is_deleted: entry.deleted,
        }
    }
}
