//! What a PUBLISH from the broker means: topics and properties read as events.
//!
//! Knows the topic tree of `topics.md` and nothing of sessions. Whatever a peer may send, it becomes an event or nothing.

use crate::{
    Change, Event, Json, Message, Place, UserEvent,
    contract::{self, property},
};
use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5::{Publish, PublishProperties};

/// Events of a pair's log that change what was said; the others happened to the user.
const CHANGES: [&str; 5] = ["edit", "delete", "reaction", "pin", "unpin"];

/// What came.
#[derive(Debug, PartialEq)]
pub(super) enum Incoming {
    /// Something with a number in a place's log.
    Numbered(Place, u64, Event),
    /// Something that is not numbered.
    Signal(Event),
    /// The answer to a request.
    Answer,
    /// Nothing that can be understood.
    Nothing,
}

/// Reads a PUBLISH for the user `me` (empty while the name is not known).
pub(super) fn read(publish: &Publish, me: &str) -> Incoming {
    let Ok(topic) = std::str::from_utf8(&publish.topic) else { return Incoming::Nothing };
    let levels: Vec<&str> = topic.splitn(5, '/').collect();
    match levels[..] {
        ["user", _, "reply"] | ["user", _, "reply", ..] => Incoming::Answer,
        ["user", to, "msg" | "event", from] => {
            let other = if to == me || me.is_empty() { from } else { to };
            match Place::user(other) {
                Ok(place) => numbered(publish, place, levels[2], from),
                Err(_) => Incoming::Nothing,
            }
        }
        ["user", user, "presence"] => {
            Incoming::Signal(Event::Presence { place: None, user: user.into(), body: json(&publish.payload) })
        }
        ["user", user, "profile"] => {
            Incoming::Signal(Event::Profile { user: user.into(), body: json(&publish.payload) })
        }
        ["room" | "group", name, channel, ref rest @ ..] => {
            let place = if levels[0] == "room" { Place::room(name) } else { Place::group(name) };
            match place {
                Ok(place) => in_place(publish, place, channel, rest).unwrap_or_else(|| other(publish, topic)),
                Err(_) => Incoming::Nothing,
            }
        }
        _ => other(publish, topic),
    }
}

fn in_place(publish: &Publish, place: Place, channel: &str, rest: &[&str]) -> Option<Incoming> {
    let user = match (channel, rest) {
        ("info", []) => {
            return Some(Incoming::Signal(Event::Info { place, body: json(&publish.payload) }));
        }
        (_, [user]) => (*user).to_owned(),
        _ => return None,
    };
    Some(match channel {
        "msg" | "event" | "post" => numbered(publish, place, channel, &user),
        "typing" => Incoming::Signal(Event::Typing { place, user, payload: copied(&publish.payload) }),
        "read" => match read_marker(&publish.payload) {
            Some(seq) => Incoming::Signal(Event::Read { place, user, seq }),
            None => Incoming::Nothing,
        },
        "presence" => {
            Incoming::Signal(Event::Presence { place: Some(place), user, body: json(&publish.payload) })
        }
        _ => return None,
    })
}

fn numbered(publish: &Publish, place: Place, channel: &str, from: &str) -> Incoming {
    let none = PublishProperties::default();
    let properties = publish.properties.as_ref().unwrap_or(&none);
    let text = |name| property(&properties.user_properties, name);
    let seq = text(contract::SEQ).and_then(|seq| seq.parse().ok()).unwrap_or(0);
    let time_ms = text(contract::TIME).map_or(0, contract::time_ms);
    let from = from.to_owned();
    let replay = publish.retain;
    if channel == "msg" {
        let is_ours =
            |name: &str| matches!(name, contract::SEQ | contract::TIME | contract::ID | contract::REPLY_TO);
        let others = properties.user_properties.iter().filter(|(name, _)| !is_ours(name));
        let message = Message {
            place: place.clone(),
            from,
            seq,
            time_ms,
            id: text(contract::ID).map(Into::into),
            payload: copied(&publish.payload),
            reply_to: text(contract::REPLY_TO).and_then(|seq| seq.parse().ok()),
            content_type: properties.content_type.clone(),
            properties: others.cloned().collect(),
            replay,
        };
        return Incoming::Numbered(place, seq, Event::Message(message));
    }
    let body = json(&publish.payload);
    let kind = body["type"].as_str().unwrap_or_default().to_owned();
    let is_personal = matches!(place, Place::User(_)) && !CHANGES.contains(&&*kind);
    let event = if is_personal {
        Event::User(UserEvent { from, seq, time_ms, kind, body, replay })
    } else {
        Event::Change(Change { place: place.clone(), from, seq, time_ms, kind, body, replay })
    };
    Incoming::Numbered(place, seq, event)
}

fn other(publish: &Publish, topic: &str) -> Incoming {
    Incoming::Signal(Event::Other { topic: topic.to_owned(), payload: copied(&publish.payload) })
}

/// A number, plain or as `{"seq":N}`.
fn read_marker(payload: &[u8]) -> Option<u64> {
    let body: Json = serde_json::from_slice(payload).ok()?;
    body.as_u64().or_else(|| body["seq"].as_u64())
}

/// JSON; nothing is `null`, and what is no JSON is a string.
fn json(payload: &[u8]) -> Json {
    if payload.is_empty() {
        return Json::Null;
    }
    serde_json::from_slice(payload)
        .unwrap_or_else(|_| Json::String(String::from_utf8_lossy(payload).into_owned()))
}

/// A copy, so that a short message does not hold on to the buffer that it was read into.
fn copied(payload: &Bytes) -> Bytes {
    Bytes::copy_from_slice(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumqttc::v5::mqttbytes::QoS;

    fn publish(topic: &str, payload: &str, properties: &[(&str, &str)]) -> Publish {
        let user_properties =
            properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let properties = PublishProperties { user_properties, ..Default::default() };
        Publish::new(topic, QoS::AtLeastOnce, payload.to_owned(), Some(properties))
    }

    #[test]
    fn a_message_is_read_with_its_number_time_and_id() {
        let properties = [("mood", "fine"), ("id", "x1"), ("seq", "7"), ("time", "1970-01-01T00:00:01.500Z")];
        let Incoming::Numbered(place, 7, Event::Message(message)) =
            read(&publish("room/Home/msg/ann", "hi", &properties), "bob")
        else {
            panic!("no message");
        };
        assert_eq!((place, message.from.as_str()), (Place::room("Home").unwrap(), "ann"));
        assert_eq!((message.time_ms, message.id.as_deref()), (1500, Some("x1")));
        assert_eq!(message.properties, [("mood".to_owned(), "fine".to_owned())]);
        assert_eq!(message.text(), "hi");
    }

    #[test]
    fn both_directions_of_a_pair_are_one_place() {
        for topic in ["user/me/msg/bob", "user/bob/msg/me"] {
            let Incoming::Numbered(place, ..) = read(&publish(topic, "hi", &[]), "me") else {
                panic!("{topic} is no message");
            };
            assert_eq!(place, Place::user("bob").unwrap(), "{topic}");
        }
    }

    #[test]
    fn events_of_a_pair_are_changes_or_happen_to_the_user() {
        let edit = publish("user/me/event/bob", r#"{"type":"edit","seq":3}"#, &[("seq", "4")]);
        assert!(matches!(read(&edit, "me"), Incoming::Numbered(_, 4, Event::Change(_))));
        let invitation = publish("user/me/event/bob", r#"{"type":"invitation","place":"room/x"}"#, &[]);
        let Incoming::Numbered(_, 0, Event::User(event)) = read(&invitation, "me") else {
            panic!("no event of the user");
        };
        assert_eq!((event.kind.as_str(), event.body["place"].as_str()), ("invitation", Some("room/x")));
    }

    #[test]
    fn signals_are_told_apart_by_their_topic() {
        let signal = |topic, payload| match read(&publish(topic, payload, &[]), "me") {
            Incoming::Signal(event) => event,
            other => panic!("{topic}: {other:?}"),
        };
        let home = Place::room("Home").unwrap();
        assert!(matches!(signal("room/Home/typing/ann", ""), Event::Typing { .. }));
        assert!(matches!(signal("room/Home/read/ann", "12"), Event::Read { seq: 12, .. }));
        assert!(matches!(signal("group/g/read/ann", r#"{"seq":9}"#), Event::Read { seq: 9, .. }));
        let gone = Event::Presence { place: Some(home.clone()), user: "ann".into(), body: Json::Null };
        assert_eq!(signal("room/Home/presence/ann", ""), gone);
        assert_eq!(signal("room/Home/info", "7"), Event::Info { place: home, body: 7.into() });
        assert!(matches!(signal("user/ann/presence", "{}"), Event::Presence { place: None, .. }));
        assert!(matches!(signal("sensor/1", "{}"), Event::Other { .. }));
    }

    #[test]
    fn what_cannot_be_understood_is_nothing() {
        for topic in ["room/a b/msg/ann", "user//msg/", "room/Home/read/ann"] {
            let me = if topic.starts_with("user") { "" } else { "me" };
            assert_eq!(read(&publish(topic, "x", &[]), me), Incoming::Nothing, "{topic}");
        }
        assert_eq!(read(&publish("user/me/reply/7", "{}", &[]), "me"), Incoming::Answer);
    }
}
