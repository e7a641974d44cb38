//! The socket of one connection: dialling, TLS, the PROXY header, CONNECT and CONNACK, and packets in and out of buffers.
//!
//! Knows nothing of chat. Invariant: the buffers are bounded: in by the largest packet taken, out by who fills it only
//! while [`OUT_BYTES`] is not reached. Driven by the client's task.

mod dial;
mod proxy;
mod tls;

pub(crate) use dial::{DialError, Dialer, Link};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{Error as WireError, v5::Packet};
use tokio::io::{AsyncRead, AsyncWrite};

/// What the buffer for the socket holds before no more packets are made for it.
pub(crate) const OUT_BYTES: usize = 32 * 1024;

/// Room that is kept for reading while nothing comes.
const READ_BYTES: usize = 2 * 1024;

/// A byte stream to the broker.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Takes the next packet out of what was read; `None` when it is not all there yet.
pub(crate) fn next_packet(buffer: &mut BytesMut, bytes_max: u32) -> Result<Option<Packet>, WireError> {
    // rumqttc's reader takes a DISCONNECT without a body for an error; its two bytes mean a normal one.
    if buffer.starts_with(&[0xE0, 0]) {
        return Err(WireError::PayloadRequired);
    }
    // One with a reason code and nothing else would wait for properties for ever, and what it says be lost.
    if let [0xE0, 1, code, ..] = **buffer {
        let rest = buffer.split_off(3);
        buffer.clear();
        buffer.extend_from_slice(&[0xE0, 2, code, 0]);
        buffer.unsplit(rest);
    }
    match Packet::read(buffer, Some(bytes_max)) {
        Ok(packet) => Ok(Some(packet)),
        Err(WireError::InsufficientBytes(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes room for reading, and gives back what a large packet needed.
pub(crate) fn make_room(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.capacity() > 8 * READ_BYTES {
        *buffer = BytesMut::new();
    }
    if buffer.capacity() - buffer.len() < READ_BYTES / 2 {
        buffer.reserve(READ_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumqttc::v5::mqttbytes::v5::DisconnectReasonCode;

    /// MQTT 5.0, 3.14.2.2.1: "If the Remaining Length is less than 2, a value of 0 is used" for the properties.
    #[test]
    fn a_disconnect_without_properties_says_why() {
        let mut buffer = BytesMut::from(&[0xE0, 1, 0x8E, 0xD0, 0][..]);
        let Ok(Some(Packet::Disconnect(packet))) = next_packet(&mut buffer, 1024) else { panic!("none") };
        assert_eq!(packet.reason_code, DisconnectReasonCode::SessionTakenOver);
        assert!(matches!(next_packet(&mut buffer, 1024), Ok(Some(Packet::PingResp(_)))));
        assert!(matches!(next_packet(&mut BytesMut::from(&[0xE0, 1][..]), 1024), Ok(None)));
    }
}
