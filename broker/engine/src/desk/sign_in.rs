//! Signing in with a name: between CONNECT and the directory's word; and what the directory is told of sessions.

use super::{Asked, Shown};
use crate::{
    Engine,
    io::{ConnId, Output},
    link::{Pause, Phase},
    mutant::Mutant,
    session::Session,
};
use katydid_chat::{code::Code, directory::SignIn, permission::UserKind};
use katydid_mqtt::reason::ReasonCode;
use std::sync::Arc;

impl Engine {
    /// Asks the directory whether the client of a connection may have a name. Its request waits in the link.
    pub(crate) fn sign_in(&mut self, conn: ConnId, name: Arc<str>, shown: Shown) {
        let Some(link) = self.links.by_conn(conn) else { return };
        let address = link.peer.address;
        self.ask(Asked::SignIn { conn, name, shown, address });
    }

    /// The directory has answered.
    pub(crate) fn on_signed_in(&mut self, conn: ConnId, outcome: SignIn) {
        if self.links.by_conn(conn).is_some_and(|link| matches!(link.phase, Phase::Open(_))) {
            return self.on_signed_in_again(conn, outcome);
        }
        match outcome {
            SignIn::Enter { kind: UserKind::Anonymous, .. } if !self.lets_anonymous_in(conn) => {
                if self.take_request(conn).is_some() {
                    let code = Code::LoginAnonymousRefused;
                    self.refuse_connect_for(conn.slot, ReasonCode::BadUserNameOrPassword, Some(code));
                }
            }
            SignIn::Enter { user, kind } => {
                let Some(mut request) = self.take_request(conn) else { return };
                request.account = Some(user);
                request.kind = kind;
                self.conclude_exchange(conn, &mut request);
                self.enter(conn.slot, *request);
            }
            SignIn::Check { hash, wants_scram } => {
                let Some(link) = self.links.by_conn(conn) else { return };
                let Phase::Verifying(request) = &mut link.phase else { return };
                request.is_checked_for_directory = true;
                let password =
                    request.password.take().map_or_else(Vec::new, |mut secret| std::mem::take(&mut secret.0));
                self.outputs.push_back(Output::Verify { conn, hash, wants_scram, password });
            }
            SignIn::Challenge { verifier, nonce } => self.challenge(conn, *verifier, &nonce),
            SignIn::CheckToken => self.check_token(conn),
            SignIn::Refused(code) => self.refuse_sign_in(conn, code),
        }
    }

    /// A connection waits for the directory, and is not read meanwhile.
    pub(crate) fn wait_for_sign_in(&mut self, conn: ConnId, request: crate::handshake::Request) {
        let Some(link) = self.links.by_conn(conn) else { return };
        link.phase = Phase::Verifying(Box::new(request));
        self.links.pause(conn.slot, Pause::Entering);
    }

    /// Tells the directory of a session before the first thing that concerns it. A session without user name is a guest
    /// from then on.
    pub(crate) fn introduce(&mut self, index: u32) {
        if !self.settings.rooms.enabled {
            return;
        }
        let Some(session) = self.sessions.by_index(index) else { return };
        if session.name.is_some() {
            return;
        }
        let user = session.account.clone().unwrap_or_else(|| Session::guest_name(session.id).into());
        session.name = Some(user.clone());
        let (id, kind, link) = (session.id, session.kind, session.link);
        self.ask(Asked::Opened { session: id, index, user, kind });
        if let Some(slot) = link {
            let address = self.links.by_slot(slot).and_then(|link| link.peer.address);
            self.ask(Asked::Connected { session: id, address });
        }
    }

    /// A session has a connection; the directory hears of it where it knows the session.
    pub(crate) fn tell_connected(&mut self, index: u32, slot: u32) {
        let Some(session) = self.sessions.peek(index) else { return };
        let id = session.id;
        match (&session.name, session.kind) {
            (Some(_), _) => {
                let address = self.links.by_slot(slot).and_then(|link| link.peer.address);
                self.ask(Asked::Connected { session: id, address });
            }
            (None, UserKind::Guest) => {}
            (None, _) => self.introduce(index),
        }
    }

    /// A session has no connection any more.
    pub(crate) fn tell_disconnected(&mut self, index: u32) {
        if let Some(Session { name: Some(_), id, .. }) = self.sessions.peek(index) {
            let session = *id;
            self.ask(Asked::Disconnected { session });
        }
    }

    /// The directory wants a session's connection closed.
    pub(crate) fn dismiss(&mut self, index: u32, id: u64, ends: bool) {
        let Some(session) = self.sessions.peek(index).filter(|session| session.id == id) else { return };
        if let Some(slot) = session.link {
            self.disconnect(slot, ReasonCode::AdministrativeAction);
        }
        let lives = self.sessions.peek(index).is_some_and(|session| session.id == id);
        if ends && lives {
            self.end_session(index);
        }
    }

    /// Whether private messages to a session's user are forgotten once they are delivered.
    pub(crate) fn set_forgets(&mut self, index: u32, id: u64, forgets: bool) {
        if let Some(session) = self.sessions.by_index(index).filter(|session| session.id == id) {
            session.forgets = forgets;
        }
    }

    /// Whom a session's user does not hear.
    pub(crate) fn set_ignored(&mut self, index: u32, id: u64, ignored: Arc<[Arc<str>]>) {
        let session = self.sessions.by_index(index).filter(|session| session.id == id);
        if let Some(session) = session.filter(|_| !Mutant::IgnoredHeard.is_on()) {
            session.ignored = (!ignored.is_empty()).then_some(ignored);
        }
    }
}
