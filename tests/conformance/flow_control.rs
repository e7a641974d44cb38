//! Receive Maximum and Maximum Packet Size, both ways (chapters 3.1.2.11, 3.3.4, 4.9).

use crate::harness::packet::{self, PUBACK, PUBCOMP, PUBREC, PUBREL};
use crate::harness::property::Value;
use crate::harness::{Broker, Connect, Publish, Settings, V5, property};

/// [MQTT-3.3.4-9], [MQTT-4.9.0-1], [MQTT-4.9.0-2]: no more than the client's Receive Maximum are in flight; the rest
/// waits, in order, and follows as PUBACKs come.
#[test]
fn receive_maximum_holds_back_qos_1() {
    let broker = Broker::start();
    for maximum in [1, 2, 5] {
        let mut client =
            broker.connect(&Connect::new(V5, "slow").property(property::receive_maximum(maximum)));
        client.subscribe("held", 1);
        let mut publisher = broker.client(V5, "publisher");
        for number in 0..12 {
            publisher.publish("held", &number.to_string(), 1);
        }
        let mut in_flight = std::collections::VecDeque::new();
        for number in 0..12 {
            if in_flight.len() == usize::from(maximum) {
                client.expect_quiet();
                client.acknowledge(&in_flight.pop_front().expect("it is full"));
            }
            in_flight.push_back(client.expect_message(&number.to_string()));
        }
    }
}

/// [MQTT-3.3.4-9], [MQTT-4.9.0-2]: a QoS 2 delivery holds its place until PUBCOMP, or a PUBREC of 0x80 and above.
#[test]
fn qos_2_frees_its_place_at_pubcomp_or_at_a_refusing_pubrec() {
    let broker = Broker::start();
    let mut client = broker.connect(&Connect::new(V5, "slow").property(property::receive_maximum(1)));
    client.subscribe("held", 2);
    let mut publisher = broker.client(V5, "publisher");
    for payload in ["one", "two", "three"] {
        publisher.publish("held", payload, 2);
    }
    let id = client.expect_message("one").id.expect("a packet identifier");
    client.send(&packet::ack(PUBREC, id));
    client.expect_ack(PUBREL, id);
    client.expect_quiet();
    client.send(&packet::ack(PUBCOMP, id));
    let id = client.expect_message("two").id.expect("a packet identifier");
    client.expect_quiet();
    client.send(&packet::ack_with_reason(PUBREC, id, 0x80));
    client.expect_and_acknowledge("three");
    client.expect_quiet();
}

/// [MQTT-3.3.4-10], [MQTT-4.9.0-3]: with a full window, QoS 0 and every other packet still flow.
#[test]
fn full_window_does_not_hold_back_other_packets() {
    let broker = Broker::start();
    let mut client = broker.connect(&Connect::new(V5, "full").property(property::receive_maximum(1)));
    client.subscribe("full", 1);
    let mut publisher = broker.client(V5, "publisher");
    publisher.publish("full", "one", 1);
    publisher.publish("full", "two", 1);
    let first = client.expect_message("one");
    publisher.publish("full", "zero", 0);
    client.expect_message("zero");
    client.subscribe("more", 2);
    client.unsubscribe(&["more"]);
    client.publish("elsewhere", "x", 1);
    client.publish("elsewhere", "x", 2);
    client.ping();
    client.acknowledge(&first);
    client.expect_message("two");
}

/// [MQTT-3.3.4-9], [MQTT-4.4.0-1]: the window holds on resumption too, with the value of the new connection.
#[test]
fn receive_maximum_holds_on_resumption() {
    let broker = Broker::start();
    let lasting = Connect::lasting(V5, "resuming");
    let mut client = broker.connect(&lasting);
    client.subscribe("resumed", 1);
    client.disconnect();
    let mut publisher = broker.client(V5, "publisher");
    for number in 0..5 {
        publisher.publish("resumed", &number.to_string(), 1);
    }
    let mut client = broker.connect(&lasting.clone().property(property::receive_maximum(3)));
    let sent = ["0", "1", "2"].map(|payload| client.expect_message(payload));
    client.expect_quiet();
    client.vanish();
    let mut client = broker.connect(&lasting.property(property::receive_maximum(2)));
    for message in &sent[..2] {
        let again = client.expect_message(&message.text());
        assert_eq!((again.id, again.dup), (message.id, true));
    }
    client.expect_quiet();
    client.acknowledge(&sent[0]);
    client.acknowledge(&sent[1]);
    let again = client.expect_message("2");
    assert_eq!((again.id, again.dup), (sent[2].id, true));
    client.expect_message("3");
    client.expect_quiet();
}

/// [MQTT-3.3.4-7], section 3.3.4: more than the broker's announced Receive Maximum is answered with 0x93.
#[test]
fn exceeding_the_brokers_receive_maximum_closes_with_0x93() {
    let broker = Broker::with(Settings { receive_maximum: Some(5), ..Settings::default() });
    let (mut client, ack) = broker.connect_with_ack(&Connect::new(V5, "eager"));
    let maximum = property::find(&ack.properties, property::RECEIVE_MAXIMUM);
    assert_eq!(maximum, Some(&Value::Two(5)));
    for id in 1..=6 {
        client.send_publish(&Publish::new("eager", "x").qos2(id));
    }
    for id in 1..=5 {
        client.expect_ack(PUBREC, id);
    }
    client.expect_disconnect(0x93);
}

/// [MQTT-3.3.4-7]: PUBCOMP gives a place back, so that a client within the limit goes on for ever.
#[test]
fn completed_messages_free_the_brokers_window() {
    let broker = Broker::with(Settings { receive_maximum: Some(2), ..Settings::default() });
    let mut client = broker.client(V5, "steady");
    for _ in 0..20 {
        client.publish("steady", "x", 2);
        client.publish("steady", "x", 1);
    }
    client.send_publish(&Publish::new("steady", "x").qos2(1000));
    client.expect_ack(PUBREC, 1000);
    // The same message again takes no second place.
    client.send_publish(&Publish::new("steady", "x").qos2(1000).dup());
    client.expect_ack(PUBREC, 1000);
    client.send_publish(&Publish::new("steady", "x").qos2(1001));
    client.expect_ack(PUBREC, 1001);
}

/// [MQTT-3.1.2-24], [MQTT-3.1.2-25]: a message too large for a client is left out for it alone, as if delivered; its
/// publisher is acknowledged and the next ones follow.
#[test]
fn message_above_the_clients_maximum_packet_size_is_left_out() {
    let broker = Broker::start();
    let mut small = broker.connect(
        &Connect::new(V5, "small")
            .property(property::maximum_packet_size(64))
            .property(property::receive_maximum(1)),
    );
    small.subscribe("size", 2);
    let mut large = broker.client(V5, "large");
    large.subscribe("size", 2);
    let mut publisher = broker.client(V5, "publisher");
    let long = "x".repeat(64);
    for qos in 0..3 {
        publisher.publish("size", &long, qos);
        publisher.publish("size", "short", qos);
        small.expect_and_acknowledge("short");
        large.expect_and_acknowledge(&long);
        large.expect_and_acknowledge("short");
    }
    small.expect_quiet();
}

/// [MQTT-3.1.2-24]: the limit is the size of the whole packet, to the byte.
#[test]
fn maximum_packet_size_is_exact() {
    let broker = Broker::start();
    let mut client = broker.connect(&Connect::new(V5, "exact").property(property::maximum_packet_size(64)));
    client.subscribe("t", 1);
    let mut publisher = broker.client(V5, "publisher");
    // Two bytes of header, three of topic, two of identifier, one of property length.
    publisher.publish("t", &"b".repeat(57), 1);
    publisher.publish("t", &"a".repeat(56), 1);
    client.expect_and_acknowledge(&"a".repeat(56));
    client.expect_quiet();
}

/// [MQTT-3.1.2-25]: what waited in a session and is too large for the next connection is left out, the rest follows.
#[test]
fn queued_message_above_the_maximum_packet_size_is_left_out() {
    let broker = Broker::start();
    let lasting = Connect::lasting(V5, "shrinking");
    let mut client = broker.connect(&lasting);
    client.subscribe("shrink", 1);
    client.disconnect();
    let mut publisher = broker.client(V5, "publisher");
    publisher.publish("shrink", "before", 1);
    publisher.publish("shrink", &"x".repeat(100), 1);
    publisher.publish("shrink", "after", 1);
    let mut client = broker.connect(&lasting.property(property::maximum_packet_size(64)));
    client.expect_and_acknowledge("before");
    client.expect_and_acknowledge("after");
    client.expect_quiet();
}

/// [MQTT-3.2.2-15], section 3.2.2.3.6: a packet above the broker's announced maximum is answered with 0x95, at its header.
#[test]
fn packet_above_the_brokers_maximum_closes_with_0x95() {
    let settings = Settings { maximum_packet_size_bytes: Some(1000), ..Settings::default() };
    let broker = Broker::with(settings);
    let (mut client, ack) = broker.connect_with_ack(&Connect::new(V5, "large"));
    let maximum = property::find(&ack.properties, property::MAXIMUM_PACKET_SIZE);
    assert_eq!(maximum, Some(&Value::Four(1000)));
    // 1000 bytes in all: three of header, three of topic, two of identifier, one of property length.
    client.send_publish(&Publish::new("t", vec![b'x'; 991]).qos1(1));
    client.expect_ack(PUBACK, 1);
    client.send(&[0x32, 0xE6, 0x07]);
    client.expect_disconnect(0x95);
}

/// [MQTT-3.1.2-24]: an answer that the client does not take is not sent; since it waits for it, the connection ends.
#[test]
fn answer_above_the_clients_maximum_packet_size_is_not_sent() {
    let broker = Broker::start();
    let mut client = broker.connect(&Connect::new(V5, "small").property(property::maximum_packet_size(40)));
    let filters: Vec<String> = (0..40).map(|number| format!("filter/{number}")).collect();
    let list: Vec<(&str, u8)> = filters.iter().map(|filter| (filter.as_str(), 0)).collect();
    client.send(&packet::subscribe(V5, 1, &list[..30], &[]));
    assert_eq!(client.expect_suback(1).len(), 30);
    client.send(&packet::subscribe(V5, 2, &list, &[]));
    client.expect_disconnect(0x95);
}
