//! The bridge inside the broker: its own keys below `bridge.`, which are those of `katydid-bridge` without what says where
//! the broker is, and the proof that they make sense. Knows the names of the keys from the bridge's manual, and nothing
//! of their values, which the bridge proves.
//!
//! Invariant: what leaves here can be opened, as far as that can be known without opening a port. Without an address of
//! their own, the bridge's listeners are where the default listeners of the broker are: for this machine only.

use super::{
    listeners::Placement,
    problem::{Origin, Problems},
    written::Given,
};
use katydid_bridge::config::{Written, draft};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

/// The section, and what its keys begin with.
pub(super) const SECTION: &str = "bridge";

/// The names of all keys that the bridge has of its own.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    static NAMES: LazyLock<Vec<String>> =
        LazyLock::new(|| draft::keys().iter().map(|key| format!("{SECTION}.{}", key.name)).collect());
    NAMES.iter().map(String::as_str)
}

/// Whether a key holds several texts.
pub(super) fn is_list(name: &str) -> bool {
    let key = name.strip_prefix("bridge.").unwrap_or_default();
    draft::keys().iter().any(|known| known.is_list && known.name == key)
}

/// What the table of keys says of the bridge.
#[derive(Debug, Default)]
pub(super) struct BridgeDraft {
    /// Whether it runs.
    pub(super) on: bool,
    /// Its threads; 0 is as many as there are processors.
    pub(super) threads: usize,
    /// Whether users without password are let in.
    pub(super) allow_anonymous: Option<bool>,
}

/// The bridge, as proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BridgeConfig {
    /// The protocols; where the broker is, is not said yet.
    pub(crate) written: Written,
    /// Where listeners without an address are.
    pub(crate) addresses: Vec<IpAddr>,
    /// Its threads.
    pub(crate) threads: usize,
    /// Whether users without password are let in.
    pub(crate) allow_anonymous: bool,
}

impl BridgeConfig {
    /// Whether people on mChat are kept out: they can't have a password.
    pub(super) fn keeps_mchat_out(&self) -> bool {
        self.written.mchat.listener.on && !self.allow_anonymous
    }
}

/// Proves the keys of the bridge; `None` where it is off. It is off by default where `-p` puts MQTT on a port, which opens nothing
/// else, and where there are no rooms for it.
pub(super) fn prove(
    draft: &BridgeDraft,
    global: &BTreeMap<&'static str, Given>,
    given: &BTreeMap<&'static str, Given>,
    (placement, has_rooms): (Placement, bool),
    problems: &mut Problems,
) -> Option<BridgeConfig> {
    let before = problems.0.len();
    let written = read(given, problems)?;
    let addresses = match placement.address {
        Some(address) => vec![address],
        None => vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
    };
    let proved = match written.clone().prove_at(&addresses) {
        Ok(proved) => proved,
        Err(problem) => {
            let name = format!("{SECTION}.{}", problem.key.unwrap_or_default());
            let origin = given.get(&*name).map_or(&Origin::Default, |given| &given.origin);
            problems.add(origin, format!("{name}: {}", problem.what));
            return None;
        }
    };
    let said = global.get("bridge.on").filter(|_| draft.on);
    if let (Some(said), false) = (said, has_rooms) {
        problems.add(&said.origin, "bridge.on: needs rooms.enabled");
    }
    let is_meant = said.is_some() || (has_rooms && (placement.port.is_none() || !given.is_empty()));
    if !draft.on || !is_meant || problems.0.len() > before {
        return None;
    }
    let is_local =
        proved.doors().all(|door| door.binds.iter().all(|bind| bind.ip().to_canonical().is_loopback()));
    let threads = match draft.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from).min(64),
        threads => threads,
    };
    let allow_anonymous = draft.allow_anonymous.unwrap_or(is_local);
    Some(BridgeConfig { written, addresses, threads, allow_anonymous })
}

fn read(given: &BTreeMap<&'static str, Given>, problems: &mut Problems) -> Option<Written> {
    let before = problems.0.len();
    let mut draft = draft::Draft::default();
    for (name, Given { text, origin }) in given {
        let key = name.strip_prefix("bridge.").unwrap_or(name);
        if let Err(wrong) = draft.give(key, text) {
            problems.add(origin, format!("{name}: {text:?} is not allowed: {wrong}"));
        }
    }
    match draft.written() {
        Ok(written) => (problems.0.len() == before).then_some(written),
        Err(wrong) => {
            problems.add(&Origin::Default, format!("{SECTION}: {wrong}"));
            None
        }
    }
}
