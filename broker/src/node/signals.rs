//! The signals that an operator sends: SIGHUP reads the configuration again, SIGTERM and SIGINT end the broker.

use std::io;
use tokio::signal::unix::{Signal as Source, SignalKind, signal};

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// Read the configuration again.
    Reload,
    /// End in order.
    End,
}

/// Waits for signals.
#[derive(Debug)]
pub(super) struct Signals {
    hangup: Source,
    terminate: Source,
    interrupt: Source,
}

impl Signals {
    /// Takes the signals over, from inside a runtime.
    ///
    /// # Errors
    /// The system refused.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next signal; dropping the future loses none.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.terminate.recv() => Signal::End,
            _ = self.interrupt.recv() => Signal::End,
        }
    }
}
