//! What the database takes on disk when what is written is forgotten again.
//!
//! `cargo bench -p katydid-store --bench churn` keeps 1,000 logs at about 100 entries and 10,000 records, changes them for
//! as long as it takes to write 1 GB, and prints how large the file is meanwhile.

use std::io::Write;
use std::time::Instant;

use bytes::Bytes;
use katydid_store::{Entry, Op, Options, SledStore, Space, Store};

const LOGS: u64 = 1_000;
const KEPT: u64 = 100;
const ENTRY_BYTES: u64 = 120;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = SledStore::open(folder.path(), Options::default()).expect("a new database");
    let content = Bytes::from(vec![b'x'; ENTRY_BYTES as usize]);
    let begin = Instant::now();
    let mut written = 0_u64;
    for round in 0..80_u64 {
        for group in 0..1_000_u64 {
            let mut ops = Vec::new();
            for n in 0..100 {
                let number = (round * 1_000 + group) * 100 + n;
                // Some logs are busy, others hardly ever written.
                let log = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) % LOGS;
                let log = log * log / LOGS;
                let seq = number + 1;
                ops.push(Op::Append { log, entry: Entry { seq, time_ms: number, bytes: content.clone() } });
                if number % 50 == 0 {
                    let stats = store.stats(log).expect("stats").unwrap_or_default();
                    if stats.entries > KEPT {
                        let span = (stats.next - stats.first) * (stats.entries - KEPT) / stats.entries;
                        ops.push(Op::Trim { log, below: stats.first + span });
                    }
                    let key = Bytes::from(format!("record {}", number / 50 % 10_000));
                    ops.push(Op::Put { space: Space(1), key, value: content.clone() });
                }
            }
            written += ops.len() as u64 * ENTRY_BYTES;
            store.commit(ops).expect("commit");
        }
        if round % 8 == 7 {
            let kept: u64 = store.logs().expect("logs").iter().map(|(_, stats)| stats.bytes).sum();
            let disk = std::fs::metadata(folder.path().join("db"))?.len();
            writeln!(
                out,
                "{:>5} MB written, {:>3} MB kept, {:>5} MB on disk, {:.0} s",
                written >> 20,
                kept >> 20,
                disk >> 20,
                begin.elapsed().as_secs_f64()
            )?;
        }
    }
    Ok(())
}
