//! `katydid export`: what is in it, from a broker that runs and from one that does not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Broker, Settings};
use crate::town::{fill, katydid, lines, must, refused};

fn texts(export: &str) -> Vec<String> {
    lines(export).iter().filter_map(|line| Some(line["text"].as_str()?.to_owned())).collect()
}

#[test]
fn an_export_says_what_there_is_and_is_the_same_whether_the_broker_runs_or_not() {
    let mut broker = Broker::start();
    drop(fill(&broker));
    // The connections are gone, and the directory has noted it, when an answer that waits for the disk is given.
    let data = broker.data_folder();
    assert!(broker.terminate().success());
    let stopped = must("export", &data, &[]);
    broker.restart();
    let running = must("export", &data, &[]);
    assert_eq!(stopped, running);
    let all = lines(&stopped);
    assert_eq!(all[0]["format"], "katydid-export");
    assert_eq!(all[0]["version"], 1);
    assert_eq!(all.last().expect("an end")["lines"], all.len());
    let of = |kind: &str| all.iter().filter(|line| line["type"] == kind).count();
    for (kind, count) in [
        ("account", 2),
        ("anonymous", 1),
        ("room", 2),
        ("group", 1),
        ("post", 2),
        ("ban", 1),
        ("friend", 2),
        ("ignored", 1),
        ("token", 1),
        ("marker", 1),
        ("retained", 1),
    ] {
        assert_eq!(of(kind), count, "{kind}:\n{stopped}");
    }
    let home: Vec<_> = all
        .iter()
        .filter(|line| line["topic"].as_str().is_some_and(|it| it.starts_with("room/Home/")))
        .collect();
    assert_eq!(
        home.iter().map(|line| line["seq"].as_u64().unwrap_or(0)).collect::<Vec<_>>(),
        (1..=8).collect::<Vec<_>>()
    );
    assert_eq!(home[0]["text"], "first");
    assert_eq!(home[3]["base64"], "/wBB");
    assert_eq!(home[3]["properties"], serde_json::json!([["id", "x1"], ["mood", "glad"]]));
    assert_eq!(home[3]["correlation"], "Af8=");
    assert_eq!(home[4]["deleted"], true);
    assert!(!stopped.contains("regretted"));
    assert!(stopped.contains("$argon2id$"));
    let bare = must("export", &data, &["--without-passwords"]);
    assert!(!bare.contains("$argon2id$") && !bare.contains("\"token\""));
}

#[test]
fn a_place_and_a_person_are_exported_by_themselves() {
    let mut broker = Broker::start();
    drop(fill(&broker));
    let data = broker.data_folder();
    let room = must("export", &data, &["--room", "Home"]);
    assert!(room.contains("third") && !room.contains("between us") && !room.contains("to the crew"));
    let group = must("export", &data, &["--group", "crew"]);
    assert!(group.contains("What bob says") && group.contains("to the crew") && !group.contains("third"));
    assert!(!group.contains("$argon2id$") && !group.contains("ann@example.org"));
    let user = must("export", &data, &["--user", "Ann"]);
    let said = texts(&user);
    for text in ["first", "to the crew", "between us", "yes", "What Ann plans"] {
        assert!(said.iter().any(|line| line == text), "{text}:\n{user}");
    }
    for text in ["second", "third", "What bob says", "hello Carl"] {
        assert!(!said.iter().any(|line| line == text), "{text}:\n{user}");
    }
    assert!(user.contains("ann@example.org") && !user.contains("$argon2id$"));
    assert_eq!(refused("export", &data, &["--room", "Nowhere"], 2), "katydid: there is no room/Nowhere\n");
    assert!(broker.terminate().success());
    assert_eq!(refused("export", &data, &["--group", "home"], 2), "katydid: there is no group/home\n");
    assert!(refused("export", &data.join("nothing"), &[], 2).contains("there is no database"));
}

#[test]
fn an_export_of_an_encrypted_database_needs_its_key_and_its_file_is_the_owners_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("key"), "0123456789abcdef".repeat(4)).expect("written");
    let settings =
        Settings { config: format!("[store]\nkey-file = {:?}\n", path("key")), ..Settings::default() };
    let mut broker = Broker::with(settings);
    drop(fill(&broker));
    let data = broker.data_folder();
    must("export", &data, &[&path("running")]);
    assert!(broker.terminate().success());
    assert!(refused("export", &data, &[&path("none")], 2).contains("is encrypted"));
    assert!(!fs::exists(path("none")).expect("looks") && !fs::exists(path("none.part")).expect("looks"));
    must("export", &data, &["--key-file", &path("key"), &path("stopped")]);
    for name in ["running", "stopped"] {
        assert_eq!(fs::metadata(path(name)).expect("a file").permissions().mode() & 0o777, 0o600);
    }
    let text = fs::read_to_string(path("stopped")).expect("a file");
    assert!(text.contains("between us"));
    let new = folder.path().join("new").display().to_string();
    let arguments = ["import", "--data-dir", &new, "--key-file", &path("key"), &path("stopped")];
    assert!(katydid(&arguments).status.success());
    assert_eq!(must("export", folder.path().join("new").as_path(), &["--key-file", &path("key")]), text);
    assert!(refused("export", folder.path().join("new").as_path(), &[], 2).contains("is encrypted"));
}
