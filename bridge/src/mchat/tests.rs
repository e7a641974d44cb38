use super::*;
use crate::{
    chat::{Call, Event, Message, Place, Refusal, Voice},
    machine::{Input, Link, Machine, Output},
    transcript,
};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;

#[test]
fn clients_speak_as_the_document_says() {
    let mut server = Server::new(Settings { clients: 4, rooms: 8, mesh: None });
    transcript::play(&mut server, "\n", include_str!("tests/clients.txt"));
}

fn mesh() -> MeshSettings {
    let announced = ("192.0.2.100".to_owned(), 6062);
    MeshSettings { announced, peers: vec![("peer.example.org".to_owned(), 6064)], servers: 3, nicks: 2 }
}

#[test]
fn servers_find_each_other_and_pass_on_what_is_said() {
    let mut server = Server::new(Settings { mesh: Some(mesh()), ..Settings::default() });
    transcript::play(&mut server, "\n", include_str!("tests/mesh.txt"));
}

/// What the known client makes of a private room's name and password.
const PRIVATE: &str = "2aae6c35c94fcfb415dbe95f408b9ce91ee846ed";

#[derive(Debug, Clone)]
enum Step {
    Line(u64, String),
    Answer(usize, bool),
    Said(u64, u64, Vec<u8>),
    Presence(u64, bool, String),
    Removed(u64),
    Close(u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let words =
        ["JOIN", "PART", "NICK", "MSG", "HEART", "BLEED", "SYSTEM", "MY_ADDR", "ALL_ADDRS", "rubbish"];
    let rest = [
        "Home",
        "den",
        "x/#",
        "ann",
        "bob",
        "",
        "h 1",
        "ann Home hi",
        "bob den  two ",
        "zed Home x\u{1b}y",
        PRIVATE,
        "zed 2aae6c35c94fcfb415dbe95f408b9ce91ee846ed psst",
    ];
    let line = (1..6u64, proptest::sample::select(words.to_vec()), proptest::sample::select(rest.to_vec()))
        .prop_map(|(link, word, rest)| Step::Line(link, format!("{word} {rest}")));
    let alive = (1..6u64).prop_map(|link| Step::Line(link, "BLEED".into()));
    let said =
        (1..6u64, 1..40u64, any::<Vec<u8>>()).prop_map(|(link, seq, text)| Step::Said(link, seq, text));
    prop_oneof![
        8 => line,
        2 => alive,
        6 => (any::<usize>(), proptest::bool::weighted(0.9)).prop_map(|(at, good)| Step::Answer(at, good)),
        3 => said,
        1 => (1..6u64, any::<bool>(), "[a-c]").prop_map(|(link, is_in, user)| Step::Presence(link, is_in, user)),
        1 => (1..6u64).prop_map(Step::Removed),
        1 => (1..6u64).prop_map(Step::Close),
        1 => (1..3000u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever happens: every write is one line within the limits, clients are told `MSG`, `SYSTEM`, `HEART` and `BLEED`
    /// and nothing else, and no link is spoken to after it was closed.
    #[test]
    fn whatever_happens_lines_are_whole_and_for_who_is_there(steps in proptest::collection::vec(step(), 1..120)) {
        let mut server = Server::new(Settings { mesh: Some(mesh()), ..Settings::default() });
        let from = "192.0.2.9:4000".parse().expect("an address");
        let (mut now_ms, mut out) = (0, Vec::new());
        let mut live: BTreeSet<Link> = BTreeSet::new();
        let mut asked: Vec<(Link, Voice, u64)> = Vec::new();
        for link in 1..6 {
            let door = if link < 4 { CLIENTS } else { MESH };
            live.insert(Link(link));
            server.handle(0, Input::Opened { link: Link(link), door, from }, &mut out);
        }
        // Newcomers of the mesh have been greeted.
        out.clear();
        for step in steps {
            let link = |link: u64| Some(Link(link)).filter(|link| live.contains(link));
            let place = || Place::room("Home");
            let input = match &step {
                Step::Line(at, line) => link(*at).map(|link| (link, Err(format!("{line}\n")))),
                Step::Answer(at, is_good) if !asked.is_empty() => {
                    let (link, voice, tag) = asked.remove(at % asked.len());
                    let good = json!({"user": format!("guest-{}-{}", link.0, voice.0), "visibility": "public"});
                    let outcome = if *is_good { Ok(good) } else { Err(Refusal::new("room.muted")) };
                    live.contains(&link).then_some((link, Ok((voice, Event::Answered { tag, outcome }))))
                }
                Step::Said(at, seq, text) => {
                    let text = Bytes::from(text.clone());
                    let message = Message { from: "eve".into(), name: None, text, seq: *seq, is_replayed: false };
                    link(*at).map(|link| (link, Ok((Voice::FIRST, Event::Said { place: place(), message }))))
                }
                Step::Presence(at, is_in, user) => {
                    let (place, user) = (place(), user.as_str().into());
                    let event = if *is_in { Event::Entered { place, user } } else { Event::Left { place, user } };
                    link(*at).map(|link| (link, Ok((Voice::FIRST, event))))
                }
                Step::Removed(at) => {
                    let event = Event::Removed { place: place(), reason: "x\ny".into() };
                    link(*at).map(|link| (link, Ok((Voice::FIRST, event))))
                }
                Step::Close(at) => {
                    if let Some(link) = link(*at) {
                        live.remove(&link);
                        server.handle(now_ms, Input::Closed { link }, &mut out);
                    }
                    None
                }
                Step::Pass(ms) => {
                    now_ms += ms;
                    server.handle(now_ms, Input::Tick, &mut out);
                    None
                }
                Step::Answer(..) => None,
            };
            match input {
                Some((link, Err(line))) if server.is_ready(link) => {
                    server.handle(now_ms, Input::Received { link, bytes: line.as_bytes() }, &mut out);
                }
                Some((link, Ok((voice, event)))) => {
                    server.handle(now_ms, Input::Chat { link, voice, event }, &mut out);
                }
                _ => {}
            }
            for output in out.drain(..) {
                match output {
                    Output::Write { link, bytes } => {
                        prop_assert!(live.contains(&link));
                        let line = String::from_utf8(bytes).expect("UTF-8");
                        prop_assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{:?}", line);
                        prop_assert!(line.chars().count() <= wire::LONGEST_SENT);
                        let mut words = vec!["MSG ", "SYSTEM ", "HEART\n", "BLEED\n"];
                        if link.0 > 3 {
                            words.extend(["ALL_ADDRS", "MY_ADDR "]);
                        }
                        prop_assert!(words.iter().any(|word| line.starts_with(word)), "{:?}", line);
                    }
                    Output::Close { link } => prop_assert!(live.remove(&link)),
                    Output::Ask { call: Call::SignOut, .. } | Output::Dial { .. } | Output::Log(_) => {}
                    Output::Ask { link, voice, tag, .. } => asked.push((link, voice, tag)),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            asked.retain(|(link, ..)| live.contains(link));
        }
    }
}
