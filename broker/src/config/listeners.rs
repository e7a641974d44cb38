//! Listeners: those that are there when none is written, and the proof that a written one makes sense as a whole.
//! Its invariant: what leaves here has an address, and all of TLS or nothing.

use super::{
    Bind, Listener, Tls, TransportKind,
    keys::{LISTENER, Preset},
    problem::{Origin, Problems},
    written::{Written, WrittenListener},
};
use katydid_engine::settings::ListenerSettings;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// What `bind` may be.
pub(super) const BIND_FORM: &str =
    "an address and port such as \"127.0.0.1:1883\" or \"[::]:8883\", or \"unix:\" and a path";

/// A listener that is there when no `bind` is written.
pub(super) struct DefaultListener {
    pub(super) name: &'static str,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) protocol: &'static str,
    pub(super) about: &'static str,
}

/// The listeners that are there when no `bind` is written: for this machine only, as with mosquitto, so that nothing
/// is open to others by accident.
pub(super) const DEFAULTS: [DefaultListener; 4] = [
    DefaultListener {
        name: "mqtt",
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: 1883,
        protocol: "mqtt",
        about: "MQTT, for this machine only.",
    },
    DefaultListener {
        name: "mqtt-ipv6",
        address: IpAddr::V6(Ipv6Addr::LOCALHOST),
        port: 1883,
        protocol: "mqtt",
        about: "The same on IPv6; left out where the machine has none.",
    },
    DefaultListener {
        name: "websocket",
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: 8083,
        protocol: "ws",
        about: "MQTT over WebSocket.",
    },
    DefaultListener {
        name: "websocket-ipv6",
        address: IpAddr::V6(Ipv6Addr::LOCALHOST),
        port: 8083,
        protocol: "ws",
        about: "The same on IPv6; left out where the machine has none.",
    },
];

/// A listener in the making; see the table of keys.
#[derive(Debug, Default)]
pub(super) struct ListenerDraft {
    bind: Option<Bind>,
    pub(super) web_socket: bool,
    pub(super) path: String,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) require_certificate: bool,
    pub(super) identity_as_username: bool,
    pub(super) proxy_protocol: bool,
    pub(super) max_connections: Option<usize>,
    pub(super) allow_anonymous: Option<bool>,
    pub(super) packet_bytes: Option<u32>,
}

/// Reads `bind`; see [`BIND_FORM`].
pub(super) fn set_bind(draft: &mut ListenerDraft, text: &str) -> bool {
    draft.bind = match text.strip_prefix("unix:") {
        Some(path) if path.is_empty() || path.contains('\0') => None,
        Some(path) => Some(Bind::Unix(path.into())),
        None => text.parse().ok().map(Bind::Tcp),
    };
    draft.bind.is_some()
}

/// What `-p` and `--listen-address` say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Placement {
    /// `-p`: the port of the MQTT listener.
    pub(crate) port: Option<u16>,
    /// `--listen-address`: the address of the listeners.
    pub(crate) address: Option<IpAddr>,
}

/// Puts the default listeners in when no `bind` is written, and moves listeners to where the command line says.
pub(super) fn place(written: &mut Written, placement: Placement, problems: &mut Problems) {
    let bound = written.listeners.iter().any(|listener| listener.keys.contains_key("bind"));
    let Placement { port, address } = placement;
    if !bound {
        let mut named = std::mem::take(&mut written.listeners);
        for default in &DEFAULTS {
            // With an address there is one listener for each protocol; a port is that of MQTT, and opens nothing else.
            // A free port is taken once: two addresses would get two.
            let ipv4_only = address.is_some() || port == Some(0);
            if (ipv4_only && default.address.is_ipv6()) || (port.is_some() && default.protocol != "mqtt") {
                continue;
            }
            let bind = SocketAddr::new(address.unwrap_or(default.address), port.unwrap_or(default.port));
            let given = |text: String| super::written::Given { text, origin: Origin::Default };
            let mut keys = BTreeMap::from([
                ("bind", given(bind.to_string())),
                ("protocol", given(default.protocol.into())),
            ]);
            if let Some(at) = named.iter().position(|listener| listener.name == default.name) {
                keys.extend(named.remove(at).keys);
            }
            written.listeners.push(WrittenListener {
                name: default.name.into(),
                origin: Origin::Default,
                keys,
            });
        }
        // Of these, the ones named as defaults are switched off by `-p` or an address; the others lack their bind.
        named.retain(|listener| DEFAULTS.iter().all(|default| default.name != listener.name));
        written.listeners.extend(named);
    } else if port.is_some() || address.is_some() {
        let moved = written.listeners.iter_mut().find_map(|listener| {
            let other = listener.keys.get("protocol").is_some_and(|given| given.text != "mqtt")
                || listener.keys.contains_key("tls.certificate");
            let bind = listener.keys.get_mut("bind").filter(|_| !other)?;
            let old: SocketAddr = bind.text.parse().ok()?;
            bind.text = SocketAddr::new(address.unwrap_or(old.ip()), port.unwrap_or(old.port())).to_string();
            bind.origin = Origin::CommandLine;
            Some(())
        });
        if moved.is_none() {
            problems.add(
                &Origin::CommandLine,
                "-p and --listen-address move the first listener of plain MQTT over TCP, and there is none",
            );
        }
    }
}

/// Proves one listener. `packet_bytes` is what `limits.packet-size` came to.
pub(super) fn prove(
    written: &WrittenListener,
    packet_bytes: u32,
    max_connections: usize,
    problems: &mut Problems,
) -> Option<(Listener, ListenerSettings)> {
    let before = problems.0.len();
    let mut draft = ListenerDraft::default();
    for key in LISTENER {
        let name = format!("listener.{}.{}", written.name, key.name);
        super::proof::set(key, &name, written.keys.get(key.name), &mut draft, problems);
    }
    let place = |key: &str| written.keys.get(key).map_or(&written.origin, |given| &given.origin);
    let named = |key: &str| format!("listener.{}.{key}", written.name);
    let Some(bind) = draft.bind.clone() else {
        if !written.keys.contains_key("bind") {
            problems.add(&written.origin, format!("{}: missing; allowed is {BIND_FORM}", named("bind")));
        }
        return None;
    };
    if draft.packet_bytes.is_some_and(|bytes| bytes > packet_bytes) {
        let text = format!("{}: more than limits.packet-size", named("packet-size"));
        problems.add(place("packet-size"), text);
    }
    if !draft.web_socket && written.keys.contains_key("path") {
        problems.add(place("path"), format!("{}: only with protocol = \"ws\"", named("path")));
    }
    let tls = prove_tls(&draft, &place, &named, problems);
    let local = match &bind {
        Bind::Tcp(address) => address.ip().is_loopback(),
        Bind::Unix(_) => true,
    };
    let transport = match draft.web_socket {
        true => TransportKind::WebSocket { path: draft.path },
        false => TransportKind::Plain,
    };
    let optional = matches!(&bind, Bind::Tcp(SocketAddr::V6(address)) if address.ip().is_loopback());
    (problems.0.len() == before).then(|| {
        let listener = Listener {
            name: written.name.clone(),
            bind,
            optional,
            transport,
            tls,
            proxy_protocol: draft.proxy_protocol,
            max_connections: draft.max_connections.unwrap_or(max_connections),
        };
        let settings = ListenerSettings {
            allow_anonymous: draft.allow_anonymous.unwrap_or(local),
            packet_bytes: draft.packet_bytes.unwrap_or(packet_bytes),
        };
        (listener, settings)
    })
}

/// All of TLS, or nothing; its files can be opened.
fn prove_tls<'a>(
    draft: &ListenerDraft,
    place: &dyn Fn(&str) -> &'a Origin,
    named: &dyn Fn(&str) -> String,
    problems: &mut Problems,
) -> Option<Tls> {
    let mut needs = |key: &str, other: &str| {
        problems.add(place(key), format!("{}: only together with {other}", named(key)));
    };
    match (&draft.certificate, &draft.key) {
        (Some(_), None) => needs("tls.certificate", "tls.key"),
        (None, Some(_)) => needs("tls.key", "tls.certificate"),
        (None, None) if draft.client_ca.is_some() => needs("tls.client-ca", "tls.certificate"),
        _ => {}
    }
    if draft.client_ca.is_none() {
        if draft.require_certificate {
            needs("tls.require-certificate", "tls.client-ca");
        }
        if draft.identity_as_username {
            needs("tls.identity-as-username", "tls.client-ca");
        }
    }
    for (key, file) in [
        ("tls.certificate", &draft.certificate),
        ("tls.key", &draft.key),
        ("tls.client-ca", &draft.client_ca),
    ] {
        if let Some(error) = file.as_deref().and_then(unreadable) {
            problems.add(place(key), format!("{}: {error}", named(key)));
        }
    }
    Some(Tls {
        certificate: draft.certificate.clone()?,
        key: draft.key.clone()?,
        client_ca: draft.client_ca.clone(),
        require_certificate: draft.require_certificate,
        identity_as_username: draft.identity_as_username,
    })
}

/// Why a file can't be read.
fn unreadable(path: &Path) -> Option<String> {
    match std::fs::metadata(path).and_then(|file| std::fs::File::open(path).map(|_| file.is_file())) {
        Ok(true) => None,
        Ok(false) => Some(format!("{} is not a file", path.display())),
        Err(error) => Some(format!("{} can't be read: {error}", path.display())),
    }
}

/// What holds for a key of the default listeners, for the manual.
pub(super) fn default_text(listener: &DefaultListener, key: &str) -> Option<String> {
    match key {
        "bind" => Some(SocketAddr::new(listener.address, listener.port).to_string()),
        "protocol" => Some(listener.protocol.into()),
        "path" if listener.protocol != "ws" => None,
        _ => LISTENER.iter().find(|known| known.name == key).and_then(|known| match known.preset {
            Preset::Is(text) => Some(text.to_string()),
            Preset::None { .. } => None,
        }),
    }
}
