//! Rooms, groups and pairs: entering, roles, eviction, expiry.

use super::world::World;
use crate::code::Code;
use crate::directory::*;
use crate::permission::{Role, UserKind};
use serde_json::json;

fn two() -> World {
    let mut world = World::usual();
    world.register(1, "ann");
    world.register(2, "bob");
    world
}

#[test]
fn home_is_always_there_and_nobody_deletes_it() {
    let mut world = two();
    let list = world.ask(1, "room/list", "").unwrap();
    assert_eq!(
        (list["places"][0]["name"].as_str(), list["places"][0]["owner"].as_str()),
        (Some("Home"), Some("katydid"))
    );
    assert_eq!(world.ask(1, "room/delete", r#"{"name":"Home"}"#).unwrap_err(), "room.not-owner");
    assert_eq!(world.operate("room/delete", r#"{"name":"Home"}"#).unwrap_err(), "room.permanent");
    world.pass(400 * 24 * 60 * 60 * 1000);
    assert_eq!(world.enter(1, "room/Home", None), Ok(()));
    world.restart();
    world.open(1, "ann", UserKind::Registered);
    assert_eq!(world.enter(1, "room/Home", None), Ok(()));
}

#[test]
fn a_room_is_made_by_who_enters_and_left_with_the_last_session() {
    let mut world = two();
    world.open(3, "ann", UserKind::Registered);
    assert_eq!(world.enter(1, "room/Jazz", None), Ok(()));
    assert_eq!(world.enter(3, "room/Jazz", None), Ok(()));
    assert_eq!(world.enter(2, "room/jazz", None), Err(Code::NameSpelling));
    assert_eq!(world.enter(2, "room/Jazz", None), Ok(()));
    let info = world.ask(2, "room/info", r#"{"name":"Jazz"}"#).unwrap();
    assert_eq!((info["owner"].as_str(), info["members"].as_u64()), (Some("ann"), Some(2)));
    assert_eq!((info["role"].as_str(), info["expires_in_secs"].as_u64()), (Some("member"), Some(0)));
    world.step(Command::Left { session: 1, place: "room/Jazz" });
    assert_eq!(world.ask(2, "room/info", r#"{"name":"Jazz"}"#).unwrap()["members"], 2);
    world.step(Command::SessionEnded { session: 3 });
    assert_eq!(world.ask(2, "room/info", r#"{"name":"Jazz"}"#).unwrap()["members"], 1);
    assert_eq!(world.homes["room/Jazz"]["ann"].role, Some(Role::Owner), "the owner stays it");
    let closed = Rules { creates_rooms: false, ..Rules::default() };
    world.directory.set_rules(closed);
    assert_eq!(world.enter(2, "room/Rock", None), Err(Code::RoomNotFound));
}

#[test]
fn making_places_has_limits() {
    let rules = Rules { places_per_user: 2, reserved_places: vec!["admin*".into()], ..Rules::default() };
    let mut world = World::new(rules);
    world.connect(1, "ann");
    assert_eq!(world.enter(1, "room/AdminClub", None), Err(Code::NameReserved));
    assert_eq!(world.ask(1, "room/create", r#"{"name":"administration"}"#).unwrap_err(), "name.reserved");
    assert_eq!(world.enter(1, "room/a", None), Ok(()));
    world.ask(1, "group/create", r#"{"name":"a"}"#).unwrap();
    assert_eq!(world.enter(1, "room/b", None), Err(Code::TooMany));
    assert_eq!(world.ask(1, "room/create", r#"{"name":"A"}"#).unwrap_err(), "room.exists");
    assert_eq!(world.ask(1, "group/create", r#"{"name":"A"}"#).unwrap_err(), "group.exists");
    world.operate("room/create", r#"{"name":"admin"}"#).unwrap();
    assert_eq!(world.ask(1, "room/create", r#"{"name":"a b"}"#).unwrap_err(), "name.invalid");
}

#[test]
fn one_user_is_in_so_many_places_and_no_more() {
    let mut world = World::new(Rules { memberships_per_user: 2, ..Rules::default() });
    world.register(1, "ann");
    world.enter(1, "room/Home", None).unwrap();
    world.enter(1, "room/b", None).unwrap();
    world.operate("room/create", r#"{"name":"c"}"#).unwrap();
    assert_eq!(world.enter(1, "room/c", None), Err(Code::TooMany));
    assert_eq!(world.ask(1, "room/join", r#"{"name":"c"}"#).unwrap_err(), "room.too-many");
    world.step(Command::Left { session: 1, place: "room/b" });
    assert_eq!(world.enter(1, "room/c", None), Ok(()));
}

#[test]
fn a_password_opens_a_private_room_once_checked_and_then_at_once() {
    let mut world = two();
    world.connect(3, "cat");
    world.ask(1, "room/create", r#"{"name":"den","password":"open"}"#).unwrap();
    let info = world.ask(2, "room/info", r#"{"name":"den"}"#).unwrap();
    assert_eq!((info["visibility"].as_str(), info["has_password"].as_bool()), (Some("private"), Some(true)));
    assert_eq!(world.enter(2, "room/den", None), Err(Code::WrongPassword));
    assert_eq!(world.enter(2, "room/den", Some("shut")), Err(Code::WrongPassword));
    assert_eq!(world.enter(2, "room/den", Some("open")), Ok(()));
    assert!(world.said.iter().any(|effect| matches!(effect, Effect::Verify { .. })));
    assert_eq!(world.enter(3, "room/den", Some("open")), Ok(()));
    assert!(!world.said.iter().any(|effect| matches!(effect, Effect::Verify { .. })), "remembered");
    world.ask(1, "room/settings", r#"{"name":"den","password":"other"}"#).unwrap();
    world.step(Command::Left { session: 3, place: "room/den" });
    assert_eq!(world.enter(3, "room/den", Some("open")), Err(Code::WrongPassword));
    assert_eq!(world.ask(3, "room/join", r#"{"name":"den","password":"other"}"#).unwrap()["role"], "member");
    for _ in 0..10 {
        let _ = world.enter(2, "room/Home", None);
        world.step(Command::Left { session: 2, place: "room/den" });
        let _ = world.enter(2, "room/den", Some("guess"));
    }
    assert_eq!(world.enter(2, "room/den", Some("guess")), Err(Code::RatePassword));
}

#[test]
fn what_changes_while_a_password_is_checked_counts() {
    let mut world = two();
    world.ask(1, "room/create", r#"{"name":"den","password":"open"}"#).unwrap();
    world.is_prompt = false;
    let ticket = world.ticket();
    let enter = |ticket, password| {
        let (place, password) = ("room/den", Some(password));
        Command::Enter { ticket, session: 2, place, password, restored: false }
    };
    world.step(enter(ticket, "open"));
    assert_eq!(world.entered(ticket), None, "waits");
    let ban = world.ticket();
    let body = br#"{"name":"den","user":"bob"}"#;
    world.step(Command::Request { ticket: ban, session: 1, verb: "room/ban", body });
    assert!(!world.answers.contains_key(&ban), "answered when everybody is out");
    world.answer_waiting();
    assert_eq!(world.entered(ticket), Some(Err(Code::Banned)));
    assert!(world.take_answer(ban).is_ok());
    world.ask(1, "room/unban", r#"{"name":"den","user":"bob"}"#).unwrap();
    // The password is another before the old one was checked; and the session is gone before the new one was.
    for (given, then, code) in [("open", "other", Code::WrongPassword), ("other", "", Code::LoginNeeded)] {
        world.directory.places.all.values_mut().for_each(|place| place.memo = None);
        world.is_prompt = false;
        let ticket = world.ticket();
        world.step(enter(ticket, given));
        let entering = std::mem::take(&mut world.waiting);
        world.is_prompt = true;
        if then.is_empty() {
            world.step(Command::SessionEnded { session: 2 });
        } else {
            let body = json!({"name": "den", "password": then}).to_string();
            world.ask(1, "room/settings", &body).unwrap();
        }
        world.waiting = entering;
        world.answer_waiting();
        assert_eq!(world.entered(ticket), Some(Err(code)));
    }
    let info = world.ask(1, "room/info", r#"{"name":"den"}"#).unwrap();
    assert_eq!(info["members"], 0);
}

#[test]
fn a_secret_place_is_as_if_it_were_not_there() {
    let mut world = two();
    let made = world.ask(1, "group/create", "").unwrap();
    let name = made["name"].as_str().unwrap().to_owned();
    assert_eq!((name.len(), made["visibility"].as_str()), (32, Some("secret")));
    let body = json!({"name": name}).to_string();
    let place = format!("group/{name}");
    for verb in ["join", "info", "members", "leave", "delete"] {
        assert_eq!(world.ask(2, &format!("group/{verb}"), &body).unwrap_err(), "group.not-found", "{verb}");
    }
    let about = json!({"name": name, "user": "ann"}).to_string();
    for verb in ["invite", "kick", "ban", "unban", "mute"] {
        assert_eq!(world.ask(2, &format!("group/{verb}"), &about).unwrap_err(), "group.not-found", "{verb}");
    }
    assert_eq!(world.ask(2, "history", &json!({"place": place}).to_string()).unwrap_err(), "group.not-found");
    assert_eq!(world.ask(2, "users", &json!({"place": place}).to_string()).unwrap_err(), "group.not-found");
    assert_eq!(
        world.ask(2, "counters", &json!({"place": place}).to_string()).unwrap_err(),
        "group.not-found"
    );
    assert_eq!(world.ask(2, "group/info", r#"{"number":2}"#).unwrap_err(), "group.not-found");
    assert_eq!(world.enter(2, &place, None), Err(Code::GroupNotFound));
    world.ask(1, "room/create", r#"{"name":"Den","visibility":"secret"}"#).unwrap();
    assert_eq!(world.enter(2, "room/Den", None), Err(Code::RoomNotFound));
    assert_eq!(world.enter(2, "room/den", Some("x")), Err(Code::RoomNotFound));
    assert_eq!(world.ask(2, "room/info", r#"{"name":"den"}"#).unwrap_err(), "room.not-found");
    assert_eq!(world.ask(2, "group/list", "").unwrap()["places"], json!([]));
    assert_eq!(
        world.ask(2, "search", &json!({"text": &name[..8]}).to_string()).unwrap()["places"],
        json!([])
    );
    world.ask(1, "group/invite", &json!({"name": name, "user": "bob"}).to_string()).unwrap();
    assert_eq!(world.told("bob"), ["invitation"]);
    world.ask(2, "group/join", &body).unwrap();
    assert_eq!(world.ask(2, "group/list", "").unwrap()["places"][0]["name"], name);
}

#[test]
fn a_group_keeps_its_members_and_a_room_does_not() {
    let mut world = two();
    world.ask(1, "group/create", r#"{"name":"club","members":["bob"]}"#).unwrap();
    assert_eq!(world.told("bob"), ["added"]);
    world.enter(2, "room/Home", None).unwrap();
    world.restart();
    world.step(Command::SessionOpened { session: 2, user: "bob", kind: UserKind::Registered });
    world.step(Command::Connected { session: 2, address: None });
    let me = world.ask(2, "whoami", "").unwrap();
    assert_eq!((me["rooms"].as_u64(), me["groups"].as_u64()), (Some(0), Some(1)));
    assert_eq!(world.enter_as(2, "room/Home", None, true), Ok(()));
    assert_eq!(world.enter_as(2, "room/Gone", None, true), Err(Code::RoomNotFound), "nothing is made anew");
    assert_eq!(world.enter_as(2, "group/club", None, true), Ok(()));
    assert_eq!(world.ask(2, "whoami", "").unwrap()["rooms"], 1);
    world.ask(2, "group/leave", r#"{"name":"club"}"#).unwrap();
    assert!(world.evicts("group/club", Some("bob")));
    assert_eq!(world.enter_as(2, "group/club", None, true), Err(Code::NotMember));
    world.open(1, "ann", UserKind::Registered);
    assert_eq!(world.ask(1, "group/leave", r#"{"name":"club"}"#).unwrap_err(), "room.owner-stays");
}

#[test]
fn wildcards_reach_what_one_comes_into_and_no_more_what_one_leaves() {
    let mut world = two();
    world.enter(1, "room/a", None).unwrap();
    world.step(Command::EnterAll { session: 1, root: "room" });
    assert_eq!(world.admitted(), [(1, "room/a".to_owned())]);
    world.enter(1, "room/b", None).unwrap();
    assert_eq!(world.admitted(), [(1, "room/b".to_owned())]);
    world.ask(1, "group/create", r#"{"name":"g"}"#).unwrap();
    assert_eq!(world.admitted(), [], "another root");
    world.open(3, "ann", UserKind::Registered);
    world.step(Command::EnterAll { session: 3, root: "room" });
    assert_eq!(world.admitted().len(), 2, "every device");
    world.step(Command::Left { session: 1, place: "room/a" });
    assert!(world.evicts("room/a", Some("ann")));
    world.step(Command::EnterAll { session: 3, root: "nonsense" });
    assert!(world.said.is_empty());
}

#[test]
fn kick_ban_and_mute_follow_the_ranks() {
    let mut world = two();
    world.register(3, "cat");
    world.register(4, "dan");
    world.ask(1, "group/create", r#"{"name":"g","members":["bob","cat","dan"]}"#).unwrap();
    let about = |user: &str| json!({"name": "g", "user": user}).to_string();
    assert_eq!(world.ask(2, "group/kick", &about("cat")).unwrap_err(), "room.not-moderator");
    let list = world.ask(1, "group/moderators", r#"{"name":"g","add":["bob"]}"#).unwrap();
    assert_eq!(list["moderators"], json!(["bob"]));
    assert_eq!(world.told("bob"), ["role"]);
    assert_eq!(world.ask(2, "group/kick", &about("ann")).unwrap_err(), "room.not-moderator");
    world.ask(2, "group/kick", &about("cat")).unwrap();
    assert!(world.evicts("group/g", Some("cat")));
    assert_eq!(world.told("cat"), ["kicked"]);
    assert!(!world.homes["group/g"].contains_key("cat"));
    assert_eq!(world.ask(2, "group/kick", &about("cat")).unwrap_err(), "room.no-such-member");
    assert_eq!(world.ask(2, "group/kick", &about("eve")).unwrap_err(), "user.not-found");
    world.ask(2, "group/ban", &about("dan")).unwrap();
    assert!(world.homes["group/g"]["dan"].is_banned);
    assert_eq!(world.ask(4, "group/join", r#"{"name":"g"}"#).unwrap_err(), "room.banned");
    assert_eq!(world.ask(1, "group/invite", &about("dan")).unwrap_err(), "room.banned");
    assert_eq!(world.ask(1, "group/members", r#"{"name":"g"}"#).unwrap()["banned"], json!(["dan"]));
    world.restart();
    for (session, name) in [(1, "ann"), (2, "bob"), (4, "dan")] {
        world.open(session, name, UserKind::Registered);
    }
    assert_eq!(world.ask(4, "group/join", r#"{"name":"g"}"#).unwrap_err(), "room.banned");
    world.ask(2, "group/unban", &about("dan")).unwrap();
    world.ask(4, "group/join", r#"{"name":"g"}"#).unwrap();
    world.ask(2, "group/mute", &about("dan")).unwrap();
    assert!(world.homes["group/g"]["dan"].is_muted);
    world.ask(2, "group/unmute", &about("dan")).unwrap();
    assert_eq!(world.ask(2, "group/unmute", &about("dan")).unwrap_err(), "request.not-found");
    assert_eq!(world.operate("group/kick", &about("ann")).unwrap_err(), "room.not-owner");
    world.ask(1, "group/settings", r#"{"name":"g","owner":"bob"}"#).unwrap();
    assert_eq!(world.homes["group/g"]["bob"].role, Some(Role::Owner));
    assert_eq!(world.homes["group/g"]["ann"].role, Some(Role::Member));
    world.ask(1, "group/leave", r#"{"name":"g"}"#).unwrap();
}

#[test]
fn a_ban_outlives_an_anonymous_name() {
    let mut world = two();
    world.connect(3, "cat");
    world.ask(1, "room/create", r#"{"name":"r"}"#).unwrap();
    world.enter(3, "room/r", None).unwrap();
    world.ask(1, "room/kick", r#"{"name":"r","user":"cat","ban":true}"#).unwrap();
    world.step(Command::SessionEnded { session: 3 });
    world.connect(4, "cat");
    assert_eq!(world.enter(4, "room/r", None), Err(Code::Banned));
    world.step(Command::SessionEnded { session: 4 });
    world.ask(1, "room/unban", r#"{"name":"r","user":"cat"}"#).unwrap();
    world.connect(5, "cat");
    assert_eq!(world.enter(5, "room/r", None), Ok(()));
}

#[test]
fn an_owner_who_goes_leaves_the_place_to_the_longest_serving() {
    let mut world = World::usual();
    world.connect(1, "ann");
    world.register(2, "bob");
    world.register(3, "cat");
    world.ask(1, "group/create", r#"{"name":"g","members":["bob"]}"#).unwrap();
    world.pass(1000);
    world.ask(3, "group/join", r#"{"name":"g"}"#).unwrap();
    world.ask(1, "group/moderators", r#"{"name":"g","add":["cat"]}"#).unwrap();
    world.ask(1, "room/create", r#"{"name":"r"}"#).unwrap();
    world.step(Command::SessionEnded { session: 1 });
    assert_eq!(world.ask(2, "group/info", r#"{"name":"g"}"#).unwrap()["owner"], "cat");
    assert_eq!(world.ask(2, "room/info", r#"{"name":"r"}"#).unwrap()["owner"], "katydid");
    world.restart();
}

#[test]
fn what_nobody_uses_expires_and_says_how_long_it_has() {
    let mut world = two();
    world.ask(1, "room/create", r#"{"name":"r","expiry_secs":100}"#).unwrap();
    world.enter(1, "room/r", None).unwrap();
    assert_eq!(world.ask(2, "room/info", r#"{"name":"r"}"#).unwrap()["expires_in_secs"], 0);
    world.pass(1_000_000);
    world.step(Command::Left { session: 1, place: "room/r" });
    world.pass(40_000);
    assert_eq!(world.ask(2, "room/info", r#"{"name":"r"}"#).unwrap()["expires_in_secs"], 60);
    world.restart();
    world.pass(30_000);
    assert_eq!(world.operate("room/info", r#"{"name":"r"}"#).unwrap()["expires_in_secs"], 30);
    world.pass(30_000);
    assert!(world.said.contains(&Effect::Drop { place: "room/r".into() }));
    assert!(!world.disk.keys().any(|key| key.ends_with(b"room/r")));
    world.open(1, "ann", UserKind::Registered);
    assert_eq!(world.ask(1, "room/info", r#"{"name":"r"}"#).unwrap_err(), "room.not-found");
    world.ask(1, "room/create", r#"{"name":"r"}"#).unwrap();
    assert_eq!(world.ask(1, "room/info", r#"{"name":"r"}"#).unwrap()["number"], 3, "another room");
}

#[test]
fn a_group_in_use_does_not_expire() {
    let mut world = two();
    world.ask(1, "group/create", r#"{"name":"g","expiry_secs":100,"members":["bob"]}"#).unwrap();
    world.step(Command::Disconnected { session: 1 });
    world.step(Command::Disconnected { session: 2 });
    world.pass(1_000_000);
    assert_eq!(world.operate("group/info", r#"{"name":"g"}"#).unwrap()["members"], 2);
    world.ask(2, "group/leave", r#"{"name":"g"}"#).unwrap();
    world.pass(101_000);
    assert_eq!(world.operate("group/info", r#"{"name":"g"}"#).unwrap_err(), "group.not-found");
}

#[test]
fn a_room_in_which_nothing_was_said_goes_after_an_hour() {
    let mut world = two();
    world.enter(1, "room/quiet", None).unwrap();
    world.enter(1, "room/loud", None).unwrap();
    world.step(Command::Said { place: "room/loud", seq: 1 });
    for place in ["room/quiet", "room/loud"] {
        world.step(Command::Left { session: 1, place });
    }
    world.pass(60 * 60 * 1000 + 1000);
    assert_eq!(world.ask(1, "room/info", r#"{"name":"quiet"}"#).unwrap_err(), "room.not-found");
    assert!(world.ask(1, "room/info", r#"{"name":"loud"}"#).is_ok());
}

#[test]
fn a_limit_of_members_holds_for_entering_joining_and_adding() {
    let mut world = two();
    world.register(3, "cat");
    world.ask(1, "group/create", r#"{"name":"g","limit":2,"members":["bob"]}"#).unwrap();
    assert_eq!(world.ask(3, "group/join", r#"{"name":"g"}"#).unwrap_err(), "room.full");
    assert_eq!(
        world.ask(1, "group/invite", r#"{"name":"g","user":"cat","add":true}"#).unwrap_err(),
        "room.full"
    );
    assert_eq!(world.enter(3, "group/g", None), Err(Code::Full));
    assert_eq!(world.enter(2, "group/g", None), Ok(()), "who is in it enters");
    assert_eq!(
        world.ask(1, "group/create", r#"{"name":"h","limit":1,"members":["bob"]}"#).unwrap_err(),
        "room.full"
    );
}

#[test]
fn deleting_tells_who_was_in_it_and_answers_when_all_are_out() {
    let mut world = two();
    world.ask(1, "group/create", r#"{"name":"g","members":["bob"]}"#).unwrap();
    let not_empty = world.ask(1, "group/delete", r#"{"name":"g","if_empty":true}"#);
    assert_eq!(not_empty.unwrap_err(), "room.not-empty");
    assert_eq!(world.ask(2, "group/delete", r#"{"name":"g"}"#).unwrap_err(), "room.not-owner");
    world.ask(1, "group/delete", r#"{"name":"g"}"#).unwrap();
    assert_eq!(world.told("bob"), ["gone"]);
    assert!(world.evicts("group/g", None));
    assert_eq!(world.rules["group/g"], None);
    let drop_at = world.said.iter().position(|effect| *effect == Effect::Drop { place: "group/g".into() });
    let evict_at = world.said.iter().position(|effect| matches!(effect, Effect::Evict { .. }));
    assert!(evict_at < drop_at);
    world.restart();
}

#[test]
fn a_pair_is_made_by_the_first_message_and_belongs_to_the_two() {
    let mut world = two();
    world.register(3, "cat");
    world.step(Command::EnterAll { session: 2, root: "user" });
    world.step(Command::Open { place: "user/ann/bob", user: "ann", kind: UserKind::Registered });
    assert_eq!(world.admitted(), [(2, "user/ann/bob".to_owned())]);
    assert_eq!(world.homes["user/ann/bob"].len(), 2);
    assert!(world.rules["user/ann/bob"].as_ref().unwrap().is_pair);
    for (place, user) in
        [("user/ann/eve", "ann"), ("user/bob/ann", "ann"), ("user/ann/bob", "cat"), ("user/ann", "ann")]
    {
        world.step(Command::Open { place, user, kind: UserKind::Registered });
        assert!(world.said.contains(&Effect::Rules { place: place.into(), rules: None }), "{place}");
    }
    assert_eq!(world.enter(3, "user/ann/bob", None), Err(Code::UserNotFound));
    assert_eq!(world.enter(1, "user/ann/bob", None), Ok(()));
    world.restart();
    world.open(2, "bob", UserKind::Registered);
    world.step(Command::EnterAll { session: 2, root: "user" });
    assert_eq!(world.admitted(), [(2, "user/ann/bob".to_owned())]);
    let ticket = world.ticket();
    let body = br#"{"id":1,"place":"user/ann"}"#;
    world.step(Command::Request { ticket, session: 2, verb: "history", body });
    assert!(matches!(world.said.last(), Some(Effect::Read { place, .. }) if &**place == "user/ann/bob"));
    let none = world.ask(2, "history", r#"{"place":"user/cat"}"#).unwrap();
    assert_eq!((none["entries"].clone(), none["end"].as_bool()), (json!([]), Some(true)));
}

#[test]
fn a_home_that_asks_again_is_told_everything_again() {
    let mut world = two();
    world.ask(1, "room/create", r#"{"name":"r","read_only":true}"#).unwrap();
    world.ask(1, "room/ban", r#"{"name":"r","user":"bob"}"#).unwrap();
    for _ in 0..2 {
        world.homes.clear();
        world.step(Command::Open { place: "room/r", user: "bob", kind: UserKind::Registered });
        assert!(world.rules["room/r"].as_ref().unwrap().read_only);
        assert_eq!(world.homes["room/r"].len(), 2);
    }
    world.step(Command::Open { place: "room/new", user: "bob", kind: UserKind::Registered });
    assert_eq!(world.homes["room/new"]["bob"].role, Some(Role::Owner));
    world.step(Command::Open { place: "group/new", user: "bob", kind: UserKind::Registered });
    assert_eq!(world.rules["group/new"], None, "groups are made by request only");
}

#[test]
fn a_crowded_room_tells_counts_instead_of_people() {
    let mut world = World::new(Rules { presence_members: 4, ..Rules::default() });
    for session in 1..=4 {
        world.connect(session, &format!("u{session}"));
        world.enter(session, "room/r", None).unwrap();
    }
    world.pass(1000);
    assert!(world.kept("room/r", "presence/u1").unwrap().contains("online"));
    world.connect(5, "u5");
    world.enter(5, "room/r", None).unwrap();
    world.pass(1000);
    assert_eq!(world.kept("room/r", "presence/u1").as_deref(), Some(""));
    assert_eq!(world.kept("room/r", "presence/u5"), None);
    assert!(world.kept("room/r", "info").unwrap().contains("\"members\":5"));
    for session in 3..=5 {
        world.step(Command::Left { session, place: "room/r" });
    }
    world.pass(1000);
    assert!(world.kept("room/r", "presence/u1").unwrap().contains("online"));
    assert_eq!(world.kept("room/r", "presence/u5"), None);
    world.step(Command::SessionEnded { session: 1 });
    assert_eq!(world.kept("room/r", "presence/u1").as_deref(), Some(""));
}

#[test]
fn a_thousand_who_join_at_once_are_few_messages() {
    let mut world = World::usual();
    for session in 1..=1000 {
        world.connect(session, &format!("u{session}"));
        world.enter(session, "room/r", None).unwrap();
    }
    world.pass(1000);
    let of_room = |effect: &&Effect| matches!(effect, Effect::Keep { place, .. } if &**place == "room/r");
    assert_eq!(world.said.iter().filter(of_room).count(), 1);
}

#[test]
fn counters_change_with_what_they_count() {
    let mut world = two();
    let counters = |world: &mut World, body: &str| {
        let counts = world.ask(1, "counters", body).unwrap();
        ["rooms", "occupancy", "groups", "members", "posts"].map(|name| counts[name].as_u64().unwrap_or(0))
    };
    let start = counters(&mut world, "{}");
    world.enter(1, "room/r", None).unwrap();
    let entered = counters(&mut world, r#"{"place":"room/r"}"#);
    assert!(entered[0] > start[0] && entered[1] > start[1] && entered[2] == start[2]);
    world.enter(2, "room/other", None).unwrap();
    let elsewhere = counters(&mut world, r#"{"place":"room/r"}"#);
    assert!(elsewhere[1] > entered[1] && elsewhere[3] == entered[3]);
    world.ask(1, "group/create", r#"{"name":"g"}"#).unwrap();
    let grouped = counters(&mut world, "{}");
    assert!(grouped[2] > elsewhere[2] && grouped[1] == elsewhere[1]);
    world.restart();
    world.open(1, "ann", UserKind::Registered);
    let restarted = counters(&mut world, "{}");
    assert!((0..3).all(|index| restarted[index] >= grouped[index]), "{grouped:?} {restarted:?}");
}

#[test]
fn lists_come_in_pages() {
    let mut world = two();
    for index in 0..7 {
        world.ask(1, "room/create", &json!({"name": format!("Room{index}")}).to_string()).unwrap();
    }
    let first = world.ask(2, "room/list", r#"{"count":5}"#).unwrap();
    assert_eq!((first["places"].as_array().unwrap().len(), first["more"].as_bool()), (5, Some(true)));
    let body = json!({"count": 5, "after": first["places"][4]["name"]}).to_string();
    let second = world.ask(2, "room/list", &body).unwrap();
    assert_eq!((second["places"].as_array().unwrap().len(), second["more"].as_bool()), (3, Some(false)));
    let users = world.ask(2, "users", r#"{"count":1}"#).unwrap();
    assert_eq!((users["users"][0]["user"].as_str(), users["more"].as_bool()), (Some("ann"), Some(true)));
    let rest = world.ask(2, "users", r#"{"count":1,"after":"ann"}"#).unwrap();
    assert_eq!((rest["users"][0]["user"].as_str(), rest["more"].as_bool()), (Some("bob"), Some(false)));
    let found = world.ask(2, "search", r#"{"text":"OOM3"}"#).unwrap();
    assert_eq!(found["places"][0]["name"], "Room3");
}
