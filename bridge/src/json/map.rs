//! Names and answers of the JSON protocol for what the broker says: UIDs `name@host`, groups by their secret names, texts
//! that JSON can hold, one object in a line.

use crate::chat::{Message, Place};
use katydid_chat::base64;
use serde_json::{Map, Value, json};

/// A private message's `Type`.
pub(super) const PRIVATE: &str = "PM";

/// A group message's `Type`.
pub(super) const GROUP: &str = "group-message";

/// The UID of a user: `name@host`.
pub(super) fn uid(user: &str, host: &str) -> String {
    format!("{user}@{host}")
}

/// The user of a UID, or of a name alone. What [`uid`] gave comes back, whatever the name holds.
pub(super) fn user<'a>(uid: &'a str, host: &str) -> &'a str {
    match uid.rsplit_once('@') {
        Some((user, given)) if given.eq_ignore_ascii_case(host) => user,
        _ => uid,
    }
}

/// One line.
pub(super) fn line(object: &Value) -> Vec<u8> {
    let mut line = object.to_string().into_bytes();
    line.push(b'\n');
    line
}

/// A command that was carried out.
pub(super) fn done(command: &str, id: Option<&Value>, mut fields: Value) -> Value {
    fields["Command"] = command.into();
    fields["Status"] = "ok".into();
    with_id(fields, id)
}

/// A command that was not, and why.
pub(super) fn refused(command: &str, id: Option<&Value>, code: &str, reason: &str) -> Value {
    with_id(json!({"Command": command, "Status": "error", "Code": code, "Reason": reason}), id)
}

fn with_id(mut answer: Value, id: Option<&Value>) -> Value {
    if let Some(id) = id {
        answer["Id"] = id.clone();
    }
    answer
}

/// What was said, to be handed to a client.
pub(super) fn message(place: Option<&Place>, me: &str, host: &str, said: &Message) -> Value {
    let (to, kind) = match place {
        Some(place) => (place.id(), GROUP),
        None => (uid(me, host), PRIVATE),
    };
    let mut object = json!({"Command": "msg", "To": to, "Type": kind, "From": uid(&said.from, host)});
    put_text(&mut object, &said.text);
    if said.seq != 0 {
        object["Seq"] = said.seq.into();
    }
    if let Some(name) = &said.name {
        object["Name"] = name.as_str().into();
    }
    object
}

/// A text, and its bytes where they are none.
fn put_text(object: &mut Value, bytes: &[u8]) {
    object["Message"] = String::from_utf8_lossy(bytes).into();
    if std::str::from_utf8(bytes).is_err() {
        object["Base64"] = base64::encode(bytes).into();
    }
}

/// The messages of a page of the broker's history; events among them are left out.
pub(super) fn page(answer: &Value, host: &str) -> Vec<Value> {
    let entries = answer.get("entries").and_then(Value::as_array).into_iter().flatten();
    entries.filter_map(|entry| entry_of(entry, host)).collect()
}

fn entry_of(entry: &Value, host: &str) -> Option<Value> {
    let text = |field: &str| entry.get(field).and_then(Value::as_str);
    if text("topic")?.rsplit('/').nth(1) != Some("msg") {
        return None;
    }
    let mut object = json!({"From": uid(text("from")?, host), "Seq": entry.get("seq"), "Time": text("time")});
    match (text("text"), text("base64").and_then(base64::decode)) {
        (Some(text), _) => object["Message"] = text.into(),
        (None, Some(bytes)) => put_text(&mut object, &bytes),
        (None, None) if entry.get("deleted").is_some() => return None,
        (None, None) => object["Message"] = "".into(),
    }
    Some(object)
}

/// Names in an answer's list of places.
pub(super) fn names(answer: &Value) -> Vec<String> {
    let places = answer.get("places").and_then(Value::as_array).into_iter().flatten();
    places.filter_map(|place| place.get("name")?.as_str().map(Into::into)).collect()
}

/// The fields of an object, their names in lower case.
pub(super) fn lower(fields: Map<String, Value>) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_comes_back_whatever_the_name_holds() {
        for name in ["ann", "ann@example.org", "ann@host", "@"] {
            assert_eq!(user(&uid(name, "host"), "host"), name);
        }
        assert_eq!(user("ann@HOST", "host"), "ann");
        assert_eq!(user("ann", "host"), "ann");
    }

    #[test]
    fn a_page_holds_what_was_said_and_no_more() {
        let answer = json!({"entries": [
            {"seq": 1, "time": "t", "topic": "group/g/msg/ann", "from": "ann", "text": "hi"},
            {"seq": 2, "time": "t", "topic": "group/g/event/ann", "from": "ann", "text": "{}"},
            {"seq": 3, "time": "t", "topic": "group/g/msg/bob", "from": "bob", "base64": "/w=="},
            {"seq": 4, "time": "t", "topic": "group/g/msg/bob", "from": "bob", "deleted": true}]});
        let bytes = json!({"From": "bob@h", "Seq": 3, "Time": "t", "Message": "\u{fffd}", "Base64": "/w=="});
        let text = json!({"From": "ann@h", "Seq": 1, "Time": "t", "Message": "hi"});
        assert_eq!(page(&answer, "h"), [text, bytes]);
        assert_eq!(page(&Value::Null, "h"), Vec::<Value>::new());
    }
}
