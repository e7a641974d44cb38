//! Requests and their answers as types (`topics.md`, "Requests"): the JSON that clients send to `$chat/{verb}` and get
//! back, shared by the broker, the bridges and the clients.
//!
//! Decoding is where bad input ends: what comes out of [`decode`] has known fields only, of the right types and within
//! their limits. It never looks at who asks.

mod boards;
mod fields;
mod find;
mod oneself;
mod operator;
mod others;
mod places;
mod talk;

pub use boards::*;
pub use fields::{Visible, check_text};
pub use find::*;
pub use oneself::*;
pub use operator::*;
pub use others::*;
pub use places::*;
pub use talk::*;

use crate::code::Code;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Longest request in bytes.
pub const REQUEST_BYTES: usize = 64 * 1024;
/// Deepest nesting of a request.
pub const REQUEST_DEPTH: usize = 32;
/// Longest `id` in bytes.
pub const ID_BYTES: usize = 64;
/// Longest password in bytes.
pub const PASSWORD_BYTES: usize = 256;
/// Entries of a list at most.
pub const LIST_ENTRIES: u32 = 100;
/// Entries of a list unless asked otherwise.
pub const LIST_ENTRIES_USUAL: u32 = 50;
/// The greatest number that every JSON implementation keeps.
pub const NUMBER_MAX: u64 = (1 << 53) - 1;

/// A request of one verb.
pub trait Ask: Serialize + DeserializeOwned {
    /// What comes after `$chat/`; for rooms and groups what comes after `$chat/room/` and `$chat/group/`.
    const VERB: &'static str;
    /// What a good answer holds.
    type Answer: Serialize + DeserializeOwned;

    /// Checks what the types do not say: lengths and ranges. Names are checked where they are looked up.
    ///
    /// # Errors
    /// [`Code::BadField`], or another code that says more.
    fn check(&self) -> Result<(), Code> {
        Ok(())
    }
}

/// The answer to a request of nothing more than yes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// A request as it came: one object, its `id` apart.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// The `id`, as JSON.
    pub id: Option<String>,
    fields: Map<String, Value>,
}

impl Body {
    /// Reads the bytes of a request; none are `{}`.
    ///
    /// # Errors
    /// `request.too-long`, `request.too-deep`, `request.malformed` or `request.bad-field` (the `id`), with the `id` where
    /// it could be read.
    pub fn read(bytes: &[u8]) -> Result<Self, Code> {
        if bytes.len() > REQUEST_BYTES {
            return Err(Code::TooLong);
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        if depth(bytes) > REQUEST_DEPTH {
            return Err(Code::TooDeep);
        }
        let mut fields: Map<String, Value> = serde_json::from_slice(bytes).map_err(|_| Code::Malformed)?;
        let id = match fields.remove("id") {
            None | Some(Value::Null) => None,
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::String(text)) if text.len() <= ID_BYTES => Some(Value::String(text).to_string()),
            Some(_) => return Err(Code::BadField),
        };
        Ok(Self { id, fields })
    }

    /// The request of a verb.
    ///
    /// # Errors
    /// `request.unknown-field`, `request.bad-field`, or what [`Ask::check`] says.
    pub fn ask<A: Ask>(self) -> Result<A, Code> {
        let ask: A = serde_json::from_value(Value::Object(self.fields)).map_err(|error| {
            // serde says it in words only; the words are those of its own `unknown_field`.
            if error.to_string().starts_with("unknown field") { Code::UnknownField } else { Code::BadField }
        })?;
        ask.check()?;
        Ok(ask)
    }
}

/// Reads a request of a known verb from its bytes.
///
/// # Errors
/// As [`Body::read`] and [`Body::ask`].
pub fn decode<A: Ask>(bytes: &[u8]) -> Result<A, Code> {
    Body::read(bytes)?.ask()
}

/// How deep brackets nest, outside of strings. The bytes need not be JSON.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for &byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The JSON of a good answer.
pub fn answer<T: Serialize>(id: Option<&str>, body: &T) -> String {
    // The types of this module serialize to objects; one that does not is a defect here, and becomes an empty object.
    let body = serde_json::to_string(body).ok().filter(|body| body.starts_with('{')).unwrap_or("{}".into());
    let head = match id {
        Some(id) => format!("{{\"ok\":true,\"id\":{id}"),
        None => "{\"ok\":true".to_owned(),
    };
    let separator = if body == "{}" { "" } else { "," };
    format!("{head}{separator}{}", &body[1..])
}

/// The JSON of a refusal.
pub fn refusal(id: Option<&str>, code: Code) -> String {
    let id = id.map(|id| format!("\"id\":{id},")).unwrap_or_default();
    format!("{{\"ok\":false,{id}\"code\":\"{}\",\"reason\":\"{}\"}}", code.as_str(), code.reason())
}

/// A refusal as a client reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// One of `topics.md`; see [`Code::parse`].
    pub code: String,
    /// For people.
    #[serde(default)]
    pub reason: String,
}

/// Reads an answer as a client does: the good one of its type, or the refusal.
///
/// # Errors
/// The JSON error of something that is no answer of this type.
pub fn read_answer<T: DeserializeOwned>(bytes: &[u8]) -> Result<Result<T, Refusal>, serde_json::Error> {
    let value: Value = serde_json::from_slice(bytes)?;
    if value.get("ok") == Some(&Value::Bool(true)) {
        serde_json::from_value(value).map(Ok)
    } else {
        serde_json::from_value(value).map(Err)
    }
}

/// The `id` of an answer, as JSON.
pub fn read_id(bytes: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    value.get("id").map(Value::to_string)
}

#[cfg(test)]
mod tests;
