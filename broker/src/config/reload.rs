//! What a reload may change: goes back to what runs wherever a change needs a restart, so that the listeners of the
//! new configuration are those of the old one, in the same order. Works on what is written, before it is proved.

use super::{
    keys::{Change, GLOBAL, Key, LISTENER},
    written::{Given, Written},
};
use std::collections::BTreeMap;

/// Goes back to what `running` has wherever a change needs a restart, and says where that was.
pub(super) fn keep(new: &mut Written, running: &Written) -> Vec<String> {
    let mut kept = keep_keys(GLOBAL, "", &mut new.global, &running.global);
    let texts = |keys: &BTreeMap<&'static str, Given>| -> Vec<(&'static str, String)> {
        keys.iter().map(|(key, given)| (*key, given.text.clone())).collect()
    };
    if texts(&new.bridge) != texts(&running.bridge) {
        kept.push("a key of the bridge was changed".into());
    }
    new.bridge.clone_from(&running.bridge);
    let mut now = std::mem::take(&mut new.listeners);
    for old in &running.listeners {
        let mut keys = match now.iter().position(|new| new.name == old.name) {
            Some(at) => now.remove(at).keys,
            None => {
                kept.push(format!("listener {} was removed", old.name));
                old.keys.clone()
            }
        };
        kept.extend(keep_keys(LISTENER, &format!("listener.{}.", old.name), &mut keys, &old.keys));
        // Certificates may change while the listener runs, but not whether it speaks TLS.
        let tls = |keys: &BTreeMap<&'static str, Given>| keys.contains_key("tls.certificate");
        if tls(&keys) != tls(&old.keys) {
            kept.push(format!("listener.{}.tls was switched on or off", old.name));
            keys.retain(|key, _| !key.starts_with("tls."));
            let before = old.keys.iter().filter(|(key, _)| key.starts_with("tls."));
            keys.extend(before.map(|(key, given)| (*key, given.clone())));
        }
        new.listener(&old.name, old.origin.clone()).keys = keys;
    }
    kept.extend(now.iter().map(|new| format!("listener {} was added", new.name)));
    kept
}

/// As [`keep`], for one table of keys.
fn keep_keys<T>(
    table: &[Key<T>],
    before: &str,
    new: &mut BTreeMap<&'static str, Given>,
    old: &BTreeMap<&'static str, Given>,
) -> Vec<String> {
    let mut kept = Vec::new();
    for key in table.iter().filter(|key| key.change == Change::Restart) {
        let text = |keys: &BTreeMap<&'static str, Given>| keys.get(key.name).map(|given| given.text.clone());
        if text(new) != text(old) {
            kept.push(format!("{before}{} was changed", key.name));
            match old.get(key.name) {
                Some(given) => drop(new.insert(key.name, given.clone())),
                None => drop(new.remove(key.name)),
            }
        }
    }
    kept
}
