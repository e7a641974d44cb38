//! The thread that keeps the index of words: follows what the store's writer says has changed, behind it.
//!
//! The writer notes which logs have changed and which entries were amended ([`Noted`]), and commits a mark with each amendment, so that
//! one that a crash left undone is done at the next start. What was said waits for company: a log is followed when enough of
//! it waits or it has waited long enough, and while the broker is busy only when very much waits. After each step the thread
//! rests as long as it worked. Invariant: a mark is deleted only after the index has forgotten the entry.

use bytes::Bytes;
use katydid_engine::archive;
use katydid_search::Index;
use katydid_store::{LogId, Op, Seq, Space, Store, StoreError};
use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tracing::{debug, error};

use super::said;
use crate::node::storage::{Commit, OpenStore, StorageLink};

/// Log and number of each entry that was amended and may be in the index. Not among the spaces that a start loads.
const AMENDED: Space = Space(32);

/// How long changes are gathered before they are looked at.
const GATHER: Duration = Duration::from_secs(2);
/// The least of it, where the configured delay is shorter.
const GATHER_LEAST: Duration = Duration::from_millis(5);
/// Entries that make it worth while to follow a log at once.
const ENOUGH: u64 = 512;
/// Appended entries a second above which the broker is busy, and the index waits.
const BUSY: u64 = 2_000;
/// Entries of one log above which it does not wait even then, so that a search needs not read too much.
const TOO_MUCH: u64 = 100_000;
/// How much longer than a step it rests behind it while the broker is busy.
const BUSY_REST: u32 = 4;

/// What one commit holds for the index.
#[derive(Debug, Default)]
pub(in crate::node) struct Noted {
    logs: Vec<LogId>,
    amended: Vec<(LogId, Seq)>,
    appended: u64,
}

impl Noted {
    /// Looks through the steps of a commit, and adds the marks of what they amend.
    pub(in crate::node) fn of(ops: &mut Vec<Op>) -> Self {
        let mut noted = Self::default();
        for op in &*ops {
            match *op {
                Op::Append { log, .. } => {
                    noted.appended += 1;
                    noted.log(log);
                }
                Op::Trim { log, .. } | Op::DropLog { log } => noted.log(log),
                Op::Amend { log, seq, .. } if archive::is_of_place(log) => noted.amended.push((log, seq)),
                Op::Amend { .. } | Op::Put { .. } | Op::Delete { .. } => {}
            }
        }
        ops.extend(noted.amended.iter().map(|&(log, seq)| Op::Put {
            space: AMENDED,
            key: mark(log, seq),
            value: Bytes::new(),
        }));
        noted
    }

    fn log(&mut self, log: LogId) {
        // What is said in one place at a time is many steps in a row.
        if self.logs.last() != Some(&log) && archive::is_of_place(log) {
            self.logs.push(log);
        }
    }
}

fn mark(log: LogId, seq: Seq) -> Bytes {
    [log.to_be_bytes(), seq.to_be_bytes()].concat().into()
}

fn read_mark(key: &[u8]) -> Option<(LogId, Seq)> {
    let (log, seq) = key.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*log), u64::from_be_bytes(seq.try_into().ok()?)))
}

/// What has changed since the thread looked last.
#[derive(Debug, Default)]
pub(in crate::node) struct Changes {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    logs: HashSet<LogId>,
    amended: Vec<(LogId, Seq)>,
    appended: u64,
    is_over: bool,
}

impl State {
    fn is_empty(&self) -> bool {
        self.logs.is_empty() && self.amended.is_empty()
    }
}

impl Changes {
    /// Takes in what a commit holds that is on disk.
    pub(in crate::node) fn note(&self, noted: Noted) {
        if noted.logs.is_empty() && noted.amended.is_empty() {
            return;
        }
        let mut state = self.lock();
        let was_empty = state.is_empty();
        state.logs.extend(noted.logs);
        state.amended.extend(noted.amended);
        state.appended += noted.appended;
        if was_empty {
            drop(state);
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_one();
    }

    /// Waits for so long, or for the end. Returns false at the end.
    fn rest(&self, rest: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), rest, |state| !state.is_over);
        !waited.unwrap_or_else(PoisonError::into_inner).0.is_over
    }

    /// Waits for a change where nothing is left to be done. Returns false at the end.
    fn wait(&self) -> bool {
        let waited = self.changed.wait_while(self.lock(), |state| state.is_empty() && !state.is_over);
        !waited.unwrap_or_else(PoisonError::into_inner).is_over
    }

    fn take(&self) -> State {
        std::mem::take(&mut *self.lock())
    }
}

/// The thread.
#[derive(Debug)]
pub(in crate::node) struct Indexing {
    thread: JoinHandle<()>,
    changes: Arc<Changes>,
}

impl Indexing {
    /// Starts it. What a crash or an import left is done first. `delay` is how long what is said in a quiet place may wait.
    ///
    /// # Errors
    /// The system gave no thread.
    pub(in crate::node) fn start(
        store: &OpenStore,
        changes: Arc<Changes>,
        storage: StorageLink,
        delay: Duration,
    ) -> io::Result<Self> {
        let mut follower = Follower {
            store: Arc::clone(&store.store),
            index: Arc::clone(&store.index),
            changes: Arc::clone(&changes),
            storage,
            delay,
            waiting: HashMap::new(),
        };
        let thread = thread::Builder::new().name("index".into()).spawn(move || {
            if let Err(error) = follower.run() {
                // Searches go on: they read what the index does not have.
                error!(%error, "the index for searches cannot be kept; it stays as it is until a restart");
            }
        })?;
        Ok(Self { thread, changes })
    }

    /// Ends the thread after the step at hand.
    pub(in crate::node) fn finish(self) {
        self.changes.end();
        // A panic in there has ended the process already.
        let _ = self.thread.join();
    }
}

/// What the thread owns.
struct Follower {
    store: Arc<dyn Store>,
    index: Arc<Index>,
    changes: Arc<Changes>,
    storage: StorageLink,
    delay: Duration,
    /// Logs that have changed, and since when they wait.
    waiting: HashMap<LogId, Instant>,
}

impl Follower {
    fn run(&mut self) -> Result<(), StoreError> {
        self.catch_up()?;
        let gather = GATHER.min(self.delay.max(GATHER_LEAST));
        let mut looked = Instant::now();
        loop {
            if self.waiting.is_empty() && !self.changes.wait() {
                return Ok(());
            }
            // Those who follow soon are taken along.
            if !self.changes.rest(gather) {
                return Ok(());
            }
            let State { logs, amended, appended, .. } = self.changes.take();
            let per_sec = u128::from(appended) * 1_000 / looked.elapsed().as_millis().max(1);
            looked = Instant::now();
            for log in logs {
                self.waiting.entry(log).or_insert(looked);
            }
            self.forget(amended)?;
            // Who wants no delay wants none.
            let is_busy = per_sec > u128::from(BUSY) && !self.delay.is_zero();
            if !self.follow(is_busy)? {
                return Ok(());
            }
        }
    }

    /// Finds what there is to do that nobody will tell of.
    fn catch_up(&mut self) -> Result<(), StoreError> {
        let marks = self.store.scan(AMENDED)?;
        self.forget(marks.iter().filter_map(|(key, _)| read_mark(key)).collect())?;
        let (now, logs) = (Instant::now(), self.store.logs()?);
        let mut known: HashMap<LogId, Seq> = self.index.logs().into_iter().collect();
        for (log, stats) in logs {
            if archive::is_of_place(log) && known.remove(&log).unwrap_or(0) != stats.next {
                self.waiting.insert(log, now);
            }
        }
        // Those that are left are no more.
        self.waiting.extend(known.into_keys().map(|log| (log, now)));
        Ok(())
    }

    /// Has the index forget entries, and then deletes their marks.
    fn forget(&mut self, amended: Vec<(LogId, Seq)>) -> Result<(), StoreError> {
        let mut by_log: HashMap<LogId, Vec<Seq>> = HashMap::new();
        amended.iter().for_each(|(log, seq)| by_log.entry(*log).or_default().push(*seq));
        for (log, mut seqs) in by_log {
            seqs.sort_unstable();
            self.index.forget(log, &seqs)?;
            let marks = seqs.into_iter().map(|seq| Op::Delete { space: AMENDED, key: mark(log, seq) });
            self.storage.commit(Commit { shard: None, number: 0, ops: marks.collect(), urgent: false });
        }
        Ok(())
    }

    /// Follows the logs for which it is time. Returns false at the end.
    fn follow(&mut self, is_busy: bool) -> Result<bool, StoreError> {
        let logs: Vec<(LogId, Instant)> = self.waiting.iter().map(|(log, since)| (*log, *since)).collect();
        for (log, since) in logs {
            let next = self.store.stats(log)?.map_or(0, |stats| stats.next);
            let behind = next.saturating_sub(self.index.reached(log));
            let is_due = behind >= ENOUGH || since.elapsed() >= self.delay;
            if !is_due || (is_busy && behind < TOO_MUCH) {
                continue;
            }
            self.waiting.remove(&log);
            loop {
                let began = Instant::now();
                let followed = self.index.follow(&*self.store, said, log)?;
                let took = began.elapsed();
                debug!(log, entries = followed.entries, ?took, "the index followed a log");
                if !self.changes.rest(if is_busy { took * BUSY_REST } else { took }) {
                    return Ok(false);
                }
                if !followed.has_more {
                    break;
                }
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use katydid_store::{Entry, MemoryStore};

    fn append(log: LogId, seq: Seq) -> Op {
        Op::Append { log, entry: Entry { seq, time_ms: 1, bytes: Bytes::from_static(b"said") } }
    }

    #[test]
    fn a_commit_says_which_logs_it_changes_and_marks_what_it_amends() {
        let queue = 1 << 63 | 5;
        let amend = |log, seq| Op::Amend { log, seq, bytes: Bytes::new() };
        let mut ops = vec![append(7, 1), append(7, 2), append(queue, 3), amend(8, 4), amend(queue, 1)];
        ops.push(Op::Trim { log: 9, below: 3 });
        ops.push(Op::DropLog { log: 7 });
        let noted = Noted::of(&mut ops);
        assert_eq!((noted.logs, noted.amended, noted.appended), (vec![7, 9, 7], vec![(8, 4)], 3));
        assert_eq!(ops.len(), 8);
        let Some(Op::Put { space: AMENDED, key, .. }) = ops.last() else { panic!("no mark: {ops:?}") };
        assert_eq!(read_mark(key), Some((8, 4)));
    }

    #[test]
    fn the_end_wakes_who_waits() {
        let changes = Changes::default();
        changes.note(Noted::of(&mut vec![append(7, 1)]));
        assert!(changes.wait() && changes.rest(Duration::ZERO));
        assert_eq!(changes.take().logs.into_iter().collect::<Vec<_>>(), [7]);
        changes.end();
        assert!(!changes.wait() && !changes.rest(Duration::from_secs(3600)));
    }

    #[test]
    fn an_index_of_nothing_has_reached_nothing() {
        let index = Index::open(Arc::new(MemoryStore::new())).expect("an index");
        assert_eq!((index.reached(7), index.logs()), (0, Vec::new()));
    }
}
