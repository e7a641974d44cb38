//! A log file that is renamed at a size (document `mchat`, section 7, Logging): between one and two times that size of the
//! newest log is always there.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Size at which a file is renamed, unless another is asked for.
pub const ROTATE_BYTES: u64 = 5 * 1024 * 1024;

/// A log file and the one before it, which has the same name with `.1` behind it.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    rotate_bytes: u64,
}

impl RotatingFile {
    /// Opens or makes it, and goes on behind what is there.
    ///
    /// # Errors
    /// It can't be written.
    pub fn open(path: &Path, rotate_bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.into(), file, bytes, rotate_bytes })
    }

    /// Adds a line with the time. A log that can't be written is no reason to stop: the process's own log says so.
    pub fn say(&mut self, text: &str) {
        let time = humantime::format_rfc3339_seconds(SystemTime::now());
        if let Err(error) = self.write(format!("{time} {text}\n").as_bytes()) {
            tracing::warn!(%error, path = %self.path.display(), "the log file can't be written");
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes >= self.rotate_bytes {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            std::fs::rename(&self.path, old)?;
            self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            self.bytes = 0;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_the_log_is_always_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("host_6061_server.log");
        let mut log = RotatingFile::open(&path, 100).expect("a file");
        for at in 0..20 {
            log.say(&format!("event {at}"));
        }
        let read = |path: &Path| std::fs::read_to_string(path).expect("a log");
        let (old, new) = (read(&dir.path().join("host_6061_server.log.1")), read(&path));
        assert!(new.ends_with("event 19\n") && old.len() >= 100 && old.len() < 200, "{old}{new}");
        let mut log = RotatingFile::open(&path, 100).expect("a file");
        log.say("event 20");
        assert!(read(&path).len() < 200);
    }
}
