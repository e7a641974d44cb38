//! The `katydid` binary: reads the configuration and runs the broker.

mod config;
mod logging;
mod options;
mod passwd;

use options::Start;
use std::process::ExitCode;

fn main() -> ExitCode {
    match options::start() {
        Start::Done(code) => code,
        Start::Run(config) => {
            logging::start(config.log);
            for doubt in config.doubts() {
                tracing::warn!("{doubt}");
            }
            ExitCode::SUCCESS
        }
    }
}
