//! What a topic name or a topic filter means to chat (`topics.md` is the contract).
//!
//! A topic is *plain* (ordinary MQTT), belongs to a *room*, or is *reserved* for chat and not open to publishers in
//! that form. A filter is plain, enters one room, or means every room that its session is in.

use crate::name::{check_room, check_user};

/// The first levels that belong to chat. A filter that begins with a wildcard never reaches them.
pub const ROOTS: [&str; 3] = ["room", "group", "user"];

/// What a topic name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic<'a> {
    /// Ordinary MQTT.
    Plain,
    /// Something said or done in a room.
    Room(RoomTopic<'a>),
    /// A topic that only the broker publishes, or that has no meaning under a chat root.
    Reserved,
}

/// A topic within a room that a user publishes to: `room/{room}/{channel}/{from}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomTopic<'a> {
    /// The room's name.
    pub room: &'a str,
    /// What kind of thing is said.
    pub channel: Channel,
    /// The user who says it, and the only one who may.
    pub from: &'a str,
}

/// What is said in a room, by the level after the room's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// `msg`: a message, kept in the log.
    Message,
    /// `event`: an edit, a reaction and the like, kept in the log under the same numbering.
    Event,
    /// `typing`: not kept.
    Typing,
}

impl Channel {
    /// Whether what is said here is numbered and kept.
    pub fn is_logged(self) -> bool {
        matches!(self, Self::Message | Self::Event)
    }
}

/// What a topic filter means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter<'a> {
    /// Ordinary MQTT.
    Plain,
    /// Enters one room: `room/{room}/{within}`.
    Room {
        /// The room's name.
        room: &'a str,
        /// The filter below the room.
        within: &'a str,
    },
    /// Every room that the session is in: `room/+/{within}` or `room/#`.
    EveryRoom {
        /// The filter below the room.
        within: &'a str,
    },
    /// Under a chat root, without a meaning.
    Reserved,
}

/// Says what a valid topic name means.
pub fn classify(topic: &str) -> Topic<'_> {
    let (root, rest) = topic.split_once('/').unwrap_or((topic, ""));
    match root {
        "room" => room_topic(rest).map_or(Topic::Reserved, Topic::Room),
        "group" | "user" => Topic::Reserved,
        _ if root.starts_with('$') => Topic::Reserved,
        _ => Topic::Plain,
    }
}

fn room_topic(rest: &str) -> Option<RoomTopic<'_>> {
    let mut levels = rest.split('/');
    let (room, channel, from) = (levels.next()?, levels.next()?, levels.next()?);
    let channel = match channel {
        "msg" => Channel::Message,
        "event" => Channel::Event,
        "typing" => Channel::Typing,
        _ => return None,
    };
    let valid = levels.next().is_none() && check_room(room).is_ok() && check_user(from).is_ok();
    valid.then_some(RoomTopic { room, channel, from })
}

/// Says what a valid topic filter (without `$share/`, `$last/` or `$since/` before it) means.
pub fn classify_filter(filter: &str) -> Filter<'_> {
    let (root, rest) = filter.split_once('/').unwrap_or((filter, ""));
    match root {
        "room" => match rest.split_once('/') {
            _ if rest == "#" => Filter::EveryRoom { within: "#" },
            Some(("+", within)) => Filter::EveryRoom { within },
            Some((room, within)) if check_room(room).is_ok() => Filter::Room { room, within },
            _ => Filter::Reserved,
        },
        "group" | "user" | "$chat" => Filter::Reserved,
        _ => Filter::Plain,
    }
}

/// Where a subscription to a room starts.
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

    #[test]
    fn topics_are_classified() {
        let said = RoomTopic { room: "Home", channel: Channel::Message, from: "ann" };
        assert_eq!(classify("room/Home/msg/ann"), Topic::Room(said));
        for reserved in
            ["room", "room/Home", "room/Home/msg", "room/Home/msg/a/b", "room/Home/info", "room//msg/a"]
        {
            assert_eq!(classify(reserved), Topic::Reserved, "{reserved}");
        }
        for reserved in ["user/a/msg/b", "group/x/msg/a", "$SYS/x", "$chat/whoami"] {
            assert_eq!(classify(reserved), Topic::Reserved, "{reserved}");
        }
        for plain in ["rooms/x", "a", "/room/x/msg/y", "Room/x/msg/y"] {
            assert_eq!(classify(plain), Topic::Plain, "{plain}");
        }
    }

    #[test]
    fn filters_are_classified() {
        assert_eq!(classify_filter("room/Home/#"), Filter::Room { room: "Home", within: "#" });
        assert_eq!(classify_filter("room/Home/msg/+"), Filter::Room { room: "Home", within: "msg/+" });
        assert_eq!(classify_filter("room/+/msg/+"), Filter::EveryRoom { within: "msg/+" });
        assert_eq!(classify_filter("room/#"), Filter::EveryRoom { within: "#" });
        assert_eq!(classify_filter("room"), Filter::Reserved);
        assert_eq!(classify_filter("room/Home"), Filter::Reserved);
        assert_eq!(classify_filter("#"), Filter::Plain);
        assert_eq!(classify_filter("+/Home/msg/+"), Filter::Plain);
        assert_eq!(classify_filter("$SYS/#"), Filter::Plain);
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
