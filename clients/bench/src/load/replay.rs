//! Reading a room's stored history: how long, and how many messages a second.
//!
//! Owns: filling a room on request, then subscribing from the past. Never knows how a broker stores.
//! Invariant: with a room that was filled here, lost, doubled and reordered are exact; in another one
//! messages are only counted. 3.1.1 asks with the prefix `$since/` of the filter, 5.0 with the user
//! property `since`. Driven by `main`.

use super::acked::{Task, publish_all};
use super::offline::{Draining, drain};
use super::{Nobody, Run, SetUpError, Who, leave_all, open_all, room_topics, secs};
use crate::connection::Network;
use crate::options::Replay;
use crate::process;
use crate::report::Report;
use crate::wire::{Login, Subscription, Version};

/// Runs the load.
///
/// # Errors
/// When readers or the publisher don't become ready, or the room can't be filled.
pub(crate) fn run(options: &Replay) -> Result<Report, SetUpError> {
    let run = Run::new(&options.target);
    let readers = options.subscribers;
    let room = run.expand(&options.room, Who { number: 0, room: 0 });
    let (topic, filter) = room_topics(&room);
    let mut network = run.network(readers + 1)?;
    if options.fill > 0 {
        fill(&run, &mut network, options, &topic)?;
    }

    let ask = |number: usize| -> (Login, Option<Subscription>) {
        let (filter, since) = match run.version() {
            Version::V3 => (format!("$since/{}/{filter}", options.since), None),
            Version::V5 => (filter.clone(), Some(options.since.clone())),
        };
        (run.login(Who { number, room: 0 }, true), Some(Subscription { filter, qos: options.qos, since }))
    };
    network.gather = options.target.gather;
    let first = network.opened();
    let mut reading = Draining::new(&run, first, readers);
    let wanted = options.messages.or((options.fill > 0).then_some(options.fill));
    let due = wanted.map(|messages| u64::from(messages) * readers as u64);
    let before_bytes = process::resident_bytes(&options.target.pid);
    let before = process::cpu(&options.target.pid);
    let start_ns = network.now_ns();
    open_all(&run, &mut network, readers, ask, &mut reading)?.all()?;
    drain(&run, &mut network, &mut reading, |reading| due.is_some_and(|due| reading.total() >= due))?;
    let after = process::cpu(&options.target.pid);

    let mut report = run.report("replay");
    report.add("room", room);
    report.add("readers", readers);
    report.add("since", options.since.as_str());
    report.add_decimal("elapsed_s", secs(reading.last_ns.saturating_sub(start_ns)));
    report.add_rate("replayed", reading.total(), secs(reading.last_ns.saturating_sub(start_ns)));
    if let Some(first_ns) = reading.first_ns {
        report.add_decimal("first_message_ms", (first_ns - start_ns) as f64 / 1e6);
    }
    report.add_cpu(before, after, "replayed", reading.total());
    if let (Some(from), Some(to)) = (before_bytes, process::highest_bytes(&options.target.pid)) {
        report.add("broker_resident_bytes_before", from);
        report.add("broker_resident_bytes_highest", to);
    }
    if options.fill > 0 {
        let filled = u64::from(options.fill) * readers as u64;
        report.add("lost", filled.saturating_sub(reading.streams.received));
        report.add("doubled", reading.streams.doubled);
        report.add("reordered", reading.streams.reordered);
    }
    report.add("foreign", reading.foreign);
    if due.is_some_and(|due| reading.total() < due) || reading.total() == 0 {
        report.mark_partial("less history came than was to be read");
    }
    if !reading.lost.is_empty() {
        report.mark_partial("connections were lost");
    }
    report.add_troubles(reading.lost);
    Ok(report)
}

/// Puts the messages of this run into the room, each acknowledged.
fn fill(run: &Run, network: &mut Network, options: &Replay, topic: &str) -> Result<(), SetUpError> {
    let who = Who { number: options.subscribers, room: 0 };
    let connection = network.opened();
    open_all(run, network, 1, |_| (run.login(who, true), None), &mut Nobody)?.all()?;
    let task = Task {
        topic,
        qos: 1,
        size: options.size,
        window: options.window,
        messages: options.fill,
        duration: options.target.timeout,
    };
    let filled = publish_all(run, network, connection, &[who], &task)?;
    leave_all(run, network, connection..=connection)?;
    if filled.acknowledged < u64::from(options.fill) {
        return Err(SetUpError::NotFilled { acknowledged: filled.acknowledged, asked: options.fill });
    }
    Ok(())
}
