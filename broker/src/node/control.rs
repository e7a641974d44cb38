//! The control socket: operator commands such as `katydid user add` talk to the running broker through it.
//!
//! It is a Unix socket in the data folder that only its owner can open. A request is one line of JSON with the field
//! `verb`, an answer is one line of JSON; both are those of `topics.md`. It never looks into either further than the verb.
//! Threads of its own serve it, so that an operator who reads slowly delays nobody.

use serde_json::{Map, Value};
use std::{
    collections::HashMap,
    fs::{self, Permissions},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
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
pub(super) fn open(folder: &Path, inbox: &Arc<Inbox>, answers: &Arc<Answers>) -> io::Result<PathBuf> {
    let path = folder.join(SOCKET);
    // Nobody else can open it at any moment: it gets its name when it has its mode.
    let beside = folder.join(format!("{SOCKET}.new"));
    let _ = fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside)?;
    fs::set_permissions(&beside, Permissions::from_mode(0o600))?;
    fs::rename(&beside, &path)?;
    let (inbox, answers) = (Arc::clone(inbox), Arc::clone(answers));
    thread::Builder::new().name("control".into()).spawn(move || {
        let operators = Arc::new(AtomicUsize::new(0));
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            if operators.fetch_add(1, Relaxed) >= OPERATORS {
                operators.fetch_sub(1, Relaxed);
                continue;
            }
            let (inbox, answers, count) = (Arc::clone(&inbox), Arc::clone(&answers), Arc::clone(&operators));
            let serving = thread::Builder::new().name("operator".into()).spawn(move || {
                if let Err(error) = serve(stream, &inbox, &answers) {
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

fn serve(mut stream: UnixStream, inbox: &Inbox, answers: &Answers) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = Vec::new();
        if lines.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let answer = match request(&line) {
            Some((verb, body)) => answers.ask(inbox, verb, body),
            None => Some(refusal("request.malformed", "not a JSON object with a verb")),
        };
        let answer = answer.unwrap_or_else(|| refusal("broker.failed", "the broker gave no answer"));
        stream.write_all(answer.as_bytes())?;
        stream.write_all(b"\n")?;
    }
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
