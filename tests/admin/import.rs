//! `katydid import`: what was exported is there, and what does not fit changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::{Broker, V5};
use crate::people::Person;
use crate::town::{fill, lines, must, refused, sign_in};

/// An export of a filled broker that has ended, and where it is.
fn exported(folder: &Path) -> (Broker, PathBuf, String) {
    let mut broker = Broker::start();
    drop(fill(&broker));
    assert!(broker.terminate().success());
    let file = folder.join("export");
    must("export", &broker.data_folder(), &[file.to_str().expect("UTF-8")]);
    let text = fs::read_to_string(&file).expect("an export");
    (broker, file, text)
}

#[test]
fn what_is_exported_imported_and_exported_again_is_the_same_to_the_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    let (broker, file, text) = exported(folder.path());
    let file = file.to_str().expect("UTF-8");
    let new = folder.path().join("new");
    must("import", &new, &[file]);
    assert_eq!(must("export", &new, &[]), text);
    for (option, name) in [("--room", "Home"), ("--room", "Den"), ("--group", "crew")] {
        let part = folder.path().join(name);
        let part_file = part.with_extension("export");
        must("export", &broker.data_folder(), &[option, name, part_file.to_str().expect("UTF-8")]);
        must("import", &part, &[part_file.to_str().expect("UTF-8")]);
        let before = fs::read_to_string(&part_file).expect("an export");
        assert_eq!(must("export", &part, &[option, name]), before);
    }
}

#[test]
fn a_broker_goes_on_where_the_exported_one_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_old, file, _) = exported(folder.path());
    let mut broker = Broker::start();
    assert!(broker.terminate().success());
    must("import", &broker.data_folder(), &[file.to_str().expect("UTF-8")]);
    broker.restart();
    let mut ann = sign_in(&broker, "Ann");
    assert_eq!(ann.must("profile/get", &json!({}))["display"], "Ann A.");
    assert_eq!(ann.must("board/get", &json!({ "group": "crew", "number": 2 }))["text"], "What bob says");
    assert_eq!(ann.subscribe("$since/0/room/Home/msg/+", &[]), 1);
    for text in ["first", "second", "third"] {
        ann.hears(text);
    }
    ann.hear();
    assert_eq!(ann.say("room/Home/msg/Ann", "after the move").0, 0);
    ann.hears("after the move");
    let page = ann.must("history", &json!({ "place": "room/Home", "after": 8 }));
    assert_eq!(page["entries"][0]["seq"], 9);
    let private = ann.must("history", &json!({ "place": "user/bob" }));
    assert!(private.to_string().contains("between us"), "{private}");
    let mut dan = Person::connect(&broker, V5, "dan");
    assert_eq!(
        dan.refused("room/join", &json!({ "name": "Den", "password": "wrong" })),
        "room.wrong-password"
    );
    dan.must("room/join", &json!({ "name": "Den", "password": "key" }));
    assert_eq!(dan.subscribe("weather/ulm", &[]), 1);
    dan.hears("rain");
}

#[test]
fn a_bad_line_is_named_and_nothing_is_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_old, file, text) = exported(folder.path());
    let place = folder.path().join("new");
    let bad = folder.path().join("bad");
    let bad_name = bad.to_str().expect("UTF-8");
    let of = |kind: &str| lines(&text).iter().position(|line| line["type"] == kind).expect("a line");
    let entry = of("entry");
    let seq = format!("\"seq\":{}", lines(&text)[entry]["seq"]);
    let second = lines(&text).iter().position(|line| line["text"] == "second").expect("a line");
    let changes: [(usize, &str, &str, &str); 11] = [
        (0, "\"version\":1", "\"version\":2", "version 2 of the format"),
        (0, "katydid-export", "other-export", "no export"),
        (of("account"), "\"name\":\"Ann\"", "\"name\":\"a b\"", "no name of a user"),
        (of("account"), "\"v\":1", "\"v\":9", "version 9"),
        (of("account"), "\"v\":1", "\"v\":1,\"shoe\":3", "unknown"),
        (second, "\"seq\":2", "\"seq\":1", "does not follow"),
        (entry, &seq, "\"seq\":99999999", "is not below next"),
        (second, "/msg/", "/typing/", "its topic is none"),
        (entry, "\"text\":", "\"base64\":", "base64"),
        (entry, "{\"type\"", "{\"type", "no JSON"),
        (of("end"), "\"lines\":", "\"lines\":1", "some are missing"),
    ];
    for (at, from, to, why) in changes {
        let changed: Vec<String> = text
            .lines()
            .enumerate()
            .map(|(number, line)| if number == at { line.replacen(from, to, 1) } else { line.to_owned() })
            .collect();
        assert_ne!(changed[at], text.lines().nth(at).expect("a line"), "{from}");
        fs::write(&bad, changed.join("\n") + "\n").expect("written");
        let said = refused("import", &place, &[bad_name], 2);
        assert!(
            said.starts_with(&format!("katydid: line {}: ", at + 1)) && said.contains(why),
            "{why}: {said}"
        );
    }
    let half = &text[..text.len() / 2];
    fs::write(&bad, half).expect("written");
    assert!(refused("import", &place, &[bad_name], 2).contains("cut off"));
    let nothing = lines(&must("export", &place, &[]));
    assert_eq!(nothing.len(), 2, "a first and a last line: {nothing:?}");
    must("import", &place, &[file.to_str().expect("UTF-8")]);
    assert_eq!(must("export", &place, &[]), text);
}

#[test]
fn what_is_there_already_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut old, file, text) = exported(folder.path());
    let file = file.to_str().expect("UTF-8");
    let said = refused("import", &old.data_folder(), &[file], 2);
    assert!(said.contains("already") && said.contains("nothing was changed"), "{said}");
    assert_eq!(must("export", &old.data_folder(), &[]), text);
    let crew = folder.path().join("crew");
    let crew = crew.to_str().expect("UTF-8");
    must("export", &old.data_folder(), &["--group", "crew", crew]);
    old.restart();
    assert!(refused("import", &old.data_folder(), &[crew], 1).contains("end the broker first"));
    let mut broker = Broker::start();
    let mut bob = crate::town::registered(&broker, "bob");
    bob.must("profile/set", &json!({ "display": "Bob B." }));
    assert_eq!(bob.say("room/Home/msg/bob", "here").0, 0);
    assert!(broker.terminate().success());
    must("import", &broker.data_folder(), &[crew]);
    let all = must("export", &broker.data_folder(), &[]);
    assert!(all.contains("Bob B.") && all.contains("to the crew") && all.contains("\"here\""), "{all}");
    let said = refused("import", &broker.data_folder(), &[crew], 2);
    assert!(said.contains("there is a group/crew already"), "{said}");
    let only_ann = folder.path().join("ann");
    must("export", &old.data_folder(), &["--user", "Ann", only_ann.to_str().expect("UTF-8")]);
    let said = refused("import", &broker.data_folder(), &[only_ann.to_str().expect("UTF-8")], 2);
    assert!(said.contains("an export of one user"), "{said}");
}
