//! Ways to the broker: TLS, a Unix socket, and a listener that is told real addresses.

use crate::{
    certificates::Authority,
    harness::{Broker, Settings},
    user::{address, connect_with, home, run},
};
use katydid_sdk::{Address, Client, Options, Refusal, Tls};

#[test]
fn over_tls_the_certificate_must_be_the_hosts_and_trusted() {
    let authority = Authority::new("ours");
    let server = authority.server();
    let client = authority.client("ann");
    let files = vec![
        ("server.pem", server.certificate.clone()),
        ("server.key", server.key.clone()),
        ("ca.pem", authority.pem()),
        ("other.pem", Authority::new("theirs").pem()),
        ("client.pem", client.certificate.clone()),
        ("client.key", client.key.clone()),
    ];
    let config = "[[listener]]\nname = \"secret\"\nbind = \"127.0.0.1:0\"\n\
                  tls.certificate = \"{folder}/server.pem\"\ntls.key = \"{folder}/server.key\"\n\
                  tls.client-ca = \"{folder}/ca.pem\"\ntls.identity-as-username = true\n"
        .to_owned();
    let broker = Broker::with(Settings { config, files, ..Settings::default() });
    run(async {
        let port = broker.address_of("mqtts").port();
        let file = |name: &str| broker.folder().join(name);
        let options = |roots: &str, host: &str| {
            let tls = Tls {
                roots_file: Some(file(roots)),
                client: Some((file("client.pem"), file("client.key"))),
                ..Tls::default()
            };
            Options::new(Address::Tcp { host: host.into(), port }).user("ann").tls(tls)
        };
        let (ann, _) = connect_with(options("ca.pem", "localhost")).await;
        ann.say(&home(), "secret", None).await.unwrap();
        for (roots, host) in [("other.pem", "localhost"), ("ca.pem", "127.0.0.2")] {
            let refusal = Client::connect(options(roots, host)).await.unwrap_err();
            assert_eq!(refusal.code, Refusal::UNREACHABLE, "{roots} {host}");
        }
        let refusal = Client::connect(options("missing.pem", "localhost")).await.unwrap_err();
        assert_eq!(refusal.code, Refusal::ARGUMENT);
    });
}

#[test]
fn over_a_unix_socket() {
    let config = "[[listener]]\nname = \"local\"\nbind = \"unix:{folder}/socket\"\n".to_owned();
    let broker = Broker::with(Settings { config, ..Settings::default() });
    run(async {
        let path = broker.folder().join("socket");
        let (ann, _) = connect_with(Options::new(Address::Unix(path)).user("ann")).await;
        assert!(ann.say(&home(), "near", None).await.unwrap().seq > 0);
    });
}

#[test]
fn limits_by_address_count_the_real_one() {
    let config =
        "[[listener]]\nname = \"bridges\"\nbind = \"127.0.0.1:0\"\nproxy-protocol = true\n".to_owned();
    let arguments = &["--limits.connections-per-address", "1"];
    let broker = Broker::with(Settings { config, arguments, ..Settings::default() });
    run(async {
        let options = |user: &str, real: &str| {
            let mut options = Options::new(address(&broker)).user(user);
            options.real_address = Some(real.parse().unwrap());
            options
        };
        let (_ann, _heard) = connect_with(options("ann", "192.0.2.1:1000")).await;
        let (_bob, _told) = connect_with(options("bob", "[2001:db8::1]:1000")).await;
        let refusal = Client::connect(options("carl", "192.0.2.1:2000")).await.unwrap_err();
        assert_eq!(refusal.code, Refusal::UNREACHABLE);
    });
}
