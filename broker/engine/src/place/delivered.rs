//! Private messages that are forgotten once they are delivered: what a session has acknowledged of a pair, and taking it
//! off the pair's log.
//!
//! Invariant: nothing is taken away that a session of the recipient, live or asleep, listens to and has not
//! acknowledged; what was published, or is listened to, with QoS 0 never is.

use super::{
    home::Fetch,
    members::filters_of,
    saying::{Act, read_event},
};
use crate::{
    Engine,
    desk::Asked,
    io::ReadQuery,
    message::{Message, Shared},
    session::{Origin, Sent},
};
use katydid_chat::topic::{self, Channel, Root, Topic};
use katydid_mqtt::{packet::QoS, session::Resend, topic::matches};
use katydid_store::Entry;
use std::sync::Arc;

/// Entries and bytes of one page.
const PAGE_ENTRIES: usize = 1024;
const PAGE_BYTES: usize = 1 << 20;

impl Engine {
    /// A session whose user wants what is delivered forgotten has acknowledged something.
    pub(crate) fn tell_delivered(&mut self, index: u32, sent: &Sent) {
        let Topic::Said(said) = topic::classify(sent.message.topic()) else { return };
        let me = self.sessions.peek(index).and_then(|session| session.name.clone());
        if said.root == Root::Pair
            && let Some(user) = me.filter(|me| **me == *said.name)
        {
            self.ask(Asked::Delivered { place: said.place().into(), user });
        }
    }

    /// The number below which a session has acknowledged everything in a pair; `None` where it does not listen to what is
    /// said there to its user.
    pub(crate) fn acknowledged_below(&self, index: u32, id: u64, place: &Arc<str>) -> Option<u64> {
        let session = self.sessions.peek(index).filter(|session| session.id == id)?;
        let me = session.name.as_deref()?;
        let (one, other) = topic::users_of(place)?;
        let from = if one == me { other } else { one };
        let heard = format!("user/{me}/msg/{from}");
        let (filters, _) = filters_of(session, place, true, None);
        let granted = filters.iter().filter(|filter| matches(&filter.within, &heard));
        if granted.map(|filter| filter.options.qos).max()? == QoS::AtMostOnce {
            return Some(0);
        }
        let seat = session.seats.iter().find(|seat| self.views[seat.view as usize].name == *place);
        let Some(seat) = seat else { return Some(0) };
        let view = &self.views[seat.view as usize];
        let in_flight = session.outbound.iter().filter_map(|resend| match resend {
            Resend::Publish { message: Sent { origin: Origin::Place(log, seq), .. }, .. }
                if *log == view.log =>
            {
                Some(*seq)
            }
            _ => None,
        });
        let cursor = view.members[seat.member as usize].cursor;
        Some(in_flight.min().map_or(cursor, |seq| seq.min(cursor)))
    }

    /// Forgets what was said to a user in a pair below a number.
    pub(crate) fn forget_at_home(&mut self, place: &Arc<str>, user: &Arc<str>, below: u64) {
        let Some(home) = self.homes.get_mut(place) else { return };
        let from = home.forgotten.get(user).copied().unwrap_or(0).max(home.first);
        if below <= from {
            return;
        }
        home.forgotten.insert(user.clone(), below);
        let tail_first = home.tail_first();
        let recent = home.tail.iter().map(|(entry, _)| entry);
        let due = |entry: &&Shared| from <= entry.seq && entry.seq < below && is_to(entry, user);
        let delivered: Vec<Shared> = recent.filter(due).cloned().collect();
        for entry in delivered {
            self.amend(place, Arc::new(entry.deleted()));
        }
        if from < tail_first {
            self.forget_from(place, user, from, below.min(tail_first));
        }
    }

    /// Goes on with what is on disk only, a page at a time.
    fn forget_from(&mut self, place: &Arc<str>, user: &Arc<str>, from: u64, below: u64) {
        let Some(log) = self.homes.get(place).map(|home| home.log) else { return };
        let query = ReadQuery::From { seq: from, entries: PAGE_ENTRIES, bytes: PAGE_BYTES };
        self.fetch(log, query, Fetch::Forget { place: place.clone(), user: user.clone(), below });
    }

    /// A page of the log is here.
    pub(super) fn on_forget(&mut self, place: &Arc<str>, user: &Arc<str>, below: u64, entries: &[Entry]) {
        let read = entries.iter().filter(|entry| entry.seq < below);
        for entry in read.filter_map(|entry| Message::from_disk(&entry.bytes)) {
            if is_to(&entry, user) {
                self.amend(place, Arc::new(entry.deleted()));
            }
        }
        if let Some(last) = entries.last()
            && last.seq + 1 < below
        {
            self.forget_from(place, user, last.seq + 1, below);
        }
    }
}

/// Whether an entry is a private message to a user, or an edit of one, that can have been acknowledged.
fn is_to(entry: &Message, user: &str) -> bool {
    let Topic::Said(said) = topic::classify(entry.topic()) else { return false };
    let has_text = match said.channel {
        Channel::Message => true,
        Channel::Event => matches!(read_event(entry.payload()), Some((Some(Act::Edit), _))),
        _ => false,
    };
    has_text && said.name == user && entry.qos != QoS::AtMostOnce && !entry.is_deleted
}
