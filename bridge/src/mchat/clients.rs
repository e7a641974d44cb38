//! The clients of an mChat server and what they say; `told` is what they are told.

mod told;

use super::{
    map,
    server::{Pulse, Room, Server},
    wire::{Frame, Wire},
};
use crate::{
    chat::{Call, Place, Tag, Voice},
    machine::{Link, Output},
    requests,
};
use bytes::Bytes;
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

/// A client that has sent no nick.
const NO_NAME: &str = "NoName";

/// Frames that wait at most before no more are read. One piece of the stream adds some hundred.
const MOST_WAITING: usize = 64;

/// Messages of one client that wait for their acknowledgement at most.
const MOST_UNACKNOWLEDGED: usize = 64;

/// How long after the first client has entered a room the broker tells who is in it, rather than who comes.
const SETTLING_MS: u64 = 2000;

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) from: SocketAddr,
    pub(super) wire: Wire,
    pub(super) pulse: Pulse,
    /// What is to be done, in order.
    pub(super) queue: VecDeque<Frame>,
    pub(super) nick: String,
    /// The nick as it is shown elsewhere, once that is known.
    shown: Option<String>,
    /// The name that the broker gave.
    user: Option<Arc<str>>,
    /// The rooms that it is in, by its own names.
    rooms: HashMap<Arc<str>, Place>,
    doing: Option<(Tag, Doing)>,
    /// The rooms of messages that are not acknowledged yet.
    saying: HashMap<Tag, Arc<str>>,
    next_tag: Tag,
}

/// What the next frame waits for.
#[derive(Debug)]
enum Doing {
    SignIn,
    Join {
        room: String,
        place: Place,
    },
    /// The room is there in another spelling.
    FindSpelling {
        room: String,
        name: String,
    },
    /// Whether the room is one that crosses the mesh.
    Describe {
        room: String,
        place: Place,
    },
    /// A private room that this client has just made is hidden from listings.
    Hide {
        room: String,
        place: Place,
    },
    /// Whether the nick is somebody's user name.
    LookUpNick,
}

impl Client {
    pub(super) fn new(from: SocketAddr) -> Self {
        Self {
            from,
            wire: Wire::default(),
            pulse: Pulse::new(),
            queue: VecDeque::new(),
            nick: NO_NAME.into(),
            shown: None,
            user: None,
            rooms: HashMap::new(),
            doing: None,
            saying: HashMap::new(),
            next_tag: 0,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.queue.len() < MOST_WAITING
    }

    fn ask(&mut self, link: Link, call: Call, out: &mut Vec<Output>) -> Tag {
        self.next_tag += 1;
        out.push(Output::Ask { link, voice: Voice::FIRST, tag: self.next_tag, call });
        self.next_tag
    }

    fn ask_and_wait(&mut self, link: Link, call: Call, doing: Doing, out: &mut Vec<Output>) {
        let tag = self.ask(link, call, out);
        self.doing = Some((tag, doing));
    }
}

impl Server {
    /// Does what a client has asked for, up to the first thing that has to wait.
    pub(super) fn go_on(&mut self, link: Link, out: &mut Vec<Output>) {
        while let Some(client) = self.clients.get_mut(&link) {
            if client.doing.is_some() {
                return;
            }
            let Some(frame) = client.queue.front() else { return };
            let has_unacknowledged = !client.saying.is_empty();
            match frame {
                Frame::Nick { nick } if *nick != client.nick => {
                    if has_unacknowledged {
                        return;
                    }
                    let nick = nick.clone();
                    client.queue.pop_front();
                    self.change_nick(link, nick, out);
                }
                Frame::Join { room } if !client.rooms.contains_key(room.as_str()) => {
                    if client.user.is_none() {
                        let call = Call::SignIn { user: None, password: None, exclusive: false };
                        return client.ask_and_wait(link, call, Doing::SignIn, out);
                    }
                    let room = room.clone();
                    client.queue.pop_front();
                    self.join(link, room, out);
                }
                Frame::Part { room } if client.rooms.contains_key(room.as_str()) => {
                    if has_unacknowledged {
                        return;
                    }
                    let room = room.clone();
                    client.queue.pop_front();
                    self.part(link, &room, out);
                }
                Frame::Msg { room, .. } if client.rooms.contains_key(room.as_str()) => {
                    if !self.say_next(link, out) {
                        return;
                    }
                }
                // Unallowed actions (section 6) change nothing and have no answer.
                _ => drop(client.queue.pop_front()),
            }
        }
    }

    fn change_nick(&mut self, link: Link, nick: String, out: &mut Vec<Output>) {
        let Some(client) = self.clients.get_mut(&link) else { return };
        let old = std::mem::replace(&mut client.nick, nick);
        client.shown = None;
        let text = format!("{old} changed nickname to {}", client.nick);
        if let Some(known) = client.user.as_ref().and_then(|user| self.nicks.get_mut(user)) {
            known.nick = client.nick.clone();
        }
        let mut rooms: Vec<Arc<str>> = client.rooms.keys().cloned().collect();
        rooms.sort();
        for room in rooms {
            self.system(&room, &text, None, out);
        }
    }

    fn join(&mut self, link: Link, room: String, out: &mut Vec<Output>) {
        let Some(name) = map::room_to_broker(&room) else { return };
        if !self.rooms.contains_key(room.as_str()) && self.rooms.len() >= self.settings.rooms {
            out.push(Output::Log("a client could not join a room: too many rooms".into()));
            return;
        }
        let known = self.rooms.get(room.as_str()).map(|room| room.place.clone());
        let place = known.unwrap_or_else(|| Place::room(&name));
        let Some(client) = self.clients.get_mut(&link) else { return };
        let call = Call::Join { place: place.clone(), password: map::password_of(&room), last: 0 };
        client.ask_and_wait(link, call, Doing::Join { room, place }, out);
    }

    fn entered(&mut self, link: Link, room: &str, place: Place, is_public: bool, out: &mut Vec<Output>) {
        let Some(client) = self.clients.get_mut(&link) else { return };
        let name: Arc<str> = room.into();
        client.rooms.insert(name.clone(), place.clone());
        let text = format!("{} joined channel", client.nick);
        let settled_ms = self.now_ms + SETTLING_MS;
        let (members, others) = (BTreeSet::new(), BTreeSet::new());
        let new = || Room { place, is_public, members, seq: 0, others, settled_ms };
        self.rooms.entry(name).or_insert_with(new).members.insert(link);
        self.system(room, &text, None, out);
    }

    fn part(&mut self, link: Link, room: &str, out: &mut Vec<Output>) {
        let Some(client) = self.clients.get_mut(&link) else { return };
        let Some(place) = client.rooms.remove(room) else { return };
        // Two of its rooms can be one there, where they differ in case only.
        if !client.rooms.values().any(|other| *other == place) {
            client.ask(link, Call::Leave { place }, out);
        }
        let text = format!("{} left channel", client.nick);
        self.leave_room(link, room, &text, out);
    }

    fn leave_room(&mut self, link: Link, room: &str, text: &str, out: &mut Vec<Output>) {
        self.system(room, text, Some(link), out);
        if let Some(found) = self.rooms.get_mut(room) {
            found.members.remove(&link);
            if found.members.is_empty() {
                self.rooms.remove(room);
            }
        }
    }

    /// Says the message that is next; whether that was possible.
    fn say_next(&mut self, link: Link, out: &mut Vec<Output>) -> bool {
        let Some(client) = self.clients.get_mut(&link) else { return false };
        let Some(Frame::Msg { nick, .. }) = client.queue.front() else { return false };
        if *nick != client.nick {
            if !client.saying.is_empty() {
                return false;
            }
            let nick = nick.clone();
            self.change_nick(link, nick, out);
            return true;
        }
        if client.saying.len() >= MOST_UNACKNOWLEDGED {
            return false;
        }
        let Some(shown) = client.shown.clone() else {
            let call = requests::profile(&client.nick);
            client.ask_and_wait(link, call, Doing::LookUpNick, out);
            return false;
        };
        let Some(Frame::Msg { room, text, .. }) = client.queue.pop_front() else { return false };
        let Some((room, place)) = client.rooms.get_key_value(room.as_str()) else { return true };
        let (room, place) = (room.clone(), place.clone());
        let tag = client.ask(link, Call::Say { place, text: Bytes::from(text), name: Some(shown) }, out);
        client.saying.insert(tag, room);
        true
    }

    /// A client is gone: it leaves all its rooms, and each is told.
    pub(super) fn client_gone(&mut self, link: Link, out: &mut Vec<Output>) {
        let Some(client) = self.clients.remove(&link) else { return };
        out.push(Output::Log(format!("client disconnected, from {}", client.from)));
        if let Some(user) = client.user {
            self.nicks.remove(&user);
        }
        let text = format!("{} left channel", client.nick);
        let mut rooms: Vec<Arc<str>> = client.rooms.into_keys().collect();
        rooms.sort();
        for room in rooms {
            self.leave_room(link, &room, &text, out);
        }
    }
}
