//! The `katydid` binary: reads the configuration and runs the broker.

mod config;
mod logging;
mod node;
mod operator;
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
            match node::run(*config) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    tracing::error!(%error, "the broker ends");
                    ExitCode::FAILURE
                }
            }
        }
    }
}
