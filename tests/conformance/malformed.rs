//! Malformed packets after CONNECT: flags, lengths, types and properties (chapters 2.1, 4.13).

use crate::harness::packet::{
    self, CONNACK, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL, SUBACK, UNSUBACK, frame,
};
use crate::harness::{Broker, Publish, V3, V5, Version, property};

/// Sends bytes on a new connection; the broker must close it, and tell a 5.0 client that the packet was bad.
fn refuse(broker: &Broker, version: Version, bytes: &[u8], what: &str) {
    println!("{version:?}: {what}: {bytes:02x?}");
    let mut client = broker.client(version, "malformed");
    client.send(bytes);
    client.expect_broken();
}

/// [MQTT-2.1.3-1], [MQTT-3.6.1-1], [MQTT-4.13.1-1]; 3.1.1 [MQTT-2.2.2-1], [MQTT-2.2.2-2], [MQTT-3.6.1-1]: reserved flags
/// of every type that has them have one value.
#[test]
fn reserved_flags_close_on_every_type() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for (first, body) in [
            (PUBACK, &[0, 1][..]),
            (PUBREC, &[0, 1]),
            (PUBREL, &[0, 1]),
            (PUBCOMP, &[0, 1]),
            (PINGREQ, &[]),
            (CONNACK, &[0, 0]),
            (SUBACK, &[0, 1, 0]),
            (UNSUBACK, &[0, 1]),
            (PINGRESP, &[]),
        ] {
            for flags in (0..16).filter(|flags| *flags != first & 0x0F) {
                refuse(&broker, version, &frame(first & 0xF0 | flags, body), "flags");
            }
        }
    }
}

/// [MQTT-4.13.1-1]; 3.1.1 [MQTT-4.8.0-1]: packets that only a server sends.
#[test]
fn packets_of_a_server_close() {
    let broker = Broker::start();
    for (version, first, body) in [
        (V3, CONNACK, &[0, 0][..]),
        (V5, CONNACK, &[0, 0, 0]),
        (V3, SUBACK, &[0, 1, 0]),
        (V5, SUBACK, &[0, 1, 0, 0]),
        (V3, UNSUBACK, &[0, 1]),
        (V5, UNSUBACK, &[0, 1, 0, 0]),
        (V3, PINGRESP, &[]),
        (V5, PINGRESP, &[]),
        (V3, 0x00, &[]),
        (V5, 0x00, &[]),
    ] {
        refuse(&broker, version, &frame(first, body), "a server's packet");
    }
}

/// [MQTT-4.13.1-1]: such a packet is against the protocol, whatever is in it, and its body is not waited for.
#[test]
fn packets_of_a_server_are_refused_at_their_first_byte() {
    let broker = Broker::start();
    for bytes in
        [&[CONNACK, 0][..], &[SUBACK, 1, 0], &[UNSUBACK, 0xFF, 0xFF, 0x7F], &[PINGRESP, 2, 0, 0], &[SUBACK]]
    {
        let mut client = broker.client(V5, "serving");
        client.send(bytes);
        client.expect_disconnect(0x82);
    }
}

/// [MQTT-4.13.1-1]; 3.1.1 [MQTT-4.8.0-1]: packets that go on after their content, of every type a client sends.
#[test]
fn packets_longer_than_their_content_close() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let more = |first: u8, body: &[u8]| {
            let mut body = body.to_vec();
            body.push(0);
            frame(first, &body)
        };
        refuse(&broker, version, &more(PINGREQ, &[]), "PINGREQ");
        for first in [PUBACK, PUBREC, PUBREL, PUBCOMP] {
            let body: &[u8] = if version == V5 { &[0, 1, 0, 0] } else { &[0, 1] };
            refuse(&broker, version, &more(first, body), "acknowledgement");
        }
        let body: &[u8] = if version == V5 { &[0, 0] } else { &[] };
        refuse(&broker, version, &more(packet::DISCONNECT, body), "DISCONNECT");
        for bytes in
            [packet::subscribe(version, 1, &[("a", 0)], &[]), packet::unsubscribe(version, 1, &["a"])]
        {
            refuse(&broker, version, &more(bytes[0], &bytes[2..]), "a byte after the last filter");
        }
    }
    refuse(&broker, V5, &frame(packet::AUTH, &[0x18, 0, 0]), "AUTH");
}

/// [MQTT-4.13.1-1]; 3.1.1 [MQTT-4.8.0-1]: packets that end before their content does, cut at every byte.
#[test]
fn packets_shorter_than_their_content_close() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut publish = Publish::new("topic", "").qos1(1);
        if version == V5 {
            publish = publish.property(property::content_type("type"));
        }
        for bytes in [
            publish.bytes(version),
            packet::subscribe(version, 1, &[("filter", 0)], &[]),
            packet::unsubscribe(version, 1, &["filter"]),
            packet::ack(PUBACK, 1),
            packet::ack(PUBREC, 1),
            packet::ack(PUBREL, 1),
            packet::ack(PUBCOMP, 1),
        ] {
            for len in 0..bytes.len() - 2 {
                refuse(&broker, version, &frame(bytes[0], &bytes[2..2 + len]), "cut");
            }
        }
    }
}

/// [MQTT-1.5.5-1]; 3.1.1 section 2.2.3: a remaining length of five bytes.
#[test]
fn remaining_length_of_five_bytes_closes() {
    let broker = Broker::start();
    for version in [V3, V5] {
        refuse(&broker, version, &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], "five bytes");
        refuse(&broker, version, &[PINGREQ, 0x80, 0x80, 0x80, 0x80, 0x00], "five bytes of zero");
    }
}

/// [MQTT-1.5.5-1]: a variable byte integer in more bytes than it needs is malformed.
#[test]
fn lengths_in_too_many_bytes_close() {
    let broker = Broker::start();
    refuse(&broker, V5, &[PINGREQ, 0x80, 0x00], "remaining length");
    refuse(&broker, V5, &[0x30, 0x84, 0x00, 0, 1, b'a', 0], "remaining length");
    refuse(&broker, V5, &frame(packet::PUBLISH, &[0, 1, b'a', 0x80, 0x00]), "property length");
    refuse(&broker, V5, &frame(packet::SUBSCRIBE, &[0, 1, 3, 0x0B, 0x81, 0x00, 0, 1, b'a', 0]), "identifier");
}

/// [MQTT-2.2.2-1], [MQTT-4.13.1-1]: a property length that reaches beyond the packet, or cuts a property.
#[test]
fn property_lengths_that_lie_close() {
    let broker = Broker::start();
    refuse(&broker, V5, &frame(packet::PUBLISH, &[0, 1, b'a', 9, 1, 0]), "beyond the packet");
    refuse(&broker, V5, &frame(packet::PUBLISH, &[0, 1, b'a', 1, 1, 0]), "cuts a property");
    refuse(&broker, V5, &frame(packet::PUBLISH, &[0, 1, b'a', 4, 3, 0, 9, b'x']), "a string beyond its list");
    refuse(&broker, V5, &frame(packet::SUBSCRIBE, &[0, 1, 200, 0, 1, b'a', 0]), "beyond the packet");
}

/// [MQTT-2.2.2-1]: the broker's packets say that they have no properties; the harness's reader checks each of them.
#[test]
fn packets_without_properties_have_a_property_length_of_0() {
    let broker = Broker::start();
    let mut client = broker.client(V5, "reading");
    client.subscribe("a", 0);
    client.publish("a", "", 1);
    assert_eq!(client.expect_message("").properties, []);
    client.unsubscribe(&["a"]);
}

/// Section 4.13, [MQTT-4.13.1-1]: properties in acknowledgements are checked, also where nobody asked for these.
#[test]
fn bad_properties_in_acknowledgements_close() {
    let broker = Broker::start();
    for kind in [PUBACK, PUBREC, PUBREL, PUBCOMP] {
        let bad = [
            vec![property::topic_alias(1)],
            vec![property::reason_string("a"), property::reason_string("b")],
            vec![property::session_expiry_secs(1)],
        ];
        for properties in bad {
            let mut body = vec![0, 9, 0];
            body.extend(property::encode(&properties));
            refuse(&broker, V5, &frame(kind, &body), "properties");
        }
        refuse(
            &broker,
            V5,
            &frame(kind, &[0, 9, 0, 4, 0x1F, 0, 1, 0xFF]),
            "a reason string that is not UTF-8",
        );
        refuse(&broker, V5, &frame(kind, &[0, 9, 0, 7]), "a property length that lies");
        refuse(&broker, V5, &frame(kind, &[0, 0]), "packet identifier 0");
    }
}

/// [MQTT-4.13.1-1]: properties that SUBSCRIBE, UNSUBSCRIBE and DISCONNECT do not have.
#[test]
fn foreign_properties_close() {
    let broker = Broker::start();
    let alias = property::encode(&[property::topic_alias(1)]);
    for (first, head, tail) in [
        (packet::SUBSCRIBE, &[0, 1][..], &[0, 1, b'a', 0][..]),
        (packet::UNSUBSCRIBE, &[0, 1], &[0, 1, b'a']),
        (packet::DISCONNECT, &[0], &[]),
    ] {
        refuse(&broker, V5, &frame(first, &[head, &alias, tail].concat()), "topic alias");
    }
}

/// [MQTT-4.13.1-1], [MQTT-4.13.2-1]: others notice nothing of a client's errors.
#[test]
fn errors_have_no_consequence_for_others() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut other = broker.client(version, "other");
        other.subscribe("calm", 1);
        for bytes in [&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF][..], &[0x00], b"GET / HTTP/1.1\r\n\r\n", &[0x10, 0x00]]
        {
            let mut client = broker.open(version);
            client.send(bytes);
            drop(client);
        }
        broker.client(version, "publisher").publish("calm", "x", 1);
        other.expect_and_acknowledge("x");
    }
}
