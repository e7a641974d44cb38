//! The configuration as written: every key with its default. Nothing here is proved.

use crate::driver::log::ROTATE_BYTES;
use serde::Deserialize;
use std::path::PathBuf;

/// The configuration as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Written {
    /// Where the broker is.
    pub broker: BrokerWritten,
    /// The `#` protocol.
    pub text: TextWritten,
    /// mChat.
    pub mchat: MchatWritten,
    /// The `HELO` protocol.
    pub helo: HeloWritten,
    /// The JSON protocol.
    pub json: JsonWritten,
    /// The REST interface.
    pub rest: RestWritten,
}

/// Where the broker is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct BrokerWritten {
    /// `host:port`, or the path of a Unix socket.
    pub address: String,
    /// Connect with TLS.
    pub tls: bool,
    /// Certificates to trust; without, those of the system.
    pub tls_roots: Option<PathBuf>,
    /// The listener expects a PROXY protocol header with the user's real address.
    pub proxy_protocol: bool,
}

impl Default for BrokerWritten {
    fn default() -> Self {
        Self { address: "127.0.0.1:1883".into(), tls: false, tls_roots: None, proxy_protocol: false }
    }
}

/// What every listener of a legacy protocol has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DoorWritten {
    /// Whether the protocol is served.
    pub on: bool,
    /// Address and port; without, every address and the protocol's port.
    pub bind: Option<String>,
    /// Certificate chain in PEM; with it the listener speaks TLS.
    pub tls_certificate: Option<PathBuf>,
    /// Its key in PEM.
    pub tls_key: Option<PathBuf>,
    /// Connections at most. Each costs about 40 KiB with its user in the broker's client library.
    pub connections: usize,
    /// Connections from one address at most.
    pub connections_an_address: usize,
    /// Connections a second from one address, or from one IPv6 network of 64 bits; ten times as many at once. Who comes
    /// faster is disconnected.
    pub connects_a_second: u32,
    /// A connection that is silent for so long is closed; `0s` is never.
    pub idle: String,
}

impl Default for DoorWritten {
    fn default() -> Self {
        Self {
            on: true,
            bind: None,
            tls_certificate: None,
            tls_key: None,
            connections: 10_000,
            connections_an_address: 5_000,
            connects_a_second: 100,
            idle: "0s".into(),
        }
    }
}

/// The `#` protocol.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TextWritten {
    /// Its listener.
    pub listener: DoorWritten,
    /// A file of lines `user:password`: whom the challenge login serves. It must hold the passwords themselves, and MD5
    /// is weak; for old clients only.
    pub challenge_file: Option<PathBuf>,
    /// How long a connection may take to sign in.
    pub sign_in_within: String,
    /// When a message group deletes itself that says nothing of it.
    pub group_expiry: String,
    /// When a message deletes itself that says nothing of it.
    pub message_expiry: String,
}

impl Default for TextWritten {
    fn default() -> Self {
        Self {
            listener: DoorWritten::default(),
            challenge_file: None,
            sign_in_within: "10m".into(),
            group_expiry: "30d".into(),
            message_expiry: "30d".into(),
        }
    }
}

/// mChat.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct MchatWritten {
    /// The listener for clients.
    pub listener: DoorWritten,
    /// The listener for other servers, off unless it says otherwise.
    pub mesh: DoorWritten,
    /// Under which other servers reach this one: `host:port`. Needed where the mesh is on.
    pub announce: Option<String>,
    /// Servers of an mChat network to join, `host:port` each.
    pub peers: Vec<String>,
    /// Servers at most.
    pub servers: usize,
    /// Rooms with clients in them at most.
    pub rooms: usize,
    /// Nicks of one server that are guests at one time, at most; each is a connection to the broker.
    pub nicks: usize,
    /// A file for what the document logs, besides the log of the process.
    pub log_file: Option<PathBuf>,
    /// Its size in bytes at which it is renamed.
    pub log_bytes: u64,
}

impl Default for MchatWritten {
    fn default() -> Self {
        Self {
            listener: DoorWritten::default(),
            mesh: DoorWritten { on: false, ..DoorWritten::default() },
            announce: None,
            peers: Vec::new(),
            servers: 1000,
            rooms: 30_000,
            nicks: 1000,
            log_file: None,
            log_bytes: ROTATE_BYTES,
        }
    }
}

/// The `HELO` protocol. Its encryption of private messages is that of its clients: RSA with PKCS#1 v1.5 and AES-128 in ECB
/// mode, between addresses that nobody proves. It keeps a message from who only listens on the line, and from nobody else;
/// what crosses to users of other protocols is read by the server, which tells both that it can be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct HeloWritten {
    /// The listener for clients.
    pub listener: DoorWritten,
    /// The first port for files; they have the address, the TLS and the limits of the listener.
    pub first_file_port: u16,
    /// How many ports for files, and so files at one time. Ten at least are wise: some don't go with the size of a file.
    pub file_ports: u16,
    /// Under which name users of other protocols reach the ports for files; without, they must know.
    pub file_host: Option<String>,
    /// Bytes of a file at most. A file is never held, neither in memory nor on disk.
    pub file_bytes: u64,
    /// How long one file may take.
    pub file_time: String,
}

impl Default for HeloWritten {
    fn default() -> Self {
        Self {
            listener: DoorWritten::default(),
            first_file_port: 1338,
            file_ports: 16,
            file_host: None,
            file_bytes: 100 << 20,
            file_time: "10m".into(),
        }
    }
}

/// The JSON protocol.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct JsonWritten {
    /// Its listener.
    pub listener: DoorWritten,
    /// What stands behind the `@` of users: the name of this server.
    pub host: String,
    /// A client that says nothing for so long is asked whether it is there.
    pub ping: String,
    /// How long it may take to say so; then it is offline.
    pub pong: String,
    /// Private messages are deleted from the server once they were delivered.
    pub delete_on_delivery: bool,
    /// How long private messages wait for a user who is away.
    pub wait: String,
}

impl Default for JsonWritten {
    fn default() -> Self {
        Self {
            listener: DoorWritten::default(),
            host: "localhost".into(),
            ping: "60s".into(),
            pong: "20s".into(),
            delete_on_delivery: true,
            wait: "30d".into(),
        }
    }
}

/// The REST interface.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RestWritten {
    /// Its listener.
    pub listener: DoorWritten,
    /// How long a poll waits at most.
    pub poll: String,
    /// Who asks for nothing for so long is signed out; what is new waits.
    pub idle: String,
    /// How long what is new waits for a user who is away.
    pub wait: String,
    /// How long a token holds; `0s` is for ever.
    pub token_expiry: String,
    /// Origins whose pages may ask, such as `https://chat.example.org`; `*` is any.
    pub origins: Vec<String>,
    /// Signing in with a provider.
    pub openid: Option<OpenIdWritten>,
}

impl Default for RestWritten {
    fn default() -> Self {
        Self {
            listener: DoorWritten::default(),
            poll: "60s".into(),
            idle: "5m".into(),
            wait: "30d".into(),
            token_expiry: "90d".into(),
            origins: Vec::new(),
            openid: None,
        }
    }
}

/// A provider of OpenID Connect. Its addresses are in its documentation, and at its `/.well-known/openid-configuration`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct OpenIdWritten {
    /// Who the provider is.
    pub issuer: String,
    /// `authorization_endpoint`: where the browser is sent.
    pub authorization: String,
    /// `token_endpoint`: where a code becomes a token.
    pub token: String,
    /// `jwks_uri`: the provider's keys.
    pub keys: String,
    /// What the provider calls this server.
    pub client_id: String,
    /// A file with what shows that; a public client has none.
    pub client_secret_file: Option<PathBuf>,
    /// `https://.../login/callback` of this interface, as browsers reach it.
    pub redirect: String,
    /// A file for which account belongs to whom. It holds the passwords of these accounts and is made where it is not.
    pub identities: PathBuf,
}
