//! `katydid-cli`: chat with a Katydid broker from the command line.
//!
//! One command does one thing and ends, for scripts; without a command it is a chat, line by line. Everything goes
//! through `katydid-sdk`: nothing here knows MQTT. Invariant: nothing that others wrote reaches the terminal with its
//! control characters.
#![forbid(unsafe_code)]

mod act;
mod chat;
mod commands;
mod failure;
mod listen;
mod options;
mod print;
mod secret;
mod words;

use clap::Parser;
use commands::Command;
use failure::Failure;
use katydid_sdk::{Client, Events, Proof};
use options::Line;
use print::Printer;
use std::{process::ExitCode, time::Duration};

/// How long the last things that were said may take to be acknowledged at the end.
const GOODBYE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let line = Line::parse();
    let printer = Printer::new(line.output.json, line.output.time);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::Local(error.to_string()).report(&printer),
    };
    let outcome = runtime.block_on(run(line, printer));
    // A read of the terminal that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(&printer),
    }
}

async fn run(line: Line, printer: Printer) -> Result<(), Failure> {
    let listens = matches!(line.command, None | Some(Command::Listen(_)));
    let (client, events) = connect(&line, listens).await?;
    let outcome = match line.command {
        None => chat::run(&client, events, printer).await,
        Some(Command::Listen(listen)) => listen::run(&client, events, &listen, printer).await,
        Some(Command::Join { place, place_password_file }) => {
            drop(events);
            act::enroll(&client, &place, place_password_file.as_deref()).await
        }
        Some(Command::Ask(ask)) => {
            drop(events);
            act::run(&client, ask, printer).await
        }
    };
    if !matches!(outcome, Err(Failure::Output)) {
        client.close(GOODBYE).await;
    }
    outcome
}

/// Signs in. Where the broker wants a password and somebody sits at a terminal, asks for it.
async fn connect(line: &Line, listens: bool) -> Result<(Client, Events), Failure> {
    let mut options = line.connection.options(listens)?;
    loop {
        match Client::connect(options.clone()).await {
            Ok(connected) => return Ok(connected),
            Err(refusal) => {
                let wants = matches!(&*refusal.code, "login.registered-name" | "login.wrong-password");
                let asked = line.connection.has_secret() || matches!(options.proof, Proof::Password(_));
                if !wants || asked || options.user.is_empty() || !secret::is_terminal() {
                    return Err(Failure::SignIn(refusal));
                }
                let password = secret::prompt(&format!("Password of {}: ", print::safe(&options.user)))?;
                options = options.password(password.expose());
            }
        }
    }
}
