//! History meets live without a seam: who subscribes gets the recent past first, then what follows: no gap, nothing
//! twice. Who asks says where the past begins.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::SystemTime;

use rumqttc::v5::mqttbytes::v5::{Filter, RetainForwardRule};

use super::talk::{New, Old, number, take, texts, user_property};
use crate::harness::packet::{self, Packet, RETAIN_IF_NEW, RETAIN_NEVER};
use crate::harness::{Broker, Connect, RawClient, Settings, V3, V5, property};

/// The room `Home`, in which ann has said `0`, `1`, ...
fn room(broker: &Broker, messages: usize) -> RawClient {
    let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
    say(&mut ann, 0..messages);
    ann
}

fn say(ann: &mut RawClient, range: std::ops::Range<usize>) {
    for index in range {
        ann.publish("room/Home/msg/ann", &index.to_string(), 1);
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|index| index.to_string()).collect()
}

/// What a new session gets for a filter.
fn replay(broker: &Broker, filter: &str, properties: &[property::Property], count: usize) -> Vec<String> {
    let mut reader = broker.client(V5, "reader");
    assert_eq!(reader.subscribe_with(&[(filter, 1)], properties), [1], "{filter} {properties:?}");
    let found = take(&mut reader, count);
    assert!(found.iter().all(|message| message.retain), "history bears RETAIN");
    reader.expect_quiet();
    texts(&found)
}

#[test]
fn a_new_subscription_starts_at_the_last_twenty() {
    let broker = Broker::start();
    let mut ann = room(&broker, 30);
    let mut reader = broker.client(V3, "reader");
    reader.subscribe("room/Home/msg/+", 1);
    let past = take(&mut reader, 20);
    assert_eq!(texts(&past), numbers(10..30), "oldest first");
    assert!(past.iter().all(|message| message.retain));
    say(&mut ann, 30..33);
    let live = take(&mut reader, 3);
    assert_eq!(texts(&live), numbers(30..33));
    assert!(live.iter().all(|message| !message.retain), "what is said now does not bear RETAIN");
    reader.expect_quiet();
}

#[test]
fn a_subscriber_says_where_the_past_begins() {
    let broker = Broker::start();
    room(&broker, 30);
    let mut reader = broker.client(V5, "numbers");
    reader.subscribe("$since/0/room/Home/msg/+", 0);
    let all = take(&mut reader, 30);
    let fifth = number(&all[4]);
    let time = user_property(&all[0].properties, "time").expect("a time").to_owned();
    let since = |value: &str| [property::user("since", value)];
    let last = |value: &str| [property::user("last", value)];
    let x = "room/Home/msg/+";
    for (filter, properties, expected) in [
        ("$last/3/room/Home/msg/+".to_owned(), Vec::new(), numbers(27..30)),
        ("$last/0/room/Home/msg/+".into(), Vec::new(), numbers(0..0)),
        ("$last/99/room/Home/msg/+".into(), Vec::new(), numbers(0..30)),
        (format!("$since/{fifth}/{x}"), Vec::new(), numbers(5..30)),
        ("$since/2h/room/Home/msg/+".into(), Vec::new(), numbers(0..30)),
        ("$since/999999999/room/Home/msg/+".into(), Vec::new(), numbers(0..0)),
        (x.into(), last("3").to_vec(), numbers(27..30)),
        (x.into(), since(&fifth.to_string()).to_vec(), numbers(5..30)),
        (x.into(), since("2h").to_vec(), numbers(0..30)),
        (x.into(), since(&time).to_vec(), numbers(0..30)),
        (x.into(), since("2999-01-01T00:00:00Z").to_vec(), numbers(0..0)),
    ] {
        assert_eq!(
            replay(&broker, &filter, &properties, expected.len()),
            expected,
            "{filter} {properties:?}"
        );
    }
}

#[test]
fn a_duration_begins_so_long_ago() {
    let broker = Broker::start();
    let mut ann = room(&broker, 3);
    let said = SystemTime::now();
    // The broker's clock is this machine's: when this loop ends, what was said is older than what is asked for.
    while said.elapsed().expect("a clock that goes on").as_millis() < 50 {
        ann.ping();
    }
    assert_eq!(replay(&broker, "$since/40ms/room/Home/msg/+", &[], 0), numbers(0..0));
    assert_eq!(replay(&broker, "$since/1h/room/Home/msg/+", &[], 3), numbers(0..3));
}

#[test]
fn the_past_that_is_not_understood_is_refused() {
    let broker = Broker::start();
    room(&broker, 3);
    let mut reader = broker.client(V5, "reader");
    for filter in ["$last/many/room/Home/msg/+", "$since/soon/room/Home/msg/+", "$last/5", "$last/5/plain/+"]
    {
        assert!(reader.subscribe_with(&[(filter, 1)], &[])[0] >= 0x80, "{filter}");
    }
    for (name, value) in [("last", "many"), ("since", "soon")] {
        let codes = reader.subscribe_with(&[("room/Home/msg/+", 1)], &[property::user(name, value)]);
        assert!(codes[0] >= 0x80, "{name} {value}");
    }
    reader.expect_quiet();
}

#[test]
fn a_repeated_subscribe_replays_only_when_it_asks() {
    let broker = Broker::start();
    let mut ann = room(&broker, 5);
    for version in [V3, V5] {
        let mut reader = broker.client(version, "reader");
        reader.subscribe("room/Home/msg/+", 1);
        assert_eq!(texts(&take(&mut reader, 5)), numbers(0..5));
        reader.subscribe("room/Home/msg/+", 1);
        reader.expect_quiet();
        reader.subscribe("$last/2/room/Home/msg/+", 1);
        let again = take(&mut reader, 2);
        assert_eq!(texts(&again), numbers(3..5));
        assert!(again.iter().all(|message| message.retain));
        reader.expect_quiet();
        reader.unsubscribe(&["$last/2/room/Home/msg/+"]);
        reader.subscribe("room/Home/msg/+", 1);
        assert_eq!(texts(&take(&mut reader, 5)), numbers(0..5), "it is new after UNSUBSCRIBE");
        reader.expect_quiet();
    }
    say(&mut ann, 5..6);
    let mut person = New::connect(&broker, "bob", true);
    person.subscribe("room/Home/msg/+", 1);
    assert_eq!(person.hear_texts(6), numbers(0..6));
    let filter = Filter::new("room/Home/msg/+", rumqttc::v5::mqttbytes::QoS::AtLeastOnce);
    person.subscribe_with(filter, &[("last", "1")]);
    assert_eq!(person.hear_texts(1), numbers(5..6));
}

#[test]
fn retain_handling_goes_before_replay() {
    let broker = Broker::start();
    let mut ann = room(&broker, 5);
    let mut reader = broker.client(V5, "reader");
    let last = [property::user("last", "2")];
    let x = "room/Home/msg/+";
    assert_eq!(reader.subscribe_with(&[(x, 1 | RETAIN_NEVER)], &last), [1]);
    reader.expect_quiet();
    assert_eq!(reader.subscribe_with(&[(x, 1 | RETAIN_IF_NEW)], &last), [1]);
    reader.expect_quiet();
    say(&mut ann, 5..6);
    assert_eq!(texts(&take(&mut reader, 1)), numbers(5..6), "live all the same");
    let mut other = broker.client(V5, "other");
    assert_eq!(other.subscribe_with(&[(x, 1 | RETAIN_IF_NEW)], &last), [1]);
    assert_eq!(texts(&take(&mut other, 2)), numbers(4..6), "new: it is sent");
    let mut person = New::connect(&broker, "bob", true);
    let mut filter = Filter::new(x, rumqttc::v5::mqttbytes::QoS::AtLeastOnce);
    filter.retain_forward_rule = RetainForwardRule::Never;
    person.subscribe_with(filter, &[]);
    say(&mut ann, 6..7);
    let heard = person.hear();
    assert_eq!((&*heard.text, heard.retain), ("6", false));
}

#[test]
fn the_past_can_be_longer_than_what_is_in_memory() {
    let settings = Settings { arguments: &["--rooms.tail-size", "1KiB"], ..Settings::default() };
    let mut broker = Broker::with(settings);
    room(&broker, 2_000);
    for is_restarted in [false, true] {
        assert_eq!(
            replay(&broker, "$since/0/room/Home/msg/+", &[], 2_000),
            numbers(0..2_000),
            "{is_restarted}"
        );
        assert_eq!(replay(&broker, "$last/1500/room/Home/msg/+", &[], 1_500), numbers(500..2_000));
        assert_eq!(replay(&broker, "$since/2h/room/Home/msg/+", &[], 2_000), numbers(0..2_000));
        broker.kill();
        broker.restart();
    }
}

#[test]
fn who_asks_again_while_the_past_is_on_its_way_gets_all_of_it_again() {
    let settings = Settings { arguments: &["--rooms.tail-size", "1KiB"], ..Settings::default() };
    let broker = Broker::with(settings);
    room(&broker, 3_000);
    let mut reader = broker.client(V5, "reader");
    let filter = [("$since/0/room/Home/msg/+", 0)];
    let asks: Vec<u8> = (1..=5).flat_map(|id| packet::subscribe(V5, id, &filter, &[])).collect();
    reader.send(&asks);
    let mut answered = 0;
    let mut since_answer = Vec::new();
    while answered < 5 || since_answer.last().is_none_or(|last| last != "2999") {
        match reader.expect_packet() {
            Packet::SubAck { codes, .. } => {
                assert_eq!(codes, [0]);
                answered += 1;
                since_answer.clear();
            }
            Packet::Publish(publish) => since_answer.push(publish.text()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(since_answer, numbers(0..3_000), "after the last SUBACK");
    reader.expect_quiet();
}

#[test]
fn retain_of_a_publisher_means_nothing_in_a_room() {
    let broker = Broker::start();
    let mut early = broker.client(V5, "early");
    early.subscribe("room/Home/msg/+", 1);
    let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
    ann.retain("room/Home/msg/ann", "one", 1);
    ann.retain("room/Home/msg/ann", "", 1);
    let heard = take(&mut early, 2);
    assert_eq!(texts(&heard), ["one", ""]);
    assert!(heard.iter().all(|message| !message.retain));
    assert_eq!(replay(&broker, "room/Home/msg/+", &[], 2), ["one", ""], "an empty message deletes nothing");
}

/// Joins a room again and again while somebody speaks without pause.
fn join_while_speaking(join: impl Fn(&Broker, usize) -> Vec<String> + Sync) {
    let settings = Settings {
        arguments: &["--threads.shards", "4", "--rooms.tail-size", "2KiB"],
        ..Settings::default()
    };
    let broker = Broker::with(settings);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let speaker = scope.spawn(|| {
            let mut ann = Old::connect(&broker, "ann", true);
            let mut said = 0_usize;
            while !is_over.load(Ordering::SeqCst) {
                ann.say("room/Home/msg/ann", &said.to_string(), (said % 2) as u8);
                said += 1;
            }
        });
        let joiners: Vec<_> = (0..3)
            .map(|joiner| {
                let (broker, join) = (&broker, &join);
                scope.spawn(move || {
                    for round in 0..8 {
                        let heard = join(broker, joiner * 100 + round);
                        let first: usize = heard[0].parse().expect("a number");
                        assert_eq!(heard, numbers(first..first + heard.len()), "no gap, nothing twice");
                    }
                })
            })
            .collect();
        let results: Vec<_> = joiners.into_iter().map(thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::SeqCst);
        speaker.join().expect("the speaker is never hurt");
        results.into_iter().for_each(|result| result.expect("a joiner heard everything"));
    });
}

#[test]
fn who_joins_while_somebody_speaks_misses_nothing() {
    join_while_speaking(|broker, index| {
        let mut reader = broker.client(V5, &format!("reader-{index}"));
        reader.subscribe("$last/10/room/Home/msg/+", (index % 3) as u8);
        texts(&take(&mut reader, 60))
    });
}

#[test]
fn ordinary_clients_that_join_while_somebody_speaks_miss_nothing() {
    join_while_speaking(|broker, index| {
        if index % 2 == 0 {
            let mut reader = Old::connect(broker, &format!("reader{index}"), true);
            reader.subscribe("$since/0/room/Home/msg/+", 1);
            reader.hear_texts(60)
        } else {
            let mut reader = New::connect(broker, &format!("reader{index}"), true);
            reader.subscribe("room/Home/msg/+", 1);
            reader.hear_texts(60)
        }
    });
}
