//! The message of OAUTHBEARER (RFC 7628, section 3.1): an access token, and perhaps a name.

/// Reads `n,a=user,^Aauth=Bearer token^A^A`, and gives the name, where there is one, and the token. Other fields, such as
/// host and port, mean nothing here.
pub(super) fn parse(message: &[u8]) -> Option<(Option<String>, &[u8])> {
    let text = std::str::from_utf8(message).ok()?;
    let (header, fields) = text.strip_suffix("\x01\x01")?.split_once('\x01')?;
    let rest = header.strip_prefix("n,").or_else(|| header.strip_prefix("y,"))?.strip_suffix(',')?;
    let name = match rest {
        "" => None,
        _ => Some(rest.strip_prefix("a=")?.replace("=2C", ",").replace("=3D", "=")),
    };
    let mut values = fields.split('\x01').filter_map(|field| field.strip_prefix("auth="));
    let (scheme, token) = values.next()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || values.next().is_some() {
        return None;
    }
    Some((name, token.trim_start().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_message_of_rfc_7628() {
        let example = b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01\
            auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";
        let token = &b"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="[..];
        assert_eq!(parse(example), Some((Some("user@example.com".into()), token)));
        assert_eq!(parse(b"n,,\x01auth=bearer x\x01\x01"), Some((None, &b"x"[..])));
        assert_eq!(parse(b"n,a=a=2Cb,\x01auth=Bearer x\x01\x01"), Some((Some("a,b".into()), &b"x"[..])));
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [
            &b""[..],
            b"n,,",
            b"n,,\x01\x01",
            b"n,,\x01auth=Bearer x\x01",
            b"n,,\x01auth=Basic x\x01\x01",
            b"n,,\x01auth=Bearer \x01\x01",
            b"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01",
            b"n,user,\x01auth=Bearer x\x01\x01",
            b"p=tls-unique,,\x01auth=Bearer x\x01\x01",
            b"n,,\x01auth=Bearer \xFF\x01\x01",
        ] {
            assert_eq!(parse(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }
}
