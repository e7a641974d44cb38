//! From CONNECT to CONNACK: who the client is, whether it may enter, and which session it continues.

mod connack;

use crate::{
    Engine,
    desk::{Asked, Secret, Shown},
    exchange::Method,
    io::{ConnId, Input, Output, Verdict},
    journal::Waiter,
    link::{OwnAliases, Pause, Phase},
    mutant::Mutant,
    persist,
    publish::is_as_stated,
    session::{Key, Session},
    subscriptions::Subscriptions,
    timers::Timer,
    will::Will,
};
use katydid_chat::permission::UserKind;
use katydid_mqtt::{
    encode,
    packet::{Connect, Version},
    reason::ReasonCode,
    session::{Inbound, Outbound},
};
use std::{collections::HashMap, sync::Arc};

/// What a CONNECT asked for, while it waits.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) account: Option<Arc<str>>,
    pub(crate) kind: UserKind,
    /// Until the directory has said what to check it against.
    pub(crate) password: Option<Secret>,
    /// The hash came from the directory, which is told how the check ended.
    pub(crate) is_checked_for_directory: bool,
    /// How it has proved who it is, where CONNECT named a method, and the server's own proof.
    pub(crate) method: Option<Method>,
    pub(crate) signature: Option<Box<str>>,
    client_id: Arc<str>,
    is_assigned: bool,
    clean_start: bool,
    /// As asked, in seconds.
    expiry_secs: u32,
    keep_alive_secs: u16,
    receive_maximum: u16,
    will: Option<Box<Will>>,
}

impl Request {
    fn key(&self) -> Key {
        Key { account: self.account.clone(), client_id: self.client_id.clone() }
    }
}

impl Engine {
    /// Answers a CONNECT, or asks for its password to be checked first.
    pub(crate) fn on_connect(&mut self, conn: ConnId, connect: &Connect<'_>) {
        let Some(link) = self.links.by_conn(conn) else { return };
        link.version = connect.version;
        link.packet_bytes = connect.properties.maximum_packet_size.unwrap_or(u32::MAX);
        link.problem_information = connect.properties.request_problem_information.unwrap_or(true);
        link.own_aliases = OwnAliases::new(connect.properties.topic_alias_maximum.unwrap_or(0));
        if let Some(reason) = self.refusal(connect) {
            return self.refuse_connect(conn.slot, reason);
        }
        let is_assigned = connect.client_id.is_empty();
        let client_id = if is_assigned { self.assign_client_id() } else { connect.client_id.into() };
        let certificate = self.links.by_conn(conn).and_then(|link| link.peer.certificate_name.clone());
        let is_certified = certificate.is_some();
        let account = certificate.or_else(|| connect.user_name.map(Arc::from));
        let will = connect.will.as_ref().map(|will| Box::new(Will::new(will, 0, self.now)));
        let expiry_secs = match connect.version {
            Version::V5 => connect.properties.session_expiry_secs.unwrap_or(0),
            Version::V4 if connect.clean_start => 0,
            Version::V4 => u32::MAX,
        };
        let request = Request {
            account: account.clone(),
            kind: UserKind::Guest,
            password: None,
            is_checked_for_directory: false,
            method: None,
            signature: None,
            client_id,
            is_assigned,
            clean_start: connect.clean_start,
            expiry_secs,
            keep_alive_secs: connect.keep_alive_secs,
            receive_maximum: connect.properties.receive_maximum.unwrap_or(u16::MAX),
            will,
        };
        if let Some(method) = connect.properties.authentication_method.and_then(Method::parse) {
            let data = connect.properties.authentication_data.map(|data| data.0);
            return self.begin_exchange(conn, request, method, data);
        }
        if let (Some(name), true) = (&account, self.settings.rooms.enabled) {
            let name = name.clone();
            return self.enter_with_name(conn, connect, request, name, is_certified);
        }
        let hash =
            account.as_deref().and_then(|name| self.settings.accounts.get(name)).map(|it| it.hash.clone());
        match (hash, connect.password) {
            _ if is_certified => self.enter(conn.slot, request),
            (Some(hash), Some(password)) => {
                let Some(link) = self.links.by_conn(conn) else { return };
                link.phase = Phase::Verifying(Box::new(request));
                self.links.pause(conn.slot, Pause::Entering);
                self.outputs.push_back(Output::Verify {
                    conn,
                    hash,
                    wants_scram: false,
                    password: password.0.to_vec(),
                });
            }
            // A registered name needs its password; other names and none are anonymous, where that is allowed.
            (Some(_), None) => self.refuse_connect(conn.slot, ReasonCode::BadUserNameOrPassword),
            (None, password) if self.allows_anonymous(conn, password.is_some()) => {
                self.enter(conn.slot, request)
            }
            (None, _) if connect.user_name.is_some() => {
                self.refuse_connect(conn.slot, ReasonCode::BadUserNameOrPassword);
            }
            (None, _) => self.refuse_connect(conn.slot, ReasonCode::NotAuthorized),
        }
    }

    /// Without registered users a password means nothing and is ignored; with them it must fit somebody.
    fn allows_anonymous(&mut self, conn: ConnId, has_password: bool) -> bool {
        self.lets_anonymous_in(conn) && (!has_password || self.settings.accounts.is_empty())
    }

    fn refusal(&mut self, connect: &Connect<'_>) -> Option<ReasonCode> {
        let method = connect.properties.authentication_method;
        if method.is_some_and(|name| !Method::parse(name).is_some_and(|method| self.has_method(method))) {
            return Some(ReasonCode::BadAuthenticationMethod);
        }
        let needs_id = connect.version == Version::V4 && !connect.clean_start;
        if connect.client_id.is_empty() && needs_id {
            return Some(ReasonCode::ClientIdentifierNotValid);
        }
        let limits = &self.settings.limits;
        let topic_is_long =
            |topic: &str| topic.len() > limits.topic_bytes || topic.split('/').count() > limits.topic_levels;
        if connect.will.as_ref().is_some_and(|will| topic_is_long(will.topic)) {
            self.links.counters.refused_topics += 1;
            return Some(ReasonCode::TopicNameInvalid);
        }
        if connect.will.as_ref().is_some_and(|will| !is_as_stated(&will.properties, will.payload)) {
            self.links.counters.refused_payloads += 1;
            return Some(ReasonCode::PayloadFormatInvalid);
        }
        let is_long = connect.client_id.len() > limits.topic_bytes
            || connect.user_name.is_some_and(|name| name.len() > limits.topic_bytes);
        if is_long {
            return Some(ReasonCode::ClientIdentifierNotValid);
        }
        if self.is_going_down {
            // 0x8B is for DISCONNECT only.
            return Some(ReasonCode::ServerUnavailable);
        }
        None
    }

    fn assign_client_id(&mut self) -> Arc<str> {
        // The identifier has to be at home on this shard, where the connection is already.
        loop {
            let id = format!("auto-{:016x}", self.random());
            if crate::home_shard(&id, self.shards) == self.shard {
                return id.into();
            }
        }
    }

    /// The password was checked.
    pub(crate) fn on_verified(&mut self, conn: ConnId, verdict: Verdict, scram: Option<Box<str>>) {
        let Some(link) = self.links.by_conn(conn) else { return };
        let Phase::Verifying(request) = &link.phase else { return };
        match (&request.account, verdict) {
            (Some(name), Verdict::Good | Verdict::Bad) if request.is_checked_for_directory => {
                let shown = if verdict == Verdict::Good { Shown::Checked(scram) } else { Shown::Failed };
                let name = name.clone();
                self.sign_in(conn, name, shown);
            }
            (_, verdict) => {
                let Some(request) = self.take_request(conn) else { return };
                match verdict {
                    Verdict::Good => self.enter(conn.slot, *request),
                    Verdict::Bad => self.refuse_connect(conn.slot, ReasonCode::BadUserNameOrPassword),
                    Verdict::Unchecked => self.refuse_connect(conn.slot, ReasonCode::ServerBusy),
                }
            }
        }
    }

    /// A CONNECT with a name, where names are people: the directory says whether it may have it.
    fn enter_with_name(
        &mut self,
        conn: ConnId,
        connect: &Connect<'_>,
        mut request: Request,
        name: Arc<str>,
        is_certified: bool,
    ) {
        let shown = match connect.password {
            _ if is_certified => Shown::Certificate,
            Some(password) if !password.0.is_empty() => {
                request.password = Some(Secret(password.0.to_vec()));
                Shown::Password(Secret(password.0.to_vec()))
            }
            _ => {
                let exclusive = connect.properties.user_properties.first("exclusive") == Some("1");
                Shown::None { exclusive }
            }
        };
        self.wait_for_sign_in(conn, request);
        self.sign_in(conn, name, shown);
    }

    pub(crate) fn lets_anonymous_in(&mut self, conn: ConnId) -> bool {
        let listener = self.links.by_conn(conn).map_or(0, |link| link.peer.listener);
        self.settings.listeners.get(usize::from(listener)).is_some_and(|it| it.allow_anonymous)
    }

    /// Lets a client in: takes over or makes its session, answers, and sends what waits.
    pub(crate) fn enter(&mut self, slot: u32, request: Request) {
        let expiry_secs = request.expiry_secs.min(self.settings.limits.session_expiry_secs);
        if !self.takes_connack(slot, &request, expiry_secs) {
            self.links.counters.connects_refused += 1;
            self.links.counters.dropped_too_large += 1;
            return self.links.close(slot, true);
        }
        let key = request.key();
        let mut waits = self.outrun(&key);
        let mut known = self.sessions.find(&key);
        if let Some(index) = known {
            self.take_over(index);
            // A clean session of 3.1.1 and one of expiry 0 end with their connection.
            known = self.sessions.find(&key);
            if let (Some(index), true) = (known, request.clean_start) {
                self.end_session(index);
                known = None;
            }
            waits |= known.is_some_and(|index| self.cancel_will(index));
        }
        waits |= self.ended.contains_key(&key);
        if waits && self.wait_to_enter(slot, &request, &key) {
            return;
        }
        if known.is_none() && self.sessions.len() >= self.settings.limits.sessions {
            self.links.counters.refused_sessions += 1;
            return self.refuse_connect(slot, ReasonCode::QuotaExceeded);
        }
        let asked = if Mutant::IgnoredWindow.is_on() { u16::MAX } else { request.receive_maximum };
        let window = asked.min(self.settings.limits.inflight);
        let index = known.unwrap_or_else(|| self.create_session(&request, window));
        let session_present = known.is_some();
        self.start_timers(slot, &request);
        let now = self.now;
        let Some(session) = self.sessions.by_index(index) else { return };
        session.link = Some(slot);
        session.kind = request.kind;
        session.expiry_secs = expiry_secs;
        session.outbound.set_window(window);
        session.outbound.resume();
        session.held = 0;
        session.inbound.reconnect();
        if let Some(queue) = session.queue.as_mut() {
            queue.catches_up = !queue.is_empty();
        }
        let publisher = session.id;
        if session.ends_at_ms != 0 {
            self.timers.cancel(session.ends_at_ms, Timer::Expiry(index));
            session.ends_at_ms = 0;
        }
        let will = request.will.clone().map(|mut will| {
            Arc::make_mut(&mut will.message).publisher = publisher;
            self.arm_will(index, &mut will);
            will
        });
        if let Some(link) = self.links.by_slot(slot) {
            link.phase = Phase::Open(index);
            link.last_received_ms = now.mono_ms;
            link.will = will;
        }
        self.tell_connected(index, slot);
        self.save_session(index);
        self.send_connack(slot, &request, session_present, (expiry_secs, publisher));
        if session_present {
            self.tell_groups(index);
            self.wait_to_resume(index, slot);
            self.wake_places(index);
            self.sessions.mark_ready(index);
        }
    }

    /// A session or a will that a crash could bring back has to be off the disk before the client hears that it is gone:
    /// the CONNECT is looked at again then.
    fn wait_to_enter(&mut self, slot: u32, request: &Request, key: &Key) -> bool {
        let Some(link) = self.links.by_slot(slot) else { return false };
        let conn = link.conn;
        if !self.journal.wait(Waiter::Enter(conn)) {
            return false;
        }
        link.phase = Phase::Verifying(Box::new(request.clone()));
        self.entering_keys.insert(key.clone(), conn);
        self.links.pause(slot, Pause::Entering);
        true
    }

    /// Closes an older connection of the same session that waits to enter; `true` when there was one, behind which the
    /// newer one waits too.
    fn outrun(&mut self, key: &Key) -> bool {
        let Some(older) = self.entering_keys.remove(key) else { return false };
        if self.links.by_conn(older).is_some() {
            self.links.close(older.slot, true);
        }
        true
    }

    /// What stood in the way of a CONNECT is off the disk.
    pub(crate) fn enter_again(&mut self, conn: ConnId) {
        let Some(request) = self.take_request(conn) else {
            return self.entering_keys.retain(|_, waiting| *waiting != conn);
        };
        self.entering_keys.remove(&request.key());
        self.enter(conn.slot, *request);
    }

    /// The CONNECT that a connection waits with; it is read again.
    pub(crate) fn take_request(&mut self, conn: ConnId) -> Option<Box<Request>> {
        let link = self.links.by_conn(conn)?;
        let phase = std::mem::replace(&mut link.phase, Phase::Greeting);
        let Phase::Verifying(request) = phase else {
            link.phase = phase;
            return None;
        };
        self.links.resume(conn.slot, Pause::Entering);
        Some(request)
    }

    /// What was in flight is sent again when its identifiers and releases are on disk, as the first time.
    fn wait_to_resume(&mut self, index: u32, slot: u32) {
        let Some(session) = self.sessions.peek(index) else { return };
        let Some(link) = self.links.by_slot(slot) else { return };
        let waits = session.is_persistent() && session.outbound.in_flight() > 0;
        link.is_resuming = waits && self.journal.wait(Waiter::Resume(index, link.conn));
    }

    fn create_session(&mut self, request: &Request, window: u16) -> u32 {
        let id = self.random().max(1) >> 1;
        self.links.counters.sessions_now += 1;
        self.sessions.insert(Session {
            id,
            account: request.account.clone(),
            client_id: request.client_id.clone(),
            name: None,
            kind: request.kind,
            ignored: None,
            forgets: false,
            stood: HashMap::default(),
            link: None,
            expiry_secs: 0,
            ends_at_ms: 0,
            outbound: Outbound::new(window),
            inbound: Inbound::new(),
            arriving: Vec::new(),
            subscriptions: Subscriptions::default(),
            queue: None,
            seats: Vec::new(),
            lagging: None,
            will: None,
            stamp: 0,
            merged: 0,
            is_ready: false,
            resumed: Vec::new(),
            is_on_disk: false,
            has_moved: false,
            is_listed: false,
            subscribing: 0,
            walks: None,
            held: 0,
        })
    }

    fn start_timers(&mut self, slot: u32, request: &Request) {
        let server_secs = self.settings.limits.keep_alive_secs;
        let asked = request.keep_alive_secs;
        let secs = if server_secs > 0 && (asked == 0 || asked > server_secs) { server_secs } else { asked };
        let Some(link) = self.links.by_slot(slot) else { return };
        if link.deadline_ms != 0 {
            self.timers.cancel(link.deadline_ms, Timer::Link(slot));
            link.deadline_ms = 0;
        }
        // One and a half times the keep alive [MQTT-3.1.2-22].
        link.silence_ms = u64::from(secs) * 1500;
        link.last_received_ms = self.now.mono_ms;
        self.watch_link(slot);
    }

    /// Another connection continues the session: the old one is told and closed `[MQTT-3.1.4-3]`.
    fn take_over(&mut self, index: u32) {
        let Some(slot) = self.sessions.peek(index).and_then(|session| session.link) else { return };
        self.links.counters.takeovers += 1;
        self.disconnect(slot, ReasonCode::SessionTakenOver);
    }

    /// Ends a session: its will, its subscriptions, everything that waits for it.
    pub(crate) fn end_session(&mut self, index: u32) {
        self.fire_will(index);
        self.drop_subscriptions(index);
        let Some(session) = self.sessions.remove(index) else { return };
        if session.name.is_some() {
            self.ask(Asked::Ended { session: session.id });
        }
        if session.ends_at_ms != 0 {
            self.timers.cancel(session.ends_at_ms, Timer::Expiry(index));
        }
        self.links.counters.sessions_now -= 1;
        if session.is_on_disk && self.journal.is_on() {
            for op in persist::forget_session(&session) {
                self.journal.push(op);
            }
            let key = Key { account: session.account.clone(), client_id: session.client_id.clone() };
            self.ended.insert(key, self.journal.pending_number());
        }
    }

    /// Writes a session's record, if the session outlives its connection.
    pub(crate) fn save_session(&mut self, index: u32) {
        let Some(session) = self.sessions.by_index(index) else { return };
        // One that was kept and now ends with its connection says so, or a crash would bring it back.
        session.is_on_disk |= session.is_persistent();
        if session.is_on_disk && self.journal.is_on() {
            self.journal.push(persist::put_session(session, self.now));
        }
    }
}

impl Engine {
    /// The connection is gone, or is about to be: its session goes on, waits, or ends.
    pub(crate) fn detach(&mut self, slot: u32, publish_will: bool) {
        let Some(link) = self.links.by_slot(slot) else { return };
        let will = link.will.take();
        if link.deadline_ms != 0 {
            self.timers.cancel(link.deadline_ms, Timer::Link(slot));
            link.deadline_ms = 0;
        }
        let Phase::Open(index) = link.phase else { return };
        let Some(session) = self.sessions.by_index(index) else { return };
        if session.link != Some(slot) {
            return;
        }
        session.link = None;
        let expiry_secs = session.expiry_secs;
        self.tell_disconnected(index);
        match will {
            Some(will) if publish_will => self.schedule_will(index, *will),
            Some(will) => self.discard_will(index, &will),
            None => {}
        }
        self.rest_places(index);
        if expiry_secs > 0 {
            self.tell_groups(index);
        }
        match expiry_secs {
            0 => self.end_session(index),
            u32::MAX => self.save_positions(index),
            secs => {
                let ends_at_ms = self.now.mono_ms + u64::from(secs) * 1000;
                if let Some(session) = self.sessions.by_index(index) {
                    session.ends_at_ms = ends_at_ms;
                }
                self.timers.set(ends_at_ms, Timer::Expiry(index));
                self.save_session(index);
                self.save_positions(index);
            }
        }
    }

    /// Closes a connection with a reason, which 5.0 clients are told.
    pub(crate) fn disconnect(&mut self, slot: u32, reason: ReasonCode) {
        let Some(link) = self.links.by_slot(slot) else { return };
        let version = link.version;
        if matches!(link.phase, Phase::Open(_)) && version == Version::V5 {
            self.links.send(slot, |out| {
                encode::disconnect(out, version, reason);
            });
        }
        self.detach(slot, true);
        self.links.close(slot, true);
    }

    pub(crate) fn handle_link(&mut self, input: Input) {
        match input {
            Input::Open { conn, peer } => {
                self.links.open(conn, peer, self.now);
                let at_ms = self.now.mono_ms + self.settings.limits.connect_timeout_ms;
                if let Some(link) = self.links.by_conn(conn) {
                    link.deadline_ms = at_ms;
                    self.timers.set(at_ms, Timer::Link(conn.slot));
                }
            }
            Input::Closed { conn } if self.links.by_conn(conn).is_some() => {
                self.detach(conn.slot, true);
                self.links.remove(conn);
            }
            Input::Verified { conn, verdict, scram } => self.on_verified(conn, verdict, scram),
            Input::Vouched { conn, vouching } => self.on_vouched(conn, vouching),
            _ => {}
        }
    }
}
