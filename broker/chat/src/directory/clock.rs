//! Time for the directory: the wall clock, which may jump, and one that only moves forward, by which everything is due.
//!
//! Where the wall clock jumps back, what is due stays as far away as it was.

/// Both clocks, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock {
    /// Since the Unix epoch, as told last.
    pub(super) wall: u64,
    /// Never back; the same as the wall clock until that jumps back.
    pub(super) steady: u64,
}

impl Clock {
    pub(super) fn advance(&mut self, wall: u64) {
        self.steady = self.steady.saturating_add(wall.saturating_sub(self.wall));
        self.wall = wall;
    }

    /// The steady time that a time of the wall clock is.
    pub(super) fn steady_at(&self, wall: u64) -> u64 {
        if wall >= self.wall {
            self.steady.saturating_add(wall - self.wall)
        } else {
            self.steady.saturating_sub(self.wall - wall)
        }
    }

    /// The time of the wall clock that a steady time is.
    pub(super) fn wall_at(&self, steady: u64) -> u64 {
        if steady >= self.steady {
            self.wall.saturating_add(steady - self.steady)
        } else {
            self.wall.saturating_sub(self.steady - steady)
        }
    }
}

/// So many per second, and a burst.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    /// Thousandths that were taken and have not come back.
    taken: u64,
    at: u64,
}

impl Bucket {
    /// Takes one at a steady time, if there is one. `per_minute` come back, `burst` are there at most.
    pub(super) fn take(&mut self, now: u64, per_minute: u64, burst: u64) -> bool {
        self.refill(now, per_minute);
        let fits = self.taken + 1000 <= burst.saturating_mul(1000);
        if fits {
            self.taken += 1000;
        }
        fits
    }

    /// Whether there is one, without taking it.
    pub(super) fn has(&mut self, now: u64, per_minute: u64, burst: u64) -> bool {
        self.refill(now, per_minute);
        self.taken + 1000 <= burst.saturating_mul(1000)
    }

    /// Whether it is as if nothing had ever been taken.
    pub(super) fn is_full(&self, now: u64, per_minute: u64) -> bool {
        let mut bucket = *self;
        bucket.refill(now, per_minute);
        bucket.taken == 0
    }

    fn refill(&mut self, now: u64, per_minute: u64) {
        let back = now.saturating_sub(self.at).saturating_mul(per_minute) / 60;
        // Time that gives nothing back yet is kept for the next time.
        if back > 0 || self.taken == 0 {
            self.taken = self.taken.saturating_sub(back);
            self.at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_back_leaves_what_is_due_where_it_was() {
        let mut clock = Clock::default();
        clock.advance(10_000);
        let due = clock.steady_at(11_000);
        clock.advance(5_000);
        assert_eq!(clock.wall_at(due), 6_000);
        clock.advance(6_000);
        assert_eq!(clock.steady, due);
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::default();
        assert_eq!((0..20).filter(|_| bucket.take(1000, 60, 10)).count(), 10);
        assert!(!bucket.take(1999, 60, 10));
        assert!(bucket.take(2000, 60, 10) && !bucket.take(2001, 60, 10));
        assert!(!bucket.is_full(3000, 60) && bucket.is_full(60_000, 60));
    }
}
