//! Some publishers, many subscribers, one topic or room: what one message to many costs.
//!
//! Owns: what `fanout` means as a plan. Never knows how a plan runs. Invariant: one group. Driven by `main`.

use super::exchange::{self, Plan};
use super::{Run, SetUpError, room_topics};
use crate::options::Fanout;
use crate::report::Report;

/// Runs the load.
///
/// # Errors
/// When not every connection becomes ready.
pub(crate) fn run(options: &Fanout) -> Result<Report, SetUpError> {
    let (topic, filter) = match &options.room {
        Some(room) => room_topics(room),
        None => (options.topic.clone(), options.filter.clone()),
    };
    let plan = Plan {
        name: "fanout",
        groups: 1,
        publishers: options.publishers,
        subscribers: options.subscribers,
        both: false,
        topic: &topic,
        filter: &filter,
        content: &options.content,
        pace: &options.pace,
    };
    exchange::run(&Run::new(&options.target), &plan)
}
