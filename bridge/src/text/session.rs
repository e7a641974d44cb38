//! One connection of the `#` protocol: commands in, answers and messages out.
//!
//! One command is carried out at a time, and its answer leaves before the next is looked at, as clients tell answers
//! apart by their order. Invariant: after signing in, the user is in exactly one room, `Home` at first, and in at most
//! one message group; every command gets exactly one `@ret` or `@status`, but a `#broadcast` that worked, whose answer is
//! the `@mess` that everybody in the room gets.
//!
//! ```text
//!             #login                       the broker let in        entered Home
//!  Nobody ---------------> Doing::SignIn ----------------> EnterHome ----------> Login
//!    ^  ^--------------- refused <-----------------------------+                   |
//!    +------------------------------- #rmlogin ------------------------------------+
//! ```

mod answers;
mod carry_out;
#[cfg(test)]
mod tests;

use super::{
    challenge::{Challenger, Known},
    command::{self, Posting},
    map::{About, NAMES, Status},
    wire::{self, Frame, LONGEST_LINE, Wire},
};
use crate::{
    chat::{Call, Event, Message, Place, Secret, Tag, Voice},
    flow,
    machine::{self, Side},
    names::Names,
    notice,
    requests::{self, Counter, Kind, Listed, Person, Post},
};
use std::sync::Arc;

/// The room that everybody is in at first.
const HOME: &str = "Home";

/// Bytes of one posted message at most.
const LONGEST_POST: usize = 64 * 1024;

/// Lines that wait for the acknowledgement of one's own message at most.
const MOST_HELD: usize = 256;

/// Rows of one listing at most.
const MOST_ROWS: usize = 10_000;

/// Who speaks when the bridge itself does.
const BRIDGE: &str = katydid_chat::name::BROKER;

/// What the operator decided.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whom the challenge login serves; `None` is off.
    pub challenge: Option<Known>,
    /// When a group deletes itself that says nothing of it, in seconds of being unused.
    pub group_secs: u64,
    /// When a message deletes itself that says nothing of it, in seconds.
    pub message_secs: u64,
    /// How long a connection may take to sign in, in milliseconds.
    pub sign_in_within_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            challenge: None,
            group_secs: 30 * 86_400,
            message_secs: 30 * 86_400,
            sign_in_within_ms: 600_000,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    wire: Wire,
    users: Names,
    rooms: Names,
    groups: Names,
    challenger: Challenger,
    next_tag: Tag,
    next_voice: u32,
    login: Option<Login>,
    doing: Option<(Tag, Doing)>,
    posting: Option<(Posting, Vec<u8>)>,
    /// How many earlier messages come first in a room.
    history: u32,
    /// Lines that wait, in their order, for the acknowledgement of one's own message that is the first of them.
    held: Option<Vec<Vec<u8>>>,
    sign_in_until_ms: u64,
    now_ms: u64,
    is_over: bool,
}

/// Who is signed in.
#[derive(Debug)]
struct Login {
    voice: Voice,
    user: Arc<str>,
    kind: Kind,
    room: Place,
    group: Option<Group>,
}

#[derive(Debug)]
struct Group {
    place: Place,
    number: u64,
    /// Whether the user was a member before this connection, and stays one after it.
    was_member: bool,
}

/// The command whose answer is awaited.
#[derive(Debug)]
enum Doing {
    SignIn {
        voice: Voice,
        is_registered: bool,
    },
    EnterHome {
        login: Login,
    },
    /// Answered with nothing but a status.
    Plain(About),
    RemoveLogin,
    /// The broker hung up before it said whether it had removed the account.
    CheckRemoved,
    WhoAmI,
    ListRooms(Vec<Listed>),
    ListUsers {
        room: Place,
        people: Vec<Person>,
    },
    FindToChange {
        room: Place,
        password: Option<Secret>,
    },
    ChangeRoom {
        room: Place,
    },
    Broadcast,
    /// Whether somebody has the name by which another one is shown here.
    FindUser {
        name: String,
        then: ToUser,
    },
    Count {
        counter: Counter,
        word: &'static str,
    },
    ListGroups(Vec<Listed>),
    FindToJoin {
        place: Place,
        password: Option<Secret>,
    },
    JoinGroup {
        place: Place,
        was_member: bool,
    },
    LeaveGroup,
    ListMessages {
        parent: Option<u64>,
        posts: Vec<Post>,
    },
    GetMessage,
}

/// What goes to one user.
#[derive(Debug)]
enum ToUser {
    Text(Vec<u8>),
    /// A port and an address.
    Peer(String, String),
}

impl Session {
    /// A connection that has just been accepted; `chance` comes from the system's source of random numbers.
    pub fn new(settings: Arc<Settings>, chance: [u8; 16], now_ms: u64) -> Self {
        Self {
            sign_in_until_ms: now_ms.saturating_add(settings.sign_in_within_ms),
            now_ms,
            settings,
            wire: Wire::default(),
            users: Names::new(NAMES),
            rooms: Names::new(NAMES),
            groups: Names::new(NAMES),
            challenger: Challenger::new(chance),
            next_tag: 0,
            next_voice: 0,
            login: None,
            doing: None,
            posting: None,
            history: 0,
            held: None,
            is_over: false,
        }
    }

    /// Carries out the lines that are there, up to the first that has to wait for the broker.
    fn advance(&mut self, side: &mut Side<'_>) {
        while self.doing.is_none() && !self.is_over {
            match self.wire.next_line() {
                None => return,
                Some(Frame::Line(line)) => self.line(&line, side),
                Some(Frame::TooLong) => {
                    let text = format!("a line of more than {LONGEST_LINE} bytes: disconnected");
                    self.tell(&text, side);
                    self.end(side);
                }
            }
        }
    }

    fn line(&mut self, line: &[u8], side: &mut Side<'_>) {
        if let Some((posting, text)) = &mut self.posting {
            if posting.head.is_ok() && text.len() + line.len() < LONGEST_POST {
                text.extend_from_slice(line);
                text.push(b'\n');
            } else if posting.head.is_ok() {
                posting.head = Err(Status::NO_MEMORY);
            }
            posting.parts -= 1;
            if posting.parts > 0 {
                return;
            }
            if let Some((posting, text)) = self.posting.take() {
                self.post(posting, text, side);
            }
            return;
        }
        match command::parse(line) {
            None => {}
            Some(Ok(command)) => self.carry_out(command, side),
            Some(Err(status)) => {
                let needs_login = self.login.is_none()
                    && !matches!(status, Status::WRONG_COMMAND)
                    && !line.trim_ascii_start().to_ascii_lowercase().starts_with(b"#login");
                self.status(if needs_login { Status::NO_LOGIN } else { status }, side);
            }
        }
    }

    fn tag(&mut self) -> Tag {
        self.next_tag += 1;
        self.next_tag
    }

    /// Asks on behalf of who is signed in, and goes on when that is answered.
    fn ask(&mut self, call: Call, doing: Doing, side: &mut Side<'_>) {
        let Some(voice) = self.login.as_ref().map(|login| login.voice) else { return };
        let tag = self.tag();
        side.ask(voice, tag, call);
        self.doing = Some((tag, doing));
    }

    /// Asks for something that nothing waits for.
    fn also_ask(&mut self, call: Call, side: &mut Side<'_>) {
        let Some(voice) = self.login.as_ref().map(|login| login.voice) else { return };
        let tag = self.tag();
        side.ask(voice, tag, call);
    }

    fn status(&mut self, Status(number): Status, side: &mut Side<'_>) {
        side.write(format!("@status {number}\r\n"));
    }

    /// Lets the user know of something that the document has no line for, as a private message from the broker.
    fn tell(&mut self, text: &str, side: &mut Side<'_>) {
        for line in mess("#sendto", BRIDGE, text.as_bytes()) {
            self.say(line, side);
        }
    }

    /// Sends a line that is no answer.
    fn say(&mut self, line: Vec<u8>, side: &mut Side<'_>) {
        match &mut self.held {
            Some(held) if held.len() < MOST_HELD => held.push(line),
            Some(_) => {
                self.release(side);
                side.write(line);
            }
            None => side.write(line),
        }
    }

    fn release(&mut self, side: &mut Side<'_>) {
        for line in self.held.take().into_iter().flatten() {
            side.write(line);
        }
    }

    fn end(&mut self, side: &mut Side<'_>) {
        self.is_over = true;
        self.part(side);
        side.close();
    }

    /// Who is gone is in no group any more, so that a group nobody is in can expire; but stays in one that was not joined here.
    fn part(&mut self, side: &mut Side<'_>) {
        let group = self.login.as_mut().and_then(|login| login.group.take());
        if let Some(group) = group.filter(|group| !group.was_member) {
            self.also_ask(requests::leave_group(group.place.name()), side);
        }
    }

    fn said(&mut self, place: &Place, message: &Message, side: &mut Side<'_>) {
        let Some(login) = &self.login else { return };
        let is_entering = matches!(&self.doing, Some((_, Doing::ChangeRoom { room })) if room == place);
        if *place != login.room && !is_entering {
            return;
        }
        // One's own message stands where it is in the order of the room, but is not shown before it is on disk.
        let is_own = message.from == login.user && !message.is_replayed;
        if is_own && self.held.is_none() && matches!(self.doing, Some((_, Doing::Broadcast))) {
            self.held = Some(Vec::new());
        }
        let from = self.users.shown(&message.from, message.name.as_deref());
        for line in mess("#broadcast", &from, &message.text) {
            self.say(line, side);
        }
    }

    fn removed(&mut self, place: &Place, reason: &str, side: &mut Side<'_>) {
        let Some(login) = &mut self.login else { return };
        if login.group.as_ref().is_some_and(|group| group.place == *place) {
            login.group = None;
            self.tell(&format!("you are no longer in the group {}: {reason}", place.name()), side);
        } else if login.room == *place {
            login.room = Place::room(HOME);
            self.tell(&format!("you are no longer in the room {}: {reason}", place.name()), side);
            if place.name() != HOME {
                let join = Call::Join { place: Place::room(HOME), password: None, last: self.history };
                self.also_ask(join, side);
            }
        }
    }
}

impl machine::Session for Session {
    fn received(&mut self, now_ms: u64, bytes: &[u8], side: &mut Side<'_>) {
        self.now_ms = now_ms;
        self.wire.push(bytes);
        self.advance(side);
    }

    fn happened(&mut self, now_ms: u64, voice: Voice, event: Event, side: &mut Side<'_>) {
        self.now_ms = now_ms;
        if let Event::Answered { tag, outcome } = event {
            if self.doing.as_ref().is_some_and(|(awaited, _)| *awaited == tag)
                && let Some((_, doing)) = self.doing.take()
            {
                self.answered(doing, outcome, side);
                self.advance(side);
            }
            return;
        }
        if self.login.as_ref().is_none_or(|login| login.voice != voice) {
            return;
        }
        match event {
            Event::Said { place, message } => self.said(&place, &message, side),
            Event::Told { message } => {
                let from = self.users.shown(&message.from, message.name.as_deref());
                for line in mess("#sendto", &from, &message.text) {
                    self.say(line, side);
                }
            }
            Event::Noted { place, from, json } => {
                let Some(line) = notice::of_change(&json) else { return };
                if self.login.as_ref().is_some_and(|login| login.room == place) {
                    let from = self.users.shown(&from, None);
                    for line in mess("#broadcast", &from, line.as_bytes()) {
                        self.say(line, side);
                    }
                }
            }
            Event::Signalled { from, json } => self.signalled(&from, &json, side),
            Event::Removed { place, reason } => self.removed(&place, &reason, side),
            Event::Gone | Event::Back { .. }
                if matches!(self.doing, Some((_, Doing::RemoveLogin | Doing::CheckRemoved))) => {}
            Event::Gone => self.tell("the server is away; what you say is sent when it is back", side),
            Event::Back { user } => {
                if let Some(login) = &mut self.login {
                    login.user = user;
                }
                self.tell("the server is back", side);
            }
            // The account that was to be removed is not let in again: it is gone.
            Event::Ended { .. }
                if matches!(self.doing, Some((_, Doing::RemoveLogin | Doing::CheckRemoved))) =>
            {
                self.doing = None;
                self.removed_login(side);
                self.advance(side);
            }
            Event::Ended { reason } => {
                self.tell(&format!("you are signed out: {reason}"), side);
                self.end(side);
            }
            Event::Answered { .. } | Event::Entered { .. } | Event::Left { .. } => {}
        }
    }

    fn ticked(&mut self, now_ms: u64, side: &mut Side<'_>) {
        if self.login.is_none() && self.sign_in_until_ms <= now_ms && !self.is_over {
            self.tell("you have not signed in: disconnected", side);
            self.end(side);
        }
    }

    fn closed(&mut self, side: &mut Side<'_>) {
        self.part(side);
    }

    fn deadline_ms(&self) -> Option<u64> {
        (self.login.is_none() && !self.is_over).then_some(self.sign_in_until_ms)
    }

    fn is_ready(&self) -> bool {
        self.doing.is_none() && !self.is_over
    }
}

/// A message as lines that no client can take for anything else: `@mess <what> <from> "<text>"`.
fn mess(what: &str, from: &str, text: &[u8]) -> Vec<Vec<u8>> {
    let head = format!("@mess {what} {from} ");
    let room = LONGEST_LINE - head.len() - 4;
    let frame = |text: Vec<u8>| {
        let mut line = head.clone().into_bytes();
        line.extend_from_slice(&wire::quote(&text));
        line.extend_from_slice(b"\r\n");
        line
    };
    flow::lines(text, room, wire::quoted_width).into_iter().map(frame).collect()
}
