//! What can be done, as it is written on the command line and, for the most part, in the chat.

use clap::{Args, Subcommand, ValueEnum};
use katydid_sdk::Place;
use std::{path::PathBuf, time::Duration};

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
        #[arg(id = "somebody", value_name = "USER")]
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
        #[arg(id = "somebody", value_name = "USER")]
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
        #[arg(id = "somebody", value_name = "USER")]
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
    /// Look for words in what was said
    Search(Search),
    /// Look for people, rooms and groups by a part of their names
    Find {
        /// The part
        text: String,
        /// Only these
        #[arg(long)]
        kind: Option<Sought>,
    },
    /// Print a profile
    Profile {
        /// Whose; one's own without it
        #[arg(id = "somebody", value_name = "USER")]
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

/// What is looked for in what was said.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("where"))]
pub(crate) struct Search {
    /// Words that all must occur; `word*` is the beginning of one, `"two words"` stand together
    #[arg(required = true)]
    pub(crate) words: Vec<String>,
    /// Only in this room; without, in every place that one is in
    #[arg(long, group = "where")]
    pub(crate) room: Option<String>,
    /// Only in this group
    #[arg(long, group = "where")]
    pub(crate) group: Option<String>,
    /// Only in the private messages with this user
    #[arg(long, group = "where", value_name = "USER")]
    pub(crate) with: Option<String>,
    /// Only what this user said
    #[arg(long, value_name = "USER")]
    pub(crate) from: Option<String>,
    /// Before an RFC 3339 time, or, in one place, a number
    #[arg(long, value_name = "WHEN")]
    pub(crate) before: Option<String>,
    /// From an RFC 3339 time on, or, in one place, after a number
    #[arg(long, value_name = "WHEN")]
    pub(crate) after: Option<String>,
    /// The newest so many
    #[arg(short = 'n', long, default_value_t = 50)]
    pub(crate) count: u64,
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
    #[arg(id = "somebody", value_name = "USER")]
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
    #[arg(id = "somebody", value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Remove instead
    #[arg(long, requires = "somebody")]
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
        #[arg(id = "token-key", value_name = "KEY")]
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
