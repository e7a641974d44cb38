//! The command line: how to connect and how to print. Invariant: a password that was given appears in no message.

use crate::commands::Command;
use crate::{failure::Failure, secret};
use clap::{Args, Parser};
use katydid_sdk::{Address, Options, Proof, Secret, Tls};
use std::{path::PathBuf, time::Duration};

const EXAMPLES: &str = "\
Places are written room/NAME, group/NAME or user/NAME (private messages); a NAME alone is a room.

Examples:
  katydid-cli -u ann                               a chat, line by line
  katydid-cli -u ann say Home 'hello, world'       say something and end when it is on the broker's disk
  katydid-cli -u ann listen Home --last 5          hear a room
  echo secret | katydid-cli -u ann -P - whoami     with a password that nobody sees
  katydid-cli -u ann --json history Home | jq .text

Exit codes: 0 done; 1 the broker refused it; 2 wrong usage; 3 the broker cannot be reached or does not answer;
4 the broker refused the sign-in; 141 nobody reads the output.";

/// Chat with a Katydid broker.
#[derive(Debug, Parser)]
#[command(name = "katydid-cli", version, after_help = EXAMPLES, disable_help_flag = true)]
pub(crate) struct Line {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help, global = true)]
    help: Option<bool>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// How things are printed.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Print one JSON object a line
    #[arg(long, global = true, env = "KATYDID_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Print the time of messages
    #[arg(long, global = true)]
    pub(crate) time: bool,
}

/// How to connect. No command may have an argument of the same name: of the two, the one that is global would take the
/// other's value.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Host of the broker, or the path of its Unix socket
    #[arg(short = 'h', long, global = true, env = "KATYDID_HOST", default_value = "localhost")]
    host: String,
    /// Port; 1883, or 8883 with TLS
    #[arg(short, long, global = true, env = "KATYDID_PORT")]
    port: Option<u16>,
    /// User name; without one the broker gives a guest's name
    #[arg(short, long, global = true, env = "KATYDID_USER")]
    user: Option<String>,
    /// File whose first line is the password or a token; - is standard input
    #[arg(short = 'P', long, global = true, env = "KATYDID_PASSWORD_FILE", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Password; others can see it: better a file, or the variable KATYDID_PASSWORD
    #[arg(long, global = true, value_name = "PASSWORD", conflicts_with = "password_file")]
    password: Option<String>,
    /// Ask for the password
    #[arg(short = 'W', long, global = true, conflicts_with_all = ["password", "password_file"])]
    ask_password: bool,
    /// Take the name only if nobody has it
    #[arg(long, global = true)]
    exclusive: bool,
    /// Use TLS
    #[arg(long, global = true, env = "KATYDID_TLS", value_parser = clap::builder::FalseyValueParser::new())]
    tls: bool,
    /// Certificates to trust, PEM; the system's without it
    #[arg(long, global = true, env = "KATYDID_CAFILE", value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// The client's certificate, PEM
    #[arg(long, global = true, env = "KATYDID_CERT", value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of the client's certificate, PEM
    #[arg(long, global = true, env = "KATYDID_KEY", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Client id, for a session that the broker keeps
    #[arg(short = 'i', long, global = true, env = "KATYDID_CLIENT_ID", requires = "session")]
    client_id: Option<String>,
    /// How long the broker keeps the session, such as 7days: what is said meanwhile is heard later
    #[arg(long, global = true, value_name = "TIME", value_parser = humantime::parse_duration, requires = "client_id")]
    session: Option<Duration>,
    /// How long to wait for the broker
    #[arg(long, global = true, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "10s")]
    timeout: Duration,
}

impl Connection {
    /// Whether a secret was given in some way.
    pub(crate) fn has_secret(&self) -> bool {
        self.password.is_some()
            || self.password_file.is_some()
            || self.ask_password
            || secret::from_environment("KATYDID_PASSWORD").is_some()
    }

    /// The password that was given, if one was.
    pub(crate) fn secret(&self) -> Result<Option<Secret>, Failure> {
        if let Some(password) = &self.password {
            secret::warn();
            return Ok(Some(Secret::new(password.clone())));
        }
        if let Some(path) = &self.password_file {
            return secret::read(path).map(Some);
        }
        if self.ask_password {
            return secret::prompt("Password: ").map(Some);
        }
        Ok(secret::from_environment("KATYDID_PASSWORD"))
    }

    /// As the library wants it.
    pub(crate) fn options(&self, listens: bool) -> Result<Options, Failure> {
        let is_tls = self.tls || self.cafile.is_some() || self.cert.is_some();
        let address = if self.host.starts_with(['/', '.']) {
            Address::Unix(self.host.clone().into())
        } else {
            let port = self.port.unwrap_or(if is_tls { 8883 } else { 1883 });
            let host = self.host.trim_start_matches('[').trim_end_matches(']').to_owned();
            Address::Tcp { host, port }
        };
        let mut options = Options::new(address);
        options.user = self.user.clone().unwrap_or_default();
        options.proof = match (self.secret()?, options.user.is_empty()) {
            (Some(_), true) => return Err(Failure::Local("a password needs a user name".into())),
            (Some(secret), false) => Proof::Password(secret),
            (None, true) => Proof::Guest,
            (None, false) => Proof::Anonymous { exclusive: self.exclusive },
        };
        if let (Some(client_id), Some(expiry)) = (&self.client_id, self.session) {
            options = options.session(client_id.clone(), expiry);
            options.resume = true;
        }
        if is_tls {
            let client = self.cert.clone().zip(self.key.clone());
            options = options.tls(Tls { roots_file: self.cafile.clone(), client, ..Tls::default() });
        }
        options.connect_timeout = self.timeout;
        options.request_timeout = self.timeout;
        options.personal = listens;
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::Line;
    use crate::commands::{Ask, Command};
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn no_argument_of_a_command_is_taken_for_one_of_the_connection() {
        let command = Line::command();
        let globals: Vec<_> = command.get_arguments().map(|argument| argument.get_id().clone()).collect();
        for command in command.get_subcommands().flat_map(|it| it.get_subcommands().chain([it])) {
            for argument in command.get_arguments() {
                assert!(
                    !globals.contains(argument.get_id()),
                    "{} of {}",
                    argument.get_id(),
                    command.get_name()
                );
            }
        }
        let line = Line::parse_from(["katydid-cli", "-u", "ann", "tell", "bob", "hi"]);
        assert_eq!(line.connection.options(false).unwrap().user, "ann");
    }

    #[test]
    fn h_is_the_host_and_a_name_alone_is_a_room() {
        let line =
            Line::parse_from(["katydid-cli", "-h", "[::1]", "-u", "ann", "say", "Home", "hello", "world"]);
        let options = line.connection.options(false).unwrap();
        assert_eq!(options.address, "[::1]:1883".parse().unwrap());
        assert_eq!(options.user, "ann");
        let Some(Command::Ask(Ask::Say(say))) = line.command else { panic!("no say") };
        assert_eq!(
            (say.place.to_string().as_str(), say.text.join(" ").as_str()),
            ("room/Home", "hello world")
        );
        assert!(Line::try_parse_from(["katydid-cli", "say", "room/a b", "x"]).is_err());
    }
}
