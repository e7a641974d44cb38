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
//! 5. Wait for a socket, the inbox, storage, or `next_deadline`.
#![forbid(unsafe_code)]

pub mod access;
pub mod counters;
pub mod filter_map;
pub mod io;
pub mod ring;
pub mod settings;
pub mod topic_map;

pub use counters::Counters;
pub use io::{ConnId, Input, Now, Output, Peer, ReadQuery, ShardId, ShardMessage, Transmit};
pub use settings::Settings;

use std::{io::IoSlice, sync::Arc};

/// What the store held when the broker started, for one shard.
#[derive(Debug, Default)]
pub struct Restored {
    /// Records of every namespace: `(space, key, value)`.
    pub records: Vec<(katydid_store::Space, bytes::Bytes, bytes::Bytes)>,
    /// Logs.
    pub logs: Vec<(katydid_store::LogId, katydid_store::LogStats)>,
}

/// One shard of the broker.
#[derive(Debug)]
pub struct Engine {
    settings: Arc<Settings>,
}

impl Engine {
    /// A shard out of `shards`, with everything that the store held (each shard picks what is its own). `entropy`
    /// seeds hashing and identifiers.
    pub fn new(
        settings: Arc<Settings>,
        _shard: ShardId,
        _shards: usize,
        _entropy: u64,
        _now: Now,
        _restored: &Restored,
    ) -> Self {
        Self { settings }
    }

    /// Takes bytes from a connection and returns how many of them it used; the driver keeps the rest and offers it
    /// again with what follows. When it returns 0 for a full packet, the connection is being closed or paused.
    pub fn receive(&mut self, _now: Now, _conn: ConnId, bytes: &[u8]) -> usize {
        bytes.len()
    }

    /// Takes any other input.
    pub fn handle(&mut self, _now: Now, input: Input) {
        if let Input::Reload(settings) = input {
            self.settings = settings;
        }
    }

    /// Ends a tick: moves room entries and queued messages into the rings of connections that can take them.
    pub fn settle(&mut self, _now: Now) {}

    /// The next output of the tick.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// A connection whose ring has bytes to write, each once a tick.
    pub fn next_dirty(&mut self) -> Option<ConnId> {
        None
    }

    /// Hands the ring's content to `write`, which behaves as `write_vectored` of a non-blocking socket, until the
    /// ring is empty or the socket takes no more.
    pub fn transmit(
        &mut self,
        _conn: ConnId,
        _write: impl FnMut(&[IoSlice<'_>]) -> std::io::Result<usize>,
    ) -> Transmit {
        Transmit::Drained
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        Counters::default()
    }

    /// When `handle(Input::Tick)` is due, in milliseconds of [`Now::mono_ms`].
    pub fn next_deadline(&mut self) -> Option<u64> {
        None
    }
}

/// The shard that owns a session, by its client identifier, whatever account it belongs to.
///
/// A driver reads a connection's CONNECT, asks this, and hands the connection to that shard before it feeds anything.
pub fn home_shard(client_id: &str, shards: usize) -> ShardId {
    ShardId((katydid_mqtt_hash(client_id.as_bytes()) % shards as u64) as u16)
}

fn katydid_mqtt_hash(bytes: &[u8]) -> u64 {
    // FNV-1a: stable across restarts and machines, so that logs and records find their shard again.
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
