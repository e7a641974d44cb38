//! Legacy chat protocols translated into publish and subscribe.
//!
//! Each protocol is a folder: `wire` cuts bytes into frames within limits, `map` translates names, codes and JSON,
//! and a state machine without I/O takes frames and chat events and gives lines and chat calls. [`chat`] is the
//! vocabulary that all of them speak towards the broker, [`machine`] the shape that all of them have, and `driver`
//! the one place with sockets, tasks and a clock. Each legacy user is an MQTT client of its own: the bridge has no
//! right that its user has not.
#![forbid(unsafe_code)]

pub mod chat;
pub mod flow;
pub mod machine;
pub mod mchat;
pub mod names;
pub mod notice;
pub mod requests;
pub mod text;

#[cfg(test)]
mod transcript;
