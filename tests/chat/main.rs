//! Chat on topics, put to the real broker: who may be what, who is where, what is asked and answered.
//!
//! Owns the proof of `topics.md` from outside. Must never look into the broker. Invariant: no test waits for time to pass;
//! each waits for an event, with a limit. Driven by `cargo test -p katydid --test chat`.

#[path = "../harness/mod.rs"]
mod harness;

mod bad_input;
mod delivered;
mod exchange;
mod mentions;
mod names;
mod own;
mod people;
mod places;
mod private;
mod provider;
mod requests;
mod rights;
mod schema;
mod scram;
mod search;
mod tokens;
mod verbs;
