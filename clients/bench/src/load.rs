//! What the loads share: the run and its names, how connections come to be, what can fail before a load.
//!
//! Owns: the run's identity and deadline, templates, opening many connections. Never knows what a load
//! measures. Invariant: a load starts only when every connection it asked for is ready. Driven by the
//! loads: [`Run::network`], then [`open_all`], then their own loop around [`Network::poll`].

pub(crate) mod acked;
pub(crate) mod ask;
pub(crate) mod connect;
mod exchange;
pub(crate) mod fanout;
pub(crate) mod join;
pub(crate) mod offline;
pub(crate) mod publisher;
pub(crate) mod replay;
pub(crate) mod rooms;

use crate::connection::{Gone, Handler, Network};
use crate::meter::Latency;
use crate::options::Target;
use crate::process;
use crate::report::Report;
use crate::wire::{Login, Message, Subscription, Version};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The longest wait for sockets, so that deadlines are noticed.
const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// Seconds added to the keep alive beyond the run's end, so that no load has to ping.
const KEEP_ALIVE_BEYOND_SECS: u64 = 60;

/// What ends a run before its load has begun.
#[derive(Debug)]
pub(crate) enum SetUpError {
    /// The broker's name has no address.
    NoAddress(String),
    /// A process to be measured isn't there.
    NoProcess(i32),
    /// The limit of open files is below what the load needs.
    TooFewFiles {
        /// Files needed.
        needed: u64,
        /// The hard limit.
        allowed: u64,
    },
    /// Some connections didn't become ready.
    NotReady {
        /// Connections that did.
        ready: usize,
        /// Connections asked for.
        asked: usize,
        /// Why the first didn't.
        why: String,
    },
    /// The messages to be read could not be published.
    NotFilled {
        /// Messages acknowledged.
        acknowledged: u64,
        /// Messages asked for.
        asked: u32,
    },
    /// The system's poller or sockets failed.
    Io(io::Error),
}

impl fmt::Display for SetUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress(host) => write!(f, "{host} has no address"),
            Self::NoProcess(pid) => write!(f, "process {pid} isn't there or may not be looked at"),
            Self::TooFewFiles { needed, allowed } => {
                write!(f, "{needed} open files are needed and {allowed} allowed; see `ulimit -n`")
            }
            Self::NotReady { ready, asked, why } => {
                write!(f, "{ready} of {asked} connections became ready: {why}")
            }
            Self::NotFilled { acknowledged, asked } => {
                write!(f, "{acknowledged} of {asked} messages to be read were acknowledged")
            }
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SetUpError {}

impl From<io::Error> for SetUpError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Whom a connection stands for, in templates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who {
    /// The number among all connections.
    pub(crate) number: usize,
    /// The room's number.
    pub(crate) room: usize,
}

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Run {
    /// The options that all loads have.
    pub(crate) target: Target,
    /// Stamped on every message.
    pub(crate) id: u32,
    started: Instant,
}

impl Run {
    /// A run that starts now.
    pub(crate) fn new(target: &Target) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut seed = since_epoch.as_nanos() as u64 ^ u64::from(std::process::id()) << 40;
        Self { target: target.clone(), id: (next_random(&mut seed) >> 32) as u32, started: Instant::now() }
    }

    /// The version that the connections speak.
    pub(crate) fn version(&self) -> Version {
        self.target.mqtt.into()
    }

    /// Whether the time for everything is over.
    pub(crate) fn is_over(&self) -> bool {
        self.started.elapsed() >= self.target.timeout
    }

    /// A network for so many connections at a time.
    ///
    /// # Errors
    /// When the broker has no address, a process isn't there, or too few files may be open.
    pub(crate) fn network(&self, connections: usize) -> Result<Network, SetUpError> {
        process::check(&self.target.pid)?;
        process::allow_connections(connections)?;
        Ok(Network::new(self.address()?, self.version())?)
    }

    fn address(&self) -> Result<SocketAddr, SetUpError> {
        let host = self.target.host.as_str();
        let no_address = || SetUpError::NoAddress(host.to_owned());
        (host, self.target.port).to_socket_addrs().map_err(|_| no_address())?.next().ok_or_else(no_address)
    }

    /// A template's text for one connection. `{user}` works in topics and filters.
    pub(crate) fn expand(&self, template: &str, who: Who) -> String {
        self.expand_name(template, who).replace("{user}", &self.expand_name(&self.target.user, who))
    }

    fn expand_name(&self, template: &str, who: Who) -> String {
        template
            .replace("{run}", &format!("{:08x}", self.id))
            .replace("{i}", &who.number.to_string())
            .replace("{room}", &who.room.to_string())
    }

    /// What a connection says of itself.
    pub(crate) fn login(&self, who: Who, clean: bool) -> Login {
        let keep_alive_secs = self.target.timeout.as_secs() + KEEP_ALIVE_BEYOND_SECS;
        Login {
            client_id: self.expand_name(&self.target.client_id, who),
            user: self.expand_name(&self.target.user, who),
            password: self.expand_name(&self.target.password, who),
            clean,
            keep_alive_secs: keep_alive_secs.min(u64::from(u16::MAX)) as u16,
        }
    }

    /// A report that begins with what was run against what.
    pub(crate) fn report(&self, load: &str) -> Report {
        let mut report = Report::default();
        report.add("load", load);
        report.add("broker", format!("{}:{}", self.target.host, self.target.port));
        report.add("mqtt", if self.version() == Version::V5 { "5.0" } else { "3.1.1" });
        report.add("run", format!("{:08x}", self.id));
        report
    }
}

/// The topic and the filter of a chat room.
fn room_topics(room: &str) -> (String, String) {
    (format!("room/{room}/msg/{{user}}"), format!("room/{room}/msg/+"))
}

/// A handler of nothing.
struct Nobody;

impl Handler for Nobody {}

/// How the opening of many connections went.
struct Opened {
    asked: usize,
    ready: usize,
    /// What went wrong, by its text.
    failures: BTreeMap<String, u64>,
    /// From the socket's opening to CONNACK, or SUBACK with a subscription.
    latency: Latency,
    elapsed: Duration,
}

impl Opened {
    /// Itself, if every connection is ready.
    fn all(self) -> Result<Self, SetUpError> {
        if self.ready == self.asked && self.failures.is_empty() {
            return Ok(self);
        }
        let why = self.failures.into_keys().next().unwrap_or_else(|| "out of time".into());
        Err(SetUpError::NotReady { ready: self.ready, asked: self.asked, why })
    }
}

/// Counts what becomes of connections and passes everything on.
struct Opening<'a, H> {
    opened: Opened,
    first: usize,
    started_ns: Vec<u64>,
    ended: usize,
    inner: &'a mut H,
}

impl<H: Handler> Handler for Opening<'_, H> {
    fn handle_ready(&mut self, id: usize, now_ns: u64) {
        if let Some(&started_ns) = id.checked_sub(self.first).and_then(|nth| self.started_ns.get(nth)) {
            self.opened.ready += 1;
            self.ended += 1;
            self.opened.latency.record(now_ns - started_ns);
        }
        self.inner.handle_ready(id, now_ns);
    }

    fn handle_message(&mut self, id: usize, message: &Message, now_ns: u64) {
        self.inner.handle_message(id, message, now_ns);
    }

    fn handle_done(&mut self, id: usize, packet_id: u16, reason: u8, now_ns: u64) {
        self.inner.handle_done(id, packet_id, reason, now_ns);
    }

    fn handle_gone(&mut self, id: usize, why: &Gone, now_ns: u64) {
        self.ended += 1;
        *self.opened.failures.entry(why.to_string()).or_default() += 1;
        self.inner.handle_gone(id, why, now_ns);
    }
}

/// Opens connections, some at a time, until each is ready or has failed. Connection `n` of the network
/// asks what `ask(n - first)` says, `first` being the number of the first one.
fn open_all<H: Handler>(
    run: &Run,
    network: &mut Network,
    count: usize,
    ask: impl Fn(usize) -> (Login, Option<Subscription>),
    inner: &mut H,
) -> io::Result<Opened> {
    let begun = Instant::now();
    let first = network.opened();
    let opened = Opened {
        asked: count,
        ready: 0,
        failures: BTreeMap::new(),
        latency: Latency::new(),
        elapsed: Duration::ZERO,
    };
    let mut opening = Opening { opened, first, started_ns: Vec::with_capacity(count), ended: 0, inner };
    while opening.ended < count && !run.is_over() {
        while opening.started_ns.len() < count
            && opening.started_ns.len() < opening.ended + usize::from(run.target.concurrent)
        {
            let (login, subscription) = ask(opening.started_ns.len());
            opening.started_ns.push(network.now_ns());
            network.open(login, subscription)?;
        }
        network.poll(LONGEST_WAIT, &mut opening)?;
    }
    opening.opened.elapsed = begun.elapsed();
    Ok(opening.opened)
}

/// Leaves connections and waits until the broker has closed them, so that their sessions are as the
/// broker will have them. Returns whether it did within the stall time.
fn leave_all(run: &Run, network: &mut Network, connections: impl Iterator<Item = usize>) -> io::Result<bool> {
    struct Leaving(usize);
    impl Handler for Leaving {
        fn handle_gone(&mut self, _id: usize, _why: &Gone, _now_ns: u64) {
            self.0 += 1;
        }
    }
    let mut leaving = Leaving(0);
    let mut asked = 0;
    for id in connections {
        asked += 1;
        network.leave(id, &mut leaving);
    }
    let begun = Instant::now();
    while leaving.0 < asked && begun.elapsed() < run.target.stall && !run.is_over() {
        network.poll(LONGEST_WAIT, &mut leaving)?;
    }
    Ok(leaving.0 >= asked)
}

/// The next number of a `SplitMix64` sequence: fast, and good enough to choose who speaks.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

fn secs(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
