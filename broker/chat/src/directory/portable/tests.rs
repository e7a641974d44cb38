use super::*;

fn line(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

/// One of each.
const LINES: [&str; 12] = [
    r#"{"type":"account","v":1,"name":"Ann","number":3,"hash":"$argon2id$x","scram":"verifier","created_ms":5,"email":"a@b"}"#,
    r#"{"type":"account","v":1,"name":"bob","number":4,"created_ms":5}"#,
    r#"{"type":"anonymous","v":1,"name":"Carl","address":"::1"}"#,
    r#"{"type":"numbers","v":1,"account":4,"place":2,"rooms":1,"occupancy":1,"members":1,"groups":1,"posts":1}"#,
    r#"{"type":"group","v":1,"name":"Crew","number":2,"owner":"Ann","created_ms":7,"visibility":"private","hash":"h"}"#,
    r#"{"type":"member","place":"group/Crew","user":"Ann","v":1,"since_ms":8,"joined":true}"#,
    r#"{"type":"ban","place":"group/Crew","user":"Dan","v":1}"#,
    r#"{"type":"post","place":"group/Crew","number":1,"v":1,"title":"t","text":"x","from":"Ann","time_ms":9}"#,
    r#"{"type":"friend","user":"Ann","friend":"bob","v":1,"since_ms":9}"#,
    r#"{"type":"ignored","user":"Ann","ignored":"Dan","v":1}"#,
    r#"{"type":"pair","users":["Ann","bob"],"v":1}"#,
    r#"{"type":"token","digest":"abababababababababababababababababababababababababababababababab","v":1,"user":"Ann","key":"k","created_ms":2}"#,
];

fn records() -> BTreeMap<Vec<u8>, Vec<u8>> {
    LINES.iter().map(|text| from_line(&line(text)).expect("good").expect("a record")).collect()
}

fn exported(scope: &Scope) -> Vec<String> {
    let records = records();
    let mut names = Names::default();
    for (key, value) in &records {
        names.learn(scope, key, value);
    }
    let lines = records.iter().map(|(key, value)| to_line(&names, scope, key, value).expect("parses"));
    lines.flatten().collect()
}

#[test]
fn every_kind_of_record_comes_back_as_it_was() {
    assert_eq!(exported(&Scope::All { secrets: true }), LINES);
    let merge = Merge::new([], false).expect("nothing is good");
    let mut merge = merge;
    for record in records() {
        merge.add(record, &|_| true).expect("new");
    }
    assert_eq!(
        merge.finish().expect("a directory starts with them"),
        records().into_iter().collect::<Vec<_>>()
    );
}

#[test]
fn secrets_and_others_are_left_out() {
    for scope in [Scope::All { secrets: false }, Scope::Place("group/Crew".into()), Scope::User("Ann".into())]
    {
        let text = exported(&scope).join("\n");
        assert!(
            !text.contains("argon2id")
                && !text.contains("verifier")
                && !text.contains("\"hash\"")
                && !text.contains("abab"),
            "{text}"
        );
    }
    let place = exported(&Scope::Place("group/Crew".into())).join("\n");
    assert!(place.contains("\"Ann\"") && !place.contains("a@b") && !place.contains("bob"), "{place}");
    let user = exported(&Scope::User("bob".into()));
    assert_eq!(user.len(), 2, "the account and the pair: {user:?}");
}

#[test]
fn what_names_something_that_is_not_there_is_refused() {
    for without in [0, 4] {
        let mut merge = Merge::new([], false).expect("nothing is good");
        for (number, text) in LINES.iter().enumerate() {
            let record = from_line(&line(text)).expect("good").expect("a record");
            if number != without {
                merge.add(record, &|_| true).expect("new");
            }
        }
        let said = merge.finish().expect_err("something is missing");
        assert!(said.contains("not there"), "{said}");
    }
}

#[test]
fn a_number_that_is_given_becomes_another() {
    let dora = r#"{"type":"account","v":1,"name":"dora","number":3,"created_ms":5}"#;
    let mut merge = Merge::new(records(), false).expect("good");
    let record = from_line(&line(dora)).expect("good").expect("a record");
    merge.add(record, &|_| true).expect("new");
    let written = merge.finish().expect("a directory starts with them");
    let text: Vec<String> =
        written.iter().map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect();
    assert!(text[0].contains("\"number\":5"), "{text:?}");
    assert!(text[1].contains("\"account\":5"), "{text:?}");
}
