//! A planned restart: everybody is told, and afterwards everything goes on where it was.

use crate::harness::packet::{self, Packet};
use crate::harness::{Broker, Connect, Publish, RawClient, Read, V3, V5, Version};

fn wake(broker: &Broker, version: Version, name: &str) -> RawClient {
    let (client, ack) = broker.connect_with_ack(&Connect::lasting(version, name));
    assert!(ack.session_present, "{name}");
    client
}

fn number(publish: &Publish) -> u64 {
    super::number(&publish.properties).unwrap_or_else(|| panic!("no seq on {publish:?}"))
}

#[test]
fn clients_are_told_and_the_broker_ends_well() {
    let mut broker = Broker::start();
    let mut new = broker.client(V5, "new");
    let mut old = broker.client(V3, "old");
    let mut silent = broker.open(V5);
    broker.ask_to_end();
    new.expect_disconnect(0x8B);
    old.expect_closed();
    silent.expect_end();
    assert_eq!(broker.wait_for_end().code(), Some(0));
}

#[test]
fn sigint_ends_it_as_well() {
    let mut broker = Broker::start();
    let mut new = broker.client(V5, "new");
    let pid = broker.pid().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
    new.expect_disconnect(0x8B);
    assert_eq!(broker.wait_for_end().code(), Some(0));
}

#[test]
fn what_was_sent_but_not_acknowledged_comes_again_under_the_same_identifiers() {
    for version in [V3, V5] {
        for topic in ["room/x/msg/ann", "plain/x"] {
            let mut broker = Broker::start();
            let mut reader = broker.connect(&Connect::lasting(version, "reader"));
            reader.subscribe("room/x/msg/+", 2);
            reader.subscribe("plain/#", 2);
            let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
            for index in 0..12 {
                ann.publish(topic, &index.to_string(), 1 + index % 2);
            }
            // The first two are acknowledged, a third is halfway, the rest is open.
            let received: Vec<Publish> = (0..12).map(|_| reader.expect_publish()).collect();
            reader.acknowledge(&received[0]);
            reader.acknowledge(&received[1]);
            let halfway = received[3].id.expect("QoS 2");
            reader.send(&packet::ack(packet::PUBREC, halfway));
            reader.expect_ack(packet::PUBREL, halfway);
            assert!(broker.terminate().success());
            broker.restart();
            let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
            ann.publish(topic, "12", 1);
            let mut reader = wake(&broker, version, "reader");
            for was in &received[2..] {
                let packet = reader.expect_packet();
                if was.id == Some(halfway) {
                    assert!(
                        matches!(&packet, Packet::Ack(ack) if ack.kind == packet::PUBREL && ack.id == halfway),
                        "{packet:?}"
                    );
                    reader.send(&packet::ack(packet::PUBCOMP, halfway));
                    continue;
                }
                let Packet::Publish(again) = packet else { panic!("{topic}: {packet:?} instead of {was:?}") };
                assert_eq!(
                    (again.text(), again.id, again.qos),
                    (was.text(), was.id, was.qos),
                    "{topic} {version:?}"
                );
                assert!(again.dup, "{again:?}");
            }
            let fresh = reader.expect_message("12");
            assert!(!fresh.dup);
            for publish in received[2..].iter().filter(|publish| publish.id != Some(halfway)).chain([&fresh])
            {
                reader.acknowledge(publish);
            }
            reader.expect_quiet();
        }
    }
}

#[test]
fn an_inbound_exactly_once_message_is_taken_once_across_the_restart() {
    let mut broker = Broker::start();
    let mut ann = broker.connect(&Connect::lasting(V5, "ann").user("ann"));
    let said = Publish::new("room/x/msg/ann", "once").qos2(7);
    ann.send_publish(&said);
    ann.expect_ack(packet::PUBREC, 7);
    assert!(broker.terminate().success());
    broker.restart();
    let (mut ann, ack) = broker.connect_with_ack(&Connect::lasting(V5, "ann").user("ann"));
    assert!(ack.session_present);
    ann.send_publish(&said.dup());
    ann.expect_ack(packet::PUBREC, 7);
    ann.send(&packet::ack(packet::PUBREL, 7));
    ann.expect_ack(packet::PUBCOMP, 7);
    let mut reader = broker.client(V5, "reader");
    reader.subscribe("$since/0/room/x/msg/+", 1);
    reader.expect_and_acknowledge("once");
    reader.expect_quiet();
}

#[test]
fn numbers_go_on_without_a_gap() {
    let mut broker = Broker::start();
    let mut expected = None;
    for round in 0..5 {
        let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
        let mut reader = broker.client(V5, "reader");
        reader.subscribe("$last/0/room/Home/msg/+", 1);
        for _ in 0..3 {
            ann.publish("room/Home/msg/ann", &round.to_string(), 1);
            let publish = reader.expect_publish();
            reader.acknowledge(&publish);
            assert!(expected.is_none_or(|expected| expected == number(&publish)), "{expected:?} {publish:?}");
            expected = Some(number(&publish) + 1);
        }
        assert!(broker.terminate().success());
        broker.restart();
    }
    assert!(expected.is_some());
}

#[test]
fn a_will_is_published_when_the_broker_goes_down() {
    let mut broker = Broker::start();
    let mut reader = broker.connect(&Connect::lasting(V5, "reader"));
    reader.subscribe("plain/will", 1);
    let will = Publish::new("plain/will", "gone").will_qos(1);
    let mut ann = broker.connect(&Connect::new(V5, "ann").will(will));
    broker.ask_to_end();
    ann.expect_disconnect(0x8B);
    assert!(broker.wait_for_end().success());
    let mut heard = false;
    while let Read::Packet(packet) = reader.read_within(std::time::Duration::from_secs(10)) {
        heard |= matches!(&packet, Packet::Publish(publish) if publish.text() == "gone");
    }
    broker.restart();
    let mut reader = wake(&broker, V5, "reader");
    let again = reader.expect_and_acknowledge("gone");
    assert_eq!(again.dup, heard, "it waited for the session");
}
