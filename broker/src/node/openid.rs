//! The provider of OpenID Connect: its keys, which are fetched on a thread of their own, and the tokens that wait for them.
//!
//! Threads of the verify pool look at tokens with the keys that are there and never wait for the provider: a token that
//! names another key is put aside until the keys were fetched anew, and is then looked at a second and last time.
//! Invariant: what is put aside is bounded, and how often the provider is asked does not depend on how often tokens name
//! keys that there are not.

mod fetch;
#[cfg(test)]
mod tests;
mod token;

use katydid_chat::code::Code;
use katydid_engine::{ConnId, Vouching};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use token::{Keys, Subject, Wrong};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::inbox::{Inbox, Letter};
use crate::config::Provider;

/// Tokens that wait for keys at most.
const WAITING: usize = 1024;
/// Times that keys are fetched for tokens in a short while, and how long it takes until one more may follow.
const FETCHES: u32 = 5;
const FETCH_EVERY: Duration = Duration::from_secs(10);

/// A token to look at.
pub(super) struct Shown {
    /// Index of the shard that asks.
    pub(super) shard: usize,
    /// The connection.
    pub(super) conn: ConnId,
    /// The token; wiped after use.
    pub(super) token: Vec<u8>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.token.fill(0);
        // Keeps the compiler from leaving the wiping out, since nobody reads it any more.
        std::hint::black_box(&self.token);
    }
}

/// The provider, where one is configured, and what is known of it.
#[derive(Debug)]
pub(super) struct OpenId {
    state: Mutex<State>,
    wake: Notify,
    inboxes: Arc<[Arc<Inbox>]>,
}

struct State {
    provider: Option<Arc<Provider>>,
    keys: Arc<Keys>,
    /// Whether the last try to get the keys failed.
    has_failed: bool,
    is_fetching: bool,
    has_thread: bool,
    waiting: Vec<Shown>,
    /// Fetches that may follow now, and since when they are counted.
    fetches_left: u32,
    counted_at: Instant,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl State {
    /// Whether the keys may be fetched once more for a token.
    fn may_fetch(&mut self, now: Instant) -> bool {
        let regained = now.duration_since(self.counted_at).as_secs() / FETCH_EVERY.as_secs();
        if regained > 0 {
            self.fetches_left = FETCHES.min(self.fetches_left + regained as u32);
            self.counted_at = now;
        }
        let may = self.fetches_left > 0;
        self.fetches_left -= u32::from(may);
        may
    }
}

impl OpenId {
    /// No provider yet.
    pub(super) fn new(inboxes: Arc<[Arc<Inbox>]>) -> Self {
        let state = State {
            provider: None,
            keys: Arc::default(),
            has_failed: false,
            is_fetching: false,
            has_thread: false,
            waiting: Vec::new(),
            fetches_left: FETCHES,
            counted_at: Instant::now(),
        };
        Self { state: Mutex::new(state), wake: Notify::new(), inboxes }
    }

    /// This is the provider from here on, or there is none; its keys are fetched anew.
    pub(super) fn set(self: &Arc<Self>, provider: Option<Arc<Provider>>) {
        let mut state = self.lock();
        let keys = |provider: &Option<Arc<Provider>>| provider.as_ref().map(|provider| provider.keys.clone());
        if keys(&provider) != keys(&state.provider) {
            state.keys = Arc::default();
        }
        state.provider = provider;
        if state.provider.is_none() {
            state.is_fetching = false;
            return self.release(state);
        }
        state.is_fetching = true;
        if !state.has_thread {
            let openid = Arc::clone(self);
            // Like the control socket's it ends with the process.
            let thread = thread::Builder::new().name("openid".into()).spawn(move || openid.run());
            match thread {
                Ok(_) => state.has_thread = true,
                Err(error) => {
                    state.is_fetching = false;
                    warn!(%error, "no thread for the provider's keys");
                }
            }
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Looks at a token, and tells the shard that asked; at once, or when the keys were fetched.
    pub(super) fn look(&self, shown: Shown) {
        if let Some((shown, vouching)) = self.judge(shown, false) {
            self.tell(&shown, vouching);
        }
    }

    /// Nobody looks at a token.
    pub(super) fn tell(&self, shown: &Shown, vouching: Vouching) {
        self.inboxes[shown.shard].post(Letter::Vouched { conn: shown.conn, vouching });
    }

    fn judge(&self, shown: Shown, is_last: bool) -> Option<(Shown, Vouching)> {
        let (provider, keys) = {
            let state = self.lock();
            (state.provider.clone(), Arc::clone(&state.keys))
        };
        let Some(provider) = provider else { return Some((shown, Vouching::Bad(Code::LoginBadAccessToken))) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let vouching = match token::check(&shown.token, &provider, &keys, now.as_secs()) {
            Ok(Subject { user, identity, until_unix_ms }) => {
                Vouching::Good { user: user.into(), identity: identity.into(), until_unix_ms }
            }
            Err(Wrong::Refused(code)) => Vouching::Bad(code),
            Err(Wrong::UnknownKey) => {
                let mut state = self.lock();
                if !is_last && (state.is_fetching || state.may_fetch(Instant::now())) {
                    if state.waiting.len() >= WAITING {
                        return Some((shown, Vouching::Unchecked));
                    }
                    state.waiting.push(shown);
                    let was_fetching = std::mem::replace(&mut state.is_fetching, true);
                    drop(state);
                    if !was_fetching {
                        self.wake.notify_one();
                    }
                    return None;
                }
                if state.has_failed { Vouching::NoKeys } else { Vouching::Bad(Code::LoginBadAccessToken) }
            }
        };
        Some((shown, vouching))
    }

    fn run(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(async {
                loop {
                    self.wake.notified().await;
                    self.fetch().await;
                }
            }),
            Err(error) => warn!(%error, "the provider's keys cannot be fetched"),
        }
    }

    async fn fetch(&self) {
        let Some(provider) = self.lock().provider.clone() else { return };
        let outcome = fetch::keys(&provider.keys).await;
        let mut state = self.lock();
        if state.provider.as_ref().is_none_or(|now| now.keys != provider.keys) {
            // Another provider meanwhile: its keys are asked for already.
            return;
        }
        state.has_failed = outcome.is_err();
        match outcome {
            Ok(keys) => {
                info!(keys = keys.len(), "the provider's keys were fetched");
                state.keys = Arc::new(keys);
            }
            Err(error) => warn!(%error, source = ?provider.keys, "the provider's keys cannot be had"),
        }
        state.is_fetching = false;
        self.release(state);
    }

    /// Looks at those tokens again that were put aside.
    fn release(&self, mut state: MutexGuard<'_, State>) {
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for shown in waiting {
            if let Some((shown, vouching)) = self.judge(shown, true) {
                self.tell(&shown, vouching);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
