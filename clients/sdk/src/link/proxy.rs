//! The PROXY protocol header, version 2: tells the broker's listener for bridges where a user really is.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_AND_COMMAND: u8 = 0x21;
const TCP_4: u8 = 0x11;
const TCP_6: u8 = 0x21;

/// The header for a connection from `source`, which reached us at `destination` where that is known.
pub(super) fn header(source: SocketAddr, destination: Option<SocketAddr>) -> Vec<u8> {
    let destination = destination.unwrap_or_else(|| match source {
        SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    });
    let mut addresses = Vec::with_capacity(36);
    let family = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            addresses.extend(from.octets());
            addresses.extend(to.octets());
            TCP_4
        }
        (from, to) => {
            addresses.extend(wide(from).octets());
            addresses.extend(wide(to).octets());
            TCP_6
        }
    };
    addresses.extend(source.port().to_be_bytes());
    addresses.extend(destination.port().to_be_bytes());
    let mut header = SIGNATURE.to_vec();
    header.extend([VERSION_AND_COMMAND, family, 0, addresses.len() as u8]);
    header.extend(addresses);
    header
}

fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_the_bytes_of_the_specification() {
        let header = header("1.2.3.4:5".parse().unwrap(), Some("127.0.0.1:1883".parse().unwrap()));
        assert_eq!(header[..12], SIGNATURE);
        assert_eq!(header[12..], [0x21, 0x11, 0, 12, 1, 2, 3, 4, 127, 0, 0, 1, 0, 5, 0x07, 0x5b]);
    }

    #[test]
    fn families_that_differ_are_both_written_as_the_wide_one() {
        let header = header("1.2.3.4:5".parse().unwrap(), Some("[::1]:1883".parse().unwrap()));
        assert_eq!((header[13], header[15], header.len()), (0x21, 36, 52));
        assert_eq!(
            header[16..32],
            "1.2.3.4".parse::<std::net::Ipv4Addr>().unwrap().to_ipv6_mapped().octets()
        );
        let unix = super::header("[2001:db8::1]:9".parse().unwrap(), None);
        assert_eq!((unix[13], unix.len()), (0x21, 52));
    }
}
