//! Search in what was said: where somebody may look, and, when something was found, whether they still may see it.
//!
//! It reads no log. Invariant: a hit is in an answer only if the asker may read its place at the moment of the answer, in
//! the place that the name meant when it was asked, and hears its sender.

use super::people::Uid;
use super::places::{Pid, Root};
use super::requests::Asker;
use super::{Directory, Effect, Place, Ticket};
use crate::code::Code;
use crate::permission::Deed;
use crate::request::{Edge, FIND_HITS_USUAL, Find, Hits};
use crate::search::{self, Findings, Query, Quest, Spot};
use std::collections::HashMap;

/// Searches of one user that run at a time.
const AT_ONCE: usize = 4;

/// A search that runs.
#[derive(Debug)]
pub(super) struct Finding {
    asker: Asker,
    places: HashMap<Place, Meant>,
}

/// What a place's name meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meant {
    Place(Pid),
    Pair(Uid, Uid),
}

impl Directory {
    pub(super) fn find_said(&mut self, asker: &Asker, ask: Find) -> Result<Option<Hits>, Code> {
        let places = match &ask.place {
            Some(place) => self.place_to_search(asker, place)?.into_iter().collect(),
            None => self.places_to_search(asker),
        };
        self.may_page(asker)?;
        let running = self.finding.values().filter(|finding| finding.asker.uid == asker.uid).count();
        if running >= AT_ONCE && !asker.is_operator() {
            return Err(Code::RateHistory);
        }
        let (after, before) = (edges(ask.after, 0)?, edges(ask.before, u64::MAX)?);
        let quest = Quest {
            places: places.keys().cloned().collect(),
            query: Query::parse(&ask.query)?,
            from: ask.from,
            without: self.ignored_by(asker.uid),
            after_seq: after.0,
            before_seq: before.0,
            from_ms: after.1,
            until_ms: before.1,
            behind: ask.next.as_deref().and_then(Spot::parse),
            count: ask.limit.unwrap_or(FIND_HITS_USUAL) as usize,
        };
        if quest.places.is_empty() {
            return Ok(Some(Hits { end: true, ..Hits::default() }));
        }
        let ticket = asker.reply.ticket;
        self.finding.insert(ticket, Finding { asker: asker.clone(), places });
        self.out.push(Effect::Search { ticket, quest: Box::new(quest) });
        Ok(None)
    }

    /// What was found may have been taken out of the asker's sight meanwhile.
    pub(super) fn found(&mut self, ticket: Ticket, findings: &Result<Findings, Code>, bytes: usize) {
        let Some(Finding { mut asker, places }) = self.finding.remove(&ticket) else { return };
        let findings = match findings {
            Ok(findings) => findings.clone(),
            Err(code) => return self.out.push(asker.reply.refuse(*code)),
        };
        if !asker.is_operator() {
            let Some(user) = self.user(asker.uid) else {
                return self.out.push(asker.reply.refuse(Code::LoginNeeded));
            };
            asker.kind = user.kind();
        }
        let mut readable: HashMap<&Place, bool> = HashMap::new();
        for (place, meant) in &places {
            readable.insert(place, self.may_see(&asker, place, *meant));
        }
        let ignored = self.ignored_by(asker.uid);
        let is_seen = |hit: &search::Hit| {
            let is_readable = readable.get(&hit.spot.place).copied().unwrap_or(false);
            is_readable && !ignored.iter().any(|name| **name == *hit.from())
        };
        let Findings { mut hits, next } = findings;
        hits.retain(is_seen);
        let payload = search::answer(Findings { hits, next }, asker.reply.id.as_deref(), bytes);
        self.out.push(Effect::Answer { ticket, payload });
    }

    fn may_see(&self, asker: &Asker, place: &Place, meant: Meant) -> bool {
        match meant {
            Meant::Place(pid) => self.may(asker, pid, Deed::Read).is_ok(),
            Meant::Pair(a, b) => self.pairs.get(&(a, b)).is_some_and(|pair| pair.place == *place),
        }
    }

    /// One place, if the asker may read it; none for a pair that has never spoken.
    fn place_to_search(&self, asker: &Asker, place: &str) -> Result<Option<(Place, Meant)>, Code> {
        match place.split_once('/').ok_or(Code::BadField)? {
            ("user", other) => {
                let other = self.people.speaker(other).ok_or(Code::UserNotFound)?;
                Ok(self.pair_to_search(asker.uid, other))
            }
            (root, name) => {
                let pid = self.find(Root::parse(root).ok_or(Code::BadField)?, name)?;
                self.may(asker, pid, Deed::Read)?;
                let place = self.place(pid).ok_or(Code::RoomNotFound)?.place.clone();
                Ok(Some((place, Meant::Place(pid))))
            }
        }
    }

    fn pair_to_search(&self, me: Uid, other: Uid) -> Option<(Place, Meant)> {
        let ids = super::pairs::ordered(me, other);
        self.pairs.get(&ids).map(|pair| (pair.place.clone(), Meant::Pair(ids.0, ids.1)))
    }

    /// Every place that the asker is in and may read; for the operator all rooms and groups.
    fn places_to_search(&self, asker: &Asker) -> HashMap<Place, Meant> {
        if asker.is_operator() {
            let all = self.places.all.iter();
            return all.map(|(pid, place)| (place.place.clone(), Meant::Place(*pid))).collect();
        }
        let Some(user) = self.user(asker.uid) else { return HashMap::new() };
        let of_places = user.places.iter().filter_map(|&pid| {
            let may = self.is_in(pid, asker.uid) && self.may(asker, pid, Deed::Read).is_ok();
            let place = self.place(pid).filter(|_| may)?;
            Some((place.place.clone(), Meant::Place(pid)))
        });
        let of_pairs = user.pairs.iter().filter_map(|&other| self.pair_to_search(asker.uid, other));
        of_places.chain(of_pairs).collect()
    }
}

/// A bound of the number and of the time, of which one is `none`.
fn edges(edge: Option<Edge>, none: u64) -> Result<(u64, u64), Code> {
    match edge {
        None => Ok((none, none)),
        Some(Edge::Seq(seq)) => Ok((seq, none)),
        Some(Edge::Time(time)) => Ok((none, crate::time::parse(&time).ok_or(Code::BadField)?)),
    }
}
