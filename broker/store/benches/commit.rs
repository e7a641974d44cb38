//! What the store costs: CPU time of the whole process for an entry, checkpoints included.
//!
//! `cargo bench -p katydid-store` writes 120-byte entries into 500 logs, with 1, 10, 100 and 1,000 entries a commit, and
//! prints microseconds of CPU and of wall time for an entry, what the database takes on disk, and how long it takes to open.

use std::io::Write;
use std::time::Instant;

use bytes::Bytes;
use katydid_store::{Entry, Op, Options, SledStore, Store};

const LOGS: u64 = 500;
const ENTRY_BYTES: usize = 120;

/// User and system time of this process, in microseconds, from `/proc/self/stat`: a tick is 10 ms.
fn cpu_micros() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    behind_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>()
        * 10_000
}

fn run(entries: u64, group: u64, out: &mut impl Write) -> std::io::Result<()> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = SledStore::open(folder.path(), Options::default()).expect("a new database");
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
    drop(store);
    let reopen = Instant::now();
    let store = SledStore::open(folder.path(), Options::default()).expect("the same database");
    let reopen = reopen.elapsed();
    let logs = store.logs().expect("logs").len();
    assert_eq!(logs as u64, LOGS.min(entries));
    let per = |micros: f64| micros / done as f64;
    writeln!(
        out,
        "{group:>5} a commit: {:6.2} us CPU, {:7.2} us wall an entry; {:.1} ms slowest commit; {} checkpoints, {:.2} \
         syncs a commit of {:.0} us; {:.1} bytes on disk a byte written; opens again in {:.2} s",
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

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    for (entries, group) in [(60_000, 1), (300_000, 10), (2_000_000, 100), (2_000_000, 1_000)] {
        run(entries, group, &mut out)?;
    }
    Ok(())
}
