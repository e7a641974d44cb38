//! What may be said in a place: each thing that is published there passes this, at the place's home, in the order in
//! which it came. What cannot be decided yet holds back what follows.

use super::home::{Arrival, Fetch, Known};
use crate::{
    Engine,
    acks::Outcome,
    crossing::{By, Crossing, home},
    desk::Asked,
    io::ReadQuery,
    message::{Message, Shared},
    persist,
};
use katydid_chat::{
    code::Code,
    name::BROKER,
    permission::{Deed, UserKind, permits},
    topic::{self, Channel, Said, Topic},
};
use std::{ops::Range, sync::Arc};

/// What the front of the held messages waits for, from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LookUp {
    /// Nothing.
    Nothing,
    /// It was asked for.
    Asked,
    /// The entry with this number, where there is one.
    Found(u64, Option<Shared>),
}

/// Whether something may be said.
enum Verdict {
    Yes,
    No(Code),
    /// It has to be looked at again, when what was asked for is here.
    Later,
    /// Done, without a number.
    Done,
    /// Done, and its publisher is told already, or as soon as the disk has it.
    Answered,
}

/// What an event does to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Edit,
    Delete,
    React,
    Pin,
}

/// Refusals and gaps that a shard tells people of in a second, at most: each costs an entry of a log.
const NOTICES: u32 = 64;

impl Engine {
    /// Takes what is published in a place whose home is here.
    pub(crate) fn publish_to_place(&mut self, arrival: Arrival) {
        let Topic::Said(said) = topic::classify(arrival.message.topic()) else { return };
        let place = said.place();
        let now_ms = self.now.mono_ms;
        let home = self.home_mut(&place);
        home.last_used_ms = now_ms;
        if !home.held.is_empty() {
            home.held.push_back(arrival);
            return;
        }
        if !self.take(&place, &said, &arrival) {
            self.home_mut(&place).held.push_back(arrival);
        }
    }

    /// Takes what was held back, as far as it can be decided.
    pub(super) fn release_held(&mut self, place: &str) {
        loop {
            let Some(home) = self.homes.get_mut(place) else { return };
            let Some(arrival) = home.held.front().cloned() else { return };
            let Topic::Said(said) = topic::classify(arrival.message.topic()) else { return };
            if !self.take(place, &said, &arrival) {
                return;
            }
            if let Some(home) = self.homes.get_mut(place) {
                home.held.pop_front();
            }
        }
    }

    /// Decides about one thing that is said, and does it; `false` when it cannot be decided yet.
    fn take(&mut self, place: &str, said: &Said<'_>, arrival: &Arrival) -> bool {
        match self.judge(place, said, arrival) {
            Verdict::Yes => {
                self.number(place, arrival);
                self.remember_id(place, said.from, &arrival.message);
                self.look_for_mentions(place, said, arrival);
            }
            Verdict::No(code) => {
                self.deny(said, arrival, code);
                self.forget_will(arrival.mark);
            }
            Verdict::Later => return false,
            Verdict::Answered => self.forget_will(arrival.mark),
            Verdict::Done => {
                self.forget_will(arrival.mark);
                if let Some(reply) = arrival.reply {
                    self.reply(reply, Outcome::SUCCESS);
                }
            }
        }
        true
    }

    fn judge(&mut self, place: &str, said: &Said<'_>, arrival: &Arrival) -> Verdict {
        let Some(home) = self.homes.get_mut(place) else { return Verdict::Later };
        let rules = match &home.rules {
            Known::Rules(rules) => rules,
            Known::Nowhere => return Verdict::No(Code::no_place(place)),
            Known::Asked => return Verdict::Later,
            Known::Nothing => {
                home.rules = Known::Asked;
                let kind = match arrival.by {
                    By::Broker => UserKind::Registered,
                    By::User { kind, .. } => kind,
                };
                let place = home.name.clone();
                self.ask(Asked::Open { place, user: said.from.into(), kind });
                return Verdict::Later;
            }
        };
        let By::User { kind, .. } = arrival.by else {
            return if self.has_number(place) { Verdict::Yes } else { Verdict::Later };
        };
        if said.channel == Channel::Post {
            return Verdict::No(Code::Reserved);
        }
        let standing = home.standings.get(said.from).copied();
        let deed = match said.channel {
            Channel::Read => Deed::Mark,
            Channel::Message | Channel::Event | Channel::Typing | Channel::Post => Deed::Say,
        };
        if let Err(code) = permits(deed, rules, standing, kind) {
            return Verdict::No(code);
        }
        match said.channel {
            Channel::Typing => {
                self.signal(place, &arrival.message);
                return Verdict::Done;
            }
            Channel::Read => return self.set_marker(place, said, arrival),
            Channel::Event => match self.judge_event(place, said, arrival, kind) {
                Verdict::Yes => {}
                other => return other,
            },
            Channel::Message | Channel::Post => {}
        }
        match self.is_repeated(place, said.from, &arrival.message) {
            None => return Verdict::Later,
            Some(Some(numbered)) => {
                if let Some(mark) = arrival.mark {
                    self.journal.push(persist::settle_mark(mark));
                }
                self.acknowledge(arrival, numbered);
                return Verdict::Answered;
            }
            Some(None) => {}
        }
        if !self.has_number(place) {
            return Verdict::Later;
        }
        if said.channel == Channel::Event {
            self.carry_out_event(place, arrival);
        }
        Verdict::Yes
    }

    /// A refusal: 5.0 is told in the acknowledgement, 3.1.1 is acknowledged, and told by an event.
    pub(super) fn deny(&mut self, said: &Said<'_>, arrival: &Arrival, code: Code) {
        self.links.counters.publishes_dropped += 1;
        self.links.counters.refused_not_authorized += 1;
        if let Some(reply) = arrival.reply {
            self.reply(reply, Outcome::denied(code));
        }
        if matches!(arrival.by, By::User { is_deaf: true, .. }) {
            self.notify_refusal(said.from, arrival.message.topic(), code);
        }
    }

    /// Tells a user by an event that something it published was refused.
    pub(crate) fn notify_refusal(&mut self, user: &str, topic: &str, code: Code) {
        let payload = format!(
            "{{\"type\":\"refused\",\"topic\":{},\"code\":\"{}\",\"reason\":\"{}\"}}",
            serde_json::Value::from(topic),
            code.as_str(),
            code.reason()
        );
        self.notify(user, &payload);
    }

    /// Tells the user of a session that numbers of a place are gone before they were sent to it.
    pub(super) fn notify_gap(&mut self, session: u32, place: &str, lost: Range<u64>) {
        let Some(me) = self.sessions.peek(session).and_then(|session| session.name.clone()) else { return };
        // The events themselves are in the log of such a pair.
        if *place == *topic::pair(&me, BROKER) {
            return;
        }
        let payload = serde_json::json!({
            "type": "gap", "place": place, "after": lost.start.saturating_sub(1), "before": lost.end,
            "lost": lost.end - lost.start,
        });
        self.notify(&me, &payload.to_string());
    }

    /// Says something to a user in the broker's name.
    fn notify(&mut self, user: &str, payload: &str) {
        let second = self.now.mono_ms / 1000;
        if self.notices.0 != second {
            self.notices = (second, 0);
        }
        self.notices.1 += 1;
        if self.notices.1 > NOTICES {
            return;
        }
        let pair = topic::pair(user, BROKER);
        let topic = format!("user/{user}/event/{BROKER}");
        let message = Arc::new(Message::from_broker(&topic, payload.as_bytes(), false));
        let crossing = Crossing::Publish { message, reply: None, mark: None, by: By::Broker };
        self.tell(home(&pair, self.shards), crossing);
    }

    /// A read marker: the highest number wins.
    fn set_marker(&mut self, place: &str, said: &Said<'_>, arrival: &Arrival) -> Verdict {
        let text = std::str::from_utf8(arrival.message.payload()).unwrap_or_default();
        let Some(home) = self.homes.get_mut(place) else { return Verdict::Later };
        let Ok(seq) = text.trim().parse::<u64>() else { return Verdict::No(Code::BadEvent) };
        if seq >= home.next {
            return Verdict::No(Code::MessageNotFound);
        }
        let known = home.markers.get(said.from).copied().unwrap_or(0);
        if seq <= known {
            return Verdict::Done;
        }
        home.markers.insert(said.from.into(), seq);
        let payload = seq.to_string();
        let message = Arc::new(Message::from_broker(arrival.message.topic(), payload.as_bytes(), true));
        let within = &arrival.message.topic()[super::within_at(place)..];
        home.kept.insert(within.into(), message.clone());
        self.journal.push(persist::put_marker(place, said.from, seq));
        self.signal(place, &message);
        let Some(reply) = arrival.reply else { return Verdict::Done };
        let waiter = crate::journal::Waiter::Publish(reply, Outcome::SUCCESS);
        if !self.journal.wait(waiter) {
            self.finish(waiter);
        }
        Verdict::Answered
    }

    /// An event names an entry that exists, and its sender may do that to it.
    fn judge_event(&mut self, place: &str, said: &Said<'_>, arrival: &Arrival, kind: UserKind) -> Verdict {
        let Some((act, seq)) = read_event(arrival.message.payload()) else {
            return Verdict::No(Code::BadEvent);
        };
        let Some(act) = act else { return Verdict::Yes };
        let Some(seq) = seq else { return Verdict::No(Code::BadEvent) };
        let Some(home) = self.homes.get_mut(place) else { return Verdict::Later };
        if seq == 0 || seq >= home.next || seq < home.first {
            return Verdict::No(Code::MessageNotFound);
        }
        let entry = match (home.in_tail(seq), &home.looked_up) {
            (Some(entry), _) => Some(entry.clone()),
            (None, _) if home.tail_first() <= seq => None,
            (None, LookUp::Found(found, entry)) if *found == seq => entry.clone(),
            (None, LookUp::Asked) => return Verdict::Later,
            (None, _) => {
                home.looked_up = LookUp::Asked;
                let (log, name) = (home.log, home.name.clone());
                let query = ReadQuery::From { seq, entries: 1, bytes: 1 };
                self.fetch(log, query, Fetch::Named { place: name, seq });
                return Verdict::Later;
            }
        };
        let Some(entry) = entry.filter(|entry| entry.seq == seq && !entry.is_deleted) else {
            return Verdict::No(Code::MessageNotFound);
        };
        let author = entry.topic().rsplit('/').next().unwrap_or_default();
        let own = author == said.from;
        let deed = match act {
            Act::Edit => Deed::Edit { own },
            Act::Delete => Deed::Delete { own },
            Act::React => Deed::Say,
            Act::Pin => Deed::Pin,
        };
        let Some(home) = self.homes.get(place) else { return Verdict::Later };
        let Known::Rules(rules) = &home.rules else { return Verdict::Later };
        // The two of a pair have no moderators: both pin, and each deletes its own.
        let deed = if rules.is_pair && act == Act::Pin { Deed::Say } else { deed };
        match permits(deed, rules, home.standings.get(said.from).copied(), kind) {
            Ok(()) => Verdict::Yes,
            Err(code) if matches!(deed, Deed::Delete { own: false }) && rules.is_pair => {
                let _ = code;
                Verdict::No(Code::NotYours)
            }
            Err(code) => Verdict::No(code),
        }
    }

    /// The entry that an event names was read.
    pub(super) fn on_named(&mut self, place: &str, seq: u64, entries: &[katydid_store::Entry]) {
        let found = entries.first().filter(|entry| entry.seq == seq);
        let entry = found.and_then(|entry| Message::from_disk(&entry.bytes)).map(Arc::new);
        if let Some(home) = self.homes.get_mut(place) {
            home.looked_up = LookUp::Found(seq, entry);
        }
        self.release_held(place);
    }

    /// A delete takes away what was said, and leaves its number and time.
    fn carry_out_event(&mut self, place: &str, arrival: &Arrival) {
        let Some((Some(Act::Delete), Some(seq))) = read_event(arrival.message.payload()) else { return };
        let Some(home) = self.homes.get_mut(place) else { return };
        let looked_up = std::mem::replace(&mut home.looked_up, LookUp::Nothing);
        let entry = match (home.in_tail(seq).cloned(), looked_up) {
            (Some(entry), _) => entry,
            (None, LookUp::Found(found, Some(entry))) if found == seq => entry,
            _ => return,
        };
        self.amend(place, Arc::new(entry.deleted()));
    }
}

/// What an event does, and to which number; `None` where it is no event. Types that the broker does not know do nothing.
pub(super) fn read_event(payload: &[u8]) -> Option<(Option<Act>, Option<u64>)> {
    let event: serde_json::Value = serde_json::from_slice(payload).ok()?;
    let seq = event.get("seq").map_or(Some(None), |seq| seq.as_u64().map(Some))?;
    let act = match event.get("type")?.as_str()? {
        "edit" => Some(Act::Edit),
        "delete" => Some(Act::Delete),
        "reaction" => Some(Act::React),
        "pin" | "unpin" => Some(Act::Pin),
        _ => None,
    };
    Some((act, seq))
}
