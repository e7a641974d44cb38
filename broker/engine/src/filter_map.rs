//! A map from topic filters to values, asked by topic: the subscription index.
//!
//! Filters without wildcards live in a flat hash table; those with wildcards in a tree of levels (`trie`), so that
//! the cost of a topic doesn't grow with the number of filters that don't match it. It knows nothing of subscribers,
//! shared subscriptions or rooms. Its invariant: a filter has a value from [`FilterMap::entry`] to
//! [`FilterMap::remove`], and nothing is kept of it after.
//!
//! Filters are taken as valid (the codec's topic rules checked them); an invalid one matches something or nothing, and
//! breaks nothing.

#[cfg(test)]
mod tests;
mod trie;

use foldhash::fast::RandomState;
use std::collections::HashMap;
use trie::{Places, Trie};

/// A map from topic filters to values.
#[derive(Debug)]
pub struct FilterMap<V> {
    exact: HashMap<Box<str>, V, RandomState>,
    wild: Trie<V>,
    protected: &'static [&'static str],
}

/// Whether a filter that begins with a wildcard must not match a topic: one that begins with `$` `[MQTT-4.7.2-1]` or
/// whose first level is one of `protected`.
pub(crate) fn is_protected(topic: &str, protected: &[&str]) -> bool {
    if topic.starts_with('$') {
        return true;
    }
    let first = topic.split('/').next().unwrap_or_default();
    protected.contains(&first)
}

impl<V: Default> FilterMap<V> {
    /// The value of a filter, made if there is none.
    pub fn entry(&mut self, filter: &str) -> &mut V {
        if is_wild(filter) { self.wild.entry(filter) } else { self.exact.entry(filter.into()).or_default() }
    }
}

impl<V> FilterMap<V> {
    /// An empty map. Filters that begin with a wildcard match no topic that begins with `$`, and none whose first level
    /// is in `protected`.
    pub fn new(protected: &'static [&'static str]) -> Self {
        Self { exact: HashMap::default(), wild: Trie::new(), protected }
    }

    /// The value of a filter.
    pub fn get(&self, filter: &str) -> Option<&V> {
        if is_wild(filter) { self.wild.get(filter) } else { self.exact.get(filter) }
    }

    /// The value of a filter, to change.
    pub fn get_mut(&mut self, filter: &str) -> Option<&mut V> {
        if is_wild(filter) { self.wild.get_mut(filter) } else { self.exact.get_mut(filter) }
    }

    /// Takes a filter out, with its value.
    pub fn remove(&mut self, filter: &str) -> Option<V> {
        if is_wild(filter) {
            return self.wild.remove(filter);
        }
        let value = self.exact.remove(filter);
        if self.exact.is_empty() {
            self.exact.shrink_to_fit();
        }
        value
    }

    /// Filters in the map.
    pub fn len(&self) -> usize {
        self.exact.len() + self.wild.len()
    }

    /// Whether there is no filter.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Filters with wildcards in the map.
    pub fn wild_len(&self) -> usize {
        self.wild.len()
    }

    /// The value of the filter that equals the topic, without a look at wildcards.
    #[inline]
    pub fn exact(&self, topic: &str) -> Option<&V> {
        self.exact.get(topic)
    }

    /// Calls `f` with the value of each filter that matches a topic, each once, in no particular order.
    #[inline]
    pub fn for_matches<'a>(&'a self, topic: &str, mut f: impl FnMut(&'a V)) {
        if let Some(value) = self.exact.get(topic) {
            f(value);
        }
        if self.wild.len() > 0 {
            let mut places = Places::new(topic, self.protected);
            while let Some(place) = places.next(&self.wild) {
                f(self.wild.value(place));
            }
        }
    }

    /// As [`FilterMap::for_matches`], with values to change.
    pub fn for_matches_mut(&mut self, topic: &str, mut f: impl FnMut(&mut V)) {
        if let Some(value) = self.exact.get_mut(topic) {
            f(value);
        }
        if self.wild.len() > 0 {
            let mut places = Places::new(topic, self.protected);
            while let Some(place) = places.next(&self.wild) {
                f(self.wild.value_mut(place));
            }
        }
    }

    /// Calls `f` with every value, in no particular order.
    pub fn for_each(&self, f: impl FnMut(&V)) {
        self.exact.values().chain(self.wild.values()).for_each(f);
    }
}

fn is_wild(filter: &str) -> bool {
    filter.bytes().any(|byte| matches!(byte, b'+' | b'#'))
}
