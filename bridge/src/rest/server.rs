//! Connections of the REST interface: HTTP/1.1, plain or with TLS, within limits of number, size and time.
//!
//! Each connection is a task, and ends when its head does not come in time, its answer is not read, or the listener ends.

use super::{
    desk::Desk,
    map::Problem,
    openid::{self, OpenId},
    person::Start,
    routes,
};
use crate::driver::{
    Brought,
    door::{Arrival, OpenDoor},
    voice::{self, Users},
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

/// Headers of a request at most, and their size in bytes.
const MOST_HEADERS: usize = 64;
const MOST_HEAD_BYTES: usize = 16 * 1024;

/// How long the head of a request may take, and how long a connection may be silent between two, unless the listener says less.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// How long anything but a poll may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);

/// How long a request may go on when the server ends; a poll is answered then.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// How long the answers to those may take to be read.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// How often it is looked who is idle.
const SWEEP: Duration = Duration::from_secs(30);

/// What the operator decided.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a poll waits at most.
    pub poll: Duration,
    /// Who asks for nothing for so long is signed out; the notifications wait.
    pub idle: Duration,
    /// How long a token holds, in seconds; 0 is for ever.
    pub token_secs: u64,
    /// Pages of which origins may ask; `*` is any.
    pub origins: Vec<String>,
    /// Signing in with a provider.
    pub openid: Option<openid::Settings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(60),
            idle: Duration::from_secs(300),
            token_secs: 90 * 86_400,
            origins: Vec::new(),
            openid: None,
        }
    }
}

/// Serves the interface until it is to end, and then answers what was asked before; at once when the future is dropped.
///
/// # Errors
/// The door could not be opened, or the identities could not be read.
pub async fn serve(
    door: OpenDoor,
    settings: Settings,
    users: Users,
    wait: Duration,
    ending: watch::Receiver<bool>,
) -> io::Result<()> {
    let openid = settings.openid.clone().map(OpenId::open).transpose()?;
    let plain = Arc::new(Users { kept: None, exchanges_password: false, ..users });
    let kept = voice::Kept { client_id: "rest", expiry: wait, keeps_places: true };
    let kept = Arc::new(Users { kept: Some(kept), ..Users::clone(&plain) });
    let start: Start = Arc::new(move |is_kept, way, calls| {
        let users = if is_kept { kept.clone() } else { plain.clone() };
        tokio::spawn(voice::run(users, way, calls));
    });
    let desk = Arc::new(Desk::new(settings, openid, start));
    let (brought, mut arrivals) = mpsc::channel(64);
    let mut tasks = JoinSet::new();
    door.serve(0, &brought, &mut tasks)?;
    let mut connections = JoinSet::new();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            arrival = arrivals.recv() => match arrival {
                Some(Brought::Arrived { arrival, .. }) => {
                    connections.spawn(connection(desk.clone(), arrival, ending.clone()));
                }
                Some(_) => {}
                None => return Ok(()),
            },
            _ = sweep.tick() => desk.sweep(),
            Some(_) = connections.join_next() => {}
            () = ended(ending.clone()) => break,
        }
    }
    tasks.abort_all();
    let _ = timeout(LAST_ANSWERS, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

/// Resolves when the server is to end; never where nobody will say so.
async fn ended(mut ending: watch::Receiver<bool>) {
    if ending.wait_for(|is_ending| *is_ending).await.is_err() {
        std::future::pending().await
    }
}

async fn connection(desk: Arc<Desk>, arrival: Arrival, ending: watch::Receiver<bool>) {
    let Arrival { stream, from, seat, idle } = arrival;
    let asked = ending.clone();
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (desk, ending) = (desk.clone(), asked.clone());
        async move {
            let too_late = async {
                ended(ending).await;
                sleep(LAST_REQUESTS).await;
            };
            let response = tokio::select! {
                response = answer(&desk, from, request.map(Body::new)) => response,
                () = too_late => {
                    let reason = "the server is shutting down";
                    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "bridge.lost", reason).into_response()
                }
            };
            Ok::<_, Infallible>(response)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle.map_or(HEAD_TIMEOUT, |idle| idle.min(HEAD_TIMEOUT)))
        .max_headers(MOST_HEADERS)
        .max_buf_size(MOST_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        () = ended(ending) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(protocol = "rest", %from, %error, "connection ended");
    }
    drop(seat);
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From(pub(crate) SocketAddr);

/// Answers one request.
pub(crate) async fn answer(desk: &Arc<Desk>, from: SocketAddr, mut request: Request<Body>) -> Response {
    let origin = allowed_origin(&desk.settings.origins, request.headers());
    if let Some(uri) = usual(request.uri()) {
        *request.uri_mut() = uri;
    }
    request.extensions_mut().insert(From(from));
    let limit = if request.uri().path() == "/me" && request.method() == Method::GET {
        REQUEST_TIMEOUT + desk.settings.poll
    } else {
        REQUEST_TIMEOUT
    };
    let service = TowerToHyperService::new(routes::router(desk.clone()));
    let answered = timeout(limit, hyper::service::Service::call(&service, request)).await;
    let mut response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => Problem::new(StatusCode::GATEWAY_TIMEOUT, "bridge.lost", "the server did not answer")
            .into_response(),
    };
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        let allowed = HeaderValue::from_static("Authorization, Content-Type");
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        if let Some(methods) = headers.get(header::ALLOW).cloned() {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
    }
    response
}

fn allowed_origin(origins: &[String], headers: &HeaderMap) -> Option<HeaderValue> {
    let given = headers.get(header::ORIGIN)?;
    let is_allowed = origins.iter().any(|origin| origin == "*" || origin.as_bytes() == given.as_bytes());
    is_allowed.then(|| given.clone())
}

/// The address as the routes have it: `/Group/x/` is `/groups/x`.
fn usual(uri: &Uri) -> Option<Uri> {
    let path = uri.path().trim_end_matches('/').trim_start_matches('/');
    let mut parts: Vec<String> = path.split('/').map(Into::into).collect();
    // The second part is a name; all others are words of the interface, of which a friend's name is the last.
    for (at, part) in parts.iter_mut().enumerate() {
        if at == 0 || at == 2 {
            *part = part.to_ascii_lowercase();
        }
    }
    match parts[0].as_str() {
        "user" => parts[0] = "users".into(),
        "group" => parts[0] = "groups".into(),
        _ => {}
    }
    let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
    format!("/{}{query}", parts.join("/")).parse().ok()
}
