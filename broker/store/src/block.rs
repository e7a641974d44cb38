//! The bytes that go to disk: sealing, opening, and the small numbers inside.
//!
//! Every value on disk passes through [`Seal::begin`] and [`Seal::seal`] on its way out and through [`Seal::open`] on its
//! way in, and through nothing else: this is the one place where a checksum is, and where what is encrypted turns into
//! what is not ([`crate::cipher`]). It knows nothing of logs or records. Invariant: what [`Seal::open`] returns is what
//! was sealed, in the same place if it is encrypted, or an error.
//!
//! A value sealed in clear is one byte of format, eight bytes of checksum (little endian, over the body), and the body. An
//! encrypted one is one byte of format, the nonce, the tag, and the body as ciphertext.

use std::sync::Arc;

use bytes::Bytes;

use crate::StoreError;
use crate::cipher::{Cipher, NAME_BYTES, NONCE_BYTES, TAG_BYTES};

/// Sealed with a checksum, in clear.
const FORMAT_CLEAR: u8 = 1;

/// Encrypted.
const FORMAT_ENCRYPTED: u8 = 2;

/// Bytes that sealing in clear puts before a body.
const CLEAR_BYTES: usize = 9;

/// Bytes that encryption puts before a body.
const ENCRYPTED_BYTES: usize = 1 + NONCE_BYTES + TAG_BYTES;

/// Where a value is kept: an encrypted one opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) tree: &'a str,
    pub(crate) key: &'a [u8],
}

/// How one database seals its values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seal {
    cipher: Option<Arc<Cipher>>,
}

impl Seal {
    /// Encrypts.
    pub(crate) fn encrypting(cipher: Cipher) -> Self {
        Self { cipher: Some(Arc::new(cipher)) }
    }

    /// Bytes that sealing puts before a body.
    pub(crate) fn bytes(&self) -> usize {
        if self.cipher.is_some() { ENCRYPTED_BYTES } else { CLEAR_BYTES }
    }

    /// What stands for a key that must not be read on disk; `None` where keys are in clear.
    pub(crate) fn name(&self, space: u8, key: &[u8]) -> Option<[u8; NAME_BYTES]> {
        self.cipher.as_ref().map(|cipher| cipher.name(space, key))
    }

    /// Clears `out` and leaves room for the seal; the body is appended behind it.
    pub(crate) fn begin(&self, out: &mut Vec<u8>) {
        out.clear();
        out.resize(self.bytes(), 0);
    }

    /// Seals the body that was appended since [`Seal::begin`]; `out` is then what goes to disk.
    pub(crate) fn seal(&self, place: Place<'_>, out: &mut [u8]) {
        let (head, body) = out.split_at_mut(self.bytes());
        match &self.cipher {
            None => {
                head[0] = FORMAT_CLEAR;
                head[1..].copy_from_slice(&checksum(body).to_le_bytes());
            }
            Some(cipher) => {
                let (nonce, tag) = cipher.encrypt(&bound(place), body);
                head[0] = FORMAT_ENCRYPTED;
                head[1..1 + NONCE_BYTES].copy_from_slice(&nonce);
                head[1 + NONCE_BYTES..].copy_from_slice(&tag);
            }
        }
    }

    /// The body of a sealed value; without a copy where it is in clear.
    pub(crate) fn open(&self, place: Place<'_>, sealed: &Bytes) -> Result<Bytes, StoreError> {
        match (sealed.first(), &self.cipher) {
            (Some(&FORMAT_CLEAR), None) => open_clear(sealed),
            (Some(&FORMAT_ENCRYPTED), Some(cipher)) => open_encrypted(cipher, place, sealed),
            (Some(&FORMAT_ENCRYPTED), None) => Err(corrupt("a value is encrypted and the database is not")),
            (Some(&FORMAT_CLEAR), Some(_)) => {
                Err(corrupt("a value is in clear and the database is encrypted"))
            }
            (Some(format), _) => Err(StoreError::Corrupt(format!("a value has the unknown format {format}"))),
            (None, _) => Err(corrupt("a value is empty")),
        }
    }
}

fn open_clear(sealed: &Bytes) -> Result<Bytes, StoreError> {
    let Some((head, body)) = sealed.split_at_checked(CLEAR_BYTES) else {
        return Err(corrupt("a value is shorter than its seal"));
    };
    if head[1..] != checksum(body).to_le_bytes() {
        return Err(corrupt("a value's checksum does not match"));
    }
    Ok(sealed.slice(CLEAR_BYTES..))
}

fn open_encrypted(cipher: &Cipher, place: Place<'_>, sealed: &Bytes) -> Result<Bytes, StoreError> {
    let head = sealed.get(1..).and_then(<[u8]>::split_first_chunk::<NONCE_BYTES>);
    let head = head.and_then(|(nonce, rest)| Some((nonce, rest.split_first_chunk::<TAG_BYTES>()?)));
    let Some((nonce, (tag, body))) = head else {
        return Err(corrupt("a value is shorter than its seal"));
    };
    let mut body = body.to_vec();
    if cipher.decrypt(&bound(place), nonce, tag, &mut body) {
        Ok(body.into())
    } else {
        Err(corrupt("an encrypted value is not what was written there"))
    }
}

/// What binds a value to its place.
fn bound(place: Place<'_>) -> Vec<u8> {
    [place.tree.as_bytes(), &[0], place.key].concat()
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.into())
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

    const HERE: Place<'_> = Place { tree: "history", key: b"key" };

    fn seals() -> [Seal; 2] {
        let cipher = Cipher::new(&[7; 32]).expect("the system gives random bytes");
        [Seal::default(), Seal::encrypting(cipher)]
    }

    fn sealed(seal: &Seal, body: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        seal.begin(&mut sealed);
        sealed.extend_from_slice(body);
        seal.seal(HERE, &mut sealed);
        sealed
    }

    #[test]
    fn what_was_sealed_opens_and_every_flipped_bit_is_seen() {
        for (seal, length) in
            seals().iter().flat_map(|seal| [0, 1, 7, 8, 9, 31, 32, 33, 100].map(|length| (seal, length)))
        {
            let body: Vec<u8> = (0..length).map(|n| n as u8 ^ 0x5A).collect();
            let sealed = sealed(seal, &body);
            assert_eq!(seal.open(HERE, &Bytes::from(sealed.clone())).expect("sealed"), body);
            for bit in 0..sealed.len() * 8 {
                let mut bent = sealed.clone();
                bent[bit / 8] ^= 1 << (bit % 8);
                assert!(seal.open(HERE, &Bytes::from(bent)).is_err(), "length {length}, bit {bit}");
            }
            for end in 0..sealed.len() {
                let cut = Bytes::copy_from_slice(&sealed[..end]);
                assert!(seal.open(HERE, &cut).is_err(), "length {length}, cut at {end}");
            }
        }
    }

    #[test]
    fn an_encrypted_value_shows_nothing_and_opens_only_in_its_place_and_with_its_key() {
        let [clear, encrypting] = seals();
        let body = b"what somebody said, what somebody said";
        let (once, twice) = (sealed(&encrypting, body), sealed(&encrypting, body));
        assert!(once != twice, "equal bodies are not seen to be");
        assert!(!once.windows(8).any(|part| body.windows(8).any(|said| said == part)));
        let once = Bytes::from(once);
        assert!(encrypting.open(HERE, &once).is_ok());
        for elsewhere in [Place { tree: "records", ..HERE }, Place { key: b"kez", ..HERE }] {
            assert!(encrypting.open(elsewhere, &once).is_err(), "{elsewhere:?}");
        }
        let other = Cipher::new(&[8; 32]).expect("the system gives random bytes");
        assert!(Seal::encrypting(other).open(HERE, &once).is_err());
        assert!(clear.open(HERE, &once).is_err());
        assert!(encrypting.open(HERE, &Bytes::from(sealed(&clear, body))).is_err());
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
