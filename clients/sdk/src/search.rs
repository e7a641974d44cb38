//! What was said, by its words, page by page.

use crate::{Client, Refusal, request};

/// Pages without a hit that are asked for at most, one behind the other, before an empty one is given.
const EMPTY_PAGES: usize = 64;

/// The pages of a search, asked for one at a time; the newest hits first.
#[derive(Debug)]
pub struct Search {
    client: Client,
    ask: request::Find,
    is_done: bool,
}

impl Search {
    pub(crate) fn new(client: Client, ask: request::Find) -> Self {
        Self { client, ask, is_done: false }
    }

    /// The next hits; `None` after the last, and after an error. Seldom none although there may be more: where little fits,
    /// the broker looks through a part of what there is at a time. Not cancel safe: a page that was asked for and not
    /// waited for is asked for again.
    ///
    /// # Errors
    /// As [`Client::request`], with the codes of the verb `history/search`.
    pub async fn next(&mut self) -> Option<Result<Vec<request::FoundEntry>, Refusal>> {
        for _ in 0..EMPTY_PAGES {
            if self.is_done {
                return None;
            }
            match self.client.ask(&self.ask).await {
                Ok(page) => {
                    self.is_done = page.end || page.next.is_none();
                    self.ask.next = page.next;
                    if !page.hits.is_empty() {
                        return Some(Ok(page.hits));
                    }
                }
                Err(refusal) => {
                    self.is_done = true;
                    return Some(Err(refusal));
                }
            }
        }
        Some(Ok(Vec::new()))
    }
}
