//! The queue between the shards and the thread that commits.
//!
//! A thread that is woken for every commit costs more than the commits do. So the writer is woken for the first one,
//! then only for one that somebody waits for; the others are found there when it looks. Invariant: while the writer
//! waits, nothing urgent is in the queue, and nothing at all for longer than the time that it was told.

use std::{
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::Commit;

/// Commits that wake the writer even if none is urgent, so that what waits stays bounded.
const QUEUED: usize = 8192;

/// Makes a queue. It is over when every sender is dropped.
pub(super) fn commits() -> (CommitSender, CommitReceiver) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            commits: Vec::new(),
            urgent: false,
            awaited: Awaited::Nothing,
            senders: 1,
        }),
        changed: Condvar::new(),
    });
    (CommitSender(Arc::clone(&shared)), CommitReceiver(shared))
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    commits: Vec<Commit>,
    /// Whether one of them is urgent.
    urgent: bool,
    awaited: Awaited,
    senders: usize,
}

/// What the writer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// It works.
    Nothing,
    /// Any commit.
    Any,
    /// An urgent one, or the time.
    Urgent,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of the shards.
#[derive(Debug)]
pub(super) struct CommitSender(Arc<Shared>);

impl CommitSender {
    /// Puts a commit in.
    pub(super) fn send(&self, commit: Commit) {
        let mut state = self.0.lock();
        state.urgent |= commit.urgent;
        state.commits.push(commit);
        let wake = match state.awaited {
            Awaited::Nothing => false,
            Awaited::Any => true,
            Awaited::Urgent => state.urgent || state.commits.len() >= QUEUED,
        };
        if wake {
            state.awaited = Awaited::Nothing;
            drop(state);
            self.0.changed.notify_one();
        }
    }
}

impl Clone for CommitSender {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl Drop for CommitSender {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.senders -= 1;
        if state.senders == 0 {
            drop(state);
            self.0.changed.notify_one();
        }
    }
}

/// The writer's end.
#[derive(Debug)]
pub(super) struct CommitReceiver(Arc<Shared>);

impl CommitReceiver {
    /// Whether [`CommitReceiver::take`] would find something at once.
    pub(super) fn has_some(&self) -> bool {
        !self.0.lock().commits.is_empty()
    }

    /// Waits for a commit, then, as long as none is urgent, up to `lazy` for others; swaps all into `commits`, which
    /// must be empty. Returns false when there are none and no sender is left.
    pub(super) fn take(&self, lazy: Duration, commits: &mut Vec<Commit>) -> bool {
        let mut state = self.0.lock();
        while state.commits.is_empty() {
            if state.senders == 0 {
                return false;
            }
            state.awaited = Awaited::Any;
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let deadline = Instant::now() + lazy;
        while !state.urgent && state.senders > 0 && state.commits.len() < QUEUED {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state.awaited = Awaited::Urgent;
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.awaited = Awaited::Nothing;
        state.urgent = false;
        mem::swap(&mut state.commits, commits);
        true
    }
}
