//! How often each address connects: so many a second on average, and ten times as many at once.
//!
//! An address is an IPv4 address or an IPv6 network of 64 bits, which one subscriber has as a whole. One that has not come
//! for ten seconds is forgotten, and what is remembered is bounded: an address that does not fit is let in, as limits of
//! connections hold for it, too.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

/// Seconds' worth of connects that may come at once.
const BURST_SECS: u64 = 10;

/// Addresses that are remembered at most; about 3 MiB.
const ADDRESSES: usize = 65_536;

/// The upper half of an IPv6 address.
const NETWORK: u128 = !(u64::MAX as u128);

/// Who has connected lately.
#[derive(Debug)]
pub(super) struct Pace {
    a_second: u64,
    /// When the connects of each address would be used up at the pace that is allowed, in microseconds.
    used_until_us: HashMap<IpAddr, u64>,
    swept_us: u64,
}

impl Pace {
    /// With connects a second from one address.
    pub(super) fn new(a_second: u32) -> Self {
        Self { a_second: u64::from(a_second.max(1)), used_until_us: HashMap::new(), swept_us: 0 }
    }

    /// Counts a connect; false when it came too fast, and then it does not count.
    pub(super) fn take(&mut self, now_ms: u64, address: IpAddr) -> bool {
        let now_us = now_ms.saturating_mul(1000);
        if now_us >= self.swept_us + BURST_SECS * 1_000_000 {
            self.used_until_us.retain(|_, until| *until > now_us);
            self.swept_us = now_us;
        }
        let address = network(address);
        let is_known = self.used_until_us.contains_key(&address);
        if !is_known && self.used_until_us.len() >= ADDRESSES {
            return true;
        }
        let until = self.used_until_us.entry(address).or_default();
        let next = (*until).max(now_us) + 1_000_000 / self.a_second;
        let is_slow = next <= now_us + BURST_SECS * 1_000_000;
        if is_slow {
            *until = next;
        }
        is_slow
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// How many of so many connects at that time are let in.
    fn taken(pace: &mut Pace, now_ms: u64, from: &str, connects: usize) -> usize {
        (0..connects).filter(|_| pace.take(now_ms, address(from))).count()
    }

    #[test]
    fn an_address_has_its_pace_and_a_burst() {
        let mut pace = Pace::new(5);
        assert_eq!(taken(&mut pace, 0, "192.0.2.1", 1_000_000), 50);
        assert_eq!(taken(&mut pace, 0, "192.0.2.2", 10), 10, "another address is not hurt");
        assert_eq!(taken(&mut pace, 1000, "192.0.2.1", 1000), 5);
        assert_eq!(taken(&mut pace, 3000, "192.0.2.1", 1000), 10);
        assert_eq!(taken(&mut pace, 60_000, "192.0.2.1", 1000), 50);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let mut pace = Pace::new(1);
        assert_eq!(taken(&mut pace, 0, "2001:db8::1", 10), 10);
        assert!(!pace.take(0, address("2001:db8::2")) && pace.take(0, address("2001:db8:0:1::2")));
    }

    #[test]
    fn who_comes_no_more_is_forgotten() {
        let mut pace = Pace::new(1);
        for last in 0..100u8 {
            assert!(pace.take(0, IpAddr::from([192, 0, 2, last])));
        }
        assert!(pace.take(20_000, address("198.51.100.1")));
        assert_eq!(pace.used_until_us.len(), 1);
    }
}
