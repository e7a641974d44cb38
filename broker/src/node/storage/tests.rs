use super::*;
use bytes::Bytes;
use mio::{Poll, Token, Waker};
use std::sync::{Condvar, mpsc::SyncSender};

/// A memory store whose commits wait until the test lets them go on.
#[derive(Debug)]
struct Gate {
    inner: MemoryStore,
    entered: SyncSender<usize>,
    open: Arc<(Mutex<bool>, Condvar)>,
    is_damaged: bool,
}

impl Store for Gate {
    fn commit(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        self.entered.send(ops.len()).unwrap();
        let (open, changed) = &*self.open;
        drop(changed.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
        self.inner.commit(ops)
    }
    fn read(&self, log: LogId, from: u64, limit: Limit) -> Result<Vec<Entry>, StoreError> {
        if self.is_damaged { Err(StoreError::Failed) } else { self.inner.read(log, from, limit) }
    }
    fn read_back(&self, log: LogId, before: u64, limit: Limit) -> Result<Vec<Entry>, StoreError> {
        self.inner.read_back(log, before, limit)
    }
    fn seek_time(&self, log: LogId, time_ms: u64) -> Result<Option<u64>, StoreError> {
        self.inner.seek_time(log, time_ms)
    }
    fn stats(&self, log: LogId) -> Result<Option<katydid_store::LogStats>, StoreError> {
        self.inner.stats(log)
    }
    fn logs(&self) -> Result<Vec<(LogId, katydid_store::LogStats)>, StoreError> {
        self.inner.logs()
    }
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(space, key)
    }
    fn scan(&self, space: Space) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.inner.scan(space)
    }
    fn excess(&self, log: LogId, keep: katydid_store::Keep) -> Result<Option<u64>, StoreError> {
        self.inner.excess(log, keep)
    }
    fn page(
        &self,
        space: Space,
        cursor: &katydid_store::Cursor,
        limit: Limit,
    ) -> Result<katydid_store::Page, StoreError> {
        self.inner.page(space, cursor, limit)
    }
}

fn inboxes(count: usize) -> (Vec<Poll>, Vec<Arc<Inbox>>) {
    (0..count)
        .map(|_| {
            let poll = Poll::new().unwrap();
            let waker = Waker::new(poll.registry(), Token(0)).unwrap();
            (poll, Arc::new(Inbox::new(waker)))
        })
        .unzip()
}

fn append(seq: u64) -> Vec<Op> {
    vec![Op::Append { log: 7, entry: Entry { seq, time_ms: 100 * seq, bytes: Bytes::from_static(b"said") } }]
}

fn commit(shard: usize, number: u64, urgent: bool) -> Commit {
    Commit { shard: Some(shard), number, ops: append(number), urgent }
}

fn letters(inbox: &Inbox) -> Vec<Letter> {
    let mut letters = Vec::new();
    inbox.take(&mut letters);
    letters
}

#[test]
fn what_queues_during_a_sync_shares_the_next_one() {
    let (entered, enters) = mpsc::sync_channel(10);
    let open = Arc::new((Mutex::new(false), Condvar::new()));
    let store: Arc<dyn Store> =
        Arc::new(Gate { inner: MemoryStore::new(), entered, open: Arc::clone(&open), is_damaged: false });
    let (_polls, inboxes) = inboxes(2);
    let (storage, link) = Storage::start(&store, &inboxes, Duration::ZERO, Path::new(""), None).unwrap();
    link.commit(commit(0, 1, true));
    assert_eq!(enters.recv().unwrap(), 1);
    for number in 2..=5 {
        link.commit(commit(0, number, true));
    }
    link.commit(commit(1, 9, false));
    assert!(letters(&inboxes[0]).is_empty(), "nothing is told before the store has it");
    *open.0.lock().unwrap() = true;
    open.1.notify_all();
    assert_eq!(enters.recv().unwrap(), 5);
    drop(link);
    let counters = Arc::clone(&storage.counters);
    storage.finish();
    assert!(matches!(letters(&inboxes[0])[..], [Letter::Durable(1), Letter::Durable(5)]));
    assert!(matches!(letters(&inboxes[1])[..], [Letter::Durable(9)]));
    assert_eq!(counters.commits.load(Relaxed), 2);
    assert_eq!(counters.joined.load(Relaxed), 6);
    assert_eq!(counters.messages.load(Relaxed), 6);
}

#[test]
fn what_nobody_waits_for_joins_what_somebody_does() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (_polls, inboxes) = inboxes(1);
    // The test ends long before this time: only the urgent commit lets the other one through.
    let (storage, link) =
        Storage::start(&store, &inboxes, Duration::from_secs(3600), Path::new(""), None).unwrap();
    link.commit(commit(0, 1, false));
    link.commit(commit(0, 2, true));
    let counters = Arc::clone(&storage.counters);
    drop(link);
    storage.finish();
    assert!(matches!(letters(&inboxes[0])[..], [Letter::Durable(2)]));
    assert_eq!(counters.commits.load(Relaxed), 1);
}

#[test]
fn reads_are_answered_with_their_ticket() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    for seq in 1..=9 {
        store.commit(append(seq)).unwrap();
    }
    let (_polls, inboxes) = inboxes(2);
    let (storage, link) = Storage::start(&store, &inboxes, Duration::ZERO, Path::new(""), None).unwrap();
    let (entries, bytes) = (2, 1000);
    for (ticket, query) in [
        (11, ReadQuery::From { seq: 4, entries, bytes }),
        (12, ReadQuery::Back { before: 4, entries, bytes }),
        (13, ReadQuery::Since { time_ms: 750, entries, bytes }),
        (14, ReadQuery::Since { time_ms: 7500, entries, bytes }),
    ] {
        link.read(Query { shard: 1, ticket, log: 7, query });
    }
    drop(link);
    storage.finish();
    assert!(letters(&inboxes[0]).is_empty());
    let mut answers: Vec<(u64, Vec<u64>)> = letters(&inboxes[1])
        .into_iter()
        .map(|letter| match letter {
            Letter::Fetched { ticket, entries } => (ticket, entries.iter().map(|entry| entry.seq).collect()),
            other => panic!("{other:?}"),
        })
        .collect();
    answers.sort_unstable();
    assert_eq!(answers, [(11, vec![4, 5]), (12, vec![2, 3]), (13, vec![8, 9]), (14, vec![])]);
}

/// An empty answer would tell a member that there is nothing to read.
#[test]
fn a_read_that_fails_is_final_and_not_answered() {
    let (entered, _enters) = mpsc::sync_channel(10);
    let open = Arc::new((Mutex::new(true), Condvar::new()));
    let store: Arc<dyn Store> = Arc::new(Gate { inner: MemoryStore::new(), entered, open, is_damaged: true });
    let (_polls, inboxes) = inboxes(1);
    let (queries, asked) = mpsc::channel();
    let query = ReadQuery::From { seq: 1, entries: 1, bytes: 1 };
    queries.send(Query { shard: 0, ticket: 1, log: 7, query }).unwrap();
    drop(queries);
    let reader = Reader { store, inboxes: inboxes.clone(), asked: Arc::new(Mutex::new(asked)) };
    assert!(matches!(reader.run(), Err(StoreError::Failed)));
    assert!(letters(&inboxes[0]).is_empty());
}

#[test]
fn everything_is_restored() {
    let store = MemoryStore::new();
    store.commit(append(3)).unwrap();
    for space in [0, 15] {
        let (key, value) = (Bytes::from_static(b"key"), Bytes::from_static(b"value"));
        store.commit(vec![Op::Put { space: Space(space), key, value }]).unwrap();
    }
    let restored = restore(&store).unwrap();
    assert_eq!(restored.logs.len(), 1);
    let spaces: Vec<_> = restored.records.iter().map(|(space, _, _)| space.0).collect();
    assert_eq!(spaces, [0, 15]);
}
