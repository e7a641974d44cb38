//! The codec beside mqttbytes, which was written by others: where both read a packet, they read the same.
//!
//! mqttbytes is lenient, so only one direction is a property: what this crate takes, mqttbytes takes too. Left out is
//! what it cannot express: passwords that are not UTF-8, most of 5.0, and names that begin with `$` or outside ASCII.

mod strategies;

use bytes::{Bytes, BytesMut};
use katydid_mqtt::packet::{Connect, Packet, Publish, QoS, RetainHandling, Subscribe, Version};
use katydid_mqtt::reason::ReasonCode;
use katydid_mqtt::{decode, topic};
use mqttbytes::{Protocol, v4, v5};
use proptest::prelude::*;
use strategies::{encoded, packet, publish};

const SIZE: usize = 1 << 20;

fn theirs_qos(qos: QoS) -> mqttbytes::QoS {
    mqttbytes::qos(qos as u8).unwrap()
}

fn theirs_connect(ours: &Connect<'_>) -> Option<v4::Packet> {
    let user_name = ours.user_name.unwrap_or_default().to_owned();
    let password = match ours.password {
        Some(password) => std::str::from_utf8(password.0).ok()?.to_owned(),
        None => String::new(),
    };
    let has_login = !user_name.is_empty() || !password.is_empty();
    Some(v4::Packet::Connect(v4::Connect {
        protocol: Protocol::V4,
        keep_alive: ours.keep_alive_secs,
        client_id: ours.client_id.to_owned(),
        clean_session: ours.clean_start,
        last_will: ours.will.as_ref().map(|will| v4::LastWill {
            topic: will.topic.to_owned(),
            message: Bytes::copy_from_slice(will.payload),
            qos: theirs_qos(will.qos),
            retain: will.retain,
        }),
        login: has_login.then_some(v4::Login { username: user_name, password }),
    }))
}

fn theirs_connack_code(reason: ReasonCode) -> v4::ConnectReturnCode {
    match reason.connack_return_code() {
        Some(0) => v4::ConnectReturnCode::Success,
        Some(1) => v4::ConnectReturnCode::RefusedProtocolVersion,
        Some(2) => v4::ConnectReturnCode::BadClientId,
        Some(3) => v4::ConnectReturnCode::ServiceUnavailable,
        Some(4) => v4::ConnectReturnCode::BadUserNamePassword,
        _ => v4::ConnectReturnCode::NotAuthorized,
    }
}

/// The packet as mqttbytes has it, where it can.
fn theirs(ours: &Packet<'_>) -> Option<v4::Packet> {
    Some(match ours {
        Packet::Connect(ours) if ours.version == Version::V5 => return None,
        Packet::Connect(ours) => theirs_connect(ours)?,
        Packet::ConnAck(ours) => {
            v4::Packet::ConnAck(v4::ConnAck::new(theirs_connack_code(ours.reason), ours.session_present))
        }
        Packet::Publish(ours) => v4::Packet::Publish(v4::Publish {
            dup: ours.dup,
            qos: theirs_qos(ours.qos),
            retain: ours.retain,
            topic: ours.topic.to_owned(),
            pkid: ours.packet_id.map_or(0, Into::into),
            payload: Bytes::copy_from_slice(ours.payload),
        }),
        Packet::PubAck(ours) => v4::Packet::PubAck(v4::PubAck::new(ours.packet_id.get())),
        Packet::PubRec(ours) => v4::Packet::PubRec(v4::PubRec::new(ours.packet_id.get())),
        Packet::PubRel(ours) => v4::Packet::PubRel(v4::PubRel::new(ours.packet_id.get())),
        Packet::PubComp(ours) => v4::Packet::PubComp(v4::PubComp::new(ours.packet_id.get())),
        Packet::Subscribe(ours) => {
            let filters = ours.filters.iter().map(|(filter, options)| {
                v4::SubscribeFilter::new(filter.to_owned(), theirs_qos(options.qos))
            });
            v4::Packet::Subscribe(v4::Subscribe { pkid: ours.packet_id.get(), filters: filters.collect() })
        }
        Packet::SubAck(ours) => {
            let codes = ours.codes.iter().map(|&code| v4::SubscribeReasonCode::try_from(code).unwrap());
            v4::Packet::SubAck(v4::SubAck::new(ours.packet_id.get(), codes.collect()))
        }
        Packet::Unsubscribe(ours) => v4::Packet::Unsubscribe(v4::Unsubscribe {
            pkid: ours.packet_id.get(),
            topics: ours.filters.iter().map(str::to_owned).collect(),
        }),
        Packet::UnsubAck(ours) => v4::Packet::UnsubAck(v4::UnsubAck::new(ours.packet_id.get())),
        Packet::PingReq => v4::Packet::PingReq,
        Packet::PingResp => v4::Packet::PingResp,
        Packet::Disconnect(_) => v4::Packet::Disconnect,
        Packet::Auth(_) => return None,
    })
}

/// What mqttbytes writes for a packet that it can express without loss.
fn written_by_theirs(packet: &v4::Packet) -> Option<BytesMut> {
    let mut out = BytesMut::new();
    match packet {
        // It leaves out a user name or password that is there and empty.
        v4::Packet::Connect(_) => return None,
        v4::Packet::ConnAck(packet) => packet.write(&mut out),
        v4::Packet::Publish(packet) => packet.write(&mut out),
        v4::Packet::PubAck(packet) => packet.write(&mut out),
        v4::Packet::PubRec(packet) => packet.write(&mut out),
        v4::Packet::PubRel(packet) => packet.write(&mut out),
        v4::Packet::PubComp(packet) => packet.write(&mut out),
        v4::Packet::Subscribe(packet) => packet.write(&mut out),
        v4::Packet::SubAck(packet) => packet.write(&mut out),
        v4::Packet::Unsubscribe(packet) => packet.write(&mut out),
        v4::Packet::UnsubAck(packet) => packet.write(&mut out),
        v4::Packet::PingReq => v4::PingReq.write(&mut out),
        v4::Packet::PingResp => v4::PingResp.write(&mut out),
        v4::Packet::Disconnect => v4::Disconnect.write(&mut out),
    }
    .unwrap();
    Some(out)
}

fn check_publish_v5(ours: &Publish<'_>, theirs: &v5::Publish) -> Result<(), TestCaseError> {
    prop_assert_eq!((ours.dup, ours.retain), (theirs.dup, theirs.retain));
    prop_assert_eq!(ours.qos as u8, theirs.qos as u8);
    prop_assert_eq!(ours.topic, &theirs.topic);
    prop_assert_eq!(ours.packet_id.map_or(0, Into::into), theirs.pkid);
    prop_assert_eq!(ours.payload, &theirs.payload[..]);
    let Some(properties) = &theirs.properties else {
        prop_assert_eq!(&ours.properties, &Default::default());
        return Ok(());
    };
    let found = &ours.properties;
    prop_assert_eq!(ours.topic_alias, properties.topic_alias);
    prop_assert_eq!(found.payload_is_utf8.map(u8::from), properties.payload_format_indicator);
    prop_assert_eq!(found.message_expiry_secs, properties.message_expiry_interval);
    prop_assert_eq!(found.response_topic, properties.response_topic.as_deref());
    prop_assert_eq!(found.correlation_data, properties.correlation_data.as_deref());
    prop_assert_eq!(found.content_type, properties.content_type.as_deref());
    let users = properties.user_properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    prop_assert!(found.user_properties.iter().eq(users));
    Ok(())
}

fn check_subscribe_v5(ours: &Subscribe<'_>, theirs: &v5::Subscribe) -> Result<(), TestCaseError> {
    prop_assert_eq!(ours.packet_id.get(), theirs.pkid);
    let id = theirs.properties.as_ref().and_then(|properties| properties.id);
    prop_assert_eq!(ours.subscription_id, id.map(|id| u32::try_from(id).unwrap()));
    let found: Vec<_> = ours.filters.iter().collect();
    prop_assert_eq!(found.len(), theirs.filters.len());
    for ((filter, options), theirs) in found.into_iter().zip(&theirs.filters) {
        prop_assert_eq!(filter, &theirs.path);
        prop_assert_eq!(options.qos as u8, theirs.qos as u8);
        prop_assert_eq!(options.no_local, theirs.nolocal);
        prop_assert_eq!(options.retain_as_published, theirs.preserve_retain);
        let rule = match options.retain_handling {
            RetainHandling::Send => v5::RetainForwardRule::OnEverySubscribe,
            RetainHandling::SendIfNew => v5::RetainForwardRule::OnNewSubscribe,
            RetainHandling::DoNotSend => v5::RetainForwardRule::Never,
        };
        prop_assert_eq!(&rule, &theirs.retain_forward_rule);
    }
    Ok(())
}

proptest! {
    #[test]
    fn packets_of_3_1_1_are_read_and_written_alike(ours in packet(Version::V4)) {
        let bytes = encoded(Version::V4, &ours);
        if let Some(theirs) = theirs(&ours) {
            let read = v4::read(&mut BytesMut::from(&bytes[..]), SIZE);
            prop_assert_eq!(read.as_ref(), Ok(&theirs));
            if let Some(written) = written_by_theirs(&theirs) {
                prop_assert_eq!(&written[..], &bytes[..]);
            }
        }
    }

    #[test]
    fn what_is_taken_after_a_change_is_read_alike(
        ours in packet(Version::V4),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encoded(Version::V4, &ours);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let Ok(Some(frame)) = decode::frame(&bytes, SIZE as u32) else { return Ok(()) };
        let Ok(ours) = decode::packet(frame, Version::V4) else { return Ok(()) };
        if let Some(theirs) = theirs(&ours) {
            let read = v4::read(&mut BytesMut::from(&bytes[..]), SIZE);
            prop_assert_eq!(read.as_ref(), Ok(&theirs));
        }
    }

    #[test]
    fn a_publish_of_5_0_is_read_alike(ours in publish(Version::V5)) {
        let bytes = encoded(Version::V5, &Packet::Publish(ours.clone()));
        let Ok(v5::Packet::Publish(theirs)) = v5::read(&mut BytesMut::from(&bytes[..]), SIZE) else {
            return Err(TestCaseError::fail("mqttbytes reads no PUBLISH"));
        };
        check_publish_v5(&ours, &theirs)?;
        let mut written = BytesMut::new();
        theirs.write(&mut written).unwrap();
        let frame = decode::frame(&written, u32::MAX).unwrap().unwrap();
        prop_assert_eq!(decode::publish(frame, Version::V5), Ok(ours));
    }

    #[test]
    fn a_subscribe_of_5_0_is_read_alike(ours in packet(Version::V5)) {
        let Packet::Subscribe(subscribe) = &ours else { return Ok(()) };
        let bytes = encoded(Version::V5, &ours);
        let Ok(v5::Packet::Subscribe(theirs)) = v5::read(&mut BytesMut::from(&bytes[..]), SIZE) else {
            return Err(TestCaseError::fail("mqttbytes reads no SUBSCRIBE"));
        };
        check_subscribe_v5(subscribe, &theirs)?;
    }

    #[test]
    fn topics_match_alike(filter in "([ab+]?/){0,3}[ab+#]", name in "a|[ab]?(/[ab]?){1,4}") {
        prop_assert!(topic::TopicFilter::parse(&filter).is_ok());
        prop_assert!(mqttbytes::valid_filter(&filter));
        prop_assert_eq!(topic::matches(&filter, &name), mqttbytes::matches(&name, &filter));
    }
}
