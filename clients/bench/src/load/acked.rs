//! Publishing with acknowledgements: how many a second, and how long each takes.
//!
//! Owns: the loop that keeps each publisher's window full, which `offline` and `replay` use too. Never knows
//! who receives. Invariant: every message sent is acknowledged, refused, or counted as unacknowledged.
//! Driven by `main`; [`publish_all`] by the other loads.

use super::publisher::Publisher;
use super::{LONGEST_WAIT, Nobody, Run, SetUpError, Who, open_all, room_topics, secs};
use crate::connection::{Gone, Handler, Network};
use crate::meter::Latency;
use crate::options::Acked;
use crate::process;
use crate::report::Report;
use crate::wire::PublishTemplate;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::time::Duration;

/// What is published.
pub(super) struct Task<'a> {
    /// Topic template.
    pub(super) topic: &'a str,
    pub(super) qos: u8,
    pub(super) size: usize,
    /// Unacknowledged messages of each publisher.
    pub(super) window: usize,
    /// Messages of each publisher.
    pub(super) messages: u32,
    /// Time after which nothing more is sent.
    pub(super) duration: Duration,
}

/// What became of it.
pub(super) struct Published {
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
    pub(super) unacknowledged: u64,
    pub(super) connections_lost: u64,
    /// What went wrong, by its text.
    pub(super) troubles: BTreeMap<String, u64>,
    /// From sending to acknowledgement.
    pub(super) latency: Latency,
    /// Until the last acknowledgement.
    pub(super) elapsed_secs: f64,
}

struct Acknowledging {
    first: usize,
    publishers: Vec<Publisher>,
    last_ns: u64,
    published: Published,
}

impl Acknowledging {
    fn note(&mut self, what: impl Display) {
        *self.published.troubles.entry(what.to_string()).or_default() += 1;
    }
}

impl Handler for Acknowledging {
    fn handle_done(&mut self, id: usize, packet_id: u16, reason: u8, now_ns: u64) {
        let publisher = id.checked_sub(self.first).and_then(|nth| self.publishers.get_mut(nth));
        if let Some(sent_ns) = publisher.and_then(|publisher| publisher.acknowledge(packet_id)) {
            self.last_ns = now_ns;
            self.published.latency.record(now_ns - sent_ns);
            if reason >= 0x80 {
                self.published.refused += 1;
                self.note(format_args!("publish refused, reason 0x{reason:02x}"));
            } else {
                self.published.acknowledged += 1;
            }
        }
    }

    fn handle_gone(&mut self, id: usize, why: &Gone, _now_ns: u64) {
        if let Some(nth) = id.checked_sub(self.first) {
            self.note(why);
            self.published.connections_lost += 1;
            self.published.unacknowledged += self.publishers[nth].unacknowledged() as u64;
            self.publishers[nth].lose();
        }
    }
}

/// Publishes on connections that are ready, `first` and those after it, of these people.
pub(super) fn publish_all(
    run: &Run,
    network: &mut Network,
    first: usize,
    people: &[Who],
    task: &Task<'_>,
) -> io::Result<Published> {
    let publishers = people.iter().enumerate().map(|(nth, &who)| {
        let template = PublishTemplate::new(run.version(), &run.expand(task.topic, who), task.qos, task.size);
        Publisher::new(network, first + nth, run.id, nth as u32, template, task.qos, task.window)
    });
    let start_ns = network.now_ns();
    let mut acknowledging = Acknowledging {
        first,
        publishers: publishers.collect(),
        last_ns: start_ns,
        published: Published {
            sent: 0,
            acknowledged: 0,
            refused: 0,
            unacknowledged: 0,
            connections_lost: 0,
            troubles: BTreeMap::new(),
            latency: Latency::new(),
            elapsed_secs: 0.0,
        },
    };
    let until_ns = start_ns.saturating_add(task.duration.as_nanos() as u64);
    loop {
        let now_ns = network.now_ns();
        let publishing = now_ns < until_ns;
        let mut is_busy = false;
        for nth in 0..people.len() {
            let publisher = &mut acknowledging.publishers[nth];
            let sent = publisher.sent();
            while publishing && publisher.sent() < task.messages && publisher.can_publish(network) {
                publisher.publish(network, now_ns, now_ns);
            }
            is_busy |= publisher.unacknowledged() > 0
                || (publisher.alive && publishing && publisher.sent() < task.messages);
            if publisher.sent() > sent {
                network.flush(first + nth, &mut acknowledging);
            }
        }
        let stalled = now_ns.saturating_sub(acknowledging.last_ns) > run.target.stall.as_nanos() as u64;
        if !is_busy || stalled || run.is_over() {
            break;
        }
        let left = Duration::from_nanos(until_ns.saturating_sub(now_ns));
        network.poll(if publishing { left.min(LONGEST_WAIT) } else { LONGEST_WAIT }, &mut acknowledging)?;
    }
    let mut published = acknowledging.published;
    published.elapsed_secs = secs(acknowledging.last_ns - start_ns);
    for publisher in &acknowledging.publishers {
        published.sent += u64::from(publisher.sent());
        published.unacknowledged += publisher.unacknowledged() as u64;
    }
    Ok(published)
}

/// Runs the load.
///
/// # Errors
/// When not every publisher becomes ready.
pub(crate) fn run(options: &Acked) -> Result<Report, SetUpError> {
    let run = Run::new(&options.target);
    let topic = match &options.room {
        Some(room) => room_topics(room).0,
        None => options.topic.clone(),
    };
    let people: Vec<Who> = (0..options.publishers).map(|number| Who { number, room: 0 }).collect();
    let mut network = run.network(people.len())?;
    let ask = |nth: usize| (run.login(people[nth], true), None);
    open_all(&run, &mut network, people.len(), ask, &mut Nobody)?.all()?;
    network.gather = options.target.gather;

    let task = Task {
        topic: &topic,
        qos: options.qos,
        size: options.size,
        window: options.window,
        messages: u32::MAX,
        duration: options.duration,
    };
    let before = process::cpu(&options.target.pid);
    let published = publish_all(&run, &mut network, 0, &people, &task)?;
    let after = process::cpu(&options.target.pid);

    let mut report = run.report("acked");
    report.add("qos", options.qos);
    report.add("payload_bytes", options.size);
    report.add("publishers", options.publishers);
    report.add("window", options.window);
    report.add_decimal("elapsed_s", published.elapsed_secs);
    report.add("published", published.sent);
    report.add_rate("acknowledged", published.acknowledged, published.elapsed_secs);
    report.add("refused", published.refused);
    report.add("unacknowledged", published.unacknowledged);
    report.add_latency("ack_latency_us", &published.latency);
    report.add_cpu(before, after, "ack", published.acknowledged);
    report.add("connections_lost", published.connections_lost);
    report.add_troubles(published.troubles);
    if published.connections_lost > 0 || published.unacknowledged > 0 {
        report.mark_partial("not every message was acknowledged");
    }
    Ok(report)
}
