//! The simulation catches what it is for: each of the engine's bugs that can be switched on is found within so many seeds.

use katydid_engine::mutant::Mutant;

/// Seeds that it may take to find one.
const SEEDS_MAX: u64 = 5_000;

#[test]
fn every_seeded_bug_is_caught() {
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        Mutant::switch_to(Some(mutant));
        let caught =
            (0..SEEDS_MAX).find_map(|seed| crate::run(seed, false).err().map(|(what, _)| (seed, what)));
        Mutant::switch_to(None);
        match caught {
            Some((seed, what)) => println!("{mutant:?} is caught by seed {seed}: {what}"),
            None => missed.push(mutant),
        }
    }
    assert!(missed.is_empty(), "not caught within {SEEDS_MAX} seeds: {missed:?}");
}
