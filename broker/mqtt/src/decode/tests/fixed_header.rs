//! The fixed header: types, flags, lengths, and what is refused before the body is there.

use crate::decode::{ErrorKind, Header, frame, header};
use crate::packet::PacketType;
use crate::reason::ReasonCode;

#[test]
fn flags_are_checked_from_the_first_byte_mqtt_2_1_3_1() {
    for first_byte in 0..=u8::MAX {
        let (kind, flags) = (first_byte >> 4, first_byte & 0x0F);
        let is_good = match kind {
            0 => false,
            3 => flags & 0b0110 != 0b0110 && flags & 0b1110 != 0b1000,
            6 | 8 | 10 => flags == 0b0010,
            _ => flags == 0,
        };
        let expected = if kind == 0 { ReasonCode::ProtocolError } else { ReasonCode::MalformedPacket };
        match header(&[first_byte]) {
            Ok(None) => assert!(is_good, "{first_byte:02x} taken"),
            Ok(Some(_)) => panic!("{first_byte:02x} has no length yet"),
            Err(error) => {
                assert!(!is_good, "{first_byte:02x} refused: {error}");
                assert_eq!(error.reason, expected, "{first_byte:02x}");
            }
        }
    }
}

#[test]
fn a_header_says_how_long_the_packet_is_before_its_body_comes() {
    assert_eq!(header(&[]), Ok(None));
    assert_eq!(header(&[0x10, 0x80]), Ok(None));
    let found = header(&[0x10, 0x80, 0x01]).unwrap().unwrap();
    assert_eq!(found, Header { first_byte: 0x10, packet_type: PacketType::Connect, remaining: 128, len: 3 });
    assert_eq!(found.packet_len(), 131);
}

#[test]
fn a_length_is_minimal_and_of_four_bytes_at_most_mqtt_1_5_5_1() {
    for bytes in [&[0x30, 0x80, 0x00][..], &[0x30, 0x80, 0x80, 0x80, 0x80], &[0xC0, 0x80, 0x80, 0x00]] {
        let error = frame(bytes, u32::MAX).unwrap_err();
        assert_eq!(error.reason, ReasonCode::MalformedPacket);
        assert_eq!(error.kind, ErrorKind::Malformed);
    }
}

#[test]
fn a_packet_over_the_limit_is_refused_without_its_body() {
    // 100 bytes of body and 2 of header.
    let bytes = [0x30, 100];
    assert_eq!(frame(&bytes, 102), Ok(None));
    let error = frame(&bytes, 101).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge);
    assert_eq!(error.reason, ReasonCode::PacketTooLarge);
}

#[test]
fn a_frame_ends_where_its_packet_ends() {
    let two = [0x40, 2, 0, 1, 0xC0, 0];
    let first = frame(&two, u32::MAX).unwrap().unwrap();
    assert_eq!((first.packet_type, first.body, first.len), (PacketType::PubAck, &[0, 1][..], 4));
    let second = frame(&two[first.len..], u32::MAX).unwrap().unwrap();
    assert_eq!((second.packet_type, second.body, second.len), (PacketType::PingReq, &[][..], 2));
    assert_eq!(frame(&two[..3], u32::MAX), Ok(None));
}

#[test]
fn pings_with_a_body_are_refused_before_it_comes() {
    for first_byte in [0xC0, 0xD0] {
        assert!(frame(&[first_byte, 0], u32::MAX).unwrap().is_some());
        assert_eq!(frame(&[first_byte, 9], u32::MAX).unwrap_err().reason, ReasonCode::MalformedPacket);
    }
}
