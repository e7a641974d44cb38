//! What processes use: the broker's processor time and memory, and this program's own.
//!
//! Owns: reading the kernel's per-process clocks and `/proc`, and the limit of open files. Never knows what
//! the figures are divided by. Invariant: processor time is the sum over all threads of a process, ended
//! ones included, in nanoseconds. Driven by the loads, before and after what they measure.

use crate::load::SetUpError;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::ClockId;
use nix::unistd::Pid;
use std::fs;

/// Open files beside the connections: standard streams, the poller, the timer and some to spare.
const FILES_BESIDE: u64 = 32;

/// Processor time used so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuReading {
    /// Of the broker's processes, in nanoseconds; none without a process to look at, or when it is gone.
    pub(crate) broker_ns: Option<u64>,
    /// Of this process, in nanoseconds.
    pub(crate) own_ns: u64,
}

/// Reads processor time of the broker's processes and of this one.
pub(crate) fn cpu(broker: &[i32]) -> CpuReading {
    CpuReading { broker_ns: sum(broker, cpu_ns), own_ns: cpu_ns(std::process::id() as i32).unwrap_or(0) }
}

/// Resident memory of the broker's processes in bytes.
pub(crate) fn resident_bytes(broker: &[i32]) -> Option<u64> {
    sum(broker, |pid| status_bytes(pid, "VmRSS:"))
}

/// The most resident memory that the broker's processes ever had, in bytes.
pub(crate) fn highest_bytes(broker: &[i32]) -> Option<u64> {
    sum(broker, |pid| status_bytes(pid, "VmHWM:"))
}

fn status_bytes(pid: i32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kibibytes: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Makes sure that the processes to be measured can be.
///
/// # Errors
/// When a process isn't there.
pub(crate) fn check(broker: &[i32]) -> Result<(), SetUpError> {
    match broker.iter().find(|&&pid| cpu_ns(pid).is_none()) {
        Some(&pid) => Err(SetUpError::NoProcess(pid)),
        None => Ok(()),
    }
}

/// Makes sure that so many connections can be open at a time, raising the soft limit as far as allowed.
///
/// # Errors
/// When the hard limit doesn't allow it.
pub(crate) fn allow_connections(connections: usize) -> Result<(), SetUpError> {
    let needed = connections as u64 + FILES_BESIDE;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
    if needed <= soft {
        return Ok(());
    }
    if needed <= hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        return Ok(());
    }
    Err(SetUpError::TooFewFiles { needed, allowed: hard.max(soft) })
}

fn cpu_ns(pid: i32) -> Option<u64> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).ok()?;
    let time = clock.now().ok()?;
    Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// The sum over all processes; none when there is no process or one can't be read.
fn sum(pids: &[i32], of: impl Fn(i32) -> Option<u64>) -> Option<u64> {
    if pids.is_empty() {
        return None;
    }
    pids.iter().map(|&pid| of(pid)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel gives numbers below this one.
    const UNUSED: i32 = 1 << 22;

    #[test]
    fn our_own_time_grows_with_work() {
        let pids = [std::process::id() as i32];
        let before = cpu(&pids);
        let work: u64 = (0..2_000_000u64).fold(0, |sum, n| std::hint::black_box(sum ^ n));
        let after = cpu(&pids);
        assert!(after.own_ns > before.own_ns, "{work}");
        assert!(after.broker_ns > before.broker_ns);
        assert!(resident_bytes(&pids).is_some_and(|bytes| bytes > 100_000));
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        assert!(matches!(check(&[UNUSED]), Err(SetUpError::NoProcess(UNUSED))));
        assert!(cpu(&[UNUSED]).broker_ns.is_none());
        assert!(cpu(&[]).broker_ns.is_none());
    }

    #[test]
    fn more_files_than_allowed_is_said_before_the_load() {
        assert!(allow_connections(1).is_ok());
        assert!(matches!(allow_connections(1 << 40), Err(SetUpError::TooFewFiles { .. })));
    }
}
