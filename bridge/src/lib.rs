//! Legacy chat protocols translated into publish and subscribe.
//!
//! Each protocol is a folder: `wire` cuts bytes into frames within limits, `map` translates names, codes and JSON,
//! and a state machine without I/O takes frames and chat events and gives lines and chat calls. [`chat`] is the
//! vocabulary that all of them speak towards the broker, [`machine`] the shape that all of them have, and [`driver`]
//! the one place with sockets, tasks and a clock. Each legacy user is an MQTT client of its own: the bridge has no
//! right that its user has not.
#![forbid(unsafe_code)]

pub mod chat;
pub mod config;
pub mod driver;
pub mod flow;
pub mod helo;
pub mod json;
pub mod machine;
pub mod mchat;
pub mod names;
pub mod notice;
pub mod requests;
pub mod rest;
pub mod text;

#[cfg(test)]
mod transcript;

use config::Config;
use driver::{
    Served,
    door::{Door, OpenDoor, OpenError},
    log::RotatingFile,
    voice::{Kept, Users},
};
use machine::{Each, Input, Link, Machine, Output};
use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet, time::timeout};

/// How long the protocols may take to end, all limits of theirs included.
const END: Duration = Duration::from_secs(6);

/// Why the bridge cannot start.
#[derive(Debug)]
pub enum StartError {
    /// A listener could not be opened.
    Door(OpenError),
    /// A log file could not be opened.
    Log(PathBuf, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Door(error) => error.fmt(f),
            Self::Log(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for StartError {}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        Self::Door(error)
    }
}

/// A bridge that has its ports, and lets nobody in before it is served.
pub struct Bridge {
    users: Users,
    protocols: Vec<Served>,
    rest: Option<(OpenDoor, rest::Settings, Duration)>,
    listening: Vec<String>,
}

impl Bridge {
    /// Takes the ports of every protocol that the configuration has on.
    ///
    /// # Errors
    /// A listener or a file could not be opened.
    pub fn open(config: Config) -> Result<Self, StartError> {
        let Config { users, text, mchat, helo, json, rest } = config;
        let mut opening = Opening { users, protocols: Vec::new(), listening: Vec::new() };
        if let Some(text) = text {
            opening.text(text)?;
        }
        if let Some(mchat) = mchat {
            opening.mchat(mchat)?;
        }
        if let Some(helo) = helo {
            opening.helo(helo)?;
        }
        if let Some(json) = json {
            opening.json(json)?;
        }
        let rest = match rest {
            Some(rest) => Some((opening.door(rest.door)?, rest.settings, rest.wait)),
            None => None,
        };
        let Opening { users, protocols, listening } = opening;
        Ok(Self { users, protocols, rest, listening })
    }

    /// What listens where, a line each: `text 127.0.0.1:6500`.
    pub fn listening(&self) -> &[String] {
        &self.listening
    }

    /// Serves until `ended` resolves; then every user is told, and what is queued is written.
    ///
    /// # Errors
    /// A protocol cannot go on.
    pub async fn serve(self, ended: impl Future<Output = ()>) -> io::Result<()> {
        let (end, ending) = watch::channel(false);
        let mut protocols = JoinSet::new();
        if let Some((door, settings, wait)) = self.rest {
            protocols.spawn(rest::serve(door, settings, self.users, wait, ending.clone()));
        }
        for served in self.protocols {
            protocols.spawn(driver::serve(served, ending.clone()));
        }
        let failed = async {
            match protocols.join_next().await {
                Some(Ok(outcome)) => outcome,
                Some(Err(error)) => Err(io::Error::other(error)),
                // Every protocol is off.
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            outcome = failed => return outcome,
            () = ended => {}
        }
        end.send_replace(true);
        let all = async {
            while let Some(outcome) = protocols.join_next().await {
                outcome.map_err(io::Error::other)??;
            }
            Ok(())
        };
        timeout(END, all).await.unwrap_or(Ok(()))
    }
}

/// Serves every protocol that the configuration has on, until `ended` resolves.
///
/// # Errors
/// The bridge cannot start or cannot go on.
pub async fn run(config: Config, ended: impl Future<Output = ()>) -> io::Result<()> {
    let bridge = Bridge::open(config).map_err(io::Error::other)?;
    for listener in bridge.listening() {
        tracing::info!("listening {listener}");
    }
    bridge.serve(ended).await
}

/// A bridge in the making.
struct Opening {
    users: Users,
    protocols: Vec<Served>,
    listening: Vec<String>,
}

impl Opening {
    fn door(&mut self, door: Door) -> Result<OpenDoor, OpenError> {
        Ok(self.doors(vec![door])?.remove(0))
    }

    fn doors(&mut self, doors: Vec<Door>) -> Result<Vec<OpenDoor>, OpenError> {
        let opened = doors.into_iter().map(Door::open).collect::<Result<Vec<_>, _>>()?;
        // Ports for files follow each other: one line for all of them, and for each address.
        let mut lines: Vec<(String, SocketAddr, u16)> = Vec::new();
        for door in &opened {
            let (name, tls) = door.name();
            let name = format!("{name}{}", if tls { "-tls" } else { "" });
            for address in door.addresses() {
                let line = lines.iter_mut().find(|(known, first, last)| {
                    *known == name
                        && first.ip() == address.ip()
                        && last.checked_add(1) == Some(address.port())
                });
                match line {
                    Some((_, _, last)) => *last = address.port(),
                    None => lines.push((name.clone(), address, address.port())),
                }
            }
        }
        self.listening.extend(lines.into_iter().map(|(name, first, last)| {
            if first.port() == last { format!("{name} {first}") } else { format!("{name} {first}-{last}") }
        }));
        Ok(opened)
    }

    fn text(&mut self, text: config::TextConfig) -> Result<(), StartError> {
        let settings = Arc::new(text.settings);
        let served = Served {
            name: "text",
            machine: Box::new(Each::new(move |now_ms, _| {
                text::Session::new(settings.clone(), chance(), now_ms)
            })),
            doors: vec![self.door(text.door)?],
            users: self.users.clone(),
            log: None,
        };
        self.protocols.push(served);
        Ok(())
    }

    fn mchat(&mut self, mchat: config::MchatConfig) -> Result<(), StartError> {
        let open = |(path, bytes): (PathBuf, u64)| {
            RotatingFile::open(&path, bytes).map_err(|error| StartError::Log(path.clone(), error))
        };
        let served = Served {
            name: "mchat",
            machine: Box::new(mchat::Server::new(mchat.settings)),
            doors: self.doors(mchat.doors)?,
            users: Users { hears_presence: true, ..self.users.clone() },
            log: mchat.log.map(open).transpose()?,
        };
        self.protocols.push(served);
        Ok(())
    }

    fn helo(&mut self, helo: config::HeloConfig) -> Result<(), StartError> {
        let doors = self.doors(helo.doors)?;
        // Where any free ports were asked for, they are known now.
        let ports = doors[1..].iter().filter_map(|door| door.addresses().next());
        let settings = helo::Settings { file_ports: ports.map(|at| at.port()).collect(), ..helo.settings };
        let keys = Arc::new(helo::Keys::default());
        let machine = helo::Server::new(settings, keys.clone(), chance);
        let served = Served {
            name: "helo",
            machine: Box::new(WithKeys { machine, keys: Some(keys) }),
            doors,
            users: self.users.clone(),
            log: None,
        };
        self.protocols.push(served);
        Ok(())
    }

    fn json(&mut self, json: config::JsonConfig) -> Result<(), StartError> {
        let settings = Arc::new(json.settings);
        let kept = Kept { client_id: "json", expiry: json.wait, keeps_places: false };
        let served = Served {
            name: "json",
            machine: Box::new(Each::new(move |now_ms, _| json::Session::new(settings.clone(), now_ms))),
            doors: vec![self.door(json.door)?],
            users: Users { kept: Some(kept), ..self.users.clone() },
            log: None,
        };
        self.protocols.push(served);
        Ok(())
    }
}

/// Makes the bridge's own keys when the first client connects, which takes longer to say who it is: a bridge to which nobody
/// comes does no such work.
struct WithKeys<M> {
    machine: M,
    keys: Option<Arc<helo::Keys>>,
}

impl<M: Machine> Machine for WithKeys<M> {
    fn handle(&mut self, now_ms: u64, input: Input<'_>, out: &mut Vec<Output>) {
        if matches!(input, Input::Opened { .. })
            && let Some(keys) = self.keys.take()
        {
            // Named as the threads of the bridge are: what goes wrong there is no reason for a broker around it to end.
            let thread = std::thread::Builder::new().name("bridge".into());
            // Without a thread, whoever needs the keys first makes them.
            let _ = thread.spawn(move || keys.make());
        }
        self.machine.handle(now_ms, input, out);
    }

    fn deadline_ms(&self) -> Option<u64> {
        self.machine.deadline_ms()
    }

    fn is_ready(&self, link: Link) -> bool {
        self.machine.is_ready(link)
    }
}

/// Sixteen bytes that nobody can guess: the keys of the standard library's hash maps come from the system.
fn chance() -> [u8; 16] {
    let mut bytes = [0; 16];
    for half in bytes.chunks_exact_mut(8) {
        half.copy_from_slice(&RandomState::new().hash_one(0u8).to_ne_bytes());
    }
    bytes
}
