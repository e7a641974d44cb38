//! Iterating over the filters of SUBSCRIBE and UNSUBSCRIBE in the bytes they arrived in.

use std::fmt;

use super::{QoS, RetainHandling, SubscribeFilters, SubscribeOptions, UnsubscribeFilters, Version};
use crate::decode::reader::Reader;

impl SubscribeOptions {
    /// The options of a byte, or `None` when it sets a reserved bit or a reserved value for `version`.
    pub fn from_byte(byte: u8, version: Version) -> Option<Self> {
        let reserved = match version {
            Version::V4 => 0b1111_1100,
            Version::V5 => 0b1100_0000,
        };
        if byte & reserved != 0 {
            return None;
        }
        Some(Self {
            qos: QoS::from_bits(byte & 0b11)?,
            no_local: byte & 0b0100 != 0,
            retain_as_published: byte & 0b1000 != 0,
            retain_handling: match byte >> 4 {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return None,
            },
        })
    }

    /// The byte of these options; 3.1.1 has the quality of service only.
    pub fn to_byte(self, version: Version) -> u8 {
        match version {
            Version::V4 => self.qos as u8,
            Version::V5 => {
                self.qos as u8
                    | u8::from(self.no_local) << 2
                    | u8::from(self.retain_as_published) << 3
                    | (self.retain_handling as u8) << 4
            }
        }
    }
}

/// Iterates over the filters of a SUBSCRIBE with their options.
#[derive(Debug, Clone)]
pub struct SubscribeFiltersIter<'a> {
    rest: Reader<'a>,
    version: Version,
}

impl<'a> Iterator for SubscribeFiltersIter<'a> {
    type Item = (&'a str, SubscribeOptions);

    fn next(&mut self) -> Option<Self::Item> {
        let filter = self.rest.name().ok()?;
        let options = SubscribeOptions::from_byte(self.rest.u8().ok()?, self.version)?;
        Some((filter, options))
    }
}

impl<'a> SubscribeFilters<'a> {
    /// The filters with their options in the order of the packet, which is that of the answer's codes
    /// `[MQTT-3.8.4-6]`.
    pub fn iter(&self) -> SubscribeFiltersIter<'a> {
        SubscribeFiltersIter { rest: Reader::new(self.bytes), version: self.version }
    }
}

impl<'a> IntoIterator for SubscribeFilters<'a> {
    type Item = (&'a str, SubscribeOptions);
    type IntoIter = SubscribeFiltersIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for SubscribeFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for SubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Iterates over the filters of an UNSUBSCRIBE.
#[derive(Debug, Clone)]
pub struct UnsubscribeFiltersIter<'a> {
    rest: Reader<'a>,
}

impl<'a> Iterator for UnsubscribeFiltersIter<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest.name().ok()
    }
}

impl<'a> UnsubscribeFilters<'a> {
    /// The filters in the order of the packet, which is that of the answer's codes `[MQTT-3.11.3-1]`.
    pub fn iter(&self) -> UnsubscribeFiltersIter<'a> {
        UnsubscribeFiltersIter { rest: Reader::new(self.bytes) }
    }
}

impl<'a> IntoIterator for UnsubscribeFilters<'a> {
    type Item = &'a str;
    type IntoIter = UnsubscribeFiltersIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for UnsubscribeFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for UnsubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
