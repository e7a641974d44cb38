//! The broker's requests that legacy protocols make, and their answers as types: the one place that knows the JSON of
//! `topics.md`, so that no protocol does.
//!
//! Reading never fails: a field that is missing or of another kind reads as nothing, since a broker may be newer or
//! older than its bridge.

use crate::chat::{Call, Place, Secret};
use serde_json::{Map, Value, json};

/// Entries of a page of a listing.
const PAGE: u32 = 100;

/// What kind of user somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// With an account.
    Registered,
    /// Under a name that was free.
    Anonymous,
    /// Under a name that the broker gave.
    Guest,
}

/// A room or a group as a listing says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Who owns it; empty where nobody does.
    pub owner: String,
    /// Its number; 0 where it has none.
    pub number: u64,
    /// Who is in it.
    pub members: u64,
    /// Those of them who are connected.
    pub present: u64,
    /// Posts on its board.
    pub posts: u64,
    /// Seconds until it deletes itself if it stays unused; 0 where it does not, or is in use.
    pub expires_secs: u64,
    /// Not open to everybody.
    pub is_private: bool,
    /// Neither guests nor anonymous users.
    pub is_registered_only: bool,
}

/// Somebody in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name in the broker.
    pub user: String,
    /// What kind of user.
    pub kind: Kind,
    /// Whether connected.
    pub is_here: bool,
}

/// A post on a board.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Post {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Who posted it.
    pub owner: String,
    /// The number of the post that it answers; 0 for none.
    pub parent: u64,
    /// How many answers it has.
    pub replies: u64,
    /// Seconds until it is deleted; 0 for one that goes with its parent, or stays.
    pub expires_secs: u64,
    /// What it says; empty in a listing.
    pub text: String,
}

/// Numbers that change with what they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Rooms added and deleted.
    Rooms,
    /// Anybody going in or out of any room.
    Presence,
    /// Anybody going in or out of one's room.
    Users,
    /// Groups added and deleted.
    Groups,
    /// Posts of one's group.
    Posts,
}

fn request(verb: &'static str, json: Value) -> Call {
    Call::Request { verb, json }
}

/// The verb of a room or of a group, with its name.
fn of_place(place: &Place, room: &'static str, group: &'static str, mut fields: Value) -> Call {
    fields["name"] = place.name().into();
    match place {
        Place::Room(_) => request(room, fields),
        Place::Group(_) => request(group, fields),
    }
}

/// Makes an account; empty texts are left out.
pub fn register(user: &str, password: &Secret, display: &str, email: &str) -> Call {
    let mut fields = json!({"name": user, "password": password.reveal()});
    for (field, text) in [("display", display), ("email", email)] {
        if !text.is_empty() {
            fields[field] = text.into();
        }
    }
    request("register", fields)
}

/// Ends one's own account.
pub fn unregister() -> Call {
    request("unregister", json!({}))
}

/// Changes one's own password.
pub fn change_password(old: &Secret, new: &Secret) -> Call {
    request("password", json!({"old": old.reveal(), "new": new.reveal()}))
}

/// What a new place is to be.
#[derive(Debug, Clone, Default)]
pub struct NewPlace {
    /// Makes it private.
    pub password: Option<Secret>,
    /// Not listed either.
    pub is_secret: bool,
    /// Neither guests nor anonymous users.
    pub is_registered_only: bool,
    /// Seconds of being unused after which it deletes itself; `None` for what the broker does otherwise.
    pub expires_secs: Option<u64>,
}

/// Makes a room or a group.
pub fn create(place: &Place, new: &NewPlace) -> Call {
    let mut fields = Map::new();
    if let Some(password) = &new.password {
        fields.insert("password".into(), password.reveal().into());
        let visibility = if new.is_secret { "secret" } else { "private" };
        fields.insert("visibility".into(), visibility.into());
    }
    if new.is_registered_only {
        fields.insert("registered_only".into(), true.into());
    }
    if let Some(secs) = new.expires_secs {
        fields.insert("expiry_secs".into(), secs.into());
    }
    of_place(place, "room/create", "group/create", fields.into())
}

/// Deletes a room or a group in which nobody else is.
pub fn delete_empty(place: &Place) -> Call {
    of_place(place, "room/delete", "group/delete", json!({"if_empty": true}))
}

/// Takes one's own room out of every listing, and lets in only who knows the password.
pub fn hide_room(name: &str, password: &Secret) -> Call {
    request("room/settings", json!({"name": name, "visibility": "secret", "password": password.reveal()}))
}

/// What a place is: answered as [`listed`].
pub fn info(place: &Place) -> Call {
    of_place(place, "room/info", "group/info", json!({}))
}

/// Becomes a member of a group: answered as [`listed`].
pub fn join_group(name: &str, password: Option<&Secret>) -> Call {
    let mut fields = json!({"name": name});
    if let Some(password) = password {
        fields["password"] = password.reveal().into();
    }
    request("group/join", fields)
}

/// Ends the membership of a group.
pub fn leave_group(name: &str) -> Call {
    request("group/leave", json!({"name": name}))
}

/// Rooms that one may see, those after a name: answered as [`read_listed`].
pub fn list_rooms(after: Option<&str>) -> Call {
    request("room/list", page(json!({}), after))
}

/// Groups that one may see, those after a name: answered as [`read_listed`].
pub fn list_groups(after: Option<&str>) -> Call {
    request("group/list", page(json!({}), after))
}

/// Who is in a place, those after a name: answered as [`read_people`].
pub fn members(place: &Place, after: Option<&str>) -> Call {
    of_place(place, "room/members", "group/members", page(json!({}), after))
}

/// Makes a user a member of a group, without being asked.
pub fn add_member(group: &str, user: &str) -> Call {
    request("group/invite", json!({"name": group, "user": user, "add": true}))
}

/// Lets a user into a room without its password, and tells that user so.
pub fn invite_to_room(room: &str, user: &str) -> Call {
    request("room/invite", json!({"name": room, "user": user}))
}

/// Makes a group that nobody finds, with members; the broker makes a name that nobody guesses. Answered as [`listed`].
pub fn create_secret_group(members: &[&str]) -> Call {
    create_group(None, "secret", members)
}

/// Makes a group with members, `private` (listed) or `secret`; without a name the broker makes one that nobody guesses.
/// Answered as [`listed`].
pub fn create_group(name: Option<&str>, visibility: &str, members: &[&str]) -> Call {
    let mut fields = json!({"visibility": visibility, "members": members});
    if let Some(name) = name {
        fields["name"] = name.into();
    }
    request("group/create", fields)
}

/// Groups that one is in, those after a name: answered as [`read_listed`].
pub fn list_my_groups(after: Option<&str>) -> Call {
    request("group/list", page(json!({"mine": true}), after))
}

/// Makes another member the owner of a group.
pub fn pass_on(group: &str, user: &str) -> Call {
    request("group/settings", json!({"name": group, "owner": user}))
}

/// Changes what one is called; empty takes it away.
pub fn set_display(display: &str) -> Call {
    request("profile/set", json!({"display": display}))
}

/// Private messages are deleted from the broker once they were delivered to this user.
pub fn delete_on_delivery() -> Call {
    request("profile/set", json!({"delete_on_delivery": true}))
}

/// `online` or `away`, and a text for people.
pub fn set_presence(state: &str, text: &str) -> Call {
    request("presence/set", json!({"state": state, "text": text}))
}

/// What was said in a place (`group/x`, `user/x`): the newest, or the first from a time on (RFC 3339).
pub fn history(place: &str, count: u64, from: Option<&str>) -> Call {
    let mut fields = json!({"place": place, "count": count});
    if let Some(from) = from {
        fields["from"] = from.into();
        fields["order"] = "oldest".into();
    }
    request("history", fields)
}

/// Deletes a group that one owns.
pub fn delete_group(name: &str) -> Call {
    request("group/delete", json!({"name": name}))
}

/// A page of what was said in a place (`group/x`, `user/x`): before a number, or the newest.
pub fn history_before(place: &str, count: u64, before: Option<u64>) -> Call {
    let mut fields = json!({"place": place, "count": count, "order": "newest"});
    if let Some(before) = before {
        fields["before"] = before.into();
    }
    request("history", fields)
}

/// What was said in a place after a number.
pub fn history_after(place: &str, count: u64, after: u64) -> Call {
    request("history", json!({"place": place, "count": count, "after": after, "order": "oldest"}))
}

/// Who one is oneself.
pub fn my_profile() -> Call {
    request("profile/get", json!({}))
}

/// Who the user of a number is.
pub fn profile_of_number(number: u64) -> Call {
    request("profile/get", json!({"number": number}))
}

/// Changes one's own profile; what is not there stays.
pub fn set_profile(display: Option<&str>, email: Option<&str>) -> Call {
    let mut fields = json!({});
    for (field, text) in [("display", display), ("email", email)] {
        if let Some(text) = text {
            fields[field] = text.into();
        }
    }
    request("profile/set", fields)
}

/// A token in place of the password; 0 seconds is for ever.
pub fn create_token(label: &str, secs: u64) -> Call {
    let mut fields = json!({"label": label});
    if secs != 0 {
        fields["expiry_secs"] = secs.into();
    }
    request("token/create", fields)
}

/// Users, offline ones too, those after a name.
pub fn list_users(count: u64, after: Option<&str>) -> Call {
    let mut fields = json!({"all": true, "count": count});
    if let Some(after) = after {
        fields["after"] = after.into();
    }
    request("users", fields)
}

/// Users and groups, or one kind of them (`user`, `group`), by a part of their name.
pub fn search(text: &str, kind: &str) -> Call {
    request("search", json!({"text": text, "kind": kind, "count": PAGE}))
}

/// Puts a user on one's list of friends.
pub fn add_friend(user: &str) -> Call {
    request("friend/add", json!({"user": user}))
}

/// Takes a user off one's list of friends.
pub fn remove_friend(user: &str) -> Call {
    request("friend/remove", json!({"user": user}))
}

/// One's friends, those after a name.
pub fn list_friends(after: Option<&str>) -> Call {
    request("friend/list", page(json!({}), after))
}

/// The next page of a listing.
fn page(mut fields: Value, after: Option<&str>) -> Value {
    fields["count"] = PAGE.into();
    if let Some(after) = after {
        fields["after"] = after.into();
    }
    fields
}

/// Whether a listing goes on behind this answer.
pub fn has_more(answer: &Value) -> bool {
    answer.get("more").and_then(Value::as_bool).unwrap_or(false)
}

/// Offers another user a direct connection.
pub fn offer_peer(user: &str, port: &str, address: &str) -> Call {
    request("offer", json!({"to": user, "kind": "peer", "data": {"port": port, "address": address}}))
}

/// What an offer of a direct connection says, if a signal is one: its port and its address.
pub fn read_peer_offer(signal: &Value) -> Option<(&str, &str)> {
    let is = |field: &str, what: &str| signal.get(field).and_then(Value::as_str) == Some(what);
    if !is("type", "offer") || !is("kind", "peer") {
        return None;
    }
    let data = signal.get("data")?;
    Some((data.get("port")?.as_str()?, data.get("address")?.as_str()?))
}

/// A number that changes, of the broker or of a place: answered as [`read_counter`].
pub fn counter(place: Option<&Place>) -> Call {
    request("counters", place.map_or_else(|| json!({}), |place| json!({"place": place.to_string()})))
}

/// The posts of a group, all or those that answer one, those after a number: answered as [`read_posts`].
pub fn list_posts(group: &str, parent: Option<u64>, after: Option<u64>) -> Call {
    let mut fields = json!({"group": group, "count": PAGE});
    for (field, number) in [("parent", parent), ("after", after)] {
        if let Some(number) = number {
            fields[field] = number.into();
        }
    }
    request("board/list", fields)
}

/// One post: answered as [`read_post`].
pub fn one_post(group: &str, number: u64) -> Call {
    request("board/get", json!({"group": group, "number": number}))
}

/// Posts on the board of a group.
pub fn post(group: &str, title: &str, text: &str, parent: u64, expires_secs: Option<u64>) -> Call {
    let mut fields = json!({"group": group, "title": title, "text": text});
    if parent != 0 {
        fields["parent"] = parent.into();
    }
    if let Some(secs) = expires_secs {
        fields["expiry_secs"] = secs.into();
    }
    request("board/post", fields)
}

/// Rooms whose names have a part, without regard to case: answered as [`read_listed`].
pub fn search_rooms(text: &str) -> Call {
    request("search", json!({"text": text, "kind": "room", "count": PAGE}))
}

/// Who somebody is: read by [`read_signed_in`].
pub fn profile(user: &str) -> Call {
    request("profile/get", json!({"user": user}))
}

/// The name and the kind of who signed in.
pub fn read_signed_in(answer: &Value) -> (String, Kind) {
    (text(answer, "user"), kind(answer))
}

/// Rooms or groups.
pub fn read_listed(answer: &Value) -> Vec<Listed> {
    answer.get("places").and_then(Value::as_array).into_iter().flatten().map(listed).collect()
}

/// One room or group.
pub fn listed(value: &Value) -> Listed {
    Listed {
        name: text(value, "name"),
        owner: text(value, "owner"),
        number: number(value, "number"),
        members: number(value, "members"),
        present: number(value, "present"),
        posts: number(value, "posts"),
        expires_secs: number(value, "expires_in_secs"),
        is_private: value.get("visibility").and_then(Value::as_str).is_some_and(|it| it != "public"),
        is_registered_only: value.get("registered_only").and_then(Value::as_bool).unwrap_or(false),
    }
}

/// People in a listing.
pub fn read_people(answer: &Value) -> Vec<Person> {
    let person = |value: &Value| Person {
        user: text(value, "user"),
        kind: kind(value),
        is_here: matches!(value.get("state").and_then(Value::as_str), Some("online" | "away") | None),
    };
    answer.get("users").and_then(Value::as_array).into_iter().flatten().map(person).collect()
}

/// A counter.
pub fn read_counter(answer: &Value, counter: Counter) -> u64 {
    let field = match counter {
        Counter::Rooms => "rooms",
        Counter::Presence => "occupancy",
        Counter::Users => "members",
        Counter::Groups => "groups",
        Counter::Posts => "posts",
    };
    number(answer, field)
}

/// Posts, without their texts.
pub fn read_posts(answer: &Value) -> Vec<Post> {
    answer.get("posts").and_then(Value::as_array).into_iter().flatten().map(read_post).collect()
}

/// One post.
pub fn read_post(value: &Value) -> Post {
    Post {
        number: number(value, "number"),
        title: text(value, "title"),
        owner: text(value, "from"),
        parent: number(value, "parent"),
        replies: number(value, "replies"),
        expires_secs: number(value, "expires_in_secs"),
        text: text(value, "text"),
    }
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().into()
}

fn number(value: &Value, field: &str) -> u64 {
    value.get(field).and_then(Value::as_u64).unwrap_or_default()
}

fn kind(value: &Value) -> Kind {
    match value.get("kind").and_then(Value::as_str) {
        Some("registered") => Kind::Registered,
        Some("anonymous") => Kind::Anonymous,
        _ => Kind::Guest,
    }
}

/// Everybody who is connected, those after a name: answered as [`read_people`].
pub fn users(after: Option<&str>) -> Call {
    request("users", page(json!({}), after))
}

/// The groups that one is a member of: answered as [`read_listed`].
pub fn own_groups() -> Call {
    request("group/list", page(json!({"mine": true}), None))
}

/// Puts somebody out of a group, for good.
pub fn kick_from_group(group: &str, user: &str) -> Call {
    request("group/kick", json!({"name": group, "user": user, "ban": true}))
}

/// Offers another user a file; `data` says its name, size and checksum, and where it is.
pub fn offer_file(user: &str, data: Value) -> Call {
    request("offer", json!({"to": user, "kind": "file", "data": data}))
}

/// What an offer of a file says, if a signal is one.
pub fn read_file_offer(signal: &Value) -> Option<&Value> {
    let is = |field: &str, what: &str| signal.get(field).and_then(Value::as_str) == Some(what);
    if is("type", "offer") && is("kind", "file") { signal.get("data") } else { None }
}

/// Whether the asker is in a place, by its info.
pub fn has_role(info: &Value) -> bool {
    info.get("role").is_some_and(Value::is_string)
}

/// Whether the asker owns or moderates a place, by its info.
pub fn is_moderated(info: &Value) -> bool {
    matches!(info.get("role").and_then(Value::as_str), Some("owner" | "moderator"))
}

/// Who is banned, in a listing of members.
pub fn read_banned(answer: &Value) -> Vec<String> {
    let names = answer.get("banned").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(Into::into).collect()
}

/// Who was put out of a place, and who did it, if that is what happened there.
pub fn read_put_out(change: &Value) -> Option<(&str, &str)> {
    let text = |field: &str| change.get(field).and_then(Value::as_str);
    matches!(text("type"), Some("kicked" | "banned")).then_some(())?;
    Some((text("user")?, text("by")?))
}
