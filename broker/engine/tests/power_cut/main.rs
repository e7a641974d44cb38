//! Power cuts under the whole broker: engines and the store on disk are driven in steps, a copy of the database is kept
//! at each sync, and between any two syncs the power is cut in several ways. After each, the broker is started on what
//! is left, every client comes back with what it knew at that moment, and everything that had been acknowledged is
//! compared: histories and their numbers, retained messages, sessions, and what is given once with QoS 2.
//!
//! `POWER_CUT_SEEDS=20 cargo test -p katydid-engine --test power_cut` does it for so many loads.

mod disk;
#[path = "../../../../tests/harness/packet.rs"]
#[allow(dead_code, reason = "the tests of the whole broker use all of it")]
mod packet;
mod people;
#[path = "../../../../tests/harness/property.rs"]
#[allow(dead_code, reason = "the tests of the whole broker use all of it")]
mod property;
mod world;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use disk::{Recorder, WAYS};
use katydid_store::{FileSync, SledStore};
use people::{Listener, People, Publisher, number};
use world::World;

const ROOMS: [&str; 2] = ["x", "y"];
const FILTERS: [(&str, u8); 3] = [("room/x/msg/+", 2), ("room/y/#", 2), ("plain/#", 2)];
const MEMBER: usize = 0;
const SLEEPER: usize = 1;
const WATCHER: usize = 2;

/// A generator that gives the same load and the same tears each time.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A sync: what the disk certainly has after it, and what everybody knew when it began.
struct Moment {
    database: Vec<u8>,
    people: People,
}

/// Goes on until nothing moves any more.
fn settle(world: &mut World, people: &mut People, must_be_present: bool) {
    loop {
        world.step();
        people.take(world, must_be_present);
        if world.is_idle() {
            // One step more: what was taken may have been answered.
            world.step();
            people.take(world, must_be_present);
            if world.is_idle() {
                return;
            }
        }
        world.commit();
    }
}

/// A load of so many steps, and what the disk had at each of its syncs.
fn record(path: &Path, shards: usize, seed: u64, steps: usize) -> Vec<Moment> {
    let recorder = Arc::new(Recorder::default());
    let store = SledStore::open(path, disk::options(recorder.clone())).expect("opens");
    let mut chance = Chance(seed);
    let mut world = World::start(Arc::new(store), shards, seed);
    let mut people = People::new(3);
    people.connect_listener(&mut world, MEMBER, &FILTERS);
    people.connect_listener(&mut world, SLEEPER, &FILTERS);
    people.connect_listener(&mut world, WATCHER, &[("room/x/#", 0), ("room/y/#", 0)]);
    settle(&mut world, &mut people, false);
    people.disconnect_listener(&mut world, SLEEPER);
    for index in 0..people.publishers.len() {
        people.connect_publisher(&mut world, index);
    }
    settle(&mut world, &mut people, false);
    let last = recorder.take().pop().expect("entering was stored");
    let mut moments = vec![Moment { database: last, people: people.clone() }];
    for _ in 0..steps {
        people.say(&mut world, &mut chance);
        world.step();
        people.take(&mut world, false);
        if chance.below(3) == 0 {
            let before = people.clone();
            world.commit();
            let copies = recorder.take();
            moments.extend(copies.into_iter().map(|database| Moment { database, people: before.clone() }));
        }
    }
    moments
}

/// Starts the broker on what is left, and compares.
fn compare_after(path: &Path, shards: usize, known: &People, seed: u64, at: &str) {
    let store = SledStore::open(path, disk::options(Arc::new(FileSync)));
    let store = store.unwrap_or_else(|error| panic!("{at}: {error}"));
    let mut world = World::start(Arc::new(store), shards, seed + 1);
    let mut people = known.clone();
    people.lose_connections();
    people.connect_listener(&mut world, MEMBER, &[]);
    for index in 0..people.publishers.len() {
        people.connect_publisher(&mut world, index);
    }
    settle(&mut world, &mut people, true);
    let mut chance = Chance(seed);
    for _ in 0..4 {
        people.say(&mut world, &mut chance);
        settle(&mut world, &mut people, true);
    }
    people.connect_listener(&mut world, SLEEPER, &[]);
    let reader = people.add_listener("reader");
    let filters = [("$since/0/room/x/msg/+", 0), ("$since/0/room/y/msg/+", 0), ("kept/+", 0)];
    people.connect_listener(&mut world, reader, &filters);
    settle(&mut world, &mut people, true);
    assert!(people.publishers.iter().all(|publisher| publisher.open.is_empty()), "{at}: something is open");
    let found = &people.listeners[reader];
    for room in ROOMS {
        let history = history(found, room, at);
        compare_numbers(&history, &known.listeners[WATCHER], room, at);
        people.publishers.iter().for_each(|publisher| compare_history(&history, publisher, room, at));
        for listener in [MEMBER, SLEEPER] {
            compare_member(&people.listeners[listener], &history, &people.publishers, room, at);
        }
    }
    for publisher in &people.publishers {
        compare_retained(found, publisher, at);
        for listener in [MEMBER, SLEEPER] {
            compare_plain(&people.listeners[listener], publisher, at);
        }
    }
}

/// A room's history: numbers that grow, and texts.
fn history(reader: &Listener, room: &str, at: &str) -> Vec<(u64, String)> {
    let prefix = format!("room/{room}/");
    let history: Vec<(u64, String)> = reader
        .taken
        .iter()
        .filter(|publish| publish.topic.starts_with(&prefix))
        .map(|publish| (number(&publish.properties).expect("a number"), publish.text()))
        .collect();
    assert!(history.windows(2).all(|pair| pair[0].0 < pair[1].0), "{at}: {room}: {history:?}");
    history
}

/// A number that was seen before the power cut stands for the same message after it, or for none.
fn compare_numbers(history: &[(u64, String)], watcher: &Listener, room: &str, at: &str) {
    let history: HashMap<u64, &String> = history.iter().map(|(seq, text)| (*seq, text)).collect();
    for publish in watcher.taken.iter().filter(|it| it.topic.starts_with(&format!("room/{room}/msg/"))) {
        let seq = number(&publish.properties).expect("a number");
        let now = history.get(&seq);
        assert!(
            now.is_none_or(|now| **now == publish.text()),
            "{at}: {seq} was {}, is {now:?}",
            publish.text()
        );
    }
}

/// Everything acknowledged is there, in order, under the number that was told, and once where it was QoS 2.
fn compare_history(history: &[(u64, String)], publisher: &Publisher, room: &str, at: &str) {
    let own = format!("{}:", publisher.index);
    let mut first = HashSet::new();
    let mut newest = None;
    for (seq, text) in history.iter().filter(|(_, text)| text.starts_with(&own)) {
        let number: usize = text[own.len()..].parse().expect("a number");
        if first.insert(number) {
            assert!(newest < Some(number), "{at}: {room}: {text} ({seq}) after {newest:?}");
            newest = Some(number);
        } else {
            assert_eq!(publisher.said[number].qos, 1, "{at}: {text} is there twice");
        }
    }
    for (number, said) in publisher.said.iter().enumerate() {
        if said.topic.starts_with(&format!("room/{room}/")) {
            let text = format!("{own}{number}");
            assert!(first.contains(&number), "{at}: {text} is lost: {said:?}");
            let has_told = |seq: u64| history.iter().any(|(found, it)| *found == seq && *it == text);
            assert!(said.seq.is_none_or(has_told), "{at}: {text} has not its number: {said:?}");
        }
    }
}

/// The QoS that a message was said with.
fn qos_of(publishers: &[Publisher], text: &str) -> u8 {
    let (index, number) = text.split_once(':').expect("a text of a publisher");
    let index: usize = index.parse().expect("a number");
    publishers[index].said[number.parse::<usize>().expect("a number")].qos
}

/// A member was given everything of each QoS in the history's order, QoS 2 once.
fn compare_member(
    member: &Listener,
    history: &[(u64, String)],
    publishers: &[Publisher],
    room: &str,
    at: &str,
) {
    let prefix = format!("room/{room}/");
    for qos in [1, 2] {
        let mut seen = HashSet::new();
        let mut order = Vec::new();
        for publish in member.taken.iter().filter(|it| it.qos == qos && it.topic.starts_with(&prefix)) {
            let seq = number(&publish.properties).expect("a number");
            if seen.insert(seq) {
                order.push((seq, publish.text()));
            } else {
                assert_eq!(qos, 1, "{at}: {} was given twice: {publish:?}", member.name);
            }
        }
        // What the power cut took from the history may have been given before.
        let kept: HashSet<u64> = history.iter().map(|(seq, _)| *seq).collect();
        order.retain(|(seq, _)| kept.contains(seq));
        let expected: Vec<_> =
            history.iter().filter(|(_, text)| qos_of(publishers, text) == qos).cloned().collect();
        assert_eq!(order, expected, "{at}: {} in {room}, QoS {qos}", member.name);
    }
}

/// A member was given every message of the plain topic, in the order of each QoS, and once where it was QoS 2.
fn compare_plain(member: &Listener, publisher: &Publisher, at: &str) {
    let own = format!("{}:", publisher.index);
    let topic = format!("plain/{}", publisher.index);
    let mut seen = HashSet::new();
    let mut newest = [None; 3];
    for publish in member.taken.iter().filter(|it| it.topic == topic) {
        let number: usize = publish.text()[own.len()..].parse().expect("a number");
        if seen.insert(number) {
            let newest = &mut newest[usize::from(publish.qos)];
            assert!(*newest < Some(number), "{at}: {}: {publish:?} after {newest:?}", member.name);
            *newest = Some(number);
        } else {
            assert!(publish.qos == 1, "{at}: {} was given twice: {publish:?}", member.name);
        }
    }
    for (number, said) in publisher.said.iter().enumerate().filter(|(_, said)| said.topic == topic) {
        assert!(seen.contains(&number), "{at}: {}: {own}{number} was never given: {said:?}", member.name);
    }
}

/// The retained message is the last that was said, for all were completed.
fn compare_retained(reader: &Listener, publisher: &Publisher, at: &str) {
    let topic = format!("kept/{}", publisher.index);
    let last = publisher.said.iter().rposition(|said| said.topic == topic);
    let found = reader.taken.iter().find(|publish| publish.topic == topic).map(packet::Publish::text);
    assert_eq!(found, last.map(|last| format!("{}:{last}", publisher.index)), "{at}: {topic}");
}

fn cut_everywhere(shards: usize, seed: u64) {
    let recorded = disk::folder();
    let moments = record(recorded.path(), shards, seed, 150);
    let others = disk::other_files(recorded.path());
    assert!(moments.len() > 30, "{} syncs", moments.len());
    let said: usize =
        moments[moments.len() - 1].people.publishers.iter().map(|publisher| publisher.said.len()).sum();
    assert!(said > 100, "{said} messages are no load");
    for (index, pair) in moments.windows(2).enumerate() {
        let [before, after] = pair else { unreachable!("windows of two") };
        for way in WAYS {
            let mut chance = Chance(seed ^ (index as u64 + 1) << 8 ^ way.len() as u64);
            let crashed = disk::folder();
            let image = disk::torn(&before.database, &after.database, way, &mut chance);
            disk::rebuild(crashed.path(), &image, &others);
            let at = format!("{shards} shards, seed {seed}, sync {index} of {}, way `{way}`", moments.len());
            compare_after(crashed.path(), shards, &after.people, seed, &at);
        }
    }
}

fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("POWER_CUT_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(1);
    0x5EED..0x5EED + count
}

#[test]
fn a_power_cut_at_any_sync_loses_and_doubles_nothing() {
    seeds().for_each(|seed| cut_everywhere(1, seed));
}

#[test]
fn a_power_cut_of_several_shards_loses_and_doubles_nothing() {
    seeds().for_each(|seed| cut_everywhere(3, seed));
}
