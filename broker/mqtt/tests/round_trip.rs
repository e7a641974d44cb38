//! Properties of the codec as a whole: packets survive the wire, and no bytes harm it.

mod strategies;

use katydid_mqtt::decode::{self, DecodeError};
use katydid_mqtt::encode::{PublishParts, publish_first_byte};
use katydid_mqtt::packet::{Packet, QoS, Version};
use katydid_mqtt::properties::forwardable;
use proptest::collection::vec;
use proptest::prelude::*;
use strategies::{encoded, publish, version, versioned};

fn decoded(bytes: &[u8], version: Version) -> Result<Option<Packet<'_>>, DecodeError> {
    match decode::frame(bytes, u32::MAX)? {
        Some(frame) => decode::packet(frame, version).map(Some),
        None => Ok(None),
    }
}

/// What decodes can be looked at and written again, and is the same packet then.
fn check_stable(bytes: &[u8], version: Version) -> Result<(), TestCaseError> {
    if let Ok(Some(packet)) = decoded(bytes, version) {
        let shown = format!("{packet:?}");
        prop_assert!(!shown.is_empty());
        let again = encoded(version, &packet);
        prop_assert_eq!(decoded(&again, version), Ok(Some(packet)));
    }
    Ok(())
}

/// A fixed header that says the truth in front of a body.
fn framed(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first_byte];
    let mut rest = body.len();
    loop {
        let more = if rest > 0x7F { 0x80 } else { 0 };
        out.push((rest & 0x7F) as u8 | more);
        rest >>= 7;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

proptest! {
    #[test]
    fn every_packet_survives_the_wire((version, packet) in versioned()) {
        let bytes = encoded(version, &packet);
        let frame = decode::frame(&bytes, u32::MAX).unwrap().unwrap();
        prop_assert_eq!(frame.len, bytes.len());
        prop_assert_eq!(decode::packet(frame, version), Ok(packet));
    }

    #[test]
    fn each_prefix_of_a_packet_asks_for_more((version, packet) in versioned()) {
        let bytes = encoded(version, &packet);
        for end in 0..bytes.len() {
            prop_assert_eq!(decode::frame(&bytes[..end], u32::MAX), Ok(None), "cut at {}", end);
        }
        let limit = u32::try_from(bytes.len()).unwrap();
        prop_assert!(decode::frame(&bytes, limit).is_ok());
        prop_assert!(decode::frame(&bytes, limit - 1).is_err());
    }

    #[test]
    fn a_body_cut_short_is_an_error_or_another_packet((version, packet) in versioned()) {
        let bytes = encoded(version, &packet);
        let frame = decode::frame(&bytes, u32::MAX).unwrap().unwrap();
        for end in 0..frame.body.len() {
            check_stable(&framed(bytes[0], &frame.body[..end]), version)?;
        }
    }

    #[test]
    fn a_body_with_more_behind_it_is_refused((version, packet) in versioned(), more in vec(any::<u8>(), 1..4)) {
        let bytes = encoded(version, &packet);
        let frame = decode::frame(&bytes, u32::MAX).unwrap().unwrap();
        let longer = framed(bytes[0], &[frame.body, &more].concat());
        match packet {
            // More of these is more payload, more codes, more filters, or what had been left out.
            Packet::Publish(_) | Packet::SubAck(_) | Packet::UnsubAck(_) => {}
            Packet::Subscribe(_) | Packet::Unsubscribe(_) => check_stable(&longer, version)?,
            Packet::Disconnect(_) | Packet::Auth(_) | Packet::PubAck(_) | Packet::PubRec(_)
            | Packet::PubRel(_) | Packet::PubComp(_) if version == Version::V5 => check_stable(&longer, version)?,
            _ => prop_assert!(decoded(&longer, version).is_err()),
        }
    }

    #[test]
    fn a_changed_byte_is_an_error_or_another_packet(
        (version, packet) in versioned(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encoded(version, &packet);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        check_stable(&bytes, version)?;
    }

    #[test]
    fn arbitrary_bytes_harm_nothing(version in version(), bytes in vec(any::<u8>(), 0..64)) {
        check_stable(&bytes, version)?;
    }

    #[test]
    fn arbitrary_bodies_harm_nothing(version in version(), first in any::<u8>(), body in vec(any::<u8>(), 0..40)) {
        check_stable(&framed(first, &body), version)?;
    }

    /// Bytes that are common in packets reach deeper than evenly spread ones.
    #[test]
    fn bodies_of_likely_bytes_harm_nothing(
        version in version(),
        first in prop::sample::select(vec![0x10, 0x20, 0x30, 0x32, 0x40, 0x62, 0x82, 0x90, 0xA2, 0xB0, 0xE0, 0xF0]),
        body in vec(prop_oneof![0..=6u8, Just(0x26), Just(0x1F), Just(0x0B), Just(0x23), Just(b'a')], 0..24),
    ) {
        check_stable(&framed(first, &body), version)?;
    }

    #[test]
    fn a_publish_from_parts_is_the_publish(
        message in publish(Version::V5),
        version in version(),
        ids in vec(1..=0x0FFF_FFFFu32, 0..4),
    ) {
        let mut forwarded = Vec::new();
        forwardable(&message.properties, &mut forwarded).unwrap();
        let parts = PublishParts {
            first_byte: publish_first_byte(message.dup, message.qos, message.retain),
            topic: if version == Version::V5 { message.topic.as_bytes() } else { b"t" },
            packet_id: message.packet_id,
            topic_alias: message.topic_alias,
            expiry_secs: message.properties.message_expiry_secs,
            subscription_ids: &ids,
            forwarded: &forwarded,
            payload: message.payload,
        };
        let mut out = Vec::new();
        let layout = parts.encode(&mut out, version).unwrap();
        prop_assert_eq!(layout.len, out.len());
        prop_assert_eq!(layout.packet_id_at.is_some(), message.qos != QoS::AtMostOnce);
        let Ok(Some(Packet::Publish(mut found))) = decoded(&out, version) else {
            return Err(TestCaseError::fail("not a PUBLISH"));
        };
        prop_assert_eq!((found.dup, found.qos, found.retain), (message.dup, message.qos, message.retain));
        prop_assert_eq!(found.packet_id, message.packet_id);
        prop_assert_eq!(found.payload, message.payload);
        if version == Version::V5 {
            prop_assert_eq!(found.properties.subscription_ids.iter().collect::<Vec<_>>(), ids);
            found.properties.subscription_ids = Default::default();
            prop_assert_eq!(found, message);
        }
    }
}
