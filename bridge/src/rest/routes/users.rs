//! Users, private messages and friends.

use super::{Asked, Given, PAGE, messages, page_of, people};
use crate::{
    chat::{Call, Secret},
    requests,
    rest::{
        desk::Desk,
        map::{Problem, answer},
        server::From,
    },
};
use axum::{
    body::Body,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Messages of one pull at most; what is more comes with the next.
const PULL: u64 = 200;

/// `GET /Users`: accounts, 20 a page, those after a name.
pub(super) async fn list(State(desk): State<Arc<Desk>>, asked: Asked) -> Result<Response, Problem> {
    let found = asked.me.ask(requests::list_users(PAGE, asked.given.asked("after"))).await?;
    let users = people(&desk, &found);
    let mut object = json!({"users": users});
    if requests::has_more(&found)
        && let Some(last) = users.last()
    {
        object["next"] = last["username"].clone();
    }
    Ok(answer(StatusCode::OK, &object))
}

/// `POST /Users`: a new account. Nobody is signed in by that.
pub(super) async fn register(State(desk): State<Arc<Desk>>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let from = *parts.extensions.get::<From>().ok_or_else(|| Problem::unauthorized("from nowhere"))?;
    let given = Given::read(&parts, body).await?;
    let user = given.needed(&["username", "user"])?;
    let password = Secret::new(given.needed(&["password"])?);
    let display = given.text(&["display"])?.unwrap_or_default();
    let email = given.text(&["email"])?.unwrap_or_default();
    let made = desk.register(from.0, requests::register(&user, &password, &display, &email)).await?;
    let mut object = desk.user_object(&made);
    if !email.is_empty() {
        object["email"] = email.into();
    }
    Ok(answer(StatusCode::CREATED, &object))
}

/// `GET /Users/{UserId}`
pub(super) async fn one(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let user = desk.user(&asked.me, &id).await?;
    let profile = asked.me.ask(requests::profile(&user)).await?;
    Ok(answer(StatusCode::OK, &desk.user_object(&profile)))
}

/// `PUT /Users`: oneself.
pub(super) async fn change_me(State(desk): State<Arc<Desk>>, asked: Asked) -> Result<Response, Problem> {
    let Asked { me, given } = asked;
    if let Some(new) = given.text(&["newpassword"])? {
        let old = Secret::new(given.needed(&["password"])?);
        me.ask(requests::change_password(&old, &Secret::new(new))).await?;
    }
    let (display, email) = (given.text(&["display"])?, given.text(&["email"])?);
    let profile = me.ask(requests::set_profile(display.as_deref(), email.as_deref())).await?;
    Ok(answer(StatusCode::OK, &desk.user_object(&profile)))
}

/// `PUT /Users/{UserId}`: only oneself.
pub(super) async fn change(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    is_me(&desk, &id, &asked).await?;
    change_me(State(desk), asked).await
}

async fn is_me(desk: &Desk, id: &str, asked: &Asked) -> Result<(), Problem> {
    if desk.user(&asked.me, id).await? == asked.me.user {
        return Ok(());
    }
    Err(Problem::forbidden("that is somebody else"))
}

/// `POST /Users/{UserId}` with `{"name": "sender", "message": "msg"}`. The sender is who asks, whatever `name` says. To
/// several users (`/Users/2,3`) it makes a group.
pub(super) async fn tell(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let text = asked.given.needed(&["message"])?;
    let ids: Vec<&str> = id.split(',').filter(|id| !id.is_empty()).collect();
    if ids.len() > 1 {
        let ids: Vec<String> = ids.into_iter().map(Into::into).collect();
        return super::groups::make(&desk, &asked, None, &ids, Some(text)).await;
    }
    let user = desk.user(&asked.me, &id).await?;
    let said = asked.me.ask(Call::Tell { user, text: text.into(), name: None }).await?;
    Ok(answer(StatusCode::CREATED, &json!({"index": said.get("seq")})))
}

/// `GET /Users/{UserId}/conversation`: without index what was said since the last pull, or since one was last here, and
/// where neither is known the newest page; with an index a page. The conversation is with the user of the address, or where that is oneself, with the body's `sender`.
pub(super) async fn conversation(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let Asked { me, given } = asked;
    let user = desk.user(&me, &id).await?;
    let sender = match given.text(&["sender"])?.or_else(|| given.asked("sender").map(Into::into)) {
        Some(sender) => Some(desk.user(&me, &sender).await?),
        None => None,
    };
    let other = match sender {
        Some(sender) if user == me.user => sender,
        Some(sender) if sender != user && sender != me.user => {
            return Err(Problem::forbidden("a conversation of others"));
        }
        None if user == me.user => return Err(Problem::field("sender is missing")),
        _ => user,
    };
    let place = format!("user/{other}");
    if let Some(index) = given.index()? {
        let before = Some(index).filter(|index| *index > 0);
        let page = me.ask(requests::history_before(&place, PAGE, before)).await?;
        return Ok(page_of(&desk, &me, &page).await);
    }
    let ask = match me.pulled(&other) {
        Some(seq) => requests::history_after(&place, PULL, seq),
        None => requests::history_before(&place, PAGE, None),
    };
    let page = me.ask(ask).await?;
    let entries = page.get("entries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if let Some(last) = entries.last().and_then(|entry| entry.get("seq")?.as_u64()) {
        me.set_pulled(&other, last);
    }
    let (messages, _) = messages(&desk, &me, &page).await;
    Ok(answer(StatusCode::OK, &json!({"messages": messages})))
}

/// `GET /Users/{UserId}/friends`, of oneself.
pub(super) async fn friends(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    is_me(&desk, &id, &asked).await?;
    let found = asked.me.ask(requests::list_friends(asked.given.asked("after"))).await?;
    let friends = people(&desk, &found);
    let mut object = json!({"friends": friends});
    if requests::has_more(&found)
        && let Some(last) = friends.last()
    {
        object["next"] = last["username"].clone();
    }
    Ok(answer(StatusCode::OK, &object))
}

/// `POST /Users/{UserId}/friends` with `{"username": "bob"}`
pub(super) async fn add_friend(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    is_me(&desk, &id, &asked).await?;
    let friend = asked.given.needed(&["username", "user"])?;
    asked.me.ask(requests::add_friend(&friend)).await?;
    Ok(answer(StatusCode::CREATED, &json!({"username": friend})))
}

/// `DELETE /Users/{UserId}/friends/{username}`
pub(super) async fn remove_friend(
    State(desk): State<Arc<Desk>>,
    Path((id, friend)): Path<(String, String)>,
    asked: Asked,
) -> Result<Response, Problem> {
    is_me(&desk, &id, &asked).await?;
    let friend = desk.user(&asked.me, &friend).await?;
    asked.me.ask(requests::remove_friend(&friend)).await?;
    Ok((StatusCode::NO_CONTENT, Body::empty()).into_response())
}
