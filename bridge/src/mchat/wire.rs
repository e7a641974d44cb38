//! Bytes of the mChat protocol to lines, lines to frames, frames to lines.
//!
//! A line ends with LF. One of more than [`LONGEST_LINE`] bytes is dropped up to its end, one that is not UTF-8 is dropped,
//! and the connection goes on. What is sent holds at most [`LONGEST_SENT`] characters a line, its end included.

use crate::flow;

/// Longest line that is taken, in bytes with its end.
pub const LONGEST_LINE: usize = 4096;
/// Longest line that is sent, in characters with its end (section 4: "1024 characters").
pub const LONGEST_SENT: usize = 1024;
/// Longest nick in characters.
pub const LONGEST_NICK: usize = 32;
/// Longest name of a room in characters.
pub const LONGEST_ROOM: usize = 64;

/// What a line says; lines that say none of it are ignored, as mChat's server does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// `HEART`: are you there?
    Heart,
    /// `BLEED`: yes.
    Bleed,
    /// `JOIN <room>`
    Join {
        /// As the client says it.
        room: String,
    },
    /// `PART <room>`
    Part {
        /// As the client says it.
        room: String,
    },
    /// `NICK <new_nick>`
    Nick {
        /// The new one.
        nick: String,
    },
    /// `MSG <nick> <room> <message>`
    Msg {
        /// The sender's.
        nick: String,
        /// As the client says it.
        room: String,
        /// May hold spaces, also at its end.
        text: String,
    },
    /// `SYSTEM <room> <message>`, from a server.
    System {
        /// As the clients say it.
        room: String,
        /// For people.
        text: String,
    },
    /// `ALL_ADDRS <ip> <port> ...`, from a server.
    AllAddrs(Vec<(String, u16)>),
    /// `MY_ADDR <ip> <port>`, from a server.
    MyAddr(String, u16),
}

/// The receiving side of a connection.
#[derive(Debug, Default)]
pub struct Wire {
    bytes: Vec<u8>,
    is_dropping: bool,
}

impl Wire {
    /// Takes a piece of the stream, cut anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next line that says something.
    pub fn next_frame(&mut self) -> Option<Frame> {
        loop {
            let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
                if self.bytes.len() >= LONGEST_LINE {
                    self.is_dropping = true;
                }
                if self.is_dropping {
                    self.bytes.clear();
                }
                return None;
            };
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let is_dropped = std::mem::take(&mut self.is_dropping) || line.len() > LONGEST_LINE;
            let text = std::str::from_utf8(&line[..end]).ok().filter(|_| !is_dropped);
            // A telnet that is used by hand ends its lines with CRLF.
            if let Some(frame) = text.and_then(|text| parse(text.strip_suffix('\r').unwrap_or(text))) {
                return Some(frame);
            }
        }
    }
}

fn parse(line: &str) -> Option<Frame> {
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    Some(match words.as_slice() {
        ["HEART"] => Frame::Heart,
        ["BLEED"] => Frame::Bleed,
        ["JOIN", room] => Frame::Join { room: name(room, LONGEST_ROOM)? },
        ["PART", room] => Frame::Part { room: name(room, LONGEST_ROOM)? },
        ["NICK", nick] => Frame::Nick { nick: self::nick(nick)? },
        ["MSG", nick, room, text] => {
            Frame::Msg { nick: self::nick(nick)?, room: name(room, LONGEST_ROOM)?, text: (*text).into() }
        }
        ["SYSTEM", room, ..] => {
            let text = line.splitn(3, ' ').nth(2)?;
            Frame::System { room: name(room, LONGEST_ROOM)?, text: text.into() }
        }
        ["ALL_ADDRS"] => Frame::AllAddrs(Vec::new()),
        ["ALL_ADDRS", ..] => {
            let words: Vec<&str> = line.split(' ').skip(1).collect();
            if words.len() % 2 == 1 {
                return None;
            }
            let addresses = words.chunks_exact(2).filter_map(|pair| address(pair[0], pair[1]));
            Frame::AllAddrs(addresses.collect())
        }
        ["MY_ADDR", host, port] => address(host, port).map(|(host, port)| Frame::MyAddr(host, port))?,
        _ => return None,
    })
}

fn name(name: &str, longest: usize) -> Option<String> {
    (!name.is_empty() && name.chars().count() <= longest).then(|| name.into())
}

/// A nick is shown to everybody, so it has nothing that steers a terminal.
fn nick(nick: &str) -> Option<String> {
    name(nick, LONGEST_NICK).filter(|nick| !nick.chars().any(char::is_control))
}

fn address(host: &str, port: &str) -> Option<(String, u16)> {
    let port = port.parse().ok().filter(|port| *port != 0)?;
    // A name of the domain name system has at most 253 characters.
    (!host.is_empty() && host.len() <= 253 && !host.chars().any(char::is_control))
        .then(|| (host.into(), port))
}

/// `MSG` lines for a text, as many as it takes.
pub fn msg(nick: &str, room: &str, text: &[u8]) -> Vec<Vec<u8>> {
    texts(&format!("MSG {nick} {room} "), text)
}

/// `SYSTEM` lines for a text, as many as it takes.
pub fn system(room: &str, text: &str) -> Vec<Vec<u8>> {
    texts(&format!("SYSTEM {room} "), text.as_bytes())
}

fn texts(head: &str, text: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(text);
    let widest = LONGEST_SENT - 1 - head.chars().count();
    let frame = |text: Vec<u8>| [head.as_bytes(), &text, b"\n"].concat();
    flow::lines(text.as_bytes(), widest, |_| 1).into_iter().map(frame).collect()
}

/// `ALL_ADDRS` lines for addresses, as many as it takes; a bare one where there are none.
pub fn all_addrs<'a>(addresses: impl Iterator<Item = (&'a str, u16)>) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut line = "ALL_ADDRS".to_owned();
    for (host, port) in addresses {
        let part = format!(" {host} {port}");
        if line.chars().count() + part.chars().count() >= LONGEST_SENT {
            lines.push(std::mem::replace(&mut line, "ALL_ADDRS".into()));
        }
        line += &part;
    }
    lines.push(line);
    lines.into_iter().map(|line| (line + "\n").into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(wire: &mut Wire, bytes: &[u8]) -> Vec<Frame> {
        wire.push(bytes);
        std::iter::from_fn(|| wire.next_frame()).collect()
    }

    fn one(line: &str) -> Option<Frame> {
        let mut frames = all(&mut Wire::default(), format!("{line}\n").as_bytes());
        assert!(frames.len() <= 1);
        frames.pop()
    }

    /// Section 4, "List of all message types".
    #[test]
    fn lines_are_frames_by_their_words() {
        let room = || "r".to_owned();
        assert_eq!(one("HEART"), Some(Frame::Heart));
        assert_eq!(one("BLEED"), Some(Frame::Bleed));
        assert_eq!(one("JOIN r"), Some(Frame::Join { room: room() }));
        assert_eq!(one("PART r"), Some(Frame::Part { room: room() }));
        assert_eq!(one("NICK ann"), Some(Frame::Nick { nick: "ann".into() }));
        let msg = |text: &str| Some(Frame::Msg { nick: "ann".into(), room: room(), text: text.into() });
        assert_eq!(one("MSG ann r  two  spaces "), msg(" two  spaces "));
        assert_eq!(one("MSG ann r "), msg(""));
        assert_eq!(one("SYSTEM r a b"), Some(Frame::System { room: room(), text: "a b".into() }));
        assert_eq!(one("SYSTEM r a b c"), Some(Frame::System { room: room(), text: "a b c".into() }));
        assert_eq!(one("ALL_ADDRS"), Some(Frame::AllAddrs(vec![])));
        let addresses = vec![("h".into(), 1), ("::1".into(), 65535)];
        assert_eq!(one("ALL_ADDRS h 1 ::1 65535"), Some(Frame::AllAddrs(addresses)));
        assert_eq!(one("MY_ADDR h 6062"), Some(Frame::MyAddr("h".into(), 6062)));
    }

    /// Section 6, "Too long protocol message fields", "Missing protocol message fields", "Sending only newlines".
    #[test]
    fn what_says_nothing_is_ignored() {
        for line in [
            "",
            " ",
            "HEART ",
            "heart",
            "JOIN",
            "JOIN ",
            "JOIN a b",
            "NICK a b",
            "PART",
            "MSG ann r",
            "MSG  r text",
            "SYSTEM r",
            "ALL_ADDRS ",
            "ALL_ADDRS h",
            "MY_ADDR h",
            "MY_ADDR h x",
            "MY_ADDR h 70000",
            "MY_ADDR h 0",
            "QUIT",
            "NICK a\u{1b}b",
        ] {
            assert_eq!(one(line), None, "{line:?}");
        }
        assert_eq!(one(&format!("NICK {}", "ü".repeat(33))), None);
        assert!(one(&format!("NICK {}", "ü".repeat(32))).is_some());
        assert_eq!(one(&format!("JOIN {}", "ü".repeat(65))), None);
        assert!(one(&format!("JOIN {}", "ü".repeat(64))).is_some());
        assert_eq!(all(&mut Wire::default(), &[b'\n'; 4096]), []);
    }

    #[test]
    fn a_line_that_is_too_long_or_no_utf8_is_dropped_and_the_connection_goes_on() {
        let mut wire = Wire::default();
        let line = format!("MSG a r {}\n", "x".repeat(4087));
        assert_eq!((line.len(), all(&mut wire, line.as_bytes()).len()), (4096, 1));
        let line = format!("MSG a r {}\nHEART\n", "x".repeat(4088));
        assert_eq!(all(&mut wire, line.as_bytes()), [Frame::Heart]);
        assert_eq!(all(&mut wire, &[b'x'; 5000]), []);
        assert_eq!(all(&mut wire, &[b'x'; 5000]), []);
        assert_eq!(all(&mut wire, b"HEART\nBLEED\n"), [Frame::Bleed]);
        assert_eq!(all(&mut wire, b"NICK \xff\nHEART\n"), [Frame::Heart]);
    }

    #[test]
    fn no_line_that_is_sent_has_more_than_1024_characters() {
        let lines = msg("ann", "r", "ü".repeat(3000).as_bytes());
        let lengths: Vec<usize> =
            lines.iter().map(|line| String::from_utf8_lossy(line).chars().count()).collect();
        assert_eq!(lengths, [1024, 1024, 985]);
        let hosts: Vec<String> = (0..100).map(|at| format!("host{at}.example.org")).collect();
        let lines = all_addrs(hosts.iter().map(|host| (host.as_str(), 6062)));
        assert!(lines.len() > 2 && lines.iter().all(|line| line.len() <= 1024));
        assert_eq!(all_addrs(std::iter::empty()), [b"ALL_ADDRS\n"]);
    }

    proptest! {
        #[test]
        fn frames_do_not_depend_on_where_the_stream_is_cut(
            stream in proptest::collection::vec(proptest::sample::select(b"HEART JOINMSG\nx\xff".to_vec()), 0..200),
            cut: prop::sample::Index,
        ) {
            let cut = cut.index(stream.len() + 1);
            let whole = all(&mut Wire::default(), &stream);
            let mut wire = Wire::default();
            let mut parts = all(&mut wire, &stream[..cut]);
            parts.extend(all(&mut wire, &stream[cut..]));
            prop_assert_eq!(whole, parts);
        }
    }
}
