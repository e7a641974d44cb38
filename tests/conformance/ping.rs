//! PINGREQ and PINGRESP (chapter 3.12).

use crate::harness::packet::{PINGREQ, Packet, frame};
use crate::harness::{Broker, V3, V5};

/// [MQTT-3.12.4-1]; 3.1.1 [MQTT-3.12.4-1]: each PINGREQ is answered with one PINGRESP.
#[test]
fn each_pingreq_is_answered() {
    let broker = Broker::start();
    for version in [V3, V5] {
        let mut client = broker.client(version, "pinging");
        client.send(&frame(PINGREQ, &[]).repeat(20));
        for _ in 0..20 {
            assert_eq!(client.expect_packet(), Packet::PingResp);
        }
        client.expect_quiet();
    }
}
