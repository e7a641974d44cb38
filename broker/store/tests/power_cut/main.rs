//! Power cuts: what was not synced is dropped or torn, at every sync of a recorded load, and the store is opened again.
//!
//! A [`SyncHook`] keeps a copy of the database file at each sync. Between two syncs the disk may have any part of what
//! changed: so for each pair of neighbouring copies, the sectors that differ are kept or dropped in several ways (none,
//! all, one half, a random half, all but one, ...), the file's growth is kept or not, and the result is opened. It must
//! hold every commit that was acknowledged; the one that was under way is there whole or not at all; nothing else is.
//! Then the store is used further, and its power is cut a second time.
//!
//! `POWER_CUT_SEEDS=50 cargo test -p katydid-store --test power_cut` does it for so many loads.
#![cfg(feature = "sled")]

mod erasure;
mod rekey;
mod shim;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use katydid_store::{
    Entry, Limit, MemoryStore, Op, Options, Seq, SledStore, Space, StorageKey, Store, SyncHook,
};
use shim::{Chance, Recorder, Synced, Unsynced, WAYS, folder, other_files, rebuild, seeds, torn};

fn options(sync: Arc<dyn SyncHook>, key: Option<&StorageKey>) -> Options {
    let key = key.cloned();
    Options {
        key,
        segment_bytes: 64 << 10,
        journal_bytes: 8_000,
        journal_blocks: 60,
        sync,
        ..Options::default()
    }
}

fn key() -> StorageKey {
    StorageKey::parse(&"5e".repeat(32)).expect("a key")
}

/// Commits that meet everything: appends in small and large groups, trims, drops, records of all sizes.
fn load(seed: u64, commits: usize) -> Vec<Vec<Op>> {
    let mut chance = Chance(seed);
    let mut next = [1_u64; 6];
    (0..commits).map(|commit| commit_ops(commit as u64, &mut chance, &mut next)).collect()
}

fn commit_ops(commit: u64, chance: &mut Chance, next: &mut [Seq; 6]) -> Vec<Op> {
    let content = |length: u64| Bytes::from(vec![commit as u8; length as usize]);
    let count = if chance.below(20) == 0 { 40 } else { 1 + chance.below(6) };
    let mut ops = Vec::new();
    for _ in 0..count {
        let log = chance.below(6);
        let seq = &mut next[log as usize];
        ops.push(match chance.below(34) {
            0 => Op::DropLog { log },
            30..=33 => {
                let length = if chance.below(10) == 0 { 6_000 } else { chance.below(150) };
                Op::Amend { log, seq: seq.saturating_sub(chance.below(40)), bytes: content(length) }
            }
            1..=4 => Op::Trim { log, below: seq.saturating_sub(chance.below(10)) },
            5..=8 => {
                let length = if chance.below(6) == 0 { 2_000 } else { chance.below(90) };
                let key = Bytes::from(format!("key {}", chance.below(9)));
                Op::Put { space: Space(log as u8 % 2), key, value: content(length) }
            }
            9 => Op::Delete {
                space: Space(log as u8 % 2),
                key: Bytes::from(format!("key {}", chance.below(9))),
            },
            _ => {
                *seq += 1 + chance.below(2);
                let length = if chance.below(40) == 0 { 5_000 } else { chance.below(150) };
                Op::Append { log, entry: Entry { seq: *seq, time_ms: commit, bytes: content(length) } }
            }
        });
    }
    ops
}

/// Everything that a store holds, to compare.
fn contents(store: &dyn Store) -> String {
    let all = Limit { entries: usize::MAX, bytes: usize::MAX };
    let mut logs = store.logs().expect("logs");
    logs.sort_by_key(|(log, _)| *log);
    let entries: Vec<_> = logs.iter().map(|(log, _)| store.read(*log, 0, all).expect("read")).collect();
    let records: Vec<_> = (0..2).map(|space| store.scan(Space(space)).expect("scan")).collect();
    format!("{logs:?} {entries:?} {records:?}")
}

/// Records that change at random: each page keeps a segment of the file from being used again.
fn churn(seed: u64, commits: usize) -> Vec<Vec<Op>> {
    let mut chance = Chance(seed);
    let put = |chance: &mut Chance| {
        let key = Bytes::from(format!("churned {}", chance.below(600)));
        Op::Put { space: Space(0), key, value: Bytes::from(vec![chance.below(256) as u8; 300]) }
    };
    (0..commits).map(|_| (0..6).map(|_| put(&mut chance)).collect()).collect()
}

/// Brings a database to where its file is being swept.
fn swept(path: &Path, seed: u64, commits: usize) -> Vec<Vec<Op>> {
    let store = SledStore::open(path, options(Arc::new(Unsynced), None)).expect("opens");
    let written = churn(seed, commits);
    for ops in &written {
        store.commit(ops.clone()).expect("commits");
    }
    let counters = store.counters();
    let file = fs::metadata(path.join("db")).expect("a file").len();
    assert!(counters.sweeps > 0, "too little for a sweep: {counters:?}, {file} bytes");
    written
}

/// Runs `commits` on the database at `path` and gives the copies at each sync, the first made while opening.
fn record(
    path: &Path,
    commits: &[Vec<Op>],
    key: Option<&StorageKey>,
) -> (Vec<Synced>, Vec<(PathBuf, Vec<u8>)>) {
    let recorder = Arc::new(Recorder::default());
    let store = SledStore::open(path, options(recorder.clone(), key)).expect("opens");
    let others = other_files(path);
    for (done, ops) in commits.iter().enumerate() {
        store.commit(ops.clone()).expect("commits");
        recorder.acknowledged.store(done + 1, Ordering::SeqCst);
    }
    drop(store);
    assert_eq!(fs::read_dir(path.join("blobs")).expect("a folder").count(), 0, "a blob is never synced");
    let syncs = std::mem::take(&mut *recorder.syncs.lock().expect("no panic while held"));
    (syncs, others)
}

/// Cuts the power at each sync of the load, and opens each time. `base` is what the database held before the load.
fn cut_everywhere(
    path: &Path,
    base: &[Vec<Op>],
    commits: &[Vec<Op>],
    seed: u64,
    ways: &[&str],
    is_again: bool,
    key: Option<&StorageKey>,
) -> usize {
    let (syncs, others) = record(path, commits, key);
    assert!(syncs.len() > commits.len(), "each commit syncs");
    let (model, next_model) = (MemoryStore::new(), MemoryStore::new());
    for ops in base {
        model.commit(ops.clone()).expect("the model takes it");
        next_model.commit(ops.clone()).expect("the model takes it");
    }
    let (mut modelled, mut modelled_next, mut cuts) = (0, 0, 0);
    for (index, pair) in syncs.windows(2).enumerate() {
        let [before, after] = pair else { unreachable!("windows of two") };
        while modelled < after.acknowledged {
            model.commit(commits[modelled].clone()).expect("the model takes it");
            modelled += 1;
        }
        let acknowledged = contents(&model);
        if modelled + 1 > modelled_next {
            next_model.commit(commits[modelled].clone()).expect("the model takes it");
            modelled_next = modelled + 1;
        }
        let with_next = contents(&next_model);
        for way in ways {
            let mut chance = Chance(seed ^ (index as u64 + 1) << 8 ^ way.len() as u64);
            let crashed = folder();
            rebuild(crashed.path(), &torn(&before.database, &after.database, way, &mut chance), &others);
            let at = format!("seed {seed}, sync {index} of {}, way `{way}`", syncs.len());
            let store = SledStore::open(crashed.path(), options(Arc::new(katydid_store::FileSync), key));
            let store = store.unwrap_or_else(|error| panic!("{at}: {error}"));
            let found = contents(&store);
            let is_next_there = found == with_next;
            assert!(
                is_next_there || found == acknowledged,
                "{at}: {found}\nwas acknowledged: {acknowledged}"
            );
            drop(store);
            cuts += 1;
            if is_again && index % 16 == 3 {
                let survived = modelled + usize::from(is_next_there);
                let base: Vec<Vec<Op>> = base.iter().chain(&commits[..survived]).cloned().collect();
                let further = &commits[survived..commits.len().min(survived + 12)];
                if !further.is_empty() {
                    cuts += cut_everywhere(
                        crashed.path(),
                        &base,
                        further,
                        seed + 1,
                        &["random", "none"],
                        false,
                        key,
                    );
                }
            }
        }
    }
    cuts
}

#[test]
fn a_power_cut_at_any_sync_loses_nothing_that_was_acknowledged() {
    for seed in seeds(0x5EED) {
        let new = folder();
        let commits = load(seed, 120);
        let cuts = cut_everywhere(new.path(), &[], &commits, seed, &WAYS, true, None);
        assert!(cuts > 1_000, "{cuts} cuts");
    }
}

#[test]
fn a_power_cut_after_a_restart_loses_nothing_that_was_acknowledged() {
    for seed in seeds(0xBEE) {
        let old = folder();
        let mut base = load(seed, 160);
        let commits = base.split_off(100);
        record(old.path(), &base, None);
        let cuts = cut_everywhere(old.path(), &base, &commits, seed, &WAYS, false, None);
        assert!(cuts > 400, "{cuts} cuts");
    }
}

#[test]
fn a_power_cut_loses_nothing_of_an_encrypted_database() {
    for seed in seeds(0x5EA1) {
        let new = folder();
        let commits = load(seed, 50);
        let ways = ["first half", "random", "random pages", "all but one"];
        let cuts = cut_everywhere(new.path(), &[], &commits, seed, &ways, false, Some(&key()));
        assert!(cuts > 200, "{cuts} cuts");
    }
}

#[test]
fn a_power_cut_while_the_file_is_swept_loses_nothing_that_was_acknowledged() {
    for seed in seeds(0xC0DE) {
        let old = folder();
        let base = swept(old.path(), seed, 4_000);
        let mut commits: Vec<Vec<Op>> =
            load(seed, 24).into_iter().zip(churn(seed + 1, 24)).map(|(a, b)| [a, b].concat()).collect();
        commits.iter_mut().step_by(12).for_each(|ops| ops.push(huge(seed)));
        let ways = ["first half", "second half", "random", "random pages"];
        let cuts = cut_everywhere(old.path(), &base, &commits, seed, &ways, false, None);
        assert!(cuts > 150, "{cuts} cuts");
    }
}

/// A record of many pieces, more than a segment holds: such a commit is synced several times.
fn huge(seed: u64) -> Op {
    let value = Bytes::from(vec![seed as u8; 100_000]);
    Op::Put { space: Space(1), key: Bytes::from_static(b"huge"), value }
}
