//! The client library against the real broker: what `katydid-sdk` promises, seen by its user.
//!
//! Owns the proof that what is said comes once and in order, over lost connections and for slow users too. Must never
//! look into the broker or the library. Driven by `cargo test -p katydid --test sdk`.

#[path = "../harness/mod.rs"]
mod harness;

#[path = "../listeners/certificates.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod certificates;

mod reconnect;
mod slow;
mod talk;
mod user;
mod ways;
