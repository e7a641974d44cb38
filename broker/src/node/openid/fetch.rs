//! Getting the provider's keys: from a file, or by one request over HTTP/1.1, bounded in time and size.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, Uri, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::{fs, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::token::Keys;
use crate::config::KeySource;

/// The longest set of keys in bytes.
const LONGEST: usize = 256 * 1024;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(5);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Gets the keys.
///
/// # Errors
/// They are not there, or are none.
pub(super) async fn keys(source: &KeySource) -> io::Result<Keys> {
    let text = match source {
        KeySource::File(path) => fs::read(path)?,
        KeySource::Url(url) => match timeout(PATIENCE, exchange(url)).await {
            Ok(outcome) => outcome?.to_vec(),
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        },
    };
    let keys = Keys::parse(&text).ok_or_else(|| io::Error::other("not a set of keys"))?;
    if keys.len() == 0 {
        return Err(io::Error::other("no key of a kind that is known: RSA, P-256, Ed25519"));
    }
    Ok(keys)
}

async fn exchange(url: &str) -> io::Result<Bytes> {
    let uri: Uri = url.parse().map_err(io::Error::other)?;
    let host = uri.host().ok_or_else(|| io::Error::other("no host"))?.to_owned();
    let stream = connect(&uri, &host).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Ends with the sender.
    tokio::spawn(connection);
    let authority = uri.authority().map_or(host.as_str(), |authority| authority.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(io::Error::other)?;
    if status.is_success() { Ok(body.to_bytes()) } else { Err(io::Error::other(format!("status {status}"))) }
}

async fn connect(uri: &Uri, host: &str) -> io::Result<Box<dyn Stream>> {
    let is_secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((name, port)).await?;
    if !is_secure {
        return Ok(Box::new(stream));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
}
