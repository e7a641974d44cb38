//! The `katydid-bridge` binary: serves legacy chat protocols in front of a broker.

mod service;

use clap::{Parser, Subcommand};
use katydid_bridge::config::{MANUAL, Problem, Written};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use tracing_subscriber::EnvFilter;

/// Serves legacy chat protocols in front of a Katydid broker; each legacy user is an MQTT client of its own.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    service: Option<Service>,
    /// Print the default configuration with what each key does, and exit.
    #[arg(long)]
    print_config: bool,
    /// Keep the process's number in this file while it runs.
    #[arg(long)]
    pid_file: Option<PathBuf>,
    /// Configuration file (TOML); what is given here goes before it.
    #[arg(long, env = "KATYDID_BRIDGE_CONFIG")]
    config: Option<PathBuf>,
    /// The broker: HOST:PORT, or the path of a Unix socket.
    #[arg(long, env = "KATYDID_BRIDGE_BROKER")]
    broker: Option<String>,
    /// The broker's listener expects a PROXY protocol header.
    #[arg(long)]
    proxy_protocol: bool,
    /// Address and port of the `#` protocol, or `off`.
    #[arg(long)]
    text: Option<String>,
    /// Address and port for mChat clients, or `off`.
    #[arg(long)]
    mchat: Option<String>,
    /// Address and port of the JSON protocol, or `off`.
    #[arg(long)]
    json: Option<String>,
    /// Address and port of the REST interface, or `off`.
    #[arg(long)]
    rest: Option<String>,
    /// Address and port for other mChat servers; makes this one part of a mesh.
    #[arg(long, requires = "mchat_announce")]
    mchat_mesh: Option<String>,
    /// HOST:PORT under which other mChat servers reach this one.
    #[arg(long)]
    mchat_announce: Option<String>,
    /// HOST:PORT of an mChat server to join; may be given several times.
    #[arg(long)]
    mchat_peer: Vec<String>,
    /// Address and port of the `HELO` protocol, or `off`.
    #[arg(long)]
    helo: Option<String>,
    /// First port for files of the `HELO` protocol; 0 takes any that are free.
    #[arg(long)]
    helo_files: Option<u16>,
}

/// What is done with a service; without, the bridge runs in the foreground.
#[derive(Debug, Subcommand)]
enum Service {
    /// Start a bridge in the background, with the options that stand before this word, and wait until it runs.
    Start,
    /// End the bridge whose number is in --pid-file, and wait for it.
    Stop,
}

impl Arguments {
    fn written(self) -> Result<Written, Problem> {
        let mut written = self.config.as_deref().map(Written::read).transpose()?.unwrap_or_default();
        if let Some(broker) = self.broker {
            written.broker.address = broker;
        }
        written.broker.proxy_protocol |= self.proxy_protocol;
        for (given, listener) in [
            (self.text, &mut written.text.listener),
            (self.mchat, &mut written.mchat.listener),
            (self.helo, &mut written.helo.listener),
            (self.json, &mut written.json.listener),
            (self.rest, &mut written.rest.listener),
        ] {
            match given.as_deref() {
                None => {}
                Some("off") => listener.on = false,
                Some(_) => {
                    listener.on = true;
                    listener.bind = given;
                }
            }
        }
        if self.mchat_mesh.is_some() || !self.mchat_peer.is_empty() {
            written.mchat.mesh.on = true;
        }
        written.mchat.mesh.bind = self.mchat_mesh.or(written.mchat.mesh.bind);
        written.mchat.announce = self.mchat_announce.or(written.mchat.announce);
        written.mchat.peers.extend(self.mchat_peer);
        written.helo.first_file_port = self.helo_files.unwrap_or(written.helo.first_file_port);
        Ok(written)
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if arguments.print_config {
        // Nobody who has closed the output is told of it.
        let _ = std::io::Write::write_all(&mut std::io::stdout(), MANUAL.as_bytes());
        return ExitCode::SUCCESS;
    }
    let filter = EnvFilter::try_from_env("KATYDID_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let pid_file = arguments.pid_file.take();
    let outcome = match arguments.service {
        Some(Service::Start) => service::start(pid_file.as_deref()),
        Some(Service::Stop) => service::stop(pid_file.as_deref()),
        None => serve(arguments, pid_file.as_deref()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            tracing::error!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: Arguments, pid_file: Option<&Path>) -> Result<(), String> {
    let config = arguments.written().and_then(Written::prove).map_err(|problem| problem.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let _held = pid_file.map(service::PidFile::write).transpose()?;
    runtime.block_on(katydid_bridge::run(config, ended())).map_err(|error| error.to_string())
}

/// Resolves when the process is asked to end.
async fn ended() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}
