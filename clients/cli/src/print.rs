//! What the user sees: plain lines or one JSON object a line.
//!
//! Invariant: control characters and characters that turn the direction of text, wherever they come from, are escaped.
//! So a line is one line, and nobody writes to another's terminal anything but text.

use crate::failure::Failure;
use katydid_chat::{base64, time};
use katydid_sdk::{Change, Event, HistoryEntry, Json, Message, Place, Refusal, UserEvent, json, request};
use serde::Serialize;
use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write as _},
};

/// Where output goes and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    is_json: bool,
    has_time: bool,
}

/// Text that a terminal shows and does not obey.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if is_unsafe(letter) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    Cow::Owned(out)
}

/// JSON on one line, with the escapes that serde leaves out: those for DEL, for C1 and for directions.
pub(crate) fn safe_json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    if !text.chars().any(is_unsafe) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if is_unsafe(letter) {
            // All of them are below U+10000, and they stand in strings only.
            let _ = write!(out, "\\u{:04x}", u32::from(letter));
        } else {
            out.push(letter);
        }
    }
    out
}

/// Controls, separators of lines, and the marks that turn text round.
fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl Printer {
    pub(crate) fn new(is_json: bool, has_time: bool) -> Self {
        Self { is_json, has_time }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    /// One line, already safe.
    fn line(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    }

    /// The same thing in both forms.
    pub(crate) fn show(self, plain: &str, value: &impl Serialize) -> Result<(), Failure> {
        if self.is_json { self.line(&safe_json(value)) } else { self.line(&safe(plain)) }
    }

    /// Something that only a person wants to see.
    pub(crate) fn note(self, plain: &str) -> Result<(), Failure> {
        if self.is_json { Ok(()) } else { self.line(&format!("* {}", safe(plain))) }
    }

    /// Text of several lines that this program wrote.
    pub(crate) fn help(self, text: &str) -> Result<(), Failure> {
        text.lines().try_for_each(|text| self.line(&safe(text)))
    }

    /// What went wrong, on standard error.
    pub(crate) fn problem(&self, refusal: &Refusal) {
        let text = if self.is_json {
            safe_json(&json!({ "ok": false, "code": refusal.code, "reason": refusal.reason }))
        } else {
            format!("katydid-cli: {}", safe(&refusal.to_string()))
        };
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    fn stamp(self, time_ms: u64) -> String {
        if self.has_time { format!("{} ", time::format(time_ms)) } else { String::new() }
    }

    /// Something that was said.
    pub(crate) fn message(self, message: &Message) -> Result<(), Failure> {
        let Message { place, from, seq, time_ms, id, reply_to, replay, .. } = message;
        if self.is_json {
            let mut value = json!({
                "type": "message", "place": place.to_string(), "seq": seq, "time": time::format(*time_ms),
                "from": from, "replay": replay,
            });
            put_payload(&mut value, &message.payload);
            put(&mut value, "id", id.as_ref());
            put(&mut value, "reply_to", reply_to.as_ref());
            return self.line(&safe_json(&value));
        }
        let answers = reply_to.map_or(String::new(), |seq| format!(" (to #{seq})"));
        let stamp = self.stamp(*time_ms);
        self.line(&safe(&format!("{stamp}{place} #{seq} {from}{answers}: {}", message.text())))
    }

    /// Something of the past.
    pub(crate) fn entry(self, place: &Place, entry: &HistoryEntry) -> Result<(), Failure> {
        let HistoryEntry { seq, time_ms, from, channel, payload, id, is_deleted } = entry;
        if self.is_json {
            let mut value = json!({
                "place": place.to_string(), "seq": seq, "time": time::format(*time_ms), "from": from,
                "channel": channel, "deleted": is_deleted,
            });
            if let Some(payload) = payload {
                put_payload(&mut value, payload);
            }
            put(&mut value, "id", id.as_ref());
            return self.line(&safe_json(&value));
        }
        let text = match payload {
            Some(payload) => String::from_utf8_lossy(payload),
            None if *is_deleted => "(deleted)".into(),
            None => "(too long for a page)".into(),
        };
        let what = if channel == "msg" { String::new() } else { format!(" {channel}") };
        let stamp = self.stamp(*time_ms);
        self.line(&safe(&format!("{stamp}{place} #{seq} {from}{what}: {text}")))
    }

    /// Something that was found by its words.
    pub(crate) fn hit(self, hit: &request::FoundEntry) -> Result<(), Failure> {
        let text = hit.text.as_deref().unwrap_or("(too long for a page)");
        let stamp = self.stamp(time::parse(&hit.time).unwrap_or(0));
        let edited = if hit.edited.is_some() { " (edited)" } else { "" };
        self.show(&format!("{stamp}{} #{} {}{edited}: {text}", hit.place, hit.seq, hit.from), hit)
    }

    /// Anything that happens.
    pub(crate) fn event(self, event: &Event) -> Result<(), Failure> {
        match event {
            Event::Message(message) => self.message(message),
            Event::Change(change) => self.change(change),
            Event::User(event) => {
                let mut value = json!({
                    "type": "event", "from": event.from, "event": event.body, "time": time::format(event.time_ms),
                });
                put(&mut value, "seq", Some(&event.seq));
                let stamp = self.stamp(event.time_ms);
                self.show(&format!("{stamp}* {}", happened(event)), &value)
            }
            Event::Typing { place, user, .. } => self.show(
                &format!("* {user} is typing in {place}"),
                &json!({ "type": "typing", "place": place.to_string(), "user": user }),
            ),
            Event::Read { place, user, seq } => self.show(
                &format!("* {user} has read {place} up to #{seq}"),
                &json!({ "type": "read", "place": place.to_string(), "user": user, "seq": seq }),
            ),
            Event::Presence { place, user, body } => self.presence(place.as_ref(), user, body),
            Event::Info { place, body } => {
                let subject =
                    body["subject"].as_str().map_or(String::new(), |subject| format!(": {subject}"));
                let members = body["members"].as_u64().unwrap_or(0);
                let value = json!({ "type": "info", "place": place.to_string(), "info": body });
                self.show(&format!("* {place}, {members} in it{subject}"), &value)
            }
            Event::Gap(gap) => {
                let place = gap.place.as_ref().map(ToString::to_string);
                let value = json!({
                    "type": "gap", "place": place, "messages": gap.messages, "signals": gap.signals,
                });
                self.show(&format!("* something was not delivered {}", place.unwrap_or_default()), &value)
            }
            Event::Refused { place, refusal } => {
                let value = json!({
                    "type": "refused", "place": place.to_string(), "code": refusal.code, "reason": refusal.reason,
                });
                self.show(&format!("* {place} is closed: {refusal}"), &value)
            }
            Event::Connected { user, .. } => {
                let value = json!({ "type": "connected", "user": &**user });
                self.show(
                    &format!("* connected as {}", if user.is_empty() { "a guest" } else { user }),
                    &value,
                )
            }
            Event::Disconnected(refusal) => {
                let value = json!({ "type": "disconnected", "code": refusal.code, "reason": refusal.reason });
                self.show(&format!("* disconnected: {refusal}"), &value)
            }
            _ => Ok(()),
        }
    }

    fn presence(self, place: Option<&Place>, user: &str, body: &Json) -> Result<(), Failure> {
        let state = body["state"].as_str().unwrap_or(if body.is_null() { "gone" } else { "here" });
        let text = body["text"].as_str().map_or(String::new(), |text| format!(" ({text})"));
        let place = place.map(ToString::to_string);
        let value = json!({ "type": "presence", "place": place, "user": user, "presence": body });
        let at = place.map_or(String::new(), |place| format!(" in {place}"));
        self.show(&format!("* {user} is {state}{at}{text}"), &value)
    }

    fn change(self, change: &Change) -> Result<(), Failure> {
        let Change { place, from, seq, time_ms, kind, body, replay } = change;
        let value = json!({
            "type": "change", "place": place.to_string(), "seq": seq, "time": time::format(*time_ms),
            "from": from, "change": body, "replay": replay,
        });
        let target = body["seq"].as_u64().map_or(String::new(), |seq| format!(" #{seq}"));
        let text = ["text", "title", "subject", "user"].iter().find_map(|field| body[field].as_str());
        let text = text.map_or(String::new(), |text| format!(": {text}"));
        let kind = if kind.is_empty() { "says something that is no event" } else { kind };
        let stamp = self.stamp(*time_ms);
        self.show(&format!("{stamp}{place} #{seq} {from} {kind}{target}{text}"), &value)
    }
}

/// What happened to the user, in words as far as it is known.
fn happened(event: &UserEvent) -> String {
    let field = |name: &str| event.body[name].as_str().unwrap_or_default();
    let (place, by) = (field("place"), event.body["by"].as_str().unwrap_or(&event.from));
    match &*event.kind {
        "invitation" => format!("{by} invites you to {place}"),
        "added" => format!("{by} put you into {place}"),
        "kicked" => format!("{by} put you out of {place}"),
        "banned" => format!("{by} banned you from {place}"),
        "unbanned" => format!("{by} lets you into {place} again"),
        "muted" => format!("{by} muted you in {place}"),
        "unmuted" => format!("{by} lets you speak in {place} again"),
        "role" => format!("{by} made you {} in {place}", field("role")),
        "gone" => format!("{place} is {}", field("why")),
        "friend" => format!("{} is {}", field("user"), field("state")),
        "offer" => format!("{by} offers a {}: {}", field("kind"), event.body["data"]),
        kind => format!("{} {kind}: {}", event.from, event.body),
    }
}

fn put<T: Serialize>(value: &mut Json, name: &str, field: Option<&T>) {
    if let Some(field) = field {
        value[name] = json!(field);
    }
}

/// The payload as text, or as base64 where it is none.
fn put_payload(value: &mut Json, payload: &[u8]) {
    match std::str::from_utf8(payload) {
        Ok(text) => value["text"] = text.into(),
        Err(_) => value["base64"] = base64::encode(payload).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_comes_through() {
        let evil = "a\u{1b}[2Jb\r\nc\u{9b}31md\u{7f}e\u{202e}f\u{2028}";
        let plain = safe(evil);
        assert_eq!(plain, "a\\u{1b}[2Jb\\r\\nc\\u{9b}31md\\u{7f}e\\u{202e}f\\u{2028}");
        let text = safe_json(&json!({ "text": evil }));
        assert!(!text.chars().any(is_unsafe), "{text:?}");
        let back: Json = serde_json::from_str(&text).unwrap();
        assert_eq!(back["text"], evil, "JSON says the same");
        assert!(matches!(safe("Grüße 日本 👋"), Cow::Borrowed(_)));
    }

    #[test]
    fn bytes_that_are_no_text_are_base64_in_json() {
        let mut value = json!({});
        put_payload(&mut value, b"\xff");
        assert_eq!(value, json!({ "base64": "/w==" }));
    }
}
