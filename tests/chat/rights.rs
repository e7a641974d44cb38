//! Every topic of a place, for each role, in each kind of place. What each verb permits is in the tests of the domain; the
//! operator has a socket and no topics.

use serde_json::json;

use super::people::Person;
use crate::harness::{Broker, Connect, V5};

const ROLES: [&str; 9] =
    ["nobody", "guest", "anonymous", "registered", "member", "moderator", "owner", "banned", "ignored"];

const PLACES: [&str; 5] = ["room/public", "room/private", "room/secret", "room/read-only", "group/open"];

/// What each role gets, by topic below the place, in the order of [`PLACES`] and [`ROLES`]: `+` yes, otherwise the letter
/// of the code.
#[rustfmt::skip]
const SAID: [(&str, &str, [&str; 5]); 8] = [
    ("msg/ME", "hello", ["s++++++b+", "siii+++b+", "s???+++?+", "srrrr++br", "siii+++b+"]),
    ("event/ME", r#"{"type":"reaction","seq":1,"text":"+"}"#,
        ["s++++++b+", "siii+++b+", "s???+++?+", "srrrr++br", "siii+++b+"]),
    ("typing/ME", ".", ["s++++++b+", "siii+++b+", "s???+++?+", "srrrr++br", "siii+++b+"]),
    ("read/ME", "1", ["s++++++b+", "siii+++b+", "s???+++?+", "s++++++b+", "siii+++b+"]),
    ("post/ME", "{}", ["RRRRRRRRR", "RRRRRRRRR", "RRRRRRRRR", "RRRRRRRRR", "RRRRRRRRR"]),
    ("presence/ME", "{}", ["RRRRRRRRR", "RRRRRRRRR", "RRRRRRRRR", "RRRRRRRRR", "RRRRRRRRR"]),
    ("info", "{}", ["RRRRRRRRR", "RRRRRRRRR", "RRRRRRRRR", "RRRRRRRRR", "RRRRRRRRR"]),
    ("msg/somebody", "forged", ["sssssssss", "sssssssss", "sssssssss", "sssssssss", "sssssssss"]),
];

/// The same for filters below the place: `+` granted, `-` refused.
#[rustfmt::skip]
const HEARD: [(&str, [&str; 5]); 4] = [
    ("msg/+", ["+++++++-+", "----+++-+", "----+++-+", "+++++++-+", "--+++++-+"]),
    ("info", ["+++++++-+", "----+++-+", "----+++-+", "+++++++-+", "--+++++-+"]),
    ("+/katydid", ["+++++++-+", "----+++-+", "----+++-+", "+++++++-+", "--+++++-+"]),
    ("#", ["+++++++-+", "----+++-+", "----+++-+", "+++++++-+", "--+++++-+"]),
];

fn letter(reason: Option<&str>) -> char {
    match reason {
        None => '+',
        Some("message.not-sender") => 's',
        Some("message.reserved") => 'R',
        Some("room.not-member") => 'i',
        Some("room.banned") => 'b',
        Some("room.read-only") => 'r',
        Some("room.not-found" | "group.not-found") => '?',
        Some(other) => panic!("{other} is in no line of the table"),
    }
}

fn people(broker: &Broker) -> Vec<Person> {
    let registered = |name: &str| {
        Person::connect(broker, V5, name).must("register", &json!({ "name": name, "password": "secret" }));
        let connect = Connect::lasting(V5, name).user(name).password(b"secret");
        Person::enter(broker, &connect, name)
    };
    let person = |role: &&str| match *role {
        "nobody" => Person::nobody(broker),
        "guest" => Person::guest(broker),
        "anonymous" => Person::connect(broker, V5, "anonymous"),
        role => registered(role),
    };
    let mut people: Vec<Person> = ROLES.iter().map(person).collect();
    let at = |role: &str| ROLES.iter().position(|known| *known == role).expect("a role");
    for place in PLACES {
        let (root, name) = place.split_once('/').expect("a place");
        let settings = match name {
            "private" => json!({ "name": name, "password": "sesame" }),
            "secret" => json!({ "name": name, "visibility": "secret" }),
            "read-only" => json!({ "name": name, "read_only": true }),
            _ => json!({ "name": name }),
        };
        let owner = at("owner");
        people[owner].must(&format!("{root}/create"), &settings);
        assert_eq!(people[owner].say(&format!("{place}/msg/owner"), "first").0, 0);
        for role in ["member", "moderator", "ignored"] {
            people[owner].must(&format!("{root}/invite"), &json!({ "name": name, "user": role }));
            people[at(role)].must(&format!("{root}/join"), &json!({ "name": name }));
        }
        people[owner].must(&format!("{root}/moderators"), &json!({ "name": name, "add": ["moderator"] }));
        people[owner].must(&format!("{root}/ban"), &json!({ "name": name, "user": "banned" }));
    }
    for role in ["member", "moderator", "owner"] {
        people[at(role)].must("ignore/add", &json!({ "user": "ignored" }));
    }
    people
}

#[test]
fn every_topic_of_a_place_is_permitted_as_the_table_says() {
    let broker = Broker::start();
    let mut people = people(&broker);
    for (within, payload, rows) in SAID {
        for (place, expected) in PLACES.into_iter().zip(rows) {
            let row = people.iter_mut().map(|person| {
                let topic = format!("{place}/{}", within.replace("ME", &person.name));
                let (code, reason) = person.say(&topic, payload);
                assert_eq!(code >= 0x80, reason.is_some(), "{topic}");
                letter(reason.as_deref())
            });
            assert_eq!(row.collect::<String>(), expected, "{place}/{within} by {ROLES:?}");
        }
    }
    for (within, rows) in HEARD {
        for (place, expected) in PLACES.into_iter().zip(rows) {
            let row =
                people.iter_mut().map(|person| match person.subscribe(&format!("{place}/{within}"), &[]) {
                    1 => '+',
                    0x87 => '-',
                    other => panic!("{other:#04x}"),
                });
            assert_eq!(row.collect::<String>(), expected, "{place}/{within} by {ROLES:?}");
        }
    }
    // Wildcards for the place enter none, and are everybody's.
    for person in &mut people {
        for filter in ["room/+/msg/+", "group/#"] {
            assert_eq!(person.subscribe(filter, &[]), 1, "{} {filter}", person.name);
        }
    }
}
