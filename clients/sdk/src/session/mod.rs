//! One chat session without its socket: what was asked and is not done, which places are heard and how far, and what
//! every packet of the broker means for them.
//!
//! Never waits and never does I/O. Invariants: at most [`IN_FLIGHT_MAX`] packets with an id are on their way; what is
//! said in a place goes out once, in ascending order, and is acknowledged when it has a place in the queue of events.
//! Driven by the client's task: commands, packets, room for events and lost connections come in; [`Session::fill`] puts
//! what there is to send into a buffer.

mod calls;
pub(crate) mod command;
mod incoming;
mod outbox;
mod places;
mod reasons;
mod receiving;
mod sending;
mod subscribe;

#[cfg(test)]
mod tests;

use crate::{Event, Options, Proof, Refusal, contract, outlet::Outlet};
use bytes::BytesMut;
use calls::Calls;
use command::Command;
use outbox::{Item, Outbox};
use places::Places;
use rumqttc::v5::{
    MqttState,
    mqttbytes::v5::{ConnAck, Connect, ConnectProperties, Disconnect, DisconnectReasonCode, Login, Packet},
};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};
use subscribe::{Op, Sent};

pub(crate) use reasons::{is_final, of_connack};

/// How many packets with an id may be on their way at once; more costs memory in every client.
const IN_FLIGHT_MAX: u16 = 16;

/// How many QoS 1 messages the broker may send before they are acknowledged.
const RECEIVE_MAXIMUM: u16 = 32;

/// A packet that the broker would not take whatever it announces.
const PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The connection cannot go on.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) refusal: Refusal,
    /// Connecting again makes no sense.
    pub(crate) is_final: bool,
    /// The broker says that this side broke the rules.
    pub(crate) is_our_fault: bool,
}

impl Lost {
    pub(crate) fn link(reason: impl Into<String>) -> Self {
        let refusal = Refusal::new(Refusal::UNREACHABLE, reason);
        Self { refusal, is_final: false, is_our_fault: false }
    }
}

/// When the session ends in good order.
#[derive(Debug)]
struct Closing {
    deadline: Instant,
    done: Option<tokio::sync::oneshot::Sender<()>>,
}

/// A chat session.
pub(crate) struct Session {
    options: Options,
    proof: Proof,
    pub(crate) outlet: Outlet,
    user: Arc<str>,
    /// Packet ids, and what `rumqttc` keeps for a connection; a new one with each.
    state: MqttState,
    /// Acknowledgements to send.
    acks: VecDeque<u16>,
    outbox: Outbox,
    calls: Calls,
    places: Places,
    watches: Vec<String>,
    ops: VecDeque<Op>,
    sent_ops: Vec<Sent>,
    /// Packets with an id: how many were ever sent, which of them are on their way, and how many may be.
    issued: u64,
    on_their_way: VecDeque<(u64, u16)>,
    window: u64,
    packet_bytes_max: usize,
    is_linked: bool,
    is_resumed: bool,
    is_first_link: bool,
    /// The broker has answered the subscription for what is the user's own.
    is_ready: bool,
    has_replies: bool,
    /// The user is to be told of the connection once the name is known; whether the session was resumed.
    untold: Option<bool>,
    last_heard: Instant,
    closing: Option<Closing>,
}

impl Session {
    pub(crate) fn new(options: Options, outlet: Outlet, now: Instant) -> Self {
        Self {
            proof: options.proof.clone(),
            user: options.user.as_str().into(),
            options,
            outlet,
            state: MqttState::new(IN_FLIGHT_MAX, true),
            acks: VecDeque::new(),
            outbox: Outbox::default(),
            calls: Calls::default(),
            places: Places::default(),
            watches: Vec::new(),
            ops: VecDeque::new(),
            sent_ops: Vec::new(),
            issued: 0,
            on_their_way: VecDeque::new(),
            window: IN_FLIGHT_MAX.into(),
            packet_bytes_max: PACKET_BYTES_MAX,
            is_linked: false,
            is_resumed: false,
            is_first_link: true,
            is_ready: false,
            has_replies: false,
            untold: None,
            last_heard: now,
            closing: None,
        }
    }

    /// CONNECT, as it is to be sent now.
    pub(crate) fn greeting(&self) -> (Connect, Option<Login>) {
        let options = &self.options;
        let mut properties = ConnectProperties::new();
        let expiry = options.session_expiry.as_secs().min(u32::MAX.into()) as u32;
        properties.session_expiry_interval = (expiry > 0).then_some(expiry);
        properties.receive_maximum = Some(RECEIVE_MAXIMUM);
        properties.max_packet_size = Some(options.packet_bytes_max);
        // Once the name is this client's, a new connection of its own may find the old one still there.
        if self.is_first_link && self.proof == (Proof::Anonymous { exclusive: true }) {
            properties.user_properties.push((contract::EXCLUSIVE.into(), "1".into()));
        }
        let connect = Connect {
            keep_alive: self.keep_alive().as_secs().min(u16::MAX.into()) as u16,
            client_id: options.client_id.clone(),
            clean_start: expiry == 0 || (self.is_first_link && !options.resume),
            properties: Some(properties),
        };
        let login = match &self.proof {
            Proof::Guest => None,
            Proof::Anonymous { .. } => Some(Login::new(options.user.clone(), "")),
            Proof::Password(secret) | Proof::Token(secret) => {
                Some(Login::new(options.user.clone(), secret.expose()))
            }
        };
        (connect, login)
    }

    pub(crate) fn keep_alive(&self) -> Duration {
        self.options.keep_alive.max(Duration::from_secs(5))
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.options.connect_timeout
    }

    pub(crate) fn user(&self) -> Arc<str> {
        self.user.clone()
    }

    /// Whether requests are answered and what is the user's own is heard.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready
    }

    pub(crate) fn packet_bytes_max(&self) -> u32 {
        self.options.packet_bytes_max
    }

    /// A connection stands. Says how often it is to be checked.
    pub(crate) fn on_linked(&mut self, connack: ConnAck, now: Instant) -> Duration {
        let is_resumed = connack.session_present && !self.is_first_link;
        let resumed_at_first = connack.session_present && self.is_first_link;
        let mut keep_alive = self.keep_alive();
        self.state = MqttState::new(IN_FLIGHT_MAX, true);
        // A queue of its own size: the one that rumqttc makes holds a hundred events.
        self.state.events = VecDeque::new();
        self.window = IN_FLIGHT_MAX.into();
        self.packet_bytes_max = PACKET_BYTES_MAX;
        if self.proof == Proof::Guest && !connack.session_present {
            // The name went with the session.
            self.user = "".into();
        }
        if let Some(properties) = &connack.properties {
            if let Some(seconds) = properties.server_keep_alive.filter(|seconds| *seconds > 0) {
                keep_alive = Duration::from_secs(seconds.into());
            }
            if let Some(most) = properties.receive_max {
                self.window = most.clamp(1, IN_FLIGHT_MAX).into();
            }
            if let Some(bytes) = properties.max_packet_size {
                self.packet_bytes_max = (bytes as usize).min(PACKET_BYTES_MAX);
            }
            if let Some(name) = contract::property(&properties.user_properties, contract::USER) {
                self.user = name.into();
            }
            if let Some(id) = &properties.assigned_client_identifier {
                // The session can be continued only under the name that it was given.
                self.options.client_id.clone_from(id);
            }
        }
        // It sets the window; nothing else can be wrong with a CONNACK that was accepted.
        let _ = self.state.handle_incoming_packet(Packet::ConnAck(connack));
        self.state.events.clear();
        self.is_linked = true;
        self.is_resumed = is_resumed;
        self.plan_subscriptions(now);
        self.is_first_link = false;
        self.untold = Some(is_resumed || resumed_at_first);
        if !self.user.is_empty() {
            self.tell_connected();
        }
        self.last_heard = now;
        keep_alive
    }

    fn tell_connected(&mut self) {
        if let Some(resumed) = self.untold.take() {
            self.outlet.tell(Event::Connected { user: self.user.clone(), resumed });
        }
    }

    /// Everything that the connection needs stands.
    fn set_ready(&mut self) {
        self.is_ready = true;
        self.tell_connected();
    }

    /// The connection is lost, or an attempt to connect failed.
    pub(crate) fn on_lost(&mut self, lost: &Lost) {
        if !self.is_linked {
            return;
        }
        self.is_linked = false;
        self.is_ready = false;
        self.untold = None;
        self.acks.clear();
        self.on_their_way.clear();
        self.outbox.lost(lost.is_our_fault);
        self.calls.lost();
        self.subscriptions_lost();
        self.outlet.on_lost();
        self.outlet.tell(Event::Disconnected(lost.refusal.clone()));
    }

    /// Takes what a handle asks for.
    pub(crate) fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Publish(publication, done, permit) => {
                self.outbox.push(Item::Message(publication, done), permit);
            }
            Command::Signal(publication) => self.send_signal(&publication),
            Command::Call(question, permit) => {
                if let Some(number) = self.calls.open(*question) {
                    self.outbox.push(Item::Call(number), permit);
                }
            }
            Command::Join(place, join, done, permit) => {
                self.ops.push_back(Op::join(place, *join, done, permit))
            }
            Command::Watch(filter, done, permit) => self.ops.push_back(Op::watch(filter, done, permit)),
            Command::Leave(place, done, permit) => self.leave(&place, done, permit),
            Command::Unwatch(filter, done, permit) => {
                self.watches.retain(|known| *known != filter);
                self.ops.push_back(Op::unsubscribe(vec![filter], Some((done, permit))));
            }
            Command::Token(token) => {
                // The password is kept nowhere from here on.
                self.options.proof = Proof::Guest;
                self.proof = Proof::Token(token);
            }
            Command::Deafen => self.outlet.deafen(),
            Command::Close(limit, done) => {
                self.outlet.deafen();
                self.closing = Some(Closing { deadline: now + limit, done: Some(done) });
            }
        }
    }

    /// The end in good order was asked for: when, at the latest.
    pub(crate) fn closes_at(&self) -> Option<Instant> {
        self.closing.as_ref().map(|closing| closing.deadline)
    }

    /// Whether nothing waits any more for the broker.
    pub(crate) fn is_drained(&self) -> bool {
        self.outbox.is_empty() && self.ops.is_empty() && self.on_their_way.is_empty()
    }

    /// Says good-bye.
    pub(crate) fn disconnect(&mut self, out: &mut BytesMut) {
        let packet = Disconnect::new(DisconnectReasonCode::NormalDisconnection);
        let _ = Packet::Disconnect(packet).write(out, None);
    }

    /// The end: every caller is told.
    pub(crate) fn close(mut self, refusal: &Refusal) -> Outlet {
        self.outbox.close(refusal);
        self.calls.close(refusal);
        self.close_subscriptions(refusal);
        if let Some(done) = self.closing.take().and_then(|closing| closing.done) {
            let _ = done.send(());
        }
        self.outlet
    }
}

/// Keeps the secret out of what the task shows of itself.
impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("user", &self.user).finish_non_exhaustive()
    }
}
