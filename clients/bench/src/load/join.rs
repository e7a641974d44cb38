//! Entering rooms: what a SUBSCRIBE that joins costs beside the connection that it comes on.
//!
//! Owns: connecting without and with a room, and the difference. Never knows what a room is. Invariant: both acts open
//! as many connections, one after the other, so that the difference is the join. Driven by `main`.

use super::{Nobody, Run, SetUpError, Who, leave_all, open_all};
use crate::options::Join;
use crate::process;
use crate::report::Report;
use crate::wire::Subscription;

/// Runs the load.
///
/// # Errors
/// When not every connection becomes ready.
pub(crate) fn run(options: &Join) -> Result<Report, SetUpError> {
    let run = Run::new(&options.target);
    let pids = &options.target.pid;
    let count = options.connections;
    let mut network = run.network(count)?;
    let who = |number: usize| Who { number, room: number % options.rooms };
    let begun = process::cpu(pids);
    let bare =
        open_all(&run, &mut network, count, |nth| (run.login(who(nth), true), None), &mut Nobody)?.all()?;
    let connected = process::cpu(pids);
    leave_all(&run, &mut network, 0..count)?;
    let between = process::cpu(pids);
    let first = network.opened();
    let ask = |nth: usize| {
        let filter = run.expand(&options.filter, who(nth));
        (run.login(who(nth), true), Some(Subscription { filter, qos: 0, since: None }))
    };
    let joined = open_all(&run, &mut network, count, ask, &mut Nobody)?.all()?;
    let after = process::cpu(pids);
    leave_all(&run, &mut network, first..first + count)?;

    let mut report = run.report("join");
    report.add("connections", count);
    report.add("rooms", options.rooms);
    report.add_latency("connect_latency_us", &bare.latency);
    report.add_latency("connect_and_join_latency_us", &joined.latency);
    report.add_cpu(begun, connected, "connect", count as u64);
    report.add_cpu(between, after, "connect_and_join", count as u64);
    let spent = |from: process::CpuReading, to: process::CpuReading| {
        Some(to.broker_ns?.saturating_sub(from.broker_ns?) as f64 / 1e3 / count as f64)
    };
    if let (Some(bare), Some(joined)) = (spent(begun, connected), spent(between, after)) {
        report.add_decimal("broker_cpu_us_per_join", joined - bare);
    }
    Ok(report)
}
