//! The task of a client: carries bytes and commands between the socket, the handles and the session.
//!
//! Owns the socket. Ends when the client is closed, when the last handle is gone, or when the broker refuses it for
//! good. Invariant: a user who takes no events holds back the broker's messages, and the client's own packets never. What
//! comes without an acknowledgement is held back by not reading, for at most [`HOLD`], since acknowledgements of what
//! the user says come the same way; after that it is dropped and asked for later.

use crate::{
    Event, Refusal,
    client::Shared,
    link::{DialError, Dialer, Link, make_room, next_packet},
    session::{self, Lost, Session, command::Command},
};
use bytes::BytesMut;
use std::{
    hash::{BuildHasher, RandomState},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split},
    sync::{mpsc, oneshot},
    time::{sleep, sleep_until},
};

/// The first pause between attempts to connect; each next one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// How long nothing is read while too many events wait.
const HOLD: Duration = Duration::from_millis(500);

/// How long a good-bye may take to be written.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the task works with.
pub(crate) struct Driver {
    pub(crate) session: Session,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) shared: Arc<Shared>,
    /// Told when the client has signed in, or why it could not at the first attempt.
    pub(crate) started: Option<oneshot::Sender<Result<(), Refusal>>>,
    pub(crate) retry_max: Duration,
}

/// Why the task goes on to something else.
enum Turn {
    /// The connection is lost.
    Lost(Lost),
    /// The client is to end.
    Closed,
}

impl Driver {
    /// Runs the client to its end.
    pub(crate) async fn run(mut self) {
        let mut failures: u32 = 0;
        let refusal = loop {
            let turn = match self.connect(failures).await {
                Ok(link) => self.talk(link, &mut failures).await,
                Err(turn) => turn,
            };
            self.shared.set_connected(false);
            match turn {
                Turn::Closed => break Refusal::closed(),
                Turn::Lost(lost) => {
                    tracing::debug!(user = &*self.session.user(), reason = %lost.refusal, "connection lost");
                    self.session.on_lost(&lost);
                    if let Some(started) = self.started.take() {
                        let _ = started.send(Err(lost.refusal.clone()));
                        break lost.refusal;
                    }
                    if lost.is_final {
                        break lost.refusal;
                    }
                    failures = failures.saturating_add(1);
                }
            }
        };
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            self.session.on_command(command, Instant::now());
        }
        let outlet = self.session.close(&refusal);
        outlet.finish(Event::Closed(refusal)).await;
    }

    /// Waits as long as it should, and makes one attempt; takes commands meanwhile.
    async fn connect(&mut self, failures: u32) -> Result<Link, Turn> {
        let pause = self.pause(failures);
        let (connect, login) = self.session.greeting();
        let dialer = self.dialer.clone();
        // On the heap, since the future of a TLS handshake is large and seldom needed.
        let mut attempt = Box::pin(async move {
            sleep(pause).await;
            dialer.dial(connect, login).await
        });
        let queue = self.session.outlet.queue();
        loop {
            if self.session.closes_at().is_some_and(|at| Instant::now() >= at || self.session.is_drained()) {
                return Err(Turn::Closed);
            }
            let deadline = self.session.closes_at();
            tokio::select! {
                outcome = &mut attempt => return outcome.map_err(|error| Turn::Lost(lost(error))),
                command = self.commands.recv() => match command {
                    Some(command) => self.session.on_command(command, Instant::now()),
                    None => return Err(Turn::Closed),
                },
                room = queue.reserve(), if self.session.outlet.is_waiting() => self.on_room(room),
                () = until(deadline), if deadline.is_some() => {}
            }
        }
    }

    /// How long to wait before the next attempt: longer each time, and not the same for everybody.
    fn pause(&self, failures: u32) -> Duration {
        if failures == 0 {
            return Duration::ZERO;
        }
        let longest = PAUSE.saturating_mul(1 << (failures - 1).min(16)).min(self.retry_max);
        let chance = RandomState::new().hash_one(failures) as u32;
        longest / 2 + longest.mul_f64(f64::from(chance) / f64::from(u32::MAX) / 2.0)
    }

    /// Uses a connection until it is lost or the client ends.
    async fn talk(&mut self, link: Link, failures: &mut u32) -> Turn {
        let Link { stream, read, connack } = link;
        let (mut reader, mut writer) = split(stream);
        let keep_alive = self.session.on_linked(connack, Instant::now());
        self.shared.set_user(self.session.user());
        self.shared.set_connected(true);
        let queue = self.session.outlet.queue();
        let mut was_ready = false;
        let mut wire = Wire { read, out: BytesMut::new(), is_flushed: true };
        let mut full_since: Option<Instant> = None;
        let mut alarm = pin!(sleep(keep_alive));
        let mut patience = pin!(sleep(self.session.connect_timeout()));
        loop {
            let hold_ends = full_since.map(|since| since + HOLD);
            if let Err(lost) = self.take_packets(&mut wire, hold_ends.is_some_and(|at| Instant::now() >= at))
            {
                return Turn::Lost(lost);
            }
            let is_full = self.session.outlet.is_full();
            full_since = is_full.then(|| full_since.unwrap_or_else(Instant::now));
            let hold_ends = full_since.map(|since| since + HOLD).filter(|at| Instant::now() < *at);
            self.session.fill(&mut wire.out, Instant::now());
            let is_ready = self.session.is_ready();
            if is_ready && !std::mem::replace(&mut was_ready, true) {
                *failures = 0;
                self.shared.set_user(self.session.user());
                if let Some(started) = self.started.take() {
                    let _ = started.send(Ok(()));
                }
            }
            let deadline = self.session.closes_at();
            if deadline.is_some_and(|at| Instant::now() >= at || self.session.is_drained()) {
                self.leave(&mut wire, &mut writer).await;
                return Turn::Closed;
            }
            make_room(&mut wire.read);
            let Wire { read, out, is_flushed } = &mut wire;
            let is_writing = !out.is_empty() || !*is_flushed;
            tokio::select! {
                outcome = reader.read_buf(read), if hold_ends.is_none() => match outcome {
                    Ok(0) => return Turn::Lost(Lost::link("the broker closed the connection")),
                    Ok(_) => {}
                    Err(error) => return Turn::Lost(Lost::link(error.to_string())),
                },
                () = until(hold_ends), if hold_ends.is_some() => {}
                outcome = write(&mut writer, out, is_flushed), if is_writing => {
                    if let Err(error) = outcome {
                        // What the broker said before it closed is worth more than that it closed.
                        let reason = self.last_words(&mut reader, &mut wire).await;
                        return Turn::Lost(reason.unwrap_or_else(|| Lost::link(error.to_string())));
                    }
                }
                command = self.commands.recv() => match command {
                    Some(command) => self.session.on_command(command, Instant::now()),
                    None => {
                        self.leave(&mut wire, &mut writer).await;
                        return Turn::Closed;
                    }
                },
                room = queue.reserve(), if self.session.outlet.is_waiting() => self.on_room(room),
                () = &mut patience, if !is_ready => {
                    return Turn::Lost(Lost::link("the broker does not answer"));
                }
                () = &mut alarm => {
                    if let Err(lost) = self.session.ping(out) {
                        return Turn::Lost(lost);
                    }
                    alarm.as_mut().reset(tokio::time::Instant::now() + keep_alive);
                }
                () = until(deadline), if deadline.is_some() => {}
            }
        }
    }

    /// Takes what was read, until too many events wait; `all` takes it then, too.
    fn take_packets(&mut self, wire: &mut Wire, all: bool) -> Result<(), Lost> {
        let bytes_max = self.session.packet_bytes_max();
        while all || !self.session.outlet.is_full() {
            match next_packet(&mut wire.read, bytes_max) {
                Ok(Some(packet)) => self.session.on_packet(packet, Instant::now())?,
                Ok(None) => return Ok(()),
                Err(error) => return Err(Lost::link(format!("the broker broke the protocol: {error}"))),
            }
        }
        Ok(())
    }

    /// Reads what is left after writing has failed.
    async fn last_words(&mut self, reader: &mut Reader, wire: &mut Wire) -> Option<Lost> {
        let reading = async {
            loop {
                make_room(&mut wire.read);
                match reader.read_buf(&mut wire.read).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
                if let Err(lost) = self.take_packets(wire, true) {
                    return Some(lost);
                }
            }
        };
        tokio::time::timeout(GOODBYE, reading).await.ok().flatten()
    }

    /// Writes what is left and a DISCONNECT.
    async fn leave(&mut self, wire: &mut Wire, writer: &mut Writer) {
        self.session.disconnect(&mut wire.out);
        let _ = tokio::time::timeout(GOODBYE, async {
            writer.write_all_buf(&mut wire.out).await?;
            writer.shutdown().await
        })
        .await;
    }

    fn on_room(&mut self, room: Result<mpsc::Permit<'_, Event>, mpsc::error::SendError<()>>) {
        match room {
            Ok(room) => {
                let acks = self.session.outlet.on_room(room);
                self.session.on_room(acks);
            }
            Err(_) => self.session.on_events_closed(),
        }
    }
}

type Reader = ReadHalf<Box<dyn crate::link::Stream>>;
type Writer = WriteHalf<Box<dyn crate::link::Stream>>;

/// The bytes of a connection.
struct Wire {
    read: BytesMut,
    out: BytesMut,
    /// Whether nothing is held back by the stream (TLS holds records back).
    is_flushed: bool,
}

/// Writes some of the buffer, or flushes once it is empty. Cancel safe.
async fn write(writer: &mut Writer, out: &mut BytesMut, is_flushed: &mut bool) -> std::io::Result<()> {
    if out.is_empty() {
        writer.flush().await?;
        *is_flushed = true;
        return Ok(());
    }
    *is_flushed = false;
    if writer.write_buf(out).await? == 0 {
        return Err(std::io::ErrorKind::WriteZero.into());
    }
    if out.is_empty() {
        // An idle client holds no buffer.
        *out = BytesMut::new();
    }
    Ok(())
}

async fn until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        sleep_until(deadline.into()).await;
    }
}

fn lost(error: DialError) -> Lost {
    match error {
        DialError::Unreachable(reason) => Lost::link(reason),
        DialError::Refused(connack) => Lost {
            refusal: session::of_connack(&connack),
            is_final: session::is_final(connack.code),
            is_our_fault: false,
        },
    }
}
