//! SIGTERM: every kind of client is told, wills are published, everything is on disk, and the broker ends well.

use std::net::TcpStream;

use super::certificates::Authority;
use super::local::{UNIX, on_unix};
use super::tls;
use crate::harness::stream::Web;
use crate::harness::{Broker, Connect, Publish, RawClient, Settings, V3, V5, packet};

const DOORS: &str = "\
[[listener]]
name = \"plain\"
bind = \"127.0.0.1:0\"
[[listener]]
name = \"web\"
bind = \"127.0.0.1:0\"
protocol = \"ws\"
";

#[test]
fn clients_of_every_door_are_told() {
    let authority = Authority::new("authority");
    let config = format!("{DOORS}{UNIX}{}", tls::LISTENER);
    let files = tls::files(&authority.server());
    let mut broker = Broker::with(Settings { config, files, ..Settings::default() });
    let mut clients = Vec::new();
    for version in [V3, V5] {
        // More than one of each, so that every shard has some.
        for index in 0..4 {
            let name = |door: &str| format!("{door}{index}{}", version.level());
            clients.push(broker.client(version, &name("plain")));
            clients.push(on_unix(&broker, version, &name("unix")));
            let connect = Connect::new(version, &name("tls"));
            clients.push(tls::connect(&broker, &authority.trusted_by(None), &connect));
            let socket = TcpStream::connect(broker.address_of("ws")).expect("the broker accepts");
            let web = Web::open(socket, "/mqtt", Some("mqtt")).expect("an upgrade");
            let mut client = RawClient::new(web, version);
            client.send(&Connect::new(version, &name("web")).bytes());
            assert_eq!(client.expect_connack().code, 0);
            clients.push(client);
        }
    }
    // One that has not said who it is, and one in the middle of a packet.
    let mut silent = broker.open(V5);
    clients[0].send(&[0x30, 0x10, 0x00]);
    broker.ask_to_end();
    for mut client in clients {
        client.expect_refused(0x8B);
    }
    silent.expect_closed();
    assert!(broker.wait_for_end().success());
    let log = broker.log();
    assert!(log.contains("everything is on disk"), "{log}");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "an orderly end is no trouble:\n{log}");
}

#[test]
fn everything_is_on_disk() {
    // A sync that takes its time, so that much is on its way when the signal comes.
    let settings = Settings { arguments: &["--store.sync-delay", "100ms"], ..Settings::default() };
    let mut broker = Broker::with(settings);
    let mut sleeper = broker.connect(&Connect::lasting(V5, "sleeper"));
    sleeper.subscribe("wills/+", 1);
    sleeper.subscribe("plain", 1);
    sleeper.disconnect();
    let will = Publish::new("wills/ann", "gone").will_qos(1).retained();
    let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann").will(will));
    ann.publish("room/x/msg/ann", "first", 1);
    ann.publish("plain", "kept", 1);
    // Not acknowledged when the signal comes; what is received is kept all the same.
    for index in 0..20 {
        let publish = Publish::new("room/x/msg/ann", format!("late {index}"));
        ann.send_publish(&publish.qos1(1000 + index));
    }
    ann.send(&packet::frame(packet::PINGREQ, &[]));
    while ann.expect_packet() != packet::Packet::PingResp {}
    assert!(broker.terminate().success());
    broker.restart();
    let mut late = broker.client(V5, "late");
    late.subscribe("$since/0/room/x/msg/+", 0);
    late.expect_message("first");
    for index in 0..20 {
        late.expect_message(&format!("late {index}"));
    }
    late.subscribe("wills/+", 0);
    late.expect_message("gone");
    let (mut sleeper, ack) = broker.connect_with_ack(&Connect::lasting(V5, "sleeper"));
    assert!(ack.session_present);
    sleeper.expect_and_acknowledge("kept");
    sleeper.expect_and_acknowledge("gone");
    sleeper.expect_quiet();
}

#[test]
fn what_was_kept_is_found_with_another_number_of_shards() {
    let shards = [&["--threads.shards", "3"][..], &["--threads.shards", "1"], &["--threads.shards", "4"]];
    let mut broker = Broker::with(Settings { arguments: shards[0], ..Settings::default() });
    let names: Vec<String> = (0..6).map(|index| format!("sleeper{index}")).collect();
    for name in &names {
        let mut sleeper = broker.connect(&Connect::lasting(V5, name));
        sleeper.subscribe("plain/+", 1);
        sleeper.subscribe("room/a/msg/+", 1);
        sleeper.subscribe("room/b/msg/+", 1);
        sleeper.disconnect();
    }
    let topics = ["plain/1", "plain/2", "room/a/msg/ann", "room/b/msg/ann"];
    for (round, next) in shards.iter().cycle().skip(1).take(4).enumerate() {
        let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
        for topic in topics {
            ann.publish(topic, &format!("{topic} {round}"), 1);
        }
        ann.retain("kept", &round.to_string(), 1);
        // In order, and without.
        if round % 2 == 0 {
            assert!(broker.terminate().success());
        } else {
            broker.kill();
        }
        broker.restart_with(next);
        for name in &names {
            let (mut sleeper, ack) = broker.connect_with_ack(&Connect::lasting(V5, name));
            assert!(ack.session_present, "{name} in round {round}");
            let mut heard: Vec<String> = Vec::new();
            for _ in topics {
                let publish = sleeper.expect_publish();
                sleeper.acknowledge(&publish);
                heard.push(publish.text());
            }
            heard.sort_unstable();
            assert_eq!(heard, topics.map(|topic| format!("{topic} {round}")), "{name}");
            sleeper.expect_quiet();
            sleeper.disconnect();
        }
        let mut late = broker.client(V5, "late");
        late.subscribe("kept", 0);
        late.expect_message(&round.to_string());
        late.subscribe("$since/0/room/a/msg/+", 0);
        for number in 0..=round {
            late.expect_message(&format!("room/a/msg/ann {number}"));
        }
    }
}
