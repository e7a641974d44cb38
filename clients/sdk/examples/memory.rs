//! What an idle client costs in memory: connects so many, lets each hear a room, and divides what the process grew by.
//!
//! `cargo run --release -p katydid-sdk --example memory -- HOST:PORT [CLIENTS]`, with a broker that lets anonymous users in
//! and enough open files allowed (`ulimit -n`).
#![allow(clippy::print_stderr, reason = "a program for people")]

use katydid_sdk::{Address, Client, Event, Events, Join, Options, Place, Replay};
use std::{error::Error, fs, process::ExitCode};

/// Clients that hear the same room: each message reaches so many.
const ROOM: usize = 20;

type Clients = Vec<(Client, Events)>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:1883".into());
    let count = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(2000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(measure(&address, count)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(address: &str, count: usize) -> Result<(), Box<dyn Error>> {
    let address: Address = address.parse()?;
    // The first client brings what all share: the runtime, the allocator's arenas, name resolution.
    let mut clients: Clients = connect(&address, 0, 1).await?;
    let before = resident_bytes()?;
    clients.extend(connect(&address, 1, count).await?);
    report("connected, in a room of 20", before, count)?;
    let place = Place::room("memory-0")?;
    for (client, _) in clients.iter().take(ROOM) {
        for number in 0..50 {
            client.say(&place, format!("message {number}"), None).await?;
        }
    }
    for (_, events) in clients.iter_mut().take(ROOM) {
        let mut heard = 0;
        while heard < 50 * ROOM {
            match events.next().await {
                Some(Event::Message(_)) => heard += 1,
                Some(_) => {}
                None => return Err("a client has ended".into()),
            }
        }
    }
    report("after 1000 messages in one of the rooms", before, count)
}

async fn connect(address: &Address, first: usize, count: usize) -> Result<Clients, Box<dyn Error>> {
    let mut clients = Vec::new();
    for number in first..first + count {
        let options = Options::new(address.clone()).user(format!("memory-{number}"));
        let (client, events) = Client::connect(options).await?;
        let place = Place::room(&format!("memory-{}", number / ROOM))?;
        client.join_with(&place, Join::new(Replay::Live).talk_only()).await?;
        clients.push((client, events));
    }
    Ok(clients)
}

fn report(what: &str, before: u64, count: usize) -> Result<(), Box<dyn Error>> {
    let grown = resident_bytes()?.saturating_sub(before);
    println!("{what}: {count} clients, {} KiB in all, {} bytes each", grown / 1024, grown / count as u64);
    Ok(())
}

/// Resident memory of this process, from `/proc`.
fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("no figure")?.parse()?;
    Ok(kib * 1024)
}
