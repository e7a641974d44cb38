//! What is on disk of what was said, for readers outside of the engine: where the log of a place is, and what an entry says.
//!
//! It reads layouts that `persist.rs` and `message.rs` write, and writes none.

use crate::{message::Message, persist};
use bytes::Bytes;
use katydid_chat::{
    request::Act,
    topic::{self, Channel, Topic},
};
use katydid_store::{LogId, Store, StoreError};

/// An entry of a place's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived(Message);

/// What an entry is to who looks for words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wording {
    /// A text for people.
    Text(String),
    /// Another text for the entry with this number.
    Edit(u64, String),
    /// The text of the entry with this number is taken away.
    Delete(u64),
    /// None.
    Nothing,
}

impl Archived {
    /// Reads the bytes of an entry; `None` where they are damaged.
    pub fn read(bytes: &Bytes) -> Option<Self> {
        Message::from_disk(bytes).map(Self)
    }

    /// Its whole topic.
    pub fn topic(&self) -> &str {
        self.0.topic()
    }

    /// The user property `id`.
    pub fn id(&self) -> Option<&str> {
        self.0.user_property("id")
    }

    /// When it expires, in milliseconds since the Unix epoch.
    pub fn expires_at_ms(&self) -> Option<u64> {
        self.0.expires_at_ms
    }

    /// Its text, or what it does to another's.
    pub fn wording(&self) -> Wording {
        let Topic::Said(said) = topic::classify(self.topic()) else { return Wording::Nothing };
        let payload = self.0.payload();
        match said.channel {
            _ if self.0.is_deleted => Wording::Nothing,
            Channel::Message => match std::str::from_utf8(payload) {
                Ok(text) => Wording::Text(text.to_owned()),
                Err(_) => Wording::Nothing,
            },
            Channel::Event => match Act::read(payload) {
                Ok(Some(Act::Edit { seq, text })) => Wording::Edit(seq, text),
                Ok(Some(Act::Delete { seq })) => Wording::Delete(seq),
                _ => Wording::Nothing,
            },
            Channel::Typing | Channel::Read | Channel::Post => Wording::Nothing,
        }
    }
}

/// Whether a log is that of a place, and not a session's queue.
pub fn is_of_place(log: LogId) -> bool {
    persist::session_of(log).is_none()
}

/// The log of a place; `None` where nothing was ever said.
///
/// # Errors
/// The store cannot be read.
pub fn log_of(store: &dyn Store, place: &str) -> Result<Option<LogId>, StoreError> {
    let record = store.get(persist::PLACES, place.as_bytes())?;
    Ok(record.and_then(|record| persist::read_place(&record)).map(|(log, _)| log))
}
