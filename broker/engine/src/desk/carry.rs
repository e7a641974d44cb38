//! Carrying out what the directory asks for.

use super::{Asker, Finished, Joining, Secret};
use crate::{
    Engine,
    crossing::{By, Crossing, Entrant, Entry, HistoryOf, Start, home},
    io::{Output, ShardId},
    message::Message,
    persist,
};
use katydid_chat::{
    directory::{Command, Effect, Place},
    topic,
};
use std::sync::Arc;

impl Engine {
    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::SignIn { ticket, outcome } => {
                if let Some(Asker::SignIn { shard, conn }) = self.take_asker(ticket) {
                    self.tell(shard, Crossing::SignedIn { conn, outcome });
                }
            }
            Effect::Enter { ticket, outcome } => {
                let Some(Asker::Enter { shard, ticket, session, place, start }) = self.take_asker(ticket)
                else {
                    return;
                };
                let why = Entry::Named(ticket);
                let known = self.desk.as_deref().and_then(|desk| desk.sessions.get(&session));
                let user = known.map(|at| at.user.clone());
                match (outcome, user) {
                    (Ok(()), Some(user)) => {
                        let entrant = Entrant { shard, user, why };
                        self.tell_home(&place, |place| Crossing::Enter { place, start, entrant });
                    }
                    (Err(code), _) => self.tell(shard, Crossing::NotEntered { why, code }),
                    // It ended meanwhile; the shard finds nobody to tell.
                    (Ok(()), None) => {
                        let code = katydid_chat::code::Code::NotMember;
                        self.tell(shard, Crossing::NotEntered { why, code });
                    }
                }
            }
            Effect::Admit { session, place, from_start } => self.admit(session, &place, from_start),
            Effect::Evict { ticket, place, user } => {
                if let Some(desk) = self.desk.as_deref_mut() {
                    desk.issued.push(ticket);
                }
                self.tell_home(&place, |place| Crossing::Evict { place, user, ticket });
            }
            Effect::Rules { place, rules } => {
                self.tell_home(&place, |place| Crossing::Rules { place, rules })
            }
            Effect::Stands { place, user, standing } => {
                self.tell_home(&place, |place| Crossing::Stands { place, user, standing });
            }
            Effect::Drop { place } => self.tell_home(&place, |place| Crossing::Drop { place }),
            Effect::Say { place, within, payload } => {
                self.say(&place, &format!("{place}/{within}"), &payload);
            }
            Effect::Keep { place, within, payload } => {
                self.tell_home(&place, |place| Crossing::Keep { place, within, payload });
            }
            Effect::Retain { topic, payload } => {
                let message = Message::from_broker(&topic, payload.as_bytes(), true);
                self.route(Arc::new(message), None, None, By::Broker);
            }
            Effect::Tell { to, from, payload } => {
                self.say(&topic::pair(&to, &from), &format!("user/{to}/event/{from}"), &payload);
            }
            Effect::Answer { ticket, payload } => match self.take_asker(ticket) {
                Some(Asker::Request { to, .. }) => self.answer(Finished::Session(to, payload)),
                Some(Asker::Operate { ticket }) => self.answer(Finished::Operator(ticket, payload)),
                _ => {}
            },
            Effect::Read { ticket, place, window, without, id } => {
                let bytes = self.answer_bytes(ticket);
                self.tell_home(&place, |place| {
                    Crossing::History(Box::new(HistoryOf { place, window, without, id, bytes, ticket }))
                });
            }
            Effect::Search { ticket, quest } => self.outputs.push_back(Output::Search { ticket, quest }),
            Effect::Ignores { user, ignored } => self.ignores(user, ignored),
            Effect::Hash { ticket, wants_scram, password } => {
                self.outputs.push_back(Output::Hash { ticket, wants_scram, password });
            }
            Effect::Forgets { user, forgets } => {
                let sessions = self.desk.as_deref().map(|desk| desk.sessions_of(&user)).unwrap_or_default();
                for (session, at) in sessions {
                    self.tell(at.shard, Crossing::Forgets { index: at.index, session, forgets });
                }
            }
            Effect::Forget { place, user } => self.forget_delivered(place, user),
            Effect::Verify { ticket, hash, password } => {
                self.outputs.push_back(Output::VerifyFor { ticket, hash, password });
            }
            Effect::Disconnect { user, ends } => {
                let sessions = self.desk.as_deref().map(|desk| desk.sessions_of(&user)).unwrap_or_default();
                self.answer(Finished::Dismissed(sessions, ends));
            }
            Effect::End { session } => {
                let at = self.desk.as_deref().and_then(|desk| desk.sessions.get(&session)).cloned();
                if let Some(at) = at {
                    self.answer(Finished::Dismissed(vec![(session, at)], true));
                }
            }
            Effect::Erase { user } => {
                if let Some(desk) = self.desk.as_deref_mut() {
                    desk.erasing.insert(user.clone(), (0, false));
                }
                self.tell_of_erasure(&user, false);
            }
            Effect::Put { key, value } => self.journal.push(persist::put_chat(key, value)),
            Effect::Delete { key } => self.journal.push(persist::delete_chat(key)),
        }
    }

    pub(super) fn take_asker(&mut self, ticket: u64) -> Option<Asker> {
        self.desk.as_deref_mut()?.askers.try_remove(ticket as usize)
    }

    /// Says something to the home of a place.
    fn tell_home(&mut self, place: &Place, crossing: impl FnOnce(Arc<str>) -> Crossing) {
        self.tell(home(place, self.shards), crossing(place.clone()));
    }

    fn tell_of_erasure(&mut self, user: &Arc<str>, sweeps: bool) {
        for shard in (0..self.shards as u16).map(ShardId) {
            self.tell(shard, Crossing::Erase { user: user.clone(), sweeps });
        }
    }

    /// A shard has ended the sessions of a user, or has nothing of the user any more. The second begins when all are done
    /// with the first: then nothing more comes of the user.
    pub(super) fn erased_by_shard(&mut self, user: &Arc<str>) {
        let shards = self.shards;
        let Some(desk) = self.desk.as_deref_mut() else { return };
        let Some((done, sweeps)) = desk.erasing.get_mut(user) else { return };
        *done += 1;
        if *done < shards {
            return;
        }
        *done = 0;
        if std::mem::replace(sweeps, true) {
            desk.erasing.remove(user);
            self.command(Command::Erased { user });
        } else {
            self.tell_of_erasure(user, true);
        }
    }

    /// Says something in a place in the broker's own name.
    fn say(&mut self, place: &str, topic: &str, payload: &str) {
        let message = Arc::new(Message::from_broker(topic, payload.as_bytes(), false));
        let crossing = Crossing::Publish { message, reply: None, mark: None, by: By::Broker };
        self.tell(home(place, self.shards), crossing);
    }

    fn admit(&mut self, session: u64, place: &Place, from_start: bool) {
        let replay = self.settings.rooms.replay;
        let Some(desk) = self.desk.as_deref_mut() else { return };
        let Some(at) = desk.sessions.get(&session).cloned() else { return };
        let joining = desk.joining.as_mut().filter(|joining| joining.session == session);
        let (ticket, asked, moves) = match joining {
            Some(Joining { ticket, only, start, moves, places, .. }) => {
                *places += u32::from(ticket.is_some());
                let is_meant = only.as_ref().is_none_or(|only| only == place);
                (*ticket, start.filter(|_| is_meant), *moves && is_meant)
            }
            None => (None, None, false),
        };
        let start = match (asked, from_start) {
            (Some(start), _) => start,
            (None, true) => Start::Since(0),
            (None, false) => Start::Last(replay),
        };
        let (index, is_new) = (at.index, from_start && asked.is_none());
        let why = Entry::Admitted { index, session, joining: ticket, is_new, moves };
        let entrant = Entrant { shard: at.shard, user: at.user, why };
        self.tell_home(place, |place| Crossing::Enter { place, start, entrant });
    }

    fn ignores(&mut self, user: Arc<str>, ignored: Arc<[Arc<str>]>) {
        let Some(desk) = self.desk.as_deref_mut() else { return };
        if ignored.is_empty() {
            desk.ignores.remove(&user);
        } else {
            desk.ignores.insert(user.clone(), ignored.clone());
        }
        for (session, at) in desk.sessions_of(&user) {
            let ignored = ignored.clone();
            self.tell(at.shard, Crossing::Ignore { index: at.index, session, ignored });
        }
    }

    /// How long the answer to a request may be.
    pub(super) fn answer_bytes(&self, ticket: u64) -> usize {
        match self.desk.as_deref().and_then(|desk| desk.askers.get(ticket as usize)) {
            Some(Asker::Request { bytes, .. }) => *bytes,
            _ => super::requests::ANSWER_BYTES,
        }
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        // What the optimiser leaves of this is a help, not a promise.
        self.0.fill(0);
    }
}
