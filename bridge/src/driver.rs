//! Sockets, tasks and the clock: carries inputs to a machine and its outputs out.
//!
//! One task owns a machine with all its links. Every link has a task that reads, one that writes, and one for each of its
//! chat users. The task of the machine never waits for any of them: what it says is queued, and every queue has a limit.
//!
//! - A link is read only while its machine is ready for it, a piece at a time, so that who sends too fast waits.
//! - Who reads too slowly is not told more by the broker before the queue is short again; what others make it hear, as in a
//!   mesh, closes the link at some mebibytes.
//! - A chat user for whom too many calls wait is refused further ones with [`Refusal::FULL`].

pub mod door;
mod link;
pub mod log;
pub mod voice;

use crate::{
    chat::{Call, Event, Refusal, Tag, Voice},
    machine::{Input, Link, Machine, Output},
};
use door::{Arrival, Door};
use link::{Gate, Queued, Wires};
use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc},
    task::AbortHandle,
    time::{sleep_until, timeout},
};

/// Bytes that wait to be written to a link at most.
const MOST_QUEUED_BYTES: usize = 4 * 1024 * 1024;

/// Inputs that wait for a machine at most; who brings more waits.
const INPUTS: usize = 1024;

/// Calls that wait for a chat user's task at most.
const CALLS: usize = 128;

/// How long connecting to another server may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// What the tasks of links and users bring.
#[derive(Debug)]
pub(crate) enum Brought {
    Arrived { door: usize, arrival: Arrival },
    Bytes { link: Link, bytes: Vec<u8> },
    Passed { link: Link },
    Closed { link: Link },
    Dialled { link: Link, outcome: io::Result<(TcpStream, SocketAddr)> },
    Chat { link: Link, voice: Voice, event: Event },
}

/// How a protocol is served.
pub struct Served {
    /// For logs, such as `text`.
    pub name: &'static str,
    /// The protocol.
    pub machine: Box<dyn Machine>,
    /// Where its peers connect, in the order of [`Input::Opened`]'s doors.
    pub doors: Vec<Door>,
    /// How its users are signed in to the broker.
    pub users: voice::Users,
    /// Where [`Output::Log`] goes besides the log of the process.
    pub log: Option<log::RotatingFile>,
    /// How long a link may be silent; `None` is for ever.
    pub idle: Option<Duration>,
}

struct LinkState {
    writer: mpsc::UnboundedSender<Queued>,
    gate: Arc<Gate>,
    go_on: Arc<Notify>,
    is_reading: bool,
    reader: AbortHandle,
    voices: HashMap<Voice, mpsc::Sender<(Tag, Call)>>,
    from: SocketAddr,
}

struct Driver {
    name: &'static str,
    machine: Box<dyn Machine>,
    users: Arc<voice::Users>,
    log: Option<log::RotatingFile>,
    idle: Option<Duration>,
    brought: mpsc::Sender<Brought>,
    links: HashMap<Link, LinkState>,
    last_link: u64,
    start: Instant,
}

/// Serves a protocol for ever; ends when the future is dropped, and with it every task that it has started.
///
/// # Errors
/// A door could not be opened.
pub async fn serve(served: Served) -> io::Result<()> {
    let Served { name, machine, doors, users, log, idle } = served;
    let (brought, mut inputs) = mpsc::channel(INPUTS);
    let mut tasks = tokio::task::JoinSet::new();
    for (at, door) in doors.into_iter().enumerate() {
        door.open(name, at, &brought, &mut tasks).await?;
    }
    let mut driver = Driver {
        name,
        machine,
        users: Arc::new(users),
        log,
        idle,
        brought,
        links: HashMap::new(),
        last_link: 0,
        start: Instant::now(),
    };
    driver.log("server started");
    loop {
        let due = driver.machine.deadline_ms().map(|ms| driver.start + Duration::from_millis(ms));
        let alarm = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            input = inputs.recv() => match input {
                Some(input) => driver.bring(input),
                None => return Ok(()),
            },
            () = alarm => driver.handle(Input::Tick),
        }
    }
}

impl Driver {
    fn bring(&mut self, brought: Brought) {
        match brought {
            Brought::Arrived { door, arrival } => {
                self.last_link += 1;
                let link = Link(self.last_link);
                let from = arrival.from;
                self.connect(link, arrival);
                self.handle(Input::Opened { link, door, from });
                self.read_on(link);
            }
            Brought::Bytes { link, bytes } => {
                if let Some(state) = self.links.get_mut(&link) {
                    state.is_reading = false;
                    self.handle(Input::Received { link, bytes: &bytes });
                    self.read_on(link);
                }
            }
            Brought::Passed { link } => {
                if self.links.contains_key(&link) {
                    self.handle(Input::Passed { link });
                    self.read_on(link);
                }
            }
            Brought::Closed { link } => {
                if self.links.contains_key(&link) {
                    self.handle(Input::Closed { link });
                    self.drop_link(link);
                }
            }
            Brought::Dialled { link, outcome } => {
                let problem = match outcome {
                    Ok((stream, from)) => {
                        self.connect(link, Arrival::plain(stream, from));
                        None
                    }
                    Err(error) => Some(error.to_string()),
                };
                self.handle(Input::Dialled { link, problem });
                self.read_on(link);
            }
            Brought::Chat { link, voice, event } => {
                if self.links.contains_key(&link) {
                    self.handle(Input::Chat { link, voice, event });
                    self.read_on(link);
                }
            }
        }
    }

    fn connect(&mut self, link: Link, arrival: Arrival) {
        let from = arrival.from;
        let wires = Wires::start(link, arrival, self.idle, self.brought.clone());
        let state = LinkState {
            writer: wires.writer,
            gate: wires.gate,
            go_on: wires.go_on,
            is_reading: false,
            reader: wires.reader,
            voices: HashMap::new(),
            from,
        };
        self.links.insert(link, state);
    }

    /// Lets a link be read again, if its machine is ready for it.
    fn read_on(&mut self, link: Link) {
        let Some(state) = self.links.get_mut(&link) else { return };
        if !state.is_reading && self.machine.is_ready(link) {
            state.is_reading = true;
            state.go_on.notify_one();
        }
    }

    /// Ends the tasks of a link; what is queued is still written, and its users sign out.
    fn drop_link(&mut self, link: Link) {
        if let Some(state) = self.links.remove(&link) {
            state.reader.abort();
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        let now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut out = Vec::new();
        self.machine.handle(now_ms, input, &mut out);
        let mut overrun = Vec::new();
        for output in out {
            overrun.extend(self.carry_out(output));
        }
        for link in overrun {
            tracing::warn!(protocol = self.name, link = link.0, "reads too slowly: closed");
            self.handle(Input::Closed { link });
            self.drop_link(link);
        }
    }

    /// Does what the machine wants; a link that has too much to write is given back.
    fn carry_out(&mut self, output: Output) -> Option<Link> {
        match output {
            Output::Write { link, bytes } => return self.write(link, Queued { bytes, passed_from: None }),
            Output::Pass { link, bytes, from } => {
                return self.write(link, Queued { bytes, passed_from: Some(from) });
            }
            Output::GoOn { link } => self.read_on(link),
            Output::Close { link } => self.drop_link(link),
            Output::Ask { link, voice, tag, call } => self.ask(link, voice, tag, call),
            Output::Dial { link, host, port } => {
                let brought = self.brought.clone();
                tokio::spawn(async move {
                    let dialling = timeout(DIAL_TIMEOUT, TcpStream::connect((host.as_str(), port)));
                    let outcome = match dialling.await {
                        Ok(outcome) => {
                            outcome.and_then(|stream| stream.peer_addr().map(|from| (stream, from)))
                        }
                        Err(_) => Err(io::ErrorKind::TimedOut.into()),
                    };
                    let _ = brought.send(Brought::Dialled { link, outcome }).await;
                });
            }
            Output::Log(text) => self.log(&text),
        }
        None
    }

    fn write(&mut self, link: Link, queued: Queued) -> Option<Link> {
        let state = self.links.get_mut(&link)?;
        let is_overrun = state.gate.queue(queued.bytes.len()) > MOST_QUEUED_BYTES;
        // Fails only when the socket is gone, which the reader tells.
        let _ = state.writer.send(queued);
        is_overrun.then_some(link)
    }

    fn log(&mut self, text: &str) {
        tracing::info!(protocol = self.name, "{text}");
        if let Some(log) = &mut self.log {
            log.say(text);
        }
    }

    fn ask(&mut self, link: Link, voice: Voice, tag: Tag, call: Call) {
        let Some(state) = self.links.get_mut(&link) else { return };
        match &call {
            Call::SignOut => {
                state.voices.remove(&voice);
                return;
            }
            Call::SignIn { .. } if !state.voices.contains_key(&voice) => {
                let (calls, waiting) = mpsc::channel(CALLS);
                let gate = state.gate.clone();
                let way = voice::Way { link, voice, from: state.from, brought: self.brought.clone(), gate };
                tokio::spawn(voice::run(self.users.clone(), way, waiting));
                state.voices.insert(voice, calls);
            }
            _ => {}
        }
        let refusal = match state.voices.get(&voice).map(|calls| calls.try_send((tag, call))) {
            Some(Ok(())) => return,
            Some(Err(mpsc::error::TrySendError::Full(_))) => Refusal::FULL,
            Some(Err(mpsc::error::TrySendError::Closed(_))) | None => Refusal::NOT_SIGNED_IN,
        };
        // Answered as everything else is, in a turn of its own: the machine is not called while it speaks.
        let event = Event::Answered { tag, outcome: Err(Refusal::new(refusal)) };
        let brought = self.brought.clone();
        tokio::spawn(async move { brought.send(Brought::Chat { link, voice, event }).await });
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.log("server stopped");
    }
}
