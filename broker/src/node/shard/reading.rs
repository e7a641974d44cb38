//! From sockets to the engine: accepting, greeting, reading.

use bytes::Bytes;
use katydid_engine::{ConnId, Input, Now, Peer, home_shard};
use mio::Interest;
use std::{io, sync::atomic::Ordering::Relaxed};
use tracing::{debug, warn};

use super::{Shard, TICK_BYTES};
use crate::node::{
    accept::Newcomer,
    connection::{Connection, Greeting, token},
    greeting::{Peek, peek_client_id},
    inbox::{Arrival, Letter},
    packets::PacketLog,
    transport::{
        Reading, Transport,
        proxy::{Header, HeaderReader},
    },
};

/// What becomes of a connection whose first bytes were looked at.
enum Home {
    /// They do not tell yet.
    Unknown,
    /// This shard.
    Here,
    /// Another shard.
    There(usize),
}

impl Shard {
    /// Accepts who waits, and looks at once whether they have said something: most have.
    pub(super) fn accept(&mut self, now: Now) {
        if !self.acceptor.is_ready() && self.acceptor.deadline_ms().is_none() {
            return;
        }
        let mut newcomers = std::mem::take(&mut self.newcomers);
        self.acceptor.accept(now.mono_ms, &mut newcomers);
        for Newcomer { socket, listener, admitted } in newcomers.drain(..) {
            let peer = Peer { address: admitted.address(), listener: listener.index, certificate_name: None };
            let proxy = listener.proxy_protocol.then(HeaderReader::default);
            let transport = match Transport::new(socket, &listener) {
                Ok(transport) => transport,
                Err(error) => {
                    warn!(%error, listener = listener.name, "a connection cannot be served");
                    continue;
                }
            };
            let greeting = Some(Box::new(Greeting { peer, proxy }));
            let conn = self.table.insert(Connection::new(transport, admitted, greeting));
            let deadline = now.mono_ms + self.links.connect_timeout_ms.load(Relaxed);
            self.greetings.push(deadline, conn);
            self.read(now, conn);
        }
        self.newcomers = newcomers;
    }

    /// Reads once from each connection that has something, as far as a tick goes.
    pub(super) fn read_ready(&mut self, now: Now) {
        let mut budget = TICK_BYTES;
        for _ in 0..self.ready.len() {
            let Some(conn) = self.ready.pop_front() else { return };
            let Some(connection) = self.table.find(conn) else { continue };
            connection.queued = false;
            budget = budget.saturating_sub(self.read(now, conn));
            if budget == 0 {
                return;
            }
        }
    }

    /// Reads once. Returns how many bytes there were.
    fn read(&mut self, now: Now, conn: ConnId) -> usize {
        let Some(connection) = self.table.find(conn) else { return 0 };
        if connection.paused || connection.closing {
            return 0;
        }
        if let Some(greeting) = &mut connection.greeting
            && let Some(header) = &mut greeting.proxy
        {
            match header.read(connection.transport.socket()) {
                Ok(Header::Waiting) => {
                    self.await_more(now, conn, false);
                    return 0;
                }
                Ok(header) => {
                    greeting.proxy = None;
                    if let Header::From(address) = header {
                        greeting.peer.address = Some(address);
                        if let Err(why) = connection.admitted.name_address(Some(address)) {
                            connection.admitted.refuse(now.mono_ms, why, Some(address));
                            self.drop_connection(now, conn);
                            return 0;
                        }
                    }
                }
                Err(error) => {
                    self.drop_broken(now, conn, &error);
                    return 0;
                }
            }
        }
        let (count, more) = match connection.transport.read(&mut self.buffer) {
            Ok(Reading::Bytes { count, more }) => (count, more),
            Ok(Reading::End) => {
                self.drop_connection(now, conn);
                return 0;
            }
            Err(error) => {
                self.drop_broken(now, conn, &error);
                return 0;
            }
        };
        if connection.transport.wants_write() && !connection.blocked {
            self.await_writable(now, conn);
        }
        self.take_bytes(now, conn, count, more);
        count
    }

    /// Passes on what was read into the buffer.
    fn take_bytes(&mut self, now: Now, conn: ConnId, count: usize, more: bool) {
        let Some(connection) = self.table.find(conn) else { return };
        if connection.greeting.is_some() {
            return self.greet(now, conn, count, more);
        }
        if count > 0 {
            feed((&mut self.engine, &mut self.packets), now, conn, connection, &self.buffer[..count]);
        }
        self.await_more(now, conn, more);
    }

    /// Sees to it that the connection is read again when there is more.
    fn await_more(&mut self, now: Now, conn: ConnId, more: bool) {
        let Some(connection) = self.table.find(conn) else { return };
        if !connection.registered {
            let socket = connection.transport.socket();
            if let Err(error) = self.poll.registry().register(socket, token(conn), Interest::READABLE) {
                return self.drop_broken(now, conn, &error);
            }
            connection.registered = true;
        }
        if (more || connection.hung_up) && !connection.queued {
            connection.queued = true;
            self.ready.push_back(conn);
        }
    }

    /// Finds out which shard a connection belongs to, and brings it there.
    fn greet(&mut self, now: Now, conn: ConnId, count: usize, more: bool) {
        let (shards, index) = (self.links.inboxes.len(), self.index);
        let Some(connection) = self.table.find(conn) else { return };
        let fresh = &self.buffer[..count];
        let packet_bytes = connection.admitted.packet_bytes();
        let mut kept = connection.partial.take();
        let bytes = match &mut kept {
            None => fresh,
            Some(kept) => {
                kept.extend_from_slice(fresh);
                kept
            }
        };
        let home = match peek_client_id(bytes, packet_bytes) {
            Peek::More => Home::Unknown,
            Peek::Local => Home::Here,
            Peek::ClientId(id) => match usize::from(home_shard(id, shards).0) {
                home if home == index => Home::Here,
                home => Home::There(home),
            },
        };
        let bytes = match (home, kept) {
            (Home::Unknown, kept) => {
                connection.partial = kept;
                if connection.partial.is_none() {
                    connection.keep(fresh);
                }
                return self.await_more(now, conn, more);
            }
            (Home::There(home), Some(kept)) => {
                return self.hand_over(now, conn, home, Bytes::from(*kept), more);
            }
            (Home::There(home), None) => {
                let bytes = Bytes::copy_from_slice(fresh);
                return self.hand_over(now, conn, home, bytes, more);
            }
            (Home::Here, kept) => kept,
        };
        let Some(greeting) = connection.greeting.take() else { return };
        let mut peer = greeting.peer;
        peer.certificate_name = connection.transport.certificate_name();
        self.engine.handle(now, Input::Open { conn, peer });
        feed(
            (&mut self.engine, &mut self.packets),
            now,
            conn,
            connection,
            bytes.as_deref().map_or(fresh, |kept| kept),
        );
        self.await_more(now, conn, more);
    }

    /// Sends a connection to the shard of its session.
    fn hand_over(&mut self, now: Now, conn: ConnId, home: usize, bytes: Bytes, more: bool) {
        let Some(mut connection) = self.table.remove(conn) else { return };
        let Some(greeting) = connection.greeting.take() else { return };
        if connection.registered
            && let Err(error) = self.poll.registry().deregister(connection.transport.socket())
        {
            warn!(%error, "a connection cannot change its shard");
            return;
        }
        let mut peer = greeting.peer;
        peer.certificate_name = connection.transport.certificate_name();
        let Connection { transport, admitted, hung_up, .. } = connection;
        debug!(shard = self.index, home, slot = conn.slot, at_ms = now.mono_ms, "connection handed over");
        let arrival = Arrival { transport, peer, admitted, bytes, more: more || hung_up };
        self.outboxes[home].push(Letter::Arrival(Box::new(arrival)));
    }

    /// Takes in a connection that another shard greeted.
    pub(super) fn welcome(&mut self, now: Now, arrival: Arrival) {
        let Arrival { transport, peer, admitted, bytes, more } = arrival;
        if self.acceptor.is_closed() {
            return;
        }
        let conn = self.table.insert(Connection::new(transport, admitted, None));
        self.engine.handle(now, Input::Open { conn, peer });
        if let Some(connection) = self.table.find(conn) {
            feed((&mut self.engine, &mut self.packets), now, conn, connection, &bytes);
            if connection.transport.wants_write() {
                self.await_writable(now, conn);
            }
        }
        self.await_more(now, conn, more);
    }

    /// Offers again what was left when the engine stopped reading, and goes on reading.
    pub(super) fn resume(&mut self, now: Now, conn: ConnId) {
        let Some(connection) = self.table.find(conn) else { return };
        if !std::mem::take(&mut connection.paused) {
            return;
        }
        feed((&mut self.engine, &mut self.packets), now, conn, connection, &[]);
        self.fed_late = true;
        self.await_more(now, conn, true);
    }

    /// Closes connections whose client nobody knows yet.
    pub(super) fn drop_greetings(&mut self, now: Now) {
        for conn in self.table.ids() {
            if self.table.find(conn).is_some_and(|connection| connection.greeting.is_some()) {
                self.drop_connection(now, conn);
            }
        }
    }

    /// Closes a connection at once, and says why.
    pub(super) fn drop_broken(&mut self, now: Now, conn: ConnId, error: &io::Error) {
        if let Some(connection) = self.table.find(conn) {
            let listener = connection.admitted.listener_name();
            let address = connection.admitted.address().map(tracing::field::display);
            // A peer that vanishes is everyday life; one that breaks a protocol is not.
            if error.kind() == io::ErrorKind::InvalidData {
                warn!(%error, listener, address, "connection dropped");
                connection.admitted.count_broken();
            } else {
                debug!(%error, listener, address, "connection dropped");
            }
        }
        self.drop_connection(now, conn);
    }

    /// Closes a connection at once.
    pub(super) fn drop_connection(&mut self, now: Now, conn: ConnId) {
        let Some(connection) = self.table.remove(conn) else { return };
        self.packets.forget(conn);
        debug!(
            listener = connection.admitted.listener_name(),
            address = connection.admitted.address().map(tracing::field::display),
            "connection closed"
        );
        if connection.greeting.is_none() {
            self.engine.handle(now, Input::Closed { conn });
            self.fed_late = true;
        }
    }
}

/// Offers bytes to the engine, after what was left before, and keeps what is left now.
fn feed(
    (engine, packets): (&mut katydid_engine::Engine, &mut PacketLog),
    now: Now,
    conn: ConnId,
    connection: &mut Connection,
    fresh: &[u8],
) {
    packets.received(conn, &connection.admitted, fresh);
    match connection.partial.take() {
        None if fresh.is_empty() => {}
        None => {
            let used = engine.receive(now, conn, fresh);
            connection.keep(fresh.get(used..).unwrap_or_default());
        }
        Some(mut kept) => {
            kept.extend_from_slice(fresh);
            let used = engine.receive(now, conn, &kept);
            if used < kept.len() {
                kept.drain(..used);
                if kept.capacity() > 4 * kept.len().max(1024) {
                    kept.shrink_to_fit();
                }
                connection.partial = Some(kept);
            }
        }
    }
}
