//! Logs: text or JSON lines on standard error, up to a level. Driven once, before anything else runs.
//!
//! What other crates say is shown from `warn` on, so that `-v` shows packets and not their inner life.

use std::io::{self, IsTerminal};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// What is logged, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LogConfig {
    /// How much.
    pub(crate) level: Level,
    /// The form of a line.
    pub(crate) format: Format,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// An operator has to act.
    Error,
    /// A peer misbehaved.
    Warn,
    /// Life cycle.
    #[default]
    Info,
    /// Packets, without what they say.
    Debug,
    /// Everything.
    Trace,
}

/// The form of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines: an object a line.
    Json,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }
}

/// Begins to log. A second call changes nothing.
pub(crate) fn start(config: LogConfig) {
    let level = LevelFilter::from(config.level);
    let shown = Targets::new().with_target("katydid", level).with_default(level.min(LevelFilter::WARN));
    let lines = match config.format {
        Format::Text => fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).boxed(),
        Format::Json => fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed(),
    };
    // It fails only if logs are on already, as in a test that starts two brokers.
    let _ = tracing_subscriber::registry().with(lines.with_filter(shown)).try_init();
}
