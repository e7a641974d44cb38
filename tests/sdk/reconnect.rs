//! Lost connections: nothing is lost and nothing comes twice.

use crate::{
    harness::Broker,
    user::{LIMIT, address, connect, connect_with, home, message, next, run, texts},
};
use katydid_sdk::{Address, Event, Events, Options, Replay};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A relay before the broker whose connections a test can cut.
pub(crate) struct Relay {
    address: Address,
    generation: watch::Sender<u64>,
    is_open: Arc<AtomicBool>,
    target: Arc<Mutex<SocketAddr>>,
}

impl Relay {
    pub(crate) async fn before(broker: &Broker) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (generation, changes) = watch::channel(0);
        let is_open = Arc::new(AtomicBool::new(true));
        let target = Arc::new(Mutex::new(broker.address()));
        let (current, opens) = (target.clone(), is_open.clone());
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                if !opens.load(Ordering::Relaxed) {
                    continue;
                }
                let mut cut = changes.clone();
                cut.mark_unchanged();
                let target = *current.lock().expect("nobody panics with it");
                tokio::spawn(async move {
                    let Ok(mut to) = TcpStream::connect(target).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut from, &mut to) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { address: Address::Tcp { host: "127.0.0.1".into(), port }, generation, is_open, target }
    }

    /// The broker was started again, at another port.
    pub(crate) fn follow(&self, broker: &Broker) {
        *self.target.lock().expect("nobody panics with it") = broker.address();
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Address {
        self.address.clone()
    }

    /// Cuts every connection that stands.
    pub(crate) fn cut(&self) {
        self.generation.send_modify(|number| *number += 1);
    }

    fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
    }
}

pub(crate) fn options(address: Address, user: &str) -> Options {
    Options { retry_max: Duration::from_millis(100), ..Options::new(address).user(user) }
}

async fn disconnected(events: &mut Events) {
    while !matches!(next(events).await, Event::Disconnected(_)) {}
}

/// The texts of so many messages, and that their numbers ascend.
async fn ascending(events: &mut Events, count: usize) -> Vec<String> {
    let (mut texts, mut last) = (Vec::new(), 0);
    while texts.len() < count {
        let message = message(events).await;
        assert!(message.seq > last, "{} after {last}", message.seq);
        last = message.seq;
        texts.push(message.text().into_owned());
    }
    texts
}

#[test]
fn what_is_said_meanwhile_comes_once_and_in_order() {
    let broker = Broker::start();
    run(async {
        let relay = Relay::before(&broker).await;
        let (bob, mut heard) = connect_with(options(relay.address(), "bob")).await;
        bob.join(&home(), Replay::Live).await.unwrap();
        let (ann, _) = connect(&broker, "ann").await;
        ann.say(&home(), "0", None).await.unwrap();
        assert_eq!(texts(&mut heard, 1).await, ["0"]);
        let mut expected = Vec::new();
        for round in 1..=5 {
            relay.set_open(false);
            relay.cut();
            disconnected(&mut heard).await;
            for number in 0..30 {
                let text = format!("{round}.{number}");
                ann.say(&home(), text.clone(), None).await.unwrap();
                expected.push(text);
            }
            relay.set_open(true);
            assert_eq!(ascending(&mut heard, 30).await, expected[expected.len() - 30..]);
        }
    });
}

#[test]
fn a_room_in_which_nothing_was_heard_before_is_caught_up_without_its_past() {
    let broker = Broker::start();
    run(async {
        let (ann, _) = connect(&broker, "ann").await;
        let relay = Relay::before(&broker).await;
        let (bob, mut heard) = connect_with(options(relay.address(), "bob")).await;
        bob.join(&home(), Replay::Live).await.unwrap();
        relay.cut();
        disconnected(&mut heard).await;
        ann.say(&home(), "new", None).await.unwrap();
        assert_eq!(texts(&mut heard, 1).await, ["new"]);
    });
}

#[test]
fn a_session_that_is_kept_goes_on_without_doubles() {
    let broker = Broker::start();
    run(async {
        let relay = Relay::before(&broker).await;
        let kept = options(relay.address(), "bob").session("phone", Duration::from_secs(600));
        let (bob, mut heard) = connect_with(kept).await;
        bob.join(&home(), Replay::Live).await.unwrap();
        let (ann, _) = connect(&broker, "ann").await;
        let speaker = tokio::spawn(async move {
            for number in 0..300 {
                ann.say(&home(), number.to_string(), None).await.unwrap();
            }
        });
        let mut seen = ascending(&mut heard, 20).await;
        for _ in 0..4 {
            relay.cut();
            seen.extend(ascending(&mut heard, 50).await);
        }
        seen.extend(ascending(&mut heard, 80).await);
        let expected: Vec<String> = (0..300).map(|number| number.to_string()).collect();
        assert_eq!(seen, expected);
        speaker.await.unwrap();
    });
}

#[test]
fn what_is_said_without_a_connection_is_said_when_it_is_back() {
    let mut broker = Broker::start();
    run(async {
        let (bob, mut heard) = connect_with(options(address(&broker), "bob")).await;
        let relay = Relay::before(&broker).await;
        let (ann, mut told) = connect_with(options(relay.address(), "ann")).await;
        bob.join(&home(), Replay::Live).await.unwrap();
        relay.set_open(false);
        relay.cut();
        disconnected(&mut told).await;
        let said = tokio::spawn({
            let ann = ann.clone();
            async move { ann.say(&home(), "later", Some("once")).await.unwrap() }
        });
        relay.set_open(true);
        let ack = said.await.unwrap();
        let message = message(&mut heard).await;
        assert_eq!((message.seq, message.id.as_deref()), (ack.seq, Some("once")));
    });
    broker.terminate();
}

#[test]
fn a_connection_to_a_broker_that_is_gone_is_closed_within_the_limit() {
    let mut broker = Broker::start();
    run(async {
        let (ann, mut told) = connect_with(options(address(&broker), "ann")).await;
        broker.kill();
        disconnected(&mut told).await;
        let waits = ann.clone();
        let said = tokio::spawn(async move { waits.say(&home(), "x", None).await });
        tokio::task::yield_now().await;
        tokio::time::timeout(LIMIT, ann.close(Duration::from_millis(50))).await.expect("it closes");
        assert_eq!(said.await.unwrap().unwrap_err().code, katydid_sdk::Refusal::CLOSED);
    });
}
