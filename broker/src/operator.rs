//! `katydid user ...`: what an operator asks of the running broker, through the control socket in its data folder.
//!
//! It speaks the requests of `topics.md`, one line each way, and never opens the database itself.

use crate::{node::CONTROL_SOCKET, options::say, passwd};
use serde_json::{Value, json};
use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::ExitCode,
    thread,
    time::Duration,
};

/// What `katydid user` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The data folder of the broker
    #[arg(long, value_name = "FOLDER", default_value = "./katydid-data")]
    data_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Register a user
    Add(Named),
    /// Give a user another password
    Passwd(Named),
    /// Remove a user, with its account
    Remove {
        /// The user
        name: String,
    },
    /// Erase a user: the account, everything that is known of the user, and what the user wrote
    Erase {
        /// The user; one that is gone already will do
        name: String,
    },
    /// List the registered users
    List,
}

/// A user and a password.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without -b the password is asked for; when standard input is no terminal, it is its first line."
)]
struct Named {
    /// The user
    name: String,
    /// Take the password from the command line, where others on this machine can see it
    #[arg(short, value_name = "PASSWORD")]
    batch: Option<Shown>,
}

/// A password; never shown.
#[derive(Clone)]
struct Shown(String);

impl From<String> for Shown {
    fn from(password: String) -> Self {
        Self(password)
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// Does what the command says: exit code 0, or 1 with the reason on standard error.
pub(crate) fn run(options: &Options) -> ExitCode {
    match carry_out(options) {
        Ok(text) => say(&mut io::stdout(), &text, 0),
        Err(reason) => say(&mut io::stderr(), &format!("katydid: {reason}"), 1),
    }
}

fn carry_out(options: &Options) -> Result<String, String> {
    let path = options.data_dir.join(CONTROL_SOCKET);
    let failed =
        |error: io::Error| format!("{}: {error}; is the broker running on this folder?", path.display());
    let mut broker = Broker(BufReader::new(UnixStream::connect(&path).map_err(failed)?));
    match &options.command {
        Command::Add(named) => {
            let answer = broker.ask(&with_password("user/add", named)?)?;
            Ok(format!("{} is registered", answer["user"].as_str().unwrap_or(&named.name)))
        }
        Command::Passwd(named) => {
            broker.ask(&with_password("user/passwd", named)?)?;
            Ok(format!("{} has another password", named.name))
        }
        Command::Remove { name } => {
            broker.ask(&json!({ "verb": "user/remove", "name": name }))?;
            Ok(format!("{name} is removed"))
        }
        Command::Erase { name } => erase(&mut broker, name),
        Command::List => list(&mut broker),
    }
}

fn with_password(verb: &str, named: &Named) -> Result<Value, String> {
    let password = match &named.batch {
        Some(Shown(password)) => password.clone(),
        None => passwd::ask_password()?,
    };
    Ok(json!({ "verb": verb, "name": named.name, "password": password }))
}

/// How often the broker is asked whether it is done.
const ERASING: Duration = Duration::from_millis(100);

fn erase(broker: &mut Broker, name: &str) -> Result<String, String> {
    broker.ask(&json!({ "verb": "user/erase", "name": name }))?;
    while broker.ask(&json!({ "verb": "user/erasing", "name": name }))?["erasing"] == json!(true) {
        thread::sleep(ERASING);
    }
    Ok(format!("{name} is erased"))
}

fn list(broker: &mut Broker) -> Result<String, String> {
    let mut names: Vec<String> = Vec::new();
    loop {
        let mut request = json!({ "verb": "user/list", "count": 100 });
        if let Some(last) = names.last() {
            request["after"] = json!(last);
        }
        let answer = broker.ask(&request)?;
        let users = answer["users"].as_array().map_or(&[][..], Vec::as_slice);
        names.extend(users.iter().filter_map(|user| user["user"].as_str()).map(str::to_owned));
        if answer["more"] != json!(true) || users.is_empty() {
            return Ok(names.join("\n"));
        }
    }
}

/// The broker at the other end of the socket.
struct Broker(BufReader<UnixStream>);

impl Broker {
    /// Asks, and gives a good answer, or the reason of a refusal.
    fn ask(&mut self, request: &Value) -> Result<Value, String> {
        let failed = |error: io::Error| format!("the broker does not answer: {error}");
        self.0.get_mut().write_all(format!("{request}\n").as_bytes()).map_err(failed)?;
        let mut line = String::new();
        self.0.read_line(&mut line).map_err(failed)?;
        let answer: Value =
            serde_json::from_str(&line).map_err(|_| "the broker gave no answer".to_owned())?;
        if answer["ok"] == json!(true) {
            return Ok(answer);
        }
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        Err(format!("{} ({})", text("reason"), text("code")))
    }
}
