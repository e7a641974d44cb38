//! The REST interface.

use crate::{
    harness::Broker,
    legacy::{Bridge, LIMIT},
};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Instant,
};

/// A user with a token.
pub(crate) struct Rest {
    address: SocketAddr,
    token: String,
    pub(crate) id: Value,
}

impl Rest {
    /// An account of its own, signed in.
    pub(crate) fn signed_in(bridge: &Bridge, name: &str) -> Self {
        let mut rest = Self { address: bridge.rest, token: String::new(), id: Value::Null };
        let account = json!({"username": name, "password": "sesame"});
        assert_eq!(rest.ask("POST", "/Users", &account).0, 201);
        let (status, answer) = rest.ask("POST", "/login", &account);
        assert_eq!(status, 200);
        rest.token = answer["token"].as_str().expect("a token").to_owned();
        rest.id = answer["id"].clone();
        rest
    }

    /// Sends a request, and reads its answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let until = Instant::now() + LIMIT;
        let mut stream = loop {
            match TcpStream::connect(self.address) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > until => panic!("nobody listens: {error}"),
                Err(_) => std::thread::yield_now(),
            }
        };
        stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
            self.token,
            body.len(),
        );
        stream.write_all((head + &body).as_bytes()).expect("a request is taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer in time");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    pub(crate) fn poll(&self) -> Value {
        self.ask("GET", "/me?Timeout=15", &Value::Null).1
    }
}

/// "Notification Center message examples": the three of them, and what there is to pull behind each.
#[test]
fn each_notification_leads_to_what_it_tells_of() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let (ann, bob) = (Rest::signed_in(&bridge, "ann"), Rest::signed_in(&bridge, "bob"));
    // Who has never asked for anything is not known to wait.
    assert_eq!(bob.ask("GET", "/me?Timeout=0", &Value::Null), (200, json!({})));
    let (status, _) =
        ann.ask("POST", &format!("/Users/{}", bob.id), &json!({"name": "sender", "message": "msg"}));
    assert_eq!(status, 201);
    assert_eq!(bob.poll(), json!({"notification": "new_private_message", "from": "ann"}));
    let (_, pulled) = bob.ask("GET", &format!("/Users/{}/conversation", bob.id), &json!({"sender": ann.id}));
    assert_eq!(
        (&pulled["messages"][0]["message"], &pulled["messages"][0]["senderId"]),
        (&json!("msg"), &ann.id)
    );
    assert_eq!(ann.ask("PUT", "/Group/club", &json!({"members": [bob.id]})).0, 201);
    assert_eq!(bob.poll(), json!({"notification": "group_created", "group": "club"}));
    let said = json!({"userId": ann.id, "message": "hi"});
    assert_eq!(ann.ask("POST", "/Group/club/conversation", &said).0, 201);
    assert_eq!(bob.poll(), json!({"notification": "new_group_message", "group": "club"}));
    let (_, pulled) = bob.ask("GET", "/Groups/club/conversation?Index=0", &Value::Null);
    assert_eq!(pulled["messages"][0]["message"], "hi");
}
