//! The `#` protocol: commands by hand over telnet, one room and one message group at a time (port 6500).

mod challenge;
mod command;
mod map;
mod session;
pub mod wire;

pub use challenge::Known;
pub use session::{Session, Settings};
