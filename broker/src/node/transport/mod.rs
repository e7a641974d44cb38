//! What lies between a socket and MQTT: nothing, TLS, WebSocket, or both.
//!
//! A transport is driven by readiness: handshakes happen inside [`Layer::read`] and [`Layer::flush`], and no call ever
//! blocks. It knows nothing of MQTT packets. Invariant: after `read` said that there is no more, everything that the
//! socket had is used, so that its next event tells of new bytes.

mod certificate;
mod plain;
pub(super) mod proxy;
pub(super) mod tls;
mod websocket;

pub(super) use plain::Socket;

use std::{
    fmt::Debug,
    io::{self, IoSlice},
    sync::Arc,
};

use super::listeners::ListenerState;
use crate::config::TransportKind;
use tls::Tls;
use websocket::WebSocket;

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
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

/// One protocol over another, down to the socket.
pub(super) trait Layer: Debug + Send {
    /// Reads what is there, up to the length of `buffer`.
    ///
    /// # Errors
    /// The socket failed, or (`InvalidData`) the peer broke the protocol of a layer: close the connection.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Reading>;

    /// Writes as much of `slices` as fits, as `write_vectored` of a non-blocking socket does. What was not taken is
    /// offered again, in the same order.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits; anything else means that the connection is broken.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Moves what the layers hold to the socket. Returns whether nothing is left.
    ///
    /// # Errors
    /// The socket failed: close the connection.
    fn flush(&mut self) -> io::Result<bool>;

    /// Whether [`Layer::flush`] has something to do.
    fn wants_write(&self) -> bool;

    /// Tells the layer's peer that nothing follows, as far as the socket takes it.
    fn say_goodbye(&mut self);

    /// The name in the client's certificate, where it has sent one and the listener goes by it.
    fn certificate_name(&self) -> Option<Arc<str>>;

    /// The socket beneath.
    fn socket(&mut self) -> &mut Socket;
}

/// A connection's lower layers. The usual one is inline, so that it costs no allocation.
#[derive(Debug)]
pub(super) enum Transport {
    /// MQTT directly on the socket.
    Plain(Socket),
    /// Anything else.
    Layered(Box<dyn Layer>),
}

impl Transport {
    /// The layers that `listener` speaks, over `socket`.
    ///
    /// # Errors
    /// TLS could not be set up.
    pub(super) fn new(socket: Socket, listener: &ListenerState) -> io::Result<Self> {
        let tls = match &listener.tls {
            Some(tls) => Some(tls.begin()?),
            None => None,
        };
        Ok(match (&listener.transport, tls) {
            (TransportKind::Plain, None) => Self::Plain(socket),
            (TransportKind::Plain, Some(begun)) => Self::Layered(Box::new(Tls::new(socket, begun))),
            (TransportKind::WebSocket { path }, None) => {
                Self::Layered(Box::new(WebSocket::new(socket, path.as_str().into())))
            }
            (TransportKind::WebSocket { path }, Some(begun)) => {
                Self::Layered(Box::new(WebSocket::new(Tls::new(socket, begun), path.as_str().into())))
            }
        })
    }

    /// As [`Layer::read`].
    ///
    /// # Errors
    /// As [`Layer::read`].
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Reading> {
        match self {
            Self::Plain(socket) => Layer::read(socket, buffer),
            Self::Layered(layer) => layer.read(buffer),
        }
    }

    /// As [`Layer::write_vectored`].
    ///
    /// # Errors
    /// As [`Layer::write_vectored`].
    pub(super) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => Layer::write_vectored(socket, slices),
            Self::Layered(layer) => layer.write_vectored(slices),
        }
    }

    /// As [`Layer::flush`].
    ///
    /// # Errors
    /// As [`Layer::flush`].
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Layered(layer) => layer.flush(),
        }
    }

    /// As [`Layer::wants_write`].
    pub(super) fn wants_write(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Layered(layer) => layer.wants_write(),
        }
    }

    /// As [`Layer::say_goodbye`].
    pub(super) fn say_goodbye(&mut self) {
        match self {
            Self::Plain(_) => {}
            Self::Layered(layer) => layer.say_goodbye(),
        }
    }

    /// As [`Layer::certificate_name`].
    pub(super) fn certificate_name(&self) -> Option<Arc<str>> {
        match self {
            Self::Plain(_) => None,
            Self::Layered(layer) => layer.certificate_name(),
        }
    }

    /// The socket beneath.
    pub(super) fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Layered(layer) => layer.socket(),
        }
    }
}

/// The peer broke a layer's protocol.
fn broken(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
