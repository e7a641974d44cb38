//! One object as a value: strict JSON, or the form of the document's sample with bare keys, bare values and line ends
//! instead of commas.
//!
//! ```text
//! {
//!     Command: "msg"
//!     To: bob@chat.example.org, Type: PM
//!     Message: 'Some Text'
//! }
//! ```
//!
//! A bare value goes to the next comma, bracket or line end; `true`, `false`, `null` and numbers are what they are in
//! JSON. Invariant: it goes at most as deep as it is told, and reads nothing that strict JSON reads otherwise.

use serde_json::{Map, Value};

/// Reads a whole object.
///
/// # Errors
/// Says, for people, what is wrong with it.
pub fn object(bytes: &[u8], deepest: usize) -> Result<Map<String, Value>, &'static str> {
    if let Ok(fields) = serde_json::from_slice(bytes) {
        return Ok(fields);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
    let mut reader = Reader { rest: text };
    reader.skip_blank();
    if !reader.takes('{') {
        return Err("not an object");
    }
    let fields = reader.fields(deepest)?;
    reader.skip_blank();
    if reader.rest.is_empty() { Ok(fields) } else { Err("something stands behind the object") }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn takes(&mut self, character: char) -> bool {
        let rest = self.rest.strip_prefix(character);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_blank(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Skips what may stand behind a member: a comma, a line's end, or nothing before the bracket that closes.
    fn separator(&mut self, close: char) -> Result<(), &'static str> {
        let after = self.rest.trim_start();
        let has_line_end = self.rest[..self.rest.len() - after.len()].contains('\n');
        self.rest = after;
        if self.takes(',') {
            self.skip_blank();
            return Ok(());
        }
        let is_end = has_line_end || self.rest.starts_with(close);
        if is_end { Ok(()) } else { Err("a comma or a new line is missing") }
    }

    fn fields(&mut self, deepest: usize) -> Result<Map<String, Value>, &'static str> {
        let deepest = deepest.checked_sub(1).ok_or("too many levels")?;
        let mut fields = Map::new();
        self.skip_blank();
        while !self.takes('}') {
            let key = self.key()?;
            self.skip_blank();
            if !self.takes(':') {
                return Err("a colon is missing behind a key");
            }
            fields.insert(key, self.value(deepest)?);
            self.separator('}')?;
        }
        Ok(fields)
    }

    fn list(&mut self, deepest: usize) -> Result<Value, &'static str> {
        let deepest = deepest.checked_sub(1).ok_or("too many levels")?;
        let mut values = Vec::new();
        self.skip_blank();
        while !self.takes(']') {
            values.push(self.value(deepest)?);
            self.separator(']')?;
        }
        Ok(values.into())
    }

    fn key(&mut self) -> Result<String, &'static str> {
        if let Some(quote @ ('"' | '\'')) = self.rest.chars().next() {
            self.rest = &self.rest[1..];
            return self.quoted(quote);
        }
        let is_word =
            |character: char| character.is_alphanumeric() || matches!(character, '_' | '-' | '$' | '.');
        let key = self.until(|character| !is_word(character));
        if key.is_empty() { Err("a key is missing") } else { Ok(key.into()) }
    }

    fn value(&mut self, deepest: usize) -> Result<Value, &'static str> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        match self.rest.chars().next() {
            Some('{') => {
                self.rest = &self.rest[1..];
                self.fields(deepest).map(Value::Object)
            }
            Some('[') => {
                self.rest = &self.rest[1..];
                self.list(deepest)
            }
            Some(quote @ ('"' | '\'')) => {
                self.rest = &self.rest[1..];
                self.quoted(quote).map(Value::String)
            }
            _ => self.bare(),
        }
    }

    fn bare(&mut self) -> Result<Value, &'static str> {
        let text = self.until(|character| matches!(character, ',' | '{' | '}' | '[' | ']' | '\n')).trim();
        if text.is_empty() {
            return Err("a value is missing");
        }
        let plain = serde_json::from_str(text).ok().filter(|value: &Value| !value.is_string());
        Ok(plain.unwrap_or_else(|| text.into()))
    }

    fn until(&mut self, ends: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        text
    }

    fn quoted(&mut self, quote: char) -> Result<String, &'static str> {
        let mut text = String::new();
        loop {
            let plain = self.until(|character| character == quote || matches!(character, '\\' | '\n'));
            text += plain;
            if self.takes(quote) {
                return Ok(text);
            }
            if !self.takes('\\') {
                return Err("a string does not end in its line");
            }
            text.push(self.escaped()?);
        }
    }

    fn escaped(&mut self) -> Result<char, &'static str> {
        let mut rest = self.rest.chars();
        let character = rest.next().ok_or("a string does not end")?;
        self.rest = rest.as_str();
        Ok(match character {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => return self.unicode(),
            '\n' => return Err("a string does not end in its line"),
            other => other,
        })
    }

    fn unicode(&mut self) -> Result<char, &'static str> {
        const WRONG: &str = "a \\u that is no character";
        let first = self.unit().ok_or(WRONG)?;
        let character = match first {
            0xd800..0xdc00 => {
                let second = self.rest.strip_prefix("\\u").ok_or(WRONG)?;
                self.rest = second;
                let second = self.unit().filter(|unit| (0xdc00..0xe000).contains(unit)).ok_or(WRONG)?;
                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            _ => first,
        };
        char::from_u32(character).ok_or(WRONG)
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.rest.get(..4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.rest = &self.rest[4..];
        u32::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Value, &'static str> {
        object(text.as_bytes(), 4).map(Value::Object)
    }

    /// "An example of the format of the JSON passed between client and server".
    #[test]
    fn the_sample_of_the_document_is_read() {
        let sample = "\n\n{\n    Command: \"msg\"\n    To: UID\n    Type: PM/GroupID\n    Message: \"Some Text\"\n    From: UID\n}\n";
        let wanted = json!({"Command": "msg", "To": "UID", "Type": "PM/GroupID", "Message": "Some Text", "From": "UID"});
        assert_eq!(read(sample), Ok(wanted));
    }

    #[test]
    fn what_stands_bare_or_in_either_quote_is_read() {
        let wanted = json!({"a": 7, "b": [true, null, "x y"], "c": {"d": "it's"}, "e-f": "\"\n\u{1f600}"});
        let text = "{a:7, b: [true,\nnull, x y,], 'c': {d: it's}\r\n e-f: '\"\\n\\ud83d\\ude00',}";
        assert_eq!(read(text), Ok(wanted));
        assert_eq!(read("{}"), Ok(json!({})));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, said) in [
            ("7", "not an object"),
            ("{a: '1' b: 2}", "a comma or a new line is missing"),
            ("{a 1}", "a colon is missing behind a key"),
            ("{: 1}", "a key is missing"),
            ("{a: }", "a value is missing"),
            ("{a: \"x}", "a string does not end in its line"),
            ("{a: '\\ud83d'}", "a \\u that is no character"),
            ("{a: '\\u12", "a \\u that is no character"),
            ("{a: 1} x", "something stands behind the object"),
            ("{a:{b:{c:{d:{}}}}}x", "too many levels"),
        ] {
            assert_eq!(read(text), Err(said), "{text}");
        }
        assert_eq!(object(b"{a: \xff}", 4), Err("not UTF-8"));
    }

    proptest! {
        #[test]
        fn strings_come_back_in_either_form(text in any::<String>()) {
            let strict = json!({ "a": text.clone() });
            prop_assert_eq!(read(&strict.to_string()), Ok(strict.clone()));
            let bare_key = strict.to_string().replacen("\"a\"", "a", 1);
            prop_assert_eq!(read(&bare_key), Ok(strict));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[{}\\[\\]\"'\\\\,:u0a \n]{0,60}") {
            if let Ok(value) = object(text.as_bytes(), 4) {
                prop_assert!(text.trim_start().starts_with('{'), "{:?}", value);
            }
        }
    }
}
