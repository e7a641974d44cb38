//! Requests of Katydid's (`$chat/...`) and their answers: how many a second, how long each takes, and what it costs.
//!
//! Owns: the loop that keeps each asker's window full. Never knows what is asked. Invariant: answers to one asker come
//! in the order of its requests, so that each is timed from the oldest unanswered one. Driven by `main`.

use super::{LONGEST_WAIT, Nobody, Run, SetUpError, Who, open_all, secs};
use crate::connection::{Gone, Handler};
use crate::meter::Latency;
use crate::options::Ask;
use crate::process;
use crate::report::Report;
use crate::wire::{Message, PublishTemplate, Subscription};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What is asked and not answered.
struct Asking {
    /// When each unanswered request was sent, by asker.
    waiting: Vec<VecDeque<u64>>,
    answered: u64,
    refused: u64,
    lost: BTreeMap<String, u64>,
    latency: Latency,
    last_ns: u64,
}

impl Handler for Asking {
    fn handle_message(&mut self, id: usize, _message: &Message, now_ns: u64) {
        if let Some(sent_ns) = self.waiting[id].pop_front() {
            self.latency.record(now_ns - sent_ns);
            self.answered += 1;
            self.last_ns = now_ns;
        }
    }

    fn handle_done(&mut self, _id: usize, _packet_id: u16, reason: u8, _now_ns: u64) {
        self.refused += u64::from(reason >= 0x80);
    }

    fn handle_gone(&mut self, id: usize, why: &Gone, _now_ns: u64) {
        *self.lost.entry(why.to_string()).or_default() += 1;
        self.waiting[id].clear();
    }
}

/// Runs the load.
///
/// # Errors
/// When not every asker becomes ready.
pub(crate) fn run(options: &Ask) -> Result<Report, SetUpError> {
    let run = Run::new(&options.target);
    let pids = &options.target.pid;
    let mut network = run.network(options.askers)?;
    let ask = |number: usize| {
        let who = Who { number, room: 0 };
        let filter = run.expand("user/{user}/reply", who);
        (run.login(who, true), Some(Subscription { filter, qos: 0, since: None }))
    };
    open_all(&run, &mut network, options.askers, ask, &mut Nobody)?.all()?;
    network.gather = options.target.gather;
    let topic = format!("$chat/{}", options.verb);
    let request = PublishTemplate::of(run.version(), &topic, options.qos, options.body.clone().into_bytes());
    let before = process::cpu(pids);
    let start_ns = network.now_ns();
    let until_ns = start_ns + options.duration.as_nanos() as u64;
    let mut asking = Asking {
        waiting: vec![VecDeque::new(); options.askers],
        answered: 0,
        refused: 0,
        lost: BTreeMap::new(),
        latency: Latency::new(),
        last_ns: start_ns,
    };
    let mut asked: u64 = 0;
    loop {
        let now_ns = network.now_ns();
        let goes_on = now_ns < until_ns && asking.lost.is_empty();
        for id in 0..options.askers {
            let room = if goes_on { options.window.saturating_sub(asking.waiting[id].len()) } else { 0 };
            for _ in 0..room {
                // Far fewer than there are packet identifiers wait for their acknowledgement.
                request.write_unstamped((asked % 65_535) as u16 + 1, network.outgoing(id));
                asking.waiting[id].push_back(now_ns);
                asked += 1;
            }
            if room > 0 {
                network.flush(id, &mut asking);
            }
        }
        let waits = asking.waiting.iter().any(|waiting| !waiting.is_empty());
        let is_stalled = now_ns.saturating_sub(asking.last_ns) > run.target.stall.as_nanos() as u64;
        if (!goes_on && !waits) || is_stalled || run.is_over() {
            break;
        }
        let left = Duration::from_nanos(until_ns.saturating_sub(now_ns));
        network.poll(if goes_on { left.min(LONGEST_WAIT) } else { LONGEST_WAIT }, &mut asking)?;
    }
    let after = process::cpu(pids);

    let mut report = run.report("ask");
    report.add("verb", options.verb.as_str());
    report.add("qos", options.qos);
    report.add("askers", options.askers);
    report.add("window", options.window);
    report.add("asked", asked);
    report.add_rate("answered", asking.answered, secs(asking.last_ns - start_ns));
    report.add("refused", asking.refused);
    report.add_latency("answer_latency_us", &asking.latency);
    report.add_cpu(before, after, "answer", asking.answered);
    if asking.answered < asked {
        report.mark_partial("not every request was answered");
    }
    report.add_troubles(asking.lost);
    Ok(report)
}
