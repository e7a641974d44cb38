//! Bytes to JSON objects, one after another, wherever the stream is cut and however the objects are laid out.
//!
//! It finds where an object ends and reads nothing else of it: braces and brackets are counted, strings skipped. A quote
//! begins a string where a value or a key can begin, and a line's end ends a string, so that one bad object does not
//! swallow those behind it. Invariant: it holds at most [`LONGEST`] bytes and one pushed piece, and looks at each byte once.

/// Longest object in bytes, as for a request of the broker.
pub const LONGEST: usize = 64 * 1024;

/// Objects and lists within each other at most.
pub const DEEPEST: usize = 16;

/// A piece of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// An object, with its braces.
    Object(Vec<u8>),
    /// An object with more levels than [`DEEPEST`].
    TooDeep,
    /// Something else, up to the end of its line.
    Rubbish,
    /// Longer than [`LONGEST`]: the stream is over.
    TooLong,
}

/// Where the scan is.
///
/// ```text
///            {                  " or '            \
///  Between -----> Inside <------------> Quoted <-----> Escaped
///     |  ^          | depth 0   same quote, line end
///     |  +----------+
///     +--> Rubbish, to the end of the line
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Between,
    Rubbish,
    Inside,
    Quoted(u8),
    Escaped(u8),
}

/// The receiving side of a connection.
#[derive(Debug)]
pub struct Wire {
    bytes: Vec<u8>,
    /// How many of the bytes have been looked at.
    seen: usize,
    at: At,
    depth: usize,
    deepest: usize,
    before: u8,
    is_over: bool,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            seen: 0,
            at: At::Between,
            depth: 0,
            deepest: 0,
            before: b' ',
            is_over: false,
        }
    }
}

impl Wire {
    /// Takes a piece of the stream, cut anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.is_over {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The next object, if it is there as a whole.
    pub fn next_frame(&mut self) -> Option<Frame> {
        if self.is_over {
            return None;
        }
        while let Some(&byte) = self.bytes.get(self.seen) {
            if self.seen >= LONGEST && self.at != At::Between {
                return Some(self.end());
            }
            self.seen += 1;
            if let Some(frame) = self.scan(byte) {
                return Some(frame);
            }
            self.before = byte;
        }
        if self.at == At::Between {
            self.begin(self.seen);
        } else if self.seen >= LONGEST {
            return Some(self.end());
        }
        None
    }

    /// Forgets what was looked at before the piece that begins there.
    fn begin(&mut self, at: usize) {
        self.bytes.drain(..at);
        self.seen -= at;
    }

    fn end(&mut self) -> Frame {
        self.is_over = true;
        self.bytes = Vec::new();
        Frame::TooLong
    }

    /// What the byte before `seen` completes, if it does.
    fn scan(&mut self, byte: u8) -> Option<Frame> {
        match (self.at, byte) {
            (At::Between, b'{') => {
                self.begin(self.seen - 1);
                (self.depth, self.deepest) = (1, 1);
                self.at = At::Inside;
            }
            // Commas and the byte order mark may stand between objects.
            (At::Between, b',' | 0xef | 0xbb | 0xbf) => {}
            (At::Between, byte) if byte.is_ascii_whitespace() => {}
            (At::Between, _) => {
                self.begin(self.seen - 1);
                self.at = At::Rubbish;
            }
            (At::Rubbish, b'\n') => {
                self.at = At::Between;
                return Some(Frame::Rubbish);
            }
            (At::Inside, b'{' | b'[') => {
                self.depth += 1;
                self.deepest = self.deepest.max(self.depth);
            }
            (At::Inside, b'}' | b']') => {
                self.depth -= 1;
                if self.depth == 0 {
                    return Some(self.object());
                }
            }
            (At::Inside, quote @ (b'"' | b'\'')) if self.may_begin() => self.at = At::Quoted(quote),
            (At::Quoted(quote), b'\\') => self.at = At::Escaped(quote),
            (At::Quoted(quote), byte) if byte == quote || byte == b'\n' => self.at = At::Inside,
            (At::Escaped(_), b'\n') => self.at = At::Inside,
            (At::Escaped(quote), _) => self.at = At::Quoted(quote),
            (At::Rubbish | At::Inside | At::Quoted(_), _) => {}
        }
        None
    }

    /// Whether a key or a value can begin behind the byte before.
    fn may_begin(&self) -> bool {
        self.before.is_ascii_whitespace() || matches!(self.before, b'{' | b'[' | b':' | b',')
    }

    fn object(&mut self) -> Frame {
        let rest = self.bytes.split_off(self.seen);
        let object = std::mem::replace(&mut self.bytes, rest);
        self.seen = 0;
        self.before = b' ';
        self.at = At::Between;
        if self.deepest > DEEPEST { Frame::TooDeep } else { Frame::Object(object) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(wire: &mut Wire, bytes: &[u8]) -> Vec<Frame> {
        wire.push(bytes);
        std::iter::from_fn(|| wire.next_frame()).collect()
    }

    fn object(text: &str) -> Frame {
        Frame::Object(text.into())
    }

    #[test]
    fn objects_are_told_apart_however_they_are_laid_out() {
        let stream = "{\"a\":1}{\"a\":{}}\r\n {\n a: 'x}'\n b: \"\\\"}\"\n}\n,{a: don't}{}";
        for cut in 0..stream.len() {
            let mut wire = Wire::default();
            let mut frames = all(&mut wire, &stream.as_bytes()[..cut]);
            frames.extend(all(&mut wire, &stream.as_bytes()[cut..]));
            let sample = object("{\n a: 'x}'\n b: \"\\\"}\"\n}");
            let wanted =
                [object("{\"a\":1}"), object("{\"a\":{}}"), sample, object("{a: don't}"), object("{}")];
            assert_eq!(frames, wanted, "{cut}");
        }
    }

    #[test]
    fn what_is_no_object_costs_its_line_and_an_open_string_its_object() {
        let mut wire = Wire::default();
        assert_eq!(all(&mut wire, b"hello {}\n{}\n"), [Frame::Rubbish, object("{}")]);
        assert_eq!(all(&mut wire, b"{a: \"x\n}{}"), [object("{a: \"x\n}"), object("{}")]);
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let mut wire = Wire::default();
        let nested = |levels: usize| format!("{{a:{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert_eq!(all(&mut wire, nested(DEEPEST).as_bytes()), [object(&nested(DEEPEST))]);
        assert_eq!(all(&mut wire, nested(DEEPEST + 1).as_bytes()), [Frame::TooDeep]);
        let longest = format!("{{a:{}}}", "x".repeat(LONGEST - 4));
        assert_eq!(all(&mut wire, longest.as_bytes()), [object(&longest)]);
        let longer = longest.replace('}', " }{}");
        assert_eq!(all(&mut wire, longer.as_bytes()), [Frame::TooLong]);
        let mut wire = Wire::default();
        assert_eq!(all(&mut wire, &[b'x'; LONGEST]), [Frame::TooLong]);
        assert_eq!(all(&mut wire, b"\n{}"), []);
    }

    proptest! {
        #[test]
        fn frames_do_not_depend_on_where_the_stream_is_cut(
            stream in "[{}\\[\\]\"'\\\\,:a \n]{0,60}",
            cut in any::<prop::sample::Index>(),
        ) {
            let cut = cut.index(stream.len() + 1);
            let (mut one, mut two) = (Wire::default(), Wire::default());
            let whole = all(&mut one, stream.as_bytes());
            let mut parts = all(&mut two, &stream.as_bytes()[..cut]);
            parts.extend(all(&mut two, &stream.as_bytes()[cut..]));
            prop_assert_eq!(whole, parts);
        }

        #[test]
        fn strict_objects_come_out_whole(texts in proptest::collection::vec(("\\PC{0,8}", any::<String>()), 0..6)) {
            let mut stream = String::new();
            let mut wanted = Vec::new();
            for (key, text) in texts {
                let one = serde_json::json!({ key: text }).to_string();
                wanted.push(object(&one));
                stream += &one;
            }
            prop_assert_eq!(all(&mut Wire::default(), stream.as_bytes()), wanted);
        }
    }
}
