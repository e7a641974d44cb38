//! Checks `statements.toml`: that each statement has its proof, and that each proof exists.
//!
//! Owns the meaning of that file. Must never judge whether a test proves what it claims; a reader does. Invariant: a
//! statement stands once a version and names tests that exist, or says why it has none. Driven by `cargo test`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is a folder of the repository").into()
}

/// The text of an entry's key, if it is there.
fn text<'a>(entry: &'a toml::Table, key: &str) -> Option<&'a str> {
    entry.get(key).and_then(toml::Value::as_str)
}

/// Whether a Rust source has a test function of that name: an attribute that ends in `test` or `test(...)` above it.
fn has_test(source: &str, function: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let head = format!("fn {function}(");
    lines.iter().enumerate().any(|(at, line)| {
        let line = line.trim_start_matches("pub ").trim_start_matches("async ");
        line.starts_with(&head)
            && lines[..at]
                .iter()
                .rev()
                .take_while(|above| above.starts_with("#[") || above.starts_with("///"))
                .any(|above| *above == "#[test]" || above.ends_with("::test]"))
    })
}

/// What is wrong with the list; empty when it is in order.
fn problems(list: &str, read: &mut dyn FnMut(&str) -> Option<String>) -> Vec<String> {
    let table: toml::Table = list.parse().expect("statements.toml is TOML");
    let entries = table["statement"].as_array().expect("statement is an array of tables");
    let mut seen = BTreeSet::new();
    let mut sources = BTreeMap::new();
    let mut problems = Vec::new();
    for entry in entries {
        let entry = entry.as_table().expect("a statement is a table");
        let (version, id) = (text(entry, "version").unwrap_or(""), text(entry, "id").unwrap_or(""));
        let name = format!("{version} {id}");
        if !["3.1.1", "5.0"].contains(&version) || !id.starts_with("MQTT-") {
            problems.push(format!("{name}: version is 3.1.1 or 5.0, id begins with MQTT-"));
        }
        if !seen.insert(name.clone()) {
            problems.push(format!("{name} stands twice"));
        }
        if text(entry, "about").is_none_or(str::is_empty) {
            problems.push(format!("{name} says nothing in `about`"));
        }
        for key in
            entry.keys().filter(|key| !["version", "id", "about", "test", "reason"].contains(&key.as_str()))
        {
            problems.push(format!("{name} has the unknown key {key}"));
        }
        let tests = entry.get("test").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        if tests.is_empty() && text(entry, "reason").is_none_or(str::is_empty) {
            problems.push(format!("{name} has neither a test nor a reason"));
        }
        for test in tests {
            let test = test.as_str().unwrap_or("").to_owned();
            let Some((file, function)) = test.rsplit_once("::") else {
                problems.push(format!("{name}: {test:?} is not \"file::function\""));
                continue;
            };
            let source: &Option<String> = sources.entry(file.to_owned()).or_insert_with(|| read(file));
            match source {
                None => problems.push(format!("{name}: there is no file {file}")),
                Some(source) if !has_test(source, function) => {
                    problems.push(format!("{name}: {file} has no test {function}"));
                }
                Some(_) => {}
            }
        }
    }
    problems
}

/// Every statement has a test that exists, or a reason.
#[test]
fn every_statement_has_a_test_or_a_reason() {
    let list = fs::read_to_string(root().join("tests/statements.toml")).expect("the list is there");
    let problems = problems(&list, &mut |file| fs::read_to_string(root().join(file)).ok());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Both standards are there whole: as many statements as their appendices B list.
#[test]
fn both_standards_are_listed() {
    let list = fs::read_to_string(root().join("tests/statements.toml")).expect("the list is there");
    let of = |version: &str| list.matches(&format!("version = \"{version}\"")).count();
    assert_eq!((of("3.1.1"), of("5.0")), (141, 251));
}

/// The conformance tests' files are all part of their test binary.
#[test]
fn every_conformance_file_is_a_module() {
    let folder = root().join("tests/conformance");
    let main = fs::read_to_string(folder.join("main.rs")).expect("main.rs is there");
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        let module = name.trim_end_matches(".rs");
        assert!(module == "main" || main.contains(&format!("\nmod {module};")), "{name} is no module");
    }
}

/// The check finds what it is for.
#[test]
fn the_check_finds_what_is_wrong() {
    let list = r#"
        [[statement]]
        version = "5.0"
        id = "MQTT-1.5.4-1"
        about = "in order"
        test = ["a.rs::present", "a.rs::awaited"]

        [[statement]]
        version = "5.0"
        id = "MQTT-1.5.4-1"
        about = "twice"
        reason = "because"

        [[statement]]
        version = "5.0"
        id = "MQTT-1.5.4-2"
        about = "missing"
        test = ["a.rs::absent", "b.rs::present", "a.rs::helper", "present"]

        [[statement]]
        version = "4"
        id = "MQTT-1.5.4-3"
        test = []
        proof = "none"
    "#;
    let source =
        "/// Proves it.\n#[test]\nfn present() {}\n#[tokio::test]\nasync fn awaited() {}\n\nfn helper() {}\n";
    let found = problems(list, &mut |file| (file == "a.rs").then(|| source.to_owned()));
    let expected = [
        "5.0 MQTT-1.5.4-1 stands twice",
        "5.0 MQTT-1.5.4-2: a.rs has no test absent",
        "5.0 MQTT-1.5.4-2: there is no file b.rs",
        "5.0 MQTT-1.5.4-2: a.rs has no test helper",
        "5.0 MQTT-1.5.4-2: \"present\" is not \"file::function\"",
        "4 MQTT-1.5.4-3: version is 3.1.1 or 5.0, id begins with MQTT-",
        "4 MQTT-1.5.4-3 says nothing in `about`",
        "4 MQTT-1.5.4-3 has the unknown key proof",
        "4 MQTT-1.5.4-3 has neither a test nor a reason",
    ];
    assert_eq!(found, expected);
}
