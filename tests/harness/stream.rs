//! What a client speaks MQTT over: TCP, a Unix socket, TLS, WebSocket.
//!
//! Owns what lies between a test and the socket, with libraries that the broker's side does not share its code with.
//! Knows nothing of MQTT. Invariant: a read ends with bytes, the end, an error, or after the time that was set.
//! Driven by [`super::RawClient`].

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::http::HeaderValue;
use tungstenite::{Bytes, Error, Message, WebSocket};

/// A byte stream to the broker.
pub(crate) trait Stream: Read + Write + fmt::Debug {
    /// How long a read waits.
    fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()>;
    /// How long a write waits.
    fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()>;
    /// Sends small writes at once.
    fn hurry(&self) {}
    /// Closes the socket beneath, without a word.
    fn cut(&self);
}

impl Stream for TcpStream {
    fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        TcpStream::set_read_timeout(self, time)
    }

    fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        TcpStream::set_write_timeout(self, time)
    }

    fn hurry(&self) {
        self.set_nodelay(true).expect("a socket option");
    }

    fn cut(&self) {
        // It may have been closed from the other side.
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl Stream for UnixStream {
    fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        UnixStream::set_read_timeout(self, time)
    }

    fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        UnixStream::set_write_timeout(self, time)
    }

    fn cut(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

/// TLS over a socket.
#[derive(Debug)]
pub(crate) struct Tls(pub(crate) StreamOwned<ClientConnection, TcpStream>);

impl Tls {
    /// Greets the broker, which has to be `localhost`.
    ///
    /// # Errors
    /// One side refuses the other. Whether the broker takes the client's certificate shows with the first read.
    pub(crate) fn open(socket: TcpStream, config: &Arc<ClientConfig>) -> io::Result<Tls> {
        let name = ServerName::try_from("localhost").expect("a name");
        let session = ClientConnection::new(Arc::clone(config), name).expect("a client");
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Tls(stream))
    }
}

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for Tls {
    fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        self.0.sock.set_read_timeout(time)
    }

    fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        self.0.sock.set_write_timeout(time)
    }

    fn hurry(&self) {
        self.0.sock.hurry();
    }

    fn cut(&self) {
        self.0.sock.cut();
    }
}

/// WebSocket over another stream; each write is a binary message.
#[derive(Debug)]
pub(crate) struct Web<S: Stream> {
    pub(crate) socket: WebSocket<S>,
    rest: Bytes,
}

impl<S: Stream> Web<S> {
    /// Asks for this path and offers these subprotocols.
    ///
    /// # Errors
    /// What the broker answers instead of an upgrade, or that it closes.
    pub(crate) fn open(stream: S, path: &str, offered: Option<&str>) -> Result<Web<S>, Error> {
        let mut request = format!("ws://localhost{path}").into_client_request().expect("a request");
        if let Some(offered) = offered {
            let offered = HeaderValue::from_str(offered).expect("a header");
            request.headers_mut().insert("Sec-WebSocket-Protocol", offered);
        }
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket option");
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Web { socket, rest: Bytes::new() }),
            Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
            Err(tungstenite::HandshakeError::Interrupted(_)) => panic!("no answer to the upgrade in time"),
        }
    }
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

impl<S: Stream> Read for Web<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.socket.read() {
                Ok(Message::Binary(bytes)) => self.rest = bytes,
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed) => return Ok(0),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(other) => panic!("[MQTT-6.0.0-1] expected a binary message, got {other:?}"),
                Err(error) => return Err(io_error(error)),
            }
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

impl<S: Stream> Write for Web<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send(Message::Binary(Bytes::copy_from_slice(bytes))).map_err(io_error)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush().map_err(io_error)
    }
}

impl<S: Stream> Stream for Web<S> {
    fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        self.socket.get_ref().set_read_timeout(time)
    }

    fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        self.socket.get_ref().set_write_timeout(time)
    }

    fn hurry(&self) {
        self.socket.get_ref().hurry();
    }

    fn cut(&self) {
        self.socket.get_ref().cut();
    }
}
