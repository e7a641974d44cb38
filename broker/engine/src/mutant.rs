//! Bugs that can be switched on, so that the simulation proves that it catches them. Each stands in one line at the place
//! where the engine keeps a promise. Without the feature `mutants` they are not compiled; a release never has it.
#![cfg_attr(not(feature = "mutants"), allow(unreachable_pub, reason = "only a test switches bugs on"))]

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A session that waits for room in its ring is not looked at when there is some.
    LostWakeUp,
    /// What was in flight is sent twice on the next connection.
    DoubledRedelivery,
    /// A publish is acknowledged before it is on disk.
    AckBeforeSync,
    /// SUBACK leaves before the subscription is on disk.
    SubscribeBeforeSync,
    /// What waited for a session is sent without asking again whether it may read it.
    RightNotRechecked,
    /// Anybody may speak in anybody's name.
    ForgedSender,
    /// A restart gives out numbers again that were given before a crash.
    NumberReused,
    /// The first message after the history is not sent.
    GapAtEnter,
    /// What does not wait for the disk overtakes what does.
    OvertakenOrder,
    /// A position counts what is in flight as received.
    PositionTooFar,
    /// The identifier of a QoS 2 message that came is not stored with it.
    UnmarkedInbound,
    /// A will is published although its session went on.
    WillNotCancelled,
    /// A retained message is kept in memory only.
    RetainedNotStored,
    /// The client's Receive Maximum is ignored.
    IgnoredWindow,
    /// Who is put out of a place stays a member on the shards.
    EvictionSkipped,
    /// Who is ignored is heard.
    IgnoredHeard,
}

#[cfg(feature = "mutants")]
mod switch {
    use super::Mutant;
    use std::cell::Cell;

    thread_local! {
        static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    impl Mutant {
        /// Every bug.
        pub const ALL: [Mutant; 14] = [
            Mutant::LostWakeUp,
            Mutant::DoubledRedelivery,
            Mutant::AckBeforeSync,
            Mutant::SubscribeBeforeSync,
            Mutant::RightNotRechecked,
            Mutant::ForgedSender,
            Mutant::NumberReused,
            Mutant::GapAtEnter,
            Mutant::OvertakenOrder,
            Mutant::PositionTooFar,
            Mutant::UnmarkedInbound,
            Mutant::WillNotCancelled,
            Mutant::RetainedNotStored,
            Mutant::IgnoredWindow,
        ];

        /// The bugs that the tests of rights are for; the simulation does not know chat's requests.
        pub const OF_RIGHTS: [Mutant; 3] =
            [Mutant::EvictionSkipped, Mutant::IgnoredHeard, Mutant::ForgedSender];

        /// Switches one bug on, or all off, for engines that this thread drives.
        pub fn switch_to(mutant: Option<Mutant>) {
            ON.set(mutant);
        }

        pub(crate) fn is_on(self) -> bool {
            ON.get() == Some(self)
        }
    }
}

#[cfg(not(feature = "mutants"))]
impl Mutant {
    #[inline(always)]
    pub(crate) const fn is_on(self) -> bool {
        false
    }
}
