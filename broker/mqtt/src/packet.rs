//! The packets of MQTT 3.1.1 and 5.0, borrowed from the bytes they arrived in.
//!
//! A value of these types has passed every check that needs no state: flags, lengths, UTF-8, packet identifiers,
//! property types and their multiplicity. Nothing here allocates for a PUBLISH, and `Debug` shows no payload, no
//! password and no value of a user property.

mod filters;
mod redacted;

pub use filters::{SubscribeFiltersIter, UnsubscribeFiltersIter};

use crate::reason::ReasonCode;

/// The protocol version that a connection speaks, from its CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V4 = 4,
    /// MQTT 5.0, protocol level 5.
    V5 = 5,
}

/// Quality of service of a message or a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// At most once.
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The quality of service of two bits, or of a byte that holds nothing else.
    #[inline]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// A packet identifier; never zero `[MQTT-2.2.1-3]`.
pub type PacketId = std::num::NonZeroU16;

/// The packet types of section 2.1.2, with their number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// CONNECT, client to server.
    Connect = 1,
    /// CONNACK, server to client.
    ConnAck = 2,
    /// PUBLISH, both ways.
    Publish = 3,
    /// PUBACK, both ways.
    PubAck = 4,
    /// PUBREC, both ways.
    PubRec = 5,
    /// PUBREL, both ways.
    PubRel = 6,
    /// PUBCOMP, both ways.
    PubComp = 7,
    /// SUBSCRIBE, client to server.
    Subscribe = 8,
    /// SUBACK, server to client.
    SubAck = 9,
    /// UNSUBSCRIBE, client to server.
    Unsubscribe = 10,
    /// UNSUBACK, server to client.
    UnsubAck = 11,
    /// PINGREQ, client to server.
    PingReq = 12,
    /// PINGRESP, server to client.
    PingResp = 13,
    /// DISCONNECT, client to server; both ways in 5.0.
    Disconnect = 14,
    /// AUTH, both ways; 5.0 only.
    Auth = 15,
}

impl PacketType {
    /// The type in the upper half of a packet's first byte; `None` for 0, which is reserved.
    #[inline]
    pub const fn of(first_byte: u8) -> Option<Self> {
        Some(match first_byte >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// Whether only a server sends it, so that a server that receives it closes the connection with 0x82.
    #[inline]
    pub const fn is_from_server_only(self) -> bool {
        matches!(self, Self::ConnAck | Self::SubAck | Self::UnsubAck | Self::PingResp)
    }

    /// The first byte of a packet of this type, other than PUBLISH, with the flags that MQTT fixes for it.
    #[inline]
    pub(crate) const fn first_byte(self) -> u8 {
        (self as u8) << 4
            | match self {
                Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
                _ => 0,
            }
    }
}

/// One packet as it arrived, borrowed from the receive buffer.
#[derive(Debug, Clone, PartialEq)]
pub enum Packet<'a> {
    /// A client opens the connection.
    Connect(Box<Connect<'a>>),
    /// The server's answer to CONNECT (decoded for clients and tests).
    ConnAck(ConnAck<'a>),
    /// An application message.
    Publish(Publish<'a>),
    /// Acknowledges a QoS 1 message.
    PubAck(Ack<'a>),
    /// First answer to a QoS 2 message.
    PubRec(Ack<'a>),
    /// Releases a QoS 2 message.
    PubRel(Ack<'a>),
    /// Completes a QoS 2 message.
    PubComp(Ack<'a>),
    /// Asks for messages.
    Subscribe(Subscribe<'a>),
    /// Answers SUBSCRIBE.
    SubAck(SubAck<'a>),
    /// Asks for no more messages.
    Unsubscribe(Unsubscribe<'a>),
    /// Answers UNSUBSCRIBE; without reason codes in 3.1.1.
    UnsubAck(SubAck<'a>),
    /// Keeps the connection alive.
    PingReq,
    /// Answers PINGREQ.
    PingResp,
    /// Closes the connection.
    Disconnect(Disconnect<'a>),
    /// Carries enhanced authentication; 5.0 only.
    Auth(Auth<'a>),
}

/// CONNECT.
#[derive(Debug, Clone, PartialEq)]
pub struct Connect<'a> {
    /// Protocol version of everything that follows on the connection.
    pub version: Version,
    /// Clean Start (5.0) or Clean Session (3.1.1).
    pub clean_start: bool,
    /// Keep alive in seconds; 0 turns it off.
    pub keep_alive_secs: u16,
    /// Client identifier; may be empty.
    pub client_id: &'a str,
    /// Will message.
    pub will: Option<Will<'a>>,
    /// User name.
    pub user_name: Option<&'a str>,
    /// Password.
    pub password: Option<Secret<'a>>,
    /// Properties; all absent in 3.1.1.
    pub properties: ConnectProperties<'a>,
}

/// Bytes that never show in `Debug` output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret<'a>(pub &'a [u8]);

impl std::fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Properties of CONNECT.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConnectProperties<'a> {
    /// Session expiry interval in seconds; absent means 0, `u32::MAX` means never.
    pub session_expiry_secs: Option<u32>,
    /// How many QoS 1 and 2 messages the client takes at once; absent means 65,535.
    pub receive_maximum: Option<u16>,
    /// The longest packet that the client takes.
    pub maximum_packet_size: Option<u32>,
    /// How many topic aliases the client takes.
    pub topic_alias_maximum: Option<u16>,
    /// Whether the client asks for response information.
    pub request_response_information: Option<bool>,
    /// Whether reason strings and user properties may be sent on acknowledgements; absent means yes.
    pub request_problem_information: Option<bool>,
    /// User properties.
    pub user_properties: UserProperties<'a>,
    /// Enhanced authentication method.
    pub authentication_method: Option<&'a str>,
    /// Enhanced authentication data.
    pub authentication_data: Option<Secret<'a>>,
}

/// The will message of a CONNECT.
#[derive(Clone, PartialEq)]
pub struct Will<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// Payload.
    pub payload: &'a [u8],
    /// Quality of service at which it will be published.
    pub qos: QoS,
    /// Whether it will be retained.
    pub retain: bool,
    /// Seconds between the end of the connection and the will's publication; 0 in 3.1.1.
    pub delay_secs: u32,
    /// Properties that travel with the message.
    pub properties: PublishProperties<'a>,
}

/// PUBLISH.
#[derive(Clone, PartialEq)]
pub struct Publish<'a> {
    /// Re-delivery flag.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// Retain flag.
    pub retain: bool,
    /// Topic name; empty only in 5.0 together with a topic alias.
    pub topic: &'a str,
    /// Present exactly when `qos` is 1 or 2.
    pub packet_id: Option<PacketId>,
    /// Topic alias, not zero; 5.0 only.
    pub topic_alias: Option<u16>,
    /// Properties that travel with the message.
    pub properties: PublishProperties<'a>,
    /// Payload.
    pub payload: &'a [u8],
}

/// Properties of a message that a server forwards, plus those that only a server sends.
#[derive(Clone, PartialEq, Default)]
pub struct PublishProperties<'a> {
    /// Payload format indicator: `Some(true)` says UTF-8.
    pub payload_is_utf8: Option<bool>,
    /// Message expiry interval in seconds.
    pub message_expiry_secs: Option<u32>,
    /// Content type.
    pub content_type: Option<&'a str>,
    /// Response topic; a valid topic name without wildcards.
    pub response_topic: Option<&'a str>,
    /// Correlation data.
    pub correlation_data: Option<&'a [u8]>,
    /// User properties in order.
    pub user_properties: UserProperties<'a>,
    /// Subscription identifiers; only in packets from a server.
    pub subscription_ids: SubscriptionIds<'a>,
}

/// User properties in their encoded form and order: already validated, iterated without allocation.
///
/// The encoded bytes are those of the properties section, other properties left out or skipped by the iterator.
#[derive(Clone, Copy, Default)]
pub struct UserProperties<'a> {
    /// A validated properties section; the iterator yields its user properties (identifier 0x26) only.
    pub(crate) section: &'a [u8],
}

/// Subscription identifiers of a PUBLISH from a server, in order: already validated, iterated without allocation.
#[derive(Clone, Copy, Default)]
pub struct SubscriptionIds<'a> {
    /// A validated properties section; the iterator yields its subscription identifiers (0x0B) only.
    pub(crate) section: &'a [u8],
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP.
#[derive(Debug, Clone, PartialEq)]
pub struct Ack<'a> {
    /// Packet identifier.
    pub packet_id: PacketId,
    /// Reason code; success in 3.1.1 and where it is left out.
    pub reason: ReasonCode,
    /// Reason string.
    pub reason_string: Option<&'a str>,
    /// User properties.
    pub user_properties: UserProperties<'a>,
}

/// CONNACK.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnAck<'a> {
    /// Whether the server already had the session.
    pub session_present: bool,
    /// Reason code; 3.1.1 return codes 1 to 5 are mapped to their 5.0 counterparts.
    pub reason: ReasonCode,
    /// Properties; all absent in 3.1.1.
    pub properties: ConnAckProperties<'a>,
}

/// Properties of CONNACK.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConnAckProperties<'a> {
    /// Session expiry interval in seconds that the server uses.
    pub session_expiry_secs: Option<u32>,
    /// How many QoS 1 and 2 messages the server takes at once.
    pub receive_maximum: Option<u16>,
    /// Highest quality of service that the server takes; absent means 2.
    pub maximum_qos: Option<QoS>,
    /// Whether retained messages are supported.
    pub retain_available: Option<bool>,
    /// The longest packet that the server takes.
    pub maximum_packet_size: Option<u32>,
    /// Client identifier made by the server.
    pub assigned_client_id: Option<&'a str>,
    /// How many topic aliases the server takes.
    pub topic_alias_maximum: Option<u16>,
    /// Reason string.
    pub reason_string: Option<&'a str>,
    /// User properties.
    pub user_properties: UserProperties<'a>,
    /// Whether filters may hold wildcards.
    pub wildcard_subscription_available: Option<bool>,
    /// Whether subscription identifiers are supported.
    pub subscription_ids_available: Option<bool>,
    /// Whether shared subscriptions are supported.
    pub shared_subscription_available: Option<bool>,
    /// Keep alive in seconds that the client must use.
    pub server_keep_alive_secs: Option<u16>,
    /// Response information.
    pub response_information: Option<&'a str>,
    /// Another server to use.
    pub server_reference: Option<&'a str>,
    /// Enhanced authentication method.
    pub authentication_method: Option<&'a str>,
    /// Enhanced authentication data.
    pub authentication_data: Option<Secret<'a>>,
}

/// SUBSCRIBE.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribe<'a> {
    /// Packet identifier.
    pub packet_id: PacketId,
    /// Subscription identifier, not zero; 5.0 only.
    pub subscription_id: Option<u32>,
    /// User properties.
    pub user_properties: UserProperties<'a>,
    /// The filters, at least one; validated as UTF-8 and options, not empty, not yet as filters.
    pub filters: SubscribeFilters<'a>,
}

/// The filters of a SUBSCRIBE with their options: already validated, iterated without allocation.
#[derive(Clone, Copy)]
pub struct SubscribeFilters<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) version: Version,
}

/// The options of one subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Highest quality of service of deliveries.
    pub qos: QoS,
    /// Leave out what this client published itself; 5.0 only.
    pub no_local: bool,
    /// Keep the publisher's RETAIN flag; 5.0 only.
    pub retain_as_published: bool,
    /// What to do with retained messages.
    pub retain_handling: RetainHandling,
}

/// Retain handling of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    /// Send retained messages at every subscribe; always in 3.1.1.
    Send = 0,
    /// Send them only when the subscription is new.
    SendIfNew = 1,
    /// Never send them.
    DoNotSend = 2,
}

/// SUBACK, and UNSUBACK of 5.0.
#[derive(Debug, Clone, PartialEq)]
pub struct SubAck<'a> {
    /// Packet identifier.
    pub packet_id: PacketId,
    /// One reason code a filter, as they stand on the wire.
    pub codes: &'a [u8],
    /// Reason string.
    pub reason_string: Option<&'a str>,
    /// User properties.
    pub user_properties: UserProperties<'a>,
}

/// UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq)]
pub struct Unsubscribe<'a> {
    /// Packet identifier.
    pub packet_id: PacketId,
    /// User properties.
    pub user_properties: UserProperties<'a>,
    /// The filters, at least one; validated as UTF-8, not empty, not yet as filters.
    pub filters: UnsubscribeFilters<'a>,
}

/// The filters of an UNSUBSCRIBE: already validated, iterated without allocation.
#[derive(Clone, Copy)]
pub struct UnsubscribeFilters<'a> {
    pub(crate) bytes: &'a [u8],
}

/// DISCONNECT.
#[derive(Debug, Clone, PartialEq)]
pub struct Disconnect<'a> {
    /// Reason code; normal disconnection in 3.1.1 and where it is left out.
    pub reason: ReasonCode,
    /// Session expiry interval in seconds, from clients only.
    pub session_expiry_secs: Option<u32>,
    /// Reason string.
    pub reason_string: Option<&'a str>,
    /// User properties.
    pub user_properties: UserProperties<'a>,
    /// Another server to use.
    pub server_reference: Option<&'a str>,
}

/// AUTH.
#[derive(Debug, Clone, PartialEq)]
pub struct Auth<'a> {
    /// Success, continue or re-authenticate.
    pub reason: ReasonCode,
    /// Authentication method.
    pub method: Option<&'a str>,
    /// Authentication data.
    pub data: Option<Secret<'a>>,
    /// Reason string.
    pub reason_string: Option<&'a str>,
    /// User properties.
    pub user_properties: UserProperties<'a>,
}
