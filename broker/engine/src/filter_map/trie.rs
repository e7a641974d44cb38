//! Filters with wildcards, as a tree of their levels.
//!
//! A node stands for the levels on the way to it, and holds the value of the filter that ends there and of the one that
//! adds `#`. Nodes live in a slab and know their parents; a node without value and children is removed. Walks are
//! loops, not recursion: a topic has as many levels as its length allows.

use super::is_protected;
use foldhash::fast::RandomState;
use slab::Slab;
use std::collections::HashMap;

/// The index of a node.
type NodeId = u32;
const ROOT: NodeId = 0;
/// No node; the root is nobody's child.
const NONE: NodeId = ROOT;

/// The children of a node by their level, wildcards left out. Most nodes have none or one.
#[derive(Debug)]
enum Children {
    None,
    One(Box<str>, NodeId),
    #[allow(clippy::box_collection, reason = "keeps a node small")]
    Many(Box<HashMap<Box<str>, NodeId, RandomState>>),
}

#[derive(Debug)]
struct Node<V> {
    parent: NodeId,
    /// The child for `+`, or `NONE`.
    plus: NodeId,
    children: Children,
    /// Value of the filter that ends here.
    here: Option<V>,
    /// Value of the filter that ends here with `/#` more.
    below: Option<V>,
}

/// A tree of filters.
#[derive(Debug)]
pub(super) struct Trie<V> {
    nodes: Slab<Node<V>>,
    len: usize,
}

/// Where a value is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    node: NodeId,
    below: bool,
}

impl Children {
    fn find(&self, level: &str) -> Option<NodeId> {
        match self {
            Children::None => None,
            Children::One(only, id) => (**only == *level).then_some(*id),
            Children::Many(map) => map.get(level).copied(),
        }
    }

    fn insert(&mut self, level: &str, id: NodeId) {
        match self {
            Children::None => *self = Children::One(level.into(), id),
            Children::One(..) => {
                let Children::One(only, first) = std::mem::replace(self, Children::None) else { return };
                *self = Children::Many(Box::new([(only, first), (level.into(), id)].into_iter().collect()));
            }
            Children::Many(map) => {
                map.insert(level.into(), id);
            }
        }
    }

    fn remove(&mut self, level: &str) {
        match self {
            Children::None => {}
            Children::One(only, _) => {
                if **only == *level {
                    *self = Children::None;
                }
            }
            Children::Many(map) => {
                map.remove(level);
                if map.is_empty() {
                    *self = Children::None;
                } else if map.capacity() > 64 && map.len() < map.capacity() / 8 {
                    map.shrink_to(2 * map.len());
                }
            }
        }
    }
}

impl<V> Node<V> {
    fn new(parent: NodeId) -> Self {
        Self { parent, plus: NONE, children: Children::None, here: None, below: None }
    }

    fn is_unused(&self) -> bool {
        self.here.is_none()
            && self.below.is_none()
            && self.plus == NONE
            && matches!(self.children, Children::None)
    }
}

/// Splits a trailing `#` level off.
fn split_hash(filter: &str) -> (Option<&str>, bool) {
    match filter.strip_suffix('#') {
        Some("") => (None, true),
        Some(rest) if rest.ends_with('/') => (Some(&rest[..rest.len() - 1]), true),
        _ => (Some(filter), false),
    }
}

impl<V> Trie<V> {
    pub(super) fn new() -> Self {
        Self { nodes: Slab::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    pub(super) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn entry(&mut self, filter: &str) -> &mut V
    where
        V: Default,
    {
        if self.nodes.is_empty() {
            self.nodes.insert(Node::new(NONE));
        }
        let (levels, below) = split_hash(filter);
        let mut at = ROOT;
        for level in levels.into_iter().flat_map(|levels| levels.split('/')) {
            at = match self.child(at, level) {
                Some(child) => child,
                None => self.add_child(at, level),
            };
        }
        let node = &mut self.nodes[at as usize];
        let value = if below { &mut node.below } else { &mut node.here };
        if value.is_none() {
            self.len += 1;
        }
        value.get_or_insert_default()
    }

    fn child(&self, at: NodeId, level: &str) -> Option<NodeId> {
        let node = self.nodes.get(at as usize)?;
        match level {
            "+" => (node.plus != NONE).then_some(node.plus),
            _ => node.children.find(level),
        }
    }

    fn add_child(&mut self, at: NodeId, level: &str) -> NodeId {
        // A slab of four billion nodes does not fit in memory.
        let child = self.nodes.insert(Node::new(at)) as NodeId;
        let node = &mut self.nodes[at as usize];
        match level {
            "+" => node.plus = child,
            _ => node.children.insert(level, child),
        }
        child
    }

    fn find(&self, filter: &str) -> Option<Place> {
        let (levels, below) = split_hash(filter);
        let mut levels = levels.into_iter().flat_map(|levels| levels.split('/'));
        let node = levels.try_fold(ROOT, |at, level| self.child(at, level))?;
        Some(Place { node, below })
    }

    pub(super) fn get(&self, filter: &str) -> Option<&V> {
        let place = self.find(filter)?;
        let node = self.nodes.get(place.node as usize)?;
        if place.below { node.below.as_ref() } else { node.here.as_ref() }
    }

    pub(super) fn get_mut(&mut self, filter: &str) -> Option<&mut V> {
        let place = self.find(filter)?;
        let node = self.nodes.get_mut(place.node as usize)?;
        if place.below { node.below.as_mut() } else { node.here.as_mut() }
    }

    pub(super) fn remove(&mut self, filter: &str) -> Option<V> {
        let place = self.find(filter)?;
        let node = self.nodes.get_mut(place.node as usize)?;
        let value = if place.below { node.below.take() } else { node.here.take() }?;
        self.len -= 1;
        let mut at = place.node;
        for level in split_hash(filter).0.into_iter().flat_map(|levels| levels.rsplit('/')) {
            if !self.nodes[at as usize].is_unused() {
                return Some(value);
            }
            at = self.nodes.remove(at as usize).parent;
            let parent = &mut self.nodes[at as usize];
            match level {
                "+" => parent.plus = NONE,
                _ => parent.children.remove(level),
            }
        }
        if self.len == 0 {
            self.nodes = Slab::new();
        }
        Some(value)
    }

    /// The value of a place that [`Places`] just gave.
    pub(super) fn value(&self, place: Place) -> &V {
        let node = &self.nodes[place.node as usize];
        let value = if place.below { &node.below } else { &node.here };
        value.as_ref().expect("only places with a value are given out")
    }

    /// As [`Trie::value`], to change.
    pub(super) fn value_mut(&mut self, place: Place) -> &mut V {
        let node = &mut self.nodes[place.node as usize];
        let value = if place.below { &mut node.below } else { &mut node.here };
        value.as_mut().expect("only places with a value are given out")
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.nodes.iter().flat_map(|(_, node)| node.here.iter().chain(&node.below))
    }
}

/// A node to visit, and where in the topic the next level begins; past its end when all levels are used.
#[derive(Debug, Clone, Copy, Default)]
struct Visit {
    node: NodeId,
    from: usize,
}

/// Visits kept without allocation; one is kept at most for each level of the filters.
const INLINE_VISITS: usize = 12;

/// The walk through the places whose filters match one topic, a step a call.
pub(super) struct Places<'t> {
    topic: &'t str,
    /// First levels that filters that begin with a wildcard don't reach.
    protected: &'static [&'static str],
    kept: [Visit; INLINE_VISITS],
    kept_len: usize,
    more: Vec<Visit>,
    /// The value here is the next to be given out.
    pending: Option<Place>,
    /// Nodes looked at so far.
    #[cfg(test)]
    pub(super) visited: usize,
}

impl<'t> Places<'t> {
    pub(super) fn new(topic: &'t str, protected: &'static [&'static str]) -> Self {
        let kept = [Visit { node: ROOT, from: 0 }; INLINE_VISITS];
        Self {
            topic,
            protected,
            kept,
            kept_len: 1,
            more: Vec::new(),
            pending: None,
            #[cfg(test)]
            visited: 0,
        }
    }

    fn keep(&mut self, visit: Visit) {
        match self.kept.get_mut(self.kept_len) {
            Some(slot) => {
                *slot = visit;
                self.kept_len += 1;
            }
            None => self.more.push(visit),
        }
    }

    fn take(&mut self) -> Option<Visit> {
        self.more.pop().or_else(|| {
            self.kept_len = self.kept_len.checked_sub(1)?;
            Some(self.kept[self.kept_len])
        })
    }

    /// The next place; the trie must not change in between.
    pub(super) fn next<V>(&mut self, trie: &Trie<V>) -> Option<Place> {
        if let Some(place) = self.pending.take() {
            return Some(place);
        }
        while let Some(visit) = self.take() {
            #[cfg(test)]
            {
                self.visited += 1;
            }
            let Some(node) = trie.nodes.get(visit.node as usize) else { continue };
            let wildcards = visit.node != ROOT
                || (node.plus == NONE && node.below.is_none())
                || !is_protected(self.topic, self.protected);
            let here = match self.topic.get(visit.from..) {
                Some(rest) => {
                    self.descend(node, rest, visit.from, wildcards);
                    None
                }
                None => node.here.is_some().then_some(Place { node: visit.node, below: false }),
            };
            // `sport/#` also matches `sport` (MQTT 5.0, 4.7.1.2).
            let below =
                (wildcards && node.below.is_some()).then_some(Place { node: visit.node, below: true });
            if let Some(place) = below.or(here) {
                self.pending = below.and(here);
                return Some(place);
            }
        }
        None
    }

    /// Keeps the children of `node` that match the first level of `rest`, which begins at `from`.
    fn descend<V>(&mut self, node: &Node<V>, rest: &str, from: usize, wildcards: bool) {
        let level = rest.split('/').next().unwrap_or_default();
        let from = from + level.len() + 1;
        if wildcards && node.plus != NONE {
            self.keep(Visit { node: node.plus, from });
        }
        if let Some(child) = node.children.find(level) {
            self.keep(Visit { node: child, from });
        }
    }
}
