//! What the broker's reason codes mean as refusals. The code of `topics.md` that the broker gives as the reason string, or
//! in a user property, goes before them.

use crate::{
    Refusal,
    contract::{CODE, property},
};
use katydid_chat::code::Code;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectReturnCode, Disconnect, DisconnectReasonCode, PubAck, PubAckReason, SubscribeReasonCode,
};

/// A refusal from what the broker sent along, or else from the reason code alone.
fn refusal(
    fallback: &'static str,
    what: String,
    reason: Option<&String>,
    properties: &[(String, String)],
) -> Refusal {
    if let Some(code) = property(properties, CODE) {
        return Refusal::new(code.to_owned(), reason.cloned().unwrap_or(what));
    }
    match reason {
        None => Refusal::new(fallback, what),
        Some(reason) => match Code::parse(reason) {
            Some(code) => Refusal::new(code.as_str(), code.reason()),
            None => Refusal::new(fallback, reason.clone()),
        },
    }
}

/// CONNACK with a code that is not success.
pub(crate) fn of_connack(connack: &ConnAck) -> Refusal {
    use ConnectReturnCode as C;
    let fallback = match connack.code {
        C::BadUserNamePassword => "login.wrong-password",
        C::NotAuthorized => "login.refused",
        C::Banned => "login.blocked",
        C::ConnectionRateExceeded => "login.too-many",
        C::ClientIdentifierNotValid => "login.client-id",
        C::QuotaExceeded => "mqtt.quota-exceeded",
        C::ServerBusy | C::ServerUnavailable | C::ServiceUnavailable => "mqtt.unavailable",
        _ => "mqtt.refused",
    };
    let what = format!("the broker refused the connection: {:?}", connack.code);
    match &connack.properties {
        Some(more) => refusal(fallback, what, more.reason_string.as_ref(), &more.user_properties),
        None => Refusal::new(fallback, what),
    }
}

/// Whether another attempt with the same credentials cannot do better.
pub(crate) fn is_final(code: ConnectReturnCode) -> bool {
    use ConnectReturnCode as C;
    matches!(
        code,
        C::RefusedProtocolVersion
            | C::BadClientId
            | C::MalformedPacket
            | C::ProtocolError
            | C::UnsupportedProtocolVersion
            | C::ClientIdentifierNotValid
            | C::BadUserNamePassword
            | C::NotAuthorized
            | C::Banned
            | C::BadAuthenticationMethod
            | C::TopicNameInvalid
            | C::PacketTooLarge
    )
}

/// PUBACK: `None` when it is good.
pub(crate) fn of_puback(ack: &PubAck) -> Option<Refusal> {
    let fallback = match ack.reason {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => return None,
        PubAckReason::NotAuthorized => "mqtt.not-authorized",
        PubAckReason::TopicNameInvalid => "mqtt.topic-invalid",
        PubAckReason::QuotaExceeded => "mqtt.quota-exceeded",
        PubAckReason::PayloadFormatInvalid => "mqtt.payload-invalid",
        _ => "mqtt.refused",
    };
    let what = format!("the broker refused the message: {:?}", ack.reason);
    Some(match &ack.properties {
        Some(more) => refusal(fallback, what, more.reason_string.as_ref(), &more.user_properties),
        None => Refusal::new(fallback, what),
    })
}

/// One code of SUBACK, with the properties of the packet.
pub(crate) fn of_suback(
    code: SubscribeReasonCode,
    reason: Option<&String>,
    properties: &[(String, String)],
) -> Result<(), Refusal> {
    let fallback = match code {
        SubscribeReasonCode::Success(_) => return Ok(()),
        SubscribeReasonCode::NotAuthorized => "mqtt.not-authorized",
        SubscribeReasonCode::TopicFilterInvalid => "mqtt.topic-invalid",
        SubscribeReasonCode::QuotaExceeded => "mqtt.quota-exceeded",
        _ => "mqtt.refused",
    };
    Err(refusal(fallback, format!("the broker refused the subscription: {code:?}"), reason, properties))
}

/// DISCONNECT from the broker, and whether connecting again makes no sense.
pub(crate) fn of_disconnect(packet: &Disconnect) -> (Refusal, bool) {
    use DisconnectReasonCode as D;
    let (fallback, is_final) = match packet.reason_code {
        D::SessionTakenOver => ("mqtt.taken-over", true),
        D::AdministrativeAction => ("mqtt.administrative", true),
        D::NotAuthorized => ("mqtt.not-authorized", true),
        D::ServerShuttingDown | D::ServerBusy => ("mqtt.unavailable", false),
        D::QuotaExceeded | D::MessageRateTooHigh => ("mqtt.quota-exceeded", false),
        D::PacketTooLarge => (Refusal::TOO_LARGE, false),
        _ => ("mqtt.disconnected", false),
    };
    let what = format!("the broker closed the connection: {:?}", packet.reason_code);
    let refusal = match &packet.properties {
        Some(more) => refusal(fallback, what, more.reason_string.as_ref(), &more.user_properties),
        None => Refusal::new(fallback, what),
    };
    (refusal, is_final)
}
