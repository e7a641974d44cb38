//! Search in what was said: where one may look, and what one may still see when something was found.

use super::world::World;
use crate::code::Code;
use crate::directory::*;
use crate::search::{Findings, Hit, Quest, Spot};
use serde_json::Value;
use std::cmp::Reverse;

const BYTES: usize = 1 << 16;

/// Asks, and gives what is to be looked for.
fn ask(world: &mut World, session: SessionId, body: &str) -> Result<(Ticket, Quest), String> {
    let ticket = world.ticket();
    world.step(Command::Request { ticket, session, verb: "history/search", body: body.as_bytes() });
    let quest = world.said.iter().find_map(|effect| match effect {
        Effect::Search { quest, .. } => Some((**quest).clone()),
        _ => None,
    });
    match quest {
        Some(quest) => Ok((ticket, quest)),
        None => Err(world.take_answer(ticket).unwrap_err()),
    }
}

fn hit(place: &str, seq: u64, from: &str) -> Hit {
    let spot = Spot { time_ms: Reverse(seq), place: place.into(), seq: Reverse(seq) };
    let topic = format!("{place}/msg/{from}");
    Hit { spot, seq, time_ms: seq, topic, id: None, text: "hello".into() }
}

/// Something was found in each of the places; the places that are in the answer.
fn found(world: &mut World, ticket: Ticket, hits: &[(&str, &str)]) -> Vec<String> {
    let hits = hits.iter().zip((1..=9).rev()).map(|((place, from), seq)| hit(place, seq, from)).collect();
    let findings = Ok(Findings { hits, next: None });
    world.step(Command::Found { ticket, findings: &findings, bytes: BYTES });
    let answer = world.take_answer(ticket).expect("hits");
    super::contract::check_answer("history/search", &answer);
    let places = |hits: &Vec<Value>| {
        hits.iter().map(|hit| hit["place"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    answer["hits"].as_array().map(places).unwrap_or_default()
}

fn places(quest: &Quest) -> Vec<String> {
    let mut places: Vec<String> = quest.places.iter().map(ToString::to_string).collect();
    places.sort();
    places
}

fn world() -> World {
    let mut world = World::usual();
    world.register(1, "ann");
    world.register(2, "bob");
    world.ask(1, "room/create", r#"{"name":"den","password":"sesame"}"#).unwrap();
    world.ask(1, "room/create", r#"{"name":"hidden","visibility":"secret"}"#).unwrap();
    world.ask(1, "room/create", r#"{"name":"open"}"#).unwrap();
    world.ask(1, "group/create", r#"{"name":"g","members":["bob"]}"#).unwrap();
    world.ask(2, "room/join", r#"{"name":"den","password":"sesame"}"#).unwrap();
    world.step(Command::Open {
        place: "user/ann/bob",
        user: "bob",
        kind: crate::permission::UserKind::Registered,
    });
    world
}

#[test]
fn without_a_place_it_is_every_place_that_one_is_in() {
    let mut world = world();
    let (_, quest) = ask(&mut world, 2, r#"{"query":"hello"}"#).unwrap();
    assert_eq!(places(&quest), ["group/g", "room/den", "user/ann/bob"]);
    for (body, code) in [
        (r#"{"query":"hello","place":"room/hidden"}"#, "room.not-found"),
        (r#"{"query":"hello","place":"room/nowhere"}"#, "room.not-found"),
        (r#"{"query":"hello","place":"user/nobody"}"#, "user.not-found"),
        (r#"{"query":"hello","place":"den"}"#, "request.bad-field"),
        (r#"{"query":"?"}"#, "search.bad-query"),
        (r#"{}"#, "search.bad-query"),
        (r#"{"query":"a","limit":101}"#, "request.bad-field"),
        (r#"{"query":"a","before":7}"#, "request.bad-field"),
        (r#"{"query":"a","before":"noon"}"#, "request.bad-field"),
        (r#"{"query":"a","next":"7"}"#, "request.bad-field"),
        (r#"{"query":"a","words":7}"#, "request.unknown-field"),
    ] {
        assert_eq!(ask(&mut world, 2, body).unwrap_err(), code, "{body}");
    }
    let body = r#"{"query":"a","place":"room/open","before":7,"after":"2026-01-02T03:04:05.678Z"}"#;
    let (_, quest) = ask(&mut world, 2, body).unwrap();
    assert_eq!((places(&quest), quest.before_seq), (vec!["room/open".into()], 7), "a public room is open");
    assert_eq!((quest.from_ms, quest.until_ms), (1_767_323_045_678, u64::MAX));
}

#[test]
fn rights_are_looked_at_when_something_was_found() {
    let all = [("room/den", "ann"), ("group/g", "ann"), ("user/ann/bob", "bob"), ("room/hidden", "ann")];
    for (verb, body, left) in [
        ("whoami", "{}", vec!["room/den", "group/g", "user/ann/bob"]),
        ("room/ban", r#"{"name":"den","user":"bob"}"#, vec!["group/g", "user/ann/bob"]),
        ("group/kick", r#"{"name":"g","user":"bob"}"#, vec!["room/den", "user/ann/bob"]),
        ("room/delete", r#"{"name":"den"}"#, vec!["group/g", "user/ann/bob"]),
    ] {
        let mut world = world();
        let (ticket, _) = ask(&mut world, 2, r#"{"query":"hello"}"#).unwrap();
        world.ask(1, verb, body).unwrap();
        assert_eq!(found(&mut world, ticket, &all), left, "{verb}");
    }
    let mut world = world();
    let (ticket, _) = ask(&mut world, 2, r#"{"query":"hello"}"#).unwrap();
    world.ask(2, "room/leave", r#"{"name":"den"}"#).unwrap();
    world.ask(2, "ignore/add", r#"{"user":"ann"}"#).unwrap();
    assert_eq!(found(&mut world, ticket, &all), ["user/ann/bob"]);
    let (_, quest) = ask(&mut world, 2, r#"{"query":"hello"}"#).unwrap();
    assert_eq!(quest.without.iter().map(|name| &**name).collect::<Vec<_>>(), ["ann"]);
}

#[test]
fn a_place_that_is_made_anew_is_another_place() {
    let mut world = world();
    let (ticket, _) = ask(&mut world, 2, r#"{"query":"hello","place":"room/open"}"#).unwrap();
    world.ask(1, "room/delete", r#"{"name":"open"}"#).unwrap();
    world.ask(1, "room/create", r#"{"name":"open"}"#).unwrap();
    assert_eq!(found(&mut world, ticket, &[("room/open", "ann")]), [""; 0]);
}

#[test]
fn searches_are_paid_as_pages_and_run_four_at_a_time() {
    let mut world = World::new(Rules { pages_per_sec: 1, ..Rules::default() });
    world.register(1, "ann");
    world.register(2, "bob");
    world.ask(1, "room/create", r#"{"name":"den"}"#).unwrap();
    let body = r#"{"query":"hello","place":"room/den"}"#;
    let running: Vec<Ticket> = (0..4).map(|_| ask(&mut world, 1, body).unwrap().0).collect();
    assert_eq!(ask(&mut world, 1, body).unwrap_err(), "rate.history");
    for ticket in running {
        world.step(Command::Found { ticket, findings: &Err(Code::RateHistory), bytes: BYTES });
        assert_eq!(world.take_answer(ticket).unwrap_err(), "rate.history");
    }
    let mut asked = 0;
    while let Ok((ticket, _)) = ask(&mut world, 1, body) {
        assert_eq!(found(&mut world, ticket, &[("room/den", "ann")]).len(), 1);
        asked += 1;
    }
    assert_eq!(asked, 5, "ten pages, of which five are spent");
    assert!(world.ask(1, "whoami", "{}").is_ok(), "talk has its own budget");
}

#[test]
fn who_is_gone_gets_nothing() {
    let mut world = world();
    let (ticket, _) = ask(&mut world, 2, r#"{"query":"hello"}"#).unwrap();
    world.operate("user/remove", r#"{"name":"bob"}"#).unwrap();
    let findings = Ok(Findings { hits: vec![hit("room/den", 1, "ann")], next: None });
    world.step(Command::Found { ticket, findings: &findings, bytes: BYTES });
    assert!(!world.answers[&ticket].contains("hello"), "{}", world.answers[&ticket]);
    world.step(Command::Found { ticket: 7, findings: &findings, bytes: BYTES });
    assert!(world.said.is_empty(), "nobody asked");
}
