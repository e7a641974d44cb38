//! Encryption: the operator's key, the key of a database, and what is done with them.
//!
//! Knows no files. The operator's key ([`StorageKey`]) encrypts nothing but a random key that belongs to the database,
//! which is kept wrapped beside it ([`wrap`], [`unwrap`]): so the operator's key can change without a value being written
//! anew. Of the database's key two are derived, one for values and one for names. Values are encrypted with
//! XChaCha20-Poly1305; a nonce is 16 random bytes drawn when the database is opened and a number that counts up, so that
//! none comes twice. Invariant: no key is ever shown, not even by `Debug`.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use blake2::Blake2bMac;
use blake2::digest::consts::{U16, U32, U64};
use blake2::digest::generic_array::ArrayLength;
use blake2::digest::typenum::{IsLessOrEqual, LeEq, NonZero};
use blake2::digest::{FixedOutput, Update};
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305};

use crate::{KeyProblem, StoreError};

/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 24;

/// Bytes of a tag.
pub(crate) const TAG_BYTES: usize = 16;

/// Bytes of what stands for a key.
pub(crate) const NAME_BYTES: usize = 16;

/// Bytes of every key.
const KEY_BYTES: usize = 32;

/// What a wrapped key begins with.
const WRAPPED: &str = "katydid-wrapped-key-1";

/// The operator's key: 32 bytes that nobody can guess.
#[derive(Clone, PartialEq, Eq)]
pub struct StorageKey([u8; KEY_BYTES]);

impl StorageKey {
    /// Reads a key from 64 hexadecimal digits, as `openssl rand -hex 32` prints them; white space around them is ignored.
    ///
    /// # Errors
    /// [`KeyProblem::Malformed`] for everything else.
    pub fn parse(text: &str) -> Result<Self, KeyProblem> {
        unhex(text.trim()).map(Self).ok_or(KeyProblem::Malformed)
    }
}

impl fmt::Debug for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StorageKey")
    }
}

/// A database's own key.
pub(crate) type DataKey = [u8; KEY_BYTES];

/// A key for a new database.
pub(crate) fn random_key() -> Result<DataKey, StoreError> {
    random()
}

fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| StoreError::Backend(format!("the system gives no random bytes: {error}")))?;
    Ok(bytes)
}

/// The database's key as it is kept: one line of text.
pub(crate) fn wrap(key: &DataKey, operator: &StorageKey) -> Result<String, StoreError> {
    let nonce: [u8; NONCE_BYTES] = random()?;
    let mut body = *key;
    let cipher = XChaCha20Poly1305::new(&operator.0.into());
    let tag = cipher
        .encrypt_inout_detached(&nonce.into(), WRAPPED.as_bytes(), InOutBuf::from(&mut body[..]))
        .expect("32 bytes are not too long");
    let tag: [u8; TAG_BYTES] = tag.into();
    Ok(format!("{WRAPPED} {} {} {}\n", hex(&nonce), hex(&tag), hex(&body)))
}

/// The counterpart of [`wrap`].
pub(crate) fn unwrap(text: &str, operator: &StorageKey) -> Result<DataKey, StoreError> {
    let mut words = text.split_whitespace();
    let parts = (words.next() == Some(WRAPPED)).then(|| {
        let nonce = unhex::<NONCE_BYTES>(words.next()?)?;
        let tag = unhex::<TAG_BYTES>(words.next()?)?;
        Some((nonce, tag, unhex::<KEY_BYTES>(words.next()?)?))
    });
    let Some((nonce, tag, mut key)) = parts.flatten() else {
        return Err(StoreError::Corrupt("its wrapped key cannot be read".into()));
    };
    let cipher = XChaCha20Poly1305::new(&operator.0.into());
    let buffer = InOutBuf::from(&mut key[..]);
    match cipher.decrypt_inout_detached(&nonce.into(), WRAPPED.as_bytes(), buffer, &tag.into()) {
        Ok(()) => Ok(key),
        Err(_) => Err(StoreError::Key(KeyProblem::Wrong)),
    }
}

/// Encrypts and decrypts the values of one open database.
pub(crate) struct Cipher {
    values: XChaCha20Poly1305,
    names: [u8; KEY_BYTES],
    opening: [u8; NONCE_BYTES - 8],
    count: AtomicU64,
}

impl Cipher {
    pub(crate) fn new(key: &DataKey) -> Result<Self, StoreError> {
        let values = XChaCha20Poly1305::new(&derived(key, b"values").into());
        Ok(Self { values, names: derived(key, b"names"), opening: random()?, count: AtomicU64::new(0) })
    }

    /// Encrypts `body` in place; `bound` must be the same again to decrypt it. Returns the nonce and the tag.
    pub(crate) fn encrypt(&self, bound: &[u8], body: &mut [u8]) -> ([u8; NONCE_BYTES], [u8; TAG_BYTES]) {
        let mut nonce = [0; NONCE_BYTES];
        nonce[..self.opening.len()].copy_from_slice(&self.opening);
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        nonce[self.opening.len()..].copy_from_slice(&count.to_le_bytes());
        let tag = self
            .values
            .encrypt_inout_detached(&nonce.into(), bound, InOutBuf::from(body))
            .expect("a value is never near 256 GiB, which is the longest");
        (nonce, tag.into())
    }

    /// Decrypts `body` in place; false where something is not as it was.
    pub(crate) fn decrypt(
        &self,
        bound: &[u8],
        nonce: &[u8; NONCE_BYTES],
        tag: &[u8; TAG_BYTES],
        body: &mut [u8],
    ) -> bool {
        self.values
            .decrypt_inout_detached(&(*nonce).into(), bound, InOutBuf::from(body), &(*tag).into())
            .is_ok()
    }

    /// What stands for a record's key: always the same, and of no use to who does not have the database's key.
    pub(crate) fn name(&self, space: u8, key: &[u8]) -> [u8; NAME_BYTES] {
        let mut mac = keyed::<U16>(&self.names);
        mac.update(&[space]);
        mac.update(key);
        mac.finalize_fixed().into()
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher")
    }
}

fn keyed<N>(key: &[u8; KEY_BYTES]) -> Blake2bMac<N>
where
    N: ArrayLength<u8> + IsLessOrEqual<U64>,
    LeEq<N, U64>: NonZero,
{
    Blake2bMac::new_with_salt_and_personal(key, &[], &[]).expect("a key of 32 bytes is not too long")
}

/// A key for one purpose.
fn derived(key: &DataKey, purpose: &[u8]) -> [u8; KEY_BYTES] {
    let mut mac = keyed::<U32>(key);
    mac.update(purpose);
    mac.finalize_fixed().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (digits, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; N];
    if digits.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(digits) {
        let digit = |digit: &u8| char::from(*digit).to_digit(16);
        *byte = (digit(high)? << 4 | digit(low)?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_64_digits_and_nothing_else() {
        let digits = "00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100";
        assert!(StorageKey::parse(&format!(" {digits}\r\n")).is_ok());
        for wrong in ["", "secret", &digits[1..], &format!("{digits}00"), &digits.replace('a', "g")] {
            assert_eq!(StorageKey::parse(wrong), Err(KeyProblem::Malformed), "{wrong}");
        }
    }

    #[test]
    fn a_wrapped_key_opens_with_its_key_only() {
        let (operator, other) = (StorageKey([1; 32]), StorageKey([2; 32]));
        let key = random_key().expect("random bytes");
        let text = wrap(&key, &operator).expect("random bytes");
        assert_eq!(unwrap(&text, &operator).expect("the same key"), key);
        assert!(matches!(unwrap(&text, &other), Err(StoreError::Key(KeyProblem::Wrong))));
        for (at, _) in text.trim_end().char_indices() {
            let bent = format!(
                "{}{}{}",
                &text[..at],
                if &text[at..=at] == "0" { '1' } else { '0' },
                &text[at + 1..]
            );
            assert!(unwrap(&bent, &operator).is_err(), "character {at}");
            assert!(unwrap(&text[..at], &operator).is_err(), "cut at {at}");
        }
        assert!(!format!("{operator:?}").contains('1'));
    }

    #[test]
    fn no_nonce_comes_twice_and_names_stay_the_same() {
        let key = random_key().expect("random bytes");
        let ciphers = [(); 2].map(|()| Cipher::new(&key).expect("random bytes"));
        let mut nonces: Vec<_> = (0..1_000).map(|n| ciphers[n % 2].encrypt(b"", &mut []).0).collect();
        nonces.sort_unstable();
        nonces.dedup();
        assert_eq!(nonces.len(), 1_000);
        assert_eq!(ciphers[0].name(1, b"ann"), ciphers[1].name(1, b"ann"));
        assert!(ciphers[0].name(1, b"ann") != ciphers[0].name(2, b"ann"));
        assert!(ciphers[0].name(1, b"ann") != ciphers[0].name(1, b"bob"));
    }
}
