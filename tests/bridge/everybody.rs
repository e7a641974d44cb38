//! One conversation of people on all protocols.

use crate::{
    harness::Broker,
    json::Json,
    legacy::{Bridge, Legacy},
    rest::Rest,
    text::{heard, home, mqtt, run},
};
use serde_json::{Value, json};

/// Somebody on telnet, on the mChat client, on the Java client, on the JSON protocol, a browser and an MQTT client: what one
/// says in Home, each of the others hears once.
#[test]
fn six_people_on_six_protocols_hold_one_conversation() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let mut telnet = Legacy::connect(bridge.text, "\r\n");
    assert_eq!(telnet.ask("#login anon tess"), "@status 0");
    let mut mchat = Legacy::connect(bridge.mchat, "\n");
    mchat.send("NICK mia");
    mchat.send("JOIN Home");
    mchat.line_past("SYSTEM Home mia joined channel", |_| false);
    let mut helo = Legacy::connect(bridge.helo, "\n");
    assert_eq!(helo.line(), "HELO Welkom ");
    assert_eq!(helo.ask("HELO hal"), "+OK HELO hal");
    let mut json = Json::signed_in(&bridge, "joe");
    assert_eq!(json.ask(&json!({"Command": "invite", "To": "joe", "Group": "room/Home"}))["Status"], "ok");
    let rest = Rest::signed_in(&bridge, "ria");
    assert_eq!(rest.ask("POST", "/Groups/room%2FHome", &json!({"userId": rest.id})).0, 200);
    run(async {
        let (carl, mut events) = mqtt(broker.address(), "carl").await;
        let is_notice = |line: &str| line.starts_with("SYSTEM Home ") || line == "PING";
        for (at, speaker) in ["tess", "mia", "hal", "joe", "ria", "carl"].into_iter().enumerate() {
            let text = format!("it is {speaker}'s turn");
            match speaker {
                "tess" => telnet.send(&format!("#broadcast \"{text}\"")),
                "mia" => mchat.send(&format!("MSG mia Home {text}")),
                "hal" => helo.send(&format!("BCST {text}")),
                "joe" => {
                    let said = json!({"Command": "msg", "To": "room/Home", "Type": "group-message", "Message": text});
                    assert_eq!(json.ask(&said)["Status"], "ok");
                }
                "ria" => {
                    let said = json!({"userId": rest.id, "message": text});
                    assert_eq!(rest.ask("POST", "/Groups/room%2FHome/conversation", &said).0, 201);
                }
                _ => carl.say(&home(), text.clone(), None).await.map(drop).expect("said"),
            }
            telnet.line_past(&format!("@mess #broadcast {speaker} \"{text}\""), |_| false);
            if speaker != "mia" {
                mchat.line_past(&format!("MSG {speaker} Home {text}"), is_notice);
            }
            let heard_there = if speaker == "hal" {
                format!("+OK BCST {text}")
            } else {
                format!("BCST [{speaker}] {text}")
            };
            helo.line_past(&heard_there, is_notice);
            if speaker != "joe" {
                let said = json.next("msg");
                assert_eq!((&said["To"], &said["Message"]), (&json!("room/Home"), &json!(text)));
            }
            if speaker != "ria" {
                assert_eq!(rest.poll(), json!({"notification": "new_group_message", "group": "room/Home"}));
            }
            let (_, page) = rest.ask("GET", "/Groups/room%2FHome/conversation", &Value::Null);
            let messages = page["messages"].as_array().expect("messages");
            assert_eq!((messages.len(), &messages[at]["message"]), (at + 1, &json!(text)));
            if speaker != "carl" {
                assert_eq!(heard(&mut events).await.1, text);
            }
        }
    });
}
