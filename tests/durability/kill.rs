//! SIGKILL at random moments under load, and what the next process gives back.
//!
//! Publishers speak in two rooms and on a plain topic and set retained messages until the broker is killed; they note
//! what was acknowledged and send the rest again later, as MQTT has it. A member with a lasting session takes what
//! comes, another one sleeps all the time. After each restart the history and the retained messages are compared with
//! what was acknowledged, and at the end the two members with the history. Each load and each moment follows from a
//! seed that is printed; `KILL_COUNT` says how many kills there are, `KILL_SEED` where they begin.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use super::member::Member;
use super::publisher::{Publisher, Said};
use crate::harness::{Broker, Connect, RawClient, Settings, V5};

const ROOMS: [&str; 2] = ["x", "y"];
const PUBLISHERS: usize = 4;
/// Acknowledgements between two kills at most.
const ACKS: u64 = 500;
const LIMIT: Duration = Duration::from_secs(30);

/// A generator that gives the same numbers each time.
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// A message in a room's history.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    seq: u64,
    text: String,
}

/// What the histories were found to be so far, by room.
#[derive(Default)]
struct Histories(HashMap<&'static str, Vec<Kept>>);

impl Histories {
    /// Reads what was added, or everything, up to a mark that is said now; what was read before must not have changed.
    fn read(&mut self, broker: &Broker, round: u64, all: bool) {
        let mut checker = broker.connect(&Connect::new(V5, "checker").user("checker"));
        for room in ROOMS {
            let known = self.0.entry(room).or_default();
            let since = if all { 0 } else { known.last().map_or(0, |last| last.seq) };
            checker.subscribe(&format!("$since/{since}/room/{room}/msg/+"), 0);
            let mark = format!("checker:{round}");
            checker.publish(&format!("room/{room}/msg/checker"), &mark, 1);
            let mut found: Vec<Kept> = known.iter().filter(|kept| kept.seq <= since).cloned().collect();
            while found.last().is_none_or(|last| last.text != mark) {
                let publish = checker.expect_publish();
                let seq = super::number(&publish.properties).expect("a number");
                assert!(
                    found.last().is_none_or(|last| last.seq < seq),
                    "{room}: {seq} after {:?}",
                    found.last()
                );
                found.push(Kept { seq, text: publish.text() });
            }
            assert!(
                found.len() > known.len(),
                "{room}: {} were kept, {} are there",
                known.len(),
                found.len()
            );
            assert_eq!(found[..known.len()], known[..], "{room}: what was there has not changed");
            checker.unsubscribe(&[&format!("room/{room}/msg/+")]);
            *known = found;
        }
        checker.disconnect();
    }

    /// Compares with what one publisher knows: everything acknowledged is there, in order, exactly once where it was
    /// QoS 2, under the number that the publisher was told.
    fn compare(&self, publisher: &Publisher) {
        for room in ROOMS {
            let own = format!("{}:", publisher.index);
            let history = &self.0[room];
            let mut first: HashMap<&str, u64> = HashMap::new();
            let mut newest = None;
            let mut all: HashSet<(&str, u64)> = HashSet::new();
            for kept in history.iter().filter(|kept| kept.text.starts_with(&own)) {
                let number: usize = kept.text[own.len()..].parse().expect("a number");
                all.insert((&kept.text, kept.seq));
                if first.insert(&kept.text, kept.seq).is_some() {
                    assert_eq!(publisher.said[number].qos, 1, "{kept:?} is there twice");
                } else {
                    assert!(newest < Some(number), "{kept:?} after {newest:?}");
                    newest = Some(number);
                }
            }
            for (number, said) in publisher.said.iter().enumerate() {
                if said.is_acknowledged && said.topic.starts_with(&format!("room/{room}/")) {
                    let text = format!("{own}{number}");
                    assert!(first.contains_key(&*text), "{text} was acknowledged and is not in room {room}");
                    let told = said.seq;
                    assert!(
                        told.is_none_or(|seq| all.contains(&(&*text, seq))),
                        "{text} was acknowledged under {told:?}"
                    );
                }
            }
        }
    }
}

/// The retained message of a publisher is the last that was acknowledged, or one that was said later.
fn compare_retained(broker: &Broker, publisher: &Publisher) {
    let topic = format!("kept/{}", publisher.index);
    let kept: Vec<(usize, &Said)> =
        publisher.said.iter().enumerate().filter(|(_, said)| said.topic == topic).collect();
    let Some(&(acknowledged, _)) = kept.iter().rfind(|(_, said)| said.is_acknowledged) else { return };
    let mut reader = broker.client(V5, "retained");
    reader.subscribe(&topic, 0);
    let publish = reader.expect_publish();
    assert!(publish.retain);
    let text = publish.text();
    let number: usize = text.rsplit(':').next().expect("a number").parse().expect("a number");
    let newest = &kept[kept.len().saturating_sub(8)..];
    assert!(
        number >= acknowledged,
        "{topic}: {number} instead of {acknowledged}; said were {newest:?}; open: {:?}",
        publisher.open
    );
    assert_eq!(publisher.said[number].topic, topic);
    reader.disconnect();
}

/// One life of the broker: everybody speaks and listens until it is killed after so many acknowledgements.
fn live_and_die(broker: &mut Broker, publishers: &mut [Publisher], member: &mut Member, acks: u64) {
    let (told, heard): (Sender<()>, Receiver<()>) = mpsc::channel();
    let address = broker.address();
    thread::scope(|scope| {
        for publisher in publishers {
            let told = told.clone();
            scope.spawn(move || publisher.speak(address, &told));
        }
        scope.spawn(|| member.listen(address));
        for _ in 0..acks {
            heard.recv_timeout(LIMIT).expect("publishers are acknowledged");
        }
        broker.kill();
    });
}

/// The rest of what publishers have open is sent again and completed.
fn finish(broker: &Broker, publishers: &mut [Publisher]) {
    for publisher in publishers {
        publisher.finish(broker.address());
        assert!(publisher.said.iter().all(|said| said.is_acknowledged));
    }
    let mut checker = broker.connect(&Connect::new(V5, "checker").user("checker"));
    for topic in ["room/x/msg/checker", "room/y/msg/checker", "plain/checker"] {
        checker.publish(topic, "end", 2);
    }
}

/// Compares all that a member was given with the histories: everything of each QoS in order, QoS 2 once. (After a crash
/// what was in flight with QoS 2 comes before QoS 1 messages that come again; MQTT orders messages of one QoS.)
fn compare_rooms(member: &Member, histories: &Histories, publishers: &[Publisher]) {
    for room in ROOMS {
        for qos in [1, 2] {
            let mut seen = HashSet::new();
            let mut order = Vec::new();
            let prefix = format!("room/{room}/");
            for publish in member.taken.iter().filter(|it| it.qos == qos && it.topic.starts_with(&prefix)) {
                let seq = super::number(&publish.properties).expect("a number");
                if seen.insert(seq) {
                    order.push(Kept { seq, text: publish.text() });
                } else {
                    assert_eq!(qos, 1, "{} was given twice: {publish:?}", member.name);
                }
            }
            let history: Vec<&Kept> =
                histories.0[room].iter().filter(|kept| qos_of(publishers, &kept.text) == qos).collect();
            let differs = order.iter().zip(&history).position(|(one, other)| one != *other);
            if let Some(at) = differs {
                panic!("{} in {room}, QoS {qos}: {:?} instead of {:?}", member.name, order[at], history[at]);
            }
            assert_eq!(order.len(), history.len(), "{} in {room}, QoS {qos}", member.name);
        }
    }
}

/// The QoS that a message was said with.
fn qos_of(publishers: &[Publisher], text: &str) -> u8 {
    let (index, number) = text.split_once(':').unwrap_or(("end", ""));
    match (index.parse::<usize>(), number.parse::<usize>()) {
        (Ok(index), Ok(number)) => publishers[index].said[number].qos,
        // What the checker says.
        _ => {
            if index == "end" {
                2
            } else {
                1
            }
        }
    }
}

/// Compares what a member was given with what was said on the plain topic.
fn compare_plain(member: &Member, publisher: &Publisher) {
    let own = format!("{}:", publisher.index);
    let mut times: HashMap<usize, usize> = HashMap::new();
    let mut newest = [None; 3];
    for publish in member.taken.iter().filter(|it| it.topic == format!("plain/{}", publisher.index)) {
        let number: usize = publish.text()[own.len()..].parse().expect("a number");
        let count = times.entry(number).or_default();
        *count += 1;
        if *count == 1 {
            let newest = &mut newest[usize::from(publish.qos)];
            assert!(*newest < Some(number), "{}: {publish:?} after {newest:?}", member.name);
            *newest = Some(number);
        }
        assert!(publish.qos == 1 || *count == 1, "{}: given twice: {publish:?}", member.name);
    }
    let plain = publisher.said.iter().enumerate().filter(|(_, said)| said.topic.starts_with("plain/"));
    for (number, said) in plain {
        assert!(times.contains_key(&number), "{}: {own}{number} was never given: {said:?}", member.name);
    }
}

/// Kills the broker so often, with these arguments, and compares.
fn kill_again_and_again(arguments: &'static [&'static str]) {
    let kills = setting("KILL_COUNT", 50);
    let seed = setting("KILL_SEED", 0x5EED);
    println!("KILL_SEED={seed} KILL_COUNT={kills}");
    let mut chance = Chance(seed);
    let mut broker = Broker::with(Settings { arguments, ..Settings::default() });
    let mut publishers: Vec<Publisher> =
        (0..PUBLISHERS).map(|index| Publisher::new(index, Chance(chance.below(u64::MAX - 1) + 1))).collect();
    let mut member = Member::enter(&broker, "member");
    let mut sleeper = Member::enter(&broker, "sleeper");
    let mut histories = Histories::default();
    for round in 0..kills {
        let acks = chance.below(ACKS);
        live_and_die(&mut broker, &mut publishers, &mut member, acks);
        broker.restart();
        histories.read(&broker, round, round % 10 == 9);
        for publisher in &publishers {
            histories.compare(publisher);
            compare_retained(&broker, publisher);
        }
    }
    finish(&broker, &mut publishers);
    histories.read(&broker, kills, true);
    publishers.iter().for_each(|publisher| histories.compare(publisher));
    for member in [&mut member, &mut sleeper] {
        member.listen_to_the_end(broker.address(), &format!("checker:{kills}"));
        compare_rooms(member, &histories, &publishers);
        publishers.iter().for_each(|publisher| compare_plain(member, publisher));
    }
    let said: usize = publishers.iter().map(|publisher| publisher.said.len()).sum();
    println!("{said} messages, {} in the histories", histories.0.values().map(Vec::len).sum::<usize>());
    assert!(said as u64 > kills * ACKS / 4, "{said} messages are no load");
}

#[test]
fn a_broker_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    kill_again_and_again(&["--threads.shards", "1", "--rooms.tail-size", "8KiB"]);
}

#[test]
fn several_shards_that_are_killed_again_and_again_lose_and_double_nothing() {
    kill_again_and_again(&["--threads.shards", "3", "--rooms.tail-size", "8KiB"]);
}

/// A connection to a broker that may be gone already.
pub(super) fn connect(address: std::net::SocketAddr, connect: &Connect) -> Option<(RawClient, bool)> {
    use crate::harness::{Read, packet::Packet};
    let mut client = RawClient::new(std::net::TcpStream::connect(address).ok()?, V5);
    client.try_send(&connect.bytes()).ok()?;
    match client.read_within(LIMIT) {
        Read::Packet(Packet::ConnAck(ack)) => {
            assert_eq!(ack.code, 0, "{ack:?}");
            Some((client, ack.session_present))
        }
        Read::Closed => None,
        other => panic!("expected CONNACK, got {other:?}"),
    }
}
