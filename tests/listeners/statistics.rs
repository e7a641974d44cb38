//! `$SYS/broker/`: mosquitto's names for what both have, and a counter for every limit.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::harness::{Broker, Connect, Publish, RawClient, Read, Settings, V3, V5, packet};

/// Settings in which the statistics come often.
pub(crate) const OFTEN: &str = "[sys]\ninterval = \"100ms\"\n";

/// Waits until a statistic is as it should be, and returns it. The observer must not be subscribed to it.
pub(crate) fn value(observer: &mut RawClient, topic: &str, is_right: impl Fn(u64) -> bool) -> u64 {
    observer.subscribe(topic, 0);
    let mut seen = Vec::new();
    loop {
        let read = observer.read_within(Duration::from_secs(10));
        let Read::Packet(packet::Packet::Publish(publish)) = read else {
            panic!("{topic} never was right: {seen:?}, then {read:?}");
        };
        assert_eq!(publish.topic, topic);
        let value = publish.text().parse().expect("a number");
        seen.push(value);
        if is_right(value) {
            break;
        }
    }
    // What is on its way comes before the answer.
    let id = observer.fresh_id();
    observer.send(&packet::unsubscribe(observer.version, id, &[topic]));
    while let packet::Packet::Publish(_) = observer.expect_packet() {}
    *seen.last().expect("a value")
}

fn often() -> Broker {
    Broker::with(Settings { config: OFTEN.into(), ..Settings::default() })
}

/// All that is retained under `$SYS/`, by a client that subscribes now.
fn all(broker: &Broker) -> BTreeMap<String, String> {
    let mut observer = broker.client(V5, "observer");
    observer.subscribe("$SYS/#", 0);
    let mut found = BTreeMap::new();
    loop {
        let publish = observer.expect_publish();
        let is_new = found.insert(publish.topic.clone(), publish.text()).is_none();
        // Retained ones come first, each once.
        if !is_new || !publish.retain {
            return found;
        }
    }
}

#[test]
fn mosquittos_names_are_there() {
    let broker = often();
    let mut observer = broker.client(V3, "first");
    observer.subscribe("$SYS/broker/uptime", 0);
    observer.expect_publish();
    let found = all(&broker);
    let loads = [
        "messages/received",
        "messages/sent",
        "publish/received",
        "publish/sent",
        "publish/dropped",
        "bytes/received",
        "bytes/sent",
        "connections",
    ];
    let loads =
        loads.iter().flat_map(|load| ["1min", "5min", "15min"].map(|span| format!("load/{load}/{span}")));
    let names = [
        "version",
        "uptime",
        "clients/connected",
        "clients/active",
        "clients/disconnected",
        "clients/inactive",
        "clients/total",
        "clients/maximum",
        "clients/expired",
        "messages/received",
        "messages/sent",
        "messages/stored",
        "bytes/received",
        "bytes/sent",
        "publish/messages/received",
        "publish/messages/sent",
        "publish/messages/dropped",
        "publish/bytes/received",
        "publish/bytes/sent",
        "subscriptions/count",
        "shared_subscriptions/count",
        "retained messages/count",
        "store/messages/count",
        "store/messages/bytes",
    ];
    for name in names.iter().map(ToString::to_string).chain(loads) {
        let value = found.get(&format!("$SYS/broker/{name}"));
        let value = value.unwrap_or_else(|| panic!("no {name} in {:?}", found.keys()));
        match name.as_str() {
            "version" => assert!(value.starts_with("katydid version "), "{value}"),
            "uptime" => {
                let seconds = value.strip_suffix(" seconds").expect("seconds");
                assert!(seconds.parse::<u64>().is_ok(), "{value}");
            }
            _ => assert!(value.parse::<f64>().is_ok(), "{name}: {value}"),
        }
    }
    let strange: Vec<_> = found.keys().filter(|topic| !topic.starts_with("$SYS/broker/")).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[test]
fn every_counter_of_the_contract_is_there_and_no_other() {
    let broker = often();
    let mut observer = broker.client(V3, "first");
    observer.subscribe("$SYS/broker/uptime", 0);
    observer.expect_publish();
    let found = all(&broker);
    let contract = include_str!("../../topics.md");
    let section = contract.split("\n## ").find(|section| section.starts_with("Statistics"));
    let section = section.expect("the section");
    let section = section.split("`$SYS/broker/katydid/`").nth(1).expect("our own names");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let named: Vec<&str> = rows
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    for name in &named {
        assert!(found.contains_key(&format!("$SYS/broker/katydid/{name}")), "{name} is not published");
    }
    for topic in found.keys().filter_map(|topic| topic.strip_prefix("$SYS/broker/katydid/")) {
        assert!(named.contains(&topic), "{topic} is not in topics.md");
    }
}

#[test]
fn figures_follow_what_happens() {
    let broker = often();
    let mut observer = broker.client(V5, "first");
    assert_eq!(value(&mut observer, "$SYS/broker/clients/connected", |now| now == 1), 1);
    let mut sleeper = broker.connect(&Connect::lasting(V5, "sleeper"));
    sleeper.subscribe("x/#", 1);
    value(&mut observer, "$SYS/broker/clients/connected", |now| now == 2);
    sleeper.disconnect();
    value(&mut observer, "$SYS/broker/clients/disconnected", |now| now == 1);
    // The statistics are retained messages too, as they are with mosquitto.
    let own = all(&broker).len() as u64;
    let mut publisher = broker.client(V5, "publisher");
    publisher.retain("x/1", "12345", 1);
    publisher.publish("x/2", "12345", 1);
    value(&mut observer, "$SYS/broker/retained messages/count", |now| now == own + 1);
    value(&mut observer, "$SYS/broker/katydid/queued_now", |now| now == 2);
    value(&mut observer, "$SYS/broker/messages/stored", |now| now == own + 3);
    value(&mut observer, "$SYS/broker/publish/messages/received", |now| now == 2);
    value(&mut observer, "$SYS/broker/publish/bytes/received", |now| now == 10);
    value(&mut observer, "$SYS/broker/clients/maximum", |now| now >= 2);
    value(&mut observer, "$SYS/broker/katydid/store/syncs", |now| now > 0);
}

#[test]
fn only_the_broker_publishes_them() {
    let broker = often();
    let mut client = broker.client(V5, "client");
    for topic in ["$SYS/broker/version", "$SYS/mine", "$chat/x", "$other"] {
        let id = client.fresh_id();
        let publish = Publish::new(topic, "forged").will_qos(1).retained();
        client.send_publish(&Publish { id: Some(id), ..publish });
        assert_eq!(client.expect_ack(packet::PUBACK, id).reason, 0x87, "{topic}");
    }
    let mut old = broker.client(V3, "old");
    old.subscribe("#", 0);
    old.publish("$SYS/broker/version", "forged", 1);
    // A filter that begins with a wildcard gets none of them.
    old.expect_quiet();
    client.subscribe("$SYS/broker/version", 0);
    assert!(client.expect_publish().text().starts_with("katydid version "));
}
