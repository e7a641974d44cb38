//! What is due when. One ordered set; an entry is removed as cheaply as it is added, so nothing stale piles up.

use std::collections::BTreeSet;

/// What a deadline is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A connection: its CONNECT is late, its keep alive ran out, or its publish rate lets it go on.
    Link(u32),
    /// A session's will is due.
    Will(u32),
    /// Wills that were being published before a restart are.
    Unpublished,
    /// A session expires.
    Expiry(u32),
    /// Changed delivery positions are written.
    Positions,
    /// Rooms that nobody uses give back their memory.
    IdleRooms,
    /// What a user wrote is erased further.
    Sweep,
}

/// Deadlines in milliseconds of the monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(u64, Timer)>,
}

impl Timers {
    pub(crate) fn set(&mut self, at_ms: u64, timer: Timer) {
        self.due.insert((at_ms, timer));
    }

    pub(crate) fn cancel(&mut self, at_ms: u64, timer: Timer) {
        self.due.remove(&(at_ms, timer));
    }

    pub(crate) fn next(&self) -> Option<u64> {
        self.due.first().map(|(at_ms, _)| *at_ms)
    }

    /// Takes the earliest timer that is due.
    pub(crate) fn pop(&mut self, now_ms: u64) -> Option<(u64, Timer)> {
        let first = *self.due.first()?;
        (first.0 <= now_ms).then(|| self.due.pop_first()).flatten()
    }
}
