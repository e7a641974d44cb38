//! Rights, over random histories: nobody ever receives what an independent model forbids.
//!
//! People join, leave, kick, ban, mute, ignore, invite, publish, subscribe with names, wildcards and shares, sleep and wake,
//! ask for history and replay, retain and leave wills, all from a seed, on several shards whose letters and commits arrive
//! in any order that they may. A step is a few actions at once; what is received must be permitted in one of the
//! states between them. Driven by `cargo test -p katydid-engine --test rights`; `SEED=n` runs one.

mod model;
mod people;
#[path = "../simulation/random.rs"]
mod random;
mod rig;

use people::{Bug, Run};
use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds of one run of the tests.
const SEEDS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nobody_receives_what_the_model_forbids() {
    let (from, to) = number("SEED").map_or((0, number("SEEDS").unwrap_or(SEEDS)), |seed| (seed, seed + 1));
    let (next, received, granted) = (AtomicU64::new(from), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to {
                        return;
                    }
                    let run = Run::of(seed, Bug::None);
                    if let Some(violation) = &run.violation {
                        panic!("SEED={seed}: {violation}\n{}", run.trace.join("\n"));
                    }
                    received.fetch_add(run.received, Ordering::Relaxed);
                    granted.fetch_add(run.granted, Ordering::Relaxed);
                }
            });
        }
    });
    // A broker that says nothing to anybody breaks no rule.
    let (received, granted) = (received.into_inner(), granted.into_inner());
    assert!(
        received > 10 * (to - from) && granted > 5 * (to - from),
        "{received} received, {granted} granted"
    );
}

/// The model notices a broker that does not do what it was told, in each of the ways that it is for.
#[test]
fn a_broker_that_forgets_what_it_was_told_is_noticed() {
    for bug in [Bug::BanSkipped, Bug::KickSkipped, Bug::MuteSkipped, Bug::IgnoreSkipped, Bug::LeaveSkipped] {
        let caught = (0..2_000).find(|&seed| Run::of(seed, bug).violation.is_some());
        assert!(caught.is_some(), "{bug:?} is not noticed");
    }
}

#[cfg(feature = "mutants")]
#[test]
fn a_bug_of_the_engine_is_caught() {
    use katydid_engine::mutant::Mutant;
    for mutant in Mutant::OF_RIGHTS {
        Mutant::switch_to(Some(mutant));
        let caught = (0..2_000).find(|&seed| Run::of(seed, Bug::None).violation.is_some());
        Mutant::switch_to(None);
        assert!(caught.is_some(), "{mutant:?} is not caught");
    }
}
