//! How a client connects: where, as whom, and with which limits.
//!
//! Invariant: secrets show themselves nowhere: not in `Debug`, not in errors.

use crate::{Refusal, Replay};
use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

/// A password or a token. Overwritten when dropped, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps it.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0).into_bytes();
        bytes.fill(0);
        // Keeps the writes from being optimised away.
        std::hint::black_box(&bytes);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where the broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// TCP: a host's name or address, and a port.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// A Unix domain socket.
    Unix(PathBuf),
}

/// `host:port`, `[v6]:port`, `host` (port 1883), or a path that begins with `/` or `unix:`.
impl FromStr for Address {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self::Tcp { host: address.ip().to_string(), port: address.port() });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => {
                let port = port.parse().map_err(|_| Refusal::argument(format!("{port:?} is no port")))?;
                (host, port)
            }
            // An IPv6 address without a port.
            _ => (text.trim_start_matches('[').trim_end_matches(']'), 1883),
        };
        if host.is_empty() {
            return Err(Refusal::argument("the address has no host"));
        }
        Ok(Self::Tcp { host: host.into(), port })
    }
}

/// TLS to a TCP address.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Certificates to trust, PEM; `None` trusts the system's.
    pub roots_file: Option<PathBuf>,
    /// The client's certificate chain and its key, PEM.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The name that the broker's certificate must have; `None` is the host.
    pub server_name: Option<String>,
    /// A ready configuration instead of the above; many clients can share it.
    pub config: Option<Arc<rustls::ClientConfig>>,
}

/// What is shown for the name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Proof {
    /// No name and no proof: the broker gives a name.
    #[default]
    Guest,
    /// A name without proof; `exclusive` refuses one that anybody has, also at the same address.
    Anonymous {
        /// Whether the name must be free.
        exclusive: bool,
    },
    /// The account's password.
    Password(Secret),
    /// A token in place of the password.
    Token(Secret),
}

/// How a client connects.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the broker is.
    pub address: Address,
    /// TLS; `None` is plain.
    pub tls: Option<Tls>,
    /// The name; empty for a guest.
    pub user: String,
    /// What is shown for it.
    pub proof: Proof,
    /// The session's client id; empty lets the broker choose, and then nothing survives a lost connection at the broker.
    pub client_id: String,
    /// How long the broker keeps the session after the connection is lost. Zero: each connection is a new session, and the
    /// sdk asks for what was missed by number.
    pub session_expiry: Duration,
    /// Whether to go on with a session that the broker has from an earlier run (needs `client_id` and `session_expiry`).
    pub resume: bool,
    /// Where the user really is, told in a PROXY protocol header (version 2) before anything else. Only for a listener
    /// of the broker that has `proxy-protocol = true`.
    pub real_address: Option<SocketAddr>,
    /// After a sign-in with a password, ask for a revocable token, sign in with that after lost connections, and forget
    /// the password. It serves for 30 days, and is revoked by [`crate::Client::close`]. Where the broker gives none, the
    /// password is kept.
    pub use_token: bool,
    /// How often a silent connection is checked; at least 5 s.
    pub keep_alive: Duration,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long a request waits for its answer.
    pub request_timeout: Duration,
    /// The largest packet taken from the broker, in bytes; pages of history are cut to it. At most so much is buffered.
    pub packet_bytes_max: u32,
    /// How many events wait for who takes them from [`crate::Events`]; beyond, the broker is held back.
    pub events: usize,
    /// Subscribe to what happens to the user: private messages and events. Off for tools that only ask.
    pub personal: bool,
    /// Where the private messages and events of a session that is new begin.
    pub personal_replay: Replay,
    /// See what the user sends privately from other devices, as messages from oneself.
    pub own_private: bool,
    /// The longest pause between attempts to connect again.
    pub retry_max: Duration,
}

impl Options {
    /// A guest at an address, with defaults: no session kept, 60 s keep alive, 256 KiB packets, 64 events.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            tls: None,
            user: String::new(),
            proof: Proof::Guest,
            client_id: String::new(),
            session_expiry: Duration::ZERO,
            resume: false,
            real_address: None,
            use_token: false,
            keep_alive: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            packet_bytes_max: 256 * 1024,
            events: 64,
            personal: true,
            personal_replay: Replay::Default,
            own_private: false,
            retry_max: Duration::from_secs(30),
        }
    }

    /// An anonymous user.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.user = name.into();
        if self.proof == Proof::Guest {
            self.proof = Proof::Anonymous { exclusive: false };
        }
        self
    }

    /// What is shown for the name.
    #[must_use]
    pub fn proof(mut self, proof: Proof) -> Self {
        self.proof = proof;
        self
    }

    /// A password for the name.
    #[must_use]
    pub fn password(self, password: impl Into<String>) -> Self {
        self.proof(Proof::Password(Secret::new(password)))
    }

    /// A session that the broker keeps so long after a lost connection.
    #[must_use]
    pub fn session(mut self, client_id: impl Into<String>, expiry: Duration) -> Self {
        self.client_id = client_id.into();
        self.session_expiry = expiry;
        self
    }

    /// TLS.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }
}
