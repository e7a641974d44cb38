//! What is said in a room or group may name people: their home finds the words, and the directory those who are meant.

use super::home::Arrival;
use crate::{Engine, crossing::By, desk::Asked};
use katydid_chat::{
    mention,
    topic::{Channel, Root, Said},
};

impl Engine {
    /// Tells the directory whom the newest message of a place may name.
    pub(super) fn look_for_mentions(&mut self, place: &str, said: &Said<'_>, arrival: &Arrival) {
        let is_message = said.channel == Channel::Message && said.root != Root::Pair;
        if !is_message || arrival.by == By::Broker {
            return;
        }
        let message = &arrival.message;
        let words = message.user_properties(mention::PROPERTY).chain(mention::in_text(message.payload()));
        let names: Vec<Box<str>> = words.take(mention::MOST).map(Box::from).collect();
        if names.is_empty() {
            return;
        }
        let Some(home) = self.homes.get(place) else { return };
        let (place, seq) = (home.name.clone(), home.next - 1);
        self.ask(Asked::Mentioned { place, seq, from: said.from.into(), names });
    }
}
