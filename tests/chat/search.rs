//! Search in what was said: words, rights, restarts and crashes, encryption, limits.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::people::{Person, VERSIONS};
use crate::harness::{Broker, Connect, Publish, Settings, V3, V5, property};

/// What is said comes into the index at once; without it, nothing in these tests gets there before they end.
const AT_ONCE: &[&str] = &["--store.index-delay", "0s", "--log.level", "debug"];
const NEVER: &[&str] = &["--store.index-delay", "1h"];

fn broker(arguments: &'static [&'static str]) -> Broker {
    Broker::with(Settings { arguments, ..Settings::default() })
}

/// The texts of all hits, page by page.
fn find(person: &mut Person, request: &Value) -> Vec<String> {
    let (mut request, mut texts) = (request.clone(), Vec::new());
    loop {
        let page = person.must("history/search", &request);
        for hit in page["hits"].as_array().expect("hits") {
            texts.push(hit["text"].as_str().expect("a text").to_owned());
        }
        if page["end"] == json!(true) {
            return texts;
        }
        request["next"] = page["next"].clone();
    }
}

fn words(person: &mut Person, query: &str) -> Vec<String> {
    find(person, &json!({ "query": query }))
}

/// What is said in the same millisecond in two places is in the order of the places.
fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

fn registered(broker: &Broker, name: &str) -> Person {
    Person::connect(broker, V5, name).must("register", &json!({ "name": name, "password": "secret" }));
    again(broker, name)
}

fn again(broker: &Broker, name: &str) -> Person {
    let connect = Connect::lasting(V5, name).user(name).password(b"secret");
    Person::enter(broker, &connect, name)
}

/// Waits until the index has taken in so many entries since the broker was started first.
fn indexed(broker: &Broker, entries: u64) {
    let of_line = |line: &String| -> u64 {
        let count = line.split("entries=").nth(1).and_then(|rest| rest.split_whitespace().next());
        count.and_then(|count| count.parse().ok()).unwrap_or(0)
    };
    for lines in 1.. {
        let found = broker.await_log("the index followed a log", lines);
        if found.iter().map(of_line).sum::<u64>() >= entries {
            return;
        }
    }
}

#[test]
fn words_phrases_and_beginnings_are_found_in_order() {
    for arguments in [AT_ONCE, NEVER] {
        let broker = broker(arguments);
        for version in VERSIONS {
            let mut ann = Person::connect(&broker, version, "ann");
            let room = if version == V5 { "five" } else { "three" };
            assert_eq!(ann.subscribe(&format!("room/{room}/msg/+"), &[]), 1);
            let topic = format!("room/{room}/msg/ann");
            for text in ["Der Café hat zu", "cafe au lait", "東京タワーに行く", "a house of cards"] {
                assert_eq!(ann.say(&topic, text).0, 0);
            }
            assert_eq!(ann.send(Publish::new(&topic, b"\xff\xfe cafe")).0, 0);
            for (query, expected) in [
                ("CAFÉ", vec!["cafe au lait", "Der Café hat zu"]),
                ("cafe zu", vec!["Der Café hat zu"]),
                ("caf*", vec!["cafe au lait", "Der Café hat zu"]),
                ("\"hat zu\"", vec!["Der Café hat zu"]),
                ("\"zu hat\"", vec![]),
                ("東京", vec!["東京タワーに行く"]),
                ("京東", vec![]),
                ("hous* of", vec!["a house of cards"]),
            ] {
                let place = format!("room/{room}");
                assert_eq!(find(&mut ann, &json!({ "query": query, "place": place })), expected, "{query}");
            }
            let page = ann.must(
                "history/search",
                &json!({ "query": "cafe", "limit": 1, "place": format!("room/{room}") }),
            );
            assert_eq!(
                (page["hits"].as_array().map(Vec::len), &page["end"]),
                (Some(1), &json!(false)),
                "{page}"
            );
            let hit = &page["hits"][0];
            assert_eq!((&hit["seq"], &hit["from"], &hit["topic"]), (&json!(2), &json!("ann"), &json!(topic)));
            ann.must("room/leave", &json!({ "name": room }));
        }
    }
}

#[test]
fn everybody_finds_what_they_may_read_and_nothing_else() {
    for arguments in [AT_ONCE, NEVER] {
        let broker = broker(arguments);
        let mut ann = registered(&broker, "ann");
        let mut bob = registered(&broker, "bob");
        let mut eve = registered(&broker, "eve");
        for (name, settings) in [
            ("den", json!({ "password": "sesame" })),
            ("hidden", json!({ "visibility": "secret" })),
            ("club", json!({})),
        ] {
            let mut request = settings;
            request["name"] = json!(name);
            ann.must("room/create", &request);
            ann.must("room/join", &json!({ "name": name }));
            assert_eq!(ann.say(&format!("room/{name}/msg/ann"), &format!("needle in {name}")).0, 0);
        }
        assert_eq!(ann.say("user/bob/msg/ann", "needle for bob").0, 0);
        assert_eq!(words(&mut eve, "needle"), [""; 0]);
        for place in ["room/hidden", "room/nowhere"] {
            let refused = eve.refused("history/search", &json!({ "query": "needle", "place": place }));
            assert_eq!(refused, "room.not-found", "a secret room is as one that is not there");
        }
        let refused = eve.refused("history/search", &json!({ "query": "needle", "place": "room/den" }));
        assert_eq!(refused, "room.not-member");
        assert_eq!(find(&mut eve, &json!({ "query": "needle", "place": "user/bob" })), [""; 0]);
        bob.must("room/join", &json!({ "name": "den", "password": "sesame" }));
        bob.must("room/join", &json!({ "name": "club" }));
        assert_eq!(sorted(words(&mut bob, "needle")), ["needle for bob", "needle in club", "needle in den"]);
        assert_eq!(find(&mut bob, &json!({ "query": "needle", "from": "bob" })), [""; 0]);
        bob.must("room/leave", &json!({ "name": "den" }));
        assert_eq!(sorted(words(&mut bob, "needle")), ["needle for bob", "needle in club"]);
        ann.must("room/ban", &json!({ "name": "club", "user": "bob" }));
        assert_eq!(words(&mut bob, "needle"), ["needle for bob"]);
        let refused = bob.refused("history/search", &json!({ "query": "needle", "place": "room/club" }));
        assert_eq!(refused, "room.banned");
        bob.must("ignore/add", &json!({ "user": "ann" }));
        assert_eq!(words(&mut bob, "needle"), [""; 0]);
        bob.must("ignore/remove", &json!({ "user": "ann" }));
        assert_eq!(words(&mut bob, "needle"), ["needle for bob"]);
        assert_eq!(words(&mut ann, "needle").len(), 4);
    }
}

#[test]
fn what_is_deleted_edited_erased_or_expired_is_not_found_as_it_was() {
    for arguments in [AT_ONCE, NEVER] {
        let mut broker = broker(arguments);
        let mut ann = registered(&broker, "ann");
        let mut bob = registered(&broker, "bob");
        ann.must("room/join", &json!({ "name": "Home" }));
        bob.must("room/join", &json!({ "name": "Home" }));
        for text in ["first typpo", "second secret", "third thing"] {
            assert_eq!(ann.say("room/Home/msg/ann", text).0, 0);
        }
        assert_eq!(bob.say("room/Home/msg/bob", "thing of bob").0, 0);
        let brief =
            Publish::new("room/Home/msg/ann", "brief thing").property(property::message_expiry_secs(1));
        assert_eq!(ann.send(brief).0, 0);
        if arguments == AT_ONCE {
            indexed(&broker, 5);
        }
        assert_eq!(ann.say("room/Home/event/ann", r#"{"type":"edit","seq":1,"text":"first typo"}"#).0, 0);
        assert_eq!(ann.say("room/Home/event/ann", r#"{"type":"delete","seq":2}"#).0, 0);
        let mut is_first = true;
        loop {
            assert_eq!(words(&mut bob, "typpo"), [""; 0]);
            let page = bob.must("history/search", &json!({ "query": "typo" }));
            let hit = &page["hits"][0];
            assert_eq!(
                (&hit["seq"], &hit["edited"], &hit["text"]),
                (&json!(1), &json!(6), &json!("first typo")),
                "{page}"
            );
            assert_eq!(words(&mut bob, "secret"), [""; 0]);
            if !std::mem::take(&mut is_first) {
                break;
            }
            broker.kill();
            broker.restart();
            bob = again(&broker, "bob");
        }
        // The test is over before or after the second that it lives.
        let things = words(&mut bob, "thing");
        let lasting: Vec<&String> = things.iter().filter(|text| *text != "brief thing").collect();
        assert_eq!(lasting, ["thing of bob", "third thing"]);
        let answer = operate(&broker, &json!({ "verb": "user/erase", "name": "ann" }));
        assert_eq!(answer["ok"], json!(true), "{answer}");
        // It is answered when it has begun; what is on disk only is erased page by page.
        let left = (0..50).map(|_| words(&mut bob, "third").len());
        assert_eq!(left.min(), Some(0), "what ann wrote is found no more");
        assert_eq!(words(&mut bob, "thing"), ["thing of bob"]);
    }
}

/// Asks as the operator does.
fn operate(broker: &Broker, request: &Value) -> Value {
    let mut socket =
        UnixStream::connect(broker.data_folder().join("control.sock")).expect("a control socket");
    writeln!(socket, "{request}").expect("asked");
    let mut answer = String::new();
    BufReader::new(socket).read_line(&mut answer).expect("an answer");
    serde_json::from_str(&answer).expect("JSON")
}

#[test]
fn what_was_acknowledged_is_found_after_a_kill_at_any_moment() {
    let mut broker = broker(AT_ONCE);
    let mut said = 0;
    for round in 0..4 {
        let mut ann = Person::connect(&broker, V5, "ann");
        for place in ["room/one", "room/two"] {
            assert_eq!(ann.subscribe(&format!("{place}/event/+"), &[]), 1);
        }
        for index in 0..150 {
            let topic = if index % 3 == 0 { "room/one/msg/ann" } else { "room/two/msg/ann" };
            assert_eq!(ann.say(topic, &format!("needle {said} of round{round}")).0, 0);
            said += 1;
        }
        broker.kill();
        broker.restart();
        let mut ann = Person::connect(&broker, V5, "ann");
        let mut found = Vec::new();
        for place in ["room/one", "room/two"] {
            found.extend(find(&mut ann, &json!({ "query": "needle", "place": place, "limit": 100 })));
        }
        found.sort();
        found.dedup();
        assert_eq!(found.len(), said, "round {round}");
        let of_round = find(&mut ann, &json!({ "query": format!("round{round}"), "place": "room/two" }));
        assert_eq!(of_round.len(), 100);
    }
    indexed(&broker, 1);
    assert!(broker.terminate().success());
}

/// Whether a file anywhere below a folder holds these bytes.
fn shows(folder: &Path, word: &[u8]) -> bool {
    fs::read_dir(folder).expect("a folder").map(|item| item.expect("an item").path()).any(|path| {
        if path.is_dir() {
            return shows(&path, word);
        }
        // A socket is no file.
        path.is_file() && fs::read(path).expect("a file").windows(word.len()).any(|part| part == word)
    })
}

fn rekey(arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_katydid"));
    let output = command.arg("rekey").args(arguments).output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_index_of_an_encrypted_database_shows_no_word_and_follows_its_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let [key, other] = ["key", "other"].map(|name| folder.path().join(name).display().to_string());
    fs::write(&key, "0123456789abcdef".repeat(4)).expect("written");
    fs::write(&other, "fedcba9876543210".repeat(4)).expect("written");
    let with = |key: Option<&str>| -> &'static [&'static str] {
        let mut arguments = AT_ONCE.to_vec();
        if let Some(key) = key {
            arguments.extend(["--store.key-file", &*Box::leak(key.to_owned().into_boxed_str())]);
        }
        arguments.leak()
    };
    let mut broker = broker(with(Some(&key)));
    let data = broker.data_folder();
    let place = data.display().to_string();
    let mut ann = Person::connect(&broker, V5, "annabella");
    for index in 0..200 {
        assert_eq!(ann.say("room/Home/msg/annabella", &format!("sesquipedalian {index}")).0, 0);
    }
    indexed(&broker, 200);
    let finds = |broker: &Broker| {
        let mut ann = Person::connect(broker, V5, "annabella");
        find(&mut ann, &json!({ "query": "sesq*", "place": "room/Home", "limit": 100 })).len()
    };
    assert_eq!(finds(&broker), 200);
    broker.kill();
    for word in ["sesquipedalian", "annabella", "sesq"] {
        assert!(!shows(&data, word.as_bytes()), "{word}");
    }
    assert!(fs::metadata(data.join("search/db")).expect("an index").len() > 0);
    rekey(&["--data-dir", &place, "--old-key-file", &key, "--new-key-file", &other]);
    broker.restart_with(with(Some(&other)));
    assert_eq!(finds(&broker), 200);
    assert!(!broker.log().contains("is made anew"), "the index got the key of the database");
    assert!(broker.terminate().success());
    rekey(&["--data-dir", &place, "--old-key-file", &other]);
    broker.restart_with(with(None));
    assert_eq!(finds(&broker), 200);
    indexed(&broker, 400);
    assert_eq!(finds(&broker), 200);
    assert!(broker.terminate().success());
    assert!(shows(&data, b"sesquipedalian"), "this search finds what is in clear");
    fs::write(data.join("search/format"), b"damaged").expect("written");
    broker.restart();
    assert_eq!(finds(&broker), 200);
    broker.await_log("is made anew", 1);
}

#[test]
fn bad_queries_are_answered_with_codes() {
    let broker = Broker::start();
    let mut ann = Person::connect(&broker, V3, "ann");
    for (request, code) in [
        (json!({}), "search.bad-query"),
        (json!({ "query": "?!" }), "search.bad-query"),
        (json!({ "query": "*" }), "search.bad-query"),
        (json!({ "query": "\"open" }), "search.bad-query"),
        (json!({ "query": "a ".repeat(17) }), "search.bad-query"),
        (json!({ "query": "x".repeat(257) }), "search.bad-query"),
        (json!({ "query": 7 }), "request.bad-field"),
        (json!({ "query": "a", "limit": 0 }), "request.bad-field"),
        (json!({ "query": "a", "limit": 101 }), "request.bad-field"),
        (json!({ "query": "a", "next": "nonsense" }), "request.bad-field"),
        (json!({ "query": "a", "after": 7 }), "request.bad-field"),
        (json!({ "query": "a", "after": "yesterday" }), "request.bad-field"),
        (json!({ "query": "a", "place": "Home" }), "request.bad-field"),
        (json!({ "query": "a", "place": "room/nowhere" }), "room.not-found"),
        (json!({ "query": "a", "text": "b" }), "request.unknown-field"),
    ] {
        assert_eq!(ann.refused("history/search", &request), code, "{request}");
    }
    assert_eq!(find(&mut ann, &json!({ "query": "a", "next": "18446744073709551615:0:room/x" })), [""; 0]);
}

#[test]
fn searches_are_paid_from_the_budget_of_pages() {
    let mut broker = broker(&["--accounts.pages-per-second", "1"]);
    let mut ann = Person::connect(&broker, V5, "ann");
    assert_eq!(ann.say("room/Home/msg/ann", "needle").0, 0);
    let request = json!({ "query": "needle", "place": "room/Home" });
    let refused = (0..40).find_map(|_| {
        let answer = ann.ask("history/search", &request);
        (answer["ok"] == json!(false)).then(|| answer["code"].as_str().expect("a code").to_owned())
    });
    assert_eq!(refused.as_deref(), Some("rate.history"));
    assert_eq!(ann.say("room/Home/msg/ann", "talk goes on").0, 0);
    ann.must("whoami", &json!({}));
    assert!(broker.terminate().success());
}
