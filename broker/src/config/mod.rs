//! The configuration as proved: what the rest of the binary runs on. `katydid` reads it from a TOML file, the
//! environment and the command line (in that order, the later winning), with the same names in each.

use katydid_engine::Settings;
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// Everything that the broker runs on.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The sockets to listen on, in the order of `settings.listeners`.
    pub(crate) listeners: Vec<Listener>,
    /// What the engine obeys.
    pub(crate) settings: Arc<Settings>,
    /// Threads that carry an engine each.
    pub(crate) shards: usize,
    /// Storage.
    pub(crate) store: StoreConfig,
    /// How often `$SYS` topics are published; zero never.
    pub(crate) sys_interval: Duration,
    /// Connections in all at most.
    pub(crate) max_connections: usize,
    /// Connections of one address at most; 0 is no limit.
    pub(crate) max_connections_per_address: usize,
    /// Connections accepted a second at most; 0 is no limit.
    pub(crate) connect_rate: u32,
    /// Threads that verify passwords.
    pub(crate) verify_threads: usize,
}

/// One listening socket.
#[derive(Debug, Clone)]
pub(crate) struct Listener {
    /// Its name in logs.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) bind: Bind,
    /// What is spoken below MQTT.
    pub(crate) transport: TransportKind,
    /// TLS, where it is on.
    pub(crate) tls: Option<Tls>,
    /// Whether a PROXY protocol v2 header comes first.
    pub(crate) proxy_protocol: bool,
    /// Connections of this listener at most.
    pub(crate) max_connections: usize,
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bind {
    /// TCP; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// What is spoken below MQTT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TransportKind {
    /// MQTT packets directly.
    Plain,
    /// WebSocket, at this path, with the `mqtt` subprotocol.
    WebSocket {
        /// The path of the upgrade request.
        path: String,
    },
}

/// Files of a TLS listener; read again on SIGHUP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    /// Certificate chain, PEM.
    pub(crate) certificate: PathBuf,
    /// Private key, PEM.
    pub(crate) key: PathBuf,
    /// Authorities that client certificates are checked against, PEM; absent asks for none.
    pub(crate) client_ca: Option<PathBuf>,
    /// Whether a client without certificate is refused.
    pub(crate) require_certificate: bool,
    /// Whether the common name of the client certificate is the user name.
    pub(crate) identity_as_username: bool,
}

/// Storage settings.
#[derive(Debug, Clone)]
pub(crate) struct StoreConfig {
    /// Folder of the database; absent keeps everything in memory only.
    pub(crate) path: Option<PathBuf>,
    /// Cache of the database in bytes.
    pub(crate) cache_bytes: u64,
    /// Longest time that a commit nobody waits for may be delayed.
    pub(crate) lazy_commit: Duration,
    /// Delay added to each sync; for tests of slow disks.
    pub(crate) sync_delay: Duration,
}
