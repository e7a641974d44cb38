//! Sockets, tasks and the clock: carries inputs to a machine and its outputs out.
//!
//! One task owns a machine with all its links. Every link has a task that reads, one that writes, and one for each of its
//! chat users. The task of the machine never waits for any of them: what it says is queued, and every queue has a limit.
//!
//! - A link is read only while its machine is ready for it, a piece at a time, so that who sends too fast waits.
//! - Who reads too slowly is not told more by the broker before the queue is short again; what others make it hear, as in a
//!   mesh, closes the link at some mebibytes.
//! - A chat user for whom too many calls wait is refused further ones with [`Refusal::FULL`].
//!
//! When the bridge ends, nobody is let in or read any more, calls are waited for, everybody is told in the words of the
//! protocol, and what is queued is written; each of these has its limit of time.

pub mod door;
mod link;
pub mod log;
pub mod voice;

use crate::{
    chat::{Call, Event, Refusal, Tag, Voice},
    machine::{Input, Link, Machine, Output},
};
use door::{Arrival, OpenDoor};
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
    sync::{Notify, mpsc, watch},
    task::AbortHandle,
    time::{sleep, sleep_until, timeout},
};

/// Bytes that wait to be written to a link at most.
const MOST_QUEUED_BYTES: usize = 4 * 1024 * 1024;

/// Inputs that wait for a machine at most; who brings more waits.
const INPUTS: usize = 1024;

/// Calls that wait for a chat user's task at most.
const CALLS: usize = 128;

/// How long connecting to another server may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// At the end: how long calls may wait for their answers, and then how long the last words may take.
const LAST_CALLS: Duration = Duration::from_secs(2);
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What users are told at the end.
const GOODBYE: &str = "the server is shutting down";

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
    pub doors: Vec<OpenDoor>,
    /// How its users are signed in to the broker.
    pub users: voice::Users,
    /// Where [`Output::Log`] goes besides the log of the process.
    pub log: Option<log::RotatingFile>,
}

struct LinkState {
    writer: mpsc::UnboundedSender<Queued>,
    gate: Arc<Gate>,
    go_on: Arc<Notify>,
    is_reading: bool,
    reader: AbortHandle,
    voices: HashMap<Voice, VoiceState>,
    from: SocketAddr,
    /// Where it came in; one that was dialled has none.
    door: Option<usize>,
}

struct VoiceState {
    calls: mpsc::Sender<(Tag, Call)>,
    /// Calls that have no answer yet.
    waiting: usize,
}

/// Held by every task that has something left to do at the end.
type Busy = mpsc::Sender<()>;

struct Driver {
    name: &'static str,
    machine: Box<dyn Machine>,
    users: Arc<voice::Users>,
    log: Option<log::RotatingFile>,
    brought: mpsc::Sender<Brought>,
    busy: Busy,
    links: HashMap<Link, LinkState>,
    last_link: u64,
    is_ending: bool,
    start: Instant,
}

/// Serves a protocol until it is to end and everybody was told, or for ever where nobody says so. When the future is dropped,
/// it ends at once.
///
/// # Errors
/// A door could not be opened.
pub async fn serve(served: Served, mut ending: watch::Receiver<bool>) -> io::Result<()> {
    let Served { name, machine, doors, users, log } = served;
    let (brought, mut inputs) = mpsc::channel(INPUTS);
    let (busy, mut done) = mpsc::channel(1);
    let mut tasks = tokio::task::JoinSet::new();
    for (at, door) in doors.into_iter().enumerate() {
        door.serve(at, &brought, &mut tasks)?;
    }
    let mut driver = Driver {
        name,
        machine,
        users: Arc::new(users),
        log,
        brought,
        busy,
        links: HashMap::new(),
        last_link: 0,
        is_ending: false,
        start: Instant::now(),
    };
    driver.log("server started");
    driver.run(&mut inputs, async { drop(ending.wait_for(|is_ending| *is_ending).await) }).await;
    tasks.abort_all();
    driver.is_ending = true;
    driver.run(&mut inputs, sleep(LAST_CALLS)).await;
    driver.say_goodbye();
    driver.busy = mpsc::channel(1).0;
    let last_words = async {
        loop {
            tokio::select! {
                // Users who sign out may have something to bring, which nobody hears any more.
                _ = inputs.recv() => {}
                _ = done.recv() => return,
            }
        }
    };
    let _ = timeout(LAST_WORDS, last_words).await;
    Ok(())
}

impl Driver {
    /// Goes on until `end`; where the protocol is ending, until no call waits, too.
    async fn run(&mut self, inputs: &mut mpsc::Receiver<Brought>, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        while !self.is_ending || self.is_waiting() {
            let due = self.machine.deadline_ms().map(|ms| self.start + Duration::from_millis(ms));
            let alarm = async {
                match due {
                    Some(due) => sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.bring(input),
                    None => return,
                },
                () = alarm => self.handle(Input::Tick),
                () = &mut end => return,
            }
        }
    }

    /// Whether a call of somebody who is there has no answer yet.
    fn is_waiting(&self) -> bool {
        self.links.values().any(|state| state.voices.values().any(|voice| voice.waiting > 0))
    }

    /// Tells every user that the bridge ends, and closes all links once that is written.
    fn say_goodbye(&mut self) {
        let links: Vec<Link> = self.links.keys().copied().collect();
        for link in links {
            let Some(state) = self.links.get(&link) else { continue };
            let mut voices: Vec<Voice> = state.voices.keys().copied().collect();
            // Who has not signed in at the clients' door is told as its user.
            if voices.is_empty() && state.door == Some(0) {
                voices.push(Voice::FIRST);
            }
            for voice in voices {
                self.handle(Input::Chat { link, voice, event: Event::Ended { reason: GOODBYE.into() } });
            }
            self.drop_link(link);
        }
    }

    fn bring(&mut self, brought: Brought) {
        match brought {
            Brought::Arrived { door, arrival } => {
                self.last_link += 1;
                let link = Link(self.last_link);
                let from = arrival.from;
                self.connect(link, arrival, Some(door));
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
                        self.connect(link, Arrival::plain(stream, from), None);
                        None
                    }
                    Err(error) => Some(error.to_string()),
                };
                self.handle(Input::Dialled { link, problem });
                self.read_on(link);
            }
            Brought::Chat { link, voice, event } => {
                if let Some(state) = self.links.get_mut(&link) {
                    if let (Event::Answered { .. }, Some(voice)) = (&event, state.voices.get_mut(&voice)) {
                        voice.waiting = voice.waiting.saturating_sub(1);
                    }
                    self.handle(Input::Chat { link, voice, event });
                    self.read_on(link);
                }
            }
        }
    }

    fn connect(&mut self, link: Link, arrival: Arrival, door: Option<usize>) {
        let from = arrival.from;
        let wires = Wires::start(link, arrival, self.brought.clone(), self.busy.clone());
        let state = LinkState {
            writer: wires.writer,
            gate: wires.gate,
            go_on: wires.go_on,
            is_reading: false,
            reader: wires.reader,
            voices: HashMap::new(),
            from,
            door,
        };
        self.links.insert(link, state);
    }

    /// Lets a link be read again, if its machine is ready for it.
    fn read_on(&mut self, link: Link) {
        let Some(state) = self.links.get_mut(&link).filter(|_| !self.is_ending) else { return };
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
                let (users, busy) = (self.users.clone(), self.busy.clone());
                tokio::spawn(async move {
                    voice::run(users, way, waiting).await;
                    drop(busy);
                });
                state.voices.insert(voice, VoiceState { calls, waiting: 0 });
            }
            _ => {}
        }
        let sent = state.voices.get_mut(&voice).map(|state| {
            state.waiting += 1;
            state.calls.try_send((tag, call))
        });
        let refusal = match sent {
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
