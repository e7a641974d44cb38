//! Signing in without a password on the wire: by SCRAM, and by what a provider says.

use super::world::{World, address};
use crate::code::Code;
use crate::directory::*;
use crate::permission::UserKind;
use crate::scram::Verifier;

fn entered(name: &str) -> SignIn {
    SignIn::Enter { user: name.into(), kind: UserKind::Registered }
}

fn refused(code: Code) -> SignIn {
    SignIn::Refused(code)
}

fn challenge(world: &mut World, name: &str) -> (Verifier, String) {
    match world.sign_in(name, Proof::Scram, address(1)) {
        SignIn::Challenge { verifier, nonce } => (*verifier, nonce),
        other => panic!("{name}: {other:?}"),
    }
}

fn vouched(identity: &str) -> Proof<'_> {
    Proof::Vouched { identity }
}

fn world_with_provider() -> World {
    World::new(Rules { openid: true, reserved_users: vec!["admin*".into()], ..Rules::default() })
}

#[test]
fn whose_password_is_set_proves_it_by_scram() {
    let mut world = World::usual();
    world.register(1, "ann");
    let (verifier, nonce) = challenge(&mut world, "ann");
    assert_eq!(verifier, Verifier::of_password(b"pw-ann", b"salt", 1));
    assert_ne!(challenge(&mut world, "ann").1, nonce, "a nonce is used once");
    assert_eq!(world.sign_in("ann", Proof::Proven, address(1)), entered("ann"));
    world.operate("user/passwd", r#"{"name":"ann","password":"new"}"#).unwrap();
    world.restart();
    assert_eq!(challenge(&mut world, "ann").0, Verifier::of_password(b"new", b"salt", 1));
    world.operate("user/block", r#"{"name":"ann"}"#).unwrap();
    assert_eq!(world.sign_in("ann", Proof::Proven, address(1)), refused(Code::LoginBlocked));
}

#[test]
fn names_that_are_not_there_are_challenged_like_others() {
    let mut world = World::usual();
    world.register(1, "ann");
    world.connect(2, "anonymous");
    let before = ["nobody", "Ann", "anonymous"].map(|name| challenge(&mut world, name).0);
    assert!(before[0] != before[1] && before[1] != before[2]);
    world.restart();
    let after = ["nobody", "Ann", "anonymous"].map(|name| challenge(&mut world, name).0);
    assert_eq!(before, after, "also after a restart");
    assert_eq!(world.sign_in("nobody", Proof::Proven, address(1)), refused(Code::LoginUnknownName));
}

#[test]
fn an_account_from_before_gets_a_verifier_with_its_next_password() {
    let mut world = World::usual();
    world.register(1, "ann");
    // As it was written by a version that had none.
    for value in world.disk.values_mut() {
        if let Ok(mut record) = serde_json::from_slice::<serde_json::Map<_, _>>(value)
            && record.remove("scram").is_some()
        {
            *value = serde_json::to_vec(&record).unwrap();
        }
    }
    let records = world.disk.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
    world.directory = Directory::restore(Rules::default(), [9; 32], records).unwrap();
    assert_eq!(world.sign_in("ann", Proof::Scram, address(1)), refused(Code::LoginNoScram));
    let check = world.sign_in("ann", Proof::Password(b"pw-ann"), address(1));
    assert_eq!(check, SignIn::Check { hash: "hash of pw-ann".into(), wants_scram: true });
    let learned = Verifier::of_password(b"pw-ann", b"grain", 1).to_string();
    let checked = Proof::Checked { scram: Some(&learned) };
    assert_eq!(world.sign_in("ann", checked, address(1)), entered("ann"));
    world.restart();
    assert_eq!(challenge(&mut world, "ann").0.to_string(), learned);
    // One that is there stays.
    let late = Verifier::of_password(b"old", b"grain", 1).to_string();
    world.sign_in("ann", Proof::Checked { scram: Some(&late) }, address(1));
    assert_eq!(challenge(&mut world, "ann").0.to_string(), learned);
}

#[test]
fn the_operators_file_says_whether_its_accounts_have_a_verifier() {
    let verifier = Verifier::of_password(b"toor", b"salt", 1);
    let text = verifier.to_string();
    let rules = Rules::default();
    let mut world = World::new(rules.with_accounts([("root", "hash", Some(&*text)), ("bare", "hash", None)]));
    assert_eq!(challenge(&mut world, "root").0, verifier);
    assert_eq!(world.sign_in("root", Proof::Proven, address(1)), entered("root"));
    assert_eq!(world.sign_in("bare", Proof::Scram, address(1)), refused(Code::LoginNoScram));
}

#[test]
fn proofs_that_fail_are_limited_like_passwords() {
    let good = Proof::Vouched { identity: "issuer 1" };
    for (failure, code, tries) in [
        (Proof::Failed, Code::LoginWrongPassword, [Proof::Scram, Proof::Proven]),
        (Proof::Rejected(Code::LoginBadAccessToken), Code::LoginBadAccessToken, [Proof::Token, Proof::Token]),
    ] {
        let mut world = world_with_provider();
        world.register(1, "ann");
        // Many at once: each began before any failed.
        for _ in 0..30 {
            assert!(!matches!(world.sign_in("ann", tries[0], address(9)), SignIn::Refused(_)));
        }
        for _ in 0..10 {
            assert_eq!(world.sign_in("ann", failure, address(9)), refused(code));
        }
        for proof in [failure, tries[0], tries[1], Proof::Password(b"pw-ann"), Proof::Checked { scram: None }]
        {
            assert_eq!(world.sign_in("ann", proof, address(9)), refused(Code::RateSignIn), "{proof:?}");
        }
        assert!(!matches!(world.sign_in("ann", tries[0], address(3)), SignIn::Refused(_)), "elsewhere");
        world.pass(60_000);
        for index in 0..100 {
            world.sign_in(&format!("user{index}"), failure, address(9));
        }
        assert_eq!(world.sign_in("bob", tries[0], address(9)), refused(Code::RateSignIn), "by address");
    }
    let mut world = world_with_provider();
    for _ in 0..10 {
        world.sign_in("", Proof::Rejected(Code::LoginBadAccessToken), address(9));
    }
    assert_eq!(world.sign_in("", Proof::Token, address(9)), refused(Code::RateSignIn));
    assert_eq!(world.sign_in("ann", Proof::Token, address(9)), SignIn::CheckToken);
    assert_eq!(world.sign_in("ann", good, address(9)), entered("ann"));
}

#[test]
fn whom_the_provider_knows_has_an_account_and_keeps_it() {
    let mut world = world_with_provider();
    world.connect(1, "ann");
    let jwt = Proof::Password(b"eyJhbGciOiJFUzI1NiJ9.e30.x");
    assert_eq!(world.sign_in("ann", jwt, address(2)), SignIn::CheckToken);
    assert_eq!(world.sign_in("ann", vouched("issuer 1"), address(2)), entered("ann"));
    assert!(world.said.contains(&Effect::End { session: 1 }), "who had the name without proof loses it");
    world.restart();
    assert_eq!(world.sign_in("ann", vouched("issuer 1"), address(2)), entered("ann"));
    assert_eq!(world.sign_in("ann", vouched("issuer 2"), address(2)), refused(Code::LoginOtherAccount));
    assert_eq!(world.sign_in("Ann", vouched("issuer 1"), address(2)), refused(Code::NameSpelling));
    assert_eq!(world.sign_in("admin1", vouched("issuer 3"), address(2)), refused(Code::NameReserved));
    let none = Proof::None { exclusive: false };
    assert_eq!(world.sign_in("ann", none, address(2)), refused(Code::LoginRegisteredName));
    assert_eq!(
        world.sign_in("ann", Proof::Password(b"x"), address(2)),
        refused(Code::LoginWrongPassword),
        "it has no password"
    );
    world.operate("user/block", r#"{"name":"ann"}"#).unwrap();
    assert_eq!(world.sign_in("ann", vouched("issuer 1"), address(2)), refused(Code::LoginBlocked));
}

#[test]
fn the_provider_gives_nobody_the_account_of_another() {
    let mut world = world_with_provider();
    world.register(1, "ann");
    assert_eq!(world.sign_in("ann", vouched("issuer 1"), address(2)), refused(Code::LoginOtherAccount));
    let mut world =
        World::new(Rules { openid: true, ..Rules::default() }.with_accounts([("root", "hash", None)]));
    assert_eq!(world.sign_in("root", vouched("issuer 1"), address(2)), refused(Code::LoginOtherAccount));
    // Without a provider a token is a password like others.
    let mut world = World::usual();
    world.register(1, "ann");
    let jwt = Proof::Password(b"eyJhbGciOiJFUzI1NiJ9.e30.x");
    assert!(matches!(world.sign_in("ann", jwt, address(2)), SignIn::Check { .. }));
    assert_eq!(world.sign_in("ann", Proof::Token, address(2)), refused(Code::LoginBadAccessToken));
}
