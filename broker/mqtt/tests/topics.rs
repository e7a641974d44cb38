//! Matching against a model that follows the wording of section 4.7, level by level.

use katydid_mqtt::topic::{Filter, TopicFilter, TopicName, matches};
use proptest::prelude::*;

/// Matches the levels of a filter and a name by recursion; shares nothing with the crate.
fn model(filter: &[&str], name: &[&str]) -> bool {
    match (filter, name) {
        (["#"], _) => true,
        ([], []) => true,
        (["+", filter @ ..], [_, name @ ..]) => model(filter, name),
        ([level, filter @ ..], [part, name @ ..]) => level == part && model(filter, name),
        _ => false,
    }
}

fn expected(filter: &str, name: &str) -> bool {
    let is_hidden = name.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#'));
    let (filter, name): (Vec<_>, Vec<_>) = (filter.split('/').collect(), name.split('/').collect());
    !is_hidden && model(&filter, &name)
}

proptest! {
    #[test]
    fn filters_match_as_the_model_says(
        filter in "([ab$+]?/){0,3}[ab+#$]|[ab+]/",
        name in "\\$?([ab]?/){0,3}[ab]|[ab$]/",
    ) {
        let parsed = TopicFilter::parse(&filter).unwrap();
        let topic = TopicName::parse(&name).unwrap();
        prop_assert_eq!(parsed.matches(topic), expected(&filter, &name), "{} {}", filter, name);
        prop_assert_eq!(matches(&filter, &name), expected(&filter, &name));
    }

    #[test]
    fn a_name_matches_itself_and_what_is_above_it(name in "[ab]?(/[ab]?){1,4}") {
        prop_assert!(matches(&name, &name));
        prop_assert!(matches("#", &name));
        for (at, _) in name.match_indices('/') {
            let above = format!("{}/#", &name[..at]);
            prop_assert!(matches(&above, &name));
        }
    }

    #[test]
    fn any_string_is_a_filter_or_an_error(written in any::<String>(), wild in "(\\$share/)?[a+#/$\u{0}]{0,8}") {
        for written in [&written, &wild] {
            if let Ok(filter) = Filter::parse(written) {
                prop_assert!(!filter.topic_filter().as_str().is_empty());
                prop_assert!(filter.topic_filter().levels().count() >= 1);
            }
            if let Ok(name) = TopicName::parse(written) {
                prop_assert!(TopicFilter::parse(name.as_str()).is_ok(), "every name is a filter");
            }
        }
    }
}
