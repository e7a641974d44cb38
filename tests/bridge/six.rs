//! Six ways into one room: telnet, an mChat client, a client of `HELO`, one of JSON, a browser on REST, and MQTT.

use crate::{
    harness::{Broker, Settings},
    helo,
    legacy::{Bridge, Legacy, free_address, http, http_user},
    text::{home, mqtt, run},
};
use katydid_sdk::{Client, Event, Events};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// What was said, and by whom.
type Said = (String, String);

/// The room, as protocols call it that have groups alone.
const ROOM: &str = "/groups/room%2FHome";

/// Six people in the room *Home*, each named after the way there.
struct Six {
    telnet: Legacy,
    mchat: Legacy,
    helo: Legacy,
    json: Legacy,
    rest: SocketAddr,
    token: String,
    mqtt: Client,
    events: Events,
}

impl Six {
    async fn enter(broker: &Broker, bridge: &Bridge) -> Self {
        let mut telnet = Legacy::connect(bridge.text, "\r\n");
        assert_eq!(telnet.ask("#login anon telnet"), "@status 0");
        let mut mchat = Legacy::connect(bridge.mchat, "\n");
        mchat.send("NICK mchat");
        assert_eq!(mchat.ask("JOIN Home"), "SYSTEM Home mchat joined channel");
        let helo = helo::signed_in(bridge, "helo");
        let mut json = Legacy::connect(bridge.json, "\n");
        for command in ["register", "login"] {
            let answer =
                json.ask(&json!({"Command": command, "User": "json", "Password": "sesame"}).to_string());
            assert!(answer.contains("\"Status\":\"ok\""), "{answer}");
        }
        let answer = json.ask("{\"Command\": \"invite\", \"Group\": \"room/Home\", \"To\": \"json\"}");
        assert_eq!(answer, "{\"Command\":\"invite\",\"Group\":\"room/Home\",\"Status\":\"ok\"}");
        let token = http_user(bridge.rest, "rest");
        assert_eq!(http(bridge.rest, &token, &format!("PUT {ROOM}"), "{\"members\": [\"rest\"]}").0, 200);
        let (mqtt, events) = mqtt(broker.address(), "mqtt").await;
        Self { telnet, mchat, helo, json, rest: bridge.rest, token, mqtt, events }
    }

    /// Each says one line, all at once.
    async fn speak(&mut self, text: &str) {
        self.telnet.send(&format!("#broadcast \"{text}\""));
        self.mchat.send(&format!("MSG mchat Home {text}"));
        self.helo.send(&format!("BCST {text}"));
        let said = json!({"Command": "msg", "To": "room/Home", "Type": "group-message", "Message": text});
        self.json.send(&said.to_string());
        let request = format!("POST {ROOM}/conversation");
        let (status, said) = http(self.rest, &self.token, &request, &json!({"message": text}).to_string());
        assert_eq!(status, 201, "{said}");
        self.mqtt.say(&home(), text.to_owned(), None).await.expect("said");
    }

    /// What each hears of so many lines, in its order, by the name of the way; of one's own only where the protocol shows it.
    async fn hear(&mut self, lines: usize) -> Vec<(&'static str, Vec<Said>)> {
        let mqtt = self.hear_mqtt(lines).await;
        vec![
            ("mqtt", mqtt),
            ("telnet", hear(&mut self.telnet, lines, telnet_said)),
            ("mchat", hear(&mut self.mchat, lines - 1, mchat_said)),
            ("helo", hear(&mut self.helo, lines - 1, helo_said)),
            ("json", hear(&mut self.json, lines - 1, json_said)),
        ]
    }

    async fn hear_mqtt(&mut self, lines: usize) -> Vec<Said> {
        let mut heard = Vec::new();
        while heard.len() < lines {
            if let Event::Message(message) = self.events.next().await.expect("an event") {
                let name = message.properties.iter().find(|(name, _)| name == "name");
                let name = name.map_or(&message.from, |(_, shown)| shown);
                heard.push((name.clone(), message.text().into_owned()));
            }
        }
        heard
    }

    /// The whole conversation, as the browser reads it.
    fn conversation(&self) -> Vec<Said> {
        let (status, page) = http(self.rest, &self.token, &format!("GET {ROOM}/conversation"), "");
        assert_eq!(status, 200, "{page}");
        let said = |message: &Value| {
            let text = |field: &str| message[field].as_str().expect(field).to_owned();
            let sender = text("sender");
            // A guest has no name but in the moment of speaking.
            (if sender.starts_with("guest-") { "mchat".into() } else { sender }, text("message"))
        };
        page["messages"].as_array().expect("messages").iter().map(said).collect()
    }
}

/// Reads up to so many lines of the conversation.
fn hear(legacy: &mut Legacy, lines: usize, said: fn(&str) -> Option<Said>) -> Vec<Said> {
    let mut heard = Vec::new();
    while heard.len() < lines {
        let line = legacy.line();
        if line == "PING" {
            legacy.send("PONG");
        }
        heard.extend(said(&line).map(|(from, text)| {
            // A guest of before the restart is another one to the broker, and told apart where names are unique.
            let is_anew = matches!(&*from, "mchat~2" | "mchat_2");
            (if is_anew { "mchat".into() } else { from }, text)
        }));
    }
    heard
}

fn pair(text: &str, between: &str) -> Option<Said> {
    text.split_once(between).map(|(from, text)| (from.to_owned(), text.to_owned()))
}

fn telnet_said(line: &str) -> Option<Said> {
    pair(line.strip_prefix("@mess #broadcast ")?.strip_suffix('"')?, " \"")
}

fn mchat_said(line: &str) -> Option<Said> {
    pair(line.strip_prefix("MSG ")?, " Home ").filter(|(from, _)| from != "server")
}

fn helo_said(line: &str) -> Option<Said> {
    pair(line.strip_prefix("BCST [")?, "] ")
}

fn json_said(line: &str) -> Option<Said> {
    let object: Value = serde_json::from_str(line).expect("an object");
    if object["To"] != "room/Home" || object["Command"] != "msg" {
        return None;
    }
    let from = object["From"].as_str()?.strip_suffix("@localhost")?;
    let name = if from.starts_with("guest-") { object["Name"].as_str()? } else { from };
    Some((name.to_owned(), object["Message"].as_str()?.to_owned()))
}

/// Everybody has heard everybody else, in the order of the broker.
fn agree(heard: &[(&'static str, Vec<Said>)]) -> Vec<Said> {
    let (_, order) = &heard[0];
    for (way, lines) in heard {
        let mut expected = order.clone();
        // Telnet and MQTT show one's own lines, too.
        if !matches!(*way, "telnet" | "mqtt") {
            expected.retain(|(from, _)| from != way);
        }
        assert_eq!(*lines, expected, "what {way} has heard");
    }
    order.clone()
}

fn senders(lines: &[Said]) -> Vec<&str> {
    let mut senders: Vec<&str> = lines.iter().map(|(from, _)| from.as_str()).collect();
    senders.sort_unstable();
    senders
}

const EVERYBODY: [&str; 6] = ["helo", "json", "mchat", "mqtt", "rest", "telnet"];

/// "someone on telnet, someone on the mChat client, someone on the Java client, someone on the JSON protocol, a browser on the
/// REST interface and an MQTT client hold one conversation", also over a restart of the broker.
#[test]
fn six_people_hold_one_conversation_over_a_restart_of_the_broker() {
    // It comes back at the same port.
    let config = format!("[[listener]]\nname = \"mqtt\"\nbind = \"{}\"\n", free_address());
    let mut broker = Broker::with(Settings { config, ..Settings::default() });
    let bridge = Bridge::start(broker.address());
    run(async {
        let mut six = Six::enter(&broker, &bridge).await;
        six.speak("hello").await;
        let mut all = agree(&six.hear(6).await);
        assert_eq!(senders(&all), EVERYBODY);
        assert_eq!(six.conversation(), all);
        let note = http(six.rest, &six.token, "GET /me", "").1;
        assert_eq!(note, json!({"notification": "new_group_message", "group": "room/Home"}));
        broker.kill();
        // This is said when the broker is back.
        six.telnet.send("#broadcast meanwhile");
        broker.restart();
        while !matches!(six.events.next().await, Some(Event::Connected { .. })) {}
        six.speak("again").await;
        let more = agree(&six.hear(7).await);
        let (meanwhile, again): (Vec<Said>, Vec<Said>) =
            more.iter().cloned().partition(|(_, text)| text == "meanwhile");
        assert_eq!((senders(&meanwhile), senders(&again)), (vec!["telnet"], EVERYBODY.to_vec()));
        all.extend(more);
        assert_eq!(six.conversation(), all, "nothing is lost, and nothing doubled");
    });
}

/// Private messages go from each protocol that has them to each other.
#[test]
fn private_messages_cross_between_all_protocols() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    run(async {
        let mut six = Six::enter(&broker, &bridge).await;
        // Telnet to JSON.
        assert_eq!(six.telnet.ask("#sendto json \"psst json\""), "@status 0");
        let told: Value = serde_json::from_str(&six.json.line()).expect("an object");
        assert_eq!((&told["From"], &told["Message"]), (&json!("telnet@localhost"), &json!("psst json")));
        assert_eq!((&told["To"], &told["Type"]), (&json!("json@localhost"), &json!("PM")));
        // JSON to REST.
        let tell = |to: &str| {
            json!({"Command": "msg", "To": to, "Type": "PM", "Message": format!("psst {to}")}).to_string()
        };
        assert!(six.json.ask(&tell("rest")).contains("\"Status\":\"ok\""));
        let note = http(six.rest, &six.token, "GET /me", "").1;
        assert_eq!(note, json!({"notification": "new_private_message", "from": "json"}));
        let (_, page) = http(six.rest, &six.token, "GET /users/json/conversation", "");
        assert_eq!(page["messages"][0]["message"], "psst rest", "{page}");
        // REST to MQTT.
        let said =
            http(six.rest, &six.token, "POST /users/mqtt/conversation", "{\"message\": \"psst mqtt\"}");
        assert_eq!(said.0, 201, "{said:?}");
        assert_eq!(six.hear_mqtt(1).await, [("rest".into(), "psst mqtt".into())]);
        // MQTT to telnet.
        six.mqtt.tell("telnet", "psst telnet", None).await.expect("told");
        assert_eq!(six.telnet.line(), "@mess #sendto mqtt \"psst telnet\"");
        // To HELO, whose clients encrypt: the bridge asks for a key on behalf of who speaks.
        assert_eq!(six.telnet.ask("#sendto helo \"psst helo\""), "@status 0");
        let wanted = helo::line(&mut six.helo);
        assert!(wanted.starts_with("REQUEST_PUBLIC_KEY @telnet "), "{wanted}");
        // Nobody in the room has heard of any of it.
        assert_eq!(six.conversation(), []);
    });
}
