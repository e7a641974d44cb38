//! WebSocket, plain and over TLS: who is let in, and what a frame may be.

use std::net::TcpStream;

use tungstenite::{Error, Message};

use super::certificates::Authority;
use super::local::{UNIX, on_unix};
use super::statistics::{OFTEN, value};
use super::tls;
use crate::harness::stream::{Stream, Tls, Web};
use crate::harness::{Broker, Connect, RawClient, Settings, V3, V5};

const CONFIG: &str = "\
[[listener]]
name = \"web\"
bind = \"127.0.0.1:0\"
protocol = \"ws\"
path = \"/chat\"
";

fn broker() -> Broker {
    Broker::with(Settings { config: format!("{OFTEN}{UNIX}{CONFIG}"), ..Settings::default() })
}

fn tcp(broker: &Broker, kind: &str) -> TcpStream {
    TcpStream::connect(broker.address_of(kind)).expect("the broker accepts connections")
}

/// Says and hears something, in packets that are longer than a frame's short lengths.
fn talk(stream: impl Stream + 'static, version: crate::harness::Version) {
    let mut client = RawClient::new(stream, version);
    client.send(&Connect::new(version, "client").bytes());
    assert_eq!(client.expect_connack().code, 0);
    client.subscribe("x", 1);
    for text in ["short".to_owned(), "x".repeat(1000), "y".repeat(100_000)] {
        client.publish("x", &text, 1);
        client.expect_and_acknowledge(&text);
    }
    client.disconnect();
}

#[test]
fn websocket_carries_mqtt() {
    let broker = broker();
    for version in [V3, V5] {
        talk(Web::open(tcp(&broker, "ws"), "/chat", Some("mqtt")).expect("an upgrade"), version);
    }
    // Among others, and with a query.
    let stream = Web::open(tcp(&broker, "ws"), "/chat?token=1", Some("mqttv3.1, mqtt"));
    talk(stream.expect("an upgrade"), V5);
}

#[test]
fn websocket_over_tls_carries_mqtt() {
    let authority = Authority::new("authority");
    let config = format!("{}protocol = \"ws\"\n", tls::LISTENER);
    let files = tls::files(&authority.server());
    let broker = Broker::with(Settings { config, files, ..Settings::default() });
    let client = authority.trusted_by(None);
    for version in [V3, V5] {
        let stream = Tls::open(tcp(&broker, "wss"), &client).expect("TLS is set up");
        talk(Web::open(stream, "/mqtt", Some("mqtt")).expect("an upgrade"), version);
    }
}

#[test]
fn another_path_or_subprotocol_is_refused() {
    let broker = broker();
    let mut observer = on_unix(&broker, V5, "observer");
    let cases = [
        ("/mqtt", Some("mqtt"), 404),
        ("/", Some("mqtt"), 404),
        ("/chat/", Some("mqtt"), 404),
        ("/chat", None, 400),
        ("/chat", Some("mqttv3.1"), 400),
        ("/chat", Some("soap"), 400),
    ];
    for (path, offered, status) in cases {
        match Web::open(tcp(&broker, "ws"), path, offered) {
            Err(Error::Http(response)) => assert_eq!(response.status(), status, "{path} {offered:?}"),
            other => panic!("{path} {offered:?}: {other:?}"),
        }
        observer.ping();
    }
    let broken = value(&mut observer, "$SYS/broker/katydid/connections_broken", |value| value > 5);
    assert_eq!(broken, cases.len() as u64);
}

#[test]
fn what_is_no_upgrade_is_refused() {
    let broker = broker();
    let mut observer = on_unix(&broker, V5, "observer");
    let long = format!("GET /chat HTTP/1.1\r\nX: {}\r\n", "x".repeat(20_000));
    for bytes in [&Connect::new(V5, "plain").bytes()[..], b"POST /chat HTTP/1.1\r\n\r\n", long.as_bytes()] {
        let mut socket = tcp(&broker, "ws");
        // What is too much may be closed before all is sent.
        let _ = std::io::Write::write_all(&mut socket, bytes);
        let mut answer = Vec::new();
        let _ = std::io::Read::read_to_end(&mut socket, &mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
        observer.ping();
    }
}

#[test]
fn a_text_frame_is_refused_and_its_reason_is_told() {
    let broker = broker();
    let mut observer = on_unix(&broker, V5, "observer");
    let mut web = Web::open(tcp(&broker, "ws"), "/chat", Some("mqtt")).expect("an upgrade");
    web.socket.send(Message::text("a secret")).expect("the broker takes it");
    match web.socket.read() {
        Ok(Message::Close(Some(frame))) => assert_eq!(u16::from(frame.code), 1003),
        other => panic!("expected a close frame, got {other:?}"),
    }
    // The same right behind a CONNECT, which is answered or not; the end comes in any case.
    let mut web = Web::open(tcp(&broker, "ws"), "/chat", Some("mqtt")).expect("an upgrade");
    let connect = Connect::new(V5, "client").bytes();
    web.socket.write(Message::binary(connect)).expect("the broker takes it");
    web.socket.write(Message::text("a secret")).expect("the broker takes it");
    web.socket.flush().expect("the broker takes it");
    RawClient::new(web, V5).expect_end();
    observer.ping();
    let told = broker.await_log("connection dropped", 2);
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|line| line.contains("WARN") && line.contains("text frame")), "{told:?}");
    assert!(!broker.log().contains("a secret"));
}

#[test]
fn pings_are_answered_and_a_close_is_too() {
    let broker = broker();
    let mut web = Web::open(tcp(&broker, "ws"), "/chat", Some("mqtt")).expect("an upgrade");
    web.socket.send(Message::Ping("hello".into())).expect("the broker takes it");
    match web.socket.read() {
        Ok(Message::Pong(said)) => assert_eq!(&said[..], b"hello"),
        other => panic!("expected a pong, got {other:?}"),
    }
    web.socket.close(None).expect("the broker takes it");
    match web.socket.read() {
        Ok(Message::Close(_)) | Err(Error::ConnectionClosed) => {}
        other => panic!("expected a close frame, got {other:?}"),
    }
}
