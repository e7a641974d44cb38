//! Packets as a peer may send them, for the property tests.
//!
//! Packets borrow; what they borrow is leaked here, a few bytes a case.
#![allow(dead_code, reason = "each test file uses its part")]

use katydid_mqtt::packet::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, Packet, PacketId,
    PacketType, Publish, PublishProperties, QoS, RetainHandling, Secret, SubAck, SubscribeOptions,
    UserProperties, Version, Will,
};
use katydid_mqtt::properties::UserPropertiesBuf;
use katydid_mqtt::reason::ReasonCode;
use katydid_mqtt::{decode, encode};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Client identifiers, user names and the like.
pub(crate) fn name() -> impl Strategy<Value = &'static str> {
    "[a-zA-Z0-9 _/äß€😀-]{0,12}".prop_map(|name| &*name.leak())
}

/// Topic names.
pub(crate) fn topic() -> impl Strategy<Value = &'static str> {
    "[a-z$/é😀]{1,12}".prop_map(|topic| &*topic.leak())
}

/// Free text: anything without U+0000.
pub(crate) fn text() -> impl Strategy<Value = &'static str> {
    "[^\u{0}]{0,8}".prop_map(|text| &*text.leak())
}

/// Payloads and binary properties, some longer than one byte of length says.
pub(crate) fn bytes() -> impl Strategy<Value = &'static [u8]> {
    prop_oneof![4 => vec(any::<u8>(), 0..8), 1 => vec(any::<u8>(), 100..300)].prop_map(|bytes| &*bytes.leak())
}

pub(crate) fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

pub(crate) fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

pub(crate) fn users() -> impl Strategy<Value = UserProperties<'static>> {
    vec((text(), text()), 0..4).prop_map(|pairs| {
        let mut users = UserPropertiesBuf::new();
        for (name, value) in pairs {
            users.push(name, value).unwrap();
        }
        Box::leak(Box::new(users)).borrowed()
    })
}

fn reason(kind: PacketType) -> impl Strategy<Value = ReasonCode> {
    let codes: Vec<_> =
        (0..=u8::MAX).filter_map(ReasonCode::from_byte).filter(|reason| reason.is_for(kind)).collect();
    prop::sample::select(codes)
}

pub(crate) fn message_properties() -> impl Strategy<Value = PublishProperties<'static>> {
    let fields = (
        option::of(any::<bool>()),
        option::of(any::<u32>()),
        option::of(text()),
        option::of(topic()),
        option::of(bytes()),
        users(),
    );
    fields.prop_map(|(format, expiry, content_type, response_topic, correlation_data, user_properties)| {
        PublishProperties {
            payload_is_utf8: format,
            message_expiry_secs: expiry,
            content_type,
            response_topic,
            correlation_data,
            user_properties,
            ..PublishProperties::default()
        }
    })
}

pub(crate) fn publish(version: Version) -> impl Strategy<Value = Publish<'static>> {
    let fields = (
        any::<(bool, bool)>(),
        qos(),
        topic(),
        packet_id(),
        option::of(1..=u16::MAX),
        message_properties(),
        bytes(),
        any::<bool>(),
    );
    fields.prop_map(move |((dup, retain), qos, topic, id, alias, properties, payload, leave_out_topic)| {
        let is_v5 = version == Version::V5;
        let topic_alias = alias.filter(|_| is_v5);
        Publish {
            dup: dup && qos != QoS::AtMostOnce,
            qos,
            retain,
            topic: if leave_out_topic && topic_alias.is_some() { "" } else { topic },
            packet_id: (qos != QoS::AtMostOnce).then_some(id),
            topic_alias,
            properties: if is_v5 { properties } else { PublishProperties::default() },
            payload,
        }
    })
}

fn will(version: Version) -> impl Strategy<Value = Will<'static>> {
    (topic(), bytes(), qos(), any::<bool>(), any::<u32>(), message_properties()).prop_map(
        move |(topic, payload, qos, retain, delay_secs, properties)| {
            let is_v5 = version == Version::V5;
            Will {
                topic,
                payload,
                qos,
                retain,
                delay_secs: if is_v5 { delay_secs } else { 0 },
                properties: if is_v5 { properties } else { PublishProperties::default() },
            }
        },
    )
}

fn connect_properties() -> impl Strategy<Value = ConnectProperties<'static>> {
    let fields = (
        option::of(any::<u32>()),
        option::of(1..=u16::MAX),
        option::of(1..=u32::MAX),
        option::of(any::<u16>()),
        any::<(Option<bool>, Option<bool>)>(),
        users(),
        option::of((text(), option::of(bytes()))),
    );
    fields.prop_map(|(expiry, receive, size, alias, (response, problem), user_properties, method)| {
        ConnectProperties {
            session_expiry_secs: expiry,
            receive_maximum: receive,
            maximum_packet_size: size,
            topic_alias_maximum: alias,
            request_response_information: response,
            request_problem_information: problem,
            user_properties,
            authentication_method: method.map(|(method, _)| method),
            authentication_data: method.and_then(|(_, data)| data).map(Secret),
        }
    })
}

pub(crate) fn connect(version: Version) -> impl Strategy<Value = Connect<'static>> {
    let fields = (
        any::<bool>(),
        any::<u16>(),
        name(),
        option::of(will(version)),
        option::of(name()),
        option::of(bytes()),
        connect_properties(),
    );
    fields.prop_map(
        move |(clean_start, keep_alive_secs, client_id, will, user_name, password, properties)| {
            let is_v5 = version == Version::V5;
            Connect {
                version,
                clean_start,
                keep_alive_secs,
                client_id,
                will,
                user_name,
                password: password.filter(|_| is_v5 || user_name.is_some()).map(Secret),
                properties: if is_v5 { properties } else { ConnectProperties::default() },
            }
        },
    )
}

fn connack_properties() -> impl Strategy<Value = ConnAckProperties<'static>> {
    let numbers = (
        option::of(any::<u32>()),
        option::of(1..=u16::MAX),
        option::of(1..=u32::MAX),
        option::of(any::<u16>()),
        option::of(any::<u16>()),
    );
    let flags = any::<(Option<bool>, Option<bool>, Option<bool>, Option<bool>, Option<bool>)>();
    let texts = (
        option::of(text()),
        option::of(text()),
        option::of(text()),
        option::of(text()),
        option::of(text()),
        option::of(bytes()),
    );
    (numbers, flags, texts, users()).prop_map(|(numbers, flags, texts, user_properties)| ConnAckProperties {
        session_expiry_secs: numbers.0,
        receive_maximum: numbers.1,
        maximum_packet_size: numbers.2,
        topic_alias_maximum: numbers.3,
        server_keep_alive_secs: numbers.4,
        maximum_qos: flags.0.map(|one| if one { QoS::AtLeastOnce } else { QoS::AtMostOnce }),
        retain_available: flags.1,
        wildcard_subscription_available: flags.2,
        subscription_ids_available: flags.3,
        shared_subscription_available: flags.4,
        assigned_client_id: texts.0,
        reason_string: texts.1,
        response_information: texts.2,
        server_reference: texts.3,
        authentication_method: texts.4,
        authentication_data: texts.5.map(Secret),
        user_properties,
    })
}

pub(crate) fn connack(version: Version) -> impl Strategy<Value = ConnAck<'static>> {
    let reason = match version {
        Version::V4 => (0..=5u8).prop_map(|code| ReasonCode::from_connack_return_code(code).unwrap()).boxed(),
        Version::V5 => reason(PacketType::ConnAck).boxed(),
    };
    (any::<bool>(), reason, connack_properties()).prop_map(move |(present, reason, properties)| ConnAck {
        session_present: present && reason == ReasonCode::Success,
        reason,
        properties: if version == Version::V5 { properties } else { ConnAckProperties::default() },
    })
}

pub(crate) fn ack(version: Version, kind: PacketType) -> impl Strategy<Value = Ack<'static>> {
    (packet_id(), reason(kind), option::of(text()), users()).prop_map(
        move |(packet_id, reason, reason_string, user_properties)| match version {
            Version::V4 => Ack {
                packet_id,
                reason: ReasonCode::Success,
                reason_string: None,
                user_properties: UserProperties::default(),
            },
            Version::V5 => Ack { packet_id, reason, reason_string, user_properties },
        },
    )
}

pub(crate) fn options(version: Version) -> impl Strategy<Value = SubscribeOptions> {
    let handling = prop_oneof![
        Just(RetainHandling::Send),
        Just(RetainHandling::SendIfNew),
        Just(RetainHandling::DoNotSend)
    ];
    (qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        move |(qos, no_local, as_published, handling)| {
            let is_v5 = version == Version::V5;
            SubscribeOptions {
                qos,
                no_local: no_local && is_v5,
                retain_as_published: as_published && is_v5,
                retain_handling: if is_v5 { handling } else { RetainHandling::Send },
            }
        },
    )
}

/// Filters, of which some have their wildcards in the wrong place: the codec passes them on.
pub(crate) fn filter() -> impl Strategy<Value = &'static str> {
    "[a-c/+#$]{1,8}".prop_map(|filter| &*filter.leak())
}

fn decoded(bytes: Vec<u8>, version: Version) -> Packet<'static> {
    let frame = decode::frame(bytes.leak(), u32::MAX).unwrap().unwrap();
    decode::packet(frame, version).unwrap()
}

fn subscribe(version: Version) -> impl Strategy<Value = Packet<'static>> {
    let filters = vec((filter(), options(version)), 1..4);
    (packet_id(), option::of(1..=0x0FFF_FFFFu32), users(), filters).prop_map(
        move |(packet_id, subscription_id, users, filters)| {
            let mut out = Vec::new();
            encode::subscribe(&mut out, version, packet_id, subscription_id, users, filters.iter().copied())
                .unwrap();
            let packet = decoded(out, version);
            let Packet::Subscribe(subscribe) = &packet else { panic!("not a SUBSCRIBE: {packet:?}") };
            assert_eq!(subscribe.packet_id, packet_id);
            assert_eq!(subscribe.filters.iter().collect::<Vec<_>>(), filters);
            if version == Version::V5 {
                assert_eq!(subscribe.subscription_id, subscription_id);
                assert_eq!(subscribe.user_properties, users);
            }
            packet
        },
    )
}

fn unsubscribe(version: Version) -> impl Strategy<Value = Packet<'static>> {
    (packet_id(), users(), vec(filter(), 1..4)).prop_map(move |(packet_id, users, filters)| {
        let mut out = Vec::new();
        encode::unsubscribe(&mut out, version, packet_id, users, filters.iter().copied()).unwrap();
        let packet = decoded(out, version);
        let Packet::Unsubscribe(unsubscribe) = &packet else { panic!("not an UNSUBSCRIBE: {packet:?}") };
        assert_eq!(unsubscribe.packet_id, packet_id);
        assert_eq!(unsubscribe.filters.iter().collect::<Vec<_>>(), filters);
        packet
    })
}

fn suback(version: Version, kind: PacketType) -> impl Strategy<Value = SubAck<'static>> {
    let code = match (version, kind) {
        (Version::V4, _) => prop::sample::select(vec![0, 1, 2, 0x80]).boxed(),
        (Version::V5, kind) => reason(kind).prop_map(|reason| reason as u8).boxed(),
    };
    let has_codes = version == Version::V5 || kind == PacketType::SubAck;
    (packet_id(), proptest::collection::vec(code, 1..4), option::of(text()), users()).prop_map(
        move |(packet_id, codes, reason_string, user_properties)| {
            let codes = if has_codes { &*codes.leak() } else { &[] };
            match version {
                Version::V4 => SubAck {
                    packet_id,
                    codes,
                    reason_string: None,
                    user_properties: UserProperties::default(),
                },
                Version::V5 => SubAck { packet_id, codes, reason_string, user_properties },
            }
        },
    )
}

fn disconnect(version: Version) -> impl Strategy<Value = Disconnect<'static>> {
    let fields = (
        reason(PacketType::Disconnect),
        option::of(any::<u32>()),
        option::of(text()),
        users(),
        option::of(text()),
    );
    fields.prop_map(move |(reason, session_expiry_secs, reason_string, user_properties, server_reference)| {
        match version {
            Version::V4 => Disconnect {
                reason: ReasonCode::Success,
                session_expiry_secs: None,
                reason_string: None,
                user_properties: UserProperties::default(),
                server_reference: None,
            },
            Version::V5 => {
                Disconnect { reason, session_expiry_secs, reason_string, user_properties, server_reference }
            }
        }
    })
}

fn auth() -> impl Strategy<Value = Auth<'static>> {
    (reason(PacketType::Auth), text(), option::of(bytes()), option::of(text()), users()).prop_map(
        |(reason, method, data, reason_string, user_properties)| Auth {
            reason,
            method: Some(method),
            data: data.map(Secret),
            reason_string,
            user_properties,
        },
    )
}

/// Any packet that a client or a server of this version may send.
pub(crate) fn packet(version: Version) -> BoxedStrategy<Packet<'static>> {
    let both = prop_oneof![
        connect(version).prop_map(|packet| Packet::Connect(Box::new(packet))),
        connack(version).prop_map(Packet::ConnAck),
        publish(version).prop_map(Packet::Publish),
        ack(version, PacketType::PubAck).prop_map(Packet::PubAck),
        ack(version, PacketType::PubRec).prop_map(Packet::PubRec),
        ack(version, PacketType::PubRel).prop_map(Packet::PubRel),
        ack(version, PacketType::PubComp).prop_map(Packet::PubComp),
        subscribe(version),
        suback(version, PacketType::SubAck).prop_map(Packet::SubAck),
        unsubscribe(version),
        suback(version, PacketType::UnsubAck).prop_map(Packet::UnsubAck),
        Just(Packet::PingReq),
        Just(Packet::PingResp),
        disconnect(version).prop_map(Packet::Disconnect),
    ];
    match version {
        Version::V4 => both.boxed(),
        Version::V5 => prop_oneof![14 => both, 1 => auth().prop_map(Packet::Auth)].boxed(),
    }
}

pub(crate) fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V4), Just(Version::V5)]
}

/// Any packet with its version.
pub(crate) fn versioned() -> impl Strategy<Value = (Version, Packet<'static>)> {
    version().prop_flat_map(|version| (Just(version), packet(version)))
}

/// The bytes of a packet, which must be one that can be written.
pub(crate) fn encoded(version: Version, packet: &Packet<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let len = encode::packet(&mut out, version, packet).unwrap();
    assert_eq!(len, out.len());
    out
}
