//! `katydid export` and `katydid import`: a broker's people, places and what was said, as lines of JSON.
//!
//! A running broker writes an export itself, through its control socket; otherwise the database is opened here. The engine
//! knows the format ([`katydid_engine::portable`]); this knows files. Invariant: a file of an export has its name only when it is whole, and
//! nobody but its owner can read it at any time. Exit codes: 0 done, 2 what was asked for or what is read is wrong and
//! nothing was changed, 1 everything else.

use crate::{
    node::{CONTROL_SOCKET, EXPORT},
    options::say,
    storage_key,
};
use katydid_engine::portable::{self, Imported, Scope, TransferError};
use katydid_store::{KeyProblem, Options as StoreOptions, SledStore, StoreError};
use serde_json::{Value, json};
use std::{
    ffi::OsString,
    fs::{self, File},
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, BufRead, BufReader, BufWriter, Write},
    os::unix::{fs::OpenOptionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Bytes that are read and written at once.
const BUFFER_BYTES: usize = 256 << 10;

/// What `katydid export` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A running broker is asked through its control socket: each log is as it was when its line was written, each record as it
was when it was read, and what was acknowledged before the command is in it. With a stopped one it is exact.
An export of everything has hashes of passwords and access tokens in it; the other ones never do.")]
pub(crate) struct Export {
    /// Folder of the database
    #[arg(long, value_name = "FOLDER", default_value = "./katydid-data")]
    data_dir: PathBuf,
    /// Only this room
    #[arg(long, value_name = "NAME", conflicts_with_all = ["group", "user"])]
    room: Option<String>,
    /// Only this group
    #[arg(long, value_name = "NAME", conflicts_with = "user")]
    group: Option<String>,
    /// Only what is known of this user: account, profile, memberships, private messages, and what the user wrote
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Leave out hashes of passwords, and access tokens
    #[arg(long)]
    without_passwords: bool,
    /// The key of an encrypted database whose broker does not run; otherwise it is taken from KATYDID_STORAGE_KEY
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Write to this file, which only its owner can read; otherwise to standard output
    file: Option<PathBuf>,
}

/// What `katydid import` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every line is read before anything is changed; a bad one is named by its number. An import that is interrupted changes
nothing, and can be done again. A room, group or pair in which something was said already is refused.")]
pub(crate) struct Import {
    /// Folder of the database; it is made where there is none
    #[arg(long, value_name = "FOLDER", default_value = "./katydid-data")]
    data_dir: PathBuf,
    /// The key of an encrypted database, or of the one that is made; otherwise it is taken from KATYDID_STORAGE_KEY
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The export
    file: PathBuf,
}

/// Why it was not done, and the exit code.
struct Refusal {
    text: String,
    code: u8,
}

impl From<storage_key::KeyError> for Refusal {
    fn from(error: storage_key::KeyError) -> Self {
        Self { text: error.to_string(), code: 2 }
    }
}

impl From<TransferError> for Refusal {
    fn from(error: TransferError) -> Self {
        let code = match error {
            TransferError::NotThere(_) | TransferError::Line(..) | TransferError::Misfit(_) => 2,
            TransferError::Store(_) | TransferError::Io(_) | TransferError::Damaged(_) => 1,
        };
        Self { text: error.to_string(), code }
    }
}

fn failed(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> Refusal {
    move |error| Refusal { text: format!("{what}: {error}"), code: 1 }
}

/// Writes an export.
pub(crate) fn export(options: &Export, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let done = match &options.file {
        None => write_lines(options, out).map(|_| ()),
        Some(file) => write_file(options, file).map(|lines| {
            say(err, &format!("katydid: {lines} lines are in {}", file.display()), 0);
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refusal { text, code }) => say(err, &format!("katydid: {text}"), code),
    }
}

/// Writes a file that has its name only when all of it is on disk.
fn write_file(options: &Export, file: &Path) -> Result<u64, Refusal> {
    let mut part = OsString::from(file);
    part.push(".part");
    let part = PathBuf::from(part);
    let _ = fs::remove_file(&part);
    let opened = File::options().write(true).create_new(true).mode(0o600).open(&part);
    let opened = opened.map_err(failed(part.display()))?;
    let written = (|| {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, &opened);
        let lines = write_lines(options, &mut out)?;
        out.flush().and_then(|()| opened.sync_all()).map_err(failed(part.display()))?;
        fs::rename(&part, file).map_err(failed(file.display()))?;
        Ok(lines)
    })();
    if written.is_err() {
        // It is of no use to anybody.
        let _ = fs::remove_file(&part);
    }
    written
}

fn write_lines(options: &Export, out: &mut dyn Write) -> Result<u64, Refusal> {
    let socket = options.data_dir.join(CONTROL_SOCKET);
    match UnixStream::connect(socket) {
        Ok(broker) => ask_broker(options, broker, out),
        Err(_) => {
            if !katydid_store::is_database(&options.data_dir) {
                let text = format!("there is no database in {}", options.data_dir.display());
                return Err(Refusal { text, code: 2 });
            }
            let store = open(&options.data_dir, options.key_file.as_deref())?;
            Ok(portable::export(&store, &scope(options), out)?)
        }
    }
}

fn scope(options: &Export) -> Scope {
    match (&options.room, &options.group, &options.user) {
        (Some(name), ..) => Scope::Place(format!("room/{name}")),
        (_, Some(name), _) => Scope::Place(format!("group/{name}")),
        (.., Some(name)) => Scope::User(name.clone()),
        _ => Scope::All { secrets: !options.without_passwords },
    }
}

/// Has the running broker write it, line by line.
fn ask_broker(options: &Export, mut broker: UnixStream, out: &mut dyn Write) -> Result<u64, Refusal> {
    let mut request = json!({ "verb": EXPORT, "secrets": !options.without_passwords });
    for (name, value) in [("room", &options.room), ("group", &options.group), ("user", &options.user)] {
        if let Some(value) = value {
            request[name] = json!(value);
        }
    }
    let gone = || failed("the broker does not answer");
    broker.write_all(format!("{request}\n").as_bytes()).map_err(gone())?;
    let mut lines = BufReader::with_capacity(BUFFER_BYTES, broker);
    let mut line = Vec::new();
    let mut count = 0;
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).map_err(gone())? == 0 {
            return Err(Refusal { text: "the broker ended before the export did".into(), code: 1 });
        }
        if line.starts_with(b"{\"ok\":") || line.starts_with(b"{\"code\":") {
            let answer: Value = serde_json::from_slice(&line).unwrap_or_default();
            let reason = answer["reason"].as_str().unwrap_or("the broker refuses").to_owned();
            let code = if reason.starts_with("there is no ") { 2 } else { 1 };
            return Err(Refusal { text: reason, code });
        }
        out.write_all(&line).map_err(failed("the export cannot be written"))?;
        count += 1;
        if line.starts_with(b"{\"type\":\"end\"") {
            out.flush().map_err(failed("the export cannot be written"))?;
            return Ok(count);
        }
    }
}

/// Puts an export into a database.
pub(crate) fn import(options: &Import, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    match put_in(options) {
        Ok(Imported { lines, logs, entries, records }) => {
            let what =
                format!("{lines} lines: {records} records, {entries} messages and events in {logs} logs");
            say(out, &format!("katydid: {} now has {what}", options.data_dir.display()), 0)
        }
        Err(Refusal { text, code }) => say(err, &format!("katydid: {text}"), code),
    }
}

fn put_in(options: &Import) -> Result<Imported, Refusal> {
    let input = || {
        let file = File::open(&options.file)
            .map_err(|error| Refusal { text: format!("{}: {error}", options.file.display()), code: 2 })?;
        Ok::<_, Refusal>(BufReader::with_capacity(BUFFER_BYTES, file))
    };
    let lines = input()?;
    let store = open(&options.data_dir, options.key_file.as_deref())?;
    let entropy = RandomState::new().build_hasher().finish();
    let proved = portable::Import::prove(&store, entropy, lines)?;
    Ok(proved.carry_out(input()?)?)
}

/// Opens a database that no broker runs on.
fn open(path: &Path, key_file: Option<&Path>) -> Result<SledStore, Refusal> {
    let key = match key_file {
        Some(file) => Some(storage_key::from_file("--key-file", file)?),
        None => storage_key::from_environment()?,
    };
    let shown = path.display();
    SledStore::open(path, StoreOptions { key, ..StoreOptions::default() }).map_err(|error| {
        let (text, code) = match error {
            StoreError::Key(KeyProblem::Missing) => {
                let variable = storage_key::VARIABLE;
                (format!("the database in {shown} is encrypted: say --key-file or set {variable}"), 2)
            }
            StoreError::Key(KeyProblem::Wrong) => {
                (format!("the database in {shown} is encrypted with another key"), 2)
            }
            StoreError::Key(KeyProblem::Unused) => {
                (format!("there is a key, and the database in {shown} is not encrypted"), 2)
            }
            StoreError::Busy(_) => (format!("the database in {shown} is in use: end the broker first"), 1),
            error => (error.to_string(), 1),
        };
        Refusal { text, code }
    })
}
