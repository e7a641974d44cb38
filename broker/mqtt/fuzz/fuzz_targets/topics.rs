//! Filters and names from anywhere: no panic, and every name matches itself.
#![no_main]

use katydid_mqtt::topic::{Filter, TopicFilter, TopicName, matches};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (filter, name) = input;
    let _ = matches(filter, name);
    let filter = Filter::parse(filter);
    if let Ok(name) = TopicName::parse(name) {
        let itself = TopicFilter::parse(name.as_str()).expect("every name is a filter");
        assert!(itself.matches(name));
        if let Ok(filter) = filter {
            let _ = filter.topic_filter().matches(name);
        }
    }
});
