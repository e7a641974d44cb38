//! PUBACK, PUBREC, PUBREL and PUBCOMP.

use super::{answer, answers_v5, decode, refused_v4, whole};
use crate::packet::{Packet, PacketId, Version};
use crate::reason::ReasonCode::{self, MalformedPacket, NoMatchingSubscribers, ProtocolError, Success};

const FIRST_BYTES: [u8; 4] = [0x40, 0x50, 0x62, 0x70];

#[test]
fn the_reason_and_the_properties_may_be_left_out() {
    for (body, reason, text) in [
        ("0007", Success, None),
        ("0007 10", NoMatchingSubscribers, None),
        ("0007 10 00", NoMatchingSubscribers, None),
        ("0007 00 { 1F <hm> }", Success, Some("hm")),
    ] {
        let bytes = whole(0x40, body);
        let Ok(Packet::PubAck(ack)) = decode(&bytes, Version::V5) else { panic!("not a PUBACK: {body}") };
        assert_eq!(ack.packet_id, PacketId::new(7).unwrap());
        assert_eq!((ack.reason, ack.reason_string), (reason, text), "{body}");
    }
}

#[test]
fn each_type_takes_its_own_reason_codes() {
    for first_byte in FIRST_BYTES {
        for code in 0..=u8::MAX {
            let allowed = match first_byte {
                0x40 | 0x50 => matches!(code, 0 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99),
                _ => matches!(code, 0 | 0x92),
            };
            let expected = if allowed { Success } else { ProtocolError };
            for body in [format!("0001 {code:02X}"), format!("0001 {code:02X} 00")] {
                assert_eq!(answer(first_byte, &body, Version::V5), expected, "{first_byte:02x}: {body}");
            }
        }
    }
}

#[test]
fn bad_acknowledgements_of_5_0() {
    for first_byte in FIRST_BYTES {
        answers_v5(
            first_byte,
            &[
                ("", MalformedPacket, "no packet identifier"),
                ("00", MalformedPacket, "half a packet identifier"),
                ("0000", ProtocolError, "packet identifier 0 [MQTT-2.2.1-3]"),
                ("0001 00 01", MalformedPacket, "properties longer than the packet"),
                ("0001 00 00 00", MalformedPacket, "trailing byte"),
                ("0001 00 8000", MalformedPacket, "property length not minimal [MQTT-1.5.5-1]"),
                ("0001 00 { 1F <a> 1F <b> }", ProtocolError, "reason string twice"),
                ("0001 00 { 26 <k> <v> 26 <k> <v> }", Success, "user properties may repeat"),
                ("0001 00 { 0101 }", MalformedPacket, "a property of PUBLISH"),
                ("0001 00 { 1100000001 }", MalformedPacket, "a property of CONNECT"),
                ("0001 00 { 1F 0001 00 }", MalformedPacket, "U+0000 [MQTT-1.5.4-2]"),
            ],
        );
    }
}

#[test]
fn acknowledgements_of_3_1_1_have_two_bytes() {
    for first_byte in FIRST_BYTES {
        assert_eq!(answer(first_byte, "0001", Version::V4), Success);
        refused_v4(
            first_byte,
            &[("", "nothing"), ("00", "short"), ("0000", "packet identifier 0"), ("0001 00", "long")],
        );
    }
}

#[test]
fn the_reason_survives_when_it_is_an_error() {
    let bytes = whole(0x50, "FFFF 97");
    let Ok(Packet::PubRec(ack)) = decode(&bytes, Version::V5) else { panic!("not a PUBREC") };
    assert!(ack.reason.is_error());
    assert_eq!((ack.packet_id.get(), ack.reason), (0xFFFF, ReasonCode::QuotaExceeded));
}
