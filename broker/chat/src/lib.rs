//! The chat domain without MQTT packets and without I/O: names, and the topic grammar that maps rooms, groups and
//! users onto topics.
//!
//! Everything here is a pure function of its input. The engine asks it what a topic or a filter means; bridges and
//! clients use the same grammar, so that a name that one of them accepts is a name for all.
#![forbid(unsafe_code)]

pub mod name;
pub mod topic;
