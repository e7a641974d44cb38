//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK.

use super::{answer, answers_v5, decode, refused_v4, whole};
use crate::packet::{Packet, QoS, RetainHandling, SubscribeOptions, Version};
use crate::reason::ReasonCode::{MalformedPacket, ProtocolError, Success};

#[test]
fn a_subscribe_of_each_version() {
    let bytes = whole(0x82, "000A { 0B8101 26 <k> <> } <a/+> 2D <#> 00");
    let Ok(Packet::Subscribe(subscribe)) = decode(&bytes, Version::V5) else { panic!("not a SUBSCRIBE") };
    assert_eq!(subscribe.packet_id.get(), 10);
    assert_eq!(subscribe.subscription_id, Some(129));
    assert_eq!(subscribe.user_properties.first("k"), Some(""));
    let first = SubscribeOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let second = SubscribeOptions {
        qos: QoS::AtMostOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    };
    assert_eq!(subscribe.filters.iter().collect::<Vec<_>>(), [("a/+", first), ("#", second)]);

    let bytes = whole(0x82, "000A <a/+> 02");
    let Ok(Packet::Subscribe(subscribe)) = decode(&bytes, Version::V4) else { panic!("not a SUBSCRIBE") };
    let filters: Vec<_> = subscribe.filters.iter().map(|(filter, options)| (filter, options.qos)).collect();
    assert_eq!(filters, [("a/+", QoS::ExactlyOnce)]);
}

#[test]
fn bad_subscribes_of_5_0() {
    answers_v5(
        0x82,
        &[
            ("0000 00 <a> 00", ProtocolError, "packet identifier 0 [MQTT-2.2.1-3]"),
            ("0001 00", ProtocolError, "no filter [MQTT-3.8.3-2]"),
            ("0001 00 <a>", MalformedPacket, "filter without options"),
            ("0001 00 <a> 00 <b>", MalformedPacket, "second filter without options"),
            ("0001 00 <a> 00 0009 'b' 00", MalformedPacket, "filter longer than the packet"),
            ("0001 00 <> 00", MalformedPacket, "empty filter [MQTT-4.7.3-1]"),
            ("0001 00 <a> 00 <> 00", MalformedPacket, "empty filter [MQTT-4.7.3-1]"),
            ("0001 00 0001 00 00", MalformedPacket, "U+0000 [MQTT-3.8.3-1]"),
            ("0001 00 0003 EDA080 00", MalformedPacket, "surrogate [MQTT-3.8.3-1]"),
            ("0001 00 <a> 03", ProtocolError, "QoS 3"),
            ("0001 00 <a> 30", ProtocolError, "retain handling 3"),
            ("0001 00 <a> 40", MalformedPacket, "reserved bit [MQTT-3.8.3-5]"),
            ("0001 00 <a> 80", MalformedPacket, "reserved bit [MQTT-3.8.3-5]"),
            ("0001 { 0B00 } <a> 00", ProtocolError, "subscription identifier 0"),
            ("0001 { 0B01 0B01 } <a> 00", ProtocolError, "subscription identifier twice"),
            ("0001 { 0BFFFFFF7F } <a> 00", Success, "the highest subscription identifier"),
            ("0001 { 0BFFFFFFFF01 } <a> 00", MalformedPacket, "subscription identifier of five bytes"),
            ("0001 { 0101 } <a> 00", MalformedPacket, "a property of PUBLISH"),
            ("0001 { 1F <a> } <a> 00", MalformedPacket, "a property of SUBACK"),
            ("0001", MalformedPacket, "no property length"),
            ("00", MalformedPacket, "half a packet identifier"),
            ("0001 00 <a#> 00", Success, "where wildcards stand is the caller's to say"),
        ],
    );
}

#[test]
fn bad_subscribes_of_3_1_1() {
    refused_v4(
        0x82,
        &[
            ("0000 <a> 00", "packet identifier 0 [3.1.1 MQTT-2.3.1-1]"),
            ("0001", "no filter [3.1.1 MQTT-3.8.3-3]"),
            ("0001 <a> 03", "QoS 3 [3.1.1 MQTT-3.8.3-4]"),
            ("0001 <a> 04", "reserved bit [3.1.1 MQTT-3.8.3-4]"),
            ("0001 <a> 10", "reserved bit [3.1.1 MQTT-3.8.3-4]"),
            ("0001 <> 00", "empty filter [3.1.1 MQTT-4.7.3-1]"),
            ("0001 <a>", "no options"),
        ],
    );
}

#[test]
fn unsubscribes_of_both_versions() {
    let bytes = whole(0xA2, "000A { 26 <k> <v> } <a/+> <b>");
    let Ok(Packet::Unsubscribe(unsubscribe)) = decode(&bytes, Version::V5) else { panic!("not one") };
    assert_eq!(unsubscribe.filters.iter().collect::<Vec<_>>(), ["a/+", "b"]);
    assert_eq!(unsubscribe.user_properties.first("k"), Some("v"));
    assert_eq!(answer(0xA2, "000A <a> <b>", Version::V4), Success);
    answers_v5(
        0xA2,
        &[
            ("0000 00 <a>", ProtocolError, "packet identifier 0 [MQTT-2.2.1-3]"),
            ("0001 00", ProtocolError, "no filter [MQTT-3.10.3-2]"),
            ("0001 00 <>", MalformedPacket, "empty filter [MQTT-4.7.3-1]"),
            ("0001 00 <a> 00", MalformedPacket, "trailing byte"),
            ("0001 { 0B01 } <a>", MalformedPacket, "a property of SUBSCRIBE"),
            ("0001 00 0003 EDA080", MalformedPacket, "surrogate [MQTT-3.10.3-1]"),
        ],
    );
    refused_v4(
        0xA2,
        &[
            ("0001", "no filter [3.1.1 MQTT-3.10.3-2]"),
            ("0000 <a>", "packet identifier 0"),
            ("0001 00", "half"),
        ],
    );
}

#[test]
fn subacks_and_unsubacks_carry_codes() {
    let bytes = whole(0x90, "000A { 1F <a> } 00 02 87");
    let Ok(Packet::SubAck(suback)) = decode(&bytes, Version::V5) else { panic!("not a SUBACK") };
    assert_eq!((suback.codes, suback.reason_string), (&[0, 2, 0x87][..], Some("a")));
    answers_v5(
        0x90,
        &[
            ("0001 00", ProtocolError, "no code"),
            ("0001 00 03", ProtocolError, "QoS 3 [MQTT-3.9.3-2]"),
            ("0001 00 11", ProtocolError, "a code of UNSUBACK"),
            ("0001 00 00", Success, "granted"),
        ],
    );
    answers_v5(
        0xB0,
        &[("0001 00 11", Success, "none existed"), ("0001 00 01", ProtocolError, "a code of SUBACK")],
    );
    assert_eq!(answer(0xB0, "0001", Version::V4), Success);
    refused_v4(0xB0, &[("0001 00", "long"), ("0000", "packet identifier 0")]);
    refused_v4(0x90, &[("0001", "no code"), ("0001 81", "reserved code [3.1.1 MQTT-3.9.3-2]")]);
}
