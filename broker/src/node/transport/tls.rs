//! TLS with rustls, over a non-blocking socket.
//!
//! The handshake is driven by reading. Certificates are those that the listener had when the connection was accepted;
//! a reload changes them for the next one. Invariant: plain text is taken from above only as far as the record layer
//! has handed its last records to the socket, so that a slow peer holds one buffer's worth and no more.

use super::{Layer, Reading, Socket, broken, certificate::common_name};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use std::{
    fmt,
    io::{self, IoSlice, Read, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use crate::config::Tls as Files;

/// The TLS side of a listener, whose certificates can be read again.
#[derive(Debug)]
pub(in crate::node) struct TlsState {
    current: Mutex<Current>,
}

#[derive(Debug, Clone)]
struct Current {
    config: Arc<ServerConfig>,
    identity_as_username: bool,
}

/// What a connection begins with.
#[derive(Debug)]
pub(in crate::node) struct Begun {
    session: ServerConnection,
    identity_as_username: bool,
}

/// Files that TLS cannot be set up with.
#[derive(Debug)]
pub(crate) struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

impl TlsState {
    /// Reads the files.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub(in crate::node) fn load(files: &Files) -> Result<Self, TlsError> {
        Ok(Self { current: Mutex::new(Current::load(files)?) })
    }

    /// Reads the files again, for connections from now on.
    ///
    /// # Errors
    /// As [`TlsState::load`]; the old certificates stay.
    pub(in crate::node) fn reload(&self, files: &Files) -> Result<(), TlsError> {
        let fresh = Current::load(files)?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// A connection's beginning.
    ///
    /// # Errors
    /// The configuration cannot serve.
    pub(in crate::node) fn begin(&self) -> io::Result<Begun> {
        let Current { config, identity_as_username } =
            self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let session = ServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Begun { session, identity_as_username })
    }
}

impl Current {
    fn load(files: &Files) -> Result<Self, TlsError> {
        let chain = certificates(&files.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unusable(&files.key, error))?;
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError(error.to_string()))?
            .with_client_cert_verifier(verifier(files, provider)?)
            .with_single_cert(chain, key)
            .map_err(|error| unusable(&files.certificate, error))?;
        let identity_as_username = files.identity_as_username;
        Ok(Self { config: Arc::new(config), identity_as_username })
    }
}

fn verifier(
    files: &Files,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(path) = &files.client_ca else { return Ok(WebPkiClientVerifier::no_client_auth()) };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| unusable(path, error))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = if files.require_certificate { verifier } else { verifier.allow_unauthenticated() };
    verifier.build().map_err(|error| unusable(path, error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<_, _>>);
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(unusable(path, "there is no certificate in it")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(path, error)),
    }
}

fn unusable(path: &Path, why: impl fmt::Display) -> TlsError {
    TlsError(format!("{} cannot be used: {why}", path.display()))
}

/// TLS over a socket.
#[derive(Debug)]
pub(in crate::node) struct Tls {
    socket: Socket,
    session: ServerConnection,
    identity_as_username: bool,
}

impl Tls {
    /// The server's side of a connection that has not said anything yet.
    pub(super) fn new(socket: Socket, begun: Begun) -> Self {
        let Begun { session, identity_as_username } = begun;
        Self { socket, session, identity_as_username }
    }

    /// Takes records from the socket. Returns whether anything came.
    fn receive(&mut self) -> io::Result<bool> {
        match self.session.read_tls(&mut self.socket) {
            // At the end, what was read before is still processed; the reader then tells of the end.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        }
        let processed = self.session.process_new_packets();
        // The answer of the handshake, or the alert that tells the peer what is wrong.
        let flushed = self.flush();
        processed.map_err(broken)?;
        flushed.map(|_| true)
    }
}

impl Layer for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Reading> {
        let mut count = 0;
        while count < buffer.len() {
            match self.session.reader().read(&mut buffer[count..]) {
                Ok(0) if count == 0 => return Ok(Reading::End),
                Ok(0) => return Ok(Reading::Bytes { count, more: true }),
                Ok(read) => count += read,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        if !self.receive()? {
                            return Ok(Reading::Bytes { count, more: false });
                        }
                    }
                    // The peer left without a word of goodbye. MQTT has its own, so nothing can be cut off unseen.
                    io::ErrorKind::UnexpectedEof if count == 0 => return Ok(Reading::End),
                    io::ErrorKind::UnexpectedEof => return Ok(Reading::Bytes { count, more: true }),
                    _ => return Err(error),
                },
            }
        }
        Ok(Reading::Bytes { count, more: true })
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.flush()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.session.writer().write_vectored(slices)?;
        self.flush()?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn wants_write(&self) -> bool {
        self.session.wants_write()
    }

    fn say_goodbye(&mut self) {
        self.session.send_close_notify();
        // The socket is closed next, so an error changes nothing.
        let _ = self.flush();
    }

    fn certificate_name(&self) -> Option<Arc<str>> {
        if !self.identity_as_username {
            return None;
        }
        common_name(self.session.peer_certificates()?.first()?).map(Into::into)
    }

    fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }
}

#[cfg(test)]
mod tests;
