//! Shards that move between threads while there is much to do: nobody is to notice. With `threads.full` at 1 a thread
//! gives shards away as soon as it does anything, and gets them back when it is calm for a second.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::statistics::OFTEN;
use crate::harness::packet::{PINGREQ, Packet, frame};
use crate::harness::{Broker, Connect, Publish, RawClient, Read, Settings, V3, V5};

const GIVES_AWAY: &str = "gives shards away";
const GIVES_BACK: &str = "gives shards back";
const LIMIT: Duration = Duration::from_secs(20);
/// Messages that each publisher says at once.
const BURST: usize = 10;
const PUBLISHERS: [&str; 3] = ["ann", "bob", "carl"];
const RESTLESS: &[&str] = &["--threads.shards", "4", "--threads.full", "1", "-v"];
/// A processor's ticks in a second, as Linux counts them.
const TICKS_PER_SEC: u64 = 100;

fn restless(config: &str) -> Broker {
    Broker::with(Settings { config: config.into(), arguments: RESTLESS, ..Settings::default() })
}

/// How often shards went away and came back.
fn moves(broker: &Broker) -> (usize, usize) {
    let log = broker.log();
    (log.matches(GIVES_AWAY).count(), log.matches(GIVES_BACK).count())
}

/// What every publisher says in one round.
fn said(round: usize) -> impl Iterator<Item = (usize, String)> {
    let numbers = (0..BURST).map(move |at| round * BURST + at);
    (0..PUBLISHERS.len()).flat_map(move |by| numbers.clone().map(move |number| (by, number.to_string())))
}

/// Takes a round's messages of one topic: from each publisher those that are next, in order.
fn take_round(client: &mut RawClient, round: usize, what: &str) {
    let mut next = [round * BURST; PUBLISHERS.len()];
    while next.iter().any(|next| *next < (round + 1) * BURST) {
        let publish = client.expect_publish();
        client.acknowledge(&publish);
        assert!(!publish.dup, "{what}: {publish:?} is sent a second time");
        let by = PUBLISHERS.iter().position(|by| publish.topic.ends_with(by)).expect("a publisher");
        assert_eq!(publish.text(), next[by].to_string(), "{what}: {publish:?}");
        next[by] += 1;
    }
}

#[test]
fn messages_flow_and_sessions_are_taken_over_while_shards_move() {
    let broker = restless(OFTEN);
    let mut publishers = PUBLISHERS.map(|name| broker.connect(&Connect::new(V5, name).user(name)));
    // Of each version and QoS so many that every shard has some.
    let mut listeners: Vec<(String, RawClient)> = Vec::new();
    for index in 0..12 {
        let (version, qos) = ([V3, V5][index % 2], (index / 2 % 3) as u8);
        let filter = ["room/x/msg/+", "plain/+"][index / 6];
        let mut client = broker.client(version, &format!("listener{index}"));
        client.subscribe(filter, qos);
        listeners.push((format!("{filter} {version:?} QoS {qos}"), client));
    }
    let names = [(V3, "roamer3"), (V5, "roamer5"), (V5, "roamer")];
    let mut roamers: Vec<RawClient> = names
        .iter()
        .map(|(version, name)| {
            let mut roamer = broker.connect(&Connect::lasting(*version, name));
            roamer.subscribe("room/x/msg/+", 2);
            roamer
        })
        .collect();
    let mut clock = broker.client(V3, "clock");
    clock.subscribe("$SYS/broker/uptime", 0);
    let (mut round, mut taken_over) = (0, 0);
    while {
        let (away, back) = moves(&broker);
        away < 2 || back < 1
    } {
        assert!(round < 1000, "{:?} moves", moves(&broker));
        for (by, text) in said(round) {
            for root in ["room/x/msg", "plain"] {
                let publisher = &mut publishers[by];
                let topic = format!("{root}/{}", PUBLISHERS[by]);
                let id = publisher.fresh_id();
                publisher.send_publish(&Publish::new(&topic, text.clone()).qos1(id));
            }
        }
        // Sessions go from connection to connection while this is on its way.
        for (at, (version, name)) in names.iter().enumerate() {
            if round % 2 == 0 {
                let (new, ack) = broker.connect_with_ack(&Connect::lasting(*version, name));
                assert!(ack.session_present, "{name}");
                std::mem::replace(&mut roamers[at], new).expect_end();
                taken_over += 1;
            }
        }
        for publisher in &mut publishers {
            for _ in 0..2 * BURST {
                match publisher.expect_packet() {
                    Packet::Ack(ack) => assert!(ack.reason < 0x80, "{ack:?}"),
                    other => panic!("{other:?} instead of PUBACK"),
                }
            }
        }
        for (what, client) in &mut listeners {
            take_round(client, round, what);
        }
        for ((_, name), roamer) in names.iter().zip(&mut roamers) {
            take_again(roamer, round, name);
        }
        // The next round begins when the broker publishes its figures, so that its threads are calm in between.
        clock.expect_publish();
        round += 1;
    }
    listeners.iter_mut().for_each(|(_, client)| client.expect_quiet());
    roamers.iter_mut().for_each(RawClient::expect_quiet);
    assert!(taken_over > 0);
}

/// The same for a session that was taken over in the middle: what an earlier connection was sent, and could not
/// acknowledge, comes again, in order.
fn take_again(client: &mut RawClient, round: usize, what: &str) {
    let mut next = [round * BURST; PUBLISHERS.len()];
    while next.iter().any(|next| *next < (round + 1) * BURST) {
        let publish = match client.read_within(LIMIT) {
            Read::Packet(Packet::Publish(publish)) => publish,
            other => panic!("{what} in round {round}: {other:?}, next are {next:?}"),
        };
        client.acknowledge(&publish);
        let by = PUBLISHERS.iter().position(|by| publish.topic.ends_with(by)).expect("a publisher");
        assert_eq!(publish.text(), next[by].to_string(), "{what}: {publish:?}");
        next[by] += 1;
    }
}

#[test]
fn a_signal_that_comes_while_shards_move_ends_the_broker_in_order() {
    for after in 1..=3 {
        let mut broker = restless("");
        let mut clients: Vec<RawClient> = (0..16)
            .map(|index| {
                let mut client = broker.client(V5, &format!("client{index}"));
                client.subscribe("plain", 0);
                client
            })
            .collect();
        let is_over = AtomicBool::new(false);
        let will = Publish::new("wills/ann", after.to_string()).will_qos(1).retained();
        let connect = Connect::new(V5, "ann").user("ann").will(will);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut ann = broker.connect(&connect);
                while !is_over.load(Ordering::Relaxed) {
                    let bytes = [Publish::new("plain", "x").bytes(V5), frame(PINGREQ, &[])].concat();
                    let answer = ann.try_send(&bytes).map(|()| ann.read_within(LIMIT));
                    if !matches!(answer, Ok(Read::Packet(Packet::PingResp))) {
                        // The broker has said goodbye.
                        return;
                    }
                }
            });
            broker.await_log(GIVES_AWAY, after);
            broker.ask_to_end();
            for client in &mut clients {
                let last = loop {
                    match client.read_within(LIMIT) {
                        Read::Packet(Packet::Publish(_)) => {}
                        other => break other,
                    }
                };
                assert!(
                    matches!(last, Read::Packet(Packet::Disconnect { reason: 0x8B, .. })),
                    "{last:?} instead of DISCONNECT"
                );
                client.expect_closed();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let status = broker.wait_for_end();
        let log = broker.log();
        assert!(status.success(), "{status}:\n{log}");
        assert!(log.contains("everything is on disk") && !log.contains("WARN"), "{log}");
        broker.restart_with(&[]);
        let mut late = broker.client(V5, "late");
        late.subscribe("wills/+", 0);
        late.expect_message(&after.to_string());
    }
}

/// The processor time that a process has used, in ticks.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    // The name in parentheses is the second field; times in user and system mode are the 14th and 15th.
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    fields[11].parse::<u64>().expect("a number") + fields[12].parse::<u64>().expect("a number")
}

#[test]
fn a_broker_that_has_nothing_to_do_does_nothing() {
    let broker = restless("[sys]\ninterval = \"never\"\n");
    let mut clients: Vec<RawClient> = (0..16)
        .map(|index| {
            let mut client =
                broker.connect(&Connect::lasting(V5, &format!("client{index}")).keep_alive_secs(60));
            client.subscribe("room/x/msg/+", 1);
            client
        })
        .collect();
    let mut ann = broker.connect(&Connect::new(V5, "ann").user("ann"));
    let mut said = 0;
    while moves(&broker).0 < 2 {
        ann.publish("room/x/msg/ann", &said.to_string(), 1);
        for client in &mut clients {
            client.expect_and_acknowledge(&said.to_string());
        }
        said += 1;
    }
    // What is written late is written within two seconds; then nothing is left to do.
    let quiet = |client: &mut RawClient, secs| {
        assert_eq!(client.read_within(Duration::from_secs(secs)), Read::Silence);
    };
    quiet(&mut ann, 2);
    let before = ticks(broker.pid());
    quiet(&mut ann, 2);
    let used = ticks(broker.pid()) - before;
    assert!(used <= 2 * TICKS_PER_SEC / 50, "{used} ticks in two quiet seconds");
    clients.iter_mut().for_each(RawClient::ping);
}
