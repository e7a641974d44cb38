//! Bytes of the `#` protocol to lines, lines to words, and words back onto lines.
//!
//! A line ends with CRLF or LF and holds at most [`LONGEST_LINE`] bytes with its end. Telnet's option negotiation is
//! skipped wherever it stands and counts for nothing. The buffer holds what was pushed and no more; who pushes asks
//! [`Wire::next_line`] for all lines before pushing again, so it stays below one line and one piece.

/// Longest line in bytes, its end included (Notes: "The server has an input buffer of 1000 bytes").
pub const LONGEST_LINE: usize = 1000;

/// A cut stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A line without its end.
    Line(Vec<u8>),
    /// A line that is too long: the stream is over.
    TooLong,
}

/// Where the stream is within telnet's negotiation.
///
/// ```text
///          255            251..254            any
///  Text ---------> Command ---------> Option ------> Text
///   ^                |  | 250                        
///   |  255 or other  |  +-----> Parameters <-----+
///   +----------------+            | 255          | other
///   ^            240              v              |
///   +------------------------ ParametersCommand -+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telnet {
    Text,
    Command,
    Option,
    Parameters,
    ParametersCommand,
}

/// The receiving side of a connection.
#[derive(Debug)]
pub struct Wire {
    text: Vec<u8>,
    telnet: Telnet,
    is_over: bool,
}

impl Default for Wire {
    fn default() -> Self {
        Self { text: Vec::new(), telnet: Telnet::Text, is_over: false }
    }
}

impl Wire {
    /// Takes a piece of the stream, cut anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.is_over {
            return;
        }
        for &byte in bytes {
            self.telnet = match (self.telnet, byte) {
                (Telnet::Text, 255) => Telnet::Command,
                (Telnet::Text, _) => {
                    self.text.push(byte);
                    Telnet::Text
                }
                // The byte 255 itself, doubled, is text.
                (Telnet::Command, 255) => {
                    self.text.push(byte);
                    Telnet::Text
                }
                (Telnet::Command, 251..=254) => Telnet::Option,
                (Telnet::Command, 250) => Telnet::Parameters,
                (Telnet::Command, _) | (Telnet::Option, _) => Telnet::Text,
                (Telnet::Parameters, 255) => Telnet::ParametersCommand,
                (Telnet::Parameters, _) => Telnet::Parameters,
                (Telnet::ParametersCommand, 240) => Telnet::Text,
                (Telnet::ParametersCommand, _) => Telnet::Parameters,
            };
        }
    }

    /// The next line, if it is there as a whole.
    pub fn next_line(&mut self) -> Option<Frame> {
        if self.is_over {
            return None;
        }
        let end = self.text.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n');
        let Some(end) = end else {
            if self.text.len() < LONGEST_LINE {
                return None;
            }
            self.is_over = true;
            self.text = Vec::new();
            return Some(Frame::TooLong);
        };
        let mut line: Vec<u8> = self.text.drain(..=end).collect();
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(Frame::Line(line))
    }
}

/// A word of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Without the quotes around it and the backslashes in it.
    pub bytes: Vec<u8>,
    /// Whether it stood in quotes.
    pub is_quoted: bool,
    /// Where it begins in the line.
    pub begins: usize,
}

/// A line as words: separated by white space, or in double quotes, within which `\"` and `\\` stand for `"` and `\`.
/// Quotes that are not closed go to the end of the line.
pub fn words(line: &[u8]) -> Vec<Word> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        let begins = at;
        let Some(first) = line.get(at) else { return words };
        let is_quoted = *first == b'"';
        let bytes = if is_quoted {
            let (bytes, end) = quoted(line, at + 1);
            at = end;
            bytes
        } else {
            while line.get(at).is_some_and(|byte| !byte.is_ascii_whitespace()) {
                at += 1;
            }
            line[begins..at].to_vec()
        };
        words.push(Word { bytes, is_quoted, begins });
    }
}

/// What stands in quotes from there on, and where it ends.
fn quoted(line: &[u8], mut at: usize) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    while let Some(&byte) = line.get(at) {
        at += 1;
        match (byte, line.get(at)) {
            (b'"', _) => break,
            (b'\\', Some(&next @ (b'"' | b'\\'))) => {
                bytes.push(next);
                at += 1;
            }
            _ => bytes.push(byte),
        }
    }
    (bytes, at)
}

/// A text in quotes, as [`words`] takes them off.
pub fn quote(text: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    quoted.push(b'"');
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(byte);
    }
    quoted.push(b'"');
    quoted
}

/// How many bytes a character takes in quotes.
pub fn quoted_width(character: &[u8]) -> usize {
    if matches!(character, b"\"" | b"\\") { 2 } else { character.len() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(wire: &mut Wire, bytes: &[u8]) -> Vec<Frame> {
        wire.push(bytes);
        std::iter::from_fn(|| wire.next_line()).collect()
    }

    fn line(text: &str) -> Frame {
        Frame::Line(text.into())
    }

    fn texts(text: &str) -> Vec<String> {
        words(text.as_bytes()).into_iter().map(|word| String::from_utf8(word.bytes).expect("was")).collect()
    }

    #[test]
    fn lines_end_with_crlf_or_lf_wherever_the_stream_is_cut() {
        let mut wire = Wire::default();
        assert_eq!(all(&mut wire, b"#whoami\r\n#help\n\r\n#li"), [line("#whoami"), line("#help"), line("")]);
        assert_eq!(all(&mut wire, b"strooms\r"), []);
        assert_eq!(all(&mut wire, b"\n"), [line("#listrooms")]);
    }

    #[test]
    fn a_line_of_a_thousand_bytes_passes_and_one_byte_more_ends_the_stream() {
        let mut wire = Wire::default();
        let longest = "x".repeat(998);
        assert_eq!(all(&mut wire, format!("{longest}\r\n").as_bytes()), [line(&longest)]);
        assert_eq!(all(&mut wire, format!("{longest}y\r\n#help\r\n").as_bytes()), [Frame::TooLong]);
        assert_eq!(all(&mut wire, b"#help\r\n"), []);
        let mut wire = Wire::default();
        assert_eq!(all(&mut wire, &[b'x'; 999]), []);
        assert_eq!(all(&mut wire, b"x"), [Frame::TooLong]);
    }

    #[test]
    fn telnet_negotiation_is_skipped_wherever_it_is_cut() {
        let stream =
            b"\xff\xfb\x01#who\xff\xfd\x03\xff\xfa\x18\x00vt\xff\xff100\n\xff\xf0ami\xff\xf1 \xff\xff\r\n";
        for cut in 0..stream.len() {
            let mut wire = Wire::default();
            let mut frames = all(&mut wire, &stream[..cut]);
            frames.extend(all(&mut wire, &stream[cut..]));
            assert_eq!(frames, [Frame::Line(b"#whoami \xff".to_vec())], "{cut}");
        }
    }

    #[test]
    fn words_are_split_at_white_space_and_quoted() {
        assert_eq!(texts("#login  anon\tann "), ["#login", "anon", "ann"]);
        assert_eq!(texts(r#"#x "a b" c"d"#), ["#x", "a b", "c\"d"]);
        assert_eq!(texts(r#"#x "a \"b\" \\ \n""#), ["#x", r#"a "b" \ \n"#]);
        assert_eq!(texts(r#"#x "" "open "#), ["#x", "", "open "]);
        assert_eq!(texts(""), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_one_word_again(text: Vec<u8>) {
            let words = words(&quote(&text));
            prop_assert_eq!(words.len(), 1);
            prop_assert_eq!(&words[0].bytes, &text);
            let width: usize = text.iter().map(|byte| quoted_width(&[*byte])).sum();
            prop_assert_eq!(quote(&text).len(), width + 2);
        }

        #[test]
        fn lines_do_not_depend_on_where_the_stream_is_cut(stream: Vec<u8>, cut: prop::sample::Index) {
            let cut = cut.index(stream.len() + 1);
            let (mut one, mut two) = (Wire::default(), Wire::default());
            let whole = all(&mut one, &stream);
            let mut parts = all(&mut two, &stream[..cut]);
            parts.extend(all(&mut two, &stream[cut..]));
            prop_assert_eq!(whole, parts);
        }
    }
}
