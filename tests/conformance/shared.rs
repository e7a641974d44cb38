//! Shared subscriptions (chapter 4.8.2).

use std::time::Duration;

use crate::harness::packet::{self, PUBACK, PUBREC, Packet};
use crate::harness::{Broker, Connect, RawClient, Read, V5, property};

/// Reads what comes to each client until that many messages have come in all; returns how many each got.
fn collect(clients: &mut [RawClient], total: usize) -> Vec<usize> {
    let mut counts = vec![0; clients.len()];
    let limit = std::time::Instant::now() + Duration::from_secs(10);
    while counts.iter().sum::<usize>() < total {
        assert!(std::time::Instant::now() < limit, "{counts:?} of {total}");
        for (client, count) in clients.iter_mut().zip(&mut counts) {
            while let Read::Packet(packet) = client.read_within(Duration::from_millis(20)) {
                let Packet::Publish(message) = packet else { panic!("expected PUBLISH, got {packet:?}") };
                client.acknowledge(&message);
                *count += 1;
            }
        }
    }
    counts
}

/// Section 4.8.2: each message goes to one member of a group; all of them get some.
#[test]
fn each_message_goes_to_one_member() {
    let broker = Broker::start();
    let mut members: Vec<RawClient> = ["a", "b", "c"].map(|id| broker.client(V5, id)).into();
    for member in &mut members {
        member.subscribe("$share/group/work/#", 1);
    }
    let mut publisher = broker.client(V5, "publisher");
    for number in 0..60 {
        publisher.publish("work/item", &number.to_string(), 1);
    }
    let counts = collect(&mut members, 60);
    assert_eq!(counts.iter().sum::<usize>(), 60);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    members.iter_mut().for_each(RawClient::expect_quiet);
}

/// Section 4.8.2: groups of different names, and plain subscriptions, each get a copy.
#[test]
fn groups_and_plain_subscriptions_are_independent() {
    let broker = Broker::start();
    let mut one = broker.client(V5, "one");
    one.subscribe("$share/first/copy", 0);
    let mut two = broker.client(V5, "two");
    two.subscribe("$share/second/copy", 0);
    let mut plain = broker.client(V5, "plain");
    plain.subscribe("copy", 0);
    broker.client(V5, "publisher").publish("copy", "x", 0);
    one.expect_message("x");
    two.expect_message("x");
    plain.expect_message("x");
}

/// [MQTT-4.8.2-1], [MQTT-4.8.2-2]: `$share/name/filter`, the name not empty and without wildcards, the filter there.
#[test]
fn bad_share_names_are_refused() {
    let broker = Broker::start();
    for filter in ["$share/x", "$share/x/", "$share//a", "$share/a+/b", "$share/#/b", "$share/+/b", "$share/"]
    {
        let mut client = broker.client(V5, "sharing");
        client.send(&packet::subscribe(V5, 1, &[(filter, 0)], &[]));
        match client.expect_packet() {
            Packet::SubAck { codes, .. } => assert_eq!(codes, [0x8F], "{filter}"),
            Packet::Disconnect { reason, .. } => {
                assert!([0x81, 0x82, 0x8F].contains(&reason), "{filter}: {reason:#04x}");
                client.expect_closed();
            }
            other => panic!("{filter}: expected a refusal, got {other:?}"),
        }
    }
}

/// [MQTT-4.8.2-3]: the QoS is that granted to the member who gets the message.
#[test]
fn granted_qos_of_the_member_is_respected() {
    let broker = Broker::start();
    for granted in 0..3 {
        let mut member = broker.client(V5, "member");
        member.subscribe("$share/group/grade", granted);
        broker.client(V5, "publisher").publish("grade", "x", 2);
        assert_eq!(member.expect_and_acknowledge("x").qos, granted);
        member.disconnect();
    }
}

/// [MQTT-4.8.2-4], [MQTT-4.8.2-5]: a QoS 2 message on its way to a member waits for that member, and for no other.
#[test]
fn qos_2_in_flight_waits_for_its_member() {
    let broker = Broker::start();
    let lasting = Connect::lasting(V5, "chosen");
    let mut chosen = broker.connect(&lasting);
    chosen.subscribe("$share/group/flight", 2);
    broker.client(V5, "publisher").publish("flight", "x", 2);
    let first = chosen.expect_message("x");
    let mut other = broker.client(V5, "other");
    other.subscribe("$share/group/flight", 2);
    chosen.vanish();
    other.expect_quiet();
    let mut chosen = broker.connect(&lasting);
    let again = chosen.expect_message("x");
    assert_eq!((again.id, again.dup), (first.id, true));
    chosen.send(&packet::ack(PUBREC, again.id.expect("a packet identifier")));
    chosen.expect_ack(packet::PUBREL, again.id.expect("a packet identifier"));
    chosen.vanish();
    // The session ends with the delivery half done.
    broker.client(V5, "chosen").disconnect();
    other.expect_quiet();
}

/// [MQTT-4.8.2-6]: a message that a member refuses goes to nobody else.
#[test]
fn refused_message_goes_to_nobody_else() {
    let broker = Broker::start();
    for (qos, kind) in [(1, PUBACK), (2, PUBREC)] {
        let mut member = broker.client(V5, "member");
        member.subscribe("$share/group/refused", qos);
        broker.client(V5, "publisher").publish("refused", "x", qos);
        let id = member.expect_message("x").id.expect("a packet identifier");
        let mut other = broker.client(V5, "other");
        other.subscribe("$share/group/refused", qos);
        member.send(&packet::ack_with_reason(kind, id, 0x80));
        member.expect_quiet();
        other.expect_quiet();
    }
}

/// Section 4.8.2: no retained messages come with a shared subscription.
#[test]
fn shared_subscription_gets_no_retained_messages() {
    let broker = Broker::start();
    let mut client = broker.client(V5, "sharing");
    client.retain("shared/kept", "x", 1);
    client.subscribe("$share/group/shared/#", 1);
    client.expect_quiet();
}

/// [MQTT-3.10.4-1], section 4.8.2: leaving a group is by its whole name; others stay.
#[test]
fn unsubscribing_leaves_the_group() {
    let broker = Broker::start();
    let mut leaving = broker.client(V5, "leaving");
    leaving.subscribe("$share/group/leave", 0);
    let mut staying = broker.client(V5, "staying");
    staying.subscribe("$share/group/leave", 0);
    assert_eq!(leaving.unsubscribe(&["leave", "$share/other/leave"]), [0x11, 0x11]);
    assert_eq!(leaving.unsubscribe(&["$share/group/leave"]), [0]);
    let mut publisher = broker.client(V5, "publisher");
    for _ in 0..4 {
        publisher.publish("leave", "x", 0);
        staying.expect_message("x");
    }
    leaving.expect_quiet();
}

/// [MQTT-3.3.4-3]: a member's subscription identifier comes with what it gets.
#[test]
fn subscription_identifier_comes_with_shared_messages() {
    let broker = Broker::start();
    let mut member = broker.client(V5, "member");
    member.subscribe_with(&[("$share/group/id", 0)], &[property::subscription_identifier(42)]);
    broker.client(V5, "publisher").publish("id", "x", 0);
    assert_eq!(member.expect_message("x").properties, [property::subscription_identifier(42)]);
}

/// Section 4.8.2: while a member is connected, messages go to it rather than to one who is away.
#[test]
fn connected_members_are_preferred() {
    let broker = Broker::start();
    let lasting = Connect::lasting(V5, "away");
    let mut away = broker.connect(&lasting);
    away.subscribe("$share/group/prefer", 1);
    away.disconnect();
    let mut here = broker.client(V5, "here");
    here.subscribe("$share/group/prefer", 1);
    let mut publisher = broker.client(V5, "publisher");
    for _ in 0..6 {
        publisher.publish("prefer", "x", 1);
        here.expect_and_acknowledge("x");
    }
}
