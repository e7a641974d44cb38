//! The shape of every legacy protocol: a state machine over all its connections, driven with inputs and the time.
//!
//! A [`Machine`] sees all connections of its protocol at once, as protocols need whose users know of each other.
//! Where each connection stands alone, [`Each`] makes a machine of one [`Session`] a connection. Neither does I/O.
//!
//! How it is driven: [`Machine::handle`] with one [`Input`], then the [`Output`]s are carried out in their order, then
//! [`Machine::deadline_ms`] says when [`Input::Tick`] is due. Bytes of a link are handed in only while
//! [`Machine::is_ready`] says so; what is not read stays in the socket, so that who sends too fast waits.

use crate::chat::{Call, Event, Tag, Voice};
use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
};

/// A connection of a protocol; never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link(pub u64);

/// What a machine is told.
#[derive(Debug)]
pub enum Input<'a> {
    /// Somebody connected at one of the machine's doors.
    Opened {
        /// The new link.
        link: Link,
        /// Which of the protocol's listeners, in the order of its configuration.
        door: usize,
        /// Where it comes from.
        from: SocketAddr,
    },
    /// What [`Output::Dial`] came to; a link that was not reached is over.
    Dialled {
        /// As asked.
        link: Link,
        /// Why it was not reached, if so.
        problem: Option<String>,
    },
    /// Bytes came.
    Received {
        /// From where.
        link: Link,
        /// A piece of the stream, cut anywhere.
        bytes: &'a [u8],
    },
    /// A piece of [`Output::Pass`] was written, and this link, which it came from, may be read again.
    Passed {
        /// Where the piece came from.
        link: Link,
    },
    /// The other side is gone. What is asked for its users now is their last; they are signed out without being told to be.
    Closed {
        /// Which.
        link: Link,
    },
    /// The broker says something to a user.
    Chat {
        /// The user's connection.
        link: Link,
        /// Which of its users.
        voice: Voice,
        /// What.
        event: Event,
    },
    /// A deadline has passed.
    Tick,
}

/// What a machine wants done.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Send bytes, in one write.
    Write {
        /// To where.
        link: Link,
        /// One line, or several that belong together.
        bytes: Vec<u8>,
    },
    /// Send a piece of something long that comes from another link, which is read again when the piece is written: answered by
    /// [`Input::Passed`], unless `link` is gone first.
    Pass {
        /// To where.
        link: Link,
        /// The piece.
        bytes: Vec<u8>,
        /// Where it comes from.
        from: Link,
    },
    /// Read a link again for which the machine has become ready through something that happened elsewhere.
    GoOn {
        /// Which.
        link: Link,
    },
    /// Close a link after what was written; its users are signed out. Nothing more is told of it.
    Close {
        /// Which.
        link: Link,
    },
    /// Ask the broker on behalf of a user.
    Ask {
        /// The user's connection.
        link: Link,
        /// Which of its users.
        voice: Voice,
        /// Comes back with the answer.
        tag: Tag,
        /// What.
        call: Call,
    },
    /// Connect to another server: answered by [`Input::Dialled`].
    Dial {
        /// The link that it shall be, above [`FIRST_DIALLED`].
        link: Link,
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
    /// Something for the operator's log. Never what people say.
    Log(String),
}

/// Links that a machine chooses itself, for [`Output::Dial`], begin here; those that are accepted stay below.
pub const FIRST_DIALLED: u64 = 1 << 63;

/// A legacy protocol.
pub trait Machine: Send {
    /// Takes one input at a time in milliseconds that never goes back, and appends what follows from it.
    fn handle(&mut self, now_ms: u64, input: Input<'_>, out: &mut Vec<Output>);

    /// When [`Input::Tick`] is due.
    fn deadline_ms(&self) -> Option<u64>;

    /// Whether a link takes more bytes now.
    fn is_ready(&self, link: Link) -> bool;
}

/// One connection of a protocol in which connections know nothing of each other.
pub trait Session: Send {
    /// Bytes came; also called with none when the session may be able to go on with what it has.
    fn received(&mut self, now_ms: u64, bytes: &[u8], side: &mut Side<'_>);

    /// The broker says something.
    fn happened(&mut self, now_ms: u64, voice: Voice, event: Event, side: &mut Side<'_>);

    /// The deadline has passed.
    fn ticked(&mut self, now_ms: u64, side: &mut Side<'_>);

    /// The other side is gone. What is asked of the broker here is still carried out, and nothing comes of it any more.
    fn closed(&mut self, _side: &mut Side<'_>) {}

    /// When `ticked` is due.
    fn deadline_ms(&self) -> Option<u64>;

    /// Whether it takes more bytes now.
    fn is_ready(&self) -> bool;
}

/// One link's way out.
#[derive(Debug)]
pub struct Side<'a> {
    link: Link,
    out: &'a mut Vec<Output>,
}

impl<'a> Side<'a> {
    /// Everything that is said here is said for that link.
    pub fn new(link: Link, out: &'a mut Vec<Output>) -> Self {
        Self { link, out }
    }

    /// Sends bytes in one write.
    pub fn write(&mut self, bytes: impl Into<Vec<u8>>) {
        self.out.push(Output::Write { link: self.link, bytes: bytes.into() });
    }

    /// Asks the broker.
    pub fn ask(&mut self, voice: Voice, tag: Tag, call: Call) {
        self.out.push(Output::Ask { link: self.link, voice, tag, call });
    }

    /// Closes the link after what was written.
    pub fn close(&mut self) {
        self.out.push(Output::Close { link: self.link });
    }
}

/// A machine of which each connection is a session that `make` makes.
pub struct Each<S, M> {
    make: M,
    sessions: HashMap<Link, Timed<S>>,
    timers: BTreeSet<(u64, Link)>,
}

struct Timed<S> {
    session: S,
    deadline_ms: Option<u64>,
}

impl<S: Session, M: FnMut(u64, SocketAddr) -> S + Send> Each<S, M> {
    /// A machine without connections; `make` gets the time and where the connection comes from.
    pub fn new(make: M) -> Self {
        Self { make, sessions: HashMap::new(), timers: BTreeSet::new() }
    }

    fn with(&mut self, link: Link, out: &mut Vec<Output>, act: impl FnOnce(&mut S, &mut Side<'_>)) {
        let Some(timed) = self.sessions.get_mut(&link) else { return };
        let before = out.len();
        act(&mut timed.session, &mut Side::new(link, out));
        let deadline_ms = timed.session.deadline_ms();
        if deadline_ms != timed.deadline_ms {
            let old = std::mem::replace(&mut timed.deadline_ms, deadline_ms);
            old.map(|at| self.timers.remove(&(at, link)));
            deadline_ms.map(|at| self.timers.insert((at, link)));
        }
        if out[before..].contains(&Output::Close { link }) {
            self.forget(link);
        }
    }

    fn forget(&mut self, link: Link) {
        let timed = self.sessions.remove(&link);
        if let Some(at) = timed.and_then(|timed| timed.deadline_ms) {
            self.timers.remove(&(at, link));
        }
    }
}

impl<S: Session, M: FnMut(u64, SocketAddr) -> S + Send> Machine for Each<S, M> {
    fn handle(&mut self, now_ms: u64, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            Input::Opened { link, from, .. } => {
                let session = (self.make)(now_ms, from);
                self.sessions.insert(link, Timed { session, deadline_ms: None });
                self.with(link, out, |session, side| session.received(now_ms, &[], side));
            }
            Input::Received { link, bytes } => {
                self.with(link, out, |session, side| session.received(now_ms, bytes, side));
            }
            Input::Chat { link, voice, event } => {
                self.with(link, out, |session, side| session.happened(now_ms, voice, event, side));
            }
            Input::Closed { link } => {
                self.with(link, out, |session, side| session.closed(side));
                self.forget(link);
            }
            Input::Dialled { link, .. } => self.forget(link),
            Input::Passed { .. } => {}
            Input::Tick => {
                // Taken off first: a session whose deadline stays in the past is called once a tick, not for ever.
                let later = self.timers.split_off(&(now_ms + 1, Link(0)));
                for (_, link) in std::mem::replace(&mut self.timers, later) {
                    if let Some(timed) = self.sessions.get_mut(&link) {
                        timed.deadline_ms = None;
                    }
                    self.with(link, out, |session, side| session.ticked(now_ms, side));
                }
            }
        }
    }

    fn deadline_ms(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn is_ready(&self, link: Link) -> bool {
        self.sessions.get(&link).is_some_and(|timed| timed.session.is_ready())
    }
}
