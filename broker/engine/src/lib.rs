//! The whole broker as a synchronous state machine: sessions, subscriptions, queues, retained messages, wills, rooms.
//!
//! An [`Engine`] is one shard. It owns the connections, sessions, plain topics and rooms that hash to it, and shares
//! nothing with the other shards but the [`ShardMessage`]s that its driver carries. It has no socket, no clock, no
//! disk and no thread: the driver feeds it ([`Engine::receive`], [`Engine::handle`]), lets it settle at the end of a
//! tick ([`Engine::settle`]), then drains its outputs ([`Engine::poll_output`]), and writes the rings of its dirty
//! connections ([`Engine::next_dirty`], [`Engine::transmit`]).
//!
//! # Driving a tick
//! 1. `receive` for each connection with bytes; `handle` for each other input (inbox, storage, timers).
//! 2. `settle(now)`: room entries and queues move into the rings.
//! 3. `poll_output` until `None`; carry each output out.
//! 4. `next_dirty` until `None`; `transmit` each.
//! 5. Wait for a socket, the inbox, storage, or `next_deadline`, which may be due at once.
#![forbid(unsafe_code)]

pub mod access;
mod acks;
pub mod archive;
pub mod counters;
mod crossing;
mod deliver;
mod desk;
mod exchange;
pub mod filter_map;
mod handshake;
pub mod io;
mod journal;
mod link;
mod message;
#[cfg(not(feature = "mutants"))]
mod mutant;
#[cfg(feature = "mutants")]
pub mod mutant;
mod own;
pub mod persist;
mod place;
mod plain;
pub mod portable;
mod publish;
mod queue;
mod receive;
mod restore;
mod retained;
pub mod ring;
mod route;
mod session;
pub mod settings;
mod subscribe;
mod subscriptions;
mod tick;
mod timers;
pub mod topic_map;
mod will;

mod permission;

pub use counters::Counters;
pub use io::{
    ConnId, Input, Now, Output, Peer, ReadQuery, ShardId, ShardMessage, Transmit, Verdict, Vouching, Warning,
};
pub use settings::Settings;

use foldhash::fast::FixedState;
use slab::Slab;
use std::{
    collections::{HashMap, VecDeque},
    io::IoSlice,
    sync::Arc,
};

/// What the store held when the broker started, for all shards.
#[derive(Debug, Default)]
pub struct Restored {
    /// Records of every namespace: `(space, key, value)`.
    pub records: Vec<(katydid_store::Space, bytes::Bytes, bytes::Bytes)>,
    /// Logs.
    pub logs: Vec<(katydid_store::LogId, katydid_store::LogStats)>,
}

/// Chance from outside. Identifiers are shown to clients, who could reckon back from them to what they were drawn from: so
/// nothing secret is drawn from that.
#[derive(Clone, Copy)]
pub struct Entropy {
    /// What identifiers of sessions and the like are drawn from.
    pub identifiers: u64,
    /// What tokens, nonces and names that nobody guesses are drawn from: the system's entropy.
    pub secrets: [u8; 32],
}

impl Entropy {
    /// The same each time, for tests that replay a history.
    pub fn replayed(seed: u64) -> Self {
        let mut secrets = [0; 32];
        secrets[..8].copy_from_slice(&seed.to_be_bytes());
        Self { identifiers: seed, secrets }
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy")
    }
}

/// One shard of the broker.
#[derive(Debug)]
pub struct Engine {
    settings: Arc<Settings>,
    shard: ShardId,
    shards: usize,
    random: u64,
    now: Now,
    is_going_down: bool,

    links: link::Links,
    sessions: session::Sessions,
    /// Connections whose CONNECT waits for the disk.
    entering_keys: HashMap<session::Key, ConnId, FixedState>,
    /// Stored sessions that ended, and the commit that takes each off the disk, until it has.
    ended: HashMap<session::Key, u64, FixedState>,
    timers: timers::Timers,
    journal: journal::Journal,
    outputs: VecDeque<Output>,
    warnings: Vec<Warning>,
    /// Connections that are not read because too much waits for the disk.
    congested: Vec<ConnId>,
    /// Sessions whose positions moved since they were written.
    moved: Vec<u32>,

    plain: plain::Plain,
    targets: plain::Targets,
    templates: deliver::Templates,
    parts: Slab<route::Parts>,
    /// QoS 2 messages whose part here was stored before a restart, by their digest; they may come again.
    arrived: HashMap<crossing::Mark, u64, FixedState>,
    /// Wills that were being published before a restart, and are at home here.
    unpublished: Vec<will::Unpublished>,
    subscribing: Slab<subscribe::Pending>,
    watching: Slab<subscribe::Watching>,

    homes: HashMap<Arc<str>, Box<place::home::Home>, FixedState>,
    dirty_homes: Vec<Arc<str>>,
    leases: VecDeque<(Arc<str>, u64)>,
    fetches: Slab<place::home::Fetch>,
    views: Slab<place::view::View>,
    view_names: HashMap<Arc<str>, u32, FixedState>,
    dirty_views: Vec<u32>,
    entering: Slab<place::Entering>,
    entering_all: Slab<place::EnteringAll>,
    /// The directory, where this is its shard.
    desk: Option<Box<desk::Desk>>,
    /// The record for which it could not be made.
    damaged: Option<Vec<u8>>,
    /// What is asked of it, and has not been looked at.
    asks: desk::Asks,
    /// The second in which refusals were told last, and how many.
    notices: (u64, u32),
    /// Users whose messages are being erased here, the first of them now.
    sweeps: VecDeque<place::erasing::Sweep>,
    /// Pages that were asked for.
    reads: Slab<place::Reading>,
}

/// A driver makes all engines on one thread and moves each to its own.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Engine>();
};

impl Engine {
    /// A shard out of `shards` (at most 64), with everything that the store held: it picks what is its own. Where there are several, [`start`] makes them all.
    pub fn new(
        settings: Arc<Settings>,
        shard: ShardId,
        shards: usize,
        entropy: Entropy,
        now: Now,
        restored: &Restored,
    ) -> Self {
        assert!((1..=64).contains(&shards), "a set of shards is kept in 64 bits");
        let protected: &'static [&'static str] =
            if settings.rooms.enabled { &katydid_chat::topic::ROOTS } else { &[] };
        let mut engine = Self {
            journal: journal::Journal::new(settings.persistence),
            settings,
            shard,
            shards,
            random: entropy.identifiers ^ u64::from(shard.0).wrapping_mul(0x9E37_79B9_7F4A_7C15),
            now,
            is_going_down: false,
            links: link::Links::new(),
            sessions: session::Sessions::default(),
            entering_keys: HashMap::default(),
            ended: HashMap::default(),
            timers: timers::Timers::default(),
            outputs: VecDeque::new(),
            warnings: Vec::new(),
            congested: Vec::new(),
            moved: Vec::new(),
            plain: plain::Plain::new(protected),
            targets: plain::Targets::default(),
            templates: deliver::Templates::default(),
            parts: Slab::new(),
            arrived: HashMap::default(),
            unpublished: Vec::new(),
            subscribing: Slab::new(),
            watching: Slab::new(),
            homes: HashMap::default(),
            dirty_homes: Vec::new(),
            leases: VecDeque::new(),
            fetches: Slab::new(),
            views: Slab::new(),
            view_names: HashMap::default(),
            dirty_views: Vec::new(),
            entering: Slab::new(),
            entering_all: Slab::new(),
            desk: None,
            damaged: None,
            asks: desk::Asks::new(),
            notices: (0, 0),
            sweeps: VecDeque::new(),
            reads: Slab::new(),
        };
        if shard.0 == 0 && engine.settings.rooms.enabled {
            engine.open_desk(restored, entropy.secrets);
        }
        engine.restore(restored);
        engine.serve();
        engine.timers.set(now.mono_ms + tick::IDLE_ROOMS_MS, timers::Timer::IdleRooms);
        engine
    }

    /// Takes bytes from a connection and returns how many of them it used; the driver keeps the rest and offers it
    /// again with what follows, or after [`Output::Resume`].
    pub fn receive(&mut self, now: Now, conn: ConnId, bytes: &[u8]) -> usize {
        self.now = now;
        let used = self.take_packets(conn, bytes);
        self.links.counters.bytes_received += used as u64;
        self.serve();
        used
    }

    /// Takes any other input.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        self.take_input(input);
        self.serve();
    }

    /// Ends a tick: moves room entries and queued messages into the rings of connections that can take them.
    pub fn settle(&mut self, now: Now) {
        self.now = now;
        self.end_tick();
    }

    /// The next output of the tick.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front().or_else(|| self.links.outputs.pop_front())
    }

    /// A connection that misbehaved, to be logged: at most one a connection.
    pub fn poll_warning(&mut self) -> Option<Warning> {
        self.warnings.pop()
    }

    /// A connection whose ring has bytes to write, each once a tick.
    pub fn next_dirty(&mut self) -> Option<ConnId> {
        self.links.next_dirty()
    }

    /// Hands the ring's content to `write`, which behaves as `write_vectored` of a non-blocking socket, until the
    /// ring is empty or the socket takes no more.
    pub fn transmit(
        &mut self,
        conn: ConnId,
        write: impl FnMut(&[IoSlice<'_>]) -> std::io::Result<usize>,
    ) -> Transmit {
        self.write_ring(conn, write)
    }

    /// What was counted so far, and what waits now: this looks at every session, so it is not for each tick.
    pub fn counters(&self) -> Counters {
        let mut counters = self.links.counters;
        for queue in self.sessions.queues() {
            counters.queued_now += queue.len() as u64;
            counters.queued_bytes_now += queue.bytes() as u64;
        }
        counters
    }

    /// When [`Input::Tick`] is due, in milliseconds of [`Now::mono_ms`]; 0 when there is more to do at once.
    pub fn next_deadline(&self) -> Option<u64> {
        if self.sessions.has_ready() || !self.dirty_homes.is_empty() || !self.dirty_views.is_empty() {
            return Some(0);
        }
        [self.timers.next(), self.desk_deadline()].into_iter().flatten().min()
    }

    /// The next number of a generator that a simulation can replay (splitmix64).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// Starts a broker of `shards` shards (at most 64) from what the store held: one engine for each, in order.
///
/// The engines have told each other which filters and rooms their sessions are in, so that whoever publishes first finds
/// everybody who waits for it; a driver that hands out connections before that would lose messages.
///
/// # Errors
/// A record of the directory that does not parse: its key. Nothing starts on half of what there was.
pub fn start(
    settings: &Arc<Settings>,
    shards: usize,
    entropy: Entropy,
    now: Now,
    restored: &Restored,
) -> Result<Vec<Engine>, Vec<u8>> {
    let engine =
        |shard: usize| Engine::new(settings.clone(), ShardId(shard as u16), shards, entropy, now, restored);
    let mut engines: Vec<Engine> = (0..shards).map(engine).collect();
    if let Some(key) = engines.iter_mut().find_map(|engine| engine.damaged.take()) {
        return Err(key);
    }
    exchange(&mut engines, now);
    // What became due while the broker was down is over before anybody connects.
    for engine in &mut engines {
        engine.handle(now, Input::Tick);
    }
    exchange(&mut engines, now);
    Ok(engines)
}

/// Carries messages between engines until they have nothing more to say.
fn exchange(engines: &mut [Engine], now: Now) {
    loop {
        let mut said = Vec::new();
        for engine in engines.iter_mut() {
            let from = engine.shard;
            for output in std::mem::take(&mut engine.outputs) {
                match output {
                    Output::ToShard { shard, message } => said.push((from, shard, message)),
                    other => engine.outputs.push_back(other),
                }
            }
        }
        if said.is_empty() {
            return;
        }
        for (from, to, message) in said {
            engines[usize::from(to.0)].handle(now, Input::Shard { from, message });
        }
    }
}

/// The shard that owns a session, by its client identifier, whatever account it belongs to.
///
/// A driver reads a connection's CONNECT, asks this, and hands the connection to that shard before it feeds anything.
pub fn home_shard(client_id: &str, shards: usize) -> ShardId {
    crossing::home(client_id, shards)
}
