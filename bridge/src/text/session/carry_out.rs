//! Commands to calls.

use super::{Doing, Login, Session, ToUser};
use crate::{
    chat::{Call, Place, Secret, Voice},
    machine::Side,
    requests::{self, Counter, Kind, NewPlace},
    text::{
        command::{Command, HELP, Posting},
        map::{About, Status},
    },
};
use bytes::Bytes;

impl Session {
    pub(super) fn carry_out(&mut self, command: Command, side: &mut Side<'_>) {
        match command {
            Command::LoginRegistered { user, password } => self.sign_in(user, Some(password), side),
            Command::LoginAnonymous { user } => self.sign_in(user, None, side),
            Command::Challenge if self.settings.challenge.is_some() => {
                let challenge = self.challenger.challenge();
                side.write(format!("@ret #login {challenge}\r\n"));
            }
            Command::LoginDigest { user, digest } if self.settings.challenge.is_some() => {
                let known = self.settings.clone();
                let known = known.challenge.as_ref();
                match known.and_then(|known| self.challenger.check(known, &user, &digest)) {
                    Some(password) => self.sign_in(user, Some(password), side),
                    None => self.status(Status::REGD_WRONG_PASSWORD, side),
                }
            }
            Command::Challenge | Command::LoginDigest { .. } => self.status(Status::NO_USER_TYPE, side),
            Command::Help => {
                let lines = HELP.join("\r\n");
                side.write(format!("@ret #help {}\r\n{lines}\r\n", HELP.len()));
            }
            Command::Quit => self.end(side),
            Command::PostMessage(mut posting) => {
                if self.login.is_none() {
                    posting.head = Err(Status::NO_LOGIN);
                }
                if posting.parts == 0 {
                    self.post(posting, Vec::new(), side);
                } else {
                    self.posting = Some((posting, Vec::new()));
                }
            }
            command => match &self.login {
                None => self.status(Status::NO_LOGIN, side),
                Some(login) => {
                    let now = Now {
                        is_registered: login.kind == Kind::Registered,
                        room: login.room.clone(),
                        group: login.group.as_ref().map(|group| group.place.clone()),
                    };
                    self.signed_in(command, now, side);
                }
            },
        }
    }

    fn sign_in(&mut self, user: String, password: Option<Secret>, side: &mut Side<'_>) {
        let voice = Voice(self.next_voice);
        self.next_voice += 1;
        let tag = self.tag();
        let is_registered = password.is_some();
        side.ask(voice, tag, Call::SignIn { user: Some(user), exclusive: !is_registered, password });
        self.doing = Some((tag, Doing::SignIn { voice, is_registered }));
    }

    fn signed_in(&mut self, command: Command, now: Now, side: &mut Side<'_>) {
        match command {
            Command::RemoveLogin | Command::ChangePassword { .. } if !now.is_registered => {
                self.status(Status::NO_ANON, side);
            }
            Command::RemoveLogin => self.ask(requests::unregister(), Doing::RemoveLogin, side),
            Command::ChangePassword { new, old } => {
                self.ask(requests::change_password(&old, &new), Doing::Plain(About::Login), side);
            }
            Command::CreateLogin { user, password, name, email } => {
                let call = requests::register(&user, &password, &name, &email);
                self.ask(call, Doing::Plain(About::Account), side);
            }
            Command::WhoAmI => self.ask(requests::info(&now.room), Doing::WhoAmI, side),
            Command::Count { counter, word } => self.count(counter, word, &now, side),
            Command::Broadcast { text } => {
                let say = Call::Say { place: now.room, text: Bytes::from(text), name: None };
                self.ask(say, Doing::Broadcast, side);
            }
            Command::SendTo { user, text } => self.address(user, ToUser::Text(text), side),
            Command::PeerToPeer { user, port, address } => {
                self.address(user, ToUser::Peer(port, address), side);
            }
            Command::History { count } => {
                self.history = count;
                let join = Call::Join { place: now.room, password: None, last: count };
                self.ask(join, Doing::Plain(About::Room), side);
            }
            command @ (Command::ListRooms
            | Command::ListUsers
            | Command::CreateRoom { .. }
            | Command::RemoveRoom { .. }
            | Command::ChangeRoom { .. }) => self.about_rooms(command, &now, side),
            command => self.about_groups(command, &now, side),
        }
    }

    /// A name that was shown for somebody else is its user's all the same, if there is one.
    fn address(&mut self, name: String, then: ToUser, side: &mut Side<'_>) {
        if self.users.is_taken(&name) {
            self.ask(requests::profile(&name), Doing::FindUser { name, then }, side);
        } else {
            self.send_to(name, then, side);
        }
    }

    pub(super) fn send_to(&mut self, user: String, what: ToUser, side: &mut Side<'_>) {
        let call = match what {
            ToUser::Text(text) => Call::Tell { user, text: Bytes::from(text), name: None },
            ToUser::Peer(port, address) => requests::offer_peer(&user, &port, &address),
        };
        self.ask(call, Doing::Plain(About::User), side);
    }

    fn about_rooms(&mut self, command: Command, now: &Now, side: &mut Side<'_>) {
        match command {
            Command::ListRooms => self.ask(requests::list_rooms(None), Doing::ListRooms(Vec::new()), side),
            Command::ListUsers => {
                let call = requests::members(&now.room, None);
                self.ask(call, Doing::ListUsers { room: now.room.clone(), people: Vec::new() }, side);
            }
            Command::CreateRoom { room, password } => {
                let new = NewPlace { password, ..NewPlace::default() };
                let call = requests::create(&Place::room(self.rooms.user(&room)), &new);
                self.ask(call, Doing::Plain(About::Room), side);
            }
            Command::RemoveRoom { room } => {
                let room = Place::room(self.rooms.user(&room));
                // The document counts oneself among those who are in it.
                if room == now.room {
                    return self.status(Status::NOT_EMPTY, side);
                }
                self.ask(requests::delete_empty(&room), Doing::Plain(About::Room), side);
            }
            Command::ChangeRoom { is_registered: true, .. } if !now.is_registered => {
                self.status(Status::NO_ANON, side);
            }
            Command::ChangeRoom { room, password, .. } => {
                let room = Place::room(self.rooms.user(&room));
                if room == now.room {
                    return self.status(Status::OK, side);
                }
                self.ask(requests::info(&room), Doing::FindToChange { room, password }, side);
            }
            _ => self.status(Status::WRONG_COMMAND, side),
        }
    }

    fn about_groups(&mut self, command: Command, now: &Now, side: &mut Side<'_>) {
        match command {
            Command::ListGroups => self.ask(requests::list_groups(None), Doing::ListGroups(Vec::new()), side),
            Command::CreateGroup { group, password, is_registered, secs } => {
                let expires_secs = Some(secs.unwrap_or(self.settings.group_secs));
                let new = NewPlace {
                    password,
                    is_registered_only: is_registered,
                    expires_secs,
                    ..NewPlace::default()
                };
                let call = requests::create(&Place::group(self.groups.user(&group)), &new);
                self.ask(call, Doing::Plain(About::Group), side);
            }
            Command::JoinGroup { group, password } => {
                let name = self.groups.user(&group).to_owned();
                let place = Place::group(&name);
                if now.group.as_ref() == Some(&place) {
                    return self.status(Status::OK, side);
                }
                self.ask(requests::info(&place), Doing::FindToJoin { place, password }, side);
            }
            Command::LeaveGroup => match &now.group {
                Some(group) => self.ask(requests::leave_group(group.name()), Doing::LeaveGroup, side),
                None => self.status(Status::OK, side),
            },
            Command::ListMessages { parent } => match &now.group {
                Some(group) => {
                    let call = requests::list_posts(group.name(), parent, None);
                    self.ask(call, Doing::ListMessages { parent, posts: Vec::new() }, side);
                }
                None => self.status(Status::NO_GROUP, side),
            },
            Command::GetMessage { number } => match &now.group {
                Some(group) => self.ask(requests::one_post(group.name(), number), Doing::GetMessage, side),
                None => self.status(Status::NO_GROUP, side),
            },
            _ => self.status(Status::WRONG_COMMAND, side),
        }
    }

    fn count(&mut self, counter: Counter, word: &'static str, now: &Now, side: &mut Side<'_>) {
        let place = match counter {
            Counter::Users => Some(&now.room),
            Counter::Posts if now.group.is_none() => return self.status(Status::NO_GROUP, side),
            Counter::Posts => now.group.as_ref(),
            Counter::Rooms | Counter::Presence | Counter::Groups => None,
        };
        self.ask(requests::counter(place), Doing::Count { counter, word }, side);
    }

    /// All lines of a message to post are there.
    pub(super) fn post(&mut self, posting: Posting, mut text: Vec<u8>, side: &mut Side<'_>) {
        text.pop();
        let head = match posting.head {
            Ok(head) => head,
            Err(status) => return self.status(status, side),
        };
        let Some(Login { group: Some(group), .. }) = &self.login else {
            return self.status(Status::NO_GROUP, side);
        };
        let secs = head.secs.unwrap_or(self.settings.message_secs);
        let expires = (head.parent == 0).then_some(secs);
        let text = String::from_utf8_lossy(&text);
        let call = requests::post(group.place.name(), &head.title, &text, head.parent, expires);
        self.ask(call, Doing::Plain(About::ThisGroup), side);
    }
}

/// Who asks, and where that user is.
struct Now {
    is_registered: bool,
    room: Place,
    group: Option<Place>,
}
