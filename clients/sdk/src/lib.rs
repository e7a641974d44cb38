//! A typed chat client for Katydid: rooms, groups, private messages, history and requests as calls and events.
//!
//! A [`Client`] is one MQTT 5 session. It speaks through `rumqttc`'s packets and session state, over a socket of its own,
//! because `rumqttc`'s event loop lets nobody choose the socket (a PROXY header, a Unix path with TLS), hides why a
//! CONNECT was refused, and loses packets when its `poll` is cancelled.
//!
//! What a user of this crate can rely on:
//! - **Acknowledged means stored.** [`Client::say`] resolves when the broker has the message on disk, with its number.
//! - **Once and in order.** What is said in a place comes out of [`Events`] once, in ascending `seq`, across reconnects
//!   too: after one, the sdk asks for what was missed, and sends what was not acknowledged again with the same `id`.
//! - **Bounded.** Every queue has a length. Who does not take events is not sent more; nothing is buffered without end.
//!
//! | what a client holds | at most |
//! | --- | --- |
//! | packets on their way to the broker | 16 |
//! | messages, requests and subscriptions that wait to be sent or answered | 64; who wants more waits |
//! | events that nobody has taken | [`Options::events`], 32 that the broker wants acknowledged, 64 others |
//! | bytes read and not looked at | [`Options::packet_bytes_max`] and 2 KiB |
//! | bytes to write | 32 KiB and one packet |
//! | places whose last number is remembered | those joined, and 1024 |
//!
//! When nobody takes events, what comes with QoS 1 is not acknowledged, and the broker stops at 32. What comes with QoS
//! 0 is held back by not reading, for half a second; then it is dropped, and asked for by its number once there is room.
//! Only signals, such as who types, and private messages of QoS 0 are lost then, and [`Event::Gap`] says so.
//!
//! A client costs one tokio task, one socket and, idle, the bytes that `cargo run --release -p katydid-sdk --example
//! memory` prints. Thousands fit in one process.
//!
//! The README has the same example:
//!
//! ```no_run
//! use katydid_sdk::{Client, Event, Options, Place, Refusal, Replay};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Refusal> {
//!     let (client, mut events) = Client::connect(Options::new("127.0.0.1:1883".parse()?).user("ann")).await?;
//!     let home = Place::room("Home")?;
//!     client.join(&home, Replay::Last(20)).await?;
//!     client.say(&home, "Good morning", None).await?; // on the broker's disk now
//!     while let Some(event) = events.next().await {
//!         if let Event::Message(message) = event {
//!             println!("{} {}: {}", message.seq, message.from, message.text());
//!         }
//!     }
//!     Ok(())
//! }
//! ```
#![forbid(unsafe_code)]

mod client;
mod contract;
mod draft;
mod driver;
mod event;
mod history;
mod join;
mod link;
mod options;
mod outlet;
mod place;
mod refusal;
mod search;
mod session;
mod verbs;

pub use client::{Answer, Client};
pub use draft::{Ack, Draft};
pub use event::{Change, Event, Events, Gap, Message, UserEvent};
pub use history::{History, HistoryEntry, Page, Window};
pub use join::{Interest, Join, Replay};
pub use katydid_chat::{code::Code, event as happening, request};
pub use options::{Address, Options, Proof, Secret, Tls};
pub use place::Place;
pub use refusal::Refusal;
pub use request::Act;
pub use search::Search;
pub use serde_json::{Value as Json, json};
pub use verbs::Root;
