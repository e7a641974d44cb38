//! Legacy clients against the real broker through the bridge: what one says, all the others hear.
//!
//! Owns the proof that the bridge's parts fit together. Must never look into the broker; of the bridge it uses only what
//! `katydid-bridge` itself uses. Driven by `cargo test -p katydid --test bridge`.

#[path = "../harness/mod.rs"]
mod harness;

mod helo;
mod inside;
mod json;
mod legacy;
mod limits;
mod mchat;
mod rest;
mod six;
mod text;
