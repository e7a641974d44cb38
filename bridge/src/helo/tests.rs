use super::{
    keys::{self, SessionKey},
    *,
};
use crate::{
    chat::{Call, Event, Message, Place, Refusal, Tag, Voice},
    machine::{Input, Link, Machine, Output},
    transcript,
};
use proptest::{prelude::*, test_runner::TestCaseError};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

fn server() -> Server {
    let settings = Settings { file_ports: vec![1338, 1339, 1340], ..Settings::default() };
    Server::new(settings, Arc::new(Keys::default()), || [0xab; 16])
}

#[test]
fn every_command_in_each_of_its_forms() {
    transcript::play(&mut server(), "\n", include_str!("tests/commands.txt"));
}

#[test]
fn files_from_one_to_the_other() {
    transcript::play(&mut server(), "\n", include_str!("tests/files.txt"));
}

/// A client on link 1 that has said `HELO ann`, as the Java client does what the document says of it.
struct Ann {
    server: Server,
    keys: Keys,
    session: Option<SessionKey>,
    out: Vec<Output>,
}

impl Ann {
    const LINK: Link = Link(1);

    fn new() -> Self {
        let from = "192.0.2.1:4000".parse().expect("an address");
        let mut ann = Self { server: server(), keys: Keys::default(), session: None, out: Vec::new() };
        ann.server.handle(0, Input::Opened { link: Self::LINK, door: CLIENTS, from }, &mut ann.out);
        ann.send("HELO ann");
        ann.answer(Ok(json!({"user": "ann"})));
        ann.answer(Ok(Value::Null));
        ann.answer(Ok(Value::Null));
        assert_eq!(ann.lines().last().map(String::as_str), Some("+OK HELO ann"));
        ann
    }

    fn send(&mut self, line: &str) {
        let bytes = format!("{line}\n").into_bytes();
        self.server.handle(0, Input::Received { link: Self::LINK, bytes: &bytes }, &mut self.out);
    }

    fn chat(&mut self, event: Event) {
        self.server.handle(0, Input::Chat { link: Self::LINK, voice: Voice::FIRST, event }, &mut self.out);
    }

    /// Answers what was asked last.
    fn answer(&mut self, outcome: Result<Value, Refusal>) {
        let tag = self.out.iter().rev().find_map(|output| match output {
            Output::Ask { tag, .. } => Some(*tag),
            _ => None,
        });
        self.chat(Event::Answered { tag: tag.expect("asked"), outcome });
    }

    fn told(&mut self, from: &str, text: &str) {
        let message = Message {
            from: from.into(),
            name: None,
            text: text.to_owned().into(),
            seq: 1,
            is_replayed: false,
        };
        self.chat(Event::Told { message });
    }

    /// What was told to somebody through the broker.
    fn tells(&mut self) -> Vec<String> {
        let tells = self.out.iter().filter_map(|output| match output {
            Output::Ask { call: Call::Tell { user, text, .. }, .. } => {
                Some(format!("{user}: {}", String::from_utf8_lossy(text)))
            }
            _ => None,
        });
        tells.collect()
    }

    fn lines(&mut self) -> Vec<String> {
        let lines = std::mem::take(&mut self.out).into_iter().filter_map(|output| match output {
            Output::Write { bytes, .. } => Some(String::from_utf8(bytes).expect("UTF-8").trim_end().into()),
            _ => None,
        });
        lines.collect()
    }

    /// What the client prints, after it has given its key where it is asked for it.
    fn reads(&mut self) -> Vec<String> {
        let mut printed = Vec::new();
        loop {
            let lines = self.lines();
            if lines.is_empty() {
                return printed;
            }
            for line in lines {
                let words: Vec<&str> = line.split(' ').collect();
                match words.as_slice() {
                    ["REQUEST_PUBLIC_KEY", who, stamp] => {
                        self.session = None;
                        let key = self.keys.public().expect("made").to_owned();
                        self.send(&format!("PUBLIC_KEY {who} {key} {stamp}"));
                    }
                    ["PM", who, text, rest @ ..] => {
                        if self.session.is_none() {
                            self.session = self.keys.open(rest.first().expect("a key, or the listener dies"));
                        }
                        let text = self.session.as_ref().and_then(|session| session.decrypt(text));
                        let text = String::from_utf8(text.expect("the right key")).expect("UTF-8");
                        printed.push(format!("[{who}] {text}"));
                    }
                    _ => printed.push(line),
                }
            }
        }
    }
}

const READABLE: &str = "+SUCCESS what you and carl say in private can be read by the server";

/// 7.5, with the bridge as the receiver client.
#[test]
fn a_private_message_to_somebody_elsewhere_is_read_and_passed_on() {
    let mut ann = Ann::new();
    ann.send("REQUEST_PUBLIC_KEY @carl 17");
    ann.answer(Ok(json!({"user": "carl"})));
    let lines = ann.lines();
    let public = lines[0].strip_prefix("PUBLIC_KEY @carl ").and_then(|it| it.strip_suffix(" 17"));
    assert_eq!(lines[1..], [READABLE]);
    let sealed = keys::seal_for(public.expect("a key"), "k\u{fffd}y").expect("sealed");
    let session = SessionKey::from_text("k\u{fffd}y".as_bytes());
    ann.send(&format!("PM @carl {} {sealed}", session.encrypt(b"hello carl")));
    assert_eq!(ann.tells(), ["carl: hello carl"]);
    ann.answer(Ok(Value::Null));
    assert_eq!(ann.lines(), ["+OK PM"]);
    ann.send(&format!("PM @carl {}", session.encrypt(b"more")));
    assert_eq!(ann.tells(), ["carl: more"]);
    ann.answer(Err(Refusal::new("user.not-found")));
    assert_eq!(ann.lines(), ["-SOFT_ERR no such user!"]);
    // The same session key serves the way back.
    ann.session = Some(session);
    ann.told("carl", "hi\nann");
    assert_eq!(ann.reads(), ["[carl] hi", "[carl] ann"]);
    // Another key than the one that was handed over: the client forgets it.
    ann.send(&format!("PM @carl {}", SessionKey::from_text(b"other").encrypt(b"x")));
    ann.answer(Ok(json!({"user": "carl", "kind": "registered"})));
    assert_eq!(
        ann.lines(),
        ["-SOFT_ERR carl has no key for that message, please send it again", "REQUEST_PUBLIC_KEY @carl 0"]
    );
    assert!(ann.tells().is_empty());
}

/// 7.5, with the bridge as the sender client.
#[test]
fn a_private_message_from_somebody_elsewhere_is_encrypted_for_the_client() {
    let mut ann = Ann::new();
    ann.told("carl", "hi");
    ann.told("carl", "ann");
    assert_eq!(ann.reads(), ["[carl] hi", READABLE, "[carl] ann"]);
    ann.told("carl", "more");
    assert_eq!(ann.reads(), ["[carl] more"]);
    ann.told("dora", "hi");
    ann.session = None;
    assert_eq!(ann.reads().len(), 2);
}

/// Both begin at once: neither reads what the other's older key hides.
#[test]
fn keys_that_cross_leave_one_that_both_have() {
    let mut ann = Ann::new();
    ann.told("carl", "hi");
    let asked = ann.lines();
    assert!(asked[0].starts_with("REQUEST_PUBLIC_KEY @carl "), "{asked:?}");
    // Sent before that was read.
    ann.send("REQUEST_PUBLIC_KEY @carl 17");
    ann.answer(Ok(json!({"user": "carl"})));
    assert_eq!(ann.lines(), Vec::<String>::new());
    let key = ann.keys.public().expect("made").to_owned();
    ann.send(&format!("PUBLIC_KEY @carl {key} {}", asked[0].rsplit(' ').next().expect("a stamp")));
    let printed = ann.reads();
    assert_eq!(printed[..2], ["[carl] hi", READABLE]);
    let public = printed[2].split(' ').nth(2).expect("a key").to_owned();
    // What comes now waits for the key that the client is about to send.
    ann.told("carl", "wait");
    assert_eq!(ann.lines(), Vec::<String>::new());
    ann.session = Some(SessionKey::from_text(b"new"));
    let text = SessionKey::from_text(b"new").encrypt(b"mine");
    ann.send(&format!("PM @carl {text} {}", keys::seal_for(&public, "new").expect("sealed")));
    assert_eq!(ann.tells(), ["carl: mine"]);
    ann.answer(Ok(Value::Null));
    assert_eq!(ann.reads(), ["[carl] wait", "+OK PM"]);
}

#[derive(Debug, Clone)]
enum Step {
    Line(u64, String),
    Bytes(u64, Vec<u8>),
    Answer(Result<Value, &'static str>),
    Event(u64, Event),
    Passed(u64),
    Open(u64, usize),
    Close(u64),
    Later(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let link = 1..8u64;
    let heads = [
        "HELO",
        "BCST",
        "PONG",
        "GET_USERS",
        "GET_GROUPS",
        "PM",
        "REQUEST_PUBLIC_KEY",
        "PUBLIC_KEY",
        "CREATE_GROUP",
        "JOIN_GROUP",
        "LEAVE_GROUP",
        "GROUP_MESSAGE",
        "KICK",
        "FILE_TRANS",
        "READY_FOR_FILE",
        "QUIT",
        "OPEN_PORT_TO_RECEIVE",
        "FILE",
        "FILE_STATUS",
    ];
    let words = [
        "ann",
        "bob",
        "@ann",
        "@bob",
        "@carl",
        "<ann",
        "<bob",
        "@@g",
        "g",
        "3 a.txt 590",
        "YWJj",
        "17",
        "0",
        "ok@ann",
        "abababababababababababababababab",
    ];
    let words = proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..5);
    let line = (link.clone(), proptest::sample::select(heads.to_vec()), words)
        .prop_map(|(link, head, words)| Step::Line(link, format!("{head} {}", words.join(" "))));
    let place = proptest::sample::select(vec![Place::room("Home"), Place::group("g")]);
    let message = (any::<Vec<u8>>(), "ann|bob|carl|[a-z@\n]{1,9}").prop_map(|(text, from)| Message {
        from: from.as_str().into(),
        name: None,
        text: text.into(),
        seq: 1,
        is_replayed: false,
    });
    let offer = json!({"type": "offer", "kind": "file", "by": "carl", "data": {"name": "a\nPING", "size": 3, "checksum": 590}});
    let event = prop_oneof![
        (place.clone(), message.clone()).prop_map(|(place, message)| Event::Said { place, message }),
        message.prop_map(|message| Event::Told { message }),
        Just(Event::Signalled { from: "carl".into(), json: offer }),
        place.prop_map(|place| Event::Removed { place, reason: "x\r\ny".into() }),
        Just(Event::Gone),
    ];
    let good = json!({"places": [{"name": "g\nPING", "owner": "x\ny"}], "users": [{"user": "a\nb"}], "role": "owner"});
    prop_oneof![
        8 => line,
        2 => (link.clone(), any::<Vec<u8>>()).prop_map(|(link, bytes)| Step::Bytes(link, bytes)),
        6 => Just(Step::Answer(Ok(good))),
        1 => proptest::sample::select(vec!["room.not-found", "login.name-used", "x"])
            .prop_map(|code| Step::Answer(Err(code))),
        3 => (link.clone(), event).prop_map(|(link, event)| Step::Event(link, event)),
        1 => link.clone().prop_map(Step::Passed),
        3 => (link.clone(), 0..4usize).prop_map(|(link, door)| Step::Open(link, door)),
        1 => link.prop_map(Step::Close),
        1 => (0..40_000u64).prop_map(Step::Later),
    ]
}

proptest! {
    /// Whatever happens: nobody panics, only who is there is written to, and every line is one of the protocol's.
    #[test]
    fn every_line_is_one_of_the_protocol_and_for_somebody_who_is_there(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut server = server();
        let (mut out, mut now_ms) = (Vec::new(), 0);
        let mut live = BTreeMap::new();
        let mut open: VecDeque<(Link, Tag, Option<String>)> = VecDeque::new();
        for step in steps {
            match step {
                Step::Line(link, line) if live.contains_key(&Link(link)) && server.is_ready(Link(link)) => {
                    let bytes = format!("{line}\n").into_bytes();
                    server.handle(now_ms, Input::Received { link: Link(link), bytes: &bytes }, &mut out);
                }
                Step::Bytes(link, bytes) if live.contains_key(&Link(link)) && server.is_ready(Link(link)) => {
                    server.handle(now_ms, Input::Received { link: Link(link), bytes: &bytes }, &mut out);
                }
                Step::Answer(outcome) => {
                    let Some((link, tag, name)) = open.pop_front() else { continue };
                    let answer = |mut answer: Value| {
                        answer["user"] = name.into();
                        answer
                    };
                    let event = Event::Answered { tag, outcome: outcome.map(answer).map_err(Refusal::new) };
                    server.handle(now_ms, Input::Chat { link, voice: Voice::FIRST, event }, &mut out);
                }
                Step::Event(link, event) if live.get(&Link(link)) == Some(&CLIENTS) => {
                    server.handle(now_ms, Input::Chat { link: Link(link), voice: Voice::FIRST, event }, &mut out);
                }
                Step::Passed(link) if live.contains_key(&Link(link)) => {
                    server.handle(now_ms, Input::Passed { link: Link(link) }, &mut out);
                }
                Step::Open(link, door) if !live.contains_key(&Link(link)) => {
                    live.insert(Link(link), door);
                    let from = "192.0.2.1:1".parse().expect("an address");
                    server.handle(now_ms, Input::Opened { link: Link(link), door, from }, &mut out);
                }
                Step::Close(link) if live.remove(&Link(link)).is_some() => {
                    open.retain(|(it, ..)| *it != Link(link));
                    server.handle(now_ms, Input::Closed { link: Link(link) }, &mut out);
                }
                Step::Later(ms) => {
                    now_ms += ms;
                    server.handle(now_ms, Input::Tick, &mut out);
                }
                _ => {}
            }
            for output in out.drain(..) {
                match output {
                    Output::Write { link, bytes } => {
                        prop_assert!(live.contains_key(&link), "{:?}", bytes);
                        check_line(live[&link], &bytes)?;
                    }
                    Output::Pass { link, bytes, .. } => {
                        prop_assert!(live.contains_key(&link) && !bytes.contains(&b'\n'));
                    }
                    Output::Close { link } => {
                        prop_assert!(live.remove(&link).is_some());
                        open.retain(|(it, ..)| *it != link);
                    }
                    Output::Ask { link, tag, call, .. } => {
                        let name = match call {
                            Call::SignIn { user, .. } => user,
                            _ => None,
                        };
                        open.push_back((link, tag, name));
                    }
                    Output::GoOn { .. } => {}
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
    }
}

fn check_line(door: usize, bytes: &[u8]) -> Result<(), TestCaseError> {
    let begins: &[&str] = if door == CLIENTS {
        &[
            "HELO Welkom ",
            "+OK ",
            "-ERR ",
            "-SOFT_ERR ",
            "+SUCCESS ",
            "BCST [",
            "GROUP_MESSAGE ",
            "PM ",
            "PING\n",
            "DSCN ",
            "REQUEST_PUBLIC_KEY @",
            "PUBLIC_KEY @",
            "FILE_TRANS @",
            "READY_FOR_FILE @",
            "OPEN_PORT_TO_RECEIVE ",
        ]
    } else {
        // The end of a line that has begun is base64.
        &["FILE <", "FILE_STATUS ", "Y", "\n"]
    };
    let is_known = begins.iter().any(|begin| bytes.starts_with(begin.as_bytes()));
    prop_assert!(is_known, "{:?}", String::from_utf8_lossy(bytes));
    let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
    prop_assert!(ends == usize::from(bytes.ends_with(b"\n")), "{:?}", String::from_utf8_lossy(bytes));
    Ok(())
}
