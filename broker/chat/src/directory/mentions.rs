//! Mentions: who is told that a message names them.
//!
//! They are gathered and told with the next flush, one event for what one user said of another in one place meanwhile; so
//! a thousand mentions are a handful of events. Invariant: who may not read the place, or does not hear the sender, is
//! told nothing, judged when it is told.

use super::Directory;
use super::people::Uid;
use super::places::{Pid, Root};
use crate::event::Happening;
use crate::mention;
use crate::name;
use crate::permission::{Deed, permits};

/// People that one user can mention in a minute, and the burst of them.
const PER_MINUTE: u64 = 120;
const BURST: u64 = 60;
/// Mentions that wait to be told, at most.
const WAITING: usize = 10_000;

/// What was said of somebody since the last event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    /// The newest message.
    seq: u64,
    count: u64,
}

impl Directory {
    /// A message names people.
    pub(super) fn mentioned(&mut self, place: &str, seq: u64, from: &str, names: &[Box<str>]) {
        let Some((root, rest)) = place.split_once('/') else { return };
        let Some(pid) = Root::parse(root).and_then(|root| self.find(root, rest).ok()) else { return };
        let Some(from) = self.people.by_name(from) else { return };
        let now = self.clock.steady;
        for word in names.iter().take(mention::MOST) {
            let Some(to) = self.named(word).filter(|&to| to != from) else { continue };
            let key = (to, from, pid);
            if !self.mentions.contains_key(&key) {
                let may = self.user_mut(from).is_some_and(|user| user.mentions.take(now, PER_MINUTE, BURST));
                if !may || self.mentions.len() >= WAITING {
                    return;
                }
            }
            let named = self.mentions.entry(key).or_insert(Named { seq: 0, count: 0 });
            // A message that names somebody twice is one.
            if named.seq < seq {
                *named = Named { seq, count: named.count + 1 };
            }
            self.schedule_flush();
        }
    }

    /// Who is meant by a word: people write names without regard to case, and punctuation after them.
    fn named(&self, word: &str) -> Option<Uid> {
        let find = |name: &str| self.people.by_key.get(&name::user_key(name).ok()?).copied();
        mention::readings(word).find_map(find).filter(|&uid| uid != super::people::BROKER_UID)
    }

    /// Tells what was gathered.
    pub(super) fn tell_mentions(&mut self) {
        for ((to, from, pid), named) in std::mem::take(&mut self.mentions) {
            if !self.may_read(pid, to) {
                continue;
            }
            let Some(place) = self.place(pid).map(|place| place.place.to_string()) else { continue };
            let by = self.name_of(from).to_string();
            let Named { seq, count } = named;
            self.tell(to, from, &Happening::Mention { place, by, seq, count });
        }
    }

    fn may_read(&self, pid: Pid, uid: Uid) -> bool {
        let (Some(place), Some(user)) = (self.place(pid), self.user(uid)) else { return false };
        permits(Deed::Read, &place.rules, place.standing(uid, &user.key), user.kind()).is_ok()
    }
}
