//! The chat domain without MQTT packets and without I/O: names, the topic grammar that maps rooms, groups and users onto
//! topics, permissions, and the directory of people and places.
//!
//! The engine asks it what a topic or a filter means, and who may do what; bridges and clients use the same grammar, so
//! that a name that one of them accepts is a name for all.
#![forbid(unsafe_code)]

pub mod base64;
pub mod code;
pub mod directory;
pub mod event;
pub mod history;
pub mod mention;
pub mod name;
pub mod permission;
pub mod request;
pub mod scram;
pub mod search;
pub mod time;
pub mod topic;
