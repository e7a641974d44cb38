//! A query: words that all must occur, beginnings of words, and phrases.

use super::{QUERY_BYTES, QUERY_WORDS, Words};
use crate::code::Code;
use std::collections::VecDeque;

/// What a text must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    clauses: Vec<Clause>,
}

/// Words that stand together, one at least.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Clause {
    words: Vec<String>,
    /// Whether the last is only the beginning of one.
    is_open: bool,
}

/// A word that must occur somewhere, for an index to look up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term<'a> {
    /// Folded.
    pub word: &'a str,
    /// Whether it is only the beginning of one.
    pub is_open: bool,
}

impl Query {
    /// Reads a query: words apart by white space; `word*` is the beginning of a word; `"several words"` stand together, as
    /// do those of a piece without white space such as `e-mail`.
    ///
    /// # Errors
    /// [`Code::BadQuery`]: no word in it, more than [`QUERY_WORDS`] or [`QUERY_BYTES`], or a quote without its end.
    pub fn parse(text: &str) -> Result<Self, Code> {
        if text.len() > QUERY_BYTES {
            return Err(Code::BadQuery);
        }
        let mut clauses = Vec::new();
        for (index, part) in text.split('"').enumerate() {
            if index % 2 == 1 {
                clauses.extend(Clause::read(part));
            } else {
                clauses.extend(part.split_whitespace().filter_map(Clause::read));
            }
        }
        let words: usize = clauses.iter().map(|clause| clause.words.len()).sum();
        let quotes = text.bytes().filter(|byte| *byte == b'"').count();
        if words == 0 || words > QUERY_WORDS || quotes % 2 == 1 {
            return Err(Code::BadQuery);
        }
        Ok(Self { clauses })
    }

    /// Whether all of it occurs in a text. Holds a few words of the text at a time, however long it is.
    pub fn fits(&self, text: &str) -> bool {
        let mut left: Vec<&Clause> = self.clauses.iter().collect();
        let longest = left.iter().map(|clause| clause.words.len()).max().unwrap_or(0);
        let mut last: VecDeque<String> = VecDeque::with_capacity(longest);
        for word in Words::new(text) {
            if last.len() == longest {
                last.pop_front();
            }
            last.push_back(word);
            left.retain(|clause| !clause.ends(&last));
            if left.is_empty() {
                return true;
            }
        }
        false
    }

    /// Every word that must occur.
    pub fn terms(&self) -> Vec<Term<'_>> {
        let mut terms = Vec::new();
        for Clause { words, is_open } in &self.clauses {
            let last = words.len() - 1;
            let of_clause = words.iter().enumerate();
            terms.extend(of_clause.map(|(at, word)| Term { word, is_open: *is_open && at == last }));
        }
        terms.sort_unstable();
        terms.dedup();
        terms
    }
}

impl Clause {
    fn read(text: &str) -> Option<Self> {
        let text = text.trim_end();
        let words: Vec<String> = Words::new(text).collect();
        // A star behind something that is no part of the word, such as in `a.*`, opens nothing.
        let before = text.strip_suffix('*').and_then(|text| text.chars().next_back());
        let is_open = before.is_some_and(char::is_alphanumeric);
        (!words.is_empty()).then_some(Self { words, is_open })
    }

    /// Whether the words that were read last are those of this clause.
    fn ends(&self, last: &VecDeque<String>) -> bool {
        let Some((end, begin)) = self.words.split_last() else { return true };
        let (Some(from), Some(newest)) = (last.len().checked_sub(self.words.len()), last.back()) else {
            return false;
        };
        let is_end = if self.is_open { newest.starts_with(end.as_str()) } else { newest == end };
        is_end && last.range(from..last.len() - 1).eq(begin)
    }
}
