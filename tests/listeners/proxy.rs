//! PROXY protocol v2: the client's address comes with the connection, and has to come first.

use std::io::Write as _;
use std::net::TcpStream;

use super::certificates::Authority;
use super::local::{UNIX, on_unix};
use super::statistics::value;
use super::tls;
use crate::harness::stream::Tls;
use crate::harness::{Broker, Connect, RawClient, Settings, V5};

const CONFIG: &str = "\
[sys]
interval = \"100ms\"
[[listener]]
name = \"behind\"
bind = \"127.0.0.1:0\"
proxy-protocol = true
";

/// A header of version 2 with these addresses and ports.
fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([0x20 | command, family]);
    bytes.extend((body.len() as u16).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A client's IPv4 address that ends with this byte.
fn from(last: u8) -> Vec<u8> {
    header(1, 0x11, &[192, 0, 2, last, 10, 0, 0, 1, 0x12, 0x34, 0x07, 0x5B])
}

fn socket(broker: &Broker, kind: &str, header: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(broker.address_of(kind)).expect("the broker accepts connections");
    socket.write_all(header).expect("the broker takes bytes");
    socket
}

fn connect(broker: &Broker, header: &[u8], client_id: &str) -> RawClient {
    let mut client = RawClient::new(socket(broker, "mqtt", header), V5);
    client.send(&Connect::new(V5, client_id).bytes());
    client
}

#[test]
fn limits_hold_for_the_address_that_the_proxy_names() {
    let broker = Broker::with(Settings {
        config: format!("{UNIX}{CONFIG}"),
        arguments: &["--limits.connections-per-address", "2"],
        ..Settings::default()
    });
    let mut observer = on_unix(&broker, V5, "observer");
    let mut first: Vec<RawClient> = Vec::new();
    for index in 0..2 {
        let mut client = connect(&broker, &from(7), &format!("first {index}"));
        assert_eq!(client.expect_connack().code, 0);
        first.push(client);
    }
    connect(&broker, &from(7), "third").expect_closed();
    let refused = value(&mut observer, "$SYS/broker/katydid/connections_refused", |value| value > 0);
    assert_eq!(refused, 1);
    let told = broker.await_log("connections refused", 1);
    assert!(told[0].contains("192.0.2.7") && told[0].contains("behind"), "{told:?}");
    // Another address of the same proxy, in either family, and connections of the proxy itself.
    let mut six = [0; 36];
    six[..4].copy_from_slice(&[0x20, 0x01, 0x0D, 0xB8]);
    for (index, header) in
        [from(8), from(8), header(1, 0x21, &six), header(0, 0, &[]), header(0, 0, &[]), header(0, 0, &[])]
            .iter()
            .enumerate()
    {
        let mut client = connect(&broker, header, &format!("other {index}"));
        assert_eq!(client.expect_connack().code, 0, "{header:02x?}");
        first.push(client);
    }
    // Who leaves makes room.
    first.swap_remove(0).disconnect();
    value(&mut observer, "$SYS/broker/katydid/connections_now", |now| now == 8);
    assert_eq!(connect(&broker, &from(7), "again").expect_connack().code, 0);
}

#[test]
fn a_header_that_is_none_closes() {
    let broker = Broker::with(Settings { config: format!("{UNIX}{CONFIG}"), ..Settings::default() });
    let mut observer = on_unix(&broker, V5, "observer");
    let connect = Connect::new(V5, "client").bytes();
    let bad = [
        connect.clone(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(),
        // A version, a command and a family that are none, no addresses where there have to be some, and a length that
        // is too much.
        [&from(7)[..12], &[0x11, 0x11, 0, 12]].concat(),
        header(2, 0x11, &[0; 12]),
        header(1, 0x41, &[0; 12]),
        header(1, 0x11, &[0; 4]),
        header(1, 0x11, &[0; 5000]),
    ];
    for bytes in &bad {
        let mut client = RawClient::new(socket(&broker, "mqtt", bytes), V5);
        // It may be closed already.
        let _ = client.try_send(&connect);
        client.expect_closed();
        observer.ping();
    }
    let broken = value(&mut observer, "$SYS/broker/katydid/connections_broken", |value| value > 6);
    assert_eq!(broken, bad.len() as u64);
    let told = broker.await_log("connection dropped", bad.len());
    assert_eq!(told.len(), bad.len());
    assert!(told.iter().all(|line| line.contains("WARN") && line.contains("PROXY")), "{told:?}");
}

#[test]
fn a_header_may_come_in_pieces_and_before_tls() {
    let authority = Authority::new("authority");
    let config = format!("{}proxy-protocol = true\n{CONFIG}", tls::LISTENER);
    let config = config.replace("[sys]\ninterval = \"100ms\"\n", "");
    let files = tls::files(&authority.server());
    let broker = Broker::with(Settings { config, files, ..Settings::default() });
    let mut client = RawClient::new(socket(&broker, "mqtt", &[]), V5);
    for byte in from(7).iter().chain(&Connect::new(V5, "slow").bytes()) {
        client.send(&[*byte]);
    }
    assert_eq!(client.expect_connack().code, 0);
    let stream = Tls::open(socket(&broker, "mqtts", &from(9)), &authority.trusted_by(None));
    let mut client = RawClient::new(stream.expect("TLS is set up"), V5);
    client.send(&Connect::new(V5, "secret").bytes());
    assert_eq!(client.expect_connack().code, 0);
}
