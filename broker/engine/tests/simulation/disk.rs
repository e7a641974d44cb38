//! The disk of a simulated broker: one writer takes the commits of all shards in the order of their arrival; a commit is
//! durable when the writer has synced it, and only that survives a crash. Reads see what is durable.

use crate::world::SHARDS;
use katydid_engine::{ReadQuery, Restored, persist};
use katydid_store::{Limit, LogId, MemoryStore, Op, Space, Store};
use std::{collections::VecDeque, sync::Arc};

/// Logs with this bit are queues of sessions, the others are rooms: for the model to know where a message was kept.
pub(crate) const QUEUE_BIT: u64 = 1 << 63;

/// A commit on its way: shard, number, what to do.
pub(crate) type Commit = (usize, u64, Vec<Op>);

/// The disk and its writer.
pub(crate) struct Disk {
    pub(crate) store: Arc<MemoryStore>,
    /// Commits that each shard handed out and the writer has not taken, by shard.
    pub(crate) handed: Vec<VecDeque<Commit>>,
    /// Commits of all shards, as the writer took them.
    pub(crate) queue: VecDeque<Commit>,
    /// Synced, but the shard has not been told.
    pub(crate) notices: VecDeque<(usize, u64)>,
    pub(crate) reads: Vec<(usize, u64, LogId, ReadQuery)>,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self {
            store: Arc::new(MemoryStore::new()),
            handed: (0..SHARDS).map(|_| VecDeque::new()).collect(),
            queue: VecDeque::new(),
            notices: VecDeque::new(),
            reads: Vec::new(),
        }
    }

    /// The writer takes the oldest commit of a shard.
    pub(crate) fn take(&mut self, shard: usize) -> bool {
        let taken = self.handed[shard].pop_front();
        taken.map(|commit| self.queue.push_back(commit)).is_some()
    }

    /// Makes the oldest commit durable and returns what was in it.
    pub(crate) fn sync_one(&mut self) -> Option<Result<Vec<Op>, String>> {
        let (shard, number, ops) = self.queue.pop_front()?;
        if let Err(error) = self.store.commit(ops.clone()) {
            return Some(Err(error.to_string()));
        }
        self.notices.push_back((shard, number));
        Some(Ok(ops))
    }

    /// Everything that is not durable is gone, and nobody waits any more.
    pub(crate) fn crash(&mut self) {
        self.handed.iter_mut().for_each(VecDeque::clear);
        self.queue.clear();
        self.notices.clear();
        self.reads.clear();
    }

    /// Answers a read from what is durable.
    pub(crate) fn read(&self, log: LogId, query: ReadQuery) -> Vec<katydid_store::Entry> {
        let found = match query {
            ReadQuery::Excess { .. } => Ok(Vec::new()),
            ReadQuery::From { seq, entries, bytes } => self.store.read(log, seq, Limit { entries, bytes }),
            ReadQuery::Back { before, entries, bytes } => {
                self.store.read_back(log, before, Limit { entries, bytes })
            }
            ReadQuery::Since { time_ms, entries, bytes } => {
                self.store.seek_time(log, time_ms).and_then(|seq| match seq {
                    Some(seq) => self.store.read(log, seq, Limit { entries, bytes }),
                    None => Ok(Vec::new()),
                })
            }
        };
        found.expect("the memory store reads")
    }

    /// What a broker that starts now finds.
    pub(crate) fn restored(&self) -> Restored {
        let mut records = Vec::new();
        for space in 0..=16 {
            let found = self.store.scan(Space(space)).expect("the memory store reads");
            records.extend(found.into_iter().map(|(key, value)| (Space(space), key, value)));
        }
        Restored { records, logs: self.store.logs().expect("the memory store reads") }
    }

    /// How many records of a namespace belong to sessions that exist.
    pub(crate) fn records_of_sessions(&self, space: Space) -> usize {
        let scan = |space| self.store.scan(space).expect("the memory store reads");
        let sessions: Vec<_> = scan(persist::SESSIONS).into_iter().map(|(key, _)| key).collect();
        let belongs = |key: &[u8]| sessions.iter().any(|session| key.starts_with(session));
        scan(space).iter().filter(|(key, _)| belongs(key)).count()
    }
}
