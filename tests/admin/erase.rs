//! `katydid user erase`: what somebody wrote is gone, and nothing names the one who did.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::{Broker, Connect, Publish, V3, V5};
use crate::people::Person;
use crate::town::{fill, lines, must, refused, registered, sign_in};

/// Whether an export of everything has this text.
fn has(data: &Path, text: &str) -> bool {
    must("export", data, &[]).contains(text)
}

#[test]
fn nothing_of_an_erased_user_is_left_and_the_numbers_and_times_are() {
    let mut broker = Broker::start();
    let [ann, mut bob, carl] = fill(&broker);
    let data = broker.data_folder();
    bob.must("ignore/add", &json!({ "user": "Ann" }));
    bob.must("room/create", &json!({ "name": "Attic" }));
    bob.must("room/ban", &json!({ "name": "Attic", "user": "Ann" }));
    let numbers = |export: &str| -> Vec<(u64, u64)> {
        let home = "\"topic\":\"room/Home/";
        let home = export.lines().filter(|line| line.contains(home)).collect::<Vec<_>>().join("\n");
        let of = |field: &str, line: &serde_json::Value| line[field].as_u64().expect("a number");
        lines(&home).iter().map(|line| (of("seq", line), of("time_ms", line))).collect()
    };
    let before = must("export", &data, &[]);
    assert_eq!(must("user", &data, &["erase", "Ann"]), "Ann is erased\n");
    let after = must("export", &data, &[]);
    assert_eq!(numbers(&before), numbers(&after));
    for text in ["Ann", "ann", "first", "to the crew", "between us", "Ulm", "laptop", "What Ann plans"] {
        assert!(!after.contains(text), "{text}:\n{after}");
    }
    for text in ["second", "third", "What bob says", "hello Carl", "room/Home/msg/guest-erased"] {
        assert!(after.contains(text), "{text}:\n{after}");
    }
    drop((ann, carl));
    assert_eq!(
        refused("user", &data, &["passwd", "Ann", "-b", "x"], 1),
        "katydid: no such user (user.not-found)\n"
    );
    let page = bob.must("history", &json!({ "place": "room/Home" }));
    assert_eq!(page["entries"][0]["deleted"], true, "{page}");
    assert!(broker.terminate().success());
    assert!(!has(&data, "Ann"));
    broker.restart();
    let mut ann = registered(&broker, "Ann");
    assert_eq!(
        ann.must("history", &json!({ "place": "room/Home" }))["entries"].as_array().map(Vec::len),
        Some(8)
    );
    ann.must("room/join", &json!({ "name": "Attic" }));
    let mut bob = sign_in(&broker, "bob");
    assert_eq!(bob.subscribe("room/Home/msg/+", &[]), 1);
    assert_eq!(ann.say("room/Home/msg/Ann", "I am another").0, 0);
    while bob.hear().text() != "I am another" {}
    assert_eq!(ann.say("user/bob/msg/Ann", "we have not met").0, 0);
    let private = ann.must("history", &json!({ "place": "user/bob" }));
    assert!(private.to_string().contains("we have not met") && !private.to_string().contains("between us"));
}

#[test]
fn what_was_written_is_gone_from_the_disk_and_from_what_waits() {
    let mut broker = Broker::start();
    let mut ann = registered(&broker, "ann");
    let connect = Connect::lasting(V3, "client-bob").user("bob");
    let mut bob = broker.connect(&connect);
    bob.subscribe("room/Home/msg/+", 2);
    ann.client.publish_whole(Publish::new("room/Home/msg/ann", "in flight, secretly").qos2(9));
    assert_eq!(bob.expect_publish().text(), "in flight, secretly");
    bob.vanish();
    assert_eq!(ann.say("room/Home/msg/ann", "in the log, secretly").0, 0);
    let data = broker.data_folder();
    must("user", &data, &["erase", "ann"]);
    assert!(broker.terminate().success());
    let store = must("export", &data, &[]);
    assert!(!store.contains("secretly"), "{store}");
    broker.restart();
    let mut bob = broker.connect(&Connect::lasting(V3, "client-bob").user("bob").resume());
    let again = bob.expect_publish();
    assert_eq!((again.topic.as_str(), again.text().as_str()), ("room/Home/msg/guest-erased", ""));
    bob.acknowledge(&again);
    bob.expect_quiet();
    // Written anew, the files hold nothing that the database does not.
    drop(bob);
    assert!(broker.terminate().success());
    must("rekey", &data, &["--rewrite"]);
    for item in fs::read_dir(&data).expect("a folder") {
        let path = item.expect("an item").path();
        let Ok(bytes) = fs::read(&path) else { continue };
        assert!(!bytes.windows(8).any(|part| part == b"secretly"), "{}", path.display());
    }
}

#[test]
fn an_erasure_that_a_crash_interrupts_goes_on_with_the_next_start() {
    const MESSAGES: u32 = 3_000;
    let mut broker = Broker::start();
    let mut ann = registered(&broker, "ann");
    for number in 0..MESSAGES {
        ann.client.publish(&format!("room/r{}/msg/ann", number % 20), &format!("mine {number}"), 0);
    }
    assert_eq!(ann.say("room/Home/msg/ann", "the last").0, 0);
    let data = broker.data_folder();
    let erasing = data.join("control.sock");
    let mut operator = std::os::unix::net::UnixStream::connect(erasing).expect("the control socket");
    std::io::Write::write_all(&mut operator, b"{\"verb\":\"user/erase\",\"name\":\"ann\"}\n")
        .expect("written");
    let mut answer = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(operator), &mut answer).expect("an answer");
    assert!(answer.contains("true"), "{answer}");
    broker.kill();
    broker.restart();
    must("user", &data, &["erase", "ann"]);
    let all = must("export", &data, &[]);
    assert!(!all.contains("mine") && !all.contains("ann"), "{}", &all[..all.len().min(2_000)]);
    assert_eq!(all.matches("guest-erased").count(), MESSAGES as usize + 1);
    broker.kill();
    broker.restart();
    let mut ann = Person::connect(&broker, V5, "ann");
    assert_eq!(ann.say("room/Home/msg/ann", "new").0, 0);
}

#[test]
fn who_is_to_be_erased_is_somebody_who_can_be() {
    let broker = Broker::start();
    drop(fill(&broker));
    let data = broker.data_folder();
    assert!(refused("user", &data, &["erase", "ann"], 1).contains("name.spelling"));
    assert!(refused("user", &data, &["erase", "a b"], 1).contains("user.not-found"));
    assert!(refused("user", &data, &["erase", "katydid"], 1).contains("user.not-found"));
    assert_eq!(must("user", &data, &["erase", "nobody"]), "nobody is erased\n");
    assert!(has(&data, "\"Ann\""));
}
