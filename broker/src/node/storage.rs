//! The threads that own the store: one writes, others read.
//!
//! The writer takes every commit that has queued, from all shards, makes them one commit of the store (so one sync
//! serves all who wait), and tells each shard the newest number that is on disk. A commit that nobody waits for is
//! held back for a while to join others. Invariant: [`Letter::Durable`] is posted after the store said that the
//! commit survives a power cut; a commit or a read that fails is final and ends the process, so that nothing false is
//! acknowledged and nothing that is there is taken for lost.

mod queue;

use katydid_engine::{ReadQuery, Restored};
use katydid_search::Index;
use katydid_store::{
    DelayedSync, Entry, Keep, Limit, LogId, MemoryStore, Op, Options, SledStore, Space, Store, StoreError,
};
use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tracing::error;

use super::Failure;
use super::inbox::{Inbox, Letter};
use super::search::{Changes, Noted};
use crate::config::StoreConfig;
use crate::storage_key;
use queue::{CommitReceiver, CommitSender};

/// Spaces that hold the engine's records.
const SPACES: std::ops::RangeInclusive<u8> = 0..=15;
/// Threads that read.
const READERS: usize = 2;
/// Steps that are gathered into one commit at most, so that its memory and its time stay bounded.
const GROUP_OPS: usize = 65_536;

/// After a commit that several waited for, the writer pauses for this share of the time that it took, so that groups
/// stay whole.
const PAUSE_SHARE: u32 = 3;
/// It never pauses longer than this.
const PAUSE_MAX: Duration = Duration::from_millis(2);
/// Nor where the pause would be shorter than this: on a fast disk it gains nothing.
const PAUSE_MIN: Duration = Duration::from_micros(200);
/// Steps of a commit that one message alone makes, at most.
const ALONE_OPS: usize = 4;

/// A commit of one shard.
#[derive(Debug)]
pub(super) struct Commit {
    /// Index of the shard; none for what the index of words has to note.
    pub(super) shard: Option<usize>,
    /// Its number there.
    pub(super) number: u64,
    /// What to commit.
    pub(super) ops: Vec<Op>,
    /// Whether somebody waits.
    pub(super) urgent: bool,
}

/// A read that a shard asked for.
#[derive(Debug)]
pub(super) struct Query {
    /// Index of the shard.
    pub(super) shard: usize,
    /// Comes back with the answer.
    pub(super) ticket: u64,
    /// The log.
    pub(super) log: LogId,
    /// Which entries.
    pub(super) query: ReadQuery,
}

/// A store that is open.
#[derive(Clone)]
pub(super) struct OpenStore {
    /// The store.
    pub(super) store: Arc<dyn Store>,
    /// The same, where it is on disk.
    disk: Option<Arc<SledStore>>,
    /// The index of the words in it.
    pub(super) index: Arc<Index>,
}

impl OpenStore {
    /// Opens what is configured: a database on disk, or memory.
    ///
    /// # Errors
    /// The database cannot be opened; a [`KeyError`](crate::storage_key::KeyError) where its key is to blame.
    pub(super) fn open(config: &StoreConfig) -> Result<Self, Failure> {
        let Some(path) = &config.path else {
            let index = Arc::new(Index::open(Arc::new(MemoryStore::new()))?);
            return Ok(Self { store: Arc::new(MemoryStore::new()), disk: None, index });
        };
        let key = storage_key::configured(config)?;
        let mut options = Options { cache_bytes: config.cache_bytes, key: key.clone(), ..Options::default() };
        if !config.sync_delay.is_zero() {
            options.sync = Arc::new(DelayedSync(config.sync_delay));
        }
        let disk = match SledStore::open(path, options) {
            Ok(disk) => Arc::new(disk),
            Err(StoreError::Key(problem)) => return Err(storage_key::misfit(problem, config, path).into()),
            Err(StoreError::Io(error)) => {
                return Err(format!("the database in {} cannot be opened: {error}", path.display()).into());
            }
            Err(error) => return Err(error.into()),
        };
        let index = Arc::new(super::search::open(path, key)?);
        Ok(Self { store: Arc::clone(&disk) as Arc<dyn Store>, disk: Some(disk), index })
    }

    /// Whether it is on disk.
    pub(super) fn is_on_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// Syncs so far, and their time in microseconds.
    pub(super) fn syncs(&self) -> (u64, u64) {
        self.disk.as_ref().map_or((0, 0), |disk| {
            let counters = disk.counters();
            (counters.syncs, counters.sync_nanos / 1000)
        })
    }
}

/// What the writer counts.
#[derive(Debug, Default)]
pub(super) struct StorageCounters {
    /// Commits of the store.
    pub(super) commits: AtomicU64,
    /// Commits of shards that were joined into them.
    pub(super) joined: AtomicU64,
    /// Log entries in them.
    pub(super) messages: AtomicU64,
    /// Time that they took, in microseconds.
    pub(super) commit_us: AtomicU64,
    /// Time that the newest took, in microseconds.
    pub(super) last_commit_us: AtomicU64,
}

/// Where shards hand in what concerns the store. Dropping the last clone ends the threads.
#[derive(Debug, Clone)]
pub(super) struct StorageLink {
    commits: CommitSender,
    queries: Sender<Query>,
}

impl StorageLink {
    /// Queues a commit.
    pub(super) fn commit(&self, commit: Commit) {
        self.commits.send(commit);
    }

    /// Queues a read.
    pub(super) fn read(&self, query: Query) {
        // The readers end after the last link is dropped, or with the process.
        let _ = self.queries.send(query);
    }
}

/// The threads of the store.
#[derive(Debug)]
pub(super) struct Storage {
    threads: Vec<JoinHandle<()>>,
    /// What is counted.
    pub(super) counters: Arc<StorageCounters>,
}

impl Storage {
    /// Starts the threads. `inboxes` are those of the shards, in order.
    ///
    /// # Errors
    /// The system gave no thread.
    pub(super) fn start(
        store: &Arc<dyn Store>,
        inboxes: &[Arc<Inbox>],
        lazy_commit: Duration,
        folder: &Path,
        changes: Option<Arc<Changes>>,
    ) -> io::Result<(Self, StorageLink)> {
        let (commits, queued) = queue::commits();
        let (queries, asked) = mpsc::channel();
        let counters = Arc::<StorageCounters>::default();
        let mut threads = Vec::with_capacity(1 + READERS);
        let writer = Writer {
            store: Arc::clone(store),
            inboxes: inboxes.to_vec(),
            lazy_commit,
            changes,
            counters: Arc::clone(&counters),
        };
        let database = folder.display().to_string();
        threads.push(thread::Builder::new().name("store-writer".into()).spawn(move || {
            if let Err(error) = writer.run(&queued) {
                error!(%error, database, "a commit failed; nothing is acknowledged any more");
                std::process::exit(1);
            }
        })?);
        let asked = Arc::new(Mutex::new(asked));
        for number in 0..READERS {
            let reader =
                Reader { store: Arc::clone(store), inboxes: inboxes.to_vec(), asked: Arc::clone(&asked) };
            let thread = thread::Builder::new().name(format!("store-reader-{number}"));
            threads.push(thread.spawn(move || {
                if let Err(error) = reader.run() {
                    error!(%error, "a log cannot be read");
                    std::process::exit(1);
                }
            })?);
        }
        Ok((Self { threads, counters }, StorageLink { commits, queries }))
    }

    /// Waits until everything that was queued is on disk. Every link must have been dropped.
    pub(super) fn finish(self) {
        for thread in self.threads {
            // A panic in there has ended the process already.
            let _ = thread.join();
        }
    }
}

/// Loads everything that the engines start from.
///
/// # Errors
/// The store cannot be read.
pub(super) fn restore(store: &dyn Store) -> Result<Restored, StoreError> {
    let mut restored = Restored { records: Vec::new(), logs: store.logs()? };
    for space in SPACES.map(Space) {
        let records = store.scan(space)?;
        restored.records.extend(records.into_iter().map(|(key, value)| (space, key, value)));
    }
    Ok(restored)
}

struct Writer {
    store: Arc<dyn Store>,
    inboxes: Vec<Arc<Inbox>>,
    lazy_commit: Duration,
    /// Where the index of words is told what there is for it.
    changes: Option<Arc<Changes>>,
    counters: Arc<StorageCounters>,
}

/// Commits of shards that become one of the store.
#[derive(Default)]
struct Group {
    ops: Vec<Op>,
    /// The newest commit of each shard that is in it.
    newest: Vec<Option<u64>>,
    joined: u64,
}

impl Group {
    fn add(&mut self, commit: Commit) {
        let Commit { shard, number, mut ops, urgent: _ } = commit;
        if self.ops.is_empty() {
            self.ops = ops;
        } else {
            self.ops.append(&mut ops);
        }
        if let Some(shard) = shard {
            self.newest[shard] = Some(number);
        }
        self.joined += 1;
    }
}

impl Writer {
    fn run(self, queued: &CommitReceiver) -> Result<(), StoreError> {
        let mut commits = Vec::new();
        let mut took = Duration::ZERO;
        let mut had_company = false;
        loop {
            // Those who were just told answer with their next message. Without this they would find the next sync
            // begun, by those who came a moment earlier, and two halves would take turns for ever.
            let pause = took / PAUSE_SHARE;
            if pause >= PAUSE_MIN && (had_company || queued.has_some()) {
                thread::sleep(pause.min(PAUSE_MAX));
            }
            if !queued.take(self.lazy_commit, &mut commits) {
                return Ok(());
            }
            let began = Instant::now();
            had_company = commits.iter().map(|commit| commit.ops.len()).sum::<usize>() > ALONE_OPS;
            let mut group = Group { newest: vec![None; self.inboxes.len()], ..Group::default() };
            for commit in commits.drain(..) {
                group.add(commit);
                if group.ops.len() >= GROUP_OPS {
                    let newest = vec![None; self.inboxes.len()];
                    self.commit(std::mem::replace(&mut group, Group { newest, ..Group::default() }))?;
                }
            }
            if group.joined > 0 {
                self.commit(group)?;
            }
            took = began.elapsed();
        }
    }

    fn commit(&self, mut group: Group) -> Result<(), StoreError> {
        let noted = self.changes.as_ref().map(|changes| (changes, Noted::of(&mut group.ops)));
        let messages = group.ops.iter().filter(|op| matches!(op, Op::Append { .. })).count();
        let began = Instant::now();
        if !group.ops.is_empty() {
            self.store.commit(group.ops)?;
        }
        let took_us = began.elapsed().as_micros() as u64;
        if let Some((changes, noted)) = noted {
            changes.note(noted);
        }
        let counters = &self.counters;
        counters.commits.fetch_add(1, Relaxed);
        counters.joined.fetch_add(group.joined, Relaxed);
        counters.messages.fetch_add(messages as u64, Relaxed);
        counters.commit_us.fetch_add(took_us, Relaxed);
        counters.last_commit_us.store(took_us, Relaxed);
        for (inbox, newest) in self.inboxes.iter().zip(group.newest) {
            if let Some(number) = newest {
                inbox.post(Letter::Durable(number));
            }
        }
        Ok(())
    }
}

struct Reader {
    store: Arc<dyn Store>,
    inboxes: Vec<Arc<Inbox>>,
    asked: Arc<Mutex<Receiver<Query>>>,
}

impl Reader {
    fn run(self) -> Result<(), StoreError> {
        loop {
            let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Query { shard, ticket, log, query }) = asked else { return Ok(()) };
            // Anything but the entries would tell a member that there are none, and move its position past them.
            let entries = read(&*self.store, log, query)?;
            self.inboxes[shard].post(Letter::Fetched { ticket, entries });
        }
    }
}

fn read(store: &dyn Store, log: LogId, query: ReadQuery) -> Result<Vec<Entry>, StoreError> {
    match query {
        ReadQuery::From { seq, entries, bytes } => store.read(log, seq, Limit { entries, bytes }),
        ReadQuery::Back { before, entries, bytes } => store.read_back(log, before, Limit { entries, bytes }),
        ReadQuery::Excess { most_bytes, since_ms } => {
            let keep = Keep { bytes: most_bytes, since_ms, ..Keep::default() };
            let first = store.excess(log, keep)?;
            let bare = |seq| Entry { seq, time_ms: 0, bytes: bytes::Bytes::new() };
            Ok(first.map(bare).into_iter().collect())
        }
        ReadQuery::Since { time_ms, entries, bytes } => match store.seek_time(log, time_ms)? {
            Some(seq) => store.read(log, seq, Limit { entries, bytes }),
            None => Ok(Vec::new()),
        },
    }
}

#[cfg(test)]
mod tests;
