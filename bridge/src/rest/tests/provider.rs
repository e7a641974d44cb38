//! Signing in with a real provider of OpenID Connect on loopback: it checks what a provider checks, and signs with ES256.

use super::{Script, from};
use crate::{
    chat::Secret,
    driver::{Brought, voice::Way},
    machine::Link,
    rest::{desk::Desk, desk::url_base64, map::fields, openid, openid::OpenId, person::Start, server},
};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    response::Response,
    routing::{get, post},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use katydid_chat::base64;
use rcgen::KeyPair;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};
use tokio::net::TcpListener;

const CLIENT: &str = "katydid & co";
const SECRET: &str = "s3cret+";
const REDIRECT: &str = "http://127.0.0.1/login/callback";

/// What the provider does wrong, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    Audience,
    Issuer,
    Nonce,
    Expiry,
    Signature,
    Unsigned,
}

struct Provider {
    key: KeyPair,
    wrong: Mutex<Wrong>,
    /// Codes given out, with what the browser came with.
    codes: Mutex<HashMap<String, HashMap<String, String>>>,
}

impl Provider {
    async fn start() -> (Arc<Self>, String) {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let provider = Arc::new(Self { key, wrong: Mutex::new(Wrong::Nothing), codes: Mutex::default() });
        let router = Router::new()
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/keys", get(keys))
            .with_state(provider.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(router.clone());
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        (provider, format!("http://{address}"))
    }
}

fn json_response(json: &Value) -> Response {
    Response::new(Body::from(json.to_string()))
}

/// The browser comes, the user agrees, and the browser goes back with a code.
async fn authorize(State(provider): State<Arc<Provider>>, request: Request) -> Response {
    let given: HashMap<_, _> = fields(request.uri().query().unwrap_or_default()).into_iter().collect();
    assert_eq!(given["response_type"], "code");
    assert_eq!(given["client_id"], CLIENT);
    assert_eq!(given["redirect_uri"], REDIRECT);
    assert_eq!(given["code_challenge_method"], "S256");
    assert!(given["scope"].split(' ').any(|scope| scope == "openid"));
    let location = format!("{REDIRECT}?code=c0de&state={}", given["state"]);
    provider.codes.lock().expect("no panic").insert("c0de".into(), given);
    Response::builder()
        .status(302)
        .header(header::LOCATION, location)
        .body(Body::empty())
        .expect("a response")
}

/// A code becomes an identity token, for who knows the verifier and the secret.
async fn token(State(provider): State<Arc<Provider>>, request: Request) -> Response {
    let body = to_bytes(request.into_body(), 10_000).await.expect("a body");
    let form: HashMap<_, _> = fields(std::str::from_utf8(&body).expect("UTF-8")).into_iter().collect();
    let given = provider.codes.lock().expect("no panic").remove(&form["code"]);
    let challenge = url_base64(&Sha256::digest(&form["code_verifier"]));
    let Some(given) =
        given.filter(|given| given["code_challenge"] == challenge && form["client_secret"] == SECRET)
    else {
        return Response::builder().status(StatusCode::BAD_REQUEST).body(Body::empty()).expect("a response");
    };
    let wrong = *provider.wrong.lock().expect("no panic");
    let or = |is: Wrong, good: &str| if wrong == is { "other".to_owned() } else { good.to_owned() };
    let exp = if wrong == Wrong::Expiry { 1_000_000 } else { jsonwebtoken::get_current_timestamp() + 60 };
    let claims = json!({
        "iss": or(Wrong::Issuer, "https://provider.example.org"), "aud": or(Wrong::Audience, CLIENT), "exp": exp,
        "sub": "42", "nonce": or(Wrong::Nonce, &given["nonce"]), "email": "ann.smith@example.org",
    });
    let header = Header { kid: Some("k1".into()), ..Header::new(Algorithm::ES256) };
    let key = EncodingKey::from_ec_der(&provider.key.serialize_der());
    let mut token = jsonwebtoken::encode(&header, &claims, &key).expect("signed");
    if wrong == Wrong::Signature {
        let (signed, _) = token.rsplit_once('.').expect("a signature");
        token = format!("{signed}.{}", url_base64(&[7; 64]));
    }
    if wrong == Wrong::Unsigned {
        let header = url_base64(br#"{"alg":"none","typ":"JWT"}"#);
        token = format!("{header}.{}.", url_base64(claims.to_string().as_bytes()));
    }
    json_response(&json!({"access_token": "x", "token_type": "Bearer", "id_token": token}))
}

async fn keys(State(provider): State<Arc<Provider>>) -> Response {
    let public = provider.key.public_key_raw();
    let (x, y) = (url_base64(&public[1..33]), url_base64(&public[33..65]));
    json_response(
        &json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k1", "alg": "ES256", "use": "sig", "x": x, "y": y}]}),
    )
}

/// A broker with accounts, as far as signing in needs it.
fn accounts(taken: &'static str) -> Start {
    let known: Arc<Mutex<HashMap<String, String>>> = Arc::default();
    Arc::new(move |_, way: Way, mut calls| {
        let known = known.clone();
        tokio::spawn(async move {
            let mut user = String::new();
            while let Some((tag, call)) = calls.recv().await {
                let outcome = broker(&known, taken, &mut user, call);
                let event = crate::chat::Event::Answered { tag, outcome };
                let chat = Brought::Chat { link: Link(0), voice: way.voice, event };
                if way.brought.send(chat).await.is_err() {
                    return;
                }
            }
        });
    })
}

fn broker(
    known: &Mutex<HashMap<String, String>>,
    taken: &str,
    me: &mut String,
    call: crate::chat::Call,
) -> Result<Value, crate::chat::Refusal> {
    use crate::chat::{Call, Refusal};
    let mut known = known.lock().expect("no panic");
    match call {
        Call::SignIn { user: None, .. } => Ok(Value::Null),
        Call::SignIn { user: Some(user), password, .. } => match known.get(&user) {
            None => Err(Refusal::new("login.unknown-name")),
            Some(right) if password.as_ref().map(Secret::reveal) != Some(right) => {
                Err(Refusal::new("login.wrong-password"))
            }
            Some(_) => {
                *me = user;
                Ok(Value::Null)
            }
        },
        Call::Request { verb: "register", json } => {
            let name = json["name"].as_str().expect("a name").to_owned();
            if name == taken || known.contains_key(&name) {
                return Err(Refusal::new("name.used"));
            }
            known.insert(name.clone(), json["password"].as_str().expect("a password").into());
            Ok(json!({"user": name, "number": 7}))
        }
        Call::Request { verb: "profile/get", .. } => Ok(json!({"user": me, "number": 7})),
        Call::Request { verb: "token/create", .. } => Ok(json!({"token": "tok"})),
        other => panic!("{other:?}"),
    }
}

fn settings(base: &str, identities: std::path::PathBuf) -> openid::Settings {
    openid::Settings {
        issuer: "https://provider.example.org".into(),
        authorization: format!("{base}/authorize"),
        token: format!("{base}/token"),
        keys: format!("{base}/keys"),
        client_id: CLIENT.into(),
        client_secret: Some(Secret::new(SECRET)),
        redirect: REDIRECT.into(),
        identities,
    }
}

fn desk(settings: openid::Settings, start: Start) -> Arc<Desk> {
    let openid = OpenId::open(settings).expect("opened");
    Arc::new(Desk::new(server::Settings::default(), Some(openid), start))
}

async fn ask(desk: &Arc<Desk>, path: &str, cookie: &str) -> Response {
    let request = Request::builder().uri(path).header(header::COOKIE, cookie).body(Body::empty());
    server::answer(desk, from(), request.expect("a request")).await
}

fn header_of(response: &Response, name: header::HeaderName) -> String {
    response.headers()[name].to_str().expect("text").to_owned()
}

/// Goes to the provider and back: where the browser comes back, and its cookie.
async fn at_the_provider(desk: &Arc<Desk>, base: &str) -> (String, String) {
    let sent = ask(desk, "/login", "").await;
    assert_eq!(sent.status(), 302);
    let cookie = header_of(&sent, header::SET_COOKIE).split(';').next().expect("a pair").to_owned();
    let location = header_of(&sent, header::LOCATION);
    let path = location.strip_prefix(base).expect("the provider").to_owned();
    let stream = tokio::net::TcpStream::connect(base.trim_start_matches("http://")).await.expect("reached");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    let request =
        Request::builder().uri(path).header(header::HOST, "x").body(Body::empty()).expect("a request");
    let back = sender.send_request(request).await.expect("an answer");
    let back = back.headers()[header::LOCATION].to_str().expect("text").to_owned();
    (back.strip_prefix("http://127.0.0.1").expect("us").to_owned(), format!("other=1; {cookie}"))
}

async fn body(response: Response) -> Value {
    let bytes = to_bytes(response.into_body(), 100_000).await.expect("a body");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[tokio::test]
async fn who_the_provider_vouches_for_has_one_account_also_after_a_restart() {
    let (_provider, base) = Provider::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let identities = folder.path().join("identities.json");
    let start = accounts("ann.smith");
    for run in 0..2 {
        let desk = desk(settings(&base, identities.clone()), start.clone());
        for _ in 0..2 {
            let (back, cookie) = at_the_provider(&desk, &base).await;
            let done = ask(&desk, &back, &cookie).await;
            assert_eq!(done.status(), 200, "run {run}");
            let user = body(done).await;
            assert_eq!((&user["username"], &user["id"]), (&json!("ann.smith2"), &json!(7)));
            let token = base64::decode(user["token"].as_str().expect("a token")).or_else(|| {
                let padded = format!("{}=", user["token"].as_str()?);
                base64::decode(&padded).or_else(|| base64::decode(&format!("{padded}=")))
            });
            assert_eq!(token.as_deref(), Some(&b"ann.smith2\ntok"[..]));
        }
    }
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&identities).expect("kept").permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_token_that_is_not_right_lets_nobody_in() {
    let (provider, base) = Provider::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let desk = desk(settings(&base, folder.path().join("identities.json")), accounts(""));
    let all =
        [Wrong::Audience, Wrong::Issuer, Wrong::Nonce, Wrong::Expiry, Wrong::Signature, Wrong::Unsigned];
    for wrong in all {
        *provider.wrong.lock().expect("no panic") = wrong;
        let (back, cookie) = at_the_provider(&desk, &base).await;
        assert_eq!(ask(&desk, &back, &cookie).await.status(), 401, "{wrong:?}");
    }
    *provider.wrong.lock().expect("no panic") = Wrong::Nothing;
    let (back, cookie) = at_the_provider(&desk, &base).await;
    assert_eq!(ask(&desk, &back, &cookie).await.status(), 200);
}

#[tokio::test]
async fn only_the_browser_that_was_sent_comes_back_and_once() {
    let (_provider, base) = Provider::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let desk = desk(settings(&base, folder.path().join("identities.json")), accounts(""));
    let (back, cookie) = at_the_provider(&desk, &base).await;
    assert_eq!(ask(&desk, &back, "").await.status(), 401);
    assert_eq!(ask(&desk, &back, "katydid_login=other").await.status(), 401);
    assert_eq!(ask(&desk, &back, &cookie).await.status(), 200);
    assert_eq!(ask(&desk, &back, &cookie).await.status(), 401);
    let (back, cookie) = at_the_provider(&desk, &base).await;
    let (_, state) = back.split_once("state=").expect("a state");
    let refused = ask(&desk, &format!("/login/callback?error=access_denied&state={state}"), &cookie).await;
    assert_eq!(body(refused).await["reason"], "the provider refused: access_denied");
    assert_eq!(ask(&desk, &back, &cookie).await.status(), 401);
}

#[tokio::test]
async fn a_provider_that_is_away_or_refuses_is_said_so() {
    let (_provider, base) = Provider::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let desk = desk(settings(&base, folder.path().join("identities.json")), accounts(""));
    let (back, cookie) = at_the_provider(&desk, &base).await;
    let guessed = back.replace("c0de", "guess");
    let refused = ask(&desk, &guessed, &cookie).await;
    assert_eq!(refused.status(), 502);
    assert_eq!(body(refused).await["error"], "login.provider");
}

#[tokio::test]
async fn without_a_provider_nobody_is_sent_anywhere() {
    let script = Script::new(server::Settings::default());
    assert_eq!(ask(&script.desk, "/login", "").await.status(), 404);
    assert_eq!(ask(&script.desk, "/login/callback?code=x&state=y", "").await.status(), 404);
}
