//! Searches in what was said: the index of words beside the database, the thread that keeps it, and the thread that
//! answers.
//!
//! Nothing here is on the path of a message. The index follows the logs behind ([`indexing`]), and a search reads what it does not have
//! yet. It knows no rights: the directory says where to look, and looks at what comes back. The queue of searches is bounded, and
//! so is what one of them reads (`katydid_search::SPENT_BYTES_MAX`); who finds no place in it is told to come again. Invariant:
//! the index is derived from the logs, so one that is damaged, or has another key, is thrown away and made anew.

mod indexing;

use katydid_chat::code::Code;
use katydid_chat::search::{Findings, Quest};
use katydid_engine::archive::{self, Archived, Wording};
use katydid_search::{Index, Said, Searcher, What};
use katydid_store::{Entry, Options, SledStore, StorageKey, Store, StoreError};
use std::{
    fs, io,
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver, SyncSender},
    },
    thread::{self, JoinHandle},
    time::{SystemTime, UNIX_EPOCH},
};
use tracing::{error, warn};

use super::inbox::{DirectoryInput, Inbox, Letter};
use super::storage::OpenStore;
pub(super) use indexing::{Changes, Indexing, Noted};

/// Folder of the index within that of the database.
pub(crate) const FOLDER: &str = "search";

/// Searches that wait for the thread at most.
const QUEUE: usize = 64;
/// Memory of the index's pages.
const CACHE_BYTES: u64 = 16 << 20;
/// Memory of what was changed in the index and is not in its pages yet, about half of it.
const JOURNAL_BYTES: usize = 2 << 20;

/// Opens the index of the database in `path`, and makes it anew where it cannot be used.
///
/// # Errors
/// The disk or the file system refused.
pub(super) fn open(path: &Path, key: Option<StorageKey>) -> Result<Index, StoreError> {
    let folder = path.join(FOLDER);
    let options =
        Options { cache_bytes: CACHE_BYTES, journal_bytes: JOURNAL_BYTES, key, ..Options::default() };
    let opened = SledStore::open(&folder, options.clone()).and_then(|store| Index::open(Arc::new(store)));
    match opened {
        Err(error @ (StoreError::Io(_) | StoreError::Busy(_))) => Err(error),
        Err(error) => {
            warn!(%error, "the index for searches cannot be used and is made anew");
            fs::remove_dir_all(&folder)?;
            Index::open(Arc::new(SledStore::open(&folder, options)?))
        }
        Ok(index) => Ok(index),
    }
}

/// Takes an entry of a place's log apart for the index.
fn said(entry: &Entry) -> Option<Said> {
    let entry = Archived::read(&entry.bytes)?;
    let what = match entry.wording() {
        Wording::Text(text) => What::Text(text),
        Wording::Edit(of, text) => What::Edit { of, text },
        Wording::Delete(of) => What::Delete { of },
        Wording::Nothing => What::Nothing,
    };
    let (topic, id) = (entry.topic().to_owned(), entry.id().map(str::to_owned));
    Some(Said { topic, id, expires_at_ms: entry.expires_at_ms(), what })
}

/// A search that waits.
#[derive(Debug)]
struct Job {
    ticket: u64,
    quest: Box<Quest>,
}

/// Where the shard with the directory hands in searches. Dropping the last clone ends the thread.
#[derive(Debug, Clone)]
pub(super) struct SearchLink {
    queue: SyncSender<Job>,
    inbox: Arc<Inbox>,
}

impl SearchLink {
    /// Queues a search, or answers at once that too many wait.
    pub(super) fn ask(&self, ticket: u64, quest: Box<Quest>) {
        if self.queue.try_send(Job { ticket, quest }).is_err() {
            tell(&self.inbox, ticket, Err(Code::RateHistory));
        }
    }
}

fn tell(inbox: &Inbox, ticket: u64, findings: Result<Findings, Code>) {
    inbox.post(Letter::Directory(DirectoryInput::Found { ticket, findings }));
}

/// The thread that answers.
#[derive(Debug)]
pub(super) struct Searching(JoinHandle<()>);

impl Searching {
    /// Starts it; `inbox` is that of the shard with the directory.
    ///
    /// # Errors
    /// The system gave no thread.
    pub(super) fn start(store: &OpenStore, inbox: &Arc<Inbox>) -> io::Result<(Self, SearchLink)> {
        let (queue, jobs) = mpsc::sync_channel(QUEUE);
        let searcher = Searcher::new(Arc::clone(&store.index), said);
        let (store, answers) = (Arc::clone(&store.store), Arc::clone(inbox));
        let thread = thread::Builder::new().name("search".into());
        let thread = thread.spawn(move || run(&*store, searcher, &jobs, &answers))?;
        Ok((Self(thread), SearchLink { queue, inbox: Arc::clone(inbox) }))
    }

    /// Waits for its end. Every link must have been dropped.
    pub(super) fn finish(self) {
        // A panic in there has ended the process already.
        let _ = self.0.join();
    }
}

fn run(store: &dyn Store, mut searcher: Searcher, jobs: &Receiver<Job>, inbox: &Inbox) {
    while let Ok(Job { ticket, quest }) = jobs.recv() {
        let findings = look(store, &mut searcher, &quest).map_err(|error| {
            error!(%error, "a search failed");
            Code::Failed
        });
        tell(inbox, ticket, findings);
    }
}

fn look(store: &dyn Store, searcher: &mut Searcher, quest: &Quest) -> Result<Findings, StoreError> {
    let mut logs = Vec::with_capacity(quest.places.len());
    for place in &quest.places {
        if let Some(log) = archive::log_of(store, place)? {
            logs.push((Arc::clone(place), log));
        }
    }
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    searcher.search(store, &logs, quest, now_ms)
}
