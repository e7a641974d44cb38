use super::*;

const ROLES: [&str; 8] = ["nobody", "guest", "invited", "member", "muted", "moderator", "owner", "banned"];

fn standing(role: &str) -> (Option<Standing>, UserKind) {
    let plain = Standing::default();
    let (standing, kind) = match role {
        "nobody" => return (None, UserKind::Registered),
        "guest" => return (None, UserKind::Guest),
        "invited" => (Standing { is_invited: true, ..plain }, UserKind::Anonymous),
        "member" => (Standing { role: Some(Role::Member), ..plain }, UserKind::Registered),
        "muted" => (Standing { role: Some(Role::Member), is_muted: true, ..plain }, UserKind::Registered),
        "moderator" => (Standing { role: Some(Role::Moderator), ..plain }, UserKind::Registered),
        "owner" => (Standing { role: Some(Role::Owner), ..plain }, UserKind::Registered),
        _ => (Standing { is_banned: true, ..plain }, UserKind::Registered),
    };
    (Some(standing), kind)
}

const PLACES: [&str; 8] = [
    "public room",
    "private room",
    "secret room",
    "read-only room",
    "registered room",
    "public group",
    "secret group",
    "pair",
];

fn rules(place: &str) -> PlaceRules {
    PlaceRules {
        visibility: match place {
            "private room" => Visibility::Private,
            "secret room" | "secret group" | "pair" => Visibility::Secret,
            _ => Visibility::Public,
        },
        is_group: place.ends_with("group"),
        is_pair: place == "pair",
        registered_only: place == "registered room",
        read_only: place == "read-only room",
        history_messages: 0,
        history_ms: 0,
        history_bytes: 0,
    }
}

fn letter(outcome: Result<(), Code>) -> char {
    match outcome {
        Ok(()) => '+',
        Err(Code::RoomNotFound) => '?',
        Err(Code::GroupNotFound | Code::UserNotFound) => '?',
        Err(Code::WrongPassword) => 'p',
        Err(Code::Banned) => 'b',
        Err(Code::Muted) => 'm',
        Err(Code::ReadOnly) => 'r',
        Err(Code::RegisteredOnly) => 'g',
        Err(Code::NotMember) => 'i',
        Err(Code::NotModerator) => 'M',
        Err(Code::NotOwner) => 'O',
        Err(Code::NotYours) => 'Y',
        Err(_) => '!',
    }
}

/// What each role gets in each place: `+` yes, otherwise the letter of [`letter`].
const TABLE: [(Deed, [&str; 8]); 19] = [
    (
        Deed::Find,
        [
            "++++++++", // public room
            "++++++++", // private room
            "??+++++?", // secret room
            "++++++++", // read-only room
            "++++++++", // registered room
            "++++++++", // public group
            "??+++++?", // secret group
            "??+++++?", // pair
        ],
    ),
    (
        Deed::Enter { with_password: false },
        [
            "+++++++b", // public room
            "pp+++++b", // private room
            "??+++++?", // secret room
            "+++++++b", // read-only room
            "+gg++++b", // registered room
            "+++++++b", // public group
            "??+++++?", // secret group
            "??+++++?", // pair
        ],
    ),
    (
        Deed::Enter { with_password: true },
        [
            "+++++++b", // public room
            "+++++++b", // private room
            "+++++++b", // secret room
            "+++++++b", // read-only room
            "+gg++++b", // registered room
            "+++++++b", // public group
            "+++++++b", // secret group
            "??+++++?", // pair
        ],
    ),
    (
        Deed::Read,
        [
            "+++++++b", // public room
            "iii++++b", // private room
            "??i++++?", // secret room
            "+++++++b", // read-only room
            "+gg++++b", // registered room
            "iii++++b", // public group
            "??i++++?", // secret group
            "??i++++?", // pair
        ],
    ),
    (
        Deed::Say,
        [
            "++++m++b", // public room
            "iii+m++b", // private room
            "??i+m++?", // secret room
            "rrrrm++b", // read-only room
            "+gg+m++b", // registered room
            "iii+m++b", // public group
            "??i+m++?", // secret group
            "??i+m++?", // pair
        ],
    ),
    (
        Deed::Mark,
        [
            "+++++++b", // public room
            "iii++++b", // private room
            "??i++++?", // secret room
            "+++++++b", // read-only room
            "+gg++++b", // registered room
            "iii++++b", // public group
            "??i++++?", // secret group
            "??i++++?", // pair
        ],
    ),
    (
        Deed::Post,
        [
            "++++m++b", // public room
            "iii+m++b", // private room
            "??i+m++?", // secret room
            "rrrrm++b", // read-only room
            "+gg+m++b", // registered room
            "iii+m++b", // public group
            "??i+m++?", // secret group
            "??i+m++?", // pair
        ],
    ),
    (
        Deed::Edit { own: true },
        [
            "++++m++b", // public room
            "iii+m++b", // private room
            "??i+m++?", // secret room
            "++++m++b", // read-only room
            "+gg+m++b", // registered room
            "iii+m++b", // public group
            "??i+m++?", // secret group
            "??i+m++?", // pair
        ],
    ),
    (
        Deed::Edit { own: false },
        [
            "YYYYYYYb", // public room
            "YYYYYYYb", // private room
            "??YYYYY?", // secret room
            "YYYYYYYb", // read-only room
            "YggYYYYb", // registered room
            "YYYYYYYb", // public group
            "??YYYYY?", // secret group
            "??YYYYY?", // pair
        ],
    ),
    (
        Deed::Delete { own: true },
        [
            "++++m++b", // public room
            "iii+m++b", // private room
            "??i+m++?", // secret room
            "++++m++b", // read-only room
            "+gg+m++b", // registered room
            "iii+m++b", // public group
            "??i+m++?", // secret group
            "??i+m++?", // pair
        ],
    ),
    (
        Deed::Delete { own: false },
        [
            "MMMMM++b", // public room
            "MMMMM++b", // private room
            "??MMM++?", // secret room
            "MMMMM++b", // read-only room
            "MggMM++b", // registered room
            "MMMMM++b", // public group
            "??MMM++?", // secret group
            "??MMM++?", // pair
        ],
    ),
    (
        Deed::Pin,
        [
            "MMMMM++b", // public room
            "MMMMM++b", // private room
            "??MMM++?", // secret room
            "MMMMM++b", // read-only room
            "MggMM++b", // registered room
            "MMMMM++b", // public group
            "??MMM++?", // secret group
            "??M++++?", // pair
        ],
    ),
    (
        Deed::Invite,
        [
            "iii++++b", // public room
            "iii++++b", // private room
            "??i++++?", // secret room
            "iii++++b", // read-only room
            "igg++++b", // registered room
            "iii++++b", // public group
            "??i++++?", // secret group
            "??i++++?", // pair
        ],
    ),
    (
        Deed::Remove { other: None },
        [
            "MMMMM++b", // public room
            "MMMMM++b", // private room
            "??MMM++?", // secret room
            "MMMMM++b", // read-only room
            "MggMM++b", // registered room
            "MMMMM++b", // public group
            "??MMM++?", // secret group
            "??MMM++?", // pair
        ],
    ),
    (
        Deed::Remove { other: Some(Role::Member) },
        [
            "MMMMM++b", // public room
            "MMMMM++b", // private room
            "??MMM++?", // secret room
            "MMMMM++b", // read-only room
            "MggMM++b", // registered room
            "MMMMM++b", // public group
            "??MMM++?", // secret group
            "??MMM++?", // pair
        ],
    ),
    (
        Deed::Remove { other: Some(Role::Moderator) },
        [
            "MMMMMM+b", // public room
            "MMMMMM+b", // private room
            "??MMMM+?", // secret room
            "MMMMMM+b", // read-only room
            "MggMMM+b", // registered room
            "MMMMMM+b", // public group
            "??MMMM+?", // secret group
            "??MMMM+?", // pair
        ],
    ),
    (
        Deed::Remove { other: Some(Role::Owner) },
        [
            "MMMMMMMb", // public room
            "MMMMMMMb", // private room
            "??MMMMM?", // secret room
            "MMMMMMMb", // read-only room
            "MggMMMMb", // registered room
            "MMMMMMMb", // public group
            "??MMMMM?", // secret group
            "??MMMMM?", // pair
        ],
    ),
    (
        Deed::Describe,
        [
            "MMMMM++b", // public room
            "MMMMM++b", // private room
            "??MMM++?", // secret room
            "MMMMM++b", // read-only room
            "MggMM++b", // registered room
            "MMMMM++b", // public group
            "??MMM++?", // secret group
            "??MMM++?", // pair
        ],
    ),
    (
        Deed::Own,
        [
            "OOOOOO+b", // public room
            "OOOOOO+b", // private room
            "??OOOO+?", // secret room
            "OOOOOO+b", // read-only room
            "OggOOO+b", // registered room
            "OOOOOO+b", // public group
            "??OOOO+?", // secret group
            "??OOOO+?", // pair
        ],
    ),
];

#[test]
fn every_deed_of_every_role_in_every_place_is_as_the_table_says() {
    for (deed, expected) in TABLE {
        for (place, expected) in PLACES.into_iter().zip(expected) {
            let row = ROLES.map(|role| {
                let (standing, kind) = standing(role);
                letter(permits(deed, &rules(place), standing, kind))
            });
            assert_eq!(String::from_iter(row), expected, "{deed:?} in {place} by {ROLES:?}");
        }
    }
}

#[test]
fn who_may_not_find_a_secret_place_learns_nothing() {
    for (deed, _) in TABLE.into_iter().filter(|(deed, _)| *deed != Deed::Enter { with_password: true }) {
        let missing = Err(Code::not_found(false));
        assert_eq!(permits(deed, &rules("secret room"), None, UserKind::Registered), missing, "{deed:?}");
    }
}
