//! Amendments: an entry's content is replaced, and what was there before is erased.
//!
//! Before the commit is written, each amendment is resolved: where the entry is of the same commit, it is written with its
//! new content at once, and where it is not kept, the amendment is dropped. When the commit is synced, the history's chunks
//! are replaced, each in one step, then memory follows, then the old content is erased from the journal's blocks; a second
//! sync ends it. Invariant: a crash at any point leaves the whole commit or nothing of it, and opening the database does
//! the erasing again for every amendment that is in the journal.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;

use super::checkpoint::{self, Progress};
use super::journal::codec::Written;
use super::journal::{Amended, CommitNo};
use super::values::Scratch;
use super::{SledStore, Writer, shared};
use crate::{LogId, Op, Seq, StoreError};

impl SledStore {
    /// What of a commit is to be written.
    pub(super) fn resolved(&self, ops: Vec<Op>) -> Result<Written, StoreError> {
        if !ops.iter().any(|op| matches!(op, Op::Amend { .. })) {
            return Ok(Written { ops, replaced: Vec::new() });
        }
        let mut written = Written { ops: Vec::with_capacity(ops.len()), replaced: Vec::new() };
        // Where the newest content of an entry is, and what the commit leaves of older entries.
        let mut newest: HashMap<LogId, HashMap<Seq, usize>> = HashMap::new();
        let mut kept_from: HashMap<LogId, Seq> = HashMap::new();
        for op in ops {
            match &op {
                Op::Amend { log, seq, bytes } => {
                    if let Some(index) = newest.get(log).and_then(|of_log| of_log.get(seq)) {
                        set_content(&mut written.ops[*index], bytes);
                        continue;
                    }
                    let is_gone = kept_from.get(log).is_some_and(|from| seq < from);
                    let Some(old) = (if is_gone { None } else { self.length(*log, *seq)? }) else { continue };
                    written.replaced.push(old);
                    newest.entry(*log).or_default().insert(*seq, written.ops.len());
                }
                Op::Append { log, entry } => {
                    newest.entry(*log).or_default().insert(entry.seq, written.ops.len());
                }
                Op::Trim { log, below } => {
                    let from = kept_from.entry(*log).or_default();
                    *from = (*from).max(*below);
                }
                Op::DropLog { log } => {
                    kept_from.insert(*log, Seq::MAX);
                    newest.remove(log);
                }
                Op::Put { .. } | Op::Delete { .. } => {}
            }
            written.ops.push(op);
        }
        Ok(written)
    }

    /// How long an entry is that is kept.
    fn length(&self, log: LogId, seq: Seq) -> Result<Option<u64>, StoreError> {
        let span = {
            let state = shared(&self.state);
            let Some(state) = state.alive(log) else { return Ok(None) };
            if seq >= state.stored {
                let index = state.tail.binary_search_by_key(&seq, |entry| entry.seq);
                return Ok(index.ok().map(|index| state.tail[index].bytes.len() as u64));
            }
            state.span(log)
        };
        self.trees.history.length(span, seq)
    }

    /// Replaces contents in the history. Entries in tails are left to [`super::state`].
    pub(super) fn amend_history(
        &self,
        commit: CommitNo,
        ops: &[Op],
        scratch: &mut Scratch,
    ) -> Result<(), StoreError> {
        let mut contents: HashMap<LogId, BTreeMap<Seq, Bytes>> = HashMap::new();
        for op in ops {
            if let Op::Amend { log, seq, bytes } = op {
                contents.entry(*log).or_default().insert(*seq, bytes.clone());
            }
        }
        for (log, contents) in contents {
            let span = shared(&self.state)
                .alive(log)
                .filter(|state| commit > state.as_of)
                .map(|state| state.span(log));
            if let Some(span) = span {
                self.trees.history.amend(span, &contents, scratch)?;
            }
        }
        Ok(())
    }

    /// Erases what the entries held before from the journal, and from what a crash left of a checkpoint; synced.
    pub(super) fn erase(&self, writer: &mut Writer, amended: &Amended) -> Result<(), StoreError> {
        writer.journal.erase(amended, &mut writer.scratch.barrier)?;
        let logs: HashSet<LogId> = amended.keys().map(|(log, _)| *log).collect();
        for log in logs {
            let has_leftovers =
                || shared(&self.state).logs.get(&log).is_some_and(|state| state.stale_from.is_some());
            let mut progress = if has_leftovers() { Progress::More } else { Progress::Done };
            while progress == Progress::More {
                let (trees, last, scratch) = (&self.trees, writer.last_commit, &mut writer.scratch);
                (progress, _) = checkpoint::settle(log, trees, &self.state, last, scratch)?;
            }
        }
        writer.scratch.barrier.sync()
    }
}

fn set_content(op: &mut Op, content: &Bytes) {
    match op {
        Op::Append { entry, .. } => entry.bytes = content.clone(),
        Op::Amend { bytes, .. } => *bytes = content.clone(),
        _ => {}
    }
}
