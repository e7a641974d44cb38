//! The `HELO` server: its connections, who is signed in on which, and the beat that asks each whether it is there.
//!
//! Invariants: a command of a client is carried out, and answered, before the next one is looked at (but `PONG`, which
//! counts when it comes); a client is not written to after `+OK Goodbye`, `-ERR ...` or `DSCN ...`, which are the only
//! lines that end its connection.

use super::{
    command::{self, Command},
    files::Files,
    keys::Keys,
    map::{self, NAMES},
    private::Peer,
    sessions::Doing,
    wire::{Frame, LONGEST_LINE, Wire},
};
use crate::{
    chat::{Call, Tag, Voice},
    machine::{Input, Link, Machine, Output},
    names::Names,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// The door of clients; the file ports are the doors behind it.
pub const CLIENTS: usize = 0;

/// How often it is looked whose answer or file is overdue.
const BEAT_MS: u64 = 1000;

/// How often a client is asked whether it is there.
const PING_MS: u64 = 5000;

/// "If after 3 seconds no pong message has been received" (7.3).
const PONG_MS: u64 = 3000;

/// The same for the first one: a client makes its keys before it reads.
const FIRST_PONG_MS: u64 = 30_000;

/// Commands that wait at most before no more are read. One piece of the stream adds some hundred.
const MOST_WAITING: usize = 64;

/// A port for files, behind the listener of the clients in the order of doors.
pub type FilePort = u16;

/// What the operator decided.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The ports for files: door 1 is the first. As many files as ports are under way at one time.
    pub file_ports: Vec<FilePort>,
    /// Under which name users elsewhere reach the file ports, for offers to them.
    pub file_host: Option<String>,
    /// Bytes of a file at most.
    pub file_bytes: u64,
    /// How long a file may take, in milliseconds.
    pub file_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { file_ports: vec![1338, 1339], file_host: None, file_bytes: 100 << 20, file_ms: 600_000 }
    }
}

/// The server.
#[derive(Debug)]
pub struct Server {
    pub(super) settings: Settings,
    pub(super) keys: Arc<Keys>,
    pub(super) chance: fn() -> [u8; 16],
    pub(super) clients: BTreeMap<Link, Client>,
    /// Who is signed in here, by the names of the broker.
    pub(super) users: HashMap<Arc<str>, Link>,
    pub(super) names: Names,
    pub(super) files: Files,
    pub(super) now_ms: u64,
    beat_ms: Option<u64>,
}

/// A connection of a client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) from: IpAddr,
    wire: Wire,
    queue: VecDeque<Command>,
    pulse: Pulse,
    pub(super) doing: Option<(Tag, Doing)>,
    next_tag: Tag,
    /// Whom the broker let in.
    pub(super) user: Option<Arc<str>>,
    /// Whether the client knows that.
    pub(super) is_in: bool,
    /// The groups that it hears.
    pub(super) groups: BTreeSet<Arc<str>>,
    /// With whom it has spoken in private, by the names of the broker.
    pub(super) peers: BTreeMap<Arc<str>, Peer>,
    /// Encrypted messages that are on their way to it through the broker: who, and the line.
    pub(super) expected: VecDeque<(Arc<str>, String)>,
}

#[derive(Debug)]
struct Pulse {
    ping_ms: u64,
    pong_due_ms: Option<u64>,
    has_answered: bool,
}

impl Client {
    fn new(from: IpAddr, now_ms: u64) -> Self {
        Self {
            from,
            wire: Wire::default(),
            queue: VecDeque::new(),
            pulse: Pulse { ping_ms: now_ms + PING_MS, pong_due_ms: None, has_answered: false },
            doing: None,
            next_tag: 0,
            user: None,
            is_in: false,
            groups: BTreeSet::new(),
            peers: BTreeMap::new(),
            expected: VecDeque::new(),
        }
    }

    fn is_ready(&self) -> bool {
        self.queue.len() < MOST_WAITING
    }

    fn answered_ping(&mut self) {
        self.pulse.pong_due_ms = None;
        self.pulse.has_answered = true;
    }

    fn ask(&mut self, link: Link, call: Call, out: &mut Vec<Output>) -> Tag {
        self.next_tag += 1;
        out.push(Output::Ask { link, voice: Voice::FIRST, tag: self.next_tag, call });
        self.next_tag
    }
}

impl Server {
    /// A server without connections; `chance` gives bytes that nobody can guess.
    pub fn new(settings: Settings, keys: Arc<Keys>, chance: fn() -> [u8; 16]) -> Self {
        Self {
            settings,
            keys,
            chance,
            clients: BTreeMap::new(),
            users: HashMap::new(),
            names: Names::new(NAMES),
            files: Files::default(),
            now_ms: 0,
            beat_ms: None,
        }
    }

    fn opened(&mut self, link: Link, door: usize, from: SocketAddr, out: &mut Vec<Output>) {
        self.beat_ms.get_or_insert(self.now_ms + BEAT_MS);
        if door != CLIENTS {
            return self.file_opened(link, door, from.ip());
        }
        self.clients.insert(link, Client::new(from.ip(), self.now_ms));
        write(out, link, "HELO Welkom ");
    }

    fn received(&mut self, link: Link, bytes: &[u8], out: &mut Vec<Output>) {
        let Some(client) = self.clients.get_mut(&link) else { return self.file_received(link, bytes, out) };
        client.wire.push(bytes);
        while let Some(frame) = self.clients.get_mut(&link).and_then(|client| client.wire.next_line()) {
            let command = match frame {
                Frame::Line(line) => command::parse(&line),
                Frame::TooLong => {
                    return self.end(
                        link,
                        &format!("-ERR a line may have at most {LONGEST_LINE} bytes"),
                        out,
                    );
                }
            };
            let Some(client) = self.clients.get_mut(&link) else { return };
            match command {
                None => {}
                Some(Command::Pong) => client.answered_ping(),
                Some(command) => client.queue.push_back(command),
            }
            self.go_on(link, out);
        }
    }

    /// Carries out what a client wants, up to the first command that has to wait for the broker.
    pub(super) fn go_on(&mut self, link: Link, out: &mut Vec<Output>) {
        while let Some(client) = self.clients.get_mut(&link).filter(|client| client.doing.is_none()) {
            let Some(command) = client.queue.pop_front() else { return };
            self.carry_out(link, command, out);
        }
    }

    /// Asks on behalf of a client and lets its next command wait for the answer.
    pub(super) fn ask(&mut self, link: Link, call: Call, doing: Doing, out: &mut Vec<Output>) {
        if let Some(client) = self.clients.get_mut(&link) {
            let tag = client.ask(link, call, out);
            client.doing = Some((tag, doing));
        }
    }

    /// Asks for something that nothing waits for.
    pub(super) fn also_ask(&mut self, link: Link, call: Call, out: &mut Vec<Output>) {
        if let Some(client) = self.clients.get_mut(&link) {
            client.ask(link, call, out);
        }
    }

    /// Says a last line and closes.
    pub(super) fn end(&mut self, link: Link, line: &str, out: &mut Vec<Output>) {
        write(out, link, line);
        out.push(Output::Close { link });
        self.gone(link);
    }

    fn gone(&mut self, link: Link) {
        let Some(client) = self.clients.remove(&link) else { return };
        if let Some(user) = client.user.filter(|user| self.users.get(user) == Some(&link)) {
            self.users.remove(&user);
            self.forget_offers(&user);
        }
    }

    fn beat(&mut self, due_ms: u64, out: &mut Vec<Output>) {
        // Who comes late itself can't say that others do.
        let is_late = self.now_ms > due_ms + BEAT_MS;
        let now_ms = self.now_ms;
        let mut dead = Vec::new();
        for (&link, client) in &mut self.clients {
            let is_ready = client.is_ready();
            let pulse = &mut client.pulse;
            match &mut pulse.pong_due_ms {
                Some(due_ms) if is_late || !is_ready => *due_ms = (*due_ms).max(now_ms + PONG_MS),
                Some(due_ms) if *due_ms <= now_ms => dead.push(link),
                None if pulse.ping_ms <= now_ms => {
                    let patience_ms = if pulse.has_answered { PONG_MS } else { FIRST_PONG_MS };
                    pulse.pong_due_ms = Some(now_ms + patience_ms);
                    pulse.ping_ms = now_ms + PING_MS;
                    write(out, link, "PING");
                }
                _ => {}
            }
        }
        for link in dead {
            self.end(link, "DSCN Pong timeout", out);
        }
        self.private_beat(out);
        self.file_beat(out);
        let is_idle = self.clients.is_empty() && self.files.is_idle();
        self.beat_ms = (!is_idle).then_some(now_ms + BEAT_MS);
    }

    /// How a user of the broker is called here.
    pub(super) fn shown(&mut self, user: &str) -> Arc<str> {
        self.names.shown(user, None)
    }

    /// The client on which a user is signed in.
    pub(super) fn user_of(&self, link: Link) -> Option<Arc<str>> {
        self.clients.get(&link).and_then(|client| client.user.clone())
    }

    /// Several lines for one client, each a write of its own.
    pub(super) fn write_lines(&self, link: Link, head: &str, text: &[u8], out: &mut Vec<Output>) {
        for bytes in map::lines(head, text) {
            out.push(Output::Write { link, bytes });
        }
    }
}

/// Sends one line.
pub(super) fn write(out: &mut Vec<Output>, link: Link, line: &str) {
    out.push(Output::Write { link, bytes: format!("{line}\n").into_bytes() });
}

impl Machine for Server {
    fn handle(&mut self, now_ms: u64, input: Input<'_>, out: &mut Vec<Output>) {
        self.now_ms = now_ms;
        match input {
            Input::Opened { link, door, from } => self.opened(link, door, from, out),
            Input::Received { link, bytes } => self.received(link, bytes, out),
            Input::Passed { link } => self.file_passed(link),
            Input::Closed { link } if self.clients.contains_key(&link) => self.gone(link),
            Input::Closed { link } => self.file_closed(link, out),
            Input::Chat { link, event, .. } => self.told(link, event, out),
            Input::Tick => {
                if let Some(due_ms) = self.beat_ms.filter(|due_ms| *due_ms <= now_ms) {
                    self.beat(due_ms, out);
                }
            }
            Input::Dialled { .. } => {}
        }
    }

    fn deadline_ms(&self) -> Option<u64> {
        self.beat_ms
    }

    fn is_ready(&self, link: Link) -> bool {
        match self.clients.get(&link) {
            Some(client) => client.is_ready(),
            None => self.is_file_ready(link),
        }
    }
}
