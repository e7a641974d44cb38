//! Mentions: whom a message names, so that they hear of it wherever they are.
//!
//! A message names people by the user property `mention`, once for each, and by `@name` in its text. This module finds
//! what is written like a name; who that is, and whether they are told, the directory decides. Invariant: what it looks at
//! and what it finds is bounded, whatever is said.

/// The user property that names somebody.
pub const PROPERTY: &str = "mention";
/// Names of one message that count, at most.
pub const MOST: usize = 16;
/// Bytes of a text that are looked at.
const TEXT_BYTES: usize = 16 << 10;

/// What follows each `@` of a text that begins a word, up to the next white space: a name, perhaps with punctuation
/// after it. Bytes that are not UTF-8 mention nobody.
pub fn in_text(payload: &[u8]) -> impl Iterator<Item = &str> {
    let shown = &payload[..payload.len().min(TEXT_BYTES)];
    let text = if shown.contains(&b'@') { utf8(shown) } else { "" };
    text.match_indices('@').filter_map(move |(at, _)| {
        let before = text[..at].chars().next_back();
        let word = text[at + 1..].split(|c: char| c.is_whitespace() || c.is_control()).next()?;
        let begins = before.is_none_or(|c| !c.is_alphanumeric() && c != '@');
        (begins && !word.is_empty() && !word.starts_with('@')).then_some(word)
    })
}

/// A text that was cut within a character is looked at up to there; what is not UTF-8 is not.
fn utf8(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => "",
    }
}

/// A word that may be a name with punctuation after it, from the longest reading to the shortest.
pub fn readings(word: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(word), |longer| {
        let last = longer.chars().next_back().filter(|c| !c.is_alphanumeric())?;
        let shorter = &longer[..longer.len() - last.len_utf8()];
        (!shorter.is_empty()).then_some(shorter)
    })
    .take(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_words_begin() {
        let of = |text: &'static str| in_text(text.as_bytes()).collect::<Vec<_>>();
        assert_eq!(of("@ann: look, (@bob) and @Zoë!"), ["ann:", "bob)", "Zoë!"]);
        assert!(of("mail me at ann@example.org").is_empty());
        assert!(of("@ and @@").is_empty());
        assert!(in_text(b"@ann \xff").next().is_none());
        assert_eq!(readings("ann:").collect::<Vec<_>>(), ["ann:", "ann"]);
        assert_eq!(readings("a.b...").last(), Some("a.b"));
        assert_eq!(readings("!!!!!!").count(), 4);
    }

    #[test]
    fn a_long_text_is_looked_at_up_to_its_bound() {
        let text = format!("@ann {} @bob", "é".repeat(TEXT_BYTES));
        assert_eq!(in_text(text.as_bytes()).collect::<Vec<_>>(), ["ann"]);
    }
}
