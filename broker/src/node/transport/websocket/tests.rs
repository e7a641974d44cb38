use super::*;
use std::collections::VecDeque;

/// A layer whose other end the test plays.
#[derive(Debug)]
struct Wire {
    incoming: VecDeque<u8>,
    /// Bytes that a read gives at most.
    at_once: usize,
    outgoing: Vec<u8>,
    /// Bytes that it still takes.
    room: usize,
    socket: Socket,
}

impl Layer for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Reading> {
        let count = self.at_once.min(self.incoming.len()).min(buffer.len());
        for (place, byte) in buffer.iter_mut().zip(self.incoming.drain(..count)) {
            *place = byte;
        }
        Ok(Reading::Bytes { count, more: !self.incoming.is_empty() })
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let before = self.outgoing.len();
        for slice in slices {
            let count = slice.len().min(self.room);
            self.outgoing.extend_from_slice(&slice[..count]);
            self.room -= count;
        }
        match self.outgoing.len() - before {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
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
        &mut self.socket
    }
}

fn request(path: &str, protocol: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
    )
    .into_bytes()
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn start(incoming: &[u8], at_once: usize) -> WebSocket<Wire> {
    let socket = Socket::Unix(mio::net::UnixStream::pair().unwrap().0);
    let incoming = incoming.iter().copied().collect();
    let wire = Wire { incoming, at_once, outgoing: Vec::new(), room: usize::MAX, socket };
    WebSocket::new(wire, "/mqtt".into())
}

/// Reads until there is no more or it ends: what came, and how it ended.
fn read_all(websocket: &mut WebSocket<Wire>) -> (Vec<u8>, io::Result<Reading>) {
    let mut all = Vec::new();
    let mut buffer = [0; 300_000];
    loop {
        match websocket.read(&mut buffer) {
            Ok(Reading::Bytes { count, more }) => {
                all.extend_from_slice(&buffer[..count]);
                if !more {
                    return (all, Ok(Reading::Bytes { count, more }));
                }
            }
            end => return (all, end),
        }
    }
}

fn opened(after: &[u8], at_once: usize) -> WebSocket<Wire> {
    let mut incoming = request("/mqtt", "mqtt");
    incoming.extend_from_slice(after);
    start(&incoming, at_once)
}

/// Length of the answer that grants the upgrade.
fn answer_bytes() -> usize {
    let mut websocket = opened(&[], 10_000);
    read_all(&mut websocket).1.unwrap();
    websocket.inner.outgoing.len()
}

#[test]
fn the_upgrade_is_granted_and_the_subprotocol_echoed() {
    // [MQTT-6.0.0-4]; the key and its answer are those of RFC 6455.
    let mut websocket = start(&request("/mqtt?token=1", "chat, mqtt"), 7);
    read_all(&mut websocket).1.unwrap();
    let answer = String::from_utf8(websocket.inner.outgoing).unwrap().to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    assert!(answer.contains("\r\nsec-websocket-protocol: mqtt\r\n"), "{answer}");
    assert!(answer.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{answer}");
}

#[test]
fn requests_that_do_not_fit_are_answered_and_closed() {
    let post = request("/mqtt", "mqtt").replace_first(b"GET", b"POST");
    let long = [b"GET /mqtt HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 9000]].concat();
    let no_key = b"GET /mqtt HTTP/1.1\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n".to_vec();
    for (request, status) in [
        (request("/", "mqtt"), "404"),
        (request("/mqtt", "mqttv3.1"), "400"),
        (post, "400"),
        (long, "431"),
        (no_key, "426"),
        (b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0".to_vec(), "400"),
    ] {
        let mut websocket = start(&request, 1000);
        let (read, end) = read_all(&mut websocket);
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(read.is_empty());
        let answer = String::from_utf8(websocket.inner.outgoing.clone()).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(websocket.read(&mut [0; 10]).unwrap(), Reading::End);
    }
}

trait ReplaceFirst {
    fn replace_first(self, old: &[u8], new: &[u8]) -> Vec<u8>;
}

impl ReplaceFirst for Vec<u8> {
    fn replace_first(self, old: &[u8], new: &[u8]) -> Vec<u8> {
        let rest = self.strip_prefix(old).unwrap();
        [new, rest].concat()
    }
}

#[test]
fn frame_boundaries_do_not_matter() {
    // [MQTT-6.0.0-2]: packets may span frames and frames may hold several packets; pings may come in between.
    let payload: Vec<u8> = (0..70_000_u32).map(|byte| (byte * 7) as u8).collect();
    let frames = [
        frame(0x82, &payload[..5]),
        frame(0x02, &payload[5..300]),
        frame(0x89, b"are you there"),
        frame(0x00, &[]),
        frame(0x80, &payload[300..70_000]),
        frame(0x8a, b"unasked"),
    ]
    .concat();
    for at_once in [1, 2, 13, 1000, 300_000] {
        let mut websocket = opened(&frames, at_once);
        let (read, end) = read_all(&mut websocket);
        assert!(end.is_ok());
        assert_eq!(read, payload, "{at_once} bytes at once");
        let pong = &websocket.inner.outgoing[answer_bytes()..];
        assert_eq!(pong, [&[0x8a, 13], &b"are you there"[..]].concat());
    }
}

#[test]
fn what_breaks_the_protocol_is_closed_with_a_code() {
    let mut unmasked = frame(0x82, b"x");
    unmasked[1] &= 0x7f;
    let mut endless = vec![0x82, 0xff];
    endless.extend_from_slice(&[0xff; 8]);
    endless.extend_from_slice(&[0; 4]);
    for (bytes, code) in [
        (frame(0x81, b"text"), 1003_u16),
        (frame(0xc2, b"reserved"), 1002),
        (frame(0x83, b"unknown"), 1002),
        (frame(0x80, b"continues nothing"), 1002),
        ([frame(0x02, b"a"), frame(0x82, b"b")].concat(), 1002),
        (frame(0x09, b"ping in parts"), 1002),
        (frame(0x89, &[0; 126]), 1002),
        (unmasked, 1002),
        (endless, 1002),
    ] {
        let mut websocket = opened(&bytes, 1);
        let (_, end) = read_all(&mut websocket);
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::InvalidData, "{bytes:?}");
        let close = &websocket.inner.outgoing[answer_bytes()..];
        assert_eq!(close, [&[0x88, 2], &code.to_be_bytes()[..]].concat(), "{bytes:?}");
    }
}

#[test]
fn a_close_frame_is_answered_after_what_came_before() {
    let bytes = [frame(0x82, b"last words"), frame(0x88, &[0x03, 0xe9])].concat();
    let mut websocket = opened(&bytes, 10_000);
    let (read, end) = read_all(&mut websocket);
    assert_eq!(read, b"last words");
    assert_eq!(end.unwrap(), Reading::End);
    assert_eq!(websocket.inner.outgoing[answer_bytes()..], [0x88, 2, 0x03, 0xe9]);
}

#[test]
fn a_length_that_lies_costs_nothing() {
    let mut bytes = vec![0x82, 0xff, 0x7f];
    bytes.extend_from_slice(&[0xff; 7]);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(b"only this");
    let mut websocket = opened(&bytes, 10_000);
    let (read, end) = read_all(&mut websocket);
    assert!(end.is_ok());
    assert_eq!(read, b"only this");
}

/// The payloads of the binary frames that were written, joined; every byte must belong to a frame.
fn written(mut bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (length, rest) = match second {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            short => (usize::from(*short), rest),
        };
        if *first == 0x82 {
            all.extend_from_slice(&rest[..length]);
        } else {
            assert_eq!(*first, 0x8a, "a pong is all that comes in between");
        }
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty());
    all
}

#[test]
fn a_frame_that_was_cut_is_finished_before_anything_else() {
    let payload: Vec<u8> = (0..100_000_u32).map(|byte| (byte * 11) as u8).collect();
    for room in [1, 2, 3, 9, 11, 500, 70_000] {
        let mut websocket = opened(&[], 10_000);
        read_all(&mut websocket).1.unwrap();
        websocket.inner.outgoing.clear();
        let mut sent = 0;
        let mut rounds = 0;
        while sent < payload.len() || websocket.wants_write() {
            websocket.inner.room = room;
            if rounds == 1 {
                websocket.inner.incoming.extend(frame(0x89, b"hurry"));
                read_all(&mut websocket).1.unwrap();
            }
            rounds += 1;
            let rest = &payload[sent..];
            let (one, other) = rest.split_at(rest.len().min(33));
            match websocket
                .write_vectored(&[IoSlice::new(one), IoSlice::new(&other[..other.len().min(50_000)])])
            {
                Ok(count) => sent += count,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert!(rounds > 1);
        assert_eq!(written(&websocket.inner.outgoing), payload, "{room} bytes at a time");
    }
}

#[test]
fn many_slices_become_one_frame() {
    let mut websocket = opened(&[], 10_000);
    read_all(&mut websocket).1.unwrap();
    websocket.inner.outgoing.clear();
    let parts: Vec<[u8; 3]> = (0..200).map(|part| [part; 3]).collect();
    let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let count = websocket.write_vectored(&slices).unwrap();
    assert_eq!(count, 63 * 3);
    assert_eq!(written(&websocket.inner.outgoing), parts[..63].concat());
}
