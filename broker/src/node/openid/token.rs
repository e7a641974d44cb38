//! Whether an access token is good: a JWT (RFC 7519) that the provider has signed, for us, for now.
//!
//! Pure: token, keys and time in, a verdict out. Invariant: only public keys check, and only with the algorithm that
//! belongs to their kind, so that neither `none` nor a public key taken for a secret lets anybody in.

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use katydid_chat::{base64, code::Code, name};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::Provider;

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 16 * 1024;

/// Keys of a provider at most.
const MOST_KEYS: usize = 100;

/// The public keys of a provider.
#[derive(Default)]
pub(super) struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| (&key.id, key.algorithm))).finish()
    }
}

/// Whom a token is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) user: String,
    pub(super) identity: String,
    /// When the token is good no more, leeway included, in milliseconds since the Unix epoch.
    pub(super) until_unix_ms: u64,
}

/// Why a token is not good.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It names a key that is not among those that are known.
    UnknownKey,
    /// Anything else.
    Refused(Code),
}

impl Keys {
    /// Reads a JWK set (RFC 7517). Keys of kinds that are not used here are left out.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(text).ok()?;
        let keys =
            set.keys.into_iter().take(MOST_KEYS).filter_map(|key| Key::of(serde_json::from_value(key).ok()?));
        Some(Self(keys.collect()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key that a token names; one that names none is checked with the only one there is.
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&DecodingKey, Wrong> {
        let is_named = |key: &&Key| match id {
            Some(id) => key.id.as_deref() == Some(id),
            None => self.0.len() == 1,
        };
        let mut named = self.0.iter().filter(is_named).peekable();
        if named.peek().is_none() && (id.is_some() || self.0.is_empty()) {
            return Err(Wrong::UnknownKey);
        }
        let key = named.find(|key| key.algorithm == algorithm);
        key.map(|key| &key.key).ok_or(Wrong::Refused(Code::LoginBadAccessToken))
    }
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
            _ => return None,
        };
        let common = &jwk.common;
        let is_for_it = common.key_algorithm.is_none_or(|stated| stated.to_string() == name_of(algorithm));
        let signs = common.public_key_use.as_ref().is_none_or(|stated| *stated == PublicKeyUse::Signature);
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        (is_for_it && signs).then(|| Self { id: common.key_id.clone(), algorithm, key })
    }
}

fn name_of(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RS256 => "RS256",
        Algorithm::ES256 => "ES256",
        _ => "EdDSA",
    }
}

/// Whom a token is about, if it is good at a time in seconds since the Unix epoch.
///
/// # Errors
/// It is not.
pub(super) fn check(token: &[u8], provider: &Provider, keys: &Keys, now_secs: u64) -> Result<Subject, Wrong> {
    let bad = Wrong::Refused(Code::LoginBadAccessToken);
    let Some(token) = std::str::from_utf8(token).ok().filter(|token| token.len() <= LONGEST) else {
        return Err(bad);
    };
    let Ok(header) = decode_header(token) else { return Err(bad) };
    let is_known = matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA);
    if !is_known || has_critical_part(token) {
        return Err(bad);
    }
    let key = keys.find(header.kid.as_deref(), header.alg)?;
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&[&provider.issuer]);
    validation.set_audience(&[&provider.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // Times are compared here, by the clock of who asks.
    (validation.validate_exp, validation.validate_nbf) = (false, false);
    let Ok(token) = decode::<Map<String, Value>>(token, key, &validation) else { return Err(bad) };
    let claims = token.claims;
    let leeway_secs = provider.leeway.as_secs();
    let Some(until_secs) = seconds(claims.get("exp")).map(|exp| exp.saturating_add(leeway_secs)) else {
        return Err(bad);
    };
    if until_secs <= now_secs {
        return Err(Wrong::Refused(Code::LoginAccessExpired));
    }
    let text = |claim: &str| claims.get(claim).and_then(Value::as_str).filter(|text| !text.is_empty());
    let begins = claims.get("nbf").map_or(Some(0), |value| seconds(Some(value)));
    let has_begun = begins.is_some_and(|begins| begins <= now_secs.saturating_add(leeway_secs));
    let user = text(&provider.claim).filter(|user| name::check_user(user).is_ok());
    match (user, text("sub"), text("iss"), has_begun) {
        (Some(user), Some(subject), Some(issuer), true) => Ok(Subject {
            user: user.to_owned(),
            identity: format!("{issuer} {subject}"),
            until_unix_ms: until_secs.saturating_mul(1000),
        }),
        _ => Err(bad),
    }
}

/// A time of a JWT, which may have fractions.
fn seconds(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    value.as_u64().or_else(|| value.as_f64().filter(|secs| *secs >= 0.0).map(|secs| secs as u64))
}

/// Whether a header says that parts of it must be understood (`crit`, RFC 7515): none are.
fn has_critical_part(token: &str) -> bool {
    let header = token.split('.').next().unwrap_or_default();
    let mut padded = header.replace('-', "+").replace('_', "/");
    padded.extend(std::iter::repeat_n('=', (4 - header.len() % 4) % 4));
    let fields: Option<Map<String, Value>> =
        base64::decode(&padded).and_then(|json| serde_json::from_slice(&json).ok());
    fields.is_none_or(|fields| fields.contains_key("crit"))
}
