//! People, groups and requests: what is more than talk in open rooms.

use crate::{
    harness::Broker,
    reconnect::{Relay, options},
    user::{LIMIT, address, connect, connect_with, home, message, next, run, texts},
};
use katydid_sdk::{
    Act, Client, Event, Events, Options, Place, Proof, Refusal, Replay, Root, Window, json, request,
};

fn friends() -> Place {
    Place::group("friends").expect("a name")
}

/// Somebody with an account, signed in with the password.
async fn registered(broker: &Broker, name: &str) -> (Client, Events) {
    let (newcomer, _) = connect(broker, name).await;
    let account =
        request::Register { name: name.into(), password: format!("{name}'s password"), ..Default::default() };
    newcomer.register(&account).await.expect("registering is open");
    newcomer.close(LIMIT).await;
    connect_with(Options::new(address(broker)).user(name).password(account.password)).await
}

/// The next event of a kind that happened to the user.
async fn happening(events: &mut Events, kind: &str) -> katydid_sdk::UserEvent {
    loop {
        match next(events).await {
            Event::User(event) if event.kind == kind => return event,
            _ => {}
        }
    }
}

#[test]
fn a_guest_is_told_its_name_and_speaks_under_it() {
    let broker = Broker::start();
    run(async {
        let (guest, mut heard) = connect_with(Options::new(address(&broker))).await;
        let me = guest.whoami().await.unwrap();
        assert_eq!((me.kind, me.user.as_str()), (request::Kind::Guest, &*guest.user()));
        guest.join(&home(), Replay::Live).await.unwrap();
        guest.say(&home(), "hello", None).await.unwrap();
        assert_eq!(message(&mut heard).await.from, me.user);
    });
}

#[test]
fn a_name_that_must_be_free_is_refused_when_somebody_has_it() {
    let broker = Broker::start();
    run(async {
        let (_ann, _heard) = connect(&broker, "ann").await;
        let exclusive = Proof::Anonymous { exclusive: true };
        let refusal =
            Client::connect(Options::new(address(&broker)).user("ann").proof(exclusive)).await.unwrap_err();
        assert_eq!(refusal.code, "login.name-used", "{refusal}");
    });
}

#[test]
fn a_token_stands_for_the_password_until_the_end() {
    let broker = Broker::start();
    run(async {
        let (first, _) = registered(&broker, "ann").await;
        let relay = Relay::before(&broker).await;
        let mut with_token = options(relay.address(), "ann").password("ann's password");
        with_token.use_token = true;
        let (ann, mut told) = connect_with(with_token).await;
        let token = ann.token().expect("a token");
        // The password changes meanwhile: a connection that is lost comes back by the token.
        first.change_password("ann's password", "another").await.unwrap();
        relay.cut();
        while !matches!(next(&mut told).await, Event::Disconnected(_)) {}
        assert_eq!(ann.whoami().await.unwrap().kind, request::Kind::Registered);
        ann.close(LIMIT).await;
        let late = Options::new(address(&broker)).user("ann").proof(Proof::Token(token));
        assert_eq!(Client::connect(late).await.unwrap_err().code, "login.wrong-password");
    });
}

#[test]
fn the_same_id_is_the_same_message() {
    let broker = Broker::start();
    run(async {
        let (ann, mut heard) = connect(&broker, "ann").await;
        ann.join(&home(), Replay::Live).await.unwrap();
        let first = ann.say(&home(), "once", Some("x")).await.unwrap();
        let again = ann.say(&home(), "once", Some("x")).await.unwrap();
        assert_eq!(first.seq, again.seq);
        ann.say(&home(), "end", None).await.unwrap();
        assert_eq!(texts(&mut heard, 2).await, ["once", "end"]);
    });
}

#[test]
fn a_group_is_entered_by_invitation_and_closed_by_a_kick() {
    let broker = Broker::start();
    run(async {
        let (ann, _) = registered(&broker, "ann").await;
        let (bob, mut heard) = registered(&broker, "bob").await;
        let visibility = Some(request::Visible::Private);
        ann.create(&friends(), request::Create { visibility, ..Default::default() }).await.unwrap();
        assert_eq!(bob.join(&friends(), Replay::Live).await.unwrap_err().code, "room.wrong-password");
        ann.invite(&friends(), "bob", false).await.unwrap();
        assert_eq!(happening(&mut heard, "invitation").await.body["place"], "group/friends");
        bob.join(&friends(), Replay::Live).await.unwrap();
        ann.say(&friends(), "welcome", None).await.unwrap();
        assert_eq!(texts(&mut heard, 1).await, ["welcome"]);
        ann.kick(&friends(), "bob", true).await.unwrap();
        loop {
            if let Event::Refused { place, .. } = next(&mut heard).await {
                assert_eq!(place, friends());
                break;
            }
        }
        let refusal = bob.say(&friends(), "still here?", None).await.unwrap_err();
        assert!(refusal.code.starts_with("room."), "{refusal}");
        let groups =
            bob.places(Root::Group, &request::List { mine: true, ..Default::default() }).await.unwrap();
        assert_eq!(groups.places, []);
    });
}

#[test]
fn private_messages_wait_and_are_read_in_both_directions() {
    let broker = Broker::start();
    run(async {
        let (ann, mut told) = registered(&broker, "ann").await;
        let (bob, _) = registered(&broker, "bob").await;
        bob.close(LIMIT).await;
        ann.tell("bob", "are you there?", None).await.unwrap();
        let (bob, mut heard) =
            connect_with(Options::new(address(&broker)).user("bob").password("bob's password")).await;
        let waiting = message(&mut heard).await;
        assert_eq!((waiting.place, waiting.from.as_str()), (Place::user("ann").unwrap(), "ann"));
        bob.tell("ann", "yes", None).await.unwrap();
        let answer = message(&mut told).await;
        assert_eq!((answer.text().as_ref(), &answer.place), ("yes", &Place::user("bob").unwrap()));
        let page =
            bob.history(&Place::user("ann").unwrap(), Window::Before(None)).next().await.unwrap().unwrap();
        let said: Vec<_> = page.entries.iter().map(|entry| entry.payload.clone().unwrap()).collect();
        assert_eq!(said, ["are you there?", "yes"]);
        assert_eq!(ann.tell("nobody", "x", None).await.unwrap_err().code, "user.not-found");
    });
}

#[test]
fn history_is_paged_in_both_directions_and_always_ascends() {
    let broker = Broker::start();
    run(async {
        let (ann, _) = connect(&broker, "ann").await;
        for number in 1..=25 {
            ann.say(&home(), number.to_string(), None).await.unwrap();
        }
        for (window, expected) in [
            (Window::Before(None), vec![(16..=25), (6..=15), (1..=5)]),
            (Window::Before(Some(10)), vec![1..=9]),
            (Window::After(5), vec![(6..=15), (16..=25)]),
            (Window::Between(3, 8), vec![4..=7]),
        ] {
            let mut pages = ann.history(&home(), window).page_entries(10);
            for numbers in expected {
                let page = pages.next().await.expect("a page").unwrap();
                let seqs: Vec<u64> = page.entries.iter().map(|entry| entry.seq).collect();
                assert_eq!(seqs, numbers.collect::<Vec<u64>>(), "{window:?}");
            }
            match pages.next().await {
                None => {}
                Some(page) => assert_eq!(page.unwrap().entries, [], "{window:?}"),
            }
        }
    });
}

#[test]
fn what_was_said_is_changed_by_who_may() {
    let broker = Broker::start();
    run(async {
        let (ann, mut heard) = connect(&broker, "ann").await;
        let (bob, _) = connect(&broker, "bob").await;
        ann.join(&home(), Replay::Live).await.unwrap();
        let said = ann.say(&home(), "helo", None).await.unwrap();
        ann.act(&home(), &Act::Edit { seq: said.seq, text: "hello".into() }).await.unwrap();
        let refusal = bob.act(&home(), &Act::Edit { seq: said.seq, text: "bye".into() }).await.unwrap_err();
        assert_eq!(refusal.code, "message.not-yours");
        loop {
            if let Event::Change(change) = next(&mut heard).await {
                assert_eq!((change.kind.as_str(), &change.body["seq"]), ("edit", &json!(said.seq)));
                break;
            }
        }
        ann.act(&home(), &Act::Delete { seq: said.seq }).await.unwrap();
        let page = ann.history(&home(), Window::After(0)).next().await.unwrap().unwrap();
        assert!(page.entries[0].is_deleted && page.entries[0].payload.is_none(), "{page:?}");
    });
}

#[test]
fn refusals_of_requests_carry_the_brokers_code() {
    let broker = Broker::start();
    run(async {
        let (ann, _) = connect(&broker, "ann").await;
        let code = |refusal: Refusal| refusal.code.into_owned();
        assert_eq!(code(ann.request("no/such/verb", json!({})).await.unwrap_err()), "request.unknown-verb");
        let odd = ann.request("whoami", json!({ "odd": 1 })).await;
        assert_eq!(code(odd.unwrap_err()), "request.unknown-field");
        assert_eq!(code(ann.unregister().await.unwrap_err()), "login.needed");
        let (bob, _) = registered(&broker, "bob").await;
        assert_eq!(code(bob.change_password("not it", "new").await.unwrap_err()), "login.wrong-password");
        let bare = Options::new(address(&broker)).user("bob");
        for (options, expected) in
            [(bare.clone(), "login.registered-name"), (bare.password("not it"), "login.wrong-password")]
        {
            assert_eq!(code(Client::connect(options).await.unwrap_err()), expected);
        }
    });
}

#[test]
fn a_broker_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let mut broker = Broker::start();
    run(async {
        let relay = Relay::before(&broker).await;
        let (bob, mut heard) = connect_with(options(relay.address(), "bob")).await;
        bob.join(&home(), Replay::Live).await.unwrap();
        let (ann, _) = connect_with(options(relay.address(), "ann")).await;
        let said = tokio::spawn(async move {
            for number in 0..400 {
                ann.say(&home(), number.to_string(), None).await.unwrap();
            }
        });
        let mut all = Vec::new();
        for _ in 0..4 {
            all.extend(texts(&mut heard, 60).await);
            broker.kill();
            broker.restart();
            relay.follow(&broker);
        }
        all.extend(texts(&mut heard, 160).await);
        let expected: Vec<String> = (0..400).map(|number| number.to_string()).collect();
        assert_eq!(all, expected);
        said.await.unwrap();
    });
}

#[test]
fn what_was_said_is_searched_page_by_page() {
    let broker = Broker::start();
    run(async {
        let (ann, _heard) = connect(&broker, "ann").await;
        ann.join(&home(), Replay::Live).await.unwrap();
        for number in 1..=7 {
            ann.say(&home(), format!("message number {number}"), None).await.unwrap();
        }
        let what = request::Find { query: "number mess*".into(), limit: Some(3), ..Default::default() };
        let (mut pages, mut found) = (ann.search(what), Vec::new());
        while let Some(hits) = pages.next().await {
            found.extend(hits.unwrap().into_iter().map(|hit| hit.seq));
        }
        assert_eq!(found, [7, 6, 5, 4, 3, 2, 1]);
        let bad = request::Find { query: "?".into(), ..Default::default() };
        let mut pages = ann.search(bad);
        assert_eq!(pages.next().await.unwrap().unwrap_err().code, "search.bad-query");
        assert!(pages.next().await.is_none());
    });
}
