//! The resources and their methods, as the document's table and message examples have them.
//!
//! Every handler but those that make a user, sign in or describe the interface gets an `Asked`, which is made only of a
//! request that shows whose it is.

mod groups;
mod sign_in;
mod users;

use super::{
    desk::Desk,
    map::{Problem, answer, fields},
    person::Person,
    server::From,
};
use crate::requests;
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{FromRequest, Request, State},
    http::{StatusCode, header, request::Parts},
    response::Response,
    routing::{MethodRouter, get},
};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// Longest body in bytes.
const LONGEST_BODY: usize = 64 * 1024;

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Messages of a page ("another 20 messages").
const PAGE: u64 = 20;

/// The whole interface, for paths as `server` makes them.
pub(crate) fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route(
            "/users",
            with_options("GET, POST, PUT", get(users::list).post(users::register).put(users::change_me)),
        )
        .route(
            "/users/{id}",
            with_options("GET, POST, PUT", get(users::one).post(users::tell).put(users::change)),
        )
        .route(
            "/users/{id}/conversation",
            with_options("GET, POST", get(users::conversation).post(users::tell)),
        )
        .route("/users/{id}/friends", with_options("GET, POST", get(users::friends).post(users::add_friend)))
        .route(
            "/users/{id}/friends/{friend}",
            with_options("DELETE", axum::routing::delete(users::remove_friend)),
        )
        .route("/groups", with_options("GET, POST", get(groups::list).post(groups::by_message)))
        .route(
            "/groups/{id}",
            with_options(
                "GET, POST, PUT, DELETE",
                get(groups::one).post(groups::add).put(groups::put).delete(groups::delete),
            ),
        )
        .route(
            "/groups/{id}/conversation",
            with_options("GET, POST", get(groups::conversation).post(groups::say)),
        )
        .route("/search", with_options("GET", get(search)))
        .route("/me", with_options("GET", get(me)))
        .route("/login", with_options("GET, POST", get(sign_in::begin).post(sign_in::with_password)))
        .route("/login/callback", with_options("GET", get(sign_in::finish)))
        .route("/openapi.json", with_options("GET", get(describe)))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(desk)
}

fn with_options(methods: &'static str, routes: MethodRouter<Arc<Desk>>) -> MethodRouter<Arc<Desk>> {
    routes.options(move || async move {
        let allowed = format!("{methods}, OPTIONS");
        let response = Response::builder().status(StatusCode::NO_CONTENT).header(header::ALLOW, allowed);
        response.body(Body::empty()).unwrap_or_default()
    })
}

async fn nothing_here() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "request.unknown-verb", "no such resource")
}

async fn not_so() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "request.unknown-verb", "the resource has no such method")
}

async fn describe() -> Response {
    let mut response = Response::new(Body::from(include_str!("openapi.json")));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// The fields of a body and a query.
#[derive(Debug, Default)]
pub(crate) struct Given {
    body: Map<String, Value>,
    query: Vec<(String, String)>,
}

impl Given {
    /// Reads a request without asking whose it is.
    pub(crate) async fn read(parts: &Parts, body: Body) -> Result<Self, Problem> {
        let query = fields(parts.uri.query().unwrap_or_default());
        let bytes = match timeout(BODY_TIMEOUT, to_bytes(body, LONGEST_BODY)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(_)) => {
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                return Err(Problem::new(status, "request.too-long", "a body of more than 64 KiB"));
            }
            Err(_) => {
                let status = StatusCode::REQUEST_TIMEOUT;
                return Err(Problem::new(status, "request.malformed", "the body did not come in time"));
            }
        };
        if bytes.trim_ascii().is_empty() {
            return Ok(Self { body: Map::new(), query });
        }
        let malformed = |reason: String| Problem::new(StatusCode::BAD_REQUEST, "request.malformed", reason);
        let body: Map<String, Value> =
            serde_json::from_slice(&bytes).map_err(|error| malformed(format!("no JSON object: {error}")))?;
        let body = body.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        Ok(Self { body, query })
    }

    /// A text of the body; empty is none.
    pub(crate) fn text(&self, names: &[&str]) -> Result<Option<String>, Problem> {
        let found = names.iter().find_map(|name| self.body.get(*name).map(|value| (name, value)));
        match found {
            None | Some((_, Value::Null)) => Ok(None),
            Some((_, Value::String(text))) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some((_, Value::Number(number))) => Ok(Some(number.to_string())),
            Some((name, _)) => Err(Problem::field(format!("{name} is no text"))),
        }
    }

    pub(crate) fn needed(&self, names: &[&str]) -> Result<String, Problem> {
        self.text(names)?.ok_or_else(|| Problem::field(format!("{} is missing", names[0])))
    }

    /// Users of the body, by numbers or names.
    fn users(&self, name: &str) -> Result<Option<Vec<String>>, Problem> {
        let user = |value: &Value| match value {
            Value::String(user) if !user.is_empty() => Ok(user.clone()),
            Value::Number(number) if number.is_u64() => Ok(number.to_string()),
            _ => Err(Problem::field(format!("{name} holds something that is no user"))),
        };
        match self.body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(users)) => users.iter().map(user).collect::<Result<_, _>>().map(Some),
            Some(_) => Err(Problem::field(format!("{name} is no list"))),
        }
    }

    fn asked(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The index of a page: that of the message before which it ends. 0 and none are the newest page.
    fn index(&self) -> Result<Option<u64>, Problem> {
        let Some(index) = self.asked("index") else { return Ok(None) };
        index.parse().map(Some).map_err(|_| Problem::field("Index is no number"))
    }
}

/// A request, and whose it is.
pub(crate) struct Asked {
    me: Arc<Person>,
    given: Given,
}

impl FromRequest<Arc<Desk>> for Asked {
    type Rejection = Problem;

    async fn from_request(request: Request, desk: &Arc<Desk>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let from = *parts.extensions.get::<From>().ok_or_else(|| Problem::unauthorized("from nowhere"))?;
        let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = given
            .and_then(|value| value.split_once(' '))
            .filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        let (_, token) =
            token.ok_or_else(|| Problem::unauthorized("Authorization: Bearer TOKEN is missing"))?;
        let me = desk.person(token.trim(), from.0).await?;
        Ok(Self { me, given: Given::read(&parts, body).await? })
    }
}

impl Asked {
    /// Nobody speaks as somebody else: where a body says who it is from, it is from who asks.
    async fn is_from_me(&self, desk: &Desk, names: &[&str]) -> Result<(), Problem> {
        let Some(id) = self.given.text(names)? else { return Ok(()) };
        if desk.user(&self.me, &id).await? == self.me.user {
            return Ok(());
        }
        Err(Problem::forbidden("that is somebody else"))
    }
}

/// `GET /Search?Name=..&Type=..`
async fn search(State(desk): State<Arc<Desk>>, asked: Asked) -> Result<Response, Problem> {
    let Asked { me, given } = asked;
    let text = given.asked("name").ok_or_else(|| Problem::field("Name is missing"))?;
    let (users, groups) = match given.asked("type").map(str::to_ascii_lowercase).as_deref() {
        None => (true, true),
        Some("user" | "users") => (true, false),
        Some("group" | "groups") => (false, true),
        Some(_) => return Err(Problem::field("Type is neither User nor Group")),
    };
    let mut found = json!({"users": [], "groups": []});
    if users {
        let answer = me.ask(requests::search(text, "user")).await?;
        found["users"] = people(&desk, &answer).into();
    }
    if groups {
        let answer = me.ask(requests::search(text, "group")).await?;
        let group = |it: requests::Listed| json!({"groupID": it.name, "members": it.members});
        found["groups"] = requests::read_listed(&answer).into_iter().map(group).collect::<Vec<_>>().into();
    }
    Ok(answer(StatusCode::OK, &found))
}

/// `GET /me`: the next notification, as soon as there is one; `{}` when none came.
async fn me(State(desk): State<Arc<Desk>>, asked: Asked) -> Result<Response, Problem> {
    let most = desk.settings.poll;
    let patience = match asked.given.asked("timeout") {
        None => most,
        Some(secs) => {
            let secs = secs.parse().map_err(|_| Problem::field("Timeout is no number of seconds"))?;
            Duration::from_secs(secs).min(most)
        }
    };
    let note = asked.me.poll(patience).await.unwrap_or_else(|| json!({}));
    Ok(answer(StatusCode::OK, &note))
}

fn people(desk: &Desk, answer: &Value) -> Vec<Value> {
    let users = answer.get("users").and_then(Value::as_array).into_iter().flatten();
    users.map(|person| desk.user_object(person)).collect()
}

/// The messages of a page of the broker's history, events left out, and the index of the page before it.
async fn messages(desk: &Desk, me: &Person, page: &Value) -> (Vec<Value>, Option<u64>) {
    let entries = page.get("entries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut messages = Vec::new();
    for entry in entries {
        let text = |field: &str| entry.get(field).and_then(Value::as_str);
        let is_message = text("topic").and_then(|topic| topic.rsplit('/').nth(1)) == Some("msg");
        if !is_message || entry.get("deleted").is_some() {
            continue;
        }
        let from = text("from").unwrap_or_default();
        let said = match (text("text"), text("base64").and_then(katydid_chat::base64::decode)) {
            (Some(text), _) => text.to_owned(),
            (None, Some(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
            (None, None) => String::new(),
        };
        messages.push(json!({
            "senderId": desk.id(me, from).await, "sender": from, "message": said,
            "index": entry.get("seq"), "time": text("time"),
        }));
    }
    let is_end = page.get("end").and_then(Value::as_bool).unwrap_or(true);
    let first = entries.first().and_then(|entry| entry.get("seq")?.as_u64());
    let next = first.or_else(|| page.get("next")?.as_u64()).filter(|_| !is_end);
    (messages, next)
}

/// The answer of a conversation.
async fn page_of(desk: &Desk, me: &Person, page: &Value) -> Response {
    let (messages, next) = messages(desk, me, page).await;
    let mut object = json!({"messages": messages});
    if let Some(next) = next {
        object["next"] = next.into();
    }
    answer(StatusCode::OK, &object)
}
