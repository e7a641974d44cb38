//! A configuration that is put together a key at a time, each from a text, for a program with a configuration of its own.
//!
//! The manual is the table of the keys: what it does not show is none. Knows nothing of where a text was written; who
//! drives it does, and can say so of each that is refused.

use super::{MANUAL, Written};
use serde::Deserialize;
use std::sync::LazyLock;
use toml::{Table, Value};

/// What is shown of a listener in other sections, too.
const LISTENER: &str = "text.listener";

/// A key.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// With its section: `text.listener.bind`.
    pub name: String,
    /// Whether it holds several texts, which are written with commas between them where there is no TOML.
    pub is_list: bool,
}

/// Every key but those that say where the broker is.
pub fn keys() -> &'static [Key] {
    static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| read_keys(MANUAL));
    &KEYS
}

/// The manual without its head and without where the broker is, each section below `parent`.
pub fn manual_below(parent: &str) -> String {
    let sections = MANUAL.split("\n\n").filter(|block| {
        let is_head = !block.lines().any(|line| section(line).is_some());
        !is_head && !block.contains("[broker]\n")
    });
    let lines = sections.flat_map(|block| block.lines().chain([""])).map(|line| match section(line) {
        Some(name) if line.starts_with('#') => format!("#[{parent}.{name}]\n"),
        Some(name) => format!("[{parent}.{name}]\n"),
        None => format!("{line}\n"),
    });
    lines.collect::<String>().trim_end().to_owned() + "\n"
}

/// The section that a line begins, also where it is shown as an example.
fn section(line: &str) -> Option<&str> {
    line.trim_start_matches('#').strip_prefix('[')?.strip_suffix(']')
}

fn read_keys(manual: &str) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    let mut current = "";
    let mut listeners = Vec::new();
    for line in manual.lines() {
        if let Some(name) = section(line) {
            current = name;
            if name.ends_with(".listener") || name == "mchat.mesh" {
                listeners.push(name);
            }
        } else if let Some((key, value)) = line.trim_start_matches('#').split_once(" = ")
            && !key.contains(' ')
            && current != "broker"
        {
            keys.push(Key { name: format!("{current}.{key}"), is_list: value.starts_with('[') });
        }
    }
    let shown: Vec<String> =
        keys.iter().filter_map(|key| key.name.strip_prefix(LISTENER)).map(str::to_owned).collect();
    for listener in listeners {
        for key in &shown {
            let name = format!("{listener}{key}");
            if keys.iter().all(|known| known.name != name) {
                keys.push(Key { name, is_list: false });
            }
        }
    }
    keys
}

/// A configuration in the making.
#[derive(Debug, Default)]
pub struct Draft(Table);

impl Draft {
    /// Gives a key, by its name with its section.
    ///
    /// # Errors
    /// What the text should have been.
    pub fn give(&mut self, key: &str, text: &str) -> Result<(), String> {
        let is_list = keys().iter().any(|known| known.name == key && known.is_list);
        let plain = text.parse::<Value>().ok().filter(|value| !value.is_table() && !value.is_array());
        let list = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let readings = match is_list {
            true => vec![Value::Array(list.map(|word| Value::String(word.into())).collect())],
            // A number where a text belongs is one: a token may be all digits.
            false => plain.into_iter().chain([Value::String(text.into())]).collect(),
        };
        let mut refused = String::new();
        for reading in readings {
            let mut alone = Table::new();
            put(&mut alone, key, reading.clone());
            match Written::deserialize(alone) {
                Ok(_) => {
                    put(&mut self.0, key, reading);
                    return Ok(());
                }
                Err(error) if refused.is_empty() => refused = error.message().to_owned(),
                Err(_) => {}
            }
        }
        Err(refused)
    }

    /// What was given, and the defaults of the rest.
    ///
    /// # Errors
    /// Keys contradict each other; each alone was allowed.
    pub fn written(self) -> Result<Written, String> {
        Written::deserialize(self.0).map_err(|error| error.message().to_owned())
    }
}

/// Puts a value where the sections of its key say.
fn put(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => drop(table.insert(key.into(), value)),
        Some((section, rest)) => {
            let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Some(inner) = entry.as_table_mut() {
                put(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_shows_every_key_that_there_is() {
        let all: Vec<&str> = keys().iter().map(|key| &*key.name).collect();
        for section in ["text", "mchat", "helo", "json", "rest", "rest.openid", "rest.listener", "mchat.mesh"]
        {
            let mut wrong = Table::new();
            put(&mut wrong, &format!("{section}.nonsense"), Value::Integer(1));
            // The deserialiser names what it would have taken.
            let error = Written::deserialize(wrong).expect_err(section);
            for known in error.message().split('`').skip(3).step_by(2) {
                let name = format!("{section}.{known}");
                let is_section = all.iter().any(|key| key.starts_with(&format!("{name}.")));
                assert!(is_section || all.contains(&&*name), "{name} is not in the manual");
            }
        }
        assert!(!all.iter().any(|key| key.starts_with("broker.")));
    }

    #[test]
    fn a_text_is_read_as_what_the_key_holds() {
        let mut draft = Draft::default();
        for (key, text) in [
            ("text.listener.on", "false"),
            ("text.listener.bind", "127.0.0.1:7"),
            ("helo.file-ports", "3"),
            ("rest.openid.client-id", "12"),
            ("mchat.peers", "a:1, b:2"),
            ("rest.origins", ""),
        ] {
            assert_eq!(draft.give(key, text), Ok(()), "{key}");
        }
        for (key, text) in [
            ("helo.file-ports", "many"),
            ("helo.file-ports", "-1"),
            ("text.listener.on", "1"),
            ("text.no", "1"),
        ] {
            assert!(draft.give(key, text).is_err(), "{key} = {text}");
        }
        let written = draft.written().expect("written");
        assert!(!written.text.listener.on && written.json.listener.on);
        assert_eq!(written.text.listener.bind.as_deref(), Some("127.0.0.1:7"));
        assert_eq!((written.helo.file_ports, written.mchat.peers), (3, vec!["a:1".into(), "b:2".into()]));
        assert_eq!(written.rest.openid.expect("a provider").client_id, "12");
    }

    #[test]
    fn the_manual_below_another_section_has_every_protocol_and_no_broker() {
        let manual = manual_below("bridge");
        let table: Table = manual.parse().expect("TOML");
        let bridge = table["bridge"].as_table().expect("a section");
        assert_eq!(bridge.keys().collect::<Vec<_>>(), ["helo", "json", "mchat", "rest", "text"]);
        assert_eq!(Written::deserialize(bridge.clone()), Ok(Written::default()));
        assert!(manual.contains("#[bridge.rest.openid]\n"), "{manual}");
    }
}
