//! `delete_on_delivery`: private messages that do not stay.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::people::Person;
use crate::harness::{Broker, Connect, Publish, V3, V5, Version};

/// A device of a registered user, with a session that lasts.
fn device(broker: &Broker, version: Version, name: &str, id: &str) -> Person {
    Person::enter(broker, &Connect::lasting(version, id).user(name).password(b"secret"), name)
}

fn registered(broker: &Broker, name: &str) {
    Person::connect(broker, V5, name).must("register", &json!({ "name": name, "password": "secret" }));
}

/// What the log of a pair holds, for one of the two.
fn kept(person: &mut Person, with: &str) -> Vec<Value> {
    let page = person.must("history", &json!({ "place": format!("user/{with}"), "after": 0 }));
    page["entries"].as_array().expect("entries").clone()
}

fn texts(entries: &[Value]) -> Vec<&str> {
    entries.iter().filter_map(|entry| entry["text"].as_str()).collect()
}

/// Asks until the log has so many entries without text; it is a matter of letters between threads.
fn await_deleted(person: &mut Person, with: &str, count: usize) -> Vec<Value> {
    let limit = Instant::now() + Duration::from_secs(5);
    loop {
        let entries = kept(person, with);
        if entries.iter().filter(|entry| entry["deleted"] == json!(true)).count() == count {
            return entries;
        }
        assert!(Instant::now() < limit, "not {count} deleted: {entries:?}");
        // Who asks all the time is told that it is too often.
        person.client.expect_quiet();
    }
}

#[test]
fn a_private_message_is_gone_when_every_session_of_the_recipient_has_acknowledged_it() {
    for (version, is_crash) in [(V3, true), (V5, false)] {
        let qos = 1;
        let mut broker = Broker::start();
        registered(&broker, "bob");
        registered(&broker, "ann");
        let mut phone = device(&broker, version, "bob", "phone");
        let set = phone.must("profile/set", &json!({ "delete_on_delivery": true }));
        assert_eq!(set["delete_on_delivery"], json!(true));
        phone.client.subscribe("user/+/msg/+", qos);
        let mut tablet = device(&broker, version, "bob", "tablet");
        tablet.client.subscribe("user/bob/msg/ann", qos);
        drop(tablet);
        let mut ann = device(&broker, V5, "ann", "desk");
        let say = |ann: &mut Person, text: &str| {
            ann.client.publish_whole(Publish::new("user/bob/msg/ann", text).will_qos(qos));
        };
        say(&mut ann, "sealed lips");
        phone.hears("sealed lips");
        say(&mut ann, "and more");
        phone.hears("and more");
        phone.must("whoami", &json!({}));
        assert_eq!(texts(&kept(&mut ann, "bob")), ["sealed lips", "and more"], "one session sleeps");
        drop(phone);
        if is_crash {
            broker.kill()
        } else {
            assert!(broker.terminate().success())
        }
        broker.restart();

        let mut ann = device(&broker, V5, "ann", "desk");
        let mut phone = device(&broker, version, "bob", "phone");
        // It may hear again what it had not acknowledged for certain when the broker was killed.
        phone.must("whoami", &json!({}));
        assert_eq!(texts(&kept(&mut ann, "bob")), ["sealed lips", "and more"], "one session still sleeps");
        let mut tablet = device(&broker, version, "bob", "tablet");
        tablet.hears("sealed lips");
        tablet.hears("and more");
        let entries = await_deleted(&mut ann, "bob", 2);
        assert!(entries.iter().all(|entry| entry.get("text").is_none() && entry["time"].is_string()));
        assert_eq!((&entries[0]["seq"], &entries[1]["seq"]), (&json!(1), &json!(2)), "numbers stay");

        broker.kill();
        broker.restart();
        let mut ann = device(&broker, V5, "ann", "desk");
        assert!(texts(&kept(&mut ann, "bob")).is_empty(), "it is gone on disk too");
    }
}

#[test]
fn a_message_of_qos_2_is_gone_as_well() {
    let broker = Broker::start();
    registered(&broker, "bob");
    let mut phone = device(&broker, V5, "bob", "phone");
    phone.must("profile/set", &json!({ "delete_on_delivery": true }));
    phone.client.subscribe("user/+/msg/+", 2);
    let mut ann = Person::connect(&broker, V5, "ann");
    ann.client.publish_whole(Publish::new("user/bob/msg/ann", "exactly once").will_qos(2));
    let heard = phone.client.expect_message("exactly once");
    assert_eq!(texts(&kept(&mut ann, "bob")), ["exactly once"], "it is not acknowledged");
    phone.client.acknowledge(&heard);
    await_deleted(&mut ann, "bob", 1);
}

#[test]
fn what_is_not_acknowledged_or_not_to_be_forgotten_stays() {
    let broker = Broker::start();
    registered(&broker, "bob");
    let mut phone = device(&broker, V5, "bob", "phone");
    phone.client.subscribe("user/+/msg/+", 1);
    let mut ann = Person::connect(&broker, V5, "ann");
    assert_eq!(ann.say("user/bob/msg/ann", "kept").0, 0);
    phone.hears("kept");
    assert_eq!(texts(&kept(&mut ann, "bob")), ["kept"], "nobody asked for it to go");
    phone.must("profile/set", &json!({ "delete_on_delivery": true }));
    await_deleted(&mut ann, "bob", 1);
    // What bob says is ann's to keep; what nobody acknowledges stays.
    assert_eq!(phone.say("user/ann/msg/bob", "my own").0, 0);
    let mut careless = device(&broker, V5, "bob", "careless");
    careless.client.subscribe("user/bob/msg/+", 0);
    assert_eq!(ann.say("user/bob/msg/ann", "held back").0, 0);
    phone.hears("held back");
    careless.hear();
    careless.must("whoami", &json!({}));
    phone.must("whoami", &json!({}));
    assert_eq!(texts(&kept(&mut ann, "bob")), ["my own", "held back"]);
    // With the session that listens without acknowledging goes what held it back.
    assert_eq!(careless.client.unsubscribe(&["user/bob/msg/+"]), [0]);
    assert_eq!(ann.say("user/bob/msg/ann", "next").0, 0);
    phone.hears("next");
    await_deleted(&mut ann, "bob", 3);
    assert_eq!(texts(&kept(&mut ann, "bob")), ["my own"]);
}

#[test]
fn a_session_that_ends_holds_nothing_back() {
    let broker = Broker::start();
    registered(&broker, "bob");
    let mut phone = device(&broker, V5, "bob", "phone");
    phone.must("profile/set", &json!({ "delete_on_delivery": true }));
    phone.client.subscribe("user/+/msg/+", 1);
    let mut tablet = device(&broker, V5, "bob", "tablet");
    tablet.client.subscribe("user/+/msg/+", 1);
    drop(tablet);
    let mut ann = Person::connect(&broker, V5, "ann");
    assert_eq!(ann.say("user/bob/msg/ann", "for two").0, 0);
    phone.hears("for two");
    phone.must("whoami", &json!({}));
    assert_eq!(texts(&kept(&mut ann, "bob")), ["for two"]);
    // A clean start ends the session that slept, and the new one ends with its connection.
    let connect = Connect::new(V5, "tablet").user("bob").password(b"secret");
    Person::enter(&broker, &connect, "bob").client.disconnect();
    await_deleted(&mut ann, "bob", 1);
}
