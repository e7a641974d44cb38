//! A map from topics to values, asked by filter: the index of retained messages.
//!
//! One ordered map, in which a topic is followed by the topics below it: `/` sorts before every other byte. A filter is
//! answered by leaping: where a topic differs from the filter, the walk seeks the next topic that could match, so its
//! cost follows the part of the tree that the filter's levels reach, not the number of topics. It knows nothing of
//! messages. Its invariant: order and content depend on nothing but what was inserted, so walks are repeatable and can
//! go on where they stopped.

#[cfg(test)]
mod tests;

use crate::filter_map::is_protected;
use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::BTreeMap,
    ops::{Bound, ControlFlow},
};

/// A map from topics to values.
#[derive(Debug)]
pub struct TopicMap<V> {
    topics: BTreeMap<Topic, V>,
    protected: &'static [&'static str],
}

/// A topic in the order of levels.
#[derive(Debug)]
struct Topic(Box<str>);

/// Text in the order of levels, owned or borrowed: what makes a look-up need no owned key.
trait Levels {
    fn text(&self) -> &str;
}

impl Levels for Topic {
    fn text(&self) -> &str {
        &self.0
    }
}

impl Levels for &str {
    fn text(&self) -> &str {
        self
    }
}

/// `/` before every other byte, and the end of the text before that.
fn level_order(a: &str, b: &str) -> Ordering {
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { u16::from(*byte) + 1 };
    let (a, b) = (a.as_bytes(), b.as_bytes());
    match a.iter().zip(b).find(|(a, b)| a != b) {
        Some((a, b)) => rank(a).cmp(&rank(b)),
        None => a.len().cmp(&b.len()),
    }
}

impl Ord for dyn Levels + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        level_order(self.text(), other.text())
    }
}

impl PartialOrd for dyn Levels + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Levels + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for dyn Levels + '_ {}

impl Ord for Topic {
    fn cmp(&self, other: &Self) -> Ordering {
        level_order(&self.0, &other.0)
    }
}

impl PartialOrd for Topic {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Topic {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Topic {}

impl<'a> Borrow<dyn Levels + 'a> for Topic {
    fn borrow(&self) -> &(dyn Levels + 'a) {
        self
    }
}

impl<V> TopicMap<V> {
    /// An empty map. Filters that begin with a wildcard match no topic that begins with `$` `[MQTT-4.7.2-1]`, and none
    /// whose first level is in `protected`.
    pub fn new(protected: &'static [&'static str]) -> Self {
        Self { topics: BTreeMap::new(), protected }
    }

    /// Sets the value of a topic, and gives back the one it had.
    pub fn insert(&mut self, topic: &str, value: V) -> Option<V> {
        match self.get_mut(topic) {
            Some(present) => Some(std::mem::replace(present, value)),
            None => self.topics.insert(Topic(topic.into()), value),
        }
    }

    /// Takes a topic out, with its value.
    pub fn remove(&mut self, topic: &str) -> Option<V> {
        self.topics.remove(&topic as &dyn Levels)
    }

    /// The value of a topic.
    pub fn get(&self, topic: &str) -> Option<&V> {
        self.topics.get(&topic as &dyn Levels)
    }

    /// The value of a topic, to change.
    pub fn get_mut(&mut self, topic: &str) -> Option<&mut V> {
        self.topics.get_mut(&topic as &dyn Levels)
    }

    /// Topics in the map.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Whether there is no topic.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Every topic with its value, in the order of levels.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.topics.iter().map(|(topic, value)| (&*topic.0, value))
    }

    /// Calls `f` with each topic that matches a filter, in the order of levels.
    pub fn for_matching<'a>(&'a self, filter: &str, mut f: impl FnMut(&'a str, &'a V)) {
        let _ = self.walk(filter, None, |topic, value| {
            f(topic, value);
            ControlFlow::Continue(())
        });
    }

    /// As [`TopicMap::for_matching`], from the first match behind the topic `after` on, until `f` breaks: so a long
    /// answer can be given in parts, each beginning after the last topic of the one before.
    pub fn walk<'a>(
        &'a self,
        filter: &str,
        after: Option<&str>,
        f: impl FnMut(&'a str, &'a V) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self.walk_part(filter, after, usize::MAX, f) {
            None => ControlFlow::Continue(()),
            Some(_) => ControlFlow::Break(()),
        }
    }

    /// The same, until `f` breaks or `steps` topics have been looked at, whether they match or not. Returns the topic
    /// behind which the next part begins, and `None` at the end.
    pub fn walk_part<'a>(
        &'a self,
        filter: &str,
        after: Option<&str>,
        mut steps: usize,
        mut f: impl FnMut(&'a str, &'a V) -> ControlFlow<()>,
    ) -> Option<&'a str> {
        let mut from = String::with_capacity(filter.len() + 64);
        match after {
            // Nothing sorts between a topic and the topic with `/` added.
            Some(after) => from.extend([after, "/"]),
            None => from.push_str(literal_prefix(filter)),
        }
        loop {
            let bound = from.as_str();
            let range = (Bound::Included(&bound as &dyn Levels), Bound::Unbounded);
            let mut leap = None;
            for (Topic(topic), value) in self.topics.range::<dyn Levels, _>(range) {
                #[cfg(test)]
                tests::count_step();
                steps -= 1;
                let flow = match compare(filter, topic, self.protected) {
                    Step::Match => f(topic, value),
                    Step::Next => ControlFlow::Continue(()),
                    Step::Leap(kept, then) => {
                        leap = Some((&topic[..kept], then));
                        ControlFlow::Continue(())
                    }
                    Step::End => return None,
                };
                if flow.is_break() || steps == 0 {
                    return Some(topic);
                }
                if leap.is_some() {
                    break;
                }
            }
            let (kept, then) = leap?;
            from.clear();
            from.extend([kept, then]);
        }
    }
}

/// Behind every topic that begins with what comes before it and `/`; in a valid topic it never occurs.
const BEHIND_SUBTREE: &str = "\0";

/// What a walk does after it has looked at a topic.
#[derive(Debug, PartialEq, Eq)]
enum Step<'f> {
    /// The topic matches; the next one may.
    Match,
    /// The topic does not match; the next one may.
    Next,
    /// Nothing matches before the first so many bytes of the topic, followed by this text.
    Leap(usize, &'f str),
    /// Nothing that follows matches.
    End,
}

/// The part of a filter before its first wildcard level: every match sorts at or behind it.
fn literal_prefix(filter: &str) -> &str {
    let wild = filter.split('/').take_while(|level| !matches!(*level, "+" | "#"));
    let bytes: usize = wild.map(|level| level.len() + 1).sum();
    filter.get(..bytes.saturating_sub(1)).unwrap_or_default()
}

fn compare<'f>(filter: &'f str, topic: &str, protected: &[&str]) -> Step<'f> {
    let mut topic_levels = topic.split('/');
    // Where the current level begins in the topic.
    let mut at = 0;
    let mut literal = true;
    for wanted in filter.split('/') {
        let Some(level) = topic_levels.next() else {
            // `sport/#` also matches `sport` (MQTT 5.0, 4.7.1.2).
            return if wanted == "#" { Step::Match } else { Step::Next };
        };
        if matches!(wanted, "+" | "#") {
            if at == 0 && is_protected(topic, protected) {
                return Step::Leap(level.len(), BEHIND_SUBTREE);
            }
            if wanted == "#" {
                return Step::Match;
            }
            literal = false;
        } else {
            match level.cmp(wanted) {
                Ordering::Equal => {}
                Ordering::Less => return Step::Leap(at, wanted),
                Ordering::Greater if literal => return Step::End,
                Ordering::Greater => return Step::Leap(at - 1, BEHIND_SUBTREE),
            }
        }
        at += level.len() + 1;
    }
    match topic_levels.next() {
        None => Step::Match,
        Some(_) => Step::Leap(at - 1, BEHIND_SUBTREE),
    }
}
