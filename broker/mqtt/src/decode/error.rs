//! Why bytes are not a packet, and what answers them.

use std::fmt;

use crate::reason::ReasonCode;

/// Bytes that are not a packet of MQTT; the connection they came from is to be closed `[MQTT-4.13.1-1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    /// Whose rule was broken, and so how the connection ends.
    pub kind: ErrorKind,
    /// The reason code of the CONNACK or DISCONNECT that answers it in 5.0.
    pub reason: ReasonCode,
    /// What is wrong, for logs and for a reason string; holds nothing that the peer sent.
    pub detail: &'static str,
}

/// The classes of errors of section 4.13 of MQTT 5.0, and two that want an answer of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The packet cannot be parsed: 0x81.
    Malformed,
    /// The packet can be parsed and breaks a rule: 0x82, or a more exact code.
    Protocol,
    /// The packet is longer than the limit of the caller: 0x95.
    TooLarge,
    /// A CONNECT for another protocol or version.
    Unsupported(Refusal),
}

/// How to refuse a CONNECT for another protocol or version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// With a CONNACK in the form of 5.0 and reason code 0x84 `[MQTT-3.1.2-2]`: that is what its sender reads.
    V5,
    /// With a CONNACK in the form of 3.1.1 and return code 1 `[3.1.1 MQTT-3.1.2-2]`.
    V4,
    /// Without an answer: what came is not MQTT `[MQTT-3.1.2-1]`.
    Silent,
}

impl DecodeError {
    /// An error that answers with 0x81.
    pub(crate) const fn malformed(detail: &'static str) -> Self {
        Self { kind: ErrorKind::Malformed, reason: ReasonCode::MalformedPacket, detail }
    }

    /// An error that answers with 0x82.
    pub(crate) const fn protocol(detail: &'static str) -> Self {
        Self::protocol_as(ReasonCode::ProtocolError, detail)
    }

    /// A protocol error for which there is a more exact reason code.
    pub(crate) const fn protocol_as(reason: ReasonCode, detail: &'static str) -> Self {
        Self { kind: ErrorKind::Protocol, reason, detail }
    }

    /// A CONNECT for another protocol or version.
    pub(crate) const fn unsupported(refusal: Refusal) -> Self {
        Self {
            kind: ErrorKind::Unsupported(refusal),
            reason: ReasonCode::UnsupportedProtocolVersion,
            detail: "unsupported protocol name or level",
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02X})", self.detail, self.reason as u8)
    }
}

impl std::error::Error for DecodeError {}
