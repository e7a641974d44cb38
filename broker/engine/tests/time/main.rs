//! Time: what happens when it passes, and that a wall clock which jumps breaks nothing.
//!
//! Owns one person who talks to an engine in virtual time. Must never use a clock. Driven by
//! `cargo test -p katydid-engine --test time`.

#[path = "../simulation/random.rs"]
#[allow(dead_code, reason = "the tests of rights use all of it")]
mod random;
#[path = "../rights/rig.rs"]
#[allow(dead_code, reason = "the tests of rights use all of it")]
mod rig;

use katydid_engine::Settings;
use katydid_mqtt::{
    decode, encode,
    packet::{
        Connect, ConnectProperties, Packet, PacketId, PacketType, Publish, PublishProperties, QoS,
        RetainHandling, SubscribeOptions, Version,
    },
    reason::ReasonCode,
};
use rig::Rig;
use serde_json::{Value, json};

/// Ann, who is connected.
struct Ann {
    rig: Rig,
    slot: u32,
    next_id: u16,
}

/// What came to her.
struct Heard {
    topic: String,
    text: String,
}

impl Ann {
    fn new() -> Ann {
        let mut rig = Rig::new(2, Settings::default(), 3);
        let slot = rig.open("ann");
        let connect = Connect {
            version: Version::V5,
            clean_start: true,
            keep_alive_secs: 0,
            client_id: "ann",
            will: None,
            user_name: Some("ann"),
            password: None,
            properties: ConnectProperties::default(),
        };
        let mut out = Vec::new();
        encode::connect(&mut out, &connect).expect("it is short");
        rig.send(slot, &out);
        let mut ann = Ann { rig, slot, next_id: 0 };
        ann.subscribe("user/ann/reply");
        ann
    }

    fn packet_id(&mut self) -> PacketId {
        self.next_id += 1;
        PacketId::new(self.next_id).expect("it counts from one")
    }

    fn subscribe(&mut self, filter: &str) -> Vec<Heard> {
        let options = SubscribeOptions {
            qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        };
        let (mut out, id) = (Vec::new(), self.packet_id());
        encode::subscribe(&mut out, Version::V5, id, None, Default::default(), [(filter, options)])
            .expect("it is short");
        self.send(&out)
    }

    fn say(&mut self, topic: &str, payload: &str) -> Vec<Heard> {
        self.say_for(None, topic, payload)
    }

    /// Says something that expires.
    fn say_for(&mut self, expiry_secs: Option<u32>, topic: &str, payload: &str) -> Vec<Heard> {
        let publish = Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic,
            packet_id: Some(self.packet_id()),
            topic_alias: None,
            properties: PublishProperties {
                message_expiry_secs: expiry_secs,
                ..PublishProperties::default()
            },
            payload: payload.as_bytes(),
        };
        let mut out = Vec::new();
        encode::publish(&mut out, Version::V5, &publish).expect("it is short");
        self.send(&out)
    }

    fn must(&mut self, verb: &str, body: &Value) -> Value {
        let heard = self.say(&format!("$chat/{verb}"), &body.to_string());
        let answer = heard.iter().find(|heard| heard.topic == "user/ann/reply").expect("an answer");
        let answer: Value = serde_json::from_str(&answer.text).expect("JSON");
        assert_eq!(answer["ok"], json!(true), "{verb}: {answer}");
        answer
    }

    /// Sends, and gives what came until nothing more does.
    fn send(&mut self, bytes: &[u8]) -> Vec<Heard> {
        self.rig.send(self.slot, bytes);
        let mut heard = Vec::new();
        loop {
            self.rig.settle();
            let bytes = self.rig.take_written(self.slot);
            if bytes.is_empty() {
                return heard;
            }
            let mut rest = &bytes[..];
            while let Some(frame) = decode::frame(rest, u32::MAX).expect("an engine writes packets") {
                rest = &rest[frame.len..];
                match decode::packet(frame, Version::V5).expect("an engine writes packets") {
                    Packet::Publish(publish) => {
                        if let Some(id) = publish.packet_id {
                            let mut out = Vec::new();
                            encode::ack(&mut out, Version::V5, PacketType::PubAck, id, ReasonCode::Success);
                            self.rig.send(self.slot, &out);
                        }
                        let text = String::from_utf8_lossy(publish.payload).into_owned();
                        heard.push(Heard { topic: publish.topic.to_owned(), text });
                    }
                    Packet::Disconnect(disconnect) => panic!("disconnected: {:?}", disconnect.reason),
                    _ => {}
                }
            }
        }
    }

    /// Number, time and text of what a room holds.
    fn history(&mut self, place: &str) -> Vec<(u64, String, String)> {
        let page = self.must("history", &json!({ "place": place, "after": 0, "count": 200 }));
        let field = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let entries = page["entries"].as_array().expect("entries").iter();
        let messages = entries.filter(|entry| entry["from"] == json!("ann"));
        messages
            .map(|entry| {
                (entry["seq"].as_u64().expect("a number"), field(entry, "time"), field(entry, "text"))
            })
            .collect()
    }
}

#[test]
fn a_room_keeps_what_is_not_too_old() {
    let mut ann = Ann::new();
    ann.must("room/create", &json!({ "name": "den", "history": { "age_secs": 60 } }));
    ann.subscribe("room/den/msg/+");
    for text in ["one", "two"] {
        ann.say("room/den/msg/ann", text);
        ann.rig.pass(20_000);
    }
    ann.say("room/den/msg/ann", "three");
    let texts = |ann: &mut Ann| -> Vec<String> {
        ann.history("room/den").into_iter().map(|(.., text)| text).collect()
    };
    assert_eq!(texts(&mut ann), ["one", "two", "three"]);
    // It is looked after every 30 seconds, so what is older than a minute is gone after a minute and a half.
    ann.rig.pass(30_000);
    ann.rig.settle();
    assert_eq!(texts(&mut ann), ["two", "three"]);
    for _ in 0..2 {
        ann.rig.pass(30_000);
        ann.rig.settle();
    }
    assert_eq!(texts(&mut ann), [""; 0]);
    // Numbers go on.
    ann.say("room/den/msg/ann", "four");
    assert_eq!(ann.history("room/den")[0].0, 4);
}

#[test]
fn an_expired_message_leaves_its_number_and_time() {
    let mut ann = Ann::new();
    ann.say_for(Some(10), "room/den/msg/ann", "soon gone");
    ann.say("room/den/msg/ann", "stays");
    let before = ann.history("room/den");
    assert_eq!(before[0].2, "soon gone");
    ann.rig.pass(10_000);
    let after = ann.history("room/den");
    assert_eq!((after[0].0, &after[0].1, after[0].2.as_str()), (before[0].0, &before[0].1, ""));
    assert_eq!(after[1], before[1]);
}

#[test]
fn a_room_keeps_no_more_bytes_than_it_may() {
    let mut ann = Ann::new();
    ann.must("room/create", &json!({ "name": "den", "history": { "bytes": 2000 } }));
    for index in 0..50 {
        ann.say("room/den/msg/ann", &format!("{index:0100}"));
    }
    assert_eq!(ann.history("room/den").len(), 50);
    ann.rig.pass(30_000);
    ann.rig.settle();
    let kept = ann.history("room/den");
    assert!((5..20).contains(&kept.len()), "{} are kept", kept.len());
    assert_eq!(kept.last().map(|(seq, ..)| *seq), Some(50), "the newest stay");
    assert!(kept.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "without a hole");
}

#[test]
fn a_wall_clock_that_jumps_breaks_nothing() {
    const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;
    let mut ann = Ann::new();
    ann.must("room/create", &json!({ "name": "den" }));
    ann.must("group/create", &json!({ "name": "crew" }));
    let post = json!({ "group": "crew", "title": "t", "text": "x", "expiry_secs": 3600 });
    ann.must("board/post", &post);
    ann.subscribe("room/den/msg/+");
    for (index, jump_ms) in
        [0, 10 * YEAR_MS, -20 * YEAR_MS, 1, -1, 30 * YEAR_MS, -40 * YEAR_MS].into_iter().enumerate()
    {
        ann.rig.jump(jump_ms);
        ann.rig.pass(1_500);
        let text = format!("message {index}");
        let heard = ann.say("room/den/msg/ann", &text);
        assert!(heard.iter().any(|heard| heard.text == text), "{text}");
        assert_eq!(ann.must("whoami", &json!({}))["state"], json!("online"));
        let info = ann.must("room/info", &json!({ "name": "den" }));
        assert_eq!((&info["members"], &info["expires_in_secs"]), (&json!(1), &json!(0)));
    }
    let said = ann.history("room/den");
    let numbers: Vec<u64> = said.iter().map(|(seq, ..)| *seq).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
    assert!(said.windows(2).all(|pair| pair[0].1 <= pair[1].1), "times never fall: {said:?}");
    let times = json!({ "place": "room/den", "from": said[2].1, "count": 200 });
    let page = ann.must("history", &times);
    assert!(page["entries"].as_array().is_some_and(|entries| !entries.is_empty()));
    // Rates are by the time that passes: no jump makes somebody wait for years.
    for _ in 0..100 {
        ann.must("whoami", &json!({}));
    }
}
