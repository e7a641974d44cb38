//! What an operator does with a broker's data, put to the real program: export, import, and erasing what somebody wrote.
//!
//! Owns the proof of "Keeping and moving data" in the README. Must never look into the broker. Invariant: no test waits
//! for time to pass. Driven by `cargo test -p katydid --test admin`.

#[path = "../harness/mod.rs"]
mod harness;
#[allow(dead_code, reason = "another test target uses the rest")]
#[path = "../chat/people.rs"]
mod people;
#[allow(dead_code, reason = "another test target uses the rest")]
#[path = "../chat/schema.rs"]
mod schema;

mod erase;
mod export;
mod import;
mod town;
