//! Who may publish and subscribe to plain topics: mosquitto's access list, parsed and decided without I/O.

/// What a client wants to do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Publish to a topic name.
    Write,
    /// Receive a message of a topic name.
    Read,
    /// Subscribe to a filter.
    Subscribe,
}

/// A parsed access list.
#[derive(Debug, Clone)]
pub struct AccessList {}

impl AccessList {
    /// Everything is permitted: what holds without a file.
    pub fn allow_all() -> Self {
        Self {}
    }
}
