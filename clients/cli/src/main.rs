//! `katydid-cli`: chat with a Katydid broker from the command line.

fn main() {}
