//! One client with very many subscriptions.

use crate::rig::{Got, Link, Rig};
use katydid_engine::{Settings, settings::Limits};
use katydid_mqtt::packet::{QoS, Version};

fn subscribe_all(rig: &mut Rig, link: Link, filters: &[String]) -> Vec<u8> {
    rig.subscribe_many(link, 1, filters, QoS::AtMostOnce);
    rig.settle();
    let got = rig.got(link);
    let codes = got.into_iter().find_map(|got| if let Got::SubAck(codes) = got { Some(codes) } else { None });
    codes.expect("SUBSCRIBE is answered")
}

/// The limit holds within one packet too, wherever its filters are at home, and what is over it is counted.
#[test]
fn the_limit_of_subscriptions_holds_within_one_packet() {
    for form in ["plain/{}", "plain/{}/+", "room/{}/msg/+", "$share/group/{}"] {
        let limits = Limits { subscriptions: 100, ..Limits::default() };
        let mut rig = Rig::new(4, Settings { limits, ..Settings::default() });
        let link = rig.connect(Version::V5, "greedy", false, 1000);
        rig.settle();
        let filters: Vec<String> =
            (0..1_000).map(|number: u32| form.replace("{}", &number.to_string())).collect();
        let mut codes = subscribe_all(&mut rig, link, &filters);
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 100, "{form}");
        codes.retain(|code| *code != 0);
        assert!(codes.iter().all(|code| *code == 0x97), "{form}");
        let refused: u64 = rig.engines.iter().map(|engine| engine.counters().refused_subscriptions).sum();
        assert_eq!(refused, 900, "{form}");
    }
}

/// Filters that are looked at for each message of a room have a limit of their own.
#[test]
fn filters_for_one_room_are_limited() {
    for form in ["room/one/msg/{}", "room/+/msg/{}"] {
        let mut rig = Rig::new(4, Settings::default());
        let link = rig.connect(Version::V5, "greedy", false, 1000);
        rig.settle();
        let filters: Vec<String> =
            (0..1_000).map(|number: u32| form.replace("{}", &number.to_string())).collect();
        let codes = subscribe_all(&mut rig, link, &filters);
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 64, "{form}");
    }
}

/// Ten thousand rooms in one packet hold the shard up no longer than ten thousand filters do: with a cost that grew with
/// the rooms that are there already, this would take minutes.
#[test]
fn ten_thousand_rooms_are_entered_and_left_in_no_time() {
    let mut rig = Rig::new(2, Settings::default());
    let link = rig.connect(Version::V5, "greedy", true, 0);
    rig.settle();
    let filters: Vec<String> = (0..10_000).map(|number: u32| format!("room/{number}/msg/+")).collect();
    let codes = subscribe_all(&mut rig, link, &filters);
    assert!(codes.iter().all(|code| *code == 0));
    rig.cut(link);
    rig.settle();
    let left: u64 = rig.engines.iter().map(|engine| engine.counters().subscriptions_now).sum();
    assert_eq!(left, 0);
}

/// What a SUBSCRIBE writes does not grow with the subscriptions that are there already.
#[test]
fn one_subscription_more_writes_one_record_more() {
    let mut rig = Rig::new(2, Settings::default());
    let link = rig.connect(Version::V5, "greedy", false, 1000);
    rig.settle();
    let filters: Vec<String> = (0..5_000).map(|number: u32| format!("plain/{number}")).collect();
    subscribe_all(&mut rig, link, &filters);
    let before = rig.written_bytes;
    subscribe_all(&mut rig, link, &["plain/more".into()]);
    rig.unsubscribe(link, 2, "plain/more");
    rig.settle();
    let written = rig.written_bytes - before;
    assert!((1..500).contains(&written), "{written} bytes for one SUBSCRIBE and one UNSUBSCRIBE");
}
