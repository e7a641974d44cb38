//! The command line.
//!
//! Owns: names, defaults, bounds and their help. Never knows how a load runs. Invariant: past this module
//! every number is within its bounds. Driven by clap, which ends the program with status 2 on an error.

use crate::wire::{STAMP_BYTES, Version};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::time::Duration;

const NAMES: &str = "Names are templates: {run} is new with every run, {i} the connection's number, {room} the \
                     room's, and in topics {user} the user name. Exit status: 0 done, 1 set-up failed, \
                     2 usage, 3 partial (out of time, connections lost, too little came).";

/// Puts a load on an MQTT broker and measures what it does and costs.
#[derive(Debug, Parser)]
#[command(name = "katydid-bench", version, about, after_help = NAMES, max_term_width = 100)]
pub(crate) struct Options {
    /// What to do.
    #[command(subcommand)]
    pub(crate) load: Load,
}

/// The loads.
#[derive(Debug, Subcommand)]
pub(crate) enum Load {
    /// Some publishers, many subscribers, one topic or room
    Fanout(Fanout),
    /// Rooms of users who all read and write
    Rooms(Rooms),
    /// Open many connections and hold them: connects a second, memory a connection
    Connect(Connect),
    /// Messages wait for a session that sleeps; it wakes and drains them
    Offline(Offline),
    /// Publishing with acknowledgements
    Acked(Acked),
    /// Read a room's stored history
    Replay(Replay),
    /// Ask Katydid for something, again and again
    Ask(Ask),
    /// Enter rooms: what that costs beside connecting
    Join(Join),
    /// Write an export of Katydid's with many rooms and memberships, for `katydid import`
    Town(Town),
}

/// The version of MQTT by its number.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Mqtt {
    /// 3.1.1
    #[value(name = "3", alias = "4", alias = "3.1.1")]
    V3,
    /// 5.0
    #[value(name = "5", alias = "5.0")]
    V5,
}

impl From<Mqtt> for Version {
    fn from(mqtt: Mqtt) -> Self {
        match mqtt {
            Mqtt::V3 => Self::V3,
            Mqtt::V5 => Self::V5,
        }
    }
}

/// Which broker, as whom, for how long at most.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// The broker's host name or address
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// The broker's port
    #[arg(long, default_value_t = 1883)]
    pub(crate) port: u16,
    /// The version of MQTT
    #[arg(long, value_enum, default_value = "3")]
    pub(crate) mqtt: Mqtt,
    /// User names; "" for none
    #[arg(long, default_value = "u{i}")]
    pub(crate) user: String,
    /// Passwords; "" for none
    #[arg(long, default_value = "")]
    pub(crate) password: String,
    /// Client identifiers
    #[arg(long, default_value = "bench-{run}-{i}")]
    pub(crate) client_id: String,
    /// Processes of the broker on this machine, for processor time and memory
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(i32).range(1..=4_194_304))]
    pub(crate) pid: Vec<i32>,
    /// Connections being opened at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) concurrent: u16,
    /// Time for everything; what is known by then is reported
    #[arg(long, default_value = "60s", value_parser = time)]
    pub(crate) timeout: Duration,
    /// Without any progress for this long, what is outstanding is given up
    #[arg(long, default_value = "2s", value_parser = time)]
    pub(crate) stall: Duration,
    /// Sleep before each look at the sockets: larger batches on both sides, more latency
    #[arg(long, default_value = "0s", value_parser = time)]
    pub(crate) gather: Duration,
    /// One line of JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is published.
#[derive(Debug, Clone, Args)]
pub(crate) struct Content {
    /// QoS of publishing and subscribing
    #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,
    /// Bytes of a payload
    #[arg(long, default_value_t = 64, value_parser = size)]
    pub(crate) size: usize,
}

/// How fast, and how long.
#[derive(Debug, Clone, Args)]
pub(crate) struct Pace {
    /// Closed loop: messages published and not yet delivered to all
    #[arg(short, long, default_value_t = 64, value_parser = count)]
    pub(crate) window: usize,
    /// Fixed rate of messages a second over all publishers, instead of a window; latency counts from
    /// when a message was due
    #[arg(short, long, conflicts_with = "window", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Messages due within this time of a fixed rate leave together
    #[arg(long, default_value = "1ms", value_parser = time)]
    pub(crate) tick: Duration,
    /// Time of measuring, after the warm-up
    #[arg(short, long, default_value = "5s", value_parser = time)]
    pub(crate) duration: Duration,
    /// Time before measuring
    #[arg(long, default_value = "1s", value_parser = time)]
    pub(crate) warm_up: Duration,
}

/// `katydid-bench fanout`
#[derive(Debug, Clone, Args)]
pub(crate) struct Fanout {
    /// Which broker.
    #[command(flatten)]
    pub(crate) target: Target,
    /// What.
    #[command(flatten)]
    pub(crate) content: Content,
    /// How fast.
    #[command(flatten)]
    pub(crate) pace: Pace,
    /// Subscribers
    #[arg(short = 'S', long, default_value_t = 100, value_parser = count)]
    pub(crate) subscribers: usize,
    /// Publishers
    #[arg(short = 'P', long, default_value_t = 1, value_parser = count)]
    pub(crate) publishers: usize,
    /// Publish to
    #[arg(long, default_value = "bench/{run}/fanout")]
    pub(crate) topic: String,
    /// Subscribe to
    #[arg(long, default_value = "bench/{run}/fanout")]
    pub(crate) filter: String,
    /// In this chat room, instead of topic and filter
    #[arg(long, conflicts_with_all = ["topic", "filter"])]
    pub(crate) room: Option<String>,
}

/// `katydid-bench rooms`
#[derive(Debug, Clone, Args)]
pub(crate) struct Rooms {
    /// Which broker.
    #[command(flatten)]
    pub(crate) target: Target,
    /// What.
    #[command(flatten)]
    pub(crate) content: Content,
    /// How fast.
    #[command(flatten)]
    pub(crate) pace: Pace,
    /// Rooms
    #[arg(short = 'R', long, default_value_t = 50, value_parser = count)]
    pub(crate) rooms: usize,
    /// Users in each room
    #[arg(short = 'U', long, default_value_t = 10, value_parser = count)]
    pub(crate) users: usize,
    /// Publish to
    #[arg(long, default_value = "room/bench{room}/msg/{user}")]
    pub(crate) topic: String,
    /// Subscribe to
    #[arg(long, default_value = "room/bench{room}/msg/+")]
    pub(crate) filter: String,
}

/// `katydid-bench connect`
#[derive(Debug, Clone, Args)]
pub(crate) struct Connect {
    /// Which broker.
    #[command(flatten)]
    pub(crate) target: Target,
    /// Connections
    #[arg(short = 'N', long, default_value_t = 1000, value_parser = count)]
    pub(crate) connections: usize,
    /// Time to hold them all
    #[arg(long, default_value = "2s", value_parser = time)]
    pub(crate) hold: Duration,
    /// Subscribe to; "" for none
    #[arg(long, default_value = "bench/{run}/{i}")]
    pub(crate) filter: String,
}

/// `katydid-bench offline`
#[derive(Debug, Clone, Args)]
pub(crate) struct Offline {
    /// Which broker.
    #[command(flatten)]
    pub(crate) target: Target,
    /// Bytes of a payload
    #[arg(long, default_value_t = 64, value_parser = size)]
    pub(crate) size: usize,
    /// Messages that wait for each session
    #[arg(short, long, default_value_t = 10_000, value_parser = count32)]
    pub(crate) messages: u32,
    /// Sessions
    #[arg(short = 'S', long, default_value_t = 1, value_parser = count)]
    pub(crate) subscribers: usize,
    /// Unacknowledged messages of the publisher
    #[arg(short, long, default_value_t = 100, value_parser = count)]
    pub(crate) window: usize,
    /// Publish and subscribe to
    #[arg(long, default_value = "bench/{run}/offline")]
    pub(crate) topic: String,
    /// In this chat room, instead of a topic
    #[arg(long, conflicts_with = "topic")]
    pub(crate) room: Option<String>,
}

/// `katydid-bench acked`
#[derive(Debug, Clone, Args)]
pub(crate) struct Acked {
    /// Which broker.
    #[command(flatten)]
    pub(crate) target: Target,
    /// QoS of publishing
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub(crate) qos: u8,
    /// Bytes of a payload
    #[arg(long, default_value_t = 64, value_parser = size)]
    pub(crate) size: usize,
    /// Publishers
    #[arg(short = 'P', long, default_value_t = 1, value_parser = count)]
    pub(crate) publishers: usize,
    /// Unacknowledged messages of each publisher
    #[arg(short, long, default_value_t = 100, value_parser = count)]
    pub(crate) window: usize,
    /// Time of measuring
    #[arg(short, long, default_value = "5s", value_parser = time)]
    pub(crate) duration: Duration,
    /// Publish to
    #[arg(long, default_value = "bench/{run}/acked/{i}")]
    pub(crate) topic: String,
    /// In this chat room, instead of a topic
    #[arg(long, conflicts_with = "topic")]
    pub(crate) room: Option<String>,
}

/// `katydid-bench replay`
#[derive(Debug, Clone, Args)]
pub(crate) struct Replay {
    /// Which broker.
    #[command(flatten)]
    pub(crate) target: Target,
    /// The room to read
    #[arg(long, default_value = "bench-{run}")]
    pub(crate) room: String,
    /// Publish so many messages into the room first; with 0 the room must have them already
    #[arg(long, default_value_t = 0)]
    pub(crate) fill: u32,
    /// Bytes of a payload published first
    #[arg(long, default_value_t = 64, value_parser = size)]
    pub(crate) size: usize,
    /// Readers, all at once
    #[arg(short = 'S', long, default_value_t = 1, value_parser = count)]
    pub(crate) subscribers: usize,
    /// QoS of the subscriptions
    #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,
    /// From where: a number of the room, a time, or a duration such as 2h
    #[arg(long, default_value = "0")]
    pub(crate) since: String,
    /// A reader is done with so many messages; by default with what was published first, or else when
    /// it is quiet for the time of --stall
    #[arg(short, long, value_parser = count32)]
    pub(crate) messages: Option<u32>,
    /// Unacknowledged messages of the publisher that fills the room
    #[arg(short, long, default_value_t = 100, value_parser = count)]
    pub(crate) window: usize,
}

/// `katydid-bench ask`
#[derive(Debug, Clone, Args)]
pub(crate) struct Ask {
    /// Which broker.
    #[command(flatten)]
    pub(crate) target: Target,
    /// What comes after `$chat/`
    #[arg(long, default_value = "whoami")]
    pub(crate) verb: String,
    /// The JSON of the request
    #[arg(long, default_value = "{}")]
    pub(crate) body: String,
    /// QoS of the requests; answers come with QoS 0
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub(crate) qos: u8,
    /// Those who ask
    #[arg(short = 'P', long, default_value_t = 100, value_parser = count)]
    pub(crate) askers: usize,
    /// Unanswered requests of each
    #[arg(short, long, default_value_t = 10, value_parser = count)]
    pub(crate) window: usize,
    /// Time of measuring
    #[arg(short, long, default_value = "5s", value_parser = time)]
    pub(crate) duration: Duration,
}

/// `katydid-bench join`
#[derive(Debug, Clone, Args)]
pub(crate) struct Join {
    /// Which broker.
    #[command(flatten)]
    pub(crate) target: Target,
    /// Connections, each of which enters one room
    #[arg(short = 'N', long, default_value_t = 2_000, value_parser = count)]
    pub(crate) connections: usize,
    /// Rooms to enter, in turn
    #[arg(short = 'R', long, default_value_t = 10, value_parser = count)]
    pub(crate) rooms: usize,
    /// Subscribe to
    #[arg(long, default_value = "room/town{room}/msg/+")]
    pub(crate) filter: String,
}

/// `katydid-bench town`
#[derive(Debug, Clone, Args)]
pub(crate) struct Town {
    /// Rooms: town0, town1 ...
    #[arg(short = 'R', long, default_value_t = 10_000, value_parser = count)]
    pub(crate) rooms: usize,
    /// Memberships in all
    #[arg(short, long, default_value_t = 100_000, value_parser = count)]
    pub(crate) memberships: usize,
    /// Users who have them; nobody can sign in as one
    #[arg(short = 'U', long, default_value_t = 1_000, value_parser = count)]
    pub(crate) users: usize,
}

fn time(text: &str) -> Result<Duration, humantime::DurationError> {
    if text == "0" { Ok(Duration::ZERO) } else { humantime::parse_duration(text) }
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err("from 1 to 1,000,000".into()),
    }
}

fn count32(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(count @ 1..=1_000_000_000) => Ok(count),
        _ => Err("from 1 to 1,000,000,000".into()),
    }
}

fn size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes @ STAMP_BYTES..=100_000) => Ok(bytes),
        _ => Err(format!("from {STAMP_BYTES} to 100,000 bytes")),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=1e8).contains(&rate) => Ok(rate),
        _ => Err("from 0.001 to 100,000,000 messages a second".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        for arguments in [
            &["x", "fanout", "--size", "8"][..],
            &["x", "fanout", "--qos", "3"],
            &["x", "fanout", "--rate", "5", "--window", "5"],
            &["x", "fanout", "--subscribers", "0"],
            &["x", "rooms", "--rate", "0"],
            &["x", "acked", "--qos", "0"],
            &["x", "connect", "--pid", "0"],
            &["x", "replay", "--mqtt", "6"],
        ] {
            assert!(Options::try_parse_from(arguments).is_err(), "{arguments:?}");
        }
    }
}
