//! Plays transcripts of HTTP against a scripted broker, and holds every answer against the description.
//!
//! | line | who | what |
//! | --- | --- | --- |
//! | `ann> GET /me` | a client with ann's token | asks; a body may stand behind. `nobody>` has none, `ann/2>` is another request |
//! | `1= sign-in ann with tok` | the interface | asks the broker, on its first connection; `2k=` where the session is kept |
//! | `1: ok {}`, `1: no CODE` | the broker | answers the oldest call of a connection |
//! | `2k! told bob hi` | the broker | an event |
//! | `ann< 200 {}` | the interface | answers; without a body the methods in `Allow` |
//! | `+60000` | the clock | goes on by milliseconds, and idle users are looked for |

mod provider;
mod random;

use super::{desk::Desk, desk::write_token, openid::OpenId, person::Start, server};
use crate::{
    chat::{Call, Event, Refusal, Tag, Voice},
    driver::{Brought, voice::Way},
    machine::Link,
    transcript::{brief, event},
};
use axum::{
    body::{Body, to_bytes},
    http::{Request, Response, header},
};
use serde_json::Value;
use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};

/// The answer that waits for nobody.
const NEVER: Duration = Duration::from_secs(36_000);

fn from() -> SocketAddr {
    "192.0.2.1:4000".parse().expect("an address")
}

enum Seen {
    Asked { line: String, tag: Tag, call: Call },
    Answered { name: String, method: String, path: String, response: Response<Body> },
}

/// The broker's side of the connections that were started.
pub(super) struct Script {
    pub(super) desk: Arc<Desk>,
    seen: mpsc::UnboundedReceiver<Seen>,
    tell: mpsc::UnboundedSender<Seen>,
    lines: Arc<Mutex<HashMap<String, mpsc::Sender<Brought>>>>,
    open: HashMap<String, VecDeque<Tag>>,
    description: Value,
}

impl Script {
    pub(super) fn new(settings: server::Settings) -> Self {
        let (tell, seen) = mpsc::unbounded_channel();
        let lines: Arc<Mutex<HashMap<String, mpsc::Sender<Brought>>>> = Arc::default();
        let (starting, said) = (lines.clone(), tell.clone());
        let start: Start = Arc::new(move |is_kept, way: Way, mut calls| {
            let mut lines = starting.lock().expect("no panic");
            let line = format!("{}{}", lines.len() + 1, if is_kept { "k" } else { "" });
            lines.insert(line.clone(), way.brought);
            let said = said.clone();
            tokio::spawn(async move {
                while let Some((tag, call)) = calls.recv().await {
                    let _ = said.send(Seen::Asked { line: line.clone(), tag, call });
                }
            });
        });
        let openid = settings.openid.clone().map(|settings| OpenId::open(settings).expect("opened"));
        let desk = Arc::new(Desk::new(settings, openid, start));
        let description = serde_json::from_str(include_str!("openapi.json")).expect("JSON");
        Self { desk, seen, tell, lines, open: HashMap::new(), description }
    }

    pub(super) async fn play(&mut self, transcript: &str) {
        for (at, line) in transcript.lines().enumerate() {
            let at = at + 1;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let sign = line
                .find(['<', '=', '>', ':', '!', '+'])
                .unwrap_or_else(|| panic!("line {at} is none: {line}"));
            let (name, rest) = line.split_at(sign);
            if rest.starts_with(['<', '=']) {
                let seen = timeout(NEVER, self.seen.recv()).await.ok().flatten();
                let seen = seen.unwrap_or_else(|| panic!("line {at} did not come: {line}"));
                assert_eq!(self.show(seen).await, line, "line {at}");
                continue;
            }
            self.is_silent(&format!("before line {at}")).await;
            let text = rest[1..].trim_start();
            match &rest[..1] {
                ">" => self.ask(name, text),
                "+" => {
                    tokio::time::sleep(Duration::from_millis(text.parse().expect("milliseconds"))).await;
                    self.desk.sweep();
                }
                ":" => self.answer(name, text, at).await,
                _ if text == "lost" => drop(self.lines.lock().expect("no panic").remove(name)),
                _ => self.tell_event(name, event(text, at)).await,
            }
        }
        self.is_silent("at the end").await;
    }

    /// Lets everything run that can, and nothing must come of it.
    async fn is_silent(&mut self, when: &str) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        if let Ok(seen) = self.seen.try_recv() {
            let shown = self.show(seen).await;
            panic!("{when} there came more: {shown}");
        }
    }

    pub(super) fn ask(&self, name: &str, text: &str) {
        let mut words = text.splitn(3, ' ');
        let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
        let body = words.next().unwrap_or_default().to_owned();
        let mut request =
            Request::builder().method(method).uri(path).header(header::ORIGIN, "https://example.org");
        let user = name.split('/').next().unwrap_or(name);
        if user != "nobody" {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", write_token(user, "tok")));
        }
        let request = request.body(Body::from(body)).expect("a request");
        self.send(name, request);
    }

    fn send(&self, name: &str, request: Request<Body>) {
        let (method, path) = (request.method().to_string(), request.uri().path().to_lowercase());
        let (desk, tell, name) = (self.desk.clone(), self.tell.clone(), name.to_owned());
        tokio::spawn(async move {
            let response = server::answer(&desk, from(), request).await;
            let _ = tell.send(Seen::Answered { name, method, path, response });
        });
    }

    async fn answer(&mut self, line: &str, text: &str, at: usize) {
        let tag = self.open.get_mut(line).and_then(VecDeque::pop_front);
        let tag = tag.unwrap_or_else(|| panic!("line {at} answers nothing"));
        let outcome = match text.split_once(' ').unwrap_or((text, "")) {
            ("ok", "") => Ok(Value::Null),
            ("ok", json) => Ok(serde_json::from_str(json).expect("JSON")),
            (_, code) => Err(Refusal::new(code)),
        };
        self.tell_event(line, Event::Answered { tag, outcome }).await;
    }

    async fn tell_event(&self, line: &str, event: Event) {
        let brought = self.lines.lock().expect("no panic").get(line).cloned().expect("a connection");
        let _ = brought.send(Brought::Chat { link: Link(0), voice: Voice::FIRST, event }).await;
    }

    async fn show(&mut self, seen: Seen) -> String {
        match seen {
            Seen::Asked { line, tag, call } => {
                self.open.entry(line.clone()).or_default().push_back(tag);
                format!("{line}= {}", brief(&call))
            }
            Seen::Answered { name, method, path, response } => {
                let status = response.status().as_u16();
                let allowed =
                    response.headers().get(header::ALLOW).and_then(|it| it.to_str().ok()).map(str::to_owned);
                let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
                self.is_described(&method, &path, status, &bytes);
                let body = String::from_utf8(bytes.to_vec()).expect("UTF-8");
                let tail = if body.is_empty() { allowed.unwrap_or_default() } else { body };
                format!("{name}< {status} {tail}").trim_end().to_owned()
            }
        }
    }

    /// An answer of a resource must be one that the description has.
    fn is_described(&self, method: &str, path: &str, status: u16, body: &[u8]) {
        let path = path.replace("/group/", "/groups/").replace("/user/", "/users/");
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let fits = |template: &str| {
            let template: Vec<&str> = template.trim_matches('/').split('/').collect();
            template.len() == parts.len()
                && template.iter().zip(&parts).all(|(wanted, part)| wanted.starts_with('{') || wanted == part)
        };
        let paths = self.description["paths"].as_object().expect("paths");
        let Some((_, resource)) = paths.iter().find(|(template, _)| fits(template)) else {
            assert_eq!(status, 404, "{path} is not described");
            return;
        };
        let Some(operation) = resource.get(method.to_lowercase()) else {
            assert_eq!(status, 405, "{method} {path} is not described");
            return;
        };
        let described = &operation["responses"][status.to_string()];
        assert!(described.is_object(), "{method} {path}: {status} is not described");
        let schema = &described["content"]["application/json"]["schema"];
        if schema.is_null() {
            return;
        }
        let body: Value = serde_json::from_slice(body).expect("JSON");
        assert!(self.fits(schema, &body), "{method} {path}: {status} {body} is not {schema}");
    }

    /// Whether a value is what a schema says, of the words that the description uses.
    fn fits(&self, schema: &Value, value: &Value) -> bool {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            let name = name.rsplit('/').next().unwrap_or(name);
            let named = &self.description["components"]["schemas"][name];
            assert!(named.is_object(), "no schema {name}");
            return self.fits(named, value);
        }
        if let Some(any) = schema.get("oneOf").and_then(Value::as_array) {
            return any.iter().filter(|schema| self.fits(schema, value)).count() == 1;
        }
        if let Some(any) = schema.get("enum").and_then(Value::as_array) {
            return any.contains(value);
        }
        match schema["type"].as_str() {
            Some("string") => value.is_string(),
            Some("integer") => value.is_u64(),
            Some("array") => value
                .as_array()
                .is_some_and(|items| items.iter().all(|item| self.fits(&schema["items"], item))),
            Some("object") => value.as_object().is_some_and(|fields| {
                let required = schema["required"].as_array().expect("required");
                required.iter().all(|name| fields.contains_key(name.as_str().expect("a name")))
                    && fields.iter().all(|(name, value)| {
                        let property = &schema["properties"][name];
                        property.is_object() && self.fits(property, value)
                    })
            }),
            _ => false,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_resource_in_each_of_its_methods_and_forms() {
    Script::new(server::Settings::default()).play(include_str!("tests/resources.txt")).await;
}

#[tokio::test(start_paused = true)]
async fn notifications_come_by_long_polling_and_wait_for_who_is_away() {
    Script::new(server::Settings::default()).play(include_str!("tests/polling.txt")).await;
}

#[tokio::test(start_paused = true)]
async fn bodies_have_a_limit_and_pages_of_known_origins_may_ask() {
    let settings = server::Settings { origins: vec!["https://example.org".into()], ..Default::default() };
    let script = Script::new(settings);
    let ask = |method: &str, body: Vec<u8>, origin: &'static str| {
        let request = Request::builder().method(method).uri("/login").header(header::ORIGIN, origin);
        let request = request.body(Body::from(body)).expect("a request");
        let desk = script.desk.clone();
        async move { server::answer(&desk, from(), request).await }
    };
    assert_eq!(ask("POST", vec![b' '; 64 * 1024 + 1], "x").await.status(), 413);
    let known = ask("OPTIONS", Vec::new(), "https://example.org").await;
    assert_eq!(known.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://example.org");
    assert_eq!(known.headers()[header::ACCESS_CONTROL_ALLOW_METHODS], "GET, POST, OPTIONS");
    let unknown = ask("OPTIONS", Vec::new(), "https://evil.example.org").await;
    assert!(!unknown.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
}

#[test]
fn a_method_of_the_description_has_its_options() {
    let description: Value = serde_json::from_str(include_str!("openapi.json")).expect("JSON");
    for (path, resource) in description["paths"].as_object().expect("paths") {
        assert!(resource["options"].is_object(), "{path}");
    }
}
