//! HTTP and JSON for what the broker says: status codes for its codes, answers, the fields of a query.

use crate::chat::Refusal;
use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// An answer that says what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) code: String,
    pub(crate) reason: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &str, reason: impl Into<String>) -> Self {
        Self { status, code: code.into(), reason: reason.into() }
    }

    pub(crate) fn unauthorized(reason: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "login.needed", reason)
    }

    pub(crate) fn field(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "request.bad-field", reason)
    }

    pub(crate) fn forbidden(reason: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "request.not-permitted", reason)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { status: status(&refusal.code), code: refusal.code, reason: refusal.reason }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = answer(self.status, &json!({"error": self.code, "reason": self.reason}));
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

/// The status for a code of `topics.md`.
pub(crate) fn status(code: &str) -> StatusCode {
    match code {
        "name.used"
        | "room.exists"
        | "group.exists"
        | "room.already-member"
        | "room.full"
        | "room.owner-stays" => StatusCode::CONFLICT,
        "login.registration-closed" | "login.operators-account" | "login.blocked" => StatusCode::FORBIDDEN,
        "login.bad-password" => StatusCode::BAD_REQUEST,
        "broker.failed" | Refusal::LOST | Refusal::FULL | Refusal::NOT_SIGNED_IN => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        "request.not-found" => StatusCode::NOT_FOUND,
        "request.not-permitted" | "message.not-yours" => StatusCode::FORBIDDEN,
        "request.too-long" | "message.too-long" => StatusCode::PAYLOAD_TOO_LARGE,
        code if code.starts_with("rate.") => StatusCode::TOO_MANY_REQUESTS,
        code if code.starts_with("login.") => StatusCode::UNAUTHORIZED,
        code if code.ends_with(".not-found") || code == "user.offline" => StatusCode::NOT_FOUND,
        code if code.starts_with("room.") => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// JSON that nobody may keep.
pub(crate) fn answer(status: StatusCode, json: &Value) -> Response {
    let mut response = Response::new(Body::from(json.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

/// The fields of a query or a form, their names in lower case.
pub(crate) fn fields(query: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (plain(name).to_lowercase(), plain(value))
    };
    query.split('&').filter(|part| !part.is_empty()).take(32).map(pair).collect()
}

/// A text of a query as it was meant: `+` is a space, `%C3%BC` a ü.
fn plain(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.filter(|it| it.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match (byte, code.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &tail[2..];
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A text as it may stand in a query.
pub(crate) fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte.into());
        } else {
            out += &format!("%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_have_the_status_that_clients_know() {
        for (code, wanted) in [
            ("login.wrong-password", 401),
            ("user.not-found", 404),
            ("group.exists", 409),
            ("room.not-member", 403),
            ("name.invalid", 400),
            ("rate.history", 429),
            ("bridge.lost", 503),
            ("message.too-long", 413),
        ] {
            assert_eq!(status(code).as_u16(), wanted, "{code}");
        }
    }

    #[test]
    fn a_query_is_read_as_it_was_meant() {
        let wanted = [("name", "J\u{fc}rgen B"), ("type", ""), ("x", "%zz")];
        let wanted: Vec<_> = wanted.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        assert_eq!(fields("Name=J%C3%BCrgen+B&Type&x=%zz&"), wanted);
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_read_again(text: String) {
            prop_assert_eq!(plain(&percent(&text)), text);
        }
    }
}
