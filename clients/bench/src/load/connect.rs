//! Many connections that say nothing: connects a second, and what an idle connection costs.
//!
//! Owns: opening, holding and measuring memory. Never knows about messages. Invariant: memory is read
//! before the first connection and at the end of the hold, so a broker that has had as many before shows
//! less than it needs: take one that was just started. Driven by `main`.

use super::{LONGEST_WAIT, Nobody, Run, SetUpError, Who, open_all};
use crate::connection::{Gone, Handler};
use crate::options::Connect;
use crate::process;
use crate::report::Report;
use crate::wire::Subscription;
use std::collections::BTreeMap;
use std::time::Instant;

/// Counts connections that don't hold.
#[derive(Default)]
struct Holding {
    lost: BTreeMap<String, u64>,
}

impl Handler for Holding {
    fn handle_gone(&mut self, _id: usize, why: &Gone, _now_ns: u64) {
        *self.lost.entry(why.to_string()).or_default() += 1;
    }
}

/// Runs the load.
///
/// # Errors
/// When no connection at all becomes ready; some that don't make the result partial.
pub(crate) fn run(options: &Connect) -> Result<Report, SetUpError> {
    let run = Run::new(&options.target);
    let pids = &options.target.pid;
    let mut network = run.network(options.connections)?;
    let before_bytes = process::resident_bytes(pids);
    let before = process::cpu(pids);
    let ask = |number: usize| {
        let who = Who { number, room: 0 };
        let subscription = (!options.filter.is_empty()).then(|| Subscription {
            filter: run.expand(&options.filter, who),
            qos: 0,
            since: None,
        });
        (run.login(who, true), subscription)
    };
    let opened = open_all(&run, &mut network, options.connections, ask, &mut Nobody)?;
    let after = process::cpu(pids);
    if opened.ready == 0 {
        opened.all()?;
        return Err(SetUpError::NotReady { ready: 0, asked: options.connections, why: "out of time".into() });
    }

    let mut holding = Holding { lost: opened.failures };
    let begun = Instant::now();
    while begun.elapsed() < options.hold && !run.is_over() {
        let left = options.hold.saturating_sub(begun.elapsed());
        network.poll(left.min(LONGEST_WAIT), &mut holding)?;
    }
    let held_cpu = process::cpu(pids);
    let lost: u64 = holding.lost.values().sum();
    let held = (options.connections as u64).saturating_sub(lost).min(opened.ready as u64);

    let mut report = run.report("connect");
    report.add("asked", options.connections);
    report.add("held", held);
    report.add_decimal("elapsed_s", opened.elapsed.as_secs_f64());
    report.add_rate("connects", opened.ready as u64, opened.elapsed.as_secs_f64());
    report.add_latency("connect_latency_us", &opened.latency);
    report.add_cpu(before, after, "connect", opened.ready as u64);
    if let (Some(from), Some(to)) = (before_bytes, process::resident_bytes(pids)) {
        report.add("broker_resident_bytes", to);
        report.add_decimal("bytes_per_connection", ((to as f64 - from as f64) / held as f64).round());
    }
    if let (Some(from), Some(to)) = (after.broker_ns, held_cpu.broker_ns) {
        report.add_decimal("hold_broker_cpu_ms", (to - from) as f64 / 1e6);
    }
    report.add_troubles(holding.lost);
    if held < options.connections as u64 {
        report.mark_partial("not every connection was held");
    }
    if begun.elapsed() < options.hold {
        report.mark_partial("out of time");
    }
    Ok(report)
}
