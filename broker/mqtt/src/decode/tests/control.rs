//! PINGREQ, PINGRESP, DISCONNECT and AUTH.

use super::{answer, answers_v5, decode, refused_v4, whole};
use crate::packet::{Packet, Secret, Version};
use crate::reason::ReasonCode::{self, MalformedPacket, ProtocolError, Success};

#[test]
fn pings_have_no_body() {
    for version in [Version::V4, Version::V5] {
        assert_eq!(decode(&[0xC0, 0], version), Ok(Packet::PingReq));
        assert_eq!(decode(&[0xD0, 0], version), Ok(Packet::PingResp));
        assert_eq!(answer(0xC0, "00", version), MalformedPacket);
        assert_eq!(answer(0xD0, "00", version), MalformedPacket);
    }
}

#[test]
fn a_disconnect_may_leave_out_reason_and_properties() {
    for (body, reason, expiry) in [
        ("", Success, None),
        ("00", Success, None),
        ("04", ReasonCode::DisconnectWithWill, None),
        ("04 00", ReasonCode::DisconnectWithWill, None),
        ("00 { 1100000009 }", Success, Some(9)),
    ] {
        let bytes = whole(0xE0, body);
        let Ok(Packet::Disconnect(disconnect)) = decode(&bytes, Version::V5) else { panic!("{body}") };
        assert_eq!((disconnect.reason, disconnect.session_expiry_secs), (reason, expiry), "{body}");
    }
    let bytes = whole(0xE0, "9C { 1F <why> 1C <other> 26 <> <> }");
    let Ok(Packet::Disconnect(disconnect)) = decode(&bytes, Version::V5) else { panic!("not one") };
    assert_eq!((disconnect.reason_string, disconnect.server_reference), (Some("why"), Some("other")));
}

#[test]
fn bad_disconnects() {
    answers_v5(
        0xE0,
        &[
            ("01", ProtocolError, "a code of SUBACK [MQTT-3.14.2-1]"),
            ("92", ProtocolError, "a code of PUBREL [MQTT-3.14.2-1]"),
            ("03", ProtocolError, "an undefined code"),
            ("00 01", MalformedPacket, "properties longer than the packet"),
            ("00 00 00", MalformedPacket, "trailing byte"),
            ("00 { 1100000000 1100000000 }", ProtocolError, "session expiry twice"),
            ("00 { 1F <a> 1F <a> }", ProtocolError, "reason string twice"),
            ("00 { 1C <a> 1C <a> }", ProtocolError, "server reference twice"),
            ("00 { 210001 }", MalformedPacket, "a property of CONNECT"),
        ],
    );
    assert_eq!(answer(0xE0, "", Version::V4), Success);
    refused_v4(0xE0, &[("00", "3.1.1 has no reason [3.1.1 MQTT-3.14.1-1]")]);
}

#[test]
fn auths() {
    let bytes = whole(0xF0, "18 { 15 <SCRAM> 16 <abc> }");
    let Ok(Packet::Auth(auth)) = decode(&bytes, Version::V5) else { panic!("not an AUTH") };
    assert_eq!(auth.reason, ReasonCode::ContinueAuthentication);
    assert_eq!((auth.method, auth.data), (Some("SCRAM"), Some(Secret(b"abc"))));
    answers_v5(
        0xF0,
        &[
            ("", Success, "success may be left out"),
            ("00", MalformedPacket, "no property length"),
            ("01 { 15 <m> }", ProtocolError, "not a code of AUTH [MQTT-3.15.2-1]"),
            ("18 00", ProtocolError, "no method"),
            ("18 { 15 <m> 15 <m> }", ProtocolError, "method twice"),
            ("18 { 15 <m> 16 <d> 16 <d> }", ProtocolError, "data twice"),
            ("18 { 15 <m> 1100000001 }", MalformedPacket, "a property of CONNECT"),
            ("18 { 15 <m> } 00", MalformedPacket, "trailing byte"),
        ],
    );
    refused_v4(0xF0, &[("", "3.1.1 has no AUTH")]);
}
