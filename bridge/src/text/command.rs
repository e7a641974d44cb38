//! A line of the `#` protocol as a command: every form of the document, parsed once.
//!
//! What a command lacks is said by the status that answers it; nothing is asked of the broker for a line that is none.

use super::{
    map::{LONGEST_NAME, Status},
    wire::{Word, words},
};
use crate::{chat::Secret, names::is_plain, requests::Counter};

/// Lines of one posted message at most; more are read and not kept.
pub(super) const MOST_PARTS: u64 = 1000;

/// A command.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    /// `#login regd <username> <password>`
    LoginRegistered { user: String, password: Secret },
    /// `#login anon <username>`
    LoginAnonymous { user: String },
    /// `#login challenge`: asks for a random string.
    Challenge,
    /// `#login md5 <username> <digest>`: answers it.
    LoginDigest { user: String, digest: String },
    /// `#rmlogin`
    RemoveLogin,
    /// `#changepass <new password> <old password>`
    ChangePassword { new: Secret, old: Secret },
    /// `#createlogin <name> <password> <real name> <email id>`
    CreateLogin { user: String, password: Secret, name: String, email: String },
    /// `#whoami`
    WhoAmI,
    /// `#listrooms`
    ListRooms,
    /// `#listusers`
    ListUsers,
    /// `#createroom <new room name> [room password]`
    CreateRoom { room: String, password: Option<Secret> },
    /// `#rmroom <room name> [room password]`
    RemoveRoom { room: String },
    /// `#changeroom <room name> [room password] [anon/regd]`
    ChangeRoom { room: String, password: Option<Secret>, is_registered: bool },
    /// `#broadcast "<text>"`
    Broadcast { text: Vec<u8> },
    /// `#sendto <uname> "<text>"`
    SendTo { user: String, text: Vec<u8> },
    /// `#peer2peer <uname> <my listening port> <my ip string>`
    PeerToPeer { user: String, port: String, address: String },
    /// `#archstatus` and the four others, with the word that its answer repeats.
    Count { counter: Counter, word: &'static str },
    /// `#listgroups`
    ListGroups,
    /// `#creategroup <group name> [password] [anon/regd] [terminate time]`
    CreateGroup { group: String, password: Option<Secret>, is_registered: bool, secs: Option<u64> },
    /// `#joingroup <gname> [passwd]`, `#changegroup <gname> [passwd]`
    JoinGroup { group: String, password: Option<Secret> },
    /// `#leavegroup`
    LeaveGroup,
    /// `#listmessages [parent no]`
    ListMessages { parent: Option<u64> },
    /// `#getmessage <mess no>`
    GetMessage { number: u64 },
    /// `#postmessage <name> [parent] [parts] [terminate time]`, whose text follows.
    PostMessage(Posting),
    /// `#help`
    Help,
    /// `#history <count>`: what was said before comes first in rooms that are entered.
    History { count: u32 },
    /// `#quit`
    Quit,
}

/// The head of a message to post. Its lines follow whether it is right or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Posting {
    /// How many lines follow.
    pub(super) parts: u64,
    /// The rest, or what is wrong with it.
    pub(super) head: Result<Head, Status>,
}

/// What a message is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// Its name.
    pub(super) title: String,
    /// The message that it answers; 0 for none.
    pub(super) parent: u64,
    /// Seconds until it is deleted.
    pub(super) secs: Option<u64>,
}

/// Most messages of history that can be asked for.
const MOST_HISTORY: u32 = 500;

/// Reads a line; nothing for an empty one.
pub(super) fn parse(line: &[u8]) -> Option<Result<Command, Status>> {
    let words = words(line);
    let first = words.first()?;
    let verb = first.bytes.to_ascii_lowercase();
    let arguments = Arguments { line, words: &words[1..] };
    Some(command(&verb, &arguments))
}

fn command(verb: &[u8], given: &Arguments<'_>) -> Result<Command, Status> {
    let count = |counter, word| Ok(Command::Count { counter, word });
    Ok(match verb {
        b"#login" => return login(given),
        b"#rmlogin" => Command::RemoveLogin,
        b"#changepass" => Command::ChangePassword { new: given.secret(0)?, old: given.secret(1)? },
        b"#createlogin" => Command::CreateLogin {
            user: given.name(0)?,
            password: given.secret(1)?,
            name: given.optional(2)?.unwrap_or_default(),
            email: given.optional(3)?.unwrap_or_default(),
        },
        b"#whoami" => Command::WhoAmI,
        b"#listrooms" => Command::ListRooms,
        b"#listusers" => Command::ListUsers,
        b"#createroom" => Command::CreateRoom { room: given.name(0)?, password: given.password(1)? },
        b"#rmroom" => Command::RemoveRoom { room: given.name(0)? },
        b"#changeroom" => Command::ChangeRoom {
            room: given.name(0)?,
            password: given.password(1)?,
            is_registered: given.is_registered(2, false)?,
        },
        b"#broadcast" => Command::Broadcast { text: given.rest(0)? },
        b"#sendto" => Command::SendTo { user: given.name(0)?, text: given.rest(1)? },
        b"#peer2peer" => Command::PeerToPeer {
            user: given.name(0)?,
            port: given.optional(1)?.ok_or(Status::WRONG_COMMAND)?,
            address: given.optional(2)?.ok_or(Status::WRONG_COMMAND)?,
        },
        b"#archstatus" => return count(Counter::Rooms, "#archstatus"),
        b"#roomstatus" => return count(Counter::Presence, "#roomstatus"),
        b"#userstatus" => return count(Counter::Users, "#userstatus"),
        b"#messagestatus" => return count(Counter::Posts, "#messagestatus"),
        b"#groupstatus" => return count(Counter::Groups, "#groupstatus"),
        b"#listgroups" => Command::ListGroups,
        b"#creategroup" => Command::CreateGroup {
            group: given.name(0)?,
            password: given.password(1)?,
            is_registered: given.is_registered(2, true)?,
            secs: given.number(3, Status::UNKNOWN)?.filter(|secs| *secs > 0),
        },
        b"#joingroup" | b"#changegroup" => {
            Command::JoinGroup { group: given.name(0)?, password: given.password(1)? }
        }
        b"#leavegroup" => Command::LeaveGroup,
        b"#listmessages" => Command::ListMessages { parent: given.number(0, Status::NOT_FOUND)? },
        b"#getmessage" => {
            Command::GetMessage { number: given.number(0, Status::NOT_FOUND)?.ok_or(Status::NOT_FOUND)? }
        }
        b"#postmessage" => Command::PostMessage(posting(given)),
        b"#help" => Command::Help,
        b"#history" => {
            let count = given.number(0, Status::UNKNOWN)?.unwrap_or(20).min(MOST_HISTORY.into());
            Command::History { count: u32::try_from(count).unwrap_or(MOST_HISTORY) }
        }
        b"#quit" => Command::Quit,
        _ => return Err(Status::WRONG_COMMAND),
    })
}

fn login(given: &Arguments<'_>) -> Result<Command, Status> {
    match given.words.first().map(|word| word.bytes.as_slice()) {
        Some(b"regd") => Ok(Command::LoginRegistered {
            user: given.name(1)?,
            password: given.secret(2).map_err(|_| Status::REGD_WRONG_PASSWORD)?,
        }),
        Some(b"anon") => Ok(Command::LoginAnonymous { user: given.name(1)? }),
        Some(b"challenge") => Ok(Command::Challenge),
        Some(b"md5") => Ok(Command::LoginDigest {
            user: given.name(1)?,
            digest: given.optional(2)?.ok_or(Status::REGD_WRONG_PASSWORD)?,
        }),
        _ => Err(Status::NO_USER_TYPE),
    }
}

fn posting(given: &Arguments<'_>) -> Posting {
    let parts = given.number(2, Status::UNKNOWN);
    let head = |given: &Arguments<'_>| {
        let title = given.optional(0)?.ok_or(Status::INVALID_NAME)?;
        if title.is_empty() || title.len() > LONGEST_NAME {
            return Err(Status::INVALID_NAME);
        }
        let parent = given.number(1, Status::NOT_FOUND)?.unwrap_or(0);
        if parts?.is_some_and(|parts| parts > MOST_PARTS) {
            return Err(Status::NO_MEMORY);
        }
        let secs = given.number(3, Status::UNKNOWN)?.filter(|secs| *secs > 0 && parent == 0);
        Ok(Head { title, parent, secs })
    };
    Posting { parts: parts.ok().flatten().unwrap_or(1), head: head(given) }
}

/// The words after the verb.
struct Arguments<'a> {
    line: &'a [u8],
    words: &'a [Word],
}

impl Arguments<'_> {
    fn optional(&self, at: usize) -> Result<Option<String>, Status> {
        let Some(word) = self.words.get(at) else { return Ok(None) };
        String::from_utf8(word.bytes.clone()).map(Some).map_err(|_| Status::INVALID_NAME)
    }

    /// A name of a user, a room or a group.
    fn name(&self, at: usize) -> Result<String, Status> {
        let name = self.optional(at)?.unwrap_or_default();
        let is_valid = |character| is_plain(character) && !matches!(character, '/' | '+' | '#');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_valid) {
            return Err(Status::INVALID_NAME);
        }
        Ok(name)
    }

    fn secret(&self, at: usize) -> Result<Secret, Status> {
        self.password(at)?.ok_or(Status::WRONG_COMMAND)
    }

    /// A password; `""` is none.
    fn password(&self, at: usize) -> Result<Option<Secret>, Status> {
        Ok(self.optional(at)?.filter(|text| !text.is_empty()).map(Secret::new))
    }

    fn is_registered(&self, at: usize, otherwise: bool) -> Result<bool, Status> {
        match self.words.get(at).map(|word| word.bytes.as_slice()) {
            None | Some(b"") => Ok(otherwise),
            Some(b"anon") => Ok(false),
            Some(b"regd") => Ok(true),
            Some(_) => Err(Status::UNKNOWN),
        }
    }

    fn number(&self, at: usize, otherwise: Status) -> Result<Option<u64>, Status> {
        let Some(word) = self.words.get(at) else { return Ok(None) };
        let digits = std::str::from_utf8(&word.bytes).map_err(|_| otherwise)?;
        digits.parse().map(Some).map_err(|_| otherwise)
    }

    /// A text: what stands in quotes, or by hand everything to the end of the line.
    fn rest(&self, at: usize) -> Result<Vec<u8>, Status> {
        match self.words.get(at) {
            None => Err(Status::WRONG_COMMAND),
            Some(word) if word.is_quoted => Ok(word.bytes.clone()),
            Some(word) => Ok(self.line[word.begins..].trim_ascii_end().to_vec()),
        }
    }
}

/// What `#help` says, a line each.
pub(super) const HELP: &[&str] = &[
    "#login anon <username>  or  #login regd <username> <password>",
    "#createlogin <name> <password> <real name> <email>  #changepass <new> <old>  #rmlogin",
    "#whoami  #listrooms  #listusers  #changeroom <room> [password]",
    "#createroom <room> [password]  #rmroom <room>",
    "#broadcast \"<text>\"  says something in the room; #sendto <user> \"<text>\"  to one user",
    "#peer2peer <user> <port> <ip>  offers a direct connection",
    "#listgroups  #creategroup <group> [password] [anon/regd] [seconds]",
    "#joingroup <group> [password]  #leavegroup",
    "#listmessages [parent]  #getmessage <number>",
    "#postmessage <name> [parent] [lines] [seconds]  with the text in the lines that follow",
    "#archstatus  #roomstatus  #userstatus  #groupstatus  #messagestatus  count changes",
    "#history [count]  shows what was said before in rooms that you enter; 0 is off",
    "#quit",
];
