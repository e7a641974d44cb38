//! What a client wants and what becomes of it: signing in, speaking to everybody, listing, and what the broker tells.
//!
//! ```text
//!            HELO                let in              entered Home          its groups
//!  unknown ---------> SignIn ------------> EnterHome -------------> Find ------------> in
//!     |                  |                     |
//!     +-- -ERR, closed <-+---------------------+
//! ```

use super::{
    command::Command,
    groups::Census,
    map,
    server::{Server, write},
};
use crate::{
    chat::{Call, Event, Message, Place, Refusal},
    machine::{Link, Output},
    notice,
    requests::{self, Kind, Person},
};
use serde_json::Value;
use std::sync::Arc;

/// Where everybody hears everybody.
const HOME: &str = "Home";

/// Names of one listing at most.
const MOST_ROWS: usize = 10_000;

/// The command whose answer is awaited.
#[derive(Debug)]
pub(super) enum Doing {
    SignIn {
        name: String,
    },
    EnterHome,
    FindOwnGroups,
    Broadcast {
        text: Vec<u8>,
    },
    ListUsers(Vec<Person>),
    CreateGroup {
        group: String,
    },
    FindToJoin {
        group: String,
    },
    JoinGroup {
        group: String,
    },
    EnterGroup {
        place: Place,
        answer: String,
    },
    FindToSay {
        group: String,
        text: Vec<u8>,
    },
    SayInGroup,
    LeaveGroup {
        group: String,
    },
    FindToKick,
    Kick {
        group: String,
        user: String,
    },
    ListGroups(Census),
    ListMembers(Census),
    FindPeer {
        other: Arc<str>,
        stamp: String,
    },
    /// Whether somebody has the name by which another one is shown here.
    FindNamesake {
        name: String,
        stamp: String,
    },
    /// Whether a user is there for whom the client has a key that is none.
    FindToForget {
        other: Arc<str>,
    },
    /// A message that the bridge has decrypted.
    Tell,
    /// A message that it can't read, on its way to another client.
    TellSealed {
        to: Link,
        line: String,
    },
    OfferFile {
        door: usize,
    },
}

impl Server {
    pub(super) fn carry_out(&mut self, link: Link, command: Command, out: &mut Vec<Output>) {
        let Some(client) = self.clients.get(&link) else { return };
        match command {
            Command::Helo { .. } if client.is_in => self.end(link, map::LOGIN_USED, out),
            Command::Helo { name } => self.sign_in(link, name, out),
            Command::Quit => self.end(link, "+OK Goodbye", out),
            Command::Wrong { usage } => write(out, link, &format!("-SOFT_ERR please say {usage}")),
            Command::Pong => {}
            _ if !client.is_in => write(out, link, "-SOFT_ERR please say HELO username first"),
            Command::Broadcast { text } => {
                let said = text.clone().into();
                let call = Call::Say { place: Place::room(HOME), text: said, name: None };
                self.ask(link, call, Doing::Broadcast { text }, out);
            }
            Command::GetUsers => {
                self.ask(link, requests::users(None), Doing::ListUsers(Vec::new()), out);
            }
            Command::Private { to, text, key } => self.private(link, &to, &text, key.as_deref(), out),
            Command::RequestKey { of, stamp } => self.request_key(link, of, stamp, out),
            Command::GiveKey { to, key, stamp } => self.give_key(link, &to, &key, &stamp, out),
            Command::SendFile { to, meta } => self.send_file(link, &to, meta, out),
            Command::TakeFile { from, meta } => self.take_file(link, &from, &meta, out),
            Command::CreateGroup { .. }
            | Command::GetGroups
            | Command::JoinGroup { .. }
            | Command::GroupMessage { .. }
            | Command::LeaveGroup { .. }
            | Command::Kick { .. } => self.about_groups(link, command, out),
        }
    }

    fn sign_in(&mut self, link: Link, name: String, out: &mut Vec<Output>) {
        if !map::is_login(&name) {
            return self.end(link, map::BAD_LOGIN, out);
        }
        // Somebody of elsewhere is called so here.
        if self.names.is_taken(&name) {
            return self.end(link, map::LOGIN_USED, out);
        }
        let call = Call::SignIn { user: Some(name.clone()), password: None, exclusive: true };
        self.ask(link, call, Doing::SignIn { name }, out);
    }

    fn answered(&mut self, link: Link, doing: Doing, answer: &Value, out: &mut Vec<Output>) {
        match doing {
            Doing::SignIn { name } => {
                let user: Arc<str> = requests::read_signed_in(answer).0.into();
                // Two lines at once: somebody of elsewhere has come to be called so meanwhile.
                if *self.shown(&user) != *name {
                    return self.end(link, map::LOGIN_USED, out);
                }
                if let Some(client) = self.clients.get_mut(&link) {
                    client.user = Some(user);
                }
                let call = Call::Join { place: Place::room(HOME), password: None, last: 0 };
                self.ask(link, call, Doing::EnterHome, out);
            }
            Doing::EnterHome => self.ask(link, requests::own_groups(), Doing::FindOwnGroups, out),
            Doing::FindOwnGroups => self.welcome(link, answer, out),
            Doing::Broadcast { text } => {
                out.push(Output::Write { link, bytes: [b"+OK BCST ", &*text, b"\n"].concat() });
            }
            Doing::ListUsers(people) => self.list_users(link, people, answer, out),
            Doing::FindPeer { other, stamp } => self.offer_key(link, &other, stamp, out),
            Doing::FindNamesake { name, stamp } => {
                if requests::read_signed_in(answer).1 != Kind::Guest {
                    self.shown(&name);
                }
                self.request_key_of(link, self.meant(&name), stamp, out);
            }
            Doing::FindToForget { other } => self.let_forget(link, &other, out),
            Doing::Tell | Doing::TellSealed { .. } => write(out, link, "+OK PM"),
            Doing::OfferFile { .. } => {}
            doing => self.group_answered(link, doing, answer, out),
        }
    }

    fn refused(&mut self, link: Link, doing: Doing, refusal: &Refusal, out: &mut Vec<Output>) {
        let line = match doing {
            Doing::SignIn { .. } | Doing::EnterHome => {
                return self.end(link, &map::login_refused(refusal), out);
            }
            Doing::FindOwnGroups => return self.welcome(link, &Value::Null, out),
            Doing::Broadcast { .. } | Doing::ListUsers(_) => map::soft(refusal),
            Doing::FindNamesake { name, stamp } => {
                return self.request_key_of(link, self.meant(&name), stamp, out);
            }
            Doing::FindPeer { .. } | Doing::FindToForget { .. } | Doing::Tell => map::user_refused(refusal),
            Doing::TellSealed { to, line } => {
                self.no_longer_expected(link, to, &line);
                map::user_refused(refusal)
            }
            Doing::OfferFile { door } => {
                self.files.transfers.remove(&door);
                map::user_refused(refusal)
            }
            doing => return self.group_was_refused(link, doing, refusal, out),
        };
        write(out, link, &line);
    }

    fn welcome(&mut self, link: Link, groups: &Value, out: &mut Vec<Output>) {
        let Some(client) = self.clients.get_mut(&link) else { return };
        let Some(user) = client.user.clone() else { return };
        client.is_in = true;
        write(out, link, &format!("+OK HELO {user}"));
        self.users.insert(user, link);
        for group in requests::read_listed(groups) {
            self.hear_group(link, &group.name, out);
        }
    }

    fn list_users(&mut self, link: Link, mut people: Vec<Person>, answer: &Value, out: &mut Vec<Output>) {
        people.extend(requests::read_people(answer));
        if let Some(last) = people.last().filter(|_| requests::has_more(answer) && people.len() < MOST_ROWS) {
            let call = requests::users(Some(&last.user));
            return self.ask(link, call, Doing::ListUsers(people), out);
        }
        people.retain(|person| person.is_here);
        let mut rows: Vec<String> = people.iter().map(|it| format!("'{}'", self.shown(&it.user))).collect();
        rows.extend(self.clients.values().filter(|client| !client.is_in).map(|_| "unknown".into()));
        write(out, link, &format!("+SUCCESS [{}]", rows.join(", ")));
    }

    /// The broker says something to a client.
    pub(super) fn told(&mut self, link: Link, event: Event, out: &mut Vec<Output>) {
        let Some(client) = self.clients.get_mut(&link) else { return };
        match event {
            Event::Answered { tag, outcome } => {
                if let Some((_, doing)) = client.doing.take_if(|(awaited, _)| *awaited == tag) {
                    match outcome {
                        Ok(answer) => self.answered(link, doing, &answer, out),
                        Err(refusal) => self.refused(link, doing, &refusal, out),
                    }
                    self.go_on(link, out);
                }
            }
            Event::Said { place, message } => self.said(link, &place, &message, out),
            Event::Told { message } => self.told_in_private(link, &message, out),
            Event::Noted { place, from, json } => self.noted(link, &place, &from, &json, out),
            Event::Signalled { from, json } => self.signalled(link, &from, &json, out),
            Event::Removed { place, .. } => {
                if client.groups.remove(place.name()) || place == Place::room(HOME) {
                    let name = place.name();
                    write(out, link, &format!("+SUCCESS you are no longer in \"{name}\""));
                }
            }
            Event::Gone => {
                write(out, link, "-SOFT_ERR the server is away; what you say is sent when it is back");
            }
            Event::Back { .. } => write(out, link, "+SUCCESS the server is back"),
            Event::Ended { reason } => {
                let line = format!("-ERR you are signed out: {}", crate::flow::line(&reason));
                self.end(link, &line, out);
            }
            Event::Entered { .. } | Event::Left { .. } => {}
        }
    }

    fn said(&mut self, link: Link, place: &Place, message: &Message, out: &mut Vec<Output>) {
        if self.user_of(link).as_ref() == Some(&message.from) {
            return;
        }
        let from = self.names.shown(&message.from, message.name.as_deref());
        self.write_lines(link, &head(place, &from), &message.text, out);
    }

    /// Something happened to what was said, or to somebody in a place.
    fn noted(&mut self, link: Link, place: &Place, from: &Arc<str>, json: &Value, out: &mut Vec<Output>) {
        let Some(me) = self.user_of(link) else { return };
        if let (Place::Group(group), Some((user, by))) = (place, requests::read_put_out(json)) {
            // Who did it has an answer, and who it happened to a line of its own (7.10).
            if user != &*me && by != &*me {
                let text = super::groups::kicked_out(&self.shown(user), group);
                let by = self.shown(by);
                self.write_lines(link, &head(place, &by), text.as_bytes(), out);
            }
        } else if let Some(text) = notice::of_change(json).filter(|_| *from != me) {
            let from = self.shown(from);
            self.write_lines(link, &head(place, &from), text.as_bytes(), out);
        }
    }

    /// What another user or the broker lets a client know of.
    fn signalled(&mut self, link: Link, from: &Arc<str>, json: &Value, out: &mut Vec<Output>) {
        let kind = json.get("type").and_then(Value::as_str).unwrap_or_default();
        let place = json.get("place").and_then(Value::as_str).unwrap_or_default();
        let group = place.strip_prefix("group/");
        match (kind, group) {
            ("kicked" | "banned", Some(group)) => {
                self.forget_group(link, group);
                let group = crate::flow::line(group);
                return write(
                    out,
                    link,
                    &format!("+SUCCESS you have been kicked out of the group \"{group}\""),
                );
            }
            ("gone", Some(group)) => self.forget_group(link, group),
            ("added", Some(group)) => self.hear_group(link, group, out),
            ("offer", _) if self.offered(link, from, json, out) => return,
            _ => {}
        }
        let shown = self.shown(from);
        if let Some((port, address)) = requests::read_peer_offer(json) {
            let text = format!("{shown} offers a connection: {address} {port}");
            return self.write_lines(link, "+SUCCESS ", text.as_bytes(), out);
        }
        if let Some(text) = notice::of_signal(&shown, json) {
            self.write_lines(link, "+SUCCESS ", text.as_bytes(), out);
        }
    }
}

/// How a line of a place begins: `BCST [ann] `, `GROUP_MESSAGE g: [ann] `.
fn head(place: &Place, from: &str) -> String {
    match place {
        Place::Room(_) => format!("BCST [{from}] "),
        Place::Group(group) => format!("GROUP_MESSAGE {group}: [{from}] "),
    }
}
