//! An object as a command: the fields of the document's sample and what each command needs besides, without regard to case.

use super::map::{self, user};
use crate::chat::Secret;
use katydid_chat::time;
use serde_json::{Map, Value};

/// Messages of one answer to `history` at most.
const MOST_HISTORY: u64 = 200;

/// Whom a message is for, or whose history is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum To {
    User(String),
    Group(String),
}

/// What an `update` changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Update {
    pub(super) display: Option<String>,
    pub(super) status: Option<String>,
    /// The password from now on, and the one until now.
    pub(super) password: Option<(Secret, Secret)>,
}

/// A command.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Register {
        user: String,
        password: Secret,
        display: String,
        email: String,
    },
    /// `login`, and `update` with a name and a password before that.
    Login {
        user: String,
        password: Secret,
        update: Update,
    },
    Message {
        to: To,
        text: String,
        from: Option<String>,
    },
    /// Without a group a new one is made; without a user it holds nobody else.
    Invite {
        group: Option<String>,
        user: Option<String>,
    },
    Leave {
        group: String,
    },
    Update(Update),
    Ping,
    /// The newest messages, or the first ones since a time in milliseconds.
    History {
        to: To,
        count: u64,
        since_ms: Option<u64>,
    },
}

/// An object that was read as far as its command and its `Id`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Read {
    /// As it is answered; empty for one that there is not.
    pub(super) name: &'static str,
    /// Comes back with the answer.
    pub(super) id: Option<Value>,
    /// The command, or a code of `topics.md` and a reason.
    pub(super) command: Result<Command, (&'static str, String)>,
}

const NAMES: [&str; 8] = ["register", "login", "msg", "invite", "leave", "update", "ping", "history"];

/// Longest `Id` in bytes of JSON.
const LONGEST_ID: usize = 64;

type Bad = (&'static str, String);

fn bad(reason: impl Into<String>) -> Bad {
    ("request.bad-field", reason.into())
}

/// Reads the fields of an object. `is_signed_in` tells a login by `update` from a changed password.
pub(super) fn read(fields: Map<String, Value>, host: &str, is_signed_in: bool) -> Read {
    let fields = map::lower(fields);
    let id = fields
        .get("id")
        .filter(|id| (id.is_string() || id.is_number()) && id.to_string().len() <= LONGEST_ID);
    let id = id.cloned();
    let given = Given { fields: &fields, host };
    let verb = match fields.get("command") {
        Some(Value::String(verb)) => verb.to_ascii_lowercase(),
        _ => return Read { name: "", id, command: Err(bad("Command is missing")) },
    };
    let Some(name) = NAMES.into_iter().find(|name| *name == verb) else {
        let command = Err(("request.unknown-verb", format!("no command {verb:?}")));
        return Read { name: "", id, command };
    };
    Read { name, id, command: given.command(name, is_signed_in) }
}

struct Given<'a> {
    fields: &'a Map<String, Value>,
    host: &'a str,
}

const USER: &[&str] = &["user", "username", "uid", "from"];
const DISPLAY: &[&str] = &["displayname", "display", "nickname", "nick", "name"];

impl Given<'_> {
    fn command(&self, name: &str, is_signed_in: bool) -> Result<Command, Bad> {
        Ok(match name {
            "register" => Command::Register {
                user: self.name(USER, "User")?,
                password: self.secret(&["password"])?.ok_or_else(|| bad("Password is missing"))?,
                display: self.text(DISPLAY)?.unwrap_or_default(),
                email: self.text(&["email"])?.unwrap_or_default(),
            },
            "login" => self.login(Update::default())?,
            "update" => {
                let update = self.update()?;
                if is_signed_in {
                    Command::Update(update)
                } else if self.secret(&["password"])?.is_some() {
                    self.login(Update { password: None, ..update })?
                } else {
                    return Err(("login.needed", "sign in first".into()));
                }
            }
            "msg" => Command::Message {
                to: self.to()?,
                text: self.text(&["message"])?.ok_or_else(|| bad("Message is missing"))?,
                from: self.text(&["from"])?.map(|from| user(&from, self.host).to_owned()),
            },
            "invite" => Command::Invite {
                group: self.text(&["group", "groupid", "gid"])?,
                user: self
                    .text(&["to", "user", "username", "uid"])?
                    .map(|uid| user(&uid, self.host).to_owned()),
            },
            "leave" => Command::Leave { group: self.name(&["group", "groupid", "gid", "to"], "Group")? },
            "history" => Command::History {
                to: self.to()?,
                count: self.count()?,
                since_ms: self.time(&["since", "time", "timestamp"])?,
            },
            _ => Command::Ping,
        })
    }

    fn login(&self, update: Update) -> Result<Command, Bad> {
        Ok(Command::Login {
            user: self.name(&["user", "username", "uid", "from", "name"], "User")?,
            password: self.secret(&["password"])?.ok_or_else(|| bad("Password is missing"))?,
            update,
        })
    }

    fn update(&self) -> Result<Update, Bad> {
        let new = self.secret(&["newpassword"])?;
        let password = match (new, self.secret(&["password", "oldpassword"])?) {
            (Some(new), Some(old)) => Some((new, old)),
            (Some(_), None) => return Err(bad("Password is missing")),
            (None, _) => None,
        };
        Ok(Update { display: self.text(DISPLAY)?, status: self.text(&["status"])?, password })
    }

    /// `Type` says what `To` is, or is the group itself.
    fn to(&self) -> Result<To, Bad> {
        let kind =
            self.text(&["type"])?.ok_or_else(|| bad("Type is missing: PM, group-message or a group"))?;
        if kind.eq_ignore_ascii_case(map::PRIVATE) {
            return Ok(To::User(self.name(&["to"], "To")?));
        }
        if ["group-message", "group", "groupid"].iter().any(|word| kind.eq_ignore_ascii_case(word)) {
            let group = self.text(&["to", "group", "groupid", "gid"])?;
            return group.filter(|it| !it.is_empty()).map(To::Group).ok_or_else(|| bad("To is missing"));
        }
        Ok(To::Group(kind))
    }

    /// The first of several spellings that is there.
    fn text(&self, keys: &[&str]) -> Result<Option<String>, Bad> {
        let Some((key, value)) = keys.iter().find_map(|key| self.fields.get(*key).map(|value| (key, value)))
        else {
            return Ok(None);
        };
        match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            // Bare words that are numbers are texts where a text is wanted.
            Value::Number(number) => Ok(Some(number.to_string())),
            _ => Err(bad(format!("{key} is no text"))),
        }
    }

    fn secret(&self, keys: &[&str]) -> Result<Option<Secret>, Bad> {
        Ok(self.text(keys)?.filter(|text| !text.is_empty()).map(Secret::new))
    }

    fn name(&self, keys: &[&str], called: &str) -> Result<String, Bad> {
        match self.text(keys)? {
            Some(uid) if !uid.is_empty() => Ok(user(&uid, self.host).to_owned()),
            _ => Err(bad(format!("{called} is missing"))),
        }
    }

    fn count(&self) -> Result<u64, Bad> {
        match self.text(&["count", "n", "messages"])? {
            None => Ok(MOST_HISTORY),
            Some(count) => match count.parse::<u64>() {
                Ok(count) if count > 0 => Ok(count.min(MOST_HISTORY)),
                _ => Err(bad("Count is no number above 0")),
            },
        }
    }

    /// RFC 3339, or a Unix time in seconds or milliseconds.
    fn time(&self, keys: &[&str]) -> Result<Option<u64>, Bad> {
        /// Numbers from here on are milliseconds: as seconds they would be in the year 5138.
        const MILLISECONDS: f64 = 100_000_000_000.0;
        let Some(text) = self.text(keys)? else { return Ok(None) };
        if let Ok(number) = text.parse::<f64>() {
            let ms = if number < MILLISECONDS { number * 1000.0 } else { number };
            if (0.0..9e15).contains(&ms) {
                return Ok(Some(ms as u64));
            }
        }
        time::parse(&text).map(Some).ok_or_else(|| bad("Since is no time"))
    }
}
