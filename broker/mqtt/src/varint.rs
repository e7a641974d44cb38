//! Variable byte integers, section 1.5.5 of MQTT 5.0: the remaining length, property lengths and subscription
//! identifiers.
//!
//! Owns the two directions of that one number format and knows nothing of packets. A value written here is minimal
//! and at most [`MAX`]; a value read here was minimal `[MQTT-1.5.5-1]`.

use crate::decode::DecodeError;

/// The largest value that four bytes carry, and so the largest remaining length: 268,435,455.
pub const MAX: u32 = 0x0FFF_FFFF;

/// Reads a variable byte integer from the start of `bytes`: its value and how many bytes it took.
///
/// `None` says that it does not end within `bytes` yet. A fifth byte and an encoding longer than needed are
/// malformed, and are reported as soon as the offending byte is there `[MQTT-1.5.5-1]`.
#[inline]
pub fn read(bytes: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0u32;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            if byte == 0 && index > 0 {
                return Err(DecodeError::malformed(
                    "variable byte integer longer than needed [MQTT-1.5.5-1]",
                ));
            }
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() >= 4 {
        return Err(DecodeError::malformed("variable byte integer of more than four bytes"));
    }
    Ok(None)
}

/// How many bytes `value` takes, 1 to 4; `value` is at most [`MAX`].
#[inline]
pub const fn len(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// The bytes of `value`, of which the first [`len`] count; `value` is at most [`MAX`].
#[inline]
pub(crate) const fn bytes(value: u32) -> [u8; 4] {
    let more = len(value);
    [
        (value & 0x7F) as u8 | if more > 1 { 0x80 } else { 0 },
        (value >> 7 & 0x7F) as u8 | if more > 2 { 0x80 } else { 0 },
        (value >> 14 & 0x7F) as u8 | if more > 3 { 0x80 } else { 0 },
        (value >> 21 & 0x7F) as u8,
    ]
}

/// Appends `value`, which is at most [`MAX`].
#[inline]
pub(crate) fn put(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&bytes(value)[..len(value)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_borders_of_each_length_round_trip() {
        for (value, length) in
            [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (2_097_151, 3), (2_097_152, 4), (MAX, 4)]
        {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out.len(), length, "{value}");
            assert_eq!(len(value), length, "{value}");
            assert_eq!(read(&out), Ok(Some((value, length))));
            for end in 0..out.len() {
                assert_eq!(read(&out[..end]), Ok(None), "{value} cut at {end}");
            }
        }
    }

    #[test]
    fn longer_than_needed_or_than_four_bytes_is_malformed() {
        for bytes in [
            &[0x80, 0x00][..],
            &[0xFF, 0x00],
            &[0x80, 0x80, 0x00],
            &[0x80, 0x80, 0x80, 0x00],
            &[0x80, 0x80, 0x80, 0x80],
            &[0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        ] {
            assert!(read(bytes).is_err(), "{bytes:02x?}");
        }
    }
}
