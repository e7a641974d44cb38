//! The words of `topics.md` that are neither a topic nor a verb: names of user properties, in one place.

/// The number of what was said, decimal.
pub(crate) const SEQ: &str = "seq";
/// When it was numbered, RFC 3339.
pub(crate) const TIME: &str = "time";
/// The sender's name for a message.
pub(crate) const ID: &str = "id";
/// The number of the message that this one answers.
pub(crate) const REPLY_TO: &str = "reply-to";
/// SUBSCRIBE: where the replay starts.
pub(crate) const SINCE: &str = "since";
/// SUBSCRIBE: how many messages are replayed.
pub(crate) const LAST: &str = "last";
/// SUBSCRIBE: the password of a private place.
pub(crate) const PASSWORD: &str = "password";
/// CONNECT: a name that must be free.
pub(crate) const EXCLUSIVE: &str = "exclusive";
/// CONNACK: the name under which the broker knows the client.
pub(crate) const USER: &str = "user";
/// The code of a refusal, in any acknowledgement.
pub(crate) const CODE: &str = "code";

/// The longest string of MQTT, in bytes.
pub(crate) const STRING_BYTES_MAX: usize = 65_535;

/// A value among user properties; the last one counts.
pub(crate) fn property<'a>(properties: &'a [(String, String)], name: &str) -> Option<&'a str> {
    properties.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Milliseconds since the Unix epoch of an RFC 3339 time; 0 for what is none.
pub(crate) fn time_ms(text: &str) -> u64 {
    katydid_chat::time::parse(text).unwrap_or_default()
}

/// Whether MQTT can carry a string.
pub(crate) fn is_string(text: &str) -> bool {
    text.len() <= STRING_BYTES_MAX && !text.contains('\0')
}
