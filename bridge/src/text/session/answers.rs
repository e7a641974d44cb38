//! Answers of the broker to lines.

use super::{BRIDGE, Doing, Group, HOME, Login, MOST_ROWS, Session, mess};
use crate::{
    chat::{Call, Place, Refusal, Secret, Voice},
    flow,
    machine::Side,
    notice,
    requests::{self, Kind, Listed, Person, Post},
    text::{
        map::{self, About, Status},
        wire::{self, LONGEST_LINE},
    },
};
use serde_json::Value;

impl Session {
    pub(super) fn answered(&mut self, doing: Doing, outcome: Result<Value, Refusal>, side: &mut Side<'_>) {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(refusal) => return self.refused(doing, &refusal, side),
        };
        match doing {
            Doing::SignIn { voice, is_registered } => self.let_in(voice, is_registered, &answer, side),
            Doing::EnterHome { login } => {
                // A second login replaces the first, and only when it has worked.
                self.part(side);
                if let Some(old) = self.login.replace(login) {
                    let tag = self.tag();
                    side.ask(old.voice, tag, Call::SignOut);
                }
                self.status(Status::OK, side);
            }
            Doing::Plain(_) => self.status(Status::OK, side),
            Doing::RemoveLogin => self.removed_login(side),
            Doing::CheckRemoved if requests::read_signed_in(&answer).1 == Kind::Registered => {
                self.status(Status::UNKNOWN, side);
            }
            Doing::CheckRemoved => self.removed_login(side),
            Doing::WhoAmI => self.who_am_i(&answer, side),
            Doing::ListRooms(rooms) => self.list_rooms(rooms, &answer, side),
            Doing::ListUsers { room, people } => self.list_users(room, people, &answer, side),
            Doing::FindToChange { room, password } => self.enter(room, password, side),
            Doing::ChangeRoom { room } => {
                if let Some(login) = &mut self.login {
                    let place = std::mem::replace(&mut login.room, room);
                    self.also_ask(Call::Leave { place }, side);
                }
                self.status(Status::OK, side);
            }
            Doing::Broadcast => self.release(side),
            Doing::FindUser { name, then } => {
                if requests::read_signed_in(&answer).1 == Kind::Guest {
                    return self.send_to(self.users.user(&name).to_owned(), then, side);
                }
                self.users.shown(&name, None);
                self.send_to(name, then, side);
            }
            Doing::Count { counter, word } => {
                let number = requests::read_counter(&answer, counter);
                side.write(format!("@ret {word} {number}\r\n"));
            }
            Doing::ListGroups(groups) => self.list_groups(groups, &answer, side),
            Doing::FindToJoin { place, password } => {
                self.join_group(place, password.as_ref(), requests::has_role(&answer), side);
            }
            Doing::JoinGroup { place, was_member } => {
                let number = requests::listed(&answer).number;
                self.enter_group(Group { place, number, was_member }, side);
            }
            Doing::LeaveGroup => self.left_group(side),
            Doing::ListMessages { parent, posts } => self.list_messages(parent, posts, &answer, side),
            Doing::GetMessage => self.one_message(&answer, side),
        }
    }

    fn refused(&mut self, doing: Doing, refusal: &Refusal, side: &mut Side<'_>) {
        let about = match doing {
            Doing::SignIn { voice, .. } => {
                let tag = self.tag();
                side.ask(voice, tag, Call::SignOut);
                About::Login
            }
            Doing::EnterHome { login } => {
                let tag = self.tag();
                side.ask(login.voice, tag, Call::SignOut);
                About::Room
            }
            Doing::Broadcast => {
                self.release(side);
                About::ThisRoom
            }
            Doing::FindUser { name, then } => {
                return self.send_to(self.users.user(&name).to_owned(), then, side);
            }
            // A secret group lets in who knows its password.
            Doing::FindToJoin { place, password } => {
                return self.join_group(place, password.as_ref(), false, side);
            }
            // The document knows no failure of it.
            Doing::LeaveGroup => return self.left_group(side),
            Doing::Plain(about) => about,
            Doing::RemoveLogin if refusal.code == Refusal::LOST => {
                let user = self.login.as_ref().map(|login| login.user.to_string()).unwrap_or_default();
                return self.ask(requests::profile(&user), Doing::CheckRemoved, side);
            }
            Doing::CheckRemoved if refusal.code == "user.not-found" => return self.removed_login(side),
            Doing::RemoveLogin | Doing::CheckRemoved => About::Login,
            Doing::WhoAmI | Doing::ListUsers { .. } => About::ThisRoom,
            Doing::ListGroups(_) | Doing::JoinGroup { .. } => About::Group,
            Doing::ListMessages { .. } | Doing::GetMessage => About::ThisGroup,
            Doing::Count { counter: requests::Counter::Posts, .. } => About::ThisGroup,
            Doing::Count { .. } => About::ThisRoom,
            Doing::ListRooms(_) | Doing::FindToChange { .. } | Doing::ChangeRoom { .. } => About::Room,
        };
        self.status(map::status(&refusal.code, about), side);
    }

    fn let_in(&mut self, voice: Voice, is_registered: bool, answer: &Value, side: &mut Side<'_>) {
        let (user, kind) = requests::read_signed_in(answer);
        if is_registered && kind != Kind::Registered {
            let tag = self.tag();
            side.ask(voice, tag, Call::SignOut);
            return self.status(Status::REGD_WRONG_NAME, side);
        }
        let room = Place::room(HOME);
        let login = Login { voice, user: user.into(), kind, room: room.clone(), group: None };
        let tag = self.tag();
        side.ask(voice, tag, Call::Join { place: room, password: None, last: self.history });
        self.doing = Some((tag, Doing::EnterHome { login }));
    }

    /// The account is gone, and with it who was signed in.
    pub(super) fn removed_login(&mut self, side: &mut Side<'_>) {
        self.also_ask(Call::SignOut, side);
        self.login = None;
        self.sign_in_until_ms = self.now_ms.saturating_add(self.settings.sign_in_within_ms);
        self.status(Status::OK, side);
    }

    fn who_am_i(&mut self, answer: &Value, side: &mut Side<'_>) {
        let Some(login) = &self.login else { return };
        let users = requests::listed(answer).present;
        let (group, number) = match &login.group {
            Some(group) => (self.groups.shown(group.place.name(), None), group.number),
            None => ("-".into(), 0),
        };
        let user = self.users.shown(&login.user, None);
        let room = self.rooms.shown(login.room.name(), None);
        side.write(format!("@ret #whoami {user} {room} {users} {group} {number}\r\n"));
    }

    fn list_rooms(&mut self, mut rooms: Vec<Listed>, answer: &Value, side: &mut Side<'_>) {
        rooms.extend(requests::read_listed(answer));
        if let Some(last) = rooms.last().filter(|_| goes_on(answer, rooms.len())) {
            let call = requests::list_rooms(Some(&last.name));
            return self.ask(call, Doing::ListRooms(rooms), side);
        }
        let mut lines = format!("@ret #listrooms {}\r\n", rooms.len());
        for room in &rooms {
            let name = self.rooms.shown(&room.name, None);
            let owner = self.owner(&room.owner);
            let secs = if room.present > 0 || room.name == HOME { 0 } else { room.expires_secs };
            let access = map::access(room);
            lines += &format!("{name} {owner} {} {secs} {access}\r\n", room.present);
        }
        side.write(lines);
    }

    fn list_users(&mut self, room: Place, mut people: Vec<Person>, answer: &Value, side: &mut Side<'_>) {
        people.extend(requests::read_people(answer));
        if let Some(last) = people.last().filter(|_| goes_on(answer, people.len())) {
            let call = requests::members(&room, Some(&last.user));
            return self.ask(call, Doing::ListUsers { room, people }, side);
        }
        people.retain(|person| person.is_here);
        let mut lines = format!("@ret #listusers {}\r\n", people.len());
        for person in &people {
            let name = self.users.shown(&person.user, None);
            lines += &format!("{name} {}\r\n", map::kind(person.kind));
        }
        side.write(lines);
    }

    fn enter(&mut self, room: Place, password: Option<Secret>, side: &mut Side<'_>) {
        let join = Call::Join { place: room.clone(), password, last: self.history };
        self.ask(join, Doing::ChangeRoom { room }, side);
    }

    fn list_groups(&mut self, mut groups: Vec<Listed>, answer: &Value, side: &mut Side<'_>) {
        groups.extend(requests::read_listed(answer));
        if let Some(last) = groups.last().filter(|_| goes_on(answer, groups.len())) {
            let call = requests::list_groups(Some(&last.name));
            return self.ask(call, Doing::ListGroups(groups), side);
        }
        let mut lines = format!("@ret #listgroups {}\r\n", groups.len());
        for group in &groups {
            let name = self.groups.shown(&group.name, None);
            let owner = self.owner(&group.owner);
            let (number, posts, users, secs) = (group.number, group.posts, group.members, group.expires_secs);
            let access = map::access(group);
            lines += &format!("{name} {owner} {number} {posts} {users} {secs} {access}\r\n");
        }
        side.write(lines);
    }

    fn join_group(&mut self, place: Place, password: Option<&Secret>, was_member: bool, side: &mut Side<'_>) {
        let call = requests::join_group(place.name(), password);
        self.ask(call, Doing::JoinGroup { place, was_member }, side);
    }

    fn enter_group(&mut self, group: Group, side: &mut Side<'_>) {
        let Some(login) = &mut self.login else { return };
        if let Some(old) = login.group.replace(group) {
            self.also_ask(requests::leave_group(old.place.name()), side);
        }
        self.status(Status::OK, side);
    }

    fn left_group(&mut self, side: &mut Side<'_>) {
        if let Some(login) = &mut self.login {
            login.group = None;
        }
        self.status(Status::OK, side);
    }

    fn list_messages(
        &mut self,
        parent: Option<u64>,
        mut posts: Vec<Post>,
        answer: &Value,
        side: &mut Side<'_>,
    ) {
        posts.extend(requests::read_posts(answer));
        let group = self.login.as_ref().and_then(|login| login.group.as_ref());
        if let Some((last, group)) = posts.last().zip(group).filter(|_| goes_on(answer, posts.len())) {
            let call = requests::list_posts(group.place.name(), parent, Some(last.number));
            return self.ask(call, Doing::ListMessages { parent, posts }, side);
        }
        let mut lines = format!("@ret #listmessages {}\r\n", posts.len()).into_bytes();
        for post in &posts {
            let owner = self.owner(&post.owner);
            lines.extend_from_slice(&map::message_row(post, &owner));
            lines.extend_from_slice(b"\r\n");
        }
        side.write(lines);
    }

    fn one_message(&mut self, answer: &Value, side: &mut Side<'_>) {
        let post = requests::read_post(answer);
        let mut text = Vec::new();
        let mut parts = 0;
        for part in post.text.split('\n') {
            for line in flow::lines(part.as_bytes(), LONGEST_LINE - 3, <[u8]>::len) {
                // The client counts the lines; one that doesn't can't be led to take them for frames.
                if line.starts_with(b"@") {
                    text.push(b' ');
                }
                text.extend_from_slice(&line);
                text.extend_from_slice(b"\r\n");
                parts += 1;
            }
        }
        let mut lines = b"@ret #getmessage ".to_vec();
        lines.extend_from_slice(&map::title(&post.title));
        let (number, parent, replies, secs) = (post.number, post.parent, post.replies, post.expires_secs);
        lines.extend_from_slice(format!(" {parts} {number} {parent} {replies} {secs}\r\n").as_bytes());
        lines.extend_from_slice(&text);
        side.write(lines);
    }

    /// What another user or the broker lets this one know of.
    pub(super) fn signalled(&mut self, from: &str, json: &Value, side: &mut Side<'_>) {
        let shown = self.users.shown(from, None);
        if let Some((port, address)) = requests::read_peer_offer(json) {
            let offer = flow::line(&format!(" {port} {address}"));
            let quoted = wire::quote(offer.as_bytes());
            let mut line = format!("@mess #peer2peer {shown} ").into_bytes();
            line.extend_from_slice(&quoted);
            line.extend_from_slice(b"\r\n");
            // An offer that does not fit a line is none.
            if line.len() <= LONGEST_LINE {
                self.say(line, side);
            }
        } else if let Some(text) = notice::of_signal(&shown, json) {
            for line in mess("#sendto", BRIDGE, text.as_bytes()) {
                self.say(line, side);
            }
        }
    }

    fn owner(&mut self, owner: &str) -> std::sync::Arc<str> {
        if owner.is_empty() { "-".into() } else { self.users.shown(owner, None) }
    }
}

/// Whether another page of a listing is asked for.
fn goes_on(answer: &Value, rows: usize) -> bool {
    requests::has_more(answer) && rows < MOST_ROWS
}
