//! Requests: finds the verb, reads the JSON, counts the rate, and lets the handler of the verb decide. Handlers answer at once, or
//! leave a [`super::Pending`] and answer when what they wait for is there.

use super::people::{BROKER_UID, Uid};
use super::places::{Pid, Root};
use super::{Directory, Effect, SessionId, Ticket};
use crate::code::Code;
use crate::permission::{Deed, UserKind, permits};
use crate::request::{self, Ask, Body};
use std::net::IpAddr;

/// Who asks, and where the answer goes.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub(super) reply: Reply,
    /// None is the operator.
    pub(super) session: Option<SessionId>,
    pub(super) uid: Uid,
    pub(super) kind: UserKind,
    pub(super) address: Option<IpAddr>,
}

impl Asker {
    pub(super) fn is_operator(&self) -> bool {
        self.session.is_none()
    }

    /// Who has a name of its own choice.
    pub(super) fn named(&self) -> Result<(), Code> {
        if self.kind == UserKind::Guest { Err(Code::LoginNeeded) } else { Ok(()) }
    }

    /// Who has an account.
    pub(super) fn registered(&self) -> Result<(), Code> {
        if self.kind != UserKind::Registered || self.is_operator() { Err(Code::LoginNeeded) } else { Ok(()) }
    }

    pub(super) fn operator(&self) -> Result<(), Code> {
        if self.is_operator() { Ok(()) } else { Err(Code::NotPermitted) }
    }
}

/// Where an answer goes.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) ticket: Ticket,
    /// The `id` of the request, as JSON.
    pub(super) id: Option<String>,
}

impl Reply {
    pub(super) fn answer<T: serde::Serialize>(&self, body: &T) -> Effect {
        Effect::Answer { ticket: self.ticket, payload: request::answer(self.id.as_deref(), body) }
    }

    pub(super) fn refuse(&self, code: Code) -> Effect {
        Effect::Answer { ticket: self.ticket, payload: request::refusal(self.id.as_deref(), code) }
    }
}

/// A handler: `Ok(None)` answers later.
type Handler<A> = fn(&mut Directory, &Asker, A) -> Result<Option<<A as Ask>::Answer>, Code>;
/// A handler of rooms and groups.
type PlaceHandler<A> = fn(&mut Directory, &Asker, Root, A) -> Result<Option<<A as Ask>::Answer>, Code>;

impl Directory {
    pub(super) fn request(&mut self, ticket: Ticket, session: SessionId, verb: &str, body: &[u8]) {
        let no_id = Reply { ticket, id: None };
        let Some(known) = self.sessions.get(&session) else {
            return self.out.push(no_id.refuse(Code::LoginNeeded));
        };
        let (uid, address) = (known.uid, known.address);
        let body = match Body::read(body) {
            Ok(body) => body,
            Err(code) => return self.out.push(no_id.refuse(code)),
        };
        let reply = Reply { ticket, id: body.id.clone() };
        let kind = self.user(uid).map_or(UserKind::Guest, |user| user.kind());
        let asker = Asker { reply, session: Some(session), uid, kind, address };
        let now = self.clock.steady;
        let per_sec = u64::from(self.rules.requests_per_sec);
        let may = self.user_mut(uid).is_none_or(|user| user.requests.take(now, per_sec * 60, per_sec * 10));
        if may {
            self.dispatch(&asker, verb, body);
        } else {
            self.out.push(asker.reply.refuse(Code::RateRequests));
        }
    }

    pub(super) fn operate(&mut self, ticket: Ticket, verb: &str, body: &[u8]) {
        match Body::read(body) {
            Ok(body) => {
                let reply = Reply { ticket, id: body.id.clone() };
                let kind = UserKind::Registered;
                let asker = Asker { reply, session: None, uid: BROKER_UID, kind, address: None };
                self.dispatch(&asker, verb, body);
            }
            Err(code) => self.out.push(Reply { ticket, id: None }.refuse(code)),
        }
    }

    fn dispatch(&mut self, asker: &Asker, verb: &str, body: Body) {
        match verb {
            "whoami" => self.run(asker, body, Self::who_am_i),
            "register" => self.run(asker, body, Self::register),
            "unregister" => self.run(asker, body, Self::unregister),
            "password" => self.run(asker, body, Self::change_password),
            "token/create" => self.run(asker, body, Self::token_create),
            "token/list" => self.run(asker, body, Self::token_list),
            "token/revoke" => self.run(asker, body, Self::token_revoke),
            "profile/get" => self.run(asker, body, Self::profile_get),
            "profile/set" => self.run(asker, body, Self::profile_set),
            "presence/set" => self.run(asker, body, Self::presence_set),
            "users" => self.run(asker, body, Self::users),
            "search" => self.run(asker, body, Self::search),
            "friend/add" => self.run(asker, body, Self::friend_add),
            "friend/remove" => self.run(asker, body, Self::friend_remove),
            "friend/list" => self.run(asker, body, Self::friend_list),
            "ignore/add" => self.run(asker, body, Self::ignore_add),
            "ignore/remove" => self.run(asker, body, Self::ignore_remove),
            "ignore/list" => self.run(asker, body, Self::ignore_list),
            "offer" => self.run(asker, body, Self::offer),
            "history" => self.run(asker, body, Self::history),
            "history/search" => self.run(asker, body, Self::find_said),
            "counters" => self.run(asker, body, Self::counters),
            "board/post" => self.run(asker, body, Self::board_post),
            "board/list" => self.run(asker, body, Self::board_list),
            "board/get" => self.run(asker, body, Self::board_get),
            "board/delete" => self.run(asker, body, Self::board_delete),
            "user/add" => self.run(asker, body, Self::user_add),
            "user/passwd" => self.run(asker, body, Self::user_passwd),
            "user/remove" => self.run(asker, body, Self::user_remove),
            "user/list" => self.run(asker, body, Self::user_list),
            "user/erase" => self.run(asker, body, Self::user_erase),
            "user/erasing" => self.run(asker, body, Self::user_erasing),
            "user/block" => self.run(asker, body, Self::user_block),
            "user/unblock" => self.run(asker, body, Self::user_unblock),
            _ => self.dispatch_place(asker, verb, body),
        }
    }

    fn dispatch_place(&mut self, asker: &Asker, verb: &str, body: Body) {
        let split = verb.split_once('/').and_then(|(root, verb)| Some((Root::parse(root)?, verb)));
        let Some((root, verb)) = split else {
            return self.out.push(asker.reply.refuse(Code::UnknownVerb));
        };
        match verb {
            "create" => self.run_in(asker, root, body, Self::place_create),
            "delete" => self.run_in(asker, root, body, Self::place_delete),
            "join" => self.run_in(asker, root, body, Self::place_join),
            "leave" => self.run_in(asker, root, body, Self::place_leave),
            "list" => self.run_in(asker, root, body, Self::place_list),
            "info" => self.run_in(asker, root, body, Self::place_info),
            "members" => self.run_in(asker, root, body, Self::place_members),
            "invite" => self.run_in(asker, root, body, Self::place_invite),
            "kick" => self.run_in(asker, root, body, Self::place_kick),
            "ban" => self.run_in(asker, root, body, Self::place_ban),
            "unban" => self.run_in(asker, root, body, Self::place_unban),
            "mute" => self.run_in(asker, root, body, Self::place_mute),
            "unmute" => self.run_in(asker, root, body, Self::place_unmute),
            "moderators" => self.run_in(asker, root, body, Self::place_moderators),
            "settings" => self.run_in(asker, root, body, Self::place_settings),
            _ => self.out.push(asker.reply.refuse(Code::UnknownVerb)),
        }
    }

    fn run<A: Ask>(&mut self, asker: &Asker, body: Body, handler: Handler<A>) {
        let outcome = body.ask().and_then(|ask| handler(self, asker, ask));
        self.conclude(&asker.reply, outcome);
    }

    fn run_in<A: Ask>(&mut self, asker: &Asker, root: Root, body: Body, handler: PlaceHandler<A>) {
        let outcome = body.ask().and_then(|ask| handler(self, asker, root, ask));
        self.conclude(&asker.reply, outcome);
    }

    /// Answers, unless the answer comes later.
    pub(super) fn conclude<T: serde::Serialize>(&mut self, reply: &Reply, outcome: Result<Option<T>, Code>) {
        match outcome {
            Ok(Some(body)) => self.out.push(reply.answer(&body)),
            Ok(None) => {}
            Err(code) => self.out.push(reply.refuse(code)),
        }
        // What must not overtake the answer, such as the end of the session that gets it.
        let after = std::mem::take(&mut self.after);
        self.out.extend(after);
    }

    /// Whether the asker may do something in a place; the operator may everything.
    pub(super) fn may(&self, asker: &Asker, pid: Pid, deed: Deed) -> Result<(), Code> {
        let Some(place) = self.place(pid) else { return Err(Code::RoomNotFound) };
        if asker.is_operator() {
            return Ok(());
        }
        permits(deed, &place.rules, place.standing(asker.uid, self.key_of(asker.uid)), asker.kind)
    }
}
