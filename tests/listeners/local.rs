//! Listeners by address: Unix sockets, IPv6, and settings that each listener has for itself.

use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use super::mosquitto;
use crate::harness::{Broker, Connect, Publish, RawClient, Settings, V3, V5, Version};

/// A listener on a Unix socket in the broker's folder.
pub(crate) const UNIX: &str = "\
[[listener]]
name = \"local\"
bind = \"unix:{folder}/socket\"
";

/// A client on the Unix socket whose CONNECT was accepted.
pub(crate) fn on_unix(broker: &Broker, version: Version, client_id: &str) -> RawClient {
    let socket = UnixStream::connect(broker.place_of("unix")).expect("the broker accepts connections");
    let mut client = RawClient::new(socket, version);
    client.send(&Connect::new(version, client_id).bytes());
    assert_eq!(client.expect_connack().code, 0);
    client
}

fn with(config: &str) -> Broker {
    Broker::with(Settings { config: config.into(), ..Settings::default() })
}

#[test]
fn a_unix_socket_carries_mqtt_and_goes_with_the_broker() {
    let mut broker = with(UNIX);
    let path = broker.folder().join("socket");
    assert_eq!(broker.place_of("unix"), path.to_str().expect("UTF-8"));
    for version in [V3, V5] {
        let mut client = on_unix(&broker, version, "client");
        client.subscribe("x", 2);
        client.publish("x", "said", 2);
        client.expect_and_acknowledge("said");
        client.disconnect();
    }
    mosquitto::converse(&["--unix", broker.place_of("unix"), "-u", "ann"], "ann");
    // A broker that was killed leaves the socket behind, and the next one takes it over.
    broker.kill();
    assert!(path.exists());
    broker.restart();
    on_unix(&broker, V5, "client").ping();
    assert!(broker.terminate().success());
    assert!(!path.exists());
}

#[test]
fn ipv6_carries_mqtt() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        println!("this machine has no IPv6");
        return;
    }
    let broker = with("[[listener]]\nname = \"six\"\nbind = \"[::1]:0\"\n");
    let address = broker.address();
    assert_eq!(address.ip(), Ipv6Addr::LOCALHOST);
    let mut client = broker.client(V5, "client");
    client.subscribe("x", 1);
    client.publish("x", "said", 1);
    client.expect_and_acknowledge("said");
    mosquitto::converse(&["-h", "::1", "-p", &address.port().to_string(), "-u", "ann"], "ann");
}

#[test]
fn one_listener_for_both_families() {
    if TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_err() {
        println!("this machine has no IPv6");
        return;
    }
    let broker = with("[[listener]]\nname = \"all\"\nbind = \"[::]:0\"\nallow-anonymous = true\n");
    let port = broker.address().port();
    for host in ["127.0.0.1", "::1"] {
        let mut client = RawClient::new(TcpStream::connect((host, port)).expect("it accepts"), V5);
        client.send(&Connect::new(V5, host).bytes());
        assert_eq!(client.expect_connack().code, 0, "{host}");
    }
}

#[test]
fn who_is_let_in_is_each_listeners_own() {
    let broker = with(&format!(
        "{UNIX}[[listener]]\nname = \"open\"\nbind = \"127.0.0.1:0\"\nallow-anonymous = false\n\
         [[listener]]\nname = \"everywhere\"\nbind = \"0.0.0.0:0\"\n"
    ));
    on_unix(&broker, V5, "client").ping();
    // A listener that is not for this machine alone lets nobody in without password, unless it says so.
    for (kind, place) in &broker.listeners()[1..] {
        let port = place.rsplit(':').next().expect("a port").parse().expect("a port");
        for (version, user, code) in
            [(V5, None, 0x87), (V5, Some("ann"), 0x86), (V3, None, 5), (V3, Some("ann"), 4)]
        {
            let socket = TcpStream::connect(("127.0.0.1", port)).expect("the broker accepts");
            let mut client = RawClient::new(socket, version);
            let mut connect = Connect::new(version, "client");
            connect.user = user.map(Into::into);
            client.send(&connect.bytes());
            let ack = client.expect_connack_refusal(code);
            assert_eq!(ack.code, code, "{kind} {place} {user:?}");
        }
    }
}

#[test]
fn the_longest_packet_is_each_listeners_own() {
    let broker = with(&format!(
        "{UNIX}[[listener]]\nname = \"small\"\nbind = \"127.0.0.1:0\"\npacket-size = \"1KiB\"\n"
    ));
    let text = "x".repeat(2000);
    let mut local = on_unix(&broker, V5, "local");
    local.subscribe("x", 1);
    let mut small = broker.client(V5, "small");
    small.send_publish(&Publish::new("x", text.clone()));
    small.expect_disconnect(0x95);
    local.publish("x", &text, 1);
    local.expect_and_acknowledge(&text);
}

#[test]
fn a_port_that_somebody_has_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_katydid"));
    command.env_remove("KATYDID_TEST_BROKER").args([
        "--no-persistence",
        "--listen-address",
        "127.0.0.1",
        "-p",
    ]);
    let port = address.rsplit(':').next().expect("a port");
    let output = command.arg(port).output().expect("the broker starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot listen on") && said.contains(&address), "{said}");
}

#[test]
fn a_folder_that_cannot_be_used_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").expect("it is written");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_katydid"));
    command.env_remove("KATYDID_TEST_BROKER").args(["--listen-address", "127.0.0.1", "-p", "0"]);
    let output = command.arg("--data-dir").arg(&file).output().expect("the broker starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(file.to_str().expect("it is text")), "{said}");
}

#[test]
fn a_folder_that_another_broker_has_is_told() {
    let broker = Broker::start();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_katydid"));
    command.env_remove("KATYDID_TEST_BROKER").args(["--listen-address", "127.0.0.1", "-p", "0"]);
    let output = command.arg("--data-dir").arg(broker.data_folder()).output().expect("the broker starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(broker.data_folder().to_str().expect("text")), "{said}");
    assert!(said.contains("another"), "{said}");
    // The first one notices nothing.
    let mut client = broker.client(V5, "client");
    client.subscribe("plain", 1);
    client.publish("plain", "said", 1);
    client.expect_and_acknowledge("said");
}
