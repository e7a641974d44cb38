//! One attempt to connect: the socket, the PROXY header, TLS, CONNECT, and the broker's CONNACK.

use super::{Stream, make_room, next_packet, proxy, tls};
use crate::{Address, Options, Refusal};
use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{ConnAck, Connect, ConnectReturnCode, Login, Packet};
use rustls::pki_types::ServerName;
use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// A connection whose CONNECT was accepted.
pub(crate) struct Link {
    pub(crate) stream: Box<dyn Stream>,
    /// What came after CONNACK in the same read.
    pub(crate) read: BytesMut,
    pub(crate) connack: ConnAck,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) enum DialError {
    /// No connection, or not one that speaks MQTT 5; another attempt may do better.
    Unreachable(String),
    /// The broker refused CONNECT.
    Refused(Box<ConnAck>),
}

/// Where and how to connect, with everything that is read from files.
pub(crate) struct Dialer {
    address: Address,
    tls: Option<(tokio_rustls::TlsConnector, ServerName<'static>)>,
    real_address: Option<SocketAddr>,
    timeout: Duration,
    packet_bytes_max: u32,
}

impl Dialer {
    /// # Errors
    /// [`Refusal::ARGUMENT`].
    pub(crate) fn new(options: &Options) -> Result<Self, Refusal> {
        let tls = match (&options.tls, &options.address) {
            (None, _) => None,
            (Some(_), Address::Unix(_)) => {
                return Err(Refusal::argument("TLS over a Unix socket is not supported"));
            }
            (Some(tls), Address::Tcp { host, .. }) => {
                let name = tls.server_name.as_ref().unwrap_or(host).clone();
                let name = ServerName::try_from(name).map_err(|_| {
                    Refusal::argument("the server's name is none that a certificate can have")
                })?;
                Some((tls::configuration(tls)?.into(), name))
            }
        };
        Ok(Self {
            address: options.address.clone(),
            tls,
            real_address: options.real_address,
            timeout: options.connect_timeout,
            packet_bytes_max: options.packet_bytes_max,
        })
    }

    /// One attempt, within the time limit.
    pub(crate) async fn dial(
        self: Arc<Self>,
        connect: Connect,
        login: Option<Login>,
    ) -> Result<Link, DialError> {
        let started = Instant::now();
        match timeout(self.timeout, self.attempt(connect, login)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(DialError::Unreachable(format!("no answer within {:.0?}", started.elapsed()))),
        }
    }

    async fn attempt(&self, connect: Connect, login: Option<Login>) -> Result<Link, DialError> {
        let failed = |error: io::Error| DialError::Unreachable(error.to_string());
        let mut stream = self.open().await.map_err(failed)?;
        let mut out = BytesMut::new();
        let unfit = |error: &dyn std::fmt::Display| DialError::Unreachable(error.to_string());
        Packet::Connect(connect, None, login).write(&mut out, None).map_err(|error| unfit(&error))?;
        stream.write_all(&out).await.map_err(failed)?;
        // The buffer holds the password.
        out.fill(0);
        stream.flush().await.map_err(failed)?;
        let mut read = BytesMut::new();
        loop {
            match next_packet(&mut read, self.packet_bytes_max).map_err(|error| unfit(&error))? {
                Some(Packet::ConnAck(connack)) if connack.code == ConnectReturnCode::Success => {
                    return Ok(Link { stream, read, connack });
                }
                Some(Packet::ConnAck(connack)) => return Err(DialError::Refused(Box::new(connack))),
                Some(_) => return Err(unfit(&"the broker's first packet is not CONNACK")),
                None => {}
            }
            make_room(&mut read);
            if stream.read_buf(&mut read).await.map_err(failed)? == 0 {
                return Err(unfit(&"closed before CONNACK"));
            }
        }
    }

    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        match &self.address {
            Address::Unix(path) => {
                let mut stream = UnixStream::connect(path).await?;
                if let Some(real) = self.real_address {
                    stream.write_all(&proxy::header(real, None)).await?;
                }
                Ok(Box::new(stream))
            }
            Address::Tcp { host, port } => {
                let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                if let Some(real) = self.real_address {
                    // The header comes before everything, TLS included.
                    stream.write_all(&proxy::header(real, stream.peer_addr().ok())).await?;
                }
                Ok(match &self.tls {
                    None => Box::new(stream),
                    Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
                })
            }
        }
    }
}
