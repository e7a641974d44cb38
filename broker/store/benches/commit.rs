//! What the store costs: CPU time of the whole process for an entry, checkpoints included.
//!
//! `cargo bench -p katydid-store` writes 120-byte entries into 500 logs, with 1, 10, 100 and 1,000 entries a commit, in
//! clear and encrypted in turn, and prints microseconds of CPU and of wall time for an entry, what the database takes on
//! disk, how long it takes to open, and what an amendment costs.

use std::io::Write;
use std::time::Instant;

use bytes::Bytes;
use katydid_store::{Entry, Op, Options, SledStore, StorageKey, Store};

const LOGS: u64 = 500;
const ENTRY_BYTES: usize = 120;
const AMENDED: u64 = 200;

/// User and system time of this process, in microseconds, from `/proc/self/stat`: a tick is 10 ms.
fn cpu_micros() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    behind_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>()
        * 10_000
}

fn options(is_encrypted: bool) -> Options {
    let key = is_encrypted.then(|| StorageKey::parse(&"5e".repeat(32)).expect("a key"));
    Options { key, ..Options::default() }
}

fn run(entries: u64, group: u64, is_encrypted: bool, out: &mut impl Write) -> std::io::Result<()> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = SledStore::open(folder.path(), options(is_encrypted)).expect("a new database");
    let content = Bytes::from(vec![b'x'; ENTRY_BYTES]);
    let (cpu, wall) = (cpu_micros(), Instant::now());
    let (mut done, mut slowest) = (0, 0);
    while done < entries {
        let ops = (done..done + group).map(|n| {
            let entry = Entry { seq: n / LOGS + 1, time_ms: 1_763_692_800_000 + n, bytes: content.clone() };
            Op::Append { log: n.wrapping_mul(7) % LOGS, entry }
        });
        let begin = Instant::now();
        store.commit(ops.collect()).expect("commit");
        slowest = slowest.max(begin.elapsed().as_micros());
        done += group;
    }
    let (cpu, wall) = (cpu_micros() - cpu, wall.elapsed().as_micros());
    let counters = store.counters();
    let disk = std::fs::metadata(folder.path().join("db"))?.len();
    // Of what was said last, and of what is in the history for long.
    let amended = Instant::now();
    for n in 0..AMENDED {
        let (log, seq) = (n * 13 % LOGS, 1 + (n * 7) % (done / LOGS));
        store.commit(vec![Op::Amend { log, seq, bytes: Bytes::new() }]).expect("commit");
    }
    let amended = amended.elapsed().as_micros() as f64 / AMENDED as f64;
    drop(store);
    let reopen = Instant::now();
    let store = SledStore::open(folder.path(), options(is_encrypted)).expect("the same database");
    let reopen = reopen.elapsed();
    let logs = store.logs().expect("logs").len();
    assert_eq!(logs as u64, LOGS.min(entries));
    let per = |micros: f64| micros / done as f64;
    writeln!(
        out,
        "{group:>5} a commit, {}: {:6.2} us CPU, {:7.2} us wall an entry; {:.1} ms slowest commit; {} checkpoints, {:.2} \
         syncs a commit of {:.0} us; {:.1} bytes on disk a byte written; opens again in {:.2} s; {amended:.0} us an \
         amendment",
        if is_encrypted { "encrypted" } else { "in clear " },
        per(cpu as f64),
        per(wall as f64),
        slowest as f64 / 1000.0,
        counters.checkpoints,
        counters.syncs as f64 / counters.commits as f64,
        counters.sync_nanos as f64 / counters.syncs as f64 / 1000.0,
        disk as f64 / (done * ENTRY_BYTES as u64) as f64,
        reopen.as_secs_f64(),
    )
}

/// Microseconds of CPU for an entry, at 100 entries a commit.
fn cpu_an_entry(is_encrypted: bool) -> std::io::Result<f64> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = SledStore::open(folder.path(), options(is_encrypted)).expect("a new database");
    let content = Bytes::from(vec![b'x'; ENTRY_BYTES]);
    let (entries, cpu) = (400_000, cpu_micros());
    for first in (0..entries).step_by(100) {
        let ops = (first..first + 100).map(|n| {
            let entry = Entry { seq: n / LOGS + 1, time_ms: n, bytes: content.clone() };
            Op::Append { log: n.wrapping_mul(7) % LOGS, entry }
        });
        store.commit(ops.collect()).expect("commit");
    }
    Ok((cpu_micros() - cpu) as f64 / entries as f64)
}

/// What encryption costs: the cheapest of several runs that take turns, because what else the machine does only adds.
fn compare(out: &mut impl Write) -> std::io::Result<()> {
    let mut cheapest = [f64::MAX; 2];
    for _ in 0..8 {
        for (is_encrypted, cheapest) in [false, true].into_iter().zip(&mut cheapest) {
            *cheapest = cheapest.min(cpu_an_entry(is_encrypted)?);
        }
    }
    let [clear, encrypted] = cheapest;
    writeln!(
        out,
        "  100 a commit: {clear:.2} us CPU an entry in clear, {encrypted:.2} encrypted: {:.2} times",
        encrypted / clear
    )
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    compare(&mut out)?;
    for (entries, group) in [(60_000, 1), (300_000, 10), (2_000_000, 100), (2_000_000, 1_000)] {
        for is_encrypted in [false, true] {
            run(entries, group, is_encrypted, &mut out)?;
        }
    }
    Ok(())
}
