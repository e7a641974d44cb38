//! The data types of section 1.5 of MQTT 5.0, read one after the other from a borrowed body.
//!
//! A [`Reader`] never reads past its bytes: a field that does not fit is an error, whatever length it claims.

use super::DecodeError;
use crate::packet::PacketId;
use crate::varint;

const TRUNCATED: DecodeError = DecodeError::malformed("packet ends within a field");
const NUL: DecodeError = DecodeError::malformed("string holds U+0000 [MQTT-1.5.4-2]");

/// What is left of a packet's body or of a properties section.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.rest.split_first().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(bytes))
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(bytes))
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u32, DecodeError> {
        let (value, length) = varint::read(self.rest)?.ok_or(TRUNCATED)?;
        self.rest = self.rest.get(length..).ok_or(TRUNCATED)?;
        Ok(value)
    }

    /// A byte that says no or yes; other values are a protocol error in every property that has this type.
    pub(crate) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::protocol("value other than 0 and 1")),
        }
    }

    /// The next `length` bytes.
    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Binary data, section 1.5.6.
    #[inline]
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// A UTF-8 string, section 1.5.4, well-formed `[MQTT-1.5.4-1]` and without U+0000 `[MQTT-1.5.4-2]`: free text.
    #[inline]
    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.binary()?;
        if contains_any(bytes, |byte| byte == 0) {
            return Err(NUL);
        }
        utf8(bytes)
    }

    /// A UTF-8 string that names something: also without control characters and non-characters, which section 1.5.4
    /// lets a receiver refuse. They serve nobody in a name, and hurt whoever prints one.
    #[inline]
    pub(crate) fn name(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.binary()?;
        name_or(bytes, |_| false, NUL)
    }

    /// A topic name without wildcards `[MQTT-3.3.2-2]`; it may be empty.
    #[inline]
    pub(crate) fn topic(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.binary()?;
        name_or(bytes, is_wildcard, DecodeError::malformed("topic name holds a wildcard [MQTT-3.3.2-2]"))
    }

    /// A response topic: not empty `[MQTT-4.7.3-1]`, without wildcards `[MQTT-3.3.2-14]`.
    pub(crate) fn response_topic(&mut self) -> Result<&'a str, DecodeError> {
        const NOT_A_TOPIC: DecodeError =
            DecodeError::protocol("response topic is empty or holds a wildcard [MQTT-3.3.2-14]");
        let topic = name_or(self.binary()?, is_wildcard, NOT_A_TOPIC)?;
        if topic.is_empty() { Err(NOT_A_TOPIC) } else { Ok(topic) }
    }

    /// A packet identifier, not zero `[MQTT-2.2.1-3]`.
    #[inline]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16()?).ok_or(DecodeError::protocol("packet identifier 0 [MQTT-2.2.1-3]"))
    }

    /// Says that the packet has nothing more to read.
    #[inline]
    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::malformed("packet longer than its content"))
        }
    }
}

/// Looks at every byte instead of stopping at the first, which lets the compiler compare many at once.
#[inline]
fn contains_any(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(false, |found, &byte| found | wanted(byte))
}

#[inline]
fn is_wildcard(byte: u8) -> bool {
    (byte == b'+') | (byte == b'#')
}

/// Checks a name in one pass over its bytes, and in a second one only when it is not plain ASCII; `forbidden` says
/// what else may not stand in it, and `error` what that means.
#[inline]
fn name_or(bytes: &[u8], forbidden: impl Fn(u8) -> bool, error: DecodeError) -> Result<&str, DecodeError> {
    if contains_any(bytes, |byte| !(0x20..0x7F).contains(&byte) | forbidden(byte)) {
        return unusual_name(bytes, forbidden, error);
    }
    utf8(bytes)
}

/// The second look at a name: finds out what is wrong with it, or that it is well-formed and not plain ASCII.
fn unusual_name(
    bytes: &[u8],
    forbidden: impl Fn(u8) -> bool,
    error: DecodeError,
) -> Result<&str, DecodeError> {
    let name = utf8(bytes)?;
    if bytes.contains(&0) {
        return Err(NUL);
    }
    if name.chars().any(is_disallowed) {
        return Err(DecodeError::malformed("name holds a control character or a non-character"));
    }
    if contains_any(bytes, forbidden) { Err(error) } else { Ok(name) }
}

/// Control characters U+0001 to U+001F and U+007F to U+009F, and the code points that Unicode keeps free of
/// characters.
pub(crate) fn is_disallowed(character: char) -> bool {
    let code = u32::from(character);
    character.is_control() || matches!(code, 0xFDD0..=0xFDEF) || code & 0xFFFE == 0xFFFE
}

#[inline]
fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::malformed("ill-formed UTF-8 [MQTT-1.5.4-1]"))
}
