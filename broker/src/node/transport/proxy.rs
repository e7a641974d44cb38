//! The PROXY protocol, version 2: the header by which a load balancer tells the address of the client.
//!
//! The header is read byte-exact, so that what follows it (TLS, perhaps) is left in the socket. It has to come first
//! and is bounded; version 1, which is text, is refused. Additional fields (TLV) are skipped.

use super::broken;
use std::{
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;
/// The longest header that is taken: addresses and a good measure of TLVs.
const BODY_BYTES_MAX: usize = 4096;

/// A header that is being read.
#[derive(Debug, Default)]
pub(in crate::node) struct HeaderReader {
    bytes: Vec<u8>,
}

/// How far the header is.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::node) enum Header {
    /// The socket has no more for now.
    Waiting,
    /// The connection comes from this address.
    From(IpAddr),
    /// The connection is the proxy's own (LOCAL), or comes from where there are no addresses.
    Unnamed,
}

impl HeaderReader {
    /// Reads on, and no byte further than the header's last.
    ///
    /// # Errors
    /// The socket failed or ended, or this is no PROXY header of version 2 that is taken here.
    pub(in crate::node) fn read(&mut self, socket: &mut impl Read) -> io::Result<Header> {
        loop {
            let wanted = self.wanted()?;
            let have = self.bytes.len();
            if have == wanted {
                return parse(&self.bytes);
            }
            self.bytes.resize(wanted, 0);
            let count = socket.read(&mut self.bytes[have..]);
            self.bytes.truncate(have + *count.as_ref().unwrap_or(&0));
            match count {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Header::Waiting),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// How long the header is, as far as that is known. Never more than is taken, whatever is claimed.
    fn wanted(&self) -> io::Result<usize> {
        let seen = self.bytes.len().min(SIGNATURE.len());
        if self.bytes[..seen] != SIGNATURE[..seen] {
            return Err(broken("no PROXY protocol header of version 2"));
        }
        let Some(fixed) = self.bytes.first_chunk::<FIXED_BYTES>() else { return Ok(FIXED_BYTES) };
        if fixed[12] >> 4 != 2 {
            return Err(broken("a PROXY protocol version other than 2"));
        }
        let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
        if length > BODY_BYTES_MAX {
            return Err(broken("a PROXY protocol header that is too long"));
        }
        Ok(FIXED_BYTES + length)
    }
}

/// Reads a complete header.
fn parse(header: &[u8]) -> io::Result<Header> {
    let (fixed, body) = header.split_at(FIXED_BYTES);
    match fixed[12] & 0x0f {
        0 => return Ok(Header::Unnamed),
        1 => {}
        _ => return Err(broken("an unknown PROXY protocol command")),
    }
    let short = || broken("a PROXY protocol header without its addresses");
    match fixed[13] >> 4 {
        // Two addresses and two ports; the first address is the client's.
        1 if body.len() >= 12 => {
            let source: [u8; 4] = *body.first_chunk().ok_or_else(short)?;
            Ok(Header::From(IpAddr::V4(Ipv4Addr::from(source))))
        }
        2 if body.len() >= 36 => {
            let source: [u8; 16] = *body.first_chunk().ok_or_else(short)?;
            Ok(Header::From(IpAddr::V6(Ipv6Addr::from(source)).to_canonical()))
        }
        1 | 2 => Err(short()),
        0 | 3 => Ok(Header::Unnamed),
        _ => Err(broken("an unknown PROXY protocol address family")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that gives so many bytes at a time, then has no more for now.
    struct Dribble<'a>(&'a [u8], usize, bool);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.2 = !self.2;
            if self.2 || self.0.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn header(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[version_command, family]);
        bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    fn read(bytes: &[u8], at_once: usize) -> (io::Result<Header>, usize) {
        let mut socket = Dribble(bytes, at_once, false);
        let mut reader = HeaderReader::default();
        for _ in 0..10_000 {
            match reader.read(&mut socket) {
                Ok(Header::Waiting) => {}
                result => return (result, socket.0.len()),
            }
        }
        (Ok(Header::Waiting), socket.0.len())
    }

    #[test]
    fn tells_the_address_and_leaves_what_follows() {
        let mut body = vec![192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 7, 0x5b];
        body.extend_from_slice(&[4, 0, 3, 1, 2, 3]);
        let mut bytes = header(0x21, 0x11, &body);
        bytes.extend_from_slice(b"after");
        for at_once in [1, 3, 16, 500] {
            let (result, left) = read(&bytes, at_once);
            assert_eq!(result.unwrap(), Header::From("192.0.2.7".parse().unwrap()));
            assert_eq!(left, 5, "{at_once} bytes at once");
        }
        let mut body = [0; 36];
        body[..16].copy_from_slice(&"2001:db8::5".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(
            read(&header(0x21, 0x21, &body), 36).0.unwrap(),
            Header::From("2001:db8::5".parse().unwrap())
        );
    }

    #[test]
    fn local_and_unspecified_have_no_address() {
        assert_eq!(read(&header(0x20, 0, &[]), 100).0.unwrap(), Header::Unnamed);
        assert_eq!(read(&header(0x20, 0x11, &[9; 12]), 100).0.unwrap(), Header::Unnamed);
        assert_eq!(read(&header(0x21, 0, &[9; 12]), 100).0.unwrap(), Header::Unnamed);
        assert_eq!(read(&header(0x21, 0x31, &[9; 216]), 100).0.unwrap(), Header::Unnamed);
    }

    #[test]
    fn refuses_what_is_no_header_as_early_as_it_shows() {
        assert!(read(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n", 1).0.is_err(), "version 1");
        assert!(read(b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0", 1).0.is_err(), "no header");
        assert!(read(&header(0x31, 0x11, &[0; 12]), 1).0.is_err(), "version 3");
        assert!(read(&header(0x22, 0x11, &[0; 12]), 1).0.is_err(), "command 2");
        assert!(read(&header(0x21, 0x41, &[0; 12]), 1).0.is_err(), "family 4");
        assert!(read(&header(0x21, 0x11, &[0; 11]), 1).0.is_err(), "too short for its addresses");
        assert!(read(&header(0x21, 0x21, &[0; 35]), 1).0.is_err(), "too short for its addresses");
    }

    #[test]
    fn a_length_that_lies_is_not_waited_for() {
        let mut bytes = header(0x21, 0x11, &[0; 12]);
        bytes[14] = 0xff;
        assert!(read(&bytes, 100).0.is_err());
    }

    #[test]
    fn each_beginning_waits() {
        let bytes = header(0x21, 0x11, &[0; 12]);
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end], 100).0.unwrap(), Header::Waiting, "{end}");
        }
    }
}
