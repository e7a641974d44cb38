//! Acknowledgements of a connection's publishes, let out in the order of their arrival `[MQTT-4.6.0-2]`, whichever
//! shard or disk finishes first.

use crate::io::ConnId;
use katydid_chat::code::Code;
use katydid_mqtt::{packet::PacketId, reason::ReasonCode};
use std::collections::VecDeque;

/// Names one pending acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AckToken {
    pub(crate) conn: ConnId,
    /// Index of the session that published.
    pub(crate) session: u32,
    index: u32,
}

/// What an acknowledgement says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) reason: ReasonCode,
    /// Number and time in the room, where it is a room's message.
    pub(crate) numbered: Option<(u64, u64)>,
    /// Why chat refused it.
    pub(crate) code: Option<Code>,
}

impl Outcome {
    pub(crate) const SUCCESS: Self = Self { reason: ReasonCode::Success, numbered: None, code: None };

    pub(crate) fn refused(reason: ReasonCode) -> Self {
        Self { reason, numbered: None, code: None }
    }

    /// Chat refused it.
    pub(crate) fn denied(code: Code) -> Self {
        Self { reason: reason_of(code), numbered: None, code: Some(code) }
    }
}

/// The reason code that says most nearly what a code says.
pub(crate) fn reason_of(code: Code) -> ReasonCode {
    match code {
        Code::RateSignIn | Code::RatePassword | Code::RateRequests => ReasonCode::QuotaExceeded,
        Code::TooMany | Code::Full | Code::Limit | Code::MessageTooLong => ReasonCode::QuotaExceeded,
        Code::BadEvent | Code::MessageNotFound => ReasonCode::PayloadFormatInvalid,
        _ => ReasonCode::NotAuthorized,
    }
}

/// The same for CONNACK.
pub(crate) fn sign_in_reason(code: Code) -> ReasonCode {
    match code {
        Code::LoginNameUsed | Code::LoginBlocked | Code::LoginAnonymousRefused => ReasonCode::NotAuthorized,
        Code::LoginBadExchange | Code::LoginOtherAccount => ReasonCode::NotAuthorized,
        Code::LoginNoScram => ReasonCode::BadAuthenticationMethod,
        Code::RateSignIn => ReasonCode::ConnectionRateExceeded,
        _ => ReasonCode::BadUserNameOrPassword,
    }
}

/// The same for the DISCONNECT of somebody who shows anew who it is, and fails.
pub(crate) fn farewell_reason(code: Code) -> ReasonCode {
    match code {
        Code::RateSignIn => ReasonCode::ConnectionRateExceeded,
        Code::LoginAccessExpired => ReasonCode::MaximumConnectTime,
        _ => ReasonCode::NotAuthorized,
    }
}

/// A PUBACK or PUBREC to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PublishAck {
    pub(crate) packet_id: PacketId,
    /// PUBREC instead of PUBACK.
    pub(crate) is_rec: bool,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
struct Pending {
    packet_id: PacketId,
    is_rec: bool,
    outcome: Option<Outcome>,
}

/// The acknowledgements that a connection owes.
#[derive(Debug, Default)]
pub(crate) struct AckQueue {
    pending: VecDeque<Pending>,
    /// Index of the first pending one.
    base: u32,
}

impl AckQueue {
    /// Opens an acknowledgement whose outcome is not known yet.
    pub(crate) fn open(&mut self, conn: ConnId, session: u32, packet_id: PacketId, is_rec: bool) -> AckToken {
        let index = self.base.wrapping_add(self.pending.len() as u32);
        self.pending.push_back(Pending { packet_id, is_rec, outcome: None });
        AckToken { conn, session, index }
    }

    /// Settles an acknowledgement; a token of an earlier connection on the slot never gets here.
    pub(crate) fn settle(&mut self, token: AckToken, outcome: Outcome) {
        let position = token.index.wrapping_sub(self.base) as usize;
        if let Some(pending) = self.pending.get_mut(position) {
            pending.outcome = Some(outcome);
        }
    }

    /// Whether a PUBREC for this identifier is owed already.
    pub(crate) fn owes_rec(&self, packet_id: PacketId) -> bool {
        self.pending.iter().any(|pending| pending.is_rec && pending.packet_id == packet_id)
    }

    /// The next acknowledgement that may leave.
    pub(crate) fn pop_ready(&mut self) -> Option<PublishAck> {
        let front = self.pending.front()?;
        let ready = PublishAck { packet_id: front.packet_id, is_rec: front.is_rec, outcome: front.outcome? };
        self.pending.pop_front();
        self.base = self.base.wrapping_add(1);
        if self.pending.is_empty() && self.pending.capacity() > 64 {
            self.pending = VecDeque::new();
        }
        Some(ready)
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }
}
