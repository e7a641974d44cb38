//! The pool of threads that check and hash passwords, and look at access tokens: Argon2 and PBKDF2 are slow on purpose, so
//! never on a shard.
//!
//! The queue is bounded; one who finds no place in it is told to come again, so that a flood of logins costs bounded
//! memory and time. The threads give way to all others, so that the same flood delays no delivery. A password is wiped
//! after use.

use argon2::{Argon2, Block, Params, PasswordHash, password_hash::Output};
use katydid_engine::{ConnId, Verdict, Vouching};
use std::{
    cell::RefCell,
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, SyncSender},
    },
    thread::{self, JoinHandle},
};
use tracing::{error, warn};

use super::{
    inbox::{DirectoryInput, Inbox, Letter},
    openid::{OpenId, Shown},
};

/// Passwords that wait for a thread at most.
const QUEUE: usize = 4096;
/// What a thread has that stands back behind others, and still gets its share of a machine on which many want to run: the
/// lowest priority of all, 19, would make people wait for minutes there.
const LOW_PRIORITY: i32 = 10;

/// A password to check.
pub(super) struct Check {
    /// Index of the shard that asks.
    pub(super) shard: usize,
    /// What is to be done with the password.
    pub(super) work: Work,
    /// The password, or the token.
    pub(super) password: Vec<u8>,
}

/// What is done with a password.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// It must fit a PHC string for a connection.
    Connection {
        /// The connection.
        conn: ConnId,
        /// The PHC string.
        hash: Arc<str>,
        /// Whether a verifier for SCRAM is made of it where it fits.
        wants_scram: bool,
    },
    /// It is an access token that a connection shows.
    Token(ConnId),
    /// The same for the directory, under a ticket.
    Directory(u64, Arc<str>),
    /// It is hashed for the directory, under a ticket.
    Hash {
        /// The ticket.
        ticket: u64,
        /// Whether a verifier for SCRAM is made of it, too.
        wants_scram: bool,
    },
}

impl Work {
    /// The answer: nobody looked at the password.
    fn undone(&self) -> Letter {
        match self {
            Self::Connection { conn, .. } => {
                Letter::Verified { conn: *conn, verdict: Verdict::Unchecked, scram: None }
            }
            Self::Token(conn) => Letter::Vouched { conn: *conn, vouching: Vouching::Unchecked },
            Self::Directory(ticket, _) => {
                Letter::Directory(DirectoryInput::Checked { ticket: *ticket, good: false })
            }
            Self::Hash { ticket, .. } => {
                let (phc, scram) = (String::new(), None);
                Letter::Directory(DirectoryInput::Hashed { ticket: *ticket, phc, scram })
            }
        }
    }

    fn done(&self, password: &[u8]) -> Letter {
        match self {
            Self::Connection { conn, hash, wants_scram } => {
                let good = fits(hash, password);
                let verdict = if good { Verdict::Good } else { Verdict::Bad };
                Letter::Verified { conn: *conn, verdict, scram: verifier(good && *wants_scram, password) }
            }
            // Handed on before it gets here.
            Self::Token(_) => self.undone(),
            Self::Directory(ticket, hash) => {
                let good = fits(hash, password);
                Letter::Directory(DirectoryInput::Checked { ticket: *ticket, good })
            }
            Self::Hash { ticket, wants_scram } => {
                let phc = crate::passwd::hash_bytes(password).unwrap_or_else(|error| {
                    error!(error, "a password cannot be hashed");
                    String::new()
                });
                let scram = verifier(*wants_scram && !phc.is_empty(), password);
                Letter::Directory(DirectoryInput::Hashed { ticket: *ticket, phc, scram })
            }
        }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("shard", &self.shard).finish_non_exhaustive()
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        self.password.fill(0);
        // Keeps the compiler from leaving the wiping out, since nobody reads it any more.
        std::hint::black_box(&self.password);
    }
}

/// Where shards hand in passwords. Dropping the last clone ends the threads.
#[derive(Debug, Clone)]
pub(super) struct VerifyLink {
    queue: SyncSender<Check>,
    inboxes: Arc<[Arc<Inbox>]>,
    refused: Arc<AtomicU64>,
    is_ending: Arc<AtomicBool>,
}

impl VerifyLink {
    /// Queues a check, or answers at once that nobody looks at the password when too many wait.
    pub(super) fn check(&self, check: Check) {
        if let Err(mpsc::TrySendError::Full(check) | mpsc::TrySendError::Disconnected(check)) =
            self.queue.try_send(check)
        {
            if self.refused.fetch_add(1, Relaxed).is_power_of_two() {
                warn!("too many passwords wait to be checked; some are refused unchecked");
            }
            self.inboxes[check.shard].post(check.work.undone());
        }
    }

    /// Set, it ends the threads without a look at what is queued: nobody waits for it any more.
    pub(super) fn ending(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_ending)
    }

    /// Counts passwords refused because too many waited.
    pub(super) fn refused_counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.refused)
    }
}

/// Starts the threads.
///
/// # Errors
/// The system gave no thread.
pub(super) fn start(
    threads: usize,
    inboxes: &[Arc<Inbox>],
    openid: &Arc<OpenId>,
) -> io::Result<(Vec<JoinHandle<()>>, VerifyLink)> {
    let (queue, queued) = mpsc::sync_channel(QUEUE);
    let queued = Arc::new(Mutex::new(queued));
    let inboxes: Arc<[Arc<Inbox>]> = inboxes.into();
    let is_ending = Arc::<AtomicBool>::default();
    let mut handles = Vec::with_capacity(threads);
    for number in 0..threads.max(1) {
        let (queued, inboxes, openid) = (Arc::clone(&queued), Arc::clone(&inboxes), Arc::clone(openid));
        let is_ending = Arc::clone(&is_ending);
        let thread = thread::Builder::new().name(format!("verify-{number}"));
        handles.push(thread.spawn(move || run(&queued, &inboxes, &openid, &is_ending))?);
    }
    Ok((handles, VerifyLink { queue, inboxes, refused: Arc::default(), is_ending }))
}

fn run(queued: &Mutex<Receiver<Check>>, inboxes: &[Arc<Inbox>], openid: &OpenId, is_ending: &AtomicBool) {
    // Linux counts a priority for each thread. Where it is refused, passwords are checked all the same.
    let _ = rustix::process::setpriority_process(None, LOW_PRIORITY);
    loop {
        let next = queued.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut check) = next else { return };
        if is_ending.load(Relaxed) {
            return;
        }
        if let Work::Token(conn) = check.work {
            let token = std::mem::take(&mut check.password);
            openid.look(Shown { shard: check.shard, conn, token });
            continue;
        }
        inboxes[check.shard].post(check.work.done(&check.password));
    }
}

/// The verifier for SCRAM, where it is wanted.
fn verifier(is_wanted: bool, password: &[u8]) -> Option<Box<str>> {
    is_wanted.then(|| crate::passwd::scram_verifier(password).into())
}

thread_local! {
    /// What Argon2 works in, 19 MiB with its usual cost: an allocation for each check would be cut up by others between
    /// them, and the memory of a flood of logins never be given back.
    static BLOCKS: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// Whether the password is the one that `hash` was made of, with the cost that `hash` names.
fn fits(hash: &str, password: &[u8]) -> bool {
    match PasswordHash::new(hash) {
        Ok(hash) => is_made_of(&hash, password).unwrap_or(false),
        Err(error) => {
            error!(%error, "a password hash cannot be read");
            false
        }
    }
}

fn is_made_of(hash: &PasswordHash<'_>, password: &[u8]) -> Result<bool, argon2::password_hash::Error> {
    let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else { return Ok(false) };
    let version = hash.version.map(TryInto::try_into).transpose()?.unwrap_or_default();
    let argon2 = Argon2::new(hash.algorithm.try_into()?, version, Params::try_from(hash)?);
    let mut salt_bytes = [0; 64];
    let salt = salt.decode_b64(&mut salt_bytes)?;
    BLOCKS.with_borrow_mut(|blocks| {
        blocks.resize(blocks.len().max(argon2.params().block_count()), Block::new());
        // Compared in a time that tells nothing.
        let made = Output::init_with(expected.len(), |out| {
            Ok(argon2.hash_password_into_with_memory(password, salt, out, blocks)?)
        })?;
        Ok(made == expected)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::{Params, PasswordHasher, password_hash::SaltString};
    use mio::{Poll, Token, Waker};

    fn hash(password: &[u8]) -> String {
        let params = Params::new(8, 1, 1, None).unwrap();
        let salt = SaltString::encode_b64(b"salt for the test").unwrap();
        let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        argon2.hash_password(password, &salt).unwrap().to_string()
    }

    #[test]
    fn only_the_password_fits() {
        let hash = hash(b"secret");
        assert!(fits(&hash, b"secret"));
        assert!(!fits(&hash, b"Secret"));
        assert!(!fits("", b""));
        assert!(!fits("$argon2id$rubbish", b"secret"));
    }

    #[test]
    fn who_finds_no_place_in_the_queue_is_told_so() {
        let poll = Poll::new().unwrap();
        let inbox = Arc::new(Inbox::new(Waker::new(poll.registry(), Token(0)).unwrap()));
        let (queue, _queued) = mpsc::sync_channel(1);
        let inboxes = [Arc::clone(&inbox)].into();
        let link = VerifyLink { queue, inboxes, refused: Arc::default(), is_ending: Arc::default() };
        for slot in 0..3 {
            let conn = ConnId { slot, generation: 0 };
            let work = Work::Connection { conn, hash: "".into(), wants_scram: false };
            link.check(Check { shard: 0, work, password: Vec::new() });
        }
        let mut letters = Vec::new();
        inbox.take(&mut letters);
        let unchecked =
            |letter: &Letter| matches!(letter, Letter::Verified { verdict: Verdict::Unchecked, .. });
        assert_eq!((letters.len(), letters.iter().all(unchecked)), (2, true), "{letters:?}");
        assert_eq!(link.refused_counter().load(Relaxed), 2);
    }

    #[test]
    fn what_is_queued_at_the_end_is_not_looked_at() {
        let poll = Poll::new().unwrap();
        let inbox = Arc::new(Inbox::new(Waker::new(poll.registry(), Token(0)).unwrap()));
        let inboxes = [Arc::clone(&inbox)];
        let openid = Arc::new(OpenId::new(Arc::new(inboxes.clone())));
        let (threads, link) = start(1, &inboxes, &openid).unwrap();
        let hash: Arc<str> = hash(b"secret").into();
        link.ending().store(true, Relaxed);
        for slot in 0..100 {
            let conn = ConnId { slot, generation: 0 };
            let work = Work::Connection { conn, hash: Arc::clone(&hash), wants_scram: false };
            link.check(Check { shard: 0, work, password: b"secret".to_vec() });
        }
        drop(link);
        for thread in threads {
            thread.join().unwrap();
        }
        let mut letters = Vec::new();
        inbox.take(&mut letters);
        assert!(
            letters.iter().all(|letter| !matches!(letter, Letter::Verified { verdict: Verdict::Good, .. }))
        );
    }

    #[test]
    fn answers_come_back_and_threads_end() {
        let poll = Poll::new().unwrap();
        let inbox = Arc::new(Inbox::new(Waker::new(poll.registry(), Token(0)).unwrap()));
        let inboxes = [Arc::clone(&inbox)];
        let openid = Arc::new(OpenId::new(Arc::new(inboxes.clone())));
        let (threads, link) = start(2, &inboxes, &openid).unwrap();
        let hash: Arc<str> = hash(b"secret").into();
        for (slot, password) in [(0, b"secret"), (1, b"wrong!")] {
            let conn = ConnId { slot, generation: 0 };
            let work = Work::Connection { conn, hash: Arc::clone(&hash), wants_scram: true };
            link.check(Check { shard: 0, work, password: password.to_vec() });
        }
        drop(link);
        for thread in threads {
            thread.join().unwrap();
        }
        let mut letters = Vec::new();
        inbox.take(&mut letters);
        let mut answers: Vec<_> = letters
            .iter()
            .map(|letter| match letter {
                Letter::Verified { conn, verdict, scram } => {
                    assert_eq!(scram.is_some(), *verdict == Verdict::Good);
                    (conn.slot, *verdict)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        answers.sort_unstable_by_key(|(slot, _)| *slot);
        assert_eq!(answers, [(0, Verdict::Good), (1, Verdict::Bad)]);
    }
}
