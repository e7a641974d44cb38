//! The broker without threads: engines on shards, their inboxes, connections as buffers, and the store, all driven in
//! steps that follow from a seed.
//!
//! Invariant: an engine is told `Durable` only after the store's commit has returned, as in the real broker.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use katydid_engine::{
    ConnId, Engine, Entropy, Input, Now, Output, Peer, ReadQuery, Restored, Settings, ShardId,
};
use katydid_store::{Entry, Limit, LogId, Op, SledStore, Space, Store};

use super::Chance;

/// A connection, from the client's side.
pub(super) struct Wire {
    shard: usize,
    conn: ConnId,
    /// What the client has sent and the engine has not taken.
    sent: Vec<u8>,
    /// What the engine has sent and the client has not taken.
    pub(super) received: Vec<u8>,
    is_paused: bool,
    pub(super) is_closed: bool,
}

pub(super) struct World {
    engines: Vec<Engine>,
    store: Arc<SledStore>,
    inboxes: Vec<VecDeque<Input>>,
    commits: Vec<(usize, u64, Vec<Op>)>,
    pub(super) wires: Vec<Wire>,
    now_ms: u64,
    chance: Chance,
    /// Whether the last step moved anything.
    has_moved: bool,
}

impl World {
    /// Starts the broker on what the store holds.
    pub(super) fn start(store: Arc<SledStore>, shards: usize, seed: u64) -> World {
        let mut restored = Restored { records: Vec::new(), logs: store.logs().expect("logs") };
        for space in (0..=15).map(Space) {
            let records = store.scan(space).expect("records");
            restored.records.extend(records.into_iter().map(|(key, value)| (space, key, value)));
        }
        let now_ms = 1_000;
        let now = Now { mono_ms: now_ms, unix_ms: 1_700_000_000_000 };
        let mut settings = Settings::default();
        settings.rooms.tail_bytes = 2_000;
        let settings = Arc::new(settings);
        World {
            engines: katydid_engine::start(&settings, shards, Entropy::replayed(seed ^ 77), now, &restored)
                .expect("it starts"),
            store,
            inboxes: (0..shards).map(|_| VecDeque::new()).collect(),
            commits: Vec::new(),
            wires: Vec::new(),
            now_ms,
            chance: Chance(seed | 1),
            has_moved: false,
        }
    }

    /// Opens a connection for a client identifier, and gives its number.
    pub(super) fn open(&mut self, client_id: &str) -> usize {
        let shard = katydid_engine::home_shard(client_id, self.engines.len()).0 as usize;
        let conn = ConnId { slot: self.wires.len() as u32, generation: 1 };
        self.inboxes[shard].push_back(Input::Open { conn, peer: Peer::default() });
        self.wires.push(Wire {
            shard,
            conn,
            sent: Vec::new(),
            received: Vec::new(),
            is_paused: false,
            is_closed: false,
        });
        self.wires.len() - 1
    }

    /// Sends bytes on a connection.
    pub(super) fn send(&mut self, wire: usize, bytes: &[u8]) {
        self.wires[wire].sent.extend(bytes);
    }

    fn now(&self) -> Now {
        Now { mono_ms: self.now_ms, unix_ms: 1_700_000_000_000 + self.now_ms }
    }

    /// A tick of every shard.
    pub(super) fn step(&mut self) {
        self.now_ms += 1 + self.chance.below(5);
        self.has_moved = false;
        for shard in 0..self.engines.len() {
            self.tick(shard);
        }
    }

    /// Whether nothing is left to do but to commit.
    pub(super) fn is_idle(&self) -> bool {
        !self.has_moved && self.commits.is_empty() && self.inboxes.iter().all(VecDeque::is_empty)
    }

    fn tick(&mut self, shard: usize) {
        let now = self.now();
        let engine = &mut self.engines[shard];
        let inputs = std::mem::take(&mut self.inboxes[shard]);
        self.has_moved |= !inputs.is_empty();
        for input in inputs {
            engine.handle(now, input);
        }
        for wire in self.wires.iter_mut().filter(|wire| wire.shard == shard && !wire.is_paused) {
            if !wire.sent.is_empty() && !wire.is_closed {
                let used = engine.receive(now, wire.conn, &wire.sent);
                wire.sent.drain(..used);
                self.has_moved |= used > 0;
            }
        }
        if engine.next_deadline().is_some_and(|at_ms| at_ms <= now.mono_ms) {
            engine.handle(now, Input::Tick);
        }
        engine.settle(now);
        while let Some(output) = self.engines[shard].poll_output() {
            self.carry_out(shard, output);
        }
        let engine = &mut self.engines[shard];
        while let Some(conn) = engine.next_dirty() {
            let wire = &mut self.wires[conn.slot as usize];
            self.has_moved = true;
            engine.transmit(conn, |slices| {
                let before = wire.received.len();
                slices.iter().for_each(|slice| wire.received.extend_from_slice(slice));
                io::Result::Ok(wire.received.len() - before)
            });
        }
    }

    fn carry_out(&mut self, shard: usize, output: Output) {
        self.has_moved = true;
        match output {
            Output::Close { conn, .. } => {
                self.wires[conn.slot as usize].is_closed = true;
                self.inboxes[shard].push_back(Input::Closed { conn });
            }
            Output::ToShard { shard: to, message } => {
                let from = ShardId(shard as u16);
                self.inboxes[to.0 as usize].push_back(Input::Shard { from, message });
            }
            Output::Commit { number, ops, .. } => self.commits.push((shard, number, ops)),
            Output::Read { ticket, log, query } => {
                let entries = read(&self.store, log, query);
                self.inboxes[shard].push_back(Input::Fetched { ticket, entries });
            }
            Output::Pause { conn } => self.wires[conn.slot as usize].is_paused = true,
            Output::Resume { conn } => self.wires[conn.slot as usize].is_paused = false,
            _ => unreachable!("no passwords and no shutdown here"),
        }
    }

    /// Commits everything that has gathered as one, as the storage thread does; `false` when there is nothing.
    pub(super) fn commit(&mut self) -> bool {
        if self.commits.is_empty() {
            return false;
        }
        let mut all = Vec::new();
        let mut newest = vec![None; self.engines.len()];
        for (shard, number, ops) in self.commits.drain(..) {
            all.extend(ops);
            newest[shard] = Some(number);
        }
        self.store.commit(all).expect("the store takes it");
        for (inbox, number) in self.inboxes.iter_mut().zip(newest) {
            if let Some(number) = number {
                inbox.push_back(Input::Durable { number });
            }
        }
        true
    }
}

fn read(store: &SledStore, log: LogId, query: ReadQuery) -> Vec<Entry> {
    let found = match query {
        ReadQuery::Excess { .. } => Ok(Vec::new()),
        ReadQuery::From { seq, entries, bytes } => store.read(log, seq, Limit { entries, bytes }),
        ReadQuery::Back { before, entries, bytes } => store.read_back(log, before, Limit { entries, bytes }),
        ReadQuery::Since { time_ms, entries, bytes } => store
            .seek_time(log, time_ms)
            .and_then(|seq| seq.map_or(Ok(Vec::new()), |seq| store.read(log, seq, Limit { entries, bytes }))),
    };
    found.expect("the store reads")
}
