//! Random requests, answers, events and pauses: whatever happens, every request has one answer, and that is one which the
//! description has.

use super::*;
use proptest::prelude::*;
use serde_json::json;

#[derive(Debug, Clone)]
enum Step {
    Ask(&'static str, &'static str, &'static str, &'static str),
    Answer(usize, Result<Value, &'static str>),
    Event(usize, Event),
    Later(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let pick = |from: &'static [&'static str]| proptest::sample::select(from.to_vec());
    let methods = pick(&["GET", "GET", "GET", "POST", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]);
    let paths = pick(&[
        "/Users",
        "/Users?After=bob",
        "/Users/2",
        "/Users/2,bob",
        "/User/ann/conversation",
        "/Users/2/conversation?Index=7",
        "/Users/1/friends",
        "/Users/ann/friends/bob",
        "/Groups",
        "/Group/g",
        "/Groups/%2F",
        "/Groups/g/conversation",
        "/Groups/g/conversation?Index=x",
        "/Search?Name=x&Type=User",
        "/Search?Type=Planet&Name=%ff",
        "/me?Timeout=30",
        "/me?Timeout=-1",
        "/login",
        "/login/callback?state=x&code=y",
        "/openapi.json",
        "/nothing",
        "/users//conversation",
    ]);
    let bodies = pick(&[
        "",
        "{}",
        "{",
        "[1]",
        r#"{"message":"hi"}"#,
        r#"{"Message":"hi","members":[2,"bob","ann"]}"#,
        r#"{"members":{}}"#,
        r#"{"members":[null]}"#,
        r#"{"username":"ann","password":"sesame"}"#,
        r#"{"sender":2}"#,
        r#"{"userId":1,"message":"hi"}"#,
        r#"{"userId":2,"message":"hi"}"#,
        r#"{"password":"sesame","newPassword":"open","email":7}"#,
    ]);
    let ask = (pick(&["ann", "ann/2", "bob", "nobody"]), methods, paths, bodies)
        .prop_map(|(name, method, path, body)| Step::Ask(name, method, path, body));
    let good = json!({"user": "ann", "kind": "registered", "number": 1, "email": "e", "state": "online", "token": "tok",
        "name": "g", "seq": 4, "end": false, "places": [{"name": "g", "members": 2}, 7],
        "users": [{"user": "bob", "number": 2, "state": "asleep"}, {"user": "x"}],
        "entries": [{"seq": 3, "topic": "group/g/msg/x", "from": "x", "text": "hi", "time": "t"},
            {"seq": 4, "topic": "group/g/event/x", "from": "x", "text": "{}", "time": "t"}, 7]});
    let mut longer = good.clone();
    longer["more"] = true.into();
    let refusals =
        ["room.not-member", "group.exists", "user.not-found", "room.full", "bridge.lost", "novelty"];
    let outcome = prop_oneof![
        8 => Just(Ok(good)),
        1 => Just(Ok(longer)),
        2 => proptest::sample::select(refusals.to_vec()).prop_map(Err),
    ];
    let events =
        ["told bob hi", "said group/g bob 7 hi", "said group/g ann 8 mine", "gone", "back ann", "ended why"];
    let signals =
        [r#"{"type":"added","place":"group/h"}"#, r#"{"type":"invitation","place":"group/h"}"#, "7"];
    let event = prop_oneof![
        proptest::sample::select(events.to_vec()).prop_map(|text| event(text, 0)),
        proptest::sample::select(signals.to_vec())
            .prop_map(|json| event(&format!("signalled bob {json}"), 0)),
    ];
    prop_oneof![
        6 => ask,
        9 => (any::<usize>(), outcome).prop_map(|(at, outcome)| Step::Answer(at, outcome)),
        2 => (any::<usize>(), event).prop_map(|(at, event)| Step::Event(at, event)),
        1 => (0..700_000u64).prop_map(Step::Later),
    ]
}

impl Script {
    /// Lets everything run that can; says how many requests were answered meanwhile.
    async fn settle(&mut self) -> usize {
        let mut answered = 0;
        for _ in 0..50 {
            tokio::task::yield_now().await;
            while let Ok(seen) = self.seen.try_recv() {
                answered += usize::from(matches!(seen, Seen::Answered { .. }));
                self.show(seen).await;
            }
        }
        answered
    }

    async fn answer_one(&mut self, at: usize, outcome: Result<Value, Refusal>) -> bool {
        let waiting: Vec<String> =
            self.open.iter().filter(|(_, tags)| !tags.is_empty()).map(|(line, _)| line.clone()).collect();
        let Some(line) = waiting.get(at % waiting.len().max(1)).cloned() else { return false };
        let Some(tag) = self.open.get_mut(&line).and_then(VecDeque::pop_front) else { return false };
        self.tell_if_open(&line, Event::Answered { tag, outcome }).await;
        true
    }

    async fn tell_if_open(&self, line: &str, event: Event) {
        let brought = self.lines.lock().expect("no panic").get(line).cloned();
        if let Some(brought) = brought {
            let _ = brought.send(Brought::Chat { link: Link(0), voice: Voice::FIRST, event }).await;
        }
    }

    async fn random(&mut self, steps: Vec<Step>) {
        let (mut asked, mut answered) = (0, 0);
        for step in steps {
            match step {
                Step::Ask(name, method, path, body) => {
                    asked += 1;
                    self.ask(name, &format!("{method} {path} {body}"));
                }
                Step::Answer(at, outcome) => {
                    self.answer_one(at, outcome.map_err(Refusal::new)).await;
                }
                Step::Event(at, event) => {
                    let mut lines: Vec<String> =
                        self.lines.lock().expect("no panic").keys().cloned().collect();
                    lines.sort();
                    if let Some(line) = lines.get(at % lines.len().max(1)).cloned() {
                        self.tell_if_open(&line, event).await;
                    }
                }
                Step::Later(ms) => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    self.desk.sweep();
                }
            }
            answered += self.settle().await;
        }
        while self.answer_one(0, Err(Refusal::new(Refusal::LOST))).await {
            answered += self.settle().await;
        }
        // A poll, and a request to which nobody answers, end by themselves.
        tokio::time::sleep(Duration::from_secs(200)).await;
        answered += self.settle().await;
        assert_eq!(asked, answered);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_request_has_one_answer_that_is_described(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(Script::new(server::Settings::default()).random(steps));
    }
}
