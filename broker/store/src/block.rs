//! The bytes that go to disk: sealing, opening, and the small numbers inside.
//!
//! Every value on disk passes through [`begin`] and [`seal`] on its way out and through [`open`] on its way in, and
//! through nothing else: this is the one place where a checksum is, and where encryption will be. It knows nothing of
//! logs or records. Invariant: what [`open`] returns is what was sealed, or an error.
//!
//! A sealed value is one byte of format, eight bytes of checksum (little endian, over the body), and the body.

use bytes::Bytes;

use crate::StoreError;

/// Sealed with a checksum, in clear.
const FORMAT_CLEAR: u8 = 1;

/// Bytes that sealing puts before a body.
pub(crate) const SEAL_BYTES: usize = 9;

/// Clears `out` and leaves room for the seal; the body is appended behind it.
pub(crate) fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[0; SEAL_BYTES]);
}

/// Seals the body that was appended since [`begin`]; `out` is then what goes to disk.
pub(crate) fn seal(out: &mut [u8]) {
    let (head, body) = out.split_at_mut(SEAL_BYTES);
    head[0] = FORMAT_CLEAR;
    head[1..].copy_from_slice(&checksum(body).to_le_bytes());
}

/// The body of a sealed value, without a copy.
pub(crate) fn open(sealed: &Bytes) -> Result<Bytes, StoreError> {
    let Some((head, body)) = sealed.split_at_checked(SEAL_BYTES) else {
        return Err(StoreError::Corrupt("a value is shorter than its seal".into()));
    };
    if head[0] != FORMAT_CLEAR {
        return Err(StoreError::Corrupt(format!("a value has the unknown format {}", head[0])));
    }
    if head[1..] != checksum(body).to_le_bytes() {
        return Err(StoreError::Corrupt("a value's checksum does not match".into()));
    }
    Ok(sealed.slice(SEAL_BYTES..))
}

/// A sled value as shared bytes, without a copy.
pub(crate) fn shared(value: sled::IVec) -> Bytes {
    Bytes::from_owner(value)
}

/// Four independent lanes of xor, multiply and rotate: each step is a bijection of the lane, so that one changed word
/// always changes the sum, and it runs at the speed of memory. Not a defence against an adversary.
fn checksum(body: &[u8]) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut lanes =
        [0x243F_6A88_85A3_08D3_u64, 0x1319_8A2E_0370_7344, 0xA409_3822_299F_31D0, 0x082E_FA98_EC4E_6C89];
    let mix = |lane: u64, word: u64| (lane ^ word).wrapping_mul(ODD).rotate_left(29);
    let (blocks, rest) = body.as_chunks::<32>();
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = mix(*lane, u64::from_le_bytes(*word));
        }
    }
    for (index, piece) in rest.chunks(8).enumerate() {
        let mut word = [0; 8];
        word[..piece.len()].copy_from_slice(piece);
        lanes[index] = mix(lanes[index], u64::from_le_bytes(word));
    }
    let length = body.len() as u64;
    lanes.iter().fold(length.wrapping_mul(ODD), |sum, lane| mix(sum, *lane) ^ (sum >> 32))
}

/// Appends a number in seven-bit groups, low first: one byte below 128, ten at most.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a length and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends the difference of two numbers, which may be negative.
pub(crate) fn put_delta(out: &mut Vec<u8>, from: u64, to: u64) {
    let delta = to.wrapping_sub(from) as i64;
    put_varint(out, ((delta << 1) ^ (delta >> 63)) as u64);
}

/// Reads a body from its beginning. Nothing is allocated by what the body claims.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, StoreError> {
        let byte = *self.bytes.get(self.at).ok_or_else(cut_short)?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, StoreError> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(StoreError::Corrupt("a number is longer than 64 bits".into()))
    }

    /// The counterpart of [`put_delta`].
    pub(crate) fn delta(&mut self, from: u64) -> Result<u64, StoreError> {
        let coded = self.varint()?;
        Ok(from.wrapping_add((coded >> 1) ^ 0_u64.wrapping_sub(coded & 1)))
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let found = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk).ok_or_else(cut_short)?;
        self.at += N;
        Ok(*found)
    }

    /// Steps over `length` bytes and says where they are, for [`Reader::slice`].
    pub(crate) fn skip(&mut self, length: u64) -> Result<std::ops::Range<usize>, StoreError> {
        let start = self.at;
        let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
        match end {
            Some(end) if end <= self.bytes.len() => {
                self.at = end;
                Ok(start..end)
            }
            _ => Err(cut_short()),
        }
    }

    /// Shares bytes that [`Reader::skip`] stepped over.
    pub(crate) fn slice(&self, range: std::ops::Range<usize>) -> Bytes {
        self.bytes.slice(range)
    }

    /// The counterpart of [`put_bytes`], shared.
    pub(crate) fn bytes(&mut self) -> Result<Bytes, StoreError> {
        let length = self.varint()?;
        let range = self.skip(length)?;
        Ok(self.slice(range))
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.at..);
        self.at = self.bytes.len();
        rest
    }
}

fn cut_short() -> StoreError {
    StoreError::Corrupt("a value ends too early".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_and_every_flipped_bit_is_seen() {
        for length in [0, 1, 7, 8, 9, 31, 32, 33, 100] {
            let body: Vec<u8> = (0..length).map(|n| n as u8 ^ 0x5A).collect();
            let mut sealed = Vec::new();
            begin(&mut sealed);
            sealed.extend_from_slice(&body);
            seal(&mut sealed);
            assert_eq!(open(&Bytes::from(sealed.clone())).expect("sealed"), body);
            for bit in 0..sealed.len() * 8 {
                let mut bent = sealed.clone();
                bent[bit / 8] ^= 1 << (bit % 8);
                assert!(open(&Bytes::from(bent)).is_err(), "length {length}, bit {bit}");
            }
            for end in 0..sealed.len() {
                assert!(
                    open(&Bytes::copy_from_slice(&sealed[..end])).is_err(),
                    "length {length}, cut at {end}"
                );
            }
        }
    }

    #[test]
    fn numbers_come_back() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            put_delta(&mut out, 77, number);
            put_delta(&mut out, number, 3);
            let mut reader = Reader::new(out.into());
            assert_eq!(reader.varint().expect("varint"), number);
            assert_eq!(reader.delta(77).expect("delta up"), number);
            assert_eq!(reader.delta(number).expect("delta down"), 3);
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_length_that_lies_is_an_error() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        assert!(Reader::new(out.into()).bytes().is_err());
        assert!(Reader::new(vec![0xFF; 11].into()).varint().is_err());
    }
}
