//! The bridge's configuration: read as written, from a file and the command line, then proved.
//!
//! Invariant: a [`Config`] holds addresses that parse, files that were read and limits that are not zero; an unknown key is
//! an error that names it.

use crate::{
    chat::Secret, driver::door::Door, driver::log, driver::voice::Users, helo, json, mchat, rest, text,
};
use katydid_sdk::{Address, Tls};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde::Deserialize;
use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio_rustls::TlsAcceptor;

/// The default configuration, with what each key does.
pub const MANUAL: &str = include_str!("../katydid-bridge.toml");

/// What is wrong with a configuration, for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem(pub String);

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Problem {}

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
            log_bytes: log::ROTATE_BYTES,
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
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

/// The configuration, proved.
pub struct Config {
    /// How users are signed in.
    pub users: Users,
    /// The `#` protocol, where it is on.
    pub text: Option<TextConfig>,
    /// mChat, where it is on.
    pub mchat: Option<MchatConfig>,
    /// The `HELO` protocol, where it is on.
    pub helo: Option<HeloConfig>,
    /// The JSON protocol, where it is on.
    pub json: Option<JsonConfig>,
    /// The REST interface, where it is on.
    pub rest: Option<RestConfig>,
}

/// The `#` protocol.
pub struct TextConfig {
    /// Its listener.
    pub door: Door,
    /// How long a connection may be silent.
    pub idle: Option<Duration>,
    /// What the operator decided.
    pub settings: text::Settings,
}

/// mChat.
pub struct MchatConfig {
    /// The listeners: for clients, and for other servers where there is a mesh.
    pub doors: Vec<Door>,
    /// How long a connection may be silent.
    pub idle: Option<Duration>,
    /// What the operator decided.
    pub settings: mchat::Settings,
    /// What is logged besides.
    pub log: Option<log::RotatingFile>,
}

/// The `HELO` protocol.
pub struct HeloConfig {
    /// The listener for clients, and behind it one a port for files.
    pub doors: Vec<Door>,
    /// How long a connection may be silent.
    pub idle: Option<Duration>,
    /// What the operator decided.
    pub settings: helo::Settings,
}

/// The JSON protocol.
pub struct JsonConfig {
    /// Its listener.
    pub door: Door,
    /// How long a connection may be silent.
    pub idle: Option<Duration>,
    /// What the operator decided.
    pub settings: json::Settings,
    /// How long private messages wait for a user who is away.
    pub wait: Duration,
}

/// The REST interface.
pub struct RestConfig {
    /// Its listener.
    pub door: Door,
    /// What the operator decided.
    pub settings: rest::Settings,
    /// How long what is new waits for a user who is away.
    pub wait: Duration,
}

impl Written {
    /// Reads a file.
    ///
    /// # Errors
    /// It can't be read, is no TOML, or has an unknown key.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let text = fs::read_to_string(path).map_err(|error| about(path, error))?;
        toml::from_str(&text).map_err(|error| about(path, error))
    }

    /// Proves it.
    ///
    /// # Errors
    /// Names the key and what is wrong with it.
    pub fn prove(self) -> Result<Config, Problem> {
        let Self { broker, text, mchat, helo, json, rest } = self;
        let address: Address = broker.address.parse().map_err(|error| problem("broker.address", error))?;
        let tls = broker.tls.then(|| Tls { roots_file: broker.tls_roots, ..Tls::default() });
        let users = Users {
            broker: address,
            tls,
            tells_address: broker.proxy_protocol,
            hears_presence: false,
            kept: None,
            exchanges_password: true,
        };
        let text = if text.listener.on { Some(prove_text(text)?) } else { None };
        let mchat = if mchat.listener.on { Some(prove_mchat(mchat)?) } else { None };
        let helo = if helo.listener.on { Some(prove_helo(helo)?) } else { None };
        let json = if json.listener.on { Some(prove_json(json)?) } else { None };
        let rest = if rest.listener.on { Some(prove_rest(rest)?) } else { None };
        Ok(Config { users, text, mchat, helo, json, rest })
    }
}

fn prove_text(written: TextWritten) -> Result<TextConfig, Problem> {
    let challenge = written.challenge_file.as_deref().map(read_passwords).transpose()?;
    let sign_in_within = duration("text.sign-in-within", &written.sign_in_within)?;
    let settings = text::Settings {
        challenge,
        sign_in_within_ms: u64::try_from(sign_in_within.as_millis()).unwrap_or(u64::MAX),
        group_secs: duration("text.group-expiry", &written.group_expiry)?.as_secs(),
        message_secs: duration("text.message-expiry", &written.message_expiry)?.as_secs(),
    };
    let (door, idle) = door("text.listener", &written.listener, 6500)?;
    Ok(TextConfig { door, idle, settings })
}

fn prove_mchat(written: MchatWritten) -> Result<MchatConfig, Problem> {
    let (clients, idle) = door("mchat.listener", &written.listener, 6061)?;
    let mut settings =
        mchat::Settings { clients: written.listener.connections, rooms: written.rooms, mesh: None };
    // Who comes when it is full is told of in the log by the server itself.
    let mut doors = vec![Door { connections: clients.connections + 16, ..clients }];
    if written.mesh.on {
        let announce = written.announce.as_deref().ok_or_else(|| {
            problem(
                "mchat.announce",
                "is needed where the mesh is on: host:port under which other servers reach this one",
            )
        })?;
        let peers: Result<Vec<_>, _> =
            written.peers.iter().map(|peer| host_port("mchat.peers", peer)).collect();
        settings.mesh = Some(mchat::MeshSettings {
            announced: host_port("mchat.announce", announce)?,
            peers: peers?,
            servers: written.servers,
            nicks: written.nicks,
        });
        doors.push(door("mchat.mesh", &written.mesh, 6062)?.0);
    } else if !written.peers.is_empty() {
        return Err(problem("mchat.peers", "need mchat.mesh.on = true"));
    }
    let open = |path: PathBuf| {
        log::RotatingFile::open(&path, written.log_bytes).map_err(|error| about(&path, error))
    };
    let log = written.log_file.map(open).transpose()?;
    Ok(MchatConfig { doors, idle, settings, log })
}

fn prove_helo(written: HeloWritten) -> Result<HeloConfig, Problem> {
    let (clients, idle) = door("helo.listener", &written.listener, 1337)?;
    let mut doors = vec![clients];
    let mut file_ports = Vec::new();
    for at in 0..written.file_ports {
        let port = written.first_file_port.checked_add(at).filter(|port| *port != 0);
        let port = port.ok_or_else(|| problem("helo.file-ports", "go beyond the last port"))?;
        let bind = SocketAddr::new(doors[0].bind.ip(), port);
        let listener = DoorWritten { bind: Some(bind.to_string()), ..written.listener.clone() };
        doors.push(door("helo.listener", &listener, port)?.0);
        file_ports.push(port);
    }
    if file_ports.is_empty() {
        return Err(problem("helo.file-ports", "must be more than 0"));
    }
    let file_ms = duration("helo.file-time", &written.file_time)?.as_millis();
    let settings = helo::Settings {
        file_ports,
        file_host: written.file_host,
        file_bytes: written.file_bytes,
        file_ms: u64::try_from(file_ms).map_err(|_| problem("helo.file-time", "is too long"))?,
    };
    Ok(HeloConfig { doors, idle, settings })
}

fn prove_json(written: JsonWritten) -> Result<JsonConfig, Problem> {
    if written.host.is_empty()
        || !written.host.chars().all(crate::names::is_plain)
        || written.host.contains('@')
    {
        return Err(problem("json.host", format!("{:?} is no name of a server", written.host)));
    }
    let ms = |key, text: &str| -> Result<u64, Problem> {
        let ms = u64::try_from(duration(key, text)?.as_millis()).unwrap_or(u64::MAX / 4);
        if ms == 0 { Err(problem(key, "must be more than 0s")) } else { Ok(ms.min(u64::MAX / 4)) }
    };
    let settings = json::Settings {
        host: written.host,
        ping_ms: ms("json.ping", &written.ping)?,
        pong_ms: ms("json.pong", &written.pong)?,
        delete_on_delivery: written.delete_on_delivery,
    };
    let (door, idle) = door("json.listener", &written.listener, 5222)?;
    Ok(JsonConfig { door, idle, settings, wait: duration("json.wait", &written.wait)? })
}

fn prove_rest(written: RestWritten) -> Result<RestConfig, Problem> {
    let poll = duration("rest.poll", &written.poll)?;
    if poll.is_zero() || poll > Duration::from_secs(600) {
        return Err(problem("rest.poll", "must be more than 0s, and 10m at most"));
    }
    let settings = rest::Settings {
        poll,
        idle: duration("rest.idle", &written.idle)?,
        token_secs: duration("rest.token-expiry", &written.token_expiry)?.as_secs(),
        origins: written.origins,
        openid: written.openid.map(prove_openid).transpose()?,
    };
    let (door, _) = door("rest.listener", &written.listener, 8080)?;
    Ok(RestConfig { door, settings, wait: duration("rest.wait", &written.wait)? })
}

fn prove_openid(written: OpenIdWritten) -> Result<rest::openid::Settings, Problem> {
    for (key, address) in [
        ("rest.openid.authorization", &written.authorization),
        ("rest.openid.token", &written.token),
        ("rest.openid.keys", &written.keys),
        ("rest.openid.redirect", &written.redirect),
    ] {
        // What travels here lets in: in clear only on this machine.
        let is_near = ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|near| {
            address.strip_prefix(near).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
        });
        if !(address.starts_with("https://") || is_near) {
            return Err(problem(key, format!("{address:?} is no https:// address")));
        }
    }
    let secret = |path: PathBuf| fs::read_to_string(&path).map_err(|error| about(&path, error));
    let client_secret = written.client_secret_file.map(secret).transpose()?;
    Ok(rest::openid::Settings {
        issuer: written.issuer,
        authorization: written.authorization,
        token: written.token,
        keys: written.keys,
        client_id: written.client_id,
        client_secret: client_secret.map(|text| Secret::new(text.trim_end())),
        redirect: written.redirect,
        identities: written.identities,
    })
}

fn door(key: &str, written: &DoorWritten, port: u16) -> Result<(Door, Option<Duration>), Problem> {
    let bind = match &written.bind {
        Some(bind) => {
            bind.parse().map_err(|_| problem(key, format!("bind = {bind:?} is not ADDRESS:PORT")))?
        }
        None => SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), port),
    };
    let tls = match (&written.tls_certificate, &written.tls_key) {
        (Some(certificate), Some(private)) => Some(acceptor(certificate, private)?),
        (None, None) => None,
        _ => return Err(problem(key, "tls-certificate and tls-key need each other")),
    };
    if written.connections == 0 || written.connections_an_address == 0 {
        return Err(problem(key, "connections and connections-an-address must be more than 0"));
    }
    let idle = duration(key, &written.idle)?;
    let connections_an_address = written.connections_an_address;
    let door = Door { bind, tls, connections: written.connections, connections_an_address };
    Ok((door, (!idle.is_zero()).then_some(idle)))
}

fn acceptor(certificate: &Path, private: &Path) -> Result<TlsAcceptor, Problem> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| about(certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(private).map_err(|error| about(private, error))?;
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(|error| about(certificate, error))?)))
}

/// Lines `user:password`; empty ones and those that begin with `#` are left out.
fn read_passwords(path: &Path) -> Result<text::Known, Problem> {
    let file = fs::read_to_string(path).map_err(|error| about(path, error))?;
    let mut known = HashMap::new();
    for (at, line) in file.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (user, password) = line
            .split_once(':')
            .ok_or_else(|| about(path, format!("line {} is not user:password", at + 1)))?;
        known.insert(user.to_owned(), Secret::new(password));
    }
    Ok(text::Known(known))
}

fn host_port(key: &str, text: &str) -> Result<(String, u16), Problem> {
    let wrong = || problem(key, format!("{text:?} is not HOST:PORT"));
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // A word of a line of the mesh.
    if host.is_empty() || host.chars().any(|character| character.is_whitespace() || character.is_control()) {
        return Err(wrong());
    }
    Ok((host.into(), port))
}

fn duration(key: &str, text: &str) -> Result<Duration, Problem> {
    humantime::parse_duration(text).map_err(|error| problem(key, format!("{text:?}: {error}")))
}

fn problem(key: &str, what: impl std::fmt::Display) -> Problem {
    Problem(format!("{key}: {what}"))
}

fn about(path: &Path, what: impl std::fmt::Display) -> Problem {
    Problem(format!("{}: {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proved(text: &str) -> Result<Config, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
        written.prove().map_err(|problem| problem.0)
    }

    #[test]
    fn the_manual_says_the_defaults_and_every_key() {
        let written: Written = toml::from_str(MANUAL).expect("the manual is a configuration");
        assert_eq!(written, Written::default());
        let keys: String =
            MANUAL.lines().map(|line| line.strip_prefix('#').unwrap_or(line).to_owned() + "\n").collect();
        for key in
            ["tls-roots", "challenge-file", "tls-certificate", "tls-key", "bind", "announce", "log-file"]
        {
            assert!(keys.contains(&format!("\n{key} = ")), "{key}");
        }
    }

    #[test]
    fn nothing_written_serves_every_protocol_at_its_port() {
        let config = proved("").expect("proved");
        assert_eq!(config.text.expect("on").door.bind, "[::]:6500".parse().expect("an address"));
        let mchat = config.mchat.expect("on");
        assert_eq!(mchat.doors.len(), 1);
        assert!(mchat.settings.mesh.is_none() && mchat.idle.is_none());
        let helo = config.helo.expect("on");
        let ports: Vec<u16> = helo.doors.iter().map(|door| door.bind.port()).collect();
        assert_eq!((ports[0], ports[1], ports.len()), (1337, 1338, 17));
        assert_eq!(helo.settings.file_ports, ports[1..]);
    }

    #[test]
    fn a_mesh_says_where_it_is_reached_and_whom_it_joins() {
        let config = proved(
            "[mchat]\nmesh.on = true\nannounce = \"chat.example.org:6062\"\npeers = [\"[::1]:6064\"]\n[text]\nlistener.on = false",
        )
        .expect("proved");
        assert!(config.text.is_none());
        let mesh = config.mchat.expect("on").settings.mesh.expect("a mesh");
        assert_eq!(mesh.announced, ("chat.example.org".into(), 6062));
        assert_eq!(mesh.peers, [("::1".into(), 6064)]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("[text]\nport = 7", "port"),
            ("[text]\nlistener.bind = \"x\"", "text.listener"),
            ("[text]\nlistener.idle = \"soon\"", "text.listener"),
            ("[text]\nlistener.connections = 0", "text.listener"),
            ("[text]\nlistener.tls-key = \"k\"", "text.listener"),
            ("[text]\nchallenge-file = \"/nowhere\"", "/nowhere"),
            ("[helo]\nfile-ports = 0", "helo.file-ports"),
            ("[helo]\nfirst-file-port = 65530", "helo.file-ports"),
            ("[helo]\nfile-time = \"long\"", "helo.file-time"),
            ("[mchat]\nmesh.on = true", "mchat.announce"),
            ("[mchat]\nmesh.on = true\nannounce = \"x:port\"", "mchat.announce"),
            ("[json]\nhost = \"a@b\"", "json.host"),
            ("[json]\nping = \"0s\"", "json.ping"),
            ("[rest]\npoll = \"1h\"", "rest.poll"),
            (
                "[rest.openid]\nissuer = \"x\"\nauthorization = \"http://localhost.evil/\"\ntoken = \"\"\nkeys = \"\"\nclient-id = \"\"\nredirect = \"\"\nidentities = \"\"",
                "rest.openid.authorization",
            ),
            ("[mchat]\npeers = [\"x:1\"]", "mchat.peers"),
        ] {
            let problem = proved(text).err().expect(text);
            assert!(problem.contains(named), "{text}: {problem}");
        }
    }
}
