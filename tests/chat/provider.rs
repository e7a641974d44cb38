//! A provider of OpenID Connect on loopback: it serves its keys over HTTP and signs tokens with any of them.
//!
//! Owns a listening socket and its thread. Must never know what a broker does with a token. Driven by the tests beside it.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use rcgen::KeyPair;
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://id.example.org";

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Says that it failed.
    Failing,
    /// Takes the request and says nothing.
    Silent,
}

/// The provider.
pub(crate) struct Provider {
    address: SocketAddr,
    keys: BTreeMap<&'static str, KeyPair>,
    shown: Mutex<Vec<&'static str>>,
    mood: Mutex<Mood>,
    asked: AtomicUsize,
}

impl Provider {
    /// Starts it with two keys, `first` and `second`; it shows the first.
    pub(crate) fn start() -> Arc<Provider> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let key = |algorithm| KeyPair::generate_for(algorithm).expect("a key");
        let keys = [
            ("first", key(&rcgen::PKCS_ECDSA_P256_SHA256)),
            ("second", key(&rcgen::PKCS_ED25519)),
            ("hidden", key(&rcgen::PKCS_ED25519)),
        ];
        let provider = Arc::new(Provider {
            address: listener.local_addr().expect("an address"),
            keys: keys.into(),
            shown: Mutex::new(vec!["first"]),
            mood: Mutex::new(Mood::Well),
            asked: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&provider);
        // Ends with the process.
        thread::spawn(move || serving.serve(&listener));
        provider
    }

    fn serve(&self, listener: &TcpListener) {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
            let request = lines.next().and_then(Result::ok).unwrap_or_default();
            assert_eq!(request, "GET /certs HTTP/1.1");
            while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
            self.asked.fetch_add(1, SeqCst);
            let (status, body) = match *self.mood.lock().expect("no panic") {
                Mood::Well => ("200 OK", self.set().to_string()),
                Mood::Failing => ("500 Internal Server Error", String::new()),
                Mood::Silent => {
                    silent.push(stream);
                    continue;
                }
            };
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            // Whoever asked may have gone.
            let _ = stream.write_all(answer.as_bytes());
        }
    }

    /// The keys that it shows, as a JWK set.
    pub(crate) fn set(&self) -> Value {
        let shown = self.shown.lock().expect("no panic");
        let keys: Vec<Value> = shown.iter().map(|kid| self.jwk(kid)).collect();
        json!({ "keys": keys })
    }

    fn jwk(&self, kid: &str) -> Value {
        let public = self.keys[kid].public_key_raw();
        match kid {
            "first" => json!({
                "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256",
                "x": URL_SAFE_NO_PAD.encode(&public[1..33]), "y": URL_SAFE_NO_PAD.encode(&public[33..65]),
            }),
            _ => json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": URL_SAFE_NO_PAD.encode(public) }),
        }
    }

    /// Shows these keys from here on.
    pub(crate) fn show(&self, keys: &[&'static str]) {
        *self.shown.lock().expect("no panic") = keys.to_vec();
    }

    pub(crate) fn answer(&self, mood: Mood) {
        *self.mood.lock().expect("no panic") = mood;
    }

    /// How often it was asked for its keys.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    /// Lines of a configuration that trusts it; `more` are further lines of its section.
    pub(crate) fn config(&self, more: &str) -> String {
        format!(
            "[openid]\nissuer = \"{ISSUER}\"\naudience = \"katydid\"\nkeys-url = \"http://{}/certs\"\n{more}\n",
            self.address
        )
    }

    /// A token of somebody, for `secs` seconds from now, signed with the first key.
    pub(crate) fn token(&self, user: &str, secs: i64) -> String {
        self.sign("first", &claims(user, secs))
    }

    /// A token with these claims, signed with that key.
    pub(crate) fn sign(&self, kid: &str, claims: &Value) -> String {
        let der = self.keys[kid].serialize_der();
        let (algorithm, key) = match kid {
            "first" => (Algorithm::ES256, EncodingKey::from_ec_der(&der)),
            _ => (Algorithm::EdDSA, EncodingKey::from_ed_der(&der)),
        };
        encode(&Header { kid: Some(kid.into()), ..Header::new(algorithm) }, claims, &key).expect("signed")
    }
}

/// What a token of somebody says.
pub(crate) fn claims(user: &str, secs: i64) -> Value {
    let exp = get_current_timestamp().checked_add_signed(secs).expect("a time");
    json!({
        "iss": ISSUER, "aud": "katydid", "sub": format!("subject of {user}"), "preferred_username": user, "exp": exp,
    })
}
