//! TLS, with and without certificates of clients.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::ClientConfig;

use super::certificates::{Authority, Identity};
use super::mosquitto;
use crate::harness::stream::Tls;
use crate::harness::{Broker, Connect, Publish, RawClient, Settings, V3, V5, packet};

/// A TLS listener, in a configuration file; the certificates are in the broker's folder.
pub(crate) const LISTENER: &str = "\
[[listener]]
name = \"secret\"
bind = \"127.0.0.1:0\"
tls.certificate = \"{folder}/server.pem\"
tls.key = \"{folder}/server.key\"
";

/// The files that [`LISTENER`] names.
pub(crate) fn files(server: &Identity) -> Vec<(&'static str, String)> {
    vec![("server.pem", server.certificate.clone()), ("server.key", server.key.clone())]
}

fn broker(authority: &Authority, further: &str) -> Broker {
    let mut files = files(&authority.server());
    files.push(("authority.pem", authority.pem()));
    Broker::with(Settings { config: format!("{LISTENER}{further}"), files, ..Settings::default() })
}

const WITH_CLIENTS: &str = "\
tls.client-ca = \"{folder}/authority.pem\"
tls.identity-as-username = true
";

/// A connection over TLS.
pub(crate) fn open(broker: &Broker, config: &Arc<ClientConfig>) -> std::io::Result<Tls> {
    Tls::open(TcpStream::connect(broker.address_of("mqtts")).expect("the broker accepts"), config)
}

/// A client over TLS whose CONNECT was accepted.
pub(crate) fn connect(broker: &Broker, config: &Arc<ClientConfig>, connect: &Connect) -> RawClient {
    let mut client = RawClient::new(open(broker, config).expect("TLS is set up"), connect.version);
    client.send(&connect.bytes());
    assert_eq!(client.expect_connack().code, 0);
    client
}

/// The reason code that a 5.0 client gets for a message in a room under that name.
fn say_as(client: &mut RawClient, name: &str) -> u8 {
    let id = client.fresh_id();
    let publish = Publish::new(&format!("room/x/msg/{name}"), "said").will_qos(1);
    client.send_publish(&Publish { id: Some(id), ..publish });
    client.expect_ack(packet::PUBACK, id).reason
}

#[test]
fn tls_carries_mqtt() {
    let authority = Authority::new("authority");
    let broker = broker(&authority, "");
    let config = authority.trusted_by(None);
    for version in [V3, V5] {
        let mut client = connect(&broker, &config, &Connect::new(version, "client"));
        client.subscribe("large", 1);
        // Longer than a record of TLS.
        let text = "x".repeat(100_000);
        client.publish("large", &text, 1);
        client.expect_and_acknowledge(&text);
        client.disconnect();
    }
}

#[test]
fn mosquittos_programs_talk_over_tls() {
    let authority = Authority::new("authority");
    let broker = broker(&authority, "");
    let file = |name: &str| broker.folder().join(name).to_str().expect("UTF-8").to_owned();
    let (port, own) = (broker.address_of("mqtts").port().to_string(), file("authority.pem"));
    let how = ["-h", "localhost", "-p", &port, "-u", "ann", "--cafile", &own];
    mosquitto::converse(&how, "ann");
    // One that trusts somebody else does not talk to this broker.
    broker.write("other.pem", &Authority::new("other").pem());
    let other = file("other.pem");
    let how = ["-h", "localhost", "-p", &port, "--cafile", &other, "-t", "x", "-m", "y"];
    if let Some(said) = mosquitto::run("mosquitto_pub", &how) {
        assert!(!said.is_success, "{said:?}");
    }
}

#[test]
fn a_clients_certificate_is_its_user_name() {
    let authority = Authority::new("authority");
    let broker = broker(&authority, WITH_CLIENTS);
    let ann = authority.client("ann");
    let config = authority.trusted_by(Some(&ann));
    // Whatever CONNECT says.
    for user in [None, Some("mallory"), Some("ann")] {
        let mut request = Connect::new(V5, "client");
        request.user = user.map(Into::into);
        let mut client = connect(&broker, &config, &request);
        assert_eq!(say_as(&mut client, "mallory"), 0x87, "{user:?}");
        assert_eq!(say_as(&mut client, "ann"), 0, "{user:?}");
    }
    // Who shows none is who they say they are.
    let mut bob = connect(&broker, &authority.trusted_by(None), &Connect::new(V5, "bob").user("bob"));
    assert_eq!(say_as(&mut bob, "ann"), 0x87);
    assert_eq!(say_as(&mut bob, "bob"), 0);
    broker.write("ann.pem", &ann.certificate);
    broker.write("ann.key", &ann.key);
    let file = |name: &str| broker.folder().join(name).to_str().expect("UTF-8").to_owned();
    let port = broker.address_of("mqtts").port().to_string();
    let (own, certificate, key) = (file("authority.pem"), file("ann.pem"), file("ann.key"));
    let how = ["-h", "localhost", "-p", &port, "--cafile", &own, "--cert", &certificate, "--key", &key];
    mosquitto::converse(&how, "ann");
}

#[test]
fn a_certificate_stands_for_the_password() {
    let authority = Authority::new("authority");
    let mut files = files(&authority.server());
    files.push(("authority.pem", authority.pem()));
    let config = format!("{LISTENER}{WITH_CLIENTS}allow-anonymous = false\n");
    let broker =
        Broker::with(Settings { config, files, account: Some(("ann", "secret")), ..Settings::default() });
    let ann = authority.trusted_by(Some(&authority.client("ann")));
    let mut client = connect(&broker, &ann, &Connect::new(V5, "client"));
    assert_eq!(say_as(&mut client, "ann"), 0);
    // Without a certificate it is the password that counts.
    let nobody = authority.trusted_by(None);
    let mut client = RawClient::new(open(&broker, &nobody).expect("TLS is set up"), V5);
    client.send(&Connect::new(V5, "client").user("ann").bytes());
    client.expect_connack_refusal(0x86);
    let mut request = Connect::new(V5, "client").user("ann");
    request.password = Some(b"secret".to_vec());
    assert_eq!(say_as(&mut connect(&broker, &nobody, &request), "ann"), 0);
}

#[test]
fn a_certificate_can_be_required_and_has_to_be_the_authoritys() {
    let authority = Authority::new("authority");
    let broker = broker(&authority, &format!("{WITH_CLIENTS}tls.require-certificate = true\n"));
    let stranger = Authority::new("stranger").client("ann");
    for (who, identity) in [("no certificate", None), ("another authority's", Some(&stranger))] {
        // With TLS 1.3 a client learns of the refusal when it reads.
        if let Ok(mut stream) = open(&broker, &authority.trusted_by(identity)) {
            let _ = stream.write_all(&Connect::new(V5, "client").bytes());
            let mut answer = [0; 16];
            let read = stream.read(&mut answer);
            assert!(!matches!(read, Ok(1..)), "{who}: {read:?}");
        }
    }
    let known = authority.trusted_by(Some(&authority.client("ann")));
    connect(&broker, &known, &Connect::new(V5, "client")).ping();
    assert_eq!(broker.await_log("connection dropped", 2).len(), 2, "one line for each");
}

#[test]
fn bytes_that_are_not_tls_are_refused_and_nobody_notices() {
    let authority = Authority::new("authority");
    let broker = broker(&authority, "");
    let config = authority.trusted_by(None);
    let mut client = connect(&broker, &config, &Connect::new(V5, "client"));
    for bytes in [&Connect::new(V5, "plain").bytes()[..], b"GET / HTTP/1.1\r\n\r\n", &[0xFF; 100]] {
        let mut socket = TcpStream::connect(broker.address_of("mqtts")).expect("the broker accepts");
        socket.write_all(bytes).expect("the broker takes bytes");
        let mut answer = Vec::new();
        // An alert of TLS at most, then the end.
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.first().is_none_or(|kind| *kind == 0x15), "{answer:02x?}");
        client.ping();
    }
    let lines = broker.await_log("connection dropped", 3);
    assert!(lines.iter().all(|line| line.contains("WARN") && line.contains("secret")), "{lines:?}");
}
