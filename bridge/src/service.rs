//! The bridge as a service that starts and stops by command (document `mchat`, section 3, Server): a process in the
//! background whose number is in a file.
//!
//! Invariant: the file is there while the process runs, and holds its number; one that a crash has left behind is
//! replaced, since nobody runs under that number.

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long starting and stopping may take.
const LIMIT: Duration = Duration::from_secs(20);

/// How often is looked whether it is done.
const LOOK: Duration = Duration::from_millis(50);

/// The file that holds the number of this process; removed when dropped.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Writes it.
    ///
    /// # Errors
    /// Another bridge runs under it, or it can't be written.
    pub(crate) fn write(path: &Path) -> Result<Self, String> {
        if let Some(pid) = read(path).filter(|pid| runs(*pid)) {
            return Err(format!("{}: a bridge runs already, as process {pid}", path.display()));
        }
        let number = format!("{}\n", std::process::id());
        fs::write(path, number).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path.into()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // One that stays behind is replaced by the next start.
        let _ = fs::remove_file(&self.0);
    }
}

/// Starts this program again in the background, without the word `start`, and waits for its file.
///
/// # Errors
/// No file was named, or the process ended.
pub(crate) fn start(pid_file: Option<&Path>) -> Result<(), String> {
    let path = pid_file.ok_or("start needs --pid-file")?;
    if let Some(pid) = read(path).filter(|pid| runs(*pid)) {
        return Err(format!("{}: a bridge runs already, as process {pid}", path.display()));
    }
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let arguments = env::args_os().skip(1).filter(|argument| argument != "start");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let until = Instant::now() + LIMIT;
    while read(path) != i32::try_from(child.id()).ok().map(Pid::from_raw) {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("the bridge ended at once: {status}"));
        }
        if Instant::now() > until {
            return Err("the bridge does not start".into());
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Ends the bridge whose number is in the file, and waits until it has ended.
///
/// # Errors
/// No file was named, it holds no number, or the process does not end.
pub(crate) fn stop(pid_file: Option<&Path>) -> Result<(), String> {
    let path = pid_file.ok_or("stop needs --pid-file")?;
    let pid = read(path).ok_or_else(|| format!("{}: no bridge runs", path.display()))?;
    match kill(pid, Signal::SIGTERM) {
        Ok(()) => {}
        // A crash has left the file behind.
        Err(Errno::ESRCH) => return fs::remove_file(path).map_err(|error| error.to_string()),
        Err(error) => return Err(format!("process {pid}: {error}")),
    }
    let until = Instant::now() + LIMIT;
    while runs(pid) && path.exists() {
        if Instant::now() > until {
            return Err(format!("process {pid} does not end"));
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

fn read(path: &Path) -> Option<Pid> {
    let number: i32 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    // Zero and less would be groups of processes.
    (number > 0).then(|| Pid::from_raw(number))
}

fn runs(pid: Pid) -> bool {
    kill(pid, None) != Err(Errno::ESRCH)
}
