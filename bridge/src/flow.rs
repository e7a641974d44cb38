//! How a text flows onto the lines of a line protocol: cut at line ends, at words where a line is too long, and never
//! inside a character; without anything that could end a line early or steer a terminal.
//!
//! Invariant: no line holds a control character other than tab, and none is wider than asked, unless a single
//! character is. Bytes that are no UTF-8 are kept as they are, each as a character of its own.

/// Lines of one text at most; what is more is left out, with [`CUT`] as the last line. A text of a mebibyte of line
/// ends would become half a million lines for each listener otherwise.
pub const MOST_LINES: usize = 100;

/// Stands for the lines that were left out.
pub const CUT: &[u8] = b"[...]";

/// A text as lines, each at most `widest` wide by the sum of `width` over its characters. Empty lines are left out; a text
/// of nothing is one empty line.
pub fn lines(text: &[u8], widest: usize, width: impl Fn(&[u8]) -> usize) -> Vec<Vec<u8>> {
    let mut flow = Flow { widest, lines: Vec::new(), line: Vec::new(), wide: 0, last_space: None };
    for chunk in text.utf8_chunks() {
        for (at, character) in chunk.valid().char_indices() {
            let bytes = &chunk.valid().as_bytes()[at..at + character.len_utf8()];
            match character {
                '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => flow.end_line(),
                '\t' => flow.put(bytes, &width),
                _ if character.is_control() => flow.put(b" ", &width),
                _ => flow.put(bytes, &width),
            }
        }
        for byte in chunk.invalid() {
            flow.put(std::slice::from_ref(byte), &width);
        }
        if flow.lines.len() > MOST_LINES {
            break;
        }
    }
    flow.end_line();
    if flow.lines.is_empty() {
        flow.lines.push(Vec::new());
    }
    if flow.lines.len() > MOST_LINES {
        flow.lines.truncate(MOST_LINES - 1);
        flow.lines.push(CUT.to_vec());
    }
    flow.lines
}

/// A text as one line: what would end a line or steer a terminal becomes a space.
pub fn line(text: &str) -> String {
    let plain = |character: char| match character {
        '\u{2028}' | '\u{2029}' => ' ',
        _ if character.is_control() => ' ',
        _ => character,
    };
    text.chars().map(plain).collect()
}

struct Flow {
    widest: usize,
    lines: Vec<Vec<u8>>,
    line: Vec<u8>,
    wide: usize,
    /// Where the last space of the line is, and how wide the line is up to and with it.
    last_space: Option<(usize, usize)>,
}

impl Flow {
    fn put(&mut self, character: &[u8], width: &impl Fn(&[u8]) -> usize) {
        let wide = width(character);
        while self.wide + wide > self.widest && !self.line.is_empty() {
            if character == b" " {
                return self.end_line();
            }
            self.break_line();
        }
        self.line.extend_from_slice(character);
        self.wide += wide;
        if character == b" " {
            self.last_space = Some((self.line.len() - 1, self.wide));
        }
    }

    /// Ends the line at its last word if it has more than one, and goes on with what comes after.
    fn break_line(&mut self) {
        let Some((at, wide)) = self.last_space.take().filter(|(at, _)| *at > 0) else {
            return self.end_line();
        };
        let rest = self.line.split_off(at + 1);
        let rest_wide = self.wide - wide;
        self.line.truncate(at);
        self.end_line();
        self.line = rest;
        self.wide = rest_wide;
    }

    fn end_line(&mut self) {
        self.wide = 0;
        self.last_space = None;
        if !self.line.is_empty() {
            self.lines.push(std::mem::take(&mut self.line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_bytes(text: &str, widest: usize) -> Vec<String> {
        let lines = lines(text.as_bytes(), widest, <[u8]>::len);
        lines.into_iter().map(|line| String::from_utf8(line).expect("was UTF-8")).collect()
    }

    #[test]
    fn a_text_breaks_at_words_and_keeps_its_spaces() {
        assert_eq!(by_bytes("to be or not", 5), ["to be", "or", "not"]);
        assert_eq!(by_bytes("to  be", 20), ["to  be"]);
        assert_eq!(by_bytes("end ", 20), ["end "]);
        assert_eq!(by_bytes("", 5), [""]);
    }

    #[test]
    fn a_long_word_breaks_between_characters() {
        assert_eq!(by_bytes("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(by_bytes("äöü", 3), ["ä", "ö", "ü"]);
    }

    #[test]
    fn nothing_in_a_text_ends_a_line_of_the_protocol_or_steers_a_terminal() {
        assert_eq!(by_bytes("a\r\n@mess #b\nSYSTEM\rx", 50), ["a", "@mess #b", "SYSTEM", "x"]);
        assert_eq!(by_bytes("a\u{1b}[2J\0b\u{9b}c", 50), ["a [2J b c"]);
        assert_eq!(by_bytes("a\u{2028}b\u{85}c", 50), ["a", "b", "c"]);
        assert_eq!(line("a\r\nb\u{1b}c\u{2028}d"), "a  b c d");
    }

    #[test]
    fn bytes_that_are_no_utf8_stay_as_they_are() {
        assert_eq!(lines(b"caf\xe9 noir", 5, <[u8]>::len), [b"caf\xe9".to_vec(), b"noir".to_vec()]);
    }

    #[test]
    fn lines_without_number_are_cut_with_a_mark() {
        let many = lines(&b"x\n".repeat(100_000), 10, <[u8]>::len);
        assert_eq!(many.len(), MOST_LINES);
        assert_eq!(many.last().map(Vec::as_slice), Some(CUT));
    }

    proptest! {
        #[test]
        fn every_line_keeps_its_promises(text: Vec<u8>, widest in 4usize..40) {
            for line in lines(&text, widest, <[u8]>::len) {
                prop_assert!(line.len() <= widest.max(CUT.len()));
                prop_assert!(!line.iter().any(|byte| *byte < b' ' && *byte != b'\t'));
            }
        }

        #[test]
        fn no_word_is_lost(words in proptest::collection::vec("[a-zä]{1,8}", 1..40), widest in 8usize..30) {
            let text = words.join(" ");
            let flown = by_bytes(&text, widest);
            prop_assume!(flown.len() < MOST_LINES);
            let again: String = flown.concat().split(' ').collect();
            prop_assert_eq!(again, words.concat());
        }
    }
}
