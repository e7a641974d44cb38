//! A properties section, section 2.2.2 of MQTT 5.0: what is the same whatever packet it stands in.

use super::DecodeError;
use super::reader::Reader;
use crate::packet::UserProperties;

/// A properties section that is being read; each packet's reader asks for the next identifier, then for its value.
pub(crate) struct Section<'a> {
    all: &'a [u8],
    /// The values that are still to be read.
    pub(crate) values: Reader<'a>,
    /// From the first user property to the end of the last, as offsets into `all`.
    users: (usize, usize),
}

impl<'a> Section<'a> {
    /// Takes the section, with its length in front, off the body of a packet.
    #[inline]
    pub(crate) fn read(body: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let length = body.varint()?;
        Ok(Self::of(body.take(length as usize)?))
    }

    /// A section without its length.
    #[inline]
    pub(crate) fn of(all: &'a [u8]) -> Self {
        Self { all, values: Reader::new(all), users: (0, 0) }
    }

    /// The next property's identifier. All of them take one byte; a longer one is none that a packet allows.
    #[inline]
    pub(crate) fn next_id(&mut self) -> Option<u8> {
        self.values.u8().ok()
    }

    /// Reads the value of a user property; it may come any number of times.
    pub(crate) fn user_property(&mut self) -> Result<(), DecodeError> {
        let start = self.offset() - 1;
        self.values.text()?;
        self.values.text()?;
        let end = self.offset();
        self.users = if self.users.1 == 0 { (start, end) } else { (self.users.0, end) };
        Ok(())
    }

    /// The user properties that were read, with what stands between them.
    pub(crate) fn user_properties(&self) -> UserProperties<'a> {
        UserProperties { section: self.all.get(self.users.0..self.users.1).unwrap_or_default() }
    }

    /// The whole section.
    pub(crate) fn all(&self) -> &'a [u8] {
        self.all
    }

    fn offset(&self) -> usize {
        self.all.len() - self.values.rest().len()
    }
}

/// Puts a value where none may be yet: a property that comes twice is a protocol error.
#[inline]
pub(crate) fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), DecodeError> {
    if slot.replace(value).is_some() {
        return Err(DecodeError::protocol("property given twice"));
    }
    Ok(())
}

/// The error for an identifier that the packet does not allow, section 2.2.2.2.
#[cold]
pub(crate) fn not_allowed<T>() -> Result<T, DecodeError> {
    Err(DecodeError::malformed("property not allowed in this packet"))
}
