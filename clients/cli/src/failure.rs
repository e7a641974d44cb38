//! How a command fails, and the exit code that says so.

use crate::print::Printer;
use katydid_sdk::Refusal;
use std::{io, process::ExitCode};

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The broker refused what was asked: exit code 1.
    Refused(Refusal),
    /// Something on this side: exit code 2, as for a wrong command line.
    Local(String),
    /// The broker cannot be reached or does not answer: exit code 3.
    Unreachable(Refusal),
    /// The broker refused the sign-in: exit code 4.
    SignIn(Refusal),
    /// Nobody reads the output any more.
    Output,
}

impl Failure {
    /// Says it on standard error, and gives the exit code.
    pub(crate) fn report(&self, printer: &Printer) -> ExitCode {
        let (code, refusal) = match self {
            Self::Refused(refusal) => (1, refusal.clone()),
            Self::Local(reason) => (2, Refusal::new(Refusal::ARGUMENT, reason.clone())),
            Self::Unreachable(refusal) => (3, refusal.clone()),
            Self::SignIn(refusal) if refusal.code == Refusal::UNREACHABLE => (3, refusal.clone()),
            Self::SignIn(refusal) if refusal.code == Refusal::ARGUMENT => (2, refusal.clone()),
            Self::SignIn(refusal) => (4, refusal.clone()),
            // As a program that SIGPIPE ends.
            Self::Output => return ExitCode::from(141),
        };
        printer.problem(&refusal);
        ExitCode::from(code)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match &*refusal.code {
            Refusal::ARGUMENT | Refusal::TOO_LARGE => Self::Local(refusal.reason),
            Refusal::UNREACHABLE | Refusal::TIMED_OUT | Refusal::INTERRUPTED | Refusal::CLOSED => {
                Self::Unreachable(refusal)
            }
            _ => Self::Refused(refusal),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Output } else { Self::Local(error.to_string()) }
    }
}
