//! Walks over everything that a store holds, in bounded memory: for copies, exports and checks.
//!
//! Knows the contract and no backend. Invariant: what is held at a time is one page; an error ends the walk.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{Cursor, Entry, Limit, LogId, Page, Seq, Space, Store, StoreError};

/// What is read at once.
const PAGE: Limit = Limit { entries: 1_000, bytes: 256 << 10 };

/// The entries of a log, ascending.
#[derive(Debug)]
pub struct Entries<'a, S: ?Sized> {
    store: &'a S,
    log: LogId,
    /// `None` when all were read.
    from: Option<Seq>,
    read: VecDeque<Entry>,
}

impl<'a, S: Store + ?Sized> Entries<'a, S> {
    /// The entries of `log` from `from` on, those that are appended meanwhile included.
    pub fn new(store: &'a S, log: LogId, from: Seq) -> Self {
        Self { store, log, from: Some(from), read: VecDeque::new() }
    }
}

impl<S: Store + ?Sized> Iterator for Entries<'_, S> {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.read.is_empty() {
            match self.store.read(self.log, self.from.take()?, PAGE) {
                Ok(entries) => self.read = entries.into(),
                Err(error) => return Some(Err(error)),
            }
            self.from = self.read.back().and_then(|last| last.seq.checked_add(1));
        }
        self.read.pop_front().map(Ok)
    }
}

/// The records of a space, in no order; see [`Store::page`].
#[derive(Debug)]
pub struct Records<'a, S: ?Sized> {
    store: &'a S,
    space: Space,
    /// `None` when all were read.
    next: Option<Cursor>,
    read: VecDeque<(Bytes, Bytes)>,
}

impl<'a, S: Store + ?Sized> Records<'a, S> {
    /// All records of `space`.
    pub fn new(store: &'a S, space: Space) -> Self {
        Self { store, space, next: Some(Cursor::default()), read: VecDeque::new() }
    }
}

impl<S: Store + ?Sized> Iterator for Records<'_, S> {
    type Item = Result<(Bytes, Bytes), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.read.is_empty() {
            match self.store.page(self.space, &self.next.take()?, PAGE) {
                Ok(Page { records, next }) => (self.read, self.next) = (records.into(), next),
                Err(error) => return Some(Err(error)),
            }
        }
        self.read.pop_front().map(Ok)
    }
}
