//! The configuration as proved: what the rest of the binary runs on. `katydid` reads it from a TOML file, the
//! environment and the command line (in that order, the later winning), with the same names in each.
//!
//! It is parsed twice: as written (`written`, which key was given which text and where), then as proved here by the
//! table of keys (`keys`). The invariant: a [`Config`] that exists can be run on, as far as that can be known without
//! opening a socket or the database. Driven by [`crate::options`] at the start, and by [`Config::reload`] on SIGHUP.

mod bridge;
mod keys;
mod kind;
mod listeners;
mod manual;
mod openid;
mod problem;
mod proof;
mod reload;
#[cfg(test)]
mod tests;
mod written;

pub(crate) use bridge::BridgeConfig;
pub(crate) use listeners::Placement;
pub(crate) use manual::manual;
pub(crate) use openid::{KeySource, Provider};
pub(crate) use problem::{Problems, WrongLine};
pub(crate) use written::PREFIX;

use crate::logging::LogConfig;
use katydid_engine::settings::Settings;
use problem::{Origin, Problem};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use written::Written;

/// Everything that the broker runs on.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The sockets to listen on, in the order of `settings.listeners`; where there is a bridge, its way in is the last of those.
    pub(crate) listeners: Vec<Listener>,
    /// The bridge, where it is on.
    pub(crate) bridge: Option<BridgeConfig>,
    /// What the engine obeys; its limits of sessions and of what is retained are those of one shard.
    pub(crate) settings: Arc<Settings>,
    /// Engines, and threads that carry them.
    pub(crate) shards: usize,
    /// Whether one thread carries several engines while there is little to do.
    pub(crate) share_threads: bool,
    /// A thread that works for so many percent of the time gives engines away.
    pub(crate) full_percent: u64,
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
    /// The provider whose access tokens let people in.
    pub(crate) provider: Option<Arc<Provider>>,
    /// Logging.
    pub(crate) log: LogConfig,
    /// Where it was read from.
    sources: Arc<Sources>,
    /// What was read.
    written: Arc<Written>,
}

/// One listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listener {
    /// Its name in logs.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) bind: Bind,
    /// Whether the broker starts without it where the machine has no such address: `::1` on a machine without IPv6.
    pub(crate) optional: bool,
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StoreConfig {
    /// Folder of the database; absent keeps everything in memory only.
    pub(crate) path: Option<PathBuf>,
    /// File with the key of the database; absent where it is in the environment, or where nothing is encrypted.
    pub(crate) key_file: Option<PathBuf>,
    /// Cache of the database in bytes.
    pub(crate) cache_bytes: u64,
    /// Longest time that a commit nobody waits for may be delayed.
    pub(crate) lazy_commit: Duration,
    /// Longest time that what is said waits to come into the index of words.
    pub(crate) index_delay: Duration,
    /// Delay added to each sync; for tests of slow disks.
    pub(crate) sync_delay: Duration,
}

/// Where a configuration is read from, the later winning. Reading it again is what a reload does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// The TOML file.
    pub(crate) file: Option<PathBuf>,
    /// Variables; only those that begin with `KATYDID_` are looked at.
    pub(crate) environment: Vec<(String, String)>,
    /// Names of keys and what the command line gives them.
    pub(crate) arguments: Vec<(String, String)>,
    /// Where the command line puts listeners.
    pub(crate) placement: Placement,
}

/// What a reload came to.
#[derive(Debug)]
pub(crate) struct Reloaded {
    /// The new configuration. It has the listeners of the old one in the same order; everything that needs a restart
    /// is as before.
    pub(crate) config: Config,
    /// What has changed but needs a restart, in words for a log.
    pub(crate) kept: Vec<String>,
}

impl Default for Config {
    /// What `katydid` runs on without file, variables and arguments.
    fn default() -> Self {
        Sources::default()
            .read()
            .expect("the defaults in the table are allowed, as a test of this module shows")
    }
}

impl Config {
    /// Reads the same sources again: limits, passwords, the access list, and what concerns the certificates and
    /// clients of each listener.
    ///
    /// # Errors
    /// Everything that is wrong with what is written now; the broker goes on with what it has.
    pub(crate) fn reload(&self) -> Result<Reloaded, Problems> {
        let mut written = self.sources.written()?;
        let kept = reload::keep(&mut written, &self.written);
        let config = proof::prove(self.sources.clone(), written)?;
        Ok(Reloaded { config, kept })
    }

    /// What is allowed but can hardly be meant, in words for a log.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        for (listener, settings) in self.listeners.iter().zip(&self.settings.listeners) {
            let certificates = listener.tls.as_ref().is_some_and(|tls| tls.identity_as_username);
            if !settings.allow_anonymous
                && !certificates
                && self.provider.is_none()
                && self.settings.accounts.is_empty()
            {
                doubts.push(format!(
                    "nobody can connect to the listener {}: it wants passwords and no user has one; say \
                     passwords.file, or listener.{}.allow-anonymous = true",
                    listener.name, listener.name
                ));
            }
        }
        if self.bridge.as_ref().is_some_and(BridgeConfig::keeps_mchat_out) {
            doubts.push(
                "nobody can join a room over mChat, which has no passwords; say bridge.allow-anonymous = true, or \
                 bridge.mchat.listener.on = false"
                    .into(),
            );
        }
        doubts
    }
}

impl Sources {
    /// Reads and proves.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place.
    pub(crate) fn read(self) -> Result<Config, Problems> {
        let written = self.written()?;
        proof::prove(Arc::new(self), written)
    }

    fn written(&self) -> Result<Written, Problems> {
        let mut problems = Problems::default();
        let mut written = Written::default();
        if let Some(path) = &self.file {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Problem::new(&Origin::WholeFile(path.as_path().into()), format!("can't be read: {error}"))
            })?;
            written.read_file(path, &text, &mut problems);
        }
        written.read_environment(&self.environment, &mut problems);
        for (name, text) in &self.arguments {
            written.give(name, text.clone(), Origin::CommandLine, &mut problems);
        }
        listeners::place(&mut written, self.placement, &mut problems);
        // Values are looked at even if a name is wrong, so that all problems are told at once.
        if problems.0.is_empty() {
            return Ok(written);
        }
        if let Err(more) = proof::prove(Arc::new(self.clone()), written) {
            problems.0.extend(more.0);
        }
        Err(problems)
    }
}
