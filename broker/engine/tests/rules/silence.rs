//! Clients that say nothing any more.

use crate::rig::{Got, Link, Rig};
use katydid_engine::Settings;
use katydid_mqtt::packet::Version;

/// The beginning of a PUBLISH.
const HALF: [u8; 6] = [0x30, 100, 0, 3, b'a', b'/'];

fn connect(rig: &mut Rig, version: Version) -> Link {
    let link = rig.connect(version, "ann", true, 0);
    rig.settle();
    rig.got(link);
    link
}

/// Half a packet is not waited for without end, although the client has no keep alive. One that is slow is waited for.
#[test]
fn half_a_packet_for_ever_ends_its_connection() {
    for version in [Version::V4, Version::V5] {
        let mut rig = Rig::new(1, Settings::default());
        let link = connect(&mut rig, version);
        rig.send(link, &HALF);
        for _ in 0..10 {
            rig.pass_ms(40_000);
            rig.send(link, b"x");
        }
        rig.pass_ms(59_999);
        assert!(!rig.is_closed(link));
        rig.pass_ms(1);
        assert!(rig.is_closed(link));
        let told = if version == Version::V5 { vec![Got::Disconnect(0x8D)] } else { vec![] };
        assert_eq!(rig.got(link), told);
        assert_eq!(rig.engines[0].counters().keep_alive_timeouts, 1);
        assert!(rig.engines[0].poll_warning().is_some() && rig.engines[0].poll_warning().is_none());
    }
}

/// Who sends whole packets only may be silent for ever without a keep alive.
#[test]
fn a_client_without_keep_alive_may_be_silent() {
    let mut rig = Rig::new(1, Settings::default());
    let link = connect(&mut rig, Version::V4);
    rig.send(link, &HALF[..1]);
    rig.send(link, &[3, 0, 1, b'a']);
    for _ in 0..100 {
        rig.pass_ms(3_600_000);
    }
    assert!(!rig.is_closed(link));
    assert_eq!(rig.got(link), []);
    assert!(rig.engines[0].poll_warning().is_none());
}
