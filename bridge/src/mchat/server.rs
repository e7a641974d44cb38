//! An mChat server: its clients, the rooms that they are in, and its place in the mesh of servers.
//!
//! Invariants: a room exists here while a client is in it; what is said in it reaches each of its clients and, if the room
//! is public, each peer once; what came from a peer never goes to a peer.
//!
//! Every message goes through the broker, so that all see one order. What only mChat knows, the `SYSTEM` lines of its own
//! clients, goes from here to them at once; a client's nick changes and parts wait until what it said before is
//! acknowledged, so that they come after it.

use super::{
    clients::Client,
    map::NICKS,
    mesh::Mesh,
    wire::{self, Frame},
};
use crate::{
    chat::Place,
    machine::{Input, Link, Machine, Output},
    names::Names,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
};

/// The door of clients.
pub const CLIENTS: usize = 0;
/// The door of other servers.
pub const MESH: usize = 1;

/// How often everybody is asked whether they are there (legacy servers: "HEARTBLEED_INTERVAL").
pub(super) const BEAT_MS: u64 = 2000;
/// Answers in a row that may be missing.
const MISSING_ACCEPTED: u8 = 2;

/// What the operator decided.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Clients at most.
    pub clients: usize,
    /// Rooms with clients in them at most.
    pub rooms: usize,
    /// The mesh; `None` where there is none.
    pub mesh: Option<MeshSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { clients: 10_000, rooms: 30_000, mesh: None }
    }
}

/// This server's place in a mesh.
#[derive(Debug, Clone)]
pub struct MeshSettings {
    /// Under which other servers reach this one: host and port.
    pub announced: (String, u16),
    /// Servers to connect to, and again when they are gone.
    pub peers: Vec<(String, u16)>,
    /// Servers at most.
    pub servers: usize,
    /// Nicks of one server that are guests of the broker at one time.
    pub nicks: usize,
}

/// An mChat server.
#[derive(Debug)]
pub struct Server {
    pub(super) settings: Settings,
    pub(super) clients: BTreeMap<Link, Client>,
    /// By mChat's name.
    pub(super) rooms: HashMap<Arc<str>, Room>,
    pub(super) mesh: Mesh,
    /// The nicks of this server's guests, by the names that the broker gave them.
    pub(super) nicks: HashMap<Arc<str>, Nick>,
    pub(super) names: Names,
    pub(super) now_ms: u64,
    beat_ms: u64,
}

/// A room that clients are in.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) place: Place,
    /// Whether it crosses the mesh.
    pub(super) is_public: bool,
    pub(super) members: BTreeSet<Link>,
    /// The last message that the peers have got.
    pub(super) seq: u64,
    /// Who else is in it, by the names of the broker.
    pub(super) others: BTreeSet<Arc<str>>,
    /// Until then, who else is in it was so before.
    pub(super) settled_ms: u64,
}

/// How a guest of this server is called.
#[derive(Debug, Clone)]
pub(super) struct Nick {
    pub(super) nick: String,
    /// Elsewhere: with a mark where the nick is somebody's user name.
    pub(super) shown: String,
    /// A nick of a peer.
    pub(super) is_of_peer: bool,
}

/// Whether somebody still answers.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    missing: u8,
    has_answered: bool,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { missing: 0, has_answered: true }
    }

    pub(super) fn answered(&mut self) {
        self.has_answered = true;
    }

    /// Another beat: whether too many answers in a row are missing.
    fn is_dead(&mut self) -> bool {
        if std::mem::take(&mut self.has_answered) {
            self.missing = 0;
            return false;
        }
        self.missing += 1;
        self.missing > MISSING_ACCEPTED
    }
}

impl Server {
    /// A server without connections; dials its peers with the first tick, which is due at once.
    pub fn new(settings: Settings) -> Self {
        let mesh = Mesh::new(settings.mesh.as_ref());
        Self {
            settings,
            clients: BTreeMap::new(),
            rooms: HashMap::new(),
            mesh,
            nicks: HashMap::new(),
            names: Names::new(NICKS),
            now_ms: 0,
            beat_ms: 0,
        }
    }

    fn opened(&mut self, link: Link, door: usize, from: SocketAddr, out: &mut Vec<Output>) {
        if door == MESH {
            return self.candidate(link, from, out);
        }
        if self.clients.len() >= self.settings.clients {
            out.push(Output::Log(format!("a client tried to connect but the server is full, from {from}")));
            out.push(Output::Close { link });
            return;
        }
        out.push(Output::Log(format!("client connected from {from}")));
        self.clients.insert(link, Client::new(from));
    }

    fn received(&mut self, link: Link, bytes: &[u8], out: &mut Vec<Output>) {
        if let Some(client) = self.clients.get_mut(&link) {
            client.wire.push(bytes);
            while let Some(frame) = self.clients.get_mut(&link).and_then(|client| client.wire.next_frame()) {
                match frame {
                    Frame::Heart => write(out, link, b"BLEED\n"),
                    Frame::Bleed => self.clients.get_mut(&link).map_or((), |client| client.pulse.answered()),
                    Frame::Join { .. } | Frame::Part { .. } | Frame::Nick { .. } | Frame::Msg { .. } => {
                        if let Some(client) = self.clients.get_mut(&link) {
                            client.queue.push_back(frame);
                        }
                        self.go_on(link, out);
                    }
                    Frame::System { .. } | Frame::AllAddrs(_) | Frame::MyAddr(..) => {}
                }
            }
        } else {
            self.heard(link, bytes, out);
        }
    }

    /// A beat: who does not answer any more is gone, and the others are asked again.
    fn beat(&mut self, out: &mut Vec<Output>) {
        self.beat_ms = self.now_ms + BEAT_MS;
        let mut dead = Vec::new();
        for (&link, client) in &mut self.clients {
            if client.pulse.is_dead() {
                dead.push(link);
            } else {
                write(out, link, b"HEART\n");
            }
        }
        for link in dead {
            out.push(Output::Close { link });
            self.client_gone(link, out);
        }
        let mut dead = Vec::new();
        for (&link, peer) in &mut self.mesh.peers {
            if peer.pulse.is_dead() {
                dead.push(link);
            } else {
                write(out, link, b"HEART\n");
            }
        }
        for link in dead {
            out.push(Output::Close { link });
            self.peer_gone(link, out);
        }
        self.mesh_beat(out);
    }

    /// Tells everybody in a room but one, and the peers.
    pub(super) fn system(&self, room: &str, text: &str, except: Option<Link>, out: &mut Vec<Output>) {
        let Some(found) = self.rooms.get(room) else { return };
        for line in wire::system(room, text) {
            for &link in found.members.iter().filter(|link| Some(**link) != except) {
                write(out, link, &line);
            }
            if found.is_public {
                self.to_peers(&line, out);
            }
        }
    }
}

pub(super) fn write(out: &mut Vec<Output>, link: Link, bytes: &[u8]) {
    out.push(Output::Write { link, bytes: bytes.to_vec() });
}

impl Machine for Server {
    fn handle(&mut self, now_ms: u64, input: Input<'_>, out: &mut Vec<Output>) {
        self.now_ms = now_ms;
        match input {
            Input::Opened { link, door, from } => self.opened(link, door, from, out),
            Input::Dialled { link, problem } => self.dialled(link, problem, out),
            Input::Received { link, bytes } => self.received(link, bytes, out),
            Input::Closed { link } if self.clients.contains_key(&link) => self.client_gone(link, out),
            Input::Closed { link } => self.peer_gone(link, out),
            Input::Chat { link, voice, event } if self.clients.contains_key(&link) => {
                let _ = voice;
                self.client_told(link, event, out);
            }
            Input::Chat { link, voice, event } => self.peer_told(link, voice, event, out),
            Input::Passed { .. } => {}
            Input::Tick => {
                if self.beat_ms <= now_ms {
                    self.beat(out);
                }
                self.greet_next(out);
            }
        }
    }

    fn deadline_ms(&self) -> Option<u64> {
        Some(self.mesh.deadline_ms().map_or(self.beat_ms, |due| due.min(self.beat_ms)))
    }

    fn is_ready(&self, link: Link) -> bool {
        match self.clients.get(&link) {
            Some(client) => client.is_ready(),
            None => self.mesh.is_ready(link),
        }
    }
}
