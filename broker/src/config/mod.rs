//! The configuration as proved: what the rest of the binary runs on. `katydid` reads it from a TOML file, the
//! environment and the command line (in that order, the later winning), with the same names in each.
//!
//! It is parsed twice: as written (`written`, which key was given which text and where), then as proved here by the
//! table of keys (`keys`). The invariant: a [`Config`] that exists can be run on, as far as that can be known without
//! opening a socket or the database. Driven by [`crate::options`] at the start, and by [`Config::reload`] on SIGHUP.

mod keys;
mod kind;
mod listeners;
mod manual;
mod problem;
#[cfg(test)]
mod tests;
mod written;

pub(crate) use listeners::Placement;
pub(crate) use manual::manual;
pub(crate) use problem::{Problems, WrongLine};

use crate::{logging::LogConfig, passwd};
use katydid_engine::{
    access::AccessList,
    settings::{Limits, RoomSettings, Settings},
};
use keys::{Change, GLOBAL, Key, LISTENER, Preset};
use problem::{Origin, Problem};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use written::{Given, Written};

/// Everything that the broker runs on.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The sockets to listen on, in the order of `settings.listeners`.
    pub(crate) listeners: Vec<Listener>,
    /// What the engine obeys; its limits of sessions and of what is retained are those of one shard.
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
    /// Cache of the database in bytes.
    pub(crate) cache_bytes: u64,
    /// Longest time that a commit nobody waits for may be delayed.
    pub(crate) lazy_commit: Duration,
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
        let kept = written.keep(&self.written);
        let config = prove(self.sources.clone(), written)?;
        Ok(Reloaded { config, kept })
    }
}

impl Sources {
    /// Reads and proves.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place.
    pub(crate) fn read(self) -> Result<Config, Problems> {
        let written = self.written()?;
        prove(Arc::new(self), written)
    }

    fn written(&self) -> Result<Written, Problems> {
        let mut problems = Problems::default();
        let mut written = Written::default();
        if let Some(path) = &self.file {
            let text = std::fs::read_to_string(path).map_err(|error| {
                let text = format!("the configuration file {} can't be read: {error}", path.display());
                Problem::new(&Origin::CommandLine, text)
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
        if let Err(more) = prove(Arc::new(self.clone()), written) {
            problems.0.extend(more.0);
        }
        Err(problems)
    }
}

impl Written {
    /// Goes back to what `running` has wherever a change needs a restart, and says where that was.
    fn keep(&mut self, running: &Written) -> Vec<String> {
        let mut kept = keep_keys(GLOBAL, "", &mut self.global, &running.global);
        let mut now = std::mem::take(&mut self.listeners);
        for old in &running.listeners {
            let mut keys = match now.iter().position(|new| new.name == old.name) {
                Some(at) => now.remove(at).keys,
                None => {
                    kept.push(format!("listener {} was removed", old.name));
                    old.keys.clone()
                }
            };
            kept.extend(keep_keys(LISTENER, &format!("listener.{}.", old.name), &mut keys, &old.keys));
            let listener = self.listener(&old.name, old.origin.clone());
            listener.keys = keys;
        }
        kept.extend(now.iter().map(|new| format!("listener {} was added", new.name)));
        kept
    }
}

/// As [`Written::keep`], for one table of keys.
fn keep_keys<T>(
    table: &[Key<T>],
    before: &str,
    new: &mut BTreeMap<&'static str, Given>,
    old: &BTreeMap<&'static str, Given>,
) -> Vec<String> {
    let mut kept = Vec::new();
    for key in table.iter().filter(|key| key.change == Change::Restart) {
        let text = |keys: &BTreeMap<&'static str, Given>| keys.get(key.name).map(|given| given.text.clone());
        if text(new) != text(old) {
            kept.push(format!("{before}{} was changed", key.name));
            match old.get(key.name) {
                Some(given) => drop(new.insert(key.name, given.clone())),
                None => drop(new.remove(key.name)),
            }
        }
    }
    kept
}

/// A configuration in the making; the table of keys fills it.
#[derive(Debug, Default)]
struct Draft {
    limits: Limits,
    rooms: RoomSettings,
    store: StoreConfig,
    persistence: bool,
    shards: usize,
    sys_interval: Duration,
    max_connections: usize,
    max_connections_per_address: usize,
    connect_rate: u32,
    verify_threads: usize,
    log: LogConfig,
    password_file: Option<PathBuf>,
    access_file: Option<PathBuf>,
}

/// Sets a key to what was given, or else to its default.
fn set<T>(key: &Key<T>, name: &str, given: Option<&Given>, target: &mut T, problems: &mut Problems) {
    if let Preset::Is(text) = key.preset {
        let fits = key.kind.set(target, text);
        debug_assert!(fits, "the default of {name} is allowed");
    }
    if let Some(given) = given
        && !key.kind.set(target, &given.text)
    {
        let allowed = key.kind.allowed();
        problems.add(&given.origin, format!("{name}: {:?} is not allowed; allowed is {allowed}", given.text));
    }
}

/// Makes the configuration of what is written.
fn prove(sources: Arc<Sources>, written: Written) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    let mut draft = Draft::default();
    for key in GLOBAL {
        set(key, key.name, written.global.get(key.name), &mut draft, &mut problems);
    }
    let (mut listeners, mut listener_settings) = (Vec::new(), Vec::new());
    for listener in &written.listeners {
        let (packet_bytes, connections) = (draft.limits.packet_bytes, draft.max_connections);
        if let Some((listener, settings)) =
            listeners::prove(listener, packet_bytes, connections, &mut problems)
        {
            listeners.push(listener);
            listener_settings.push(settings);
        }
    }
    if draft.shards == 0 {
        draft.shards = std::thread::available_parallelism().map_or(1, usize::from).min(256);
    }
    if !draft.persistence {
        draft.store.path = None;
    } else if draft.store.path.is_none() {
        let origin = written.global.get("store.path").map_or(&Origin::Default, |given| &given.origin);
        problems.add(origin, "store.path: empty; to keep nothing on disk, say store.persistence = false");
    }
    let accounts = read_file(&written, "passwords.file", &draft.password_file, passwd::parse, &mut problems);
    let access = read_file(&written, "access.file", &draft.access_file, read_access, &mut problems);
    let Draft { mut limits, shards, .. } = draft;
    for shared in [&mut limits.sessions, &mut limits.retained_messages, &mut limits.retained_bytes] {
        *shared = shared.div_ceil(shards);
    }
    let settings = Settings {
        limits,
        listeners: listener_settings,
        accounts: Arc::new(accounts.unwrap_or_default()),
        access: Arc::new(access.unwrap_or_else(AccessList::allow_all)),
        rooms: draft.rooms,
        persistence: draft.persistence,
    };
    problems.or(Config {
        listeners,
        settings: Arc::new(settings),
        shards,
        store: draft.store,
        sys_interval: draft.sys_interval,
        max_connections: draft.max_connections,
        max_connections_per_address: draft.max_connections_per_address,
        connect_rate: draft.connect_rate,
        verify_threads: draft.verify_threads,
        log: draft.log,
        sources,
        written: Arc::new(written),
    })
}

/// Reads a file that a key names. `parse` says the line, from 1, and what is wrong there.
fn read_file<T>(
    written: &Written,
    key: &'static str,
    path: &Option<PathBuf>,
    parse: fn(&str) -> Result<T, Vec<WrongLine>>,
    problems: &mut Problems,
) -> Option<T> {
    let path = path.as_ref()?;
    let place = written.global.get(key).map_or(&Origin::Default, |given| &given.origin);
    match std::fs::read_to_string(path) {
        Err(error) => problems.add(place, format!("{key}: {} can't be read: {error}", path.display())),
        Ok(text) => match parse(&text) {
            Ok(value) => return Some(value),
            Err(wrong) => {
                for (line, text) in wrong {
                    problems.add(&Origin::File { path: path.as_path().into(), line }, text);
                }
            }
        },
    }
    None
}

fn read_access(_text: &str) -> Result<AccessList, Vec<WrongLine>> {
    Err(vec![(1, "access lists can't be read yet".into())])
}
