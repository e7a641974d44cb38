//! Rooms of users who all read and write: what chat costs.
//!
//! Owns: what `rooms` means as a plan. Never knows how a plan runs. Invariant: each user is one connection
//! that subscribes to its room and publishes into it. Driven by `main`.

use super::exchange::{self, Plan};
use super::{Run, SetUpError};
use crate::options::Rooms;
use crate::report::Report;

/// Runs the load.
///
/// # Errors
/// When not every connection becomes ready.
pub(crate) fn run(options: &Rooms) -> Result<Report, SetUpError> {
    let plan = Plan {
        name: "rooms",
        groups: options.rooms,
        publishers: options.users,
        subscribers: options.users,
        both: true,
        topic: &options.topic,
        filter: &options.filter,
        content: &options.content,
        pace: &options.pace,
    };
    exchange::run(&Run::new(&options.target), &plan)
}
