//! What the disk store promises besides its contents: failures are final, a database has one owner and one format, what
//! an interrupted start left behind does no harm, and many logs or large values change nothing.
#![cfg(feature = "sled")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use katydid_store::{
    Cursor, DelayedSync, Entry, Keep, Limit, LogId, Op, Options, Seq, SledStore, Space, Store, StoreError,
    SyncHook,
};

const ALL: Limit = Limit { entries: usize::MAX, bytes: usize::MAX };

fn append(log: LogId, seq: Seq, length: usize) -> Op {
    Op::Append { log, entry: Entry { seq, time_ms: seq, bytes: Bytes::from(vec![seq as u8; length]) } }
}

fn put(key: &str, length: usize) -> Op {
    Op::Put {
        space: Space(1),
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::from(vec![7; length]),
    }
}

fn open(path: &Path) -> SledStore {
    SledStore::open(path, Options::default()).expect("opens")
}

fn seqs(entries: &[Entry]) -> Vec<Seq> {
    entries.iter().map(|entry| entry.seq).collect()
}

/// A disk that refuses once it is told to.
#[derive(Debug, Default)]
struct Refusing(AtomicBool);

impl SyncHook for Refusing {
    fn sync(&self, file: &File) -> io::Result<()> {
        if self.0.load(Ordering::SeqCst) {
            Err(io::Error::other("the disk is gone"))
        } else {
            file.sync_data()
        }
    }
}

#[test]
fn a_sync_that_fails_once_is_the_end_and_its_commit_is_never_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Arc::new(Refusing::default());
    let store =
        SledStore::open(folder.path(), Options { sync: disk.clone(), ..Options::default() }).expect("opens");
    store.commit(vec![append(1, 1, 10)]).expect("commits");
    disk.0.store(true, Ordering::SeqCst);
    assert!(matches!(store.commit(vec![append(1, 2, 10)]), Err(StoreError::Io(_))));
    disk.0.store(false, Ordering::SeqCst);
    assert!(matches!(store.commit(vec![append(1, 2, 10)]), Err(StoreError::Failed)));
    assert_eq!(seqs(&store.read(1, 0, ALL).expect("reads go on")), [1]);
}

#[test]
fn a_number_that_does_not_grow_is_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    store.commit(vec![append(1, 5, 10)]).expect("commits");
    assert!(matches!(store.commit(vec![put("a", 1), append(1, 5, 10)]), Err(StoreError::Misuse(_))));
    assert!(matches!(store.commit(vec![append(1, 6, 10)]), Err(StoreError::Failed)));
    drop(store);
    let store = open(folder.path());
    assert_eq!(seqs(&store.read(1, 0, ALL).expect("read")), [5]);
    assert!(store.scan(Space(1)).expect("scan").is_empty(), "none of the refused commit is there");
    store.commit(vec![append(1, 6, 10)]).expect("after a restart it goes on");
}

#[test]
fn a_slow_disk_delays_each_commit_once_whatever_is_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let delay = Duration::from_millis(5);
    let sync = Arc::new(DelayedSync(delay));
    let store = SledStore::open(folder.path(), Options { sync, ..Options::default() }).expect("opens");
    let before = store.counters();
    let begin = Instant::now();
    store.commit((1..=200).map(|seq| append(seq % 20, seq, 120)).collect()).expect("commits");
    assert!(begin.elapsed() >= delay);
    let after = store.counters();
    assert_eq!((after.syncs - before.syncs, after.commits, after.operations), (1, 1, 200));
    assert!(after.sync_nanos - before.sync_nanos >= delay.as_nanos() as u64);
}

#[test]
fn a_database_has_one_owner() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let second = SledStore::open(folder.path(), Options::default());
    assert!(matches!(second, Err(StoreError::Busy(path)) if path == folder.path()));
    drop(store);
    open(folder.path());
}

#[test]
fn a_later_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    open(folder.path()).commit(vec![append(1, 1, 10)]).expect("commits");
    let format = folder.path().join("format");
    fs::write(&format, "3\n").expect("a file");
    let refused = SledStore::open(folder.path(), Options::default());
    assert!(matches!(refused, Err(StoreError::Newer { found: 3, known: 2 })));
    fs::write(&format, "two\n").expect("a file");
    assert!(matches!(SledStore::open(folder.path(), Options::default()), Err(StoreError::Corrupt(_))));
    fs::write(&format, "1\n").expect("a file");
    assert_eq!(seqs(&open(folder.path()).read(1, 0, ALL).expect("read")), [1]);
    assert_eq!(
        fs::read_to_string(&format).expect("a file"),
        "2\n",
        "an earlier version would not read it now"
    );
}

#[test]
fn somebody_elses_database_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("db"), b"precious").expect("a file");
    assert!(matches!(SledStore::open(folder.path(), Options::default()), Err(StoreError::Corrupt(_))));
    assert_eq!(fs::read(folder.path().join("db")).expect("a file"), b"precious");
}

#[test]
fn a_database_whose_making_was_interrupted_is_made_anew() {
    for left in [&b""[..], b"half a segment", &[0; 9_000]] {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("creating"), b"").expect("a file");
        fs::write(folder.path().join("db"), left).expect("a file");
        fs::write(folder.path().join("conf"), [0; 40]).expect("a file");
        let store = open(folder.path());
        assert!(store.logs().expect("logs").is_empty());
        store.commit(vec![append(1, 1, 10)]).expect("commits");
        drop(store);
        assert!(!folder.path().join("creating").exists());
        assert_eq!(seqs(&open(folder.path()).read(1, 0, ALL).expect("read")), [1]);
    }
}

#[test]
fn a_snapshot_that_sled_was_still_writing_does_no_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    open(folder.path()).commit(vec![append(1, 1, 10)]).expect("commits");
    for content in [&b""[..], b"torn torn torn torn torn"] {
        fs::write(folder.path().join("snap.7FFFFFFFFFFFFFFF.generating"), content).expect("a file");
        assert_eq!(seqs(&open(folder.path()).read(1, 0, ALL).expect("read")), [1]);
    }
}

#[test]
fn ten_thousand_logs_open_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = || Options { journal_bytes: 1 << 20, ..Options::default() };
    let store = SledStore::open(folder.path(), options()).expect("opens");
    for round in 1..=20 {
        for part in 0..10 {
            store
                .commit((0..1_000).map(|log| append(part * 1_000 + log, round, 30)).collect())
                .expect("commits");
        }
    }
    assert!(store.counters().checkpoints > 2);
    let (logs, middle) = (store.logs().expect("logs").len(), store.stats(5_000).expect("stats"));
    drop(store);
    let begin = Instant::now();
    let store = SledStore::open(folder.path(), options()).expect("opens");
    let found = store.logs().expect("logs").len();
    assert!(begin.elapsed() < Duration::from_secs(5), "opening took {:?}", begin.elapsed());
    assert_eq!((logs, found), (10_000, 10_000));
    assert_eq!((store.stats(5_000).expect("stats"), middle.map(|stats| stats.entries)), (middle, Some(20)));
}

#[test]
fn large_values_come_back_and_none_is_in_a_file_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = || Options { journal_bytes: 1 << 20, ..Options::default() };
    let store = SledStore::open(folder.path(), options()).expect("opens");
    let sizes = [0, 1, 16_384, 41_000, 42_000, 100_000, 1 << 20, 5 << 20];
    for (seq, length) in (1..).zip(sizes) {
        let long = "k".repeat(length.min(65_535));
        store.commit(vec![append(1, seq, length), put(&format!("{seq} {long}"), length)]).expect("commits");
    }
    // Chunks and records beside them, so that pages fill up with items of every size.
    for seq in 100..2_000 {
        store.commit(vec![append(1, seq, (seq as usize * 37) % 30_000)]).expect("commits");
    }
    drop(store);
    let store = SledStore::open(folder.path(), options()).expect("opens");
    let found = store.read(1, 0, ALL).expect("read");
    let lengths: Vec<usize> = found.iter().take(sizes.len()).map(|entry| entry.bytes.len()).collect();
    assert_eq!((lengths.as_slice(), found.len()), (&sizes[..], sizes.len() + 1_900));
    assert!(found.iter().all(|entry| entry.bytes.iter().all(|byte| *byte == entry.seq as u8)));
    let mut records: Vec<usize> =
        store.scan(Space(1)).expect("scan").iter().map(|(_, value)| value.len()).collect();
    records.sort_unstable();
    assert_eq!(records, sizes);
    assert_eq!(fs::read_dir(folder.path().join("blobs")).expect("a folder").count(), 0);
}

#[test]
fn a_walk_misses_no_record_that_stays_while_others_come_and_checkpoints_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { journal_bytes: 5_000, ..Options::default() };
    let store = SledStore::open(folder.path(), options).expect("opens");
    for number in 0..400 {
        store.commit(vec![put(&format!("stays {number:03}"), 50)]).expect("commits");
    }
    let (mut seen, mut next, mut pages) = (BTreeSet::new(), Some(Cursor::default()), 0);
    while let Some(cursor) = next {
        let page = store.page(Space(1), &cursor, Limit { entries: 7, bytes: 10_000 }).expect("a page");
        seen.extend(page.records.into_iter().map(|(key, _)| key));
        next = page.next;
        pages += 1;
        // What is behind the walk, before it, and new.
        store
            .commit(vec![
                put("stays 000", 60),
                put(&format!("stays {:03}", pages % 400), 60),
                put("stays 399", 60),
                put(&format!("comes {pages}"), 90),
            ])
            .expect("commits");
    }
    assert!(pages > 50 && store.counters().checkpoints > 5, "{pages} pages");
    let staying = seen.iter().filter(|key| key.starts_with(b"stays"));
    assert_eq!(staying.count(), 400);
}

#[test]
fn what_a_trim_must_forget_is_found_without_reading_what_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = || Options { journal_bytes: 100_000, ..Options::default() };
    let store = SledStore::open(folder.path(), options()).expect("opens");
    for first in (1..200_000).step_by(1_000) {
        store.commit((first..first + 1_000).map(|seq| append(1, seq, 30)).collect()).expect("commits");
    }
    let excess = |keep| store.excess(1, keep).expect("reads");
    let begin = Instant::now();
    for _ in 0..1_000 {
        assert_eq!(excess(Keep::default()), None);
        assert_eq!(excess(Keep { entries: 199_990, ..Keep::default() }), Some(11));
        assert_eq!(excess(Keep { bytes: 199_990 * 30 + 29, ..Keep::default() }), Some(11));
        assert_eq!(excess(Keep { since_ms: 11, ..Keep::default() }), Some(11));
    }
    // Reading all of it once takes tens of milliseconds.
    assert!(begin.elapsed() < Duration::from_secs(10), "it took {:?}", begin.elapsed());
    assert_eq!(excess(Keep { entries: 0, ..Keep::default() }), Some(200_001));
    assert_eq!(excess(Keep { entries: 1, ..Keep::default() }), Some(200_000));
    assert_eq!(store.excess(2, Keep { entries: 0, ..Keep::default() }).expect("reads"), None);
}

#[test]
fn readers_see_whole_commits_in_order_while_checkpoints_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { segment_bytes: 256 << 10, journal_bytes: 20_000, ..Options::default() };
    let store = SledStore::open(folder.path(), options).expect("opens");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|log| {
                let (store, is_over) = (&store, &is_over);
                scope.spawn(move || {
                    let (mut last, mut reads) = (0, 0_u64);
                    while !is_over.load(Ordering::SeqCst) {
                        let found = seqs(&store.read(log, 0, ALL).expect("read"));
                        let back = seqs(&store.read_back(log, Seq::MAX, ALL).expect("read"));
                        for found in [&found, &back] {
                            // Three entries a commit, no gap between the first that is kept and the last.
                            assert!(found.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{found:?}");
                            let end = found.last().map_or(last, |end| end + 1);
                            assert!(end >= last && end % 3 == 0, "{end} after {last}");
                            last = end;
                        }
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        for commit in 0..3_000_u64 {
            let log = commit % 2;
            let first = commit / 2 * 3;
            let mut ops: Vec<Op> = (first..first + 3).map(|seq| append(log, seq, 40)).collect();
            if commit % 50 < 2 {
                ops.push(Op::Trim { log, below: first.saturating_sub(400) });
            }
            store.commit(ops).expect("commits");
        }
        is_over.store(true, Ordering::SeqCst);
        for reader in readers {
            assert!(reader.join().expect("no reader failed") > 0);
        }
    });
    assert!(store.counters().checkpoints > 5);
}
