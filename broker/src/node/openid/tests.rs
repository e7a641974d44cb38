//! Tokens of a provider that signs with each kind of key: which let somebody in, and which do not.

use super::token::{Keys, Subject, Wrong, check};
use crate::config::{KeySource, Provider};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use katydid_chat::{base64, code::Code};
use rcgen::KeyPair;
use serde_json::{Value, json};
use std::time::Duration;

const NOW: u64 = 1_800_000_000;

fn url(bytes: &[u8]) -> String {
    base64::encode(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// A provider with a key of each kind.
struct Signer {
    ec: KeyPair,
    ed: KeyPair,
    rsa: Vec<u8>,
}

impl Signer {
    fn new() -> Self {
        let text: String = include_str!("test_key.txt").lines().collect();
        Self {
            ec: KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key"),
            ed: KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key"),
            rsa: base64::decode(&text).expect("a key"),
        }
    }

    /// Modulus of the RSA key: the first long integer of its DER.
    fn modulus(&self) -> &[u8] {
        let at =
            self.rsa.windows(5).position(|part| part == [0x02, 0x82, 0x01, 0x01, 0x00]).expect("it is there");
        &self.rsa[at + 5..at + 5 + 256]
    }

    fn set(&self) -> Value {
        let ec = self.ec.public_key_raw();
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256", "use": "sig", "x": url(&ec[1..33]), "y": url(&ec[33..65])},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": url(self.ed.public_key_raw())},
            {"kty": "RSA", "kid": "rsa", "n": url(self.modulus()), "e": "AQAB"},
            {"kty": "RSA", "kid": "enc", "use": "enc", "n": url(self.modulus()), "e": "AQAB"},
            {"kty": "RSA", "kid": "rs512", "alg": "RS512", "n": url(self.modulus()), "e": "AQAB"},
            {"kty": "oct", "kid": "oct", "k": url(b"a secret that everybody knows")},
            {"kty": "EC", "crv": "secp256k1", "kid": "odd", "x": "AA", "y": "AA"},
            {"kty": "new"}, 7,
        ]})
    }

    fn keys(&self) -> Keys {
        let keys = Keys::parse(self.set().to_string().as_bytes()).expect("a set");
        assert_eq!(keys.len(), 3, "{keys:?}");
        keys
    }

    fn sign(&self, algorithm: Algorithm, kid: &str, claims: &Value) -> String {
        let key = match algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_der(&self.ec.serialize_der()),
            Algorithm::EdDSA => EncodingKey::from_ed_der(&self.ed.serialize_der()),
            Algorithm::HS256 => EncodingKey::from_secret(b"a secret that everybody knows"),
            _ => EncodingKey::from_rsa_der(&self.rsa),
        };
        encode(&Header { kid: Some(kid.into()), ..Header::new(algorithm) }, claims, &key).expect("signed")
    }
}

fn provider() -> Provider {
    Provider {
        issuer: "https://id.example.org".into(),
        audience: "katydid".into(),
        keys: KeySource::File("keys".into()),
        claim: "preferred_username".into(),
        leeway: Duration::from_secs(30),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example.org", "aud": ["other", "katydid"], "sub": "42", "preferred_username": "ann",
        "exp": NOW + 60, "nbf": NOW,
    })
}

/// The claims with one of them changed, or taken away.
fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().expect("claims").remove(claim)),
        value => claims[claim] = value,
    }
    claims
}

const REFUSED: Result<Subject, Wrong> = Err(Wrong::Refused(Code::LoginBadAccessToken));

#[test]
fn each_kind_of_key_lets_its_tokens_in() {
    let (signer, provider) = (Signer::new(), provider());
    let expected = Subject {
        user: "ann".into(),
        identity: "https://id.example.org 42".into(),
        until_unix_ms: (NOW + 90) * 1000,
    };
    for (algorithm, kid) in [(Algorithm::ES256, "ec"), (Algorithm::EdDSA, "ed"), (Algorithm::RS256, "rsa")] {
        let token = signer.sign(algorithm, kid, &claims());
        assert_eq!(check(token.as_bytes(), &provider, &signer.keys(), NOW).as_ref(), Ok(&expected), "{kid}");
        let mut forged = token.clone();
        forged.replace_range(forged.len() - 20..forged.len() - 10, "AAAAAAAAAA");
        assert_eq!(check(forged.as_bytes(), &provider, &signer.keys(), NOW), REFUSED, "{kid}");
        assert_eq!(check(token.as_bytes(), &provider, &Signer::new().keys(), NOW).is_ok(), kid == "rsa");
    }
}

#[test]
fn claims_that_are_not_for_us_now_let_nobody_in() {
    let (signer, provider) = (Signer::new(), provider());
    let keys = signer.keys();
    let look =
        |claims: &Value| check(signer.sign(Algorithm::ES256, "ec", claims).as_bytes(), &provider, &keys, NOW);
    for (claim, value) in [
        ("iss", json!("https://other.example.org")),
        ("iss", json!(["https://id.example.org"])),
        ("iss", Value::Null),
        ("aud", json!("other")),
        ("aud", Value::Null),
        ("sub", Value::Null),
        ("sub", json!("")),
        ("exp", Value::Null),
        ("exp", json!("never")),
        ("nbf", json!(NOW + 31)),
        ("nbf", json!("now")),
        ("preferred_username", Value::Null),
        ("preferred_username", json!(7)),
        ("preferred_username", json!("a/b")),
    ] {
        assert_eq!(look(&with(claim, value.clone())), REFUSED, "{claim} {value}");
    }
    for exp in [json!(NOW - 30), json!(1), json!(0)] {
        assert_eq!(look(&with("exp", exp)), Err(Wrong::Refused(Code::LoginAccessExpired)));
    }
    for (claim, value) in [
        ("exp", json!(NOW - 29)),
        ("exp", json!(NOW as f64 + 0.5)),
        ("exp", json!(u64::MAX)),
        ("nbf", json!(NOW + 30)),
        ("nbf", Value::Null),
        ("aud", json!("katydid")),
    ] {
        assert!(look(&with(claim, value.clone())).is_ok(), "{claim} {value}");
    }
}

#[test]
fn only_the_algorithm_of_a_public_key_counts() {
    let (signer, provider) = (Signer::new(), provider());
    let keys = signer.keys();
    let look = |token: &str| check(token.as_bytes(), &provider, &keys, NOW);
    let good = signer.sign(Algorithm::ES256, "ec", &claims());
    let (_, rest) = good.split_once('.').expect("parts");
    let (payload, signature) = rest.split_once('.').expect("parts");
    let with_header = |header: &str| format!("{}.{payload}.{signature}", url(header.as_bytes()));
    for bad in [
        String::new(),
        "eyJ..".into(),
        "a.b.c".into(),
        "x".repeat(20_000),
        good.replace('.', ""),
        format!("{}.{payload}.", url(br#"{"alg":"none"}"#)),
        format!("{}.{payload}.", url(br#"{"alg":"None","kid":"ec"}"#)),
        with_header(r#"{"alg":"ES256","kid":"rsa"}"#),
        with_header(r#"{"alg":"RS256","kid":"ec"}"#),
        with_header(r#"{"alg":"ES256"}"#),
        signer.sign(Algorithm::HS256, "oct", &claims()),
        signer.sign(Algorithm::HS256, "ec", &claims()),
        signer.sign(Algorithm::RS512, "rsa", &claims()),
        signer.sign(Algorithm::PS256, "rsa", &claims()),
    ] {
        assert_eq!(look(&bad), REFUSED, "{bad}");
    }
    for kid in ["enc", "rs512", "nobody's"] {
        assert_eq!(look(&signer.sign(Algorithm::RS256, kid, &claims())), Err(Wrong::UnknownKey), "{kid}");
    }
    // The HMAC of a public key as its secret.
    let secret = EncodingKey::from_secret(signer.ec.public_key_raw());
    let header = Header { kid: Some("ec".into()), ..Header::new(Algorithm::HS256) };
    assert_eq!(look(&encode(&header, &claims(), &secret).expect("signed")), REFUSED);
    assert!(look(&good).is_ok());
}

#[test]
fn what_must_be_understood_and_is_not_lets_nobody_in() {
    let signer = Signer::new();
    let header = url(br#"{"alg":"ES256","kid":"ec","crit":["exp"]}"#);
    let signed = signer.sign(Algorithm::ES256, "ec", &claims());
    let payload = signed.split('.').nth(1).expect("parts");
    let message = format!("{header}.{payload}");
    let key = EncodingKey::from_ec_der(&signer.ec.serialize_der());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::ES256).expect("signed");
    let token = format!("{message}.{signature}");
    assert_eq!(check(token.as_bytes(), &provider(), &signer.keys(), NOW), REFUSED);
}

#[test]
fn a_token_that_names_no_key_is_checked_with_the_only_one() {
    let signer = Signer::new();
    let key = EncodingKey::from_ec_der(&signer.ec.serialize_der());
    let token = encode(&Header::new(Algorithm::ES256), &claims(), &key).expect("signed");
    let look = |keys: &Keys| check(token.as_bytes(), &provider(), keys, NOW);
    let only = json!({"keys": [signer.set()["keys"][0]]});
    assert!(look(&Keys::parse(only.to_string().as_bytes()).expect("a set")).is_ok());
    assert_eq!(look(&signer.keys()), REFUSED);
    assert_eq!(look(&Keys::default()), Err(Wrong::UnknownKey));
}

#[test]
fn what_is_no_set_of_keys_is_none() {
    for bad in ["", "[]", "{}", "{\"keys\":7}", "<html>"] {
        assert!(Keys::parse(bad.as_bytes()).is_none(), "{bad}");
    }
}
