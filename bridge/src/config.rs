//! The bridge's configuration: read as written, from a file and the command line, then proved.
//!
//! Invariant: a [`Config`] holds addresses that parse, files that were read and limits that are not zero; an unknown key is
//! an error that names it. [`draft`] lets a program that has a configuration of its own take the same keys.

pub mod draft;
#[cfg(test)]
mod tests;
mod written;

pub use written::{
    BrokerWritten, DoorWritten, HeloWritten, JsonWritten, MchatWritten, OpenIdWritten, RestWritten,
    TextWritten, Written,
};

use crate::{chat::Secret, driver::door::Door, driver::voice::Users, helo, json, mchat, rest, text};
use katydid_sdk::{Address, Tls};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio_rustls::TlsAcceptor;

/// The default configuration, with what each key does.
pub const MANUAL: &str = include_str!("../katydid-bridge.toml");

/// What is wrong with a configuration, for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key with its section, such as `text.listener.bind`, where it is one key's fault.
    pub key: Option<String>,
    /// What is wrong with it.
    pub what: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for Problem {}

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
    /// What the operator decided.
    pub settings: text::Settings,
}

/// mChat.
pub struct MchatConfig {
    /// The listeners: for clients, and for other servers where there is a mesh.
    pub doors: Vec<Door>,
    /// What the operator decided.
    pub settings: mchat::Settings,
    /// The file for what is logged besides, and its size in bytes at which it is renamed.
    pub log: Option<(PathBuf, u64)>,
}

/// The `HELO` protocol.
pub struct HeloConfig {
    /// The listener for clients, and behind it one a port for files.
    pub doors: Vec<Door>,
    /// What the operator decided.
    pub settings: helo::Settings,
}

/// The JSON protocol.
pub struct JsonConfig {
    /// Its listener.
    pub door: Door,
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

    /// Proves it. Listeners without a `bind` are open to everybody.
    ///
    /// # Errors
    /// Names the key and what is wrong with it.
    pub fn prove(self) -> Result<Config, Problem> {
        self.prove_at(&[Ipv6Addr::UNSPECIFIED.into()])
    }

    /// As [`Written::prove`], told at which addresses listeners without a `bind` are.
    ///
    /// # Errors
    /// Names the key and what is wrong with it.
    pub fn prove_at(self, addresses: &[IpAddr]) -> Result<Config, Problem> {
        let Self { broker, text, mchat, helo, json, rest } = self;
        let address: Address = broker.address.parse().map_err(|error| problem("broker.address", error))?;
        let at = Place(addresses);
        let tls = broker.tls.then(|| Tls { roots_file: broker.tls_roots, ..Tls::default() });
        let users = Users {
            broker: address,
            tls,
            tells_address: broker.proxy_protocol,
            hears_presence: false,
            kept: None,
            exchanges_password: true,
        };
        let text = if text.listener.on { Some(prove_text(text, at)?) } else { None };
        let mchat = if mchat.listener.on { Some(prove_mchat(mchat, at)?) } else { None };
        let helo = if helo.listener.on { Some(prove_helo(helo, at)?) } else { None };
        let json = if json.listener.on { Some(prove_json(json, at)?) } else { None };
        let rest = if rest.listener.on { Some(prove_rest(rest, at)?) } else { None };
        Ok(Config { users, text, mchat, helo, json, rest })
    }
}

impl Config {
    /// Every listener.
    pub fn doors(&self) -> impl Iterator<Item = &Door> {
        let several = self.mchat.iter().flat_map(|mchat| &mchat.doors);
        let several = several.chain(self.helo.iter().flat_map(|helo| &helo.doors));
        let single = self.text.iter().map(|text| &text.door).chain(self.json.iter().map(|json| &json.door));
        single.chain(several).chain(self.rest.iter().map(|rest| &rest.door))
    }
}

/// Where listeners are that have no `bind`.
#[derive(Clone, Copy)]
struct Place<'a>(&'a [IpAddr]);

fn prove_text(written: TextWritten, at: Place<'_>) -> Result<TextConfig, Problem> {
    let passwords = |path: &Path| read_passwords(path).map_err(|error| problem("text.challenge-file", error));
    let challenge = written.challenge_file.as_deref().map(passwords).transpose()?;
    let sign_in_within = duration("text.sign-in-within", &written.sign_in_within)?;
    let settings = text::Settings {
        challenge,
        sign_in_within_ms: u64::try_from(sign_in_within.as_millis()).unwrap_or(u64::MAX),
        group_secs: duration("text.group-expiry", &written.group_expiry)?.as_secs(),
        message_secs: duration("text.message-expiry", &written.message_expiry)?.as_secs(),
    };
    let door = door("text", "text.listener", &written.listener, (at, 6500))?;
    Ok(TextConfig { door, settings })
}

fn prove_mchat(written: MchatWritten, at: Place<'_>) -> Result<MchatConfig, Problem> {
    let clients = door("mchat", "mchat.listener", &written.listener, (at, 6061))?;
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
        doors.push(door("mchat-mesh", "mchat.mesh", &written.mesh, (at, 6062))?);
    } else if !written.peers.is_empty() {
        return Err(problem("mchat.peers", "need mchat.mesh.on = true"));
    }
    let log = written.log_file.map(|path| (path, written.log_bytes));
    Ok(MchatConfig { doors, settings, log })
}

fn prove_helo(written: HeloWritten, at: Place<'_>) -> Result<HeloConfig, Problem> {
    let clients = door("helo", "helo.listener", &written.listener, (at, 1337))?;
    let mut file_ports = Vec::new();
    let mut doors = Vec::new();
    for index in 0..written.file_ports {
        let port = match written.first_file_port {
            // Any that is free, which is known when it is open.
            0 => 0,
            first => first
                .checked_add(index)
                .ok_or_else(|| problem("helo.file-ports", "go beyond the last port"))?,
        };
        let binds = clients.binds.iter().map(|bind| SocketAddr::new(bind.ip(), port)).collect();
        doors.push(Door { name: "helo-files", binds, ..clients.clone() });
        file_ports.push(port);
    }
    doors.insert(0, clients);
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
    Ok(HeloConfig { doors, settings })
}

fn prove_json(written: JsonWritten, at: Place<'_>) -> Result<JsonConfig, Problem> {
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
    let door = door("json", "json.listener", &written.listener, (at, 5222))?;
    Ok(JsonConfig { door, settings, wait: duration("json.wait", &written.wait)? })
}

fn prove_rest(written: RestWritten, at: Place<'_>) -> Result<RestConfig, Problem> {
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
    let door = door("rest", "rest.listener", &written.listener, (at, 8080))?;
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
    for (key, text) in [
        ("rest.openid.issuer", &*written.issuer),
        ("rest.openid.client-id", &*written.client_id),
        ("rest.openid.identities", &*written.identities.to_string_lossy()),
    ] {
        if text.is_empty() {
            return Err(problem(key, "is needed where users sign in with a provider"));
        }
    }
    let secret = |path: PathBuf| {
        let unreadable = |error| problem("rest.openid.client-secret-file", about(&path, error));
        fs::read_to_string(&path).map_err(unreadable)
    };
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

/// A listener by its name in logs, its section, and the addresses and port that it has without a `bind`.
fn door(
    name: &'static str,
    section: &str,
    written: &DoorWritten,
    (at, port): (Place<'_>, u16),
) -> Result<Door, Problem> {
    let key = |key: &str| format!("{section}.{key}");
    let binds = match &written.bind {
        Some(bind) => {
            let wrong = |_| problem(key("bind"), format!("{bind:?} is not ADDRESS:PORT"));
            vec![bind.parse().map_err(wrong)?]
        }
        None => at.0.iter().map(|address| SocketAddr::new(*address, port)).collect(),
    };
    let tls = match (&written.tls_certificate, &written.tls_key) {
        (Some(certificate), Some(private)) => {
            let wrong = |error| problem(key("tls-certificate"), error);
            Some(acceptor(certificate, private).map_err(wrong)?)
        }
        (None, None) => None,
        (Some(_), None) => return Err(problem(key("tls-certificate"), "needs tls-key, too")),
        (None, Some(_)) => return Err(problem(key("tls-key"), "needs tls-certificate, too")),
    };
    for (name, limit) in [
        ("connections", written.connections),
        ("connections-an-address", written.connections_an_address),
        ("connects-a-second", written.connects_a_second as usize),
    ] {
        if limit == 0 {
            return Err(problem(key(name), "must be more than 0"));
        }
    }
    let idle = duration(&key("idle"), &written.idle)?;
    Ok(Door {
        name,
        binds,
        tls,
        connections: written.connections,
        connections_an_address: written.connections_an_address,
        connects_a_second: written.connects_a_second,
        idle: (!idle.is_zero()).then_some(idle),
    })
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

fn problem(key: impl Into<String>, what: impl std::fmt::Display) -> Problem {
    Problem { key: Some(key.into()), what: what.to_string() }
}

fn about(path: &Path, what: impl std::fmt::Display) -> Problem {
    Problem { key: None, what: format!("{}: {what}", path.display()) }
}
