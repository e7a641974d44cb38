use super::*;
use crate::io::Now;
use katydid_mqtt::packet::{Publish, PublishProperties, QoS};
use katydid_mqtt::properties::UserPropertiesBuf;
use katydid_store::{Entry, MemoryStore, Op};

const NOW: Now = Now { mono_ms: 0, unix_ms: 1_000 };

/// A message with every property that can be kept.
fn message(payload: &[u8], seq: u64) -> Message {
    let mut users = UserPropertiesBuf::new();
    for (name, value) in [("seq", "not mine"), ("id", "x"), ("", ""), ("time", "either")] {
        users.push(name, value).expect("short");
    }
    let properties = PublishProperties {
        payload_is_utf8: Some(false),
        message_expiry_secs: Some(9),
        content_type: Some("text/\u{1F431}"),
        response_topic: Some("a/b"),
        correlation_data: Some(&[0, 255]),
        user_properties: users.borrowed(),
        ..PublishProperties::default()
    };
    let topic = "room/Home/msg/ann";
    let publish = Publish {
        dup: false,
        qos: QoS::ExactlyOnce,
        retain: true,
        topic,
        packet_id: None,
        topic_alias: None,
        properties,
        payload,
    };
    Message::from_publish(&publish, topic, u64::MAX, NOW).numbered(seq, 77)
}

#[test]
fn a_message_comes_back_from_its_line_with_everything() {
    for payload in [&b""[..], b"hi \"there\"\n", b"\xFF\x00", "\u{2028}\u{1F431}".as_bytes()] {
        for message in [message(payload, 3), message(payload, 3).deleted()] {
            let line = Line::Entry(MessageLine::of(&message));
            let text = serde_json::to_string(&line).expect("JSON");
            assert!(!text.contains('\n'));
            let Ok(Line::Entry(read)) = serde_json::from_str(&text) else { panic!("{text}") };
            assert_eq!(read.message().expect("a message"), message, "{text}");
        }
    }
}

#[test]
fn what_is_no_message_is_refused() {
    let good = MessageLine::of(&message(b"hi", 3));
    assert!(good.message().is_ok());
    let line = serde_json::to_value(&good).expect("JSON");
    for (field, value) in [
        ("topic", "room/+/msg/ann".into()),
        ("topic", "".into()),
        ("qos", 3.into()),
        ("base64", "aGk=".into()),
        ("time_ms", u64::MAX.into()),
        ("expires_ms", u64::MAX.into()),
        ("correlation", "?".into()),
        ("content_type", "x".repeat(70_000).into()),
        ("properties", serde_json::json!([["a", "\u{0}"]])),
    ] {
        let mut bad = line.clone();
        bad[field] = value;
        let read: MessageLine = serde_json::from_value(bad).expect("its form is right");
        assert!(read.message().is_err(), "{field}");
    }
}

fn put(store: &MemoryStore, ops: Vec<Op>) {
    store.commit(ops).expect("commits");
}

fn room(log: u64, seqs: std::ops::Range<u64>, next: u64) -> Vec<Op> {
    let append =
        |seq| Op::Append { log, entry: Entry { seq, time_ms: 77, bytes: message(b"hi", seq).to_disk() } };
    seqs.map(append).chain([persist::put_place("room/Home", log, next)]).collect()
}

fn everything(store: &MemoryStore) -> Vec<u8> {
    let mut text = Vec::new();
    export(store, &Scope::All { secrets: true }, &mut text).expect("exports");
    text
}

#[test]
fn an_import_that_ends_before_its_last_commit_is_not_seen_and_leaves_nothing_for_ever() {
    let from = MemoryStore::new();
    put(&from, room(5, 3..40, 50));
    let text = everything(&from);
    let to = MemoryStore::new();
    let proved = Import::prove(&to, 1, &text[..]).expect("good");
    let mut cut = text.clone();
    cut.truncate(text.len() - 40);
    assert!(proved.carry_out(&cut[..]).is_err(), "the file has changed meanwhile");
    // What a process that was killed after the logs leaves.
    put(&to, room(9, 1..3, 1).into_iter().take(2).collect());
    assert_eq!(everything(&to).split(|byte| *byte == b'\n').count(), 3, "a first and a last line");
    let imported = Import::prove(&to, 2, &text[..]).expect("good").carry_out(&text[..]).expect("done");
    assert_eq!((imported.logs, imported.entries), (1, 37));
    assert!(everything(&to) == text);
    assert_eq!(to.logs().expect("logs").len(), 1, "what was left is gone");
}

#[test]
fn numbers_that_were_given_are_not_given_again() {
    let from = MemoryStore::new();
    put(&from, room(5, 1..4, 4));
    let text = everything(&from);
    let to = MemoryStore::new();
    // Something was said there, and the room was deleted.
    put(&to, vec![persist::put_place("room/Home", 8, 100)]);
    Import::prove(&to, 1, &text[..]).expect("good").carry_out(&text[..]).expect("done");
    let text = String::from_utf8(everything(&to)).expect("UTF-8");
    assert!(text.contains("\"place\":\"room/Home\",\"next\":100"), "{text}");
}
