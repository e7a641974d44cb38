//! Plays golden transcripts against a machine: what each side sends, and what is asked of the broker, line by line.
//!
//! A transcript is a text of lines; each begins with the name of a link and a sign:
//!
//! | line | who | what |
//! | --- | --- | --- |
//! | `ann+` | the peer | connects; `ann+1` at the door 1; `file+1 ann` from where `ann` came from |
//! | `ann-` | the peer | is gone |
//! | `ann> #whoami` | the peer | sends a line; `\xNN`, `\n` and `\r` are escapes |
//! | `ann>> #who` | the peer | sends bytes without a line's end |
//! | `ann: ok {"user":"ann"}`, `ann: no CODE` | the broker | answers the oldest unanswered call |
//! | `ann! said room/Home bob 7 hello` | the broker | an event |
//! | `+2000` | the clock | goes on by milliseconds, with a tick if one is due |
//! | `ann< @status 0` | the machine | writes a line; `ann< [closed]` closes |
//! | `ann= join room/Home last 0` | the machine | asks the broker |
//! | `log TEXT`, `b= dial HOST PORT` | the machine | logs, connects |
//! | `b: reached`, `b: unreached` | the network | answers a dial |
//! | `b<< TEXT` | the machine | writes the beginning of a line |
//! | `b< [a] TEXT`, `a: passed` | the machine, the network | a piece that comes from `a`; it was written |
//!
//! `#` begins a comment, `## 4 Communication protocol` the section of the document that the lines below it follow.
//! What the machine does after each input must be the lines that follow it, all of them and in their order. A voice other
//! than the first stands behind the link's name: `ann.1=`.

use crate::{
    chat::{Call, Event, Message, Place, Refusal, Tag, Voice},
    machine::{Input, Link, Machine, Output},
};
use bytes::Bytes;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

/// Plays a transcript; says the line in which the machine did something else.
pub(crate) fn play(machine: &mut dyn Machine, end: &'static str, transcript: &str) {
    let mut player = Player { machine, end, now_ms: 0, links: BTreeMap::new(), open: BTreeMap::new() };
    let mut said: VecDeque<String> = VecDeque::new();
    for (at, line) in transcript.lines().enumerate() {
        let at = at + 1;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if is_output(line) {
            assert_eq!(said.pop_front().as_deref(), Some(line), "line {at}; then came {said:#?}");
        } else {
            assert!(said.is_empty(), "before line {at} ({line}) there came more: {said:#?}");
            said = player.input(line, at).into();
        }
    }
    assert!(said.is_empty(), "after the end there came more: {said:#?}");
}

fn is_output(line: &str) -> bool {
    let sign = line.find(['<', '=', '>', ':', '!', '+', '-']).map(|at| line.as_bytes()[at]);
    line.starts_with("log ") || matches!(sign, Some(b'<' | b'='))
}

struct Player<'a> {
    machine: &'a mut dyn Machine,
    end: &'static str,
    now_ms: u64,
    links: BTreeMap<String, Link>,
    open: BTreeMap<(Link, Voice), VecDeque<Tag>>,
}

impl Player<'_> {
    fn input(&mut self, line: &str, at: usize) -> Vec<String> {
        let sign =
            line.find(['>', ':', '!', '+', '-']).unwrap_or_else(|| panic!("line {at} is none: {line}"));
        let (name, rest) = line.split_at(sign);
        let (sign, rest) = rest.split_at(1);
        let mut out = Vec::new();
        if name.is_empty() {
            self.now_ms += rest.parse::<u64>().expect("milliseconds");
            while self.machine.deadline_ms().is_some_and(|due| due <= self.now_ms) {
                self.machine.handle(self.now_ms, Input::Tick, &mut out);
            }
            return self.shown(out);
        }
        let (name, voice) = name.split_once('.').unwrap_or((name, "0"));
        let voice = Voice(voice.parse().expect("a number of a voice"));
        let count = self.links.len() as u64 + 1;
        let link = *self.links.entry(name.into()).or_insert(Link(count));
        let bytes;
        let input = match sign {
            "+" => {
                let (door, like) = rest.split_once(' ').unwrap_or((rest, name));
                let door = door.parse().unwrap_or(0);
                let like = self.links.get(like).map_or(link.0, |like| like.0);
                let from = format!("192.0.2.{like}:4000").parse().expect("an address");
                Input::Opened { link, door, from }
            }
            "-" => Input::Closed { link },
            ">" => {
                bytes = match rest.strip_prefix('>') {
                    Some(part) => unescape(part.strip_prefix(' ').unwrap_or(part)),
                    None => unescape(&format!("{}{}", rest.strip_prefix(' ').unwrap_or(rest), self.end)),
                };
                Input::Received { link, bytes: &bytes }
            }
            ":" => match rest.trim_start() {
                "reached" => Input::Dialled { link, problem: None },
                "unreached" => Input::Dialled { link, problem: Some("refused".into()) },
                "passed" => Input::Passed { link },
                answer => Input::Chat { link, voice, event: self.answer(link, voice, answer, at) },
            },
            _ => Input::Chat { link, voice, event: event(rest.trim_start(), at) },
        };
        self.machine.handle(self.now_ms, input, &mut out);
        self.shown(out)
    }

    fn answer(&mut self, link: Link, voice: Voice, answer: &str, at: usize) -> Event {
        let open = self.open.get_mut(&(link, voice)).and_then(VecDeque::pop_front);
        let tag = open.unwrap_or_else(|| panic!("line {at} answers nothing"));
        let outcome = match answer.split_once(' ').unwrap_or((answer, "")) {
            ("ok", "") => Ok(Value::Null),
            ("ok", json) => Ok(serde_json::from_str(json).expect("JSON")),
            (_, code) => Err(Refusal::new(code)),
        };
        Event::Answered { tag, outcome }
    }

    fn shown(&mut self, out: Vec<Output>) -> Vec<String> {
        out.into_iter().flat_map(|output| self.show(output)).collect()
    }

    fn show(&mut self, output: Output) -> Vec<String> {
        match output {
            Output::Write { link, bytes } => {
                let name = self.name(link);
                let text: String = bytes.utf8_chunks().fold(String::new(), |mut text, chunk| {
                    text += chunk.valid();
                    chunk.invalid().iter().for_each(|byte| text += &format!("\\x{byte:02x}"));
                    text
                });
                let Some(body) = text.strip_suffix(self.end) else {
                    return vec![format!("{name}<< {}", escape(&text))];
                };
                body.split(self.end).map(|line| format!("{name}< {}", escape(line))).collect()
            }
            Output::Pass { link, bytes, from } => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                vec![format!("{}< [{}] {}", self.name(link), self.name(from), escape(&text))]
            }
            Output::GoOn { link } => vec![format!("{}< [read on]", self.name(link))],
            Output::Close { link } => vec![format!("{}< [closed]", self.name(link))],
            Output::Ask { link, voice, tag, call } => {
                let name = self.name(link);
                let voice_name = if voice == Voice::FIRST { String::new() } else { format!(".{}", voice.0) };
                if call != Call::SignOut {
                    self.open.entry((link, voice)).or_default().push_back(tag);
                }
                vec![format!("{name}{voice_name}= {}", brief(&call))]
            }
            Output::Dial { link, host, port } => {
                let name = format!("dial{}", self.links.len());
                self.links.insert(name.clone(), link);
                vec![format!("{name}= dial {host} {port}")]
            }
            Output::Log(text) => vec![format!("log {text}")],
        }
    }

    fn name(&self, link: Link) -> String {
        let found = self.links.iter().find(|(_, known)| **known == link);
        found.map_or_else(|| format!("{link:?}"), |(name, _)| name.clone())
    }
}

/// A call in short.
pub(crate) fn brief(call: &Call) -> String {
    let text = |bytes: &Bytes| format!("{:?}", String::from_utf8_lossy(bytes));
    let named = |name: &Option<String>| name.as_ref().map_or(String::new(), |name| format!(" as {name}"));
    match call {
        Call::SignIn { user, password, exclusive } => {
            let password = password.as_ref().map_or(String::new(), |it| format!(" with {}", it.reveal()));
            let exclusive = if *exclusive { " exclusive" } else { "" };
            format!("sign-in {}{password}{exclusive}", user.as_deref().unwrap_or("guest"))
        }
        Call::SignOut => "sign-out".into(),
        Call::Join { place, password, last } => {
            let password = password.as_ref().map_or(String::new(), |it| format!(" with {}", it.reveal()));
            let last = if *last == 0 { String::new() } else { format!(" last {last}") };
            format!("join {place}{password}{last}")
        }
        Call::Leave { place } => format!("leave {place}"),
        Call::Say { place, text: said, name } => format!("say {place} {}{}", text(said), named(name)),
        Call::Tell { user, text: said, name } => format!("tell {user} {}{}", text(said), named(name)),
        Call::Request { verb, json } => format!("ask {verb} {json}"),
    }
}

pub(crate) fn event(text: &str, at: usize) -> Event {
    let words: Vec<&str> = text.splitn(5, ' ').collect();
    let message = |from: &str, seq: u64, text: &str| {
        // A display name stands behind the user's: `guest-1|ann`.
        let (from, name) =
            from.split_once('|').map_or((from, None), |(from, name)| (from, Some(name.into())));
        let text = Bytes::from(unescape(text));
        Message { from: from.into(), name, text, seq, is_replayed: false }
    };
    let rest = |from: usize| text.splitn(from + 1, ' ').nth(from).unwrap_or_default().to_owned();
    let json = |from: usize| serde_json::from_str(&rest(from)).expect("JSON");
    match words.as_slice() {
        ["said", where_, from, seq, text @ ..] => Event::Said {
            place: place(where_),
            message: message(from, seq.parse().expect("a number"), text.first().unwrap_or(&"")),
        },
        ["replayed", where_, from, seq, text @ ..] => {
            let message = message(from, seq.parse().expect("a number"), text.first().unwrap_or(&""));
            Event::Said { place: place(where_), message: Message { is_replayed: true, ..message } }
        }
        ["told", from, ..] => Event::Told { message: message(from, 0, &rest(2)) },
        ["noted", where_, from, ..] => {
            Event::Noted { place: place(where_), from: (*from).into(), json: json(3) }
        }
        ["signalled", from, ..] => Event::Signalled { from: (*from).into(), json: json(2) },
        ["entered", where_, user] => Event::Entered { place: place(where_), user: (*user).into() },
        ["left", where_, user] => Event::Left { place: place(where_), user: (*user).into() },
        ["removed", where_, ..] => Event::Removed { place: place(where_), reason: rest(2) },
        ["ended", ..] => Event::Ended { reason: rest(1) },
        ["gone"] => Event::Gone,
        ["back", user] => Event::Back { user: (*user).into() },
        _ => panic!("line {at} is no event: {text}"),
    }
}

fn place(text: &str) -> Place {
    match text.split_once('/').expect("a place") {
        ("room", name) => Place::room(name),
        (_, name) => Place::group(name),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        // Only these three are escapes: commands have backslashes of their own.
        match (byte, rest.clone().next()) {
            (b'\\', Some(b'x')) => {
                rest.next();
                let digits = [rest.next().expect("a digit"), rest.next().expect("a digit")];
                let digits = std::str::from_utf8(&digits).expect("digits");
                bytes.push(u8::from_str_radix(digits, 16).expect("digits"));
            }
            (b'\\', Some(end @ (b'n' | b'r'))) => {
                rest.next();
                bytes.push(if end == b'n' { b'\n' } else { b'\r' });
            }
            _ => bytes.push(byte),
        }
    }
    bytes
}

/// What is written is shown as it is, but for what a line of a transcript can't hold.
fn escape(line: &str) -> String {
    line.replace('\n', "\\n").replace('\r', "\\r")
}
