//! A walk over the records of a space, page by page.
//!
//! A walk meets the records in memory first, those that are newest, then those that the running checkpoint has yet to
//! write, and then those on disk: a checkpoint only moves records that way, so none slips through between two pages. A
//! cursor says in which part it is and behind which key. Invariant: what is in memory goes before what is on disk.

use std::ops::Bound;

use bytes::Bytes;

use super::journal::CommitNo;
use super::records::Records;
use super::state::{Changes, State};
use crate::{Allowance, Cursor, Limit, Page, Space, StoreError};

/// The parts of a walk.
const CHANGES: u8 = 0;
const LEAVING: u8 = 1;
const DISK: u8 = 2;

/// One page. Nothing may be committed meanwhile.
pub(super) fn page(
    records: &Records,
    state: &State,
    last_commit: CommitNo,
    space: Space,
    cursor: &Cursor,
    limit: Limit,
) -> Result<Page, StoreError> {
    let began = cursor.commits.unwrap_or(last_commit);
    let mut walk = Walk {
        state,
        space,
        is_undisturbed: began == last_commit,
        allowance: Allowance::new(limit),
        page: Page::default(),
    };
    let mut after = cursor.after.clone();
    for part in cursor.part..=DISK {
        let stopped = match part {
            CHANGES => walk.memory(&state.changes, after.take()),
            LEAVING => walk.memory(&state.leaving, after.take()),
            _ => walk.disk(records, after.take())?,
        };
        if let Stopped::Behind(after) = stopped {
            walk.page.next = Some(Cursor { part, after, commits: Some(began) });
            break;
        }
    }
    Ok(walk.page)
}

/// Whether a part of the walk is over.
enum Stopped {
    AtEnd,
    /// The page is full; the next begins behind this key.
    Behind(Option<Bytes>),
}

struct Walk<'a> {
    state: &'a State,
    space: Space,
    /// Whether nothing was committed since the walk began.
    is_undisturbed: bool,
    allowance: Allowance,
    page: Page,
}

impl Walk<'_> {
    /// What memory says of a record: its value or that it is deleted. `None` where it says nothing.
    fn newest(&self, key: &Bytes) -> Option<&Option<Bytes>> {
        let name = (self.space, key.clone());
        self.state.changes.get(&name).or_else(|| self.state.leaving.get(&name))
    }

    fn memory(&mut self, changes: &Changes, after: Option<Bytes>) -> Stopped {
        let from = match &after {
            Some(key) => Bound::Excluded((self.space, key.clone())),
            None => Bound::Included((self.space, Bytes::new())),
        };
        let mut last = after;
        for ((space, key), value) in changes.range((from, Bound::Unbounded)) {
            if *space != self.space {
                break;
            }
            // What is leaving may have been changed again, and has come already.
            let is_newest = self.newest(key).is_some_and(|newest| std::ptr::eq(newest, value));
            if is_newest && let Some(value) = value {
                if !self.allowance.take(key.len() + value.len()) {
                    return Stopped::Behind(last);
                }
                self.page.records.push((key.clone(), value.clone()));
            }
            last = Some(key.clone());
        }
        Stopped::AtEnd
    }

    fn disk(&mut self, records: &Records, after: Option<Bytes>) -> Result<Stopped, StoreError> {
        let mut last = after;
        for item in records.items(self.space, last.clone().as_deref()) {
            let (stored, found) = item?;
            // Those that share an item come together.
            let length = found.iter().map(|(key, value)| key.len() + value.len()).sum();
            if !self.allowance.take(length) {
                return Ok(Stopped::Behind(last));
            }
            for (key, value) in found {
                match self.newest(&key) {
                    None => self.page.records.push((key, value)),
                    // It may have come to memory behind the walk.
                    Some(Some(value)) if !self.is_undisturbed => {
                        let value = value.clone();
                        self.page.records.push((key, value));
                    }
                    Some(_) => {}
                }
            }
            last = Some(stored);
        }
        Ok(Stopped::AtEnd)
    }
}
