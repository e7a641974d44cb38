//! AUTH and enhanced authentication, where the method is none or not known (chapters 3.15, 4.12); `tests/chat/scram.rs` and
//! `tokens.rs` have the methods.

use crate::harness::packet::{AUTH, frame};
use crate::harness::{Broker, Connect, V3, V5, property};

/// [MQTT-4.12.0-1], [MQTT-3.2.2-7], [MQTT-3.2.2-8]: an authentication method that is not supported is 0x8C.
#[test]
fn unsupported_method_is_refused_with_0x8c() {
    let broker = Broker::start();
    let method = property::authentication_method("SCRAM-SHA-1");
    let bare = Connect::new(V5, "scram").property(method);
    for connect in [bare.clone(), bare.property(property::authentication_data(b"n,,n=user"))] {
        let mut client = broker.open(V5);
        client.send(&connect.bytes());
        client.expect_connack_refusal(0x8C);
    }
}

/// Section 3.1.2.11.10, [MQTT-4.13.1-1]: authentication data without a method is a protocol error.
#[test]
fn data_without_method_is_a_protocol_error() {
    let broker = Broker::start();
    let mut client = broker.open(V5);
    client.send(&Connect::new(V5, "data").property(property::authentication_data(b"x")).bytes());
    client.expect_connack_refusal(0x82);
}

/// [MQTT-4.12.0-6], [MQTT-4.12.0-7], [MQTT-4.12.1-1]: without a method in CONNECT there is no method in CONNACK, and an
/// AUTH is a protocol error.
#[test]
fn auth_without_a_method_is_a_protocol_error() {
    let broker = Broker::start();
    let mut method = property::encode(&[property::authentication_method("SCRAM-SHA-1")]);
    let mut with_method = vec![0x19];
    with_method.append(&mut method);
    for body in [vec![], vec![0x18, 0], with_method] {
        let (mut client, ack) = broker.connect_with_ack(&Connect::new(V5, "reauth"));
        assert_eq!(property::find(&ack.properties, property::AUTHENTICATION_METHOD), None);
        client.send(&frame(AUTH, &body));
        client.expect_broken();
    }
}

/// [MQTT-3.15.1-1], [MQTT-3.15.2-1]: flags of AUTH other than 0, and reason codes it does not have.
#[test]
fn malformed_auth_closes() {
    let broker = Broker::start();
    for flags in 1..16 {
        let mut client = broker.client(V5, "flags");
        client.send(&frame(AUTH | flags, &[]));
        client.expect_refused(0x81);
    }
    for reason in [0x01, 0x80, 0xFF] {
        let mut client = broker.client(V5, "reasoning");
        client.send(&frame(AUTH, &[reason, 0]));
        client.expect_broken();
    }
}

/// 3.1.1 [MQTT-2.2.2-2], [MQTT-4.8.0-1]: 3.1.1 has no packet type 15.
#[test]
fn auth_from_a_v3_client_closes() {
    let broker = Broker::start();
    let mut client = broker.client(V3, "old");
    client.send(&frame(AUTH, &[]));
    client.expect_closed();
}
