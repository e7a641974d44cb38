//! What a user can rely on: one module for each promise of the README, put to the real broker.
//!
//! Owns the proof of the promises from outside: people who talk in rooms with ordinary MQTT clients, and clients that
//! speak bytes where an ordinary one is too polite. Must never look into the broker. Invariant: no test waits for time
//! to pass; each waits for an event, with a limit. Driven by `cargo test -p katydid --test promises`.

#[path = "../harness/mod.rs"]
mod harness;

mod first_conversation;
mod in_turn;
mod nobody_hurts_others;
mod nothing_waits_in_copies;
mod one_order;
mod rooms_are_apart;
mod seam;
mod stored;
mod talk;
mod true_sender;
