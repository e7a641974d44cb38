//! The command line: what `katydid` is told by its arguments, and what it does that needs no broker. Driven once, by
//! `main`. Every key of the configuration can be set here; none is named here but by the short forms.

use crate::{
    config::{self, Config, Placement, Sources},
    operator, passwd, rekey, storage_key, transfer,
};
use clap::{ArgAction, Parser};
use std::{
    ffi::OsString,
    io::{self, Write},
    net::IpAddr,
    path::PathBuf,
    process::ExitCode,
};

const ABOUT: &str = "An MQTT broker made for chat.";

const AFTER: &str = "\
Each key of the configuration can be given in the file, in the environment and as an argument; the later wins:
  [limits] packet-size = \"8MiB\"      KATYDID_LIMITS_PACKET_SIZE=8MiB      --limits.packet-size 8MiB
Keys of a listener are listener.NAME.KEY. `katydid --print-config` prints all keys with what they do.
Without a listener in the configuration, MQTT is on port 1883 and WebSocket on port 8083, for this machine only.";

#[derive(Debug, Parser)]
#[command(name = "katydid", version, about = ABOUT, after_help = AFTER, args_conflicts_with_subcommands = true)]
struct Options {
    /// Read this TOML file
    #[arg(short, long, value_name = "FILE", env = "KATYDID_CONFIG")]
    config: Option<PathBuf>,
    /// Listen for MQTT on this port; 0 takes a free one. Without listeners in the configuration, nothing else is opened
    #[arg(short, long, value_name = "PORT")]
    port: Option<u16>,
    /// Listen on this address
    #[arg(long, value_name = "ADDRESS")]
    listen_address: Option<IpAddr>,
    /// Keep the database in this folder: store.path
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// Keep nothing on disk: store.persistence=false
    #[arg(long, conflicts_with = "data_dir")]
    no_persistence: bool,
    /// Log packets, or with -vv everything: log.level
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// Set a key of the configuration; `--KEY VALUE` does the same
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
    /// Say what is wrong with the configuration, and exit
    #[arg(long)]
    check_config: bool,
    /// Print the default configuration with what each key does, and exit
    #[arg(long)]
    print_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Set, change or delete a user's password in a password file
    Passwd(passwd::Options),
    /// Ask a running broker to register, change, remove or list users
    User(operator::Options),
    /// Encrypt the database, change its key, or have it in clear again; the broker must not run
    Rekey(rekey::Options),
    /// Write people, places and what was said as lines of JSON; the broker may run
    Export(transfer::Export),
    /// Put an export into a database; the broker must not run
    Import(transfer::Import),
}

/// What is left to do once the arguments are read.
pub(crate) enum Start {
    /// Run the broker.
    Run(Box<Config>),
    /// Nothing; exit with this code.
    Done(ExitCode),
}

/// Reads the arguments and the environment of this process, and does what needs no broker.
pub(crate) fn start() -> Start {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        // The database's key is a secret and no key of the configuration, which is kept and may be shown.
        .filter(|(name, _)| name.starts_with(config::PREFIX) && name != storage_key::VARIABLE)
        .collect();
    decide(std::env::args_os(), environment, &mut io::stdout(), &mut io::stderr())
}

/// As [`start`], told where arguments come from and where what is printed goes.
fn decide(
    arguments: impl Iterator<Item = OsString>,
    environment: Vec<(String, String)>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Start {
    let options = match Options::try_parse_from(spelled_out(arguments)) {
        Ok(options) => options,
        // Help and version are errors to the parser, with code 0.
        Err(error) => {
            let (text, code) = (error.render().to_string(), error.exit_code() as u8);
            let code = match error.use_stderr() {
                true => say(err, text.trim_end(), code),
                false => say(out, text.trim_end(), code),
            };
            return Start::Done(code);
        }
    };
    match &options.command {
        Some(Command::Passwd(options)) => return Start::Done(passwd::run(options)),
        Some(Command::User(options)) => return Start::Done(operator::run(options)),
        Some(Command::Rekey(options)) => return Start::Done(rekey::run(options, out, err)),
        Some(Command::Export(options)) => return Start::Done(transfer::export(options, out, err)),
        Some(Command::Import(options)) => return Start::Done(transfer::import(options, out, err)),
        None => {}
    }
    if options.print_config {
        return Start::Done(say(out, config::manual().trim_end(), 0));
    }
    let check = options.check_config;
    match options.sources(environment).read() {
        Ok(_) if check => Start::Done(say(out, "katydid: the configuration is good", 0)),
        Ok(config) => Start::Run(Box::new(config)),
        Err(problems) => {
            let lines: Vec<String> = problems.0.iter().map(|problem| format!("katydid: {problem}")).collect();
            Start::Done(say(err, &lines.join("\n"), 2))
        }
    }
}

/// Prints, and gives the exit code; a reader that went away is no error.
pub(crate) fn say(to: &mut dyn Write, text: &str, code: u8) -> ExitCode {
    let _ = writeln!(to, "{text}").and_then(|()| to.flush());
    ExitCode::from(code)
}

impl Options {
    fn sources(self, environment: Vec<(String, String)>) -> Sources {
        let mut arguments = Vec::new();
        let mut short = |key: &str, value: &str| arguments.push((key.to_owned(), value.to_owned()));
        if let Some(folder) = &self.data_dir {
            short("store.path", folder);
        }
        if self.no_persistence {
            short("store.persistence", "false");
        }
        match self.verbose {
            0 => {}
            1 => short("log.level", "debug"),
            _ => short("log.level", "trace"),
        }
        arguments.extend(self.set);
        let placement = Placement { port: self.port, address: self.listen_address };
        Sources { file: self.config, environment, arguments, placement }
    }
}

/// Makes `--set KEY=VALUE` of `--KEY VALUE` and `--KEY=VALUE`: all keys have a dot, and no other option has.
fn spelled_out(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut plain = Vec::new();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let key = argument
            .to_str()
            .and_then(|text| text.strip_prefix("--"))
            .filter(|text| text.split_once('=').map_or(*text, |(key, _)| key).contains('.'));
        let Some(key) = key else {
            plain.push(argument);
            continue;
        };
        plain.push("--set".into());
        let mut pair = OsString::from(key);
        if !key.contains('=')
            && let Some(value) = arguments.next()
        {
            pair.push("=");
            pair.push(value);
        }
        plain.push(pair);
    }
    plain
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a key needs a value: KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(arguments: &str) -> Sources {
        let arguments =
            spelled_out(std::iter::once("katydid").chain(arguments.split(' ')).map(OsString::from));
        Options::try_parse_from(arguments).expect("good arguments").sources(Vec::new())
    }

    /// The exit code, standard output and standard error of a command line that runs no broker.
    fn done(line: &str) -> (ExitCode, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let arguments = std::iter::once("katydid").chain(line.split(' ')).map(OsString::from);
        let Start::Done(code) = decide(arguments, Vec::new(), &mut out, &mut err) else {
            panic!("{line} would run a broker");
        };
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (code, text(out), text(err))
    }

    #[test]
    fn a_bad_value_exits_2_and_is_told_on_standard_error() {
        let expected = "katydid: command line: log.level: \"loud\" is not allowed; allowed is \"error\" or \"warn\" \
                        or \"info\" or \"debug\" or \"trace\"\n";
        for line in ["--log.level loud", "--check-config --log.level loud"] {
            assert_eq!(done(line), (ExitCode::from(2), String::new(), expected.to_owned()));
        }
        let (code, _, err) = done("-p 70000");
        assert_eq!(code, ExitCode::from(2));
        assert!(err.contains("70000"), "{err}");
    }

    #[test]
    fn a_good_configuration_is_said_to_be_and_nothing_runs() {
        let good = "katydid: the configuration is good\n";
        assert_eq!(done("--check-config"), (ExitCode::SUCCESS, good.to_owned(), String::new()));
        assert_eq!(done("--print-config"), (ExitCode::SUCCESS, config::manual(), String::new()));
        let (code, out, _) = done("--help");
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(out.contains("--check-config"), "{out}");
    }

    #[test]
    fn rekey_is_a_command_that_runs_no_broker() {
        let (code, out, err) = done("rekey --data-dir /nowhere/at/all --rewrite");
        assert_eq!((code, out.as_str()), (ExitCode::FAILURE, ""));
        assert_eq!(err, "katydid: storage: there is no database in /nowhere/at/all\n");
    }

    #[test]
    fn a_key_is_set_by_its_name_or_by_set() {
        let expected = vec![("limits.packet-size".to_owned(), "8MiB".to_owned())];
        for way in [
            "--limits.packet-size 8MiB",
            "--limits.packet-size=8MiB",
            "--set limits.packet-size=8MiB",
            "--set=limits.packet-size=8MiB",
        ] {
            assert_eq!(sources(way).arguments, expected, "{way}");
        }
    }

    #[test]
    fn short_forms_set_keys_and_a_key_itself_wins() {
        let given = sources("-v --data-dir /d --log.level warn").arguments;
        let names: Vec<_> = given.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(names, ["store.path=/d", "log.level=debug", "log.level=warn"]);
    }

    #[test]
    fn a_key_without_value_is_refused() {
        let arguments = spelled_out(["katydid", "--limits.inflight"].into_iter().map(OsString::from));
        let error = Options::try_parse_from(arguments).expect_err("no value");
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("a key needs a value: KEY=VALUE"), "{error}");
    }

    #[test]
    fn the_passwd_command_takes_mosquittos_order_too() {
        for line in ["passwd file ann hunter2 -b", "passwd -b file ann hunter2", "passwd -D file ann"] {
            let arguments = std::iter::once("katydid").chain(line.split(' ')).map(OsString::from);
            let options = Options::try_parse_from(spelled_out(arguments)).expect("good arguments");
            assert!(matches!(options.command, Some(Command::Passwd(_))), "{line}");
            assert!(!format!("{options:?}").contains("hunter2"), "passwords are not shown");
        }
    }
}
