use super::*;

fn append(log: LogId, seq: Seq, text: &'static str) -> Op {
    Op::Append { log, entry: Entry { seq, time_ms: seq * 10, bytes: Bytes::from_static(text.as_bytes()) } }
}

const ALL: Limit = Limit { entries: usize::MAX, bytes: usize::MAX };

fn seqs(entries: &[Entry]) -> Vec<Seq> {
    entries.iter().map(|entry| entry.seq).collect()
}

#[test]
fn a_limit_ends_a_read_and_the_first_entry_always_comes() {
    let store = MemoryStore::new();
    store.commit(vec![append(1, 1, "four"), append(1, 3, "x"), append(1, 9, "yy")]).expect("commit");
    let limit = |entries, bytes| Limit { entries, bytes };
    assert_eq!(seqs(&store.read(1, 0, ALL).expect("read")), [1, 3, 9]);
    assert_eq!(seqs(&store.read(1, 0, limit(2, 100)).expect("read")), [1, 3]);
    assert_eq!(seqs(&store.read(1, 0, limit(9, 3)).expect("read")), [1]);
    assert_eq!(seqs(&store.read(1, 2, limit(0, 0)).expect("read")), [3]);
    assert_eq!(seqs(&store.read_back(1, 9, limit(9, 4)).expect("read")), [3]);
    assert_eq!(seqs(&store.read_back(1, 9, limit(9, 5)).expect("read")), [1, 3]);
    assert!(store.read(1, 10, ALL).expect("read").is_empty());
    assert!(store.read_back(1, 1, ALL).expect("read").is_empty());
}

#[test]
fn figures_follow_a_trim_to_the_last_entry() {
    let store = MemoryStore::new();
    store.commit(vec![append(1, 1, "four"), append(1, 3, "x")]).expect("commit");
    store.commit(vec![Op::Trim { log: 1, below: 2 }]).expect("commit");
    let expected = LogStats { first: 3, next: 4, entries: 1, bytes: 1, first_time_ms: 30, last_time_ms: 30 };
    assert_eq!(store.stats(1).expect("stats"), Some(expected));
    store.commit(vec![Op::Trim { log: 1, below: 100 }]).expect("commit");
    let expected = LogStats { first: 4, entries: 0, bytes: 0, ..expected };
    assert_eq!(store.stats(1).expect("stats"), Some(expected));
    store.commit(vec![Op::DropLog { log: 1 }]).expect("commit");
    assert_eq!(store.stats(1).expect("stats"), None);
}

#[test]
fn a_number_that_does_not_grow_refuses_the_whole_commit_and_all_that_follow() {
    let store = MemoryStore::new();
    store.commit(vec![append(1, 5, "a")]).expect("commit");
    let key = Bytes::from_static(b"k");
    let put = Op::Put { space: Space(1), key: key.clone(), value: key };
    assert!(matches!(store.commit(vec![put, append(1, 5, "b")]), Err(StoreError::Misuse(_))));
    assert!(store.scan(Space(1)).expect("scan").is_empty());
    assert!(matches!(store.commit(vec![append(1, 6, "c")]), Err(StoreError::Failed)));
}
