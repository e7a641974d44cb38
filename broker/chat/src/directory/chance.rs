//! Secrets of the directory's own: tokens and names that nobody guesses, drawn from a seed by SHA-256.
//!
//! The seed comes from the driver, 32 bytes of the system's entropy at each start, or any bytes in a test that wants the
//! same history twice. It is never stored; one secret that was drawn from it is.

use sha2::{Digest, Sha256};
use std::fmt::Write;

pub(super) struct Chance {
    seed: [u8; 32],
    drawn: u64,
    /// What the salts of names that are not there are made of: drawn once, and kept for ever.
    pub(super) kept: Option<String>,
}

impl std::fmt::Debug for Chance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chance { .. }")
    }
}

impl Chance {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0, kept: None }
    }

    /// So many bytes of chance (at most 32), in hexadecimal.
    pub(super) fn hex(&mut self, bytes: usize) -> String {
        self.drawn += 1;
        let drawn = digest(&[b"draw", &self.seed, &self.drawn.to_be_bytes()]);
        to_hex(&drawn[..bytes.min(32)])
    }

    /// A digest that nobody without the seed can make: to remember a password by while the process lives.
    pub(super) fn memo(&self, place: u64, password: &[u8]) -> [u8; 32] {
        digest(&[b"memo", &self.seed, &place.to_be_bytes(), password])
    }
}

pub(super) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    sha.finalize().into()
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ_and_follow_from_the_seed() {
        let (mut one, mut same, mut other) =
            (Chance::new([1; 32]), Chance::new([1; 32]), Chance::new([2; 32]));
        let first = one.hex(16);
        assert_eq!((first.len(), &first), (32, &same.hex(16)));
        assert_ne!(first, one.hex(16));
        assert_ne!(first, other.hex(16));
        assert_ne!(one.memo(1, b"x"), one.memo(2, b"x"));
    }
}
