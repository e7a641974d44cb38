//! Who is signed in: tokens to users, and numbers of users to their names and back.
//!
//! A token is checked by the broker at its first use and again after `TRUST`, so that one that was revoked ends. Invariant:
//! every table is bounded, and a token is remembered as its digest only.

use super::{
    map::Problem,
    openid::OpenId,
    person::{Line, Person, Start, held},
    server::Settings,
};
use crate::{
    chat::{Call, Refusal, Secret},
    requests,
};
use katydid_chat::base64;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

/// How long a token is trusted that the broker has let in.
const TRUST: Duration = Duration::from_secs(600);

/// Tokens, users and numbers remembered at most, each; a user costs a few KiB besides the connection.
const MOST: usize = 20_000;

type TokenDigest = [u8; 32];

/// What the handlers share.
pub(crate) struct Desk {
    pub(crate) settings: Settings,
    pub(crate) openid: Option<OpenId>,
    start: Start,
    persons: Mutex<HashMap<String, Arc<Person>>>,
    tokens: Mutex<HashMap<TokenDigest, (Arc<Person>, Instant)>>,
    numbers: Mutex<Numbers>,
}

#[derive(Debug, Default)]
struct Numbers {
    users: HashMap<u64, String>,
    numbers: HashMap<String, u64>,
}

impl Desk {
    pub(crate) fn new(settings: Settings, openid: Option<OpenId>, start: Start) -> Self {
        Self {
            settings,
            openid,
            start,
            persons: Mutex::default(),
            tokens: Mutex::default(),
            numbers: Mutex::default(),
        }
    }

    /// Whose token it is; the user is connected when this returns.
    pub(crate) async fn person(&self, token: &str, from: SocketAddr) -> Result<Arc<Person>, Problem> {
        let unknown = || Problem::unauthorized("the token is none");
        let (user, password) = read_token(token).ok_or_else(unknown)?;
        let digest: TokenDigest = Sha256::digest(token).into();
        let known = held(&self.tokens).get(&digest).cloned();
        let person = match known {
            Some((person, checked)) if checked.elapsed() < TRUST => person,
            _ => {
                let line = Line::open(&self.start, false, from, sign_in(&user, &password), |_| {}).await;
                let line = line.inspect_err(|_| drop(held(&self.tokens).remove(&digest)))?;
                let profile = line.ask(requests::my_profile()).await?;
                self.remember(&profile);
                let (user, _) = requests::read_signed_in(&profile);
                let person = self.person_of(&user)?;
                let mut tokens = held(&self.tokens);
                if tokens.len() >= MOST {
                    tokens.retain(|_, (_, checked)| checked.elapsed() < TRUST / 2);
                }
                if tokens.len() < MOST {
                    tokens.insert(digest, (person.clone(), Instant::now()));
                }
                person
            }
        };
        person.enter(&self.start, from, sign_in(&user, &password)).await.inspect_err(|_| {
            held(&self.tokens).remove(&digest);
        })?;
        Ok(person)
    }

    fn person_of(&self, user: &str) -> Result<Arc<Person>, Problem> {
        let mut persons = held(&self.persons);
        if let Some(person) = persons.get(user) {
            return Ok(person.clone());
        }
        if persons.len() >= MOST {
            return Err(Refusal::new(Refusal::FULL).into());
        }
        let person = Arc::new(Person::new(user.into()));
        persons.insert(user.into(), person.clone());
        Ok(person)
    }

    /// Signs out who is idle, and forgets who has nothing left.
    pub(crate) fn sweep(&self) {
        held(&self.tokens).retain(|_, (_, checked)| checked.elapsed() < TRUST);
        let idle = self.settings.idle;
        held(&self.persons).retain(|_, person| !(person.rest(idle) && Arc::strong_count(person) == 1));
    }

    /// Makes an account.
    pub(crate) async fn register(&self, from: SocketAddr, call: Call) -> Result<Value, Problem> {
        let guest = Call::SignIn { user: None, password: None, exclusive: false };
        let line = Line::open(&self.start, false, from, guest, |_| {}).await?;
        let answer = line.ask(call).await?;
        self.remember(&answer);
        Ok(answer)
    }

    /// Signs in with a password: a token, and who that is.
    pub(crate) async fn sign_in(
        &self,
        from: SocketAddr,
        user: &str,
        password: &Secret,
    ) -> Result<Value, Problem> {
        let line = Line::open(&self.start, false, from, sign_in(user, password), |_| {}).await?;
        let profile = line.ask(requests::my_profile()).await?;
        self.remember(&profile);
        let token = line.ask(requests::create_token("rest", self.settings.token_secs)).await?;
        let token = token.get("token").and_then(Value::as_str).unwrap_or_default();
        let (user, _) = requests::read_signed_in(&profile);
        let mut answer = self.user_object(&profile);
        answer["token"] = write_token(&user, token).into();
        Ok(answer)
    }

    fn remember(&self, person: &Value) {
        let number = person.get("number").and_then(Value::as_u64);
        let user = person.get("user").and_then(Value::as_str);
        if let (Some(number), Some(user)) = (number, user) {
            let mut known = held(&self.numbers);
            if known.users.len() >= MOST {
                *known = Numbers::default();
            }
            known.users.insert(number, user.into());
            known.numbers.insert(user.into(), number);
        }
    }

    /// The document's user object of a profile or a person: `id`, `username`, `email` and what there is besides.
    pub(crate) fn user_object(&self, person: &Value) -> Value {
        self.remember(person);
        let name = person.get("user").cloned().unwrap_or_default();
        let mut object = json!({"id": person.get("number").unwrap_or(&name), "username": name});
        for field in ["email", "display", "state"] {
            if let Some(value) = person.get(field) {
                object[field] = value.clone();
            }
        }
        object
    }

    /// The name of a user of whom the number is given, or the name.
    pub(crate) async fn user(&self, asker: &Person, id: &str) -> Result<String, Problem> {
        let Ok(number) = id.parse::<u64>() else { return Ok(id.into()) };
        if let Some(user) = held(&self.numbers).users.get(&number) {
            return Ok(user.clone());
        }
        match asker.ask(requests::profile_of_number(number)).await {
            Ok(profile) => {
                self.remember(&profile);
                Ok(requests::read_signed_in(&profile).0)
            }
            // A name may be nothing but digits.
            Err(refusal) if refusal.code == "user.not-found" => Ok(id.into()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// The number of a user; the name where there is none, as for guests.
    pub(crate) async fn id(&self, asker: &Person, user: &str) -> Value {
        if let Some(number) = held(&self.numbers).numbers.get(user) {
            return (*number).into();
        }
        match asker.ask(requests::profile(user)).await {
            Ok(profile) => {
                self.remember(&profile);
                profile.get("number").cloned().unwrap_or_else(|| user.into())
            }
            Err(_) => user.into(),
        }
    }
}

fn sign_in(user: &str, password: &Secret) -> Call {
    Call::SignIn { user: Some(user.into()), password: Some(password.clone()), exclusive: false }
}

/// A token of the interface: whose it is, and the broker's token.
pub(crate) fn write_token(user: &str, token: &str) -> String {
    url_base64(format!("{user}\n{token}").as_bytes())
}

fn read_token(token: &str) -> Option<(String, Secret)> {
    let mut plain = token.replace('-', "+").replace('_', "/");
    while !plain.len().is_multiple_of(4) {
        plain.push('=');
    }
    let text = String::from_utf8(base64::decode(&plain)?).ok()?;
    let (user, token) = text.split_once('\n')?;
    (!user.is_empty() && !token.is_empty()).then(|| (user.into(), Secret::new(token)))
}

/// Base64 that may stand in an address (RFC 4648, 5), without padding.
pub(crate) fn url_base64(bytes: &[u8]) -> String {
    base64::encode(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}
