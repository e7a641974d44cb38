use super::*;
use bytes::Bytes;
use katydid_chat::search::{Findings, Query, Quest, Spot};
use katydid_store::{MemoryStore, Op, Options, SledStore, StorageKey};
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::BTreeMap;

const NOW_MS: u64 = 1_000_000;

/// Entries of tests: what it is, sender, whether it expires, the number it names, text.
fn open(entry: &Entry) -> Option<Said> {
    let text = std::str::from_utf8(&entry.bytes).ok()?;
    let parts: Vec<&str> = text.splitn(5, '|').collect();
    let [kind, from, expires, of, text] = parts[..] else { return None };
    let of = of.parse().ok()?;
    let what = match kind {
        "T" => What::Text(text.into()),
        "E" => What::Edit { of, text: text.into() },
        "D" => What::Delete { of },
        _ => What::Nothing,
    };
    let expires_at_ms = (expires == "x").then_some(NOW_MS);
    Some(Said { topic: format!("room/r/msg/{from}"), id: None, expires_at_ms, what })
}

fn said(kind: &str, from: &str, of: Seq, text: &str) -> String {
    format!("{kind}|{from}||{of}|{text}")
}

/// Logs, an index of them, and somebody who searches.
struct World {
    source: Arc<MemoryStore>,
    index: Arc<Index>,
    searcher: Searcher,
    places: Vec<(Arc<str>, LogId)>,
    next: HashMap<LogId, Seq>,
    time_ms: u64,
}

impl World {
    fn new(logs: LogId) -> Self {
        Self::with(logs, Arc::new(MemoryStore::new()))
    }

    fn with<S: Store + std::fmt::Debug>(logs: LogId, store: Arc<S>) -> Self {
        let index = Arc::new(Index::open(store).expect("an index"));
        let searcher = Searcher::new(Arc::clone(&index), open);
        let places = (1..=logs).map(|log| (format!("room/{log}").into(), log)).collect();
        let source = Arc::new(MemoryStore::new());
        Self { source, index, searcher, places, next: HashMap::new(), time_ms: 1_000 }
    }

    fn say(&mut self, log: LogId, later_ms: u64, what: &str) -> Seq {
        let seq = *self.next.entry(log).or_insert(1);
        self.next.insert(log, seq + 1);
        self.time_ms += later_ms;
        let bytes = Bytes::copy_from_slice(what.as_bytes());
        let entry = Entry { seq, time_ms: self.time_ms, bytes };
        self.source.commit(vec![Op::Append { log, entry }]).expect("said");
        seq
    }

    fn delete(&mut self, log: LogId, seq: Seq) {
        let bytes = Bytes::from_static(b"-|ann||0|");
        self.source.commit(vec![Op::Amend { log, seq, bytes }]).expect("deleted");
    }

    fn follow(&self, log: LogId) -> Followed {
        self.index.follow(&*self.source, open, log).expect("followed")
    }

    fn follow_all(&self) {
        for (_, log) in &self.places {
            while self.follow(*log).has_more {}
        }
    }

    fn page(&mut self, quest: &Quest) -> Findings {
        self.searcher.search(&*self.source, &self.places, quest, NOW_MS).expect("a search")
    }

    /// All pages of a search.
    fn search(&mut self, mut quest: Quest) -> Vec<(LogId, Seq, String)> {
        let (mut found, mut pages) = (Vec::new(), 0);
        let mut last: Option<Spot> = None;
        loop {
            let Findings { hits, next } = self.page(&quest);
            assert!(hits.len() <= quest.count);
            for hit in hits {
                assert!(last.as_ref().is_none_or(|last| *last < hit.spot), "in order, nothing twice");
                last = Some(hit.spot.clone());
                let log = hit.spot.place.strip_prefix("room/").and_then(|log| log.parse().ok());
                found.push((log.expect("a room"), hit.seq, hit.text));
            }
            let Some(next) = next else { return found };
            quest.behind = Some(next);
            pages += 1;
            assert!(pages < 10_000, "it goes on for ever");
        }
    }

    fn words(&mut self, query: &str) -> Vec<(LogId, Seq, String)> {
        self.search(quest(query))
    }

    fn seqs(&mut self, query: &str) -> Vec<Seq> {
        self.words(query).into_iter().map(|(_, seq, _)| seq).collect()
    }

    /// Every word that the index holds of a log.
    fn indexed(&self, log: LogId) -> BTreeMap<Box<str>, Vec<Seq>> {
        let cursor = self.index.cursor(log);
        let mut all = BTreeMap::<Box<str>, Vec<Seq>>::new();
        for segment in cursor.low..=cursor.top {
            for bucket in 0..bucket::BUCKETS {
                let bytes = self.index.bucket(log, segment, bucket).expect("a bucket");
                for (word, seqs) in bucket::decode(&bytes) {
                    all.entry(word).or_default().extend(seqs);
                }
            }
        }
        all
    }
}

fn quest(query: &str) -> Quest {
    Quest {
        places: Vec::new(),
        query: Query::parse(query).expect("a query"),
        from: None,
        without: Arc::new([]),
        after_seq: 0,
        before_seq: u64::MAX,
        from_ms: 0,
        until_ms: u64::MAX,
        behind: None,
        count: 3,
    }
}

#[test]
fn what_is_indexed_and_what_is_not_yet_is_found_newest_first() {
    let mut world = World::new(2);
    for number in 0..40 {
        world.say(1 + number % 2, 1, &said("T", "ann", 0, &format!("message {number} about cats")));
        if number == 22 {
            world.follow_all();
        }
    }
    assert!(world.index.reached(1) > 1 && world.index.reached(1) < 21);
    let found: Vec<String> = world.words("CATS mess*").into_iter().map(|(.., text)| text).collect();
    let expected: Vec<String> = (0..40).rev().map(|number| format!("message {number} about cats")).collect();
    assert_eq!(found, expected);
    assert_eq!(world.seqs("\"17 about\""), [9]);
    assert_eq!(world.seqs("dogs"), [0; 0]);
}

#[test]
fn an_edited_message_is_found_by_its_newest_text_only() {
    for follows in [[false; 4], [true; 4], [true, false, true, false], [false, true, false, true]] {
        let mut world = World::new(1);
        let first = world.say(1, 1, &said("T", "ann", 0, "the old wording"));
        for _ in 0..10 {
            world.say(1, 1, &said("T", "bob", 0, "between"));
        }
        if follows[0] {
            world.follow_all();
        }
        world.say(1, 1, &said("E", "ann", first, "the newer wording"));
        if follows[1] {
            world.follow_all();
        }
        assert_eq!(world.words("wording"), [(1, first, "the newer wording".into())], "{follows:?}");
        world.say(1, 1, &said("E", "ann", first, "the newest of all"));
        if follows[2] {
            world.follow_all();
        }
        assert_eq!(world.seqs("wording"), [0; 0], "{follows:?}");
        assert_eq!(world.words("newest"), [(1, first, "the newest of all".into())]);
        world.delete(1, first);
        world.say(1, 1, &said("D", "ann", first, ""));
        if follows[3] {
            world.follow_all();
        }
        world.index.forget(1, &[first]).expect("forgotten");
        assert_eq!(world.seqs("the"), [0; 0], "{follows:?}");
        world.follow_all();
        let indexed = world.indexed(1);
        assert_eq!(indexed.keys().map(|word| &**word).collect::<Vec<_>>(), ["\u{1}bob", "between"]);
    }
}

#[test]
fn what_is_deleted_trimmed_or_dropped_leaves_the_index() {
    let mut world = World::new(1);
    for number in 1..=30 {
        world.say(1, 1, &said("T", "ann", 0, &format!("word{number} all")));
    }
    world.follow_all();
    world.delete(1, 17);
    assert_eq!(world.seqs("word17"), [0; 0], "before the index knows");
    world.index.forget(1, &[17]).expect("forgotten");
    assert!(!world.indexed(1).contains_key("word17"));
    assert!(world.indexed(1).contains_key("word18"));
    world.source.commit(vec![Op::Trim { log: 1, below: 21 }]).expect("trimmed");
    assert_eq!(world.seqs("all"), (21..=30).rev().collect::<Vec<_>>());
    world.follow(1);
    assert_eq!(world.indexed(1)["all"], (21..=30).collect::<Vec<_>>());
    assert_eq!(world.seqs("all"), (21..=30).rev().collect::<Vec<_>>());
    world.source.commit(vec![Op::DropLog { log: 1 }]).expect("dropped");
    assert_eq!(world.seqs("all"), [0; 0]);
    world.follow(1);
    assert!(world.indexed(1).is_empty() && world.index.logs().is_empty());
}

#[test]
fn a_log_that_is_older_than_its_index_is_indexed_anew() {
    let mut world = World::new(1);
    for _ in 1..=20 {
        world.say(1, 1, &said("T", "ann", 0, "from another time"));
    }
    world.follow_all();
    world.source = Arc::new(MemoryStore::new());
    world.next.clear();
    for _ in 1..=9 {
        world.say(1, 1, &said("T", "ann", 0, "what there is"));
    }
    world.follow_all();
    assert_eq!((world.seqs("time").len(), world.seqs("there").len()), (0, 9));
    assert!(!world.indexed(1).contains_key("time"));
}

#[test]
fn bounds_senders_and_expiry_are_kept() {
    let mut world = World::new(1);
    for number in 1..=20 {
        let from = if number % 2 == 0 { "ann" } else { "bob" };
        world.say(1, 10, &said("T", from, 0, "hello"));
        if number == 13 {
            world.follow_all();
        }
    }
    world.say(1, 10, "T|ann|x|0|hello that is over");
    let with = |change: &dyn Fn(&mut Quest)| {
        let mut quest = quest("hello");
        change(&mut quest);
        quest
    };
    for (wanted, expected) in [
        (
            with(&|quest| quest.from = Some("ann".into())),
            (1..=20).filter(|n| n % 2 == 0).collect::<Vec<u64>>(),
        ),
        (with(&|quest| quest.without = Arc::new(["ann".into()])), (1..=20).filter(|n| n % 2 == 1).collect()),
        (with(&|quest| (quest.after_seq, quest.before_seq) = (4, 9)), (5..9).collect()),
        (with(&|quest| (quest.from_ms, quest.until_ms) = (1_050, 1_160)), (5..16).collect()),
        (with(&|quest| quest.until_ms = 1_160), (1..16).collect()),
        (with(&|quest| quest.from_ms = 1_160), (16..=20).collect()),
        (with(&|quest| quest.from_ms = 5_000), vec![]),
    ] {
        let mut found: Vec<Seq> = world.search(wanted).into_iter().map(|(_, seq, _)| seq).collect();
        found.reverse();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_search_spends_what_it_may_and_goes_on_later() {
    let mut world = World::new(1);
    let rest = "x ".repeat(400);
    for number in 0..300 {
        world.say(
            1,
            number % 2,
            &said("T", "ann", 0, &format!("{rest} {}", if number == 3 { "needle" } else { "hay" })),
        );
    }
    let first = world.page(&quest("needle"));
    assert!(first.hits.is_empty() && first.next.is_some(), "300 entries are more than one search reads");
    assert_eq!(world.seqs("needle"), [4]);
    world.follow_all();
    assert_eq!(world.page(&quest("needle")).hits.len(), 1, "the index is quicker");
}

#[test]
fn an_encrypted_index_shows_no_word_and_opens_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = StorageKey::parse(&"5a".repeat(32)).expect("a key");
    let options = Options { key: Some(key), ..Options::default() };
    let disk = || Arc::new(SledStore::open(folder.path(), options.clone()).expect("a store"));
    let mut world = World::with(1, disk());
    for number in 0..50 {
        world.say(1, 1, &said("T", "confidante", 0, &format!("sesquipedalian {number}")));
    }
    world.follow_all();
    let source = Arc::clone(&world.source);
    drop(world);
    let mut world = World { source, ..World::with(1, disk()) };
    assert_eq!(world.index.reached(1), 51);
    assert_eq!(world.seqs("sesquipedalian").len(), 50);
    drop(world);
    for item in std::fs::read_dir(folder.path()).expect("a folder") {
        let path = item.expect("an item").path();
        let bytes = if path.is_file() { std::fs::read(path).expect("a file") } else { Vec::new() };
        for word in ["sesquipedalian", "confidante", "sesqu"] {
            assert!(!bytes.windows(word.len()).any(|part| part == word.as_bytes()));
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Say { log: LogId, later_ms: u64, from: u8, text: String },
    Edit { log: LogId, back: u64, text: String },
    Delete { log: LogId, back: u64, is_told: bool },
    Trim { log: LogId, back: u64 },
    Follow { log: LogId },
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab]{1,3}|東|京", 0..6).prop_map(|words| words.join(" "))
}

fn step() -> impl Strategy<Value = Step> {
    let log = 1_u64..4;
    prop_oneof![
        12 => (log.clone(), 0_u64..3, 0_u8..3, text()).prop_map(|(log, later_ms, from, text)| Step::Say { log, later_ms, from, text }),
        3 => (log.clone(), 1_u64..30, text()).prop_map(|(log, back, text)| Step::Edit { log, back, text }),
        2 => (log.clone(), 1_u64..30, any::<bool>()).prop_map(|(log, back, is_told)| Step::Delete { log, back, is_told }),
        1 => (log.clone(), 1_u64..30).prop_map(|(log, back)| Step::Trim { log, back }),
        4 => log.prop_map(|log| Step::Follow { log }),
    ]
}

/// What a log holds, as somebody without an index sees it.
#[derive(Debug, Clone)]
struct Naive {
    from: String,
    text: Option<String>,
    at: (u64, Seq),
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_search_finds_what_a_naive_reader_finds(
        steps in prop::collection::vec(step(), 1..120),
        query in "[ab]{1,2}[*]?( [ab]{1,2})?|\"[ab]{1,2} [ab]\"|東京|東",
        from in prop::option::of(0_u8..3),
        count in 1_usize..5,
    ) {
        let mut world = World::new(3);
        let mut naive: BTreeMap<(LogId, Seq), Naive> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Say { log, later_ms, from, text } => {
                    let from = format!("user{from}");
                    let seq = world.say(log, later_ms, &said("T", &from, 0, &text));
                    naive.insert((log, seq), Naive { from, text: Some(text), at: (world.time_ms, seq) });
                }
                Step::Edit { log, back, text } => {
                    let seq = world.next.get(&log).copied().unwrap_or(1).saturating_sub(back);
                    let Some(known) = naive.get_mut(&(log, seq)).filter(|known| known.text.is_some()) else { continue };
                    let by = world.say(log, 1, &said("E", &known.from, seq, &text));
                    (known.text, known.at) = (Some(text), (world.time_ms, by));
                }
                Step::Delete { log, back, is_told } => {
                    let seq = world.next.get(&log).copied().unwrap_or(1).saturating_sub(back);
                    let Some(known) = naive.get_mut(&(log, seq)).filter(|known| known.text.is_some()) else { continue };
                    world.delete(log, seq);
                    known.text = None;
                    if is_told {
                        let from = known.from.clone();
                        world.say(log, 1, &said("D", &from, seq, ""));
                        world.index.forget(log, &[seq]).unwrap();
                    }
                }
                Step::Trim { log, back } => {
                    let below = world.next.get(&log).copied().unwrap_or(1).saturating_sub(back);
                    world.source.commit(vec![Op::Trim { log, below }]).unwrap();
                    naive.retain(|(of, seq), _| *of != log || *seq >= below);
                }
                Step::Follow { log } => {
                    world.follow(log);
                }
            }
        }
        let sender = from.map(|from| format!("user{from}"));
        let mut wanted = Quest { from: sender.clone(), count, ..quest(&query) };
        for round in 0..2 {
            let mut expected: Vec<_> = naive
                .iter()
                .filter(|(_, known)| known.text.as_ref().is_some_and(|text| wanted.query.fits(text)))
                .filter(|(_, known)| sender.as_ref().is_none_or(|from| *from == known.from))
                .map(|((log, seq), known)| (Reverse(known.at.0), *log, Reverse(known.at.1), *seq))
                .collect();
            expected.sort_unstable();
            let expected: Vec<_> = expected.into_iter().map(|(_, log, _, seq)| (log, seq)).collect();
            let found: Vec<_> = world.search(wanted.clone()).into_iter().map(|(log, seq, _)| (log, seq)).collect();
            prop_assert_eq!(found, expected, "round {}", round);
            // The second time nothing is left to be read as it is.
            world.follow_all();
            wanted.behind = None;
        }
    }

    #[test]
    fn a_bucket_comes_back_as_it_was(words in prop::collection::btree_map("[a-c]{1,4}|\\PC{1,6}", prop::collection::btree_set(1_u64..100_000, 1..6), 0..20)) {
        let words: bucket::Words = words
            .into_iter()
            .map(|(word, seqs)| (word.into_boxed_str(), seqs.into_iter().collect()))
            .collect();
        let bytes = bucket::encode(&words);
        prop_assert_eq!(&bucket::decode(&bytes), &words);
        for (word, seqs) in &words {
            let mut found = Vec::new();
            bucket::look_up(&bytes, word, false, &mut found);
            prop_assert_eq!(&found, seqs);
            prop_assert_eq!(bucket::bucket_of(word, false), bucket::bucket_of(word, word.chars().count() < 2).or(bucket::bucket_of(word, false)));
        }
        let mut found = Vec::new();
        bucket::look_up(&bytes, "a", true, &mut found);
        let expected: Vec<Seq> = words.iter().filter(|(word, _)| word.starts_with('a')).flat_map(|(_, seqs)| seqs.clone()).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn damaged_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let words = bucket::decode(&bytes);
        let mut found = Vec::new();
        bucket::look_up(&bytes, "a", true, &mut found);
        prop_assert!(words.len() <= bytes.len() && found.len() <= bytes.len());
        prop_assert!(Cursor::from_bytes(&bytes).is_none_or(|cursor| cursor.to_bytes().len() <= 31));
    }
}
