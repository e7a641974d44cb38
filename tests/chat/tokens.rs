//! Access tokens of a provider: as password and through AUTH, for as long as they are good.

use std::io::ErrorKind;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::exchange::{
    AGAIN, auth, connect, enter, expect_auth, expect_dismissed, expect_entered, expect_refused, open,
};
use super::people::Person;
use super::provider::{Mood, Provider, claims};
use crate::harness::packet::Packet;
use crate::harness::{Broker, Connect, RawClient, Read, Settings, V3, V5};

const BEARER: &str = "OAUTHBEARER";
const JWT: &str = "OAUTH2-JWT";

fn broker_with(provider: &Provider, arguments: &'static [&'static str]) -> Broker {
    let config = provider.config("leeway = \"0s\"");
    let broker = Broker::with(Settings { config, arguments, ..Settings::default() });
    broker.await_log("the provider's keys", 1);
    broker
}

fn broker(arguments: &'static [&'static str]) -> (Arc<Provider>, Broker) {
    let provider = Provider::start();
    let broker = broker_with(&provider, arguments);
    (provider, broker)
}

fn with_password(user: &str, token: &str) -> Connect {
    Connect::new(V5, &format!("password-{user}")).user(user).password(token.as_bytes())
}

fn bearer(name: &str, token: &str) -> Vec<u8> {
    format!("n,{name},\x01host=localhost\x01port=1883\x01auth=Bearer {token}\x01\x01").into_bytes()
}

#[test]
fn mosquitto_signs_in_with_a_token_as_password() {
    let (provider, broker) = broker(&[]);
    let (port, token) = (broker.address().port().to_string(), provider.token("ann", 60));
    for version in ["311", "5"] {
        let run = |user: &str| {
            Command::new("mosquitto_pub")
                .args(["-h", "127.0.0.1", "-p", &port, "-V", version, "-u", user, "-P", &token])
                .args(["-t", "room/Home/msg/ann", "-q", "1", "-m", "hi"])
                .stderr(Stdio::null())
                .status()
        };
        match run("ann") {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return println!("mosquitto_pub is not installed; our own client shows the same");
            }
            status => assert!(status.expect("it runs").success(), "{version}"),
        }
        assert!(!run("bob").expect("it runs").success(), "{version}");
    }
}

#[test]
fn a_token_is_a_password_and_makes_the_account() {
    let (provider, mut broker) = broker(&[]);
    for round in 0..2 {
        for version in [V3, V5] {
            let token = provider.token("ann", 600);
            let connect = Connect::new(version, "ann").user("ann").password(token.as_bytes());
            let mut ann = Person::enter(&broker, &connect, "ann");
            let me = ann.must("whoami", &json!({}));
            assert_eq!((&me["kind"], &me["number"]), (&json!("registered"), &json!(1)), "round {round}");
            // There is no password to change.
            let refused = ann.refused("password", &json!({ "old": "x", "new": "y" }));
            assert_eq!(refused, "login.wrong-password");
        }
        expect_refused(&mut open(&broker, &Connect::new(V5, "x").user("ann")), 0x86, "login.registered-name");
        broker.kill();
        broker.restart();
        broker.await_log("the provider's keys were fetched", round + 2);
    }
    assert!(!broker.log().contains("eyJ"), "no token is logged");
}

#[test]
fn a_token_proves_who_one_is_through_auth() {
    let (provider, broker) = broker(&[]);
    let token = provider.token("ann", 60);
    for (method, data) in
        [(JWT, token.clone().into_bytes()), (BEARER, bearer("", &token)), (BEARER, bearer("a=ann", &token))]
    {
        for connect in
            [connect("nameless", method, Some(&data)), connect("named", method, Some(&data)).user("ann")]
        {
            let mut client = open(&broker, &connect);
            assert_eq!(expect_entered(&mut client, method), None);
            client.publish("room/Home/msg/ann", "it is me", 1);
        }
        let mut invited = open(&broker, &connect("invited", method, None));
        assert_eq!(expect_auth(&mut invited, 0x18, method), None);
        invited.send(&auth(0x18, method, Some(&data)));
        assert_eq!(expect_entered(&mut invited, method), None);
    }
    for (method, data, code, reason) in [
        (BEARER, bearer("a=bob", &token), 0x86, "login.other-name"),
        (BEARER, token.clone().into_bytes(), 0x87, "login.bad-exchange"),
        (JWT, b"nonsense".to_vec(), 0x86, "login.bad-access-token"),
        (JWT, Vec::new(), 0x86, "login.bad-access-token"),
        (JWT, vec![0xFF; 60_000], 0x86, "login.bad-access-token"),
        (JWT, provider.token("ann", -1).into_bytes(), 0x86, "login.access-expired"),
        (JWT, provider.token("a/b", 60).into_bytes(), 0x86, "login.bad-access-token"),
    ] {
        expect_refused(&mut open(&broker, &connect("bad", method, Some(&data))), code, reason);
    }
    let data = token.into_bytes();
    expect_refused(&mut open(&broker, &connect("x", JWT, Some(&data)).user("bob")), 0x86, "login.other-name");
    // SCRAM is there too, beside it.
    Person::connect(&broker, V5, "carl").must("register", &json!({ "name": "carl", "password": "secret" }));
    enter(&broker, "carl", "secret").ping();
}

#[test]
fn tokens_that_are_not_good_are_refused_by_code() {
    let (provider, broker) = broker(&["--accounts.failures-per-name", "100"]);
    let changed = |claim: &str, value: serde_json::Value| {
        let mut claims = claims("ann", 60);
        claims[claim] = value;
        provider.sign("first", &claims)
    };
    let good = provider.token("ann", 60);
    let (payload, signature) =
        (good.split('.').nth(1).expect("a part"), good.split('.').nth(2).expect("a part"));
    let header = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let secret = EncodingKey::from_secret(b"secret");
    for (token, reason) in [
        (provider.token("bob", 60), "login.other-name"),
        (provider.token("ann", -1), "login.access-expired"),
        (changed("iss", json!("https://other.example.org")), "login.bad-access-token"),
        (changed("aud", json!("another service")), "login.bad-access-token"),
        (changed("preferred_username", json!(null)), "login.bad-access-token"),
        (changed("nbf", json!(u32::MAX)), "login.bad-access-token"),
        (changed("sub", json!(null)), "login.bad-access-token"),
        (provider.sign("hidden", &claims("ann", 60)), "login.bad-access-token"),
        (encode(&Header::default(), &claims("ann", 60), &secret).expect("signed"), "login.bad-access-token"),
        (format!("{}.{payload}.", header(r#"{"alg":"none"}"#)), "login.bad-access-token"),
        (
            format!("{}.{payload}.{signature}", header(r#"{"alg":"EdDSA","kid":"first"}"#)),
            "login.bad-access-token",
        ),
    ] {
        expect_refused(&mut open(&broker, &with_password("ann", &token)), 0x86, reason);
        let mut old = broker.open(V3);
        old.send(&Connect::new(V3, "old").user("ann").password(token.as_bytes()).bytes());
        old.expect_connack_refusal(4);
    }
    broker.connect(&with_password("ann", &good)).ping();
}

#[test]
fn accounts_of_others_are_not_given_away() {
    let (provider, broker) = broker(&[]);
    Person::connect(&broker, V5, "ann").must("register", &json!({ "name": "ann", "password": "secret" }));
    let token = provider.token("ann", 60);
    expect_refused(&mut open(&broker, &with_password("ann", &token)), 0x87, "login.other-account");
    expect_refused(
        &mut open(&broker, &connect("x", JWT, Some(token.as_bytes()))),
        0x87,
        "login.other-account",
    );
    broker.connect(&with_password("bob", &provider.token("bob", 60))).ping();
    let mut other = claims("bob", 60);
    other["sub"] = json!("another bob");
    let token = provider.sign("first", &other);
    expect_refused(&mut open(&broker, &with_password("bob", &token)), 0x87, "login.other-account");
    // A name that somebody only has for now goes to whom the provider knows.
    let mut squatter = Person::connect(&broker, V5, "carl");
    broker.connect(&with_password("carl", &provider.token("carl", 60))).ping();
    squatter.client.expect_disconnect(0x98);
}

/// What the broker says when a token expires, and after how long from then on.
fn expiry(client: &mut RawClient, begun: Instant) -> Duration {
    expect_dismissed(client, 0xA0, "login.access-expired");
    begun.elapsed()
}

#[test]
fn a_connection_ends_with_its_token_unless_it_shows_another() {
    let (provider, broker) = broker(&[]);
    let begun = Instant::now();
    let (short, long) = (provider.token("ann", 5), provider.token("ann", 600));
    let mut by_password = broker.connect(&with_password("ann", &short));
    let mut stays = open(&broker, &connect("stays", JWT, Some(short.as_bytes())));
    expect_entered(&mut stays, JWT);
    let mut goes = open(&broker, &connect("goes", BEARER, Some(&bearer("", &short))));
    expect_entered(&mut goes, BEARER);
    stays.send(&auth(AGAIN, JWT, Some(long.as_bytes())));
    assert_eq!(expect_auth(&mut stays, 0x00, JWT), None);
    // It must be the same user, with a token that is good.
    for (token, code, reason) in [
        (provider.token("bob", 60), 0x87, "login.other-name"),
        (provider.token("ann", -1), 0xA0, "login.access-expired"),
        ("nonsense".into(), 0x87, "login.bad-access-token"),
    ] {
        let mut client = open(&broker, &connect("again", JWT, Some(long.as_bytes())));
        expect_entered(&mut client, JWT);
        client.send(&auth(AGAIN, JWT, Some(token.as_bytes())));
        expect_dismissed(&mut client, code, reason);
    }
    // The time of a token is in whole seconds, so that it may begin up to one before.
    for client in [&mut by_password, &mut goes] {
        let took = expiry(client, begun);
        assert!(took > Duration::from_millis(3900) && took < Duration::from_secs(30), "{took:?}");
    }
    stays.ping();
}

#[test]
fn a_key_that_is_new_is_fetched_and_one_that_is_not_there_is_not_fetched_for_ever() {
    let (provider, broker) = broker(&["--accounts.failures-per-address", "1000"]);
    let new = provider.sign("second", &claims("ann", 60));
    expect_refused(&mut open(&broker, &with_password("ann", &new)), 0x86, "login.bad-access-token");
    assert_eq!(provider.asked(), 2, "at the start, and for the key");
    provider.show(&["second"]);
    broker.connect(&with_password("ann", &new)).ping();
    assert_eq!(provider.asked(), 3);
    // The old key went with the old set.
    expect_refused(
        &mut open(&broker, &with_password("ann", &provider.token("ann", 60))),
        0x86,
        "login.bad-access-token",
    );
    for index in 0..50 {
        let user = format!("user{index}");
        let token = provider.sign("hidden", &claims(&user, 60));
        expect_refused(&mut open(&broker, &with_password(&user, &token)), 0x86, "login.bad-access-token");
    }
    assert!(provider.asked() <= 1 + 5 + 1, "{} times", provider.asked());
    // SIGHUP asks in any case.
    let asked = provider.asked();
    provider.show(&["first", "second", "hidden"]);
    broker.reload();
    broker.await_log("the provider's keys were fetched", asked + 1);
    for kid in ["first", "second", "hidden"] {
        let token = provider.sign(kid, &claims("ann", 60));
        broker.connect(&with_password("ann", &token)).ping();
    }
}

#[test]
fn a_provider_that_is_down_holds_up_nobody() {
    let provider = Provider::start();
    provider.answer(Mood::Silent);
    let config = provider.config("");
    let broker = Broker::with(Settings { config, ..Settings::default() });
    let mut waiting = open(&broker, &with_password("ann", &provider.token("ann", 60)));
    let mut by_auth = open(&broker, &connect("x", JWT, Some(provider.token("ann", 60).as_bytes())));
    // Others come in, with a password too, and the token still waits.
    let mut bob = Person::connect(&broker, V5, "bob");
    assert_eq!(waiting.read_within(Duration::ZERO), Read::Silence);
    bob.must("register", &json!({ "name": "bob", "password": "secret" }));
    broker.connect(&Connect::new(V5, "bob").user("bob").password(b"secret")).ping();
    for client in [&mut waiting, &mut by_auth] {
        expect_refused(client, 0x88, "login.provider");
    }
    provider.answer(Mood::Failing);
    for _ in 0..20 {
        let mut client = open(&broker, &with_password("ann", &provider.token("ann", 60)));
        expect_refused(&mut client, 0x88, "login.provider");
    }
    assert!(provider.asked() <= 1 + 5 + 1, "{} times", provider.asked());
    provider.answer(Mood::Well);
    broker.reload();
    broker.await_log("the provider's keys were fetched", 1);
    // What nobody could look at counted as nobody's failure.
    broker.connect(&with_password("ann", &provider.token("ann", 60))).ping();
    provider.answer(Mood::Failing);
    broker.connect(&with_password("ann", &provider.token("ann", 60))).ping();
}

#[test]
fn keys_come_from_a_file_and_a_reload_takes_the_provider_away() {
    let provider = Provider::start();
    let openid = "[openid]\nissuer = \"https://id.example.org\"\naudience = \"katydid\"\nuser-claim = \"nick\"\n\
                  keys-file = \"{folder}/keys\"\n";
    let broker = Broker::with(Settings {
        config: openid.into(),
        files: vec![("keys", provider.set().to_string())],
        ..Settings::default()
    });
    let mut claims = claims("somebody", 60);
    claims["nick"] = json!("ann");
    let token = |kid: &str| with_password("ann", &provider.sign(kid, &claims));
    broker.connect(&token("first")).ping();
    provider.show(&["second"]);
    broker.write("keys", &provider.set().to_string());
    broker.reload();
    broker.connect(&token("second")).ping();
    let config = std::fs::read_to_string(broker.folder().join("katydid.toml")).expect("it is there");
    broker.write("katydid.toml", config.split("[openid]").next().expect("a part"));
    broker.reload();
    let mut client = open(&broker, &token("second"));
    expect_refused(&mut client, 0x86, "login.wrong-password");
    let mut client = open(&broker, &connect("x", JWT, Some(b"x")));
    client.expect_connack_refusal(0x8C);
}

#[test]
fn failed_tokens_count_as_failed_passwords_do() {
    let (provider, broker) = broker(&["--accounts.failures-per-name", "3"]);
    let good = provider.token("ann", 60);
    let mut inside = open(&broker, &connect("inside", JWT, Some(good.as_bytes())));
    expect_entered(&mut inside, JWT);
    let bad = with_password("ann", &provider.token("ann", -1));
    for _ in 0..3 {
        expect_refused(&mut open(&broker, &bad), 0x86, "login.access-expired");
    }
    for connect in [
        bad.clone(),
        with_password("ann", &good),
        connect("x", JWT, Some(good.as_bytes())).user("ann"),
        connect("x", BEARER, Some(&bearer("a=ann", &good))),
        connect("x", "SCRAM-SHA-256", Some(&super::exchange::first("ann"))),
    ] {
        expect_refused(&mut open(&broker, &connect), 0x9F, "rate.sign-in");
    }
    inside.send(&auth(AGAIN, JWT, Some(good.as_bytes())));
    expect_dismissed(&mut inside, 0x9F, "rate.sign-in");
    // Tokens that say themselves whose they are count together, for the address.
    for _ in 0..3 {
        let mut client = open(&broker, &connect("x", JWT, Some(b"nonsense")));
        expect_refused(&mut client, 0x86, "login.bad-access-token");
    }
    expect_refused(&mut open(&broker, &connect("x", JWT, Some(b"nonsense"))), 0x9F, "rate.sign-in");
    let bob = provider.token("bob", 60);
    let mut client = open(&broker, &connect("x", JWT, Some(bob.as_bytes())).user("bob"));
    assert!(matches!(client.expect_packet(), Packet::ConnAck(ack) if ack.code == 0));
}
