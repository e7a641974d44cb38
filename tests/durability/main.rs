//! What is on disk when the broker ends, however it ends: asked to, killed, or with a disk that takes its time.
//!
//! Owns the proof of durability from outside, with the real broker on a real file system; power cuts, which a killed
//! process does not show, are proved beside the engine. Must never look into the data folder. Invariant: what a
//! broker has acknowledged is compared with what its successor gives back. Driven by
//! `cargo test -p katydid --test durability`.

#[path = "../harness/mod.rs"]
mod harness;

mod encrypted;
mod full_disk;
mod group_commit;
mod kill;
mod member;
mod planned;
mod publisher;
mod takeover;
mod wills;

/// The number of a room's message, from the user properties of its PUBLISH or its acknowledgement.
fn number(properties: &[harness::property::Property]) -> Option<u64> {
    use harness::property::{USER_PROPERTY, Value, all};
    all(properties, USER_PROPERTY).into_iter().find_map(|pair| match pair {
        Value::Pair(name, value) if name == "seq" => value.parse().ok(),
        _ => None,
    })
}
