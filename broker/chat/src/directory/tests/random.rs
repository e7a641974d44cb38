//! Random histories: whatever is done in whatever order, the directory stays whole, its records are its state, and its
//! homes know what it knows.

use super::world::{World, address};
use crate::directory::places::{HOME, Member, Root};
use crate::directory::*;
use crate::permission::{Standing, UserKind};
use proptest::prelude::*;

const NAMES: [&str; 6] = ["ann", "Ann", "bob", "cat", "dan", "guest-1"];
const PLACES: [&str; 5] = ["room/r", "room/R", "room/Home", "group/g", "group/h"];
const SESSIONS: SessionId = 8;

#[derive(Debug, Clone)]
enum Step {
    Connect { session: SessionId, name: usize },
    Register { name: usize },
    Disconnect { session: SessionId },
    Reconnect { session: SessionId },
    End { session: SessionId },
    Enter { session: SessionId, place: usize, password: Option<bool>, restored: bool },
    EnterAll { session: SessionId, root: usize },
    Left { session: SessionId, place: usize },
    Open { place: usize, name: usize },
    Said { place: usize },
    Private { from: usize, to: usize },
    Ask { session: SessionId, verb: usize, place: usize, name: usize, number: u64 },
    Operate { verb: usize, place: usize, name: usize },
    Pass { ms: u64 },
    Prompt { is_prompt: bool },
    JumpBack { ms: u64 },
    Restart,
}

const VERBS: [&str; 28] = [
    "create",
    "create",
    "create",
    "delete",
    "join",
    "leave",
    "invite",
    "kick",
    "ban",
    "unban",
    "mute",
    "unmute",
    "moderators",
    "settings",
    "unregister",
    "register",
    "token/create",
    "friend/add",
    "friend/remove",
    "ignore/add",
    "ignore/remove",
    "presence/set",
    "board/post",
    "board/post",
    "board/delete",
    "profile/set",
    "offer",
    "members",
];

fn step() -> impl Strategy<Value = Step> {
    let session = || 0..SESSIONS;
    let (name, place) = (|| 0..NAMES.len(), || 0..PLACES.len());
    prop_oneof![
        6 => (session(), name()).prop_map(|(session, name)| Step::Connect { session, name }),
        2 => name().prop_map(|name| Step::Register { name }),
        2 => session().prop_map(|session| Step::Disconnect { session }),
        2 => session().prop_map(|session| Step::Reconnect { session }),
        2 => session().prop_map(|session| Step::End { session }),
        6 => (session(), place(), any::<Option<bool>>(), proptest::bool::weighted(0.1)).prop_map(
            |(session, place, password, restored)| Step::Enter { session, place, password, restored }
        ),
        1 => (session(), 0..3usize).prop_map(|(session, root)| Step::EnterAll { session, root }),
        2 => (session(), place()).prop_map(|(session, place)| Step::Left { session, place }),
        1 => (place(), name()).prop_map(|(place, name)| Step::Open { place, name }),
        1 => place().prop_map(|place| Step::Said { place }),
        1 => (name(), name()).prop_map(|(from, to)| Step::Private { from, to }),
        20 => (session(), 0..VERBS.len(), place(), name(), 0..5u64).prop_map(
            |(session, verb, place, name, number)| Step::Ask { session, verb, place, name, number }
        ),
        2 => (0..6usize, place(), name()).prop_map(|(verb, place, name)| Step::Operate { verb, place, name }),
        2 => prop_oneof![Just(500), Just(30_000), Just(3_700_000), Just(2_600_000_000)].prop_map(|ms| Step::Pass { ms }),
        1 => any::<bool>().prop_map(|is_prompt| Step::Prompt { is_prompt }),
        1 => (0..100_000u64).prop_map(|ms| Step::JumpBack { ms }),
        1 => Just(Step::Restart),
    ]
}

fn body(verb: &str, place: &str, name: &str, number: u64) -> String {
    let short = place.split_once('/').map_or(place, |(_, short)| short);
    let json = match verb {
        "create" if number == 0 => serde_json::json!({"name": short, "password": "pw"}),
        "create" if number == 1 && place.starts_with("group") => {
            serde_json::json!({"name": short, "members": [name], "expiry_secs": 60})
        }
        "create" if number == 2 => serde_json::json!({"name": short, "visibility": "secret", "limit": 2}),
        "create" | "delete" | "leave" | "members" => serde_json::json!({"name": short}),
        "join" => serde_json::json!({"name": short, "password": if number == 0 { "no" } else { "pw" }}),
        "invite" => serde_json::json!({"name": short, "user": name, "add": number == 0}),
        "kick" => serde_json::json!({"name": short, "user": name, "ban": number == 0}),
        "ban" | "unban" | "mute" | "unmute" => serde_json::json!({"name": short, "user": name}),
        "moderators" if number < 3 => serde_json::json!({"name": short, "add": [name]}),
        "moderators" => serde_json::json!({"name": short, "remove": [name]}),
        "settings" => match number {
            0 => serde_json::json!({"name": short, "owner": name}),
            1 => serde_json::json!({"name": short, "password": "pw"}),
            2 => serde_json::json!({"name": short, "password": null, "visibility": "public"}),
            3 => serde_json::json!({"name": short, "registered_only": true, "read_only": true}),
            _ => serde_json::json!({"name": short, "subject": "x", "expiry_secs": 100}),
        },
        "register" => serde_json::json!({"name": name, "password": "pw"}),
        "friend/add" | "friend/remove" | "ignore/add" | "ignore/remove" => serde_json::json!({"user": name}),
        "presence/set" => serde_json::json!({"state": if number == 0 { "away" } else { "online" }}),
        "board/post" => serde_json::json!({
            "group": short, "title": "t", "text": "x", "parent": number,
            "expiry_secs": if number == 0 { 40 } else { 0 },
        }),
        "board/delete" => serde_json::json!({"group": short, "number": number}),
        "profile/set" => serde_json::json!({"display": name}),
        "offer" => serde_json::json!({"to": name, "kind": "peer", "data": {}}),
        _ => serde_json::json!({}),
    };
    json.to_string()
}

fn take(world: &mut World, step: &Step) {
    match *step {
        Step::Connect { session, name } => {
            let name = NAMES[name];
            if world.directory.sessions.contains_key(&session) {
                return;
            }
            if name.starts_with("guest") {
                return world.open(session, name, UserKind::Guest);
            }
            let password = Proof::Password(b"pw");
            let mut outcome =
                world.sign_in(name, Proof::None { exclusive: false }, address(session as u8 % 2));
            if matches!(outcome, SignIn::Refused(crate::code::Code::LoginRegisteredName)) {
                assert!(matches!(
                    world.sign_in(name, password, None),
                    SignIn::Check { .. } | SignIn::Refused(_)
                ));
                outcome = world.sign_in(name, Proof::Checked { scram: None }, None);
            }
            if let SignIn::Enter { user, kind } = outcome {
                world.open(session, &user, kind);
            }
        }
        Step::Register { name } => ask(world, None, "user/add", &body("register", "", NAMES[name], 0)),
        Step::Disconnect { session } => world.step(Command::Disconnected { session }),
        Step::Reconnect { session } => world.step(Command::Connected { session, address: address(1) }),
        Step::End { session } => world.step(Command::SessionEnded { session }),
        Step::Enter { session, place, password, restored } => {
            let ticket = world.ticket();
            let (place, password) = (PLACES[place], password.map(|fits| if fits { "pw" } else { "no" }));
            world.step(Command::Enter { ticket, session, place, password, restored });
        }
        Step::EnterAll { session, root } => {
            world.step(Command::EnterAll { session, root: ["room", "group", "user"][root] });
        }
        Step::Left { session, place } => world.step(Command::Left { session, place: PLACES[place] }),
        Step::Open { place, name } => {
            world.homes.remove(PLACES[place]);
            let (place, user) = (PLACES[place], NAMES[name]);
            world.step(Command::Open { place, user, kind: UserKind::Registered });
        }
        Step::Said { place } => world.step(Command::Said { place: PLACES[place], seq: 1 }),
        Step::Private { from, to } => {
            let (from, to) = (NAMES[from], NAMES[to]);
            let place = format!("user/{}/{}", from.min(to), from.max(to));
            world.homes.remove(&place);
            world.step(Command::Open { place: &place, user: from, kind: UserKind::Registered });
        }
        Step::Ask { session, verb, place, name, number } => {
            let (short, place) = (VERBS[verb], PLACES[place]);
            let verb = if verb < 14 || short == "members" {
                format!("{}/{short}", place.split_once('/').map_or("", |(root, _)| root))
            } else {
                short.to_owned()
            };
            ask(world, Some(session), &verb, &body(short, place, NAMES[name], number));
            let is_out = verb.ends_with("/kick") || verb.ends_with("/ban");
            let evicts = world.said.iter().any(|effect| matches!(effect, Effect::Evict { .. }));
            if is_out && evicts {
                let (root, name_of_place) = place.split_once('/').unwrap();
                let pid = world.directory.find(Root::parse(root).unwrap(), name_of_place).unwrap();
                let uid = world.directory.people.by_name(NAMES[name]).unwrap();
                assert!(!world.directory.is_in(pid, uid), "evicted, and a member");
            }
        }
        Step::Operate { verb, place, name } => {
            let verb =
                ["user/remove", "user/block", "user/unblock", "user/erase", "room/delete", "group/delete"]
                    [verb];
            let short = PLACES[place].split_once('/').map_or("", |(_, short)| short);
            let name = if verb.starts_with("user") { NAMES[name] } else { short };
            ask(world, None, verb, &serde_json::json!({"name": name}).to_string());
        }
        Step::Pass { ms } => world.pass(ms),
        Step::Prompt { is_prompt } => {
            world.is_prompt = is_prompt;
            if is_prompt {
                world.said.clear();
                world.answer_waiting();
            }
        }
        Step::JumpBack { ms } => world.now = world.now.saturating_sub(ms),
        Step::Restart => {
            world.restart();
            world.step(Command::Tick);
        }
    }
}

/// A request whose answer may come later, or never.
fn ask(world: &mut World, session: Option<SessionId>, verb: &str, body: &str) {
    let ticket = world.ticket();
    let body = body.as_bytes();
    match session {
        Some(session) => world.step(Command::Request { ticket, session, verb, body }),
        None => world.step(Command::Operate { ticket, verb, body }),
    }
    if world.is_prompt {
        assert!(world.answers.contains_key(&ticket), "{verb} was not answered");
    }
}

/// What must hold whatever happened.
fn check(world: &World) {
    let directory = &world.directory;
    let readable = |records: &BTreeMap<Vec<u8>, Vec<u8>>| -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        records.iter().map(|(key, value)| format!("{} {}", text(key), text(value))).collect()
    };
    let (state, disk) = (readable(&directory.records()), readable(&world.disk));
    let lost: Vec<&String> = state.iter().filter(|record| !disk.contains(record)).collect();
    let stale: Vec<&String> = disk.iter().filter(|record| !state.contains(record)).collect();
    assert!(lost.is_empty() && stale.is_empty(), "lost {lost:#?} stale {stale:#?}");
    let home = crate::name::room_key(HOME).unwrap();
    assert!(directory.places.by_key.contains_key(&(Root::Room, home)), "Home");
    assert_eq!(directory.people.by_key.len(), directory.people.all.len(), "no name twice");
    assert_eq!(directory.places.by_key.len(), directory.places.all.len(), "no place twice");
    for (&uid, user) in &directory.people.all {
        assert_eq!(directory.people.by_key.get(&user.key), Some(&uid));
        let there = |id: &&SessionId| directory.sessions[id].is_connected;
        assert_eq!(user.connected, user.sessions.iter().filter(there).count(), "{}", user.name);
        let away = |id: &&SessionId| directory.sessions[id].is_away;
        assert_eq!(user.away, user.sessions.iter().filter(away).count(), "{}", user.name);
        for pid in &user.places {
            assert!(directory.places.all[pid].members.contains_key(&uid), "{} in {pid}", user.name);
        }
        for pid in &user.owned {
            assert_eq!(directory.places.all[pid].owner, uid);
        }
        for other in &user.pairs {
            assert!(directory.people.all[other].pairs.contains(&uid));
        }
        for other in user.friends.keys() {
            assert!(directory.people.all[other].friend_of.contains(&uid));
        }
    }
    for (&pid, place) in &directory.places.all {
        let owner = directory.user(place.owner).expect("an owner who exists");
        assert!(owner.owned.contains(&pid));
        let inside = place.members.iter().filter(|(_, member)| member.is_in());
        assert_eq!(place.count_in, inside.clone().count() as u64, "{} members", place.place);
        let present = inside.filter(|(uid, _)| directory.is_connected(**uid)).count() as u64;
        assert_eq!(place.count_present, present, "{} present", place.place);
        if place.root == Root::Group && place.owner != 0 {
            assert!(
                place.members.get(&place.owner).is_some_and(Member::is_in),
                "the owner of a group is in it"
            );
        }
        for (uid, member) in &place.members {
            let user = &directory.people.all[uid];
            let entered = |id: &&SessionId| directory.sessions[id].entered.contains(&pid);
            assert_eq!(member.sessions as usize, user.sessions.iter().filter(entered).count());
            assert!(!(member.is_in() && place.bans.contains_key(&user.key)), "banned and in");
        }
        assert!(place.idle_ms.is_none() || place.expires.is_some() || place.settings.expiry_secs == 0);
        if place.is_told {
            check_home(world, pid);
        }
    }
    let posts = directory.places.all.values().flat_map(|place| place.board.posts.values());
    assert_eq!(directory.board_bytes, posts.map(|post| post.bytes()).sum::<usize>());
    for &(at, due) in &directory.due {
        match due {
            Due::End(session) => assert!(!directory.sessions.contains_key(&session) || session < SESSIONS),
            Due::Flush => assert_eq!(directory.flush, Some(at)),
            Due::Name(uid) => assert_eq!(directory.people.all[&uid].hold, Some(at)),
            Due::Place(pid) => assert_eq!(directory.places.all[&pid].expires, Some(at)),
            Due::Post(pid, number) => {
                assert_eq!(directory.places.all[&pid].board.posts[&number].expires, Some(at));
            }
        }
    }
}

/// The home of a place knows exactly how everybody stands there.
fn check_home(world: &World, pid: Pid) {
    let place = &world.directory.places.all[&pid];
    let mut expected: BTreeMap<String, Standing> = BTreeMap::new();
    for name in place.bans.values() {
        expected.insert(name.to_string(), Standing { is_banned: true, ..Standing::default() });
    }
    for (&uid, user) in &world.directory.people.all {
        if let Some(standing) = place.standing(uid, &user.key) {
            expected.insert(user.name.to_string(), standing);
        }
    }
    assert_eq!(world.rules[&*place.place].as_ref(), Some(&place.rules), "{}", place.place);
    assert_eq!(world.homes[&*place.place], expected, "{}", place.place);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_directory_stays_whole(steps in proptest::collection::vec(step(), 1..120)) {
        let rules = Rules { presence_members: 2, ..Rules::default() };
        let mut world = World::new(rules);
        world.step(Command::Tick);
        for step in &steps {
            take(&mut world, step);
            check(&world);
        }
        world.restart();
        world.step(Command::Tick);
        check(&world);
    }
}
