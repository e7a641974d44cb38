//! Pages of history: turns the entries of a place's log into the JSON of an answer to `history`.
//!
//! It knows neither the log nor rights: whoever may ask was decided before. Its invariants: a page is ascending and without
//! holes other than ignored senders, never larger than it was told, and says `end` only where nothing was left out at
//! the end that it was asked for.

use crate::directory::{Side, Window};
use crate::request::{self, Entry};

/// The largest page in bytes, whatever the client takes.
pub const PAGE_BYTES: usize = 256 * 1024;

/// An entry of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged<'a> {
    /// Its number.
    pub seq: u64,
    /// Its time in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Its whole topic; the last level is the sender.
    pub topic: &'a str,
    /// What was said; `None` where it was taken away.
    pub payload: Option<&'a [u8]>,
    /// The user property `id`.
    pub id: Option<&'a str>,
}

/// What was read for a request.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The place.
    pub place: &'a str,
    /// What was asked for.
    pub window: Window,
    /// Ascending, inside the window, at most as many as it says, on the side that it says.
    pub entries: &'a [Logged<'a>],
    /// Whether the window holds nothing more.
    pub is_end: bool,
}

/// The JSON of the answer: as many entries as fit in `bytes_max`.
///
/// `id` is the request's, as JSON. `without` are senders to leave out.
pub fn answer<S: AsRef<str>>(
    reading: &Reading<'_>,
    without: &[S],
    id: Option<&str>,
    bytes_max: usize,
) -> String {
    let frame = request::answer(
        id,
        &request::Page { place: reading.place.to_owned(), next: Some(u64::MAX), ..Default::default() },
    );
    let room = bytes_max.min(PAGE_BYTES).saturating_sub(frame.len());
    let mut taken = vec![None; reading.entries.len()];
    let (mut used, mut is_end) = (0, reading.is_end);
    for index in by_need(reading) {
        let logged = &reading.entries[index];
        let from = logged.topic.rsplit('/').next().unwrap_or_default();
        if without.iter().any(|sender| sender.as_ref() == from) {
            continue;
        }
        let mut text = json(logged, from);
        // One comma more than there will be.
        if text.len() + 1 > room {
            text = stub(logged, from);
        }
        if used + text.len() + 1 > room {
            is_end = false;
            break;
        }
        used += text.len() + 1;
        taken[index] = Some(text);
    }
    let taken: Vec<String> = taken.into_iter().flatten().collect();
    let next = (taken.is_empty() && !is_end).then(|| edge(reading)).flatten();
    assemble(reading.place, &taken, is_end, next, id)
}

/// The indices of the entries, those first that a page cannot do without. What is dropped from its end leaves no hole.
fn by_need(reading: &Reading<'_>) -> Vec<usize> {
    let count = reading.entries.len();
    match reading.window.side {
        Side::Oldest => (0..count).collect(),
        Side::Newest => (0..count).rev().collect(),
        Side::Around(seq) => {
            let above = reading.entries.partition_point(|entry| entry.seq <= seq);
            let (mut down, mut up) = ((0..above).rev(), above..count);
            let mut order = Vec::with_capacity(count);
            while order.len() < count {
                order.extend(down.next());
                order.extend(up.next());
            }
            order
        }
    }
}

/// Where to go on when everything that was read is left out.
fn edge(reading: &Reading<'_>) -> Option<u64> {
    match reading.window.side {
        Side::Oldest => reading.entries.last(),
        Side::Newest | Side::Around(_) => reading.entries.first(),
    }
    .map(|entry| entry.seq)
}

fn bare(logged: &Logged<'_>, from: &str) -> Entry {
    Entry {
        seq: logged.seq,
        time: crate::time::format(logged.time_ms),
        topic: logged.topic.to_owned(),
        from: from.to_owned(),
        id: logged.id.map(str::to_owned),
        ..Entry::default()
    }
}

fn json(logged: &Logged<'_>, from: &str) -> String {
    let mut entry = bare(logged, from);
    match logged.payload.map(|payload| (payload, std::str::from_utf8(payload))) {
        None => entry.deleted = true,
        Some((_, Ok(text))) => entry.text = Some(text.to_owned()),
        Some((payload, Err(_))) => entry.base64 = Some(crate::base64::encode(payload)),
    }
    crate::event::json(&entry)
}

fn stub(logged: &Logged<'_>, from: &str) -> String {
    crate::event::json(&Entry { id: None, too_long: true, ..bare(logged, from) })
}

fn assemble(place: &str, entries: &[String], is_end: bool, next: Option<u64>, id: Option<&str>) -> String {
    let id = id.map(|id| format!("\"id\":{id},")).unwrap_or_default();
    let place = crate::event::json(&place);
    let next = next.map(|next| format!(",\"next\":{next}")).unwrap_or_default();
    let entries = entries.join(",");
    format!("{{\"ok\":true,{id}\"place\":{place},\"entries\":[{entries}],\"end\":{is_end}{next}}}")
}

#[cfg(test)]
mod tests;
