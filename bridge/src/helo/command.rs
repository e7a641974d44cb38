//! What a client says, a line at a time; both as its programs send it and in the slash forms of the document.

use super::meta::Meta;

/// A line that a client may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// `HELO <username>` (7.1)
    Helo { name: String },
    /// `BCST <message>` (7.2)
    Broadcast { text: Vec<u8> },
    /// `PONG` (7.3)
    Pong,
    /// `GET_USERS *all` (7.4)
    GetUsers,
    /// `PM @user message [key]` (7.5)
    Private { to: String, text: String, key: Option<String> },
    /// `REQUEST_PUBLIC_KEY @user stamp` (7.5)
    RequestKey { of: String, stamp: String },
    /// `PUBLIC_KEY @user key stamp` (7.5)
    GiveKey { to: String, key: String, stamp: String },
    /// `CREATE_GROUP name` (7.6)
    CreateGroup { group: String },
    /// `GET_GROUPS *groups`
    GetGroups,
    /// `JOIN_GROUP name` (7.7)
    JoinGroup { group: String },
    /// `GROUP_MESSAGE @@group text` (7.8)
    GroupMessage { group: String, text: Vec<u8> },
    /// `LEAVE_GROUP name` (7.9)
    LeaveGroup { group: String },
    /// `KICK group user` (7.10)
    Kick { group: String, user: String },
    /// `FILE_TRANS @user size path checksum` (7.11)
    SendFile { to: String, meta: Meta },
    /// `READY_FOR_FILE @user size path checksum` (7.11)
    TakeFile { from: String, meta: Meta },
    /// `QUIT` (7.12)
    Quit,
    /// A line that is none of them, with what should have been said.
    Wrong { usage: &'static str },
}

/// Reads a line; `None` is an empty one.
pub(super) fn parse(line: &[u8]) -> Option<Command> {
    let text = String::from_utf8_lossy(line);
    let verb = text.split([' ', '\t']).next().unwrap_or_default();
    let rest = text[verb.len()..].trim_matches([' ', '\t']);
    let command = match verb {
        "" if rest.is_empty() => return None,
        // A text keeps its bytes and its spaces.
        "BCST" if line.len() > 5 => Some(Command::Broadcast { text: line[5..].to_vec() }),
        "HELO" => Some(Command::Helo { name: rest.into() }),
        "PONG" => Some(Command::Pong),
        "GET_USERS" => Some(Command::GetUsers),
        "GET_GROUPS" => Some(Command::GetGroups),
        "QUIT" => Some(Command::Quit),
        "PM" => private(rest),
        "REQUEST_PUBLIC_KEY" => words(rest)
            .and_then(|[of, stamp]| Some(Command::RequestKey { of: user(of)?, stamp: stamp.into() })),
        "PUBLIC_KEY" => words(rest).and_then(|[to, key, stamp]| {
            Some(Command::GiveKey { to: user(to)?, key: key.into(), stamp: stamp.into() })
        }),
        "CREATE_GROUP" => group(rest, "/create_group").map(|group| Command::CreateGroup { group }),
        "JOIN_GROUP" => group(rest, "/join").map(|group| Command::JoinGroup { group }),
        "LEAVE_GROUP" => group(rest, "/leave").map(|group| Command::LeaveGroup { group }),
        "GROUP_MESSAGE" => group_message(line),
        "KICK" => words(without(rest, "/kick"))
            .map(|[group, user]| Command::Kick { group: group.into(), user: user.into() }),
        "FILE_TRANS" => file(without(rest, "/send_file")).map(|(to, meta)| Command::SendFile { to, meta }),
        "READY_FOR_FILE" => file(rest).map(|(from, meta)| Command::TakeFile { from, meta }),
        _ => None,
    };
    Some(command.unwrap_or(Command::Wrong { usage: usage(verb) }))
}

fn private(rest: &str) -> Option<Command> {
    let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
    let (to, text) = (user(words.next()?)?, words.next()?.into());
    let key = words.next().map(Into::into);
    words.next().is_none().then_some(Command::Private { to, text, key })
}

fn group_message(line: &[u8]) -> Option<Command> {
    let rest = line.strip_prefix(b"GROUP_MESSAGE")?.trim_ascii_start().strip_prefix(b"@@")?;
    let end = rest.iter().position(|byte| *byte == b' ')?;
    let group = std::str::from_utf8(&rest[..end]).ok().filter(|group| !group.is_empty())?;
    let text = rest[end + 1..].to_vec();
    (!text.is_empty()).then(|| Command::GroupMessage { group: group.into(), text })
}

fn file(rest: &str) -> Option<(String, Meta)> {
    let (name, meta) = rest.split_once(' ')?;
    Some((user(name)?, Meta::parse(meta)?))
}

/// Exactly so many words.
fn words<const N: usize>(rest: &str) -> Option<[&str; N]> {
    rest.split_ascii_whitespace().collect::<Vec<_>>().try_into().ok()
}

fn group(rest: &str, slash: &str) -> Option<String> {
    words(without(rest, slash)).map(|[group]| group.into())
}

/// Without the word that a person would have typed into the client (`CREATE_GROUP /create_group groupName`).
fn without<'a>(rest: &'a str, slash: &str) -> &'a str {
    rest.strip_prefix(slash).filter(|rest| rest.starts_with(' ')).map_or(rest, str::trim_start)
}

fn user(word: &str) -> Option<String> {
    word.strip_prefix('@').filter(|name| !name.is_empty()).map(Into::into)
}

fn usage(verb: &str) -> &'static str {
    match verb {
        "BCST" => "BCST message",
        "PM" => "PM @user message",
        "REQUEST_PUBLIC_KEY" => "REQUEST_PUBLIC_KEY @user timestamp",
        "PUBLIC_KEY" => "PUBLIC_KEY @user key timestamp",
        "CREATE_GROUP" => "CREATE_GROUP group",
        "JOIN_GROUP" => "JOIN_GROUP group",
        "LEAVE_GROUP" => "LEAVE_GROUP group",
        "GROUP_MESSAGE" => "GROUP_MESSAGE @@group message",
        "KICK" => "KICK group user",
        "FILE_TRANS" => "FILE_TRANS @user size path checksum",
        "READY_FOR_FILE" => "READY_FOR_FILE @user size path checksum",
        _ => {
            "HELO, BCST, PM, GET_USERS, GET_GROUPS, CREATE_GROUP, JOIN_GROUP, LEAVE_GROUP, GROUP_MESSAGE, KICK, FILE_TRANS or QUIT"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str) -> Command {
        parse(line.as_bytes()).expect("not empty")
    }

    #[test]
    fn the_slash_forms_mean_what_the_real_ones_do() {
        for (slash, real) in [
            ("CREATE_GROUP /create_group g", "CREATE_GROUP g"),
            ("JOIN_GROUP /join g", "JOIN_GROUP g"),
            ("LEAVE_GROUP /leave g", "LEAVE_GROUP g"),
            ("KICK /kick g bob", "KICK g bob"),
            ("FILE_TRANS /send_file @bob 3 a.txt -7", "FILE_TRANS @bob 3 a.txt -7"),
            ("QUIT q", "QUIT"),
            ("GET_USERS *all", "GET_USERS"),
            ("GET_GROUPS *groups", "GET_GROUPS"),
        ] {
            assert_eq!(read(slash), read(real));
            assert!(!matches!(read(real), Command::Wrong { .. }), "{real}");
        }
        assert_eq!(read("JOIN_GROUP /join"), Command::JoinGroup { group: "/join".into() });
    }

    #[test]
    fn texts_keep_their_bytes() {
        assert_eq!(parse(b"BCST  a \xff @b "), Some(Command::Broadcast { text: b" a \xff @b ".to_vec() }));
        let said = Command::GroupMessage { group: "g@h".into(), text: b" x@@y  ".to_vec() };
        assert_eq!(parse(b"GROUP_MESSAGE @@g@h  x@@y  "), Some(said));
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"  "), None);
    }

    #[test]
    fn each_command_says_how_it_is_used() {
        for verb in [
            "BCST",
            "PM",
            "REQUEST_PUBLIC_KEY",
            "PUBLIC_KEY",
            "CREATE_GROUP",
            "JOIN_GROUP",
            "LEAVE_GROUP",
            "GROUP_MESSAGE",
            "KICK",
            "FILE_TRANS",
            "READY_FOR_FILE",
        ] {
            let Command::Wrong { usage } = read(verb) else { panic!("{verb} alone is none") };
            assert!(usage.starts_with(verb), "{usage}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_a_command_or_says_how(line: Vec<u8>) {
            let is_empty = line.iter().all(|byte| matches!(byte, b' ' | b'\t'));
            prop_assert_eq!(parse(&line).is_none(), is_empty);
        }
    }
}
