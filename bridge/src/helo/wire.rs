//! Bytes of the `HELO` protocol to lines, and the one line of a file port that no memory holds.
//!
//! A line ends with LF or CRLF. [`Wire`] holds at most [`LONGEST_LINE`] and a piece; [`FileHead`] at most [`LONGEST_HEAD`] and
//! a piece; [`FileBody`] holds four characters, however long the file.

use base64::{Engine, engine::general_purpose::STANDARD};

/// Longest line in bytes, its end included. The document names none; a client's key and message are far below.
pub const LONGEST_LINE: usize = 64 * 1024;

/// Longest beginning of a line on a file port, before the file itself.
pub const LONGEST_HEAD: usize = 4096;

/// A cut stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A line without its end.
    Line(Vec<u8>),
    /// A line that is too long: the stream is over.
    TooLong,
}

/// The receiving side of a connection.
#[derive(Debug, Default)]
pub struct Wire {
    bytes: Vec<u8>,
    is_over: bool,
}

impl Wire {
    /// Takes a piece of the stream, cut anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.is_over {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The next line, if it is there as a whole.
    pub fn next_line(&mut self) -> Option<Frame> {
        if self.is_over {
            return None;
        }
        let Some(end) = self.bytes.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n') else {
            if self.bytes.len() < LONGEST_LINE {
                return None;
            }
            self.is_over = true;
            self.bytes = Vec::new();
            return Some(Frame::TooLong);
        };
        let mut line: Vec<u8> = self.bytes.drain(..=end).collect();
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(Frame::Line(line))
    }
}

/// How somebody begins on a file port.
#[derive(Debug, PartialEq, Eq)]
pub enum FileHead {
    /// `OPEN_PORT_TO_RECEIVE name`, as a whole line.
    Receiver {
        /// The name.
        name: String,
        /// What came behind the line.
        rest: Vec<u8>,
    },
    /// `FILE <sender @receiver size path checksum `, and then the file.
    Sender {
        /// Without `<`.
        sender: String,
        /// Without `@`.
        receiver: String,
        /// `size path checksum`.
        meta: String,
        /// What came of the file so far.
        rest: Vec<u8>,
    },
    /// Neither.
    Wrong,
}

impl FileHead {
    /// How the bytes begin, once enough of them are there.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"FILE ") {
            return Self::read_sender(bytes);
        }
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            let begin: &[u8] = b"OPEN_PORT_TO_RECEIVE ";
            let shared = begin.len().min(bytes.len());
            let may_be = bytes[..shared] == begin[..shared] || b"FILE ".starts_with(bytes);
            return (!may_be || bytes.len() > LONGEST_HEAD).then_some(Self::Wrong);
        };
        let line = std::str::from_utf8(&bytes[..end]).ok();
        let name = line.and_then(|line| line.strip_prefix("OPEN_PORT_TO_RECEIVE ")).map(str::trim);
        let rest = bytes[end + 1..].to_vec();
        Some(name.map_or(Self::Wrong, |name| Self::Receiver { name: name.into(), rest }))
    }

    fn read_sender(bytes: &[u8]) -> Option<Self> {
        let mut spaces = bytes.iter().enumerate().filter(|(_, byte)| **byte == b' ').map(|(at, _)| at);
        let Some(end) = spaces.nth(5) else {
            let is_wrong = bytes.len() > LONGEST_HEAD || bytes.contains(&b'\n');
            return is_wrong.then_some(Self::Wrong);
        };
        let words = std::str::from_utf8(&bytes[..end]).unwrap_or_default();
        let mut words = words.splitn(4, ' ').skip(1);
        let sender = words.next().and_then(|word| word.strip_prefix('<'));
        let receiver = words.next().and_then(|word| word.strip_prefix('@'));
        let (Some(sender), Some(receiver), Some(meta)) = (sender, receiver, words.next()) else {
            return Some(Self::Wrong);
        };
        if end > LONGEST_HEAD || meta.contains('\n') {
            return Some(Self::Wrong);
        }
        let rest = bytes[end + 1..].to_vec();
        Some(Self::Sender { sender: sender.into(), receiver: receiver.into(), meta: meta.into(), rest })
    }
}

/// What a piece of a file line came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// These bytes may go on to the receiver; more is to come.
    More(Vec<u8>),
    /// These end the line.
    Whole(Vec<u8>),
    /// It is longer than announced, or no base64.
    Wrong {
        /// Whether the line has ended.
        is_ended: bool,
    },
}

/// A file as base64 that flows by: counted, and never held. Whether its sum is the one that was announced is for the receiver
/// to say, as the document has it.
#[derive(Debug)]
pub struct FileBody {
    size: u64,
    read: u64,
    quad: Vec<u8>,
    is_padded: bool,
}

impl FileBody {
    /// A file that was announced with a size in bytes.
    pub fn new(size: u64) -> Self {
        Self { size, read: 0, quad: Vec::with_capacity(4), is_padded: false }
    }

    /// Takes the next piece of the line.
    pub fn take(&mut self, bytes: &[u8]) -> Body {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let line = &bytes[..end.unwrap_or(bytes.len())];
        // The end of a line on Windows; anywhere else it is no base64.
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        if !text.iter().all(|byte| self.is_next_good(*byte)) {
            return Body::Wrong { is_ended: end.is_some() };
        }
        match end {
            None => Body::More(text.to_vec()),
            // A single character is no byte yet, and the client's decoder dies of it.
            Some(_) if self.quad.is_empty() => Body::Whole([text, b"\n"].concat()),
            Some(_) => Body::Wrong { is_ended: true },
        }
    }

    /// Counts a character, if it may come next.
    fn is_next_good(&mut self, character: u8) -> bool {
        if self.is_padded && self.quad.is_empty() {
            return false;
        }
        self.is_padded |= character == b'=';
        self.quad.push(character);
        if self.quad.len() < 4 {
            return true;
        }
        let Ok(count) = STANDARD.decode_slice(&self.quad, &mut [0; 3]) else { return false };
        self.quad.clear();
        self.read += count as u64;
        self.read <= self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(wire: &mut Wire, bytes: &[u8]) -> Vec<Frame> {
        wire.push(bytes);
        std::iter::from_fn(|| wire.next_line()).collect()
    }

    #[test]
    fn lines_end_with_lf_or_crlf_wherever_the_stream_is_cut() {
        let mut wire = Wire::default();
        let line = |text: &str| Frame::Line(text.into());
        assert_eq!(all(&mut wire, b"PONG\r\nQUIT\n\nBC"), [line("PONG"), line("QUIT"), line("")]);
        assert_eq!(all(&mut wire, b"ST x\r"), []);
        assert_eq!(all(&mut wire, b"\n"), [line("BCST x")]);
    }

    #[test]
    fn a_line_that_is_too_long_ends_the_stream() {
        let mut wire = Wire::default();
        let longest = vec![b'x'; LONGEST_LINE - 1];
        assert_eq!(all(&mut wire, &longest), []);
        assert_eq!(all(&mut wire, b"\n"), [Frame::Line(longest.clone())]);
        assert_eq!(all(&mut wire, &longest), []);
        assert_eq!(all(&mut wire, b"xy\nQUIT\n"), [Frame::TooLong]);
        assert_eq!(all(&mut wire, b"QUIT\n"), []);
    }

    #[test]
    fn a_head_is_read_as_soon_as_it_is_there() {
        let sender = |rest: &[u8]| FileHead::Sender {
            sender: "ann".into(),
            receiver: "bob".into(),
            meta: "3 a.txt -7".into(),
            rest: rest.into(),
        };
        assert_eq!(FileHead::read(b"FILE <ann @bob 3 a.txt -7 YWJ"), Some(sender(b"YWJ")));
        assert_eq!(FileHead::read(b"FILE <ann @bob 3 a.txt -7 "), Some(sender(b"")));
        assert_eq!(FileHead::read(b"FILE <ann @bob 3 a.txt -7"), None);
        let receiver = FileHead::Receiver { name: "bob".into(), rest: b"FI".into() };
        assert_eq!(FileHead::read(b"OPEN_PORT_TO_RECEIVE bob\r\nFI"), Some(receiver));
        for begin in ["", "FI", "OPEN_PORT", "OPEN_PORT_TO_RECEIVE bob"] {
            assert_eq!(FileHead::read(begin.as_bytes()), None, "{begin}");
        }
        for wrong in ["GET / HTTP/1.1", "FILE ann @bob 3 a.txt -7 YWJj", "FILE <ann\n", "PONG\n"] {
            assert_eq!(FileHead::read(wrong.as_bytes()), Some(FileHead::Wrong), "{wrong}");
        }
        assert_eq!(FileHead::read(&b"FILE ".repeat(1000)[..4]), None);
        assert_eq!(
            FileHead::read(&[b"FILE ".to_vec(), vec![b'x'; LONGEST_HEAD]].concat()),
            Some(FileHead::Wrong)
        );
    }

    #[test]
    fn a_file_that_is_longer_than_announced_or_none_is_found_out() {
        let wrong = |size, line: &[u8]| matches!(FileBody::new(size).take(line), Body::Wrong { .. });
        assert_eq!(FileBody::new(3).take(b"YWJj\r\n"), Body::Whole(b"YWJj\n".into()));
        assert_eq!(FileBody::new(4).take(b"YWJj\n"), Body::Whole(b"YWJj\n".into()));
        assert_eq!(FileBody::new(0).take(b"\n"), Body::Whole(b"\n".into()));
        assert!(wrong(2, b"YWJj"), "longer");
        assert!(wrong(3, b"YWJ\n"), "a piece is missing");
        assert!(wrong(3, b"YW j\n"), "no base64");
        assert!(wrong(9, b"YQ==YWJj\n"), "something behind the end");
    }

    proptest! {
        #[test]
        fn a_file_flows_by_wherever_it_is_cut(file: Vec<u8>, cut: prop::sample::Index) {
            let line = STANDARD.encode(&file) + "\n";
            let mut body = FileBody::new(file.len() as u64);
            let (one, two) = line.as_bytes().split_at(cut.index(line.len()));
            prop_assert_eq!(body.take(one), Body::More(one.into()));
            prop_assert_eq!(body.take(two), Body::Whole(two.into()));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = FileHead::read(&bytes);
            let _ = FileBody::new(3).take(&bytes);
            let lines = all(&mut Wire::default(), &bytes);
            prop_assert!(lines.len() <= bytes.len());
        }
    }
}
