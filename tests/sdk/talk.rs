//! Saying and hearing.

use crate::{
    harness::{Broker, Settings},
    user::{LIMIT, address, connect, connect_with, home, message, next, run, texts},
};
use katydid_sdk::{Client, Draft, Event, Interest, Join, Options, Place, Refusal, Replay};

#[test]
fn an_acknowledgement_has_the_number_under_which_others_see_the_message() {
    let broker = Broker::start();
    run(async {
        let (ann, _) = connect(&broker, "ann").await;
        let (bob, mut heard) = connect(&broker, "bob").await;
        bob.join(&home(), Replay::Live).await.unwrap();
        let ack = ann.say(&home(), "hello", Some("x1")).await.unwrap();
        let message = message(&mut heard).await;
        assert_eq!((message.seq, message.time_ms), (ack.seq, ack.time_ms));
        assert!(ack.seq > 0 && ack.time_ms > 0, "{ack:?}");
        assert_eq!((message.place, message.from.as_str()), (home(), "ann"));
        assert_eq!((message.payload.as_ref(), message.id.as_deref()), (&b"hello"[..], Some("x1")));
        assert!(!message.replay);
    });
}

#[test]
fn history_comes_first_and_is_marked() {
    let broker = Broker::start();
    run(async {
        let (ann, _) = connect(&broker, "ann").await;
        for text in ["1", "2", "3"] {
            ann.say(&home(), text, None).await.unwrap();
        }
        let (bob, mut heard) = connect(&broker, "bob").await;
        bob.join(&home(), Replay::Last(2)).await.unwrap();
        ann.say(&home(), "4", None).await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < 3 {
            let message = message(&mut heard).await;
            seen.push((message.text().into_owned(), message.replay));
        }
        assert_eq!(seen, [("2".into(), true), ("3".into(), true), ("4".into(), false)]);
        // Asking again gives the past again, and the order within it.
        bob.join(&home(), Replay::Since(0)).await.unwrap();
        assert_eq!(texts(&mut heard, 4).await, ["1", "2", "3", "4"]);
    });
}

#[test]
fn what_is_not_wanted_is_not_heard() {
    let broker = Broker::start();
    run(async {
        let (ann, mut heard) = connect(&broker, "ann").await;
        let join = Join { interest: Interest::TALK, echo: false, ..Join::new(Replay::Live) };
        ann.join_with(&home(), join).await.unwrap();
        let (bob, _) = connect(&broker, "bob").await;
        ann.say(&home(), "mine", None).await.unwrap();
        bob.typing(&home()).await.unwrap();
        bob.event(&home(), &katydid_sdk::json!({ "type": "wave" })).await.unwrap();
        bob.say(&home(), "theirs", None).await.unwrap();
        assert!(matches!(next(&mut heard).await, Event::Connected { .. }));
        match next(&mut heard).await {
            Event::Change(change) => {
                assert_eq!((change.kind.as_str(), change.from.as_str()), ("wave", "bob"))
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(message(&mut heard).await.text(), "theirs");
        ann.leave(&home()).await.unwrap();
        bob.say(&home(), "late", None).await.unwrap();
        ann.join(&Place::room("other").unwrap(), Replay::Live).await.unwrap();
        bob.say(&Place::room("other").unwrap(), "there", None).await.unwrap();
        assert_eq!(message(&mut heard).await.text(), "there");
    });
}

#[test]
fn typing_is_heard_and_has_no_number() {
    let broker = Broker::start();
    run(async {
        let (ann, mut heard) = connect(&broker, "ann").await;
        ann.join(&home(), Replay::Live).await.unwrap();
        let (bob, _) = connect(&broker, "bob").await;
        bob.typing(&home()).await.unwrap();
        loop {
            if let Event::Typing { place, user, .. } = next(&mut heard).await {
                assert_eq!((place, user.as_str()), (home(), "bob"));
                break;
            }
        }
    });
}

#[test]
fn a_refusal_comes_with_a_code_and_the_connection_goes_on() {
    let broker = Broker::start();
    run(async {
        let (ann, _) = connect(&broker, "ann").await;
        let forged = Draft { properties: vec![("seq".into(), "9".into())], ..Draft::new("x") };
        let refusal = ann.send(&home(), forged).await.unwrap_err();
        assert_eq!(refusal.code, "mqtt.payload-invalid", "{refusal}");
        assert!(!refusal.is_local());
        ann.say(&home(), "still here", None).await.unwrap();
    });
}

#[test]
fn what_cannot_be_sent_is_refused_here() {
    let broker = Broker::with(Settings { maximum_packet_size_bytes: Some(4096), ..Settings::default() });
    run(async {
        let (ann, _) = connect(&broker, "ann").await;
        let refusal = ann.say(&home(), vec![b'x'; 5000], None).await.unwrap_err();
        assert_eq!(refusal.code, Refusal::TOO_LARGE);
        let refusal = ann.say(&home(), "x", Some("a\0b")).await.unwrap_err();
        assert_eq!(refusal.code, Refusal::ARGUMENT);
        ann.say(&home(), "small", None).await.unwrap();
    });
}

#[test]
fn many_at_once_keep_their_order() {
    let broker = Broker::with(Settings { receive_maximum: Some(3), ..Settings::default() });
    run(async {
        let (ann, mut heard) = connect(&broker, "ann").await;
        ann.join(&home(), Replay::Live).await.unwrap();
        let mut said = tokio::task::JoinSet::new();
        for number in 0..100 {
            let ann = ann.clone();
            said.spawn(async move { ann.say(&home(), number.to_string(), None).await.unwrap().seq });
        }
        let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(texts(&mut heard, 100).await, expected);
        let mut numbers = said.join_all().await;
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 100);
    });
}

#[test]
fn a_wrong_password_and_no_broker_are_told_apart() {
    let broker = Broker::with(Settings { account: Some(("ann", "secret")), ..Settings::default() });
    run(async {
        let options = Options::new(address(&broker)).user("ann");
        let refusal = Client::connect(options.clone().password("wrong")).await.unwrap_err();
        assert_eq!(refusal.code, "login.wrong-password");
        let (ann, _) = connect_with(options.clone().password("secret")).await;
        assert_eq!(&*ann.user(), "ann");
        // Nobody listens on a path that is not there.
        let nowhere = Options { address: "/nowhere/at/all".parse().unwrap(), ..options };
        assert_eq!(Client::connect(nowhere).await.unwrap_err().code, Refusal::UNREACHABLE);
    });
}

#[test]
fn closing_ends_the_events_and_refuses_what_follows() {
    let broker = Broker::start();
    run(async {
        let (ann, mut heard) = connect(&broker, "ann").await;
        let waits = ann.clone();
        let said = tokio::spawn(async move { waits.say(&home(), "last words", None).await });
        tokio::task::yield_now().await;
        ann.close(LIMIT).await;
        assert!(said.await.unwrap().is_ok(), "what was said before is acknowledged first");
        let mut last = None;
        while let Some(event) = heard.next().await {
            last = Some(event);
        }
        assert!(matches!(last, Some(Event::Closed(refusal)) if refusal.code == Refusal::CLOSED));
        assert_eq!(ann.say(&home(), "more", None).await.unwrap_err().code, Refusal::CLOSED);
    });
}
