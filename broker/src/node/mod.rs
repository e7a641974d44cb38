//! The driver of the engines: sockets, shards, the store's threads, signals.
//!
//! Each shard is a thread that owns its connections and its engine (`shard`); threads meet only in the letter boxes
//! (`inbox`). This file starts them all, watches over them, and ends them in order. It must never know what a packet
//! says. Invariant: no thread of the broker ends before the others are told; one that panics takes the process along.

mod accept;
mod bridge;
mod connection;
mod control;
mod greeting;
mod host;
mod inbox;
mod listeners;
mod openid;
pub(crate) mod search;
mod shard;
mod signals;
mod storage;
mod sys;
mod transport;
mod verify;

pub(crate) use control::{EXPORT, SOCKET as CONTROL_SOCKET};

use accept::{Acceptor, Admission};
use argon2::password_hash::rand_core::{OsRng, RngCore};
use bridge::{Bridge, Entrance};
use control::Answers;
use host::{Host, Order};
use inbox::{Inbox, Letter};
use katydid_engine::{Counters, Entropy, Settings};
use listeners::{ListenerState, Opened};
use mio::{Poll, Waker};
use openid::OpenId;
use search::{Changes, Indexing, Searching};
use shard::{Clock, Parts, Shard};
use signals::Signal;
use std::{
    error::Error,
    fs,
    io::{self, Write},
    panic,
    path::PathBuf,
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use storage::{OpenStore, Storage, StorageLink};
use sys::{DriverCounters, Statistics};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};
use tracing::{error, info, warn};

use crate::config::{Bind, Config, Listener, Reloaded};

/// How long the engines have to hand out what a shutdown asks for.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// How long the shards have to take new settings before it is said that they have.
const RELOAD: Duration = Duration::from_secs(5);
/// How often every inbox is emptied before the shards stop: a shard answers before it hands out what it took, a message
/// takes two steps at most, and an answer may be left over from before.
const SHUTDOWN_ROUNDS: usize = 4;
/// Shards at most: an engine keeps a set of them in 64 bits.
const SHARDS: usize = 64;
/// What a process that panicked exits with.
const PANICKED: i32 = 101;

/// Anything that ends the broker.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// What all shards share.
#[derive(Debug)]
struct Links {
    inboxes: Vec<Arc<Inbox>>,
    /// Where threads without shards are told what to do.
    hosts: Vec<mpsc::Sender<Order>>,
    /// The load of each thread, in percent.
    loads: Vec<AtomicU64>,
    /// Shards stay where they are: they are about to stop.
    is_ending: AtomicBool,
    notices: UnboundedSender<Notice>,
    clock: Clock,
    connect_timeout_ms: AtomicU64,
    /// Operators who wait for an answer.
    operators: Arc<Answers>,
    /// For logs, by index in the settings of the engine.
    listener_names: Vec<String>,
}

impl Links {
    fn tell(&self, notice: Notice) {
        // Control ends after the shards, or with the process.
        let _ = self.notices.send(notice);
    }
}

/// What a shard tells the thread that watches over all.
#[derive(Debug)]
enum Notice {
    /// Its thread is there.
    Ready,
    /// What was asked with [`Letter::Report`].
    Counted {
        /// Index of the shard.
        shard: usize,
        /// What it counted.
        counters: Box<Counters>,
    },
    /// Its engine has handed out everything that the shutdown asked for.
    Down {
        /// Index of the shard.
        shard: usize,
    },
    /// Its thread cannot go on.
    Failed(io::Error),
}

/// Runs the broker until it is told to end.
///
/// # Errors
/// The broker cannot start or cannot go on.
pub(crate) fn run(mut config: Config) -> Result<(), Failure> {
    exit_on_panic();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        signals::Signals::new()?
    };
    let mut broker = Broker::start(&config)?;
    runtime.block_on(async {
        broker.ready().await?;
        // With no interval configured, the one that runs here is looked at by nobody.
        let publishes = !config.sys_interval.is_zero();
        let mut due = interval(if publishes { config.sys_interval } else { Duration::MAX });
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = due.tick(), if publishes => broker.ask_for_counters(),
                signal = signals.next() => match signal {
                    Signal::Reload => broker.reload(&mut config).await?,
                    Signal::End => return broker.shut_down().await,
                },
                notice = broker.notices.recv() => broker.take_notice(notice)?,
            }
        }
    })?;
    broker.finish();
    Ok(())
}

/// A thread that panics leaves a broker that is half dead: end it whole. What was acknowledged is on disk. In the bridge, a
/// panic ends one user's task; where it ends a protocol, the bridge starts again.
fn exit_on_panic() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        print(info);
        if thread::current().name() != Some(bridge::NAME) {
            process::exit(PANICKED);
        }
    }));
}

/// The running broker, as the main thread sees it.
struct Broker {
    links: Arc<Links>,
    notices: UnboundedReceiver<Notice>,
    states: Vec<Arc<ListenerState>>,
    /// What to print when all is ready.
    ready: Vec<String>,
    admission: Arc<Admission>,
    /// The provider, whose keys are fetched anew with a reload.
    openid: Arc<OpenId>,
    shards: Vec<JoinHandle<()>>,
    verifiers: Vec<JoinHandle<()>>,
    storage: Storage,
    searching: Searching,
    /// None where nothing is on disk.
    indexing: Option<Indexing>,
    store: OpenStore,
    /// Files to remove at the end.
    unix_sockets: Vec<PathBuf>,
    /// The bridge until it starts, then while it runs, and its way in.
    bridge: Option<Bridge>,
    running_bridge: Option<bridge::Running>,
    entrance: Option<Entrance>,
    verify_refused: Arc<AtomicU64>,
    statistics: Statistics,
    /// The counters that shards have reported since they were asked.
    reported: Vec<Option<Box<Counters>>>,
}

impl Broker {
    fn start(config: &Config) -> Result<Self, Failure> {
        let settings = &config.settings;
        let shards = config.shards.clamp(1, SHARDS);
        let mut opened =
            listeners::open_all(&config.listeners, shards, |index| packet_bytes(settings, index))?;
        let entrance = config.bridge.as_ref().map(|_| Entrance::choose(config.store.path.as_deref()));
        let bridge = match (&config.bridge, &entrance) {
            (Some(bridge), Some(entrance)) => Some(Bridge::open(bridge, entrance)?),
            _ => None,
        };
        let store = OpenStore::open(&config.store)?;
        // Its folder is this process's alone from here on.
        if let Some(entrance) = &entrance {
            opened.push(entrance.open(config.listeners.len(), config)?);
        }
        let restored = storage::restore(&*store.store)?;
        let mut polls = Vec::with_capacity(shards);
        let mut inboxes = Vec::with_capacity(shards);
        for _ in 0..shards {
            let poll = Poll::new()?;
            inboxes.push(Arc::new(Inbox::new(Waker::new(poll.registry(), shard::WAKE)?)));
            polls.push(poll);
        }
        let changes = store.is_on_disk().then(Arc::<Changes>::default);
        let folder = config.store.path.clone().unwrap_or_default();
        let (storage, storage_link) =
            Storage::start(&store.store, &inboxes, config.store.lazy_commit, &folder, changes.clone())?;
        let (searching, search_link) = Searching::start(&store, &inboxes[0])?;
        let indexing = changes
            .map(|changes| Indexing::start(&store, changes, storage_link.clone(), config.store.index_delay))
            .transpose()?;
        let openid = Arc::new(OpenId::new(inboxes.clone().into()));
        openid.set(config.provider.clone());
        let (verifiers, verify_link) = verify::start(config.verify_threads, &inboxes, &openid)?;
        let (tell, notices) = unbounded_channel();
        let (hosts, orders): (Vec<_>, Vec<_>) = (0..shards).map(|_| mpsc::channel()).unzip();
        let links = Arc::new(Links {
            inboxes,
            hosts,
            loads: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            is_ending: AtomicBool::new(false),
            notices: tell,
            clock: Clock::start(),
            connect_timeout_ms: AtomicU64::new(settings.limits.connect_timeout_ms),
            operators: Arc::default(),
            listener_names: opened.iter().map(|listener| listener.state.name.clone()).collect(),
        });
        let admission = Arc::new(Admission::new(
            config.max_connections,
            config.max_connections_per_address,
            config.connect_rate,
        ));
        let (states, ready, mut sockets) = by_shard(opened, shards);
        let entropy = entropy();
        let engines = katydid_engine::start(settings, shards, entropy, links.clock.now(), &restored)
            .map_err(|key| {
                format!("a record of people and places is damaged: {:?}", String::from_utf8_lossy(&key))
            })?;
        drop(restored);
        let mut parts = Vec::with_capacity(shards);
        for (index, (poll, engine)) in polls.into_iter().zip(engines).enumerate() {
            let acceptor =
                Acceptor::new(poll.registry(), std::mem::take(&mut sockets[index]), Arc::clone(&admission))?;
            let links = Arc::clone(&links);
            let (storage, verify): (StorageLink, _) = (storage_link.clone(), verify_link.clone());
            let search = search_link.clone();
            parts.push(Shard::new(Parts { index, poll, engine, acceptor, links, storage, verify, search }));
        }
        let mut threads = Vec::with_capacity(shards);
        for (index, orders) in orders.into_iter().enumerate() {
            let (links, full_percent) = (Arc::clone(&links), config.full_percent);
            let thread = thread::Builder::new().name(format!("shard-{index}"));
            threads.push(thread.spawn(move || {
                links.tell(Notice::Ready);
                Host::new(index, links, orders, full_percent).run();
            })?);
        }
        let mut unix_sockets = unix_sockets(&config.listeners);
        if let (Some(folder), true) = (&config.store.path, settings.rooms.enabled) {
            match control::open(folder, &links.inboxes[0], &links.operators, &store.store) {
                Ok(path) => unix_sockets.push(path),
                Err(error) => {
                    warn!(%error, "the control socket cannot be opened; operator commands will not work");
                }
            }
        }
        for shards in host::groups(parts, config.share_threads) {
            if let Some(first) = shards.first() {
                let host = links.hosts[first.index()].clone();
                host.send(Order::Drive { shards, giver: None }).map_err(|_| "a thread has ended")?;
            }
        }
        Ok(Self {
            links,
            notices,
            states,
            ready,
            admission,
            openid,
            shards: threads,
            verifiers,
            storage,
            searching,
            indexing,
            store,
            unix_sockets,
            bridge,
            running_bridge: None,
            entrance,
            verify_refused: verify_link.refused_counter(),
            statistics: Statistics::default(),
            reported: vec![None; shards],
        })
    }

    /// Waits until every shard has its thread, then says where the broker listens.
    async fn ready(&mut self) -> Result<(), Failure> {
        for _ in 0..self.shards.len() {
            let notice = self.notices.recv().await;
            self.take_notice(notice)?;
        }
        let mut lines = std::mem::take(&mut self.ready);
        if let Some(bridge) = self.bridge.take() {
            lines.extend_from_slice(bridge.listening());
            self.running_bridge = Some(bridge.start()?);
        }
        let mut out = io::stdout().lock();
        for line in &lines {
            // Nobody may be reading.
            let _ = writeln!(out, "listening {line}");
        }
        let _ = out.flush();
        info!(shards = self.shards.len(), "ready");
        Ok(())
    }

    fn take_notice(&mut self, notice: Option<Notice>) -> Result<(), Failure> {
        match notice {
            Some(Notice::Failed(error)) => Err(error.into()),
            None => Err("the shards are gone".into()),
            Some(Notice::Counted { shard, counters }) => {
                self.reported[shard] = Some(counters);
                self.publish_statistics();
                Ok(())
            }
            Some(Notice::Ready | Notice::Down { .. }) => Ok(()),
        }
    }

    fn ask_for_counters(&mut self) {
        self.reported.fill(None);
        for inbox in &self.links.inboxes {
            inbox.post(Letter::Report);
        }
    }

    /// Publishes the statistics once every shard has reported. The engine of the first shard takes them.
    fn publish_statistics(&mut self) {
        let Some(shards) = self.reported.iter().map(Option::as_deref).collect::<Option<Vec<_>>>() else {
            return;
        };
        let mut counters = sys::sum(shards);
        let doors = self.admission.counters();
        counters.keep_alive_timeouts += doors.late.load(Relaxed);
        let storage = &self.storage.counters;
        let (store_syncs, store_sync_us) = self.store.syncs();
        let driver = DriverCounters {
            connections_refused: doors.refused.load(Relaxed),
            connections_delayed: doors.delayed.load(Relaxed),
            connections_broken: doors.broken.load(Relaxed),
            verifications_refused: self.verify_refused.load(Relaxed),
            store_commits: storage.commits.load(Relaxed),
            store_joined: storage.joined.load(Relaxed),
            store_messages: storage.messages.load(Relaxed),
            store_commit_us: storage.commit_us.load(Relaxed),
            store_last_commit_us: storage.last_commit_us.load(Relaxed),
            store_syncs,
            store_sync_us,
        };
        let topics = self.statistics.take(self.links.clock.uptime(), &counters, &driver);
        self.links.inboxes[0].post(Letter::System(topics));
        self.reported.fill(None);
    }

    /// Reads the configuration again. What is wrong with it leaves the old one in force.
    async fn reload(&mut self, current: &mut Config) -> Result<(), Failure> {
        let config = match current.reload() {
            Ok(Reloaded { config, kept }) => {
                for change in kept {
                    warn!(change, "needs a restart");
                }
                config
            }
            Err(problems) => {
                error!(%problems, "the configuration cannot be read again; the old one stays");
                return Ok(());
            }
        };
        for (index, (state, listener)) in self.states.iter().zip(&config.listeners).enumerate() {
            if let Err(error) = state.reload(listener, packet_bytes(&config.settings, index)) {
                error!(%error, listener = state.name, "certificates cannot be read again; the old ones stay");
            }
        }
        // The bridge's way in, which is no listener of the configuration.
        if let Some(state) = self.states.get(config.listeners.len()) {
            state.packet_bytes.store(packet_bytes(&config.settings, config.listeners.len()), Relaxed);
        }
        self.admission.change_limits(
            config.max_connections,
            config.max_connections_per_address,
            config.connect_rate,
        );
        self.links.connect_timeout_ms.store(config.settings.limits.connect_timeout_ms, Relaxed);
        for inbox in &self.links.inboxes {
            inbox.post(Letter::Reload(Arc::clone(&config.settings)));
        }
        self.openid.set(config.provider.clone());
        *current = config;
        // It is said when it is in force everywhere. An answer to an earlier question may still be on its way, so each
        // shard is asked twice.
        let deadline = Instant::now() + RELOAD;
        for _ in 0..2 {
            self.go_round(deadline).await?;
        }
        info!("configuration read again");
        Ok(())
    }

    /// Tells all engines to end and waits until they have handed out everything.
    async fn shut_down(&mut self) -> Result<(), Failure> {
        info!("shutting down");
        if let Some(bridge) = self.running_bridge.take() {
            bridge.end().await;
        }
        self.links.is_ending.store(true, Relaxed);
        for inbox in &self.links.inboxes {
            inbox.post(Letter::Shutdown);
        }
        let deadline = Instant::now() + SHUTDOWN;
        let mut up = vec![true; self.shards.len()];
        while up.contains(&true) {
            match timeout_at(deadline, self.notices.recv()).await {
                Ok(Some(Notice::Down { shard })) => up[shard] = false,
                Ok(notice) => self.take_notice(notice)?,
                Err(_) => {
                    warn!("a shard does not end in time");
                    break;
                }
            }
        }
        // What one shard hands out is for another one, and leads to more: a will goes to its topic's shard, and from
        // there to those of its subscribers.
        for _ in 0..SHUTDOWN_ROUNDS {
            self.go_round(deadline).await?;
        }
        for inbox in &self.links.inboxes {
            inbox.post(Letter::Stop);
        }
        Ok(())
    }

    /// Waits until every shard has taken what was in its inbox.
    async fn go_round(&mut self, deadline: Instant) -> Result<(), Failure> {
        for inbox in &self.links.inboxes {
            inbox.post(Letter::Report);
        }
        let mut waiting = vec![true; self.shards.len()];
        while waiting.contains(&true) {
            match timeout_at(deadline, self.notices.recv()).await {
                Ok(Some(Notice::Counted { shard, .. })) => waiting[shard] = false,
                Ok(notice) => self.take_notice(notice)?,
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Waits for every thread; the store's is last, with everything on disk.
    fn finish(self) {
        for host in &self.links.hosts {
            // It waits for orders, or has failed.
            let _ = host.send(Order::End);
        }
        for thread in self.shards.into_iter().chain(self.verifiers) {
            // A panic in there has ended the process already.
            let _ = thread.join();
        }
        self.searching.finish();
        if let Some(indexing) = self.indexing {
            indexing.finish();
        }
        self.storage.finish();
        drop(self.store);
        if let Some(entrance) = &self.entrance {
            entrance.remove();
        }
        for path in self.unix_sockets {
            // Somebody else may have removed it.
            let _ = fs::remove_file(path);
        }
        info!("everything is on disk");
    }
}

/// The system's.
fn entropy() -> Entropy {
    let (mut identifiers, mut secrets) = ([0; 8], [0; 32]);
    OsRng.fill_bytes(&mut identifiers);
    OsRng.fill_bytes(&mut secrets);
    Entropy { identifiers: u64::from_be_bytes(identifiers), secrets }
}

fn unix_sockets(listeners: &[Listener]) -> Vec<PathBuf> {
    let path = |listener: &Listener| match &listener.bind {
        Bind::Unix(path) => Some(path.clone()),
        Bind::Tcp(_) => None,
    };
    listeners.iter().filter_map(path).collect()
}

/// The longest packet that a listener takes.
fn packet_bytes(settings: &Settings, listener: usize) -> u32 {
    let own = settings.listeners.get(listener).map_or(u32::MAX, |listener| listener.packet_bytes);
    own.min(settings.limits.packet_bytes)
}

type ShardSockets = Vec<(accept::ListenSocket, Arc<ListenerState>)>;

/// Sorts the sockets of all listeners by the shard that gets them.
fn by_shard(opened: Vec<Opened>, shards: usize) -> (Vec<Arc<ListenerState>>, Vec<String>, Vec<ShardSockets>) {
    let mut sockets: Vec<ShardSockets> = (0..shards).map(|_| Vec::new()).collect();
    let mut states = Vec::with_capacity(opened.len());
    let mut ready = Vec::with_capacity(opened.len());
    for listener in opened {
        for (shard, socket) in sockets.iter_mut().zip(listener.sockets) {
            shard.push((socket, Arc::clone(&listener.state)));
        }
        states.push(listener.state);
        ready.extend(listener.ready);
    }
    (states, ready, sockets)
}
