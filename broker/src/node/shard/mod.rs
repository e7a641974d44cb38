//! One shard: takes in sockets and letters, feeds the engine, carries out what it says.
//!
//! A shard has one poll, and belongs to one thread at a time (`host`). A tick receives everything that is readable
//! before it writes anything, so that what many senders say to one receiver leaves in one write; and it is bounded, so
//! that nobody waits long. What one connection is owed is in `reading` and `writing`; this file owns the order of what
//! is taken in, and the timers.
//!
//! ```text
//! take in: accept ─▶ letters ─▶ read ─▶ timers    hand out: settle ─▶ outputs ─▶ post    write
//! ```

mod deadlines;
mod reading;
mod writing;

use deadlines::Deadlines;
use katydid_engine::{ConnId, Engine, Input, Now, ShardId};
use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use std::{
    collections::VecDeque,
    io,
    os::fd::AsRawFd,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tracing::warn;

use super::{
    Links, Notice, SHARDS,
    accept::{Acceptor, Newcomer},
    connection::{Table, conn_id},
    host::EVENTS,
    inbox::Letter,
    search::SearchLink,
    storage::StorageLink,
    transport::Transport,
    verify::VerifyLink,
};

/// The waker's token.
pub(super) const WAKE: mio::Token = mio::Token(usize::MAX);
/// Tokens from here on are the polls of shards that lodge with this one.
const FIRST_LODGER_TOKEN: usize = usize::MAX - 0x2_0000;
/// Length of the buffer that all reads of a shard go through.
const READ_BYTES: usize = 128 << 10;
/// Bytes that a tick reads at most, so that the writes that follow do not wait long.
const TICK_BYTES: usize = 4 << 20;
/// A wait that gives at least so many events shows that many are sending: then a tick reads on for a while.
const GATHER_EVENTS: usize = 16;
/// How long a tick reads on at most; it ends as soon as nobody has anything to say, so only a flood takes this long.
const GATHER: Duration = Duration::from_millis(3);
/// How long what is left is written to a connection that closes, and to all of them when the shard stops.
const CLOSE_MS: u64 = 1000;
/// How long a socket that still gets bytes stays half open, so that the peer sees our last word.
const LINGER_MS: u64 = 1000;
/// Sockets that are half open at most.
const LINGERERS: usize = 1024;

/// The time, the same for all shards.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(super) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// What it shows.
    pub(super) fn now(self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Never 0, so that 0 may stand for "not yet".
        Now { mono_ms: self.start.elapsed().as_millis() as u64 + 1, unix_ms: unix.as_millis() as u64 }
    }

    /// Since the start.
    pub(super) fn uptime(self) -> Duration {
        self.start.elapsed()
    }
}

/// One shard.
#[derive(Debug)]
pub(super) struct Shard {
    index: usize,
    poll: Poll,
    engine: Engine,
    table: Table,
    acceptor: Acceptor,
    links: Arc<Links>,
    storage: StorageLink,
    verify: VerifyLink,
    search: SearchLink,
    /// Letters to other shards, gathered during a tick.
    outboxes: Vec<Vec<Letter>>,
    /// Connections to read.
    ready: VecDeque<ConnId>,
    /// Connections whose socket takes bytes again.
    writable: Vec<ConnId>,
    /// Connections that the engine has closed in this tick.
    closing: Vec<ConnId>,
    /// When greetings must be over; stale ones are left in until they are first.
    greetings: Deadlines<ConnId>,
    /// When connections that close are cut off.
    closings: Deadlines<ConnId>,
    /// Sockets that have got our last word but not all of theirs was read, and when they are dropped.
    lingerers: Deadlines<Transport>,
    buffer: Box<[u8]>,
    letters: Vec<Letter>,
    newcomers: Vec<Newcomer>,
    /// Connections that are read again.
    resumed: Vec<ConnId>,
    /// Connections that broke while nobody reads from them.
    broken: Vec<ConnId>,
    /// Whether the engine was fed after it settled.
    fed_late: bool,
    /// Whether something was taken in that has not been handed out.
    is_stirred: bool,
    /// Whether many are sending.
    is_flooded: bool,
    /// When there is something to do even if nothing happens.
    due_ms: u64,
    /// Polls within this one's that have events, a bit a shard.
    knocks: u64,
    /// The shards of which the last wait told something, in the order in which it happened.
    order: Vec<usize>,
    /// Shards that this one's thread is to drive.
    lodgers: Vec<Shard>,
    /// When the shard ends, whoever is left.
    stop_at_ms: Option<u64>,
}

/// What a shard is made of.
#[derive(Debug)]
pub(super) struct Parts {
    /// Index of the shard.
    pub(super) index: usize,
    /// Its poll; the waker is registered already.
    pub(super) poll: Poll,
    /// Its engine.
    pub(super) engine: Engine,
    /// Its listening sockets.
    pub(super) acceptor: Acceptor,
    /// What all shards share.
    pub(super) links: Arc<Links>,
    /// The store.
    pub(super) storage: StorageLink,
    /// The password checkers.
    pub(super) verify: VerifyLink,
    /// Who looks for words.
    pub(super) search: SearchLink,
}

impl Shard {
    /// A shard that has not begun.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { index, poll, engine, acceptor, links, storage, verify, search } = parts;
        let outboxes = links.inboxes.iter().map(|_| Vec::new()).collect();
        Self {
            index,
            poll,
            engine,
            table: Table::default(),
            acceptor,
            links,
            storage,
            verify,
            search,
            outboxes,
            ready: VecDeque::new(),
            writable: Vec::new(),
            closing: Vec::new(),
            greetings: Deadlines::new(),
            closings: Deadlines::new(),
            lingerers: Deadlines::new(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            letters: Vec::new(),
            newcomers: Vec::new(),
            resumed: Vec::new(),
            broken: Vec::new(),
            fed_late: false,
            is_stirred: false,
            is_flooded: false,
            due_ms: 0,
            knocks: 0,
            order: Vec::new(),
            lodgers: Vec::new(),
            stop_at_ms: None,
        }
    }

    /// Index of the shard.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Waits as long as `wait` for events, and sorts them into what there is to do.
    ///
    /// # Errors
    /// The poll failed.
    pub(super) fn poll(&mut self, events: &mut Events, wait: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(events, wait) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Err(_) => events.clear(),
            Ok(()) => {}
        }
        self.order.clear();
        let count = self.take_events(events);
        self.is_flooded = count >= GATHER_EVENTS;
        self.is_stirred |= count > 0;
        // A poll within another one tells of its events once: where one wait did not give all, another one follows.
        self.knocks = self.knocks & !(1 << self.index) | u64::from(count == EVENTS) << self.index;
        Ok(())
    }

    /// Takes in whatever there is: connections, letters, bytes, time.
    ///
    /// # Errors
    /// The poll failed.
    pub(super) fn take_in(&mut self, now: Now, events: &mut Events) -> io::Result<()> {
        self.is_stirred = true;
        self.drop_broken_ones(now);
        self.fed_late = false;
        self.accept(now);
        // Letters first: what another shard was told before a publish came to this one also counts before it.
        self.open_letters(now);
        self.read_ready(now);
        self.gather(now, events)?;
        self.run_timers(now);
        Ok(())
    }

    /// Hands out what follows from what was taken in; what is for sockets is left for [`Shard::write`].
    pub(super) fn hand_out(&mut self, now: Now) {
        self.is_stirred = false;
        self.engine.settle(now);
        self.carry_outputs();
        self.post_letters();
        // Not before: what follows from these is committed with the next tick, and no letter may be ahead of its commit.
        for conn in std::mem::take(&mut self.resumed) {
            self.resume(now, conn);
        }
    }

    /// The shards of which the last wait told something, in the order in which it happened.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// Whether something was taken in that has not been handed out.
    pub(super) fn is_stirred(&self) -> bool {
        self.is_stirred
    }

    /// Whether there is anything to take in.
    pub(super) fn has_work(&self, now: Now) -> bool {
        self.has_left() || self.has_mail() || self.due_ms <= now.mono_ms
    }

    /// Whether there are letters.
    pub(super) fn has_mail(&self) -> bool {
        self.links.inboxes[self.index].has_mail()
    }

    /// Tells those who write letters that they will be found without waking anybody.
    pub(super) fn stay_awake(&self) {
        self.links.inboxes[self.index].stay_awake();
    }

    /// Whether the shard was stopped and has done what was left to do.
    pub(super) fn is_over(&self, now: Now) -> bool {
        let is_due = self.stop_at_ms.is_some_and(|at| self.table.len() == 0 || now.mono_ms >= at);
        is_due && !self.has_left() && !self.has_mail()
    }

    /// Shards that came with the mail, to be driven by this one's thread.
    pub(super) fn lodgers(&mut self) -> Vec<Shard> {
        std::mem::take(&mut self.lodgers)
    }

    /// Makes the poll of `other` part of this one's.
    ///
    /// # Errors
    /// The system refused.
    pub(super) fn lodge(&self, other: &Self) -> io::Result<()> {
        let (poll, token) = (other.poll.as_raw_fd(), Token(FIRST_LODGER_TOKEN + other.index));
        match self.poll.registry().register(&mut SourceFd(&poll), token, Interest::READABLE) {
            // It has been here for a while.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            outcome => outcome,
        }
    }

    /// Takes the poll of `other` out again.
    ///
    /// # Errors
    /// The system refused.
    pub(super) fn dismiss(&mut self, other: &Self) -> io::Result<()> {
        // Whoever drives it next looks for itself.
        self.knocks &= !(1 << other.index);
        self.poll.registry().deregister(&mut SourceFd(&other.poll.as_raw_fd()))
    }

    /// Whether the poll of a lodger, by its index, has said that it has events.
    pub(super) fn has_knocked(&mut self, index: usize) -> bool {
        let bit = 1 << index;
        let has_knocked = self.knocks & bit != 0;
        self.knocks &= !bit;
        has_knocked
    }

    /// Reads on while many are sending, so that what they say to the same receivers leaves in one write.
    fn gather(&mut self, now: Now, events: &mut Events) -> io::Result<()> {
        if !std::mem::take(&mut self.is_flooded) {
            return Ok(());
        }
        let began = Instant::now();
        while self.ready.is_empty() && began.elapsed() < GATHER {
            match self.poll.poll(events, Some(Duration::ZERO)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Err(_) => return Ok(()),
                Ok(()) => {}
            }
            if events.is_empty() {
                return Ok(());
            }
            self.take_events(events);
            self.drop_broken_ones(now);
            self.read_ready(now);
        }
        Ok(())
    }

    /// Whether there is something to do without waiting, besides letters.
    fn has_left(&self) -> bool {
        self.is_stirred
            || self.fed_late
            || !self.ready.is_empty()
            || self.acceptor.is_ready()
            || self.knocks != 0
    }

    /// When the shard has to be looked at again if nothing happens, in milliseconds; 0 is at once. Otherwise it counts
    /// as asleep from here on, and who writes to it wakes it.
    pub(super) fn rest(&mut self) -> Option<u64> {
        let deadline_ms = if self.has_left() || !self.links.inboxes[self.index].try_sleep() {
            Some(0)
        } else {
            self.next_deadline()
        };
        self.due_ms = deadline_ms.unwrap_or(u64::MAX);
        deadline_ms
    }

    fn next_deadline(&mut self) -> Option<u64> {
        let table = &mut self.table;
        let greeted =
            |conn: &ConnId| table.find(*conn).is_none_or(|connection| connection.greeting.is_none());
        let greetings = self.greetings.next_ms(greeted);
        let closings = self.closings.next_ms(|conn| self.table.find(*conn).is_none());
        [
            self.engine.next_deadline(),
            greetings,
            closings,
            self.lingerers.next_ms(|_| false),
            self.acceptor.deadline_ms(),
            self.stop_at_ms,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Sorts what the poll says into what there is to do. Returns how many events of this shard there were.
    fn take_events(&mut self, events: &Events) -> usize {
        let mut count = 0;
        for event in events {
            let token = event.token();
            if (FIRST_LODGER_TOKEN..FIRST_LODGER_TOKEN + SHARDS).contains(&token.0) {
                self.knocks |= 1 << (token.0 - FIRST_LODGER_TOKEN);
                self.order.push(token.0 - FIRST_LODGER_TOKEN);
                continue;
            }
            if count == 0 {
                self.order.push(self.index);
            }
            count += 1;
            if token == WAKE || self.acceptor.take_event(token) {
                continue;
            }
            let conn = conn_id(token);
            let Some(connection) = self.table.find(conn) else { continue };
            let broken = event.is_error() || (event.is_read_closed() && event.is_write_closed());
            if broken && (connection.paused || connection.closing) {
                // Nobody reads from it, so nobody would notice.
                self.broken.push(conn);
                continue;
            }
            connection.hung_up |= broken || event.is_read_closed();
            if connection.blocked && event.is_writable() {
                connection.blocked = false;
                self.writable.push(conn);
            }
            if (event.is_readable() || connection.hung_up) && !connection.queued {
                connection.queued = true;
                self.ready.push_back(conn);
            }
        }
        count
    }

    /// Drops connections that are found broken while nobody reads from them.
    fn drop_broken_ones(&mut self, now: Now) {
        while let Some(conn) = self.broken.pop() {
            self.drop_connection(now, conn);
        }
    }

    /// Takes in what other threads and shards have written.
    pub(super) fn open_letters(&mut self, now: Now) {
        self.is_stirred = true;
        let mut letters = std::mem::take(&mut self.letters);
        self.links.inboxes[self.index].take(&mut letters);
        for letter in letters.drain(..) {
            match letter.into_input() {
                Ok(input) => self.engine.handle(now, input),
                Err(letter) => self.obey(now, letter),
            }
        }
        self.letters = letters;
    }

    /// Does what the driver itself is told.
    fn obey(&mut self, now: Now, letter: Letter) {
        match letter {
            Letter::Arrival(arrival) => self.welcome(now, *arrival),
            Letter::Report => {
                let counters = Box::new(self.engine.counters());
                self.links.tell(Notice::Counted { shard: self.index, counters });
            }
            Letter::Shutdown => {
                self.acceptor.close();
                self.drop_greetings(now);
                self.engine.handle(now, Input::Shutdown);
            }
            Letter::Stop => self.stop_at_ms = Some(now.mono_ms + CLOSE_MS),
            Letter::Lodgers(mut shards) => self.lodgers.append(&mut shards),
            // `Letter::into_input` has taken these.
            Letter::Shard { .. }
            | Letter::Durable(_)
            | Letter::Fetched { .. }
            | Letter::Verified { .. }
            | Letter::Vouched { .. }
            | Letter::Directory(_)
            | Letter::Reload(_)
            | Letter::System(_) => {}
        }
    }

    fn run_timers(&mut self, now: Now) {
        if self.engine.next_deadline().is_some_and(|at| at <= now.mono_ms) {
            self.engine.handle(now, Input::Tick);
        }
        while let Some(conn) = self.greetings.pop_due(now.mono_ms) {
            let Some(connection) = self.table.find(conn) else { continue };
            if connection.greeting.is_some() {
                let address = connection.admitted.address().map(tracing::field::display);
                warn!(listener = connection.admitted.listener_name(), address, "no CONNECT in time");
                connection.admitted.count_late();
                self.drop_connection(now, conn);
            }
        }
        while let Some(conn) = self.closings.pop_due(now.mono_ms) {
            // Finds nothing when the connection was closed in time.
            self.drop_connection(now, conn);
        }
        while self.lingerers.pop_due(now.mono_ms).is_some() {}
    }

    /// Hands over what was gathered for other shards, with one wake-up each.
    fn post_letters(&mut self) {
        for (inbox, letters) in self.links.inboxes.iter().zip(&mut self.outboxes) {
            inbox.post_all(letters);
        }
    }

    /// The shard's number, as the engines know it.
    fn id(&self) -> ShardId {
        ShardId(self.index as u16)
    }
}
