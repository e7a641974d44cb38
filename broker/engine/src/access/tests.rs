use super::*;
use Action::{Read, Subscribe, Write};
use proptest::prelude::*;

fn list(text: &str) -> AccessList {
    AccessList::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

const FILE: &str = "\
# who may what

topic read news/#
topic deny news/secret
user ann
topic home/ann/#
topic   write   door bell/ring
topic deny home/ann/safe/#
topic readwrite $SYS/broker/uptime
pattern write sensors/%u/+
\tpattern read to/%c/#

user bob
topic read home/#\r
user ann
topic read late/section
";

#[test]
fn rules_of_a_file_decide() {
    let list = list(FILE);
    let table: &[(Option<&str>, Action, &str, bool)] = &[
        (None, Read, "news/today", true),
        (None, Read, "news", true),
        (None, Write, "news/today", false),
        (None, Read, "news/secret", false),
        (None, Read, "home/ann/x", false),
        (Some("ann"), Read, "news/today", false),
        (Some("ann"), Read, "home/ann/x", true),
        (Some("ann"), Write, "home/ann/x", true),
        (Some("ann"), Write, "home/ann/safe/x", false),
        (Some("ann"), Read, "home/ann/safe", false),
        (Some("ann"), Write, "door bell/ring", true),
        (Some("ann"), Read, "door bell/ring", false),
        (Some("ann"), Read, "late/section", true),
        (Some("ann"), Read, "$SYS/broker/uptime", true),
        (Some("ann"), Write, "sensors/ann/1", true),
        (Some("ann"), Read, "sensors/ann/1", false),
        (Some("ann"), Write, "sensors/bob/1", false),
        (Some("bob"), Read, "home/ann/safe/x", true),
        (Some("bob"), Write, "home/ann/x", false),
        (Some("bob"), Write, "sensors/bob/1", true),
        (Some("eve"), Write, "sensors/eve/1", true),
        (Some("eve"), Read, "to/client/x/y", true),
        (Some("eve"), Read, "to/other", false),
        (None, Read, "to/client", true),
        (None, Write, "sensors/%u/1", false),
    ];
    for (user, action, topic, permitted) in table {
        assert_eq!(list.permits(*user, "client", *action, topic), *permitted, "{user:?} {action:?} {topic}");
    }
}

#[test]
fn a_filter_is_permitted_when_it_could_deliver_something() {
    let list = list(FILE);
    let table: &[(Option<&str>, &str, bool)] = &[
        (None, "news/#", true),
        (None, "#", true),
        (None, "+/today", true),
        (None, "news/secret", false),
        (None, "news/+", true),
        (None, "home/#", false),
        (Some("ann"), "home/+/x", true),
        (Some("ann"), "home/ann/safe/+", false),
        (Some("ann"), "home/ann/safe/#", false),
        (Some("ann"), "home/ann/#", true),
        (Some("ann"), "door bell/ring", false),
        (Some("ann"), "$SYS/#", true),
        (Some("ann"), "$other/#", false),
        (Some("eve"), "to/+/x", true),
        (Some("eve"), "sensors/#", false),
        (Some("eve"), "to/client", true),
    ];
    for (user, filter, permitted) in table {
        assert_eq!(list.permits(*user, "client", Subscribe, filter), *permitted, "{user:?} {filter}");
    }
}

#[test]
fn own_rules_go_before_patterns_and_denials_before_permits() {
    let list =
        list("pattern read a/#\npattern deny a/%u/#\nuser ann\ntopic read a/ann/open\ntopic deny a/b\n");
    assert!(list.permits(Some("ann"), "c", Read, "a/ann/open"), "as mosquitto: own rules are asked first");
    assert!(!list.permits(Some("ann"), "c", Read, "a/ann/x"));
    assert!(!list.permits(Some("ann"), "c", Read, "a/b"));
    assert!(list.permits(Some("bob"), "c", Read, "a/b"));
    assert!(list.permits(None, "c", Read, "a/ann/x"), "a pattern with %u says nothing to who has no name");
}

#[test]
fn names_cannot_bend_patterns() {
    let list = list(
        "pattern readwrite %u/#\npattern readwrite box/%c/in\npattern read all/#\npattern deny all/%u\n",
    );
    for name in ["+", "#", "a+b", "a#"] {
        assert!(!list.permits(Some(name), "c", Read, "ann/x"), "{name}");
        assert!(!list.permits(Some(name), "c", Read, "all/x"), "{name}");
        assert!(!list.permits(Some("ann"), name, Read, "ann/x"), "{name}");
    }
    assert!(!list.permits(Some("ann/x"), "c", Read, "ann/x/y"), "levels would move");
    assert!(list.permits(Some("ann/x"), "c", Read, "all/y"), "a pattern without the name still holds");
    assert!(!list.permits(Some("ann/x"), "c", Read, "all/ann/x"));
    assert!(!list.permits(Some("$SYS"), "c", Read, "$SYS/broker/uptime"));
    assert!(list.permits(Some("ann"), "paho/1", Read, "ann/x"), "only the pattern with %c is lost");
    assert!(!list.permits(Some("ann"), "paho/1", Write, "box/paho/1/in"));
}

#[test]
fn percent_signs_that_stand_for_nothing_stay() {
    let list = list("pattern read 100%/%c%c/%x/%\n");
    assert!(list.permits(None, "ab", Read, "100%/abab/%x/%"));
    assert!(!list.permits(None, "ab", Read, "100/abab/%x/%"));
    let client = Some(Client { user: None, client_id: "c" });
    assert!(fill("%u", client).is_none());
    assert_eq!(fill("é%cé%", client).as_deref(), Some("écé%"));
}

#[test]
fn without_a_list_everything_is_permitted_and_with_an_empty_one_nothing() {
    let open = AccessList::allow_all();
    let shut = list("# nothing\n\n");
    for action in [Read, Write, Subscribe] {
        assert!(open.is_open() && open.permits(None, "+", action, "#"));
        assert!(!shut.is_open() && !shut.permits(Some("ann"), "c", action, "a"));
    }
}

#[test]
fn wrong_lines_are_named() {
    let table = [
        ("topic a\nuser \ntopic b", 2, AccessFault::MissingUser),
        ("topic", 1, AccessFault::MissingTopic),
        ("\n\npattern   ", 3, AccessFault::MissingTopic),
        ("topic subscribe a", 1, AccessFault::UnknownAccess("subscribe".into())),
        ("topic a b", 1, AccessFault::UnknownAccess("a".into())),
        ("topic read a/#/b", 1, AccessFault::InvalidFilter("a/#/b".into())),
        ("topic a+", 1, AccessFault::InvalidFilter("a+".into())),
        ("usr ann", 1, AccessFault::UnknownKeyword("usr".into())),
    ];
    for (text, line, reason) in table {
        let error = AccessList::parse(text).expect_err(text);
        assert_eq!(error, AccessError { line, reason });
        assert!(error.to_string().starts_with(&format!("line {line}: ")));
    }
}

/// Every topic of up to four levels over a small alphabet, `$` included, and the empty one: no client can name it, but
/// `/#` and `+` share it, and the worst of that is a subscription that delivers nothing.
fn topics() -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for depth in 0..4 {
        last = last
            .iter()
            .flat_map(|topic| {
                ["a", "b", "", "$a"]
                    .map(|level| if depth == 0 { level.into() } else { format!("{topic}/{level}") })
            })
            .collect();
        all.extend(last.clone());
    }
    all
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![Just("a"), Just("b"), Just(""), Just("+"), Just("+"), Just("$a")];
    (proptest::collection::vec(level, 0..3), any::<bool>())
        .prop_map(|(mut levels, hash)| {
            if hash || levels.is_empty() {
                levels.push("#");
            }
            levels.join("/")
        })
        .prop_filter("not empty", |filter| !filter.is_empty())
}

proptest! {
    #[test]
    fn overlap_and_cover_are_what_matching_says(a in filter(), b in filter()) {
        let topics = topics();
        let both = topics.iter().any(|topic| matches(&a, topic) && matches(&b, topic));
        prop_assert_eq!(overlaps(&a, &b), both);
        let all = topics.iter().all(|topic| matches(&a, topic) || !matches(&b, topic));
        prop_assert_eq!(covers(&a, &b), all);
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "(user|topic|pattern|read|deny|#|%u|%c| |\t|\n|a|/|\\+){0,30}") {
        if let Ok(list) = AccessList::parse(&text) {
            let read = list.permits(Some("a"), "a", Read, "a/a");
            prop_assert!(!read || list.permits(Some("a"), "a", Subscribe, "a/a"), "what is read can be subscribed to");
        }
    }
}
