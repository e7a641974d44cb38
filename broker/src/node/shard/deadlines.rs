//! Things that are due later, in the order in which they were put in.
//!
//! Everything in one list waits equally long (a timeout that is changed while things wait makes some of them late,
//! never early), so a queue is enough and a timer costs nothing until it is due.

use std::collections::VecDeque;

/// A list of things and when they are due, in milliseconds.
#[derive(Debug)]
pub(super) struct Deadlines<T>(VecDeque<(u64, T)>);

/// Places that a list keeps when it is empty.
const KEPT: usize = 1024;

impl<T> Deadlines<T> {
    /// An empty list.
    pub(super) fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Puts something in.
    pub(super) fn push(&mut self, at_ms: u64, thing: T) {
        self.0.push_back((at_ms, thing));
    }

    /// Takes the first thing out, if it is due.
    pub(super) fn pop_due(&mut self, now_ms: u64) -> Option<T> {
        self.0.front().filter(|(at, _)| *at <= now_ms)?;
        self.0.pop_front().map(|(_, thing)| thing)
    }

    /// When the first thing is due, after dropping those in front that are stale.
    pub(super) fn next_ms(&mut self, mut is_stale: impl FnMut(&T) -> bool) -> Option<u64> {
        while let Some((at, thing)) = self.0.front() {
            if !is_stale(thing) {
                return Some(*at);
            }
            self.0.pop_front();
        }
        if self.0.capacity() > KEPT {
            self.0 = VecDeque::new();
        }
        None
    }

    /// How many things there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_early_and_nothing_stale_is_waited_for() {
        let mut deadlines = Deadlines::new();
        for (at, thing) in [(10, 'a'), (20, 'b'), (20, 'c'), (30, 'd')] {
            deadlines.push(at, thing);
        }
        assert_eq!(deadlines.pop_due(9), None);
        assert_eq!(deadlines.next_ms(|_| false), Some(10));
        assert_eq!(deadlines.pop_due(20), Some('a'));
        assert_eq!(deadlines.pop_due(20), Some('b'));
        assert_eq!(deadlines.next_ms(|thing| *thing == 'c'), Some(30));
        assert_eq!(deadlines.pop_due(29), None);
        assert_eq!(deadlines.next_ms(|_| true), None);
        assert_eq!(deadlines.len(), 0);
    }
}
