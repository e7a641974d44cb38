//! What the broker says to the clients of an mChat server.

use super::{Doing, SETTLING_MS};
use crate::{
    chat::{Call, Event, Message, Place, Refusal, Tag},
    machine::{Link, Output},
    mchat::{
        map,
        server::{Nick, Server, write},
        wire,
    },
    notice,
    requests::{self, Kind},
};
use serde_json::Value;
use std::sync::Arc;

impl Server {
    /// The broker says something to a client.
    pub(in crate::mchat) fn client_told(&mut self, link: Link, event: Event, out: &mut Vec<Output>) {
        match event {
            Event::Answered { tag, outcome } => self.client_answered(link, tag, outcome, out),
            Event::Said { place, message } => self.said(link, &place, &message, out),
            Event::Noted { place, from, json } => {
                if let Some(text) = notice::of_change(&json).filter(|_| !self.nicks.contains_key(&from)) {
                    let nick = self.names.shown(&from, None);
                    for room in self.rooms_of(link, &place) {
                        for line in wire::msg(&nick, &room, text.as_bytes()) {
                            write(out, link, &line);
                        }
                    }
                }
            }
            Event::Told { message } => {
                // mChat knows no private messages; one is shown in one of the rooms, to its user alone.
                let nick = self.names.shown(&message.from, message.name.as_deref());
                let text = format!("{nick} to you alone: {}", String::from_utf8_lossy(&message.text));
                self.tell_in_one_room(link, &text, out);
            }
            Event::Entered { place, user } => self.other_entered(link, &place, &user, out),
            Event::Left { place, user } => self.other_left(link, &place, &user, out),
            Event::Removed { place, reason } => {
                for room in self.rooms_of(link, &place) {
                    for line in wire::system(&room, &format!("you are no longer here: {reason}")) {
                        write(out, link, &line);
                    }
                    let Some(client) = self.clients.get_mut(&link) else { return };
                    client.rooms.remove(&room);
                    let text = format!("{} left channel", client.nick);
                    self.leave_room(link, &room, &text, out);
                }
            }
            Event::Gone => {
                self.settle(link, u64::MAX);
                self.tell_in_every_room(link, "the server behind this one is away", out);
            }
            Event::Back { user } => {
                self.named_anew(link, user);
                self.tell_in_every_room(link, "the server behind this one is back", out);
            }
            Event::Ended { reason } => {
                self.tell_in_one_room(link, &format!("you are disconnected: {reason}"), out);
                out.push(Output::Close { link });
                self.client_gone(link, out);
            }
            Event::Signalled { .. } => {}
        }
    }

    fn client_answered(
        &mut self,
        link: Link,
        tag: Tag,
        outcome: Result<Value, Refusal>,
        out: &mut Vec<Output>,
    ) {
        let Some(client) = self.clients.get_mut(&link) else { return };
        if let Some(room) = client.saying.remove(&tag) {
            if let Err(refusal) = outcome {
                let text = format!("your message was not sent: {}", refusal.reason);
                for line in wire::system(&room, &text) {
                    write(out, link, &line);
                }
            }
        } else if client.doing.as_ref().is_some_and(|(awaited, _)| *awaited == tag)
            && let Some((_, doing)) = client.doing.take()
        {
            match outcome {
                Ok(answer) => self.done(link, doing, &answer, out),
                Err(refusal) => self.refused(link, doing, &refusal, out),
            }
        }
        self.go_on(link, out);
    }

    fn done(&mut self, link: Link, doing: Doing, answer: &Value, out: &mut Vec<Output>) {
        let Some(client) = self.clients.get_mut(&link) else { return };
        match doing {
            Doing::SignIn => {
                let (user, _) = requests::read_signed_in(answer);
                let user: Arc<str> = user.into();
                let nick = client.nick.clone();
                let known = Nick { shown: nick.clone(), nick, is_of_peer: false };
                client.user = Some(user.clone());
                self.nicks.insert(user, known);
            }
            Doing::Join { room, place } => match self.rooms.get(room.as_str()) {
                Some(known) => {
                    let is_public = known.is_public;
                    self.entered(link, &room, place, is_public, out);
                }
                None => {
                    let call = requests::info(&place);
                    client.ask_and_wait(link, call, Doing::Describe { room, place }, out);
                }
            },
            Doing::FindSpelling { room, name } => {
                let is_same = |found: &String| found.to_lowercase() == name.to_lowercase();
                let found = requests::read_listed(answer).into_iter().map(|found| found.name).find(is_same);
                if let Some(found) = found {
                    let place = Place::room(&found);
                    let call = Call::Join { place: place.clone(), password: None, last: 0 };
                    client.ask_and_wait(link, call, Doing::Join { room, place }, out);
                }
            }
            Doing::Describe { room, place } => {
                let found = requests::listed(answer);
                match map::password_of(&room) {
                    Some(password) if client.user.as_deref() == Some(&*found.owner) && !found.is_private => {
                        let call = requests::hide_room(place.name(), &password);
                        client.ask_and_wait(link, call, Doing::Hide { room, place }, out);
                    }
                    // To other servers it is a room like any other.
                    Some(_) => self.entered(link, &room, place, true, out),
                    None => self.entered(link, &room, place, !found.is_private, out),
                }
            }
            Doing::Hide { room, place } => self.entered(link, &room, place, true, out),
            Doing::LookUpNick => {
                let is_somebodys = requests::read_signed_in(answer).1 != Kind::Guest;
                self.show_as(link, is_somebodys);
            }
        }
    }

    fn refused(&mut self, link: Link, doing: Doing, refusal: &Refusal, out: &mut Vec<Output>) {
        let Some(client) = self.clients.get_mut(&link) else { return };
        match doing {
            // Without the broker there is nothing to join; the client may try again.
            Doing::SignIn => {
                client.queue.pop_front();
                client.ask(link, Call::SignOut, out);
            }
            Doing::Join { room, place } if refusal.code == "name.spelling" => {
                let name = place.name().to_owned();
                let call = requests::search_rooms(&name);
                client.ask_and_wait(link, call, Doing::FindSpelling { room, name }, out);
            }
            // "The protocol should have some way for the server to answer to failed JOIN" (section 7), and has none.
            Doing::Join { .. } | Doing::FindSpelling { .. } => {}
            Doing::Describe { room, place } => self.entered(link, &room, place, false, out),
            Doing::Hide { room, place } => self.entered(link, &room, place, true, out),
            Doing::LookUpNick => self.show_as(link, false),
        }
    }

    /// The broker has given a client another name, as it had forgotten the first.
    fn named_anew(&mut self, link: Link, user: Arc<str>) {
        let Some(client) = self.clients.get_mut(&link) else { return };
        if let Some(known) = client.user.replace(user.clone()).and_then(|old| self.nicks.remove(&old)) {
            self.nicks.insert(user.clone(), known);
        }
        // Another client may have heard of the new name first.
        for room in self.rooms.values_mut() {
            room.others.remove(&user);
        }
        self.settle(link, self.now_ms + SETTLING_MS);
    }

    /// Until then, who is in a client's rooms has not just come.
    fn settle(&mut self, link: Link, until_ms: u64) {
        for room in self.clients.get(&link).into_iter().flat_map(|client| client.rooms.keys()) {
            if let Some(room) = self.rooms.get_mut(room) {
                room.settled_ms = until_ms;
            }
        }
    }

    fn show_as(&mut self, link: Link, is_somebodys: bool) {
        let Some(client) = self.clients.get_mut(&link) else { return };
        let shown = map::shown_elsewhere(&client.nick, is_somebodys);
        client.shown = Some(shown.clone());
        if let Some(known) = client.user.as_ref().and_then(|user| self.nicks.get_mut(user)) {
            known.shown = shown;
        }
    }

    /// Something was said in a place that a client is in.
    fn said(&mut self, link: Link, place: &Place, message: &Message, out: &mut Vec<Output>) {
        let known = self.nicks.get(&message.from);
        let is_own =
            known.is_some() && self.clients.get(&link).and_then(|it| it.user.as_ref()) == Some(&message.from);
        let nick: Arc<str> = match known {
            // A message that was said under an earlier nick keeps it.
            Some(known) if message.name.as_deref().is_none_or(|name| name == known.shown) => {
                known.nick.as_str().into()
            }
            _ => self.names.shown(&message.from, message.name.as_deref()),
        };
        let is_of_peer = known.is_some_and(|known| known.is_of_peer);
        for room in self.rooms_of(link, place) {
            let lines = wire::msg(&nick, &room, &message.text);
            if !is_own {
                for line in &lines {
                    write(out, link, line);
                }
            }
            if message.is_replayed || is_of_peer {
                continue;
            }
            let Some(found) = self.rooms.get_mut(&room) else { continue };
            if found.is_public && message.seq > found.seq {
                found.seq = message.seq;
                for line in &lines {
                    self.to_peers(line, out);
                }
            }
        }
    }

    fn rooms_of(&self, link: Link, place: &Place) -> Vec<Arc<str>> {
        let rooms = self.clients.get(&link).into_iter().flat_map(|client| &client.rooms);
        let mut rooms: Vec<Arc<str>> =
            rooms.filter(|(_, other)| *other == place).map(|(room, _)| room.clone()).collect();
        rooms.sort();
        rooms
    }

    /// Somebody of elsewhere came. All clients are told that by the broker; the first in the room counts.
    fn other_entered(&mut self, link: Link, place: &Place, user: &Arc<str>, out: &mut Vec<Output>) {
        if self.nicks.contains_key(user) {
            return;
        }
        for room in self.rooms_of(link, place) {
            let Some(found) = self.rooms.get_mut(&room).filter(|room| room.members.first() == Some(&link))
            else {
                continue;
            };
            if found.others.insert(user.clone()) && self.now_ms >= found.settled_ms {
                let text = format!("{} joined channel", self.names.shown(user, None));
                self.system(&room, &text, None, out);
            }
        }
    }

    fn other_left(&mut self, link: Link, place: &Place, user: &Arc<str>, out: &mut Vec<Output>) {
        for room in self.rooms_of(link, place) {
            let Some(found) = self.rooms.get_mut(&room).filter(|room| room.members.first() == Some(&link))
            else {
                continue;
            };
            if found.others.remove(user) && self.now_ms >= found.settled_ms {
                let text = format!("{} left channel", self.names.shown(user, None));
                self.system(&room, &text, None, out);
            }
        }
    }

    fn tell_in_every_room(&self, link: Link, text: &str, out: &mut Vec<Output>) {
        let Some(client) = self.clients.get(&link) else { return };
        let mut rooms: Vec<&Arc<str>> = client.rooms.keys().collect();
        rooms.sort();
        for room in rooms {
            for line in wire::system(room, text) {
                write(out, link, &line);
            }
        }
    }

    fn tell_in_one_room(&self, link: Link, text: &str, out: &mut Vec<Output>) {
        let room = self.clients.get(&link).and_then(|client| client.rooms.keys().min());
        for line in room.map(|room| wire::system(room, text)).into_iter().flatten() {
            write(out, link, &line);
        }
    }
}
