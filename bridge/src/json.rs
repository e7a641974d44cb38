//! The JSON protocol (port 5222): objects of commands one after another, one object in a line back.
//!
//! - A user is `name@host`; a group is a name that the broker made and nobody guesses. Private messages wait for who is
//!   away in the user's kept session at the broker, and are deleted there once delivered.
//! - Who signs in again, from wherever, goes on with the same session, and the older connection ends: the newest counts.
//! - The document would have the server call back a lost client at its last address. That is refused: an address belongs
//!   to whoever has it next, behind a router it reaches nobody, and a server that can be made to connect anywhere is a
//!   weapon. A lost client is offline, and gets what waits when it signs in again.

pub mod command;
pub mod map;
pub mod read;
pub mod session;
pub mod wire;

pub use session::{Session, Settings};
