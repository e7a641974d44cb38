//! Black-box conformance tests: the real broker, a chapter of the standard a module.
//!
//! Owns the proof of the normative statements that bind a server; `../statements.toml` maps each of them to a test here.
//! Must never use the broker's crates. Invariant: each test starts its own broker and names the statements it proves.
//! Driven by `cargo test -p katydid --test conformance`.

#[path = "../harness/mod.rs"]
mod harness;

mod auth;
mod bad_input;
mod clients;
mod connect;
mod connect_fields;
mod disconnect;
mod flow_control;
mod malformed;
mod ping;
mod publish;
mod publish_properties;
mod qos;
mod retain;
mod session;
mod session_expiry;
mod shared;
mod subscribe;
mod topics;
mod unsubscribe;
mod websocket;
mod will;
