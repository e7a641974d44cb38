//! SIGHUP: certificates, passwords and rights are read again, and no connection is dropped.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::certificates::{Authority, Identity};
use super::tls;
use crate::harness::{Broker, Connect, Settings, V3, V5};

fn der(identity: &Identity) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("PEM")
}

/// The certificate that the broker shows to a new connection.
fn shown(broker: &Broker, authority: &Authority) -> CertificateDer<'static> {
    let stream = tls::open(broker, &authority.trusted_by(None)).expect("TLS is set up");
    let chain = stream.0.conn.peer_certificates().expect("a certificate");
    chain[0].clone().into_owned()
}

#[test]
fn certificates_are_read_again_and_connections_stay() {
    let authority = Authority::new("authority");
    let (first, second) = (authority.server(), authority.server());
    let config = tls::LISTENER.to_owned();
    let broker = Broker::with(Settings { config, files: tls::files(&first), ..Settings::default() });
    let connect = Connect::new(V5, "client");
    let mut client = tls::connect(&broker, &authority.trusted_by(None), &connect);
    assert_eq!(shown(&broker, &authority), der(&first));
    for (name, text) in tls::files(&second) {
        broker.write(name, &text);
    }
    assert_eq!(shown(&broker, &authority), der(&first), "nothing is read without SIGHUP");
    broker.reload();
    assert_eq!(shown(&broker, &authority), der(&second));
    client.ping();
    // What cannot be used changes nothing, and is told.
    broker.write("server.key", &first.key);
    broker.reload();
    broker.await_log("certificates cannot be read again", 1);
    assert_eq!(shown(&broker, &authority), der(&second));
    client.subscribe("x", 1);
    client.publish("x", "still here", 1);
    client.expect_and_acknowledge("still here");
}

#[test]
fn passwords_are_read_again_and_connections_stay() {
    let broker = Broker::with(Settings { account: Some(("ann", "one")), ..Settings::default() });
    let with = |user: &str, password: &str| {
        let mut connect = Connect::new(V5, &format!("{user} {password}")).user(user);
        connect.password = Some(password.as_bytes().to_vec());
        connect
    };
    let refused = |connect: &Connect| {
        let mut client = broker.open(V5);
        client.send(&connect.bytes());
        client.expect_connack_refusal(0x86);
    };
    let mut ann = broker.connect(&with("ann", "one"));
    refused(&with("bob", "two"));
    broker.set_password("bob", "two");
    broker.set_password("ann", "three");
    broker.reload();
    broker.connect(&with("bob", "two")).ping();
    broker.connect(&with("ann", "three")).ping();
    refused(&with("ann", "one"));
    ann.ping();
}

#[test]
fn a_changed_access_list_stops_the_next_message() {
    let broker = Broker::with(Settings {
        access_list: Some("topic readwrite news/#\ntopic readwrite open/#\n"),
        ..Settings::default()
    });
    let mut live = broker.client(V5, "live");
    live.subscribe("news/#", 1);
    live.subscribe("open/#", 1);
    let mut sleeper = broker.connect(&Connect::lasting(V3, "sleeper"));
    sleeper.subscribe("news/#", 1);
    sleeper.subscribe("open/#", 1);
    sleeper.disconnect();
    let mut publisher = broker.client(V5, "publisher");
    publisher.publish("news/a", "before", 1);
    live.expect_and_acknowledge("before");
    broker.write("access", "topic write news/#\ntopic readwrite open/#\n");
    broker.reload();
    publisher.publish("news/a", "after", 1);
    publisher.publish("open/a", "seen", 1);
    live.expect_and_acknowledge("seen");
    live.expect_quiet();
    assert_eq!(live.subscribe_with(&[("news/#", 1)], &[]), [0x87]);
    // What waited for a session that was away is not delivered either.
    let mut sleeper = broker.connect(&Connect::lasting(V3, "sleeper"));
    sleeper.expect_and_acknowledge("seen");
    sleeper.expect_quiet();
    // And the other way round.
    broker.write("access", "topic readwrite #\n");
    broker.reload();
    publisher.publish("news/a", "again", 1);
    live.expect_and_acknowledge("again");
}

#[test]
fn a_mistake_in_a_file_changes_nothing_and_is_told() {
    let broker =
        Broker::with(Settings { access_list: Some("topic readwrite open/#\n"), ..Settings::default() });
    let mut client = broker.client(V5, "client");
    broker.write("access", "topic readwrite open/#\ntopic maybe news/#\n");
    broker.reload();
    let told = broker.await_log("cannot be read again", 1);
    assert!(told[0].contains("ERROR") && told[0].contains("access:2"), "it names the line: {told:?}");
    assert_eq!(client.subscribe_with(&[("open/a", 1), ("news/a", 1)], &[]), [1, 0x87]);
}

#[test]
fn limits_are_read_again_and_what_needs_a_restart_is_told() {
    let config = "[limits]\nsubscriptions = 1\n[[listener]]\nname = \"door\"\nbind = \"127.0.0.1:0\"\n";
    let mut settings = Settings { config: "[sys]\ninterval = \"1s\"\n".into(), ..Settings::default() };
    settings.config.push_str("[[listener]]\nname = \"door\"\nbind = \"127.0.0.1:0\"\n");
    let broker = Broker::with(settings);
    let mut client = broker.client(V5, "client");
    client.subscribe("a", 0);
    broker.write("katydid.toml", &format!("{config}max-connections = 1\n[sys]\ninterval = \"2s\"\n"));
    broker.reload();
    assert_eq!(client.subscribe_with(&[("b", 0)], &[]), [0x97]);
    let told = broker.await_log("needs a restart", 1);
    assert!(told[0].contains("WARN") && told[0].contains("sys.interval"), "{told:?}");
    broker.open(V5).expect_closed();
    client.ping();
}
