//! The password file: `katydid passwd` writes it, the configuration reads it. A line is `user:`, a PHC string of
//! Argon2id, and, from this version on, `:` and a verifier for SCRAM-SHA-256; empty lines and those that begin with `#` are kept and mean nothing. The invariant: the file is replaced
//! as a whole, by one that only its owner can read, or not at all. No password is ever shown, not even by `Debug`.

use crate::{config::WrongLine, options::say};
use argon2::{
    Argon2, PasswordHasher,
    password_hash::{
        PasswordHash, SaltString,
        rand_core::{OsRng, RngCore},
    },
};
use katydid_chat::{
    name::{USER_NAME_BYTES, check_user},
    scram::{ITERATIONS, SALT_BYTES, Verifier},
};
use katydid_engine::settings::Credentials;
use std::{
    collections::HashMap,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Names and what is kept of their passwords.
pub(crate) type Accounts = HashMap<Box<str>, Credentials>;

/// What `katydid passwd` is told.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without -b the password is asked for; when standard input is no terminal, it is its first line."
)]
pub(crate) struct Options {
    /// The password file; made when missing
    file: PathBuf,
    /// The user
    user: String,
    /// The password, with -b
    #[arg(requires = "batch", value_name = "PASSWORD")]
    password: Option<Secret>,
    /// Take the password from the command line, where others on this machine can see it
    #[arg(short, long, requires = "password")]
    batch: bool,
    /// Delete the user
    #[arg(short = 'D', long, conflicts_with = "password")]
    delete: bool,
    /// Begin with an empty file
    #[arg(short, long, conflicts_with = "delete")]
    create: bool,
}

/// A password; never shown.
#[derive(Clone)]
struct Secret(String);

impl From<String> for Secret {
    fn from(password: String) -> Self {
        Self(password)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Does what the command says: exit code 0, or 1 with the reason on standard error.
pub(crate) fn run(options: &Options) -> ExitCode {
    match change(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => say(&mut io::stderr(), &format!("katydid: {reason}"), 1),
    }
}

fn change(options: &Options) -> Result<(), String> {
    check_name(&options.user)?;
    let shown = options.file.display();
    let old = match fs::read_to_string(&options.file) {
        _ if options.create => String::new(),
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !options.delete => String::new(),
        Err(error) => return Err(format!("{shown} can't be read: {error}")),
    };
    let line = match options.delete {
        true => None,
        false => {
            let password = match &options.password {
                Some(password) => password.clone(),
                None => ask()?,
            };
            let verifier = scram_verifier(password.0.as_bytes());
            Some(format!("{}:{}:{verifier}", options.user, hash(&password)?))
        }
    };
    let (new, known) = with_line(&old, &options.user, line.as_deref());
    if options.delete && !known {
        return Err(format!("{shown} has no user {:?}", options.user));
    }
    replace(&options.file, &new).map_err(|error| format!("{shown} can't be written: {error}"))
}

/// The text with the user's line replaced, added at the end or taken out; and whether there was one.
fn with_line(text: &str, user: &str, line: Option<&str>) -> (String, bool) {
    let is_theirs = |line: &&str| line.split_once(':').is_some_and(|(name, _)| name == user);
    let mut lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(is_theirs);
    match (at, line) {
        (Some(at), Some(line)) => lines[at] = line,
        (None, Some(line)) => lines.push(line),
        (Some(at), None) => drop(lines.remove(at)),
        (None, None) => {}
    }
    (lines.iter().map(|line| format!("{line}\n")).collect(), at.is_some())
}

/// Asks for a password twice, or reads the first line of standard input where that is no terminal.
pub(crate) fn ask_password() -> Result<String, String> {
    ask().map(|secret| secret.0)
}

fn ask() -> Result<Secret, String> {
    let unread = |error: io::Error| format!("the password can't be read: {error}");
    let password = if io::stdin().is_terminal() {
        let first = rpassword::prompt_password("Password: ").map_err(unread)?;
        if rpassword::prompt_password("Again: ").map_err(unread)? != first {
            return Err("the two are not the same".into());
        }
        first
    } else {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map_err(unread)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    if password.is_empty() { Err("the password is empty".into()) } else { Ok(Secret(password)) }
}

fn hash(password: &Secret) -> Result<String, String> {
    hash_bytes(password.0.as_bytes())
}

/// The PHC string of a password: Argon2id with a salt of its own.
pub(crate) fn hash_bytes(password: &[u8]) -> Result<String, String> {
    let salt = SaltString::generate(&mut OsRng);
    Argon2::default()
        .hash_password(password, &salt)
        .map(|hash| hash.to_string())
        .map_err(|error| format!("the password can't be hashed: {error}"))
}

/// The verifier of a password for SCRAM, as text, with a salt of its own.
pub(crate) fn scram_verifier(password: &[u8]) -> String {
    let mut salt = [0; SALT_BYTES];
    OsRng.fill_bytes(&mut salt);
    Verifier::of_password(password, &salt, ITERATIONS).to_string()
}

/// Writes beside the file, syncs, and renames: who reads sees the old file or the new one. The owner stays, so that
/// a broker that runs as another user still reads what an administrator changed.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    // Through a link, the file that it names is replaced, and not the link.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mut name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = file.with_file_name(name);
    let written = (|| {
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        new.write_all(text.as_bytes())?;
        if let Ok(old) = fs::metadata(&file) {
            let made = new.metadata()?;
            if (old.uid(), old.gid()) != (made.uid(), made.gid()) {
                std::os::unix::fs::fchown(&new, Some(old.uid()), Some(old.gid()))?;
            }
        }
        new.sync_all()?;
        fs::rename(&beside, &file)?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// A user name is that of chat, and ends at the first colon in the file.
fn check_name(user: &str) -> Result<(), String> {
    if check_user(user).is_err() || user.contains(':') {
        return Err(format!(
            "{user:?} can't be a user name: allowed are 1 to {USER_NAME_BYTES} bytes without white space, control \
             characters, \"/\", \"+\", \"#\" and \":\""
        ));
    }
    Ok(())
}

/// Reads a password file: names and their PHC strings.
///
/// # Errors
/// The lines, from 1, that are wrong, and why. The texts never contain a hash.
pub(crate) fn parse(text: &str) -> Result<Accounts, Vec<WrongLine>> {
    let mut accounts = Accounts::new();
    let mut wrong = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let number = at + 1;
        match parse_line(line) {
            Err(reason) => wrong.push((number, reason)),
            Ok((user, credentials)) => {
                if accounts.insert(user.into(), credentials).is_some() {
                    wrong.push((number, format!("the user {user:?} has a line already")));
                }
            }
        }
    }
    if wrong.is_empty() { Ok(accounts) } else { Err(wrong) }
}

fn parse_line(line: &str) -> Result<(&str, Credentials), String> {
    let (user, rest) = line.split_once(':').ok_or("a line is a user, a colon and an Argon2id hash")?;
    let (hash, scram) = rest.split_once(':').map_or((rest, None), |(hash, scram)| (hash, Some(scram)));
    check_name(user)?;
    let remedy = format!("make it anew with `katydid passwd FILE {user}`");
    if hash.starts_with("$6$") || hash.starts_with("$7$") {
        return Err(format!("the hash of {user:?} was made by mosquitto_passwd; {remedy}"));
    }
    let parsed = PasswordHash::new(hash).ok();
    match parsed.filter(|hash| hash.algorithm == argon2::ARGON2ID_IDENT && hash.hash.is_some()) {
        Some(_) if scram.is_some_and(|scram| Verifier::parse(scram).is_none()) => {
            Err(format!("what {user:?} has after its hash is no verifier for SCRAM; {remedy}"))
        }
        Some(_) => Ok((user, Credentials { hash: hash.to_string().into(), scram: scram.map(Into::into) })),
        None => Err(format!("what {user:?} has is not an Argon2id hash; {remedy}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::PasswordVerifier;

    fn options(file: &Path, user: &str, password: Option<&str>) -> Options {
        Options {
            file: file.into(),
            user: user.into(),
            password: password.map(|password| Secret(password.into())),
            batch: password.is_some(),
            delete: password.is_none(),
            create: false,
        }
    }

    #[test]
    fn users_are_set_changed_and_deleted() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("passwords");
        let read = || fs::read_to_string(&file).expect("there");
        change(&options(&file, "ann", Some("one"))).expect("written");
        fs::write(&file, format!("# people\n{}", read())).expect("written");
        change(&options(&file, "bob", Some("two"))).expect("written");
        change(&options(&file, "ann", Some("three"))).expect("written");
        assert_eq!(fs::metadata(&file).expect("there").mode() & 0o777, 0o600);
        assert!(read().starts_with("# people\nann:$argon2id$v=19$"), "comments and the order stay");
        let accounts = parse(&read()).expect("good");
        let fits = |user: &str, password: &str| {
            let hash = PasswordHash::new(&accounts[user].hash).expect("a hash");
            Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
        };
        assert!(accounts["ann"].scram.as_deref().is_some_and(|text| Verifier::parse(text).is_some()));
        assert!(fits("ann", "three") && fits("bob", "two") && !fits("ann", "one"));
        change(&options(&file, "ann", None)).expect("written");
        assert!(!parse(&read()).expect("good").contains_key("ann"));
        assert_eq!(
            change(&options(&file, "ann", None)),
            Err(format!("{} has no user \"ann\"", file.display()))
        );
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 1, "nothing is left beside");
    }

    #[test]
    fn the_file_behind_a_link_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("passwords"), folder.path().join("link"));
        fs::write(&file, "").expect("written");
        std::os::unix::fs::symlink(&file, &link).expect("linked");
        change(&options(&link, "ann", Some("one"))).expect("written");
        assert!(link.is_symlink() && !file.is_symlink());
        assert!(parse(&fs::read_to_string(&file).expect("there")).expect("good").contains_key("ann"));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let long = "x".repeat(65);
        for name in ["", "a b", "a/b", "a:b", "+", "#", "a\nb", long.as_str()] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert_eq!(check_name("Zoë"), Ok(()));
    }

    #[test]
    fn wrong_lines_are_told_without_their_hash() {
        for (text, expected) in [
            ("ann", "a line is a user, a colon and an Argon2id hash"),
            ("ann:$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", "what \"ann\" has is not"),
            ("ann:hunter2", "what \"ann\" has is not an Argon2id hash"),
            (
                "ann:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA:hunter2",
                "what \"ann\" has after its hash is no verifier for SCRAM",
            ),
            ("ann:$7$101$salt$hash", "was made by mosquitto_passwd"),
        ] {
            let wrong = parse(text).expect_err(text);
            assert_eq!(wrong[0].0, 1);
            assert!(wrong[0].1.contains(expected) && !wrong[0].1.contains("hunter2"), "{wrong:?}");
        }
        let line = "ann:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA\n";
        assert_eq!(
            parse(&line.repeat(2)).expect_err("twice"),
            [(2, "the user \"ann\" has a line already".to_owned())]
        );
    }
}
