//! Enhanced authentication (section 4.12): the exchange of AUTH packets between CONNECT and CONNACK, and again while
//! connected.
//!
//! Owns where an exchange stands and what its messages mean for the connection. It must never decide who may enter: that is
//! the directory's, which is asked before anything is checked and told how it ended, so that failures count as those of
//! passwords do. Invariant: a connection with a method has one exchange at a time, and one that fails ends the connection
//! `[MQTT-4.12.0-4]` `[MQTT-4.12.1-2]`.

mod bearer;

use crate::{
    Engine,
    acks::{farewell_reason, sign_in_reason},
    desk::{Secret, Shown},
    handshake::Request,
    io::{ConnId, Output, Vouching},
    link::{Pause, Phase},
    receive::Fault,
    timers::Timer,
};
use katydid_chat::{
    code::Code,
    directory::SignIn,
    scram::{self, Challenge, ClientFirst},
};
use katydid_mqtt::{
    encode,
    packet::{self, Disconnect, UserProperties, Version},
    reason::ReasonCode,
};
use std::sync::Arc;

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// RFC 5802, RFC 7677.
    Scram,
    /// An access token in the message of RFC 7628.
    Bearer,
    /// An access token, and nothing else.
    Token,
}

impl Method {
    const ALL: [Self; 3] = [Self::Scram, Self::Bearer, Self::Token];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Scram => scram::METHOD,
            Self::Bearer => "OAUTHBEARER",
            Self::Token => "OAUTH2-JWT",
        }
    }
}

/// How somebody was let in who may have to show it again.
#[derive(Debug)]
pub(crate) struct Auth {
    /// That of CONNECT; `None` where an access token came as password.
    pub(crate) method: Option<Method>,
    pub(crate) step: Step,
    /// When the access token expires, in monotonic milliseconds; 0 is never.
    pub(crate) until_ms: u64,
}

/// Where an exchange stands.
///
/// ```text
/// Idle ─0x19─▶ Start ─no data─▶ Invited
///                └───────┬─────────┘
///                first message ──▶ Asked ──▶ Challenged ──▶ Proven ──▶ Idle      SCRAM
///                        └───────▶ Token ──▶ Checking ─────────────▶ Idle        access tokens
/// ```
#[derive(Debug)]
pub(crate) enum Step {
    /// There is none.
    Idle,
    /// It has begun with CONNECT or with AUTH 0x19.
    Start,
    /// The client was asked for its first message.
    Invited,
    /// The directory looks for what the proof is checked against.
    Asked(ClientFirst),
    /// The challenge is with the client.
    Challenged(Challenge),
    /// The proof is right; this is the server's own.
    Proven(String),
    /// The directory is asked whether an access token may be looked at.
    Token(Secret),
    /// It is being looked at, or the directory decides.
    Checking,
}

impl Auth {
    pub(crate) fn new(method: Option<Method>) -> Box<Self> {
        Box::new(Self { method, step: Step::Start, until_ms: 0 })
    }
}

impl Engine {
    /// Whether this server has the method, and what for.
    pub(crate) fn has_method(&self, method: Method) -> bool {
        self.settings.rooms.enabled && (method == Method::Scram || self.settings.chat.openid)
    }

    /// A CONNECT that names a method: it waits until the exchange is over.
    pub(crate) fn begin_exchange(
        &mut self,
        conn: ConnId,
        request: Request,
        method: Method,
        data: Option<&[u8]>,
    ) {
        let Some(link) = self.links.by_conn(conn) else { return };
        link.auth = Some(Auth::new(Some(method)));
        link.phase = Phase::Authenticating(Box::new(request));
        self.advance(conn, data);
    }

    /// AUTH: the exchange goes on, or one begins anew.
    pub(crate) fn on_auth(&mut self, conn: ConnId, packet: &packet::Auth<'_>) -> Result<(), Fault> {
        let fault = |detail| Err(Fault(ReasonCode::ProtocolError, detail));
        let Some(link) = self.links.by_conn(conn) else { return Ok(()) };
        let is_open = matches!(link.phase, Phase::Open(_));
        let Some((auth, method)) = link.auth.as_mut().and_then(|auth| auth.method.map(|it| (auth, it)))
        else {
            return fault("AUTH without an authentication method [MQTT-4.12.0-7]");
        };
        if packet.method != Some(method.as_str()) {
            return fault("AUTH of another method [MQTT-4.12.0-5] [MQTT-4.12.1-1]");
        }
        match (packet.reason, &auth.step) {
            (ReasonCode::ReAuthenticate, Step::Idle) if is_open => auth.step = Step::Start,
            (ReasonCode::ContinueAuthentication, Step::Invited | Step::Challenged(_)) => {}
            _ => return fault("AUTH that nobody waits for [MQTT-4.12.0-3]"),
        }
        self.advance(conn, packet.data.map(|data| data.0));
        Ok(())
    }

    /// Takes one message of the client.
    fn advance(&mut self, conn: ConnId, data: Option<&[u8]>) {
        let Some(auth) = self.links.by_conn(conn).and_then(|link| link.auth.as_mut()) else { return };
        let step = std::mem::replace(&mut auth.step, Step::Checking);
        match (auth.method, step, data) {
            (_, Step::Start, None) => {
                auth.step = Step::Invited;
                self.send_auth(conn, ReasonCode::ContinueAuthentication, None);
            }
            (Some(Method::Scram), Step::Start | Step::Invited, Some(data)) => {
                match ClientFirst::parse(data) {
                    Ok(first) => self.take_first(conn, first),
                    Err(_) => self.reject(conn, Code::LoginBadExchange),
                }
            }
            (Some(Method::Scram), Step::Challenged(challenge), Some(data)) => match challenge.finish(data) {
                Ok(signature) => {
                    auth.step = Step::Proven(signature);
                    self.ask_who(conn, Shown::Proven);
                }
                Err(scram::Fault::Wrong) => self.ask_who(conn, Shown::Failed),
                Err(scram::Fault::Malformed) => self.reject(conn, Code::LoginBadExchange),
            },
            (Some(Method::Bearer), Step::Start | Step::Invited, Some(data)) => match bearer::parse(data) {
                Some((name, token)) => self.take_token(conn, name.as_deref(), token),
                None => self.reject(conn, Code::LoginBadExchange),
            },
            (Some(Method::Token), Step::Start | Step::Invited, Some(data)) => {
                self.take_token(conn, None, data);
            }
            _ => self.reject(conn, Code::LoginBadExchange),
        }
    }

    fn take_first(&mut self, conn: ConnId, first: ClientFirst) {
        if !self.claim(conn, &first.name) {
            return self.reject(conn, Code::LoginOtherName);
        }
        if let Some(auth) = self.links.by_conn(conn).and_then(|link| link.auth.as_mut()) {
            auth.step = Step::Asked(first);
        }
        self.ask_who(conn, Shown::Scram);
    }

    fn take_token(&mut self, conn: ConnId, name: Option<&str>, token: &[u8]) {
        if name.is_some_and(|name| !self.claim(conn, name)) {
            return self.reject(conn, Code::LoginOtherName);
        }
        if let Some(auth) = self.links.by_conn(conn).and_then(|link| link.auth.as_mut()) {
            auth.step = Step::Token(Secret(token.to_vec()));
        }
        self.ask_who(conn, Shown::Token);
    }

    /// Who the client is to prove that it is: the session's user, or whom CONNECT names.
    fn claimed(&mut self, conn: ConnId) -> Option<Arc<str>> {
        match &self.links.by_conn(conn)?.phase {
            Phase::Verifying(request) | Phase::Authenticating(request) => request.account.clone(),
            Phase::Open(index) => {
                let index = *index;
                self.sessions.peek(index)?.account.clone()
            }
            Phase::Greeting | Phase::Closing => None,
        }
    }

    /// The exchange is about this name, unless it is about another one already.
    fn claim(&mut self, conn: ConnId, name: &str) -> bool {
        if let Some(claimed) = self.claimed(conn) {
            return *claimed == *name;
        }
        let Some(link) = self.links.by_conn(conn) else { return false };
        let (Phase::Verifying(request) | Phase::Authenticating(request)) = &mut link.phase else {
            return false;
        };
        request.account = Some(name.into());
        true
    }

    /// Asks the directory; a CONNECT is not read meanwhile.
    fn ask_who(&mut self, conn: ConnId, shown: Shown) {
        let name = self.claimed(conn).unwrap_or_else(|| "".into());
        let Some(link) = self.links.by_conn(conn) else { return };
        link.phase = match std::mem::replace(&mut link.phase, Phase::Closing) {
            Phase::Authenticating(request) => Phase::Verifying(request),
            phase => phase,
        };
        if matches!(link.phase, Phase::Verifying(_)) {
            self.links.pause(conn.slot, Pause::Entering);
        }
        self.sign_in(conn, name, shown);
    }

    /// What the client shows is not good: counted as a failure, and answered.
    pub(crate) fn reject(&mut self, conn: ConnId, code: Code) {
        self.ask_who(conn, Shown::Rejected(code));
    }

    /// The directory wants a proof by SCRAM.
    pub(crate) fn challenge(&mut self, conn: ConnId, verifier: scram::Verifier, nonce: &str) {
        let request = self.take_request(conn);
        let Some(link) = self.links.by_conn(conn) else { return };
        if let Some(request) = request {
            link.phase = Phase::Authenticating(request);
        }
        let Some(auth) = link.auth.as_mut() else { return };
        let Step::Asked(first) = &auth.step else { return };
        let (challenge, message) = Challenge::new(first, verifier, nonce);
        auth.step = Step::Challenged(challenge);
        self.send_auth(conn, ReasonCode::ContinueAuthentication, Some(message.as_bytes()));
    }

    /// The directory wants an access token to be looked at.
    pub(crate) fn check_token(&mut self, conn: ConnId) {
        let Some(link) = self.links.by_conn(conn) else { return };
        let token = match (&mut link.phase, link.auth.as_mut()) {
            (_, Some(auth)) => match std::mem::replace(&mut auth.step, Step::Checking) {
                Step::Token(token) => Some(token),
                _ => None,
            },
            (Phase::Verifying(request), None) => {
                link.auth = Some(Auth::new(None));
                request.password.take()
            }
            _ => None,
        };
        let token = token.map_or_else(Vec::new, |mut token| std::mem::take(&mut token.0));
        self.outputs.push_back(Output::VerifyToken { conn, token });
    }

    /// An access token was looked at.
    pub(crate) fn on_vouched(&mut self, conn: ConnId, vouching: Vouching) {
        let Some(link) = self.links.by_conn(conn) else { return };
        if matches!(link.phase, Phase::Closing) {
            return;
        }
        match vouching {
            Vouching::Good { user, identity, until_unix_ms } => {
                if !self.claim(conn, &user) {
                    return self.reject(conn, Code::LoginOtherName);
                }
                let left_ms = until_unix_ms.saturating_sub(self.now.unix_ms);
                let until_ms = self.now.mono_ms.saturating_add(left_ms);
                if let Some(auth) = self.links.by_conn(conn).and_then(|link| link.auth.as_mut()) {
                    auth.until_ms = until_ms;
                }
                self.ask_who(conn, Shown::Vouched(identity));
            }
            Vouching::Bad(code) => self.reject(conn, code),
            Vouching::NoKeys => {
                self.turn_away(conn, ReasonCode::ServerUnavailable, Some(Code::LoginProvider))
            }
            Vouching::Unchecked => self.turn_away(conn, ReasonCode::ServerBusy, None),
        }
    }

    /// Nobody looked at what the client shows.
    fn turn_away(&mut self, conn: ConnId, reason: ReasonCode, code: Option<Code>) {
        if self.take_request(conn).is_some() {
            self.refuse_connect_for(conn.slot, reason, code);
        } else {
            self.disconnect_for(conn.slot, ReasonCode::ServerBusy, code);
        }
    }

    /// The directory has answered about a client that is connected and shows again who it is.
    pub(crate) fn on_signed_in_again(&mut self, conn: ConnId, outcome: SignIn) {
        match outcome {
            SignIn::Enter { .. } => {
                let Some(auth) = self.links.by_conn(conn).and_then(|link| link.auth.as_mut()) else { return };
                let signature = match std::mem::replace(&mut auth.step, Step::Idle) {
                    Step::Proven(signature) => Some(signature),
                    _ => None,
                };
                self.send_auth(conn, ReasonCode::Success, signature.as_deref().map(str::as_bytes));
                self.watch_again(conn.slot);
            }
            SignIn::Challenge { verifier, nonce } => self.challenge(conn, *verifier, &nonce),
            SignIn::CheckToken => self.check_token(conn),
            SignIn::Check { .. } => {}
            SignIn::Refused(code) => self.disconnect_for(conn.slot, farewell_reason(code), Some(code)),
        }
    }

    /// What CONNACK says of the exchange, which is over.
    pub(crate) fn conclude_exchange(&mut self, conn: ConnId, request: &mut Request) {
        let Some(auth) = self.links.by_conn(conn).and_then(|link| link.auth.as_mut()) else { return };
        request.method = auth.method;
        if let Step::Proven(signature) = std::mem::replace(&mut auth.step, Step::Idle) {
            request.signature = Some(signature.into());
        }
    }

    /// Refuses a CONNECT for what the directory says.
    pub(crate) fn refuse_sign_in(&mut self, conn: ConnId, code: Code) {
        if self.take_request(conn).is_some() {
            self.refuse_connect_for(conn.slot, sign_in_reason(code), Some(code));
        }
    }

    fn watch_again(&mut self, slot: u32) {
        let Some(link) = self.links.by_slot(slot) else { return };
        if link.deadline_ms != 0 {
            self.timers.cancel(link.deadline_ms, Timer::Link(slot));
            link.deadline_ms = 0;
        }
        self.watch_link(slot);
    }

    fn send_auth(&mut self, conn: ConnId, reason: ReasonCode, data: Option<&[u8]>) {
        let Some(link) = self.links.by_conn(conn) else { return };
        let version = link.version;
        let method = link.auth.as_ref().and_then(|auth| auth.method).map(Method::as_str);
        let packet = packet::Auth {
            reason,
            method,
            data: data.map(packet::Secret),
            reason_string: None,
            user_properties: UserProperties::default(),
        };
        self.links.send(conn.slot, |out| {
            let _ = encode::auth(out, version, &packet);
        });
    }

    /// Closes a connection with a reason and the code that says why, which 5.0 clients are told.
    pub(crate) fn disconnect_for(&mut self, slot: u32, reason: ReasonCode, code: Option<Code>) {
        let Some(link) = self.links.by_slot(slot) else { return };
        let (version, limit) = (link.version, link.packet_bytes as usize);
        let mut farewell = Vec::new();
        let packet = Disconnect {
            reason,
            session_expiry_secs: None,
            reason_string: code.map(Code::as_str),
            user_properties: UserProperties::default(),
            server_reference: None,
        };
        let is_told = matches!(link.phase, Phase::Open(_)) && version == Version::V5;
        if !is_told
            || encode::disconnect_with(&mut farewell, version, &packet).is_err()
            || farewell.len() > limit
        {
            return self.disconnect(slot, reason);
        }
        self.links.send(slot, |out| out.extend_from_slice(&farewell));
        self.detach(slot, true);
        self.links.close(slot, true);
    }
}
