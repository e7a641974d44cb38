//! MQTT 3.1.1 and 5.0 without I/O.
//!
//! This crate owns the wire format ([`decode`], [`encode`]), topic names and filters ([`topic`]), and the rules of
//! one connection ([`connection`]) and one session ([`session`]) as state machines. It knows no socket, no clock and
//! no other crate of the workspace; callers hand it bytes and the time.
#![forbid(unsafe_code)]

pub mod connection;
pub mod decode;
pub mod encode;
pub mod packet;
pub mod properties;
pub mod reason;
pub mod session;
pub mod topic;
pub mod varint;
