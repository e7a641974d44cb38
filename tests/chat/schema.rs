//! Answers and events against `broker/chat/schema/answers.json`.
//!
//! Owns the little of JSON Schema 2020-12 that this schema uses, and refuses a schema that uses more, so that nothing in it
//! goes unchecked. Stricter than the standard in one thing: a property that the schema does not name is a mistake, so that
//! the contract stays whole. Driven by [`super::people`], for every answer and event that a person of these tests hears.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../broker/chat/schema/answers.json")).expect("the schema is JSON")
});

/// The answer to a request of that verb is one.
pub(crate) fn is_answer(verb: &str, answer: &Value) {
    let pointer = match answer["ok"] {
        json!(true) => format!("/properties/answers/properties/{}", verb.replace('/', "~1")),
        _ => "/$defs/refusal".to_owned(),
    };
    holds(&pointer, answer);
}

/// What came on a topic that the schema knows is as it says.
pub(crate) fn is_told(topic: &str, payload: &str) {
    let levels: Vec<&str> = topic.split('/').collect();
    let read = || -> Value { serde_json::from_str(payload).unwrap_or_else(|_| panic!("{topic}: {payload}")) };
    match levels[..] {
        ["user", _, "presence"] | ["room" | "group", _, "presence", _] if !payload.is_empty() => {
            holds("/$defs/presence", &read());
        }
        ["room" | "group", _, "info"] if !payload.is_empty() => holds("/$defs/info", &read()),
        ["room" | "group", _, "event", "katydid"] | ["group", _, "post", _] => by_type(&["notices"], &read()),
        ["user", _, "event", _] => by_type(&["events", "acts"], &read()),
        ["room" | "group", _, "event", _] => by_type(&["acts"], &read()),
        _ => {}
    }
}

/// Every verb that the schema has an answer for.
pub(crate) fn verbs() -> Vec<String> {
    let answers = &SCHEMA["properties"]["answers"]["properties"];
    answers.as_object().expect("an object").keys().cloned().collect()
}

fn by_type(kinds: &[&str], event: &Value) {
    let name = event["type"].as_str().unwrap_or_else(|| panic!("no type in {event}"));
    let known = kinds.iter().map(|kind| format!("/properties/{kind}/properties/{name}"));
    let known = known.into_iter().find(|pointer| SCHEMA.pointer(pointer).is_some());
    holds(&known.unwrap_or_else(|| panic!("no {name} among {kinds:?}: {event}")), event);
}

fn holds(pointer: &str, value: &Value) {
    let schema =
        SCHEMA.pointer(pointer).unwrap_or_else(|| panic!("the schema has no {pointer}, for {value}"));
    if let Err(why) = whole(schema, value) {
        panic!("{value} is not {pointer}: {why}");
    }
}

/// A value fits, and has no property that the schema does not name.
fn whole(schema: &Value, value: &Value) -> Result<(), String> {
    let named = fits(schema, value)?;
    let is_named = |key: &&String| !named.contains(*key);
    match value.as_object().and_then(|object| object.keys().find(is_named)) {
        Some(key) => Err(format!("{key} is in no schema")),
        None => Ok(()),
    }
}

/// A value fits; the properties that the schema names.
fn fits(schema: &Value, value: &Value) -> Result<BTreeSet<String>, String> {
    let mut named = BTreeSet::new();
    let schema = schema.as_object().ok_or("a schema is an object")?;
    for (keyword, rule) in schema {
        match keyword.as_str() {
            "description" | "title" | "$schema" | "$defs" => {}
            "$ref" => {
                let pointer = rule.as_str().and_then(|path| path.strip_prefix('#')).ok_or("a bad $ref")?;
                let target = SCHEMA.pointer(pointer).ok_or_else(|| format!("no {pointer}"))?;
                named.extend(fits(target, value)?);
            }
            "allOf" => {
                for part in list(rule)? {
                    named.extend(fits(part, value)?);
                }
            }
            "anyOf" => {
                let fitting = list(rule)?.iter().find_map(|part| fits(part, value).ok());
                named.extend(fitting.ok_or("none of anyOf fits")?);
            }
            "properties" => named.extend(properties(rule, value)?),
            "additionalProperties" => named.extend(additional(schema, rule, value)?),
            _ => keyword_fits(keyword, rule, value)?,
        }
    }
    Ok(named)
}

fn list(rule: &Value) -> Result<&Vec<Value>, String> {
    rule.as_array().ok_or_else(|| "a list of schemas".to_owned())
}

fn properties(rule: &Value, value: &Value) -> Result<BTreeSet<String>, String> {
    let (Some(rules), Some(object)) = (rule.as_object(), value.as_object()) else {
        return Ok(BTreeSet::new());
    };
    for (key, value) in object {
        if let Some(rule) = rules.get(key) {
            whole(rule, value).map_err(|why| format!("{key}: {why}"))?;
        }
    }
    Ok(rules.keys().cloned().collect())
}

fn additional(schema: &Map<String, Value>, rule: &Value, value: &Value) -> Result<BTreeSet<String>, String> {
    let Some(object) = value.as_object() else { return Ok(BTreeSet::new()) };
    let others =
        object.iter().filter(|(key, _)| schema.get("properties").is_none_or(|it| it.get(key).is_none()));
    let mut named = BTreeSet::new();
    for (key, value) in others {
        if *rule != json!(true) {
            whole(rule, value).map_err(|why| format!("{key}: {why}"))?;
        }
        named.insert(key.clone());
    }
    Ok(named)
}

/// A keyword that looks at the value alone.
fn keyword_fits(keyword: &str, rule: &Value, value: &Value) -> Result<(), String> {
    let length = value.as_str().map(|text| text.chars().count() as u64);
    let bound = |limit: &Value| limit.as_u64().ok_or_else(|| format!("{keyword} is a number"));
    let is_good = match keyword {
        "type" => is_of_type(rule.as_str().ok_or("one type")?, value)?,
        "const" => rule == value,
        "enum" => list(rule)?.contains(value),
        "required" => list(rule)?.iter().all(|key| key.as_str().is_some_and(|key| value.get(key).is_some())),
        "items" => {
            for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                whole(rule, item).map_err(|why| format!("{at}: {why}"))?;
            }
            true
        }
        "minimum" => {
            value.as_i64().is_none_or(|number| number >= 0 && number as u64 >= bound(rule).unwrap_or(0))
        }
        "maximum" => value.as_u64().is_none_or(|number| bound(rule).is_ok_and(|most| number <= most)),
        "minLength" => length.is_none_or(|length| bound(rule).is_ok_and(|least| length >= least)),
        "maxLength" => length.is_none_or(|length| bound(rule).is_ok_and(|most| length <= most)),
        "format" => *rule == json!("date-time") && value.as_str().is_none_or(is_time),
        other => return Err(format!("the tests do not know the keyword {other}")),
    };
    if is_good { Ok(()) } else { Err(format!("{value} breaks {keyword} {rule}")) }
}

fn is_of_type(name: &str, value: &Value) -> Result<bool, String> {
    Ok(match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => return Err(format!("no type {other}")),
    })
}

/// `2026-01-02T03:04:05.678Z`.
fn is_time(text: &str) -> bool {
    let shape = "0000-00-00T00:00:00.000Z";
    let fits = |(of, is): (char, char)| if of == '0' { is.is_ascii_digit() } else { of == is };
    text.len() == shape.len() && shape.chars().zip(text.chars()).all(fits)
}

#[test]
fn a_value_that_is_not_as_the_schema_says_is_noticed() {
    let good = json!({
        "ok": true, "id": 7, "user": "ann", "kind": "guest", "state": "online", "rooms": 0, "groups": 0,
    });
    let pointer = "/properties/answers/properties/whoami";
    let schema = SCHEMA.pointer(pointer).expect("whoami");
    assert_eq!(whole(schema, &good), Ok(()));
    for (key, value) in [
        ("user", json!("")),
        ("user", json!(7)),
        ("kind", json!("king")),
        ("rooms", json!(-1)),
        ("rooms", json!(1.5)),
        ("rooms", json!(1u64 << 53)),
        ("ok", json!(false)),
        ("id", json!([])),
        ("secret", json!(1)),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        assert!(whole(schema, &bad).is_err(), "{bad}");
    }
    for key in ["ok", "user", "rooms"] {
        let mut bad = good.clone();
        bad.as_object_mut().expect("an object").remove(key);
        assert!(whole(schema, &bad).is_err(), "{bad}");
    }
    assert!(fits(&json!({ "pattern": "x" }), &json!("x")).is_err(), "an unknown keyword");
    assert!(is_time("2026-01-02T03:04:05.678Z") && !is_time("2026-01-02T03:04:05Z"));
}
