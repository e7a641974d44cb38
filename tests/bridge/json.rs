//! The JSON protocol.

use crate::{
    harness::Broker,
    legacy::{Bridge, Legacy},
};
use serde_json::{Value, json};

pub(crate) struct Json(Legacy);

impl Json {
    pub(crate) fn connect(bridge: &Bridge) -> Self {
        Self(Legacy::connect(bridge.json, "\n"))
    }

    /// An account of its own, signed in.
    pub(crate) fn signed_in(bridge: &Bridge, name: &str) -> Self {
        let mut json = Self::connect(bridge);
        let account = json!({"Command": "register", "User": name, "Password": "sesame"});
        assert_eq!(json.ask(&account)["Status"], "ok");
        json.sign_in(name);
        json
    }

    pub(crate) fn sign_in(&mut self, name: &str) -> Value {
        let answer = self.ask(&json!({"Command": "login", "User": name, "Password": "sesame"}));
        assert_eq!(answer["Status"], "ok", "{answer}");
        answer
    }

    pub(crate) fn object(&mut self) -> Value {
        serde_json::from_str(&self.0.line()).expect("an object in a line")
    }

    /// The next object of a command, past notices.
    pub(crate) fn next(&mut self, command: &str) -> Value {
        loop {
            let object = self.object();
            if object["Command"] == command {
                return object;
            }
            assert_eq!(object["Command"], "notice", "waiting for {command}: {object}");
        }
    }

    pub(crate) fn ask(&mut self, object: &Value) -> Value {
        self.0.send(&object.to_string());
        loop {
            let answer = self.object();
            if answer["Command"] == object["Command"] && answer.get("Status").is_some() {
                return answer;
            }
        }
    }
}

/// Figure 3: "As Client B is currently offline the server stores the message"; and "if users are to log in from different
/// network locations", the newest counts.
#[test]
fn private_messages_wait_and_the_newest_connection_counts() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let (mut ann, mut bob) = (Json::signed_in(&bridge, "ann"), Json::signed_in(&bridge, "bob"));
    let private = json!({"Command": "msg", "To": "bob", "Type": "PM", "Message": "Some Text", "From": "ann"});
    assert_eq!(ann.ask(&private)["Status"], "ok");
    assert_eq!(bob.next("msg")["Message"], "Some Text");
    let mut newer = Json::connect(&bridge);
    newer.sign_in("bob");
    assert_eq!(bob.next("update")["Status"], "offline");
    assert_eq!(ann.ask(&private)["Status"], "ok");
    assert_eq!(newer.next("msg")["Message"], "Some Text");
    assert_eq!(newer.ask(&json!({"Command": "update", "Status": "offline"}))["Status"], "ok");
    assert_eq!(ann.ask(&private)["Status"], "ok");
    newer.sign_in("bob");
    assert_eq!(newer.next("msg")["Message"], "Some Text");
}

/// Commands: "As other users are unaware of the UID of the group chat, they can only be added by users who are already in".
#[test]
fn a_group_is_for_those_who_were_added() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let (mut ann, mut bob) = (Json::signed_in(&bridge, "ann"), Json::signed_in(&bridge, "bob"));
    let mut eve = Json::signed_in(&bridge, "eve");
    let group = ann.ask(&json!({"Command": "invite", "To": "bob"}))["Group"].clone();
    assert_eq!(bob.next("invite")["Group"], group);
    let said = json!({"Command": "msg", "To": group, "Type": "group-message", "Message": "hi"});
    assert_eq!(ann.ask(&said)["Status"], "ok");
    assert_eq!(bob.next("msg")["To"], group);
    assert_eq!(eve.ask(&said)["Code"], "group.not-found");
    assert_eq!(
        eve.ask(&json!({"Command": "invite", "To": "eve", "Group": group}))["Code"],
        "group.not-found"
    );
    let history = json!({"Command": "history", "To": group, "Type": "group-message", "Count": 5});
    assert_eq!(bob.ask(&history)["Messages"][0]["Message"], "hi");
}
