//! CONNECT and CONNACK.

use super::{answer, answers_v5, decode, refused_v4, whole};
use crate::decode::{DecodeError, ErrorKind, Refusal};
use crate::packet::{Packet, QoS, Secret, Version};
use crate::reason::ReasonCode::{self, MalformedPacket, ProtocolError, Success};

fn error_of(body: &str) -> DecodeError {
    decode(&whole(0x10, body), Version::V5).unwrap_err()
}

#[test]
fn a_connect_of_3_1_1_states_its_version_whatever_the_caller_says() {
    let bytes = whole(0x10, "<MQTT> 04 C2 003C <client> <anna> <secret>");
    for version in [Version::V4, Version::V5] {
        let Ok(Packet::Connect(connect)) = decode(&bytes, version) else { panic!("not a CONNECT") };
        assert_eq!(connect.version, Version::V4);
        assert!(connect.clean_start);
        assert_eq!(connect.keep_alive_secs, 60);
        assert_eq!(connect.client_id, "client");
        assert_eq!(connect.user_name, Some("anna"));
        assert_eq!(connect.password, Some(Secret(b"secret")));
        assert_eq!(connect.will, None);
    }
}

#[test]
fn a_connect_of_5_0_carries_all_its_properties() {
    let bytes = whole(
        0x10,
        "<MQTT> 05 2E 000A \
         { 1100000005 210003 2700000400 220007 1901 1700 15 <SCRAM> 16 <data> 26 <k> <v> 26 <k> <w> } \
         <c> \
         { 1800000009 0101 0200000004 03 <text> 26 <a> <b> } <will/topic> <bye>",
    );
    let Ok(Packet::Connect(connect)) = decode(&bytes, Version::V4) else { panic!("not a CONNECT") };
    assert_eq!(connect.version, Version::V5);
    let properties = &connect.properties;
    assert_eq!(properties.session_expiry_secs, Some(5));
    assert_eq!(properties.receive_maximum, Some(3));
    assert_eq!(properties.maximum_packet_size, Some(1024));
    assert_eq!(properties.topic_alias_maximum, Some(7));
    assert_eq!(properties.request_response_information, Some(true));
    assert_eq!(properties.request_problem_information, Some(false));
    assert_eq!(properties.authentication_method, Some("SCRAM"));
    assert_eq!(properties.authentication_data, Some(Secret(b"data")));
    assert_eq!(properties.user_properties.iter().collect::<Vec<_>>(), [("k", "v"), ("k", "w")]);
    let will = connect.will.as_ref().unwrap();
    assert_eq!(
        (will.topic, will.payload, will.qos, will.retain),
        ("will/topic", &b"bye"[..], QoS::AtLeastOnce, true)
    );
    assert_eq!(will.delay_secs, 9);
    assert_eq!(will.properties.payload_is_utf8, Some(true));
    assert_eq!(will.properties.message_expiry_secs, Some(4));
    assert_eq!(will.properties.content_type, Some("text"));
    assert_eq!(will.properties.user_properties.first("a"), Some("b"));
}

#[test]
fn other_protocols_and_levels_say_how_to_refuse_them_mqtt_3_1_2_1_and_2() {
    for (body, refusal) in [
        ("<MQTT> 06 02 003C 00 <c>", Refusal::V5),
        ("<MQTT> 07 02 003C 00 <>", Refusal::V5),
        ("<MQTT> 03 02 003C 00 <client>", Refusal::V5),
        ("<MQTT> 06 02 003C <c>", Refusal::V4),
        ("<MQTT> 03 02 003C <c>", Refusal::V4),
        ("<MQTT> 84 02 003C <c>", Refusal::V4),
        ("<MQTT> 00", Refusal::V4),
        ("<MQIsdp> 03 02 003C <c>", Refusal::V4),
        ("<HTTP> 04 02 003C <c>", Refusal::Silent),
        ("<MQT> 04 02 003C <c>", Refusal::Silent),
        ("<mqtt> 05 02 003C 00 <c>", Refusal::Silent),
        ("<> 04 02 003C <c>", Refusal::Silent),
    ] {
        let error = error_of(body);
        assert_eq!(error.kind, ErrorKind::Unsupported(refusal), "{body}");
        assert_eq!(error.reason, ReasonCode::UnsupportedProtocolVersion);
    }
}

#[test]
fn bad_connects_of_5_0() {
    answers_v5(
        0x10,
        &[
            ("<MQTT> 05 00 0000 00 <>", Success, "empty client identifier [MQTT-3.1.3-6]"),
            ("<MQTT> 05 40 0000 00 <c> <password>", Success, "a password needs no user name in 5.0"),
            ("<MQTT> 05 03 0000 00 <c>", MalformedPacket, "reserved flag [MQTT-3.1.2-3]"),
            ("<MQTT> 05 0A 0000 00 <c>", MalformedPacket, "will QoS without will [MQTT-3.1.2-11]"),
            ("<MQTT> 05 22 0000 00 <c>", MalformedPacket, "will retain without will [MQTT-3.1.2-13]"),
            ("<MQTT> 05 1E 0000 00 <c> 00 <t> <p>", MalformedPacket, "will QoS 3 [MQTT-3.1.2-12]"),
            ("<MQTT> 05 06 0000 00 <c> 00 <> <p>", MalformedPacket, "empty will topic [MQTT-4.7.3-1]"),
            ("<MQTT> 05 06 0000 00 <c> 00 <a/+> <p>", MalformedPacket, "will topic with wildcard"),
            ("<MQTT> 05 06 0000 00 <c> 00 <a/#> <p>", MalformedPacket, "will topic with wildcard"),
            ("<MQTT> 05 06 0000 00 <c> 00 <t>", MalformedPacket, "no will payload [MQTT-3.1.2-9]"),
            ("<MQTT> 05 02 0000 00 <c> <anna>", MalformedPacket, "user name without flag [MQTT-3.1.2-16]"),
            ("<MQTT> 05 82 0000 00 <c>", MalformedPacket, "flag without user name [MQTT-3.1.2-17]"),
            ("<MQTT> 05 82 0000 00 <c> <u> <p>", MalformedPacket, "password without flag [MQTT-3.1.2-18]"),
            ("<MQTT> 05 C2 0000 00 <c> <u>", MalformedPacket, "flag without password [MQTT-3.1.2-19]"),
            ("<MQTT> 05 02 0000 00 <c> 00", MalformedPacket, "trailing byte"),
            ("<MQTT> 05 02 0000 00 0003 'ab'", MalformedPacket, "client identifier longer than the packet"),
            ("<MQTT> 05 02 0000 00 0003 610062", MalformedPacket, "U+0000 [MQTT-1.5.4-2]"),
            ("<MQTT> 05 02 0000 00 0003 EDA080", MalformedPacket, "surrogate [MQTT-1.5.4-1]"),
            ("<MQTT> 05 02 0000 00 0002 C080", MalformedPacket, "overlong U+0000 [MQTT-1.5.4-1]"),
            ("<MQTT> 05 02 0000", MalformedPacket, "no property length"),
            ("<MQTT> 05 02 0000 05 11000000", MalformedPacket, "properties longer than the packet"),
        ],
    );
}

#[test]
fn bad_connect_properties() {
    let cases: &[(&str, ReasonCode, &str)] = &[
        ("210000", ProtocolError, "receive maximum 0"),
        ("2700000000", ProtocolError, "maximum packet size 0"),
        ("1702", ProtocolError, "request problem information 2"),
        ("1902", ProtocolError, "request response information 2"),
        ("16 <data>", ProtocolError, "authentication data without method"),
        ("1100000001 1100000001", ProtocolError, "session expiry twice"),
        ("210001 210001", ProtocolError, "receive maximum twice"),
        ("2700000001 2700000001", ProtocolError, "maximum packet size twice"),
        ("220000 220000", ProtocolError, "topic alias maximum twice"),
        ("1701 1701", ProtocolError, "request problem information twice"),
        ("1901 1901", ProtocolError, "request response information twice"),
        ("15 <m> 15 <m>", ProtocolError, "method twice"),
        ("15 <m> 16 <d> 16 <d>", ProtocolError, "authentication data twice"),
        ("0101", MalformedPacket, "a property of PUBLISH"),
        ("12 <c>", MalformedPacket, "a property of CONNACK"),
        ("1800000001", MalformedPacket, "a property of the will"),
        ("0001", MalformedPacket, "identifier 0"),
        ("FF7F", MalformedPacket, "identifier of two bytes"),
        ("11000000", MalformedPacket, "value cut off"),
        ("26 <k>", MalformedPacket, "user property without value"),
        ("26 <k> <v> 26 <k> <v>", Success, "user properties may repeat"),
    ];
    for (properties, expected, why) in cases {
        let body = format!("<MQTT> 05 02 0000 {{ {properties} }} <c>");
        assert_eq!(answer(0x10, &body, Version::V5), *expected, "{why}: {body}");
    }
}

#[test]
fn bad_will_properties() {
    for (properties, expected, why) in [
        ("1800000001 1800000001", ProtocolError, "will delay twice"),
        ("0102", ProtocolError, "payload format 2"),
        ("08 <a/+>", ProtocolError, "response topic with wildcard [MQTT-3.3.2-14]"),
        ("230001", MalformedPacket, "topic alias in a will"),
        ("0B01", MalformedPacket, "subscription identifier in a will"),
    ] {
        let body = format!("<MQTT> 05 06 0000 00 <c> {{ {properties} }} <t> <p>");
        assert_eq!(answer(0x10, &body, Version::V5), expected, "{why}: {body}");
    }
}

#[test]
fn bad_connects_of_3_1_1() {
    assert_eq!(answer(0x10, "<MQTT> 04 00 0000 <>", Version::V4), Success);
    refused_v4(
        0x10,
        &[
            ("<MQTT> 04 03 0000 <c>", "reserved flag [3.1.1 MQTT-3.1.2-3]"),
            ("<MQTT> 04 0A 0000 <c>", "will QoS without will [3.1.1 MQTT-3.1.2-13]"),
            ("<MQTT> 04 22 0000 <c>", "will retain without will [3.1.1 MQTT-3.1.2-15]"),
            ("<MQTT> 04 1E 0000 <c> <t> <p>", "will QoS 3 [3.1.1 MQTT-3.1.2-14]"),
            ("<MQTT> 04 42 0000 <c> <p>", "password without user name [3.1.1 MQTT-3.1.2-22]"),
            ("<MQTT> 04 82 0000 <c>", "flag without user name [3.1.1 MQTT-3.1.2-19]"),
            ("<MQTT> 04 02 0000 <c> <u>", "user name without flag [3.1.1 MQTT-3.1.2-18]"),
            ("<MQTT> 04 06 0000 <c> <> <p>", "empty will topic [3.1.1 MQTT-4.7.3-1]"),
            ("<MQTT> 04 02 0000", "no client identifier [3.1.1 MQTT-3.1.3-3]"),
            ("<MQTT> 04", "nothing after the level"),
            ("<MQTT>", "no level"),
            ("", "nothing"),
        ],
    );
}

#[test]
fn thousands_of_user_properties_are_read_in_order() {
    let properties: String = (0..5_000).map(|number| format!(" 26 <name> <{number}>")).collect();
    let whole = whole(0x10, &format!("<MQTT> 05 02 003C {{ {properties} }} <c>"));
    let Ok(Packet::Connect(connect)) = decode(&whole, Version::V5) else { panic!("not a CONNECT") };
    assert_eq!(connect.properties.user_properties.iter().count(), 5_000);
    assert!(connect.properties.user_properties.iter().map(|(_, v)| v).eq((0..5_000).map(|n| n.to_string())));
}

#[test]
fn connacks_of_both_versions() {
    let bytes = whole(0x20, "01 00 { 2400 12 <id-1> 13001E }");
    let Ok(Packet::ConnAck(connack)) = decode(&bytes, Version::V5) else { panic!("not a CONNACK") };
    assert!(connack.session_present);
    assert_eq!(connack.reason, Success);
    assert_eq!(connack.properties.maximum_qos, Some(QoS::AtMostOnce));
    assert_eq!(connack.properties.assigned_client_id, Some("id-1"));
    assert_eq!(connack.properties.server_keep_alive_secs, Some(30));
    let bytes = whole(0x20, "00 05");
    let Ok(Packet::ConnAck(connack)) = decode(&bytes, Version::V4) else { panic!("not a CONNACK") };
    assert_eq!(connack.reason, ReasonCode::NotAuthorized);

    answers_v5(
        0x20,
        &[
            ("02 00 00", MalformedPacket, "reserved flag [MQTT-3.2.2-1]"),
            ("01 87 00", ProtocolError, "session present in a refusal [MQTT-3.2.2-6]"),
            ("00 01 00", ProtocolError, "a return code of 3.1.1 [MQTT-3.2.2-8]"),
            ("00 00 { 2402 }", ProtocolError, "maximum QoS 2 [MQTT-3.2.2-9]"),
            ("00 00 { 210000 }", ProtocolError, "receive maximum 0"),
            ("00 00", MalformedPacket, "no property length"),
            ("00 00 00 00", MalformedPacket, "trailing byte"),
        ],
    );
    refused_v4(
        0x20,
        &[("00 06", "reserved return code"), ("01 05", "session present"), ("00 00 00", "long")],
    );
}
