//! Passwords: from a prompt, a file or the environment. Never printed; from the command line only with a warning, since
//! others can read it there.

use crate::failure::Failure;
use katydid_sdk::Secret;
use std::{
    fs,
    io::{self, IsTerminal, Read, Write},
    path::Path,
};

/// The longest password file that is read.
const FILE_BYTES_MAX: u64 = 4096;

/// Whether somebody can be asked.
pub(crate) fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Asks at the terminal, without echo.
pub(crate) fn prompt(text: &str) -> Result<Secret, Failure> {
    rpassword::prompt_password(text).map(Secret::new).map_err(|error| {
        Failure::Local(format!("no password: {error} (give it in a file or in the environment)"))
    })
}

/// Asks for a new password, twice.
pub(crate) fn prompt_new(text: &str) -> Result<Secret, Failure> {
    let first = prompt(text)?;
    if prompt("Once more: ")? == first {
        Ok(first)
    } else {
        Err(Failure::Local("the two passwords differ".into()))
    }
}

/// The first line of a file; `-` is standard input.
pub(crate) fn read(path: &Path) -> Result<Secret, Failure> {
    let failed = |error: io::Error| Failure::Local(format!("{}: {error}", path.display()));
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().lock().take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    } else {
        fs::File::open(path)
            .map_err(failed)?
            .take(FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(failed)?;
    }
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line)),
        _ => Err(Failure::Local(format!("{} holds no password", path.display()))),
    }
}

/// From the environment.
pub(crate) fn from_environment(name: &str) -> Option<Secret> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(Secret::new)
}

/// Says that a password on the command line is seen by others.
pub(crate) fn warn() {
    let text = "katydid-cli: warning: other users of this machine can see a password on the command line; \
                use a file or the environment\n";
    let _ = io::stderr().write_all(text.as_bytes());
}

/// A new password: from a file, the environment variable, or the terminal.
pub(crate) fn new(file: Option<&Path>, variable: &str, text: &str) -> Result<Secret, Failure> {
    if let Some(path) = file {
        return read(path);
    }
    match from_environment(variable) {
        Some(secret) => Ok(secret),
        None => prompt_new(text),
    }
}
