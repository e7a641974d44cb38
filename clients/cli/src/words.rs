//! Splits a line of the chat into words: quotes hold words together, a backslash takes the next character as it is.

/// The words, or what is wrong with the line.
pub(crate) fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', Some('"') | None) => {
                let next = letters.next().ok_or("nothing follows the backslash")?;
                word.get_or_insert_default().push(next);
            }
            (letter, Some(open)) if letter == open => quote = None,
            (letter, Some(_)) => word.get_or_insert_default().push(letter),
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, None) if letter.is_whitespace() => words.extend(word.take()),
            (letter, None) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err("a quotation mark is missing");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn quotes_hold_words_together() {
        let words = |line| split(line).unwrap().join("|");
        assert_eq!(words("  say  room/x  hello world "), "say|room/x|hello|world");
        assert_eq!(words(r#"post g "a title" 'it''s' x\ y"#), "post|g|a title|its|x y");
        assert_eq!(words(r#"a "" b"#), "a||b");
        assert_eq!(words(r#""it's" "say \"hi\"""#), "it's|say \"hi\"");
        assert!(split("say \"hello").is_err());
        assert!(split("x\\").is_err());
        assert_eq!(split("").unwrap(), Vec::<String>::new());
    }
}
