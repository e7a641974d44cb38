//! Session state: what is kept, resumed, sent again and discarded (chapters 3.1.2.4, 3.2.2.1.1, 4.1, 4.4).

use crate::harness::packet::{self, PUBACK, PUBCOMP, PUBREC, PUBREL};
use crate::harness::{Broker, Connect, Publish, V3, V5, property};

/// [MQTT-3.2.2-2], [MQTT-3.2.2-3], [MQTT-3.1.2-6]; 3.1.1 [MQTT-3.2.2-1], [MQTT-3.2.2-2], [MQTT-3.2.2-3]: session
/// present says whether there was a session, one without subscriptions too, and is 0 for a clean start.
#[test]
fn session_present_tells_of_a_session_without_subscriptions() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let lasting = Connect::lasting(version, "present");
        let (client, ack) = broker.connect_with_ack(&lasting);
        assert!(!ack.session_present, "{version:?}: there was no session");
        client.disconnect();
        let (client, ack) = broker.connect_with_ack(&lasting);
        assert!(ack.session_present, "{version:?}: the session was kept");
        client.disconnect();
        let (client, ack) = broker.connect_with_ack(&Connect::new(version, "present"));
        assert!(!ack.session_present, "{version:?}: a clean start");
        client.disconnect();
        let (_, ack) = broker.connect_with_ack(&lasting);
        assert!(!ack.session_present, "{version:?}: the clean session has ended");
        broker.connect(&Connect::new(version, "present")).disconnect();
    }
}

/// [MQTT-3.1.2-4], [MQTT-3.1.4-4]; 3.1.1 [MQTT-3.1.2-6], [MQTT-3.1.4-3]: a clean start discards subscriptions and what
/// waits.
#[test]
fn clean_start_discards_the_session() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.connect(&Connect::lasting(version, "fresh"));
        client.subscribe("clean/start", 1);
        client.disconnect();
        let mut publisher = broker.client(version, "publisher");
        publisher.publish("clean/start", "old", 1);
        let mut client = broker.client(version, "fresh");
        publisher.publish("clean/start", "new", 1);
        client.expect_quiet();
    }
}

/// [MQTT-3.1.2-5], [MQTT-3.1.2-23], [MQTT-4.5.0-1]; 3.1.1 [MQTT-3.1.2-4], [MQTT-3.1.2-5], [MQTT-4.1.0-1],
/// [MQTT-4.5.0-1]: a session keeps its subscriptions and collects QoS 1 and 2 while its client is away.
#[test]
fn session_collects_messages_while_its_client_is_away() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let lasting = Connect::lasting(version, "away");
        let mut client = broker.connect(&lasting);
        client.subscribe("while/away", 2);
        client.disconnect();
        let mut publisher = broker.client(version, "publisher");
        publisher.publish("while/away", "one", 1);
        publisher.publish("while/away", "two", 2);
        let mut client = broker.connect(&lasting);
        assert_eq!(client.expect_and_acknowledge("one").qos, 1);
        assert_eq!(client.expect_and_acknowledge("two").qos, 2);
        publisher.publish("while/away", "three", 1);
        let message = client.expect_and_acknowledge("three");
        assert!(!message.dup, "{version:?}: a first delivery");
        client.expect_quiet();
        client.disconnect();
        broker.connect(&Connect::new(version, "away")).disconnect();
    }
}

/// [MQTT-4.4.0-1], [MQTT-3.3.1-1], [MQTT-4.6.0-1], [MQTT-4.3.2-3], [MQTT-4.3.3-3]; 3.1.1 [MQTT-4.4.0-1],
/// [MQTT-3.3.1-1], [MQTT-4.6.0-1], [MQTT-4.6.0-6]: what was not acknowledged is sent again on resumption, with the same
/// packet identifiers, DUP, and in the same order.
#[test]
fn unacknowledged_messages_are_sent_again_with_dup_and_in_order() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let lasting = Connect::lasting(version, "again");
        let mut client = broker.connect(&lasting);
        client.subscribe("again", 2);
        let mut publisher = broker.client(version, "publisher");
        for (payload, qos) in [("a", 1), ("b", 2), ("c", 1), ("d", 2)] {
            publisher.publish("again", payload, qos);
        }
        let first: Vec<Publish> = ["a", "b", "c", "d"].map(|payload| client.expect_message(payload)).into();
        assert!(first.iter().all(|message| !message.dup));
        client.vanish();
        for _ in 0..2 {
            let mut client = broker.connect(&lasting);
            for sent in &first {
                let message = client.expect_message(&sent.text());
                assert_eq!((message.id, message.dup, message.qos), (sent.id, true, sent.qos), "{version:?}");
            }
            client.expect_quiet();
            client.vanish();
        }
        broker.connect(&Connect::new(version, "again")).disconnect();
    }
}

/// [MQTT-4.4.0-1], [MQTT-4.3.3-5], [MQTT-4.3.3-6]; 3.1.1 [MQTT-4.4.0-1], [MQTT-4.3.3-1]: after PUBREC it is PUBREL that
/// is sent again, never the message.
#[test]
fn pubrel_is_sent_again_instead_of_the_message() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let lasting = Connect::lasting(version, "released");
        let mut client = broker.connect(&lasting);
        client.subscribe("released", 2);
        broker.client(version, "publisher").publish("released", "x", 2);
        let id = client.expect_message("x").id.expect("QoS 2 has a packet identifier");
        client.send(&packet::ack(PUBREC, id));
        client.expect_ack(PUBREL, id);
        client.vanish();
        let mut client = broker.connect(&lasting);
        client.expect_ack(PUBREL, id);
        client.send(&packet::ack(PUBCOMP, id));
        client.expect_quiet();
        client.vanish();
        broker.connect(&lasting).expect_quiet();
        broker.connect(&Connect::new(version, "released")).disconnect();
    }
}

/// [MQTT-4.4.0-1]; 3.1.1 [MQTT-4.3.2-1]: what was acknowledged is not sent again, and nothing is while connected.
#[test]
fn acknowledged_messages_are_not_sent_again() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let lasting = Connect::lasting(version, "done");
        let mut client = broker.connect(&lasting);
        client.subscribe("done", 2);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish("done", "one", 1);
        publisher.publish("done", "two", 2);
        client.expect_and_acknowledge("one");
        client.expect_and_acknowledge("two");
        client.ping();
        client.vanish();
        broker.connect(&lasting).expect_quiet();
        broker.connect(&Connect::new(version, "done")).disconnect();
    }
}

/// [MQTT-4.4.0-2], [MQTT-4.3.3-4]: a PUBACK or PUBREC of 0x80 and above ends the delivery: no PUBREL, nothing again.
#[test]
fn refused_messages_are_not_sent_again() {
    let broker = Broker::start();
    let lasting = Connect::lasting(V5, "refusing");
    let mut client = broker.connect(&lasting);
    client.subscribe("refusing", 2);
    let mut publisher = broker.client(V5, "publisher");
    for (kind, qos) in [(PUBACK, 1), (PUBREC, 2)] {
        publisher.publish("refusing", "unwanted", qos);
        let id = client.expect_message("unwanted").id.expect("a packet identifier");
        client.send(&packet::ack_with_reason(kind, id, 0x83));
        client.expect_quiet();
    }
    client.vanish();
    broker.connect(&lasting).expect_quiet();
}

/// [MQTT-4.3.3-10], [MQTT-4.3.3-11], [MQTT-4.4.0-1]; 3.1.1 [MQTT-4.3.3-2]: a QoS 2 message that was received but not
/// released is remembered across connections, so that it is not delivered twice.
#[test]
fn inbound_qos_2_state_survives_a_reconnect() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("exactly/once", 2);
        let lasting = Connect::lasting(version, "sender");
        let mut sender = broker.connect(&lasting);
        let message = Publish::new("exactly/once", "once").qos2(7);
        sender.send_publish(&message);
        sender.expect_ack(PUBREC, 7);
        sender.vanish();
        let mut sender = broker.connect(&lasting);
        sender.send_publish(&message.dup());
        sender.expect_ack(PUBREC, 7);
        sender.send(&packet::ack(PUBREL, 7));
        assert_eq!(sender.expect_ack(PUBCOMP, 7).reason, 0);
        subscriber.expect_and_acknowledge("once");
        subscriber.expect_quiet();
        broker.connect(&Connect::new(version, "sender")).disconnect();
    }
}

/// [MQTT-4.1.0-1]; 3.1.1 [MQTT-4.1.0-2]: a session with expiry 0 still lasts as long as its connection.
#[test]
fn session_lasts_while_connected() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "connected");
        client.subscribe("still/here", 1);
        broker.client(version, "other").disconnect();
        let mut publisher = broker.client(version, "publisher");
        publisher.publish("still/here", "x", 1);
        client.expect_and_acknowledge("x");
    }
}

/// [MQTT-3.1.3-2]: a session belongs to the client identifier, whichever version its client speaks next.
#[test]
fn session_is_resumed_by_the_other_version() {
    let broker = Broker::start();
    for (before, after) in [(V3, V5), (V5, V3)] {
        let mut client = broker.connect(&Connect::lasting(before, "polyglot"));
        client.subscribe("polyglot", 1);
        client.disconnect();
        let message = Publish::new("polyglot", "kept").property(property::user("name", "value"));
        broker.client(V5, "publisher").publish_whole(message.will_qos(1));
        let (mut client, ack) = broker.connect_with_ack(&Connect::lasting(after, "polyglot"));
        assert!(ack.session_present, "{before:?} to {after:?}");
        client.expect_and_acknowledge("kept");
        client.disconnect();
        broker.connect(&Connect::new(V3, "polyglot")).disconnect();
    }
}

/// [MQTT-3.1.2-23], [MQTT-4.3.3-8]; 3.1.1 [MQTT-4.1.0-1]: sessions, what waits in them and half-done QoS 2 outlive the
/// broker, ended in good order or killed.
#[test]
fn sessions_survive_a_restart_and_a_kill() {
    for kill in [false, true] {
        for version in [V3, V5] {
            let mut broker = Broker::start();
            let lasting = Connect::lasting(version, "durable");
            let mut client = broker.connect(&lasting);
            client.subscribe("durable/#", 2);
            client.vanish();
            let mut publisher = broker.connect(&Connect::lasting(version, "publisher"));
            publisher.publish("durable/1", "one", 1);
            publisher.publish("durable/2", "two", 2);
            let half_done = Publish::new("durable/3", "three").qos2(100);
            publisher.send_publish(&half_done);
            publisher.expect_ack(PUBREC, 100);
            if kill {
                broker.kill();
            } else {
                assert!(broker.terminate().success(), "the exit code after SIGTERM");
            }
            broker.restart();
            let (mut publisher, ack) = broker.connect_with_ack(&Connect::lasting(version, "publisher"));
            assert!(ack.session_present, "kill {kill}, {version:?}");
            publisher.send_publish(&half_done.dup());
            publisher.expect_ack(PUBREC, 100);
            publisher.send(&packet::ack(PUBREL, 100));
            publisher.expect_ack(PUBCOMP, 100);
            let (mut client, ack) = broker.connect_with_ack(&lasting);
            assert!(ack.session_present, "kill {kill}, {version:?}");
            client.expect_and_acknowledge("one");
            client.expect_and_acknowledge("two");
            client.expect_and_acknowledge("three");
            client.expect_quiet();
        }
    }
}

/// [MQTT-4.4.0-1]: packet identifiers in flight outlive a kill of the broker.
#[test]
fn packet_identifiers_in_flight_survive_a_kill() {
    let mut broker = Broker::start();
    let lasting = Connect::lasting(V5, "flying");
    let mut client = broker.connect(&lasting);
    client.subscribe("flying", 1);
    let mut publisher = broker.client(V5, "publisher");
    publisher.publish("flying", "one", 1);
    publisher.publish("flying", "two", 1);
    let first = [client.expect_message("one"), client.expect_message("two")];
    // An acknowledgement that is answered is on record.
    client.ping();
    broker.kill();
    broker.restart();
    let mut client = broker.connect(&lasting);
    for sent in first {
        let message = client.expect_message(&sent.text());
        assert_eq!(message.id, sent.id);
    }
}
