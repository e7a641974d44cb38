use super::*;
use crate::chat::Refusal;
use crate::{
    machine::{Each, Input, Link, Machine, Output},
    transcript,
};
use proptest::prelude::*;
use std::net::SocketAddr;

fn machine(settings: Settings) -> Each<Session, impl FnMut(u64, SocketAddr) -> Session + Send> {
    let settings = Arc::new(settings);
    Each::new(move |now_ms, _| Session::new(settings.clone(), now_ms))
}

#[test]
fn every_command_in_each_of_its_forms() {
    let settings = Settings { host: "chat.example.org".into(), ..Settings::default() };
    transcript::play(&mut machine(settings), "\n", include_str!("transcript.txt"));
}

#[derive(Debug, Clone)]
enum Step {
    Object(Vec<u8>),
    Answer(Result<Value, &'static str>),
    Event(Event),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let verbs = ["register", "login", "msg", "invite", "leave", "update", "ping", "history", "dance"];
    let keys =
        ["User", "Password", "To", "Type", "Message", "Group", "Status", "Count", "Since", "NewPassword"];
    let values = ["ann", "x", "PM", "group-message", "offline", "7", "\"a\\nb\"", "'}'", "", "[1]", "\u{fc}"];
    let member = (proptest::sample::select(keys.to_vec()), proptest::sample::select(values.to_vec()));
    let object = (proptest::sample::select(verbs.to_vec()), proptest::collection::vec(member, 0..5))
        .prop_map(|(verb, members)| {
            let members: String = members.iter().map(|(key, value)| format!("\n{key}: {value}")).collect();
            Step::Object(format!("{{Command: {verb}{members}}}\n").into_bytes())
        });
    let text = (any::<Vec<u8>>(), any::<bool>()).prop_map(|(text, is_private)| {
        let message =
            Message { from: "eve".into(), name: None, text: text.into(), seq: 1, is_replayed: false };
        let place = Place::group("g");
        Step::Event(if is_private { Event::Told { message } } else { Event::Said { place, message } })
    });
    let good = json!({"user": "ann", "name": "g", "display": "A\nB", "places": [{"name": "g"}], "users": [{"user": "x"}],
        "entries": [{"topic": "x/y/msg/z", "from": "z\n", "text": "{\n}"}, 7], "seq": 1});
    let added = json!({"type": "added", "place": "group/h", "by": "eve"});
    prop_oneof![
        5 => object,
        5 => Just(Step::Answer(Ok(good))),
        1 => proptest::sample::select(vec!["room.owner-stays", "login.wrong-password"])
            .prop_map(|code| Step::Answer(Err(code))),
        3 => text,
        1 => Just(Step::Event(Event::Signalled { from: "eve".into(), json: added })),
        1 => Just(Step::Event(Event::Removed { place: Place::group("g"), reason: "x\ny".into() })),
        1 => (0..70_000u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever happens: every object has one answer, and everything written is one object in one line.
    #[test]
    fn every_object_has_one_answer_and_every_line_is_an_object(steps in proptest::collection::vec(step(), 1..80)) {
        let mut machine = machine(Settings::default());
        let link = Link(1);
        let from = "192.0.2.1:1".parse().expect("an address");
        let (mut now_ms, mut out) = (0, Vec::new());
        machine.handle(0, Input::Opened { link, door: 0, from }, &mut out);
        let (mut answers, mut commands) = (0, 0);
        let mut open = std::collections::VecDeque::new();
        let mut voices = Vec::new();
        let (mut is_closed, mut is_pinged) = (false, false);
        for step in steps {
            match step {
                Step::Object(object) if machine.is_ready(link) => {
                    let is_ping = object.starts_with(b"{Command: ping");
                    let is_whole = read::object(&object, DEEPEST).is_ok();
                    commands += usize::from(!(is_pinged && is_ping && is_whole));
                    is_pinged = false;
                    machine.handle(now_ms, Input::Received { link, bytes: &object }, &mut out);
                }
                Step::Object(_) => {}
                Step::Answer(outcome) => {
                    let Some((voice, tag)) = open.pop_front() else { continue };
                    let event = Event::Answered { tag, outcome: outcome.map_err(Refusal::new) };
                    machine.handle(now_ms, Input::Chat { link, voice, event }, &mut out);
                }
                Step::Event(event) => {
                    for voice in voices.clone() {
                        machine.handle(now_ms, Input::Chat { link, voice, event: event.clone() }, &mut out);
                    }
                }
                Step::Pass(ms) => {
                    now_ms += ms;
                    machine.handle(now_ms, Input::Tick, &mut out);
                }
            }
            for output in out.drain(..) {
                match output {
                    Output::Ask { call: Call::SignOut, .. } => {}
                    Output::Ask { voice, tag, .. } => {
                        voices.push(voice);
                        open.push_back((voice, tag));
                    }
                    Output::Write { bytes, .. } => {
                        let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
                        prop_assert!(ends == 1 && bytes.last() == Some(&b'\n'));
                        let object: Value = serde_json::from_slice(&bytes).expect("JSON");
                        let status = object["Status"].as_str();
                        let is_timeout = object["Code"] == "ping.timeout";
                        is_pinged |= object["Command"] == "ping" && status.is_none();
                        answers += usize::from(matches!(status, Some("ok" | "error")) && !is_timeout);
                    }
                    Output::Close { .. } => is_closed = true,
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            voices.sort();
            voices.dedup();
            if is_closed {
                return Ok(());
            }
        }
        let waits = usize::from(!machine.is_ready(link));
        prop_assert_eq!(answers + waits, commands);
    }
}
