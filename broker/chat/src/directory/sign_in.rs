//! Signing in: who may connect under which name, and how often one may try.

use super::people::{BROKER_UID, GUEST, Uid};
use super::{Directory, Proof, SignIn, chance, clock::Bucket};
use crate::code::Code;
use crate::name::{self, NameError};
use crate::permission::UserKind;
use crate::scram::Verifier;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// What tokens begin with.
pub(super) const TOKEN_PREFIX: &str = "kt_";

/// Failed attempts, by name and by address. Bounded: at most [`ATTEMPTS`] of each are remembered.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    by_name: HashMap<(String, Option<IpAddr>), Bucket>,
    by_address: HashMap<IpAddr, Bucket>,
    /// Passwords that were hashed for other reasons.
    spent: HashMap<IpAddr, Bucket>,
}

const ATTEMPTS: usize = 50_000;

impl Attempts {
    fn may_try(&mut self, key: &str, address: Option<IpAddr>, now: u64, rates: (u64, u64)) -> bool {
        let address = address.map(network);
        let by_name = self.by_name.get_mut(&(key.to_owned(), address));
        let name_may = by_name.is_none_or(|bucket| bucket.has(now, rates.0, rates.0));
        let by_address = address.and_then(|address| self.by_address.get_mut(&address));
        name_may && by_address.is_none_or(|bucket| bucket.has(now, rates.1, rates.1))
    }

    fn failed(&mut self, key: &str, address: Option<IpAddr>, now: u64, rates: (u64, u64)) {
        let address = address.map(network);
        // Those that count nothing any more make room; an attacker with more addresses than that gains a forgotten failure.
        if self.by_name.len() >= ATTEMPTS {
            self.by_name.retain(|_, bucket| !bucket.is_full(now, rates.0));
        }
        if self.by_address.len() >= ATTEMPTS {
            self.by_address.retain(|_, bucket| !bucket.is_full(now, rates.1));
        }
        if self.by_name.len() < ATTEMPTS {
            let bucket = self.by_name.entry((key.to_owned(), address)).or_default();
            bucket.take(now, rates.0, rates.0);
        }
        if let Some(address) = address
            && (self.by_address.len() < ATTEMPTS || self.by_address.contains_key(&address))
        {
            self.by_address.entry(address).or_default().take(now, rates.1, rates.1);
        }
    }
}

impl Directory {
    /// Whether one more password may be hashed for an address, beside those of sign-ins: guests are many and cost nothing.
    pub(super) fn may_spend(&mut self, address: Option<IpAddr>) -> bool {
        let (now, rate) = (self.clock.steady, u64::from(self.rules.hashes_per_address));
        let Some(address) = address.map(network) else { return true };
        let spent = &mut self.attempts.spent;
        if spent.len() >= ATTEMPTS {
            spent.retain(|_, bucket| !bucket.is_full(now, rate));
        }
        spent.len() < ATTEMPTS && spent.entry(address).or_default().take(now, rate, rate)
    }
}

/// What counts as one address: all of a /64 belongs to one customer.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        },
    }
}

/// Whether a password looks like a JWT: a header, which begins with `{"`, and two more parts.
fn is_access_token(password: &[u8]) -> bool {
    password.starts_with(b"eyJ") && password.iter().filter(|&&byte| byte == b'.').count() == 2
}

pub(super) fn name_code(error: NameError) -> Code {
    match error {
        NameError::TooLong => Code::NameTooLong,
        NameError::Empty | NameError::Character => Code::NameInvalid,
    }
}

impl Directory {
    pub(super) fn sign_in(&mut self, name: &str, proof: Proof<'_>, address: Option<IpAddr>) -> SignIn {
        self.try_sign_in(name, proof, address).unwrap_or_else(SignIn::Refused)
    }

    fn try_sign_in(&mut self, name: &str, proof: Proof<'_>, address: Option<IpAddr>) -> Result<SignIn, Code> {
        let key = match (name, proof) {
            // Of a token that says itself whose it is, nobody knows the name yet.
            ("", Proof::Token | Proof::Rejected(_)) => String::new(),
            _ => name::user_key(name).map_err(name_code)?,
        };
        if key == name::BROKER || key.starts_with(GUEST) {
            return Err(Code::NameReserved);
        }
        if self.erasing.contains_key(&key) {
            return Err(Code::NameReserved);
        }
        match proof {
            Proof::None { exclusive } => self.anonymous(name, key, exclusive, address),
            Proof::Certificate => {
                let uid = self.proven(name, key)?;
                self.let_in(uid)
            }
            Proof::Password(password) => self.with_password(name, &key, password, address),
            Proof::Checked { scram } => {
                let uid = self.checked(name, key, address)?;
                self.learn_scram(uid, scram);
                self.let_in(uid)
            }
            Proof::Proven => {
                let uid = self.checked(name, key, address)?;
                self.let_in(uid)
            }
            Proof::Failed => Err(self.rejected(&key, address, Code::LoginWrongPassword)),
            Proof::Rejected(code) => Err(self.rejected(&key, address, code)),
            Proof::Scram => self.with_scram(name, &key, address),
            Proof::Token => self.with_token(&key, address),
            Proof::Vouched { identity } => self.vouched(name, key, identity),
        }
    }

    /// The account whose password was checked. Many may be under way at once: those that come out after the limit was
    /// reached tell nobody whether they were right.
    fn checked(&mut self, name: &str, key: String, address: Option<IpAddr>) -> Result<Uid, Code> {
        self.may_sign_in(&key, address)?;
        match self.registered(&key) {
            Some(uid) => Ok(uid),
            None if self.rules.accounts.contains_key(&key) => self.proven(name, key),
            None => Err(Code::LoginUnknownName),
        }
    }

    fn rejected(&mut self, key: &str, address: Option<IpAddr>, code: Code) -> Code {
        if let Err(code) = self.may_sign_in(key, address) {
            return code;
        }
        let (now, rates) = (self.clock.steady, self.failure_rates());
        self.attempts.failed(key, address, now, rates);
        code
    }

    fn may_sign_in(&mut self, key: &str, address: Option<IpAddr>) -> Result<(), Code> {
        let (now, rates) = (self.clock.steady, self.failure_rates());
        if self.attempts.may_try(key, address, now, rates) { Ok(()) } else { Err(Code::RateSignIn) }
    }

    fn failure_rates(&self) -> (u64, u64) {
        let rules = &self.rules;
        (rules.sign_in_failures_per_name.into(), rules.sign_in_failures_per_address.into())
    }

    fn registered(&self, key: &str) -> Option<Uid> {
        let uid = *self.people.by_key.get(key)?;
        (uid != BROKER_UID && self.user(uid)?.account.is_some()).then_some(uid)
    }

    /// Whether a name belongs to an account, here or in the operator's file; an error where the spelling is another.
    pub(super) fn is_registered(&self, name: &str, key: &str) -> Result<bool, Code> {
        let here = self.registered(key).and_then(|uid| self.user(uid)).map(|user| &user.name);
        let spelling = here.or_else(|| self.rules.accounts.get(key).map(|account| &account.name));
        match spelling {
            Some(spelling) if **spelling != *name => Err(Code::NameSpelling),
            Some(_) => Ok(true),
            None => Ok(false),
        }
    }

    fn anonymous(
        &mut self,
        name: &str,
        key: String,
        exclusive: bool,
        address: Option<IpAddr>,
    ) -> Result<SignIn, Code> {
        if self.is_registered(name, &key)? {
            return Err(Code::LoginRegisteredName);
        }
        if !self.rules.anonymous {
            return Err(Code::LoginAnonymousRefused);
        }
        if self.rules.reserves_user(&key) {
            return Err(Code::NameReserved);
        }
        if let Some(&uid) = self.people.by_key.get(&key) {
            let Some(user) = self.user(uid) else { return Err(Code::Failed) };
            if *user.name != *name {
                return Err(Code::NameSpelling);
            }
            if exclusive || user.address != address {
                return Err(Code::LoginNameUsed);
            }
            return Ok(SignIn::Enter { user: user.name.clone(), kind: UserKind::Anonymous });
        }
        let uid = self.add_nameless(name, key, address);
        Ok(SignIn::Enter { user: self.name_of(uid), kind: UserKind::Anonymous })
    }

    fn with_password(
        &mut self,
        name: &str,
        key: &str,
        password: &[u8],
        address: Option<IpAddr>,
    ) -> Result<SignIn, Code> {
        self.may_sign_in(key, address)?;
        if self.rules.openid && is_access_token(password) {
            return Ok(SignIn::CheckToken);
        }
        let (now, rates) = (self.clock.steady, self.failure_rates());
        if !self.is_registered(name, key)? {
            self.attempts.failed(key, address, now, rates);
            return Err(Code::LoginUnknownName);
        }
        let uid = self.registered(key);
        let account = uid.and_then(|uid| self.user(uid)).and_then(|user| user.account.as_ref());
        if account.is_some_and(|account| account.is_blocked) {
            return Err(Code::LoginBlocked);
        }
        if password.starts_with(TOKEN_PREFIX.as_bytes())
            && let Some(uid) = uid
            && self.token_fits(uid, password)
        {
            return self.let_in(uid);
        }
        let of_file = self.rules.accounts.get(key).map(|account| (account.hash.clone(), false));
        let own = account.and_then(|account| Some((account.hash.clone()?, account.scram.is_none())));
        match of_file.or(own) {
            Some((hash, wants_scram)) => Ok(SignIn::Check { hash, wants_scram }),
            None => {
                self.attempts.failed(key, address, now, rates);
                Err(Code::LoginWrongPassword)
            }
        }
    }

    /// An account from before there were verifiers gets one with its next password.
    fn learn_scram(&mut self, uid: Uid, scram: Option<&str>) {
        let account = self.people.all.get_mut(&uid).and_then(|user| user.account.as_mut());
        if let (Some(account), Some(scram)) = (account, scram.and_then(shared))
            && account.hash.is_some()
            && account.scram.is_none()
        {
            account.scram = Some(scram);
            self.keep_user(uid);
        }
    }

    /// Who asks for a name that is not there gets a challenge too, and is told nothing.
    fn with_scram(&mut self, name: &str, key: &str, address: Option<IpAddr>) -> Result<SignIn, Code> {
        self.may_sign_in(key, address)?;
        let verifier = if self.is_registered(name, key) == Ok(true) {
            let own = || {
                let user = self.registered(key).and_then(|uid| self.user(uid));
                user.and_then(|user| user.account.as_ref()).and_then(|account| account.scram.clone())
            };
            let text = match self.rules.accounts.get(key) {
                Some(of_file) => of_file.scram.clone(),
                None => own(),
            };
            let Some(text) = text else { return Err(self.rejected(key, address, Code::LoginNoScram)) };
            Verifier::parse(&text).ok_or(Code::Failed)?
        } else {
            Verifier::of_nobody(self.chance.kept.as_deref().unwrap_or_default().as_bytes(), name)
        };
        Ok(SignIn::Challenge { verifier: Box::new(verifier), nonce: self.chance.hex(18) })
    }

    fn with_token(&mut self, key: &str, address: Option<IpAddr>) -> Result<SignIn, Code> {
        self.may_sign_in(key, address)?;
        if !self.rules.openid {
            return Err(self.rejected(key, address, Code::LoginBadAccessToken));
        }
        Ok(SignIn::CheckToken)
    }

    /// Somebody for whom the provider vouches: the account is made at the first time, and is nobody else's from then on.
    fn vouched(&mut self, name: &str, key: String, identity: &str) -> Result<SignIn, Code> {
        if self.rules.accounts.contains_key(&key) {
            return Err(Code::LoginOtherAccount);
        }
        if let Some(uid) = self.registered(&key) {
            self.is_registered(name, &key)?;
            let account = self.user(uid).and_then(|user| user.account.as_ref());
            let is_theirs = account.is_some_and(|account| account.identity.as_deref() == Some(identity));
            return if is_theirs { self.let_in(uid) } else { Err(Code::LoginOtherAccount) };
        }
        if self.rules.reserves_user(&key) {
            return Err(Code::NameReserved);
        }
        let uid = self.proven(name, key)?;
        if let Some(account) = self.people.all.get_mut(&uid).and_then(|user| user.account.as_mut()) {
            account.identity = shared(identity);
        }
        self.keep_user(uid);
        self.let_in(uid)
    }

    fn token_fits(&self, uid: Uid, password: &[u8]) -> bool {
        let digest = chance::digest(&[password]);
        let token = self.tokens.get(&digest);
        token.is_some_and(|token| {
            token.uid == uid && (token.expires_ms == 0 || token.expires_ms > self.clock.wall)
        })
    }

    fn let_in(&self, uid: Uid) -> Result<SignIn, Code> {
        let user = self.user(uid).ok_or(Code::LoginUnknownName)?;
        match &user.account {
            Some(account) if account.is_blocked => Err(Code::LoginBlocked),
            Some(_) => Ok(SignIn::Enter { user: user.name.clone(), kind: UserKind::Registered }),
            None => Err(Code::LoginUnknownName),
        }
    }

    /// The account of somebody whom the listener or the operator's file vouches for: made at the first time. Whoever had
    /// the name without proof loses it.
    fn proven(&mut self, name: &str, key: String) -> Result<Uid, Code> {
        if let Some(uid) = self.registered(&key) {
            self.is_registered(name, &key)?;
            return Ok(uid);
        }
        if let Some(&squatter) = self.people.by_key.get(&key) {
            for session in self.user(squatter).map(|user| user.sessions.clone()).unwrap_or_default() {
                self.out.push(super::Effect::End { session });
            }
            self.remove_user(squatter);
        }
        Ok(self.add_account(name, key, None))
    }

    pub(super) fn attempt_failed(&mut self, uid: Uid, address: Option<IpAddr>) {
        let (now, rates) = (self.clock.steady, self.failure_rates());
        let key = self.key_of(uid).to_owned();
        self.attempts.failed(&key, address, now, rates);
    }

    pub(super) fn may_attempt(&mut self, uid: Uid, address: Option<IpAddr>) -> bool {
        let (now, rates) = (self.clock.steady, self.failure_rates());
        let key = self.key_of(uid).to_owned();
        self.attempts.may_try(&key, address, now, rates)
    }
}

/// A token, by its digest.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) uid: Uid,
    pub(super) key: String,
    pub(super) label: Option<String>,
    pub(super) created_ms: u64,
    pub(super) expires_ms: u64,
}

/// All tokens.
pub(super) type Tokens = BTreeMap<[u8; 32], Token>;

/// The hash that a new account has, shared.
pub(super) fn shared(hash: &str) -> Option<Arc<str>> {
    (!hash.is_empty()).then(|| hash.into())
}
