//! The part of the table that each listener has of its own.

use super::{
    Change::{Reload, Restart},
    Key, MAX_PACKET,
    Preset::{self, Is},
    key,
};
use crate::config::{
    kind::Kind::{Choice, Count, Path, Size, Switch, Text},
    listeners::{self, ListenerDraft},
};

/// The keys of one listener besides its name.
pub(in crate::config) static LISTENER: &[Key<ListenerDraft>] = &[
    key(
        "bind",
        Preset::None { example: "0.0.0.0:1883" },
        Text { form: listeners::BIND_FORM, set: listeners::set_bind },
        Restart,
        "Where it listens: \"127.0.0.1:1883\" for this machine only, \"0.0.0.0:1883\" for IPv4, \"[::]:1883\" for IPv6 \
         and IPv4, \"unix:/run/katydid.sock\" for a Unix socket. Port 0 takes a free one.",
    ),
    key(
        "protocol",
        Is("mqtt"),
        Choice { words: &["mqtt", "ws"], set: |l, v| l.web_socket = v == 1 },
        Restart,
        "MQTT directly, or over WebSocket.",
    ),
    key(
        "path",
        Is("/mqtt"),
        Text {
            form: "a path that begins with / and has no ? or #",
            set: |l, v| {
                l.path = v.into();
                v.starts_with('/') && !v.contains(['?', '#', ' ']) && !v.contains(char::is_control)
            },
        },
        Restart,
        "Path of the WebSocket.",
    ),
    key(
        "tls.certificate",
        Preset::None { example: "/etc/katydid/certificate.pem" },
        Path { set: |l, v| l.certificate = v },
        Reload,
        "Chain of certificates, PEM; turns TLS on. Its files are read again on reload.",
    ),
    key(
        "tls.key",
        Preset::None { example: "/etc/katydid/key.pem" },
        Path { set: |l, v| l.key = v },
        Reload,
        "Private key of the first certificate, PEM.",
    ),
    key(
        "tls.client-ca",
        Preset::None { example: "/etc/katydid/clients.pem" },
        Path { set: |l, v| l.client_ca = v },
        Reload,
        "Authorities, PEM, that certificates of clients are checked against. Without, clients are asked for none.",
    ),
    key(
        "tls.require-certificate",
        Is("false"),
        Switch { set: |l, v| l.require_certificate = v },
        Reload,
        "Whether a client without certificate is refused.",
    ),
    key(
        "tls.identity-as-username",
        Is("false"),
        Switch { set: |l, v| l.identity_as_username = v },
        Reload,
        "Whether the common name of the client's certificate is its user name, whatever its CONNECT says.",
    ),
    key(
        "proxy-protocol",
        Is("false"),
        Switch { set: |l, v| l.proxy_protocol = v },
        Restart,
        "Whether each connection begins with a PROXY protocol v2 header, which names the client's address. Only for \
         listeners that nobody but the proxy can reach.",
    ),
    key(
        "max-connections",
        Preset::None { example: "1000" },
        Count {
            least: 1,
            most: u32::MAX as u64,
            words: &[],
            set: |l, v| l.max_connections = Some(v as usize),
        },
        Reload,
        "Connections of this listener; otherwise limits.connections alone holds. Counted in connections_refused.",
    ),
    key(
        "allow-anonymous",
        Preset::None { example: "true" },
        Switch { set: |l, v| l.allow_anonymous = Some(v) },
        Reload,
        "Whether clients without password are let in. When it is not said: only where the address is 127.0.0.1, ::1 or a \
         Unix socket, so that nothing is open to others by accident.",
    ),
    key(
        "packet-size",
        Preset::None { example: "64KiB" },
        Size { least: 128, most: MAX_PACKET, set: |l, v| l.packet_bytes = Some(v as u32) },
        Reload,
        "The longest packet taken here; at most, and when it is not said, limits.packet-size.",
    ),
];
