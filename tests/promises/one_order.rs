//! One order: every member of a room sees its messages in the same order, live and in history. Each has a number that
//! grows; a number is never used twice, not even after a crash.

use std::thread;

use super::talk::{number, seq_of, take, texts, user_property};
use crate::harness::{Broker, Connect, Publish, RawClient, Settings, V3, V5, packet};

/// Text and number of messages.
fn numbered(messages: &[Publish]) -> Vec<(String, u64)> {
    messages.iter().map(|message| (message.text(), number(message))).collect()
}

fn assert_growing(messages: &[(String, u64)]) {
    for pair in messages.windows(2) {
        assert!(pair[0].1 < pair[1].1, "{pair:?}");
    }
}

fn history(broker: &Broker, count: usize) -> Vec<(String, u64)> {
    let mut reader = broker.client(V5, "reader");
    reader.subscribe("$since/0/room/x/msg/+", 1);
    let found = numbered(&take(&mut reader, count));
    reader.expect_quiet();
    found
}

#[test]
fn all_members_and_the_history_agree() {
    const PUBLISHERS: usize = 4;
    const EACH: usize = 50;
    let broker = Broker::with(Settings { arguments: &["--threads.shards", "4"], ..Settings::default() });
    let mut members: Vec<RawClient> = (0..6)
        .map(|index| {
            let version = if index % 2 == 0 { V5 } else { V3 };
            let mut member = broker.client(version, &format!("member-{index}"));
            member.subscribe(["room/x/msg/+", "room/x/#"][index % 2], (index % 3) as u8);
            member
        })
        .collect();
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let broker = &broker;
            scope.spawn(move || {
                let user = format!("user{publisher}");
                let mut client = broker.connect(&Connect::new(V5, &user).user(&user));
                for index in 0..EACH {
                    client.publish(
                        &format!("room/x/msg/{user}"),
                        &format!("{user} {index}"),
                        (index % 3) as u8,
                    );
                }
            });
        }
    });
    let all = PUBLISHERS * EACH;
    let order = history(&broker, all);
    assert_growing(&order);
    for publisher in 0..PUBLISHERS {
        let own = order.iter().filter(|(text, _)| text.starts_with(&format!("user{publisher} ")));
        let own: Vec<&str> = own.map(|(text, _)| text.as_str()).collect();
        let said: Vec<String> = (0..EACH).map(|index| format!("user{publisher} {index}")).collect();
        assert_eq!(own, said, "the order in which one user spoke");
    }
    let order_of_texts: Vec<&String> = order.iter().map(|(text, _)| text).collect();
    for member in &mut members {
        let heard = take(member, all);
        assert_eq!(texts(&heard).iter().collect::<Vec<_>>(), order_of_texts, "live, as in the history");
        if member.version == V5 {
            assert_eq!(numbered(&heard), order, "with the same numbers");
        }
    }
}

#[test]
fn the_publisher_is_told_the_number_that_members_see() {
    let broker = Broker::start();
    let mut listener = broker.client(V5, "listener");
    listener.subscribe("room/x/#", 1);
    let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
    for (qos, kind) in [(1, packet::PUBACK), (2, packet::PUBREC)] {
        for topic in ["room/x/msg/ann", "room/x/event/ann"] {
            let id = ann.fresh_id();
            ann.send_publish(&Publish {
                id: Some(id),
                ..Publish::new(topic, r#"{"type":"wave"}"#).will_qos(qos)
            });
            let ack = ann.expect_ack(kind, id);
            let heard = &take(&mut listener, 1)[0];
            assert_eq!(seq_of(&ack.properties), Some(number(heard)), "{topic}, QoS {qos}");
            let time = user_property(&ack.properties, "time").expect("a time");
            assert_eq!(user_property(&heard.properties, "time"), Some(time));
            assert_eq!((&time[10..11], &time[time.len() - 1..]), ("T", "Z"), "RFC 3339: {time}");
        }
    }
}

#[test]
fn a_number_is_never_used_twice() {
    let mut broker = Broker::start();
    let mut order = Vec::new();
    for round in 0..4 {
        let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
        for index in 0..10 {
            ann.publish("room/x/msg/ann", &format!("round {round} {index}"), 1);
        }
        let found = history(&broker, order.len() + 10);
        assert_growing(&found);
        assert_eq!(found[..order.len()], order, "what was said before keeps its number");
        order = found;
        if round % 2 == 0 {
            broker.kill();
        } else {
            let before = order.last().expect("something was said").1;
            assert!(broker.terminate().success());
            broker.restart();
            let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
            ann.publish("room/x/msg/ann", "next", 1);
            let found = history(&broker, order.len() + 1);
            let (text, next) = found.last().expect("something was said");
            // The broker itself may have said once who owns the room now.
            let skipped = next.checked_sub(before + 1).expect("numbers grow");
            assert!(text == "next" && skipped <= 1, "a planned restart skips no number: {before}, {next}");
            order = found;
            broker.kill();
        }
        broker.restart();
    }
}
