//! Random operations on the disk store, with a restart at random points, against the store in memory.
//!
//! Segments, chunks and the journal are made so small that checkpoints, merged chunks, values of several pieces and
//! commits of several blocks happen all the time.
#![cfg(feature = "sled")]

use std::path::Path;

use bytes::Bytes;
use katydid_store::{
    Cursor, Entries, Entry, Keep, Limit, LogId, MemoryStore, Op, Options, Records, Seq, SledStore, Space,
    StorageKey, Store,
};
use proptest::prelude::*;

const LOGS: LogId = 4;

#[derive(Debug, Clone)]
enum Step {
    Append { log: LogId, skip: u64, later_ms: u64, length: usize },
    Trim { log: LogId, back: u64 },
    DropLog { log: LogId },
    Amend { log: LogId, back: u64, length: usize },
    Put { space: u8, key: u8, length: usize },
    Delete { space: u8, key: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let log = 0..LOGS;
    let length = prop_oneof![20 => 0_usize..200, 2 => 200_usize..3_000, 1 => Just(9_000)];
    let append = (log.clone(), 0_u64..3, 0_u64..5, length.clone());
    prop_oneof![
        30 => append.prop_map(|(log, skip, later_ms, length)| Step::Append { log, skip, later_ms, length }),
        4 => (log.clone(), 0_u64..40).prop_map(|(log, back)| Step::Trim { log, back }),
        1 => log.clone().prop_map(|log| Step::DropLog { log }),
        8 => (log, prop_oneof![0_u64..10, 0_u64..400], length.clone())
            .prop_map(|(log, back, length)| Step::Amend { log, back, length }),
        6 => (0_u8..3, 0_u8..12, length).prop_map(|(space, key, length)| Step::Put { space, key, length }),
        2 => (0_u8..3, 0_u8..12).prop_map(|(space, key)| Step::Delete { space, key }),
    ]
}

/// A key of its own for each number; some are far longer than sled should carry, and alike at the beginning.
fn key(number: u8) -> Bytes {
    match number % 4 {
        0 => Bytes::new().into_iter().chain([number]).collect(),
        1 => Bytes::from(format!("key {number}")),
        _ => Bytes::from(format!("{}{number}", "long ".repeat(100))),
    }
}

fn options(is_encrypted: bool) -> Options {
    let key = is_encrypted.then(|| StorageKey::parse(&"0f".repeat(32)).expect("a key"));
    Options { key, segment_bytes: 64 << 10, journal_bytes: 6_000, journal_blocks: 40, ..Options::default() }
}

/// Turns steps into operations that keep the contract: numbers that grow, times that do not fall.
#[derive(Debug, Default)]
struct Writer {
    next: [Seq; LOGS as usize],
    time_ms: u64,
    written: u64,
}

impl Writer {
    fn op(&mut self, step: &Step) -> Op {
        self.written += 1;
        let content = |length: usize, written: u64| {
            let bytes: Vec<u8> = (0..length).map(|at| (at as u64 ^ written) as u8).collect();
            Bytes::from(bytes)
        };
        match *step {
            Step::Append { log, skip, later_ms, length } => {
                let seq = self.next[log as usize] + skip;
                self.next[log as usize] = seq + 1;
                self.time_ms += later_ms;
                Op::Append {
                    log,
                    entry: Entry { seq, time_ms: self.time_ms, bytes: content(length, self.written) },
                }
            }
            Step::Trim { log, back } => {
                Op::Trim { log, below: self.next[log as usize].saturating_sub(back) + 3 }
            }
            Step::DropLog { log } => {
                self.next[log as usize] /= 2;
                Op::DropLog { log }
            }
            Step::Amend { log, back, length } => {
                let seq = self.next[log as usize].saturating_sub(back);
                Op::Amend { log, seq, bytes: content(length, self.written) }
            }
            Step::Put { space, key: number, length } => {
                Op::Put { space: Space(space), key: key(number), value: content(length, self.written) }
            }
            Step::Delete { space, key: number } => Op::Delete { space: Space(space), key: key(number) },
        }
    }
}

fn same(disk: &SledStore, memory: &MemoryStore, probe: u64) {
    let mut logs = disk.logs().expect("logs");
    logs.sort_by_key(|(log, _)| *log);
    assert_eq!(logs, memory.logs().expect("logs"));
    let all = Limit { entries: usize::MAX, bytes: usize::MAX };
    let some = Limit { entries: 1 + (probe % 7) as usize, bytes: (probe % 1_000) as usize };
    for log in 0..=LOGS {
        let stats = memory.stats(log).expect("stats").unwrap_or_default();
        assert_eq!(disk.stats(log).expect("stats").unwrap_or_default(), stats, "log {log}");
        let middle = stats.first + probe % (stats.next - stats.first + 2);
        for limit in [all, some] {
            for seq in [0, middle, Seq::MAX] {
                let (found, expected) = (disk.read(log, seq, limit), memory.read(log, seq, limit));
                assert_eq!(found.expect("read"), expected.expect("read"), "log {log} from {seq}, {limit:?}");
                let (found, expected) = (disk.read_back(log, seq, limit), memory.read_back(log, seq, limit));
                assert_eq!(
                    found.expect("read"),
                    expected.expect("read"),
                    "log {log} before {seq}, {limit:?}"
                );
            }
        }
        for keep in [
            Keep { entries: probe % (stats.entries + 2), ..Keep::default() },
            Keep { bytes: probe % (stats.bytes + 2), ..Keep::default() },
            Keep { since_ms: stats.first_time_ms + probe % 300, ..Keep::default() },
            Keep { entries: stats.entries / 2, bytes: stats.bytes / 2, since_ms: 0 },
            Keep { entries: 0, ..Keep::default() },
        ] {
            let (found, expected) = (disk.excess(log, keep), memory.excess(log, keep));
            assert_eq!(found.expect("excess"), expected.expect("excess"), "log {log}, {keep:?}");
        }
        for from in [0, middle] {
            let walked: Result<Vec<Entry>, _> = Entries::new(disk, log, from).collect();
            assert_eq!(
                walked.expect("walk"),
                memory.read(log, from, all).expect("read"),
                "log {log} from {from}"
            );
        }
        let span_ms = stats.last_time_ms - stats.first_time_ms;
        for time_ms in [0, stats.first_time_ms + probe % (span_ms + 2), stats.last_time_ms + 1] {
            let (found, expected) = (disk.seek_time(log, time_ms), memory.seek_time(log, time_ms));
            assert_eq!(found.expect("seek"), expected.expect("seek"), "log {log} at {time_ms}");
        }
    }
    for space in 0..4 {
        let (found, expected) = (disk.scan(Space(space)), memory.scan(Space(space)));
        let expected = expected.expect("scan");
        assert_eq!(found.expect("scan"), expected, "space {space}");
        for limit in [some, Limit { entries: 3, bytes: 2_000 }] {
            assert_eq!(paged(disk, Space(space), limit), expected, "pages of space {space}, {limit:?}");
            assert_eq!(paged(memory, Space(space), limit), expected, "pages of space {space}, {limit:?}");
        }
        for number in 0..13 {
            let key = key(number);
            let (found, expected) = (disk.get(Space(space), &key), memory.get(Space(space), &key));
            assert_eq!(found.expect("get"), expected.expect("get"), "space {space}, {key:?}");
        }
        let mut walked: Vec<_> = Records::new(disk, Space(space)).collect::<Result<_, _>>().expect("a walk");
        walked.sort();
        assert_eq!(walked, expected, "walk over space {space}");
    }
}

/// Every record of a space, from pages, sorted: each must come exactly once.
fn paged(store: &dyn Store, space: Space, limit: Limit) -> Vec<(Bytes, Bytes)> {
    let (mut records, mut next) = (Vec::new(), Some(Cursor::default()));
    while let Some(cursor) = next {
        let page = store.page(space, &cursor, limit).expect("a page");
        records.extend(page.records);
        next = page.next;
    }
    records.sort();
    records
}

/// In memory where there is such a folder: thousands of syncs prove nothing here.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder")
}

fn blobs(path: &Path) -> usize {
    std::fs::read_dir(path.join("blobs")).expect("sled makes it").count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_disk_store_is_the_store_in_memory(
        commits in prop::collection::vec((prop::collection::vec(step(), 1..12), 0_u64..u64::MAX), 1..150),
        is_encrypted in prop::bool::weighted(0.25),
    ) {
        let folder = folder();
        let memory = MemoryStore::new();
        let mut writer = Writer::default();
        let mut disk = SledStore::open(folder.path(), options(is_encrypted)).expect("a new database");
        for (steps, probe) in commits {
            let ops: Vec<Op> = steps.iter().map(|step| writer.op(step)).collect();
            memory.commit(ops.clone()).expect("the model takes it");
            disk.commit(ops).expect("the disk takes it");
            if probe % 4 == 0 {
                same(&disk, &memory, probe);
            }
            if probe % 9 == 0 {
                drop(disk);
                disk = SledStore::open(folder.path(), options(is_encrypted)).expect("the same database");
                same(&disk, &memory, probe);
            }
        }
        same(&disk, &memory, 12_345);
        prop_assert_eq!(blobs(folder.path()), 0, "nothing may be in files that sled does not sync");
    }
}
