//! A simulation of the whole broker: many clients on four shards, crashes, and every interleaving that chance finds,
//! checked against a model of what the broker promises. The model shares the codec with the engine and nothing else.
//!
//! `cargo test -p katydid-engine --test simulation` runs 200 seeds. In the environment, `KATYDID_SIMULATION_SEEDS` sets
//! another number, `SEED` runs one seed, and `TRACE=1` prints everything that happens in it. Without crashes, time or
//! threads of its own a seed always is the same run.
#![allow(unreachable_pub, reason = "the modules of a test have no outside")]

mod client;
mod disk;
mod judge;
mod model;
#[cfg(feature = "mutants")]
mod mutants;
mod plan;
mod random;
mod received;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use world::World;

/// How many lines of the trace are shown of a run that failed.
const LINES_SHOWN: usize = 60;

/// Runs a seed; what went wrong, and the last lines of the trace.
fn run(seed: u64, has_trace: bool) -> Result<(), (String, Vec<String>)> {
    let outcome = std::panic::catch_unwind(|| {
        let mut world = World::new(seed, has_trace);
        world.run();
        (world.model.violation, world.model.trace.unwrap_or_default())
    });
    match outcome {
        Ok((None, _)) => Ok(()),
        Ok((Some(violation), trace)) => Err((violation, trace)),
        Err(_) => Err(("the engine panicked".into(), Vec::new())),
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_promises_hold_over_crashes_and_every_order_of_events() {
    let (from, to) = match number("SEED") {
        Some(seed) => (seed, seed + 1),
        None => (0, number("KATYDID_SIMULATION_SEEDS").unwrap_or(200)),
    };
    let next = AtomicU64::new(from);
    let failed = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to {
                        return;
                    }
                    if let Err((violation, _)) = run(seed, false) {
                        failed.lock().expect("nobody panics with it").push((seed, violation));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("nobody panics with it");
    failed.sort();
    let Some((seed, violation)) = failed.first() else { return };
    let trace = run(*seed, true).err().map(|(_, trace)| trace).unwrap_or_default();
    let shown = if number("TRACE").is_some() { trace.len() } else { LINES_SHOWN };
    let lines = trace[trace.len().saturating_sub(shown)..].join("\n");
    let all: Vec<String> =
        failed.iter().take(30).map(|(seed, what)| format!("  SEED={seed}: {what}")).collect();
    panic!(
        "{} seeds of {} failed; the first is SEED={seed}: {violation}\n{lines}\n{}",
        failed.len(),
        to - from,
        all.join("\n")
    );
}
