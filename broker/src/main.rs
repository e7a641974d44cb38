//! The `katydid` binary: reads the configuration and runs the broker.

mod config;

fn main() {}
