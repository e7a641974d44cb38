//! Words: the segments of a text that hold a letter or a digit, by Unicode's rules, without regard to case and accents.
//!
//! Scripts that write no spaces (Han, Kana, Thai) have a word for each character or cluster; what stands together in a
//! query is looked for as it stands together, so that nothing has to know their dictionaries.

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::{UnicodeSegmentation, UnicodeWords};

/// The words of a text, folded, in their order.
pub struct Words<'a>(UnicodeWords<'a>);

impl std::fmt::Debug for Words<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Words")
    }
}

impl<'a> Words<'a> {
    /// Of this text.
    pub fn new(text: &'a str) -> Self {
        Self(text.unicode_words())
    }
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            let word = fold(self.0.next()?);
            if !word.is_empty() {
                return Some(word);
            }
        }
    }
}

/// A word without regard to case and accents. Vowel signs of Indic scripts stay: they are no accents.
pub fn fold(word: &str) -> String {
    if word.is_ascii() {
        return word.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(word.len());
    for letter in word.nfkd().filter(|letter| !is_accent(*letter)).flat_map(char::to_lowercase) {
        match letter {
            'ς' => folded.push('σ'),
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            'ø' => folded.push('o'),
            'đ' | 'ð' => folded.push('d'),
            'ł' => folded.push('l'),
            'ı' => folded.push('i'),
            // Lower case of a capital that has a dot of its own.
            letter if is_accent(letter) => {}
            letter => folded.push(letter),
        }
    }
    folded
}

/// Accents and other marks that a reader takes for the same letter, decomposed.
fn is_accent(letter: char) -> bool {
    matches!(letter,
        '\u{0300}'..='\u{036F}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}'
        | '\u{FE20}'..='\u{FE2F}'
        // Points of Hebrew and Arabic.
        | '\u{0591}'..='\u{05BD}' | '\u{05BF}' | '\u{05C1}' | '\u{05C2}' | '\u{05C4}' | '\u{05C5}' | '\u{05C7}'
        | '\u{0610}'..='\u{061A}' | '\u{064B}'..='\u{065F}' | '\u{0670}')
}
