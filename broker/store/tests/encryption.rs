//! What an encrypted database promises: its files show neither contents nor names, it opens with its key and with no
//! other, and a key that does not fit changes nothing.
#![cfg(feature = "sled")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use katydid_store::{Entry, KeyProblem, Limit, Op, Options, SledStore, Space, StorageKey, Store, StoreError};

const ALL: Limit = Limit { entries: usize::MAX, bytes: usize::MAX };

fn key(digit: char) -> Option<StorageKey> {
    Some(StorageKey::parse(&digit.to_string().repeat(64)).expect("a key"))
}

fn open(path: &Path, key: Option<StorageKey>) -> Result<SledStore, StoreError> {
    SledStore::open(path, Options { key, journal_bytes: 20_000, ..Options::default() })
}

/// Fills history, journal, records and the pieces of large values with words that are easy to find.
fn fill(store: &SledStore) {
    for seq in 1..=300 {
        let said = Bytes::from("whisper ".repeat(if seq % 100 == 0 { 20_000 } else { 10 }));
        let name = format!("alice-{seq}{}", "-long".repeat(if seq % 50 == 0 { 500 } else { 0 }));
        let entry = Entry { seq, time_ms: seq, bytes: said.clone() };
        let put = Op::Put { space: Space(1), key: name.into(), value: Bytes::from_static(b"whisper") };
        store.commit(vec![Op::Append { log: 1, entry }, put]).expect("commits");
    }
    assert!(store.counters().checkpoints > 2);
}

fn holds_everything(store: &SledStore) {
    let entries = store.read(1, 0, ALL).expect("read");
    assert_eq!(entries.len(), 300);
    assert!(entries.iter().all(|entry| entry.bytes.starts_with(b"whisper ")));
    let records = store.scan(Space(1)).expect("scan");
    assert_eq!(records.len(), 300);
    assert!(records.iter().all(|(key, value)| key.starts_with(b"alice-") && value == "whisper"));
    assert!(records.is_sorted());
}

/// Every file of the folder. Copied while nothing writes.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let items = fs::read_dir(path).expect("a folder").map(|item| item.expect("an item").path());
    items.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
}

fn shows(path: &Path, word: &[u8]) -> bool {
    files(path).values().any(|file| file.windows(word.len()).any(|part| part == word))
}

#[test]
fn the_files_of_an_encrypted_database_show_neither_contents_nor_names() {
    let (clear, encrypted) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    for (folder, key, is_shown) in [(&clear, None, true), (&encrypted, key('7'), false)] {
        let store = open(folder.path(), key.clone()).expect("opens");
        fill(&store);
        holds_everything(&store);
        drop(store);
        let store = open(folder.path(), key).expect("opens again");
        holds_everything(&store);
        for word in [&b"whisper"[..], b"alice"] {
            assert_eq!(shows(folder.path(), word), is_shown);
        }
    }
}

#[test]
fn a_key_that_does_not_fit_is_told_and_changes_nothing() {
    let encrypted = tempfile::tempdir().expect("a folder");
    fill(&open(encrypted.path(), key('7')).expect("opens"));
    let clear = tempfile::tempdir().expect("a folder");
    fill(&open(clear.path(), None).expect("opens"));
    // What sled's threads still do after a store is dropped, they do while they hold its lock.
    for folder in [&encrypted, &clear] {
        let database = fs::File::open(folder.path().join("db")).expect("a file");
        database.lock().expect("after them");
    }
    let wrong = [
        (&encrypted, None, KeyProblem::Missing),
        (&encrypted, key('8'), KeyProblem::Wrong),
        (&clear, key('7'), KeyProblem::Unused),
    ];
    for (folder, key, expected) in wrong {
        let before = files(folder.path());
        let refused = open(folder.path(), key);
        assert!(matches!(refused, Err(StoreError::Key(problem)) if problem == expected), "{refused:?}");
        assert!(before == files(folder.path()), "{expected:?}: a file has changed");
    }
    holds_everything(&open(encrypted.path(), key('7')).expect("opens"));
    holds_everything(&open(clear.path(), None).expect("opens"));
}

#[test]
fn a_database_without_its_wrapped_key_is_not_taken_for_one_in_clear() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), key('7')).expect("opens");
    fill(&store);
    drop(store);
    let wrapped = folder.path().join("wrapped-key");
    let text = fs::read_to_string(&wrapped).expect("a file");
    fs::write(&wrapped, "something else").expect("a file");
    assert!(matches!(open(folder.path(), key('7')), Err(StoreError::Corrupt(_))));
    fs::remove_file(&wrapped).expect("a file");
    assert!(matches!(open(folder.path(), None), Err(StoreError::Corrupt(_))), "values are encrypted");
    fs::write(&wrapped, text).expect("a file");
    holds_everything(&open(folder.path(), key('7')).expect("opens"));
}
