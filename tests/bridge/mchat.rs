//! mChat's clients and servers.

use crate::{
    harness::{Broker, Settings},
    legacy::{Bridge, Legacy, free_address},
    text::{heard, home, mqtt, run},
};
use katydid_sdk::Client;

fn client(bridge: &Bridge, nick: &str) -> Legacy {
    let mut legacy = Legacy::connect(bridge.mchat, "\n");
    legacy.send(&format!("NICK {nick}"));
    legacy.send("JOIN Home");
    line(&mut legacy, &format!("SYSTEM Home {nick} joined channel"));
    legacy
}

/// A line, past those that tell who comes.
fn line(legacy: &mut Legacy, wanted: &str) {
    legacy.line_past(wanted, |line| line.ends_with(" joined channel"));
}

async fn said(client: &Client, text: &str) {
    client.say(&home(), text.to_owned(), None).await.expect("said");
}

/// Section 4, "Server-to-Client communication", with people of three protocols in one room.
#[test]
fn mchat_telnet_and_mqtt_speak_in_one_room() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let (mut zed, mut yan) = (client(&bridge, "zed"), client(&bridge, "yan"));
    line(&mut zed, "SYSTEM Home yan joined channel");
    let mut ann = Legacy::connect(bridge.text, "\r\n");
    assert_eq!(ann.ask("#login anon ann"), "@status 0");
    run(async {
        let (carl, mut events) = mqtt(broker.address(), "carl").await;
        zed.send("MSG zed Home hello  all ");
        line(&mut yan, "MSG zed Home hello  all ");
        assert_eq!(ann.line(), "@mess #broadcast zed \"hello  all \"");
        let (from, text) = heard(&mut events).await;
        assert!(from.starts_with("guest-") && text == "hello  all ", "{from}: {text}");
        assert_eq!(ann.ask("#broadcast \"hi zed\""), "@mess #broadcast ann \"hi zed\"");
        line(&mut zed, "MSG ann Home hi zed");
        line(&mut yan, "MSG ann Home hi zed");
        said(&carl, "one\nSYSTEM Home two").await;
        for legacy in [&mut zed, &mut yan] {
            line(legacy, "MSG carl Home one");
            line(legacy, "MSG carl Home SYSTEM Home two");
        }
    });
    // A nick that is somebody's user name is marked elsewhere.
    zed.send("MSG ann Home not ann");
    line(&mut zed, "SYSTEM Home zed changed nickname to ann");
    line(&mut yan, "SYSTEM Home zed changed nickname to ann");
    line(&mut yan, "MSG ann Home not ann");
    ann.line_past("@mess #broadcast ann~ \"not ann\"", |line| line.starts_with("@mess #broadcast carl "));
    yan.send("PART Home");
    line(&mut zed, "SYSTEM Home yan left channel");
}

/// A guest whom the broker has forgotten is another guest to it, and the same to everybody here.
#[test]
fn a_restart_of_the_broker_is_told_and_survived() {
    // It comes back at the same port.
    let config = format!("[[listener]]\nname = \"mqtt\"\nbind = \"{}\"\n", free_address());
    let mut broker = Broker::with(Settings { config, ..Settings::default() });
    let bridge = Bridge::start(broker.address());
    let (mut zed, mut yan) = (client(&bridge, "zed"), client(&bridge, "yan"));
    broker.kill();
    broker.restart();
    let passes = |line: &str| line.starts_with("SYSTEM Home ");
    for legacy in [&mut zed, &mut yan] {
        legacy.line_past("SYSTEM Home the server behind this one is back", passes);
    }
    zed.send("MSG zed Home after");
    yan.line_past("MSG zed Home after", passes);
    yan.send("MSG yan Home me too");
    // What one says oneself does not come back.
    zed.line_past("MSG yan Home me too", passes);
}

/// Section 5, "Client": a private room is one whose name nobody guesses, and so nobody may see it listed.
#[test]
fn a_private_room_is_seen_by_those_who_know_its_name_only() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let (mut zed, mut yan) = (client(&bridge, "zed"), client(&bridge, "yan"));
    let room = "2aae6c35c94fcfb415dbe95f408b9ce91ee846ed";
    line(&mut zed, "SYSTEM Home yan joined channel");
    for (legacy, nick) in [(&mut zed, "zed"), (&mut yan, "yan")] {
        legacy.send(&format!("JOIN {room}"));
        assert_eq!(legacy.line(), format!("SYSTEM {room} {nick} joined channel"));
    }
    yan.send(&format!("MSG yan {room} psst"));
    line(&mut zed, &format!("MSG yan {room} psst"));
    let mut ann = Legacy::connect(bridge.text, "\r\n");
    assert_eq!(ann.ask("#login anon ann"), "@status 0");
    assert_eq!(ann.ask("#listrooms"), "@ret #listrooms 1");
    assert!(ann.line().starts_with("Home "));
}

/// Section 4, "Server-to-Server communication".
#[test]
fn a_legacy_server_joins_the_mesh() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let mut zed = client(&bridge, "zed");
    let mut server = Legacy::connect(bridge.mesh, "\n");
    assert_eq!(server.line(), "ALL_ADDRS");
    server.send("MY_ADDR 192.0.2.1 6062");
    server.send("HEART");
    line(&mut server, "BLEED");
    run(async {
        let (carl, mut events) = mqtt(broker.address(), "carl").await;
        server.send("MSG far Home from afar");
        line(&mut zed, "MSG far Home from afar");
        let (from, text) = heard(&mut events).await;
        assert!(from.starts_with("guest-") && text == "from afar", "{from}: {text}");
        said(&carl, "to afar").await;
        line(&mut server, "MSG carl Home to afar");
        line(&mut zed, "MSG carl Home to afar");
        zed.send("MSG zed Home from here");
        line(&mut server, "MSG zed Home from here");
        assert_eq!(heard(&mut events).await.1, "to afar");
    });
    server.send("SYSTEM Home far left channel");
    line(&mut zed, "SYSTEM Home far left channel");
}

/// The document's tester (section 6): a line that never ends, and many newlines.
#[test]
fn the_documents_tester_hurts_nobody() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let mut zed = client(&bridge, "zed");
    let mut endless = Legacy::connect(bridge.mchat, "");
    endless.send(&"-".repeat(10_000));
    for _ in 0..2 {
        Legacy::connect(bridge.mchat, "").send(&"\n".repeat(4096));
    }
    zed.send("HEART");
    line(&mut zed, "BLEED");
    endless.send("\nHEART\n");
    let mut endless = endless.with_end("\n");
    line(&mut endless, "BLEED");
}
