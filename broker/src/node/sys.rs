//! The statistics under `$SYS/broker/`, named as mosquitto names them where it has one.
//!
//! Every interval the counters of all shards are added up, and topics whose value has changed are published. What
//! mosquitto does not have is under `$SYS/broker/katydid/`, each counter by its own name. This file has no clock and
//! no thread: it is handed the sums and the time.

use katydid_engine::Counters;
use std::{collections::HashMap, time::Duration};

/// What the driver itself has counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DriverCounters {
    /// Connections refused at the door.
    pub(super) connections_refused: u64,
    /// Pauses of accepting because of the rate.
    pub(super) connections_delayed: u64,
    /// Connections that broke PROXY, TLS or WebSocket.
    pub(super) connections_broken: u64,
    /// Passwords refused because too many waited.
    pub(super) verifications_refused: u64,
    /// Commits of the store.
    pub(super) store_commits: u64,
    /// Commits of shards that were joined into them.
    pub(super) store_joined: u64,
    /// Log entries in them.
    pub(super) store_messages: u64,
    /// Time that they took, in microseconds.
    pub(super) store_commit_us: u64,
    /// Time that the newest took, in microseconds.
    pub(super) store_last_commit_us: u64,
    /// Syncs of the database file.
    pub(super) store_syncs: u64,
    /// Time that they took, in microseconds.
    pub(super) store_sync_us: u64,
}

/// Lists the engine's counters once; a counter that is missing here does not compile.
macro_rules! counters {
    ($($name:ident)*) => {
        fn add(total: &mut Counters, one: &Counters) {
            let Counters { $($name),* } = *one;
            $(total.$name += $name;)*
        }

        fn named(counters: &Counters) -> impl Iterator<Item = (&'static str, u64)> {
            [$((stringify!($name), counters.$name)),*].into_iter()
        }
    };
}

counters! {
    connections_now connections_total connects_refused sessions_now sessions_expired subscriptions_now
    shared_subscriptions_now retained_now retained_bytes_now rooms_now queued_now queued_bytes_now bytes_received
    bytes_sent packets_received packets_sent publishes_received publishes_sent publish_bytes_received
    publish_bytes_sent publishes_dropped dropped_slow_reader dropped_queue_full dropped_too_large dropped_expired
    refused_not_authorized refused_sessions refused_subscriptions refused_topics refused_payloads
    refused_retained paused_rate
    malformed_packets protocol_errors keep_alive_timeouts takeovers wills_published room_messages room_replayed
    commits
}

/// Adds up the counters of all shards.
pub(super) fn sum<'a>(shards: impl IntoIterator<Item = &'a Counters>) -> Counters {
    let mut total = Counters::default();
    for one in shards {
        add(&mut total, one);
    }
    total
}

/// What was published so far, and the averages.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    published: HashMap<String, String>,
    before: Option<(Duration, Counters)>,
    connected_most: u64,
    loads: [Load; LOADS.len()],
}

/// Averages per minute over 1, 5 and 15 minutes.
#[derive(Debug, Clone, Copy, Default)]
struct Load([f64; 3]);

/// Picks a counter.
type Pick = fn(&Counters) -> u64;

/// The loads and the counter that each follows.
const LOADS: [(&str, Pick); 8] = [
    ("messages/received", |counters| counters.packets_received),
    ("messages/sent", |counters| counters.packets_sent),
    ("publish/received", |counters| counters.publishes_received),
    ("publish/sent", |counters| counters.publishes_sent),
    ("publish/dropped", |counters| counters.publishes_dropped),
    ("bytes/received", |counters| counters.bytes_received),
    ("bytes/sent", |counters| counters.bytes_sent),
    ("connections", |counters| counters.connections_total),
];
const MINUTES: [u8; 3] = [1, 5, 15];

impl Load {
    /// Takes in that the counter grew by `grown` in `seconds`, the way that `uptime` and mosquitto do.
    fn follow(&mut self, grown: u64, seconds: f64) {
        let per_minute = grown as f64 * 60.0 / seconds;
        for (average, minutes) in self.0.iter_mut().zip(MINUTES) {
            let weight = (-seconds / (60.0 * f64::from(minutes))).exp();
            *average = per_minute + weight * (*average - per_minute);
        }
    }
}

impl Statistics {
    /// The topics whose value has changed, after `uptime`.
    pub(super) fn take(
        &mut self,
        uptime: Duration,
        counters: &Counters,
        driver: &DriverCounters,
    ) -> Vec<(String, String)> {
        self.follow(uptime, counters);
        let mut topics = Vec::new();
        self.mosquitto_topics(uptime, counters, &mut topics);
        own_topics(counters, driver, &mut topics);
        topics.retain(|(topic, value)| self.published.get(topic) != Some(value));
        self.published.extend(topics.iter().cloned());
        topics
    }

    fn follow(&mut self, uptime: Duration, counters: &Counters) {
        self.connected_most = self.connected_most.max(counters.connections_now);
        if let Some((then, before)) = self.before.replace((uptime, *counters)) {
            let seconds = uptime.saturating_sub(then).as_secs_f64();
            if seconds > 0.0 {
                for (load, (_, counter)) in self.loads.iter_mut().zip(LOADS) {
                    load.follow(counter(counters).saturating_sub(counter(&before)), seconds);
                }
            }
        }
    }

    fn mosquitto_topics(&self, uptime: Duration, counters: &Counters, topics: &mut Vec<(String, String)>) {
        let mut topic = |name: &str, value: String| topics.push((format!("$SYS/broker/{name}"), value));
        topic("version", format!("katydid version {}", env!("CARGO_PKG_VERSION")));
        topic("uptime", format!("{} seconds", uptime.as_secs()));
        let away = counters.sessions_now.saturating_sub(counters.connections_now);
        for (name, value) in [
            ("clients/connected", counters.connections_now),
            ("clients/active", counters.connections_now),
            ("clients/disconnected", away),
            ("clients/inactive", away),
            ("clients/total", counters.sessions_now.max(counters.connections_now)),
            ("clients/maximum", self.connected_most),
            ("clients/expired", counters.sessions_expired),
            ("messages/received", counters.packets_received),
            ("messages/sent", counters.packets_sent),
            ("messages/stored", counters.queued_now + counters.retained_now),
            ("bytes/received", counters.bytes_received),
            ("bytes/sent", counters.bytes_sent),
            ("publish/messages/received", counters.publishes_received),
            ("publish/messages/sent", counters.publishes_sent),
            ("publish/messages/dropped", counters.publishes_dropped),
            ("publish/bytes/received", counters.publish_bytes_received),
            ("publish/bytes/sent", counters.publish_bytes_sent),
            ("subscriptions/count", counters.subscriptions_now),
            ("shared_subscriptions/count", counters.shared_subscriptions_now),
            ("retained messages/count", counters.retained_now),
            ("store/messages/count", counters.queued_now + counters.retained_now),
            ("store/messages/bytes", counters.queued_bytes_now + counters.retained_bytes_now),
        ] {
            topic(name, value.to_string());
        }
        for (load, (name, _)) in self.loads.iter().zip(LOADS) {
            for (average, minutes) in load.0.iter().zip(MINUTES) {
                topic(&format!("load/{name}/{minutes}min"), format!("{average:.2}"));
            }
        }
    }
}

fn own_topics(counters: &Counters, driver: &DriverCounters, topics: &mut Vec<(String, String)>) {
    let mut topic = |name: &str, value: String| topics.push((format!("$SYS/broker/katydid/{name}"), value));
    for (name, value) in named(counters) {
        topic(name, value.to_string());
    }
    for (name, value) in [
        ("connections_refused", driver.connections_refused),
        ("connections_delayed", driver.connections_delayed),
        ("connections_broken", driver.connections_broken),
        ("verifications_refused", driver.verifications_refused),
        ("store/commits", driver.store_commits),
        ("store/joined_commits", driver.store_joined),
        ("store/messages", driver.store_messages),
        ("store/commit_us_total", driver.store_commit_us),
        ("store/commit_us_last", driver.store_last_commit_us),
        ("store/syncs", driver.store_syncs),
        ("store/sync_us_total", driver.store_sync_us),
    ] {
        topic(name, value.to_string());
    }
    let per_commit = driver.store_messages as f64 / driver.store_commits.max(1) as f64;
    topic("store/messages_per_commit", format!("{per_commit:.2}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(topics: &'a [(String, String)], topic: &str) -> Option<&'a str> {
        topics.iter().find(|(name, _)| name == topic).map(|(_, value)| value.as_str())
    }

    #[test]
    fn shards_are_added_up() {
        let one = Counters { connections_now: 2, bytes_sent: 10, ..Counters::default() };
        let other = Counters { connections_now: 3, commits: 1, ..Counters::default() };
        let expected = Counters { connections_now: 5, bytes_sent: 10, commits: 1, ..Counters::default() };
        assert_eq!(sum([&one, &other]), expected);
    }

    #[test]
    fn only_what_changed_is_published_again() {
        let mut statistics = Statistics::default();
        let driver = DriverCounters { store_commits: 4, store_messages: 10, ..DriverCounters::default() };
        let mut counters = Counters { connections_now: 3, sessions_now: 5, ..Counters::default() };
        let first = statistics.take(Duration::from_secs(1), &counters, &driver);
        assert_eq!(value(&first, "$SYS/broker/clients/connected"), Some("3"));
        assert_eq!(value(&first, "$SYS/broker/clients/disconnected"), Some("2"));
        assert_eq!(value(&first, "$SYS/broker/uptime"), Some("1 seconds"));
        assert_eq!(value(&first, "$SYS/broker/katydid/sessions_now"), Some("5"));
        assert_eq!(value(&first, "$SYS/broker/katydid/store/messages_per_commit"), Some("2.50"));
        counters.connections_now = 1;
        let second = statistics.take(Duration::from_secs(11), &counters, &driver);
        let mut changed: Vec<_> = second.iter().map(|(topic, _)| topic.as_str()).collect();
        changed.sort_unstable();
        let expected = [
            "$SYS/broker/clients/active",
            "$SYS/broker/clients/connected",
            "$SYS/broker/clients/disconnected",
            "$SYS/broker/clients/inactive",
            "$SYS/broker/katydid/connections_now",
            "$SYS/broker/uptime",
        ];
        assert_eq!(changed, expected, "the maximum stays");
    }

    #[test]
    fn a_steady_rate_becomes_the_load() {
        let mut statistics = Statistics::default();
        let driver = DriverCounters::default();
        let mut last = Vec::new();
        for round in 0..1000_u64 {
            let counters =
                Counters { packets_sent: 50 * round, bytes_sent: round % 2, ..Counters::default() };
            last = statistics.take(Duration::from_secs(10 * round), &counters, &driver);
            if round == 1 {
                assert_eq!(value(&last, "$SYS/broker/load/messages/sent/1min"), Some("46.06"));
                assert_eq!(value(&last, "$SYS/broker/load/messages/sent/15min"), Some("3.31"));
            }
        }
        assert!(value(&last, "$SYS/broker/load/messages/sent/1min").is_none(), "it is steady");
        assert_eq!(statistics.published["$SYS/broker/load/messages/sent/15min"], "300.00");
    }
}
