//! The journal: each commit as one run of blocks, until a checkpoint has put its content where it belongs.
//!
//! Knows how commits lie in blocks, and nothing of what operations do; how those are written down is in [`codec`]. A
//! block lies in a numbered slot of one tree; slots are used again in turn, so that a commit in steady state replaces an
//! item in place and the tree never changes shape. A block's body is the number of its commit, its part and the number of
//! parts (each 4 or 8 bytes, little endian), and its part of the commit's operations. Invariant: a slot is written only
//! when the block in it is below the checkpoint's mark *and* that mark is synced, or to erase from it what a later commit
//! that is synced amends ([`Journal::erase`]); the commits above the mark are there without a gap, but for the last one,
//! which a crash may have cut short, and which was then never acknowledged.

pub(super) mod codec;

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;

use super::barrier::Barrier;
use super::sizes::Sizes;
use crate::block::{self, Place, Reader, Seal};
use crate::{LogId, Seq, StoreError};
use codec::{Mark, Marks, Written, decode_ops, mark_of};

/// Bytes of a block's body before its operations.
const HEAD_BYTES: usize = 16;

/// A commit's number. The first is 1; 0 stands before every commit.
pub(super) type CommitNo = u64;

/// What of the journal is needed again, and where the next block goes.
#[derive(Debug)]
pub(super) struct Journal {
    tree: sled::Tree,
    free: VecDeque<Free>,
    /// Bytes in each slot.
    slots: Vec<u32>,
    live: VecDeque<Block>,
    live_bytes: usize,
    largest: usize,
    block: Vec<u8>,
    seal: Seal,
}

/// A slot that may be written. It holds an old block until then.
#[derive(Debug)]
struct Free {
    slot: u32,
    /// The entries whose contents are in it; `None` where nobody has looked.
    marks: Option<Marks>,
}

#[derive(Debug)]
struct Block {
    commit: CommitNo,
    slot: u32,
    bytes: usize,
    /// The entries whose contents are in it.
    marks: Marks,
}

/// A commit that was found in the journal.
pub(super) type Found = (CommitNo, Written);

/// Entries that were amended, and the last commit that did it.
pub(super) type Amended = HashMap<(LogId, Seq), CommitNo>;

impl Journal {
    /// Reads what commits above `mark` there are, in order.
    pub(super) fn open(db: &sled::Db, mark: CommitNo, seal: &Seal) -> Result<(Self, Vec<Found>), StoreError> {
        let tree = db.open_tree("journal")?;
        let mut journal = Self {
            tree,
            free: VecDeque::new(),
            slots: Vec::new(),
            live: VecDeque::new(),
            live_bytes: 0,
            largest: 0,
            block: Vec::new(),
            seal: seal.clone(),
        };
        let mut commits: BTreeMap<CommitNo, BTreeMap<u32, (Block, u32, Bytes)>> = BTreeMap::new();
        for item in &journal.tree {
            let (key, value) = item?;
            let slot = u32::from_be_bytes(key.as_ref().try_into().map_err(|_| damaged("a slot's key"))?);
            let bytes = value.len();
            journal.note_size(slot, bytes);
            journal.largest = journal.largest.max(bytes);
            let mut reader = Reader::new(seal.open(place(&key), &block::shared(value))?);
            let commit = u64::from_le_bytes(reader.fixed()?);
            let part = u32::from_le_bytes(reader.fixed()?);
            let parts = u32::from_le_bytes(reader.fixed()?);
            if commit <= mark {
                journal.free.push_back(Free { slot, marks: None });
            } else {
                let block = Block { commit, slot, bytes, marks: Marks::default() };
                commits.entry(commit).or_default().insert(part, (block, parts, reader.rest()));
            }
        }
        journal.discard_cut_commit(&mut commits)?;
        let mut found = Vec::with_capacity(commits.len());
        for (expected, (commit, parts)) in (mark + 1..).zip(commits) {
            if commit != expected || parts.values().any(|(_, count, _)| *count as usize != parts.len()) {
                return Err(damaged(&format!("commit {expected}")));
            }
            let ops: Vec<Bytes> = parts.values().map(|(_, _, ops)| ops.clone()).collect();
            let ops = if let [one] = ops.as_slice() { one.clone() } else { ops.concat().into() };
            let written = decode_ops(ops)?;
            for (mut block, ..) in parts.into_values() {
                journal.live_bytes += block.bytes;
                // Of several blocks, each is taken to hold everything.
                block.marks = written.marks();
                journal.live.push_back(block);
            }
            found.push((commit, written));
        }
        Ok((journal, found))
    }

    /// Removes what a crash left of a commit that was being written. It was not acknowledged.
    fn discard_cut_commit(
        &mut self,
        commits: &mut BTreeMap<CommitNo, BTreeMap<u32, (Block, u32, Bytes)>>,
    ) -> Result<(), StoreError> {
        let Some(last) = commits.last_entry() else { return Ok(()) };
        let is_whole = last.get().values().all(|(_, parts, _)| *parts as usize == last.get().len());
        if !is_whole {
            for (block, ..) in last.remove().into_values() {
                self.tree.remove(block.slot.to_be_bytes())?;
                self.free.push_back(Free { slot: block.slot, marks: Some(Marks::default()) });
            }
        }
        Ok(())
    }

    fn note_size(&mut self, slot: u32, bytes: usize) {
        let index = slot as usize;
        if index >= self.slots.len() {
            self.slots.resize(index + 1, 0);
        }
        self.slots[index] = bytes as u32;
    }

    /// Writes one commit: its operations, and for each content among them where it begins. A long one is synced in between; it counts when its last block is there.
    pub(super) fn append(
        &mut self,
        commit: CommitNo,
        ops: &[u8],
        marks: &[(usize, Mark)],
        sizes: Sizes,
        barrier: &mut Barrier,
    ) -> Result<(), StoreError> {
        let part_bytes = sizes.value - self.seal.bytes() - HEAD_BYTES;
        let parts = ops.len().div_ceil(part_bytes) as u32;
        barrier.room_for(2 * Sizes::change(self.largest, self.largest))?;
        for (part, ops) in (0_u32..).zip(ops.chunks(part_bytes)) {
            self.begin_block(commit, part, parts);
            self.block.extend_from_slice(ops);
            let slot = self.free.pop_front().map_or(self.slots.len() as u32, |free| free.slot);
            self.seal.seal(place(&slot.to_be_bytes()), &mut self.block);
            barrier.room_for(Sizes::one_of_a_run(self.block.len()))?;
            self.tree.insert(slot.to_be_bytes(), self.block.as_slice())?;
            let bytes = self.block.len();
            self.note_size(slot, bytes);
            self.largest = self.largest.max(bytes);
            self.live_bytes += bytes;
            let marks = marks_within(marks, part as usize * part_bytes, ops.len());
            self.live.push_back(Block { commit, slot, bytes, marks });
        }
        Ok(())
    }

    fn begin_block(&mut self, commit: CommitNo, part: u32, parts: u32) {
        self.seal.begin(&mut self.block);
        self.block.extend_from_slice(&commit.to_le_bytes());
        self.block.extend_from_slice(&part.to_le_bytes());
        self.block.extend_from_slice(&parts.to_le_bytes());
    }

    /// Lets the slots of all commits up to `mark` be used again; the mark must be on stable storage.
    pub(super) fn release(&mut self, mark: CommitNo) {
        let covered = self.live.partition_point(|block| block.commit <= mark);
        for block in self.live.drain(..covered) {
            self.live_bytes -= block.bytes;
            self.free.push_back(Free { slot: block.slot, marks: Some(block.marks) });
        }
    }

    /// Erases what `amended` entries held before, wherever a block has it: zeros of the same length take its place in
    /// the commits that a restart would read, and old blocks go as a whole. The amending commits must be on stable
    /// storage: until this is, a restart finds some zeros where others are not yet, and puts the new contents over all.
    pub(super) fn erase(&mut self, amended: &Amended, barrier: &mut Barrier) -> Result<(), StoreError> {
        let mut wanted: Vec<Mark> = amended.keys().map(|(log, seq)| mark_of(*log, *seq)).collect();
        wanted.sort_unstable();
        let filter = codec::filter(&wanted);
        let is_in = |marks: &Marks| marks.has_some(&wanted, filter);
        for index in 0..self.free.len() {
            if self.free[index].marks.as_ref().is_none_or(is_in) {
                // A commit before all commits, with nothing in it.
                self.begin_block(0, 0, 1);
                let slot = self.free[index].slot;
                self.replace(slot, barrier)?;
                self.free[index].marks = Some(Marks::default());
            }
        }
        let last = amended.values().copied().max().unwrap_or_default();
        let before = self.live.iter().take_while(|block| block.commit < last);
        let mut hits: Vec<CommitNo> =
            before.filter(|block| is_in(&block.marks)).map(|block| block.commit).collect();
        hits.dedup();
        for commit in hits {
            self.erase_in(commit, amended, barrier)?;
        }
        Ok(())
    }

    fn erase_in(
        &mut self,
        commit: CommitNo,
        amended: &Amended,
        barrier: &mut Barrier,
    ) -> Result<(), StoreError> {
        let begin = self.live.partition_point(|block| block.commit < commit);
        let slots: Vec<u32> = self
            .live
            .range(begin..)
            .take_while(|block| block.commit == commit)
            .map(|block| block.slot)
            .collect();
        let mut parts: Vec<Bytes> = Vec::with_capacity(slots.len());
        for slot in &slots {
            let key = slot.to_be_bytes();
            let value = self.tree.get(key)?.ok_or_else(|| damaged("a slot"))?;
            let body = self.seal.open(place(&key), &block::shared(value))?;
            parts.push(
                body.get(HEAD_BYTES..).map(|ops| body.slice_ref(ops)).ok_or_else(|| damaged("a block"))?,
            );
        }
        let old = parts.concat();
        let mut new = old.clone();
        codec::erase(&mut new, |log, seq| amended.get(&(log, seq)).is_some_and(|last| *last > commit))?;
        let mut at = 0;
        for (part, (slot, ops)) in (0_u32..).zip(slots.iter().zip(&parts)) {
            let range = at..at + ops.len();
            at = range.end;
            if old[range.clone()] != new[range.clone()] {
                self.begin_block(commit, part, slots.len() as u32);
                self.block.extend_from_slice(&new[range]);
                self.replace(*slot, barrier)?;
            }
        }
        Ok(())
    }

    /// Writes the block that was begun over the one in `slot`.
    fn replace(&mut self, slot: u32, barrier: &mut Barrier) -> Result<(), StoreError> {
        self.seal.seal(place(&slot.to_be_bytes()), &mut self.block);
        // The leaf that may be written whole has the slots beside this one.
        let (index, beside) = (slot as usize, 20);
        let near = &self.slots[index.saturating_sub(beside)..self.slots.len().min(index + beside)];
        let largest = near.iter().copied().max().unwrap_or_default() as usize;
        barrier.room_for(Sizes::one_of_a_run(largest.max(self.block.len())))?;
        self.tree.insert(slot.to_be_bytes(), self.block.as_slice())?;
        let bytes = self.block.len();
        self.note_size(slot, bytes);
        Ok(())
    }

    /// Bytes of the blocks that a restart would read.
    pub(super) fn live_bytes(&self) -> usize {
        self.live_bytes
    }

    /// The number of those blocks.
    pub(super) fn live_blocks(&self) -> usize {
        self.live.len()
    }
}

/// The marks of the contents that lie within `length` bytes from `begin` on, in part at least.
fn marks_within(marks: &[(usize, Mark)], begin: usize, length: usize) -> Marks {
    // The one before may reach into it.
    let first = marks.partition_point(|(at, _)| *at < begin).saturating_sub(1);
    let of_part = marks[first..].iter().take_while(|(at, _)| *at < begin + length);
    of_part.map(|(_, mark)| *mark).collect()
}

fn place(key: &[u8]) -> Place<'_> {
    Place { tree: "journal", key }
}

fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(format!("{what} of the journal is damaged"))
}
