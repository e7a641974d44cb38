//! From the engine to sockets and other threads: carrying out outputs, writing rings, closing.

use katydid_engine::{ConnId, Input, Now, Output, Transmit, Warning};
use mio::Interest;
use std::io::{self, Read};
use tracing::{debug, warn};

use super::{CLOSE_MS, LINGER_MS, LINGERERS, Shard};
use crate::node::{
    Notice, connection::token, inbox::Letter, storage::Commit, storage::Query, verify::Check, verify::Work,
};

impl Shard {
    /// Carries out everything that the engine wants.
    pub(super) fn carry_outputs(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Close { conn, has_last_word } => {
                    if let Some(connection) = self.table.find(conn)
                        && !std::mem::replace(&mut connection.closing, true)
                    {
                        connection.has_last_word = has_last_word;
                        connection.partial = None;
                        self.closing.push(conn);
                    }
                }
                Output::ToShard { shard, message } => {
                    let from = self.id();
                    self.outboxes[usize::from(shard.0)].push(Letter::Shard { from, message });
                }
                Output::Commit { number, ops, urgent } => {
                    self.storage.commit(Commit { shard: Some(self.index), number, ops, urgent });
                }
                Output::Read { ticket, log, query } => {
                    self.storage.read(Query { shard: self.index, ticket, log, query });
                }
                Output::Verify { conn, hash, wants_scram, password } => {
                    let work = Work::Connection { conn, hash, wants_scram };
                    self.verify.check(Check { shard: self.index, work, password });
                }
                Output::VerifyFor { ticket, hash, password } => {
                    let work = Work::Directory(ticket, hash);
                    self.verify.check(Check { shard: self.index, work, password });
                }
                Output::VerifyToken { conn, token } => {
                    let work = Work::Token(conn);
                    self.verify.check(Check { shard: self.index, work, password: token });
                }
                Output::Hash { ticket, wants_scram, password } => {
                    let work = Work::Hash { ticket, wants_scram };
                    self.verify.check(Check { shard: self.index, work, password });
                }
                Output::Search { ticket, quest } => self.search.ask(ticket, quest),
                Output::Operated { ticket, payload } => {
                    self.links.operators.give(ticket, payload);
                }
                Output::Pause { conn } => {
                    self.resumed.retain(|resumed| *resumed != conn);
                    if let Some(connection) = self.table.find(conn) {
                        connection.paused = true;
                    }
                }
                Output::Resume { conn } => self.resumed.push(conn),
                Output::Down => self.links.tell(Notice::Down { shard: self.index }),
            }
        }
        while let Some(Warning { peer, reason, detail }) = self.engine.poll_warning() {
            let address = peer.address.map(tracing::field::display);
            let listener = self.links.listener_names.get(usize::from(peer.listener));
            warn!(listener, address, ?reason, detail, "client misbehaved");
        }
    }

    /// Writes what connections have in their rings, and closes those that are done.
    pub(in crate::node) fn write(&mut self, now: Now) {
        let mut writable = std::mem::take(&mut self.writable);
        for conn in writable.drain(..) {
            self.transmit(now, conn);
        }
        self.writable = writable;
        while let Some(conn) = self.engine.next_dirty() {
            self.transmit(now, conn);
        }
        let mut closing = std::mem::take(&mut self.closing);
        for conn in closing.drain(..) {
            // Finds nothing when it was dirty and has been written and closed above.
            self.transmit(now, conn);
            if self.table.find(conn).is_some() {
                self.closings.push(now.mono_ms + CLOSE_MS, conn);
            }
        }
        self.closing = closing;
    }

    fn transmit(&mut self, now: Now, conn: ConnId) {
        let Some(connection) = self.table.find(conn) else { return };
        if connection.blocked {
            // Its socket takes nothing; the event that it does will come.
            return;
        }
        let transport = &mut connection.transport;
        let outcome = match transport.flush() {
            Ok(true) => self.engine.transmit(conn, |slices| transport.write_vectored(slices)),
            Ok(false) => Transmit::Blocked,
            Err(_) => Transmit::Failed,
        };
        match outcome {
            Transmit::Drained if transport.wants_write() => self.await_writable(now, conn),
            Transmit::Drained if connection.closing => self.finish(now, conn),
            Transmit::Drained => {}
            Transmit::Blocked => self.await_writable(now, conn),
            Transmit::Failed => self.drop_connection(now, conn),
        }
    }

    /// Sees to it that the connection is written to as soon as its socket takes bytes.
    pub(super) fn await_writable(&mut self, now: Now, conn: ConnId) {
        let Some(connection) = self.table.find(conn) else { return };
        connection.blocked = true;
        if connection.told_writable {
            return;
        }
        // Most connections never get here, so that writability is not watched before: it would only wake the shard
        // once for each connection that is opened.
        let (registry, interests) = (self.poll.registry(), Interest::READABLE | Interest::WRITABLE);
        let socket = connection.transport.socket();
        let told = if connection.registered {
            registry.reregister(socket, token(conn), interests)
        } else {
            registry.register(socket, token(conn), interests)
        };
        match told {
            Ok(()) => {
                connection.registered = true;
                connection.told_writable = true;
            }
            Err(error) => self.drop_broken(now, conn, &error),
        }
    }

    /// Closes a connection to which everything is written.
    fn finish(&mut self, now: Now, conn: ConnId) {
        let Some(mut connection) = self.table.remove(conn) else { return };
        debug!(
            listener = connection.admitted.listener_name(),
            address = connection.admitted.address().map(tracing::field::display),
            "connection closed by the broker"
        );
        connection.transport.say_goodbye();
        // Closing a socket that has unread bytes, or gets some, resets it, and the peer would lose our last word.
        let socket = connection.transport.socket();
        let unread = match socket.read(&mut self.buffer) {
            Ok(count) => count > 0,
            Err(error) => error.kind() == io::ErrorKind::Interrupted,
        };
        if (unread || connection.has_last_word) && self.lingerers.len() < LINGERERS && socket.finish().is_ok()
        {
            self.lingerers.push(now.mono_ms + LINGER_MS, connection.transport);
        }
        self.engine.handle(now, Input::Closed { conn });
        self.fed_late = true;
    }
}
