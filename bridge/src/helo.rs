//! The `HELO` protocol: lines by hand or by its Java client, groups with an admin, private messages that the clients
//! encrypt, files on ports of their own (port 1337, files from 1338).
//!
//! All connections are one [`Server`], as its clients' keys and files go from one to the other.

mod command;
mod files;
mod groups;
mod keys;
mod map;
mod meta;
mod private;
mod server;
mod sessions;
#[cfg(test)]
mod tests;
pub mod wire;

pub use keys::Keys;
pub use server::{CLIENTS, FilePort, Server, Settings};
