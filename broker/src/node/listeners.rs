//! Opens the listening sockets, and what every shard knows of each listener.
//!
//! A TCP port is taken exclusively first, so that another process which has it is noticed; then it is opened to
//! sharing, and each shard gets a socket of its own. TCP_NODELAY is set on the listener: accepted sockets inherit it.

use socket2::{Domain, Protocol, Type};
use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
};

use tracing::info;

use super::{
    accept::ListenSocket,
    transport::tls::{TlsError, TlsState},
};
use crate::config::{Bind, Listener, TransportKind};

/// Linux's EAFNOSUPPORT.
const AF_NOT_SUPPORTED: i32 = 97;
/// Connections that the kernel keeps waiting.
const BACKLOG: i32 = 4096;

/// One listener, as all shards see it.
#[derive(Debug)]
pub(super) struct ListenerState {
    /// Index in the settings of the engine.
    pub(super) index: u16,
    /// Its name in logs.
    pub(super) name: String,
    /// What is spoken below MQTT.
    pub(super) transport: TransportKind,
    /// TLS, where it is on.
    pub(super) tls: Option<TlsState>,
    /// Whether a PROXY header comes first.
    pub(super) proxy_protocol: bool,
    /// The longest packet that is waited for before the engine is asked, in bytes.
    pub(super) packet_bytes: AtomicU32,
    /// Connections at most.
    pub(super) max_connections: AtomicUsize,
    /// Connections now.
    pub(super) open: AtomicUsize,
}

/// A listener that is open, with a socket for each shard that takes part.
#[derive(Debug)]
pub(super) struct Opened {
    /// What all shards know.
    pub(super) state: Arc<ListenerState>,
    /// For shard 0, 1, ...; a Unix socket has only the first.
    pub(super) sockets: Vec<ListenSocket>,
    /// What to tell the operator: kind and address. Absent where the listener is optional and has no address.
    pub(super) ready: Option<String>,
}

/// A listener that could not be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// Its address cannot be had.
    Address {
        /// Name of the listener.
        listener: String,
        /// The address.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// Its certificates cannot be used.
    Tls {
        /// Name of the listener.
        listener: String,
        /// Why.
        error: TlsError,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { listener, address, error } => {
                write!(f, "listener {listener:?} cannot listen on {address}: {error}")
            }
            Self::Tls { listener, error } => write!(f, "listener {listener:?}: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl ListenerState {
    fn new(index: u16, listener: &Listener, packet_bytes: u32) -> Result<Self, TlsError> {
        let tls = listener.tls.as_ref().map(TlsState::load).transpose()?;
        Ok(Self {
            index,
            tls,
            name: listener.name.clone(),
            transport: listener.transport.clone(),
            proxy_protocol: listener.proxy_protocol,
            packet_bytes: AtomicU32::new(packet_bytes),
            max_connections: AtomicUsize::new(listener.max_connections),
            open: AtomicUsize::new(0),
        })
    }

    /// Takes the limits and the certificates of a configuration that was read again, for connections from now on.
    ///
    /// # Errors
    /// The certificates cannot be used; the old ones stay.
    pub(super) fn reload(&self, listener: &Listener, packet_bytes: u32) -> Result<(), TlsError> {
        self.packet_bytes.store(packet_bytes, Relaxed);
        self.max_connections.store(listener.max_connections, Relaxed);
        match (&self.tls, &listener.tls) {
            (Some(state), Some(files)) => state.reload(files),
            _ => Ok(()),
        }
    }

    #[cfg(test)]
    pub(super) fn for_tests(max_connections: usize) -> Arc<Self> {
        Arc::new(Self {
            index: 0,
            name: "test".into(),
            transport: TransportKind::Plain,
            tls: None,
            proxy_protocol: false,
            packet_bytes: AtomicU32::new(u32::MAX),
            max_connections: AtomicUsize::new(max_connections),
            open: AtomicUsize::new(0),
        })
    }
}

/// Opens all of `listeners`, in order, for so many shards. `packet_bytes` gives a listener's longest packet.
///
/// # Errors
/// The first that cannot be opened.
pub(super) fn open_all(
    listeners: &[Listener],
    shards: usize,
    packet_bytes: impl Fn(usize) -> u32,
) -> Result<Vec<Opened>, OpenError> {
    let mut all = Vec::with_capacity(listeners.len());
    for (index, listener) in listeners.iter().enumerate() {
        let state = ListenerState::new(index as u16, listener, packet_bytes(index))
            .map_err(|error| OpenError::Tls { listener: listener.name.clone(), error })?;
        let opened = match &listener.bind {
            Bind::Tcp(address) => {
                let v6_only = address.is_ipv6() && has_v4_twin(listeners, *address);
                open_tcp(*address, v6_only, shards)
                    .map(|(sockets, bound)| (sockets, bound.to_string()))
                    .map_err(|error| (address.to_string(), error))
            }
            Bind::Unix(path) => open_unix(path)
                .map(|socket| (vec![socket], path.display().to_string()))
                .map_err(|error| (path.display().to_string(), error)),
        };
        let (sockets, address) = match opened {
            Ok(opened) => opened,
            Err((address, error)) if listener.optional && is_no_address(&error) => {
                info!(listener = listener.name, address, "this machine has no such address");
                (Vec::new(), String::new())
            }
            Err((address, error)) => {
                return Err(OpenError::Address { listener: listener.name.clone(), address, error });
            }
        };
        let ready = (!sockets.is_empty()).then(|| format!("{} {address}", kind(listener)));
        all.push(Opened { state: Arc::new(state), sockets, ready });
    }
    Ok(all)
}

/// Whether the machine lacks the address or its whole family.
fn is_no_address(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no kind of its own.
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(AF_NOT_SUPPORTED)
}

/// The kind of a listener, as it is told when it is ready.
fn kind(listener: &Listener) -> &'static str {
    match (&listener.bind, &listener.transport, listener.tls.is_some()) {
        (Bind::Unix(_), _, _) => "unix",
        (Bind::Tcp(_), TransportKind::Plain, false) => "mqtt",
        (Bind::Tcp(_), TransportKind::Plain, true) => "mqtts",
        (Bind::Tcp(_), TransportKind::WebSocket { .. }, false) => "ws",
        (Bind::Tcp(_), TransportKind::WebSocket { .. }, true) => "wss",
    }
}

/// Whether another listener has the same port for IPv4, so that this one must leave IPv4 alone.
fn has_v4_twin(listeners: &[Listener], address: SocketAddr) -> bool {
    listeners.iter().any(|listener| {
        matches!(&listener.bind, Bind::Tcp(other)
            if other.is_ipv4() && other.port() == address.port() && address.port() != 0)
    })
}

fn open_tcp(
    address: SocketAddr,
    v6_only: bool,
    shards: usize,
) -> io::Result<(Vec<ListenSocket>, SocketAddr)> {
    let open = || {
        let socket = socket2::Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_tcp_nodelay(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(v6_only)?;
        }
        Ok::<_, io::Error>(socket)
    };
    let mut sockets = Vec::with_capacity(shards);
    let mut bound = address;
    for shard in 0..shards {
        let socket = open()?;
        if shard == 0 {
            socket.bind(&address.into())?;
            let actual = socket.local_addr()?.as_socket();
            bound = actual.ok_or_else(|| io::Error::other("the socket has no address"))?;
            socket.set_reuse_port(true)?;
        } else {
            socket.set_reuse_port(true)?;
            socket.bind(&bound.into())?;
        }
        socket.listen(BACKLOG)?;
        let listener = std::net::TcpListener::from(socket);
        sockets.push(ListenSocket::Tcp(mio::net::TcpListener::from_std(listener)));
    }
    Ok((sockets, bound))
}

/// Opens a Unix socket that only this user of the system can use, at any moment: it gets its name when it has its mode. One that
/// has the name already is replaced; whoever calls knows that nobody serves it.
///
/// # Errors
/// The socket could not be made.
pub(super) fn open_private(
    index: usize,
    listener: &Listener,
    path: &Path,
    packet_bytes: u32,
) -> io::Result<Opened> {
    let state = ListenerState::new(index as u16, listener, packet_bytes).map_err(io::Error::other)?;
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let socket = mio::net::UnixListener::bind(&beside)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
    fs::rename(&beside, path)?;
    Ok(Opened { state: Arc::new(state), sockets: vec![ListenSocket::Unix(socket)], ready: None })
}

fn open_unix(path: &Path) -> io::Result<ListenSocket> {
    // What a broker that was killed left behind would be in the way; anything but a socket is not ours.
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
        && std::os::unix::net::UnixStream::connect(path).is_err()
    {
        fs::remove_file(path)?;
    }
    Ok(ListenSocket::Unix(mio::net::UnixListener::bind(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(bind: Bind) -> Listener {
        Listener {
            name: "test".into(),
            bind,
            optional: false,
            transport: TransportKind::Plain,
            tls: None,
            proxy_protocol: false,
            max_connections: 0,
        }
    }

    #[test]
    fn a_port_is_shared_by_shards_and_by_nobody_else() {
        let any = "127.0.0.1:0".parse().unwrap();
        let (sockets, bound) = open_tcp(any, false, 3).unwrap();
        assert_eq!(sockets.len(), 3);
        assert_ne!(bound.port(), 0);
        let error = open_tcp(bound, false, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn accepted_sockets_do_not_delay() {
        let (sockets, bound) = open_tcp("127.0.0.1:0".parse().unwrap(), false, 1).unwrap();
        let _client = std::net::TcpStream::connect(bound).unwrap();
        let ListenSocket::Tcp(socket) = &sockets[0] else { panic!("a TCP socket was asked for") };
        let accepted = socket.accept().unwrap().0;
        assert!(accepted.nodelay().unwrap());
    }

    #[test]
    fn both_families_share_a_port() {
        let (held, v4) = open_tcp("0.0.0.0:0".parse().unwrap(), false, 1).unwrap();
        drop(held);
        let v6 = SocketAddr::new("::".parse().unwrap(), v4.port());
        let listeners = [listener(Bind::Tcp(v4)), listener(Bind::Tcp(v6))];
        match open_all(&listeners, 2, |_| 1) {
            Ok(opened) => assert_eq!(opened[1].ready, Some(format!("mqtt [::]:{}", v4.port()))),
            // A machine without IPv6 has nothing to share.
            Err(error) => assert!(error.to_string().contains(&v6.to_string())),
        }
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let first = open_unix(&path).unwrap();
        assert_eq!(open_unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(path.exists(), "it is stale now");
        assert!(open_unix(&path).is_ok());
        let file = folder.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert!(open_unix(&file).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }
}
