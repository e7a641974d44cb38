//! DISCONNECT, from either side (chapter 3.14).

use crate::harness::packet::{self, DISCONNECT, frame};
use crate::harness::{Broker, Connect, Publish, V3, V5, property};

/// Section 3.14.4; 3.1.1 section 3.14.4: the broker closes after a client's DISCONNECT and answers nothing.
#[test]
fn disconnect_is_answered_with_close_alone() {
    let broker = Broker::start();
    for version in [V3, V5] {
        broker.client(version, "leaving").disconnect();
    }
    for reason in [0x00, 0x04, 0x80, 0x93, 0x99] {
        let mut client = broker.client(V5, "leaving");
        client.send(&packet::disconnect_with(
            reason,
            &[property::reason_string("bye"), property::user("a", "b")],
        ));
        client.expect_closed();
    }
}

/// [MQTT-3.14.1-1]; 3.1.1 [MQTT-3.14.1-1]: the flags of DISCONNECT are 0.
#[test]
fn reserved_flags_of_disconnect_are_malformed() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for flags in 1..16 {
            let mut client = broker.client(version, "flags");
            client.send(&frame(DISCONNECT | flags, &[]));
            client.expect_refused(0x81);
        }
    }
}

/// [MQTT-3.14.1-1]: a DISCONNECT with wrong flags is no DISCONNECT: the will is published.
#[test]
fn malformed_disconnect_publishes_the_will() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut witness = broker.client(version, "witness");
        witness.subscribe("will", 0);
        let mut client = broker.connect(&Connect::new(version, "flags").will(Publish::new("will", "sent")));
        client.send(&frame(DISCONNECT | 1, &[]));
        client.expect_refused(0x81);
        witness.expect_message("sent");
    }
}

/// [MQTT-3.14.2-1]: reason codes that only a server sends, or nobody, are against the protocol.
#[test]
fn unknown_disconnect_reasons_are_refused() {
    let broker = Broker::start();
    for reason in [0x01, 0x03, 0x18, 0x7F, 0xFE, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x9C, 0x9D, 0xA2] {
        let mut client = broker.client(V5, "reasoning");
        client.send(&packet::disconnect_with(reason, &[]));
        client.expect_broken();
    }
}

/// [MQTT-3.14.4-1] and 3.1.1 [MQTT-3.14.4-2] bind the sender: what comes after a DISCONNECT has no effect.
#[test]
fn packets_after_disconnect_have_no_effect() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut witness = broker.client(version, "witness");
        witness.subscribe("after", 0);
        let mut client = broker.client(version, "leaving");
        let mut bytes = frame(DISCONNECT, &[]);
        bytes.extend(Publish::new("after", "late").bytes(version));
        client.send(&bytes);
        client.expect_closed();
        witness.expect_quiet();
    }
}

/// [MQTT-3.14.4-1], [MQTT-3.14.4-2], [MQTT-4.13.2-1], [MQTT-3.14.2-2], [MQTT-3.14.2-3], [MQTT-3.14.2-4]: the broker's own
/// DISCONNECT is its last packet, closes, has no session expiry and fits the client's Maximum Packet Size.
#[test]
fn disconnect_of_the_broker_is_last_and_fits() {
    let broker = Broker::start();
    for size in [32, 1000] {
        let connect = Connect::new(V5, "small").property(property::maximum_packet_size(size));
        let mut client = broker.open(V5);
        client.send(&connect.bytes());
        assert_eq!(client.expect_connack().code, 0);
        client.send(&frame(0x00, &[]));
        match client.expect_packet() {
            packet::Packet::Disconnect { reason: 0x81 | 0x82, properties } => {
                assert!(3 + property::encode(&properties).len() as u32 <= size);
                client.expect_closed();
            }
            other => panic!("expected DISCONNECT, got {other:?}"),
        }
    }
}

/// Section 3.14.2.1: a broker that ends says 0x8B to 5.0 clients and closes the others.
#[test]
fn shutdown_disconnects_with_0x8b() {
    let mut broker = Broker::start();
    let mut five = broker.client(V5, "five");
    let mut three = broker.client(V3, "three");
    broker.ask_to_end();
    five.expect_disconnect(0x8B);
    three.expect_closed();
    assert!(broker.wait_for_end().success());
}

/// Section 3.14.2.2.5, [MQTT-4.13.1-1]: a server reference is for servers to send; the will is published.
#[test]
fn server_reference_from_a_client_is_a_protocol_error() {
    let broker = Broker::start();
    let mut witness = broker.client(V5, "witness");
    witness.subscribe("will", 0);
    let mut client = broker.connect(&Connect::new(V5, "referring").will(Publish::new("will", "sent")));
    let reference = (property::SERVER_REFERENCE, property::Value::Text("elsewhere".into()));
    client.send(&packet::disconnect_with(0, &[reference]));
    client.expect_disconnect(0x82);
    witness.expect_message("sent");
}
