//! The configuration as written: which key was given which text, and where. Reads the TOML file with its lines, the
//! environment and the command line into one form in which the later source replaces the earlier. Knows the names of
//! the keys and nothing of their values.

use super::{
    bridge,
    keys::{GLOBAL, LISTENER},
    problem::{Origin, Problems, nearest},
};
use std::{collections::BTreeMap, path::Path, sync::Arc};
use toml::de::{DeTable, DeValue};

/// What begins each variable of ours.
pub(crate) const PREFIX: &str = "KATYDID_";

/// What is wrong with the name of a listener.
const LISTENER_NAME: &str = "is not allowed; allowed is a name of letters, digits, - and _ such as \"mqtt\"";

/// What a section and a key may be, in the words of TOML.
const TABLE: &str = "a table of keys";
const VALUE: &str = "a text, a number, true or false";

/// The text of a key, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// Every key that was given.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) global: BTreeMap<&'static str, Given>,
    /// Those that the bridge has of its own.
    pub(super) bridge: BTreeMap<&'static str, Given>,
    /// In the order in which they were first named.
    pub(super) listeners: Vec<WrittenListener>,
}

/// The keys of one listener.
#[derive(Debug)]
pub(super) struct WrittenListener {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) keys: BTreeMap<&'static str, Given>,
}

impl Written {
    /// Gives a key by its name in full, such as `limits.packet-size` or `listener.mqtt.bind`.
    pub(super) fn give(&mut self, name: &str, text: String, origin: Origin, problems: &mut Problems) {
        if let Some(rest) = name.strip_prefix("listener.") {
            let Some((listener, key)) = rest.split_once('.') else {
                return problems.add(&origin, format!("{name}: a listener's key is listener.NAME.KEY"));
            };
            if !is_listener_name(listener) {
                return problems.add(&origin, format!("{name}: {listener:?} {LISTENER_NAME}"));
            }
            match LISTENER.iter().find(|known| known.name == key) {
                Some(known) => {
                    let given = Given { text, origin: origin.clone() };
                    self.listener(listener, origin).keys.insert(known.name, given);
                }
                None => problems.add(&origin, unknown(name, &format!("listener.{listener}."), key)),
            }
        } else {
            match GLOBAL.iter().find(|known| known.name == name) {
                Some(known) => drop(self.global.insert(known.name, Given { text, origin })),
                None => match bridge::names().find(|known| *known == name) {
                    Some(known) => drop(self.bridge.insert(known, Given { text, origin })),
                    None => problems.add(&origin, unknown(name, "", name)),
                },
            }
        }
    }

    /// The listener of that name, made when it is new.
    pub(super) fn listener(&mut self, name: &str, origin: Origin) -> &mut WrittenListener {
        let at = self.listeners.iter().position(|listener| listener.name == name).unwrap_or_else(|| {
            self.listeners.push(WrittenListener { name: name.into(), origin, keys: BTreeMap::new() });
            self.listeners.len() - 1
        });
        &mut self.listeners[at]
    }

    /// Takes a whole TOML file.
    pub(super) fn read_file(&mut self, path: &Path, text: &str, problems: &mut Problems) {
        let path: Arc<Path> = path.into();
        let at = |span: std::ops::Range<usize>| Origin::File {
            path: path.clone(),
            line: 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count(),
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            problems.add(&at(error.span().unwrap_or(0..0)), error.message());
        }
        if !errors.is_empty() {
            return;
        }
        for (key, value) in sorted(table.get_ref()) {
            if key.get_ref() == "listener" {
                self.read_listeners(value, &at, problems);
            } else {
                self.read_value(key.get_ref(), at(key.span()), value.get_ref(), &at, problems);
            }
        }
    }

    fn read_listeners(
        &mut self,
        value: &toml::Spanned<DeValue<'_>>,
        at: &dyn Fn(std::ops::Range<usize>) -> Origin,
        problems: &mut Problems,
    ) {
        let wanted = "listener: each listener is a table of its own, headed [[listener]]";
        let Some(entries) = value.get_ref().as_array() else {
            return problems.add(&at(value.span()), wanted);
        };
        for entry in entries.iter() {
            let origin = at(entry.span());
            let Some(table) = entry.get_ref().as_table() else {
                problems.add(&origin, wanted);
                continue;
            };
            let name = table.get("name").and_then(|name| name.get_ref().as_str()).unwrap_or_default();
            let place = table.get("name").map_or_else(|| origin.clone(), |name| at(name.span()));
            if !is_listener_name(name) {
                problems.add(&place, format!("listener.name: {name:?} {LISTENER_NAME}"));
                continue;
            }
            if self.listeners.iter().any(|known| known.name == name) {
                problems.add(&place, format!("listener.name: \"{name}\" is the name of another listener"));
                continue;
            }
            self.listener(name, origin);
            for (key, value) in sorted(table) {
                if key.get_ref() != "name" {
                    let full = format!("listener.{name}.{}", key.get_ref());
                    self.read_value(&full, at(key.span()), value.get_ref(), at, problems);
                }
            }
        }
    }

    /// Takes a value, or each value of a table whose name begins that of some key.
    fn read_value(
        &mut self,
        name: &str,
        origin: Origin,
        value: &DeValue<'_>,
        at: &dyn Fn(std::ops::Range<usize>) -> Origin,
        problems: &mut Problems,
    ) {
        let text = match value {
            DeValue::Table(table) if is_section(name) => {
                for (key, value) in sorted(table) {
                    let full = format!("{name}.{}", key.get_ref());
                    self.read_value(&full, at(key.span()), value.get_ref(), at, problems);
                }
                return;
            }
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.to_string(), |number| number.to_string()),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Array(entries) if bridge::is_list(name) => {
                let texts: Option<Vec<&str>> = entries.iter().map(|entry| entry.get_ref().as_str()).collect();
                let Some(texts) = texts else {
                    let wanted = "allowed are texts, each in quotes";
                    return problems.add(
                        &origin,
                        format!("{name}: something else than a text is not allowed; {wanted}"),
                    );
                };
                texts.join(",")
            }
            other if is_section(name) || is_key(name) => {
                let (what, wanted) = (other.type_str(), if is_section(name) { TABLE } else { VALUE });
                return problems
                    .add(&origin, format!("{name}: type {what} is not allowed; allowed is {wanted}"));
            }
            _ => String::new(),
        };
        if is_section(name) {
            return problems.add(&origin, format!("{name}: {text:?} is not allowed; allowed is {TABLE}"));
        }
        self.give(name, text, origin, problems);
    }

    /// Takes the variables that begin with `KATYDID_`: the key in capitals, with `_` for `.` and `-`.
    pub(super) fn read_environment(&mut self, variables: &[(String, String)], problems: &mut Problems) {
        for (variable, text) in variables {
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            // The configuration's path, read before; and what container platforms set for a service named "katydid".
            if name == "CONFIG" || name == "PORT" || name.starts_with("PORT_") || name.starts_with("SERVICE_")
            {
                continue;
            }
            // Those of a bridge on its own.
            if name == "BRIDGE_CONFIG" || name == "BRIDGE_BROKER" {
                continue;
            }
            let origin = Origin::Environment(variable.clone());
            let key = match name.strip_prefix("LISTENER_") {
                Some(rest) => self.listener_key(rest),
                None => global_names().find(|key| in_capitals(key) == name).map(Into::into),
            };
            match key {
                Some(key) => self.give(&key, text.clone(), origin, problems),
                None => {
                    let known: Vec<String> = global_names().map(in_capitals).collect();
                    let hint = nearest(name, known.iter().map(String::as_str))
                        .map(|near| format!("; did you mean {PREFIX}{near}?"))
                        .unwrap_or_else(|| "; `katydid --print-config` prints all keys".into());
                    problems.add(&origin, format!("no key has this name{hint}"));
                }
            }
        }
    }

    /// The key that `MQTT_TLS_KEY` stands for: the longest end that is a key of listeners, and a listener's name.
    fn listener_key(&self, name: &str) -> Option<String> {
        let (listener, key) = LISTENER
            .iter()
            .filter_map(|key| {
                let listener = name.strip_suffix(&in_capitals(key.name))?.strip_suffix('_')?;
                (!listener.is_empty()).then_some((listener, key.name))
            })
            .max_by_key(|(_, key)| key.len())?;
        let named = super::listeners::DEFAULTS
            .iter()
            .map(|known| known.name)
            .chain(self.listeners.iter().map(|known| known.name.as_str()))
            .find(|known| in_capitals(known) == listener)
            .map_or_else(|| listener.to_lowercase().replace('_', "-"), str::to_owned);
        Some(format!("listener.{named}.{key}"))
    }
}

/// Whether a listener may have this name: it is a part of keys and of variables.
pub(super) fn is_listener_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// The entries of a table in the order of the file.
fn sorted<'a, 'i>(
    table: &'a DeTable<'i>,
) -> Vec<(&'a toml::Spanned<toml::de::DeString<'i>>, &'a toml::Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// The names of all keys but those of listeners.
fn global_names() -> impl Iterator<Item = &'static str> {
    GLOBAL.iter().map(|key| key.name).chain(bridge::names())
}

/// Whether this is the name of a key in full.
fn is_key(name: &str) -> bool {
    match name.strip_prefix("listener.").and_then(|rest| rest.split_once('.')) {
        Some((_, key)) => LISTENER.iter().any(|known| known.name == key),
        None => global_names().any(|known| known == name),
    }
}

/// Whether some key is `name` and more after a dot.
fn is_section(name: &str) -> bool {
    let begins = |key: &str, name: &str| key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    match name.strip_prefix("listener.") {
        Some(rest) => rest
            .split_once('.')
            .is_none_or(|(_, section)| LISTENER.iter().any(|key| begins(key.name, section))),
        None => global_names().any(|key| begins(key, name)),
    }
}

fn in_capitals(key: &str) -> String {
    key.to_uppercase().replace(['.', '-'], "_")
}

/// Says that `name`, which is `before` and `key`, is none, and which are.
fn unknown(name: &str, before: &str, key: &str) -> String {
    let names: Vec<&str> = match before {
        "" => global_names().collect(),
        _ => LISTENER.iter().map(|key| key.name).collect(),
    };
    let mut sections: Vec<&str> =
        names.iter().filter_map(|name| name.split_once('.')).map(|(section, _)| section).collect();
    if before.is_empty() {
        sections.push("listener");
    }
    sections.dedup();
    // The bridge has sections below sections: what is near is looked for beside it first.
    let beside = if key.starts_with("bridge.") { below_section(key, &names) } else { Vec::new() };
    let near = nearest(key, beside.iter().copied());
    if let Some(near) = near.or_else(|| nearest(key, names.iter().chain(&sections).copied())) {
        return format!("{name}: unknown key; did you mean {before}{near}?");
    }
    if !beside.is_empty() {
        return format!("{name}: unknown key; allowed are {}", beside.join(", "));
    }
    let section = key.split_once('.').map_or("", |(section, _)| section);
    let allowed = match sections.contains(&section) {
        true => names.into_iter().filter(|name| name.split('.').next() == Some(section)).collect(),
        false if before.is_empty() => sections,
        false => names,
    };
    format!("{name}: unknown key; allowed are {}", allowed.join(", "))
}

/// The keys and sections that are in the deepest section of a key that there is.
fn below_section<'a>(key: &str, names: &[&'a str]) -> Vec<&'a str> {
    let mut section = key;
    while let Some((above, _)) = section.rsplit_once('.') {
        section = above;
        if is_section(section) {
            break;
        }
    }
    let mut below: Vec<&str> = Vec::new();
    for name in names {
        let Some(rest) = name.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')) else { continue };
        let end = rest.find('.').map_or(name.len(), |dot| name.len() - rest.len() + dot);
        if !below.contains(&&name[..end]) {
            below.push(&name[..end]);
        }
    }
    below
}
