//! The world around the engines: four shards, the messages between them, the connections, the disk, and the clock.
//!
//! It is the driver that the engine's documentation describes, with everything that threads and networks do to it in
//! an order that chance decides.

use crate::client::{Client, Phase};
use crate::disk::Disk;
use crate::model::{Fate, Model};
use crate::plan::Plan;
use crate::random::Random;
use crate::received::Heard;
use katydid_engine::{
    ConnId, Engine, Entropy, Input, Now, Output, Peer, Settings, ShardId, ShardMessage, Transmit, home_shard,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Shards of the simulated broker.
pub(crate) const SHARDS: usize = 4;

/// One engine and what waits for it.
pub(crate) struct Shard {
    pub(crate) engine: Engine,
    /// Messages of each other shard, in order.
    pub(crate) inboxes: Vec<VecDeque<ShardMessage>>,
    /// Inputs were taken and `settle` was not called.
    pub(crate) is_unsettled: bool,
    free_slots: Vec<u32>,
    generation: u32,
}

/// A connection: a pipe each way.
pub(crate) struct Pipe {
    pub(crate) shard: usize,
    pub(crate) conn: ConnId,
    pub(crate) client: usize,
    /// Sent by the client, not yet at the broker.
    pub(crate) up: VecDeque<u8>,
    /// At the broker, not yet used by it.
    offered: Vec<u8>,
    /// Written by the broker, not yet read by the client.
    pub(crate) down: VecDeque<u8>,
    down_max: usize,
    pub(crate) is_paused: bool,
    is_blocked: bool,
    /// The broker closes it when its ring is written.
    is_closing: bool,
    /// The client is gone without a word.
    pub(crate) is_cut: bool,
}

/// Everything.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) now: Now,
    pub(crate) settings: Arc<Settings>,
    pub(crate) shards: Vec<Shard>,
    pub(crate) disk: Disk,
    pub(crate) clients: Vec<Client>,
    pub(crate) pipes: BTreeMap<usize, Pipe>,
    pub(crate) model: Model,
    pub(crate) plan: Plan,
    next_pipe: usize,
    /// The last step in which nothing waited for anything but clients.
    pub(crate) settled_step: u64,
}

impl World {
    pub(crate) fn new(seed: u64, has_trace: bool) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random);
        let now = Now { mono_ms: 1_000, unix_ms: 1_800_000_000_000 };
        let settings = Arc::new(plan.settings());
        let mut model = Model::default();
        model.may_overflow = plan.is_tiny;
        model.trace = has_trace.then(Vec::new);
        let clients = plan.clients(&mut random);
        let mut world = Self {
            random,
            now,
            settings,
            shards: Vec::new(),
            disk: Disk::new(),
            clients,
            pipes: BTreeMap::new(),
            model,
            plan,
            next_pipe: 0,
            settled_step: 0,
        };
        world.start();
        world
    }

    /// Starts the broker from what is on disk.
    fn start(&mut self) {
        let restored = self.disk.restored();
        let entropy = self.random.next();
        let engines =
            katydid_engine::start(&self.settings, SHARDS, Entropy::replayed(entropy), self.now, &restored);
        let engines = engines.expect("it starts");
        let shard = |engine| Shard {
            engine,
            inboxes: (0..SHARDS).map(|_| VecDeque::new()).collect(),
            is_unsettled: true,
            free_slots: (0..64).rev().collect(),
            generation: 0,
        };
        self.shards = engines.into_iter().map(shard).collect();
    }

    /// Lets the shards talk until they have nothing more to say.
    fn exchange(&mut self) {
        while (0..SHARDS).any(|shard| self.shards[shard].is_unsettled) {
            for shard in 0..SHARDS {
                self.settle(shard);
            }
            for shard in 0..SHARDS {
                for from in 0..SHARDS {
                    while self.pass(shard, from) {}
                }
            }
        }
    }

    /// The broker is told to end, does it in order, and starts again.
    pub(crate) fn restart(&mut self) {
        self.model.note(|| "the broker shuts down".into());
        for shard in 0..SHARDS {
            self.shards[shard].engine.handle(self.now, Input::Shutdown);
            self.shards[shard].is_unsettled = true;
        }
        // A goodbye that has not come through is none.
        for client in self.clients.iter().filter(|client| matches!(client.phase, Phase::Leaving(_))) {
            let said = &self.model.said;
            for will in &mut self.model.wills {
                if said[will.message as usize].by == client.number && will.fate == Fate::MustNot {
                    will.fate = Fate::Either;
                }
            }
        }
        self.exchange();
        for shard in 0..SHARDS {
            while self.disk.take(shard) {}
        }
        while self.sync() {}
        self.crash();
    }

    /// The power fails. Some commits may have reached the disk although nobody was told.
    pub(crate) fn crash(&mut self) {
        self.model.note(|| "the broker crashes".into());
        for _ in 0..self.random.below(self.disk.queue.len() + 1) {
            self.sync();
        }
        self.disk.crash();
        self.model.life += 1;
        self.pipes.clear();
        for client in &mut self.clients {
            client.crashed(&mut self.model, self.settled_step);
        }
        for will in &mut self.model.wills {
            if matches!(will.fate, Fate::Must | Fate::Delayed(_) | Fate::Armed) {
                will.fate = Fate::Either;
            }
        }
        self.start();
    }

    /// Writes the oldest commit to the disk.
    pub(crate) fn sync(&mut self) -> bool {
        match self.disk.sync_one() {
            Some(Ok(ops)) => self.model.synced(&ops),
            Some(Err(error)) => self.model.violated(format!("the store refuses a commit: {error}")),
            None => return false,
        }
        true
    }

    /// Tells a shard of the oldest commit that is durable.
    pub(crate) fn tell_durable(&mut self) -> bool {
        let Some((shard, number)) = self.disk.notices.pop_front() else { return false };
        self.shards[shard].engine.handle(self.now, Input::Durable { number });
        self.touched(shard);
        true
    }

    /// Answers a read.
    pub(crate) fn answer_read(&mut self) -> bool {
        if self.disk.reads.is_empty() {
            return false;
        }
        let at = self.random.below(self.disk.reads.len());
        let (shard, ticket, log, query) = self.disk.reads.remove(at);
        let entries = self.disk.read(log, query);
        self.shards[shard].engine.handle(self.now, Input::Fetched { ticket, entries });
        self.touched(shard);
        true
    }

    /// Hands a shard the oldest message of another.
    pub(crate) fn pass(&mut self, to: usize, from: usize) -> bool {
        let Some(message) = self.shards[to].inboxes[from].pop_front() else { return false };
        // What a shard commits is with the writer before others read its letters.
        while self.disk.take(from) {}
        let from = ShardId(from as u16);
        self.shards[to].engine.handle(self.now, Input::Shard { from, message });
        self.touched(to);
        true
    }

    /// A shard took an input: its tick may end now, or take in more first.
    pub(crate) fn touched(&mut self, shard: usize) {
        self.shards[shard].is_unsettled = true;
        if self.random.chance(60) {
            self.settle(shard);
        }
    }

    /// Fires the timers of a shard where some are due.
    pub(crate) fn fire_due(&mut self, shard: usize) -> bool {
        let is_due = self.shards[shard].engine.next_deadline().is_some_and(|at| at <= self.now.mono_ms);
        if is_due {
            self.shards[shard].engine.handle(self.now, Input::Tick);
            self.settle(shard);
        }
        is_due
    }

    /// Ends a shard's tick and carries out what came of it.
    pub(crate) fn settle(&mut self, shard: usize) {
        self.shards[shard].is_unsettled = false;
        self.shards[shard].engine.settle(self.now);
        while let Some(output) = self.shards[shard].engine.poll_output() {
            self.carry_out(shard, output);
        }
        while let Some(conn) = self.shards[shard].engine.next_dirty() {
            if let Some(pipe) = self.pipe_of(shard, conn) {
                self.flush(pipe);
            }
        }
    }

    fn carry_out(&mut self, shard: usize, output: Output) {
        match output {
            Output::ToShard { shard: to, message } => {
                self.shards[usize::from(to.0)].inboxes[shard].push_back(message);
            }
            Output::Commit { number, ops, .. } => {
                self.disk.handed[shard].push_back((shard, number, ops));
                // Mostly the writer is quick; a thread that sleeps in between lets other shards go first.
                if !self.plan.is_racy || self.random.chance(70) {
                    while self.disk.take(shard) {}
                }
            }
            Output::Read { ticket, log, query } => self.disk.reads.push((shard, ticket, log, query)),
            Output::Close { conn, .. } => {
                if let Some(pipe) = self.pipe_of(shard, conn) {
                    self.pipe_mut(pipe).is_closing = true;
                    self.flush(pipe);
                }
            }
            Output::Pause { conn } => {
                if let Some(pipe) = self.pipe_of(shard, conn) {
                    self.pipe_mut(pipe).is_paused = true;
                }
            }
            Output::Resume { conn } => {
                if let Some(pipe) = self.pipe_of(shard, conn) {
                    self.pipe_mut(pipe).is_paused = false;
                    self.offer(pipe);
                }
            }
            _ => {}
        }
    }

    fn pipe_of(&self, shard: usize, conn: ConnId) -> Option<usize> {
        let found = self.pipes.iter().find(|(_, pipe)| pipe.shard == shard && pipe.conn == conn);
        found.map(|(pipe, _)| *pipe)
    }

    fn pipe_mut(&mut self, pipe: usize) -> &mut Pipe {
        self.pipes.get_mut(&pipe).expect("the caller has found it")
    }

    /// Opens a connection for a client and sends its CONNECT.
    pub(crate) fn connect(&mut self, client: usize) {
        let shard = usize::from(home_shard(&self.clients[client].id, SHARDS).0);
        let here = &mut self.shards[shard];
        let Some(slot) = here.free_slots.pop() else { return };
        here.generation += 1;
        let conn = ConnId { slot, generation: here.generation };
        here.engine.handle(self.now, Input::Open { conn, peer: Peer::default() });
        here.is_unsettled = true;
        let pipe = self.next_pipe;
        self.next_pipe += 1;
        let down_max = self.random.pick(&[64, 500, 4_000, 100_000]);
        self.pipes.insert(
            pipe,
            Pipe {
                shard,
                conn,
                client,
                up: VecDeque::new(),
                offered: Vec::new(),
                down: VecDeque::new(),
                down_max,
                is_paused: false,
                is_blocked: false,
                is_closing: false,
                is_cut: false,
            },
        );
        self.clients[client].connect(pipe, &mut self.random, &mut self.model);
        self.send(client);
    }

    /// The pipe that a client uses now.
    pub(crate) fn pipe_used(&self, client: usize) -> Option<usize> {
        match self.clients[client].phase {
            Phase::Offline => None,
            Phase::Connecting(pipe) | Phase::Online(pipe) | Phase::Leaving(pipe) => Some(pipe),
        }
    }

    /// Moves what a client wants to send into its pipe.
    pub(crate) fn send(&mut self, client: usize) {
        let Some(pipe) = self.pipe_used(client) else { return };
        let outbox = std::mem::take(&mut self.clients[client].outbox);
        if let Some(pipe) = self.pipes.get_mut(&pipe) {
            pipe.up.extend(outbox);
        }
    }

    /// Brings some bytes of a client to the broker.
    pub(crate) fn bring_up(&mut self, pipe: usize, most: usize) -> bool {
        let Some(it) = self.pipes.get_mut(&pipe) else { return false };
        if it.is_cut || it.up.is_empty() || (it.is_paused && it.offered.len() > 1_000) {
            return false;
        }
        let count = most.min(it.up.len());
        it.offered.extend(it.up.drain(..count));
        let shard = it.shard;
        self.offer(pipe);
        self.touched(shard);
        true
    }

    /// Offers the broker what it has not used.
    fn offer(&mut self, pipe: usize) {
        let Some(it) = self.pipes.get_mut(&pipe) else { return };
        if it.is_paused || it.offered.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut it.offered);
        let (shard, conn) = (it.shard, it.conn);
        let used = self.shards[shard].engine.receive(self.now, conn, &bytes);
        self.shards[shard].is_unsettled = true;
        self.pipe_mut(pipe).offered = bytes[used..].to_vec();
    }

    /// Lets the broker write into a pipe as much as fits.
    fn flush(&mut self, pipe: usize) {
        let Some(it) = self.pipes.get_mut(&pipe) else { return };
        let (shard, conn, is_cut, down_max) = (it.shard, it.conn, it.is_cut, it.down_max);
        let (down, random) = (&mut it.down, &mut self.random);
        let outcome = self.shards[shard].engine.transmit(conn, |slices| {
            if is_cut {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            let room = down_max.saturating_sub(down.len());
            if room == 0 {
                return Err(std::io::ErrorKind::WouldBlock.into());
            }
            let wanted = if random.chance(30) { 1 + random.below(40) } else { usize::MAX };
            let mut left = room.min(wanted);
            let mut written = 0;
            for slice in slices {
                let count = left.min(slice.len());
                down.extend(&slice[..count]);
                (written, left) = (written + count, left - count);
            }
            Ok(written)
        });
        let it = self.pipe_mut(pipe);
        it.is_blocked = outcome == Transmit::Blocked;
        let is_over = outcome == Transmit::Failed || (outcome == Transmit::Drained && it.is_closing);
        if is_over {
            self.close(pipe);
        }
    }

    /// The broker learns that a connection is gone; the client reads what it still can.
    pub(crate) fn close(&mut self, pipe: usize) {
        let Some(it) = self.pipes.get_mut(&pipe) else { return };
        let (shard, conn, client) = (it.shard, it.conn, it.client);
        let down: Vec<u8> = it.down.drain(..).collect();
        let is_cut = it.is_cut;
        let here = &mut self.shards[shard];
        here.engine.handle(self.now, Input::Closed { conn });
        here.is_unsettled = true;
        here.free_slots.push(conn.slot);
        self.pipes.remove(&pipe);
        if !is_cut && self.pipe_used(client) == Some(pipe) {
            self.hear(client, &down);
            self.clients[client].lost(&mut self.model);
        }
        // The delay of a will begins when the broker notices.
        let (now_ms, said) = (self.now.mono_ms, &self.model.said);
        let delayed = self.model.wills.iter_mut().filter(|will| said[will.message as usize].by == client);
        for will in delayed.filter(|will| will.fate == Fate::Delayed(None)) {
            will.fate = Fate::Delayed(Some(now_ms));
        }
    }

    /// A client goes away without a word; the broker notices now or later.
    pub(crate) fn cut(&mut self, client: usize) {
        let Some(pipe) = self.pipe_used(client) else { return };
        self.model.note(|| format!("client {client} is cut off"));
        if let Some(it) = self.pipes.get_mut(&pipe) {
            it.is_cut = true;
            it.down.clear();
            it.up.clear();
        }
        self.clients[client].lost(&mut self.model);
        if self.random.chance(50) {
            self.close(pipe);
        }
    }

    /// A client reads some of what the broker wrote.
    pub(crate) fn bring_down(&mut self, pipe: usize, most: usize) -> bool {
        let Some(it) = self.pipes.get_mut(&pipe) else { return false };
        if it.is_cut {
            return false;
        }
        let client = it.client;
        let count = most.min(it.down.len());
        let bytes: Vec<u8> = it.down.drain(..count).collect();
        let was_blocked = it.is_blocked;
        if count > 0 && self.pipe_used(client) == Some(pipe) {
            self.hear(client, &bytes);
        }
        if was_blocked && self.pipes.contains_key(&pipe) {
            let shard = self.pipe_mut(pipe).shard;
            self.flush(pipe);
            self.touched(shard);
        }
        count > 0
    }

    /// A client understands what it read.
    fn hear(&mut self, client: usize, bytes: &[u8]) {
        if matches!(self.clients[client].phase, Phase::Leaving(_) | Phase::Offline) {
            return;
        }
        for Heard::Acknowledged(message) in self.clients[client].receive(bytes, &mut self.model) {
            let expected = self.model.said[message as usize].expected.clone();
            let kept = expected
                .iter()
                .filter(|it| it.is_kept && self.still_wants(it) && self.clients[it.client].is_kept());
            let kept = kept.count();
            let kept = if self.plan.is_tiny { 0 } else { kept };
            self.model.acknowledged(message, kept);
        }
        self.send(client);
    }

    /// Whether nothing waits for anything but for clients.
    pub(crate) fn is_settled(&self) -> bool {
        let shards_are = self
            .shards
            .iter()
            .all(|shard| !shard.is_unsettled && shard.inboxes.iter().all(VecDeque::is_empty));
        let disk = &self.disk;
        let is_taken = disk.handed.iter().all(VecDeque::is_empty);
        shards_are && is_taken && disk.queue.is_empty() && disk.notices.is_empty() && disk.reads.is_empty()
    }

    /// Time passes.
    pub(crate) fn pass_time(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.unix_ms += ms;
        self.model.now_ms = self.now.mono_ms;
        if ms > 100 {
            for shard in 0..SHARDS {
                self.fire_due(shard);
            }
        }
    }
}
