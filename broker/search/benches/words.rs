//! What the index costs for messages as people write them: time to keep it, its size, and how long a search takes.
//!
//! `cargo bench -p katydid-search --bench words` makes 200,000 messages of 4 to 19 words (20,000 different ones, the common
//! ones far more often) in 20 rooms, has the index follow them 4,096 at a time on a disk, and searches. It prints CPU time for
//! each message, the size of the index's folder, and the time of a search for words of different frequency. Texts and reading
//! cost the same with any index and are in none of the figures but those of searches.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use katydid_chat::search::{Query, Quest};
use katydid_search::{Index, Said, Searcher, What};
use katydid_store::{Entry, MemoryStore, Op, Options, SledStore, StorageKey, Store};

const MESSAGES: u64 = 200_000;
const ROOMS: u64 = 20;

/// Xorshift: the same texts every time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A word, the lower its number the more often.
    fn word(&mut self) -> String {
        let share = (self.next() % 1_000_000) as f64 / 1e6;
        word((20_000_f64.powf(share) - 1.0) as u64)
    }
}

fn word(number: u64) -> String {
    let (mut number, mut word) = (number + 1, String::new());
    while number > 0 {
        word.push(char::from(b"bcdfghklmnprstvz"[(number % 16) as usize]));
        number /= 16;
        word.push(char::from(b"aeiou"[(number % 5) as usize]));
        number /= 5;
    }
    word
}

fn open(entry: &Entry) -> Option<Said> {
    let text = std::str::from_utf8(&entry.bytes).ok()?.to_owned();
    Some(Said { topic: "room/r/msg/ann".into(), id: None, expires_at_ms: None, what: What::Text(text) })
}

/// CPU time of the process in seconds, by the kernel's clock of 100 a second.
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn folder_bytes(folder: &std::path::Path) -> u64 {
    let items = std::fs::read_dir(folder).into_iter().flatten().flatten();
    items.filter_map(|item| item.metadata().ok()).map(|about| about.len()).sum()
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
        count: 50,
    }
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    for is_encrypted in [false, true] {
        measure(&mut out, is_encrypted)?;
    }
    Ok(())
}

fn measure(out: &mut impl Write, is_encrypted: bool) -> std::io::Result<()> {
    let source = MemoryStore::new();
    let mut chance = Chance(88_172_645_463_325_252);
    let mut text_bytes = 0;
    for number in 0..MESSAGES {
        let words: Vec<String> = (0..4 + chance.next() % 16).map(|_| chance.word()).collect();
        let bytes = Bytes::from(words.join(" "));
        text_bytes += bytes.len();
        let entry = Entry { seq: number / ROOMS + 1, time_ms: number, bytes };
        source.commit(vec![Op::Append { log: number % ROOMS, entry }]).expect("memory takes it");
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let key = is_encrypted.then(|| StorageKey::parse(&"5a".repeat(32)).expect("a key"));
    let options = Options { key, cache_bytes: 16 << 20, journal_bytes: 2 << 20, ..Options::default() };
    let store = Arc::new(SledStore::open(folder.path(), options).expect("a store"));
    let index = Arc::new(Index::open(store).expect("an index"));
    let (cpu, began) = (cpu_secs(), Instant::now());
    for log in 0..ROOMS {
        while index.follow(&source, open, log).expect("the index follows").has_more {}
    }
    writeln!(
        out,
        "{}: {MESSAGES} messages, {} MB of text: {:.1} us of CPU and {:.1} us a message, {:.1} MB on disk",
        if is_encrypted { "encrypted" } else { "in clear" },
        text_bytes >> 20,
        (cpu_secs() - cpu) * 1e6 / MESSAGES as f64,
        began.elapsed().as_secs_f64() * 1e6 / MESSAGES as f64,
        folder_bytes(folder.path()) as f64 / f64::from(1 << 20),
    )?;
    let mut searcher = Searcher::new(index, open);
    let places: Vec<(Arc<str>, u64)> = (0..ROOMS).map(|log| (format!("room/{log}").into(), log)).collect();
    let pair = |one, other| format!("{} {}", word(one), word(other));
    for query in
        [word(3), word(300), word(15_000), pair(30, 300), pair(1_500, 3_000), format!("{}*", &word(300)[..3])]
    {
        let quest = quest(&query);
        let began = Instant::now();
        let mut hits = 0;
        for _ in 0..20 {
            hits = searcher.search(&source, &places, &quest, 0).expect("a search").hits.len();
        }
        writeln!(
            out,
            "  {query:<12} {hits:>3} hits, {:>6.0} us",
            began.elapsed().as_secs_f64() * 1e6 / 20.0
        )?;
    }
    Ok(())
}
