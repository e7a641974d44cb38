//! The provider of OpenID Connect as configured: whose tokens let people in, and where its keys are.
//!
//! All of it or nothing: a provider without an audience would let in whoever has a token of it for anything.

use std::{net::IpAddr, path::PathBuf, time::Duration};

/// What is written, before it is proved.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) keys_url: Option<String>,
    pub(super) keys_file: Option<PathBuf>,
    pub(super) claim: Option<String>,
    pub(super) leeway: Duration,
}

/// A provider whose access tokens let people in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provider {
    /// Who it is, as its tokens say it.
    pub(crate) issuer: String,
    /// Whom its tokens must be for.
    pub(crate) audience: String,
    /// Where its keys are.
    pub(crate) keys: KeySource,
    /// Which claim is the user name.
    pub(crate) claim: String,
    /// How far its clock may be off.
    pub(crate) leeway: Duration,
}

/// Where a JWK set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// At an address: https, or http on this machine.
    Url(String),
    /// In a file.
    File(PathBuf),
}

impl Provider {
    /// Whether keys may be had from an address: nobody between may put in others.
    pub(super) fn allows(url: &str) -> bool {
        let Ok(uri) = url.parse::<hyper::Uri>() else { return false };
        let host = uri.host().unwrap_or_default();
        let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
        let is_here = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        !host.is_empty() && (uri.scheme_str() == Some("https") || uri.scheme_str() == Some("http") && is_here)
    }
}

/// The provider, where one is configured.
///
/// # Errors
/// The key that is wrong or missing, and what is wrong with it.
pub(super) fn prove(draft: Draft, has_rooms: bool) -> Result<Option<Provider>, (&'static str, String)> {
    let Draft { issuer, audience, keys_url, keys_file, claim, leeway } = draft;
    let needs = |key: &'static str, what: &str| Err((key, format!("{key}: {what}")));
    let Some(issuer) = issuer else {
        return match (audience, keys_url, keys_file) {
            (None, None, None) => Ok(None),
            (Some(_), ..) => needs("openid.audience", "needs openid.issuer"),
            (_, Some(_), _) => needs("openid.keys-url", "needs openid.issuer"),
            _ => needs("openid.keys-file", "needs openid.issuer"),
        };
    };
    let Some(audience) = audience else { return needs("openid.issuer", "needs openid.audience") };
    let keys = match (keys_url, keys_file) {
        (Some(url), None) => KeySource::Url(url),
        (None, Some(file)) => KeySource::File(file),
        (None, None) => return needs("openid.issuer", "needs openid.keys-url or openid.keys-file"),
        (Some(_), Some(_)) => {
            return needs("openid.keys-file", "openid.keys-url says where the keys are already");
        }
    };
    if !has_rooms {
        return needs("openid.issuer", "needs rooms.enabled");
    }
    let claim = claim.unwrap_or_default();
    Ok(Some(Provider { issuer, audience, keys, claim, leeway }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_https_or_from_this_machine() {
        for (url, expected) in [
            ("https://id.example.org/keys", true),
            ("http://127.0.0.1:8080/keys", true),
            ("http://[::1]/keys", true),
            ("http://localhost/keys", true),
            ("http://id.example.org/keys", false),
            ("http://127.0.0.1.example.org/keys", false),
            ("ftp://127.0.0.1/keys", false),
            ("/etc/keys", false),
            ("", false),
        ] {
            assert_eq!(Provider::allows(url), expected, "{url}");
        }
    }

    #[test]
    fn a_provider_is_configured_whole() {
        let some = |text: &str| Some(text.to_owned());
        let key = |draft: Draft, has_rooms| prove(draft, has_rooms).expect_err("wrong").0;
        let whole = || Draft {
            issuer: some("i"),
            audience: some("a"),
            keys_url: some("u"),
            claim: some("c"),
            ..Draft::default()
        };
        assert_eq!(prove(Draft { claim: some("c"), ..Draft::default() }, true), Ok(None));
        assert!(prove(whole(), true).is_ok_and(|provider| provider.is_some()));
        assert_eq!(key(whole(), false), "openid.issuer");
        assert_eq!(key(Draft { audience: None, ..whole() }, true), "openid.issuer");
        assert_eq!(key(Draft { keys_url: None, ..whole() }, true), "openid.issuer");
        assert_eq!(key(Draft { keys_file: Some("f".into()), ..whole() }, true), "openid.keys-file");
        assert_eq!(key(Draft { issuer: None, ..whole() }, true), "openid.audience");
        assert_eq!(key(Draft { issuer: None, audience: None, ..whole() }, true), "openid.keys-url");
    }
}
