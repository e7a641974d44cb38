//! What lies around MQTT: the doors of the broker, its files, its limits, its log and its statistics.
//!
//! Owns the proof, from outside and with the real broker, that each kind of listener serves what it should and refuses
//! the rest, that files are read again without a dropped connection, and that every limit has its policy and its
//! counter. Where mosquitto's programs are installed, they are clients too. Must never use the broker's crates.
//! Invariant: no test waits for time to pass; each waits for an event, with a limit. Driven by
//! `cargo test -p katydid --test listeners`.

#[path = "../harness/mod.rs"]
mod harness;

mod bad_input;
mod certificates;
mod drain;
mod limits;
mod local;
mod mosquitto;
mod moves;
mod proxy;
mod queues;
mod reload;
mod statistics;
mod tls;
mod websocket;
