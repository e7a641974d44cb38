//! Rules of the engine that show only when the disk or another shard answers at the wrong moment.
//!
//! Owns one test a rule; must never use a socket or a clock. Driven by `cargo test -p katydid-engine --test rules`.

mod behind;
mod crowd;
mod entering;
mod queue;
mod retained;
mod rig;
mod sharing;
mod silence;
mod subscribing;
