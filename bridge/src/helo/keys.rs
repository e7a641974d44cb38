//! The other end of the clients' encryption, for users who are on no client of this protocol: RSA hands over a session key,
//! AES keeps what is said from who listens to the line.
//!
//! It is as strong as the clients are: PKCS#1 v1.5, AES in ECB mode, nothing that proves who speaks. What it hides, it hides
//! from the network and not from this process.

use aes::{
    Aes128,
    cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit},
};
use base64::{
    Engine,
    alphabet::STANDARD as ALPHABET,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use rsa::{
    Pkcs1v15Encrypt, RsaPrivateKey, RsaPublicKey,
    pkcs8::{DecodePublicKey, EncodePublicKey},
    rand_core::OsRng,
    traits::PublicKeyParts,
};
use sha1::{Digest, Sha1};
use std::{fmt, sync::OnceLock};

/// Bits of the bridge's own key, as the clients have them.
const BITS: usize = 2048;

/// Bits of a client's key that are used at most: the work grows with the cube of them.
const MOST_BITS: usize = 4096;

/// As Java's decoder takes it: with the padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether a client can decode a word; one that can't kills its listener.
pub(super) fn is_base64(word: &str) -> bool {
    (!word.ends_with('=') || word.len().is_multiple_of(4)) && BASE64.decode(word).is_ok()
}

/// The bridge's key pair, made when it is first needed and forgotten with the process.
#[derive(Default)]
pub struct Keys(OnceLock<Option<Pair>>);

struct Pair {
    private: RsaPrivateKey,
    public: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[keys]")
    }
}

impl Keys {
    /// Makes the pair, which takes its time; whoever needs it before waits.
    pub fn make(&self) {
        self.pair();
    }

    fn pair(&self) -> Option<&Pair> {
        let make = || {
            let private = RsaPrivateKey::new(&mut OsRng, BITS).ok()?;
            let public = private.to_public_key().to_public_key_der().ok()?;
            Some(Pair { private, public: BASE64.encode(public.as_bytes()) })
        };
        self.0.get_or_init(make).as_ref()
    }

    /// The public key as clients take it: SubjectPublicKeyInfo in base64.
    pub(super) fn public(&self) -> Option<&str> {
        self.pair().map(|pair| pair.public.as_str())
    }

    /// The session key that a client hands over.
    pub(super) fn open(&self, sealed: &str) -> Option<SessionKey> {
        let sealed = BASE64.decode(sealed).ok()?;
        let text = self.pair()?.private.decrypt_blinded(&mut OsRng, Pkcs1v15Encrypt, &sealed).ok()?;
        Some(SessionKey::from_text(&text))
    }
}

/// Seals a new session key for a client.
pub(super) fn seal_for(public: &str, text: &str) -> Option<String> {
    let key = RsaPublicKey::from_public_key_der(&BASE64.decode(public).ok()?).ok()?;
    if key.n().bits() > MOST_BITS {
        return None;
    }
    let sealed = key.encrypt(&mut OsRng, Pkcs1v15Encrypt, text.as_bytes()).ok()?;
    Some(BASE64.encode(sealed))
}

/// What two ends share until one of them asks for a new one.
#[derive(Clone)]
pub(super) struct SessionKey(Box<Aes128>);

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key]")
    }
}

impl SessionKey {
    /// The key is the first 16 bytes of SHA-1 of the text that was handed over.
    pub(super) fn from_text(text: &[u8]) -> Self {
        let hash = Sha1::digest(text);
        let mut key = [0; 16];
        key.copy_from_slice(&hash[..16]);
        Self(Box::new(Aes128::new(&key.into())))
    }

    pub(super) fn encrypt(&self, text: &[u8]) -> String {
        let padding = 16 - text.len() % 16;
        let mut bytes = text.to_vec();
        bytes.resize(text.len() + padding, padding as u8);
        for chunk in bytes.chunks_exact_mut(16) {
            let mut block = block(chunk);
            self.0.encrypt_block(&mut block);
            chunk.copy_from_slice(&block);
        }
        BASE64.encode(bytes)
    }

    /// What was encrypted, if it was with this key.
    pub(super) fn decrypt(&self, text: &str) -> Option<Vec<u8>> {
        let mut bytes = BASE64.decode(text).ok()?;
        if !bytes.len().is_multiple_of(16) {
            return None;
        }
        for chunk in bytes.chunks_exact_mut(16) {
            let mut block = block(chunk);
            self.0.decrypt_block(&mut block);
            chunk.copy_from_slice(&block);
        }
        let padding = usize::from(*bytes.last()?);
        let begins = bytes.len().checked_sub(padding)?;
        let is_padding =
            (1..=16).contains(&padding) && bytes[begins..].iter().all(|it| usize::from(*it) == padding);
        bytes.truncate(begins);
        is_padding.then_some(bytes)
    }
}

fn block(chunk: &[u8]) -> Block<Aes128> {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(chunk);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the Java client makes of `AESEncryption.encrypt("hello", "secret")`.
    #[test]
    fn a_message_is_what_the_java_client_makes_of_it() {
        let key = SessionKey::from_text(b"secret");
        assert_eq!(key.encrypt(b"hello"), "DbhdrFesXaFslT/2Rfr37A==");
        assert_eq!(key.decrypt("DbhdrFesXaFslT/2Rfr37A==").as_deref(), Some(&b"hello"[..]));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let key = SessionKey::from_text(b"secret");
        for wrong in ["", "x", "####", "YWJj", "AAAAAAAAAAAAAAAAAAAAAA=="] {
            assert_eq!(key.decrypt(wrong), None, "{wrong}");
        }
        assert!(is_base64("YQ==") && is_base64("YQ") && !is_base64("Y Q") && !is_base64("YQ="));
    }

    #[test]
    fn a_session_key_that_is_sealed_with_the_public_key_is_opened_with_the_private_one() {
        let keys = Keys::default();
        let sealed = seal_for(keys.public().expect("made"), "k\u{fffd}7").expect("sealed");
        let key = keys.open(&sealed).expect("opened");
        assert_eq!(key.encrypt(b"x"), SessionKey::from_text("k\u{fffd}7".as_bytes()).encrypt(b"x"));
        assert!(keys.open("AAAA").is_none() && keys.open("#").is_none());
        assert!(seal_for("AAAA", "x").is_none());
    }

    proptest! {
        #[test]
        fn what_is_encrypted_is_decrypted(text: Vec<u8>, key: Vec<u8>) {
            let key = SessionKey::from_text(&key);
            prop_assert_eq!(key.decrypt(&key.encrypt(&text)), Some(text));
        }
    }
}
