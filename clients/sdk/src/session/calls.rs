//! Requests that wait for their answers.
//!
//! Invariant: at most [`CALLS_MAX`] wait; one whose caller has gone makes room.

use super::command::{Done, Question};
use crate::{Json, Refusal};
use bytes::Bytes;
use std::collections::HashMap;

/// How many requests wait for answers at once.
const CALLS_MAX: usize = 64;

#[derive(Debug)]
struct Call {
    verb: String,
    body: Json,
    done: Done<Json>,
    is_sent: bool,
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    waiting: HashMap<u64, Call>,
    last: u64,
}

impl Calls {
    /// Takes a question; `None` when there are too many, and the caller has been told.
    pub(super) fn open(&mut self, question: Question) -> Option<u64> {
        if self.waiting.len() >= CALLS_MAX {
            self.waiting.retain(|_, call| !call.done.is_closed());
        }
        if self.waiting.len() >= CALLS_MAX {
            let refusal = Refusal::new(Refusal::BUSY, "too many requests wait for answers");
            let _ = question.done.send(Err(refusal));
            return None;
        }
        self.last += 1;
        let Question { verb, body, done } = question;
        self.waiting.insert(self.last, Call { verb, body, done, is_sent: false });
        Some(self.last)
    }

    /// The topic and the payload of a question that is still of interest, and marks it as sent.
    pub(super) fn send(&mut self, number: u64) -> Option<(String, Bytes)> {
        let call = self.waiting.get_mut(&number)?;
        if call.done.is_closed() {
            self.waiting.remove(&number);
            return None;
        }
        call.is_sent = true;
        let mut body = call.body.take();
        if let Json::Object(fields) = &mut body {
            // Comes back in the answer also where Correlation Data does not.
            fields.entry("id").or_insert_with(|| number.into());
        }
        Some((format!("$chat/{}", call.verb), body.to_string().into()))
    }

    pub(super) fn refuse(&mut self, number: u64, refusal: Refusal) {
        if let Some(call) = self.waiting.remove(&number) {
            let _ = call.done.send(Err(refusal));
        }
    }

    /// An answer has come, for the request that its Correlation Data or its field `id` names.
    pub(super) fn answered(&mut self, correlation: Option<&[u8]>, payload: &[u8]) {
        let body: Result<Json, _> = serde_json::from_slice(payload);
        let number = correlation
            .and_then(|bytes| bytes.try_into().ok().map(u64::from_be_bytes))
            .or_else(|| body.as_ref().ok()?.get("id")?.as_u64());
        let Some(call) = number.and_then(|number| self.waiting.remove(&number)) else { return };
        let _ = call.done.send(match body {
            Ok(body) if body["ok"] == Json::Bool(true) => Ok(body),
            Ok(body) => Err(match body["code"].as_str() {
                Some(code) => {
                    Refusal::new(code.to_owned(), body["reason"].as_str().unwrap_or_default().to_owned())
                }
                None => Refusal::new(Refusal::ANSWER, "the answer has neither \"ok\" nor a code"),
            }),
            Err(error) => Err(Refusal::new(Refusal::ANSWER, format!("the answer is no JSON: {error}"))),
        });
    }

    /// The connection is lost: what was sent will not be answered.
    pub(super) fn lost(&mut self) {
        let numbers: Vec<u64> =
            self.waiting.iter().filter(|(_, call)| call.is_sent).map(|(number, _)| *number).collect();
        for number in numbers {
            let reason = "the connection was lost before the answer came";
            self.refuse(number, Refusal::new(Refusal::INTERRUPTED, reason));
        }
    }

    /// Refuses everything.
    pub(super) fn close(&mut self, refusal: &Refusal) {
        for (_, call) in self.waiting.drain() {
            let _ = call.done.send(Err(refusal.clone()));
        }
    }
}
