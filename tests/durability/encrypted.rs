//! An encrypted database: its files show nothing, the broker starts with its key and with no other, and `katydid rekey`
//! changes it while the broker does not run.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{Broker, Connect, Settings, V5};

/// Arguments that live as long as the tests.
fn arguments(list: &[&str]) -> &'static [&'static str] {
    let list: Vec<&'static str> =
        list.iter().map(|text| &*Box::leak(text.to_string().into_boxed_str())).collect();
    list.leak()
}

/// Runs the broker's program where it is to end by itself.
fn run<A: AsRef<OsStr>>(arguments: &[A]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_katydid"));
    command.env_remove("KATYDID_TEST_BROKER");
    command.args(arguments).output().expect("the program runs")
}

/// Runs the broker on a database that it must refuse; gives what it says.
fn refused(data: &str, further: &[&str]) -> String {
    let output =
        run(&[&["--store.path", data, "--listen-address", "127.0.0.1", "-p", "0"], further].concat());
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    said
}

fn shows(data: &Path, word: &[u8]) -> bool {
    let files = fs::read_dir(data).expect("a folder").map(|item| item.expect("an item").path());
    files
        .filter(|path| path.is_file())
        .any(|path| fs::read(path).expect("a file").windows(word.len()).any(|part| part == word))
}

fn is_kept(broker: &Broker) {
    let mut client = broker.connect(&Connect::new(V5, "reader").user("reader"));
    client.subscribe("hidden/topic", 0);
    client.expect_and_acknowledge("hidden words");
}

#[test]
fn an_encrypted_database_opens_with_its_key_only_and_can_change_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let [key, other] = ["key", "other"].map(|name| folder.path().join(name).display().to_string());
    fs::write(&key, "0123456789abcdef".repeat(4)).expect("written");
    fs::write(&other, "fedcba9876543210".repeat(4)).expect("written");
    let place = data.display().to_string();
    let with_key = arguments(&["--store.path", &place, "--store.key-file", &key]);
    let mut broker = Broker::with(Settings { arguments: with_key, ..Settings::default() });
    let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
    ann.retain("hidden/topic", "hidden words", 1);
    broker.kill();
    assert!(!shows(&data, b"hidden words") && !shows(&data, b"hidden/topic"));
    broker.restart();
    is_kept(&broker);
    let while_it_runs = run(&["rekey", "--data-dir", &place, "--old-key-file", &key]);
    assert_eq!(while_it_runs.status.code(), Some(1), "{while_it_runs:?}");
    assert!(broker.terminate().success());

    let said = refused(&place, &[]);
    assert!(said.contains("store.key-file") && said.contains("KATYDID_STORAGE_KEY"), "{said}");
    let said = refused(&place, &["--store.key-file", &other]);
    assert!(said.contains("store.key-file") && said.contains("another key"), "{said}");
    broker.restart();
    is_kept(&broker);
    assert!(broker.terminate().success());

    let changed = run(&["rekey", "--data-dir", &place, "--old-key-file", &key]);
    assert!(changed.status.success(), "{changed:?}");
    let said = refused(&place, &["--store.key-file", &key]);
    assert!(said.contains("store.key-file") && said.contains("katydid rekey"), "{said}");
    let without_key = arguments(&["--store.path", &place]);
    let broker = Broker::with(Settings { arguments: without_key, ..Settings::default() });
    is_kept(&broker);
    assert!(shows(&data, b"hidden words"));
}
