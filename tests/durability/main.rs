//! Durability from outside.
#[path = "../harness/mod.rs"]
mod harness;
