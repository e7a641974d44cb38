//! The challenge login of old clients (Appendix, "Data across the network"): the server sends a random string, the client
//! answers with the MD5 of that string and the password.
//!
//! The server must know the password itself for that, and MD5 is weak: it serves only users whom the operator lists for
//! it, and is off by default. Who is listed signs in to the broker with the same password as anybody else.

use crate::chat::Secret;
use md5::{Digest, Md5};
use std::{collections::HashMap, fmt::Write};

/// Whom the operator lists, with their passwords.
#[derive(Debug, Clone, Default)]
pub struct Known(pub HashMap<String, Secret>);

/// The strings that one connection is challenged with: each serves once.
#[derive(Debug)]
pub(super) struct Challenger {
    chance: [u8; 16],
    count: u64,
    open: Option<String>,
}

impl Challenger {
    /// `chance` must come from the system's source of random numbers.
    pub(super) fn new(chance: [u8; 16]) -> Self {
        Self { chance, count: 0, open: None }
    }

    /// A new string; the one before it serves no more.
    pub(super) fn challenge(&mut self) -> String {
        self.count += 1;
        let digest = Md5::new().chain_update(self.chance).chain_update(self.count.to_be_bytes()).finalize();
        self.open.insert(hex(&digest)).clone()
    }

    /// The password of a user who answered the open string rightly.
    pub(super) fn check(&mut self, known: &Known, user: &str, answer: &str) -> Option<Secret> {
        let challenge = self.open.take()?;
        let password = known.0.get(user)?;
        let digest = Md5::new().chain_update(challenge).chain_update(password.reveal()).finalize();
        answer.eq_ignore_ascii_case(&hex(&digest)).then(|| password.clone())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_serves_once_and_for_its_user() {
        let known = Known([("ann".to_owned(), Secret::new("sesame"))].into());
        let mut challenger = Challenger::new([7; 16]);
        let challenge = challenger.challenge();
        let answer = hex(&Md5::new().chain_update(format!("{challenge}sesame")).finalize());
        assert_eq!(challenger.check(&known, "bob", &answer), None);
        assert_eq!(challenger.check(&known, "ann", &answer), None);
        let challenge = challenger.challenge();
        let answer = hex(&Md5::new().chain_update(format!("{challenge}sesame")).finalize());
        assert_eq!(challenger.check(&known, "ann", &answer.to_uppercase()), Some(Secret::new("sesame")));
        assert_eq!(challenger.check(&known, "ann", &answer), None);
    }

    #[test]
    fn the_digest_is_md5() {
        assert_eq!(hex(&Md5::digest(b"abc")), "900150983cd24fb0d6963f7d28e17f72");
    }
}
