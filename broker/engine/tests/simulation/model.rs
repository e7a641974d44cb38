//! What was promised: every message that a client sent, what it was told about it, what is on disk, and what is wrong.
//!
//! Knows clients by their number and messages by theirs, which end their payload; knows nothing of the engine.

use crate::disk::QUEUE_BIT;
use katydid_store::{Op, Space};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Names a message; grows in the order in which they are first sent.
pub(crate) type MessageId = u32;

/// A message that some client sent.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) by: usize,
    pub(crate) topic: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// Its topic names somebody else, so that nobody may ever see it.
    pub(crate) is_forged: bool,
    /// It clears a retained message.
    pub(crate) is_empty: bool,
    /// Bytes of its payload before its number.
    pub(crate) filler: usize,
    /// How often its PUBLISH was sent.
    pub(crate) transmissions: u32,
    /// Step of the run in which it was first sent.
    pub(crate) sent_step: u64,
    /// PUBACK or PUBREC came.
    pub(crate) is_acked: bool,
    pub(crate) expected: Vec<Expected>,
}

/// A session that must get a message if it is acknowledged, as long as the subscription stands.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub(crate) client: usize,
    pub(crate) epoch: u32,
    pub(crate) filter: String,
    pub(crate) serial: u32,
    pub(crate) is_kept: bool,
}

/// What has to become of a will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its connection lives.
    Armed,
    /// Its connection ended; the delay has begun, at this time where the broker has noticed.
    Delayed(Option<u64>),
    /// It has to be published.
    Must,
    /// It must not be published.
    MustNot,
    /// Both would be right.
    Either,
}

/// The will of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Will {
    pub(crate) message: MessageId,
    pub(crate) delay_secs: u32,
    pub(crate) fate: Fate,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) step: u64,
    pub(crate) now_ms: u64,
    /// Queues are so small that clients may be disconnected for it.
    pub(crate) may_overflow: bool,
    /// From which step on every will is seen.
    pub(crate) observed_step: Option<u64>,
    pub(crate) said: Vec<Said>,
    /// Number to message of each room, as anybody saw it.
    pub(crate) numbers: BTreeMap<String, BTreeMap<u64, MessageId>>,
    /// Starts of the broker so far.
    pub(crate) life: u32,
    /// In which life of the broker a number was first seen.
    pub(crate) seen_in: BTreeMap<(String, u64), u32>,
    /// The history of each room as the store has it in the end.
    pub(crate) history: BTreeMap<String, BTreeMap<u64, MessageId>>,
    /// Logs in which a message has been durable.
    logs: HashMap<MessageId, BTreeSet<u64>>,
    /// Messages that have been durable as retained ones.
    retained: BTreeSet<MessageId>,
    pub(crate) wills: Vec<Will>,
    pub(crate) violation: Option<String>,
    pub(crate) trace: Option<Vec<String>>,
    next_serial: u32,
}

impl Model {
    /// Notes the first thing that broke a promise.
    pub(crate) fn violated(&mut self, what: String) {
        self.note(|| format!("VIOLATION {what}"));
        self.violation.get_or_insert(what);
    }

    /// Adds a line to the trace, where one is kept.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let (step, now_ms) = (self.step, self.now_ms);
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{step:6} {now_ms:7} ms  {}", line()));
        }
    }

    /// A number that nothing else has.
    pub(crate) fn serial(&mut self) -> u32 {
        self.next_serial += 1;
        self.next_serial
    }

    /// The payload of a message.
    pub(crate) fn payload(id: MessageId, filler: usize) -> Vec<u8> {
        let mut payload = vec![b'.'; filler];
        payload.extend_from_slice(format!("#{id:08}").as_bytes());
        payload
    }

    /// The message that a payload, or anything that ends with it, is.
    pub(crate) fn message_of(bytes: &[u8]) -> Option<MessageId> {
        let bytes = bytes.strip_suffix(b"\"}").unwrap_or(bytes);
        let tail = &bytes[bytes.len().checked_sub(9)?..];
        std::str::from_utf8(tail).ok()?.strip_prefix('#')?.parse().ok()
    }

    /// Whether a topic is a room's, and which one's.
    pub(crate) fn room_of(topic: &str) -> Option<&str> {
        topic.strip_prefix("room/")?.split('/').next()
    }

    /// Whether the broker itself speaks on a topic: who is in a room, and what becomes of it.
    pub(crate) fn is_brokers(topic: &str) -> bool {
        let within =
            topic.strip_prefix("room/").and_then(|rest| rest.split_once('/')).map(|(_, within)| within);
        within.is_some_and(|within| {
            within == "info" || within == "event/katydid" || within.starts_with("presence/")
        })
    }

    /// Whether a topic is kept in a room's log.
    pub(crate) fn is_logged(topic: &str) -> bool {
        let mut levels = topic.split('/');
        levels.next() == Some("room") && matches!(levels.nth(1), Some("msg" | "event"))
    }

    /// A commit is on disk.
    pub(crate) fn synced(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Append { log, entry } => {
                    if let Some(id) = Self::message_of(&entry.bytes) {
                        self.logs.entry(id).or_default().insert(*log);
                    }
                }
                Op::Put { space: Space(2), value, .. } => self.retained.extend(Self::message_of(value)),
                _ => {}
            }
        }
    }

    /// How many rooms and how many queues a message has been durable in.
    fn copies(&self, id: MessageId) -> (usize, usize) {
        let Some(logs) = self.logs.get(&id) else { return (0, 0) };
        let queues = logs.iter().filter(|log| *log & QUEUE_BIT != 0).count();
        (logs.len() - queues, queues)
    }

    /// A client is told that its message is safe: is it? `kept_for` sessions that outlive their connections want it.
    pub(crate) fn acknowledged(&mut self, id: MessageId, kept_for: usize) {
        let (rooms, queues) = self.copies(id);
        let said = &mut self.said[id as usize];
        said.is_acked = true;
        let said = said.clone();
        let what = if said.is_forged {
            return;
        } else if Self::room_of(&said.topic).is_some() {
            (Self::is_logged(&said.topic) && rooms == 0).then_some("is not in the room's log on disk")
        } else if said.retain && !said.is_empty && !self.retained.contains(&id) {
            Some("is not retained on disk")
        } else {
            (queues < kept_for).then_some("is not on disk for every session that it is kept for")
        };
        if let Some(what) = what {
            self.violated(format!(
                "acknowledged means stored: message {id} to {} is acknowledged and {what} ({queues} of {kept_for})",
                said.topic
            ));
        }
    }

    /// Somebody saw a room's message under a number.
    pub(crate) fn numbered(&mut self, room: &str, seq: u64, id: MessageId) {
        self.seen_in.entry((room.to_owned(), seq)).or_insert(self.life);
        let known = *self.numbers.entry(room.to_owned()).or_default().entry(seq).or_insert(id);
        if known != id {
            self.violated(format!(
                "one order: number {seq} of {room} was message {known} and is message {id}"
            ));
        }
    }

    /// The will with this message.
    pub(crate) fn will_mut(&mut self, id: MessageId) -> Option<&mut Will> {
        self.wills.iter_mut().find(|will| will.message == id)
    }
}
