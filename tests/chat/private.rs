//! Private messages, and who does not hear whom.

use serde_json::json;

use super::people::Person;
use crate::harness::{Broker, Connect, V3, V5};

#[test]
fn a_private_message_reaches_the_one_it_is_for_and_the_senders_devices() {
    let broker = Broker::start();
    let mut ann = Person::connect(&broker, V5, "ann");
    assert_eq!(ann.subscribe("user/+/msg/ann", &[]), 1);
    let mut bob = Person::connect(&broker, V3, "bob");
    assert_eq!(bob.subscribe("user/bob/msg/+", &[]), 1);
    let mut eve = Person::connect(&broker, V5, "eve");
    assert_eq!(eve.subscribe("user/bob/msg/+", &[]), 0x87);
    assert_eq!(eve.subscribe("user/+/msg/+", &[]), 1);
    assert_eq!(ann.say("user/bob/msg/ann", "for you").0, 0);
    assert_eq!(bob.hears("for you").topic, "user/bob/msg/ann");
    assert_eq!(ann.hears("for you").topic, "user/bob/msg/ann");
    assert_eq!(eve.say("user/bob/msg/ann", "forged").0, 0x87);
    assert_eq!(ann.say("user/nobody/msg/ann", "hello?").1.as_deref(), Some("user.not-found"));
    eve.hears_nothing();
    bob.hears_nothing();
}

#[test]
fn private_messages_wait_for_who_is_away_also_over_a_crash() {
    let mut broker = Broker::start();
    let lasting = |broker: &Broker| Person::enter(broker, &Connect::lasting(V3, "bob").user("bob"), "bob");
    let mut bob = lasting(&broker);
    assert_eq!(bob.subscribe("user/+/msg/+", &[]), 1);
    drop(bob);
    let mut ann = Person::connect(&broker, V5, "ann");
    assert_eq!(ann.say("user/bob/msg/ann", "one").0, 0);
    broker.kill();
    broker.restart();
    let mut ann = Person::connect(&broker, V5, "ann");
    assert_eq!(ann.say("user/bob/msg/ann", "two").0, 0);
    let mut bob = lasting(&broker);
    bob.hears("one");
    bob.hears("two");
    bob.hears_nothing();
}

#[test]
fn who_is_ignored_is_not_heard() {
    let broker = Broker::start();
    let mut ann = Person::connect(&broker, V5, "ann");
    let mut bob = Person::connect(&broker, V5, "bob");
    let mut carl = Person::connect(&broker, V5, "carl");
    assert_eq!(bob.subscribe("room/Home/+/+", &[]), 1);
    bob.must("ignore/add", &json!({ "user": "ann" }));
    assert_eq!(ann.say("room/Home/msg/ann", "noise").0, 0);
    assert_eq!(ann.say("room/Home/typing/ann", "...").0, 0);
    assert_eq!(carl.say("room/Home/msg/carl", "sense").0, 0);
    bob.hears("sense");
    let page = bob.must("history", &json!({ "place": "room/Home" }));
    let texts: Vec<&str> =
        page["entries"].as_array().expect("entries").iter().filter_map(|it| it["text"].as_str()).collect();
    assert_eq!(texts, ["sense"]);
    bob.must("ignore/remove", &json!({ "user": "ann" }));
    assert_eq!(ann.say("room/Home/msg/ann", "back").0, 0);
    bob.hears("back");
}
