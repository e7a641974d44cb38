//! The bridge inside the broker: one program serves everything, and what goes wrong on one side does not hide on the other.

use crate::{
    harness::{Broker, Settings},
    legacy::{LIMIT, Legacy, connect_from, free_address},
    text::{heard, mqtt, run},
};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

fn with_bridge(config: &str) -> Broker {
    Broker::with(Settings { bridge: true, config: config.into(), ..Settings::default() })
}

fn telnet(broker: &Broker) -> Legacy {
    Legacy::connect(broker.address_of("text"), "\r\n")
}

/// Runs `katydid` until it ends by itself.
fn ended(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_katydid"));
    command.env_remove("KATYDID_TEST_BROKER").args(arguments).output().expect("the program runs")
}

#[test]
fn one_program_serves_every_protocol() {
    let broker = with_bridge("");
    let kinds: Vec<&str> = broker.listeners().iter().map(|(kind, _)| &**kind).collect();
    let (helo_files, others): (Vec<&str>, Vec<&str>) = kinds.iter().partition(|kind| **kind == "helo-files");
    assert_eq!(others, ["mqtt", "text", "mchat", "helo", "json", "rest"]);
    assert!(!helo_files.is_empty());
    let mut ann = telnet(&broker);
    assert_eq!(ann.ask("#login anon ann"), "@status 0");
    run(async {
        let (_carl, mut events) = mqtt(broker.address(), "carl").await;
        assert_eq!(ann.ask("#broadcast hello"), "@mess #broadcast ann \"hello\"");
        assert_eq!(heard(&mut events).await, ("ann".into(), "hello".into()));
    });
    assert_eq!(Legacy::connect(broker.address_of("helo"), "\n").line(), "HELO Welkom ");
    let mut json = Legacy::connect(broker.address_of("json"), "\n");
    let answer = json.ask("{\"Command\": \"ping\"}");
    assert!(answer.contains("\"Command\":\"ping\""), "{answer}");
    let mut rest = TcpStream::connect(broker.address_of("rest")).expect("it listens");
    rest.set_read_timeout(Some(LIMIT)).expect("a limit");
    rest.write_all(b"GET /me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("asked");
    let mut answer = String::new();
    rest.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

/// The way in is for nobody else, and gone at the end.
#[test]
fn the_way_in_is_a_socket_of_the_brokers_own() {
    let mut broker = with_bridge("");
    let socket = broker.data_folder().join("bridge.sock");
    let mode = fs::symlink_metadata(&socket).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // What a crash leaves behind is in nobody's way.
    broker.kill();
    assert!(socket.exists());
    broker.restart();
    assert_eq!(telnet(&broker).ask("#login anon ann"), "@status 0");
    assert!(broker.terminate().success());
    assert!(!socket.exists());
}

#[test]
fn without_a_data_folder_the_bridge_works_too() {
    let broker = with_bridge("[store]\npersistence = false\n");
    assert_eq!(telnet(&broker).ask("#login anon ann"), "@status 0");
}

/// "limits per address hit the user".
#[test]
fn a_limit_of_the_broker_for_an_address_hits_the_legacy_user() {
    let broker = Broker::with(Settings {
        bridge: true,
        arguments: &["--limits.connections-per-address", "2"],
        ..Settings::default()
    });
    let text = broker.address_of("text");
    let mut users: Vec<Legacy> = Vec::new();
    for (name, from, answer) in [
        ("ann", "127.0.0.1", "@status 0"),
        ("bob", "127.0.0.1", "@status 0"),
        ("carl", "127.0.0.1", "@status -1"),
        ("dora", "127.0.0.2", "@status 0"),
    ] {
        let mut user = Legacy::over(connect_from(from, text), "\r\n");
        let given = user.ask(&format!("#login anon {name}"));
        assert_eq!(given, answer, "{name} from {from}");
        users.push(user);
    }
}

/// "legacy users are told, then drained".
#[test]
fn legacy_users_are_told_of_the_end_and_what_they_said_last_is_kept() {
    let mut broker = with_bridge("");
    let (mut ann, mut bob) = (telnet(&broker), telnet(&broker));
    assert_eq!(ann.ask("#login anon ann"), "@status 0");
    let mut helo = Legacy::connect(broker.address_of("helo"), "\n");
    assert_eq!(helo.line(), "HELO Welkom ");
    let mut mchat = Legacy::connect(broker.address_of("mchat"), "\n");
    assert_eq!(mchat.ask("JOIN hall"), "SYSTEM hall NoName joined channel");
    assert_eq!(bob.ask("#whoami"), "@status 3500");
    ann.send("#createroom last");
    broker.ask_to_end();
    let goodbye = "@mess #sendto katydid \"you are signed out: the server is shutting down\"";
    ann.line_past(goodbye, |line| line == "@status 0");
    assert_eq!(helo.line(), "-ERR you are signed out: the server is shutting down");
    assert!(mchat.line().ends_with("you are disconnected: the server is shutting down"));
    for legacy in [&mut ann, &mut bob, &mut helo, &mut mchat] {
        assert_eq!(legacy.rest(), "", "nothing follows but the end");
    }
    assert!(broker.wait_for_end().success());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let bind = taken.local_addr().expect("an address").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("a path in UTF-8");
    let mut arguments = vec!["-p", "0", "--data-dir", data, "--bridge.json.listener.bind", &bind];
    let others = ["text", "mchat", "helo", "rest"].map(|name| format!("--bridge.{name}.listener.on=false"));
    arguments.extend(others.iter().map(String::as_str));
    let output = ended(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains(&format!("listener \"json\" of the bridge cannot listen on {bind}")), "{log}");
    assert!(output.stdout.is_empty(), "nothing is said to listen");
}

/// `-p` opens nothing else, so that many brokers run beside each other.
#[test]
fn a_port_for_mqtt_alone_opens_no_bridge() {
    let broker = Broker::start();
    assert_eq!(broker.listeners().len(), 1);
    assert!(!broker.data_folder().join("bridge.sock").exists());
    let other = free_address().to_string();
    let output =
        ended(&["--check-config", "--bridge.text.listener.bind", &other, "--bridge.text.listener.idle", "x"]);
    let problem = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(problem.starts_with("katydid: command line: bridge.text.listener.idle: \"x\""), "{problem}");
}
