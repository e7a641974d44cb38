//! What an amended entry held before is in no value of any tree, whenever the power was cut.
//!
//! Each content says which entry it is of and which version; the trees are read with sled itself, and every version that
//! is found there must be the one that the store gives.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use katydid_store::{Entry, Limit, LogId, Op, Seq, SledStore, Store};

use crate::shim::{Chance, Recorder, folder, rebuild, seeds, torn};
use crate::{options, record};

const LOGS: u64 = 4;

/// An entry and a version of its content.
type Tag = (LogId, Seq, u64);

fn content((log, seq, version): Tag, chance: &mut Chance) -> Bytes {
    let times = match chance.below(40) {
        0 => 1_200,
        1..=3 => 200,
        _ => 1 + chance.below(8),
    };
    Bytes::from(format!("<{log}/{seq}/{version}>").repeat(times as usize))
}

/// The tags that are in `bytes` from end to end.
fn tags(bytes: &[u8], found: &mut HashSet<Tag>) {
    for piece in bytes.split(|byte| *byte == b'<') {
        let text = piece.split(|byte| *byte == b'>').next().filter(|text| text.len() < piece.len());
        let Some(text) = text.and_then(|text| std::str::from_utf8(text).ok()) else { continue };
        let numbers: Vec<u64> = text.split('/').filter_map(|number| number.parse().ok()).collect();
        if let [log, seq, version] = numbers[..] {
            found.insert((log, seq, version));
        }
    }
}

/// Commits that append, and amend what is old and what is new, some of it twice; numbers are given by `next`.
fn load(seed: u64, commits: u64) -> Vec<Vec<Op>> {
    let mut chance = Chance(seed);
    let (mut next, mut version) = ([1_u64; LOGS as usize], 0);
    let mut commits: Vec<Vec<Op>> = (0..commits)
        .map(|time_ms| {
            let mut ops = Vec::new();
            for _ in 0..1 + chance.below(6) {
                let log = chance.below(LOGS);
                let seq = next[log as usize];
                next[log as usize] += 1;
                let bytes = content((log, seq, 0), &mut chance);
                ops.push(Op::Append { log, entry: Entry { seq, time_ms, bytes } });
            }
            for _ in 0..chance.below(3) {
                let log = chance.below(LOGS);
                let reach = next[log as usize].min(if chance.below(2) == 0 { 5 } else { 200 });
                version += 1;
                let seq = next[log as usize] - chance.below(reach);
                ops.push(Op::Amend { log, seq, bytes: content((log, seq, version), &mut chance) });
            }
            ops
        })
        .collect();
    // At the end, what the first commits said.
    commits.push((0..LOGS).map(|log| Op::Amend { log, seq: 1, bytes: Bytes::new() }).collect());
    commits
}

/// Every tag in every value of the database.
fn tags_on_disk(path: &Path) -> HashSet<Tag> {
    let db =
        sled::Config::new().path(path).segment_size(64 << 10).flush_every_ms(None).open().expect("opens");
    let mut found = HashSet::new();
    for name in db.tree_names() {
        for item in &db.open_tree(name).expect("a tree") {
            tags(&item.expect("an item").1, &mut found);
        }
    }
    found
}

fn tags_in(store: &SledStore) -> HashMap<(LogId, Seq), u64> {
    let all = Limit { entries: usize::MAX, bytes: usize::MAX };
    let mut found = HashSet::new();
    for log in 0..LOGS {
        for entry in store.read(log, 0, all).expect("read") {
            tags(&entry.bytes, &mut found);
        }
    }
    found.into_iter().map(|(log, seq, version)| ((log, seq), version)).collect()
}

#[test]
fn what_was_amended_is_in_no_value_after_a_power_cut() {
    for seed in seeds(0xE4A5E) {
        let (new, mut chance) = (folder(), Chance(seed));
        let commits = load(seed, 45);
        let (syncs, others) = record(new.path(), &commits, None);
        let (mut cuts, mut amended) = (0, 0);
        for (index, pair) in syncs.windows(2).enumerate() {
            for way in ["none", "all", "random", "random pages", "all but one"] {
                let crashed = folder();
                let database = torn(&pair[0].database, &pair[1].database, way, &mut chance);
                rebuild(crashed.path(), &database, &others);
                let opening = Arc::new(Recorder::default());
                let store = SledStore::open(crashed.path(), options(opening.clone(), None)).expect("opens");
                let newest = tags_in(&store);
                let synced = opening.syncs.lock().expect("no panic while held").pop().expect("one at least");
                let copy = folder();
                rebuild(copy.path(), &synced.database, &others);
                let on_disk = tags_on_disk(copy.path());
                for (log, seq, version) in &on_disk {
                    let read = newest.get(&(*log, *seq));
                    assert_eq!(
                        read,
                        Some(version),
                        "seed {seed}, sync {index}, way `{way}`: entry {seq} of log {log}"
                    );
                }
                assert_eq!(on_disk.len(), newest.len(), "what is kept is found this way");
                cuts += 1;
                amended += newest.values().filter(|version| **version > 0).count();
            }
        }
        assert!(cuts > 250 && amended > 2_000, "{cuts} cuts, {amended} amended entries");
    }
}

#[test]
fn what_was_amended_is_in_no_value_when_the_commit_returns() {
    let (folder, seed) = (folder(), 0xE4A5E);
    let commits = load(seed, 200);
    let (syncs, others) = record(folder.path(), &commits, None);
    let mut looked_at = 0;
    for (index, pair) in syncs.windows(2).enumerate().skip(1).step_by(7) {
        if pair[1].acknowledged == pair[0].acknowledged {
            continue;
        }
        // The last sync before a commit was acknowledged, as it is: nothing may be left to do for an opening.
        let copy = crate::shim::folder();
        rebuild(copy.path(), &pair[0].database, &others);
        let on_disk = tags_on_disk(copy.path());
        let versions: HashSet<(LogId, Seq)> = on_disk.iter().map(|(log, seq, _)| (*log, *seq)).collect();
        assert_eq!(versions.len(), on_disk.len(), "sync {index}: an entry has one version");
        looked_at += 1;
    }
    assert!(looked_at > 15, "{looked_at}");
}
