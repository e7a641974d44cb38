//! MQTT over WebSocket (chapter 6 of both versions).

use std::net::TcpStream;
use std::time::Duration;

use tungstenite::client::IntoClientRequest as _;
use tungstenite::http::HeaderValue;
use tungstenite::{Bytes, Message, WebSocket};

use crate::harness::packet::{self, Packet, frame};
use crate::harness::{Broker, Connect, Publish, Settings, V3, V5, Version};

/// Opens a WebSocket that offers these subprotocols; returns the one that was chosen.
fn open(broker: &Broker, offered: &str) -> (WebSocket<TcpStream>, Option<String>) {
    let address = broker.websocket_address();
    let mut request = format!("ws://{address}/mqtt").into_client_request().expect("a request");
    let offered = HeaderValue::from_str(offered).expect("a header");
    request.headers_mut().insert("Sec-WebSocket-Protocol", offered);
    let stream = TcpStream::connect(address).expect("the broker accepts connections");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket option");
    let (socket, response) = tungstenite::client(request, stream).expect("the handshake succeeds");
    let chosen = response.headers().get("Sec-WebSocket-Protocol");
    (socket, chosen.map(|value| value.to_str().expect("a name").to_owned()))
}

/// The bytes of binary messages, until there are as many as asked.
fn read(socket: &mut WebSocket<TcpStream>, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        match socket.read().expect("the broker answers") {
            Message::Binary(more) => bytes.extend(&more[..]),
            other => panic!("[MQTT-6.0.0-1] expected a binary message, got {other:?}"),
        }
    }
    assert_eq!(bytes.len(), len, "{bytes:02x?}");
    bytes
}

fn send(socket: &mut WebSocket<TcpStream>, bytes: &[u8]) {
    socket.send(Message::Binary(Bytes::copy_from_slice(bytes))).expect("the broker takes it");
}

fn with_websocket() -> Broker {
    Broker::with(Settings { websocket: true, ..Settings::default() })
}

/// Reads the CONNACK, whose length depends on its properties.
fn expect_connack(socket: &mut WebSocket<TcpStream>, version: Version) {
    let Message::Binary(bytes) = socket.read().expect("the broker answers") else {
        panic!("[MQTT-6.0.0-1] expected a binary message");
    };
    match Packet::parse(version, bytes[0], &bytes[2..]) {
        Packet::ConnAck(ack) => assert_eq!(ack.code, 0),
        other => panic!("expected CONNACK, got {other:?}"),
    }
}

/// [MQTT-6.0.0-4], [MQTT-6.0.0-1]; 3.1.1 [MQTT-6.0.0-4], [MQTT-6.0.0-1]: the subprotocol is `mqtt`, the frames binary.
#[test]
fn websocket_speaks_mqtt_in_binary_messages() {
    let broker = with_websocket();
    for version in [V3, V5] {
        let (mut socket, chosen) = open(&broker, "chat, mqtt");
        assert_eq!(chosen.as_deref(), Some("mqtt"));
        send(&mut socket, &Connect::new(version, "web").bytes());
        expect_connack(&mut socket, version);
        let mut plain = broker.client(version, "plain");
        plain.subscribe("from/web", 0);
        send(&mut socket, &Publish::new("from/web", "hi").bytes(version));
        plain.expect_message("hi");
    }
}

/// [MQTT-6.0.0-2]; 3.1.1 [MQTT-6.0.0-2]: packets and messages of WebSocket need not begin or end together.
#[test]
fn packets_may_span_and_share_websocket_messages() {
    let broker = with_websocket();
    for version in [V3, V5] {
        let (mut socket, _) = open(&broker, "mqtt");
        for byte in Connect::new(version, "split").bytes() {
            send(&mut socket, &[byte]);
        }
        expect_connack(&mut socket, version);
        let mut bytes = frame(packet::PINGREQ, &[]).repeat(2);
        bytes.push(packet::PINGREQ);
        send(&mut socket, &bytes);
        send(&mut socket, &[0]);
        assert_eq!(read(&mut socket, 6), [packet::PINGRESP, 0].repeat(3));
    }
}

/// [MQTT-6.0.0-1]; 3.1.1 [MQTT-6.0.0-1]: a text message closes the connection.
#[test]
fn text_message_closes_the_websocket() {
    let broker = with_websocket();
    for version in [V3, V5] {
        let (mut socket, _) = open(&broker, "mqtt");
        send(&mut socket, &Connect::new(version, "text").bytes());
        expect_connack(&mut socket, version);
        socket.send(Message::text("hello")).expect("the broker takes it");
        loop {
            match socket.read() {
                Ok(Message::Close(_)) => break,
                // What 5.0 sends before it closes.
                Ok(Message::Binary(bytes)) => assert_eq!(bytes[0], packet::DISCONNECT),
                Err(tungstenite::Error::Io(error)) => {
                    let timeout = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
                    assert!(!timeout.contains(&error.kind()), "the broker did not close");
                    break;
                }
                Err(_) => break,
                Ok(other) => panic!("expected the end, got {other:?}"),
            }
        }
    }
}
