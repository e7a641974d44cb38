//! How far a user is in a pair: every session of the user is asked, wherever it is, before anything is forgotten.
//!
//! Invariant: one question a user and pair is under way; what is acknowledged meanwhile makes another follow.

use crate::{
    Engine,
    crossing::{Crossing, home},
};
use std::sync::Arc;

/// A question that not every session has answered.
#[derive(Debug)]
pub(super) struct Round {
    place: Arc<str>,
    user: Arc<str>,
    waiting: usize,
    /// The lowest answer; `None` while no session that listens has answered.
    below: Option<u64>,
    /// Something was acknowledged meanwhile.
    is_again: bool,
}

impl Engine {
    /// Asks the sessions of a user how far they are in a pair, to forget what all have.
    pub(super) fn forget_delivered(&mut self, place: Arc<str>, user: Arc<str>) {
        let Some(desk) = self.desk.as_deref_mut() else { return };
        let mut rounds = desk.rounds.iter_mut().map(|(_, round)| round);
        if let Some(round) = rounds.find(|round| round.place == place && round.user == user) {
            round.is_again = true;
            return;
        }
        let sessions = desk.sessions_of(&user);
        if sessions.is_empty() {
            return;
        }
        let waiting = sessions.len();
        let round = Round { place: place.clone(), user, waiting, below: None, is_again: false };
        let ticket = desk.rounds.insert(round) as u64;
        for (session, at) in sessions {
            let place = place.clone();
            self.tell(at.shard, Crossing::HowFar { ticket, index: at.index, session, place });
        }
    }

    /// A session has answered.
    pub(super) fn reached(&mut self, ticket: u64, below: Option<u64>) {
        let Some(desk) = self.desk.as_deref_mut() else { return };
        let Some(round) = desk.rounds.get_mut(ticket as usize) else { return };
        round.waiting -= 1;
        round.below = match (round.below, below) {
            (Some(known), Some(below)) => Some(known.min(below)),
            (known, below) => known.or(below),
        };
        if round.waiting > 0 {
            return;
        }
        let Round { place, user, below, is_again, .. } = desk.rounds.remove(ticket as usize);
        if let Some(below) = below {
            let (place, user) = (place.clone(), user.clone());
            self.tell(home(&place, self.shards), Crossing::Forget { place, user, below });
        }
        if is_again {
            self.forget_delivered(place, user);
        }
    }
}
