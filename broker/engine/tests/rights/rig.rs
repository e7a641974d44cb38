//! Engines whose letters and commits arrive in any order that they may, decided by a seed.
//!
//! Owns what is between the engines, and the bytes of each connection. Must never know what a packet means to anybody.
//! Invariant: what one shard says to another arrives in order, and a commit is told when it is in the store.

use crate::random::Random;
use katydid_engine::{
    ConnId, Engine, Entropy, Input, Now, Output, Peer, ReadQuery, Restored, Settings, ShardId, ShardMessage,
    Verdict, home_shard,
};
use katydid_store::{Entry, Keep, Limit, MemoryStore, Op, Store};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

#[derive(Debug, Default)]
struct Line {
    shard: usize,
    offered: Vec<u8>,
    written: Vec<u8>,
    is_paused: bool,
    is_closed: bool,
}

/// The engines.
pub(crate) struct Rig {
    engines: Vec<Engine>,
    now: Now,
    letters: BTreeMap<(u16, u16), VecDeque<ShardMessage>>,
    commits: Vec<VecDeque<(u64, Vec<Op>)>>,
    store: MemoryStore,
    lines: BTreeMap<u32, Line>,
    passwords: Vec<(usize, ConnId)>,
    random: Random,
}

fn conn(slot: u32) -> ConnId {
    ConnId { slot, generation: 1 }
}

impl Rig {
    pub(crate) fn new(shards: usize, settings: Settings, seed: u64) -> Self {
        let now = Now { mono_ms: 1_000, unix_ms: 1_800_000_000_000 };
        let mut random = Random::new(seed ^ 0xABCD);
        let (settings, entropy) = (Arc::new(settings), Entropy::replayed(random.next()));
        Self {
            engines: katydid_engine::start(&settings, shards, entropy, now, &Restored::default())
                .expect("it starts"),
            now,
            letters: BTreeMap::new(),
            commits: (0..shards).map(|_| VecDeque::new()).collect(),
            store: MemoryStore::new(),
            lines: BTreeMap::new(),
            passwords: Vec::new(),
            random,
        }
    }

    /// Opens a connection for a client identifier.
    pub(crate) fn open(&mut self, client_id: &str) -> u32 {
        let shard = usize::from(home_shard(client_id, self.engines.len()).0);
        let slot = self.lines.len() as u32;
        self.lines.insert(slot, Line { shard, ..Line::default() });
        self.engines[shard].handle(self.now, Input::Open { conn: conn(slot), peer: Peer::default() });
        slot
    }

    /// The client is gone.
    pub(crate) fn cut(&mut self, slot: u32) {
        let Some(line) = self.lines.get_mut(&slot).filter(|line| !line.is_closed) else { return };
        line.is_closed = true;
        let shard = line.shard;
        self.engines[shard].handle(self.now, Input::Closed { conn: conn(slot) });
    }

    pub(crate) fn is_closed(&self, slot: u32) -> bool {
        self.lines.get(&slot).is_none_or(|line| line.is_closed)
    }

    /// Gives bytes of a client to its engine.
    pub(crate) fn send(&mut self, slot: u32, bytes: &[u8]) {
        let Some(line) = self.lines.get_mut(&slot) else { return };
        line.offered.extend_from_slice(bytes);
        if !line.is_paused && !line.is_closed {
            self.offer(slot);
        }
    }

    /// What was written to a client since this was asked last.
    pub(crate) fn take_written(&mut self, slot: u32) -> Vec<u8> {
        self.lines.get_mut(&slot).map(|line| std::mem::take(&mut line.written)).unwrap_or_default()
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.unix_ms += ms;
        for engine in &mut self.engines {
            engine.handle(self.now, Input::Tick);
        }
    }

    /// The wall clock jumps, and no time passes.
    #[allow(dead_code, reason = "for the tests of time, which share this rig")]
    pub(crate) fn jump(&mut self, ms: i64) {
        self.now.unix_ms = self.now.unix_ms.saturating_add_signed(ms);
    }

    /// Goes on, in an order that chance decides, until nothing waits.
    pub(crate) fn settle(&mut self) {
        loop {
            let shard = self.random.below(self.engines.len());
            self.tick(shard);
            let waiting: Vec<(u16, u16)> = self.letters.keys().copied().collect();
            let committing: Vec<usize> =
                (0..self.engines.len()).filter(|shard| !self.commits[*shard].is_empty()).collect();
            match (waiting.is_empty(), committing.is_empty()) {
                (false, _) if committing.is_empty() || self.random.chance(80) => {
                    let pair = self.random.pick(&waiting);
                    self.deliver(pair);
                }
                (_, false) => {
                    let shard = self.random.pick(&committing);
                    self.commit(shard);
                }
                _ => {
                    // What a tick's own inputs led to is committed in the next one.
                    (0..2 * self.engines.len()).for_each(|turn| self.tick(turn % self.engines.len()));
                    for (shard, conn) in std::mem::take(&mut self.passwords) {
                        let verdict = Verdict::Good;
                        self.engines[shard].handle(self.now, Input::Verified { conn, verdict, scram: None });
                        self.tick(shard);
                    }
                    let is_busy = self.engines.iter().any(|engine| engine.next_deadline() == Some(0));
                    let waits = self.commits.iter().any(|commits| !commits.is_empty());
                    if !is_busy && !waits && self.letters.is_empty() {
                        return;
                    }
                }
            }
        }
    }

    fn deliver(&mut self, (from, to): (u16, u16)) {
        let Some(queue) = self.letters.get_mut(&(from, to)) else { return };
        let message = queue.pop_front();
        if queue.is_empty() {
            self.letters.remove(&(from, to));
        }
        if let Some(message) = message {
            self.engines[usize::from(to)].handle(self.now, Input::Shard { from: ShardId(from), message });
        }
    }

    fn commit(&mut self, shard: usize) {
        let Some((number, ops)) = self.commits[shard].pop_front() else { return };
        self.store.commit(ops).expect("memory takes everything");
        self.engines[shard].handle(self.now, Input::Durable { number });
    }

    fn tick(&mut self, shard: usize) {
        self.engines[shard].settle(self.now);
        while let Some(output) = self.engines[shard].poll_output() {
            self.carry_out(shard, output);
        }
        while let Some(conn) = self.engines[shard].next_dirty() {
            self.flush(shard, conn);
        }
    }

    fn carry_out(&mut self, shard: usize, output: Output) {
        match output {
            Output::ToShard { shard: to, message } => {
                self.letters.entry((shard as u16, to.0)).or_default().push_back(message);
            }
            Output::Commit { number, ops, .. } => self.commits[shard].push_back((number, ops)),
            Output::Read { ticket, log, query } => {
                let entries = match query {
                    ReadQuery::From { seq, entries, bytes } => {
                        self.store.read(log, seq, Limit { entries, bytes })
                    }
                    ReadQuery::Back { before, entries, bytes } => {
                        self.store.read_back(log, before, Limit { entries, bytes })
                    }
                    ReadQuery::Since { time_ms, entries, bytes } => {
                        self.store.seek_time(log, time_ms).and_then(|seq| match seq {
                            Some(seq) => self.store.read(log, seq, Limit { entries, bytes }),
                            None => Ok(Vec::new()),
                        })
                    }
                    ReadQuery::Excess { most_bytes, since_ms } => {
                        let keep = Keep { bytes: most_bytes, since_ms, ..Keep::default() };
                        let bare = |seq| Entry { seq, time_ms: 0, bytes: Default::default() };
                        self.store.excess(log, keep).map(|first| first.map(bare).into_iter().collect())
                    }
                };
                let entries = entries.expect("memory reads");
                self.engines[shard].handle(self.now, Input::Fetched { ticket, entries });
            }
            Output::Pause { conn } => self.line(conn.slot).is_paused = true,
            Output::Resume { conn } => {
                self.line(conn.slot).is_paused = false;
                self.offer(conn.slot);
            }
            Output::Close { conn, .. } => {
                self.flush(shard, conn);
                self.line(conn.slot).is_closed = true;
                self.engines[shard].handle(self.now, Input::Closed { conn });
            }
            Output::Verify { conn, .. } => self.passwords.push((shard, conn)),
            Output::Hash { ticket, password, .. } => {
                let phc = String::from_utf8_lossy(&password).into_owned();
                self.engines[shard].handle(self.now, Input::Hashed { ticket, phc, scram: None });
            }
            Output::VerifyFor { ticket, hash, password } => {
                let good = hash.as_bytes() == password;
                self.engines[shard].handle(self.now, Input::VerifiedFor { ticket, good });
            }
            Output::Search { .. } | Output::VerifyToken { .. } | Output::Operated { .. } | Output::Down => {}
        }
    }

    fn line(&mut self, slot: u32) -> &mut Line {
        self.lines.entry(slot).or_default()
    }

    fn offer(&mut self, slot: u32) {
        let line = self.line(slot);
        let (shard, bytes) = (line.shard, std::mem::take(&mut line.offered));
        let used = self.engines[shard].receive(self.now, conn(slot), &bytes);
        let line = self.line(slot);
        line.offered.splice(0..0, bytes[used..].iter().copied());
    }

    fn flush(&mut self, shard: usize, conn: ConnId) {
        let line = self.lines.entry(conn.slot).or_default();
        self.engines[shard].transmit(conn, |slices| {
            slices.iter().for_each(|slice| line.written.extend_from_slice(slice));
            Ok(slices.iter().map(|slice| slice.len()).sum())
        });
    }
}
