//! A disk that takes no more: a failed commit is final. Nothing is acknowledged after it, the process ends with an error,
//! and the next one has everything that was acknowledged.

use std::time::Duration;

use crate::harness::packet::{PUBACK, Packet};
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
