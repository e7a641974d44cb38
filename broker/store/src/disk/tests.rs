use super::*;

fn append(log: LogId, seq: Seq) -> Op {
    Op::Append { log, entry: Entry { seq, time_ms: seq, bytes: Bytes::from_static(&[b'x'; 100]) } }
}

fn chunks(store: &SledStore) -> usize {
    store.trees.history.trees()[0].len()
}

#[test]
fn what_is_trimmed_before_a_checkpoint_never_reaches_the_history() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { journal_bytes: 50_000, ..Options::default() };
    let store = SledStore::open(folder.path(), options).expect("opens");
    for seq in 1..5_000 {
        store.commit(vec![append(7, seq), Op::Trim { log: 7, below: seq + 1 }]).expect("commits");
    }
    assert!(store.counters().checkpoints > 5);
    assert_eq!(chunks(&store), 0);
    assert_eq!(store.stats(7).expect("stats").map(|stats| (stats.first, stats.next)), Some((5_000, 5_000)));
}

#[test]
fn a_log_that_came_and_went_leaves_nothing_in_memory_or_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { journal_bytes: 50_000, ..Options::default() };
    let store = SledStore::open(folder.path(), options).expect("opens");
    for log in 0..200 {
        store.commit((1..20).map(|seq| append(log, seq)).collect()).expect("commits");
    }
    assert!(chunks(&store) > 0);
    store.commit((0..200).map(|log| Op::DropLog { log }).collect()).expect("commits");
    for seq in 1..5_000 {
        store.commit(vec![append(1_000, seq), Op::Trim { log: 1_000, below: seq + 1 }]).expect("commits");
    }
    assert_eq!(chunks(&store), 0);
    assert_eq!(shared(&store.state).logs.len(), 1);
    assert_eq!(store.trees.heads.trees()[0].len(), 1);
}

#[test]
fn the_journal_stays_under_twice_its_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let limit = 100_000;
    let options = Options { journal_bytes: limit, journal_blocks: 500, ..Options::default() };
    let store = SledStore::open(folder.path(), options).expect("opens");
    let mut most = (0, 0);
    for seq in 1..20_000 {
        store.commit(vec![append(seq % 300, seq)]).expect("commits");
        let journal = &store.writer.lock().expect("no panic").journal;
        most = (most.0.max(journal.live_bytes()), most.1.max(journal.live_blocks()));
    }
    assert!(most.0 < 2 * limit && most.1 < 1_000, "{most:?}");
}

#[test]
fn what_an_interrupted_checkpoint_left_behind_a_head_is_never_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = || Options { journal_bytes: 5_000, ..Options::default() };
    let store = SledStore::open(folder.path(), options()).expect("opens");
    store.commit((1..=5).map(|seq| append(7, seq)).collect()).expect("commits");
    let left: Vec<Entry> =
        (3..20).map(|seq| Entry { seq, time_ms: 0, bytes: Bytes::from_static(b"left behind") }).collect();
    {
        let mut writer = store.writer.lock().expect("no panic");
        store.trees.history.write(7, left.iter(), &mut writer.scratch).expect("writes");
    }
    drop(store);
    let store = SledStore::open(folder.path(), options()).expect("opens");
    let all = Limit { entries: usize::MAX, bytes: usize::MAX };
    for seq in 6..200 {
        store.commit(vec![append(7, seq)]).expect("commits");
        let found = store.read(7, 0, all).expect("read");
        assert!(found.iter().map(|entry| entry.seq).eq(1..=seq), "after {seq}");
        assert!(found.iter().all(|entry| entry.bytes.len() == 100), "after {seq}");
    }
    assert!(store.counters().checkpoints > 1);
}
