//! Private messages (7.5). Between two clients of this server keys and encrypted messages are passed on, unread; for who
//! is elsewhere, also behind another bridge, the server is the other end of the encryption.
//!
//! Keys go from connection to connection. Messages go through the broker like any other, so that they are acknowledged when
//! they are on disk and somebody who ignores somebody does not hear them. An encrypted one is the text
//! [`SEALED`] and the line; whoever reads it elsewhere sees what it is, and it becomes a line of this protocol again only for
//! the client and from the client that it was passed between.
//!
//! A client without a session key dies of a message that comes without one. So the server follows what each client knows
//! of whom ([`Session`]), and lets a client that is wrong about the other forget its key: that is what a request for a
//! public key makes it do.
//!
//! ```text
//! The server as the other end, for one client and one user elsewhere:
//!
//!              message for the client               its PUBLIC_KEY: PM with a key
//!   no session -----------------------> wanted ------------------------------------> Ours
//!       |  ^                              | its REQUEST waits in `held`               | ^
//!       |  +--- offered for too long --+  v                                           | |
//!       +-- its REQUEST: PUBLIC_KEY ---> offered <------------- its REQUEST ----------+ |
//!                                         +------------- its PM with a key ------------+
//! ```

use super::{
    keys::{self, SessionKey},
    map,
    server::{Server, write},
    sessions::Doing,
};
use crate::{
    chat::{Call, Message},
    machine::{Link, Output},
    requests,
};
use std::{collections::VecDeque, sync::Arc};

/// Stands before an encrypted message in the broker.
const SEALED: &str = "[encrypted] PM ";

/// The stamp of a request that only makes a client forget a key. Clients take the time.
const FORGET: &str = "0";

/// Users whose keys are remembered for one client at most.
const MOST_PEERS: usize = 256;

/// Requests of one client for one key that wait at most.
const MOST_ASKED: usize = 16;

/// Messages that wait at most for a client's key, or for a client.
const MOST_WAITING: usize = 64;

/// How long a client may take to give its key or to use one, in milliseconds.
const PATIENCE_MS: u64 = 10_000;

/// What a client has to do with one other user.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// The session key that the client's program has for the other's name.
    session: Option<Session>,
    /// Stamps of the client's requests for the key of another client.
    asked: Vec<String>,
    /// The stamp of the server's own request for the client's key, and when it was sent.
    wanted: Option<(String, u64)>,
    /// How many of the server's public keys the client has not used yet, and when it got the last.
    offered: usize,
    offered_ms: u64,
    /// The client's requests that wait until it has got the server's session key.
    held: Vec<String>,
    /// What waits for a session key.
    waiting: VecDeque<Vec<u8>>,
    is_told_readable: bool,
    is_told_wanted: bool,
}

/// With whom a session key is shared.
#[derive(Debug)]
enum Session {
    /// Another client of this server.
    With(Link),
    /// The server.
    Ours(SessionKey),
}

impl Peer {
    fn is_with(&self, link: Link) -> bool {
        matches!(self.session, Some(Session::With(other)) if other == link)
    }
}

impl Server {
    fn peer(&mut self, link: Link, other: &Arc<str>) -> Option<&mut Peer> {
        let client = self.clients.get_mut(&link)?;
        if client.peers.len() >= MOST_PEERS && !client.peers.contains_key(other) {
            client.peers.pop_first();
        }
        Some(client.peers.entry(other.clone()).or_default())
    }

    /// Who is meant, by the name in the broker.
    pub(super) fn meant(&self, shown: &str) -> Arc<str> {
        self.names.user(shown).into()
    }

    /// `PM @user message [key]`
    pub(super) fn private(
        &mut self,
        link: Link,
        to: &str,
        text: &str,
        key: Option<&str>,
        out: &mut Vec<Output>,
    ) {
        if !keys::is_base64(text) || !key.is_none_or(keys::is_base64) {
            return write(out, link, "-SOFT_ERR a private message must be encrypted by your client");
        }
        let other = self.meant(to);
        match self.users.get(&other) {
            Some(&to) => self.pass_sealed(link, to, &other, text, key, out),
            None => self.open(link, &other, text, key, out),
        }
    }

    fn pass_sealed(
        &mut self,
        link: Link,
        to: Link,
        other: &Arc<str>,
        text: &str,
        key: Option<&str>,
        out: &mut Vec<Output>,
    ) {
        let Some(me) = self.user_of(link) else { return };
        let line = key.map_or_else(|| text.to_owned(), |key| format!("{text} {key}"));
        let Some(peer) = self.peer(to, &me) else { return };
        if key.is_some() {
            peer.session = Some(Session::With(link));
        } else if !peer.is_with(link) {
            return self.let_forget(link, other, out);
        }
        if to == link {
            write(out, link, "+OK PM");
            return write(out, link, &format!("PM {me} {line}"));
        }
        if let Some(client) = self.clients.get_mut(&to) {
            client.expected.push_back((me, line.clone()));
            if client.expected.len() > MOST_WAITING {
                client.expected.pop_front();
            }
        }
        let call = Call::Tell { user: other.to_string(), text: format!("{SEALED}{line}").into(), name: None };
        self.ask(link, call, Doing::TellSealed { to, line }, out);
    }

    /// A message that was passed on does not come any more.
    pub(super) fn no_longer_expected(&mut self, link: Link, to: Link, line: &str) {
        let Some(me) = self.user_of(link) else { return };
        if let Some(client) = self.clients.get_mut(&to)
            && let Some(at) = client.expected.iter().position(|(from, it)| *from == me && it == line)
        {
            client.expected.remove(at);
        }
    }

    /// A message for who is elsewhere: the server reads it.
    fn open(&mut self, link: Link, other: &Arc<str>, text: &str, key: Option<&str>, out: &mut Vec<Output>) {
        let session = key.and_then(|key| self.keys.open(key));
        let Some(peer) = self.peer(link, other) else { return };
        if key.is_some() {
            peer.offered = peer.offered.saturating_sub(1);
            peer.session = session.map(Session::Ours);
        }
        let text = match &peer.session {
            Some(Session::Ours(session)) => session.decrypt(text),
            _ => None,
        };
        let Some(text) = text else {
            if key.is_some() {
                return self.let_forget(link, other, out);
            }
            let call = requests::profile(other);
            return self.ask(link, call, Doing::FindToForget { other: other.clone() }, out);
        };
        let call = Call::Tell { user: other.to_string(), text: text.into(), name: None };
        self.ask(link, call, Doing::Tell, out);
        self.say_waiting(link, other, out);
    }

    /// The client has a key for somebody who can't use it.
    pub(super) fn let_forget(&mut self, link: Link, other: &Arc<str>, out: &mut Vec<Output>) {
        let shown = self.shown(other);
        if let Some(peer) = self.peer(link, other) {
            peer.session = None;
        }
        write(out, link, &format!("-SOFT_ERR {shown} has no key for that message, please send it again"));
        write(out, link, &format!("REQUEST_PUBLIC_KEY @{shown} {FORGET}"));
    }

    /// `REQUEST_PUBLIC_KEY @user stamp`. A name by which somebody else is shown is its user's all the same, if there is one.
    pub(super) fn request_key(&mut self, link: Link, of: String, stamp: String, out: &mut Vec<Output>) {
        if self.names.is_taken(&of) {
            return self.ask(link, requests::profile(&of), Doing::FindNamesake { name: of, stamp }, out);
        }
        self.request_key_of(link, self.meant(&of), stamp, out);
    }

    pub(super) fn request_key_of(
        &mut self,
        link: Link,
        other: Arc<str>,
        stamp: String,
        out: &mut Vec<Output>,
    ) {
        let (Some(me), Some(&to)) = (self.user_of(link), self.users.get(&other)) else {
            let call = requests::profile(&other);
            return self.ask(link, call, Doing::FindPeer { other, stamp }, out);
        };
        if let Some(peer) = self.peer(link, &other) {
            if peer.asked.len() >= MOST_ASKED {
                peer.asked.remove(0);
            }
            peer.asked.push(stamp.clone());
        }
        if let Some(peer) = self.peer(to, &me) {
            peer.session = None;
        }
        write(out, to, &format!("REQUEST_PUBLIC_KEY @{me} {stamp}"));
    }

    /// The user is elsewhere, and there: the server gives its own key.
    pub(super) fn offer_key(&mut self, link: Link, other: &Arc<str>, stamp: String, out: &mut Vec<Output>) {
        let (now_ms, shown) = (self.now_ms, self.shown(other));
        let keys = self.keys.clone();
        let Some(public) = keys.public() else {
            return write(out, link, "-SOFT_ERR the server has no key");
        };
        let Some(peer) = self.peer(link, other) else { return };
        if peer.wanted.is_some() {
            if peer.held.len() < MOST_ASKED {
                peer.held.push(stamp);
            }
            return;
        }
        peer.offered += 1;
        peer.offered_ms = now_ms;
        write(out, link, &format!("PUBLIC_KEY @{shown} {public} {stamp}"));
        self.tell_readable(link, other, out);
    }

    /// `PUBLIC_KEY @user key stamp`; one that nobody has asked for is dropped.
    pub(super) fn give_key(&mut self, link: Link, to: &str, key: &str, stamp: &str, out: &mut Vec<Output>) {
        let other = self.meant(to);
        let Some(me) = self.user_of(link) else { return };
        if self.peer(link, &other).is_some_and(|peer| peer.wanted.as_ref().is_some_and(|(it, _)| it == stamp))
        {
            return self.take_key(link, &other, key, out);
        }
        let Some(&to) = self.users.get(&other) else { return };
        let Some(peer) = self.peer(to, &me) else { return };
        let Some(at) = peer.asked.iter().position(|asked| asked == stamp) else { return };
        peer.asked.remove(at);
        if !keys::is_base64(key) {
            return write(out, link, "-SOFT_ERR that is no public key");
        }
        peer.session = Some(Session::With(link));
        write(out, to, &format!("PUBLIC_KEY @{me} {key} {stamp}"));
    }

    /// The client's key for which messages of somebody elsewhere wait.
    fn take_key(&mut self, link: Link, other: &Arc<str>, key: &str, out: &mut Vec<Output>) {
        let secret: String = (self.chance)().iter().map(|byte| format!("{byte:02x}")).collect();
        let sealed = keys::seal_for(key, &secret);
        let shown = self.shown(other);
        let Some(peer) = self.peer(link, other) else { return };
        peer.wanted = None;
        let held = std::mem::take(&mut peer.held);
        match (sealed, peer.waiting.pop_front()) {
            (Some(sealed), Some(first)) => {
                let session = SessionKey::from_text(secret.as_bytes());
                let text = session.encrypt(&first);
                peer.session = Some(Session::Ours(session));
                write(out, link, &format!("PM {shown} {text} {sealed}"));
                self.tell_readable(link, other, out);
                self.say_waiting(link, other, out);
            }
            (None, _) => {
                peer.waiting.clear();
                write(out, link, &format!("-SOFT_ERR {shown} wrote to you, and your public key is none"));
            }
            (Some(_), None) => {}
        }
        for stamp in held {
            self.offer_key(link, other, stamp, out);
        }
    }

    /// Somebody said something to a client's user alone.
    pub(super) fn told_in_private(&mut self, link: Link, message: &Message, out: &mut Vec<Output>) {
        let from = &message.from;
        let sealed = std::str::from_utf8(&message.text).ok().and_then(|text| text.strip_prefix(SEALED));
        let Some(client) = self.clients.get_mut(&link) else { return };
        let expected =
            client.expected.iter().position(|(by, line)| by == from && sealed == Some(line.as_str()));
        if let Some((_, line)) = expected.and_then(|at| client.expected.remove(at)) {
            return self.deliver_sealed(link, from, &line, out);
        }
        // A guest is called by its display name from here on.
        self.names.shown(from, message.name.as_deref());
        let Some(peer) = self.peer(link, from) else { return };
        for text in map::texts(&message.text) {
            if peer.waiting.len() >= MOST_WAITING {
                peer.waiting.pop_front();
            }
            peer.waiting.push_back(text);
        }
        self.say_waiting(link, from, out);
    }

    fn deliver_sealed(&mut self, link: Link, from: &Arc<str>, line: &str, out: &mut Vec<Output>) {
        let sender = self.users.get(from).copied();
        let shown = self.shown(from);
        let has_key = line.contains(' ');
        let Some(peer) = self.peer(link, from) else { return };
        match sender {
            Some(sender) if !has_key && !peer.is_with(sender) => {
                // The client has got another key since this was sent.
                if let Some(me) = self.user_of(link) {
                    self.let_forget(sender, &me, out);
                }
            }
            None if !has_key => {}
            _ => write(out, link, &format!("PM {shown} {line}")),
        }
    }

    /// Encrypts what waits, or sees to it that it can be.
    fn say_waiting(&mut self, link: Link, other: &Arc<str>, out: &mut Vec<Output>) {
        let (now_ms, shown) = (self.now_ms, self.shown(other));
        let Some(peer) = self.peer(link, other) else { return };
        if peer.waiting.is_empty() || peer.wanted.is_some() || peer.offered > 0 {
            return;
        }
        let Some(Session::Ours(session)) = &peer.session else {
            // The clients' own stamps are times; this one is none of theirs.
            let stamp = format!("{}0", now_ms + 1);
            write(out, link, &format!("REQUEST_PUBLIC_KEY @{shown} {stamp}"));
            peer.session = None;
            peer.is_told_wanted = false;
            peer.wanted = Some((stamp, now_ms));
            return;
        };
        for text in peer.waiting.drain(..) {
            let text = session.encrypt(&text);
            write(out, link, &format!("PM {shown} {text}"));
        }
    }

    fn tell_readable(&mut self, link: Link, other: &Arc<str>, out: &mut Vec<Output>) {
        let shown = self.shown(other);
        if let Some(peer) = self.peer(link, other)
            && !std::mem::replace(&mut peer.is_told_readable, true)
        {
            let text = format!("+SUCCESS what you and {shown} say in private can be read by the server");
            write(out, link, &text);
        }
    }

    /// Looks who has not given or not used a key in time.
    pub(super) fn private_beat(&mut self, out: &mut Vec<Output>) {
        let is_late = |since_ms: u64| since_ms + PATIENCE_MS <= self.now_ms;
        let mut late = Vec::new();
        for (&link, client) in &self.clients {
            for (other, peer) in &client.peers {
                let is_unused = peer.offered > 0 && is_late(peer.offered_ms);
                let is_missing = peer.wanted.as_ref().is_some_and(|(_, since_ms)| is_late(*since_ms));
                if is_unused || is_missing && !peer.is_told_wanted {
                    late.push((link, other.clone()));
                }
            }
        }
        for (link, other) in late {
            let shown = self.shown(&other);
            let Some(peer) = self.peer(link, &other) else { continue };
            if peer.wanted.is_some() {
                peer.is_told_wanted = true;
                let line = format!(
                    "-SOFT_ERR {shown} wrote to you, and your client gives no key to encrypt it with"
                );
                write(out, link, &line);
            } else {
                peer.offered = 0;
                peer.session = None;
                self.say_waiting(link, &other, out);
            }
        }
    }
}
