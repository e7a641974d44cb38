//! Where peers connect: listeners with their limits, plain or with TLS.

use super::Brought;
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
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

/// A listener.
pub struct Door {
    /// Where.
    pub bind: SocketAddr,
    /// With TLS.
    pub tls: Option<TlsAcceptor>,
    /// Connections at most.
    pub connections: usize,
    /// Connections from one address at most.
    pub connections_an_address: usize,
}

/// Somebody who connected.
pub(crate) struct Arrival {
    pub(crate) stream: Stream,
    pub(crate) from: SocketAddr,
    pub(crate) seat: Option<Seat>,
}

impl Arrival {
    pub(crate) fn plain(stream: TcpStream, from: SocketAddr) -> Self {
        let _ = stream.set_nodelay(true);
        Self { stream: Box::new(stream), from, seat: None }
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
    /// Opens the door; who comes in is brought by a task of its own.
    pub(crate) async fn open(
        self,
        name: &'static str,
        at: usize,
        brought: &mpsc::Sender<Brought>,
        tasks: &mut JoinSet<()>,
    ) -> io::Result<()> {
        let listener = match TcpListener::bind(self.bind).await {
            // A machine without IPv6 still serves IPv4.
            Err(error) if self.bind.ip().is_unspecified() && error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, self.bind.port())).await?
            }
            listener => listener?,
        };
        tracing::info!(protocol = name, address = %listener.local_addr()?, "listening");
        tasks.spawn(self.accept(listener, at, brought.clone()));
        Ok(())
    }

    async fn accept(self, listener: TcpListener, door: usize, brought: mpsc::Sender<Brought>) {
        let seats = Arc::new(Mutex::new(Seats::default()));
        loop {
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let from = SocketAddr::new(from.ip().to_canonical(), from.port());
            let Some(seat) = self.seat(&seats, from.ip()) else { continue };
            let _ = stream.set_nodelay(true);
            let Some(tls) = self.tls.clone() else {
                let arrival = Arrival { stream: Box::new(stream), from, seat: Some(seat) };
                if brought.send(Brought::Arrived { door, arrival }).await.is_err() {
                    return;
                }
                continue;
            };
            let brought = brought.clone();
            tokio::spawn(async move {
                if let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                    let arrival = Arrival { stream: Box::new(stream), from, seat: Some(seat) };
                    let _ = brought.send(Brought::Arrived { door, arrival }).await;
                }
            });
        }
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
