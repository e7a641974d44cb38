//! What is on disk when the broker ends, however it ends: asked to, killed, or with a disk that takes its time.
//!
//! Owns the proof of durability from outside, with the real broker on a real file system; power cuts, which a killed
//! process does not show, are proved beside the engine. Must never look into the data folder. Invariant: what a
//! broker has acknowledged is compared with what its successor gives back. Driven by
//! `cargo test -p katydid --test durability`.

#[path = "../harness/mod.rs"]
mod harness;

mod group_commit;
mod kill;
mod planned;
