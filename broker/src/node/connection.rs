//! What the driver keeps for a connection, and the table of a shard's connections.
//!
//! An idle connection costs one slot here and nothing else: no buffer, no timer, no task. It knows nothing of MQTT.
//! Invariant: a [`ConnId`] whose generation is not the slot's finds nothing, so that late events and late outputs
//! never reach the connection that came after.

use katydid_engine::{ConnId, Peer};
use mio::Token;

use super::{
    accept::Admitted,
    transport::{Transport, proxy::HeaderReader},
};

/// One connection of a shard.
#[derive(Debug)]
pub(super) struct Connection {
    /// What is spoken below MQTT, and the socket.
    pub(super) transport: Transport,
    /// Bytes that the engine left unused: the beginning of a packet. A box, because most have none.
    #[allow(clippy::box_collection, reason = "8 bytes an idle connection instead of 24")]
    pub(super) partial: Option<Box<Vec<u8>>>,
    /// Present until the engine knows the connection.
    pub(super) greeting: Option<Box<Greeting>>,
    /// Its place among the connections that are allowed.
    pub(super) admitted: Admitted,
    /// Whether the poll knows the socket.
    pub(super) registered: bool,
    /// Whether the poll tells when it becomes writable.
    pub(super) told_writable: bool,
    /// Whether its socket took no more, so that nothing is written until it does.
    pub(super) blocked: bool,
    /// Whether it waits in the list of connections to read.
    pub(super) queued: bool,
    /// Whether the engine wants nothing from it for now.
    pub(super) paused: bool,
    /// Whether it is closed as soon as everything is written.
    pub(super) closing: bool,
    /// What was written last is to reach a peer that does not expect the end.
    pub(super) has_last_word: bool,
    /// Whether the peer has said its last, so that reading goes on to the end.
    pub(super) hung_up: bool,
}

/// What is kept until a connection's CONNECT is there.
#[derive(Debug)]
pub(super) struct Greeting {
    /// What is known of the other end so far.
    pub(super) peer: Peer,
    /// The PROXY header that comes first, where the listener takes one.
    pub(super) proxy: Option<HeaderReader>,
}

impl Connection {
    /// A connection that nobody has heard of yet.
    pub(super) fn new(transport: Transport, admitted: Admitted, greeting: Option<Box<Greeting>>) -> Self {
        Self {
            transport,
            partial: None,
            greeting,
            admitted,
            registered: false,
            told_writable: false,
            blocked: false,
            queued: false,
            paused: false,
            closing: false,
            has_last_word: false,
            hung_up: false,
        }
    }

    /// Adds to what is left over, or begins it.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.partial.get_or_insert_default().extend_from_slice(bytes);
        }
    }
}

/// The connections of a shard.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    connection: Option<Connection>,
}

/// Generations stay below this, so that no connection's token is one of the shard's own.
const GENERATIONS: u32 = 1 << 31;

impl Table {
    /// Gives the connection a slot.
    pub(super) fn insert(&mut self, connection: Connection) -> ConnId {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.slots[slot as usize];
            entry.generation = (entry.generation + 1) % GENERATIONS;
            entry.connection = Some(connection);
            return ConnId { slot, generation: entry.generation };
        }
        let slot = u32::try_from(self.slots.len()).expect("file descriptors run out far earlier");
        self.slots.push(Slot { generation: 0, connection: Some(connection) });
        ConnId { slot, generation: 0 }
    }

    /// The connection, if it is still there.
    pub(super) fn find(&mut self, conn: ConnId) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(conn.slot as usize)?;
        if slot.generation == conn.generation { slot.connection.as_mut() } else { None }
    }

    /// Takes the connection out and frees its slot.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Connection> {
        let slot = self.slots.get_mut(conn.slot as usize)?;
        if slot.generation != conn.generation {
            return None;
        }
        let connection = slot.connection.take()?;
        self.free.push(conn.slot);
        Some(connection)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Those that are there.
    pub(super) fn ids(&self) -> Vec<ConnId> {
        (0_u32..)
            .zip(&self.slots)
            .filter(|(_, entry)| entry.connection.is_some())
            .map(|(slot, entry)| ConnId { slot, generation: entry.generation })
            .collect()
    }
}

/// The poll's name for a connection.
pub(super) fn token(conn: ConnId) -> Token {
    Token(((conn.generation as usize) << 32) | conn.slot as usize)
}

/// The connection that the poll names.
pub(super) fn conn_id(token: Token) -> ConnId {
    ConnId { slot: token.0 as u32, generation: (token.0 >> 32) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::accept::Admission;
    use crate::node::transport::Socket;

    fn connection() -> Connection {
        let (socket, _) = mio::net::UnixStream::pair().unwrap();
        Connection::new(Transport::Plain(Socket::Unix(socket)), Admission::unlimited().admit_any(), None)
    }

    #[test]
    fn a_late_name_finds_nothing() {
        let mut table = Table::default();
        let first = table.insert(connection());
        assert!(table.find(first).is_some());
        assert!(table.remove(first).is_some());
        assert!(table.remove(first).is_none(), "it is gone already");
        let second = table.insert(connection());
        assert_eq!(second.slot, first.slot);
        assert_ne!(second.generation, first.generation);
        assert!(table.find(first).is_none());
        assert!(table.find(second).is_some());
        assert_eq!(table.len(), 1);
        assert_eq!(table.ids(), [second]);
    }

    #[test]
    fn a_token_names_its_connection() {
        let conn = ConnId { slot: u32::MAX, generation: GENERATIONS - 1 };
        assert_eq!(conn_id(token(conn)), conn);
        assert!(token(conn).0 < usize::MAX - 1000);
    }

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Slot>() <= 96, "{}", size_of::<Slot>());
    }
}
