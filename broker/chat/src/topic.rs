//! What a topic name or a topic filter means to chat (`topics.md` is the contract).
//!
//! A topic is *plain* (ordinary MQTT), is said in a *place* (a room, a group, or the private messages of a pair), is a
//! *request*, or is *reserved*: nobody publishes there. A filter is plain, enters one place, means every place of a kind
//! that its user is in, waits for answers, or watches what is kept of users.
//!
//! Invariant: a place that this module names is spelled one way only, so that it can be the key of its log.

use crate::name::{check_room, check_user};
use std::borrow::Cow;

/// The first levels that belong to chat. A filter that begins with a wildcard never reaches them.
pub const ROOTS: [&str; 3] = ["room", "group", "user"];

/// The three kinds of places, by the first level of their topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Root {
    /// `room/{name}`.
    Room,
    /// `group/{name}`.
    Group,
    /// `user/{a}/{b}`: the private messages of two users.
    Pair,
}

impl Root {
    /// The first level.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Group => "group",
            Self::Pair => "user",
        }
    }
}

/// The kind of a place, by its key.
pub fn root_of(place: &str) -> Root {
    match place.as_bytes() {
        [b'r', ..] => Root::Room,
        [b'g', ..] => Root::Group,
        _ => Root::Pair,
    }
}

/// The key of the place of two users' private messages: `user/{a}/{b}`, in ascending order of bytes.
pub fn pair(one: &str, other: &str) -> String {
    let (first, second) = if one <= other { (one, other) } else { (other, one) };
    format!("user/{first}/{second}")
}

/// The two users of a pair's place; `None` for a room or a group.
pub fn users_of(place: &str) -> Option<(&str, &str)> {
    place.strip_prefix("user/")?.split_once('/')
}

/// What a topic name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic<'a> {
    /// Ordinary MQTT.
    Plain,
    /// Something said or done in a place.
    Said(Said<'a>),
    /// `user/{user}/profile`: what somebody says of itself, retained.
    Profile {
        /// Who.
        user: &'a str,
    },
    /// `$chat/{verb}`: a request.
    Request {
        /// What comes after `$chat/`.
        verb: &'a str,
    },
    /// A topic that only the broker publishes, or that has no meaning under a chat root.
    Reserved,
}

/// A topic within a place that a user publishes to: `room/{room}/{channel}/{from}`, `group/{group}/{channel}/{from}` or
/// `user/{to}/{channel}/{from}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said<'a> {
    /// What kind of place.
    pub root: Root,
    /// The name of the room or the group; of a pair the one who is spoken to.
    pub name: &'a str,
    /// What kind of thing is said.
    pub channel: Channel,
    /// The user who says it, and the only one who may.
    pub from: &'a str,
    /// `room/{room}` or `group/{group}` as it stands in the topic, `user/{to}` of a pair.
    head: &'a str,
}

impl<'a> Said<'a> {
    /// The key of the place.
    pub fn place(&self) -> Cow<'a, str> {
        match self.root {
            Root::Room | Root::Group => Cow::Borrowed(self.head),
            Root::Pair => Cow::Owned(pair(self.name, self.from)),
        }
    }
}

/// What is said in a place, by the level after its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// `msg`: a message, kept in the log.
    Message,
    /// `event`: an edit, a reaction and the like, kept in the log under the same numbering.
    Event,
    /// `post`: on the board of a group, kept in the log under the same numbering.
    Post,
    /// `typing`: not kept.
    Typing,
    /// `read`: the read marker of a user, of which the highest is kept.
    Read,
}

impl Channel {
    /// Whether what is said here is numbered and kept.
    pub fn is_logged(self) -> bool {
        matches!(self, Self::Message | Self::Event | Self::Post)
    }
}

/// What a topic filter means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter<'a> {
    /// Ordinary MQTT.
    Plain,
    /// Enters one room or group: `room/{room}/{within}`.
    Place {
        /// The key of the place.
        place: &'a str,
        /// The filter below it.
        within: &'a str,
    },
    /// Every room or group that the user is in: `room/+/{within}` or `room/#`.
    Every {
        /// Rooms or groups.
        root: Root,
        /// The filter below the place.
        within: &'a str,
    },
    /// The user's own private messages, and answers to its requests: filters under `user/` that only it may have.
    Own {
        /// The filter with the user's name in the place of a wildcard, to be matched against whole topics.
        filter: Cow<'a, str>,
    },
    /// What is kept of users: `user/{user or +}/presence` and `user/{user or +}/profile`; watched as a plain one.
    Users,
    /// Under a chat root, without a meaning for this user.
    Reserved,
}

/// Says what a valid topic name means.
pub fn classify(topic: &str) -> Topic<'_> {
    let (root, rest) = topic.split_once('/').unwrap_or((topic, ""));
    let root = match root {
        "room" => Root::Room,
        "group" => Root::Group,
        "user" => Root::Pair,
        "$chat" if !rest.is_empty() => return Topic::Request { verb: rest },
        _ if root.starts_with('$') => return Topic::Reserved,
        _ => return Topic::Plain,
    };
    said(root, topic, rest).unwrap_or(Topic::Reserved)
}

fn said<'a>(root: Root, topic: &'a str, rest: &'a str) -> Option<Topic<'a>> {
    let mut levels = rest.split('/');
    let (name, channel) = (levels.next()?, levels.next()?);
    let from = levels.next();
    if levels.next().is_some() {
        return None;
    }
    let check = if root == Root::Pair { check_user } else { check_room };
    check(name).ok()?;
    let channel = match (channel, root, from) {
        ("profile", Root::Pair, None) => return Some(Topic::Profile { user: name }),
        ("msg", ..) => Channel::Message,
        ("event", ..) => Channel::Event,
        ("typing", ..) => Channel::Typing,
        ("read", ..) => Channel::Read,
        ("post", Root::Group, _) => Channel::Post,
        _ => return None,
    };
    let from = from?;
    check_user(from).ok()?;
    let head = &topic[..root.as_str().len() + 1 + name.len()];
    Some(Topic::Said(Said { root, name, channel, from, head }))
}

/// Says what a valid topic filter (without `$share/`, `$last/` or `$since/` before it) means to a user.
pub fn classify_filter<'a>(filter: &'a str, me: Option<&str>) -> Filter<'a> {
    let (root, rest) = filter.split_once('/').unwrap_or((filter, ""));
    match root {
        "room" => place_filter(Root::Room, filter, rest),
        "group" => place_filter(Root::Group, filter, rest),
        "user" => user_filter(filter, rest, me),
        "$chat" => Filter::Reserved,
        _ => Filter::Plain,
    }
}

fn place_filter<'a>(root: Root, filter: &'a str, rest: &'a str) -> Filter<'a> {
    match rest.split_once('/') {
        _ if rest == "#" => Filter::Every { root, within: "#" },
        Some(("+", within)) => Filter::Every { root, within },
        Some((name, within)) if check_room(name).is_ok() => {
            Filter::Place { place: &filter[..root.as_str().len() + 1 + name.len()], within }
        }
        _ => Filter::Reserved,
    }
}

/// `user/{to}/...`: somebody reads what is said to it, and what it says to others, and nothing else of what is private.
fn user_filter<'a>(filter: &'a str, rest: &'a str, me: Option<&str>) -> Filter<'a> {
    let (to, within) = rest.split_once('/').unwrap_or((rest, ""));
    if matches!(within, "presence" | "profile") && (to == "+" || check_user(to).is_ok()) {
        return Filter::Users;
    }
    let Some(me) = me else { return Filter::Reserved };
    let says_itself = within.split_once('/').is_some_and(|(_, from)| from == me);
    match to {
        "#" => Filter::Own { filter: Cow::Owned(format!("user/{me}/#")) },
        _ if within.is_empty() => Filter::Reserved,
        _ if to == me || (says_itself && (to == "+" || check_user(to).is_ok())) => {
            Filter::Own { filter: Cow::Borrowed(filter) }
        }
        "+" => Filter::Own { filter: Cow::Owned(format!("user/{me}/{within}")) },
        _ => Filter::Reserved,
    }
}

/// Whether a topic is one that answers to a user's requests may be sent to: `user/{me}/reply` or below it.
pub fn is_reply_of(topic: &str, me: &str) -> bool {
    let Some(rest) = topic.strip_prefix("user/").and_then(|rest| rest.strip_prefix(me)) else { return false };
    rest == "/reply" || rest.starts_with("/reply/")
}

/// Where a subscription to a place starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// At the last messages, this many.
    Last(u32),
    /// At a number.
    Since(u64),
    /// At a time, in milliseconds since the Unix epoch.
    SinceTime(u64),
    /// So many milliseconds ago.
    SinceAgo(u64),
}

/// A filter with the replay prefix taken off, or an error where the prefix does not parse.
///
/// `$last/{n}/{filter}` and `$since/{seq or duration}/{filter}` say where a 3.1.1 client's subscription starts.
pub fn split_replay(filter: &str) -> Result<(Option<Replay>, &str), BadReplay> {
    if let Some(rest) = filter.strip_prefix("$last/") {
        let (count, filter) = rest.split_once('/').ok_or(BadReplay)?;
        return Ok((Some(Replay::last(count)?), filter));
    }
    if let Some(rest) = filter.strip_prefix("$since/") {
        let (since, filter) = rest.split_once('/').ok_or(BadReplay)?;
        return Ok((Some(Replay::since(since)?), filter));
    }
    Ok((None, filter))
}

/// A replay prefix or property that does not parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadReplay;

impl Replay {
    /// Parses the value of `last`: a count.
    pub fn last(text: &str) -> Result<Self, BadReplay> {
        text.parse().map(Self::Last).map_err(|_| BadReplay)
    }

    /// Parses the value of `since`: a number, an RFC 3339 time, or a duration such as `2h` or `1day 12h`.
    pub fn since(text: &str) -> Result<Self, BadReplay> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self::Since).map_err(|_| BadReplay);
        }
        if let Ok(time) = humantime::parse_rfc3339_weak(text) {
            let since_epoch = time.duration_since(std::time::UNIX_EPOCH).map_err(|_| BadReplay)?;
            return u64::try_from(since_epoch.as_millis()).map(Self::SinceTime).map_err(|_| BadReplay);
        }
        let ago = humantime::parse_duration(text).map_err(|_| BadReplay)?;
        u64::try_from(ago.as_millis()).map(Self::SinceAgo).map_err(|_| BadReplay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_at(topic: &str) -> (String, Channel, &str) {
        match classify(topic) {
            Topic::Said(said) => (said.place().into_owned(), said.channel, said.from),
            other => panic!("{topic} is {other:?}"),
        }
    }

    #[test]
    fn topics_are_classified() {
        assert_eq!(said_at("room/Home/msg/ann"), ("room/Home".into(), Channel::Message, "ann"));
        assert_eq!(said_at("group/x/post/ann"), ("group/x".into(), Channel::Post, "ann"));
        assert_eq!(said_at("group/x/read/ann"), ("group/x".into(), Channel::Read, "ann"));
        assert_eq!(said_at("user/bob/msg/ann"), ("user/ann/bob".into(), Channel::Message, "ann"));
        assert_eq!(said_at("user/ann/event/bob"), ("user/ann/bob".into(), Channel::Event, "bob"));
        assert_eq!(classify("user/ann/profile"), Topic::Profile { user: "ann" });
        assert_eq!(classify("$chat/room/create"), Topic::Request { verb: "room/create" });
        for reserved in
            ["room", "room/Home", "room/Home/msg", "room/Home/msg/a/b", "room/Home/info", "room//msg/a"]
        {
            assert_eq!(classify(reserved), Topic::Reserved, "{reserved}");
        }
        for reserved in
            ["room/x/post/a", "user/a/reply", "user/a/presence", "user/a/msg", "$SYS/x", "$chat", "$chat/"]
        {
            assert_eq!(classify(reserved), Topic::Reserved, "{reserved}");
        }
        for plain in ["rooms/x", "a", "/room/x/msg/y", "Room/x/msg/y"] {
            assert_eq!(classify(plain), Topic::Plain, "{plain}");
        }
    }

    #[test]
    fn filters_are_classified() {
        let of = |filter| classify_filter(filter, Some("ann"));
        assert_eq!(of("room/Home/#"), Filter::Place { place: "room/Home", within: "#" });
        assert_eq!(of("group/Home/msg/+"), Filter::Place { place: "group/Home", within: "msg/+" });
        assert_eq!(of("room/+/msg/+"), Filter::Every { root: Root::Room, within: "msg/+" });
        assert_eq!(of("group/#"), Filter::Every { root: Root::Group, within: "#" });
        for reserved in ["room", "room/Home", "user", "user/ann", "user/bob/msg/+", "user/bob/#", "$chat/#"] {
            assert_eq!(of(reserved), Filter::Reserved, "{reserved}");
        }
        for plain in ["#", "+/Home/msg/+", "$SYS/#"] {
            assert_eq!(of(plain), Filter::Plain, "{plain}");
        }
    }

    #[test]
    fn one_reads_what_is_said_to_one_and_what_one_says() {
        let own = |filter| match classify_filter(filter, Some("ann")) {
            Filter::Own { filter } => filter.into_owned(),
            other => panic!("{filter} is {other:?}"),
        };
        assert_eq!(own("user/+/msg/+"), "user/ann/msg/+");
        assert_eq!(own("user/#"), "user/ann/#");
        assert_eq!(own("user/ann/msg/bob"), "user/ann/msg/bob");
        assert_eq!(own("user/+/msg/ann"), "user/+/msg/ann");
        assert_eq!(own("user/bob/msg/ann"), "user/bob/msg/ann");
        assert_eq!(own("user/+/reply"), "user/ann/reply");
        for users in ["user/bob/presence", "user/+/profile"] {
            assert_eq!(classify_filter(users, None), Filter::Users, "{users}");
        }
        assert_eq!(classify_filter("user/+/msg/+", None), Filter::Reserved);
        assert!(is_reply_of("user/ann/reply/7", "ann") && is_reply_of("user/ann/reply", "ann"));
        assert!(!is_reply_of("user/ann/replay", "ann") && !is_reply_of("user/anna/reply", "ann"));
    }

    #[test]
    fn replay_prefixes_are_taken_off() {
        assert_eq!(split_replay("$last/5/room/x/#"), Ok((Some(Replay::Last(5)), "room/x/#")));
        assert_eq!(split_replay("$since/0/room/x/#"), Ok((Some(Replay::Since(0)), "room/x/#")));
        assert_eq!(split_replay("$since/2h/room/x/#"), Ok((Some(Replay::SinceAgo(7_200_000)), "room/x/#")));
        assert_eq!(Replay::since("1970-01-01T00:00:01Z"), Ok(Replay::SinceTime(1000)));
        assert_eq!(split_replay("room/x/#"), Ok((None, "room/x/#")));
        for bad in ["$last/x/room/x/#", "$last/5", "$since//room/x/#", "$since/soon/room/x/#", "$last/-1/a"] {
            assert_eq!(split_replay(bad), Err(BadReplay), "{bad}");
        }
    }
}
