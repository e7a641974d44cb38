//! A disk that takes no more: a failed commit is final. Nothing is acknowledged after it, the process ends with an error,
//! and the next one has everything that was acknowledged.

use std::time::Duration;

use crate::harness::packet::{self, PUBACK, Packet};
use crate::harness::{Broker, Connect, Publish, Read, Settings, V5};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_commit_that_fails_is_the_last() {
    let mut broker = Broker::with(Settings { file_kib: Some(12 << 10), ..Settings::default() });
    let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
    let padding = "x".repeat(50_000);
    let mut acknowledged = 0;
    loop {
        let publish = Publish::new("room/x/msg/ann", format!("{acknowledged} {padding}")).qos1(1);
        if ann.try_send(&publish.bytes(V5)).is_err() {
            break;
        }
        match ann.read_within(LIMIT) {
            Read::Packet(Packet::Ack(ack)) if (ack.kind, ack.reason) == (PUBACK, 0) => acknowledged += 1,
            Read::Closed => break,
            other => panic!("{other:?} after {acknowledged} messages"),
        }
        assert!(acknowledged < 2_000, "the disk is never full");
    }
    let status = broker.wait_for_end();
    assert_eq!(status.code(), Some(1), "{status}");
    assert!(acknowledged > 10, "{acknowledged} messages are no load");
    broker.restart();
    let mut reader = broker.client(V5, "reader");
    reader.subscribe("$since/0/room/x/msg/+", 0);
    for expected in 0..acknowledged {
        let text = reader.expect_publish().text();
        assert_eq!(text.split(' ').next(), Some(&*expected.to_string()));
    }
}

/// Subscriptions that outlive their connection are stored before SUBACK, and no SUBACK lies.
#[test]
fn a_subscription_that_cannot_be_stored_is_not_acknowledged() {
    let mut broker = Broker::with(Settings { file_kib: Some(12 << 10), ..Settings::default() });
    let mut client = broker.connect(&Connect::lasting(V5, "greedy"));
    let mut granted: Vec<Vec<String>> = Vec::new();
    loop {
        let id = client.fresh_id();
        let filters: Vec<String> = (0..16).map(|at| format!("{id}/{at}/{}", "x".repeat(4_000))).collect();
        let list: Vec<(&str, u8)> = filters.iter().map(|filter| (&**filter, 1)).collect();
        if client.try_send(&packet::subscribe(V5, id, &list, &[])).is_err() {
            break;
        }
        match client.read_within(LIMIT) {
            Read::Packet(Packet::SubAck { codes, .. }) => assert_eq!(codes, [1; 16]),
            Read::Closed => break,
            other => panic!("{other:?} after {} packets", granted.len()),
        }
        granted.push(filters);
        assert!(granted.len() < 500, "the disk is never full");
    }
    assert_eq!(broker.wait_for_end().code(), Some(1));
    assert!(broker.log().contains("ERROR"), "{}", broker.log());
    assert!(granted.len() > 10, "{} packets are no load", granted.len());
    broker.restart();
    let (mut client, ack) = broker.connect_with_ack(&Connect::lasting(V5, "greedy"));
    assert!(ack.session_present);
    for filters in granted {
        let list: Vec<&str> = filters.iter().map(String::as_str).collect();
        assert_eq!(client.unsubscribe(&list), [0; 16], "each was there");
    }
}

/// A disk that is full from the start: said, and no broker.
#[test]
fn a_database_that_cannot_be_made_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = std::process::Command::new("bash");
    command.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "full"]).arg(env!("CARGO_BIN_EXE_katydid"));
    command.env_remove("KATYDID_TEST_BROKER").args(["--listen-address", "127.0.0.1", "-p", "0"]);
    let output = command.arg("--data-dir").arg(folder.path()).output().expect("the broker starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(folder.path().to_str().expect("text")), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}
