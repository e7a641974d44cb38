//! The command line: how to connect, how to print, and what to do.

use crate::{failure::Failure, secret};
use clap::{Args, Parser, Subcommand, ValueEnum};
use katydid_sdk::{Address, Options, Place, Proof, Secret, Tls};
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

/// How to connect.
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

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Hear places until interrupted; without PLACE one's private messages and events
    Listen(Listen),
    /// Become a member of a room or a group
    Join {
        /// Which
        place: Place,
        /// File with the place's password
        #[arg(long, value_name = "FILE")]
        place_password_file: Option<PathBuf>,
    },
    #[command(flatten)]
    Ask(Ask),
}

/// What is done once, here and in the chat.
#[derive(Debug, Subcommand)]
pub(crate) enum Ask {
    /// Say something; without TEXT each line of standard input is a message
    Say(Say),
    /// Say something to a user
    Tell {
        /// To whom
        user: String,
        /// What; without it each line of standard input
        text: Vec<String>,
    },
    /// Print what was said
    History(History),
    /// List rooms
    Rooms(List),
    /// List groups
    Groups(List),
    /// List people who are connected
    Users {
        /// Only those in this place
        #[arg(long = "in", value_name = "PLACE")]
        place: Option<Place>,
        /// Also those who are not connected
        #[arg(long)]
        all: bool,
    },
    /// Print who one is
    Whoami,
    /// Make an account
    Register {
        /// Its name; one's own without it
        name: Option<String>,
        /// File with the new password; else KATYDID_NEW_PASSWORD, or it is asked for
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
        /// E-mail address
        #[arg(long)]
        email: Option<String>,
        /// Name for display
        #[arg(long)]
        display: Option<String>,
        /// What the operator gave out for registering, in a file
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// Delete one's account
    Unregister {
        /// Yes, really
        #[arg(long, required = true)]
        yes: bool,
    },
    /// Change one's password
    Password {
        /// File with the new password; else KATYDID_NEW_PASSWORD, or it is asked for
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
    },
    /// Make, list or revoke tokens, which stand for the password
    #[command(subcommand)]
    Token(Token),
    /// Make a room or a group
    Create(Create),
    /// Delete a room or a group
    Delete {
        /// Which
        place: Place,
        /// Only if nobody else is in it
        #[arg(long)]
        if_empty: bool,
    },
    /// Leave a room or a group
    Leave {
        /// Which
        place: Place,
    },
    /// Print what a room or a group is
    Info {
        /// Which
        place: Place,
    },
    /// List the members of a room or a group
    Members {
        /// Which
        place: Place,
    },
    /// Invite somebody
    Invite {
        /// Where
        place: Place,
        /// Whom
        user: String,
        /// Into the group at once
        #[arg(long)]
        add: bool,
    },
    /// Put somebody out
    Kick {
        /// Where
        place: Place,
        /// Whom
        user: String,
        /// For good
        #[arg(long)]
        ban: bool,
    },
    /// Keep somebody out
    Ban(There),
    /// Keep somebody out no more
    Unban(There),
    /// Let somebody read and not speak
    Mute(There),
    /// Let somebody speak again
    Unmute(There),
    /// Print and change who moderates
    Moderators {
        /// Where
        place: Place,
        /// Who becomes one
        #[arg(long)]
        add: Vec<String>,
        /// Who is none any more
        #[arg(long)]
        remove: Vec<String>,
    },
    /// Change the settings of a room or a group
    Settings(Settings),
    /// List, add or remove friends
    Friends(Somebody),
    /// List those whom one does not hear; add or remove somebody
    Ignore(Somebody),
    /// Look for people, rooms and groups by a part of their names
    Search {
        /// The part
        text: String,
        /// Only these
        #[arg(long)]
        kind: Option<Sought>,
    },
    /// Print a profile
    Profile {
        /// Whose; one's own without it
        user: Option<String>,
    },
    /// Set how present one is
    Status {
        /// Away from the keyboard
        #[arg(long)]
        away: bool,
        /// Text that others see
        text: Vec<String>,
    },
    /// Post on a group's board; prints the number
    Post {
        /// The group
        group: String,
        /// The title
        title: String,
        /// The text; without it standard input
        text: Option<String>,
        /// The number of the post that it answers
        #[arg(long, default_value_t = 0)]
        parent: u64,
        /// Time after which it goes
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expiry: Option<Duration>,
    },
    /// List a group's board, or print a post
    Board {
        /// The group
        group: String,
        /// The number of a post
        number: Option<u64>,
        /// List what answers this post
        #[arg(long, conflicts_with = "number")]
        parent: Option<u64>,
        /// Delete the post
        #[arg(long, requires = "number")]
        delete: bool,
    },
    /// Change what one said
    Edit(About),
    /// Take away what was said; number and time stay
    Erase {
        /// Where
        place: Place,
        /// Its number
        seq: u64,
    },
    /// React to what was said
    React(About),
    /// Pin what was said
    Pin {
        /// Where
        place: Place,
        /// Its number
        seq: u64,
        /// Pin it no more
        #[arg(long)]
        remove: bool,
    },
    /// Ask the broker anything: a verb and a JSON object, see topics.md
    Request {
        /// Such as room/list
        verb: String,
        /// The object
        #[arg(default_value = "{}")]
        body: String,
    },
}

/// What is said.
#[derive(Debug, Args)]
pub(crate) struct Say {
    /// Where
    pub(crate) place: Place,
    /// What; without it each line of standard input
    pub(crate) text: Vec<String>,
    /// A name for the message: said again under it, it is said once
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// The number of the message that it answers
    #[arg(long, value_name = "SEQ")]
    pub(crate) reply_to: Option<u64>,
}

/// What is heard.
#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Where
    pub(crate) places: Vec<Place>,
    /// Begin with the last so many messages
    #[arg(long, value_name = "COUNT", conflicts_with = "since")]
    pub(crate) last: Option<u32>,
    /// Begin after a number, at an RFC 3339 time, or so long ago (such as 2h)
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,
    /// End after so many messages
    #[arg(short, long)]
    pub(crate) count: Option<u64>,
    /// End after so long
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) limit: Option<Duration>,
    /// Also print who comes, goes, types and reads
    #[arg(short, long)]
    pub(crate) all: bool,
    /// File with the password of the place
    #[arg(long, value_name = "FILE")]
    pub(crate) place_password_file: Option<PathBuf>,
}

/// Which part of the past.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// Where
    pub(crate) place: Place,
    /// The last so many, or the first so many with --after and --since
    #[arg(short = 'n', long, default_value_t = 50)]
    pub(crate) count: u64,
    /// Before a number
    #[arg(long, value_name = "SEQ", conflicts_with_all = ["since", "around"])]
    pub(crate) before: Option<u64>,
    /// After a number
    #[arg(long, value_name = "SEQ", conflicts_with_all = ["since", "around"])]
    pub(crate) after: Option<u64>,
    /// Around a number
    #[arg(long, value_name = "SEQ", conflicts_with = "since")]
    pub(crate) around: Option<u64>,
    /// At or after an RFC 3339 time, or so long ago
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,
}

/// Which rooms or groups.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those that one is in
    #[arg(long)]
    pub(crate) mine: bool,
}

/// Somebody in a place.
#[derive(Debug, Args)]
pub(crate) struct There {
    /// Where
    pub(crate) place: Place,
    /// Whom
    pub(crate) user: String,
}

/// Something about a message.
#[derive(Debug, Args)]
pub(crate) struct About {
    /// Where
    pub(crate) place: Place,
    /// Its number
    pub(crate) seq: u64,
    /// The text
    #[arg(required = true)]
    pub(crate) text: Vec<String>,
}

/// Somebody on a list.
#[derive(Debug, Args)]
pub(crate) struct Somebody {
    /// Whom to add
    pub(crate) user: Option<String>,
    /// Remove instead
    #[arg(long, requires = "user")]
    pub(crate) remove: bool,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make one, and print it this once
    Create {
        /// What it is for
        label: Option<String>,
        /// Time after which it is worth nothing
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expiry: Option<Duration>,
    },
    /// List them
    List,
    /// Make one worthless
    Revoke {
        /// Its key, as listed
        key: String,
    },
}

/// Who finds a place and gets in.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Visibility {
    /// Listed and open
    Public,
    /// Listed; by password or invitation
    Private,
    /// Not listed
    Secret,
}

/// What a search looks for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Sought {
    /// People
    User,
    /// Rooms
    Room,
    /// Groups
    Group,
}

/// A new room or group.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Which
    pub(crate) place: Place,
    /// Who finds it and gets in
    #[arg(long)]
    pub(crate) visibility: Option<Visibility>,
    /// File with its password
    #[arg(long, value_name = "FILE")]
    pub(crate) place_password_file: Option<PathBuf>,
    /// What it is about
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// Neither guests nor anonymous users
    #[arg(long)]
    pub(crate) registered_only: bool,
    /// Only moderators and the owner speak
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Members at most
    #[arg(long)]
    pub(crate) limit: Option<u64>,
    /// Time unused after which it deletes itself
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) expiry: Option<Duration>,
    /// Who is in the group from the start
    #[arg(long = "with", value_name = "USER")]
    pub(crate) members: Vec<String>,
}

/// Other settings of a room or group.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Which
    pub(crate) place: Place,
    /// Who finds it and gets in
    #[arg(long)]
    pub(crate) visibility: Option<Visibility>,
    /// File with a new password
    #[arg(long, value_name = "FILE", conflicts_with = "no_password")]
    pub(crate) place_password_file: Option<PathBuf>,
    /// Take the password away
    #[arg(long)]
    pub(crate) no_password: bool,
    /// What it is about
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// Neither guests nor anonymous users
    #[arg(long)]
    pub(crate) registered_only: Option<bool>,
    /// Only moderators and the owner speak
    #[arg(long)]
    pub(crate) read_only: Option<bool>,
    /// Members at most; 0 is no limit
    #[arg(long)]
    pub(crate) limit: Option<u64>,
    /// Time unused after which it deletes itself; 0s is never
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) expiry: Option<Duration>,
    /// Who owns it from now on
    #[arg(long)]
    pub(crate) owner: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::Line;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn h_is_the_host_and_a_name_alone_is_a_room() {
        let line =
            Line::parse_from(["katydid-cli", "-h", "[::1]", "-u", "ann", "say", "Home", "hello", "world"]);
        let options = line.connection.options(false).unwrap();
        assert_eq!(options.address, "[::1]:1883".parse().unwrap());
        assert_eq!(options.user, "ann");
        let Some(super::Command::Ask(super::Ask::Say(say))) = line.command else { panic!("no say") };
        assert_eq!(
            (say.place.to_string().as_str(), say.text.join(" ").as_str()),
            ("room/Home", "hello world")
        );
        assert!(Line::try_parse_from(["katydid-cli", "say", "room/a b", "x"]).is_err());
    }
}
