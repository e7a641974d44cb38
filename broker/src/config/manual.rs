//! The manual: the default configuration file with what every key does, made of the table of keys. Its invariant:
//! reading what it prints gives the defaults.

use super::{
    keys::{Change, GLOBAL, Key, LISTENER, Preset},
    listeners::{DEFAULTS, default_text},
};

/// Where comments are broken, in columns.
const WIDTH: usize = 100;

const HEAD: &str = "\
The configuration of katydid: every key, its default and what it does. A key that is left out has its default. \
A line that begins with #key = shows a key that has none.";

const SOURCES: &str = "\
The same keys can be given in the environment (limits.packet-size is KATYDID_LIMITS_PACKET_SIZE) and on the \
command line (--limits.packet-size 8MiB); the command line goes before the environment, and that before this file. \
Keys of a listener are listener.NAME.KEY there. Sizes are written 64KiB, 8MiB or in plain bytes, durations \
500ms, 30s, 1h 30m or 7d.";

const RELOAD: &str = "\
SIGHUP reads the configuration again, and the files that it names. Keys that change with a restart stay as they are \
until the broker starts again.";

const LISTENERS: &str = "\
Listeners. Those below are there when no listener is written; a file that writes one has only those that it \
writes. Each has a name, which logs and the other ways to give a key use.";

const BRIDGE: &str = "\
The protocols of the bridge. All of these keys change with a restart; lists are written with commas between their \
entries in the environment and on the command line.";

/// The default configuration as a TOML file.
pub(crate) fn manual() -> String {
    let mut text = String::new();
    for (at, paragraph) in [HEAD, SOURCES, RELOAD].into_iter().enumerate() {
        if at > 0 {
            text.push_str("#\n");
        }
        comment(&mut text, paragraph);
    }
    let mut section = "";
    for key in GLOBAL {
        let (head, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if head != section {
            section = head;
            text.push_str(&format!("\n[{section}]\n"));
        }
        text.push('\n');
        explain(&mut text, key);
        let (hash, value) = match key.preset {
            Preset::Is(value) => ("", value),
            Preset::None { example } => ("#", example),
        };
        text.push_str(&format!("{hash}{name} = {}\n", key.kind.toml(value)));
    }
    text.push('\n');
    comment(&mut text, BRIDGE);
    text.push('\n');
    text.push_str(&katydid_bridge::config::draft::manual_below(super::bridge::SECTION));
    text.push('\n');
    comment(&mut text, LISTENERS);
    for (at, listener) in DEFAULTS.iter().enumerate() {
        text.push('\n');
        comment(&mut text, listener.about);
        text.push_str(&format!("[[listener]]\nname = \"{}\"\n", listener.name));
        for key in LISTENER {
            // What each key does is said once; further listeners show only what tells them apart.
            let value = default_text(listener, key.name);
            if at == 0 {
                text.push('\n');
                explain(&mut text, key);
            } else if !["bind", "protocol", "path"].contains(&key.name) || value.is_none() {
                continue;
            }
            let (hash, value) = match (&value, &key.preset) {
                (Some(value), _) => ("", value.as_str()),
                (None, Preset::Is(example) | Preset::None { example }) => ("#", *example),
            };
            text.push_str(&format!("{hash}{} = {}\n", key.name, key.kind.toml(value)));
        }
    }
    text
}

/// What a key does, and what is known of it otherwise.
fn explain<T>(text: &mut String, key: &Key<T>) {
    comment(text, key.about);
    let allowed = key.kind.allowed();
    let change = match key.change {
        Change::Reload => "",
        Change::Restart => "with a restart",
    };
    for (what, words) in
        [("Allowed", allowed.as_str()), ("Memory", key.memory), ("Counter", key.counter), ("Changes", change)]
    {
        if !words.is_empty() {
            comment(text, &format!("{what}: {words}."));
        }
    }
}

/// A paragraph as lines of comment.
fn comment(text: &mut String, paragraph: &str) {
    let mut line = String::from("#");
    for word in paragraph.split_whitespace() {
        if line.len() + word.len() + 1 > WIDTH && line.len() > 1 {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}
