//! The REST interface (port 8080): resources of the document's table in JSON over HTTP, and long polling for what is new.
//!
//! - [`server`] takes connections and keeps their limits, [`routes`] has the resources and their methods, [`desk`] knows who
//!   is signed in, [`person`] is one user with the connection to the broker and what is to be notified, [`openid`] signs in
//!   with a provider, [`map`] makes JSON and HTTP of what the broker says. `openapi.json` beside them describes all of it,
//!   and the tests hold every answer against it.
//! - A token is the user's name and a token of the broker, which the broker checks: the bridge keeps no list of them, and
//!   they hold across its restarts.
//! - Who has not asked for anything for a while is signed out; the broker keeps the session, and what is said meanwhile
//!   becomes notifications when the user is back.

pub mod desk;
pub mod map;
pub mod openid;
pub mod person;
pub mod routes;
pub mod server;
#[cfg(test)]
mod tests;

pub use server::{Settings, serve};
