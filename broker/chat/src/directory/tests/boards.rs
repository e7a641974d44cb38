//! Boards: threads, expiry, rights.

use super::world::World;
use crate::directory::*;
use crate::permission::UserKind;
use crate::request::{BoardList, BoardPost};

fn post(
    world: &mut World,
    session: SessionId,
    title: &str,
    parent: u64,
    expiry_secs: u64,
) -> Result<u64, String> {
    let (group, title, text) = ("g".to_owned(), title.to_owned(), "one\ntwo".to_owned());
    let ask = BoardPost { group, title, text, parent, expiry_secs };
    world.typed(session, "board/post", &ask).map(|posted| posted.number)
}

fn board() -> World {
    let mut world = World::usual();
    world.register(1, "ann");
    world.register(2, "bob");
    world.register(3, "cat");
    world.ask(1, "group/create", r#"{"name":"g","members":["bob"]}"#).unwrap();
    world
}

fn numbers(world: &mut World, parent: Option<u64>) -> Vec<u64> {
    let ask = BoardList { group: "g".into(), parent, ..BoardList::default() };
    let list = world.typed(1, "board/list", &ask).unwrap();
    list.posts.iter().map(|post| post.number).collect()
}

#[test]
fn threads_are_listed_read_and_survive_a_restart() {
    let mut world = board();
    assert_eq!(post(&mut world, 1, "first", 0, 0), Ok(1));
    assert!(
        world.said.iter().any(|effect| matches!(effect, Effect::Say { within, .. } if within == "post/ann"))
    );
    assert_eq!(post(&mut world, 2, "re", 1, 0), Ok(2));
    assert_eq!(post(&mut world, 2, "re re", 2, 0), Ok(3));
    assert_eq!(post(&mut world, 2, "x", 9, 0), Err("board.not-found".into()));
    assert_eq!(post(&mut world, 3, "x", 0, 0), Err("room.not-member".into()));
    assert_eq!(world.ask(3, "board/list", r#"{"group":"g"}"#).unwrap_err(), "room.not-member");
    world.restart();
    world.open(1, "ann", UserKind::Registered);
    assert_eq!((numbers(&mut world, None), numbers(&mut world, Some(0))), (vec![1, 2, 3], vec![1]));
    let got = world.ask(1, "board/get", r#"{"group":"g","number":1}"#).unwrap();
    assert_eq!((got["replies"].as_u64(), got["lines"].as_u64()), (Some(1), Some(2)));
    assert_eq!((got["text"].as_str(), got["from"].as_str()), (Some("one\ntwo"), Some("ann")));
    assert_eq!(world.ask(1, "board/get", r#"{"group":"g","number":7}"#).unwrap_err(), "board.not-found");
}

#[test]
fn a_post_that_goes_takes_its_replies_and_numbers_are_not_given_again() {
    let mut world = board();
    post(&mut world, 1, "keeps", 0, 0).unwrap();
    post(&mut world, 1, "goes", 0, 50).unwrap();
    post(&mut world, 2, "re", 2, 0).unwrap();
    post(&mut world, 2, "re re", 3, 0).unwrap();
    let got = world.ask(1, "board/get", r#"{"group":"g","number":2}"#).unwrap();
    assert_eq!(got["expires_in_secs"], 50);
    world.restart();
    world.open(1, "ann", UserKind::Registered);
    world.pass(50_000);
    assert_eq!(numbers(&mut world, None), [1]);
    assert_eq!(post(&mut world, 1, "next", 0, 0), Ok(5));
    world.restart();
    world.open(1, "ann", UserKind::Registered);
    world.ask(1, "board/delete", r#"{"group":"g","number":5}"#).unwrap();
    world.restart();
    world.open(1, "ann", UserKind::Registered);
    assert_eq!(post(&mut world, 1, "next", 0, 0), Ok(6));
}

#[test]
fn only_the_author_and_moderators_delete() {
    let mut world = board();
    post(&mut world, 1, "ann's", 0, 0).unwrap();
    post(&mut world, 2, "bob's", 0, 0).unwrap();
    assert_eq!(world.ask(2, "board/delete", r#"{"group":"g","number":1}"#).unwrap_err(), "message.not-yours");
    world.ask(1, "board/delete", r#"{"group":"g","number":2}"#).unwrap();
    world.ask(1, "group/mute", r#"{"name":"g","user":"bob"}"#).unwrap();
    assert_eq!(post(&mut world, 2, "x", 0, 0), Err("room.muted".into()));
}

#[test]
fn what_an_erased_user_wrote_is_gone_and_the_thread_stands() {
    let mut world = board();
    post(&mut world, 2, "bob's", 0, 0).unwrap();
    post(&mut world, 1, "re", 1, 0).unwrap();
    world.operate("user/erase", r#"{"name":"bob"}"#).unwrap();
    assert!(world.said.contains(&Effect::Erase { user: "bob".into() }));
    let got = world.ask(1, "board/get", r#"{"group":"g","number":1}"#).unwrap();
    assert_eq!(
        (got["title"].as_str(), got["text"].as_str(), got["replies"].as_u64()),
        (Some(""), Some(""), Some(1))
    );
    assert_eq!(got["from"], crate::name::ERASED);
    world.restart();
}

#[test]
fn a_board_is_bounded_and_goes_with_its_group() {
    let mut world = board();
    world.directory.set_rules(Rules { posts_per_group: 2, ..Rules::default() });
    post(&mut world, 1, "a", 0, 100).unwrap();
    post(&mut world, 1, "b", 0, 0).unwrap();
    assert_eq!(post(&mut world, 1, "c", 0, 0), Err("board.full".into()));
    world.directory.set_rules(Rules { board_bytes: 20, ..Rules::default() });
    assert_eq!(post(&mut world, 1, "c", 0, 0), Err("board.full".into()), "all boards together");
    world.ask(1, "group/delete", r#"{"name":"g"}"#).unwrap();
    assert!(!world.disk.keys().any(|key| key.starts_with(b"g")), "no post is left");
    world.pass(200_000);
    world.restart();
}
