//! CONNECT and what has to be on disk before it is answered.

use crate::rig::{Got, Rig};
use katydid_engine::{Settings, Verdict, settings::Credentials};
use katydid_mqtt::packet::{QoS, Version};
use std::{collections::HashMap, sync::Arc};

/// A session that was said to be gone must not come back after a power cut [MQTT-3.2.2-2].
#[test]
fn a_clean_start_is_answered_when_the_stored_session_is_off_the_disk() {
    for version in [Version::V4, Version::V5] {
        let mut rig = Rig::new(2, Settings::default());
        let before = rig.connect(version, "ann", false, 1000);
        rig.subscribe(before, 1, "a/b", QoS::AtLeastOnce);
        rig.settle();
        assert_eq!(rig.got(before).len(), 2, "CONNACK and SUBACK");
        rig.cut(before);
        rig.settle();
        let after = rig.connect(version, "ann", true, 1000);
        rig.talk();
        assert_eq!(rig.got(after), []);
        rig.settle();
        assert_eq!(rig.got(after), [Got::ConnAck { session_present: false }]);
    }
}

/// The same when the new connection takes the session over.
#[test]
fn a_clean_start_that_takes_over_is_answered_when_the_stored_session_is_off_the_disk() {
    let mut rig = Rig::new(2, Settings::default());
    let before = rig.connect(Version::V5, "ann", false, 1000);
    rig.settle();
    let after = rig.connect(Version::V5, "ann", true, 0);
    rig.talk();
    assert_eq!(rig.got(before).last(), Some(&Got::Disconnect(0x8E)));
    assert_eq!(rig.got(after), []);
    rig.settle();
    assert_eq!(rig.got(after), [Got::ConnAck { session_present: false }]);
}

/// Of two connections that wait for the disk the newer one enters, and the older one is not answered [MQTT-3.1.4-3].
#[test]
fn the_newest_connection_enters() {
    let mut rig = Rig::new(1, Settings::default());
    let before = rig.connect(Version::V5, "ann", false, 1000);
    rig.settle();
    rig.cut(before);
    rig.settle();
    let older = rig.connect(Version::V5, "ann", true, 1000);
    rig.tick();
    let newer = rig.connect(Version::V5, "ann", true, 1000);
    rig.tick();
    assert_eq!((rig.got(older), rig.got(newer)), (vec![], vec![]));
    rig.settle();
    assert!(rig.is_closed(older));
    assert_eq!(rig.got(older), []);
    assert_eq!(rig.got(newer), [Got::ConnAck { session_present: false }]);
    assert!(!rig.is_closed(newer));
}

/// A password that nobody had the time to look at is not a wrong one [MQTT-3.2.2-7].
#[test]
fn a_password_that_is_not_checked_is_told_from_a_wrong_one() {
    let credentials = Credentials { hash: "hash".into(), scram: None };
    let accounts = HashMap::from([("ann".into(), credentials)]);
    let mut rig = Rig::new(1, Settings { accounts: Arc::new(accounts), ..Settings::default() });
    for (verdict, answer) in [
        (Verdict::Good, Got::ConnAck { session_present: false }),
        (Verdict::Bad, Got::Refused(0x86)),
        (Verdict::Unchecked, Got::Refused(0x89)),
    ] {
        let link = rig.connect_as(Some("ann"), Version::V5, "client", true, 0);
        rig.settle();
        assert_eq!(rig.got(link), []);
        rig.judge(verdict);
        assert_eq!(rig.got(link), [answer]);
        assert_eq!(rig.is_closed(link), verdict != Verdict::Good);
    }
}

/// The same when the session ended by itself, with a DISCONNECT that took its expiry away.
#[test]
fn a_connect_after_a_session_ended_is_answered_when_that_is_off_the_disk() {
    let mut rig = Rig::new(1, Settings::default());
    let before = rig.connect(Version::V5, "ann", false, 1000);
    rig.settle();
    rig.disconnect(before, 0);
    rig.tick();
    assert!(rig.is_closed(before));
    let after = rig.connect(Version::V5, "ann", false, 1000);
    rig.talk();
    assert_eq!(rig.got(after), []);
    rig.settle();
    assert_eq!(rig.got(after), [Got::ConnAck { session_present: false }]);
    // Nothing is waited for when nothing is on its way to the disk.
    rig.disconnect(after, 0);
    rig.settle();
    let last = rig.connect(Version::V5, "ann", false, 1000);
    rig.talk();
    assert_eq!(rig.got(last), [Got::ConnAck { session_present: false }]);
}
