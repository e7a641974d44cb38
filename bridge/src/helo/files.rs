//! Files (7.11): announced, accepted, and then one line of base64 from one connection to another on a port of their own.
//!
//! Every transfer has a port, and its connections belong to it: they say their names there, and come from where their
//! users' clients come from. Nothing of a file is held but the piece that is being written; the next is read when that is
//! done. Users elsewhere get an offer with the port and a ticket, which they say on the port in place of a name, and
//! speak the document's lines there. Somebody whose client is at another bridge can't be sent files: two bridges would wait for
//! each other to call.
//!
//! ```text
//!  sender:    Head --(FILE <sender ...)--> Flowing --(\n)--> status --> closed
//!                                             | what comes is no such file, or nobody takes it
//!                                             +--> Draining --(\n, or too late)--> status --> closed
//!  receiver:  Head --(OPEN_PORT_TO_RECEIVE name)--> Receiving --(FILE_STATUS text@sender)--> closed
//! ```

use super::{
    meta::Meta,
    server::{Server, write},
    sessions::Doing,
    wire::{Body, FileBody, FileHead, Frame, Wire},
};
use crate::{
    flow,
    machine::{Link, Output},
    requests,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
};

/// How long a file may be announced, and nothing may happen on its port, in milliseconds.
const OFFER_MS: u64 = 120_000;
const SILENCE_MS: u64 = 30_000;

/// Files announced at one time at most, and those that one user has announced or under way.
const MOST_OFFERS: usize = 1024;
const MOST_OF_ONE: usize = 8;

const CORRUPTED: &str = "File has been corrupted and not delivered!";
const TOO_LATE: &str = "File has not been delivered in time!";
const TOO_MANY: &str = "-SOFT_ERR too many files are under way, please try again later";

/// Files that are announced or under way, and the connections on their ports.
#[derive(Debug, Default)]
pub(super) struct Files {
    offers: VecDeque<Offer>,
    /// By the door of their port.
    pub(super) transfers: BTreeMap<usize, Transfer>,
    links: HashMap<Link, FileLink>,
    last_door: usize,
}

impl Files {
    pub(super) fn is_idle(&self) -> bool {
        self.offers.is_empty() && self.transfers.is_empty() && self.links.is_empty()
    }
}

/// A file that the receiver has not accepted yet.
#[derive(Debug)]
struct Offer {
    sender: Arc<str>,
    receiver: Arc<str>,
    meta: Meta,
    due_ms: u64,
}

/// A file with a port.
#[derive(Debug)]
pub(super) struct Transfer {
    meta: Meta,
    sender: End,
    receiver: End,
    /// When something must have happened, and when all must be over.
    silence_due_ms: u64,
    due_ms: u64,
    /// Whether the sender waits for word that the receiver is there.
    is_to_be_announced: bool,
}

/// One side of a transfer.
#[derive(Debug)]
struct End {
    user: Arc<str>,
    /// Its client here, and where that comes from.
    client: Option<(Link, IpAddr)>,
    /// What it says on the port: its name, or the ticket of somebody elsewhere.
    word: String,
    link: Option<Link>,
}

#[derive(Debug)]
struct FileLink {
    door: usize,
    from: IpAddr,
    stage: Stage,
    due_ms: u64,
}

#[derive(Debug)]
enum Stage {
    /// Who it is, is not said yet.
    Head(Vec<u8>),
    Receiving(Wire),
    /// The file; what came before the receiver did, and whether a piece is being written.
    Flowing {
        body: FileBody,
        held: Vec<u8>,
        is_passing: bool,
    },
    /// All of the file is written; the receiver has the word.
    Sent,
    /// What comes is thrown away until the line ends, as the client listens only then.
    Draining {
        status: &'static str,
    },
}

impl Server {
    /// `FILE_TRANS @user size path checksum`
    pub(super) fn send_file(&mut self, link: Link, to: &str, meta: Meta, out: &mut Vec<Output>) {
        let Some(me) = self.user_of(link) else { return };
        let other: Arc<str> = self.names.user(to).into();
        if other == me {
            return write(out, link, "-SOFT_ERR you can't send a file to yourself!");
        }
        if meta.size > self.settings.file_bytes {
            let most = self.settings.file_bytes;
            return write(out, link, &format!("-SOFT_ERR a file may have at most {most} bytes"));
        }
        if let Some(&to) = self.users.get(&other) {
            let line = format!("FILE_TRANS @{me} {}", meta.text);
            if !self.announce(me, other, meta) {
                return write(out, link, TOO_MANY);
            }
            return write(out, to, &line);
        }
        let mut data = meta.to_offer();
        let (sender, receiver) = (self.end_here(link, me), self.end_elsewhere(other.clone()));
        let ticket = receiver.word.clone();
        let Some((door, port)) = self.open_port(meta, sender, receiver, OFFER_MS) else {
            return write(out, link, TOO_MANY);
        };
        self.say_where(&mut data, port, ticket);
        self.ask(link, requests::offer_file(&other, data), Doing::OfferFile { door }, out);
    }

    /// Another user offers a file, or lets know where it takes one: whether the client was told so.
    pub(super) fn offered(
        &mut self,
        link: Link,
        from: &Arc<str>,
        json: &Value,
        out: &mut Vec<Output>,
    ) -> bool {
        let meta = requests::read_file_offer(json).and_then(Meta::of_offer);
        let (Some(meta), Some(me)) = (meta, self.user_of(link)) else { return false };
        let shown = self.shown(from);
        let line = format!("FILE_TRANS @{shown} {}", meta.text);
        let is_announced = meta.size <= self.settings.file_bytes && self.announce(from.clone(), me, meta);
        if is_announced {
            write(out, link, &line);
        }
        is_announced
    }

    fn announce(&mut self, sender: Arc<str>, receiver: Arc<str>, meta: Meta) -> bool {
        let of_sender = self.files.offers.iter().filter(|offer| offer.sender == sender).count();
        if of_sender >= MOST_OF_ONE || self.files.offers.len() >= MOST_OFFERS {
            return false;
        }
        self.files.offers.push_back(Offer { sender, receiver, meta, due_ms: self.now_ms + OFFER_MS });
        true
    }

    /// `READY_FOR_FILE @user size path checksum`
    pub(super) fn take_file(&mut self, link: Link, from: &str, meta: &Meta, out: &mut Vec<Output>) {
        let Some(me) = self.user_of(link) else { return };
        let other: Arc<str> = self.names.user(from).into();
        let is_it = |offer: &Offer| offer.sender == other && offer.receiver == me && offer.meta == *meta;
        let at = self.files.offers.iter().position(is_it);
        if at.and_then(|at| self.files.offers.remove(at)).is_none() {
            return write(out, link, "-SOFT_ERR no such file!");
        }
        let receiver = self.end_here(link, me.clone());
        let sending = self.users.get(&other).copied();
        let sender = match sending {
            Some(sender) => self.end_here(sender, other.clone()),
            None => self.end_elsewhere(other.clone()),
        };
        let ticket = sender.word.clone();
        let Some((_, port)) = self.open_port(meta.clone(), sender, receiver, SILENCE_MS) else {
            sending.into_iter().for_each(|sender| write(out, sender, TOO_MANY));
            return write(out, link, TOO_MANY);
        };
        match sending {
            Some(sender) => write(out, sender, &format!("READY_FOR_FILE @{me} {} {port}", meta.text)),
            None => {
                let mut data = meta.to_offer();
                data["ready"] = true.into();
                self.say_where(&mut data, port, ticket);
                self.also_ask(link, requests::offer_file(&other, data), out);
            }
        }
        write(out, link, &format!("OPEN_PORT_TO_RECEIVE {port}"));
    }

    fn end_here(&self, link: Link, user: Arc<str>) -> End {
        let client = self.clients.get(&link).map(|client| (link, client.from));
        End { word: user.to_string(), user, client, link: None }
    }

    fn end_elsewhere(&self, user: Arc<str>) -> End {
        let word = (self.chance)().iter().map(|byte| format!("{byte:02x}")).collect();
        End { user, client: None, word, link: None }
    }

    fn say_where(&self, data: &mut Value, port: u16, ticket: String) {
        data["port"] = port.into();
        data["ticket"] = ticket.into();
        if let Some(host) = &self.settings.file_host {
            data["host"] = host.as_str().into();
        }
    }

    /// A free port for a transfer, whose number the sender's client can't take for a part of the metadata.
    fn open_port(&mut self, meta: Meta, sender: End, receiver: End, silence_ms: u64) -> Option<(usize, u16)> {
        let is_of_sender = |transfer: &&Transfer| transfer.sender.user == sender.user;
        if self.files.transfers.values().filter(is_of_sender).count() >= MOST_OF_ONE {
            return None;
        }
        let ports = self.settings.file_ports.len();
        let doors = (0..ports).map(|at| 1 + (self.files.last_door + at) % ports);
        let free = |door: &usize| {
            !self.files.transfers.contains_key(door) && !meta.hides(self.settings.file_ports[door - 1])
        };
        let door = doors.into_iter().find(free)?;
        self.files.last_door = door;
        let transfer = Transfer {
            is_to_be_announced: receiver.client.is_none(),
            silence_due_ms: self.now_ms + silence_ms,
            due_ms: self.now_ms + silence_ms + self.settings.file_ms,
            meta,
            sender,
            receiver,
        };
        self.files.transfers.insert(door, transfer);
        Some((door, self.settings.file_ports[door - 1]))
    }

    pub(super) fn file_opened(&mut self, link: Link, door: usize, from: IpAddr) {
        let due_ms = self.now_ms + SILENCE_MS;
        self.files.links.insert(link, FileLink { door, from, stage: Stage::Head(Vec::new()), due_ms });
    }

    pub(super) fn is_file_ready(&self, link: Link) -> bool {
        self.files.links.get(&link).is_some_and(|it| match &it.stage {
            Stage::Head(_) | Stage::Receiving(_) | Stage::Draining { .. } | Stage::Sent => true,
            Stage::Flowing { is_passing, .. } => {
                let transfer = self.files.transfers.get(&it.door);
                !is_passing && transfer.is_some_and(|transfer| transfer.receiver.link.is_some())
            }
        })
    }

    pub(super) fn file_received(&mut self, link: Link, bytes: &[u8], out: &mut Vec<Output>) {
        let Some(it) = self.files.links.get_mut(&link) else { return };
        match &mut it.stage {
            Stage::Head(head) => {
                head.extend_from_slice(bytes);
                if let Some(head) = FileHead::read(head) {
                    self.file_began(link, head, out);
                }
            }
            Stage::Receiving(wire) => {
                wire.push(bytes);
                match wire.next_line() {
                    Some(Frame::Line(line)) => self.file_status(link, &line, out),
                    Some(Frame::TooLong) => self.file_closed(link, out),
                    None => {}
                }
            }
            Stage::Flowing { .. } => self.file_flows(link, bytes, out),
            Stage::Sent => {}
            Stage::Draining { status } if bytes.contains(&b'\n') => {
                let status = *status;
                self.end_file_link(link, Some(status), out);
            }
            Stage::Draining { .. } => {}
        }
    }

    fn file_began(&mut self, link: Link, head: FileHead, out: &mut Vec<Output>) {
        let Some(it) = self.files.links.get_mut(&link) else { return };
        let transfer = self.files.transfers.get_mut(&it.door);
        match head {
            FileHead::Receiver { name, rest } => {
                let transfer = transfer.filter(|transfer| transfer.receiver.is(&name, it.from));
                let Some(transfer) = transfer else { return self.end_file_link(link, None, out) };
                transfer.receiver.link = Some(link);
                transfer.silence_due_ms = self.now_ms + SILENCE_MS;
                let announced = std::mem::take(&mut transfer.is_to_be_announced);
                let (meta, receiver) = (transfer.meta.text.clone(), transfer.receiver.user.clone());
                let sending = transfer.sender.link;
                let client = transfer.sender.client.filter(|_| announced);
                let port = self.settings.file_ports[it.door - 1];
                let mut wire = Wire::default();
                wire.push(&rest);
                it.stage = Stage::Receiving(wire);
                if let Some((client, _)) = client.filter(|(client, _)| self.clients.contains_key(client)) {
                    let receiver = self.shown(&receiver);
                    write(out, client, &format!("READY_FOR_FILE @{receiver} {meta} {port}"));
                }
                if let Some(sending) = sending {
                    self.file_starts(sending, out);
                }
            }
            FileHead::Sender { sender, receiver, meta, rest } => {
                let receiver = self.names.user(&receiver);
                let is_it = |it: &&mut Transfer, from| {
                    it.sender.is(&sender, from) && &*it.receiver.user == receiver && it.meta.text == meta
                };
                let from = it.from;
                let Some(transfer) = transfer.filter(|transfer| is_it(transfer, from)) else {
                    it.stage = Stage::Draining { status: TOO_LATE };
                    return self.file_received(link, &rest, out);
                };
                transfer.sender.link = Some(link);
                let body = FileBody::new(transfer.meta.size);
                it.stage = Stage::Flowing { body, held: rest, is_passing: false };
                if transfer.receiver.link.is_some() {
                    self.file_starts(link, out);
                }
            }
            FileHead::Wrong => self.end_file_link(link, None, out),
        }
    }

    /// Both are there: what the sender has said so far goes on.
    fn file_starts(&mut self, link: Link, out: &mut Vec<Output>) {
        let Some(it) = self.files.links.get_mut(&link) else { return };
        let Some(transfer) = self.files.transfers.get(&it.door) else { return };
        let Stage::Flowing { held, .. } = &mut it.stage else { return };
        let held = std::mem::take(held);
        let Some(receiver) = transfer.receiver.link else { return };
        let (sender, meta) = (transfer.sender.user.clone(), transfer.meta.text.clone());
        let sender = self.shown(&sender);
        let head = format!("FILE <{sender} @{sender} {meta} ");
        out.push(Output::Write { link: receiver, bytes: head.into_bytes() });
        self.file_flows(link, &held, out);
        out.push(Output::GoOn { link });
    }

    fn file_flows(&mut self, link: Link, bytes: &[u8], out: &mut Vec<Output>) {
        let Some(it) = self.files.links.get_mut(&link) else { return };
        let door = it.door;
        let Some(transfer) = self.files.transfers.get_mut(&door) else { return };
        let Stage::Flowing { body, is_passing, .. } = &mut it.stage else { return };
        let Some(receiver) = transfer.receiver.link else { return };
        transfer.silence_due_ms = self.now_ms + SILENCE_MS;
        match body.take(bytes) {
            Body::More(bytes) if bytes.is_empty() => {}
            Body::More(bytes) => {
                *is_passing = true;
                out.push(Output::Pass { link: receiver, bytes, from: link });
            }
            Body::Whole(bytes) => {
                it.stage = Stage::Sent;
                out.push(Output::Write { link: receiver, bytes });
            }
            Body::Wrong { is_ended } => {
                if is_ended {
                    it.stage = Stage::Sent;
                }
                self.finish(door, CORRUPTED, out);
            }
        }
    }

    /// A piece is written; the next may come.
    pub(super) fn file_passed(&mut self, link: Link) {
        let Some(it) = self.files.links.get_mut(&link) else { return };
        if let Stage::Flowing { is_passing, .. } = &mut it.stage {
            *is_passing = false;
            if let Some(transfer) = self.files.transfers.get_mut(&it.door) {
                transfer.silence_due_ms = self.now_ms + SILENCE_MS;
            }
        }
    }

    /// `FILE_STATUS text@sender`
    fn file_status(&mut self, link: Link, line: &[u8], out: &mut Vec<Output>) {
        let Some(door) = self.files.links.get(&link).map(|it| it.door) else { return };
        let line = String::from_utf8_lossy(line);
        let Some(text) = line.strip_prefix("FILE_STATUS ") else { return self.finish(door, CORRUPTED, out) };
        let text = text.rsplit_once('@').map_or(text, |(text, _)| text).trim_end();
        let sending = self.files.transfers.get(&door).and_then(|transfer| transfer.sender.link);
        let is_sent = |it: &FileLink| matches!(it.stage, Stage::Sent);
        if let Some(sending) = sending.filter(|link| self.files.links.get(link).is_some_and(is_sent)) {
            write(out, sending, &format!("FILE_STATUS {}", flow::line(text)));
            self.end_file_link(sending, None, out);
        }
        self.finish(door, CORRUPTED, out);
    }

    /// The transfer is over; a sender who is still there is told how.
    fn finish(&mut self, door: usize, status: &'static str, out: &mut Vec<Output>) {
        let Some(transfer) = self.files.transfers.remove(&door) else { return };
        if let Some(receiver) = transfer.receiver.link {
            self.end_file_link(receiver, None, out);
        }
        let Some(sender) = transfer.sender.link else { return };
        match self.files.links.get_mut(&sender) {
            Some(it) if matches!(it.stage, Stage::Flowing { .. }) => {
                let stage = std::mem::replace(&mut it.stage, Stage::Draining { status });
                it.due_ms = self.now_ms + SILENCE_MS;
                out.push(Output::GoOn { link: sender });
                if let Stage::Flowing { held, .. } = stage {
                    self.file_received(sender, &held, out);
                }
            }
            _ => self.end_file_link(sender, Some(status), out),
        }
    }

    /// Closes a connection on a file port, if it is still there.
    fn end_file_link(&mut self, link: Link, status: Option<&str>, out: &mut Vec<Output>) {
        if self.files.links.remove(&link).is_some() {
            if let Some(status) = status {
                write(out, link, &format!("FILE_STATUS {status}"));
            }
            out.push(Output::Close { link });
        }
    }

    /// A connection on a file port is gone, and with it its transfer.
    pub(super) fn file_closed(&mut self, link: Link, out: &mut Vec<Output>) {
        let Some(it) = self.files.links.remove(&link) else { return };
        let Some(transfer) = self.files.transfers.get_mut(&it.door) else { return };
        if transfer.sender.link == Some(link) {
            transfer.sender.link = None;
        } else if transfer.receiver.link == Some(link) {
            transfer.receiver.link = None;
        } else {
            return;
        }
        self.finish(it.door, CORRUPTED, out);
    }

    /// A user is gone, and what was announced with it.
    pub(super) fn forget_offers(&mut self, user: &Arc<str>) {
        self.files.offers.retain(|offer| offer.sender != *user && offer.receiver != *user);
    }

    /// Ends what takes too long.
    pub(super) fn file_beat(&mut self, out: &mut Vec<Output>) {
        let now_ms = self.now_ms;
        self.files.offers.retain(|offer| offer.due_ms > now_ms);
        let is_late = |it: &Transfer| it.silence_due_ms.min(it.due_ms) <= now_ms;
        let late = self.files.transfers.iter().filter(|(_, transfer)| is_late(transfer));
        for door in late.map(|(door, _)| *door).collect::<Vec<_>>() {
            self.finish(door, TOO_LATE, out);
        }
        let is_late = |it: &FileLink| {
            it.due_ms <= now_ms && matches!(it.stage, Stage::Head(_) | Stage::Draining { .. })
        };
        let late = self.files.links.iter().filter(|(_, it)| is_late(it));
        let mut late: Vec<_> = late.map(|(link, _)| *link).collect();
        late.sort_unstable();
        for link in late {
            let status = match self.files.links.get(&link).map(|it| &it.stage) {
                Some(Stage::Draining { status }) => Some(*status),
                _ => None,
            };
            self.end_file_link(link, status, out);
        }
    }
}

impl End {
    /// Whether a connection that says a word is this side, and the first of it.
    fn is(&self, word: &str, from: IpAddr) -> bool {
        let comes_from = |address: IpAddr| address == from || address.is_loopback() && from.is_loopback();
        self.link.is_none() && self.word == word && self.client.is_none_or(|(_, address)| comes_from(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_known_by_its_word_and_its_address() {
        let (here, other): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let mut end =
            End { user: "ann".into(), client: Some((Link(1), here)), word: "ann".into(), link: None };
        assert!(end.is("ann", here) && !end.is("ann", other) && !end.is("bob", here));
        end.client = Some((Link(1), [127, 0, 0, 1].into()));
        assert!(end.is("ann", "::1".parse().expect("an address")));
        end.link = Some(Link(2));
        assert!(!end.is("ann", [127, 0, 0, 1].into()));
    }
}
