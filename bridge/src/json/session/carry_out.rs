//! What each command asks of the broker, and what its answer becomes.

use super::{Doing, Login, Open, Session};
use crate::{
    chat::{Call, Place, Refusal, Secret, Voice},
    json::{
        command::{Command, To, Update},
        map,
    },
    machine::Side,
    requests,
};
use katydid_chat::time;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Groups of one user that are joined at most.
const MOST_GROUPS: usize = 1000;

impl Session {
    pub(super) fn carry_out(
        &mut self,
        name: &'static str,
        id: Option<Value>,
        command: Command,
        side: &mut Side<'_>,
    ) {
        if let Command::Register { .. } | Command::Login { .. } | Command::Ping = command {
            return self.enter(name, id, command, side);
        }
        if self.login.is_none() {
            return self.refuse(name, id.as_ref(), "login.needed", "sign in first", side);
        }
        let (call, doing) = match command {
            Command::Message { to, text, from } => {
                let me = self.login.as_ref().map(|login| login.user.as_ref());
                if from.as_deref().is_some_and(|from| Some(from) != me) {
                    return self.refuse(name, id.as_ref(), "request.bad-field", "From is not you", side);
                }
                let text = text.into();
                let call = match to {
                    To::User(user) => Call::Tell { user, text, name: None },
                    To::Group(group) => Call::Say { place: Place::of_id(&group), text, name: None },
                };
                (call, Doing::Said)
            }
            Command::Invite { group: Some(group), user: Some(user) } => {
                let is_me = self.login.as_ref().is_some_and(|login| *login.user == *user);
                let call = match Place::of_id(&group) {
                    // Who invites oneself to a room enters it.
                    place @ Place::Room(_) if is_me => Call::Join { place, password: None, last: 0 },
                    Place::Room(room) => requests::invite_to_room(&room, &user),
                    Place::Group(_) => requests::add_member(&group, &user),
                };
                (call, Doing::Invite { group })
            }
            Command::Invite { group: Some(_), user: None } => {
                return self.refuse(name, id.as_ref(), "request.bad-field", "To is missing", side);
            }
            Command::Invite { group: None, user } => {
                let members: Vec<_> = user.as_deref().into_iter().collect();
                (requests::create_secret_group(&members), Doing::Create)
            }
            Command::Leave { group } => match Place::of_id(&group) {
                place @ Place::Room(_) => (Call::Leave { place }, Doing::LeaveRoom { group }),
                Place::Group(_) => (requests::leave_group(&group), Doing::Leave { group }),
            },
            Command::Update(update) => {
                let is_offline = update.status.as_deref().is_some_and(is_offline);
                if is_offline {
                    self.sign_out(side);
                    return side.write(map::line(&map::done(name, id.as_ref(), json!({}))));
                }
                let doing = Doing::Each { rest: calls(update), fields: json!({}) };
                return self.go_on(Open { name, id, tag: 0, doing }, side);
            }
            Command::History { to, count, since_ms } => {
                let place = match &to {
                    To::User(user) => format!("user/{user}"),
                    To::Group(group) => Place::of_id(group).to_string(),
                };
                let from = since_ms.map(time::format);
                (requests::history(&place, count, from.as_deref()), Doing::History { to })
            }
            Command::Register { .. } | Command::Login { .. } | Command::Ping => return,
        };
        self.ask(name, id, call, doing, side);
    }

    /// What works before signing in.
    fn enter(&mut self, name: &'static str, id: Option<Value>, command: Command, side: &mut Side<'_>) {
        match command {
            Command::Register { user, password, display, email } => {
                let call = requests::register(&user, &password, &display, &email);
                if self.login.is_some() {
                    return self.ask(name, id, call, Doing::Register { voice: None, user }, side);
                }
                let voice = self.voice();
                let sign_in = Call::SignIn { user: None, password: None, exclusive: false };
                self.ask_as(voice, name, id, sign_in, Doing::RegisterAs { voice, call, user }, side);
            }
            Command::Login { user, password, update } => {
                self.sign_out(side);
                let voice = self.voice();
                let sign_in = Call::SignIn { user: Some(user), password: Some(password), exclusive: false };
                self.ask_as(voice, name, id, sign_in, Doing::SignIn { voice, update }, side);
            }
            _ => side.write(map::line(&map::done(name, id.as_ref(), json!({})))),
        }
    }

    fn sign_out(&mut self, side: &mut Side<'_>) {
        if let Some(login) = self.login.take() {
            self.leave_voice(login.voice, side);
        }
        self.lookups.clear();
        self.heard.clear();
    }

    fn leave_voice(&mut self, voice: Voice, side: &mut Side<'_>) {
        let tag = self.tag();
        side.ask(voice, tag, Call::SignOut);
    }

    fn refuse(&self, name: &str, id: Option<&Value>, code: &str, reason: &str, side: &mut Side<'_>) {
        side.write(map::line(&map::refused(name, id, code, reason)));
    }

    fn ask(&mut self, name: &'static str, id: Option<Value>, call: Call, doing: Doing, side: &mut Side<'_>) {
        self.ask_as(super::login_voice(&self.login), name, id, call, doing, side);
    }

    fn ask_as(
        &mut self,
        voice: Voice,
        name: &'static str,
        id: Option<Value>,
        call: Call,
        doing: Doing,
        side: &mut Side<'_>,
    ) {
        let tag = self.tag();
        side.ask(voice, tag, call);
        self.open = Some(Open { name, id, tag, doing });
    }

    /// Asks for the next of several, or answers.
    fn go_on(&mut self, open: Open, side: &mut Side<'_>) {
        let Open { name, id, doing, .. } = open;
        let Doing::Each { mut rest, fields } = doing else { return };
        match rest.pop_front() {
            Some(call) => self.ask(name, id, call, Doing::Each { rest, fields }, side),
            None => side.write(map::line(&map::done(name, id.as_ref(), fields))),
        }
    }

    pub(super) fn answered(&mut self, open: Open, outcome: Result<Value, Refusal>, side: &mut Side<'_>) {
        let Open { name, id, doing, .. } = open;
        let answer = match outcome {
            Ok(answer) => answer,
            Err(refusal) => return self.not_done(name, id, doing, refusal, side),
        };
        let fields = match doing {
            Doing::RegisterAs { voice, call, user } => {
                let doing = Doing::Register { voice: Some(voice), user };
                return self.ask_as(voice, name, id, call, doing, side);
            }
            Doing::Register { voice, user } => {
                if let Some(voice) = voice {
                    self.leave_voice(voice, side);
                }
                json!({"UID": self.uid(&user)})
            }
            Doing::SignIn { voice, update } => {
                let (user, _) = requests::read_signed_in(&answer);
                self.login = Some(Login { voice, user: user.as_str().into() });
                let doing = Doing::Groups { names: Vec::new(), update };
                return self.ask(name, id, requests::list_my_groups(None), doing, side);
            }
            Doing::Groups { mut names, update } => {
                names.extend(map::names(&answer));
                if requests::has_more(&answer) && names.len() < MOST_GROUPS {
                    let next = requests::list_my_groups(names.last().map(String::as_str));
                    return self.ask(name, id, next, Doing::Groups { names, update }, side);
                }
                return self.signed_in(name, id, &names, update, side);
            }
            Doing::Each { rest, fields } => {
                let doing = Doing::Each { rest, fields };
                return self.go_on(Open { name, id, tag: 0, doing }, side);
            }
            Doing::Said => json!({"Seq": answer.get("seq")}),
            Doing::Invite { group } | Doing::LeaveRoom { group } => json!({"Group": group}),
            Doing::Create => {
                let group = answer.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
                // Those who were added may have spoken already.
                self.join(&group, super::ALL_OF_A_NEW_GROUP, side);
                json!({"Group": group})
            }
            Doing::Leave { group } => {
                let tag = self.tag();
                side.ask(super::login_voice(&self.login), tag, Call::Leave { place: Place::group(&group) });
                json!({"Group": group})
            }
            Doing::Heirs { group } => {
                let me = self.login.as_ref().map(|login| login.user.clone()).unwrap_or_default();
                let heir = requests::read_people(&answer).into_iter().find(|person| *person.user != *me);
                let (call, doing) = match heir {
                    Some(heir) => (requests::pass_on(&group, &heir.user), Doing::PassOn { group }),
                    None => (requests::delete_empty(&Place::group(&group)), Doing::Leave { group }),
                };
                return self.ask(name, id, call, doing, side);
            }
            Doing::PassOn { group } => {
                return self.ask(name, id, requests::leave_group(&group), Doing::Leave { group }, side);
            }
            Doing::History { to } => {
                let (to, kind) = match to {
                    To::User(user) => (self.uid(&user), map::PRIVATE),
                    To::Group(group) => (group, map::GROUP),
                };
                let messages = map::page(&answer, &self.settings.host);
                let is_end = answer.get("end").and_then(Value::as_bool).unwrap_or(true);
                json!({"To": to, "Type": kind, "Messages": messages, "More": !is_end})
            }
        };
        side.write(map::line(&map::done(name, id.as_ref(), fields)));
    }

    fn signed_in(
        &mut self,
        name: &'static str,
        id: Option<Value>,
        groups: &[String],
        update: Update,
        side: &mut Side<'_>,
    ) {
        for group in groups {
            self.join(group, 0, side);
        }
        let user = self.login.as_ref().map(|login| login.user.clone()).unwrap_or_default();
        let fields = json!({"UID": self.uid(&user), "Groups": groups});
        let mut rest = VecDeque::new();
        if self.settings.delete_on_delivery {
            rest.push_back(requests::delete_on_delivery());
        }
        rest.extend(calls(update));
        self.go_on(Open { name, id, tag: 0, doing: Doing::Each { rest, fields } }, side);
    }

    fn not_done(
        &mut self,
        name: &'static str,
        id: Option<Value>,
        doing: Doing,
        refusal: Refusal,
        side: &mut Side<'_>,
    ) {
        match doing {
            Doing::RegisterAs { voice, .. }
            | Doing::Register { voice: Some(voice), .. }
            | Doing::SignIn { voice, .. } => {
                self.leave_voice(voice, side);
            }
            // Without a list the messages of groups are missed, but private ones come.
            Doing::Groups { names, update } => return self.signed_in(name, id, &names, update, side),
            Doing::Leave { group } if refusal.code == "room.owner-stays" => {
                let members = requests::members(&Place::group(&group), None);
                return self.ask(name, id, members, Doing::Heirs { group }, side);
            }
            _ => {}
        }
        self.refuse(name, id.as_ref(), &refusal.code, &refusal.reason, side);
    }
}

fn is_offline(status: &str) -> bool {
    status.eq_ignore_ascii_case("offline")
}

/// What an `update` asks for, in its order.
fn calls(update: Update) -> VecDeque<Call> {
    let Update { display, status, password } = update;
    let display = display.map(|display| requests::set_display(&display));
    let status = status.map(|status| {
        let lower = status.to_ascii_lowercase();
        match lower.as_str() {
            "online" => requests::set_presence("online", ""),
            "away" | "busy" => requests::set_presence("away", ""),
            _ => requests::set_presence("online", &status),
        }
    });
    let password = password.map(|(new, old): (Secret, Secret)| requests::change_password(&old, &new));
    display.into_iter().chain(status).chain(password).collect()
}
