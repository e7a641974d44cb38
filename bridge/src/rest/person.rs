//! One user of the REST interface: the connection to the broker while there is one, and the notifications that wait.
//!
//! Invariant: notifications leave in the order in which their causes came, an equal one is not queued twice, and there are at
//! most `MOST_NOTES`; one poll at a time is answered, the newest.

use crate::{
    chat::{Call, Event, Place, Refusal, Tag, Voice},
    driver::{Brought, voice::Way},
    machine::Link,
    requests,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, timeout_at},
};

/// Notifications that wait for one user at most; the oldest goes.
const MOST_NOTES: usize = 1000;

/// Groups of one user that are heard at most.
const MOST_GROUPS: usize = 1000;

/// Rooms of one user that are entered at most.
const MOST_ROOMS: usize = 100;

/// Conversations of one user whose last pull is remembered at most.
const MOST_PULLS: usize = 1000;

/// Calls that wait for the broker at most, of one user.
const CALLS: usize = 64;

/// Starts the task of a chat user; `true` where its session is kept by the broker.
pub(crate) type Start = Arc<dyn Fn(bool, Way, mpsc::Receiver<(Tag, Call)>) + Send + Sync>;

type Pending = Arc<Mutex<HashMap<Tag, oneshot::Sender<Result<Value, Refusal>>>>>;

/// A connection to the broker.
#[derive(Debug)]
pub(crate) struct Line {
    calls: mpsc::Sender<(Tag, Call)>,
    pending: Pending,
    next_tag: AtomicU64,
}

impl Line {
    /// Connects; `events` gets what the broker says, until it ends.
    ///
    /// # Errors
    /// Says why the broker lets nobody in.
    pub(crate) async fn open(
        start: &Start,
        is_kept: bool,
        from: SocketAddr,
        sign_in: Call,
        events: impl FnMut(Event) + Send + 'static,
    ) -> Result<Self, Refusal> {
        let (calls, waiting) = mpsc::channel(CALLS);
        let (brought, hearing) = mpsc::channel(CALLS);
        let way = Way { link: Link(0), voice: Voice::FIRST, from, brought, gate: Arc::default() };
        start(is_kept, way, waiting);
        let line = Self { calls, pending: Pending::default(), next_tag: AtomicU64::new(0) };
        tokio::spawn(hear(hearing, line.pending.clone(), events));
        line.ask(sign_in).await?;
        Ok(line)
    }

    /// Asks the broker.
    ///
    /// # Errors
    /// The broker refused, or could not be asked.
    pub(crate) async fn ask(&self, call: Call) -> Result<Value, Refusal> {
        let tag = self.next_tag.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        held(&self.pending).insert(tag, answer);
        if let Err(problem) = self.calls.try_send((tag, call)) {
            held(&self.pending).remove(&tag);
            let is_full = matches!(problem, mpsc::error::TrySendError::Full(_));
            return Err(Refusal::new(if is_full { Refusal::FULL } else { Refusal::LOST }));
        }
        answered.await.unwrap_or_else(|_| Err(Refusal::new(Refusal::LOST)))
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.calls.is_closed()
    }
}

/// Takes answers to who waits for them, and hands on everything else.
async fn hear(mut brought: mpsc::Receiver<Brought>, pending: Pending, mut events: impl FnMut(Event)) {
    while let Some(brought) = brought.recv().await {
        match brought {
            Brought::Chat { event: Event::Answered { tag, outcome }, .. } => {
                if let Some(answer) = held(&pending).remove(&tag) {
                    let _ = answer.send(outcome);
                }
            }
            Brought::Chat { event, .. } => events(event),
            _ => {}
        }
    }
    // Who still waits is told that the connection is lost.
    held(&pending).clear();
}

pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A user.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) user: String,
    line: Mutex<Option<Arc<Line>>>,
    /// Held while signing in, so that two requests at once make one connection.
    entering: tokio::sync::Mutex<()>,
    notes: Mutex<VecDeque<Value>>,
    woken: Notify,
    /// Polls so far; only the last one waits on.
    polls: AtomicU64,
    waiting: AtomicUsize,
    used: Mutex<Instant>,
    /// The rooms that one is in.
    rooms: Mutex<BTreeSet<Place>>,
    /// Up to where the conversation with somebody was pulled, or was known before what came since one was last here.
    pulled: Mutex<HashMap<String, u64>>,
}

impl Person {
    pub(crate) fn new(user: String) -> Self {
        Self {
            user,
            line: Mutex::default(),
            entering: tokio::sync::Mutex::default(),
            notes: Mutex::default(),
            woken: Notify::new(),
            polls: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            used: Mutex::new(Instant::now()),
            rooms: Mutex::default(),
            pulled: Mutex::default(),
        }
    }

    fn line(&self) -> Option<Arc<Line>> {
        held(&self.line).clone().filter(|line| line.is_open())
    }

    /// Makes sure that the user is connected.
    ///
    /// # Errors
    /// The broker lets the user in no longer.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        start: &Start,
        from: SocketAddr,
        sign_in: Call,
    ) -> Result<(), Refusal> {
        *held(&self.used) = Instant::now();
        if self.line().is_some() {
            return Ok(());
        }
        let _alone = self.entering.lock().await;
        if self.line().is_some() {
            return Ok(());
        }
        // What comes at once must find the way back to the line that it came from.
        let (events, mut hearing) = mpsc::unbounded_channel();
        let line = Line::open(start, true, from, sign_in, move |event| {
            let _ = events.send(event);
        });
        let line = Arc::new(line.await?);
        let (person, weak) = (Arc::downgrade(self), Arc::downgrade(&line));
        tokio::spawn(async move {
            while let Some(event) = hearing.recv().await {
                let Some(person) = person.upgrade() else { return };
                person.happened(event, &weak).await;
            }
        });
        self.hear_groups(&line).await;
        let rooms = held(&self.rooms).clone();
        for place in rooms {
            let _ = line.ask(Call::Join { place, password: None, last: 0 }).await;
        }
        *held(&self.line) = Some(line);
        Ok(())
    }

    async fn hear_groups(&self, line: &Line) {
        let mut after: Option<String> = None;
        let mut count = 0;
        while let Ok(answer) = line.ask(requests::list_my_groups(after.as_deref())).await {
            for group in requests::read_listed(&answer) {
                let _ = line.ask(listen(&group.name)).await;
                count += 1;
                after = Some(group.name);
            }
            if !requests::has_more(&answer) || count >= MOST_GROUPS {
                return;
            }
        }
    }

    async fn happened(&self, event: Event, line: &Weak<Line>) {
        match event {
            Event::Told { message } => {
                // What waited at the broker begins here.
                self.pull_of(&mut held(&self.pulled), &message.from, message.seq.saturating_sub(1));
                self.note(json!({"notification": "new_private_message", "from": &*message.from}));
            }
            Event::Said { place, message } if *message.from != *self.user => {
                self.note(json!({"notification": "new_group_message", "group": place.id()}));
            }
            Event::Signalled { json, .. } => {
                let text = |field: &str| json.get(field).and_then(Value::as_str).unwrap_or_default();
                let (kind, Some(group)) = (text("type"), text("place").strip_prefix("group/")) else {
                    return;
                };
                let Some(line) = line.upgrade() else { return };
                if kind == "invitation" {
                    // The document has no way to accept one: who invites adds.
                    let _ = line.ask(requests::join_group(group, None)).await;
                }
                if matches!(kind, "added" | "invitation") {
                    // Who is told of it hears it.
                    let _ = line.ask(listen(group)).await;
                    self.note(json!({"notification": "group_created", "group": group}));
                }
            }
            _ => {}
        }
    }

    fn note(&self, note: Value) {
        let mut notes = held(&self.notes);
        if notes.contains(&note) {
            return;
        }
        if notes.len() == MOST_NOTES {
            notes.pop_front();
        }
        notes.push_back(note);
        drop(notes);
        self.woken.notify_waiters();
    }

    /// The next notification; nothing when none came in time, or another poll takes the place of this one.
    pub(crate) async fn poll(&self, patience: Duration) -> Option<Value> {
        let turn = self.polls.fetch_add(1, Ordering::AcqRel) + 1;
        self.woken.notify_waiters();
        let _waits = Waits::new(&self.waiting);
        let until = Instant::now() + patience;
        loop {
            let woken = self.woken.notified();
            tokio::pin!(woken);
            // From here on no notification is missed.
            woken.as_mut().enable();
            if self.polls.load(Ordering::Acquire) != turn {
                return None;
            }
            if let Some(note) = held(&self.notes).pop_front() {
                return Some(note);
            }
            if timeout_at(until, woken).await.is_err() {
                *held(&self.used) = Instant::now();
                return None;
            }
        }
    }

    /// Asks the broker as this user.
    ///
    /// # Errors
    /// The broker refused, or the user is not connected.
    pub(crate) async fn ask(&self, call: Call) -> Result<Value, Refusal> {
        let line = self.line().ok_or_else(|| Refusal::new(Refusal::LOST))?;
        line.ask(call).await
    }

    /// Hears a group from here on.
    pub(crate) async fn listen(&self, group: &str) {
        let _ = self.ask(listen(group)).await;
    }

    /// Enters a room, and again with each connection to the broker, until it is left.
    ///
    /// # Errors
    /// The broker lets the user not in.
    pub(crate) async fn enter_room(&self, room: &str) -> Result<(), Refusal> {
        let place = Place::room(room);
        self.ask(Call::Join { place: place.clone(), password: None, last: 0 }).await?;
        let mut rooms = held(&self.rooms);
        if rooms.len() < MOST_ROOMS {
            rooms.insert(place);
        }
        Ok(())
    }

    /// Hears a room or a group no more.
    ///
    /// # Errors
    /// The user was not there.
    pub(crate) async fn leave(&self, place: Place) -> Result<(), Refusal> {
        held(&self.rooms).remove(&place);
        self.ask(Call::Leave { place }).await.map(drop)
    }

    /// The number after which the conversation with somebody was not pulled yet, where that is known.
    pub(crate) fn pulled(&self, other: &str) -> Option<u64> {
        held(&self.pulled).get(other).copied()
    }

    pub(crate) fn set_pulled(&self, other: &str, seq: u64) {
        *self.pull_of(&mut held(&self.pulled), other, seq) = seq;
    }

    fn pull_of<'a>(&self, pulled: &'a mut HashMap<String, u64>, other: &str, seq: u64) -> &'a mut u64 {
        if pulled.len() >= MOST_PULLS && !pulled.contains_key(other) {
            pulled.clear();
        }
        pulled.entry(other.into()).or_insert(seq)
    }

    /// Signs out who has not asked for anything for so long; says whether nothing is left to remember.
    pub(crate) fn rest(&self, idle: Duration) -> bool {
        if self.waiting.load(Ordering::Acquire) > 0 || held(&self.used).elapsed() < idle {
            return false;
        }
        *held(&self.line) = None;
        held(&self.notes).is_empty() && held(&self.rooms).is_empty()
    }
}

fn listen(group: &str) -> Call {
    Call::Join { place: Place::group(group), password: None, last: 0 }
}

/// Counts who waits, also when the wait is given up.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
