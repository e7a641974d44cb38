//! Looks for the client identifier in the first bytes of a connection, and nothing else.
//!
//! The answer decides which shard serves the connection; everything that is not a complete, ordinary CONNECT goes to
//! the local engine, which knows how to refuse it. No length is trusted and nothing is allocated.

/// What the first bytes of a connection say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peek<'a> {
    /// The first packet is not complete.
    More,
    /// A complete CONNECT of this client.
    ClientId(&'a str),
    /// Anything else, or a CONNECT without a client identifier: the engine here takes it.
    Local,
}

/// First byte of CONNECT: packet type 1, reserved flags 0 [MQTT-2.1.3-1].
const CONNECT: u8 = 0x10;
/// Protocol level from which CONNECT carries properties.
const LEVEL_5: u8 = 5;

/// Looks at `bytes`, the first of a connection; a packet longer than `packet_bytes` is not waited for.
pub(super) fn peek_client_id(bytes: &[u8], packet_bytes: u32) -> Peek<'_> {
    match bytes.first() {
        None => return Peek::More,
        Some(&CONNECT) => {}
        Some(_) => return Peek::Local,
    }
    let (length, rest) = match variable_integer(&bytes[1..]) {
        Integer::Value(length, rest) => (length, rest),
        Integer::More => return Peek::More,
        Integer::Malformed => return Peek::Local,
    };
    if length > packet_bytes {
        return Peek::Local;
    }
    match rest.get(..length as usize) {
        None => Peek::More,
        Some(body) => client_id(body).filter(|id| !id.is_empty()).map_or(Peek::Local, Peek::ClientId),
    }
}

/// The client identifier in the body of a CONNECT.
fn client_id(body: &[u8]) -> Option<&str> {
    let (_name, rest) = prefixed(body)?;
    let (level, rest) = rest.split_first()?;
    // Connect flags and keep alive.
    let mut rest = rest.get(3..)?;
    if *level == LEVEL_5 {
        let Integer::Value(length, properties) = variable_integer(rest) else { return None };
        rest = properties.get(length as usize..)?;
    }
    std::str::from_utf8(prefixed(rest)?.0).ok()
}

/// Bytes that a two byte length precedes, and what follows.
fn prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

enum Integer<'a> {
    Value(u32, &'a [u8]),
    More,
    Malformed,
}

/// A variable byte integer of four bytes at most [MQTT-1.5.5-1], and what follows.
fn variable_integer(bytes: &[u8]) -> Integer<'_> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(4) {
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Integer::Value(value, &bytes[index + 1..]);
        }
    }
    if bytes.len() < 4 { Integer::More } else { Integer::Malformed }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u32 = 1 << 20;

    fn connect(level: u8, properties: &[u8], id: &str) -> Vec<u8> {
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', level, 2, 0, 60];
        body.extend_from_slice(properties);
        body.extend_from_slice(&(id.len() as u16).to_be_bytes());
        body.extend_from_slice(id.as_bytes());
        let mut packet = vec![CONNECT];
        let mut length = body.len();
        loop {
            let more = if length > 0x7f { 0x80 } else { 0 };
            packet.push((length & 0x7f) as u8 | more);
            length >>= 7;
            if length == 0 {
                break;
            }
        }
        packet.extend_from_slice(&body);
        packet
    }

    #[test]
    fn finds_the_client_of_both_versions() {
        assert_eq!(peek_client_id(&connect(4, &[], "ann"), LIMIT), Peek::ClientId("ann"));
        let properties = [5, 0x11, 0, 0, 0, 9];
        assert_eq!(peek_client_id(&connect(5, &properties, "bob"), LIMIT), Peek::ClientId("bob"));
        let long = "x".repeat(300);
        assert_eq!(peek_client_id(&connect(4, &[], &long), LIMIT), Peek::ClientId(&long));
    }

    #[test]
    fn what_follows_the_packet_does_not_matter() {
        let mut bytes = connect(4, &[], "ann");
        bytes.extend_from_slice(&[0xc0, 0]);
        assert_eq!(peek_client_id(&bytes, LIMIT), Peek::ClientId("ann"));
    }

    #[test]
    fn each_beginning_of_a_connect_wants_more() {
        let packet = connect(5, &[5, 0x11, 0, 0, 0, 9], "bob");
        for end in 0..packet.len() {
            assert_eq!(peek_client_id(&packet[..end], LIMIT), Peek::More, "{end}");
        }
    }

    #[test]
    fn what_is_no_connect_is_local_at_its_first_byte() {
        for first in (0..=u8::MAX).filter(|byte| *byte != CONNECT) {
            assert_eq!(peek_client_id(&[first], LIMIT), Peek::Local, "{first:#x}");
        }
    }

    #[test]
    fn a_client_without_name_is_local() {
        assert_eq!(peek_client_id(&connect(4, &[], ""), LIMIT), Peek::Local);
    }

    #[test]
    fn lengths_that_lie_are_local() {
        // A packet that claims more than is taken is not waited for.
        assert_eq!(peek_client_id(&[CONNECT, 0xff, 0xff, 0xff, 0x7f], LIMIT), Peek::Local);
        assert_eq!(peek_client_id(&[CONNECT, 0xff, 0xff, 0xff, 0xff], LIMIT), Peek::Local);
        for (at, value) in [(2, 0xff), (12, 0x7f), (13, 0xff)] {
            let mut packet = connect(5, &[0], "bob");
            packet[at] = value;
            assert_eq!(peek_client_id(&packet, LIMIT), Peek::Local, "{at}");
        }
        let packet = connect(4, &[], "bob");
        for end in 2..packet.len() {
            let mut cut = packet[..end].to_vec();
            cut[1] = (end - 2) as u8;
            assert_eq!(peek_client_id(&cut, LIMIT), Peek::Local, "{end}");
        }
    }

    #[test]
    fn a_name_that_is_not_text_is_local() {
        let mut packet = connect(4, &[], "bob");
        let last = packet.len() - 1;
        packet[last] = 0xff;
        assert_eq!(peek_client_id(&packet, LIMIT), Peek::Local);
    }
}
