//! One connection of the JSON protocol: commands in, one answer each, and what is said to the user between them.
//!
//! One command is carried out at a time; its answer says which command it answers, and messages may stand before it.
//! A room is to this protocol a group whose id is `room/x`: one invites oneself to enter it.
//! Invariant: every object and every piece of rubbish gets exactly one answer, but a `ping` that answers the server's;
//! nothing is handed on under a name that the broker did not say; everything written is one object in one line.
//!
//! ```text
//!           login, update with a password      groups are known
//!  Nobody ---------------------------------> Groups ----------> signed in
//!    ^  ^----- refused ----+                                      |
//!    +---------------- update with status "offline" --------------+
//! ```

mod carry_out;
#[cfg(test)]
mod tests;

use super::{
    command::{self, To, Update},
    map, read,
    wire::{DEEPEST, Frame, Wire},
};
use crate::{
    chat::{Call, Event, Message, Place, Refusal, Tag, Voice},
    machine::{self, Side},
    notice,
};
use serde_json::{Value, json};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// How long a display name is taken for right.
const NAME_MS: u64 = 300_000;

/// Display names remembered at most.
const MOST_NAMES: usize = 1000;

/// Messages that wait for their senders' display names at most.
const MOST_HEARD: usize = 128;
/// Messages at most that are said in a new group before it is entered.
const ALL_OF_A_NEW_GROUP: u32 = 1000;

/// What the operator decided.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What stands behind the `@` of a UID.
    pub host: String,
    /// Silence after which the client is asked whether it is there.
    pub ping_ms: u64,
    /// How long it may take to say so.
    pub pong_ms: u64,
    /// Delete private messages from the server once they were delivered.
    pub delete_on_delivery: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { host: "localhost".into(), ping_ms: 60_000, pong_ms: 20_000, delete_on_delivery: true }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    wire: Wire,
    next_tag: Tag,
    next_voice: u32,
    login: Option<Login>,
    open: Option<Open>,
    names: HashMap<Arc<str>, (u64, Option<String>)>,
    lookups: HashMap<Tag, Arc<str>>,
    /// What the user is told once a group is entered.
    invites: HashMap<Tag, Value>,
    /// What was said and not handed on yet.
    heard: VecDeque<Heard>,
    heard_ms: u64,
    pinged_ms: Option<u64>,
    is_over: bool,
}

/// Who is signed in.
#[derive(Debug)]
struct Login {
    voice: Voice,
    user: Arc<str>,
}

#[derive(Debug)]
struct Heard {
    from: Arc<str>,
    object: Value,
}

/// The command whose answer is awaited.
#[derive(Debug)]
struct Open {
    name: &'static str,
    id: Option<Value>,
    tag: Tag,
    doing: Doing,
}

#[derive(Debug)]
enum Doing {
    /// A guest asks for the account.
    RegisterAs {
        voice: Voice,
        call: Call,
        user: String,
    },
    Register {
        voice: Option<Voice>,
        user: String,
    },
    SignIn {
        voice: Voice,
        update: Update,
    },
    /// Groups that one is in.
    Groups {
        names: Vec<String>,
        update: Update,
    },
    /// Several requests, one after another; the answer's fields.
    Each {
        rest: VecDeque<Call>,
        fields: Value,
    },
    Said,
    Invite {
        group: String,
    },
    Create,
    Leave {
        group: String,
    },
    LeaveRoom {
        group: String,
    },
    /// The owner leaves: somebody else must own it first.
    Heirs {
        group: String,
    },
    PassOn {
        group: String,
    },
    History {
        to: To,
    },
}

impl Session {
    /// A connection that has just been accepted.
    pub fn new(settings: Arc<Settings>, now_ms: u64) -> Self {
        Self {
            settings,
            wire: Wire::default(),
            next_tag: 0,
            next_voice: 0,
            login: None,
            open: None,
            names: HashMap::new(),
            lookups: HashMap::new(),
            invites: HashMap::new(),
            heard: VecDeque::new(),
            heard_ms: now_ms,
            pinged_ms: None,
            is_over: false,
        }
    }

    /// Carries out the objects that are there, up to the first that has to wait for the broker.
    fn advance(&mut self, now_ms: u64, side: &mut Side<'_>) {
        while self.open.is_none() && !self.is_over {
            let Some(frame) = self.wire.next_frame() else { return };
            self.heard_ms = now_ms;
            let is_awaited = self.pinged_ms.take().is_some();
            let is_end = frame == Frame::TooLong;
            let (code, reason) = match frame {
                Frame::Object(bytes) => match read::object(&bytes, DEEPEST) {
                    Ok(fields) => {
                        self.object(
                            command::read(fields, &self.settings.host, self.login.is_some()),
                            is_awaited,
                            side,
                        );
                        continue;
                    }
                    Err(reason) => ("request.malformed", reason),
                },
                Frame::Rubbish => ("request.malformed", "not an object"),
                Frame::TooDeep => ("request.too-deep", "too many levels"),
                Frame::TooLong => ("request.too-long", "more than 64 KiB"),
            };
            side.write(map::line(&map::refused("", None, code, reason)));
            if is_end {
                self.end(side);
            }
        }
    }

    fn object(&mut self, read: command::Read, is_awaited: bool, side: &mut Side<'_>) {
        let command::Read { name, id, command } = read;
        match command {
            Err((code, reason)) => side.write(map::line(&map::refused(name, id.as_ref(), code, &reason))),
            // It answers the server's own.
            Ok(command::Command::Ping) if is_awaited => {}
            Ok(command) => self.carry_out(name, id, command, side),
        }
    }

    fn tag(&mut self) -> Tag {
        self.next_tag += 1;
        self.next_tag
    }

    fn voice(&mut self) -> Voice {
        self.next_voice += 1;
        Voice(self.next_voice - 1)
    }

    fn end(&mut self, side: &mut Side<'_>) {
        self.is_over = true;
        side.close();
    }

    fn uid(&self, user: &str) -> String {
        map::uid(user, &self.settings.host)
    }

    /// Hands on what was said, with its sender's display name as soon as that is known.
    fn hear(&mut self, now_ms: u64, from: &Arc<str>, object: Value, side: &mut Side<'_>) {
        self.heard.push_back(Heard { from: from.clone(), object });
        let is_known = self.names.get(from).is_some_and(|(at, _)| now_ms.saturating_sub(*at) < NAME_MS);
        let is_asked = self.lookups.values().any(|user| user == from);
        if !is_known
            && !is_asked
            && let Some(voice) = self.login.as_ref().map(|login| login.voice)
        {
            self.names.remove(from);
            let tag = self.tag();
            self.lookups.insert(tag, from.clone());
            side.ask(voice, tag, crate::requests::profile(from));
        }
        self.hand_on(side);
    }

    fn hand_on(&mut self, side: &mut Side<'_>) {
        // The answer to signing in comes first, then what waited.
        let is_signing_in = matches!(&self.open, Some(Open { doing: Doing::Groups { .. }, .. }))
            || matches!(&self.open, Some(Open { doing: Doing::Each { fields, .. }, .. }) if fields.get("UID").is_some());
        while let Some(first) = self.heard.front() {
            let is_named = self.names.contains_key(&first.from) && !is_signing_in;
            if !is_named && self.heard.len() <= MOST_HEARD {
                return;
            }
            let Some(Heard { from, mut object }) = self.heard.pop_front() else { return };
            if let Some((_, Some(display))) = self.names.get(&from)
                && object.get("Name").is_none()
            {
                object["Name"] = display.as_str().into();
            }
            side.write(map::line(&object));
        }
    }

    fn named(&mut self, now_ms: u64, user: Arc<str>, outcome: Result<Value, Refusal>, side: &mut Side<'_>) {
        let display = outcome.ok().and_then(|answer| answer.get("display")?.as_str().map(Into::into));
        if self.names.len() >= MOST_NAMES {
            self.names.clear();
            // Whoever waits is handed on without a name.
            for heard in &self.heard {
                self.names.insert(heard.from.clone(), (now_ms, None));
            }
        }
        self.names.insert(user, (now_ms, display));
        self.hand_on(side);
    }

    /// Lets the user know of something for which the document has no command.
    fn tell(&self, text: &str, side: &mut Side<'_>) {
        side.write(map::line(&json!({"Command": "notice", "Message": text})));
    }

    /// Enters a group, with the last of what was said there.
    fn join(&mut self, group: &str, last: u32, side: &mut Side<'_>) -> Tag {
        let (tag, voice) = (self.tag(), login_voice(&self.login));
        side.ask(voice, tag, Call::Join { place: Place::group(group), password: None, last });
        tag
    }

    fn said(&mut self, now_ms: u64, place: Option<&Place>, message: &Message, side: &mut Side<'_>) {
        let Some(login) = &self.login else { return };
        if message.from == login.user {
            return;
        }
        let object = map::message(place, &login.user, &self.settings.host, message);
        self.hear(now_ms, &message.from, object, side);
    }

    fn signalled(&mut self, from: &Arc<str>, json: &Value, side: &mut Side<'_>) {
        let text = |field: &str| json.get(field).and_then(Value::as_str).unwrap_or_default();
        let Some(login) = &self.login else { return };
        let me = login.user.clone();
        match (text("type"), text("place").strip_prefix("group/")) {
            // Members of the JSON protocol are added without being asked; so are those whom others invite. Who is told
            // of it hears what is said from then on, in a group that is new what was said already, too.
            (kind @ ("added" | "invitation"), Some(group)) => {
                if kind == "invitation" {
                    let (tag, voice) = (self.tag(), login_voice(&self.login));
                    side.ask(voice, tag, crate::requests::join_group(group, None));
                }
                let invite =
                    json!({"Command": "invite", "To": self.uid(&me), "Group": group, "From": self.uid(from)});
                if json.get("created").and_then(Value::as_bool).unwrap_or(false) {
                    side.write(map::line(&invite));
                    self.join(group, ALL_OF_A_NEW_GROUP, side);
                } else {
                    let tag = self.join(group, 0, side);
                    self.invites.insert(tag, invite);
                }
            }
            // Said by what follows them.
            ("kicked" | "banned" | "gone", _) => {}
            _ => {
                if let Some(line) = notice::of_signal(from, json) {
                    self.tell(&line, side);
                }
            }
        }
    }
}

fn login_voice(login: &Option<Login>) -> Voice {
    login.as_ref().map_or(Voice::FIRST, |login| login.voice)
}

impl machine::Session for Session {
    fn received(&mut self, now_ms: u64, bytes: &[u8], side: &mut Side<'_>) {
        self.wire.push(bytes);
        self.advance(now_ms, side);
    }

    fn happened(&mut self, now_ms: u64, voice: Voice, event: Event, side: &mut Side<'_>) {
        if let Event::Answered { tag, outcome } = event {
            if let Some(user) = self.lookups.remove(&tag) {
                self.named(now_ms, user, outcome, side);
            } else if let Some(invite) = self.invites.remove(&tag) {
                side.write(map::line(&invite));
            } else if self.open.as_ref().is_some_and(|open| open.tag == tag)
                && let Some(open) = self.open.take()
            {
                // It was not read meanwhile.
                self.heard_ms = now_ms;
                self.answered(open, outcome, side);
                self.hand_on(side);
                self.advance(now_ms, side);
            }
            return;
        }
        if self.login.as_ref().is_none_or(|login| login.voice != voice) {
            return;
        }
        match event {
            Event::Said { place, message } => self.said(now_ms, Some(&place), &message, side),
            Event::Told { message } => self.said(now_ms, None, &message, side),
            Event::Noted { place, from, json } => {
                let Some(line) = notice::of_change(&json) else { return };
                let text = line.into();
                let message = Message { from, name: None, text, seq: 0, is_replayed: false };
                self.said(now_ms, Some(&place), &message, side);
            }
            Event::Signalled { from, json } => self.signalled(&from, &json, side),
            Event::Removed { place, reason } => {
                let leave = json!({"Command": "leave", "Group": place.id(), "Reason": reason});
                side.write(map::line(&leave));
            }
            Event::Gone => self.tell("the server is away; what you say is sent when it is back", side),
            Event::Back { .. } => self.tell("the server is back", side),
            Event::Ended { reason } => {
                let update = json!({"Command": "update", "Status": "offline", "Reason": reason});
                side.write(map::line(&update));
                self.end(side);
            }
            Event::Answered { .. } | Event::Entered { .. } | Event::Left { .. } => {}
        }
    }

    fn ticked(&mut self, now_ms: u64, side: &mut Side<'_>) {
        if self.open.is_some() {
            // It is not read, and can't be blamed for saying nothing.
            (self.heard_ms, self.pinged_ms) = (now_ms, None);
        } else if self.pinged_ms.is_some_and(|at| now_ms >= at + self.settings.pong_ms) {
            let refused = map::refused("ping", None, "ping.timeout", "no ping came back: you are offline");
            side.write(map::line(&refused));
            self.end(side);
        } else if self.pinged_ms.is_none() && now_ms >= self.heard_ms + self.settings.ping_ms {
            self.pinged_ms = Some(now_ms);
            side.write(map::line(&json!({"Command": "ping"})));
        }
    }

    fn deadline_ms(&self) -> Option<u64> {
        Some(match self.pinged_ms {
            Some(at) => at + self.settings.pong_ms,
            None => self.heard_ms + self.settings.ping_ms,
        })
    }

    fn is_ready(&self) -> bool {
        self.open.is_none() && !self.is_over
    }
}
