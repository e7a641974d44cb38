//! Sweeps: sled's pages are written anew, so that it can use their old segments again.
//!
//! sled frees a segment when the last page in it was written elsewhere, and has a thread that sees to it; but that thread
//! writes without bound between two syncs, which a power cut can turn into loss (see [`super::barrier`]), so it is off. In
//! its stead, when the file is much larger than what it holds, each commit pokes a few leaves: three changes to a key
//! beside each key, and sled writes the leaf whole. It knows nothing of what keys and values mean, but that a key's last
//! byte is [`super::values::KEY`]. Invariant: the keys that readers see and their values do not change.

use super::values::{self, Scratch};
use crate::StoreError;

/// A sweep begins when the file is larger than this many times what it holds. Appending alone makes it 2.5 times.
const LARGER: u64 = 4;

/// And larger than this many segments.
const SEGMENTS_AT_LEAST: u64 = 16;

/// Bytes of values looked at for each byte that is committed: a sweep is over when that part of the live bytes has been
/// written.
const PACE: usize = 16;

/// What poking a key costs besides its value.
const KEY_COST: usize = 128;

/// A sweep that is under way.
#[derive(Debug)]
pub(super) struct Sweep {
    tree: usize,
    from: Vec<u8>,
    credit: usize,
    seen_bytes: u64,
}

/// When to sweep.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    running: Option<Sweep>,
    /// Bytes that the last sweep saw, and how large the file was at its end.
    last: Option<(u64, u64)>,
}

impl Schedule {
    /// Begins a sweep where one is due. `file_bytes` is the size of the file, `live_bytes` about what is in the logs.
    pub(super) fn consider(&mut self, file_bytes: u64, live_bytes: u64, segment_bytes: usize) {
        let (seen, file_then) = self.last.unwrap_or_default();
        let live = live_bytes.max(seen.min(file_then / LARGER));
        let is_large = file_bytes > LARGER * live && file_bytes > SEGMENTS_AT_LEAST * segment_bytes as u64;
        if self.running.is_none() && is_large && file_bytes > file_then + live / 4 {
            self.running = Some(Sweep { tree: 0, from: Vec::new(), credit: 0, seen_bytes: 0 });
        }
    }

    /// Whether no sweep is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    /// Pokes what a commit of `added` bytes owes. Returns whether a sweep came to its end.
    pub(super) fn step(
        &mut self,
        added: usize,
        trees: &[&sled::Tree],
        scratch: &mut Scratch,
    ) -> Result<bool, StoreError> {
        let Some(sweep) = &mut self.running else { return Ok(false) };
        sweep.credit = sweep.credit.saturating_add(added.saturating_mul(PACE));
        while sweep.credit > 0 {
            let Some(tree) = trees.get(sweep.tree) else {
                self.last = Some((sweep.seen_bytes, scratch.barrier.file_bytes()?));
                self.running = None;
                return Ok(true);
            };
            sweep.poke(tree, scratch)?;
        }
        Ok(false)
    }
}

impl Sweep {
    fn poke(&mut self, tree: &sled::Tree, scratch: &mut Scratch) -> Result<(), StoreError> {
        let next = tree
            .range::<&[u8], _>((std::ops::Bound::Excluded(self.from.as_slice()), std::ops::Bound::Unbounded));
        let next = next.map(|item| item.map(|(key, value)| (key, value.len()))).next().transpose()?;
        let Some((key, length)) = next else {
            self.tree += 1;
            self.from.clear();
            return Ok(());
        };
        self.from.clear();
        self.from.extend_from_slice(&key);
        let cost = key.len() + length + KEY_COST;
        self.credit = self.credit.saturating_sub(cost);
        // A leaf of 16 keys meets 48 changes and is written five times at most.
        scratch.barrier.room_for(5 * cost)?;
        if let Some(beside) = self.from.last_mut().filter(|last| **last == values::KEY) {
            *beside = values::BESIDE;
            tree.insert(self.from.as_slice(), &[0])?;
            tree.insert(self.from.as_slice(), &[1])?;
            self.seen_bytes += cost as u64;
        }
        // What a crash left beside a key goes too.
        tree.remove(self.from.as_slice())?;
        Ok(())
    }
}
