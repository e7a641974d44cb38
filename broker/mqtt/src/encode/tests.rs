//! The bytes of what a server sends, and what cannot be written. Round trips of everything are in `tests/`.

use super::*;
use crate::packet::{
    Ack, ConnAck, ConnAckProperties, Disconnect, PacketId, QoS, SubAck, SubscriptionIds, UserProperties,
};
use crate::properties::UserPropertiesBuf;
use crate::reason::ReasonCode;

const ID: PacketId = PacketId::new(0x1234).unwrap();

fn written(write: impl FnOnce(&mut Vec<u8>) -> usize) -> Vec<u8> {
    // Something in front shows that offsets count from where the packet begins.
    let mut out = vec![0xAA];
    let len = write(&mut out);
    assert_eq!(out.len(), 1 + len);
    out.split_off(1)
}

#[test]
fn acknowledgements_leave_out_what_they_can() {
    for kind in [PacketType::PubAck, PacketType::PubRec, PacketType::PubRel, PacketType::PubComp] {
        let first = kind.first_byte();
        let success = written(|out| ack(out, Version::V5, kind, ID, ReasonCode::Success));
        assert_eq!(success, [first, 2, 0x12, 0x34]);
        let refused = written(|out| ack(out, Version::V5, kind, ID, ReasonCode::NotAuthorized));
        assert_eq!(refused, [first, 3, 0x12, 0x34, 0x87]);
        let old = written(|out| ack(out, Version::V4, kind, ID, ReasonCode::NotAuthorized));
        assert_eq!(old, [first, 2, 0x12, 0x34]);
    }
    let mut users = UserPropertiesBuf::new();
    users.push("seq", "7").unwrap();
    let packet = Ack {
        packet_id: ID,
        reason: ReasonCode::Success,
        reason_string: Some("ok"),
        user_properties: users.borrowed(),
    };
    let long = written(|out| ack_with(out, Version::V5, PacketType::PubAck, &packet).unwrap());
    assert_eq!(long, b"\x40\x12\x12\x34\x00\x0E\x1F\x00\x02ok\x26\x00\x03seq\x00\x017");
    let old = written(|out| ack_with(out, Version::V4, PacketType::PubAck, &packet).unwrap());
    assert_eq!(old, [0x40, 2, 0x12, 0x34]);
}

#[test]
fn refusals_in_the_form_of_each_version() {
    let packet =
        |reason| ConnAck { session_present: false, reason, properties: ConnAckProperties::default() };
    let refused = packet(ReasonCode::UnsupportedProtocolVersion);
    assert_eq!(written(|out| connack(out, Version::V5, &refused).unwrap()), [0x20, 3, 0, 0x84, 0]);
    assert_eq!(written(|out| connack(out, Version::V4, &refused).unwrap()), [0x20, 2, 0, 1]);
    let banned = packet(ReasonCode::Banned);
    assert_eq!(written(|out| connack(out, Version::V4, &banned).unwrap()), [0x20, 2, 0, 5]);
}

#[test]
fn subacks_of_3_1_1_know_one_failure_only() {
    let packet = SubAck {
        packet_id: ID,
        codes: &[0, 1, 2, 0x80, 0x87, 0xA2],
        reason_string: Some("no"),
        user_properties: UserProperties::default(),
    };
    assert_eq!(
        written(|out| suback(out, Version::V4, &packet).unwrap()),
        [0x90, 8, 0x12, 0x34, 0, 1, 2, 0x80, 0x80, 0x80]
    );
    assert_eq!(
        written(|out| suback(out, Version::V5, &packet).unwrap()),
        [0x90, 14, 0x12, 0x34, 5, 0x1F, 0, 2, b'n', b'o', 0, 1, 2, 0x80, 0x87, 0xA2]
    );
    assert_eq!(written(|out| unsuback(out, Version::V4, &packet).unwrap()), [0xB0, 2, 0x12, 0x34]);
}

#[test]
fn short_control_packets() {
    assert_eq!(written(pingreq), [0xC0, 0]);
    assert_eq!(written(pingresp), [0xD0, 0]);
    assert_eq!(written(|out| disconnect(out, Version::V5, ReasonCode::Success)), [0xE0, 0]);
    assert_eq!(written(|out| disconnect(out, Version::V5, ReasonCode::SessionTakenOver)), [0xE0, 1, 0x8E]);
    assert_eq!(written(|out| disconnect(out, Version::V4, ReasonCode::SessionTakenOver)), [0xE0, 0]);
}

#[test]
fn a_failure_leaves_the_buffer_as_it_was() {
    let long = "x".repeat(65_536);
    let mut out = vec![1, 2, 3];
    let mut packet = Disconnect {
        reason: ReasonCode::Success,
        session_expiry_secs: None,
        reason_string: Some(&long),
        user_properties: UserProperties::default(),
        server_reference: None,
    };
    assert_eq!(disconnect_with(&mut out, Version::V5, &packet), Err(EncodeError::TooLong));
    packet.reason_string = Some("a\0b");
    assert_eq!(disconnect_with(&mut out, Version::V5, &packet), Err(EncodeError::Nul));
    let mut users = UserPropertiesBuf::new();
    assert_eq!(users.push("name", &long), Err(EncodeError::TooLong));
    assert_eq!(users.push("na\0me", "value"), Err(EncodeError::Nul));
    assert!(users.borrowed().is_empty());
    let parts = PublishParts { packet_id: Some(ID), ..parts() };
    assert_eq!(parts.encode(&mut out, Version::V5), Err(EncodeError::PacketId), "QoS 0 with an identifier");
    let parts = PublishParts { subscription_ids: &[1, 0], ..self::parts() };
    assert_eq!(parts.encode(&mut out, Version::V5), Err(EncodeError::OutOfRange));
    let parts = PublishParts { topic: long.as_bytes(), ..self::parts() };
    assert_eq!(parts.encode(&mut out, Version::V5), Err(EncodeError::TooLong));
    assert_eq!(out, [1, 2, 3]);
}

fn parts() -> PublishParts<'static> {
    PublishParts {
        first_byte: publish_first_byte(false, QoS::AtMostOnce, false),
        topic: b"t",
        packet_id: None,
        topic_alias: None,
        expiry_secs: None,
        subscription_ids: &[],
        forwarded: &[],
        payload: b"hi",
    }
}

#[test]
fn a_publish_from_parts_says_where_its_identifier_is() {
    let first_byte = publish_first_byte(true, QoS::AtLeastOnce, true);
    let full = PublishParts {
        first_byte,
        packet_id: Some(ID),
        topic_alias: Some(3),
        expiry_secs: Some(9),
        subscription_ids: &[1, 300],
        forwarded: &[0x01, 0x01],
        ..parts()
    };
    for (parts, version, expected) in [
        (parts(), Version::V4, &b"\x30\x05\x00\x01thi"[..]),
        (parts(), Version::V5, b"\x30\x06\x00\x01t\x00hi"),
        (full, Version::V4, b"\x3B\x07\x00\x01t\x12\x34hi"),
        (
            full,
            Version::V5,
            b"\x3B\x17\x00\x01t\x12\x34\x0F\x02\0\0\0\x09\x23\0\x03\x0B\x01\x0B\xAC\x02\x01\x01hi",
        ),
    ] {
        let mut out = vec![0xAA];
        let layout = parts.encode(&mut out, version).unwrap();
        let packet = out.split_off(1);
        assert_eq!(packet, expected);
        assert_eq!(layout.len, packet.len());
        assert_eq!(parts.encoded_len(version), Some(packet.len()));
        assert_eq!(
            layout.packet_id_at.map(|at| &packet[at..at + 2]),
            parts.packet_id.map(|_| &[0x12, 0x34][..])
        );
        let mut head = Vec::new();
        assert_eq!(parts.encode_head(&mut head, version), Ok(layout));
        assert_eq!([&head[..], parts.payload].concat(), packet);
    }
}

#[test]
fn lengths_move_what_was_written_before_them() {
    for len in [0, 100, 127, 128, 200, 16_383, 16_384, 60_000] {
        let text = "y".repeat(len);
        let packet = Ack {
            packet_id: ID,
            reason: ReasonCode::QuotaExceeded,
            reason_string: Some(&text),
            user_properties: UserProperties::default(),
        };
        let bytes = written(|out| ack_with(out, Version::V5, PacketType::PubAck, &packet).unwrap());
        let frame = crate::decode::frame(&bytes, u32::MAX).unwrap().unwrap();
        assert_eq!(frame.len, bytes.len());
        assert_eq!(crate::decode::ack(frame, Version::V5), Ok(packet), "{len}");
    }
}

#[test]
fn iterating_over_nothing_gives_nothing() {
    assert_eq!(UserProperties::default().iter().count(), 0);
    assert_eq!(SubscriptionIds::default().iter().count(), 0);
    assert!(UserProperties::default().is_empty() && SubscriptionIds::default().is_empty());
}
