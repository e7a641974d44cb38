//! What is written reads back, what is cut short is not taken for whole.

use super::*;
use mqttbytes::v4::{ConnAck, ConnectReturnCode, Packet, PubAck, SubAck, SubscribeReasonCode};

const STAMP: Stamp = Stamp { run: 7, publisher: 3, sequence: 99, due_ns: 1 << 40 };

fn whole(packet: &[u8]) -> (u8, &[u8]) {
    match split(packet) {
        Split::Packet(first, body, taken) => {
            assert_eq!(taken, packet.len());
            (first, body)
        }
        other => panic!("not a whole packet: {other:?}"),
    }
}

#[test]
fn a_publish_reads_back_in_both_versions_at_each_qos() {
    for version in [Version::V3, Version::V5] {
        for qos in 0..=2 {
            for size in [0, STAMP_BYTES, 100, 300, 20_000] {
                let mut out = b"before".to_vec();
                PublishTemplate::new(version, "room/a/msg/u1", qos, size).write(513, STAMP, &mut out);
                let (first, body) = whole(&out[6..]);
                let packet_id = if qos == 0 { 0 } else { 513 };
                let wanted = Message { qos, packet_id, stamp: Some(STAMP) };
                assert_eq!(read(version, first, body), Some(Incoming::Message(wanted)));
            }
        }
    }
}

#[test]
fn no_prefix_of_a_packet_is_taken_for_a_packet() {
    let mut out = Vec::new();
    PublishTemplate::new(Version::V5, "t", 1, 200).write(1, STAMP, &mut out);
    for end in 0..out.len() {
        assert_eq!(split(&out[..end]), Split::Incomplete, "{end} bytes");
    }
    assert_eq!(split(&[0x30, 0xff, 0xff, 0xff, 0xff, 1]), Split::Malformed);
}

#[test]
fn bodies_that_are_too_short_are_refused() {
    for first in [0x20, 0x32, 0x40, 0x50, 0x62, 0x70, 0x90] {
        assert_eq!(read(Version::V3, first, &[]), None, "{first:#x}");
    }
    assert_eq!(read(Version::V3, 0x30, &[0, 9, b'a']), None);
}

#[test]
fn what_mqttbytes_writes_for_a_broker_is_understood() {
    let packet = written(|out| ConnAck::new(ConnectReturnCode::Success, true).write(out));
    let (first, body) = whole(&packet);
    let connected = Incoming::Connected { reason: 0, session_present: true, receive_maximum: 65_535 };
    assert_eq!(read(Version::V3, first, body), Some(connected));

    let packet = written(|out| PubAck::new(300).write(out));
    let (first, body) = whole(&packet);
    assert_eq!(read(Version::V3, first, body), Some(Incoming::Done { packet_id: 300, reason: 0 }));

    let packet = written(|out| SubAck::new(1, vec![SubscribeReasonCode::Failure]).write(out));
    let (first, body) = whole(&packet);
    assert_eq!(read(Version::V3, first, body), Some(Incoming::Subscribed { reason: 0x80 }));
}

#[test]
fn mqttbytes_understands_the_user_without_a_password() {
    let login = Login {
        client_id: "c".into(),
        user: "u1".into(),
        password: String::new(),
        clean: false,
        keep_alive_secs: 30,
    };
    let mut out = Vec::new();
    write_connect(Version::V3, &login, &mut out);
    let Ok(Packet::Connect(connect)) = v4::read(&mut BytesMut::from(&out[..]), 1000) else {
        panic!("not a CONNECT");
    };
    assert!(!connect.clean_session);
    assert_eq!(connect.login.map(|login| (login.username, login.password)), Some(("u1".into(), "".into())));
}

#[test]
fn the_receive_maximum_is_found_behind_other_properties() {
    let body = [0, 0, 14, 0x26, 0, 1, b'a', 0, 1, b'b', 0x24, 1, 0x21, 0, 20, 0x25, 1];
    let wanted = Incoming::Connected { reason: 0, session_present: false, receive_maximum: 20 };
    assert_eq!(read(Version::V5, 0x20, &body), Some(wanted));
}

#[test]
fn a_refused_pubrec_ends_the_message_and_another_does_not() {
    assert_eq!(read(Version::V5, 0x50, &[0, 9]), Some(Incoming::Received { packet_id: 9 }));
    let refused = Incoming::Done { packet_id: 9, reason: 0x87 };
    assert_eq!(read(Version::V5, 0x50, &[0, 9, 0x87]), Some(refused));
}
