//! The proof: makes the [`Config`] of what is written by the table of keys, and of the files that it names. Gathers
//! all problems before it refuses.

use super::{
    Config, Sources, StoreConfig,
    bridge::{self, BridgeDraft},
    keys::{GLOBAL, Key, Preset},
    listeners, openid,
    problem::{Origin, Problems, WrongLine},
    written::{Given, Written},
};
use crate::{logging::LogConfig, passwd};
use katydid_chat::directory::{Registration, Rules};
use katydid_engine::{
    access::AccessList,
    settings::{Limits, ListenerSettings, RoomSettings, Settings},
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// A configuration in the making; the table of keys fills it.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) limits: Limits,
    pub(super) rooms: RoomSettings,
    pub(super) chat: Rules,
    pub(super) registration_token: Option<String>,
    pub(super) openid: openid::Draft,
    pub(super) store: StoreConfig,
    pub(super) persistence: bool,
    pub(super) shards: usize,
    pub(super) share_threads: bool,
    pub(super) full_percent: u64,
    pub(super) sys_interval: Duration,
    pub(super) max_connections: usize,
    pub(super) max_connections_per_address: usize,
    pub(super) connect_rate: u32,
    pub(super) verify_threads: usize,
    pub(super) log: LogConfig,
    pub(super) password_file: Option<PathBuf>,
    pub(super) access_file: Option<PathBuf>,
    pub(super) conceal_refusals: bool,
    pub(super) bridge: BridgeDraft,
}

/// Sets a key to what was given, or else to its default.
pub(super) fn set<T>(
    key: &Key<T>,
    name: &str,
    given: Option<&Given>,
    target: &mut T,
    problems: &mut Problems,
) {
    if let Preset::Is(text) = key.preset {
        let fits = key.kind.set(target, text);
        debug_assert!(fits, "the default of {name} is allowed");
    }
    if let Some(given) = given
        && !key.kind.set(target, &given.text)
    {
        let allowed = key.kind.allowed();
        problems.add(&given.origin, format!("{name}: {:?} is not allowed; allowed is {allowed}", given.text));
    }
}

/// Makes the configuration of what is written.
pub(super) fn prove(sources: Arc<Sources>, written: Written) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    let mut draft = Draft::default();
    for key in GLOBAL {
        set(key, key.name, written.global.get(key.name), &mut draft, &mut problems);
    }
    let (mut listeners, mut listener_settings) = (Vec::new(), Vec::new());
    for listener in &written.listeners {
        let (packet_bytes, connections) = (draft.limits.packet_bytes, draft.max_connections);
        if let Some((listener, settings)) =
            listeners::prove(listener, packet_bytes, connections, &mut problems)
        {
            listeners.push(listener);
            listener_settings.push(settings);
        }
    }
    let limits = (sources.placement, draft.rooms.enabled);
    let bridge = bridge::prove(&draft.bridge, &written.global, &written.bridge, limits, &mut problems);
    if let Some(bridge) = &bridge {
        let packet_bytes = draft.limits.packet_bytes;
        listener_settings.push(ListenerSettings { allow_anonymous: bridge.allow_anonymous, packet_bytes });
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from).min(64);
    if draft.shards == 0 {
        draft.shards = processors;
    }
    if draft.verify_threads == 0 {
        draft.verify_threads = (processors / 2).max(1);
    }
    if !draft.persistence {
        draft.store.path = None;
    } else if draft.store.path.is_none() {
        let origin = written.global.get("store.path").map_or(&Origin::Default, |given| &given.origin);
        problems.add(origin, "store.path: empty; to keep nothing on disk, say store.persistence = false");
    }
    let accounts = read_file(&written, "passwords.file", &draft.password_file, passwd::parse, &mut problems);
    let access = read_file(&written, "access.file", &draft.access_file, parse_access, &mut problems);
    draft.chat.history_messages = draft.rooms.history_messages;
    if let Registration::Token(_) = draft.chat.registration {
        match draft.registration_token.take() {
            Some(token) => draft.chat.registration = Registration::Token(token),
            None => {
                let given = written.global.get("accounts.registration");
                let origin = given.map_or(&Origin::Default, |given| &given.origin);
                problems.add(origin, "accounts.registration: \"token\" needs accounts.registration-token");
            }
        }
    }
    let origin = |key: &str| written.global.get(key).map_or(&Origin::Default, |given| &given.origin);
    let provider = match openid::prove(draft.openid, draft.rooms.enabled) {
        Ok(provider) => provider,
        Err((key, problem)) => {
            problems.add(origin(key), problem);
            None
        }
    };
    draft.chat.openid = provider.is_some();
    let Draft { mut limits, shards, .. } = draft;
    for shared in [&mut limits.sessions, &mut limits.retained_messages, &mut limits.retained_bytes] {
        *shared = shared.div_ceil(shards);
    }
    let settings = Settings {
        limits,
        listeners: listener_settings,
        accounts: Arc::new(accounts.unwrap_or_default()),
        access: Arc::new(access.unwrap_or_else(AccessList::allow_all)),
        conceal_refusals: draft.conceal_refusals,
        rooms: draft.rooms,
        chat: draft.chat,
        persistence: draft.persistence,
    };
    problems.or(Config {
        listeners,
        bridge,
        settings: Arc::new(settings),
        shards,
        share_threads: draft.share_threads,
        full_percent: draft.full_percent,
        store: draft.store,
        sys_interval: draft.sys_interval,
        max_connections: draft.max_connections,
        max_connections_per_address: draft.max_connections_per_address,
        connect_rate: draft.connect_rate,
        verify_threads: draft.verify_threads,
        provider: provider.map(Arc::new),
        log: draft.log,
        sources,
        written: Arc::new(written),
    })
}

/// Reads a file that a key names. `parse` says the line, from 1, and what is wrong there.
fn read_file<T>(
    written: &Written,
    key: &'static str,
    path: &Option<PathBuf>,
    parse: fn(&str) -> Result<T, Vec<WrongLine>>,
    problems: &mut Problems,
) -> Option<T> {
    let path = path.as_ref()?;
    let place = written.global.get(key).map_or(&Origin::Default, |given| &given.origin);
    match std::fs::read_to_string(path) {
        Err(error) => problems.add(place, format!("{key}: {} can't be read: {error}", path.display())),
        Ok(text) => match parse(&text) {
            Ok(value) => return Some(value),
            Err(wrong) => {
                for (line, text) in wrong {
                    problems.add(&Origin::File { path: path.as_path().into(), line }, text);
                }
            }
        },
    }
    None
}

/// The access list, with its error in the form of [`read_file`].
fn parse_access(text: &str) -> Result<AccessList, Vec<WrongLine>> {
    AccessList::parse(text).map_err(|error| {
        let text = error.to_string();
        // The place is told before, with the file.
        let reason = text.strip_prefix(&format!("line {}: ", error.line)).unwrap_or(&text);
        vec![(error.line, reason.to_owned())]
    })
}
