//! The table of keys: every setting there is, with its name in the file, the environment and the command line, its
//! default, its kind and its manual entry. Reading, checking and printing a configuration all go by this table, so
//! nothing about a key is written anywhere else.

mod listener;

pub(super) use listener::LISTENER;

use super::{
    kind::Kind::{self, Choice, Count, Path, Size, Switch, Text, Time},
    openid::Provider,
    proof::Draft,
};
use crate::logging::{Format, Level};
use katydid_chat::directory::Registration;
use katydid_engine::settings::QueuePolicy;
use std::time::Duration;

/// One setting of a `T`.
pub(super) struct Key<T: 'static> {
    /// Its name: sections, dots, dashes.
    pub(super) name: &'static str,
    /// What holds when nothing is said.
    pub(super) preset: Preset,
    /// What it holds and where that goes.
    pub(super) kind: Kind<T>,
    /// When a change takes effect.
    pub(super) change: Change,
    /// What it does.
    pub(super) about: &'static str,
    /// The memory that it can cost; for limits.
    pub(super) memory: &'static str,
    /// The counter under `$SYS/broker/katydid/` that grows when the limit is hit.
    pub(super) counter: &'static str,
}

/// What holds when a key is not given.
pub(super) enum Preset {
    /// This value.
    Is(&'static str),
    /// None; the manual shows this one.
    None { example: &'static str },
}

/// When a changed value takes effect.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// With the next reload (SIGHUP).
    Reload,
    /// With the next start.
    Restart,
}

use Change::{Reload, Restart};
use Preset::Is;

const MS: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Whole days that fit the 32 bits of MQTT, whose last value is for ever.
const LONGEST_EXPIRY: Duration = Duration::from_secs(49_710 * 24 * 3600);
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);
const MAX_PACKET: u64 = 268_435_460;

/// A key that is no limit.
const fn key<T>(
    name: &'static str,
    preset: Preset,
    kind: Kind<T>,
    change: Change,
    about: &'static str,
) -> Key<T> {
    Key { name, preset, kind, change, about, memory: "", counter: "" }
}

/// A limit, which says what it can cost and where it is counted.
const fn limit(
    name: &'static str,
    preset: &'static str,
    kind: Kind<Draft>,
    [about, memory, counter]: [&'static str; 3],
) -> Key<Draft> {
    Key { name, preset: Is(preset), kind, change: Reload, about, memory, counter }
}

/// A number of at most `most`.
const fn count(most: u64, set: fn(&mut Draft, u64)) -> Kind<Draft> {
    Count { least: 1, most, words: &[], set }
}

/// A number, where "none" takes the limit away.
const fn count_or_none(most: u64, set: fn(&mut Draft, u64)) -> Kind<Draft> {
    Count { least: 1, most, words: &[("none", 0)], set }
}

/// Takes names with commas between them.
fn names(into: &mut Vec<String>, text: &str) -> bool {
    *into = text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    true
}

/// Takes text that is not empty.
fn present(into: &mut Option<String>, text: &str) -> bool {
    *into = Some(text.to_owned()).filter(|text| !text.is_empty());
    into.is_some()
}

/// The keys of the broker as a whole.
pub(super) static GLOBAL: &[Key<Draft>] = &[
    key(
        "store.persistence",
        Is("true"),
        Switch { set: |d, v| d.persistence = v },
        Restart,
        "Whether rooms, sessions, their queues and retained messages are kept on disk. Without, all is lost on exit \
         and an acknowledgement promises nothing.",
    ),
    key(
        "store.path",
        Is("./katydid-data"),
        Path { set: |d, v| d.store.path = v },
        Restart,
        "Folder of the database; made when missing. --data-dir is short for it.",
    ),
    key(
        "store.key-file",
        Preset::None { example: "/etc/katydid/storage-key" },
        Path { set: |d, v| d.store.key_file = v },
        Restart,
        "File with the key that encrypts the database: 64 hexadecimal digits, as `openssl rand -hex 32` prints them. \
         The key can be in the environment instead, as KATYDID_STORAGE_KEY. A new database is made encrypted; one that \
         is there changes with `katydid rekey`. Who loses the key loses the database.",
    ),
    key(
        "store.cache-size",
        Is("64MiB"),
        Size { least: 1 << 20, most: 1 << 40, set: |d, v| d.store.cache_bytes = v },
        Restart,
        "Memory that the database keeps pages in. Costs this much once it is warm.",
    ),
    key(
        "store.lazy-commit",
        Is("100ms"),
        Time {
            least: Duration::ZERO,
            most: SEC.saturating_mul(10),
            step: MS,
            words: &[],
            set: |d, v| d.store.lazy_commit = v,
        },
        Restart,
        "Longest time that a commit nobody waits for may be delayed so that others join it.",
    ),
    key(
        "store.index-delay",
        Is("30s"),
        Time {
            least: Duration::ZERO,
            most: SEC.saturating_mul(3600),
            step: MS,
            words: &[],
            set: |d, v| d.store.index_delay = v,
        },
        Restart,
        "Longest time that what is said in a quiet room waits until its words come into the index for searches, together \
         with what else is said by then. What waits is found too: a search reads it.",
    ),
    key(
        "store.sync-delay",
        Is("0s"),
        Time {
            least: Duration::ZERO,
            most: SEC.saturating_mul(10),
            step: MS,
            words: &[],
            set: |d, v| d.store.sync_delay = v,
        },
        Restart,
        "Delay added to each sync to disk, to see how the broker does on a slow one. For tests.",
    ),
    key(
        "threads.shards",
        Is("auto"),
        Count { least: 1, most: 64, words: &[("auto", 0)], set: |d, v| d.shards = v as usize },
        Restart,
        "Threads that carry connections, sessions and rooms; \"auto\" is one a processor.",
    ),
    key(
        "threads.share",
        Is("true"),
        Switch { set: |d, v| d.share_threads = v },
        Restart,
        "Whether one thread does the work of several while there is little of it, which takes less processor time.",
    ),
    key(
        "threads.full",
        Is("90"),
        Count { least: 1, most: 100, words: &[], set: |d, v| d.full_percent = v },
        Restart,
        "How many percent of the time a thread has to work until it gives half of its shards to another one.",
    ),
    key(
        "threads.verify",
        Is("auto"),
        Count { least: 1, most: 64, words: &[("auto", 0)], set: |d, v| d.verify_threads = v as usize },
        Restart,
        "Threads that verify passwords; \"auto\" is one for two processors, so that a flood of logins leaves others as fast as \
         they were. Each keeps 19MiB from the first one on. At most 4,096 passwords wait for one; CONNECT beyond is refused \
         with 0x89 (server busy) and counted in verifications_refused.",
    ),
    key(
        "sys.interval",
        Is("10s"),
        Time {
            least: MS.saturating_mul(100),
            most: HOUR,
            step: MS,
            words: &[("never", Duration::ZERO)],
            set: |d, v| d.sys_interval = v,
        },
        Restart,
        "How often the statistics under $SYS/broker/ are published.",
    ),
    key(
        "passwords.file",
        Preset::None { example: "/etc/katydid/passwords" },
        Path { set: |d, v| d.password_file = v },
        Reload,
        "Registered users, one a line, as `katydid passwd FILE USER` writes them. Without, nobody has a password.",
    ),
    key(
        "access.file",
        Preset::None { example: "/etc/katydid/access" },
        Path { set: |d, v| d.access_file = v },
        Reload,
        "Who may read and write which plain topic, in mosquitto's form: `user`, `topic read|write|readwrite|deny` and \
         `pattern` with %u and %c. Without, everyone may everything outside of rooms.",
    ),
    key(
        "access.conceal",
        Is("false"),
        Switch { set: |d, v| d.conceal_refusals = v },
        Reload,
        "Whether a subscription that the access list refuses is answered with 0x80 (unspecified error) instead of 0x87 \
         (not authorized), which tells that there is something to be authorized for.",
    ),
    key(
        "rooms.enabled",
        Is("true"),
        Switch { set: |d, v| d.rooms.enabled = v },
        Restart,
        "Whether topics under room/ are rooms, with numbers and a history; otherwise they are plain topics.",
    ),
    key(
        "rooms.replay",
        Is("20"),
        Count { least: 0, most: 1_000_000, words: &[], set: |d, v| d.rooms.replay = v as u32 },
        Reload,
        "How many old messages a new subscription gets when it does not say.",
    ),
    key(
        "rooms.tail-size",
        Is("256KiB"),
        Size { least: 1 << 10, most: 1 << 30, set: |d, v| d.rooms.tail_bytes = v as usize },
        Reload,
        "Recent messages that each active room keeps in memory. Costs at most this much a room.",
    ),
    key(
        "rooms.history-messages",
        Is("all"),
        Count {
            least: 1,
            most: u64::MAX >> 1,
            words: &[("all", 0)],
            set: |d, v| d.rooms.history_messages = v,
        },
        Reload,
        "Messages that each room keeps; older ones are deleted. Costs disk, not memory.",
    ),
    key(
        "rooms.create",
        Is("true"),
        Switch { set: |d, v| d.chat.creates_rooms = v },
        Reload,
        "Whether a room that is not there is made by the first who enters it or speaks in it.",
    ),
    key(
        "rooms.create-by-request",
        Is("true"),
        Switch { set: |d, v| d.chat.creates_by_request = v },
        Reload,
        "Whether users make rooms and groups by $chat/room/create and $chat/group/create; otherwise only the operator.",
    ),
    key(
        "rooms.per-user",
        Is("1000"),
        Count {
            least: 0,
            most: u32::MAX as u64,
            words: &[],
            set: |d, v| d.chat.places_per_user = v as usize,
        },
        Reload,
        "Rooms and groups that one user may own.",
    ),
    key(
        "rooms.total",
        Is("200000"),
        Count { least: 1, most: u32::MAX as u64, words: &[], set: |d, v| d.chat.places = v as usize },
        Reload,
        "Rooms and groups in all. Each costs about 1KiB of memory, and 200 bytes a member.",
    ),
    key(
        "rooms.reserved",
        Is(""),
        Text {
            form: "names with commas between them; * stands for anything",
            set: |d, v| names(&mut d.chat.reserved_places, v),
        },
        Reload,
        "Names of rooms and groups that only the operator makes, such as \"staff*, news\"; without regard to case.",
    ),
    key(
        "rooms.expiry",
        Is("30d"),
        Time {
            least: SEC,
            most: LONGEST_EXPIRY,
            step: SEC,
            words: &[("never", Duration::ZERO)],
            set: |d, v| d.chat.room_expiry_secs = v.as_secs(),
        },
        Reload,
        "How long a room may be unused until it deletes itself, unless its owner says otherwise.",
    ),
    key(
        "rooms.presence-members",
        Is("100"),
        Count {
            least: 0,
            most: u32::MAX as u64,
            words: &[],
            set: |d, v| d.chat.presence_members = v as usize,
        },
        Reload,
        "Members above which a room or group tells no presence of single users, only how many there are.",
    ),
    key(
        "rooms.presence-interval",
        Is("1s"),
        Time {
            least: MS,
            most: HOUR,
            step: MS,
            words: &[],
            set: |d, v| d.chat.presence_interval_ms = v.as_millis() as u64,
        },
        Reload,
        "Presence and the infos of places are told at most once in this time.",
    ),
    key(
        "groups.expiry",
        Is("never"),
        Time {
            least: SEC,
            most: LONGEST_EXPIRY,
            step: SEC,
            words: &[("never", Duration::ZERO)],
            set: |d, v| d.chat.group_expiry_secs = v.as_secs(),
        },
        Reload,
        "How long a group may be unused until it deletes itself, unless its owner says otherwise.",
    ),
    key(
        "groups.posts",
        Is("10000"),
        Count { least: 0, most: 1_000_000, words: &[], set: |d, v| d.chat.posts_per_group = v as usize },
        Reload,
        "Posts on the board of one group. Each costs its text in memory, at most 32KiB.",
    ),
    key(
        "accounts.registration",
        Is("open"),
        Choice {
            words: &["open", "token", "operator"],
            set: |d, v| {
                d.chat.registration = match v {
                    0 => Registration::Open,
                    1 => Registration::Token(String::new()),
                    _ => Registration::Operator,
                }
            },
        },
        Reload,
        "Who may register: everybody, who knows accounts.registration-token, or nobody but the operator.",
    ),
    key(
        "accounts.registration-token",
        Preset::None { example: "a word that was passed on" },
        Text {
            form: "some text",
            set: |d, v| {
                d.registration_token = Some(v.to_owned());
                !v.is_empty()
            },
        },
        Reload,
        "What somebody who registers has to know, where accounts.registration is \"token\".",
    ),
    key(
        "accounts.anonymous",
        Is("true"),
        Switch { set: |d, v| d.chat.anonymous = v },
        Reload,
        "Whether a name that nobody has comes without password, on listeners that let anonymous clients in.",
    ),
    key(
        "accounts.anonymous-hold",
        Is("1h"),
        Time {
            least: Duration::ZERO,
            most: LONGEST_EXPIRY,
            step: MS,
            words: &[],
            set: |d, v| d.chat.anonymous_hold_ms = v.as_millis() as u64,
        },
        Reload,
        "How long an anonymous name stays taken while nobody is connected under it.",
    ),
    key(
        "accounts.reserved",
        Is(""),
        Text {
            form: "names with commas between them; * stands for anything",
            set: |d, v| names(&mut d.chat.reserved_users, v),
        },
        Reload,
        "Names that nobody takes without the operator, such as \"admin*\"; without regard to case.",
    ),
    key(
        "accounts.failures-per-name",
        Is("10"),
        Count {
            least: 1,
            most: 1_000_000,
            words: &[],
            set: |d, v| d.chat.sign_in_failures_per_name = v as u32,
        },
        Reload,
        "Sign-ins a minute that may fail for a name from one address, before the next is refused unseen.",
    ),
    key(
        "accounts.failures-per-address",
        Is("100"),
        Count {
            least: 1,
            most: 1_000_000,
            words: &[],
            set: |d, v| d.chat.sign_in_failures_per_address = v as u32,
        },
        Reload,
        "The same for one address, whatever the name.",
    ),
    key(
        "accounts.requests-per-second",
        Is("50"),
        Count { least: 1, most: 1_000_000, words: &[], set: |d, v| d.chat.requests_per_sec = v as u32 },
        Reload,
        "Requests a second of one user; ten times as many at once.",
    ),
    key(
        "accounts.pages-per-second",
        Is("20"),
        Count { least: 1, most: 1_000_000, words: &[], set: |d, v| d.chat.pages_per_sec = v as u32 },
        Reload,
        "Pages of history a second of one user; ten times as many at once.",
    ),
    key(
        "accounts.contacts",
        Is("1000"),
        Count { least: 0, most: 1_000_000, words: &[], set: |d, v| d.chat.contacts_per_user = v as usize },
        Reload,
        "Friends, ignored users and tokens, each, that one user may have.",
    ),
    key(
        "openid.issuer",
        Preset::None { example: "https://id.example.org/realms/chat" },
        Text { form: "some text", set: |d, v| present(&mut d.openid.issuer, v) },
        Reload,
        "An OpenID Connect provider, exactly as its tokens name it (`iss`). Whoever has a token of it (JWT, signed with RS256, \
         ES256 or EdDSA) signs in with that as password, or by the authentication methods OAUTHBEARER and OAUTH2-JWT, and \
         has an account from the first time on. The account stays this provider's user's: when the provider has another \
         name, its accounts are other people's. Needs rooms.enabled.",
    ),
    key(
        "openid.audience",
        Preset::None { example: "katydid" },
        Text { form: "some text", set: |d, v| present(&mut d.openid.audience, v) },
        Reload,
        "Whom the tokens must be for (`aud`): tokens that the provider gives for other services let nobody in.",
    ),
    key(
        "openid.keys-url",
        Preset::None { example: "https://id.example.org/realms/chat/certs" },
        Text {
            form: "an address that begins with https://, or with http:// and this machine",
            set: |d, v| Provider::allows(v) && present(&mut d.openid.keys_url, v),
        },
        Reload,
        "Where the provider's keys are: a JWK set. Read at the start, on SIGHUP, and when a token names a key that is not in \
         it: five times in a row for those at most, and then every 10 seconds.",
    ),
    key(
        "openid.keys-file",
        Preset::None { example: "/etc/katydid/provider-keys.json" },
        Path { set: |d, v| d.openid.keys_file = v },
        Reload,
        "The same as a file, where the provider cannot be reached.",
    ),
    key(
        "openid.user-claim",
        Is("preferred_username"),
        Text { form: "the name of a claim", set: |d, v| present(&mut d.openid.claim, v) },
        Reload,
        "Which claim of a token is the user name.",
    ),
    key(
        "openid.leeway",
        Is("30s"),
        Time { least: Duration::ZERO, most: HOUR, step: SEC, words: &[], set: |d, v| d.openid.leeway = v },
        Reload,
        "How far the provider's clock may be off. A connection ends when its token has expired by more than this.",
    ),
    limit(
        "limits.connections",
        "1000000",
        count(u32::MAX as u64, |d, v| d.max_connections = v as usize),
        [
            "Connections in all. One too many is closed when it is accepted.",
            "About 2KiB for each that is idle, and limits.outgoing-size for each that reads slowly",
            "connections_refused",
        ],
    ),
    limit(
        "limits.connections-per-address",
        "none",
        count_or_none(u32::MAX as u64, |d, v| d.max_connections_per_address = v as usize),
        [
            "Connections from one address; behind PROXY protocol, of the address that the proxy names.",
            "As limits.connections, and 64 bytes for each address",
            "connections_refused",
        ],
    ),
    limit(
        "limits.connect-rate",
        "none",
        count_or_none(u32::MAX as u64, |d, v| d.connect_rate = v as u32),
        [
            "Connections accepted a second. Those over it wait in the system's queue.",
            "None in the broker",
            "connections_delayed",
        ],
    ),
    limit(
        "limits.connect-timeout",
        "10s",
        Time {
            least: MS.saturating_mul(100),
            most: HOUR,
            step: MS,
            words: &[],
            set: |d, v| d.limits.connect_timeout_ms = v.as_millis() as u64,
        },
        [
            "Time that a connection has for its TLS and WebSocket handshakes and its CONNECT.",
            "A buffer of a connection for this long",
            "keep_alive_timeouts",
        ],
    ),
    limit(
        "limits.packet-size",
        "2MiB",
        Size { least: 128, most: MAX_PACKET, set: |d, v| d.limits.packet_bytes = v as u32 },
        [
            "The longest packet; announced to 5.0 clients, who are disconnected with 0x95 when they send a longer one.",
            "At most this much for each connection in the middle of sending a packet",
            "protocol_errors",
        ],
    ),
    limit(
        "limits.receive-maximum",
        "1024",
        count(65_535, |d, v| d.limits.receive_maximum = v as u16),
        [
            "QoS 1 and 2 messages that a client may send before they are acknowledged; announced to 5.0 clients.",
            "8 bytes for each",
            "protocol_errors",
        ],
    ),
    limit(
        "limits.inflight",
        "1024",
        count(65_535, |d, v| d.limits.inflight = v as u16),
        [
            "QoS 1 and 2 messages sent to a client and not acknowledged, however many it takes. The rest waits.",
            "32 bytes for each, and the message where nobody else has it",
            "queued_now",
        ],
    ),
    limit(
        "limits.topic-aliases",
        "64",
        Count { least: 0, most: 65_535, words: &[], set: |d, v| d.limits.topic_aliases = v as u16 },
        [
            "Topic aliases that a client may set; announced to 5.0 clients.",
            "The length of its topic for each that is set",
            "protocol_errors",
        ],
    ),
    limit(
        "limits.keep-alive",
        "none",
        Time {
            least: SEC,
            most: Duration::from_secs(65_535),
            step: SEC,
            words: &[("none", Duration::ZERO)],
            set: |d, v| d.limits.keep_alive_secs = v.as_secs() as u16,
        },
        [
            "Longest keep alive; a longer one, or none, is answered with this one as Server Keep Alive.",
            "None; it ends connections whose other end is gone",
            "keep_alive_timeouts",
        ],
    ),
    limit(
        "limits.outgoing-size",
        "1MiB",
        Size { least: 4 << 10, most: 1 << 30, set: |d, v| d.limits.ring_bytes = v as usize },
        [
            "Bytes that wait to be written to a connection. Over it, messages of plain topics with QoS 0 are dropped; \
             all others wait where they are kept.",
            "At most this much for each connection that reads slowly",
            "dropped_slow_reader",
        ],
    ),
    limit(
        "limits.queue-messages",
        "100000",
        count(u32::MAX as u64, |d, v| d.limits.queue_messages = v as usize),
        [
            "QoS 1 and 2 messages of plain topics that wait for a session. Messages of rooms are not counted: they wait \
             in the room's history.",
            "About 100 bytes for each, and the message where nobody else has it",
            "dropped_queue_full",
        ],
    ),
    limit(
        "limits.queue-size",
        "64MiB",
        Size { least: 1 << 10, most: 1 << 40, set: |d, v| d.limits.queue_bytes = v as usize },
        [
            "Bytes of the messages that limits.queue-messages counts.",
            "At most this much for each session",
            "dropped_queue_full",
        ],
    ),
    limit(
        "limits.queue-policy",
        "drop-oldest",
        Choice {
            words: &["drop-oldest", "disconnect"],
            set: |d, v| {
                d.limits.queue_policy = [QueuePolicy::DropOldest, QueuePolicy::Disconnect][v];
            },
        },
        [
            "What happens when that queue is full: the oldest message is dropped, or a connected client is disconnected \
             with 0x97. The oldest is dropped in any case while a client is away, and when it has come back until it has \
             caught up with half of its queue.",
            "None",
            "dropped_queue_full",
        ],
    ),
    limit(
        "limits.sessions",
        "1000000",
        count(u32::MAX as u64, |d, v| d.limits.sessions = v as usize),
        [
            "Sessions, connected or not; each shard takes an equal part.",
            "About 1KiB for each, and its subscriptions and queue",
            "refused_sessions",
        ],
    ),
    limit(
        "limits.session-expiry",
        "7d",
        Time {
            least: Duration::ZERO,
            most: LONGEST_EXPIRY,
            step: SEC,
            words: &[("never", FOR_EVER), ("forever", FOR_EVER)],
            set: |d, v| d.limits.session_expiry_secs = v.as_secs().try_into().unwrap_or(u32::MAX),
        },
        [
            "How long a session is kept after its connection ended, whatever longer time a 5.0 client asks for; a 3.1.1 \
             session that is not clean gets this.",
            "A session and its queue for this long",
            "sessions_expired",
        ],
    ),
    limit(
        "limits.subscriptions",
        "10000",
        count(u32::MAX as u64, |d, v| d.limits.subscriptions = v as usize),
        [
            "Subscriptions a session; those for one room, or for every room, are at most 64 besides.",
            "About 200 bytes and its filter for each",
            "refused_subscriptions",
        ],
    ),
    limit(
        "limits.topic-length",
        "4096",
        Count { least: 16, most: 65_535, words: &[], set: |d, v| d.limits.topic_bytes = v as usize },
        ["Bytes of a topic name or filter.", "This much for each subscription", "refused_topics"],
    ),
    limit(
        "limits.topic-levels",
        "64",
        count(65_535, |d, v| d.limits.topic_levels = v as usize),
        ["Levels of a topic name or filter.", "About 100 bytes for each of a subscription", "refused_topics"],
    ),
    limit(
        "limits.retained-messages",
        "1000000",
        count(u32::MAX as u64, |d, v| d.limits.retained_messages = v as usize),
        [
            "Retained messages; each shard takes an equal part. One too many is forwarded and not retained.",
            "About 200 bytes for each besides limits.retained-size",
            "refused_retained",
        ],
    ),
    limit(
        "limits.retained-size",
        "1GiB",
        Size { least: 1 << 10, most: 1 << 44, set: |d, v| d.limits.retained_bytes = v as usize },
        [
            "Bytes of retained messages; each shard takes an equal part.",
            "At most this much",
            "refused_retained",
        ],
    ),
    limit(
        "limits.publish-rate",
        "none",
        count_or_none(u32::MAX as u64, |d, v| d.limits.publish_rate = v as u32),
        [
            "PUBLISH packets a second that are read from one client; over it, reading pauses.",
            "None; what was not read waits with the sender",
            "paused_rate",
        ],
    ),
    key(
        "log.level",
        Is("info"),
        Choice {
            words: &["error", "warn", "info", "debug", "trace"],
            set: |d, v| {
                d.log.level = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace][v];
            },
        },
        Restart,
        "How much is logged: error: an operator has to act; warn: a peer misbehaved; info: life cycle; debug: packets, \
         without what they say. -v is short for debug, -vv for trace.",
    ),
    key(
        "log.format",
        Is("text"),
        Choice { words: &["text", "json"], set: |d, v| d.log.format = [Format::Text, Format::Json][v] },
        Restart,
        "The form of a line on standard error.",
    ),
    key(
        "bridge.on",
        Is("true"),
        Switch { set: |d, v| d.bridge.on = v },
        Restart,
        "Whether legacy protocols are served, those that are on below. When it is not said: not with -p, which opens \
         nothing else, and not without rooms.",
    ),
    key(
        "bridge.allow-anonymous",
        Preset::None { example: "true" },
        Switch { set: |d, v| d.bridge.allow_anonymous = Some(v) },
        Restart,
        "Whether legacy users without password are let in. When it is not said: only where every listener of the bridge \
         is at 127.0.0.1 or ::1. mChat has no passwords.",
    ),
    key(
        "bridge.threads",
        Is("auto"),
        Count { least: 1, most: 64, words: &[("auto", 0)], set: |d, v| d.bridge.threads = v as usize },
        Restart,
        "Threads of the bridge; \"auto\" is one a processor. They sleep while nobody says anything.",
    ),
];
