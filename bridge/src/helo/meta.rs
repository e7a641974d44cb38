//! What a file is announced with: `<size> <path> <checksum>`.

use serde_json::{Value, json};

/// A file, announced and not there yet. Invariant: its text is three words that a client can take apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    /// As the sender's client wrote it, which is how that client finds the file again.
    pub(super) text: String,
    pub(super) size: u64,
    pub(super) checksum: i32,
}

impl Meta {
    /// Three words: a size, a path with a dot in it (the clients look for one) and a checksum.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let [size, path, checksum] = words.as_slice() else { return None };
        let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(size) || !is_number(checksum.strip_prefix('-').unwrap_or(checksum)) || !has_suffix(path)
        {
            return None;
        }
        if path.chars().any(|character| character.is_whitespace() || character.is_control()) {
            return None;
        }
        let (size, checksum) = (size.parse().ok()?, checksum.parse().ok()?);
        Some(Self { text: text.into(), size, checksum })
    }

    /// What an offer of somebody elsewhere announces, if it is a file that waits to be fetched from this user.
    pub(super) fn of_offer(data: &Value) -> Option<Self> {
        if data.get("port").is_some() {
            return None;
        }
        let size = data.get("size")?.as_u64()?;
        let checksum = i32::try_from(data.get("checksum")?.as_i64()?).ok()?;
        let plain = |character: char| match character {
            '@' | '<' | '/' | '\\' => '_',
            _ if character.is_whitespace() || character.is_control() => '_',
            _ => character,
        };
        let mut name: String = data.get("name")?.as_str()?.chars().take(200).map(plain).collect();
        if !has_suffix(&name) {
            name.insert_str(0, "file.");
        }
        Self::parse(&format!("{size} {name} {checksum}"))
    }

    /// The fields of an offer to somebody elsewhere.
    pub(super) fn to_offer(&self) -> Value {
        let path = self.text.split(' ').nth(1).unwrap_or_default();
        let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
        json!({"name": name, "size": self.size, "checksum": self.checksum})
    }

    /// Whether the sender's client would take a port out of the metadata together with the port behind it.
    pub(super) fn hides(&self, port: u16) -> bool {
        let port = port.to_string();
        self.text.split(' ').any(|word| word.starts_with(&port))
    }
}

/// A dot with something on both sides.
fn has_suffix(path: &str) -> bool {
    path.char_indices().any(|(at, character)| character == '.' && at > 0 && at + 1 < path.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_three_words_that_a_client_can_take_apart() {
        let meta = Meta::parse("12 C:\\pic\\a.png -77").expect("three words");
        assert_eq!((meta.size, meta.checksum), (12, -77));
        assert_eq!(meta.to_offer(), json!({"name": "a.png", "size": 12, "checksum": -77}));
        for wrong in [
            "",
            "12",
            "12 a.png",
            "12 a.png x",
            "x a.png 7",
            "-1 a.png 7",
            "12 a 7",
            "12 .a 7",
            "12 a. 7",
            "12  a.png 7",
            "12 a.png 7 7",
            "12 a\u{a0}b.c 7",
            "12 a.png 99999999999",
            "+1 a.png 7",
            "1 a.png +7",
        ] {
            assert_eq!(Meta::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_offer_becomes_metadata_and_its_name_no_path() {
        let offer =
            |name: &str| Meta::of_offer(&json!({"name": name, "size": 3, "checksum": -7})).map(|it| it.text);
        assert_eq!(offer("a b.txt").as_deref(), Some("3 a_b.txt -7"));
        assert_eq!(offer("../x@y").as_deref(), Some("3 .._x_y -7"));
        assert_eq!(offer("README").as_deref(), Some("3 file.README -7"));
        assert_eq!(offer("a\nPING.x").as_deref(), Some("3 a_PING.x -7"));
        assert_eq!(Meta::of_offer(&json!({"name": "a.b", "size": 3})), None);
        assert_eq!(Meta::of_offer(&json!({"name": "a.b", "size": 3, "checksum": 7, "port": 1})), None);
    }

    #[test]
    fn a_port_that_begins_a_word_of_the_metadata_is_hidden() {
        let meta = Meta::parse("13380 1339.txt 13407").expect("three words");
        assert_eq!([1338, 1339, 1340, 1341].map(|port| meta.hides(port)), [true, true, true, false]);
    }
}
