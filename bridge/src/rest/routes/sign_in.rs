//! Signing in: with a name and a password, or with a provider.

use super::Given;
use crate::{
    chat::Secret,
    rest::{
        desk::Desk,
        map::{Problem, answer, fields},
        server::From,
    },
};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
    response::Response,
};
use std::sync::Arc;

/// The cookie that ties the way back from the provider to the browser that was sent there.
const COOKIE: &str = "katydid_login";

/// `POST /login` with `{"username": .., "password": ..}`: a token, for `Authorization: Bearer`.
pub(super) async fn with_password(
    State(desk): State<Arc<Desk>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let from = *parts.extensions.get::<From>().ok_or_else(|| Problem::unauthorized("from nowhere"))?;
    let given = Given::read(&parts, body).await?;
    let user = given.needed(&["username", "user"])?;
    let password = Secret::new(given.needed(&["password"])?);
    Ok(answer(StatusCode::OK, &desk.sign_in(from.0, &user, &password).await?))
}

fn no_provider() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "login.no-provider", "this server signs nobody in with a provider")
}

/// `GET /login`: sends the browser to the provider.
pub(super) async fn begin(State(desk): State<Arc<Desk>>) -> Result<Response, Problem> {
    let openid = desk.openid.as_ref().ok_or_else(no_provider)?;
    let (location, state) = openid.begin()?;
    let cookie =
        format!("{COOKIE}={state}; HttpOnly; SameSite=Lax; Path=/; Max-Age=600{}", openid.cookie_flags());
    let response = Response::builder()
        .status(StatusCode::FOUND)
        .header(header::LOCATION, location)
        .header(header::SET_COOKIE, cookie)
        .header(header::CACHE_CONTROL, "no-store");
    response.body(Body::empty()).map_err(|_| Problem::field("the provider's address is none"))
}

/// `GET /login/callback`: the provider sends the browser back with a code.
pub(super) async fn finish(State(desk): State<Arc<Desk>>, request: Request) -> Result<Response, Problem> {
    let openid = desk.openid.as_ref().ok_or_else(no_provider)?;
    let from = *request.extensions().get::<From>().ok_or_else(|| Problem::unauthorized("from nowhere"))?;
    let query = fields(request.uri().query().unwrap_or_default());
    let of = |name: &str| query.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
    let cookies =
        request.headers().get(header::COOKIE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let cookie =
        cookies.split(';').filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == COOKIE);
    let state = of("state").unwrap_or_default();
    if state.is_empty() || cookie.is_none_or(|(_, value)| value != state) {
        return Err(Problem::unauthorized("not the browser that began to sign in"));
    }
    if let Some(error) = of("error") {
        openid.forget(state);
        return Err(Problem::unauthorized(&format!("the provider refused: {}", crate::flow::line(error))));
    }
    let code = of("code").ok_or_else(|| Problem::field("code is missing"))?;
    let identity = openid.finish(state, code).await?;
    Ok(answer(StatusCode::OK, &openid.account(&desk, from.0, &identity).await?))
}
