//! One client cannot hurt the others: a member that never reads delays nobody, and finds everything in the log when it
//! reads again, QoS 0 too.

use super::talk::{New, Old};
use crate::harness::{Broker, Connect, Publish, RawClient, Read, Settings, V3, V5, packet};
use std::time::Duration;

/// More than the buffers of a connection hold, in the system and in the broker.
const MESSAGES: usize = 2_000;
const PADDING: usize = 16 << 10;

fn text(index: usize) -> String {
    format!("{index} {}", "x".repeat(PADDING))
}

fn index(text: &str) -> usize {
    text.split(' ').next().expect("a word").parse().expect("a number")
}

/// Reads everything that waits for a slow member.
fn catch_up(slow: &mut RawClient, qos: u8) {
    for expected in 0..MESSAGES {
        let publish = slow.expect_publish();
        assert_eq!(index(&publish.text()), expected, "in order, without a gap, QoS {qos}");
        assert_eq!(publish.text().len(), text(expected).len());
        slow.acknowledge(&publish);
    }
    slow.expect_quiet();
}

#[test]
fn a_member_that_never_reads_delays_nobody_and_finds_everything_later() {
    let settings = Settings { arguments: &["--limits.outgoing-size", "64KiB"], ..Settings::default() };
    let broker = Broker::with(settings);
    let mut slow: Vec<RawClient> = (0..=2)
        .map(|qos| {
            let mut member = broker.client([V3, V5][qos as usize % 2], &format!("slow{qos}"));
            member.subscribe("room/x/msg/+", qos);
            member
        })
        .collect();
    let mut quick = Old::connect(&broker, "quick", true);
    quick.subscribe("room/x/msg/+", 0);
    let mut other = New::connect(&broker, "other", true);
    other.subscribe("room/x/#", 1);
    let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
    for said in 0..MESSAGES {
        ann.publish("room/x/msg/ann", &text(said), 1);
        // Each message is heard by those who read before the next is said.
        assert_eq!(index(&quick.hear().text), said);
        assert_eq!(index(&other.hear().text), said);
    }
    for (qos, member) in slow.iter_mut().enumerate() {
        catch_up(member, qos as u8);
    }
}

#[test]
fn a_slow_member_can_leave_and_come_back() {
    let settings = Settings { arguments: &["--limits.outgoing-size", "64KiB"], ..Settings::default() };
    let broker = Broker::with(settings);
    let mut slow = broker.connect(&Connect::lasting(V5, "slow"));
    slow.subscribe("room/x/msg/+", 1);
    let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
    for said in 0..MESSAGES {
        ann.publish("room/x/msg/ann", &text(said), 1);
    }
    slow.vanish();
    let (mut slow, ack) = broker.connect_with_ack(&Connect::lasting(V5, "slow"));
    assert!(ack.session_present);
    catch_up(&mut slow, 1);
}

#[test]
fn what_is_dropped_for_a_slow_reader_of_a_plain_topic_is_counted() {
    let settings = Settings {
        arguments: &["--limits.outgoing-size", "64KiB", "--sys.interval", "100ms"],
        ..Settings::default()
    };
    let broker = Broker::with(settings);
    let mut slow = broker.client(V3, "slow");
    slow.subscribe("plain/#", 0);
    let mut quick = Old::connect(&broker, "quick", true);
    quick.subscribe("plain/#", 0);
    let mut ann = broker.client(V5, "ann");
    for said in 0..MESSAGES {
        ann.publish("plain/x", &text(said), 1);
        assert_eq!(index(&quick.hear().text), said);
    }
    let mut watcher = broker.client(V3, "watcher");
    watcher.subscribe("$SYS/broker/katydid/dropped_slow_reader", 0);
    slow.send(&packet::frame(packet::PINGREQ, &[]));
    let (mut got, mut last) = (0, None);
    loop {
        match slow.read_within(Duration::from_secs(10)) {
            Read::Packet(packet::Packet::Publish(publish)) => {
                let this = index(&publish.text());
                assert!(last < Some(this), "in order");
                last = Some(this);
                got += 1;
            }
            Read::Packet(packet::Packet::PingResp) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(got < MESSAGES, "the buffers of the system took all {got}");
    loop {
        let dropped: usize = watcher.expect_publish().text().parse().expect("a number");
        if dropped == MESSAGES - got {
            break;
        }
        assert!(dropped < MESSAGES - got, "{dropped} dropped, {got} delivered");
    }
}

/// Over its rate a client is not read until the second is over, whatever else happens on its connection meanwhile.
#[test]
fn the_publish_rate_of_a_client_holds_while_it_is_acknowledged() {
    let settings = Settings { arguments: &["--limits.publish-rate", "4"], ..Settings::default() };
    let broker = Broker::with(settings);
    for version in [V3, V5] {
        let mut client = broker.client(version, "quick");
        let begin = std::time::Instant::now();
        for number in 1..=12 {
            client.send_publish(&Publish::new("plain", number.to_string()).qos1(number));
        }
        for number in 1..=12 {
            client.expect_ack(packet::PUBACK, number);
        }
        let took = begin.elapsed();
        assert!(took > Duration::from_millis(1900), "12 messages at 4 a second after {took:?}");
        client.ping();
    }
}
