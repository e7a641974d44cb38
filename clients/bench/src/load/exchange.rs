//! Publishers and subscribers in groups: each message of a group's publisher is due at each of the
//! group's subscribers.
//!
//! Owns: the loop behind `fanout` and `rooms`, closed by a window or open at a fixed rate. Never knows
//! about packets. Invariant: a message is due only at subscribers that were there when it was published,
//! so that due minus received is the loss; at a fixed rate latency counts from when a message was due,
//! whether or not it could leave then. Driven by [`run`].

use super::publisher::Publisher;
use super::{LONGEST_WAIT, Nobody, Run, SetUpError, Who, next_random, open_all, secs};
use crate::connection::{Gone, Handler, Network};
use crate::meter::{Latency, Seen, Streams, Window};
use crate::options::{Content, Pace};
use crate::process::{self, CpuReading};
use crate::report::Report;
use crate::wire::{Message, PublishTemplate, Subscription};
use std::collections::VecDeque;
use std::time::Duration;

/// Messages at a fixed rate that may wait to leave before more are skipped.
const WAITING: usize = 1 << 20;
/// Publishers that are asked in turn whether they can send, before the next look at the sockets.
const ASKED: usize = 64;

/// Who exchanges what.
pub(super) struct Plan<'a> {
    /// The load's name.
    pub(super) name: &'a str,
    /// Groups, and publishers and subscribers in each.
    pub(super) groups: usize,
    pub(super) publishers: usize,
    pub(super) subscribers: usize,
    /// Whether a publisher and a subscriber share a connection: a group has as many of one as the other.
    pub(super) both: bool,
    /// Templates of where to publish and what to subscribe.
    pub(super) topic: &'a str,
    pub(super) filter: &'a str,
    pub(super) content: &'a Content,
    pub(super) pace: &'a Pace,
}

impl Plan<'_> {
    fn all_publishers(&self) -> usize {
        self.groups * self.publishers
    }

    fn all_subscribers(&self) -> usize {
        self.groups * self.subscribers
    }

    /// The connection of the first publisher; subscribers have the numbers from 0.
    fn first_publisher(&self) -> usize {
        if self.both { 0 } else { self.all_subscribers() }
    }

    fn who(&self, number: usize) -> Who {
        let room = match number.checked_sub(self.first_publisher()) {
            Some(publisher) => publisher / self.publishers,
            None => number / self.subscribers,
        };
        Who { number, room }
    }
}

/// Counts since the connections were ready.
#[derive(Clone, Copy, Default)]
struct Counts {
    published: u64,
    delivered: u64,
    acknowledged: u64,
}

/// The state of a run.
struct Exchange<'a> {
    plan: &'a Plan<'a>,
    run: u32,
    publishers: Vec<Publisher>,
    /// Subscribers still there, by group.
    present: Vec<u32>,
    streams: Streams,
    /// None at a fixed rate.
    window: Option<Window>,
    latency: Latency,
    measuring: bool,
    counts: Counts,
    due: u64,
    refused: u64,
    foreign: u64,
    unacknowledged: usize,
    connections_lost: u64,
    last_delivery_ns: u64,
    last_progress_ns: u64,
    /// Connections with something to send, each once.
    dirty: Vec<usize>,
    report: Report,
}

impl Handler for Exchange<'_> {
    #[inline]
    fn handle_message(&mut self, id: usize, message: &Message, now_ns: u64) {
        let group = id / self.plan.subscribers;
        let ours = message.stamp.filter(|stamp| stamp.run == self.run).and_then(|stamp| {
            let nth = (stamp.publisher as usize).checked_sub(group * self.plan.publishers)?;
            (nth < self.plan.publishers && group < self.plan.groups).then_some((stamp, nth))
        });
        let Some((stamp, nth)) = ours else {
            self.foreign += 1;
            return;
        };
        let publisher = stamp.publisher as usize;
        match self.streams.see(id * self.plan.publishers + nth, stamp.sequence) {
            Seen::Again => return,
            Seen::Next | Seen::Late => {}
            Seen::Ahead(skipped) => {
                if let Some(window) = &mut self.window {
                    for sequence in stamp.sequence - skipped..stamp.sequence {
                        window.settle(publisher, sequence);
                    }
                }
            }
        }
        if let Some(window) = &mut self.window {
            window.settle(publisher, stamp.sequence);
        }
        self.counts.delivered += 1;
        if self.measuring {
            self.latency.record(now_ns.saturating_sub(stamp.due_ns));
        }
        self.last_delivery_ns = now_ns;
        self.last_progress_ns = now_ns;
    }

    fn handle_done(&mut self, id: usize, packet_id: u16, reason: u8, now_ns: u64) {
        let publisher =
            id.checked_sub(self.plan.first_publisher()).and_then(|nth| self.publishers.get_mut(nth));
        if publisher.and_then(|publisher| publisher.acknowledge(packet_id)).is_none() {
            self.report.trouble("an acknowledgement of nothing");
            return;
        }
        self.unacknowledged -= 1;
        self.counts.acknowledged += 1;
        self.last_progress_ns = now_ns;
        if reason >= 0x80 {
            self.refused += 1;
            self.report.trouble(format_args!("publish refused, reason 0x{reason:02x}"));
        }
    }

    fn handle_gone(&mut self, id: usize, why: &Gone, _now_ns: u64) {
        self.connections_lost += 1;
        self.report.trouble(why);
        if id < self.plan.all_subscribers() {
            self.present[id / self.plan.subscribers] -= 1;
        }
        if let Some(nth) = id.checked_sub(self.plan.first_publisher()) {
            self.unacknowledged -= self.publishers[nth].unacknowledged();
            self.publishers[nth].lose();
        }
    }
}

impl Exchange<'_> {
    fn publish(&mut self, network: &mut Network, nth: usize, due_ns: u64, now_ns: u64) {
        let publisher = &mut self.publishers[nth];
        let receivers = self.present[nth / self.plan.publishers];
        if let Some(window) = &mut self.window {
            window.publish(nth, receivers);
        }
        if network.unsent_bytes(publisher.connection) == 0 {
            self.dirty.push(publisher.connection);
        }
        publisher.publish(network, due_ns, now_ns);
        self.counts.published += 1;
        self.due += u64::from(receivers);
        self.unacknowledged += usize::from(self.plan.content.qos > 0);
    }

    fn flush(&mut self, network: &mut Network) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            network.flush(id, self);
        }
        self.dirty = dirty;
    }

    /// Whether everything published has come and is acknowledged.
    fn is_done(&self) -> bool {
        self.streams.received >= self.due && self.unacknowledged == 0
    }

    fn can_go_on(&self) -> bool {
        self.publishers
            .iter()
            .zip(0..)
            .any(|(publisher, nth)| publisher.alive && self.present[nth / self.plan.publishers] > 0)
    }
}

/// Who publishes next: in turn in one group, by chance among many.
struct Turns {
    publishers: usize,
    by_chance: bool,
    state: u64,
}

impl Turns {
    fn next(&mut self) -> usize {
        if self.by_chance {
            return (next_random(&mut self.state) % self.publishers as u64) as usize;
        }
        self.state = (self.state + 1) % self.publishers as u64;
        self.state as usize
    }
}

/// What decides when the next message is published.
enum Drive {
    /// As many as the window has room for.
    Closed,
    /// At a fixed rate, in ticks.
    Open(Schedule),
}

/// Messages at a fixed rate.
struct Schedule {
    start_ns: u64,
    rate: f64,
    tick_ns: u64,
    next_tick_ns: u64,
    scheduled: u64,
    skipped: u64,
    /// Messages that could not leave when due, by publisher and with that time, oldest first.
    waiting: VecDeque<(usize, u64)>,
    /// How far the sending of due messages lagged behind.
    lag: Latency,
}

impl Schedule {
    fn new(rate: f64, tick: Duration, start_ns: u64) -> Self {
        let tick_ns = (tick.as_nanos() as u64).max(1_000);
        Self {
            start_ns,
            rate,
            tick_ns,
            next_tick_ns: start_ns + tick_ns,
            scheduled: 0,
            skipped: 0,
            waiting: VecDeque::new(),
            lag: Latency::new(),
        }
    }

    /// Publishes what is due by now, and what could not leave before.
    fn publish(
        &mut self,
        exchange: &mut Exchange<'_>,
        network: &mut Network,
        turns: &mut Turns,
        until_ns: u64,
    ) {
        let now_ns = network.now_ns();
        for _ in 0..self.waiting.len() {
            let Some((nth, due_ns)) = self.waiting.pop_front() else { break };
            self.send_or_keep(exchange, network, (nth, due_ns), now_ns);
        }
        while self.next_tick_ns <= now_ns.min(until_ns) {
            let due = (secs(self.next_tick_ns - self.start_ns) * self.rate) as u64;
            for _ in self.scheduled..due {
                self.lag.record(now_ns - self.next_tick_ns);
                self.send_or_keep(exchange, network, (turns.next(), self.next_tick_ns), now_ns);
            }
            self.scheduled = due;
            self.next_tick_ns += self.tick_ns;
        }
    }

    fn send_or_keep(
        &mut self,
        exchange: &mut Exchange<'_>,
        network: &mut Network,
        (nth, due_ns): (usize, u64),
        now_ns: u64,
    ) {
        if exchange.publishers[nth].can_publish(network) {
            exchange.publish(network, nth, due_ns, now_ns);
        } else if exchange.publishers[nth].alive && self.waiting.len() < WAITING {
            self.waiting.push_back((nth, due_ns));
        } else {
            self.skipped += 1;
        }
    }
}

/// Fills the window with messages of whoever can send.
fn fill_window(exchange: &mut Exchange<'_>, network: &mut Network, turns: &mut Turns) {
    let now_ns = network.now_ns();
    let mut free = exchange.window.as_ref().map_or(0, Window::free);
    let mut refusals = 0;
    while free > 0 && refusals < ASKED {
        let nth = turns.next();
        let heard = exchange.present[nth / exchange.plan.publishers] > 0;
        if heard && exchange.publishers[nth].can_publish(network) {
            exchange.publish(network, nth, now_ns, now_ns);
            free -= 1;
        } else {
            refusals += 1;
        }
    }
}

/// Where measuring began.
struct Mark {
    counts: Counts,
    cpu: CpuReading,
    at_ns: u64,
}

/// Runs the plan and reports.
///
/// # Errors
/// When not every connection becomes ready.
pub(super) fn run(run: &Run, plan: &Plan<'_>) -> Result<Report, SetUpError> {
    let mut network = connect(run, plan)?;
    let mut exchange = exchange(run, plan, &network);

    let start_ns = network.now_ns();
    let measure_from_ns = start_ns + plan.pace.warm_up.as_nanos() as u64;
    let until_ns = measure_from_ns + plan.pace.duration.as_nanos() as u64;
    let stall_ns = run.target.stall.as_nanos() as u64;
    let mut turns =
        Turns { publishers: plan.all_publishers(), by_chance: plan.groups > 1, state: u64::from(run.id) };
    let mut drive = match plan.pace.rate {
        None => Drive::Closed,
        Some(rate) => Drive::Open(Schedule::new(rate, plan.pace.tick, start_ns)),
    };
    let mut mark = None;
    let mut given_up = 0;
    exchange.last_progress_ns = start_ns;

    loop {
        let now_ns = network.now_ns();
        if run.is_over() {
            exchange.report.mark_partial("out of time");
            break;
        }
        if mark.is_none() && now_ns >= measure_from_ns {
            exchange.measuring = true;
            mark = Some(Mark { counts: exchange.counts, cpu: process::cpu(&run.target.pid), at_ns: now_ns });
        }
        let publishing = now_ns < until_ns && exchange.can_go_on();
        let mut waits = false;
        match &mut drive {
            Drive::Closed if publishing => fill_window(&mut exchange, &mut network, &mut turns),
            Drive::Closed => {}
            Drive::Open(schedule) => {
                schedule.publish(&mut exchange, &mut network, &mut turns, until_ns);
                waits = !schedule.waiting.is_empty();
            }
        }
        exchange.flush(&mut network);
        let stalled = now_ns.saturating_sub(exchange.last_progress_ns) > stall_ns;
        if !publishing && ((exchange.is_done() && !waits) || stalled || !exchange.can_go_on()) {
            break;
        }
        if publishing && stalled && exchange.due > exchange.streams.received {
            given_up += exchange.window.as_mut().map_or(0, Window::give_up);
            exchange.last_progress_ns = now_ns;
        }
        let mut wake_ns = now_ns + LONGEST_WAIT.as_nanos() as u64;
        if let Drive::Open(schedule) = &drive
            && publishing
        {
            wake_ns = wake_ns.min(schedule.next_tick_ns);
        }
        let wait = Duration::from_nanos(wake_ns.saturating_sub(network.now_ns()));
        network.poll(wait, &mut exchange)?;
    }
    let mark =
        mark.unwrap_or(Mark { counts: exchange.counts, cpu: process::cpu(&run.target.pid), at_ns: start_ns });
    Ok(report(run, plan, exchange, drive, &mark, given_up))
}

/// Opens every connection; those of subscribers subscribe.
fn connect(run: &Run, plan: &Plan<'_>) -> Result<Network, SetUpError> {
    let connections =
        if plan.both { plan.all_publishers() } else { plan.all_publishers() + plan.all_subscribers() };
    let mut network = run.network(connections)?;
    let ask = |nth: usize| {
        let who = plan.who(nth);
        let subscription = (nth < plan.all_subscribers()).then(|| Subscription {
            filter: run.expand(plan.filter, who),
            qos: plan.content.qos,
            since: None,
        });
        (run.login(who, true), subscription)
    };
    open_all(run, &mut network, connections, ask, &mut Nobody)?.all()?;
    network.gather = run.target.gather;
    Ok(network)
}

fn exchange<'a>(run: &Run, plan: &'a Plan<'a>, network: &Network) -> Exchange<'a> {
    let publishers = (0..plan.all_publishers()).map(|nth| {
        let connection = plan.first_publisher() + nth;
        let topic = run.expand(plan.topic, plan.who(connection));
        let template = PublishTemplate::new(run.version(), &topic, plan.content.qos, plan.content.size);
        Publisher::new(network, connection, run.id, nth as u32, template, plan.content.qos, usize::MAX)
    });
    Exchange {
        plan,
        run: run.id,
        publishers: publishers.collect(),
        present: vec![plan.subscribers as u32; plan.groups],
        streams: Streams::new(plan.all_subscribers() * plan.publishers),
        window: plan.pace.rate.is_none().then(|| Window::new(plan.pace.window, plan.all_publishers())),
        latency: Latency::new(),
        measuring: false,
        counts: Counts::default(),
        due: 0,
        refused: 0,
        foreign: 0,
        unacknowledged: 0,
        connections_lost: 0,
        last_delivery_ns: 0,
        last_progress_ns: 0,
        dirty: Vec::new(),
        report: run.report(plan.name),
    }
}

fn report(
    run: &Run,
    plan: &Plan<'_>,
    mut exchange: Exchange<'_>,
    drive: Drive,
    mark: &Mark,
    given_up: usize,
) -> Report {
    let cpu = process::cpu(&run.target.pid);
    let mut report = std::mem::take(&mut exchange.report);
    let elapsed_secs = secs(exchange.last_delivery_ns.saturating_sub(mark.at_ns));
    let delivered = exchange.counts.delivered - mark.counts.delivered;
    report.add("qos", plan.content.qos);
    report.add("payload_bytes", plan.content.size);
    report.add("groups", plan.groups);
    report.add("publishers", plan.all_publishers());
    report.add("subscribers", plan.all_subscribers());
    match drive {
        Drive::Closed => {
            report.add("window", plan.pace.window);
            report.add("given_up", given_up);
        }
        Drive::Open(schedule) => {
            report.add("rate_per_s", schedule.rate);
            report.add("skipped", schedule.skipped + schedule.waiting.len() as u64);
            report.add_latency("send_lag_us", &schedule.lag);
            if schedule.skipped > 0 {
                report.mark_partial("the rate was not kept");
            }
        }
    }
    report.add_decimal("elapsed_s", elapsed_secs);
    report.add_rate("published", exchange.counts.published - mark.counts.published, elapsed_secs);
    report.add_rate("delivered", delivered, elapsed_secs);
    report.add_latency("latency_us", &exchange.latency);
    report.add("lost", exchange.due - exchange.streams.received);
    report.add("doubled", exchange.streams.doubled);
    report.add("reordered", exchange.streams.reordered);
    report.add("foreign", exchange.foreign);
    if plan.content.qos > 0 {
        report.add("acknowledged", exchange.counts.acknowledged - mark.counts.acknowledged);
        report.add("unacknowledged", exchange.unacknowledged);
        report.add("refused", exchange.refused);
    }
    report.add_cpu(mark.cpu, cpu, "delivery", delivered);
    if let Some(bytes) = process::resident_bytes(&run.target.pid) {
        report.add("broker_resident_bytes", bytes);
    }
    report.add("connections_lost", exchange.connections_lost);
    if exchange.connections_lost > 0 {
        report.mark_partial("connections were lost");
    }
    report
}
