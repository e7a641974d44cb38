//! Messages wait for sessions that sleep; then the sessions wake and drain them.
//!
//! Owns: the three acts of sleeping, filling and draining, and the removal of the sessions. Never knows
//! about packets. Invariant: lost is what was acknowledged to the publisher and did not come. Driven by
//! `main`; connections are opened anew in each act, and the network numbers them on.

use super::acked::{Published, Task, publish_all};
use super::{LONGEST_WAIT, Nobody, Run, SetUpError, Who, leave_all, open_all, room_topics, secs};
use crate::connection::{Gone, Handler, Network};
use crate::meter::Streams;
use crate::options::Offline;
use crate::process::{self, CpuReading};
use crate::report::Report;
use crate::wire::{Message, Subscription};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// How long after the last message doubles may show up.
const AFTERMATH: Duration = Duration::from_millis(200);

/// Counts what waited.
pub(super) struct Draining {
    run: u32,
    /// The connection of the first session.
    pub(super) first: usize,
    pub(super) streams: Streams,
    /// Messages of other runs.
    pub(super) foreign: u64,
    /// Connections lost, by why.
    pub(super) lost: BTreeMap<String, u64>,
    pub(super) first_ns: Option<u64>,
    pub(super) last_ns: u64,
}

impl Draining {
    /// Nothing has come for sessions whose connections begin at `first`.
    pub(super) fn new(run: &Run, first: usize, sessions: usize) -> Self {
        Self {
            run: run.id,
            first,
            streams: Streams::new(sessions),
            foreign: 0,
            lost: BTreeMap::new(),
            first_ns: None,
            last_ns: 0,
        }
    }

    /// All messages that came, whatever they say.
    pub(super) fn total(&self) -> u64 {
        self.streams.received + self.streams.doubled + self.foreign
    }
}

impl Handler for Draining {
    #[inline]
    fn handle_message(&mut self, id: usize, message: &Message, now_ns: u64) {
        match message.stamp {
            Some(stamp) if stamp.run == self.run && stamp.publisher == 0 => {
                self.streams.see(id - self.first, stamp.sequence);
            }
            _ => self.foreign += 1,
        }
        self.first_ns.get_or_insert(now_ns);
        self.last_ns = now_ns;
    }

    fn handle_gone(&mut self, _id: usize, why: &Gone, _now_ns: u64) {
        *self.lost.entry(why.to_string()).or_default() += 1;
    }
}

/// Polls until all has come and a moment has passed, or nothing comes for the stall time.
pub(super) fn drain(
    run: &Run,
    network: &mut Network,
    draining: &mut Draining,
    is_complete: impl Fn(&Draining) -> bool,
) -> io::Result<()> {
    let stall_ns = run.target.stall.as_nanos() as u64;
    let start_ns = network.now_ns();
    loop {
        let now_ns = network.now_ns();
        let quiet_ns = now_ns.saturating_sub(draining.last_ns.max(start_ns));
        if run.is_over()
            || quiet_ns > stall_ns
            || (is_complete(draining) && quiet_ns > AFTERMATH.as_nanos() as u64)
        {
            return Ok(());
        }
        network.poll(LONGEST_WAIT, draining)?;
    }
}

/// Runs the load.
///
/// # Errors
/// When sessions or publisher don't become ready.
pub(crate) fn run(options: &Offline) -> Result<Report, SetUpError> {
    let run = Run::new(&options.target);
    let pids = &options.target.pid;
    let sessions = options.subscribers;
    let (topic, filter) = match &options.room {
        Some(room) => room_topics(room),
        None => (options.topic.clone(), options.topic.clone()),
    };
    let mut network = run.network(sessions + 1)?;
    let session = |number: usize, clean: bool, subscribes: bool| {
        let who = Who { number, room: 0 };
        let filter = run.expand(&filter, who);
        (run.login(who, clean), subscribes.then_some(Subscription { filter, qos: 1, since: None }))
    };

    open_all(&run, &mut network, sessions, |nth| session(nth, false, true), &mut Nobody)?.all()?;
    leave_all(&run, &mut network, 0..sessions)?;
    let asleep_bytes = process::resident_bytes(pids);

    let publisher = network.opened();
    let who = Who { number: sessions, room: 0 };
    open_all(&run, &mut network, 1, |_| (run.login(who, true), None), &mut Nobody)?.all()?;
    let task = Task {
        topic: &topic,
        qos: 1,
        size: options.size,
        window: options.window,
        messages: options.messages,
        duration: options.target.timeout,
    };
    let before_fill = process::cpu(pids);
    let filled = publish_all(&run, &mut network, publisher, &[who], &task)?;
    let fill_cpu = (before_fill, process::cpu(pids));
    leave_all(&run, &mut network, publisher..=publisher)?;
    let filled_bytes = process::resident_bytes(pids);

    network.gather = options.target.gather;
    let mut draining = Draining::new(&run, network.opened(), sessions);
    let first = draining.first;
    let due = filled.acknowledged * sessions as u64;
    let before_drain = process::cpu(pids);
    let start_ns = network.now_ns();
    open_all(&run, &mut network, sessions, |nth| session(nth, false, false), &mut draining)?.all()?;
    drain(&run, &mut network, &mut draining, |draining| draining.streams.received >= due)?;
    let drain_cpu = (before_drain, process::cpu(pids));
    network.gather = Duration::ZERO;
    let present = (first..first + sessions).filter(|&id| network.session_present(id)).count();

    // A clean session takes the place of the one that slept [MQTT-3.1.2-6].
    leave_all(&run, &mut network, first..first + sessions)?;
    let first_clean = network.opened();
    let removed =
        open_all(&run, &mut network, sessions, |nth| session(nth, true, false), &mut Nobody)?.all().is_ok();
    leave_all(&run, &mut network, first_clean..first_clean + sessions)?;

    let mut report = run.report("offline");
    report.add("payload_bytes", options.size);
    report.add("sessions", sessions);
    report.add("sessions_present", present);
    report_fill(&mut report, filled, fill_cpu, options.messages);
    report_drain(&mut report, draining, drain_cpu, due, start_ns);
    if let (Some(asleep), Some(filled)) = (asleep_bytes, filled_bytes) {
        report.add("broker_resident_bytes_asleep", asleep);
        report.add("broker_resident_bytes_filled", filled);
    }
    if !removed {
        report.mark_partial("the sessions could not be removed");
    }
    Ok(report)
}

fn report_fill(report: &mut Report, filled: Published, cpu: (CpuReading, CpuReading), asked: u32) {
    report.add_rate("filled", filled.acknowledged, filled.elapsed_secs);
    report.add("refused", filled.refused);
    report.add_cpu(cpu.0, cpu.1, "fill", filled.acknowledged);
    report.add_troubles(filled.troubles);
    if filled.acknowledged < u64::from(asked) {
        report.mark_partial("not every message was acknowledged");
    }
}

fn report_drain(
    report: &mut Report,
    draining: Draining,
    cpu: (CpuReading, CpuReading),
    due: u64,
    start_ns: u64,
) {
    let drained = draining.streams.received;
    report.add_rate("drained", drained, secs(draining.last_ns.saturating_sub(start_ns)));
    if let Some(first_ns) = draining.first_ns {
        report.add_decimal("first_message_ms", (first_ns - start_ns) as f64 / 1e6);
    }
    report.add_cpu(cpu.0, cpu.1, "drained", drained);
    report.add("lost", due.saturating_sub(drained));
    report.add("doubled", draining.streams.doubled);
    report.add("reordered", draining.streams.reordered);
    report.add("foreign", draining.foreign);
    report.add_troubles(draining.lost);
    if drained < due {
        report.mark_partial("not every acknowledged message came");
    }
}
