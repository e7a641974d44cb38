//! Finds the common name in a certificate that TLS has verified.
//!
//! Only as much of X.509 as lies on the way to the subject. No length is trusted: anything odd has no name.

/// DER tags.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
/// The version of a certificate, which version 1 leaves out.
const VERSION: u8 = 0xa0;
/// id-at-commonName, 2.5.4.3.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
/// Types of text that are UTF-8 or a part of it: UTF8String, PrintableString, IA5String.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];

/// The last common name of the subject, the most specific one, of a certificate in DER.
pub(super) fn common_name(certificate: &[u8]) -> Option<&str> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = any(fields)?.2;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        fields = any(fields)?.2;
    }
    let (mut subject, _) = element(fields, SEQUENCE)?;
    let mut name = None;
    while !subject.is_empty() {
        let (mut attributes, rest) = element(subject, SET)?;
        subject = rest;
        while !attributes.is_empty() {
            let (attribute, rest) = element(attributes, SEQUENCE)?;
            attributes = rest;
            let (kind, value) = element(attribute, OBJECT_ID)?;
            let (tag, text, _) = any(value)?;
            if kind == COMMON_NAME && TEXTS.contains(&tag) {
                name = std::str::from_utf8(text).ok().filter(|text| !text.is_empty());
            }
        }
    }
    name
}

/// The content of the first element, which must have this tag, and what follows.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Tag and content of the first element, and what follows.
fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if length >= 0x80 {
        let (octets, after) = rest.split_at_checked(length - 0x80)?;
        if octets.is_empty() || octets.len() > 3 {
            return None;
        }
        length = octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        match content.len() {
            length @ 0..0x80 => bytes.push(length as u8),
            length => bytes.extend_from_slice(&[0x82, (length >> 8) as u8, length as u8]),
        }
        bytes.extend_from_slice(content);
        bytes
    }

    fn attribute(kind: &[u8], tag: u8, text: &str) -> Vec<u8> {
        der(SET, &der(SEQUENCE, &[der(OBJECT_ID, kind), der(tag, text.as_bytes())].concat()))
    }

    fn certificate(version: bool, subject: &[Vec<u8>]) -> Vec<u8> {
        let mut fields = if version { der(VERSION, &der(2, &[2])) } else { Vec::new() };
        let issuer = der(SEQUENCE, &attribute(&COMMON_NAME, 0x0c, "the authority"));
        for field in [der(2, &[1]), der(SEQUENCE, &[]), issuer, der(SEQUENCE, &[])] {
            fields.extend_from_slice(&field);
        }
        fields.extend_from_slice(&der(SEQUENCE, &subject.concat()));
        fields.extend_from_slice(&der(SEQUENCE, &[0; 200]));
        der(SEQUENCE, &[der(SEQUENCE, &fields), der(SEQUENCE, &[]), der(3, &[0; 64])].concat())
    }

    #[test]
    fn the_subject_is_named_and_not_the_issuer() {
        let organization = attribute(&[0x55, 0x04, 0x0a], 0x0c, "people");
        let name = attribute(&COMMON_NAME, 0x0c, "ann");
        for version in [true, false] {
            let certificate = certificate(version, &[organization.clone(), name.clone()]);
            assert_eq!(common_name(&certificate), Some("ann"));
        }
        let printable = attribute(&COMMON_NAME, 0x13, "bob");
        assert_eq!(common_name(&certificate(true, &[name, printable])), Some("bob"), "the last one");
        assert_eq!(common_name(&certificate(true, &[organization])), None);
    }

    #[test]
    fn what_is_odd_has_no_name() {
        assert_eq!(common_name(&certificate(true, &[attribute(&COMMON_NAME, 0x0c, "")])), None);
        assert_eq!(common_name(&certificate(true, &[attribute(&COMMON_NAME, 0x1e, "\0a")])), None, "UTF-16");
        let whole = certificate(true, &[attribute(&COMMON_NAME, 0x0c, "ann")]);
        for end in 0..whole.len() {
            assert_eq!(common_name(&whole[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn no_byte_makes_it_panic() {
        let whole = certificate(true, &[attribute(&COMMON_NAME, 0x0c, "ann")]);
        let mut named = 0;
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0x80, 0x81, 0x84, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                named += usize::from(common_name(&bytes).is_some());
            }
        }
        assert!(named > 0);
    }
}
