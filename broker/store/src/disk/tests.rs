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
