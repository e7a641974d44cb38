//! The `katydid` binary: reads the configuration and runs the broker.

mod config;
mod logging;
mod node;
mod operator;
mod options;
mod passwd;
mod rekey;
mod storage_key;
mod transfer;

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
                    // What is wrong is a setting: the code of a configuration that is not allowed.
                    let is_setting = error.downcast_ref::<storage_key::KeyError>().is_some();
                    if is_setting { ExitCode::from(2) } else { ExitCode::FAILURE }
                }
            }
        }
    }
}
