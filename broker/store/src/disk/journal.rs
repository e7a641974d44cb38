//! The journal: each commit as one run of blocks, until a checkpoint has put its content where it belongs.
//!
//! Knows how operations are written down, and nothing of what they do. A block lies in a numbered slot of one tree;
//! slots are used again in turn, so that a commit in steady state replaces an item in place and the tree never changes
//! shape. A block's body is the number of its commit, its part and the number of parts (each 4 or 8 bytes, little
//! endian), and its part of the commit's operations. Invariant: a slot is written only when the block in it is below the
//! checkpoint's mark *and* that mark is synced; the commits above the mark are there without a gap, but for the last one,
//! which a crash may have cut short, and which was then never acknowledged.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::barrier::Barrier;
use super::sizes::Sizes;
use crate::block::{self, Reader, put_bytes, put_varint};
use crate::{Entry, Op, Space, StoreError};

const APPEND: u8 = 1;
const TRIM: u8 = 2;
const DROP_LOG: u8 = 3;
const PUT: u8 = 4;
const DELETE: u8 = 5;

/// Bytes of a block's body before its operations.
const HEAD_BYTES: usize = 16;

/// A commit's number. The first is 1; 0 stands before every commit.
pub(super) type CommitNo = u64;

/// What of the journal is needed again, and where the next block goes.
#[derive(Debug)]
pub(super) struct Journal {
    tree: sled::Tree,
    free: VecDeque<u32>,
    slots: u32,
    live: VecDeque<Block>,
    live_bytes: usize,
    largest: usize,
    block: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    commit: CommitNo,
    slot: u32,
    bytes: usize,
}

/// A commit that was found in the journal.
pub(super) type Found = (CommitNo, Vec<Op>);

impl Journal {
    /// Reads what commits above `mark` there are, in order.
    pub(super) fn open(db: &sled::Db, mark: CommitNo) -> Result<(Self, Vec<Found>), StoreError> {
        let tree = db.open_tree("journal")?;
        let mut journal = Self {
            tree,
            free: VecDeque::new(),
            slots: 0,
            live: VecDeque::new(),
            live_bytes: 0,
            largest: 0,
            block: Vec::new(),
        };
        let mut commits: BTreeMap<CommitNo, BTreeMap<u32, (Block, u32, Bytes)>> = BTreeMap::new();
        for item in &journal.tree {
            let (key, value) = item?;
            let slot = u32::from_be_bytes(key.as_ref().try_into().map_err(|_| damaged("a slot's key"))?);
            journal.slots = slot + 1;
            let bytes = value.len();
            journal.largest = journal.largest.max(bytes);
            let mut reader = Reader::new(block::open(&block::shared(value))?);
            let commit = u64::from_le_bytes(reader.fixed()?);
            let part = u32::from_le_bytes(reader.fixed()?);
            let parts = u32::from_le_bytes(reader.fixed()?);
            if commit <= mark {
                journal.free.push_back(slot);
            } else {
                let block = Block { commit, slot, bytes };
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
            for (block, ..) in parts.into_values() {
                journal.live_bytes += block.bytes;
                journal.live.push_back(block);
            }
            let ops = if let [one] = ops.as_slice() { one.clone() } else { ops.concat().into() };
            found.push((commit, decode_ops(ops)?));
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
                self.free.push_back(block.slot);
            }
        }
        Ok(())
    }

    /// Writes one commit. A long one is synced in between; it counts when its last block is there.
    pub(super) fn append(
        &mut self,
        commit: CommitNo,
        ops: &[u8],
        sizes: Sizes,
        barrier: &mut Barrier,
    ) -> Result<(), StoreError> {
        let part_bytes = sizes.value - block::SEAL_BYTES - HEAD_BYTES;
        let parts = ops.len().div_ceil(part_bytes) as u32;
        barrier.room_for(2 * Sizes::change(self.largest, self.largest))?;
        for (part, ops) in (0_u32..).zip(ops.chunks(part_bytes)) {
            block::begin(&mut self.block);
            self.block.extend_from_slice(&commit.to_le_bytes());
            self.block.extend_from_slice(&part.to_le_bytes());
            self.block.extend_from_slice(&parts.to_le_bytes());
            self.block.extend_from_slice(ops);
            block::seal(&mut self.block);
            let slot = self.free.pop_front().unwrap_or(self.slots);
            self.slots = self.slots.max(slot + 1);
            barrier.room_for(Sizes::one_of_a_run(self.block.len()))?;
            self.tree.insert(slot.to_be_bytes(), self.block.as_slice())?;
            let bytes = self.block.len();
            self.largest = self.largest.max(bytes);
            self.live_bytes += bytes;
            self.live.push_back(Block { commit, slot, bytes });
        }
        Ok(())
    }

    /// Lets the slots of all commits up to `mark` be used again; the mark must be on stable storage.
    pub(super) fn release(&mut self, mark: CommitNo) {
        let covered = self.live.partition_point(|block| block.commit <= mark);
        for block in self.live.drain(..covered) {
            self.live_bytes -= block.bytes;
            self.free.push_back(block.slot);
        }
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

fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(format!("{what} of the journal is damaged"))
}

/// Writes operations down, one behind the other.
pub(super) fn encode_ops(ops: &[Op], out: &mut Vec<u8>) {
    for op in ops {
        match op {
            Op::Append { log, entry } => {
                out.push(APPEND);
                out.extend_from_slice(&log.to_le_bytes());
                put_varint(out, entry.seq);
                put_varint(out, entry.time_ms);
                put_bytes(out, &entry.bytes);
            }
            Op::Trim { log, below } => {
                out.push(TRIM);
                out.extend_from_slice(&log.to_le_bytes());
                put_varint(out, *below);
            }
            Op::DropLog { log } => {
                out.push(DROP_LOG);
                out.extend_from_slice(&log.to_le_bytes());
            }
            Op::Put { space, key, value } => {
                out.push(PUT);
                out.push(space.0);
                put_bytes(out, key);
                put_bytes(out, value);
            }
            Op::Delete { space, key } => {
                out.push(DELETE);
                out.push(space.0);
                put_bytes(out, key);
            }
        }
    }
}

fn decode_ops(bytes: Bytes) -> Result<Vec<Op>, StoreError> {
    let mut reader = Reader::new(bytes);
    let mut ops = Vec::new();
    while !reader.is_empty() {
        ops.push(match reader.byte()? {
            APPEND => {
                let log = u64::from_le_bytes(reader.fixed()?);
                let (seq, time_ms) = (reader.varint()?, reader.varint()?);
                Op::Append { log, entry: Entry { seq, time_ms, bytes: reader.bytes()? } }
            }
            TRIM => Op::Trim { log: u64::from_le_bytes(reader.fixed()?), below: reader.varint()? },
            DROP_LOG => Op::DropLog { log: u64::from_le_bytes(reader.fixed()?) },
            PUT => Op::Put { space: Space(reader.byte()?), key: reader.bytes()?, value: reader.bytes()? },
            DELETE => Op::Delete { space: Space(reader.byte()?), key: reader.bytes()? },
            other => return Err(damaged(&format!("operation {other}"))),
        });
    }
    Ok(ops)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_come_back_and_no_prefix_panics() {
        let key = Bytes::from_static(b"key");
        let ops = vec![
            Op::Append {
                log: u64::MAX,
                entry: Entry { seq: 7, time_ms: 1_763_692_800_000, bytes: key.clone() },
            },
            Op::Trim { log: 1, below: u64::MAX },
            Op::DropLog { log: 2 },
            Op::Put { space: Space(9), key: key.clone(), value: Bytes::new() },
            Op::Delete { space: Space(0), key },
        ];
        let mut out = Vec::new();
        encode_ops(&ops, &mut out);
        assert_eq!(decode_ops(out.clone().into()).expect("as written"), ops);
        for end in 0..out.len() {
            if let Ok(found) = decode_ops(Bytes::copy_from_slice(&out[..end])) {
                assert!(ops.starts_with(&found), "prefix of {end} bytes");
            }
        }
    }
}
