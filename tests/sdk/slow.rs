//! A user who takes no events: held back, not lost, and nothing grows.

use crate::{
    harness::{Broker, Connect, V5},
    user::{LIMIT, address, connect, connect_with, home, message, next, run},
};
use katydid_sdk::{Event, Options, Replay};

#[test]
fn who_takes_no_events_gets_all_of_them_later() {
    let broker = Broker::start();
    run(async {
        let options = Options { events: 4, ..Options::new(address(&broker)).user("bob") };
        let (bob, mut heard) = connect_with(options).await;
        bob.join(&home(), Replay::Live).await.unwrap();
        let (ann, _) = connect(&broker, "ann").await;
        for number in 0..500 {
            ann.say(&home(), number.to_string(), None).await.unwrap();
        }
        // The client still speaks, although nobody listens to it.
        let own = tokio::time::timeout(LIMIT, bob.say(&home(), "own", None)).await;
        own.expect("an acknowledgement").unwrap();
        for number in 0..500 {
            assert_eq!(message(&mut heard).await.text(), number.to_string());
        }
        assert_eq!(message(&mut heard).await.text(), "own");
    });
}

#[test]
fn what_came_with_qos_0_and_found_no_place_is_asked_for_again() {
    let broker = Broker::start();
    run(async {
        let options = Options { events: 4, ..Options::new(address(&broker)).user("bob") };
        let (bob, mut heard) = connect_with(options).await;
        bob.join(&home(), Replay::Live).await.unwrap();
        let connect = Connect::new(V5, "ann's").user("ann");
        let mut ann = broker.connect(&connect);
        for number in 0..1000 {
            ann.publish("room/Home/msg/ann", &number.to_string(), 0);
        }
        ann.ping();
        // What bob says afterwards is acknowledged after all of it went out to bob.
        bob.say(&home(), "end", None).await.unwrap();
        let mut expected = 0;
        loop {
            let message = message(&mut heard).await;
            if message.from == "bob" {
                break;
            }
            assert_eq!(message.text(), expected.to_string());
            expected += 1;
        }
        assert_eq!(expected, 1000);
    });
}

#[test]
fn signals_that_find_no_place_are_counted() {
    let broker = Broker::start();
    run(async {
        let options = Options { events: 1, ..Options::new(address(&broker)).user("bob") };
        let (bob, mut heard) = connect_with(options).await;
        bob.join(&home(), Replay::Live).await.unwrap();
        let connect = Connect::new(V5, "ann's").user("ann");
        let mut ann = broker.connect(&connect);
        for _ in 0..300 {
            ann.publish("room/Home/typing/ann", "", 0);
        }
        ann.publish("room/Home/msg/ann", "end", 1);
        let (mut signals, mut lost) = (0, 0);
        loop {
            match next(&mut heard).await {
                Event::Typing { .. } => signals += 1,
                Event::Gap(gap) => lost += gap.signals,
                Event::Message(message) if message.text() == "end" => break,
                _ => {}
            }
        }
        while signals + lost < 300 {
            match next(&mut heard).await {
                Event::Gap(gap) => lost += gap.signals,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(signals + lost, 300, "{signals} heard, {lost} dropped");
    });
}

#[test]
fn who_takes_events_slowly_holds_back_what_comes_without_acknowledgement() {
    let broker = Broker::start();
    run(async {
        let options = Options { events: 1, ..Options::new(address(&broker)).user("bob") };
        let (bob, mut heard) = connect_with(options).await;
        bob.join(&home(), Replay::Live).await.unwrap();
        let mut ann = broker.connect(&Connect::new(V5, "ann's").user("ann"));
        for number in 0..2000 {
            ann.publish("room/Home/msg/ann", &number.to_string(), 0);
        }
        for number in 0..2000 {
            assert_eq!(message(&mut heard).await.text(), number.to_string());
            tokio::task::yield_now().await;
        }
        // A gap or a second coming would be the next thing that is heard.
        bob.say(&home(), "end", None).await.unwrap();
        match next(&mut heard).await {
            Event::Message(message) => assert_eq!(message.text(), "end"),
            other => panic!("{other:?}"),
        }
    });
}
