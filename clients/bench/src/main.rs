//! `katydid-bench`: a load generator and meter for any MQTT broker.
//!
//! Owns: choosing the load, printing its report, the exit status. Never knows how a load works. Invariant:
//! standard output carries the report and nothing else. Driven by the command line.

mod connection;
mod load;
mod meter;
mod options;
mod process;
mod report;
mod town;
mod wire;

use clap::Parser;
use options::{Load, Options};
use std::process::ExitCode;

/// The load could not begin.
const SET_UP_FAILED: u8 = 1;
/// The load didn't run as asked; usage errors end with 2, by clap.
const PARTIAL: u8 = 3;

fn main() -> ExitCode {
    let options = Options::parse();
    let (target, outcome) = match &options.load {
        Load::Fanout(options) => (&options.target, load::fanout::run(options)),
        Load::Rooms(options) => (&options.target, load::rooms::run(options)),
        Load::Connect(options) => (&options.target, load::connect::run(options)),
        Load::Offline(options) => (&options.target, load::offline::run(options)),
        Load::Acked(options) => (&options.target, load::acked::run(options)),
        Load::Replay(options) => (&options.target, load::replay::run(options)),
        Load::Ask(options) => (&options.target, load::ask::run(options)),
        Load::Join(options) => (&options.target, load::join::run(options)),
        Load::Town(options) => return write_town(options),
    };
    match outcome {
        Ok(report) => {
            if target.json {
                println!("{}", report.to_json());
            } else {
                print!("{report}");
            }
            if report.is_partial() { ExitCode::from(PARTIAL) } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            print_error(&error);
            ExitCode::from(SET_UP_FAILED)
        }
    }
}

fn write_town(options: &options::Town) -> ExitCode {
    match town::write(options, &mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error.into());
            ExitCode::from(SET_UP_FAILED)
        }
    }
}

#[expect(clippy::print_stderr, reason = "the one place where an error reaches the user")]
fn print_error(error: &load::SetUpError) {
    eprintln!("katydid-bench: {error}");
}
