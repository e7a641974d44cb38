//! Bad input: a coded error, nothing changed, nobody else told.

use super::world::World;
use crate::directory::*;

const VERBS: [&str; 34] = [
    "whoami",
    "register",
    "unregister",
    "password",
    "token/create",
    "token/list",
    "token/revoke",
    "profile/get",
    "profile/set",
    "presence/set",
    "users",
    "search",
    "friend/add",
    "friend/remove",
    "friend/list",
    "ignore/add",
    "ignore/remove",
    "ignore/list",
    "offer",
    "history",
    "history/search",
    "counters",
    "board/post",
    "board/list",
    "board/get",
    "board/delete",
    "user/add",
    "user/passwd",
    "user/remove",
    "user/list",
    "user/erase",
    "user/erasing",
    "user/block",
    "user/unblock",
];
const PLACE_VERBS: [&str; 15] = [
    "create",
    "delete",
    "join",
    "leave",
    "list",
    "info",
    "members",
    "invite",
    "kick",
    "ban",
    "unban",
    "mute",
    "unmute",
    "moderators",
    "settings",
];

fn verbs() -> Vec<String> {
    let of_places = PLACE_VERBS.iter().flat_map(|verb| [format!("room/{verb}"), format!("group/{verb}")]);
    VERBS.iter().map(|verb| verb.to_string()).chain(of_places).collect()
}

#[test]
fn bad_requests_change_nothing_and_tell_nobody() {
    let mut world = World::new(Rules { requests_per_sec: 1000, ..Rules::default() });
    world.register(1, "ann");
    let deep = format!("{{\"name\":{}", "[".repeat(10_000));
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(1 << 20));
    let bodies: [(&[u8], &[&str]); 6] = [
        (deep.as_bytes(), &["request.too-deep"]),
        (long.as_bytes(), &["request.too-long"]),
        (b"{\"colour\":\"red\"}", &["request.unknown-field", "request.bad-field"]),
        (b"[1]", &["request.malformed"]),
        (b"\xff\xfe", &["request.malformed"]),
        (b"{\"id\":{}}", &["request.bad-field"]),
    ];
    for verb in verbs() {
        for (body, codes) in bodies {
            let before = world.disk.clone();
            let ticket = world.ticket();
            world.step(Command::Request { ticket, session: 1, verb: &verb, body });
            assert_eq!(world.said.len(), 1, "{verb}: {:?}", world.said);
            let code = world.take_answer(ticket).unwrap_err();
            assert!(codes.contains(&&*code), "{verb}: {code}");
            assert_eq!(world.disk, before, "{verb}");
        }
    }
    for verb in ["", "room", "room/", "room/explode", "user/explode", "rooms/create", "whoami/", "\u{0}"] {
        assert_eq!(world.ask(1, verb, "{}").unwrap_err(), "request.unknown-verb", "{verb}");
    }
}

#[test]
fn names_that_are_none_have_codes() {
    let mut world = World::usual();
    world.register(1, "ann");
    let long = "x".repeat(257);
    for (name, code) in [
        ("a/b", "name.invalid"),
        ("", "name.invalid"),
        ("a b", "name.invalid"),
        ("+", "name.invalid"),
        (&long, "name.too-long"),
    ] {
        let body = serde_json::json!({"name": name}).to_string();
        assert_eq!(world.ask(1, "room/create", &body).unwrap_err(), code, "{name}");
        assert_eq!(world.ask(1, "room/join", &body).unwrap_err(), "room.not-found", "{name}");
        let ticket = world.ticket();
        let place = format!("room/{name}");
        world.step(Command::Enter { ticket, session: 1, place: &place, password: None, restored: false });
        assert!(matches!(world.entered(ticket), Some(Err(_))), "{name}");
    }
    for place in ["", "room", "nowhere/x", "user/ann", "user//", "group/"] {
        assert!(world.enter(1, place, None).is_err(), "{place}");
        world.step(Command::Left { session: 1, place });
        world.step(Command::Said { place, seq: u64::MAX });
        world.step(Command::Open { place, user: "ann", kind: crate::permission::UserKind::Registered });
    }
}

#[test]
fn too_many_requests_and_pages_are_refused_each_on_its_own() {
    let mut world = World::usual();
    world.register(1, "ann");
    for _ in 0..200 {
        let ticket = world.ticket();
        world.step(Command::Request {
            ticket,
            session: 1,
            verb: "history",
            body: br#"{"place":"room/Home"}"#,
        });
        assert!(matches!(world.said.last(), Some(Effect::Read { .. })));
    }
    assert_eq!(world.ask(1, "history", r#"{"place":"room/Home"}"#).unwrap_err(), "rate.history");
    assert!(world.ask(1, "whoami", "").is_ok(), "catching up and the rest have budgets of their own");
    for _ in 0..300 {
        let _ = world.ask(1, "whoami", "");
    }
    assert_eq!(world.ask(1, "whoami", "").unwrap_err(), "rate.requests");
    world.pass(1000);
    assert!(world.ask(1, "whoami", "").is_ok());
}

#[test]
fn commands_about_nothing_change_nothing() {
    let mut world = World::usual();
    world.step(Command::Tick);
    let before = world.disk.clone();
    for command in [
        Command::Connected { session: 9, address: None },
        Command::Disconnected { session: 9 },
        Command::SessionEnded { session: 9 },
        Command::Left { session: 9, place: "room/Home" },
        Command::EnterAll { session: 9, root: "room" },
        Command::Hashed { ticket: 9, phc: "x", scram: None },
        Command::Verified { ticket: 9, good: true },
        Command::Evicted { ticket: 9 },
        Command::Said { place: "room/none", seq: 3 },
    ] {
        world.step(command);
        assert!(world.said.is_empty(), "{command:?}: {:?}", world.said);
    }
    assert_eq!(world.ask(9, "whoami", "").unwrap_err(), "login.needed");
    assert_eq!(world.disk, before);
}

#[test]
fn a_record_that_does_not_parse_is_named() {
    let mut world = World::usual();
    world.register(1, "ann");
    for (key, value) in [
        (&b"aeve"[..], &b"{"[..]),
        (b"zzz", b"{}"),
        (b"dgroup/x", b"{\"v\":2}"),
        (b"hann\0eve", b"{\"v\":1}"),
    ] {
        let mut disk = world.disk.clone();
        disk.insert(key.to_vec(), value.to_vec());
        let records = disk.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        assert_eq!(Directory::restore(Rules::default(), [0; 32], records).err().as_deref(), Some(key));
    }
}
