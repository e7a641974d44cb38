//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the side of the server: a client proves that it knows a password which never
//! crosses the wire, and is shown that the server knows it too.
//!
//! Bytes in, bytes out: the one who drives it brings nonces and verifiers, and counts failures. There is no channel
//! binding: MQTT clients have none, so `y` means nothing here and `p` is refused. Invariant: what a [`Verifier`] holds is
//! enough to check a password and to show that one knows it, and not to sign in.
//!
//! ```text
//! client-first ─▶ ClientFirst ─▶ Challenge (server-first) ─▶ client-final ─▶ server-final
//! ```

use crate::base64;
use hmac::{Hmac, KeyInit, Mac};
use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::PrecisFastInvocation;
use sha2::{Digest, Sha256};
use std::fmt;

/// Its name as an authentication method.
pub const METHOD: &str = "SCRAM-SHA-256";

/// Rounds of PBKDF2 for verifiers that are made here. Clients do the same work at each sign-in.
pub const ITERATIONS: u32 = 32_768;

/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;

/// Rounds that are read back at most: a record that says more is damaged.
const ITERATIONS_MOST: u32 = 10_000_000;

/// Bytes of a message of the client at most.
const MESSAGE_BYTES: usize = 1024;

/// Why an exchange ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A message that is not SCRAM, or asks for what there is not: channel binding, an extension, another's name.
    Malformed,
    /// The proof is not that of the password.
    Wrong,
}

/// What is kept of a password: RFC 5802, section 3. Its text is `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    salt: Vec<u8>,
    iterations: u32,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl Verifier {
    /// The verifier of a password. Takes `iterations` rounds of PBKDF2: never where somebody waits for a packet.
    ///
    /// A password in UTF-8 is prepared as an OpaqueString of RFC 8265, which leaves ASCII as it is.
    pub fn of_password(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let prepared = std::str::from_utf8(password).ok().filter(|text| !text.is_ascii());
        let prepared = prepared.and_then(|text| OpaqueString::enforce(text).ok());
        let password = prepared.as_deref().map_or(password, str::as_bytes);
        let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations);
        let stored_key = Sha256::digest(mac(&salted, b"Client Key")).into();
        Self { salt: salt.to_vec(), iterations, stored_key, server_key: mac(&salted, b"Server Key") }
    }

    /// A verifier that nobody's password fits, the same for a name each time: so that who asks for a name that is not
    /// there is not told so. `secret` is the server's and stays the same.
    pub fn of_nobody(secret: &[u8], name: &str) -> Self {
        let part = |what: &str| mac(secret, format!("{what} {name}").as_bytes());
        Self {
            salt: part("salt")[..SALT_BYTES].to_vec(),
            iterations: ITERATIONS,
            stored_key: part("stored key"),
            server_key: part("server key"),
        }
    }

    /// Reads its text.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(METHOD)?.strip_prefix('$')?;
        let (front, keys) = rest.split_once('$')?;
        let (iterations, salt) = front.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let iterations = iterations.parse().ok().filter(|rounds| (1..=ITERATIONS_MOST).contains(rounds))?;
        let key = |text: &str| <[u8; 32]>::try_from(base64::decode(text)?).ok();
        Some(Self {
            salt: base64::decode(salt).filter(|salt| !salt.is_empty())?,
            iterations,
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
        })
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored_key, server_key] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(base64::encode);
        write!(f, "{METHOD}${}:{salt}${stored_key}:{server_key}", self.iterations)
    }
}

/// What a client says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFirst {
    /// Who it says it is.
    pub name: String,
    nonce: String,
    /// The header of GSS-API, and the rest.
    header: String,
    bare: String,
}

impl ClientFirst {
    /// Reads `n,,n=user,r=nonce`.
    ///
    /// # Errors
    /// It is malformed.
    pub fn parse(message: &[u8]) -> Result<Self, Fault> {
        let text = text_of(message)?;
        let (flag, rest) = text.split_once(',').ok_or(Fault::Malformed)?;
        let (authzid, bare) = rest.split_once(',').ok_or(Fault::Malformed)?;
        if !matches!(flag, "n" | "y") {
            return Err(Fault::Malformed);
        }
        let mut parts = bare.split(',');
        let name = parts.next().and_then(|part| part.strip_prefix("n=")).and_then(unescaped);
        let nonce = parts.next().and_then(|part| part.strip_prefix("r=")).filter(|nonce| is_nonce(nonce));
        let (Some(name), Some(nonce)) = (name, nonce) else { return Err(Fault::Malformed) };
        let acts_for = match authzid {
            "" => None,
            other => Some(other.strip_prefix("a=").and_then(unescaped).ok_or(Fault::Malformed)?),
        };
        // One acts for oneself only.
        if name.is_empty() || acts_for.is_some_and(|other| other != name) {
            return Err(Fault::Malformed);
        }
        let header = format!("{flag},{authzid},");
        Ok(Self { name, nonce: nonce.to_owned(), header, bare: bare.to_owned() })
    }
}

/// An exchange whose challenge is with the client.
#[derive(Clone)]
pub struct Challenge {
    verifier: Verifier,
    nonce: String,
    header: String,
    /// `client-first-message-bare,server-first-message,`.
    said: String,
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenge").finish_non_exhaustive()
    }
}

impl Challenge {
    /// The exchange that follows a first message, and what the server says first. `nonce` has never been used.
    pub fn new(first: &ClientFirst, verifier: Verifier, nonce: &str) -> (Self, String) {
        let nonce = format!("{}{nonce}", first.nonce);
        let salt = base64::encode(&verifier.salt);
        let server_first = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let said = format!("{},{server_first},", first.bare);
        (Self { verifier, nonce, header: first.header.clone(), said }, server_first)
    }

    /// Checks `c=header,r=nonce,p=proof`, and says the server's signature: `v=...`.
    ///
    /// # Errors
    /// It is malformed, or the proof is wrong.
    pub fn finish(&self, message: &[u8]) -> Result<String, Fault> {
        let text = text_of(message)?;
        let (unproven, proof) = text.rsplit_once(",p=").ok_or(Fault::Malformed)?;
        let mut parts = unproven.split(',');
        let header = parts.next().and_then(|part| part.strip_prefix("c=")).and_then(base64::decode);
        let nonce = parts.next().and_then(|part| part.strip_prefix("r="));
        if header.as_deref() != Some(self.header.as_bytes()) || nonce != Some(&*self.nonce) {
            return Err(Fault::Malformed);
        }
        let proof = base64::decode(proof).and_then(|proof| <[u8; 32]>::try_from(proof).ok());
        let proof = proof.ok_or(Fault::Malformed)?;
        let said = format!("{}{unproven}", self.said);
        let signature = mac(&self.verifier.stored_key, said.as_bytes());
        let mut client_key = proof;
        client_key.iter_mut().zip(signature).for_each(|(byte, other)| *byte ^= other);
        // What is compared are digests: how far they agree tells nothing about the key.
        if <[u8; 32]>::from(Sha256::digest(client_key)) != self.verifier.stored_key {
            return Err(Fault::Wrong);
        }
        Ok(format!("v={}", base64::encode(&mac(&self.verifier.server_key, said.as_bytes()))))
    }
}

fn text_of(message: &[u8]) -> Result<&str, Fault> {
    let text = std::str::from_utf8(message).map_err(|_| Fault::Malformed)?;
    if text.len() > MESSAGE_BYTES || text.contains('\0') { Err(Fault::Malformed) } else { Ok(text) }
}

/// A name as it was before `,` and `=` were written as `=2C` and `=3D`.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (letter, rest) = part
            .strip_prefix("2C")
            .map(|rest| (',', rest))
            .or_else(|| part.strip_prefix("3D").map(|rest| ('=', rest)))?;
        name.push(letter);
        name.push_str(rest);
    }
    Some(name)
}

fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
    const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const UNPROVEN: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const PROOF: &str = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn verifier() -> Verifier {
        Verifier::of_password(b"pencil", &base64::decode(SALT).unwrap(), 4096)
    }

    fn challenge(first: &[u8]) -> (Challenge, String) {
        Challenge::new(&ClientFirst::parse(first).unwrap(), verifier(), NONCE)
    }

    #[test]
    fn the_example_of_rfc_7677() {
        let (challenge, server_first) = challenge(CLIENT_FIRST);
        assert_eq!(server_first, SERVER_FIRST);
        assert_eq!(challenge.finish(format!("{UNPROVEN},p={PROOF}").as_bytes()).as_deref(), Ok(SERVER_FINAL));
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let text = verifier().to_string();
        assert_eq!(
            text,
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
             wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
        assert_eq!(Verifier::parse(&text), Some(verifier()));
        for bad in
            ["", "SCRAM-SHA-256$", "SCRAM-SHA-1$1:AA==$AA==:AA==", &text[..80], &text.replace("4096", "0")]
        {
            assert_eq!(Verifier::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn another_password_is_wrong_and_so_is_nobodys() {
        let other = Verifier::of_password(b"pen", &base64::decode(SALT).unwrap(), 4096);
        let first = ClientFirst::parse(CLIENT_FIRST).unwrap();
        let proof = format!("{UNPROVEN},p={PROOF}");
        assert_eq!(Challenge::new(&first, other, NONCE).0.finish(proof.as_bytes()), Err(Fault::Wrong));
        let nobody = Verifier::of_nobody(b"secret", "ann");
        assert_eq!(nobody, Verifier::of_nobody(b"secret", "ann"));
        assert_ne!(nobody.salt, Verifier::of_nobody(b"secret", "bob").salt);
        assert_ne!(nobody.salt, Verifier::of_nobody(b"other", "ann").salt);
        assert_eq!(nobody.iterations, ITERATIONS);
        assert_eq!(Challenge::new(&first, nobody, NONCE).0.finish(proof.as_bytes()), Err(Fault::Wrong));
    }

    #[test]
    fn names_are_escaped() {
        let first = ClientFirst::parse(b"y,a=a=2Cb=3Dc,n=a=2Cb=3Dc,r=x").unwrap();
        assert_eq!(first.name, "a,b=c");
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bad in [
            &b""[..],
            b"n",
            b"n,,",
            b"n,,n=user",
            b"n,,n=,r=x",
            b"n,,n=user,r=",
            b"n,,n=us=er,r=x",
            b"n,,n=user,r=x y",
            b"n,,m=ext,n=user,r=x",
            b"n,a=other,n=user,r=x",
            b"n,user,n=user,r=x",
            b"p=tls-unique,,n=user,r=x",
            b"n,,n=us\xFFer,r=x",
            b"n,,n=us\0er,r=x",
        ] {
            assert_eq!(ClientFirst::parse(bad), Err(Fault::Malformed), "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(ClientFirst::parse(&[b'n'; MESSAGE_BYTES + 1]), Err(Fault::Malformed));
        let (challenge, _) = challenge(CLIENT_FIRST);
        for bad in [
            String::new(),
            UNPROVEN.into(),
            format!("{UNPROVEN},p="),
            format!("{UNPROVEN},p=AAAA"),
            format!("{UNPROVEN},p={PROOF},x=y"),
            format!("{},p={PROOF}", UNPROVEN.replace("biws", "eSws")),
            format!("{},p={PROOF}", &UNPROVEN[..UNPROVEN.len() - 1]),
        ] {
            assert_eq!(challenge.finish(bad.as_bytes()), Err(Fault::Malformed), "{bad}");
        }
    }

    #[test]
    fn passwords_are_prepared_where_they_are_not_ascii() {
        let salt = [7; SALT_BYTES];
        let composed = Verifier::of_password("zo\u{eb}".as_bytes(), &salt, 1);
        assert_eq!(Verifier::of_password("zoe\u{308}".as_bytes(), &salt, 1), composed);
        assert_ne!(Verifier::of_password(b"\xFF", &salt, 1), composed);
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_sent_breaks_it(first in "n,(a=.{0,4})?,[nmr]=.{0,8},r=.{0,8}", last in ".{0,9},p=.{0,50}") {
            if let Ok(first) = ClientFirst::parse(first.as_bytes()) {
                let (challenge, _) = Challenge::new(&first, Verifier::of_nobody(b"", &first.name), NONCE);
                proptest::prop_assert!(challenge.finish(last.as_bytes()).is_err());
            }
        }
    }
}
