//! The fields of CONNECT: flags, client identifier, will, user name, password and properties (chapters 3.1.2, 3.1.3).

use crate::harness::packet::{self, frame, put_bytes, string};
use crate::harness::{Broker, Connect, Publish, V3, V5, Version, property};

/// Sends a CONNECT with this body; the broker must refuse it as malformed or against the protocol.
fn refuse(broker: &Broker, version: Version, body: &[u8], what: &str) {
    println!("{version:?}: {what}");
    let mut client = broker.open(version);
    client.send(&frame(packet::CONNECT, body));
    client.expect_connect_broken();
}

/// [MQTT-3.1.2-3], [MQTT-3.1.4-1]; 3.1.1 [MQTT-3.1.2-3], [MQTT-3.1.4-1]: the reserved connect flag is 0.
#[test]
fn reserved_connect_flag_is_refused() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let connect = Connect::new(version, "reserved");
        refuse(&broker, version, &connect.body_with_flags(connect.flags() | 1), "reserved flag");
    }
}

/// [MQTT-2.1.3-1], [MQTT-3.1.4-1]; 3.1.1 [MQTT-2.2.2-2]: CONNECT's fixed header has no flags.
#[test]
fn fixed_header_flags_of_connect_are_refused() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for flags in 1..16 {
            let mut client = broker.open(version);
            client.send(&frame(packet::CONNECT | flags, &Connect::new(version, "flags").body()));
            client.expect_end();
        }
    }
}

/// [MQTT-3.1.4-1]; 3.1.1 [MQTT-3.1.4-1]: a CONNECT that ends before its fields do, at any byte, or after them.
#[test]
fn connect_of_wrong_length_is_refused() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let will = Publish::new("w", "x").property(property::will_delay_secs(1));
        let connect = Connect::new(version, "cut").will(will).user("u").password(b"p");
        let body = connect.body();
        // From where name and level say which version it is.
        for len in 7..body.len() {
            refuse(&broker, version, &body[..len], &format!("cut at {len}"));
        }
        let mut longer = body;
        longer.push(0);
        refuse(&broker, version, &longer, "a byte too many");
    }
}

/// [MQTT-3.1.2-11], [MQTT-3.1.2-13]; 3.1.1 [MQTT-3.1.2-11], [MQTT-3.1.2-13], [MQTT-3.1.2-15]: without the will flag,
/// will QoS and will retain are 0.
#[test]
fn will_bits_without_will_flag_are_refused() {
    let broker = Broker::start();
    for version in [V3, V5] {
        for bits in [0x08, 0x10, 0x18, 0x20, 0x28] {
            let connect = Connect::new(version, "bits");
            let body = connect.body_with_flags(connect.flags() | bits);
            refuse(&broker, version, &body, &format!("bits {bits:#04x}"));
        }
    }
}

/// [MQTT-3.1.2-12]; 3.1.1 [MQTT-3.1.2-14]: will QoS is 0, 1 or 2.
#[test]
fn will_qos_3_is_refused() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let connect = Connect::new(version, "qos3").will(Publish::new("w", "x"));
        refuse(&broker, version, &connect.body_with_flags(connect.flags() | 0x18), "will QoS 3");
    }
}

/// [MQTT-3.1.2-9]; 3.1.1 [MQTT-3.1.2-9], [MQTT-3.1.2-11]: the will flag and the will in the payload go together.
#[test]
fn will_flag_and_payload_must_agree() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let connect = Connect::new(version, "flagged");
        refuse(
            &broker,
            version,
            &connect.body_with_flags(connect.flags() | 0x04),
            "will flag without a will",
        );
        let connect = connect.will(Publish::new("w", "x"));
        refuse(&broker, version, &connect.body_with_flags(0x02), "a will without its flag");
    }
}

/// [MQTT-3.1.2-16] to [MQTT-3.1.2-19]; 3.1.1 [MQTT-3.1.2-18] to [MQTT-3.1.2-21]: user name and password stand in the
/// payload where their flags say so, and only there.
#[test]
fn user_and_password_flags_must_agree_with_the_payload() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let bare = Connect::new(version, "flagged");
        let named = bare.clone().user("name");
        let both = named.clone().password(b"secret");
        refuse(&broker, version, &bare.body_with_flags(0x82), "user flag without a user name");
        refuse(&broker, version, &named.body_with_flags(0x02), "a user name without its flag");
        refuse(&broker, version, &named.body_with_flags(0xC2), "password flag without a password");
        refuse(&broker, version, &both.body_with_flags(0x82), "a password without its flag");
    }
}

/// 3.1.1 [MQTT-3.1.2-22]: no password without a user name.
#[test]
fn password_without_user_name_is_refused_in_v3() {
    let broker = Broker::start();
    let connect = Connect::new(V3, "nameless").password(b"secret");
    refuse(&broker, V3, &connect.body(), "password without user name");
}

/// [MQTT-3.1.3-1], [MQTT-3.1.3-3]; 3.1.1 [MQTT-3.1.3-1], [MQTT-3.1.3-3]: client identifier, will, user name and password
/// are read in that order.
#[test]
fn payload_fields_are_read_in_their_order() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut witness = broker.client(version, "witness");
        witness.subscribe("order/will", 0);
        let connect =
            Connect::new(version, "ordered").will(Publish::new("order/will", "in order")).user("ann");
        broker.connect(&connect).vanish();
        witness.expect_message("in order");
    }
}

/// [MQTT-3.1.3-5]; 3.1.1 [MQTT-3.1.3-5]: client identifiers of 1 to 23 letters and digits are taken.
#[test]
fn client_identifiers_of_1_to_23_letters_and_digits_are_allowed() {
    let broker = Broker::start();
    let letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for version in [V3, V5] {
        for id in ["0", "Z", &letters[..23], &letters[20..43], &letters[39..62]] {
            broker.client(version, id).ping();
        }
    }
}

/// [MQTT-3.1.3-6], [MQTT-3.1.3-7], [MQTT-3.2.2-16]: an empty client identifier is replaced by a new one of its own,
/// which the CONNACK tells and which names the session.
#[test]
fn empty_client_identifier_is_assigned_in_v5() {
    let broker = Broker::start();
    let connect = Connect::lasting(V5, "");
    let mut names = Vec::new();
    for _ in 0..3 {
        let (client, ack) = broker.connect_with_ack(&connect);
        let name = property::find(&ack.properties, property::ASSIGNED_CLIENT_IDENTIFIER);
        let Some(property::Value::Text(name)) = name else { panic!("no assigned identifier: {ack:?}") };
        assert!(!name.is_empty() && !names.contains(name), "{name} is not new");
        names.push(name.clone());
        client.disconnect();
    }
    let (_, ack) = broker.connect_with_ack(&Connect::lasting(V5, &names[0]));
    assert!(ack.session_present, "the assigned identifier names the session");
    assert_eq!(property::find(&ack.properties, property::ASSIGNED_CLIENT_IDENTIFIER), None);
}

/// 3.1.1 [MQTT-3.1.3-6]: clients without an identifier and with clean session are told apart.
#[test]
fn empty_client_identifiers_are_unique_in_v3() {
    let broker = Broker::start();
    let mut first = broker.client(V3, "");
    let mut second = broker.client(V3, "");
    first.ping();
    second.ping();
}

/// 3.1.1 [MQTT-3.1.3-8], [MQTT-3.1.3-9], [MQTT-3.2.2-5]: without clean session, an empty identifier is refused with 2.
#[test]
fn empty_client_identifier_without_clean_session_is_refused_with_2() {
    let broker = Broker::start();
    let mut client = broker.open(V3);
    client.send(&Connect::new(V3, "").resume().bytes());
    client.expect_connack_refusal(2);
}

/// [MQTT-3.1.3-4], [MQTT-3.1.3-11], [MQTT-3.1.3-12], [MQTT-1.5.4-1], [MQTT-1.5.4-2]; 3.1.1 [MQTT-3.1.3-4],
/// [MQTT-3.1.3-10], [MQTT-3.1.3-11], [MQTT-1.4.0-1], [MQTT-1.4.0-2]: the strings of CONNECT are UTF-8 without U+0000.
#[test]
fn ill_formed_strings_in_connect_are_refused() {
    let broker = Broker::start();
    let bad: [&[u8]; 5] = [b"\xff", b"\xed\xa0\x80", b"a\0b", b"\xc0\xaf", b"\xf4\x90\x80\x80"];
    for version in [V3, V5] {
        let head = |flags: u8| {
            let mut body = string(b"MQTT");
            body.extend([version.level(), flags, 0, 0]);
            if version == V5 {
                body.push(0);
            }
            body
        };
        for bytes in bad {
            let mut body = head(0x02);
            put_bytes(&mut body, bytes);
            refuse(&broker, version, &body, "client identifier");

            let mut body = head(0x06);
            put_bytes(&mut body, b"id");
            if version == V5 {
                body.push(0);
            }
            put_bytes(&mut body, bytes);
            put_bytes(&mut body, b"will");
            refuse(&broker, version, &body, "will topic");

            let mut body = head(0x82);
            put_bytes(&mut body, b"id");
            put_bytes(&mut body, bytes);
            refuse(&broker, version, &body, "user name");
        }
    }
}

/// [MQTT-4.13.1-1], sections 3.1.2.11 and 3.1.3.2: properties with values that are not allowed, twice, or out of place.
#[test]
fn bad_properties_of_connect_are_refused() {
    let broker = Broker::start();
    let request_response = |value| (property::REQUEST_RESPONSE_INFORMATION, property::Value::Byte(value));
    let protocol_errors = [
        vec![property::receive_maximum(0)],
        vec![property::maximum_packet_size(0)],
        vec![property::request_problem_information(2)],
        vec![request_response(2)],
        vec![property::receive_maximum(5), property::receive_maximum(5)],
        vec![property::session_expiry_secs(5), property::session_expiry_secs(5)],
        vec![property::maximum_packet_size(500), property::maximum_packet_size(500)],
        vec![property::topic_alias_maximum(5), property::topic_alias_maximum(5)],
        vec![request_response(1), request_response(1)],
        vec![property::request_problem_information(1), property::request_problem_information(1)],
    ];
    for properties in protocol_errors {
        let mut connect = Connect::new(V5, "wrong");
        connect.properties = properties;
        let mut client = broker.open(V5);
        client.send(&connect.bytes());
        println!("{:?}", connect.properties);
        client.expect_connack_refusal(0x82);
    }
    let malformed = [
        vec![property::topic_alias(1)],
        vec![property::will_delay_secs(1)],
        vec![(property::SERVER_KEEP_ALIVE, property::Value::Two(1))],
        vec![(0x7E, property::Value::Byte(1))],
        vec![(0x00, property::Value::Byte(1))],
    ];
    for properties in malformed {
        let mut connect = Connect::new(V5, "wrong");
        connect.properties = properties;
        refuse(&broker, V5, &connect.body(), &format!("{:?}", connect.properties));
    }
    let will = Publish::new("w", "x").property(property::topic_alias(1));
    refuse(&broker, V5, &Connect::new(V5, "wrong").will(will).body(), "topic alias in a will");
    let will = Publish::new("w", "x").property(property::payload_format(2));
    refuse(&broker, V5, &Connect::new(V5, "wrong").will(will).body(), "payload format 2 in a will");
}

/// [MQTT-1.5.7-1]: both strings of a user property are UTF-8.
#[test]
fn ill_formed_user_property_in_connect_is_refused() {
    let broker = Broker::start();
    for (name, value) in [(&b"\xff"[..], &b"v"[..]), (b"n", b"\xed\xbf\xbf"), (b"n\0", b"v")] {
        let mut list = vec![property::USER_PROPERTY];
        put_bytes(&mut list, name);
        put_bytes(&mut list, value);
        let mut body = string(b"MQTT");
        body.extend([5, 2, 0, 0, list.len() as u8]);
        body.extend(list);
        put_bytes(&mut body, b"id");
        refuse(&broker, V5, &body, "user property");
    }
}

/// Section 3.1.2.11.8: user properties may repeat; thousands of them cost no more than their bytes.
#[test]
fn thousands_of_user_properties_are_taken() {
    let broker = Broker::start();
    let mut connect = Connect::new(V5, "many");
    connect.properties = (0..5_000).map(|i| property::user("name", &i.to_string())).collect();
    let begin = std::time::Instant::now();
    broker.connect(&connect).ping();
    assert!(begin.elapsed() < std::time::Duration::from_secs(3), "took {:?}", begin.elapsed());
}
