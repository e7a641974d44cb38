//! Many light connections on one thread.
//!
//! Owns: sockets, their unread and unsent bytes, the handshake, and the acknowledgements that QoS 1 and 2
//! ask of a receiver. Never knows what is measured: a [`Handler`] is told what arrived, and a load puts
//! packets into [`Network::outgoing`] between two polls. Invariant: an idle connection holds no buffer, all
//! that one read brought is answered with one write, and a time is taken once a read. Driven by
//! [`Network::poll`], which waits, reads, tells and answers.

use crate::wire::{
    self, Acknowledgement, Incoming, Login, Message, Split, Subscription, Version, write_acknowledgement,
};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// What one read takes at most.
const READ_BYTES: usize = 256 * 1024;
/// Events of one wait.
const EVENTS: usize = 4096;
/// Connections from one loopback address: an address has some 28,000 ports, and a free one gets hard to find.
const CONNECTIONS_PER_ADDRESS: usize = 8_000;
/// The timer's token; connections are numbered from 0.
const TIMER: Token = Token(usize::MAX);

/// Where a connection stands.
///
/// ```text
/// Connecting --socket is open: CONNECT--> Greeting --CONNACK--> Subscribing --SUBACK--> Ready
///                                            \------CONNACK, nothing to subscribe------/  |
///            any --error, refusal, end of stream--> Closed <--end of stream-- Leaving <--leave
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Greeting,
    Subscribing,
    Ready,
    Leaving,
    Closed,
}

/// Why a connection is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It was left, and the broker has closed its side.
    Left,
    /// The broker ended it without a word.
    ByBroker,
    /// CONNACK with a reason.
    Refused(u8),
    /// SUBACK with a reason.
    NotSubscribed(u8),
    /// DISCONNECT with a reason (5.0).
    Disconnected(u8),
    /// What came isn't MQTT, or doesn't belong here.
    Malformed,
    /// The socket failed.
    Failed(String),
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("left"),
            Self::ByBroker => f.write_str("closed by the broker"),
            Self::Refused(reason) => write!(f, "connection refused, reason 0x{reason:02x}"),
            Self::NotSubscribed(reason) => write!(f, "subscription refused, reason 0x{reason:02x}"),
            Self::Disconnected(reason) => write!(f, "disconnected by the broker, reason 0x{reason:02x}"),
            Self::Malformed => f.write_str("the broker sent what is not MQTT"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

/// Who is told what arrives. `id` is a connection's number, times are those of [`Network::now_ns`].
pub(crate) trait Handler {
    /// The handshake is over, the subscription granted.
    fn handle_ready(&mut self, _id: usize, _now_ns: u64) {}
    /// A message arrived; it has been acknowledged.
    fn handle_message(&mut self, _id: usize, _message: &Message, _now_ns: u64) {}
    /// A published message is done, with a reason code (from 0x80: refused).
    fn handle_done(&mut self, _id: usize, _packet_id: u16, _reason: u8, _now_ns: u64) {}
    /// The connection is no more.
    fn handle_gone(&mut self, _id: usize, _why: &Gone, _now_ns: u64) {}
}

/// One connection.
#[derive(Debug)]
struct Connection {
    /// None once the connection is closed.
    stream: Option<mio::net::TcpStream>,
    phase: Phase,
    login: Option<Box<(Login, Option<Subscription>)>>,
    /// The start of a packet whose rest is still to come.
    unread: Vec<u8>,
    unsent: Vec<u8>,
    sent: usize,
    session_present: bool,
    receive_maximum: u16,
}

/// All connections to one broker.
#[derive(Debug)]
pub(crate) struct Network {
    poll: Poll,
    events: Events,
    timer: TimerFd,
    server: SocketAddr,
    version: Version,
    connections: Vec<Connection>,
    buffer: Box<[u8]>,
    origin: Instant,
    /// How long to sleep before each look at the sockets, so that both sides work in larger batches.
    pub(crate) gather: Duration,
}

impl Network {
    /// A network without connections.
    ///
    /// # Errors
    /// When the system gives no poller.
    pub(crate) fn new(server: SocketAddr, version: Version) -> io::Result<Self> {
        let poll = Poll::new()?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        let raw = timer.as_fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&raw), TIMER, Interest::READABLE)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            timer,
            server,
            version,
            connections: Vec::new(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            origin: Instant::now(),
            gather: Duration::ZERO,
        })
    }

    /// Nanoseconds since the network was made.
    pub(crate) fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// Starts a connection and returns its number; numbers grow by one.
    ///
    /// # Errors
    /// When the system gives no socket or knows no way to the broker.
    pub(crate) fn open(&mut self, login: Login, subscription: Option<Subscription>) -> io::Result<usize> {
        let id = self.connections.len();
        let socket = Socket::new(Domain::for_address(self.server), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let nth_address = (id / CONNECTIONS_PER_ADDRESS) as u32;
        if nth_address > 0 && self.server.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
            let from = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + nth_address);
            socket.bind(&SocketAddr::from((from, 0)).into())?;
        }
        match socket.connect(&self.server.into()) {
            Err(error)
                if error.kind() != ErrorKind::WouldBlock
                    && error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) =>
            {
                return Err(error);
            }
            _ => {}
        }
        let mut stream = mio::net::TcpStream::from_std(socket.into());
        self.poll.registry().register(&mut stream, Token(id), Interest::READABLE | Interest::WRITABLE)?;
        self.connections.push(Connection {
            stream: Some(stream),
            phase: Phase::Connecting,
            login: Some(Box::new((login, subscription))),
            unread: Vec::new(),
            unsent: Vec::new(),
            sent: 0,
            session_present: false,
            receive_maximum: u16::MAX,
        });
        Ok(id)
    }

    /// How many connections were ever opened: the number of the next one.
    pub(crate) fn opened(&self) -> usize {
        self.connections.len()
    }

    /// Whether CONNACK said that the broker had a session.
    pub(crate) fn session_present(&self, id: usize) -> bool {
        self.connections[id].session_present
    }

    /// How many messages the broker takes unacknowledged.
    pub(crate) fn receive_maximum(&self, id: usize) -> u16 {
        self.connections[id].receive_maximum
    }

    /// Where packets to be sent are appended; [`Self::flush`] sends them.
    #[inline]
    pub(crate) fn outgoing(&mut self, id: usize) -> &mut Vec<u8> {
        &mut self.connections[id].unsent
    }

    /// Bytes that the socket didn't take yet.
    #[inline]
    pub(crate) fn unsent_bytes(&self, id: usize) -> usize {
        self.connections[id].unsent.len() - self.connections[id].sent
    }

    /// Sends what waits, as far as the socket takes it; the rest follows when it can.
    pub(crate) fn flush(&mut self, id: usize, handler: &mut impl Handler) {
        let connection = &mut self.connections[id];
        if connection.phase == Phase::Closed {
            connection.unsent.clear();
            return;
        }
        if let Err(error) = connection.send() {
            self.close(id, Gone::Failed(error.to_string()), handler);
        }
    }

    /// Sends DISCONNECT; the connection is gone ([`Gone::Left`]) when the broker has closed its side.
    pub(crate) fn leave(&mut self, id: usize, handler: &mut impl Handler) {
        let connection = &mut self.connections[id];
        if matches!(connection.phase, Phase::Ready) {
            connection.phase = Phase::Leaving;
            wire::write_disconnect(&mut connection.unsent);
            self.flush(id, handler);
        }
    }

    /// Waits at most `wait`, then reads what has come, tells the handler, and answers.
    ///
    /// # Errors
    /// When the poller fails, which ends the program.
    pub(crate) fn poll(&mut self, wait: Duration, handler: &mut impl Handler) -> io::Result<()> {
        if !self.gather.is_zero() && !wait.is_zero() {
            std::thread::sleep(self.gather);
        }
        // The poller counts in milliseconds, the timer in nanoseconds: fixed rates need the latter.
        if wait.is_zero() {
            self.poll.poll(&mut self.events, Some(wait))?;
        } else {
            let at = Expiration::OneShot(TimeSpec::from_duration(wait));
            self.timer.set(at, TimerSetTimeFlags::empty())?;
            match self.poll.poll(&mut self.events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
                other => other?,
            }
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(1));
        for event in &events {
            if event.token() == TIMER {
                continue;
            }
            let id = event.token().0;
            if event.is_writable() {
                self.handle_writable(id, handler);
            }
            if event.is_readable() || event.is_error() || event.is_read_closed() {
                self.handle_readable(id, event.is_read_closed() || event.is_error(), handler);
            }
        }
        self.events = events;
        Ok(())
    }

    fn handle_writable(&mut self, id: usize, handler: &mut impl Handler) {
        let version = self.version;
        let connection = &mut self.connections[id];
        let Some(stream) = &connection.stream else { return };
        if connection.phase == Phase::Connecting {
            match stream.take_error() {
                Ok(None) => {}
                Ok(Some(error)) | Err(error) => {
                    return self.close(id, Gone::Failed(error.to_string()), handler);
                }
            }
            if stream.peer_addr().is_err() {
                return;
            }
            if let Some(login) = &connection.login {
                wire::write_connect(version, &login.0, &mut connection.unsent);
            }
            connection.phase = Phase::Greeting;
        }
        if self.unsent_bytes(id) > 0 {
            self.flush(id, handler);
        }
    }

    /// Reads until the socket is empty. A read that doesn't fill the buffer has emptied it, unless the
    /// stream has ended, which only a read of nothing shows.
    fn handle_readable(&mut self, id: usize, ends: bool, handler: &mut impl Handler) {
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let connection = &mut self.connections[id];
            let Some(stream) = &mut connection.stream else { break };
            let kept = connection.unread.len();
            buffer[..kept].copy_from_slice(&connection.unread);
            connection.unread.clear();
            match stream.read(&mut buffer[kept..]) {
                Ok(0) => {
                    let left = connection.phase == Phase::Leaving;
                    self.close(id, if left { Gone::Left } else { Gone::ByBroker }, handler);
                }
                Ok(count) => {
                    let end = kept + count;
                    self.handle_bytes(id, &buffer[..end], handler);
                    if end < buffer.len() && !ends {
                        break;
                    }
                }
                Err(error) => {
                    connection.unread.extend_from_slice(&buffer[..kept]);
                    match error.kind() {
                        ErrorKind::WouldBlock => break,
                        ErrorKind::Interrupted => {}
                        _ if connection.phase == Phase::Leaving => self.close(id, Gone::Left, handler),
                        _ => self.close(id, Gone::Failed(error.to_string()), handler),
                    }
                }
            }
        }
        self.buffer = buffer;
    }

    /// Takes whole packets off what was read and keeps the rest, then sends what they asked for.
    fn handle_bytes(&mut self, id: usize, bytes: &[u8], handler: &mut impl Handler) {
        let now_ns = self.now_ns();
        let version = self.version;
        let connection = &mut self.connections[id];
        let mut rest = bytes;
        let gone = loop {
            match wire::split(rest) {
                Split::Packet(first, body, taken) => {
                    let told = match wire::read(version, first, body) {
                        Some(incoming) => connection.handle(version, id, incoming, now_ns, handler),
                        None => Err(Gone::Malformed),
                    };
                    if let Err(gone) = told {
                        break Some(gone);
                    }
                    rest = &rest[taken..];
                }
                // A packet that a buffer can't hold is none that a load asked for.
                Split::Incomplete if rest.len() >= READ_BYTES => break Some(Gone::Malformed),
                Split::Incomplete => break None,
                Split::Malformed => break Some(Gone::Malformed),
            }
        };
        match gone {
            Some(gone) => self.close(id, gone, handler),
            None => {
                connection.keep(rest);
                if !connection.unsent.is_empty() {
                    self.flush(id, handler);
                }
            }
        }
    }

    fn close(&mut self, id: usize, why: Gone, handler: &mut impl Handler) {
        let connection = &mut self.connections[id];
        if connection.phase == Phase::Closed {
            return;
        }
        connection.phase = Phase::Closed;
        connection.unread = Vec::new();
        connection.unsent = Vec::new();
        connection.sent = 0;
        // Closing the socket takes it out of the poller.
        connection.stream = None;
        handler.handle_gone(id, &why, self.origin.elapsed().as_nanos() as u64);
    }
}

impl Connection {
    /// Keeps the start of a packet; gives the memory back when there is none.
    fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.unread = Vec::new();
        } else {
            self.unread.extend_from_slice(rest);
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.sent < self.unsent.len() {
            match stream.write(&self.unsent[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.unsent.clear();
        self.unsent.shrink_to(4096);
        self.sent = 0;
        Ok(())
    }

    /// Answers one packet and tells the handler; an error ends the connection.
    #[inline]
    fn handle(
        &mut self,
        version: Version,
        id: usize,
        incoming: Incoming,
        now_ns: u64,
        handler: &mut impl Handler,
    ) -> Result<(), Gone> {
        match incoming {
            Incoming::Message(message) => {
                match message.qos {
                    0 => {}
                    1 => {
                        write_acknowledgement(Acknowledgement::Puback, message.packet_id, &mut self.unsent);
                    }
                    _ => {
                        write_acknowledgement(Acknowledgement::Pubrec, message.packet_id, &mut self.unsent);
                    }
                }
                handler.handle_message(id, &message, now_ns);
            }
            Incoming::Done { packet_id, reason } => handler.handle_done(id, packet_id, reason, now_ns),
            Incoming::Received { packet_id } => {
                write_acknowledgement(Acknowledgement::Pubrel, packet_id, &mut self.unsent);
            }
            Incoming::Released { packet_id } => {
                write_acknowledgement(Acknowledgement::Pubcomp, packet_id, &mut self.unsent);
            }
            Incoming::Connected { reason, session_present, receive_maximum } => {
                if self.phase != Phase::Greeting {
                    return Err(Gone::Malformed);
                }
                if reason != 0 {
                    return Err(Gone::Refused(reason));
                }
                self.session_present = session_present;
                self.receive_maximum = receive_maximum.max(1);
                match self.login.take().and_then(|login| login.1) {
                    Some(subscription) => {
                        wire::write_subscribe(version, &subscription, &mut self.unsent);
                        self.phase = Phase::Subscribing;
                    }
                    None => {
                        self.phase = Phase::Ready;
                        handler.handle_ready(id, now_ns);
                    }
                }
            }
            Incoming::Subscribed { reason: reason @ 0x80.. } => return Err(Gone::NotSubscribed(reason)),
            Incoming::Subscribed { .. } if self.phase == Phase::Subscribing => {
                self.phase = Phase::Ready;
                handler.handle_ready(id, now_ns);
            }
            Incoming::Disconnected { reason } => return Err(Gone::Disconnected(reason)),
            Incoming::Subscribed { .. } | Incoming::Other => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
