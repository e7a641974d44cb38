//! The records of a space in the order of their keys, in bounded memory, from a store that gives them in none.
//!
//! Each pass over the space keeps those that come next, as many as fit. So a small space takes one pass, and a large one as
//! many as its bytes divided by the budget. Invariant: keys come in ascending order, each once.

use bytes::Bytes;
use katydid_store::{Records, Space, Store, StoreError};
use std::collections::{BTreeMap, btree_map};

/// Bytes of keys and values that one pass keeps.
const BUDGET_BYTES: usize = 32 << 20;
/// What a record takes beside them, about.
const RECORD_BYTES: usize = 128;

/// The walk.
pub(super) struct Sorted<'a> {
    store: &'a dyn Store,
    space: Space,
    budget: usize,
    kept: btree_map::IntoIter<Bytes, Bytes>,
    last: Option<Bytes>,
    /// There is more behind what is kept.
    has_more: bool,
}

impl<'a> Sorted<'a> {
    /// The records of `space`.
    pub(super) fn new(store: &'a dyn Store, space: Space) -> Self {
        Self::within(store, space, BUDGET_BYTES)
    }

    /// The same, with a budget.
    pub(super) fn within(store: &'a dyn Store, space: Space, budget: usize) -> Self {
        Self { store, space, budget, kept: BTreeMap::new().into_iter(), last: None, has_more: true }
    }

    fn pass(&mut self) -> Result<(), StoreError> {
        let mut kept: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        let mut bytes = 0;
        let weight = |key: &Bytes, value: &Bytes| key.len() + value.len() + RECORD_BYTES;
        // The smallest key that there was no room for: what lies behind it is for a later pass, whatever room there is.
        let mut below: Option<Bytes> = None;
        for record in Records::new(self.store, self.space) {
            let (key, value) = record?;
            let is_behind = self.last.as_ref().is_some_and(|last| key <= *last);
            if is_behind || below.as_ref().is_some_and(|below| key >= *below) {
                continue;
            }
            bytes += weight(&key, &value);
            if let Some(old) = kept.insert(key.clone(), value) {
                bytes -= weight(&key, &old);
            }
            // One record at least, so that the walk goes on.
            while bytes > self.budget && kept.len() > 1 {
                let Some((key, value)) = kept.pop_last() else { break };
                bytes -= weight(&key, &value);
                below = Some(key);
            }
        }
        self.has_more = below.is_some();
        self.kept = kept.into_iter();
        Ok(())
    }
}

impl Iterator for Sorted<'_> {
    type Item = Result<(Bytes, Bytes), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.kept.next() {
                self.last = Some(key.clone());
                return Some(Ok((key, value)));
            }
            if !self.has_more {
                return None;
            }
            if let Err(error) = self.pass() {
                self.has_more = false;
                return Some(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use katydid_store::{MemoryStore, Op};

    #[test]
    fn records_come_in_order_whatever_the_budget() {
        let store = MemoryStore::new();
        let key = |number: u32| Bytes::from(format!("{:05}", number.wrapping_mul(7919) % 10_007));
        let put = |number| Op::Put { space: Space(3), key: key(number), value: Bytes::from(vec![7; 50]) };
        store.commit((0..2_000).map(put).collect()).expect("commits");
        for budget in [1, 10_000, 1 << 20] {
            let found: Vec<Bytes> = Sorted::within(&store, Space(3), budget)
                .take(if budget == 1 { 20 } else { 2_000 })
                .map(|record| record.expect("reads").0)
                .collect();
            let mut expected: Vec<Bytes> = (0..2_000).map(key).collect();
            expected.sort();
            assert_eq!(found, expected[..found.len()], "{budget}");
        }
    }
}
