//! The log of packets, for who asked for it with `-v`: each packet's kind, length, flags and identifier, and nothing of
//! what it says, names and topics included.
//!
//! It sees the bytes of both directions as they come and go, in any pieces, and finds the packets in them by itself, so
//! that the engine knows nothing of logs. Invariant: it holds no byte of a packet, and nothing at all where packets are not
//! logged.

use katydid_engine::ConnId;
use std::{collections::HashMap, io::IoSlice, net::IpAddr};
use tracing::{Level, debug, enabled};

use super::accept::Admitted;

/// The connections of a shard whose packets are logged.
#[derive(Debug, Default)]
pub(super) struct PacketLog {
    trails: HashMap<ConnId, Trails>,
}

/// Both directions of one connection.
#[derive(Debug, Default)]
struct Trails {
    received: Trail,
    sent: Trail,
}

/// A packet as a log shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown {
    first: u8,
    body_bytes: u32,
    id: Option<u16>,
}

/// Where one direction stands.
#[derive(Debug, Default)]
struct Trail {
    first: u8,
    /// Bytes of the header that were seen.
    header: u8,
    body_bytes: u32,
    /// Bytes of the body that were seen.
    seen: u32,
    /// Two bytes that make a number: the length of a topic, then an identifier.
    number: u16,
    topic_bytes: u16,
    id: Option<u16>,
    /// What came is no packet: what follows cannot be told apart any more.
    is_lost: bool,
}

impl PacketLog {
    /// Bytes came from the peer.
    pub(super) fn received(&mut self, conn: ConnId, admitted: &Admitted, bytes: &[u8]) {
        if enabled!(Level::DEBUG) {
            let (listener, address) = (admitted.listener_name(), admitted.address());
            let trail = &mut self.trails.entry(conn).or_default().received;
            trail.follow(bytes, |shown| say("received", listener, address, shown));
        }
    }

    /// So many bytes went to the peer, from the first of these.
    pub(super) fn sent(&mut self, conn: ConnId, admitted: &Admitted, slices: &[IoSlice<'_>], count: usize) {
        if enabled!(Level::DEBUG) {
            let (listener, address) = (admitted.listener_name(), admitted.address());
            let trail = &mut self.trails.entry(conn).or_default().sent;
            let mut left = count;
            for slice in slices {
                let bytes = &slice[..left.min(slice.len())];
                trail.follow(bytes, |shown| say("sent", listener, address, shown));
                left -= bytes.len();
            }
        }
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.trails.remove(&conn);
    }
}

fn say(direction: &str, listener: &str, address: Option<IpAddr>, shown: Shown) {
    let Shown { first, body_bytes, id } = shown;
    let (packet, address) = (kind(first), address.map(tracing::field::display));
    let publish = (first >> 4 == 3).then_some(first);
    let (qos, dup) = (publish.map(|first| first >> 1 & 3), publish.map(|first| first & 8 != 0));
    let retain = publish.map(|first| first & 1 != 0);
    debug!(listener, address, packet, id, qos, dup, retain, body_bytes, "{direction}");
}

fn kind(first: u8) -> &'static str {
    const KINDS: [&str; 16] = [
        "0",
        "CONNECT",
        "CONNACK",
        "PUBLISH",
        "PUBACK",
        "PUBREC",
        "PUBREL",
        "PUBCOMP",
        "SUBSCRIBE",
        "SUBACK",
        "UNSUBSCRIBE",
        "UNSUBACK",
        "PINGREQ",
        "PINGRESP",
        "DISCONNECT",
        "AUTH",
    ];
    KINDS[usize::from(first >> 4)]
}

impl Trail {
    /// Follows bytes, and shows each packet that ends in them.
    fn follow(&mut self, bytes: &[u8], mut show: impl FnMut(Shown)) {
        let mut rest = bytes;
        while let (Some((byte, behind)), false) = (rest.split_first(), self.is_lost) {
            if self.header < 2 || self.body_bytes & LENGTH_GOES_ON != 0 {
                self.take_header(*byte);
                rest = behind;
            } else {
                rest = self.take_body(rest);
            }
            let is_whole = self.header >= 2
                && self.body_bytes & LENGTH_GOES_ON == 0
                && self.seen == self.body_bytes
                && !self.is_lost;
            if is_whole {
                show(Shown { first: self.first, body_bytes: self.body_bytes, id: self.id });
                *self = Self::default();
            }
        }
    }

    fn take_header(&mut self, byte: u8) {
        self.header += 1;
        if self.header == 1 {
            self.first = byte;
            return;
        }
        // Seven bits a byte, at most four of them.
        let shift = 7 * (self.header - 2);
        let length = self.body_bytes & !LENGTH_GOES_ON | u32::from(byte & 0x7F) << shift;
        let goes_on = byte & 0x80 != 0;
        self.is_lost = goes_on && self.header == 5;
        self.body_bytes = length | if goes_on { LENGTH_GOES_ON } else { 0 };
    }

    /// Looks at the next byte that matters, or passes over those that do not.
    fn take_body<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let at = match self.first >> 4 {
            // An identifier comes first.
            4..=11 => 0,
            3 if self.first & 6 != 0 && self.seen >= 2 => 2 + u32::from(self.topic_bytes),
            3 if self.first & 6 != 0 => 0,
            _ => u32::MAX,
        };
        if self.seen >= at && self.seen - at < 2 {
            self.number = self.number << 8 | u16::from(rest[0]);
            self.seen += 1;
            match (self.seen - at, self.seen) {
                (2, 2) if self.first >> 4 == 3 => self.topic_bytes = self.number,
                (2, _) => self.id = Some(self.number),
                _ => {}
            }
            return &rest[1..];
        }
        let end = if self.seen < at { at.min(self.body_bytes) } else { self.body_bytes };
        let count = ((end - self.seen) as usize).min(rest.len());
        self.seen += count as u32;
        &rest[count..]
    }
}

/// Marks a length whose next byte has not come.
const LENGTH_GOES_ON: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;

    /// The packets that are found in pieces of so many bytes.
    fn found(bytes: &[u8], piece: usize) -> Vec<Shown> {
        let (mut trail, mut found) = (Trail::default(), Vec::new());
        bytes.chunks(piece).for_each(|piece| trail.follow(piece, |shown| found.push(shown)));
        found
    }

    #[test]
    fn packets_are_found_in_any_pieces() {
        let long = [&[0x3B, 0xC8, 0x01, 0, 3, b'a', b'/', b'b', 1, 2][..], &[0; 193]].concat();
        let bytes = [&[0x10, 3, 1, 2, 3][..], &long, &[0xC0, 0, 0x30, 3, 0, 1, b'x', 0x62, 2, 0, 7]].concat();
        let shown = |first, body_bytes, id| Shown { first, body_bytes, id };
        let expected = [
            shown(0x10, 3, None),
            shown(0x3B, 200, Some(0x0102)),
            shown(0xC0, 0, None),
            shown(0x30, 3, None),
            shown(0x62, 2, Some(7)),
        ];
        for piece in [1, 2, 3, 5, 7, 100, 1000] {
            assert_eq!(found(&bytes, piece), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn what_is_no_packet_ends_the_log() {
        assert_eq!(found(&[0xC0, 0, 0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0xC0, 0], 3).len(), 1);
        // A topic and an identifier that reach beyond the packet.
        assert_eq!(found(&[0x32, 3, 0xFF, 0xFF, 0, 0xC0, 0, 0x40, 1, 0, 0xC0, 0], 1).len(), 4);
    }
}
