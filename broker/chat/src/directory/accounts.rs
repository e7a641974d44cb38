//! Requests about oneself: registering, passwords, tokens, profile and presence.

use super::people::{GUEST, Uid};
use super::places::{Member, Root};
use super::records::{self, TokenRecord};
use super::requests::{Asker, Reply};
use super::sign_in::{TOKEN_PREFIX, Token, name_code, shared};
use super::{Directory, Due, Effect, Pending, SessionId, chance};
use crate::code::Code;
use crate::event;
use crate::name;
use crate::request::{
    Done, Myself, PROFILE_FIELDS, Password, PresenceSet, Present, Profile, ProfileGet, ProfileSet, Register,
    Registered, State, TokenCreate, TokenCreated, TokenInfo, TokenList, TokenRevoke, Tokens, Unregister,
    WhoAmI,
};

/// Passwords that one user may have hashed, a minute.
const HASHES_PER_MINUTE: u64 = 10;

/// How long a session lasts after its account is gone, so that the answer reaches it, in milliseconds.
const FAREWELL_MS: u64 = 1000;

/// An account that is made when its password is hashed.
#[derive(Debug)]
pub(super) struct NewAccount {
    pub(super) name: String,
    pub(super) email: Option<String>,
    pub(super) display: Option<String>,
    /// Whose anonymous name it may be.
    pub(super) uid: Uid,
}

impl Directory {
    pub(super) fn who_am_i(&mut self, asker: &Asker, _ask: WhoAmI) -> Result<Option<Myself>, Code> {
        let user = self.user(asker.uid).ok_or(Code::UserNotFound)?;
        let count = |root: Root| {
            let is_in = |pid: &&u64| {
                let place = self.place(**pid).filter(|place| place.root == root);
                place.is_some_and(|place| place.members.get(&asker.uid).is_some_and(Member::is_in))
            };
            user.places.iter().filter(is_in).count() as u64
        };
        Ok(Some(Myself {
            user: user.name.to_string(),
            kind: user.kind_json(),
            number: user.account.as_ref().map(|account| account.number),
            state: user.state(),
            text: user.profile.text.clone(),
            rooms: count(Root::Room),
            groups: count(Root::Group),
        }))
    }

    pub(super) fn register(&mut self, asker: &Asker, ask: Register) -> Result<Option<Registered>, Code> {
        if !asker.is_operator() {
            match &self.rules.registration {
                super::Registration::Open => {}
                super::Registration::Token(token) if ask.token.as_ref() == Some(token) => {}
                super::Registration::Token(_) => return Err(Code::LoginBadToken),
                super::Registration::Operator => return Err(Code::LoginRegistrationClosed),
            }
        }
        let key = self.free_name(&ask.name, asker.uid)?;
        if !asker.is_operator() {
            if self.rules.reserves_user(&key) {
                return Err(Code::NameReserved);
            }
            self.may_hash(asker)?;
        }
        let Register { name, password, email, display, .. } = ask;
        let account = NewAccount { name, email, display, uid: asker.uid };
        self.hash(password, Pending::Register { reply: asker.reply.clone(), account });
        Ok(None)
    }

    /// The key of a name that can be registered by a user: nobody has it, or the user itself, anonymously.
    pub(super) fn free_name(&self, name: &str, uid: Uid) -> Result<String, Code> {
        let key = name::user_key(name).map_err(name_code)?;
        if key == name::BROKER || key.starts_with(GUEST) || self.erasing.contains_key(&key) {
            return Err(Code::NameReserved);
        }
        if self.is_registered(name, &key)? {
            return Err(Code::NameUsed);
        }
        match self.people.by_key.get(&key) {
            Some(&holder) if holder != uid => Err(Code::NameUsed),
            Some(&holder) if *self.name_of(holder) != *name => Err(Code::NameSpelling),
            _ => Ok(key),
        }
    }

    pub(super) fn registered_with(
        &mut self,
        new: NewAccount,
        hash: &str,
        scram: Option<&str>,
    ) -> Result<Registered, Code> {
        let key = self.free_name(&new.name, new.uid)?;
        let hash = shared(hash).ok_or(Code::Failed)?;
        let uid = self.add_account(&new.name, key, Some(hash));
        if let Some(user) = self.people.all.get_mut(&uid) {
            if let Some(account) = &mut user.account {
                account.scram = scram.and_then(shared);
            }
            user.profile.email = new.email.filter(|email| !email.is_empty());
            user.profile.display = new.display.filter(|display| !display.is_empty());
        }
        self.keep_user(uid);
        self.retain_profile(uid);
        let number = self.user(uid).and_then(|user| user.account.as_ref()).map(|account| account.number);
        Ok(Registered { user: new.name, number: number.unwrap_or(0) })
    }

    /// Whether a user may have one more password hashed now; each costs a thread some time.
    pub(super) fn may_hash(&mut self, asker: &Asker) -> Result<(), Code> {
        let now = self.clock.steady;
        if asker.is_operator() {
            return Ok(());
        }
        let user = self.user_mut(asker.uid).ok_or(Code::UserNotFound)?;
        let may = user.guesses.take(now, HASHES_PER_MINUTE, HASHES_PER_MINUTE);
        if may && self.may_spend(asker.address) { Ok(()) } else { Err(Code::RateRequests) }
    }

    pub(super) fn hash(&mut self, password: String, pending: Pending) {
        let ticket = self.next_ticket();
        let wants_scram = matches!(pending, Pending::Register { .. } | Pending::Password { .. });
        self.pending.insert(ticket, pending);
        self.out.push(Effect::Hash { ticket, wants_scram, password: password.into_bytes() });
    }

    fn is_of_file(&self, uid: Uid) -> bool {
        self.rules.accounts.contains_key(self.key_of(uid))
    }

    pub(super) fn unregister(&mut self, asker: &Asker, _ask: Unregister) -> Result<Option<Done>, Code> {
        asker.registered()?;
        self.end_account(asker.uid, asker.session)?;
        Ok(Some(Done {}))
    }

    /// Ends an account with its sessions; the one that asked for it hears the answer first.
    pub(super) fn end_account(&mut self, uid: Uid, asking: Option<SessionId>) -> Result<(), Code> {
        if self.is_of_file(uid) {
            return Err(Code::LoginOperatorsAccount);
        }
        let sessions = self.user(uid).map(|user| user.sessions.clone()).unwrap_or_default();
        self.remove_user(uid);
        for session in sessions {
            if Some(session) == asking {
                self.due.insert((self.clock.steady.saturating_add(FAREWELL_MS), Due::End(session)));
            } else {
                self.after.push(Effect::End { session });
            }
        }
        Ok(())
    }

    pub(super) fn change_password(&mut self, asker: &Asker, ask: Password) -> Result<Option<Done>, Code> {
        asker.registered()?;
        if self.is_of_file(asker.uid) {
            return Err(Code::LoginOperatorsAccount);
        }
        if !self.may_attempt(asker.uid, asker.address) {
            return Err(Code::RateSignIn);
        }
        let account = self.user(asker.uid).and_then(|user| user.account.as_ref());
        let hash = account.and_then(|account| account.hash.clone()).ok_or(Code::LoginWrongPassword)?;
        self.may_hash(asker)?;
        let ticket = self.next_ticket();
        self.pending.insert(ticket, Pending::OldPassword { asker: asker.clone(), new: ask.new });
        self.out.push(Effect::Verify { ticket, hash, password: ask.old.into_bytes() });
        Ok(None)
    }

    pub(super) fn old_password_checked(&mut self, asker: Asker, new: String, good: bool) {
        if good {
            let uid = asker.uid;
            self.hash(new, Pending::Password { reply: asker.reply, uid });
        } else {
            self.attempt_failed(asker.uid, asker.address);
            self.out.push(asker.reply.refuse(Code::LoginWrongPassword));
        }
    }

    pub(super) fn new_password(&mut self, reply: &Reply, uid: Uid, hash: &str, scram: Option<&str>) {
        let account = self.people.all.get_mut(&uid).and_then(|user| user.account.as_mut());
        let outcome = match (account, shared(hash)) {
            (Some(account), Some(hash)) => {
                account.hash = Some(hash);
                account.scram = scram.and_then(shared);
                self.keep_user(uid);
                Ok(Some(Done {}))
            }
            (None, _) => Err(Code::UserNotFound),
            (_, None) => Err(Code::Failed),
        };
        self.conclude(reply, outcome);
    }

    pub(super) fn token_create(
        &mut self,
        asker: &Asker,
        ask: TokenCreate,
    ) -> Result<Option<TokenCreated>, Code> {
        asker.registered()?;
        let (wall, most) = (self.clock.wall, self.rules.contacts_per_user);
        let account = self.user(asker.uid).and_then(|user| user.account.as_ref()).ok_or(Code::LoginNeeded)?;
        if account.tokens.len() >= most {
            return Err(Code::Limit);
        }
        let text = format!("{TOKEN_PREFIX}{}", self.chance.hex(24));
        let key = self.chance.hex(8);
        let digest = chance::digest(&[text.as_bytes()]);
        let expires_ms =
            ask.expiry_secs.map_or(0, |secs| wall.saturating_add(secs.saturating_mul(1000)).max(1));
        let token =
            Token { uid: asker.uid, key: key.clone(), label: ask.label, created_ms: wall, expires_ms };
        self.tokens.insert(digest, token);
        if let Some(account) = self.user_mut(asker.uid).and_then(|user| user.account.as_mut()) {
            account.tokens.insert(key.clone(), digest);
        }
        if let Some((key, value)) = self.token_record(&digest) {
            self.out.push(Effect::Put { key, value });
        }
        Ok(Some(TokenCreated { token: text, key }))
    }

    pub(super) fn token_record(&self, digest: &[u8; 32]) -> Option<(Vec<u8>, Vec<u8>)> {
        let token = self.tokens.get(digest)?;
        let record = TokenRecord {
            v: records::VERSION,
            user: self.key_of(token.uid).to_owned(),
            key: token.key.clone(),
            label: token.label.clone(),
            created_ms: token.created_ms,
            expires_ms: token.expires_ms,
        };
        Some((records::key(records::TOKEN, digest), records::value(&record)))
    }

    pub(super) fn forget_token(&mut self, digest: [u8; 32]) {
        self.tokens.remove(&digest);
        self.out.push(Effect::Delete { key: records::key(records::TOKEN, &digest) });
    }

    pub(super) fn token_list(&mut self, asker: &Asker, _ask: TokenList) -> Result<Option<Tokens>, Code> {
        asker.registered()?;
        let account = self.user(asker.uid).and_then(|user| user.account.as_ref()).ok_or(Code::LoginNeeded)?;
        let tokens = account.tokens.values().filter_map(|digest| self.tokens.get(digest));
        let tokens = tokens.map(|token| TokenInfo {
            key: token.key.clone(),
            label: token.label.clone(),
            created: crate::time::format(token.created_ms),
            expires: (token.expires_ms > 0).then(|| crate::time::format(token.expires_ms)),
        });
        Ok(Some(Tokens { tokens: tokens.collect() }))
    }

    pub(super) fn token_revoke(&mut self, asker: &Asker, ask: TokenRevoke) -> Result<Option<Done>, Code> {
        asker.registered()?;
        let account = self.user_mut(asker.uid).and_then(|user| user.account.as_mut());
        let digest = account.and_then(|account| account.tokens.remove(&ask.key)).ok_or(Code::NotFound)?;
        self.forget_token(digest);
        Ok(Some(Done {}))
    }

    pub(super) fn profile_get(&mut self, asker: &Asker, ask: ProfileGet) -> Result<Option<Profile>, Code> {
        let uid = match (ask.user, ask.number) {
            (Some(name), _) => self.people.by_name(&name),
            (None, Some(number)) => self.people.by_number.get(&number).copied(),
            (None, None) => Some(asker.uid),
        };
        let uid = uid.ok_or(Code::UserNotFound)?;
        self.profile(uid, uid == asker.uid || asker.is_operator()).map(Some).ok_or(Code::UserNotFound)
    }

    pub(super) fn profile(&self, uid: Uid, is_own: bool) -> Option<Profile> {
        let user = self.user(uid)?;
        let profile = &user.profile;
        let account = user.account.as_ref();
        let seen_ms = account.map_or(0, |account| account.seen_ms);
        Some(Profile {
            user: user.name.to_string(),
            kind: user.kind_json(),
            number: account.map(|account| account.number),
            display: profile.display.clone(),
            email: profile.email.clone().filter(|_| is_own),
            fields: profile.fields.clone(),
            created: account.map(|account| crate::time::format(account.created_ms)),
            seen: (seen_ms > 0).then(|| crate::time::format(seen_ms)),
            state: user.state(),
            text: profile.text.clone(),
            delete_on_delivery: profile.delete_on_delivery && is_own,
        })
    }

    pub(super) fn profile_set(&mut self, asker: &Asker, ask: ProfileSet) -> Result<Option<Profile>, Code> {
        asker.named()?;
        let user = self.user_mut(asker.uid).ok_or(Code::UserNotFound)?;
        let mut fields = user.profile.fields.clone();
        for (key, value) in ask.fields {
            match value {
                Some(value) => fields.insert(key, value),
                None => fields.remove(&key),
            };
        }
        if fields.len() > PROFILE_FIELDS {
            return Err(Code::Limit);
        }
        let profile = &mut user.profile;
        profile.fields = fields;
        if let Some(display) = ask.display {
            profile.display = Some(display).filter(|display| !display.is_empty());
        }
        if let Some(email) = ask.email {
            profile.email = Some(email).filter(|email| !email.is_empty());
        }
        let forgets = ask.delete_on_delivery.filter(|forgets| *forgets != profile.delete_on_delivery);
        profile.delete_on_delivery = forgets.unwrap_or(profile.delete_on_delivery);
        if user.account.is_some() {
            self.keep_user(asker.uid);
        }
        if forgets.is_some() {
            self.tell_forgets(asker.uid, true);
            self.forget_delivered(asker.uid);
        }
        self.retain_profile(asker.uid);
        self.profile(asker.uid, true).map(Some).ok_or(Code::UserNotFound)
    }

    /// What everybody may see of a profile and does not change by itself.
    pub(super) fn retain_profile(&mut self, uid: Uid) {
        #[derive(serde::Serialize)]
        struct Shown<'a> {
            user: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            display: Option<&'a str>,
            #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
            fields: &'a std::collections::BTreeMap<String, String>,
        }
        let Some(user) = self.people.all.get(&uid) else { return };
        let profile = &user.profile;
        let shown = Shown { user: &user.name, display: profile.display.as_deref(), fields: &profile.fields };
        let topic = format!("user/{}/profile", user.name);
        self.out.push(Effect::Retain { topic, payload: event::json(&shown) });
    }

    pub(super) fn presence_set(&mut self, asker: &Asker, ask: PresenceSet) -> Result<Option<Present>, Code> {
        let user = self.people.all.get_mut(&asker.uid).ok_or(Code::UserNotFound)?;
        if let Some(text) = ask.text {
            user.profile.text = Some(text).filter(|text| !text.is_empty());
        }
        let session = asker.session.and_then(|session| self.sessions.get_mut(&session));
        if let (Some(state), Some(session)) = (ask.state, session) {
            let is_away = state == State::Away;
            if session.is_connected && session.is_away != is_away {
                session.is_away = is_away;
                user.away = if is_away { user.away + 1 } else { user.away.saturating_sub(1) };
            }
        }
        let present = Present { state: user.state(), text: user.profile.text.clone() };
        if user.account.is_some() {
            self.keep_user(asker.uid);
        }
        self.changed_state(asker.uid);
        Ok(Some(present))
    }
}
