//! An export that is put into a store.
//!
//! It is read twice: first every line is proved and nothing is changed, then the logs are written, which nobody sees yet,
//! and at last one commit makes all of it visible. Invariant: what is interrupted at any time leaves the broker as it was;
//! logs that nobody sees are removed by the next import.

use super::{FORMAT, Line, TransferError, VERSION, entry::MessageLine};
use crate::persist;
use bytes::Bytes;
use katydid_chat::{
    directory::portable::{Merge, from_line},
    name,
    topic::{self, Topic},
};
use katydid_store::{Entry, LogId, Op, Store};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::{BufRead, Read},
};

/// Bytes of a line at most: a payload of the longest kind in base64, and what is beside it.
const LINE_BYTES: u64 = 512 << 20;
/// Entries and bytes of one commit.
const COMMIT_OPS: usize = 2_000;
const COMMIT_BYTES: usize = 1 << 20;

/// What an import came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Lines that were read.
    pub lines: u64,
    /// Rooms, groups and pairs with what was said in them.
    pub logs: u64,
    /// Messages and events.
    pub entries: u64,
    /// Records of people and places that are new or have changed.
    pub records: u64,
}

/// A proved export, to be put into a store.
pub struct Import<'a> {
    store: &'a dyn Store,
    entropy: u64,
    /// The log of each place that comes in, its number, and the next number.
    logs: BTreeMap<String, (LogId, u64)>,
    /// What the last commit does.
    ops: Vec<Op>,
    imported: Imported,
}

/// A log that is being read.
#[derive(Debug)]
struct Reading {
    place: String,
    next: u64,
    last_seq: u64,
    last_time_ms: u64,
}

/// Reads lines and counts them.
struct Source<R> {
    input: R,
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Source<R> {
    fn new(input: R) -> Self {
        Self { input, number: 0, line: Vec::new() }
    }

    /// The next line as JSON; `None` at the end of the input.
    fn next(&mut self) -> Result<Option<serde_json::Value>, TransferError> {
        self.line.clear();
        if self.input.by_ref().take(LINE_BYTES).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.line.last() != Some(&b'\n') {
            return Err(self.wrong("it is cut off, or too long"));
        }
        serde_json::from_slice(&self.line).map(Some).map_err(|error| self.wrong(&format!("no JSON: {error}")))
    }

    fn wrong(&self, what: &str) -> TransferError {
        TransferError::Line(self.number, what.to_owned())
    }
}

fn parse(line: &serde_json::Value) -> Result<Line, String> {
    let parsed: Line =
        serde::Deserialize::deserialize(line).map_err(|error: serde_json::Error| error.to_string())?;
    if serde_json::to_value(&parsed).ok().as_ref() != Some(line) {
        return Err("a field that is unknown, or in another form than an export writes it".into());
    }
    Ok(parsed)
}

impl<'a> Import<'a> {
    /// Proves every line of `input` and that it fits what the store holds. Nothing is changed. `entropy` seeds the
    /// identifiers of logs.
    ///
    /// # Errors
    /// [`TransferError::Line`] with the first bad line, [`TransferError::Misfit`] where all are good and something is
    /// missing, or the store or the input failed.
    pub fn prove(store: &'a dyn Store, entropy: u64, input: impl BufRead) -> Result<Self, TransferError> {
        let mut import =
            Self { store, entropy, logs: BTreeMap::new(), ops: Vec::new(), imported: Imported::default() };
        let there = Existing::read(store)?;
        let mut source = Source::new(input);
        let Some(first) = source.next()? else { return Err(TransferError::Line(1, "there is none".into())) };
        let scope = header(&first).map_err(|what| source.wrong(&what))?;
        let mut proof = Proof {
            merge: Merge::new(there.records.iter().cloned(), scope != "all")
                .map_err(TransferError::Damaged)?,
            there: &there,
            reading: None,
            markers: Vec::new(),
            named: HashSet::new(),
        };
        let mut is_ended = false;
        while let Some(line) = source.next()? {
            if is_ended {
                return Err(source.wrong("it comes after the end"));
            }
            is_ended =
                import.prove_line(&mut proof, &line, source.number).map_err(|what| source.wrong(&what))?;
        }
        if !is_ended {
            let text = "the export is cut off: its last line is missing";
            return Err(TransferError::Line(source.number + 1, text.into()));
        }
        import.imported.lines = source.number;
        for (line, place, op) in proof.markers {
            if !import.logs.contains_key(&place) {
                return Err(TransferError::Line(line, format!("a marker of {place}, which is not in it")));
            }
            import.ops.push(op);
        }
        let records = proof.merge.finish().map_err(TransferError::Misfit)?;
        import.imported.records = records.len() as u64;
        import.ops.extend(records.into_iter().map(|(key, value)| persist::put_chat(key, value)));
        import.ops.extend(there.orphans.iter().map(|log| Op::DropLog { log: *log }));
        for (place, (log, next)) in &import.logs {
            let old = there.places.get(place);
            // A number that was leased may have been given.
            let leased = old.map_or(1, |(.., leased)| *leased);
            import.ops.push(persist::put_place(place, *log, leased.max(*next)));
            import.ops.extend(old.map(|(old, ..)| Op::DropLog { log: *old }));
        }
        Ok(import)
    }

    /// Looks at one line; says whether it was the last.
    fn prove_line(
        &mut self,
        proof: &mut Proof<'_>,
        line: &serde_json::Value,
        number: u64,
    ) -> Result<bool, String> {
        if let Some(record) = from_line(line)? {
            let is_blank = |place: &str| proof.there.is_blank(place);
            proof.merge.add(record, &is_blank)?;
            return Ok(false);
        }
        match parse(line)? {
            Line::Export { .. } => Err("a second first line".into()),
            Line::Marker { place, user, seq } => {
                name::user_key(&user).map_err(|_| format!("{user:?} is no name of a user"))?;
                if !proof.named.insert((place.clone(), user.clone())) {
                    return Err("a second marker of the same user in the same place".into());
                }
                let op = persist::put_marker(&place, &user, seq);
                proof.markers.push((number, place, op));
                Ok(false)
            }
            Line::Retained(message) => {
                let message = message.message()?;
                if message.seq != 0 || message.is_deleted || message.topic().starts_with('$') {
                    return Err("no retained message".into());
                }
                if proof.there.retained.contains(message.topic()) {
                    return Err(format!("there is a retained message on {} already", message.topic()));
                }
                self.ops.push(persist::put_retained(&message));
                Ok(false)
            }
            Line::Log { place, next } => {
                check_place(&place)?;
                if !proof.there.is_blank(&place) {
                    return Err(format!("there is a {place} already, with what was said in it"));
                }
                if next == 0 || next > 1 << 62 {
                    return Err("next: no number that can come next".into());
                }
                let log = self.new_log(proof.there);
                if self.logs.insert(place.clone(), (log, next)).is_some() {
                    return Err(format!("a second log of {place}"));
                }
                self.imported.logs += 1;
                proof.reading = Some(Reading { place, next, last_seq: 0, last_time_ms: 0 });
                Ok(false)
            }
            Line::Entry(entry) => {
                let reading = proof.reading.as_mut().ok_or("an entry before any log")?;
                reading.take(&entry)?;
                self.imported.entries += 1;
                Ok(false)
            }
            Line::End { lines } if lines == number => Ok(true),
            Line::End { lines } => Err(format!("the end of {lines} lines: some are missing, or too many")),
        }
    }

    /// A log that nobody has.
    fn new_log(&mut self, there: &Existing) -> LogId {
        loop {
            self.entropy = self.entropy.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = self.entropy;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let log = (mixed ^ (mixed >> 31)) >> 1;
            if !there.logs.contains(&log) && !self.logs.values().any(|(known, _)| *known == log) {
                return log;
            }
        }
    }

    /// Puts it in. `input` is what was proved, from its beginning.
    ///
    /// # Errors
    /// The store or the input failed, or the input is another one; then nothing that was put in is seen.
    pub fn carry_out(self, input: impl BufRead) -> Result<Imported, TransferError> {
        let mut source = Source::new(input);
        let mut log = None;
        let mut ops = Vec::new();
        let (mut bytes, mut entries) = (0, 0);
        while let Some(line) = source.next()? {
            match line["type"].as_str() {
                Some("log") => {
                    let place = line["place"].as_str().unwrap_or_default();
                    log = self.logs.get(place).map(|(log, _)| *log);
                }
                Some("entry") => {
                    let Ok(Line::Entry(entry)) = serde::Deserialize::deserialize(&line) else {
                        return Err(source.wrong("it has changed"));
                    };
                    let message = entry.message().map_err(|what| source.wrong(&what))?;
                    let Some(log) = log else { return Err(source.wrong("it has changed")) };
                    let content: Bytes = message.to_disk();
                    bytes += content.len();
                    entries += 1;
                    let entry = Entry { seq: entry.seq, time_ms: entry.time_ms, bytes: content };
                    ops.push(Op::Append { log, entry });
                }
                _ => {}
            }
            if ops.len() >= COMMIT_OPS || bytes >= COMMIT_BYTES {
                self.store.commit(std::mem::take(&mut ops))?;
                bytes = 0;
            }
        }
        if source.number != self.imported.lines || entries != self.imported.entries {
            return Err(source.wrong("the export has changed while it was read"));
        }
        ops.extend(self.ops);
        self.store.commit(ops)?;
        Ok(self.imported)
    }
}

/// What the first line says is in it.
fn header(line: &serde_json::Value) -> Result<String, String> {
    let no_export = || format!("no export: the first line of one says {FORMAT:?}");
    if line["type"] != "export" || line["format"] != FORMAT {
        return Err(no_export());
    }
    match line["version"].as_u64() {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) if version > u64::from(VERSION) => {
            return Err(format!("version {version} of the format, and this program reads up to {VERSION}"));
        }
        _ => return Err(no_export()),
    }
    match parse(line)? {
        Line::Export { scope, .. } if scope.starts_with("user/") => {
            Err("an export of one user: it is for that user, and is not imported".into())
        }
        Line::Export { scope, .. } => Ok(scope),
        _ => Err(no_export()),
    }
}

fn check_place(place: &str) -> Result<(), String> {
    let is_place = match topic::users_of(place) {
        Some((one, other)) => one <= other && name::user_key(one).is_ok() && name::user_key(other).is_ok(),
        None => place
            .split_once('/')
            .is_some_and(|(root, name)| matches!(root, "room" | "group") && name::check_room(name).is_ok()),
    };
    if is_place { Ok(()) } else { Err(format!("{place:?} is no place")) }
}

impl Reading {
    fn take(&mut self, entry: &MessageLine) -> Result<(), String> {
        if entry.seq <= self.last_seq || entry.seq >= self.next {
            return Err(format!("number {} does not follow, or is not below next", entry.seq));
        }
        if entry.time_ms < self.last_time_ms {
            return Err("its time is before that of the entry before".into());
        }
        (self.last_seq, self.last_time_ms) = (entry.seq, entry.time_ms);
        let message = entry.message()?;
        match topic::classify(message.topic()) {
            Topic::Said(said) if said.channel.is_logged() && said.place() == self.place => Ok(()),
            _ => Err(format!("its topic is none of what is said in {}", self.place)),
        }
    }
}

/// What is proved so far.
struct Proof<'a> {
    merge: Merge,
    there: &'a Existing,
    reading: Option<Reading>,
    /// With the line, and the place that they are in.
    markers: Vec<(u64, String, Op)>,
    named: HashSet<(String, String)>,
}

/// What the store holds already.
struct Existing {
    records: Vec<(Vec<u8>, Vec<u8>)>,
    /// Log, next number of it, and leased number of each place.
    places: HashMap<String, (LogId, u64, u64)>,
    retained: HashSet<String>,
    logs: HashSet<LogId>,
    /// Logs that an import which was interrupted has left.
    orphans: Vec<LogId>,
}

impl Existing {
    fn read(store: &dyn Store) -> Result<Self, TransferError> {
        let stats: HashMap<LogId, u64> =
            store.logs()?.into_iter().map(|(log, stats)| (log, stats.next)).collect();
        let mut places = HashMap::new();
        for (key, value) in store.scan(persist::PLACES)? {
            let place = std::str::from_utf8(&key).map_err(|_| super::damaged(&key))?;
            let (log, leased) = persist::read_place(&value).ok_or_else(|| super::damaged(&key))?;
            places.insert(place.to_owned(), (log, stats.get(&log).copied().unwrap_or(1), leased));
        }
        let known: HashSet<LogId> = places.values().map(|(log, ..)| *log).collect();
        let is_orphan = |log: &LogId| persist::session_of(*log).is_none() && !known.contains(log);
        let topics = store.scan(persist::RETAINED)?.into_iter();
        Ok(Self {
            records: store
                .scan(persist::CHAT)?
                .into_iter()
                .map(|(key, value)| (key.to_vec(), value.to_vec()))
                .collect(),
            retained: topics.filter_map(|(key, _)| String::from_utf8(key.to_vec()).ok()).collect(),
            orphans: stats.keys().copied().filter(is_orphan).collect(),
            logs: stats.into_keys().collect(),
            places,
        })
    }

    /// Whether nothing that was said is known of a place.
    fn is_blank(&self, place: &str) -> bool {
        self.places.get(place).is_none_or(|(_, next, _)| *next <= 1)
    }
}
