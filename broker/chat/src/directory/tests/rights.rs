//! Who may ask for what: every verb, for each role, in each kind of place.

use super::world::World;
use crate::directory::*;
use crate::permission::UserKind;
use serde_json::json;

/// Who asks, in the order of the columns. Nobody is a session without a name; ignored is a member whom the others do not
/// hear, which takes no right away.
const ROLES: [(&str, SessionId); 10] = [
    ("nobody", 99),
    ("guest", 8),
    ("anonymous", 7),
    ("registered", 6),
    ("member", 3),
    ("moderator", 2),
    ("owner", 1),
    ("banned", 4),
    ("ignored", 5),
    ("operator", 0),
];

/// The columns' places; each line of the table is first of rooms and then of groups.
const PLACES: [&str; 4] = ["public", "private", "secret", "read-only"];

/// A world with one place, and everybody where the role says.
fn world(root: &str, kind: &str) -> World {
    let mut world = World::usual();
    for (session, name) in [
        (1, "owner"),
        (2, "moderator"),
        (3, "member"),
        (4, "banned"),
        (5, "ignored"),
        (6, "registered"),
        (9, "victim"),
        (10, "stranger"),
        (11, "outcast"),
        (12, "silent"),
    ] {
        world.register(session, name);
    }
    world.connect(7, "anonymous");
    world.open(8, "guest-8", UserKind::Guest);
    let settings = match kind {
        "private" => json!({ "name": "den", "password": "sesame" }),
        "secret" => json!({ "name": "den", "visibility": "secret" }),
        "read-only" => json!({ "name": "den", "read_only": true }),
        _ => json!({ "name": "den" }),
    };
    let mut must = |session, verb: &str, body: serde_json::Value| {
        let verb = if verb.contains('/') { verb.to_owned() } else { format!("{root}/{verb}") };
        world.ask(session, &verb, &body.to_string()).unwrap_or_else(|code| panic!("{verb} {body}: {code}"));
    };
    must(1, "create", settings);
    for (session, name) in [(2, "moderator"), (3, "member"), (5, "ignored"), (9, "victim"), (12, "silent")] {
        must(1, "invite", json!({ "name": "den", "user": name }));
        must(session, "join", json!({ "name": "den" }));
        must(session, "ignore/add", json!({ "user": if session == 5 { "victim" } else { "ignored" } }));
        if session == 5 {
            must(1, "ignore/add", json!({ "user": "ignored" }));
        }
    }
    must(1, "moderators", json!({ "name": "den", "add": ["moderator"] }));
    if root == "group" {
        must(1, "board/post", json!({ "group": "den", "title": "One", "text": "..." }));
    }
    must(1, "mute", json!({ "name": "den", "user": "silent" }));
    for name in ["banned", "outcast"] {
        must(1, "ban", json!({ "name": "den", "user": name }));
    }
    world
}

fn letter(outcome: &Result<serde_json::Value, String>) -> char {
    let Err(code) = outcome else { return '+' };
    match code.as_str() {
        "login.needed" => 'L',
        "request.not-permitted" => 'P',
        "room.not-found" | "group.not-found" => '?',
        "room.exists" | "group.exists" => 'x',
        "room.wrong-password" => 'p',
        "room.banned" => 'b',
        "room.read-only" => 'r',
        "room.not-member" => 'i',
        "room.not-moderator" => 'M',
        "room.not-owner" => 'O',
        "room.owner-stays" => 's',
        "message.not-yours" => 'Y',
        "request.not-found" => 'n',
        "login.wrong-password" => 'w',
        "request.bad-field" => 'F',
        other => panic!("{other} is in no line of the table"),
    }
}

fn row(root: &str, kind: &str, verb: &str, body: &str) -> String {
    let in_place = TABLE.iter().any(|(known, ..)| *known == verb) && !verb.contains('/');
    let verb = match verb {
        "history" | "users" | "counters" => verb.to_owned(),
        _ if in_place => format!("{root}/{verb}"),
        _ => verb.to_owned(),
    };
    let body = body.replace("PLACE", &format!("{root}/den"));
    let cell = |(_, session): (&str, SessionId)| {
        let mut world = world(root, kind);
        let ticket = world.ticket();
        let (verb, body) = (&*verb, body.as_bytes());
        world.step(match session {
            0 => Command::Operate { ticket, verb, body },
            _ => Command::Request { ticket, session, verb, body },
        });
        // History is read, and searched, by others, once that is permitted.
        let reads =
            world.said.iter().any(|effect| matches!(effect, Effect::Read { .. } | Effect::Search { .. }));
        letter(&if reads { Ok(json!({})) } else { world.take_answer(ticket) })
    };
    ROLES.map(cell).into_iter().collect()
}

/// What each role gets, in the order of [`ROLES`]: `+` yes, otherwise the letter of [`letter`]; a line of rooms and one of
/// groups, in the order of [`PLACES`].
#[rustfmt::skip]
const TABLE: [(&str, &str, [[&str; 4]; 2]); 28] = [
    ("create", r#"{"name":"den"}"#, [["LLxxxxxxxx", "LLxxxxxxxx", "LLxxxxxxxx", "LLxxxxxxxx"], ["LLxxxxxxxx", "LLxxxxxxxx", "LLxxxxxxxx", "LLxxxxxxxx"]]),
    ("create", r#"{"name":"new"}"#, [["LL++++++++", "LL++++++++", "LL++++++++", "LL++++++++"], ["LL++++++++", "LL++++++++", "LL++++++++", "LL++++++++"]]),
    ("delete", r#"{"name":"den"}"#, [["LOOOOO+bO+", "LOOOOO+bO+", "L???OO+?O+", "LOOOOO+bO+"], ["LOOOOO+bO+", "LOOOOO+bO+", "L???OO+?O+", "LOOOOO+bO+"]]),
    ("join", r#"{"name":"den"}"#, [["L++++++b+F", "Lppp+++b+F", "L???+++?+F", "L++++++b+F"], ["LL+++++b+F", "Lppp+++b+F", "L???+++?+F", "LL+++++b+F"]]),
    ("join", r#"{"name":"den","password":"sesame"}"#, [["L++++++b+F", "L++++++b+F", "L???+++?+F", "L++++++b+F"], ["LL+++++b+F", "LL+++++b+F", "L???+++?+F", "LL+++++b+F"]]),
    ("leave", r#"{"name":"den"}"#, [["Liii++ii+i", "Liii++ii+i", "L???++i?+i", "Liii++ii+i"], ["Liii++si+i", "Liii++si+i", "L???++s?+i", "Liii++si+i"]]),
    ("list", r#"{}"#, [["L+++++++++", "L+++++++++", "L+++++++++", "L+++++++++"], ["L+++++++++", "L+++++++++", "L+++++++++", "L+++++++++"]]),
    ("info", r#"{"name":"den"}"#, [["L+++++++++", "L+++++++++", "L???+++?++", "L+++++++++"], ["L+++++++++", "L+++++++++", "L???+++?++", "L+++++++++"]]),
    ("members", r#"{"name":"den"}"#, [["L+++++++++", "Liii+++i++", "L???+++?++", "L+++++++++"], ["L+++++++++", "Liii+++i++", "L???+++?++", "L+++++++++"]]),
    ("invite", r#"{"name":"den","user":"stranger"}"#, [["Liii+++b++", "Liii+++b++", "L???+++?++", "Liii+++b++"], ["Liii+++b++", "Liii+++b++", "L???+++?++", "Liii+++b++"]]),
    ("kick", r#"{"name":"den","user":"victim"}"#, [["LMMMM++bM+", "LMMMM++bM+", "L???M++?M+", "LMMMM++bM+"], ["LMMMM++bM+", "LMMMM++bM+", "L???M++?M+", "LMMMM++bM+"]]),
    ("kick", r#"{"name":"den","user":"moderator"}"#, [["LMMMMM+bM+", "LMMMMM+bM+", "L???MM+?M+", "LMMMMM+bM+"], ["LMMMMM+bM+", "LMMMMM+bM+", "L???MM+?M+", "LMMMMM+bM+"]]),
    ("kick", r#"{"name":"den","user":"owner"}"#, [["LMMMMMMbMO", "LMMMMMMbMO", "L???MMM?MO", "LMMMMMMbMO"], ["LMMMMMMbMO", "LMMMMMMbMO", "L???MMM?MO", "LMMMMMMbMO"]]),
    ("ban", r#"{"name":"den","user":"victim"}"#, [["LMMMM++bM+", "LMMMM++bM+", "L???M++?M+", "LMMMM++bM+"], ["LMMMM++bM+", "LMMMM++bM+", "L???M++?M+", "LMMMM++bM+"]]),
    ("unban", r#"{"name":"den","user":"outcast"}"#, [["LMMMM++bM+", "LMMMM++bM+", "L???M++?M+", "LMMMM++bM+"], ["LMMMM++bM+", "LMMMM++bM+", "L???M++?M+", "LMMMM++bM+"]]),
    ("mute", r#"{"name":"den","user":"victim"}"#, [["LMMMM++bM+", "LMMMM++bM+", "L???M++?M+", "LMMMM++bM+"], ["LMMMM++bM+", "LMMMM++bM+", "L???M++?M+", "LMMMM++bM+"]]),
    ("unmute", r#"{"name":"den","user":"silent"}"#, [["LMMMM++bM+", "LMMMM++bM+", "L???M++?M+", "LMMMM++bM+"], ["LMMMM++bM+", "LMMMM++bM+", "L???M++?M+", "LMMMM++bM+"]]),
    ("moderators", r#"{"name":"den","add":["victim"]}"#, [["LOOOOO+bO+", "LOOOOO+bO+", "L???OO+?O+", "LOOOOO+bO+"], ["LOOOOO+bO+", "LOOOOO+bO+", "L???OO+?O+", "LOOOOO+bO+"]]),
    ("settings", r#"{"name":"den","subject":"x"}"#, [["LMMMM++bM+", "LMMMM++bM+", "L???M++?M+", "LMMMM++bM+"], ["LMMMM++bM+", "LMMMM++bM+", "L???M++?M+", "LMMMM++bM+"]]),
    ("settings", r#"{"name":"den","visibility":"public"}"#, [["LOOOOO+bO+", "LOOOOO+bO+", "L???OO+?O+", "LOOOOO+bO+"], ["LOOOOO+bO+", "LOOOOO+bO+", "L???OO+?O+", "LOOOOO+bO+"]]),
    ("history", r#"{"place":"PLACE"}"#, [["L++++++b++", "Liii+++b++", "L???+++?++", "L++++++b++"], ["Liii+++b++", "Liii+++b++", "L???+++?++", "Liii+++b++"]]),
    ("history/search", r#"{"query":"hello","place":"PLACE"}"#, [["L++++++b++", "Liii+++b++", "L???+++?++", "L++++++b++"], ["Liii+++b++", "Liii+++b++", "L???+++?++", "Liii+++b++"]]),
    ("users", r#"{"place":"PLACE"}"#, [["L+++++++++", "Liii+++i++", "L???+++?++", "L+++++++++"], ["L+++++++++", "Liii+++i++", "L???+++?++", "L+++++++++"]]),
    ("counters", r#"{"place":"PLACE"}"#, [["L+++++++++", "L+++++++++", "L???+++?++", "L+++++++++"], ["L+++++++++", "L+++++++++", "L???+++?++", "L+++++++++"]]),
    ("board/post", r#"{"group":"den","title":"t","text":"x"}"#, [[""; 4], ["Liii+++b++", "Liii+++b++", "L???+++?++", "Liiir++br+"]]),
    ("board/list", r#"{"group":"den"}"#, [[""; 4], ["Liii+++b++", "Liii+++b++", "L???+++?++", "Liii+++b++"]]),
    ("board/get", r#"{"group":"den","number":1}"#, [[""; 4], ["Liii+++b++", "Liii+++b++", "L???+++?++", "Liii+++b++"]]),
    ("board/delete", r#"{"group":"den","number":1}"#, [[""; 4], ["LiiiY++bY+", "LiiiY++bY+", "L???Y++?Y+", "LiiiY++bY+"]]),
];

fn every_verb(root: &str, at: usize) {
    for (verb, body, expected) in TABLE {
        for (kind, expected) in PLACES.into_iter().zip(expected[at]).filter(|(_, row)| !row.is_empty()) {
            assert_eq!(row(root, kind, verb, body), expected, "{root}/{verb} {body}, {kind}");
        }
    }
}

#[test]
fn every_verb_about_a_room_is_permitted_as_the_table_says() {
    every_verb("room", 0);
}

#[test]
fn every_verb_about_a_group_is_permitted_as_the_table_says() {
    every_verb("group", 1);
}

/// The same for what is about no place.
#[rustfmt::skip]
const ALONE: [(&str, &str, &str); 27] = [
    ("whoami", "{}", "L+++++++++"),
    ("register", r#"{"name":"new","password":"pw"}"#, "L+++++++++"),
    ("password", r#"{"old":"guess","new":"pw"}"#, "LLLwwwwwwL"),
    ("token/create", "{}", "LLL++++++L"),
    ("token/list", "{}", "LLL++++++L"),
    ("token/revoke", r#"{"key":"none"}"#, "LLLnnnnnnL"),
    ("profile/get", r#"{"user":"victim"}"#, "L+++++++++"),
    ("profile/set", r#"{"display":"x"}"#, "LL++++++++"),
    ("presence/set", r#"{"text":"x"}"#, "L+++++++++"),
    ("users", "{}", "L+++++++++"),
    ("search", r#"{"text":"x"}"#, "L+++++++++"),
    ("friend/add", r#"{"user":"victim"}"#, "LLL++++++L"),
    ("friend/remove", r#"{"user":"victim"}"#, "LLLnnnnnnL"),
    ("friend/list", "{}", "LLL++++++L"),
    ("ignore/add", r#"{"user":"victim"}"#, "LL++++++++"),
    ("ignore/remove", r#"{"user":"nobody"}"#, "LLnnnnnnnn"),
    ("ignore/list", "{}", "LL++++++++"),
    ("offer", r#"{"to":"victim","kind":"peer","data":{}}"#, "LL++++++++"),
    ("counters", "{}", "L+++++++++"),
    ("unregister", "{}", "LLL++++++L"),
    ("user/add", r#"{"name":"new","password":"pw"}"#, "LPPPPPPPP+"),
    ("user/passwd", r#"{"name":"victim","password":"pw"}"#, "LPPPPPPPP+"),
    ("user/list", "{}", "LPPPPPPPP+"),
    ("user/block", r#"{"name":"victim"}"#, "LPPPPPPPP+"),
    ("user/unblock", r#"{"name":"victim"}"#, "LPPPPPPPP+"),
    ("user/erase", r#"{"name":"victim"}"#, "LPPPPPPPP+"),
    ("user/remove", r#"{"name":"victim"}"#, "LPPPPPPPP+"),
];

#[test]
fn every_other_verb_is_permitted_as_the_table_says() {
    for (verb, body, expected) in ALONE {
        assert_eq!(row("room", "public", verb, body), expected, "{verb} {body}");
    }
    let of_places = TABLE.iter().map(|(verb, ..)| *verb);
    let listed: BTreeSet<&str> = ALONE.iter().map(|(verb, ..)| *verb).chain(of_places).collect();
    let missing: Vec<_> =
        super::contract::all_verbs().into_iter().filter(|verb| !listed.contains(verb)).collect();
    assert_eq!(missing, [""; 0], "every verb has a line");
}
