//! Groups and what is said in them. A group's id is its name; a room, where other protocols are, is a group whose id is
//! `room/x`: one adds oneself to enter it, and deletes it to leave it.

use super::{Asked, PAGE, page_of};
use crate::{
    chat::{Call, Place},
    requests,
    rest::{
        desk::Desk,
        map::{Problem, answer},
    },
};
use axum::{
    body::Body,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Members of a group that are made or told at once, at most.
const MOST_MEMBERS: usize = 100;

/// Members that an answer tells at most.
const MOST_TOLD: usize = 10_000;

/// `GET /Groups`: those one is in.
pub(super) async fn list(asked: Asked) -> Result<Response, Problem> {
    let found = asked.me.ask(requests::list_my_groups(asked.given.asked("after"))).await?;
    let groups = requests::read_listed(&found);
    let mut object = json!({"groups": groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>()});
    if requests::has_more(&found)
        && let Some(last) = groups.last()
    {
        object["next"] = last.name.as_str().into();
    }
    Ok(answer(StatusCode::OK, &object))
}

/// `POST /Groups` with users and a message: "by sending a message to an array of user_id's. The Server will return a group_id".
pub(super) async fn by_message(State(desk): State<Arc<Desk>>, asked: Asked) -> Result<Response, Problem> {
    let members = asked.given.users("members")?.ok_or_else(|| Problem::field("members is missing"))?;
    let text = asked.given.text(&["message"])?;
    let name = asked.given.text(&["groupid", "name"])?;
    make(&desk, &asked, name, &members, text).await
}

/// Makes a group with members, and says the first thing in it.
pub(super) async fn make(
    desk: &Desk,
    asked: &Asked,
    name: Option<String>,
    members: &[String],
    text: Option<String>,
) -> Result<Response, Problem> {
    let members = users(desk, asked, members).await?;
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    let made = asked.me.ask(requests::create_group(name.as_deref(), "private", &members)).await?;
    let group = made.get("name").and_then(Value::as_str).unwrap_or_default();
    asked.me.listen(group).await;
    if let Some(text) = text {
        asked.me.ask(Call::Say { place: Place::group(group), text: text.into(), name: None }).await?;
    }
    Ok(answer(StatusCode::CREATED, &whole(desk, asked, group).await?))
}

/// Names of users, without who asks.
async fn users(desk: &Desk, asked: &Asked, ids: &[String]) -> Result<Vec<String>, Problem> {
    if ids.len() > MOST_MEMBERS {
        return Err(Problem::field(format!("more than {MOST_MEMBERS} members")));
    }
    let mut users = Vec::new();
    for id in ids {
        let user = desk.user(&asked.me, id).await?;
        if user != asked.me.user && !users.contains(&user) {
            users.push(user);
        }
    }
    Ok(users)
}

/// `GET /Group/{GroupId}`
pub(super) async fn one(
    State(desk): State<Arc<Desk>>,
    Path(group): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    Ok(answer(StatusCode::OK, &whole(&desk, &asked, &group).await?))
}

/// A group with its members.
async fn whole(desk: &Desk, asked: &Asked, group: &str) -> Result<Value, Problem> {
    let place = Place::of_id(group);
    let mut members = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = asked.me.ask(requests::members(&place, after.as_deref())).await?;
        for person in page.get("users").and_then(Value::as_array).into_iter().flatten() {
            let object = desk.user_object(person);
            after = object["username"].as_str().map(Into::into);
            members.push(object["id"].clone());
        }
        if !requests::has_more(&page) || members.len() >= MOST_TOLD {
            return Ok(json!({"groupID": group, "members": members}));
        }
    }
}

/// `PUT /Group/{GroupId}` with `{"members": [...]}`: makes the group, or adds who is not in it yet.
pub(super) async fn put(
    State(desk): State<Arc<Desk>>,
    Path(group): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let members = asked.given.users("members")?.ok_or_else(|| Problem::field("members is missing"))?;
    if let Place::Room(room) = Place::of_id(&group) {
        return enter(&desk, &asked, &room, &members).await;
    }
    match make(&desk, &asked, Some(group.clone()), &members, None).await {
        Err(problem) if problem.code == "group.exists" => {}
        made => return made,
    }
    let members = users(&desk, &asked, &members).await?;
    add_all(&asked, &group, &members).await?;
    Ok(answer(StatusCode::OK, &whole(&desk, &asked, &group).await?))
}

/// `POST /Group/{GroupId}` with `{"userId": id}`: "an existing user will send their id and the group_id to the Server which will add it".
pub(super) async fn add(
    State(desk): State<Arc<Desk>>,
    Path(group): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let ids = match asked.given.users("members")? {
        Some(ids) => ids,
        None => vec![asked.given.needed(&["userid", "user"])?],
    };
    if let Place::Room(room) = Place::of_id(&group) {
        return enter(&desk, &asked, &room, &ids).await;
    }
    let members = users(&desk, &asked, &ids).await?;
    add_all(&asked, &group, &members).await?;
    Ok(answer(StatusCode::OK, &whole(&desk, &asked, &group).await?))
}

/// Who asks enters a room, and everybody else is invited to it.
async fn enter(desk: &Desk, asked: &Asked, room: &str, ids: &[String]) -> Result<Response, Problem> {
    let others = users(desk, asked, ids).await?;
    for id in ids {
        if desk.user(&asked.me, id).await? == asked.me.user {
            asked.me.enter_room(room).await?;
        }
    }
    for other in &others {
        asked.me.ask(requests::invite_to_room(room, other)).await?;
    }
    Ok(answer(StatusCode::OK, &whole(desk, asked, &Place::room(room).id()).await?))
}

async fn add_all(asked: &Asked, group: &str, members: &[String]) -> Result<(), Problem> {
    for member in members {
        match asked.me.ask(requests::add_member(group, member)).await {
            Err(refusal) if refusal.code == "room.already-member" => {}
            outcome => drop(outcome?),
        }
    }
    Ok(())
}

/// `DELETE /Group/{GroupId}`: its owner deletes it, anybody else leaves it.
pub(super) async fn delete(Path(group): Path<String>, asked: Asked) -> Result<Response, Problem> {
    let place = Place::of_id(&group);
    if let Place::Room(_) = place {
        asked.me.leave(place).await?;
        return Ok((StatusCode::NO_CONTENT, Body::empty()).into_response());
    }
    match asked.me.ask(requests::delete_group(&group)).await {
        Err(refusal) if refusal.code == "room.not-owner" => {
            asked.me.ask(requests::leave_group(&group)).await?;
        }
        outcome => drop(outcome?),
    }
    // Fails where the deletion has ended it.
    let _ = asked.me.leave(place).await;
    Ok((StatusCode::NO_CONTENT, Body::empty()).into_response())
}

/// `POST /Group/{GroupId}/conversation` with `{"userId": userId, "message": msg}`; the user is who asks.
pub(super) async fn say(
    State(desk): State<Arc<Desk>>,
    Path(group): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    asked.is_from_me(&desk, &["userid"]).await?;
    let text = asked.given.needed(&["message"])?.into();
    let said = asked.me.ask(Call::Say { place: Place::of_id(&group), text, name: None }).await?;
    Ok(answer(StatusCode::CREATED, &json!({"index": said.get("seq")})))
}

/// `GET /Group/{GroupId}/conversation?Index=requiredIndex`
pub(super) async fn conversation(
    State(desk): State<Arc<Desk>>,
    Path(group): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let before = asked.given.index()?.filter(|index| *index > 0);
    let page =
        asked.me.ask(requests::history_before(&Place::of_id(&group).to_string(), PAGE, before)).await?;
    Ok(page_of(&desk, &asked.me, &page).await)
}
