use super::*;
use ReasonCode::{ProtocolError, TopicAliasInvalid};

#[test]
fn an_alias_stands_for_the_topic_it_was_set_to_mqtt_3_3_2_12() {
    let mut aliases = TopicAliases::new();
    assert_eq!(aliases.resolve(Some(7), "a/b", 10), Ok("a/b"));
    assert_eq!(aliases.resolve(Some(2), "c", 10), Ok("c"));
    assert_eq!(aliases.resolve(Some(7), "", 10), Ok("a/b"));
    assert_eq!(aliases.resolve(Some(7), "d", 10), Ok("d"), "set anew");
    assert_eq!(aliases.resolve(Some(7), "", 10), Ok("d"));
    assert_eq!(aliases.resolve(Some(2), "", 10), Ok("c"));
    assert_eq!(aliases.resolve(None, "e", 10), Ok("e"));
    assert_eq!(aliases.len(), 2);
}

#[test]
fn an_alias_of_zero_or_above_the_maximum_is_invalid_mqtt_3_3_2_8() {
    let mut aliases = TopicAliases::new();
    assert_eq!(aliases.resolve(Some(0), "a", 10), Err(TopicAliasInvalid));
    assert_eq!(aliases.resolve(Some(11), "a", 10), Err(TopicAliasInvalid), "[MQTT-3.3.2-9]");
    assert_eq!(aliases.resolve(Some(1), "a", 0), Err(TopicAliasInvalid), "aliases are off");
    assert_eq!(aliases.resolve(Some(10), "a", 10), Ok("a"));
    assert_eq!(aliases.resolve(Some(u16::MAX), "b", u16::MAX), Ok("b"));
    assert_eq!(aliases.len(), 2, "memory follows what is set, not its number");
}

#[test]
fn a_publish_without_any_topic_is_a_protocol_error() {
    let mut aliases = TopicAliases::new();
    assert_eq!(aliases.resolve(Some(3), "", 10), Err(ProtocolError));
    assert_eq!(aliases.resolve(None, "", 10), Err(ProtocolError));
    assert!(aliases.is_empty() && aliases.topics.capacity() == 0);
}

#[test]
fn silence_ends_after_one_and_a_half_intervals_mqtt_3_1_2_22() {
    assert_eq!(KeepAlive::new(1).deadline(1000), Some(2500));
    assert_eq!(KeepAlive::new(u16::MAX).deadline(0), Some(98_302_500));
    assert_eq!(KeepAlive::new(60).deadline(u64::MAX - 1), Some(u64::MAX));
    assert_eq!(KeepAlive::new(0).deadline(1000), None);
    assert_eq!(KeepAlive::default(), KeepAlive::new(0));
}
