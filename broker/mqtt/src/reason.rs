//! The reason codes of MQTT 5.0 (section 2.4), used for 3.1.1 too where a return code has a counterpart.
//!
//! Owns the numbers and the tables that say which packet may carry which; knows nothing of when to send one.

use crate::packet::PacketType;

macro_rules! reason_codes {
    ($($(#[doc = $doc:literal])* $name:ident = $value:literal,)*) => {
        /// A reason code; values below 0x80 say success.
        ///
        /// 0x00 is Success, Normal Disconnection and Granted QoS 0 at once.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ReasonCode {
            $($(#[doc = $doc])* $name = $value,)*
        }

        impl ReasonCode {
            /// The reason code of a byte, where MQTT 5.0 defines one.
            pub fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

reason_codes! {
    /// Success, normal disconnection, granted QoS 0.
    Success = 0x00,
    /// Granted QoS 1.
    GrantedQoS1 = 0x01,
    /// Granted QoS 2.
    GrantedQoS2 = 0x02,
    /// Disconnect with will message.
    DisconnectWithWill = 0x04,
    /// No matching subscribers.
    NoMatchingSubscribers = 0x10,
    /// No subscription existed.
    NoSubscriptionExisted = 0x11,
    /// Continue authentication.
    ContinueAuthentication = 0x18,
    /// Re-authenticate.
    ReAuthenticate = 0x19,
    /// Unspecified error.
    UnspecifiedError = 0x80,
    /// Malformed packet.
    MalformedPacket = 0x81,
    /// Protocol error.
    ProtocolError = 0x82,
    /// Implementation specific error.
    ImplementationSpecificError = 0x83,
    /// Unsupported protocol version.
    UnsupportedProtocolVersion = 0x84,
    /// Client identifier not valid.
    ClientIdentifierNotValid = 0x85,
    /// Bad user name or password.
    BadUserNameOrPassword = 0x86,
    /// Not authorized.
    NotAuthorized = 0x87,
    /// Server unavailable.
    ServerUnavailable = 0x88,
    /// Server busy.
    ServerBusy = 0x89,
    /// Banned.
    Banned = 0x8A,
    /// Server shutting down.
    ServerShuttingDown = 0x8B,
    /// Bad authentication method.
    BadAuthenticationMethod = 0x8C,
    /// Keep alive time-out.
    KeepAliveTimeout = 0x8D,
    /// Session taken over.
    SessionTakenOver = 0x8E,
    /// Topic filter invalid.
    TopicFilterInvalid = 0x8F,
    /// Topic name invalid.
    TopicNameInvalid = 0x90,
    /// Packet identifier in use.
    PacketIdentifierInUse = 0x91,
    /// Packet identifier not found.
    PacketIdentifierNotFound = 0x92,
    /// Receive maximum exceeded.
    ReceiveMaximumExceeded = 0x93,
    /// Topic alias invalid.
    TopicAliasInvalid = 0x94,
    /// Packet too large.
    PacketTooLarge = 0x95,
    /// Message rate too high.
    MessageRateTooHigh = 0x96,
    /// Quota exceeded.
    QuotaExceeded = 0x97,
    /// Administrative action.
    AdministrativeAction = 0x98,
    /// Payload format invalid.
    PayloadFormatInvalid = 0x99,
    /// Retain not supported.
    RetainNotSupported = 0x9A,
    /// QoS not supported.
    QoSNotSupported = 0x9B,
    /// Use another server.
    UseAnotherServer = 0x9C,
    /// Server moved.
    ServerMoved = 0x9D,
    /// Shared subscriptions not supported.
    SharedSubscriptionsNotSupported = 0x9E,
    /// Connection rate exceeded.
    ConnectionRateExceeded = 0x9F,
    /// Maximum connect time.
    MaximumConnectTime = 0xA0,
    /// Subscription identifiers not supported.
    SubscriptionIdentifiersNotSupported = 0xA1,
    /// Wildcard subscriptions not supported.
    WildcardSubscriptionsNotSupported = 0xA2,
}

impl ReasonCode {
    /// Whether the code says that something failed.
    pub fn is_error(self) -> bool {
        self as u8 >= 0x80
    }

    /// Whether a packet of this type may carry the code, whoever sends it (the tables of section 3).
    ///
    /// Types without reason codes carry none.
    pub fn is_for(self, packet_type: PacketType) -> bool {
        let code = self as u8;
        match packet_type {
            PacketType::ConnAck => {
                matches!(code, 0x00 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F)
            }
            PacketType::PubAck | PacketType::PubRec => {
                matches!(code, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
            }
            PacketType::PubRel | PacketType::PubComp => matches!(code, 0x00 | 0x92),
            PacketType::SubAck => {
                matches!(code, 0x00..=0x02 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2)
            }
            PacketType::UnsubAck => matches!(code, 0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91),
            PacketType::Disconnect => {
                self.is_for_disconnect_by_client() || self.is_for_disconnect_by_server()
            }
            PacketType::Auth => matches!(code, 0x00 | 0x18 | 0x19),
            PacketType::Connect
            | PacketType::Publish
            | PacketType::Subscribe
            | PacketType::Unsubscribe
            | PacketType::PingReq
            | PacketType::PingResp => false,
        }
    }

    /// Whether a client may send the code in DISCONNECT, section 3.14.2.1.
    pub fn is_for_disconnect_by_client(self) -> bool {
        matches!(self as u8, 0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99)
    }

    /// Whether a server may send the code in DISCONNECT, section 3.14.2.1; 0x8C is in the table of section 2.4 only.
    pub fn is_for_disconnect_by_server(self) -> bool {
        matches!(
            self as u8,
            0x00 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B..=0x8F | 0x90 | 0x93..=0xA2
        )
    }

    /// The return code of a 3.1.1 CONNACK that says the same or the nearest, 0 to 5.
    ///
    /// `None` where 3.1.1 wants the connection closed without a CONNACK, as after a malformed CONNECT
    /// `[3.1.1 MQTT-3.1.4-1]`, or where the code is none for CONNACK.
    pub fn connack_return_code(self) -> Option<u8> {
        Some(match self {
            Self::Success => 0,
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::UnspecifiedError
            | Self::ImplementationSpecificError
            | Self::ServerUnavailable
            | Self::ServerBusy
            | Self::QuotaExceeded
            | Self::UseAnotherServer
            | Self::ServerMoved
            | Self::ConnectionRateExceeded => 3,
            Self::BadUserNameOrPassword | Self::BadAuthenticationMethod => 4,
            Self::NotAuthorized
            | Self::Banned
            | Self::TopicNameInvalid
            | Self::PayloadFormatInvalid
            | Self::RetainNotSupported
            | Self::QoSNotSupported => 5,
            _ => return None,
        })
    }

    /// The reason code of a 3.1.1 CONNACK's return code; `None` for those that are reserved.
    pub fn from_connack_return_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Success,
            1 => Self::UnsupportedProtocolVersion,
            2 => Self::ClientIdentifierNotValid,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_byte_and_a_packet() {
        let mut count = 0;
        for byte in 0..=u8::MAX {
            let Some(reason) = ReasonCode::from_byte(byte) else { continue };
            count += 1;
            assert_eq!(reason as u8, byte);
            assert_eq!(reason.is_error(), byte >= 0x80);
            let used = (0x10..=0xF0).step_by(0x10).filter_map(PacketType::of).any(|kind| reason.is_for(kind));
            assert!(used || byte == 0x8D, "{reason:?} is in no packet");
        }
        assert_eq!(count, 43);
    }

    #[test]
    fn return_codes_of_3_1_1_survive_both_mappings() {
        for code in 0..=5 {
            let reason = ReasonCode::from_connack_return_code(code).unwrap();
            assert_eq!(reason.connack_return_code(), Some(code));
        }
        assert_eq!(ReasonCode::from_connack_return_code(6), None);
        assert_eq!(ReasonCode::MalformedPacket.connack_return_code(), None);
        for byte in 0..=u8::MAX {
            let Some(reason) = ReasonCode::from_byte(byte) else { continue };
            if reason.connack_return_code().is_some() {
                assert!(reason.is_for(PacketType::ConnAck), "{reason:?}");
            }
        }
    }
}
