//! The control socket: operator commands such as `katydid user add` talk to the running broker through it.
//!
//! It is a Unix socket in the data folder that only its owner can open. A request is one line of JSON with the field
//! `verb`, an answer is one line of JSON; both are those of `topics.md`. It never looks into either further than the verb.
//! Only `export` is no request of the directory: its answer are the lines of the export, read from the store at once, so
//! that no shard has to do anything for it.
//! Threads of its own serve it, so that an operator who reads slowly delays nobody.

use katydid_engine::portable::{self, Scope, TransferError};
use katydid_store::Store;
use serde_json::{Map, Value};
use std::{
    collections::HashMap,
    fs::{self, Permissions},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};
use tracing::warn;

use super::inbox::{DirectoryInput, Inbox, Letter};

/// Its name in the data folder.
pub(crate) const SOCKET: &str = "control.sock";
/// The longest line that is read.
const LINE_BYTES: u64 = 1 << 20;
/// The one verb that is none of the directory.
pub(crate) const EXPORT: &str = "export";
/// Bytes of an export that are written at once.
const EXPORT_BYTES: usize = 64 << 10;
/// Operators at once.
const OPERATORS: usize = 8;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who waits for the answers of the directory.
#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: Mutex<HashMap<u64, SyncSender<String>>>,
    next: AtomicU64,
}

impl Answers {
    /// The directory has answered.
    pub(super) fn give(&self, ticket: u64, payload: String) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket);
        if let Some(waiting) = waiting {
            // Whoever asked may have gone.
            let _ = waiting.try_send(payload);
        }
    }

    fn ask(&self, inbox: &Inbox, verb: String, body: Vec<u8>) -> Option<String> {
        let ticket = self.next.fetch_add(1, Relaxed);
        let (answer, answered) = sync_channel(1);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket, answer);
        inbox.post(Letter::Directory(DirectoryInput::Operate { ticket, verb, body }));
        let payload = answered.recv_timeout(PATIENCE).ok();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket);
        payload
    }
}

/// Opens the socket in a folder and serves it from then on; the path, to be removed at the end.
pub(super) fn open(
    folder: &Path,
    inbox: &Arc<Inbox>,
    answers: &Arc<Answers>,
    store: &Arc<dyn Store>,
) -> io::Result<PathBuf> {
    let path = folder.join(SOCKET);
    // Nobody else can open it at any moment: it gets its name when it has its mode.
    let beside = folder.join(format!("{SOCKET}.new"));
    let _ = fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside)?;
    fs::set_permissions(&beside, Permissions::from_mode(0o600))?;
    fs::rename(&beside, &path)?;
    let (inbox, answers, store) = (Arc::clone(inbox), Arc::clone(answers), Arc::downgrade(store));
    thread::Builder::new().name("control".into()).spawn(move || {
        let operators = Arc::new(AtomicUsize::new(0));
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            if operators.fetch_add(1, Relaxed) >= OPERATORS {
                operators.fetch_sub(1, Relaxed);
                continue;
            }
            let (inbox, answers, count) = (Arc::clone(&inbox), Arc::clone(&answers), Arc::clone(&operators));
            let store = Weak::clone(&store);
            let serving = thread::Builder::new().name("operator".into()).spawn(move || {
                if let Err(error) = serve(stream, &inbox, &answers, &store) {
                    warn!(%error, "an operator's connection failed");
                }
                count.fetch_sub(1, Relaxed);
            });
            if serving.is_err() {
                operators.fetch_sub(1, Relaxed);
            }
        }
    })?;
    Ok(path)
}

fn serve(
    mut stream: UnixStream,
    inbox: &Inbox,
    answers: &Answers,
    store: &Weak<dyn Store>,
) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = Vec::new();
        if lines.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let answer = match request(&line) {
            Some((verb, body)) if verb == EXPORT => match export(&mut stream, store, &body) {
                Ok(()) => continue,
                Err(error) => Some(refusal("broker.failed", &error.to_string())),
            },
            Some((verb, body)) => answers.ask(inbox, verb, body),
            None => Some(refusal("request.malformed", "not a JSON object with a verb")),
        };
        let answer = answer.unwrap_or_else(|| refusal("broker.failed", "the broker gave no answer"));
        stream.write_all(answer.as_bytes())?;
        stream.write_all(b"\n")?;
    }
}

/// Writes an export. What fails in the middle of it is told by a line that is none of it.
fn export(stream: &mut UnixStream, store: &Weak<dyn Store>, body: &[u8]) -> Result<(), TransferError> {
    let wanted: Map<String, Value> = serde_json::from_slice(body).map_err(io::Error::from)?;
    let scope = scope(&wanted).ok_or_else(|| io::Error::other("no scope of an export"))?;
    let ended = || io::Error::other("the broker ends");
    let store = store.upgrade().ok_or_else(ended)?;
    let mut out = BufWriter::with_capacity(EXPORT_BYTES, stream);
    portable::export(&*store, &scope, &mut out)?;
    Ok(out.flush()?)
}

/// What is to be exported, by the fields of a request.
fn scope(wanted: &Map<String, Value>) -> Option<Scope> {
    let text = |name: &str| wanted.get(name).and_then(Value::as_str);
    Some(match (text("room"), text("group"), text("user")) {
        (None, None, None) => Scope::All { secrets: wanted.get("secrets")?.as_bool()? },
        (Some(name), None, None) => Scope::Place(format!("room/{name}")),
        (None, Some(name), None) => Scope::Place(format!("group/{name}")),
        (None, None, Some(name)) => Scope::User(name.to_owned()),
        _ => return None,
    })
}

/// The verb of a request, and the request without it.
fn request(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let mut fields: Map<String, Value> = serde_json::from_slice(line).ok()?;
    let Some(Value::String(verb)) = fields.remove("verb") else { return None };
    Some((verb, serde_json::to_vec(&fields).ok()?))
}

fn refusal(code: &str, reason: &str) -> String {
    serde_json::json!({ "ok": false, "code": code, "reason": reason }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verb_is_taken_out_of_a_request() {
        let (verb, body) = request(b"{\"verb\":\"user/add\",\"name\":\"ann\"}\n").expect("it is one");
        assert_eq!((verb.as_str(), &body[..]), ("user/add", &b"{\"name\":\"ann\"}"[..]));
        for bad in [&b""[..], b"[]", b"{}", b"{\"verb\":1}", b"nonsense"] {
            assert_eq!(request(bad), None);
        }
    }
}
