//! The mChat protocol: clients with several rooms (port 6061), and the mesh of servers that it makes (port 6062).
//!
//! All connections are one [`Server`], as mChat's are: its clients know of each other's nicks, and what they say goes to
//! the servers of the mesh once.

mod clients;
mod map;
mod mesh;
mod server;
#[cfg(test)]
mod tests;
pub mod wire;

pub use map::{room_from_broker, room_to_broker};
pub use server::{CLIENTS, MESH, MeshSettings, Server, Settings};
