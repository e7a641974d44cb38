use super::*;
use proptest::prelude::*;
use std::cell::Cell;

const PROTECTED: &[&str] = &["room", "group", "user"];

thread_local! {
    static STEPS: Cell<usize> = const { Cell::new(0) };
}

pub(super) fn count_step() {
    STEPS.with(|steps| steps.set(steps.get() + 1));
}

fn matching<'a, V>(map: &'a TopicMap<V>, filter: &str) -> Vec<&'a str> {
    let mut all = Vec::new();
    map.for_matching(filter, |topic, _| all.push(topic));
    all
}

fn map_of(topics: &[&str]) -> TopicMap<usize> {
    let mut map = TopicMap::new(PROTECTED);
    for (n, topic) in topics.iter().enumerate() {
        map.insert(topic, n);
    }
    map
}

#[test]
fn the_examples_of_the_standard_hold_mqtt_4_7_3_4() {
    let map = map_of(&[
        "sport",
        "sport/",
        "sport/tennis",
        "sport/tennis/p1",
        "sport!",
        "/finance",
        "finance",
        "$SYS/a",
    ]);
    assert_eq!(matching(&map, "sport/#"), ["sport", "sport/", "sport/tennis", "sport/tennis/p1"]);
    assert_eq!(matching(&map, "sport/+"), ["sport/", "sport/tennis"]);
    assert_eq!(matching(&map, "+"), ["finance", "sport", "sport!"]);
    assert_eq!(matching(&map, "+/+"), ["/finance", "sport/", "sport/tennis"]);
    assert_eq!(matching(&map, "/+"), ["/finance"]);
    assert_eq!(matching(&map, "+/tennis/#"), ["sport/tennis", "sport/tennis/p1"]);
    assert_eq!(matching(&map, "#").len(), 7);
    assert_eq!(matching(&map, "$SYS/#"), ["$SYS/a"]);
    assert_eq!(matching(&map, "sport!"), ["sport!"]);
    assert_eq!(matching(&map, "sport/tennis/p2"), [""; 0]);
}

#[test]
fn filters_that_begin_with_a_wildcard_reach_no_protected_root_mqtt_4_7_2_1() {
    let map =
        map_of(&["room/a/info", "room", "roomy", "user/x/presence", "a/room", "$SYS/a", "$a", "group//x"]);
    assert_eq!(matching(&map, "#"), ["a/room", "roomy"]);
    assert_eq!(matching(&map, "+/+"), ["a/room"]);
    assert_eq!(matching(&map, "+/+/+"), [""; 0]);
    assert_eq!(matching(&map, "room/#"), ["room", "room/a/info"]);
    assert_eq!(matching(&map, "user/+/presence"), ["user/x/presence"]);
    assert_eq!(matching(&map, "+"), ["roomy"]);
}

#[test]
fn values_are_replaced_changed_and_removed() {
    let mut map = TopicMap::new(&[]);
    assert_eq!(map.insert("a/b", 1), None);
    assert_eq!(map.insert("a/b", 2), Some(1));
    *map.get_mut("a/b").expect("inserted") += 1;
    assert_eq!((map.get("a/b"), map.get("a"), map.len()), (Some(&3), None, 1));
    assert_eq!(map.remove("a/b"), Some(3));
    assert_eq!((map.remove("a/b"), map.is_empty()), (None, true));
}

#[test]
fn a_walk_goes_on_where_it_stopped() {
    let mut map = TopicMap::new(&[]);
    for n in 0..100 {
        map.insert(&format!("a/{n}"), n);
        map.insert(&format!("a/{n}/x"), n);
    }
    let mut parts = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut part = Vec::new();
        let flow = map.walk("a/+", after.as_deref(), |topic, _| {
            part.push(topic);
            if part.len() == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        after = part.last().map(|topic| topic.to_string());
        parts.extend(part);
        if flow.is_continue() {
            break;
        }
    }
    assert_eq!(parts, matching(&map, "a/+"));
    assert_eq!(parts.len(), 100);
}

#[test]
fn a_part_of_a_walk_looks_at_so_many_topics() {
    let mut map = TopicMap::new(&[]);
    for n in 0..100 {
        map.insert(&format!("a/{n}"), n);
        map.insert(&format!("a/{n}/x"), n);
        map.insert(&format!("b/{n}/y"), n);
    }
    for (filter, steps) in [("a/+", 1), ("+/+/x", 3), ("#", 7), ("+/99/y", 2), ("none", 1), ("b/#", 1000)] {
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let before = STEPS.with(Cell::get);
            let stopped = map.walk_part(filter, after.as_deref(), steps, |topic, _| {
                found.push(topic);
                ControlFlow::Continue(())
            });
            assert!(STEPS.with(Cell::get) - before <= steps, "{filter}");
            let Some(topic) = stopped else { break };
            assert!(after.is_none_or(|after| level_order(&after, topic).is_lt()), "{filter}: it goes on");
            after = Some(topic.into());
        }
        assert_eq!(found, matching(&map, filter), "{filter}");
    }
}

#[test]
fn the_cost_follows_what_the_filter_reaches() {
    let mut map = TopicMap::new(PROTECTED);
    for n in 0..20_000 {
        map.insert(&format!("dev/{n}/state/deep/er"), n);
        map.insert(&format!("room/{n}/info"), n);
        map.insert(&format!("$SYS/{n}"), n);
    }
    for n in 0..50 {
        for m in 0..100 {
            map.insert(&format!("site/{n}/{m}"), n);
        }
    }
    let cost = |filter: &str| {
        STEPS.with(|steps| steps.set(0));
        let found = matching(&map, filter).len();
        (found, STEPS.with(Cell::get))
    };
    assert_eq!(cost("dev/77/#"), (1, 2));
    let (found, steps) = cost("+/77/#");
    assert_eq!(found, 1);
    assert!(steps <= 12, "{steps}");
    let (found, steps) = cost("site/+/5");
    assert_eq!(found, 50);
    assert!(steps <= 4 * 51, "{steps}");
    let (found, steps) = cost("+");
    assert_eq!(found, 0);
    assert!(steps <= 10, "the deep and the protected are skipped: {steps}");
    assert_eq!(cost("none/+/x").0, 0);
}

#[test]
fn topics_of_many_levels_need_no_stack() {
    let deep = "/".repeat(65_535);
    let mut map = TopicMap::new(&[]);
    map.insert(&deep, 1);
    map.insert("a", 2);
    assert_eq!(matching(&map, "#").len(), 2);
    assert_eq!(matching(&map, &format!("{}+", "+/".repeat(32_767))), [""; 0]);
    assert_eq!(matching(&map, &format!("{}#", "/".repeat(30_000))), [&*deep]);
}

/// The rule of section 4.7, read literally.
fn naive(filter: &str, topic: &str) -> bool {
    let filter: Vec<&str> = filter.split('/').collect();
    let topic_levels: Vec<&str> = topic.split('/').collect();
    if ["#", "+"].contains(&filter[0]) && (topic.starts_with('$') || PROTECTED.contains(&topic_levels[0])) {
        return false;
    }
    for (at, level) in filter.iter().enumerate() {
        match (*level, topic_levels.get(at)) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(topic_level)) if level == *topic_level => {}
            _ => return false,
        }
    }
    filter.len() == topic_levels.len()
}

fn level() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        4 => Just("a"), 4 => Just("b"), 2 => Just(""), 1 => Just("$a"), 1 => Just("room"), 2 => Just("a!"),
        1 => Just("ab"), 1 => Just("a\u{1}"), 1 => Just("\u{e9}"), 1 => Just("a0"),
    ]
}

proptest! {
    #[test]
    fn a_topic_map_behaves_as_a_list(
        topics in proptest::collection::vec((proptest::collection::vec(level(), 1..5), 0..4_u8), 0..150),
        filters in proptest::collection::vec(
            (proptest::collection::vec(prop_oneof![3 => level(), 2 => Just("+")], 0..5), any::<bool>()), 1..30),
    ) {
        let mut map = TopicMap::new(PROTECTED);
        let mut model = std::collections::HashMap::new();
        for (n, (topic, step)) in topics.into_iter().enumerate() {
            let topic = topic.join("/");
            if step == 0 {
                prop_assert_eq!(map.remove(&topic), model.remove(&topic));
            } else {
                prop_assert_eq!(map.insert(&topic, n), model.insert(topic.clone(), n));
            }
            prop_assert_eq!(map.get(&topic), model.get(&topic));
            prop_assert_eq!(map.len(), model.len());
        }
        for (mut filter, hash) in filters {
            if hash || filter.is_empty() {
                filter.push("#");
            }
            let filter = filter.join("/");
            let mut found = Vec::new();
            map.for_matching(&filter, |topic, n| found.push((topic.to_owned(), *n)));
            found.sort_unstable();
            let mut expected: Vec<_> =
                model.iter().filter(|(topic, _)| naive(&filter, topic)).map(|(topic, n)| (topic.clone(), *n)).collect();
            expected.sort_unstable();
            prop_assert_eq!(found, expected, "{}", filter);
        }
    }
}
