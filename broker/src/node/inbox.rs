//! The letter boxes of the shards: the only thing that threads share on the path of a message.
//!
//! Any thread posts; only the owning shard takes. A shard is woken once, when it sleeps, however many letters follow.
//! Invariant: `sleeping` is set under the lock and only while the box is empty, so that no letter is left behind.

use bytes::Bytes;
use katydid_chat::{code::Code, search::Findings};
use katydid_engine::{ConnId, Input, Peer, Settings, ShardId, ShardMessage, Verdict, Vouching};
use katydid_store::Entry;
use mio::Waker;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{accept::Admitted, shard::Shard, transport::Transport};

/// What a shard is told from outside its thread.
#[derive(Debug)]
pub(super) enum Letter {
    /// A message of another shard.
    Shard {
        /// The sender.
        from: ShardId,
        /// The message.
        message: ShardMessage,
    },
    /// Commits of this shard up to this number are on disk.
    Durable(u64),
    /// What was read from the store.
    Fetched {
        /// As asked.
        ticket: u64,
        /// The entries, ascending.
        entries: Vec<Entry>,
    },
    /// A password was checked.
    Verified {
        /// The connection that waits.
        conn: ConnId,
        /// What became of it.
        verdict: Verdict,
        /// Its verifier for SCRAM, where it was asked for.
        scram: Option<Box<str>>,
    },
    /// An access token was looked at.
    Vouched {
        /// The connection that waits.
        conn: ConnId,
        /// What became of it.
        vouching: Vouching,
    },
    /// The directory's password was hashed, or checked, or the operator asks for something.
    Directory(DirectoryInput),
    /// A connection whose session lives here.
    Arrival(Box<Arrival>),
    /// New settings.
    Reload(Arc<Settings>),
    /// Statistics to publish.
    System(Vec<(String, String)>),
    /// Control wants to know the counters.
    Report,
    /// The broker goes down.
    Shutdown,
    /// Every shard has handed out what the shutdown asked for: write what is left, then end.
    Stop,
    /// Shards that this shard's thread is to drive from now on.
    Lodgers(Vec<Shard>),
}

/// What the first shard's directory is told by other threads.
#[derive(Debug)]
pub(super) enum DirectoryInput {
    /// A password was hashed: a PHC string, or empty.
    Hashed {
        /// As asked.
        ticket: u64,
        /// The hash.
        phc: String,
        /// The verifier for SCRAM, where it was asked for.
        scram: Option<Box<str>>,
    },
    /// A password was checked.
    Checked {
        /// As asked.
        ticket: u64,
        /// Whether it fits.
        good: bool,
    },
    /// Words were looked for.
    Found {
        /// As asked.
        ticket: u64,
        /// What was found, or why nobody looked.
        findings: Result<Findings, Code>,
    },
    /// The operator asks.
    Operate {
        /// Comes back with the answer.
        ticket: u64,
        /// What for.
        verb: String,
        /// JSON.
        body: Vec<u8>,
    },
}

/// A connection on its way from the shard that greeted it to the shard of its session.
#[derive(Debug)]
pub(super) struct Arrival {
    /// Its transport, not registered anywhere.
    pub(super) transport: Transport,
    /// Its other end.
    pub(super) peer: Peer,
    /// Its place among the connections that are allowed.
    pub(super) admitted: Admitted,
    /// What was read so far: its CONNECT, and what followed.
    pub(super) bytes: Bytes,
    /// Whether the transport may hold more that no event will tell of.
    pub(super) more: bool,
}

impl Letter {
    /// The input of the engine that this letter carries, or the letter itself where the driver handles it.
    pub(super) fn into_input(self) -> Result<Input, Letter> {
        match self {
            Self::Shard { from, message } => Ok(Input::Shard { from, message }),
            Self::Durable(number) => Ok(Input::Durable { number }),
            Self::Fetched { ticket, entries } => Ok(Input::Fetched { ticket, entries }),
            Self::Verified { conn, verdict, scram } => Ok(Input::Verified { conn, verdict, scram }),
            Self::Vouched { conn, vouching } => Ok(Input::Vouched { conn, vouching }),
            Self::Directory(DirectoryInput::Hashed { ticket, phc, scram }) => {
                Ok(Input::Hashed { ticket, phc, scram })
            }
            Self::Directory(DirectoryInput::Checked { ticket, good }) => {
                Ok(Input::VerifiedFor { ticket, good })
            }
            Self::Directory(DirectoryInput::Found { ticket, findings }) => {
                Ok(Input::Found { ticket, findings })
            }
            Self::Directory(DirectoryInput::Operate { ticket, verb, body }) => {
                Ok(Input::Operate { ticket, verb, body })
            }
            Self::Reload(settings) => Ok(Input::Reload(settings)),
            Self::System(topics) => Ok(Input::System(topics)),
            other => Err(other),
        }
    }
}

/// One shard's letter box.
#[derive(Debug)]
pub(super) struct Inbox {
    state: Mutex<State>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct State {
    letters: Vec<Letter>,
    sleeping: bool,
}

impl Inbox {
    /// A box whose owner waits where `waker` wakes.
    pub(super) fn new(waker: Waker) -> Self {
        Self { state: Mutex::default(), waker }
    }

    /// Puts a letter in.
    pub(super) fn post(&self, letter: Letter) {
        let mut state = self.lock();
        state.letters.push(letter);
        self.wake(state);
    }

    /// Puts all of `letters` in, in their order, with one wake-up at most, and leaves it empty.
    pub(super) fn post_all(&self, letters: &mut Vec<Letter>) {
        if letters.is_empty() {
            return;
        }
        let mut state = self.lock();
        state.letters.append(letters);
        self.wake(state);
    }

    /// Swaps the letters into `into`, which must be empty. The owner is awake from here on.
    pub(super) fn take(&self, into: &mut Vec<Letter>) {
        debug_assert!(into.is_empty(), "letters that were taken before are still there");
        let mut state = self.lock();
        state.sleeping = false;
        std::mem::swap(&mut state.letters, into);
    }

    /// Tells that the owner is about to wait. Returns false when there is mail, and then it must not.
    pub(super) fn try_sleep(&self) -> bool {
        let mut state = self.lock();
        state.sleeping = state.letters.is_empty();
        state.sleeping
    }

    /// Whether there is mail.
    pub(super) fn has_mail(&self) -> bool {
        !self.lock().letters.is_empty()
    }

    /// The owner does not wait any more.
    pub(super) fn stay_awake(&self) {
        self.lock().sleeping = false;
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let asleep = std::mem::take(&mut state.sleeping);
        drop(state);
        if asleep && let Err(error) = self.waker.wake() {
            // The shard would sleep on with mail in its box: a broker that is half dead.
            panic!("a shard cannot be woken: {error}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};
    use std::time::Duration;

    fn inbox() -> (Poll, Inbox) {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(7)).unwrap();
        (poll, Inbox::new(waker))
    }

    fn wakes(poll: &mut Poll) -> usize {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        events.iter().count()
    }

    #[test]
    fn only_a_sleeper_is_woken_and_once() {
        let (mut poll, inbox) = inbox();
        inbox.post(Letter::Report);
        assert_eq!(wakes(&mut poll), 0, "nobody sleeps");
        assert!(!inbox.try_sleep(), "there is mail");
        let mut letters = Vec::new();
        inbox.take(&mut letters);
        assert_eq!(letters.len(), 1);
        assert!(inbox.try_sleep());
        let mut more = vec![Letter::Report, Letter::Durable(4)];
        inbox.post_all(&mut more);
        inbox.post(Letter::Stop);
        assert!(more.is_empty());
        assert_eq!(wakes(&mut poll), 1);
        letters.clear();
        inbox.take(&mut letters);
        assert!(matches!(letters[..], [Letter::Report, Letter::Durable(4), Letter::Stop]));
    }

    #[test]
    fn posting_nothing_wakes_nobody() {
        let (mut poll, inbox) = inbox();
        assert!(inbox.try_sleep());
        inbox.post_all(&mut Vec::new());
        assert_eq!(wakes(&mut poll), 0);
    }

    #[test]
    fn who_is_awake_again_is_not_woken() {
        let (mut poll, inbox) = inbox();
        assert!(inbox.try_sleep());
        inbox.stay_awake();
        assert!(!inbox.has_mail());
        inbox.post(Letter::Report);
        assert!(inbox.has_mail());
        assert_eq!(wakes(&mut poll), 0);
    }
}
