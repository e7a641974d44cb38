//! Non-blocking stream sockets, whatever their family.

use super::{Layer, Reading};
use mio::{
    Interest, Registry, Token,
    event::Source,
    net::{TcpStream, UnixStream},
};
use std::{
    io::{self, IoSlice, Read, Write},
    net::Shutdown,
    sync::Arc,
};

/// A connected socket.
#[derive(Debug)]
pub(in crate::node) enum Socket {
    /// TCP over IPv4 or IPv6.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

impl Socket {
    /// Says the last word: the peer reads to the end.
    pub(in crate::node) fn finish(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(slices),
            Self::Unix(stream) => stream.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Layer for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Reading> {
        loop {
            return match Read::read(self, buffer) {
                Ok(0) => Ok(Reading::End),
                Ok(count) => Ok(Reading::Bytes { count, more: count == buffer.len() }),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => Ok(Reading::Bytes { count: 0, more: false }),
                    io::ErrorKind::Interrupted => continue,
                    _ => Err(error),
                },
            };
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            // The system has less to do for one piece.
            [bytes] => self.write(bytes),
            _ => Write::write_vectored(self, slices),
        }
    }

    fn flush(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn wants_write(&self) -> bool {
        false
    }

    fn say_goodbye(&mut self) {}

    fn certificate_name(&self) -> Option<Arc<str>> {
        None
    }

    fn socket(&mut self) -> &mut Socket {
        self
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interests),
            Self::Unix(stream) => stream.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.reregister(registry, token, interests),
            Self::Unix(stream) => stream.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(registry),
            Self::Unix(stream) => stream.deregister(registry),
        }
    }
}
