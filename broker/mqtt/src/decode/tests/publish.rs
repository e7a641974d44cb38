//! PUBLISH.

use super::{answers_v5, bytes, decode, refused_v4, whole};
use crate::decode::{ErrorKind, forwarded_properties, frame, publish};
use crate::packet::{Packet, PacketId, Publish, QoS, Version};
use crate::properties::forwardable;
use crate::reason::ReasonCode::{MalformedPacket, ProtocolError, Success, TopicAliasInvalid};

fn published(bytes: &[u8], version: Version) -> Publish<'_> {
    match decode(bytes, version) {
        Ok(Packet::Publish(publish)) => publish,
        other => panic!("not a PUBLISH: {other:?}"),
    }
}

#[test]
fn a_publish_of_each_version() {
    let bytes = whole(0x3D, "<room/Home/msg/anna> 1234 'hello'");
    let found = published(&bytes, Version::V4);
    assert!(found.dup && found.retain);
    assert_eq!(found.qos, QoS::ExactlyOnce);
    assert_eq!(found.topic, "room/Home/msg/anna");
    assert_eq!(found.packet_id, PacketId::new(0x1234));
    assert_eq!(found.payload, b"hello");

    let bytes = whole(
        0x30,
        "<t> { 0101 0200000007 03 <text/plain> 08 <r/t> 09 <xy> 230002 0B01 26 <k> <v> 0B8001 } 'hello'",
    );
    let found = published(&bytes, Version::V5);
    assert_eq!((found.dup, found.retain, found.qos, found.packet_id), (false, false, QoS::AtMostOnce, None));
    assert_eq!(found.topic_alias, Some(2));
    let properties = &found.properties;
    assert_eq!(properties.payload_is_utf8, Some(true));
    assert_eq!(properties.message_expiry_secs, Some(7));
    assert_eq!(properties.content_type, Some("text/plain"));
    assert_eq!(properties.response_topic, Some("r/t"));
    assert_eq!(properties.correlation_data, Some(&b"xy"[..]));
    assert_eq!(properties.user_properties.iter().collect::<Vec<_>>(), [("k", "v")]);
    assert_eq!(properties.subscription_ids.iter().collect::<Vec<_>>(), [1, 128]);
    assert_eq!(found.payload, b"hello");
}

#[test]
fn properties_of_5_0_are_payload_in_3_1_1() {
    let bytes = whole(0x30, "<t> 00 'x'");
    assert_eq!(published(&bytes, Version::V4).payload, b"\0x");
    assert_eq!(published(&bytes, Version::V5).payload, b"x");
}

#[test]
fn bad_publishes_of_5_0() {
    answers_v5(
        0x30,
        &[
            ("<t> 00", Success, "empty payload"),
            ("<> 03 230001 'x'", Success, "alias instead of a topic"),
            ("<> 00 'x'", ProtocolError, "neither topic nor alias [MQTT-3.3.2-1]"),
            ("<a/+> 00", MalformedPacket, "+ in a topic name [MQTT-3.3.2-2]"),
            ("<#> 00", MalformedPacket, "# in a topic name [MQTT-3.3.2-2]"),
            ("0003 610062 00", MalformedPacket, "U+0000 [MQTT-1.5.4-2]"),
            ("0003 EDBFBF 00", MalformedPacket, "surrogate [MQTT-1.5.4-1]"),
            ("0004 F0908D 00", MalformedPacket, "cut UTF-8 sequence [MQTT-1.5.4-1]"),
            ("0003 610A62 00", MalformedPacket, "line feed in a topic name, section 1.5.4"),
            ("0003 61C285 00", MalformedPacket, "U+0085 in a topic name, section 1.5.4"),
            ("0003 EFBFBF 00", MalformedPacket, "U+FFFF in a topic name, section 1.5.4"),
            ("0003 EFBBBF 00", Success, "U+FEFF is a character [MQTT-1.5.4-3]"),
            ("0004 F0AA9B94 00", Success, "U+2A6D4 is a character"),
            ("0009 't'", MalformedPacket, "topic longer than the packet"),
            ("00", MalformedPacket, "no topic length"),
            ("<t>", MalformedPacket, "no property length"),
            ("<t> 02 01", MalformedPacket, "properties longer than the packet"),
            ("<t> 8000", MalformedPacket, "property length not minimal [MQTT-1.5.5-1]"),
        ],
    );
    answers_v5(
        0x32,
        &[
            ("<t> 0000 00", ProtocolError, "packet identifier 0 [MQTT-2.2.1-3]"),
            ("<t> 00", MalformedPacket, "no packet identifier [MQTT-2.2.1-2]"),
            ("<t> 0001 00", Success, "packet identifier 1"),
        ],
    );
}

#[test]
fn bad_publish_properties() {
    answers_v5(
        0x30,
        &[
            ("<t> { 0102 }", ProtocolError, "payload format 2"),
            ("<t> { 0100 0101 }", ProtocolError, "payload format twice"),
            ("<t> { 0200000001 0200000001 }", ProtocolError, "message expiry twice"),
            ("<t> { 230000 }", TopicAliasInvalid, "topic alias 0 [MQTT-3.3.2-8]"),
            ("<t> { 230001 230001 }", ProtocolError, "topic alias twice"),
            ("<t> { 03 <a> 03 <a> }", ProtocolError, "content type twice"),
            ("<t> { 08 <a> 08 <a> }", ProtocolError, "response topic twice"),
            ("<t> { 08 <+> }", ProtocolError, "response topic with wildcard [MQTT-3.3.2-14]"),
            ("<t> { 08 <> }", ProtocolError, "empty response topic [MQTT-4.7.3-1]"),
            ("<t> { 08 0001 FF }", MalformedPacket, "response topic not UTF-8 [MQTT-3.3.2-13]"),
            ("<t> { 09 <a> 09 <a> }", ProtocolError, "correlation data twice"),
            ("<t> { 0B00 }", ProtocolError, "subscription identifier 0"),
            ("<t> { 0B80808080 01 }", MalformedPacket, "subscription identifier of five bytes"),
            ("<t> { 03 0001 FF }", MalformedPacket, "content type not UTF-8 [MQTT-3.3.2-19]"),
            ("<t> { 26 0000 0001 }", MalformedPacket, "truncated user property"),
            ("<t> { 26 0000 0001 00 }", MalformedPacket, "U+0000 in a user property"),
            ("<t> { 26 0000 0001 0A }", Success, "line feed in the value of a user property"),
            ("<t> { 1100000001 }", MalformedPacket, "a property of CONNECT"),
            ("<t> { 210001 }", MalformedPacket, "a property of CONNECT"),
            ("<t> { 2A01 }", MalformedPacket, "a property of CONNACK"),
            ("<t> { 1F <a> }", MalformedPacket, "a property of acknowledgements"),
            ("<t> { 0401 }", MalformedPacket, "an unknown property"),
        ],
    );
}

#[test]
fn bad_publishes_of_3_1_1() {
    refused_v4(
        0x30,
        &[
            ("<>", "empty topic [3.1.1 MQTT-4.7.3-1]"),
            ("<a/#>", "wildcard [3.1.1 MQTT-3.3.2-2]"),
            ("0001 00", "U+0000 [3.1.1 MQTT-1.5.3-2]"),
            ("0003 EDA080", "surrogate [3.1.1 MQTT-1.5.3-1]"),
            ("", "no topic"),
        ],
    );
    refused_v4(
        0x34,
        &[("<t> 0000", "packet identifier 0 [3.1.1 MQTT-2.3.1-1]"), ("<t> 00", "half an identifier")],
    );
}

#[test]
fn the_short_way_refuses_other_packets() {
    let ack = [0x40, 2, 0, 1];
    let error = publish(frame(&ack, 100).unwrap().unwrap(), Version::V5).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Protocol);
}

#[test]
fn what_is_forwarded_survives_a_log() {
    let packet = whole(0x30, "<t> { 0200000007 26 <b> <1> 0100 230002 0B01 26 <a> <2> 09 <xy> 08 <r> }");
    let found = published(&packet, Version::V5);
    let mut log = Vec::new();
    forwardable(&found.properties, &mut log).unwrap();
    assert_eq!(log, bytes("0100 08 <r> 09 <xy> 26 <b> <1> 26 <a> <2>"));
    let read = forwarded_properties(&log).unwrap();
    let mut expected = found.properties.clone();
    expected.message_expiry_secs = None;
    expected.subscription_ids = Default::default();
    assert_eq!(read, expected);
    assert!(forwarded_properties(&bytes("230001")).is_err(), "an alias means nothing in a log");
}

#[test]
fn debug_shows_no_words_of_people() {
    let packet = whole(0x30, "<t> { 26 <password> <hush-hush> 09 <xy> } 'hello'");
    let shown = format!("{:?}", published(&packet, Version::V5));
    assert!(shown.contains("password") && shown.contains("5 bytes") && shown.contains("2 bytes"), "{shown}");
    assert!(!shown.contains("hush") && !shown.contains("hello") && !shown.contains("104"), "{shown}");
}
