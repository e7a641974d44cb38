//! A bucket: some of the words of a segment, each with the numbers of the entries that hold it, as bytes.
//!
//! Words ascend, each written as what it does not share with the one before; numbers ascend, written as differences. So a
//! look-up reads on until the words are past, and skips numbers that it does not want. Which bucket a word is in is told by
//! its first two characters, so that a beginning of a word is in one bucket, too. Invariant: reading never panics, whatever
//! the bytes; what is damaged ends the bucket.

use katydid_store::Seq;
use std::collections::BTreeMap;

/// Buckets of a segment.
pub(crate) const BUCKETS: u8 = 16;

/// Bytes of a word that are in the index; of a longer one, its beginning is.
const WORD_BYTES: usize = 64;

/// What marks the name of a sender among words. No word begins with it.
const SENDER: char = '\u{1}';

/// Words and their numbers.
pub(crate) type Words = BTreeMap<Box<str>, Vec<Seq>>;

/// A word as it is in the index.
pub(crate) fn indexed(word: &str) -> &str {
    &word[..word.floor_char_boundary(WORD_BYTES)]
}

/// The word that stands for a sender.
pub(crate) fn sender(name: &str) -> String {
    format!("{SENDER}{name}")
}

/// The bucket of a word, or of all words that begin with it; `None` where those are in several.
pub(crate) fn bucket_of(word: &str, is_open: bool) -> Option<u8> {
    let mut letters = word.chars().filter(|letter| *letter != SENDER);
    let (first, second) = (letters.next(), letters.next());
    if is_open && second.is_none() {
        return None;
    }
    let number = |letter: Option<char>| u64::from(letter.map_or(0, u32::from));
    let mixed = (number(first) << 21 | number(second)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Some((mixed >> 60) as u8)
}

/// Appends a number in seven-bit groups, low first.
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads from the front of a slice; `None` past its end.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(head)
    }
}

pub(crate) fn encode(words: &Words) -> Vec<u8> {
    let (mut out, mut numbers) = (Vec::new(), Vec::new());
    let mut before: &str = "";
    for (word, seqs) in words {
        let shared = before.bytes().zip(word.bytes()).take_while(|(one, other)| one == other).count();
        put(&mut out, shared as u64);
        put(&mut out, (word.len() - shared) as u64);
        out.extend_from_slice(&word.as_bytes()[shared..]);
        numbers.clear();
        let mut last = 0;
        for seq in seqs {
            put(&mut numbers, seq - last);
            last = *seq;
        }
        put(&mut out, numbers.len() as u64);
        out.extend_from_slice(&numbers);
        before = word;
    }
    out
}

/// The words of a bucket, in their order, with their numbers as they are written.
struct Walk<'a> {
    reader: Reader<'a>,
    word: Vec<u8>,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { reader: Reader(bytes), word: Vec::new() }
    }

    fn next(&mut self) -> Option<(&[u8], Numbers<'a>)> {
        let (shared, length) = (self.reader.number()?, self.reader.number()?);
        let rest = self.reader.take(length)?;
        self.word.truncate(usize::try_from(shared).ok()?);
        self.word.extend_from_slice(rest);
        let length = self.reader.number()?;
        Some((&self.word, Numbers { reader: Reader(self.reader.take(length)?), last: 0 }))
    }
}

struct Numbers<'a> {
    reader: Reader<'a>,
    last: Seq,
}

impl Iterator for Numbers<'_> {
    type Item = Seq;

    fn next(&mut self) -> Option<Seq> {
        self.last = self.last.checked_add(self.reader.number()?)?;
        Some(self.last)
    }
}

pub(crate) fn decode(bytes: &[u8]) -> Words {
    let (mut walk, mut words) = (Walk::new(bytes), Words::new());
    while let Some((word, numbers)) = walk.next() {
        let numbers = numbers.collect();
        // Only what the words above wrote is here.
        if let Ok(word) = std::str::from_utf8(word) {
            words.insert(word.into(), numbers);
        }
    }
    words
}

/// Adds the numbers of a word, or of all that begin with it, to `found`, in no order.
pub(crate) fn look_up(bytes: &[u8], sought: &str, is_open: bool, found: &mut Vec<Seq>) {
    let mut walk = Walk::new(bytes);
    while let Some((word, numbers)) = walk.next() {
        let is_it = if is_open { word.starts_with(sought.as_bytes()) } else { word == sought.as_bytes() };
        if is_it {
            found.extend(numbers);
        } else if word > sought.as_bytes() {
            return;
        }
    }
}
