//! The directory's records as lines of an export, and back.
//!
//! A line is a JSON object that a person can read and that says no storage key: users and places stand in it by their
//! names. The format is in the README ("The export format"); what a line holds of a record is what the record has. It must never know where lines come
//! from or go to. Invariant: [`to_line`] of what [`from_line`] made is the same text, or `from_line` refuses it.

use super::people::GUEST;
use super::places::Root;
use super::records::{
    self, AccountRecord, AnonymousRecord, LinkRecord, MemberRecord, NameRecord, NumbersRecord, PlaceRecord,
    PostRecord, TokenRecord,
};
use crate::name;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A record: its key and its value.
pub type Record = (Vec<u8>, Vec<u8>);

/// What of a broker is exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything, with the hashes of passwords and the tokens where `secrets` is set.
    All {
        /// Whether secrets are in it.
        secrets: bool,
    },
    /// One room or group, by `room/{name}` or `group/{name}` in its spelling, and of its people what the place needs.
    Place(String),
    /// One user, by the name in its spelling: what somebody may ask for who asks what is known of them.
    User(String),
}

/// Spellings, which keys of records do not have, and who belongs to the place that is exported. Feed it every record in
/// the order of the keys before the first line is made.
#[derive(Debug, Default)]
pub struct Names {
    /// Where the spelling is not the key.
    users: BTreeMap<String, String>,
    places: BTreeMap<String, String>,
    /// Keys of the people of a place that is exported.
    people: BTreeSet<String>,
    /// Whether what is exported is there.
    pub is_found: bool,
}

/// A line of an export that is a record.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line {
    Numbers(NumbersRecord),
    Account(AccountRecord),
    Anonymous(AnonymousRecord),
    Room(PlaceRecord),
    Group(PlaceRecord),
    Member {
        place: String,
        user: String,
        #[serde(flatten)]
        record: MemberRecord,
    },
    Ban {
        place: String,
        user: String,
        v: u8,
    },
    Post {
        place: String,
        number: u64,
        #[serde(flatten)]
        record: PostRecord,
    },
    Friend {
        user: String,
        friend: String,
        #[serde(flatten)]
        record: LinkRecord,
    },
    Ignored {
        user: String,
        ignored: String,
        v: u8,
    },
    Pair {
        users: [String; 2],
        #[serde(flatten)]
        record: LinkRecord,
    },
    Token {
        /// SHA-256, in hexadecimal digits; left out where secrets are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
        #[serde(flatten)]
        record: TokenRecord,
    },
}

impl Names {
    /// Takes note of a record.
    pub fn learn(&mut self, scope: &Scope, key: &[u8], value: &[u8]) {
        let Some((&letter, rest)) = key.split_first() else { return };
        let Ok(text) = std::str::from_utf8(rest) else { return };
        let spelled = match letter {
            records::ACCOUNT => records::parse::<AccountRecord>(value).map(|record| record.name),
            records::ANONYMOUS => records::parse::<AnonymousRecord>(value).map(|record| record.name),
            _ => None,
        };
        if let Some(name) = spelled {
            self.is_found |= matches!(scope, Scope::User(user) if *user == name);
            if name != text {
                self.users.insert(text.to_owned(), name);
            }
        }
        if letter == records::PLACE
            && let Some(record) = records::parse::<PlaceRecord>(value)
            && let Some((root, _)) = text.split_once('/')
        {
            let name = format!("{root}/{}", record.name);
            if matches!(scope, Scope::Place(place) if *place == name) {
                self.is_found = true;
                self.people.insert(record.owner);
            }
            if name != text {
                self.places.insert(text.to_owned(), name);
            }
        }
        if let (records::MEMBER, Scope::Place(place), Some((at, user))) =
            (letter, scope, records::two_of(rest))
            && self.place(at) == *place
            && let Ok(user) = std::str::from_utf8(user)
        {
            self.people.insert(user.to_owned());
        }
    }

    fn user(&self, key: &str) -> String {
        self.users.get(key).map_or(key, String::as_str).to_owned()
    }

    fn place(&self, key: &str) -> String {
        self.places.get(key).map_or(key, String::as_str).to_owned()
    }
}

/// The line of a record, without its end; `None` where it is not in the scope.
///
/// # Errors
/// The record does not parse.
pub fn to_line(names: &Names, scope: &Scope, key: &[u8], value: &[u8]) -> Result<Option<String>, String> {
    if key.first().is_some_and(|letter| [records::ERASURE, records::SECRET].contains(letter)) {
        // What is being erased is no part of what there is, and a broker draws its secret itself.
        return Ok(None);
    }
    let line = read(names, key, value)
        .ok_or_else(|| format!("the record {:?} does not parse", String::from_utf8_lossy(key)))?;
    let line = match scope {
        Scope::All { secrets: true } => Some(line),
        Scope::All { secrets: false } => without_secrets(line),
        Scope::Place(place) => of_place(names, place, line),
        Scope::User(user) => of_user(user, line),
    };
    // These types have string keys only and cannot fail.
    Ok(line.map(|line| serde_json::to_string(&line).unwrap_or_default()))
}

fn read(names: &Names, key: &[u8], value: &[u8]) -> Option<Line> {
    let (&letter, rest) = key.split_first()?;
    let two = || {
        let (one, other) = records::two_of(rest)?;
        Some((one, std::str::from_utf8(other).ok()?))
    };
    Some(match letter {
        records::NUMBERS => Line::Numbers(records::parse(value)?),
        records::ACCOUNT => Line::Account(records::parse(value)?),
        records::ANONYMOUS => Line::Anonymous(records::parse(value)?),
        records::PLACE => {
            let mut record: PlaceRecord = records::parse(value)?;
            record.owner = names.user(&record.owner);
            match Root::parse(std::str::from_utf8(rest).ok()?.split_once('/')?.0)? {
                Root::Room => Line::Room(record),
                Root::Group => Line::Group(record),
            }
        }
        records::MEMBER => {
            let (place, user) = two()?;
            Line::Member { place: names.place(place), user: names.user(user), record: records::parse(value)? }
        }
        records::BAN => {
            let record: NameRecord = records::parse(value)?;
            Line::Ban { place: names.place(two()?.0), user: record.name, v: record.v }
        }
        records::POST => {
            let (place, number) = records::two_of(rest)?;
            let number = u64::from_be_bytes(number.try_into().ok()?);
            Line::Post { place: names.place(place), number, record: records::parse(value)? }
        }
        records::FRIEND => {
            let (user, friend) = two()?;
            Line::Friend {
                user: names.user(user),
                friend: names.user(friend),
                record: records::parse(value)?,
            }
        }
        records::IGNORED => {
            let record: NameRecord = records::parse(value)?;
            Line::Ignored { user: names.user(two()?.0), ignored: record.name, v: record.v }
        }
        records::PAIR => {
            let (one, other) = two()?;
            Line::Pair { users: [names.user(one), names.user(other)], record: records::parse(value)? }
        }
        records::TOKEN => {
            let mut record: TokenRecord = records::parse(value)?;
            record.user = names.user(&record.user);
            let digest: [u8; 32] = rest.try_into().ok()?;
            Line::Token { digest: Some(super::chance::to_hex(&digest)), record }
        }
        _ => return None,
    })
}

fn without_secrets(line: Line) -> Option<Line> {
    Some(match line {
        Line::Account(record) => Line::Account(AccountRecord { hash: None, scram: None, ..record }),
        Line::Room(record) => Line::Room(PlaceRecord { hash: None, ..record }),
        Line::Group(record) => Line::Group(PlaceRecord { hash: None, ..record }),
        Line::Token { .. } => return None,
        other => other,
    })
}

fn of_place(names: &Names, wanted: &str, line: Line) -> Option<Line> {
    let is_one_of_it = |name: &str| name::user_key(name).is_ok_and(|key| names.people.contains(&key));
    let is_it = |root: &str, record: &PlaceRecord| wanted == format!("{root}/{}", record.name);
    match line {
        // Of its people only that there are such.
        Line::Account(record) if is_one_of_it(&record.name) => Some(Line::Account(AccountRecord {
            hash: None,
            scram: None,
            identity: None,
            seen_ms: 0,
            address: None,
            blocked: false,
            display: None,
            email: None,
            fields: BTreeMap::new(),
            delete_on_delivery: false,
            text: None,
            ..record
        })),
        Line::Anonymous(record) if is_one_of_it(&record.name) => {
            Some(Line::Anonymous(AnonymousRecord { address: None, ..record }))
        }
        Line::Room(record) if is_it("room", &record) => without_secrets(Line::Room(record)),
        Line::Group(record) if is_it("group", &record) => without_secrets(Line::Group(record)),
        Line::Member { ref place, .. } | Line::Ban { ref place, .. } | Line::Post { ref place, .. }
            if place == wanted =>
        {
            Some(line)
        }
        _ => None,
    }
}

fn of_user(wanted: &str, line: Line) -> Option<Line> {
    let is_of_user = match &line {
        Line::Numbers(_) => false,
        Line::Account(record) => record.name == wanted,
        Line::Anonymous(record) => record.name == wanted,
        Line::Room(record) | Line::Group(record) => record.owner == wanted,
        Line::Member { user, .. } | Line::Ban { user, .. } => user == wanted,
        Line::Friend { user, .. } | Line::Ignored { user, .. } => user == wanted,
        Line::Post { record, .. } => record.from == wanted,
        Line::Pair { users, .. } => users.iter().any(|user| user == wanted),
        Line::Token { record, .. } => record.user == wanted,
    };
    if !is_of_user {
        return None;
    }
    match line {
        Line::Token { record, .. } => Some(Line::Token { digest: None, record }),
        other => without_secrets(other),
    }
}

/// The record that a line is about; `None` where a line of its `type` is none.
///
/// # Errors
/// What is wrong with the line, in words.
pub fn from_line(line: &serde_json::Value) -> Result<Option<Record>, String> {
    const TYPES: [&str; 12] = [
        "numbers",
        "account",
        "anonymous",
        "room",
        "group",
        "member",
        "ban",
        "post",
        "friend",
        "ignored",
        "pair",
        "token",
    ];
    if !line["type"].as_str().is_some_and(|kind| TYPES.contains(&kind)) {
        return Ok(None);
    }
    let parsed: Line = Line::deserialize(line).map_err(|error| error.to_string())?;
    if serde_json::to_value(&parsed).ok().as_ref() != Some(line) {
        return Err("a field that is unknown, or in another form than an export writes it".into());
    }
    write(parsed).map(Some)
}

fn write(line: Line) -> Result<Record, String> {
    let value = |v: u8, value: Vec<u8>| match v {
        records::VERSION => Ok(value),
        v => Err(format!("version {v} of such a record is unknown")),
    };
    Ok(match line {
        Line::Numbers(record) => {
            (records::key(records::NUMBERS, b""), value(record.v, records::value(&record))?)
        }
        Line::Account(record) => (
            records::key(records::ACCOUNT, user(&record.name)?.as_bytes()),
            value(record.v, records::value(&record))?,
        ),
        Line::Anonymous(record) => (
            records::key(records::ANONYMOUS, user(&record.name)?.as_bytes()),
            value(record.v, records::value(&record))?,
        ),
        Line::Room(record) => write_place("room", record)?,
        Line::Group(record) => write_place("group", record)?,
        Line::Member { place: at, user: who, record } => (
            records::key_of_two(records::MEMBER, &place(&at)?, user(&who)?.as_bytes()),
            value(record.v, records::value(&record))?,
        ),
        Line::Ban { place: at, user: who, v } => (
            records::key_of_two(records::BAN, &place(&at)?, user(&who)?.as_bytes()),
            value(v, records::value(&NameRecord { v, name: who }))?,
        ),
        Line::Post { place: at, number, record } => (
            records::key_of_two(records::POST, &place(&at)?, &number.to_be_bytes()),
            value(record.v, records::value(&record))?,
        ),
        Line::Friend { user: who, friend, record } => (
            records::key_of_two(records::FRIEND, &user(&who)?, user(&friend)?.as_bytes()),
            value(record.v, records::value(&record))?,
        ),
        Line::Ignored { user: who, ignored, v } => (
            records::key_of_two(records::IGNORED, &user(&who)?, user(&ignored)?.as_bytes()),
            value(v, records::value(&NameRecord { v, name: ignored }))?,
        ),
        Line::Pair { users: [one, other], record } => (
            records::key_of_two(records::PAIR, &user(&one)?, user(&other)?.as_bytes()),
            value(record.v, records::value(&record))?,
        ),
        Line::Token { digest, mut record } => {
            let digest = digest.as_deref().and_then(from_hex).ok_or("a token without its digest")?;
            record.user = user(&record.user)?;
            (records::key(records::TOKEN, &digest), value(record.v, records::value(&record))?)
        }
    })
}

fn write_place(root: &str, mut record: PlaceRecord) -> Result<Record, String> {
    let key = place(&format!("{root}/{}", record.name))?;
    record.owner = user(&record.owner)?;
    if record.v != records::VERSION {
        return Err(format!("version {} of such a record is unknown", record.v));
    }
    Ok((records::key(records::PLACE, key.as_bytes()), records::value(&record)))
}

fn user(name: &str) -> Result<String, String> {
    match name::user_key(name) {
        Ok(key) if !key.starts_with(GUEST) => Ok(key),
        _ => Err(format!("{name:?} is no name of a user")),
    }
}

fn place(place: &str) -> Result<String, String> {
    let (root, name) = place.split_once('/').unwrap_or((place, ""));
    match (Root::parse(root), name::room_key(name)) {
        (Some(_), Ok(key)) => Ok(format!("{root}/{key}")),
        _ => Err(format!("{place:?} is no room or group")),
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let bytes: Option<Vec<u8>> =
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect();
    bytes?.try_into().ok()
}

/// What is there when an import is done: the records of a broker, and those that are added to them.
#[derive(Debug, Default)]
pub struct Merge {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Keys that differ from what was there.
    changed: BTreeSet<Vec<u8>>,
    account_numbers: BTreeSet<u64>,
    place_numbers: BTreeSet<u64>,
    numbers: NumbersRecord,
    /// Whether people who are there already stay as they are.
    is_of_place: bool,
}

impl Merge {
    /// Begins with the records that are there. `is_of_place` says that the export is of one place: people in it who are there already stay as
    /// they are.
    ///
    /// # Errors
    /// A record that does not parse.
    pub fn new(records: impl IntoIterator<Item = Record>, is_of_place: bool) -> Result<Self, String> {
        let mut merge = Self { is_of_place, ..Self::default() };
        merge.numbers.v = records::VERSION;
        for (key, value) in records {
            merge
                .note(&key, &value)
                .ok_or_else(|| format!("the record {:?} does not parse", String::from_utf8_lossy(&key)))?;
            merge.records.insert(key, value);
        }
        Ok(merge)
    }

    /// Takes note of the numbers that a record has.
    fn note(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match *key.first()? {
            records::NUMBERS => self.numbers = self.highest(records::parse(value)?),
            records::ACCOUNT => {
                let number = records::parse::<AccountRecord>(value)?.number;
                self.account_numbers.insert(number);
                self.numbers.account = self.numbers.account.max(number);
            }
            records::PLACE => {
                let number = records::parse::<PlaceRecord>(value)?.number;
                self.place_numbers.insert(number);
                self.numbers.place = self.numbers.place.max(number);
            }
            _ => {}
        }
        Some(())
    }

    fn highest(&self, other: NumbersRecord) -> NumbersRecord {
        let known = self.numbers;
        NumbersRecord {
            v: records::VERSION,
            account: known.account.max(other.account),
            place: known.place.max(other.place),
            rooms: known.rooms.max(other.rooms),
            occupancy: known.occupancy.max(other.occupancy),
            members: known.members.max(other.members),
            groups: known.groups.max(other.groups),
            posts: known.posts.max(other.posts),
        }
    }

    /// Adds a record of an export. A number of an account or a place that is given already becomes the next one that is free.
    /// `is_blank` says whether nothing was ever said in a place, which then may be replaced.
    ///
    /// # Errors
    /// Something else is there already.
    pub fn add(&mut self, record: Record, is_blank: &dyn Fn(&str) -> bool) -> Result<(), String> {
        let (key, mut value) = record;
        let broken = || "a record that does not parse".to_owned();
        let (letter, rest) = key.split_first().ok_or_else(broken)?;
        match *letter {
            records::NUMBERS => {
                self.numbers = self.highest(records::parse(&value).ok_or_else(broken)?);
                return Ok(());
            }
            records::ACCOUNT | records::ANONYMOUS => {
                let there = [records::ACCOUNT, records::ANONYMOUS]
                    .into_iter()
                    .find_map(|letter| self.records.get(&records::key(letter, rest)));
                if let Some(there) = there {
                    if self.is_of_place || *there == value {
                        return Ok(());
                    }
                    return Err(format!("there is a user {:?} already", String::from_utf8_lossy(rest)));
                }
                if let Some(mut account) = records::parse::<AccountRecord>(&value)
                    && self.account_numbers.contains(&account.number)
                {
                    account.number = self.numbers.account.saturating_add(1);
                    value = records::value(&account);
                }
            }
            records::PLACE => {
                let mut place: PlaceRecord = records::parse(&value).ok_or_else(broken)?;
                let there = self.records.get(&key).map(|there| records::parse::<PlaceRecord>(there));
                if let Some(there) = there {
                    let there = there.ok_or_else(broken)?;
                    let root = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
                    let place_name = format!("{}/{}", String::from_utf8_lossy(root), there.name);
                    if self.records.get(&key) != Some(&value) && !is_blank(&place_name) {
                        return Err(format!("there is a {place_name} already, with what was said in it"));
                    }
                    place.number = there.number;
                } else if self.place_numbers.contains(&place.number) {
                    place.number = self.numbers.place.saturating_add(1);
                }
                value = records::value(&place);
            }
            _ => {}
        }
        self.note(&key, &value).ok_or_else(broken)?;
        if self.records.get(&key) != Some(&value) {
            self.changed.insert(key.clone());
            self.records.insert(key, value);
        }
        Ok(())
    }

    /// The records to be written, once it is proved that a broker starts with all of them.
    ///
    /// # Errors
    /// Which record names something that is not there.
    pub fn finish(mut self) -> Result<Vec<Record>, String> {
        let key = records::key(records::NUMBERS, b"");
        let value = records::value(&self.numbers);
        let is_news = !self.records.is_empty()
            || self.numbers != NumbersRecord { v: records::VERSION, ..NumbersRecord::default() };
        if is_news && self.records.get(&key) != Some(&value) {
            self.changed.insert(key.clone());
            self.records.insert(key, value);
        }
        let all = self.records.iter().map(|(key, value)| (&key[..], &value[..]));
        super::Directory::restore(super::Rules::default(), [0; 32], all).map_err(|key| {
            let shown = String::from_utf8_lossy(&key).replace('\0', " ");
            format!("{:?} is about a user or a place that is not there", shown.get(1..).unwrap_or(""))
        })?;
        let Self { mut records, changed, .. } = self;
        Ok(changed.into_iter().filter_map(|key| records.remove_entry(&key)).collect())
    }
}

#[cfg(test)]
mod tests;
