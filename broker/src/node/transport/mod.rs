//! What lies between a socket and MQTT: nothing, TLS, WebSocket, or both.
//!
//! A transport is driven by readiness: handshakes happen inside [`Transport::read`] and [`Transport::flush`], and no
//! call ever blocks. It knows nothing of MQTT packets. Invariant: after `read` said that there is no more, everything
//! that the socket had is used, so that its next event tells of new bytes.

mod plain;
pub(super) mod proxy;

pub(super) use plain::Socket;

use std::{
    io::{self, IoSlice, Read, Write},
    sync::Arc,
};

use super::listeners::ListenerState;

/// A connection's lower layers.
#[derive(Debug)]
pub(super) enum Transport {
    /// MQTT directly on the socket.
    Plain(Socket),
}

/// What a read gave.
#[derive(Debug)]
pub(super) enum Reading {
    /// So many bytes; with `more`, there may be further ones that no event will tell of.
    Bytes {
        /// How many; none while a handshake goes on.
        count: usize,
        /// Whether to read again without waiting.
        more: bool,
    },
    /// The peer has said its last.
    End,
}

impl Transport {
    /// The layers that `listener` speaks, over `socket`.
    ///
    /// # Errors
    /// A layer could not be set up.
    pub(super) fn new(socket: Socket, _listener: &ListenerState) -> io::Result<Self> {
        Ok(Self::Plain(socket))
    }

    /// Reads what is there, up to the length of `buffer`.
    ///
    /// # Errors
    /// The socket failed, or the peer broke the protocol of a layer: close the connection.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Reading> {
        match self {
            Self::Plain(socket) => loop {
                return match socket.read(buffer) {
                    Ok(0) => Ok(Reading::End),
                    Ok(count) => Ok(Reading::Bytes { count, more: count == buffer.len() }),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        Ok(Reading::Bytes { count: 0, more: false })
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
            },
        }
    }

    /// Writes as much of `slices` as fits, as `write_vectored` of a non-blocking socket does.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits; anything else means that the connection is broken.
    pub(super) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write_vectored(slices),
        }
    }

    /// Moves what the layers hold to the socket. Returns whether nothing is left.
    ///
    /// # Errors
    /// The socket failed: close the connection.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
        }
    }

    /// Whether [`Transport::flush`] has something to do.
    pub(super) fn wants_write(&self) -> bool {
        match self {
            Self::Plain(_) => false,
        }
    }

    /// Tells the layers' peers that nothing follows, as far as the socket takes it.
    pub(super) fn say_goodbye(&mut self) {
        match self {
            Self::Plain(_) => {}
        }
    }

    /// The name in the client's certificate, where it has sent one.
    pub(super) fn certificate_name(&self) -> Option<Arc<str>> {
        match self {
            Self::Plain(_) => None,
        }
    }

    /// The socket beneath.
    pub(super) fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
        }
    }
}
