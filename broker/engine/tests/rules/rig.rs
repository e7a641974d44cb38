//! Engines driven by hand: the test says when the disk answers and when shards hear each other.
//!
//! Owns the engines, what waits for the disk and for other shards, and the bytes that were written to each client. Must
//! never decide by itself when something durable is told or a message between shards arrives. Invariant: nothing is
//! lost or reordered. Driven by the tests beside it.

use katydid_engine::{
    ConnId, Engine, Entropy, Input, Now, Output, Peer, Settings, ShardId, ShardMessage, Verdict, home_shard,
};
use katydid_mqtt::{
    decode, encode,
    packet::{
        Connect, ConnectProperties, Disconnect, Packet, PacketId, PacketType, Publish, PublishProperties,
        QoS, RetainHandling, Secret, SubscribeOptions, Version,
    },
    reason::ReasonCode,
};
use katydid_store::{Limit, MemoryStore, Op, Store};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// A connection of the rig.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    shard: usize,
    conn: ConnId,
    version: Version,
}

/// What a client got, as far as these tests look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Got {
    ConnAck { session_present: bool },
    Refused(u8),
    SubAck(Vec<u8>),
    UnsubAck(Vec<u8>),
    PubAck,
    Publish { topic: String, payload: Vec<u8>, retain: bool, packet_id: Option<PacketId> },
    Disconnect(u8),
    Other,
}

#[derive(Debug, Default)]
struct Line {
    /// Offered to the engine and not used.
    offered: Vec<u8>,
    /// Written by the engine and not looked at.
    written: Vec<u8>,
    is_paused: bool,
    is_closed: bool,
}

/// The engines and everything between them.
pub(crate) struct Rig {
    pub(crate) engines: Vec<Engine>,
    pub(crate) now: Now,
    letters: VecDeque<(ShardId, ShardId, ShardMessage)>,
    commits: VecDeque<(usize, u64, Vec<Op>)>,
    store: MemoryStore,
    lines: BTreeMap<(usize, ConnId), Line>,
    /// Connections whose passwords nobody has checked.
    passwords: Vec<(usize, ConnId)>,
    /// Bytes of the records that were ever written.
    pub(crate) written_bytes: usize,
    /// Whether sockets take bytes.
    pub(crate) takes_bytes: bool,
}

impl Rig {
    pub(crate) fn new(shards: usize, settings: Settings) -> Self {
        let now = Now { mono_ms: 1_000, unix_ms: 1_800_000_000_000 };
        let restored = katydid_engine::Restored::default();
        Self {
            engines: katydid_engine::start(&Arc::new(settings), shards, Entropy::replayed(7), now, &restored)
                .expect("it starts"),
            now,
            letters: VecDeque::new(),
            commits: VecDeque::new(),
            store: MemoryStore::new(),
            lines: BTreeMap::new(),
            passwords: Vec::new(),
            written_bytes: 0,
            takes_bytes: true,
        }
    }

    /// Settles every shard once and carries out what it says, but for what waits for the disk or another shard.
    pub(crate) fn tick(&mut self) {
        for shard in 0..self.engines.len() {
            self.engines[shard].settle(self.now);
            while let Some(output) = self.engines[shard].poll_output() {
                self.carry_out(shard, output);
            }
            while let Some(conn) = self.engines[shard].next_dirty() {
                self.flush(shard, conn);
            }
        }
    }

    /// Ticks until the shards have nothing to do, and nobody has anything to tell another.
    pub(crate) fn talk(&mut self) {
        loop {
            self.tick();
            match self.letters.pop_front() {
                Some((from, to, message)) => {
                    self.engines[usize::from(to.0)].handle(self.now, Input::Shard { from, message });
                }
                None if self.engines.iter().all(|engine| engine.next_deadline() != Some(0)) => return,
                None => {}
            }
        }
    }

    /// Writes everything to disk, tells the shards, and lets them talk, until nothing waits.
    pub(crate) fn settle(&mut self) {
        self.talk();
        while let Some((shard, number, ops)) = self.commits.pop_front() {
            let bytes = |op: &Op| match op {
                Op::Put { key, value, .. } => key.len() + value.len(),
                Op::Delete { key, .. } => key.len(),
                Op::Append { .. } | Op::Amend { .. } | Op::Trim { .. } | Op::DropLog { .. } => 0,
            };
            self.written_bytes += ops.iter().map(bytes).sum::<usize>();
            self.store.commit(ops).expect("memory takes everything");
            self.engines[shard].handle(self.now, Input::Durable { number });
            self.talk();
        }
    }

    fn carry_out(&mut self, shard: usize, output: Output) {
        match output {
            Output::ToShard { shard: to, message } => {
                self.letters.push_back((ShardId(shard as u16), to, message));
            }
            Output::Commit { number, ops, .. } => self.commits.push_back((shard, number, ops)),
            Output::Read { ticket, log, query } => {
                let katydid_engine::ReadQuery::From { seq, entries, bytes } = query else {
                    panic!("only queues are read here");
                };
                let entries = self.store.read(log, seq, Limit { entries, bytes }).expect("memory reads");
                self.engines[shard].handle(self.now, Input::Fetched { ticket, entries });
            }
            Output::Pause { conn } => self.line(shard, conn).is_paused = true,
            Output::Resume { conn } => {
                self.line(shard, conn).is_paused = false;
                self.offer(shard, conn);
            }
            Output::Close { conn, .. } => {
                self.flush(shard, conn);
                self.line(shard, conn).is_closed = true;
                self.engines[shard].handle(self.now, Input::Closed { conn });
            }
            Output::Verify { conn, .. } => self.passwords.push((shard, conn)),
            Output::Search { .. }
            | Output::Hash { .. }
            | Output::VerifyFor { .. }
            | Output::VerifyToken { .. }
            | Output::Operated { .. }
            | Output::Down => {}
        }
    }

    fn line(&mut self, shard: usize, conn: ConnId) -> &mut Line {
        self.lines.entry((shard, conn)).or_default()
    }

    fn offer(&mut self, shard: usize, conn: ConnId) {
        let bytes = std::mem::take(&mut self.line(shard, conn).offered);
        let used = self.engines[shard].receive(self.now, conn, &bytes);
        self.line(shard, conn).offered = bytes[used..].to_vec();
    }

    fn flush(&mut self, shard: usize, conn: ConnId) {
        if !self.takes_bytes {
            return;
        }
        let line = self.lines.entry((shard, conn)).or_default();
        self.engines[shard].transmit(conn, |slices| {
            slices.iter().for_each(|slice| line.written.extend_from_slice(slice));
            Ok(slices.iter().map(|slice| slice.len()).sum())
        });
    }

    /// Lets every socket take what waits for it.
    pub(crate) fn drain(&mut self) {
        self.takes_bytes = true;
        for (shard, conn) in self.lines.keys().copied().collect::<Vec<_>>() {
            self.flush(shard, conn);
        }
    }

    /// Says what became of every password.
    pub(crate) fn judge(&mut self, verdict: Verdict) {
        for (shard, conn) in std::mem::take(&mut self.passwords) {
            self.engines[shard].handle(self.now, Input::Verified { conn, verdict, scram: None });
        }
        self.settle();
    }

    /// Opens a connection and sends CONNECT; nothing is settled.
    pub(crate) fn connect(
        &mut self,
        version: Version,
        client_id: &str,
        clean: bool,
        expiry_secs: u32,
    ) -> Link {
        self.connect_as(None, version, client_id, clean, expiry_secs)
    }

    /// The same for a user, whose password is "secret".
    pub(crate) fn connect_as(
        &mut self,
        user: Option<&str>,
        version: Version,
        client_id: &str,
        clean: bool,
        expiry_secs: u32,
    ) -> Link {
        let shard = usize::from(home_shard(client_id, self.engines.len()).0);
        let conn = ConnId { slot: self.lines.len() as u32, generation: 1 };
        self.engines[shard].handle(self.now, Input::Open { conn, peer: Peer::default() });
        let properties =
            ConnectProperties { session_expiry_secs: Some(expiry_secs), ..ConnectProperties::default() };
        let connect = Connect {
            version,
            clean_start: clean,
            keep_alive_secs: 0,
            client_id,
            will: None,
            user_name: user,
            password: user.map(|_| Secret(b"secret")),
            properties: if version == Version::V5 { properties } else { ConnectProperties::default() },
        };
        let link = Link { shard, conn, version };
        let mut out = Vec::new();
        encode::connect(&mut out, &connect).expect("it is short");
        self.send(link, &out);
        link
    }

    /// Gives bytes of a client to its engine.
    pub(crate) fn send(&mut self, link: Link, bytes: &[u8]) {
        let line = self.line(link.shard, link.conn);
        line.offered.extend_from_slice(bytes);
        if !line.is_paused && !line.is_closed {
            self.offer(link.shard, link.conn);
        }
    }

    /// The client is gone.
    pub(crate) fn cut(&mut self, link: Link) {
        self.line(link.shard, link.conn).is_closed = true;
        self.engines[link.shard].handle(self.now, Input::Closed { conn: link.conn });
    }

    /// Sends DISCONNECT with a session expiry.
    pub(crate) fn disconnect(&mut self, link: Link, session_expiry_secs: u32) {
        let packet = Disconnect {
            reason: ReasonCode::Success,
            session_expiry_secs: Some(session_expiry_secs),
            reason_string: None,
            user_properties: Default::default(),
            server_reference: None,
        };
        let mut out = Vec::new();
        encode::disconnect_with(&mut out, link.version, &packet).expect("it is short");
        self.send(link, &out);
    }

    pub(crate) fn subscribe(&mut self, link: Link, id: u16, filter: &str, qos: QoS) {
        self.subscribe_many(link, id, &[filter.to_owned()], qos);
    }

    pub(crate) fn subscribe_many(&mut self, link: Link, id: u16, filters: &[String], qos: QoS) {
        let options = SubscribeOptions {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        };
        let mut out = Vec::new();
        let filters = filters.iter().map(|filter| (&**filter, options));
        encode::subscribe(&mut out, link.version, packet_id(id), None, Default::default(), filters)
            .expect("it is short");
        self.send(link, &out);
    }

    pub(crate) fn unsubscribe(&mut self, link: Link, id: u16, filter: &str) {
        let mut out = Vec::new();
        encode::unsubscribe(&mut out, link.version, packet_id(id), Default::default(), [filter])
            .expect("it is short");
        self.send(link, &out);
    }

    pub(crate) fn publish(&mut self, link: Link, id: u16, topic: &str, retain: bool) {
        self.publish_text(link, id, topic, "payload", retain);
    }

    pub(crate) fn publish_text(&mut self, link: Link, id: u16, topic: &str, text: &str, retain: bool) {
        let publish = Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain,
            topic,
            packet_id: Some(packet_id(id)),
            topic_alias: None,
            properties: PublishProperties::default(),
            payload: text.as_bytes(),
        };
        let mut out = Vec::new();
        encode::publish(&mut out, link.version, &publish).expect("it is short");
        self.send(link, &out);
    }

    pub(crate) fn acknowledge(&mut self, link: Link, id: PacketId) {
        let mut out = Vec::new();
        encode::ack(&mut out, link.version, PacketType::PubAck, id, ReasonCode::Success);
        self.send(link, &out);
    }

    /// Bytes that wait for a socket that takes none.
    pub(crate) fn waiting_bytes(&mut self, link: Link) -> usize {
        let mut bytes = 0;
        self.engines[link.shard].transmit(link.conn, |slices| {
            bytes = slices.iter().map(|slice| slice.len()).sum();
            Err(std::io::ErrorKind::WouldBlock.into())
        });
        bytes
    }

    /// Time passes, nothing happens meanwhile, and then everything settles.
    pub(crate) fn pass_ms(&mut self, ms: u64) {
        self.now = Now { mono_ms: self.now.mono_ms + ms, unix_ms: self.now.unix_ms + ms };
        for engine in &mut self.engines {
            if engine.next_deadline().is_some_and(|at| at <= self.now.mono_ms) {
                engine.handle(self.now, Input::Tick);
            }
        }
        self.settle();
    }

    /// What the client got since it was last asked for.
    pub(crate) fn got(&mut self, link: Link) -> Vec<Got> {
        let bytes = std::mem::take(&mut self.line(link.shard, link.conn).written);
        let mut rest = &bytes[..];
        let mut got = Vec::new();
        while let Some(frame) = decode::frame(rest, u32::MAX).expect("an engine writes packets") {
            rest = &rest[frame.len..];
            got.push(match decode::packet(frame, link.version).expect("an engine writes packets") {
                Packet::ConnAck(ack) if ack.reason.is_error() => Got::Refused(ack.reason as u8),
                Packet::ConnAck(ack) => Got::ConnAck { session_present: ack.session_present },
                Packet::SubAck(ack) => Got::SubAck(ack.codes.to_vec()),
                Packet::UnsubAck(ack) => Got::UnsubAck(ack.codes.to_vec()),
                Packet::PubAck(_) => Got::PubAck,
                Packet::Publish(publish) => Got::Publish {
                    topic: publish.topic.to_owned(),
                    payload: publish.payload.to_vec(),
                    retain: publish.retain,
                    packet_id: publish.packet_id,
                },
                Packet::Disconnect(disconnect) => Got::Disconnect(disconnect.reason as u8),
                _ => Got::Other,
            });
        }
        assert!(rest.is_empty(), "half a packet was written");
        got
    }

    /// Whether the engine has closed the connection.
    pub(crate) fn is_closed(&mut self, link: Link) -> bool {
        self.line(link.shard, link.conn).is_closed
    }
}

fn packet_id(id: u16) -> PacketId {
    PacketId::new(id).expect("tests count from one")
}
