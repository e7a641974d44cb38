//! The `#` protocol.

use crate::{
    harness::{Broker, Settings},
    legacy::{Bridge, LIMIT, Legacy, free_address},
};
use katydid_sdk::{Client, Event, Events, Options, Place, Replay};
use std::net::SocketAddr;

fn telnet(bridge: &Bridge) -> Legacy {
    Legacy::connect(bridge.text, "\r\n")
}

fn signed_in(bridge: &Bridge, name: &str) -> Legacy {
    let mut legacy = telnet(bridge);
    assert_eq!(legacy.ask(&format!("#login anon {name}")), "@status 0");
    legacy
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(LIMIT, future).await.expect("in time") })
}

pub(crate) async fn mqtt(broker: SocketAddr, name: &str) -> (Client, Events) {
    let address = broker.to_string().parse().expect("an address");
    let (client, events) = Client::connect(Options::new(address).user(name)).await.expect("signed in");
    client.join(&home(), Replay::Live).await.expect("joined");
    (client, events)
}

pub(crate) fn home() -> Place {
    Place::room("Home").expect("a name")
}

pub(crate) async fn heard(events: &mut Events) -> (String, String) {
    loop {
        if let Event::Message(message) = events.next().await.expect("an event") {
            return (message.from.clone(), message.text().into_owned());
        }
    }
}

/// `#broadcast`, "return to all users in users current room".
#[test]
fn telnet_and_mqtt_speak_in_one_room() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let (mut ann, mut bob) = (signed_in(&bridge, "ann"), signed_in(&bridge, "bob"));
    run(async {
        let (carl, mut events) = mqtt(broker.address(), "carl").await;
        let said = "@mess #broadcast ann \"he said \\\"no\\\"\"";
        assert_eq!(ann.ask("#broadcast \"he said \\\"no\\\"\""), said);
        assert_eq!(bob.line(), said);
        assert_eq!(heard(&mut events).await, ("ann".into(), "he said \"no\"".into()));
        carl.say(&home(), "hello\r\n@status 0", None).await.expect("said");
        for legacy in [&mut ann, &mut bob] {
            assert_eq!(legacy.line(), "@mess #broadcast carl \"hello\"");
            assert_eq!(legacy.line(), "@mess #broadcast carl \"@status 0\"");
        }
        carl.tell("ann", "psst", None).await.expect("told");
        assert_eq!(ann.line(), "@mess #sendto carl \"psst\"");
    });
    assert_eq!(bob.ask("#sendto ann \"hi\""), "@status 0");
    assert_eq!(ann.line(), "@mess #sendto bob \"hi\"");
    assert_eq!(ann.ask("#sendto nobody \"hi\""), "@status -3");
}

/// "Login commands".
#[test]
fn accounts_are_made_used_changed_and_removed() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let mut ann = signed_in(&bridge, "ann");
    assert_eq!(telnet(&bridge).ask("#whoami"), "@status 3500");
    assert_eq!(ann.ask("#rmlogin"), "@status 3501");
    assert_eq!(ann.ask("#createlogin dora sesame \"Dora Dean\" dora@example.org"), "@status 0");
    assert_eq!(ann.ask("#createlogin dora other \"Dora Dean\" dora@example.org"), "@status 3004");
    let mut dora = telnet(&bridge);
    assert_eq!(dora.ask("#login anon dora"), "@status 3004");
    assert_eq!(dora.ask("#login regd dora wrong"), "@status 3002");
    assert_eq!(dora.ask("#login regd nobody sesame"), "@status 3001");
    assert_eq!(dora.ask("#login regd dora sesame"), "@status 0");
    assert_eq!(dora.ask("#whoami"), "@ret #whoami dora Home 2 - 0");
    assert_eq!(dora.ask("#changepass open wrong"), "@status 3002");
    assert_eq!(dora.ask("#changepass open sesame"), "@status 0");
    let mut again = telnet(&bridge);
    assert_eq!(again.ask("#login regd dora sesame"), "@status 3002");
    assert_eq!(again.ask("#login regd dora open"), "@status 0");
    assert_eq!(again.ask("#rmlogin"), "@status 0");
    assert_eq!(telnet(&bridge).ask("#login regd dora open"), "@status 3001");
}

/// "Room related commands".
#[test]
fn rooms_are_made_listed_entered_and_removed() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let (mut ann, mut bob) = (signed_in(&bridge, "ann"), signed_in(&bridge, "bob"));
    assert_eq!(ann.ask("#createroom den"), "@status 0");
    assert_eq!(bob.ask("#createroom den"), "@status 3102");
    assert_eq!(ann.ask("#createroom vault secret"), "@status 0");
    assert_eq!(ann.ask("#listrooms"), "@ret #listrooms 3");
    let mut rows = [ann.line(), ann.line(), ann.line()];
    rows.sort();
    assert_eq!(rows[0], "Home katydid 2 0 pub anon");
    assert!(rows[1].starts_with("den ann 0 ") && rows[1].ends_with(" pub anon"), "{rows:?}");
    assert!(rows[2].starts_with("vault ann 0 ") && rows[2].ends_with(" priv anon"), "{rows:?}");
    assert_eq!(bob.ask("#changeroom nowhere"), "@status 3100");
    assert_eq!(bob.ask("#changeroom vault"), "@status 3101");
    assert_eq!(bob.ask("#changeroom vault wrong"), "@status 3101");
    assert_eq!(bob.ask("#changeroom vault secret"), "@status 0");
    assert_eq!(bob.ask("#whoami"), "@ret #whoami bob vault 1 - 0");
    assert_eq!(bob.ask("#listusers"), "@ret #listusers 1");
    assert_eq!(bob.line(), "bob anon");
    // What is said in one room is not heard in another.
    assert_eq!(ann.ask("#broadcast \"in Home\""), "@mess #broadcast ann \"in Home\"");
    assert_eq!(bob.ask("#broadcast \"in the vault\""), "@mess #broadcast bob \"in the vault\"");
    assert_eq!(bob.ask("#rmroom den"), "@status 3103");
    assert_eq!(ann.ask("#rmroom vault"), "@status -5");
    assert_eq!(ann.ask("#rmroom den"), "@status 0");
    assert_eq!(bob.ask("#changeroom den"), "@status 3100");
}

/// "Message Posting Related Commands".
#[test]
fn groups_hold_messages_with_answers() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let (mut ann, mut bob) = (signed_in(&bridge, "ann"), signed_in(&bridge, "bob"));
    assert_eq!(ann.ask("#listmessages"), "@status 3200");
    assert_eq!(ann.ask("#creategroup news \"\" anon"), "@status 0");
    assert_eq!(ann.ask("#creategroup plot secret anon 600"), "@status 0");
    assert_eq!(bob.ask("#joingroup nowhere"), "@status -3");
    assert_eq!(bob.ask("#joingroup plot wrong"), "@status 3201");
    assert_eq!(bob.ask("#joingroup news"), "@status 0");
    let whoami = bob.ask("#whoami");
    assert!(whoami.starts_with("@ret #whoami bob Home 2 news "), "{whoami}");
    ann.send("#joingroup news");
    assert_eq!(ann.line(), "@status 0");
    ann.send("#postmessage \"hello all\" 0 2 600");
    ann.send("#rmlogin");
    assert_eq!(ann.ask("second line"), "@status 0");
    bob.send("#postmessage re 1");
    assert_eq!(bob.ask("an answer"), "@status 0");
    assert_eq!(ann.ask("#listmessages"), "@ret #listmessages 2");
    let row = ann.line();
    assert!(row.starts_with("\"hello all\" ann 1 0 1 "), "{row}");
    assert_eq!(ann.line(), "re bob 2 1 0 0");
    assert_eq!(bob.ask("#listmessages 1"), "@ret #listmessages 1");
    assert_eq!(bob.line(), "re bob 2 1 0 0");
    let head = bob.ask("#getmessage 1");
    assert!(head.starts_with("@ret #getmessage \"hello all\" 2 1 0 1 "), "{head}");
    assert_eq!((bob.line(), bob.line()), ("#rmlogin".into(), "second line".into()));
    assert_eq!(bob.ask("#getmessage 9"), "@status -3");
    assert_eq!(bob.ask("#leavegroup"), "@status 0");
    assert_eq!(bob.ask("#listmessages"), "@status 3200");
}

/// "Status commands".
#[test]
fn status_numbers_change_with_what_they_count() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let mut ann = signed_in(&bridge, "ann");
    let rooms = ann.ask("#archstatus");
    assert_eq!(ann.ask("#archstatus"), rooms);
    let users = ann.ask("#userstatus");
    let _bob = signed_in(&bridge, "bob");
    assert_ne!(ann.ask("#userstatus"), users);
    assert_eq!(ann.ask("#createroom den"), "@status 0");
    assert_ne!(ann.ask("#archstatus"), rooms);
    let groups = ann.ask("#groupstatus");
    assert_eq!(ann.ask("#creategroup news \"\" anon"), "@status 0");
    assert_ne!(ann.ask("#groupstatus"), groups);
}

/// Nobody is disconnected when the broker restarts, and what is said afterwards is heard once.
#[test]
fn a_restart_of_the_broker_is_told_and_survived() {
    // It comes back at the same port.
    let config = format!("[[listener]]\nname = \"mqtt\"\nbind = \"{}\"\n", free_address());
    let mut broker = Broker::with(Settings { config, ..Settings::default() });
    let bridge = Bridge::start(broker.address());
    let (mut ann, mut bob) = (signed_in(&bridge, "ann"), signed_in(&bridge, "bob"));
    assert_eq!(ann.ask("#broadcast \"before\""), "@mess #broadcast ann \"before\"");
    assert_eq!(bob.line(), "@mess #broadcast ann \"before\"");
    broker.kill();
    broker.restart();
    let is_told = |line: &str| line.starts_with("@mess #sendto katydid \"the server is ");
    for legacy in [&mut ann, &mut bob] {
        legacy.line_past("@mess #sendto katydid \"the server is back\"", is_told);
    }
    ann.send("#broadcast \"after\"");
    ann.line_past("@mess #broadcast ann \"after\"", is_told);
    bob.line_past("@mess #broadcast ann \"after\"", is_told);
    assert_eq!(bob.ask("#help").split(' ').nth(1), Some("#help"));
}

/// Notes: "the buffer shall max out and the server shall disconnect you with a warning message".
#[test]
fn bad_input_hurts_nobody_else() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let mut ann = signed_in(&bridge, "ann");
    let mut long = telnet(&bridge);
    let warning = long.ask(&"x".repeat(1001));
    assert_eq!(warning, "@mess #sendto katydid \"a line of more than 1000 bytes: disconnected\"");
    let mut half = telnet(&bridge);
    half.send("\u{ff}\u{0}rubbish");
    assert_eq!(ann.ask("#broadcast \"still here\""), "@mess #broadcast ann \"still here\"");
}
