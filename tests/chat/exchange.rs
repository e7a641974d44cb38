//! The client's side of enhanced authentication, and of SCRAM-SHA-256, independent of the broker's.
//!
//! Owns how a test speaks AUTH. Must never use the broker's code: a mistake on both sides would prove itself right. Driven
//! by the tests beside it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::harness::packet::{AUTH, Packet, frame};
use crate::harness::property::{self, AUTHENTICATION_DATA, AUTHENTICATION_METHOD, Property, Value};
use crate::harness::{Broker, Connect, RawClient, V5};

pub(crate) const SCRAM: &str = "SCRAM-SHA-256";
pub(crate) const CONTINUE: u8 = 0x18;
pub(crate) const AGAIN: u8 = 0x19;

/// An AUTH.
pub(crate) fn auth(reason: u8, method: &str, data: Option<&[u8]>) -> Vec<u8> {
    let mut properties = vec![property::authentication_method(method)];
    properties.extend(data.map(property::authentication_data));
    let mut body = vec![reason];
    body.extend(property::encode(&properties));
    frame(AUTH, &body)
}

/// A CONNECT with a method.
pub(crate) fn connect(client_id: &str, method: &str, data: Option<&[u8]>) -> Connect {
    let connect = Connect::new(V5, client_id).property(property::authentication_method(method));
    match data {
        Some(data) => connect.property(property::authentication_data(data)),
        None => connect,
    }
}

/// A client that has sent its CONNECT.
pub(crate) fn open(broker: &Broker, connect: &Connect) -> RawClient {
    let mut client = broker.open(V5);
    client.send(&connect.bytes());
    client
}

/// The data of an AUTH with that reason, which names the method [MQTT-4.12.0-5].
pub(crate) fn expect_auth(client: &mut RawClient, reason: u8, method: &str) -> Option<String> {
    match client.expect_packet() {
        Packet::Auth { reason: got, properties } => {
            assert_eq!(got, reason);
            data(&properties, method)
        }
        other => panic!("expected AUTH {reason:#04x}, got {other:?}"),
    }
}

/// The data of a CONNACK that lets in, which names the method.
pub(crate) fn expect_entered(client: &mut RawClient, method: &str) -> Option<String> {
    let ack = client.expect_connack();
    assert_eq!(ack.code, 0, "{ack:?}");
    data(&ack.properties, method)
}

fn data(properties: &[Property], method: &str) -> Option<String> {
    assert_eq!(property::find(properties, AUTHENTICATION_METHOD), Some(&Value::Text(method.into())));
    property::find(properties, AUTHENTICATION_DATA).map(|value| match value {
        Value::Binary(bytes) => String::from_utf8(bytes.clone()).expect("text"),
        other => panic!("{other:?}"),
    })
}

/// A refusal of CONNECT with that code and that reason string.
pub(crate) fn expect_refused(client: &mut RawClient, code: u8, reason: &str) {
    let ack = client.expect_connack_refusal(code);
    assert_eq!(text(&ack.properties), Some(reason.to_owned()));
}

/// A DISCONNECT with that code and that reason string.
pub(crate) fn expect_dismissed(client: &mut RawClient, code: u8, reason: &str) {
    let properties = client.expect_disconnect(code);
    assert_eq!(text(&properties), Some(reason.to_owned()));
}

fn text(properties: &[Property]) -> Option<String> {
    property::find(properties, property::REASON_STRING).map(|value| match value {
        Value::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    })
}

/// What a client says first, of RFC 5802.
pub(crate) fn first(name: &str) -> Vec<u8> {
    format!("n,,{}", bare(name)).into_bytes()
}

fn bare(name: &str) -> String {
    format!("n={name},r=client/nonce+{name}")
}

/// What a client says last, and what the server must show then.
pub(crate) fn last(name: &str, password: &str, server_first: &str) -> (Vec<u8>, String) {
    let part = |letter: &str| {
        let found = server_first.split(',').find_map(|part| part.strip_prefix(letter));
        found.unwrap_or_else(|| panic!("no {letter} in {server_first}"))
    };
    let (nonce, salt, rounds) = (part("r="), part("s="), part("i="));
    assert!(nonce.len() > format!("client/nonce+{name}").len() + 16, "the server adds to the nonce");
    let salt = STANDARD.decode(salt).expect("base64");
    let rounds: u32 = rounds.parse().expect("a number");
    assert!(rounds >= 4096 && salt.len() >= 16, "{server_first}");
    let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), &salt, rounds);
    let client_key = mac(&salted, b"Client Key");
    let unproven = format!("c={},r={nonce}", STANDARD.encode("n,,"));
    let said = format!("{},{server_first},{unproven}", bare(name));
    let signature = mac(&Sha256::digest(client_key), said.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, other)| key ^ other).collect();
    let shown = mac(&mac(&salted, b"Server Key"), said.as_bytes());
    let message = format!("{unproven},p={}", STANDARD.encode(proof)).into_bytes();
    (message, format!("v={}", STANDARD.encode(shown)))
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Takes the challenge and answers it; what the server must show if the password is right.
pub(crate) fn answer(client: &mut RawClient, name: &str, password: &str) -> String {
    let challenge = expect_auth(client, CONTINUE, SCRAM).expect("a challenge");
    let (message, shown) = last(name, password, &challenge);
    client.send(&auth(CONTINUE, SCRAM, Some(&message)));
    shown
}

/// Lets somebody in by SCRAM.
pub(crate) fn enter(broker: &Broker, name: &str, password: &str) -> RawClient {
    let mut client = open(broker, &connect(&format!("scram-{name}"), SCRAM, Some(&first(name))));
    let shown = answer(&mut client, name, password);
    assert_eq!(expect_entered(&mut client, SCRAM), Some(shown));
    client
}
