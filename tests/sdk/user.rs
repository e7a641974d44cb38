//! A user of the library in a test: connects, and takes what comes with a time limit.

use crate::harness::Broker;
use katydid_sdk::{Address, Client, Event, Events, Message, Options, Place};
use std::{future::Future, time::Duration};

/// How long a test waits for something that must happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Runs a test's future on one thread.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test);
}

/// Where a broker listens.
pub(crate) fn address(broker: &Broker) -> Address {
    let address = broker.address();
    Address::Tcp { host: address.ip().to_string(), port: address.port() }
}

/// An anonymous user with the default options.
pub(crate) async fn connect(broker: &Broker, user: &str) -> (Client, Events) {
    connect_with(Options::new(address(broker)).user(user)).await
}

/// A user with options of its own.
pub(crate) async fn connect_with(options: Options) -> (Client, Events) {
    Client::connect(options).await.expect("the broker lets the client in")
}

/// The room of these tests.
pub(crate) fn home() -> Place {
    Place::room("Home").expect("a name")
}

/// The next event, within the limit.
pub(crate) async fn next(events: &mut Events) -> Event {
    let next = tokio::time::timeout(LIMIT, events.next()).await;
    next.expect("an event within the limit").expect("the client has not ended")
}

/// The next event that is a message; others are skipped.
pub(crate) async fn message(events: &mut Events) -> Message {
    loop {
        if let Event::Message(message) = next(events).await {
            return message;
        }
    }
}

/// The texts of the next messages.
pub(crate) async fn texts(events: &mut Events, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        texts.push(message(events).await.text().into_owned());
    }
    texts
}
