//! Everybody and every place: who is registered, who is here, which rooms and groups there are, who is in them and how
//! they stand. One directory serves a whole broker.
//!
//! It is a state machine without I/O: [`Directory::handle`] takes a [`Command`] and the time, and says in [`Effect`]s
//! what follows from it. It never sees an MQTT packet, a socket or a disk.

mod boundary;

pub use boundary::{Command, Effect, Place, Proof, SessionId, Side, SignIn, Ticket, Window};

/// What the operator decided about people and places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Rooms are made by the first who enters.
    pub creates_rooms: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { creates_rooms: true }
    }
}

/// The directory.
#[derive(Debug, Default)]
pub struct Directory {
    rules: Rules,
}

impl Directory {
    /// A directory with the records of an earlier one, as [`Effect::Put`] said them, in the order of their keys.
    /// A record that does not parse is an error: it names the record, and nothing starts on half of what there was.
    ///
    /// # Errors
    /// The key of a record that does not parse.
    pub fn restore<'a>(
        rules: Rules,
        records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Self, Vec<u8>> {
        match records.into_iter().next() {
            Some((key, _)) => Err(key.to_vec()),
            None => Ok(Self { rules }),
        }
    }

    /// Takes a command at a time in milliseconds since the Unix epoch (it may jump), and appends what follows.
    pub fn handle(&mut self, _now_ms: u64, _command: Command<'_>, _effects: &mut Vec<Effect>) {}

    /// New rules from the operator.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// When [`Command::Tick`] is due, in milliseconds since the Unix epoch.
    pub fn next_deadline(&self) -> Option<u64> {
        None
    }
}
