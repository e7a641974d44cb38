//! Signing in with a provider: OpenID Connect, authorization code with PKCE (RFC 7636).
//!
//! The provider says who somebody is; the broker knows users by name and password. So each identity gets an account of its
//! own with a password that nobody knows, and the bridge keeps which is whose in a file that only it may read. Invariant: an
//! identity is in the file before its account is made, so that no account is lost; a state serves once, and only for
//! the browser that was sent to the provider with it.

mod fetch;

use super::{
    desk::{Desk, url_base64},
    map::{Problem, percent},
    person::held,
};
use crate::{chat::Secret, requests};
use axum::http::StatusCode;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    sync::Mutex,
    time::Duration,
};
use tokio::time::Instant;

/// How long somebody may take at the provider.
const PATIENCE: Duration = Duration::from_secs(600);

/// Sign-ins that are under way at most.
const MOST_OPEN: usize = 10_000;

/// Names that are tried for a new account.
const MOST_TRIES: u32 = 50;

/// Longest name that is made of what the provider says, in bytes.
const LONGEST_NAME: usize = 40;

/// What the operator decided.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who the provider is, as its tokens say it.
    pub issuer: String,
    /// Where the browser is sent.
    pub authorization: String,
    /// Where a code becomes a token.
    pub token: String,
    /// The provider's keys: a JWK set.
    pub keys: String,
    /// Who we are to the provider.
    pub client_id: String,
    /// What shows it; a public client has none.
    pub client_secret: Option<Secret>,
    /// Where the browser comes back: this interface's `/login/callback`, as browsers reach it.
    pub redirect: String,
    /// Which accounts belong to which identities. Holds passwords.
    pub identities: PathBuf,
}

/// Whom the provider vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    subject: String,
    /// What the account may be called.
    name: String,
    email: Option<String>,
}

/// An account of an identity.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Account {
    user: String,
    password: String,
}

struct OpenSignIn {
    verifier: String,
    nonce: String,
    since: Instant,
}

/// The provider, and who came from it.
pub(crate) struct OpenId {
    settings: Settings,
    open: Mutex<HashMap<String, OpenSignIn>>,
    keys: Mutex<Option<JwkSet>>,
    /// Held while an account is made, so that an identity gets one.
    accounts: tokio::sync::Mutex<HashMap<String, Account>>,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    nonce: Option<String>,
    azp: Option<String>,
    preferred_username: Option<String>,
    name: Option<String>,
    email: Option<String>,
}

impl OpenId {
    /// Reads the identities; a file that is not there is empty.
    pub(crate) fn open(settings: Settings) -> io::Result<Self> {
        let accounts = match fs::read(&settings.identities) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => HashMap::new(),
            Err(error) => return Err(error),
        };
        let accounts = tokio::sync::Mutex::new(accounts);
        Ok(Self { settings, open: Mutex::default(), keys: Mutex::default(), accounts })
    }

    /// Where to send the browser, and the state with which it comes back.
    pub(crate) fn begin(&self) -> Result<(String, String), Problem> {
        let (state, nonce, verifier) = (random()?, random()?, random()?);
        let challenge = url_base64(&Sha256::digest(&verifier));
        let Settings { authorization, client_id, redirect, .. } = &self.settings;
        let mark = if authorization.contains('?') { '&' } else { '?' };
        let location = format!(
            "{authorization}{mark}response_type=code&client_id={}&redirect_uri={}&scope=openid%20email%20profile\
             &state={state}&nonce={nonce}&code_challenge={challenge}&code_challenge_method=S256",
            percent(client_id),
            percent(redirect),
        );
        let mut open = held(&self.open);
        if open.len() >= MOST_OPEN {
            open.retain(|_, sign_in| sign_in.since.elapsed() < PATIENCE);
            if open.len() >= MOST_OPEN {
                let status = StatusCode::TOO_MANY_REQUESTS;
                return Err(Problem::new(status, "rate.sign-in", "too many are signing in"));
            }
        }
        open.insert(state.clone(), OpenSignIn { verifier, nonce, since: Instant::now() });
        Ok((location, state))
    }

    /// What the cookie needs besides: with HTTPS it stays there.
    pub(crate) fn cookie_flags(&self) -> &'static str {
        if self.settings.redirect.starts_with("https:") { "; Secure" } else { "" }
    }

    pub(crate) fn forget(&self, state: &str) {
        held(&self.open).remove(state);
    }

    /// Who came back with a code.
    pub(crate) async fn finish(&self, state: &str, code: &str) -> Result<Identity, Problem> {
        let sign_in = held(&self.open).remove(state).filter(|sign_in| sign_in.since.elapsed() < PATIENCE);
        let sign_in =
            sign_in.ok_or_else(|| Problem::unauthorized("signing in took too long, or was done already"))?;
        let Settings { client_id, client_secret, redirect, token, .. } = &self.settings;
        let mut form = format!(
            "grant_type=authorization_code&code={}&redirect_uri={}&client_id={}&code_verifier={}",
            percent(code),
            percent(redirect),
            percent(client_id),
            sign_in.verifier,
        );
        if let Some(secret) = client_secret {
            form += &format!("&client_secret={}", percent(secret.reveal()));
        }
        let answer = self.ask(token, Some(form)).await?;
        let token = answer.get("id_token").and_then(Value::as_str);
        let token = token.ok_or_else(|| Problem::unauthorized("the provider gave no identity"))?;
        let claims = self.verified(token).await?;
        let is_for_us = claims.azp.is_none_or(|party| party == *client_id);
        if claims.nonce.as_deref() != Some(&sign_in.nonce) || !is_for_us {
            return Err(Problem::unauthorized("the identity is not for this sign-in"));
        }
        let local = claims.email.as_deref().and_then(|email| email.split('@').next()).map(Into::into);
        let name = claims.preferred_username.or(local).or(claims.name).unwrap_or_default();
        Ok(Identity { subject: claims.sub, name: account_name(&name), email: claims.email })
    }

    /// What a token claims, if the provider signed it for us and it has not expired.
    async fn verified(&self, token: &str) -> Result<Claims, Problem> {
        let wrong = |_| Problem::unauthorized("the provider's identity token is not right");
        let header = decode_header(token).map_err(wrong)?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) {
            return Err(Problem::unauthorized("the provider signs in a way that is not known here"));
        }
        let key = self.key(header.kid.as_deref()).await?;
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&[&self.settings.client_id]);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Ok(decode(token, &key, &validation).map_err(wrong)?.claims)
    }

    /// The provider's key of that name; asked for anew where it is not known, as providers change them.
    async fn key(&self, id: Option<&str>) -> Result<DecodingKey, Problem> {
        let find = |keys: &JwkSet| {
            let key = match id {
                Some(id) => keys.find(id),
                None => keys.keys.first(),
            };
            key.and_then(|key| DecodingKey::from_jwk(key).ok())
        };
        if let Some(key) = held(&self.keys).as_ref().and_then(find) {
            return Ok(key);
        }
        let keys = self.ask(&self.settings.keys, None).await?;
        let keys: JwkSet = serde_json::from_value(keys)
            .map_err(|_| Problem::unauthorized("the provider's keys are none"))?;
        let key = find(&keys).ok_or_else(|| Problem::unauthorized("the provider has no such key"));
        *held(&self.keys) = Some(keys);
        key
    }

    async fn ask(&self, url: &str, form: Option<String>) -> Result<Value, Problem> {
        fetch::json(url, form).await.map_err(|error| {
            tracing::warn!(protocol = "rest", url, %error, "the provider did not answer");
            let status = StatusCode::BAD_GATEWAY;
            Problem::new(status, "login.provider", "the provider did not answer as it should")
        })
    }

    /// Signs in to the account of an identity, which is made where there is none: a token, and who that is.
    pub(crate) async fn account(
        &self,
        desk: &Desk,
        from: SocketAddr,
        identity: &Identity,
    ) -> Result<Value, Problem> {
        let mut accounts = self.accounts.lock().await;
        let key = format!("{} {}", self.settings.issuer, identity.subject);
        for attempt in 1..=MOST_TRIES {
            let is_new = !accounts.contains_key(&key);
            if is_new {
                let user =
                    if attempt == 1 { identity.name.clone() } else { format!("{}{attempt}", identity.name) };
                accounts.insert(key.clone(), Account { user, password: random()? });
                self.keep(&accounts)?;
            }
            let Some(Account { user, password }) = accounts.get(&key).cloned() else { break };
            let password = Secret::new(password);
            // An account that was made is found here, also after a crash before it was made.
            if !is_new {
                match desk.sign_in(from, &user, &password).await {
                    Err(problem) if problem.code == "login.unknown-name" => {}
                    outcome => return outcome,
                }
            }
            let email = identity.email.as_deref().unwrap_or_default();
            match desk.register(from, requests::register(&user, &password, "", email)).await {
                Ok(_) => return desk.sign_in(from, &user, &password).await,
                Err(problem) if problem.code.starts_with("name.") => {
                    accounts.remove(&key);
                }
                Err(problem) => return Err(problem),
            }
        }
        Err(Problem::new(StatusCode::CONFLICT, "name.used", "no name is free for this identity"))
    }

    /// Writes the file as a whole beside the old one, then in its place.
    fn keep(&self, accounts: &HashMap<String, Account>) -> Result<(), Problem> {
        let path = &self.settings.identities;
        let beside = path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut options = fs::OpenOptions::new();
            options.write(true).create(true).truncate(true);
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&beside)?;
            file.write_all(&serde_json::to_vec_pretty(accounts)?)?;
            file.sync_all()?;
            fs::rename(&beside, path)
        };
        write().map_err(|error| {
            tracing::error!(protocol = "rest", path = %path.display(), %error, "identities can't be written");
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "broker.failed",
                "the server could not keep the identity",
            )
        })
    }
}

/// A name for an account, of what the provider says.
fn account_name(wanted: &str) -> String {
    let mut name = String::new();
    for character in wanted.chars() {
        let is_good = character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
        if name.len() < LONGEST_NAME && is_good {
            name.push(character);
        }
    }
    if name.is_empty() { "user".into() } else { name }
}

/// 256 bits that nobody can guess, as text that may stand in an address.
fn random() -> Result<String, Problem> {
    let mut bytes = [0; 32];
    let random = rustls::crypto::ring::default_provider().secure_random;
    let failed = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "broker.failed", "no random numbers");
    random.fill(&mut bytes).map_err(failed)?;
    Ok(url_base64(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_called_by_what_may_stand_in_a_name() {
        assert_eq!(account_name("Ann Smith/+#"), "AnnSmith");
        assert_eq!(account_name("\u{fc}"), "user");
        assert_eq!(account_name(&"x".repeat(100)).len(), LONGEST_NAME);
    }
}
