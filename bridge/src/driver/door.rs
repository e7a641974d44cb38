//! Where peers connect: listeners with their limits, plain or with TLS.
//!
//! A [`Door`] is where to listen and how, an [`OpenDoor`] has its ports, and lets in from when it is served. Who comes too
//! often, or is one too many, is disconnected at once and costs nothing further.

mod pace;

use super::Brought;
use pace::Pace;
use socket2::{SockRef, TcpKeepalive};
use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as Bound},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// How long a handshake of TLS may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after an accept that failed, such as for lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection, whatever carries it.
pub(crate) trait Carrier: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Carrier for T {}
pub(crate) type Stream = Box<dyn Carrier>;

/// How long a connection is silent before the system asks whether the other side is there, and how often.
const ALIVE: Duration = Duration::from_secs(120);
const ALIVE_INTERVAL: Duration = Duration::from_secs(30);

/// The same warning is given this seldom.
const WARNING: Duration = Duration::from_secs(1);

/// Linux's EAFNOSUPPORT, for which there is no kind of error.
const AF_NOT_SUPPORTED: i32 = 97;

/// A listener.
#[derive(Clone)]
pub struct Door {
    /// For logs and for who asks what listens where: the protocol, and what of it.
    pub name: &'static str,
    /// Where; the second and further ones only if the machine has such an address. Port 0 is any that is free.
    pub binds: Vec<SocketAddr>,
    /// With TLS.
    pub tls: Option<TlsAcceptor>,
    /// Connections at most.
    pub connections: usize,
    /// Connections from one address at most.
    pub connections_an_address: usize,
    /// Connections a second from one address; ten times as many at once.
    pub connects_a_second: u32,
    /// How long a connection may be silent; `None` is for ever.
    pub idle: Option<Duration>,
}

/// A port that could not be had.
#[derive(Debug)]
pub struct OpenError {
    /// The [`Door`]'s name.
    pub door: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// Why.
    pub error: io::Error,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { door, address, error } = self;
        write!(f, "listener {door:?} of the bridge cannot listen on {address}: {error}")
    }
}

impl std::error::Error for OpenError {}

/// Somebody who connected.
pub(crate) struct Arrival {
    pub(crate) stream: Stream,
    pub(crate) from: SocketAddr,
    pub(crate) seat: Option<Seat>,
    /// How long it may be silent.
    pub(crate) idle: Option<Duration>,
}

impl Arrival {
    pub(crate) fn plain(stream: TcpStream, from: SocketAddr) -> Self {
        prepare(&stream);
        Self { stream: Box::new(stream), from, seat: None, idle: None }
    }
}

impl std::fmt::Debug for Arrival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arrival").field("from", &self.from).finish_non_exhaustive()
    }
}

/// Who is connected, by address.
#[derive(Debug, Default)]
struct Seats {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection that counts; free again when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Mutex<Seats>>,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.all -= 1;
        if let Some(count) = seats.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                seats.by_address.remove(&self.address);
            }
        }
    }
}

impl Door {
    /// Takes the ports. Nobody is let in before the door is served.
    ///
    /// # Errors
    /// One of them is taken, or the machine has no such address.
    pub fn open(self) -> Result<OpenDoor, OpenError> {
        let mut bound: Vec<(Bound, SocketAddr)> = Vec::with_capacity(self.binds.len());
        for bind in &self.binds {
            let mut address = *bind;
            if let (0, Some((_, first))) = (address.port(), bound.first()) {
                address.set_port(first.port());
            }
            match take_port(address) {
                Ok(taken) => bound.push(taken),
                Err(error) if !bound.is_empty() && is_no_address(&error) => {
                    tracing::info!(listener = self.name, %address, "this machine has no such address");
                }
                Err(error) => return Err(OpenError { door: self.name, address, error }),
            }
        }
        Ok(OpenDoor { bound, door: self })
    }

    fn seat(&self, seats: &Arc<Mutex<Seats>>, address: IpAddr) -> Option<Seat> {
        let mut held = seats.lock().unwrap_or_else(PoisonError::into_inner);
        if held.all >= self.connections {
            return None;
        }
        let count = held.by_address.entry(address).or_default();
        if *count >= self.connections_an_address {
            return None;
        }
        *count += 1;
        held.all += 1;
        Some(Seat { seats: seats.clone(), address })
    }
}

/// Lines leave at once, and who has vanished without a word is noticed.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let alive = TcpKeepalive::new().with_time(ALIVE).with_interval(ALIVE_INTERVAL);
    let _ = SockRef::from(stream).set_tcp_keepalive(&alive);
}

fn take_port(address: SocketAddr) -> io::Result<(Bound, SocketAddr)> {
    let listener = match Bound::bind(address) {
        // A machine without IPv6 still serves IPv4.
        Err(error) if address.ip().is_unspecified() && is_no_address(&error) => {
            Bound::bind((Ipv4Addr::UNSPECIFIED, address.port()))?
        }
        listener => listener?,
    };
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Whether the machine lacks the address or its whole family.
fn is_no_address(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(AF_NOT_SUPPORTED)
}

/// A listener that has its ports.
pub struct OpenDoor {
    bound: Vec<(Bound, SocketAddr)>,
    door: Door,
}

impl OpenDoor {
    /// The name, and whether it speaks TLS.
    pub(crate) fn name(&self) -> (&'static str, bool) {
        (self.door.name, self.door.tls.is_some())
    }

    /// Where it listens.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.bound.iter().map(|(_, address)| *address)
    }

    /// Lets in from now on; who comes is brought by tasks of their own.
    ///
    /// # Errors
    /// The runtime refused.
    pub(crate) fn serve(
        self,
        at: usize,
        brought: &mpsc::Sender<Brought>,
        tasks: &mut JoinSet<()>,
    ) -> io::Result<()> {
        let entrance = Arc::new(Entrance {
            seats: Arc::default(),
            pace: Mutex::new(Pace::new(self.door.connects_a_second)),
            start: Instant::now(),
            refused: Mutex::default(),
            door: self.door,
            at,
        });
        for (listener, address) in self.bound {
            let listener = TcpListener::from_std(listener)?;
            tracing::debug!(listener = entrance.door.name, %address, "listening");
            tasks.spawn(entrance.clone().accept(listener, brought.clone()));
        }
        Ok(())
    }
}

/// A door that lets in, on all its addresses.
struct Entrance {
    door: Door,
    at: usize,
    seats: Arc<Mutex<Seats>>,
    pace: Mutex<Pace>,
    start: Instant,
    refused: Mutex<Refused>,
}

/// Who was refused since the last warning.
#[derive(Default)]
struct Refused {
    count: u64,
    told: Option<Instant>,
}

impl Entrance {
    async fn accept(self: Arc<Self>, listener: TcpListener, brought: mpsc::Sender<Brought>) {
        loop {
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, listener = self.door.name, "accept failed");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let from = SocketAddr::new(from.ip().to_canonical(), from.port());
            let Some(seat) = self.let_in(from.ip()) else { continue };
            prepare(&stream);
            let (door, idle) = (self.at, self.door.idle);
            let Some(tls) = self.door.tls.clone() else {
                let arrival = Arrival { stream: Box::new(stream), from, seat: Some(seat), idle };
                if brought.send(Brought::Arrived { door, arrival }).await.is_err() {
                    return;
                }
                continue;
            };
            let brought = brought.clone();
            tokio::spawn(async move {
                if let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                    let arrival = Arrival { stream: Box::new(stream), from, seat: Some(seat), idle };
                    let _ = brought.send(Brought::Arrived { door, arrival }).await;
                }
            });
        }
    }

    fn let_in(&self, address: IpAddr) -> Option<Seat> {
        let now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let is_slow = self.pace.lock().unwrap_or_else(PoisonError::into_inner).take(now_ms, address);
        let seat = if is_slow { self.door.seat(&self.seats, address) } else { None };
        if seat.is_none() {
            self.refuse(address, if is_slow { "too many connections" } else { "too many connects a second" });
        }
        seat
    }

    /// Counts a refusal, and says so once a second at most.
    fn refuse(&self, address: IpAddr, why: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.count += 1;
        if refused.told.is_none_or(|told| told.elapsed() >= WARNING) {
            let (listener, count) = (self.door.name, std::mem::take(&mut refused.count));
            tracing::warn!(listener, %address, refused = count, "{why}: disconnected");
            refused.told = Some(Instant::now());
        }
    }
}
