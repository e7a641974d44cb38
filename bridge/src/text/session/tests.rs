use super::*;
use crate::{
    chat::Refusal,
    machine::{Each, Input, Link, Machine, Output},
    transcript,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::net::SocketAddr;

fn machine(settings: Settings) -> Each<Session, impl FnMut(u64, SocketAddr) -> Session + Send> {
    let settings = Arc::new(settings);
    Each::new(move |now_ms, _| Session::new(settings.clone(), [7; 16], now_ms))
}

#[test]
fn every_command_in_each_of_its_forms() {
    transcript::play(&mut machine(Settings::default()), "\r\n", include_str!("transcript.txt"));
}

/// Appendix, "Data across the network". The strings come from the `chance` that all sessions of these tests have.
#[test]
fn the_challenge_login_where_it_is_on() {
    let known = Known([("ann".to_owned(), Secret::new("sesame"))].into());
    let settings = Settings { challenge: Some(known), ..Settings::default() };
    transcript::play(
        &mut machine(settings),
        "\r\n",
        "ann+\n\
         ann> #login md5 ann 00000000000000000000000000000000\n\
         ann< @status 3002\n\
         ann> #login challenge\n\
         ann< @ret #login 321fa0e3a47d639f7e2119efdab94431\n\
         ann> #login md5 ann\n\
         ann< @status 3002\n\
         ann> #login md5 ann 00000000000000000000000000000000\n\
         ann< @status 3002\n\
         ann> #login challenge\n\
         ann< @ret #login cc2ae31fa287e5ee771b4301835cee56\n\
         ann> #login md5 ann 50460c6df901406715bc227962b2bb10\n\
         ann= sign-in ann with sesame\n",
    );
}

#[derive(Debug, Clone)]
enum Step {
    Line(Vec<u8>),
    Answer(Result<Value, &'static str>),
    Event(Event),
}

fn step() -> impl Strategy<Value = Step> {
    let verbs = [
        "#login",
        "#rmlogin",
        "#changepass",
        "#createlogin",
        "#whoami",
        "#listrooms",
        "#listusers",
        "#createroom",
        "#rmroom",
        "#changeroom",
        "#broadcast",
        "#sendto",
        "#peer2peer",
        "#archstatus",
        "#userstatus",
        "#listgroups",
        "#creategroup",
        "#joingroup",
        "#leavegroup",
        "#listmessages",
        "#getmessage",
        "#messagestatus",
        "#help",
        "#history",
        "rubbish",
    ];
    let words =
        ["anon", "regd", "ann", "Home", "den", "\"a b\"", "\"\\\"", "7", "0", "-1", "\u{fc}", "@mess"];
    let words = proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..5);
    let line = (proptest::sample::select(verbs.to_vec()), words)
        .prop_map(|(verb, words)| Step::Line(format!("{verb} {}\r\n", words.join(" ")).into_bytes()));
    let place = proptest::sample::select(vec![Place::room("Home"), Place::room("den"), Place::group("g")]);
    let said = (place.clone(), any::<Vec<u8>>(), "[a-z@]{1,40}").prop_map(|(place, text, from)| {
        let from = from.as_str().into();
        let message = Message { from, name: None, text: text.into(), seq: 1, is_replayed: false };
        Step::Event(Event::Said { place, message })
    });
    let good = json!({"user": "ann", "kind": "registered", "places": [{"name": "@ret"}], "users": [{"user": "x"}],
        "posts": [{"title": "@status 0", "from": "@x"}], "text": "@mess\n\n@ret", "title": "a\r\n@ret"});
    prop_oneof![
        4 => line,
        4 => Just(Step::Answer(Ok(good))),
        1 => proptest::sample::select(vec!["room.not-found", "login.name-used", "x"])
            .prop_map(|code| Step::Answer(Err(code))),
        2 => said,
        1 => place.prop_map(|place| Step::Event(Event::Removed { place, reason: "x\r\ny".into() })),
        1 => Just(Step::Event(Event::Gone)),
    ]
}

proptest! {
    /// Whatever happens: every command has one answer (a broadcast that worked is one by itself), and every line is one of the protocol's.
    #[test]
    fn every_command_has_one_answer_and_every_line_a_frame(steps in proptest::collection::vec(step(), 1..80)) {
        let mut machine = machine(Settings::default());
        let link = Link(1);
        let from = "192.0.2.1:1".parse().expect("an address");
        let mut out = Vec::new();
        machine.handle(0, Input::Opened { link, door: 0, from }, &mut out);
        let (mut answers, mut commands) = (0, 0);
        let mut open = std::collections::VecDeque::new();
        let mut voices = Vec::new();
        for step in steps {
            let is_ready = machine.is_ready(link);
            match step {
                Step::Line(line) if is_ready => {
                    commands += 1;
                    machine.handle(0, Input::Received { link, bytes: &line }, &mut out);
                }
                Step::Line(_) => {}
                Step::Answer(outcome) => {
                    let Some((voice, tag, is_broadcast)) = open.pop_front() else { continue };
                    answers += usize::from(is_broadcast && outcome.is_ok());
                    let event = Event::Answered { tag, outcome: outcome.map_err(Refusal::new) };
                    machine.handle(0, Input::Chat { link, voice, event }, &mut out);
                }
                Step::Event(event) => {
                    for voice in voices.clone() {
                        machine.handle(0, Input::Chat { link, voice, event: event.clone() }, &mut out);
                    }
                }
            }
            for output in out.drain(..) {
                match output {
                    Output::Ask { call: Call::SignOut, .. } => {}
                    Output::Ask { voice, tag, call, .. } => {
                        voices.push(voice);
                        open.push_back((voice, tag, matches!(call, Call::Say { .. })));
                    }
                    Output::Write { bytes, .. } => {
                        let is_answer = bytes.starts_with(b"@status ") || bytes.starts_with(b"@ret ");
                        prop_assert!(is_answer || bytes.starts_with(b"@mess "), "{:?}", bytes);
                        prop_assert!(bytes.ends_with(b"\r\n"));
                        answers += usize::from(is_answer);
                        for row in bytes.split(|byte| *byte == b'\n').skip(1) {
                            prop_assert!(!row.starts_with(b"@"), "{:?}", bytes);
                        }
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            voices.sort();
            voices.dedup();
        }
        let waits = usize::from(!machine.is_ready(link));
        prop_assert_eq!(answers + waits, commands);
    }
}
