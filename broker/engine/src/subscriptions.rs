//! The subscriptions of one session, in the order of their filters: finding one, and all of a room, costs the same however
//! many there are beside it, so that a client with many subscriptions does not hold its shard up.
//!
//! It knows nothing of packets or of who else subscribes. Invariant: a filter is in it once, and one that is asked for
//! counts before its answer is here, so that no limit is passed in between.

use crate::session::Subscription;
use std::{collections::BTreeSet, ops::Bound};

/// The subscriptions of a session.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// Sorted by filter.
    kept: Vec<Subscription>,
    /// New filters whose answers are on the way.
    asked: BTreeSet<Box<str>>,
}

impl Subscriptions {
    fn place(&self, filter: &str) -> Result<usize, usize> {
        self.kept.binary_search_by(|known| (*known.filter).cmp(filter))
    }

    /// Whether a filter is subscribed to or asked for.
    pub(crate) fn contains(&self, filter: &str) -> bool {
        self.place(filter).is_ok() || self.asked.contains(filter)
    }

    /// Subscriptions with those that are asked for.
    pub(crate) fn count(&self) -> usize {
        self.kept.len() + self.asked.len()
    }

    /// How many of them begin with a text.
    pub(crate) fn count_within(&self, prefix: &str) -> usize {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let asked = self.asked.range::<str, _>(from).take_while(|filter| filter.starts_with(prefix));
        self.within(prefix).count() + asked.count()
    }

    /// Those that begin with a text, in the order of their filters.
    pub(crate) fn within(&self, prefix: &str) -> impl Iterator<Item = &Subscription> {
        let start = self.kept.partition_point(|known| &*known.filter < prefix);
        self.kept[start..].iter().take_while(move |known| known.filter.starts_with(prefix))
    }

    /// Notes a new filter whose answer is on the way.
    pub(crate) fn ask(&mut self, filter: &str) {
        self.asked.insert(filter.into());
    }

    /// Adds a subscription, or replaces the one with its filter `[MQTT-3.8.4-3]`; `true` when it is new.
    pub(crate) fn put(&mut self, subscription: Subscription) -> bool {
        self.asked.remove(&subscription.filter);
        match self.place(&subscription.filter) {
            Ok(at) => {
                self.kept[at] = subscription;
                false
            }
            Err(at) => {
                self.kept.insert(at, subscription);
                true
            }
        }
    }

    /// Takes a subscription out.
    pub(crate) fn remove(&mut self, filter: &str) -> Option<Subscription> {
        self.place(filter).ok().map(|at| self.kept.remove(at))
    }

    /// Takes all of them out.
    pub(crate) fn take(&mut self) -> Vec<Subscription> {
        std::mem::take(self).kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use katydid_mqtt::packet::{QoS, RetainHandling, SubscribeOptions};

    fn to(filter: &str, id: u32) -> Subscription {
        let options = SubscribeOptions {
            qos: QoS::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        };
        Subscription { filter: filter.into(), options, id }
    }

    #[test]
    fn filters_are_found_once_by_name_and_by_prefix() {
        let mut all = Subscriptions::default();
        for filter in ["room/b/#", "room/a/msg/+", "a", "room/a/#", "room/ab/#", "room/+/#", "room/a/msg/+"] {
            let is_new = !all.contains(filter);
            assert_eq!(all.put(to(filter, 1)), is_new, "{filter}");
        }
        assert_eq!(all.count(), 6);
        let found: Vec<_> = all.within("room/a/").map(|known| &*known.filter).collect();
        assert_eq!(found, ["room/a/#", "room/a/msg/+"]);
        assert_eq!(all.remove("room/a/#").map(|known| known.id), Some(1));
        assert_eq!(
            (all.remove("room/a/#").is_none(), all.count_within("room/a/"), all.count()),
            (true, 1, 5)
        );
        assert_eq!((all.take().len(), all.count()), (5, 0));
    }

    #[test]
    fn what_is_asked_for_counts_until_its_answer_is_here() {
        let mut all = Subscriptions::default();
        all.ask("room/a/#");
        all.ask("room/a/#");
        assert_eq!((all.count(), all.count_within("room/a/"), all.contains("room/a/#")), (1, 1, true));
        assert!(all.put(to("room/a/#", 0)));
        assert_eq!((all.count(), all.take().len()), (1, 1));
    }
}
