use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const PROTECTED: &[&str] = &["room", "group", "user"];

fn map_of(filters: &[&'static str]) -> FilterMap<Vec<&'static str>> {
    let mut map: FilterMap<Vec<&str>> = FilterMap::new(PROTECTED);
    for filter in filters {
        map.entry(filter).push(*filter);
    }
    map
}

fn matches(map: &FilterMap<Vec<&'static str>>, topic: &str) -> Vec<&'static str> {
    let mut all = Vec::new();
    map.for_matches(topic, |value| all.extend(value));
    all.sort_unstable();
    all
}

#[test]
fn the_examples_of_the_standard_hold_mqtt_4_7_3_4() {
    let table: &[(&str, &[&str], &[&str])] = &[
        (
            "sport/tennis/player1/#",
            &["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/wimbledon"],
            &["sport/tennis", "sport/tennis/player10", "Sport/tennis/player1"],
        ),
        ("sport/#", &["sport", "sport/", "sport/a/b"], &["sports", "/sport"]),
        ("#", &["a", "/", "a/b", "/a"], &["$SYS", "$SYS/a"]),
        ("+/monitor/Clients", &["x/monitor/Clients"], &["$SYS/monitor/Clients"]),
        ("$SYS/#", &["$SYS", "$SYS/a/b"], &["SYS/a"]),
        ("$SYS/monitor/+", &["$SYS/monitor/Clients"], &["$SYS/monitor"]),
        ("sport/tennis/+", &["sport/tennis/player1", "sport/tennis/"], &["sport/tennis", "sport/tennis/a/b"]),
        ("sport/+", &["sport/"], &["sport"]),
        ("+/+", &["/finance", "a/b"], &["finance", "a/b/c"]),
        ("/+", &["/finance", "/"], &["finance", "//"]),
        ("+", &["finance", "a b"], &["/finance", "room"]),
        ("+/+/#", &["a/b", "a//", "//"], &["a", "$a/b"]),
        ("a/+/+/b", &["a/x//b", "a///b"], &["a//b", "a/b"]),
        ("a/b", &["a/b"], &["A/b", "a/b/", "/a/b"]),
        ("+/tennis/#", &["sport/tennis", "/tennis/x"], &["sport/x/tennis"]),
    ];
    for (filter, matched, unmatched) in table {
        let map = map_of(&[filter]);
        for topic in *matched {
            assert_eq!(matches(&map, topic), [*filter], "{topic}");
        }
        for topic in *unmatched {
            assert_eq!(matches(&map, topic), [""; 0], "{filter} {topic}");
        }
    }
}

#[test]
fn filters_that_begin_with_a_wildcard_reach_no_protected_root_mqtt_4_7_2_1() {
    let map = map_of(&["#", "+/#", "+/Home/msg/+", "room/+/msg/+", "room/#", "roomy/#"]);
    assert_eq!(matches(&map, "room/Home/msg/ann"), ["room/#", "room/+/msg/+"]);
    assert_eq!(matches(&map, "room"), ["room/#"]);
    assert_eq!(matches(&map, "group/Home/msg/ann"), [""; 0]);
    assert_eq!(matches(&map, "user"), [""; 0]);
    assert_eq!(matches(&map, "$room/Home/msg/ann"), [""; 0]);
    assert_eq!(matches(&map, "Room/Home/msg/ann"), ["#", "+/#", "+/Home/msg/+"]);
    assert_eq!(matches(&map, "roomy/x"), ["#", "+/#", "roomy/#"]);
    assert_eq!(matches(&map, "x/room"), ["#", "+/#"]);
}

#[test]
fn each_matching_filter_is_given_once() {
    let map =
        map_of(&["a/b/c", "a/b/+", "a/+/c", "+/b/c", "+/+/+", "a/b/c/#", "a/#", "#", "+/#", "a/b/#", "a/b"]);
    let all = ["#", "+/#", "+/+/+", "+/b/c", "a/#", "a/+/c", "a/b/#", "a/b/+", "a/b/c", "a/b/c/#"];
    assert_eq!(matches(&map, "a/b/c"), all);
    assert_eq!(map.len(), 11);
}

#[test]
fn values_can_be_changed_by_topic() {
    let mut map: FilterMap<u32> = FilterMap::new(&[]);
    for filter in ["a/b", "a/+", "#", "c/#"] {
        map.entry(filter);
    }
    map.for_matches_mut("a/b", |value| *value += 1);
    *map.get_mut("c/#").expect("inserted") += 5;
    let values: Vec<_> = ["a/b", "a/+", "#", "c/#", "c", "+"].map(|filter| map.get(filter).copied()).into();
    assert_eq!(values, [Some(1), Some(1), Some(1), Some(5), None, None]);
    let mut sum = 0;
    map.for_each(|value| sum += value);
    assert_eq!(sum, 8);
}

#[test]
fn nothing_is_kept_of_a_removed_filter() {
    let mut map: FilterMap<u32> = FilterMap::new(&[]);
    let filters: Vec<String> = (0..1000).map(|n| format!("dev/{n}/+/x/{}/#", n % 7)).collect();
    filters.iter().for_each(|filter| *map.entry(filter) = 1);
    assert_eq!(map.remove("dev/1/+/x"), None, "on the way, not a filter");
    assert_eq!(map.remove("dev/1/+/y/1/#"), None);
    for filter in &filters {
        assert_eq!(map.remove(filter), Some(1));
        assert_eq!(map.remove(filter), None);
    }
    assert_eq!((map.len(), map.wild.node_count()), (0, 0));
}

#[test]
fn topics_of_many_levels_need_no_stack() {
    let deep = "/".repeat(65_535);
    let mut map: FilterMap<u32> = FilterMap::new(&[]);
    *map.entry(&format!("{}+", "+/".repeat(32_767))) = 1;
    *map.entry(&format!("{}#", "/".repeat(65_000))) = 2;
    *map.entry("+/#") = 3;
    let mut all = Vec::new();
    map.for_matches(&deep, |value| all.push(*value));
    map.for_matches(&"/".repeat(32_767), |value| all.push(*value));
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3, 3]);
    assert_eq!(map.remove(&format!("{}+", "+/".repeat(32_767))), Some(1));
}

#[test]
fn every_level_may_have_an_alternative() {
    let mut map: FilterMap<usize> = FilterMap::new(&[]);
    for n in 0..40 {
        let levels: Vec<&str> = (0..40).map(|at| if at == n { "+" } else { "a" }).collect();
        *map.entry(&levels.join("/")) = n;
    }
    let mut all = Vec::new();
    map.for_matches(&["a"; 40].join("/"), |value| all.push(*value));
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<_>>());
}

#[test]
fn the_cost_of_a_topic_does_not_grow_with_filters_that_do_not_match() {
    let mut map: FilterMap<u32> = FilterMap::new(&[]);
    for n in 0..20_000 {
        *map.entry(&format!("dev/{n}/+")) = n;
        *map.entry(&format!("{n}/+/x/#")) = n;
    }
    let mut places = Places::new("dev/77/state", &[]);
    let mut steps = 0;
    while places.next(&map.wild).is_some() {
        steps += 1;
    }
    assert_eq!(steps, 1);
    assert!(places.visited <= 4, "{}", places.visited);
}

/// The rule of section 4.7, read literally.
fn naive(filter: &str, topic: &str, protected: &[&str]) -> bool {
    let filter: Vec<&str> = filter.split('/').collect();
    let topic_levels: Vec<&str> = topic.split('/').collect();
    if ["#", "+"].contains(&filter[0]) && (topic.starts_with('$') || protected.contains(&topic_levels[0])) {
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
    prop_oneof![4 => Just("a"), 4 => Just("b"), 1 => Just(""), 1 => Just("$a"), 1 => Just("room"), 1 => Just("ab")]
}

fn topic() -> impl Strategy<Value = String> {
    proptest::collection::vec(level(), 1..6).prop_map(|levels| levels.join("/"))
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => level(), 2 => Just("+")];
    (proptest::collection::vec(level, 0..5), any::<bool>()).prop_map(|(mut levels, hash)| {
        if hash || levels.is_empty() {
            levels.push("#");
        }
        levels.join("/")
    })
}

proptest! {
    #[test]
    fn a_filter_map_behaves_as_a_list(
        steps in proptest::collection::vec((filter(), 0..3_u8), 1..200),
        topics in proptest::collection::vec(topic(), 1..30),
    ) {
        let mut map: FilterMap<u32> = FilterMap::new(PROTECTED);
        let mut model: BTreeMap<String, u32> = BTreeMap::new();
        for (filter, step) in steps {
            if step == 0 {
                prop_assert_eq!(map.remove(&filter), model.remove(&filter));
            } else {
                *map.entry(&filter) += 1;
                *model.entry(filter.clone()).or_default() += 1;
            }
            prop_assert_eq!(map.get(&filter), model.get(&filter));
            prop_assert_eq!(map.get_mut(&filter), model.get_mut(&filter));
            prop_assert_eq!(map.len(), model.len());
        }
        // Each filter gets a value of its own, so that the wrong one is seen.
        for (n, (filter, value)) in (0..).zip(&mut model) {
            *value = n;
            *map.entry(filter) = n;
        }
        for topic in topics {
            let mut found = Vec::new();
            map.for_matches(&topic, |value| found.push(*value));
            let mut found_mut = Vec::new();
            map.for_matches_mut(&topic, |value| found_mut.push(*value));
            prop_assert_eq!(&found, &found_mut);
            found.sort_unstable();
            let expected: Vec<u32> =
                model.iter().filter(|(filter, _)| naive(filter, &topic, PROTECTED)).map(|(_, n)| *n).collect();
            prop_assert_eq!(found, expected, "{}", topic);
        }
        for (filter, value) in model {
            prop_assert_eq!(map.remove(&filter), Some(value));
        }
        prop_assert_eq!(map.wild.node_count(), 0);
    }
}
