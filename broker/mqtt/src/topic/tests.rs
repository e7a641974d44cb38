//! Which strings are names and filters, and what matches what.

use super::*;

#[test]
fn names() {
    for name in
        ["a", "/", "//", "a/b", "/a", "a/", "room/Home/msg/anna", "$SYS/x", "ä/ß", "a b", "$share/x/y"]
    {
        assert_eq!(TopicName::parse(name).map(TopicName::as_str), Ok(name));
    }
    for (name, error) in [
        ("", TopicError::Empty),
        ("a/+", TopicError::WildcardInName),
        ("+", TopicError::WildcardInName),
        ("a/#", TopicError::WildcardInName),
        ("a#b", TopicError::WildcardInName),
        ("a\0b", TopicError::Character),
        ("a\nb", TopicError::Character),
        ("a\u{85}b", TopicError::Character),
        ("a\u{FFFF}b", TopicError::Character),
        ("a\u{1FFFE}b", TopicError::Character),
        ("a\u{FDD0}b", TopicError::Character),
    ] {
        assert_eq!(
            TopicName::parse(name),
            Err(error),
            "{name:?} [MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT-4.7.3-2]"
        );
    }
    assert_eq!(TopicName::parse(&"x".repeat(65_535)).map(|name| name.as_str().len()), Ok(65_535));
    assert_eq!(TopicName::parse(&"x".repeat(65_536)), Err(TopicError::TooLong), "[MQTT-4.7.3-3]");
}

#[test]
fn filters() {
    for filter in ["#", "+", "/", "a/#", "+/#", "+/+", "/+", "+/", "a/+/b", "$SYS/#", "a//b", "$share", "$"] {
        assert_eq!(TopicFilter::parse(filter).map(TopicFilter::as_str), Ok(filter));
    }
    for (filter, error) in [
        ("", TopicError::Empty),
        ("#/", TopicError::MultiLevelWildcard),
        ("#/a", TopicError::MultiLevelWildcard),
        ("a#", TopicError::MultiLevelWildcard),
        ("#a", TopicError::MultiLevelWildcard),
        ("a/b#", TopicError::MultiLevelWildcard),
        ("a/#/b", TopicError::MultiLevelWildcard),
        ("##", TopicError::MultiLevelWildcard),
        ("+#", TopicError::MultiLevelWildcard),
        ("a+", TopicError::SingleLevelWildcard),
        ("+a", TopicError::SingleLevelWildcard),
        ("a/+b/c", TopicError::SingleLevelWildcard),
        ("++", TopicError::SingleLevelWildcard),
        ("a\0", TopicError::Character),
    ] {
        assert_eq!(TopicFilter::parse(filter), Err(error), "{filter:?} [MQTT-4.7.1-1] [MQTT-4.7.1-2]");
    }
}

#[test]
fn what_a_filter_looks_like() {
    for (filter, is_wildcard, begins, is_hidden, levels) in [
        ("a/b", false, false, false, 2),
        ("a/+", true, false, false, 2),
        ("+", true, true, false, 1),
        ("#", true, true, false, 1),
        ("$SYS/#", true, false, true, 2),
        ("/", false, false, false, 2),
    ] {
        let parsed = TopicFilter::parse(filter).unwrap();
        assert_eq!(parsed.is_wildcard(), is_wildcard, "{filter}");
        assert_eq!(parsed.begins_with_wildcard(), begins, "{filter}");
        assert_eq!(parsed.is_hidden(), is_hidden, "{filter}");
        assert_eq!(parsed.levels().count(), levels, "{filter}");
    }
}

#[test]
fn shared_filters_mqtt_4_8_2_1_and_2() {
    let shared = Filter::parse("$share/group/a/+").unwrap();
    let Filter::Shared(SharedFilter { group, filter }) = shared else { panic!("not shared") };
    assert_eq!((group, filter.as_str()), ("group", "a/+"));
    assert_eq!(shared.topic_filter().as_str(), "a/+");
    for (written, error) in [
        ("$share/", TopicError::ShareName),
        ("$share//a", TopicError::ShareName),
        ("$share/+/a", TopicError::ShareName),
        ("$share/g#/a", TopicError::ShareName),
        ("$share/g", TopicError::ShareFilter),
        ("$share/g/", TopicError::ShareFilter),
        ("$share/g/a#", TopicError::MultiLevelWildcard),
        ("$share/g/a+", TopicError::SingleLevelWildcard),
        ("$share/g\n/a", TopicError::Character),
    ] {
        assert_eq!(Filter::parse(written), Err(error), "{written:?}");
    }
    for written in ["$share", "$shared/g/a", "share/g/a", "$SHARE/g/a"] {
        assert!(matches!(Filter::parse(written), Ok(Filter::Own(_))), "{written}");
    }
    assert!(matches!(
        Filter::parse("$share/g//"),
        Ok(Filter::Shared(shared)) if shared.filter.as_str() == "/"
    ));
}

#[test]
fn matching() {
    for (filter, topic, expected) in [
        ("a/b", "a/b", true),
        ("a/b", "a/B", false),
        ("a/b", "a", false),
        ("a", "a/b", false),
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/tennis/player1/#", "sport/tennis/player10", false),
        ("sport/tennis/player1/#", "sport/tennis", false),
        ("sport/#", "sport", true),
        ("sport/#", "sport/", true),
        ("#", "a", true),
        ("#", "/", true),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("sport/+", "sport/tennis/player1", false),
        ("sport/tennis/+", "sport/tennis/player2", true),
        ("+/tennis/#", "sport/tennis", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("+/#", "a", true),
        ("a/+/+/b", "a///b", true),
        ("#", "$SYS/x", false),
        ("+/x", "$SYS/x", false),
        ("+/#", "$SYS", false),
        ("$SYS/#", "$SYS/monitor/Clients", true),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
        ("$SYS/#", "$SYS", true),
        ("a/#", "a/$SYS", true),
        ("ä/+", "ä/ö", true),
        // The same letter in two normal forms is two topics.
        ("\u{E4}", "a\u{308}", false),
    ] {
        let parsed = TopicFilter::parse(filter).unwrap();
        let found = parsed.matches(TopicName::parse(topic).unwrap());
        assert_eq!(found, expected, "{filter} {topic} [MQTT-4.7.2-1] [MQTT-4.7.3-4]");
    }
}
