//! The HTTP request that becomes a WebSocket, and its answer.

use tungstenite::{
    Error,
    handshake::{
        machine::TryParse,
        server::{Request, create_response, write_response},
    },
    http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
};

/// The longest head of a request.
const HEAD_BYTES: usize = 8192;
/// The subprotocol that a client must offer and that is chosen [MQTT-6.0.0-3, MQTT-6.0.0-4].
const SUBPROTOCOL: &str = "mqtt";

/// A request that is granted.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// How long the request was.
    pub(super) head_bytes: usize,
    /// What to say.
    pub(super) response: Vec<u8>,
}

/// A request that is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What to say before the connection is closed.
    pub(super) response: Vec<u8>,
    /// For the log.
    pub(super) why: String,
}

/// Answers the request that `head` begins with; `None` while it is not complete.
pub(super) fn answer(head: &[u8], path: &str) -> Result<Option<Upgrade>, Refusal> {
    let (head_bytes, request) = match Request::try_parse(head) {
        Ok(Some(complete)) => complete,
        Ok(None) if head.len() < HEAD_BYTES => return Ok(None),
        Ok(None) => return Err(refusal("431 Request Header Fields Too Large", "its head is too long")),
        Err(error) => return Err(refusal("400 Bad Request", error)),
    };
    if head_bytes > HEAD_BYTES {
        return Err(refusal("431 Request Header Fields Too Large", "its head is too long"));
    }
    if request.uri().path() != path {
        return Err(refusal("404 Not Found", "it asks for another path"));
    }
    let offers = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let offers = offers.iter().filter_map(|offer| offer.to_str().ok()).flat_map(|offer| offer.split(','));
    if !offers.map(str::trim).any(|offer| offer == SUBPROTOCOL) {
        return Err(refusal("400 Bad Request", "it does not offer the subprotocol mqtt"));
    }
    let response = create_response(&request).and_then(|mut response| {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        let mut bytes = Vec::new();
        write_response(&mut bytes, &response)?;
        Ok(bytes)
    });
    match response {
        Ok(response) => Ok(Some(Upgrade { head_bytes, response })),
        Err(Error::Protocol(why)) => Err(refusal("426 Upgrade Required", why)),
        Err(error) => Err(refusal("400 Bad Request", error)),
    }
}

fn refusal(status: &str, why: impl std::fmt::Display) -> Refusal {
    let response = format!(
        "HTTP/1.1 {status}\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\
         Content-Length: 0\r\n\r\n"
    );
    Refusal { response: response.into_bytes(), why: format!("WebSocket request refused: {why}") }
}
