//! People who chat: connected under a name, they ask, say and hear.
//!
//! Owns how a test talks to the broker as a chat client does. Must never judge what is said. Invariant: what a person
//! heard while it waited for an answer is heard later, in order. Driven by the tests beside it.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::schema;
use crate::harness::packet::{PUBACK, Packet};
use crate::harness::{Broker, Connect, Publish, RawClient, V3, V5, Version, packet, property};

/// Somebody who is connected and listens for answers.
pub(crate) struct Person {
    pub(crate) client: RawClient,
    pub(crate) name: String,
    heard: VecDeque<Publish>,
}

impl Person {
    /// Connects under a name without password, with a new session.
    pub(crate) fn connect(broker: &Broker, version: Version, name: &str) -> Person {
        Person::enter(broker, &Connect::new(version, &format!("client-{name}")).user(name), name)
    }

    /// Connects as it is said.
    pub(crate) fn enter(broker: &Broker, connect: &Connect, name: &str) -> Person {
        let client = broker.connect(connect);
        let mut person = Person { client, name: name.into(), heard: VecDeque::new() };
        assert_eq!(person.subscribe(&format!("user/{name}/reply"), &[]), 1);
        person
    }

    /// Somebody without a name, who asks for the one it was given.
    pub(crate) fn guest(broker: &Broker) -> Person {
        let mut client = broker.client(V5, "guest");
        client.subscribe("user/+/reply", 1);
        let mut guest = Person { client, name: String::new(), heard: VecDeque::new() };
        guest.name = guest.ask("whoami", &json!({}))["user"].as_str().expect("a name").to_owned();
        guest
    }

    /// Somebody without a name, who does not ask for one.
    pub(crate) fn nobody(broker: &Broker) -> Person {
        Person { client: broker.client(V5, "nobody"), name: "nobody".into(), heard: VecDeque::new() }
    }

    /// Asks for something, and gives the answer, whatever it says.
    pub(crate) fn ask(&mut self, verb: &str, request: &Value) -> Value {
        self.client.publish(&format!("$chat/{verb}"), &request.to_string(), 1);
        loop {
            let publish = self.next();
            if publish.topic.ends_with("/reply") {
                let answer = serde_json::from_str(&publish.text()).expect("an answer is JSON");
                schema::is_answer(verb, &answer);
                return answer;
            }
            self.heard.push_back(publish);
        }
    }

    /// Asks for something that must be done.
    pub(crate) fn must(&mut self, verb: &str, request: &Value) -> Value {
        let answer = self.ask(verb, request);
        assert_eq!(answer["ok"], json!(true), "{verb} {request}: {answer}");
        answer
    }

    /// Asks for something that must be refused, and gives the code.
    pub(crate) fn refused(&mut self, verb: &str, request: &Value) -> String {
        let answer = self.ask(verb, request);
        assert_eq!(answer["ok"], json!(false), "{verb} {request}: {answer}");
        answer["code"].as_str().expect("a code").to_owned()
    }

    /// Says something at QoS 1 and gives reason code and reason string of the answer.
    pub(crate) fn say(&mut self, topic: &str, text: &str) -> (u8, Option<String>) {
        self.send(Publish::new(topic, text))
    }

    /// The same for a message that is made already.
    pub(crate) fn send(&mut self, publish: Publish) -> (u8, Option<String>) {
        let ack = self.acknowledged(publish);
        let reason = property::find(&ack.properties, property::REASON_STRING);
        let text = reason.map(|value| match value {
            property::Value::Text(text) => text.clone(),
            other => panic!("a reason string is {other:?}"),
        });
        (ack.reason, text)
    }

    /// The acknowledgement of a message of QoS 1.
    pub(crate) fn acknowledged(&mut self, publish: Publish) -> packet::Ack {
        let id = self.client.fresh_id();
        self.client.send_publish(&Publish { qos: 1, id: Some(id), ..publish });
        loop {
            match self.client.expect_packet() {
                Packet::Ack(ack) if ack.kind == PUBACK && ack.id == id => return ack,
                Packet::Publish(publish) => {
                    self.client.acknowledge(&publish);
                    self.heard.push_back(publish);
                }
                other => panic!("expected PUBACK, got {other:?}"),
            }
        }
    }

    /// The codes of a SUBSCRIBE at QoS 1.
    pub(crate) fn subscribe(&mut self, filter: &str, properties: &[property::Property]) -> u8 {
        let id = self.client.fresh_id();
        let bytes = packet::subscribe(self.client.version, id, &[(filter, 1)], properties);
        self.client.send(&bytes);
        loop {
            match self.client.expect_packet() {
                Packet::SubAck { id: of, codes, .. } if of == id => return codes[0],
                Packet::Publish(publish) => {
                    self.client.acknowledge(&publish);
                    self.heard.push_back(publish);
                }
                other => panic!("expected SUBACK, got {other:?}"),
            }
        }
    }

    fn next(&mut self) -> Publish {
        let publish = self.client.expect_publish();
        schema::is_told(&publish.topic, &publish.text());
        self.client.acknowledge(&publish);
        publish
    }

    /// What it hears next.
    pub(crate) fn hear(&mut self) -> Publish {
        self.heard.pop_front().unwrap_or_else(|| self.next())
    }

    /// The next thing it hears has this text.
    pub(crate) fn hears(&mut self, text: &str) -> Publish {
        let heard = self.hear();
        assert_eq!(heard.text(), text, "{} heard {heard:?}", self.name);
        heard
    }

    /// The next event it hears, by its topic, as JSON.
    pub(crate) fn happens(&mut self) -> (String, Value) {
        let heard = self.hear();
        let event = serde_json::from_str(&heard.text()).unwrap_or_else(|_| panic!("{heard:?} is no JSON"));
        (heard.topic, event)
    }

    /// Hears nothing.
    pub(crate) fn hears_nothing(&mut self) {
        assert!(self.heard.is_empty(), "{} heard {:?}", self.name, self.heard);
        self.client.expect_quiet();
    }
}

/// Both versions.
pub(crate) const VERSIONS: [Version; 2] = [V3, V5];
