//! Exact accounts of messages, and histograms of time.
//!
//! Owns: per (publisher, subscriber) what came, what is missing, what came twice or late; the window of a
//! closed loop; latency histograms. Never knows about packets, sockets or the clock: it is told numbers.
//! Invariant: each message of a stream is counted once, as new, late or doubled, however it arrives, so
//! that due minus received is the exact loss. Driven by the loads, once a message.

use hdrhistogram::Histogram;
use std::collections::{BTreeMap, VecDeque};

/// How a message stands to those of its publisher that the subscriber had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The one expected next.
    Next,
    /// A later one: this many before it are missing so far.
    Ahead(u32),
    /// One that was missing: new, but out of order.
    Late,
    /// One that was here before.
    Again,
}

/// What each subscriber got of each publisher: a stream is one such pair.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// The sequence number expected next, by stream.
    next: Vec<u32>,
    /// What was skipped: (stream, first) to the end (exclusive), by whole runs. Empty unless a broker
    /// loses or reorders.
    missing: BTreeMap<(usize, u32), u32>,
    /// Messages that came for the first time.
    pub(crate) received: u64,
    /// Messages that came again.
    pub(crate) doubled: u64,
    /// Messages that came after a later one of their publisher.
    pub(crate) reordered: u64,
}

impl Streams {
    /// Accounts for `count` streams, numbered from 0.
    pub(crate) fn new(count: usize) -> Self {
        Self { next: vec![0; count], ..Self::default() }
    }

    /// Accounts for message `sequence` of `stream`.
    #[inline]
    pub(crate) fn see(&mut self, stream: usize, sequence: u32) -> Seen {
        let next = self.next[stream];
        if sequence == next {
            self.next[stream] = next + 1;
            self.received += 1;
            return Seen::Next;
        }
        if sequence > next {
            self.missing.insert((stream, next), sequence);
            self.next[stream] = sequence + 1;
            self.received += 1;
            return Seen::Ahead(sequence - next);
        }
        self.see_old(stream, sequence)
    }

    /// A number below the one expected: late if it is in a missing run, which it splits.
    fn see_old(&mut self, stream: usize, sequence: u32) -> Seen {
        let run = self.missing.range(..=(stream, sequence)).next_back().map(|(&key, &end)| (key, end));
        match run {
            Some(((of, first), end)) if of == stream && sequence < end => {
                self.missing.remove(&(stream, first));
                if first < sequence {
                    self.missing.insert((stream, first), sequence);
                }
                if sequence + 1 < end {
                    self.missing.insert((stream, sequence + 1), end);
                }
                self.received += 1;
                self.reordered += 1;
                Seen::Late
            }
            _ => {
                self.doubled += 1;
                Seen::Again
            }
        }
    }
}

/// The messages of a closed loop that not every receiver has yet.
#[derive(Debug)]
pub(crate) struct Window {
    limit: usize,
    open: usize,
    publishers: Vec<Outstanding>,
}

/// How many receivers each of a publisher's latest messages still waits for.
#[derive(Debug, Default, Clone)]
struct Outstanding {
    first: u32,
    waiting_for: VecDeque<u32>,
}

impl Window {
    /// A window of `limit` messages over all of `publishers`.
    pub(crate) fn new(limit: usize, publishers: usize) -> Self {
        Self { limit, open: 0, publishers: vec![Outstanding::default(); publishers] }
    }

    /// How many messages may be published now.
    pub(crate) fn free(&self) -> usize {
        self.limit.saturating_sub(self.open)
    }

    /// The publisher's next message was published to `receivers`, at least one.
    pub(crate) fn publish(&mut self, publisher: usize, receivers: u32) {
        self.open += 1;
        self.publishers[publisher].waiting_for.push_back(receivers);
    }

    /// A receiver has the message, or never will. Messages that were given up are ignored.
    #[inline]
    pub(crate) fn settle(&mut self, publisher: usize, sequence: u32) {
        let outstanding = &mut self.publishers[publisher];
        let Some(index) = sequence.checked_sub(outstanding.first) else { return };
        let Some(receivers) = outstanding.waiting_for.get_mut(index as usize) else { return };
        if *receivers == 0 {
            return;
        }
        *receivers -= 1;
        if *receivers == 0 {
            self.open -= 1;
        }
        while outstanding.waiting_for.front() == Some(&0) {
            outstanding.waiting_for.pop_front();
            outstanding.first += 1;
        }
    }

    /// Gives up whatever is open, so that the loop goes on; returns how many messages that were.
    pub(crate) fn give_up(&mut self) -> usize {
        for outstanding in &mut self.publishers {
            outstanding.first += outstanding.waiting_for.len() as u32;
            outstanding.waiting_for.clear();
        }
        std::mem::take(&mut self.open)
    }
}

/// A histogram of durations from 1 us to a minute, in nanoseconds, to three digits.
#[derive(Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    /// An empty histogram.
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1_000, 60_000_000_000, 3);
        Self(histogram.expect("the bounds are in order and three digits are allowed"))
    }

    /// Adds one duration; what is beyond the bounds counts as the bound.
    #[inline]
    pub(crate) fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    /// Whether nothing was recorded.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The duration in microseconds that a share (0 to 1) of all stay at or below.
    pub(crate) fn quantile_us(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e3
    }

    /// The longest in microseconds.
    pub(crate) fn max_us(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }

    /// The mean in microseconds.
    pub(crate) fn mean_us(&self) -> f64 {
        self.0.mean() / 1e3
    }
}

#[cfg(test)]
mod tests;
