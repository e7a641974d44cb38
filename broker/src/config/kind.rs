//! The kinds of values that a key can have: how each is read from text, and the words that say what is allowed.
//! Knows no key. A kind carries the setter for its own Rust type, so a value can't end up in a field of another.

use std::{path::PathBuf, time::Duration};

/// Words that stand for values besides those within the bounds.
pub(super) type Words<V> = &'static [(&'static str, V)];

/// What a key of a `T` holds, and where in the `T` it goes.
pub(super) enum Kind<T: 'static> {
    /// Bytes: `8MiB`, `64KiB`, or a plain number.
    Size { least: u64, most: u64, set: fn(&mut T, u64) },
    /// A plain number; `words` stand for values.
    Count { least: u64, most: u64, words: Words<u64>, set: fn(&mut T, u64) },
    /// A duration: `30s`, `1h 30m`, `7d`; a multiple of `step`. `words` stand for values.
    Time {
        least: Duration,
        most: Duration,
        step: Duration,
        words: Words<Duration>,
        set: fn(&mut T, Duration),
    },
    /// `true` or `false`.
    Switch { set: fn(&mut T, bool) },
    /// One of these words; the setter takes its index.
    Choice { words: &'static [&'static str], set: fn(&mut T, usize) },
    /// A file or folder; empty is none.
    Path { set: fn(&mut T, Option<PathBuf>) },
    /// Text of a form of its own.
    Text { form: &'static str, set: fn(&mut T, &str) -> bool },
}

impl<T> Kind<T> {
    /// Sets what `text` says; false when it says nothing that is allowed.
    pub(super) fn set(&self, target: &mut T, text: &str) -> bool {
        match self {
            Kind::Size { least, most, set } => {
                within(size_bytes(text), least, most).map(|value| set(target, value)).is_some()
            }
            Kind::Count { least, most, words, set } => spelled(text, words)
                .or_else(|| within(text.parse().ok(), least, most))
                .map(|value| set(target, value))
                .is_some(),
            Kind::Time { least, most, step, words, set } => spelled(text, words)
                .or_else(|| {
                    within(humantime::parse_duration(text).ok(), least, most)
                        .filter(|value| value.as_nanos() % step.as_nanos() == 0)
                })
                .map(|value| set(target, value))
                .is_some(),
            Kind::Switch { set } => match text {
                "true" => (set(target, true), true).1,
                "false" => (set(target, false), true).1,
                _ => false,
            },
            Kind::Choice { words, set } => {
                words.iter().position(|word| *word == text).map(|at| set(target, at)).is_some()
            }
            Kind::Path { set } => {
                set(target, (!text.is_empty()).then(|| PathBuf::from(text)));
                !text.contains('\0')
            }
            Kind::Text { set, .. } => set(target, text),
        }
    }

    /// What is allowed, to follow "allowed is".
    pub(super) fn allowed(&self) -> String {
        match self {
            Kind::Size { least, most, .. } => format!(
                "a size from {} to {} such as \"8MiB\", \"64KiB\" or a plain number of bytes",
                size_text(*least),
                size_text(*most)
            ),
            Kind::Count { least, most, words, .. } => {
                format!("{}a number from {least} to {most}", alternatives(words))
            }
            Kind::Time { least, most, step, words, .. } => {
                let whole = if *step >= Duration::from_secs(1) { " in whole seconds" } else { "" };
                let example =
                    if *most > Duration::from_secs(60) { "\"30s\" or \"1h 30m\"" } else { "\"500ms\"" };
                let (words, least, most) = (alternatives(words), duration_text(*least), duration_text(*most));
                format!("{words}a duration from {least} to {most}{whole} such as {example}")
            }
            Kind::Switch { .. } => "true or false".into(),
            Kind::Choice { words, .. } => {
                words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
            }
            Kind::Path { .. } => "a path".into(),
            Kind::Text { form, .. } => (*form).into(),
        }
    }

    /// A value as the file has it: numbers and switches bare, the rest quoted.
    pub(super) fn toml(&self, text: &str) -> String {
        let bare = match self {
            Kind::Switch { .. } => true,
            Kind::Size { .. } | Kind::Count { .. } => text.bytes().all(|byte| byte.is_ascii_digit()),
            _ => false,
        };
        if bare { text.into() } else { format!("\"{text}\"") }
    }
}

/// The value of a word, when the text is one.
fn spelled<V: Copy>(text: &str, words: Words<V>) -> Option<V> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
}

/// The words, to stand before what else is allowed.
fn alternatives<V>(words: Words<V>) -> String {
    words.iter().map(|(word, _)| format!("\"{word}\" or ")).collect()
}

fn within<V: PartialOrd>(value: Option<V>, least: &V, most: &V) -> Option<V> {
    value.filter(|value| least <= value && value <= most)
}

const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

/// Bytes of `8MiB`, `64KiB`, `10B` or `1000`.
fn size_bytes(text: &str) -> Option<u64> {
    let (digits, shift) = UNITS
        .iter()
        .find_map(|(unit, shift)| text.strip_suffix(unit).map(|rest| (rest.trim_end(), *shift)))
        .unwrap_or((text, 0));
    let number: u64 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    number.checked_mul(1 << shift)
}

/// The shortest exact spelling of a number of bytes.
fn size_text(bytes: u64) -> String {
    UNITS
        .iter()
        .find(|(_, shift)| *shift > 0 && bytes > 0 && bytes.is_multiple_of(1 << shift))
        .map_or_else(|| bytes.to_string(), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

/// A bound in words: days are the longest unit, for months and years have no exact length.
fn duration_text(value: Duration) -> String {
    const DAY_SECS: u64 = 24 * 3600;
    let days = value.as_secs() / DAY_SECS;
    if days > 0 { format!("{days}d") } else { humantime::format_duration(value).to_string() }
}
