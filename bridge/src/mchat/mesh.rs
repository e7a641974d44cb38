//! The mesh: every server is connected to every other, and says each line of its own clients to each of them.
//!
//! ```text
//!  accepted:  waiting --its turn--> greeted (ALL_ADDRS) --MY_ADDR--> peer      2 s without MY_ADDR: closed
//!  dialled:   dialling --reached--> peer, which is answered MY_ADDR for each ALL_ADDRS
//! ```
//!
//! One candidate is greeted at a time, so that no two newcomers miss each other: the second is told of the first.
//! What a peer's users say goes to the broker as guests of that peer, one a nick; their number is bounded. In a public room they
//! speak without being in it, as nobody tells who is; a private one lets in only who knows its name, so they enter it.

use super::{
    map,
    server::{BEAT_MS, MeshSettings, Nick, Pulse, Server, write},
    wire::{self, Frame, Wire},
};
use crate::{
    chat::{Call, Event, Place, Secret, Tag, Voice},
    machine::{FIRST_DIALLED, Link, Output},
    requests::{self, Kind},
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

/// Newcomers that wait to be greeted at most.
const MOST_CANDIDATES: usize = 64;
/// How often a configured peer that is gone is dialled again.
const REDIAL_MS: u64 = 10_000;
/// Messages of one peer that wait for the broker at most; what is more is lost, as with any server that is overrun.
const MOST_UNANSWERED: usize = 1000;
/// A nick that has said nothing for so long is no guest any more.
const IDLE_MS: u64 = 600_000;
/// How long a guest that is gone is known for one of a peer's: what it said last may still come back.
const REMEMBERED_MS: u64 = 60_000;
/// Two links between the same two servers that are made within this time were made from both ends at once.
const CROSSING_MS: u64 = 5000;

const SIGN_IN: Tag = 1;
const LOOK_UP: Tag = 2;
const EXCUSE: Tag = 3;

/// Everything about other servers.
#[derive(Debug, Default)]
pub(super) struct Mesh {
    pub(super) peers: BTreeMap<Link, Peer>,
    waiting: VecDeque<(Link, SocketAddr)>,
    greeted: Option<Greeted>,
    dialling: BTreeMap<Link, (String, u16)>,
    dialled: u64,
    redial_ms: u64,
    /// Guests that are gone, and until when they are remembered.
    departed: VecDeque<(u64, Arc<str>)>,
}

#[derive(Debug)]
struct Greeted {
    link: Link,
    wire: Wire,
    until_ms: u64,
}

/// A connected server.
#[derive(Debug)]
pub(super) struct Peer {
    address: (String, u16),
    wire: Wire,
    pub(super) pulse: Pulse,
    is_dialled: bool,
    since_ms: u64,
    speakers: HashMap<String, Speaker>,
    voices: HashMap<Voice, String>,
    next_voice: u32,
    unanswered: usize,
}

/// A nick of a peer.
#[derive(Debug)]
struct Speaker {
    voice: Voice,
    user: Option<Arc<str>>,
    /// As it is shown elsewhere, once that is known.
    shown: Option<String>,
    waiting: Vec<(Place, Option<Secret>, Bytes)>,
    /// The private rooms that it has entered, or is entering.
    rooms: HashMap<Place, Entry>,
    unanswered: usize,
    used_ms: u64,
    next_tag: Tag,
}

/// How far a nick is in a private room.
#[derive(Debug)]
enum Entry {
    /// What it has said meanwhile.
    Asked(Tag, Vec<Bytes>),
    Entered,
}

impl Speaker {
    fn ask(&mut self, link: Link, call: Call, out: &mut Vec<Output>) -> Tag {
        self.next_tag += 1;
        out.push(Output::Ask { link, voice: self.voice, tag: self.next_tag, call });
        self.next_tag
    }

    fn say(
        &mut self,
        link: Link,
        place: Place,
        password: Option<Secret>,
        text: Bytes,
        out: &mut Vec<Output>,
    ) {
        match (password, self.rooms.get_mut(&place)) {
            (Some(_), Some(Entry::Asked(_, waiting))) => waiting.push(text),
            (Some(password), None) => {
                let call = Call::Join { place: place.clone(), password: Some(password), last: 0 };
                let tag = self.ask(link, call, out);
                self.rooms.insert(place, Entry::Asked(tag, vec![text]));
            }
            (None, _) | (_, Some(Entry::Entered)) => {
                let call = Call::Say { place, text, name: self.shown.clone() };
                self.ask(link, call, out);
            }
        }
    }

    /// Whether an answer was to entering a room; what waited for it is said, and refused where the nick was.
    fn entered(&mut self, link: Link, tag: Tag, out: &mut Vec<Output>) -> bool {
        let is_it = |entry: &Entry| matches!(entry, Entry::Asked(asked, _) if *asked == tag);
        let Some((place, entry)) = self.rooms.iter_mut().find(|(_, entry)| is_it(entry)) else {
            return false;
        };
        let place = place.clone();
        if let Entry::Asked(_, waiting) = std::mem::replace(entry, Entry::Entered) {
            for text in waiting {
                self.say(link, place.clone(), None, text, out);
            }
        }
        true
    }
}

impl Peer {
    fn new(address: (String, u16), is_dialled: bool, since_ms: u64) -> Self {
        Self {
            address,
            wire: Wire::default(),
            pulse: Pulse::new(),
            is_dialled,
            since_ms,
            speakers: HashMap::new(),
            voices: HashMap::new(),
            next_voice: 0,
            unanswered: 0,
        }
    }
}

impl Mesh {
    pub(super) fn new(settings: Option<&MeshSettings>) -> Self {
        let redial_ms = if settings.is_some() { 0 } else { u64::MAX };
        Self { redial_ms, ..Self::default() }
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.greeted.as_ref().map(|greeted| greeted.until_ms)
    }

    /// Who waits to be greeted waits with its bytes, too.
    pub(super) fn is_ready(&self, link: Link) -> bool {
        self.peers.contains_key(&link) || self.greeted.as_ref().is_some_and(|greeted| greeted.link == link)
    }

    fn knows(&self, address: &(String, u16)) -> bool {
        self.peers
            .values()
            .map(|peer| &peer.address)
            .chain(self.dialling.values())
            .any(|known| known == address)
    }
}

impl Server {
    pub(super) fn to_peers(&self, line: &[u8], out: &mut Vec<Output>) {
        for &link in self.mesh.peers.keys() {
            write(out, link, line);
        }
    }

    /// Somebody connected at the mesh's door.
    pub(super) fn candidate(&mut self, link: Link, from: SocketAddr, out: &mut Vec<Output>) {
        let Some(settings) = &self.settings.mesh else { return out.push(Output::Close { link }) };
        if self.mesh.peers.len() >= settings.servers || self.mesh.waiting.len() >= MOST_CANDIDATES {
            out.push(Output::Log(format!("a server tried to connect but the server is full, from {from}")));
            return out.push(Output::Close { link });
        }
        self.mesh.waiting.push_back((link, from));
        self.greet_next(out);
    }

    /// Greets who is next, when nobody is or who was has taken too long.
    pub(super) fn greet_next(&mut self, out: &mut Vec<Output>) {
        if self.mesh.greeted.as_ref().is_some_and(|greeted| greeted.until_ms > self.now_ms) {
            return;
        }
        if let Some(late) = self.mesh.greeted.take() {
            out.push(Output::Log("a server connected and did not say its address".into()));
            out.push(Output::Close { link: late.link });
        }
        let Some((link, _)) = self.mesh.waiting.pop_front() else { return };
        let addresses = self.mesh.peers.values().map(|peer| (peer.address.0.as_str(), peer.address.1));
        for line in wire::all_addrs(addresses) {
            write(out, link, &line);
        }
        self.mesh.greeted = Some(Greeted { link, wire: Wire::default(), until_ms: self.now_ms + BEAT_MS });
    }

    /// Bytes came from another server.
    pub(super) fn heard(&mut self, link: Link, bytes: &[u8], out: &mut Vec<Output>) {
        if let Some(greeted) = self.mesh.greeted.as_mut().filter(|greeted| greeted.link == link) {
            greeted.wire.push(bytes);
            while let Some(frame) = greeted.wire.next_frame() {
                if let Frame::MyAddr(host, port) = frame {
                    let wire = std::mem::take(&mut greeted.wire);
                    self.mesh.greeted = None;
                    self.accept(link, (host, port), wire, out);
                    self.greet_next(out);
                    break;
                }
            }
        } else if let Some(peer) = self.mesh.peers.get_mut(&link) {
            peer.wire.push(bytes);
        }
        while let Some(frame) = self.mesh.peers.get_mut(&link).and_then(|peer| peer.wire.next_frame()) {
            self.heard_frame(link, frame, out);
        }
    }

    fn accept(&mut self, link: Link, address: (String, u16), wire: Wire, out: &mut Vec<Output>) {
        let double = self.mesh.peers.iter().find(|(_, peer)| peer.address == address);
        if let Some((&other, peer)) = double {
            // Both ends must choose the same of two links that cross: the one that the smaller address dialled.
            let has_crossed = peer.is_dialled && peer.since_ms + CROSSING_MS > self.now_ms;
            let keeps_own = self.settings.mesh.as_ref().is_some_and(|mesh| mesh.announced < address);
            let loser = if has_crossed && keeps_own { link } else { other };
            out.push(Output::Close { link: loser });
            if loser == link {
                return;
            }
            self.peer_gone(other, out);
        }
        out.push(Output::Log(format!("server connected: {} {}", address.0, address.1)));
        self.mesh.peers.insert(link, Peer { wire, ..Peer::new(address, false, self.now_ms) });
    }

    fn heard_frame(&mut self, link: Link, frame: Frame, out: &mut Vec<Output>) {
        let Some(peer) = self.mesh.peers.get_mut(&link) else { return };
        match frame {
            Frame::Heart => write(out, link, b"BLEED\n"),
            Frame::Bleed => peer.pulse.answered(),
            Frame::AllAddrs(addresses) if peer.is_dialled => {
                let Some(mesh) = &self.settings.mesh else { return };
                let (host, port) = &mesh.announced;
                write(out, link, format!("MY_ADDR {host} {port}\n").as_bytes());
                for address in addresses {
                    self.dial(address, out);
                }
            }
            Frame::Msg { nick, room, text } => self.peer_said(link, nick, &room, text, out),
            Frame::System { room, text } => {
                let members = self.rooms.get(room.as_str()).filter(|room| room.is_public);
                for line in wire::system(&room, &text) {
                    for &member in members.iter().flat_map(|room| &room.members) {
                        write(out, member, &line);
                    }
                }
            }
            _ => {}
        }
    }

    /// Connects to a server, unless it is this one or known.
    fn dial(&mut self, address: (String, u16), out: &mut Vec<Output>) {
        let Some(settings) = &self.settings.mesh else { return };
        let is_full = self.mesh.peers.len() + self.mesh.dialling.len() >= settings.servers;
        if is_full || address == settings.announced || self.mesh.knows(&address) {
            return;
        }
        let link = Link(FIRST_DIALLED + self.mesh.dialled);
        self.mesh.dialled += 1;
        let (host, port) = address.clone();
        self.mesh.dialling.insert(link, address);
        out.push(Output::Dial { link, host, port });
    }

    pub(super) fn dialled(&mut self, link: Link, problem: Option<String>, out: &mut Vec<Output>) {
        let Some(address) = self.mesh.dialling.remove(&link) else { return };
        let (host, port) = &address;
        if let Some(problem) = problem {
            return out
                .push(Output::Log(format!("could not connect to the server {host} {port}: {problem}")));
        }
        // It may have connected from its side meanwhile.
        if self.mesh.knows(&address) {
            return out.push(Output::Close { link });
        }
        out.push(Output::Log(format!("server connected: {host} {port}")));
        self.mesh.peers.insert(link, Peer::new(address, true, self.now_ms));
    }

    /// A user of a peer said something: it goes to the broker, if a client here is in that room.
    fn peer_said(&mut self, link: Link, nick: String, room: &str, text: String, out: &mut Vec<Output>) {
        let Some(place) = self.rooms.get(room).filter(|room| room.is_public).map(|room| room.place.clone())
        else {
            return;
        };
        let most = self.settings.mesh.as_ref().map_or(0, |mesh| mesh.nicks);
        let now_ms = self.now_ms;
        let Some(peer) = self.mesh.peers.get_mut(&link) else { return };
        if peer.unanswered >= MOST_UNANSWERED {
            return;
        }
        if !peer.speakers.contains_key(&nick) && peer.speakers.len() >= most {
            let idle =
                peer.speakers.iter().filter(|(_, it)| it.unanswered == 0).min_by_key(|(_, it)| it.used_ms);
            let Some(idle) = idle.map(|(nick, _)| nick.clone()) else { return };
            self.silence(link, &idle, out);
        }
        let Some(peer) = self.mesh.peers.get_mut(&link) else { return };
        let speaker = peer.speakers.entry(nick).or_insert_with_key(|nick| {
            let voice = Voice(peer.next_voice);
            peer.next_voice = peer.next_voice.wrapping_add(1);
            peer.voices.insert(voice, nick.clone());
            let call = Call::SignIn { user: None, password: None, exclusive: false };
            out.push(Output::Ask { link, voice, tag: SIGN_IN, call });
            let waiting = Vec::new();
            let rooms = HashMap::new();
            Speaker {
                voice,
                user: None,
                shown: None,
                waiting,
                rooms,
                unanswered: 0,
                used_ms: 0,
                next_tag: EXCUSE,
            }
        });
        speaker.used_ms = now_ms;
        speaker.unanswered += 1;
        peer.unanswered += 1;
        let (text, password) = (Bytes::from(text), map::password_of(room));
        if speaker.shown.is_some() {
            speaker.say(link, place, password, text, out);
        } else {
            speaker.waiting.push((place, password, text));
        }
    }

    /// The broker says something to a nick of a peer.
    pub(super) fn peer_told(&mut self, link: Link, voice: Voice, event: Event, out: &mut Vec<Output>) {
        let Some(peer) = self.mesh.peers.get_mut(&link) else { return };
        let Some(nick) = peer.voices.get(&voice).cloned() else { return };
        let Some(speaker) = peer.speakers.get_mut(&nick) else { return };
        match event {
            Event::Answered { tag: SIGN_IN, outcome: Ok(answer) } => {
                speaker.user = Some(requests::read_signed_in(&answer).0.into());
                let call = requests::profile(&nick);
                out.push(Output::Ask { link, voice, tag: LOOK_UP, call });
            }
            Event::Answered { tag: SIGN_IN, outcome: Err(_) } | Event::Ended { .. } => {
                self.silence(link, &nick, out);
            }
            Event::Answered { tag: LOOK_UP, outcome } => {
                let kind = outcome.map_or(Kind::Guest, |answer| requests::read_signed_in(&answer).1);
                let shown = map::shown_elsewhere(&nick, kind != Kind::Guest);
                speaker.shown = Some(shown.clone());
                for (place, password, text) in std::mem::take(&mut speaker.waiting) {
                    speaker.say(link, place, password, text, out);
                }
                if let Some(user) = &speaker.user {
                    self.nicks.insert(user.clone(), Nick { nick, shown, is_of_peer: true });
                }
            }
            Event::Back { user } => {
                let old = speaker.user.replace(user.clone()).filter(|old| *old != user);
                if let Some(known) = old.as_ref().and_then(|old| self.nicks.get(old)).cloned() {
                    self.nicks.insert(user, known);
                }
                self.remember(old);
            }
            // mChat has no private messages, and what nobody gets is not to look as if somebody had.
            Event::Told { message } if !self.nicks.contains_key(&message.from) => {
                let text = Bytes::from(format!("{nick} is on an mChat server and gets no private messages"));
                let call = Call::Tell { user: message.from.to_string(), text, name: speaker.shown.clone() };
                out.push(Output::Ask { link, voice, tag: EXCUSE, call });
            }
            Event::Answered { tag: EXCUSE, .. } => {}
            Event::Answered { tag, .. } if speaker.entered(link, tag, out) => {}
            Event::Answered { .. } => {
                speaker.unanswered = speaker.unanswered.saturating_sub(1);
                peer.unanswered = peer.unanswered.saturating_sub(1);
            }
            _ => {}
        }
    }

    /// A nick of a peer is no guest any more.
    fn silence(&mut self, link: Link, nick: &str, out: &mut Vec<Output>) {
        let Some(peer) = self.mesh.peers.get_mut(&link) else { return };
        let Some(speaker) = peer.speakers.remove(nick) else { return };
        peer.voices.remove(&speaker.voice);
        peer.unanswered = peer.unanswered.saturating_sub(speaker.unanswered);
        out.push(Output::Ask { link, voice: speaker.voice, tag: 0, call: Call::SignOut });
        self.remember(speaker.user);
    }

    /// Keeps a guest that is gone known as one of a peer's for a while.
    fn remember(&mut self, user: Option<Arc<str>>) {
        if let Some(user) = user {
            self.mesh.departed.push_back((self.now_ms + REMEMBERED_MS, user));
        }
    }

    /// A server is gone, or a candidate; "a dead server's users vanish without a word".
    pub(super) fn peer_gone(&mut self, link: Link, out: &mut Vec<Output>) {
        self.mesh.waiting.retain(|(waiting, _)| *waiting != link);
        if self.mesh.greeted.as_ref().is_some_and(|greeted| greeted.link == link) {
            self.mesh.greeted = None;
            self.greet_next(out);
        }
        let Some(peer) = self.mesh.peers.remove(&link) else { return };
        out.push(Output::Log(format!("server disconnected: {} {}", peer.address.0, peer.address.1)));
        for speaker in peer.speakers.into_values() {
            self.remember(speaker.user);
        }
    }

    /// What is due with a beat: dial configured peers that are gone, forget nicks that are idle.
    pub(super) fn mesh_beat(&mut self, out: &mut Vec<Output>) {
        let now_ms = self.now_ms;
        while let Some((_, user)) = self.mesh.departed.pop_front_if(|(until_ms, _)| *until_ms <= now_ms) {
            self.nicks.remove(&user);
        }
        let is_idle = |speaker: &Speaker| speaker.unanswered == 0 && speaker.used_ms + IDLE_MS <= now_ms;
        let mut idle = Vec::new();
        for (&link, peer) in &self.mesh.peers {
            let nicks = peer.speakers.iter().filter(|(_, speaker)| is_idle(speaker));
            idle.extend(nicks.map(|(nick, _)| (link, nick.clone())));
        }
        for (link, nick) in idle {
            self.silence(link, &nick, out);
        }
        if self.mesh.redial_ms <= now_ms {
            self.mesh.redial_ms = now_ms + REDIAL_MS;
            let peers = self.settings.mesh.as_ref().map_or(Vec::new(), |mesh| mesh.peers.clone());
            for address in peers {
                self.dial(address, out);
            }
        }
    }
}
