//! The threads that drive shards: as few threads as the load allows.
//!
//! What crosses to another thread costs a wake-up there, often more than the message itself. So a broker starts with
//! its shards on one thread; one that has too much to do gives half of its shards to a thread that has none, and one
//! that could do its work beside that of its giver hands them back. A shard notices nothing of it: it has its own poll,
//! which is part of the poll of the thread's first shard while it lodges there. It must never know what a shard does.
//!
//! Invariants: a shard is on one thread at a time, and moves with everything that is its own; a thread that hosts any
//! shard hosts the one of its own number, so that who writes to that one's inbox reaches the thread.
//!
//! ```text
//! wait ─▶ take in and hand out, each shard ─▶ take letters, until there are none ─▶ write, each shard ─▶ balance ─┐
//!  ▲                                                                                                            │
//!  └───────────────────────────── without waiting, while anything is left ──────────────────────────────────────┘
//! ```

use mio::Events;
use nix::time::{ClockId, clock_gettime};
use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed, mpsc::Receiver},
    time::Duration,
};
use tracing::debug;

use super::{Links, Notice, inbox::Letter, shard::Shard};

/// Events that one wait gives at most.
pub(super) const EVENTS: usize = 1024;
/// Shards that one thread hosts at most, so that looking after those that have nothing to do stays cheap.
const SHARDS: usize = 8;
/// How often shards of one thread exchange letters before they write: a message takes two steps, an answer one more.
const EXCHANGES: usize = 4;
/// How long a thread's load is measured at least.
const WINDOW_MS: u64 = 100;
/// A thread that works too long has too much to do after so many windows in a row.
const FULL_WINDOWS: u32 = 2;
/// Two threads that work no longer than this together are one too many,
const CALM_PERCENT: u64 = 40;
/// after so many windows in a row.
const CALM_WINDOWS: u32 = 10;

/// What a thread without shards is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Drive these, the first of which has the thread's number.
    Drive {
        /// The shards, by number.
        shards: Vec<Shard>,
        /// The thread that they come from.
        giver: Option<usize>,
    },
    /// The broker ends.
    End,
}

/// Shards by the thread that begins with them.
pub(super) fn groups(shards: Vec<Shard>, are_shared: bool) -> Vec<Vec<Shard>> {
    let size = if are_shared { SHARDS } else { 1 };
    let mut groups: Vec<Vec<Shard>> = Vec::new();
    for shard in shards {
        match groups.last_mut() {
            Some(group) if group.len() < size => group.push(shard),
            _ => groups.push(vec![shard]),
        }
    }
    groups
}

/// One thread.
#[derive(Debug)]
pub(super) struct Host {
    index: usize,
    links: Arc<Links>,
    orders: Receiver<Order>,
    /// By number.
    shards: Vec<Shard>,
    giver: Option<usize>,
    load: Load,
    /// Percent of the time that it works at most before it gives shards away.
    full_percent: u64,
    /// In which order the shards have their turn.
    queue: Vec<usize>,
}

impl Host {
    /// A thread that hosts no shard yet.
    pub(super) fn new(index: usize, links: Arc<Links>, orders: Receiver<Order>, full_percent: u64) -> Self {
        let load = Load::default();
        Self { index, links, orders, shards: Vec::new(), giver: None, load, full_percent, queue: Vec::new() }
    }

    /// Drives what it is told to drive, until the broker ends.
    pub(super) fn run(mut self) {
        while let Ok(Order::Drive { shards, giver }) = self.orders.recv() {
            self.giver = giver;
            if let Err(error) = self.drive(shards) {
                self.links.tell(Notice::Failed(error));
                return;
            }
        }
    }

    fn drive(&mut self, shards: Vec<Shard>) -> io::Result<()> {
        debug!(thread = self.index, shards = shards.len(), "drives shards");
        let mut events = Events::with_capacity(EVENTS);
        self.load = Load::new(self.links.clock.now().mono_ms);
        self.take(shards)?;
        while !self.shards.is_empty() {
            self.wait(&mut events)?;
            let now = self.links.clock.now();
            let is_alone = self.shards.len() == 1;
            self.queue_up();
            for at in 0..self.shards.len() {
                let shard = &mut self.shards[self.queue[at]];
                if is_alone {
                    shard.take_in(now, &mut events)?;
                } else if shard.has_work(now) {
                    shard.take_in(now, &mut events)?;
                    // Who is next finds the letters before what came to it later.
                    shard.hand_out(now);
                }
            }
            for _ in 0..EXCHANGES {
                for shard in self.shards.iter_mut().filter(|shard| shard.is_stirred()) {
                    shard.hand_out(now);
                }
                if is_alone {
                    break;
                }
                for shard in self.shards.iter_mut().filter(|shard| shard.has_mail()) {
                    shard.open_letters(now);
                }
            }
            for shard in &mut self.shards {
                shard.write(now);
            }
            let lodgers: Vec<Shard> = self.shards.iter_mut().flat_map(Shard::lodgers).collect();
            self.take(lodgers)?;
            if self.shards.iter_mut().all(|shard| shard.is_over(now)) {
                self.shards.clear();
            }
            self.balance(now.mono_ms)?;
        }
        self.links.loads[self.index].store(0, Relaxed);
        Ok(())
    }

    /// Waits until a shard has something to do.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let deadline_ms = self.shards.iter_mut().filter_map(Shard::rest).min();
        let wait = deadline_ms.map(|at| match at {
            0 => Duration::ZERO,
            at => Duration::from_millis(at.saturating_sub(self.links.clock.now().mono_ms)),
        });
        let Some((first, others)) = self.shards.split_first_mut() else { return Ok(()) };
        let is_alone = others.is_empty();
        first.poll(events, wait)?;
        for shard in others {
            let index = shard.index();
            if first.has_knocked(index) || shard.has_knocked(index) {
                shard.poll(events, Some(Duration::ZERO))?;
            }
            shard.stay_awake();
        }
        if !is_alone {
            first.stay_awake();
        }
        Ok(())
    }

    /// Puts first those to which something happened, in the order in which it did: a client that waits for another one
    /// knows of no shards, and a broker that was slow to look must not turn the order round.
    fn queue_up(&mut self) {
        self.queue.clear();
        let shards = &self.shards;
        let place = |index: usize| shards.iter().position(|shard| shard.index() == index);
        if let Some(first) = shards.first() {
            self.queue.extend(first.order().iter().filter_map(|index| place(*index)));
        }
        for at in 0..shards.len() {
            if !self.queue.contains(&at) {
                self.queue.push(at);
            }
        }
    }

    /// Takes shards in, beside those that are there.
    fn take(&mut self, shards: Vec<Shard>) -> io::Result<()> {
        if shards.is_empty() {
            return Ok(());
        }
        self.shards.extend(shards);
        self.shards.sort_by_key(Shard::index);
        let Some((first, others)) = self.shards.split_first_mut() else { return Ok(()) };
        others.iter_mut().try_for_each(|shard| first.lodge(shard))
    }

    /// Gives shards away where there is too much to do, and back where there is little.
    fn balance(&mut self, now_ms: u64) -> io::Result<()> {
        let giver_percent = self.giver.map(|giver| self.links.loads[giver].load(Relaxed));
        let Some(percent) = self.load.measure(now_ms, cpu_time) else { return Ok(()) };
        self.links.loads[self.index].store(percent, Relaxed);
        match self.load.judge(percent >= self.full_percent, percent, giver_percent) {
            // A thread without shards may have been told already that there will be no more.
            _ if self.links.is_ending.load(Relaxed) => Ok(()),
            Verdict::Split if self.shards.len() > 1 => self.split(),
            Verdict::Join => self.join(),
            _ => Ok(()),
        }
    }

    fn split(&mut self) -> io::Result<()> {
        let away = self.shards.split_off(self.shards.len().div_ceil(2));
        let (Some(first), Some(receiver)) = (self.shards.first_mut(), away.first().map(Shard::index)) else {
            return Ok(());
        };
        for shard in &away {
            first.dismiss(shard)?;
        }
        debug!(thread = self.index, receiver, shards = away.len(), "gives shards away");
        // The thread waits for orders as long as the broker runs.
        let _ = self.links.hosts[receiver].send(Order::Drive { shards: away, giver: Some(self.index) });
        Ok(())
    }

    fn join(&mut self) -> io::Result<()> {
        let (Some(giver), Some((first, others))) = (self.giver, self.shards.split_first_mut()) else {
            return Ok(());
        };
        for shard in others {
            first.dismiss(shard)?;
        }
        debug!(thread = self.index, giver, shards = self.shards.len(), "gives shards back");
        let shards = std::mem::take(&mut self.shards);
        self.links.inboxes[giver].post(Letter::Lodgers(shards));
        Ok(())
    }
}

/// The processor time of this thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// How much a thread has to do. Where the machine gives it no time, it does not count as having much to do: another
/// thread would get none either.
#[derive(Debug, Default)]
struct Load {
    since_ms: u64,
    cpu: Duration,
    full: u32,
    calm: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Stay,
    Split,
    Join,
}

impl Load {
    fn new(now_ms: u64) -> Self {
        Self { since_ms: now_ms, cpu: cpu_time(), full: 0, calm: 0 }
    }

    /// The load of the window that is over, in percent.
    fn measure(&mut self, now_ms: u64, cpu: impl FnOnce() -> Duration) -> Option<u64> {
        let window_ms = now_ms.saturating_sub(self.since_ms);
        if window_ms < WINDOW_MS {
            return None;
        }
        let cpu = cpu();
        let worked = cpu.saturating_sub(std::mem::replace(&mut self.cpu, cpu));
        self.since_ms = now_ms;
        Some(worked.as_micros() as u64 / 10 / window_ms)
    }

    /// What follows from it, beside the load of the thread that gave the shards.
    fn judge(&mut self, is_full: bool, percent: u64, giver_percent: Option<u64>) -> Verdict {
        let is_calm = giver_percent.is_some_and(|giver| percent + giver <= CALM_PERCENT);
        self.full = if is_full { self.full + 1 } else { 0 };
        self.calm = if is_calm { self.calm + 1 } else { 0 };
        if self.full >= FULL_WINDOWS {
            self.full = 0;
            Verdict::Split
        } else if self.calm >= CALM_WINDOWS {
            self.calm = 0;
            Verdict::Join
        } else {
            Verdict::Stay
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_load_that_lasts_splits() {
        let mut load = Load::default();
        assert_eq!(load.judge(true, 95, None), Verdict::Stay);
        assert_eq!(load.judge(false, 50, None), Verdict::Stay);
        assert_eq!(load.judge(true, 95, None), Verdict::Stay);
        assert_eq!(load.judge(true, 90, None), Verdict::Split);
        assert_eq!(load.judge(true, 90, None), Verdict::Stay, "what is left is measured anew");
    }

    #[test]
    fn only_a_calm_that_lasts_joins_and_only_with_a_calm_giver() {
        let mut load = Load::default();
        for giver in [None, Some(80)] {
            for _ in 0..2 * CALM_WINDOWS {
                assert_eq!(load.judge(false, 5, giver), Verdict::Stay);
            }
        }
        for _ in 1..CALM_WINDOWS {
            assert_eq!(load.judge(false, 20, Some(20)), Verdict::Stay);
        }
        assert_eq!(load.judge(false, 20, Some(20)), Verdict::Join);
    }

    #[test]
    fn a_load_is_measured_over_a_window() {
        let mut load = Load { since_ms: 1000, ..Load::default() };
        assert_eq!(load.measure(1000 + WINDOW_MS - 1, || unreachable!("too early")), None);
        assert_eq!(load.measure(1200, || Duration::from_millis(150)), Some(75));
        assert_eq!(load.measure(1300, || Duration::from_millis(150)), Some(0));
    }
}
