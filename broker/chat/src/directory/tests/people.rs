//! Signing in, accounts, contacts and presence.

use super::world::{START, World, address};
use crate::code::Code;
use crate::directory::*;
use crate::permission::UserKind;
use serde_json::json;

const CHECKED: Proof<'static> = Proof::Checked { scram: None };
const NO_PROOF: Proof<'static> = Proof::None { exclusive: false };

fn refused(outcome: &SignIn) -> Option<Code> {
    match outcome {
        SignIn::Refused(code) => Some(*code),
        _ => None,
    }
}

fn checks(hash: &str, wants_scram: bool) -> SignIn {
    SignIn::Check { hash: hash.into(), wants_scram }
}

#[test]
fn an_anonymous_name_is_free_for_one_address_and_taken_for_others() {
    let mut world = World::usual();
    world.connect(1, "ann");
    assert!(matches!(world.sign_in("ann", NO_PROOF, address(1)), SignIn::Enter { .. }));
    assert_eq!(refused(&world.sign_in("ann", NO_PROOF, address(2))), Some(Code::LoginNameUsed));
    let exclusive = Proof::None { exclusive: true };
    assert_eq!(refused(&world.sign_in("ann", exclusive, address(1))), Some(Code::LoginNameUsed));
    assert_eq!(refused(&world.sign_in("Ann", NO_PROOF, address(1))), Some(Code::NameSpelling));
    for (name, code) in [
        ("katydid", Code::NameReserved),
        ("Guest-1", Code::NameReserved),
        ("a/b", Code::NameInvalid),
        ("", Code::NameInvalid),
    ] {
        assert_eq!(refused(&world.sign_in(name, NO_PROOF, address(1))), Some(code), "{name}");
    }
    world.step(Command::SessionEnded { session: 1 });
    assert!(matches!(world.sign_in("ann", NO_PROOF, address(2)), SignIn::Enter { .. }));
}

#[test]
fn a_name_is_taken_from_the_sign_in_on_and_free_when_nobody_comes() {
    let mut world = World::usual();
    assert!(matches!(world.sign_in("ann", NO_PROOF, address(1)), SignIn::Enter { .. }));
    assert_eq!(refused(&world.sign_in("ann", NO_PROOF, address(2))), Some(Code::LoginNameUsed));
    world.pass(60_001);
    assert!(matches!(world.sign_in("ann", NO_PROOF, address(2)), SignIn::Enter { .. }));
}

#[test]
fn a_sleeping_anonymous_name_is_free_after_an_hour_and_its_sessions_end() {
    let mut world = World::usual();
    world.connect(1, "ann");
    world.step(Command::Disconnected { session: 1 });
    world.pass(60 * 60 * 1000 - 1);
    assert_eq!(refused(&world.sign_in("ann", NO_PROOF, address(2))), Some(Code::LoginNameUsed));
    world.pass(2);
    assert!(world.said.contains(&Effect::End { session: 1 }));
    assert!(matches!(world.sign_in("ann", NO_PROOF, address(2)), SignIn::Enter { .. }));
}

#[test]
fn who_registers_signs_in_by_password_and_only_so() {
    let mut world = World::usual();
    world.connect(1, "ann");
    let made = world.ask(1, "register", r#"{"name":"ann","password":"secret"}"#).unwrap();
    assert_eq!((made["user"].as_str(), made["number"].as_u64()), (Some("ann"), Some(1)));
    assert_eq!(refused(&world.sign_in("ann", NO_PROOF, address(1))), Some(Code::LoginRegisteredName));
    let check = world.sign_in("ann", Proof::Password(b"secret"), address(1));
    assert_eq!(check, checks("hash of secret", false));
    let entered = SignIn::Enter { user: "ann".into(), kind: UserKind::Registered };
    assert_eq!(world.sign_in("ann", CHECKED, address(1)), entered);
    assert_eq!(refused(&world.sign_in("ANN", CHECKED, address(1))), None, "checked is the account's");
    assert_eq!(
        refused(&world.sign_in("ANN", Proof::Password(b"secret"), address(1))),
        Some(Code::NameSpelling)
    );
    assert_eq!(
        refused(&world.sign_in("bob", Proof::Password(b"x"), address(1))),
        Some(Code::LoginUnknownName)
    );
    let again = world.ask(1, "register", r#"{"name":"Ann","password":"x"}"#);
    assert_eq!(again.unwrap_err(), "name.spelling");
    assert!(!world.disk.values().any(|value| String::from_utf8_lossy(value).contains("\"secret\"")));
}

#[test]
fn failed_attempts_are_limited_by_name_and_by_address_and_come_back() {
    let mut world = World::usual();
    world.register(1, "ann");
    for _ in 0..10 {
        assert!(matches!(world.sign_in("ann", Proof::Password(b"x"), address(9)), SignIn::Check { .. }));
        let failed = world.sign_in("ann", Proof::Failed, address(9));
        assert_eq!(refused(&failed), Some(Code::LoginWrongPassword));
    }
    let limited = world.sign_in("ann", Proof::Password(b"pw-ann"), address(9));
    assert_eq!(refused(&limited), Some(Code::RateSignIn));
    // Nobody locks somebody else out from elsewhere.
    assert!(matches!(world.sign_in("ann", Proof::Password(b"pw-ann"), address(3)), SignIn::Check { .. }));
    world.pass(60_000);
    assert!(matches!(world.sign_in("ann", Proof::Password(b"pw-ann"), address(9)), SignIn::Check { .. }));
    for index in 0..200 {
        world.sign_in(&format!("user{index}"), Proof::Password(b"x"), address(8));
    }
    let limited = world.sign_in("ann", Proof::Password(b"pw-ann"), address(8));
    assert_eq!(refused(&limited), Some(Code::RateSignIn));
}

#[test]
fn many_guests_of_one_address_hash_no_more_than_one() {
    let mut world = World::new(Rules { hashes_per_address: 20, ..Rules::default() });
    let mut codes = Vec::new();
    for session in 0..30 {
        world.open(session, &format!("guest-{session}"), UserKind::Guest);
        let body = json!({"name": format!("user{session}"), "password": "x"}).to_string();
        codes.push(world.ask(session, "register", &body).err());
    }
    assert_eq!(codes.iter().filter(|code| code.is_none()).count(), 20);
    assert_eq!(codes[29].as_deref(), Some("rate.requests"));
}

#[test]
fn the_operators_rules_say_who_registers_and_who_is_anonymous() {
    let closed = Rules { registration: Registration::Operator, anonymous: false, ..Rules::default() };
    let mut world = World::new(closed.with_accounts([("Root", "hash of toor", None)]));
    assert_eq!(refused(&world.sign_in("ann", NO_PROOF, None)), Some(Code::LoginAnonymousRefused));
    assert_eq!(refused(&world.sign_in("Root", NO_PROOF, None)), Some(Code::LoginRegisteredName));
    assert_eq!(refused(&world.sign_in("root", NO_PROOF, None)), Some(Code::NameSpelling));
    let check = world.sign_in("Root", Proof::Password(b"toor"), None);
    assert_eq!(check, checks("hash of toor", false));
    assert!(matches!(world.sign_in("Root", CHECKED, None), SignIn::Enter { .. }));
    world.open(1, "Root", UserKind::Registered);
    assert_eq!(
        world.ask(1, "register", r#"{"name":"bob","password":"x"}"#).unwrap_err(),
        "login.registration-closed"
    );
    assert_eq!(
        world.ask(1, "password", r#"{"old":"toor","new":"x"}"#).unwrap_err(),
        "login.operators-account"
    );
    let token = Rules { registration: Registration::Token("door".into()), ..Rules::default() };
    let mut world = World::new(token);
    world.connect(1, "ann");
    let body = r#"{"name":"ann","password":"x","token":"window"}"#;
    assert_eq!(world.ask(1, "register", body).unwrap_err(), "login.bad-token");
    world.ask(1, "register", r#"{"name":"ann","password":"x","token":"door"}"#).unwrap();
}

#[test]
fn a_certificate_takes_its_name_from_whoever_sits_on_it() {
    let mut world = World::usual();
    world.connect(1, "ann");
    assert!(matches!(world.sign_in("ann", Proof::Certificate, address(2)), SignIn::Enter { .. }));
    assert!(world.said.contains(&Effect::End { session: 1 }));
    assert_eq!(refused(&world.sign_in("ann", NO_PROOF, address(1))), Some(Code::LoginRegisteredName));
}

#[test]
fn tokens_open_until_they_are_revoked_or_expire() {
    let mut world = World::usual();
    world.register(1, "ann");
    let made = world.ask(1, "token/create", r#"{"label":"phone","expiry_secs":60}"#).unwrap();
    let (token, key) = (made["token"].as_str().unwrap(), made["key"].as_str().unwrap());
    let proof = Proof::Password(token.as_bytes());
    assert!(matches!(world.sign_in("ann", proof, address(5)), SignIn::Enter { .. }));
    world.operate("user/add", r#"{"name":"eve","password":"x"}"#).unwrap();
    assert!(matches!(world.sign_in("eve", proof, address(5)), SignIn::Check { .. }), "ann's, not eve's");
    assert!(!world.disk.values().any(|value| String::from_utf8_lossy(value).contains(token)));
    world.restart();
    assert!(matches!(world.sign_in("ann", proof, address(5)), SignIn::Enter { .. }));
    world.open(1, "ann", UserKind::Registered);
    let list = world.ask(1, "token/list", "").unwrap();
    assert_eq!(list["tokens"][0]["label"], "phone");
    world.pass(60_000);
    assert!(
        matches!(world.sign_in("ann", proof, address(5)), SignIn::Check { .. }),
        "a password like others"
    );
    let lasting = world.ask(1, "token/create", "").unwrap();
    let proof = Proof::Password(lasting["token"].as_str().unwrap().as_bytes());
    assert!(matches!(world.sign_in("ann", proof, address(5)), SignIn::Enter { .. }));
    let body = json!({"key": lasting["key"]}).to_string();
    world.ask(1, "token/revoke", &body).unwrap();
    assert_eq!(world.ask(1, "token/revoke", &body).unwrap_err(), "request.not-found");
    assert!(matches!(world.sign_in("ann", proof, address(5)), SignIn::Check { .. }));
    assert_ne!(key, lasting["key"].as_str().unwrap());
}

#[test]
fn a_password_changes_only_for_who_knows_the_old_one() {
    let mut world = World::usual();
    world.register(1, "ann");
    let wrong = world.ask(1, "password", r#"{"old":"no","new":"fresh"}"#);
    assert_eq!(wrong.unwrap_err(), "login.wrong-password");
    world.ask(1, "password", r#"{"old":"pw-ann","new":"fresh"}"#).unwrap();
    let check = world.sign_in("ann", Proof::Password(b"fresh"), address(1));
    assert_eq!(check, checks("hash of fresh", false));
}

#[test]
fn who_unregisters_leaves_nothing() {
    let mut world = World::usual();
    world.register(1, "ann");
    world.register(2, "bob");
    world.ask(1, "group/create", r#"{"name":"club","members":["bob"]}"#).unwrap();
    world.ask(1, "friend/add", r#"{"user":"bob"}"#).unwrap();
    world.ask(2, "friend/add", r#"{"user":"ann"}"#).unwrap();
    world.ask(1, "token/create", "").unwrap();
    world.open(3, "ann", UserKind::Registered);
    world.ask(1, "unregister", "").unwrap();
    assert_eq!(world.said.last(), Some(&Effect::End { session: 3 }));
    assert_eq!(world.retained("user/ann/presence").as_deref(), Some(""));
    assert_eq!(world.ask(1, "whoami", "").unwrap_err(), "login.needed");
    world.pass(1000);
    assert!(world.said.contains(&Effect::End { session: 1 }), "after the answer");
    let info = world.ask(2, "group/info", r#"{"name":"club"}"#).unwrap();
    assert_eq!((info["owner"].as_str(), info["members"].as_u64()), (Some("bob"), Some(1)));
    assert_eq!(world.ask(2, "friend/list", "").unwrap()["users"], json!([]));
    assert!(
        !world.disk.keys().any(|key| key.windows(3).any(|part| part == b"ann")),
        "{:?}",
        world.disk.keys()
    );
    world.restart();
    world.open(2, "bob", UserKind::Registered);
    assert_eq!(world.ask(2, "profile/get", r#"{"user":"ann"}"#).unwrap_err(), "user.not-found");
    world.operate("user/add", r#"{"name":"Ann","password":"x"}"#).unwrap();
    assert_eq!(world.ask(2, "profile/get", r#"{"user":"Ann"}"#).unwrap()["number"], 3);
}

#[test]
fn presence_is_told_once_a_second_over_all_devices() {
    let mut world = World::usual();
    world.register(1, "ann");
    world.open(2, "ann", UserKind::Registered);
    world.ask(1, "presence/set", r#"{"state":"away","text":"lunch"}"#).unwrap();
    let state = world.ask(2, "presence/set", r#"{"state":"away"}"#).unwrap();
    assert_eq!(state["state"], "away");
    world.pass(1000);
    let told = world.said.iter().filter(|effect| matches!(effect, Effect::Retain { .. })).count();
    assert_eq!(told, 1, "coalesced");
    assert!(world.retained("user/ann/presence").unwrap().contains(r#""state":"away","text":"lunch""#));
    world.step(Command::Disconnected { session: 2 });
    world.step(Command::Disconnected { session: 1 });
    world.pass(1000);
    assert!(world.retained("user/ann/presence").unwrap().contains("asleep"));
    world.step(Command::SessionEnded { session: 1 });
    world.step(Command::SessionEnded { session: 2 });
    world.pass(1000);
    assert!(world.retained("user/ann/presence").unwrap().contains("offline"));
}

#[test]
fn after_a_crash_nobody_stays_online() {
    let mut world = World::usual();
    world.register(1, "ann");
    world.pass(1000);
    world.restart();
    world.pass(1000);
    assert!(world.retained("user/ann/presence").unwrap().contains("offline"));
}

#[test]
fn friends_hear_who_comes_and_ignored_users_are_not_heard() {
    let mut world = World::usual();
    world.register(1, "ann");
    world.register(2, "bob");
    world.ask(1, "friend/add", r#"{"user":"bob"}"#).unwrap();
    world.step(Command::Disconnected { session: 2 });
    world.pass(1000);
    world.step(Command::Connected { session: 2, address: address(1) });
    world.pass(1000);
    assert_eq!(world.told("ann"), ["friend"]);
    world.ask(1, "ignore/add", r#"{"user":"bob"}"#).unwrap();
    let ignores = Effect::Ignores { user: "ann".into(), ignored: [Arc::from("bob")].into() };
    assert!(world.said.contains(&ignores));
    world.ask(2, "offer", r#"{"to":"ann","kind":"peer","data":{"port":5000}}"#).unwrap();
    assert_eq!(world.told("ann"), [""; 0]);
    world.ask(2, "room/create", r#"{"name":"den","visibility":"private"}"#).unwrap();
    world.ask(2, "room/invite", r#"{"name":"den","user":"ann"}"#).unwrap();
    assert_eq!(world.told("ann"), [""; 0]);
    world.restart();
    world.step(Command::SessionOpened { session: 1, user: "ann", kind: UserKind::Registered });
    assert!(world.said.contains(&ignores), "told again after a restart");
    world.ask(1, "ignore/remove", r#"{"user":"bob"}"#).unwrap();
    assert_eq!(world.ask(1, "ignore/remove", r#"{"user":"bob"}"#).unwrap_err(), "request.not-found");
}

#[test]
fn an_offer_reaches_who_is_connected_and_nobody_else() {
    let mut world = World::usual();
    world.connect(1, "ann");
    world.connect(2, "bob");
    let offer = r#"{"to":"bob","kind":"file","data":{"name":"x.txt","size":3}}"#;
    world.ask(1, "offer", offer).unwrap();
    assert_eq!(world.told("bob"), ["offer"]);
    world.step(Command::Disconnected { session: 2 });
    assert_eq!(world.ask(1, "offer", offer).unwrap_err(), "user.offline");
    let nobody = r#"{"to":"eve","kind":"file","data":{}}"#;
    assert_eq!(world.ask(1, "offer", nobody).unwrap_err(), "user.not-found");
}

#[test]
fn the_broker_is_nobody_to_befriend_or_to_invite() {
    let mut world = World::usual();
    world.register(1, "ann");
    world.ask(1, "room/create", r#"{"name":"r"}"#).unwrap();
    for (verb, body) in [
        ("friend/add", r#"{"user":"katydid"}"#),
        ("profile/get", r#"{"user":"katydid"}"#),
        ("room/invite", r#"{"name":"r","user":"katydid"}"#),
        ("group/create", r#"{"name":"g","members":["katydid"]}"#),
    ] {
        assert_eq!(world.ask(1, verb, body).unwrap_err(), "user.not-found", "{verb}");
    }
    assert_eq!(world.operate("user/remove", r#"{"name":"katydid"}"#).unwrap_err(), "user.not-found");
    let page = world.ask(1, "history", r#"{"place":"user/katydid"}"#).unwrap();
    assert_eq!(page["end"], true, "what it told can be read");
}

#[test]
fn profiles_show_the_email_to_their_user_only() {
    let mut world = World::usual();
    world.register(1, "ann");
    world.register(2, "bob");
    let set = r#"{"display":"Ann A.","email":"ann@example.org","fields":{"city":"Oslo"}}"#;
    assert_eq!(world.ask(1, "profile/set", set).unwrap()["email"], "ann@example.org");
    assert!(world.retained("user/ann/profile").unwrap().contains("Oslo"));
    assert!(!world.retained("user/ann/profile").unwrap().contains("example.org"));
    let seen = world.ask(2, "profile/get", r#"{"number":1}"#).unwrap();
    assert_eq!((seen["display"].as_str(), seen.get("email")), (Some("Ann A."), None));
    world.restart();
    world.step(Command::Tick);
    assert!(world.retained("user/ann/profile").unwrap().contains("Oslo"), "told again");
    world.open(1, "ann", UserKind::Registered);
    world.ask(1, "profile/set", r#"{"fields":{"city":null}}"#).unwrap();
    assert_eq!(world.ask(1, "profile/get", "").unwrap().get("fields"), None);
}

#[test]
fn guests_may_look_and_not_own() {
    let mut world = World::usual();
    world.open(1, "guest-a1", UserKind::Guest);
    assert_eq!(world.ask(1, "whoami", "").unwrap()["kind"], "guest");
    assert_eq!(world.ask(1, "group/create", r#"{"name":"x"}"#).unwrap_err(), "login.needed");
    assert_eq!(world.ask(1, "friend/list", "").unwrap_err(), "login.needed");
    world.ask(1, "room/join", r#"{"name":"Home"}"#).unwrap();
    assert_eq!(world.ask(1, "whoami", "").unwrap()["rooms"], 1);
    world.step(Command::SessionEnded { session: 1 });
    assert!(!world.disk.keys().any(|key| key.windows(5).any(|part| part == b"guest")));
}

#[test]
fn the_operator_lists_blocks_and_removes_accounts() {
    let mut world = World::usual();
    world.register(1, "ann");
    assert_eq!(world.ask(1, "user/list", "").unwrap_err(), "request.not-permitted");
    world.operate("user/block", r#"{"name":"ann"}"#).unwrap();
    assert!(world.said.contains(&Effect::Disconnect { user: "ann".into(), ends: false }));
    assert_eq!(
        refused(&world.sign_in("ann", Proof::Password(b"pw-ann"), address(1))),
        Some(Code::LoginBlocked)
    );
    assert_eq!(refused(&world.sign_in("ann", CHECKED, address(1))), Some(Code::LoginBlocked));
    let list = world.operate("user/list", "").unwrap();
    assert_eq!(
        (list["users"][0]["user"].as_str(), list["users"][0]["blocked"].as_bool()),
        (Some("ann"), Some(true))
    );
    world.operate("user/unblock", r#"{"name":"ann"}"#).unwrap();
    world.operate("user/passwd", r#"{"name":"ann","password":"new"}"#).unwrap();
    let check = world.sign_in("ann", Proof::Password(b"new"), address(1));
    assert_eq!(check, checks("hash of new", false));
    world.operate("user/remove", r#"{"name":"ann"}"#).unwrap();
    assert_eq!(world.operate("user/remove", r#"{"name":"ann"}"#).unwrap_err(), "user.not-found");
}

#[test]
fn a_clock_that_jumps_breaks_nothing() {
    let mut world = World::usual();
    world.register(1, "ann");
    world.now = START - 1_000_000_000;
    world.ask(1, "room/create", r#"{"name":"x","expiry_secs":60}"#).unwrap();
    world.pass(1000);
    assert!(world.retained("user/ann/presence").is_some(), "told although the clock went back");
    world.now = 0;
    world.step(Command::Tick);
    world.pass(58_000);
    assert!(!world.said.iter().any(|effect| matches!(effect, Effect::Drop { .. })), "not yet");
    world.pass(3000);
    assert!(world.said.iter().any(|effect| matches!(effect, Effect::Drop { .. })));
    world.now = u64::MAX / 2;
    world.ask(1, "room/create", r#"{"name":"y","expiry_secs":60}"#).unwrap();
    world.restart();
    world.now = START;
    world.pass(70_000);
    let info = world.operate("room/info", r#"{"name":"y"}"#);
    assert_eq!(info.unwrap_err(), "room.not-found", "a time of the future counts from now");
}

#[test]
fn an_erased_user_is_known_nowhere_and_the_name_waits_until_nothing_is_left() {
    let mut world = World::usual();
    world.is_prompt = true;
    for name in ["Ann", "bob"] {
        world.operate("user/add", &format!(r#"{{"name":"{name}","password":"x"}}"#)).unwrap();
    }
    for (session, name) in [(1, "Ann"), (2, "bob")] {
        world.step(Command::SessionOpened { session, user: name, kind: UserKind::Registered });
        world.step(Command::Connected { session, address: address(1) });
    }
    world.ask(1, "friend/add", r#"{"user":"bob"}"#).unwrap();
    world.ask(2, "friend/add", r#"{"user":"Ann"}"#).unwrap();
    world.ask(2, "ignore/add", r#"{"user":"Ann"}"#).unwrap();
    world.ask(2, "group/create", r#"{"name":"crew","members":["Ann"]}"#).unwrap();
    world.ask(2, "group/ban", r#"{"name":"crew","user":"Ann"}"#).unwrap();
    world.ask(1, "room/create", r#"{"name":"den"}"#).unwrap();
    world.is_prompt = false;
    assert_eq!(world.operate("user/erase", r#"{"name":"ann"}"#).unwrap_err(), "name.spelling");
    world.operate("user/erase", r#"{"name":"Ann"}"#).unwrap();
    let is_named = |world: &World| {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_lowercase().contains("ann");
        world.disk.iter().filter(|(key, value)| shown(key) || shown(value)).count()
    };
    assert_eq!(is_named(&world), 1, "only that it goes on: {:?}", world.disk);
    let erase = Effect::Erase { user: "Ann".into() };
    assert!(world.said.contains(&erase));
    let erasing = world.operate("user/erasing", r#"{"name":"Ann"}"#).unwrap();
    assert_eq!(erasing["erasing"], true);
    let refused = SignIn::Refused(crate::code::Code::NameReserved);
    assert_eq!(world.sign_in("ann", Proof::None { exclusive: false }, address(2)), refused);
    let add = r#"{"name":"Ann","password":"y"}"#;
    assert_eq!(world.operate("user/add", add).unwrap_err(), "name.reserved");
    world.restart();
    world.step(Command::Tick);
    world.step(Command::SessionOpened { session: 1, user: "Ann", kind: UserKind::Registered });
    assert!(world.said.contains(&Effect::End { session: 1 }));
    assert_eq!(world.sign_in("Ann", Proof::None { exclusive: false }, address(2)), refused);
    world.is_prompt = true;
    world.answer_waiting();
    assert_eq!(is_named(&world), 0, "{:?}", world.disk);
    world.operate("user/add", add).unwrap();
}
