//! Listening sockets, and who is let in.
//!
//! Every shard accepts: TCP listeners share their port (`SO_REUSEPORT`), so that the kernel spreads connections and
//! no thread hands them round. [`Admission`] counts connections in all, by listener and by address, over all shards;
//! each [`Admitted`] is one of them and gives its place back when it is dropped. Who is refused is closed at once,
//! counted, and logged once a second at most. Who comes faster than the configured rate waits in the kernel's queue.
//! Running out of file descriptors pauses accepting instead of spinning.

use mio::{
    Interest, Registry, Token,
    net::{TcpListener, UnixListener},
};
use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};
use tracing::{debug, warn};

use super::{listeners::ListenerState, transport::Socket};

/// How long accepting pauses when the process or the system has no file descriptor left, in milliseconds.
const BACKOFF_MS: u64 = 100;
/// The same warning is given this seldom, in milliseconds.
const WARNING_MS: u64 = 1000;
/// Connections accepted from one listener a tick at most, so that those that are there are served too.
const ACCEPTS_PER_TICK: usize = 64;
/// Tokens from here on up are listeners.
const FIRST_LISTENER_TOKEN: usize = usize::MAX - 0x1_0000;

/// What every shard has to know to let a connection in.
#[derive(Debug)]
pub(super) struct Admission {
    limits: Limits,
    open: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, u32>>,
    rate: Mutex<Rate>,
    counters: DoorCounters,
    refused_told: AtomicU64,
    told_ms: AtomicU64,
}

/// What happened at the doors since the start.
#[derive(Debug, Default)]
pub(super) struct DoorCounters {
    /// Connections closed because there were too many.
    pub(super) refused: AtomicU64,
    /// Pauses of accepting because of the rate.
    pub(super) delayed: AtomicU64,
    /// Connections that broke PROXY, TLS or WebSocket.
    pub(super) broken: AtomicU64,
    /// Connections whose CONNECT did not come in time.
    pub(super) late: AtomicU64,
}

#[derive(Debug)]
struct Limits {
    connections: AtomicUsize,
    per_address: AtomicUsize,
    per_second: AtomicU32,
}

/// Connections of the second that runs.
#[derive(Debug, Default)]
struct Rate {
    second: u64,
    accepted: u32,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Too many in all.
    Connections,
    /// Too many on this listener.
    Listener,
    /// Too many of this address.
    Address,
}

/// The place of one connection; dropping it makes room for another.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    listener: Option<Arc<ListenerState>>,
    address: Option<IpAddr>,
}

impl Admission {
    /// With limits in all, by address and by second; 0 is no limit.
    pub(super) fn new(connections: usize, per_address: usize, per_second: u32) -> Self {
        let limits = Limits {
            connections: AtomicUsize::new(connections),
            per_address: AtomicUsize::new(per_address),
            per_second: AtomicU32::new(per_second),
        };
        Self {
            limits,
            open: AtomicUsize::new(0),
            addresses: Mutex::default(),
            rate: Mutex::default(),
            counters: DoorCounters::default(),
            refused_told: AtomicU64::new(0),
            told_ms: AtomicU64::new(0),
        }
    }

    /// Changes the limits; connections that are there stay.
    pub(super) fn change_limits(&self, connections: usize, per_address: usize, per_second: u32) {
        self.limits.connections.store(connections, Relaxed);
        self.limits.per_address.store(per_address, Relaxed);
        self.limits.per_second.store(per_second, Relaxed);
    }

    /// What happened at the doors since the start.
    pub(super) fn counters(&self) -> &DoorCounters {
        &self.counters
    }

    /// Counts a connection that is about to be accepted, or says when the next one may be: those who knock meanwhile
    /// wait in the kernel's queue.
    fn count_in(&self, mono_ms: u64) -> Result<(), u64> {
        let limit = self.limits.per_second.load(Relaxed);
        if limit == 0 {
            return Ok(());
        }
        let taken = self.rate.lock().unwrap_or_else(PoisonError::into_inner).take(mono_ms, limit);
        self.counters.delayed.fetch_add(u64::from(taken.is_err()), Relaxed);
        taken
    }

    /// Takes [`Admission::count_in`] back: nobody was there.
    fn count_nobody(&self) {
        if self.limits.per_second.load(Relaxed) != 0 {
            let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
            rate.accepted = rate.accepted.saturating_sub(1);
        }
    }

    /// Takes a place, or says why there is none.
    pub(super) fn admit(
        self: &Arc<Self>,
        listener: &Arc<ListenerState>,
        address: Option<IpAddr>,
    ) -> Result<Admitted, Refusal> {
        if !take_one(&self.open, self.limits.connections.load(Relaxed)) {
            return Err(Refusal::Connections);
        }
        // From here on, dropping `admitted` gives back what was taken.
        let mut admitted = Admitted { admission: Arc::clone(self), listener: None, address: None };
        if !take_one(&listener.open, listener.max_connections.load(Relaxed)) {
            return Err(Refusal::Listener);
        }
        admitted.listener = Some(Arc::clone(listener));
        admitted.name_address(address)?;
        Ok(admitted)
    }

    /// Counts a refusal, and says so once a second at most.
    pub(super) fn refuse(&self, mono_ms: u64, why: Refusal, listener: &str, address: Option<IpAddr>) {
        let refused = self.counters.refused.fetch_add(1, Relaxed) + 1;
        let told_ms = self.told_ms.load(Relaxed);
        let due = told_ms == 0 || mono_ms >= told_ms + WARNING_MS;
        if due && self.told_ms.compare_exchange(told_ms, mono_ms.max(1), Relaxed, Relaxed).is_ok() {
            let since = refused - self.refused_told.swap(refused, Relaxed);
            let address = address.map(tracing::field::display);
            warn!(?why, listener, address, refused = since, "connections refused");
        }
    }

    #[cfg(test)]
    pub(super) fn unlimited() -> Arc<Self> {
        Arc::new(Self::new(0, 0, 0))
    }

    #[cfg(test)]
    pub(super) fn admit_any(self: &Arc<Self>) -> Admitted {
        self.open.fetch_add(1, Relaxed);
        Admitted { admission: Arc::clone(self), listener: None, address: None }
    }
}

/// Adds one, unless there are `limit` already; 0 is no limit.
fn take_one(count: &AtomicUsize, limit: usize) -> bool {
    let before = count.fetch_add(1, Relaxed);
    if limit != 0 && before >= limit {
        count.fetch_sub(1, Relaxed);
        return false;
    }
    true
}

impl Rate {
    fn take(&mut self, mono_ms: u64, limit: u32) -> Result<(), u64> {
        let second = mono_ms / 1000;
        if self.second != second {
            *self = Self { second, accepted: 0 };
        }
        if self.accepted >= limit {
            return Err((second + 1) * 1000);
        }
        self.accepted += 1;
        Ok(())
    }
}

impl Admitted {
    /// Tells the address, once, when it is known; one that has too many connections is refused.
    pub(super) fn name_address(&mut self, address: Option<IpAddr>) -> Result<(), Refusal> {
        let Some(address) = address else { return Ok(()) };
        debug_assert!(self.address.is_none(), "an address is told once");
        let limit = self.admission.limits.per_address.load(Relaxed);
        let mut addresses = self.admission.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_default();
        if limit != 0 && *count as usize >= limit {
            return Err(Refusal::Address);
        }
        *count += 1;
        self.address = Some(address);
        Ok(())
    }

    /// The address, where it was told.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The longest packet that is waited for before the engine is asked, in bytes.
    pub(super) fn packet_bytes(&self) -> u32 {
        self.listener.as_ref().map_or(u32::MAX, |listener| listener.packet_bytes.load(Relaxed))
    }

    /// Counts that this connection broke what lies below MQTT.
    pub(super) fn count_broken(&self) {
        self.admission.counters.broken.fetch_add(1, Relaxed);
    }

    /// Counts that this connection did not say in time who it is.
    pub(super) fn count_late(&self) {
        self.admission.counters.late.fetch_add(1, Relaxed);
    }

    /// The listener's name, for logs.
    pub(super) fn listener_name(&self) -> &str {
        self.listener.as_ref().map_or("", |listener| &listener.name)
    }

    /// Counts that this connection is refused after all.
    pub(super) fn refuse(&self, mono_ms: u64, why: Refusal, address: Option<IpAddr>) {
        self.admission.refuse(mono_ms, why, self.listener_name(), address);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Relaxed);
        if let Some(listener) = &self.listener {
            listener.open.fetch_sub(1, Relaxed);
        }
        if let Some(address) = self.address {
            let mut addresses = self.admission.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = addresses.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    addresses.remove(&address);
                }
            }
        }
    }
}

/// A listening socket, of one shard.
#[derive(Debug)]
pub(super) enum ListenSocket {
    /// TCP over IPv4 or IPv6.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

/// A socket that was accepted and let in.
#[derive(Debug)]
pub(super) struct Newcomer {
    /// The socket.
    pub(super) socket: Socket,
    /// Where it was accepted.
    pub(super) listener: Arc<ListenerState>,
    /// Its place.
    pub(super) admitted: Admitted,
}

/// The listening sockets of one shard.
#[derive(Debug)]
pub(super) struct Acceptor {
    doors: Vec<Door>,
    admission: Arc<Admission>,
    /// Accepting pauses until then.
    paused_until_ms: Option<u64>,
    /// From when on a failure is worth another warning.
    warn_again_ms: u64,
    closed: bool,
}

#[derive(Debug)]
struct Door {
    socket: ListenSocket,
    listener: Arc<ListenerState>,
    /// Whether somebody may be waiting in front of it.
    knocked: bool,
}

impl Acceptor {
    /// Registers `sockets` with a shard's poll.
    ///
    /// # Errors
    /// The poll refused.
    pub(super) fn new(
        registry: &Registry,
        sockets: Vec<(ListenSocket, Arc<ListenerState>)>,
        admission: Arc<Admission>,
    ) -> io::Result<Self> {
        let mut doors = Vec::with_capacity(sockets.len());
        for (index, (mut socket, listener)) in sockets.into_iter().enumerate() {
            let token = Token(FIRST_LISTENER_TOKEN + index);
            match &mut socket {
                ListenSocket::Tcp(socket) => registry.register(socket, token, Interest::READABLE)?,
                ListenSocket::Unix(socket) => registry.register(socket, token, Interest::READABLE)?,
            }
            doors.push(Door { socket, listener, knocked: true });
        }
        Ok(Self { doors, admission, paused_until_ms: None, warn_again_ms: 0, closed: false })
    }

    /// Takes an event, if it is for a listener.
    pub(super) fn take_event(&mut self, token: Token) -> bool {
        let Some(index) = token.0.checked_sub(FIRST_LISTENER_TOKEN) else { return false };
        if let Some(door) = self.doors.get_mut(index) {
            door.knocked = true;
        }
        true
    }

    /// Whether [`Acceptor::accept`] has something to do.
    pub(super) fn is_ready(&self) -> bool {
        self.paused_until_ms.is_none() && self.doors.iter().any(|door| door.knocked)
    }

    /// When accepting goes on.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.paused_until_ms
    }

    /// Whether nobody is let in any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Closes the listening sockets.
    pub(super) fn close(&mut self) {
        self.doors.clear();
        self.closed = true;
        self.paused_until_ms = None;
    }

    /// Accepts who waits, as many as a tick takes, into `newcomers`.
    pub(super) fn accept(&mut self, mono_ms: u64, newcomers: &mut Vec<Newcomer>) {
        if self.paused_until_ms.is_some_and(|until| mono_ms < until) {
            return;
        }
        self.paused_until_ms = None;
        for door in &mut self.doors {
            for _ in 0..ACCEPTS_PER_TICK {
                if !door.knocked {
                    break;
                }
                if let Err(until_ms) = self.admission.count_in(mono_ms) {
                    self.paused_until_ms = Some(until_ms);
                    return;
                }
                match door.accept() {
                    Ok((socket, address)) => {
                        door.let_in(mono_ms, socket, address, &self.admission, newcomers)
                    }
                    Err(error) => match error.kind() {
                        io::ErrorKind::WouldBlock => {
                            door.knocked = false;
                            self.admission.count_nobody();
                        }
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                        _ => {
                            if mono_ms >= self.warn_again_ms {
                                warn!(%error, listener = door.listener.name, "accepting pauses");
                                self.warn_again_ms = mono_ms + WARNING_MS;
                            }
                            self.paused_until_ms = Some(mono_ms + BACKOFF_MS);
                            return;
                        }
                    },
                }
            }
        }
    }
}

impl Door {
    fn accept(&self) -> io::Result<(Socket, Option<IpAddr>)> {
        match &self.socket {
            ListenSocket::Tcp(socket) => {
                let (stream, address) = socket.accept()?;
                Ok((Socket::Tcp(stream), Some(address.ip().to_canonical())))
            }
            ListenSocket::Unix(socket) => Ok((Socket::Unix(socket.accept()?.0), None)),
        }
    }

    fn let_in(
        &self,
        mono_ms: u64,
        socket: Socket,
        address: Option<IpAddr>,
        admission: &Arc<Admission>,
        newcomers: &mut Vec<Newcomer>,
    ) {
        // Behind a proxy the address is the proxy's; the client's comes with the header and is counted then.
        let counted = if self.listener.proxy_protocol { None } else { address };
        match admission.admit(&self.listener, counted) {
            Ok(admitted) => {
                debug!(
                    listener = self.listener.name,
                    address = address.map(tracing::field::display),
                    "connection accepted"
                );
                newcomers.push(Newcomer { socket, listener: Arc::clone(&self.listener), admitted });
            }
            Err(why) => admission.refuse(mono_ms, why, &self.listener.name, address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn a_place_is_given_back() {
        let admission = Arc::new(Admission::new(2, 0, 0));
        let listener = ListenerState::for_tests(0);
        let first = admission.admit(&listener, address(1)).unwrap();
        let _second = admission.admit(&listener, address(1)).unwrap();
        assert_eq!(admission.admit(&listener, address(2)).unwrap_err(), Refusal::Connections);
        drop(first);
        assert!(admission.admit(&listener, address(2)).is_ok());
    }

    #[test]
    fn an_address_has_its_own_limit() {
        let admission = Arc::new(Admission::new(0, 1, 0));
        let listener = ListenerState::for_tests(0);
        let first = admission.admit(&listener, address(1)).unwrap();
        assert_eq!(admission.admit(&listener, address(1)).unwrap_err(), Refusal::Address);
        let _other = admission.admit(&listener, address(2)).unwrap();
        let _unix = admission.admit(&listener, None).unwrap();
        drop(first);
        assert!(admission.admit(&listener, address(1)).is_ok());
        assert_eq!(admission.addresses.lock().unwrap().len(), 1, "who left is forgotten");
        assert_eq!(listener.open.load(Relaxed), 2);
    }

    #[test]
    fn a_listener_has_its_own_limit() {
        let admission = Arc::new(Admission::new(0, 0, 0));
        let listener = ListenerState::for_tests(1);
        let first = admission.admit(&listener, None).unwrap();
        assert_eq!(admission.admit(&listener, None).unwrap_err(), Refusal::Listener);
        drop(first);
        assert!(admission.admit(&listener, None).is_ok());
        assert_eq!(admission.open.load(Relaxed), 0);
    }

    #[test]
    fn a_second_takes_so_many() {
        let admission = Admission::new(0, 0, 2);
        for (mono_ms, expected) in
            [(10, Ok(())), (20, Ok(())), (30, Err(1000)), (999, Err(1000)), (1000, Ok(()))]
        {
            assert_eq!(admission.count_in(mono_ms), expected, "{mono_ms}");
        }
        admission.change_limits(0, 0, 0);
        for mono_ms in 1000..1010 {
            assert_eq!(admission.count_in(mono_ms), Ok(()));
        }
    }
}
