//! Legacy chat protocols translated into publish and subscribe.
//!
//! Each protocol is a folder: `wire` cuts bytes into frames within limits, `map` translates names, codes and JSON,
//! and a state machine without I/O takes frames and chat events and gives lines and chat calls. [`chat`] is the
//! vocabulary that all of them speak towards the broker, [`machine`] the shape that all of them have, and [`driver`]
//! the one place with sockets, tasks and a clock. Each legacy user is an MQTT client of its own: the bridge has no
//! right that its user has not.
#![forbid(unsafe_code)]

pub mod chat;
pub mod config;
pub mod driver;
pub mod flow;
pub mod helo;
pub mod json;
pub mod machine;
pub mod mchat;
pub mod names;
pub mod notice;
pub mod requests;
pub mod rest;
pub mod text;

#[cfg(test)]
mod transcript;

use config::Config;
use driver::{
    Served,
    voice::{Kept, Users},
};
use machine::Each;
use std::{
    hash::{BuildHasher, RandomState},
    io,
    sync::Arc,
    time::Duration,
};
use tokio::task::JoinSet;

/// How long the protocols may take to say what is queued when the bridge ends.
const GOODBYE: Duration = Duration::from_millis(500);

/// Serves every protocol that the configuration has on, until `ended` resolves.
///
/// # Errors
/// A listener could not be opened.
pub async fn run(mut config: Config, ended: impl Future<Output = ()>) -> io::Result<()> {
    let mut protocols = JoinSet::new();
    if let Some(rest) = config.rest.take() {
        protocols.spawn(rest::serve(rest.door, rest.settings, config.users.clone(), rest.wait));
    }
    for served in served(config) {
        protocols.spawn(driver::serve(served));
    }
    let failed = async {
        while let Some(outcome) = protocols.join_next().await {
            match outcome {
                Ok(outcome) => outcome?,
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        std::future::pending().await
    };
    let outcome = tokio::select! {
        outcome = failed => outcome,
        () = ended => Ok(()),
    };
    protocols.abort_all();
    tokio::time::sleep(GOODBYE).await;
    outcome
}

fn served(config: Config) -> Vec<Served> {
    let Config { users, text, mchat, helo, json, rest: _ } = config;
    let mut all = Vec::new();
    if let Some(text) = text {
        let settings = Arc::new(text.settings);
        all.push(Served {
            name: "text",
            machine: Box::new(Each::new(move |now_ms, _| {
                text::Session::new(settings.clone(), chance(), now_ms)
            })),
            doors: vec![text.door],
            users: users.clone(),
            log: None,
            idle: text.idle,
        });
    }
    if let Some(mchat) = mchat {
        all.push(Served {
            name: "mchat",
            machine: Box::new(mchat::Server::new(mchat.settings)),
            doors: mchat.doors,
            users: Users { hears_presence: true, ..users.clone() },
            log: mchat.log,
            idle: mchat.idle,
        });
    }
    if let Some(helo) = helo {
        let keys = Arc::new(helo::Keys::default());
        let machine = helo::Server::new(helo.settings, keys.clone(), chance);
        // Long before the first client needs it.
        std::thread::spawn(move || keys.make());
        all.push(Served {
            name: "helo",
            machine: Box::new(machine),
            doors: helo.doors,
            users: users.clone(),
            log: None,
            idle: helo.idle,
        });
    }
    if let Some(json) = json {
        let settings = Arc::new(json.settings);
        all.push(Served {
            name: "json",
            machine: Box::new(Each::new(move |now_ms, _| json::Session::new(settings.clone(), now_ms))),
            doors: vec![json.door],
            users: Users {
                kept: Some(Kept { client_id: "json", expiry: json.wait, keeps_places: false }),
                ..users.clone()
            },
            log: None,
            idle: json.idle,
        });
    }
    all
}

/// Sixteen bytes that nobody can guess: the keys of the standard library's hash maps come from the system.
fn chance() -> [u8; 16] {
    let mut bytes = [0; 16];
    for half in bytes.chunks_exact_mut(8) {
        half.copy_from_slice(&RandomState::new().hash_one(0u8).to_ne_bytes());
    }
    bytes
}
