//! People who talk in rooms, each with an ordinary MQTT client (rumqttc).
//!
//! Owns a small blocking face for the clients of both versions. Must never hide the order of what comes: messages are
//! heard one by one as they arrived. Invariant: every wait ends with an event or fails the test at a limit.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::v5;
use rumqttc::v5::mqttbytes::v5 as packet5;

use crate::harness::client::is_of_place;
use crate::harness::{Broker, Publish, RawClient, property};

/// How long anything may take: far longer than it does, for a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// A message that somebody heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) topic: String,
    pub(crate) text: String,
    pub(crate) retain: bool,
    /// The user property `seq`; 3.1.1 has none.
    pub(crate) seq: Option<u64>,
}

/// A number that a message or an acknowledgement carries in the user property `seq`.
pub(crate) fn seq_of(properties: &[property::Property]) -> Option<u64> {
    user_property(properties, "seq").map(|seq| seq.parse().expect("a number"))
}

/// The value of a user property.
pub(crate) fn user_property<'a>(properties: &'a [property::Property], name: &str) -> Option<&'a str> {
    property::all(properties, property::USER_PROPERTY).into_iter().find_map(|value| match value {
        property::Value::Pair(key, value) if key == name => Some(value.as_str()),
        _ => None,
    })
}

/// The number of a message that must have one.
pub(crate) fn number(publish: &Publish) -> u64 {
    seq_of(&publish.properties).unwrap_or_else(|| panic!("no seq on {publish:?}"))
}

/// The next messages of a client that speaks bytes, acknowledged.
pub(crate) fn take(client: &mut RawClient, count: usize) -> Vec<Publish> {
    (0..count)
        .map(|_| {
            let publish = client.expect_publish();
            client.acknowledge(&publish);
            publish
        })
        .collect()
}

/// The texts of messages.
pub(crate) fn texts(messages: &[Publish]) -> Vec<String> {
    messages.iter().map(Publish::text).collect()
}

/// Somebody with a 3.1.1 client.
pub(crate) struct Old {
    client: rumqttc::Client,
    connection: rumqttc::Connection,
    heard: VecDeque<Heard>,
}

impl Old {
    /// Connects under that name, with a session of that length.
    pub(crate) fn connect(broker: &Broker, name: &str, clean: bool) -> Old {
        let mut options =
            rumqttc::MqttOptions::new(format!("old-{name}"), "127.0.0.1", port(broker.address()));
        options.set_credentials(name, "").set_clean_session(clean).set_max_packet_size(1 << 20, 1 << 20);
        let (client, connection) = rumqttc::Client::new(options, 1000);
        let mut person = Old { client, connection, heard: VecDeque::new() };
        person.until("CONNACK", |packet| matches!(packet, rumqttc::Packet::ConnAck(_)));
        person
    }

    /// Subscribes, and waits until the broker has answered.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) {
        self.client.subscribe(filter, rumqttc::qos(qos).expect("a QoS")).expect("the client lives");
        self.until("SUBACK", |packet| match packet {
            rumqttc::Packet::SubAck(ack) => {
                assert!(
                    matches!(ack.return_codes[..], [rumqttc::SubscribeReasonCode::Success(_)]),
                    "{ack:?} for {filter}"
                );
                true
            }
            _ => false,
        });
    }

    /// Publishes, and waits until the broker has acknowledged it where it does so.
    pub(crate) fn say(&mut self, topic: &str, text: &str, qos: u8) {
        self.client.publish(topic, rumqttc::qos(qos).expect("a QoS"), false, text).expect("the client lives");
        match qos {
            1 => self.until("PUBACK", |packet| matches!(packet, rumqttc::Packet::PubAck(_))),
            2 => self.until("PUBCOMP", |packet| matches!(packet, rumqttc::Packet::PubComp(_))),
            _ => {}
        }
    }

    /// The next message.
    pub(crate) fn hear(&mut self) -> Heard {
        while self.heard.is_empty() {
            self.step("a message");
        }
        self.heard.pop_front().expect("the loop ended")
    }

    /// The next messages' texts.
    pub(crate) fn hear_texts(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.hear().text).collect()
    }

    /// Leaves with DISCONNECT.
    pub(crate) fn leave(mut self) {
        self.client.disconnect().expect("the client lives");
        while let Ok(Ok(_)) = self.connection.recv_timeout(LIMIT) {}
    }

    fn until(&mut self, what: &str, is_it: impl Fn(&rumqttc::Packet) -> bool) {
        while !self.step(what).is_some_and(|packet| is_it(&packet)) {}
    }

    fn step(&mut self, what: &str) -> Option<rumqttc::Packet> {
        let event = self.connection.recv_timeout(LIMIT);
        let Ok(event) = event else { panic!("waited {LIMIT:?} for {what}") };
        let rumqttc::Event::Incoming(packet) = event.expect("the connection lives") else { return None };
        if let rumqttc::Packet::Publish(publish) = &packet
            && !is_of_place(&publish.topic)
        {
            let text = String::from_utf8(publish.payload.to_vec()).expect("text");
            let topic = publish.topic.clone();
            self.heard.push_back(Heard { topic, text, retain: publish.retain, seq: None });
        }
        Some(packet)
    }
}

/// Somebody with a 5.0 client.
pub(crate) struct New {
    client: v5::Client,
    connection: v5::Connection,
    heard: VecDeque<Heard>,
}

impl New {
    /// Connects under that name, with a session that lasts an hour unless it is clean.
    pub(crate) fn connect(broker: &Broker, name: &str, clean: bool) -> New {
        let mut options = v5::MqttOptions::new(format!("new-{name}"), "127.0.0.1", port(broker.address()));
        options.set_credentials(name, "").set_clean_start(clean).set_outgoing_inflight_upper_limit(16);
        options.set_session_expiry_interval((!clean).then_some(3600)).set_max_packet_size(Some(1 << 20));
        let (client, connection) = v5::Client::new(options, 1000);
        let mut person = New { client, connection, heard: VecDeque::new() };
        person.until("CONNACK", |packet| matches!(packet, packet5::Packet::ConnAck(_)));
        person
    }

    /// Subscribes, and waits until the broker has answered.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) {
        self.subscribe_with(packet5::Filter::new(filter, qos5(qos)), &[]);
    }

    /// Subscribes with user properties.
    pub(crate) fn subscribe_with(&mut self, filter: packet5::Filter, properties: &[(&str, &str)]) {
        let user_properties =
            properties.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let properties = packet5::SubscribeProperties { id: None, user_properties };
        self.client.subscribe_many_with_properties([filter], properties).expect("the client lives");
        self.until("SUBACK", |packet| match packet {
            packet5::Packet::SubAck(ack) => {
                let is_granted = matches!(ack.return_codes[..], [packet5::SubscribeReasonCode::Success(_)]);
                assert!(is_granted, "{ack:?}");
                true
            }
            _ => false,
        });
    }

    /// Publishes with QoS 1, and gives the number that the acknowledgement carries.
    pub(crate) fn say(&mut self, topic: &str, text: &str) -> u64 {
        self.client.publish(topic, qos5(1), false, text.to_owned()).expect("the client lives");
        loop {
            if let Some(packet5::Packet::PubAck(ack)) = self.step("PUBACK") {
                assert_eq!(ack.reason, packet5::PubAckReason::Success);
                let properties = ack.properties.expect("PUBACK says the number").user_properties;
                return number_among(&properties).expect("PUBACK says the number");
            }
        }
    }

    /// The next message.
    pub(crate) fn hear(&mut self) -> Heard {
        while self.heard.is_empty() {
            self.step("a message");
        }
        self.heard.pop_front().expect("the loop ended")
    }

    /// The next messages' texts.
    pub(crate) fn hear_texts(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.hear().text).collect()
    }

    /// Leaves with DISCONNECT.
    pub(crate) fn leave(mut self) {
        self.client.disconnect().expect("the client lives");
        while let Ok(Ok(_)) = self.connection.recv_timeout(LIMIT) {}
    }

    fn until(&mut self, what: &str, is_it: impl Fn(&packet5::Packet) -> bool) {
        while !self.step(what).is_some_and(|packet| is_it(&packet)) {}
    }

    fn step(&mut self, what: &str) -> Option<packet5::Packet> {
        let event = self.connection.recv_timeout(LIMIT);
        let Ok(event) = event else { panic!("waited {LIMIT:?} for {what}") };
        let v5::Event::Incoming(packet) = event.expect("the connection lives") else { return None };
        if let packet5::Packet::Publish(publish) = &packet
            && !is_of_place(&String::from_utf8_lossy(&publish.topic))
        {
            let properties = publish.properties.as_ref().map(|properties| &properties.user_properties[..]);
            self.heard.push_back(Heard {
                topic: String::from_utf8(publish.topic.to_vec()).expect("text"),
                text: String::from_utf8(publish.payload.to_vec()).expect("text"),
                retain: publish.retain,
                seq: properties.and_then(number_among),
            });
        }
        Some(packet)
    }
}

fn number_among(properties: &[(String, String)]) -> Option<u64> {
    let (_, seq) = properties.iter().find(|(name, _)| name == "seq")?;
    Some(seq.parse().expect("a number"))
}

fn qos5(qos: u8) -> v5::mqttbytes::QoS {
    match qos {
        0 => v5::mqttbytes::QoS::AtMostOnce,
        1 => v5::mqttbytes::QoS::AtLeastOnce,
        _ => v5::mqttbytes::QoS::ExactlyOnce,
    }
}

fn port(address: SocketAddr) -> u16 {
    address.port()
}
