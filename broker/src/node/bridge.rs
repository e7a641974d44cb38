//! The bridge inside the broker: its ports, its threads, and its way in.
//!
//! It has a runtime and threads of its own, and never touches a shard: it connects to the broker as a bridge on another
//! machine would, each legacy user for itself, by a Unix socket that only this user of the system can open and that takes
//! each user's real address. So limits for an address hit the user. Where there is a data folder, the socket is in it,
//! otherwise in a folder of its own.
//!
//! Invariant: its ports are taken before the broker says that it listens, and it has ended before the shards do. A protocol
//! that fails ends none of the broker: the bridge starts again.

use katydid_bridge::{Bridge as Protocols, config::Written};
use std::{
    fs::{self, DirBuilder},
    hash::{BuildHasher, Hasher, RandomState},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};
use tokio::{
    runtime::Runtime,
    sync::{oneshot, watch},
    time::timeout,
};
use tracing::error;

use super::{Failure, listeners::Opened};
use crate::config::{Bind, BridgeConfig, Config, Listener, TransportKind};

/// The listener's name in logs, and that of its threads.
pub(super) const NAME: &str = "bridge";
/// The socket's name in the data folder.
const SOCKET: &str = "bridge.sock";
/// The longest path of a Unix socket, with what is put behind it until it has its mode.
const PATH_BYTES: usize = 100;

/// How long a bridge that failed is left alone before it starts again.
const PAUSE: Duration = Duration::from_secs(1);

/// A bridge whose ports are taken.
pub(super) struct Bridge {
    protocols: Protocols,
    written: Written,
    config: BridgeConfig,
}

/// A bridge that runs.
#[derive(Debug)]
pub(super) struct Running {
    end: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

/// Where the bridge comes in.
#[derive(Debug)]
pub(super) struct Entrance {
    /// The socket.
    pub(super) path: PathBuf,
    /// The folder that is made for it, and removed at the end.
    pub(super) folder: Option<PathBuf>,
}

impl Entrance {
    /// Chooses where the socket will be.
    pub(super) fn choose(data: Option<&Path>) -> Self {
        if let Some(path) = data.map(|folder| folder.join(SOCKET))
            && path.as_os_str().len() <= PATH_BYTES
        {
            return Self { path, folder: None };
        }
        let chance = RandomState::new().build_hasher().finish();
        let folder = std::env::temp_dir().join(format!("katydid-{chance:016x}"));
        Self { path: folder.join(SOCKET), folder: Some(folder) }
    }

    /// Opens the listener, which has this index in the settings of the engine.
    ///
    /// # Errors
    /// The socket could not be made.
    pub(super) fn open(&self, index: usize, config: &Config) -> Result<Opened, Failure> {
        let listener = Listener {
            name: NAME.into(),
            bind: Bind::Unix(self.path.clone()),
            optional: false,
            transport: TransportKind::Plain,
            tls: None,
            proxy_protocol: true,
            max_connections: config.max_connections,
        };
        if let Some(folder) = &self.folder {
            // Nobody has made it before, with rights of their own: its name can't be guessed, and it must be new.
            DirBuilder::new().mode(0o700).create(folder)?;
        }
        let packet_bytes = super::packet_bytes(&config.settings, index);
        let opened = super::listeners::open_private(index, &listener, &self.path, packet_bytes);
        opened.map_err(|error| format!("{}: {error}", self.path.display()).into())
    }

    /// Takes away what was made. Somebody else may have done so.
    pub(super) fn remove(&self) {
        let _ = fs::remove_file(&self.path);
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Bridge {
    /// Takes the ports of the bridge, which will come in through that socket.
    ///
    /// # Errors
    /// A port is taken, or a file that the configuration names has gone since it was proved.
    pub(super) fn open(config: &BridgeConfig, entrance: &Entrance) -> Result<Self, Failure> {
        let mut written: Written = config.written.clone();
        written.broker.address = format!("unix:{}", entrance.path.display());
        written.broker.proxy_protocol = true;
        let protocols = open(&written, config)?;
        Ok(Self { protocols, written, config: config.clone() })
    }

    /// What listens where, a line each.
    pub(super) fn listening(&self) -> &[String] {
        self.protocols.listening()
    }

    /// Starts its threads.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(self) -> io::Result<Running> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.config.threads)
            .thread_name(NAME)
            .enable_all()
            .build()?;
        let (end, ending) = watch::channel(false);
        let (done, ended) = oneshot::channel();
        thread::Builder::new().name(NAME.into()).spawn(move || {
            self.run(&runtime, &ending);
            // Whoever waits has a limit of time, and so has this.
            runtime.shutdown_background();
            let _ = done.send(());
        })?;
        Ok(Running { end, ended })
    }

    /// Serves until it is to end.
    fn run(self, runtime: &Runtime, ending: &watch::Receiver<bool>) {
        let Self { protocols, written, config } = self;
        let mut protocols = Some(protocols);
        let ended = || {
            let mut ending = ending.clone();
            async move { drop(ending.wait_for(|is_ending| *is_ending).await) }
        };
        loop {
            let outcome: Result<(), Failure> = match protocols.take() {
                Some(protocols) => runtime.block_on(protocols.serve(ended())).map_err(Into::into),
                None => open(&written, &config).map(|opened| protocols = Some(opened)),
            };
            // Where nobody is left who could say so, it is to end, too.
            if *ending.borrow() || ending.has_changed().is_err() {
                return;
            }
            if let Err(error) = outcome {
                error!(%error, "the bridge failed and starts again");
                let _ = runtime.block_on(async { timeout(PAUSE, ended()).await });
            }
        }
    }
}

/// Takes the ports.
fn open(written: &Written, config: &BridgeConfig) -> Result<Protocols, Failure> {
    Ok(Protocols::open(written.clone().prove_at(&config.addresses)?)?)
}

impl Running {
    /// Tells everybody that it ends, and waits until they were told.
    pub(super) async fn end(self) {
        self.end.send_replace(true);
        let _ = self.ended.await;
    }
}
