//! Topic names and topic filters, sections 4.7 and 4.8 of MQTT 5.0.
//!
//! Owns what is a valid name and a valid filter, and which filter matches which name. Knows neither subscriptions
//! nor the meaning of any topic. Invariant: a [`TopicName`], a [`TopicFilter`] and a [`SharedFilter`] are valid; limits
//! on their length or their number of levels are the caller's.

use std::fmt;

use crate::decode::reader::is_disallowed;

#[cfg(test)]
mod tests;

/// Why a string is not a topic name (reason code 0x90 where the packet was well-formed) or a topic filter (0x8F).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicError {
    /// It has no character `[MQTT-4.7.3-1]`.
    Empty,
    /// It is longer than 65,535 bytes `[MQTT-4.7.3-3]`.
    TooLong,
    /// It holds U+0000 `[MQTT-4.7.3-2]`, another control character or a non-character.
    Character,
    /// A topic name holds a wildcard `[MQTT-4.7.0-1]`.
    WildcardInName,
    /// `#` is not the last level, or not alone in it `[MQTT-4.7.1-1]`.
    MultiLevelWildcard,
    /// `+` is not alone in its level `[MQTT-4.7.1-2]`.
    SingleLevelWildcard,
    /// The share name of a shared subscription is missing or holds `+` or `#` `[MQTT-4.8.2-1]`, `[MQTT-4.8.2-2]`.
    ShareName,
    /// A shared subscription has no filter behind its share name `[MQTT-4.8.2-2]`.
    ShareFilter,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "topic without a character",
            Self::TooLong => "topic longer than 65,535 bytes",
            Self::Character => "topic with a control character",
            Self::WildcardInName => "topic name with a wildcard",
            Self::MultiLevelWildcard => "# is not alone in the last level",
            Self::SingleLevelWildcard => "+ is not alone in its level",
            Self::ShareName => "shared subscription without a valid share name",
            Self::ShareFilter => "shared subscription without a filter",
        })
    }
}

impl std::error::Error for TopicError {}

/// A topic name that messages can be published to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Checks a topic name: not empty, at most 65,535 bytes, no wildcards, no control characters.
    pub fn parse(name: &'a str) -> Result<Self, TopicError> {
        check_string(name)?;
        if name.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
            return Err(TopicError::WildcardInName);
        }
        Ok(Self(name))
    }

    /// The name as it is written.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The parts between the slashes, at least one; a part may be empty.
    pub fn levels(self) -> std::str::Split<'a, char> {
        self.0.split('/')
    }

    /// Whether it begins with `$`, so that no filter that begins with a wildcard matches it `[MQTT-4.7.2-1]`.
    pub fn is_hidden(self) -> bool {
        self.0.starts_with('$')
    }
}

/// A topic filter, without `$share/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter<'a>(&'a str);

impl<'a> TopicFilter<'a> {
    /// Checks a topic filter: not empty, at most 65,535 bytes, wildcards alone in their level, `#` in the last one.
    ///
    /// `$share/` is not looked at: see [`Filter::parse`].
    pub fn parse(filter: &'a str) -> Result<Self, TopicError> {
        check_string(filter)?;
        let mut levels = filter.split('/').peekable();
        while let Some(level) = levels.next() {
            if level.contains('#') && (level != "#" || levels.peek().is_some()) {
                return Err(TopicError::MultiLevelWildcard);
            }
            if level.contains('+') && level != "+" {
                return Err(TopicError::SingleLevelWildcard);
            }
        }
        Ok(Self(filter))
    }

    /// The filter as it is written.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The parts between the slashes, at least one; a part may be empty, `+`, or at the end `#`.
    pub fn levels(self) -> std::str::Split<'a, char> {
        self.0.split('/')
    }

    /// Whether it holds a wildcard.
    pub fn is_wildcard(self) -> bool {
        self.0.bytes().any(|byte| matches!(byte, b'+' | b'#'))
    }

    /// Whether its first level is a wildcard, so that it matches no name that begins with `$` `[MQTT-4.7.2-1]`.
    pub fn begins_with_wildcard(self) -> bool {
        self.0.starts_with(['+', '#'])
    }

    /// Whether it begins with `$`.
    pub fn is_hidden(self) -> bool {
        self.0.starts_with('$')
    }

    /// Whether it matches a topic name.
    pub fn matches(self, topic: TopicName<'_>) -> bool {
        matches(self.0, topic.0)
    }
}

/// A shared subscription: `$share/{group}/{filter}`, section 4.8.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SharedFilter<'a> {
    /// The share name: not empty, without `/`, `+` and `#`.
    pub group: &'a str,
    /// The filter behind it.
    pub filter: TopicFilter<'a>,
}

/// What a SUBSCRIBE or an UNSUBSCRIBE names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter<'a> {
    /// A subscription of one session.
    Own(TopicFilter<'a>),
    /// A subscription that a group of sessions shares.
    Shared(SharedFilter<'a>),
}

impl<'a> Filter<'a> {
    /// Checks a filter; what begins with `$share/` is a shared subscription `[MQTT-4.8.2-1]`, `[MQTT-4.8.2-2]`.
    pub fn parse(written: &'a str) -> Result<Self, TopicError> {
        let Some(shared) = written.strip_prefix("$share/") else {
            return TopicFilter::parse(written).map(Self::Own);
        };
        check_string(written)?;
        let (group, filter) = shared.split_once('/').unwrap_or((shared, ""));
        if group.is_empty() || group.contains(['+', '#']) {
            return Err(TopicError::ShareName);
        }
        if filter.is_empty() {
            return Err(TopicError::ShareFilter);
        }
        Ok(Self::Shared(SharedFilter { group, filter: TopicFilter::parse(filter)? }))
    }

    /// The filter that topic names are matched with.
    pub fn topic_filter(self) -> TopicFilter<'a> {
        match self {
            Self::Own(filter) => filter,
            Self::Shared(shared) => shared.filter,
        }
    }
}

/// Whether `filter` matches the topic name `topic`, section 4.7; both are taken to be valid.
///
/// A trailing `/#` matches the parent level too; a filter that begins with a wildcard matches no name that begins
/// with `$` `[MQTT-4.7.2-1]`. Levels are compared byte by byte, without folding or normalizing `[MQTT-4.7.3-4]`.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = topic.split('/');
    for level in filter.split('/') {
        if level == "#" {
            return true;
        }
        match names.next() {
            Some(name) if level == "+" || level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

fn check_string(topic: &str) -> Result<(), TopicError> {
    if topic.is_empty() {
        return Err(TopicError::Empty);
    }
    if topic.len() > usize::from(u16::MAX) {
        return Err(TopicError::TooLong);
    }
    let is_plain = topic.bytes().fold(true, |plain, byte| plain & (0x20..0x7F).contains(&byte));
    if !is_plain && topic.chars().any(is_disallowed) {
        return Err(TopicError::Character);
    }
    Ok(())
}
