//! A broker with something of everything that can be kept, and the program as an operator calls it.
//!
//! Owns what the tests beside it begin with. Must never judge. Invariant: everything that is said here was acknowledged.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::{Broker, Connect, Publish, V5, property};
use crate::people::Person;

/// Runs the program with these arguments.
pub(crate) fn katydid<A: AsRef<OsStr>>(arguments: &[A]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_katydid"));
    command.env_remove("KATYDID_TEST_BROKER").env_remove("KATYDID_STORAGE_KEY");
    command.args(arguments).output().expect("the program runs")
}

/// Runs it on a data folder; it must succeed.
pub(crate) fn must(command: &str, data: &Path, arguments: &[&str]) -> String {
    let data = data.to_str().expect("UTF-8");
    let output = katydid(&[&[command, "--data-dir", data], arguments].concat());
    assert!(output.status.success(), "{command} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs it on a data folder; it must be refused with this code. What it said.
pub(crate) fn refused(command: &str, data: &Path, arguments: &[&str], code: i32) -> String {
    let data = data.to_str().expect("UTF-8");
    let output = katydid(&[&[command, "--data-dir", data], arguments].concat());
    let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8");
    assert_eq!(output.status.code(), Some(code), "{command} {arguments:?}: {said}");
    said
}

/// The lines of an export, as JSON.
pub(crate) fn lines(export: &str) -> Vec<Value> {
    export.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// Somebody with an account, connected.
pub(crate) fn registered(broker: &Broker, name: &str) -> Person {
    must("user", &broker.data_folder(), &["add", name, "-b", "secret"]);
    sign_in(broker, name)
}

/// Somebody with an account, connected again.
pub(crate) fn sign_in(broker: &Broker, name: &str) -> Person {
    let connect = Connect::new(V5, &format!("client-{name}")).user(name).password(b"secret");
    Person::enter(broker, &connect, name)
}

/// Fills a broker: Ann and bob have accounts, carl has none.
pub(crate) fn fill(broker: &Broker) -> [Person; 3] {
    let mut ann = registered(broker, "Ann");
    let mut bob = registered(broker, "bob");
    // His name and what is said to him stay for as long as his session.
    let mut carl = Person::enter(broker, &Connect::lasting(V5, "client-carl").user("carl"), "carl");
    ann.must(
        "profile/set",
        &json!({ "display": "Ann A.", "email": "ann@example.org", "fields": { "city": "Ulm" } }),
    );
    ann.must("token/create", &json!({ "label": "laptop" }));
    ann.must("friend/add", &json!({ "user": "bob" }));
    bob.must("friend/add", &json!({ "user": "Ann" }));
    bob.must("ignore/add", &json!({ "user": "carl" }));
    ann.must("room/create", &json!({ "name": "Den", "password": "key", "subject": "quiet" }));
    ann.must("group/create", &json!({ "name": "crew", "members": ["bob"] }));
    ann.must("board/post", &json!({ "group": "crew", "title": "Plan", "text": "What Ann plans" }));
    bob.must("board/post", &json!({ "group": "crew", "title": "Re", "text": "What bob says", "parent": 1 }));
    for (person, text) in [(&mut ann, "first"), (&mut carl, "second"), (&mut bob, "third")] {
        let name = person.name.clone();
        assert_eq!(person.say(&format!("room/Home/msg/{name}"), text).0, 0);
    }
    let whole = Publish::new("room/Home/msg/Ann", [0xFF, 0x00, 0x41])
        .property(property::content_type("image/x"))
        .property(property::correlation_data(b"\x01\xFF"))
        .property(property::user("id", "x1"))
        .property(property::user("mood", "glad"));
    assert_eq!(ann.send(whole).0, 0);
    assert_eq!(ann.say("room/Home/msg/Ann", "regretted").0, 0);
    assert_eq!(ann.say("room/Home/event/Ann", r#"{"type":"delete","seq":5}"#).0, 0);
    assert_eq!(ann.say("room/Home/event/Ann", r#"{"type":"edit","seq":1,"text":"First"}"#).0, 0);
    assert_eq!(bob.say("room/Home/event/bob", r#"{"type":"reaction","seq":1,"text":":)"}"#).0, 0);
    assert_eq!(bob.say("room/Home/read/bob", "4").0, 0);
    assert_eq!(ann.say("group/crew/msg/Ann", "to the crew").0, 0);
    assert_eq!(ann.say("user/bob/msg/Ann", "between us").0, 0);
    assert_eq!(bob.say("user/Ann/msg/bob", "yes").0, 0);
    assert_eq!(bob.say("user/carl/msg/bob", "hello Carl").0, 0);
    ann.must("room/ban", &json!({ "name": "Den", "user": "carl" }));
    ann.must("group/mute", &json!({ "name": "crew", "user": "bob" }));
    carl.client.retain("weather/ulm", "rain", 1);
    [ann, bob, carl]
}
