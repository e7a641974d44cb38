//! SCRAM-SHA-256: the password proves itself and never crosses the wire; and the rules of AUTH, chapter 4.12.

use serde_json::json;

use super::exchange::{
    AGAIN, CONTINUE, SCRAM, answer, auth, connect, enter, expect_auth, expect_dismissed, expect_entered,
    expect_refused, first, open,
};
use super::people::Person;
use crate::harness::packet::{PINGREQ, Packet, disconnect_with, frame};
use crate::harness::{Broker, Connect, Publish, RawClient, Settings, V5};

/// A broker with an account, and perhaps arguments.
fn broker(arguments: &'static [&'static str]) -> Broker {
    let broker = Broker::with(Settings { arguments, ..Settings::default() });
    let mut ann = Person::connect(&broker, V5, "ann");
    ann.must("register", &json!({ "name": "ann", "password": "secret" }));
    broker
}

fn begin(broker: &Broker, name: &str) -> RawClient {
    open(broker, &connect(&format!("first-{name}"), SCRAM, Some(&first(name))))
}

/// [MQTT-4.12.0-2], [MQTT-4.12.0-5]: AUTH of the server says 0x18, and AUTH and CONNACK name the method of CONNECT.
#[test]
fn who_knows_the_password_proves_it_and_so_does_the_server() {
    let mut broker = broker(&[]);
    for round in 0..2 {
        // CONNECT need not say the name, nor have the first message.
        let whole = connect("whole", SCRAM, Some(&first("ann"))).user("ann");
        for connect in [whole, connect("nameless", SCRAM, Some(&first("ann"))), connect("bare", SCRAM, None)]
        {
            let mut client = open(&broker, &connect);
            if connect.client_id == "bare" {
                assert_eq!(expect_auth(&mut client, CONTINUE, SCRAM), None);
                client.send(&auth(CONTINUE, SCRAM, Some(&first("ann"))));
            }
            let shown = answer(&mut client, "ann", "secret");
            assert_eq!(expect_entered(&mut client, SCRAM), Some(shown), "round {round}");
            client.publish("room/Home/msg/ann", "it is me", 1);
        }
        broker.kill();
        broker.restart();
    }
    let mut ann = Person::enter(&broker, &Connect::new(V5, "x").user("ann").password(b"secret"), "ann");
    ann.must("password", &json!({ "old": "secret", "new": "n\u{e9}w" }));
    enter(&broker, "ann", "n\u{e9}w").ping();
    let mut old = begin(&broker, "ann");
    answer(&mut old, "ann", "secret");
    expect_refused(&mut old, 0x86, "login.wrong-password");
}

/// [MQTT-4.12.0-4]: authentication that fails is CONNACK with a reason, and the end.
#[test]
fn a_wrong_password_and_a_name_that_is_not_there_look_alike() {
    let mut broker = broker(&["--accounts.failures-per-name", "100"]);
    let mut salts = Vec::new();
    for round in 0..2 {
        for name in ["ann", "nobody", "Ann"] {
            let mut client = begin(&broker, name);
            let challenge = expect_auth(&mut client, CONTINUE, SCRAM).expect("a challenge");
            let (_, rest) = challenge.split_once(',').expect("parts");
            salts.push((name, rest.to_owned()));
            let (message, _) = super::exchange::last(name, "guess", &challenge);
            client.send(&auth(CONTINUE, SCRAM, Some(&message)));
            expect_refused(&mut client, 0x86, "login.wrong-password");
        }
        if round == 0 {
            broker.kill();
            broker.restart();
        }
    }
    assert_eq!(salts[..3], salts[3..], "the same salt each time, for each");
    assert!(salts[0].1 != salts[1].1 && salts[1].1 != salts[2].1);
    let shape = |salt: &str| (salt.len(), salt.split_once("i=").map(|(_, rounds)| rounds.to_owned()));
    assert_eq!(shape(&salts[0].1), shape(&salts[1].1));
}

#[test]
fn an_account_of_the_password_file_has_what_its_line_has() {
    let broker = Broker::with(Settings { account: Some(("carl", "secret")), ..Settings::default() });
    enter(&broker, "carl", "secret").ping();
    let file = std::fs::read_to_string(broker.folder().join("passwords")).expect("it is there");
    let (bare, _) = file.split_once(":SCRAM-SHA-256$").expect("a verifier");
    broker.write("passwords", &format!("{bare}\n"));
    broker.reload();
    expect_refused(&mut begin(&broker, "carl"), 0x8C, "login.no-scram");
    let connect = Connect::new(V5, "carl").user("carl").password(b"secret");
    Person::enter(&broker, &connect, "carl");
}

/// [MQTT-4.12.0-3], [MQTT-3.1.2-30]: until CONNACK a client sends AUTH 0x18 of the method, or DISCONNECT, and nothing else;
/// no DISCONNECT goes out before CONNACK [MQTT-3.14.0-1].
#[test]
fn what_breaks_the_exchange_ends_it() {
    let broker = broker(&["--accounts.failures-per-name", "100"]);
    let good = first("ann");
    for bad in [
        frame(PINGREQ, &[]),
        Publish::new("x", "y").bytes(V5),
        connect("again", SCRAM, None).bytes(),
        auth(AGAIN, SCRAM, Some(&good)),
        auth(0x00, SCRAM, Some(&good)),
        auth(CONTINUE, "SCRAM-SHA-1", Some(&good)),
        frame(0xF0, &[]),
    ] {
        let mut client = begin(&broker, "ann");
        expect_auth(&mut client, CONTINUE, SCRAM);
        client.send(&bad);
        client.expect_connack_refusal(0x82);
    }
    for bad in [&b""[..], b"x", b"p=tls-unique,,n=ann,r=x", b"n,a=bob,n=ann,r=x", b"n,,n=\xFF,r=x"] {
        let mut client = open(&broker, &connect("bad first", SCRAM, Some(bad)));
        expect_refused(&mut client, 0x87, "login.bad-exchange");
        let mut client = begin(&broker, "ann");
        expect_auth(&mut client, CONTINUE, SCRAM);
        client.send(&auth(CONTINUE, SCRAM, Some(bad)));
        expect_refused(&mut client, 0x87, "login.bad-exchange");
    }
    // Nothing twice is nothing.
    let mut silent = open(&broker, &connect("silent", SCRAM, None));
    expect_auth(&mut silent, CONTINUE, SCRAM);
    silent.send(&auth(CONTINUE, SCRAM, None));
    expect_refused(&mut silent, 0x87, "login.bad-exchange");
    let mut other = open(&broker, &connect("other", SCRAM, Some(&good)).user("bob"));
    expect_refused(&mut other, 0x86, "login.other-name");
    let mut leaving = begin(&broker, "ann");
    expect_auth(&mut leaving, CONTINUE, SCRAM);
    leaving.send(&disconnect_with(0, &[]));
    leaving.expect_closed();
    // Without a provider there are no tokens.
    for method in ["scram-sha-256", "SCRAM-SHA-256-PLUS", "OAUTHBEARER", "OAUTH2-JWT", ""] {
        open(&broker, &connect("method", method, Some(&good))).expect_connack_refusal(0x8C);
    }
    enter(&broker, "ann", "secret").ping();
}

#[test]
fn an_exchange_that_is_not_finished_in_time_is_closed() {
    let broker = broker(&["--limits.connect-timeout", "2s"]);
    let mut slow = begin(&broker, "ann");
    expect_auth(&mut slow, CONTINUE, SCRAM);
    slow.expect_closed();
    enter(&broker, "ann", "secret").ping();
}

/// [MQTT-4.12.1-1]: re-authentication has the method of CONNECT, and the name. All else flows meanwhile.
#[test]
fn who_is_connected_proves_it_again() {
    let broker = broker(&[]);
    let mut ann = enter(&broker, "ann", "secret");
    ann.subscribe("plain", 0);
    for _ in 0..2 {
        ann.send(&auth(AGAIN, SCRAM, Some(&first("ann"))));
        let challenge = expect_auth(&mut ann, CONTINUE, SCRAM).expect("a challenge");
        ann.publish("plain", "meanwhile", 1);
        ann.expect_message("meanwhile");
        let (message, shown) = super::exchange::last("ann", "secret", &challenge);
        ann.send(&auth(CONTINUE, SCRAM, Some(&message)));
        assert_eq!(expect_auth(&mut ann, 0x00, SCRAM), Some(shown));
        ann.ping();
    }
}

/// [MQTT-4.12.1-2]: re-authentication that fails ends the connection.
#[test]
fn who_fails_to_prove_it_again_is_disconnected() {
    let broker = broker(&["--accounts.failures-per-name", "100"]);
    let good = first("ann");
    for bad in [
        auth(AGAIN, "SCRAM-SHA-1", Some(&good)),
        auth(AGAIN, "OAUTHBEARER", Some(&good)),
        auth(CONTINUE, SCRAM, Some(&good)),
        auth(0x00, SCRAM, None),
    ] {
        let mut ann = enter(&broker, "ann", "secret");
        ann.send(&bad);
        ann.expect_disconnect(0x82);
    }
    let mut ann = enter(&broker, "ann", "secret");
    ann.send(&auth(AGAIN, SCRAM, Some(&good)));
    ann.send(&auth(AGAIN, SCRAM, Some(&good)));
    // The challenge of the first may come before.
    let end = match ann.expect_packet() {
        Packet::Auth { .. } => ann.expect_packet(),
        other => other,
    };
    assert!(matches!(end, Packet::Disconnect { reason: 0x82, .. }), "{end:?}");
    let mut ann = enter(&broker, "ann", "secret");
    ann.send(&auth(AGAIN, SCRAM, Some(&good)));
    answer(&mut ann, "ann", "guess");
    expect_dismissed(&mut ann, 0x87, "login.wrong-password");
    let mut ann = enter(&broker, "ann", "secret");
    ann.send(&auth(AGAIN, SCRAM, Some(&first("bob"))));
    expect_dismissed(&mut ann, 0x87, "login.other-name");
    let mut ann = enter(&broker, "ann", "secret");
    ann.send(&auth(AGAIN, SCRAM, Some(b"nonsense")));
    expect_dismissed(&mut ann, 0x87, "login.bad-exchange");
    // Who came without a method has none.
    let mut plain = broker.connect(&Connect::new(V5, "plain").user("ann").password(b"secret"));
    plain.send(&auth(AGAIN, SCRAM, Some(&good)));
    plain.expect_disconnect(0x82);
}

#[test]
fn failed_proofs_count_as_failed_passwords_do() {
    let broker = broker(&["--accounts.failures-per-name", "3"]);
    let mut bystander = enter(&broker, "ann", "secret");
    // All have their challenge before the first fails: what comes out after the limit says nothing.
    let mut guesses: Vec<(RawClient, String)> = (0..5)
        .map(|index| {
            let mut client = open(&broker, &connect(&format!("guess {index}"), SCRAM, Some(&first("ann"))));
            let challenge = expect_auth(&mut client, CONTINUE, SCRAM).expect("a challenge");
            (client, challenge)
        })
        .collect();
    let mut finish = |password: &str| {
        let (mut client, challenge) = guesses.pop().expect("one more");
        let (message, _) = super::exchange::last("ann", password, &challenge);
        client.send(&auth(CONTINUE, SCRAM, Some(&message)));
        client
    };
    for _ in 0..3 {
        expect_refused(&mut finish("guess"), 0x86, "login.wrong-password");
    }
    expect_refused(&mut finish("guess"), 0x9F, "rate.sign-in");
    expect_refused(&mut finish("secret"), 0x9F, "rate.sign-in");
    expect_refused(&mut begin(&broker, "ann"), 0x9F, "rate.sign-in");
    let password = Connect::new(V5, "password").user("ann").password(b"secret");
    expect_refused(&mut open(&broker, &password), 0x9F, "rate.sign-in");
    bystander.send(&auth(AGAIN, SCRAM, Some(&first("ann"))));
    expect_dismissed(&mut bystander, 0x9F, "rate.sign-in");
    // The name is limited, and nobody else.
    let mut other = begin(&broker, "other");
    expect_auth(&mut other, CONTINUE, SCRAM);
}

#[test]
fn failed_proofs_of_an_address_count_together() {
    let broker = broker(&["--accounts.failures-per-address", "3"]);
    for name in ["one", "two", "three"] {
        let mut client = begin(&broker, name);
        answer(&mut client, name, "guess");
        expect_refused(&mut client, 0x86, "login.wrong-password");
    }
    expect_refused(&mut begin(&broker, "ann"), 0x9F, "rate.sign-in");
}
